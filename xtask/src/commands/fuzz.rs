//! `fuzz`: builds a target for an engine, fuzzes, sums up.

use std::num::NonZeroUsize;

use anyhow::{Result, ensure};

use crate::engines::{Engine, Plan, Run, fresh_seed, fuzz, print_summary};
use crate::exit::Exit;
use crate::findings::KnownFile;
use crate::subjects::{JudgedSubject, boot};
use crate::target::Target;
use crate::{output, stop};

#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// The target to fuzz
    target: &'static Target,
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
    judged: JudgedSubject,
    #[command(flatten)]
    known: KnownFile,
    /// Prints the summary as one JSON object on the last line of standard output
    #[arg(long)]
    json: bool,
}

/// Fuzzes and prints the summary, also of a run that did not end as planned: it may have findings.
pub(crate) fn run(arguments: &Arguments) -> Result<Exit> {
    let Arguments { target, engine, seed, .. } = *arguments;
    let fits = seed.is_none() || engine.takes_seed();
    ensure!(fits, "--seed is not for {engine}: it takes none");
    let subject = arguments.judged.subject()?;
    target.demand_judged(subject.layers)?;
    let mut known = arguments.known.read()?;
    boot::demand(&subject)?;
    let program = engine.build(&subject, target)?;
    let plan = Plan {
        seed: seed.unwrap_or_else(fresh_seed),
        time: arguments.time.unwrap_or(if arguments.runs.is_some() { 0 } else { 60 }),
        runs: arguments.runs.unwrap_or(0),
        jobs: arguments.jobs.get(),
        ..Plan::new(&program, target)
    };
    let run = Run::new(target, &subject.name, engine)?;
    let (summary, end) = fuzz(&plan, &run, &[], &mut known)?;
    print_summary(engine, &summary);
    if arguments.json {
        output::print_json(&summary)?;
    }
    stop::check()?;
    end?;
    Ok(Exit::found(!summary.is_clean()))
}
