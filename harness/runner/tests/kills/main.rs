//! Each rule is broken by some sabotage of EL2, and by none when EL2 is honest.
//!
//! A rule that no broken subject can break says nothing: `every_rule_has_a_kill` lists what stands
//! for each.

mod harm;
mod minimizing;
mod property;
mod saboteur;

use std::collections::BTreeSet;

use its_gic::command::opcode;
use its_machine::Area;
use its_rules::{Layer, Layers, catalogue as rules};
use its_runner::replay::silence_subject_panics;
use its_runner::trace::Trace;
use its_runner::{Runner, Verdict};
use its_scenario::Scenario;
use saboteur::{Call, Sabotage, Sabotaged};

/// Maps devices, grows a table, uses and unmaps them.
const LIFE: &str = "\
itsdiff 2
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
itsdiff 2
its0 pace=never
boot queue-pages=1
map-device device=0x2a event-id-bits=0x5 itt=itt[3]
command MAPD device=0x2a size=0x4 itt=itt[9] valid
write-cwriter
";

/// The same life on the second of two guarded ITSs.
const SECOND: &str = "\
itsdiff 2
boot live-devices=1 queue-pages=1 its=2
select-its 1
map-device device=0x2a event-id-bits=0x5 itt=itt[3]+0x200
map-device device=0x2000 event-id-bits=0x5 itt=itt[5]
unmap-device device=0x2a
poll 2
";

/// A collection table of two levels grows.
const COLLECTIONS: &str = "\
itsdiff 2
its0 two-level-collections=yes
boot queue-pages=1 collections=two-level
grow-collection icid=0x2000 level2=level2[112]
command MAPC icid=0x2000 rdbase=redistributor0 valid
write-cwriter
poll 1
";

/// Hardware that keeps configurations; an LPI is masked while it is pending, taken, and discarded.
const RAISED: &str = "\
itsdiff 2
its0 lpi-cache=kept
boot queue-pages=1
map-device device=0x2a event-id-bits=0x5 itt=itt[3]
map-event device=0x2a event=0x7 intid=0x2007 icid=0x0
unmask device=0x2a event=0x7
msi device=0x2a event=0x7
acknowledge
msi device=0x2a event=0x7
mask device=0x2a event=0x7
acknowledge
command DISCARD device=0x2a event=0x7
command SYNC rdbase=redistributor0
write-cwriter
poll 2
";

/// Power is lost before the table in memory says that a device is gone.
const STALE: &str = "\
itsdiff 2
its0 caches=write-back pace=never
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
itsdiff 2
boot stage=deprivileged queue-pages=1 live-devices=2
fail pin nth=3
set-up private=private[0] descriptor=descriptor[0] private-pages=0x1
";

/// A level-2 table joins with the first command.
const GROWTH: &str = "\
itsdiff 2
boot queue-pages=1
grow device=0x2000 level2=level2[16]
command MAPD device=0x2000 size=0x4 itt=itt[3] valid
write-cwriter
poll 1
";

/// CPU 0 maps a device while CPU 1 looks.
const RACED: &str = "\
itsdiff 2
boot queue-pages=1 live-devices=1
race 4 turns=8,9,u1,u1,3,u2
command MAPD device=0x2 size=0x4 itt=itt[3] valid
write-cwriter
poll 2
poll 2 cpu=1
poll 2
unmap-device device=0x0
command MAPD device=0x2 size=0x4 itt=itt[3]
write-cwriter
poll 2
";

/// A set-up of a device that is no ITS.
const NO_ITS: &str = "\
itsdiff 2
boot stage=deprivileged queue-pages=1
set-up private=private[0] descriptor=descriptor[0] private-pages=0x1 device-flip=0x100000
";

/// ITTs of two pages, and of one.
const WIDE: &str = "\
itsdiff 2
boot queue-pages=1
map-device device=0x2a event-id-bits=0xa itt=itt[3]
unmap-device device=0x2a
poll 2
";

/// Collections, stopping and starting, redistributors, and accesses that are ignored.
const LEGAL: &str = "\
itsdiff 2
boot queue-pages=1
command MAPC icid=0x1 rdbase=redistributor0 valid
command SYNC rdbase=redistributor0
write-cwriter
read its0 CWRITER
read its0 CREADR
read its0 +0x2000 size=4
write its0 IIDR 0x1
write redistributor0 +0x14 size=4 0x0
suspend
resume
";

const ILLEGAL: &str = "\
itsdiff 2
boot queue-pages=1
command SYNC rdbase=0x9
write-cwriter
";

