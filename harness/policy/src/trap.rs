//! Trapped accesses: what the host must read, and which hardware registers EL2 must write (the
//! register table).

use its_gic::redistributor as gicr;
use its_gic::register::{Baser, Cbaser, Ctlr, FRAME_BYTES, OFFSET_MASK};
use its_gic::{Part, Register};
use its_machine::{AccessSize, Direction, Event};

use crate::account::{Account, Write};
use crate::queue::Stop;
use crate::{Phase, Policy, Rule, rules};
use its_architecture::Expected;
use its_architecture::{
    RETRY, Registers, STALLED, its_at, name, redistributor_at, redistributor_register,
};

/// What a trapped read must return.
enum Reading {
    Value(u64),
    /// CREADR, as of the last look.
    Creadr(u64),
    /// There is nothing for the host.
    Zero,
    /// What EL2 read from the hardware's register for it.
    Hardware(Register),
}

/// A trapped access to the control frame of an ITS.
struct ItsTrap<'a> {
    pub(crate) its: usize,
    /// From the start of the control frame.
    pub(crate) offset: u64,
    pub(crate) direction: Direction,
    /// What the host read.
    pub(crate) seen: u64,
    pub(crate) events: &'a [Event],
    /// The hardware's registers when the access began.
    pub(crate) before: Registers,
}

/// A trapped access to the frames of a redistributor.
struct RedistributorTrap<'a> {
    pub(crate) n: usize,
    pub(crate) direction: Direction,
    /// What the host read.
    pub(crate) seen: u64,
    pub(crate) events: &'a [Event],
    /// EnableLPIs when the access began.
    pub(crate) enabled: Expected<bool>,
}

/// What a trapped access is of, and the hardware when it began.
#[expect(clippy::large_enum_variant, reason = "one at a time, on the stack")]
pub(crate) enum Before {
    /// The offset is from the start of the frame.
    Its { its: usize, offset: u64, registers: Registers },
    Redistributor {
        n: usize,
        offset: u64,
        /// EnableLPIs.
        enabled: Expected<bool>,
    },
}

impl Policy {
    /// The hardware behind an address, as it is now; `None` where no device is.
    pub(crate) fn before(&self, address: u64) -> Option<Before> {
        if let Some((its, offset)) = its_at(&self.machine, address) {
            let registers = self.hardware.its[its].registers;
            return Some(Before::Its { its, offset, registers });
        }
        let (n, offset) = redistributor_at(&self.machine, address)?;
        let enabled = self.hardware.redistributors[n].enabled;
        Some(Before::Redistributor { n, offset, enabled })
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
        match *before {
            Before::Its { its, offset, registers: before } => {
                let trap = ItsTrap { its, offset, direction, seen, events, before };
                self.judge_its_trap(&trap, size, account);
            }
            Before::Redistributor { n, offset, enabled } => {
                let trap = RedistributorTrap { n, direction, seen, events, enabled };
                self.judge_redistributor_trap(&trap, offset, size, account);
            }
        }
    }

    /// A trapped access to a control or translation frame.
    fn judge_its_trap(&mut self, trap: &ItsTrap, size: AccessSize, account: &mut Account) {
        let (its, offset) = (trap.its, trap.offset);
        let closing = self.phase(its as u8) != Phase::Guarded;
        let (register, part) = match Register::select(offset, size.bytes()) {
            Some(selected) if offset < FRAME_BYTES => selected,
            // P2: reads of the translation frame may be forwarded too.
            _ if closing && offset >= FRAME_BYTES => return,
            // The paragraph on sizes; the row on the translation frame.
            _ => return self.judge_reading(trap, Reading::Zero, Part::Whole, account),
        };
        if let Direction::Write(value) = trap.direction {
            // P2: writes are ignored.
            if !closing {
                self.judge_register_write(trap, register, part, value, account);
            }
            if register != Register::Ctlr {
                self.notice_rest(its, trap.events);
            }
            return;
        }
        // P2: reads are forwarded.
        let reading = match closing {
            true => Reading::Hardware(register),
            false => self.guarded_reading(trap, register, account),
        };
        self.notice_rest(its, trap.events);
        self.judge_reading(trap, reading, part, account);
    }

    /// The register table, column "read".
    fn guarded_reading(
        &mut self,
        trap: &ItsTrap,
        register: Register,
        account: &mut Account,
    ) -> Reading {
        let its = trap.its;
        if register == Register::Creadr {
            let before = self.position_j(its);
            if self.look(its, trap.events, account) {
                self.judge_queue(its, trap.events, account);
            }
            self.expect_writer(its, before, false, trap.events, account);
        }
        let Some(guard) = &self.guards[its] else {
            return Reading::Hardware(register);
        };
        match register {
            Register::Cbaser => Reading::Value(guard.cbaser_value()),
            Register::Cwriter => Reading::Value(guard.w),
            Register::Creadr => Reading::Creadr(guard.creadr()),
            Register::Baser(n) => Reading::Value(guard.baser_value(usize::from(n & 7))),
            Register::Statusr | Register::Partidr | Register::Reserved(_) => Reading::Zero,
            Register::Ctlr
            | Register::Iidr
            | Register::Typer
            | Register::Mpamidr
            | Register::Mpidr
            | Register::Umsir
            | Register::Identification(_) => Reading::Hardware(register),
        }
    }

