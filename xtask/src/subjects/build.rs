//! How programs are built.
//!
//! There are three recipes besides those of AFL++, honggfuzz and coverage, whose tools build their
//! own way. All three share cargo's target folder, and with it build scripts and macros:
//!
//! - cargo's profile `dev`, for this command line: compiled fast;
//! - [`Recipe::play`], cargo's profile `test`: tests and programs that play, optimized;
//! - libFuzzer's recipe, the same with its instrumentation: other flags of the compiler make other
//!   libraries.

use std::collections::BTreeMap;
use std::io::IsTerminal;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

use anyhow::{Context, Result, ensure};
use fs_err as fs;

use crate::{process, workspace};

/// The file that lists what was built before.
const MARKS: &str = ".itsdiff-built";

/// Programs that this process has built, by cargo's command: asking cargo again takes a second.
static BUILT: Mutex<BTreeMap<String, PathBuf>> = Mutex::new(BTreeMap::new());

/// How cargo builds a program.
pub(crate) struct Recipe {
    /// What it is for, as people read it.
    pub name: &'static str,
    /// Cargo's target folder below `target`; none for the one that recipes share.
    folder: Option<&'static str>,
    cargo: &'static [&'static str],
    arguments: Vec<String>,
    environment: Vec<(&'static str, String)>,
    /// About how many seconds it takes from nothing on two cores.
    seconds: u32,
}

impl Recipe {
    /// Returns a recipe with the profile `test` in the shared folder.
    pub(crate) fn play() -> Self {
        Self {
            name: "to play",
            folder: None,
            cargo: &["build"],
            arguments: vec!["--profile".into(), "test".into()],
            environment: Vec::new(),
            seconds: 60,
        }
    }

    /// Returns the same without optimization, for a program that is built for a few scenarios.
    pub(crate) fn brief() -> Self {
        Self::play().env("CARGO_PROFILE_TEST_OPT_LEVEL", "0")
    }

    /// Returns a recipe with a target folder of its own, and with these words after `cargo`.
    pub(crate) fn of(
        name: &'static str,
        folder: &'static str,
        cargo: &'static [&'static str],
    ) -> Self {
        let (folder, arguments) = (Some(folder), Vec::new());
        Self { name, folder, cargo, arguments, environment: Vec::new(), seconds: 120 }
    }

    pub(crate) fn with(mut self, arguments: &[&str]) -> Self {
        self.arguments.extend(arguments.iter().map(|&argument| argument.into()));
        self
    }

    /// Sets a variable of the environment.
    pub(crate) fn env(mut self, name: &'static str, value: &str) -> Self {
        self.environment.push((name, value.into()));
        self
    }

    fn target_folder(&self) -> PathBuf {
        let target = workspace::root().join("target");
        self.folder.map_or(target.clone(), |folder| target.join(folder))
    }
}

pub(crate) struct Package<'a> {
    pub name: &'a str,
    pub workspace: &'a Path,
    /// Where its program is put, if another package of this name has the usual place.
    pub apart: Option<PathBuf>,
    pub environment: Vec<(&'static str, String)>,
}

impl<'a> Package<'a> {
    /// Returns a package of this workspace.
    pub(crate) fn new(name: &'a str) -> Self {
        Self { name, workspace: workspace::root(), apart: None, environment: Vec::new() }
    }

    /// Builds it, once in this process, and returns the path of its program.
    pub(crate) fn build(&self, recipe: &Recipe) -> Result<PathBuf> {
        let variables = [&recipe.environment[..], &self.environment].concat();
        let folders = (&self.apart, recipe.target_folder());
        let command = format!("{:?}", (self.arguments(recipe), folders, variables));
        // A thread that panicked has left a map that is whole.
        let mut built = BUILT.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(program) = built.get(&command) {
            return Ok(program.clone());
        }
        let program = self.build_again(recipe)?;
        built.insert(command, program.clone());
        Ok(program)
    }

    /// Builds it though it may have been built in this process: its sources change meanwhile.
    pub(crate) fn build_again(&self, recipe: &Recipe) -> Result<PathBuf> {
        let shared = &recipe.target_folder();
        let folder = self.apart.as_ref().unwrap_or(shared);
        // Of several settings of a variable duct takes the first.
        let mut command = duct::cmd(workspace::cargo(), self.arguments(recipe))
            .env("CARGO_TARGET_DIR", folder)
            // What is compiled on the way is shared, only programs are apart.
            .env("CARGO_BUILD_BUILD_DIR", shared);
        for (name, value) in recipe.environment.iter().chain(&self.environment) {
            command = command.env(name, value);
        }
        // Flags of the user's would take the place of the instrumentation.
        let command = command
            .dir(self.workspace)
            .env_remove("RUSTFLAGS")
            .env_remove("CARGO_ENCODED_RUSTFLAGS");
        let announced = Announcement::new(self.name, recipe, shared);
        let ended = process::run(workspace::cargo(), command.stdout_capture())?;
        let (name, how) = (self.name, recipe.name);
        ensure!(ended.status.success(), "cargo could not build {name} {how}; it says why above");
        announced.end();
        let program = ended.stdout.lines().filter_map(program).next_back();
        program.with_context(|| format!("cargo built no program of {}", self.name))
    }

    fn arguments(&self, recipe: &Recipe) -> Vec<String> {
        let mut all: Vec<String> = recipe.cargo.iter().map(|word| (*word).into()).collect();
        // A person sees cargo's progress, a log our two lines.
        if !std::io::stderr().is_terminal() {
            all.push("--quiet".into());
        }
        // A copy of the workspace takes what it needs out of our lock.
        if self.workspace == workspace::root() {
            all.push("--locked".into());
        }
        let manifest = self.workspace.join("Cargo.toml").display().to_string();
        let format = "--message-format=json-render-diagnostics";
        all.extend(
            ["--package", self.name, "--manifest-path", &manifest, format].map(String::from),
        );
        all.extend(recipe.arguments.iter().cloned());
        all
    }
}

/// The program in a line of cargo's messages.
fn program(line: &str) -> Option<PathBuf> {
    let message: serde_json::Value = serde_json::from_str(line).ok()?;
    Some(message.get("executable")?.as_str()?.into())
}

/// Says that something is built, where that takes time.
struct Announcement {
    /// `None` for what was built before: it takes a second.
    mark: Option<String>,
    start: Instant,
}

impl Announcement {
    fn new(package: &str, recipe: &Recipe, folder: &Path) -> Self {
        let mark = format!("{package} {}", recipe.name);
        let built = fs::read_to_string(folder.join(MARKS)).unwrap_or_default();
        let mark = Some(mark).filter(|mark| !built.lines().any(|line| line == mark));
        if let Some(mark) = &mark {
            let any = built.lines().any(|line| line.ends_with(recipe.name));
            let seconds = if any { recipe.seconds / 4 } else { recipe.seconds };
            eprintln!("building {mark}: about {seconds} s the first time");
        }
        Self { mark, start: Instant::now() }
    }

    fn end(self) {
        let Some(mark) = self.mark else { return };
        eprintln!("built {mark}: {:.0} s", self.start.elapsed().as_secs_f64());
        // Where it cannot be written the next build is announced again.
        let path = workspace::root().join("target").join(MARKS);
        let all = fs::read_to_string(&path).unwrap_or_default() + &mark + "\n";
        let _ = fs::write(path, all);
    }
}
