//! `nightly`: all targets, all engines that are there, a budget shared out, and a report;
//! unattended.
//!
//! First a canary: each engine must find a planted fault, or the night is a failure, for a fleet
//! that finds nothing looks the same as one that does not look. Then the adapter for C code under
//! valgrind, where it is. Then each target under each engine, from the committed seeds and the
//! grown corpus; the corpora merged and minimized; all findings grouped by signature, minimized,
//! and held against a baseline.
//!
//! What is done is noted in the night's folder, so that a night which was stopped or killed can be
//! resumed. The report covers every run that was begun, however it ended.

mod adapter;
mod canary;
mod report;
mod state;

use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::thread::available_parallelism;
use std::time::{Duration, Instant};

use anyhow::{Context, Error, Result, bail, ensure};
use its_reports::night::{Facts, Fuzzed, Merged, Report};
use its_rules::Layers;

use super::corpus;
use crate::engines::{Engine, Plan, Run, fresh_seed, fuzz, print_summary};
use crate::exit::{Exit, Failure};
use crate::findings::KnownFile;
use crate::subjects::{Bug, Judged, PRODUCTION, Subject, boot};
use crate::target::{self, Target};
use crate::{stop, workspace};
use state::{Night, Stage};

pub(crate) use canary::check_canary;

