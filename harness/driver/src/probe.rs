//! Probing an ITS and bringing up CPUs, in the order in which Linux does it (its_probe_one,
//! its_cpu_init).
//!
//! Tables and the queue are taken from memory that is zero.

use its_gic::geometry::PageSize;
use its_gic::redistributor::{self, Pendbaser, Propbaser, RedistributorCtlr};
use its_gic::register::{BASER_COUNT, Pidr2, TableType};
use its_gic::{Baser, Cbaser, Command, Register};
use its_machine::{AccessSize, Area, Place};

use its_scenario::LiveDevice;

use crate::Perform;
use crate::driver::{Acting, COLLECTIONS, Driver};

/// RaWaWb.
const INNER_CACHE: u8 = 7;
/// Not cacheable: what Linux asks for where Shareability reads 0.
const NOT_CACHED: u8 = 1;
/// Inner shareable.
const SHAREABILITY: u8 = 1;

impl Driver {
    /// Probes and programs the ITS from CPU 0, brings up all CPUs, maps live devices.
    pub fn probe(&mut self, performer: &mut impl Perform) {
        self.on(0, performer).probe_its();
        for cpu in self.machine.cpus() {
            self.on(cpu, performer).init_cpu();
        }
        for device in self.live.clone() {
            let LiveDevice { device_id, event_id_bits, itt, event_id, intid, icid } = device;
            let mut acting = self.on(0, performer);
            acting.map_device(device_id, event_id_bits, itt.address());
            acting.map_event(device_id, event_id, intid, icid);
        }
    }
}

