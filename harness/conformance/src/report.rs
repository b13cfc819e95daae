//! The matrix for people and for machines.

use std::collections::BTreeMap;
use std::fmt::Write;

use its_reports::pretty_json;
use quick_junit::{NonSuccessKind, Report, TestCase, TestCaseStatus, TestSuite};
use serde::Serialize;

use crate::matrix::{Cell, Row, Subject};
use crate::requirement::Requirement;

#[derive(Serialize)]
struct JsonMatrix<'a> {
    requirements: Vec<JsonRow<'a>>,
}

#[derive(Serialize)]
struct JsonRow<'a> {
    id: &'a str,
    text: &'a str,
    source: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    freedom: Option<&'static str>,
    /// By subject: its verdict, and what more there is to say.
    cells: BTreeMap<&'static str, JsonCell>,
}

#[derive(Serialize)]
struct JsonCell {
    verdict: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    detail: Option<String>,
}

/// As a JSON object with `requirements`, a list.
///
/// # Errors
/// Never, but for a defect of the serializer.
pub fn json(rows: &[Row]) -> serde_json::Result<String> {
    let cell = |(subject, cell): &(Subject, Cell)| {
        (subject.name(), JsonCell { verdict: cell.verdict(), detail: cell.detail() })
    };
    let rows = rows.iter().map(|Row { requirement, cells }| JsonRow {
        id: &requirement.id,
        text: &requirement.text,
        source: &requirement.source,
        freedom: requirement.freedom.map(|freedom| freedom.facts().name),
        cells: cells.iter().map(cell).collect(),
    });
    let requirements = rows.collect();
    pretty_json(JsonMatrix { requirements })
}

/// As JUnit: a suite a subject, a test case a requirement. What is refused, not applicable,
/// settled, known or another option is skipped.
///
/// # Errors
/// When the XML cannot be written.
pub fn junit(rows: &[Row]) -> Result<String, quick_junit::SerializeError> {
    let mut report = Report::new("itsdiff-conformance");
    for subject in Subject::ALL {
        let mut suite = TestSuite::new(subject.name());
        for row in rows {
            let cells = row.cells.iter();
            for (_, cell) in cells.filter(|(of, _)| *of == subject) {
                let mut case = TestCase::new(row.requirement.id.as_str(), status(cell));
                case.set_classname(subject.name());
                case.set_system_out(&row.requirement.text);
                suite.add_test_case(case);
            }
        }
        if !suite.test_cases.is_empty() {
            report.add_test_suite(suite);
        }
    }
    report.to_string()
}

fn status(cell: &Cell) -> TestCaseStatus {
    let detail = cell.detail().unwrap_or_default();
    let mut status = match cell {
        Cell::Pass | Cell::Partial(_) => return TestCaseStatus::success(),
        Cell::Fail(_) => TestCaseStatus::non_success(NonSuccessKind::Failure),
        Cell::Broken(_) => TestCaseStatus::non_success(NonSuccessKind::Error),
        Cell::Refused(..)
        | Cell::NotApplicable(_)
        | Cell::Settled(_)
        | Cell::Freedom(_)
        | Cell::Known(..) => TestCaseStatus::skipped(),
    };
    status.set_message(format!("{}: {detail}", cell.verdict()));
    status
}

/// As text: a line a requirement, then what is not a plain pass, then totals.
pub fn text(rows: &[Row]) -> String {
    let mut text = String::new();
    let first = rows.iter().take(1).flat_map(|row| &row.cells);
    let subjects: Vec<Subject> = first.map(|(subject, _)| *subject).collect();
    let width = rows.iter().map(|row| row.requirement.id.len()).max().unwrap_or(0);
    // Writing into a String cannot fail.
    let _ = write!(text, "{:width$}", "");
    for subject in &subjects {
        let _ = write!(text, "  {:14}", subject.name());
    }
    for row in rows {
        let _ = write!(text, "\n{:width$}", row.requirement.id);
        for (_, cell) in &row.cells {
            let _ = write!(text, "  {:14}", cell.verdict());
        }
    }
    text.push('\n');
    for row in rows {
        for (subject, cell) in &row.cells {
            if let Some(detail) = cell.detail() {
                let (id, verdict) = (&row.requirement.id, cell.verdict());
                let _ = write!(text, "\n{id} {} {verdict}: {detail}", subject.name());
            }
        }
    }
    text.push('\n');
    for subject in subjects {
        let _ = write!(text, "\n{}", totals(rows, subject));
    }
    text
}

const VERDICTS: [&str; 9] = [
    "pass",
    "partial",
    "freedom",
    "refused",
    "not-applicable",
    "settled",
    "known",
    "fail",
    "broken",
];

/// `emulator: 150 of 180 pass, 20 refused, 10 not-applicable`.
fn totals(rows: &[Row], subject: Subject) -> String {
    let count = |verdict: &str| {
        let cells = rows.iter().flat_map(|row| &row.cells);
        let fits = |(of, cell): &&(Subject, Cell)| *of == subject && cell.verdict() == verdict;
        cells.filter(fits).count()
    };
    let counts = VERDICTS.map(|verdict| (verdict, count(verdict)));
    let counts = counts.into_iter().filter(|(_, count)| *count > 0);
    let counts: Vec<String> = counts.map(|(verdict, count)| format!("{count} {verdict}")).collect();
    format!("{}: of {} requirements {}", subject.name(), rows.len(), counts.join(", "))
}

/// The table of the documentation: every requirement by id.
pub fn documentation(requirements: &[Requirement]) -> String {
    let mut text = String::from(DOCUMENTATION);
    for requirement in requirements {
        let freedom = requirement.freedom.map(|freedom| freedom.facts().name);
        let _ = writeln!(
            text,
            "| {} | {} | {} | {} |",
            requirement.id,
            cell_text(&requirement.text),
            cell_text(&requirement.source),
            freedom.map(|name| format!("`{name}`")).unwrap_or_default()
        );
    }
    text
}

fn cell_text(text: &str) -> String {
    text.replace('|', "\\|").replace('<', "\\<")
}

const DOCUMENTATION: &str = "\
# Conformance requirements

What an ITS must do, one sentence a requirement, with the source and, where it is one of several things that an ITS may do, the freedom
([`freedoms.md`](freedoms.md)). Each is a file of `conformance/` with the scenarios that show it. `cargo xtask conform` plays them;
this page is what `cargo xtask conform --documentation` writes, and a test keeps it so.

The text of the GIC architecture specification (IHI 0069) was not at hand. Where it is named as the source, the requirement is what its register pages, the GIC-600 TRM, Linux (driver and KVM), QEMU and Xen agree on, or what
nobody contradicts; where they differ it is a freedom. On the emulator a command error shows as a stall alone: the number is the hardware's to give, and is checked on the model and on the physical ITS.

| id | requirement | source | freedom |
| --- | --- | --- | --- |
";
