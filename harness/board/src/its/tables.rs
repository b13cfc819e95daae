//! Where the physical ITS finds its entries, in its caches or in memory.

use its_gic::geometry::{Level1Entry, Location, Table};
use its_machine::{Event, Snooping};

use super::cache::Key;
use super::format::{CollectionEntry, DeviceEntry, Format, InterruptEntry};
use super::{Bus, COLLECTIONS, DEVICES, EventKey, PhysicalIts, Stored};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Missing {
    /// The id is beyond what the register fields or the table allow.
    OutOfRange,
    NoLevel2,
}

/// The eight bytes at any address, of words that are read at aligned ones.
fn unaligned(address: u64, mut read: impl FnMut(u64) -> u64) -> u64 {
    let (aligned, shift) = (address & !7, (address & 7) * 8);
    let low = read(aligned) >> shift;
    if shift == 0 {
        return low;
    }
    low | read(aligned + 8) << (64 - shift)
}

impl Bus<'_> {
    /// Reads a word of a table or an ITT as the ITS sees it.
    pub(super) fn fetch(&mut self, address: u64) -> u64 {
        self.fetch_by(self.machine.coherence.tables, address)
    }

    /// Reads a word as an ITS sees it that snoops like this.
    pub(super) fn fetch_by(&mut self, snooping: Snooping, address: u64) -> u64 {
        let fetched = self.memory.fetch_by(snooping, address);
        if fetched.stale {
            self.events.push(Event::StaleRead { address });
        }
        fetched.value
    }

    /// Reads the eight bytes at any address, as the ITS sees them.
    pub(super) fn fetch_unaligned(&mut self, address: u64) -> u64 {
        unaligned(address, |word| self.fetch(word))
    }

    /// Reads the eight bytes at any address, as they were stored last.
    pub(super) fn read_unaligned(&self, address: u64) -> u64 {
        unaligned(address, |word| self.memory.latest(word))
    }

    pub(super) fn store_unaligned(&mut self, address: u64, value: u64, accounted: bool) {
        let (aligned, shift) = (address & !7, (address & 7) * 8);
        if shift == 0 {
            return self.store(aligned, value, accounted);
        }
        let snooping = self.machine.coherence.tables;
        let now = |word| self.memory.fetch_by(snooping, word).value;
        let low = now(aligned) & ((1 << shift) - 1);
        let high = now(aligned + 8) & (u64::MAX << shift);
        self.store(aligned, low | value << shift, accounted);
        self.store(aligned + 8, high | value >> (64 - shift), accounted);
    }

    fn store(&mut self, address: u64, value: u64, accounted: bool) {
        self.memory.write_by_device(self.machine.coherence.tables, address, value);
        self.stores.push(Stored { address, accounted });
    }
}

impl PhysicalIts {
    pub(super) fn format(&self) -> Format {
        Format { field_order: self.configuration.field_order }
    }

    /// Address of the word of an entry that the table has room for.
    fn place(&mut self, n: usize, id: u32, bus: &mut Bus) -> Result<u64, Missing> {
        let table = Table::new(self.basers[n]);
        let start = match table.locate(id) {
            Location::Flat(address) => address,
            Location::Indirect { level1_entry, offset } => {
                let key = Key::Level1 { table: n as u8, index: table.level1_index(id) as u32 };
                let entry = Level1Entry(self.load(key, level1_entry, bus));
                if !entry.is_valid() {
                    return Err(Missing::NoLevel2);
                }
                entry.address(table.page_size) + offset
            }
        };
        Ok(start + self.format().word_offset(table.entry_bytes))
    }

    // ---- devices

    /// How many DeviceIDs the registers and the table allow.
    pub(super) fn device_count(&self) -> u64 {
        let baser = self.basers[DEVICES];
        if !baser.valid() {
            return 0;
        }
        let named = self.configuration.typer().device_ids();
        named.min(Table::new(baser).capacity())
    }

    /// Where the entry of a device is to be written.
    pub(super) fn device_place(&mut self, device_id: u32, bus: &mut Bus) -> Result<u64, Missing> {
        if u64::from(device_id) >= self.device_count() {
            return Err(Missing::OutOfRange);
        }
        self.place(DEVICES, device_id, bus)
    }

    /// The entry of a device, `None` while it is unmapped.
    pub(super) fn device(
        &mut self,
        device_id: u32,
        bus: &mut Bus,
    ) -> Result<Option<DeviceEntry>, Missing> {
        if u64::from(device_id) >= self.device_count() {
            return Err(Missing::OutOfRange);
        }
        let key = Key::Device(device_id);
        let word = match self.cache.word(key) {
            Some(word) => word,
            None => {
                let address = self.place(DEVICES, device_id, bus)?;
                self.load(key, address, bus)
            }
        };
        Ok(self.format().read_device(word))
    }

