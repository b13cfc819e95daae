//! `upgrade`: rewrites stored scenarios that an earlier version wrote.

use std::path::{Path, PathBuf};

use anyhow::{Result, ensure};
use fs_err as fs;
use its_scenario::upgrade;

use crate::exit::Exit;
use crate::target;
use crate::workspace::{entries, root, shown, write_whole};

#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// Files, and folders with all scenarios in them; all that is stored here if there are none
    paths: Vec<PathBuf>,
}

pub(crate) fn run(arguments: &Arguments) -> Result<Exit> {
    let mut paths = arguments.paths.clone();
    if paths.is_empty() {
        paths.push(root().join("corpus"));
        let artifacts = target::ALL.iter().map(|target| target.artifacts());
        paths.extend(artifacts.filter(|path| path.exists()));
    }
    let mut done = Done::default();
    for path in &paths {
        done.visit(path);
    }
    let Done { upgraded, seen, failed } = done;
    say!("{upgraded} of {seen} files were of an earlier version and are upgraded");
    ensure!(failed == 0, "{failed} files could not be upgraded: see above");
    Ok(Exit::Clean)
}

#[derive(Default)]
struct Done {
    upgraded: usize,
    seen: usize,
    failed: usize,
}

impl Done {
    /// Goes through a folder, but not where its symbolic links lead. One file that fails does not
    /// keep the others from being upgraded.
    fn visit(&mut self, path: &Path) {
        let result = if path.is_dir() { self.visit_folder(path) } else { self.visit_file(path) };
        if let Err(error) = result {
            self.failed += 1;
            eprintln!("error: {}: {error:#}", shown(path));
        }
    }

    fn visit_folder(&mut self, path: &Path) -> Result<()> {
        let within = entries(path)?.into_iter().filter(|path| !path.is_symlink());
        within.filter(|path| path.is_dir() || path.is_file()).for_each(|path| self.visit(&path));
        Ok(())
    }

    fn visit_file(&mut self, path: &Path) -> Result<()> {
        ensure!(fs::metadata(path)?.is_file(), "no file that holds a scenario");
        self.seen += 1;
        if let Some(upgraded) = upgrade(&fs::read(path)?)? {
            // An interruption leaves the old file or the new one.
            write_whole(&fs::canonicalize(path)?, &upgraded)?;
            self.upgraded += 1;
        }
        Ok(())
    }
}
