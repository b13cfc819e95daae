//! An ITS in the phase Guarded: the register table and the queue (P5 to P11).

use its_architecture::{RETRY, STALLED};
use its_declaration::{
    Attributes, BaseReads, Bytes, CreadrReads, CtlrReads, Declaration, Identification, Iidr,
    Refusal, Resume, Retry, Timeout, UnknownRegisters,
};
use its_gic::geometry::Pages;
use its_gic::register::{Baser, Cbaser, Ctlr, OFFSET_MASK};
use its_gic::{Command, Part, Register};
use its_machine::{AccessSize, Direction, Event};

use crate::account::Write;
use crate::mappings::{Effect, Mappings};
use crate::queue::Queues;
use crate::trap::{ItsTrap, Reading, Selected, device_reads, of};
use crate::{Rule, rules};

/// How far the ITS is on its way to rest (at rest, below P11).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stop {
    Running,
    /// The host cleared Enabled.
    Stopping,
    /// Then Quiescent read 1, CBASER as EL2 left it, and CREADR from C to J.
    AtRest,
    /// It stopped in another way: it lost power at work, and stays off.
    Lost,
}

/// What EL2 must know of an ITS in the phase Guarded.
#[derive(Clone, Debug)]
pub(crate) struct GuardedIts {
    pub(crate) its: usize,
    /// Physical address of its registers.
    pub(crate) base: u64,
    /// Its private pages, and its descriptor.
    pub(crate) own: [Pages; 2],
    /// CTLR as at set-up, without Enabled and Quiescent.
    pub(crate) ctlr: u64,
    /// Enabled as the host wrote it and EL2 accepted it.
    pub(crate) is_enabled: bool,
    /// The host wrote CBASER, and EL2 is to write it with Enabled (the point `resume`).
    pub(crate) awaits_program: bool,
    /// As at set-up.
    pub(crate) cbaser: u64,
    /// What CBASER and BASERs show the host, and how EL2 left them: with the Valid last accepted.
    pub(crate) shown_cbaser: u64,
    pub(crate) shown_baser: [u64; 8],
    pub(crate) queues: Queues,
    pub(crate) mappings: Mappings,
    pub(crate) stop: Stop,
}

/// InnerCache, OuterCache and Shareability, the same bits of CBASER and BASER.
const ATTRIBUTES: u64 = 7 << 59 | 7 << 53 | 3 << 10;

/// Type and Entry_Size of BASER.
const READ_ONLY: u64 = 7 << 56 | 0x1f << 48;

/// A value that differs from the recorded one in these bits at most.
fn with_bits_of(bits: u64, recorded: u64, new: u64) -> u64 {
    recorded & !bits | new & bits
}

impl GuardedIts {
    /// Judges a trapped access to its frames, and what EL2 did for it.
    pub(crate) fn judge(&mut self, trap: &mut ItsTrap) {
        let selected = trap.register();
        let Some(Selected { register, part, .. }) = selected else {
            // The paragraph on sizes; the row on the translation frame.
            return trap.judge_reading(Reading::Zero, None, None);
        };
        match trap.direction {
            Direction::Write(value) => {
                self.write(register, (part, value), trap);
                if register != Register::Ctlr {
                    self.notice_rest(self.since_start(trap.events));
                }
            }
            Direction::Read => {
                let looks = self.declared().queue.creadr == CreadrReads::Look;
                if register == Register::Creadr && looks {
                    self.take_up(trap.events, trap);
                }
                self.notice_rest(self.since_start(trap.events));
                // Decision 6: what the host sees of Quiescent, EL2 learns from.
                if register == Register::Ctlr && self.stop == Stop::Stopping {
                    self.is_at_rest(trap);
                }
                let (reading, declared) = self.reading(register);
                trap.judge_reading(reading, selected, declared);
            }
        }
    }

    /// Whether the hardware's queue is at an address.
    pub(crate) fn has_queue(&self, address: u64) -> bool {
        let queue = self.queues.queue;
        address.wrapping_sub(queue.address) < queue.bytes
    }

