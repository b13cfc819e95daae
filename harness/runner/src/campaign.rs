//! Many cases under a fuzzing engine: counted, with one file for each new signature.
//!
//! The engine owns the process and calls [`case`] and [`mutate`] for every input. Where the findings and the counts go
//! is said by the environment, because an engine's command line is its own:
//!
//! - `ITSDIFF_FINDINGS`: a folder. A finding with a new signature is written there as `<signature>.its`, appended to
//!   `findings.jsonl`, and the run goes on. Without it the first finding aborts the process, so that an
//!   outside engine sees a crash.
//! - `ITSDIFF_STATUS`: a file that always holds the counts so far, as one line of JSON.
//! - `ITSDIFF_BENCH`: a folder of scenarios. [`start`] plays them for `ITSDIFF_BENCH_SECONDS`, prints what it took, and
//!   ends the process.

use std::cell::RefCell;
use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use its_scenario::{FuzzTarget, Scenario};

use crate::finding::{Finding, Record};
use crate::play::{Counts, Make, Runner};

/// Bytes that the status line is padded to, so that a later one covers it whole.
const STATUS_BYTES: usize = 256;

/// The entry points of a libFuzzer target, for [`FuzzTarget`] `$target` on what `$make` makes: the production emulator,
/// unless it is said.
#[macro_export]
macro_rules! libfuzzer_target {
    ($target:expr) => {
        $crate::libfuzzer_target!($target, $crate::production);
    };
    ($target:expr, $make:expr) => {
        libfuzzer_sys::fuzz_target!(
            init: $crate::campaign::start($target, $make),
            |bytes: &[u8]| $crate::campaign::case(bytes)
        );

        libfuzzer_sys::fuzz_mutator!(|data: &mut [u8], size: usize, max_size: usize, seed: u32| {
            // One in eight is left to libFuzzer's own byte mutations.
            if seed % 8 == 0 {
                libfuzzer_sys::fuzzer_mutate(data, size, max_size)
            } else {
                $crate::campaign::mutate(data, size, max_size, seed)
            }
        });

        libfuzzer_sys::fuzz_crossover!(|one: &[u8], other: &[u8], out: &mut [u8], seed: u32| {
            $crate::campaign::cross_over(one, other, out, seed)
        });
    };
}

struct Campaign {
    target: FuzzTarget,
    runner: Runner,
    counts: Counts,
    findings: Option<PathBuf>,
    status: Option<File>,
}

thread_local! {
    static CAMPAIGN: RefCell<Option<Campaign>> = const { RefCell::new(None) };
}

/// Prepares the process. Panics of the subject become findings, so only other panics may reach the hook.
pub fn start(target: FuzzTarget, make: Make) {
    let default = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |info| {
        if !its_board::subject_is_running() {
            default(info);
            std::process::abort();
        }
    }));
    if let Some(folder) = std::env::var_os("ITSDIFF_BENCH") {
        bench(Path::new(&folder), make);
    }
    let campaign = Campaign {
        target,
        runner: Runner::new(make),
        counts: Counts::default(),
        findings: std::env::var_os("ITSDIFF_FINDINGS").map(PathBuf::from),
        status: std::env::var_os("ITSDIFF_STATUS").map(|path| {
            File::create(&path).unwrap_or_else(|error| panic!("cannot create {path:?}: {error}"))
        }),
    };
    CAMPAIGN.with(|slot| *slot.borrow_mut() = Some(campaign));
}

/// Plays one input.
pub fn case(bytes: &[u8]) {
    with(|campaign| {
        let mut scenario = Scenario::decode(bytes);
        scenario.fit(campaign.target);
        campaign.play(&scenario);
    });
}

fn with<R>(act: impl FnOnce(&mut Campaign) -> R) -> R {
    CAMPAIGN.with(|slot| act(slot.borrow_mut().as_mut().expect("start was called")))
}

/// Mutates the input of `size` bytes in `data`, which has room for more. Returns the new size.
pub fn mutate(data: &mut [u8], size: usize, max_size: usize, seed: u32) -> usize {
    let mut scenario = Scenario::decode(data.get(..size).unwrap_or(&[]));
    let target = with(|campaign| campaign.target);
    its_scenario::mutate(&mut scenario, target, seed.into());
    scenario.shorten_to(max_size);
    put(&scenario, data)
}

/// Makes one input out of two.
pub fn cross_over(one: &[u8], other: &[u8], out: &mut [u8], seed: u32) -> usize {
    let one = Scenario::decode(one);
    let target = with(|campaign| campaign.target);
    let other = Scenario::decode(other);
    let mut scenario = its_scenario::crossover(&one, &other, target, seed.into());
    scenario.shorten_to(out.len());
    put(&scenario, out)
}

