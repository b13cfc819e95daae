//! `promote`: a finding becomes a regression test.
//!
//! It is minimized, must give the same trace in ten processes, and is written to
//! `corpus/<target>/regressions`, named by its signature. The test command replays that folder: on
//! the production emulator each file must be clean, and where its header names a known bug or an
//! example, must show its signature with it. Other external emulations are not there to be tested:
//! their findings are kept for whoever replays the folder with `--subject`, and for the production
//! emulator.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use fs_err as fs;
use its_reports::finding_file::{inherit, regression};
use its_runner::replay::load;
use its_scenario::Scenario;
use rayon::prelude::*;

use super::corpus::committed;
use super::minimize::{BUDGET, Finding};
use crate::exit::Exit;
use crate::findings::{FILE, header};
use crate::subjects::{Bank, Bug, PRODUCTION, Program, Which};
use crate::target::Target;
use crate::workspace;

#[derive(clap::Args)]
pub(crate) struct Arguments {
    #[command(flatten)]
    finding: Finding,
}

/// Processes that must give the same trace.
const PROCESSES: usize = 10;

/// Promotes a file. A finding that is there already changes nothing.
pub(crate) fn run(arguments: &Arguments) -> Result<Exit> {
    let finding = &arguments.finding;
    let target = finding.target;
    if let Some(id) = &finding.judged.which.bug {
        let known = Bug::all(Bank::Bugs)?.iter().any(|bug| bug.id == *id);
        ensure!(known, "`{id}` is no known bug of the emulator: the tests could not play it");
    }
    let program = finding.program()?;
    let done = finding.minimize(&program, BUDGET)?;
    let subject = name(&finding.judged.which)?;
    let text = regression(&subject, &workspace::version(), &done.text);
    let signature = &done.finding.signature;
    if let Some(same) = kept(target, &text, &subject, signature)? {
        say!("it is there, nothing changed: {}", workspace::shown(&same));
        return Ok(Exit::Clean);
    }
    let folder = target.corpus("regressions");
    let path = folder.join(format!("{signature}.its"));
    ensure!(
        !path.exists(),
        "{} is another scenario with this signature: nothing was written. Where both say \
         something, give that one another name",
        workspace::shown(&path)
    );
    fs::create_dir_all(&folder)?;
    demand_same_trace(&program, &text, signature)?;
    // What is committed names no place of this machine.
    let place = path.strip_prefix(workspace::root())?.display().to_string();
    let place = Some(place.as_str()).filter(|_| !subject.starts_with(FILE));
    let text = inherit(&finding.text(), &text, place);
    workspace::write_new(&path, &text)?;
    say!("{}", workspace::shown(&path));
    Ok(Exit::Clean)
}

/// Returns the subject as the head of the regression names it.
fn name(which: &Which) -> Result<String> {
    let Some(text) = &which.subject else {
        return Ok(which.bug.as_deref().unwrap_or(PRODUCTION).into());
    };
    if text.starts_with("example:") {
        return Ok(text.clone());
    }
    let file = Path::new(text).file_name().and_then(|file| file.to_str());
    let file = file.with_context(|| format!("{text} is no file"))?;
    ensure!(
        !file.contains([',', '\n']),
        "the name of the subject's file has a comma or a line break: {file}"
    );
    Ok(format!("{FILE}{file}"))
}

/// Returns the regression that is the same scenario, for the same finding; an error if it is kept
/// for something else.
fn kept(target: &Target, text: &str, subject: &str, signature: &str) -> Result<Option<PathBuf>> {
    let scenario = Scenario::parse(text).context("what was minimized is no scenario")?;
    for path in committed(target)? {
        if load(&path)? == scenario {
            let header = header(&path);
            let for_the_same = path.starts_with(target.corpus("regressions"))
                && header.subject.as_deref() == Some(subject)
                && header.signature.as_deref() == Some(signature);
            let shown = workspace::shown(&path);
            let what = "is the same scenario, kept for something else: nothing was written";
            ensure!(for_the_same, "{shown} {what}");
            return Ok(Some(path));
        }
    }
    Ok(None)
}

/// Plays it in separate processes, each of which must show the finding, and all give the same
/// trace.
fn demand_same_trace(program: &Program, text: &str, signature: &str) -> Result<()> {
    let file = tempfile::Builder::new().suffix(".its").tempfile()?;
    fs::write(file.path(), text)?;
    let trace = |_| trace(program, file.path(), signature);
    let traces: Vec<String> = (0..PROCESSES).into_par_iter().map(trace).collect::<Result<_>>()?;
    ensure!(
        traces.windows(2).all(|two| two[0] == two[1]),
        defect!("{PROCESSES} processes give different traces of the same scenario")
    );
    Ok(())
}

fn trace(program: &Program, file: &Path, signature: &str) -> Result<String> {
    let played = program.replay(file, None)?;
    let shows = played.findings.iter().any(|finding| finding.signature == signature);
    ensure!(shows, defect!("not every process shows {signature}"));
    Ok(serde_json::to_string(&played)?)
}
