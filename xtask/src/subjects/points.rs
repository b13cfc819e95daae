//! Points of policy that an emulation may declare, each with a scenario in which it matters:
//! `harness/abi/examples/points`.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use super::DeclarationFile;
use crate::workspace;

/// A point with another value than POLICY.md's, and a scenario in which that matters.
pub(crate) struct Point {
    pub file: PathBuf,
    /// `section.key = value`.
    pub text: String,
    /// A point of the same section without which it means nothing: the two subjects that are
    /// compared both have it.
    pub with: Option<String>,
    /// POLICY.md's value is one that the declaration allows too.
    pub allows_policy: bool,
    /// What is expected of who declares it and does otherwise: a text that a finding expects, or
    /// the rule.
    pub otherwise: String,
}

impl Point {
    /// Returns all of them, in the order of their files.
    ///
    /// # Errors
    /// A file cannot be read, or names no point.
    pub(crate) fn all() -> Result<Vec<Self>> {
        let folder = workspace::root().join("harness/abi/examples/points");
        let files = workspace::scenarios(&folder)?;
        let read = |file: &PathBuf| Self::read(file).with_context(|| workspace::shown(file));
        files.iter().map(read).collect()
    }

    /// Reads a scenario whose first comment is a point; `(or POLICY.md's)` may follow it.
    fn read(file: &Path) -> Result<Self> {
        let text = workspace::read(file)?;
        let comment = text.lines().find_map(|line| line.strip_prefix("# "));
        let comment = comment.context("its first comment names no point")?;
        let plain = comment.strip_suffix(" (or POLICY.md's)");
        let name = plain.unwrap_or(comment).to_owned();
        let (key, _) = name.split_once(" = ").context("its point has no value")?;
        let rule = text.lines().find_map(|line| line.strip_prefix("# otherwise "));
        let otherwise = rule.unwrap_or(key).to_owned();
        let with = text.lines().find_map(|line| line.strip_prefix("# with ")).map(str::to_owned);
        let (file, allows_policy) = (file.into(), plain.is_some());
        Ok(Self { file, text: name, with, allows_policy, otherwise })
    }

    /// Returns its section, and the line there.
    pub(crate) fn line(&self) -> (&str, &str) {
        self.text.split_once('.').unwrap_or_default()
    }

    /// Returns the point that both subjects have, alone.
    pub(crate) fn common(&self) -> Option<Self> {
        let text = self.with.clone()?;
        let (file, otherwise) = (self.file.with_extension("common.its"), String::new());
        Some(Self { file, text, with: None, allows_policy: false, otherwise })
    }

    /// Writes a file that declares it, and what another file does, into a folder.
    ///
    /// # Errors
    /// A file cannot be read or written.
    pub(crate) fn declare(
        &self,
        over: Option<&DeclarationFile>,
        folder: &Path,
    ) -> Result<DeclarationFile> {
        let (section, line) = self.line();
        let mut declared = match over {
            Some(file) => toml::from_str(&workspace::read(&file.path)?)?,
            None => toml::Table::new(),
        };
        declared.insert("version".into(), 1.into());
        let empty = || toml::Value::Table(toml::Table::new());
        let values = declared.entry(section).or_insert_with(empty).as_table_mut();
        let values = values.context("a section is a table")?;
        let common = self.common();
        for line in [line].into_iter().chain(common.as_ref().map(|common| common.line().1)) {
            values.extend(toml::from_str::<toml::Table>(line)?);
        }
        fs_err::create_dir_all(folder)?;
        let path = folder.join(workspace::name(&self.file.with_extension("toml")));
        workspace::write_whole(&path, toml::to_string(&declared)?)?;
        DeclarationFile::read(&path)
    }
}
