//! What a run of an engine checked and found.

use std::cmp::Reverse;
use std::collections::BTreeMap;

use its_rules::{Layers, StoredFinding};
use serde::{Deserialize, Serialize};

use crate::cause::{Cause, Shown, causes};
use crate::known_text;
use crate::replay::not_observed;

/// Counts what was done and judged.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counts {
    pub cases: u64,
    pub operations: u64,
    /// Commands that EL2 judged.
    pub judged: u64,
    /// Of these, refused.
    pub refused: u64,
    /// Commands that the hardware stalled on.
    pub stalled: u64,
    /// Commands that the hardware took or stalled on.
    pub fetched: u64,
    /// Of these, command errors.
    pub errors: u64,
    /// Cases without a finding that the reference did not judge to their end.
    pub poisoned: u64,
    /// The same by the reason.
    #[serde(default)]
    pub poisoned_by: BTreeMap<String, u64>,
    /// Cases that had nothing to do with EL2 or an ITS.
    pub skipped: u64,
    /// Cases in which a rule was broken that the subject's declaration gives up, by rule.
    #[serde(default)]
    pub given_up: BTreeMap<String, u64>,
}

impl Counts {
    /// Adds another run's.
    pub fn add(&mut self, other: &Self) {
        self.cases += other.cases;
        self.operations += other.operations;
        self.judged += other.judged;
        self.refused += other.refused;
        self.stalled += other.stalled;
        self.fetched += other.fetched;
        self.errors += other.errors;
        self.poisoned += other.poisoned;
        self.skipped += other.skipped;
        let maps =
            [(&mut self.poisoned_by, &other.poisoned_by), (&mut self.given_up, &other.given_up)];
        for (all, others) in maps {
            for (name, cases) in others {
                *all.entry(name.clone()).or_default() += cases;
            }
        }
    }
}

/// Sums up one run; as JSON, one object on one line. Older ones have fewer fields.
#[derive(Clone, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Summary {
    pub target: String,
    pub engine: String,
    pub subject: String,
    /// The layers of rules that were judged, with commas between.
    pub layers: String,
    pub seed: u32,
    pub jobs: usize,
    /// What was asked for; 0 for no limit.
    pub asked_cases: u64,
    pub asked_seconds: u64,
    pub seconds: f64,
    /// Cases in which something was judged.
    pub executions: u64,
    #[serde(flatten)]
    pub counts: Counts,
    /// Instrumented edges, of the process that reached most; each engine counts its own. None where
    /// none are counted.
    pub coverage: Option<u64>,
    /// The subject's own code is among these edges.
    pub guided: bool,
    /// Rules that are not judged, or only in part, since the subject's loads and stores are not
    /// seen.
    pub not_observed: Vec<String>,
    pub partly_observed: Vec<String>,
    /// What the subject declares of its policy.
    pub declared: DeclarationSummary,
    /// Somebody stopped it.
    pub interrupted: bool,
    /// It could not go on, or a process of it ended badly.
    pub failed: bool,
    pub findings: Vec<Found>,
    /// Entries of what is known that no finding met.
    pub known_not_met: Vec<String>,
}

/// What a subject declares of its policy; nothing where it has no file.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct DeclarationSummary {
    /// The file.
    pub file: String,
    /// Points that are otherwise than in POLICY.md.
    pub otherwise: Vec<String>,
    /// What is unprotected.
    pub unprotected: Vec<String>,
    /// Rules of the policy that are given up, each with the reason.
    pub not_judged: Vec<(String, String)>,
}

impl DeclarationSummary {
    /// Returns it for people, a line for each; `given_up`: cases in which a rule was broken, where
    /// cases were counted.
    pub fn text(&self, given_up: Option<&BTreeMap<String, u64>>) -> String {
        if self.file.is_empty() {
            return String::new();
        }
        let mut text = format!("  declared    {}\n", self.file);
        let mut line = |name: &str, what: &str| text += &format!("  {name:11} {what}\n");
        self.otherwise.iter().for_each(|point| line("", point));
        self.unprotected.iter().for_each(|what| line("unprotected", what));
        for (rule, reason) in &self.not_judged {
            let cases = given_up.map(|all| all.get(rule).copied().unwrap_or_default());
            let cases = cases.map_or(String::new(), |cases| format!(", broken in {cases} cases"));
            line("not judged", &format!("{rule}{cases}: {reason}"));
        }
        text
    }
}

/// Holds a finding of a run.
#[derive(Clone, Serialize, Deserialize)]
pub struct Found {
    #[serde(flatten)]
    pub record: StoredFinding,
    /// Why it is known, if it is.
    pub known: Option<String>,
}

impl Summary {
    /// Returns whether all findings are known.
    pub fn is_clean(&self) -> bool {
        self.findings.iter().all(|found| found.known.is_some())
    }

    /// Returns what was asked for, and why it is not what was done.
    pub fn asked(&self) -> String {
        let done = self.counts.cases;
        let (asked, played) = match self.asked_cases {
            0 => (format!("{} s", self.asked_seconds), format!("ran {:.0} s", self.seconds)),
            cases => (format!("{cases} cases"), format!("played {done}")),
        };
        let time_is_up = self.asked_seconds > 0 && self.seconds >= self.asked_seconds as f64;
        let why = if self.interrupted {
            ": it was interrupted"
        } else if self.failed {
            ": it failed"
        } else if done > self.asked_cases && self.asked_cases > 0 {
            ": the engine ends what it has begun"
        } else if self.asked_cases == done || (self.asked_cases == 0 && time_is_up) {
            ""
        } else if time_is_up {
            ": its time was up"
        } else {
            ": the engine ended before"
        };
        let skipped = match self.counts.skipped {
            0 => String::new(),
            skipped => format!("; nothing was judged in {skipped} cases"),
        };
        format!("{asked}, {played}{why}{skipped}")
    }

