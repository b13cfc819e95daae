//! Files in, verdicts out: what a target does when no engine drives it, and what `cargo xtask replay` shows.

use std::fmt;
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use its_scenario::{MAX_TEXT_BYTES, Scenario};

use crate::play::{Case, Make, Runner, Verdict};
use crate::trace::Trace;

/// Exit code: nothing was broken.
pub const CLEAN: u8 = 0;
/// Exit code: there are findings.
pub const FINDINGS: u8 = 1;
/// Exit code: the command line, a file or the environment is not as it must be.
pub const USAGE: u8 = 2;
/// Exit code: the harness contradicts itself.
pub const DEFECT: u8 = 3;

/// Why a file is no scenario.
#[derive(Debug)]
pub struct LoadError {
    path: PathBuf,
    why: String,
}

impl fmt::Display for LoadError {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        write!(f, "{}: {}", self.path.display(), self.why)
    }
}

impl std::error::Error for LoadError {}

/// The names that libFuzzer gives the inputs it saves.
const ARTIFACTS: [&str; 5] = ["crash-", "timeout-", "oom-", "slow-unit-", "leak-"];

/// Reads a scenario: an engine's artifact by its file name, anything else as text.
pub fn load(path: &Path) -> Result<Scenario, LoadError> {
    let error = |why: String| LoadError {
        path: path.to_owned(),
        why,
    };
    let length = fs::metadata(path).map_err(|e| error(e.to_string()))?.len();
    if length > MAX_TEXT_BYTES as u64 {
        return Err(error(format!(
            "{length} bytes; a scenario has at most {MAX_TEXT_BYTES}"
        )));
    }
    let bytes = fs::read(path).map_err(|e| error(e.to_string()))?;
    if bytes.is_empty() {
        return Err(error(
            "empty; expected a scenario as text, or an engine's artifact".into(),
        ));
    }
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    if ARTIFACTS.iter().any(|prefix| name.starts_with(prefix)) {
        return Ok(Scenario::decode(&bytes));
    }
    Scenario::parse(&bytes).map_err(|e| error(e.to_string()))
}

/// Plays one scenario on a subject and tells everything.
pub fn tell(scenario: &Scenario, make: Make) -> (Case, String) {
    silence_subject_panics();
    let mut trace = Trace::default();
    let case = Runner::new(make).play(scenario, Some(&mut trace));
    let mut text = trace.text().to_owned();
    text.push_str(&verdict(&case));
    (case, text)
}

/// The verdict and the findings of a case, for people.
pub fn verdict(case: &Case) -> String {
    let mut text = match case.verdict {
        Verdict::Agree => "verdict: agree\n".into(),
        Verdict::Skipped => "verdict: skipped, nothing was judged\n".into(),
        Verdict::Poisoned(why) => format!("verdict: poisoned, {why}\n"),
        Verdict::Diverged => "verdict: diverged\n".into(),
        Verdict::Defect => "verdict: a defect of the harness itself\n".into(),
    };
    for defect in &case.defects {
        text.push_str(&format!("  {defect}\n"));
    }
    for finding in &case.findings {
        text.push_str(&format!(
            "\n{} ({}) at operation {}\n  {}\n  where:     {}\n  expected:  {}\n  seen:      {}\n  why:       {}\n  source:    {}\n  signature: {}\n",
            finding.rule.id,
            finding.rule.severity.name(),
            finding.operation,
            finding.rule.holds,
            finding.path,
            finding.expected,
            finding.seen,
            finding.rule.why,
            finding.rule.source,
            finding.signature,
        ));
    }
    text
}

/// A panic of the subject is a finding and told as one; its message would only confuse.
fn silence_subject_panics() {
    static ONCE: std::sync::Once = std::sync::Once::new();
    ONCE.call_once(|| {
        let default = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |info| {
            if !its_board::subject_is_running() {
                default(info);
            }
        }));
    });
}

/// Prints to standard output. Whoever reads there may stop early, which is not our error.
pub fn print(text: &str) {
    let mut out = std::io::stdout();
    let _ = out.write_all(text.as_bytes()).and_then(|()| out.flush());
}

/// Replays the files of the command line on a subject; with `--quiet`, only what is not clean is told.
pub fn main(make: Make) -> ExitCode {
    let mut files: Vec<String> = std::env::args().skip(1).collect();
    let quiet = files.first().is_some_and(|first| first == "--quiet");
    if quiet {
        files.remove(0);
    }
    if files.is_empty() {
        eprintln!("usage: give the scenarios to replay as files");
        return USAGE.into();
    }
    let mut worst = CLEAN;
    for file in &files {
        let code = replay(Path::new(file), quiet, make);
        worst = worst.max(code);
    }
    worst.into()
}

fn replay(path: &Path, quiet: bool, make: Make) -> u8 {
    let scenario = match load(path) {
        Ok(scenario) => scenario,
        Err(error) => {
            eprintln!("error: {error}");
            return USAGE;
        }
    };
    let (case, text) = tell(&scenario, make);
    let code = match case.verdict {
        Verdict::Diverged => FINDINGS,
        Verdict::Defect => DEFECT,
        _ => CLEAN,
    };
    if !quiet || code != CLEAN {
        print(&format!("== {}\n{text}\n", path.display()));
    }
    code
}
