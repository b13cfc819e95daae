//! A copy of the workspace, in which mistakes are planted.
//!
//! Files that did not change keep their times, so that cargo builds only what it must. Packages are
//! in a folder of a name of their own: cargo distinguishes packages by their path within the
//! workspace, and all share a target folder.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use fs_err as fs;
use its_mistakes::{Mistake, Sources, Switch};

use crate::workspace;

/// What is copied: everything that may be patched, and what depends on it.
const COPIED: [&str; 4] = ["harness/", "oracles", "reports", "targets/its_"];

/// What is not: it has subjects of its own, or makes no program.
const LEFT: [&str; 3] = ["harness/abi", "harness/known-bugs", "harness/mistakes"];

/// Files of the workspace, by their path from the root.
pub(super) struct Tree {
    pub sources: Sources,
}

impl Tree {
    /// Reads the packages that are copied.
    pub(super) fn read() -> Result<Self> {
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

    /// Adds the text files below a folder of the workspace.
    pub(super) fn add(&mut self, folder: &str) -> Result<()> {
        collect(&workspace::root().join(folder), &mut self.sources)
    }

    /// Plants mistakes.
    pub(super) fn plant(&mut self, mistakes: &[Mistake], switch: Switch) -> Result<()> {
        for path in its_mistakes::plant(&mut self.sources, mistakes, switch)? {
            self.add_dependency(&path, "its-switch")?;
        }
        Ok(())
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
    pub(super) fn write(mut self, folder: &Path, name: &str) -> Result<()> {
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

/// Reads the text files below a folder.
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
