//! The adapter for C code, the only unsafe code there is, under valgrind's memcheck: its own tests, an example that makes no
//! mistake and one that makes them all.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use its_runner::replay::{CLEAN, FINDINGS};
use serde::{Deserialize, Serialize};

use crate::foreign::Foreign;
use crate::process;
use crate::program::Program;
use crate::scale::VALGRIND;
use crate::subject::Subject;
use crate::target;
use crate::workspace;

const MEMCHECK: [&str; 3] = ["valgrind", "--quiet", "--error-exitcode=99"];

/// What memcheck itself tells of, as it should: the processor is sent to where no code is.
const TOLD: &str = "jump-to-null";

/// What came of it.
#[derive(Clone, Serialize, Deserialize)]
pub(super) enum Checked {
    /// So many scenarios, and the tests.
    Sound(usize),
    Trouble(String),
    /// There is no valgrind.
    Missing,
}

/// Checks all of it.
pub(super) fn check() -> Checked {
    if VALGRIND.run(["--version"]).is_err() {
        return Checked::Missing;
    }
    match all() {
        Ok(scenarios) => Checked::Sound(scenarios),
        Err(error) => Checked::Trouble(format!("{error:#}")),
    }
}

fn all() -> Result<usize> {
    tests()?;
    let mut seeds = Vec::new();
    for target in &target::ALL {
        seeds.extend(workspace::scenarios(&target.corpus("seeds"))?);
    }
    for example in ["careful", "own-layout"] {
        play(&replayer(example)?, &seeds, CLEAN).context(example)?;
    }
    let faults = workspace::root().join("harness/abi/examples/faults");
    let mut faults = workspace::scenarios(&faults)?;
    faults.retain(|file| file.file_stem().is_none_or(|name| name != TOLD));
    let program = replayer("faults")?;
    for fault in &faults {
        play(&program, std::slice::from_ref(fault), FINDINGS)
            .with_context(|| workspace::shown(fault))?;
    }
    Ok(2 * seeds.len() + faults.len())
}

fn tests() -> Result<()> {
    let runner = format!("target.'cfg(all())'.runner = {MEMCHECK:?}");
    let arguments = ["--config", &runner, "test", "--package", "its-abi", "--quiet"];
    let output = process::cargo(&arguments, |command| command.stdout_null())?;
    ensure!(output.status.success(), "the adapter's tests ended with {}", output.status);
    Ok(())
}

fn replayer(example: &str) -> Result<Program> {
    let subject = Subject::foreign(Foreign::prepare(&format!("example:{example}"))?);
    subject.player()
}

/// Plays files, which must end with a code.
fn play(program: &Program, files: &[PathBuf], code: u8) -> Result<()> {
    let options = MEMCHECK[1..].iter().map(Path::new);
    let own = [program.path.as_path(), Path::new("--quiet")];
    let all = options.chain(own).chain(files.iter().map(PathBuf::as_path));
    let command = duct::cmd(MEMCHECK[0], all).stdout_null();
    let status = process::ended(MEMCHECK[0], command)?.status;
    ensure!(
        status.code() == Some(code.into()),
        "under memcheck it ended with {status}, not {code}"
    );
    Ok(())
}
