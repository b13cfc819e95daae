//! Points of policy that an emulation may declare: of each, a subject that declares it and does so,
//! one that declares it and does otherwise, and one that does so and does not declare it.

use anyhow::{Context, Result, ensure};
use its_reports::triage::{Judged, Outcome};
use its_rules::Finding;

use super::fuzz_well;
use crate::commands::subject::propose;
use crate::engines::{Engine, Plan};
use crate::subjects::{Point, Program, Subject};
use crate::target::Target;
use crate::workspace;

/// The variable that names what `example:points` does otherwise than POLICY.md.
const POINT: &str = "ITSDIFF_POINT";
/// Drawn cases of each subject that does what it declares.
const CASES: u64 = 100;

/// Checks each point of `harness/abi/examples/points`, and returns how many there are.
pub(super) fn check() -> Result<usize> {
    let program = Subject::external("example:points")?.player()?;
    let points = Point::all()?;
    let checked = points
        .iter()
        .map(|point| check_one(point, &program).with_context(|| workspace::shown(&point.file)));
    let broken: Vec<_> = checked.filter_map(Result::err).collect();
    broken.iter().for_each(|error| eprintln!("{error:#}"));
    ensure!(broken.is_empty(), broken!("{} points of {}", broken.len(), points.len()));
    check_proposal(&program, "queue.refusal = \"silent\"")?;
    Ok(points.len())
}

/// Checks that of an emulation with one point of its own this one is proposed.
fn check_proposal(program: &Program, point: &str) -> Result<()> {
    let proposed = propose("example:points", &program.with(POINT, point))?;
    let (path, points) = proposed.context(broken!("nothing is proposed"))?;
    let (_, line) = point.split_once('.').context("the point has no section")?;
    let is_there = workspace::read(&path)?.contains(&format!("\n# {line}\n"));
    ensure!(points == 1 && is_there, broken!("{points} points are proposed, not {line}"));
    Ok(())
}

fn check_one(point: &Point, program: &Program) -> Result<()> {
    let folder = workspace::root().join("target/points");
    let program = &match point.common() {
        Some(common) => {
            let declared = common.declare(None, &folder)?;
            program.declaring(&declared).with(POINT, &common.text)
        }
        None => program.with(POINT, ""),
    };
    let declaring = program.declaring(&point.declare(None, &folder)?);
    let right = declaring.with(POINT, &point.text);
    let found = judge(point, &right)?;
    ensure!(found.is_empty(), broken!("what is declared is reported: {found:?}"));
    fuzz(point, &right)?;
    let otherwise = judge(point, &declaring)?;
    let named = |finding: &Finding| {
        finding.expected.contains(&point.otherwise) || finding.rule.id == point.otherwise
    };
    let is_right =
        if point.allows_policy { otherwise.is_empty() } else { otherwise.iter().any(named) };
    ensure!(is_right, broken!("declared, and not done, it breaks this: {otherwise:?}"));
    let undeclared = judge(point, &program.with(POINT, &point.text))?;
    ensure!(!undeclared.is_empty(), broken!("done, and not declared, it breaks nothing"));
    Ok(())
}

fn judge(point: &Point, program: &Program) -> Result<Vec<Finding>> {
    let mut judged = program.judge(std::slice::from_ref(&point.file), None)?;
    match judged.pop().context("one file is judged")? {
        Judged { outcome: Outcome::Played { findings, defects, .. }, .. } => {
            ensure!(defects.is_empty(), defect!("{}", defects.join("; ")));
            Ok(findings)
        }
        Judged { outcome, .. } => Err(broken!("it was not played: {outcome:?}")),
    }
}

/// Checks that cases of the targets that are about it break nothing.
fn fuzz(point: &Point, program: &Program) -> Result<()> {
    let targets: &[&str] = match point.line().0 {
        "set-up" | "numbers" => &["its_hvc"],
        "memory" => &["its_tables"],
        "queue" => &["its_cmdq"],
        "registers" => &["its_mmio"],
        _ => &["its_mmio", "its_race"],
    };
    for name in targets {
        let plan = Plan { runs: CASES, ..Plan::new(program, Target::find(name)?) };
        let summary = fuzz_well(&plan, Engine::Random)?;
        ensure!(summary.is_clean(), broken!("{name} has findings"));
    }
    Ok(())
}
