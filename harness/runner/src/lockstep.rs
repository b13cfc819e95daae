//! One action on the board, judged by the oracles, by the reference of the policy, and by the
//! account of the host.

use std::collections::{BTreeMap, BTreeSet};

use its_architecture::{Architecture, Judgement};
use its_board::Board;
use its_declaration::{Declaration, Redistributors};
use its_driver::{Driver, Drivers, SetUps};
use its_gic::Register;
use its_machine::{Action, Area, Errno, Event, Hypercall, Machine, Outcome, Part, View};
use its_oracles::{Oracles, Step};
use its_policy::{Phase, Policy};
use its_reports::summary::Counts;
use its_rules::{Evidence, Family, Finding, Layer, Layers, catalogue as rules};
use its_service::{Entrusted, Service, Unpromised};

use crate::compare;
use crate::declared::Declared;
use crate::play::{Case, Verdict};
use crate::session::{Next, Observer};
use crate::trace::Trace;

/// Who judges after a boot, and what the boot broke.
#[derive(Clone)]
pub(crate) struct Judges {
    /// Dismissed once a subject is at work that it cannot follow, since nobody sees its loads and
    /// stores, or shall not, since the policy is not judged.
    pub reference: Option<Policy>,
    pub oracles: Oracles,
    /// From a boot on that guards every ITS, until the host does what has no promise.
    pub service: Option<Service>,
    /// What was broken so far, each rule and class once.
    pub findings: Vec<Finding>,
    /// Rules that the declaration gives up and that were broken.
    pub given_up: BTreeSet<&'static str>,
}

pub(crate) struct Lockstep<'a> {
    machine: Machine,
    declared: Declared,
    judges: Judges,
    /// Of this action, before they are placed.
    broken: Vec<Finding>,
    /// Nothing more is judged: EL2 did not come back, and may hold a lock, the reference no longer
    /// follows it, or a case was poisoned before EL2 guarded every ITS.
    is_at_end: bool,
    defects: Vec<String>,
    /// Why the reference judged no further.
    poisoned: Option<&'static str>,
    counts: Counts,
    /// An operation did what EL2 or hardware answers for.
    accessed: bool,
    operation: (usize, &'static str),
    trace: Option<&'a mut Trace>,
    /// What happens now is traced; the driver's probe is not.
    is_traced: bool,
    layers: Layers,
    check_account: bool,
    /// The machine before the first hypercall of the boot.
    unguarded: Option<Architecture>,
}

/// What comes before the first operation.
const BOOT: &str = "boot";

/// What the end of a case is about, when a finding there is not about one action.
const REST: &str = "hardware";

impl<'a> Lockstep<'a> {
    pub(crate) fn new(
        (machine, declared): (Machine, Declared),
        judges: Judges,
        trace: Option<&'a mut Trace>,
        layers: Layers,
        check_account: bool,
    ) -> Self {
        Self {
            machine,
            declared,
            judges,
            broken: Vec::new(),
            is_at_end: false,
            defects: Vec::new(),
            poisoned: None,
            counts: Counts::default(),
            accessed: false,
            operation: (0, BOOT),
            trace,
            is_traced: false,
            layers,
            check_account,
            unguarded: None,
        }
    }

    fn reference(&self) -> Option<&Policy> {
        self.judges.reference.as_ref()
    }

    fn trace(&mut self, write: impl FnOnce(&mut Trace)) {
        if let Some(trace) = self.trace.as_deref_mut().filter(|_| self.is_traced) {
            write(trace);
        }
    }

