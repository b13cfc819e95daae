//! Makes the production emulator a subject of the board.
//!
//! Targets and tests are its users. The runner plays on whatever subject it is given and does not
//! know this crate.

use its_board::{BoardLocks, BoardSubject};
use its_emulator::Emulator;
use its_machine::Machine;

/// Makes the production emulator for the ITSs of a machine.
pub fn make(machine: &Machine) -> Box<dyn BoardSubject> {
    Box::new(Emulator::<BoardLocks>::new(machine.its))
}
