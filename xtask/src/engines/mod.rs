//! Fuzzing engines and their runs. Each engine has a file: how a target is built for it, its
//! command line, and where it leaves what it finds. A run of any engine is a folder of the same
//! form:
//!
//! - `corpus`: inputs, binary. Seeds before the run, what the engine kept of it when it is
//!   [collected](Run::collect).
//! - `findings`: a scenario for each signature, written by the target itself.
//! - `crashes`: inputs on which the target ended or did not end, binary, with names that
//!   [`is_artifact`](its_runner::replay::is_artifact) knows.
//! - `status`: counts. `logs`: what processes printed. The rest is the engine's own.

mod afl;
mod fuzz;
mod honggfuzz;
mod libfuzzer;
mod random;
mod run;
mod running;

use std::fmt::{self, Display, Formatter};
use std::path::PathBuf;
use std::time::SystemTime;

use anyhow::{Context, Result, ensure};
use clap::ValueEnum;
use serde::{Deserialize, Serialize};

use crate::process::Tool;
use crate::subjects::{Program, Recipe, Subject};
use crate::target::Target;

pub(crate) use fuzz::{fill, first_finding, fuzz, print_summary};
pub(crate) use libfuzzer::merge;
pub(crate) use run::Run;

/// Who makes the inputs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Engine {
    /// Guided by coverage, mutates scenarios; needs a C++ compiler
    Libfuzzer,
    /// AFL++: guided by coverage, mutates bytes; needs cargo-afl
    Afl,
    /// Guided by coverage, mutates bytes; needs cargo-hfuzz
    Honggfuzz,
    /// Our generator, guided by nothing; needs no tool
    Random,
}

/// What differs between engines.
trait Glue {
    /// An error with the commands that install what is missing.
    fn demand_tools(&self) -> Result<()>;

    /// How a target is built for it.
    fn recipe(&self) -> Result<Recipe>;

    /// What to start: a command for each process, or one for all.
    fn commands(&self, run: &Run, plan: &Plan) -> Result<Vec<duct::Expression>>;

    /// Instrumented edges reached so far, of the process that reached most; `None` where none are
    /// counted.
    fn coverage(&self, run: &Run) -> Option<u64>;

    /// Whether the target was instrumented. One that is not "fuzzes" blindly, and few engines say
    /// so.
    fn is_instrumented(&self, run: &Run) -> bool;

    /// Inputs that the engine keeps in a form of its own: from where, and under which name in
    /// `corpus` or `crashes`.
    fn inputs(&self, _run: &Run) -> Result<Vec<(PathBuf, PathBuf)>> {
        Ok(Vec::new())
    }
}

impl Engine {
    pub(crate) const ALL: [Self; 4] = [Self::Libfuzzer, Self::Afl, Self::Honggfuzz, Self::Random];

    /// Returns the engine of a name, as on the command line.
    pub(crate) fn named(name: &str) -> Option<Self> {
        Self::from_str(name, false).ok()
    }

    fn glue(self) -> &'static dyn Glue {
        match self {
            Self::Libfuzzer => &libfuzzer::Libfuzzer,
            Self::Afl => &afl::Afl,
            Self::Honggfuzz => &honggfuzz::Honggfuzz,
            Self::Random => &random::Random,
        }
    }

    /// Returns an error with the commands that install what is missing.
    pub(crate) fn demand_tools(self) -> Result<()> {
        self.glue().demand_tools()
    }

    pub(crate) fn build(self, subject: &Subject, target: &Target) -> Result<Program> {
        self.demand_tools()?;
        subject.build(target, &self.glue().recipe()?)
    }

    /// Returns whether the seed decides what it does; honggfuzz takes none.
    pub(crate) fn takes_seed(self) -> bool {
        self != Self::Honggfuzz
    }
}

/// As on the command line.
impl Display for Engine {
    fn fmt(&self, f: &mut Formatter) -> fmt::Result {
        f.pad(self.to_possible_value().expect("no engine is hidden").get_name())
    }
}

/// What an engine has to do.
pub(crate) struct Plan<'a> {
    pub program: &'a Program,
    pub target: &'static Target,
    /// Of the engine's random numbers, 1 to 2^32 - 1.
    pub seed: u32,
    /// Seconds, 0 for no limit.
    pub time: u64,
    /// Inputs over all processes, 0 for no limit.
    pub runs: u64,
    /// Cores.
    pub jobs: usize,
    /// The first finding ends the run; else they are collected.
    pub ends_at_first: bool,
}

impl<'a> Plan<'a> {
    /// Returns a plan of seed 1 on one core, without limits.
    pub(crate) fn new(program: &'a Program, target: &'static Target) -> Self {
        Self { program, target, seed: 1, time: 0, runs: 0, jobs: 1, ends_at_first: false }
    }
}

/// Returns a seed that differs from run to run.
pub(crate) fn fresh_seed() -> u32 {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    now.map_or(1, |now| now.subsec_nanos() ^ now.as_secs() as u32).max(1)
}

/// The compiler, for what it says of itself.
pub(crate) const RUSTC: Tool = Tool { program: "rustc", install: "https://rustup.rs" };

/// Returns the triple that is built for. An explicit target keeps instrumentation off build scripts
/// and macros.
pub(crate) fn host_triple() -> Result<String> {
    let text = RUSTC.run(["-vV"])?;
    let host = text.lines().find_map(|line| line.strip_prefix("host: "));
    Ok(host.context("rustc -vV names no host")?.to_owned())
}

/// Returns an error with what to do unless a command runs.
fn demand_command(program: &str, arguments: &[&str], advice: &str) -> Result<()> {
    let found = duct::cmd(program, arguments).stdout_null().stderr_null().run().is_ok();
    ensure!(found, "`{program} {}` does not run. {advice}", arguments.join(" "));
    Ok(())
}

/// Process `index` of `number` gets its share of `runs`; none of them 0 unless `runs` is.
fn share(runs: u64, index: usize, number: usize) -> u64 {
    let (index, number) = (index as u64, number as u64);
    let rest = u64::from(index < runs % number);
    if runs == 0 { 0 } else { (runs / number + rest).max(1) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn runs_are_shared_out_whole() {
        for (runs, number) in [(100, 3), (7, 7), (50_000, 2)] {
            let sum: u64 = (0..number).map(|index| share(runs, index, number)).sum();
            assert_eq!(sum, runs);
        }
        assert_eq!(share(0, 1, 2), 0);
    }

    #[test]
    fn a_tool_that_is_missing_comes_with_the_commands_that_install_it() {
        let error = demand_command("/nowhere/tool", &["--version"], afl::INSTALL).unwrap_err();
        let text = error.to_string();
        assert!(text.contains("cargo install --locked cargo-afl --version 0.18.2"), "{text}");
    }
}