    /// Whether a level-1 table is at an address.
    pub(crate) fn has_level1(&self, address: u64) -> bool {
        let mut level1 = (0..8).filter_map(|n| self.mappings.table(n)).filter(|one| one.indirect);
        level1.any(|table| address.wrapping_sub(table.address) < table.bytes)
    }

    pub(crate) fn declared(&self) -> &Declaration {
        &self.mappings.declared
    }

    /// The register table, column "read", and what says so, if it is not POLICY.md.
    fn reading(&self, register: Register) -> (Reading, Option<&'static str>) {
        let Declaration { traps, queue, registers, .. } = self.declared();
        let hardware = Reading::Hardware(register);
        let shown_if = |is_shown| if is_shown { hardware } else { Reading::Zero };
        match register {
            Register::Cbaser | Register::Baser(_) if registers.bases == BaseReads::Hardware => {
                (hardware, registers.bases.declared())
            }
            Register::Cbaser => {
                (Reading::Value(self.shown_cbaser), registers.attributes.declared())
            }
            Register::Cwriter => (Reading::Value(self.queues.w), None),
            Register::Creadr if queue.creadr == CreadrReads::Hardware => {
                (hardware, queue.creadr.declared())
            }
            Register::Creadr => {
                let declared = queue.creadr.declared().or(queue.refusal.declared());
                (Reading::Creadr(self.creadr()), declared)
            }
            Register::Ctlr if registers.ctlr == CtlrReads::Accepted => {
                let enabled = u64::from(self.is_enabled);
                (Reading::Enabled(enabled), registers.ctlr.declared())
            }
            Register::Baser(n) => {
                let shown = self.shown_baser[usize::from(n & 7)];
                (Reading::Value(shown), registers.attributes.declared())
            }
            Register::Statusr | Register::Partidr | Register::Reserved(_) => {
                let unknown = traps.unknown_registers;
                (shown_if(unknown == UnknownRegisters::Hardware), unknown.declared())
            }
            Register::Typer => {
                let hidden = registers.typer_hidden;
                let shown = self.mappings.typer.into_bits() & !hidden;
                (Reading::Value(shown), (hidden != 0).then_some("registers.typer-hidden"))
            }
            Register::Iidr => {
                (shown_if(registers.iidr == Iidr::Hardware), registers.iidr.declared())
            }
            Register::Identification(_) => {
                let identification = registers.identification;
                (shown_if(identification == Identification::Hardware), identification.declared())
            }
            Register::Ctlr | Register::Mpamidr | Register::Mpidr | Register::Umsir => {
                (hardware, None)
            }
        }
    }

    /// What CREADR shows the host (P10).
    fn creadr(&self) -> u64 {
        let Declaration { queue, .. } = self.declared();
        let shows = queue.refusal == Refusal::Stall && queue.creadr != CreadrReads::Hardware;
        self.queues.creadr(shows)
    }

    /// What a write of CBASER or BASER at rest may change, of what it was.
    fn changeable(&self) -> u64 {
        match self.declared().registers.attributes {
            Attributes::Fixed => Baser::VALID,
            Attributes::Host => Baser::VALID | ATTRIBUTES,
        }
    }

    /// The register table, column "write". What is not here is ignored.
    fn write(&mut self, register: Register, (part, value): (Part, u64), trap: &mut ItsTrap) {
        match register {
            Register::Ctlr => self.write_ctlr(value & 1 != 0, trap),
            Register::Cbaser => self.write_cbaser(part, value, trap),
            Register::Cwriter => self.write_cwriter(part, value, trap),
            Register::Baser(n) => self.write_baser(usize::from(n & 7), part, value, trap),
            _ => {}
        }
    }

