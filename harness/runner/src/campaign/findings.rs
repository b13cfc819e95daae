//! Findings as files: one for each signature.

use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::path::Path;

use its_reports::finding_file::report;
use its_reports::json_line;
use its_rules::{Finding, StoredFinding};
use its_scenario::Scenario;

/// Writes a finding if its signature is new; if `is_other`, if it is new that the subject takes
/// these edges for it. Several processes may do so at once. `origin` begins
/// the file: lines that end where the name of the file is missing.
pub(super) fn store(
    folder: &Path,
    origin: Option<&str>,
    scenario: &Scenario,
    (finding, is_other): (&Finding, bool),
) -> io::Result<()> {
    let edges = if is_other { format!("~{:016x}", finding.edges) } else { String::new() };
    let name = format!("{}{edges}.its", finding.signature);
    let origin = origin.map(|lines| format!("{lines}{name}\n")).unwrap_or_default();
    let path = folder.join(name);
    if path.exists() {
        return Ok(());
    }
    let part = folder.join(format!(".{}.{}", finding.signature, std::process::id()));
    fs::write(&part, origin + &report(finding, scenario))?;
    let linked = fs::hard_link(&part, &path);
    fs::remove_file(&part)?;
    if let Err(error) = linked {
        let first = error.kind() != io::ErrorKind::AlreadyExists;
        return if first { Err(error) } else { Ok(()) };
    }
    let record = StoredFinding { finding: finding.clone(), file: path.display().to_string() };
    let mut list =
        OpenOptions::new().create(true).append(true).open(folder.join("findings.jsonl"))?;
    let line = json_line(&record).expect("a record is JSON");
    list.write_all(format!("{line}\n").as_bytes())
}
