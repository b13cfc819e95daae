//! The binary form: what fuzzing engines mutate. It is never stored; the text form is.
//!
//! Little endian. Byte 0 is the version, 4. From byte 1 on is the boot plan, one byte a field; the
//! other bytes up to 63 are zero. Then 128 bytes for each ITS that the boot plan has, and for two
//! at least: its configuration, one byte a field, then zeros. Then 42 bytes an operation: its kind,
//! its CPU, five words of 8 bytes.
//!
//! The decoder takes anything: every number goes through the fix-up, an unknown kind becomes a
//! known one, fewer bytes than a header are the default scenario, a record that is cut off at the
//! end is dropped. It knows one version, so it ignores byte 0: bytes of another version are a
//! scenario like any bytes.

use its_machine::{ItsConfiguration, MAX_ITS};

use crate::fixup::keep_races_to_two_cpus;
use crate::header::{Boot, Header};
use crate::operation::{Kind, Operation};
use crate::record::Record;
use crate::scenario::{DRAWN_OPERATIONS, MAX_OPERATIONS, Scenario};

/// What byte 0 says.
pub const BINARY_VERSION: u8 = 4;
/// Bytes before the first configuration.
const BOOT_BYTES: usize = 64;
/// Bytes in one configuration.
const CONFIGURATION_BYTES: usize = 128;
/// Bytes in one record.
pub const RECORD_BYTES: usize = 42;
/// The longest scenario that an engine makes, in bytes.
pub const MAX_BYTES: usize =
    BOOT_BYTES + MAX_ITS * CONFIGURATION_BYTES + DRAWN_OPERATIONS * RECORD_BYTES;

/// Fields grow in number, their places do not move.
const _: () = assert!(
    ItsConfiguration::FIELDS.len() <= CONFIGURATION_BYTES && Boot::FIELDS.len() < BOOT_BYTES
);

impl Boot {
    /// Returns the bytes of all configurations, at most 1,024.
    fn configuration_bytes(&self) -> usize {
        (self.its_slots() as usize).saturating_mul(CONFIGURATION_BYTES)
    }
}

impl Scenario {
    /// As bytes: a header and 42 bytes an operation.
    pub fn encode(&self) -> Vec<u8> {
        let mut bytes = vec![BINARY_VERSION];
        bytes.extend(self.boot.words().iter().map(|word| *word as u8));
        bytes.resize(BOOT_BYTES, 0);
        for configuration in self.configurations.iter().take(self.boot.its_slots() as usize) {
            let end = bytes.len().saturating_add(CONFIGURATION_BYTES);
            bytes.extend(configuration.words().iter().map(|word| *word as u8));
            bytes.resize(end, 0);
        }
        for operation in self.operations.iter().take(MAX_OPERATIONS) {
            let record = Record::from(operation);
            bytes.extend([record.kind as u8, record.cpu]);
            bytes.extend(record.words.iter().flat_map(|word| word.to_le_bytes()));
        }
        bytes
    }

    /// From any bytes. What comes out is fixed up.
    pub fn decode(bytes: &[u8]) -> Self {
        let Some((plan, rest)) = bytes.split_at_checked(BOOT_BYTES) else {
            return Self::default();
        };
        let boot: Boot = from_bytes(plan.get(1..).unwrap_or(&[]));
        let Some((headers, records)) = rest.split_at_checked(boot.configuration_bytes()) else {
            return Self::default();
        };
        let mut configurations = [ItsConfiguration::DEFAULT; MAX_ITS];
        let (headers, _) = headers.as_chunks::<CONFIGURATION_BYTES>();
        for (configuration, bytes) in configurations.iter_mut().zip(headers) {
            *configuration = from_bytes(bytes);
        }
        let (records, _cut_off) = records.as_chunks::<RECORD_BYTES>();
        Self { configurations, boot, operations: operations(records, &boot) }
    }

    /// Drops operations from the end until [`Scenario::encode`] gives at most `max_bytes`.
    pub fn shorten_to(&mut self, max_bytes: usize) {
        let header = BOOT_BYTES.saturating_add(self.boot.configuration_bytes());
        let room = max_bytes.saturating_sub(header);
        self.operations.truncate(room / RECORD_BYTES);
    }
}

/// Fields, one byte each.
pub(crate) fn from_bytes<H: Header>(bytes: &[u8]) -> H {
    H::from_words(bytes.iter().copied().map(u64::from))
}

/// Records as operations on the board of a boot plan.
pub(crate) fn operations(records: &[[u8; RECORD_BYTES]], boot: &Boot) -> Vec<Operation> {
    let operation = |bytes| record(bytes).fix().fit(boot).operation();
    let mut operations: Vec<_> = records.iter().take(MAX_OPERATIONS).map(operation).collect();
    keep_races_to_two_cpus(&mut operations);
    operations
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

    /// Where the boot plan has its number of ITSs.
    const ITS_AT: usize = 6;

    /// Bytes with as many records as the test wants, of which quickcheck's own vectors have few.
    pub(crate) fn bytes_of(header: Vec<u8>, records: Vec<Record>) -> Vec<u8> {
        let mut bytes = header;
        bytes.resize(BOOT_BYTES + 2 * CONFIGURATION_BYTES, 0);
        bytes[ITS_AT] = bytes[ITS_AT] % 2 + 1;
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
        assert_eq!(Scenario::decode(&[0xff; 63]), Scenario::default());
    }

    #[test]
    fn the_layout_is_frozen() {
        let scenario = Scenario {
            operations: vec![Operation::WriteCwriter { cpu: 1, retry: true, double: true }],
            ..Scenario::default()
        };
        let configuration = [16, 16, 16, 0, 8, 0, 0, 0, 0, 2, 1];
        let header = 64 + 2 * 128;
        let mut expected = vec![0; header + RECORD_BYTES];
        expected[0] = 4;
        expected[1..9].copy_from_slice(&[2, 0, 16, 1, 1, 1, 16, 0]);
        expected[9..19].copy_from_slice(&[2, 0, 1, 2, 3, 4, 5, 6, 7, 48]);
        expected[64..75].copy_from_slice(&configuration);
        expected[192..203].copy_from_slice(&configuration);
        expected[header..header + 3].copy_from_slice(&[0x12, 1, 1]);
        expected[header + 10] = 1;
        assert_eq!(scenario.encode(), expected);
    }

    #[test]
    fn each_its_of_the_board_has_its_configuration() {
        let mut scenario = Scenario::default();
        scenario.boot.its = 3;
        scenario.configurations[2].event_id_bits = 7;
        assert_eq!(scenario.encode().len(), 64 + 3 * 128);
        assert_eq!(Scenario::decode(&scenario.encode()), scenario);
    }

    #[test]
    fn lengths_are_bounded() {
        let endless = vec![0x13; 2 * MAX_OPERATIONS * RECORD_BYTES];
        let mut scenario = Scenario::decode(&endless);
        assert_eq!(scenario.operations.len(), MAX_OPERATIONS);
        scenario.boot.its = MAX_ITS as u8;
        scenario.shorten_to(MAX_BYTES);
        assert_eq!(scenario.operations.len(), DRAWN_OPERATIONS);
        assert_eq!(scenario.encode().len(), MAX_BYTES);
        scenario.boot.its = 1;
        scenario.shorten_to(1000);
        assert_eq!(scenario.operations.len(), 16);
        assert!(scenario.encode().len() <= 1000);
        scenario.shorten_to(0);
        assert!(scenario.operations.is_empty());
    }
}
