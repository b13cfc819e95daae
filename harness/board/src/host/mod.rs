//! The host: a small imitation of the Linux ITS driver, which makes legal traffic out of actions.
//!
//! It probes an ITS, programs queue and tables, enables LPIs, maps devices and events; hands all of
//! it to EL2 and goes on in the copies that it keeps; configures, moves and unmaps interrupts;
//! suspends and resumes. It holds what the driver would hold and nothing of the board. One [`Host`]
//! drives one ITS; where there are two, both have the same redistributors, LPI tables and ITT
//! memory, and areas of their own for the rest.

mod events;
mod init;
mod power;

use its_gic::command::{COMMAND_BYTES, Words};
use its_gic::geometry::{
    LEVEL1_ENTRY_BYTES, Level1Entry, Location, Pages, Queue, Table, itt_bytes,
};
use its_gic::register::BASER_COUNT;
use its_gic::{Baser, Command, Creadr, Register};
use its_machine::{
    AccessSize, Action, Area, CPUS, Direction, Hypercall, ItsConfiguration, Machine, Outcome,
};

use events::MappedEvent;

/// Whoever carries out the host's actions.
pub trait Perform {
    /// Does one action.
    fn perform(&mut self, action: Action) -> Outcome;
}

/// What the host does before EL2 takes over.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    /// Devices mapped before set-up.
    pub live: Vec<LiveDevice>,
    /// 4 KiB pages of the queue, 1 to 16.
    pub queue_pages: u8,
    /// Pages for EL2's records, 1 to 4.
    pub private_pages: u8,
    /// ITS pages of the device table (flat or level 1), a power of two.
    pub table_pages: u8,
    /// INTID bits that the driver has LPI tables for, 14 to 16.
    pub intid_bits: u8,
    /// Where the ITS can have it, the collection table has two levels.
    pub two_level_collections: bool,
}

/// A device that is mapped before set-up, with one event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LiveDevice {
    pub device_id: u32,
    /// MAPD.Size is this minus 1.
    pub event_id_bits: u8,
    /// Physical address.
    pub itt_address: u64,
    pub event_id: u32,
    pub intid: u32,
    pub icid: u16,
}

/// Looks at CREADR before the host gives up on a queue.
const PATIENCE: usize = 16;

/// The driver's state.
#[derive(Clone, Debug)]
pub struct Host {
    machine: Machine,
    its: u8,
    plan: Plan,
    cbaser: u64,
    basers: [u64; BASER_COUNT as usize],
    /// Where the host writes its commands: the hardware's queue, later the copy.
    queue: Queue,
    write_offset: u64,
    /// Where the host writes level-1 entries of devices and of collections: the hardware's table,
    /// later the copy.
    level1: [u64; 2],
    /// Those that it wrote: of which table, index, value.
    level1_entries: Vec<(usize, u64, u64)>,
    next_level2: u64,
    events: Vec<MappedEvent>,
    /// Devices that it wrote a MAPD for, in that order: DeviceID, Size, ITT address.
    devices: Vec<(u32, u8, u64)>,
}

/// Many devices, of DeviceIDs that follow each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DeviceRun {
    /// The first DeviceID.
    pub first: u32,
    pub count: u16,
    /// From one DeviceID to the next; they wrap at 32 bits.
    pub stride: u32,
    /// MAPD.Size is this minus 1.
    pub event_id_bits: u8,
    /// Physical address of the first ITT; each next one is at the next possible address.
    pub itt_address: u64,
}

/// Commands of a run that are posted at once.
const BATCH: u16 = 64;
/// MAPD.ITT_addr names multiples of so many bytes.
const ITT_ALIGNMENT: u64 = 256;

/// The place of the device table and of the collection table among the BASERs.
const DEVICES: usize = 0;
const COLLECTIONS: usize = 1;
/// Devices that the list of one page has room for.
const LISTED_DEVICES: usize = 256;

