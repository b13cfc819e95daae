//! Child processes. Each is in a group of its own and ends when this process must stop, whoever
//! sent the signal and whatever the child was doing. What waits for a child returns an error when
//! it cannot be started and, after it was ended, when this process must stop.

use std::ffi::{OsStr, OsString};
use std::io::ErrorKind;
use std::os::unix::process::CommandExt;
use std::process::ExitStatus;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, ensure};
use duct::{Expression, Handle};
use rustix::process::{Pid, Signal, kill_process_group};

use crate::{stop, workspace};

/// How often a child is looked at.
pub(crate) const LOOK: Duration = Duration::from_millis(50);
/// How long a child may take to end when it is asked to.
const PATIENCE: Duration = Duration::from_secs(5);

/// How a child ended, and what it printed where that was captured.
pub(crate) struct Ended {
    pub status: ExitStatus,
    pub stdout: String,
    pub stderr: String,
}

impl Ended {
    /// Returns what `name` printed to standard output; an error unless it ended with code 0.
    pub(crate) fn text(self, name: impl AsRef<OsStr>) -> Result<String> {
        let (name, why) = (name.as_ref().display(), self.stderr.trim());
        let separator = if why.is_empty() { "" } else { ": " };
        ensure!(self.status.success(), "{name} ended with {}{separator}{why}", self.status);
        Ok(self.stdout)
    }
}

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

/// Runs a command to its end, however that is.
pub(crate) fn run(name: impl AsRef<OsStr>, command: Expression) -> Result<Ended> {
    let ended = run_within(name, command, Duration::MAX)?;
    ended.context("a command without a limit ended by it")
}

/// Runs a command to its end and returns what it printed to standard output; an error unless it
/// ended with code 0.
pub(crate) fn text(name: impl AsRef<OsStr>, command: Expression) -> Result<String> {
    run(&name, command.stdout_capture())?.text(name)
}

/// Runs a command as [`run`] does, but ends it after a while: then there is no result.
pub(crate) fn run_within(
    name: impl AsRef<OsStr>,
    command: Expression,
    limit: Duration,
) -> Result<Option<Ended>> {
    let name = name.as_ref().display();
    let child = start(command).map_err(|error| match error.kind() {
        ErrorKind::NotFound => anyhow!("{name} is not installed"),
        _ => anyhow::Error::new(error).context(format!("cannot start {name}")),
    })?;
    let start = Instant::now();
    while child.wait_timeout(LOOK)?.is_none() {
        let why = stop::check();
        if why.is_err() || start.elapsed() >= limit {
            end(&child)?;
            return why.map(|()| None);
        }
    }
    let output = child.into_output().with_context(|| format!("cannot read what {name} printed"))?;
    let [stdout, stderr] =
        [output.stdout, output.stderr].map(|text| String::from_utf8_lossy(&text).into_owned());
    Ok(Some(Ended { status: output.status, stdout, stderr }))
}

/// Runs cargo in the workspace to its end, however that is.
pub(crate) fn cargo<A: Into<OsString>>(
    arguments: impl IntoIterator<Item = A>,
    change: impl FnOnce(Expression) -> Expression,
) -> Result<Ended> {
    let command = duct::cmd(workspace::cargo(), arguments).dir(workspace::root());
    run(workspace::cargo(), change(command))
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
    pub install: &'static str,
}

impl Tool {
    /// Runs it with these arguments and returns what it printed to standard output.
    ///
    /// # Errors
    /// It is not installed, or it did not end with code 0: then with what it printed.
    pub(crate) fn run<A: Into<OsString>>(
        &self,
        arguments: impl IntoIterator<Item = A>,
    ) -> Result<String> {
        let command = duct::cmd(self.program, arguments).stdout_capture().stderr_capture();
        let ended = run(self.program, command)
            .with_context(|| format!("{} is needed; {}", self.program, self.install))?;
        ended.text(self.program)
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
