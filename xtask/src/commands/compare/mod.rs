//! `compare`: the same scenarios on two subjects, or on QEMU's ITS to judge it by the model.

pub(crate) mod pair;

use anyhow::{Result, ensure};
use its_conformance::compare;

use super::conform::{clean_json, pass_on};
use crate::exit::Exit;
use crate::subjects::Subject;
use crate::target::Target;

#[derive(clap::Args)]
pub(crate) struct Compare {
    #[command(flatten)]
    own: compare::Arguments,
    /// Puts this known bug or break into the model
    #[arg(long, value_name = "ID")]
    bug: Option<String>,
    /// Draws scenarios of this target for two subjects; the default is its_cmdq
    #[arg(long, requires = "fuzz")]
    target: Option<&'static Target>,
}

pub(crate) fn run(arguments: &Compare) -> Result<Exit> {
    let Compare { own, bug, target } = arguments;
    if !own.names_no_subject() {
        ensure!(
            bug.is_none() && own.jobs.is_none() && !own.careful,
            "--bug, --jobs and --careful are for `compare model qemu`; a known bug is a subject by \
             its id"
        );
        return pair::run(own, target.map_or_else(|| Target::find("its_cmdq"), Ok)?);
    }
    ensure!(target.is_none(), "--target is for two subjects; QEMU plays what its_arch draws");
    own.demand_qemu()?;
    pass_on(&Subject::new(bug.as_deref())?)
}

/// Compares with QEMU for a short while, where QEMU is installed, and returns how many cases; an
/// error if there is a difference.
pub(crate) fn smoke() -> Result<String> {
    if let Err(missing) = its_conformance::qemu_is_installed() {
        return Ok(format!("nothing: {missing}"));
    }
    let program = Subject::production().player()?;
    let compare = ["compare", "model", "qemu", "--fuzz", "--time", "300", "--json", "--runs"];
    let mut cases = 0;
    for more in [&["5000"][..], &["500", "--careful"]] {
        let summary = clean_json(&program, &[&compare[..], more].concat())?;
        cases += summary["cases"].as_u64().unwrap_or_default();
    }
    Ok(format!("{cases} cases"))
}
