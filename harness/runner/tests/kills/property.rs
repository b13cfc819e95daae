//! Generated scenarios as a property of quickcheck, whose counterexamples shrink as findings do: to
//! a short scenario with the same signature, which a file can keep.

use std::fmt;

use arbitrary::Unstructured;
use its_board::BoardSubject;
use its_generate::{Temper, generate};
use its_machine::Machine;
use its_reports::finding_file::report;
use its_runner::minimize::{findings, minimize};
use its_runner::{Make, replay};
use its_scenario::{FuzzTarget, Scenario};
use quickcheck::{Arbitrary, Gen, QuickCheck, Testable};

use crate::saboteur::{Call, Sabotage, Sabotaged};

fn wrong(machine: &Machine) -> Box<dyn BoardSubject> {
    Box::new(Sabotaged::new(machine.its, Sabotage::Twice(Call::Unpin), false))
}

/// A scenario, shown with what it breaks: on the production emulator, or on a `WRONG` one.
#[derive(Clone)]
struct Tried<const WRONG: bool>(Scenario);

impl<const WRONG: bool> Tried<WRONG> {
    const MAKE: Make = if WRONG { wrong } else { its_production::make };
}

impl<const WRONG: bool> fmt::Debug for Tried<WRONG> {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        match findings(&self.0, Self::MAKE).first() {
            Some(finding) => f.write_str(&report(finding, &self.0)),
            None => write!(f, "{}", self.0),
        }
    }
}

impl<const WRONG: bool> Arbitrary for Tried<WRONG> {
    fn arbitrary(g: &mut Gen) -> Self {
        let bytes: Vec<u8> = (0..512).flat_map(|_| u64::arbitrary(g).to_le_bytes()).collect();
        let target = *g.choose(&FuzzTarget::ALL).expect("there are targets");
        Self(generate(&mut Unstructured::new(&bytes), target, Temper::Hostile))
    }

    fn shrink(&self) -> Box<dyn Iterator<Item = Self>> {
        let done = minimize(&self.0, None, Self::MAKE, 20_000, |_| {});
        let shorter = done.ok().map(|(_, done)| done.scenario);
        Box::new(shorter.filter(|scenario| *scenario != self.0).map(Self).into_iter())
    }
}

fn breaks_nothing<const WRONG: bool>(tried: Tried<WRONG>) -> bool {
    findings(&tried.0, Tried::<WRONG>::MAKE).is_empty()
}

fn checked(property: impl Testable) -> Result<u64, String> {
    // The same cases each time: what a test says must not depend on the day.
    let random = Gen::from_size_and_seed(100, 2026);
    let tests = QuickCheck::new().rng(random).tests(300).quicktest(property);
    tests.map_err(|failed| format!("{failed:?}"))
}

#[test]
fn generated_scenarios_break_nothing() {
    checked(breaks_nothing as fn(Tried<false>) -> bool).unwrap();
}

#[test]
fn a_counterexample_is_short_and_replays() {
    let failed = checked(breaks_nothing as fn(Tried<true>) -> bool).unwrap_err();
    // What is reported is the text of a file.
    let start = failed.find("# rule:").expect("it says what it breaks");
    let text = failed[start..].replace("\\n", "\n");
    let end = text.find("\"]").unwrap_or(text.len());
    let file = tempfile::Builder::new().suffix(".its").tempfile().unwrap();
    std::fs::write(file.path(), &text[..end]).unwrap();
    let scenario = replay::load(file.path()).unwrap();
    assert!(scenario.operations.len() <= 8, "{scenario}");
    let (_, again) = minimize(&scenario, None, wrong, 20_000, |_| {}).unwrap();
    assert_eq!(again.scenario, scenario);
    let signatures: Vec<String> =
        findings(&scenario, wrong).into_iter().map(|finding| finding.signature).collect();
    assert!(signatures.iter().any(|signature| text.contains(signature)), "{signatures:?}");
}
