//! The shortest scenario with the same finding: delta debugging over operations, then plainer
//! arguments, turns and boards, until no step of any kind is left.
//!
//! What counts, for a finding, is the signature: a scenario that breaks another rule, or the same
//! one elsewhere, is not taken. Candidates are played on all cores; the first that shows the
//! finding is taken, so that the result does not depend on timing.

use std::ops::Range;
use std::sync::Mutex;

use its_rules::{Finding, catalogue as rules};
use its_scenario::{Operation, Scenario};
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use crate::play::{Make, play_here, play_here_twice};

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Progress {
    pub cases: u64,
    pub operations: usize,
}

/// Why there is nothing to minimize.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refused {
    /// The scenario breaks no rule.
    Clean,
    /// Board and reference contradict each other on it.
    Defect(Vec<String>),
    /// It shows the finding now and then.
    Unsteady,
    /// It breaks others than the one that was asked for; their signatures.
    Others(Vec<String>),
}

/// Minimizes `scenario` for the finding of this signature, or for its first. Returns the finding as
/// the shortest scenario shows it. At most `budget`
/// candidates are offered; `progress` hears of each that is taken.
///
/// # Errors
/// [`Refused`]: the scenario does not show it, or not always.
pub fn minimize(
    scenario: &Scenario,
    signature: Option<&str>,
    make: Make,
    budget: u64,
    progress: impl FnMut(Progress),
) -> Result<(Finding, Shortest), Refused> {
    let mut scenario = scenario.clone();
    if scenario.operations.is_empty() {
        // A boot that breaks a rule; the scenario without operations is never the answer.
        scenario.operations.push(Operation::Poll { cpu: 0, times: 1 });
    }
    let case = play_here_twice(&scenario, make);
    if !case.defects.is_empty() {
        return Err(Refused::Defect(case.defects));
    }
    let found = case.findings;
    let signature = match (signature, found.first()) {
        (_, None) => return Err(Refused::Clean),
        (None, Some(first)) => first.signature.clone(),
        (Some(wanted), _) if found.iter().any(|finding| finding.signature == wanted) => {
            wanted.into()
        }
        _ => {
            let others = found.into_iter().map(|finding| finding.signature);
            return Err(Refused::Others(others.collect()));
        }
    };
    let shows = |candidate: &Scenario| shown(candidate, &signature, make).is_some();
    let mut cases = 0;
    if let Some(cut) = without_tail(&scenario, &signature, make).filter(|_| budget > 0) {
        cases = 1;
        if shows(&cut) {
            scenario = cut;
        }
    }
    let shortest = shortest(scenario, budget - cases, &shows, progress);
    let finding = shown(&shortest.scenario, &signature, make).ok_or(Refused::Unsteady)?;
    Ok((finding, Shortest { cases: cases + shortest.cases, ..shortest }))
}

/// What comes after the operation that shows it says nothing.
fn without_tail(scenario: &Scenario, signature: &str, make: Make) -> Option<Scenario> {
    let finding = shown(scenario, signature, make)?;
    let members = match scenario.operations.get(finding.operation) {
        Some(Operation::Race { operations, .. }) => usize::from(*operations),
        _ => 0,
    };
    let after = finding.operation + members + 1..scenario.operations.len();
    Some(scenario.without(after))
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shortest {
    pub scenario: Scenario,
    /// Candidates that were offered.
    pub cases: u64,
    /// No candidate that is simpler in one step shows it. Else the budget is used up.
    pub minimal: bool,
}

/// Makes a scenario that `shows` something shorter, step by step. At most `budget` candidates are
/// offered; `progress` hears of each that is taken.
pub fn shortest(
    scenario: Scenario,
    budget: u64,
    shows: &(dyn Fn(&Scenario) -> bool + Sync),
    progress: impl FnMut(Progress),
) -> Shortest {
    let mut search = Search { best: scenario, shows, cases: 0, budget, cut_short: false, progress };
    // Until no step is left, or the budget is used up.
    while search.fewer_operations() || search.take_all(Scenario::plainer) {}
    Shortest { minimal: !search.cut_short, cases: search.cases, scenario: search.best }
}

struct Search<'a, T> {
    best: Scenario,
    shows: &'a (dyn Fn(&Scenario) -> bool + Sync),
    cases: u64,
    budget: u64,
    /// Some candidates were not tried.
    cut_short: bool,
    progress: T,
}

