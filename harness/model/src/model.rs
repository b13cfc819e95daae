//! The model: one action in, one judgement out.

use std::collections::BTreeSet;

use its_el2::{
    Action, Direction, Errno, Event, HostSide, Hypercall, Machine, OnError, Outcome, PageChange,
    PageState, SubjectPolicy, Translation,
};
use its_gic::command::Words;
use its_gic::geometry::{PAGE_BYTES, Pages};
use its_gic::register::FRAME_BYTES;
use its_gic::{Command, Part, Register};

use crate::commands::Fault;
use crate::ghost::Ghost;
use crate::hardware::{Hardware, STALLED, its_at, name, redistributor_at, redistributor_register};
use crate::judgement::{Expected, Judgement, Kind, Phase};
use crate::ledger::Ledger;
use crate::queue::Guard;
use crate::trap::{Account, ItsTrap, RedistributorTrap};

/// Offsets in the queue of a guarded ITS: the hardware's CREADR at the last look (C), up to where EL2 judged
/// (J), the host's CWRITER (W).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Position {
    pub c: u64,
    pub j: u64,
    pub w: u64,
}

/// What must be so on a machine, after everything that was done to it.
#[derive(Clone, Debug)]
pub struct Model {
    pub(crate) machine: Machine,
    pub(crate) policy: SubjectPolicy,
    pub(crate) hardware: Hardware,
    pub(crate) ghost: Ghost,
    pub(crate) ledger: Ledger,
    /// By CPU.
    pub(crate) finalized: Vec<bool>,
    /// By ITS; `Some` once it is guarded.
    pub(crate) guards: Vec<Option<Guard>>,
    /// S9: some set-up borrowed the redistributors' tables.
    pub(crate) lpi_tables_borrowed: bool,
}

impl Model {
    /// A machine before boot: nothing programmed, no CPU finalized.
    pub fn new(machine: Machine, policy: SubjectPolicy) -> Self {
        Self {
            machine,
            policy,
            hardware: Hardware::new(machine),
            ghost: Ghost::new(machine),
            ledger: Ledger::new(machine),
            finalized: vec![false; machine.redistributors.len()],
            guards: vec![None; machine.its.len()],
            lpi_tables_borrowed: false,
        }
    }

    /// Takes note of one action, and says what was wrong with it. ITSs and redistributors that action and
    /// events name must be the machine's: another number is a mistake of the caller, and panics.
    pub fn judge(&mut self, action: &Action, outcome: &Outcome, events: &[Event]) -> Judgement {
        let mut account = Account::default();
        self.hardware.start_action();
        if *outcome == Outcome::Stopped {
            account.judgement.poison("EL2 did not return");
            return account.judgement;
        }
        match *action {
            Action::Device {
                cpu,
                address,
                size,
                direction,
            } => {
                let seen = match outcome {
                    Outcome::Value(value) => *value,
                    _ => 0,
                };
                if !self.is_finalized(cpu) {
                    self.direct_access(
                        address,
                        size.bytes(),
                        direction,
                        seen,
                        events,
                        &mut account,
                    );
                } else if let Some((its, offset)) = its_at(&self.machine, address) {
                    let before = self.hardware.its[its].registers;
                    self.replay(events, &mut account);
                    let trap = ItsTrap {
                        its,
                        offset,
                        direction,
                        seen,
                        events,
                        before,
                    };
                    self.judge_its_trap(&trap, size, &mut account);
                } else if let Some((n, offset)) = redistributor_at(&self.machine, address) {
                    let enabled = self.hardware.redistributors[n].enabled;
                    self.replay(events, &mut account);
                    let trap = RedistributorTrap {
                        n,
                        direction,
                        seen,
                        events,
                        enabled,
                    };
                    self.judge_redistributor_trap(&trap, offset, size, &mut account);
                }
            }
            Action::Load { cpu, address } => {
                self.judge_access(cpu, address, outcome, &mut account);
                self.replay(events, &mut account);
            }
            Action::Store {
                cpu,
                address,
                value,
            } => {
                if self.judge_access(cpu, address, outcome, &mut account) {
                    self.hardware.memory.write_word(address, value);
                    self.overwrote(address, 8, &mut account);
                }
                self.replay(events, &mut account);
            }
            Action::StoreCommand {
                cpu,
                address,
                words,
            } => {
                if self.judge_access(cpu, address, outcome, &mut account) {
                    self.hardware.memory.write_command(address, words);
                    self.overwrote(address, 32, &mut account);
                }
                self.replay(events, &mut account);
            }
            Action::Hypercall { cpu, x0, arguments } => {
                let call = Hypercall::from_function_id(x0);
                let expected = call.and_then(|call| self.expect_hypercall(cpu, call, arguments[0]));
                self.replay(events, &mut account);
                self.judge_hypercall(
                    (cpu, x0, arguments),
                    expected,
                    outcome,
                    events,
                    &mut account,
                );
            }
            Action::Msi {
                its,
                device_id,
                event_id,
            } => self.msi((its, device_id, event_id), events, &mut account),
            Action::Advance { .. } => self.replay(events, &mut account),
        }
        self.settle(events, &mut account);
        self.keep_what_was_not_given_back(events);
        self.ledger.compare(&self.ghost, &mut account.judgement);
        account.judgement
    }

