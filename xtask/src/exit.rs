//! Exit codes: 0 clean, 1 findings, 2 usage or environment, 3 a defect of the harness itself, 4
//! interrupted by a signal.

use std::process::ExitCode;

use its_runner::replay::{CLEAN, DEFECT, FINDINGS, USAGE};

/// The exit code of a command that a signal ended.
pub(crate) const INTERRUPTED: u8 = 4;

/// How a command ended that did its work.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Exit {
    Clean,
    Findings,
}

impl Exit {
    /// Returns how a command ended that found something or did not.
    pub(crate) fn found(something: bool) -> Self {
        if something { Self::Findings } else { Self::Clean }
    }
}

/// Why a command ended early, where that decides its exit code. Any other error is one of usage or
/// environment.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Failure {
    #[error("a defect of the harness itself: {0}")]
    Defect(String),
    /// A check found something broken.
    #[error("{0}")]
    Broken(String),
    /// Another program printed what was wrong.
    #[error("the program said why, above")]
    Said,
    #[error("interrupted by a signal")]
    Interrupted,
    #[error("the budget is used up")]
    OutOfTime,
}

/// Makes an error of a defect of the harness itself: `defect!("{file} is wrong")`.
macro_rules! defect {
    ($($what:tt)*) => { anyhow::Error::from($crate::exit::Failure::Defect(format!($($what)*))) };
}

/// Makes an error of a check that found something broken: `broken!("{file} is not clean")`.
macro_rules! broken {
    ($($what:tt)*) => { anyhow::Error::from($crate::exit::Failure::Broken(format!($($what)*))) };
}

/// Returns the exit code of a result, after printing an error.
pub(crate) fn code(result: anyhow::Result<Exit>) -> ExitCode {
    let code = match result {
        Ok(Exit::Clean) => CLEAN,
        Ok(Exit::Findings) => FINDINGS,
        Err(error) => {
            if !matches!(error.downcast_ref(), Some(Failure::Said)) {
                eprintln!("error: {error:#}");
            }
            code_of(&error)
        }
    };
    // What was not printed may be what matters.
    if let Some(error) = crate::output::failure() {
        eprintln!("error: cannot write to standard output: {error}");
        return USAGE.into();
    }
    code.into()
}

fn code_of(error: &anyhow::Error) -> u8 {
    match error.downcast_ref() {
        Some(Failure::Interrupted) => INTERRUPTED,
        Some(Failure::Defect(_)) => DEFECT,
        Some(Failure::Broken(_)) => FINDINGS,
        Some(Failure::Said | Failure::OutOfTime) | None => USAGE,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use anyhow::{Context, ensure};

    #[test]
    fn context_does_not_change_the_code() {
        let wrapped = |error: anyhow::Error| {
            let result: anyhow::Result<()> = Err(error);
            code_of(&result.context("one").context("two").unwrap_err())
        };
        assert_eq!(wrapped(Failure::Interrupted.into()), INTERRUPTED);
        assert_eq!(wrapped(defect!("x")), DEFECT);
        let checked = |holds: bool| -> anyhow::Result<()> {
            ensure!(holds, broken!("x"));
            Ok(())
        };
        assert_eq!(wrapped(checked(false).unwrap_err()), FINDINGS);
        assert_eq!(wrapped(anyhow::anyhow!("x")), USAGE);
    }
}
