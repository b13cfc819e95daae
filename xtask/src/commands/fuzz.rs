//! `fuzz`: build the target for an engine, seed it, run it, sum up.

use fs_err as fs;
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use anyhow::{Context, Result, ensure};
use its_runner::replay::load;
use its_runner::versioned::Versioned;

use crate::engines::summary::{Found, Summary};
use crate::engines::{Engine, Plan, Run, Running};
use crate::exit::Exit;
use crate::findings::divergences::Divergences;
use crate::progress::{Bar, show_counts};
use crate::stop;
use crate::subjects::{Subject, Which};
use crate::target::{self, Target};
use crate::workspace;

#[derive(clap::Args, Clone)]
pub(crate) struct Arguments {
    /// The target to fuzz
    #[arg(value_parser = target::names())]
    target: String,
    /// Ends after this time: `90s`, `2m`, `1h`, or plain seconds. The default is 60s, or no limit
    /// with --runs
    #[arg(long, value_name = "TIME", value_parser = its_conformance::seconds)]
    time: Option<u64>,
    /// Ends after so many cases, counted over all processes
    #[arg(long, value_name = "CASES", value_parser = clap::value_parser!(u64).range(1..))]
    runs: Option<u64>,
    /// Makes the inputs
    #[arg(long, value_enum, default_value_t = Engine::Libfuzzer)]
    engine: Engine,
    /// Seeds the engine's random numbers. A run with --runs can be repeated: with libFuzzer on one
    /// job, with the random engine on any number of jobs
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..))]
    seed: Option<u32>,
    /// Uses so many cores
    #[arg(long, default_value = "1")]
    jobs: NonZeroUsize,
    #[command(flatten)]
    which: Which,
    /// Prints the summary as one JSON object on the last line of standard output
    #[arg(long)]
    json: bool,
}

/// Fuzzes and prints the summary, also of a run that did not end as planned: it may have findings.
pub(crate) fn run(arguments: &Arguments) -> Result<Exit> {
    let target = Target::find(&arguments.target)?;
    ensure!(
        arguments.seed.is_none() || arguments.engine.takes_seed(),
        "--seed is not for {}: it takes none",
        arguments.engine.name()
    );
    let subject = arguments.which.subject()?;
    let program = arguments.engine.build(&subject, target)?;
    let time = match (arguments.time, arguments.runs) {
        (Some(time), _) => time,
        (None, Some(_)) => 0,
        (None, None) => 60,
    };
    let (summary, end) = fuzz(
        &Plan {
            program: &program,
            target,
            seed: arguments.seed.unwrap_or_else(fresh_seed).max(1),
            time,
            runs: arguments.runs.unwrap_or(0),
            jobs: arguments.jobs.get(),
            ends_at_first: false,
        },
        &new_run(target, &subject.name, arguments.engine)?,
        &[],
    )?;
    summary.print();
    if arguments.json {
        say!("{}", serde_json::to_string(&Versioned::new(&summary))?);
    }
    stop::check()?;
    end?;
    Ok(if summary.is_clean() { Exit::Clean } else { Exit::Findings })
}

/// A short run for the tests.
pub(crate) fn smoke(target: &str, engine: Engine, runs: u64, jobs: usize) -> Result<Summary> {
    let target = Target::find(target)?;
    let subject = Subject::production();
    let program = engine.build(&subject, target)?;
    let (summary, end) = fuzz(
        &Plan { program: &program, target, seed: 1, time: 0, runs, jobs, ends_at_first: false },
        &new_run(target, &subject.name, engine)?,
        &[],
    )?;
    end?;
    Ok(summary)
}

/// Fuzzes, from the committed seeds and `more` inputs: the summary, and how the processes ended.
pub(crate) fn fuzz(plan: &Plan, run: &Run, more: &[PathBuf]) -> Result<(Summary, Result<()>)> {
    let target = plan.target;
    let seeds = workspace::scenarios(&target.corpus("seeds"))?;
    ensure!(!seeds.is_empty(), "there are no seeds in corpus/{}/seeds", target.name);
    let known = Divergences::read()?;
    fill(&run.corpus(), &seeds)?;
    for input in more {
        let name = input.file_name().context("a file has a name")?;
        fs::copy(input, run.corpus().join(name))?;
    }
    let mut running = Running::start(run, plan)?;
    let seconds = watch(&mut running)?;
    let end = running.demand_good_end().and_then(|()| run.collect());
    let mut summary = Summary::new(run, plan, seconds, stop::asked());
    summary.failed = end.is_err();
    for mut record in run.found()? {
        record.file = workspace::shown(Path::new(&record.file));
        let known = known.reason(&summary.subject, &record.finding.signature);
        summary.findings.push(Found { record, known });
    }
    let noted = run.note_end(&end, Some(&summary));
    Ok((summary, end.and(noted)))
}

/// Shows progress until all processes have ended, by themselves or because somebody asked us to
/// stop. The seconds.
fn watch(running: &mut Running) -> Result<f64> {
    let mut bar = Bar::new();
    running.wait_until(|run| {
        let found = run.found().map_or(0, |found| found.len());
        show_counts(&mut bar, &run.counts(), run.coverage(), found);
        false
    })?;
    Ok(bar.finish())
}

/// Writes scenarios into a fresh corpus folder in the engine's binary form.
pub(crate) fn fill(corpus: &Path, scenarios: &[PathBuf]) -> Result<()> {
    fs::create_dir_all(corpus)?;
    for path in scenarios {
        let scenario = load(path)?;
        let name = path.file_stem().context("a scenario has a name")?;
        fs::write(corpus.join(name), scenario.encode())?;
    }
    Ok(())
}

/// A run of an engine in a folder below `artifacts` that no other run has.
pub(crate) fn new_run(target: &Target, subject: &str, engine: Engine) -> Result<Run> {
    Run::new(new_folder(target, subject)?, engine)
}

/// A folder for one run below `artifacts`, that no other run has.
pub(crate) fn new_folder(target: &Target, subject: &str) -> Result<PathBuf> {
    let base = workspace::root().join("artifacts").join(target.name).join(subject);
    fs::create_dir_all(&base)?;
    for number in 1_u32.. {
        let folder = base.join(format!("run-{number}"));
        match fs::create_dir(&folder) {
            Ok(()) => return Ok(folder),
            Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {}
            Err(error) => return Err(error.into()),
        }
    }
    anyhow::bail!("{} is full", base.display())
}

pub(crate) fn fresh_seed() -> u32 {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    now.map_or(1, |now| now.subsec_nanos() ^ now.as_secs() as u32)
}
