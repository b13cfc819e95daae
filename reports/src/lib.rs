//! What a person or a CI reads of a run: plain data in, text out.
//!
//! - [`replay`]: what happened in one scenario, line by line
//! - [`finding_file`]: the comments at the head of a stored finding, written and read
//! - [`summary`]: what a run checked and found
//! - [`cause`]: findings by rule and class
//! - [`first_contact`]: what is known of an emulation after minutes
//! - [`known`]: findings that do not count, with reasons
//! - [`triage`]: the artifacts of all runs by signature
//! - [`night`]: a night of fuzzing
//! - [`rules`]: the catalogue of rules, and what breaks each
//! - [`json_line`], [`pretty_json`]: the form of JSON that scripts read
//!
//! Programs and the command line fill these types and print what they return. This crate knows the
//! catalogue of rules alone: it must not know who plays, judges or fuzzes.

pub mod cause;
pub mod finding_file;
pub mod first_contact;
mod json;
pub mod known;
pub mod night;
pub mod proposal;
pub mod replay;
pub mod rules;
pub mod summary;
pub mod triage;

pub use json::{json_line, pretty_json};

/// Quotes a word of a command that a person is to copy into a shell.
pub fn quoted(word: &str) -> String {
    shlex::try_quote(word).map_or_else(|_| word.into(), String::from)
}

/// Returns why a finding is intended, after a comma; nothing where it is not.
fn known_text(known: Option<&String>) -> String {
    known.map_or(String::new(), |reason| format!(", known: {reason}"))
}
