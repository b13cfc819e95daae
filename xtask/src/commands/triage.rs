//! `triage`: all artifacts of all runs, replayed and grouped by signature.
//!
//! Artifacts lie below `artifacts/<target>/<subject>`: scenarios in the folders `findings`, and
//! what an engine saved under its own names. Nothing is dropped: what shows nothing, decodes to
//! nothing or cannot be read is listed apart.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use anyhow::{Context, Result, ensure};
use fs_err as fs;
use its_reports::known::Known;
use its_reports::triage::{Artifact, Judged, Triage};
use its_rules::Layers;
use its_runner::replay::is_artifact;

use crate::engines::Run;
use crate::exit::Exit;
use crate::findings::{KnownFile, header};
use crate::subjects::{JudgedSubject, Subject};
use crate::target::Target;
use crate::{output, workspace};

#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// The target whose artifacts are grouped
    target: &'static Target,
    #[command(flatten)]
    judged: JudgedSubject,
    #[command(flatten)]
    known: KnownFile,
    /// Prints the result as one JSON object on the last line of standard output
    #[arg(long)]
    json: bool,
}

/// Groups and prints. Findings that are not known are findings.
pub(crate) fn run(arguments: &Arguments) -> Result<Exit> {
    let Arguments { target, judged, known, .. } = arguments;
    let is_one = judged.which.bug.is_some() || judged.which.subject.is_some();
    let one = if is_one { Some(judged.subject()?.name) } else { None };
    let mut all = BTreeMap::new();
    for path in workspace::entries(&target.artifacts())? {
        // Grown inputs are no findings.
        if path.is_dir() && path != target.grown() {
            all.insert(workspace::name(&path), artifacts(&path)?);
        }
    }
    all.retain(|subject, files| !files.is_empty() && one.as_ref().is_none_or(|one| one == subject));
    let mut known = known.read()?;
    let mut triage = grouped(target, all, judged.judged.layers(), &mut known)?;
    triage.known_not_met = known.unused(false);
    say!("{}", triage.text());
    if arguments.json {
        output::print_json(&triage)?;
    }
    ensure!(triage.defects.is_empty(), defect!("see what is listed as one"));
    Ok(Exit::found(triage.groups.iter().any(|group| group.known.is_none())))
}

/// Returns the artifacts in a folder and those below, by path.
pub(crate) fn artifacts(folder: &Path) -> Result<Vec<PathBuf>> {
    // Whoever started the run may not have lived to do it.
    if let Some(run) = Run::open(folder) {
        run.collect()?;
    }
    let in_findings = workspace::name(folder) == "findings";
    let mut files = Vec::new();
    for path in workspace::entries(folder)? {
        let is_scenario = path.extension().is_some_and(|extension| extension == "its");
        if path.is_dir() && workspace::name(&path) != "corpus" {
            files.extend(artifacts(&path)?);
        } else if path.is_file() && (in_findings && is_scenario || is_artifact(&path)) {
            files.push(path);
        }
    }
    Ok(files)
}

/// Replays and groups files of each subject, judged by these layers.
pub(crate) fn grouped(
    target: &'static Target,
    all: BTreeMap<String, Vec<PathBuf>>,
    layers: Layers,
    known: &mut Known,
) -> Result<Triage> {
    let mut triage = Triage { target: target.name.into(), ..Triage::default() };
    for (subject, files) in &all {
        match Subject::named(subject) {
            Ok(made) => {
                let made = made.judged_by(layers);
                for Judged { file, outcome } in made.player()?.judge(files, Some(target))? {
                    let artifact = Artifact {
                        subject,
                        claimed: header(&file).signature,
                        written: written(&file)?,
                        file: workspace::shown(&file),
                    };
                    triage.take(artifact, outcome);
                }
            }
            Err(error) => {
                let lost = files.iter().map(|file| workspace::shown(file));
                triage.unreadable.extend(lost.map(|file| format!("{file}: {error:#}")));
            }
        }
    }
    for group in &mut triage.groups {
        group.known = known.signature(&group.subject, &group.rule, &group.signature);
    }
    triage.sort_by_cause();
    Ok(triage)
}

/// Returns when a file was written, in seconds since 1970.
fn written(file: &Path) -> Result<u64> {
    let written = fs::metadata(file)?.modified()?;
    let since = written.duration_since(SystemTime::UNIX_EPOCH);
    Ok(since.context("a file from before 1970")?.as_secs())
}
