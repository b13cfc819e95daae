//! Set-ups that EL2 makes at a moment of its own (the point `moment`): the hypercall describes an
//! ITS, and a later action sets it up. EL2 reports the end of each by [`Event::SetUp`].

use std::fmt::Display;

use its_architecture::its_at;
use its_declaration::{Again, Moment};
use its_machine::{Action, Errno, Event, Hypercall};

use crate::account::Account;
use crate::{Policy, rules};

/// The action in which EL2 makes a set-up by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Within {
    Finalize,
    /// A trapped access to the frames of this ITS.
    Trap(usize),
    Other,
}

impl Within {
    /// A trapped access to an address.
    pub(crate) fn of(policy: &Policy, address: u64) -> Self {
        its_at(&policy.machine, address).map_or(Self::Other, |(its, _)| Self::Trap(its))
    }
}

/// Where an event ends a set-up.
pub(crate) const fn is_set_up(event: &Event) -> bool {
    matches!(event, Event::SetUp { .. })
}

/// Cuts events behind the first that ends a set-up: those up to it, and the rest.
pub(crate) fn cut(events: &[Event]) -> Option<(&[Event], &[Event])> {
    let end = events.iter().position(is_set_up)? + 1;
    Some(events.split_at(end))
}

impl Policy {
    /// Whether a hypercall that asks for set-up now describes an ITS alone.
    pub(crate) fn only_describes(&self) -> bool {
        match self.declared.set_up.moment {
            Moment::Hypercall => false,
            Moment::LastFinalize => !self.are_all_finalized(),
            Moment::FirstTrap => true,
        }
    }

    /// S2: every CPU is finalized.
    pub(crate) fn are_all_finalized(&self) -> bool {
        self.finalized.iter().all(|done| *done)
    }

    /// Whether the access of a finalized CPU sets an ITS up first.
    pub(crate) fn is_set_up_by(&self, address: u64) -> bool {
        let its = its_at(&self.machine, address).map(|(its, _)| its);
        self.declared.set_up.moment == Moment::FirstTrap
            && self.are_all_finalized()
            && its.is_some_and(|its| self.described[its].is_some())
    }

    /// Whether an action is one that finalizes a CPU and may set ITSs up.
    pub(crate) fn sets_up_at_finalize(&self, action: &Action) -> bool {
        let finalizes = |x0| Hypercall::from_function_id(x0) == Some(Hypercall::ProtFinalize);
        self.declared.set_up.moment == Moment::LastFinalize
            && matches!(*action, Action::Hypercall { x0, .. } if finalizes(x0))
    }

