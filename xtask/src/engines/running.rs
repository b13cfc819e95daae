//! A run whose processes have been started.

use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context, Error, Result, anyhow, bail, ensure};
use fs_err::File;
use its_reports::finding_file::Origin;
use its_reports::quoted;
use its_runner::campaign::HARNESS_DEFECT;
use its_runner::replay::USAGE;
use rustix::process::Signal;

use super::{Plan, Run};
use crate::{process, stop, subjects, workspace};

/// How often the room in a run's folder is looked at.
const LOOK: Duration = Duration::from_secs(1);
/// How often processes are looked at.
const SHORT: Duration = Duration::from_millis(200);
/// How long processes may take to end when they are asked to.
const PATIENCE: Duration = Duration::from_secs(15);
/// Lines of a log that an error shows.
const TAIL: usize = 40;

/// A run whose processes have been started. They are killed when this is dropped.
pub(super) struct Running<'a> {
    run: &'a Run,
    processes: Vec<duct::Handle>,
    stopped: Option<Instant>,
    /// Why it cannot go on.
    trouble: Option<Error>,
}

impl<'a> Running<'a> {
    /// Starts an engine on what the run's folder holds.
    pub(super) fn start(run: &'a Run, plan: &Plan) -> Result<Self> {
        run.note_start(plan)?;
        let mut running = Self { run, processes: Vec::new(), stopped: None, trouble: None };
        let origin = origin(run, plan);
        for (index, mut command) in run.engine.glue().commands(run, plan)?.into_iter().enumerate() {
            for (name, value) in &plan.program.environment {
                command = command.env(name, value);
            }
            if plan.ends_at_first {
                command = command.env("ITSDIFF_FIRST", "1");
            }
            let command = command
                .env("ITSDIFF_STATUS", run.status())
                .env("ITSDIFF_FINDINGS", run.findings())
                .env("ITSDIFF_ORIGIN", &origin)
                .stdin_null()
                .stderr_to_stdout()
                .stdout_file(File::create(run.log_file(index))?.into_file());
            let process = process::start(command)
                .with_context(|| format!("cannot start {}", plan.program.path.display()))?;
            running.processes.push(process);
        }
        Ok(running)
    }

    /// Waits until all processes have ended: by themselves, at a signal, because enough is found,
    /// or because the disk is full.
    pub(super) fn wait_until(&mut self, mut enough: impl FnMut(&Run) -> bool) -> Result<()> {
        let mut had_room = Instant::now();
        while !self.has_ended()? {
            sleep(SHORT);
            if had_room.elapsed() >= LOOK {
                had_room = Instant::now();
                self.trouble = self.trouble.take().or(self.run.demand_room().err());
            }
            if self.trouble.is_some() || enough(self.run) || stop::asked() {
                self.stop();
            }
        }
        Ok(())
    }

