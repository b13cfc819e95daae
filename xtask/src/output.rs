//! What people and scripts see: lines, JSON, the progress of a run.

use std::io::{Error, IsTerminal, Write};
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};
use its_reports::json_line;
use serde::Serialize;

/// `println!` that does not panic when nobody reads any more.
macro_rules! say {
    ($($arguments:tt)*) => {
        $crate::output::print(&format!($($arguments)*))
    };
}

static FAILURE: OnceLock<Error> = OnceLock::new();

/// How often progress is printed where there is no terminal.
const PLAIN: Duration = Duration::from_secs(10);

/// Prints a line to standard output. A failure does not end the command, since its work may go on;
/// [`failure`] returns it at the end.
pub(crate) fn print(line: &str) {
    let mut out = std::io::stdout().lock();
    let written = out.write_all(line.as_bytes()).and_then(|()| out.write_all(b"\n"));
    if let Err(error) = written.and_then(|()| out.flush()) {
        let _ = FAILURE.set(error);
    }
}

/// Returns why something could not be printed, if so.
pub(crate) fn failure() -> Option<&'static Error> {
    FAILURE.get()
}

/// Prints an object with the version of its form as JSON, on one line.
pub(crate) fn print_json(body: impl Serialize) -> anyhow::Result<()> {
    say!("{}", json_line(body)?);
    Ok(())
}

/// Progress on standard error: a line that is drawn again on a terminal, plain lines elsewhere.
pub(crate) struct Progress {
    bar: Option<ProgressBar>,
    start: Instant,
    last: Instant,
}

impl Progress {
    pub(crate) fn new() -> Self {
        let bar = std::io::stderr().is_terminal().then(|| {
            let style = ProgressStyle::with_template("{spinner} {elapsed_precise} {msg}");
            ProgressBar::new_spinner().with_style(style.expect("the template is right"))
        });
        Self { bar, start: Instant::now(), last: Instant::now() }
    }

    /// Returns the seconds since it started.
    pub(crate) fn seconds(&self) -> f64 {
        self.start.elapsed().as_secs_f64()
    }

    pub(crate) fn show(&mut self, message: String) {
        if let Some(bar) = &self.bar {
            bar.set_message(message);
            bar.tick();
        } else if self.last.elapsed() >= PLAIN {
            self.last = Instant::now();
            eprintln!("{:.0} s: {message}", self.seconds());
        }
    }

    /// Takes the line away.
    pub(crate) fn finish(self) {
        if let Some(bar) = self.bar {
            bar.finish_and_clear();
        }
    }
}
