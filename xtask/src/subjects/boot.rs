//! Whether an emulation that was written elsewhere comes through the driver's boot. If it does not,
//! a campaign plays thousands of cases and judges nothing.

use std::path::PathBuf;

use anyhow::{Error, Result, anyhow};
use fs_err as fs;
use its_reports::quoted;
use its_reports::triage::{Judged, Outcome};
use its_runner::program::{Answer, Request};

use super::{Program, Subject, unexpected};
use crate::workspace;

/// A boot that is tried: what is said of it, and its scenario's header.
pub(crate) struct Boot {
    pub name: &'static str,
    header: &'static str,
}

/// The boots, the usual one first.
pub(crate) const BOOTS: [Boot; 5] = [
    Boot { name: "the usual board", header: "boot" },
    Boot { name: "live devices", header: "boot live-devices=4" },
    Boot { name: "two ITSs", header: "boot its=2" },
    Boot { name: "a flat device table", header: "its0 two-level=no\nboot" },
    Boot { name: "a queue of one page", header: "boot queue-pages=1" },
];

impl Boot {
    /// Writes the scenario, which does nothing after it, and returns its path.
    fn write(&self) -> Result<PathBuf> {
        let name = self.name.replace(' ', "-");
        let path = workspace::root().join("artifacts/boots").join(format!("{name}.its"));
        fs::create_dir_all(workspace::folder_of(&path))?;
        workspace::write_whole(&path, format!("itsdiff 2\n{}\npoll 1\n", self.header))?;
        Ok(path)
    }

    /// Returns the command that shows it in full.
    fn replay_command(&self, source: &str) -> Result<String> {
        let file = workspace::shown(&self.write()?);
        Ok(format!("cargo xtask replay --boot --subject {} {file}", quoted(source)))
    }
}

/// Returns for each boot what keeps it from its end.
pub(crate) fn troubles(player: &Program) -> Result<Vec<Option<String>>> {
    let files = BOOTS.iter().map(Boot::write).collect::<Result<Vec<_>>>()?;
    // This survives an emulation that ends its process.
    let judged = player.judge(&files, None)?;
    judged.into_iter().map(|judged| trouble(player, judged)).collect()
}

fn trouble(player: &Program, Judged { file, outcome }: Judged) -> Result<Option<String>> {
    match outcome {
        Outcome::Played { .. } => refusal(player, workspace::read(&file)?),
        Outcome::Failed(why) | Outcome::Empty(why) | Outcome::Unreadable(why) => Ok(Some(why)),
    }
}

/// Returns what the first set-up of a scenario returned that failed. Its rule would not do: a
/// subject without room for the live devices may refuse them.
fn refusal(player: &Program, scenario: String) -> Result<Option<String>> {
    let request = Request::Observe { scenarios: vec![scenario] };
    let answer = player.session()?.ask(&request, 1)?.swap_remove(0);
    let Answer::Observed(observed) = answer else {
        return Err(unexpected(&answer));
    };
    Ok(observed.refused_set_up().map(|result| format!("fails: set-up returned {result}")))
}

/// Checks that an external emulation comes through the usual boot.
pub(crate) fn demand(subject: &Subject) -> Result<()> {
    let Some(source) = subject.source() else {
        return Ok(());
    };
    match troubles(&subject.player()?)?.swap_remove(0) {
        Some(trouble) => Err(error(&source, &trouble)?),
        None => Ok(()),
    }
}

/// Returns the error that the usual boot of an emulation does not come to its end.
///
/// # Errors
/// The boot's scenario cannot be written.
pub(crate) fn error(source: &str, trouble: &str) -> Result<Error> {
    let [usual, ..] = &BOOTS;
    let replay = usual.replay_command(source)?;
    Ok(anyhow!(
        "the boot of {source} {trouble}: no case that begins guarded would be judged\n  \
         to see it: {replay}"
    ))
}