    /// Asks the reference, unless it was dismissed; after the oracles, for what they reported
    /// explains what hardware then does.
    fn refer(
        &mut self,
        board: &Board,
        events: &[Event],
        ask: impl FnOnce(&mut Policy) -> Judgement,
    ) {
        let Some(mut model) = self.judges.reference.take() else {
            return self.count_fetched(events);
        };
        let is_guarded =
            (0..self.machine.its.len()).all(|its| model.phase(its as u8) == Phase::Guarded);
        let judgement = ask(&mut model);
        let is_poisoned = judgement.poisoned.is_some();
        self.is_at_end |= judgement.is_over || is_poisoned && !is_guarded;
        if is_poisoned {
            self.judges.service = None;
        }
        self.sift(board);
        let by_oracles = self.broken.len();
        self.take(board, &model, judgement);
        // The reference no longer knows what the machine is.
        let is_lost = self.broken.len() > by_oracles;
        self.sift(board);
        self.is_at_end |= self.broken.len() > by_oracles;
        let can_follow = board.is_observed() && self.layers.has(Layer::Policy);
        let is_followed = can_follow || model.phase(0) == Phase::Open;
        let is_known = is_followed && !is_lost && self.poisoned.is_none();
        self.judges.reference = Some(model).filter(|_| is_known);
    }

    /// What the reference counts where there is one.
    fn count_fetched(&mut self, events: &[Event]) {
        for event in events {
            let (error, stall) = match event {
                Event::Consumed { error, .. } => (error.is_some(), false),
                Event::Stalled { error, .. } => (error.is_some(), true),
                _ => continue,
            };
            self.counts.fetched += 1;
            self.counts.errors += u64::from(error);
            self.counts.stalled += u64::from(stall);
        }
    }

    /// What the reference said, and what it says of the machine as it is now.
    fn take(&mut self, board: &Board, model: &Policy, mut judgement: Judgement) {
        self.counts.judged += u64::from(judgement.judged);
        self.counts.refused += u64::from(judgement.refused);
        self.counts.stalled += u64::from(judgement.stalled);
        self.counts.fetched += u64::from(judgement.fetched);
        self.counts.errors += u64::from(judgement.errors);
        self.trace(|trace| trace.freedoms(&judgement.choices));
        let bare = model.phase(0) == Phase::Open;
        let mut hardware = Vec::new();
        if !bare && !judgement.findings.is_empty() {
            let is_hardware = |finding: &mut Finding| finding.rule.family == Family::Arch;
            hardware = judgement.findings.extract_if(.., is_hardware).collect();
        }
        self.broken.append(&mut judgement.findings);
        self.defects.extend(hardware.into_iter().map(contradiction));
        self.defects.append(&mut judgement.defects);
        if judgement.poisoned.is_none() {
            let touched = model.hardware.touched().iter();
            self.broken.extend(touched.filter_map(|event| translation(board, model, *event)));
            self.compare_pending(board, model);
            if bare {
                self.compare_registers(board, model);
                self.compare_offered(board, model);
            }
        }
        self.poisoned = judgement.poisoned;
        if self.check_account {
            self.compare_account(board);
        }
    }

    /// Asks the account of what the host did, unless the reference just reported what went wrong.
    fn serve(&mut self, follow: impl FnOnce(&mut Service) -> Result<Option<Finding>, Unpromised>) {
        let Some(mut service) = self.judges.service.take() else {
            return;
        };
        let Ok(broken) = follow(&mut service) else {
            return;
        };
        if broken.is_none() {
            self.judges.service = Some(service);
        }
        if !self.is_at_end {
            self.broken.extend(broken);
        }
    }

    /// Leaves of what was broken what is judged.
    fn sift(&mut self, board: &Board) {
        let Self { layers, declared, .. } = *self;
        let observed = board.is_observed();
        let given_up = &mut self.judges.given_up;
        self.broken.retain(|Finding { rule, .. }| {
            let is_judged =
                layers.has(rule.layer) && (observed || rule.evidence != Evidence::Accesses);
            let is_given_up = is_judged && declared.gives_up(rule);
            given_up.extend(is_given_up.then_some(rule.id));
            is_judged && !is_given_up
        });
    }