    /// The hardware's register, which EL2 must write.
    pub(crate) fn forwarded(
        &self,
        register: Register,
        value: u64,
        mask: u64,
        source: &'static str,
    ) -> Write {
        let address = self.base + register.offset();
        Write { address, size: AccessSize::Double, value, mask, required: true, source }
    }

    fn write_ctlr(&mut self, enable: bool, trap: &mut ItsTrap) {
        let write = self.write_of_ctlr(enable, "CTLR");
        let base = self.base;
        let written =
            |event: &Event| matches!(event, Event::DeviceWrite { address, .. } if *address == base);
        let place = trap.events.iter().position(written);
        let (before, after) = trap.events.split_at(place.unwrap_or(trap.events.len()));
        self.is_enabled &= enable;
        match (trap.before.enabled, enable) {
            // Taken by a look of its own, before it is forwarded.
            (true, false) => {
                self.look(before, trap);
                // P11: something else has set Enabled again.
                if self.stop == Stop::Lost {
                    return;
                }
                trap.account.writes.push(write);
                if place.is_some() {
                    self.stop = Stop::Stopping;
                    self.notice_rest(after);
                }
            }
            (true, true) => {}
            // Not said: forwarding it once more changes nothing.
            (false, false) => {
                trap.account.writes.push(Write { required: false, ..write });
                self.notice_rest(trap.events);
            }
            (false, true) => {
                self.notice_rest(before);
                if self.awaits_program {
                    if !self.may_program(trap) {
                        return;
                    }
                    self.program(trap);
                } else if !self.may_enable(trap) {
                    return;
                }
                trap.account.writes.push(write);
                self.stop = Stop::Running;
                self.is_enabled = true;
                if place.is_some() {
                    self.take_up(after, trap);
                }
            }
        }
    }

    /// CTLR 0 to 1: at rest, C = J = CREADR = CWRITER, queue and tables as recorded and Valid.
    fn may_enable(&mut self, trap: &mut ItsTrap) -> bool {
        let (hardware, j) = (&trap.before, self.queues.j);
        let empty =
            self.queues.c == j && hardware.creadr == j && hardware.cwriter.value & OFFSET_MASK == j;
        let same = |value: u64, recorded: u64, writable: u64| (value ^ recorded) & writable == 0;
        let queue = same(hardware.cbaser.value, self.cbaser, Cbaser::WRITABLE);
        let table = |n: usize| {
            let recorded = self.mappings.baser[n];
            !Baser::from_bits(recorded).valid()
                || same(hardware.baser[n].value, recorded, Baser::WRITABLE)
        };
        empty && queue && (0..8).all(table) && self.is_at_rest(trap)
    }

    /// The point `resume`: whether EL2 can program the hardware: at rest, nothing in flight, all as
    /// at set-up and Valid as the host wrote it.
    fn may_program(&mut self, trap: &mut ItsTrap) -> bool {
        let table = |n: usize| (self.shown_baser[n] ^ self.mappings.baser[n]) & Baser::VALID == 0;
        let valid = Cbaser::from_bits(self.shown_cbaser).valid() && (0..8).all(table);
        valid && self.queues.c == self.queues.j && self.is_at_rest(trap)
    }

    /// The point `resume`: expects that EL2 writes what the host wrote, in this order.
    fn program(&mut self, trap: &mut ItsTrap) {
        let source = self.declared().registers.resume.source();
        for n in (0..8).filter(|n| Baser::from_bits(self.mappings.baser[*n]).valid()) {
            let (register, value) = (Register::Baser(n as u8), self.mappings.baser[n]);
            trap.account.writes.push(self.forwarded(register, value, Baser::WRITABLE, source));
        }
        let cbaser = self.forwarded(Register::Cbaser, self.cbaser, Cbaser::WRITABLE, source);
        let cwriter = self.forwarded(Register::Cwriter, 0, u64::MAX, source);
        trap.account.writes.extend([cbaser, cwriter]);
        self.awaits_program = false;
    }

