//! Several agents at once: what happened is one list, in which each agent's actions lie across each
//! other.
//!
//! What hardware and pKVM did is followed in the order in which it happened. What EL2 must have
//! done for one access or call is judged from that agent's own events alone, at the moment when it
//! gives the lock of the ITS back, since that is when it takes effect for others. Where it takes
//! that lock more than once, the last section in which it did something counts. Whether a page
//! could be borrowed or donated while another agent changed it is what the page's own transitions
//! say, each of which is held against pKVM's page states.

use std::collections::{BTreeSet, VecDeque};

use its_architecture::{Judgement, Partial, Registers, value_of};
use its_declaration::Moment;
use its_gic::Register;
use its_gic::register::{FRAME_BYTES, OFFSET_MASK};
use its_machine::{AGENTS, Action, Errno, Event, Hypercall, LockName, Outcome, Part};

use crate::account::Account;
use crate::guarded::Stop;
use crate::hypercall::HostCall;
use crate::moment::{Within, cut, is_set_up};
use crate::trap::{Before, device_reads};
use crate::{Policy, rules};

/// An action that has begun.
struct Underway {
    part: Part,
    /// Its own events so far.
    events: Vec<Event>,
    /// Pages that other agents changed since it began.
    contested: BTreeSet<u64>,
    account: Account,
    /// The hardware when EL2 took the lock, or when it began where there is none.
    before: Option<Before>,
    /// So many events came before that.
    before_at: usize,
    /// P2: an ITS was not guarded yet when it began.
    closing: bool,
    /// S1, S2: what refused a set-up when it began.
    refused: Option<Errno>,
    /// The point `moment`: a hypercall for set-up described when it began.
    describes: bool,
    /// The point `moment`: the access had to set an ITS up when it began.
    sets_up: bool,
    /// So many of its events are followed.
    seen: usize,
    /// It is judged once so many are.
    judged_after: usize,
    judged: bool,
}

/// The race so far.
pub(crate) struct Race<'a> {
    policy: &'a mut Policy,
    /// Those that have not begun, each with all its events.
    parts: [VecDeque<(Part, Vec<Event>)>; AGENTS],
    underway: [Option<Underway>; AGENTS],
    judgement: Judgement,
    rest: &'a [Event],
}

impl<'a> Race<'a> {
    pub(crate) fn new(policy: &'a mut Policy, parts: &[Part], events: &'a [Event]) -> Self {
        let mut own = own_events(events);
        let mut of = |agent: usize| {
            let parts = parts.iter().filter(|part| usize::from(part.agent) == agent);
            parts.copied().zip(std::mem::take(&mut own[agent])).collect()
        };
        Self {
            policy,
            parts: std::array::from_fn(&mut of),
            underway: [const { None }; AGENTS],
            judgement: Judgement::default(),
            rest: events,
        }
    }

    pub(crate) fn judge(mut self) -> Judgement {
        let mut agent = 0;
        while let Some((turn, slice, over)) = self.next_slice(agent) {
            agent = turn;
            self.follow(usize::from(agent), slice, over);
        }
        if self.policy.declared.set_up.moment == Moment::LastFinalize
            && self.policy.are_all_finalized()
        {
            let judgement = std::mem::take(&mut self.judgement);
            let mut account = Account { judgement, ..Account::default() };
            self.policy.demand_set_up(None, &mut account);
            self.judgement = account.judgement;
        }
        self.compare_writers();
        self.judgement
    }

    /// P9: whoever came last, the hardware's CWRITER is J of a guarded ITS that runs.
    fn compare_writers(&mut self) {
        for guarded in self.policy.guarded.iter().flatten() {
            let hardware = &self.policy.hardware.its[guarded.its].registers;
            let (seen, j) = (hardware.cwriter.value & OFFSET_MASK, guarded.queues.j);
            if guarded.stop == Stop::Running && hardware.enabled && seen != j {
                let path = format_args!("its{}.cwriter", guarded.its);
                let (j, seen) = (format_args!("{j:#x}"), format_args!("{seen:#x}"));
                self.judgement.disagree(&rules::DIV_FORWARD, "P9", path, j, seen);
            }
        }
    }

