//! Each rule of safety stands for a harm: a scenario goes on after the breach until the board shows
//! it.

mod observe;
mod play;
mod scenarios;

use std::collections::BTreeSet;

use its_machine::{Area, ITS_FRAMES, REDISTRIBUTOR_FRAMES};
use its_rules::{Layer, Layers, catalogue as rules};
use its_runner::Runner;
use its_runner::replay::silence_subject_panics;
use its_scenario::Scenario;

use crate::saboteur::{Call, Sabotage, Sabotaged};
use crate::{itt, only};
use Harm::{Loses, Obeys, Shows, Stops, Writes};
use Sabotage as S;
use observe::Harm;
use play::Moment;
use scenarios::*;

/// Rules whose harm this board cannot show, and why.
const NOT_ON_THE_BOARD: &[(&str, &str)] = &[
    ("PTR-OPCODE", "its ITSs know the twelve physical commands alone, and refuse or skip others"),
    ("HW-START", "an ITS that is enabled unready follows nothing on it"),
];

/// Mistakes that are half of a sabotage of the table, and need a breach to do harm.
const HALVES: &[(Sabotage, &str)] = &[
    // The host may switch LPIs off. An honest EL2 never lets it, and on this board no redistributor
    // stores before.
    (S::WriteBits(REDISTRIBUTOR_FRAMES[0] - ITS_FRAMES[0], 1), PENDING),
    // EL2 copies each command again and reads each level-1 entry again, and nobody changes them.
    (S::Refetch, MAPPED),
    (S::RereadEntry, MAPPED),
];

/// What follows the breach of a rule: a sabotage, whether set-up is sabotaged too, a scenario.
type Row = (&'static str, Harm, Sabotage, bool, &'static str);

const fn follows(rule: &'static str, harm: Harm, sabotage: Sabotage, text: &'static str) -> Row {
    (rule, harm, sabotage, false, text)
}

const fn in_set_up(rule: &'static str, harm: Harm, sabotage: Sabotage, text: &'static str) -> Row {
    (rule, harm, sabotage, true, text)
}

/// A device table entry of 32 events whose ITT is at `el2[0]`.
const FORGED: u64 = 0x8000_0100_1401;
const CBASER: u64 = 0x80;
const CWRITER: u64 = 0x88;
const BASER0: u64 = 0x100;
/// From the queue to `host[0]`.
const QUEUE_TO_HOST: u64 = Area::QUEUE.address() ^ Area::HOST.address();
/// From the device table to `host[0]`.
const TABLE_TO_HOST: u64 = Area::DEVICE_TABLE.address() ^ Area::HOST.address();

