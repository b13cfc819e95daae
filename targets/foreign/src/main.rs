//! Every fuzz target on an emulation that is written elsewhere and linked through `its-abi`.
//!
//! `ITSDIFF_TARGET` names the fuzz target where an engine drives it.
#![cfg_attr(engine = "libfuzzer", no_main)]

use its_board::{BoardLocks, BoardSubject};

fn make(its: &'static [u64]) -> Box<dyn BoardSubject> {
    let redistributors = its_machine::CPUS.into();
    Box::new(its_abi::Foreign::<BoardLocks>::new(its, redistributors))
}

its_program::program!(its_program::target(), make);