    fn write_cbaser(&mut self, part: Part, value: u64, trap: &mut ItsTrap) {
        let new = part.insert(self.shown_cbaser, value);
        let same = (new ^ self.cbaser) & Cbaser::WRITABLE & !self.changeable() == 0;
        if !same || !self.may_resume(trap) || !self.is_at_rest(trap) {
            return;
        }
        self.cbaser = with_bits_of(ATTRIBUTES & self.changeable(), self.cbaser, new);
        self.shown_cbaser = with_bits_of(Cbaser::VALID, self.cbaser, new);
        let source = self.declared().registers.attributes.declared().unwrap_or("CBASER");
        self.awaits_program = self.declared().registers.resume == Resume::El2;
        if !self.awaits_program {
            let cbaser = self.forwarded(Register::Cbaser, self.shown_cbaser, u64::MAX, source);
            let cwriter = self.forwarded(Register::Cwriter, 0, u64::MAX, "CBASER");
            trap.account.writes.extend([cbaser, cwriter]);
        }
        self.queues = Queues::new(self.queues.queue, self.queues.shadow);
        // P11: taken as done, but what that would release stays borrowed for good.
        while !self.mappings.in_flight.is_empty() {
            self.mappings.complete();
        }
    }

    /// Whether the host may write CBASER and BASER at all.
    fn may_resume(&self, trap: &mut ItsTrap) -> bool {
        let resume = self.declared().registers.resume;
        trap.account.declared = resume.declared();
        resume != Resume::None
    }

    fn write_baser(&mut self, n: usize, part: Part, value: u64, trap: &mut ItsTrap) {
        let recorded = self.mappings.baser[n];
        let set_up_valid = Baser::from_bits(recorded).valid();
        let new = part.insert(self.shown_baser[n], value);
        let same = (new ^ recorded) & Baser::WRITABLE & !self.changeable() == 0;
        if !same || !self.may_resume(trap) || !self.rests_for(set_up_valid, trap) {
            return;
        }
        // A table that was not valid at set-up stays so. The host cannot tell whether the write is
        // ignored or forwarded without Valid, but the attributes stay too (decision 11).
        let is_ignored = !set_up_valid && new & Baser::VALID != 0;
        if !is_ignored {
            let recorded = with_bits_of(ATTRIBUTES & self.changeable(), recorded, new);
            self.mappings.baser[n] = recorded;
            self.shown_baser[n] = with_bits_of(Baser::VALID, recorded, new);
        }
        if self.declared().registers.resume == Resume::El2 {
            return;
        }
        let (value, mask) = (self.shown_baser[n], !READ_ONLY);
        let write = self.forwarded(Register::Baser(n as u8), value, mask, "BASER");
        trap.account.writes.push(Write { required: set_up_valid, ..write });
    }

    fn write_cwriter(&mut self, part: Part, value: u64, trap: &mut ItsTrap) {
        let enabled = self.look(trap.events, trap);
        let new = part.insert(self.queues.w, value);
        let mut retry = false;
        if self.queues.accepts(new & OFFSET_MASK) {
            self.queues.w = new & OFFSET_MASK;
            let Declaration { queue: declared, .. } = *self.declared();
            if new & RETRY != 0 {
                trap.account.declared = declared.retry.declared();
            }
            // P10: without a stall that CREADR shows, Retry has no effect.
            let shown = enabled && self.creadr() & STALLED != 0;
            let asked = shown && new & RETRY != 0 && declared.retry == Retry::Judged;
            let stalled = self.queues.stalled;
            retry = asked && stalled && self.judge_stalled(trap.events, trap);
            let queues = &mut self.queues;
            // P10: only Retry clears it; after a loss of power no look says otherwise.
            queues.stalled &= !retry;
            // P10: if the stalled command fails again, nothing changes, at J neither.
            queues.refused &= !(asked && (!stalled || retry));
            queues.refused &= !(enabled && declared.refusal == Refusal::Silent);
        }
        if enabled {
            self.submit(retry, trap.events, trap);
        }
    }

