//! Known bugs: `corpus/bugs/<id>/` holds `bug.patch`, `bug.toml` and `witness.its`.

use std::fs;
use std::path::PathBuf;

use anyhow::{Context, Result, bail, ensure};
use its_oracles::rules;
use serde::Deserialize;

use crate::workspace;

/// What `bug.toml` says.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Facts {
    pub title: String,
    /// What kind of mistake it is, in a word or two.
    pub class: String,
    /// Where it comes from.
    pub origin: String,
    /// `vulnerability`, `hardening` or `conformance`.
    pub severity: String,
    /// Ids of the rules that may report it.
    pub rules: Vec<String>,
    /// The target that finds it.
    pub target: String,
}

/// One known bug.
#[derive(Debug)]
pub(crate) struct Bug {
    pub id: String,
    pub facts: Facts,
    pub patch: String,
    pub witness: PathBuf,
}

fn folder() -> PathBuf {
    workspace::root().join("corpus").join("bugs")
}

impl Bug {
    /// All of them, by id.
    pub(crate) fn all() -> Result<Vec<Self>> {
        let mut ids = Vec::new();
        for entry in folder().read_dir().context("cannot read corpus/bugs")? {
            let entry = entry?;
            if entry.path().is_dir() {
                ids.push(entry.file_name().to_string_lossy().into_owned());
            }
        }
        ids.sort();
        ids.iter().map(|id| Self::read(id)).collect()
    }

    /// The one of an id.
    pub(crate) fn find(id: &str) -> Result<Self> {
        let known: Vec<String> = Self::all()?.into_iter().map(|bug| bug.id).collect();
        if !known.iter().any(|known| known == id) {
            bail!("no known bug `{id}`; there are: {}", known.join(", "));
        }
        Self::read(id)
    }

    fn read(id: &str) -> Result<Self> {
        let folder = folder().join(id);
        let read = |name: &str| {
            let path = folder.join(name);
            fs::read_to_string(&path)
                .with_context(|| format!("cannot read {}", workspace::shown(&path)))
        };
        let facts: Facts = toml::from_str(&read("bug.toml")?)
            .with_context(|| format!("corpus/bugs/{id}/bug.toml"))?;
        for rule in &facts.rules {
            let known = rules::find(rule).is_some();
            ensure!(known, "corpus/bugs/{id}/bug.toml: no rule `{rule}`");
        }
        ensure!(
            ["vulnerability", "hardening", "conformance"].contains(&facts.severity.as_str()),
            "corpus/bugs/{id}/bug.toml: severity `{}` is none of vulnerability, hardening, conformance",
            facts.severity
        );
        Ok(Self {
            id: id.into(),
            facts,
            patch: read("bug.patch")?,
            witness: folder.join("witness.its"),
        })
    }
}
