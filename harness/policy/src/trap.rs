//! Trapped accesses: what the host must read, and which hardware registers EL2 must write.

use its_architecture::{
    Architecture, Registers, Truth, its_at, name, redistributor_at, redistributor_register,
};
use its_declaration::{ClosingWrites, Declaration, EnableLpis, NarrowReads, Redistributors};
use its_gic::geometry::Pages;
use its_gic::redistributor::{self as gicr, Pendbaser, Propbaser};
use its_gic::register::{FRAME_BYTES, OFFSET_MASK};
use its_gic::{Part, Register};
use its_machine::{AccessSize, Direction, Event, Machine};

use crate::account::{Account, Write};
use crate::ledger::Ledger;
use crate::mappings::refused_by_injection;
use crate::{Rule, rules};

/// What EL2 read of an ITS's registers, as offsets and values.
pub(crate) fn device_reads(
    base: u64,
    events: &[Event],
) -> impl Iterator<Item = (u64, u64)> + Clone {
    events.iter().filter_map(move |event| match event {
        Event::DeviceRead { address, value, .. } => Some((address.wrapping_sub(base), *value)),
        _ => None,
    })
}

/// The value, if a read is one of this register.
pub(crate) fn of(register: Register) -> impl Fn((u64, u64)) -> Option<u64> {
    move |(offset, value)| (offset == register.offset()).then_some(value)
}

/// What a trapped read must return.
#[derive(Clone, Copy)]
pub(crate) enum Reading {
    Value(u64),
    /// CREADR, as of the last look.
    Creadr(u64),
    /// CTLR with this Enabled, else as EL2 read it from the hardware.
    Enabled(u64),
    /// There is nothing for the host.
    Zero,
    /// What EL2 read from the hardware's register for it.
    Hardware(Register),
}

/// The bytes of a register that an access is of.
#[derive(Clone, Copy)]
pub(crate) struct Selected {
    pub(crate) register: Register,
    pub(crate) part: Part,
    /// Of a read of one or two bytes: bits of the part below them.
    shift: u64,
}

/// A trapped access to the frames of an ITS.
pub(crate) struct ItsTrap<'a> {
    pub(crate) machine: &'a Machine,
    pub(crate) declared: &'a Declaration,
    pub(crate) its: usize,
    /// From the start of the control frame.
    pub(crate) offset: u64,
    pub(crate) size: AccessSize,
    pub(crate) direction: Direction,
    /// What the host read.
    pub(crate) seen: u64,
    pub(crate) events: &'a [Event],
    /// The hardware's registers when the access began.
    pub(crate) before: &'a Registers,
    pub(crate) ledger: &'a mut Ledger,
    pub(crate) account: &'a mut Account,
}

/// A trapped access to the frames of a redistributor.
pub(crate) struct RedistributorTrap<'a> {
    pub(crate) n: usize,
    pub(crate) address: u64,
    /// From the start of the frames.
    pub(crate) offset: u64,
    pub(crate) size: AccessSize,
    pub(crate) direction: Direction,
    /// What the host read.
    pub(crate) seen: u64,
    pub(crate) events: &'a [Event],
    /// EnableLPIs when the access began.
    pub(crate) enabled: Truth,
    /// EL2 borrows the tables of a redistributor that enables LPIs now (the point `enable-lpis`).
    pub(crate) borrows_late: bool,
    pub(crate) machine: &'a Machine,
    pub(crate) ledger: &'a mut Ledger,
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
        enabled: Truth,
    },
}

impl Before {
    /// The hardware behind an address, as it is now; `None` where no device is.
    pub(crate) fn of(machine: &Machine, hardware: &Architecture, address: u64) -> Option<Self> {
        if let Some((its, offset)) = its_at(machine, address) {
            return Some(Self::Its { its, offset, registers: hardware.its[its].registers });
        }
        let (n, offset) = redistributor_at(machine, address)?;
        Some(Self::Redistributor { n, offset, enabled: hardware.redistributors[n].on })
    }
}

