//! The physical ITS: works from memory as hardware does, in a format of its own.
//!
//! Registers here; `tables` finds entries, `commands` executes, `reach` keeps account of every pointer that
//! the ITS can follow, `format` is what entries look like.

mod commands;
mod format;
mod reach;
mod tables;

use its_el2::{Event, Machine, Pace};
use its_gic::geometry::Queue;
use its_gic::register::{BASER_COUNT, TableType};
use its_gic::{Baser, Cbaser, Creadr, Ctlr, Cwriter, Iidr, Part, Pidr2, Register};

use crate::memory::Memory;
use crate::ownership::Ownership;
use crate::redistributor::Redistributor;
use reach::Account;
pub(crate) use reach::exposure;

/// What the ITS is connected to.
pub(crate) struct Bus<'a> {
    pub machine: &'a Machine,
    pub memory: &'a mut Memory,
    pub ownership: &'a Ownership,
    pub redistributors: &'a mut [Redistributor],
    pub events: &'a mut Vec<Event>,
}

/// The place of the device table among the BASERs.
pub(crate) const DEVICES: usize = 0;
/// The place of the collection table among the BASERs.
pub(crate) const COLLECTIONS: usize = 1;

/// One physical ITS.
#[derive(Clone)]
pub(crate) struct PhysicalIts {
    index: u8,
    enabled: bool,
    /// Enabled was cleared with work left, and Quiescent has not followed yet.
    stopping: bool,
    cbaser: Cbaser,
    /// The offset that was last written, in range or not.
    cwriter: u64,
    creadr: u64,
    stalled: bool,
    basers: [Baser; BASER_COUNT as usize],
    /// RDbase of each collection that is held without memory.
    collections: Vec<Option<u64>>,
    account: Account,
}

impl PhysicalIts {
    pub(crate) fn new(index: u8, machine: &Machine) -> Self {
        let character = machine.character;
        let table = |table_type, entry_bytes: u8| {
            Baser::new()
                .with_type_field(table_type)
                .with_entry_size(entry_bytes - 1)
                .with_page_size_field(character.page_size.field())
        };
        let mut basers = [Baser::new(); BASER_COUNT as usize];
        basers[DEVICES] = table(1, character.device_entry_bytes);
        basers[COLLECTIONS] = table(4, character.collection_entry_bytes);
        Self {
            index,
            enabled: false,
            stopping: false,
            cbaser: Cbaser::new(),
            cwriter: 0,
            creadr: 0,
            stalled: false,
            basers,
            collections: vec![None; character.hardware_collections.into()],
            account: Account::default(),
        }
    }

    /// A read of the control frame; zero where no register has this offset and size.
    pub(crate) fn read(&mut self, offset: u64, bytes: u64, bus: &mut Bus) -> u64 {
        let value = Register::select(offset, bytes).map_or(0, |(register, part)| {
            part.extract(self.register(register, bus.machine))
        });
        self.idle(bus);
        value
    }

    fn register(&self, register: Register, machine: &Machine) -> u64 {
        match register {
            Register::Ctlr => {
                let quiescent = !self.stopping && !self.has_work();
                let ctlr = Ctlr::new()
                    .with_enabled(self.enabled)
                    .with_quiescent(quiescent);
                ctlr.into_bits().into()
            }
            Register::Iidr => Iidr::new()
                .with_implementer(0x43b)
                .with_product_id(0x1d)
                .into_bits()
                .into(),
            Register::Typer => machine.character.typer().into_bits(),
            Register::Cbaser => self.cbaser.into_bits(),
            Register::Cwriter => self.cwriter,
            Register::Creadr => Creadr::from_bits(self.creadr)
                .with_stalled(self.stalled)
                .into_bits(),
            Register::Baser(n) => self.basers[usize::from(n)].into_bits(),
            Register::Identification(0xffe8) => Pidr2::new()
                .with_architecture_revision(3)
                .into_bits()
                .into(),
            _ => 0,
        }
    }

