//! The test step `abi`: the examples of `harness/abi` are what they say.

use fs_err as fs;
use std::collections::BTreeSet;
use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::thread::available_parallelism;

use anyhow::{Context, Result};
use its_conformance::compare::Arguments;
use its_runner::program::Outcome;

use crate::commands::compare::subjects;
use crate::commands::fuzz::{fuzz, new_run};
use crate::commands::test::demand;
use crate::engines::summary::Summary;
use crate::engines::{Engine, Plan};
use crate::exit::Exit;
use crate::subjects::Subject;
use crate::subjects::external::Foreign;
use crate::subjects::mistakes::{Bank, Bug};
use crate::subjects::program::Program;
use crate::target::{self, Target};
use crate::workspace;

/// Cases of each target on the careful example.
const CASES: u64 = 2_000;
/// Cases of a target on the naive one.
const MANY: u64 = 2_048;

/// Checks all of them and says how much was checked.
pub(crate) fn check() -> Result<String> {
    let careful = Foreign::prepare("example:careful")?;
    let mut cases = clean(careful, &target::ALL)?;
    // The same with a set-up of its own, and the same when nobody sees its loads and stores.
    let set_up = std::slice::from_ref(Target::find("its_hvc")?);
    cases += clean(Foreign::prepare("example:own-layout")?, set_up)?;
    cases += clean(Foreign::unseen_example("careful")?, set_up)?;
    never_set_up()?;
    let (faults, mistakes) = (faults()?, naive()?);
    let compared = beside_production()?;
    Ok(format!(
        "{cases} clean cases, {faults} faults, {mistakes} mistakes, {compared} scenarios compared"
    ))
}

fn replayer(foreign: Foreign) -> Result<(String, Program)> {
    let subject = Subject::foreign(foreign);
    let program = subject.player()?;
    Ok((subject.name, program))
}

/// It is clean on every stored scenario, and on a few new ones of each of these targets; returns on
/// how many.
fn clean(example: Foreign, targets: &'static [Target]) -> Result<u64> {
    let (name, program) = replayer(example)?;
    let files = stored()?;
    let mut cases = files.len() as u64;
    let code = program.replay(&files, true)?.1;
    demand(code == 0, || format!("a stored scenario is not clean on {name} (code {code})"))?;
    for target in targets {
        let summary = random(&name, &program, target, CASES)?;
        demand(summary.is_clean(), || format!("{} has findings on {name}", target.name))?;
        cases += summary.executions;
    }
    Ok(cases)
}

/// One that refuses every set-up is told so where there is no reference to say it.
fn never_set_up() -> Result<()> {
    let (name, program) = replayer(Foreign::unseen_example("null")?)?;
    let seeds = workspace::scenarios(&Target::find("its_cmdq")?.corpus("seeds"))?;
    let judged = program.judge(&seeds[..1], None)?;
    let told = judged.iter().any(|one| match &one.outcome {
        Outcome::Played { findings, .. } => {
            findings.iter().any(|found| found.rule.id == "DIV-SETUP")
        }
        _ => false,
    });
    demand(told, || format!("{name} is not told by DIV-SETUP: {judged:?}"))
}

/// What is stored of all targets, and the known bugs' witnesses.
fn stored() -> Result<Vec<PathBuf>> {
    let mut files: Vec<PathBuf> = Bug::all(Bank::Bugs)?
        .into_iter()
        .map(|bug| bug.witness)
        .filter(|witness| witness.exists())
        .collect();
    for target in &target::ALL {
        for folder in ["seeds", "regressions"] {
            files.extend(workspace::scenarios(&target.corpus(folder))?);
        }
    }
    Ok(files)
}

/// Drawn scenarios that are compared.
const DRAWN: u64 = 64;

/// Host and hardware see no difference between the careful example and the production emulator, and
/// some between that and the naive one; returns how many scenarios were compared.
fn beside_production() -> Result<u64> {
    let files = stored()?;
    let differ = |example| subjects::different(["production", example], &files);
    let careful = differ("example:careful")?;
    demand(careful == 0, || {
        format!("the careful example differs from the production emulator in {careful} scenarios")
    })?;
    demand(differ("example:naive")? > 0, || {
        "the naive example does not differ from the production emulator".into()
    })?;
    let drawn = |example: &str| {
        let comparison = Arguments {
            one: "production".into(),
            other: example.into(),
            files: Vec::new(),
            fuzz: true,
            time: 60,
            runs: Some(DRAWN),
            seed: 1,
            jobs: None,
            json: false,
            careful: false,
            findings: workspace::root().join("target/compare"),
        };
        subjects::run(&comparison, None)
    };
    demand(drawn("example:careful")? == Exit::Clean, || "drawn scenarios differ".into())?;
    demand(drawn("example:naive")? == Exit::Findings, || "no drawn scenario differs".into())?;
    Ok(2 * (files.len() as u64 + DRAWN))
}

/// Random cases find each mistake that its first page lists, ` * N. what  RULE, RULE`, by one of
/// its rules; returns how many are listed.
fn naive() -> Result<usize> {
    let (name, program) = replayer(Foreign::prepare("example:naive")?)?;
    let mut told: BTreeSet<&str> = BTreeSet::new();
    for target in ["its_cmdq", "its_mmio"] {
        let summary = random(&name, &program, Target::find(target)?, MANY)?;
        told.extend(summary.findings.into_iter().map(|found| found.record.finding.rule.id));
    }
    let source = workspace::root().join("harness/abi/examples/naive.c");
    let text = fs::read_to_string(source)?;
    let listed = |line: &str| {
        let (number, rest) = line.strip_prefix(" * ")?.split_once(". ")?;
        number.parse::<u32>().ok()?;
        let (_, rules) = rest.rsplit_once("  ")?;
        Some((number.to_owned(), rules.trim().to_owned()))
    };
    let all: Vec<(String, String)> = text.lines().filter_map(listed).collect();
    demand(all.len() >= 10, || format!("{} lists {} mistakes", name, all.len()))?;
    for (number, rules) in &all {
        let found = rules.split(", ").any(|rule| told.contains(rule));
        demand(found, || {
            format!(
                "mistake {number} of {name} is not told by {rules}, but these were told: {told:?}"
            )
        })?;
    }
    Ok(all.len())
}

fn random(name: &str, program: &Program, target: &'static Target, runs: u64) -> Result<Summary> {
    let plan = Plan {
        program,
        target,
        seed: 1,
        time: 0,
        runs,
        jobs: available_parallelism().map_or(1, NonZeroUsize::get),
        ends_at_first: false,
    };
    let (summary, end) = fuzz(&plan, &new_run(target, name, Engine::Random)?, &[])?;
    end?;
    Ok(summary)
}

/// Each scenario names, in its first comment, the rule that it breaks; returns how many there are.
fn faults() -> Result<usize> {
    let (_, program) = replayer(Foreign::prepare("example:faults")?)?;
    let folder = workspace::root().join("harness/abi/examples/faults");
    let files = workspace::scenarios(&folder)?;
    for judged in program.judge(&files, None)? {
        let name = workspace::shown(&judged.file);
        let text = fs::read_to_string(&judged.file)?;
        let mut lines = text.lines();
        let rule = lines.find_map(|line| line.strip_prefix("# ")?.split_once(':'));
        let (rule, _) = rule.with_context(|| format!("{name} names no rule"))?;
        let found = match &judged.outcome {
            Outcome::Played { findings, .. } => findings.iter().any(|found| found.rule.id == rule),
            _ => false,
        };
        demand(found, || format!("{name} does not break {rule}: {:?}", judged.outcome))?;
    }
    Ok(files.len())
}
