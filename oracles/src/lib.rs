//! The oracles that need no reference.
//!
//! An oracle checks the rules of one family, one file each or more:
//!
//! - LEAK: `leak`, on what the physical ITS can reach; `emulation_pages`, on what only EL2 uses
//! - PTR: `ptr`, on what the ITS follows; `forwarded`, on what EL2 writes to the hardware; `slots`,
//!   on the commands that the ITS consumes
//! - EL2: `el2`, `locks` and `queue_bounds`, on what EL2 did
//! - UNDO: `undo`, on what failed or was refused; `rest`, on what EL2 holds at the end of a case
//! - HW: `hw`, on how EL2 uses the hardware's registers
//!
//! `history` keeps what became of each page, and says how a page came to be loose.
//!
//! The families DIV and ARCH compare with a reference, and SVC with an account of the host. Only
//! the runner knows these.
//!
//! Oracles know observations ([`its_machine::Event`]), read-only views ([`its_machine::View`]) and
//! what the subject declares ([`Declaration`]). They must not know the board, the
//! emulator or the reference: a mistake in the reference cannot hide a leak.

mod barriers;
mod doubt;
mod el2;
mod emulation_pages;
mod forwarded;
mod guards;
mod history;
mod hw;
mod leak;
mod locks;
mod ptr;
mod queue_bounds;
mod race;
mod rest;
mod slots;
#[cfg(test)]
mod testing;
mod undeclared;
mod undo;
mod watch;

use std::collections::BTreeSet;

use its_declaration::{Declaration, Moment};
use its_gic::{Ctlr, Register};
use its_machine::{Action, Event, Exposure, Hypercall, Machine, Outcome, Part, Reach, View};
use its_rules::{Finding, Rule, catalogue as rules};
pub use undo::page_balances;
use watch::Look;

/// One action as an oracle sees it, or a part of one that ends with a set-up which EL2 made by
/// itself (the point `moment`).
#[derive(Clone, Copy)]
pub struct Step<'a> {
    action: &'a Action,
    outcome: Outcome,
    events: &'a [Event],
    /// The action's events before and after these.
    before: &'a [Event],
    later: &'a [Event],
    /// The set-up of an ITS that came to its end.
    set_up: Option<SetUp>,
}

/// A set-up of an ITS.
#[derive(Clone, Copy)]
struct SetUp {
    arguments: [u64; 4],
    x1: i64,
}

/// How EL2 sets ITSs up (the point `moment`).
#[derive(Clone, Copy)]
struct Guarding {
    moment: Moment,
    /// Every CPU is finalized.
    finalized: bool,
}

impl Guarding {
    /// Whether a hypercall for set-up may describe an ITS alone.
    const fn may_describe(self) -> bool {
        match self.moment {
            Moment::Hypercall => false,
            Moment::LastFinalize => !self.finalized,
            Moment::FirstTrap => true,
        }
    }
}

impl<'a> Step<'a> {
    /// Returns one action whose set-ups are hypercalls.
    pub fn new(action: &'a Action, outcome: Outcome, events: &'a [Event]) -> Self {
        let mut step = Self { action, outcome, events, before: &[], later: &[], set_up: None };
        if let Action::Hypercall { arguments, .. } = *action {
            let x1 = step.result_of(Hypercall::InitItsEmulation);
            step.set_up = x1.map(|x1| SetUp { arguments, x1 });
        }
        step
    }

    fn of(part: &'a Part, events: &'a [Event]) -> Self {
        Self::new(&part.action, part.outcome, events)
    }

    /// The parts of an action. `guarding`: how EL2 sets up, and whether every CPU is finalized.
    fn parts(self, guarding: Guarding) -> impl Iterator<Item = Self> {
        let (whole, mut start) = (self.events, Some(0));
        let describes = guarding.may_describe()
            && self.set_up.is_some_and(|set_up| set_up.x1 == 0 && self.takes_nothing());
        std::iter::from_fn(move || {
            let (before, rest) = whole.split_at(start?);
            let ends = |event: &Event| matches!(event, Event::SetUp { .. });
            let end = rest.iter().position(ends).filter(|_| guarding.moment != Moment::Hypercall);
            let (events, later) = rest.split_at(end.map_or(rest.len(), |end| end + 1));
            start = end.map(|end| before.len() + end + 1);
            let set_up = match events.last() {
                Some(&Event::SetUp { arguments, x1 }) if end.is_some() => {
                    Some(SetUp { arguments, x1 })
                }
                _ => self.set_up.filter(|_| !describes),
            };
            Some(Self { events, before, later, set_up, ..self })
        })
    }

