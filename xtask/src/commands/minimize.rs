//! `minimize`: the shortest scenario with the same finding.

use std::path::PathBuf;

use anyhow::{Result, ensure};
use its_reports::finding_file::inherit;
use its_runner::program::Minimized;
use its_runner::replay::load_as;

use crate::exit::Exit;
use crate::findings::{self, header};
use crate::input::Input;
use crate::output::Progress;
use crate::subjects::{JudgedSubject, Program};
use crate::target::Target;
use crate::workspace;

/// A finding: a file, and what plays it.
#[derive(clap::Args)]
pub(crate) struct Finding {
    /// The target that the file is a finding of
    pub(crate) target: &'static Target,
    /// A scenario as text, an artifact of an engine, or `-` for text on standard input
    #[arg(value_parser = Input::parse)]
    pub(crate) file: Input,
    /// Keeps the finding with this signature. The default is what the head of the file names, else
    /// the first finding
    #[arg(long)]
    signature: Option<String>,
    #[command(flatten)]
    pub(crate) judged: JudgedSubject,
}

#[derive(clap::Args)]
pub(crate) struct Arguments {
    #[command(flatten)]
    finding: Finding,
    /// Tries at most so many scenarios
    #[arg(long, default_value_t = BUDGET, value_parser = clap::value_parser!(u64).range(1..))]
    budget: u64,
    /// Writes the result to this new file instead of standard output
    #[arg(long, short)]
    output: Option<PathBuf>,
}

/// Scenarios that are tried at most, unless it is said.
pub(crate) const BUDGET: u64 = 200_000;

/// Minimizes and prints.
pub(crate) fn run(arguments: &Arguments) -> Result<Exit> {
    if let Some(output) = &arguments.output {
        ensure!(!output.exists(), "{} exists", output.display());
        let folder = workspace::folder_of(output);
        ensure!(folder.is_dir(), "{} is no folder", folder.display());
    }
    let program = arguments.finding.program()?;
    let done = arguments.finding.minimize(&program, arguments.budget)?;
    let output = arguments.output.as_deref().map(workspace::shown);
    let text = inherit(&arguments.finding.text(), &done.text, output.as_deref());
    match &arguments.output {
        Some(output) => workspace::write_new(output, &text)?,
        None => say!("{}", text.trim_end()),
    }
    Ok(Exit::Clean)
}

impl Finding {
    pub(crate) fn text(&self) -> String {
        findings::text(self.file.path())
    }

    /// Returns what plays it, built if the file and all names are right.
    pub(crate) fn program(&self) -> Result<Program> {
        load_as(self.file.path(), None)?;
        if let Some(target) = header(self.file.path()).target {
            ensure!(target == self.target.name, "its head says that it is a finding of {target}");
        }
        self.judged.subject()?.player()
    }

    /// Returns the shortest scenario that shows the same. Shows progress, and prints a line about
    /// it.
    pub(crate) fn minimize(&self, program: &Program, budget: u64) -> Result<Minimized> {
        let file = self.file.path();
        let signature = self.signature.clone().or_else(|| header(file).signature);
        let mut bar = Progress::new();
        let signature = signature.as_deref();
        let done = program.minimize(file, self.target, signature, budget, |now| {
            bar.show(format!("{} operations, {} scenarios tried", now.operations, now.cases));
        });
        bar.finish();
        let done = done?;
        let end = if done.minimal { "nothing more can go" } else { "the budget is used up" };
        eprintln!(
            "{}: {} operations, {} before; {} scenarios tried, {end}",
            done.finding.signature, done.after, done.before, done.cases
        );
        Ok(done)
    }
}
