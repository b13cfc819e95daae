//! The folder of a run, and what `run.json` in it says of the run.

use std::path::{Path, PathBuf};
use std::time::SystemTime;

use anyhow::{Context, Result};
use fs_err as fs;
use its_rules::StoredFinding;
use its_runner::Counts;
use its_runner::versioned::Versioned;
use its_scenario::{FuzzTarget, MAX_BYTES};
use serde::{Deserialize, Serialize};

use super::{Engine, Plan, RUSTC};
use crate::engines::summary::Summary;
use crate::stop;
use crate::target::Target;
use crate::workspace;

/// What `run.json` says.
#[derive(Clone, Serialize, Deserialize)]
struct About {
    engine: Engine,
    #[serde(default)]
    started: Option<Started>,
    /// Missing of a run that goes on, or whose command was killed.
    #[serde(default)]
    ended: Option<Ended>,
}

/// What was asked for, of what, and when.
#[derive(Clone, Serialize, Deserialize)]
struct Started {
    command: String,
    target: String,
    subject: String,
    seed: u32,
    jobs: usize,
    /// 0 for no limit.
    seconds: u64,
    /// 0 for no limit.
    cases: u64,
    /// This tool's version, with the commit of the checkout.
    version: String,
    toolchain: String,
    time: String,
}

#[derive(Clone, Serialize, Deserialize)]
struct Ended {
    how: String,
    time: String,
    #[serde(default)]
    summary: Option<Summary>,
}

const ABOUT: &str = "run.json";

/// More bytes than an engine writes at once.
const ROOM: usize = 2 * MAX_BYTES;

/// The folder of a run, of one engine.
pub(crate) struct Run {
    pub folder: PathBuf,
    pub engine: Engine,
}

impl Run {
    /// Makes a new run in a folder that is there.
    ///
    /// # Errors
    /// The folder cannot be written to.
    pub(crate) fn new(folder: PathBuf, engine: Engine) -> Result<Self> {
        let run = Self { folder, engine };
        for part in [run.corpus(), run.findings(), run.crashes(), run.logs()] {
            fs::create_dir_all(part)?;
        }
        run.write(About { engine, started: None, ended: None })?;
        Ok(run)
    }

    /// Returns the run that a folder is, if it is one.
    pub(crate) fn open(folder: &Path) -> Option<Self> {
        let About { engine, .. } = read(folder).ok()?;
        Some(Self { folder: folder.into(), engine })
    }

    /// Notes in `run.json` what is about to be started.
    ///
    /// # Errors
    /// The file cannot be written.
    pub(super) fn note_start(&self, plan: &Plan) -> Result<()> {
        let started = Started {
            command: workspace::command(),
            target: plan.target.name.into(),
            subject: plan.program.subject.clone(),
            seed: plan.seed,
            jobs: plan.jobs,
            seconds: plan.time,
            cases: plan.runs,
            version: workspace::version(),
            toolchain: RUSTC.run(["--version"])?.trim().into(),
            time: now(),
        };
        self.write(About { engine: self.engine, started: Some(started), ended: None })
    }

    /// Notes in `run.json` how the run ended.
    ///
    /// # Errors
    /// The file cannot be written.
    pub(crate) fn note_end(&self, end: &Result<()>, summary: Option<&Summary>) -> Result<()> {
        let how = match end {
            Ok(()) if stop::asked() => "interrupted".into(),
            Ok(()) => "as planned".into(),
            Err(error) => format!("{error:#}"),
        };
        let ended = Ended { how, time: now(), summary: summary.cloned() };
        self.write(About { ended: Some(ended), ..read(&self.folder)? })
    }

    fn write(&self, about: About) -> Result<()> {
        let text = serde_json::to_string_pretty(&Versioned::new(about))? + "\n";
        workspace::write_whole(&self.folder.join(ABOUT), &text)
    }

    /// Checks that there is room for what the run still writes: engines do not say when a disk is
    /// full.
    ///
    /// # Errors
    /// There is none.
    pub(crate) fn demand_room(&self) -> Result<()> {
        let path = self.folder.join("room");
        let written = fs::write(&path, [0; ROOM]);
        // What was written in part takes room as well.
        let _ = fs::remove_file(&path);
        written.context("the run ended early, its files may be incomplete")
    }

    pub(crate) fn corpus(&self) -> PathBuf {
        self.folder.join("corpus")
    }

    pub(crate) fn findings(&self) -> PathBuf {
        self.folder.join("findings")
    }

    pub(crate) fn crashes(&self) -> PathBuf {
        self.folder.join("crashes")
    }

