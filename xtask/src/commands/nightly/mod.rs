//! `nightly`: all targets, all engines that are there, a budget shared out, and a report;
//! unattended.
//!
//! First a canary: each engine must find a planted fault, or the night is a failure, for a fleet
//! that finds nothing looks the same as one that does not look. Then the adapter for C code under
//! valgrind, where it is. Then each target under each engine, from the committed seeds and the
//! grown corpus; the corpora merged and minimized; all findings grouped by signature, minimized,
//! and held against a baseline.
//!
//! What is done stands in the night's folder, so that a night which was stopped or killed is
//! resumed: runs that were begun are looked at, whatever became of them.

mod adapter;
mod canary;
mod night;
mod report;

use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::thread::available_parallelism;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};

use crate::commands::corpus;
use crate::commands::fuzz::{fresh_seed, fuzz, new_folder, new_run};
use crate::engines::{Engine, Plan};
use crate::exit::{Defect, Exit, Interrupted};
use crate::stop;
use crate::subjects::Subject;
use crate::subjects::mistakes::Bug;
use crate::target::{self, Target};
use crate::workspace;
use canary::{Canary, Hunt};
use night::{Fuzzed, Merged, Night, Stage};

pub(crate) use canary::check;

#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// Bounds all of the night: `2h`, `20m`, or plain seconds
    #[arg(long, value_name = "TIME", default_value = "2h", value_parser = its_conformance::seconds)]
    budget: u64,
    /// Fuzzes only this target; may be repeated
    #[arg(long = "target", value_name = "TARGET", value_parser = target::names())]
    targets: Vec<String>,
    /// Uses only this engine; may be repeated. The default is every engine that is installed
    #[arg(long = "engine", value_enum)]
    engines: Vec<Engine>,
    /// Uses so many cores; the default is all
    #[arg(long)]
    jobs: Option<NonZeroUsize>,
    /// Seeds the engines' random numbers
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..))]
    seed: Option<u32>,
    /// Reads the signatures that are not new from this file, one on each line
    #[arg(long, default_value = BASELINE)]
    baseline: PathBuf,
    /// Demands of each engine that it finds this known bug or break first. The default is one of
    /// the night's targets
    #[arg(long, value_name = "ID")]
    canary: Option<String>,
    /// Resumes the last night, which was stopped, with its targets, engines, budget and seed
    #[arg(long, conflicts_with_all = ["targets", "engines", "jobs", "seed", "budget", "canary"])]
    resume: bool,
}

const BASELINE: &str = "corpus/nightly-baseline.txt";

/// An engine that has not found the canary by then is not working.
const CANARY_SECONDS: u64 = 120;

/// Of the budget, for all that is not fuzzing: 1 / 5.
const REST: u32 = 5;

/// Of the budget, for the adapter for C code: 1 / 10.
const ADAPTER: u64 = 10;

/// A run is not shorter, whatever the budget: an engine has to load the corpus first.
const LEAST_SECONDS: u64 = 5;

/// Does what is left of a night, and reports.
pub(crate) fn run(arguments: &Arguments) -> Result<Exit> {
    let known = baseline(&arguments.baseline)?;
    let mut night = match arguments.resume {
        true => Night::last()?,
        false => Night::new(facts(arguments)?)?,
    };
    say!("{}", workspace::shown(&night.folder));
    stop::after(night.time_left());
    let mut clock = Instant::now();
    while let Some(stage) = night.next() {
        eprintln!("== {stage}");
        let done = carry_out(&mut night, stage);
        // A night that fails here is still to be resumed.
        night.spend(clock.elapsed())?;
        clock = Instant::now();
        if stop::asked() {
            write_report(&night, &known)?;
            return Err(Interrupted).context(format!(
                "nothing is lost: `cargo xtask nightly --resume` goes on, {} says what there is",
                workspace::shown(&night.folder.join("report.md"))
            ));
        }
        if let Err(error) = done {
            // What went wrong matters more than that it cannot be written down.
            let _ = write_report(&night, &known);
            return Err(error.context(stage.to_string()));
        }
    }
    let report = write_report(&night, &known)?;
    night.finish()?;
    report.print();
    end(&night, &report)
}

/// Writes the report, which needs programs to run, also when this process must stop.
fn write_report(night: &Night, known: &[String]) -> Result<report::Report> {
    match report::write(night, known) {
        Err(_) if stop::is_over() => {
            stop::report();
            report::write(night, known)
        }
        written => written,
    }
}

/// Findings that are new come first; then whatever did not go as it must.
fn end(night: &Night, report: &report::Report) -> Result<Exit> {
    if report.has_new() {
        return Ok(Exit::Findings);
    }
    let troubles = report.troubles(night);
    match troubles.first() {
        Some(first) => Err(Defect(format!("{first} ({} in all)", troubles.len())).into()),
        None => Ok(Exit::Clean),
    }
}

