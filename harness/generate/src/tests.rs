//! Tests of the generator as a whole.

use its_scenario::numbers::{Kind, Word};
use its_scenario::{Boot, FuzzTarget, HostCommand, Operation, Scenario, Stage};
use std::collections::{BTreeMap, BTreeSet};

use crate::draft::Draft;
use crate::expected;
use crate::{Temper, generate, legal};
use arbitrary::Unstructured;
use fastrand::Rng;
use its_machine::{Area, ItsConfiguration, MAX_ITS, Pace, Place};
use quickcheck::quickcheck;

pub(crate) fn generated(seed: u64, target: FuzzTarget, temper: Temper) -> Scenario {
    let mut bytes = [0; 4096];
    Rng::with_seed(seed).fill(&mut bytes);
    generate(&mut Unstructured::new(&bytes), target, temper)
}

/// How often each kind of operation comes.
pub(crate) fn counts_of_kinds(
    scenarios: impl Iterator<Item = Scenario>,
) -> BTreeMap<&'static str, usize> {
    let mut counts = BTreeMap::new();
    for operation in scenarios.flat_map(|scenario| scenario.operations) {
        *counts.entry(operation.name()).or_default() += 1;
    }
    counts
}

/// Whether fitting a scenario to a target would change nothing.
pub(crate) fn is_fit(scenario: &Scenario, target: FuzzTarget) -> bool {
    let mut fitted = scenario.clone();
    fitted.fit(target);
    fitted == *scenario
}

quickcheck! {
    fn any_bytes_give_a_playable_scenario(bytes: Vec<u8>, hostile: bool) -> bool {
        let temper = if hostile { Temper::Hostile } else { Temper::Legal };
        FuzzTarget::ALL.into_iter().all(|target| {
            is_fit(&generate(&mut Unstructured::new(&bytes), target, temper), target)
        })
    }

    /// Drawn scenarios have what these steps go by: races with members, runs, equal operations.
    fn every_step_has_fewer_operations_and_can_be_played(
        seed: u64,
        from: usize,
        count: usize
    ) -> bool {
        let target = FuzzTarget::ALL[from % FuzzTarget::ALL.len()];
        let scenario = generated(seed, target, Temper::Hostile);
        let from = from % scenario.operations.len().max(1);
        let run = from..(from + 1 + count % 8).min(scenario.operations.len());
        let mut steps = vec![scenario.without(run.clone())];
        steps.extend(scenario.without_commands(run.clone()));
        steps.extend(scenario.without_equals());
        steps.extend(scenario.without_pairs());
        steps.extend(scenario.folded(run));
        steps.iter().all(|step| {
            let mut fixed = step.clone();
            fixed.fix_up();
            fixed == *step && step.operations.len() < scenario.operations.len()
        })
    }

    fn what_is_generated_is_kept_by_both_forms(seed: u64) -> bool {
        let scenario = generated(seed, FuzzTarget::Cmdq, Temper::Hostile);
        Scenario::decode(&scenario.encode()) == scenario
            && Scenario::parse(scenario.to_string()) == Ok(scenario)
    }
}

#[test]
fn every_kind_is_generated_and_lengths_are_moderate() {
    let hostile = |seed| generated(seed, FuzzTarget::Cmdq, Temper::Hostile);
    let counts = counts_of_kinds((0..2000).map(hostile));
    let drawn = |kind: &&Kind| !crate::hostile::OF_OWNERS.contains(kind) && **kind != Kind::Race;
    for kind in Kind::ALL.iter().filter(drawn) {
        let count = counts.get(kind.name()).copied().unwrap_or(0);
        assert!(count > 20, "{} only {count} times", kind.name());
    }
    let average = counts.values().sum::<usize>() / 2000;
    assert!((30..=55).contains(&average), "{average} operations on average");
}

#[test]
fn no_bytes_give_something_too() {
    let scenario = generate(&mut Unstructured::new(&[]), FuzzTarget::Cmdq, Temper::Hostile);
    assert!(!scenario.operations.is_empty());
}

/// What a legal scenario must never hold, whatever the machine.
fn offence(operation: &Operation, scenario: &Scenario) -> Option<&'static str> {
    let ids = 1_u64 << scenario.configurations[0].device_id_bits;
    let in_itt = |place: Place| matches!(place, Place::In { area: Area::ITT, .. });
    match *operation {
        Operation::Command { command: HostCommand::Raw { .. }, .. }
        | Operation::RawHypercall { .. } => Some("raw"),
        Operation::Tamper { .. } | Operation::Fail { .. } => Some("injected"),
        Operation::Rewind { .. } => Some("rewritten"),
        Operation::WriteCwriter { retry: true, .. } => Some("retried"),
        Operation::WriteCbaser { flip, .. } | Operation::WriteBaser { flip, .. } if flip != 0 => {
            Some("flipped")
        }
        Operation::Grow { flip, .. } if flip != 0 => Some("flipped"),
        Operation::MapDevice { device_id, itt, .. }
        | Operation::Command {
            command: HostCommand::Mapd { device_id, itt_address: itt, valid: true, .. },
            ..
        } if u64::from(device_id) >= ids || !in_itt(itt) => Some("bad MAPD"),
        _ => None,
    }
}

/// Slots that an operation fills, counted apart from [`expected`].
fn slots(operation: &Operation, expected: &expected::ExpectedState) -> u64 {
    match *operation {
        Operation::Command { .. } | Operation::MapDevice { .. } => 1,
        Operation::MapEvent { .. } => 2,
        Operation::UnmapDevice { device_id, .. } => {
            let device = expected.device(device_id);
            device.map_or(1, |device| 1 + 2 * device.events.len() as u64)
        }
        _ => 0,
    }
}

