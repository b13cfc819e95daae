//! The reference: one action in, one judgement out.

use its_architecture::{Architecture, Judgement, STALLED, value_of};
use its_declaration::{Declaration, EnableLpis, Redistributors};
use its_gic::geometry::PAGE_BYTES;
use its_machine::{
    AccessSize, Action, Direction, Event, Freedoms, Machine, Outcome, PageState, Part,
};

use crate::account::Account;
use crate::ghost::Ghost;
use crate::guarded::{GuardedIts, Stop};
use crate::hypercall::HostCall;
use crate::ledger::Ledger;
use crate::race::Race;
use crate::rules;
use crate::set_up::{Borrowed, SetUp};
use crate::trap::{Before, ItsTrap, RedistributorTrap};

/// The phase of one ITS (P1 to P3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// No CPU is finalized (P1).
    Open,
    /// Some CPU is finalized, set-up has not succeeded (P2).
    Closing,
    /// Set-up succeeded (P3).
    Guarded,
}

/// What must be so on a machine, after everything that was done to it.
#[derive(Clone, Debug)]
pub struct Policy {
    pub(crate) machine: Machine,
    pub(crate) declared: Declaration,
    pub hardware: Architecture,
    pub(crate) ghost: Ghost,
    pub(crate) ledger: Ledger,
    /// By CPU.
    pub(crate) finalized: Vec<bool>,
    /// By ITS; `Some` once it is guarded.
    pub(crate) guarded: Vec<Option<GuardedIts>>,
    /// By ITS; whether its emulation ended (the point `tear-down`).
    pub(crate) ended: Vec<bool>,
    /// By ITS; the arguments of a hypercall that EL2 sets it up by later (the point `moment`).
    pub(crate) described: Vec<Option<[u64; 4]>>,
    /// S9: a set-up borrowed the redistributors' tables.
    pub(crate) lpi_tables_borrowed: bool,
}

impl Policy {
    /// Returns a machine before boot: nothing programmed, no CPU finalized. `freedoms`: what is
    /// allowed of each ITS where the architecture leaves a choice; redistributors go by the
    /// first's.
    pub fn new(machine: Machine, declared: Declaration, freedoms: impl Fn(u8) -> Freedoms) -> Self {
        Self {
            machine,
            declared,
            hardware: Architecture::new(machine, freedoms),
            ghost: Ghost::new(machine),
            ledger: Ledger::new(machine, declared.memory),
            finalized: vec![false; machine.redistributors.len()],
            guarded: vec![None; machine.its.len()],
            ended: vec![false; machine.its.len()],
            described: vec![None; machine.its.len()],
            lpi_tables_borrowed: false,
        }
    }

    /// Takes note of one action, and says what was wrong with it. ITSs and redistributors that
    /// action and events name must be the machine's: another number is a mistake of the caller, and
    /// panics.
    pub fn judge(&mut self, action: &Action, outcome: &Outcome, events: &[Event]) -> Judgement {
        let mut account = Account::default();
        self.hardware.start_action();
        if *outcome == Outcome::Stopped {
            account.judgement.poison("EL2 did not return");
            return account.judgement;
        }
        self.act(action, outcome, events, &mut account);
        self.settle(events, &mut account);
        self.ledger.compare(&self.ghost, &mut account.judgement);
        account.judgement
    }

    /// Takes note of what several agents did at once, and says what was wrong with it. `parts`: the
    /// actions in the order of their ends, each of which is an [`Event::Over`].
    pub fn judge_race(&mut self, parts: &[Part], events: &[Event]) -> Judgement {
        self.hardware.start_action();
        let mut judgement = Race::new(self, parts, events).judge();
        self.ledger.compare(&self.ghost, &mut judgement);
        judgement
    }

    /// What pKVM must say of a page; `None` for what is no memory.
    pub(crate) fn page(&self, page: u64) -> Option<PageState> {
        self.ghost.page(page)
    }

    /// Returns the phase of an ITS (P1 to P3).
    pub fn phase(&self, its: u8) -> Phase {
        match self.guarded[usize::from(its)] {
            Some(_) => Phase::Guarded,
            None if self.is_protected() => Phase::Closing,
            None => Phase::Open,
        }
    }

    /// Returns whether nothing more can be expected of the queue: all of it was consumed, the ITS
    /// is stalled, disabled or lost power at work, or the host's next command is refused.
    pub fn is_settled(&self, its: u8) -> bool {
        let its = usize::from(its);
        let registers = &self.hardware.its[its].registers;
        match &self.guarded[its] {
            _ if !registers.enabled || registers.creadr & STALLED != 0 => true,
            Some(guarded) => guarded.stop == Stop::Lost || guarded.queues.is_settled(),
            None => self.hardware.is_settled(its),
        }
    }

