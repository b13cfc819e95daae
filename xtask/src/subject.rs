//! Which emulator is built: the production emulator, or one with a known bug put back.
//!
//! A known bug is a patch to `harness/emulator`. Its subject is a copy of the sources below `target/bugs/<id>` with
//! the patch applied; files that did not change keep their times, so that cargo builds only what it must.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail, ensure};

use crate::bugs::Bug;
use crate::workspace;

/// What of the workspace is copied: all that cargo needs.
const SOURCES: [&str; 6] = [
    "Cargo.toml",
    "Cargo.lock",
    "harness",
    "oracles",
    "targets",
    "xtask",
];

/// Where a subject is built.
pub(crate) struct Subject {
    /// `production`, or the id of a known bug.
    pub name: String,
    /// The workspace that holds it.
    pub source: PathBuf,
    /// The folder of cargo's target directories for it.
    pub builds: PathBuf,
}

impl Subject {
    /// The production emulator, or the known bug of an id.
    pub(crate) fn new(bug: Option<&str>) -> Result<Self> {
        match bug {
            None => Ok(Self {
                name: "production".into(),
                source: workspace::root().to_owned(),
                builds: workspace::root().join("target"),
            }),
            Some(id) => Self::with_bug(&Bug::find(id)?),
        }
    }

    /// The production emulator with a known bug put back.
    pub(crate) fn with_bug(bug: &Bug) -> Result<Self> {
        let builds = workspace::root().join("target").join("bugs");
        let source = builds.join("source").join(&bug.id);
        let mut tree = Tree::read(workspace::root())?;
        tree.apply(&bug.patch)
            .with_context(|| format!("the patch of known bug {} does not apply", bug.id))?;
        tree.write(&source)?;
        Ok(Self {
            name: bug.id.clone(),
            source,
            builds,
        })
    }

    /// Builds the target that replays files and gives its path.
    pub(crate) fn build_replayer(&self, target: &str) -> Result<PathBuf> {
        let folder = self.builds.join("replay");
        let output = duct::cmd!(
            workspace::cargo(),
            "build",
            "--quiet",
            "--locked",
            "--package",
            target,
            "--manifest-path",
            self.source.join("Cargo.toml")
        )
        .env("CARGO_TARGET_DIR", &folder)
        .unchecked()
        .run()?;
        ensure!(
            output.status.success(),
            "cannot build {target} with subject {}",
            self.name
        );
        // The next subject's build replaces the file, so each keeps its own.
        let kept = folder.join("kept").join(&self.name);
        fs::create_dir_all(&kept)?;
        let program = kept.join(target);
        fs::copy(folder.join("debug").join(target), &program)
            .with_context(|| format!("cannot copy {target}"))?;
        Ok(program)
    }
}

/// Source files by their path from the root.
struct Tree(Vec<(PathBuf, Vec<u8>)>);

impl Tree {
    fn read(root: &Path) -> Result<Self> {
        let mut files = Vec::new();
        for source in SOURCES {
            collect(root, &root.join(source), &mut files)
                .with_context(|| format!("cannot read {source}"))?;
        }
        Ok(Self(files))
    }

    fn apply(&mut self, patch: &str) -> Result<()> {
        for part in split_patch(patch) {
            let patch = diffy::Patch::from_str(&part)?;
            let name = patch
                .modified()
                .map(|name| name.trim_start_matches("b/"))
                .context("a part of the patch names no file")?;
            ensure!(
                name.starts_with("harness/emulator/src/"),
                "it touches {name}; a known bug is a patch to harness/emulator/src"
            );
            let file = self.0.iter_mut().find(|(path, _)| path == Path::new(name));
            let Some((_, bytes)) = file else {
                bail!("there is no {name}");
            };
            let text = std::str::from_utf8(bytes)?;
            *bytes = diffy::apply(text, &patch)
                .with_context(|| name.to_owned())?
                .into_bytes();
        }
        Ok(())
    }

    fn write(&self, folder: &Path) -> Result<()> {
        let mut wanted = BTreeSet::new();
        for (path, bytes) in &self.0 {
            let path = folder.join(path);
            if fs::read(&path).ok().as_deref() != Some(bytes) {
                fs::create_dir_all(path.parent().context("a file is in a folder")?)?;
                fs::write(&path, bytes)?;
            }
            wanted.insert(path);
        }
        let mut present = Vec::new();
        collect(folder, folder, &mut present)?;
        for (path, _) in present {
            let path = folder.join(path);
            if !wanted.contains(&path) {
                fs::remove_file(path)?;
            }
        }
        Ok(())
    }
}

/// One piece of a patch for each file that it touches.
fn split_patch(patch: &str) -> Vec<String> {
    let mut parts: Vec<String> = Vec::new();
    for line in patch.lines() {
        if line.starts_with("--- ") {
            parts.push(String::new());
        }
        if line.starts_with("diff ") || line.starts_with("index ") {
            continue;
        }
        if let Some(part) = parts.last_mut() {
            part.push_str(line);
            part.push('\n');
        }
    }
    parts
}

fn collect(root: &Path, path: &Path, files: &mut Vec<(PathBuf, Vec<u8>)>) -> Result<()> {
    if path.is_file() {
        let relative = path.strip_prefix(root)?.to_owned();
        files.push((relative, fs::read(path)?));
        return Ok(());
    }
    let mut entries: Vec<PathBuf> = fs::read_dir(path)?
        .map(|entry| Ok(entry?.path()))
        .collect::<Result<_>>()?;
    entries.sort();
    for entry in entries {
        if entry.file_name() != Some(OsStr::new("target")) {
            collect(root, &entry, files)?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const PATCH: &str = "\
diff --git a/harness/emulator/src/a.rs b/harness/emulator/src/a.rs
index 1..2 100644
--- a/harness/emulator/src/a.rs
+++ b/harness/emulator/src/a.rs
@@ -1,2 +1,2 @@
 one
-two
+three
";

    fn tree(text: &str) -> Tree {
        Tree(vec![("harness/emulator/src/a.rs".into(), text.into())])
    }

    #[test]
    fn a_patch_changes_the_emulator() {
        let mut sources = tree("one\ntwo\n");
        sources.apply(PATCH).unwrap();
        assert_eq!(sources.0[0].1, b"one\nthree\n");
    }

    #[test]
    fn a_patch_that_does_not_apply_is_refused() {
        assert!(tree("something else\n").apply(PATCH).is_err());
        let elsewhere = PATCH.replace("harness/emulator", "harness/board");
        let error = tree("one\ntwo\n").apply(&elsewhere).unwrap_err();
        assert!(error.to_string().contains("harness/board"), "{error}");
    }
}
