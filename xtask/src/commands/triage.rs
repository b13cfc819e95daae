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
use its_rules::Finding;
use its_runner::program::{Judged, Outcome};
use its_runner::replay::is_artifact;
use serde::Serialize;

use crate::engines::Run;
use crate::exit::Exit;
use crate::findings::{Divergences, Header};
use crate::subjects::Subject;
use crate::target::Target;
use crate::{output, workspace};

#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// The target whose artifacts are grouped
    target: &'static Target,
    /// Prints the result as one JSON object on the last line of standard output
    #[arg(long)]
    json: bool,
}

/// All artifacts of a target, by what they show now.
#[derive(Default, Serialize)]
pub(crate) struct Triage {
    target: String,
    pub groups: Vec<Group>,
    /// They were findings, and break no rule now.
    pub clean: Vec<String>,
    /// They hold no operation.
    empty: Vec<String>,
    /// Files that are no scenarios, and why.
    pub unreadable: Vec<String>,
    /// What they were kept for they do not show now, but something else.
    pub drifted: Vec<String>,
    /// On these board and reference contradict each other, or the program ends.
    pub defects: Vec<String>,
}

/// Artifacts with one signature.
#[derive(Serialize)]
pub(crate) struct Group {
    subject: String,
    pub signature: String,
    rule: String,
    pub severity: String,
    /// Why it is intended, if it is.
    pub known: Option<String>,
    pub count: usize,
    /// When the oldest of them was written, in seconds since 1970.
    first_seen: u64,
    /// The shortest of them, and its operations.
    pub file: String,
    pub operations: usize,
}

/// Groups and prints. Findings that are not known divergences are findings.
pub(crate) fn run(arguments: &Arguments) -> Result<Exit> {
    let target = arguments.target;
    let mut all = BTreeMap::new();
    for path in workspace::entries(&target.artifacts())? {
        // Grown inputs are no findings.
        if path.is_dir() && path != target.grown() {
            all.insert(workspace::name(&path), artifacts(&path)?);
        }
    }
    all.retain(|_, files| !files.is_empty());
    let triage = Triage::of(target, all)?;
    triage.print();
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

impl Triage {
    /// Replays and groups files of each subject.
    pub(crate) fn of(target: &'static Target, all: BTreeMap<String, Vec<PathBuf>>) -> Result<Self> {
        let known = Divergences::read()?;
        let mut triage = Self { target: target.name.into(), ..Self::default() };
        for (subject, files) in all {
            match Subject::named(&subject) {
                Ok(made) => {
                    for judged in made.player()?.judge(&files, Some(target))? {
                        triage.take(&subject, judged, &known)?;
                    }
                }
                Err(error) => {
                    let lost = files.iter().map(|file| workspace::shown(file));
                    triage.unreadable.extend(lost.map(|file| format!("{file}: {error:#}")));
                }
            }
        }
        triage.groups.sort_by(|one, other| {
            (&one.subject, &one.signature).cmp(&(&other.subject, &other.signature))
        });
        Ok(triage)
    }

    fn take(&mut self, subject: &str, judged: Judged, known: &Divergences) -> Result<()> {
        let file = workspace::shown(&judged.file);
        let (list, entry) = match judged.outcome {
            Outcome::Unreadable(why) => (&mut self.unreadable, why),
            Outcome::Empty(why) => (&mut self.empty, why),
            Outcome::Failed(why) => (&mut self.defects, why),
            Outcome::Played { defects, .. } if !defects.is_empty() => {
                (&mut self.defects, format!("{file}: {}", defects.join("; ")))
            }
            Outcome::Played { findings, .. } if findings.is_empty() => (&mut self.clean, file),
            Outcome::Played { operations, findings, .. } => {
                let seen = first_seen(&judged.file)?;
                for finding in self.claimed(&judged.file, &findings) {
                    self.group(subject, finding, known).add(&file, operations, seen);
                }
                return Ok(());
            }
        };
        list.push(entry);
        Ok(())
    }

    /// Returns the finding that the head of the file names; all of them where it names none, or
    /// none that the file shows.
    fn claimed<'a>(&mut self, file: &Path, findings: &'a [Finding]) -> Vec<&'a Finding> {
        let Some(claimed) = Header::read(file).signature else {
            return findings.iter().collect();
        };
        if let Some(same) = findings.iter().find(|finding| finding.signature == claimed) {
            return vec![same];
        }
        self.drifted.push(format!("{}: no {claimed}", workspace::shown(file)));
        findings.iter().collect()
    }

    fn group(&mut self, subject: &str, finding: &Finding, known: &Divergences) -> &mut Group {
        let same = |group: &Group| group.subject == subject && group.signature == finding.signature;
        let index = self.groups.iter().position(same).unwrap_or_else(|| {
            self.groups.push(Group {
                subject: subject.into(),
                signature: finding.signature.clone(),
                rule: finding.rule.id.into(),
                severity: finding.rule.severity.name().into(),
                known: known.reason(subject, &finding.signature),
                count: 0,
                first_seen: u64::MAX,
                file: String::new(),
                operations: usize::MAX,
            });
            self.groups.len() - 1
        });
        &mut self.groups[index]
    }

    fn print(&self) {
        for group in &self.groups {
            let Group { signature, subject, severity, count, operations, file, .. } = group;
            let known = group.known.as_ref().map(|reason| format!(", known: {reason}"));
            let known = known.unwrap_or_default();
            say!(
                "{signature} on {subject} ({severity}{known}): {count} files, the shortest of \
                 {operations} operations\n  {file}"
            );
        }
        for (what, files) in [
            ("breaks nothing now", &self.clean),
            ("holds no operation", &self.empty),
            ("cannot be read", &self.unreadable),
            ("shows something else now", &self.drifted),
            ("a defect of the harness", &self.defects),
        ] {
            for file in files {
                say!("{what}: {file}");
            }
        }
        say!(
            "{}: {} signatures, {} files show nothing, {} something else, {} are empty, \
             {} unreadable, {} defects",
            self.target,
            self.groups.len(),
            self.clean.len(),
            self.drifted.len(),
            self.empty.len(),
            self.unreadable.len(),
            self.defects.len()
        );
    }
}

impl Group {
    fn add(&mut self, file: &str, operations: usize, seen: u64) {
        self.count += 1;
        self.first_seen = self.first_seen.min(seen);
        if operations < self.operations {
            (self.file, self.operations) = (file.into(), operations);
        }
    }
}

fn first_seen(file: &Path) -> Result<u64> {
    let written = fs::metadata(file)?.modified()?;
    let since = written.duration_since(SystemTime::UNIX_EPOCH);
    Ok(since.context("a file from before 1970")?.as_secs())
}
