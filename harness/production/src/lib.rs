//! Makes the production emulator a subject of the board.
//!
//! Targets and tests are its users. The runner plays on whatever subject it is given and does not
//! know this crate.

use its_board::{BoardLocks, BoardSubject};
use its_emulator::Emulator;

/// Makes the production emulator for the ITSs whose control frames are at these physical addresses.
pub fn make(its: &'static [u64]) -> Box<dyn BoardSubject> {
    Box::new(Emulator::<BoardLocks>::new(its))
}
