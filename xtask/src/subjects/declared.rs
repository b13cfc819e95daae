//! The file `subject.toml` of an external emulation, beside its object.

use std::path::{Path, PathBuf};

use anyhow::Result;
use its_declaration::File;
use its_reports::summary::DeclarationSummary;

use crate::workspace;

/// The name of the file.
const NAME: &str = "subject.toml";

/// What an emulation declares, and where.
#[derive(Clone)]
pub(crate) struct DeclarationFile {
    pub path: PathBuf,
    file: File,
}

impl DeclarationFile {
    /// Reads the file in a folder; `None` if there is none.
    ///
    /// # Errors
    /// It cannot be read, or is malformed.
    pub(crate) fn beside(folder: &Path) -> Result<Option<Self>> {
        let path = folder.join(NAME);
        // A link that leads nowhere is an error, and not no file.
        let is_there = path.symlink_metadata().is_ok();
        if is_there { Self::read(&path).map(Some) } else { Ok(None) }
    }

    /// Reads a file.
    ///
    /// # Errors
    /// It cannot be read, or is malformed.
    pub(crate) fn read(path: &Path) -> Result<Self> {
        let file = File::read(&workspace::shown(path), &workspace::read(path)?)?;
        Ok(Self { path: path.canonicalize()?, file })
    }

    /// Puts the file of one folder into another, or removes that where there is none.
    ///
    /// # Errors
    /// It cannot be written.
    pub(crate) fn copy(from: &Path, to: &Path) -> Result<()> {
        let (from, to) = (from.join(NAME), to.join(NAME));
        if from.exists() {
            fs_err::copy(from, to)?;
        } else if to.exists() {
            fs_err::remove_file(to)?;
        }
        Ok(())
    }

    /// Returns what a summary says of it.
    pub(crate) fn summary(&self) -> DeclarationSummary {
        let reason = |one: &its_declaration::NotJudged| (one.rule.clone(), one.reason.clone());
        DeclarationSummary {
            file: workspace::shown(&self.path),
            otherwise: self.file.declared(),
            unprotected: self.file.unprotected().into_iter().map(String::from).collect(),
            not_judged: self.file.not_judged.iter().map(reason).collect(),
        }
    }
}
