//! A night: what it is to do, and what of it is done, kept in its folder at every step.

use std::fmt::{self, Display, Formatter};
use std::fs::{File, TryLockError};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use fs_err as fs;
use its_reports::night::{Facts, Night as Done};
use its_reports::pretty_json;
use its_rules::Layers;
use serde::{Deserialize, Serialize};

use super::{LEAST_SECONDS, REST};
use crate::engines::{Engine, Run};
use crate::findings::KnownFile;
use crate::subjects::Subject;
use crate::target::Target;
use crate::workspace;

/// One step.
#[derive(Clone, Copy)]
pub(super) enum Stage {
    Build,
    Canary(Engine),
    Adapter,
    Fuzz(&'static Target, Engine),
    Merge(&'static Target),
}

impl Display for Stage {
    fn fmt(&self, f: &mut Formatter) -> fmt::Result {
        match self {
            Self::Build => f.write_str("build"),
            Self::Canary(engine) => write!(f, "canary by {engine}"),
            Self::Adapter => f.write_str("the adapter for C code under valgrind"),
            Self::Fuzz(target, engine) => write!(f, "{} by {engine}", target.name),
            Self::Merge(target) => write!(f, "corpus of {}", target.name),
        }
    }
}

#[derive(Default, Serialize, Deserialize)]
pub(super) struct Night {
    #[serde(skip)]
    pub folder: PathBuf,
    #[serde(flatten)]
    pub done: Done,
    /// Seconds that were spent on it.
    spent: f64,
    pub built: bool,
    /// Folders of all runs that were begun.
    pub runs: Vec<PathBuf>,
    finished: bool,
    /// Held as long as the night runs.
    #[serde(skip)]
    _lock: Option<File>,
}

const STATE: &str = "state.json";

fn nights() -> PathBuf {
    workspace::root().join("artifacts/nightly")
}

/// Keeps other nights out of this checkout: they would share grown corpora, and the last night
/// could be resumed while it runs.
fn lock() -> Result<File> {
    fs::create_dir_all(nights())?;
    let path = nights().join("lock");
    let file =
        File::create(&path).with_context(|| format!("cannot write {}", workspace::shown(&path)))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => {
            bail!("a night still runs in this checkout: {} is locked", workspace::shown(&path))
        }
        Err(TryLockError::Error(error)) => Err(error).context("cannot lock the nights"),
    }
}

impl Night {
    /// Begins a new one, in a folder of its own.
    pub(super) fn new(facts: Facts) -> Result<Self> {
        let lock = lock()?;
        let number = numbers()?.last().map_or(1, |last| last + 1);
        let folder = nights().join(number.to_string());
        fs::create_dir(&folder)?;
        let done = Done { facts, ..Done::default() };
        let night = Self { folder, done, _lock: Some(lock), ..Self::default() };
        night.save()?;
        Ok(night)
    }

    /// Returns the last one; an error if it has come to its end.
    pub(super) fn last() -> Result<Self> {
        let lock = lock()?;
        let number = numbers()?.last().copied().context("there was no night yet")?;
        let folder = nights().join(number.to_string());
        let mut night = Self::open(&folder)?;
        night._lock = Some(lock);
        let shown = workspace::shown(&folder);
        ensure!(!night.finished, "{shown} came to its end; there is nothing to resume");
        Ok(night)
    }

    fn open(folder: &Path) -> Result<Self> {
        let path = folder.join(STATE);
        let night = serde_json::from_str(&workspace::read(&path)?);
        let night: Self = night.with_context(|| workspace::shown(&path))?;
        Ok(Self { folder: folder.into(), ..night })
    }

    /// Returns the first step that is not done.
    pub(super) fn next(&self) -> Option<Stage> {
        if !self.built {
            return Some(Stage::Build);
        }
        let done = &self.done;
        let is_caught = |engine: &Engine| {
            done.canaries.iter().any(|canary| canary.engine == engine.to_string())
        };
        if let Some(engine) = self.engines().find(|engine| !is_caught(engine)) {
            return Some(Stage::Canary(engine));
        }
        // A night of another emulation need not check our part of it.
        if done.adapter.is_none() && done.facts.subject.is_none() {
            return Some(Stage::Adapter);
        }
        let fuzz = |(target, engine)| {
            Some(Stage::Fuzz(Target::find(target).ok()?, Engine::named(engine)?))
        };
        if let Some(stage) = done.open_runs().find_map(fuzz) {
            return Some(stage);
        }
        // Corpora are merged by libFuzzer's coverage of the production emulator.
        if done.facts.subject.is_some() || !self.engines().any(|engine| engine == Engine::Libfuzzer)
        {
            return None;
        }
        let is_merged = |target: &&Target| done.merged.iter().any(|one| one.target == target.name);
        self.targets().find(|target| !is_merged(target)).map(Stage::Merge)
    }

