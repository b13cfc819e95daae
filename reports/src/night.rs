//! A night of fuzzing: what was done, and what was found, an entry for each signature.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::summary::{Counts, Summary};
use crate::triage::Group;

/// Holds what is settled when a night begins.
#[derive(Default, Serialize, Deserialize)]
pub struct Facts {
    /// Seconds.
    pub budget: u64,
    pub seed: u32,
    pub jobs: usize,
    /// The known bug that is planted.
    pub canary: String,
    pub targets: Vec<String>,
    pub engines: Vec<String>,
    /// Engines that are not there, and why.
    pub missing: Vec<String>,
    /// The external emulation, as it was given; none for the production emulator.
    #[serde(default)]
    pub subject: Option<String>,
    /// The layers of rules that are judged, with commas between; empty for all.
    #[serde(default)]
    pub layers: String,
    /// The file of what is known, if one was given.
    #[serde(default)]
    pub known: Option<PathBuf>,
}

/// Says how an engine's search for the canary ended.
#[derive(Clone, Serialize, Deserialize)]
pub struct Canary {
    pub engine: String,
    /// The rule that it broke; `None` if it was not found.
    pub rule: Option<String>,
    pub cases: u64,
    pub seconds: f64,
}

/// Says how the check of the adapter for C code ended.
#[derive(Clone, Serialize, Deserialize)]
pub enum Checked {
    /// So many scenarios, and the tests.
    Sound(usize),
    Trouble(String),
    /// Its share of the budget was too short.
    Cut,
    /// There is no valgrind.
    Missing,
}

/// Holds what became of a target that was fuzzed by an engine.
#[derive(Clone, Serialize, Deserialize)]
pub struct Fuzzed {
    pub summary: Summary,
    /// What did not go as it must.
    pub trouble: Option<String>,
}

/// Holds what became of a grown corpus.
#[derive(Clone, Serialize, Deserialize)]
pub struct Merged {
    pub target: String,
    /// Files before and after.
    pub sizes: Option<(usize, usize)>,
    pub trouble: Option<String>,
}

/// Holds what a night did so far.
#[derive(Default, Serialize, Deserialize)]
pub struct Night {
    pub facts: Facts,
    pub canaries: Vec<Canary>,
    #[serde(default)]
    pub adapter: Option<Checked>,
    pub fuzzed: Vec<Fuzzed>,
    pub merged: Vec<Merged>,
}

impl Night {
    /// Returns what is still to be fuzzed, and by which engine.
    pub fn open_runs(&self) -> impl Iterator<Item = (&str, &str)> {
        let Facts { targets, engines, .. } = &self.facts;
        let all = { targets.iter() }.flat_map(|target| {
            engines.iter().map(move |engine| (target.as_str(), engine.as_str()))
        });
        all.filter(|open| {
            let mut done = self.fuzzed.iter().map(|one| &one.summary);
            !done.any(|done| (done.target.as_str(), done.engine.as_str()) == *open)
        })
    }

    fn troubles(&self) -> Vec<String> {
        let mut all = Vec::new();
        for Fuzzed { summary, trouble } in &self.fuzzed {
            let (target, engine) = (&summary.target, &summary.engine);
            all.extend(trouble.iter().map(|trouble| format!("{target} by {engine}: {trouble}")));
        }
        if let Some(Checked::Trouble(what)) = &self.adapter {
            all.push(format!("the adapter for C code under valgrind: {what}"));
        }
        for Merged { target, trouble, .. } in &self.merged {
            all.extend(trouble.iter().map(|trouble| format!("corpus of {target}: {trouble}")));
        }
        all
    }

    fn canaries_text(&self) -> String {
        let facts = &self.facts;
        let mut text = format!(
            "# Night\n\nSubject {}{}, budget {} s, seed {}, {} jobs.\n\n## Canary `{}`\n\n",
            facts.subject.as_deref().unwrap_or("production"),
            if facts.layers.is_empty() {
                String::new()
            } else {
                format!(", {} alone", facts.layers)
            },
            facts.budget,
            facts.seed,
            facts.jobs,
            facts.canary
        );
        for Canary { engine, rule, cases, seconds } in &self.canaries {
            let end = rule.as_ref().map(|rule| format!("reported by {rule}"));
            let end = end.unwrap_or_else(|| "**not found**".into());
            text += &format!("- {engine}: {end} after {cases} cases, {seconds:.0} s\n");
        }
        for missing in &facts.missing {
            text += &format!("- not there: {missing}\n");
        }
        let checked = match &self.adapter {
            Some(Checked::Sound(count)) => {
                format!(" under valgrind: its tests and {count} scenarios, nothing reported.")
            }
            Some(Checked::Missing) => ": not checked, there is no valgrind.".into(),
            Some(Checked::Cut) => {
                ": not checked whole, its tenth of the budget was too short.".into()
            }
            Some(Checked::Trouble(_)) | None => return text,
        };
        text + &format!("\nThe adapter for C code{checked}\n")
    }

