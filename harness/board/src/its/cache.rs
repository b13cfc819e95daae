//! Entries that the ITS holds itself: what it read, and what it wrote and has not yet stored.
//!
//! They are held by id, so that they outlive what the tables in memory become, until something
//! drops them: MAPD the entries of its device, a table that is given up where TYPER.INV promises
//! it, a loss of power everything. An invalid entry is held only as long as memory has not got it:
//! an invalid level-1 entry in particular must be read anew each time, for software makes it valid
//! without telling.

use std::collections::BTreeMap;

use its_gic::geometry::{LEVEL1_ENTRY_BYTES, Level1Entry, Table};
use its_machine::freedom::choice::{Caches, Fill};

use super::format::Format;
use super::{Bus, COLLECTIONS, DEVICES, EventKey, PhysicalIts};

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Key {
    Level1 { table: u8, index: u32 },
    Device(u32),
    Collection(u16),
    Interrupt(EventKey),
}

impl Key {
    fn is_valid(self, format: Format, word: u64) -> bool {
        match self {
            Self::Level1 { .. } => Level1Entry(word).is_valid(),
            Self::Device(_) => format.read_device(word).is_some(),
            Self::Collection(_) => format.read_collection(word).is_some(),
            Self::Interrupt(_) => format.read_interrupt(word).is_some(),
        }
    }

    /// The table that the entry belongs to; ITTs belong to the device table.
    fn table(self) -> usize {
        match self {
            Self::Level1 { table, .. } => table.into(),
            Self::Device(_) | Self::Interrupt(_) => DEVICES,
            Self::Collection(_) => COLLECTIONS,
        }
    }

    fn events_of(device_id: u32) -> std::ops::RangeInclusive<Self> {
        Self::Interrupt((device_id, 0))..=Self::Interrupt((device_id, u32::MAX))
    }
}

#[derive(Clone, Copy)]
struct Line {
    word: u64,
    /// Where it belongs in memory.
    address: u64,
    /// Memory has not got it yet.
    dirty: bool,
}

#[derive(Clone, Default)]
pub(super) struct Cache {
    lines: BTreeMap<Key, Line>,
}

impl Cache {
    pub(super) fn word(&self, key: Key) -> Option<u64> {
        self.lines.get(&key).map(|line| line.word)
    }

    pub(super) fn words(&self) -> impl Iterator<Item = (Key, u64)> {
        self.lines.iter().map(|(key, line)| (*key, line.word))
    }

    pub(super) fn events(&self, device_id: u32) -> impl Iterator<Item = (u32, u64)> {
        let lines = self.lines.range(Key::events_of(device_id));
        lines.filter_map(|(key, line)| match key {
            Key::Interrupt((_, event_id)) => Some((*event_id, line.word)),
            _ => None,
        })
    }
}

impl PhysicalIts {
    fn caches(&self) -> Caches {
        self.choices().get()
    }

    /// Reads an entry whose word is at `address`, unless it is held; then it is held, if it is
    /// valid.
    pub(super) fn load(&mut self, key: Key, address: u64, bus: &mut Bus) -> u64 {
        if let Some(word) = self.cache.word(key) {
            return word;
        }
        let word = bus.fetch_unaligned(address);
        let keeps = self.caches() != Caches::Absent && !bus.looking;
        if keeps && key.is_valid(self.format(), word) {
            let dirty = false;
            let line = Line { word, address, dirty };
            self.cache.lines.insert(key, line);
            // It may be older than what everybody else sees there.
            if word != bus.read_unaligned(address) {
                self.recount(bus);
            }
        }
        word
    }

    pub(super) fn store(&mut self, key: Key, address: u64, word: u64, bus: &mut Bus) {
        let caches = self.caches();
        if caches != Caches::WriteBack {
            let accounted = matches!(key, Key::Device(_)) && !self.is_crowded(address);
            bus.store_unaligned(address, word, accounted);
        }
        let dirty = caches == Caches::WriteBack;
        if dirty || caches == Caches::WriteThrough && key.is_valid(self.format(), word) {
            let line = Line { word, address, dirty };
            self.cache.lines.insert(key, line);
        } else {
            self.cache.lines.remove(&key);
        }
    }

    pub(super) fn flush(&mut self, bus: &mut Bus) {
        let mut flushed = false;
        for line in self.cache.lines.values_mut().filter(|line| line.dirty) {
            bus.store_unaligned(line.address, line.word, true);
            line.dirty = false;
            flushed = true;
        }
        if flushed {
            let format = self.format();
            self.cache.lines.retain(|key, line| key.is_valid(format, line.word));
            self.recount(bus);
        }
    }

    pub(super) fn invalidate_table(&mut self, n: usize) {
        self.cache.lines.retain(|key, _| key.table() != n);
    }

    /// Drops what is held of a device's events. What was unmapped reaches memory first: the ITT
    /// must not bring back an event that software discarded. What was mapped does not.
    pub(super) fn invalidate_events(&mut self, device_id: u32, bus: &mut Bus) {
        let format = self.format();
        let keys: Vec<Key> =
            self.cache.lines.range(Key::events_of(device_id)).map(|(key, _)| *key).collect();
        for key in keys {
            let Some(line) = self.cache.lines.remove(&key) else {
                continue;
            };
            if line.dirty && !key.is_valid(format, line.word) {
                bus.store_unaligned(line.address, line.word, false);
            }
        }
    }

    /// Enabled was set: an eager ITS reads what it could need.
    pub(super) fn read_ahead(&mut self, bus: &mut Bus) {
        if self.caches() == Caches::Absent || self.choices().picks(Fill::Late) {
            return;
        }
        for n in [DEVICES, COLLECTIONS] {
            self.read_level1_ahead(n, bus);
            for (id, address) in self.entries_with_contents(n, bus) {
                let key =
                    if n == DEVICES { Key::Device(id) } else { Key::Collection(self.icid(id)) };
                self.load(key, address, bus);
            }
        }
    }

    fn read_level1_ahead(&mut self, n: usize, bus: &mut Bus) {
        let table = Table::new(self.basers[n]);
        for index in self.level1_entries(n, bus).into_keys() {
            let address = table.address + u64::from(index) * LEVEL1_ENTRY_BYTES;
            let table = n as u8;
            self.load(Key::Level1 { table, index }, address, bus);
        }
    }
}
