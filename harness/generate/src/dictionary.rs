//! Words for engines that mutate bytes and know nothing of scenarios: what registers, commands and
//! tables are made of, as it stands in the binary form.

use its_gic::geometry::PageSize;
use its_gic::register::{Baser, Cbaser, Register};
use its_gic::{Command, redistributor};
use its_scenario::numbers::{ARGUMENTS, FRAMES, Kind, Record, Word as _, registers};
use its_scenario::{FuzzTarget, RECORD_BYTES, Scenario, Target};

/// A name of letters, digits, `.` and `_`, and its bytes, at most 128.
pub type DictionaryWord = (String, Vec<u8>);

/// Returns the words for a target. Names are unique.
pub fn dictionary(target: FuzzTarget) -> Vec<DictionaryWord> {
    let mut words = accesses();
    words.extend(commands());
    words.extend(fields());
    words.extend(operations(target));
    words
}

/// What a `read` or `write` names: each register and half of one, in each frame.
fn accesses() -> Vec<DictionaryWord> {
    let mut words = Vec::new();
    for (frame, frame_name) in FRAMES {
        for (name, offset, size) in registers(frame) {
            let target = Target { frame, offset, size };
            let name = format!("{frame_name}.{name}");
            words.push((name, target.pack().to_le_bytes().to_vec()));
        }
    }
    words
}

/// Each command that the architecture has, as 32 bytes of a `raw-command` with every operand 0.
fn commands() -> Vec<DictionaryWord> {
    let word = |command: Command| {
        let bytes = command.encode().into_iter().flat_map(u64::to_le_bytes);
        (format!("command.{}", command.name()), bytes.collect())
    };
    Command::known().map(word).collect()
}

/// Values at which registers and entries of tables change: parts of flips and written values.
fn fields() -> Vec<DictionaryWord> {
    let mut words: Vec<(String, u64)> = vec![
        ("field.valid".into(), Cbaser::VALID),
        ("field.cbaser_writable".into(), Cbaser::WRITABLE),
        ("field.baser_writable".into(), Baser::WRITABLE),
        ("field.indirect".into(), Baser::new().with_indirect(true).into()),
        ("field.first_lpi".into(), redistributor::FIRST_LPI.into()),
        ("field.queue_end".into(), its_gic::register::OFFSET_MASK),
        ("field.ctlr_offset".into(), Register::Ctlr.offset()),
    ];
    for size in [PageSize::K4, PageSize::K16, PageSize::K64] {
        words.push((format!("field.page_{}", size.bytes()), size.bytes()));
    }
    for bit in 0..u64::BITS {
        words.push((format!("field.bit_{bit}"), 1_u64.checked_shl(bit).unwrap_or(0)));
    }
    let bytes = |(name, value): (String, u64)| (name, value.to_le_bytes().to_vec());
    words.into_iter().map(bytes).collect()
}

/// A record of each kind of operation that the target plays, every argument as small as can be.
fn operations(target: FuzzTarget) -> Vec<DictionaryWord> {
    let word = |kind: &Kind| {
        let smallest = Record { kind: *kind, cpu: 0, words: [0; ARGUMENTS] };
        let scenario = Scenario { operations: vec![smallest.operation()], ..Scenario::default() };
        let bytes = scenario.encode();
        let record = bytes.last_chunk::<RECORD_BYTES>().map_or(&[][..], |record| record);
        let name = kind.name().replace('-', "_");
        (format!("operation.{name}"), record.to_vec())
    };
    let kinds = Kind::ALL.iter().filter(|kind| target.plays(**kind));
    kinds.map(word).collect()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use its_scenario::{HostCommand, Operation};

    /// A dictionary's word where the binary form has it is what its name says.
    #[test]
    fn words_mean_in_a_scenario_what_they_are_called() {
        let words = dictionary(FuzzTarget::Cmdq);
        let find = |name: &str| {
            let found = words.iter().find(|(word, _)| word == name);
            found.unwrap_or_else(|| panic!("no {name}")).1.clone()
        };
        let mut bytes = Scenario::default().encode();
        let mut read = find("operation.read");
        read[2..10].copy_from_slice(&find("its0.CWRITER.low"));
        bytes.extend(read);
        let mut raw = find("operation.raw_command");
        raw[2..34].copy_from_slice(&find("command.MAPD"));
        bytes.extend(raw);
        let scenario = Scenario::decode(&bytes);
        let text = scenario.to_string();
        assert!(text.contains("read its0 CWRITER.low"), "{text}");
        let Some(Operation::Command { command: HostCommand::Raw { words }, .. }) =
            scenario.operations.get(1)
        else {
            panic!("{text}");
        };
        assert_eq!(Command::decode(*words).name(), "MAPD");
    }

    #[test]
    fn names_are_unique_and_no_word_is_too_long() {
        for target in FuzzTarget::ALL {
            let words = dictionary(target);
            let names: BTreeSet<&String> = words.iter().map(|(name, _)| name).collect();
            assert_eq!(names.len(), words.len());
            let fits = |(_, bytes): &DictionaryWord| !bytes.is_empty() && bytes.len() <= 128;
            assert!(words.iter().all(fits));
            let commands = names.iter().filter(|name| name.starts_with("command."));
            assert_eq!(commands.count(), 12);
        }
    }
}
