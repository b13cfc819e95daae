//! The random engine, which the target's own program holds: no tool, no compiler for C++.

use anyhow::Result;
use its_runner::campaign::random;

use super::{Glue, Plan, Run};
use crate::subjects::{External, Recipe};

pub(super) struct Random;

impl Glue for Random {
    fn demand_tools(&self) -> Result<()> {
        Ok(())
    }

    fn recipe(&self) -> Result<Recipe> {
        Ok(Recipe::play())
    }

    /// One process on as many threads as there are jobs. An external emulation has one set
    /// of data for all threads of a process: a process for each job.
    fn commands(&self, run: &Run, plan: &Plan) -> Result<Vec<duct::Expression>> {
        let is_external = External::facts(&plan.program.subject).is_some();
        let (parts, jobs) = if is_external { (plan.jobs as u64, 1) } else { (1, plan.jobs) };
        let command = |part| {
            let text = serde_json::to_string(&random::Plan {
                target: plan.target.name.into(),
                seed: plan.seed,
                runs: plan.runs,
                seconds: plan.time,
                jobs,
                corpus: run.corpus(),
                part,
                parts,
            })?;
            Ok(plan.program.command(["--random".into(), text]))
        };
        (0..parts).map(command).collect()
    }

    fn coverage(&self, _run: &Run) -> Option<u64> {
        None
    }

    /// It is not guided, so there is nothing to instrument.
    fn is_instrumented(&self, _run: &Run) -> bool {
        true
    }
}
