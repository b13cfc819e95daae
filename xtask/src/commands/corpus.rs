//! `corpus`: what is stored of scenarios.
//!
//! Committed are text, below `corpus/<target>`: seeds, regressions, benchmark. Grown by fuzzing are
//! an engine's binary files, below `artifacts/<target>`: a `corpus` in each run, and merged in
//! `artifacts/<target>/corpus`.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write;
use std::path::{Path, PathBuf};

use anyhow::{Result, bail, ensure};
use fs_err as fs;
use its_generate::circumstances::{self, DRAWN, Meetings};
use its_runner::replay::load;
use its_scenario::Scenario;

use crate::engines::{self, Engine, Run, fill};
use crate::exit::Exit;
use crate::subjects::{PRODUCTION, Subject};
use crate::target::Target;
use crate::workspace::{self, files};

#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// The target whose corpora are meant
    target: &'static Target,
    #[command(subcommand)]
    action: Action,
}

#[derive(clap::Subcommand, Clone, Copy)]
enum Action {
    /// Adds to the grown corpus what runs on the production emulator covered beyond it
    Merge,
    /// Drops files from the grown corpus that cover nothing beyond the rest
    Minimize,
    /// Prints how large the corpora are, and which operations are in them
    Stats,
    /// Checks that every stored file prints back to itself, none is empty, and no two are the same
    Check,
}

/// Folders of committed scenarios.
const COMMITTED: [&str; 3] = ["seeds", "regressions", "bench"];

pub(crate) fn run(arguments: &Arguments) -> Result<Exit> {
    let target = arguments.target;
    match arguments.action {
        Action::Merge => merge(target)?,
        Action::Minimize => {
            let is_empty = files(&target.grown())?.is_empty();
            ensure!(!is_empty, "the grown corpus of {} is empty: merge first", target.name);
            let (before, after) = renew(target, &[], &new_run(target)?)?;
            say!("{after} files, {before} before");
        }
        Action::Stats => stats(target)?,
        Action::Check => {
            let files = check(target)?;
            let grown = check_grown(target)?;
            say!("{} committed files and {grown} grown ones are as they must be", files.len());
        }
    }
    Ok(Exit::Clean)
}

/// Merges the runs' corpora into the grown one.
fn merge(target: &Target) -> Result<()> {
    let mut sources = Vec::new();
    for folder in workspace::entries(&target.artifacts().join(PRODUCTION))? {
        // Whoever started the run may not have lived to do it.
        if let Some(run) = Run::open(&folder) {
            run.collect()?;
        }
        sources.push(folder.join("corpus"));
    }
    sources.retain(|corpus| corpus.is_dir());
    ensure!(!sources.is_empty(), "no run of {} has a corpus yet", target.name);
    let grown = target.grown();
    let before = files(&grown)?.len();
    merge_into(target, &grown, &sources, &new_run(target)?)?;
    say!("{} files, {before} before, out of {} runs", files(&grown)?.len(), sources.len());
    Ok(())
}

/// Makes a run for what breaks while corpora are merged.
pub(crate) fn new_run(target: &Target) -> Result<Run> {
    Run::new(target, PRODUCTION, Engine::Libfuzzer)
}

/// Rewrites the grown corpus with as few files as cover the same as it and `more` folders do, and
/// returns the number of files before and after. The old one stays until the new one is whole. What
/// breaks on the way is an artifact of the run.
pub(crate) fn renew(target: &Target, more: &[PathBuf], run: &Run) -> Result<(usize, usize)> {
    let old = target.grown();
    fs::create_dir_all(&old)?;
    let before = files(&old)?.len();
    let new = tempfile::tempdir_in(target.artifacts())?;
    let sources = [std::slice::from_ref(&old), more].concat();
    merge_into(target, new.path(), &sources, run)?;
    let after = files(new.path())?.len();
    // An empty result would be a failure of the engine, which it does not always report.
    ensure!(after > 0, "the engine kept nothing; the corpus is as it was");
    let aside = tempfile::tempdir_in(target.artifacts())?;
    let kept = aside.path().join("old");
    fs::rename(&old, &kept)?;
    if let Err(error) = fs::rename(new.path(), &old) {
        fs::rename(&kept, &old)?;
        return Err(error.into());
    }
    Ok((before, after))
}

/// Merges by libFuzzer's coverage. The committed seeds are among the sources: what they reach needs
/// no larger file.
fn merge_into(target: &Target, into: &Path, sources: &[PathBuf], run: &Run) -> Result<()> {
    fs::create_dir_all(into)?;
    let seeds = tempfile::tempdir()?;
    fill(seeds.path(), &target.scenarios("seeds")?)?;
    let program = Engine::Libfuzzer.build(&Subject::production(), target)?;
    let from = [&[seeds.path().to_owned()], sources].concat();
    engines::merge(&program, into, &from, run)?;
    for finding in run.found()? {
        say!("on the way: {}, {}", finding.finding.signature, finding.file);
    }
    tidy(target, into)
}