impl Host {
    /// A driver of the n-th ITS (0 or 1) that has done nothing yet.
    pub fn new(machine: Machine, its: u8, plan: Plan) -> Self {
        let bytes = u64::from(plan.queue_pages) << 12;
        let mut host = Self {
            machine,
            its,
            plan,
            cbaser: 0,
            basers: [0; BASER_COUNT as usize],
            queue: Queue { address: 0, bytes },
            write_offset: 0,
            level1: [0; 2],
            level1_entries: Vec::new(),
            next_level2: 0,
            events: Vec::new(),
            devices: Vec::new(),
        };
        host.queue.address = host.area(Area::QUEUE).address();
        host.level1 =
            [Area::DEVICE_TABLE, Area::COLLECTION_TABLE].map(|area| host.area(area).address());
        host
    }

    /// Which ITS it drives.
    pub fn its(&self) -> u8 {
        self.its
    }

    fn configuration(&self) -> ItsConfiguration {
        self.machine.configuration(self.its)
    }

    /// What serves its ITS as this area serves the first.
    fn area(&self, of_first: Area) -> Area {
        of_first.of_its(self.its)
    }

    /// The copies of level-1 tables, of devices and of collections.
    fn level1_copies(&self) -> [Area; 2] {
        [Area::DEVICE_TABLE_COPY, Area::COLLECTION_TABLE_COPY].map(|area| self.area(area))
    }

    /// Where it takes its level-2 tables from: its share of the area.
    fn level2_pages(&self) -> Pages {
        let all = Area::LEVEL2.run();
        let count = all.count / self.machine.its.len() as u64;
        Pages { first: all.first + count * u64::from(self.its), count }
    }

    /// The value of GITS_CBASER that the host programmed.
    pub fn cbaser(&self) -> u64 {
        self.cbaser
    }

    /// The value of a `GITS_BASER<n>` that the host programmed; 0 for one that is not implemented.
    pub fn baser(&self, n: u8) -> u64 {
        self.basers.get(usize::from(n)).copied().unwrap_or(0)
    }

    /// Address of a register of the ITS.
    pub fn register(&self, register: Register) -> u64 {
        self.machine.its[usize::from(self.its)] + register.offset()
    }

    // ---- when EL2 takes over

    /// Drains the queue, writes the descriptor, copies what it will keep a copy of, and goes on in
    /// the copies.
    pub fn describe(&mut self, cpu: u8, on: &mut impl Perform) {
        self.drain(cpu, on);
        self.write_descriptor(cpu, on);
        self.level1 = self.level1_copies().map(Area::address);
        for (table, index, entry) in self.level1_entries.clone() {
            let address = self.level1[table] + index * LEVEL1_ENTRY_BYTES;
            self.store(cpu, address, entry, on);
        }
        self.queue.address = self.area(Area::QUEUE_COPY).address();
    }

    /// `__pkvm_prot_finalize` on one CPU.
    pub fn finalize(&mut self, cpu: u8, on: &mut impl Perform) -> Outcome {
        self.hypercall(cpu, Hypercall::ProtFinalize, [0; 4], on)
    }

    /// `__pkvm_init_its_emulation` with the descriptor that was written.
    pub fn set_up(&mut self, on: &mut impl Perform) -> Outcome {
        let arguments = [
            self.control_frame(),
            self.linear(self.area(Area::PRIVATE).address()),
            self.linear(self.area(Area::DESCRIPTOR).address()),
            self.plan.private_pages.into(),
        ];
        self.hypercall(0, Hypercall::InitItsEmulation, arguments, on)
    }

    /// Physical address of the control frame of its ITS.
    pub fn control_frame(&self) -> u64 {
        self.machine.its[usize::from(self.its)]
    }

