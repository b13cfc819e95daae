//! What a target's program does when no engine drives it: it replays the files of its command line,
//! or answers requests.
//!
//! `its_cmdq [--quiet] FILE...` tells what happens in each file; with `--quiet`, only in those that
//! are not clean. `its_cmdq --requests` reads [`Request`]s from standard input, a line of JSON
//! each, and answers each with [`Answer`]s in the same form. That is how the command line works
//! with whatever subject it built. `its_cmdq --random PLAN` is the random engine; the plan is a
//! [`Plan`](crate::campaign::random::Plan) as JSON.

use std::io::BufRead;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use its_scenario::Scenario;
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use crate::campaign::{random, report};
use crate::minimize::{Progress, Refused, minimize};
use crate::observe::{Observed, observe};
use crate::play::{self, Make, Verdict};
use crate::replay::{
    CLEAN, DEFECT, FINDINGS, USAGE, load, load_as, print, silence_subject_panics, tell, verdict,
};
use crate::trace::{Line, Trace};
use its_rules::Finding;

/// What is asked of a program. The target is whose engine wrote the files that are an engine's: it
/// played them as it [fits](Scenario::fit) them.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub enum Request {
    /// Plays each of these; an [`Answer::Judged`] for each, in their order.
    Judge { files: Vec<PathBuf>, target: Option<String> },
    /// Plays one; [`Answer::Told`], or [`Answer::Refused`] if it cannot be read.
    Tell { file: PathBuf, target: Option<String> },
    /// Plays scenarios, given as text, and tells what others see of the subject; an
    /// [`Answer::Observed`] for each, in their order.
    Observe { scenarios: Vec<String> },
    /// Minimizes one for a signature, or its first; any number of [`Answer::Progress`], then
    /// [`Answer::Minimized`] or [`Answer::Refused`].
    Minimize { file: PathBuf, target: Option<String>, signature: Option<String>, budget: u64 },
}

/// What it answers.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub enum Answer {
    Judged(Judged),
    Told(Told),
    Observed(Observed),
    Progress(Progress),
    Minimized(Minimized),
    /// It cannot be read, or there is nothing to minimize.
    Refused(String),
    /// There is, in the harness.
    Defect(String),
}

/// What became of a file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Judged {
    pub file: PathBuf,
    pub outcome: Outcome,
}

/// How it ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Outcome {
    /// It is no scenario.
    Unreadable(String),
    /// It holds nothing.
    Empty(String),
    /// The program ended on it, or did not end.
    Failed(String),
    /// It is one, and this came of it.
    Played {
        operations: usize,
        findings: Vec<Finding>,
        /// Where board and reference contradict each other.
        defects: Vec<String>,
    },
}

/// What happened, line by line.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Told {
    pub lines: Vec<Line>,
    /// The verdict, in words.
    pub verdict: String,
    /// Every load and store of the subject was seen. Else some rules were not judged.
    pub observed: bool,
    pub defects: Vec<String>,
    pub findings: Vec<Finding>,
}

/// The shortest scenario with the same finding.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Minimized {
    /// The scenario, with the finding as comments before it.
    pub text: String,
    pub finding: Finding,
    /// Operations before and after.
    pub before: usize,
    pub after: usize,
    /// Scenarios that were tried.
    pub cases: u64,
    /// Else the budget was used up.
    pub minimal: bool,
}

/// Does what the command line says, on what `make` makes.
pub fn main(make: Make) -> ExitCode {
    let mut arguments: Vec<String> = std::env::args().skip(1).collect();
    let first = arguments.first().map(String::as_str);
    if first == Some("--requests") {
        return answer_all(make).into();
    }
    if first == Some("--random") {
        return fuzz_randomly(arguments.get(1), make).into();
    }
    let quiet = first == Some("--quiet");
    if quiet {
        arguments.remove(0);
    }
    if arguments.is_empty() {
        eprintln!("usage: give the scenarios to replay as files");
        return USAGE.into();
    }
    let codes = arguments.iter().map(|file| replay(Path::new(file), quiet, make));
    codes.fold(CLEAN, u8::max).into()
}

fn fuzz_randomly(plan: Option<&String>, make: Make) -> u8 {
    let plan = plan.ok_or("--random needs a plan".to_owned());
    let plan = plan.and_then(|text| serde_json::from_str(text).map_err(|error| error.to_string()));
    match plan.and_then(|plan| random::run(&plan, make)) {
        Ok(()) => CLEAN,
        Err(error) => {
            eprintln!("error: {error}");
            USAGE
        }
    }
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
    if quiet && code == CLEAN {
        return CLEAN;
    }
    if let Err(error) = print(&format!("== {}\n{text}\n", path.display())) {
        eprintln!("error: {error}");
        return USAGE;
    }
    code
}

