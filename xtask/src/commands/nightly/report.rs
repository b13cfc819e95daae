//! What a night came to: one entry for each signature, minimized, and whether it is new.

use fs_err as fs;
use std::collections::BTreeMap;
use std::path::PathBuf;

use anyhow::Result;
use its_runner::program::{Answer, Request};
use its_runner::versioned::Versioned;
use serde::Serialize;

use super::adapter::Checked;
use super::night::Night;
use crate::commands::triage::{Group, Triage, collect};
use crate::findings::header;
use crate::stop;
use crate::subjects::Subject;
use crate::subjects::program::Program;
use crate::target::Target;
use crate::workspace;

/// Scenarios that are tried to make a finding shorter.
const BUDGET: u64 = 20_000;

/// All that a night found.
#[derive(Serialize)]
pub(super) struct Report {
    entries: Vec<Entry>,
    /// Inputs on which a program ended or did not end, or board and reference contradict each
    /// other.
    defects: Vec<String>,
    /// Files that show nothing now.
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
    let mut report = Report { entries: Vec::new(), defects: Vec::new(), others: Vec::new() };
    for name in &night.facts.targets {
        report.add(night, Target::find(name)?, known)?;
    }
    let signatures = report.entries.iter().map(|one| &*one.group.signature);
    let signatures: Vec<&str> = signatures.collect();
    fs::write(
        night.folder.join("signatures.txt"),
        signatures.iter().map(|one| format!("{one}\n")).collect::<String>(),
    )?;
    fs::write(
        night.folder.join("report.json"),
        serde_json::to_string_pretty(&Versioned::new(&report))?,
    )?;
    fs::write(night.folder.join("report.md"), report.markdown(night))?;
    Ok(report)
}

impl Report {
    fn add(&mut self, night: &Night, target: &'static Target, known: &[String]) -> Result<()> {
        let mut files = Vec::new();
        for run in night.runs_of(target) {
            collect(&run.folder, &mut files)?;
        }
        files.sort();
        let all = BTreeMap::from([("production".to_owned(), files)]);
        let triage = Triage::of(target, all)?;
        self.defects.extend(triage.defects);
        self.others.extend(triage.clean);
        self.others.extend(triage.unreadable);
        self.others.extend(triage.drifted);
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

    /// Whether somebody has to look.
    pub(super) fn has_new(&self) -> bool {
        self.entries.iter().any(|entry| entry.new)
    }

    /// What did not go as it must, other than findings.
    pub(super) fn troubles(&self, night: &Night) -> Vec<String> {
        let mut all = self.defects.clone();
        for fuzzed in &night.fuzzed {
            let (target, engine) = (&fuzzed.summary.target, fuzzed.summary.engine.name());
            let told = |trouble: &String| format!("{target} by {engine}: {trouble}");
            all.extend(fuzzed.trouble.as_ref().map(told));
        }
        if let Some(Checked::Trouble(what)) = &night.adapter {
            all.push(format!("the adapter for C code under valgrind: {what}"));
        }
        for merged in &night.merged {
            let told = |trouble: &String| format!("corpus of {}: {trouble}", merged.target);
            all.extend(merged.trouble.as_ref().map(told));
        }
        all
    }

    /// The short of it.
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
        for canary in &night.canaries {
            let end = match &canary.rule {
                Some(rule) => format!("told by {rule}"),
                None => "**not found**".into(),
            };
            text.push_str(&format!(
                "- {}: {end} after {} cases, {:.0} s\n",
                canary.engine.name(),
                canary.cases,
                canary.seconds
            ));
        }
        for missing in &facts.missing {
            text.push_str(&format!("- not there: {missing}\n"));
        }
        text.push_str(&match &night.adapter {
            Some(Checked::Sound(scenarios)) => {
                format!("\nThe adapter for C code under valgrind: its tests and {scenarios} scenarios, nothing told.\n")
            }
            Some(Checked::Missing) => "\nThe adapter for C code: not checked, there is no valgrind.\n".into(),
            Some(Checked::Cut) => {
                "\nThe adapter for C code: not checked whole, its tenth of the budget was too short.\n".into()
            }
            Some(Checked::Trouble(_)) | None => String::new(),
        });
        text.push_str("\n## Findings\n\n");
        for entry in &self.entries {
            text.push_str(&format!("- {}\n", entry.line()));
        }
        if self.entries.is_empty() {
            text.push_str("None.\n");
        }
        text.push_str(
            "\n## Fuzzed\n\n\
             | target | engine | asked, done | cases | cases/s | poisoned | edges | signatures |\n\
             | --- | --- | --- | --- | --- | --- | --- | --- |\n",
        );
        for fuzzed in &night.fuzzed {
            let one = &fuzzed.summary;
            text.push_str(&format!(
                "| {} | {} | {} | {} | {:.0} | {:.1} % | {} | {} |\n",
                one.target,
                one.engine.name(),
                one.asked(),
                one.executions,
                one.executions as f64 / one.seconds.max(0.001),
                100.0 * one.poisoned as f64 / one.executions.max(1) as f64,
                one.coverage.map_or("-".into(), |edges| edges.to_string()),
                one.findings.len()
            ));
        }
        for (target, engine) in night.open_runs() {
            let why = "not finished: the night ended before";
            text.push_str(&format!("| {} | {} | {why} | | | | | |\n", target.name, engine.name()));
        }
        text.push_str(
            "\n## Grown corpora\n\n| target | files before | after |\n| --- | --- | --- |\n",
        );
        for one in &night.merged {
            if let Some((before, after)) = one.sizes {
                text.push_str(&format!("| {} | {before} | {after} |\n", one.target));
            }
        }
        let troubles = self.troubles(night);
        for (title, list) in [("Troubles", &troubles), ("Show nothing now", &self.others)] {
            if !list.is_empty() {
                text.push_str(&format!("\n## {title}\n\n"));
                list.iter().for_each(|one| text.push_str(&format!("- {one}\n")));
            }
        }
        text
    }
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

/// The shortest scenario of a group, in the night's folder: minimized, or as it is where that
/// fails.
fn shortest(
    night: &Night,
    program: &Program,
    target: &Target,
    group: &Group,
) -> Result<(PathBuf, usize)> {
    let folder = night.folder.join("findings");
    fs::create_dir_all(&folder)?;
    let file = workspace::root().join(&group.file);
    let path = folder.join(format!("{}.its", group.signature));
    if stop::is_over() {
        return Ok((file, group.operations));
    }
    let mut done = None;
    let request = Request::Minimize {
        file: file.clone(),
        target: Some(target.name.into()),
        signature: Some(group.signature.clone()),
        budget: BUDGET,
    };
    let asked = program.ask(&request, |answer| {
        if let Answer::Minimized(minimized) = answer {
            done = Some(minimized);
        }
    });
    if asked.is_err() && stop::is_over() {
        return Ok((file, group.operations));
    }
    asked?;
    match done {
        Some(done) => {
            let shown = workspace::shown(&path);
            fs::write(&path, header::inherit(&file, &done.text, Some(&shown)))?;
            Ok((path, done.after))
        }
        None => Ok((file, group.operations)),
    }
}
