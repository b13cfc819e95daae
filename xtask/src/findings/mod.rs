//! Stored findings: what their heads say, and which of them are intended.

mod divergences;
pub(crate) mod header;

use std::collections::BTreeSet;

use its_rules::Finding;
use its_runner::program::{Judged, Outcome};

pub(crate) use divergences::Divergences;
pub(crate) use header::{Header, Origin};

/// Returns the ids of the rules that were broken.
pub(crate) fn broken_rules(findings: &[Finding]) -> BTreeSet<&'static str> {
    findings.iter().map(|finding| finding.rule.id).collect()
}

/// Returns what was found in a file that was judged; nothing where it could not be played.
pub(crate) fn of(judged: &Judged) -> &[Finding] {
    match &judged.outcome {
        Outcome::Played { findings, .. } => findings,
        Outcome::Unreadable(_) | Outcome::Empty(_) | Outcome::Failed(_) => &[],
    }
}
