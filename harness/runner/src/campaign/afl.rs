//! AFL++: it mutates bytes, and forks the process that waits for it.

use its_scenario::FuzzTarget;

use super::{case, start};
use crate::play::Make;

/// Plays what AFL++ sends, until it ends the process.
pub fn run(target: FuzzTarget, make: Make) {
    // Without AFL's hook: a panic of the subject is a finding, not a crash.
    afl::fuzz(false, |bytes: &[u8]| {
        // Not before: the process that AFL forks from must hold no slot and have counted nothing.
        start(target, make);
        case(bytes);
    });
}
