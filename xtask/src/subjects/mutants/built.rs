//! A copy of the workspace on disk, and what cargo makes of it.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use fs_err as fs;
use serde_json::Value;

use super::checks::Test;
use crate::process::Ended;
use crate::subjects::build::Package;
use crate::subjects::copy::Tree;
use crate::subjects::{PRODUCTION, Program, Recipe};
use crate::{process, target, workspace};

pub(super) struct Copy {
    folder: PathBuf,
}

impl Copy {
    pub(super) fn write(tree: Tree, name: &str) -> Result<Self> {
        let folder = workspace::root().join("target/mutants").join(name);
        tree.write(&folder, name)?;
        Ok(Self { folder })
    }

    /// Returns the numbers of the mutants in which the compiler finds errors.
    pub(super) fn errors(&self) -> Result<BTreeSet<u64>> {
        let (messages, ended) = self.check()?;
        let of_mutants = messages.iter().filter_map(|message| self.mutant_of(&message["message"]));
        let numbers: BTreeSet<u64> = of_mutants.collect();
        ensure!(
            ended.status.success() || !numbers.is_empty(),
            "cargo could not check the copy in {}:\n{}{}",
            self.folder.display(),
            rendered(&messages),
            ended.stderr
        );
        Ok(numbers)
    }

    /// Returns whether it compiles.
    pub(super) fn compiles(&self) -> Result<bool> {
        Ok(self.check()?.1.status.success())
    }

    fn check(&self) -> Result<(Vec<Value>, Ended)> {
        self.cargo("checked", &["check", "--keep-going", "--package", target::ALL[0].name])
    }

    /// The number of the mutant that an error of the compiler is in: what stands before it last.
    fn mutant_of(&self, message: &Value) -> Option<u64> {
        if message["level"] != "error" {
            return None;
        }
        let spans = message["spans"].as_array()?;
        let span = spans.iter().find(|span| span["is_primary"] == true)?;
        let text = workspace::read(&self.folder.join(span["file_name"].as_str()?)).ok()?;
        let before = text.get(..usize::try_from(span["byte_start"].as_u64()?).ok()?)?;
        last_number(before)
    }

    pub(super) fn build(&self, recipe: &Recipe) -> Result<Program> {
        let package = Package {
            workspace: &self.folder,
            apart: Some(workspace::root().join("target/mutants")),
            ..Package::new(target::ALL[0].name)
        };
        // The next copy is built to the same path.
        let path = self.folder.join("program");
        fs::copy(package.build_again(recipe)?, &path)?;
        let environment = vec![("ITSDIFF_TARGET", target::ALL[0].name.to_owned())];
        Ok(Program::new(path, PRODUCTION.into(), environment))
    }

    /// Builds the unit tests of these packages, and the runner's unit tests, `kills` and `policy`.
    pub(super) fn tests(&self, packages: &[&str]) -> Result<Vec<Test>> {
        if packages.is_empty() {
            return Ok(Vec::new());
        }
        let mut words = vec!["test", "--no-run", "--lib", "--test", "kills", "--test", "policy"];
        for package in packages.iter().chain(&["its-runner"]) {
            words.extend(["--package", package]);
        }
        let (messages, ended) = self.cargo("tested", &words)?;
        ensure!(
            ended.status.success(),
            "cargo could not build the tests:\n{}{}",
            rendered(&messages),
            ended.stderr
        );
        let built = messages.iter().filter_map(|message| {
            let path = message["executable"].as_str()?.into();
            let folder = Path::new(message["manifest_path"].as_str()?).parent()?.into();
            Some(Test { path, folder })
        });
        Ok(built.collect())
    }

    /// Runs cargo on the copy with a target folder of its own, and returns its messages.
    fn cargo(&self, target: &str, words: &[&str]) -> Result<(Vec<Value>, Ended)> {
        let manifest = self.folder.join("Cargo.toml");
        let words = words.iter().map(OsStr::new);
        let more = ["--quiet", "--message-format=json", "--manifest-path"].map(OsStr::new);
        let words = words.chain(more).chain([manifest.as_os_str()]);
        let command = duct::cmd(workspace::cargo(), words)
            .env("CARGO_TARGET_DIR", workspace::root().join("target/mutants").join(target))
            .env_remove("RUSTFLAGS")
            .env_remove("CARGO_ENCODED_RUSTFLAGS")
            .stdout_capture()
            .stderr_capture();
        let ended = process::run(workspace::cargo(), command)?;
        let messages = ended.stdout.lines().map(serde_json::from_str).collect::<Result<_, _>>();
        Ok((messages.context("cargo's message is no JSON")?, ended))
    }
}

/// The errors among cargo's messages, as the compiler prints them.
fn rendered(messages: &[Value]) -> String {
    let errors = messages.iter().map(|message| &message["message"]);
    let errors = errors.filter(|message| message["level"] == "error");
    errors.filter_map(|message| message["rendered"].as_str()).collect()
}

/// The number of the last arm of a switch that begins in a text.
fn last_number(text: &str) -> Option<u64> {
    let (before, _) = text.rsplit_once("u64 => {")?;
    let start = before.trim_end_matches(|letter: char| letter.is_ascii_digit()).len();
    before[start..].parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_is_in_the_arm_that_began_last() {
        let text = "match switch () { 7u64 => { a () } 8u64 => { b";
        assert_eq!(last_number(text), Some(8));
        assert_eq!(last_number("fn a () { b"), None);
    }
}
