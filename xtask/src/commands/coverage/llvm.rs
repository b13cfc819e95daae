//! LLVM's tools: they turn what programs counted into lcov, HTML, and what each part of a function
//! was reached.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use fs_err as fs;
use serde::Deserialize;

use super::CRATES;
use crate::engines::RUSTC;
use crate::{process, workspace};

/// LLVM's tools; those of another version cannot read what rustc writes.
pub(super) struct Tools {
    profdata: PathBuf,
    cov: PathBuf,
}

impl Tools {
    pub(super) fn find() -> Result<Self> {
        let text = RUSTC.run(["-vV"])?;
        let version = text.lines().find_map(|line| line.strip_prefix("LLVM version: "));
        let version = version.and_then(|version| version.split('.').next());
        let version = version.context("rustc -vV names no LLVM")?;
        let find = |variable: &str, name: &str| {
            let usual = || format!("/usr/lib/llvm-{version}/bin/{name}").into();
            let path = std::env::var_os(variable).map_or_else(usual, PathBuf::from);
            ensure!(
                path.exists(),
                "no {name} of LLVM {version}, which is rustc's: apt-get install \
                 --no-install-recommends llvm-{version}, or name it in {variable}"
            );
            Ok(path)
        };
        Ok(Self {
            profdata: find("LLVM_PROFDATA", "llvm-profdata")?,
            cov: find("LLVM_COV", "llvm-cov")?,
        })
    }

    /// Merges what programs counted in a folder and returns the file.
    pub(super) fn merge(&self, folder: &Path) -> Result<PathBuf> {
        let profile = folder.join("profile");
        let raw = workspace::with_extension(folder, "profraw")?;
        ensure!(!raw.is_empty(), "the program counted nothing");
        let options = ["merge", "-sparse", "-o"].map(Path::new);
        let files = std::iter::once(&profile).chain(&raw).map(PathBuf::as_path);
        let command = duct::cmd(&self.profdata, options.into_iter().chain(files));
        process::text(&self.profdata, command)?;
        raw.iter().try_for_each(fs::remove_file)?;
        Ok(profile)
    }

    /// Writes `lcov.info` and `html` into a folder and returns the functions of [`CRATES`].
    pub(super) fn export(
        &self,
        programs: &[PathBuf],
        profile: &Path,
        folder: &Path,
    ) -> Result<Vec<Function>> {
        let run = |first: &[&str]| {
            let mut arguments: Vec<String> = first.iter().map(|&one| one.into()).collect();
            arguments.push(format!("-instr-profile={}", profile.display()));
            for (index, program) in programs.iter().enumerate() {
                if index > 0 {
                    arguments.push("-object".into());
                }
                arguments.push(program.display().to_string());
            }
            arguments.extend(CRATES.map(|one| workspace::root().join(one).display().to_string()));
            // Functions that only differ in a hash of the build are distinct in some programs: a
            // warning, nothing lost.
            process::text(&self.cov, duct::cmd(&self.cov, arguments).stderr_null())
        };
        fs::write(folder.join("lcov.info"), run(&["export", "-format=lcov"])?)?;
        let html = format!("-output-dir={}", folder.join("html").display());
        run(&["show", "-format=html", &html])?;
        let exported: Exported = serde_json::from_str(&run(&["export", "-format=text"])?)?;
        Ok(exported.data.into_iter().flat_map(|data| data.functions).collect())
    }
}

/// What llvm-cov exports, as far as it is read.
#[derive(Deserialize)]
struct Exported {
    data: Vec<Data>,
}

#[derive(Deserialize)]
struct Data {
    functions: Vec<Function>,
}

#[derive(Deserialize)]
pub(super) struct Function {
    pub name: String,
    filenames: Vec<PathBuf>,
    /// Line and column of start and end, times, file, expanded file, kind.
    regions: Vec<[u64; 8]>,
}

/// A region of the kind that is code; the others are expansions, gaps and branches.
const CODE: u64 = 0;

/// Line and column of the start and the end of a region.
pub(super) type Place = [u64; 4];

/// Where a region is, and how often it was reached by any function that has it.
pub(super) type Regions = BTreeMap<Place, u64>;

impl Function {
    /// Returns the file that it is in, from the root.
    pub(super) fn file(&self) -> Option<String> {
        let file = self.filenames.first()?.strip_prefix(workspace::root()).ok()?;
        Some(file.to_str()?.to_owned())
    }

    /// Returns its regions of code in that file, and how often each was reached.
    pub(super) fn code(&self) -> impl Iterator<Item = (Place, u64)> {
        let code = self.regions.iter().filter(|region| region[7] == CODE && region[5] == 0);
        code.map(|&[a, b, c, d, times, ..]| ([a, b, c, d], times))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Tests run in the folder of their package.
    #[test]
    fn files_are_named_from_the_root_wherever_the_command_is_given() {
        let file = workspace::root().join("harness/policy/src/lib.rs");
        let mut function =
            Function { name: String::new(), filenames: vec![file], regions: Vec::new() };
        assert_eq!(function.file().as_deref(), Some("harness/policy/src/lib.rs"));
        function.filenames = vec!["/elsewhere/lib.rs".into()];
        assert_eq!(function.file(), None);
    }
}