    /// What a set-up of an ITS or of redistributors returned, if this is one.
    fn set_up_result(&self) -> Option<i64> {
        let redistributors = || self.result_of(Hypercall::InitRedistributorEmulation);
        self.set_up.map(|set_up| set_up.x1).or_else(redistributors)
    }

    /// What a hypercall returned, if this action is one.
    fn result_of(&self, call: Hypercall) -> Option<i64> {
        match (self.action, self.outcome) {
            // Another x0 says that there is no such call.
            (Action::Hypercall { x0, .. }, Outcome::Returned { x0: 0, x1 }) => {
                (Hypercall::from_function_id(*x0) == Some(call)).then_some(x1)
            }
            _ => None,
        }
    }

    /// The control frame of the ITS whose set-up succeeded here, as the host named it.
    fn guarded_frame(&self) -> Option<u64> {
        self.set_up.filter(|set_up| set_up.x1 == 0).map(|set_up| set_up.arguments[0])
    }

    /// Whether a set-up of redistributors succeeded in this action.
    fn guards_redistributors(&self) -> bool {
        self.result_of(Hypercall::InitRedistributorEmulation) == Some(0)
    }

    /// The ITS whose emulation ended in this action.
    fn ended_its(&self, machine: &Machine) -> Option<u8> {
        let Action::Hypercall { arguments: [frame, ..], .. } = *self.action else {
            return None;
        };
        let ended = self.result_of(Hypercall::FiniItsEmulation) == Some(0);
        let its = machine.its.iter().position(|own| ended && *own == frame)?;
        u8::try_from(its).ok()
    }

    /// The arguments of the set-up.
    fn arguments(&self) -> Option<[u64; 4]> {
        self.set_up.map(|set_up| set_up.arguments)
    }

    /// The ITS whose set-up succeeded here.
    fn set_up_its(&self, machine: &Machine) -> Option<u8> {
        let device = self.guarded_frame()?;
        let its = machine.its.iter().position(|frame| *frame == device)?;
        u8::try_from(its).ok()
    }

    /// Whether no page changed hands.
    fn takes_nothing(&self) -> bool {
        !self.events.iter().any(|event| matches!(event, Event::Page { .. }))
    }

    /// What EL2 read first at an address.
    fn word_read(&self, address: u64) -> Option<u64> {
        self.events.iter().find_map(|event| match *event {
            Event::Scanned { address: from, bytes } => {
                (address.wrapping_sub(from) < bytes).then_some(0)
            }
            _ => event.word_read(address),
        })
    }
}

/// Whether an ITS is disabled, and nothing of it is under way.
fn is_off(its: u8, view: &impl View) -> bool {
    let ctlr = Ctlr::from_bits(view.register(its, Register::Ctlr) as u32);
    !ctlr.enabled() && ctlr.quiescent()
}

/// Says which action of a race broke a rule.
fn attribute(findings: &mut [Finding], part: &Part) {
    for finding in findings {
        finding.about = its_machine::text::subject(&part.action);
    }
}

/// Says which event broke these, of those that do not say it.
fn broken_by(event: usize, findings: &mut [Finding]) {
    for finding in findings {
        finding.event.get_or_insert(event);
    }
}

/// Gives the events that broke these the numbers that they have among all events.
fn renumber(findings: &mut [Finding], number: impl Fn(usize) -> usize) {
    for event in findings.iter_mut().filter_map(|finding| finding.event.as_mut()) {
        *event = number(*event);
    }
}

/// All that an ITS, and the redistributors, can reach now.
type ReachOf<'a> = dyn Fn(u8) -> Vec<(Reach, Exposure)> + 'a;

/// What LEAK and PTR look at in one action, and what they know by then.
struct Sight<'a> {
    events: &'a [Event],
    /// The action's events after these.
    later: &'a [Event],
    look: Look,
    guards: &'a guards::Guards,
    watch: &'a watch::Watch,
    history: &'a history::History,
    reach: &'a ReachOf<'a>,
}

