//! Several agents at once: what happened is one list, in which each agent's actions lie across each
//! other.
//!
//! What hardware and pKVM did is followed in the order in which it happened. What EL2 must have
//! done for one access or call is judged from that agent's own events alone, at the moment when it
//! gives the lock of the ITS back, since that is when it takes effect for others. Whether a page
//! could be borrowed or donated while another agent changed it is what the page's own transitions
//! say, each of which is held against pKVM's books.

use std::collections::{BTreeSet, VecDeque};

use its_gic::Register;
use its_gic::register::OFFSET_MASK;
use its_machine::{AGENTS, Action, Errno, Event, Hypercall, LockName, Outcome, PageChange, Part};

use crate::account::Account;
use crate::queue::Stop;
use crate::trap::Before;
use crate::{Phase, Policy, rules};
use its_architecture::{Judgement, Partial, Registers};

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
    /// What was so when it began, where a call may go by that.
    early: Early,
    judged: bool,
}

/// What a hypercall may have found when it began.
#[derive(Clone, Copy)]
struct Early {
    /// P2: an ITS was not guarded yet.
    closing: bool,
    /// S1, S2: what refused a set-up.
    refused: Option<Errno>,
}

/// The race so far.
struct Race<'a> {
    parts: [VecDeque<Part>; AGENTS],
    underway: [Option<Underway>; AGENTS],
    judgement: Judgement,
    rest: &'a [Event],
}

impl Policy {
    /// Takes note of what several agents did at once, and says what was wrong with it. `parts`: the
    /// actions in the order of their ends, each of which is an [`Event::Over`].
    pub fn judge_race(&mut self, parts: &[Part], events: &[Event]) -> Judgement {
        self.hardware.start_action();
        let of = |agent: usize| {
            let own = parts.iter().filter(|part| usize::from(part.agent) == agent);
            own.copied().collect()
        };
        let mut race = Race {
            parts: std::array::from_fn(of),
            underway: [const { None }; AGENTS],
            judgement: Judgement::default(),
            rest: events,
        };
        let mut agent = 0;
        while let Some((turn, slice, over)) = race.next_slice(agent) {
            agent = turn;
            self.follow(&mut race, usize::from(agent), slice, over);
        }
        self.compare_writers(&mut race.judgement);
        self.ledger.compare(&self.ghost, &mut race.judgement);
        race.judgement
    }

    /// P9: whoever came last, the hardware's CWRITER is J of a guarded ITS that runs.
    fn compare_writers(&self, judgement: &mut Judgement) {
        for (its, guard) in self.guards.iter().enumerate() {
            let hardware = &self.hardware.its[its].registers;
            let Some(guard) = guard.as_ref().filter(|guard| guard.stop == Stop::Running) else {
                continue;
            };
            let seen = hardware.cwriter.value & OFFSET_MASK;
            if !hardware.enabled || seen == guard.j {
                continue;
            }
            let (path, value) = (format_args!("its{its}.cwriter"), format_args!("{:#x}", guard.j));
            judgement.disagree(&rules::DIV_FORWARD, "P9", path, value, format_args!("{seen:#x}"));
        }
    }

    /// What one agent did before another acts, or until its action is `over`.
    fn follow(&mut self, race: &mut Race, agent: usize, slice: &[Event], over: bool) {
        if race.underway[agent].is_none() {
            let Some(part) = race.parts[agent].pop_front() else {
                return;
            };
            race.underway[agent] = Some(self.begin(part));
        }
        self.hardware.start_step();
        race.contest(agent, slice);
        let Some(mut own) = race.underway[agent].take() else {
            return;
        };
        own.account.judgement = std::mem::take(&mut race.judgement);
        match self.is_entry(&own.part.action) {
            true => self.follow_entry(&mut own, slice, over),
            // Done at one moment, whatever it waited for before.
            false if over => {
                own.events.extend_from_slice(slice);
                self.follow_other(&mut own);
                self.end_part(&mut own);
            }
            false => own.events.extend_from_slice(slice),
        }
        race.judgement = std::mem::take(&mut own.account.judgement);
        if !over {
            race.underway[agent] = Some(own);
            return;
        }
        if let Some(page) = guest_page(&own.part.action) {
            race.contested_by(agent, [page].into_iter());
        }
    }

