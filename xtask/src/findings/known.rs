//! What a command is told not to count: `--known`, and what the project knows of its own emulator.

use std::path::PathBuf;

use anyhow::{Result, ensure};
use its_reports::known::Known;

use crate::subjects::{PRODUCTION, Program};
use crate::workspace;

/// The production emulator's.
const COMMITTED: &str = "harness/known-divergences.toml";

/// A file of known findings, as a command takes it.
#[derive(clap::Args, Clone, Default)]
pub(crate) struct KnownFile {
    /// Counts apart what this file lists, and does not fail for it (docs/findings.md)
    #[arg(long, value_name = "FILE")]
    pub known: Option<PathBuf>,
}

impl KnownFile {
    /// Reads what is known; an error if a file is malformed.
    pub(crate) fn read(&self) -> Result<Known> {
        let mut known = Known::default();
        let committed = workspace::read(&workspace::root().join(COMMITTED))?;
        known.add(COMMITTED, &committed, Some(PRODUCTION))?;
        if let Some(file) = &self.known {
            known.add(&file.display().to_string(), &workspace::read(file)?, None)?;
        }
        Ok(known)
    }
}

/// Checks that each scenario that a committed entry names still shows what it is named for, and
/// returns how many there are.
pub(crate) fn check_committed(program: &Program) -> Result<usize> {
    let mut known = Known::default();
    known.add(COMMITTED, &workspace::read(&workspace::root().join(COMMITTED))?, None)?;
    let files: Vec<PathBuf> =
        known.scenarios().map(|scenario| workspace::root().join(scenario)).collect();
    let judged = if files.is_empty() { Vec::new() } else { program.judge(&files, None)? };
    judged.iter().flat_map(|judged| judged.findings()).for_each(|finding| {
        known.finding(PRODUCTION, finding);
    });
    let unused = known.unused(false);
    ensure!(unused.is_empty(), "no longer shown, take the entries out: {}", unused.join(", "));
    Ok(judged.len())
}
