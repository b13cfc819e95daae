//! Programs that were built: what plays scenarios, and how it is asked.

use std::ffi::OsString;
use std::fmt::Display;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use its_reports::replay::Replayed;
use its_reports::summary::DeclarationSummary;
use its_reports::triage::{Judged, Outcome};
use its_rules::Layers;
use its_runner::minimize::Progress;
use its_runner::program::{Answer, Minimized, Request};
use its_runner::replay::USAGE;

use super::DeclarationFile;
use crate::process::LOOK;
use crate::target::Target;
use crate::{process, stop};

/// How long a program may play: for any number of files, and more for each.
const ENOUGH: Duration = Duration::from_secs(30);
const EACH: Duration = Duration::from_millis(200);

/// A replayer or fuzzer.
pub(crate) struct Program {
    pub path: PathBuf,
    /// Name of the subject that it holds.
    pub subject: String,
    /// What that is judged by.
    pub layers: Layers,
    /// What that declares.
    pub declaration: Option<DeclarationFile>,
    /// What says which target and which mistake it plays.
    pub environment: Vec<(&'static str, String)>,
}

impl Program {
    /// Returns one whose subject declares nothing, judged by all layers.
    pub(crate) fn new(
        path: PathBuf,
        subject: String,
        environment: Vec<(&'static str, String)>,
    ) -> Self {
        Self { path, subject, layers: Layers::ALL, declaration: None, environment }
    }

    /// Returns the same, judged by these layers.
    pub(crate) fn judged_by(&self, layers: Layers) -> Self {
        let mut environment = self.environment.clone();
        environment.retain(|(name, _)| *name != its_runner::LAYERS);
        environment.push((its_runner::LAYERS, layers.to_string()));
        let (path, subject) = (self.path.clone(), self.subject.clone());
        Self { path, subject, layers, declaration: self.declaration.clone(), environment }
    }

    /// Returns the same with a variable of its environment.
    pub(crate) fn with(&self, name: &'static str, value: &str) -> Self {
        let mut same = self.judged_by(self.layers);
        same.environment.retain(|(other, _)| *other != name);
        same.environment.push((name, value.into()));
        same
    }

    /// Returns the same where the subject declares this.
    pub(crate) fn declaring(&self, file: &DeclarationFile) -> Self {
        let same = self.with(its_runner::DECLARATION, &file.path.display().to_string());
        Self { declaration: Some(file.clone()), ..same }
    }

    /// Returns what a summary says of what the subject declares.
    pub(crate) fn declared(&self) -> DeclarationSummary {
        self.declaration.as_ref().map(DeclarationFile::summary).unwrap_or_default()
    }

    pub(crate) fn command<A: Into<OsString>>(
        &self,
        arguments: impl IntoIterator<Item = A>,
    ) -> duct::Expression {
        let command = duct::cmd(&self.path, arguments);
        self.environment.iter().fold(command, |command, (name, value)| command.env(name, value))
    }

    /// Replays files, prints what happens in those that are not clean, and returns the exit code.
    pub(crate) fn replay_all(&self, files: &[PathBuf]) -> Result<i32> {
        let arguments =
            std::iter::once(Path::new("--quiet")).chain(files.iter().map(|file| &**file));
        let ended = process::run(&self.path, self.command(arguments))?;
        Ok(ended.status.code().unwrap_or(-1))
    }

    /// Plays a file and returns what happened; the target is that of an engine's file.
    pub(crate) fn replay(&self, file: &Path, target: Option<&Target>) -> Result<Replayed> {
        let target = target.map(|target| target.name.into());
        let request = Request::Replay { file: file.into(), target };
        match self.ask(&request, |_| {})? {
            Answer::Replayed(replayed) => Ok(replayed),
            Answer::Refused(why) => bail!(why),
            other => Err(unexpected(&other)),
        }
    }

    /// Returns the shortest scenario that shows the same as a file: this signature, or its first.
    pub(crate) fn minimize(
        &self,
        file: &Path,
        target: &Target,
        signature: Option<&str>,
        budget: u64,
        progress: impl FnMut(Progress),
    ) -> Result<Minimized> {
        let request = Request::Minimize {
            file: file.into(),
            target: Some(target.name.into()),
            signature: signature.map(String::from),
            budget,
        };
        match self.ask(&request, progress)? {
            Answer::Minimized(minimized) => Ok(minimized),
            Answer::Refused(why) => bail!("there is nothing to minimize: {why}"),
            other => Err(unexpected(&other)),
        }
    }

    fn ask(&self, request: &Request, mut progress: impl FnMut(Progress)) -> Result<Answer> {
        let mut session = self.session()?;
        session.send(request)?;
        loop {
            match session.next()? {
                Answer::Progress(now) => progress(now),
                Answer::Defect(why) => bail!(defect!("{why}")),
                answer => return Ok(answer),
            }
        }
    }

    /// Starts it, to be asked many things.
    pub(crate) fn session(&self) -> Result<Session> {
        let mut command = Command::new(&self.path);
        command.arg("--requests").envs(self.environment.iter().map(|(name, value)| (name, value)));
        let piped = command.stdin(Stdio::piped()).stdout(Stdio::piped()).process_group(0);
        let mut child =
            piped.spawn().with_context(|| format!("cannot start {}", self.path.display()))?;
        let (questions, answers) = (child.stdin.take(), child.stdout.take());
        let answers = BufReader::new(answers.context("it was piped")?);
        // Lines are read by a thread, so that a signal is noticed while none comes.
        let (send, lines) = mpsc::channel();
        std::thread::spawn(move || answers.lines().try_for_each(|line| send.send(line)));
        Ok(Session { questions: questions.context("it was piped")?, lines, child })
    }

    /// Returns what becomes of each of these files, in their order. One on which the program ends,
    /// or does not end, takes no other with it. The target is that of an engine's files.
    pub(crate) fn judge(&self, files: &[PathBuf], target: Option<&Target>) -> Result<Vec<Judged>> {
        if let Some(all) = self.judge_together(files, target)? {
            return Ok(all);
        }
        let alone = |file: &PathBuf| {
            let judged = self.judge_together(std::slice::from_ref(file), target)?;
            let first = judged.and_then(|all| all.into_iter().next());
            let (shown, seconds) = (file.display(), ENOUGH.as_secs());
            let why = format!("{shown}: the program ended on it, or not within {seconds} s");
            let failed = || Judged { file: file.clone(), outcome: Outcome::Failed(why) };
            Ok(first.unwrap_or_else(failed))
        };
        files.iter().map(alone).collect()
    }

    /// Returns `None` if not all could be judged.
    fn judge_together(
        &self,
        files: &[PathBuf],
        target: Option<&Target>,
    ) -> Result<Option<Vec<Judged>>> {
        let limit = ENOUGH + EACH * u32::try_from(files.len()).unwrap_or(u32::MAX);
        self.judge_within(files, target, limit)
    }

    /// Plays these files and returns their outcomes in the order of the files; `None` if the program
    /// ends on one, or plays longer than `limit`.
    pub(crate) fn judge_within(
        &self,
        files: &[PathBuf],
        target: Option<&Target>,
        limit: Duration,
    ) -> Result<Option<Vec<Judged>>> {
        let target = target.map(|target| target.name.into());
        let request = Request::Judge { files: files.to_vec(), target };
        let command = self.command(["--requests"]).stdin_bytes(serde_json::to_string(&request)?);
        let command = command.stdout_capture().stderr_null();
        let Some(ended) = process::run_within(&self.path, command, limit)? else {
            return Ok(None);
        };
        let mut all = Vec::with_capacity(files.len());
        for line in ended.stdout.lines() {
            if let Answer::Judged(judged) = serde_json::from_str(line)? {
                all.push(judged);
            }
        }
        Ok((all.len() == files.len()).then_some(all))
    }
}

/// A program that waits for requests. It ends with this.
pub(crate) struct Session {
    child: Child,
    questions: ChildStdin,
    lines: mpsc::Receiver<std::io::Result<String>>,
}

fn gone(why: impl Display) -> anyhow::Error {
    defect!("the subject's program: {why}")
}

/// Returns the error of an answer to another question.
pub(crate) fn unexpected(answer: &Answer) -> anyhow::Error {
    defect!("an answer to another question: {answer:?}")
}

impl Session {
    /// Asks one thing that has so many answers.
    ///
    /// # Errors
    /// The program ends before it gave them, or this process must stop.
    pub(crate) fn ask(&mut self, request: &Request, answers: usize) -> Result<Vec<Answer>> {
        // Where that fails it has ended, which is noticed by the missing answers.
        let _ = self.send(request);
        (0..answers).map(|_| self.next()).collect()
    }

