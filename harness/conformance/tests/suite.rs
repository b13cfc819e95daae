//! The suite is whole: everything that has a name has a requirement, and what files claim exists.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use its_conformance::matrix::{Cell, Subject, play};
use its_conformance::requirement::{Claim, Requirement};
use its_conformance::script::Expectation;
use its_gic::{Command, Part, Register};
use its_machine::{Frame, Freedom};
use its_scenario::{HostCommand, Operation};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

fn all() -> Vec<Requirement> {
    Requirement::all(&root().join("conformance")).unwrap()
}

fn operations(all: &[Requirement]) -> impl Iterator<Item = &Operation> {
    let cases = all.iter().flat_map(|requirement| &requirement.cases);
    cases.flat_map(|case| &case.script.scenario.operations)
}

fn expectations(all: &[Requirement]) -> impl Iterator<Item = &Expectation> {
    let cases = all.iter().flat_map(|requirement| &requirement.cases);
    cases.flat_map(|case| case.script.expectations.iter().map(|one| &one.what))
}

/// Nothing of ours fails, and at most a quarter is not for the emulator.
#[test]
fn ours_hold_and_most_is_for_the_emulator() {
    let rows = play(all(), None, its_production::make);
    let mut elsewhere = 0;
    for row in &rows {
        for (subject, cell) in &row.cells {
            let fine = match cell {
                Cell::Pass => true,
                Cell::Refused(..) | Cell::NotApplicable(_) => {
                    elsewhere += 1;
                    *subject == Subject::Emulator
                }
                _ => false,
            };
            let id = &row.requirement.id;
            assert!(fine, "{id} on {}: {cell:?}", subject.name());
        }
    }
    assert!(elsewhere * 4 <= rows.len(), "{elsewhere} of {}", rows.len());
}

#[test]
fn there_are_enough() {
    let all = all();
    assert!(all.len() >= 150, "{}", all.len());
    for requirement in &all {
        let text = &requirement.text;
        assert!(text.ends_with('.') && !text.contains('\n'), "{text}");
        assert!(!requirement.source.is_empty(), "{}", requirement.id);
    }
}

/// Options after which anything may follow: nothing can be expected there.
const UNPREDICTABLE: [Freedom; 3] =
    [Freedom::BusyWrite, Freedom::UnreadyEnable, Freedom::BusyLpiWrite];

#[test]
fn each_option_of_each_freedom_has_a_case() {
    let all = all();
    for freedom in Freedom::ALL {
        let about: Vec<&Requirement> =
            all.iter().filter(|requirement| requirement.freedom == Some(*freedom)).collect();
        let facts = freedom.facts();
        for (number, option) in (0..).zip(facts.options) {
            if UNPREDICTABLE.contains(freedom) && *option == "taken" {
                continue;
            }
            let mut cases = about.iter().flat_map(|requirement| &requirement.cases);
            let shown = cases.any(|case| case.options.contains(&(*freedom, number)));
            assert!(shown, "no case shows {}={option}", facts.name);
        }
    }
}

#[test]
fn each_command_is_submitted() {
    let all = all();
    let mut submitted: BTreeSet<&str> = BTreeSet::new();
    for operation in operations(&all) {
        match operation {
            Operation::Command { command: HostCommand::Raw { words }, .. } => {
                submitted.insert(Command::decode(*words).name());
            }
            Operation::Command { command, .. } => {
                submitted.insert(command.name());
            }
            _ => {}
        }
    }
    let names = (0..=255_u64).map(|opcode| Command::decode([opcode, 0, 0, 0]).name());
    for name in names {
        assert!(submitted.contains(name), "no requirement posts {name}");
    }
}

