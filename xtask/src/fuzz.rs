//! `fuzz`: build the instrumented target, seed it, run it, sum up.

use std::fs;
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::thread::sleep;
use std::time::{Duration, SystemTime};

use anyhow::{Context, Result, ensure};
use its_runner::Counts;
use its_runner::replay::load;

use crate::divergences::Divergences;
use crate::engine::{self, Job, Options};
use crate::exit::Exit;
use crate::program::Program;
use crate::progress::{Bar, show_counts};
use crate::subject::Subject;
use crate::summary::{Found, Summary};
use crate::target::Target;
use crate::workspace;

#[derive(clap::Args, Clone)]
pub(crate) struct Arguments {
    /// What to fuzz: see `cargo xtask list`
    target: String,
    /// Seconds; 60 unless --runs is given
    #[arg(long, value_name = "SECONDS", value_parser = clap::value_parser!(u64).range(1..))]
    time: Option<u64>,
    /// Cases, over all processes
    #[arg(long, value_name = "CASES", value_parser = clap::value_parser!(u64).range(1..))]
    runs: Option<u64>,
    /// Of the engine's random numbers; with --runs and one job the run can be repeated
    #[arg(long)]
    seed: Option<u32>,
    /// Processes
    #[arg(long, default_value = "1")]
    jobs: NonZeroUsize,
    /// Fuzz the emulator with this known bug put back
    #[arg(long, value_name = "ID")]
    bug: Option<String>,
    /// The summary as one JSON object on the last line of standard output
    #[arg(long)]
    json: bool,
}

/// Fuzzes and prints the summary, also of a run that did not end as planned: it may have findings.
pub(crate) fn run(arguments: &Arguments) -> Result<Exit> {
    let (summary, end) = fuzz(arguments)?;
    summary.print();
    if arguments.json {
        say!("{}", serde_json::to_string(&summary)?);
    }
    end?;
    Ok(if summary.is_clean() {
        Exit::Clean
    } else {
        Exit::Findings
    })
}

/// A short run for the tests.
pub(crate) fn smoke(target: &str, runs: u64) -> Result<Summary> {
    let (summary, end) = fuzz(&Arguments {
        target: target.into(),
        time: None,
        runs: Some(runs),
        seed: Some(1),
        jobs: NonZeroUsize::MIN,
        bug: None,
        json: false,
    })?;
    end?;
    Ok(summary)
}

/// The summary, and how the processes ended.
fn fuzz(arguments: &Arguments) -> Result<(Summary, Result<()>)> {
    let target = Target::find(&arguments.target)?;
    let seeds = workspace::scenarios(&target.corpus("seeds"))?;
    ensure!(
        !seeds.is_empty(),
        "there are no seeds in corpus/{}/seeds",
        target.name
    );
    let known = Divergences::read()?;
    let subject = Subject::new(arguments.bug.as_deref())?;
    let folder = new_folder(target, &subject.name)?;
    let corpus = folder.join("corpus");
    fill(&corpus, &seeds)?;
    let program = Program::from(engine::build(&subject, target.name)?);
    let seed = arguments.seed.unwrap_or_else(fresh_seed).max(1);
    let findings = folder.join("findings");
    fs::create_dir_all(&findings)?;
    let time = match (arguments.time, arguments.runs) {
        (Some(time), _) => time,
        (None, Some(_)) => 0,
        (None, None) => 60,
    };
    let number = arguments.jobs.get();
    let mut jobs = Vec::new();
    for index in 0..number {
        let folder = folder.join(format!("process-{index}"));
        fs::create_dir_all(&folder)?;
        let runs = arguments.runs.unwrap_or(0);
        jobs.push(engine::start(&Options {
            program: &program,
            corpus: &corpus,
            folder: &folder,
            findings: Some(&findings),
            seed: seed.wrapping_add(index as u32).max(1),
            time,
            runs: share(runs, index as u64, number as u64),
        })?);
    }
    let (seconds, end) = watch(&jobs, &findings)?;
    let mut summary = Summary {
        target: target.name,
        engine: "libfuzzer",
        subject: subject.name,
        seed,
        jobs: number,
        seconds,
        executions: 0,
        operations: 0,
        judged: 0,
        fetched: 0,
        errors: 0,
        refused: 0,
        stalled: 0,
        poisoned: 0,
        skipped: 0,
        coverage: jobs.iter().map(Job::coverage).max().unwrap_or(0),
        findings: Vec::new(),
    };
    summary.count(&total(&jobs));
    for mut record in engine::findings(&findings)? {
        record.file = workspace::shown(Path::new(&record.file));
        let known = known.reason(&summary.subject, &record.signature);
        summary.findings.push(Found { record, known });
    }
    Ok((summary, end))
}

/// Process `index` of `number` gets its share of `runs`; none of them 0 unless `runs` is.
fn share(runs: u64, index: u64, number: u64) -> u64 {
    let rest = u64::from(index < runs % number);
    if runs == 0 {
        0
    } else {
        (runs / number + rest).max(1)
    }
}

/// Shows progress until all processes have ended. The seconds, and how they ended.
fn watch(jobs: &[Job], findings: &Path) -> Result<(f64, Result<()>)> {
    let mut bar = Bar::new();
    loop {
        sleep(Duration::from_millis(300));
        let mut ended = true;
        for job in jobs {
            ended &= job.has_ended()?;
        }
        if ended {
            break;
        }
        let coverage = jobs.iter().map(Job::coverage).max().unwrap_or(0);
        let found = engine::findings(findings).map_or(0, |found| found.len());
        show_counts(&mut bar, &total(jobs), coverage, found);
    }
    let seconds = bar.finish();
    Ok((seconds, jobs.iter().try_for_each(Job::demand_good_end)))
}

fn total(jobs: &[Job]) -> Counts {
    let mut total = Counts::default();
    for job in jobs {
        total.add(&job.counts());
    }
    total
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

/// A folder for one run below `artifacts`, that no other run has.
pub(crate) fn new_folder(target: &Target, subject: &str) -> Result<PathBuf> {
    let base = workspace::root()
        .join("artifacts")
        .join(target.name)
        .join(subject);
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

fn fresh_seed() -> u32 {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    now.map_or(1, |now| now.subsec_nanos() ^ now.as_secs() as u32)
}

#[cfg(test)]
mod tests {
    use super::share;

    #[test]
    fn runs_are_shared_out_whole() {
        for (runs, number) in [(100, 3), (7, 7), (50_000, 2)] {
            let sum: u64 = (0..number).map(|index| share(runs, index, number)).sum();
            assert_eq!(sum, runs);
        }
        assert_eq!(share(0, 1, 2), 0);
    }
}
