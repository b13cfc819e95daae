//! The binary form: what fuzzing engines mutate. It is never stored; the text form is.
//!
//! Little endian. Byte 0 is the version, 1. Bytes 1 to 13 are the character, 14 to 18 the boot plan, one byte a
//! field. Bytes 19 to 23 are zero. Then 42 bytes an operation: its kind, its CPU, five words of 8 bytes.
//!
//! The decoder takes anything: every number goes through the fix-up, an unknown kind becomes a known one, fewer
//! bytes than a header are the default scenario, a record that is cut off at the end is dropped. There is one
//! version so far, so it reads byte 0 and ignores it.

use crate::header::{BOOT_FIELDS, CHARACTER_FIELDS, boot, boot_words, character, character_words};
use crate::kind::Kind;
use crate::record::Record;
use crate::scenario::{MAX_OPERATIONS, Scenario};

/// What byte 0 says.
pub const BINARY_VERSION: u8 = 1;
/// Bytes before the first record.
pub const HEADER_BYTES: usize = 24;
/// Bytes in one record.
pub const RECORD_BYTES: usize = 42;
/// The longest scenario, in bytes.
pub const MAX_BYTES: usize = HEADER_BYTES + MAX_OPERATIONS * RECORD_BYTES;

impl Scenario {
    /// As bytes, at most [`MAX_BYTES`]: a header and 42 bytes an operation.
    pub fn encode(&self) -> Vec<u8> {
        let mut bytes = vec![BINARY_VERSION];
        bytes.extend(character_words(&self.character).map(|word| word as u8));
        bytes.extend(boot_words(&self.boot).map(|word| word as u8));
        bytes.resize(HEADER_BYTES, 0);
        for operation in self.operations.iter().take(MAX_OPERATIONS) {
            let record = Record::from(operation);
            bytes.extend([record.kind as u8, record.cpu]);
            bytes.extend(record.words.iter().flat_map(|word| word.to_le_bytes()));
        }
        bytes
    }

    /// From any bytes. What comes out is fixed up.
    pub fn decode(bytes: &[u8]) -> Self {
        let Some((header, records)) = bytes.split_first_chunk::<HEADER_BYTES>() else {
            return Self::default();
        };
        let mut fields = header.iter().skip(1).map(|byte| u64::from(*byte));
        let mut field = || fields.next().unwrap_or(0);
        let character_words = [(); CHARACTER_FIELDS].map(|()| field());
        let boot_words = [(); BOOT_FIELDS].map(|()| field());
        let (records, _cut_off) = records.as_chunks::<RECORD_BYTES>();
        Self {
            character: character(character_words),
            boot: boot(boot_words),
            operations: records
                .iter()
                .take(MAX_OPERATIONS)
                .map(|bytes| record(bytes).operation())
                .collect(),
        }
    }

    /// Drops operations from the end until [`Scenario::encode`] gives at most `max_bytes`, or none is left.
    pub fn shorten_to(&mut self, max_bytes: usize) {
        let room = max_bytes.saturating_sub(HEADER_BYTES);
        self.operations.truncate(room / RECORD_BYTES);
    }
}

fn record(bytes: &[u8; RECORD_BYTES]) -> Record {
    let [kind, cpu, words @ ..] = bytes;
    let (words, _) = words.as_chunks::<8>();
    let mut words = words.iter().map(|word| u64::from_le_bytes(*word));
    Record {
        kind: Kind::wrapping(*kind),
        cpu: *cpu,
        words: std::array::from_fn(|_| words.next().unwrap_or(0)),
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::operation::{Operation, Width};
    use quickcheck::quickcheck;

    /// Bytes with as many records as the test wants, of which quickcheck's own vectors have few.
    pub(crate) fn bytes_of(header: Vec<u8>, records: Vec<Record>) -> Vec<u8> {
        let mut bytes = header;
        bytes.resize(HEADER_BYTES, 0);
        for record in records {
            bytes.extend([record.kind as u8, record.cpu]);
            bytes.extend(record.words.iter().flat_map(|word| word.to_le_bytes()));
        }
        bytes
    }

    quickcheck! {
        fn encoding_loses_nothing(header: Vec<u8>, records: Vec<Record>) -> bool {
            let scenario = Scenario::decode(&bytes_of(header, records));
            let mut fixed = scenario.clone();
            fixed.fix_up();
            fixed == scenario && Scenario::decode(&scenario.encode()) == scenario
        }

        fn decoding_is_total(bytes: Vec<u8>) -> bool {
            let scenario = Scenario::decode(&bytes);
            Scenario::decode(&scenario.encode()) == scenario
        }
    }

    #[test]
    fn too_few_bytes_are_the_default() {
        assert_eq!(Scenario::decode(&[]), Scenario::default());
        assert_eq!(Scenario::decode(&[0xff; 23]), Scenario::default());
    }

    #[test]
    fn the_layout_is_frozen() {
        let scenario = Scenario {
            operations: vec![Operation::Post {
                cpu: 1,
                retry: true,
                width: Width::Double,
            }],
            ..Scenario::default()
        };
        let mut expected = vec![
            1, 16, 16, 16, 0, 8, 0, 0, 0, 0, 2, 1, 0, 0, 2, 0, 16, 1, 1, 0, 0, 0, 0, 0, 0x12, 1, 1,
            0, 0, 0, 0, 0, 0, 0, 1,
        ];
        expected.resize(HEADER_BYTES + RECORD_BYTES, 0);
        assert_eq!(scenario.encode(), expected);
    }

    #[test]
    fn lengths_are_bounded() {
        let endless = vec![0x13; 2 * MAX_BYTES];
        let mut scenario = Scenario::decode(&endless);
        assert_eq!(scenario.operations.len(), MAX_OPERATIONS);
        assert_eq!(scenario.encode().len(), MAX_BYTES);
        scenario.shorten_to(1000);
        assert_eq!(scenario.operations.len(), 23);
        assert!(scenario.encode().len() <= 1000);
        scenario.shorten_to(0);
        assert!(scenario.operations.is_empty());
    }
}
