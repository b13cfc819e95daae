//! The binary form: what fuzzing engines mutate. It is never stored; the text form is.
//!
//! Little endian. Byte 0 is the version, 3. From byte 1 on is the configuration of the first ITS, from
//! byte 113 on that of the second, from byte 225 on the boot plan, one byte a field; the other
//! bytes up to 255 are zero. Then 42 bytes an operation: its kind, its CPU, five words of 8 bytes.
//!
//! The decoder takes anything: every number goes through the fix-up, an unknown kind becomes a
//! known one, fewer bytes than a header are the default scenario, a record that is cut off at the
//! end is dropped. It knows one version, so it ignores byte 0: bytes of another version are a
//! scenario like any bytes.

use its_machine::{ItsConfiguration, MAX_ITS};

use crate::header::{Boot, Header};
use crate::operation::Kind;
use crate::record::Record;
use crate::scenario::{MAX_OPERATIONS, Scenario};

/// What byte 0 says.
pub const BINARY_VERSION: u8 = 3;
/// Bytes before the first record.
pub const HEADER_BYTES: usize = 256;
/// Bytes in one record.
pub const RECORD_BYTES: usize = 42;
/// The longest scenario, in bytes.
pub const MAX_BYTES: usize = HEADER_BYTES + MAX_OPERATIONS * RECORD_BYTES;

/// Where in the header the configurations start, and the boot plan.
const CONFIGURATION_AT: [usize; MAX_ITS] = [1, 113];
const BOOT_AT: usize = 225;

/// Fields grow in number, their places do not move.
const _: () =
    assert!(ItsConfiguration::FIELDS.len() <= 112 && Boot::FIELDS.len() <= HEADER_BYTES - BOOT_AT);

impl Scenario {
    /// As bytes, at most [`MAX_BYTES`]: a header and 42 bytes an operation.
    pub fn encode(&self) -> Vec<u8> {
        let mut bytes = vec![BINARY_VERSION];
        for (configuration, start) in self.configurations.iter().zip(CONFIGURATION_AT) {
            bytes.resize(start, 0);
            bytes.extend(configuration.words().iter().map(|word| *word as u8));
        }
        bytes.resize(BOOT_AT, 0);
        bytes.extend(self.boot.words().iter().map(|word| *word as u8));
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
        let (records, _cut_off) = records.as_chunks::<RECORD_BYTES>();
        Self {
            configurations: CONFIGURATION_AT.map(|start| from_bytes(header, start)),
            boot: from_bytes(header, BOOT_AT),
            operations: records
                .iter()
                .take(MAX_OPERATIONS)
                .map(|bytes| record(bytes).operation())
                .collect(),
        }
    }

    /// Drops operations from the end until [`Scenario::encode`] gives at most `max_bytes`.
    pub fn shorten_to(&mut self, max_bytes: usize) {
        let room = max_bytes.saturating_sub(HEADER_BYTES);
        self.operations.truncate(room / RECORD_BYTES);
    }
}

/// Fields from `start` on, one byte each.
fn from_bytes<H: Header>(bytes: &[u8; HEADER_BYTES], start: usize) -> H {
    H::from_words(bytes.iter().skip(start).copied().map(u64::from))
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
    use crate::operation::Operation;
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
        assert_eq!(Scenario::decode(&[0xff; 255]), Scenario::default());
    }

    #[test]
    fn the_layout_is_frozen() {
        let scenario = Scenario {
            operations: vec![Operation::Post { cpu: 1, retry: true, double: true }],
            ..Scenario::default()
        };
        let configuration = [16, 16, 16, 0, 8, 0, 0, 0, 0, 2, 1];
        let mut expected = vec![0; HEADER_BYTES + RECORD_BYTES];
        expected[0] = 3;
        expected[1..12].copy_from_slice(&configuration);
        expected[113..124].copy_from_slice(&configuration);
        expected[225..232].copy_from_slice(&[2, 0, 16, 1, 1, 1, 16]);
        expected[256..259].copy_from_slice(&[0x12, 1, 1]);
        expected[266] = 1;
        assert_eq!(scenario.encode(), expected);
    }

    #[test]
    fn lengths_are_bounded() {
        let endless = vec![0x13; 2 * MAX_BYTES];
        let mut scenario = Scenario::decode(&endless);
        assert_eq!(scenario.operations.len(), MAX_OPERATIONS);
        assert_eq!(scenario.encode().len(), MAX_BYTES);
        scenario.shorten_to(1000);
        assert_eq!(scenario.operations.len(), 17);
        assert!(scenario.encode().len() <= 1000);
        scenario.shorten_to(0);
        assert!(scenario.operations.is_empty());
    }
}