/// A page that is given away while the ITS is not guarded.
const CLOSING: &str = "\
itsdiff 2
boot stage=deprivileged
donate-guest host[0]
";

/// Rules about hardware, which no sabotage of EL2 breaks: a mistake of the board or the reference
/// in `corpus/breaks` does.
const OF_BREAKS: [&str; 7] = [
    "DIV-ACCESS",
    "DIV-PROGRESS",
    "DIV-INTERRUPT",
    "ARCH-REGISTER",
    "ARCH-FETCH",
    "ARCH-COMMAND",
    "ARCH-OFFERED",
];

/// What is judged of an emulation with any policy, one layer at a time.
const OF_ANY_POLICY: [Layer; 2] = [Layer::Safety, Layer::Service];

fn only(layer: Layer) -> Layers {
    layer.name().parse().unwrap()
}

fn broken(
    sabotage: Sabotage,
    from_set_up: bool,
    text: &str,
    layers: Layers,
) -> BTreeSet<&'static str> {
    silence_subject_panics();
    let scenario = Scenario::parse(text).expect("the scenario is right");
    let mut runner =
        Runner::new(move |machine| Box::new(Sabotaged::new(machine.its, sabotage, from_set_up)));
    runner.check_account = true;
    runner.layers = layers;
    let case = runner.play_twice(&scenario, &mut Trace::default());
    assert_eq!(case.defects, Vec::<String>::new(), "{sabotage:?}");
    case.findings.iter().map(|finding| finding.rule.id).collect()
}

#[test]
fn an_honest_el2_breaks_nothing() {
    let more = [SECOND, COLLECTIONS, STALE, RAISED, RACED];
    for text in [LIFE, SLOW, GROWTH, FAILING, WIDE, LEGAL, ILLEGAL, CLOSING].into_iter().chain(more)
    {
        for layers in OF_ANY_POLICY.map(only).into_iter().chain([Layers::ALL]) {
            let none = BTreeSet::new();
            assert_eq!(broken(Sabotage::None, true, text, layers), none, "{text}");
        }
    }
}

/// What stands for a rule: a sabotage, whether set-up is sabotaged too, and a scenario.
type Kill = (&'static str, Sabotage, bool, &'static str);

const fn kill(rule: &'static str, sabotage: Sabotage, text: &'static str) -> Kill {
    (rule, sabotage, false, text)
}

const fn in_set_up(rule: &'static str, sabotage: Sabotage, text: &'static str) -> Kill {
    (rule, sabotage, true, text)
}

const fn itt(area: Area) -> Sabotage {
    Sabotage::Itt(area.address())
}

const fn flip(opcode: u8, word: usize, bits: u64) -> Sabotage {
    Sabotage::Flip { opcode, word, bits }
}