/// All oracles, over one case.
#[derive(Clone)]
pub struct Oracles {
    guards: guards::Guards,
    watch: watch::Watch,
    undeclared: undeclared::Undeclared,
    ptr: ptr::Ptr,
    emulation_pages: emulation_pages::EmulationPages,
    history: history::History,
    rest: rest::Rest,
    queue_bounds: queue_bounds::QueueBounds,
    slots: slots::Slots,
    doubt: doubt::Doubt,
}

impl Oracles {
    /// Returns the oracles of a case that starts before boot, on this machine, with a subject that
    /// declares this.
    pub fn new(machine: &Machine, declared: Declaration) -> Self {
        Self {
            guards: guards::Guards::new(machine, declared),
            watch: watch::Watch::new(machine, &declared),
            undeclared: undeclared::Undeclared::default(),
            ptr: ptr::Ptr::default(),
            emulation_pages: emulation_pages::EmulationPages::default(),
            history: history::History::default(),
            rest: rest::Rest::default(),
            queue_bounds: queue_bounds::QueueBounds::default(),
            slots: slots::Slots::default(),
            doubt: doubt::Doubt::new(machine.its.len()),
        }
    }

    /// Judges one action; what it broke is appended to `findings`.
    pub fn judge(&mut self, step: Step, view: &impl View, findings: &mut Vec<Finding>) {
        self.note_doubt((step.events, Some(step.action)), view);
        if self.doubt.is_there {
            return;
        }
        for part in step.parts(self.guarding()) {
            let known = findings.len();
            self.judge_part(&part, view, findings);
            renumber(&mut findings[known..], |event| part.before.len() + event);
        }
        self.watch.note_finalized(step.action, step.outcome);
    }

    fn note_doubt(&mut self, (events, over): (&[Event], Option<&Action>), view: &impl View) {
        let writer = |its| view.register(its, Register::Cwriter);
        self.doubt.note(events, over, &self.guards, writer);
    }

    /// How EL2 sets ITSs up from now on.
    fn guarding(&self) -> Guarding {
        let moment = self.guards.declared.set_up.moment;
        Guarding { moment, finalized: self.watch.are_all_finalized() }
    }

    fn judge_part(&mut self, step: &Step, view: &impl View, findings: &mut Vec<Finding>) {
        self.slots.judge(step.events, &self.guards, findings);
        self.judge_own(step, &BTreeSet::new(), view, findings);
        self.judge_forwarded(step.events, view, findings);
        self.end(step, view);
        self.judge_in_order((&[*step.action], step.events), findings);
        self.watch.note_power(step.action);
        let look = self.watch.note(step, &self.guards.machine, view);
        self.judge_pointers(step, look, view, findings);
        self.leave_ended(step, view);
        let set_up = matches!(look, Look::SetUp(_) | Look::Redistributors);
        if let Look::SetUp(its) = look
            && undeclared::lists_more(its, step, view, &self.guards.machine)
        {
            self.rest.excuse();
        }
        self.rest.note(&[*step.action], step.events, &self.guards);
        if set_up {
            self.rest.set_up((&self.guards, &self.history), view);
        }
    }

    /// Returns whether a set-up of an ITS succeeded.
    pub fn is_guarded(&self, its: u8) -> bool {
        self.watch.is_guarded(its)
    }

    /// Judges the end of a case in which nothing more can come of any queue.
    pub fn judge_rest(&self, view: &impl View, findings: &mut Vec<Finding>) {
        self.rest.judge((&self.guards, &self.history), view, findings);
    }

    /// EL2, UNDO and HW: one action by its own events.
    fn judge_own(
        &mut self,
        step: &Step,
        contested: &BTreeSet<u64>,
        view: &impl View,
        findings: &mut Vec<Finding>,
    ) {
        if step.events.is_empty() && step.set_up_result().is_none() {
            return;
        }
        self.guards.note(step.events);
        let reads_guarded =
            self.watch.reads_guarded(step, view) && !self.undeclared.is_stale(step.events);
        el2::judge(step, reads_guarded, &self.guards, findings);
        locks::judge(step, &self.guards, findings);
        undo::judge(step, contested, &self.guards, findings);
        hw::judge(step, &self.guards, findings);
        if !self.watch.repeats(step, &self.guards.machine)
            && let Some(guard) = self.guards.adopt(step, view)
        {
            self.queue_bounds.guard(guard.its, guard.creadr);
            self.slots.guard(guard, view);
        }
    }

