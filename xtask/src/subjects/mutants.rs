//! Mutants: small changes of a part of the sources, all in one program, one of them on at a time.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use fs_err as fs;
use its_mistakes::{Mistake, Switch};
use its_reports::triage::Outcome;
use serde_json::Value;

use super::build::Package;
use super::copy::Tree;
use super::{Bank, Bug, FoundBy, PRODUCTION, Program, Recipe, mistakes};
use crate::{process, stop, stored, target, workspace};

/// How long a program may play a few scenarios, which take it far less.
const ENOUGH: Duration = Duration::from_secs(10);
/// Scenarios that are played at once.
const FEW: usize = 64;
/// Rounds in which mutants that do not compile are left out: later errors show once earlier ones
/// are gone.
const ROUNDS: usize = 16;

/// What becomes of a mutant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fate {
    /// A scenario shows it.
    Shown,
    /// The program ends on a scenario, or plays it for ever.
    Stuck,
    Survives,
    /// It does not compile.
    Unviable,
}

/// What shows a mutant.
pub(crate) struct Scenarios {
    /// Those that are clean without it.
    clean: Vec<PathBuf>,
    /// Known bugs, which must still be found.
    bugs: Vec<Bug>,
}

impl Scenarios {
    /// Returns all that is stored; `bugs`: known bugs too, for what judges.
    pub(crate) fn stored(bugs: bool) -> Result<Self> {
        let clean = stored::all()?;
        let mut known = if bugs { Bug::all(Bank::Bugs)? } else { Vec::new() };
        known.retain(|bug| matches!(bug.facts.found_by, FoundBy::Target(_)));
        Ok(Self { clean, bugs: known })
    }

    fn fate(&self, program: &Program) -> Result<Fate> {
        for files in self.clean.chunks(FEW) {
            stop::check()?;
            let Some(judged) = program.judge_within(files, None, ENOUGH)? else {
                return Ok(Fate::Stuck);
            };
            if !judged.iter().all(|one| is_clean(&one.outcome)) {
                return Ok(Fate::Shown);
            }
        }
        for bug in &self.bugs {
            let program = program.with(its_switch::MISTAKE, &bug.id);
            let files = std::slice::from_ref(&bug.witness);
            let Some(judged) = program.judge_within(files, None, ENOUGH)? else {
                return Ok(Fate::Stuck);
            };
            let mut found = judged.iter().flat_map(|one| one.findings());
            if !found.any(|finding| bug.is_reported_by(finding.rule.id)) {
                return Ok(Fate::Shown);
            }
        }
        Ok(Fate::Survives)
    }
}

fn is_clean(outcome: &Outcome) -> bool {
    match outcome {
        Outcome::Played { findings, defects, .. } => findings.is_empty() && defects.is_empty(),
        // A boot alone.
        Outcome::Empty(_) => true,
        Outcome::Unreadable(_) | Outcome::Failed(_) => false,
    }
}

/// Returns what becomes of each mutant, in their order.
///
/// # Errors
/// The sources do not compile without them.
pub(crate) fn fates(mutants: &[Mistake], scenarios: &Scenarios) -> Result<Vec<Fate>> {
    let tree = Tree::read()?;
    let is_planted = |mutant: &&Mistake| {
        let mut sources = tree.sources.clone();
        its_mistakes::plant(&mut sources, std::slice::from_ref(*mutant), Switch::Mutant).is_ok()
    };
    let planted: Vec<&Mistake> = mutants.iter().filter(is_planted).collect();
    let together = Together::build(planted, !scenarios.bugs.is_empty())?;
    let clean_without =
        || Ok::<_, anyhow::Error>(scenarios.fate(&together.program)? == Fate::Survives);
    ensure!(clean_without()?, broken!("a stored scenario is not clean without any mutant"));
    let mut fates = Vec::new();
    for (n, mutant) in mutants.iter().enumerate() {
        let fate = match together.program_of(mutant) {
            Some(Some(program)) => scenarios.fate(&program)?,
            Some(None) => Fate::Unviable,
            None => alone(mutant, scenarios)?,
        };
        eprintln!("{} of {}: {}: {fate:?}", n + 1, mutants.len(), mutant.name);
        fates.push(fate);
    }
    ensure!(
        clean_without()?,
        broken!("in the end a stored scenario is not clean without any mutant")
    );
    Ok(fates)
}

