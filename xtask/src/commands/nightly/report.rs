//! The report of a night: one entry for each signature, minimized, and whether it is new.

use std::collections::BTreeMap;
use std::path::PathBuf;

use anyhow::Result;
use fs_err as fs;
use serde::Serialize;

use super::adapter::Checked;
use super::canary::Canary;
use super::state::Night;
use crate::commands::triage::{Group, Triage, artifacts};
use crate::findings::header;
use crate::subjects::{PRODUCTION, Program, Subject};
use crate::target::Target;
use crate::{output, stop, workspace};

/// Scenarios that are tried to make a finding shorter.
const BUDGET: u64 = 20_000;

/// What a night found.
#[derive(Default, Serialize)]
pub(super) struct Report {
    entries: Vec<Entry>,
    /// Inputs on which a program ended or did not end, or board and reference contradict each
    /// other.
    defects: Vec<String>,
    /// Files that no longer show what they were kept for.
    others: Vec<String>,
}

/// A signature.
#[derive(Serialize)]
struct Entry {
    target: String,
    #[serde(flatten)]
    group: Group,
    /// It is neither intended nor in the baseline.
    new: bool,
    /// The shortest scenario, in the night's folder.
    minimized: String,
    operations_left: usize,
}

/// Looks at all that the night's runs left, and writes `report.md`, `report.json`, `signatures.txt`
/// and `findings/` into its folder.
pub(super) fn write(night: &Night, known: &[String]) -> Result<Report> {
    let mut report = Report::default();
    for target in night.targets() {
        report.add(night, target, known)?;
    }
    let signature = |one: &Entry| format!("{}\n", one.group.signature);
    let signatures: String = report.entries.iter().map(signature).collect();
    fs::write(night.folder.join("signatures.txt"), signatures)?;
    fs::write(night.folder.join("report.json"), output::pretty_json(&report)?)?;
    fs::write(night.folder.join("report.md"), report.markdown(night))?;
    Ok(report)
}

impl Report {
    fn add(&mut self, night: &Night, target: &'static Target, known: &[String]) -> Result<()> {
        let mut files = Vec::new();
        for run in night.runs_of(target) {
            files.extend(artifacts(&run.folder)?);
        }
        files.sort();
        let triage = Triage::of(target, BTreeMap::from([(PRODUCTION.to_owned(), files)]))?;
        self.defects.extend(triage.defects);
        self.others.extend([triage.clean, triage.unreadable, triage.drifted].concat());
        let program = Subject::production().player()?;
        for group in triage.groups {
            let (minimized, operations_left) = shortest(night, &program, target, &group)?;
            self.entries.push(Entry {
                target: target.name.into(),
                new: group.known.is_none() && !known.contains(&group.signature),
                minimized: workspace::shown(&minimized),
                operations_left,
                group,
            });
        }
        Ok(())
    }

    /// Returns whether somebody has to look.
    pub(super) fn has_new(&self) -> bool {
        self.entries.iter().any(|entry| entry.new)
    }

    /// Returns what did not go as it must, other than findings.
    pub(super) fn troubles(&self, night: &Night) -> Vec<String> {
        let mut all = self.defects.clone();
        for fuzzed in &night.fuzzed {
            let (target, engine) = (&fuzzed.summary.target, fuzzed.summary.engine);
            let trouble = fuzzed.trouble.iter();
            all.extend(trouble.map(|trouble| format!("{target} by {engine}: {trouble}")));
        }
        if let Some(Checked::Trouble(what)) = &night.adapter {
            all.push(format!("the adapter for C code under valgrind: {what}"));
        }
        for merged in &night.merged {
            let trouble = merged.trouble.iter();
            all.extend(trouble.map(|trouble| format!("corpus of {}: {trouble}", merged.target)));
        }
        all
    }

    /// Prints a line for each entry, and how many there are.
    pub(super) fn print(&self) {
        for entry in &self.entries {
            say!("{}", entry.line());
        }
        let new = self.entries.iter().filter(|entry| entry.new).count();
        say!("{} signatures, {new} of them new", self.entries.len());
    }