    fn logs(&self) -> PathBuf {
        self.folder.join("logs")
    }

    pub(super) fn status(&self) -> PathBuf {
        self.folder.join("status")
    }

    /// Returns what was counted so far, over all processes.
    pub(crate) fn counts(&self) -> Counts {
        its_runner::campaign::total(&self.status())
    }

    /// Returns how many instrumented edges were reached so far.
    pub(crate) fn coverage(&self) -> Option<u64> {
        self.engine.glue().coverage(self)
    }

    /// Returns what process `index` printed.
    pub(super) fn log(&self, index: usize) -> String {
        let bytes = fs::read(self.log_file(index)).unwrap_or_default();
        String::from_utf8_lossy(&bytes).into_owned()
    }

    pub(super) fn log_file(&self, index: usize) -> PathBuf {
        self.logs().join(index.to_string())
    }

    pub(super) fn all_logs(&self) -> impl Iterator<Item = String> {
        let there = (0..).take_while(|index| self.log_file(*index).exists());
        there.map(|index| self.log(index))
    }

    /// Copies what the engine keeps in a form of its own to where all engines' inputs are. Any
    /// time, any number of times.
    ///
    /// # Errors
    /// A file cannot be copied.
    pub(crate) fn collect(&self) -> Result<()> {
        for (from, name) in self.engine.glue().inputs(self)? {
            let to = self.folder.join(&name);
            if to.exists() {
                continue;
            }
            let part = self.folder.join("part");
            fs::copy(&from, &part)?;
            fs::rename(&part, &to)?;
        }
        Ok(())
    }

    /// Writes the words that engines which mutate bytes make inputs of, in the form that AFL++ and
    /// honggfuzz read.
    ///
    /// # Errors
    /// The file cannot be written.
    pub(super) fn dictionary(&self, target: &Target) -> Result<PathBuf> {
        let fuzzed = FuzzTarget::named(target.name).context("a target without a generator")?;
        let mut text = String::new();
        for (name, bytes) in its_scenario::dictionary(fuzzed) {
            let escaped: String = bytes.iter().map(|byte| format!("\\x{byte:02x}")).collect();
            text.push_str(&format!("{name}=\"{escaped}\"\n"));
        }
        let path = self.folder.join("dictionary");
        fs::write(&path, text)?;
        Ok(path)
    }

    /// Returns the findings that processes wrote, by signature.
    ///
    /// # Errors
    /// The list cannot be read.
    pub(crate) fn found(&self) -> Result<Vec<StoredFinding>> {
        found(&self.findings())
    }
}

fn read(folder: &Path) -> Result<About> {
    let path = folder.join(ABOUT);
    let text = fs::read_to_string(&path)?;
    serde_json::from_str(&text).with_context(|| workspace::shown(&path))
}

fn now() -> String {
    humantime::format_rfc3339_seconds(SystemTime::now()).to_string()
}

/// Returns the findings in a folder, by signature. A line that a killed process left unfinished is
/// no loss: its scenario is there.
///
/// # Errors
/// The list cannot be read.
fn found(folder: &Path) -> Result<Vec<StoredFinding>> {
    let path = folder.join("findings.jsonl");
    if !path.exists() {
        return Ok(Vec::new());
    }
    let text = fs::read_to_string(&path)?;
    let lines = text.lines();
    let mut records: Vec<StoredFinding> =
        lines.filter_map(|line| serde_json::from_str(line).ok()).collect();
    records.sort_by(|one, other| one.finding.signature.cmp(&other.finding.signature));
    Ok(records)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_is_known_by_its_folder() {
        let folder = tempfile::tempdir().unwrap();
        assert!(Run::open(folder.path()).is_none());
        let run = Run::new(folder.path().into(), Engine::Afl).unwrap();
        assert_eq!(Run::open(folder.path()).unwrap().engine, Engine::Afl);
        run.note_end(&Err(anyhow::anyhow!("it was cold")), None).unwrap();
        assert_eq!(read(folder.path()).unwrap().ended.unwrap().how, "it was cold");
    }

    /// `/dev/full` is a disk without room.
    #[test]
    fn a_folder_without_room_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let run = Run::new(folder.path().into(), Engine::Random).unwrap();
        run.demand_room().unwrap();
        std::os::unix::fs::symlink("/dev/full", folder.path().join("room")).unwrap();
        let error = format!("{:#}", run.demand_room().unwrap_err());
        assert!(error.contains("/room") && error.contains("No space left"), "{error}");
    }
}
