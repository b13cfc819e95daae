//! `rules`: the catalogue of rules, or the matrix: which rules each broken subject breaks, and
//! which rules nothing breaks.
//!
//! Broken subjects are the known bugs and the breaks, each played with its witness, and the
//! sabotages of EL2 that the runner's test `kills` plays in its own process.

use anyhow::{Result, ensure};
use its_reports::pretty_json;
use its_reports::rules::{self, Kills, Matrix};

use crate::exit::Exit;
use crate::findings::broken_rules;
use crate::process;
use crate::subjects::{Bank, Bug, FoundBy, Subject};

#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// Prints one JSON object
    #[arg(long)]
    json: bool,
    /// Prints which rules each known bug and break breaks; plays every one of them
    #[arg(long)]
    matrix: bool,
}

pub(crate) fn run(arguments: &Arguments) -> Result<Exit> {
    let text = match (arguments.matrix, arguments.json) {
        (false, false) => rules::text(),
        (false, true) => pretty_json(rules::json())?,
        (true, false) => matrix()?.text(),
        (true, true) => pretty_json(matrix()?)?,
    };
    say!("{text}");
    Ok(Exit::Clean)
}

/// Builds and plays everything, with progress on standard error.
fn matrix() -> Result<Matrix> {
    let mut subjects = sabotages()?;
    subjects.extend(bank(Bank::Bugs, "bug")?);
    subjects.extend(bank(Bank::Breaks, "break")?);
    Ok(Matrix::new(subjects))
}

/// Returns what the lines `kill: SABOTAGE | RULE RULE` of the test say.
fn sabotages() -> Result<Vec<Kills>> {
    eprintln!("sabotages");
    let arguments = "test --quiet --locked --package its-runner --test kills \
                     every_rule_has_a_kill -- --nocapture";
    let ended = process::cargo(arguments.split(' '), |command| command.stdout_capture())?;
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