    /// P9, P10: the hardware's CWRITER is written once with J if J moved, and with Retry if that
    /// goes to the hardware; both in one write is as good.
    fn expect_writer(&self, before: u64, retry: bool, events: &[Event], trap: &mut ItsTrap) {
        let j = self.queues.j;
        let write = |value| self.forwarded(Register::Cwriter, value, u64::MAX, "P9");
        let Write { address, size, value, .. } = write(j | RETRY);
        let merged = Event::DeviceWrite { address, size, value };
        if retry && j != before && events.contains(&merged) {
            return trap.account.writes.push(write(j | RETRY));
        }
        if retry {
            trap.account.writes.push(write(before | RETRY));
        }
        if j != before {
            trap.account.writes.push(write(j));
        }
    }

    // ---- the queue

    /// P9: a look, after which EL2 judges and moves the hardware's CWRITER.
    fn take_up(&mut self, events: &[Event], trap: &mut ItsTrap) {
        if self.look(events, trap) {
            self.submit(false, events, trap);
        }
    }

    /// P9: what EL2 judges and writes, and how long it waits. `retry`: a stalled command is taken
    /// again. `events` start where EL2 may begin to.
    fn submit(&mut self, retry: bool, mut events: &[Event], trap: &mut ItsTrap) {
        let Declaration { numbers, queue: declared, .. } = *self.declared();
        let mut room = numbers.commands_per_trap.saturating_sub(u32::from(retry));
        if declared.polls == 0 {
            let before = self.queues.j;
            self.judge_queue(&mut room, events, trap);
            return self.expect_writer(before, retry, events, trap);
        }
        if retry {
            self.expect_writer(self.queues.j, true, events, trap);
            events = self.poll(declared.polls, events, trap);
        }
        while room > 0 && !self.queues.stalled && self.stop != Stop::Lost {
            let before = self.queues.j;
            let rest = self.judge_queue(&mut room, events, trap);
            if self.queues.j == before {
                return;
            }
            self.expect_writer(before, false, events, trap);
            events = self.poll(declared.polls, rest, trap);
            if !self.mappings.in_flight.is_empty() {
                return;
            }
        }
    }

