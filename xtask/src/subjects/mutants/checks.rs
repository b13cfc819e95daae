//! What notices a mutant: scenarios, known mistakes that must still be found, tests.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::Result;
use its_reports::triage::{Judged, Outcome};

use super::Fate;
use crate::subjects::{Bug, Program};
use crate::{process, stop};

/// How long a program may play a few scenarios, which take it far less; and how long at a second
/// try, since the machine may have been busy.
const ENOUGH: [Duration; 2] = [Duration::from_secs(10), Duration::from_secs(60)];
/// How long tests may take.
const TESTED: Duration = Duration::from_secs(120);
/// Scenarios that are played at once.
const FEW: usize = 64;

/// What notices mutants of a part.
pub(crate) struct Checks {
    /// Scenarios that are clean without them.
    pub clean: Vec<PathBuf>,
    /// Known bugs and breaks, which must still be found.
    pub mistakes: Vec<Bug>,
    /// Packages whose unit tests must pass, and those of the runner; none: no tests at all.
    pub tested: &'static [&'static str],
}

/// What plays and tests, and the mutant that is on.
pub(super) struct Mutated<'a> {
    pub program: Program,
    pub tests: &'a [Test],
    /// None where it was compiled in, or there is none.
    pub mutant: Option<&'a str>,
}

/// Tests that were built.
#[derive(Clone)]
pub(super) struct Test {
    pub path: PathBuf,
    /// The package's, where cargo runs them.
    pub folder: PathBuf,
}

impl Checks {
    /// Runs the checks until one notices the mutant.
    pub(super) fn fate(&self, mutated: &Mutated) -> Result<Fate> {
        let fate = self.played(&mutated.program)?;
        if fate != Fate::Survives {
            return Ok(fate);
        }
        for test in mutated.tests {
            match test.passes(mutated.mutant)? {
                Some(true) => {}
                Some(false) => return Ok(Fate::Tested),
                None => return Ok(Fate::Stuck),
            }
        }
        Ok(Fate::Survives)
    }

    fn played(&self, program: &Program) -> Result<Fate> {
        for files in self.clean.chunks(FEW) {
            stop::check()?;
            let Some(judged) = judged(program, files)? else {
                return Ok(Fate::Stuck);
            };
            if !judged.iter().all(|one| is_clean(&one.outcome)) {
                return Ok(Fate::Shown);
            }
        }
        for bug in &self.mistakes {
            let program = program.with(its_switch::MISTAKE, &bug.id);
            let Some(judged) = judged(&program, std::slice::from_ref(&bug.witness))? else {
                return Ok(Fate::Stuck);
            };
            let mut found = judged.iter().flat_map(|one| one.findings());
            if !found.any(|finding| bug.is_reported_by(finding.rule.id)) {
                return Ok(Fate::Shown);
            }
        }
        Ok(Fate::Survives)
    }
}

/// Plays files; `None` if the program ends on one, or does not finish.
fn judged(program: &Program, files: &[PathBuf]) -> Result<Option<Vec<Judged>>> {
    for limit in ENOUGH {
        let judged = program.judge_within(files, None, limit)?;
        if judged.is_some() {
            return Ok(judged);
        }
    }
    Ok(None)
}

impl Test {
    /// Returns whether they pass with a mutant on; `None` if they take too long.
    fn passes(&self, mutant: Option<&str>) -> Result<Option<bool>> {
        let command = duct::cmd(&self.path, ["--quiet"])
            .dir(&self.folder)
            .env("INSTA_UPDATE", "no")
            .env(its_switch::MUTANT, mutant.unwrap_or_default())
            .stdout_capture()
            .stderr_capture();
        let ended = process::run_within(&self.path, command, TESTED)?;
        Ok(ended.map(|ended| ended.status.success()))
    }
}

fn is_clean(outcome: &Outcome) -> bool {
    match outcome {
        Outcome::Played { findings, defects, .. } => findings.is_empty() && defects.is_empty(),
        // A boot alone.
        Outcome::Empty(_) => true,
        Outcome::Unreadable(_) | Outcome::Failed(_) => false,
    }
}
