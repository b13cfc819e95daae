//! Generated scenarios on the production emulator: nothing is broken, little is poisoned, nothing depends on chance.

use arbitrary::Unstructured;
use its_runner::trace::Trace;
use its_runner::{Counts, Runner};
use its_scenario::{Scenario, Temper};

/// Bytes that a generated scenario draws from.
const ENTROPY: usize = 4096;

fn scenario(seed: u64, temper: Temper) -> Scenario {
    let mut random = fastrand::Rng::with_seed(seed);
    let bytes: Vec<u8> = (0..ENTROPY).map(|_| random.u8(..)).collect();
    Scenario::generate(&mut Unstructured::new(&bytes), temper)
}

/// Plays so many scenarios, with the account of pointers checked against a full walk after every action.
fn play(number: u64, temper: Temper) -> Counts {
    let mut runner = Runner::production();
    runner.check_account = true;
    let mut counts = Counts::default();
    for seed in 0..number {
        let scenario = scenario(seed, temper);
        let case = runner.play(&scenario, None);
        assert!(
            case.findings.is_empty() && case.defects.is_empty(),
            "{}\n{scenario}",
            its_runner::replay::verdict(&case)
        );
        counts.add(&case.counts);
    }
    counts
}

#[test]
fn legal_traffic_agrees() {
    let counts = play(1000, Temper::Legal);
    assert!(counts.judged > 5 * counts.cases, "{counts:?}");
    assert!(counts.poisoned * 100 <= 5 * counts.cases, "{counts:?}");
    assert_eq!(counts.refused, 0, "legal traffic is never refused");
}

#[test]
fn hostile_traffic_breaks_nothing() {
    let counts = play(1000, Temper::Hostile);
    assert!(counts.judged > 5 * counts.cases, "{counts:?}");
    assert!(counts.poisoned * 100 <= 30 * counts.cases, "{counts:?}");
    assert!(counts.refused > 0 && counts.stalled > 0, "{counts:?}");
}

#[test]
fn the_same_scenario_gives_the_same_trace_whatever_came_before() {
    let mut used = Runner::production();
    for seed in 0..50 {
        let scenario = scenario(seed, Temper::Hostile);
        let trace = |runner: &mut Runner| {
            let mut trace = Trace::default();
            runner.play(&scenario, Some(&mut trace));
            trace.text().to_owned()
        };
        assert_eq!(
            trace(&mut used),
            trace(&mut Runner::production()),
            "{scenario}"
        );
    }
}
