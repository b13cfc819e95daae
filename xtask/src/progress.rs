//! Progress of a run: a line that is drawn again on a terminal, plain lines elsewhere.

use std::io::IsTerminal;
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};
use its_runner::Counts;

/// How often a plain line is printed.
const PLAIN: Duration = Duration::from_secs(10);

/// A message that changes.
pub(crate) struct Bar {
    bar: Option<ProgressBar>,
    start: Instant,
    last: Instant,
}

impl Bar {
    /// Starts now.
    pub(crate) fn new() -> Self {
        let bar = std::io::stderr().is_terminal().then(|| {
            let style = ProgressStyle::with_template("{spinner} {elapsed_precise} {msg}");
            ProgressBar::new_spinner().with_style(style.expect("the template is right"))
        });
        Self { bar, start: Instant::now(), last: Instant::now() }
    }

    /// Seconds since it started.
    pub(crate) fn seconds(&self) -> f64 {
        self.start.elapsed().as_secs_f64()
    }

    /// Shows how far it is.
    pub(crate) fn show(&mut self, message: &str) {
        if let Some(bar) = &self.bar {
            bar.set_message(message.to_owned());
            bar.tick();
        } else if self.last.elapsed() >= PLAIN {
            self.last = Instant::now();
            eprintln!("{:.0} s: {message}", self.seconds());
        }
    }

    /// Takes the line away, and gives the seconds that passed.
    pub(crate) fn finish(self) -> f64 {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
        self.seconds()
    }
}

/// Shows the counts of a run so far.
pub(crate) fn show_counts(bar: &mut Bar, counts: &Counts, coverage: Option<u64>, findings: usize) {
    let coverage = coverage.map_or(String::new(), |edges| format!("{edges} edges, "));
    let message = format!(
        "{} cases, {:.0} operations/s, {coverage}{findings} findings",
        counts.cases,
        counts.operations as f64 / bar.seconds().max(0.001),
    );
    bar.show(&message);
}