impl ItsTrap<'_> {
    /// The register that the access names, if its size is one of that, or the policy has others.
    pub(crate) fn register(&self) -> Option<Selected> {
        if self.offset >= FRAME_BYTES {
            return None;
        }
        let bytes = self.size.bytes();
        if let Some((register, part)) = self.declared.traps.select(self.offset, bytes) {
            return Some(Selected { register, part, shift: 0 });
        }
        let offset = self.declared.traps.rounded(self.offset, bytes);
        let has_bytes = self.declared.traps.narrow_reads == NarrowReads::Bytes
            && self.direction == Direction::Read
            && bytes < 4
            && offset.is_multiple_of(bytes);
        let (register, part) = Register::select(offset & !3, 4).filter(|_| has_bytes)?;
        Some(Selected { register, part, shift: 8 * (offset & 3) })
    }

    /// The point because of which an access of its size or alignment names a register.
    fn declared_size(&self) -> Option<&'static str> {
        let (traps, bytes) = (self.declared.traps, self.size.bytes());
        if Register::select(self.offset, bytes).is_some() {
            return None;
        }
        let is_aligned = self.offset.is_multiple_of(bytes);
        let misaligned = traps.misaligned.declared().filter(|_| !is_aligned);
        let narrow = traps.narrow_reads.declared().filter(|_| bytes < 4);
        misaligned.or(traps.sizes.declared()).or(narrow)
    }

    /// P2: until the ITS is guarded reads are forwarded and writes ignored.
    pub(crate) fn judge_closing(&mut self) {
        let selected = self.register();
        match (selected, self.direction) {
            (Some(Selected { register, .. }), Direction::Read) => {
                self.judge_reading(Reading::Hardware(register), selected, None);
            }
            (Some(Selected { register, part, .. }), Direction::Write(value)) => {
                self.judge_closing_write(register, part, value);
            }
            // Reads of the translation frame may be forwarded too.
            (None, _) if self.offset >= FRAME_BYTES => {}
            (None, _) => self.judge_reading(Reading::Zero, None, None),
        }
    }

    fn judge_closing_write(&mut self, register: Register, part: Part, value: u64) {
        let closing = self.declared.traps.closing_writes;
        if closing == ClosingWrites::Cwriter && register == Register::Cwriter && part == Part::Whole
        {
            let address = self.machine.its[self.its] + register.offset();
            let (value, source) = (value & OFFSET_MASK, closing.source());
            let (size, mask, required) = (AccessSize::Double, u64::MAX, true);
            self.account.writes.push(Write { address, size, value, mask, required, source });
        }
    }

    /// Decision 16: an ITS that EL2 can never guard reads zero.
    pub(crate) fn judge_surplus(&mut self) {
        self.judge_reading(Reading::Zero, None, None);
    }

    /// `selected`: what the access is of. `declared`: what says so, if it is not POLICY.md.
    pub(crate) fn judge_reading(
        &mut self,
        reading: Reading,
        selected: Option<Selected>,
        declared: Option<&'static str>,
    ) {
        if self.direction != Direction::Read {
            return;
        }
        let base = self.machine.its[self.its];
        let bytes = |value: u64| match selected {
            Some(Selected { part, shift, .. }) => self.size.truncate(part.extract(value) >> shift),
            None => value,
        };
        let other = selected.and_then(|_| self.declared_size());
        let is = |value: u64| (bytes(value) == self.seen, Some(value));
        let (rule, (right, expected)): (&'static Rule, _) = match reading {
            Reading::Creadr(value) => (&rules::DIV_CREADR, is(value)),
            Reading::Zero => (&rules::DIV_ZERO, is(0)),
            Reading::Value(value) => (&rules::DIV_REGISTER, is(value)),
            // TYPER never changes: EL2 may remember it.
            Reading::Hardware(Register::Typer) => {
                let typer = self.machine.configuration(self.its as u8).typer();
                (&rules::DIV_REGISTER, is(typer.into_bits()))
            }
            Reading::Hardware(register) => {
                let mut values = device_reads(base, self.events).filter_map(of(register));
                let is_creadr = register == Register::Creadr;
                let rule = if is_creadr { &rules::DIV_CREADR } else { &rules::DIV_REGISTER };
                (rule, (values.any(|value| is(value).0), None))
            }
            Reading::Enabled(enabled) => {
                let read = device_reads(base, self.events).find_map(of(Register::Ctlr));
                let shown = read.map(|value| value & !1 | enabled);
                (&rules::DIV_REGISTER, shown.map_or((false, None), is))
            }
        };
        if right {
            return;
        }
        let (row, path) = name(self.machine, base + self.offset);
        let source = declared.or(other).unwrap_or(row);
        let expected = match expected {
            Some(value) => format!("{:#x}", bytes(value)),
            None => "the hardware's value".into(),
        };
        let seen = format_args!("{:#x}", self.seen);
        self.account.judgement.disagree(rule, source, path, expected, seen);
    }
}

