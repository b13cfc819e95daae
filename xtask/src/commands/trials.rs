//! `trials`: how many cases the fuzzer needs until it detects each known bug, or each break of the
//! harness, or something in an emulation that was written elsewhere.
//!
//! Each trial starts from the stored scenarios but those that show the bug already, with a seed of
//! its own, and ends at the first finding or at the cap. A trial that ends at the cap is counted as
//! such, not left out.

use std::num::NonZeroUsize;

use anyhow::Result;
use its_rules::Layers;
use rayon::prelude::*;

use crate::engines::{Engine, Plan, Run, first_finding};
use crate::exit::Exit;
use crate::subjects::{Bank, Bug, Subject};
use crate::target::Target;
use crate::{stop, stored, workspace};

#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// Tries only this known bug or break
    #[arg(long, value_name = "ID")]
    bug: Option<String>,
    /// Tries the breaks of the harness in place of the known bugs
    #[arg(long, conflicts_with = "bug")]
    breaks: bool,
    /// Tries an emulation of your own: an object file or archive, or `example:NAME`
    #[arg(long, value_name = "PATH", conflicts_with_all = ["bug", "breaks"])]
    subject: Option<String>,
    /// Tries it with this fuzz target
    // Clap waives `requires` where the required argument conflicts with one that is given.
    #[arg(
        long,
        value_name = "TARGET",
        default_value = "its_cmdq",
        requires = "subject",
        conflicts_with_all = ["bug", "breaks"]
    )]
    target: String,
    /// Runs so many trials for each bug
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..))]
    trials: u32,
    /// Gives a trial up after so many cases
    #[arg(long, default_value_t = 100_000, value_parser = clap::value_parser!(u64).range(1..))]
    cap: u64,
    /// Makes the inputs
    #[arg(long, value_enum, default_value_t = Engine::Libfuzzer)]
    engine: Engine,
    /// Judges these layers of rules only, and tries the bugs that break one of their rules
    #[arg(long, value_name = "LAYERS")]
    judge: Option<Layers>,
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
    let layers = arguments.judge.unwrap_or(Layers::ALL);
    if let Some(text) = &arguments.subject {
        let subject = Subject::external(text)?.judged_by(layers);
        let trials = trials(&subject, Target::find(&arguments.target)?, arguments)?;
        say!("subject | detected | cases to detection: median (least to most) | rules");
        say!("{}", row(text, &trials));
        return Ok(Exit::Clean);
    }
    let bugs = match &arguments.bug {
        Some(id) => vec![Bug::find(id)?],
        None => Bug::all(if arguments.breaks { Bank::Breaks } else { Bank::Bugs })?,
    };
    say!("known bug | detected | cases to detection: median (least to most) | rules");
    // A break that tests find is none that fuzzing could.
    let fuzzed = |bug: &&Bug| arguments.bug.is_some() || bug.target().is_ok() && bug.breaks(layers);
    for bug in bugs.iter().filter(fuzzed) {
        stop::check()?;
        let subject = Subject::with_bug(bug).judged_by(layers);
        let trials = trials(&subject, bug.target()?, arguments)?;
        say!("{}", row(&bug.id, &trials));
    }
    Ok(Exit::Clean)
}

fn row(name: &str, trials: &[Trial]) -> String {
    let mut cases: Vec<u64> = trials.iter().map(|trial| trial.cases).collect();
    cases.sort_unstable();
    let mut rules: Vec<&str> = trials.iter().filter_map(|trial| trial.rule.as_deref()).collect();
    let detected = rules.len();
    rules.sort_unstable();
    rules.dedup();
    let median = (cases[(cases.len() - 1) / 2] + cases[cases.len() / 2]) / 2;
    format!(
        "{name} | {detected} of {} | {median} ({} to {}) | {}",
        trials.len(),
        cases[0],
        cases[cases.len() - 1],
        rules.join(", ")
    )
}

fn trials(subject: &Subject, target: &'static Target, arguments: &Arguments) -> Result<Vec<Trial>> {
    target.demand_judged(subject.layers)?;
    let program = arguments.engine.build(subject, target)?;
    let seeds = stored::clean(&subject.player()?)?;
    let folder = workspace::root().join("target").join("trials").join(&subject.name);
    workspace::empty_folder(&folder)?;
    let trial = |seed: u32| {
        stop::check()?;
        let runs = arguments.cap;
        let plan = Plan { seed, runs, ends_at_first: true, ..Plan::new(&program, target) };
        let run = Run::new_in(folder.join(seed.to_string()), arguments.engine)?;
        let rule = first_finding(&plan, &run, &seeds)?;
        Ok(Trial { cases: run.counts().cases, rule })
    };
    let threads = rayon::ThreadPoolBuilder::new().num_threads(arguments.jobs.get()).build()?;
    threads.install(|| (1..=arguments.trials).into_par_iter().map(trial).collect())
}
