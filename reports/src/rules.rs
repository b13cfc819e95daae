//! The catalogue of rules, and what breaks each.

use std::collections::BTreeSet;

use its_rules::{Rule, catalogue::ALL};
use serde::Serialize;
use serde_json::{Value, json};

/// Returns the catalogue for people.
pub fn text() -> String {
    let row = |Rule { id, layer, severity, source, holds, why, .. }: &Rule| {
        format!("{id} ({}, {}; {source})\n  {holds}\n  {why}", layer.name(), severity.name())
    };
    ALL.iter().map(|rule| row(rule)).collect::<Vec<_>>().join("\n")
}

/// Returns the catalogue for scripts.
pub fn json() -> Value {
    let row = |Rule { id, layer, severity, source, holds, why, split_from, .. }: &Rule| {
        json!({
            "id": id,
            "layer": layer,
            "severity": severity,
            "holds": holds,
            "why": why,
            "source": source,
            "split_from": split_from,
        })
    };
    json!({ "rules": ALL.iter().map(|rule| row(rule)).collect::<Vec<_>>() })
}

/// Holds what one broken subject breaks.
#[derive(Serialize)]
pub struct Kills {
    /// `bug`, `break` or `sabotage`.
    pub kind: &'static str,
    pub subject: String,
    pub rules: Vec<String>,
    /// The package whose tests find it, where no target does.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tests: Option<String>,
}

/// Holds what every broken subject breaks.
#[derive(Serialize)]
pub struct Matrix {
    subjects: Vec<Kills>,
    /// Rules that nothing here breaks.
    without_a_kill: Vec<&'static str>,
}

impl Matrix {
    /// Returns the matrix of these subjects.
    pub fn new(subjects: Vec<Kills>) -> Self {
        let killed: BTreeSet<&str> =
            subjects.iter().flat_map(|kills| kills.rules.iter().map(String::as_str)).collect();
        let ids = ALL.iter().map(|rule| rule.id);
        Self { without_a_kill: ids.filter(|id| !killed.contains(id)).collect(), subjects }
    }

    /// Returns it for people: a line for each subject.
    pub fn text(&self) -> String {
        let mut text = String::new();
        for Kills { kind, subject, rules, tests } in &self.subjects {
            let by = match tests {
                Some(package) => format!("the tests of {package}"),
                None => rules.join(", "),
            };
            text += &format!("{kind} {subject} -> {by}\n");
        }
        text + &format!("without a kill: {}", self.without_a_kill.join(", "))
    }
}
