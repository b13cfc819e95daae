//! Findings as files: one for each signature.

use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::path::Path;

use its_scenario::Scenario;

use crate::versioned::Versioned;
use its_rules::{Finding, StoredFinding};

/// A finding as a file: its header is comments, so that it is a scenario as it stands.
pub fn report(scenario: &Scenario, finding: &Finding) -> String {
    let comment = |text: &str| text.replace('\n', "\n#           ");
    format!(
        "# rule:     {} ({})\n# holds:    {}\n# signature: {}\n# operation: {}\n# where:    {}\n# expected: {}\n# seen:     {}\n{scenario}",
        finding.rule.id,
        finding.rule.severity.name(),
        comment(finding.rule.holds),
        finding.signature,
        finding.operation,
        comment(&finding.path),
        comment(&finding.expected),
        comment(&finding.seen),
    )
}

/// Writes a finding if its signature is new. Several processes may do so at once. `origin` begins
/// the file: lines that end where the name of the file is missing.
pub(super) fn store(
    folder: &Path,
    origin: Option<&str>,
    scenario: &Scenario,
    finding: &Finding,
) -> io::Result<()> {
    let name = format!("{}.its", finding.signature);
    let origin = origin.map(|lines| format!("{lines}{name}\n")).unwrap_or_default();
    let path = folder.join(name);
    if path.exists() {
        return Ok(());
    }
    let part = folder.join(format!(".{}.{}", finding.signature, std::process::id()));
    fs::write(&part, origin + &report(scenario, finding))?;
    let linked = fs::hard_link(&part, &path);
    fs::remove_file(&part)?;
    if let Err(error) = linked {
        let first = error.kind() != io::ErrorKind::AlreadyExists;
        return if first { Err(error) } else { Ok(()) };
    }
    let record = StoredFinding { finding: finding.clone(), file: path.display().to_string() };
    let mut list =
        OpenOptions::new().create(true).append(true).open(folder.join("findings.jsonl"))?;
    let line = serde_json::to_string(&Versioned::new(&record)).expect("a record is JSON");
    list.write_all(format!("{line}\n").as_bytes())
}