impl RedistributorTrap<'_> {
    /// "Redistributors, all, from the first finalize", or as declared.
    pub(crate) fn judge(&mut self, who: Redistributors, account: &mut Account) {
        let size = self.size.bytes();
        let own = [gicr::CTLR, gicr::PROPBASER, gicr::PENDBASER];
        let named = redistributor_register(self.offset, size);
        let named = named.map(|(register, _)| register);
        let read = named.filter(|one| own.contains(one) || *one == gicr::TYPER);
        let named = named.filter(|one| own.contains(one));
        let aligned = self.offset.is_multiple_of(size);
        // GICR_SETLPIR, CLRLPIR, INVLPIR, INVALLR: 64 bits, no halves.
        let wide = matches!(self.offset & !7, 0x40 | 0x48 | 0xa0 | 0xb0);
        let vlpi = (gicr::VLPI_FRAME..gicr::VLPI_FRAME + FRAME_BYTES).contains(&self.offset);
        match self.direction {
            Direction::Read => {
                // Sizes that a register does not have read zero; which those are is known of few
                // registers.
                let other = self.size != AccessSize::Word && read.is_none();
                self.judge_read(!aligned || wide || other, account);
            }
            Direction::Write(_) if vlpi || !aligned => {}
            Direction::Write(value) => self.judge_write((value, who), named, wide, account),
        }
    }

    fn judge_read(&self, may_be_zero: bool, account: &mut Account) {
        let covers = |event: &Event| match event {
            Event::DeviceRead { address, size, value } => {
                let shift = self.address.wrapping_sub(*address);
                shift < size.bytes() && self.size.truncate(value >> (8 * shift)) == self.seen
            }
            _ => false,
        };
        if self.events.iter().any(covers) || may_be_zero && self.seen == 0 {
            return;
        }
        let path = format_args!("redistributor{}+{:#x}", self.n, self.offset);
        let (rule, expected) = (&rules::DIV_REGISTER, "the hardware's value");
        let seen = format_args!("{:#x}", self.seen);
        account.judgement.disagree(rule, "redistributors", path, expected, seen);
    }

    /// `named`: CTLR, PROPBASER or PENDBASER. `wide`: it has 64 bits and no halves.
    fn judge_write(
        &mut self,
        (value, who): (u64, Redistributors),
        named: Option<u64>,
        wide: bool,
        account: &mut Account,
    ) {
        let Self { address, offset, size, .. } = *self;
        let own = matches!(named, Some(gicr::CTLR | gicr::PROPBASER | gicr::PENDBASER));
        let late = self.borrows_late.then(|| EnableLpis::Borrowed.source()).filter(|_| own);
        let source = late.unwrap_or(who.source());
        let write = |value, mask, required| Write { address, size, value, mask, required, source };
        match named {
            Some(register) if who == Redistributors::Open => {
                let own =
                    if register == gicr::CTLR { AccessSize::Word } else { AccessSize::Double };
                if size == own {
                    account.writes.push(write(value, u64::MAX, true));
                }
            }
            Some(gicr::CTLR) if self.enables_lpis(value) => {
                let enable = u64::from(self.borrow_tables(account));
                account.writes.push(write(value & !1 | enable, 0x7fff_fff1, true));
            }
            Some(register) if register != gicr::CTLR && self.forwards_table() => {
                account.writes.push(write(value, u64::MAX, true));
            }
            // EnableLPIs stays as it is.
            Some(gicr::CTLR) => {
                let (enable, mask) = match self.enabled {
                    Truth::No => (0, 0x7fff_fff1),
                    Truth::Yes => (1, 0x7fff_fff1),
                    Truth::Maybe => (0, 0x7fff_fff0),
                };
                account.writes.push(write(value & !1 | enable, mask, true));
            }
            Some(_) => {}
            // In another size than theirs.
            None if matches!(offset & !7, gicr::PROPBASER | gicr::PENDBASER) || offset < 4 => {}
            // TYPER is read-only: passed on, in its own size, or not, it is the same.
            None if offset & !7 == gicr::TYPER => {
                let own = Write { address: address & !7, ..write(value, 0, false) };
                account.writes.push(write(value, 0, false));
                account.writes.push(Write { size: AccessSize::Double, ..own });
            }
            // Decision 14: a low half is the whole with zeroes above, a high half nothing.
            None if wide && offset & 4 == 0 && size >= AccessSize::Word => {
                let whole = write(value, u64::MAX, true);
                account.writes.push(Write { size: AccessSize::Double, ..whole });
            }
            None if wide => {}
            None if size == AccessSize::Word => account.writes.push(write(value, u64::MAX, true)),
            None => {}
        }
    }
}