    /// Returns what is fuzzed; an error where it is not there any more.
    pub(super) fn subject(&self) -> Result<Subject> {
        let Facts { subject, layers, .. } = &self.done.facts;
        let made = match subject {
            Some(text) => Subject::external(text)?,
            None => Subject::production(),
        };
        Ok(made.judged_by(layers.parse().unwrap_or(Layers::ALL)))
    }

    pub(super) fn known(&self) -> KnownFile {
        KnownFile { known: self.done.facts.known.clone() }
    }

    pub(super) fn targets(&self) -> impl Iterator<Item = &'static Target> {
        let names = self.done.facts.targets.iter();
        names.filter_map(|name| Target::find(name).ok())
    }

    pub(super) fn engines(&self) -> impl Iterator<Item = Engine> {
        self.done.facts.engines.iter().filter_map(|name| Engine::named(name))
    }

    /// Returns an equal share of what is left of the budget for fuzzing.
    pub(super) fn seconds_for_a_run(&self) -> u64 {
        let budget = self.done.facts.budget;
        let fuzzing = budget - budget / u64::from(REST);
        let left = fuzzing.saturating_sub(self.spent as u64);
        let runs = self.done.open_runs().count().max(1) as u64;
        (left / runs).max(LEAST_SECONDS)
    }

    pub(super) fn runs_of(&self, target: &Target) -> Vec<Run> {
        let own = self.runs.iter().filter(|run| run.starts_with(target.artifacts()));
        own.filter_map(|run| Run::open(run)).collect()
    }

    /// Returns how much of the budget is left.
    pub(super) fn time_left(&self) -> Duration {
        let budget = Duration::from_secs(self.done.facts.budget);
        budget.saturating_sub(Duration::from_secs_f64(self.spent))
    }

    /// Notes time that went by.
    pub(super) fn spend(&mut self, time: Duration) -> Result<()> {
        self.spent += time.as_secs_f64();
        self.save()
    }

    pub(super) fn finish(&mut self) -> Result<()> {
        self.finished = true;
        self.save()
    }

    pub(super) fn save(&self) -> Result<()> {
        workspace::write_whole(&self.folder.join(STATE), &pretty_json(self)?)
    }
}

/// Returns the numbers of the nights that there are, ascending.
fn numbers() -> Result<Vec<u32>> {
    let folders = workspace::entries(&nights())?;
    let mut all: Vec<u32> =
        folders.iter().filter_map(|folder| workspace::name(folder).parse().ok()).collect();
    all.sort_unstable();
    Ok(all)
}

#[cfg(test)]
mod tests {
    use its_reports::night::{Canary, Checked};

    use super::*;

    fn night(folder: &Path) -> Night {
        let facts = Facts {
            budget: 1000,
            seed: 1,
            jobs: 2,
            canary: "some-bug".into(),
            targets: vec!["its_cmdq".into(), "its_arch".into()],
            engines: vec!["libfuzzer".into(), "random".into()],
            ..Facts::default()
        };
        let done = Done { facts, ..Done::default() };
        Night { folder: folder.into(), done, ..Night::default() }
    }

    fn caught(engine: &str) -> Canary {
        Canary { engine: engine.into(), rule: Some("LEAK-HOST".into()), cases: 7, seconds: 1.0 }
    }

    /// A night that was killed goes on where it was: nothing is done twice but the step that was
    /// cut short.
    #[test]
    fn a_night_is_resumed_where_it_ended() {
        let folder = tempfile::tempdir().unwrap();
        let mut night = night(folder.path());
        assert_eq!(night.next().unwrap().to_string(), "build");
        night.built = true;
        night.done.canaries.push(caught("libfuzzer"));
        night.save().unwrap();
        let mut night = Night::open(folder.path()).unwrap();
        assert_eq!(night.next().unwrap().to_string(), "canary by random");
        night.done.canaries.push(caught("random"));
        night.done.adapter = Some(Checked::Missing);
        assert_eq!(night.next().unwrap().to_string(), "its_cmdq by libfuzzer");
    }

    #[test]
    fn the_budget_is_shared_out() {
        let folder = tempfile::tempdir().unwrap();
        let mut night = night(folder.path());
        assert_eq!(night.seconds_for_a_run(), 200);
        night.spend(Duration::from_secs(400)).unwrap();
        assert_eq!(night.seconds_for_a_run(), 100);
        night.spend(Duration::from_secs(5000)).unwrap();
        assert_eq!(night.seconds_for_a_run(), LEAST_SECONDS);
    }
}
