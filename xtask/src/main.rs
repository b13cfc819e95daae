//! `cargo xtask`: the command line of itsdiff.
//!
//! - `commands`: a file or folder for each command
//! - `engines`: fuzzing engines, and the folders of their runs
//! - `subjects`: which emulation a program plays on; how such a program is built and asked
//! - `findings`: stored findings, and which of them are intended
//! - `stored`: the scenarios that fuzzing starts from
//! - `target`: which fuzz targets there are, and where their scenarios lie
//! - `exit`: exit codes; `process`: children; `stop`: signals and budgets; `workspace`: the
//!   checkout; `input`: files of the command line; `output`: what people and scripts see

#[macro_use]
mod exit;
#[macro_use]
mod output;

mod commands;
#[cfg(test)]
mod documentation;
mod engines;
mod findings;
mod input;
mod process;
mod stop;
mod stored;
mod subjects;
mod target;
mod workspace;

use std::process::ExitCode;

use clap::Parser;

fn main() -> ExitCode {
    let arguments = commands::Arguments::parse();
    exit::code(stop::listen().and_then(|()| commands::run(arguments.command)))
}
