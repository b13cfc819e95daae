//! `corpus`: what is stored of scenarios.
//!
//! Committed are text, below `corpus/<target>`: seeds, regressions, benchmark. Grown by fuzzing are
//! an engine's binary files, below `artifacts/<target>`: a `corpus` in each run, and merged in
//! `artifacts/<target>/corpus`.

use fs_err as fs;
use std::collections::{BTreeMap, BTreeSet};
use std::io::Write;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use its_runner::replay::load;
use its_scenario::{FuzzTarget, Scenario};

use crate::commands::fuzz::{fill, new_folder};
use crate::engines::{self, Engine, Run};
use crate::exit::Exit;
use crate::subjects::Subject;
use crate::target::{self, Target};
use crate::workspace;

#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// The target whose corpora are meant
    #[arg(value_parser = target::names())]
    target: String,
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

/// Does it.
pub(crate) fn run(arguments: &Arguments) -> Result<Exit> {
    let target = Target::find(&arguments.target)?;
    match arguments.action {
        Action::Merge => merge(target)?,
        Action::Minimize => {
            let is_empty = files(&grown(target))?.is_empty();
            ensure!(!is_empty, "the grown corpus of {} is empty: merge first", target.name);
            let (before, after) = renew(target, &[], &new_folder(target, "production")?)?;
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

pub(crate) fn artifacts(target: &Target) -> PathBuf {
    workspace::root().join("artifacts").join(target.name)
}

/// The grown corpus.
pub(crate) fn grown(target: &Target) -> PathBuf {
    artifacts(target).join("corpus")
}

/// Merges the runs' corpora into the grown one.
fn merge(target: &Target) -> Result<()> {
    let mut sources = Vec::new();
    let runs = artifacts(target).join("production");
    if runs.exists() {
        for entry in fs::read_dir(runs)? {
            let folder = entry?.path();
            // Whoever started the run may not have lived to do it.
            if let Some(run) = Run::open(&folder) {
                run.collect()?;
            }
            let corpus = folder.join("corpus");
            if corpus.is_dir() {
                sources.push(corpus);
            }
        }
    }
    ensure!(!sources.is_empty(), "no run of {} has a corpus yet", target.name);
    sources.sort();
    let before = files(&grown(target))?.len();
    let folder = new_folder(target, "production")?;
    merge_into(target, &grown(target), &sources, &folder)?;
    say!("{} files, {before} before, out of {} runs", files(&grown(target))?.len(), sources.len());
    Ok(())
}

/// Rewrites the grown corpus with as few files as cover the same as it and `more` folders do. The
/// old one stays until the new one is whole. Files before and after; what breaks on the way is an
/// artifact of a run in `folder`.
pub(crate) fn renew(target: &Target, more: &[PathBuf], folder: &Path) -> Result<(usize, usize)> {
    let old = grown(target);
    fs::create_dir_all(&old)?;
    let before = files(&old)?.len();
    let new = tempfile::tempdir_in(artifacts(target))?;
    let mut sources = vec![old.clone()];
    sources.extend_from_slice(more);
    merge_into(target, new.path(), &sources, folder)?;
    let after = files(new.path())?.len();
    // An empty result would be a failure of the engine, which it does not always tell.
    ensure!(after > 0, "the engine kept nothing; the corpus is as it was");
    let aside = tempfile::tempdir_in(artifacts(target))?;
    let kept = aside.path().join("old");
    fs::rename(&old, &kept)?;
    if let Err(error) = fs::rename(new.path(), &old) {
        fs::rename(&kept, &old)?;
        return Err(error.into());
    }
    Ok((before, after))
}

/// By libFuzzer's coverage. The committed seeds are among the sources: what they reach needs no
/// larger file. What breaks on the way is an artifact like any other, of a run in `folder`.
fn merge_into(target: &Target, into: &Path, sources: &[PathBuf], folder: &Path) -> Result<()> {
    fs::create_dir_all(into)?;
    let seeds = tempfile::tempdir()?;
    fill(seeds.path(), &workspace::scenarios(&target.corpus("seeds"))?)?;
    let program = Engine::Libfuzzer.build(&Subject::production(), target)?;
    let mut from = vec![seeds.path().to_owned()];
    from.extend_from_slice(sources);
    let run = engines::merge(&program, into, &from, folder)?;
    for finding in run.found()? {
        say!("on the way: {}, {}", finding.finding.signature, finding.file);
    }
    tidy(target, into)
}

/// Engines mutate bytes: what plays as the same scenario is one, in the form that it prints to.
fn tidy(target: &Target, folder: &Path) -> Result<()> {
    let fuzzed = FuzzTarget::named(target.name).context("a target without a generator")?;
    let mut known = BTreeSet::new();
    for path in files(folder)? {
        let bytes = fs::read(&path)?;
        let mut scenario = Scenario::decode(&bytes);
        scenario.fit(fuzzed);
        let tidy = scenario.encode();
        if scenario.operations.is_empty() || !known.insert(tidy.clone()) {
            fs::remove_file(&path)?;
        } else if tidy != bytes {
            let mut part = tempfile::NamedTempFile::new_in(artifacts(target))?;
            part.write_all(&tidy)?;
            part.persist(&path)?;
        }
    }
    Ok(())
}

/// Files of a folder that is there, by name.
pub(crate) fn files(folder: &Path) -> Result<Vec<PathBuf>> {
    if !folder.exists() {
        return Ok(Vec::new());
    }
    let mut all = Vec::new();
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_file() {
            all.push(path);
        }
    }
    all.sort();
    Ok(all)
}

/// All that is committed of a target.
pub(crate) fn committed(target: &Target) -> Result<Vec<PathBuf>> {
    let mut all = Vec::new();
    for folder in COMMITTED {
        all.extend(workspace::scenarios(&target.corpus(folder))?);
    }
    Ok(all)
}

pub(crate) fn read_grown(target: &Target) -> Result<Vec<(PathBuf, Scenario)>> {
    let read = |path: PathBuf| {
        let scenario = Scenario::decode(&fs::read(&path)?);
        Ok((path, scenario))
    };
    files(&grown(target))?.into_iter().map(read).collect()
}

fn stats(target: &Target) -> Result<()> {
    let mut kinds = BTreeMap::new();
    for folder in COMMITTED {
        let paths = workspace::scenarios(&target.corpus(folder))?;
        let scenarios: Result<Vec<Scenario>, _> = paths.iter().map(|path| load(path)).collect();
        tell(folder, &scenarios?, &mut kinds);
    }
    let grown = read_grown(target)?.into_iter().map(|(_, scenario)| scenario);
    tell("grown", &grown.collect::<Vec<_>>(), &mut kinds);
    let named = |(kind, count): (&&str, &usize)| format!("{kind} {count}");
    let counted: Vec<String> = kinds.iter().map(named).collect();
    say!("operations: {}", counted.join(", "));
    let absent: Vec<&str> =
        its_scenario::Operation::names().filter(|name| !kinds.contains_key(name)).collect();
    say!("in none: {}", absent.join(", "));
    Ok(())
}

fn tell(what: &str, scenarios: &[Scenario], kinds: &mut BTreeMap<&'static str, usize>) {
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

/// Checks the committed files of a target, and gives them.
pub(crate) fn check(target: &Target) -> Result<Vec<PathBuf>> {
    let all = committed(target)?;
    let mut known: Vec<(Scenario, &PathBuf)> = Vec::new();
    for path in &all {
        check_form(path)?;
        let scenario = load(path)?;
        ensure!(!scenario.operations.is_empty(), "{} holds no operation", workspace::shown(path));
        if let Some((_, other)) = known.iter().find(|(other, _)| *other == scenario) {
            let [path, other] = [path, *other].map(|path| workspace::shown(path));
            anyhow::bail!("{path} is the same scenario as {other}");
        }
        known.push((scenario, path));
    }
    Ok(all)
}

/// A file is a scenario that both forms keep.
pub(crate) fn check_form(file: &Path) -> Result<()> {
    let scenario = load(file)?;
    let shown = || workspace::shown(file);
    ensure!(
        Scenario::parse(scenario.to_string()).as_ref() == Ok(&scenario),
        "{} does not print back to itself",
        shown()
    );
    ensure!(
        Scenario::decode(&scenario.encode()) == scenario,
        "{} is another scenario in binary form",
        shown()
    );
    Ok(())
}

/// Checks the grown files; how many there are.
fn check_grown(target: &Target) -> Result<usize> {
    let all = read_grown(target)?;
    let mut known = BTreeSet::new();
    for (path, scenario) in &all {
        ensure!(
            known.insert(scenario.encode()),
            "{} is the same scenario as another grown one",
            workspace::shown(path)
        );
        let text = scenario.to_string();
        let again = Scenario::parse(&text).with_context(|| workspace::shown(path))?;
        ensure!(again == *scenario, "{} does not print back to itself", workspace::shown(path));
    }
    Ok(all.len())
}
