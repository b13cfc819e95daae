//! `mutants`: which small changes of the emulator no stored scenario notices (cargo-mutants).

use std::collections::BTreeSet;

use anyhow::{Context, Result, ensure};
use fs_err as fs;
use serde::Deserialize;
use serde_json::Value;

use crate::exit::Exit;
use crate::{process, workspace};

/// What is known to survive, and why.
const KNOWN: &str = "harness/emulator/survivors.toml";
/// The least share of mutants that stored scenarios notice, in percent.
const KILLED: usize = 80;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Known {
    survivors: Vec<Survivors>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Survivors {
    mutants: Vec<String>,
    why: String,
}

/// Builds and plays each mutant, sums up, and compares the survivors with those that are explained.
pub(crate) fn run() -> Result<Exit> {
    let outcomes = outcomes()?;
    let outcomes = outcomes["outcomes"].as_array().context("outcomes.json is not as expected")?;
    let of = |summary: &'static str| {
        let outcomes = outcomes.iter().filter(move |outcome| outcome["summary"] == summary);
        outcomes.filter_map(|outcome| outcome["scenario"]["Mutant"]["name"].as_str())
    };
    let killed = of("CaughtMutant").count() + of("Timeout").count();
    let survivors: Vec<String> = of("MissedMutant").map(without_place).collect();
    let all = killed + survivors.len();
    ensure!(all > 0, "cargo-mutants found nothing to change");
    say!(
        "{killed} of {all} mutants of the emulator are killed by stored scenarios ({:.1} %); \
         {} do not compile",
        killed as f64 * 100.0 / all as f64,
        of("Unviable").count()
    );
    let text = workspace::read(&workspace::root().join(KNOWN))?;
    let known: Known = toml::from_str(&text).with_context(|| format!("{KNOWN} is malformed"))?;
    let unexplained = explain(&known, &survivors)?;
    for mutant in &unexplained {
        say!("unexplained: {mutant}");
    }
    let are_enough = killed * 100 >= all * KILLED;
    ensure!(unexplained.is_empty() && are_enough, broken!("mutants of the emulator pass for it"));
    Ok(Exit::Clean)
}

/// Prints those that are explained and returns the others.
fn explain<'a>(known: &Known, survivors: &'a [String]) -> Result<BTreeSet<&'a String>> {
    let mut unexplained: BTreeSet<&String> = survivors.iter().collect();
    for entry in &known.survivors {
        for mutant in &entry.mutants {
            let survives = unexplained.remove(mutant);
            ensure!(survives, "{KNOWN}: {mutant} does not survive, or is there twice");
            say!("survives: {mutant}: {}", entry.why);
        }
    }
    Ok(unexplained)
}

/// Runs cargo-mutants and returns its `outcomes.json`.
fn outcomes() -> Result<Value> {
    let folder = workspace::root().join("target").join("mutants");
    fs::create_dir_all(&folder)?;
    let output = folder.display().to_string();
    let what = "mutants --package its-emulator --test-package its-runner --baseline skip \
                --timeout 60 --output";
    let tests = ["--", "--test", "stored"];
    let arguments = what.split_whitespace().chain([&*output]).chain(tests);
    // Mutants that are missed are no failure of the command: its output says all.
    process::cargo(arguments, |command| command.stdout_to_stderr())?;
    let path = folder.join("mutants.out").join("outcomes.json");
    let text = fs::read_to_string(path)
        .context("no result of cargo-mutants (cargo install --locked cargo-mutants)")?;
    serde_json::from_str(&text).context("outcomes.json is not as expected")
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
        let unexplained = explain(&known(&["a"]), &survivors).unwrap();
        assert_eq!(unexplained.into_iter().collect::<Vec<_>>(), ["b"]);
        assert!(explain(&known(&["a", "b"]), &survivors).unwrap().is_empty());
        assert!(explain(&known(&["c"]), &survivors).is_err());
    }
}
