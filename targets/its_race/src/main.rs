//! `its_race`: two CPUs at once in the emulator, the world going on, and a host that writes shared
//! memory between any two accesses of EL2.
//!
//! It asks the same as the sequential targets, in every interleaving: no deadlock, no
//! half-published state.
#![cfg_attr(engine = "libfuzzer", no_main)]

its_program::program!(its_scenario::FuzzTarget::Race, its_production::make);
