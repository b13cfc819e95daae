//! What many cases came to.

use std::collections::BTreeMap;

use serde::Serialize;

use super::case::{Compared, Verdict};

/// What was compared and found.
#[derive(Clone, Debug, Default, Serialize)]
pub(super) struct Summary {
    pub(super) qemu: String,
    pub(super) seed: u64,
    pub(super) jobs: usize,
    pub(super) seconds: f64,
    pub(super) cases: u64,
    pub(super) operations: u64,
    pub(super) actions: u64,
    pub(super) poisoned: u64,
    /// Cases that ended in a difference that was looked into, by its id.
    pub(super) settled: BTreeMap<String, u64>,
    /// Differences that were looked into and that nothing depends on, by id: how often.
    pub(super) passed_over: BTreeMap<String, u64>,
    /// Actions that QEMU cannot do, by reason.
    pub(super) left_out: BTreeMap<&'static str, u64>,
    /// QEMUs that died or hung and were started again.
    pub(super) restarts: u64,
    /// Differences that nobody looked into yet, by signature: how many, and the first's file.
    pub(super) differences: BTreeMap<String, (u64, String)>,
}

impl Summary {
    /// Takes over what came of a case.
    pub(super) fn count(&mut self, compared: &Compared) {
        self.cases += 1;
        self.operations += compared.operations;
        self.actions += compared.actions;
        for why in &compared.left_out {
            *self.left_out.entry(*why).or_default() += 1;
        }
        for id in &compared.passed_over {
            *self.passed_over.entry(id.clone()).or_default() += 1;
        }
        match &compared.verdict {
            Verdict::Poisoned => self.poisoned += 1,
            Verdict::Settled(id) => *self.settled.entry(id.clone()).or_default() += 1,
            Verdict::Gone(_) => self.restarts += 1,
            Verdict::Agree | Verdict::Differs(_) => {}
        }
    }

    /// For people.
    pub(super) fn text(&self) -> String {
        let rate = |count: u64| count as f64 / self.seconds.max(0.001);
        let mut text = format!(
            "model and QEMU {}: {} cases in {:.0} s, seed {}, {} QEMUs\n\
             \u{20} compared    {} operations ({:.0}/s), {} actions\n\
             \u{20} poisoned    {} cases ({:.1} %)\n",
            self.qemu,
            self.cases,
            self.seconds,
            self.seed,
            self.jobs,
            self.operations,
            rate(self.operations),
            self.actions,
            self.poisoned,
            100.0 * self.poisoned as f64 / self.cases.max(1) as f64,
        );
        for (why, count) in &self.left_out {
            text.push_str(&format!("  left out    {count} of {why}\n"));
        }
        for (id, count) in &self.settled {
            text.push_str(&format!("  settled     {count} cases end in {id}\n"));
        }
        for (id, count) in &self.passed_over {
            text.push_str(&format!("  settled     {count} times {id}, passed over\n"));
        }
        if self.restarts > 0 {
            text.push_str(&format!(
                "  restarts    {} of QEMU; the last case that it died of once is gone-once.its\n",
                self.restarts
            ));
        }
        for (signature, (count, file)) in &self.differences {
            text.push_str(&format!("  DIFFERENCE  {count} times {signature}: {file}\n"));
        }
        if self.differences.is_empty() {
            text.push_str("  no difference that is not settled\n");
        }
        text
    }
}