fn kills() -> Vec<Kill> {
    use Sabotage as S;
    let enabled = 1;
    vec![
        kill("DIV-REGISTER", S::Answer(0x88), LEGAL),
        kill("DIV-CREADR", S::RushCreadr, SLOW),
        kill("DIV-ZERO", S::Answer(0x2000), LEGAL),
        in_set_up("DIV-HYPERCALL", S::AllowDonation, CLOSING),
        in_set_up("DIV-SETUP", S::ForgetTyper, LIFE),
        in_set_up("DIV-ERRNO", S::OtherErrno, FAILING),
        kill("DIV-COMMAND", S::KnowMore, ILLEGAL),
        kill("DIV-REFUSED", S::RefusePin, LIFE),
        kill("DIV-BYTES", flip(opcode::MAPD, 0, 1 << 16), LIFE),
        kill("DIV-LOOK", S::Foresee(0x90), LIFE),
        kill("DIV-UNJUDGED", S::MakeUp, LIFE),
        kill("DIV-BESIDE", S::WriteBeside, LIFE),
        kill("DIV-REST", S::Foresee(0x80), LEGAL),
        kill("DIV-FORWARD", S::SkipWrite(0x88), LIFE),
        kill("DIV-CTLR", S::SkipWrite(0x00), LEGAL),
        kill("DIV-BASE", S::SkipWrite(0x80), LEGAL),
        kill(
            "DIV-REDISTRIBUTOR",
            S::SkipWrite(its_machine::REDISTRIBUTOR_FRAMES[0] + 0x14 - its_machine::ITS_FRAMES[0]),
            LEGAL,
        ),
        kill("DIV-STRAY", S::WriteAtLook(0x40, 0), LIFE),
        kill("DIV-OWNERSHIP", S::DonateMore, LIFE),
        kill("DIV-PINS", S::Twice(Call::Pin), LIFE),
        kill("DIV-SHARED", S::Skip(Call::Unshare), LIFE),
        kill("DIV-SHARED", S::Twice(Call::Unpin), LIFE),
        kill("DIV-GROWTH", S::Skip(Call::Entry), LIFE),
        kill("DIV-ENTRY", S::Level2(Area::LEVEL2.page(32)), LIFE),
        kill("DIV-TRANSLATION", S::ScribbleOther, LIFE),
        kill("DIV-LOST", S::Scribble, LIFE),
        in_set_up("LEAK-HOST", S::SkipDonate(Area::QUEUE), LIFE),
        in_set_up("LEAK-TABLE", S::SkipDonate(Area::COLLECTION_TABLE), LIFE),
        kill("LEAK-LEVEL2", S::SkipDonate(Area::LEVEL2), GROWTH),
        kill("LEAK-LOOSE", S::SkipPin(Area::ITT), LIFE),
        in_set_up("LEAK-LOOSE", S::SkipPin(Area::ITT), LIFE),
        in_set_up("LEAK-LPI", S::SkipPin(Area::PENDING), LIFE),
        in_set_up("LEAK-SHADOW", S::SkipPin(Area::QUEUE_COPY), LIFE),
        in_set_up("LEAK-HOST", S::SkipDonate(Area::QUEUE.of_its(1)), SECOND),
        kill("LEAK-LOOSE", S::SkipPin(Area::ITT), SECOND),
        kill("LEAK-LOOSE", S::Restart, STALE),
        kill("LEAK-RECORDS", S::LoseDescriptor, LIFE),
        kill("LEAK-FOREIGN", itt(Area::EL2), LIFE),
        kill("LEAK-PRIVATE", itt(Area::PRIVATE), LIFE),
        kill("LEAK-PRIVATE", itt(Area::PRIVATE), SECOND),
        kill("PTR-MEMORY", itt(Area::HOLE), LIFE),
        kill("PTR-ALIGN", S::LowBit, LIFE),
        kill("PTR-ALIGN", S::LowBit, SECOND),
        kill("PTR-ALIGN", S::LowBit, COLLECTIONS),
        kill("PTR-OVERLAP", itt(Area::DEVICE_TABLE), SECOND),
        kill("PTR-OVERLAP", itt(Area::DEVICE_TABLE), LIFE),
        kill("PTR-CONTENTS", S::Skip(Call::Zero), LIFE),
        kill("PTR-KEPT", S::Scribble, LIFE),
        kill("PTR-DEVICE", flip(opcode::MAPD, 0, 1 << 63), LIFE),
        kill("PTR-SIZE", flip(opcode::MAPD, 1, 0x1b), LIFE),
        kill("PTR-ITT", itt(Area::HOLE), SLOW),
        kill("PTR-COLLECTION", flip(opcode::MAPC, 2, 0x8000), LEGAL),
        kill("PTR-TARGET", flip(opcode::SYNC, 2, 9 << 16), LEGAL),
        kill("PTR-OPCODE", flip(opcode::SYNC, 0, 0x20), LEGAL),
        kill("PTR-RESERVED", flip(opcode::SYNC, 3, 1), LEGAL),
        kill("PTR-QUEUE", S::WriteBeforeStart(0x80, 0x1_0000), LEGAL),
        kill("PTR-TABLES", S::WriteBeforeStart(0x108, 0x1_0000), LEGAL),
        kill("PTR-ATTRIBUTES", S::WriteBeforeStart(0x80, 1 << 59), LEGAL),
        kill("PTR-ATTRIBUTES", S::WriteBeforeStart(0x108, 1 << 53), LEGAL),
        kill("PTR-WRITER", S::WriteBits(0x88, 0x8_0000), SLOW),
        kill("PTR-COMMAND", S::WriteBits(0x88, 0x800), LIFE),
        kill("EL2-PANIC", S::Panic, LIFE),
        kill("EL2-UNDEFINED", S::Divide, LIFE),
        kill("EL2-WARN", S::Warn, LIFE),
        kill("EL2-ACCESS", S::Misalign, LIFE),
        kill("EL2-DEVICE", S::ReadByte, LIFE),
        kill("EL2-LOCK", S::Skip(Call::Release), LIFE),
        kill("EL2-DEADLOCK", S::Twice(Call::Acquire), LIFE),
        kill("EL2-UNLOCKED", S::Skip(Call::Acquire), LIFE),
        kill("EL2-HELD", S::LateCwriter, LIFE),
        kill("EL2-SECTION", S::OpenSection, WIDE),
        kill("EL2-ORDER", S::MemoryFirst, LIFE),
        kill("EL2-WORK", S::Spin, LIFE),
        kill("EL2-BATCH", S::CopyMany(65), LIFE),
        kill("EL2-RELEASE", S::TakeMany(65), LIFE),
        kill("EL2-FLIGHT", S::WriteBits(0x88, 0x800), SLOW),
        kill("EL2-FETCH", S::Twice(Call::Copy), LIFE),
        kill("EL2-REREAD", S::RereadEntry, GROWTH),
        kill("EL2-POSTED", S::CopyNext, LIFE),
        kill("EL2-CLEAN", S::Skip(Call::Clean), LIFE),
        kill("EL2-LEVEL2", S::SkipCleanLevel2, GROWTH),
        kill("EL2-BARRIER", S::Skip(Call::Order), LIFE),
        kill("EL2-FENCE", S::Skip(Call::Order), GROWTH),
        kill("EL2-STORE", S::Twice(Call::Entry), GROWTH),
        kill("EL2-STEADY", S::OrderAtFirst, LIFE),
        in_set_up("UNDO-CALL", S::Skip(Call::Reclaim), FAILING),
        in_set_up("UNDO-BORROWED", S::Skip(Call::Unpin), FAILING),
        in_set_up("UNDO-CONTENTS", S::Skip(Call::Zero), FAILING),
        in_set_up("EL2-ZERO", S::Skip(Call::Zero), FAILING),
        in_set_up("UNDO-CLEAN", S::Skip(Call::Clean), FAILING),
        in_set_up("UNDO-HARDWARE", S::WriteInSetUp(0x00, 0), FAILING),
        kill("UNDO-COMMAND", S::HalfBorrow, WIDE),
        kill("UNDO-IGNORED", S::Dabble(0x04), LEGAL),
        kill("HW-UNPREDICTABLE", S::WriteAtLook(0x80, 0), LIFE),
        kill("HW-BASER", S::WriteAtLook(0x100, 0), LIFE),
        kill("HW-START", S::WriteBeforeStart(0x80, 1 << 63), LEGAL),
        kill("HW-CTLR", S::WriteBits(0x00, 2), LEGAL),
        kill("HW-CWRITER", S::WriteBits(0x88, 2), LIFE),
        kill("HW-LPI", S::WriteAtLook(its_machine::REDISTRIBUTOR_FRAMES[0] + 0x78, 0), LIFE),
        kill("HW-RETRY", S::WriteBits(0x88, enabled), LIFE),
        kill("EL2-WAIT", S::PollOften(1_001), LIFE),
        kill("EL2-WAIT", S::Wait(1_001), LIFE),
        in_set_up("EL2-FRAME", S::AnyDevice, NO_ITS),
        kill("UNDO-REST", S::Skip(Call::Unpin), WIDE),
        kill("UNDO-REST", S::Twice(Call::Pin), RACED),
        in_set_up("SVC-SETUP", S::ForgetTyper, LIFE),
        kill("SVC-QUEUE", S::RefusePin, LIFE),
        kill("SVC-QUEUE", S::RefusePin, RACED),
        kill("SVC-QUEUE", S::Answer(0x90), LIFE),
        kill("SVC-LOST", S::Scribble, LIFE),
        kill("SVC-STRAY", flip(opcode::DISCARD, 0, 0x0a), RAISED),
        kill("SVC-TAKEN", flip(opcode::INV, 0, 0x09), RAISED),
    ]
}

