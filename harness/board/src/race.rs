//! Several agents at once: each does its actions on a stack of its own, and gives way to another
//! before an action or a call of EL2, where the schedule says so, or while another holds the lock
//! that it wants. One runs at a time, so that a schedule decides everything.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::mem;

use corosensei::stack::DefaultStack;
use corosensei::{CoroutineResult, ScopedCoroutine, ScopedCoroutineRef, Yielder};
use its_machine::{AGENTS, Action, Event, LockName, Outcome, Part, Turn, Until};
use scoped_tls::{ScopedKey, scoped_thread_local};

use crate::board::{Board, IN_SUBJECT};
use crate::state::State;

/// Why an agent stands still.
enum Pause {
    Turn {
        skip: bool,
    },
    Waits(LockName),
    /// Until no other agent is in the middle of an action.
    WaitsForOthers,
}

/// Resumed with whether what it waits for can still happen.
type Stack = Yielder<bool, Pause>;

scoped_thread_local!(static FIRST: Stack);
scoped_thread_local!(static SECOND: Stack);
scoped_thread_local!(static THIRD: Stack);

fn stack(agent: u8) -> &'static ScopedKey<Stack> {
    [&FIRST, &SECOND, &THIRD][usize::from(agent)]
}

/// Stacks of the agents, made for the first race.
pub(crate) type Stacks = RefCell<Option<[DefaultStack; AGENTS]>>;

/// The actions of one agent, to be resumed.
type Agent<'a, 's> = ScopedCoroutineRef<'a, bool, Pause, (), &'s mut DefaultStack>;

/// What EL2 is in the middle of, for one agent.
#[derive(Clone, Debug, Default)]
struct Underway {
    cpu: u8,
    work: u32,
    held: Vec<LockName>,
    place: u64,
}

#[derive(Clone, Debug)]
pub(crate) struct Race {
    /// Whose turn it is.
    agent: u8,
    turns: VecDeque<Turn>,
    /// Steps made and locks given back in this turn.
    steps: u16,
    unlocks: u16,
    /// Whether each agent is in the middle of an action.
    acting: [bool; AGENTS],
    /// Of all agents but the one whose turn it is.
    parked: [Underway; AGENTS],
}

impl Race {
    /// Counts one step of the agent whose turn it is; whether it gives way now, and skips. After
    /// the last turn nobody does.
    fn is_due(&mut self) -> Option<bool> {
        let turn = *self.turns.front()?;
        let due = match turn.until {
            Until::Steps(steps) => self.steps >= steps,
            Until::Unlocks(unlocks) => self.unlocks >= unlocks,
        };
        if !due {
            self.steps = self.steps.saturating_add(1);
            return None;
        }
        self.turns.pop_front();
        (self.steps, self.unlocks) = (0, 0);
        Some(turn.skip)
    }
}

impl State {
    /// Whether another agent than the one whose turn it is holds a lock.
    pub(crate) fn is_held_elsewhere(&self, name: LockName) -> bool {
        let race = self.race.as_ref();
        race.is_some_and(|race| race.parked.iter().any(|agent| agent.held.contains(&name)))
    }

    pub(crate) fn note_unlock(&mut self) {
        if let Some(race) = &mut self.race {
            race.unlocks = race.unlocks.saturating_add(1);
        }
    }

    fn give_turn(&mut self, agent: u8) {
        let Some(race) = &mut self.race else {
            return;
        };
        race.parked[usize::from(race.agent)] = Underway {
            cpu: self.cpu,
            work: self.work,
            held: mem::take(&mut self.held),
            place: self.place,
        };
        let next = mem::take(&mut race.parked[usize::from(agent)]);
        (self.cpu, self.work, self.held) = (next.cpu, next.work, next.held);
        self.place = next.place;
        race.agent = agent;
        self.events.push(Event::Turn { agent });
    }

    fn end_race(&mut self) {
        let kept = self.race.take().into_iter().flat_map(|race| race.parked);
        self.held.extend(kept.flat_map(|agent| agent.held));
    }
}

impl Board {
    /// Lets several agents act at once; `lists` has the actions of each. Agent 0 begins. Returns
    /// the actions that were done, in the order of their ends, and in `events` what happened, with
    /// the turns that the agents took.
    ///
    /// An agent whose call of EL2 does not return does nothing more.
    pub fn race(
        &self,
        lists: &[Vec<Action>; AGENTS],
        turns: &[Turn],
        events: &mut Vec<Event>,
    ) -> Vec<Part> {
        self.state.borrow_mut().forget_places();
        self.state.borrow_mut().race = Some(Race {
            agent: 0,
            turns: turns.iter().copied().collect(),
            steps: 0,
            unlocks: 0,
            acting: [false; AGENTS],
            parked: Default::default(),
        });
        let parts = RefCell::new(Vec::new());
        let mut stacks = self.stacks.borrow_mut();
        let [first, second, third] = stacks.get_or_insert_default();
        let agent = |agent: u8, own| {
            let (list, parts) = (&lists[usize::from(agent)], &parts);
            ScopedCoroutine::with_stack(own, move |yielder: &Stack, _: bool| {
                stack(agent).set(yielder, || self.act(agent, list, parts));
            })
        };
        agent(0, first).scope(|first| {
            agent(1, second).scope(|second| {
                agent(2, third).scope(|third| self.take_turns([first, second, third]));
            });
        });
        let mut state = self.state.borrow_mut();
        state.end_race();
        events.clear();
        events.append(&mut state.events);
        drop(state);
        parts.into_inner()
    }

