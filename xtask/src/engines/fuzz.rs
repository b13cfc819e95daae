//! Runs from their seeds to their end: of a whole plan, or up to the first finding.

use std::path::{Path, PathBuf};

use anyhow::{Result, ensure};
use fs_err as fs;
use its_reports::known::Known;
use its_reports::summary::{Found, Summary};
use its_rules::{Evidence, Layers, judged_by};
use its_runner::replay::load;

use super::running::Running;
use super::{Engine, Plan, Run};
use crate::output::Progress;
use crate::subjects::{External, replay_command};
use crate::{stop, stored, workspace};

/// Fuzzes, from all that is stored and `more` inputs, and shows progress. Returns the summary, and
/// how the processes ended.
pub(crate) fn fuzz(
    plan: &Plan,
    run: &Run,
    more: &[PathBuf],
    known: &mut Known,
) -> Result<(Summary, Result<()>)> {
    let target = plan.target;
    let seeds = target.scenarios("seeds")?;
    ensure!(!seeds.is_empty(), "there are no seeds in corpus/{}/seeds", target.name);
    fill(&run.corpus(), &stored::all()?)?;
    for input in more {
        fs::copy(input, run.corpus().join(workspace::name(input)))?;
    }
    let mut running = Running::start(run, plan)?;
    let mut progress = Progress::new();
    running.wait_until(|run| {
        show(run, &mut progress);
        false
    })?;
    let seconds = progress.seconds();
    progress.finish();
    let end = running.demand_good_end().and_then(|()| run.collect());
    let mut summary = sum_up(run, plan, seconds, stop::asked());
    summary.failed = end.is_err();
    for mut record in run.found()? {
        record.file = workspace::shown(Path::new(&record.file));
        let known = known.finding(&summary.subject, &record.finding);
        summary.findings.push(Found { record, known });
    }
    summary.known_not_met = known.unused(false);
    let noted = run.note_end(&end, Some(&summary));
    Ok((summary, end.and(noted)))
}

/// Sums up a run, without its findings.
fn sum_up(run: &Run, plan: &Plan, seconds: f64, interrupted: bool) -> Summary {
    let counts = run.counts();
    let subject = plan.program.subject.clone();
    let facts = External::facts(&subject);
    let unseen = |evidence| match facts {
        Some(facts) if !facts.observed => judged_by(evidence).map(String::from).collect(),
        _ => Vec::new(),
    };
    Summary {
        guided: run.coverage().is_some() && facts.is_none_or(|facts| facts.guide(run.engine)),
        not_observed: unseen(Evidence::Accesses),
        partly_observed: unseen(Evidence::Partly),
        target: plan.target.name.into(),
        engine: run.engine.to_string(),
        subject,
        layers: plan.program.layers.to_string(),
        declared: plan.program.declared(),
        seed: plan.seed,
        jobs: plan.jobs,
        asked_cases: plan.runs,
        asked_seconds: plan.time,
        seconds,
        executions: counts.cases - counts.skipped,
        counts,
        coverage: run.coverage(),
        interrupted,
        ..Summary::default()
    }
}

pub(crate) fn print_summary(engine: Engine, summary: &Summary) {
    let layers = summary.layers.parse().unwrap_or(Layers::ALL);
    say!("{}", summary.text(engine.takes_seed(), &replay_command(&summary.subject, layers)));
}

fn show(run: &Run, progress: &mut Progress) {
    let counts = run.counts();
    let coverage = run.coverage().map_or(String::new(), |edges| format!("{edges} edges, "));
    progress.show(format!(
        "{} cases, {:.0} operations/s, {coverage}{} findings",
        counts.cases,
        counts.operations as f64 / progress.seconds().max(0.001),
        run.found().map_or(0, |found| found.len())
    ));
}

/// Fuzzes from these seeds up to the first finding, of any process, and returns the rule that was
/// broken, if one was.
pub(crate) fn first_finding(plan: &Plan, run: &Run, seeds: &[PathBuf]) -> Result<Option<String>> {
    debug_assert!(plan.ends_at_first);
    fill(&run.corpus(), seeds)?;
    let mut running = Running::start(run, plan)?;
    running.wait_until(|run| run.found().is_ok_and(|found| !found.is_empty()))?;
    let rule = running.first_rule();
    if !matches!(rule, Ok(Some(_))) {
        stop::check()?;
    }
    rule
}

/// Writes scenarios into a corpus folder in the engines' binary form.
pub(crate) fn fill(corpus: &Path, scenarios: &[PathBuf]) -> Result<()> {
    fs::create_dir_all(corpus)?;
    for path in scenarios {
        // Those of two targets may have one name.
        let name = workspace::shown(path).replace(['/', '\\'], "-");
        fs::write(corpus.join(name), load(path)?.encode())?;
    }
    Ok(())
}
