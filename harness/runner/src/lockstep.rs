//! One action on board and reference, judged by the reference and by every oracle.

use its_board::{Board, Failure, Tamper};
use its_driver::Perform;
use its_gic::Register;
use its_gic::register::OFFSET_MASK;
use its_machine::{AGENTS, Action, CPUS, Event, Machine, Outcome, Turn, View};
use its_model::{Judgement, Model, Phase};
use its_oracles::{Oracles, Step};
use its_scenario::Operation;

use crate::compare;
use crate::play::{Case, Counts, Verdict};
use crate::trace::Trace;
use its_rules::{Evidence, Finding, catalogue as rules};

/// Who judges.
#[derive(Clone)]
pub(crate) struct Judges {
    /// Dismissed once a subject is at work whose loads and stores nobody sees: it cannot follow
    /// that.
    pub reference: Option<Model>,
    pub oracles: Oracles,
}

pub(crate) struct Lockstep<'a> {
    board: &'a mut Board,
    machine: Machine,
    judges: Judges,
    events: Vec<Event>,
    /// Of this action, before they are placed.
    broken: Vec<Finding>,
    findings: Vec<Finding>,
    defects: Vec<String>,
    poisoned: Option<&'static str>,
    counts: Counts,
    /// An operation did what EL2 or hardware answers for.
    accessed: bool,
    operation: (usize, &'static str),
    pub trace: Option<&'a mut Trace>,
    pub check_account: bool,
}

/// What the end of a case is about, when a finding there is not about one action.
const REST: &str = "hardware";

impl<'a> Lockstep<'a> {
    pub(crate) fn new(
        board: &'a mut Board,
        machine: Machine,
        judges: Judges,
        trace: Option<&'a mut Trace>,
    ) -> Self {
        Self {
            board,
            machine,
            judges,
            events: Vec::new(),
            broken: Vec::new(),
            findings: Vec::new(),
            defects: Vec::new(),
            poisoned: None,
            counts: Counts { cases: 1, ..Counts::default() },
            accessed: false,
            operation: (0, "boot"),
            trace,
            check_account: false,
        }
    }

    pub(crate) fn reference(&self) -> Option<&Model> {
        self.judges.reference.as_ref()
    }

    /// Those who judged, as they are now.
    pub(crate) fn into_judges(self) -> Judges {
        self.judges
    }

    /// Whether nothing more can be judged in this case.
    pub(crate) fn is_over(&self) -> bool {
        !self.findings.is_empty() || !self.defects.is_empty() || self.poisoned.is_some()
    }

    pub(crate) fn start_operation(&mut self, index: usize, operation: &Operation) {
        self.operation = (index, operation.name());
        self.counts.operations += 1;
        self.board.start_operation();
        if let Some(trace) = &mut self.trace {
            trace.operation(index, operation);
        }
    }

    pub(crate) fn start_end(&mut self, index: usize) {
        if self.is_over() {
            return;
        }
        self.operation = (index, "end");
        self.board.disarm();
        if let Some(trace) = &mut self.trace {
            trace.end(index);
        }
    }

    /// The driver's own set-up did not succeed, and nobody said why: it is the subject's doing
    /// where there is no reference, which would have told, and else the harness's.
    pub(crate) fn set_up_failed(&mut self, outcomes: &[Outcome]) {
        let seen = format!("{outcomes:?}");
        if self.judges.reference.is_some() {
            return self.defects.push(format!("the legal set-up returned {seen}"));
        }
        let expected = "0: the driver's set-up passes every check";
        let finding = Finding::new(&rules::DIV_SETUP, rules::DIV_SETUP.class, "x1", expected, seen);
        let subject = its_machine::Hypercall::InitItsEmulation.name();
        self.findings.push(finding.at(self.operation, subject));
    }

    pub(crate) fn arm_tamper(&mut self, tamper: Tamper) {
        self.board.arm_tamper(tamper);
    }

    pub(crate) fn arm_failure(&mut self, failure: Failure) {
        self.board.arm_failure(failure);
    }

    /// Takes back tampers that were not due in their operation.
    pub(crate) fn disarm_tampers(&mut self) {
        self.board.disarm_tampers();
    }

    /// The operations of a race count like others.
    pub(crate) fn start_race(&mut self, operations: &[Operation]) {
        self.counts.operations += operations.len() as u64;
        if let Some(trace) = &mut self.trace {
            trace.race(operations);
        }
    }

    /// Several agents act at once.
    pub(crate) fn perform_race(&mut self, lists: &[Vec<Action>; AGENTS], turns: &[Turn]) {
        if self.is_over() {
            return;
        }
        let parts = self.board.race(lists, turns, &mut self.events);
        if let Some(trace) = &mut self.trace {
            trace.parts(&parts, &self.events);
        }
        self.accessed |= parts.iter().any(|part| is_answered(&part.action));
        let oracles = &mut self.judges.oracles;
        oracles.judge_race(&parts, &self.events, self.board, &mut self.broken);
        self.refer(|model, events| model.judge_race(&parts, events));
        self.conclude("several");
    }

    fn judge(&mut self, action: &Action, outcome: Outcome) {
        let step = Step { action, outcome, events: &self.events };
        let oracles = &mut self.judges.oracles;
        oracles.judge(&step, self.board, &mut self.broken);
        self.refer(|model, events| model.judge(action, &outcome, events));
        self.conclude(its_machine::text::subject(action));
    }

    /// Asks the reference, unless it was dismissed; after the oracles, for what they told explains
    /// what hardware then does.
    fn refer(&mut self, ask: impl FnOnce(&mut Model, &[Event]) -> Judgement) {
        let Some(mut model) = self.judges.reference.take() else {
            return self.count_fetched();
        };
        let judgement = ask(&mut model, &self.events);
        self.take(&model, judgement);
        let is_followed = self.board.is_observed() || model.phase(0) == Phase::Open;
        self.judges.reference = Some(model).filter(|_| is_followed);
    }

