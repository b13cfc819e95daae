//! `its_tables`: tables of two levels that grow, change, alias and straddle, with suspend, resume
//! and loss of power.
//!
//! It asks that every pointer that an ITS follows is sound at every moment.
#![cfg_attr(engine = "libfuzzer", no_main)]

its_program::program!(its_scenario::FuzzTarget::Tables, its_production::make);
