//! The control frame. An access of a size that a register does not have reads zero and is ignored.

use its_gic::register::TableType;
use its_gic::{Baser, Cbaser, Creadr, Ctlr, Cwriter, Iidr, Part, Pidr2, Register};
use its_machine::Event;
use its_machine::freedom::choice::{
    BusyWrite, PageSizeField, QueueLowBits, Quiescent, QuiescentEnabled, ReservedBits, Statusr,
    UnreadyEnable,
};

use super::effects::Unsettled;
use super::{Bus, COLLECTIONS, DEVICES, PhysicalIts};

/// GITS_STATUSR, each bit cleared by writing 1.
mod statusr {
    /// RRD: a reserved register was read.
    pub(super) const RESERVED_READ: u64 = 1 << 0;
    /// WRD: a reserved register was written.
    pub(super) const RESERVED_WRITTEN: u64 = 1 << 1;
    /// WROD: a read-only register was written. The control frame has no write-only one, for RWOD
    /// (bit 2) to report.
    pub(super) const READ_ONLY_WRITTEN: u64 = 1 << 3;
}

/// Reads of CTLR for which a late ITS keeps Quiescent at 0.
const LATE_READS: u8 = 2;

impl PhysicalIts {
    pub(crate) fn read(&mut self, offset: u64, bytes: u64, bus: &mut Bus) -> u64 {
        let mut value = 0;
        if let Some((register, part)) = Register::select(offset, bytes) {
            value = part.extract(self.register(register));
            match register {
                Register::Ctlr if !self.enabled && !self.stopping => {
                    self.late_reads = self.late_reads.saturating_sub(1);
                }
                Register::Reserved(_) => self.note(statusr::RESERVED_READ),
                _ => {}
            }
        }
        self.idle(bus);
        value
    }

    fn note(&mut self, status: u64) {
        if self.choices().picks(Statusr::Present) {
            self.statusr |= status;
        }
    }

    /// Whether the queue that software gave the ITS last, before a loss of power too, has a slot at
    /// an address.
    pub(crate) fn has_slot(&self, address: u64) -> bool {
        let queue = self.written_cbaser;
        address.wrapping_sub(queue.address()) < queue.bytes() && queue.valid()
    }

    /// What a register holds. MPAMIDR, PARTIDR, MPIDR and UMSIR are zero: TYPER has none of what
    /// they are for.
    pub(crate) fn register(&self, register: Register) -> u64 {
        match register {
            Register::Ctlr => Ctlr::new()
                .with_enabled(self.enabled)
                .with_quiescent(self.is_quiescent())
                .into_bits()
                .into(),
            Register::Iidr => {
                Iidr::new().with_implementer(0x43b).with_product_id(0x1d).into_bits().into()
            }
            Register::Typer => self.configuration.typer().into_bits(),
            Register::Statusr => self.statusr,
            Register::Cbaser => self.cbaser.into_bits(),
            Register::Cwriter => self.cwriter | self.cwriter_reserved,
            Register::Creadr => {
                Creadr::from_bits(self.creadr).with_stalled(self.stalled).into_bits()
            }
            Register::Baser(n) => self.basers[usize::from(n)].into_bits(),
            Register::Identification(offset) => identification(offset),
            _ => 0,
        }
    }

    fn is_quiescent(&self) -> bool {
        if !self.enabled {
            return !self.stopping && self.late_reads == 0;
        }
        match self.choices().get() {
            QuiescentEnabled::Idle => !self.has_work(),
            QuiescentEnabled::Zero => false,
            QuiescentEnabled::One => true,
        }
    }

    pub(crate) fn write(&mut self, offset: u64, bytes: u64, value: u64, bus: &mut Bus) {
        if let Some((register, part)) = Register::select(offset, bytes) {
            self.write_register(register, part, value, bus);
        }
        if !self.stopping {
            self.idle(bus);
        }
    }

    pub(super) fn write_register(
        &mut self,
        register: Register,
        part: Part,
        value: u64,
        bus: &mut Bus,
    ) {
        match register {
            Register::Ctlr => self.write_ctlr(Ctlr::from_bits(value as u32), bus),
            Register::Cbaser => self.write_cbaser(part, value, bus),
            Register::Cwriter => self.write_cwriter(part, value, bus),
            Register::Baser(n) => self.write_baser(usize::from(n), part, value, bus),
            Register::Statusr => self.statusr &= !value,
            Register::Reserved(_) => self.note(statusr::RESERVED_WRITTEN),
            Register::Partidr => {}
            Register::Iidr
            | Register::Typer
            | Register::Mpamidr
            | Register::Mpidr
            | Register::Umsir
            | Register::Creadr
            | Register::Identification(_) => self.note(statusr::READ_ONLY_WRITTEN),
        }
    }