    /// What one agent did before another acts, or until its action is `over`.
    fn follow(&mut self, agent: usize, slice: &[Event], over: bool) {
        if self.underway[agent].is_none() {
            let Some((part, own)) = self.parts[agent].pop_front() else {
                return;
            };
            self.underway[agent] = Some(Underway::new(self.policy, part, &own));
        }
        self.policy.hardware.start_step();
        self.contest(agent, slice);
        let Some(mut own) = self.underway[agent].take() else {
            return;
        };
        own.account.judgement = std::mem::take(&mut self.judgement);
        if !own.judged && called(&own.part.action) == Some(Hypercall::ProtFinalize) {
            own.finalize(self.policy);
        }
        own.follow(self.policy, slice, over);
        self.judgement = std::mem::take(&mut own.account.judgement);
        if !over {
            self.underway[agent] = Some(own);
        } else if let Some(page) = guest_page(&own.part.action) {
            self.contested_by(agent, [page].into_iter());
        }
    }

    /// The next events of one agent: up to another's turn or the end of an action.
    fn next_slice(&mut self, mut agent: u8) -> Option<(u8, &'a [Event], bool)> {
        let mark = |event: &Event| matches!(event, Event::Turn { .. } | Event::Over);
        loop {
            let end = self.rest.iter().position(mark)?;
            let (slice, rest) = self.rest.split_at(end);
            match rest {
                [Event::Over, rest @ ..] => {
                    self.rest = rest;
                    return Some((agent, slice, true));
                }
                [Event::Turn { .. }, ..] if !slice.is_empty() => {
                    self.rest = rest;
                    return Some((agent, slice, false));
                }
                [Event::Turn { agent: next }, rest @ ..] => {
                    self.rest = rest;
                    agent = *next;
                }
                _ => return None,
            }
        }
    }

    /// Other actions that are underway must not rely on the pages that these events changed.
    fn contest(&mut self, agent: usize, slice: &[Event]) {
        let changed = slice.iter().filter_map(|event| match event {
            Event::Page { pages, result: Ok(()), .. } => Some(pages.iter()),
            _ => None,
        });
        let changed: Vec<u64> = changed.flatten().collect();
        self.contested_by(agent, changed.into_iter());
    }

    fn contested_by(&mut self, agent: usize, pages: impl Iterator<Item = u64> + Clone) {
        for (other, underway) in self.underway.iter_mut().enumerate() {
            if let Some(underway) = underway.as_mut().filter(|_| other != agent) {
                underway.contested.extend(pages.clone());
            }
        }
    }
}

impl Underway {
    /// `own`: all its events.
    fn new(policy: &Policy, part: Part, own: &[Event]) -> Self {
        let before = match part.action {
            Action::Device { address, .. } => policy.before(address),
            _ => None,
        };
        let mut begun = Self {
            part,
            events: Vec::new(),
            contested: BTreeSet::new(),
            account: Account::default(),
            before,
            before_at: 0,
            closing: policy.is_closing(),
            refused: refused_early(policy),
            describes: policy.only_describes(),
            sets_up: matches!(part.action, Action::Device { address, .. }
                if policy.is_set_up_by(address)),
            seen: 0,
            judged_after: 0,
            judged: false,
        };
        begun.judged_after = begun.end_of_work(own);
        begun
    }

    fn follow(&mut self, policy: &mut Policy, slice: &[Event], over: bool) {
        if self.is_entry(policy) {
            return self.follow_entry(policy, slice, over);
        }
        // Done at one moment, which is its last, whatever it waited for before.
        self.events.extend_from_slice(slice);
        if !over {
            return;
        }
        let Part { action, outcome, .. } = self.part;
        // P2: the ITSs may have been asked before the last of them was guarded.
        if self.closing && is_refused_donation(&action, &outcome) {
            policy.replay(&self.events, &mut self.account);
        } else {
            policy.act(&action, &outcome, &self.events, &mut self.account);
        }
        policy.settle(&self.events, &mut self.account);
    }

    /// Whether EL2's emulation does it, in many steps.
    fn is_entry(&self, policy: &Policy) -> bool {
        match self.part.action {
            Action::Device { cpu, .. } => policy.is_finalized(cpu),
            ref action => {
                let entries = [
                    Hypercall::ProtFinalize,
                    Hypercall::InitItsEmulation,
                    Hypercall::InitRedistributorEmulation,
                    Hypercall::FiniItsEmulation,
                ];
                called(action).is_some_and(|call| entries.contains(&call))
            }
        }
    }

    /// A CPU is finalized before EL2 does anything about it.
    fn finalize(&mut self, policy: &mut Policy) {
        self.judged = true;
        if let Action::Hypercall { cpu, x0, arguments } = self.part.action {
            let call = HostCall::new(policy, cpu, x0, arguments);
            call.judge(policy, &self.part.outcome, &[], &mut self.account);
        }
    }

