//! `its_mmio`: accesses of any size and offset to ITSs and redistributors, in every phase.
//!
//! It asks that EL2 never makes an access that hardware calls UNPREDICTABLE, and that halves,
//! reserved offsets and wrong sizes read and write what the policy says.
#![cfg_attr(engine = "libfuzzer", no_main)]

its_program::program!(its_scenario::FuzzTarget::Mmio, its_production::make);
