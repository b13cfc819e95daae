//! libFuzzer: the instrumented build on the stable toolchain, and its processes.

use std::fs::{self, File};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use its_runner::Counts;
use its_runner::finding::Record;

use crate::exit::Defect;
use crate::program::Program;
use crate::subject::Subject;

/// Compiler flags that put libFuzzer's instrumentation into every crate of the target.
const INSTRUMENTATION: [&str; 7] = [
    "-Cpasses=sancov-module",
    "-Cllvm-args=-sanitizer-coverage-level=4",
    "-Cllvm-args=-sanitizer-coverage-inline-8bit-counters",
    "-Cllvm-args=-sanitizer-coverage-pc-table",
    "-Cllvm-args=-simplifycfg-branch-fold-threshold=0",
    "--cfg fuzzing",
    "-Ccodegen-units=1",
];

/// What libFuzzer prints when the program is instrumented. Without instrumentation it runs all the same.
const INSTRUMENTED: &str = "INFO: Loaded 1 PC tables";

/// Builds the instrumented target and gives its path.
pub(crate) fn build(subject: &Subject, target: &str) -> Result<PathBuf> {
    check_compiler()?;
    let triple = host_triple()?;
    let variable = format!(
        "CARGO_TARGET_{}_RUSTFLAGS",
        triple.to_uppercase().replace('-', "_")
    );
    let flags = INSTRUMENTATION.join(" ");
    // An explicit target keeps the flags off build scripts, a folder of its own keeps other builds.
    subject.build(
        target,
        "fuzz",
        &["--release", "--target", &triple],
        &[(&variable, &flags)],
    )
}

fn host_triple() -> Result<String> {
    let text = duct::cmd!("rustc", "-vV")
        .read()
        .context("cannot run rustc")?;
    let host = text.lines().find_map(|line| line.strip_prefix("host: "));
    Ok(host.context("rustc -vV names no host")?.to_owned())
}

/// libFuzzer itself is C++.
fn check_compiler() -> Result<()> {
    let compiler = std::env::var("CXX").unwrap_or_else(|_| "c++".into());
    let found = duct::cmd!(&compiler, "--version")
        .stdout_null()
        .stderr_null()
        .unchecked()
        .run()
        .is_ok_and(|output| output.status.success());
    if !found {
        bail!(
            "no C++ compiler: `{compiler}` does not run, and libFuzzer is built from C++. \
             Install one (Debian: apt-get install g++) or name one in CXX"
        );
    }
    Ok(())
}

/// One fuzzing process.
pub(crate) struct Options<'a> {
    pub program: &'a Program,
    /// Grows while the process runs; several processes may share it.
    pub corpus: &'a Path,
    /// Where this process keeps its files; exists.
    pub folder: &'a Path,
    /// Where findings are collected; `None`: the first one ends the process.
    pub findings: Option<&'a Path>,
    /// Of libFuzzer's random numbers, 1 to 2^32 - 1.
    pub seed: u32,
    /// Seconds, 0 for no limit.
    pub time: u64,
    /// Inputs, 0 for no limit.
    pub runs: u64,
}

/// A fuzzing process that runs.
pub(crate) struct Job {
    process: duct::Handle,
    log: PathBuf,
    status: PathBuf,
}

/// Starts a process.
pub(crate) fn start(options: &Options) -> Result<Job> {
    let log = options.folder.join("log");
    let status = options.folder.join("status");
    let mut arguments = vec![
        format!("-seed={}", options.seed),
        format!("-max_len={}", its_scenario::MAX_BYTES),
        format!("-artifact_prefix={}/", options.folder.display()),
        "-timeout=25".into(),
        "-print_final_stats=1".into(),
        "-reload=1".into(),
    ];
    if options.time > 0 {
        arguments.push(format!("-max_total_time={}", options.time));
    }
    if options.runs > 0 {
        arguments.push(format!("-runs={}", options.runs));
    }
    arguments.push(options.corpus.display().to_string());
    let mut command = { options.program }
        .command(arguments)
        .env("ITSDIFF_STATUS", &status)
        .stdin_null()
        .stdout_null()
        .stderr_file(File::create(&log)?)
        .unchecked();
    if let Some(findings) = options.findings {
        command = command.env("ITSDIFF_FINDINGS", findings);
    }
    Ok(Job {
        process: command.start()?,
        log,
        status,
    })
}

