//! Differences that are intended: `harness/known-divergences.toml`.
//!
//! Reports show them with their reason and do not fail for them. Each names a scenario that shows
//! it; one that no longer does is an error, since then the entry hides what comes next.

use std::path::PathBuf;

use anyhow::{Context, Result, ensure};
use serde::Deserialize;

use crate::subjects::Program;
use crate::workspace;

const FILE: &str = "harness/known-divergences.toml";

/// All that are intended.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Divergences {
    #[serde(default)]
    divergences: Vec<Divergence>,
}

/// A signature that is intended on the production emulator.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Divergence {
    signature: String,
    reason: String,
    /// Where it is said that it may be so.
    source: String,
    /// When somebody has to look again.
    review: toml::value::Datetime,
    /// A scenario that shows it, from the root.
    scenario: PathBuf,
}

impl Divergences {
    pub(crate) fn read() -> Result<Self> {
        let text = workspace::read(&workspace::root().join(FILE))?;
        let all: Self = toml::from_str(&text).with_context(|| format!("{FILE} is malformed"))?;
        for one in &all.divergences {
            ensure!(one.review.date.is_some(), "{FILE}: {} is no date", one.review);
        }
        Ok(all)
    }

    /// Returns why a signature is intended, if it is.
    pub(crate) fn reason(&self, subject: &str, signature: &str) -> Option<String> {
        let mut all = self.divergences.iter();
        let found = all.find(|one| subject == "production" && one.signature == signature)?;
        Some(format!(
            "{} ({}; to be looked at again on {})",
            found.reason, found.source, found.review
        ))
    }

    /// Checks that each scenario still shows what it is named for, and returns how many there are.
    pub(crate) fn check(&self, program: &Program) -> Result<usize> {
        let files: Vec<PathBuf> =
            { self.divergences.iter() }.map(|one| workspace::root().join(&one.scenario)).collect();
        let judged = if files.is_empty() { Vec::new() } else { program.judge(&files, None)? };
        for (one, judged) in self.divergences.iter().zip(judged) {
            let shows = judged.findings().iter().any(|found| found.signature == one.signature);
            let (scenario, signature) = (one.scenario.display(), &one.signature);
            ensure!(shows, "{FILE}: {scenario} no longer shows {signature}: take the entry out");
        }
        Ok(self.divergences.len())
    }
}
