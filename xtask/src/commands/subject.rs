//! `subject`: the first contact with an emulation that was written elsewhere.

use std::path::PathBuf;

use anyhow::{Context, Result, ensure};
use its_reports::first_contact::FirstContact;
use its_reports::proposal::{self, Proposed};
use its_reports::quoted;
use its_reports::triage::{Judged, Outcome};
use its_rules::{Finding, Layer, Layers};
use its_runner::program::{Answer, Request};

use crate::exit::Exit;
use crate::subjects::boot::{self, BOOTS};
use crate::subjects::{Compiler, DeclarationFile, External, Point, Program, Subject, unexpected};
use crate::{target, workspace};

#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// The emulation: an object file or archive, or `example:NAME` (harness/abi/README.md)
    #[arg(required_unless_present = "sources", value_name = "PATH")]
    subject: Option<String>,
    /// Compiles these C sources, a kernel's as they are, into an object, which is the emulation
    #[arg(long, num_args = 1.., value_name = "FILE", conflicts_with = "subject")]
    sources: Vec<PathBuf>,
    /// Folders with headers of these sources, before ours
    #[arg(long, num_args = 1.., value_name = "DIR", requires = "sources")]
    include: Vec<PathBuf>,
    /// The C compiler, gcc or clang
    #[arg(long, default_value = "gcc", value_name = "PROGRAM", requires = "sources")]
    compiler: String,
}

/// Links the emulation, boots it, plays the seeds, and prints one screen.
pub(crate) fn run(arguments: &Arguments) -> Result<Exit> {
    let Arguments { subject, sources, include, compiler } = arguments;
    match subject {
        Some(subject) => meet(subject),
        None => {
            let object = workspace::shown(&compile(sources, include, compiler)?);
            say!("compiled: {object}");
            meet(&object)
        }
    }
}

/// Compiles sources into an object with the name of the first, and returns its path.
pub(crate) fn compile(sources: &[PathBuf], include: &[PathBuf], compiler: &str) -> Result<PathBuf> {
    for source in sources {
        ensure!(source.is_file(), "no C source {}", source.display());
    }
    for folder in include {
        ensure!(folder.is_dir(), "no folder {} for --include", folder.display());
    }
    let compiler = Compiler::of_kernel(compiler, include)?;
    let name = workspace::name(&sources[0].with_extension("o"));
    let stem = workspace::name(&sources[0].with_extension(""));
    let folder = workspace::root().join("target/subjects/sources").join(stem);
    let object = folder.join(name);
    compiler.compile(sources, &object)?;
    DeclarationFile::copy(workspace::folder_of(&sources[0]), &folder)?;
    Ok(object)
}

fn meet(source: &str) -> Result<Exit> {
    let made = Subject::external(source)?;
    let facts = External::facts(&made.name).context("it was linked just now")?;
    let player = made.player()?;
    let boots = BOOTS.iter().zip(boot::troubles(&player)?);
    let mut contact = FirstContact {
        subject: source.into(),
        observed: facts.observed,
        guided: facts.is_guide(),
        most: boards(&player)?,
        declared: player.declared(),
        boots: boots.map(|(boot, trouble)| (boot.name, trouble)).collect(),
        ..FirstContact::default()
    };
    if let [(_, Some(trouble)), ..] = &contact.boots[..] {
        say!("{}", contact.text());
        return Err(boot::error(source, trouble)?);
    }
    let seeds = seeds()?;
    contact.seeds = seeds.len();
    let any_policy: Layers = "safety,service".parse()?;
    play(&player.judged_by(any_policy), &seeds, &mut contact, |layer| layer != Layer::Policy)?;
    play(&player, &seeds, &mut contact, |layer| layer == Layer::Policy)?;
    let only = if contact.found.is_empty() { "" } else { " --judge safety,service" };
    if contact.breaks(Layer::Policy)
        && let Some((path, points)) = propose(source, &player)?
    {
        contact.proposed = Some((workspace::shown(&path), points));
    }
    say!("{} cargo xtask fuzz its_cmdq --subject {}{only}", contact.text(), quoted(source));
    Ok(Exit::found(contact.has_mistakes()))
}

