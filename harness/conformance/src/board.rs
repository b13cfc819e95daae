//! The board as a subject: its physical ITS as a host that owns it sees it, or the emulator in
//! front of it, the one that this program was built with, as a deprivileged host does.

use its_board::Board;
use its_driver::{Drivers, Perform, machine};
use its_gic::Register;
use its_machine::{AccessSize, Action, Direction, Event, Outcome, Translation, View};
use its_runner::Make;
use its_scenario::{Most, Scenario, Stage};

use crate::observed::{Fit, Noted, Observed};
use crate::play::{Played, Tally, play};
use crate::script::Script;

struct OnBoard {
    board: Board,
    /// EL2 stands between host and ITS.
    guarded: bool,
    events: Vec<Event>,
    noted: Noted,
    stopped: Option<String>,
}

impl OnBoard {
    fn new(script: &Script, guarded: bool, make: Make) -> Self {
        let machine = machine(&script.scenario);
        Self {
            board: Board::new(machine, make(&machine)),
            guarded,
            events: Vec::new(),
            noted: Noted::default(),
            stopped: None,
        }
    }

    fn play(mut self, script: &Script, mut hosts: Drivers, free: bool) -> Played {
        self.noted.fates.clear();
        let played = play(script, &mut hosts, &mut self, Tally::new(free));
        match self.stopped {
            Some(why) => Played::Broken(why),
            None => played,
        }
    }

    fn read(&mut self, register: Register) -> u64 {
        if !self.guarded {
            return self.board.register(0, register);
        }
        let action = Action::Device {
            cpu: 0,
            address: its_machine::ITS_FRAMES[0] + register.offset(),
            size: AccessSize::Double,
            direction: Direction::Read,
        };
        match self.perform(action) {
            Outcome::Value(value) => value,
            _ => 0,
        }
    }
}

pub(crate) fn run_physical(script: &Script, free: bool, make: Make) -> Played {
    let mut on = OnBoard::new(script, false, make);
    let mut hosts = Drivers::new(&script.scenario);
    hosts.probe(script.scenario.boot.stage, &mut on);
    on.play(script, hosts, free)
}

/// Plays a case on the emulator, after a legal set-up.
pub(crate) fn run_emulator(script: &Script, free: bool, make: Make) -> Played {
    let scenario = &script.scenario;
    if scenario.boot.stage == Stage::Reset {
        let why = "EL2 takes over an ITS that its driver has probed; the host never sees it reset";
        return Played::NotApplicable(why.into());
    }
    let policy = make(&machine(&Scenario::default())).policy();
    if *scenario.within(Most::boards(policy.its, policy.redistributors)) != *scenario {
        return Played::NotApplicable("the subject takes a smaller board only".into());
    }
    let mut on = OnBoard::new(script, true, make);
    let mut hosts = Drivers::new(scenario);
    hosts.probe(scenario.boot.stage, &mut on);
    hosts.deprivilege(&mut on);
    if let Some(refused) = hosts.set_up(&mut on).refused(policy.guarded_its, false) {
        return Played::Broken(format!("the legal set-up returned {refused:?}"));
    }
    on.play(script, hosts, free)
}

impl Perform for OnBoard {
    fn perform(&mut self, action: Action) -> Outcome {
        let outcome = self.board.perform(&action, &mut self.events);
        self.noted.add(outcome, u64::MAX, &self.events);
        if outcome == Outcome::Stopped && self.stopped.is_none() {
            let conduct = self.events.last();
            self.stopped = Some(format!("EL2 did not return: {conduct:x?}"));
        }
        outcome
    }
}

impl Observed for OnBoard {
    fn noted(&mut self) -> &mut Noted {
        &mut self.noted
    }

    fn queue(&mut self) -> (u64, u64) {
        let value = self.noted.value;
        let queue = (self.read(Register::Creadr), self.read(Register::Cwriter));
        self.noted.value = value;
        queue
    }

    fn may_refuse(&self) -> bool {
        self.guarded
    }

    fn translation(&mut self, (device, event): (u32, u32), expected: Option<Translation>) -> Fit {
        Fit::of(self.board.translate(0, device, event), expected)
    }

    fn pending(&mut self, cpu: u8, expected: &[u32]) -> Fit {
        Fit::of(self.board.pending(cpu).collect(), expected.to_vec())
    }

    fn offered(&mut self, cpu: u8, expected: Option<u32>) -> Fit {
        Fit::of(self.board.offered(cpu), expected)
    }
}