    /// Notes what was broken, each rule and class once a case. `subject`: of the signatures.
    fn conclude(&mut self, board: &Board, subject: &'static str) {
        self.sift(board);
        let known = self.judges.findings.len();
        let mut more = BTreeMap::new();
        for finding in std::mem::take(&mut self.broken) {
            let is_same =
                |other: &Finding| (other.rule, other.class) == (finding.rule, finding.class);
            if let Some(same) = self.judges.findings.iter().position(is_same) {
                *more.entry(same).or_insert(0) += 1;
                continue;
            }
            let source = finding.event.and_then(|event| board.source(event));
            let (source_line, edges) = (source.map(String::from), board.edges());
            let finding = finding.at(self.operation, subject);
            self.judges.findings.push(Finding { source_line, edges, ..finding });
        }
        for (new, others) in more.range(known..) {
            self.judges.findings[*new].path += &format!(", and {others} more");
        }
        // What hardware does after EL2 misled it is not the board's mistake.
        if !self.judges.findings.is_empty() {
            self.defects.clear();
        }
    }

    /// Keeps the machine as it is before the first hypercall of a boot: from then on EL2 stands
    /// between, and the driver does nothing else until its ITSs are set up.
    fn note_unguarded(&mut self, action: &Action) {
        let is_wanted = self.operation.1 == BOOT && self.layers.has(Layer::Service);
        if is_wanted && self.unguarded.is_none() && matches!(action, Action::Hypercall { .. }) {
            self.unguarded = self.reference().map(|model| model.hardware.clone());
        }
    }

    fn compare_pending(&mut self, board: &Board, model: &Policy) {
        for redistributor in model.hardware.machine.cpus() {
            let seen = || board.pending(redistributor);
            self.broken.extend(compare::pending(&model.hardware, redistributor, seen));
        }
    }

    /// What an interrupt would be now, whether a CPU takes it or not.
    fn compare_offered(&mut self, board: &Board, model: &Policy) {
        for redistributor in model.hardware.machine.cpus() {
            let seen = board.offered(redistributor);
            self.broken.extend(compare::offered(&model.hardware, redistributor, seen));
        }
    }

    /// Every register of every ITS, without an access.
    fn compare_registers(&mut self, board: &Board, model: &Policy) {
        for its in 0..self.machine.its.len() as u8 {
            for register in COMPARED {
                let seen = board.register(its, register);
                self.broken.extend(compare::register(&model.hardware, (its, register), seen));
            }
        }
    }

    fn compare_account(&mut self, board: &Board) {
        for its in 0..self.machine.its.len() as u8 {
            let kept: Vec<_> = board.reach(its).map(|(reach, _)| reach).collect();
            let walked = board.walk(its);
            if kept != walked {
                self.defects
                    .push(format!("account {kept:x?} is not what a walk finds: {walked:x?}"));
            }
        }
    }

    /// Every mapping that the reference knows, against the machine.
    fn compare_all(&mut self, board: &Board) {
        if self.is_over() {
            return;
        }
        let Some(model) = &self.judges.reference else {
            return;
        };
        for its in 0..self.machine.its.len() as u8 {
            for (device_id, event_id) in model.hardware.mapped(its) {
                self.broken.extend(translation(board, model, (its, device_id, event_id)));
            }
        }
        self.conclude(board, REST);
    }

    pub(crate) fn finish(mut self, board: &Board) -> Case {
        if !self.is_over() {
            self.judges.oracles.judge_rest(board, &mut self.broken);
            self.conclude(board, REST);
        }
        self.compare_all(board);
        let verdict = if !self.defects.is_empty() {
            Verdict::Defect
        } else if !self.judges.findings.is_empty() {
            Verdict::Diverged
        } else if let Some(reason) = self.poisoned {
            self.counts.poisoned = 1;
            self.counts.poisoned_by = [(reason.into(), 1)].into();
            Verdict::Poisoned(reason)
        } else if self.counts.judged == 0 && !self.accessed {
            self.counts.skipped = 1;
            Verdict::Skipped
        } else {
            Verdict::Agree
        };
        let given_up = self.judges.given_up.into_iter();
        self.counts.given_up = given_up.map(|rule| (rule.into(), 1)).collect();
        Case {
            verdict,
            findings: self.judges.findings,
            defects: self.defects,
            counts: self.counts,
            unprotected: self.declared.policy.unprotected(),
            observed: board.is_observed(),
        }
    }
}

