//! Differences that are intended: `harness/known-divergences.toml`.
//!
//! Reports show them with their reason and do not fail for them. Each names a scenario that shows
//! it; one that no longer does is an error, since then the entry hides what comes next.

use fs_err as fs;
use std::path::PathBuf;

use anyhow::{Context, Result, ensure};
use its_runner::program::Outcome;
use serde::Deserialize;

use crate::subjects::program::Program;
use crate::workspace;

const FILE: &str = "harness/known-divergences.toml";

/// All of them.
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
        let text = fs::read_to_string(workspace::root().join(FILE))
            .with_context(|| format!("cannot read {FILE}"))?;
        let all: Self = toml::from_str(&text).with_context(|| format!("{FILE} is malformed"))?;
        for one in &all.divergences {
            ensure!(one.review.date.is_some(), "{FILE}: {} is no date", one.review);
        }
        Ok(all)
    }

    /// Why a signature is intended, if it is.
    pub(crate) fn reason(&self, subject: &str, signature: &str) -> Option<String> {
        let mut all = self.divergences.iter();
        let found = all.find(|one| subject == "production" && one.signature == signature)?;
        Some(format!(
            "{} ({}; to be looked at again on {})",
            found.reason, found.source, found.review
        ))
    }

    /// Checks that each still shows itself, and returns how many there are.
    ///
    /// # Errors
    /// One does not.
    pub(crate) fn check(&self, program: &Program) -> Result<usize> {
        let files: Vec<PathBuf> =
            { self.divergences.iter() }.map(|one| workspace::root().join(&one.scenario)).collect();
        let judged = match files.is_empty() {
            true => Vec::new(),
            false => program.judge(&files, None)?,
        };
        for (one, judged) in self.divergences.iter().zip(judged) {
            let shows = match judged.outcome {
                Outcome::Played { findings, .. } => {
                    findings.iter().any(|finding| finding.signature == one.signature)
                }
                _ => false,
            };
            ensure!(
                shows,
                "{FILE}: {} does not show {} any more: take the entry out",
                one.scenario.display(),
                one.signature
            );
        }
        Ok(self.divergences.len())
    }
}
