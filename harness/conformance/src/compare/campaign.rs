//! Many drawn cases, on several QEMUs side by side.

use std::fs;
use std::io::IsTerminal;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use arbitrary::Unstructured;
use its_generate::{Temper, generate_for};
use its_qemu::{Installed, Qemu};
use its_reports::finding_file::report;
use its_reports::json_line;
use its_runner::replay::{CLEAN, FINDINGS, print};
use its_scenario::{Boot, FuzzTarget, Scenario};

use super::Arguments;
use super::case::{Compared, Comparison, Verdict};
use super::summary::Summary;
use crate::qemu::becomes_zero;

/// What all jobs share.
struct Shared<'a> {
    arguments: &'a Arguments,
    installed: &'a Installed,
    start: Instant,
    next: AtomicU64,
    failed: AtomicBool,
    summary: Mutex<Summary>,
}

/// Compares until the time is over; the exit code.
pub(super) fn run(arguments: &Arguments, installed: &Installed) -> Result<u8> {
    let cores = || thread::available_parallelism().map_or(1, usize::from);
    let jobs = arguments.jobs.map_or_else(cores, usize::from);
    let shared = Shared {
        arguments,
        installed,
        start: Instant::now(),
        next: AtomicU64::new(0),
        failed: AtomicBool::new(false),
        summary: Mutex::new(Summary {
            qemu: installed.version.clone(),
            seed: arguments.seed,
            jobs,
            ..Summary::default()
        }),
    };
    thread::scope(|scope| {
        let shared = &shared;
        // One of them shows how far all are.
        let start = |number| {
            scope.spawn(move || {
                let done = cases(shared, number == 0 && !arguments.json);
                done.inspect_err(|_| shared.failed.store(true, Ordering::Relaxed))
            })
        };
        let all: Vec<_> = (0..jobs).map(start).collect();
        all.into_iter().try_for_each(|job| {
            let ended = job.join();
            ended.map_err(|_| anyhow::anyhow!("a job panicked"))?
        })
    })?;
    let mut summary = shared.summary.into_inner();
    let summary = summary.as_mut().unwrap_or_else(|poisoned| poisoned.get_mut());
    summary.seconds = shared.start.elapsed().as_secs_f64();
    print(&if arguments.json { json_line(&*summary)? + "\n" } else { summary.text() })?;
    Ok(if summary.differences.is_empty() { CLEAN } else { FINDINGS })
}

impl Shared<'_> {
    /// The number of the next case, while there is time.
    fn next(&self) -> Option<u64> {
        let time = Duration::from_secs(self.arguments.time);
        if self.start.elapsed() >= time || self.failed.load(Ordering::Relaxed) {
            return None;
        }
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        let most = self.arguments.runs.unwrap_or(u64::MAX);
        (number < most).then_some(number)
    }
}

fn cases(shared: &Shared<'_>, shows: bool) -> Result<()> {
    let mut comparison = Comparison::on_qemu(shared.installed, shared.arguments.careful);
    let mut last = Instant::now();
    while let Some(number) = shared.next() {
        let scenario = draw(shared.arguments.seed, number, &comparison);
        let mut compared = comparison.play(&scenario)?;
        if let Verdict::Gone(error) = &compared.verdict {
            // Once more on a fresh one: what kills it twice is its own doing.
            let path = shared.arguments.findings.join("gone-once.its");
            write(&path, &format!("# {error}\n{scenario}"))?;
            compared = comparison.play(&scenario)?;
            lock(&shared.summary).restarts += 1;
        }
        let mut summary = lock(&shared.summary);
        summary.count(&compared);
        keep(&compared, &scenario, shared.arguments, &mut summary)?;
        if shows && last.elapsed() > PLAIN {
            last = Instant::now();
            progress(&summary, shared.start);
        }
    }
    Ok(())
}

/// How often progress is shown.
const PLAIN: Duration = Duration::from_secs(10);

fn progress(summary: &Summary, start: Instant) {
    let seconds = start.elapsed().as_secs_f64();
    let line = format!(
        "{seconds:.0} s: {} cases, {:.0} operations/s, {} differences",
        summary.cases,
        summary.operations as f64 / seconds.max(0.001),
        summary.differences.len()
    );
    if std::io::stderr().is_terminal() { eprint!("\r{line}  ") } else { eprintln!("{line}") }
}

/// Bytes that a scenario is drawn from.
const ENTROPY: usize = 4096;

/// One in four is what a driver does, the rest also what none does.
fn draw(seed: u64, number: u64, comparison: &Comparison<Qemu>) -> Scenario {
    let mut random = fastrand::Rng::with_seed(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ number);
    let mut bytes = vec![0; ENTROPY];
    random.fill(&mut bytes);
    let temper = match random.u8(..4) {
        0 => Temper::Legal,
        _ => Temper::Hostile,
    };
    let configuration = comparison.profile().configuration();
    let mut u = Unstructured::new(&bytes);
    let mut scenario = generate_for(&mut u, FuzzTarget::Arch, temper, configuration);
    let Boot { stage, live_devices, queue_pages, table_pages, two_level_collections, .. } =
        scenario.boot;
    // QEMU's machine is the usual board. It reads the whole pending table again and again, and
    // those of 14 INTID bits are the smallest.
    let usual = Boot { intid_bits: 14, ..Boot::default() };
    scenario.boot =
        Boot { stage, live_devices, queue_pages, table_pages, two_level_collections, ..usual };
    scenario.fix_up();
    if let Some(device) = becomes_zero(&scenario) {
        scenario.swap_devices(device, 0);
    }
    scenario
}

/// Writes the first case of each difference.
fn keep(
    compared: &Compared,
    scenario: &Scenario,
    arguments: &Arguments,
    summary: &mut Summary,
) -> Result<()> {
    let (signature, text) = match &compared.verdict {
        Verdict::Differs(finding) => (finding.signature.clone(), report(finding, scenario)),
        Verdict::Gone(error) => ("QEMU-GONE".into(), format!("# {error}\n{scenario}")),
        Verdict::Agree | Verdict::Poisoned | Verdict::Settled(_) => return Ok(()),
    };
    if let Some((count, _)) = summary.differences.get_mut(&signature) {
        *count += 1;
        return Ok(());
    }
    let path = arguments.findings.join(format!("{signature}.its"));
    write(&path, &text)?;
    let file = path.display().to_string();
    summary.differences.insert(signature, (1, file));
    Ok(())
}

fn write(path: &Path, text: &str) -> Result<()> {
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))?;
    }
    fs::write(path, text).with_context(|| format!("cannot write {}", path.display()))
}

fn lock(summary: &Mutex<Summary>) -> std::sync::MutexGuard<'_, Summary> {
    summary.lock().unwrap_or_else(PoisonError::into_inner)
}
