//! Rules, and the oracles that tell when one is broken.
//!
//! A [`Rule`] is an invariant with an id; [`rules::ALL`] is the catalogue. An oracle checks the rules of one family,
//! one file each: [`leak`] and [`ptr`] look at what the physical ITS can reach, [`el2`] at what EL2 did, [`undo`]
//! at failed calls, [`hw`] at what EL2 did to the hardware's registers. The family DIV compares with the reference
//! and is fed by the runner, which alone knows the reference.
//!
//! Oracles know observations ([`its_el2::Event`]) and read-only views ([`its_el2::View`]). They must not know the
//! board, the emulator or the reference: a mistake in the reference cannot hide a leak.

pub mod el2;
pub mod hw;
pub mod leak;
pub mod ptr;
mod race;
pub mod rules;
mod trust;
pub mod undo;
mod watch;

use std::collections::BTreeSet;

use its_el2::{Action, Event, Hypercall, Machine, Outcome, Part, View};
pub use rules::{Family, Rule, Severity};

/// A rule broken in one action.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Breach {
    pub rule: &'static Rule,
    /// What kind of thing broke it: a word without addresses or counts, part of the signature.
    pub class: &'static str,
    /// Where, as a path into the machine's state.
    pub path: String,
    pub expected: String,
    pub seen: String,
}

/// One action as an oracle sees it.
pub struct Step<'a> {
    pub action: &'a Action,
    pub outcome: Outcome,
    pub events: &'a [Event],
}

impl<'a> Step<'a> {
    fn of(part: &'a Part, events: &'a [Event]) -> Self {
        Self {
            action: &part.action,
            outcome: part.outcome,
            events,
        }
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
        }
    }

    /// Judges one action; what it broke is appended to `breaches`.
    pub fn judge(&mut self, step: &Step, view: &impl View, breaches: &mut Vec<Breach>) {
        el2::judge(step, self.watch.reads_guarded(step, view), breaches);
        undo::judge(step, &BTreeSet::new(), breaches);
        hw::judge(step, breaches);
        let look = self.watch.note(step, &self.machine, view);
        self.judge_pointers((step, look), view, breaches);
    }

    /// LEAK and PTR.
    fn judge_pointers(
        &mut self,
        (step, look): (&Step, watch::Look),
        view: &impl View,
        breaches: &mut Vec<Breach>,
    ) {
        if let watch::Look::SetUp(its) = look {
            self.lies.retain(|(other, _), _| *other != its);
            let more = trust::lies(step, view, &self.machine, its);
            self.lies.extend(more);
        }
        if self.lies.is_empty() {
            self.leak.judge((step, look), &self.watch, view, breaches);
            self.ptr.judge((step, look), &self.watch, view, breaches);
        } else {
            self.judge_trusted((step, look), view, breaches);
        }
    }

    /// Judges what several agents did at once; `parts` in the order of their ends.
    ///
    /// EL2, UNDO and HW judge each action by its agent's events; LEAK and PTR all events in the order of happening.
    pub fn judge_race(
        &mut self,
        parts: &[Part],
        events: &[Event],
        view: &impl View,
        breaches: &mut Vec<Breach>,
    ) {
        let own = race::by_part(parts, events);
        for (part, own) in parts.iter().zip(&own) {
            let step = Step::of(part, &own.events);
            el2::judge(&step, self.watch.reads_guarded(&step, view), breaches);
            undo::judge(&step, &own.contested, breaches);
            hw::judge(&step, breaches);
        }
        let Some(first) = parts.first() else {
            return;
        };
        self.judge_pointers(
            (&Step::of(first, events), watch::Look::Changes),
            view,
            breaches,
        );
        // What came to be guarded or was enabled again meanwhile is looked at as a whole, at the end.
        for (part, own) in parts.iter().zip(&own) {
            let step = Step::of(part, &own.events);
            let look = self.watch.note(&step, &self.machine, view);
            if look != watch::Look::Changes {
                self.judge_pointers((&step, look), view, breaches);
            }
        }
    }

    /// LEAK and PTR over what the host did not lie about.
    fn judge_trusted(
        &mut self,
        (step, look): (&Step, watch::Look),
        view: &impl View,
        breaches: &mut Vec<Breach>,
    ) {
        let events = trust::without(step.events, &mut self.lies);
        let step = Step {
            events: &events,
            ..*step
        };
        let view = trust::Trusted {
            view,
            lies: &self.lies,
        };
        self.leak.judge((&step, look), &self.watch, &view, breaches);
        self.ptr.judge((&step, look), &self.watch, &view, breaches);
    }
}
