//! Every fuzz target on an emulation that is written elsewhere and linked through `its-abi`.
//!
//! `ITSDIFF_TARGET` names the fuzz target where an engine drives it.
#![cfg_attr(engine = "libfuzzer", no_main)]

use its_board::{BoardLocks, BoardSubject};
use its_machine::Machine;

fn make(machine: &Machine) -> Box<dyn BoardSubject> {
    Box::new(its_abi::Foreign::<BoardLocks>::new(machine))
}

its_program::program!(its_program::target(), make);
