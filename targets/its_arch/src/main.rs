//! `its_arch`: a host that owns its ITSs, with no EL2 between: everything that the architecture
//! says, legal and not.
//!
//! It asks that translations, LPIs, registers and command errors are the reference's after every
//! operation.
#![cfg_attr(engine = "libfuzzer", no_main)]

its_program::program!(its_scenario::FuzzTarget::Arch, its_production::make);