    /// A write to the control frame; ignored where no register has this offset and size.
    pub(crate) fn write(&mut self, offset: u64, bytes: u64, value: u64, bus: &mut Bus) {
        if let Some((register, part)) = Register::select(offset, bytes) {
            self.write_register(register, part, value, bus);
        }
        if !self.stopping {
            self.idle(bus);
        }
    }

    fn write_register(&mut self, register: Register, part: Part, value: u64, bus: &mut Bus) {
        let offset = register.offset();
        match register {
            Register::Ctlr => self.write_ctlr(Ctlr::from_bits(value as u32), bus),
            Register::Cbaser => self.write_cbaser(offset, part, value, bus),
            Register::Cwriter => self.write_cwriter(part, value, bus),
            Register::Baser(n) => self.write_baser(usize::from(n), offset, part, value, bus),
            _ => {}
        }
    }

    fn write_ctlr(&mut self, ctlr: Ctlr, bus: &mut Bus) {
        let slow = bus.machine.character.pace != Pace::AtOnce;
        self.stopping = slow && !ctlr.enabled() && (self.stopping || self.has_work());
        self.enabled = ctlr.enabled();
        self.settle(bus);
    }

    fn write_cbaser(&mut self, offset: u64, part: Part, value: u64, bus: &mut Bus) {
        if self.enabled {
            bus.events.push(Event::Unpredictable { address: offset });
            return;
        }
        let whole = part.insert(self.cbaser.into_bits(), value);
        self.cbaser = Cbaser::from_bits(whole & Cbaser::WRITABLE);
        self.creadr = 0;
        self.stalled = false;
        self.account_queue(bus);
    }

    fn write_cwriter(&mut self, part: Part, value: u64, bus: &mut Bus) {
        let whole = Cwriter::from_bits(part.insert(self.cwriter, value));
        self.cwriter = whole.offset();
        if whole.retry() {
            self.stalled = false;
        }
        self.settle(bus);
    }

    /// Type and Entry_Size are fixed, one Page_Size sticks, and only the device table may have two levels.
    fn write_baser(&mut self, n: usize, offset: u64, part: Part, value: u64, bus: &mut Bus) {
        if self.enabled {
            bus.events.push(Event::Unpredictable { address: offset });
            return;
        }
        let old = self.basers[n];
        if old.table_type() == TableType::Unimplemented {
            return;
        }
        let whole = part.insert(old.into_bits(), value) & Baser::WRITABLE;
        let written = Baser::from_bits(whole | old.into_bits() & !Baser::WRITABLE);
        let two_level = n == DEVICES && bus.machine.character.two_level;
        self.basers[n] = written
            .with_page_size_field(bus.machine.character.page_size.field())
            .with_indirect(written.indirect() && two_level);
        self.account_table(n, bus);
    }

    /// Whether there is a command that the ITS could fetch.
    fn has_work(&self) -> bool {
        let queue = Queue::new(self.cbaser);
        self.enabled
            && self.cbaser.valid()
            && !self.stalled
            && queue.contains(self.cwriter)
            && queue.contains(self.creadr)
            && self.creadr != self.cwriter
    }

    /// Works for as long as its pace allows after a write that may have given it work.
    fn settle(&mut self, bus: &mut Bus) {
        if bus.machine.character.pace == Pace::AtOnce {
            self.advance(u16::MAX, bus);
        }
    }

    /// A slow ITS works on after it was talked to.
    fn idle(&mut self, bus: &mut Bus) {
        if bus.machine.character.pace == Pace::Late {
            self.advance(1, bus);
        }
    }

    /// Works through at most `commands` commands.
    pub(crate) fn advance(&mut self, commands: u16, bus: &mut Bus) {
        self.stopping &= commands == 0;
        for _ in 0..commands {
            if !self.has_work() {
                return;
            }
            self.step(bus);
        }
    }
}
