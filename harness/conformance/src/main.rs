//! `conform` and `compare`, as a program of its own: built once for each break that is put into what it checks.

use std::process::ExitCode;

use clap::{Parser, Subcommand};
use its_conformance::{compare, conform};
use its_runner::replay::USAGE;

#[derive(Parser)]
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

fn main() -> ExitCode {
    let result = match Arguments::parse().command {
        Command::Conform(arguments) => conform::run(&arguments),
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
