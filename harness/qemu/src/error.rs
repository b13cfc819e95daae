//! Why a QEMU is of no more use.

use std::io;
use std::time::Duration;

/// What went wrong with a QEMU. It is of no more use then; another can be started.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// It could not be started.
    #[error("QEMU could not be started: {what}")]
    Start {
        what: &'static str,
        #[source]
        source: io::Error,
    },
    /// It ended on its own, or was killed.
    #[error("QEMU died; it said: {said}")]
    Died {
        /// Its standard error output.
        said: String,
    },
    /// It did not answer in time.
    #[error("QEMU did not answer within {} s; it said: {said}", within.as_secs())]
    Hung {
        within: Duration,
        /// Its standard error output.
        said: String,
    },
    /// It answered what the protocol does not have there.
    #[error("QEMU's answer is not understood: {line:?}")]
    Malformed { line: String },
    /// Its memory, which is a file, could not be read or cleared.
    #[error("the memory of QEMU cannot be accessed")]
    Memory(#[source] io::Error),
    /// An earlier error ended it.
    #[error("this QEMU failed before")]
    Spent,
}
