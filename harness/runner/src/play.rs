//! One case: boot, operations, and the end in which the queue must come to rest.

use std::cell::RefCell;
use std::collections::HashMap;

use its_board::{Board, BoardSubject, Failure, Snapshot, Tamper};
use its_driver::Perform;
use its_el2::SubjectPolicy;
use its_machine::{Action, Freedoms, ItsConfiguration, MAX_ITS, Machine, Place, Turn};
use its_model::{Model, Phase};
use its_oracles::Oracles;
use its_scenario::{Boot, Operation, Scenario, Stage};
use serde::{Deserialize, Serialize};

use crate::lockstep::{Judges, Lockstep};
use crate::trace::{Line, Trace};
use its_driver::{Drivers, machine};
use its_rules::{Finding, catalogue as rules};

/// What became of a case.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Everything was as it must be.
    Agree,
    /// No operation had anything to do with EL2 or an ITS: no access to a register, event or
    /// hypercall, and no command.
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
    /// Commands that the hardware took or stalled on.
    pub fetched: u64,
    /// Of these, command errors.
    pub errors: u64,
    pub poisoned: u64,
    /// Cases that had nothing to do with EL2 or an ITS.
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
        self.fetched += other.fetched;
        self.errors += other.errors;
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
    /// Every load and store of the subject was seen. Else rules could not be judged that need it.
    pub observed: bool,
}

/// A board after boot, and everybody who goes on from there.
struct Booted {
    snapshot: Snapshot,
    judges: Judges,
    hosts: Drivers,
}