const ROWS: &[Row] = &[
    in_set_up("LEAK-HOST", Obeys, S::Lend(Area::QUEUE), IN_FLIGHT),
    in_set_up("LEAK-TABLE", Writes, S::Lend(Area::DEVICE_TABLE), LEVEL1),
    follows("LEAK-LEVEL2", Writes, S::Lend(Area::LEVEL2), LEVEL2),
    follows("LEAK-LOOSE", Writes, S::SkipPin(Area::ITT), GIVEN_AWAY),
    in_set_up("LEAK-LPI", Writes, S::LoosePending, PENDING),
    in_set_up("LEAK-SHADOW", Stops, S::SkipPin(Area::QUEUE_COPY), MAPPED),
    in_set_up("LEAK-RECORDS", Writes, S::Lend(Area::PRIVATE), RECORDS),
    follows("LEAK-FOREIGN", Writes, itt(Area::EL2), MAPPED),
    follows("LEAK-PRIVATE", Writes, itt(Area::PRIVATE), MAPPED),
    follows("PTR-MEMORY", Writes, itt(Area::HOLE), MAPPED),
    follows("PTR-ALIGN", Writes, S::ShiftLevel2, STALE_LEVEL2),
    follows("PTR-OVERLAP", Obeys, itt(Area::QUEUE), OVER_QUEUE),
    follows("PTR-CONTENTS", Writes, S::Skip(Call::Zero), STALE_LEVEL2),
    follows("PTR-KEPT", Writes, S::StoreAtLook(Area::LEVEL2.address() + 0x180, FORGED), LIVE_TABLE),
    follows("PTR-ITT", Writes, itt(Area::HOLE), MAPPED),
    follows("PTR-QUEUE", Obeys, S::WriteBeforeStart(CBASER, QUEUE_TO_HOST), RESTARTED),
    follows(
        "PTR-TABLES",
        Writes,
        S::WriteBeforeStart(BASER0, TABLE_TO_HOST),
        RESTARTED_ON_OTHER_TABLES,
    ),
    follows("PTR-WRITER", Obeys, S::WriteBits(CWRITER, 0x8_00a0), AROUND),
    follows("PTR-COMMAND", Obeys, S::WriteBits(CWRITER, 0xa0), AROUND),
    follows("EL2-PANIC", Stops, S::Panic, MAPPED),
    follows("EL2-UNDEFINED", Writes, S::Divide, GIVEN_AWAY),
    follows("EL2-WARN", Stops, S::Warn, MAPPED),
    follows("EL2-ACCESS", Stops, S::Misalign, MAPPED),
    follows("EL2-DEVICE", Stops, S::ReadByte, MAPPED),
    follows("EL2-LOCK", Stops, S::Skip(Call::Release), LOOKS),
    follows("EL2-DEADLOCK", Stops, S::Twice(Call::Acquire), MAPPED),
    follows("EL2-UNLOCKED", Loses, S::NoteLate, AT_ONCE),
    follows("EL2-ORDER", Stops, S::MemoryAround, OPPOSITE),
    follows("EL2-WORK", Stops, S::Spin, MAPPED),
    follows("EL2-WAIT", Stops, S::Wait(10_000_000), MAPPED),
    in_set_up("EL2-FRAME", Writes, S::AnyDevice, NO_ITS),
    follows("EL2-FETCH", Writes, S::Refetch, COPIED_TWICE),
    follows("EL2-REREAD", Writes, S::RereadEntry, READ_TWICE),
    follows("EL2-CLEAN", Obeys, S::Skip(Call::Clean), RESTARTED),
    follows("EL2-LEVEL2", Writes, S::SkipCleanLevel2, STALE_LEVEL2),
    follows("EL2-BARRIER", Obeys, S::Skip(Call::Order), RESTARTED),
    follows("EL2-FENCE", Writes, S::EvictUnordered, STALE_LEVEL2),
    in_set_up("EL2-ZERO", Writes, S::KeepWords, FORGED_RECORD),
    follows("EL2-STORE", Writes, S::HalfEntry, HALF_ENTRY),
    in_set_up("UNDO-CALL", Loses, S::Skip(Call::Reclaim), FAILED),
    in_set_up("UNDO-BORROWED", Loses, S::Skip(Call::Unpin), FAILED_THEN_NOT),
    in_set_up("UNDO-CONTENTS", Shows, S::Skip(Call::Zero), FAILED),
    in_set_up("UNDO-CLEAN", Obeys, S::EvictRecords, RECORDS_AS_ITT),
    follows("UNDO-HARDWARE", Obeys, S::WriteInSetUp(CWRITER, 0xa0), AROUND),
    follows("UNDO-COMMAND", Loses, S::HalfBorrow, GONE),
    follows("UNDO-REST", Loses, S::Skip(Call::Unpin), GONE),
    follows("HW-UNPREDICTABLE", Obeys, S::WriteAtLook(CBASER, 0), AROUND),
    follows("HW-BASER", Writes, S::WriteAtLook(BASER0, TABLE_TO_HOST), OTHER_TABLES),
    follows("HW-LPI", Writes, S::MovePending(Area::EL2.address()), PENDING),
];

/// Harm that no rule of safety reports, and the rule of policy that alone does.
const REPORTED_BY_POLICY: &[Row] = &[
    // A page becomes a guest's while an ITS that nobody guards can reach it.
    in_set_up("DIV-HYPERCALL", Writes, S::AllowDonation, NO_ITS),
];