    fn write_descriptor(&mut self, cpu: u8, on: &mut impl Perform) {
        let live = self.devices.len().min(LISTED_DEVICES);
        let mut words = vec![
            (0x00, self.linear(self.area(Area::QUEUE).address())),
            (0x08, self.linear(self.area(Area::QUEUE_COPY).address())),
            (0x10, self.queue.bytes),
            (0x18, live as u64),
            (0x20, self.linear(self.area(Area::LIVE_LIST).address())),
        ];
        for n in 0..u64::from(BASER_COUNT) {
            let baser = Baser::from_bits(self.basers[n as usize]);
            if !baser.valid() {
                words.push((0x50 + 0x20 * n, baser.into_bits()));
                continue;
            }
            let shadow = match self.level1_copies().get(n as usize) {
                Some(copy) if baser.indirect() => self.linear(copy.address()),
                _ => 0,
            };
            let order = (baser.bytes() >> 12).ilog2();
            let sizes = u64::from(order) | baser.page_size().bytes() << 32;
            words.push((0x40 + 0x20 * n, self.linear(baser.address())));
            words.push((0x48 + 0x20 * n, shadow));
            words.push((0x50 + 0x20 * n, baser.into_bits()));
            words.push((0x58 + 0x20 * n, sizes));
        }
        for (offset, value) in words {
            self.store(cpu, self.area(Area::DESCRIPTOR).address() + offset, value, on);
        }
        let listed = self.devices[..live].to_vec();
        for (index, (device_id, size, itt_address)) in (0..).zip(listed) {
            let entry = self.area(Area::LIVE_LIST).address() + index * 16;
            let word = u64::from(device_id) | u64::from(size) << 32;
            self.store(cpu, entry, word, on);
            self.store(cpu, entry + 8, itt_address, on);
        }
    }

    // ---- commands

    /// Writes a command into the next slot, without posting it.
    pub fn write_command(&mut self, cpu: u8, words: Words, on: &mut impl Perform) {
        self.note_device(Command::decode(words));
        on.perform(Action::StoreCommand {
            cpu,
            address: self.queue.slot(self.write_offset),
            words,
        });
        self.write_offset = self.queue.after(self.write_offset);
    }

    /// Remembers which devices there are.
    fn note_device(&mut self, command: Command) {
        let Command::Mapd { device_id, size, itt_address, valid } = command else {
            return;
        };
        self.devices.retain(|(known, ..)| *known != device_id);
        if valid {
            self.devices.push((device_id, size, itt_address));
        }
    }

    /// Changes a word, 0 to 3, of the slot written last: its value, XOR `flip`. No driver does
    /// that.
    pub fn flip_slot(&mut self, cpu: u8, word: u8, flip: u64, on: &mut impl Perform) {
        let last = (self.write_offset + self.queue.bytes - COMMAND_BYTES) % self.queue.bytes;
        let address = self.queue.slot(last) + 8 * u64::from(word);
        if let Outcome::Value(value) = on.perform(Action::Load { cpu, address }) {
            self.store(cpu, address, value ^ flip, on);
        }
    }

    /// Forgets the last `slots` slots written, so that they are written again.
    pub fn rewind(&mut self, slots: u64) {
        let back = slots * COMMAND_BYTES % self.queue.bytes;
        self.write_offset = (self.write_offset + self.queue.bytes - back) % self.queue.bytes;
    }

    /// Goes on at slot 0, as after a write of GITS_CBASER.
    pub fn restart(&mut self) {
        self.write_offset = 0;
    }

    /// GITS_CWRITER := the slot after the last one written; in 32 bits, as Linux does, or 64.
    pub fn post(&mut self, cpu: u8, retry: bool, size: AccessSize, on: &mut impl Perform) {
        let value = self.write_offset | u64::from(retry);
        self.write_at(cpu, self.register(Register::Cwriter), size, value, on);
    }

    /// Reads GITS_CREADR.
    pub fn poll(&mut self, cpu: u8, on: &mut impl Perform) -> Creadr {
        Creadr::from_bits(self.read(cpu, Register::Creadr, on))
    }

    /// Waits until the hardware took everything, or stalls, or patience ends.
    pub fn drain(&mut self, cpu: u8, on: &mut impl Perform) {
        for _ in 0..PATIENCE {
            let creadr = self.poll(cpu, on);
            if creadr.offset() == self.write_offset || creadr.stalled() {
                return;
            }
            on.perform(Action::Advance { its: self.its, commands: 64 });
        }
    }