/// The boards of [`LIFE`] and [`GROWTH`] on which EL2 need not clean, and on which it must.
#[test]
fn a_clean_is_missing_where_devices_do_not_snoop() {
    for (text, rule) in [(LIFE, "EL2-CLEAN"), (GROWTH, "EL2-LEVEL2")] {
        for (snooping, is_missing) in [("unsaid", true), ("no", true), ("yes", false)] {
            let machine = format!("coherent-queue={snooping} coherent-tables={snooping}");
            let text = text.replace("boot ", &format!("boot {machine} "));
            let found = broken(Sabotage::Skip(Call::Clean), false, &text, Layers::ALL);
            assert_eq!(found.contains(rule), is_missing, "{rule} on {machine}: {found:?}");
            assert!(is_missing || found.is_empty(), "{machine}: {found:?}");
            let honest = broken(Sabotage::None, true, &text, Layers::ALL);
            assert_eq!(honest, BTreeSet::new(), "{machine}");
        }
    }
    for (snooping, is_missing) in [("unsaid", true), ("no", true), ("yes", false)] {
        let text = FAILING.replace("boot ", &format!("boot coherent-tables={snooping} "));
        let found = broken(Sabotage::Skip(Call::Clean), true, &text, Layers::ALL);
        assert_eq!(found.contains("UNDO-CLEAN"), is_missing, "{snooping}: {found:?}");
    }
}

