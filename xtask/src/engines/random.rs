//! The random engine, which the target's own program holds: no tool, no compiler for C++.

use std::path::PathBuf;

use anyhow::Result;
use its_runner::campaign::random;

use super::{Glue, Plan, Run};
use crate::subjects::build::Recipe;
use crate::subjects::external::Foreign;

pub(super) struct Random;

impl Glue for Random {
    fn demand_tools(&self) -> Result<()> {
        Ok(())
    }

    fn recipe(&self) -> Result<Recipe> {
        Ok(Recipe::play())
    }

    /// One process on as many threads as there are jobs. An emulation that is written elsewhere has
    /// one set of data for all threads of a process: a process for each job.
    fn commands(&self, _run: &Run, plan: &Plan) -> Result<Vec<duct::Expression>> {
        let (parts, jobs) = match Foreign::facts(&plan.program.subject) {
            Some(_) => (plan.jobs as u64, 1),
            None => (1, plan.jobs),
        };
        let command = |part| {
            let text = serde_json::to_string(&random::Plan {
                target: plan.target.name.into(),
                seed: plan.seed,
                runs: plan.runs,
                seconds: plan.time,
                jobs,
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

    fn inputs(&self, _run: &Run) -> Result<Vec<(PathBuf, PathBuf)>> {
        Ok(Vec::new())
    }
}
