//! `conform` and `compare` as a program that holds one subject answers them.

use std::process::ExitCode;

use clap::{Parser, Subcommand};
use its_runner::Make;
use its_runner::replay::USAGE;

use crate::{compare, conform};

#[derive(Parser)]
#[command(bin_name = "cargo xtask")]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// The conformance matrix
    Conform(conform::Arguments),
    /// Compare QEMU's ITS with the reference
    Compare(compare::Arguments),
}

/// Does what the command line says; the emulator is what `make` makes.
pub fn main(make: Make) -> ExitCode {
    let result = match Arguments::parse().command {
        Command::Conform(arguments) => conform::run(&arguments, make),
        Command::Compare(arguments) => compare::run(&arguments),
    };
    match result {
        Ok(code) => code.into(),
        Err(error) => {
            eprintln!("error: {error:#}");
            USAGE.into()
        }
    }
}
