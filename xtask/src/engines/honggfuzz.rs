//! honggfuzz, by cargo-hfuzz.

use std::path::PathBuf;

use anyhow::Result;
use fs_err as fs;
use its_scenario::MAX_BYTES;

use super::{Glue, Plan, Run, demand_command};
use crate::subjects::Recipe;
use crate::workspace::{self, files};

pub(super) struct Honggfuzz;

const INSTALL: &str = "honggfuzz is not installed: apt-get install --no-install-recommends \
     binutils-dev libunwind-dev libblocksruntime-dev liblzma-dev && cargo install --locked \
     honggfuzz --version 0.5.62";

/// Cargo's target folder for it.
const FOLDER: &str = "honggfuzz";

impl Glue for Honggfuzz {
    fn demand_tools(&self) -> Result<()> {
        demand_command("cargo", &["hfuzz", "version"], INSTALL)
    }

    fn recipe(&self) -> Result<Recipe> {
        // cargo-hfuzz adds --release, --target and its instrumentation, and compiles honggfuzz
        // itself into the folder.
        Ok(Recipe::of("for honggfuzz", FOLDER, &["hfuzz", "build"])
            .env("RUSTFLAGS", "--cfg engine=\"honggfuzz\""))
    }

    /// One process on as many threads as there are jobs. It takes no seed, so its runs cannot be
    /// repeated.
    fn commands(&self, run: &Run, plan: &Plan) -> Result<Vec<duct::Expression>> {
        let mut arguments: Vec<String> = ["-P", "-T", "-v", "-t", "25"].map(String::from).into();
        let mut add = |name: &str, value: String| arguments.extend([name.to_owned(), value]);
        let corpus = run.corpus().display().to_string();
        // What it finds goes there too, under names of its own; never with -M, which would drop
        // what is there.
        add("-i", corpus.clone());
        add("--output", corpus);
        add("-W", run.folder.join("honggfuzz").display().to_string());
        add("--crashdir", crashes(run).display().to_string());
        add("-w", run.dictionary(plan.target)?.display().to_string());
        add("-F", MAX_BYTES.to_string());
        add("-n", plan.jobs.to_string());
        if plan.time > 0 {
            add("--run_time", plan.time.to_string());
        }
        if plan.runs > 0 {
            add("-N", plan.runs.to_string());
        }
        if plan.ends_at_first {
            arguments.push("--exit_upon_crash".into());
        }
        arguments.extend(["--".into(), plan.program.path.display().to_string()]);
        fs::create_dir_all(crashes(run))?;
        fs::create_dir_all(run.folder.join("honggfuzz"))?;
        // The fuzzer is built with the target.
        let fuzzer = workspace::root().join("target").join(FOLDER).join("honggfuzz");
        Ok(vec![duct::cmd(fuzzer, arguments)])
    }

    /// The fourth of the numbers that it prints with each input it keeps.
    fn coverage(&self, run: &Run) -> Option<u64> {
        let log = run.log(0);
        let (_, last) = log.rsplit_once("Cur:")?;
        last.split('/').nth(3)?.parse().ok()
    }

    /// Its last line says how many edges the target has.
    fn is_instrumented(&self, run: &Run) -> bool {
        let log = run.log(0);
        let guards = log.rsplit_once("guard_nb:").map(|(_, rest)| rest);
        guards.is_some_and(|rest| rest.starts_with(|digit| ('1'..='9').contains(&digit)))
    }

    fn inputs(&self, run: &Run) -> Result<Vec<(PathBuf, PathBuf)>> {
        let name = |file: PathBuf| {
            let name = workspace::name(&file);
            let name = name.strip_suffix(".fuzz")?;
            let kind = if name.starts_with("SIGVTALRM") { "timeout" } else { "crash" };
            let to = format!("crashes/{kind}-honggfuzz-{name}");
            Some((file.clone(), to.into()))
        };
        let saved = files(&crashes(run))?;
        Ok(saved.into_iter().filter_map(name).collect())
    }
}

fn crashes(run: &Run) -> PathBuf {
    run.folder.join("honggfuzz-crashes")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engines::Engine;
    use its_runner::replay::is_artifact;

    /// honggfuzz ends with code 0 on a crash, and its names are not those of other engines.
    #[test]
    fn what_it_saved_is_an_artifact_like_others() {
        let folder = tempfile::tempdir().unwrap();
        let run = Run::new_in(folder.path().into(), Engine::Honggfuzz).unwrap();
        fs::create_dir_all(crashes(&run)).unwrap();
        for name in [
            "SIGABRT.PC.7f.STACK.18.CODE.-6.ADDR.0.INSTR.mov.fuzz",
            "SIGVTALRM.PC.0.STACK.0.CODE.0.ADDR.0.INSTR.[].fuzz",
            "HONGGFUZZ.REPORT.TXT",
        ] {
            fs::write(crashes(&run).join(name), name).unwrap();
        }
        run.collect().unwrap();
        let saved = files(&run.crashes()).unwrap();
        assert!(saved.iter().all(|file| is_artifact(file)));
        assert_eq!(saved.len(), 2);
        assert!(workspace::name(&saved[0]).starts_with("crash-"));
        assert!(workspace::name(&saved[1]).starts_with("timeout-"));
    }
}
