//! The command `compare`: scenarios played on QEMU and judged by the reference.

mod campaign;
mod case;
mod files;
mod summary;

use std::num::NonZeroUsize;
use std::path::PathBuf;

use anyhow::{Result, ensure};
use its_qemu::Installed;

/// Who judges, and who is judged by that here.
const SIDES: [&str; 2] = ["model", "qemu"];

/// Arguments of `compare`.
#[derive(clap::Args, Debug)]
pub struct Arguments {
    /// `model`, or a subject: `production`, the id of a known bug, an object file or archive,
    /// `example:NAME`
    pub one: String,
    /// `qemu`, or another subject
    pub other: String,
    /// Plays these scenarios; QEMU takes those of a host that owns its ITS
    pub files: Vec<PathBuf>,
    /// Draws scenarios instead
    #[arg(long, conflicts_with = "files")]
    pub fuzz: bool,
    /// Ends after this time: `90s`, `2m`, `1h`, or plain seconds
    #[arg(long, value_name = "TIME", default_value = "60s", requires = "fuzz")]
    #[arg(value_parser = crate::seconds)]
    pub time: u64,
    /// Ends after so many cases
    #[arg(long, requires = "fuzz", value_parser = clap::value_parser!(u64).range(1..))]
    pub runs: Option<u64>,
    /// Seeds what is drawn
    #[arg(long, default_value_t = 1, requires = "fuzz")]
    pub seed: u64,
    /// Runs so many QEMUs side by side; the default is one for each CPU
    #[arg(long, requires = "fuzz")]
    pub jobs: Option<NonZeroUsize>,
    /// Prints the summary as a JSON object
    #[arg(long, requires = "fuzz")]
    pub json: bool,
    /// Looks at QEMU after every action, not only in the middle and at the end of a case
    #[arg(long, requires = "fuzz")]
    pub careful: bool,
    /// Writes cases with a difference to this folder
    #[arg(long, default_value = "target/compare", requires = "fuzz")]
    pub findings: PathBuf,
}

impl Arguments {
    /// Whether one side is none that a subject can be.
    pub fn names_no_subject(&self) -> bool {
        [&self.one, &self.other].iter().any(|side| SIDES.contains(&side.as_str()))
    }

    /// Checks what a comparison with QEMU needs.
    ///
    /// # Errors
    /// It is another comparison, there is nothing to compare, a file is no scenario that QEMU can
    /// play, or QEMU is not installed.
    pub fn demand_qemu(&self) -> Result<Installed> {
        ensure!(
            [&*self.one, &*self.other] == SIDES,
            "QEMU is compared with the model: `compare model qemu`; to judge another subject by the \
             model, use `cargo xtask fuzz`"
        );
        self.demand_scenarios()?;
        for file in &self.files {
            files::playable(file)?;
        }
        Ok(its_qemu::find()?)
    }

    /// # Errors
    /// There is nothing to compare.
    pub fn demand_scenarios(&self) -> Result<()> {
        ensure!(
            self.fuzz || !self.files.is_empty(),
            "nothing to compare: name scenarios, or say --fuzz"
        );
        Ok(())
    }
}

/// Compares; the exit code.
///
/// # Errors
/// QEMU is not there or does not start, a file is no scenario that can be compared.
pub fn run(arguments: &Arguments) -> Result<u8> {
    let installed = arguments.demand_qemu()?;
    if arguments.fuzz {
        campaign::run(arguments, &installed)
    } else {
        files::run(arguments, &installed)
    }
}
