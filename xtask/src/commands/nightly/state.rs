//! A night: what it is to do, and what of it is done, kept in its folder at every step.

use std::fmt::{self, Display, Formatter};
use std::fs::{File, TryLockError};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use fs_err as fs;
use serde::{Deserialize, Serialize};

use super::adapter::Checked;
use super::canary::Canary;
use super::{LEAST_SECONDS, REST};
use crate::engines::{Engine, Run, Summary};
use crate::target::Target;
use crate::{output, workspace};

/// What is settled when a night begins.
#[derive(Default, Serialize, Deserialize)]
pub(super) struct Facts {
    /// Seconds.
    pub budget: u64,
    pub seed: u32,
    pub jobs: usize,
    /// The known bug that is planted.
    pub canary: String,
    pub targets: Vec<String>,
    pub engines: Vec<Engine>,
    /// Engines that are not there, and why.
    pub missing: Vec<String>,
}

/// A target that was fuzzed by an engine.
#[derive(Clone, Serialize, Deserialize)]
pub(super) struct Fuzzed {
    pub summary: Summary,
    /// What did not go as it must.
    pub trouble: Option<String>,
}

/// A grown corpus: files before and after.
#[derive(Clone, Serialize, Deserialize)]
pub(super) struct Merged {
    pub target: String,
    pub sizes: Option<(usize, usize)>,
    pub trouble: Option<String>,
}

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

/// A night.
#[derive(Default, Serialize, Deserialize)]
pub(super) struct Night {
    #[serde(skip)]
    pub folder: PathBuf,
    pub facts: Facts,
    /// Seconds that were spent on it.
    spent: f64,
    pub built: bool,
    pub canaries: Vec<Canary>,
    #[serde(default)]
    pub adapter: Option<Checked>,
    /// Folders of all runs that were begun.
    pub runs: Vec<PathBuf>,
    pub fuzzed: Vec<Fuzzed>,
    pub merged: Vec<Merged>,
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
        let night = Self { folder, facts, _lock: Some(lock), ..Self::default() };
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
        let is_caught = |engine: &Engine| self.canaries.iter().any(|one| one.engine == *engine);
        let mut engines = self.facts.engines.iter();
        if let Some(engine) = engines.find(|engine| !is_caught(engine)) {
            return Some(Stage::Canary(*engine));
        }
        if self.adapter.is_none() {
            return Some(Stage::Adapter);
        }
        if let Some((target, engine)) = self.open_runs().next() {
            return Some(Stage::Fuzz(target, engine));
        }
        // Corpora are merged by libFuzzer's coverage.
        if !self.facts.engines.contains(&Engine::Libfuzzer) {
            return None;
        }
        let is_merged = |target: &&Target| self.merged.iter().any(|one| one.target == target.name);
        self.targets().find(|target| !is_merged(target)).map(Stage::Merge)
    }

    pub(super) fn targets(&self) -> impl Iterator<Item = &'static Target> {
        let names = self.facts.targets.iter();
        names.filter_map(|name| Target::find(name).ok())
    }

    /// Returns what is still to be fuzzed, and by which engine.
    pub(super) fn open_runs(&self) -> impl Iterator<Item = (&'static Target, Engine)> {
        let engines = &self.facts.engines;
        let all = { self.targets() }
            .flat_map(move |target| engines.iter().map(move |&engine| (target, engine)));
        all.filter(|(target, engine)| {
            let mut done = self.fuzzed.iter().map(|one| &one.summary);
            !done.any(|one| one.target == target.name && one.engine == *engine)
        })
    }

    /// Returns an equal share of what is left of the budget for fuzzing.
    pub(super) fn seconds_for_a_run(&self) -> u64 {
        let fuzzing = self.facts.budget - self.facts.budget / u64::from(REST);
        let left = fuzzing.saturating_sub(self.spent as u64);
        let runs = self.open_runs().count().max(1) as u64;
        (left / runs).max(LEAST_SECONDS)
    }

    /// Returns the runs of this night on a target.
    pub(super) fn runs_of(&self, target: &Target) -> Vec<Run> {
        let own = self.runs.iter().filter(|run| run.starts_with(target.artifacts()));
        own.filter_map(|run| Run::open(run)).collect()
    }

    /// Returns how much of the budget is left.
    pub(super) fn time_left(&self) -> Duration {
        Duration::from_secs(self.facts.budget).saturating_sub(Duration::from_secs_f64(self.spent))
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
        workspace::write_whole(&self.folder.join(STATE), &output::pretty_json(self)?)
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
    use super::*;

    fn night(folder: &Path) -> Night {
        Night {
            folder: folder.into(),
            facts: Facts {
                budget: 1000,
                seed: 1,
                jobs: 2,
                canary: "some-bug".into(),
                targets: vec!["its_cmdq".into(), "its_arch".into()],
                engines: vec![Engine::Libfuzzer, Engine::Random],
                missing: Vec::new(),
            },
            ..Night::default()
        }
    }

    fn caught(engine: Engine) -> Canary {
        Canary { engine, rule: Some("LEAK-HOST".into()), cases: 7, seconds: 1.0 }
    }

    /// A night that was killed goes on where it was: nothing is done twice but the step that was
    /// cut short.
    #[test]
    fn a_night_is_resumed_where_it_ended() {
        let folder = tempfile::tempdir().unwrap();
        let mut night = night(folder.path());
        assert_eq!(night.next().unwrap().to_string(), "build");
        night.built = true;
        night.canaries.push(caught(Engine::Libfuzzer));
        night.save().unwrap();
        let mut night = Night::open(folder.path()).unwrap();
        assert_eq!(night.next().unwrap().to_string(), "canary by random");
        night.canaries.push(caught(Engine::Random));
        night.adapter = Some(Checked::Missing);
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
