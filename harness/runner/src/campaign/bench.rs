//! How fast the cases of a folder are.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use its_reports::summary::Counts;
use its_scenario::Scenario;

use crate::play::{Make, Runner};

/// Plays the scenarios of a folder over and over, prints the speed, and ends the process.
pub(super) fn run(folder: &Path, make: Make) -> ! {
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
