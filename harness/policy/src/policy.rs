//! The model: one action in, one judgement out.

use its_architecture::{Architecture, Judgement, STALLED, is_refused, taken};
use its_el2::SubjectPolicy;
use its_gic::geometry::PAGE_BYTES;
use its_machine::{
    Action, Direction, Errno, Event, Freedoms, HostSide, Hypercall, Machine, Outcome, PageChange,
    PageState,
};

use crate::account::Account;
use crate::ghost::Ghost;
use crate::ledger::Ledger;
use crate::queue::{Guard, Stop};
use crate::rules;

/// Offsets in the queue of a guarded ITS: the hardware's CREADR at the last look (C), up to where
/// EL2 judged (J), the host's CWRITER (W).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Position {
    pub c: u64,
    pub j: u64,
    pub w: u64,
}

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
    pub(crate) policy: SubjectPolicy,
    pub hardware: Architecture,
    pub(crate) ghost: Ghost,
    pub(crate) ledger: Ledger,
    /// By CPU.
    pub(crate) finalized: Vec<bool>,
    /// By ITS; `Some` once it is guarded.
    pub(crate) guards: Vec<Option<Guard>>,
    /// S9: some set-up borrowed the redistributors' tables.
    pub(crate) lpi_tables_borrowed: bool,
}