    /// The point `polls`: after a write of CWRITER EL2 reads CREADR until all is consumed or the
    /// ITS stalls, so many times at most. Returns the events after that.
    fn poll<'a>(&mut self, polls: u32, events: &'a [Event], trap: &mut ItsTrap) -> &'a [Event] {
        let cwriter = self.base + Register::Cwriter.offset();
        let written = |event: &Event| match event {
            Event::DeviceWrite { address, .. } => *address == cwriter,
            _ => false,
        };
        // One that is missing is reported as that.
        let Some(start) = events.iter().position(written) else {
            return events;
        };
        let mut rest = &events[start + 1..];
        for _ in 0..polls {
            if !self.is_waiting() {
                return rest;
            }
            let Some((creadr, after)) = self.read_before_copy(rest) else {
                self.report_polls(polls, "fewer", trap);
                return rest;
            };
            rest = after;
            // Decision 12; another agent may have taken the ITS's power meanwhile.
            if self.queues.may_reach(creadr & OFFSET_MASK) {
                self.consume(creadr, trap);
            }
        }
        if self.is_waiting() && self.read_before_copy(rest).is_some() {
            self.report_polls(polls, "more", trap);
        }
        self.give_up(polls, rest, trap)
    }

    /// CTLR, which EL2 must write with this Enabled.
    pub(crate) fn write_of_ctlr(&self, enable: bool, source: &'static str) -> Write {
        let value = self.ctlr | u64::from(enable);
        let write = self.forwarded(Register::Ctlr, value, 0x7fff_ffff, source);
        Write { size: AccessSize::Word, ..write }
    }

    /// Whether the ITS still works on what it was given.
    pub(crate) fn is_waiting(&self) -> bool {
        !self.queues.stalled && !self.mappings.in_flight.is_empty()
    }

    fn report_polls(&self, polls: u32, seen: &str, trap: &mut ItsTrap) {
        let (rule, path) = (&rules::DIV_LOOK, format_args!("its{}.polls", self.its));
        let expected = format_args!("{polls} reads of CREADR, or all consumed");
        trap.account.judgement.disagree(rule, "queue.polls", path, expected, seen);
    }

    /// The next value of CREADR that EL2 read before it copied a slot or wrote a register, and the
    /// events after that.
    fn read_before_copy<'a>(&self, events: &'a [Event]) -> Option<(u64, &'a [Event])> {
        let creadr = self.base + Register::Creadr.offset();
        let writes = |event: &Event| matches!(event, Event::DeviceWrite { .. });
        let before =
            events.iter().take_while(|event| !self.queues.is_copy(event) && !writes(event));
        before.enumerate().find_map(|(index, event)| match *event {
            Event::DeviceRead { address, value, .. } if address == creadr => {
                Some((value, &events[index + 1..]))
            }
            _ => None,
        })
    }

    /// P9: a look among `events`: CREADR, then CTLR. C is taken and what was consumed is released.
    /// Whether EL2 must judge.
    fn look(&mut self, events: &[Event], trap: &mut ItsTrap) -> bool {
        let mut reads = device_reads(self.base, events);
        let look = reads.find_map(of(Register::Creadr)).zip(reads.find_map(of(Register::Ctlr)));
        let Some((creadr, ctlr)) = look else {
            let path = format_args!("its{}.look", self.its);
            let expected = "CREADR, then CTLR";
            let (rule, seen) = (&rules::DIV_LOOK, "no such reads");
            trap.account.judgement.disagree(rule, "P9", path, expected, seen);
            return false;
        };
        // P11: C and Stalled stay.
        if ctlr & 1 == 0 || self.stop == Stop::Lost {
            return false;
        }
        self.consume(creadr, trap)
    }

    /// P9: C is taken, and what was consumed is released. False if CREADR cannot be so.
    pub(crate) fn consume(&mut self, creadr: u64, trap: &mut ItsTrap) -> bool {
        let queues = &mut self.queues;
        queues.stalled = creadr & STALLED != 0;
        let offset = creadr & OFFSET_MASK;
        let consumed = queues.queue.distance(queues.c, offset);
        if consumed > self.mappings.in_flight.len() as u64 {
            let path = format_args!("its{}.creadr", self.its);
            let expected = format_args!("from {:#x} to {:#x}", queues.c, queues.j);
            let (rule, seen) = (&rules::ARCH_REGISTER, format_args!("{creadr:#x}"));
            trap.account.judgement.hardware(rule, "read", "P9", path, expected, seen);
            return false;
        }
        queues.c = offset;
        for _ in 0..consumed {
            if let Some(released) = self.mappings.complete() {
                trap.ledger.release_itt(released);
            }
        }
        true
    }

    /// P9, P10: judges from J towards W, at most as many as there is `room` for. `events` start
    /// where EL2 may begin to. Returns those from the last copy on.
    fn judge_queue<'a>(
        &mut self,
        room: &mut u32,
        mut events: &'a [Event],
        trap: &mut ItsTrap,
    ) -> &'a [Event] {
        let mut since = events;
        while self.queues.j != self.queues.w
            && !self.queues.refused
            && !self.mappings.is_full()
            && *room > 0
        {
            *room -= 1;
            let j = self.queues.j;
            let Some((effect, rest)) = self.judge_slot(j, "P9", events, trap) else {
                return since;
            };
            since = events;
            events = rest;
            match effect {
                None => self.queues.refused = true,
                Some(effect) => {
                    self.mappings.in_flight.push_back(effect);
                    self.queues.j = self.queues.queue.after(j);
                }
            }
        }
        since
    }

    /// P10: the slot that the hardware stalled at is copied and judged afresh. Whether it passes.
    fn judge_stalled(&mut self, events: &[Event], trap: &mut ItsTrap) -> bool {
        let oldest = self.mappings.in_flight.front_mut();
        let old = oldest.map(|old| std::mem::replace(old, Effect::JudgedAfresh));
        let judged = self.judge_slot(self.queues.c, "P10", events, trap);
        let effect = judged.and_then(|(effect, _)| effect);
        if let Some(oldest) = self.mappings.in_flight.front_mut() {
            *oldest = effect.or(old).unwrap_or(Effect::Nothing);
        }
        if let (Some(Effect::Map { itt, .. }), Some(_)) = (old, effect) {
            trap.ledger.release_itt(itt);
        }
        effect.is_some()
    }

    /// Judges a slot by the first copy that EL2 took of it, against what EL2 did about it before
    /// it copied another. Its effect, if it passes, and the events after that; `None` if EL2 took
    /// no copy.
    fn judge_slot<'a>(
        &mut self,
        offset: u64,
        source: &'static str,
        events: &'a [Event],
        trap: &mut ItsTrap,
    ) -> Option<(Option<Effect>, &'a [Event])> {
        let its = self.its;
        let Some((words, window, rest)) = self.queues.copy(offset, events) else {
            let (path, expected) = (format_args!("its{its}.slot {offset:#x}"), "copied and judged");
            let judgement = &mut trap.account.judgement;
            judgement.disagree(&rules::DIV_UNJUDGED, source, path, expected, "not copied");
            return None;
        };
        trap.account.judgement.judged += 1;
        trap.ledger.witness(window);
        let command = Command::decode(words);
        let effect = self.mappings.judge(command, window, trap);
        trap.account.judgement.refused += u32::from(effect.is_none());
        let slot = self.queues.queue.slot(offset);
        let written = window.iter().find_map(|event| match event {
            Event::CommandWritten { address, words } if *address == slot => Some(*words),
            _ => None,
        });
        trap.account.slots += u32::from(written.is_some());
        let queue = self.declared().queue;
        let source = self.mappings.source(command, effect.is_some(), trap.ledger);
        let is_skipped = effect.is_none() && queue.refusal == Refusal::Skipped;
        let right = match queue.bytes {
            _ if is_skipped => Command::Sync { rdbase: self.mappings.first_rdbase() }.encode(),
            Bytes::Canonical => canonical(command).encode(),
            Bytes::Verbatim => words,
        };
        let (refused, skipped) = (&rules::DIV_REFUSED, queue.refusal.source());
        let (rule, source, expected, seen): (&'static Rule, _, _, _) = match (effect, written) {
            (None, None) if is_skipped => (refused, skipped, "skipped".into(), "refused".into()),
            (None, Some(seen)) if is_skipped && seen != right => {
                let why = self.mappings.refused_by(command, trap.ledger).unwrap_or(skipped);
                (&rules::DIV_COMMAND, why, format!("{right:x?}"), format!("{seen:x?}"))
            }
            (None, Some(_)) if !is_skipped => {
                (&rules::DIV_COMMAND, source, "refused".into(), "accepted".into())
            }
            (Some(_), None) => (refused, source, "accepted".into(), "refused".into()),
            (Some(_), Some(seen)) if seen != right => {
                let source = queue.bytes.declared().unwrap_or(source);
                (&rules::DIV_BYTES, source, format!("{right:x?}"), format!("{seen:x?}"))
            }
            _ => return Some((effect.or(is_skipped.then_some(Effect::Nothing)), rest)),
        };
        let path = format_args!("its{its}.slot {offset:#x} {}", command.name());
        trap.account.judgement.disagree(rule, source, path, expected, seen);
        Some((effect.or(is_skipped.then_some(Effect::Nothing)), rest))
    }

    // ---- rest

    /// The events after EL2's last write of CTLR. EL2 writes it for a write of another register
    /// where polls run out (the point `timeout`).
    fn since_start<'a>(&self, events: &'a [Event]) -> &'a [Event] {
        if self.declared().queue.timeout == Timeout::Kept {
            return events;
        }
        let base = self.base;
        let writes =
            |event: &Event| matches!(event, Event::DeviceWrite { address, .. } if *address == base);
        &events[events.iter().rposition(writes).map_or(0, |last| last + 1)..]
    }

    /// Whether the ITS is at rest. EL2 must have looked, unless nothing `depends` on it.
    fn rests_for(&mut self, depends: bool, trap: &mut ItsTrap) -> bool {
        if depends {
            return self.is_at_rest(trap);
        }
        self.notice_rest(trap.events);
        self.stop == Stop::AtRest
    }

    /// Whether the ITS is at rest. EL2 must have looked, now or before.
    fn is_at_rest(&mut self, trap: &mut ItsTrap) -> bool {
        self.notice_rest(trap.events);
        let mut ctlr = device_reads(self.base, trap.events).filter_map(of(Register::Ctlr));
        if self.stop == Stop::Stopping && !ctlr.any(|ctlr| ctlr >> 31 & 1 == 0) {
            let (path, expected) = (format_args!("its{}.rest", self.its), "CTLR, then CBASER read");
            trap.account.judgement.disagree(&rules::DIV_REST, "P11", path, expected, "not read");
        }
        self.stop == Stop::AtRest
    }

    /// P11: Quiescent read 1 and CBASER, read after it, was as EL2 left it, and CREADR from C to J;
    /// or power was lost.
    pub(crate) fn notice_rest(&mut self, events: &[Event]) {
        let mut reads = device_reads(self.base, events);
        let ctlr = |read| of(Register::Ctlr)(read).map(|value| Ctlr::from_bits(value as u32));
        match self.stop {
            // Enabled is 0, and the host did not clear it.
            Stop::Running => {
                if reads.filter_map(ctlr).any(|ctlr| !ctlr.enabled()) {
                    self.stop = Stop::Lost;
                }
            }
            Stop::Stopping => {
                let rests = |ctlr: Ctlr| ctlr.quiescent() && !ctlr.enabled();
                if reads.any(|read| ctlr(read).is_some_and(rests)) {
                    let cbaser = reads.find_map(of(Register::Cbaser));
                    self.stop = self.stopped(cbaser, reads.find_map(of(Register::Creadr)));
                }
            }
            Stop::AtRest | Stop::Lost => {}
        }
    }

    /// What an ITS that is quiescent came to, by CBASER and CREADR as EL2 read them. After a loss
    /// of power CBASER is not as it was left, or firmware restored it and CREADR is 0.
    fn stopped(&self, cbaser: Option<u64>, creadr: Option<u64>) -> Stop {
        match (cbaser, creadr) {
            (None, _) => Stop::Stopping,
            (Some(cbaser), _) if (cbaser ^ self.shown_cbaser) & Cbaser::WRITABLE != 0 => Stop::Lost,
            (_, None) => Stop::Stopping,
            (_, Some(creadr)) if self.queues.may_reach(creadr & OFFSET_MASK) => Stop::AtRest,
            _ => Stop::Lost,
        }
    }

    /// P11: whether nobody can distinguish rest from a loss of power whose registers firmware
    /// restored: CREADR, which is then 0, could be 0 anyway.
    pub(crate) fn is_rest_in_doubt(&self) -> bool {
        self.stop == Stop::Stopping && self.queues.may_reach(0)
    }
}

/// The command as EL2 must pass it on: reserved bits, and what means nothing at V=0, cleared.
fn canonical(command: Command) -> Command {
    match command {
        Command::Mapd { device_id, valid: false, .. } => {
            Command::Mapd { device_id, size: 0, itt_address: 0, valid: false }
        }
        Command::Mapc { icid, valid: false, .. } => Command::Mapc { icid, rdbase: 0, valid: false },
        other => other,
    }
}

#[cfg(test)]
mod tests;
