//! A built program, and the environment that says what it plays.

use std::io::{BufRead, BufReader, Write};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc;
use std::time::Duration;

use anyhow::{Context, Result};
use its_runner::program::{Answer, Judged, Outcome, Request};
use its_runner::replay::USAGE;

use crate::exit::Defect;
use crate::process;
use crate::stop;
use crate::target::Target;

/// How long a program may play: for any number of files, and more for each.
const ENOUGH: Duration = Duration::from_secs(30);
/// How often somebody who waits for an answer looks whether to stop.
const LOOK: Duration = Duration::from_millis(50);
const EACH: Duration = Duration::from_millis(200);

/// A replayer or fuzzer.
pub(crate) struct Program {
    pub path: PathBuf,
    /// Name of the subject that it holds.
    pub subject: String,
    pub environment: Vec<(&'static str, String)>,
}

impl Program {
    /// A command to run it.
    pub(crate) fn command<A: Into<std::ffi::OsString>>(
        &self,
        arguments: impl IntoIterator<Item = A>,
    ) -> duct::Expression {
        let mut command = duct::cmd(&self.path, arguments);
        for (name, value) in &self.environment {
            command = command.env(name, value);
        }
        command
    }

    /// Replays files. Returns what it printed, unless `quiet`, and its exit code.
    ///
    /// # Errors
    /// It cannot be started, or this process must stop.
    pub(crate) fn replay(&self, files: &[PathBuf], quiet: bool) -> Result<(String, i32)> {
        let mut arguments: Vec<PathBuf> = files.to_vec();
        if quiet {
            arguments.insert(0, "--quiet".into());
        }
        let mut command = self.command(arguments);
        if !quiet {
            command = command.stdout_capture();
        }
        let output = process::ended(&self.path, command)?;
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        Ok((text, output.status.code().unwrap_or(-1)))
    }

    /// Asks it one thing; `hear` gets each answer as it comes.
    ///
    /// # Errors
    /// It ends in another way than it should, or this process must stop.
    pub(crate) fn ask(&self, request: &Request, mut hear: impl FnMut(Answer)) -> Result<()> {
        let mut session = self.session()?;
        writeln!(session.questions, "{}", serde_json::to_string(request)?)
            .map_err(|error| gone(&error))?;
        loop {
            let answer = session.next()?;
            let is_last = !matches!(answer, Answer::Progress(_));
            hear(answer);
            if is_last {
                return Ok(());
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
        std::thread::spawn(move || {
            for line in answers.lines() {
                if send.send(line).is_err() {
                    break;
                }
            }
        });
        Ok(Session { questions: questions.context("it was piped")?, lines, child })
    }

    /// What becomes of each of these files, in their order. One on which the program ends, or does
    /// not end, takes no other with it. The target is that of an engine's files.
    pub(crate) fn judge(&self, files: &[PathBuf], target: Option<&Target>) -> Result<Vec<Judged>> {
        if let Some(all) = self.judge_together(files, target)? {
            return Ok(all);
        }
        let alone = |file: &PathBuf| {
            let judged = self.judge_together(std::slice::from_ref(file), target)?;
            let first = judged.and_then(|all| all.into_iter().next());
            Ok(first.unwrap_or_else(|| Judged {
                file: file.clone(),
                outcome: Outcome::Failed(format!(
                    "{}: the program ended on it, or not within {} s",
                    file.display(),
                    ENOUGH.as_secs()
                )),
            }))
        };
        files.iter().map(alone).collect()
    }

    /// `None` if not all could be judged.
    fn judge_together(
        &self,
        files: &[PathBuf],
        target: Option<&Target>,
    ) -> Result<Option<Vec<Judged>>> {
        let request = Request::Judge {
            files: files.to_vec(),
            target: target.map(|target| target.name.into()),
        };
        let command = self
            .command(["--requests"])
            .stdin_bytes(serde_json::to_string(&request)?)
            .stdout_capture()
            .stderr_null();
        let limit = ENOUGH + EACH * u32::try_from(files.len()).unwrap_or(u32::MAX);
        let Some(output) = process::ended_within(&self.path, command, limit)? else {
            return Ok(None);
        };
        let mut all = Vec::with_capacity(files.len());
        for line in String::from_utf8_lossy(&output.stdout).lines() {
            if let Answer::Judged(judged) = serde_json::from_str(line)? {
                all.push(judged);
            }
        }
        Ok((all.len() == files.len()).then_some(all))
    }

    /// Whether a file is clean; nothing is printed.
    pub(crate) fn is_clean(&self, file: &Path) -> Result<bool> {
        let arguments = [Path::new("--quiet"), file];
        let output = process::ended(&self.path, self.command(arguments).stdout_null())?;
        Ok(output.status.success())
    }
}

/// A program that waits for requests. It ends with this.
pub(crate) struct Session {
    child: Child,
    questions: ChildStdin,
    lines: mpsc::Receiver<std::io::Result<String>>,
}

fn gone(why: &dyn std::fmt::Display) -> anyhow::Error {
    Defect(format!("the subject's program: {why}")).into()
}

/// What a program's end means where an answer is missing; `None`: a signal ended it.
fn bad_end(code: Option<i32>) -> anyhow::Error {
    match code {
        Some(code) if code == i32::from(USAGE) => {
            anyhow::anyhow!("the subject's program said why, above")
        }
        Some(code) => gone(&format!("it ended with code {code}")),
        None => gone(&"a signal ended it"),
    }
}

impl Session {
    /// Asks one thing that has so many answers.
    ///
    /// # Errors
    /// The program ends before it gave them, or this process must stop.
    pub(crate) fn ask(&mut self, request: &Request, answers: usize) -> Result<Vec<Answer>> {
        let line = serde_json::to_string(request)?;
        // Where that fails it has ended, which the missing answers tell.
        let _ = writeln!(self.questions, "{line}");
        let mut all = Vec::with_capacity(answers);
        for _ in 0..answers {
            all.push(self.next()?);
        }
        Ok(all)
    }

    /// Returns the next answer.
    fn next(&mut self) -> Result<Answer> {
        loop {
            match self.lines.recv_timeout(LOOK) {
                Ok(line) => {
                    let line = line.map_err(|error| gone(&error))?;
                    let answer = serde_json::from_str(&line);
                    return answer.context("the subject's program printed no answer");
                }
                Err(mpsc::RecvTimeoutError::Timeout) => stop::check()?,
                Err(mpsc::RecvTimeoutError::Disconnected) => {
                    stop::check()?;
                    return Err(bad_end(self.child.wait()?.code()));
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
        let program =
            Program { path: "/bin/false".into(), subject: String::new(), environment: Vec::new() };
        let files = ["a.its", "b.its"].map(PathBuf::from);
        let judged = program.judge(&files, None).unwrap();
        assert!(judged.iter().map(|one| &one.file).eq(&files));
        let failed = |one: &Judged| matches!(one.outcome, Outcome::Failed(_));
        assert!(judged.iter().all(failed));
    }
}