    /// The point `moment`: follows the end of a set-up that EL2 makes by itself.
    fn follow_set_up(&mut self, policy: &mut Policy, slice: &[Event]) {
        policy.replay(slice, &mut self.account);
        self.events.extend_from_slice(slice);
        let Some(&Event::SetUp { arguments: [frame, ..], .. }) = slice.last() else {
            return;
        };
        let within = match self.part.action {
            Action::Device { address, .. } => Within::of(policy, address),
            ref action if called(action) == Some(Hypercall::ProtFinalize) => Within::Finalize,
            _ => Within::Other,
        };
        policy.ledger.contest(&self.contested);
        let (events, account) = (&self.events, &mut self.account);
        as_found(policy, frame, events, |policy| policy.judge_own_set_up(within, events, account));
        policy.ledger.contest(&BTreeSet::new());
        policy.settle(&self.events, &mut self.account);
        self.events.clear();
        self.before_at = 0;
        self.sets_up = false;
        if let Action::Device { address, .. } = self.part.action {
            self.before = policy.before(address);
        }
    }

    fn follow_entry(&mut self, policy: &mut Policy, mut slice: &[Event], over: bool) {
        self.seen += slice.len();
        while policy.declared.set_up.moment != Moment::Hypercall
            && let Some((set_up, rest)) = cut(slice)
        {
            self.follow_set_up(policy, set_up);
            slice = rest;
        }
        let takes = |event: &Event| matches!(*event, Event::Acquired(name) if self.protects(name));
        let taken = slice.iter().rposition(takes);
        if let (Action::Device { address, .. }, Some(taken)) = (self.part.action, taken) {
            self.before = policy.before(address);
            self.before_at = self.events.len() + taken;
        }
        policy.replay(slice, &mut self.account);
        self.events.extend_from_slice(slice);
        if self.part.outcome == Outcome::Stopped {
            return self.account.judgement.poison("EL2 did not return");
        }
        if let Action::Device { address, .. } = self.part.action {
            self.sets_up &= policy.is_set_up_by(address);
            if self.sets_up && over {
                policy.demand_set_up(Some(address), &mut self.account);
            }
        }
        if !self.judged && (over || self.seen >= self.judged_after) {
            self.judged = true;
            policy.ledger.contest(&self.contested);
            self.judge_entry(policy);
            policy.ledger.contest(&BTreeSet::new());
        }
        if over {
            policy.settle(&self.events, &mut self.account);
        }
    }

    /// Whether what the action is about is done under a lock.
    fn protects(&self, name: LockName) -> bool {
        match name {
            LockName::Its(_) | LockName::Other(_) => true,
            LockName::SetUp | LockName::Redistributors => {
                let call = called(&self.part.action);
                call == Some(Hypercall::InitRedistributorEmulation)
                    || self.describes && call == Some(Hypercall::InitItsEmulation)
            }
            LockName::Memory => false,
        }
    }

    /// How many of its events come up to the end of its work: of the last section in which it did
    /// something, or the last of all. What comes before a set-up of its own is about that.
    fn end_of_work(&self, own: &[Event]) -> usize {
        let start = own.iter().rposition(is_set_up).map_or(0, |last| last + 1);
        let (mut worked, mut end, mut last) = (false, None, None);
        for (index, event) in own.iter().enumerate().skip(start) {
            match *event {
                Event::Acquired(name) if self.protects(name) => worked = false,
                Event::Released(name) if self.protects(name) => {
                    last = Some(index + 1);
                    end = last.filter(|_| worked).or(end);
                }
                Event::Acquired(_) | Event::Released(_) => {}
                _ => worked = true,
            }
        }
        end.or(last).unwrap_or(own.len())
    }

    /// What EL2 must have done, by the policy.
    fn judge_entry(&mut self, policy: &mut Policy) {
        let Part { action, outcome, .. } = self.part;
        match action {
            Action::Device { size, direction, .. } => {
                let Some(mut before) = self.before.take() else {
                    return;
                };
                if let Before::Its { its, registers, .. } = &mut before {
                    let since = self.events.get(self.before_at..).unwrap_or_default();
                    found(registers, policy.machine.its[*its], since);
                }
                let (access, seen) = ((size, direction), value_of(&outcome));
                policy.judge_trap(access, &before, seen, &self.events, &mut self.account);
            }
            Action::Hypercall { cpu, x0, arguments } => {
                let call = HostCall::new(policy, cpu, x0, arguments);
                self.judge_set_up(policy, call, arguments[0]);
            }
            Action::Load { .. }
            | Action::Store { .. }
            | Action::StoreCommand { .. }
            | Action::Msi { .. }
            | Action::Acknowledge { .. }
            | Action::PowerLoss { .. }
            | Action::EnabledByOther { .. }
            | Action::Clean { .. }
            | Action::WriteBack { .. }
            | Action::Advance { .. } => {}
        }
    }

