//! honggfuzz: it mutates bytes, and starts the process again when it ends.

use its_scenario::FuzzTarget;

use super::{case, start};
use crate::play::Make;

/// Plays what honggfuzz sends, until it ends the process.
pub fn run(target: FuzzTarget, make: Make) {
    loop {
        honggfuzz::fuzz(|bytes: &[u8]| {
            // Not before: honggfuzz's crate sets a hook that takes every panic for a crash, and
            // ours must be the later.
            start(target, make);
            case(bytes);
        });
    }
}
