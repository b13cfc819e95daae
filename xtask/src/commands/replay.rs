//! `replay`: plays files and shows what happened.

use std::path::Path;

use anstream::adapter::strip_str;
use anstream::{AutoStream, ColorChoice};
use anyhow::{Result, anyhow, ensure};
use clap::builder::{PossibleValue, PossibleValuesParser, TypedValueParser};
use its_reports::replay::{Choice, Kind, Replayed};
use its_runner::replay::{is_artifact, load_as};
use serde_json::json;

use crate::exit::Exit;
use crate::findings::KnownFile;
use crate::input::Input;
use crate::output;
use crate::subjects::{JudgedSubject, Program};
use crate::target::Target;

#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// Scenarios as text, artifacts of an engine, or `-` for text on standard input
    #[arg(required = true, value_parser = Input::parse)]
    files: Vec<Input>,
    #[command(flatten)]
    judged: JudgedSubject,
    #[command(flatten)]
    known: KnownFile,
    /// The target whose engine wrote the artifacts among the files, where their path does not say
    /// it
    #[arg(long)]
    target: Option<&'static Target>,
    /// Shows only this operation
    #[arg(long, value_name = "N")]
    step: Option<usize>,
    /// Shows only these kinds of lines
    #[arg(long, value_delimiter = ',', value_name = "WHAT", value_parser = kinds())]
    only: Vec<Kind>,
    /// Shows also what comes before the first operation
    #[arg(long)]
    boot: bool,
    /// Prints one JSON object for each file, with all lines and findings
    #[arg(long, conflicts_with_all = ["step", "only", "boot"])]
    json: bool,
}

/// Returns what the command line takes for a kind of line.
fn kinds() -> impl TypedValueParser<Value = Kind> {
    let all = [
        ("host", "Actions of the host, devices and time, and what they get"),
        ("el2", "Accesses and locks of EL2"),
        ("its", "What the physical ITS does"),
        ("own", "Pages that change hands or come within an ITS's reach"),
    ];
    let values = all.map(|(name, help)| PossibleValue::new(name).help(help));
    PossibleValuesParser::new(values).map(|name| match &*name {
        "host" => Kind::Host,
        "el2" => Kind::El2,
        "its" => Kind::Its,
        _ => Kind::Own,
    })
}

/// Plays every file.
pub(crate) fn run(arguments: &Arguments) -> Result<Exit> {
    for file in arguments.files.iter().map(Input::path) {
        load_as(file, None)?;
    }
    ensure!(
        arguments.target.is_none() || arguments.files.iter().any(|file| is_artifact(file.path())),
        "--target is for artifacts of an engine; the files are scenarios as text"
    );
    let subject = arguments.judged.subject()?;
    let mut known = arguments.known.read()?;
    let program = subject.player()?;
    let (mut found, mut defect) = (false, false);
    for file in arguments.files.iter().map(Input::path) {
        let played = play(&program, file, arguments.target)?;
        check_step(file, &played, arguments.step)?;
        let reasons: Vec<_> =
            { played.findings.iter() }.map(|one| known.finding(&subject.name, one)).collect();
        found |= reasons.iter().any(Option::is_none);
        defect |= !played.defects.is_empty();
        if arguments.json {
            output::print_json(json!({ "file": file, "replayed": played, "known": reasons }))?;
        } else {
            show(file, &played, arguments);
            for (finding, reason) in played.findings.iter().zip(reasons) {
                if let Some(reason) = reason {
                    say!("known: {}: {reason}", finding.signature);
                }
            }
        }
    }
    known.unused(false).iter().for_each(|entry| eprintln!("known, not met: {entry}"));
    ensure!(!defect, defect!("board and reference contradict each other"));
    Ok(Exit::found(found))
}

fn show(file: &Path, played: &Replayed, arguments: &Arguments) {
    let choice =
        Choice { step: arguments.step, kinds: arguments.only.clone(), boot: arguments.boot };
    let shown = played.timeline(&choice);
    let shown = match AutoStream::choice(&std::io::stdout()) {
        ColorChoice::Never => strip_str(&shown).to_string(),
        _ => shown,
    };
    say!("== {}\n{shown}", file.display());
}

/// Checks that there is such an operation.
fn check_step(file: &Path, played: &Replayed, step: Option<usize>) -> Result<()> {
    let Some(step) = step else { return Ok(()) };
    let last = played.lines.iter().filter_map(|line| line.step).max();
    ensure!(
        last.is_some_and(|last| step <= last),
        "{}: no operation {step} was played; the last is {}",
        file.display(),
        last.map_or("none".into(), |last| last.to_string())
    );
    Ok(())
}

/// Returns the target whose engine wrote an artifact: what is said, or the name below `artifacts`
/// in its path. Text needs none.
fn written_by(file: &Path, said: Option<&'static Target>) -> Result<Option<&'static Target>> {
    if said.is_some() || !is_artifact(file) {
        return Ok(said);
    }
    let path = file.canonicalize()?;
    let mut names = path.iter().skip_while(|name| *name != "artifacts").skip(1);
    let name = names.next().and_then(|name| name.to_str()).unwrap_or_default();
    Target::find(name).map(Some).map_err(|_| {
        anyhow!("{}: nothing says which target's engine wrote it; give --target", file.display())
    })
}

fn play(program: &Program, file: &Path, target: Option<&'static Target>) -> Result<Replayed> {
    let played = program.replay(file, written_by(file, target)?)?;
    let nothing = played.findings.is_empty() && played.defects.is_empty();
    let operations = played.lines.iter().any(|line| line.step > Some(0));
    ensure!(
        !nothing || operations || !is_artifact(file),
        "{}: it holds no operation",
        file.display()
    );
    Ok(played)
}