/// One line a kill, for `cargo xtask rules --matrix`: `kill: SABOTAGE | RULE RULE`.
#[test]
fn every_rule_has_a_kill() {
    let mut killed: BTreeSet<&str> = OF_BREAKS.into_iter().collect();
    let mut missed = Vec::new();
    for (rule, sabotage, from_set_up, text) in kills() {
        let layer = rules::find(rule).expect("a rule of the catalogue").layer;
        // Where the policy is judged its reference reports what service would, and ends a case
        // before the end is judged.
        let is_alone = layer == Layer::Service || rule == "UNDO-REST";
        let together = if is_alone { only(layer) } else { Layers::ALL };
        let found = broken(sabotage, from_set_up, text, together);
        let rules = found.iter().copied().collect::<Vec<_>>().join(" ");
        println!("kill: {sabotage:x?} | {rules}");
        if !found.contains(rule) {
            missed.push(format!("{sabotage:?} breaks {found:?}, not {rule}"));
        }
        if OF_ANY_POLICY.contains(&layer) {
            let alone = broken(sabotage, from_set_up, text, only(layer));
            if !alone.contains(rule) {
                missed
                    .push(format!("without a reference {sabotage:?} breaks {alone:?}, not {rule}"));
            }
        }
        killed.insert(rule);
    }
    assert!(missed.is_empty(), "{missed:#?}");
    let all: BTreeSet<&str> = rules::ALL.iter().map(|rule| rule.id).collect();
    let missing: Vec<_> = all.difference(&killed).collect();
    assert!(missing.is_empty(), "no sabotage breaks {missing:?}");
}

/// The reference stops where the host does not clean an ITT that the ITS reads; rules of safety go
/// on.
#[test]
fn safety_is_judged_after_the_reference_stopped() {
    const BENEATH: &str = "\
itsdiff 2
boot host-stores=cached queue-pages=1 live-devices=1
store itt[0]+0x10 value=0x1
map-event device=0x0 event=0x3 intid=0x2001 icid=0x0
write-back itt[0]
map-device device=0x6 event-id-bits=5 itt=itt[9]
";
    let scenario = Scenario::parse(BENEATH).expect("the scenario is right");
    let verdict = Runner::new(its_production::make).play(&scenario, None).verdict;
    assert!(matches!(verdict, Verdict::Poisoned(_)), "{verdict}");
    let pins = |sabotage| broken(sabotage, false, BENEATH, Layers::ALL);
    assert_eq!(pins(Sabotage::None), BTreeSet::new());
    assert_eq!(pins(Sabotage::SkipPin(Area::ITT)), BTreeSet::from(["LEAK-LOOSE"]));
}

/// What is said to be in `corpus/breaks` is there; `cargo xtask test` plays it.
#[test]
fn the_rules_about_hardware_are_broken_by_breaks() {
    let breaks = concat!(env!("CARGO_MANIFEST_DIR"), "/../../corpus/breaks");
    let facts: Vec<String> = std::fs::read_dir(breaks)
        .unwrap()
        .map(|entry| std::fs::read_to_string(entry.unwrap().path().join("bug.toml")).unwrap())
        .collect();
    for rule in OF_BREAKS {
        let listed = facts.iter().any(|facts| facts.contains(&format!("\"{rule}\"")));
        assert!(listed, "no break breaks {rule}");
    }
}

/// What an engineer sees of a finding.
#[test]
fn a_finding_as_it_is_shown() {
    let text = "\
itsdiff 2
boot queue-pages=1 live-devices=1
command MAPD device=0x2a size=0x4 itt=itt[3]+0x200 valid
command SYNC rdbase=redistributor0
write-cwriter
";
    let scenario = Scenario::parse(text).expect("the scenario is right");
    let mut runner = Runner::new(|machine| {
        Box::new(Sabotaged::new(machine.its, Sabotage::SkipPin(Area::ITT), false))
    });
    let mut trace = Trace::default();
    let case = runner.play(&scenario, Some(&mut trace));
    let text = case.replayed(trace).text();
    let shown = text.split_once("\n[0] ").expect("there is an operation").1;
    insta::assert_snapshot!(format!("[0] {shown}"));
}
