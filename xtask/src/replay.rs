//! `replay`: play files, tell what happened.

use std::path::PathBuf;

use anyhow::Result;
use its_runner::replay::{CLEAN, FINDINGS, USAGE, load};

use crate::exit::{Defect, Exit};
use crate::subject::Subject;
use crate::target;

#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// Scenarios as text, or artifacts of an engine
    #[arg(required = true)]
    files: Vec<PathBuf>,
    /// Play on the emulator with this known bug put back
    #[arg(long, value_name = "ID")]
    bug: Option<String>,
}

/// Plays every file.
pub(crate) fn run(arguments: &Arguments) -> Result<Exit> {
    for file in &arguments.files {
        load(file)?;
    }
    let subject = Subject::new(arguments.bug.as_deref())?;
    let program = subject.build_replayer(target::ALL[0].name)?;
    let status = duct::cmd(program, &arguments.files)
        .unchecked()
        .run()?
        .status;
    let code = status.code().and_then(|code| u8::try_from(code).ok());
    match code {
        Some(CLEAN) => Ok(Exit::Clean),
        Some(FINDINGS) => Ok(Exit::Findings),
        Some(USAGE) => anyhow::bail!("a file could not be played"),
        _ => Err(Defect(format!("the replay ended with {status}")).into()),
    }
}
