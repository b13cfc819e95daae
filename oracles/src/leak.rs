//! LEAK: who can touch what the ITS trusts, and what the ITS can touch.
//!
//! Judged from the moment that a set-up succeeded: then once over everything that the ITS can
//! reach, and from there on with each pointer that it gains and each reachable page that changes
//! hands, at that very moment.

use its_gic::geometry::Pages;
use its_machine::{
    Action, El2Side, Event, Exposure, HostSide, Machine, PageState, Purpose, Reach, View,
};

use crate::watch::{Look, Watch};
use crate::{Finding, Rule, Step, rules};

/// The oracle over one case.
#[derive(Clone)]
pub struct Leak {
    linear_map: u64,
    /// EL2's private pages and the descriptor of each guarded ITS.
    private: Vec<[Pages; 2]>,
}

impl Leak {
    /// Before boot.
    pub fn new(machine: &Machine) -> Self {
        Self { linear_map: machine.linear_map, private: Vec::new() }
    }

    /// Judges one action.
    pub(crate) fn judge(
        &mut self,
        (step, look): (&Step, Look),
        watch: &Watch,
        view: &impl View,
        findings: &mut Vec<Finding>,
    ) {
        if matches!(look, Look::SetUp(_)) {
            self.guard(step.action);
        }
        if look != Look::Changes {
            // With a set-up its private pages must be apart from what others reach too.
            for (reach, exposure) in watch.numbers().flat_map(|its| view.reach(its)) {
                if watch.judges(&reach) {
                    self.reached(&reach, exposure, findings);
                }
            }
            return;
        }
        if self.private.is_empty() {
            return;
        }
        for event in step.events {
            match event {
                Event::Reached(reach, exposure) if watch.judges(reach) => {
                    self.reached(reach, *exposure, findings);
                }
                Event::ReachedPage { reach, page, state } if watch.judges(reach) => {
                    changed(reach, *page, *state, findings);
                }
                _ => {}
            }
        }
    }

    fn guard(&mut self, action: &Action) {
        let Action::Hypercall { arguments, .. } = action else {
            return;
        };
        let [_, private, descriptor, count] = arguments;
        let pages =
            |linear: u64, count| Pages { first: linear.wrapping_sub(self.linear_map) >> 12, count };
        let own = [pages(*private, (*count).max(1)), pages(*descriptor, 1)];
        self.private.push(own);
    }

    fn reached(&self, reach: &Reach, exposure: Exposure, findings: &mut Vec<Finding>) {
        if exposure.foreign {
            findings.push(breach(&rules::LEAK_FOREIGN, reach, "a guest's, or EL2's from boot"));
        }
        let pages = Pages::under(reach.address, reach.bytes);
        let overlaps = |other: &Pages| {
            other.count > 0
                && pages.first < other.first.saturating_add(other.count)
                && other.first < pages.first.saturating_add(pages.count)
        };
        if self.private.as_flattened().iter().any(overlaps) {
            findings.push(breach(&rules::LEAK_PRIVATE, reach, "EL2's records or descriptor"));
        }
        if exposure.outside || exposure.foreign {
            return;
        }
        if is_borrowed(reach.purpose) {
            if exposure.not_held {
                findings.push(breach(
                    loose(reach.purpose),
                    reach,
                    "a page that is not shared and pinned",
                ));
            }
        } else if exposure.host {
            findings.push(breach(exposed(reach.purpose), reach, "a page that the host can access"));
        }
    }
}

fn changed(reach: &Reach, page: u64, state: PageState, findings: &mut Vec<Finding>) {
    let seen = format!("page {page:#x} is now {state:?}");
    if (state.host, state.el2) == (HostSide::Nothing, El2Side::Nothing) {
        findings.push(breach(&rules::LEAK_FOREIGN, reach, &seen));
    } else if is_borrowed(reach.purpose) && !state.is_held() {
        findings.push(breach(loose(reach.purpose), reach, &seen));
    } else if !is_borrowed(reach.purpose) && state.host_can_access() {
        findings.push(breach(exposed(reach.purpose), reach, &seen));
    }
}

/// Whether memory of this purpose stays the host's, shared and pinned.
pub(crate) fn is_borrowed(purpose: Purpose) -> bool {
    matches!(purpose, Purpose::Itt { .. } | Purpose::LpiConfiguration(_) | Purpose::LpiPending(_))
}

