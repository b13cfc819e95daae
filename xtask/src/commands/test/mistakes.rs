//! The steps `bugs` and `breaks`: each mistake is found by what is said to find it.

use anyhow::Result;
use its_runner::replay::FINDINGS;

use super::{demand, demand_clean};
use crate::commands::{conform, corpus};
use crate::findings::{Header, Origin};
use crate::subjects::{Bank, Bug, FoundBy, Program, Subject, breaks};
use crate::{target, workspace};

/// Checks all mistakes of a bank.
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
            let header = Header::read(&file);
            let (Some(subject), Some(signature)) = (header.subject, header.signature) else {
                continue;
            };
            let made = match Origin::of(&subject) {
                Origin::Production | Origin::File => continue,
                Origin::Example => Subject::external(&subject)?,
                Origin::Bug => Subject::new(Some(&subject))?,
            };
            let (text, code) = made.player()?.replay(std::slice::from_ref(&file))?;
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

/// Checks that the witness breaks one of the mistake's rules where it was made, twice with the same
/// trace, and none where it was not. Returns the rules.
fn witness(bug: &Bug, right: &Program) -> Result<String> {
    let files = [bug.witness.clone()];
    corpus::check_form(&bug.witness)?;
    let code = right.replay_clean(&files)?;
    demand_clean(code, &format!("{}: the witness without the mistake", bug.id))?;
    let broken = Subject::with_bug(bug).brief_player()?;
    let (text, code) = broken.replay(&files)?;
    demand(code == i32::from(FINDINGS), || {
        format!("{}: the witness does not show it (code {code})", bug.id)
    })?;
    let rules = reported_rules(&text);
    let expected = rules.iter().any(|rule| bug.is_reported_by(rule));
    demand(expected, || {
        let known = &bug.facts.rules;
        format!("{}: reported {rules:?}, none of {known:?}", bug.id)
    })?;
    let (again, _) = broken.replay(&files)?;
    demand(text == again, || format!("{}: two processes give two traces", bug.id))?;
    Ok(rules.join(", "))
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
    demand(missed.is_none(), || format!("{}: {missed:?} does not fail with it", bug.id))
}

/// Checks that the tests of a package fail, and returns which.
fn tests(bug: &Bug, package: &str) -> Result<String> {
    let (text, passed) = breaks::test(bug, package)?;
    let is_failure =
        |line: &str| line.ends_with("--- FAILED") || line.contains("test result: FAILED");
    demand(!passed && text.lines().any(is_failure), || {
        format!("{}: the tests of {package} do not notice it:\n{text}", bug.id)
    })?;
    let name = |line: &'_ str| -> Option<String> {
        Some(line.trim().strip_prefix("---- ")?.strip_suffix(" stdout ----")?.into())
    };
    Ok(text.lines().filter_map(name).collect::<Vec<_>>().join(", "))
}

/// Returns the rules in a replay's output.
pub(crate) fn reported_rules(text: &str) -> Vec<String> {
    let signature =
        |line: &str| Some(line.trim().strip_prefix("signature: ")?.split('.').next()?.to_owned());
    let mut rules: Vec<String> = text.lines().filter_map(signature).collect();
    rules.sort();
    rules.dedup();
    rules
}
