//! Fuzzing engines: one file each. They differ in how a target is built, in their command lines, and in where they leave
//! what they found; a run of any of them is a folder of the same form:
//!
//! - `corpus`: inputs, binary. Seeds before the run, what the engine kept of it when it is [collected](Run::collect).
//! - `findings`: a scenario for each signature, written by the target itself.
//! - `crashes`: inputs on which the target ended or did not end, binary, with names that
//!   [`is_artifact`](its_runner::replay::is_artifact) knows.
//! - `status`: counts. `logs`: what processes printed. The rest is the engine's own.

mod afl;
mod honggfuzz;
mod libfuzzer;
mod random;

use fs_err as fs;
use fs_err::File;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use its_runner::Counts;
use its_runner::finding::Record;
use its_runner::replay::USAGE;
use its_scenario::FuzzTarget;
use rustix::process::Signal;
use serde::{Deserialize, Serialize};

use crate::build::Recipe;
use crate::exit::Defect;
use crate::process::{self, Tool};
use crate::program::Program;
use crate::subject::Subject;
use crate::target::Target;
use crate::workspace;

pub(crate) use libfuzzer::merge;

/// Who makes the inputs.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, clap::ValueEnum, Serialize, Deserialize,
)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Engine {
    /// Guided by coverage, mutates scenarios; needs a C++ compiler
    Libfuzzer,
    /// AFL++: guided by coverage, mutates bytes; needs cargo-afl
    Afl,
    /// Guided by coverage, mutates bytes; needs cargo-hfuzz
    Honggfuzz,
    /// Our generator, guided by nothing; needs no tool
    Random,
}

/// What differs between engines.
trait Glue {
    /// An error with the commands that install what is missing.
    fn demand_tools(&self) -> Result<()>;

    /// How a target is built for it.
    fn recipe(&self) -> Result<Recipe>;

    /// What to start: a command for each process, or one for all.
    fn commands(&self, run: &Run, plan: &Plan) -> Result<Vec<duct::Expression>>;

    /// Instrumented edges reached so far, of the process that reached most; `None` where none are counted.
    fn coverage(&self, run: &Run) -> Option<u64>;

    /// Whether the target was instrumented. One that is not "fuzzes" blindly, and few engines say so.
    fn is_instrumented(&self, run: &Run) -> bool;

    /// Inputs that the engine keeps in a form of its own: from where, and under which name in `corpus` or `crashes`.
    fn inputs(&self, run: &Run) -> Result<Vec<(PathBuf, PathBuf)>>;
}

impl Engine {
    /// All of them.
    pub(crate) const ALL: [Self; 4] = [Self::Libfuzzer, Self::Afl, Self::Honggfuzz, Self::Random];

    fn glue(self) -> &'static dyn Glue {
        match self {
            Self::Libfuzzer => &libfuzzer::Libfuzzer,
            Self::Afl => &afl::Afl,
            Self::Honggfuzz => &honggfuzz::Honggfuzz,
            Self::Random => &random::Random,
        }
    }

    /// On the command line and in summaries.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Libfuzzer => "libfuzzer",
            Self::Afl => "afl",
            Self::Honggfuzz => "honggfuzz",
            Self::Random => "random",
        }
    }

    /// An error with the commands that install what is missing.
    pub(crate) fn demand_tools(self) -> Result<()> {
        self.glue().demand_tools()
    }

    /// Builds a target for it.
    ///
    /// # Errors
    /// A tool is missing, it cannot be built, or this process must stop.
    pub(crate) fn build(self, subject: &Subject, target: &Target) -> Result<Program> {
        self.demand_tools()?;
        subject.build(target, &self.glue().recipe()?)
    }

    /// Whether the seed decides what it does; honggfuzz takes none.
    pub(crate) fn takes_seed(self) -> bool {
        self != Self::Honggfuzz
    }
}

