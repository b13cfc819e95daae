//! The step `abi`: the examples of `harness/abi` are what they say.

use std::collections::BTreeSet;
use std::num::NonZeroUsize;
use std::thread::available_parallelism;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use its_reports::summary::Summary;
use its_reports::triage::Judged;
use its_rules::{Finding, Layers};

use super::{fuzz_well, points};
use crate::commands::compare::pair::{Draw, Pair};
use crate::commands::subject;
use crate::engines::{Engine, Plan};
use crate::subjects::{External, PRODUCTION, Program, Subject, boot};
use crate::target::{self, Target};
use crate::{stored, workspace};

/// Cases of each target on the careful example, and where there is no reference.
const CASES: u64 = 800;
const FEWER_CASES: u64 = 200;
/// Cases of a target on the naive one.
const MANY: u64 = 2_048;
/// The variable that names the mistake of `example:waiting-mistakes`.
const MISTAKE: &str = "ITSDIFF_MISTAKE";
/// Drawn scenarios that are compared.
const DRAWN: u64 = 64;

/// Checks all of them and says how much was checked.
pub(super) fn check() -> Result<String> {
    let mut cases = clean(&Subject::external("example:careful")?, &target::ALL, CASES)?;
    // What holds of any emulation, without a reference, holds of this one.
    let any_policy: Layers = "safety,service".parse()?;
    let careful = Subject::external("example:careful")?.judged_by(any_policy);
    cases += clean(&careful, &target::ALL, FEWER_CASES)?;
    // The same with a set-up of its own, and the same when nobody sees its loads and stores.
    let set_up = std::slice::from_ref(Target::find("its_hvc")?);
    cases += clean(&Subject::external("example:own-layout")?, set_up, CASES)?;
    cases += clean(&External::unseen_example("careful")?.into(), set_up, CASES)?;
    never_set_up()?;
    cases += kernel_sources()?;
    cases += clean(&Subject::external("example:waiting")?, target::under_el2(), CASES)?;
    let (faults, mistakes) = (faults()?, naive()? + mistakes_of_waiting()?);
    let points = points::check()?;
    let compared = compare_with_production()?;
    Ok(format!(
        "{cases} clean cases, {faults} faults, {mistakes} mistakes, {points} points, \
         {compared} scenarios compared"
    ))
}

/// Checks that an example is clean on every stored scenario, and on so many `new` ones of each of
/// these targets; returns on how many.
fn clean(example: &Subject, targets: &'static [Target], new: u64) -> Result<u64> {
    let (name, program) = (&example.name, example.player()?);
    let files = stored::all()?;
    let mut cases = files.len() as u64;
    let code = program.replay_all(&files)?;
    ensure!(code == 0, broken!("a stored scenario is not clean on {name} (code {code})"));
    for target in targets {
        let summary = random(&program, target, new)?;
        ensure!(summary.is_clean(), broken!("{} has findings on {name}", target.name));
        cases += summary.executions;
    }
    Ok(cases)
}

/// Checks that a subject which refuses every set-up breaks `SVC-SETUP` where there is no reference
/// to say it, and that its boots are not called a success.
fn never_set_up() -> Result<()> {
    let example: Subject = External::unseen_example("null")?.into();
    let troubles = boot::troubles(&example.player()?)?;
    ensure!(
        troubles.iter().all(Option::is_some),
        broken!("a boot of {} succeeds: {troubles:?}", example.name)
    );
    let seeds = Target::find("its_cmdq")?.scenarios("seeds")?;
    let judged = example.player()?.judge(&seeds[..1], None)?;
    let reported =
        judged.iter().flat_map(Judged::findings).any(|found| found.rule.id == "SVC-SETUP");
    ensure!(reported, broken!("{} does not break SVC-SETUP: {judged:?}", example.name));
    Ok(())
}

/// Checks that host and hardware see no difference between the careful example and the production
/// emulator, and some between that and the naive one; returns how many scenarios were compared.
fn compare_with_production() -> Result<u64> {
    let files = stored::all()?;
    let draw = Draw {
        target: Target::find("its_cmdq")?,
        seed: 1,
        cases: DRAWN,
        limit: Duration::from_secs(60),
        folder: &workspace::root().join("target/compare"),
    };
    for (example, must_differ) in [("example:careful", false), ("example:naive", true)] {
        let pair = Pair::new([PRODUCTION, example])?;
        let [stored, drawn] = [pair.differences(&files)?, pair.fuzz(&draw)?.differences.len()];
        ensure!(
            (stored > 0) == must_differ && (drawn > 0) == must_differ,
            broken!(
                "{example} differs in {stored} stored scenarios and in {drawn} ways in drawn ones"
            )
        );
    }
    Ok(2 * (files.len() as u64 + DRAWN))
}

