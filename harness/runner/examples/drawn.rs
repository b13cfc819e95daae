//! Drawn cases that are stored as text: their instructions, and what happens in them.
//!
//! - `drawn store FOLDER`: draws [`CASES`] cases, the targets in turn, and stores them.
//! - `drawn play FOLDER`: plays them in the order of their names and prints counts. Run it under
//!   callgrind to count instructions: `valgrind --tool=callgrind --collect-atstart=no
//!   --toggle-collect='its_runner::play::Runner::play' …`.
//! - `drawn trace FOLDER OUTPUT`: writes the trace and the verdict of each into a folder. A change
//!   that means to change no behaviour leaves these files as they are.

use std::fs;
use std::path::Path;
use std::process::ExitCode;

use its_production::make;
use its_reports::summary::Counts;
use its_runner::Runner;
use its_runner::replay::{load_folder, replay};
use its_scenario::FuzzTarget;

const CASES: usize = 512;
/// The first case's number; the others follow.
const SEED: u64 = 2026 << 32;

type Outcome = Result<(), Box<dyn std::error::Error>>;

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let outcome = match *words {
        ["store", folder] => store(Path::new(folder)),
        ["play", folder] => play(Path::new(folder)),
        ["trace", folder, output] => trace(Path::new(folder), Path::new(output)),
        _ => Err("usage: drawn store FOLDER | play FOLDER | trace FOLDER OUTPUT".into()),
    };
    if let Err(error) = outcome {
        eprintln!("error: {error}");
        return ExitCode::from(2);
    }
    ExitCode::SUCCESS
}

fn store(folder: &Path) -> Outcome {
    fs::create_dir_all(folder)?;
    for (index, target) in (0..CASES).zip(FuzzTarget::ALL.iter().cycle()) {
        let scenario = its_generate::numbered(SEED + index as u64, *target);
        let name = format!("{index:03}-{}.its", target.name());
        fs::write(folder.join(name), scenario.to_string())?;
    }
    Ok(())
}

fn play(folder: &Path) -> Outcome {
    let mut runner = Runner::new(make);
    let mut counts = Counts::default();
    for (_, scenario) in load_folder(folder)? {
        counts.add(&runner.play(&scenario, None).counts);
    }
    println!("{}", serde_json::to_string(&counts)?);
    Ok(())
}

fn trace(folder: &Path, output: &Path) -> Outcome {
    fs::create_dir_all(output)?;
    for (path, scenario) in load_folder(folder)? {
        let name = path.file_name().unwrap_or_default();
        fs::write(output.join(name), replay(&scenario, make).text())?;
    }
    Ok(())
}