    fn markdown(&self, night: &Night) -> String {
        let facts = &night.facts;
        let mut text = format!(
            "# Night\n\nBudget {} s, seed {}, {} jobs.\n\n## Canary `{}`\n\n",
            facts.budget, facts.seed, facts.jobs, facts.canary
        );
        for Canary { engine, rule, cases, seconds } in &night.canaries {
            let end = rule.as_ref().map(|rule| format!("reported by {rule}"));
            let end = end.unwrap_or_else(|| "**not found**".into());
            text += &format!("- {engine}: {end} after {cases} cases, {seconds:.0} s\n");
        }
        for missing in &facts.missing {
            text += &format!("- not there: {missing}\n");
        }
        let checked = match &night.adapter {
            Some(Checked::Sound(count)) => {
                format!(" under valgrind: its tests and {count} scenarios, nothing reported.")
            }
            Some(Checked::Missing) => ": not checked, there is no valgrind.".into(),
            Some(Checked::Cut) => {
                ": not checked whole, its tenth of the budget was too short.".into()
            }
            Some(Checked::Trouble(_)) | None => String::new(),
        };
        if !checked.is_empty() {
            text += &format!("\nThe adapter for C code{checked}\n");
        }
        text += "\n## Findings\n\n";
        for entry in &self.entries {
            text += &format!("- {}\n", entry.line());
        }
        if self.entries.is_empty() {
            text += "None.\n";
        }
        text += &fuzzed_table(night);
        text += "\n## Grown corpora\n\n| target | files before | after |\n| --- | --- | --- |\n";
        for merged in &night.merged {
            if let Some((before, after)) = merged.sizes {
                text += &format!("| {} | {before} | {after} |\n", merged.target);
            }
        }
        let troubles = self.troubles(night);
        for (title, list) in [("Troubles", &troubles), ("No longer reproduce", &self.others)] {
            if !list.is_empty() {
                text += &format!("\n## {title}\n\n- {}\n", list.join("\n- "));
            }
        }
        text
    }
}

fn fuzzed_table(night: &Night) -> String {
    let mut text = "\n## Fuzzed\n\n\
        | target | engine | asked, done | cases | cases/s | poisoned | edges | signatures |\n\
        | --- | --- | --- | --- | --- | --- | --- | --- |\n"
        .to_owned();
    for fuzzed in &night.fuzzed {
        let one = &fuzzed.summary;
        text += &format!(
            "| {} | {} | {} | {} | {:.0} | {:.1} % | {} | {} |\n",
            one.target,
            one.engine,
            one.asked(),
            one.executions,
            one.cases_per_second(),
            one.percent_poisoned(),
            one.coverage.map_or("-".into(), |edges| edges.to_string()),
            one.findings.len()
        );
    }
    for (target, engine) in night.open_runs() {
        let why = "not finished: the night ended before";
        text += &format!("| {} | {engine} | {why} | | | | | |\n", target.name);
    }
    text
}

impl Entry {
    fn line(&self) -> String {
        let state = match (&self.group.known, self.new) {
            (Some(reason), _) => format!("known: {reason}"),
            (None, true) => "new".into(),
            (None, false) => "in the baseline".into(),
        };
        format!(
            "{} ({}, {state}): {} files, {} operations; cargo xtask replay {}",
            self.group.signature,
            self.group.severity,
            self.group.count,
            self.operations_left,
            self.minimized
        )
    }
}

/// Returns the shortest scenario of a group and its number of operations: minimized, in the night's
/// folder, or as it is where that fails.
fn shortest(
    night: &Night,
    program: &Program,
    target: &Target,
    group: &Group,
) -> Result<(PathBuf, usize)> {
    let Group { signature, operations, .. } = group;
    let file = workspace::root().join(&group.file);
    if stop::is_over() {
        return Ok((file, *operations));
    }
    match program.minimize(&file, target, Some(signature), BUDGET, |_| {}) {
        Ok(done) => {
            let path = night.folder.join("findings").join(format!("{signature}.its"));
            fs::create_dir_all(workspace::folder_of(&path))?;
            let text = header::inherit(&file, &done.text, Some(&workspace::shown(&path)));
            fs::write(&path, text)?;
            Ok((path, done.after))
        }
        Err(error) => {
            eprintln!("{signature} is not minimized: {error:#}");
            Ok((file, *operations))
        }
    }
}
