//! `cargo xtask`: the command line of itsdiff.
//!
//! - `commands`: one file or folder a command
//! - `engines`: fuzzing engines, and the folders of their runs
//! - `subjects`: which emulation a program plays on, and how such a program is built and asked
//! - `findings`: stored findings, and which of them are intended
//! - `target`: which fuzz targets there are
//! - `exit`: codes; `stop`: signals and budgets; `process`: children; `workspace`: where things are
//! - `input`, `output`, `progress`: files of the command line, standard output, what people see

/// `println!` that does not panic when nobody reads any more.
macro_rules! say {
    ($($arguments:tt)*) => {
        $crate::output::print(&format!($($arguments)*))
    };
}

mod commands;
#[cfg(test)]
mod documentation;
mod engines;
mod exit;
mod findings;
mod input;
mod output;
mod process;
mod progress;
mod stop;
mod subjects;
mod target;
mod workspace;

use std::process::ExitCode;

use clap::Parser;

use commands::Arguments;

fn main() -> ExitCode {
    let arguments = match Arguments::try_parse() {
        Ok(arguments) => arguments,
        Err(error) => error.exit(),
    };
    let result = stop::listen().and_then(|()| commands::run(arguments.command));
    exit::code(result)
}
