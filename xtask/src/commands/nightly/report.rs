//! Makes the report of a night: one entry for each signature, minimized, and whether it is new.

use std::collections::BTreeMap;
use std::path::PathBuf;

use anyhow::Result;
use fs_err as fs;
use its_reports::finding_file::inherit;
use its_reports::known::Known;
use its_reports::night::{Entry, Report};
use its_reports::pretty_json;
use its_reports::triage::Group;

use super::state::Night;
use crate::commands::triage::{artifacts, grouped};
use crate::findings;
use crate::subjects::Program;
use crate::target::Target;
use crate::{stop, workspace};

/// So many ways to one signature are minimized.
const MOST_WAYS: usize = 4;

/// Scenarios that are tried to make a finding shorter.
const BUDGET: u64 = 20_000;

/// Looks at all that the night's runs left, and writes `report.md`, `report.json`, `signatures.txt`
/// and `findings/` into its folder.
pub(super) fn write(night: &Night, known: &[String]) -> Result<Report> {
    let mut report = Report::default();
    let mut intended = night.known().read()?;
    for target in night.targets() {
        add(&mut report, night, target, (known, &mut intended))?;
    }
    report.known_not_met = intended.unused(false);
    fs::write(night.folder.join("signatures.txt"), report.signatures())?;
    fs::write(night.folder.join("report.json"), pretty_json(&report)?)?;
    fs::write(night.folder.join("report.md"), report.markdown(&night.done))?;
    Ok(report)
}

fn add(
    report: &mut Report,
    night: &Night,
    target: &'static Target,
    (baseline, known): (&[String], &mut Known),
) -> Result<()> {
    let mut files = Vec::new();
    for run in night.runs_of(target) {
        files.extend(artifacts(&run.folder)?);
    }
    files.sort();
    let subject = night.subject()?;
    let all = BTreeMap::from([(subject.name.clone(), files)]);
    let triage = grouped(target, all, subject.layers, known)?;
    report.defects.extend(triage.defects);
    report.others.extend([triage.clean, triage.unreadable, triage.drifted].concat());
    let program = subject.player()?;
    for group in triage.groups {
        let mut ways = shortest(night, &program, target, &group)?.into_iter();
        let (minimized, operations_left) = ways.next().unwrap_or_default();
        report.entries.push(Entry {
            other_ways: ways.map(|(file, _)| workspace::shown(&file)).collect(),
            target: target.name.into(),
            new: group.known.is_none() && !baseline.contains(&group.signature),
            minimized: workspace::shown(&minimized),
            operations_left,
            group,
        });
    }
    Ok(())
}

/// Returns the shortest scenarios of a group and their numbers of operations, one for each way
/// through the subject's code: minimized, in the night's folder, or as they are where that fails.
fn shortest(
    night: &Night,
    program: &Program,
    target: &Target,
    group: &Group,
) -> Result<Vec<(PathBuf, usize)>> {
    let signature = &group.signature;
    let (mut shortest, mut known) = (Vec::new(), Vec::new());
    for (number, way) in (1..).zip(group.ways.iter().take(MOST_WAYS)) {
        let file = workspace::root().join(&way.file);
        if stop::is_over() {
            shortest.push((file, way.operations));
            break;
        }
        match program.minimize(&file, target, Some(signature), BUDGET, |_| {}) {
            Ok(done) if known.contains(&done.finding.edges) => {}
            Ok(done) => {
                known.push(done.finding.edges);
                let other = if number == 1 { String::new() } else { format!("~{number}") };
                let path = night.folder.join("findings").join(format!("{signature}{other}.its"));
                fs::create_dir_all(workspace::folder_of(&path))?;
                let shown = workspace::shown(&path);
                let text = inherit(&findings::text(&file), &done.text, Some(&shown));
                fs::write(&path, text)?;
                shortest.push((path, done.after));
            }
            Err(error) => {
                eprintln!("{signature} is not minimized: {error:#}");
                shortest.push((file, way.operations));
            }
        }
    }
    Ok(shortest)
}