    /// Follows the set-up that an access of a finalized CPU makes, and demands it where it is due.
    /// Returns the events after it.
    pub(crate) fn set_up_by_trap<'a>(
        &mut self,
        address: u64,
        events: &'a [Event],
        account: &mut Account,
    ) -> &'a [Event] {
        if self.declared.set_up.moment != Moment::FirstTrap {
            return events;
        }
        let is_due = self.is_set_up_by(address);
        let Some((set_up, rest)) = cut(events) else {
            if is_due {
                self.demand_set_up(Some(address), account);
            }
            return events;
        };
        self.replay(set_up, account);
        let within = Within::of(self, address);
        self.judge_own_set_up(within, set_up, account);
        rest
    }

    /// Follows the set-ups that a finalize makes, and demands that nothing stays described.
    pub(crate) fn set_up_by_finalize(&mut self, mut events: &[Event], account: &mut Account) {
        while let Some((set_up, rest)) = cut(events) {
            self.replay(set_up, account);
            self.judge_own_set_up(Within::Finalize, set_up, account);
            // The next may need the same page.
            self.ledger.keep_what_was_not_given_back(set_up);
            account.kept += set_up.len();
            events = rest;
        }
        self.replay(events, account);
        if self.are_all_finalized() {
            self.demand_set_up(None, account);
        }
    }

    /// Judges a hypercall that describes an ITS.
    pub(crate) fn judge_description(
        &mut self,
        arguments: [u64; 4],
        x1: i64,
        events: &[Event],
        account: &mut Account,
    ) {
        let its = self.guardable(arguments[0]);
        let expected = self.description(its);
        if events.iter().any(|event| matches!(event, Event::Page { .. })) {
            self.report("set-up", "no page asked for yet", "a set-up", account);
        }
        if let (Some(its), Ok(())) = (its, expected)
            && self.guarded[its].is_none()
        {
            self.described[its] = Some(arguments);
        }
        if !self.declared.set_up.allows(x1, expected) {
            let fails = x1 != 0 && expected.is_err();
            let rule = if fails { &rules::DIV_ERRNO } else { &rules::DIV_SETUP };
            let source = self.declared.set_up.moment.source();
            let expected = Errno::name(Errno::result(expected));
            let seen = format_args!("{x1} ({})", Errno::name(x1));
            account.judgement.disagree(rule, source, "x1", expected, seen);
        }
    }

    /// Whether a hypercall that describes an ITS may return this.
    pub(crate) fn allows_description(&self, arguments: [u64; 4], x1: i64) -> bool {
        let expected = self.description(self.guardable(arguments[0]));
        self.declared.set_up.allows(x1, expected)
    }

    /// What a hypercall that describes an ITS returns.
    fn description(&self, its: Option<usize>) -> Result<(), Errno> {
        let its = its.ok_or(Errno::Enodev)?;
        let is_guarded = self.guarded[its].is_some();
        let accepted = is_guarded && self.declared.set_up.again == Again::Accepted;
        let is_known = is_guarded || self.described[its].is_some();
        (accepted || !is_known).then_some(()).ok_or(Errno::Eopnotsupp)
    }

    /// Judges a set-up whose end is the last of these events.
    pub(crate) fn judge_own_set_up(
        &mut self,
        within: Within,
        events: &[Event],
        account: &mut Account,
    ) {
        let Some(&Event::SetUp { arguments, x1 }) = events.last() else {
            return;
        };
        let its = self.guardable(arguments[0]);
        let is_here = match self.declared.set_up.moment {
            Moment::Hypercall => false,
            Moment::LastFinalize => within == Within::Finalize,
            Moment::FirstTrap => its.is_some_and(|its| within == Within::Trap(its)),
        };
        let is_due = self.are_all_finalized() && is_here;
        let described = its.and_then(|its| self.described[its].take());
        if is_due && described == Some(arguments) {
            return self.judge_set_up(arguments, x1, events, account);
        }
        let expected = match described {
            Some(described) if is_due => format!("one by {described:x?}"),
            _ => "none here".into(),
        };
        let seen = format_args!("one by {arguments:x?}");
        self.report("set-up", expected, seen, account);
    }

    /// What is described must be set up by now: all, or the ITS at an address.
    pub(crate) fn demand_set_up(&mut self, at: Option<u64>, account: &mut Account) {
        let at = at.and_then(|address| its_at(&self.machine, address));
        let is_due = |its: usize| at.is_none_or(|(only, _)| only == its);
        let all = 0..self.described.len();
        let Some(its) = all.into_iter().find(|its| is_due(*its) && self.described[*its].is_some())
        else {
            return;
        };
        self.described[its] = None;
        self.report(format_args!("its{its}.set-up"), "made by now", "not made", account);
    }

    /// Reports a set-up that is not made at the declared moment, or is made at another.
    fn report(
        &self,
        path: impl Display,
        expected: impl Display,
        seen: impl Display,
        account: &mut Account,
    ) {
        let (rule, source) = (&rules::DIV_SETUP, self.declared.set_up.moment.source());
        account.judgement.disagree(rule, source, path, expected, seen);
    }
}

#[cfg(test)]
mod tests {
    use its_declaration::Moment;

    use super::*;
    use crate::testing::*;

    const ARGUMENTS: [u64; 4] = [ITS, linear(PRIVATE), linear(DESCRIPTOR), 0];

