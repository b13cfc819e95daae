//! `mutants`: which small changes of a crate no stored scenario and no test notices
//! (cargo-mutants).

use std::collections::BTreeSet;
use std::num::NonZeroUsize;

use anyhow::{Context, Result, ensure};
use clap::{Args, ValueEnum};
use fs_err as fs;
use serde::Deserialize;
use serde_json::Value;

use crate::exit::Exit;
use crate::{process, workspace};

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

    /// What must notice a mutant: scenarios that are played on production and reference; of the
    /// harness its own tests too, and those that break EL2 on purpose.
    fn tests(self) -> Vec<&'static str> {
        let mut tests = vec!["--test", "stored", "--test", "policy"];
        if !matches!(self, Self::Emulator) {
            tests.extend(["--lib", "--test", "kills"]);
        }
        tests
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

/// Builds and plays each mutant, sums up, and compares the survivors with those that are explained.
pub(crate) fn run(arguments: &Arguments) -> Result<Exit> {
    let part = arguments.of;
    let outcomes = outcomes(arguments)?;
    let outcomes = outcomes["outcomes"].as_array().context("outcomes.json is not as expected")?;
    let of = |summary: &'static str| {
        let outcomes = outcomes.iter().filter(move |outcome| outcome["summary"] == summary);
        outcomes.filter_map(|outcome| outcome["scenario"]["Mutant"]["name"].as_str())
    };
    let timeouts = of("Timeout").count();
    let killed = of("CaughtMutant").count() + timeouts;
    let survivors: Vec<String> = of("MissedMutant").map(without_place).collect();
    let all = killed + survivors.len();
    ensure!(all > 0, "cargo-mutants found nothing to change");
    say!(
        "{killed} of {all} mutants are noticed ({:.1} %), {timeouts} of them as they do not end; \
         {} do not compile",
        killed as f64 * 100.0 / all as f64,
        of("Unviable").count()
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

/// Runs cargo-mutants and returns its `outcomes.json`.
fn outcomes(arguments: &Arguments) -> Result<Value> {
    let folder = workspace::root().join("target").join("mutants");
    fs::create_dir_all(&folder)?;
    // What tests share is not what they test.
    let mut words = ["mutants", "--exclude", "**/testing.rs"].map(String::from).to_vec();
    for package in arguments.of.packages() {
        words.extend(["--package".into(), (*package).into()]);
    }
    if let Some(count) = arguments.sample {
        for name in sample(&words, count.get(), arguments.seed)? {
            words.extend(["--re".into(), format!("^{}$", regex_escape(&name))]);
        }
    }
    for package in arguments.of.packages().iter().chain(&["its-runner"]) {
        words.extend(["--test-package".into(), (*package).into()]);
    }
    words.extend(["--baseline", "skip", "--timeout", "120", "--output"].map(String::from));
    words.push(folder.display().to_string());
    words.push("--".into());
    words.extend(arguments.of.tests().into_iter().map(String::from));
    // Mutants that are missed are no failure of the command: its output says all.
    process::cargo(words.iter().map(String::as_str), |command| command.stdout_to_stderr())?;
    let path = folder.join("mutants.out").join("outcomes.json");
    let text = fs::read_to_string(path)
        .context("no result of cargo-mutants (cargo install --locked cargo-mutants)")?;
    serde_json::from_str(&text).context("outcomes.json is not as expected")
}

/// Draws so many of the mutants that a command would try.
fn sample(words: &[String], count: usize, seed: u64) -> Result<Vec<String>> {
    let list = words.iter().map(String::as_str).chain(["--list"]);
    let text = duct::cmd(workspace::cargo(), list).dir(workspace::root()).read();
    let text = text.context("no list of cargo-mutants (cargo install --locked cargo-mutants)")?;
    let mut names: Vec<String> = text.lines().map(String::from).collect();
    fastrand::Rng::with_seed(seed).shuffle(&mut names);
    names.truncate(count);
    ensure!(!names.is_empty(), "cargo-mutants found nothing to change");
    Ok(names)
}

/// A name as a regular expression that stands for itself.
fn regex_escape(name: &str) -> String {
    let is_special = |letter: char| r"\.+*?()|[]{}^$".contains(letter);
    let escaped = |letter: char| {
        if is_special(letter) { format!(r"\{letter}") } else { letter.to_string() }
    };
    name.chars().map(escaped).collect()
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
