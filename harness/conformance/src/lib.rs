//! Requirements of the architecture, played on everything that claims to be an ITS; and such
//! subjects compared with the reference.
//!
//! - [`requirement`], `script`: a requirement is a file of `conformance/`: a sentence, its source,
//!   and scenarios with lines that say what must be seen
//! - `observed`, `play`: a case on a subject, and whether what is seen is what is expected
//! - `reference`, `board`, `qemu`: the subjects
//! - [`matrix`], [`report`]: what each requirement came to on each subject, for people and machines
//! - [`conform`], [`compare`]: the commands
//!
//! Its users are the command line, and programs that hold a subject. It knows every other crate of
//! the harness but the oracles and the subjects. What is expected stands in the files: nothing here
//! decides what an ITS must do.

mod board;
pub mod compare;
pub mod conform;
mod device;
pub mod matrix;
mod observed;
mod play;
mod program;
mod qemu;
mod record;
mod reference;
pub mod report;
pub mod requirement;
pub mod script;

use std::time::Duration;

pub use program::main;

/// Reads a duration of the command line, as `90s`, `2m`, `1h` or plain seconds, and returns
/// seconds.
///
/// # Errors
/// It is no duration, no whole number of seconds, shorter than a second or longer than a year.
pub fn seconds(text: &str) -> Result<u64, String> {
    const YEAR: Duration = Duration::from_secs(365 * 24 * 3600);
    let duration = match text.parse() {
        Ok(seconds) => Duration::from_secs(seconds),
        Err(_) => humantime::parse_duration(text)
            .map_err(|error| format!("{error}; for example 90s, 2m or 1h"))?,
    };
    if duration.subsec_nanos() > 0 || duration.is_zero() || duration > YEAR {
        return Err("it must be a whole number of seconds, from one to a year's".into());
    }
    Ok(duration.as_secs())
}

/// Whether QEMU is there, else how to get it.
///
/// # Errors
/// It is not there, or cannot be used.
pub fn qemu_is_installed() -> Result<(), impl std::error::Error> {
    its_qemu::find().map(drop)
}

#[cfg(test)]
mod tests {
    #[test]
    fn durations_are_read_alike() {
        for (text, seconds) in [("90", 90), ("90s", 90), ("2m", 120), ("1h 1s", 3601)] {
            assert_eq!(super::seconds(text), Ok(seconds));
        }
        for text in ["", "0", "0s", "5 parsecs", "-1", "1500ms", "2y", "18446744073709551615"] {
            assert!(super::seconds(text).is_err(), "{text}");
        }
    }
}
