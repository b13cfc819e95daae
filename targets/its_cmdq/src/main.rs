//! `its_cmdq`: batches of commands, CWRITER, CBASER, slow and stalling hardware, tampering.
//!
//! It asks that nothing unjudged reaches the ITS and that the queue never wedges.
#![cfg_attr(engine = "libfuzzer", no_main)]

its_program::program!(its_scenario::FuzzTarget::Cmdq, its_production::make);