/// What a night does, settled at its start.
fn facts(arguments: &Arguments) -> Result<night::Facts> {
    let mut targets = Vec::new();
    for name in &arguments.targets {
        targets.push(Target::find(name)?.name.to_owned());
    }
    if targets.is_empty() {
        targets = target::ALL.iter().map(|target| target.name.into()).collect();
    }
    for engine in &arguments.engines {
        engine.demand_tools()?;
    }
    let wanted = match arguments.engines.is_empty() {
        true => &Engine::ALL[..],
        false => &arguments.engines,
    };
    let mut engines = Vec::new();
    let mut missing = Vec::new();
    for &engine in wanted {
        match engine.demand_tools() {
            Ok(()) => engines.push(engine),
            Err(error) => missing.push(format!("{}: {error}", engine.name())),
        }
    }
    let canary = Bug::find(arguments.canary.as_deref().unwrap_or_else(|| canary::of(&targets)))?;
    let target = canary.target()?.name;
    ensure!(
        targets.iter().any(|one| one == target),
        "the canary {} is found by {target}, which this night does not fuzz",
        canary.id
    );
    let cores = available_parallelism().map_or(1, NonZeroUsize::get);
    Ok(night::Facts {
        budget: arguments.budget,
        seed: arguments.seed.unwrap_or_else(fresh_seed).max(1),
        jobs: arguments.jobs.map_or(cores, NonZeroUsize::get),
        canary: canary.id,
        targets,
        engines,
        missing,
    })
}

fn carry_out(night: &mut Night, stage: Stage) -> Result<()> {
    match stage {
        Stage::Build => build(night),
        Stage::Canary(engine) => {
            let canary = canary(night, engine)?;
            let caught = canary.rule.is_some();
            if !caught {
                stop::check()?;
            }
            night.canaries.push(canary);
            night.save()?;
            if !caught && !stop::asked() {
                night.finish()?;
                let what = format!(
                    "{} did not find the canary {} within {CANARY_SECONDS} s: nothing that it does not find tells anything",
                    engine.name(),
                    night.facts.canary
                );
                return Err(Defect(what).into());
            }
            Ok(())
        }
        Stage::Adapter => {
            let targets: Vec<&Target> = night.targets().collect();
            let limit = Duration::from_secs(night.facts.budget / ADAPTER);
            let checked = adapter::check(&targets, limit)?;
            night.adapter = Some(checked);
            night.save()
        }
        Stage::Fuzz(target, engine) => fuzz_one(night, target, engine),
        Stage::Merge(target) => merge(night, target),
    }
}

/// Everything that will be run, so that what is left of the budget is for fuzzing.
fn build(night: &mut Night) -> Result<()> {
    let subject = Subject::production();
    for name in &night.facts.targets {
        for &engine in &night.facts.engines {
            engine.build(&subject, Target::find(name)?)?;
        }
    }
    subject.player()?;
    for &engine in &night.facts.engines {
        let bug = Bug::find(&night.facts.canary)?;
        engine.build(&Subject::with_bug(&bug), bug.target()?)?;
    }
    night.built = true;
    night.save()
}

fn canary(night: &Night, engine: Engine) -> Result<Canary> {
    let bug = Bug::find(&night.facts.canary)?;
    let hunt = Hunt {
        folder: night.folder.join("canary").join(engine.name()),
        engine,
        seed: night.facts.seed,
        jobs: night.facts.jobs,
        time: CANARY_SECONDS.min(stop::left().as_secs().max(1)),
        runs: 0,
    };
    hunt.run(&bug, &Subject::with_bug(&bug))
}

fn fuzz_one(night: &mut Night, target: &'static Target, engine: Engine) -> Result<()> {
    let program = engine.build(&Subject::production(), target)?;
    let run = new_run(target, "production", engine)?;
    // Before it starts: whatever becomes of us, what it finds is this night's.
    night.runs.push(run.folder.clone());
    night.save()?;
    let plan = Plan {
        program: &program,
        target,
        seed: night.facts.seed,
        time: night.seconds_for_a_run(),
        runs: 0,
        jobs: night.facts.jobs,
        ends_at_first: false,
    };
    let grown = corpus::files(&corpus::grown(target))?;
    let (summary, end) = fuzz(&plan, &run, &grown)?;
    summary.print();
    if stop::asked() {
        return Ok(());
    }
    // The night is resumed when there is room again.
    run.demand_room()?;
    let trouble = end.err().map(told);
    night.fuzzed.push(Fuzzed { summary, trouble });
    night.save()
}

/// Its first line: what a process printed stands in its log.
fn told(error: anyhow::Error) -> String {
    let text = format!("{error:#}");
    text.lines().next().unwrap_or_default().into()
}

/// What the runs found beyond the grown corpus goes into it, and it is made small. What goes wrong
/// is told and costs nothing: the corpora of the runs stay.
fn merge(night: &mut Night, target: &'static Target) -> Result<()> {
    let mut sources = Vec::new();
    for run in night.runs_of(target) {
        run.collect()?;
        sources.push(run.corpus());
    }
    let folder = new_folder(target, "production")?;
    night.runs.push(folder.clone());
    night.save()?;
    let merged = Engine::Libfuzzer.demand_tools();
    let merged = merged.and_then(|()| corpus::renew(target, &sources, &folder));
    let (sizes, trouble) = match merged {
        Ok(sizes) => (Some(sizes), None),
        Err(error) => (None, Some(told(error))),
    };
    night.merged.push(Merged { target: target.name.into(), sizes, trouble });
    night.save()
}

/// The signatures of a baseline file; lines that begin with `#` are for people.
fn baseline(path: &std::path::Path) -> Result<Vec<String>> {
    let text = fs_err::read_to_string(workspace::root().join(path))
        .with_context(|| format!("cannot read the baseline {}", path.display()))?;
    let lines = text.lines().map(str::trim);
    let signatures = lines.filter(|line| !line.is_empty() && !line.starts_with('#'));
    Ok(signatures.map(String::from).collect())
}
