//! Mutants: small changes of a part of the sources, all in one program, one of them on at a time.

mod built;
mod checks;

use std::collections::BTreeSet;

use anyhow::{Context, Result, anyhow, bail, ensure};
use its_mistakes::{Mistake, Switch};

use self::built::Copy;
pub(crate) use self::checks::Checks;
use self::checks::{Mutated, Test};
use super::copy::Tree;
use super::{Bug, Program, Recipe};

/// Rounds in which mutants that do not compile are left out: later errors show once earlier ones
/// are gone.
const ROUNDS: usize = 16;

/// Whether a mutant was noticed, and by which check.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fate {
    /// A scenario is not clean, or a known mistake not found.
    Shown,
    /// A test fails.
    Tested,
    /// A program ends on a scenario, or does not finish within its time.
    Stuck,
    Survives,
    /// It does not compile.
    Unviable,
}

/// Runs the checks on each mutant and returns the results in the order of the mutants.
///
/// # Errors
/// The sources do not compile without them, or something is noticed without them.
pub(crate) fn fates(mutants: &[Mistake], checks: &Checks) -> Result<Vec<Fate>> {
    let together = Together::build(mutants, checks)?;
    together.demand_nothing(checks)?;
    let mut fates = Vec::new();
    for (n, mutant) in mutants.iter().enumerate() {
        let fate = if together.planted.contains(&mutant.name) {
            checks.fate(&together.with(&mutant.name))?
        } else {
            alone(mutant, checks)?
        };
        eprintln!("{} of {}: {}: {fate:?}", n + 1, mutants.len(), mutant.name);
        fates.push(fate);
    }
    together.demand_nothing(checks)?;
    Ok(fates)
}

/// The workspace with the mistakes that must be found, and what the tests read.
fn tree(checks: &Checks) -> Result<Tree> {
    let mut tree = Tree::read()?;
    let mistakes: Vec<Mistake> = checks.mistakes.iter().map(Bug::mistake).collect();
    tree.plant(&mistakes, Switch::Mistake)?;
    tree.add("corpus/breaks")?;
    Ok(tree)
}

/// Builds a mutant alone that does not compile with the others. It changes a constant, or the
/// function's return type is `impl Trait` and the mutant returns another type. Or it never compiles.
fn alone(mutant: &Mistake, checks: &Checks) -> Result<Fate> {
    let mut tree = tree(checks)?;
    its_mistakes::apply(&mut tree.sources, &mutant.patch)
        .map_err(|why| anyhow!("{}: {why}", mutant.name))?;
    let copy = Copy::write(tree, "alone")?;
    if !copy.compiles()? {
        return Ok(Fate::Unviable);
    }
    let (program, tests) = (copy.build(&Recipe::play())?, copy.tests(checks.tested)?);
    checks.fate(&Mutated { program, tests: &tests, mutant: None })
}

/// A program and tests with all mutants that compile.
struct Together {
    program: Program,
    tests: Vec<Test>,
    planted: BTreeSet<String>,
}

impl Together {
    fn build(mutants: &[Mistake], checks: &Checks) -> Result<Self> {
        let base = Tree::read()?;
        let is_planted = |mutant: &&Mistake| {
            let mut sources = base.sources.clone();
            let one = std::slice::from_ref(*mutant);
            its_mistakes::plant(&mut sources, one, Switch::Mutant).is_ok()
        };
        let mut left: Vec<Mistake> = mutants.iter().filter(is_planted).cloned().collect();
        for _ in 0..ROUNDS {
            let mut tree = tree(checks)?;
            tree.plant(&left, Switch::Mutant)?;
            let copy = Copy::write(tree, "mutants")?;
            let errors = copy.errors()?;
            if errors.is_empty() {
                let (program, tests) = (copy.build(&Recipe::play())?, copy.tests(checks.tested)?);
                let planted = left.into_iter().map(|mutant| mutant.name).collect();
                return Ok(Self { program, tests, planted });
            }
            let before = left.len();
            left.retain(|mutant| !errors.contains(&its_switch::number(&mutant.name)));
            ensure!(left.len() < before, "the copy does not compile, and no mutant is the cause");
        }
        bail!("mutants that do not compile were left out {ROUNDS} times; others do not either")
    }

    fn with<'a>(&'a self, mutant: &'a str) -> Mutated<'a> {
        let program = self.program.with(its_switch::MUTANT, mutant);
        Mutated { program, tests: &self.tests, mutant: Some(mutant) }
    }

    /// What is noticed without a mutant says nothing about one.
    fn demand_nothing(&self, checks: &Checks) -> Result<()> {
        let program = self.program.with(its_switch::MUTANT, "");
        let fate = checks.fate(&Mutated { program, tests: &self.tests, mutant: None });
        let fate = fate.context("without any mutant")?;
        ensure!(fate == Fate::Survives, broken!("without any mutant: {fate:?}"));
        Ok(())
    }
}
