//! `upgrade`: rewrites stored scenarios that an earlier version wrote.

use std::path::{Path, PathBuf};

use anyhow::Result;
use fs_err as fs;
use its_scenario::upgrade;

use crate::exit::Exit;
use crate::target;
use crate::workspace::{entries, root, write_whole};

#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// Files, and folders with all that is in them; all that is stored here if there are none
    paths: Vec<PathBuf>,
}

pub(crate) fn run(arguments: &Arguments) -> Result<Exit> {
    let mut paths = arguments.paths.clone();
    if paths.is_empty() {
        paths.push(root().join("corpus"));
        paths.extend(target::ALL.iter().map(|target| target.artifacts()));
    }
    let mut counts = (0, 0);
    for path in &paths {
        visit(path, &mut counts)?;
    }
    let (upgraded, seen) = counts;
    say!("{upgraded} of {seen} files were of an earlier version and are upgraded");
    Ok(Exit::Clean)
}

fn visit(path: &Path, counts: &mut (usize, usize)) -> Result<()> {
    if path.is_dir() {
        return entries(path)?.iter().try_for_each(|path| visit(path, counts));
    }
    counts.1 += 1;
    if let Some(upgraded) = upgrade(&fs::read(path)?) {
        // Whoever is interrupted has the old file or the new one.
        write_whole(path, &upgraded)?;
        counts.0 += 1;
    }
    Ok(())
}