    pub(crate) fn is_finalized(&self, cpu: u8) -> bool {
        self.finalized.get(usize::from(cpu)).is_some_and(|done| *done)
    }

    pub(crate) fn finalize(&mut self, cpu: u8) {
        if let Some(finalized) = self.finalized.get_mut(usize::from(cpu)) {
            *finalized = true;
        }
    }

    /// S1: from the first finalize.
    pub(crate) fn is_protected(&self) -> bool {
        self.finalized.iter().any(|done| *done)
    }

    /// S3: the ITS with this control frame, if it is one that EL2 can guard.
    pub(crate) fn guardable(&self, device: u64) -> Option<usize> {
        let guardable = self.machine.its.iter().take(self.declared.numbers.guarded_its as usize);
        guardable.into_iter().position(|base| *base == device)
    }

    /// P2: not all is guarded yet: the ITSs, and the redistributors where they have a set-up of
    /// their own.
    pub(crate) fn is_closing(&self) -> bool {
        let by_hypercall = self.declared.traps.redistributors == Redistributors::ByHypercall;
        let redistributors = by_hypercall && !self.lpi_tables_borrowed;
        let mut its = self.guarded.iter().zip(&self.ended);
        let waits = its.any(|(guarded, ended)| guarded.is_none() && !ended);
        self.is_protected() && (redistributors || waits)
    }

    // ---- actions

    /// Takes note of what an action did, and judges what EL2 must have done about it.
    pub(crate) fn act(
        &mut self,
        action: &Action,
        outcome: &Outcome,
        events: &[Event],
        account: &mut Account,
    ) {
        match *action {
            Action::Device { cpu, address, size, direction } if self.is_finalized(cpu) => {
                let events = self.set_up_by_trap(address, events, account);
                if let Some(before) = self.before(address) {
                    self.replay(events, account);
                    let seen = value_of(outcome);
                    self.judge_trap((size, direction), &before, seen, events, account);
                }
            }
            Action::Hypercall { cpu, x0, arguments } => {
                let call = HostCall::new(self, cpu, x0, arguments);
                if self.sets_up_at_finalize(action) {
                    call.judge(self, outcome, events, account);
                    return self.set_up_by_finalize(events, account);
                }
                self.replay(events, account);
                call.judge(self, outcome, events, account);
            }
            Action::Load { cpu, address }
            | Action::Store { cpu, address, .. }
            | Action::StoreCommand { cpu, address, .. } => {
                let can = match action {
                    Action::Load { .. } => PageState::host_can_load,
                    _ => PageState::host_can_store,
                };
                self.judge_access((cpu, address), can, outcome, account);
                self.act_on_hardware(action, outcome, events, account);
            }
            Action::PowerLoss { its, restored } => {
                self.act_on_hardware(action, outcome, events, account);
                let guarded = self.guarded[usize::from(its)].as_ref().filter(|_| restored);
                if guarded.is_some_and(GuardedIts::is_rest_in_doubt) {
                    let why = "nobody can know whether the ITS was at rest when it lost power";
                    account.judgement.end(why);
                }
            }
            // P1: an access of a CPU that is not finalized goes straight to the hardware.
            Action::Device { .. }
            | Action::Msi { .. }
            | Action::Acknowledge { .. }
            | Action::EnabledByOther { .. }
            | Action::Clean { .. }
            | Action::WriteBack { .. }
            | Action::Advance { .. } => self.act_on_hardware(action, outcome, events, account),
        }
    }

    /// An action that EL2 has no part in.
    fn act_on_hardware(
        &mut self,
        action: &Action,
        outcome: &Outcome,
        events: &[Event],
        account: &mut Account,
    ) {
        let before = self.hardware.begin(action, outcome, events, &mut account.judgement);
        self.replay(events, account);
        self.hardware.end(action, outcome, before, &mut account.judgement);
    }

    /// A host load or store must be refused exactly if the page is out of a finalized CPU's reach.
    fn judge_access(
        &self,
        (cpu, address): (u8, u64),
        can: impl Fn(PageState) -> bool,
        outcome: &Outcome,
        account: &mut Account,
    ) {
        let page = address / PAGE_BYTES;
        let (Some(state), refused) = (self.page(page), *outcome == Outcome::Refused) else {
            return;
        };
        let must = self.is_finalized(cpu) && !can(state);
        if must != refused {
            let name = |refused| if refused { "refused" } else { "allowed" };
            let (rule, path) = (&rules::DIV_ACCESS, format_args!("page {page:#x}"));
            account.judgement.disagree(rule, "stage-2", path, name(must), name(refused));
        }
    }