impl Observer for Lockstep<'_> {
    type Kept = Judges;

    fn keep(&self) -> Judges {
        self.judges.clone()
    }

    fn is_over(&self) -> bool {
        self.is_at_end || !self.defects.is_empty()
    }

    fn begin(&mut self, next: &Next<'_>) -> bool {
        match *next {
            Next::Boot => self.is_traced = true,
            Next::Begin => self.counts = Counts { cases: 1, ..Counts::default() },
            Next::Operation(index, operation) => {
                self.operation = (index, operation.name());
                self.counts.operations += 1;
                self.trace(|trace| trace.operation(index, operation));
            }
            Next::Race(operations) => {
                self.counts.operations += operations.len() as u64;
                self.trace(|trace| trace.race(operations));
            }
            Next::End(operations) => {
                self.operation = (operations, "end");
                self.trace(|trace| trace.end(operations));
            }
        }
        true
    }

    fn acted(&mut self, board: &Board, action: &Action, outcome: Outcome, events: &[Event]) {
        self.trace(|trace| trace.action(action, outcome, events));
        self.accessed |= self.operation.1 != BOOT && is_answered(action);
        let step = Step::new(action, outcome, events);
        self.judges.oracles.judge(step, board, &mut self.broken);
        self.note_unguarded(action);
        self.refer(board, events, |model| model.judge(action, &outcome, events));
        let pending = |cpu| board.pending(cpu);
        self.serve(|service| service.follow(action, outcome, events, pending));
        self.is_at_end |= outcome == Outcome::Stopped;
        self.conclude(board, its_machine::text::subject(action));
    }

    fn raced(&mut self, board: &Board, parts: &[Part], events: &[Event]) {
        self.trace(|trace| trace.parts(parts, events));
        self.accessed |= parts.iter().any(|part| is_answered(&part.action));
        self.judges.oracles.judge_race(parts, events, board, &mut self.broken);
        self.refer(board, events, |model| model.judge_race(parts, events));
        let pending = |cpu| board.pending(cpu);
        self.serve(|service| service.follow_race(parts, events, pending));
        self.is_at_end |= parts.iter().any(|part| part.outcome == Outcome::Stopped);
        self.conclude(board, "several");
    }

    /// A set-up that fails is the subject's doing; unless there is a reference, which would have
    /// reported it, or the host has more live devices than the subject declares room for.
    fn set_up(&mut self, board: &Board, drivers: &Drivers, set_ups: &SetUps) {
        let unguarded = self.unguarded.take();
        let policy = self.declared.policy;
        if drivers.iter().any(|driver| driver.mapped_devices() > records(policy, driver)) {
            return;
        }
        let by_hypercall = policy.traps.redistributors == Redistributors::ByHypercall;
        let own = policy.numbers.guarded_its.min(drivers.iter().len() as u32) as u8;
        let seen = match set_ups.refused(policy.numbers.guarded_its, by_hypercall) {
            Some(Outcome::Returned { x0: 0, x1 }) => format!("{x1} ({})", Errno::name(x1)),
            Some(other) => format!("{other:?}"),
            None if (0..own).all(|its| self.judges.oracles.is_guarded(its)) => {
                self.judges.service =
                    unguarded.and_then(|hardware| service(hardware, policy, drivers));
                return;
            }
            None => "no set-up that succeeds".into(),
        };
        if self.judges.reference.is_some() && self.judges.findings.is_empty() {
            return self.defects.push(format!("the legal set-up returned {seen}"));
        }
        let (expected, rule) = ("0: the driver's set-up passes every check", &rules::SVC_SETUP);
        self.broken.push(Finding::new(rule, rule.class, "x1", expected, seen));
        self.conclude(board, Hypercall::InitItsEmulation.name());
    }

    /// The host learns nothing of what it must not touch.
    fn may_look(&self, its: u8) -> bool {
        self.reference().is_none_or(|model| model.phase(its) != Phase::Closing)
    }

    /// The host looks on while it waits for a command, even if the reference expects no progress.
    fn is_settled(&self, its: u8) -> Option<bool> {
        let expects = |service: &Service| service.expects_more(its.into());
        let is_served = !self.judges.service.as_ref().is_some_and(expects);
        self.reference().map(|model| is_served && model.is_settled(its))
    }

    /// The queue is where healthy hardware must have brought it.
    fn rested(&mut self, board: &Board, its: u8) {
        if self.is_over() {
            return;
        }
        // Where the reference reports it, the account need not.
        let is_stuck = self.reference().is_some_and(|model| !model.is_settled(its));
        self.broken.extend(if is_stuck {
            let (expected, seen) = ("CWRITER, or a stall", "neither, after enough looks");
            let path = format!("its{its}.creadr");
            Some(Finding::new(&rules::DIV_PROGRESS, "wedged", path, expected, seen))
        } else {
            self.judges.service.as_ref().and_then(|service| service.rested(its.into()))
        });
        self.conclude(board, REST);
    }
}

