//! `its_race`: two CPUs at once in the emulator, the world going on, and a host that writes shared memory between any two
//! accesses of EL2.
//!
//! It asks the same as the sequential targets, in every interleaving: no deadlock, no half-published state. Built with
//! `--cfg fuzzing` it is a libFuzzer target; without, a program that replays the files that it is given.
#![cfg_attr(fuzzing, no_main)]

#[cfg(fuzzing)]
its_runner::libfuzzer_target!(its_scenario::FuzzTarget::Race);

#[cfg(not(fuzzing))]
fn main() -> std::process::ExitCode {
    its_runner::program::main(its_runner::production)
}