    fn judge_reading(&self, trap: &ItsTrap, reading: Reading, part: Part, account: &mut Account) {
        if trap.direction != Direction::Read {
            return;
        }
        let base = self.machine.its[trap.its];
        let is = |value: u64| (part.extract(value) == trap.seen, Some(value));
        let rule: &'static Rule = match reading {
            Reading::Creadr(_) => &rules::DIV_CREADR,
            Reading::Zero => &rules::DIV_ZERO,
            Reading::Value(_) | Reading::Hardware(_) => &rules::DIV_REGISTER,
        };
        let (right, expected) = match reading {
            Reading::Value(value) | Reading::Creadr(value) => is(value),
            Reading::Zero => is(0),
            // TYPER never changes: EL2 may remember it.
            Reading::Hardware(Register::Typer) => is(self.hardware.its[trap.its].typer.into_bits()),
            Reading::Hardware(register) => {
                let forwarded = |event: &Event| match event {
                    Event::DeviceRead { address, value, .. } => {
                        *address == base + register.offset() && part.extract(*value) == trap.seen
                    }
                    _ => false,
                };
                (trap.events.iter().any(forwarded), None)
            }
        };
        if right {
            return;
        }
        let (source, path) = name(&self.machine, base + trap.offset);
        let expected = match expected {
            Some(value) => format!("{:#x}", part.extract(value)),
            None => "the hardware's value".into(),
        };
        let seen = format_args!("{:#x}", trap.seen);
        account.judgement.disagree(rule, source, path, expected, seen);
    }

    /// The register table, column "write". What is not here is ignored.
    fn judge_register_write(
        &mut self,
        trap: &ItsTrap,
        register: Register,
        part: Part,
        value: u64,
        account: &mut Account,
    ) {
        match register {
            Register::Ctlr => self.write_ctlr(trap, value & 1 != 0, account),
            Register::Cbaser => self.write_cbaser(trap, part, value, account),
            Register::Cwriter => self.write_cwriter(trap, part, value, account),
            Register::Baser(n) => self.write_baser(trap, usize::from(n & 7), part, value, account),
            _ => {}
        }
    }

    fn write_ctlr(&mut self, trap: &ItsTrap, enable: bool, account: &mut Account) {
        let (its, base) = (trap.its, self.machine.its[trap.its]);
        let Some(guard) = &self.guards[its] else {
            return;
        };
        let write = Write {
            address: base,
            size: AccessSize::Word,
            value: guard.ctlr | u64::from(enable),
            mask: 0x7fff_ffff,
            required: true,
            source: "CTLR",
        };
        let forwarded =
            |event: &Event| matches!(event, Event::DeviceWrite { address, .. } if *address == base);
        let place = trap.events.iter().position(forwarded);
        match (trap.before.enabled, enable) {
            // Taken by a look of its own, before it is forwarded.
            (true, false) => {
                self.look(its, &trap.events[..place.unwrap_or(trap.events.len())], account);
                account.writes.push(write);
                if let (Some(guard), Some(place)) = (&mut self.guards[its], place) {
                    guard.stop = Stop::Stopping;
                    self.notice_rest(its, &trap.events[place..]);
                }
            }
            (true, true) => {}
            // Not said: forwarding it once more changes nothing.
            (false, false) => {
                account.writes.push(Write { required: false, ..write });
                self.notice_rest(its, trap.events);
            }
            (false, true) => {
                self.notice_rest(its, &trap.events[..place.unwrap_or(trap.events.len())]);
                if !self.may_enable(trap, account) {
                    return;
                }
                account.writes.push(write);
                let after = &trap.events[place.map_or(trap.events.len(), |place| place + 1)..];
                if let Some(guard) = &mut self.guards[its] {
                    guard.stop = Stop::Running;
                }
                let before = self.position_j(its);
                if place.is_some() && self.look(its, after, account) {
                    self.judge_queue(its, after, account);
                }
                self.expect_writer(its, before, false, after, account);
            }
        }
    }

    /// CTLR 0 to 1: at rest, C = J = CREADR = CWRITER, queue and tables as recorded and Valid.
    fn may_enable(&mut self, trap: &ItsTrap, account: &mut Account) -> bool {
        let hardware = &trap.before;
        let Some(guard) = &self.guards[trap.its] else {
            return false;
        };
        let empty = guard.c == guard.j
            && hardware.creadr == guard.j
            && hardware.cwriter.value & OFFSET_MASK == guard.j;
        let same = |value: u64, recorded: u64, writable: u64| (value ^ recorded) & writable == 0;
        let queue = Cbaser::from_bits(guard.cbaser).valid()
            && same(hardware.cbaser.value, guard.cbaser, Cbaser::WRITABLE);
        let table = |n: usize| {
            let recorded = guard.baser[n];
            !Baser::from_bits(recorded).valid()
                || same(hardware.baser[n].value, recorded, Baser::WRITABLE)
        };
        empty && queue && (0..8).all(table) && self.is_at_rest(trap, account)
    }

    fn write_cbaser(&mut self, trap: &ItsTrap, part: Part, value: u64, account: &mut Account) {
        let (its, base) = (trap.its, self.machine.its[trap.its]);
        let Some(guard) = &self.guards[its] else {
            return;
        };
        let new = part.insert(guard.cbaser_value(), value);
        let same = (new ^ guard.cbaser) & Cbaser::WRITABLE & !Cbaser::VALID == 0;
        if !same || !self.is_at_rest(trap, account) {
            return;
        }
        let Some(guard) = &mut self.guards[its] else {
            return;
        };
        guard.cbaser_valid = new & Cbaser::VALID != 0;
        let register = |register: Register, value, mask| Write {
            address: base + register.offset(),
            size: AccessSize::Double,
            value,
            mask,
            required: true,
            source: "CBASER",
        };
        account.writes.push(register(Register::Cbaser, new, Cbaser::WRITABLE));
        account.writes.push(register(Register::Cwriter, 0, u64::MAX));
        (guard.c, guard.j, guard.w) = (0, 0, 0);
        (guard.stalled, guard.refused) = (false, false);
        // P11: taken as done, but what that would release stays borrowed for good.
        while let Some(effect) = guard.in_flight.pop_front() {
            guard.complete(effect);
        }
    }

    fn write_baser(
        &mut self,
        trap: &ItsTrap,
        n: usize,
        part: Part,
        value: u64,
        account: &mut Account,
    ) {
        let (its, base) = (trap.its, self.machine.its[trap.its]);
        let Some(guard) = &self.guards[its] else {
            return;
        };
        let set_up_valid = Baser::from_bits(guard.baser[n]).valid();
        let new = part.insert(guard.baser_value(n), value);
        let same = (new ^ guard.baser[n]) & Baser::WRITABLE & !Baser::VALID == 0;
        if !same || !self.is_at_rest(trap, account) {
            return;
        }
        let valid = set_up_valid && new & Baser::VALID != 0;
        account.writes.push(Write {
            address: base + Register::Baser(n as u8).offset(),
            size: AccessSize::Double,
            value: new & !Baser::VALID | u64::from(valid) << 63,
            mask: Baser::WRITABLE,
            // A table that was not valid at set-up stays so: forwarded without Valid or ignored, it
            // is the same.
            required: set_up_valid,
            source: "BASER",
        });
        if let Some(guard) = &mut self.guards[its] {
            guard.baser_valid[n] = valid;
        }
    }

    fn write_cwriter(&mut self, trap: &ItsTrap, part: Part, value: u64, account: &mut Account) {
        let its = trap.its;
        let enabled = self.look(its, trap.events, account);
        let before = self.position_j(its);
        let Some(guard) = &mut self.guards[its] else {
            return;
        };
        let new = part.insert(guard.w, value);
        let offset = new & OFFSET_MASK;
        // P11: beyond the queue, or from C to before J: ignored whole.
        let judged = guard.queue.distance(guard.c, offset) < guard.queue.distance(guard.c, guard.j);
        let accepted = offset < guard.queue.bytes && !judged;
        let mut retry = false;
        if accepted {
            guard.w = offset;
            // P10: without a stall that CREADR shows, Retry has no effect.
            let stall = guard.creadr() & STALLED != 0;
            let asked = enabled && stall && new & RETRY != 0;
            let (stalled, refused) = (guard.stalled, guard.refused);
            retry = asked && stalled && self.judge_stalled(its, trap.events, account);
            let Some(guard) = &mut self.guards[its] else {
                return;
            };
            // P10: only Retry clears it; after a loss of power no look says otherwise.
            guard.stalled &= !retry;
            // P10: if the stalled command fails again, whether J is judged afresh is not said.
            guard.refused &= !(asked && (!stalled || retry));
            if asked && refused && stalled && !retry {
                guard.refused = !guard.copies_j(trap.events);
            }
        }
        if enabled {
            self.judge_queue(its, trap.events, account);
        }
        self.expect_writer(its, before, retry, trap.events, account);
    }

    fn position_j(&self, its: usize) -> u64 {
        self.guards[its].as_ref().map_or(0, |guard| guard.j)
    }

    /// P9, P10: the hardware's CWRITER is written once with J if J moved, and with Retry if that
    /// goes to the hardware; both in one write is as good.
    fn expect_writer(
        &self,
        its: usize,
        before: u64,
        retry: bool,
        events: &[Event],
        account: &mut Account,
    ) {
        let address = self.machine.its[its] + Register::Cwriter.offset();
        let mut expect = |value| {
            account.writes.push(Write {
                address,
                size: AccessSize::Double,
                value,
                mask: u64::MAX,
                required: true,
                source: "P9",
            });
        };
        let j = self.position_j(its);
        let merged = Event::DeviceWrite { address, size: AccessSize::Double, value: j | RETRY };
        match (retry, j != before) {
            (true, true) if events.contains(&merged) => expect(j | RETRY),
            (true, true) => {
                expect(before | RETRY);
                expect(j);
            }
            (true, false) => expect(before | RETRY),
            (false, true) => expect(j),
            (false, false) => {}
        }
    }

    /// Whether the ITS is at rest. EL2 must have looked, now or before.
    fn is_at_rest(&mut self, trap: &ItsTrap, account: &mut Account) -> bool {
        let its = trap.its;
        self.notice_rest(its, trap.events);
        let stop = self.guards[its].as_ref().map(|guard| guard.stop);
        let busy = |event: &Event| match event {
            Event::DeviceRead { address, value, .. } => {
                *address == self.machine.its[its] && value >> 31 & 1 == 0
            }
            _ => false,
        };
        if stop == Some(Stop::Stopping) && !trap.events.iter().any(busy) {
            let path = format_args!("its{its}.rest");
            account.judgement.disagree(
                &rules::DIV_REST,
                "P11",
                path,
                "CTLR, then CBASER read",
                "not read",
            );
        }
        stop == Some(Stop::AtRest)
    }

    /// P11: Quiescent read 1 and CBASER, read after it, was as EL2 left it, and CREADR from C to J;
    /// or power was lost.
    pub(crate) fn notice_rest(&mut self, its: usize, events: &[Event]) {
        let base = self.machine.its[its];
        let Some(guard) = &mut self.guards[its] else {
            return;
        };
        let mut reads = events.iter().filter_map(|event| match event {
            Event::DeviceRead { address, value, .. } => Some((address.wrapping_sub(base), *value)),
            _ => None,
        });
        let ctlr = |(offset, value): (u64, u64)| {
            (offset == Register::Ctlr.offset()).then(|| Ctlr::from_bits(value as u32))
        };
        match guard.stop {
            // Enabled is 0, and the host did not clear it.
            Stop::Running => {
                let off = |read| ctlr(read).is_some_and(|ctlr| !ctlr.enabled());
                if reads.any(off) {
                    guard.stop = Stop::Lost;
                }
            }
            Stop::Stopping => {
                let rests = |ctlr: Ctlr| ctlr.quiescent() && !ctlr.enabled();
                if !reads.any(|read| ctlr(read).is_some_and(rests)) {
                    return;
                }
                let value = |register: Register| {
                    let mut found = reads.clone();
                    found.find_map(|(at, value)| (at == register.offset()).then_some(value))
                };
                let cbaser = value(Register::Cbaser);
                let creadr = value(Register::Creadr);
                guard.stop = guard.stopped(cbaser, creadr);
            }
            _ => {}
        }
    }

    /// "Redistributors, all, from the first finalize".
    fn judge_redistributor_trap(
        &mut self,
        trap: &RedistributorTrap,
        offset: u64,
        size: AccessSize,
        account: &mut Account,
    ) {
        let RedistributorTrap { n, direction, seen, events, enabled } = *trap;
        let address = self.machine.redistributors[n] + offset;
        let own = [gicr::CTLR, gicr::PROPBASER, gicr::PENDBASER];
        let named = redistributor_register(offset, size.bytes());
        let named = named.filter(|(register, _)| own.contains(register));
        let special = matches!(offset & !7, 0x70 | 0x78) || offset < 4;
        let aligned = offset.is_multiple_of(size.bytes());
        // GICR_SETLPIR, CLRLPIR, INVLPIR, INVALLR: 64 bits, no halves.
        let wide = matches!(offset & !7, 0x40 | 0x48 | 0xa0 | 0xb0);
        let vlpi = (gicr::VLPI_FRAME..gicr::VLPI_FRAME + FRAME_BYTES).contains(&offset);
        let Direction::Write(value) = direction else {
            let covers = |event: &Event| match event {
                Event::DeviceRead { address: at, size: whole, value } => {
                    let shift = address.wrapping_sub(*at);
                    shift < whole.bytes() && size.truncate(value >> (8 * shift)) == seen
                }
                _ => false,
            };
            // Sizes that a register does not have read zero; which those are is known of few
            // registers.
            let may_be_zero = !aligned || wide || size != AccessSize::Word && named.is_none();
            let right = events.iter().any(covers) || may_be_zero && seen == 0;
            if !right {
                let path = format_args!("redistributor{n}+{offset:#x}");
                let value = format_args!("{seen:#x}");
                account.judgement.disagree(
                    &rules::DIV_REGISTER,
                    "redistributors",
                    path,
                    "the hardware's value",
                    value,
                );
            }
            return;
        };
        let write = |value, mask, required| Write {
            address,
            size,
            value,
            mask,
            required,
            source: "redistributors",
        };
        match named {
            _ if vlpi || !aligned => {}
            // EnableLPIs stays as it is.
            Some((gicr::CTLR, _)) => {
                let (enable, mask) = match enabled {
                    Expected::Known(on) => (u64::from(on), 0x7fff_fff1),
                    Expected::Unknown => (0, 0x7fff_fff0),
                };
                account.writes.push(write(value & !1 | enable, mask, true));
            }
            Some(_) => {}
            None if special => {}
            // TYPER is read-only: passed on, in its own size, or not, it is the same.
            None if offset & !7 == gicr::TYPER => {
                account.writes.push(write(value, 0, false));
                account.writes.push(Write {
                    address: address & !7,
                    size: AccessSize::Double,
                    ..write(value, 0, false)
                });
            }
            // Words are passed on; other sizes may be none of a register's.
            None => {
                let own = if wide { AccessSize::Double } else { AccessSize::Word };
                account.writes.push(write(value, u64::MAX, size == own));
                // A half may be passed on as the whole.
                if wide && size == AccessSize::Word {
                    let shift = 8 * (offset & 4);
                    account.writes.push(Write {
                        address: address & !7,
                        size: own,
                        ..write(value << shift, 0xffff_ffff << shift, false)
                    });
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use its_machine::{Action, Outcome};

    use super::*;
    use crate::testing::*;

    const DONE: Outcome = Outcome::Done;
    const QUIET: u64 = 1 << 31;
    const DOUBLE: AccessSize = AccessSize::Double;

    fn ctlr(value: u64) -> Action {
        write(ITS, AccessSize::Word, value)
    }

    /// The host cleared Enabled, then saw Quiescent.
    fn at_rest() -> World {
        let mut world = World::guarded();
        let stop = [look(0x80), vec![writes(Register::Ctlr, 0)]].concat();
        world.agree(ctlr(0), DONE, &stop);
        let seen = [
            reads(Register::Ctlr, QUIET),
            reads(Register::Cbaser, cbaser()),
            reads(Register::Creadr, 0x80),
        ];
        world.agree(read(ITS, AccessSize::Word), Outcome::Value(QUIET), &seen);
        world
    }

    fn reset_queue() -> Vec<Event> {
        vec![writes(Register::Cbaser, cbaser()), writes(Register::Cwriter, 0)]
    }

    #[test]
    fn closing_forwards_reads_and_ignores_writes() {
        let mut world = World::closing();
        world.shows(ITS + 0x80, cbaser(), &[reads(Register::Cbaser, cbaser())]);
        world.differ(
            read(ITS + 0x80, DOUBLE),
            Outcome::Value(cbaser()),
            &[],
            &rules::DIV_REGISTER,
            "cbaser",
        );
        let half = [reads(Register::Cbaser, cbaser())];
        world.agree(read(ITS + 0x84, AccessSize::Word), Outcome::Value(QUIET), &half);
        world.agree(read(ITS + 0x80, AccessSize::Half), Outcome::Value(0), &[]);
        for offset in [0x80, 0x88, 0x100] {
            world.writes(ITS + offset, 0);
            let register = Register::at(offset);
            world.differ(
                write(ITS + offset, DOUBLE, 0),
                DONE,
                &[writes(register, 0)],
                if offset == 0x88 { &rules::DIV_FORWARD } else { &rules::DIV_BASE },
                "its0",
            );
        }
        world.agree(ctlr(0), DONE, &[]);
        world.differ(ctlr(0), DONE, &[writes(Register::Ctlr, 0)], &rules::DIV_CTLR, "its0.ctlr");
    }

    #[test]
    fn guarded_reads() {
        let mut world = World::guarded();
        let typer = machine().configuration(0).typer().into_bits();
        let values = [
            (0x80, cbaser()),
            (0x88, 0x80),
            (0x100, baser(0)),
            (0x108, baser(1)),
            (0x110, 0),
            (0x08, typer),
            // The wrong size, a hole, the translation frame.
            (0x48 + 0x100, 0),
            (0x00, 0),
            (0x10040, 0),
        ];
        for (offset, value) in values {
            world.shows(ITS + offset, value, &[]);
            let wrong = Outcome::Value(value ^ 1 << 40);
            let there = [0x80, 0x88, 0x100, 0x108, 0x110, 0x08].contains(&offset);
            let kind = if there { &rules::DIV_REGISTER } else { &rules::DIV_ZERO };
            world.differ(read(ITS + offset, DOUBLE), wrong, &[], kind, "its0");
            let (low, high) = (value & 0xffff_ffff, value >> 32);
            if offset >= 8 {
                world.agree(read(ITS + offset, AccessSize::Word), Outcome::Value(low), &[]);
                world.agree(read(ITS + offset + 4, AccessSize::Word), Outcome::Value(high), &[]);
            }
        }
        for offset in [0x14, 0x40, 0x20, 0xc000] {
            world.agree(read(ITS + offset, AccessSize::Word), Outcome::Value(0), &[]);
            let leak = read(ITS + offset, AccessSize::Word);
            world.differ(leak, Outcome::Value(1), &[], &rules::DIV_ZERO, "its0");
        }
        let iidr = Event::DeviceRead { address: ITS + 4, size: AccessSize::Word, value: 0x43b };
        world.agree(read(ITS + 4, AccessSize::Word), Outcome::Value(0x43b), &[iidr]);
        world.differ(
            read(ITS + 4, AccessSize::Word),
            Outcome::Value(0),
            &[iidr],
            &rules::DIV_REGISTER,
            "iidr",
        );
    }

    #[test]
    fn ignored_writes() {
        let world = World::guarded();
        for offset in [0x04, 0x14, 0x18, 0x40, 0x90, 0x94, 0x20, 0xffe8, 0x10040] {
            world.clone().agree(write(ITS + offset, AccessSize::Word, !0), DONE, &[]);
        }
        for offset in [0x00, 0x80, 0x81, 0x84, 0x90, 0x100, 0x110] {
            world.clone().writes(ITS + offset, !0);
            let leaked =
                Event::DeviceWrite { address: ITS + (offset & !7), size: DOUBLE, value: u64::MAX };
            let action = write(ITS + offset, DOUBLE, !0);
            let rule: &'static Rule = match offset {
                0x00 => &rules::DIV_CTLR,
                0x90 => &rules::DIV_STRAY,
                _ => &rules::DIV_BASE,
            };
            world.differ(action, DONE, &[leaked], rule, "its0");
        }
    }

    #[test]
    fn stopping_takes_c_first() {
        let world = World::guarded();
        let stop = writes(Register::Ctlr, 0);
        world.differ(ctlr(0), DONE, &[stop], &rules::DIV_LOOK, "look");
        world.differ(ctlr(0), DONE, &[vec![stop], look(0x80)].concat(), &rules::ARCH_REGISTER, "");
        world.differ(ctlr(0), DONE, &look(0x80), &rules::DIV_CTLR, "its0.ctlr");
        let other_bits = [look(0x80), vec![writes(Register::Ctlr, 0x10)]].concat();
        world.differ(ctlr(0x10), DONE, &other_bits, &rules::DIV_CTLR, "its0.ctlr");
        // 1 to 1 does nothing.
        world.clone().agree(ctlr(1), DONE, &[]);
    }

    #[test]
    fn stop_reset_and_start_again() {
        let mut world = at_rest();
        assert!(world.model.is_settled(0));
        // Nothing is judged meanwhile, W is taken.
        let off = vec![reads(Register::Creadr, 0x80), reads(Register::Ctlr, QUIET)];
        world.writes_with(ITS + 0x88, 0xa0, &off);
        world.shows(ITS + 0x88, 0xa0, &[]);
        world.writes_with(ITS + 0x80, cbaser(), &reset_queue());
        world.shows(ITS + 0x88, 0, &[]);
        let off = vec![reads(Register::Creadr, 0), reads(Register::Ctlr, QUIET)];
        world.writes_with(ITS + 0x88, 0x20, &off);
        world.writes_with(ITS + 0x100, baser(0), &[writes(Register::Baser(0), baser(0))]);
        let start = [vec![writes(Register::Ctlr, 1)], look(0)].concat();
        let judged = [accepts(0, SYNC, &[]), vec![writes(Register::Cwriter, 0x20)]].concat();
        world.differ(ctlr(1), DONE, &start, &rules::DIV_UNJUDGED, "slot 0x0");
        world.differ(ctlr(1), DONE, &[writes(Register::Ctlr, 1)], &rules::DIV_LOOK, "look");
        world.agree(ctlr(1), DONE, &[start, judged].concat());
        world.consumes(0, &[SYNC]);
        world.shows(ITS + 0x90, 0x20, &look(0x20));
    }

    #[test]
    fn a_late_stop_cannot_start_again() {
        // Consumed after C was taken: C is before J for good, until CBASER is written.
        let mut world = World::guarded();
        let post = [look(0x80), accepts(0x80, SYNC, &[]), vec![writes(Register::Cwriter, 0xa0)]];
        world.posts(0xa0, &post);
        let stop = [look(0x80), vec![consumed(0x80, SYNC), writes(Register::Ctlr, 0)]].concat();
        world.agree(ctlr(0), DONE, &stop);
        let quiet = [
            reads(Register::Ctlr, QUIET),
            reads(Register::Cbaser, cbaser()),
            reads(Register::Creadr, 0xa0),
        ];
        world.agree(ctlr(1), DONE, &quiet);
    }

    #[test]
    fn an_its_that_lost_power_at_work_stays_off() {
        // Enabled reads 0 and nobody cleared it.
        let mut off = World::guarded();
        let lost = Action::PowerLoss { its: 0, restored: true };
        off.agree(lost, DONE, &[]);
        off.agree(
            read(ITS, AccessSize::Word),
            Outcome::Value(QUIET),
            &[reads(Register::Ctlr, QUIET)],
        );
        off.writes(ITS + 0x80, cbaser());
        off.differ(
            write(ITS + 0x80, DOUBLE, cbaser()),
            DONE,
            &reset_queue(),
            &rules::DIV_BASE,
            "cbaser",
        );
        off.differ(ctlr(1), DONE, &[writes(Register::Ctlr, 1)], &rules::DIV_CTLR, "its0.ctlr");
    }

    #[test]
    fn firmware_cannot_make_a_loss_of_power_look_like_rest() {
        let mut world = World::guarded();
        let stop = [look(0x80), vec![writes(Register::Ctlr, 0)]].concat();
        world.agree(ctlr(0), DONE, &stop);
        let lost = Action::PowerLoss { its: 0, restored: true };
        world.agree(lost, DONE, &[]);
        let seen = [
            reads(Register::Ctlr, QUIET),
            reads(Register::Cbaser, cbaser()),
            reads(Register::Creadr, 0),
        ];
        world.agree(read(ITS, AccessSize::Word), Outcome::Value(QUIET), &seen);
        world.writes(ITS + 0x80, cbaser());
        let again = write(ITS + 0x80, DOUBLE, cbaser());
        world.differ(again, DONE, &reset_queue(), &rules::DIV_BASE, "cbaser");
    }

    #[test]
    fn a_command_in_flight_may_complete_as_the_its_stops() {
        let mut world = World::guarded();
        let int = its_gic::Command::Int { device_id: 1, event_id: 4 };
        let post = [look(0x80), accepts(0x80, int, &[]), vec![writes(Register::Cwriter, 0xa0)]];
        world.posts(0xa0, &post);
        let stop = [look(0x80), vec![writes(Register::Ctlr, 0), consumed(0x80, int)]].concat();
        world.clone().agree(ctlr(0), DONE, &stop);
        world.agree(ctlr(0), DONE, &stop[..3]);
        let later = [consumed(0x80, int)];
        world.differ(ADVANCE, DONE, &later, &rules::ARCH_FETCH, "fetch");
    }

    #[test]
    fn hardware_registers_are_written_in_their_own_size() {
        let world = World::guarded();
        let wide = Event::DeviceWrite { address: ITS, size: DOUBLE, value: 0 };
        let events = [look(0x80), vec![wide]].concat();
        world.differ(ctlr(0), DONE, &events, &rules::DIV_CTLR, "its0.ctlr");
    }

    #[test]
    fn nothing_is_retried_while_disabled() {
        let mut world = World::guarded();
        let refused = vec![copied(0x80, mapd(2, 16, FREE).encode())];
        world.posts(0xa0, &[look(0x80), refused]);
        let stop = [look(0x80), vec![writes(Register::Ctlr, 0)]].concat();
        world.agree(ctlr(0), DONE, &stop);
        let off = [reads(Register::Creadr, 0x80), reads(Register::Ctlr, QUIET)];
        world.writes_with(ITS + 0x88, 0xa1, &off);
        world.shows(ITS + 0x90, 0x81, &off);
    }

    #[test]
    fn running_again_is_not_at_rest() {
        let mut world = at_rest();
        let start = [vec![writes(Register::Ctlr, 1)], look(0x80)].concat();
        world.agree(ctlr(1), DONE, &start);
        world.writes(ITS + 0x100, baser(0));
    }

    #[test]
    fn rest_is_demanded() {
        let mut running = World::guarded();
        running.writes(ITS + 0x80, cbaser());
        running.differ(
            write(ITS + 0x80, DOUBLE, cbaser()),
            DONE,
            &reset_queue(),
            &rules::DIV_BASE,
            "cbaser",
        );
        let mut stopping = World::guarded();
        stopping.agree(ctlr(0), DONE, &[look(0x80), vec![writes(Register::Ctlr, 0)]].concat());
        let again = write(ITS + 0x80, DOUBLE, cbaser());
        stopping.clone().agree(again, DONE, &[reads(Register::Ctlr, 0)]);
        stopping.differ(again, DONE, &[], &rules::DIV_REST, "rest");
        let not_yet = [reads(Register::Ctlr, 0), reads(Register::Cbaser, cbaser())];
        stopping.clone().agree(again, DONE, &not_yet);
        let busy = [vec![reads(Register::Ctlr, 0)], reset_queue()].concat();
        stopping.differ(again, DONE, &busy, &rules::DIV_BASE, "cbaser");
        let quiet = vec![
            reads(Register::Ctlr, QUIET),
            reads(Register::Cbaser, cbaser()),
            reads(Register::Creadr, 0x80),
        ];
        stopping.clone().agree(again, DONE, &[quiet, reset_queue()].concat());
    }

    #[test]
    fn only_recorded_values_are_accepted_at_rest() {
        let world = at_rest();
        for (offset, recorded, register) in
            [(0x80, cbaser(), Register::Cbaser), (0x100, baser(0), Register::Baser(0))]
        {
            for bit in [0, 10, 12, 40] {
                let other = recorded ^ 1 << bit;
                world.clone().writes(ITS + offset, other);
                let forwarded = [writes(register, other)];
                world.differ(
                    write(ITS + offset, DOUBLE, other),
                    DONE,
                    &forwarded,
                    &rules::DIV_BASE,
                    "its0",
                );
            }
        }
        // Without Valid: shown, and the ITS cannot be enabled.
        let mut invalid = world.clone();
        let value = baser(0) & !Baser::VALID;
        invalid.writes_with(ITS + 0x100, value, &[writes(Register::Baser(0), value)]);
        invalid.shows(ITS + 0x100, value, &[]);
        invalid.agree(ctlr(1), DONE, &[]);
        // A half, the other kept.
        let mut half = world.clone();
        half.agree(write(ITS + 0x84, AccessSize::Word, cbaser() >> 32), DONE, &reset_queue());
        // A table that was not valid stays so.
        world.clone().writes(ITS + 0x110, Baser::VALID);
        let valid = [writes(Register::Baser(2), Baser::VALID)];
        world.differ(
            write(ITS + 0x110, DOUBLE, Baser::VALID),
            DONE,
            &valid,
            &rules::DIV_BASE,
            "its0",
        );
        // C = J = CREADR = CWRITER holds, so it may start again.
        let start = [vec![writes(Register::Ctlr, 1)], look(0x80)].concat();
        world.clone().agree(ctlr(1), DONE, &start);
        world.differ(ctlr(1), DONE, &[], &rules::DIV_CTLR, "its0.ctlr");
    }

    #[test]
    fn what_a_queue_reset_overtakes_stays_borrowed() {
        let mut world = World::guarded();
        let post = |command, pages: &[u64]| {
            [look(0x80), accepts(0x80, command, pages), vec![writes(Register::Cwriter, 0xa0)]]
        };
        world.posts(0xa0, &post(unmapd(1), &[]));
        world.agree(ctlr(0), DONE, &[look(0x80), vec![writes(Register::Ctlr, 0)]].concat());
        // Not emptied: it may not start again.
        let quiet = vec![
            reads(Register::Ctlr, QUIET),
            reads(Register::Cbaser, cbaser()),
            reads(Register::Creadr, 0x80),
        ];
        world.clone().agree(ctlr(1), DONE, &quiet);
        let reset = [quiet, reset_queue()].concat();
        let released = [reset.clone(), releases(&[ITT])].concat();
        let action = write(ITS + 0x80, DOUBLE, cbaser());
        world.differ(action, DONE, &released, &rules::DIV_SHARED, "page 0x80200");
        world.agree(action, DONE, &reset);
        assert_eq!(world.model.records(0), Some((0, 3)));
        assert!(world.model.page(ITT).unwrap().is_held());
    }

    #[test]
    fn redistributors() {
        let world = World::closing();
        let base = REDISTRIBUTORS[1];
        let passed =
            |offset, size, value| Event::DeviceWrite { address: base + offset, size, value };
        for ignored in [0x70, 0x78, 0x2_0070] {
            world.clone().writes(base + ignored, 0);
            let leak = [passed(ignored, DOUBLE, 0)];
            world.differ(
                write(base + ignored, DOUBLE, 0),
                DONE,
                &leak,
                &rules::DIV_REDISTRIBUTOR,
                "redistributor1",
            );
        }
        world.clone().agree(write(base + 0x74, AccessSize::Word, 0), DONE, &[]);
        // EnableLPIs stays 1, the rest is passed on.
        let off = write(base, AccessSize::Word, 1 << 24);
        world.clone().agree(off, DONE, &[passed(0, AccessSize::Word, 1 << 24 | 1)]);
        world.differ(
            off,
            DONE,
            &[passed(0, AccessSize::Word, 1 << 24)],
            &rules::DIV_REDISTRIBUTOR,
            "redistributor1",
        );
        for size in [AccessSize::Word, DOUBLE] {
            let typer = write(base + 8, AccessSize::Word, 7);
            world.clone().agree(typer, DONE, &[passed(8, size, 7)]);
            world.clone().agree(typer, DONE, &[]);
        }
        let half = write(base + 0xa4, AccessSize::Word, 7);
        world.clone().agree(half, DONE, &[]);
        let whole = [passed(0xa0, DOUBLE, 7 << 32)];
        world.clone().agree(half, DONE, &whole);
        let wake = write(base + 0x14, AccessSize::Word, 2);
        world.clone().agree(wake, DONE, &[passed(0x14, AccessSize::Word, 2)]);
        world.differ(wake, DONE, &[], &rules::DIV_REDISTRIBUTOR, "redistributor1");
        let seen = Event::DeviceRead { address: base + 0x14, size: AccessSize::Word, value: 6 };
        let read = read(base + 0x14, AccessSize::Word);
        world.clone().agree(read, Outcome::Value(6), &[seen]);
        world.differ(read, Outcome::Value(2), &[seen], &rules::DIV_REGISTER, "redistributor1");
    }
}
