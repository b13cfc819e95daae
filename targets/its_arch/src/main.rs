//! `its_arch`: a host that owns its ITSs, with no EL2 between: everything that the architecture says, legal and not.
//!
//! It asks that translations, LPIs, registers and command errors are the reference's after every operation. Built with `--cfg fuzzing` it is a
//! libFuzzer target; without, a program that replays the files that it is given.
#![cfg_attr(fuzzing, no_main)]

#[cfg(fuzzing)]
its_runner::libfuzzer_target!(its_scenario::FuzzTarget::Arch);

#[cfg(not(fuzzing))]
fn main() -> std::process::ExitCode {
    its_runner::program::main(its_runner::production)
}