    fn send(&mut self, request: &Request) -> Result<()> {
        let line = serde_json::to_string(request)?;
        writeln!(self.questions, "{line}").map_err(gone)
    }

    fn next(&mut self) -> Result<Answer> {
        loop {
            match self.lines.recv_timeout(LOOK) {
                Ok(line) => {
                    let answer = serde_json::from_str(&line.map_err(gone)?);
                    return answer.context("the subject's program printed no answer");
                }
                Err(RecvTimeoutError::Timeout) => stop::check()?,
                Err(RecvTimeoutError::Disconnected) => {
                    stop::check()?;
                    match self.child.wait()?.code() {
                        Some(code) if code == i32::from(USAGE) => {
                            bail!("the subject's program said why, above")
                        }
                        Some(code) => return Err(gone(format!("it ended with code {code}"))),
                        None => return Err(gone("a signal ended it")),
                    }
                }
            }
        }
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_that_ends_loses_no_file() {
        let program = Program::new("/bin/false".into(), String::new(), Vec::new());
        let files = ["a.its", "b.its"].map(PathBuf::from);
        let judged = program.judge(&files, None).unwrap();
        assert!(judged.iter().map(|one| &one.file).eq(&files));
        let failed = |one: &Judged| matches!(one.outcome, Outcome::Failed(_));
        assert!(judged.iter().all(failed));
    }
}
