//! One way to play scenarios on a board: boot, operations, and the end in which queues must come to
//! rest. An [`Observer`] looks on.

use std::borrow::Cow;
use std::collections::HashMap;

use its_board::{Board, BoardSubject, Failure, Progress, Snapshot, Tamper};
use its_declaration::{CreadrReads, Declaration, Moment};
use its_driver::{Armed, Drivers, Left, Perform, SetUps, machine, race};
use its_gic::Register;
use its_gic::register::OFFSET_MASK;
use its_machine::{
    AccessSize, Action, Event, ItsConfiguration, MAX_ITS, Machine, Outcome, Part, Turn, View,
};
use its_scenario::{Boot, Operation, Scenario, Stage};

use crate::declared::Declared;

pub(crate) enum Next<'a> {
    /// What comes after the driver's probe.
    Boot,
    /// What comes after the boot.
    Begin,
    Operation(usize, &'a Operation),
    /// The operations of a race, which was the operation before.
    Race(&'a [Operation]),
    /// The end, after so many operations.
    End(usize),
}

pub(crate) trait Observer {
    /// What of it is kept with a boot.
    type Kept: Clone;

    fn keep(&self) -> Self::Kept;
    /// Returns whether nothing more need be played.
    fn is_over(&self) -> bool;
    /// Something comes next. Returns whether it shall be played; the rest of the operations is not
    /// either.
    fn begin(&mut self, next: &Next<'_>) -> bool;
    fn acted(&mut self, board: &Board, action: &Action, outcome: Outcome, events: &[Event]);
    fn raced(&mut self, board: &Board, parts: &[Part], events: &[Event]);
    /// The drivers set up their ITSs and the redistributors at boot.
    fn set_up(&mut self, _: &Board, _: &Drivers, _: &SetUps) {}
    /// Returns whether the host may look at a queue at the end.
    fn may_look(&self, _: u8) -> bool {
        true
    }

    /// Returns whether nothing more can come of a queue; `None` if it does not know.
    fn is_settled(&self, _: u8) -> Option<bool> {
        None
    }

    /// A queue must be at rest now.
    fn rested(&mut self, _: &Board, _: u8) {}
}

/// Makes a subject for the ITSs whose control frames are at these addresses.
type MakeSubject = dyn Fn(&Machine) -> Box<dyn BoardSubject>;

/// A board after boot, and everybody who goes on from there.
struct Booted<K> {
    snapshot: Snapshot,
    kept: K,
    drivers: Drivers,
}

/// Boots that are kept. A corpus has few different ones at a time.
const KEPT_BOOTS: usize = 256;

/// So many looks in a row at which nothing changes are the last.
const IDLE_LOOKS: usize = 35;
/// The most looks: one for each slot of the largest queue, for EL2 may forward one command a look.
const MOST_LOOKS: usize = 32768;

/// A board with a subject, and the boots that it has been through.
pub(crate) struct Session<K> {
    board: Board,
    subject: Box<MakeSubject>,
    declared: Declared,
    boots: HashMap<Key, Booted<K>>,
}

type Key = ([ItsConfiguration; MAX_ITS], Boot);

fn key(scenario: &Scenario) -> Key {
    (scenario.configurations, scenario.boot)
}

struct Watched<'a, O> {
    board: &'a mut Board,
    events: Vec<Event>,
    observer: O,
    declared: Declaration,
}

impl<O: Observer> Perform for Watched<'_, O> {
    fn perform(&mut self, action: Action) -> Outcome {
        if self.observer.is_over() {
            return Outcome::Stopped;
        }
        let outcome = self.board.perform(&action, &mut self.events);
        self.observer.acted(self.board, &action, outcome, &self.events);
        outcome
    }
}

impl<K: Clone> Session<K> {
    /// Returns a session with any subject, which is made for a machine.
    pub(crate) fn new(subject: impl Fn(&Machine) -> Box<dyn BoardSubject> + 'static) -> Self {
        let machine = machine(&Scenario::default());
        let board = Board::new(machine, subject(&machine));
        let declared = Declared::of(board.policy());
        Self { board, declared, subject: Box::new(subject), boots: HashMap::new() }
    }

    pub(crate) fn board(&self) -> &Board {
        &self.board
    }

    /// Returns what the subject declares.
    pub(crate) fn declared(&self) -> Declared {
        self.declared
    }

    /// Forgets a scenario's boot, so that it happens again.
    pub(crate) fn forget_boot(&mut self, scenario: &Scenario) {
        self.boots.remove(&key(&self.fitted(scenario)));
    }

    /// Returns the scenario on a board that the subject takes.
    fn fitted<'s>(&self, scenario: &'s Scenario) -> Cow<'s, Scenario> {
        scenario.within(self.declared.most())
    }

    /// Plays a case until its end, or until the observer is over. `observer` makes the observer. It
    /// is given what an observer kept of the same boot, or nothing where the boot is still to come.
    pub(crate) fn play<O: Observer<Kept = K>>(
        &mut self,
        scenario: &Scenario,
        observer: impl FnOnce(Machine, Option<&K>) -> O,
    ) -> O {
        let scenario = &*self.fitted(scenario);
        let machine = machine(scenario);
        let key = key(scenario);
        let declared = self.declared.policy;
        let (board, events) = (&mut self.board, Vec::new());
        if let Some(booted) = self.boots.get(&key) {
            board.restore(&booted.snapshot);
            let observer = observer(machine, Some(&booted.kept));
            let watched = Watched { board, events, observer, declared };
            return watched.play(scenario, booted.drivers.clone());
        }
        board.reset(machine, (self.subject)(&machine));
        let observer = observer(machine, None);
        let mut watched = Watched { board, events, observer, declared };
        let drivers = watched.boot(scenario);
        if watched.observer.is_over() {
            return watched.observer;
        }
        if self.boots.len() >= KEPT_BOOTS {
            self.boots.clear();
        }
        let (snapshot, kept) = (watched.board.snapshot(), watched.observer.keep());
        self.boots.insert(key, Booted { snapshot, kept, drivers: drivers.clone() });
        watched.play(scenario, drivers)
    }
}