#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// Bounds all of the night: `2h`, `20m`, or plain seconds
    #[arg(long, value_name = "TIME", default_value = "2h", value_parser = its_conformance::seconds)]
    budget: u64,
    /// Fuzzes only this target; may be repeated
    #[arg(long = "target", value_name = "TARGET")]
    targets: Vec<&'static Target>,
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
    /// Fuzzes an emulation of your own: an object file or archive, or `example:NAME`
    /// (harness/abi/README.md)
    #[arg(long, value_name = "PATH")]
    subject: Option<String>,
    #[command(flatten)]
    judged: Judged,
    #[command(flatten)]
    known: KnownFile,
    /// Resumes the last night, which was stopped, with all that it was given
    #[arg(long, conflicts_with_all = ["targets", "engines", "jobs", "seed", "budget", "canary",
        "subject", "judge", "known"])]
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
    let mut night = if arguments.resume { Night::last()? } else { Night::new(facts(arguments)?)? };
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
            let report = workspace::shown(&night.folder.join("report.md"));
            return Err(Failure::Interrupted).context(format!(
                "nothing is lost: `cargo xtask nightly --resume` goes on, {report} says what there \
                 is"
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
    say!("{}", report.text());
    // Findings that are new come first; then whatever did not go as it must.
    let troubles = report.troubles(&night.done);
    match troubles.first() {
        Some(first) if !report.has_new() => {
            bail!(defect!("{first} ({} in all)", troubles.len()))
        }
        _ => Ok(Exit::found(report.has_new())),
    }
}

/// Writes the report, which needs programs to run, also when this process must stop.
fn write_report(night: &Night, known: &[String]) -> Result<Report> {
    match report::write(night, known) {
        Err(_) if stop::is_over() => {
            stop::report();
            report::write(night, known)
        }
        written => written,
    }
}

/// Returns what a night does, settled at its start.
fn facts(arguments: &Arguments) -> Result<Facts> {
    let mut targets: Vec<String> =
        arguments.targets.iter().map(|target| target.name.into()).collect();
    if targets.is_empty() {
        targets = target::ALL.iter().map(|target| target.name.into()).collect();
    }
    demand_judged(&targets, arguments.judged.layers())?;
    let (mut engines, mut missing) = (Vec::new(), Vec::new());
    let wanted = if arguments.engines.is_empty() { &Engine::ALL[..] } else { &arguments.engines };
    for &engine in wanted {
        match engine.demand_tools() {
            Ok(()) => engines.push(engine.to_string()),
            Err(error) if arguments.engines.is_empty() => {
                missing.push(format!("{engine}: {error}"));
            }
            Err(error) => return Err(error),
        }
    }
    let canary = Bug::find(arguments.canary.as_deref().unwrap_or_else(|| canary::of(&targets)))?;
    let (id, target) = (&canary.id, canary.target()?.name);
    ensure!(
        targets.iter().any(|one| one == target),
        "the canary {id} is found by {target}, which this night does not fuzz"
    );
    let cores = available_parallelism().map_or(1, NonZeroUsize::get);
    Ok(Facts {
        budget: arguments.budget,
        seed: arguments.seed.unwrap_or_else(fresh_seed),
        jobs: arguments.jobs.map_or(cores, NonZeroUsize::get),
        canary: canary.id,
        targets,
        engines,
        missing,
        subject: arguments.subject.clone(),
        layers: match arguments.judged.layers() {
            Layers::ALL => String::new(),
            some => some.to_string(),
        },
        known: arguments.known.known.clone(),
    })
}

/// Checks that some target of a night is judged by some of these layers.
fn demand_judged(targets: &[String], layers: Layers) -> Result<()> {
    let mut each = targets.iter().map(|name| Target::find(name)?.demand_judged(layers));
    let first = each.next().unwrap_or(Ok(()));
    if each.any(|judged| judged.is_ok()) { Ok(()) } else { first }
}

fn carry_out(night: &mut Night, stage: Stage) -> Result<()> {
    match stage {
        Stage::Build => build(night),
        Stage::Canary(engine) => hunt(night, engine),
        Stage::Adapter => {
            let targets: Vec<&Target> = night.targets().collect();
            let limit = Duration::from_secs(night.done.facts.budget / ADAPTER);
            night.done.adapter = Some(adapter::check(&targets, limit)?);
            night.save()
        }
        Stage::Fuzz(target, engine) => fuzz_one(night, target, engine),
        Stage::Merge(target) => merge(night, target),
    }
}

/// Builds everything that will be run, so that what is left of the budget is for fuzzing.
fn build(night: &mut Night) -> Result<()> {
    let subject = night.subject()?;
    subject.player()?;
    boot::demand(&subject)?;
    let bug = Bug::find(&night.done.facts.canary)?;
    for engine in night.engines() {
        for target in night.targets() {
            engine.build(&subject, target)?;
        }
        engine.build(&Subject::with_bug(&bug), bug.target()?)?;
    }
    night.built = true;
    night.save()
}

/// Lets an engine look for the canary; one that does not find it ends the night.
fn hunt(night: &mut Night, engine: Engine) -> Result<()> {
    let bug = Bug::find(&night.done.facts.canary)?;
    let target = bug.target()?;
    let program = engine.build(&Subject::with_bug(&bug), target)?;
    let plan = Plan {
        seed: night.done.facts.seed,
        jobs: night.done.facts.jobs,
        time: CANARY_SECONDS.min(stop::left().as_secs().max(1)),
        ends_at_first: true,
        ..Plan::new(&program, target)
    };
    let folder = night.folder.join("canary").join(engine.to_string());
    let caught = canary::hunt(&bug, engine, folder, &plan)?;
    let is_caught = caught.rule.is_some();
    night.done.canaries.push(caught);
    night.save()?;
    if is_caught {
        return Ok(());
    }
    night.finish()?;
    bail!(defect!(
        "{engine} did not find the canary {} within {CANARY_SECONDS} s: what it does not find says \
         nothing",
        bug.id
    ))
}

fn fuzz_one(night: &mut Night, target: &'static Target, engine: Engine) -> Result<()> {
    let subject = night.subject()?;
    let mut known = night.known().read()?;
    let program = engine.build(&subject, target)?;
    let run = begin(night, target, engine, &subject.name)?;
    let plan = Plan {
        seed: night.done.facts.seed,
        time: night.seconds_for_a_run(),
        jobs: night.done.facts.jobs,
        ..Plan::new(&program, target)
    };
    let (summary, end) = fuzz(&plan, &run, &workspace::files(&target.grown())?, &mut known)?;
    print_summary(engine, &summary);
    if stop::asked() {
        return Ok(());
    }
    // The night is resumed when there is room again.
    run.demand_room()?;
    let trouble = end.err().map(first_line);
    night.done.fuzzed.push(Fuzzed { summary, trouble });
    night.save()
}

/// Makes a run. It is noted before it starts: whatever becomes of us, what it finds is this
/// night's.
fn begin(night: &mut Night, target: &Target, engine: Engine, subject: &str) -> Result<Run> {
    let run = Run::new(target, subject, engine)?;
    night.runs.push(run.folder.clone());
    night.save()?;
    Ok(run)
}

/// Returns the first line of an error: what a process printed is in its log.
fn first_line(error: Error) -> String {
    format!("{error:#}").lines().next().unwrap_or_default().into()
}

/// Merges what the runs found beyond the grown corpus into it, and makes it small. What goes wrong
/// is reported and costs nothing: the corpora of the runs stay.
fn merge(night: &mut Night, target: &'static Target) -> Result<()> {
    let mut sources = Vec::new();
    for run in night.runs_of(target) {
        run.collect()?;
        sources.push(run.corpus());
    }
    let run = begin(night, target, Engine::Libfuzzer, PRODUCTION)?;
    let merged = Engine::Libfuzzer.demand_tools();
    let (sizes, trouble) = match merged.and_then(|()| corpus::renew(target, &sources, &run)) {
        Ok(sizes) => (Some(sizes), None),
        Err(error) => (None, Some(first_line(error))),
    };
    night.done.merged.push(Merged { target: target.name.into(), sizes, trouble });
    night.save()
}

/// Returns the signatures of a baseline file; lines that begin with `#` are for people.
fn baseline(path: &Path) -> Result<Vec<String>> {
    let text = fs_err::read_to_string(workspace::root().join(path))
        .with_context(|| format!("cannot read the baseline {}", path.display()))?;
    let lines = text.lines().map(str::trim);
    let signatures = lines.filter(|line| !line.is_empty() && !line.starts_with('#'));
    Ok(signatures.map(String::from).collect())
}
