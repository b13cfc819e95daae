//! Requirements of the architecture, played on everything that claims to be an ITS; and such subjects compared with the
//! reference.
//!
//! - [`requirement`], `script`: a requirement is a file of `conformance/`: a sentence, its source, and scenarios with lines
//!   that say what must be seen
//! - `observed`, `play`: a case on a subject, and whether what is seen is what is expected
//! - `reference`, `board`, `qemu`: the subjects
//! - [`matrix`], [`report`]: what each requirement came to on each subject, for people and machines
//! - [`conform`], [`compare`]: the commands
//!
//! Its users are the command line, and programs that hold a subject. It knows every other crate of
//! the harness but the oracles and the subjects. What is expected stands in the files: nothing here decides what an ITS must do.

mod board;
pub mod compare;
pub mod conform;
pub mod matrix;
mod observed;
mod play;
mod program;
mod qemu;
mod reference;
pub mod report;
pub mod requirement;
pub mod script;

pub use program::main;

/// Whether QEMU is there, else how to get it.
///
/// # Errors
/// It is not there, or cannot be used.
pub fn qemu_is_installed() -> Result<(), impl std::error::Error> {
    its_qemu::find().map(drop)
}
