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

use crate::saboteur::{Sabotage, Sabotaged};

/// How the emulation is made that a counterexample is one of.
trait Made: Clone + 'static {
    const MAKE: Make;
}

#[derive(Clone)]
struct Right;

impl Made for Right {
    const MAKE: Make = its_production::make;
}

/// Pins are taken back twice.
#[derive(Clone)]
struct Wrong;

impl Made for Wrong {
    const MAKE: Make = wrong;
}

fn wrong(machine: &Machine) -> Box<dyn BoardSubject> {
    Box::new(Sabotaged::new(machine.its, Sabotage::UnpinTwice, false))
}

/// A scenario, shown with what it breaks.
#[derive(Clone)]
struct Tried<M: Made>(Scenario, M);

impl<M: Made> fmt::Debug for Tried<M> {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        match findings(&self.0, M::MAKE).first() {
            Some(finding) => f.write_str(&report(finding, &self.0)),
            None => write!(f, "{}", self.0),
        }
    }
}

macro_rules! tried {
    ($made:ident) => {
        impl Arbitrary for Tried<$made> {
            fn arbitrary(g: &mut Gen) -> Self {
                let bytes: Vec<u8> =
                    (0..512).flat_map(|_| u64::arbitrary(g).to_le_bytes()).collect();
                let target = *g.choose(&FuzzTarget::ALL).expect("there are targets");
                let mut u = Unstructured::new(&bytes);
                Self(generate(&mut u, target, Temper::Hostile), $made)
            }

            fn shrink(&self) -> Box<dyn Iterator<Item = Self>> {
                let done = minimize(&self.0, None, $made::MAKE, 20_000, |_| {});
                let shorter = done.ok().map(|done| done.scenario);
                let shorter = shorter.filter(|scenario| *scenario != self.0);
                Box::new(shorter.map(|scenario| Self(scenario, $made)).into_iter())
            }
        }
    };
}

tried!(Right);
tried!(Wrong);

fn breaks_nothing<M: Made>(tried: Tried<M>) -> bool {
    findings(&tried.0, M::MAKE).is_empty()
}

fn checked(property: impl Testable) -> Result<u64, String> {
    // The same cases each time: what a test says must not depend on the day.
    let random = Gen::from_size_and_seed(100, 2026);
    let tests = QuickCheck::new().rng(random).tests(300).quicktest(property);
    tests.map_err(|failed| format!("{failed:?}"))
}

#[test]
fn generated_scenarios_break_nothing() {
    checked(breaks_nothing::<Right> as fn(Tried<Right>) -> bool).unwrap();
}

#[test]
fn a_counterexample_is_short_and_replays() {
    let failed = checked(breaks_nothing::<Wrong> as fn(Tried<Wrong>) -> bool).unwrap_err();
    // What is reported is the text of a file.
    let start = failed.find("# rule:").expect("it says what it breaks");
    let text = failed[start..].replace("\\n", "\n");
    let end = text.find("\"]").unwrap_or(text.len());
    let file = tempfile::Builder::new().suffix(".its").tempfile().unwrap();
    std::fs::write(file.path(), &text[..end]).unwrap();
    let scenario = replay::load(file.path()).unwrap();
    assert!(scenario.operations.len() <= 8, "{scenario}");
    let again = minimize(&scenario, None, Wrong::MAKE, 20_000, |_| {}).unwrap();
    assert_eq!(again.scenario, scenario);
    let signatures: Vec<String> =
        findings(&scenario, Wrong::MAKE).into_iter().map(|finding| finding.signature).collect();
    assert!(signatures.iter().any(|signature| text.contains(signature)), "{signatures:?}");
}
