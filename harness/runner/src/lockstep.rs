//! One action on board and reference, judged by the reference and by every oracle.

use its_architecture::Judgement;
use its_board::Board;
use its_gic::Register;
use its_machine::{Action, Event, Hypercall, Machine, Outcome, Part, View};
use its_oracles::{Oracles, Step};
use its_policy::{Phase, Policy};
use its_reports::summary::Counts;
use its_rules::{Evidence, Family, Finding, Layer, Layers, catalogue as rules};

use crate::compare;
use crate::play::{Case, Verdict};
use crate::session::{Next, Observer};
use crate::trace::Trace;

#[derive(Clone)]
pub(crate) struct Judges {
    /// Dismissed once a subject is at work that it cannot follow, since nobody sees its loads and
    /// stores, or shall not, since the policy is not judged.
    pub reference: Option<Policy>,
    pub oracles: Oracles,
}

pub(crate) struct Lockstep<'a> {
    machine: Machine,
    judges: Judges,
    /// Of this action, before they are placed.
    broken: Vec<Finding>,
    findings: Vec<Finding>,
    defects: Vec<String>,
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
}

/// What the end of a case is about, when a finding there is not about one action.
const REST: &str = "hardware";

impl<'a> Lockstep<'a> {
    pub(crate) fn new(
        machine: Machine,
        judges: Judges,
        trace: Option<&'a mut Trace>,
        layers: Layers,
        check_account: bool,
    ) -> Self {
        Self {
            machine,
            judges,
            broken: Vec::new(),
            findings: Vec::new(),
            defects: Vec::new(),
            poisoned: None,
            counts: Counts::default(),
            accessed: false,
            operation: (0, "boot"),
            trace,
            is_traced: false,
            layers,
            check_account,
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
        let judgement = ask(&mut model);
        self.take(board, &model, judgement);
        let can_follow = board.is_observed() && self.layers.has(Layer::Policy);
        let is_followed = can_follow || model.phase(0) == Phase::Open;
        self.judges.reference = Some(model).filter(|_| is_followed);
    }

    /// What the reference counts where there is one.
    fn count_fetched(&mut self, events: &[Event]) {
        for event in events {
            let (error, stall) = match event {
                Event::Consumed { error, .. } => (error.is_some(), false),
                Event::Stalled { .. } => (true, true),
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
        // What hardware does after EL2 misled it is not the board's mistake.
        if self.broken.is_empty() {
            self.defects.extend(hardware.into_iter().map(contradiction));
            self.defects.append(&mut judgement.defects);
        }
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

    /// `subject`: of the signatures.
    fn conclude(&mut self, board: &Board, subject: &'static str) {
        if self.broken.is_empty() {
            return;
        }
        let (operation, layers, observed) = (self.operation, self.layers, board.is_observed());
        self.broken.retain(|Finding { rule, .. }| {
            layers.has(rule.layer) && (observed || rule.evidence != Evidence::Accesses)
        });
        let found = self.broken.drain(..).map(|finding| {
            let source_line = finding.event.and_then(|event| board.source(event)).map(String::from);
            Finding { source_line, ..finding.at(operation, subject) }
        });
        self.findings.extend(found);
        if !self.findings.is_empty() {
            self.defects.clear();
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
        self.compare_all(board);
        let verdict = if !self.defects.is_empty() {
            Verdict::Defect
        } else if !self.findings.is_empty() {
            Verdict::Diverged
        } else if let Some(reason) = self.poisoned {
            self.counts.poisoned = 1;
            Verdict::Poisoned(reason)
        } else if self.counts.judged == 0 && !self.accessed {
            self.counts.skipped = 1;
            Verdict::Skipped
        } else {
            Verdict::Agree
        };
        Case {
            verdict,
            findings: self.findings,
            defects: self.defects,
            counts: self.counts,
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
        !self.findings.is_empty() || !self.defects.is_empty() || self.poisoned.is_some()
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
        self.accessed |= self.operation.1 != "boot" && is_answered(action);
        let step = Step { action, outcome, events };
        self.judges.oracles.judge(&step, board, &mut self.broken);
        self.refer(board, events, |model| model.judge(action, &outcome, events));
        self.conclude(board, its_machine::text::subject(action));
    }

    fn raced(&mut self, board: &Board, parts: &[Part], events: &[Event]) {
        self.trace(|trace| trace.parts(parts, events));
        self.accessed |= parts.iter().any(|part| is_answered(&part.action));
        self.judges.oracles.judge_race(parts, events, board, &mut self.broken);
        self.refer(board, events, |model| model.judge_race(parts, events));
        self.conclude(board, "several");
    }

    /// Nobody said why: it is the subject's doing where there is no reference, which would have
    /// reported it, and else the harness's.
    fn set_up_failed(&mut self, outcomes: &[Outcome]) {
        let seen = format!("{outcomes:?}");
        if self.judges.reference.is_some() {
            return self.defects.push(format!("the legal set-up returned {seen}"));
        }
        if !self.layers.has(Layer::Policy) {
            return;
        }
        let expected = "0: the driver's set-up passes every check";
        let finding = Finding::new(&rules::DIV_SETUP, rules::DIV_SETUP.class, "x1", expected, seen);
        let subject = Hypercall::InitItsEmulation.name();
        self.findings.push(finding.at(self.operation, subject));
    }

    /// The host learns nothing of what it must not touch.
    fn may_look(&self, its: u8) -> bool {
        self.reference().is_none_or(|model| model.phase(its) != Phase::Closing)
    }

    fn is_settled(&self, its: u8) -> Option<bool> {
        self.reference().map(|model| model.is_settled(its))
    }

    /// The queue is where healthy hardware must have brought it.
    fn rested(&mut self, its: u8) {
        if self.is_over() || self.is_settled(its) != Some(false) {
            return;
        }
        let (expected, seen) = ("CWRITER, or a stall", "neither, after enough looks");
        let path = format!("its{its}.creadr");
        let finding = Finding::new(&rules::DIV_PROGRESS, "wedged", path, expected, seen);
        self.findings.push(finding.at(self.operation, REST));
    }
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
        | Action::Advance { .. } => false,
    }
}

fn translation(board: &Board, model: &Policy, event: (u8, u32, u32)) -> Option<Finding> {
    let (its, device_id, event_id) = event;
    let seen = board.translate(its, device_id, event_id);
    compare::translation(&model.hardware, event, seen)
}

/// Registers that are compared after every action of a host that owns its ITSs.
const COMPARED: [Register; 10] = [
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
];

/// What hardware did that it must not, under EL2: board and reference contradict each other.
fn contradiction(Finding { path, expected, seen, .. }: Finding) -> String {
    format!("{path}: expected {expected}, seen {seen}")
}
