//! libFuzzer, on the stable toolchain without cargo-fuzz: a compiler for C++ is all that it needs.

use std::path::{Path, PathBuf};

use anyhow::{Result, ensure};
use fs_err::File;
use its_scenario::MAX_BYTES;

use super::{Glue, Plan, Run, demand_command, host_triple, share};
use crate::process;
use crate::subjects::{Program, Recipe};

pub(super) struct Libfuzzer;

/// Compiler flags that put libFuzzer's instrumentation into every crate of the target. Without
/// trace-compares: scenarios are mutated as structures, and tracing costs a factor of about 2.4
/// here.
const INSTRUMENTATION: [&str; 8] = [
    "-Cpasses=sancov-module",
    "-Cllvm-args=-sanitizer-coverage-level=4",
    "-Cllvm-args=-sanitizer-coverage-inline-8bit-counters",
    "-Cllvm-args=-sanitizer-coverage-pc-table",
    "-Cllvm-args=-simplifycfg-branch-fold-threshold=0",
    "-Ccodegen-units=1",
    "--cfg fuzzing",
    "--cfg engine=\"libfuzzer\"",
];

const INSTALL: &str = "libFuzzer is built from C++. Install a compiler (Debian: apt-get install \
     g++) or name one in CXX; `--engine random` needs none";

/// What it prints when the program is instrumented. Without instrumentation it runs all the same.
const INSTRUMENTED: &str = "INFO: Loaded 1 PC tables";

impl Glue for Libfuzzer {
    fn demand_tools(&self) -> Result<()> {
        let compiler = std::env::var("CXX").unwrap_or_else(|_| "c++".into());
        demand_command(&compiler, &["--version"], INSTALL)
    }

    /// Built like what plays, but with instrumentation. The explicit target keeps that off build
    /// scripts and macros.
    fn recipe(&self) -> Result<Recipe> {
        let mut recipe = Recipe::play()
            .with(&["--target", &host_triple()?])
            .env("RUSTFLAGS", &INSTRUMENTATION.join(" "));
        recipe.name = "for libFuzzer";
        Ok(recipe)
    }

    fn commands(&self, run: &Run, plan: &Plan) -> Result<Vec<duct::Expression>> {
        let command = |index: usize| {
            let seed = plan.seed.wrapping_add(index as u32).max(1);
            let mut arguments = vec![
                format!("-seed={seed}"),
                format!("-max_len={MAX_BYTES}"),
                format!("-artifact_prefix={}/", run.crashes().display()),
                "-timeout=25".into(),
                "-print_final_stats=1".into(),
                "-reload=1".into(),
                // libFuzzer's search for rare features and its replacing of inputs by shorter ones
                // cost half of a run here, and reach fewer edges in the same time.
                "-entropic=0".into(),
                "-reduce_inputs=0".into(),
            ];
            if plan.time > 0 {
                arguments.push(format!("-max_total_time={}", plan.time));
            }
            let runs = share(plan.runs, index, plan.jobs);
            if runs > 0 {
                arguments.push(format!("-runs={runs}"));
            }
            arguments.push(run.corpus().display().to_string());
            plan.program.command(arguments)
        };
        // Processes that share a corpus: -fork is slower and stops at the first crash.
        Ok((0..plan.jobs).map(command).collect())
    }

    fn coverage(&self, run: &Run) -> Option<u64> {
        let of = |log: String| {
            let (_, rest) = log.rsplit_once("cov: ")?;
            rest.split(' ').next()?.parse().ok()
        };
        run.all_logs().filter_map(of).max()
    }

    fn is_instrumented(&self, run: &Run) -> bool {
        run.all_logs().all(|log| log.contains(INSTRUMENTED))
    }
}

/// Copies into a folder what adds to the coverage of what is there, from others. Findings and
/// crashes on the way go to the run's folders.
pub(crate) fn merge(program: &Program, into: &Path, from: &[PathBuf], run: &Run) -> Result<()> {
    let mut arguments = vec![
        "-merge=1".to_owned(),
        format!("-max_len={MAX_BYTES}"),
        format!("-artifact_prefix={}/", run.crashes().display()),
        into.display().to_string(),
    ];
    arguments.extend(from.iter().map(|folder| folder.display().to_string()));
    let command = program
        .command(arguments)
        .env("ITSDIFF_FINDINGS", run.findings())
        .stdin_null()
        .stdout_null()
        .stderr_file(File::create(run.log_file(0))?.into_file());
    let status = process::run(&program.path, command)?.status;
    // It leaves out, silently, what it cannot write.
    run.demand_room()?;
    let log = run.log(0);
    let merged = status.success() && log.contains("MERGE-OUTER");
    ensure!(merged, "libFuzzer did not merge ({status}):\n{log}");
    Ok(())
}
