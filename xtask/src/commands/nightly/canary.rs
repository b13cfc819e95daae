//! The canary: a planted fault that every engine must find, from seeds that do not show it.

use fs_err as fs;
use std::path::PathBuf;
use std::time::Instant;

use anyhow::Result;
use serde::{Deserialize, Serialize};

use crate::commands::fuzz::fill;
use crate::commands::trials::blind_seeds;
use crate::engines::{Engine, Plan, Run, Running};
use crate::subjects::Subject;
use crate::subjects::mistakes::Bug;

/// What each target finds within seconds, with any engine. The target that is first here speaks for
/// a night in which it is fuzzed.
const CANARIES: [(&str, &str); 6] = [
    ("its_cmdq", "slot-not-cleaned"),
    ("its_hvc", "live-device-listed-twice"),
    ("its_tables", "rest-without-cbaser"),
    ("its_race", "cwriter-written-after-the-lock"),
    ("its_mmio", "pendbaser-high-writable"),
    ("its_arch", "board-cbaser-keeps-creadr"),
];

/// Returns the canary of a night on these targets.
pub(super) fn of(targets: &[String]) -> &'static str {
    let mut all = CANARIES.iter();
    let found = all.find(|(target, _)| targets.iter().any(|one| one == target));
    found.map_or(CANARIES[0].1, |(_, bug)| *bug)
}

/// What became of it.
#[derive(Clone, Serialize, Deserialize)]
pub(super) struct Canary {
    pub engine: Engine,
    /// By which rule it was told; `None` if it was not.
    pub rule: Option<String>,
    pub cases: u64,
    pub seconds: f64,
}

/// Where and how long it is looked for.
pub(super) struct Hunt {
    pub folder: PathBuf,
    pub engine: Engine,
    pub seed: u32,
    pub jobs: usize,
    /// Seconds, 0 for no limit.
    pub time: u64,
    /// Cases, 0 for no limit.
    pub runs: u64,
}

impl Hunt {
    /// Lets the engine look in `subject`, which is to have the bug, or for the sake of proof has
    /// not.
    pub(super) fn run(self, bug: &Bug, subject: &Subject) -> Result<Canary> {
        let target = bug.target()?;
        let program = self.engine.build(subject, target)?;
        let with_bug = Subject::with_bug(bug).player()?;
        if self.folder.exists() {
            fs::remove_dir_all(&self.folder)?;
        }
        fs::create_dir_all(&self.folder)?;
        let run = Run::new(self.folder, self.engine)?;
        fill(&run.corpus(), &blind_seeds(&with_bug, target)?)?;
        let start = Instant::now();
        let plan = Plan {
            program: &program,
            target,
            seed: self.seed,
            time: self.time,
            runs: self.runs,
            jobs: self.jobs,
            ends_at_first: true,
        };
        let mut running = Running::start(&run, &plan)?;
        // The first process that finds it ends, and the others need not go on.
        running.wait_until(|run| run.found().is_ok_and(|found| !found.is_empty()))?;
        Ok(Canary {
            engine: self.engine,
            rule: running.first_rule()?,
            cases: run.counts().cases,
            seconds: start.elapsed().as_secs_f64(),
        })
    }
}

/// Cases in which the canary is looked for where it is not.
const IN_VAIN: u64 = 3_000;

/// An engine finds the canary where it is, and nothing where it is not.
pub(crate) fn check(engine: Engine) -> Result<()> {
    let (_, canary) = CANARIES[0];
    let bug = Bug::find(canary)?;
    let folder = tempfile::tempdir()?;
    let hunt = |name: &str, runs: u64| Hunt {
        folder: folder.path().join(name),
        engine,
        seed: 1,
        jobs: 1,
        time: 0,
        runs,
    };
    let there = hunt("there", 100_000).run(&bug, &Subject::with_bug(&bug))?;
    anyhow::ensure!(there.rule.is_some(), "{} found no canary", engine.name());
    let removed = hunt("removed", IN_VAIN).run(&bug, &Subject::production())?;
    anyhow::ensure!(
        removed.rule.is_none(),
        "{} found a canary that is not there: {:?}",
        engine.name(),
        removed.rule
    );
    eprintln!("{}: {canary} found in {} cases", engine.name(), there.cases);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_target_has_a_canary_of_its_own() {
        for target in &crate::target::ALL {
            let bug = Bug::find(of(&[target.name.into()])).unwrap();
            assert_eq!(bug.target().unwrap().name, target.name);
        }
        assert_eq!(of(&["its_arch".into(), "its_cmdq".into()]), "slot-not-cleaned");
    }
}
