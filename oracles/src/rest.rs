//! UNDO at rest: once every device is unmapped EL2 holds no page that no structure needs.

use std::collections::BTreeSet;

use its_gic::Register;
use its_gic::geometry::Pages;
use its_gic::register::OFFSET_MASK;
use its_machine::{Action, Event, Hypercall, Purpose, View};

use crate::guards::{Guard, Guards};
use crate::history::History;
use crate::{Finding, rules};

/// What is needed to know that EL2 has come to rest.
#[derive(Clone, Debug, Default)]
pub(crate) struct Rest {
    /// Pages that EL2 held when a set-up was over, other than for ITTs.
    needed: BTreeSet<u64>,
    /// ITSs whose CREADR EL2 read since the last command was consumed, and changed no page.
    looked: BTreeSet<u8>,
    /// Something happened after which EL2 may hold more.
    is_excused: bool,
}

impl Rest {
    /// Takes note of the pages that EL2 holds once an ITS is set up.
    pub(crate) fn set_up(&mut self, (guards, history): (&Guards, &History), view: &impl View) {
        let itts = pages_of(guards, view, |purpose| matches!(purpose, Purpose::Itt { .. }));
        self.needed.extend(history.held_by_el2().filter(|page| !holds(&itts, *page)));
    }

    /// Takes note of what these actions did, which came one after another or at once.
    pub(crate) fn note(&mut self, actions: &[Action], events: &[Event], guards: &Guards) {
        let is_lost = actions.iter().any(|action| matches!(action, Action::PowerLoss { .. }));
        self.is_excused |= is_lost || events.contains(&Event::Injected);
        let changed = events.iter().any(|event| matches!(event, Event::Page { .. }));
        for event in events {
            match *event {
                Event::Consumed { its, error, .. } => {
                    self.looked.remove(&its);
                    // An ITS that ignores a command does not say so: to EL2 the device is mapped.
                    self.is_excused |= error.is_some();
                }
                // What the ITS did not consume by then it never will, and EL2 cannot know.
                Event::DeviceWrite { address, .. } => {
                    let written = guards.register(address);
                    self.is_excused |=
                        matches!(written, Some((_, Register::Cbaser | Register::Baser(_))));
                }
                Event::DeviceRead { address, .. } => {
                    if let Some((its, Register::Creadr)) = guards.register(address)
                        && !changed
                    {
                        self.looked.insert(its);
                    }
                }
                _ => {}
            }
        }
    }

    /// EL2 may hold more from now on: the host listed devices that the ITS does not have, or
    /// changed pages in a race.
    pub(crate) fn excuse(&mut self) {
        self.is_excused = true;
    }

    /// Judges the end of a case.
    pub(crate) fn judge(
        &self,
        (guards, history): (&Guards, &History),
        view: &impl View,
        findings: &mut Vec<Finding>,
    ) {
        let is_at_rest = |its: u8| {
            let offset = |of| view.register(its, of) & OFFSET_MASK;
            let is_stalled = view.register(its, Register::Creadr) & 1 != 0;
            let is_done = offset(Register::Creadr) == offset(Register::Cwriter);
            let is_enabled = view.register(its, Register::Ctlr) & 1 != 0;
            self.looked.contains(&its) && is_enabled && is_done && !is_stalled
        };
        let all = || guards.all.iter().map(|guard| guard.its);
        let is_itt = |purpose| matches!(purpose, Purpose::Itt { .. });
        if self.is_excused || guards.all.is_empty() || !all().all(is_at_rest) {
            return;
        }
        if !pages_of(guards, view, is_itt).is_empty() {
            return;
        }
        let reached = pages_of(guards, view, |purpose| !is_itt(purpose));
        let grown: Vec<&Pages> = guards.all.iter().flat_map(|guard| &guard.grown).collect();
        // An ITT may have been there too.
        let given = |guard: &Guard, page| {
            guard.private.contains(page) || guard.copies.iter().any(|pages| pages.contains(page))
        };
        let is_needed = |page: &u64| {
            self.needed.contains(page)
                || holds(&reached, *page)
                || grown.iter().any(|pages| pages.contains(*page))
                || guards.all.iter().any(|guard| given(guard, *page))
        };
        for page in history.held_by_el2().filter(|page| !is_needed(page)) {
            let (class, seen) = history.holding(page);
            let path = format!("page {page:#x}");
            findings.push(Finding::broken(&rules::UNDO_REST, class, path, seen));
        }
    }
}

/// The pages that ITSs reach for some purposes.
fn pages_of(guards: &Guards, view: &impl View, is_meant: impl Fn(Purpose) -> bool) -> Vec<Pages> {
    let its = 0..guards.machine.its.len() as u8;
    let reached = its.flat_map(|its| view.reach(its).map(|(reach, _)| reach).collect::<Vec<_>>());
    let meant = reached.filter(|reach| is_meant(reach.purpose));
    meant.map(|reach| Pages::under(reach.address, reach.bytes)).collect()
}

fn holds(all: &[Pages], page: u64) -> bool {
    all.iter().any(|pages| pages.contains(page))
}

/// Whether the pages that change in an action are changed by pKVM, as the host asked for it.
pub(crate) fn is_host_s(action: &Action) -> bool {
    let Action::Hypercall { x0, .. } = *action else {
        return false;
    };
    match Hypercall::from_function_id(x0) {
        Some(
            Hypercall::HostShareHyp
            | Hypercall::HostUnshareHyp
            | Hypercall::HostDonateGuest
            | Hypercall::ReclaimGuestPage,
        ) => true,
        Some(
            Hypercall::ProtFinalize
            | Hypercall::InitItsEmulation
            | Hypercall::InitRedistributorEmulation
            | Hypercall::FiniItsEmulation,
        )
        | None => false,
    }
}
