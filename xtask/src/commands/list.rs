//! `list`: what the other commands can be given.

use anyhow::Result;
use clap::ValueEnum;
use serde_json::{Value, json};

use crate::engines::Engine;
use crate::exit::Exit;
use crate::output;
use crate::subjects::{Bank, Bug, External};
use crate::target::{self, Target};

#[derive(clap::Args)]
#[command(after_help = "Example:\n  cargo xtask list engines")]
pub(crate) struct Arguments {
    /// Prints only this
    #[arg(value_enum)]
    what: Option<What>,
    /// Prints one JSON object, with the version of the binary form of scenarios
    #[arg(long, conflicts_with = "what")]
    json: bool,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum What {
    /// What `fuzz` and `nightly` can be given
    Targets,
    /// Who makes the inputs, and whether it is installed
    Engines,
    /// What `--subject` can be given, besides a file of your own
    Subjects,
    /// Mistakes of the emulator, for `--bug`
    Bugs,
    /// Mistakes of the harness, for `--bug`
    Breaks,
}

pub(crate) fn run(arguments: &Arguments) -> Result<Exit> {
    if arguments.json {
        let engine = |(engine, missing)| json!({ "engine": engine, "missing": missing });
        output::print_json(json!({
            // Keeps grown corpora of different forms apart.
            "binary_format": its_scenario::BINARY_VERSION,
            "targets": target::ALL,
            "engines": engines().map(engine).collect::<Vec<_>>(),
            "subjects": External::known()?,
            "bugs": mistakes(Bank::Bugs)?,
            "breaks": mistakes(Bank::Breaks)?,
        }))?;
        return Ok(Exit::Clean);
    }
    let wanted = |what: &&What| arguments.what.is_none_or(|only| only == **what);
    What::value_variants().iter().filter(wanted).try_for_each(|what| print(*what))?;
    Ok(Exit::Clean)
}

fn print(what: What) -> Result<()> {
    match what {
        What::Targets => {
            say!("targets");
            for Target { name, feeds, asks } in &target::ALL {
                say!("  {name}\n    feeds: {feeds}\n    asks:  {asks}");
            }
        }
        What::Engines => {
            say!("engines");
            for (engine, missing) in engines() {
                let state =
                    missing.map_or("installed".into(), |why| format!("not installed: {why}"));
                say!("  {engine}: {state}");
            }
        }
        What::Subjects => {
            say!("subjects");
            External::known()?.iter().for_each(|subject| say!("  {subject}"));
        }
        What::Bugs => print_mistakes("known bugs", Bank::Bugs)?,
        What::Breaks => print_mistakes("breaks", Bank::Breaks)?,
    }
    Ok(())
}

fn print_mistakes(title: &str, bank: Bank) -> Result<()> {
    let all = Bug::all(bank)?;
    say!("{title} ({})", all.len());
    for Bug { id, facts, .. } in all {
        say!("  {id} ({}): {}", facts.severity, facts.title);
    }
    Ok(())
}

/// Returns all engines, each with how to get what is missing.
fn engines() -> impl Iterator<Item = (Engine, Option<String>)> {
    let missing = |engine: Engine| engine.demand_tools().err().map(|error| format!("{error:#}"));
    Engine::ALL.into_iter().map(move |engine| (engine, missing(engine)))
}

fn mistakes(bank: Bank) -> Result<Vec<Value>> {
    let mistake = |Bug { id, facts, .. }: Bug| {
        let (title, severity) = (facts.title, facts.severity);
        json!({ "id": id, "title": title, "severity": severity })
    };
    Ok(Bug::all(bank)?.into_iter().map(mistake).collect())
}
