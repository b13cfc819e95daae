//! What a run checked and found.

use its_runner::Counts;
use its_runner::finding::Record;
use serde::Serialize;

/// The summary of one run; as JSON, one object on one line.
#[derive(Serialize)]
pub(crate) struct Summary {
    pub target: &'static str,
    pub engine: &'static str,
    pub subject: String,
    pub seed: u32,
    pub jobs: usize,
    pub seconds: f64,
    pub executions: u64,
    pub operations: u64,
    pub judged: u64,
    pub refused: u64,
    pub stalled: u64,
    /// Commands that the hardware took or stalled on, and how many of them were errors.
    pub fetched: u64,
    pub errors: u64,
    pub poisoned: u64,
    pub skipped: u64,
    /// libFuzzer's edges, of the process that reached most.
    pub coverage: u64,
    pub findings: Vec<Found>,
}

/// A finding of a run.
#[derive(Serialize)]
pub(crate) struct Found {
    #[serde(flatten)]
    pub record: Record,
    /// Why it is intended, if it is.
    pub known: Option<String>,
}

impl Summary {
    /// Whether there are findings that are not intended.
    pub(crate) fn is_clean(&self) -> bool {
        self.findings.iter().all(|found| found.known.is_some())
    }

    /// Takes over what was counted.
    pub(crate) fn count(&mut self, counts: &Counts) {
        // A case in which nothing was judged is not an execution.
        self.executions = counts.cases - counts.skipped;
        self.operations = counts.operations;
        self.judged = counts.judged;
        self.refused = counts.refused;
        self.stalled = counts.stalled;
        self.fetched = counts.fetched;
        self.errors = counts.errors;
        self.poisoned = counts.poisoned;
        self.skipped = counts.skipped;
    }

    /// For people.
    pub(crate) fn print(&self) {
        let per_second = |count: u64| count as f64 / self.seconds.max(0.001);
        let share = |part: u64, whole: u64| 100.0 * part as f64 / whole.max(1) as f64;
        say!(
            "{} on {}: {} in {:.0} s, seed {}, {} processes",
            self.target,
            self.subject,
            self.engine,
            self.seconds,
            self.seed,
            self.jobs
        );
        say!(
            "  cases       {} judged ({:.0}/s); {} poisoned ({:.1} %), {} skipped",
            self.executions,
            per_second(self.executions),
            self.poisoned,
            share(self.poisoned, self.executions),
            self.skipped
        );
        say!(
            "  operations  {} ({:.0}/s)",
            self.operations,
            per_second(self.operations)
        );
        if self.judged > 0 {
            say!(
                "  commands    {} judged by EL2, {} refused ({:.1} %)",
                self.judged,
                self.refused,
                share(self.refused, self.judged)
            );
        }
        say!(
            "  hardware    {} commands taken, {} errors ({:.1} %), {} stalled",
            self.fetched,
            self.errors,
            share(self.errors, self.fetched),
            self.stalled
        );
        say!("  coverage    {} edges", self.coverage);
        say!("  findings    {}", self.findings.len());
        for Found { record, known } in &self.findings {
            let known = known.as_ref();
            let known = known.map_or(String::new(), |reason| format!(", known: {reason}"));
            say!(
                "    {} ({}{known})\n      {}",
                record.signature,
                record.severity,
                record.file
            );
        }
        if let Some(first) = self.findings.first() {
            let bug = match self.subject.as_str() {
                "production" => String::new(),
                bug => format!(" --bug {bug}"),
            };
            say!(
                "\nto see one: cargo xtask replay{bug} {}",
                first.record.file
            );
        }
    }
}