/// What a case breaks of some layers.
fn broken(
    scenario: &Scenario,
    (sabotage, from_set_up): (Sabotage, bool),
    layers: Layers,
) -> BTreeSet<&'static str> {
    let mut runner =
        Runner::new(move |machine| Box::new(Sabotaged::new(machine.its, sabotage, from_set_up)));
    runner.layers = layers;
    let case = runner.play(scenario, None);
    assert_eq!(case.defects, Vec::<String>::new(), "{sabotage:?}");
    case.findings.iter().map(|finding| finding.rule.id).collect()
}

fn done(moments: &[Moment]) -> Vec<Harm> {
    Harm::ALL.into_iter().filter(|harm| harm.is_done(moments)).collect()
}

#[test]
fn every_safety_rule_has_a_scenario_in_which_the_harm_follows() {
    silence_subject_panics();
    let mut missed = Vec::new();
    for (rule, harm, sabotage, from_set_up, text) in ROWS.iter().copied() {
        let scenario = Scenario::parse(text).expect("the scenario is right");
        let found = broken(&scenario, (sabotage, from_set_up), only(Layer::Safety));
        if !found.contains(rule) {
            missed.push(format!("{rule}: {sabotage:?} breaks {found:?}"));
        }
        let seen = done(&play::play(&scenario, sabotage, from_set_up));
        println!("harm: {rule} {harm:?} | {sabotage:x?} | {seen:?}");
        if seen != [harm] {
            missed.push(format!("{rule}: {sabotage:?} leads to {seen:?}, not {harm:?}"));
        }
    }
    assert!(missed.is_empty(), "{missed:#?}");
}

/// The list shrinks with each rule of safety that is missing and comes.
#[test]
fn some_harm_is_reported_by_policy_alone() {
    for (rule, harm, sabotage, from_set_up, text) in REPORTED_BY_POLICY.iter().copied() {
        let scenario = Scenario::parse(text).expect("the scenario is right");
        let sabotaged = (sabotage, from_set_up);
        assert_eq!(broken(&scenario, sabotaged, only(Layer::Safety)), BTreeSet::new(), "{rule}");
        assert!(broken(&scenario, sabotaged, Layers::ALL).contains(rule), "{rule}");
        assert_eq!(done(&play::play(&scenario, sabotage, from_set_up)), [harm], "{rule}");
    }
}

#[test]
fn an_honest_el2_does_no_harm() {
    silence_subject_panics();
    for (rule, _, _, from_set_up, text) in ROWS.iter().copied() {
        let scenario = Scenario::parse(text).expect("the scenario is right");
        let none = (Sabotage::None, from_set_up);
        assert_eq!(broken(&scenario, none, Layers::ALL), BTreeSet::new(), "{rule}");
        let moments = play::play(&scenario, Sabotage::None, from_set_up);
        let done = done(&moments);
        assert_eq!(done, [], "{rule} without a breach");
    }
}

#[test]
fn half_of_a_sabotage_does_no_harm() {
    for (sabotage, text) in HALVES {
        let scenario = Scenario::parse(text).expect("the scenario is right");
        assert_eq!(done(&play::play(&scenario, *sabotage, false)), [], "{sabotage:?}");
    }
}

#[test]
fn every_safety_rule_is_in_the_table_or_cannot_be() {
    let safety = rules::ALL.iter().filter(|rule| rule.layer == Layer::Safety);
    let all: BTreeSet<&str> = safety.map(|rule| rule.id).collect();
    let shown: Vec<&str> = ROWS.iter().map(|(rule, ..)| *rule).collect();
    let not_shown = NOT_ON_THE_BOARD.iter().map(|(rule, _)| *rule);
    let listed: Vec<&str> = shown.into_iter().chain(not_shown).collect();
    assert_eq!(listed.iter().copied().collect::<BTreeSet<_>>(), all);
    assert_eq!(listed.len(), all.len(), "a rule is listed twice");
}
