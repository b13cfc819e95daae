//! The command `compare`: scenarios played on QEMU and judged by the reference.

mod campaign;
mod case;
mod files;
mod summary;

use std::path::PathBuf;

use anyhow::{Result, bail, ensure};
use clap::ValueEnum;

/// Who is compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Side {
    /// The reference
    Model,
    /// QEMU's ITS
    Qemu,
}

/// Arguments of `compare`.
#[derive(clap::Args, Debug)]
pub struct Arguments {
    /// Who judges
    one: Side,
    /// Who is judged
    other: Side,
    /// Scenarios of a host that owns its ITS
    files: Vec<PathBuf>,
    /// Draw scenarios instead
    #[arg(long, conflicts_with = "files")]
    fuzz: bool,
    /// Seconds
    #[arg(long, default_value_t = 60, requires = "fuzz")]
    time: u64,
    /// End after so many cases
    #[arg(long, requires = "fuzz", value_parser = clap::value_parser!(u64).range(1..))]
    runs: Option<u64>,
    #[arg(long, default_value_t = 1, requires = "fuzz")]
    seed: u64,
    /// QEMUs side by side; as many as CPUs if not given
    #[arg(long, requires = "fuzz")]
    jobs: Option<usize>,
    /// The summary as a JSON object
    #[arg(long, requires = "fuzz")]
    json: bool,
    /// A look after every action, not only in the middle and at the end of a case
    #[arg(long, requires = "fuzz")]
    careful: bool,
    /// Where cases with a difference are written
    #[arg(long, default_value = "target/compare")]
    findings: PathBuf,
}

/// Compares; the exit code.
///
/// # Errors
/// QEMU is not there or does not start, a file is no scenario that can be compared.
pub fn run(arguments: &Arguments) -> Result<u8> {
    if (arguments.one, arguments.other) != (Side::Model, Side::Qemu) {
        bail!(
            "compare model qemu is what there is; the physical ITS is compared by `cargo xtask fuzz its_arch`"
        );
    }
    ensure!(
        arguments.fuzz || !arguments.files.is_empty(),
        "nothing to compare: name scenarios, or say --fuzz"
    );
    let installed = its_qemu::find()?;
    match arguments.fuzz {
        true => campaign::run(arguments, &installed),
        false => files::run(arguments, &installed),
    }
}
