//! Breaks of the harness: a copy of the workspace with the patches of `corpus/breaks` planted in
//! it.
//!
//! The copy is below `target/breaks/source`. Files that did not change keep their times, so that
//! cargo builds only what it must. Packages are in a folder `breaks` there: cargo
//! distinguishes packages by their path within the workspace, and all share a target folder.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use anyhow::{Context, Result, anyhow};
use fs_err as fs;
use its_mistakes::{Mistake, Sources};

use super::{Bank, Bug, FoundBy};
use crate::{process, workspace};

/// What is copied: everything that may be patched, and what depends on it.
const COPIED: [&str; 4] = ["harness/", "oracles", "reports", "targets/its_"];

/// What is not: it has subjects of its own, or makes no program.
const LEFT: [&str; 3] = ["harness/abi", "harness/known-bugs", "harness/mistakes"];

/// Writes the copy with every break that a target finds, once in this process, and returns its
/// folder.
pub(crate) fn write() -> Result<PathBuf> {
    static WRITTEN: OnceLock<()> = OnceLock::new();
    let folder = workspace::root().join("target/breaks/source");
    if WRITTEN.get().is_some() {
        return Ok(folder);
    }
    let mut tree = Tree::read()?;
    let breaks = Bug::all(Bank::Breaks)?.into_iter();
    let mistakes: Vec<Mistake> = breaks
        .filter(|bug| matches!(bug.facts.found_by, FoundBy::Target(_)))
        .map(|bug| Mistake { name: bug.id, patch: bug.patch })
        .collect();
    let planted = its_mistakes::plant(&mut tree.sources, &mistakes)?;
    for path in planted {
        tree.add_dependency(&path, "its-switch")?;
    }
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

/// Files of the workspace, by their path from the root.
struct Tree {
    sources: Sources,
}

impl Tree {
    fn read() -> Result<Self> {
        let manifest = fs::read_to_string(workspace::root().join("Cargo.toml"))?;
        let manifest: toml::Table = manifest.parse().context("Cargo.toml")?;
        let members = manifest["workspace"]["members"].as_array().cloned().unwrap_or_default();
        let mut sources = Sources::new();
        for member in members.iter().filter_map(toml::Value::as_str) {
            if is_copied(member) {
                collect(&workspace::root().join(member), &mut sources)?;
            }
        }
        Ok(Self { sources })
    }

    /// Adds a dependency to the package that a source file is in.
    fn add_dependency(&mut self, source: &str, dependency: &str) -> Result<()> {
        let (package, _) = source.split_once("/src/").context("a source is in src")?;
        let text = self.sources.get_mut(&format!("{package}/Cargo.toml"));
        let text = text.with_context(|| format!("{package} has no Cargo.toml"))?;
        let mut manifest: toml::Table = text.parse()?;
        let all = manifest.entry("dependencies").or_insert(toml::Table::new().into());
        let all = all.as_table_mut().context("dependencies are no table")?;
        all.insert(dependency.into(), toml::toml!(workspace = true).into());
        *text = toml::to_string(&manifest)?;
        Ok(())
    }

    /// Writes all packages below `folder/name`, and a workspace for them into `folder`.
    fn write(mut self, folder: &Path, name: &str) -> Result<()> {
        let moved = self.sources.into_iter().map(|(path, text)| (format!("{name}/{path}"), text));
        self.sources = moved.collect();
        let manifest = fs::read_to_string(workspace::root().join("Cargo.toml"))?;
        self.sources.insert("Cargo.toml".into(), workspace_of(&manifest, name)?);
        // Cargo takes out of it what the copy does not have, and keeps all versions.
        let lock = fs::read_to_string(workspace::root().join("Cargo.lock"))?;
        self.sources.insert("Cargo.lock".into(), lock);
        let mut wanted = BTreeSet::new();
        for (path, text) in &self.sources {
            let path = folder.join(path);
            if fs::read_to_string(&path).ok().as_ref() != Some(text) {
                fs::create_dir_all(workspace::folder_of(&path))?;
                fs::write(&path, text)?;
            }
            wanted.insert(path);
        }
        remove_others(folder, &wanted)
    }
}

fn is_copied(member: &str) -> bool {
    COPIED.iter().any(|copied| member.starts_with(copied)) && !LEFT.contains(&member)
}

/// The workspace's manifest for the copy below `name`.
fn workspace_of(manifest: &str, name: &str) -> Result<String> {
    let mut manifest: toml::Table = manifest.parse().context("Cargo.toml")?;
    let workspace = manifest.get_mut("workspace").and_then(toml::Value::as_table_mut);
    let workspace = workspace.context("Cargo.toml has no workspace")?;
    workspace.remove("exclude");
    let members = workspace.get_mut("members").and_then(toml::Value::as_array_mut);
    let members = members.context("the workspace has no members")?;
    members.retain(|member| member.as_str().is_some_and(is_copied));
    for member in members {
        *member = format!("{name}/{}", member.as_str().unwrap_or_default()).into();
    }
    let dependencies = workspace.get_mut("dependencies").and_then(toml::Value::as_table_mut);
    for (_, dependency) in dependencies.context("the workspace has no dependencies")? {
        if let Some(toml::Value::String(path)) = dependency.get_mut("path") {
            *path = format!("{name}/{path}");
        }
    }
    // What is broken on purpose needs no warnings.
    let quiet: toml::Table = "rust.warnings = 'allow'\nclippy.all = 'allow'".parse()?;
    workspace.insert("lints".into(), quiet.into());
    Ok(toml::to_string(&manifest)?)
}

/// Removes what an earlier copy left.
fn remove_others(folder: &Path, wanted: &BTreeSet<PathBuf>) -> Result<()> {
    for path in workspace::entries(folder)? {
        if path.is_dir() {
            remove_others(&path, wanted)?;
        } else if !wanted.contains(&path) {
            fs::remove_file(path)?;
        }
    }
    Ok(())
}

/// Reads the text files below a package.
fn collect(folder: &Path, sources: &mut Sources) -> Result<()> {
    for path in workspace::entries(folder)? {
        if path.is_file() {
            let name = path.strip_prefix(workspace::root())?.to_str();
            let name = name.with_context(|| format!("the path is no text: {}", path.display()))?;
            sources.insert(name.into(), fs::read_to_string(&path)?);
        } else if workspace::name(&path) != "target" {
            collect(&path, sources)?;
        }
    }
    Ok(())
}