/// What an engine has to do.
pub(crate) struct Plan<'a> {
    pub program: &'a Program,
    pub target: &'static Target,
    /// Of the engine's random numbers, 1 to 2^32 - 1.
    pub seed: u32,
    /// Seconds, 0 for no limit.
    pub time: u64,
    /// Inputs over all processes, 0 for no limit.
    pub runs: u64,
    /// Cores.
    pub jobs: usize,
    /// The first finding ends the run; else they are collected.
    pub ends_at_first: bool,
}

/// What is said of a run in its folder, for whoever finds it there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Label {
    engine: Engine,
}

const LABEL: &str = "run.json";

/// The folder of a run, of one engine.
pub(crate) struct Run {
    pub folder: PathBuf,
    pub engine: Engine,
}

impl Run {
    /// A new run in a folder that is there.
    pub(crate) fn new(folder: PathBuf, engine: Engine) -> Result<Self> {
        let run = Self { folder, engine };
        for part in [run.corpus(), run.findings(), run.crashes(), run.logs()] {
            fs::create_dir_all(part)?;
        }
        fs::write(run.folder.join(LABEL), serde_json::to_string(&Label { engine })?)?;
        Ok(run)
    }

    /// The run that a folder is, if it is one.
    pub(crate) fn open(folder: &Path) -> Option<Self> {
        let text = fs::read_to_string(folder.join(LABEL)).ok()?;
        let Label { engine } = serde_json::from_str(&text).ok()?;
        Some(Self { folder: folder.into(), engine })
    }

    /// What was fuzzed: the folder that a run is in has its name.
    pub(crate) fn subject(&self) -> String {
        let name = self.folder.parent().and_then(Path::file_name);
        name.unwrap_or_default().to_string_lossy().into_owned()
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

    fn status(&self) -> PathBuf {
        self.folder.join("status")
    }

    /// What was counted so far, over all processes.
    pub(crate) fn counts(&self) -> Counts {
        its_runner::campaign::total(&self.status())
    }

    /// Instrumented edges reached so far.
    pub(crate) fn coverage(&self) -> Option<u64> {
        self.engine.glue().coverage(self)
    }

    /// What process `index` printed.
    fn log(&self, index: usize) -> String {
        let bytes = fs::read(self.log_file(index)).unwrap_or_default();
        String::from_utf8_lossy(&bytes).into_owned()
    }

    fn log_file(&self, index: usize) -> PathBuf {
        self.logs().join(index.to_string())
    }

    fn all_logs(&self) -> impl Iterator<Item = String> {
        let there = (0..).take_while(|index| self.log_file(*index).exists());
        there.map(|index| self.log(index))
    }

    /// Copies what the engine keeps in a form of its own to where all engines' inputs are. Any time, any number of times.
    pub(crate) fn collect(&self) -> Result<()> {
        for (from, name) in self.engine.glue().inputs(self)? {
            let to = self.folder.join(&name);
            if to.exists() {
                continue;
            }
            let part = self.folder.join("part");
            fs::copy(&from, &part).with_context(|| workspace::shown(&from))?;
            fs::rename(&part, &to)?;
        }
        Ok(())
    }

    /// Writes the words that engines which mutate bytes make inputs of, in the form that AFL++ and honggfuzz read.
    fn dictionary(&self, target: &Target) -> Result<PathBuf> {
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

    /// The findings that processes wrote, by signature.
    pub(crate) fn found(&self) -> Result<Vec<Record>> {
        found(&self.findings())
    }
}

/// The findings in a folder, by signature. A line that a killed process left unfinished is no loss: its scenario is there.
pub(crate) fn found(folder: &Path) -> Result<Vec<Record>> {
    let path = folder.join("findings.jsonl");
    if !path.exists() {
        return Ok(Vec::new());
    }
    let text = fs::read_to_string(&path)?;
    let lines = text.lines();
    let mut records: Vec<Record> =
        lines.filter_map(|line| serde_json::from_str(line).ok()).collect();
    records.sort_by(|one, other| one.signature.cmp(&other.signature));
    Ok(records)
}

/// A run whose processes have been started.
pub(crate) struct Running<'a> {
    pub run: &'a Run,
    processes: Vec<duct::Handle>,
    stopped: Option<Instant>,
}

/// How long processes may take to end when they are asked to.
const PATIENCE: Duration = Duration::from_secs(15);

impl<'a> Running<'a> {
    /// Starts an engine on what the run's folder holds.
    pub(crate) fn start(run: &'a Run, plan: &Plan) -> Result<Self> {
        let mut running = Self { run, processes: Vec::new(), stopped: None };
        for (index, command) in run.engine.glue().commands(run, plan)?.into_iter().enumerate() {
            let mut command = command;
            for (name, value) in &plan.program.environment {
                command = command.env(name, value);
            }
            if plan.ends_at_first {
                command = command.env("ITSDIFF_FIRST", "1");
            }
            let command = command
                .env("ITSDIFF_STATUS", run.status())
                .env("ITSDIFF_FINDINGS", run.findings())
                .stdin_null()
                .stderr_to_stdout()
                .stdout_file(File::create(run.log_file(index))?.into_file());
            let process = process::start(command)
                .with_context(|| format!("cannot start {}", plan.program.path.display()))?;
            running.processes.push(process);
        }
        Ok(running)
    }

