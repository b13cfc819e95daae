//! Each rule is broken by some sabotage of EL2, and by none when EL2 is honest.
//!
//! A rule that no broken subject can break says nothing: `every_rule_has_a_kill` lists what stands for each.

mod saboteur;

use std::collections::BTreeSet;

use its_board::layout;
use its_oracles::rules;
use its_runner::Runner;
use its_scenario::Scenario;
use saboteur::{Sabotage, Sabotaged};

/// Maps devices, grows a table, uses and unmaps them.
const LIFE: &str = "\
itsdiff 1
boot live-devices=1 queue-pages=1
store level2[16]+0x40 value=0x5
map-device device=0x2a event-id-bits=0x5 itt=itt[3]+0x200
map-event device=0x2a event=0x7 intid=0x2007 icid=0x0
msi device=0x2a event=0x7
map-device device=0x2000 event-id-bits=0x5 itt=itt[5]
unmap-device device=0x2a
unshare itt[5]
poll 2
";

/// The same with slow hardware, so that much is in flight.
const SLOW: &str = "\
itsdiff 1
character pace=never
boot queue-pages=1
map-device device=0x2a event-id-bits=0x5 itt=itt[3]
command MAPD device=0x2a size=0x4 itt=itt[9] valid
post
";

/// The same life on the second of two guarded ITSs.
const SECOND: &str = "\
itsdiff 1
boot live-devices=1 queue-pages=1 its=2
its 1
map-device device=0x2a event-id-bits=0x5 itt=itt[3]+0x200
map-device device=0x2000 event-id-bits=0x5 itt=itt[5]
unmap-device device=0x2a
poll 2
";

/// A collection table of two levels grows.
const COLLECTIONS: &str = "\
itsdiff 1
character two-level-collections=yes
boot queue-pages=1 collections=two-level
grow-collection icid=0x2000 level2=level2[112]
command MAPC icid=0x2000 rdbase=redistributor0 valid
post
poll 1
";

/// Power is lost before the table in memory says that a device is gone.
const STALE: &str = "\
itsdiff 1
character caches=write-back pace=never
boot queue-pages=1
map-device device=0x2a event-id-bits=0x5 itt=itt[3]+0x200
suspend
resume
unmap-device device=0x2a
power-loss restored
poll 1
";

/// A set-up that fails late.
const FAILING: &str = "\
itsdiff 1
boot stage=deprivileged queue-pages=1
fail pin nth=3
set-up private=private[0] descriptor=descriptor[0] private-pages=0x1
";

/// A rule about hardware: a mistake of the board or the reference in `corpus/breaks` breaks it.
const BREAKS: &str = "corpus/breaks";

/// Rules that no sabotage of EL2 breaks, each with the reason.
const WITHOUT_A_KILL: [(&str, &str); 7] = [
    ("DIV-ACCESS", "only the board decides about host accesses"),
    ("DIV-PROGRESS", BREAKS),
    ("DIV-INTERRUPT", BREAKS),
    ("ARCH-REGISTER", BREAKS),
    ("ARCH-FETCH", BREAKS),
    ("ARCH-COMMAND", BREAKS),
    ("ARCH-OFFERED", BREAKS),
];

fn broken(sabotage: Sabotage, from_set_up: bool, text: &str) -> BTreeSet<&'static str> {
    std::panic::set_hook(Box::new(|info| {
        if !its_board::subject_is_running() {
            eprintln!("{info}");
        }
    }));
    let scenario = Scenario::parse(text).expect("the scenario is right");
    let mut runner = Runner::new(move |its| Box::new(Sabotaged::new(its, sabotage, from_set_up)));
    runner.check_account = true;
    let case = runner.play(&scenario, None);
    assert_eq!(case.defects, Vec::<String>::new(), "{sabotage:?}");
    case.findings
        .iter()
        .map(|finding| finding.rule.id)
        .collect()
}

#[test]
fn an_honest_el2_breaks_nothing() {
    for text in [LIFE, SLOW, FAILING, SECOND, COLLECTIONS, STALE] {
        let none = BTreeSet::new();
        assert_eq!(broken(Sabotage::None, true, text), none, "{text}");
    }
}

