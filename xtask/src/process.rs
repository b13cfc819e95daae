//! Child processes. Each is in a group of its own and ends when this process must stop, whoever
//! sent the signal and whatever the child was doing.

use std::ffi::{OsStr, OsString};
use std::io::ErrorKind;
use std::os::unix::process::CommandExt;
use std::process::Output;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use duct::{Expression, Handle};
use rustix::process::{Pid, Signal, kill_process_group};

use crate::stop;
use crate::workspace;

/// How often a child is looked at.
const LOOK: Duration = Duration::from_millis(50);
/// How long a child may take to end when it is asked to.
const PATIENCE: Duration = Duration::from_secs(5);

/// Starts a child in a group of its own, so that a signal reaches what it starts too, and only when
/// we send it.
pub(crate) fn start(command: Expression) -> std::io::Result<Handle> {
    let own_group = |command: &mut std::process::Command| {
        command.process_group(0);
        Ok(())
    };
    command.unchecked().before_spawn(own_group).start()
}

/// Sends a signal to a child and what it started, unless it ended.
pub(crate) fn signal(child: &Handle, signal: Signal) {
    if let Ok(None) = child.try_wait() {
        for pid in child.pids().into_iter().filter_map(|pid| Pid::from_raw(pid as i32)) {
            let _ = kill_process_group(pid, signal);
        }
    }
}

/// Runs a command to its end and returns what it printed where that is captured, and how it ended.
///
/// # Errors
/// It cannot be started, or this process must stop: then the child was ended.
pub(crate) fn ended(program: impl Into<OsString>, command: Expression) -> Result<Output> {
    let output = ended_within(program, command, Duration::MAX)?;
    output.context("a command without a limit ended by it")
}

/// Runs a command to its end and returns what it printed to standard output.
///
/// # Errors
/// It cannot be started, it ended with an error, or this process must stop.
pub(crate) fn text(program: impl Into<OsString>, command: Expression) -> Result<String> {
    let program = program.into();
    let output = ended(&program, command.stdout_capture())?;
    if !output.status.success() {
        bail!("{} ended with {}", program.display(), output.status);
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// Runs a command as [`ended`] does, but ends it after a while: then there is no output.
///
/// # Errors
/// It cannot be started, or this process must stop: then the child was ended.
pub(crate) fn ended_within(
    program: impl Into<OsString>,
    command: Expression,
    limit: Duration,
) -> Result<Option<Output>> {
    let program = program.into();
    let child = start(command).map_err(|error| not_started(&program, error))?;
    let start = Instant::now();
    while child.wait_timeout(LOOK)?.is_none() {
        let why = stop::check();
        if why.is_err() || start.elapsed() >= limit {
            end(&child)?;
            return why.map(|()| None);
        }
    }
    let name = || format!("cannot read what {} printed", program.display());
    child.into_output().map(Some).with_context(name)
}

/// Runs cargo in the workspace to its end.
///
/// # Errors
/// There is no cargo, or this process must stop.
pub(crate) fn cargo(
    arguments: &[&str],
    change: impl FnOnce(Expression) -> Expression,
) -> Result<Output> {
    let command = duct::cmd(workspace::cargo(), arguments).dir(workspace::root());
    ended(workspace::cargo(), change(command))
}

fn not_started(program: &OsStr, error: std::io::Error) -> anyhow::Error {
    if error.kind() == ErrorKind::NotFound {
        return anyhow::anyhow!("{} is not installed", program.display());
    }
    anyhow::Error::new(error).context(format!("cannot start {}", program.display()))
}

/// Ends a child: asks it, and kills it if it goes on.
fn end(child: &Handle) -> Result<()> {
    signal(child, Signal::TERM);
    let asked = Instant::now();
    while child.wait_timeout(LOOK)?.is_none() {
        if asked.elapsed() >= PATIENCE || stop::asked_twice() {
            signal(child, Signal::KILL);
        }
    }
    Ok(())
}

/// A tool that is not ours.
pub(crate) struct Tool {
    pub program: &'static str,
    /// How to install it.
    pub install: &'static str,
}

impl Tool {
    /// Runs it with these arguments and returns what it printed to standard output.
    ///
    /// # Errors
    /// It is not installed, or it ended with an error: then with what it printed.
    pub(crate) fn run<A: Into<OsString>>(
        &self,
        arguments: impl IntoIterator<Item = A>,
    ) -> Result<String> {
        let command = duct::cmd(self.program, arguments).stdout_capture().stderr_capture();
        let output = ended(self.program, command)
            .with_context(|| format!("{} is needed; {}", self.program, self.install))?;
        if !output.status.success() {
            bail!(
                "{} ended with {}: {}",
                self.program,
                output.status,
                String::from_utf8_lossy(&output.stderr).trim()
            );
        }
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HERE: Tool = Tool { program: "sh", install: "it is everywhere" };

    #[test]
    fn a_tool_that_ran_is_not_called_missing() {
        let error = HERE.run(["-c", "echo no such section >&2; exit 3"]).unwrap_err().to_string();
        assert!(error.contains("no such section") && error.contains("exit status: 3"), "{error}");
        let nowhere = Tool { program: "itsdiff-nowhere", install: "do this" };
        let error = format!("{:#}", nowhere.run(["x"]).unwrap_err());
        assert!(error.contains("do this") && error.contains("not installed"), "{error}");
    }

    #[test]
    fn what_a_tool_prints_is_returned() {
        assert_eq!(HERE.run(["-c", "echo one; echo two >&2"]).unwrap(), "one\n");
    }
}
