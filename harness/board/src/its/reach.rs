//! The account of every pointer that the physical ITS can follow, kept up to date with each change.
//!
//! A pointer is a register (queue, tables), a valid level-1 entry or a valid device table entry, in
//! a cache or else in memory. The account changes when a register is written, when the ITS writes a
//! device table entry, and when anything is stored into memory that holds such entries.
//! [`PhysicalIts::walk`] finds the same from nothing.

use std::collections::BTreeMap;

use its_gic::Baser;
use its_gic::geometry::{
    LEVEL1_ENTRY_BYTES, Level1Entry, PAGE_BYTES, Pages, Queue, Table, itt_bytes,
};
use its_machine::{Area, El2Side, Event, Exposure, HostSide, PageState, Purpose, Reach};

use super::cache::Key;
use super::format::DeviceEntry;
use super::{Bus, DEVICES, PhysicalIts};
use crate::flat::{FLAT_PAGES, Flat};
use crate::memory::Memory;
use crate::ownership::Ownership;

#[derive(Clone, Default)]
pub(super) struct Account {
    reach: BTreeMap<Purpose, (u64, u64)>,
    /// How many of them each page is under.
    pages: Vec<u16>,
}

impl Account {
    fn count(&mut self, address: u64, bytes: u64, up: bool) {
        self.pages.resize(FLAT_PAGES, 0);
        let run = Pages::under(address, bytes);
        for index in run.iter().take(FLAT_PAGES).filter_map(|page| Flat::ALL.index(page)) {
            self.pages[index] = if up { self.pages[index] + 1 } else { self.pages[index] - 1 };
        }
    }

    /// How many of them a page is under.
    fn at(&self, page: u64) -> u16 {
        let count = Flat::ALL.index(page).and_then(|index| self.pages.get(index));
        count.copied().unwrap_or(0)
    }
}

/// What is wrong with memory that can be reached.
pub(crate) fn exposure(reach: &Reach, memory: &Memory, ownership: &Ownership) -> Exposure {
    let mut exposure = Exposure {
        contents: matches!(reach.purpose, Purpose::Level2 { .. })
            && memory.has_contents(reach.address, reach.bytes),
        ..Exposure::default()
    };
    let pages = Pages::under(reach.address, reach.bytes);
    if pages.count > FLAT_PAGES as u64 {
        exposure.outside = true;
        return exposure;
    }
    for page in pages.iter() {
        let Some(state) = ownership.state(page) else {
            exposure.outside = true;
            continue;
        };
        exposure.host |= state.host_can_store();
        exposure.not_held |= !state.stays();
        exposure.foreign |= Area::EL2.run().contains(page)
            || (state.host, state.el2) == (HostSide::Nothing, El2Side::Nothing);
    }
    exposure
}

fn contains((start, bytes): (u64, u64), address: u64) -> bool {
    address >= start && address - start < bytes
}

fn table_memory(baser: Baser) -> Option<(u64, u64)> {
    baser.valid().then(|| (baser.address(), baser.bytes()))
}

impl PhysicalIts {
    pub(crate) fn reach(&self) -> impl Iterator<Item = Reach> {
        let its = self.index;
        self.account.reach.iter().map(move |(purpose, (address, bytes))| Reach {
            its,
            purpose: *purpose,
            address: *address,
            bytes: *bytes,
        })
    }

    /// Tells of a page that changed hands, if the ITS can reach it.
    pub(crate) fn page_changed(&self, page: u64, state: PageState, events: &mut Vec<Event>) {
        if self.account.at(page) == 0 {
            return;
        }
        for reach in self.reach() {
            if Pages::under(reach.address, reach.bytes).contains(page) {
                events.push(Event::ReachedPage { reach, page, state });
            }
        }
    }

    // ---- changes

    fn set(&mut self, purpose: Purpose, memory: Option<(u64, u64)>, bus: &mut Bus) {
        let before = self.account.reach.get(&purpose).copied();
        if before == memory {
            return;
        }
        let its = self.index;
        let reach = |(address, bytes)| Reach { its, purpose, address, bytes };
        if let Some(old) = before {
            self.account.reach.remove(&purpose);
            self.account.count(old.0, old.1, false);
            bus.events.push(Event::Unreached(reach(old)));
        }
        if let Some(new) = memory {
            self.account.reach.insert(purpose, new);
            self.account.count(new.0, new.1, true);
            let reach = reach(new);
            let exposure = exposure(&reach, bus.memory, bus.ownership);
            bus.events.push(Event::Reached(reach, exposure));
        }
    }

    fn queue_memory(&self) -> Option<(u64, u64)> {
        let queue = Queue::new(self.cbaser);
        self.cbaser.valid().then_some((queue.address, queue.bytes))
    }

    fn itt_memory(&self, entry: DeviceEntry) -> (u64, u64) {
        let bytes = itt_bytes(entry.size, self.itt_entry_bytes());
        (entry.itt_address, bytes)
    }