    /// The ITS whose emulation ended (the point `tear-down`); `None` while the ITS is not off.
    fn ended(&self, step: &Step, view: &impl View) -> Option<u8> {
        step.ended_its(&self.guards.machine).filter(|its| is_off(*its, view))
    }

    /// Takes note of an emulation that ended: what EL2 held for the ITS may go back.
    fn end(&mut self, step: &Step, view: &impl View) {
        if let Some(its) = self.ended(step, view) {
            self.guards.end(its);
            self.emulation_pages.forget(its);
        }
    }

    /// Once the pointers of the action are judged: an ITS whose emulation ended follows nothing
    /// until it is enabled again.
    fn leave_ended(&mut self, step: &Step, view: &impl View) {
        if let Some(its) = self.ended(step, view) {
            self.watch.leave(its);
            self.ptr.forget(its);
        }
    }

    fn judge_forwarded(&self, events: &[Event], view: &impl View, findings: &mut Vec<Finding>) {
        forwarded::judge(events, &self.guards, &|its, of| view.register(its, of), findings);
    }

    /// What EL2 reads of the host's queues, and the pages that it uses: all events in the order of
    /// happening.
    fn judge_in_order(
        &mut self,
        (actions, events): (&[Action], &[Event]),
        findings: &mut Vec<Finding>,
    ) {
        self.queue_bounds.judge(actions, events, &self.guards, findings);
        let is_own = !actions.iter().any(rest::is_host_s);
        events.iter().for_each(|event| self.history.note(event, is_own));
        self.emulation_pages.judge(events, (&self.guards, &self.history), findings);
    }

    /// LEAK and PTR, over what the host declared.
    fn judge_pointers(
        &mut self,
        step: &Step,
        look: Look,
        view: &impl View,
        findings: &mut Vec<Finding>,
    ) {
        if let Look::Started(its) = look {
            self.guards.resume(its);
        }
        if let Look::SetUp(its) = look {
            let guards::Guards { machine, declared, .. } = &self.guards;
            self.undeclared.note_set_up(its, step, view, (machine, declared));
        }
        let events = self.undeclared.filter(step.events);
        let reach = |its| {
            let all = view.reach(its).filter(|(reach, _)| self.undeclared.is_declared(reach));
            all.filter(|(reach, _)| self.watch.judges(reach)).collect()
        };
        let (guards, watch, history) = (&self.guards, &self.watch, &self.history);
        let later = step.later;
        let sight = Sight { events: &events, later, look, guards, watch, history, reach: &reach };
        leak::judge(&sight, findings);
        self.ptr.judge(&sight, findings);
    }