    // ---- what must be so

    /// How the n-th ITS must translate an event.
    pub fn translate(
        &self,
        its: u8,
        device_id: u32,
        event_id: u32,
    ) -> Expected<Option<Translation>> {
        self.hardware
            .translate(usize::from(its), device_id, event_id)
    }

    /// (ITS, DeviceID, EventID) whose translation the last action may have changed.
    pub fn touched(&self) -> &[(u8, u32, u32)] {
        &self.hardware.touched
    }

    /// Every (DeviceID, EventID) of an ITS that is mapped for sure, ascending.
    pub fn mapped(&self, its: u8) -> impl Iterator<Item = (u32, u32)> {
        let devices = self.hardware.its[usize::from(its)].devices.iter();
        devices
            .filter(|(_, device)| !device.unknown)
            .flat_map(|(device_id, device)| {
                let known = |(_, event): &(&u32, &Expected<_>)| **event != Expected::Unknown;
                let events = device.events.iter().filter(known);
                events.map(|(event_id, _)| (*device_id, *event_id))
            })
    }

    /// The pending LPIs of a redistributor.
    pub fn pending(&self, redistributor: u8) -> Expected<&BTreeSet<u32>> {
        let redistributor = &self.hardware.redistributors[usize::from(redistributor)];
        match redistributor.unknown {
            true => Expected::Unknown,
            false => Expected::Known(&redistributor.pending),
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

    /// Whether nothing more can be expected of the queue: all of it was consumed, the ITS is stalled or
    /// disabled, or the host's next command is refused.
    pub fn is_settled(&self, its: u8) -> bool {
        let its = usize::from(its);
        if !self.hardware.its[its].registers.enabled
            || self.hardware.its[its].registers.creadr & STALLED != 0
        {
            return true;
        }
        match &self.guards[its] {
            Some(guard) => guard.c == guard.w || guard.refused && guard.c == guard.j,
            None => !self.hardware.its[its].registers.can_fetch(),
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
        self.finalized
            .get(usize::from(cpu))
            .is_some_and(|done| *done)
    }

    /// S1: from the first finalize.
    pub(crate) fn is_protected(&self) -> bool {
        self.finalized.iter().any(|done| *done)
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
            let before = self.creadr_at(address);
            self.replay(events, account);
            return self.judge_hardware_read(address, bytes, seen, before, account);
        };
        self.hardware_write(address, bytes, value, account);
        self.replay(events, account);
    }

    /// A host load or store must be refused exactly if the page is out of a finalized CPU's reach. Whether it
    /// happened.
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
            account.disagree(Kind::Access, "stage-2", path, name(must), name(refused));
        }
        !refused
    }