    fn send(&mut self, cpu: u8, command: Command, on: &mut impl Perform) {
        self.write_command(cpu, command.encode(), on);
    }

    fn post_and_drain(&mut self, cpu: u8, on: &mut impl Perform) {
        self.post(cpu, false, AccessSize::Word, on);
        self.drain(cpu, on);
    }

    /// Gives the device a level-2 table if it needs one, and an ITT.
    pub fn map_device(
        &mut self,
        cpu: u8,
        device_id: u32,
        event_id_bits: u8,
        itt_address: u64,
        on: &mut impl Perform,
    ) {
        self.ensure_level2(cpu, DEVICES, device_id, on);
        let command = Command::Mapd {
            device_id,
            size: event_id_bits.saturating_sub(1),
            itt_address,
            valid: true,
        };
        self.send(cpu, command, on);
        self.post_and_drain(cpu, on);
    }

    /// [`Host::map_device`] for each, but posts as many commands at once as EL2 judges in one trap.
    pub fn map_devices(&mut self, cpu: u8, run: &DeviceRun, on: &mut impl Perform) {
        let size = run.event_id_bits.saturating_sub(1);
        let itt_bytes = itt_bytes(size, self.configuration().itt_entry_bytes.into());
        let apart = itt_bytes.next_multiple_of(ITT_ALIGNMENT);
        for n in 0..run.count {
            let device_id = run.first.wrapping_add(run.stride.wrapping_mul(n.into()));
            self.ensure_level2(cpu, DEVICES, device_id, on);
            let command = Command::Mapd {
                device_id,
                size,
                itt_address: run.itt_address.wrapping_add(apart * u64::from(n)),
                valid: true,
            };
            self.send(cpu, command, on);
            if (n + 1) % BATCH == 0 || n + 1 == run.count {
                self.post_and_drain(cpu, on);
            }
        }
    }

    /// DISCARD and SYNC for each event that was mapped by [`Host::map_event`], then MAPD V=0, which
    /// like Linux's still carries an ITT address.
    pub fn unmap_device(&mut self, cpu: u8, device_id: u32, on: &mut impl Perform) {
        for event in self.events_of(device_id) {
            self.send_discard(cpu, event, on);
        }
        let command =
            Command::Mapd { device_id, size: 0, itt_address: Area::ITT.address(), valid: false };
        self.send(cpu, command, on);
        self.post_and_drain(cpu, on);
    }

    /// The CPU, and redistributor, that a collection of the driver is for.
    fn cpu_of(icid: u16) -> u8 {
        (icid % u16::from(CPUS)) as u8
    }

    /// SYNC to the redistributor of a collection of the driver.
    fn sync(&mut self, cpu: u8, icid: u16, on: &mut impl Perform) {
        let rdbase = self.machine.rdbase(self.its, Self::cpu_of(icid));
        self.send(cpu, Command::Sync { rdbase }, on);
    }

    // ---- level-1 entries

    /// The index of the entry that covers an id, in a table of two levels.
    fn level1_index(&self, of: usize, id: u32) -> Option<u64> {
        let table = Table::new(Baser::from_bits(self.basers[of]));
        if u64::from(id) >= table.capacity() {
            return None;
        }
        match table.locate(id) {
            Location::Flat(_) => None,
            Location::Indirect { level1_entry, .. } => {
                Some((level1_entry - table.address) / LEVEL1_ENTRY_BYTES)
            }
        }
    }

    fn ensure_level2(&mut self, cpu: u8, of: usize, id: u32, on: &mut impl Perform) {
        let Some(index) = self.level1_index(of, id) else {
            return;
        };
        let area = self.level2_pages();
        let page_bytes = self.configuration().largest_page_size().bytes();
        let blocks = (area.count << 12) / page_bytes;
        let mut entries = self.level1_entries.iter();
        let is_there = entries.any(|(table, known, _)| (*table, *known) == (of, index));
        if is_there || self.next_level2 >= blocks {
            return;
        }
        let address = (area.first << 12) + self.next_level2 * page_bytes;
        self.next_level2 += 1;
        self.set_level1(cpu, (of, index), Level1Entry::valid(address).0, on);
    }

