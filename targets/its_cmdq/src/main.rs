//! `its_cmdq`: batches of commands, CWRITER, CBASER, slow and stalling hardware, tampering.
//!
//! It asks that nothing unjudged reaches the ITS and that the queue never wedges. Built with `--cfg fuzzing` it is a
//! libFuzzer target; without, a program that replays the files that it is given.
#![cfg_attr(fuzzing, no_main)]

#[cfg(fuzzing)]
its_runner::libfuzzer_target!(its_scenario::FuzzTarget::Cmdq);

#[cfg(not(fuzzing))]
fn main() -> std::process::ExitCode {
    its_runner::program::main(its_runner::production)
}