    fn begin(&self, part: Part) -> Underway {
        let closing = |its| self.phase(its as u8) == Phase::Closing;
        let before = match part.action {
            Action::Device { address, .. } => self.before(address),
            _ => None,
        };
        Underway {
            part,
            events: Vec::new(),
            contested: BTreeSet::new(),
            account: Account::default(),
            before,
            early: Early {
                closing: (0..self.machine.its.len()).any(closing),
                refused: self.refused_early(),
            },
            judged: false,
        }
    }

    /// Whether EL2's emulation does it, in many steps.
    fn is_entry(&self, action: &Action) -> bool {
        match *action {
            Action::Device { cpu, .. } => self.is_finalized(cpu),
            Action::Hypercall { x0, .. } => {
                Hypercall::from_function_id(x0) == Some(Hypercall::InitItsEmulation)
            }
            _ => false,
        }
    }

    fn follow_entry(&mut self, own: &mut Underway, slice: &[Event], over: bool) {
        let takes = |event: &Event| matches!(event, Event::Acquired(LockName::Its(_)));
        if let Action::Device { address, .. } = own.part.action
            && slice.iter().any(takes)
        {
            own.before = self.before(address);
        }
        self.replay(slice, &mut own.account);
        own.events.extend_from_slice(slice);
        let gives = |event: &Event| matches!(event, Event::Released(LockName::Its(_)));
        if own.part.outcome == Outcome::Stopped {
            own.account.judgement.poison("EL2 did not return");
            return;
        }
        if !own.judged && (over || slice.iter().any(gives)) {
            own.judged = true;
            self.ledger.contest(&own.contested);
            self.judge_entry(own);
            self.ledger.contest(&BTreeSet::new());
        }
        if over {
            self.end_part(own);
        }
    }

    /// An action that takes effect at one moment, which is its last.
    fn follow_other(&mut self, own: &mut Underway) {
        let Part { action, outcome, .. } = own.part;
        // P2: the ITSs may have been asked before the last of them was guarded.
        if own.early.closing && is_refused_donation(&action, &outcome) {
            return self.replay(&own.events, &mut own.account);
        }
        self.act(&action, &outcome, &own.events, &mut own.account);
    }

    /// What EL2 must have done, by the policy.
    fn judge_entry(&mut self, own: &mut Underway) {
        match own.part.action {
            Action::Device { size, direction, .. } => {
                let seen = match own.part.outcome {
                    Outcome::Value(value) => value,
                    _ => 0,
                };
                let Some(mut before) = own.before.take() else {
                    return;
                };
                if let Before::Its { its, registers, .. } = &mut before {
                    found(registers, self.machine.its[*its], &own.events);
                }
                let access = (size, direction);
                self.judge_trap(access, &before, seen, &own.events, &mut own.account);
            }
            Action::Hypercall { x0, arguments, cpu } => {
                self.judge_racing_set_up((cpu, x0, arguments), own)
            }
            _ => {}
        }
    }

    /// Judged by what EL2 found: since then power may have gone, and CPUs been finalized.
    fn judge_racing_set_up(&mut self, call: (u8, u64, [u64; 4]), own: &mut Underway) {
        let Underway { part: Part { outcome, .. }, early, .. } = *own;
        let refused =
            early.refused.map(|errno| Outcome::Returned { x0: 0, x1: Errno::result(Err(errno)) });
        if refused == Some(outcome) {
            return;
        }
        let (_, _, [device, ..]) = call;
        let its = self.machine.its.iter().position(|base| *base == device);
        let now = its.map(|its| (its, self.hardware.its[its].registers));
        if let Some((its, _)) = now {
            found(&mut self.hardware.its[its].registers, device, &own.events);
        }
        self.judge_hypercall(call, Some(Ok(())), &outcome, &own.events, &mut own.account);
        if let Some((its, registers)) = now {
            self.hardware.its[its].registers = registers;
        }
    }

