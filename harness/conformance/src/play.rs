//! Plays one case on one subject, and holds what is seen against what is expected.

use its_driver::{Drivers, Perform};

use crate::observed::{Fit, Observed, check};
use crate::script::{Expected, Script};

/// How a case went.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Played {
    Pass,
    /// What could be seen was as expected: how many expectations of how many, and why not the
    /// others.
    Partly(usize, usize, String),
    Fail(String),
    /// The subject cannot be asked that, for this reason.
    NotApplicable(String),
    /// The subject itself did not work.
    Broken(String),
}

/// What the expectations of a case came to so far.
pub(crate) struct Tally {
    /// The requirement is about a freedom, so that the reference may allow more than what is
    /// expected.
    free: bool,
    seen: usize,
    hidden: Vec<String>,
    failed: Option<String>,
}

impl Tally {
    pub(crate) fn new(free: bool) -> Self {
        Self { free, seen: 0, hidden: Vec::new(), failed: None }
    }

    /// Whether nothing more need be played.
    pub(crate) fn is_over(&self) -> bool {
        self.failed.is_some()
    }

    fn fail(&mut self, why: String) {
        self.failed.get_or_insert(why);
    }

    /// An expectation that could not be asked.
    pub(crate) fn hide(&mut self, why: &str) {
        self.hidden.push(why.into());
    }

    pub(crate) fn add(&mut self, expected: &Expected, fit: Fit) {
        let Expected { line, text, .. } = expected;
        match fit {
            Fit::Is => self.seen += 1,
            Fit::MayBe if self.free => self.seen += 1,
            Fit::MayBe => {
                self.fail(format!("line {line}: expected {text}; the reference allows others too"))
            }
            Fit::IsNot(seen) => self.fail(format!("line {line}: expected {text}; seen {seen}")),
            Fit::Hidden(why) => self.hide(why),
        }
    }

    pub(crate) fn finish(mut self) -> Played {
        let all = self.seen + self.hidden.len();
        self.hidden.sort();
        self.hidden.dedup();
        let why = self.hidden.join("; ");
        match (self.failed, self.seen) {
            (Some(why), _) => Played::Fail(why),
            (None, seen) if seen == all => Played::Pass,
            (None, 0) => Played::NotApplicable(why),
            (None, seen) => Played::Partly(seen, all, why),
        }
    }
}

/// Plays the operations of a script by way of `on`, and asks it what is expected in between.
pub(crate) fn play<M: Perform + Observed>(
    script: &Script,
    hosts: &mut Drivers,
    on: &mut M,
    mut tally: Tally,
) -> Played {
    let operations = script.scenario.operations.iter();
    let mut expectations = script.expectations.iter().peekable();
    let mut ask = |after: usize, on: &mut M, tally: &mut Tally| {
        while let Some(expected) = expectations.next_if(|expected| expected.after == after) {
            tally.add(expected, check(&expected.what, on));
        }
    };
    ask(0, on, &mut tally);
    for (after, operation) in (1..).zip(operations) {
        if tally.is_over() {
            break;
        }
        hosts.operate(operation, on);
        ask(after, on, &mut tally);
    }
    tally.finish()
}