    /// Takes note of which pages EL2 holds after a race. Where the host asks for a change of a page
    /// too, the events do not say which change is EL2's.
    fn note_rest_of_race(&mut self, is_set_up: bool, (actions, events): (&[Action], &[Event])) {
        if is_set_up || actions.iter().any(rest::is_host_s) {
            return self.rest.excuse();
        }
        self.rest.note(actions, events, &self.guards);
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
        for (part, slice) in race::slices(parts, events) {
            let over = matches!(slice.last(), Some(Event::Over)).then_some(&part.action);
            self.note_doubt((slice, over), view);
        }
        if self.doubt.is_there {
            return;
        }
        self.slots.judge(events, &self.guards, findings);
        let guarding = self.guarding();
        let own = race::by_part(parts, events);
        for (part, own) in parts.iter().zip(&own) {
            for step in Step::of(part, &own.events).parts(guarding) {
                let known = findings.len();
                self.judge_own(&step, &own.contested, view, findings);
                attribute(&mut findings[known..], part);
                renumber(&mut findings[known..], |event| own.numbers[step.before.len() + event]);
            }
        }
        let actions: Vec<Action> = parts.iter().map(|part| part.action).collect();
        let steps = || {
            let own = parts.iter().zip(&own);
            own.flat_map(|(part, own)| Step::of(part, &own.events).parts(guarding))
        };
        let is_set_up = steps().any(|step| step.set_up_result().is_some());
        self.note_rest_of_race(is_set_up, (&actions, events));
        for its in steps().filter_map(|step| step.set_up_its(&self.guards.machine)) {
            self.slots.forget(its);
        }
        let mut start = 0;
        for (part, slice) in race::slices(parts, events) {
            let known = findings.len();
            self.judge_forwarded(slice, view, findings);
            attribute(&mut findings[known..], part);
            renumber(&mut findings[known..], |event| start + event);
            start += slice.len();
        }
        steps().for_each(|step| self.end(&step, view));
        self.judge_in_order((&actions, events), findings);
        // From a loss of power on that ITS is left alone, to the end of the race at least.
        let mut start = 0;
        for (part, slice) in race::slices(parts, events) {
            self.watch.note_power(&part.action);
            let known = findings.len();
            let later = &events[start + slice.len()..];
            let step = Step { later, ..Step::of(part, slice) };
            self.judge_pointers(&step, Look::Changes, view, findings);
            attribute(&mut findings[known..], part);
            renumber(&mut findings[known..], |event| start + event);
            start += slice.len();
        }
        // An ITS that was guarded or enabled again meanwhile is looked at as a whole, at the end.
        for step in steps() {
            let look = self.watch.note(&step, &self.guards.machine, view);
            if look != Look::Changes {
                // Changes were judged in order. A set-up's events say what the host listed.
                let events = if let Look::SetUp(_) = look { step.events } else { &[] };
                self.judge_pointers(&Step { events, ..step }, look, view, findings);
            }
            self.leave_ended(&step, view);
        }
        for part in parts {
            self.watch.note_finalized(&part.action, part.outcome);
        }
    }
}

#[cfg(test)]
mod tests {
    use its_machine::Barrier;

    use super::*;
    use crate::testing::{ITS, LOAD, MACHINE, PRIVATE, page};

    const CALL: Action = Action::Hypercall {
        cpu: 0,
        x0: Hypercall::InitItsEmulation.function_id(),
        arguments: [ITS, 0, 0, 0],
    };
    const ORDERED: Event = Event::Ordered(Barrier::DSB_SY);
    const SET_UP: Event = Event::SetUp { arguments: [ITS, 1, 2, 3], x1: 0 };

    /// Of each part: the number of its first event, how many it has, and the ITS that it guards.
    fn parts(
        action: &Action,
        events: &[Event],
        (moment, finalized): (Moment, bool),
    ) -> Vec<(usize, usize, Option<u8>)> {
        let step = Step::new(action, Outcome::Returned { x0: 0, x1: 0 }, events);
        let parts = step.parts(Guarding { moment, finalized });
        let shown = |part: Step| (part.before.len(), part.events.len(), part.set_up_its(&MACHINE));
        parts.map(shown).collect()
    }

    #[test]
    fn a_set_up_ends_where_the_emulation_says() {
        let events = [ORDERED, SET_UP, ORDERED, ORDERED];
        let expected = [(0, 2, Some(0)), (2, 2, None)];
        assert_eq!(parts(&LOAD, &events, (Moment::FirstTrap, true)), expected);
        let twice = [SET_UP, SET_UP];
        let expected = [(0, 1, Some(0)), (1, 1, Some(0)), (2, 0, None)];
        assert_eq!(parts(&LOAD, &twice, (Moment::LastFinalize, true)), expected);
        // Nobody declares it.
        assert_eq!(parts(&LOAD, &events, (Moment::Hypercall, true)), [(0, 4, None)]);
    }

    #[test]
    fn a_hypercall_that_takes_nothing_may_describe_alone() {
        let takes = [page(its_machine::PageChange::Donate, PRIVATE, 1)];
        for (moment, events, guards) in [
            ((Moment::Hypercall, false), &[][..], true),
            ((Moment::FirstTrap, true), &[], false),
            ((Moment::LastFinalize, false), &[], false),
            ((Moment::LastFinalize, false), &takes, true),
            ((Moment::LastFinalize, true), &[], true),
        ] {
            let expected = [(0, events.len(), guards.then_some(0))];
            assert_eq!(parts(&CALL, events, moment), expected, "{moment:?}");
        }
    }
}