/// Checks that random cases find each mistake that the naive example's first page lists,
/// ` * N. what  RULE, RULE`, by one of its rules; returns how many are listed.
fn naive() -> Result<usize> {
    let example = Subject::external("example:naive")?;
    let (name, program) = (&example.name, example.player()?);
    let mut reported = BTreeSet::new();
    for target in ["its_cmdq", "its_mmio"] {
        let summary = random(&program, Target::find(target)?, MANY)?;
        reported.extend(summary.findings.into_iter().map(|found| found.record.finding.rule.id));
    }
    let text = workspace::read(&workspace::root().join("harness/abi/examples/naive.c"))?;
    let listed = |line: &str| {
        let (number, rest) = line.strip_prefix(" * ")?.split_once(". ")?;
        number.parse::<u32>().ok()?;
        let (_, rules) = rest.rsplit_once("  ")?;
        Some((number.to_owned(), rules.trim().to_owned()))
    };
    let all: Vec<(String, String)> = text.lines().filter_map(listed).collect();
    ensure!(all.len() >= 10, broken!("{name} lists {} mistakes", all.len()));
    for (number, rules) in &all {
        let found = rules.split(", ").any(|rule| reported.contains(rule));
        ensure!(
            found,
            broken!("mistake {number} of {name} breaks none of {rules}, but these: {reported:?}")
        );
    }
    Ok(all.len())
}

/// Fuzzes an example with the random engine.
fn random(program: &Program, target: &'static Target, runs: u64) -> Result<Summary> {
    let jobs = available_parallelism().map_or(1, NonZeroUsize::get);
    fuzz_well(&Plan { runs, jobs, ..Plan::new(program, target) }, Engine::Random)
}

/// Checks that sources in a kernel's style are safe, and that the same with a header of their own
/// which forgets to clean are not; returns how many cases were clean.
fn kernel_sources() -> Result<u64> {
    let safety: Layers = "safety".parse()?;
    let all = &target::ALL;
    let cases = clean(&Subject::external("example:linux")?.judged_by(safety), all, FEWER_CASES)?;
    let folder = workspace::root().join("harness/abi/examples");
    let (source, header) = (folder.join("linux.c"), folder.join("linux/unclean"));
    let object = subject::compile(&[source], &[header], "gcc")?;
    let broken = Subject::external(&object.display().to_string())?.judged_by(safety);
    let seeds = Target::find("its_cmdq")?.scenarios("seeds")?;
    let judged = broken.player()?.judge(&seeds, None)?;
    let emulation = workspace::read(&folder.join("linux/its_emulate.c"))?;
    let stores = |finding: &Finding| {
        let line = finding.source_line.as_deref()?.strip_prefix("its_emulate.c:")?;
        let text = emulation.lines().nth(line.parse::<usize>().ok()?.checked_sub(1)?)?;
        Some(finding.rule.id == "EL2-CLEAN" && text.contains("memcpy(its->queue + its->judged"))
    };
    let found =
        judged.iter().flat_map(Judged::findings).any(|finding| stores(finding) == Some(true));
    ensure!(found, broken!("no EL2-CLEAN names the store that is not cleaned: {judged:?}"));
    Ok(cases)
}

/// Checks that each scenario breaks the rules that its first comment names, and that a finding
/// names the line of the source; returns how many there are.
fn faults() -> Result<usize> {
    let program = Subject::external("example:faults")?.player()?;
    let folder = workspace::root().join("harness/abi/examples/faults");
    let files = workspace::scenarios(&folder)?;
    for judged in program.judge(&files, None)? {
        demand_rules(&judged)?;
        let name = workspace::shown(&judged.file);
        let text = workspace::read(&judged.file)?;
        let source = text.lines().find_map(|line| line.strip_prefix("# at "));
        let at = |finding: &Finding| finding.source_line.as_deref().map(str::to_owned);
        let lines: Vec<_> = judged.findings().iter().map(at).collect();
        let named = source.is_none_or(|text| lines.iter().flatten().any(|line| shows(line, text)));
        ensure!(named, broken!("{name} does not show {source:?}, but these lines: {lines:?}"));
    }
    Ok(files.len())
}

/// Checks that a scenario breaks the rules that its first comment names, and no others.
fn demand_rules(judged: &Judged) -> Result<()> {
    let name = workspace::shown(&judged.file);
    let text = workspace::read(&judged.file)?;
    let rule = text.lines().find_map(|line| line.strip_prefix("# ")?.split_once(':'));
    let (rules, _) = rule.with_context(|| format!("{name} names no rule"))?;
    let expected: BTreeSet<&str> = rules.split(", ").collect();
    let found: BTreeSet<&str> = judged.findings().iter().map(|found| found.rule.id).collect();
    ensure!(found == expected, broken!("{name} breaks {found:?}, not {rules}"));
    Ok(())
}

/// Checks that the scenario of each mistake shows it, and that without it nothing is broken;
/// returns how many there are.
fn mistakes_of_waiting() -> Result<usize> {
    let program = Subject::external("example:waiting-mistakes")?.player()?;
    let folder = workspace::root().join("harness/abi/examples/waiting/mistakes");
    let files = workspace::scenarios(&folder)?;
    let code = program.with(MISTAKE, "none").replay_all(&files)?;
    ensure!(code == 0, broken!("example:waiting is not clean (code {code})"));
    for file in &files {
        let name = workspace::name(&file.with_extension(""));
        let mistaken = program.with(MISTAKE, &name);
        mistaken.judge(std::slice::from_ref(file), None)?.iter().try_for_each(demand_rules)?;
    }
    Ok(files.len())
}

/// Whether a line of an example, `file.c:123`, has this text.
fn shows(line: &str, text: &str) -> bool {
    let of_line = || {
        let (file, number) = line.split_once(':')?;
        let file = workspace::root().join("harness/abi/examples").join(file);
        let number: usize = number.parse().ok()?;
        Some(workspace::read(&file).ok()?.lines().nth(number.checked_sub(1)?)?.contains(text))
    };
    of_line() == Some(true)
}
