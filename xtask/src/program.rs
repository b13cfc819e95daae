//! A built program, and the environment that says what it plays.

use std::path::{Path, PathBuf};

use anyhow::Result;

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

    /// Whether a file is clean; nothing is printed.
    pub(crate) fn is_clean(&self, file: &Path) -> Result<bool> {
        let arguments = [Path::new("--quiet"), file];
        let command = self.command(arguments).stdout_null().unchecked();
        Ok(command.run()?.status.success())
    }
}

impl From<PathBuf> for Program {
    fn from(path: PathBuf) -> Self {
        Self {
            path,
            environment: Vec::new(),
        }
    }
}
