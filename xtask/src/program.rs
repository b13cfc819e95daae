//! A built program, and the environment that says what it plays.

use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result};
use its_runner::program::{Answer, Judged, Outcome, Request};
use its_runner::replay::USAGE;

use crate::exit::Defect;
use crate::target::Target;

/// How long a program may play: for any number of files, and more for each.
const ENOUGH: Duration = Duration::from_secs(30);
const EACH: Duration = Duration::from_millis(200);

/// A replayer or fuzzer.
pub(crate) struct Program {
    pub path: PathBuf,
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

    /// Replays files. What it printed, unless `quiet`, and its exit code.
    pub(crate) fn replay(&self, files: &[PathBuf], quiet: bool) -> Result<(String, i32)> {
        let mut arguments: Vec<PathBuf> = files.to_vec();
        if quiet {
            arguments.insert(0, "--quiet".into());
        }
        let mut command = self.command(arguments).unchecked();
        if !quiet {
            command = command.stdout_capture();
        }
        let output = command.run()?;
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        Ok((text, output.status.code().unwrap_or(-1)))
    }

    /// Asks it one thing; `hear` gets each answer as it comes.
    pub(crate) fn ask(&self, request: &Request, mut hear: impl FnMut(Answer)) -> Result<()> {
        let line = serde_json::to_string(request)?;
        let command = self.command(["--requests"]).stdin_bytes(line);
        let asked = command.unchecked().reader()?;
        for line in BufReader::new(&asked).lines() {
            let line = line.map_err(|error| gone(&error))?;
            hear(serde_json::from_str(&line).context("an answer that is none")?);
        }
        let ended = asked.try_wait()?.and_then(|output| output.status.code());
        demand_good_end(ended)
    }

    /// Starts it, to be asked many things.
    pub(crate) fn session(&self) -> Result<Session> {
        let mut command = Command::new(&self.path);
        command.arg("--requests").envs(self.environment.iter().map(|(name, value)| (*name, value)));
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
        let (questions, answers) = (child.stdin.take(), child.stdout.take());
        Ok(Session {
            questions: questions.context("it was piped")?,
            answers: BufReader::new(answers.context("it was piped")?),
            child,
        })
    }

    /// What becomes of each of these files, in their order. One on which the program ends, or does not end, takes no
    /// other with it. The target is that of an engine's files.
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
        let process = self
            .command(["--requests"])
            .stdin_bytes(serde_json::to_string(&request)?)
            .stdout_capture()
            .stderr_null()
            .unchecked()
            .start()?;
        let limit = ENOUGH + EACH * u32::try_from(files.len()).unwrap_or(u32::MAX);
        let Some(output) = process.wait_timeout(limit)? else {
            process.kill()?;
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
        let command = self.command(arguments).stdout_null().unchecked();
        Ok(command.run()?.status.success())
    }
}

/// A program that waits for requests. It ends with this.
pub(crate) struct Session {
    child: Child,
    questions: ChildStdin,
    answers: BufReader<ChildStdout>,
}

fn gone(why: &dyn std::fmt::Display) -> anyhow::Error {
    Defect(format!("the subject's program: {why}")).into()
}

/// What a program's end means; `None`: a signal ended it.
fn demand_good_end(code: Option<i32>) -> Result<()> {
    match code {
        Some(0) => Ok(()),
        Some(code) if code == i32::from(USAGE) => {
            anyhow::bail!("the subject's program said why, above")
        }
        Some(code) => Err(gone(&format!("it ended with code {code}"))),
        None => Err(gone(&"a signal ended it")),
    }
}

impl Session {
    /// Asks one thing that has so many answers.
    pub(crate) fn ask(&mut self, request: &Request, answers: usize) -> Result<Vec<Answer>> {
        let line = serde_json::to_string(request)?;
        // Where that fails it has ended, which the answers tell.
        let _ = writeln!(self.questions, "{line}");
        let mut all = Vec::with_capacity(answers);
        for _ in 0..answers {
            let mut line = String::new();
            let read = self.answers.read_line(&mut line);
            if read.map_err(|error| gone(&error))? == 0 {
                demand_good_end(self.child.wait()?.code())?;
                return Err(gone(&"it ended"));
            }
            all.push(serde_json::from_str(&line).context("an answer that is none")?);
        }
        Ok(all)
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl From<PathBuf> for Program {
    fn from(path: PathBuf) -> Self {
        Self { path, environment: Vec::new() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_that_ends_loses_no_file() {
        let program = Program::from(PathBuf::from("/bin/false"));
        let files = ["a.its", "b.its"].map(PathBuf::from);
        let judged = program.judge(&files, None).unwrap();
        assert!(judged.iter().map(|one| &one.file).eq(&files));
        let failed = |one: &Judged| matches!(one.outcome, Outcome::Failed(_));
        assert!(judged.iter().all(failed));
    }
}
