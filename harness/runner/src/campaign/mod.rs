//! Many cases under a fuzzing engine: counted, with one file for each new signature.
//!
//! An engine's glue is a file: `libfuzzer`, `afl`, `honggfuzz`, and `random`, which is our own and
//! needs no tool. Which of the others is compiled in says `--cfg engine="…"`; `its-program` has the
//! entry points. They feed bytes; what becomes of a case is the same for all and said by the
//! environment, because an engine's command line is its own:
//!
//! - `ITSDIFF_FINDINGS`: a folder. A finding with a new signature is written there as
//!   `<signature>.its` and appended to `findings.jsonl`, and the run goes on. A scenario with fewer
//!   operations takes the place of an earlier one, and is appended too. A subject that takes
//!   other edges for the same signature gives up to three more files, `<signature>~<edges>.its`.
//!   Without the folder the first finding aborts the process, so that an outside engine sees a
//!   crash.
//! - `ITSDIFF_ORIGIN`: the first lines of such a file, up to its name: they end with a command that
//!   replays it.
//! - `ITSDIFF_FIRST`: the first finding aborts the process, written or not.
//! - `ITSDIFF_JUDGE`: the layers of rules that are judged, with commas between.
//! - `ITSDIFF_STATUS`: a folder that always holds the counts so far; [`total`] reads it.
//! - `ITSDIFF_BENCH`: a folder of scenarios. [`start`] plays them for `ITSDIFF_BENCH_SECONDS`,
//!   prints what it took, and ends the process.

#[cfg(engine = "afl")]
pub mod afl;
mod bench;
mod findings;
#[cfg(engine = "honggfuzz")]
pub mod honggfuzz;
mod libfuzzer;
pub mod random;
mod status;

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use its_reports::finding_file::report;
use its_reports::summary::Counts;
use its_rules::Finding;
use its_scenario::{FuzzTarget, Scenario};

use crate::play::{Case, Make, ONE_IN, Runner};
use crate::trace::Trace;

pub use libfuzzer::{cross_over, mutate};
pub use status::total;

/// What a program prints before a scenario in which the harness contradicts itself.
pub const HARNESS_DEFECT: &str = "a defect of the harness itself";

/// So many files are kept of one signature, where a subject took other edges.
const FILES_OF_A_SIGNATURE: usize = 4;

/// What is counted and kept of a process's cases.
struct Output {
    counts: Counts,
    status: Option<status::Slot>,
    findings: Option<PathBuf>,
    /// What begins each finding's file, up to the name of the file.
    origin: Option<String>,
    ends_at_first: bool,
    /// What has a file, by signature: the edges that the subject took, and the fewest operations.
    /// The first of a signature has the plain name.
    kept: BTreeMap<String, Vec<(u64, usize)>>,
}

impl Output {
    /// As the environment says.
    fn new() -> Self {
        let status = std::env::var_os("ITSDIFF_STATUS").map(|folder| {
            status::Slot::take(Path::new(&folder))
                .unwrap_or_else(|error| panic!("cannot count in {folder:?}: {error}"))
        });
        let (status, counts) = status.unzip();
        Self {
            counts: counts.unwrap_or_default(),
            status,
            findings: std::env::var_os("ITSDIFF_FINDINGS").map(PathBuf::from),
            origin: std::env::var("ITSDIFF_ORIGIN").ok(),
            ends_at_first: std::env::var_os("ITSDIFF_FIRST").is_some(),
            kept: BTreeMap::new(),
        }
    }

    /// Counts a case that was played, and keeps what it broke.
    fn take(&mut self, scenario: &Scenario, case: &Case) {
        if !case.defects.is_empty() {
            eprintln!("{HARNESS_DEFECT}:\n{scenario}");
            for defect in &case.defects {
                eprintln!("{defect}");
            }
            std::process::abort();
        }
        self.counts.add(&case.counts);
        if let Some(status) = &self.status {
            status.write(&self.counts);
        }
        for finding in &case.findings {
            self.found(scenario, finding);
        }
    }

    fn found(&mut self, scenario: &Scenario, finding: &Finding) {
        let Some(folder) = &self.findings else {
            eprintln!("{}", report(finding, scenario));
            std::process::abort();
        };
        let kept = self.kept.entry(finding.signature.clone()).or_default();
        let length = scenario.operations.len();
        let known = kept.iter().position(|(edges, _)| *edges == finding.edges);
        let index = known.unwrap_or(kept.len());
        if index == FILES_OF_A_SIGNATURE || known.is_some_and(|index| kept[index].1 <= length) {
            return;
        }
        match kept.get_mut(index) {
            Some((_, fewest)) => *fewest = length,
            None => kept.push((finding.edges, length)),
        }
        let is_other = index > 0;
        let stored = findings::store(folder, self.origin.as_deref(), scenario, (finding, is_other));
        if let Err(error) = &stored {
            eprintln!(
                "cannot write the finding {} to {}: {error}\n{}",
                finding.signature,
                folder.display(),
                report(finding, scenario)
            );
        }
        if self.ends_at_first || stored.is_err() {
            std::process::abort();
        }
    }
}

struct Campaign {
    target: FuzzTarget,
    runner: Runner,
    /// Cases of this process.
    played: u64,
    output: Output,
}

thread_local! {
    static CAMPAIGN: RefCell<Option<Campaign>> = const { RefCell::new(None) };
}

/// Prepares the process, once. Panics of the subject become findings, so only other panics may
/// reach the hook.
pub fn start(target: FuzzTarget, make: Make) {
    if CAMPAIGN.with_borrow(Option::is_some) {
        return;
    }
    abort_on_our_panics();
    if let Some(folder) = std::env::var_os("ITSDIFF_BENCH") {
        bench::run(Path::new(&folder), make);
    }
    let campaign = Campaign { target, runner: Runner::new(make), played: 0, output: Output::new() };
    CAMPAIGN.set(Some(campaign));
}

fn abort_on_our_panics() {
    let default = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |info| {
        if !its_board::subject_is_running() {
            default(info);
            std::process::abort();
        }
    }));
}

pub fn case(bytes: &[u8]) {
    with(|campaign| {
        let mut scenario = Scenario::decode(bytes);
        scenario.fit(campaign.target);
        let case = match campaign.played % ONE_IN {
            0 => campaign.runner.play_twice(&scenario, &mut Trace::default()),
            _ => campaign.runner.play(&scenario, None),
        };
        campaign.played += 1;
        campaign.output.take(&scenario, &case);
    });
}

fn with<R>(act: impl FnOnce(&mut Campaign) -> R) -> R {
    CAMPAIGN.with_borrow_mut(|slot| act(slot.as_mut().expect("start was called")))
}
