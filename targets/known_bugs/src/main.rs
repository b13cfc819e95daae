//! Every fuzz target on the production emulator with one of its known bugs put back.
//!
//! `ITSDIFF_MISTAKE` names the known bug, `ITSDIFF_TARGET` the fuzz target where an engine drives
//! it.
#![cfg_attr(engine = "libfuzzer", no_main)]

use its_board::{BoardLocks, BoardSubject};
use its_known_bugs::{Emulator, MISTAKES};
use its_machine::Machine;

fn make(machine: &Machine) -> Box<dyn BoardSubject> {
    let name = std::env::var(its_switch::MISTAKE).unwrap_or_default();
    if !MISTAKES.contains(&name.as_str()) {
        eprintln!("error: {} names no known bug: `{name}`", its_switch::MISTAKE);
        std::process::exit(2);
    }
    Box::new(Emulator::<BoardLocks>::new(machine.its))
}

its_program::program!(its_program::target(), make);
