//! Exit codes: 0 clean, 1 findings, 2 usage or environment, 3 a defect of the harness itself.

use std::fmt;
use std::process::ExitCode;

use its_runner::replay::{CLEAN, DEFECT, FINDINGS, USAGE};

/// How a command ended that did its work.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Exit {
    Clean,
    Findings,
}

/// The harness itself is wrong. Any other error is one of usage or environment.
#[derive(Debug)]
pub(crate) struct Defect(pub String);

impl fmt::Display for Defect {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        write!(f, "a defect of the harness itself: {}", self.0)
    }
}

impl std::error::Error for Defect {}

/// A check found something broken: findings, told as an error.
#[derive(Debug)]
pub(crate) struct Broken(pub String);

impl fmt::Display for Broken {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Broken {}

/// The code of a result, after telling an error.
pub(crate) fn code(result: anyhow::Result<Exit>) -> ExitCode {
    let code = match result {
        Ok(Exit::Clean) => CLEAN,
        Ok(Exit::Findings) => FINDINGS,
        Err(error) => {
            eprintln!("error: {error:#}");
            match (error.is::<Defect>(), error.is::<Broken>()) {
                (true, _) => DEFECT,
                (_, true) => FINDINGS,
                _ => USAGE,
            }
        }
    };
    code.into()
}