    /// Returns how many cases were judged in a second.
    pub fn cases_per_second(&self) -> f64 {
        self.executions as f64 / self.seconds.max(0.001)
    }

    /// Returns which share of the cases was poisoned, in percent.
    pub fn percent_poisoned(&self) -> f64 {
        percent(self.counts.poisoned, self.executions)
    }

    /// Why cases were poisoned, the most frequent reason first.
    fn poisoned_text(&self) -> String {
        let mut reasons: Vec<_> = self.counts.poisoned_by.iter().collect();
        reasons.sort_by_key(|(_, cases)| Reverse(**cases));
        reasons.iter().map(|(why, cases)| format!("    {cases}: {why}\n")).collect()
    }

    /// Returns it for people. `replay` is the command that replays a finding, without its file; an
    /// engine that takes no seed is not said to have one.
    pub fn text(&self, takes_seed: bool, replay: &str) -> String {
        let Self { target, engine, subject, jobs, seconds, executions, .. } = self;
        let counts = &self.counts;
        let Counts { operations, judged, refused, .. } = *counts;
        let Counts { stalled, fetched, errors, poisoned, .. } = *counts;
        let seed = if takes_seed { format!("seed {}", self.seed) } else { "takes no seed".into() };
        let interrupted = if self.interrupted { ", interrupted" } else { "" };
        let (cases_speed, share) = (self.cases_per_second(), self.percent_poisoned());
        let speed = operations as f64 / seconds.max(0.001);
        let mut text = format!(
            "{target} on {subject}: {engine} in {seconds:.0} s, {seed}, \
             jobs {jobs}{interrupted}\n  \
             cases       {executions} judged ({cases_speed:.0}/s); {poisoned} poisoned \
             ({share:.1} %)\n{}  \
             asked       {}\n  operations  {operations} ({speed:.0}/s)\n",
            self.poisoned_text(),
            self.asked()
        );
        if !self.layers.is_empty() && self.layers != Layers::ALL.to_string() {
            text += &format!("  layers      {} alone\n", self.layers);
        }
        text += &self.declared.text(Some(&self.counts.given_up));
        if judged > 0 {
            let share = percent(refused, judged);
            text += &format!(
                "  commands    {judged} judged by EL2, {refused} refused ({share:.1} %)\n"
            );
        }
        let share = percent(errors, fetched);
        text += &format!(
            "  hardware    {fetched} commands taken, {errors} errors ({share:.1} %), \
             {stalled} stalled\n"
        );
        text += &match self.coverage {
            Some(edges) if self.guided => format!("  coverage    {edges} edges\n"),
            Some(edges) => format!(
                "  coverage    {edges} edges, none of them the subject's: it was not compiled for \
                 {engine} (harness/abi/README.md)\n"
            ),
            None => "  coverage    not counted: the engine is not guided\n".into(),
        };
        if !self.not_observed.is_empty() {
            text += &format!("  {}\n", not_observed().replace('\n', "\n  "));
        }
        text + &self.findings_text(replay)
    }

    /// By cause; those that are known come last.
    fn findings_text(&self, replay: &str) -> String {
        let (known, new): (Vec<&Found>, _) =
            self.findings.iter().partition(|found| found.known.is_some());
        let causes = causes(new.iter().map(|found| found.shown()));
        let mut text = format!("  findings    {}", new.len());
        text.extend(causes.iter().map(Cause::text));
        if !known.is_empty() {
            text += &format!("\n  known       {}", known.len());
        }
        for found in &known {
            let (shown, reason) = (found.shown(), known_text(found.known.as_ref()));
            text += &format!("\n      {}{reason}\n        {}", shown.text(), shown.file);
        }
        for entry in &self.known_not_met {
            text += &format!("\n  known, but not met: {entry}");
        }
        let first = causes.first().map(Cause::shortest);
        if let Some(first) = first.or(known.first().map(|found| found.shown())) {
            text += &format!("\n\nto see one: {replay} {}", crate::quoted(first.file));
        }
        text
    }
}

impl Found {
    fn shown(&self) -> Shown<'_> {
        let StoredFinding { finding, file } = &self.record;
        Shown { finding, file, operations: finding.operation }
    }
}

fn percent(part: u64, whole: u64) -> f64 {
    100.0 * part as f64 / whole.max(1) as f64
}

#[cfg(test)]
mod tests {
    use its_rules::{Finding, catalogue::DIV_PINS};

    use super::*;

    #[test]
    fn a_summary_for_people() {
        let finding =
            Finding::broken(&DIV_PINS, "pins", "a page", "0").at((0, "write-cwriter"), "CWRITER");
        let finding = Finding { source_line: Some("its.c:12".into()), ..finding };
        let record = StoredFinding { finding, file: "a b.its".into() };
        let read = r#"{"target": "its_cmdq", "engine": "honggfuzz", "subject": "mine", "jobs": 2,
            "asked_cases": 9, "seconds": 2.0, "executions": 8, "cases": 9, "operations": 90,
            "judged": 40, "refused": 4, "stalled": 3, "fetched": 50, "errors": 5, "poisoned": 2,
            "poisoned_by": {"one reason": 1, "two": 1}, "skipped": 1, "coverage": 70}"#;
        let known = Found { record: record.clone(), known: Some("it may be so".into()) };
        let findings = vec![known, Found { record, known: None }];
        let known_not_met = vec!["DIV-PINS (my.toml)".into()];
        let summary = Summary { findings, known_not_met, ..serde_json::from_str(read).unwrap() };
        insta::assert_snapshot!(summary.text(false, "cargo xtask replay --subject mine.o"));
    }
}