    fn fuzzed_text(&self) -> String {
        let mut text = "\n## Fuzzed\n\n\
            | target | engine | asked, done | cases | cases/s | poisoned | edges | signatures |\n\
            | --- | --- | --- | --- | --- | --- | --- | --- |\n"
            .to_owned();
        for Fuzzed { summary: one, .. } in &self.fuzzed {
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
        for (target, engine) in self.open_runs() {
            let why = "not finished: the night ended before";
            text += &format!("| {target} | {engine} | {why} | | | | | |\n");
        }
        text += &self.declared_text();
        text += "\n## Grown corpora\n\n| target | files before | after |\n| --- | --- | --- |\n";
        for merged in &self.merged {
            if let Some((before, after)) = merged.sizes {
                text += &format!("| {} | {before} | {after} |\n", merged.target);
            }
        }
        text
    }
}

impl Night {
    /// What the subject declares, and in how many cases a rule was broken that it gives up.
    fn declared_text(&self) -> String {
        let mut counts = Counts::default();
        self.fuzzed.iter().for_each(|one| counts.add(&one.summary.counts));
        let first = self.fuzzed.first();
        let text = first.map(|one| one.summary.declared.text(Some(&counts.given_up)));
        match text.as_deref() {
            None | Some("") => String::new(),
            Some(text) => format!("\n```text\n{text}```\n"),
        }
    }
}

/// Holds what a night found.
#[derive(Default, Serialize)]
pub struct Report {
    pub entries: Vec<Entry>,
    /// Inputs on which a program ended or did not end, or board and reference contradict each
    /// other.
    pub defects: Vec<String>,
    /// Files that no longer show what they were kept for.
    pub others: Vec<String>,
    /// Entries of what is known that no finding met.
    pub known_not_met: Vec<String>,
}

/// Holds what is known of a signature.
#[derive(Serialize)]
pub struct Entry {
    pub target: String,
    #[serde(flatten)]
    pub group: Group,
    /// It is neither intended nor in the baseline.
    pub new: bool,
    /// The shortest scenario, in the night's folder.
    pub minimized: String,
    pub operations_left: usize,
    /// Others, in which the subject takes other edges of its code to it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub other_ways: Vec<String>,
}

impl Report {
    /// Returns whether somebody has to look.
    pub fn has_new(&self) -> bool {
        self.entries.iter().any(|entry| entry.new)
    }

    /// Returns what did not go as it must, other than findings.
    pub fn troubles(&self, night: &Night) -> Vec<String> {
        [self.defects.clone(), night.troubles()].concat()
    }

    /// Returns the signatures, a line for each.
    pub fn signatures(&self) -> String {
        self.entries.iter().map(|entry| format!("{}\n", entry.group.signature)).collect()
    }

    /// Returns a line for each entry, and how many there are.
    pub fn text(&self) -> String {
        let lines: String = self.entries.iter().map(|entry| entry.line() + "\n").collect();
        let new = self.entries.iter().filter(|entry| entry.new).count();
        format!("{lines}{} signatures, {new} of them new", self.entries.len())
    }

    /// Returns the page that a person reads in the morning.
    pub fn markdown(&self, night: &Night) -> String {
        let mut text = night.canaries_text() + "\n## Findings\n\n";
        text.extend(self.entries.iter().map(|entry| format!("- {}\n", entry.line())));
        if self.entries.is_empty() {
            text += "None.\n";
        }
        text += &night.fuzzed_text();
        let troubles = self.troubles(night);
        for (title, list) in [
            ("Troubles", &troubles),
            ("No longer reproduce", &self.others),
            ("Known, not met", &self.known_not_met),
        ] {
            if !list.is_empty() {
                text += &format!("\n## {title}\n\n- {}\n", list.join("\n- "));
            }
        }
        text
    }
}

impl Entry {
    fn line(&self) -> String {
        let Self { group, new, minimized, operations_left, other_ways, .. } = self;
        let others = match &other_ways[..] {
            [] => String::new(),
            others => format!(" and, by another way through its code, {}", others.join(" ")),
        };
        let state = match (&group.known, new) {
            (Some(reason), _) => format!("known: {reason}"),
            (None, true) => "new".into(),
            (None, false) => "in the baseline".into(),
        };
        let Group { signature, severity, count, .. } = group;
        format!(
            "{signature} ({severity}, {state}): {count} files, {operations_left} operations; \
             cargo xtask replay {minimized}{others}"
        )
    }
}
