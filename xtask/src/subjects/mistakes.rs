//! Known bugs of the emulator (`corpus/bugs/<id>/`) and breaks of the harness
//! (`corpus/breaks/<id>/`): each folder holds `bug.patch`, `bug.toml`, and `witness.its` if a
//! target finds it.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail, ensure};
use its_mistakes::Mistake;
use its_rules::{Layers, catalogue as rules};
use serde::Deserialize;

use crate::target::Target;
use crate::workspace;

const SEVERITIES: [&str; 3] = ["vulnerability", "hardening", "conformance"];

/// What `bug.toml` says.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Facts {
    pub title: String,
    /// What kind of mistake it is, in a word or two.
    pub class: String,
    /// Where it comes from.
    pub origin: String,
    /// One of [`SEVERITIES`].
    pub severity: String,
    /// Ids of the rules that may report it; one that was split speaks for what was split from it
    /// too.
    #[serde(default)]
    pub rules: Vec<String>,
    pub found_by: FoundBy,
    /// Requirements that fail with it, in the column of what it is put into.
    #[serde(default)]
    pub requirements: Vec<String>,
}

/// What finds a mistake.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum FoundBy {
    Target(String),
    Tests(String),
}

/// Where a mistake is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Bank {
    /// Mistakes of the production emulator that somebody made or could have made.
    Bugs,
    /// Mistakes planted in the harness itself, to prove that it would notice them.
    Breaks,
}

impl Bank {
    fn folder(self) -> PathBuf {
        let name = match self {
            Self::Bugs => "bugs",
            Self::Breaks => "breaks",
        };
        workspace::root().join("corpus").join(name)
    }
}

/// A known bug or a break.
#[derive(Debug)]
pub(crate) struct Bug {
    pub id: String,
    pub bank: Bank,
    pub facts: Facts,
    pub patch: String,
    pub witness: PathBuf,
}

impl Bug {
    /// Returns all of a bank, by id.
    pub(crate) fn all(bank: Bank) -> Result<Vec<Self>> {
        let folders = workspace::entries(&bank.folder())?;
        folders.iter().filter(|path| path.is_dir()).map(|path| Self::read(bank, path)).collect()
    }

    /// Returns the one of an id, in any bank.
    pub(crate) fn find(id: &str) -> Result<Self> {
        let mut known = Self::all(Bank::Bugs)?;
        known.extend(Self::all(Bank::Breaks)?);
        let ids = known.iter().map(|bug| bug.id.as_str());
        workspace::demand_known("known bug or break", id, ids)?;
        known.retain(|bug| bug.id == id);
        known.pop().context("it is known")
    }

    /// Returns the target that finds it; an error if none does.
    pub(crate) fn target(&self) -> Result<&'static Target> {
        match &self.facts.found_by {
            FoundBy::Target(target) => Target::find(target),
            FoundBy::Tests(package) => {
                bail!("{} is found by the tests of {package}, by no target", self.id)
            }
        }
    }

    /// Returns whether a target finds it: then it can be planted in copies of sources.
    pub(crate) const fn has_target(&self) -> bool {
        matches!(self.facts.found_by, FoundBy::Target(_))
    }

    pub(super) fn mistake(&self) -> Mistake {
        Mistake { name: self.id.clone(), patch: self.patch.clone() }
    }

    /// Returns whether a rule of one of these layers may report it.
    pub(crate) fn breaks(&self, layers: Layers) -> bool {
        let mut listed = self.facts.rules.iter().filter_map(|id| rules::find(id));
        listed.any(|rule| layers.has(rule.layer))
    }

    pub(crate) fn is_reported_by(&self, rule: &str) -> bool {
        let listed =
            |rule: &its_rules::Rule| self.facts.rules.iter().any(|id| rule.is_named_by(id));
        rules::find(rule).is_some_and(listed)
    }

    fn read(bank: Bank, folder: &Path) -> Result<Self> {
        let id = workspace::name(folder);
        let text = workspace::read(&folder.join("bug.toml"))?;
        let facts: Facts = toml::from_str(&text).with_context(|| format!("{id}/bug.toml"))?;
        for rule in &facts.rules {
            ensure!(
                rules::find(rule).is_some(),
                "{id}/bug.toml: no rule `{rule}`; `cargo xtask rules` lists them"
            );
        }
        ensure!(
            SEVERITIES.contains(&facts.severity.as_str()),
            "{id}/bug.toml: severity `{}` is none of {}",
            facts.severity,
            SEVERITIES.join(", ")
        );
        let patch = workspace::read(&folder.join("bug.patch"))?;
        Ok(Self { id, bank, facts, patch, witness: folder.join("witness.its") })
    }
}
