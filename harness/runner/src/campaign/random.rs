//! The random engine: our own generator on all cores, guided by nothing, and variations of stored
//! scenarios. It needs no tool and no compiler for C++, and is what coverage guidance is measured
//! against.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};
use std::{fs, io};

use its_scenario::{FuzzTarget, Scenario};
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use super::{Output, abort_on_our_panics};
use crate::play::{Make, ONE_IN, play_here, play_here_twice};

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Plan {
    /// The name of a [`FuzzTarget`].
    pub target: String,
    /// Case n is drawn with the number `seed * 2^32 + n`.
    pub seed: u32,
    /// Cases; 0 for no limit but 2^32.
    pub runs: u64,
    /// Seconds; 0 for no limit.
    pub seconds: u64,
    /// Threads.
    pub jobs: usize,
    /// The folder of the scenarios that the run starts from, of any target, in the binary form.
    pub corpus: PathBuf,
    /// Of so many processes that share the cases, this one: 0 of 1 for all of them.
    pub part: u64,
    pub parts: u64,
}

/// Of several processes each plays every such block of its own; which of two cases with one
/// signature is kept is then theirs. Cases between two looks at the limits. They are played in any
/// order and taken in that of their numbers, so that what a run of so many cases finds does not
/// depend on the threads. The first of each is played twice.
const AT_ONCE: u64 = ONE_IN;

/// One in so many cases varies a stored scenario.
const VARIED: u64 = 4;

/// Returns the case of a number: at first every other one is the next stored scenario as it is,
/// later some vary one, and all others are drawn.
fn scenario(number: u64, seed: u32, stored: &[Scenario], target: FuzzTarget) -> Scenario {
    let as_stored = stored.get(number as usize / 2).filter(|_| number % 2 == 1);
    if let Some(stored) = as_stored {
        let mut scenario = stored.clone();
        scenario.fit(target);
        return scenario;
    }
    let seed = u64::from(seed) << 32 | number;
    let varied = (number % VARIED == 2).then(|| its_generate::vary_stored(stored, target, seed));
    varied.flatten().unwrap_or_else(|| its_generate::numbered(seed, target))
}

/// Reads the scenarios of a folder, in the order of their names.
fn read_all(folder: &Path) -> io::Result<Vec<Scenario>> {
    let mut paths: Vec<_> =
        fs::read_dir(folder)?.map(|entry| Ok(entry?.path())).collect::<io::Result<_>>()?;
    paths.sort();
    paths.iter().map(|path| Ok(Scenario::decode(&fs::read(path)?))).collect()
}

/// Plays until a limit is reached.
///
/// # Errors
/// There is no such target, no threads, or the corpus cannot be read.
pub fn run(plan: &Plan, make: Make) -> Result<(), String> {
    let target = FuzzTarget::named(&plan.target).ok_or("no such target")?;
    let threads = rayon::ThreadPoolBuilder::new()
        .num_threads(plan.jobs)
        .build()
        .map_err(|error| error.to_string())?;
    let stored =
        read_all(&plan.corpus).map_err(|error| format!("{}: {error}", plan.corpus.display()))?;
    abort_on_our_panics();
    let mut output = Output::new();
    let start = Instant::now();
    let end = match plan.runs {
        0 => u64::from(u32::MAX),
        runs => runs.min(u32::MAX.into()),
    };
    let mut next = plan.part * AT_ONCE;
    while next < end {
        let numbers = next..end.min(next + AT_ONCE);
        next += plan.parts.max(1) * AT_ONCE;
        let cases: Vec<_> = threads.install(|| {
            let play = |number| {
                let scenario = scenario(number, plan.seed, &stored, target);
                let case = match number % ONE_IN {
                    0 => play_here_twice(&scenario, make),
                    _ => play_here(&scenario, make),
                };
                (scenario, case)
            };
            numbers.into_par_iter().map(play).collect()
        });
        for (scenario, case) in &cases {
            output.take(scenario, case);
        }
        if plan.seconds > 0 && start.elapsed() >= Duration::from_secs(plan.seconds) {
            break;
        }
    }
    Ok(())
}
