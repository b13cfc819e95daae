//! `test`: everything that CI runs, in the order of how fast it fails.

mod abi;
mod mistakes;
mod no_panic;
mod points;

use std::time::Instant;

use anyhow::{Context, Result, bail, ensure};
use clap::builder::PossibleValuesParser;
use its_reports::summary::Summary;
use its_runner::replay::{CLEAN, DEFECT};
use serde_json::Value;

use super::{compare, conform, corpus, nightly};
use crate::engines::{Engine, Plan, Run, fuzz, print_summary};
use crate::exit::Exit;
use crate::findings::{KnownFile, check_committed};
use crate::process;
use crate::subjects::{Bank, Subject};
use crate::{stop, target};

#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// Runs only the step of this name
    #[arg(long, value_parser = PossibleValuesParser::new(STEPS.map(|(name, _)| name)))]
    only: Option<String>,
}

/// A name, and what it does: checks things, and says how many of what.
type Step = (&'static str, fn() -> Result<String>);

/// Cases of the fuzz smoke, some 1,350 stored scenarios among them; a night plays many more.
const SMOKE: u64 = 2_500;
/// The largest share of poisoned cases, in percent.
const POISONED: u64 = 10;

const CLIPPY: [&str; 8] =
    ["clippy", "--locked", "--workspace", "--all-targets", "--quiet", "--", "-D", "warnings"];
const RUSTDOC: [&str; 5] = ["doc", "--locked", "--workspace", "--no-deps", "--quiet"];

const STEPS: [Step; 13] = [
    ("format", || on_packages(&["fmt", "--all", "--check"], &[])),
    ("clippy", || on_packages(&CLIPPY, &[])),
    ("rustdoc", || on_packages(&RUSTDOC, &[("RUSTDOCFLAGS", "-D warnings")])),
    ("tests", unit_tests),
    ("no-panic", no_panic::check),
    ("corpus", stored),
    ("conform", conform::check),
    ("compare", compare::smoke),
    ("abi", abi::check),
    ("bugs", || mistakes::check(Bank::Bugs)),
    ("breaks", || mistakes::check(Bank::Breaks)),
    ("smoke", smoke),
    ("engines", engines),
];

/// Runs every step; the first that fails ends it.
pub(crate) fn run(arguments: &Arguments) -> Result<Exit> {
    for (name, step) in STEPS {
        if arguments.only.as_deref().is_none_or(|only| only == name) {
            eprintln!("== {name}");
            let start = Instant::now();
            let checked = step().with_context(|| format!("{name} failed"))?;
            eprintln!("== {name}: {checked}, {} s", start.elapsed().as_secs());
        }
    }
    eprintln!("== all passed");
    Ok(Exit::Clean)
}

/// Checks the exit code of a replay that must be clean.
fn demand_clean(code: i32, what: &str) -> Result<()> {
    ensure!(code != i32::from(DEFECT), defect!("{what} contradicts itself"));
    ensure!(code == i32::from(CLEAN), broken!("{what} is not clean (code {code})"));
    Ok(())
}

/// Runs cargo on all packages and returns how many there are.
fn on_packages(arguments: &[&str], environment: &[(&str, &str)]) -> Result<String> {
    cargo(arguments, environment)?;
    let metadata = cargo(&["metadata", "--locked", "--no-deps", "--format-version", "1"], &[])?;
    let metadata: Value = serde_json::from_str(&metadata)?;
    Ok(format!("{} packages", metadata["packages"].as_array().map_or(0, Vec::len)))
}

/// Runs cargo and returns what it printed to standard output.
fn cargo(arguments: &[&str], environment: &[(&str, &str)]) -> Result<String> {
    let ended = process::cargo(arguments, |command| {
        let command = command.env("INSTA_UPDATE", "no").stdout_capture();
        environment.iter().fold(command, |command, (name, value)| command.env(name, value))
    })?;
    let status = ended.status;
    if !status.success() {
        eprintln!("{}", ended.stdout);
        bail!(broken!("cargo {} ended with {status}", arguments.join(" ")));
    }
    Ok(ended.stdout)
}

/// Unit tests run as they are compiled fastest, tests that play many scenarios optimized, as what
/// plays is: so each needs what other steps have built.
fn unit_tests() -> Result<String> {
    const ALL: [&str; 4] = ["test", "--locked", "--workspace", "--quiet"];
    let mut tests = 0;
    for more in [
        &["--profile", "dev", "--lib", "--bins"][..],
        &["--profile", "dev", "--doc"],
        &["--test", "*"],
    ] {
        tests += passed(&cargo(&[&ALL[..], more].concat(), &[])?);
    }
    Ok(format!("{tests} tests"))
}

/// Returns the number of tests that ran, in the output of cargo.
fn passed(text: &str) -> u64 {
    let number = |line: &str| {
        let (_, rest) = line.split_once("test result: ok. ")?;
        rest.split_once(" passed")?.0.parse::<u64>().ok()
    };
    text.lines().filter_map(number).sum()
}

/// Checks that every stored scenario prints back to itself and is clean on the production emulator.
fn stored() -> Result<String> {
    let program = Subject::production().player()?;
    let mut checked = 0;
    for target in &target::ALL {
        let files = corpus::check(target)?;
        demand_clean(program.replay_all(&files)?, "a stored scenario")?;
        checked += files.len();
    }
    let divergences = check_committed(&program)?;
    Ok(format!("{checked} scenarios, {divergences} intended divergences"))
}

/// Fuzzes as planned, and demands a good end.
fn fuzz_well(plan: &Plan, engine: Engine) -> Result<Summary> {
    let mut known = KnownFile::default().read()?;
    let (summary, end) =
        fuzz(plan, &Run::new(plan.target, &plan.program.subject, engine)?, &[], &mut known)?;
    // A run that was interrupted counts less than it should.
    stop::check()?;
    end?;
    Ok(summary)
}

/// Fuzzes all targets briefly: instrumented, judging, not mostly poisoned, and without a finding.
fn smoke() -> Result<String> {
    let mut cases = 0;
    for target in &target::ALL {
        let program = Engine::Libfuzzer.build(&Subject::production(), target)?;
        let plan = Plan { runs: SMOKE, ..Plan::new(&program, target) };
        let summary = fuzz_well(&plan, Engine::Libfuzzer)?;
        print_summary(Engine::Libfuzzer, &summary);
        ensure!(summary.is_clean(), broken!("the production emulator has findings"));
        let sound = summary.counts.judged + summary.counts.fetched > summary.executions
            && summary.coverage > Some(0)
            && summary.counts.poisoned * 100 <= summary.executions * POISONED;
        ensure!(sound, defect!("the smoke of {} judged too little", target.name));
        cases += summary.executions;
    }
    Ok(format!("{} targets, {cases} cases", target::ALL.len()))
}

/// Checks that each engine that is there finds what is planted, and that the random one does the
/// same on any number of threads.
fn engines() -> Result<String> {
    let mut checked = 0;
    for engine in Engine::ALL {
        match engine.demand_tools() {
            Ok(()) => {
                nightly::check_canary(engine)?;
                checked += 1;
            }
            Err(error) => eprintln!("{engine} is not checked: {error}"),
        }
    }
    let target = &target::ALL[1];
    let program = Engine::Random.build(&Subject::production(), target)?;
    let plan = |jobs| Plan { runs: SMOKE, jobs, ..Plan::new(&program, target) };
    let [one, two] = [1, 2].map(|jobs| fuzz_well(&plan(jobs), Engine::Random));
    let (one, two) = (one?, two?);
    let same = one.counts == two.counts;
    ensure!(same, broken!("two threads of the random engine do what one does not"));
    Ok(format!("{checked} engines, 2 random runs of {} cases", one.executions))
}

#[cfg(test)]
mod tests {
    #[test]
    fn tests_that_ran_are_counted() {
        let text = "running 3 tests\n...\ntest result: ok. 3 passed; 0 failed; 1 ignored;\n\n\
                    test result: ok. 40 passed; 0 failed;\n";
        assert_eq!(super::passed(text), 43);
        assert_eq!(super::passed("test result: FAILED. 2 passed; 1 failed"), 0);
    }
}