    fn act(&self, agent: u8, list: &[Action], parts: &RefCell<Vec<Part>>) {
        for action in list {
            self.step();
            if is_of_power(action) {
                self.wait_for_others(agent);
            }
            self.note_acting(agent, true);
            let outcome = self.dispatch(action);
            self.note_acting(agent, false);
            self.state.borrow_mut().events.push(Event::Over);
            parts.borrow_mut().push(Part { agent, action: *action, outcome });
            if outcome == Outcome::Stopped {
                return;
            }
        }
    }

    fn take_turns(&self, mut agents: [Agent<'_, '_>; AGENTS]) {
        // What each does: ready to go on, waiting, or done.
        let mut pauses = [const { Some(Pause::Turn { skip: false }) }; AGENTS];
        let mut next = 0;
        loop {
            let agent = usize::from(next);
            let can_be = self.can_go_on(&pauses[agent]);
            self.state.borrow_mut().give_turn(next);
            IN_SUBJECT.set(false);
            pauses[agent] = match agents[agent].as_mut().resume(can_be) {
                CoroutineResult::Yield(pause) => Some(pause),
                CoroutineResult::Return(()) => None,
            };
            let Some(agent) = self.next_agent(next, &pauses) else {
                return;
            };
            next = agent;
        }
    }

    /// Who goes on: around the ring from the next, those that can before those that wait for ever.
    /// `None`: all are done.
    fn next_agent(&self, last: u8, pauses: &[Option<Pause>; AGENTS]) -> Option<u8> {
        let ring = (1..=AGENTS as u8).map(|step| (last + step) % AGENTS as u8);
        let can = |agent: &u8| self.can_go_on(&pauses[usize::from(*agent)]);
        let able: Vec<u8> = ring.clone().filter(can).collect();
        let skip = matches!(pauses[usize::from(last)], Some(Pause::Turn { skip: true }));
        let others = able.iter().filter(|agent| **agent != last).count();
        match able.get(usize::from(skip && others > 1)) {
            Some(agent) => Some(*agent),
            None => ring.into_iter().find(|agent| pauses[usize::from(*agent)].is_some()),
        }
    }

    fn can_go_on(&self, pause: &Option<Pause>) -> bool {
        match pause {
            Some(Pause::Waits(name)) => !self.is_held(*name),
            Some(Pause::WaitsForOthers) => !self.is_anybody_acting(),
            Some(Pause::Turn { .. }) => true,
            None => false,
        }
    }

    fn is_anybody_acting(&self) -> bool {
        self.state.borrow().race.as_ref().is_some_and(|race| race.acting.contains(&true))
    }

    fn note_acting(&self, agent: u8, acting: bool) {
        if let Some(race) = &mut self.state.borrow_mut().race {
            race.acting[usize::from(agent)] = acting;
        }
    }

    /// Waits until no other agent is in the middle of an action, or all of those wait for ever.
    fn wait_for_others(&self, agent: u8) {
        while self.is_anybody_acting() && stand(agent, Pause::WaitsForOthers) {}
    }

    fn is_held(&self, name: LockName) -> bool {
        let state = self.state.borrow();
        state.held.contains(&name) || state.is_held_elsewhere(name)
    }

    /// One step of an agent of a race, which may give way here.
    pub(crate) fn step(&self) {
        let mut state = self.state.borrow_mut();
        state.settle();
        let Some(race) = &mut state.race else {
            return;
        };
        let (agent, due) = (race.agent, race.is_due());
        drop(state);
        if let Some(skip) = due {
            stand(agent, Pause::Turn { skip });
        }
    }

    /// Waits until no other agent of a race holds a lock; `false`: it would wait for ever.
    pub(crate) fn wait_for(&self, name: LockName) -> bool {
        loop {
            let state = self.state.borrow();
            let Some(race) = state.race.as_ref().filter(|_| state.is_held_elsewhere(name)) else {
                return true;
            };
            let agent = race.agent;
            drop(state);
            if !stand(agent, Pause::Waits(name)) {
                return false;
            }
        }
    }
}

/// Whether an action is part of a suspend of the machine, during which no CPU is at EL2.
const fn is_of_power(action: &Action) -> bool {
    matches!(action, Action::PowerLoss { .. } | Action::EnabledByOther { .. })
}

fn stand(agent: u8, pause: Pause) -> bool {
    let inside = IN_SUBJECT.get();
    let can_be = stack(agent).with(|stack| stack.suspend(pause));
    IN_SUBJECT.set(inside);
    can_be
}