    /// Sets the level-1 entry of a DeviceID to a valid one for `level2`, with some bits flipped.
    pub fn grow(&mut self, cpu: u8, device_id: u32, level2: u64, flip: u64, on: &mut impl Perform) {
        self.grow_table(cpu, (DEVICES, device_id), level2, flip, on);
    }

    /// The same of an ICID.
    pub fn grow_collection(
        &mut self,
        cpu: u8,
        icid: u16,
        level2: u64,
        flip: u64,
        on: &mut impl Perform,
    ) {
        self.grow_table(cpu, (COLLECTIONS, icid.into()), level2, flip, on);
    }

    fn grow_table(
        &mut self,
        cpu: u8,
        (of, id): (usize, u32),
        level2: u64,
        flip: u64,
        on: &mut impl Perform,
    ) {
        if let Some(index) = self.level1_index(of, id) {
            self.set_level1(cpu, (of, index), Level1Entry::valid(level2).0 ^ flip, on);
        }
    }

    fn set_level1(
        &mut self,
        cpu: u8,
        (of, index): (usize, u64),
        entry: u64,
        on: &mut impl Perform,
    ) {
        self.level1_entries.push((of, index, entry));
        let address = self.level1[of] + index * LEVEL1_ENTRY_BYTES;
        self.store(cpu, address, entry, on);
    }

    // ---- accesses

    /// The linear-map address of a physical one.
    pub fn linear(&self, address: u64) -> u64 {
        address.wrapping_add(self.machine.linear_map)
    }

    /// A hypercall.
    pub fn hypercall(
        &mut self,
        cpu: u8,
        call: Hypercall,
        arguments: [u64; 4],
        on: &mut impl Perform,
    ) -> Outcome {
        on.perform(Action::Hypercall { cpu, x0: call.function_id(), arguments })
    }

    fn store(&mut self, cpu: u8, address: u64, value: u64, on: &mut impl Perform) {
        on.perform(Action::Store { cpu, address, value });
    }

    fn size_of(register: Register) -> AccessSize {
        if register.width() == 8 { AccessSize::Double } else { AccessSize::Word }
    }

    /// Reads a register of the ITS in its own size; 0 when refused.
    pub fn read(&mut self, cpu: u8, register: Register, on: &mut impl Perform) -> u64 {
        self.read_at(cpu, self.register(register), Self::size_of(register), on)
    }

    /// Writes a register of the ITS in its own size.
    pub fn write(&mut self, cpu: u8, register: Register, value: u64, on: &mut impl Perform) {
        let size = Self::size_of(register);
        self.write_at(cpu, self.register(register), size, value, on);
    }

    /// A half of `GITS_BASER<register>`, or of GITS_CBASER if that is 8 := the value that the host
    /// programmed, XOR `flip`.
    pub fn write_half(
        &mut self,
        cpu: u8,
        register: u8,
        high: bool,
        flip: u64,
        on: &mut impl Perform,
    ) {
        let (register, whole) = match register {
            8 => (Register::Cbaser, self.cbaser),
            n => (Register::Baser(n), self.baser(n)),
        };
        let shift = if high { 32 } else { 0 };
        let address = self.register(register) + shift / 8;
        let value = (whole >> shift ^ flip) & 0xffff_ffff;
        self.write_at(cpu, address, AccessSize::Word, value, on);
    }

    fn read_at(&self, cpu: u8, address: u64, size: AccessSize, on: &mut impl Perform) -> u64 {
        let outcome = on.perform(Action::Device { cpu, address, size, direction: Direction::Read });
        match outcome {
            Outcome::Value(value) => value,
            _ => 0,
        }
    }

    fn write_at(&self, cpu: u8, address: u64, size: AccessSize, value: u64, on: &mut impl Perform) {
        on.perform(Action::Device { cpu, address, size, direction: Direction::Write(value) });
    }
}