    /// What the reference counts where there is one.
    fn count_fetched(&mut self) {
        for event in &self.events {
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
    fn take(&mut self, model: &Model, judgement: Judgement) {
        self.counts.judged += u64::from(judgement.judged);
        self.counts.refused += u64::from(judgement.refused);
        self.counts.stalled += u64::from(judgement.stalled);
        self.counts.fetched += u64::from(judgement.fetched);
        self.counts.errors += u64::from(judgement.errors);
        if let Some(trace) = &mut self.trace {
            trace.freedoms(&judgement.choices);
        }
        let bare = model.phase(0) == Phase::Open;
        self.broken.extend(judgement.findings);
        let contradiction = |Finding { path, expected, seen, .. }| {
            format!("{path}: expected {expected}, seen {seen}")
        };
        if bare {
            self.broken.extend(judgement.hardware);
        } else if self.broken.is_empty() {
            // What hardware does after EL2 misled it is not the board's mistake.
            self.defects.extend(judgement.hardware.into_iter().map(contradiction));
            self.defects.extend(judgement.defects);
        }
        if judgement.poisoned.is_none() {
            self.compare_touched(model);
            self.compare_pending(model);
            if bare {
                self.compare_registers(model);
                self.compare_offered(model);
            }
        }
        self.poisoned = judgement.poisoned;
        if self.check_account {
            self.compare_account();
        }
    }

    /// `subject`: of the signatures.
    fn conclude(&mut self, subject: &'static str) {
        let operation = self.operation;
        if !self.board.is_observed() {
            self.broken.retain(|finding| finding.rule.evidence != Evidence::Accesses);
        }
        let found = self.broken.drain(..).map(|finding| finding.at(operation, subject));
        self.findings.extend(found);
        if !self.findings.is_empty() {
            self.defects.clear();
        }
    }

    fn compare_touched(&mut self, model: &Model) {
        for event in model.touched() {
            let differs = translation(self.board, model, *event);
            self.broken.extend(differs);
        }
    }

    fn compare_pending(&mut self, model: &Model) {
        for redistributor in 0..CPUS {
            let seen = || self.board.pending(redistributor);
            let differs = compare::pending(model, redistributor, seen);
            self.broken.extend(differs);
        }
    }

    /// What an interrupt would be now, whether a CPU takes it or not.
    fn compare_offered(&mut self, model: &Model) {
        for redistributor in 0..CPUS {
            let seen = self.board.offered(redistributor);
            let differs = compare::offered(model, redistributor, seen);
            self.broken.extend(differs);
        }
    }

    /// Every register of every ITS, without an access.
    fn compare_registers(&mut self, model: &Model) {
        for its in 0..self.machine.its.len() as u8 {
            for register in COMPARED {
                let seen = self.board.register(its, register);
                let differs = compare::register(model, (its, register), seen);
                self.broken.extend(differs);
            }
        }
    }

    fn compare_account(&mut self) {
        for its in 0..self.machine.its.len() as u8 {
            let kept: Vec<_> = self.board.reach(its).map(|(reach, _)| reach).collect();
            let walked = self.board.walk(its);
            if kept != walked {
                self.defects
                    .push(format!("account {kept:x?} is not what a walk finds: {walked:x?}"));
            }
        }
    }

    /// Whether nothing more can come of a queue after so many looks: by the reference, or else
    /// where the hardware is done with what it was told and some looks had EL2 pass on more.
    pub(crate) fn is_settled(&self, its: u8, looks: usize) -> bool {
        let register = |register| self.board.register(its, register) & OFFSET_MASK;
        match self.reference() {
            Some(model) => model.is_settled(its),
            None => looks > 1 && register(Register::Creadr) == register(Register::Cwriter),
        }
    }

    /// The queue is where healthy hardware must have brought it.
    pub(crate) fn demand_rest(&mut self, its: u8) {
        let is_settled = |model: &Model| model.is_settled(its);
        if self.is_over() || self.reference().is_none_or(is_settled) {
            return;
        }
        self.broken.push(Finding::new(
            &rules::DIV_PROGRESS,
            "wedged",
            format!("its{its}.creadr"),
            "CWRITER, or a stall",
            "neither, after enough looks",
        ));
        self.conclude(REST);
    }

    /// Every mapping that the reference knows, against the machine.
    pub(crate) fn compare_all(&mut self) {
        if self.is_over() {
            return;
        }
        let Some(model) = &self.judges.reference else {
            return;
        };
        for its in 0..self.machine.its.len() as u8 {
            for (device_id, event_id) in model.mapped(its) {
                let differs = translation(self.board, model, (its, device_id, event_id));
                self.broken.extend(differs);
            }
        }
        self.conclude(REST);
    }

    pub(crate) fn finish(mut self) -> Case {
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
            observed: self.board.is_observed(),
        }
    }
}

impl Perform for Lockstep<'_> {
    fn perform(&mut self, action: Action) -> Outcome {
        if self.is_over() {
            return Outcome::Stopped;
        }
        let outcome = self.board.perform(&action, &mut self.events);
        if let Some(trace) = &mut self.trace {
            trace.action(&action, outcome, &self.events);
        }
        self.accessed |= self.operation.1 != "boot" && is_answered(&action);
        self.judge(&action, outcome);
        outcome
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

fn translation(board: &Board, model: &Model, event: (u8, u32, u32)) -> Option<Finding> {
    let (its, device_id, event_id) = event;
    let seen = board.translate(its, device_id, event_id);
    compare::translation(model, event, seen)
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