    fn overwrote(&mut self, address: u64, bytes: u64, account: &mut Account) {
        if let Err(why) = self.hardware.overwrote(address, bytes) {
            account.judgement.poison(why);
        }
    }

    /// An MSI. Whether it came before or after the commands consumed in this action is not known.
    fn msi(
        &mut self,
        (its, device_id, event_id): (u8, u32, u32),
        events: &[Event],
        account: &mut Account,
    ) {
        let its = usize::from(its);
        // GITS_TRANSLATER: of an EventID beyond ID_bits, the excess bits or the write are ignored.
        let (exact, event_ids) = (event_id, self.hardware.typer.event_ids());
        let event_id = (u64::from(event_id) % event_ids) as u32;
        let before = self.hardware.msi(its, device_id, event_id);
        self.replay(events, account);
        let after = self.hardware.msi(its, device_id, event_id);
        match (before, after) {
            (Err(why), _) | (_, Err(why)) => account.judgement.poison(why),
            (Ok(before), Ok(after)) if before == after && event_id == exact => {
                self.hardware.pend(after);
            }
            (Ok(before), Ok(after)) => {
                for (redistributor, _) in before.into_iter().chain(after) {
                    self.hardware.redistributors[usize::from(redistributor)].unknown = true;
                }
            }
        }
    }

    // ---- events

    /// Takes note of what happened, in order, and checks what does not depend on the policy.
    fn replay(&mut self, events: &[Event], account: &mut Account) {
        // Nothing that the ITS does on such grounds can be judged; whose fault it is, others say.
        for event in events {
            match event {
                Event::Unpredictable { .. } => {
                    account.judgement.poison("an UNPREDICTABLE register access");
                }
                Event::StaleRead { .. } => {
                    account
                        .judgement
                        .poison("the ITS read memory that was not cleaned");
                }
                _ => {}
            }
        }
        let mut creadr_before = None;
        for (index, event) in events.iter().enumerate() {
            match *event {
                Event::DeviceRead {
                    address,
                    size,
                    value,
                } => {
                    self.judge_hardware_read(address, size.bytes(), value, creadr_before, account);
                }
                Event::DeviceWrite {
                    address,
                    size,
                    value,
                } => {
                    self.hardware_write(address, size.bytes(), value, account);
                }
                Event::WordWritten { address, value, .. } => {
                    self.hardware.memory.write_word(address, value)
                }
                Event::CommandWritten { address, words } => {
                    self.hardware.memory.write_command(address, words)
                }
                Event::PageZeroed { page } => {
                    self.hardware.memory.zero_page(page);
                    // Private pages may be any of the host's (S6), tables of this ITS too.
                    self.overwrote(page * PAGE_BYTES, PAGE_BYTES, account);
                }
                Event::Tampered { address, value } => {
                    self.hardware.memory.write_word(address, value);
                    self.overwrote(address, 8, account);
                }
                Event::Page {
                    change,
                    pages,
                    result,
                } => {
                    let injected = events.get(index + 1) == Some(&Event::Injected);
                    self.page_event(change, pages, result, injected, account);
                }
                Event::Consumed {
                    its,
                    offset,
                    words,
                    error,
                } => {
                    let error = error.map(|error| error.0);
                    creadr_before
                        .get_or_insert(self.hardware.its[usize::from(its)].registers.creadr);
                    self.fetched(its, offset, words, (false, error), account);
                    continue;
                }
                Event::Stalled {
                    its,
                    offset,
                    words,
                    error,
                } => {
                    account.judgement.stalled += 1;
                    creadr_before
                        .get_or_insert(self.hardware.its[usize::from(its)].registers.creadr);
                    self.fetched(its, offset, words, (true, Some(error.0)), account);
                    continue;
                }
                _ => {}
            }
            creadr_before = None;
        }
    }

