//! `its_tables`: tables of two levels that grow, change, alias and straddle, with suspend, resume and loss of power.
//!
//! It asks that every pointer that an ITS follows is sound at every moment. Built with `--cfg fuzzing` it is a libFuzzer
//! target; without, a program that replays the files that it is given.
#![cfg_attr(fuzzing, no_main)]

#[cfg(fuzzing)]
its_runner::libfuzzer_target!(its_scenario::FuzzTarget::Tables);

#[cfg(not(fuzzing))]
fn main() -> std::process::ExitCode {
    its_runner::program::main(its_runner::production)
}