/// Writes a file with what the emulation may want to declare, and returns its path and how many
/// points it has; `None` where nothing suggests one. What a point would leave unprotected is not
/// proposed.
pub(crate) fn propose(source: &str, player: &Program) -> Result<Option<(PathBuf, usize)>> {
    let folder = workspace::root().join("target/proposals").join(&player.subject);
    let mut proposed = Vec::new();
    for point in Point::all()? {
        let Some(finding) = broken(player, &point)?.into_iter().next() else {
            continue;
        };
        let declared = point.declare(player.declaration.as_ref(), &folder)?;
        let protects = declared.summary().unprotected.is_empty();
        if protects && broken(&player.declaring(&declared), &point)?.is_empty() {
            let ((section, line), file) = (point.line(), workspace::shown(&point.file));
            let (section, line) = (section.into(), line.into());
            proposed.push(Proposed { section, line, file, finding });
        }
    }
    if proposed.is_empty() {
        return Ok(None);
    }
    let points = proposed.len();
    let path = folder.join("subject.toml");
    workspace::write_whole(&path, proposal::text(source, proposed))?;
    Ok(Some((path, points)))
}

/// Returns the findings of the policy in the scenario of a point.
fn broken(player: &Program, point: &Point) -> Result<Vec<Finding>> {
    let judged = player.judge(std::slice::from_ref(&point.file), None)?;
    let findings = judged.into_iter().flat_map(|judged| judged.findings().to_vec());
    Ok(findings.filter(|finding| finding.rule.layer == Layer::Policy).collect())
}

/// Returns the most ITSs and redistributors of the boards that it is played on.
fn boards(player: &Program) -> Result<(u32, u32)> {
    let request = Request::Observe { scenarios: vec!["itsdiff 2\n".into()] };
    match player.session()?.ask(&request, 1)?.swap_remove(0) {
        Answer::Observed(observed) => Ok(observed.most),
        other => Err(unexpected(&other)),
    }
}

/// Returns the committed seeds of every target whose cases EL2 has a part in.
fn seeds() -> Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for target in target::under_el2() {
        files.extend(target.scenarios("seeds")?);
    }
    Ok(files)
}

/// Plays seeds, and keeps what breaks rules of some layers.
fn play(
    player: &Program,
    seeds: &[PathBuf],
    contact: &mut FirstContact,
    is_wanted: impl Fn(Layer) -> bool,
) -> Result<()> {
    for Judged { file, outcome } in player.judge(seeds, None)? {
        let shown = workspace::shown(&file);
        match outcome {
            Outcome::Played { operations, findings, defects } => {
                ensure!(defects.is_empty(), defect!("{shown}: {}", defects.join("; ")));
                let wanted = findings.into_iter().filter(|found| is_wanted(found.rule.layer));
                contact.found.extend(wanted.map(|found| (found, shown.clone(), operations)));
            }
            Outcome::Failed(why) | Outcome::Empty(why) | Outcome::Unreadable(why) => {
                contact.failed.push(why);
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_there_is_named() {
        let refused = |sources: &[&str], include: &[&str]| {
            let paths = |all: &[&str]| all.iter().map(PathBuf::from).collect::<Vec<_>>();
            compile(&paths(sources), &paths(include), "gcc").unwrap_err().to_string()
        };
        insta::assert_snapshot!(refused(&["nowhere.c"], &[]), @"no C source nowhere.c");
        let here = file!().rsplit_once("src/").map_or("", |(_, file)| file);
        let source = format!("src/{here}");
        let error = refused(&[&source], &["nowhere"]);
        insta::assert_snapshot!(error, @"no folder nowhere for --include");
    }
}
