//! What a target's program does when no engine drives it: it replays the files of its command line,
//! or answers requests.
//!
//! `its_cmdq [--quiet] FILE...` prints what happens in each file; with `--quiet`, only in those
//! that are not clean. `its_cmdq --requests` reads [`Request`]s from standard input, a line of JSON
//! each, and answers each with [`Answer`]s in the same form. That is how the command line works
//! with whatever subject it built. `its_cmdq --random PLAN` is the random engine; the plan is a
//! [`Plan`](crate::campaign::random::Plan) as JSON.

use std::error::Error;
use std::io::BufRead;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use its_reports::finding_file::report;
use its_reports::replay::Replayed;
use its_reports::triage::{Judged, Outcome};
use its_rules::Finding;
use its_scenario::Scenario;
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use crate::campaign::random;
use crate::minimize::{Progress, Refused, minimize};
use crate::observe::{Observed, observe};
use crate::play::{self, Make};
use crate::replay::{
    CLEAN, DEFECT, FINDINGS, LoadError, USAGE, load, load_as, print, replay, silence_subject_panics,
};
use crate::trace::Trace;

/// What is asked of a program. The target is whose engine wrote the files that are an engine's: it
/// played them as it [fits](Scenario::fit) them.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub enum Request {
    /// Plays each of these; an [`Answer::Judged`] for each, in their order.
    Judge { files: Vec<PathBuf>, target: Option<String> },
    /// Plays one; [`Answer::Replayed`], or [`Answer::Refused`] if it cannot be read.
    Replay { file: PathBuf, target: Option<String> },
    /// Plays scenarios, given as text, and records what others see of the subject; an
    /// [`Answer::Observed`] for each, in their order.
    Observe { scenarios: Vec<String> },
    /// Minimizes one for a signature, or its first; any number of [`Answer::Progress`], then
    /// [`Answer::Minimized`] or [`Answer::Refused`].
    Minimize { file: PathBuf, target: Option<String>, signature: Option<String>, budget: u64 },
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub enum Answer {
    Judged(Judged),
    Replayed(Replayed),
    Observed(Observed),
    Progress(Progress),
    Minimized(Minimized),
    /// It cannot be read, or there is nothing to minimize.
    Refused(String),
    /// There is, in the harness.
    Defect(String),
}

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
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let code = match *arguments {
        ["--requests"] => code(answer_all(make)),
        ["--random", plan] => code(fuzz_randomly(plan, make)),
        ["--quiet", ref files @ ..] => print_all(files, true, make),
        ref files => print_all(files, false, make),
    };
    code.into()
}

/// Returns the exit code of a result, after printing an error.
fn code(result: Result<u8, Box<dyn Error>>) -> u8 {
    result.unwrap_or_else(|error| {
        eprintln!("error: {error}");
        USAGE
    })
}

fn fuzz_randomly(plan: &str, make: Make) -> Result<u8, Box<dyn Error>> {
    random::run(&serde_json::from_str(plan)?, make)?;
    Ok(CLEAN)
}

fn print_all(files: &[&str], quiet: bool, make: Make) -> u8 {
    if files.is_empty() {
        return code(Err("give the scenarios to replay as files".into()));
    }
    let codes = files.iter().map(|file| code(print_replay(Path::new(file), quiet, make)));
    codes.fold(CLEAN, u8::max)
}

fn print_replay(path: &Path, quiet: bool, make: Make) -> Result<u8, Box<dyn Error>> {
    let replayed = replay(&load(path)?, make);
    let code = match (&*replayed.defects, &*replayed.findings) {
        ([], []) => CLEAN,
        ([], [..]) => FINDINGS,
        ([..], _) => DEFECT,
    };
    if !quiet || code != CLEAN {
        print(&format!("== {}\n{}\n", path.display(), replayed.text()))?;
    }
    Ok(code)
}

/// Until standard input ends. An error says which request was not understood.
fn answer_all(make: Make) -> Result<u8, Box<dyn Error>> {
    silence_subject_panics();
    for line in std::io::stdin().lock().lines() {
        let request = serde_json::from_str(&line?);
        answer(request.map_err(|error| format!("no request: {error}"))?, make);
    }
    Ok(CLEAN)
}

fn say(answer: &Answer) {
    let line = serde_json::to_string(answer).expect("an answer is JSON");
    // Whoever asks and does not read has ended, and asks no more.
    let _ = print(&format!("{line}\n"));
}

/// Answers about a file, or that it cannot be read.
fn say_of(file: &Path, target: Option<&str>, answer: impl FnOnce(&Scenario) -> Answer) {
    let refused = |error: LoadError| Answer::Refused(error.to_string());
    say(&load_as(file, target).map_or_else(refused, |scenario| answer(&scenario)));
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
        Request::Replay { file, target } => {
            say_of(&file, target.as_deref(), |scenario| Answer::Replayed(replay(scenario, make)));
        }
        Request::Minimize { file, target, signature, budget } => {
            say_of(&file, target.as_deref(), |scenario| {
                minimized(&file, scenario, signature.as_deref(), make, budget)
            });
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

fn minimized(
    file: &Path,
    scenario: &Scenario,
    signature: Option<&str>,
    make: Make,
    budget: u64,
) -> Answer {
    let progress = |progress| say(&Answer::Progress(progress));
    match minimize(scenario, signature, make, budget, progress) {
        Ok((finding, done)) => Answer::Minimized(Minimized {
            text: report(&finding, &done.scenario),
            finding,
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
