//! `conform` and `compare`: built with the subject that is asked for, and given the same arguments.

use std::ffi::OsString;

use anyhow::{Result, ensure};
use its_conformance::{compare, conform};
use its_runner::replay::{CLEAN, DEFECT, FINDINGS};

use crate::commands::compare::subjects;
use crate::exit::{Broken, Defect, Exit, Said};
use crate::process;
use crate::subjects::program::Program;
use crate::subjects::{Subject, Which};
use crate::target;
use crate::workspace;

#[derive(clap::Args)]
pub(crate) struct Conform {
    #[command(flatten)]
    own: conform::Arguments,
    #[command(flatten)]
    which: Which,
}

#[derive(clap::Args)]
pub(crate) struct Compare {
    #[command(flatten)]
    own: compare::Arguments,
    /// Puts this known bug or break into the model
    #[arg(long, value_name = "ID")]
    bug: Option<String>,
    /// Draws scenarios of this target for two subjects; the default is its_cmdq
    #[arg(long, requires = "fuzz", value_parser = target::names())]
    target: Option<String>,
}

impl Conform {
    pub(crate) fn run(&self) -> Result<Exit> {
        self.own.requirements()?;
        ensure!(
            !self.own.documentation || (self.which.bug.is_none() && self.which.subject.is_none()),
            "--documentation plays nothing: it takes no --bug and no --subject"
        );
        ended(run(&self.which.subject()?.player()?)?)
    }
}

impl Compare {
    /// Optimized: many cases are played.
    pub(crate) fn run(&self) -> Result<Exit> {
        if !self.own.names_no_subject() {
            ensure!(
                self.bug.is_none() && self.own.jobs.is_none() && !self.own.careful,
                "--bug, --jobs and --careful are for `compare model qemu`; a known bug is a subject by its id"
            );
            return subjects::run(&self.own, self.target.as_deref());
        }
        ensure!(
            self.target.is_none(),
            "--target is for two subjects; QEMU plays what its_arch draws"
        );
        self.own.demand_qemu()?;
        let subject = Subject::new(self.bug.as_deref())?;
        ended(run(&subject.player()?)?)
    }
}

/// The requirements that fail in a column, of those that begin with `ids`, without QEMU; all if
/// there are no ids.
pub(crate) fn failing(subject: &Subject, column: &str, ids: &[String]) -> Result<Vec<String>> {
    let program = subject.brief_player()?;
    let mut arguments = vec!["conform".into(), "--no-qemu".into(), "--json".into()];
    arguments.extend(ids.iter().cloned());
    let command = program.command(arguments).env(conform::ROOT, workspace::root());
    let output = process::ended(&program.path, command.stdout_capture())?;
    let text = String::from_utf8_lossy(&output.stdout);
    let matrix: serde_json::Value = serde_json::from_str(&text)?;
    let rows = matrix["requirements"].as_array().cloned();
    let failed = |row: &serde_json::Value| {
        let verdict = &row["cells"][column]["verdict"];
        let failed = verdict == "fail" || verdict == "broken";
        failed.then(|| row["id"].as_str().map(str::to_owned))?
    };
    Ok(rows.unwrap_or_default().iter().filter_map(failed).collect())
}

/// Plays the matrix, with QEMU's column where QEMU is installed, and returns how many requirements
/// it has.
///
/// # Errors
/// One fails.
pub(crate) fn check() -> Result<String> {
    let program = Subject::production().player()?;
    let matrix = clean_json(&program, &["conform", "--json"])?;
    let rows = matrix["requirements"].as_array();
    Ok(format!("{} requirements", rows.map_or(0, Vec::len)))
}

/// Compares with QEMU for a short while, where QEMU is installed, and returns how many cases.
///
/// # Errors
/// There is a difference.
pub(crate) fn smoke() -> Result<String> {
    if let Err(missing) = its_conformance::qemu_is_installed() {
        return Ok(format!("nothing: {missing}"));
    }
    let program = Subject::production().player()?;
    let compare = ["compare", "model", "qemu", "--fuzz", "--time", "300", "--json", "--runs"];
    let mut cases = 0;
    for more in [&["5000"][..], &["500", "--careful"]] {
        let summary = clean_json(&program, &[&compare[..], more].concat())?;
        cases += summary["cases"].as_u64().unwrap_or_default();
    }
    Ok(format!("{cases} cases"))
}

/// Runs a command of the program that must report nothing and returns the JSON that it prints.
fn clean_json(program: &Program, arguments: &[&str]) -> Result<serde_json::Value> {
    let command = program.command(arguments.iter().copied()).dir(workspace::root());
    let command = command.env(conform::ROOT, workspace::root()).stdout_capture();
    let output = process::ended(&program.path, command)?;
    let text = String::from_utf8_lossy(&output.stdout);
    if let Exit::Findings = ended(output.status.code())? {
        eprintln!("{text}");
        return Err(Broken(format!("{} has findings", arguments[0])).into());
    }
    Ok(serde_json::from_str(&text)?)
}

/// The program with the arguments that this one was given, but for the subject.
fn run(program: &Program) -> Result<Option<i32>> {
    let given = std::env::args_os().skip(1);
    let command = program.command(without_subject(given)).env(conform::ROOT, workspace::root());
    let status = process::ended(&program.path, command)?.status;
    Ok(status.code())
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

fn ended(code: Option<i32>) -> Result<Exit> {
    match code.and_then(|code| u8::try_from(code).ok()) {
        Some(CLEAN) => Ok(Exit::Clean),
        Some(FINDINGS) => Ok(Exit::Findings),
        Some(DEFECT) | None => Err(Defect("the program ended with a defect".into()).into()),
        Some(_) => Err(Said.into()),
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
