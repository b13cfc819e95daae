//! `rules --matrix`: which rules each broken subject breaks, and which rules nothing breaks.
//!
//! Broken subjects are the known bugs and the breaks, each played with its witness, and the
//! sabotages of EL2 that the runner's test `kills` plays in its own process.

use std::collections::BTreeSet;

use anyhow::{Result, ensure};
use its_rules::catalogue as rules;
use serde::Serialize;

use crate::exit::Exit;
use crate::findings::broken_rules;
use crate::subjects::{Bank, Bug, FoundBy, Subject};
use crate::{output, process};

/// What one broken subject breaks.
#[derive(Serialize)]
struct Kills {
    /// `bug`, `break` or `sabotage`.
    kind: &'static str,
    subject: String,
    rules: Vec<String>,
    /// The package whose tests find it, where no target does.
    #[serde(skip_serializing_if = "Option::is_none")]
    tests: Option<String>,
}

#[derive(Serialize)]
struct Matrix {
    subjects: Vec<Kills>,
    /// Rules that nothing here breaks.
    without_a_kill: Vec<&'static str>,
}

/// Builds and plays everything, with progress on standard error.
pub(super) fn print(json: bool) -> Result<Exit> {
    let mut subjects = sabotages()?;
    subjects.extend(bank(Bank::Bugs, "bug")?);
    subjects.extend(bank(Bank::Breaks, "break")?);
    let killed: BTreeSet<&str> =
        subjects.iter().flat_map(|kills| kills.rules.iter().map(String::as_str)).collect();
    let ids = rules::ALL.iter().map(|rule| rule.id);
    let matrix =
        Matrix { without_a_kill: ids.filter(|id| !killed.contains(id)).collect(), subjects };
    if json {
        say!("{}", output::pretty_json(&matrix)?);
        return Ok(Exit::Clean);
    }
    for kills in &matrix.subjects {
        let by = match &kills.tests {
            Some(package) => format!("the tests of {package}"),
            None => kills.rules.join(", "),
        };
        say!("{} {} -> {by}", kills.kind, kills.subject);
    }
    say!("without a kill: {}", matrix.without_a_kill.join(", "));
    Ok(Exit::Clean)
}

/// Returns what the lines `kill: SABOTAGE | RULE RULE` of the test say.
fn sabotages() -> Result<Vec<Kills>> {
    eprintln!("sabotages");
    let arguments = "test --quiet --locked --package its-runner --test kills \
                     every_rule_has_a_kill -- --nocapture";
    let arguments: Vec<&str> = arguments.split_whitespace().collect();
    let ended = process::cargo(&arguments, |command| command.stdout_capture())?;
    ensure!(ended.status.success(), "the test kills failed");
    let found: Vec<Kills> = ended.stdout.lines().filter_map(sabotage).collect();
    ensure!(!found.is_empty(), "the test kills reported no kill");
    Ok(found)
}

fn sabotage(line: &str) -> Option<Kills> {
    let (subject, rules) = line.split_once("kill: ")?.1.split_once(" | ")?;
    Some(Kills {
        kind: "sabotage",
        subject: subject.into(),
        rules: rules.split_whitespace().map(String::from).collect(),
        tests: None,
    })
}

fn bank(bank: Bank, kind: &'static str) -> Result<Vec<Kills>> {
    let all = Bug::all(bank)?;
    let total = all.len();
    let mut found = Vec::with_capacity(total);
    for (bug, number) in all.into_iter().zip(1..) {
        let (rules, tests) = match &bug.facts.found_by {
            FoundBy::Target(_) => (played(&bug)?, None),
            FoundBy::Tests(package) => (Vec::new(), Some(package.clone())),
        };
        eprintln!("{kind} {number} of {total}: {} -> {rules:?}", bug.id);
        found.push(Kills { kind, subject: bug.id, rules, tests });
    }
    Ok(found)
}

/// Returns the rules that the witness breaks where the mistake was made.
fn played(bug: &Bug) -> Result<Vec<String>> {
    let played = Subject::with_bug(bug).brief_player()?.replay(&bug.witness, None)?;
    Ok(broken_rules(&played.findings).into_iter().map(String::from).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_of_the_test_is_a_kill() {
        let line = "test every_rule_has_a_kill ... kill: SkipWrite(88) | DIV-FORWARD EL2-HELD";
        let kills = sabotage(line).unwrap();
        assert_eq!(kills.subject, "SkipWrite(88)");
        assert_eq!(kills.rules, ["DIV-FORWARD", "EL2-HELD"]);
        assert!(sabotage("running 4 tests").is_none());
    }
}
