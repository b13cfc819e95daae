//! `subject`: the first contact with an emulation that was written elsewhere.

use anyhow::{Context, Result, ensure};
use its_reports::first_contact::FirstContact;
use its_reports::quoted;
use its_reports::triage::{Judged, Outcome};
use its_rules::{Layer, Layers};
use its_runner::program::{Answer, Request};

use crate::exit::Exit;
use crate::subjects::boot::{self, BOOTS};
use crate::subjects::{External, Program, Subject, unexpected};
use crate::{target, workspace};

#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// The emulation: an object file or archive, or `example:NAME` (harness/abi/README.md)
    subject: String,
}

/// Links the emulation, boots it, plays the seeds, and prints one screen.
pub(crate) fn run(arguments: &Arguments) -> Result<Exit> {
    let source = &arguments.subject;
    let made = Subject::external(source)?;
    let facts = External::facts(&made.name).context("it was linked just now")?;
    let player = made.player()?;
    let boots = BOOTS.iter().zip(boot::troubles(&player)?);
    let mut contact = FirstContact {
        subject: source.clone(),
        observed: facts.observed,
        guided: facts.is_guide(),
        most: boards(&player)?,
        boots: boots.map(|(boot, trouble)| (boot.name, trouble)).collect(),
        ..FirstContact::default()
    };
    if !contact.boots() {
        say!("{}", contact.text());
        boot::demand(&made)?;
    }
    let any_policy: Layers = "safety,service".parse()?;
    play_seeds(&player.judged_by(any_policy), &mut contact, |layer| layer != Layer::Policy)?;
    contact.seeds = 0;
    play_seeds(&player, &mut contact, |layer| layer == Layer::Policy)?;
    let only = if contact.found.is_empty() { "" } else { " --judge safety,service" };
    say!("{} cargo xtask fuzz its_cmdq --subject {}{only}", contact.text(), quoted(source));
    Ok(Exit::found(contact.has_mistakes()))
}

/// Returns the most ITSs and redistributors of the boards that it is played on.
fn boards(player: &Program) -> Result<(u32, u32)> {
    let request = Request::Observe { scenarios: vec!["itsdiff 2\n".into()] };
    match player.session()?.ask(&request, 1)?.swap_remove(0) {
        Answer::Observed(observed) => Ok(observed.most),
        other => Err(unexpected(&other)),
    }
}

/// Plays the committed seeds of every target whose cases EL2 has a part in, and keeps what breaks
/// rules of some layers.
fn play_seeds(
    player: &Program,
    contact: &mut FirstContact,
    is_wanted: impl Fn(Layer) -> bool,
) -> Result<()> {
    let mut files = Vec::new();
    for target in target::ALL.iter().filter(|target| target.name != "its_arch") {
        files.extend(target.scenarios("seeds")?);
    }
    for Judged { file, outcome } in player.judge(&files, None)? {
        let shown = workspace::shown(&file);
        match outcome {
            Outcome::Played { operations, findings, defects } => {
                ensure!(defects.is_empty(), defect!("{shown}: {}", defects.join("; ")));
                contact.seeds += 1;
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