/// Engines mutate bytes: what plays as the same scenario is one, in the form that it prints to.
fn tidy(target: &Target, folder: &Path) -> Result<()> {
    let generator = target.generator()?;
    let mut known = BTreeSet::new();
    for path in files(folder)? {
        let bytes = fs::read(&path)?;
        let mut scenario = Scenario::decode(&bytes);
        scenario.fit(generator);
        let tidy = scenario.encode();
        if scenario.operations.is_empty() || !known.insert(tidy.clone()) {
            fs::remove_file(&path)?;
        } else if tidy != bytes {
            let mut part = tempfile::NamedTempFile::new_in(target.artifacts())?;
            part.write_all(&tidy)?;
            part.persist(&path)?;
        }
    }
    Ok(())
}

pub(crate) fn committed(target: &Target) -> Result<Vec<PathBuf>> {
    let folders = COMMITTED.map(|folder| target.scenarios(folder));
    Ok(folders.into_iter().collect::<Result<Vec<_>>>()?.concat())
}

/// Returns the files of the grown corpus, and the scenarios in them.
pub(crate) fn read_grown(target: &Target) -> Result<Vec<(PathBuf, Scenario)>> {
    let read = |path: PathBuf| {
        let scenario = Scenario::decode(&fs::read(&path)?);
        Ok((path, scenario))
    };
    files(&target.grown())?.into_iter().map(read).collect()
}

fn stats(target: &Target) -> Result<()> {
    let mut kinds = BTreeMap::new();
    for folder in COMMITTED {
        let paths = target.scenarios(folder)?;
        let scenarios: Result<Vec<Scenario>, _> = paths.iter().map(|path| load(path)).collect();
        print_lengths(folder, &scenarios?, &mut kinds);
    }
    let grown = read_grown(target)?.into_iter().map(|(_, scenario)| scenario);
    print_lengths("grown", &grown.collect::<Vec<_>>(), &mut kinds);
    let named = |(kind, count): (&&str, &usize)| format!("{kind} {count}");
    let counted: Vec<String> = kinds.iter().map(named).collect();
    say!("operations: {}", counted.join(", "));
    let absent: Vec<&str> =
        its_scenario::Operation::names().filter(|name| !kinds.contains_key(name)).collect();
    say!("in none: {}", absent.join(", "));
    print_circumstances(target)
}

/// Prints how many pairs of circumstances drawn scenarios meet, which they do not, and which no
/// scenario of the target can.
fn print_circumstances(target: &Target) -> Result<()> {
    let target = target.generator()?;
    let (met, unmet): (Vec<_>, Vec<_>) =
        Meetings::drawn(target).possible().partition(|(_, count)| *count > 0);
    let all = met.len() + unmet.len();
    say!("circumstances: {} of {all} pairs meet within {DRAWN} drawn scenarios", met.len());
    let least = met.iter().min_by_key(|(_, count)| *count);
    if let Some((pair, count)) = least {
        say!("  the rarest: {} ({count} times in a quarter of them)", circumstances::text(*pair));
    }
    for (pair, _) in unmet {
        say!("  not met: {}", circumstances::text(pair));
    }
    for (why, count) in circumstances::excluded(target) {
        say!("  {count} cannot: {why}");
    }
    Ok(())
}

fn print_lengths(what: &str, scenarios: &[Scenario], kinds: &mut BTreeMap<&'static str, usize>) {
    let mut lengths: Vec<usize> = scenarios.iter().map(|one| one.operations.len()).collect();
    lengths.sort_unstable();
    for operation in scenarios.iter().flat_map(|scenario| &scenario.operations) {
        *kinds.entry(operation.name()).or_default() += 1;
    }
    match (lengths.first(), lengths.last()) {
        (Some(least), Some(most)) => say!(
            "{what}: {} scenarios, operations: median {} ({least} to {most})",
            lengths.len(),
            lengths[lengths.len() / 2]
        ),
        _ => say!("{what}: none"),
    }
}

/// Checks the committed files of a target and returns them.
pub(crate) fn check(target: &Target) -> Result<Vec<PathBuf>> {
    let all = committed(target)?;
    let mut known: Vec<(Scenario, &PathBuf)> = Vec::new();
    for path in &all {
        check_form(path)?;
        let scenario = load(path)?;
        ensure!(!scenario.operations.is_empty(), "{} holds no operation", workspace::shown(path));
        if let Some((_, other)) = known.iter().find(|(other, _)| *other == scenario) {
            let [path, other] = [path, *other].map(|path| workspace::shown(path));
            bail!("{path} is the same scenario as {other}");
        }
        known.push((scenario, path));
    }
    Ok(all)
}

/// Checks that a file is a scenario that both forms keep.
pub(crate) fn check_form(file: &Path) -> Result<()> {
    let scenario = load(file)?;
    check_text(file, &scenario)?;
    let is_same = Scenario::decode(&scenario.encode()) == scenario;
    ensure!(is_same, "{} is another scenario in binary form", workspace::shown(file));
    Ok(())
}

fn check_text(file: &Path, scenario: &Scenario) -> Result<()> {
    let is_same = Scenario::parse(scenario.to_string()).as_ref() == Ok(scenario);
    ensure!(is_same, "{} does not print back to itself", workspace::shown(file));
    Ok(())
}

/// Checks the grown files and returns how many there are.
fn check_grown(target: &Target) -> Result<usize> {
    let all = read_grown(target)?;
    let mut known = BTreeSet::new();
    for (path, scenario) in &all {
        let is_new = known.insert(scenario.encode());
        ensure!(is_new, "{} is the same scenario as another grown one", workspace::shown(path));
        check_text(path, scenario)?;
    }
    Ok(all.len())
}
