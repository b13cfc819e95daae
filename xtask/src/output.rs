//! Standard output, whose failures are remembered.

use std::io::{Error, Write};
use std::sync::OnceLock;

static FAILURE: OnceLock<Error> = OnceLock::new();

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
