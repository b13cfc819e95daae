//! The oracles that need no reference.
//!
//! An oracle checks the rules of one family, one file each or more: [`leak`] and [`ptr`] look at what
//! the physical ITS can reach, `books` at what EL2 relies on, `passed` at what EL2 passes on; `el2`,
//! `locks` and `posted` at what EL2 did, `undo` at what failed or was refused, `hw` at what EL2 did to
//! the hardware's registers. The families DIV and ARCH compare with a reference, which only the
//! runner knows.
//!
//! Oracles know observations ([`its_machine::Event`]) and read-only views ([`its_machine::View`]).
//! They must not know the board, the emulator or the reference: a mistake in the reference cannot
//! hide a leak.

mod books;
mod el2;
mod guards;
mod hw;
pub mod leak;
mod locks;
mod passed;
mod posted;
pub mod ptr;
mod race;
mod trust;
mod undo;
mod watch;

use std::collections::BTreeSet;

use its_machine::{Action, Event, Hypercall, Machine, Outcome, Part, View};
use its_rules::{Finding, Rule, catalogue as rules};
pub use undo::page_balances;

/// One action as an oracle sees it.
pub struct Step<'a> {
    pub action: &'a Action,
    pub outcome: Outcome,
    pub events: &'a [Event],
}

impl<'a> Step<'a> {
    fn of(part: &'a Part, events: &'a [Event]) -> Self {
        Self { action: &part.action, outcome: part.outcome, events }
    }

    /// What the set-up hypercall returned, if this action is one.
    pub fn set_up_result(&self) -> Option<i64> {
        let Action::Hypercall { x0, .. } = *self.action else {
            return None;
        };
        match (Hypercall::from_function_id(x0), self.outcome) {
            (Some(Hypercall::InitItsEmulation), Outcome::Returned { x1, .. }) => Some(x1),
            _ => None,
        }
    }
}

/// All oracles but DIV, over one case.
#[derive(Clone)]
pub struct Oracles {
    machine: Machine,
    watch: watch::Watch,
    /// ITTs of devices that the host did not list at set-up.
    lies: trust::Lies,
    leak: leak::Leak,
    ptr: ptr::Ptr,
    guards: guards::Guards,
    books: books::Books,
    posted: posted::Posted,
}

impl Oracles {
    /// For a case that starts before boot on this machine.
    pub fn new(machine: &Machine) -> Self {
        Self {
            machine: *machine,
            watch: watch::Watch::new(machine),
            lies: trust::Lies::new(),
            leak: leak::Leak::new(machine),
            ptr: ptr::Ptr::default(),
            guards: guards::Guards::new(machine),
            books: books::Books::default(),
            posted: posted::Posted::default(),
        }
    }

    /// Judges one action; what it broke is appended to `findings`.
    pub fn judge(&mut self, step: &Step, view: &impl View, findings: &mut Vec<Finding>) {
        self.judge_own(step, &BTreeSet::new(), view, findings);
        self.judge_passed((&[*step.action], step.events), view, findings);
        self.watch.note_power(step.action);
        let look = self.watch.note(step, &self.machine, view);
        self.judge_pointers((step, look), view, findings);
    }

    /// EL2, UNDO and HW: one action by its own events.
    fn judge_own(
        &mut self,
        step: &Step,
        contested: &BTreeSet<u64>,
        view: &impl View,
        findings: &mut Vec<Finding>,
    ) {
        if step.events.is_empty() {
            return;
        }
        self.guards.note(step.events);
        let reads_guarded = self.watch.reads_guarded(step, view);
        el2::judge(step, reads_guarded, &self.guards, findings);
        locks::judge(step, &self.guards, findings);
        undo::judge(step, contested, &self.guards, findings);
        hw::judge(step, &self.guards, findings);
        if step.set_up_result() != Some(0) {
            return;
        }
        if let Some(guard) = self.guards.adopt(step, view) {
            let creadr = view.register(guard.its, its_gic::Register::Creadr);
            self.posted.guard(guard.its, creadr);
        }
    }

    /// What EL2 read and passed on, and what it relies on: all events in the order of happening.
    fn judge_passed(
        &mut self,
        (actions, events): (&[Action], &[Event]),
        view: &impl View,
        findings: &mut Vec<Finding>,
    ) {
        passed::judge(events, &self.guards, view, findings);
        self.posted.judge(actions, events, &self.guards, findings);
        self.books.judge(events, &self.guards, findings);
    }

    /// LEAK and PTR.
    fn judge_pointers(
        &mut self,
        (step, look): (&Step, watch::Look),
        view: &impl View,
        findings: &mut Vec<Finding>,
    ) {
        if let watch::Look::SetUp(its) = look {
            self.lies.retain(|(other, _), _| *other != its);
            let more = trust::lies(step, view, &self.machine, its);
            self.lies.extend(more);
        }
        if self.lies.is_empty() {
            self.leak.judge((step, look), &self.watch, view, findings);
            self.ptr.judge((step, look), &self.watch, view, findings);
        } else {
            self.judge_trusted((step, look), view, findings);
        }
    }

    /// Judges what several agents did at once; `parts` in the order of their ends.
    ///
    /// EL2, UNDO and HW judge each action by its agent's events; LEAK and PTR all events in the
    /// order of happening.
    pub fn judge_race(
        &mut self,
        parts: &[Part],
        events: &[Event],
        view: &impl View,
        findings: &mut Vec<Finding>,
    ) {
        let own = race::by_part(parts, events);
        for (part, own) in parts.iter().zip(&own) {
            let step = Step::of(part, &own.events);
            self.judge_own(&step, &own.contested, view, findings);
        }
        let actions: Vec<Action> = parts.iter().map(|part| part.action).collect();
        self.judge_passed((&actions, events), view, findings);
        // From a loss of power on that ITS is left alone, to the end of the race at least.
        for (part, slice) in race::slices(parts, events) {
            self.watch.note_power(&part.action);
            self.judge_pointers((&Step::of(part, slice), watch::Look::Changes), view, findings);
        }
        // What came to be guarded or was enabled again meanwhile is looked at as a whole, at the
        // end.
        for (part, own) in parts.iter().zip(&own) {
            let step = Step::of(part, &own.events);
            let look = self.watch.note(&step, &self.machine, view);
            if look != watch::Look::Changes {
                self.judge_pointers((&step, look), view, findings);
            }
        }
    }

    /// LEAK and PTR over what the host did not lie about.
    fn judge_trusted(
        &mut self,
        (step, look): (&Step, watch::Look),
        view: &impl View,
        findings: &mut Vec<Finding>,
    ) {
        let events = trust::without(step.events, &mut self.lies);
        let step = Step { events: &events, ..*step };
        let view = trust::Trusted { view, lies: &self.lies };
        self.leak.judge((&step, look), &self.watch, &view, findings);
        self.ptr.judge((&step, look), &self.watch, &view, findings);
    }
}
