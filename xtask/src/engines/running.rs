//! A run whose processes have been started.

use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use fs_err as fs;
use fs_err::File;
use its_runner::replay::USAGE;
use rustix::process::Signal;

use super::Plan;
use super::run::Run;
use crate::exit::Defect;
use crate::findings::header;
use crate::process;
use crate::stop;
use crate::workspace;

/// A run whose processes have been started.
pub(crate) struct Running<'a> {
    pub run: &'a Run,
    processes: Vec<duct::Handle>,
    stopped: Option<Instant>,
    /// When its folder was last seen to have room.
    had_room: Instant,
    /// Why it cannot go on.
    trouble: Option<anyhow::Error>,
}

/// How often its folder is looked at.
const LOOK: Duration = Duration::from_secs(1);

/// How often processes are looked at.
const SHORT: Duration = Duration::from_millis(200);

/// How long processes may take to end when they are asked to.
const PATIENCE: Duration = Duration::from_secs(15);

impl<'a> Running<'a> {
    /// Starts an engine on what the run's folder holds.
    pub(crate) fn start(run: &'a Run, plan: &Plan) -> Result<Self> {
        run.note_start(plan)?;
        let mut running = Self {
            run,
            processes: Vec::new(),
            stopped: None,
            had_room: Instant::now(),
            trouble: None,
        };
        let (subject, target) = (&plan.program.subject, plan.target.name);
        let engine = run.engine.name();
        let origin = header::origin(subject, target, engine, plan.seed, &run.findings());
        for (index, command) in run.engine.glue().commands(run, plan)?.into_iter().enumerate() {
            let mut command = command;
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

    /// Returns whether all processes have ended. Asks them to where a disk is full.
    pub(crate) fn has_ended(&mut self) -> Result<bool> {
        if self.had_room.elapsed() >= LOOK {
            self.had_room = Instant::now();
            if let Err(error) = self.run.demand_room() {
                self.trouble.get_or_insert(error);
                self.stop();
            }
        }
        for process in &self.processes {
            if process.try_wait()?.is_none() {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Waits until all processes have ended, by themselves, at a signal, or because enough is
    /// found.
    pub(crate) fn wait_until(&mut self, mut enough: impl FnMut(&Run) -> bool) -> Result<()> {
        while !self.has_ended()? {
            sleep(SHORT);
            if enough(self.run) || stop::asked() {
                self.stop();
            }
        }
        Ok(())
    }

    /// Asks all processes to end; ends them when they were asked long ago.
    pub(crate) fn stop(&mut self) {
        let signal = match self.stopped {
            None => Signal::TERM,
            Some(asked) if asked.elapsed() < PATIENCE && !stop::asked_twice() => return,
            Some(_) => Signal::KILL,
        };
        self.stopped.get_or_insert_with(Instant::now);
        self.signal(signal);
    }

    fn signal(&self, signal: Signal) {
        for child in &self.processes {
            process::signal(child, signal);
        }
    }

    /// Waits for the end; an error unless every process did what it was started for, or was stopped
    /// by us.
    pub(crate) fn demand_good_end(&mut self) -> Result<()> {
        let codes = self.codes()?;
        self.demand_room()?;
        if self.stopped.is_some() {
            return Ok(());
        }
        for (index, code) in codes.into_iter().enumerate() {
            match code {
                Some(0) => {}
                // The engines have other codes for what they find.
                Some(code) if code == i32::from(USAGE) => {
                    let log = self.run.log(index);
                    let why = log.lines().rev().find(|line| line.starts_with("error: "));
                    bail!(
                        "the target could not start: {}; {}",
                        why.unwrap_or("it does not say why").trim_start_matches("error: "),
                        workspace::shown(&self.run.log_file(index))
                    )
                }
                Some(_) => return Err(self.failure(index)),
                None => bail!(
                    "somebody killed a fuzzing process, or it ended itself; {}",
                    workspace::shown(&self.run.log_file(index))
                ),
            }
        }
        self.demand_instrumentation()?;
        if let Some(crash) = self.crash()? {
            let what = format!("the target ended unexpectedly on {crash}");
            return Err(Defect(what).into());
        }
        if self.run.counts().cases == 0 {
            return Err(Defect("the target counted no case".into()).into());
        }
        Ok(())
    }

    /// What a full disk made of a run is neither clean nor a defect of ours.
    fn demand_room(&mut self) -> Result<()> {
        match self.trouble.take() {
            Some(error) => Err(error),
            None => self.run.demand_room(),
        }
    }

    /// Waits for the end; the exit codes, `None` of a process that a signal ended.
    fn codes(&self) -> Result<Vec<Option<i32>>> {
        let code = |process: &duct::Handle| Ok(process.wait()?.status.code());
        self.processes.iter().map(code).collect()
    }

    /// An input that the engine saved as a crash: engines go on after one, and end with code 0.
    fn crash(&self) -> Result<Option<String>> {
        self.run.collect()?;
        let mut entries = fs::read_dir(self.run.crashes())?;
        let first = entries.next().transpose()?;
        Ok(first.map(|entry| workspace::shown(&entry.path())))
    }

    /// Waits for the end of a run that ends at the first finding: the rule that was broken, if one
    /// was.
    pub(crate) fn first_rule(&mut self) -> Result<Option<String>> {
        self.codes()?;
        let rule = self.demand_room().and_then(|()| self.rule());
        let ended = rule.as_ref().map(|_| ()).map_err(|error| anyhow::anyhow!("{error:#}"));
        self.run.note_end(&ended, None)?;
        rule
    }

    fn rule(&self) -> Result<Option<String>> {
        if let Some(first) = self.run.found()?.into_iter().next() {
            return Ok(Some(first.finding.rule.id.into()));
        }
        self.demand_instrumentation()?;
        match self.crash()? {
            Some(crash) => Err(Defect(format!("the target ended on {crash}")).into()),
            None if self.run.counts().cases == 0 => bail!(self.failure(0)),
            None => Ok(None),
        }
    }

    fn demand_instrumentation(&self) -> Result<()> {
        if self.run.engine.glue().is_instrumented(self.run) {
            return Ok(());
        }
        let log = self.run.log(0);
        let what = format!(
            "the target is not instrumented, or did not start; {}:\n{}",
            workspace::shown(&self.run.log_file(0)),
            tail(&log)
        );
        Err(Defect(what).into())
    }

    /// The error of a process that did not end as planned.
    fn failure(&self, index: usize) -> anyhow::Error {
        let log = self.run.log(index);
        if let Some(why) = log.lines().find(|line| line.starts_with("cannot write ")) {
            return anyhow::anyhow!("{why}");
        }
        let what = if log.contains("ERROR: libFuzzer: timeout") {
            "a case did not end: EL2 may loop without a call, or the harness does"
        } else {
            "a fuzzing process ended unexpectedly"
        };
        let file = workspace::shown(&self.run.log_file(index));
        Defect(format!("{what}; {file}:\n{}", tail(&log))).into()
    }
}

impl Drop for Running<'_> {
    /// Nothing goes on when its owner gave up.
    fn drop(&mut self) {
        self.signal(Signal::KILL);
    }
}

fn tail(log: &str) -> String {
    let lines: Vec<&str> = log.lines().collect();
    lines[lines.len().saturating_sub(40)..].join("\n")
}