/// The rule of memory that is borrowed and not held.
fn loose(purpose: Purpose) -> &'static Rule {
    match purpose {
        Purpose::LpiConfiguration(_) | Purpose::LpiPending(_) => &rules::LEAK_LPI,
        _ => &rules::LEAK_LOOSE,
    }
}

/// The rule of memory that must be EL2's and the host can reach.
fn exposed(purpose: Purpose) -> &'static Rule {
    match purpose {
        Purpose::Table(_) => &rules::LEAK_TABLE,
        Purpose::Level2 { .. } => &rules::LEAK_LEVEL2,
        _ => &rules::LEAK_HOST,
    }
}

/// A purpose without its numbers.
pub(crate) fn class(purpose: Purpose) -> &'static str {
    match purpose {
        Purpose::Queue => "queue",
        Purpose::Table(_) => "table",
        Purpose::Level2 { .. } => "level2",
        Purpose::Itt { .. } => "itt",
        Purpose::LpiConfiguration(_) => "lpi-configuration",
        Purpose::LpiPending(_) => "lpi-pending",
    }
}

pub(crate) fn breach(rule: &'static crate::Rule, reach: &Reach, seen: &str) -> Finding {
    Finding::new(
        rule,
        class(reach.purpose),
        format!(
            "its{}: {:?}, {:#x} bytes at {:#x}",
            reach.its, reach.purpose, reach.bytes, reach.address
        ),
        rule.holds,
        seen,
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn guarded() -> Leak {
        Leak {
            linear_map: 0,
            private: vec![[Pages { first: 8, count: 2 }, Pages { first: 1, count: 1 }]],
        }
    }

    fn broken(purpose: Purpose, address: u64, exposure: Exposure) -> Vec<&'static str> {
        let reach = Reach { its: 0, purpose, address, bytes: 0x1000 };
        let mut findings = Vec::new();
        guarded().reached(&reach, exposure, &mut findings);
        findings.iter().map(|breach| breach.rule.id).collect()
    }

    const OWNED: Exposure =
        Exposure { outside: false, host: false, not_held: true, foreign: false, contents: false };
    const HELD: Exposure = Exposure { host: true, not_held: false, ..OWNED };

    #[test]
    fn trusted_memory_is_el2_s_and_borrowed_memory_is_held() {
        let itt = Purpose::Itt { device_id: 3 };
        assert!(broken(Purpose::Queue, 0, OWNED).is_empty());
        assert!(broken(itt, 0, HELD).is_empty());
        assert_eq!(broken(Purpose::Queue, 0, HELD), ["LEAK-HOST"]);
        assert_eq!(broken(itt, 0, Exposure { host: true, ..OWNED }), ["LEAK-LOOSE"]);
        let foreign = Exposure { foreign: true, ..OWNED };
        assert_eq!(broken(itt, 0, foreign), ["LEAK-FOREIGN"]);
        assert_eq!(broken(Purpose::Table(0), 0x9000, OWNED), ["LEAK-PRIVATE"]);
    }

    #[test]
    fn a_reachable_page_that_changes_hands_is_judged() {
        let itt =
            Reach { its: 0, purpose: Purpose::Itt { device_id: 3 }, address: 0, bytes: 0x1000 };
        let queue = Reach { purpose: Purpose::Queue, ..itt };
        let held = PageState { host: HostSide::Shared, el2: El2Side::Borrowed, pins: 1 };
        let with = |purpose| Reach { purpose, ..itt };
        let level2 = Purpose::Level2 { table: 0, index: 1 };
        for (reach, state, rule) in [
            (itt, held, None),
            (itt, PageState { pins: 0, ..held }, Some("LEAK-LOOSE")),
            (itt, PageState::GUEST, Some("LEAK-FOREIGN")),
            (queue, PageState::EL2, None),
            (queue, PageState::HOST, Some("LEAK-HOST")),
            (with(Purpose::Table(0)), PageState::HOST, Some("LEAK-TABLE")),
            (with(level2), PageState::HOST, Some("LEAK-LEVEL2")),
            (with(Purpose::LpiPending(0)), PageState::HOST, Some("LEAK-LPI")),
        ] {
            let mut findings = Vec::new();
            changed(&reach, 0, state, &mut findings);
            assert_eq!(findings.first().map(|breach| breach.rule.id), rule);
        }
    }
}
