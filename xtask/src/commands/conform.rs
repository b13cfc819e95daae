//! `conform`: the subject's program plays the requirements, with the arguments of this command.

use std::ffi::OsString;

use anyhow::{Result, bail, ensure};
use its_conformance::conform::{self, ROOT};
use its_runner::replay::{CLEAN, DEFECT, FINDINGS};
use serde_json::Value;

use crate::exit::{Exit, Failure};
use crate::subjects::{Program, Subject, Which};
use crate::{process, workspace};

// Not `Arguments`: clap groups arguments by the name of their type.
#[derive(clap::Args)]
pub(crate) struct Conform {
    #[command(flatten)]
    own: conform::Arguments,
    #[command(flatten)]
    which: Which,
}

pub(crate) fn run(arguments: &Conform) -> Result<Exit> {
    let Conform { own, which } = arguments;
    own.requirements()?;
    own.known()?;
    ensure!(
        !own.documentation || (which.bug.is_none() && which.subject.is_none()),
        "--documentation plays nothing: it takes no --bug and no --subject"
    );
    pass_on(&which.subject()?)
}

/// Runs the subject's program with the arguments that this one was given, but for the subject.
pub(crate) fn pass_on(subject: &Subject) -> Result<Exit> {
    let program = subject.player()?;
    let given = std::env::args_os().skip(1);
    let command = program.command(without_subject(given)).env(ROOT, workspace::root());
    exit(process::run(&program.path, command)?.status.code())
}

/// Returns the requirements that fail in a column, of those that begin with `ids`, without QEMU;
/// all if there are no ids.
pub(crate) fn failing(subject: &Subject, column: &str, ids: &[String]) -> Result<Vec<String>> {
    let options = ["conform", "--no-qemu", "--json"];
    let arguments: Vec<&str> = options.into_iter().chain(ids.iter().map(String::as_str)).collect();
    let (matrix, _) = json(&subject.brief_player()?, &arguments)?;
    let failed = |row: &&Value| {
        let verdict = &row["cells"][column]["verdict"];
        verdict == "fail" || verdict == "broken"
    };
    let failed = matrix["requirements"].as_array().into_iter().flatten().filter(failed);
    Ok(failed.filter_map(|row| row["id"].as_str().map(String::from)).collect())
}

/// Plays the matrix, with QEMU's column where QEMU is installed, and returns how many requirements
/// it has; an error if one fails.
pub(crate) fn check() -> Result<String> {
    let program = Subject::production().player()?;
    let matrix = clean_json(&program, &["conform", "--json"])?;
    let rows = matrix["requirements"].as_array();
    Ok(format!("{} requirements", rows.map_or(0, Vec::len)))
}

/// Runs a command of the program that must report nothing and returns the JSON that it prints.
pub(crate) fn clean_json(program: &Program, arguments: &[&str]) -> Result<Value> {
    let (value, exit) = json(program, arguments)?;
    ensure!(exit == Exit::Clean, broken!("{} has findings:\n{value:#}", arguments[0]));
    Ok(value)
}

/// Runs a command of the program and returns the JSON that it prints.
fn json(program: &Program, arguments: &[&str]) -> Result<(Value, Exit)> {
    let command = program.command(arguments).dir(workspace::root()).env(ROOT, workspace::root());
    let ended = process::run(&program.path, command.stdout_capture())?;
    let exit = exit(ended.status.code())?;
    Ok((serde_json::from_str(&ended.stdout)?, exit))
}

fn without_subject(given: impl Iterator<Item = OsString>) -> Vec<OsString> {
    let mut kept = Vec::new();
    let mut given = given;
    while let Some(argument) = given.next() {
        match argument.to_str() {
            Some("--bug" | "--subject") => {
                given.next();
            }
            Some(text) if text.starts_with("--bug=") || text.starts_with("--subject=") => {}
            _ => kept.push(argument),
        }
    }
    kept
}

/// Returns what a code of the subject's program means.
fn exit(code: Option<i32>) -> Result<Exit> {
    match code.and_then(|code| u8::try_from(code).ok()) {
        Some(CLEAN) => Ok(Exit::Clean),
        Some(FINDINGS) => Ok(Exit::Findings),
        Some(DEFECT) | None => bail!(defect!("the program ended with a defect")),
        Some(_) => bail!(Failure::Said),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_subject_is_not_passed_on() {
        let given = ["conform", "--json", "--bug", "x", "ITS-CMD", "--subject=y"];
        let kept = without_subject(given.into_iter().map(OsString::from));
        assert_eq!(kept, ["conform", "--json", "ITS-CMD"]);
    }
}
