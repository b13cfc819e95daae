//! Every stored scenario is clean on the production emulator, whichever target or known bug it is
//! kept for.

use std::fs;
use std::path::{Path, PathBuf};

use its_runner::trace::Trace;
use its_runner::{Runner, Verdict, replay};

/// The scenarios below this folder, in the order of their paths, but those that are kept for what
/// they break.
fn scenarios(folder: &Path) -> Vec<PathBuf> {
    let mut paths: Vec<PathBuf> = fs::read_dir(folder)
        .unwrap_or_else(|error| panic!("{}: {error}", folder.display()))
        .map(|entry| entry.expect("the folder is readable").path())
        .collect();
    paths.sort();
    paths
        .into_iter()
        .filter(|path| path.file_name().is_none_or(|name| name != "divergences"))
        .flat_map(|path| match path.is_dir() {
            true => scenarios(&path),
            false => {
                path.extension().is_some_and(|e| e == "its").then_some(path).into_iter().collect()
            }
        })
        .collect()
}

#[test]
fn every_stored_scenario_is_clean() {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../corpus");
    let files = scenarios(&corpus);
    assert!(files.len() > 100, "only {} stored scenarios", files.len());
    let mut runner = Runner::new(its_production::make);
    for file in files {
        let scenario = replay::load(&file).unwrap_or_else(|error| panic!("{error}"));
        let case = runner.play(&scenario, None);
        assert!(
            !matches!(case.verdict, Verdict::Diverged | Verdict::Defect),
            "{}: {}",
            file.display(),
            case.replayed(Trace::default()).text()
        );
    }
}
