//! The driver of one ITS: what it holds, and its accesses.

use std::ops::{Deref, DerefMut};

use its_gic::geometry::{Pages, Queue};
use its_gic::register::BASER_COUNT;
use its_gic::{Creadr, Register};
use its_machine::{
    AccessSize, Action, Area, Direction, Hypercall, ItsConfiguration, Machine, Outcome,
};
use its_scenario::{Boot, LiveDevice};

use crate::Perform;
use crate::events::MappedEvent;

/// Looks at CREADR before the host gives up on a queue.
pub(crate) const PATIENCE: usize = 16;

/// The place of the device table and of the collection table among the BASERs.
pub(crate) const DEVICES: usize = 0;
pub(crate) const COLLECTIONS: usize = 1;

/// The driver's state. Where there are several ITSs, all have the same redistributors, LPI tables
/// and ITT memory, and areas of their own for the rest.
#[derive(Clone, Debug)]
pub struct Driver {
    pub(crate) machine: Machine,
    pub(crate) its: u8,
    pub(crate) boot: Boot,
    /// Devices to map before set-up.
    pub(crate) live: Vec<LiveDevice>,
    pub(crate) cbaser: u64,
    pub(crate) basers: [u64; BASER_COUNT as usize],
    /// Where the host writes its commands: the hardware's queue, later the copy.
    pub(crate) queue: Queue,
    pub(crate) write_offset: u64,
    /// Where the host writes level-1 entries of devices and of collections: the hardware's table,
    /// later the copy.
    pub(crate) level1: [u64; 2],
    /// Those that it wrote: of which table, index, value.
    pub(crate) level1_entries: Vec<(usize, u64, u64)>,
    pub(crate) next_level2: u64,
    pub(crate) events: Vec<MappedEvent>,
    /// Devices that it wrote a MAPD for, in that order: DeviceID, Size, ITT address.
    pub(crate) devices: Vec<(u32, u8, u64)>,
}

impl Driver {
    /// Returns a driver of the n-th ITS that has done nothing yet. Live devices are the first
    /// ITS's.
    pub fn new(machine: Machine, its: u8, boot: Boot) -> Self {
        let live = match its {
            0 => boot.live(&machine.configuration(0)).collect(),
            _ => Vec::new(),
        };
        let bytes = u64::from(boot.queue_pages) << 12;
        let tables = [Area::DEVICE_TABLE, Area::COLLECTION_TABLE];
        Self {
            machine,
            its,
            boot,
            live,
            cbaser: 0,
            basers: [0; BASER_COUNT as usize],
            queue: Queue { address: Area::QUEUE.of_its(its).address(), bytes },
            write_offset: 0,
            level1: tables.map(|area| area.of_its(its).address()),
            level1_entries: Vec::new(),
            next_level2: 0,
            events: Vec::new(),
            devices: Vec::new(),
        }
    }

    /// Lets the driver act by this CPU.
    pub fn on<'a, P: Perform>(&'a mut self, cpu: u8, performer: &'a mut P) -> Acting<'a, P> {
        Acting { driver: self, cpu, performer }
    }

    /// Returns which ITS it drives.
    pub fn its(&self) -> u8 {
        self.its
    }

    pub(crate) fn configuration(&self) -> ItsConfiguration {
        self.machine.configuration(self.its)
    }

    /// Returns what serves its ITS as this area serves the first.
    pub(crate) fn area(&self, of_first: Area) -> Area {
        of_first.of_its(self.its)
    }

    /// Returns where it takes its level-2 tables from, a share of the area's blocks of 64 KiB.
    pub fn level2_pages(&self) -> Pages {
        let (area, first, blocks) = self.boot.level2_share(self.its);
        Pages { first: area.first() + u64::from(first) * 16, count: u64::from(blocks) * 16 }
    }

    /// Returns the value of GITS_CBASER that the host programmed.
    pub fn cbaser(&self) -> u64 {
        self.cbaser
    }

    /// Returns the value of a `GITS_BASER<n>` that the host programmed; 0 for one that is not
    /// implemented.
    pub fn baser(&self, n: u8) -> u64 {
        self.basers.get(usize::from(n)).copied().unwrap_or(0)
    }

    /// Returns where the host writes its commands: the hardware's queue, and after set-up the copy.
    pub fn queue(&self) -> Queue {
        self.queue
    }

    /// Returns where the host writes level-1 entries of devices and of collections, likewise.
    pub fn level1(&self) -> [u64; 2] {
        self.level1
    }

    /// Returns how many devices it mapped and did not unmap.
    pub fn mapped_devices(&self) -> usize {
        self.devices.len()
    }