impl Policy {
    /// A machine before boot: nothing programmed, no CPU finalized. `freedoms`: what is allowed of
    /// each ITS where the architecture leaves a choice; redistributors go by the first's.
    pub fn new(machine: Machine, policy: SubjectPolicy, freedoms: impl Fn(u8) -> Freedoms) -> Self {
        Self {
            machine,
            policy,
            hardware: Architecture::new(machine, freedoms),
            ghost: Ghost::new(machine),
            ledger: Ledger::new(machine),
            finalized: vec![false; machine.redistributors.len()],
            guards: vec![None; machine.its.len()],
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
        self.keep_what_was_not_given_back(events);
        self.ledger.compare(&self.ghost, &mut account.judgement);
        account.judgement
    }

    /// Takes note of what an action did, and judges what EL2 must have done about it.
    pub(crate) fn act(
        &mut self,
        action: &Action,
        outcome: &Outcome,
        events: &[Event],
        account: &mut Account,
    ) {
        match *action {
            Action::Device { cpu, address, size, direction } => {
                let seen = match outcome {
                    Outcome::Value(value) => *value,
                    _ => 0,
                };
                if !self.is_finalized(cpu) {
                    self.direct_access(address, size.bytes(), direction, seen, events, account);
                } else if let Some(before) = self.before(address) {
                    self.replay(events, account);
                    self.judge_trap((size, direction), &before, seen, events, account);
                }
            }
            Action::Load { cpu, address } => {
                self.judge_access(cpu, address, outcome, account);
                self.replay(events, account);
            }
            Action::Store { cpu, address, value } => {
                if self.judge_access(cpu, address, outcome, account) {
                    self.hardware.store(address, &[value]);
                }
                self.replay(events, account);
            }
            Action::StoreCommand { cpu, address, words } => {
                if self.judge_access(cpu, address, outcome, account) {
                    self.hardware.store(address, &words);
                }
                self.replay(events, account);
            }
            Action::Hypercall { cpu, x0, arguments } => {
                let call = Hypercall::from_function_id(x0);
                let expected = call.and_then(|call| self.expect_hypercall(cpu, call, arguments[0]));
                self.replay(events, account);
                self.judge_hypercall((cpu, x0, arguments), expected, outcome, events, account);
            }
            Action::Msi { its, device_id, event_id, size } => {
                // GITS_TRANSLATER: 16 bits leave the upper half of EventID zero.
                let event = (usize::from(its), device_id, size.truncate(event_id.into()) as u32);
                let before = self.hardware.msi(event);
                self.replay(events, account);
                self.hardware.pend_either(before, event, &mut account.judgement);
            }
            Action::Acknowledge { cpu } => {
                self.replay(events, account);
                let judgement = &mut account.judgement;
                self.hardware.acknowledge(usize::from(cpu), taken(outcome), judgement);
            }
            Action::PowerLoss { its, restored } => {
                self.replay(events, account);
                self.hardware.lose_power(usize::from(its), restored);
                if restored {
                    self.doubt_rest(usize::from(its), account);
                }
            }
            Action::Advance { .. } => self.replay(events, account),
        }
    }

    /// What pKVM's books must say of a page; `None` for what is no memory.
    pub fn page(&self, page: u64) -> Option<PageState> {
        self.ghost.page(page)
    }

    /// P1 to P3.
    pub fn phase(&self, its: u8) -> Phase {
        match self.guards[usize::from(its)] {
            Some(_) => Phase::Guarded,
            None if self.is_protected() => Phase::Closing,
            None => Phase::Open,
        }
    }

    /// Whether nothing more can be expected of the queue: all of it was consumed, the ITS is
    /// stalled or disabled, or the host's next command is refused.
    pub fn is_settled(&self, its: u8) -> bool {
        let its = usize::from(its);
        let registers = &self.hardware.its[its].registers;
        match &self.guards[its] {
            _ if !registers.enabled || registers.creadr & STALLED != 0 => true,
            Some(guard) => guard.c == guard.w || guard.refused && guard.c == guard.j,
            None => self.hardware.is_settled(its),
        }
    }

    /// C, J and W of a guarded ITS.
    pub fn position(&self, its: u8) -> Option<Position> {
        let guard = self.guards[usize::from(its)].as_ref()?;
        let Guard { c, j, w, .. } = *guard;
        Some(Position { c, j, w })
    }

    /// Records that a guarded ITS uses, of those that its private pages carry.
    pub fn records(&self, its: u8) -> Option<(u64, u64)> {
        let guard = self.guards[usize::from(its)].as_ref()?;
        Some((guard.records_used() as u64, guard.capacity))
    }

    pub(crate) fn is_finalized(&self, cpu: u8) -> bool {
        self.finalized.get(usize::from(cpu)).is_some_and(|done| *done)
    }

    /// S1: from the first finalize.
    pub(crate) fn is_protected(&self) -> bool {
        self.finalized.iter().any(|done| *done)
    }

    /// P11: an ITS on its way to rest lost power and firmware restored it: EL2 cannot tell where
    /// CREADR, which is then 0, could be 0 anyway.
    fn doubt_rest(&self, its: usize, account: &mut Account) {
        let Some(guard) = &self.guards[its] else {
            return;
        };
        if guard.stop == Stop::Stopping && guard.may_rest_at_zero() {
            let why = "nobody can tell whether the ITS was at rest when it lost power";
            account.judgement.poison(why);
        }
    }

    // ---- the host

    /// P1: an access of a CPU that is not finalized goes straight to the hardware.
    fn direct_access(
        &mut self,
        address: u64,
        bytes: u64,
        direction: Direction,
        seen: u64,
        events: &[Event],
        account: &mut Account,
    ) {
        let Direction::Write(value) = direction else {
            let before = self.hardware.creadr_at(address);
            self.replay(events, account);
            return self.hardware.judge_read(address, bytes, seen, before, &mut account.judgement);
        };
        let refused = is_refused(events);
        self.hardware.write_device(address, bytes, (value, refused), &mut account.judgement);
        self.replay(events, account);
    }

    /// A host load or store must be refused exactly if the page is out of a finalized CPU's reach.
    /// Whether it happened.
    fn judge_access(
        &self,
        cpu: u8,
        address: u64,
        outcome: &Outcome,
        account: &mut Account,
    ) -> bool {
        let refused = *outcome == Outcome::Refused;
        let Some(page) = self.ghost.page(address / PAGE_BYTES) else {
            return false;
        };
        let must = self.is_finalized(cpu) && page.host == HostSide::Nothing;
        if must != refused {
            let name = |refused| if refused { "refused" } else { "allowed" };
            let path = format_args!("page {:#x}", address / PAGE_BYTES);
            account.judgement.disagree(
                &rules::DIV_ACCESS,
                "stage-2",
                path,
                name(must),
                name(refused),
            );
        }
        !refused
    }

    // ---- events

    /// Takes note of what happened, in order, and checks what does not depend on the policy.
    pub(crate) fn replay(&mut self, events: &[Event], account: &mut Account) {
        self.hardware.begin_events(events, &mut account.judgement);
        let (mut creadr_before, mut next) = (None, 0);
        let judgement = &mut account.judgement;
        while let Some(index) = self.hardware.follow(events, next, &mut creadr_before, judgement) {
            self.page_event(events, index, judgement);
            next = index + 1;
        }
    }

    /// What pKVM did with pages against what it must do.
    fn page_event(&mut self, events: &[Event], index: usize, judgement: &mut Judgement) {
        let Event::Page { change, pages, result } = events[index] else {
            return;
        };
        let injected = events.get(index + 1) == Some(&Event::Injected);
        let expected = match injected {
            true => Err(Errno::Enomem),
            false => self.ghost.attempt(change, pages),
        };
        // pKVM: a range across two regions or gaps has an errno of its own.
        let outside = result == Err(Errno::Einval) && !self.ghost.is_memory(pages);
        if result != expected && !outside {
            let path = format_args!("page {:#x}.{change:?}", pages.first);
            let text = |result| Errno::name(Errno::result(result));
            judgement.contradict(path, text(expected), text(result));
        }
        if result.is_ok() {
            self.ghost.apply(change, pages);
            self.ledger.look_at(pages);
        }
    }

    /// P13: a give back that fails leaves the page as it is.
    pub(crate) fn keep_what_was_not_given_back(&mut self, events: &[Event]) {
        for pair in events.windows(2) {
            let [Event::Page { change, pages, .. }, Event::Injected] = pair else {
                continue;
            };
            match change {
                PageChange::Unshare | PageChange::Unpin => self.ledger.keep(*pages, false),
                PageChange::Reclaim => self.ledger.keep(*pages, true),
                PageChange::Share | PageChange::Pin | PageChange::Donate => {}
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use its_gic::geometry::Pages;
    use its_machine::AccessSize;

    use super::*;
    use crate::testing::*;

    const DONE: Outcome = Outcome::Done;

    fn returned(x1: i64) -> Outcome {
        Outcome::Returned { x0: 0, x1 }
    }

    #[test]
    fn boots_and_is_set_up() {
        let world = World::guarded();
        assert_eq!(world.model.phase(0), Phase::Guarded);
        let start = Position { c: 0x80, j: 0x80, w: 0x80 };
        assert_eq!(world.model.position(0), Some(start));
        assert_eq!(world.model.records(0), Some((1, 3)));
        assert!(world.model.is_settled(0));
        assert_eq!(world.model.hardware.mapped(0), [(1, 4)]);
        assert_eq!(world.model.page(QUEUE), Some(PageState::EL2));
        assert!(world.model.page(ITT).unwrap().is_held());
    }

    #[test]
    fn host_accesses_after_finalize() {
        let (mut open, mut closing) = (World::booted(), World::closing());
        let load = |page| Action::Load { cpu: 1, address: at(page) };
        open.agree(load(0x80000), Outcome::Value(0), &[]);
        closing.agree(load(0x80000), Outcome::Refused, &[]);
        closing.differ(load(0x80000), Outcome::Value(0), &[], &rules::DIV_ACCESS, "0x80000");
        closing.differ(load(FREE), Outcome::Refused, &[], &rules::DIV_ACCESS, "0x80400");
        let guarded = World::guarded();
        let store = |page| Action::Store { cpu: 0, address: at(page), value: 1 };
        for refused in [QUEUE, LEVEL1, LEVEL2, COLLECTIONS, PRIVATE, DESCRIPTOR] {
            guarded.differ(store(refused), DONE, &[], &rules::DIV_ACCESS, "page");
        }
        for allowed in [SHADOW, SHADOW_LEVEL1, ITT, LIST] {
            guarded.differ(store(allowed), Outcome::Refused, &[], &rules::DIV_ACCESS, "page");
        }
    }

    #[test]
    fn page_events_must_be_as_the_ghost_says() {
        let world = World::guarded();
        let share = |result| Event::Page {
            change: PageChange::Share,
            pages: Pages { first: QUEUE, count: 1 },
            result,
        };
        let call = hypercall(0, Hypercall::HostShareHyp, [QUEUE, 0, 0, 0]);
        let eperm = Err(Errno::Eperm);
        world.clone().agree(call, returned(-1), &[share(eperm)]);
        world.differ(call, returned(-1), &[share(Ok(()))], &crate::testing::PKVM, "0x80100.Share");
        let wrong = [share(Err(Errno::Enomem)), Event::Injected];
        world.differ(call, returned(-12), &wrong, &rules::DIV_HYPERCALL, "x1");
        let stray = [page(PageChange::Share, FREE)];
        world.differ(ADVANCE, DONE, &stray, &rules::DIV_SHARED, "page 0x80400.host");
    }

    #[test]
    fn poison() {
        let world = World::guarded();
        let judgement = world.clone().play(ADVANCE, Outcome::Stopped, &[]);
        assert_eq!(judgement.poisoned, Some("EL2 did not return"));
        world.poisons(ADVANCE, &[Event::StaleRead { address: 0 }]);
    }

    #[test]
    fn creadr_may_be_read_just_before_a_command_is_consumed() {
        let mut world = World::booted();
        let words = SYNC.encode();
        let (cpu, address) = (0, at(QUEUE) + 0x80);
        world.agree(Action::StoreCommand { cpu, address, words }, DONE, &[]);
        // Consumed before the write that posted it completes.
        let done = [consumed(0x80, SYNC)];
        let post = write(ITS + 0x88, AccessSize::Double, 0xa0);
        world.clone().agree(post, DONE, &done);
        world.agree(post, DONE, &[]);
        let creadr = read(ITS + 0x90, AccessSize::Double);
        for either in [0x80, 0xa0] {
            world.clone().agree(creadr, Outcome::Value(either), &done);
        }
        world.differ(creadr, Outcome::Value(0xc0), &done, &rules::ARCH_REGISTER, "");
    }

    #[test]
    fn a_stall_and_a_retry_in_one_action_leave_either() {
        let mut world = World::booted();
        let bad = mapd(2, 16, FREE);
        let (cpu, address, words) = (0, at(QUEUE) + 0x80, bad.encode());
        world.agree(Action::StoreCommand { cpu, address, words }, DONE, &[]);
        let retry = write(ITS + 0x88, AccessSize::Double, 0xa1);
        let event = stalled(0x80, bad, Some(0x1_0802));
        world.agree(retry, DONE, &[event]);
        world.clone().agree(ADVANCE, DONE, &[event]);
        let creadr = read(ITS + 0x90, AccessSize::Double);
        world.clone().agree(creadr, Outcome::Value(0x80), &[]);
        world.agree(creadr, Outcome::Value(0x81), &[]);
        world.differ(creadr, Outcome::Value(0x80), &[], &rules::ARCH_REGISTER, "its0.creadr");
        world.differ(ADVANCE, DONE, &[event], &rules::ARCH_FETCH, "its0.fetch");
        // In actions of their own there is no doubt.
        world.agree(retry, DONE, &[]);
        world.agree(ADVANCE, DONE, &[event]);
        world.differ(creadr, Outcome::Value(0x80), &[], &rules::ARCH_REGISTER, "its0.creadr");
    }

    #[test]
    fn nothing_is_said_of_hardware_once_it_is_poisoned() {
        let mut world = World::new(machine());
        let on = write(ITS, AccessSize::Word, 1);
        let judgement = world.play(on, DONE, &[consumed(0, SYNC)]);
        assert!(judgement.poisoned.is_some());
        assert_eq!(judgement.findings, []);
    }
}
