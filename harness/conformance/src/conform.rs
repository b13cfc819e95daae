//! The command `conform`.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use its_qemu::Missing;
use its_reports::known::Known;
use its_runner::Make;
use its_runner::replay::{CLEAN, FINDINGS, print};

use crate::matrix::{Cell, Row, Subject, play};
use crate::qemu::QemuSubject;
use crate::report;
use crate::requirement::Requirement;

/// Arguments of `conform`.
#[derive(clap::Args, Debug)]
pub struct Arguments {
    /// Plays only requirements whose id begins with one of these
    ids: Vec<String>,
    /// Prints a JSON object
    #[arg(long)]
    json: bool,
    /// Writes also a JUnit file
    #[arg(long, value_name = "FILE")]
    junit: Option<PathBuf>,
    /// Leaves QEMU's column out
    #[arg(long)]
    no_qemu: bool,
    /// Counts apart which requirements the emulator fails by this file, and does not fail for them
    /// (docs/findings.md)
    #[arg(long, value_name = "FILE")]
    known: Option<PathBuf>,
    /// Writes the table of docs/conformance.md and plays nothing
    #[arg(long, conflicts_with_all = ["ids", "json", "junit", "no_qemu", "known"])]
    pub documentation: bool,
}

impl Arguments {
    /// Reads the requirements that are meant.
    ///
    /// # Errors
    /// A requirement cannot be read, an id begins none, or the JUnit file has no folder.
    pub fn requirements(&self) -> Result<Vec<Requirement>> {
        let (folder, _) = places();
        let mut requirements = Requirement::all(&folder)?;
        ensure!(!requirements.is_empty(), "there is no requirement in {}", folder.display());
        let begins = |id: &str, prefix: &String| id.starts_with(prefix.as_str());
        for prefix in &self.ids {
            let mut all = requirements.iter();
            let known = all.any(|requirement| begins(&requirement.id, prefix));
            ensure!(known, "no requirement begins with {prefix}; docs/conformance.md lists them");
        }
        if !self.ids.is_empty() {
            let wanted = |id: &str| self.ids.iter().any(|prefix| begins(id, prefix));
            requirements.retain(|requirement| wanted(&requirement.id));
        }
        if let Some(file) = &self.junit {
            let folder = file.parent().filter(|folder| *folder != Path::new(""));
            let there = folder.is_none_or(Path::is_dir);
            ensure!(there, "cannot write {}: its folder does not exist", file.display());
        }
        Ok(requirements)
    }

    /// Reads what the emulator is known to fail.
    ///
    /// # Errors
    /// The file cannot be read, or is not one of known findings.
    pub fn known(&self) -> Result<Known> {
        let mut known = Known::default();
        if let Some(file) = &self.known {
            let text = fs::read_to_string(file)
                .with_context(|| format!("cannot read {}", file.display()))?;
            known.add(&file.display().to_string(), &text, None)?;
        }
        Ok(known)
    }
}

/// What the emulator is known to fail.
fn excuse(row: &mut Row, known: &mut Known) {
    for (subject, cell) in &mut row.cells {
        let (Subject::Emulator, Cell::Fail(why)) = (*subject, &*cell) else {
            continue;
        };
        if let Some(reason) = known.requirement(subject.name(), &row.requirement.id) {
            *cell = Cell::Known(why.clone(), reason);
        }
    }
}

/// The folder of the requirements, and the page that lists them.
fn places() -> (PathBuf, PathBuf) {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let root = std::env::var_os(ROOT).map_or(root, PathBuf::from);
    (root.join("conformance"), root.join("docs/conformance.md"))
}

/// The environment variable that names the checkout, for a program that was built elsewhere.
pub const ROOT: &str = "ITSDIFF_ROOT";

/// Plays the suite and prints the matrix; the exit code.
///
/// # Errors
/// A requirement that cannot be read, an id that there is none of, a QEMU that does not work.
pub fn run(arguments: &Arguments, make: Make) -> Result<u8> {
    let requirements = arguments.requirements()?;
    if arguments.documentation {
        let (_, page) = places();
        fs::write(&page, report::documentation(&requirements))
            .with_context(|| format!("cannot write {}", page.display()))?;
        return Ok(CLEAN);
    }
    let mut known = arguments.known()?;
    let qemu = if arguments.no_qemu { None } else { qemu()? };
    let mut rows = play(requirements, qemu, make);
    rows.iter_mut().for_each(|row| excuse(row, &mut known));
    if arguments.ids.is_empty() {
        known.unused(true).iter().for_each(|entry| eprintln!("known, not met: {entry}"));
    }
    if let Some(file) = &arguments.junit {
        fs::write(file, report::junit(&rows)?)
            .with_context(|| format!("cannot write {}", file.display()))?;
    }
    let shown = if arguments.json { report::json(&rows)? } else { report::text(&rows) };
    print(&format!("{shown}\n"))?;
    let failed = |row: &Row| {
        let mut cells = row.cells.iter();
        cells.any(|(_, cell)| matches!(cell, Cell::Fail(_) | Cell::Broken(_)))
    };
    Ok(if rows.iter().any(failed) { FINDINGS } else { CLEAN })
}

fn qemu() -> Result<Option<QemuSubject>> {
    match its_qemu::find() {
        Ok(installed) => {
            eprintln!("QEMU {}", installed.version);
            Ok(Some(QemuSubject::new(installed)))
        }
        Err(missing @ Missing::NotInstalled) => {
            eprintln!("no column for QEMU: {missing}");
            Ok(None)
        }
        Err(unusable) => Err(unusable.into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_documentation_lists_every_requirement() {
        let (folder, page) = places();
        let requirements = Requirement::all(&folder).unwrap();
        let written = fs::read_to_string(page).unwrap();
        assert!(
            written == report::documentation(&requirements),
            "docs/conformance.md is not what the files say: cargo xtask conform --documentation"
        );
    }
}
