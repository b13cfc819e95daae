//! Commands, and the level-2 tables that devices and collections need.

use its_gic::command::{COMMAND_BYTES, Words};
use its_gic::geometry::{LEVEL1_ENTRY_BYTES, Level1Entry, Location, Table, itt_bytes};
use its_gic::{Baser, Command, Register};
use its_machine::{AccessSize, Action, Area};

use crate::Perform;
use crate::driver::{Acting, COLLECTIONS, DEVICES, Driver};

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

/// Commands of a run before CWRITER is written.
const BATCH: u16 = 64;
/// MAPD.ITT_addr names multiples of so many bytes.
const ITT_ALIGNMENT: u64 = 256;

impl Driver {
    /// Forgets the last `slots` slots written, so that they are written again.
    pub fn rewind(&mut self, slots: u64) {
        let back = slots * COMMAND_BYTES % self.queue.bytes;
        self.write_offset = (self.write_offset + self.queue.bytes - back) % self.queue.bytes;
    }

    /// Bytes of an ITT by MAPD.Size.
    fn itt_bytes(&self, size: u8) -> u64 {
        itt_bytes(size, self.configuration().itt_entry_bytes.into())
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

    /// The CPU, and redistributor, that a collection of the driver is for.
    pub(crate) fn cpu_of(&self, icid: u16) -> u8 {
        (usize::from(icid) % self.machine.redistributors.len()) as u8
    }

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
}

impl<P: Perform> Acting<'_, P> {
    /// Writes a command into the next slot, without posting it.
    pub fn write_command(&mut self, words: Words) {
        self.note_device(Command::decode(words));
        let address = self.queue.slot(self.write_offset);
        self.act(Action::StoreCommand { cpu: self.cpu, address, words });
        self.clean(address, COMMAND_BYTES);
        self.write_offset = self.queue.after(self.write_offset);
    }

    /// Changes a word, 0 to 3, of the slot written last: its value, XOR `flip`. No driver does
    /// that.
    pub fn flip_slot(&mut self, word: u8, flip: u64) {
        let last = (self.write_offset + self.queue.bytes - COMMAND_BYTES) % self.queue.bytes;
        let address = self.queue.slot(last) + 8 * u64::from(word);
        if let Some(value) = self.load(address) {
            self.store(address, value ^ flip);
        }
    }

    /// GITS_CWRITER := the slot after the last one written; in 32 bits, as Linux does, or 64.
    pub fn post(&mut self, retry: bool, size: AccessSize) {
        let value = self.write_offset | u64::from(retry);
        self.write_at(self.register(Register::Cwriter), size, value);
    }

    pub(crate) fn send(&mut self, command: Command) {
        self.write_command(command.encode());
    }

    pub(crate) fn post_and_drain(&mut self) {
        self.post(false, AccessSize::Word);
        self.drain();
    }

    /// Gives the device a level-2 table if it needs one, and an ITT.
    pub fn map_device(&mut self, device_id: u32, event_id_bits: u8, itt_address: u64) {
        self.ensure_level2(DEVICES, device_id);
        let size = event_id_bits.saturating_sub(1);
        self.clean(itt_address, self.itt_bytes(size));
        self.send(Command::Mapd { device_id, size, itt_address, valid: true });
        self.post_and_drain();
    }

    /// Does [`Acting::map_device`] for each, but writes CWRITER after as many commands as the
    /// production emulator judges in one trap.
    pub fn map_devices(&mut self, run: &DeviceRun) {
        let size = run.event_id_bits.saturating_sub(1);
        let itt_bytes = self.itt_bytes(size);
        let apart = itt_bytes.next_multiple_of(ITT_ALIGNMENT);
        for n in 0..run.count {
            let device_id = run.first.wrapping_add(run.stride.wrapping_mul(n.into()));
            self.ensure_level2(DEVICES, device_id);
            let itt_address = run.itt_address.wrapping_add(apart * u64::from(n));
            self.clean(itt_address, itt_bytes);
            self.send(Command::Mapd { device_id, size, itt_address, valid: true });
            if (n + 1) % BATCH == 0 || n + 1 == run.count {
                self.post_and_drain();
            }
        }
    }

    /// DISCARD and SYNC for each event that was mapped by [`Acting::map_event`], then MAPD V=0,
    /// which like Linux's carries the device's Size and ITT address.
    pub fn unmap_device(&mut self, device_id: u32) {
        for event in self.events_of(device_id) {
            self.send_discard(event);
        }
        let known = self.devices.iter().find(|(known, ..)| *known == device_id);
        let (size, itt_address) =
            known.map_or((0, Area::ITT.address()), |(_, size, itt)| (*size, *itt));
        self.send(Command::Mapd { device_id, size, itt_address, valid: false });
        self.post_and_drain();
    }

    /// SYNC to the redistributor of a collection of the driver.
    pub(crate) fn sync(&mut self, icid: u16) {
        let rdbase = self.machine.rdbase(self.its, self.cpu_of(icid));
        self.send(Command::Sync { rdbase });
    }

    pub(crate) fn ensure_level2(&mut self, of: usize, id: u32) {
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
        self.set_level1((of, index), Level1Entry::valid(address).0);
    }

    /// Sets the level-1 entry of a DeviceID to a valid one for `level2`, with some bits flipped.
    pub fn grow(&mut self, device_id: u32, level2: u64, flip: u64) {
        self.grow_table((DEVICES, device_id), level2, flip);
    }

    /// The same of an ICID.
    pub fn grow_collection(&mut self, icid: u16, level2: u64, flip: u64) {
        self.grow_table((COLLECTIONS, icid.into()), level2, flip);
    }

    fn grow_table(&mut self, (of, id): (usize, u32), level2: u64, flip: u64) {
        if let Some(index) = self.level1_index(of, id) {
            self.set_level1((of, index), Level1Entry::valid(level2).0 ^ flip);
        }
    }

    fn set_level1(&mut self, (of, index): (usize, u64), entry: u64) {
        self.level1_entries.push((of, index, entry));
        let address = self.level1[of] + index * LEVEL1_ENTRY_BYTES;
        self.store(address, entry);
    }
}
