//! `list` and `rules`: what there is.

use anyhow::Result;
use its_oracles::rules;
use serde::Serialize;

use crate::exit::Exit;
use crate::target::Target;
use crate::{matrix, target};

#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// As a JSON list
    #[arg(long)]
    json: bool,
    /// Which rules each broken subject breaks; builds every one of them, which takes long
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

/// For scripts: the targets, and the version of the binary form, by which grown corpora are kept apart.
#[derive(Serialize)]
struct Targets {
    format: u8,
    targets: &'static [Target],
}

/// Prints the targets.
pub(crate) fn targets(json: bool) -> Result<Exit> {
    if json {
        let targets = Targets { format: its_scenario::BINARY_VERSION, targets: &target::ALL };
        say!("{}", serde_json::to_string(&targets)?);
        return Ok(Exit::Clean);
    }
    for target in &target::ALL {
        say!("{}\n  feeds: {}\n  asks:  {}", target.name, target.feeds, target.asks);
    }
    Ok(Exit::Clean)
}

/// Prints the rules.
pub(crate) fn rules(arguments: &Arguments) -> Result<Exit> {
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
        say!("{}", serde_json::to_string_pretty(&rows.collect::<Vec<_>>())?);
        return Ok(Exit::Clean);
    }
    for row in rows {
        say!("{} ({}; {})\n  {}\n  {}", row.id, row.severity, row.source, row.holds, row.why);
    }
    Ok(Exit::Clean)
}