/// One that no switch can be put into, as it changes a constant: built alone.
fn alone(mutant: &Mistake, scenarios: &Scenarios) -> Result<Fate> {
    let mut tree = Tree::read()?;
    its_mistakes::apply(&mut tree.sources, &mutant.patch)
        .map_err(|why| anyhow::anyhow!("{}: {why}", mutant.name))?;
    let copy = Copy::write(tree, "alone")?;
    if copy.errors()?.is_empty() {
        scenarios.fate(&copy.build(&Recipe::brief())?)
    } else {
        Ok(Fate::Unviable)
    }
}

/// A program with all mutants that compile.
struct Together {
    program: Program,
    planted: BTreeSet<String>,
    unviable: BTreeSet<String>,
}

impl Together {
    fn build(mut mutants: Vec<&Mistake>, with_bugs: bool) -> Result<Self> {
        let planted = mutants.iter().map(|mutant| mutant.name.clone()).collect();
        let mut unviable = BTreeSet::new();
        for _ in 0..ROUNDS {
            let mut tree = Tree::read()?;
            if with_bugs {
                tree.plant(&mistakes::planted(Bank::Bugs)?, Switch::Mistake)?;
            }
            let all: Vec<Mistake> = mutants.iter().map(|mutant| (*mutant).clone()).collect();
            tree.plant(&all, Switch::Mutant)?;
            let copy = Copy::write(tree, "mutants")?;
            let errors = copy.errors()?;
            if errors.is_empty() {
                let program = copy.build(&Recipe::play())?;
                return Ok(Self { program, planted, unviable });
            }
            let before = mutants.len();
            mutants.retain(|mutant| !errors.contains(&its_switch::number(&mutant.name)));
            ensure!(
                mutants.len() < before,
                "the copy does not compile, and no mutant is the cause"
            );
            unviable.extend(
                all.into_iter()
                    .map(|one| one.name)
                    .filter(|name| errors.contains(&its_switch::number(name))),
            );
        }
        anyhow::bail!(
            "mutants that do not compile were left out {ROUNDS} times; others do not either"
        )
    }

    /// The program with a mutant on; inside, `None` if it does not compile. `None` if it is not
    /// planted.
    fn program_of(&self, mutant: &Mistake) -> Option<Option<Program>> {
        self.planted.get(&mutant.name)?;
        let compiles = !self.unviable.contains(&mutant.name);
        Some(compiles.then(|| self.program.with(its_switch::MUTANT, &mutant.name)))
    }
}

/// A copy of the workspace on disk.
struct Copy {
    folder: PathBuf,
}

impl Copy {
    fn write(tree: Tree, name: &str) -> Result<Self> {
        let folder = workspace::root().join("target/mutants").join(name);
        tree.write(&folder, name)?;
        Ok(Self { folder })
    }

    /// Returns the numbers of the mutants in which the compiler finds errors.
    fn errors(&self) -> Result<BTreeSet<u64>> {
        let manifest = self.folder.join("Cargo.toml");
        let words = ["check", "--quiet", "--keep-going", "--message-format=json", "--package"];
        let words = words.iter().map(Path::new);
        let words =
            words.chain([Path::new(target::ALL[0].name), Path::new("--manifest-path"), &manifest]);
        let command = duct::cmd(workspace::cargo(), words)
            .env("CARGO_TARGET_DIR", workspace::root().join("target/mutants/checked"))
            .env_remove("RUSTFLAGS")
            .stdout_capture()
            .stderr_capture();
        let ended = process::run(workspace::cargo(), command)?;
        let mut numbers = BTreeSet::new();
        for line in ended.stdout.lines() {
            let message: Value =
                serde_json::from_str(line).context("cargo's message is no JSON")?;
            numbers.extend(self.mutant_of(&message["message"]));
        }
        ensure!(
            ended.status.success() || !numbers.is_empty(),
            "cargo could not check the copy in {}:\n{}",
            self.folder.display(),
            ended.stderr
        );
        Ok(numbers)
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

    fn build(&self, recipe: &Recipe) -> Result<Program> {
        let package = Package {
            workspace: &self.folder,
            apart: Some(workspace::root().join("target/mutants")),
            ..Package::new(target::ALL[0].name)
        };
        // The next copy is built to the same path.
        let path = self.folder.join("program");
        fs::copy(package.build(recipe)?, &path)?;
        let environment = vec![("ITSDIFF_TARGET", target::ALL[0].name.to_owned())];
        Ok(Program::new(path, PRODUCTION.into(), environment))
    }
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