#[test]
fn every_rule_has_a_kill() {
    let itt = |area: layout::Area| Sabotage::Itt(area.address());
    let skip_donate = |area: layout::Area| Sabotage::SkipDonate(area.first);
    let kills = [
        ("LEAK-LOOSE", Sabotage::SkipPin, false, LIFE),
        ("LEAK-LOOSE", Sabotage::SkipPin, true, LIFE),
        ("DIV-OWNERSHIP", Sabotage::UnpinTwice, false, LIFE),
        ("LEAK-HOST", skip_donate(layout::QUEUE), true, LIFE),
        ("LEAK-HOST", skip_donate(layout::QUEUE1), true, SECOND),
        ("LEAK-LOOSE", Sabotage::SkipPin, false, SECOND),
        ("LEAK-LOOSE", Sabotage::Restart, false, STALE),
        ("LEAK-PRIVATE", itt(layout::PRIVATE), false, SECOND),
        ("PTR-OVERLAP", itt(layout::DEVICE_TABLE), false, SECOND),
        ("PTR-ALIGN", Sabotage::LowBit, false, SECOND),
        ("PTR-ALIGN", Sabotage::LowBit, false, COLLECTIONS),
        ("UNDO-CALL", Sabotage::SkipReclaim, true, FAILING),
        ("UNDO-HARDWARE", Sabotage::WriteCtlr, true, FAILING),
        ("EL2-BARRIER", Sabotage::SkipOrder, false, LIFE),
        ("EL2-CLEAN", Sabotage::SkipClean, false, LIFE),
        ("PTR-CONTENTS", Sabotage::SkipZero, false, LIFE),
        ("EL2-LOCK", Sabotage::SkipRelease, false, LIFE),
        ("EL2-LOCK", Sabotage::SkipAcquire, false, LIFE),
        ("EL2-ORDER", Sabotage::MemoryFirst, false, LIFE),
        ("EL2-FETCH", Sabotage::CopyTwice, false, LIFE),
        ("LEAK-FOREIGN", itt(layout::EL2), false, LIFE),
        ("LEAK-PRIVATE", itt(layout::PRIVATE), false, LIFE),
        ("PTR-MEMORY", itt(layout::HOLE), false, LIFE),
        ("PTR-OVERLAP", itt(layout::DEVICE_TABLE), false, LIFE),
        ("PTR-ALIGN", Sabotage::LowBit, false, LIFE),
        (
            "DIV-GROWTH",
            Sabotage::Level2(layout::LEVEL2.page(32)),
            false,
            LIFE,
        ),
        ("DIV-FORWARD", Sabotage::SkipCwriter, false, LIFE),
        ("DIV-COMMAND", Sabotage::PassRaw, false, LIFE),
        ("HW-UNPREDICTABLE", Sabotage::WriteCbaser, false, LIFE),
        ("DIV-REGISTER", Sabotage::RushCreadr, false, SLOW),
        ("EL2-DEVICE", Sabotage::ReadByte, false, LIFE),
        ("EL2-ACCESS", Sabotage::Misalign, false, LIFE),
        ("EL2-WARN", Sabotage::Warn, false, LIFE),
        ("EL2-PANIC", Sabotage::Panic, false, LIFE),
        ("EL2-WORK", Sabotage::Spin, false, LIFE),
        ("DIV-TRANSLATION", Sabotage::Scribble, false, LIFE),
        ("PTR-KEPT", Sabotage::Scribble, false, LIFE),
        ("DIV-HYPERCALL", Sabotage::ForgetTyper, true, LIFE),
    ];
    let mut killed: BTreeSet<&str> = WITHOUT_A_KILL.iter().map(|(rule, _)| *rule).collect();
    for (rule, sabotage, from_set_up, text) in kills {
        let found = broken(sabotage, from_set_up, text);
        println!("{sabotage:?}: {found:?}");
        assert!(
            found.contains(rule),
            "{sabotage:?} breaks {found:?}, not {rule}"
        );
        killed.insert(rule);
    }
    let all: BTreeSet<&str> = rules::ALL.iter().map(|rule| rule.id).collect();
    let missing: Vec<_> = all.difference(&killed).collect();
    assert!(missing.is_empty(), "no sabotage breaks {missing:?}");
}

/// What is said to be in `corpus/breaks` is there; `cargo xtask test` plays it.
#[test]
fn the_rules_about_hardware_are_broken_by_breaks() {
    let breaks = concat!(env!("CARGO_MANIFEST_DIR"), "/../../corpus/breaks");
    let facts: Vec<String> = std::fs::read_dir(breaks)
        .unwrap()
        .map(|entry| std::fs::read_to_string(entry.unwrap().path().join("bug.toml")).unwrap())
        .collect();
    for (rule, _) in WITHOUT_A_KILL.iter().filter(|(_, why)| *why == BREAKS) {
        let listed = facts
            .iter()
            .any(|facts| facts.contains(&format!("\"{rule}\"")));
        assert!(listed, "no break breaks {rule}");
    }
}

/// What an engineer sees of a finding.
#[test]
fn a_finding_as_it_is_told() {
    let text = "\
itsdiff 1
boot queue-pages=1 live-devices=1
command MAPD device=0x2a size=0x4 itt=itt[3]+0x200 valid
command SYNC rdbase=redistributor0
post
";
    let scenario = Scenario::parse(text).expect("the scenario is right");
    let mut runner = Runner::new(|its| Box::new(Sabotaged::new(its, Sabotage::SkipPin, false)));
    let mut trace = its_runner::trace::Trace::default();
    let case = runner.play(&scenario, Some(&mut trace));
    let told = trace
        .text()
        .split_once("\n[0] ")
        .expect("there is an operation")
        .1;
    insta::assert_snapshot!(format!("[0] {told}{}", its_runner::replay::verdict(&case)));
}
