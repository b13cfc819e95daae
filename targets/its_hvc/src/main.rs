//! `its_hvc`: hypercalls in any order over CPUs, phases and ITSs, with good, bad and overlapping arguments.
//!
//! It asks that a set-up is all or nothing, that each errno is exact, and that every page is whose it must be. Built with
//! `--cfg fuzzing` it is a libFuzzer target; without, a program that replays the files that it is given.
#![cfg_attr(fuzzing, no_main)]

#[cfg(fuzzing)]
its_runner::libfuzzer_target!(its_scenario::FuzzTarget::Hvc);

#[cfg(not(fuzzing))]
fn main() -> std::process::ExitCode {
    its_runner::program::main(its_runner::production)
}
