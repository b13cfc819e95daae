//! What unit tests share: a board on which nobody is at EL2, and a driver of its first ITS.

use its_el2::{Subject, SubjectPolicy, Trap};
use its_gic::{Command, Register};
use its_machine::{
    AccessSize, Action, Choices, CommandError, Direction, Event, ITS_FRAMES, ItsConfiguration,
    MAX_ITS, Machine, Outcome, Topology,
};

use crate::Board;
use its_driver::{Driver, Perform};
use its_scenario::Boot;

pub(crate) fn choosing(choices: Choices) -> ItsConfiguration {
    ItsConfiguration { choices, ..ItsConfiguration::DEFAULT }
}

pub(crate) fn machine(configuration: ItsConfiguration) -> Machine {
    Machine::new([configuration; MAX_ITS], Topology::DEFAULT)
}

pub(crate) fn driver(machine: Machine, its: u8) -> Driver {
    Driver::new(machine, its, Boot { queue_pages: 1, ..Boot::default() })
}

#[derive(Clone)]
pub(crate) struct Nobody;

impl Subject<Board> for Nobody {
    fn policy(&self) -> SubjectPolicy {
        SubjectPolicy::default()
    }
    fn set_up(&self, _: &Board, _: [u64; 4]) -> i64 {
        0
    }
    fn trap(&self, _: &Board, _: Trap) -> u64 {
        0
    }
    fn allows_donation(&self, _: &Board) -> bool {
        true
    }
}

/// A board and what happened on it in the last action.
pub(crate) struct Bench {
    pub board: Board,
    pub events: Vec<Event>,
}

impl Perform for Bench {
    fn perform(&mut self, action: Action) -> Outcome {
        self.board.perform(&action, &mut self.events)
    }
}

impl Bench {
    /// A board before boot, and a driver of its ITS.
    pub(crate) fn new(configuration: ItsConfiguration) -> (Self, Driver) {
        let machine = machine(configuration);
        let bench = Self { board: Board::new(machine, Box::new(Nobody)), events: Vec::new() };
        (bench, driver(machine, 0))
    }

    /// The same after the driver's probe.
    pub(crate) fn booted(configuration: ItsConfiguration) -> (Self, Driver) {
        let (mut bench, mut host) = Self::new(configuration);
        host.probe(&mut bench);
        (bench, host)
    }

    /// Sends one command; its error, if it had one.
    pub(crate) fn command(&mut self, host: &mut Driver, command: Command) -> Option<CommandError> {
        host.on(0, self).write_command(command.encode());
        host.on(0, self).post(false, AccessSize::Word);
        self.events.iter().rev().find_map(|event| match event {
            Event::Consumed { error, .. } => Some(*error),
            Event::Stalled { error, .. } => Some(*error),
            _ => None,
        })?
    }

    /// Sends commands, each of which ends with this error or with none.
    pub(crate) fn expect(
        &mut self,
        host: &mut Driver,
        commands: impl IntoIterator<Item = (Command, Option<CommandError>)>,
    ) {
        for (command, expected) in commands {
            assert_eq!(self.command(host, command), expected, "{command:?}");
        }
    }

    pub(crate) fn msi(&mut self, device_id: u32, event_id: u32, size: AccessSize) {
        self.perform(Action::Msi { its: 0, device_id, event_id, size });
    }

    pub(crate) fn store(&mut self, address: u64, value: u64) {
        let cpu = 0;
        self.perform(Action::Store { cpu, address, value });
    }

    /// An access of any size to the control frame.
    pub(crate) fn access(&mut self, offset: u64, size: AccessSize, direction: Direction) -> u64 {
        let address = ITS_FRAMES[0] + offset;
        match self.perform(Action::Device { cpu: 0, address, size, direction }) {
            Outcome::Value(value) => value,
            _ => 0,
        }
    }

    pub(crate) fn write(&mut self, register: Register, value: u64) {
        self.write_its(0, register, value);
    }

    pub(crate) fn write_its(&mut self, its: u8, register: Register, value: u64) {
        let size = if register.width() == 8 { AccessSize::Double } else { AccessSize::Word };
        let offset = ITS_FRAMES[usize::from(its)] - ITS_FRAMES[0] + register.offset();
        self.access(offset, size, Direction::Write(value));
    }

    pub(crate) fn was_unpredictable(&self) -> bool {
        let unpredictable = |event: &Event| matches!(event, Event::Unpredictable { .. });
        self.events.iter().any(unpredictable)
    }
}