    /// The ghost's word against the books'.
    fn page_event(
        &mut self,
        change: PageChange,
        pages: Pages,
        result: Result<(), Errno>,
        injected: bool,
        account: &mut Account,
    ) {
        let expected = match injected {
            true => Err(Errno::Enomem),
            false => self.ghost.attempt(change, pages),
        };
        // pKVM: a range across two regions or gaps has an errno of its own.
        let outside = result == Err(Errno::Einval) && !self.ghost.is_memory(pages);
        if result != expected && !outside {
            let path = format_args!("page {:#x}.{change:?}", pages.first);
            let text = |result| Errno::name(Errno::result(result));
            account.disagree(Kind::Hardware, "pKVM", path, text(expected), text(result));
        }
        if result.is_ok() {
            self.ghost.apply(change, pages);
            self.ledger.look_at(pages);
        }
    }

    /// P13: a give back that fails leaves the page as it is.
    fn keep_what_was_not_given_back(&mut self, events: &[Event]) {
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

    /// The physical ITS fetched a command: consumed it (with an error number or none), or stalled on it.
    fn fetched(
        &mut self,
        its: u8,
        offset: u64,
        words: Words,
        (stalled, error): (bool, Option<Option<u32>>),
        account: &mut Account,
    ) {
        let its = usize::from(its);
        let physical = &self.hardware.its[its].registers;
        let queue = physical.queue();
        if !physical.can_fetch() || physical.offset() != offset {
            let path = format_args!("its{its}.fetch");
            let expected = format_args!("{:#x}, if at all", physical.creadr);
            return account.disagree(
                Kind::Hardware,
                "CREADR",
                path,
                expected,
                format_args!("{offset:#x}"),
            );
        }
        let written = self.hardware.memory.command(queue.slot(offset));
        let command = Command::decode(words);
        if written != words && account.judgement.poisoned.is_none() {
            let path = format_args!("its{its}.slot {offset:#x}");
            let (expected, seen) = (format!("{written:x?}"), format!("{words:x?}"));
            account.disagree(Kind::Hardware, command.name(), path, expected, seen);
        }
        let fits = match self.hardware.check(its, command) {
            Ok(()) => error.is_none(),
            Err(Fault::Optional) => true,
            Err(Fault::Error(None)) => error.is_some(),
            Err(Fault::Error(sure)) => error.is_some_and(|number| number == sure),
            Err(Fault::Undefined(why)) => {
                account.judgement.poison(why);
                true
            }
        };
        let stalls = self.machine.character.on_error == OnError::Stall;
        if !fits || error.is_some() && stalled != stalls {
            let path = format_args!("its{its}.slot {offset:#x} {}", command.name());
            let expected = format!(
                "{:x?}, {:?}",
                self.hardware.check(its, command),
                self.machine.character.on_error
            );
            let seen = format!("{error:x?}, stalled: {stalled}");
            account.disagree(Kind::Hardware, command.name(), path, expected, seen);
        }
        let physical = &mut self.hardware.its[its].registers;
        physical.stall_in_doubt = stalled && physical.retried;
        physical.creadr = match stalled {
            true => offset | STALLED,
            false => queue.after(offset),
        };
        if error.is_none()
            && let Err(why) = self.hardware.execute(its, command)
        {
            account.judgement.poison(why);
        }
    }

    // ---- hardware registers

    fn hardware_write(&mut self, address: u64, bytes: u64, value: u64, account: &mut Account) {
        let done = if let Some((its, offset)) = its_at(&self.machine, address) {
            match Register::select(offset, bytes) {
                Some((register, part)) if offset < FRAME_BYTES => {
                    self.hardware.write_its(its, register, part, value)
                }
                _ => Ok(()),
            }
        } else if let Some((n, offset)) = redistributor_at(&self.machine, address) {
            self.hardware.write_redistributor(n, offset, bytes, value)
        } else {
            Ok(())
        };
        if let Err(why) = done {
            account.judgement.poison(why);
        }
    }

    /// CREADR, if `address` is its.
    fn creadr_at(&self, address: u64) -> Option<u64> {
        let (its, offset) = its_at(&self.machine, address)?;
        (Register::at(offset) == Register::Creadr).then(|| self.hardware.its[its].registers.creadr)
    }

    /// A hardware register read, by host or EL2. CREADR may be what it was before the commands just consumed.
    fn judge_hardware_read(
        &mut self,
        address: u64,
        bytes: u64,
        seen: u64,
        creadr_before: Option<u64>,
        account: &mut Account,
    ) {
        let (part, expected) = if let Some((its, offset)) = its_at(&self.machine, address) {
            match Register::select(offset, bytes) {
                Some((register, part)) if offset < FRAME_BYTES => {
                    let registers = &mut self.hardware.its[its].registers;
                    if register == Register::Creadr && part != Part::High {
                        registers.learn(seen);
                    }
                    (part, registers.read(self.hardware.typer, register))
                }
                _ => return,
            }
        } else if let Some((n, offset)) = redistributor_at(&self.machine, address) {
            let Some((register, part)) = redistributor_register(offset, bytes) else {
                return;
            };
            (part, self.hardware.read_redistributor(n, register, seen))
        } else {
            return;
        };
        let differs = |value: u64| (part.extract(value) ^ seen) & part.extract(expected.known) != 0;
        let earlier = creadr_before.filter(|_| self.creadr_at(address).is_some());
        if differs(expected.value) && earlier.is_none_or(differs) {
            let (source, path) = name(&self.machine, address);
            let value = format_args!("{:#x}", part.extract(expected.value));
            account.disagree(
                Kind::Hardware,
                source,
                path,
                value,
                format_args!("{seen:#x}"),
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use its_el2::AccessSize;
    use its_gic::register::Baser;

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
        let start = Position {
            c: 0x80,
            j: 0x80,
            w: 0x80,
        };
        assert_eq!(world.model.position(0), Some(start));
        assert_eq!(world.model.records(0), Some((1, 3)));
        assert!(world.model.is_settled(0));
        assert!(world.model.mapped(0).eq([(1, 4)]));
        assert_eq!(world.model.page(QUEUE), Some(PageState::EL2));
        assert!(world.model.page(ITT).unwrap().is_held());
    }

    #[test]
    fn direct_registers() {
        let mut world = World::booted();
        for (offset, value) in [
            (0x80, World::cbaser()),
            (0x88, 0x80),
            (0x90, 0x80),
            (0x100, World::baser(0)),
            (0x108, World::baser(1)),
            (0x110, 0),
        ] {
            world.shows(ITS + offset, value, &[]);
            let read = read(ITS + offset, AccessSize::Double);
            world.differ(read, Outcome::Value(value ^ 0x20), &[], Kind::Hardware, "");
        }
        let half = read(ITS + 0x84, AccessSize::Word);
        world.agree(half, Outcome::Value(1 << 31), &[]);
        world.agree(
            read(ITS, AccessSize::Word),
            Outcome::Value(1 << 31 | 1),
            &[],
        );
        world.differ(
            read(ITS, AccessSize::Word),
            Outcome::Value(0),
            &[],
            Kind::Hardware,
            "",
        );
        world.poisons(write(ITS + 0x80, AccessSize::Word, 0), &[]);
        world.poisons(write(ITS + 0x100, AccessSize::Word, 0), &[]);
        // Disabled, a half of CBASER resets CREADR and leaves CWRITER.
        world.agree(write(ITS, AccessSize::Word, 0), DONE, &[]);
        world.agree(write(ITS + 0x84, AccessSize::Word, 1 << 31), DONE, &[]);
        world.shows(ITS + 0x90, 0, &[]);
        world.shows(ITS + 0x88, 0x80, &[]);
        let pendbaser = REDISTRIBUTORS[0] + 0x78;
        world.shows(pendbaser, at(LPI_PENDING[0]), &[]);
        world.poisons(write(pendbaser, AccessSize::Double, 0), &[]);
    }

    #[test]
    fn page_size_and_indirect_stick_by_character() {
        let mut world = World::new(machine());
        let asked = Baser::WRITABLE;
        world.writes(ITS + 0x108, asked);
        let kept = asked & !(1 << 62) & !0x300 | 4 << 56 | 7 << 48;
        world.shows(ITS + 0x108, kept, &[]);
        world.writes(ITS + 0x100, asked);
        world.shows(ITS + 0x100, asked & !0x300 | 1 << 56 | 7 << 48, &[]);
        world.poisons(write(ITS, AccessSize::Word, 1), &[]);
    }

    #[test]
    fn fetching_needs_an_enabled_queue_and_the_written_words() {
        let world = World::booted();
        world.differ(
            ADVANCE,
            DONE,
            &[consumed(0x80, SYNC)],
            Kind::Hardware,
            "fetch",
        );
        let mut world = world;
        world.agree(
            Action::StoreCommand {
                cpu: 0,
                address: at(QUEUE) + 0x80,
                words: SYNC.encode(),
            },
            DONE,
            &[],
        );
        world.writes(ITS + 0x88, 0xa0);
        assert!(!world.model.is_settled(0));
        world.clone().agree(ADVANCE, DONE, &[consumed(0x80, SYNC)]);
        world.differ(
            ADVANCE,
            DONE,
            &[consumed(0xa0, SYNC)],
            Kind::Hardware,
            "fetch",
        );
        world.differ(
            ADVANCE,
            DONE,
            &[consumed(0x80, mapc(0, 0))],
            Kind::Hardware,
            "slot",
        );
        let error = stalled(0x80, SYNC, None);
        world.differ(ADVANCE, DONE, &[error], Kind::Hardware, "SYNC");
        // Beyond the queue: the ITS stops or takes any value. Disabled: it stops.
        let mut beyond = world.clone();
        beyond.writes(ITS + 0x88, 0x1000);
        beyond.agree(ADVANCE, DONE, &[consumed(0x80, SYNC)]);
        let mut off = world.clone();
        off.agree(
            write(ITS, AccessSize::Word, 0),
            DONE,
            &[consumed(0x80, SYNC)],
        );
        off.differ(
            ADVANCE,
            DONE,
            &[consumed(0xa0, SYNC)],
            Kind::Hardware,
            "fetch",
        );
    }

    #[test]
    fn host_accesses_after_finalize() {
        let (mut open, mut closing) = (World::booted(), World::closing());
        let load = |page| Action::Load {
            cpu: 1,
            address: at(page),
        };
        open.agree(load(0x80000), Outcome::Value(0), &[]);
        closing.agree(load(0x80000), Outcome::Refused, &[]);
        closing.differ(
            load(0x80000),
            Outcome::Value(0),
            &[],
            Kind::Access,
            "0x80000",
        );
        closing.differ(load(FREE), Outcome::Refused, &[], Kind::Access, "0x80400");
        let guarded = World::guarded();
        let store = |page| Action::Store {
            cpu: 0,
            address: at(page),
            value: 1,
        };
        for refused in [QUEUE, LEVEL1, LEVEL2, COLLECTIONS, PRIVATE, DESCRIPTOR] {
            guarded.differ(store(refused), DONE, &[], Kind::Access, "page");
        }
        for allowed in [SHADOW, SHADOW_LEVEL1, ITT, LIST] {
            guarded.differ(store(allowed), Outcome::Refused, &[], Kind::Access, "page");
        }
    }

    #[test]
    fn a_store_into_an_itt_makes_its_events_unknown() {
        let mut world = World::guarded();
        assert!(matches!(
            world.model.translate(0, 1, 4),
            Expected::Known(Some(_))
        ));
        world.stores(at(ITT) + 0x800, 0);
        assert!(matches!(
            world.model.translate(0, 1, 4),
            Expected::Known(Some(_))
        ));
        world.stores(at(ITT) + 0x7f8, 0);
        assert_eq!(world.model.translate(0, 1, 4), Expected::Unknown);
        let msi = Action::Msi {
            its: 0,
            device_id: 1,
            event_id: 4,
        };
        world.poisons(msi, &[]);
    }

    #[test]
    fn msis_need_mapping_enable_and_lpis() {
        let msi = |event_id| Action::Msi {
            its: 0,
            device_id: 1,
            event_id,
        };
        let mut world = World::booted();
        for dropped in [0, 5, 256] {
            world.agree(msi(dropped), DONE, &[]);
            assert_eq!(world.model.pending(0), Expected::Known(&BTreeSet::new()));
        }
        let mut beyond = world.clone();
        beyond.agree(msi(1 << 16), DONE, &[]);
        assert_eq!(beyond.model.pending(0), Expected::Known(&BTreeSet::new()));
        beyond.agree(msi(1 << 16 | 4), DONE, &[]);
        assert_eq!(beyond.model.pending(0), Expected::Unknown);
        let mut off = world.clone();
        off.agree(write(ITS, AccessSize::Word, 0), DONE, &[]);
        off.agree(msi(4), DONE, &[]);
        assert_eq!(off.model.pending(0), Expected::Known(&BTreeSet::new()));
        world.agree(msi(4), DONE, &[]);
        assert_eq!(
            world.model.pending(0),
            Expected::Known(&BTreeSet::from([8200]))
        );
        world.agree(write(REDISTRIBUTORS[0], AccessSize::Word, 0), DONE, &[]);
        world.poisons(msi(4), &[]);
    }

    #[test]
    fn page_events_must_be_as_the_ghost_says() {
        let world = World::guarded();
        let share = |result| Event::Page {
            change: PageChange::Share,
            pages: Pages {
                first: QUEUE,
                count: 1,
            },
            result,
        };
        let call = hypercall(0, Hypercall::HostShareHyp, [QUEUE, 0, 0, 0]);
        let eperm = Err(Errno::Eperm);
        world.clone().agree(call, returned(-1), &[share(eperm)]);
        world.differ(
            call,
            returned(-1),
            &[share(Ok(()))],
            Kind::Hardware,
            "0x80100.Share",
        );
        let wrong = [share(Err(Errno::Enomem)), Event::Injected];
        world.differ(call, returned(-12), &wrong, Kind::Hypercall, "x1");
        let stray = [page(PageChange::Share, FREE)];
        world.differ(ADVANCE, DONE, &stray, Kind::Ownership, "page 0x80400.host");
    }

    #[test]
    fn poison() {
        let world = World::guarded();
        let judgement = world.clone().play(ADVANCE, Outcome::Stopped, &[]);
        assert_eq!(judgement.poisoned, Some("EL2 did not return"));
        world.poisons(ADVANCE, &[Event::StaleRead { address: 0 }]);
        world.poisons(ADVANCE, &[Event::Unpredictable { address: 0 }]);
    }

    #[test]
    fn creadr_may_be_read_just_before_a_command_is_consumed() {
        let mut world = World::booted();
        let words = SYNC.encode();
        let (cpu, address) = (0, at(QUEUE) + 0x80);
        world.agree(
            Action::StoreCommand {
                cpu,
                address,
                words,
            },
            DONE,
            &[],
        );
        // Consumed before the write that posted it completes.
        let done = [consumed(0x80, SYNC)];
        let post = write(ITS + 0x88, AccessSize::Double, 0xa0);
        world.clone().agree(post, DONE, &done);
        world.agree(post, DONE, &[]);
        let creadr = read(ITS + 0x90, AccessSize::Double);
        for either in [0x80, 0xa0] {
            world.clone().agree(creadr, Outcome::Value(either), &done);
        }
        world.differ(creadr, Outcome::Value(0xc0), &done, Kind::Hardware, "");
    }

    #[test]
    fn a_stall_and_a_retry_in_one_action_leave_either() {
        let mut world = World::booted();
        let bad = mapd(2, 16, FREE);
        let (cpu, address, words) = (0, at(QUEUE) + 0x80, bad.encode());
        world.agree(
            Action::StoreCommand {
                cpu,
                address,
                words,
            },
            DONE,
            &[],
        );
        let retry = write(ITS + 0x88, AccessSize::Double, 0xa1);
        let event = stalled(0x80, bad, Some(0x1_0802));
        world.agree(retry, DONE, &[event]);
        world.clone().agree(ADVANCE, DONE, &[event]);
        let creadr = read(ITS + 0x90, AccessSize::Double);
        world.clone().agree(creadr, Outcome::Value(0x80), &[]);
        world.agree(creadr, Outcome::Value(0x81), &[]);
        world.differ(
            creadr,
            Outcome::Value(0x80),
            &[],
            Kind::Hardware,
            "its0.creadr",
        );
        world.differ(ADVANCE, DONE, &[event], Kind::Hardware, "its0.fetch");
        // In actions of their own there is no doubt.
        world.agree(retry, DONE, &[]);
        world.agree(ADVANCE, DONE, &[event]);
        world.differ(
            creadr,
            Outcome::Value(0x80),
            &[],
            Kind::Hardware,
            "its0.creadr",
        );
    }

    #[test]
    fn nothing_is_said_of_hardware_once_it_is_poisoned() {
        let mut world = World::new(machine());
        let on = write(ITS, AccessSize::Word, 1);
        let judgement = world.play(on, DONE, &[consumed(0, SYNC)]);
        assert!(judgement.poisoned.is_some());
        assert_eq!(judgement.disagreements, []);
    }

    #[test]
    fn zeroing_a_table_in_use_poisons() {
        let world = World::closing();
        world.poisons(ADVANCE, &[Event::PageZeroed { page: LEVEL1 }]);
        world.poisons(ADVANCE, &[Event::PageZeroed { page: LEVEL2 }]);
        let mut itt = world.clone();
        itt.agree(ADVANCE, DONE, &[Event::PageZeroed { page: ITT }]);
        assert_eq!(itt.model.translate(0, 1, 4), Expected::Unknown);
    }

    #[test]
    fn an_msi_beside_a_discard_may_come_before_or_after() {
        let mut world = World::booted();
        let discard = Command::Discard {
            device_id: 1,
            event_id: 4,
        };
        let (cpu, address, words) = (0, at(QUEUE) + 0x80, discard.encode());
        world.agree(
            Action::StoreCommand {
                cpu,
                address,
                words,
            },
            DONE,
            &[],
        );
        world.writes(ITS + 0x88, 0xa0);
        let msi = Action::Msi {
            its: 0,
            device_id: 1,
            event_id: 4,
        };
        world.agree(msi, DONE, &[consumed(0x80, discard)]);
        assert_eq!(world.model.pending(0), Expected::Unknown);
    }

    #[test]
    fn lpis_that_a_redistributor_cannot_take_are_dropped() {
        let msi = Action::Msi {
            its: 0,
            device_id: 1,
            event_id: 4,
        };
        let dropped = |mut world: World| {
            world.agree(msi, DONE, &[]);
            world.model.pending(0) == Expected::Known(&BTreeSet::new())
        };
        let mut world = World::booted();
        assert!(!dropped(world.clone()));
        world.model.hardware.redistributors[0].propbaser.value -= 1;
        assert!(dropped(world));
        let mut off = World::booted();
        off.model.hardware.redistributors[0].enabled = Expected::Known(false);
        assert!(dropped(off));
    }

    #[test]
    fn pending_state_comes_from_the_table_without_ptz() {
        let mut world = World::new(machine());
        let base = REDISTRIBUTORS[0];
        world.writes(base + 0x70, at(LPI_CONFIGURATION) | 13);
        world.writes(base + 0x78, at(LPI_PENDING[0]));
        let on = write(base, AccessSize::Word, 1);
        world.clone().agree(on, DONE, &[]);
        world.stores(at(LPI_PENDING[0]) + 0x400, 1);
        world.agree(on, DONE, &[]);
        assert_eq!(world.model.pending(0), Expected::Unknown);
        assert_eq!(world.model.pending(1), Expected::Known(&BTreeSet::new()));
    }
}
