//! The test step `abi`: the examples of `harness/abi` are what they say.

use std::fs;
use std::path::PathBuf;

use anyhow::{Context, Result};

use crate::bugs::{Bank, Bug};
use crate::engine::{Engine, Plan};
use crate::foreign::Foreign;
use crate::fuzz::{fuzz, new_run};
use crate::program::Program;
use crate::subject::Subject;
use crate::target;
use crate::test::demand;
use crate::workspace;

/// Cases of each target on the careful example.
const CASES: u64 = 2_000;

/// Checks all of them.
pub(crate) fn check() -> Result<()> {
    careful()?;
    faults()?;
    eprintln!("abi: the careful example passes, and each mistake of the other is told by its rule");
    Ok(())
}

fn replayer(example: &str) -> Result<(String, Program)> {
    let subject = Subject::foreign(Foreign::prepare(&format!("example:{example}"))?);
    let program = subject.build_replayer(target::ALL[0].name)?;
    Ok((subject.name, program.into()))
}

/// It is clean on every stored scenario, and on a few new ones of each target.
fn careful() -> Result<()> {
    let (name, program) = replayer("careful")?;
    let mut files: Vec<PathBuf> = Bug::all(Bank::Bugs)?
        .into_iter()
        .map(|bug| bug.witness)
        .filter(|witness| witness.exists())
        .collect();
    for target in &target::ALL {
        for folder in ["seeds", "regressions"] {
            files.extend(workspace::scenarios(&target.corpus(folder))?);
        }
    }
    let code = program.replay(&files, true)?.1;
    demand(code == 0, || {
        format!("a stored scenario is not clean on {name} (code {code})")
    })?;
    for target in &target::ALL {
        let plan = Plan {
            program: &program,
            target,
            seed: 1,
            time: 0,
            runs: CASES,
            jobs: 1,
            ends_at_first: false,
        };
        let (summary, end) = fuzz(&plan, &new_run(target, &name, Engine::Random)?, &[])?;
        end?;
        demand(summary.is_clean(), || {
            format!("{} has findings on {name}", target.name)
        })?;
    }
    Ok(())
}

/// Each scenario names, in its first comment, the rule that it breaks.
fn faults() -> Result<()> {
    let (_, program) = replayer("faults")?;
    let folder = workspace::root().join("harness/abi/examples/faults");
    for file in workspace::scenarios(&folder)? {
        let text = fs::read_to_string(&file)?;
        let rule = text
            .lines()
            .find_map(|line| line.strip_prefix("# ")?.split_once(':'));
        let (rule, _) =
            rule.with_context(|| format!("{} names no rule", workspace::shown(&file)))?;
        let (told, _) = program.replay(std::slice::from_ref(&file), false)?;
        let found = told
            .lines()
            .any(|line| line.trim().starts_with(&format!("signature: {rule}.")));
        demand(found, || {
            format!("{} does not break {rule}:\n{told}", workspace::shown(&file))
        })?;
    }
    Ok(())
}
