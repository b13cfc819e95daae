//! The canary: a planted fault that every engine must find, from seeds that do not show it.

use std::path::PathBuf;
use std::time::Instant;

use anyhow::{Result, ensure};
use its_reports::night::Canary;

use crate::engines::{Engine, Plan, Run, first_finding};
use crate::subjects::{Bug, Program, Subject};
use crate::{stored, workspace};

/// Cases in which the canary is looked for where it is not.
const IN_VAIN: u64 = 3_000;

/// What each target finds within seconds, with any engine. The target that is first here speaks for
/// a night in which it is fuzzed.
const CANARIES: [(&str, &str); 6] = [
    ("its_cmdq", "slot-not-cleaned"),
    ("its_hvc", "live-device-listed-twice"),
    ("its_tables", "rest-without-cbaser"),
    ("its_race", "cwriter-written-after-the-lock"),
    ("its_mmio", "pendbaser-high-writable"),
    ("its_arch", "board-cbaser-keeps-creadr"),
];

/// Returns the canary of a night on these targets.
pub(super) fn of(targets: &[String]) -> &'static str {
    let mut all = CANARIES.iter();
    let found = all.find(|(target, _)| targets.iter().any(|one| one == target));
    found.map_or(CANARIES[0].1, |(_, bug)| *bug)
}

/// Lets an engine look for a bug, by a plan whose program is to have the bug, or for the sake of
/// proof has not. The folder is made anew.
pub(super) fn hunt(bug: &Bug, engine: Engine, folder: PathBuf, plan: &Plan) -> Result<Canary> {
    let with_bug = Subject::with_bug(bug).player()?;
    workspace::empty_folder(&folder)?;
    let run = Run::new_in(folder, engine)?;
    let seeds = stored::clean(&with_bug)?;
    let start = Instant::now();
    let rule = first_finding(plan, &run, &seeds)?;
    let seconds = start.elapsed().as_secs_f64();
    Ok(Canary { engine: engine.to_string(), rule, cases: run.counts().cases, seconds })
}

/// Checks that an engine finds the canary where it is, and nothing where it is not.
pub(crate) fn check_canary(engine: Engine) -> Result<()> {
    let (_, canary) = CANARIES[0];
    let bug = Bug::find(canary)?;
    let target = bug.target()?;
    let folder = tempfile::tempdir()?;
    let search = |program: &Program, runs| {
        let plan = Plan { runs, ends_at_first: true, ..Plan::new(program, target) };
        hunt(&bug, engine, folder.path().join(&program.subject), &plan)
    };
    let there = search(&engine.build(&Subject::with_bug(&bug), target)?, 100_000)?;
    ensure!(there.rule.is_some(), "{engine} found no canary");
    let removed = search(&engine.build(&Subject::production(), target)?, IN_VAIN)?;
    ensure!(
        removed.rule.is_none(),
        "{engine} found a canary that is not there: {:?}",
        removed.rule
    );
    eprintln!("{engine}: {canary} found in {} cases", there.cases);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_target_has_a_canary_of_its_own() {
        for target in &crate::target::ALL {
            let bug = Bug::find(of(&[target.name.into()])).unwrap();
            assert_eq!(bug.target().unwrap().name, target.name);
        }
        assert_eq!(of(&["its_arch".into(), "its_cmdq".into()]), "slot-not-cleaned");
    }
}
