//! `mutants`: which small changes of a part nothing notices. cargo-mutants lists them.

use std::collections::BTreeSet;
use std::num::NonZeroUsize;

use anyhow::{Context, Result, ensure};
use clap::{Args, ValueEnum};
use its_mistakes::Mistake;
use serde::Deserialize;

use crate::exit::Exit;
use crate::subjects::mutants::{Checks, Fate, fates};
use crate::subjects::{Bank, Bug};
use crate::{stored, workspace};

#[derive(Args)]
pub(crate) struct Arguments {
    /// Changes the sources of this part
    #[arg(long, value_name = "PART", default_value = "emulator")]
    of: Part,
    /// Tries so many mutants, drawn by the seed, in place of all
    #[arg(long, value_name = "N")]
    sample: Option<NonZeroUsize>,
    /// Draws the sample
    #[arg(long, value_name = "SEED", default_value_t = 1)]
    seed: u64,
}

/// Whose sources are changed.
#[derive(Clone, Copy, ValueEnum)]
enum Part {
    Emulator,
    Board,
    Reference,
    Oracles,
}

impl Part {
    fn packages(self) -> &'static [&'static str] {
        match self {
            Self::Emulator => &["its-emulator"],
            Self::Board => &["its-board"],
            Self::Reference => &["its-architecture", "its-policy"],
            Self::Oracles => &["its-oracles"],
        }
    }

    /// What is known to survive, and why.
    const fn survivors(self) -> &'static str {
        match self {
            Self::Emulator => "harness/emulator/survivors.toml",
            Self::Board => "harness/board/survivors.toml",
            Self::Reference => "harness/policy/survivors.toml",
            Self::Oracles => "oracles/survivors.toml",
        }
    }

    /// Folders whose known mistakes must still be found: those that it judges.
    const fn judges(self) -> &'static [&'static str] {
        match self {
            Self::Emulator => &[],
            Self::Board => &["harness/emulator/"],
            Self::Reference | Self::Oracles => &["harness/emulator/", "harness/board/"],
        }
    }

    fn checks(self) -> Result<Checks> {
        let mut mistakes = Bug::all(Bank::Bugs)?;
        mistakes.extend(Bug::all(Bank::Breaks)?);
        mistakes.retain(|bug| {
            let mut changed = bug.patch.lines().filter_map(|line| line.strip_prefix("+++ b/"));
            let judged = |path: &str| self.judges().iter().any(|folder| path.starts_with(folder));
            bug.has_target() && changed.all(judged)
        });
        // Scenarios notice nearly every mutant of the emulator.
        let tested = if self.judges().is_empty() { &[] } else { self.packages() };
        Ok(Checks { clean: stored::all()?, mistakes, tested })
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Known {
    #[serde(default)]
    survivors: Vec<Survivors>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Survivors {
    mutants: Vec<String>,
    why: String,
}

/// Plays each mutant, sums up, and compares the survivors with those that are explained.
pub(crate) fn run(arguments: &Arguments) -> Result<Exit> {
    let part = arguments.of;
    let mutants = listed(arguments)?;
    let fates = fates(&mutants, &part.checks()?)?;
    let count = |wanted: Fate| fates.iter().filter(|fate| **fate == wanted).count();
    let of = |wanted: Fate| mutants.iter().zip(&fates).filter(move |(_, fate)| **fate == wanted);
    let survivors: Vec<String> =
        of(Fate::Survives).map(|(mutant, _)| without_place(&mutant.name)).collect();
    let (shown, tested, stuck) = (count(Fate::Shown), count(Fate::Tested), count(Fate::Stuck));
    let killed = shown + tested + stuck;
    let all = killed + survivors.len();
    ensure!(all > 0, "no mutant compiles");
    say!(
        "{killed} of {all} mutants are noticed ({:.1} %): {shown} by what is stored, {tested} by \
         tests alone, {stuck} as a program ends or does not end; {} do not compile",
        killed as f64 * 100.0 / all as f64,
        count(Fate::Unviable)
    );
    let (file, path) = (part.survivors(), workspace::root().join(part.survivors()));
    let text = if path.exists() { workspace::read(&path)? } else { String::new() };
    let known: Known = toml::from_str(&text).with_context(|| format!("{file} is malformed"))?;
    let unexplained = explain(file, &known, &survivors, arguments.sample.is_none())?;
    for mutant in &unexplained {
        say!("unexplained: {mutant}");
    }
    ensure!(unexplained.is_empty(), broken!("mutants that nothing notices and nobody explained"));
    Ok(Exit::Clean)
}

/// Prints those that are explained and returns the others; `all`: what is explained must survive.
fn explain<'a>(
    file: &str,
    known: &Known,
    survivors: &'a [String],
    all: bool,
) -> Result<BTreeSet<&'a String>> {
    let mut unexplained: BTreeSet<&String> = survivors.iter().collect();
    for entry in &known.survivors {
        for mutant in &entry.mutants {
            let survives = unexplained.remove(mutant);
            ensure!(survives || !all, "{file}: {mutant} does not survive, or is there twice");
            if survives {
                say!("survives: {mutant}: {}", entry.why);
            }
        }
    }
    Ok(unexplained)
}

