//! AFL++, by cargo-afl.

use std::path::PathBuf;

use anyhow::Result;
use fs_err as fs;
use its_scenario::MAX_BYTES;

use super::{Glue, Plan, Run, demand_command, host_triple, share};
use crate::subjects::Recipe;
use crate::workspace::{self, files};

pub(super) struct Afl;

pub(super) const INSTALL: &str =
    "AFL++ is not installed: cargo install --locked cargo-afl --version 0.18.2";

/// It would not start without these on a machine that is not set up for fuzzing alone.
const SETTINGS: [&str; 5] = [
    "AFL_I_DONT_CARE_ABOUT_MISSING_CRASHES",
    "AFL_SKIP_CPUFREQ",
    "AFL_NO_UI",
    "AFL_NO_AFFINITY",
    // A seed that it cannot calibrate is one seed less, not the end.
    "AFL_IGNORE_SEED_PROBLEMS",
];

impl Glue for Afl {
    fn demand_tools(&self) -> Result<()> {
        demand_command("cargo", &["afl", "--version"], INSTALL)
    }

    fn recipe(&self) -> Result<Recipe> {
        // cargo-afl puts its instrumentation before these flags.
        Ok(Recipe::of("for AFL++", "afl", &["afl", "build"])
            .with(&["--profile", "test", "--target", &host_triple()?])
            .env("RUSTFLAGS", "--cfg engine=\"afl\""))
    }

    fn commands(&self, run: &Run, plan: &Plan) -> Result<Vec<duct::Expression>> {
        let dictionary = run.dictionary(plan.target)?;
        // Its input folder is not the one that what it finds is collected in.
        let seeds = run.folder.join("seeds");
        fs::create_dir_all(&seeds)?;
        for file in files(&run.corpus())? {
            fs::copy(&file, seeds.join(workspace::name(&file)))?;
        }
        let command = |index: usize| {
            let mut arguments: Vec<String> =
                ["afl", "fuzz", "-t", "25000"].map(String::from).into();
            let mut add = |name: &str, value: String| arguments.extend([name.to_owned(), value]);
            add("-i", seeds.display().to_string());
            add("-o", output(run).display().to_string());
            add("-x", dictionary.display().to_string());
            add("-G", MAX_BYTES.to_string());
            add("-s", plan.seed.wrapping_add(index as u32).to_string());
            match index {
                0 => add("-M", "main".into()),
                _ => add("-S", format!("other{index}")),
            }
            if plan.time > 0 {
                add("-V", plan.time.to_string());
            }
            if plan.runs > 0 {
                add("-E", share(plan.runs, index, plan.jobs).to_string());
            }
            add("--", plan.program.path.display().to_string());
            let mut command = duct::cmd("cargo", arguments);
            for setting in SETTINGS {
                command = command.env(setting, "1");
            }
            if plan.ends_at_first {
                command = command.env("AFL_BENCH_UNTIL_CRASH", "1");
            }
            command
        };
        Ok((0..plan.jobs).map(command).collect())
    }

    fn coverage(&self, run: &Run) -> Option<u64> {
        let edges = |folder: PathBuf| {
            let text = fs::read_to_string(folder.join("fuzzer_stats")).ok()?;
            let line = text.lines().find(|line| line.starts_with("edges_found"))?;
            line.split_whitespace().last()?.parse().ok()
        };
        workspace::entries(&output(run)).ok()?.into_iter().filter_map(edges).max()
    }

    fn is_instrumented(&self, run: &Run) -> bool {
        self.coverage(run).is_some_and(|edges| edges > 0)
    }

    /// Its queue has the seeds in it and what other instances found, which are left out. It ends
    /// with code 0 on crashes, so that looking here is the only way to hear of them.
    fn inputs(&self, run: &Run) -> Result<Vec<(PathBuf, PathBuf)>> {
        let mut all = Vec::new();
        for instance in workspace::entries(&output(run))? {
            let name = workspace::name(&instance);
            for (folder, prefix) in
                [("queue", "corpus/"), ("crashes", "crashes/crash-"), ("hangs", "crashes/timeout-")]
            {
                for file in files(&instance.join(folder))? {
                    let full = workspace::name(&file);
                    let is_other = full.contains(",orig:") || full.contains(",sync:");
                    let id = full.strip_prefix("id:").and_then(|rest| rest.split(',').next());
                    if let Some(id) = id.filter(|_| folder != "queue" || !is_other) {
                        all.push((file, format!("{prefix}afl-{name}-{id}").into()));
                    }
                }
            }
        }
        Ok(all)
    }
}

/// Returns AFL++'s output folder, with a folder for each instance.
fn output(run: &Run) -> PathBuf {
    run.folder.join("afl")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engines::Engine;

    /// AFL++ ends with code 0 however many crashes it saved; what lies in its folders is all that
    /// there is.
    #[test]
    fn what_it_saved_is_found_and_nothing_twice() {
        let folder = tempfile::tempdir().unwrap();
        let run = Run::new_in(folder.path().into(), Engine::Afl).unwrap();
        for file in [
            "main/crashes/id:000000,sig:06,src:000003,time:12,execs:40,op:havoc,rep:2",
            "main/crashes/README.txt",
            "main/hangs/id:000000,src:000001,time:1,execs:4,op:havoc,rep:1",
            "main/queue/id:000000,time:0,execs:0,orig:one-device",
            "main/queue/id:000007,src:000000,time:9,execs:30,op:havoc,rep:4,+cov",
            "other1/queue/id:000008,sync:main,src:000007",
        ] {
            let path = output(&run).join(file);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, file).unwrap();
        }
        run.collect().unwrap();
        run.collect().unwrap();
        let names = |folder: PathBuf| -> Vec<String> {
            files(&folder).unwrap().iter().map(|file| workspace::name(file)).collect()
        };
        let crashes = ["crash-afl-main-000000", "timeout-afl-main-000000"];
        assert_eq!(names(run.crashes()), crashes);
        assert_eq!(names(run.corpus()), ["afl-main-000007"]);
    }
}