    /// S1, S2.
    fn refused_early(&self) -> Option<Errno> {
        if !self.is_protected() {
            return Some(Errno::Eopnotsupp);
        }
        self.finalized.contains(&false).then_some(Errno::Ebusy)
    }

    fn end_part(&mut self, own: &mut Underway) {
        self.settle(&own.events, &mut own.account);
        self.keep_what_was_not_given_back(&own.events);
    }
}

/// The page that a call gives to the guest or takes from it.
fn guest_page(action: &Action) -> Option<u64> {
    let Action::Hypercall { x0, arguments, .. } = action else {
        return None;
    };
    let call = Hypercall::from_function_id(*x0)?;
    let moves = [Hypercall::HostDonateGuest, Hypercall::ReclaimGuestPage];
    moves.contains(&call).then_some(arguments[0])
}

fn is_refused_donation(action: &Action, outcome: &Outcome) -> bool {
    let eperm = Outcome::Returned { x0: 0, x1: Errno::result(Err(Errno::Eperm)) };
    let donates = match *action {
        Action::Hypercall { x0, .. } => {
            Hypercall::from_function_id(x0) == Some(Hypercall::HostDonateGuest)
        }
        _ => false,
    };
    donates && *outcome == eperm
}

impl<'a> Race<'a> {
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

/// Makes the hardware's registers what EL2 found, before it wrote any: they may have changed while
/// it held the lock.
fn found(registers: &mut Registers, base: u64, events: &[Event]) {
    for event in events {
        let (address, value) = match *event {
            Event::DeviceWrite { .. } => break,
            Event::DeviceRead { address, value, .. } => (address, value),
            _ => continue,
        };
        let read = Partial::all(value);
        match Register::at(address.wrapping_sub(base)) {
            Register::Ctlr => registers.enabled = value & 1 != 0,
            Register::Creadr => registers.creadr = value,
            Register::Cwriter => registers.cwriter = read,
            Register::Cbaser => registers.cbaser = read,
            Register::Baser(n) => registers.baser[usize::from(n & 7)] = read,
            _ => {}
        }
    }
}

/// What a page could be, by its transitions among some events: borrowed, and donated.
pub(crate) fn witnessed(page: u64, events: &[Event]) -> [Option<bool>; 2] {
    let (mut borrowed, mut donated) = (None, None);
    for event in events {
        let Event::Page { change, pages, result } = event else {
            continue;
        };
        if !pages.contains(page) {
            continue;
        }
        match change {
            PageChange::Pin => borrowed = Some(result.is_ok()),
            PageChange::Share if result.is_err() => borrowed = borrowed.or(Some(false)),
            PageChange::Donate => donated = Some(result.is_ok()),
            _ => {}
        }
    }
    [borrowed, donated]
}

#[cfg(test)]
mod tests {
    use its_machine::AccessSize;

    use super::*;
    use crate::testing::*;

    const CWRITER: u64 = ITS + 0x88;

    fn post(cpu: u8, offset: u64) -> Part {
        Part {
            agent: cpu,
            action: Action::Device {
                cpu,
                address: CWRITER,
                size: AccessSize::Double,
                direction: its_machine::Direction::Write(offset),
            },
            outcome: Outcome::Done,
        }
    }

    fn turn(agent: u8) -> Vec<Event> {
        vec![Event::Turn { agent }]
    }

    fn lock() -> Vec<Event> {
        vec![Event::Acquired(LockName::Its(0))]
    }