impl<P: Perform> Acting<'_, P> {
    /// Finds out what the ITS is, gives it its tables and its queue, and enables it.
    pub fn probe_its(&mut self) {
        let pidr2 = Register::Identification(Pidr2::OFFSET as u16);
        self.read(pidr2);
        self.quiesce();
        self.read(Register::Typer);
        for n in 0..BASER_COUNT {
            self.probe_table(n);
        }
        let cbaser = Cbaser::new()
            .with_page_number(self.queue.address >> 12)
            .with_size(self.boot.queue_pages - 1)
            .with_inner_cache(INNER_CACHE)
            .with_shareability(SHAREABILITY)
            .with_valid(true);
        self.write(Register::Cbaser, cbaser.into_bits());
        let read = Cbaser::from_bits(self.read(Register::Cbaser));
        if read.shareability() == 0 {
            let cbaser = cbaser.with_shareability(0).with_inner_cache(NOT_CACHED);
            self.write(Register::Cbaser, cbaser.into_bits());
        }
        self.cbaser = self.read(Register::Cbaser);
        self.write(Register::Cwriter, 0);
        self.restart();
        self.enable(true);
    }

    /// Gives memory to the first table of either type.
    fn probe_table(&mut self, n: u8) {
        let register = Register::Baser(n);
        let found = Baser::from_bits(self.read(register));
        let earlier = self.basers[..usize::from(n)].iter().map(|other| Baser::from_bits(*other));
        if earlier.into_iter().any(|other| other.table_type() == found.table_type()) {
            return;
        }
        let (area, pages) = match found.table_type() {
            TableType::Devices => (self.area(Area::DEVICE_TABLE), self.boot.table_pages),
            TableType::Collections => (self.area(Area::COLLECTION_TABLE), 1),
            _ => return,
        };
        let page_size = self.probe_page_size(n, found);
        let shape = found.with_page_size_field(page_size.field());
        let two_levels =
            found.table_type() == TableType::Devices || self.boot.two_level_collections;
        let indirect = two_levels && self.probe_indirect(n, shape);
        self.set_up_table(n, shape.with_indirect(indirect), (area, pages));
    }

    /// The largest page size that sticks.
    fn probe_page_size(&mut self, n: u8, found: Baser) -> PageSize {
        for size in [PageSize::K64, PageSize::K16] {
            if self.sticks(n, found.with_page_size_field(size.field())) {
                return size;
            }
        }
        self.sticks(n, found.with_page_size_field(PageSize::K4.field()));
        PageSize::K4
    }

    fn sticks(&mut self, n: u8, wanted: Baser) -> bool {
        self.write(Register::Baser(n), wanted.into_bits());
        let read = Baser::from_bits(self.read(Register::Baser(n)));
        read.page_size_field() == wanted.page_size_field()
    }

    /// Whether the table can have two levels. Linux asks only if one level would not do; here it is
    /// asked of each, so that few DeviceIDs have two levels too.
    fn probe_indirect(&mut self, n: u8, shape: Baser) -> bool {
        let wanted = shape
            .with_address(0)
            .with_size(0)
            .with_valid(false)
            .with_indirect(true)
            .with_inner_cache(INNER_CACHE)
            .with_shareability(SHAREABILITY);
        self.write(Register::Baser(n), wanted.into_bits());
        Baser::from_bits(self.read(Register::Baser(n))).indirect()
    }

    fn set_up_table(&mut self, n: u8, shape: Baser, (area, pages): (Area, u8)) {
        let wanted = shape
            .with_size(pages - 1)
            .with_inner_cache(INNER_CACHE)
            .with_outer_cache(0)
            .with_shareability(SHAREABILITY)
            .with_address(area.address())
            .with_valid(true);
        self.write(Register::Baser(n), wanted.into_bits());
        let read = Baser::from_bits(self.read(Register::Baser(n)));
        if read.shareability() == 0 {
            let wanted = wanted.with_shareability(0).with_inner_cache(NOT_CACHED);
            self.write(Register::Baser(n), wanted.into_bits());
        }
        self.basers[usize::from(n)] = self.read(Register::Baser(n));
    }

    /// Brings up a CPU: its LPIs, unless they are on, and its collection in this ITS, which has the
    /// CPU's number.
    pub fn init_cpu(&mut self) {
        self.enable_lpis();
        self.map_collection(self.cpu.into());
    }

    fn enable_lpis(&mut self) {
        let base = self.machine.redistributors[usize::from(self.cpu)];
        let control = base + redistributor::CTLR;
        let read = self.read_at(control, AccessSize::Word);
        let control_bits = RedistributorCtlr::from_bits(read as u32);
        if control_bits.enable_lpis() {
            return;
        }
        let configuration = Propbaser::new()
            .with_id_bits(self.boot.intid_bits - 1)
            .with_page_number(Area::CONFIGURATION.first())
            .into_bits();
        let pending = Pendbaser::new()
            .with_block_number(pending_table(self.cpu).address() >> 16)
            .with_ptz(true)
            .into_bits();
        self.write_lpi_table(base + redistributor::PROPBASER, configuration);
        self.write_lpi_table(base + redistributor::PENDBASER, pending);
        let enabled = control_bits.with_enable_lpis(true).into_bits();
        self.write_at(control, AccessSize::Word, enabled.into());
    }

    /// Writes GICR_PROPBASER or GICR_PENDBASER with attributes, which lie at the same bits in both.
    fn write_lpi_table(&mut self, address: u64, value: u64) {
        let size = AccessSize::Double;
        let with = |cache, shareability| {
            let table = Propbaser::from_bits(value).with_inner_cache(cache);
            table.with_shareability(shareability).into_bits()
        };
        self.write_at(address, size, with(INNER_CACHE, SHAREABILITY));
        if Propbaser::from_bits(self.read_at(address, size)).shareability() == 0 {
            self.write_at(address, size, with(NOT_CACHED, 0));
        }
    }

    /// MAPC, SYNC and INVALL of a collection for the CPU of its number; nothing where the ITS has
    /// no such ICID. GITS_TYPER.CIDbits can be too few for all CPUs.
    pub(crate) fn map_collection(&mut self, icid: u16) {
        if u64::from(icid) >= self.configuration().typer().collection_ids() {
            return;
        }
        if icid >= u16::from(self.configuration().hardware_collections) {
            self.ensure_level2(COLLECTIONS, icid.into());
        }
        let rdbase = self.machine.rdbase(self.its, self.cpu_of(icid));
        let valid = true;
        let map = Command::Mapc { icid, rdbase, valid };
        for command in [map, Command::Sync { rdbase }, Command::Invall { icid }] {
            self.send(command);
        }
        self.post_and_drain();
    }
}

/// Returns where the host has the pending table of a redistributor.
fn pending_table(redistributor: u8) -> Place {
    let pages = 16;
    match redistributor.checked_sub(2) {
        None => Place::page(Area::PENDING, pages * u16::from(redistributor)),
        Some(n) => Place::page(Area::MORE_PENDING, pages * u16::from(n)),
    }
}
