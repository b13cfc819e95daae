//! Files in, verdicts out.

use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::{fmt, fs};

use its_reports::replay::Replayed;
use its_scenario::{FuzzTarget, MAX_TEXT_BYTES, Scenario};

use crate::play::{self, Make};
use crate::trace::Trace;

/// Exit code: nothing was broken.
pub const CLEAN: u8 = 0;
/// Exit code: there are findings.
pub const FINDINGS: u8 = 1;
/// Exit code: the command line, a file or the environment is not as it must be.
pub const USAGE: u8 = 2;
/// Exit code: the harness contradicts itself.
pub const DEFECT: u8 = 3;

/// Why a file is no scenario.
#[derive(Debug)]
pub struct LoadError {
    path: PathBuf,
    why: String,
    /// The file is there and holds nothing.
    pub is_empty: bool,
}

impl fmt::Display for LoadError {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        write!(f, "{}: {}", self.path.display(), self.why)
    }
}

impl std::error::Error for LoadError {}

/// The names that libFuzzer gives the inputs it saves.
const ARTIFACTS: [&str; 5] = ["crash-", "timeout-", "oom-", "slow-unit-", "leak-"];

/// Whether a file has the name of an engine's artifact, which holds a scenario in its binary form.
pub fn is_artifact(path: &Path) -> bool {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    !name.ends_with(".its") && ARTIFACTS.iter().any(|prefix| name.starts_with(prefix))
}

impl LoadError {
    fn new(path: &Path, why: impl fmt::Display) -> Self {
        Self { path: path.to_owned(), why: why.to_string(), is_empty: false }
    }

    fn empty(path: &Path, why: impl fmt::Display) -> Self {
        Self { is_empty: true, ..Self::new(path, why) }
    }
}

/// The bytes of a file that may be a scenario.
fn read(path: &Path) -> Result<Vec<u8>, LoadError> {
    let error = |why: std::io::Error| LoadError::new(path, why);
    let length = fs::metadata(path).map_err(error)?.len();
    if length > MAX_TEXT_BYTES as u64 {
        let why = format!("{length} bytes; a scenario has at most {MAX_TEXT_BYTES}");
        return Err(LoadError::new(path, why));
    }
    fs::read(path).map_err(error)
}

/// Reads a scenario: an engine's artifact by its file name, anything else as text.
pub fn load(path: &Path) -> Result<Scenario, LoadError> {
    let bytes = read(path)?;
    if bytes.is_empty() {
        let why = "empty; expected a scenario as text, or an engine's artifact";
        return Err(LoadError::empty(path, why));
    }
    if !is_artifact(path) {
        return Scenario::parse(&bytes).map_err(|error| LoadError::new(path, error));
    }
    let scenario = Scenario::decode(&bytes);
    if scenario.operations.is_empty() {
        let why = format!("its {} bytes hold no operation", bytes.len());
        return Err(LoadError::empty(path, why));
    }
    Ok(scenario)
}

/// Reads the scenarios of a folder, in the order of their paths.
///
/// # Errors
/// The folder, or one of its files, cannot be read.
pub fn load_folder(folder: &Path) -> Result<Vec<(PathBuf, Scenario)>, LoadError> {
    let entries = fs::read_dir(folder).map_err(|error| LoadError::new(folder, error))?;
    let paths = entries.filter_map(|entry| Some(entry.ok()?.path()));
    let mut paths: Vec<_> = paths.filter(|path| path.extension() == Some("its".as_ref())).collect();
    paths.sort();
    paths.into_iter().map(|path| load(&path).map(|scenario| (path, scenario))).collect()
}

/// The same as it was played by this target's engine, if the file is an engine's: as it
/// [fits](Scenario::fit) the target, and without operations too, which is a boot.
pub fn load_as(path: &Path, target: Option<&str>) -> Result<Scenario, LoadError> {
    if !is_artifact(path) {
        return load(path);
    }
    let mut scenario = Scenario::decode(&read(path)?);
    if let Some(target) = target.and_then(FuzzTarget::named) {
        scenario.fit(target);
    }
    Ok(scenario)
}

/// Plays one scenario on a subject and returns what happened.
pub fn replay(scenario: &Scenario, make: Make) -> Replayed {
    silence_subject_panics();
    let mut trace = Trace::default();
    play::replay(scenario, make, &mut trace).replayed(trace)
}

/// Drops the message of a panic of the subject: it is a finding, and reported as one.
pub fn silence_subject_panics() {
    static ONCE: std::sync::Once = std::sync::Once::new();
    ONCE.call_once(|| {
        let default = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |info| {
            if !its_board::subject_is_running() {
                default(info);
            }
        }));
    });
}

/// Prints to standard output.
///
/// # Errors
/// Nobody reads there, or the disk is full.
pub fn print(text: &str) -> io::Result<()> {
    let mut out = io::stdout();
    let written = out.write_all(text.as_bytes()).and_then(|()| out.flush());
    let why = |error: io::Error| {
        io::Error::new(error.kind(), format!("cannot write to standard output: {error}"))
    };
    written.map_err(why)
}