    fn at_moment(moment: Moment) -> World {
        let mut world = World::booted();
        world.model.declared.set_up.moment = moment;
        world
    }

    fn by_itself(x1: i64) -> Vec<Event> {
        let mut events = if x1 == 0 { set_up() } else { Vec::new() };
        events.push(Event::SetUp { arguments: ARGUMENTS, x1 });
        events
    }

    /// A read of CTLR that traps.
    fn trap() -> Action {
        let (size, direction) = (AccessSize::Word, its_machine::Direction::Read);
        Action::Device { cpu: 0, address: ITS, size, direction }
    }

    const EOPNOTSUPP: i64 = -95;

    #[test]
    fn a_description_changes_nothing_and_is_made_once() {
        for moment in [Moment::LastFinalize, Moment::FirstTrap] {
            let mut world = at_moment(moment);
            world.differ(set_up_call(), x1(EOPNOTSUPP), &[], &rules::DIV_SETUP, "x1");
            world.agree(set_up_call(), x1(0), &[]);
            world.differ(set_up_call(), x1(0), &[], &rules::DIV_SETUP, "x1");
            world.differ(set_up_call(), x1(-22), &[], &rules::DIV_ERRNO, "x1");
            world.agree(set_up_call(), x1(EOPNOTSUPP), &[]);
            let nobody = hypercall(0, Hypercall::InitItsEmulation, [ITS + 0x1000, 0, 0, 0]);
            world.agree(nobody, x1(-19), &[]);
            assert_eq!(world.model.phase(0), Phase::Open);
        }
    }

    #[test]
    fn the_last_finalize_sets_up_what_is_described() {
        let mut world = at_moment(Moment::LastFinalize);
        world.agree(set_up_call(), x1(0), &[]);
        let finalize = |cpu| hypercall(cpu, Hypercall::ProtFinalize, [0; 4]);
        let (none, made) = ("set-up", "its0.set-up");
        world.differ(finalize(1), x1(0), &by_itself(0), &rules::DIV_SETUP, none);
        world.agree(finalize(1), x1(0), &[]);
        world.differ(finalize(0), x1(0), &[], &rules::DIV_SETUP, made);
        world.differ(finalize(0), x1(0), &by_itself(-16), &rules::DIV_ERRNO, "x1");
        world.agree(finalize(0), x1(0), &by_itself(0));
        assert_eq!(world.model.phase(0), Phase::Guarded);
        // Without a description the hypercall sets up, once all is finalized.
        let mut world = finalized(at_moment(Moment::LastFinalize));
        world.agree(set_up_call(), x1(0), &set_up());
        assert_eq!(world.model.phase(0), Phase::Guarded);
    }

    #[test]
    fn the_first_trap_sets_up_what_is_described() {
        let mut world = at_moment(Moment::FirstTrap);
        world.agree(hypercall(0, Hypercall::ProtFinalize, [0; 4]), x1(0), &[]);
        world.agree(set_up_call(), x1(0), &[]);
        let read = |mut events: Vec<Event>| {
            events.push(reads(Register::Ctlr, 1));
            events
        };
        // S2
        world.differ(trap(), Outcome::Value(1), &read(by_itself(0)), &rules::DIV_SETUP, "set-up");
        world.agree(trap(), Outcome::Value(1), &read(Vec::new()));
        world.agree(hypercall(1, Hypercall::ProtFinalize, [0; 4]), x1(0), &[]);
        let made = "its0.set-up";
        world.differ(trap(), Outcome::Value(1), &read(Vec::new()), &rules::DIV_SETUP, made);
        world.agree(trap(), Outcome::Value(1), &read(by_itself(0)));
        assert_eq!(world.model.phase(0), Phase::Guarded);
        world.agree(trap(), Outcome::Value(1), &read(Vec::new()));
        world.agree(set_up_call(), x1(EOPNOTSUPP), &[]);
    }
}
