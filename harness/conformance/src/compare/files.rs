//! Scenarios from files, compared with a look after every action.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Result, ensure};
use its_qemu::{Installed, Qemu};
use its_runner::replay::{CLEAN, FINDINGS, load, print};
use its_scenario::{Scenario, Stage};

use super::Arguments;
use super::case::{Comparison, Verdict};
use crate::qemu::{OTHER_BOARD, has_usual_board};

/// Compares every file; the exit code.
pub(super) fn run(arguments: &Arguments, installed: &Installed) -> Result<u8> {
    let mut comparison = Comparison::on_qemu(installed, true);
    let mut code = CLEAN;
    let mut scenarios = Vec::new();
    for path in &arguments.files {
        scenarios.push((path, playable(path)?));
    }
    for (path, scenario) in scenarios {
        let compared = comparison.play(&scenario)?;
        let mut text = format!("{}: {} operations compared", path.display(), compared.operations);
        let mut left_out: BTreeMap<&str, usize> = BTreeMap::new();
        for why in &compared.left_out {
            *left_out.entry(why).or_default() += 1;
        }
        for (why, count) in left_out {
            text.push_str(&format!("\n  left out: {count} of {why}"));
        }
        let verdict = match &compared.verdict {
            Verdict::Agree => "agree".into(),
            Verdict::Poisoned => "the architecture says nothing of the rest".into(),
            Verdict::Settled(id) => settled(&comparison, id),
            Verdict::Differs(finding) => {
                code = FINDINGS;
                format!(
                    "DIFFERENCE {} at operation {}\n  where:    {}\n  expected: {}\n  seen:     {}",
                    finding.signature,
                    finding.operation,
                    finding.path,
                    finding.expected,
                    finding.seen
                )
            }
            Verdict::Gone(error) => {
                code = FINDINGS;
                format!("QEMU is gone: {error}")
            }
        };
        print(&format!("{text}\n  {verdict}\n"))?;
    }
    Ok(code)
}

fn settled(comparison: &Comparison<Qemu>, id: &str) -> String {
    let mut all = comparison.profile().differences.iter();
    match all.find(|one| one.id == id) {
        Some(one) => {
            format!("settled as {id}: {} ({}; {})", one.what, one.verdict.name(), one.source)
        }
        None => format!("settled as {id}"),
    }
}

/// A scenario of a host that owns the one ITS of its machine.
pub(super) fn playable(path: &Path) -> Result<Scenario> {
    let scenario = load(path)?;
    let bare = matches!(scenario.boot.stage, Stage::Reset | Stage::Probed);
    let path = path.display();
    ensure!(
        bare,
        "{path}: under EL2; QEMU plays scenarios that say boot stage=reset or stage=probed"
    );
    ensure!(has_usual_board(&scenario), "{path}: {OTHER_BOARD}");
    Ok(scenario)
}
