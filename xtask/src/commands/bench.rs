//! `bench`: the speed of the committed benchmark scenarios, in the instrumented target with all
//! oracles on.

use anyhow::{Context, Result, ensure};
use its_reports::summary::Counts;
use serde::Deserialize;

use crate::engines::Engine;
use crate::exit::Exit;
use crate::subjects::Subject;
use crate::target::Target;
use crate::{process, workspace};

#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// Plays `corpus/<target>/bench` of this target
    target: &'static Target,
    /// Ends after this time: `90s`, `2m`, or plain seconds
    #[arg(long = "time", value_name = "TIME", default_value = "10s")]
    #[arg(value_parser = its_conformance::seconds)]
    seconds: u64,
}

#[derive(Deserialize)]
struct Measured {
    scenarios: usize,
    seconds: f64,
    counts: Counts,
}

/// Measures and prints.
pub(crate) fn run(arguments: &Arguments) -> Result<Exit> {
    let target = arguments.target;
    let folder = target.corpus("bench");
    let is_empty = target.scenarios("bench")?.is_empty();
    ensure!(!is_empty, "there are no scenarios in {}", workspace::shown(&folder));
    let program = Engine::Libfuzzer.build(&Subject::production(), target)?;
    let command = program
        .command(Vec::<String>::new())
        .env("ITSDIFF_BENCH", &folder)
        .env("ITSDIFF_BENCH_SECONDS", arguments.seconds.to_string());
    let text = process::text(&program.path, command)?;
    let last = text.lines().last().unwrap_or_default();
    let measured: Measured = serde_json::from_str(last).context("no measurement")?;
    let Measured { scenarios, seconds, counts } = measured;
    let [cases, operations] = [counts.cases.max(1) as f64, counts.operations as f64];
    let commands = counts.judged.max(counts.fetched) as f64;
    say!(
        "{scenarios} scenarios, {:.1} operations and {:.1} commands a case",
        operations / cases,
        commands / cases
    );
    say!(
        "{:.0} cases/s, {:.0} operations/s, {:.0} commands/s, one core, {seconds:.1} s",
        counts.cases as f64 / seconds,
        operations / seconds,
        commands / seconds
    );
    Ok(Exit::Clean)
}