#[test]
fn each_error_number_is_expected() {
    let all = all();
    let expected: BTreeSet<u32> = expectations(&all)
        .filter_map(|expectation| match expectation {
            Expectation::Error(number) => *number,
            _ => None,
        })
        .collect();
    // docs/its.md, Commands: the numbers that are known.
    let known: [(u32, &[u32]); 11] = [
        (0x01, &[1, 3, 4, 5, 7, 9]),
        (0x03, &[1, 4, 5, 7]),
        (0x05, &[1, 4, 5, 7]),
        (0x08, &[1, 2]),
        (0x09, &[2, 3, 0x20]),
        (0x0a, &[4, 5, 6]),
        (0x0b, &[1, 3, 4, 5]),
        (0x0c, &[1, 4, 5, 7]),
        (0x0d, &[3, 9]),
        (0x0e, &[1, 0x20, 0x21]),
        (0x0f, &[7]),
    ];
    for (command, reasons) in known {
        for reason in reasons {
            let number = 0x01_0000 | command << 8 | reason;
            assert!(expected.contains(&number), "nothing expects {number:#08x}");
        }
    }
}

/// Every register with every size that it has; those that can be written also written.
#[test]
fn each_register_is_accessed_in_each_of_its_sizes() {
    let all = all();
    let mut accessed = BTreeSet::new();
    for operation in operations(&all) {
        let whole = |register: Register| (format!("{register:?}"), "Whole".into(), true);
        let (target, written) = match operation {
            Operation::WriteBaser { index, .. } => {
                accessed.insert(whole(Register::Baser(*index)));
                continue;
            }
            Operation::WriteCbaser { .. } => {
                accessed.insert(whole(Register::Cbaser));
                continue;
            }
            Operation::Read { target, .. } => (target, false),
            Operation::Write { target, .. } => (target, true),
            _ => continue,
        };
        if matches!(target.frame, Frame::ItsControl(_))
            && let Some((register, part)) =
                Register::select(target.offset.into(), target.size.bytes())
        {
            accessed.insert((format!("{register:?}"), format!("{part:?}"), written));
        }
    }
    let words = [
        (Register::Ctlr, true),
        (Register::Iidr, true),
        (Register::Mpamidr, false),
        (Register::Partidr, false),
        (Register::Mpidr, false),
        (Register::Statusr, true),
        (Register::Identification(0xffe8), true),
        (Register::Umsir, false),
    ];
    let words = words.map(|(register, written)| (register, Part::Whole, written));
    let doubles = [
        Register::Typer,
        Register::Cbaser,
        Register::Cwriter,
        Register::Creadr,
        Register::Baser(0),
        Register::Baser(1),
    ];
    let parts = |register| [Part::Whole, Part::Low, Part::High].map(|part| (register, part, true));
    let expected = words.into_iter().chain(doubles.into_iter().flat_map(parts));
    let mut missing = Vec::new();
    for (register, part, written) in expected {
        for write in [false, true] {
            let access = (format!("{register:?}"), format!("{part:?}"), write);
            if (written || !write) && !accessed.contains(&access) {
                missing.push(access);
            }
        }
    }
    assert!(missing.is_empty(), "no requirement accesses {missing:?}");
}

#[test]
fn what_is_claimed_exists() {
    let policy = std::fs::read_to_string(root().join("harness/emulator/POLICY.md")).unwrap();
    let profile = root().join("harness/conformance/src/qemu/qemu.toml");
    let profile = std::fs::read_to_string(profile).unwrap();
    for requirement in all() {
        if let Claim::Refused { by, .. } = &requirement.emulator {
            // A decision, a paragraph such as P10, or a row of a table such as CTLR or one with
            // several commands.
            let known = match by.strip_prefix("Decision ") {
                Some(number) => policy.contains(&format!("\n{number}. *")),
                None => policy.lines().any(|line| {
                    let row = line.split('|').nth(1).unwrap_or("");
                    let mut words = row.split([' ', ',']);
                    line.contains(&format!("**{by}")) || words.any(|word| word == by)
                }),
            };
            assert!(known, "{}: POLICY.md has no {by}", requirement.id);
        }
        if let Claim::Settled { difference } = &requirement.qemu {
            assert!(
                profile.contains(&format!("id = \"{difference}\"")),
                "{}: qemu.toml has no {difference}",
                requirement.id
            );
        }
    }
}