    /// Judged by what EL2 found: since then power may have gone, and CPUs been finalized.
    fn judge_set_up(&mut self, policy: &mut Policy, call: HostCall, device: u64) {
        let outcome = self.part.outcome;
        let refused = |errno| Outcome::Returned { x0: 0, x1: Errno::result(Err(errno)) };
        if self.refused.map(refused) == Some(outcome) && !self.describes {
            return;
        }
        let takes = |event: &Event| matches!(event, Event::Page { .. });
        if let (true, Outcome::Returned { x0: 0, x1 }, Action::Hypercall { arguments, .. }) =
            (self.describes, outcome, self.part.action)
            && called(&self.part.action) == Some(Hypercall::InitItsEmulation)
            && !self.events.iter().any(takes)
            && (policy.only_describes() || policy.allows_description(arguments, x1))
        {
            return policy.judge_description(arguments, x1, &self.events, &mut self.account);
        }
        let (events, account) = (&self.events, &mut self.account);
        if called(&self.part.action) == Some(Hypercall::FiniItsEmulation) {
            return call.judge(policy, &outcome, events, account);
        }
        as_found(policy, device, events, |policy| call.judge(policy, &outcome, events, account));
    }
}

/// The events of each agent's actions, one list for each action.
fn own_events(events: &[Event]) -> [Vec<Vec<Event>>; AGENTS] {
    let (mut all, mut underway) = ([const { Vec::new() }; AGENTS], [const { Vec::new() }; AGENTS]);
    let mut agent = 0;
    for event in events {
        match *event {
            Event::Turn { agent: next } => agent = usize::from(next),
            Event::Over => all[agent].push(std::mem::take(&mut underway[agent])),
            event => underway[agent].push(event),
        }
    }
    all
}

/// Judges on the registers that EL2 found of the ITS with a control frame: they may have changed
/// since.
fn as_found(policy: &mut Policy, frame: u64, events: &[Event], judge: impl FnOnce(&mut Policy)) {
    let Some(its) = policy.guardable(frame) else {
        return judge(policy);
    };
    let now = policy.hardware.its[its].registers;
    found(&mut policy.hardware.its[its].registers, frame, events);
    judge(policy);
    policy.hardware.its[its].registers = now;
}

/// S1, S2.
fn refused_early(policy: &Policy) -> Option<Errno> {
    if !policy.is_protected() {
        return Some(Errno::Eopnotsupp);
    }
    policy.finalized.contains(&false).then_some(Errno::Ebusy)
}

/// The hypercall that an action is.
fn called(action: &Action) -> Option<Hypercall> {
    match action {
        Action::Hypercall { x0, .. } => Hypercall::from_function_id(*x0),
        _ => None,
    }
}

/// The page that a call gives to the guest or takes from it.
fn guest_page(action: &Action) -> Option<u64> {
    let moves = [Hypercall::HostDonateGuest, Hypercall::ReclaimGuestPage];
    match action {
        Action::Hypercall { arguments: [page, ..], .. } => {
            called(action).filter(|call| moves.contains(call)).map(|_| *page)
        }
        _ => None,
    }
}

fn is_refused_donation(action: &Action, outcome: &Outcome) -> bool {
    let eperm = Outcome::Returned { x0: 0, x1: Errno::result(Err(Errno::Eperm)) };
    called(action) == Some(Hypercall::HostDonateGuest) && *outcome == eperm
}

/// Makes the hardware's registers what EL2 found, before it wrote any: they may have changed while
/// it held the lock.
fn found(registers: &mut Registers, base: u64, events: &[Event]) {
    let writes = |event: &Event| matches!(event, Event::DeviceWrite { .. });
    let end = events.iter().position(writes).unwrap_or(events.len());
    // Frames of other devices follow.
    let reads = device_reads(base, &events[..end]).filter(|(offset, _)| *offset < FRAME_BYTES);
    for (offset, value) in reads {
        let read = Partial::all(value);
        match Register::at(offset) {
            Register::Ctlr => registers.enabled = value & 1 != 0,
            Register::Creadr => registers.creadr = value,
            Register::Cwriter => registers.cwriter = read,
            Register::Cbaser => registers.cbaser = read,
            Register::Baser(n) => registers.baser[usize::from(n & 7)] = read,
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests;
