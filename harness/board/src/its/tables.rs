//! Where the physical ITS finds its entries in memory.

use its_el2::Event;
use its_gic::geometry::{Level1Entry, Location, Table};

use super::format::{CollectionEntry, DeviceEntry, Format, InterruptEntry};
use super::{Bus, COLLECTIONS, DEVICES, PhysicalIts};

/// Why an entry could not be found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Missing {
    /// The id is beyond what the register fields or the table allow.
    OutOfRange,
    /// The level-1 entry is invalid.
    NoLevel2,
}

impl Bus<'_> {
    /// Reads a word as the ITS sees it.
    pub(super) fn fetch(&mut self, address: u64) -> u64 {
        let fetched = self.memory.fetch(address);
        if fetched.stale {
            self.events.push(Event::StaleRead { address });
        }
        fetched.value
    }

    /// Reads the eight bytes at any address, as the ITS sees them.
    fn fetch_unaligned(&mut self, address: u64) -> u64 {
        let (aligned, shift) = (address & !7, (address & 7) * 8);
        let low = self.fetch(aligned) >> shift;
        if shift == 0 {
            return low;
        }
        low | self.fetch(aligned + 8) << (64 - shift)
    }

    fn store_unaligned(&mut self, address: u64, value: u64) {
        let (aligned, shift) = (address & !7, (address & 7) * 8);
        if shift == 0 {
            return self.memory.write(aligned, value);
        }
        let low = self.memory.read(aligned) & ((1 << shift) - 1);
        let high = self.memory.read(aligned + 8) & (u64::MAX << shift);
        self.memory.write(aligned, low | value << shift);
        self.memory.write(aligned + 8, high | value >> (64 - shift));
    }
}

/// One device as its entry describes it.
#[derive(Clone, Copy)]
pub(super) struct Itt {
    pub address: u64,
    /// EventID bits, minus 1.
    pub size: u8,
}

impl PhysicalIts {
    pub(super) fn format(bus: &Bus) -> Format {
        Format {
            field_order: bus.machine.character.field_order,
        }
    }

    fn entry(&self, table: usize, id: u32, bus: &mut Bus) -> Result<u64, Missing> {
        let baser = self.basers[table];
        if !baser.valid() {
            return Err(Missing::OutOfRange);
        }
        let table = Table::new(baser);
        match table.locate(id).ok_or(Missing::OutOfRange)? {
            Location::Flat(address) => Ok(address),
            Location::Indirect {
                level1_entry,
                offset,
            } => {
                let entry = Level1Entry(bus.fetch(level1_entry));
                if !entry.is_valid() {
                    return Err(Missing::NoLevel2);
                }
                Ok(entry.address(table.page_size) + offset)
            }
        }
    }

    fn device_entry(&self, device_id: u32, bus: &mut Bus) -> Result<u64, Missing> {
        if u64::from(device_id) >= bus.machine.character.typer().device_ids() {
            return Err(Missing::OutOfRange);
        }
        let entry_bytes = self.basers[DEVICES].entry_bytes();
        let start = self.entry(DEVICES, device_id, bus)?;
        Ok(start + Self::format(bus).word_offset(entry_bytes))
    }

    /// The ITT of a device, `None` while it is unmapped.
    pub(super) fn device(&self, device_id: u32, bus: &mut Bus) -> Result<Option<Itt>, Missing> {
        let address = self.device_entry(device_id, bus)?;
        let word = bus.fetch(address);
        Ok(Self::format(bus).read_device(word).map(|entry| Itt {
            address: entry.itt_address,
            size: entry.size,
        }))
    }

    pub(super) fn set_device(&mut self, device_id: u32, itt: Option<Itt>, bus: &mut Bus) {
        let Ok(address) = self.device_entry(device_id, bus) else {
            return;
        };
        let entry = itt.map(|itt| DeviceEntry {
            itt_address: itt.address,
            size: itt.size,
        });
        let word = Self::format(bus).device(entry);
        bus.memory.write(address, word);
        // Behind a bad pointer there may be no memory that keeps it.
        let kept = itt.filter(|_| bus.memory.read(address) == word);
        self.account_device(device_id, kept, bus);
    }

    /// Whether an ICID is in range of registers, hardware and table.
    pub(super) fn has_collection(&self, icid: u16, bus: &mut Bus) -> bool {
        u64::from(icid) < bus.machine.character.typer().collection_ids()
            && (usize::from(icid) < self.collections.len()
                || self.entry(COLLECTIONS, icid.into(), bus).is_ok())
    }

    fn collection_entry(&self, icid: u16, bus: &mut Bus) -> Option<u64> {
        let entry_bytes = self.basers[COLLECTIONS].entry_bytes();
        let start = self.entry(COLLECTIONS, icid.into(), bus).ok()?;
        Some(start + Self::format(bus).word_offset(entry_bytes))
    }

    /// RDbase of a collection, `None` while it is unmapped.
    pub(super) fn collection(&self, icid: u16, bus: &mut Bus) -> Option<u64> {
        if let Some(held) = self.collections.get(usize::from(icid)) {
            return *held;
        }
        let address = self.collection_entry(icid, bus)?;
        let word = bus.fetch(address);
        Some(Self::format(bus).read_collection(word)?.rdbase)
    }

    pub(super) fn set_collection(&mut self, icid: u16, rdbase: Option<u64>, bus: &mut Bus) {
        if let Some(held) = self.collections.get_mut(usize::from(icid)) {
            *held = rdbase;
            return;
        }
        let Some(address) = self.collection_entry(icid, bus) else {
            return;
        };
        let entry = rdbase.map(|rdbase| CollectionEntry { rdbase });
        let word = Self::format(bus).collection(entry);
        bus.memory.write(address, word);
    }

    fn interrupt_address(itt: Itt, event_id: u32, bus: &Bus) -> u64 {
        let entry_bytes = u64::from(bus.machine.character.itt_entry_bytes);
        let start = itt.address + u64::from(event_id) * entry_bytes;
        start + Self::format(bus).word_offset(entry_bytes)
    }

    pub(super) fn interrupt(itt: Itt, event_id: u32, bus: &mut Bus) -> Option<InterruptEntry> {
        let address = Self::interrupt_address(itt, event_id, bus);
        let word = bus.fetch_unaligned(address);
        Self::format(bus).read_interrupt(word)
    }

    pub(super) fn set_interrupt(
        itt: Itt,
        event_id: u32,
        entry: Option<InterruptEntry>,
        bus: &mut Bus,
    ) {
        let address = Self::interrupt_address(itt, event_id, bus);
        let word = Self::format(bus).interrupt(entry);
        bus.store_unaligned(address, word);
    }
}