/// A mutant as cargo-mutants lists it.
#[derive(Deserialize)]
struct Listed {
    name: String,
    file: String,
    diff: String,
}

/// Returns the mutants of a part, or a sample of them.
fn listed(arguments: &Arguments) -> Result<Vec<Mistake>> {
    // What tests share is not what they test.
    let mut words = vec!["mutants", "--list", "--json", "--diff", "--exclude", "**/testing.rs"];
    for package in arguments.of.packages() {
        words.extend(["--package", package]);
    }
    let text = duct::cmd(workspace::cargo(), words).dir(workspace::root()).read();
    let text = text.context("no list of cargo-mutants (cargo install --locked cargo-mutants)")?;
    let mut all: Vec<Listed> =
        serde_json::from_str(&text).context("the list of cargo-mutants is not as expected")?;
    if let Some(count) = arguments.sample {
        fastrand::Rng::with_seed(arguments.seed).shuffle(&mut all);
        all.truncate(count.get());
    }
    ensure!(!all.is_empty(), "cargo-mutants found nothing to change");
    Ok(all.into_iter().map(mistake).collect())
}

fn mistake(listed: Listed) -> Mistake {
    let Listed { name, file, diff } = listed;
    // Its head names the mutant in place of the file.
    let hunks = diff.split_inclusive('\n').skip(2).collect::<String>();
    Mistake { name, patch: format!("--- a/{file}\n+++ b/{file}\n{hunks}") }
}

/// Returns `path/file.rs:7:5: what` as `file.rs: what`: places change with every line above them.
fn without_place(name: &str) -> String {
    let Some((place, what)) = name.split_once(": ") else {
        return name.into();
    };
    let path = place.split(':').next().unwrap_or(place);
    let file = path.rsplit('/').next().unwrap_or(path);
    format!("{file}: {what}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn known(mutants: &[&str]) -> Known {
        let mutants = mutants.iter().map(|name| (*name).into()).collect();
        let why = String::new();
        Known { survivors: vec![Survivors { mutants, why }] }
    }

    #[test]
    fn a_name_has_no_line() {
        let name = "harness/emulator/src/queue.rs:32:28: replace || with && in Guarded::look";
        assert_eq!(without_place(name), "queue.rs: replace || with && in Guarded::look");
    }

    #[test]
    fn what_is_not_explained_is_reported_and_what_does_not_survive_is_an_error() {
        let survivors = ["a".to_owned(), "b".to_owned(), "b".to_owned()];
        let left = |known: &Known, all| {
            let left = explain("file", known, &survivors, all);
            left.map(|left| left.into_iter().cloned().collect::<Vec<_>>())
        };
        assert_eq!(left(&known(&["a"]), true).unwrap(), ["b"]);
        assert!(left(&known(&["a", "b"]), true).unwrap().is_empty());
        assert!(left(&known(&["c"]), true).is_err());
        // A sample may not have it.
        assert_eq!(left(&known(&["c"]), false).unwrap(), ["a", "b"]);
    }
}