    // ---- what EL2 does

    /// The hardware behind an address, as it is now; `None` where no device is.
    pub(crate) fn before(&self, address: u64) -> Option<Before> {
        Before::of(&self.machine, &self.hardware, address)
    }

    /// A trapped access, which read `seen`.
    pub(crate) fn judge_trap(
        &mut self,
        (size, direction): (AccessSize, Direction),
        before: &Before,
        seen: u64,
        events: &[Event],
        account: &mut Account,
    ) {
        let (machine, declared) = (&self.machine, &self.declared);
        let direction = match direction {
            Direction::Read => Direction::Read,
            Direction::Write(value) => Direction::Write(size.truncate(value)),
        };
        match *before {
            Before::Its { its, offset, registers: ref before } => {
                let ledger = &mut self.ledger;
                let mut trap = ItsTrap {
                    machine,
                    declared,
                    its,
                    offset,
                    size,
                    direction,
                    seen,
                    events,
                    before,
                    ledger,
                    account,
                };
                match &mut self.guarded[its] {
                    Some(guarded) => guarded.judge(&mut trap),
                    None if its >= self.declared.numbers.guarded_its as usize => {
                        trap.judge_surplus()
                    }
                    None => trap.judge_closing(),
                }
            }
            Before::Redistributor { n, offset, enabled } => {
                let address = machine.redistributors[n] + offset;
                let borrows_late = declared.traps.enable_lpis == EnableLpis::Borrowed
                    && declared.traps.redistributors != Redistributors::Open
                    && self.lpi_tables_borrowed;
                let ledger = &mut self.ledger;
                let mut trap = RedistributorTrap {
                    n,
                    address,
                    offset,
                    size,
                    direction,
                    seen,
                    events,
                    enabled,
                    borrows_late,
                    machine,
                    ledger,
                };
                trap.judge(declared.traps.redistributors, account);
            }
        }
    }

    /// P3: from a set-up that succeeds on the ITS is guarded.
    pub(crate) fn judge_set_up(
        &mut self,
        arguments: [u64; 4],
        x1: i64,
        events: &[Event],
        account: &mut Account,
    ) {
        self.ledger.witness(events);
        let set_up = SetUp::new(self, events);
        let Some(plan) = set_up.judge(arguments, x1, events, account) else {
            return;
        };
        let owned = plan.owned.iter();
        if owned.copied().any(|(address, bytes)| self.hardware.has_uncleaned(address, bytes)) {
            account.judgement.poison("the host did not clean what it wrote to queue and tables");
        }
        self.take_over(plan.borrowed);
        self.lpi_tables_borrowed |= self.declared.traps.redistributors == Redistributors::Guarded;
        for (address, value) in plan.level1 {
            self.hardware.store(address, &[value]);
        }
        let guarded = plan.guarded;
        if !guarded.mappings.hold_all(&self.hardware.devices(guarded.its)) {
            account.judgement.poison("the host's list of live devices is not complete and true");
        }
        let its = guarded.its;
        self.guarded[its] = Some(guarded);
    }

    /// From a set-up of redistributors that succeeds on they are guarded.
    pub(crate) fn judge_redistributor_set_up(
        &mut self,
        x1: i64,
        events: &[Event],
        account: &mut Account,
    ) {
        self.ledger.witness(events);
        let set_up = SetUp::new(self, events);
        if let Some(borrowed) = set_up.judge_redistributors(x1, events, account) {
            self.take_over(borrowed);
            self.lpi_tables_borrowed = true;
        }
    }

    fn take_over(&mut self, borrowed: Borrowed) {
        let pins = |page| self.page(page).map_or(0, |state| state.pins.into());
        self.ledger = borrowed.ledger(pins);
    }

    // ---- events

    /// Takes note of what happened, in order, and checks what does not depend on the policy.
    pub(crate) fn replay(&mut self, events: &[Event], account: &mut Account) {
        let (ghost, ledger) = (&mut self.ghost, &mut self.ledger);
        self.hardware.replay(events, &mut account.judgement, |event, later, judgement| {
            if let Event::Page { change, pages, result } = *event {
                let injected = later.first() == Some(&Event::Injected);
                if ghost.follow((change, pages), result, injected, judgement) {
                    ledger.look_at(pages);
                }
            }
        });
    }

    /// At the end of an action: what EL2 wrote, and what it could not give back.
    pub(crate) fn settle(&mut self, events: &[Event], account: &mut Account) {
        account.settle(&self.machine, &self.guarded, events);
        self.ledger.keep_what_was_not_given_back(&events[account.kept..]);
    }
}

#[cfg(test)]
mod tests;
