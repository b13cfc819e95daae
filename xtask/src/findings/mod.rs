//! Stored findings: what their heads say, and which of them are intended.

mod known;

use std::collections::BTreeSet;
use std::path::Path;

use its_reports::finding_file::Header;
use its_rules::Finding;

pub(crate) use known::{KnownFile, check_committed};

/// What comes before the name of a subject's file, which is given without its folder.
pub(crate) const FILE: &str = "file:";

/// Returns the text of a file; nothing of an engine's artifact, which is none.
pub(crate) fn text(file: &Path) -> String {
    fs_err::read_to_string(file).unwrap_or_default()
}

pub(crate) fn header(file: &Path) -> Header {
    Header::parse(&text(file))
}

pub(crate) fn broken_rules(findings: &[Finding]) -> BTreeSet<&'static str> {
    findings.iter().map(|finding| finding.rule.id).collect()
}
