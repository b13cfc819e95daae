//! `trials`: how many cases the fuzzer needs until it detects each known bug, or each break of the
//! harness.
//!
//! Each trial starts from the committed seeds but those that show the bug already, and from nothing
//! where all do, with a seed of its own, and ends at the first finding or at the cap. A trial that
//! ends at the cap is counted as such, not left out.

use fs_err as fs;
use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU32, Ordering};

use anyhow::Result;

use crate::commands::fuzz::fill;
use crate::engines::{Engine, Plan, Run, Running};
use crate::exit::Exit;
use crate::stop;
use crate::subjects::Subject;
use crate::subjects::mistakes::{Bank, Bug};
use crate::subjects::program::Program;
use crate::target::Target;
use crate::workspace;

#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// Tries only this known bug or break
    #[arg(long, value_name = "ID")]
    bug: Option<String>,
    /// Tries the breaks of the harness in place of the known bugs
    #[arg(long, conflicts_with = "bug")]
    breaks: bool,
    /// Runs so many trials for each bug
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..))]
    trials: u32,
    /// Gives a trial up after so many cases
    #[arg(long, default_value_t = 100_000, value_parser = clap::value_parser!(u64).range(1..))]
    cap: u64,
    /// Makes the inputs. The random engine draws them from nothing, the others start from seeds
    #[arg(long, value_enum, default_value_t = Engine::Libfuzzer)]
    engine: Engine,
    /// Runs so many trials at once
    #[arg(long, default_value = "2")]
    jobs: NonZeroUsize,
}

/// One trial's end.
struct Trial {
    cases: u64,
    /// The rule that was broken; `None` at the cap.
    rule: Option<String>,
}

/// Runs the trials and prints one line a bug.
pub(crate) fn run(arguments: &Arguments) -> Result<Exit> {
    let bugs = match &arguments.bug {
        Some(id) => vec![Bug::find(id)?],
        None if arguments.breaks => {
            Bug::all(Bank::Breaks)?.into_iter().filter(|bug| bug.target().is_ok()).collect()
        }
        None => Bug::all(Bank::Bugs)?,
    };
    say!("known bug | detected | cases to detection: median (least to most) | rules");
    for bug in &bugs {
        stop::check()?;
        let trials = trials(bug, arguments)?;
        say!("{}", row(bug, &trials));
    }
    Ok(Exit::Clean)
}

fn row(bug: &Bug, trials: &[Trial]) -> String {
    let mut cases: Vec<u64> = trials.iter().map(|trial| trial.cases).collect();
    cases.sort_unstable();
    let mut rules: Vec<&str> = trials.iter().filter_map(|trial| trial.rule.as_deref()).collect();
    let detected = rules.len();
    rules.sort_unstable();
    rules.dedup();
    let median = (cases[(cases.len() - 1) / 2] + cases[cases.len() / 2]) / 2;
    format!(
        "{} | {detected} of {} | {median} ({} to {}) | {}",
        bug.id,
        trials.len(),
        cases[0],
        cases[cases.len() - 1],
        rules.join(", ")
    )
}

fn trials(bug: &Bug, arguments: &Arguments) -> Result<Vec<Trial>> {
    let target = bug.target()?;
    let subject = Subject::with_bug(bug);
    let program = arguments.engine.build(&subject, target)?;
    let seeds = blind_seeds(&subject.player()?, target)?;
    let folder = workspace::root().join("target").join("trials").join(&bug.id);
    if folder.exists() {
        fs::remove_dir_all(&folder)?;
    }
    let next = AtomicU32::new(1);
    let ended = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for _ in 0..arguments.jobs.get() {
            scope.spawn(|| {
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed > arguments.trials || stop::asked() {
                        return;
                    }
                    let plan = Plan {
                        program: &program,
                        target,
                        seed,
                        time: 0,
                        runs: arguments.cap,
                        jobs: 1,
                        ends_at_first: true,
                    };
                    let folder = folder.join(seed.to_string());
                    let trial = trial(&plan, folder, arguments.engine, &seeds);
                    ended.lock().expect("no trial panics").push(trial);
                }
            });
        }
    });
    ended.into_inner().expect("no trial panics").into_iter().collect()
}

/// The seeds on which the known bug does not show.
pub(crate) fn blind_seeds(replayer: &Program, target: &Target) -> Result<Vec<PathBuf>> {
    let mut blind = Vec::new();
    for seed in workspace::scenarios(&target.corpus("seeds"))? {
        if replayer.is_clean(&seed)? {
            blind.push(seed);
        }
    }
    Ok(blind)
}

fn trial(plan: &Plan, folder: PathBuf, engine: Engine, seeds: &[PathBuf]) -> Result<Trial> {
    fs::create_dir_all(&folder)?;
    let run = Run::new(folder, engine)?;
    fill(&run.corpus(), seeds)?;
    let mut running = Running::start(&run, plan)?;
    running.wait_until(|_| false)?;
    stop::check()?;
    let rule = running.first_rule()?;
    Ok(Trial { cases: run.counts().cases, rule })
}