    fn unlock() -> Vec<Event> {
        vec![Event::Released(LockName::Its(0))]
    }

    fn moves(offset: u64) -> Vec<Event> {
        vec![writes(Register::Cwriter, offset)]
    }

    fn over() -> Vec<Event> {
        vec![Event::Over]
    }

    /// CPU 0 posts one command, CPU 1 the next, and `end` is how they end.
    fn two_posts(end: impl IntoIterator<Item = Vec<Event>>) -> Judgement {
        let mut world = World::guarded();
        let first = [turn(0), lock(), look(0x80), accepts(0x80, mapd(2, 4, FREE), &[FREE])];
        let events = join(first.into_iter().chain(end));
        // CPU 1's ends first.
        let ended = [post(1, 0xc0), post(0, 0xa0)];
        world.model.judge_race(&ended, &events)
    }

    fn second() -> [Vec<Event>; 3] {
        [lock(), look(0x80), accepts(0xa0, SYNC, &[])]
    }

    #[test]
    fn two_posts_one_after_the_other() {
        let [locked, looks, accepted] = second();
        let judgement = two_posts([
            moves(0xa0),
            unlock(),
            turn(1),
            locked,
            looks,
            accepted,
            moves(0xc0),
            unlock(),
            over(),
            turn(0),
            over(),
        ]);
        assert_eq!(judgement.findings, []);
        assert_eq!(judgement.judged, 2);
    }

    /// The second CPU's CWRITER is overwritten by the first's.
    #[test]
    fn cwriter_must_not_go_back() {
        let [locked, looks, accepted] = second();
        let judgement = two_posts([
            unlock(),
            turn(1),
            locked,
            looks,
            accepted,
            moves(0xc0),
            unlock(),
            over(),
            turn(0),
            moves(0xa0),
            over(),
        ]);
        let [only] = &judgement.findings[..] else {
            panic!("{:#?}", judgement.findings);
        };
        assert_eq!((only.rule, &*only.seen), (&rules::DIV_FORWARD, "0xa0"));
    }

    /// A page that CPU 1 shares or not while EL2 judges MAPD.
    fn shared_meanwhile(before: bool, accepted: bool) -> Judgement {
        let mut world = World::guarded();
        let share = Part {
            agent: 1,
            action: hypercall(1, Hypercall::HostShareHyp, [FREE, 0, 0, 0]),
            outcome: Outcome::Returned { x0: 0, x1: if before { 0 } else { -1 } },
        };
        let shares = |result| Event::Page {
            change: PageChange::Share,
            pages: its_gic::geometry::Pages { first: FREE, count: 1 },
            result,
        };
        let by_host = match before {
            true => shares(Ok(())),
            false => shares(Err(Errno::Eperm)),
        };
        let meanwhile = [turn(1), vec![by_host], over(), turn(0)];
        let command = mapd(2, 4, FREE);
        let copy = vec![copied(0x80, command.encode())];
        let own = match before {
            true => vec![shares(Err(Errno::Eperm)), page(PageChange::Pin, FREE)],
            false => borrows(&[FREE]),
        };
        let passed = match accepted {
            true => join([vec![passed_on(0x80, command.encode())], moves(0xa0)]),
            false => Vec::new(),
        };
        let begin = [turn(0), lock(), look(0x80), copy];
        let middle = match before {
            true => join([join(meanwhile), own]),
            false => join([own, join(meanwhile)]),
        };
        let events = join([join(begin), middle, passed, unlock(), over()]);
        world.model.judge_race(&[share, post(0, 0xa0)], &events)
    }

    #[test]
    fn a_page_may_be_shared_before_or_after_it_is_borrowed() {
        for before in [true, false] {
            let right = shared_meanwhile(before, true);
            assert_eq!(right.findings, [], "{before}");
            let wrong = shared_meanwhile(before, false);
            assert!(!wrong.findings.is_empty(), "{before}");
        }
    }
}
