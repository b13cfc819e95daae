//! The folder of a run, and `run.json` in it, which describes the run.

use std::collections::BTreeMap;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use anyhow::{Context, Result, bail};
use fs_err as fs;
use its_reports::pretty_json;
use its_reports::summary::{Counts, Summary};
use its_rules::StoredFinding;
use its_scenario::MAX_BYTES;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::{Engine, Plan, RUSTC};
use crate::target::Target;
use crate::{stop, workspace};

/// What `run.json` says.
#[derive(Serialize, Deserialize)]
struct About {
    engine: Engine,
    /// What was asked for, of what, and when.
    #[serde(default)]
    started: Value,
    /// Missing of a run that goes on, or whose command was killed.
    #[serde(default)]
    ended: Value,
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
    /// Makes a new run in a folder below `artifacts` that no other run has.
    pub(crate) fn new(target: &Target, subject: &str, engine: Engine) -> Result<Self> {
        let base = target.artifacts().join(subject);
        fs::create_dir_all(&base)?;
        for number in 1_u32.. {
            let folder = base.join(format!("run-{number}"));
            match fs::create_dir(&folder) {
                Ok(()) => return Self::new_in(folder, engine),
                Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
                Err(error) => return Err(error.into()),
            }
        }
        bail!("{} is full", base.display())
    }

    /// Makes a new run in a folder that is empty or does not exist.
    pub(crate) fn new_in(folder: PathBuf, engine: Engine) -> Result<Self> {
        let run = Self { folder, engine };
        for part in [run.corpus(), run.findings(), run.crashes(), run.logs()] {
            fs::create_dir_all(part)?;
        }
        run.write(&About { engine, started: Value::Null, ended: Value::Null })?;
        Ok(run)
    }

    /// Returns the run that a folder is, if it is one.
    pub(crate) fn open(folder: &Path) -> Option<Self> {
        let About { engine, .. } = read(folder).ok()?;
        Some(Self { folder: folder.into(), engine })
    }

    /// Notes in `run.json` what is about to be started. 0 is no limit of seconds and of cases.
    pub(super) fn note_start(&self, plan: &Plan) -> Result<()> {
        let started = json!({
            "command": workspace::command(),
            "target": plan.target.name,
            "subject": plan.program.subject,
            "seed": plan.seed,
            "jobs": plan.jobs,
            "seconds": plan.time,
            "cases": plan.runs,
            "version": workspace::version(),
            "toolchain": RUSTC.run(["--version"])?.trim(),
            "time": now(),
        });
        self.write(&About { engine: self.engine, started, ended: Value::Null })
    }

    /// Notes in `run.json` how the run ended.
    pub(super) fn note_end(&self, end: &Result<()>, summary: Option<&Summary>) -> Result<()> {
        let how = match end {
            Ok(()) if stop::asked() => "interrupted".into(),
            Ok(()) => "as planned".into(),
            Err(error) => format!("{error:#}"),
        };
        let ended = json!({ "how": how, "time": now(), "summary": summary });
        self.write(&About { ended, ..read(&self.folder)? })
    }

    fn write(&self, about: &About) -> Result<()> {
        let text = pretty_json(about)? + "\n";
        workspace::write_whole(&self.folder.join(ABOUT), &text)
    }

    /// Checks that there is room for what the run still writes: engines do not say when a disk is
    /// full.
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

    pub(super) fn log_file(&self, process: usize) -> PathBuf {
        self.logs().join(process.to_string())
    }

    pub(super) fn log(&self, process: usize) -> String {
        let bytes = fs::read(self.log_file(process)).unwrap_or_default();
        String::from_utf8_lossy(&bytes).into_owned()
    }

    pub(super) fn all_logs(&self) -> impl Iterator<Item = String> {
        let there = (0..).take_while(|process| self.log_file(*process).exists());
        there.map(|process| self.log(process))
    }

    /// Copies what the engine keeps in a form of its own to where all engines' inputs are. Any
    /// time, any number of times.
    pub(crate) fn collect(&self) -> Result<()> {
        for (from, name) in self.engine.glue().inputs(self)? {
            let to = self.folder.join(&name);
            if !to.exists() {
                let part = self.folder.join("part");
                fs::copy(&from, &part)?;
                fs::rename(&part, &to)?;
            }
        }
        Ok(())
    }

    /// Writes the words that engines which mutate bytes make inputs of, in the form that AFL++ and
    /// honggfuzz read.
    pub(super) fn dictionary(&self, target: &Target) -> Result<PathBuf> {
        let mut text = String::new();
        for (name, bytes) in its_generate::dictionary(target.generator()?) {
            let escaped: String = bytes.iter().map(|byte| format!("\\x{byte:02x}")).collect();
            text.push_str(&format!("{name}=\"{escaped}\"\n"));
        }
        let path = self.folder.join("dictionary");
        fs::write(&path, text)?;
        Ok(path)
    }

    /// Returns the findings that processes wrote, by signature, each file once, by its last
    /// record. A line that a killed process left unfinished is no
    /// loss: its scenario is there.
    pub(crate) fn found(&self) -> Result<Vec<StoredFinding>> {
        let path = self.findings().join("findings.jsonl");
        if !path.exists() {
            return Ok(Vec::new());
        }
        let text = fs::read_to_string(&path)?;
        let records = text.lines().filter_map(|line| serde_json::from_str(line).ok());
        let records = records.map(|record: StoredFinding| (record.file.clone(), record));
        let mut records: Vec<_> = records.collect::<BTreeMap<_, _>>().into_values().collect();
        records.sort_by(|one, other| one.finding.signature.cmp(&other.finding.signature));
        Ok(records)
    }
}

fn read(folder: &Path) -> Result<About> {
    let path = folder.join(ABOUT);
    serde_json::from_str(&workspace::read(&path)?).with_context(|| workspace::shown(&path))
}

fn now() -> String {
    humantime::format_rfc3339_seconds(SystemTime::now()).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_is_known_by_its_folder() {
        let folder = tempfile::tempdir().unwrap();
        assert!(Run::open(folder.path()).is_none());
        let run = Run::new_in(folder.path().into(), Engine::Afl).unwrap();
        assert_eq!(Run::open(folder.path()).unwrap().engine, Engine::Afl);
        run.note_end(&Err(anyhow::anyhow!("it was cold")), None).unwrap();
        assert_eq!(read(folder.path()).unwrap().ended["how"], "it was cold");
    }

    /// `/dev/full` is a disk without room.
    #[test]
    fn a_folder_without_room_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let run = Run::new_in(folder.path().into(), Engine::Random).unwrap();
        run.demand_room().unwrap();
        std::os::unix::fs::symlink("/dev/full", folder.path().join("room")).unwrap();
        let error = format!("{:#}", run.demand_room().unwrap_err());
        assert!(error.contains("/room") && error.contains("No space left"), "{error}");
    }
}
