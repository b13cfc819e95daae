//! `rules`: the catalogue of rules, or the matrix of what breaks them.

mod matrix;

use anyhow::Result;
use its_rules::catalogue as rules;
use serde_json::json;

use crate::exit::Exit;
use crate::output;

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
    if arguments.matrix {
        return matrix::print(arguments.json);
    }
    let severity = |rule: &its_rules::Rule| rule.severity.name();
    if arguments.json {
        let row = |rule: &its_rules::Rule| {
            json!({
                "id": rule.id,
                "severity": severity(rule),
                "holds": rule.holds,
                "why": rule.why,
                "source": rule.source,
                "split_from": rule.split_from,
            })
        };
        let rows: Vec<_> = rules::ALL.iter().map(|rule| row(rule)).collect();
        say!("{}", output::pretty_json(json!({ "rules": rows }))?);
        return Ok(Exit::Clean);
    }
    for rule in rules::ALL {
        let (id, severity, source) = (rule.id, severity(rule), rule.source);
        say!("{id} ({severity}; {source})\n  {}\n  {}", rule.holds, rule.why);
    }
    Ok(Exit::Clean)
}