    pub(super) fn write_ctlr(&mut self, ctlr: Ctlr, bus: &mut Bus) {
        self.lost_at_work = false;
        match (self.enabled, ctlr.enabled()) {
            (false, true) if !self.can_start() => {
                let address = Register::Ctlr.offset();
                bus.events.push(Event::Unpredictable { address });
                self.enabled = self.is_quiescent() && self.choices().picks(UnreadyEnable::Taken);
            }
            (false, true) => {
                self.enabled = true;
                self.read_ahead(bus);
            }
            (true, false) => {
                self.stopping = self.is_slow() && self.has_work();
                self.enabled = false;
                self.unsettled = Unsettled::default();
                if !self.stopping {
                    self.stopped(bus);
                }
            }
            _ => {}
        }
        self.settle(bus);
    }

    /// Whether Enabled may be set: quiescent, with a queue and the tables that are needed.
    pub(super) fn can_start(&self) -> bool {
        let collections = self.basers[COLLECTIONS].valid() || !self.collections.is_empty();
        self.is_quiescent() && self.cbaser.valid() && self.basers[DEVICES].valid() && collections
    }

    /// Nothing is in flight any more after Enabled was cleared: memory becomes what the caches
    /// hold.
    pub(super) fn stopped(&mut self, bus: &mut Bus) {
        self.stopping = false;
        self.flush(bus);
        if self.choices().picks(Quiescent::Late) {
            self.late_reads = LATE_READS;
        }
    }

    /// Whether a write of CBASER or a BASER is ignored now. Tells of it, if it must not be made.
    fn is_fixed(&self, register: Register, bus: &mut Bus) -> bool {
        let fixed = self.enabled || !self.is_quiescent();
        if fixed {
            let address = register.offset();
            bus.events.push(Event::Unpredictable { address });
        }
        fixed && self.choices().picks(BusyWrite::Ignored)
    }

    /// Each write, of a half too, puts CREADR back to 0.
    fn write_cbaser(&mut self, part: Part, value: u64, bus: &mut Bus) {
        if self.is_fixed(Register::Cbaser, bus) {
            return;
        }
        self.cbaser = self.sticking_cbaser(part.insert(self.cbaser.into_bits(), value));
        if self.cbaser.valid() {
            self.written_cbaser = self.cbaser;
        }
        self.creadr = 0;
        self.stalled = false;
        self.account_queue(bus);
    }

    /// A value of CBASER as this ITS reads it back.
    pub(super) fn sticking_cbaser(&self, value: u64) -> Cbaser {
        let low_bits = match self.choices().get() {
            QueueLowBits::Used => 0,
            QueueLowBits::Zero => 0xf000,
        };
        let reserved = match self.choices().get() {
            ReservedBits::Zero => !Cbaser::WRITABLE,
            ReservedBits::Kept => 0,
        };
        let cbaser = Cbaser::from_bits(value & !reserved & !low_bits);
        if self.coherence.queue.is_shareable() { cbaser } else { cbaser.with_shareability(0) }
    }

    fn write_cwriter(&mut self, part: Part, value: u64, bus: &mut Bus) {
        let held = self.cwriter | self.cwriter_reserved;
        let whole = Cwriter::from_bits(part.insert(held, value));
        self.cwriter = whole.offset();
        if self.choices().picks(ReservedBits::Kept) {
            self.cwriter_reserved = whole.with_retry(false).into_bits() & !self.cwriter;
        }
        if whole.retry() {
            self.stalled = false;
        }
        self.settle(bus);
    }

    /// Type and Entry_Size are fixed, one Page_Size sticks, and Indirect only where there can be
    /// two levels.
    fn write_baser(&mut self, n: usize, part: Part, value: u64, bus: &mut Bus) {
        let old = self.basers[n];
        if old.table_type() == TableType::Unimplemented {
            return;
        }
        if self.is_fixed(Register::Baser(n as u8), bus) {
            return;
        }
        let whole = part.insert(old.into_bits(), value) & Baser::WRITABLE;
        let written = Baser::from_bits(whole | old.into_bits() & !Baser::WRITABLE);
        self.basers[n] = self.sticking(n, written);
        if self.configuration.invalidates && !written.valid() {
            self.invalidate_table(n);
        }
        self.account_table(n, bus);
    }

    /// A value of `GITS_BASER<n>` as this ITS reads it back.
    pub(super) fn sticking(&self, n: usize, baser: Baser) -> Baser {
        let two_level = match n {
            DEVICES => self.configuration.two_level,
            _ => self.configuration.two_level_collections,
        };
        let page_size = if self.configuration.choices.picks(PageSizeField::Writable) {
            baser.page_size()
        } else {
            self.configuration.page_size
        };
        let shareable = self.coherence.tables.is_shareable();
        baser
            .with_page_size_field(page_size.field())
            .with_indirect(baser.indirect() && two_level)
            .with_shareability(if shareable { baser.shareability() } else { 0 })
    }
}

/// PIDR2 says GICv3, CIDR0 to CIDR3 that this is a CoreLink component; the other registers are
/// zero.
fn identification(offset: u16) -> u64 {
    match offset {
        0xffe8 => Pidr2::new().with_architecture_revision(3).into_bits().into(),
        0xfff0 => 0x0d,
        0xfff4 => 0xf0,
        0xfff8 => 0x05,
        0xfffc => 0xb1,
        _ => 0,
    }
}