    pub(super) fn account_queue(&mut self, bus: &mut Bus) {
        self.set(Purpose::Queue, self.queue_memory(), bus);
    }

    pub(super) fn account_table(&mut self, n: usize, bus: &mut Bus) {
        let memory = table_memory(self.basers[n]);
        self.set(Purpose::Table(n as u8), memory, bus);
        self.recount(bus);
    }

    pub(super) fn account_device(
        &mut self,
        device_id: u32,
        entry: Option<DeviceEntry>,
        bus: &mut Bus,
    ) {
        let memory = entry.map(|entry| self.itt_memory(entry));
        self.set(Purpose::Itt { device_id }, memory, bus);
    }

    /// Whether a page holds more than one thing that the ITS can reach, so that a store may mean
    /// more than one.
    pub(super) fn is_crowded(&self, address: u64) -> bool {
        self.account.at(address / PAGE_BYTES) > 1
    }

    /// Level-2 tables and ITTs anew, from caches and memory.
    pub(super) fn recount(&mut self, bus: &mut Bus) {
        let found = self.walk_entries(bus);
        let from = Purpose::Level2 { table: 0, index: 0 };
        let gone: Vec<Purpose> = self
            .account
            .reach
            .range(from..)
            .map(|(purpose, _)| *purpose)
            .filter(|purpose| {
                let entry = matches!(purpose, Purpose::Level2 { .. } | Purpose::Itt { .. });
                entry && !found.contains_key(purpose)
            })
            .collect();
        for purpose in gone {
            self.set(purpose, None, bus);
        }
        for (purpose, memory) in found {
            self.set(purpose, Some(memory), bus);
        }
    }

    pub(crate) fn page_rewritten(&mut self, page: u64, bus: &mut Bus) {
        if self.account.at(page) > 0 {
            self.recount(bus);
        }
    }

    /// The word at `address`, 8-byte aligned, was stored to.
    pub(crate) fn word_changed(&mut self, address: u64, bus: &mut Bus) {
        let table = Table::new(self.basers[DEVICES]);
        match self.account.at(address / PAGE_BYTES) {
            0 => {}
            _ if !self.holds_pointers(address) => {}
            1 if table.indirect && contains((table.address, table.bytes), address) => {
                let index = (address - table.address) / LEVEL1_ENTRY_BYTES;
                self.level1_changed(table, index as u32, bus);
            }
            _ => self.recount(bus),
        }
    }

    /// Whether an address is in a table of pointers: level 1, or entries of devices.
    fn holds_pointers(&self, address: u64) -> bool {
        let tables = Purpose::Table(0)..Purpose::Itt { device_id: 0 };
        self.account.reach.range(tables).any(|(purpose, memory)| {
            let pointers = match *purpose {
                Purpose::Table(n) => {
                    usize::from(n) == DEVICES || self.basers[usize::from(n)].indirect()
                }
                Purpose::Level2 { table, .. } => usize::from(table) == DEVICES,
                _ => false,
            };
            pointers && contains(*memory, address)
        })
    }

    /// A word of the level-1 device table. A new level-2 table of zeroes brings nothing but itself.
    fn level1_changed(&mut self, table: Table, index: u32, bus: &mut Bus) {
        let purpose = Purpose::Level2 { table: DEVICES as u8, index };
        let key = Key::Level1 { table: DEVICES as u8, index };
        if self.cache.word(key).is_some() {
            return;
        }
        let address = table.address + u64::from(index) * LEVEL1_ENTRY_BYTES;
        let entry = Level1Entry(bus.memory.latest(address));
        let memory = (entry.address(table.page_size), table.page_size.bytes());
        let is_new = entry.is_valid() && !self.account.reach.contains_key(&purpose);
        if is_new && !bus.memory.has_contents(memory.0, memory.1) {
            return self.set(purpose, Some(memory), bus);
        }
        self.recount(bus);
    }

    // ---- from nothing

    /// Everything that the ITS can reach, found from registers, caches and memory alone.
    pub(crate) fn walk(&self, bus: &Bus) -> BTreeMap<Purpose, (u64, u64)> {
        let mut found = self.walk_entries(bus);
        if let Some(memory) = self.queue_memory() {
            found.insert(Purpose::Queue, memory);
        }
        for (n, baser) in (0..).zip(self.basers) {
            if let Some(memory) = table_memory(baser) {
                found.insert(Purpose::Table(n), memory);
            }
        }
        found
    }

    fn walk_entries(&self, bus: &Bus) -> BTreeMap<Purpose, (u64, u64)> {
        let mut found = BTreeMap::new();
        for (n, baser) in self.basers.iter().enumerate() {
            let page_size = baser.page_size();
            for (index, entry) in self.level1_entries(n, bus) {
                let table = n as u8;
                let memory = (entry.address(page_size), page_size.bytes());
                found.insert(Purpose::Level2 { table, index }, memory);
            }
        }
        for (device_id, entry) in self.devices(bus) {
            found.insert(Purpose::Itt { device_id }, self.itt_memory(entry));
        }
        found
    }
}
