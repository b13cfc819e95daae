//! One case: boot, operations, and the end in which the queue must come to rest.

use std::collections::HashMap;

use its_board::host::{Host, LiveDevice, Perform, Plan};
use its_board::{Board, BoardLocks, BoardSubject, Snapshot, layout};
use its_el2::{Action, Character, Outcome};
use its_emulator::Emulator;
use its_model::{Model, Phase};
use its_oracles::Oracles;
use its_scenario::{Boot, Scenario, Stage};
use serde::{Deserialize, Serialize};

use crate::execute;
use crate::finding::Finding;
use crate::lockstep::Lockstep;
use crate::place;
use crate::trace::Trace;

/// What became of a case.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Everything was as it must be.
    Agree,
    /// No command and no access of EL2 was judged.
    Skipped,
    /// The architecture no longer says what must happen; the rest was dropped.
    Poisoned(&'static str),
    /// A rule was broken.
    Diverged,
    /// The harness contradicts itself.
    Defect,
}

/// How much was done and judged.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counts {
    pub cases: u64,
    pub operations: u64,
    /// Commands that EL2 judged.
    pub judged: u64,
    /// Of these, refused.
    pub refused: u64,
    /// Commands that the hardware stalled on.
    pub stalled: u64,
    pub poisoned: u64,
    pub skipped: u64,
}

impl Counts {
    /// Adds another run's.
    pub fn add(&mut self, other: &Self) {
        self.cases += other.cases;
        self.operations += other.operations;
        self.judged += other.judged;
        self.refused += other.refused;
        self.stalled += other.stalled;
        self.poisoned += other.poisoned;
        self.skipped += other.skipped;
    }
}

/// The outcome of one case.
#[derive(Debug)]
pub struct Case {
    pub verdict: Verdict,
    /// What was broken at the operation that ended the case.
    pub findings: Vec<Finding>,
    /// Where the harness contradicts itself: board and reference, not the subject.
    pub defects: Vec<String>,
    pub counts: Counts,
}

/// A board after boot, and everybody who goes on from there.
struct Booted {
    snapshot: Snapshot,
    model: Model,
    oracles: Oracles,
    host: Host,
}

/// Boots that are kept. A corpus has few different ones at a time.
const KEPT_BOOTS: usize = 256;

/// A board with a subject, and the boots that it has been through.
pub struct Runner {
    board: Board,
    boots: HashMap<(Character, Boot), Booted>,
    /// Compare the account of the ITS's pointers with a full walk after every action.
    pub check_account: bool,
}

impl Runner {
    /// With the production emulator.
    pub fn production() -> Self {
        Self::new(Box::new(Emulator::<BoardLocks>::new(&layout::ITS)))
    }

    /// With any subject.
    pub fn new(subject: Box<dyn BoardSubject>) -> Self {
        let machine = layout::machine(Scenario::default().character);
        Self {
            board: Board::new(machine, subject),
            boots: HashMap::new(),
            check_account: false,
        }
    }

    /// Plays one case. With a trace, everything after the driver's probe is written into it.
    pub fn play(&mut self, scenario: &Scenario, mut trace: Option<&mut Trace>) -> Case {
        let key = (scenario.character, scenario.boot);
        if trace.is_some() {
            // What is shown must happen.
            self.boots.remove(&key);
        }
        if !self.boots.contains_key(&key) {
            if self.boots.len() >= KEPT_BOOTS {
                self.boots.clear();
            }
            match self.boot(scenario, trace.as_deref_mut()) {
                Ok(booted) => self.boots.insert(key, booted),
                Err(case) => return *case,
            };
        }
        let booted = &self.boots[&key];
        self.board.restore(&booted.snapshot);
        let mut host = booted.host.clone();
        let oracles = booted.oracles.clone();
        let machine = layout::machine(scenario.character);
        let model = booted.model.clone();
        let mut lockstep = Lockstep::new(&mut self.board, machine, model, oracles, trace);
        lockstep.check_account = self.check_account;
        for (index, operation) in scenario.operations.iter().enumerate() {
            if lockstep.is_over() {
                break;
            }
            lockstep.start_operation(index, operation);
            execute::operation(operation, &mut host, &mut lockstep);
        }
        lockstep.start_end(scenario.operations.len());
        come_to_rest(&mut host, &mut lockstep);
        lockstep.finish()
    }

    /// The driver's probe on hardware that nobody guards yet, and from there to the wanted stage.
    fn boot(
        &mut self,
        scenario: &Scenario,
        trace: Option<&mut Trace>,
    ) -> Result<Booted, Box<Case>> {
        let machine = layout::machine(scenario.character);
        self.board.reset(machine);
        let model = Model::new(machine, self.board.policy());
        let oracles = Oracles::new(&machine);
        let mut host = Host::new(machine, plan(scenario));
        let mut lockstep = Lockstep::new(&mut self.board, machine, model, oracles, None);
        lockstep.check_account = self.check_account;
        host.probe(&mut lockstep);
        lockstep.trace = trace;
        reach_stage(scenario.boot.stage, &mut host, &mut lockstep);
        if lockstep.is_over() {
            return Err(Box::new(lockstep.finish()));
        }
        let (model, oracles) = lockstep.into_judges();
        Ok(Booted {
            snapshot: self.board.snapshot(),
            model,
            oracles,
            host,
        })
    }
}

fn plan(scenario: &Scenario) -> Plan {
    let live = scenario.boot.live(&scenario.character);
    Plan {
        live: live
            .map(|device| LiveDevice {
                device_id: device.device_id,
                event_id_bits: device.event_id_bits,
                itt_address: place::address(device.itt),
                event_id: device.event_id,
                intid: device.intid,
                icid: device.icid,
            })
            .collect(),
        queue_pages: scenario.boot.queue_pages,
        private_pages: scenario.boot.private_pages,
        table_pages: scenario.boot.table_pages,
    }
}

fn reach_stage(stage: Stage, host: &mut Host, lockstep: &mut Lockstep) {
    if stage >= Stage::Deprivileged {
        host.deprivilege(lockstep);
    }
    if stage >= Stage::Guarded {
        let outcome = host.set_up(lockstep);
        let done = Outcome::Returned { x0: 0, x1: 0 };
        if outcome != done && !lockstep.is_over() {
            lockstep.defect(format!("the legal set-up returned {outcome:?}"));
        }
    }
}

/// Looks until nothing more can be expected; 2048 slots go 64 at a time.
const LOOKS: usize = 2048 / 64 + 3;

fn come_to_rest(host: &mut Host, lockstep: &mut Lockstep) {
    if lockstep.model().phase(0) == Phase::Guarded {
        for _ in 0..LOOKS {
            if lockstep.is_over() || lockstep.model().is_settled(0) {
                break;
            }
            lockstep.perform(Action::Advance {
                its: 0,
                commands: 64,
            });
            host.poll(0, lockstep);
        }
        lockstep.demand_rest();
    }
    lockstep.compare_all();
}