    /// Whether all processes have ended.
    pub(crate) fn has_ended(&self) -> Result<bool> {
        for process in &self.processes {
            if process.try_wait()?.is_none() {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Asks all processes to end; ends them when they were asked long ago.
    pub(crate) fn stop(&mut self) {
        let signal = match self.stopped {
            None => Signal::TERM,
            Some(asked) if asked.elapsed() < PATIENCE => return,
            Some(_) => Signal::KILL,
        };
        self.stopped.get_or_insert_with(Instant::now);
        self.signal(signal);
    }

    fn signal(&self, signal: Signal) {
        for child in &self.processes {
            process::signal(child, signal);
        }
    }

    /// Waits for the end; an error unless every process did what it was started for, or was stopped by us.
    pub(crate) fn demand_good_end(&self) -> Result<()> {
        let codes = self.codes()?;
        if self.stopped.is_some() {
            return Ok(());
        }
        for (index, code) in codes.into_iter().enumerate() {
            match code {
                Some(0) => {}
                // The engines have other codes for what they find.
                Some(code) if code == i32::from(USAGE) => {
                    let log = self.run.log(index);
                    let why = log.lines().rev().find(|line| line.starts_with("error: "));
                    bail!(
                        "the target could not start: {}; {}",
                        why.unwrap_or("it does not say why").trim_start_matches("error: "),
                        workspace::shown(&self.run.log_file(index))
                    )
                }
                Some(_) => return Err(self.failure(index)),
                None => bail!(
                    "somebody killed a fuzzing process, or it ended itself; {}",
                    workspace::shown(&self.run.log_file(index))
                ),
            }
        }
        self.demand_instrumentation()?;
        if let Some(crash) = self.crash()? {
            let what = format!("the target ended unexpectedly on {crash}");
            return Err(Defect(what).into());
        }
        if self.run.counts().cases == 0 {
            return Err(Defect("the target counted no case".into()).into());
        }
        Ok(())
    }

    /// Waits for the end; the exit codes, `None` of a process that a signal ended.
    fn codes(&self) -> Result<Vec<Option<i32>>> {
        let code = |process: &duct::Handle| Ok(process.wait()?.status.code());
        self.processes.iter().map(code).collect()
    }

    /// An input that the engine saved as a crash: engines go on after one, and end with code 0.
    fn crash(&self) -> Result<Option<String>> {
        self.run.collect()?;
        let mut entries = fs::read_dir(self.run.crashes())?;
        let first = entries.next().transpose()?;
        Ok(first.map(|entry| workspace::shown(&entry.path())))
    }

    /// Waits for the end of a run that ends at the first finding: the rule that was broken, if one was.
    pub(crate) fn first_rule(&self) -> Result<Option<String>> {
        self.codes()?;
        if let Some(first) = self.run.found()?.into_iter().next() {
            return Ok(Some(first.rule));
        }
        self.demand_instrumentation()?;
        match self.crash()? {
            Some(crash) => Err(Defect(format!("the target ended on {crash}")).into()),
            None if self.run.counts().cases == 0 => bail!(self.failure(0)),
            None => Ok(None),
        }
    }

    fn demand_instrumentation(&self) -> Result<()> {
        if self.run.engine.glue().is_instrumented(self.run) {
            return Ok(());
        }
        let log = self.run.log(0);
        let what = format!(
            "the target is not instrumented, or did not start; {}:\n{}",
            workspace::shown(&self.run.log_file(0)),
            tail(&log)
        );
        Err(Defect(what).into())
    }

    /// The error of a process that did not end as planned.
    fn failure(&self, index: usize) -> anyhow::Error {
        let log = self.run.log(index);
        let what = if log.contains("ERROR: libFuzzer: timeout") {
            "a case did not end: EL2 may loop without a call, or the harness does"
        } else {
            "a fuzzing process ended unexpectedly"
        };
        let file = workspace::shown(&self.run.log_file(index));
        Defect(format!("{what}; {file}:\n{}", tail(&log))).into()
    }
}

impl Drop for Running<'_> {
    /// Nothing goes on when its owner gave up.
    fn drop(&mut self) {
        self.signal(Signal::KILL);
    }
}

fn tail(log: &str) -> String {
    let lines: Vec<&str> = log.lines().collect();
    lines[lines.len().saturating_sub(40)..].join("\n")
}

/// The compiler, for what it says of itself.
pub(crate) const RUSTC: Tool = Tool { program: "rustc", install: "https://rustup.rs" };

/// The triple that is built for. An explicit target keeps instrumentation off build scripts and macros.
pub(crate) fn host_triple() -> Result<String> {
    let text = RUSTC.run(["-vV"])?;
    let host = text.lines().find_map(|line| line.strip_prefix("host: "));
    Ok(host.context("rustc -vV names no host")?.to_owned())
}

/// An error with what to do unless a command runs.
fn demand_command(program: &str, arguments: &[&str], advice: &str) -> Result<()> {
    let found = duct::cmd(program, arguments)
        .stdout_null()
        .stderr_null()
        .unchecked()
        .run()
        .is_ok_and(|output| output.status.success());
    if !found {
        bail!("`{program} {}` does not run. {advice}", arguments.join(" "));
    }
    Ok(())
}

/// Process `index` of `number` gets its share of `runs`; none of them 0 unless `runs` is.
fn share(runs: u64, index: usize, number: usize) -> u64 {
    let (index, number) = (index as u64, number as u64);
    let rest = u64::from(index < runs % number);
    if runs == 0 { 0 } else { (runs / number + rest).max(1) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn runs_are_shared_out_whole() {
        for (runs, number) in [(100, 3), (7, 7), (50_000, 2)] {
            let sum: u64 = (0..number).map(|index| share(runs, index, number)).sum();
            assert_eq!(sum, runs);
        }
        assert_eq!(share(0, 1, 2), 0);
    }

    #[test]
    fn a_tool_that_is_missing_comes_with_the_commands_that_install_it() {
        let error = demand_command("/nowhere/tool", &["--version"], afl::INSTALL).unwrap_err();
        let text = error.to_string();
        assert!(text.contains("cargo install --locked cargo-afl --version 0.18.2"), "{text}");
    }

    #[test]
    fn a_run_is_known_by_its_folder() {
        let folder = tempfile::tempdir().unwrap();
        assert!(Run::open(folder.path()).is_none());
        Run::new(folder.path().into(), Engine::Afl).unwrap();
        assert_eq!(Run::open(folder.path()).unwrap().engine, Engine::Afl);
    }
}
