//! All that memory and caches hold: valid level-1 entries, mapped devices, mapped events.
//!
//! What is held in a cache counts before what is in memory. Looking this way changes nothing and is
//! no access of the ITS; the cost is that of the memory that is not zero.

use std::collections::{BTreeMap, BTreeSet};

use its_gic::geometry::{LEVEL1_ENTRY_BYTES, Level1Entry, PAGE_BYTES, Pages, Table, itt_bytes};

use super::cache::Key;
use super::format::{DeviceEntry, InterruptEntry};
use super::{Bus, DEVICES, EventKey, PhysicalIts};

#[derive(Clone, Copy)]
pub(super) struct MappedEvent {
    pub key: EventKey,
    pub entry: InterruptEntry,
}

/// Addresses of the words of a run, 8-byte aligned, that are not zero.
fn words_with_contents(address: u64, bytes: u64, bus: &Bus) -> Vec<u64> {
    let run = Pages::under(address, bytes);
    let mut words = Vec::new();
    for region in bus.machine.memory {
        let first = run.first.max(region.first);
        let end = (run.first + run.count).min(region.first + region.count);
        for page in first..end {
            let start = (page * PAGE_BYTES).max(address);
            let end = ((page + 1) * PAGE_BYTES).min(address + bytes);
            words.extend(bus.memory.latest_nonzero(start, end));
        }
    }
    words
}

impl PhysicalIts {
    /// The valid level-1 entries of `GITS_BASER<n>`'s table, by index.
    pub(super) fn level1_entries(&self, n: usize, bus: &Bus) -> BTreeMap<u32, Level1Entry> {
        let baser = self.basers[n];
        let table = Table::new(baser);
        let mut found = BTreeMap::new();
        if !baser.valid() || !table.indirect {
            return found;
        }
        for address in words_with_contents(table.address, table.bytes, bus) {
            let index = (address - table.address) / LEVEL1_ENTRY_BYTES;
            found.insert(index as u32, Level1Entry(bus.memory.latest(address)));
        }
        let entries = table.bytes / LEVEL1_ENTRY_BYTES;
        for (key, word) in self.cache.words() {
            if let Key::Level1 { table, index } = key
                && usize::from(table) == n
                && u64::from(index) < entries
            {
                found.insert(index, Level1Entry(word));
            }
        }
        found.retain(|_, entry| entry.is_valid());
        found
    }

    /// The entries of `GITS_BASER<n>`'s table whose memory is not all zero, with the address of
    /// their word.
    pub(super) fn entries_with_contents(&self, n: usize, bus: &Bus) -> Vec<(u32, u64)> {
        let baser = self.basers[n];
        let table = Table::new(baser);
        let mut found = BTreeMap::new();
        if !baser.valid() {
            return Vec::new();
        }
        // Flat or level-2 tables: the id of the first entry, address and bytes.
        let mut runs = vec![(0, table.address, table.bytes)];
        if table.indirect {
            let run = |(index, entry): (u32, Level1Entry)| {
                let first = u64::from(index) * table.entries_per_page();
                (first, entry.address(table.page_size), table.page_size.bytes())
            };
            runs = self.level1_entries(n, bus).into_iter().map(run).collect();
        }
        let entry_bytes = table.entry_bytes;
        let within = self.format().word_offset(entry_bytes);
        for (first, address, bytes) in runs {
            for word in words_with_contents(address, bytes, bus) {
                let entry = (word - address) / entry_bytes;
                if entry < bytes / entry_bytes {
                    found.insert(first + entry, address + entry * entry_bytes + within);
                }
            }
        }
        let usable = match n {
            DEVICES => self.device_count(),
            _ => self.collection_count().saturating_sub(self.icid(0).into()),
        };
        let usable = found.into_iter().filter(|(id, _)| *id < usable);
        usable.map(|(id, address)| (id as u32, address)).collect()
    }

    pub(super) fn devices(&self, bus: &Bus) -> BTreeMap<u32, DeviceEntry> {
        let mut found = BTreeMap::new();
        for (device_id, address) in self.entries_with_contents(DEVICES, bus) {
            if let Some(entry) = self.format().read_device(bus.memory.latest(address)) {
                found.insert(device_id, entry);
            }
        }
        let count = self.device_count();
        for (key, word) in self.cache.words() {
            let Key::Device(device_id) = key else {
                continue;
            };
            match self.format().read_device(word) {
                Some(entry) if u64::from(device_id) < count => found.insert(device_id, entry),
                _ => found.remove(&device_id),
            };
        }
        found
    }

    /// EventIDs whose entries in an ITT have contents in memory.
    pub(super) fn events_in_memory(&self, itt: DeviceEntry, bus: &Bus) -> BTreeSet<u32> {
        let entry_bytes = self.itt_entry_bytes();
        let bytes = itt_bytes(itt.size, entry_bytes);
        let mut found = BTreeSet::new();
        for word in words_with_contents(itt.itt_address, bytes, bus) {
            let within = word - itt.itt_address;
            let last = (within + 7).min(bytes - 1) / entry_bytes;
            found.extend((within / entry_bytes..=last).map(|event| event as u32));
        }
        found
    }

    pub(super) fn events(&self, device_id: u32, itt: DeviceEntry, bus: &Bus) -> Vec<MappedEvent> {
        let mut words: BTreeMap<u32, u64> = self
            .events_in_memory(itt, bus)
            .into_iter()
            .map(|event_id| {
                let address = self.interrupt_place(itt, event_id);
                (event_id, bus.read_unaligned(address))
            })
            .collect();
        let cached = self.cache.events(device_id);
        words.extend(cached.filter(|(event_id, _)| u64::from(*event_id) < 2 << itt.size));
        let event = |(event_id, word)| {
            let entry = self.format().read_interrupt(word)?;
            Some(MappedEvent { key: (device_id, event_id), entry })
        };
        words.into_iter().filter_map(event).collect()
    }

    fn all_events(&self, bus: &Bus) -> impl Iterator<Item = MappedEvent> {
        let devices = self.devices(bus).into_iter();
        devices.flat_map(move |(device_id, itt)| self.events(device_id, itt, bus))
    }

    pub(crate) fn mapped(&self, bus: &Bus) -> Vec<EventKey> {
        self.all_events(bus).map(|event| event.key).collect()
    }

    pub(super) fn events_of_collection(&self, icid: u16, bus: &Bus) -> Vec<MappedEvent> {
        self.all_events(bus).filter(|event| event.entry.icid == icid).collect()
    }
}