    /// Returns how many private pages it gives EL2.
    pub fn private_pages(&self) -> u64 {
        self.boot.private_pages.into()
    }

    /// Returns the physical address of the control frame of its ITS.
    pub fn control_frame(&self) -> u64 {
        self.machine.its[usize::from(self.its)]
    }

    /// Returns the physical address of a register of its ITS.
    pub fn register(&self, register: Register) -> u64 {
        self.control_frame() + register.offset()
    }

    /// Returns the linear-map address of a physical one.
    pub fn linear(&self, address: u64) -> u64 {
        address.wrapping_add(self.machine.linear_map)
    }

    /// Goes on at slot 0, as after a write of GITS_CBASER.
    pub fn restart(&mut self) {
        self.write_offset = 0;
    }
}

/// A driver that acts by a CPU.
pub struct Acting<'a, P> {
    driver: &'a mut Driver,
    pub(crate) cpu: u8,
    performer: &'a mut P,
}

impl<P> Deref for Acting<'_, P> {
    type Target = Driver;

    fn deref(&self) -> &Driver {
        self.driver
    }
}

impl<P> DerefMut for Acting<'_, P> {
    fn deref_mut(&mut self) -> &mut Driver {
        self.driver
    }
}

impl<P: Perform> Acting<'_, P> {
    pub(crate) fn act(&mut self, action: Action) -> Outcome {
        self.performer.perform(action)
    }

    /// Makes a hypercall.
    pub fn hypercall(&mut self, call: Hypercall, arguments: [u64; 4]) -> Outcome {
        self.act(Action::Hypercall { cpu: self.cpu, x0: call.function_id(), arguments })
    }

    pub(crate) fn load(&mut self, address: u64) -> Option<u64> {
        match self.act(Action::Load { cpu: self.cpu, address }) {
            Outcome::Value(value) => Some(value),
            _ => None,
        }
    }

    pub(crate) fn store(&mut self, address: u64, value: u64) {
        self.act(Action::Store { cpu: self.cpu, address, value });
        self.clean(address, 8);
    }

    /// Cleans memory that a device is going to read, where its stores stay in caches. Linux does
    /// that where Shareability reads 0 or firmware says `dma-noncoherent`.
    pub(crate) fn clean(&mut self, address: u64, bytes: u64) {
        if self.machine.coherence.caches_host() {
            self.act(Action::Clean { cpu: self.cpu, address, bytes });
        }
    }

    fn size_of(register: Register) -> AccessSize {
        if register.width() == 8 { AccessSize::Double } else { AccessSize::Word }
    }

    /// Reads a register of the ITS in its own size; 0 when refused.
    pub fn read(&mut self, register: Register) -> u64 {
        self.read_at(self.register(register), Self::size_of(register))
    }

    /// Writes a register of the ITS in its own size.
    pub fn write(&mut self, register: Register, value: u64) {
        self.write_at(self.register(register), Self::size_of(register), value);
    }

    /// A half of `GITS_BASER<register>`, or of GITS_CBASER if that is 8 := the value that the host
    /// programmed, XOR `flip`.
    pub fn write_half(&mut self, register: u8, high: bool, flip: u64) {
        let (register, whole) = match register {
            8 => (Register::Cbaser, self.cbaser),
            n => (Register::Baser(n), self.baser(n)),
        };
        let shift = if high { 32 } else { 0 };
        let value = (whole >> shift ^ flip) & 0xffff_ffff;
        self.write_at(self.register(register) + shift / 8, AccessSize::Word, value);
    }

    pub(crate) fn read_at(&mut self, address: u64, size: AccessSize) -> u64 {
        let cpu = self.cpu;
        match self.act(Action::Device { cpu, address, size, direction: Direction::Read }) {
            Outcome::Value(value) => value,
            _ => 0,
        }
    }

    pub(crate) fn write_at(&mut self, address: u64, size: AccessSize, value: u64) {
        let cpu = self.cpu;
        self.act(Action::Device { cpu, address, size, direction: Direction::Write(value) });
    }

    /// Reads GITS_CREADR.
    pub fn poll(&mut self) -> Creadr {
        Creadr::from_bits(self.read(Register::Creadr))
    }

    /// Waits until the hardware took everything, or stalls, or patience ends.
    pub fn drain(&mut self) {
        for _ in 0..PATIENCE {
            let creadr = self.poll();
            if creadr.offset() == self.write_offset || creadr.stalled() {
                return;
            }
            self.act(Action::Advance { its: self.its, commands: 64 });
        }
    }
}
