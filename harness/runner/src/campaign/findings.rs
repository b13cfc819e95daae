//! Findings as files: one for each signature, replaced when a shorter scenario is met.

use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::path::Path;

use its_reports::finding_file::report;
use its_reports::json_line;
use its_rules::{Finding, StoredFinding};
use its_scenario::Scenario;

/// Writes a finding, unless the file that there is has no more operations. `is_other`: the file is
/// that of the edges which the subject took for it. Several processes may do so at once: of two
/// scenarios either stays, and none is lost before another is there. `origin` begins the file:
/// lines that end where the name of the file is missing.
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
    if fewest_operations(&path).is_some_and(|fewest| fewest <= scenario.operations.len()) {
        return Ok(());
    }
    let part = folder.join(format!(".{}.{}", finding.signature, std::process::id()));
    fs::write(&part, origin + &report(finding, scenario))?;
    fs::rename(&part, &path)?;
    let record = StoredFinding { finding: finding.clone(), file: path.display().to_string() };
    let mut list =
        OpenOptions::new().create(true).append(true).open(folder.join("findings.jsonl"))?;
    let line = json_line(&record).expect("a record is JSON");
    list.write_all(format!("{line}\n").as_bytes())
}

/// How many operations the scenario of a file has, if there is one.
fn fewest_operations(path: &Path) -> Option<usize> {
    let stored = fs::read_to_string(path).ok()?;
    Some(Scenario::parse(&stored).ok()?.operations.len())
}

#[cfg(test)]
mod tests {
    use its_rules::catalogue::DIV_PINS;

    use super::*;

    #[test]
    fn a_shorter_scenario_takes_the_place_of_a_longer_one() {
        let folder = tempfile::tempdir().unwrap();
        let finding = Finding::broken(&DIV_PINS, "pins", "a page", "0").at((0, "poll"), "CREADR");
        let path = folder.path().join(format!("{}.its", finding.signature));
        let of = |polls: usize| {
            Scenario::parse(format!("itsdiff 2\n{}", "poll 1\n".repeat(polls))).unwrap()
        };
        for (met, kept) in [(3, 3), (5, 3), (2, 2), (2, 2)] {
            store(folder.path(), Some("# replay "), &of(met), (&finding, false)).unwrap();
            assert_eq!(fewest_operations(&path), Some(kept));
        }
        let records = fs::read_to_string(folder.path().join("findings.jsonl")).unwrap();
        assert_eq!(records.lines().count(), 2);
        let files: Vec<_> = fs::read_dir(folder.path()).unwrap().collect();
        assert_eq!(files.len(), 2, "{files:?}");
    }
}