/// With hardware that only moves when given time, phrases that do not wait, and the smallest queue.
#[test]
fn a_small_queue_never_overflows() {
    for seed in 0..300 {
        let mut bytes = [0; 16384];
        Rng::with_seed(seed).fill(&mut bytes);
        let mut u = Unstructured::new(&bytes);
        let configuration = ItsConfiguration { pace: Pace::Never, ..ItsConfiguration::DEFAULT };
        let boot = Boot { queue_pages: 1, ..Boot::default() };
        let mut draft = Draft::new(&mut u, [configuration; MAX_ITS], boot);
        for index in 0..200 {
            let [map_device, map_event, ..] = legal::PHRASES else {
                panic!("too few phrases");
            };
            let phrase = if index % 4 == 0 { map_device } else { map_event };
            phrase(&mut draft);
        }
        let mut expected = expected::ExpectedState::new([configuration; MAX_ITS], boot);
        let mut filled = 0;
        for operation in draft.into_operations() {
            filled += slots(&operation, &expected);
            if let Operation::Advance { commands } = operation {
                filled = filled.saturating_sub(commands.into());
            }
            assert!(filled < 128, "seed {seed}: {filled} at {operation}");
            expected.follow(&operation);
        }
    }
}

/// ITTs of mapped devices never overlap, events are mapped once and below the end of their ITT,
/// INTIDs are LPIs, and the queue never overflows.
#[test]
fn legal_scenarios_are_legal() {
    for seed in 0..3000 {
        let scenario = generated(seed, FuzzTarget::Cmdq, Temper::Legal);
        let mut expected = expected::ExpectedState::new(scenario.configurations, scenario.boot);
        for operation in &scenario.operations {
            let text = || format!("seed {seed}: {operation}\n{scenario}");
            assert_eq!(offence(operation, &scenario), None, "{}", text());
            if let Operation::MapEvent { device_id, event_id, intid, .. }
            | Operation::Command {
                command: HostCommand::Mapti { device_id, event_id, intid, .. },
                ..
            } = *operation
            {
                let device = expected.device(device_id).unwrap_or_else(|| panic!("{}", text()));
                assert!(!device.has(event_id), "{}", text());
                assert!(event_id < 1 << device.event_id_bits, "{}", text());
                assert!((8192..0x1_0000).contains(&intid), "{}", text());
            }
            if let Operation::MapDevice { device_id, .. }
            | Operation::Command {
                command: HostCommand::Mapd { device_id, valid: true, .. },
                ..
            } = *operation
            {
                assert!(expected.device(device_id).is_none(), "{}", text());
            }
            expected.follow(operation);
            let slots = u32::from(scenario.boot.queue_slots());
            assert!(expected.here().written + expected.here().in_flight < slots, "{}", text());
            assert!(itts_are_apart(&expected), "{}", text());
        }
        assert_eq!((expected.here().written, expected.here().in_flight), (0, 0), "{scenario}");
    }
}

fn itts_are_apart(expected: &expected::ExpectedState) -> bool {
    let mut spans: Vec<_> = expected
        .here()
        .devices
        .iter()
        .map(|device| {
            let start = device.itt.pack();
            (start, start + expected.itt_bytes(device.event_id_bits))
        })
        .collect();
    spans.sort_unstable();
    spans.windows(2).all(|pair| pair[0].1 <= pair[1].0)
}

/// Scenarios get deep: queues wrap, batches are longer than 64, slow hardware, several stages.
#[test]
fn deep_places_are_reached() {
    let mut wraps = 0;
    let mut long = 0;
    let mut late = 0;
    let mut early = 0;
    for seed in 0..1000 {
        let scenario = generated(seed, FuzzTarget::Cmdq, Temper::Hostile);
        let mut expected = expected::ExpectedState::new(scenario.configurations, scenario.boot);
        let (mut slots, mut longest) = (0, 0);
        for operation in &scenario.operations {
            longest = longest.max(expected.here().written);
            let before = expected.here().written;
            expected.follow(operation);
            slots += expected.here().written.saturating_sub(before);
        }
        wraps += usize::from(slots > u32::from(scenario.boot.queue_slots()));
        long += usize::from(longest > 64);
        late += usize::from(scenario.configurations[0].pace != Pace::AtOnce);
        early += usize::from(scenario.boot.stage != Stage::Guarded);
    }
    assert!(wraps > 5 && long > 30 && late > 200 && early > 100, "{wraps} {long} {late} {early}");
}

#[test]
fn boards_of_three_are_finalized_and_set_up_whole() {
    let legal = |seed| generated(seed, FuzzTarget::Hvc, Temper::Legal);
    let three = |scenario: &Scenario| {
        scenario.boot.stage == Stage::Probed && scenario.boot.its.max(scenario.boot.cpus) == 3
    };
    let scenarios: Vec<Scenario> = (0..2000).map(legal).filter(three).collect();
    assert!(scenarios.len() > 20);
    for scenario in scenarios {
        let (mut current, mut finalized, mut set_up) = (0, BTreeSet::new(), BTreeSet::new());
        for operation in &scenario.operations {
            match *operation {
                Operation::SelectIts { its } => current = its,
                Operation::Finalize { cpu } => _ = finalized.insert(cpu),
                Operation::SetUp { .. } => _ = set_up.insert(current),
                _ => {}
            }
        }
        let Boot { cpus, its, .. } = scenario.boot;
        assert_eq!((finalized.len(), set_up.len()), (cpus.into(), its.into()), "{scenario}");
    }
}
