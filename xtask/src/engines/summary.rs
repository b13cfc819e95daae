//! What a run checked and found.

use its_rules::{Evidence, StoredFinding, judged_by};
use its_runner::{Counts, replay};
use serde::{Deserialize, Serialize};

use super::{Engine, Plan, Run};
use crate::subjects::{self, External};
use crate::workspace;

/// The summary of one run; as JSON, one object on one line.
#[derive(Clone, Serialize, Deserialize)]
pub(crate) struct Summary {
    pub target: String,
    pub engine: Engine,
    pub subject: String,
    pub seed: u32,
    pub jobs: usize,
    /// What was asked for; 0 for no limit.
    #[serde(default)]
    pub asked_cases: u64,
    #[serde(default)]
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
    #[serde(default)]
    pub guided: bool,
    /// Rules that are not judged, or only in part, since the subject's loads and stores are not
    /// seen.
    #[serde(default)]
    pub not_observed: Vec<String>,
    #[serde(default)]
    pub partly_observed: Vec<String>,
    /// Somebody stopped it.
    pub interrupted: bool,
    /// It could not go on, or a process of it ended badly.
    #[serde(default)]
    pub failed: bool,
    pub findings: Vec<Found>,
}

/// A finding of a run.
#[derive(Clone, Serialize, Deserialize)]
pub(crate) struct Found {
    #[serde(flatten)]
    pub record: StoredFinding,
    /// Why it is intended, if it is.
    pub known: Option<String>,
}

impl Summary {
    /// Returns whether all findings are intended.
    pub(crate) fn is_clean(&self) -> bool {
        self.findings.iter().all(|found| found.known.is_some())
    }

    /// Sums up a run that has ended, without its findings.
    pub(crate) fn new(run: &Run, plan: &Plan, seconds: f64, interrupted: bool) -> Self {
        let counts = run.counts();
        let subject = plan.program.subject.clone();
        let facts = External::facts(&subject);
        let unseen = |evidence| match facts {
            Some(facts) if !facts.observed => judged_by(evidence).map(String::from).collect(),
            _ => Vec::new(),
        };
        Self {
            guided: run.coverage().is_some() && facts.is_none_or(|facts| facts.guide(run.engine)),
            not_observed: unseen(Evidence::Accesses),
            partly_observed: unseen(Evidence::Partly),
            target: plan.target.name.into(),
            engine: run.engine,
            subject,
            seed: plan.seed,
            jobs: plan.jobs,
            asked_cases: plan.runs,
            asked_seconds: plan.time,
            seconds,
            executions: counts.cases - counts.skipped,
            counts,
            coverage: run.coverage(),
            interrupted,
            failed: false,
            findings: Vec::new(),
        }
    }

    /// Returns what was asked for, and why it is not what was done.
    pub(crate) fn asked(&self) -> String {
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

    pub(crate) fn cases_per_second(&self) -> f64 {
        self.executions as f64 / self.seconds.max(0.001)
    }

    /// Returns which share of the cases was poisoned, in percent.
    pub(crate) fn percent_poisoned(&self) -> f64 {
        percent(self.counts.poisoned, self.executions)
    }

    /// Prints it for people.
    pub(crate) fn print(&self) {
        let Self { target, subject, jobs, seconds, executions, .. } = self;
        let Counts { operations, judged, refused, stalled, fetched, errors, poisoned, .. } =
            self.counts;
        let engine = self.engine;
        let seed = match self.engine.takes_seed() {
            true => format!("seed {}", self.seed),
            false => "takes no seed".into(),
        };
        let interrupted = if self.interrupted { ", interrupted" } else { "" };
        say!("{target} on {subject}: {engine} in {seconds:.0} s, {seed}, jobs {jobs}{interrupted}");
        let (speed, share) = (self.cases_per_second(), self.percent_poisoned());
        say!(
            "  cases       {executions} judged ({speed:.0}/s); {poisoned} poisoned ({share:.1} %)"
        );
        say!("  asked       {}", self.asked());
        let speed = operations as f64 / seconds.max(0.001);
        say!("  operations  {operations} ({speed:.0}/s)");
        if judged > 0 {
            let share = percent(refused, judged);
            say!("  commands    {judged} judged by EL2, {refused} refused ({share:.1} %)");
        }
        let share = percent(errors, fetched);
        say!(
            "  hardware    {fetched} commands taken, {errors} errors ({share:.1} %), \
             {stalled} stalled"
        );
        match self.coverage {
            Some(edges) if self.guided => say!("  coverage    {edges} edges"),
            Some(edges) => say!(
                "  coverage    {edges} edges, none of them the subject's: it was not compiled for \
                 {engine} (harness/abi/README.md)"
            ),
            None => say!("  coverage    not counted: the engine is not guided"),
        }
        if !self.not_observed.is_empty() {
            say!("  {}", replay::not_observed().replace('\n', "\n  "));
        }
        self.print_findings();
    }

    fn print_findings(&self) {
        say!("  findings    {}", self.findings.len());
        for Found { record, known } in &self.findings {
            let known = known.as_ref().map_or(String::new(), |reason| format!(", known: {reason}"));
            let StoredFinding { finding, file } = record;
            let severity = finding.rule.severity.name();
            say!("    {} ({severity}{known})\n      {file}", finding.signature);
        }
        if let Some(first) = self.findings.first() {
            let option = subjects::option(&self.subject);
            let file = workspace::quoted(&first.record.file);
            say!("\nto see one: cargo xtask replay{option} {file}");
        }
    }
}

fn percent(part: u64, whole: u64) -> f64 {
    100.0 * part as f64 / whole.max(1) as f64
}