/// Makes a subject for these ITSs.
type MakeSubject = dyn Fn(&'static [u64]) -> Box<dyn BoardSubject>;

/// Makes a subject for the ITSs whose control frames are at these addresses.
pub type Make = fn(&'static [u64]) -> Box<dyn BoardSubject>;

/// Boots that are kept. A corpus has few different ones at a time.
const KEPT_BOOTS: usize = 256;

/// A board with a subject, and the boots that it has been through.
pub struct Runner {
    board: Board,
    subject: Box<MakeSubject>,
    boots: HashMap<([ItsConfiguration; MAX_ITS], Boot), Booted>,
    /// Compare the account of the ITS's pointers with a full walk after every action.
    pub check_account: bool,
    /// Allow every option of every freedom of the architecture, not only those that the board is
    /// known to pick.
    pub all_freedoms: bool,
}

impl Runner {
    /// With any subject, which is made for the control frames of a board's ITSs.
    pub fn new(subject: impl Fn(&'static [u64]) -> Box<dyn BoardSubject> + 'static) -> Self {
        let machine = machine(&Scenario::default());
        Self {
            board: Board::new(machine, subject(machine.its)),
            subject: Box::new(subject),
            boots: HashMap::new(),
            check_account: false,
            all_freedoms: false,
        }
    }

    /// Plays one case. With a trace, everything after the driver's probe is written into it.
    pub fn play(&mut self, scenario: &Scenario, mut trace: Option<&mut Trace>) -> Case {
        let key = (scenario.configurations, scenario.boot);
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
        let mut hosts = booted.hosts.clone();
        let judges = booted.judges.clone();
        let machine = machine(scenario);
        let mut lockstep = Lockstep::new(&mut self.board, machine, judges, trace);
        lockstep.check_account = self.check_account;
        let mut index = 0;
        while let Some(operation) = scenario.operations.get(index)
            && !lockstep.is_over()
        {
            lockstep.start_operation(index, operation);
            let rest = &scenario.operations[index + 1..];
            index += 1 + operate(operation, rest, &mut hosts, &mut lockstep);
        }
        lockstep.start_end(scenario.operations.len());
        come_to_rest(&mut hosts, &mut lockstep);
        lockstep.finish()
    }

    /// Plays a case twice, from before boot, and demands that both go the same. The trace and all
    /// else is the first's.
    pub fn play_twice(&mut self, scenario: &Scenario, trace: &mut Trace) -> Case {
        let mut again = Trace::default();
        let mut case = self.play(scenario, Some(trace));
        self.play(scenario, Some(&mut again));
        let differ = trace.first_difference(&again);
        case.findings.extend(differ.map(unsteady));
        if case.verdict != Verdict::Defect && !case.findings.is_empty() {
            case.verdict = Verdict::Diverged;
        }
        case
    }

    /// The driver's probe on hardware that nobody guards yet, and from there to the wanted stage.
    fn boot(
        &mut self,
        scenario: &Scenario,
        trace: Option<&mut Trace>,
    ) -> Result<Booted, Box<Case>> {
        let machine = machine(scenario);
        self.board.reset(machine, (self.subject)(machine.its));
        let judges = Judges {
            reference: Some(self.model(machine, self.board.policy())),
            oracles: Oracles::new(&machine),
        };
        let mut hosts = Drivers::new(scenario);
        let mut lockstep = Lockstep::new(&mut self.board, machine, judges, None);
        lockstep.check_account = self.check_account;
        hosts.probe(scenario.boot.stage, &mut lockstep);
        lockstep.trace = trace;
        reach_stage(scenario.boot.stage, &mut hosts, &mut lockstep);
        if lockstep.is_over() {
            return Err(Box::new(lockstep.finish()));
        }
        let judges = lockstep.into_judges();
        Ok(Booted { snapshot: self.board.snapshot(), judges, hosts })
    }

    fn model(&self, machine: Machine, policy: SubjectPolicy) -> Model {
        let all = self.all_freedoms;
        Model::new(machine, policy, |its| match all {
            true => Freedoms::ALL,
            false => Freedoms::only(machine.configuration(its).choices),
        })
    }
}

/// The finding that a scenario which was played twice did not go the same, with the first lines of
/// the traces that differ.
fn unsteady((first, second): (Line, Line)) -> Finding {
    let path = "the trace of the same scenario, played again";
    let operation = first.step.or(second.step).unwrap_or(0);
    let finding = Finding::new(&rules::EL2_STEADY, "twice", path, first.text, second.text);
    finding.at((operation, "case"), "all")
}

/// Of so many cases of a run one is played twice.
pub(crate) const ONE_IN: u64 = 512;

/// Plays a stored scenario. External subjects are played twice, because state kept outside their
/// data section would make the second run differ.
pub(crate) fn replay(scenario: &Scenario, make: Make, trace: &mut Trace) -> Case {
    let mut runner = Runner::new(make);
    if runner.board.is_external() {
        return runner.play_twice(scenario, trace);
    }
    runner.play(scenario, Some(trace))
}

/// Plays a case on a board that each thread keeps.
pub(crate) fn play_here(scenario: &Scenario, make: Make) -> Case {
    on_kept_board(make, |runner| runner.play(scenario, None))
}

/// The same, twice.
pub(crate) fn play_here_twice(scenario: &Scenario, make: Make) -> Case {
    on_kept_board(make, |runner| runner.play_twice(scenario, &mut Trace::default()))
}

fn on_kept_board(make: Make, play: impl FnOnce(&mut Runner) -> Case) -> Case {
    thread_local! {
        static RUNNER: RefCell<Option<(Make, Runner)>> = const { RefCell::new(None) };
    }
    RUNNER.with_borrow_mut(|kept| {
        let other = |kept: &mut (Make, Runner)| !std::ptr::fn_addr_eq(kept.0, make);
        if kept.as_mut().is_none_or(other) {
            *kept = Some((make, Runner::new(make)));
        }
        let played = kept.as_mut().map(|(_, runner)| play(runner));
        played.expect("it was just made")
    })
}

/// Does an operation, a race with so many of the `rest`; how many of them.
fn operate(
    operation: &Operation,
    rest: &[Operation],
    hosts: &mut Drivers,
    lockstep: &mut Lockstep,
) -> usize {
    let mut taken = 0;
    match operation {
        Operation::Fail { .. } | Operation::Tamper { .. } => {
            arm(operation, lockstep);
            return 0;
        }
        Operation::Race { operations, .. } => {
            let is_race = |operation: &Operation| matches!(operation, Operation::Race { .. });
            let until = rest.iter().position(is_race).unwrap_or(rest.len());
            taken = until.min(usize::from(*operations));
            let together = &rest[..taken];
            for operation in together {
                arm(operation, lockstep);
            }
            lockstep.start_race(together);
            let lists = its_driver::race::lists(together, hosts);
            let turns: Vec<Turn> = operation.turns().collect();
            lockstep.perform_race(&lists, &turns);
        }
        _ => hosts.operate(operation, lockstep),
    }
    lockstep.disarm_tampers();
    taken
}

/// Tampers are for one operation or race; a failure stays armed until it is due or the case ends.
fn arm(operation: &Operation, lockstep: &mut Lockstep) {
    match *operation {
        Operation::Fail { change, nth } => {
            lockstep.arm_failure(Failure { change, nth: nth.into() })
        }
        Operation::Tamper { after, at, value } => lockstep.arm_tamper(Tamper {
            after: after.into(),
            address: Place::address(at) & !7,
            value,
        }),
        _ => {}
    }
}

fn reach_stage(stage: Stage, hosts: &mut Drivers, lockstep: &mut Lockstep) {
    if stage >= Stage::Deprivileged {
        hosts.deprivilege(lockstep);
    }
    if stage >= Stage::Guarded {
        let failed = hosts.set_up(lockstep);
        if !failed.is_empty() && !lockstep.is_over() {
            lockstep.set_up_failed(&failed);
        }
    }
}

/// Looks until nothing more can be expected; 2048 slots go 64 at a time.
pub(crate) const LOOKS: usize = 2048 / 64 + 3;

fn come_to_rest(hosts: &mut Drivers, lockstep: &mut Lockstep) {
    for (its, host) in (0..).zip(hosts.iter_mut()) {
        // The host is told nothing of what it must not touch.
        let is_closing = |model: &Model| model.phase(its) == Phase::Closing;
        if lockstep.reference().is_some_and(is_closing) {
            continue;
        }
        for looks in 0..LOOKS {
            if lockstep.is_over() || lockstep.is_settled(its, looks) {
                break;
            }
            let commands = 64;
            lockstep.perform(Action::Advance { its, commands });
            host.on(0, lockstep).poll();
        }
        lockstep.demand_rest(its);
    }
    lockstep.compare_all();
}
