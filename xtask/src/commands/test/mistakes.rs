//! The steps `bugs` and `breaks`: each mistake is found by what is said to find it.

use anyhow::{Result, ensure};
use its_runner::replay::load;
use its_scenario::numbers::Record;

use super::demand_clean;
use crate::commands::{conform, corpus};
use crate::findings::{FILE, broken_rules, header};
use crate::subjects::{Bank, Bug, FoundBy, PRODUCTION, Program, Subject, breaks};
use crate::{target, workspace};

pub(super) fn check(bank: Bank) -> Result<String> {
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

/// Checks that regressions which were promoted from a known bug or an example show their signature
/// with it, and returns how many there are.
fn promoted() -> Result<usize> {
    let mut checked = 0;
    for target in &target::ALL {
        for file in target.scenarios("regressions")? {
            let header = header(&file);
            let (Some(subject), Some(signature)) = (header.subject, header.signature) else {
                continue;
            };
            if subject == PRODUCTION || subject.starts_with(FILE) {
                continue;
            }
            let played = Subject::given(&subject)?.player()?.replay(&file, None)?;
            let shows = played.findings.iter().any(|found| found.signature == signature);
            let (file, verdict) = (workspace::shown(&file), &played.verdict);
            ensure!(
                shows && played.defects.is_empty(),
                broken!("{file} does not show {signature} with {subject}: {verdict}")
            );
            checked += 1;
        }
    }
    Ok(checked)
}

/// Checks that the witness breaks one of the mistake's rules where it was made, the first of them
/// first, twice with the same trace, and none where it was not. Returns the rules.
fn witness(bug: &Bug, right: &Program) -> Result<String> {
    let (id, witness) = (&bug.id, &bug.witness);
    corpus::check_form(witness)?;
    demand_playable(bug)?;
    let code = right.replay_all(std::slice::from_ref(witness))?;
    demand_clean(code, &format!("{id}: the witness without the mistake"))?;
    let broken = Subject::with_bug(bug).brief_player()?;
    let played = broken.replay(witness, None)?;
    ensure!(played.defects.is_empty(), defect!("{id}: {}", played.defects.join("; ")));
    let rules = broken_rules(&played.findings);
    ensure!(
        rules.iter().any(|rule| bug.is_reported_by(rule)),
        broken!("{id}: the witness breaks {rules:?}, none of {:?}", bug.facts.rules)
    );
    let first = played.findings.first().map(|finding| finding.rule.id);
    let cause = bug.facts.rules.first().map(String::as_str);
    ensure!(
        first == cause,
        broken!("{id}: the first finding of the witness breaks {first:?}, the cause is {cause:?}")
    );
    let again = broken.replay(witness, None)?;
    let same = played.lines == again.lines && played.findings == again.findings;
    ensure!(same, broken!("{id}: two processes give two traces"));
    Ok(rules.into_iter().collect::<Vec<_>>().join(", "))
}

/// Checks that the target which is said to find it plays all operations of the witness.
fn demand_playable(bug: &Bug) -> Result<()> {
    let target = bug.target()?;
    let generator = target.generator()?;
    let scenario = load(&bug.witness)?;
    for kind in scenario.operations.iter().map(|operation| Record::from(operation).kind) {
        let (id, played, name) = (&bug.id, generator.plays(kind), kind.name());
        ensure!(played, "{id}: {} does not play {name}; name a target that does", target.name);
    }
    Ok(())
}

/// Checks that the requirements fail which a mistake is said to break.
fn requirements(bug: &Bug) -> Result<()> {
    let named = &bug.facts.requirements;
    if named.is_empty() {
        return Ok(());
    }
    let is_of_board = bug.patch.contains("+++ b/harness/board/");
    let column = if is_of_board { "physical-its" } else { "model" };
    let failed = conform::failing(&Subject::with_bug(bug), column, named)?;
    let missed = named.iter().find(|id| !failed.contains(id));
    ensure!(missed.is_none(), broken!("{}: {missed:?} does not fail with it", bug.id));
    Ok(())
}

/// Checks that the tests of a package fail, and returns which.
fn tests(bug: &Bug, package: &str) -> Result<String> {
    let (text, passed) = breaks::test(bug, package)?;
    let is_failure =
        |line: &str| line.ends_with("--- FAILED") || line.contains("test result: FAILED");
    ensure!(
        !passed && text.lines().any(is_failure),
        broken!("{}: the tests of {package} do not notice it:\n{text}", bug.id)
    );
    let name = |line: &'_ str| -> Option<String> {
        Some(line.trim().strip_prefix("---- ")?.strip_suffix(" stdout ----")?.into())
    };
    Ok(text.lines().filter_map(name).collect::<Vec<_>>().join(", "))
}