/// Until standard input ends. The code says whether all requests were understood.
fn answer_all(make: Make) -> u8 {
    silence_subject_panics();
    for line in std::io::stdin().lock().lines() {
        let request = match line.map(|line| serde_json::from_str(&line)) {
            Ok(Ok(request)) => request,
            Ok(Err(error)) => {
                eprintln!("error: no request: {error}");
                return USAGE;
            }
            Err(error) => {
                eprintln!("error: {error}");
                return USAGE;
            }
        };
        answer(request, make);
    }
    CLEAN
}

fn say(answer: &Answer) {
    let line = serde_json::to_string(answer).expect("an answer is JSON");
    // Whoever asks and does not read has ended, and asks no more.
    let _ = print(&format!("{line}\n"));
}

fn answer(request: Request, make: Make) {
    match request {
        Request::Judge { files, target } => {
            let judge = |file: &PathBuf| Judged {
                file: file.clone(),
                outcome: judged(file, target.as_deref(), make),
            };
            let all: Vec<Judged> = files.par_iter().map(judge).collect();
            all.into_iter().map(Answer::Judged).for_each(|one| say(&one));
        }
        Request::Observe { scenarios } => {
            for text in &scenarios {
                let answer = match Scenario::parse(text) {
                    Ok(scenario) => Answer::Observed(observe(&scenario, make)),
                    Err(error) => Answer::Refused(error.to_string()),
                };
                say(&answer);
            }
        }
        Request::Tell { file, target } => say(&told(&file, target.as_deref(), make)),
        Request::Minimize { file, target, signature, budget } => {
            let answer = match load_as(&file, target.as_deref()) {
                Ok(scenario) => minimized(&file, &scenario, signature.as_deref(), make, budget),
                Err(error) => Answer::Refused(error.to_string()),
            };
            say(&answer);
        }
    }
}

fn judged(file: &Path, target: Option<&str>, make: Make) -> Outcome {
    let scenario = match load_as(file, target) {
        Ok(scenario) => scenario,
        Err(error) if error.is_empty => return Outcome::Empty(error.to_string()),
        Err(error) => return Outcome::Unreadable(error.to_string()),
    };
    let case = play::replay(&scenario, make, &mut Trace::default());
    let says_nothing = case.findings.is_empty() && case.defects.is_empty();
    if scenario.operations.is_empty() && says_nothing {
        return Outcome::Empty(format!("{}: it holds no operation", file.display()));
    }
    Outcome::Played {
        operations: scenario.operations.len(),
        findings: case.findings,
        defects: case.defects,
    }
}

fn told(file: &Path, target: Option<&str>, make: Make) -> Answer {
    let scenario = match load_as(file, target) {
        Ok(scenario) => scenario,
        Err(error) => return Answer::Refused(error.to_string()),
    };
    let mut trace = Trace::default();
    let case = play::replay(&scenario, make, &mut trace);
    let first = verdict(&case);
    let first = first.lines().next().unwrap_or_default();
    Answer::Told(Told {
        lines: trace.lines().to_vec(),
        verdict: first.trim_start_matches("verdict: ").into(),
        observed: case.observed,
        defects: case.defects,
        findings: case.findings,
    })
}

fn minimized(
    file: &Path,
    scenario: &Scenario,
    signature: Option<&str>,
    make: Make,
    budget: u64,
) -> Answer {
    let tell = |progress| say(&Answer::Progress(progress));
    match minimize(scenario, signature, make, budget, tell) {
        Ok(done) => Answer::Minimized(Minimized {
            text: report(&done.scenario, &done.finding),
            finding: done.finding,
            before: scenario.operations.len(),
            after: done.scenario.operations.len(),
            cases: done.cases,
            minimal: done.minimal,
        }),
        Err(Refused::Defect(defects)) => Answer::Defect(defects.join("; ")),
        Err(Refused::Unsteady) => {
            Answer::Defect(format!("{}: it does not show the same every time", file.display()))
        }
        Err(Refused::Clean) => Answer::Refused(format!("{}: it breaks no rule", file.display())),
        Err(Refused::Others(others)) => Answer::Refused(format!(
            "{}: it breaks {}, not {}",
            file.display(),
            others.join(", "),
            signature.unwrap_or_default()
        )),
    }
}
