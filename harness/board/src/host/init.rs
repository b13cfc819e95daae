//! Probing an ITS and bringing up CPUs, in the order in which Linux does it (its_probe_one,
//! its_cpu_init).
//!
//! Tables and the queue are taken from memory that is zero.

use its_gic::geometry::PageSize;
use its_gic::redistributor::{self, Pendbaser, Propbaser, RedistributorCtlr};
use its_gic::register::{BASER_COUNT, Pidr2, TableType};
use its_gic::{Baser, Cbaser, Command, Register};
use its_machine::{AccessSize, Area, CPUS};

use super::{COLLECTIONS, Host, LiveDevice, Perform};

/// RaWaWb.
const INNER_CACHE: u8 = 7;
/// Inner shareable.
const SHAREABILITY: u8 = 1;

impl Host {
    /// Probes and programs the ITS from CPU 0, brings up all CPUs, maps live devices.
    pub fn probe(&mut self, on: &mut impl Perform) {
        self.probe_its(0, on);
        for cpu in 0..CPUS {
            self.init_cpu(cpu, on);
        }
        for device in self.plan.live.clone() {
            let LiveDevice { device_id, event_id_bits, itt_address, event_id, intid, icid } =
                device;
            self.map_device(0, device_id, event_id_bits, itt_address, on);
            self.map_event(0, device_id, event_id, intid, icid, on);
        }
    }

    /// Finds out what the ITS is, gives it its tables and its queue, and enables it.
    pub fn probe_its(&mut self, cpu: u8, on: &mut impl Perform) {
        let pidr2 = Register::Identification(Pidr2::OFFSET as u16);
        self.read(cpu, pidr2, on);
        self.quiesce(cpu, on);
        self.read(cpu, Register::Typer, on);
        for n in 0..BASER_COUNT {
            self.probe_table(cpu, n, on);
        }
        let cbaser = Cbaser::new()
            .with_page_number(self.queue.address >> 12)
            .with_size(self.plan.queue_pages - 1)
            .with_inner_cache(INNER_CACHE)
            .with_shareability(SHAREABILITY)
            .with_valid(true);
        self.write(cpu, Register::Cbaser, cbaser.into_bits(), on);
        self.cbaser = self.read(cpu, Register::Cbaser, on);
        self.write(cpu, Register::Cwriter, 0, on);
        self.restart();
        self.enable(cpu, true, on);
    }

    fn probe_table(&mut self, cpu: u8, n: u8, on: &mut impl Perform) {
        let register = Register::Baser(n);
        let found = Baser::from_bits(self.read(cpu, register, on));
        let (area, pages) = match found.table_type() {
            TableType::Devices => (self.area(Area::DEVICE_TABLE), self.plan.table_pages),
            TableType::Collections => (self.area(Area::COLLECTION_TABLE), 1),
            _ => return,
        };
        let page_size = self.probe_page_size(cpu, n, found, on);
        let shape = found.with_page_size_field(page_size.field());
        let two_levels =
            found.table_type() == TableType::Devices || self.plan.two_level_collections;
        let indirect = two_levels && self.probe_indirect(cpu, n, shape, on);
        self.set_up_table(cpu, n, shape.with_indirect(indirect), (area, pages), on);
    }

    /// The largest page size that sticks.
    fn probe_page_size(&mut self, cpu: u8, n: u8, found: Baser, on: &mut impl Perform) -> PageSize {
        for size in [PageSize::K64, PageSize::K16] {
            if self.sticks(cpu, n, found.with_page_size_field(size.field()), on) {
                return size;
            }
        }
        self.sticks(cpu, n, found.with_page_size_field(PageSize::K4.field()), on);
        PageSize::K4
    }

    fn sticks(&mut self, cpu: u8, n: u8, wanted: Baser, on: &mut impl Perform) -> bool {
        self.write(cpu, Register::Baser(n), wanted.into_bits(), on);
        let read = Baser::from_bits(self.read(cpu, Register::Baser(n), on));
        read.page_size_field() == wanted.page_size_field()
    }

    /// Whether the table can have two levels. Linux asks only if one level would not do; here it is
    /// asked of each, so that few DeviceIDs have two levels too.
    fn probe_indirect(&mut self, cpu: u8, n: u8, shape: Baser, on: &mut impl Perform) -> bool {
        let wanted = shape
            .with_address(0)
            .with_size(0)
            .with_valid(false)
            .with_indirect(true)
            .with_inner_cache(INNER_CACHE)
            .with_shareability(SHAREABILITY);
        self.write(cpu, Register::Baser(n), wanted.into_bits(), on);
        Baser::from_bits(self.read(cpu, Register::Baser(n), on)).indirect()
    }

    fn set_up_table(
        &mut self,
        cpu: u8,
        n: u8,
        shape: Baser,
        (area, pages): (Area, u8),
        on: &mut impl Perform,
    ) {
        let wanted = shape
            .with_size(pages - 1)
            .with_inner_cache(INNER_CACHE)
            .with_outer_cache(0)
            .with_shareability(SHAREABILITY)
            .with_address(area.address())
            .with_valid(true);
        self.write(cpu, Register::Baser(n), wanted.into_bits(), on);
        self.basers[usize::from(n)] = self.read(cpu, Register::Baser(n), on);
    }

    /// Brings up a CPU: its LPIs, unless they are on, and its collection in this ITS, which has the
    /// CPU's number.
    pub fn init_cpu(&mut self, cpu: u8, on: &mut impl Perform) {
        self.enable_lpis(cpu, on);
        self.map_collection(cpu, cpu.into(), on);
    }

    fn enable_lpis(&mut self, cpu: u8, on: &mut impl Perform) {
        let base = self.machine.redistributors[usize::from(cpu)];
        let control = base + redistributor::CTLR;
        let read = self.read_at(cpu, control, AccessSize::Word, on);
        let control_bits = RedistributorCtlr::from_bits(read as u32);
        if control_bits.enable_lpis() {
            return;
        }
        let configuration = Propbaser::new()
            .with_id_bits(self.plan.intid_bits - 1)
            .with_page_number(Area::CONFIGURATION.first())
            .into_bits();
        let pending = Pendbaser::new()
            .with_block_number(Area::PENDING.page(16 * u64::from(cpu)) >> 16)
            .with_ptz(true)
            .into_bits();
        let double = AccessSize::Double;
        self.write_at(cpu, base + redistributor::PROPBASER, double, configuration, on);
        self.write_at(cpu, base + redistributor::PENDBASER, double, pending, on);
        let enabled = control_bits.with_enable_lpis(true).into_bits();
        self.write_at(cpu, control, AccessSize::Word, enabled.into(), on);
    }

    /// MAPC, SYNC and INVALL of a collection for the CPU of its number.
    pub(super) fn map_collection(&mut self, cpu: u8, icid: u16, on: &mut impl Perform) {
        if icid >= u16::from(self.configuration().hardware_collections) {
            self.ensure_level2(cpu, COLLECTIONS, icid.into(), on);
        }
        let rdbase = self.machine.rdbase(self.its, Self::cpu_of(icid));
        let valid = true;
        let map = Command::Mapc { icid, rdbase, valid };
        for command in [map, Command::Sync { rdbase }, Command::Invall { icid }] {
            self.send(cpu, command, on);
        }
        self.post_and_drain(cpu, on);
    }
}