/// The account of a host from the end of a boot on; none where EL2 does not guard every ITS.
fn service(hardware: Architecture, declared: Declaration, drivers: &Drivers) -> Option<Service> {
    let entrusted = |driver: &Driver| Entrusted {
        queue: driver.queue().address,
        level1: driver.level1(),
        level2: driver.level2_pages(),
        itts: Area::ITT.run(),
        records: records(declared, driver),
    };
    let is_whole = hardware.its.len() <= declared.numbers.guarded_its as usize;
    is_whole.then(|| Service::new(hardware, declared, drivers.iter().map(entrusted).collect()))
}

/// The most devices that a subject has room for in what a driver gives it.
fn records(declared: Declaration, driver: &Driver) -> usize {
    (u64::from(declared.numbers.records_per_page) * driver.private_pages()) as usize
}

/// Whether EL2 or hardware answers for this action, and so is judged by it: whatever EL2 did about
/// it, or left undone.
const fn is_answered(action: &Action) -> bool {
    match action {
        Action::Device { .. }
        | Action::Msi { .. }
        | Action::Acknowledge { .. }
        | Action::Hypercall { .. } => true,
        Action::Load { .. }
        | Action::Store { .. }
        | Action::StoreCommand { .. }
        | Action::PowerLoss { .. }
        | Action::EnabledByOther { .. }
        | Action::Clean { .. }
        | Action::WriteBack { .. }
        | Action::Advance { .. } => false,
    }
}

fn translation(board: &Board, model: &Policy, event: (u8, u32, u32)) -> Option<Finding> {
    let (its, device_id, event_id) = event;
    let seen = board.translate(its, device_id, event_id);
    compare::translation(&model.hardware, event, seen)
}

/// Registers that are compared after every action of a host that owns its ITSs.
const COMPARED: [Register; 15] = [
    Register::Ctlr,
    Register::Iidr,
    Register::Typer,
    Register::Statusr,
    Register::Cbaser,
    Register::Cwriter,
    Register::Creadr,
    Register::Baser(0),
    Register::Baser(1),
    Register::Baser(2),
    Register::Baser(3),
    Register::Baser(4),
    Register::Baser(5),
    Register::Baser(6),
    Register::Baser(7),
];

/// What hardware did that it must not, under EL2: board and reference contradict each other.
fn contradiction(Finding { path, expected, seen, .. }: Finding) -> String {
    format!("{path}: expected {expected}, seen {seen}")
}
