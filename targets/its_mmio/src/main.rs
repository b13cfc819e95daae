//! `its_mmio`: accesses of any size and offset to ITSs and redistributors, in every phase.
//!
//! It asks that EL2 never makes an access that hardware calls UNPREDICTABLE, and that halves, reserved offsets and wrong
//! sizes read and write what the policy says. Built with `--cfg fuzzing` it is a libFuzzer target; without, a program
//! that replays the files that it is given.
#![cfg_attr(fuzzing, no_main)]

#[cfg(fuzzing)]
its_runner::libfuzzer_target!(its_scenario::FuzzTarget::Mmio);

#[cfg(not(fuzzing))]
fn main() -> std::process::ExitCode {
    its_runner::program::main(its_runner::production)
}
