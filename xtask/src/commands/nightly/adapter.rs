//! The adapter for C code, the only unsafe code there is, under valgrind's memcheck: its own tests,
//! an example that makes no mistake and one that makes them all.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use its_reports::night::Checked;
use its_runner::replay::{CLEAN, FINDINGS};

use crate::commands::scale::VALGRIND;
use crate::subjects::{Program, Subject};
use crate::target::Target;
use crate::{process, stop, workspace};

const MEMCHECK: [&str; 3] = ["valgrind", "--quiet", "--error-exitcode=99"];

/// The fault that memcheck reports itself, as it should: the processor jumps to where no code is.
const REPORTED: &str = "jump-to-null";

/// Checks all of it, with the seeds of these targets, within a limit; an error only if this process
/// must stop.
pub(super) fn check(targets: &[&'static Target], limit: Duration) -> Result<Checked> {
    if VALGRIND.run(["--version"]).is_err() {
        stop::check()?;
        return Ok(Checked::Missing);
    }
    let end = Instant::now() + limit;
    match all(targets, end) {
        Ok(Some(scenarios)) => Ok(Checked::Sound(scenarios)),
        Ok(None) => Ok(Checked::Cut),
        Err(error) => {
            stop::check()?;
            Ok(Checked::Trouble(format!("{error:#}")))
        }
    }
}

/// Returns how many scenarios were sound; `None` if not all were played before the end.
fn all(targets: &[&'static Target], end: Instant) -> Result<Option<usize>> {
    tests()?;
    let mut seeds = Vec::new();
    for target in targets {
        seeds.extend(target.scenarios("seeds")?);
    }
    for example in ["careful", "own-layout"] {
        let program = player(example)?;
        if !play(&program, &seeds, CLEAN, end).context(example)? {
            return Ok(None);
        }
    }
    let faults = workspace::root().join("harness/abi/examples/faults");
    let mut faults = workspace::scenarios(&faults)?;
    faults.retain(|file| file.file_stem().is_none_or(|name| name != REPORTED));
    let program = player("faults")?;
    for fault in &faults {
        let played = play(&program, std::slice::from_ref(fault), FINDINGS, end);
        if !played.with_context(|| workspace::shown(fault))? {
            return Ok(None);
        }
    }
    Ok(Some(2 * seeds.len() + faults.len()))
}

fn tests() -> Result<()> {
    let runner = format!("target.'cfg(all())'.runner = {MEMCHECK:?}");
    let arguments = ["--config", &runner, "test", "--package", "its-abi", "--quiet"];
    let status = process::cargo(arguments, |command| command.stdout_null())?.status;
    ensure!(status.success(), "the adapter's tests ended with {status}");
    Ok(())
}

fn player(example: &str) -> Result<Program> {
    Subject::external(&format!("example:{example}"))?.player()
}

/// Plays files, which must end with a code. Returns whether they did before `end`.
fn play(program: &Program, files: &[PathBuf], code: u8, end: Instant) -> Result<bool> {
    let options = MEMCHECK[1..].iter().map(Path::new);
    let own = [program.path.as_path(), Path::new("--quiet")];
    let all = options.chain(own).chain(files.iter().map(PathBuf::as_path));
    let command = duct::cmd(MEMCHECK[0], all).stdout_null();
    let limit = end.saturating_duration_since(Instant::now());
    let Some(ended) = process::run_within(MEMCHECK[0], command, limit)? else {
        return Ok(false);
    };
    let status = ended.status;
    let is_right = status.code() == Some(code.into());
    ensure!(is_right, "under memcheck it ended with {status}, not {code}");
    Ok(true)
}
