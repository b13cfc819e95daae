//! Breaks of the harness: a copy of the workspace below `target/breaks/source` with the patches of
//! `corpus/breaks` planted in it.

use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use anyhow::{Result, anyhow};
use its_mistakes::{Mistake, Switch};

use super::copy::Tree;
use super::{Bank, Bug};
use crate::{process, workspace};

/// Writes the copy with every break that a target finds, once in this process, and returns its
/// folder.
pub(crate) fn write() -> Result<PathBuf> {
    static WRITTEN: OnceLock<()> = OnceLock::new();
    let folder = workspace::root().join("target/breaks/source");
    if WRITTEN.get().is_some() {
        return Ok(folder);
    }
    let mut tree = Tree::read()?;
    let breaks = Bug::all(Bank::Breaks)?;
    let planted: Vec<Mistake> =
        breaks.iter().filter(|bug| bug.has_target()).map(Bug::mistake).collect();
    tree.plant(&planted, Switch::Mistake)?;
    tree.write(&folder, "breaks")?;
    let _ = WRITTEN.set(());
    Ok(folder)
}

/// Runs the tests of a package with a break in it and returns what they print, and whether all
/// passed. The break is not planted but applied: it may be in what is evaluated when the tests are
/// compiled.
pub(crate) fn test(bug: &Bug, package: &str) -> Result<(String, bool)> {
    let folder = workspace::root().join("target/breaks").join(&bug.id);
    let mut tree = Tree::read()?;
    its_mistakes::apply(&mut tree.sources, &bug.patch)
        .map_err(|why| anyhow!("the patch of {} does not apply: {why}", bug.id))?;
    tree.write(&folder, &bug.id)?;
    let manifest = folder.join("Cargo.toml");
    let arguments = ["test", "--quiet", "--package", package, "--manifest-path"];
    let command =
        duct::cmd(workspace::cargo(), arguments.iter().map(Path::new).chain([manifest.as_path()]))
            .env("CARGO_TARGET_DIR", workspace::root().join("target"))
            .env("CARGO_PROFILE_TEST_OPT_LEVEL", "0")
            .stderr_to_stdout()
            .stdout_capture();
    let ended = process::run(workspace::cargo(), command)?;
    Ok((ended.stdout, ended.status.success()))
}