/// The point `enable-lpis`.
impl RedistributorTrap<'_> {
    /// Whether LPIs were off as EL2 saw it, or when the access began.
    fn were_off(&self) -> bool {
        let read = self.read_by_el2(gicr::CTLR);
        read.map_or(self.enabled == Truth::No, |ctlr| ctlr & 1 == 0)
    }

    /// Whether a write of CTLR enables LPIs that are off.
    fn enables_lpis(&self, value: u64) -> bool {
        self.borrows_late && value & 1 != 0 && self.were_off()
    }

    /// Whether a write of PROPBASER or PENDBASER goes to the hardware.
    fn forwards_table(&self) -> bool {
        self.borrows_late && self.size == AccessSize::Double && self.were_off()
    }

    /// What EL2 read first of a register of this redistributor.
    fn read_by_el2(&self, register: u64) -> Option<u64> {
        let mut reads = device_reads(self.machine.redistributors[self.n], self.events);
        reads.find_map(|(offset, value)| (offset == register).then_some(value))
    }

    /// Borrows both tables as EL2 read their registers. Returns whether that is possible.
    fn borrow_tables(&mut self, account: &mut Account) -> bool {
        let registers = self.read_by_el2(gicr::PROPBASER).zip(self.read_by_el2(gicr::PENDBASER));
        let Some((propbaser, pendbaser)) = registers else {
            let path = format_args!("redistributor{}.tables", self.n);
            let (rule, source) = (&rules::DIV_REDISTRIBUTOR, EnableLpis::Borrowed.source());
            let expected = "PROPBASER and PENDBASER read";
            account.judgement.disagree(rule, source, path, expected, "not read");
            return false;
        };
        let propbaser = Propbaser::from_bits(propbaser);
        let pending = Pendbaser::from_bits(pendbaser).address();
        let pending = (pending, Pendbaser::bytes(propbaser.id_bits()));
        let tables = [(propbaser.address(), propbaser.bytes()), pending];
        let is_memory = |(address, bytes)| bytes == 0 || self.machine.is_memory(address, bytes);
        self.ledger.witness(self.events);
        if refused_by_injection(self.events) || !tables.into_iter().all(is_memory) {
            return false;
        }
        let [configuration, pending] = tables.map(|(address, bytes)| Pages::under(address, bytes));
        if self.ledger.borrow(configuration).is_err() {
            return false;
        }
        let borrowed = self.ledger.borrow(pending).is_ok();
        if !borrowed {
            self.ledger.give_back(configuration);
        }
        borrowed
    }
}

#[cfg(test)]
mod tests;
