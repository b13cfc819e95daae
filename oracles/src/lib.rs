//! Rules, and the oracles that tell when one is broken.
//!
//! A [`Rule`] is an invariant with an id; [`rules::ALL`] is the catalogue. An oracle checks the rules of one family,
//! one file each or more: [`leak`] and [`ptr`] look at what the physical ITS can reach, `books` at what EL2 relies on,
//! `passed` at what EL2 passes on; `el2`, `locks` and `posted` at what EL2 did, `undo` at what failed or was refused,
//! `hw` at what EL2 did to the hardware's registers. The family DIV compares with the reference and is fed by the
//! runner, which alone knows the reference.
//!
//! Oracles know observations ([`its_el2::Event`]) and read-only views ([`its_el2::View`]). They must not know the
//! board, the emulator or the reference: a mistake in the reference cannot hide a leak.

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
pub mod rules;
mod trust;
mod undo;

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

/// A rule broken, where what is expected is the rule itself.
fn broken(rule: &'static Rule, class: &'static str, path: String, seen: String) -> Breach {
    Breach {
        rule,
        class,
        path,
        expected: rule.holds.into(),
        seen,
    }
}

/// One action as an oracle sees it.
pub struct Step<'a> {
    pub action: &'a Action,
    pub outcome: Outcome,
    pub events: &'a [Event],
}

impl Step<'_> {
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

/// A set-up that succeeded.
fn is_success(step: &Step) -> bool {
    step.set_up_result() == Some(0)
}

/// All oracles but DIV, over one case.
#[derive(Clone)]
pub struct Oracles {
    /// A set-up has succeeded.
    guarded: bool,
    linear_map: u64,
    itt_entry_bytes: u64,
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
            guarded: false,
            linear_map: machine.linear_map,
            itt_entry_bytes: machine.character(0).itt_entry_bytes.into(),
            lies: trust::Lies::new(),
            leak: leak::Leak::new(machine),
            ptr: ptr::Ptr::new(machine),
            guards: guards::Guards::new(machine),
            books: books::Books::default(),
            posted: posted::Posted::default(),
        }
    }

    /// Judges one action; what it broke is appended to `breaches`.
    pub fn judge(&mut self, step: &Step, view: &impl View, breaches: &mut Vec<Breach>) {
        self.judge_own(step, &BTreeSet::new(), view, breaches);
        self.judge_passed(
            &[*step.action],
            step.events,
            is_success(step),
            view,
            breaches,
        );
        self.judge_pointers(step, view, breaches);
    }

    /// EL2, UNDO and HW: one action by its own events.
    fn judge_own(
        &mut self,
        step: &Step,
        contested: &BTreeSet<u64>,
        view: &impl View,
        breaches: &mut Vec<Breach>,
    ) {
        self.guards.note(step.events);
        el2::judge(step, self.guarded, &self.guards, breaches);
        locks::judge(step, &self.guards, breaches);
        undo::judge(step, contested, &self.guards, breaches);
        hw::judge(step, &self.guards, breaches);
        if is_success(step) {
            self.adopt(step, view);
        }
    }

    fn adopt(&mut self, step: &Step, view: &impl View) {
        if let Some(guard) = self.guards.adopt(step, view) {
            let creadr = view.register(guard.its, its_gic::Register::Creadr);
            self.posted.guard(guard.its, creadr);
        }
    }

    /// What EL2 read and passed on, and what it relies on: all events in the order of happening.
    fn judge_passed(
        &mut self,
        actions: &[Action],
        events: &[Event],
        set_up: bool,
        view: &impl View,
        breaches: &mut Vec<Breach>,
    ) {
        passed::judge(events, &self.guards, view, breaches);
        self.posted.judge(actions, events, &self.guards, breaches);
        self.books.judge(events, set_up, &self.guards, breaches);
    }

    /// LEAK and PTR.
    fn judge_pointers(&mut self, step: &Step, view: &impl View, breaches: &mut Vec<Breach>) {
        let set_up = step.set_up_result() == Some(0);
        if set_up {
            self.lies = trust::lies(step, view, self.linear_map, self.itt_entry_bytes);
        }
        if self.lies.is_empty() {
            self.leak.judge(step, view, breaches);
            self.ptr.judge(step, view, breaches);
        } else {
            self.judge_trusted(step, view, breaches);
        }
        self.guarded |= set_up;
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
            let step = Step {
                action: &part.action,
                outcome: part.outcome,
                events: &own.events,
            };
            self.judge_own(&step, &own.contested, view, breaches);
        }
        let steps = parts.iter().map(|part| Step {
            action: &part.action,
            outcome: part.outcome,
            events,
        });
        let set_up = steps.clone().any(|step| is_success(&step));
        let actions: Vec<Action> = parts.iter().map(|part| part.action).collect();
        self.judge_passed(&actions, events, set_up, view, breaches);
        if let Some(step) = steps.clone().find(is_success).or(steps.clone().next()) {
            self.judge_pointers(&step, view, breaches);
        }
    }

    /// LEAK and PTR over what the host did not lie about.
    fn judge_trusted(&mut self, step: &Step, view: &impl View, breaches: &mut Vec<Breach>) {
        let events = trust::without(step.events, &mut self.lies);
        let step = Step {
            events: &events,
            ..*step
        };
        let view = trust::Trusted {
            view,
            lies: &self.lies,
        };
        self.leak.judge(&step, &view, breaches);
        self.ptr.judge(&step, &view, breaches);
    }
}