impl<T: FnMut(Progress)> Search<'_, T> {
    /// Every step that leaves fewer operations. Whether any was taken.
    fn fewer_operations(&mut self) -> bool {
        let before = self.best.operations.len();
        self.take_all(Scenario::without_equals);
        self.chunks(|best, run| vec![best.without(run)]);
        self.chunks(|best, run| best.without_commands(run).into_iter().collect());
        self.folds();
        self.take_all(Scenario::without_pairs);
        // In a shorter queue fewer commands do.
        self.chunks(|best, run| {
            let short = best.with_shortest_queue().into_iter();
            short
                .flat_map(|best| {
                    [Some(best.without(run.clone())), best.without_commands(run.clone())]
                })
                .flatten()
                .collect()
        });
        self.best.operations.len() < before
    }

    /// Steps that take chunks of half of the operations, then of a quarter, and so on to single
    /// ones.
    fn chunks(&mut self, step: impl Fn(&Scenario, Range<usize>) -> Vec<Scenario>) {
        let mut chunk = self.best.operations.len().div_ceil(2);
        while chunk > 0 {
            let length = self.best.operations.len();
            // From the end, where less depends on it.
            let starts = (0..length).step_by(chunk).rev();
            let chunks = starts.map(|start| start..(start + chunk).min(length));
            let candidates: Vec<_> = chunks.flat_map(|run| step(&self.best, run)).collect();
            if !self.take_one(&candidates) {
                chunk /= 2;
            }
            chunk = chunk.min(self.best.operations.len());
        }
    }

    /// One operation for many of a kind, the longest runs first.
    fn folds(&mut self) {
        let mut chunk = self.best.operations.len();
        while chunk > 1 {
            let mut candidates = Vec::new();
            for run in self.best.runs() {
                let starts = run.clone().step_by(chunk / 2);
                let chunks = starts.map(|start| start..(start + chunk).min(run.end));
                candidates.extend(chunks.flat_map(|chunk| self.best.folded(chunk)));
            }
            if !self.take_one(&candidates) {
                chunk /= 2;
            }
        }
    }

    /// Takes steps of one kind as long as there are. Whether there were any.
    fn take_all(&mut self, steps: impl Fn(&Scenario) -> Vec<Scenario>) -> bool {
        let mut any = false;
        while self.take_one(&steps(&self.best)) {
            any = true;
        }
        any
    }

    /// Takes the first of these that shows the finding, if there is one and the budget allows.
    fn take_one(&mut self, candidates: &[Scenario]) -> bool {
        let left = usize::try_from(self.budget - self.cases).unwrap_or(usize::MAX);
        self.cut_short |= left < candidates.len();
        let candidates = &candidates[..left.min(candidates.len())];
        let shows = self.shows;
        let taken = candidates
            .par_iter()
            .position_first(|candidate| !candidate.operations.is_empty() && shows(candidate));
        self.cases += taken.map_or(candidates.len(), |index| index + 1) as u64;
        if let Some(index) = taken {
            self.best = candidates[index].clone();
            let operations = self.best.operations.len();
            (self.progress)(Progress { cases: self.cases, operations });
        }
        taken.is_some()
    }
}

fn shown(scenario: &Scenario, signature: &str, make: Make) -> Option<Finding> {
    // What is kept elsewhere is everybody's: nobody plays between one and the other time.
    static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());
    let case = match signature.starts_with(rules::EL2_STEADY.id) {
        true => {
            let _alone = ONE_AT_A_TIME.lock();
            play_here_twice(scenario, make)
        }
        false => play_here(scenario, make),
    };
    let mut found = case.findings.into_iter();
    found.find(|finding| finding.signature == signature)
}

pub fn findings(scenario: &Scenario, make: Make) -> Vec<Finding> {
    play_here(scenario, make).findings
}