    pub(super) fn set_device(
        &mut self,
        device_id: u32,
        address: u64,
        entry: Option<DeviceEntry>,
        bus: &mut Bus,
    ) {
        let key = Key::Device(device_id);
        let word = self.format().device(entry);
        self.store(key, address, word, bus);
        // Behind a bad pointer there may be no memory that keeps it.
        let kept = self.cache.word(key);
        let word = kept.unwrap_or_else(|| bus.memory.latest(address));
        self.account_device(device_id, self.format().read_device(word), bus);
    }

    // ---- collections

    fn collections_in_memory(&self) -> u64 {
        let baser = self.basers[COLLECTIONS];
        if baser.valid() { Table::new(baser).capacity() } else { 0 }
    }

    /// The collection whose entry in memory is the n-th. Those that are held inside come before it
    /// if the two add up; else their entries in memory are not used.
    pub(super) fn icid(&self, entry: u32) -> u16 {
        (entry + self.first_in_memory()) as u16
    }

    fn first_in_memory(&self) -> u32 {
        if self.configuration.cumulative_collections { self.collections.len() as u32 } else { 0 }
    }

    /// How many ICIDs the registers, the hardware and the table allow (TYPER.HCC, CCT, CIL).
    pub(super) fn collection_count(&self) -> u64 {
        let held = self.collections.len() as u64;
        let count = match self.collections_in_memory() {
            0 => held,
            memory if self.configuration.cumulative_collections => held + memory,
            memory => memory,
        };
        count.min(self.configuration.typer().collection_ids())
    }

    /// Where the entry of a collection is to be written; `None` inside the ITS.
    pub(super) fn collection_place(
        &mut self,
        icid: u16,
        bus: &mut Bus,
    ) -> Result<Option<u64>, Missing> {
        if u64::from(icid) >= self.collection_count() {
            return Err(Missing::OutOfRange);
        }
        if usize::from(icid) < self.collections.len() {
            return Ok(None);
        }
        let entry = u32::from(icid) - self.first_in_memory();
        self.place(COLLECTIONS, entry, bus).map(Some)
    }

    /// RDbase of a collection, `None` while it is unmapped.
    pub(super) fn collection(&mut self, icid: u16, bus: &mut Bus) -> Result<Option<u64>, Missing> {
        if u64::from(icid) >= self.collection_count() {
            return Err(Missing::OutOfRange);
        }
        if let Some(held) = self.collections.get(usize::from(icid)) {
            return Ok(*held);
        }
        let key = Key::Collection(icid);
        let word = match self.cache.word(key) {
            Some(word) => word,
            None => match self.collection_place(icid, bus)? {
                Some(address) => self.load(key, address, bus),
                None => 0,
            },
        };
        let entry = self.format().read_collection(word);
        Ok(entry.map(|entry| entry.rdbase))
    }

    /// Maps or unmaps a collection whose entry is at `place`, or inside.
    pub(super) fn set_collection(
        &mut self,
        icid: u16,
        place: Option<u64>,
        rdbase: Option<u64>,
        bus: &mut Bus,
    ) {
        if let Some(held) = self.collections.get_mut(usize::from(icid)) {
            *held = rdbase;
        } else if let Some(address) = place {
            let entry = rdbase.map(|rdbase| CollectionEntry { rdbase });
            let word = self.format().collection(entry);
            self.store(Key::Collection(icid), address, word, bus);
        }
    }

    // ---- events

    pub(super) fn itt_entry_bytes(&self) -> u64 {
        self.configuration.itt_entry_bytes.into()
    }

    pub(super) fn interrupt_place(&self, itt: DeviceEntry, event_id: u32) -> u64 {
        let bytes = self.itt_entry_bytes();
        itt.itt_address + u64::from(event_id) * bytes + self.format().word_offset(bytes)
    }

    pub(super) fn interrupt(
        &mut self,
        event: EventKey,
        itt: DeviceEntry,
        bus: &mut Bus,
    ) -> Option<InterruptEntry> {
        let word = self.load(Key::Interrupt(event), self.interrupt_place(itt, event.1), bus);
        self.format().read_interrupt(word)
    }

    pub(super) fn set_interrupt(
        &mut self,
        event: EventKey,
        itt: DeviceEntry,
        entry: Option<InterruptEntry>,
        bus: &mut Bus,
    ) {
        let word = self.format().interrupt(entry);
        self.store(Key::Interrupt(event), self.interrupt_place(itt, event.1), word, bus);
    }
}
