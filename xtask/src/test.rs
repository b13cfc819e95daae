//! `test`: everything that CI runs, in the order of how fast it fails.

use std::time::Instant;

use anyhow::{Context, Result, ensure};
use its_runner::replay::{CLEAN, DEFECT, FINDINGS};

use crate::breaks;
use crate::bugs::{Bank, Bug, FoundBy};
use crate::conformance;
use crate::corpus;
use crate::divergences::Divergences;
use crate::engine::Engine;
use crate::exit::{Broken, Defect, Exit};
use crate::foreign::Foreign;
use crate::fuzz;
use crate::header::{Header, Origin};
use crate::nightly;
use crate::process;
use crate::program::Program;
use crate::subject::Subject;
use crate::summary::Summary;
use crate::target;
use crate::workspace;

#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// Only the step of this name
    #[arg(long)]
    only: Option<String>,
}

type Step = (&'static str, fn() -> Result<()>);

/// Cases of the fuzz smoke; a night plays many more.
const SMOKE: u64 = 4_000;
/// The largest share of poisoned cases, in percent.
const POISONED: u64 = 30;

const STEPS: [Step; 13] = [
    ("format", || cargo(&["fmt", "--all", "--check"])),
    ("clippy", || {
        cargo(&["clippy", "--workspace", "--all-targets", "--quiet", "--", "-D", "warnings"])
    }),
    ("rustdoc", rustdoc),
    ("tests", || cargo(&["test", "--workspace", "--quiet"])),
    ("no-panic", no_panic),
    ("corpus", stored),
    ("conform", conformance::check),
    ("compare", conformance::smoke),
    ("abi", crate::abi::check),
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
            step().with_context(|| format!("{name} failed"))?;
            eprintln!("== {name}: {} s", start.elapsed().as_secs());
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

fn cargo(arguments: &[&str]) -> Result<()> {
    run_cargo(arguments, &[])
}

fn run_cargo(arguments: &[&str], environment: &[(&str, &str)]) -> Result<()> {
    let output = process::cargo(arguments, |command| {
        let variables = environment.iter().chain(&[("INSTA_UPDATE", "no")]);
        variables.fold(command, |command, (name, value)| command.env(name, value))
    })?;
    let status = output.status;
    demand(status.success(), || format!("cargo {} ended with {status}", arguments.join(" ")))
}

fn rustdoc() -> Result<()> {
    run_cargo(&["doc", "--workspace", "--no-deps", "--quiet"], &[("RUSTDOCFLAGS", "-D warnings")])
}

/// The emulator links without the panic machinery, and a program that panics does not.
fn no_panic() -> Result<()> {
    crate::no_panic::check()
}

/// Every stored scenario prints back to itself and is clean on the production emulator.
fn stored() -> Result<()> {
    let program = Subject::production().player()?;
    for target in &target::ALL {
        let files = corpus::check(target)?;
        let code = program.replay(&files, true)?.1;
        demand_clean(code, "a stored scenario")?;
        eprintln!("{}: {} scenarios", target.name, files.len());
    }
    Divergences::read()?.check(&program)
}

/// Each mistake is found by what it says finds it.
fn bank(bank: Bank) -> Result<()> {
    let right = Subject::production().player()?;
    for bug in Bug::all(bank)? {
        let by = match &bug.facts.found_by {
            FoundBy::Target(_) => witness(&bug, &right)?,
            FoundBy::Tests(package) => tests(&bug, package)?,
        };
        requirements(&bug)?;
        eprintln!(
            "{}: {} ({}, {}; {by})\n  {}",
            bug.id, bug.facts.title, bug.facts.class, bug.facts.severity, bug.facts.origin
        );
    }
    match bank {
        Bank::Bugs => promoted(),
        Bank::Breaks => Ok(()),
    }
}

/// Regressions that were promoted from a known bug or an example show their signature with it.
fn promoted() -> Result<()> {
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
        }
    }
    Ok(())
}

/// The witness breaks one of the mistake's rules where it was made, twice with the same trace, and none where it was not.
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
    let failed = conformance::failing(&Subject::with_bug(bug), column, named)?;
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
fn smoke() -> Result<()> {
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
    }
    Ok(())
}

/// Each engine that is there finds what is planted; the random one does the same on any number of threads.
fn engines() -> Result<()> {
    for engine in Engine::ALL {
        match engine.demand_tools() {
            Ok(()) => nightly::check(engine)?,
            Err(error) => eprintln!("{} is not checked: {error}", engine.name()),
        }
    }
    let target = target::ALL[1].name;
    let [one, two] = [1, 2].map(|jobs| fuzz::smoke(target, Engine::Random, SMOKE, jobs));
    let (one, two) = (one?, two?);
    let counted = |one: &Summary| (one.executions, one.operations, one.judged, one.errors);
    demand(counted(&one) == counted(&two), || {
        "two threads of the random engine do what one does not".into()
    })
}
