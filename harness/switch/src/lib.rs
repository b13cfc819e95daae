//! Says which planted mistake is on, and which mutant: those that the environment variables
//! [`MISTAKE`] and [`MUTANT`] name.
//!
//! `its-mistakes` writes calls of [`active`] and [`mutant`] into copies of sources. Production code
//! does not know this crate.

use std::sync::LazyLock;

/// The environment variable that names the mistake; without it none is on.
pub const MISTAKE: &str = "ITSDIFF_MISTAKE";

/// The environment variable that names the mutant; without it none is on.
pub const MUTANT: &str = "ITSDIFF_MUTANT";

static ACTIVE: LazyLock<u64> = LazyLock::new(|| named(MISTAKE));
static ACTIVE_MUTANT: LazyLock<u64> = LazyLock::new(|| named(MUTANT));

fn named(variable: &str) -> u64 {
    std::env::var(variable).map_or(0, |name| number(&name))
}

/// Returns the [`number`] of the mistake that is on, 0 if none is.
#[inline]
pub fn active() -> u64 {
    *ACTIVE
}

/// Returns the [`number`] of the mutant that is on, 0 if none is.
#[inline]
pub fn mutant() -> u64 {
    *ACTIVE_MUTANT
}

/// Returns the number of a mistake: its name as 64-bit FNV-1a. No name has the number 0 in
/// practice.
pub const fn number(name: &str) -> u64 {
    let mut hash: u64 = 0xcbf2_9ce4_8422_2325;
    let bytes = name.as_bytes();
    let mut index = 0;
    while index < bytes.len() {
        hash = (hash ^ bytes[index] as u64).wrapping_mul(0x0100_0000_01b3);
        index += 1;
    }
    hash
}
