//! `test`: everything that CI runs, in the order of how fast it fails.

pub(crate) mod abi;
pub(crate) mod no_panic;

use std::time::Instant;

use anyhow::{Context, Result, ensure};
use its_runner::replay::{CLEAN, DEFECT, FINDINGS};

use crate::commands::conform;
use crate::commands::corpus;
use crate::commands::fuzz;
use crate::commands::nightly;
use crate::engines::Engine;
use crate::engines::summary::Summary;
use crate::exit::{Broken, Defect, Exit};
use crate::findings::divergences::Divergences;
use crate::findings::header::{Header, Origin};
use crate::process;
use crate::subjects::Subject;
use crate::subjects::breaks;
use crate::subjects::external::Foreign;
use crate::subjects::mistakes::{Bank, Bug, FoundBy};
use crate::subjects::program::Program;
use crate::target;
use crate::workspace;

#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// Runs only the step of this name
    #[arg(long)]
    only: Option<String>,
}

/// A name, and what it does: checks things, and says how many of what.
type Step = (&'static str, fn() -> Result<String>);

/// Cases of the fuzz smoke; a night plays many more.
const SMOKE: u64 = 4_000;
/// The largest share of poisoned cases, in percent.
const POISONED: u64 = 30;

const CLIPPY: [&str; 8] =
    ["clippy", "--locked", "--workspace", "--all-targets", "--quiet", "--", "-D", "warnings"];
const RUSTDOC: [&str; 5] = ["doc", "--locked", "--workspace", "--no-deps", "--quiet"];

const STEPS: [Step; 13] = [
    ("format", || on_packages(&["fmt", "--all", "--check"], &[])),
    ("clippy", || on_packages(&CLIPPY, &[])),
    ("rustdoc", || on_packages(&RUSTDOC, &[("RUSTDOCFLAGS", "-D warnings")])),
    ("tests", unit_tests),
    ("no-panic", no_panic),
    ("corpus", stored),
    ("conform", conform::check),
    ("compare", conform::smoke),
    ("abi", crate::commands::test::abi::check),
    ("bugs", || bank(Bank::Bugs)),
    ("breaks", || bank(Bank::Breaks)),
    ("smoke", smoke),
    ("engines", engines),
];

/// Runs every step; the first that fails ends it.
pub(crate) fn run(arguments: &Arguments) -> Result<Exit> {
    if let Some(only) = &arguments.only {
        let known = STEPS.map(|(name, _)| name);
        ensure!(
            known.contains(&only.as_str()),
            "no step `{only}`; there are: {}",
            known.join(", ")
        );
    }
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

pub(crate) fn demand(holds: bool, what: impl FnOnce() -> String) -> Result<()> {
    if holds {
        return Ok(());
    }
    Err(Broken(what()).into())
}

/// The exit code of a replay that must be clean.
fn demand_clean(code: i32, what: &str) -> Result<()> {
    if code == i32::from(DEFECT) {
        return Err(Defect(format!("{what} contradicts itself")).into());
    }
    demand(code == i32::from(CLEAN), || format!("{what} is not clean (code {code})"))
}

/// Runs cargo on all packages and returns how many there are.
fn on_packages(arguments: &[&str], environment: &[(&str, &str)]) -> Result<String> {
    cargo(arguments, environment)?;
    let metadata = cargo(&["metadata", "--locked", "--no-deps", "--format-version", "1"], &[])?;
    let metadata: serde_json::Value = serde_json::from_str(&metadata)?;
    Ok(format!("{} packages", metadata["packages"].as_array().map_or(0, Vec::len)))
}

/// Runs cargo and returns what it printed to standard output.
fn cargo(arguments: &[&str], environment: &[(&str, &str)]) -> Result<String> {
    let output = process::cargo(arguments, |command| {
        let command = command.env("INSTA_UPDATE", "no").stdout_capture();
        environment.iter().fold(command, |command, (name, value)| command.env(name, value))
    })?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    if !output.status.success() {
        eprintln!("{text}");
    }
    let status = output.status;
    demand(status.success(), || format!("cargo {} ended with {status}", arguments.join(" ")))?;
    Ok(text)
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

/// The number of tests that ran, in the output of cargo.
fn passed(text: &str) -> u64 {
    let number = |line: &str| {
        let (_, rest) = line.split_once("test result: ok. ")?;
        rest.split_once(" passed")?.0.parse::<u64>().ok()
    };
    text.lines().filter_map(number).sum()
}

/// The emulator links without the panic machinery, and a program that panics does not.
fn no_panic() -> Result<String> {
    crate::commands::test::no_panic::check()?;
    Ok("2 programs".into())
}

/// Every stored scenario prints back to itself and is clean on the production emulator.
fn stored() -> Result<String> {
    let program = Subject::production().player()?;
    let mut checked = 0;
    for target in &target::ALL {
        let files = corpus::check(target)?;
        let code = program.replay(&files, true)?.1;
        demand_clean(code, "a stored scenario")?;
        checked += files.len();
    }
    let divergences = Divergences::read()?.check(&program)?;
    Ok(format!("{checked} scenarios, {divergences} intended divergences"))
}

/// Each mistake is found by what it says finds it.
fn bank(bank: Bank) -> Result<String> {
    let right = Subject::production().player()?;
    let all = Bug::all(bank)?;
    for bug in &all {
        let by = match &bug.facts.found_by {
            FoundBy::Target(_) => witness(bug, &right)?,
            FoundBy::Tests(package) => tests(bug, package)?,
        };
        requirements(bug)?;
        eprintln!(
            "{}: {} ({}, {}; {by})\n  {}",
            bug.id, bug.facts.title, bug.facts.class, bug.facts.severity, bug.facts.origin
        );
    }
    match bank {
        Bank::Bugs => Ok(format!("{} known bugs, {} regressions of them", all.len(), promoted()?)),
        Bank::Breaks => Ok(format!("{} breaks", all.len())),
    }
}

/// Regressions that were promoted from a known bug or an example show their signature with it;
/// returns how many there are.
fn promoted() -> Result<usize> {
    let mut checked = 0;
    for target in &target::ALL {
        for file in workspace::scenarios(&target.corpus("regressions"))? {
            let header = Header::read(&file);
            let (Some(subject), Some(signature)) = (header.subject, header.signature) else {
                continue;
            };
            let program = match Origin::of(&subject) {
                Origin::Production | Origin::Elsewhere => continue,
                Origin::Example => {
                    let example = Subject::foreign(Foreign::prepare(&subject)?);
                    example.player()?
                }
                Origin::Bug => Subject::with_bug(&Bug::find(&subject)?).player()?,
            };
            let (text, code) = program.replay(std::slice::from_ref(&file), false)?;
            let wanted = format!("signature: {signature}");
            let shows = text.lines().any(|line| line.trim() == wanted);
            demand(shows && code == i32::from(FINDINGS), || {
                let file = workspace::shown(&file);
                format!("{file} does not show {signature} with {subject} (code {code})")
            })?;
            checked += 1;
        }
    }
    Ok(checked)
}

/// The witness breaks one of the mistake's rules where it was made, twice with the same trace, and
/// none where it was not.
fn witness(bug: &Bug, right: &Program) -> Result<String> {
    let files = [bug.witness.clone()];
    corpus::check_form(&bug.witness)?;
    let code = right.replay(&files, true)?.1;
    demand_clean(code, &format!("{}: the witness without the mistake", bug.id))?;
    let broken = Subject::with_bug(bug).brief_player()?;
    let (text, code) = broken.replay(&files, false)?;
    demand(code == i32::from(FINDINGS), || {
        format!("{}: the witness does not show it (code {code})", bug.id)
    })?;
    let rules = reported(&text);
    let expected = rules.iter().any(|rule| bug.is_told_by(rule));
    demand(expected, || {
        let known = &bug.facts.rules;
        format!("{}: reported {rules:?}, none of {known:?}", bug.id)
    })?;
    let (again, _) = broken.replay(&files, false)?;
    demand(text == again, || format!("{}: two processes give two traces", bug.id))?;
    Ok(rules.join(", "))
}

/// The requirements that a mistake is said to break fail with it.
fn requirements(bug: &Bug) -> Result<()> {
    let named = &bug.facts.requirements;
    if named.is_empty() {
        return Ok(());
    }
    let column = match bug.patch.contains("+++ b/harness/board/") {
        true => "physical-its",
        false => "model",
    };
    let failed = conform::failing(&Subject::with_bug(bug), column, named)?;
    let missed = named.iter().find(|id| !failed.contains(id));
    demand(missed.is_none(), || format!("{}: {missed:?} does not fail with it", bug.id))
}

/// The tests of a package fail, where they do not fail without the mistake.
fn tests(bug: &Bug, package: &str) -> Result<String> {
    let (text, passed) = breaks::test(bug, package)?;
    let failed = text
        .lines()
        .find(|line| line.ends_with("--- FAILED") || line.contains("test result: FAILED"));
    demand(!passed && failed.is_some(), || {
        format!("{}: the tests of {package} do not notice it:\n{text}", bug.id)
    })?;
    let names = text
        .lines()
        .filter_map(|line| line.trim().strip_prefix("---- ")?.strip_suffix(" stdout ----"));
    Ok(names.collect::<Vec<_>>().join(", "))
}

/// The rules in a replay's output.
pub(crate) fn reported(text: &str) -> Vec<String> {
    let signature =
        |line: &str| Some(line.trim().strip_prefix("signature: ")?.split('.').next()?.to_owned());
    let mut rules: Vec<String> = text.lines().filter_map(signature).collect();
    rules.sort();
    rules.dedup();
    rules
}

/// Short fuzzing: instrumented, judging, not mostly poisoned, and without a finding.
fn smoke() -> Result<String> {
    let mut cases = 0;
    for target in &target::ALL {
        let summary = fuzz::smoke(target.name, Engine::Libfuzzer, SMOKE, 1)?;
        summary.print();
        demand(summary.is_clean(), || "the production emulator has findings".into())?;
        let sound = summary.judged + summary.fetched > summary.executions
            && summary.coverage > Some(0)
            && summary.poisoned * 100 <= summary.executions * POISONED;
        if !sound {
            return Err(Defect(format!("the smoke of {} judged too little", target.name)).into());
        }
        cases += summary.executions;
    }
    Ok(format!("{} targets, {cases} cases", target::ALL.len()))
}

/// Each engine that is there finds what is planted; the random one does the same on any number of
/// threads.
fn engines() -> Result<String> {
    let mut checked = 0;
    for engine in Engine::ALL {
        match engine.demand_tools() {
            Ok(()) => {
                nightly::check(engine)?;
                checked += 1;
            }
            Err(error) => eprintln!("{} is not checked: {error}", engine.name()),
        }
    }
    let target = target::ALL[1].name;
    let [one, two] = [1, 2].map(|jobs| fuzz::smoke(target, Engine::Random, SMOKE, jobs));
    let (one, two) = (one?, two?);
    let counted = |one: &Summary| (one.executions, one.operations, one.judged, one.errors);
    demand(counted(&one) == counted(&two), || {
        "two threads of the random engine do what one does not".into()
    })?;
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
