//! A file that a command is given by name, or standard input.

use std::io::Read;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use fs_err as fs;
use its_scenario::MAX_TEXT_BYTES;
use tempfile::TempDir;

static TAKEN: AtomicBool = AtomicBool::new(false);

/// A file with a scenario. What standard input held is in a temporary file, since other processes
/// play it.
#[derive(Clone)]
pub(crate) struct Input {
    path: std::path::PathBuf,
    _folder: Option<Arc<TempDir>>,
}

impl Input {
    /// Reads a word of the command line: a path, or `-` for standard input.
    ///
    /// # Errors
    /// Standard input cannot be read, or there is no room for what it holds.
    pub(crate) fn parse(word: &str) -> std::io::Result<Self> {
        if word != "-" {
            return Ok(Self { path: word.into(), _folder: None });
        }
        if TAKEN.swap(true, Ordering::Relaxed) {
            return Err(std::io::Error::other("standard input can be read once"));
        }
        // Whoever loads it says that it is too long.
        let mut bytes = Vec::new();
        std::io::stdin().take(MAX_TEXT_BYTES as u64 + 1).read_to_end(&mut bytes)?;
        let folder = tempfile::tempdir()?;
        let path = folder.path().join("standard-input.its");
        fs::write(&path, bytes)?;
        Ok(Self { path, _folder: Some(Arc::new(folder)) })
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }
}