impl Job {
    /// Whether the process has ended.
    pub(crate) fn has_ended(&self) -> Result<bool> {
        Ok(self.process.try_wait()?.is_some())
    }

    /// Waits for the process; true when libFuzzer ended it as planned.
    pub(crate) fn wait(&self) -> Result<bool> {
        Ok(self.process.wait()?.status.success())
    }

    /// What was counted so far.
    pub(crate) fn counts(&self) -> Counts {
        // Until the first case there is no status.
        let text = fs::read_to_string(&self.status).unwrap_or_default();
        serde_json::from_str(&text).unwrap_or_default()
    }

    /// libFuzzer's coverage so far: instrumented edges reached.
    pub(crate) fn coverage(&self) -> u64 {
        let log = self.log();
        let last = log.rsplit("cov: ").next().filter(|_| log.contains("cov: "));
        last.and_then(|rest| rest.split(' ').next()?.parse().ok())
            .unwrap_or(0)
    }

    /// All that the process printed.
    pub(crate) fn log(&self) -> String {
        String::from_utf8_lossy(&fs::read(&self.log).unwrap_or_default()).into_owned()
    }

    /// An error unless libFuzzer ended the process as planned and it did what it was started for.
    pub(crate) fn demand_good_end(&self) -> Result<()> {
        self.demand_instrumentation()?;
        if !self.wait()? {
            return Err(self.failure());
        }
        if self.counts().cases == 0 {
            return Err(Defect("the target counted no case".into()).into());
        }
        Ok(())
    }

    /// An error unless the program was instrumented: it would "fuzz" blindly and never say so.
    pub(crate) fn demand_instrumentation(&self) -> Result<()> {
        if self.log().contains(INSTRUMENTED) {
            return Ok(());
        }
        Err(Defect(format!(
            "the target is not instrumented; {}",
            self.log.display()
        ))
        .into())
    }

    /// The error of a process that did not end as planned.
    pub(crate) fn failure(&self) -> anyhow::Error {
        let log = self.log();
        let lines: Vec<&str> = log.lines().collect();
        let tail = lines[lines.len().saturating_sub(40)..].join("\n");
        let what = if log.contains("ERROR: libFuzzer: timeout") {
            "a case did not end: EL2 may loop without a call, or the harness does"
        } else {
            "the target ended unexpectedly"
        };
        Defect(format!("{what}; {}:\n{tail}", self.log.display())).into()
    }
}

/// Copies into a folder what adds to the coverage of what is there, from others. Findings and crashes on the way go to
/// `folder`, as those of a run do.
pub(crate) fn merge(program: &Program, into: &Path, from: &[PathBuf], folder: &Path) -> Result<()> {
    let findings = folder.join("findings");
    fs::create_dir_all(&findings)?;
    let log = folder.join("log");
    let mut arguments = vec![
        "-merge=1".to_owned(),
        format!("-max_len={}", its_scenario::MAX_BYTES),
        format!("-artifact_prefix={}/", folder.display()),
        into.display().to_string(),
    ];
    arguments.extend(from.iter().map(|folder| folder.display().to_string()));
    let ended = program
        .command(arguments)
        .env("ITSDIFF_FINDINGS", &findings)
        .stdin_null()
        .stdout_null()
        .stderr_file(File::create(&log)?)
        .unchecked()
        .run()?;
    let text = fs::read_to_string(&log).unwrap_or_default();
    if !ended.status.success() || !text.contains("MERGE-OUTER") {
        bail!("libFuzzer did not merge ({}):\n{text}", ended.status);
    }
    Ok(())
}

/// The findings that processes collected in a folder.
pub(crate) fn findings(folder: &Path) -> Result<Vec<Record>> {
    let path = folder.join("findings.jsonl");
    if !path.exists() {
        return Ok(Vec::new());
    }
    let text = fs::read_to_string(&path)?;
    let mut records: Vec<Record> = text
        .lines()
        .map(serde_json::from_str)
        .collect::<Result<_, _>>()
        .with_context(|| path.display().to_string())?;
    records.sort_by(|one, other| one.signature.cmp(&other.signature));
    Ok(records)
}