impl<O: Observer> Watched<'_, O> {
    /// The driver's probe on hardware that nobody guards yet, and from there to the wanted stage.
    fn boot(&mut self, scenario: &Scenario) -> Drivers {
        let stage = scenario.boot.stage;
        let mut drivers = Drivers::new(scenario);
        drivers.probe(stage, self);
        self.observer.begin(&Next::Boot);
        if stage >= Stage::Guarded {
            let set_ups = self.guard(&mut drivers);
            self.observer.set_up(self.board, &drivers, &set_ups);
        } else if stage >= Stage::Deprivileged {
            drivers.deprivilege(self);
        }
        drivers
    }

    /// Finalizes all CPUs and sets everything up, in the order that the subject declares.
    fn guard(&mut self, drivers: &mut Drivers) -> SetUps {
        match self.declared.set_up.moment {
            Moment::Hypercall => {
                drivers.deprivilege(self);
                drivers.set_up(self)
            }
            Moment::LastFinalize => {
                drivers.describe(self);
                let its = drivers.set_up_its(self);
                drivers.finalize(self);
                SetUps { its, redistributors: drivers.set_up_redistributors(self) }
            }
            Moment::FirstTrap => {
                drivers.deprivilege(self);
                let set_ups = drivers.set_up(self);
                for driver in drivers.iter_mut() {
                    driver.on(0, self).read(Register::Ctlr);
                }
                set_ups
            }
        }
    }

    fn play(mut self, scenario: &Scenario, mut drivers: Drivers) -> O {
        self.observer.begin(&Next::Begin);
        let mut index = 0;
        while let Some(operation) = scenario.operations.get(index)
            && !self.observer.is_over()
            && self.observer.begin(&Next::Operation(index, operation))
        {
            self.board.start_operation();
            let rest = &scenario.operations[index + 1..];
            index += 1 + self.operate(operation, rest, &mut drivers);
        }
        if !self.observer.is_over() {
            self.board.disarm();
            self.observer.begin(&Next::End(scenario.operations.len()));
            self.come_to_rest(&mut drivers);
        }
        self.observer
    }

    /// Does an operation, a race with so many of the `rest`. Returns how many of them.
    fn operate(
        &mut self,
        operation: &Operation,
        rest: &[Operation],
        drivers: &mut Drivers,
    ) -> usize {
        let mut taken = 0;
        match drivers.operate(operation, self) {
            Left::Nothing | Left::Its(_) => {}
            // Failures and stalls stay armed until they are due or the case ends, the others for
            // one operation.
            Left::Arm(armed) => {
                self.arm(armed);
                return 0;
            }
            Left::Race { operations } => {
                let is_race = |operation: &Operation| matches!(operation, Operation::Race { .. });
                let until = rest.iter().position(is_race).unwrap_or(rest.len());
                taken = until.min(usize::from(operations));
                self.race(&rest[..taken], operation.turns().collect(), drivers);
            }
        }
        self.board.end_operation();
        taken
    }

    fn race(&mut self, together: &[Operation], turns: Vec<Turn>, drivers: &mut Drivers) {
        self.observer.begin(&Next::Race(together));
        let (lists, armed) = race::lists(together, drivers);
        armed.into_iter().for_each(|armed| self.arm(armed));
        let parts = self.board.race(&lists, &turns, &mut self.events);
        self.observer.raced(self.board, &parts, &self.events);
    }

    fn arm(&mut self, armed: Armed) {
        match armed {
            Armed::Fail { change, nth } => {
                self.board.arm_failure(Failure { change, nth: nth.into() });
            }
            Armed::Tamper { after, address, value } => {
                self.board.arm_tamper(Tamper { after: after.into(), address, value });
            }
            Armed::Progress { its, after, commands } => {
                self.board.arm_progress(Progress { after: after.into(), its, commands });
            }
            Armed::Stall { its, nth } => self.board.arm_stall(its, nth),
        }
    }

    fn come_to_rest(&mut self, drivers: &mut Drivers) {
        for (its, driver) in (0..).zip(drivers.iter_mut()) {
            if !self.observer.may_look(its) {
                continue;
            }
            let (mut is_idle, mut idle_looks, mut last) = (false, 0, None);
            for _ in 0..MOST_LOOKS {
                let is_settled = self.observer.is_settled(its).unwrap_or(is_idle);
                if self.observer.is_over() || is_settled || idle_looks > IDLE_LOOKS {
                    break;
                }
                let before = self.queue(its);
                self.perform(Action::Advance { its, commands: 64 });
                if self.declared.queue.creadr != CreadrReads::Look {
                    driver.on(0, self).post(false, AccessSize::Word);
                }
                let seen = driver.on(0, self).poll().into_bits();
                // A look may let EL2 pass on more.
                let [creadr, cwriter] = self.queue(its);
                is_idle = creadr == cwriter && before == [creadr, cwriter];
                let now = Some((seen, creadr, cwriter));
                idle_looks = if last == now { idle_looks + 1 } else { 0 };
                last = now;
            }
            self.observer.rested(self.board, its);
        }
    }

    /// The hardware's CREADR and CWRITER.
    fn queue(&self, its: u8) -> [u64; 2] {
        [Register::Creadr, Register::Cwriter]
            .map(|register| self.board.register(its, register) & OFFSET_MASK)
    }
}
