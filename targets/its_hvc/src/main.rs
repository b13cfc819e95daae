//! `its_hvc`: hypercalls in any order over CPUs, phases and ITSs, with good, bad and overlapping
//! arguments.
//!
//! It asks that a set-up is all or nothing, that each errno is exact, and that every page is whose
//! it must be.
#![cfg_attr(engine = "libfuzzer", no_main)]

its_program::program!(its_scenario::FuzzTarget::Hvc, its_production::make);