fn put(scenario: &Scenario, out: &mut [u8]) -> usize {
    let bytes = scenario.encode();
    let size = bytes.len().min(out.len());
    out[..size].copy_from_slice(&bytes[..size]);
    size
}

impl Campaign {
    fn play(&mut self, scenario: &Scenario) {
        let case = self.runner.play(scenario, None);
        if !case.defects.is_empty() {
            eprintln!("a defect of the harness itself:\n{scenario}");
            for defect in &case.defects {
                eprintln!("{defect}");
            }
            std::process::abort();
        }
        self.counts.add(&case.counts);
        if let Some(status) = &self.status {
            let line = serde_json::to_string(&self.counts).expect("counts are JSON");
            let line = format!("{line:<width$}\n", width = STATUS_BYTES - 1);
            // A full disk must not look like a finding.
            let _ = status.write_all_at(line.as_bytes(), 0);
        }
        for finding in &case.findings {
            self.found(scenario, finding);
        }
    }

    fn found(&self, scenario: &Scenario, finding: &Finding) {
        let Some(folder) = &self.findings else {
            eprintln!("{}", report(scenario, finding));
            std::process::abort();
        };
        if let Err(error) = store(folder, scenario, finding) {
            eprintln!(
                "cannot write the finding {} to {}: {error}\n{}",
                finding.signature,
                folder.display(),
                report(scenario, finding)
            );
            std::process::abort();
        }
    }
}

/// A finding as a file: its header is comments, so that it is a scenario as it stands.
pub fn report(scenario: &Scenario, finding: &Finding) -> String {
    let comment = |text: &str| text.replace('\n', "\n#           ");
    format!(
        "# rule:     {} ({})\n# holds:    {}\n# signature: {}\n# operation: {}\n# where:    {}\n# expected: {}\n# seen:     {}\n{scenario}",
        finding.rule.id,
        finding.rule.severity.name(),
        comment(finding.rule.holds),
        finding.signature,
        finding.operation,
        comment(&finding.path),
        comment(&finding.expected),
        comment(&finding.seen),
    )
}

/// Writes a finding if its signature is new. Several processes may do so at once.
fn store(folder: &Path, scenario: &Scenario, finding: &Finding) -> std::io::Result<()> {
    let path = folder.join(format!("{}.its", finding.signature));
    if path.exists() {
        return Ok(());
    }
    let part = folder.join(format!(".{}.{}", finding.signature, std::process::id()));
    fs::write(&part, report(scenario, finding))?;
    let linked = fs::hard_link(&part, &path);
    fs::remove_file(&part)?;
    if let Err(error) = linked {
        let first = error.kind() != std::io::ErrorKind::AlreadyExists;
        return if first { Err(error) } else { Ok(()) };
    }
    let record: Record = finding.record(path.display().to_string());
    let mut list = OpenOptions::new()
        .create(true)
        .append(true)
        .open(folder.join("findings.jsonl"))?;
    let line = serde_json::to_string(&record).expect("a record is JSON");
    list.write_all(format!("{line}\n").as_bytes())
}

/// Plays the scenarios of a folder over and over, prints the speed, and ends the process.
fn bench(folder: &Path, make: Make) -> ! {
    let seconds = std::env::var("ITSDIFF_BENCH_SECONDS").ok();
    let seconds = seconds.and_then(|text| text.parse().ok()).unwrap_or(5);
    let scenarios = read_folder(folder);
    let mut runner = Runner::new(make);
    let mut counts = Counts::default();
    let start = Instant::now();
    while start.elapsed() < Duration::from_secs(seconds) {
        for scenario in &scenarios {
            counts.add(&runner.play(scenario, None).counts);
        }
    }
    let elapsed = start.elapsed().as_secs_f64();
    let line = serde_json::json!({
        "scenarios": scenarios.len(),
        "seconds": elapsed,
        "counts": counts,
    });
    println!("{line}");
    std::process::exit(0)
}

fn read_folder(folder: &Path) -> Vec<Scenario> {
    let mut paths: Vec<PathBuf> = fs::read_dir(folder)
        .unwrap_or_else(|error| panic!("cannot read {}: {error}", folder.display()))
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(|path| path.extension().is_some_and(|extension| extension == "its"))
        .collect();
    paths.sort();
    let read = |path: &PathBuf| {
        let text = fs::read(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        Scenario::parse(&text).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
    };
    paths.iter().map(read).collect()
}
