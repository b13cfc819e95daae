//! How fast the cases of a folder are.

use std::path::Path;
use std::time::{Duration, Instant};

use its_reports::summary::Counts;

use crate::play::{Make, Runner};
use crate::replay::load_folder;

/// Plays the scenarios of a folder over and over, prints the speed, and ends the process.
pub(super) fn run(folder: &Path, make: Make) -> ! {
    let seconds = std::env::var("ITSDIFF_BENCH_SECONDS").ok();
    let seconds = seconds.and_then(|text| text.parse().ok()).unwrap_or(5);
    let scenarios = load_folder(folder).unwrap_or_else(|error| panic!("{error}"));
    let mut runner = Runner::new(make);
    let mut counts = Counts::default();
    let start = Instant::now();
    while start.elapsed() < Duration::from_secs(seconds) {
        for (_, scenario) in &scenarios {
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
