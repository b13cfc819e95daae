//! `rules`: the catalogue.

pub(crate) mod matrix;

use anyhow::Result;
use its_rules::catalogue as rules;
use its_runner::versioned::Versioned;
use serde::Serialize;

use crate::exit::Exit;

#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// Prints one JSON object
    #[arg(long)]
    json: bool,
    /// Prints which rules each known bug and break breaks; plays every one of them
    #[arg(long)]
    matrix: bool,
}

#[derive(Serialize)]
struct Row {
    id: &'static str,
    severity: &'static str,
    holds: &'static str,
    why: &'static str,
    source: &'static str,
    split_from: Option<&'static str>,
}

/// For scripts.
#[derive(Serialize)]
struct Catalogue {
    rules: Vec<Row>,
}

/// Prints the rules.
pub(crate) fn run(arguments: &Arguments) -> Result<Exit> {
    if arguments.matrix {
        return matrix::print(arguments.json);
    }
    let rows = rules::ALL.iter().map(|rule| Row {
        id: rule.id,
        severity: rule.severity.name(),
        holds: rule.holds,
        why: rule.why,
        source: rule.source,
        split_from: rule.split_from,
    });
    if arguments.json {
        let catalogue = Catalogue { rules: rows.collect() };
        say!("{}", serde_json::to_string_pretty(&Versioned::new(catalogue))?);
        return Ok(Exit::Clean);
    }
    for row in rows {
        say!("{} ({}; {})\n  {}\n  {}", row.id, row.severity, row.source, row.holds, row.why);
    }
    Ok(Exit::Clean)
}
