//! The scenarios that fuzzing starts from, whatever its target.

use std::path::PathBuf;

use anyhow::Result;
use fs_err as fs;
use its_policy_checks::{Row, rows, scenario_text};
use its_reports::triage::{Judged, Outcome};

use crate::subjects::{Bank, Bug, Program};
use crate::{target, workspace};

/// Returns the seeds and regressions of all targets, the witnesses of known bugs and breaks, and
/// the scenarios of POLICY's checks.
pub(crate) fn all() -> Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for target in &target::ALL {
        files.extend(target.scenarios("seeds")?);
        files.extend(target.scenarios("regressions")?);
    }
    for bank in [Bank::Bugs, Bank::Breaks] {
        files.extend(Bug::all(bank)?.into_iter().map(|bug| bug.witness));
    }
    files.retain(|file| file.exists());
    files.extend(policy_checks()?);
    Ok(files)
}

/// Returns those of [`all`] on which a program shows no finding.
pub(crate) fn clean(player: &Program) -> Result<Vec<PathBuf>> {
    let judged = player.judge(&all()?, None)?;
    let is_clean = |one: &Judged| match &one.outcome {
        Outcome::Played { findings, .. } => findings.is_empty(),
        Outcome::Unreadable(_) | Outcome::Empty(_) | Outcome::Failed(_) => false,
    };
    Ok(judged.into_iter().filter(is_clean).map(|one| one.file).collect())
}

/// Writes the scenarios of POLICY's checks as files, and returns these.
fn policy_checks() -> Result<Vec<PathBuf>> {
    let folder = workspace::root().join("target/policy-checks");
    fs::create_dir_all(&folder)?;
    let mut files = Vec::new();
    for (index, Row { check, fails, holds }) in rows().iter().enumerate() {
        for (case, what) in [(fails, "fails"), (holds, "holds")] {
            let file = folder.join(format!("{index:03}-{what}.its"));
            let text = scenario_text(case).replacen('\n', &format!("\n# {check}: {what}\n"), 1);
            // Another process may read it now.
            if fs::read_to_string(&file).ok().as_ref() != Some(&text) {
                workspace::write_whole(&file, text)?;
            }
            files.push(file);
        }
    }
    Ok(files)
}
