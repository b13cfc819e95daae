//! `conform` and `compare`: built with the subject that is asked for, and given the same arguments.

use std::ffi::OsString;
use std::path::Path;

use anyhow::{Result, bail};
use its_conformance::{compare, conform};
use its_runner::replay::{CLEAN, DEFECT, FINDINGS};

use crate::exit::{Defect, Exit};
use crate::subject::Subject;
use crate::workspace;

#[derive(clap::Args)]
pub(crate) struct Conform {
    #[command(flatten)]
    #[allow(dead_code, reason = "checked here, used by the program")]
    own: conform::Arguments,
    /// With this known bug or break put in
    #[arg(long, value_name = "ID")]
    bug: Option<String>,
}

#[derive(clap::Args)]
pub(crate) struct Compare {
    #[command(flatten)]
    #[allow(dead_code, reason = "checked here, used by the program")]
    own: compare::Arguments,
    /// With this known bug or break put in
    #[arg(long, value_name = "ID")]
    bug: Option<String>,
}

impl Conform {
    pub(crate) fn run(&self) -> Result<Exit> {
        let subject = Subject::new(self.bug.as_deref())?;
        ended(run(&subject.build_conformance(false)?)?)
    }
}

impl Compare {
    /// Optimized: many cases are played.
    pub(crate) fn run(&self) -> Result<Exit> {
        let subject = Subject::new(self.bug.as_deref())?;
        ended(run(&subject.build_conformance(true)?)?)
    }
}

/// The program with the arguments that this one was given, but for the subject.
fn run(program: &Path) -> Result<Option<i32>> {
    let given = std::env::args_os().skip(1);
    let status = duct::cmd(program, without_bug(given))
        .env(conform::ROOT, workspace::root())
        .unchecked()
        .run()?
        .status;
    Ok(status.code())
}

fn without_bug(given: impl Iterator<Item = OsString>) -> Vec<OsString> {
    let mut kept = Vec::new();
    let mut given = given;
    while let Some(argument) = given.next() {
        match argument.to_str() {
            Some("--bug") => {
                given.next();
            }
            Some(text) if text.starts_with("--bug=") => {}
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
        Some(_) => bail!("it could not be done"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_subject_is_not_passed_on() {
        let given = ["conform", "--json", "--bug", "x", "ITS-CMD", "--bug=y"];
        let kept = without_bug(given.into_iter().map(OsString::from));
        assert_eq!(kept, ["conform", "--json", "ITS-CMD"]);
    }
}