    fn has_ended(&self) -> Result<bool> {
        for process in &self.processes {
            if process.try_wait()?.is_none() {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Asks all processes to end; kills them when they were asked long ago.
    fn stop(&mut self) {
        let signal = match self.stopped {
            None => Signal::TERM,
            Some(asked) if asked.elapsed() < PATIENCE && !stop::asked_twice() => return,
            Some(_) => Signal::KILL,
        };
        self.stopped.get_or_insert_with(Instant::now);
        self.signal(signal);
    }

    fn signal(&self, signal: Signal) {
        self.processes.iter().for_each(|child| process::signal(child, signal));
    }

    /// Returns an error unless every process did what it was started for, or was stopped by us.
    pub(super) fn demand_good_end(&mut self) -> Result<()> {
        self.demand_room()?;
        if self.stopped.is_some() {
            return Ok(());
        }
        for (index, process) in self.processes.iter().enumerate() {
            match process.wait()?.status.code() {
                Some(0) => {}
                code => return Err(self.failure(index, code)),
            }
        }
        self.demand_no_crash()?;
        // A case whose boot breaks a rule is not counted.
        let is_played = self.run.counts().cases > 0 || !self.run.found()?.is_empty();
        ensure!(is_played, defect!("the target counted no case"));
        Ok(())
    }

    /// Returns the error of a full disk: what it made of a run is neither clean nor a defect.
    fn demand_room(&mut self) -> Result<()> {
        match self.trouble.take() {
            Some(error) => Err(error),
            None => self.run.demand_room(),
        }
    }

    /// Returns an error if the target was not instrumented, or the engine saved an input as a
    /// crash: engines go on after one, and end with code 0.
    fn demand_no_crash(&self) -> Result<()> {
        let is_instrumented = self.run.engine.glue().is_instrumented(self.run);
        let what = "the target is not instrumented, or did not start";
        ensure!(is_instrumented, self.defect(what, 0));
        self.run.collect()?;
        match workspace::entries(&self.run.crashes())?.first() {
            Some(crash) => {
                bail!(defect!("the target ended unexpectedly on {}", workspace::shown(crash)))
            }
            None => Ok(()),
        }
    }

    /// Returns the rule that was broken in a run that ends at the first finding, if one was.
    pub(super) fn first_rule(&mut self) -> Result<Option<String>> {
        let rule = self.demand_room().and_then(|()| self.rule());
        let ended = rule.as_ref().map(drop).map_err(|error| anyhow!("{error:#}"));
        self.run.note_end(&ended, None)?;
        rule
    }

    fn rule(&self) -> Result<Option<String>> {
        if let Some(first) = self.run.found()?.into_iter().next() {
            return Ok(Some(first.finding.rule.id.into()));
        }
        self.demand_no_crash()?;
        ensure!(self.run.counts().cases > 0, self.bad_end(0));
        Ok(None)
    }

    /// Returns the error of a process that ended with another code than 0, or by a signal.
    fn failure(&self, index: usize, code: Option<i32>) -> Error {
        let file = workspace::shown(&self.run.log_file(index));
        // A program prints the scenario and aborts.
        let is_defect = self.run.log(index).contains(HARNESS_DEFECT);
        match code {
            None if is_defect => self.defect("board and reference contradict each other", index),
            None => anyhow!("somebody killed a fuzzing process, or it ended itself; {file}"),
            // The engines have other codes for what they find.
            Some(code) if code == i32::from(USAGE) => {
                let log = self.run.log(index);
                let why = log.lines().rev().find_map(|line| line.strip_prefix("error: "));
                let why = why.unwrap_or("it does not say why");
                anyhow!("the target could not start: {why}; {file}")
            }
            Some(_) => self.bad_end(index),
        }
    }

    /// Returns the error of a process that did not end as planned.
    fn bad_end(&self, index: usize) -> Error {
        let log = self.run.log(index);
        if let Some(why) = log.lines().find(|line| line.starts_with("cannot write ")) {
            return anyhow!("{why}");
        }
        let what = if log.contains("ERROR: libFuzzer: timeout") {
            "a case did not end: EL2 may loop without a call, or the harness does"
        } else {
            "a fuzzing process ended unexpectedly"
        };
        self.defect(what, index)
    }

    /// Returns a defect, with the end of a process's log.
    fn defect(&self, what: &str, index: usize) -> Error {
        let log = self.run.log(index);
        let lines: Vec<&str> = log.lines().collect();
        let tail = lines[lines.len().saturating_sub(TAIL)..].join("\n");
        let file = workspace::shown(&self.run.log_file(index));
        defect!("{what}; {file}:\n{tail}")
    }
}

/// Returns how the files of its findings begin, up to the name of the file.
fn origin(run: &Run, plan: &Plan) -> String {
    let subject = &plan.program.subject;
    let folder = quoted(&workspace::shown(&run.findings()));
    let origin = Origin {
        subject,
        target: plan.target.name,
        engine: &run.engine.to_string(),
        seed: plan.seed,
        replay: &format!("{} {folder}/", subjects::replay_command(subject, plan.program.layers)),
    };
    origin.to_string()
}

impl Drop for Running<'_> {
    fn drop(&mut self) {
        self.signal(Signal::KILL);
    }
}
