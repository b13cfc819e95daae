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

/// The harness itself is wrong. Any other error is one of usage or environment.
#[derive(Debug, thiserror::Error)]
#[error("a defect of the harness itself: {0}")]
pub(crate) struct Defect(pub String);

/// A check found something broken: findings, reported as an error.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(crate) struct Broken(pub String);

/// Another program printed what was wrong.
#[derive(Debug, thiserror::Error)]
#[error("the program said why, above")]
pub(crate) struct Said;

/// A signal asked us to stop.
#[derive(Debug, thiserror::Error)]
#[error("interrupted by a signal")]
pub(crate) struct Interrupted;

/// The budget is used up.
#[derive(Debug, thiserror::Error)]
#[error("the budget is used up")]
pub(crate) struct OutOfTime;

/// Returns the exit code of a result, after printing an error.
pub(crate) fn code(result: anyhow::Result<Exit>) -> ExitCode {
    let code = match result {
        Ok(Exit::Clean) => CLEAN,
        Ok(Exit::Findings) => FINDINGS,
        Err(error) => {
            if !error.is::<Said>() {
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
    if error.is::<Interrupted>() {
        return INTERRUPTED;
    }
    if error.is::<Defect>() {
        return DEFECT;
    }
    if error.is::<Broken>() {
        return FINDINGS;
    }
    USAGE
}

#[cfg(test)]
mod tests {
    use super::*;
    use anyhow::Context;

    #[test]
    fn context_does_not_change_the_code() {
        let wrapped = |error: anyhow::Error| {
            let result: anyhow::Result<()> = Err(error);
            code_of(&result.context("one").context("two").unwrap_err())
        };
        assert_eq!(wrapped(Interrupted.into()), INTERRUPTED);
        assert_eq!(wrapped(Defect("x".into()).into()), DEFECT);
        assert_eq!(wrapped(Broken("x".into()).into()), FINDINGS);
        assert_eq!(wrapped(anyhow::anyhow!("x")), USAGE);
    }
}
