//! Plays a scenario on a board that nobody judges, and keeps what the board shows.

use its_board::{Board, BoardSubject, Failure, Progress, Tamper};
use its_driver::{Armed, Drivers, Left, Perform, machine, race};
use its_el2::Mapped;
use its_gic::geometry::Queue;
use its_gic::{Cbaser, Register};
use its_machine::{Action, Event, MAX_CPUS, Outcome, PageState, Reach, Turn, View};
use its_scenario::{Operation, Scenario, Stage};

use crate::saboteur::{Sabotage, Sabotaged};

/// What the board shows of one action, or of one race.
pub(super) struct Moment {
    /// The index of the operation, `None` before the first.
    pub operation: Option<usize>,
    pub actions: Vec<(Action, Outcome)>,
    pub events: Vec<Event>,
    /// Where ITSs and redistributors stored, each with who has the page; `None` for no memory.
    pub stores: Vec<(u64, Option<PageState>)>,
    /// What ITSs and redistributors can reach.
    pub reach: Vec<Reach>,
    /// LPIs that are pending at any redistributor.
    pub pending: Vec<u32>,
    /// The queue of each ITS, as its CBASER has it.
    pub queues: Vec<Queue>,
}

struct Watched {
    board: Board,
    /// How many ITSs the board has.
    its: u8,
    operation: Option<usize>,
    moments: Vec<Moment>,
    /// A call of EL2 did not come back.
    is_over: bool,
}

/// Plays all of a scenario, or until EL2 does not come back. Returns what the board showed.
pub(super) fn play(scenario: &Scenario, sabotage: Sabotage, from_set_up: bool) -> Vec<Moment> {
    let machine = machine(scenario);
    let subject: Box<dyn BoardSubject> =
        Box::new(Sabotaged::new(machine.its, sabotage, from_set_up));
    let board = Board::new(machine, subject);
    let its = machine.its.len() as u8;
    let mut watched = Watched { board, its, operation: None, moments: Vec::new(), is_over: false };
    let mut drivers = watched.boot(scenario);
    let mut index = 0;
    while let Some(operation) = scenario.operations.get(index)
        && !watched.is_over
    {
        watched.operation = Some(index);
        watched.board.start_operation();
        index += 1;
        index += watched.operate(operation, &scenario.operations[index..], &mut drivers);
    }
    watched.moments
}

impl Watched {
    fn boot(&mut self, scenario: &Scenario) -> Drivers {
        let mut drivers = Drivers::new(scenario);
        drivers.probe(scenario.boot.stage, self);
        if scenario.boot.stage >= Stage::Deprivileged {
            drivers.deprivilege(self);
        }
        if scenario.boot.stage >= Stage::Guarded {
            drivers.set_up(self);
        }
        drivers
    }

    /// Does an operation, a race with so many of the `rest`. Returns how many of them.
    fn operate(&mut self, operation: &Operation, rest: &[Operation], all: &mut Drivers) -> usize {
        let mut taken = 0;
        match all.operate(operation, self) {
            Left::Nothing | Left::Its(_) => {}
            Left::Arm(armed) => {
                self.arm(armed);
                return 0;
            }
            Left::Race { operations } => {
                taken = usize::from(operations).min(rest.len());
                let turns: Vec<Turn> = operation.turns().collect();
                let (lists, armed) = race::lists(&rest[..taken], all);
                armed.into_iter().for_each(|armed| self.arm(armed));
                let mut events = Vec::new();
                let parts = self.board.race(&lists, &turns, &mut events);
                let actions = parts.iter().map(|part| (part.action, part.outcome));
                self.note(actions.collect(), events);
            }
        }
        self.board.end_operation();
        taken
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

    fn note(&mut self, actions: Vec<(Action, Outcome)>, events: Vec<Event>) {
        let board = &self.board;
        let its = 0..self.its;
        let queue = |its| Queue::new(Cbaser::from_bits(board.register(its, Register::Cbaser)));
        self.is_over |= actions.iter().any(|(_, outcome)| *outcome == Outcome::Stopped);
        self.moments.push(Moment {
            operation: self.operation,
            actions,
            events,
            stores: { board.device_stores().into_iter() }
                .map(|address| (address, board.page_state(address >> 12)))
                .collect(),
            reach: its.clone().flat_map(|its| board.reach(its)).map(|(reach, _)| reach).collect(),
            pending: (0..MAX_CPUS as u8)
                .flat_map(|redistributor| board.pending(redistributor))
                .collect(),
            queues: its.map(queue).collect(),
        });
    }
}

impl Perform for Watched {
    fn perform(&mut self, action: Action) -> Outcome {
        if self.is_over {
            return Outcome::Stopped;
        }
        let mut events = Vec::new();
        let outcome = self.board.perform(&action, &mut events);
        self.note(vec![(action, outcome)], events);
        outcome
    }
}
