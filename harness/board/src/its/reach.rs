//! The account of every pointer that the physical ITS can follow, kept up to date with each change.
//!
//! A pointer is a register (queue, tables), a valid level-1 entry or a valid device table entry. The account
//! changes when a register is written, when the ITS writes a device table entry, and when anybody else
//! stores into memory that holds such entries. [`PhysicalIts::walk`] finds the same from nothing.

use std::collections::BTreeMap;

use its_el2::{El2Side, Event, Exposure, HostSide, PageState, Purpose, Reach};
use its_gic::geometry::{
    LEVEL1_ENTRY_BYTES, Level1Entry, PAGE_BYTES, Pages, Queue, Table, itt_bytes,
};

use super::tables::Itt;
use super::{Bus, DEVICES, PhysicalIts};
use crate::layout::FLAT_PAGES;
use crate::memory::Memory;
use crate::ownership::Ownership;

/// All that one ITS can reach.
#[derive(Clone, Default)]
pub(super) struct Account {
    reach: BTreeMap<Purpose, (u64, u64)>,
    pages: Vec<u16>,
}

impl Account {
    fn count(&mut self, address: u64, bytes: u64, up: bool) {
        self.pages.resize(FLAT_PAGES, 0);
        for index in Pages::under(address, bytes)
            .iter()
            .take(FLAT_PAGES)
            .filter_map(crate::layout::flat_index)
        {
            self.pages[index] = if up {
                self.pages[index] + 1
            } else {
                self.pages[index] - 1
            };
        }
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
        exposure.host |= state.host_can_access();
        exposure.not_held |= !state.is_held();
        exposure.foreign |= is_foreign(page, state);
    }
    exposure
}

fn is_foreign(page: u64, state: PageState) -> bool {
    crate::layout::EL2.run().contains(page)
        || (state.host, state.el2) == (HostSide::Nothing, El2Side::Nothing)
}

impl PhysicalIts {
    /// The account, in ascending order.
    pub(crate) fn reach(&self) -> impl Iterator<Item = Reach> {
        let its = self.index;
        self.account
            .reach
            .iter()
            .map(move |(purpose, (address, bytes))| Reach {
                its,
                purpose: *purpose,
                address: *address,
                bytes: *bytes,
            })
    }

    /// Tells of a page that changed hands, if the ITS can reach it.
    pub(crate) fn page_changed(&self, page: u64, state: PageState, events: &mut Vec<Event>) {
        let Some(index) = crate::layout::flat_index(page) else {
            return;
        };
        if self
            .account
            .pages
            .get(index)
            .is_none_or(|count| *count == 0)
        {
            return;
        }
        for reach in self.reach() {
            if Pages::under(reach.address, reach.bytes).contains(page) {
                events.push(Event::ReachedPage { reach, page, state });
            }
        }
    }

    fn set(&mut self, purpose: Purpose, memory: Option<(u64, u64)>, bus: &mut Bus) {
        let before = self.account.reach.get(&purpose).copied();
        if before == memory {
            return;
        }
        let its = self.index;
        let reach = |(address, bytes)| Reach {
            its,
            purpose,
            address,
            bytes,
        };
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

    pub(super) fn account_queue(&mut self, bus: &mut Bus) {
        let queue = Queue::new(self.cbaser);
        let memory = self.cbaser.valid().then_some((queue.address, queue.bytes));
        self.set(Purpose::Queue, memory, bus);
    }

    pub(super) fn account_table(&mut self, n: usize, bus: &mut Bus) {
        let baser = self.basers[n];
        let memory = baser.valid().then(|| (baser.address(), baser.bytes()));
        self.set(Purpose::Table(n as u8), memory, bus);
        if n == DEVICES {
            self.account_devices(bus);
        }
    }

    pub(super) fn account_device(&mut self, device_id: u32, itt: Option<Itt>, bus: &mut Bus) {
        let entry_bytes = bus.machine.character.itt_entry_bytes.into();
        let memory = itt.map(|itt| (itt.address, itt_bytes(itt.size, entry_bytes)));
        self.set(Purpose::Itt { device_id }, memory, bus);
    }

    /// Level-2 tables and ITTs anew, from memory.
    fn account_devices(&mut self, bus: &mut Bus) {
        let found = self.walk_devices(bus);
        let gone: Vec<Purpose> = self
            .account
            .reach
            .keys()
            .filter(|purpose| {
                matches!(purpose, Purpose::Level2 { .. } | Purpose::Itt { .. })
                    && !found.contains_key(*purpose)
            })
            .copied()
            .collect();
        for purpose in gone {
            self.set(purpose, None, bus);
        }
        for (purpose, memory) in found {
            self.set(purpose, Some(memory), bus);
        }
    }

    /// Somebody else than the ITS filled a page.
    pub(crate) fn page_rewritten(&mut self, page: u64, bus: &mut Bus) {
        if crate::layout::flat_index(page)
            .and_then(|index| self.account.pages.get(index))
            .is_some_and(|count| *count > 0)
        {
            self.account_devices(bus);
        }
    }

    /// Somebody else than the ITS stored the word at `address`.
    pub(crate) fn word_changed(&mut self, address: u64, bus: &mut Bus) {
        let baser = self.basers[DEVICES];
        if !baser.valid() || self.account.pages.is_empty() {
            return;
        }
        let Some(page) = crate::layout::flat_index(address / PAGE_BYTES) else {
            return;
        };
        if self.account.pages[page] == 0 {
            return;
        }
        let table = Table::new(baser);
        let within = |start: u64, bytes: u64| address >= start && address - start < bytes;
        if within(table.address, table.bytes) && table.indirect {
            return self.level1_changed(table, (address - table.address) / LEVEL1_ENTRY_BYTES, bus);
        }
        let holds_devices = within(table.address, table.bytes)
            || self.reach().any(|reach| {
                matches!(reach.purpose, Purpose::Level2 { .. })
                    && within(reach.address, reach.bytes)
            });
        if holds_devices {
            self.account_devices(bus);
        }
    }

    fn level1_changed(&mut self, table: Table, index: u64, bus: &mut Bus) {
        let mut found = BTreeMap::new();
        walk_level1(table, index, bus, &mut found);
        let purpose = Purpose::Level2 {
            table: DEVICES as u8,
            index: index as u32,
        };
        let memory = found.remove(&purpose);
        let fresh = memory.is_some_and(|(address, bytes)| !bus.memory.has_contents(address, bytes));
        if fresh && !self.account.reach.contains_key(&purpose) {
            return self.set(purpose, memory, bus);
        }
        self.account_devices(bus);
    }

    /// Everything that the ITS can reach, found from registers and memory alone.
    pub(crate) fn walk(&self, bus: &Bus) -> BTreeMap<Purpose, (u64, u64)> {
        let mut found = self.walk_devices(bus);
        if self.cbaser.valid() {
            let queue = Queue::new(self.cbaser);
            found.insert(Purpose::Queue, (queue.address, queue.bytes));
        }
        for (n, baser) in self.basers.iter().enumerate() {
            if baser.valid() {
                found.insert(Purpose::Table(n as u8), (baser.address(), baser.bytes()));
            }
        }
        found
    }

    fn walk_devices(&self, bus: &Bus) -> BTreeMap<Purpose, (u64, u64)> {
        let mut found = BTreeMap::new();
        let baser = self.basers[DEVICES];
        if !baser.valid() {
            return found;
        }
        let table = Table::new(baser);
        if table.indirect {
            for index in words_with_contents(table.address, table.bytes, bus) {
                walk_level1(table, index, bus, &mut found);
            }
        } else {
            walk_entries(table, table.address, table.bytes, 0, bus, &mut found);
        }
        found
    }
}

/// Indexes of the words of a run that are not zero; pages that were never written are passed over.
fn words_with_contents(address: u64, bytes: u64, bus: &Bus) -> Vec<u64> {
    let mut words = Vec::new();
    for page in Pages::under(address, bytes).iter().take(FLAT_PAGES) {
        if bus.memory.is_untouched(page) {
            continue;
        }
        let start = (page * PAGE_BYTES).max(address);
        let end = ((page + 1) * PAGE_BYTES).min(address + bytes);
        words.extend(
            (start..end)
                .step_by(8)
                .filter(|word| bus.memory.read(*word) != 0)
                .map(|word| (word - address) / 8),
        );
    }
    words
}

fn walk_level1(table: Table, index: u64, bus: &Bus, found: &mut BTreeMap<Purpose, (u64, u64)>) {
    let entry = Level1Entry(bus.memory.read(table.address + index * LEVEL1_ENTRY_BYTES));
    if !entry.is_valid() {
        return;
    }
    let (address, bytes) = (entry.address(table.page_size), table.page_size.bytes());
    let purpose = Purpose::Level2 {
        table: DEVICES as u8,
        index: index as u32,
    };
    found.insert(purpose, (address, bytes));
    let first = index * table.entries_per_page();
    walk_entries(table, address, bytes, first, bus, found);
}

fn walk_entries(
    table: Table,
    address: u64,
    bytes: u64,
    first: u64,
    bus: &Bus,
    found: &mut BTreeMap<Purpose, (u64, u64)>,
) {
    let format = PhysicalIts::format(bus);
    let limit = bus.machine.character.typer().device_ids();
    let mut last = None;
    for word in words_with_contents(address, bytes, bus) {
        let entry = word * 8 / table.entry_bytes;
        if last == Some(entry) || first + entry >= limit || entry >= bytes / table.entry_bytes {
            continue;
        }
        last = Some(entry);
        let place = address + entry * table.entry_bytes + format.word_offset(table.entry_bytes);
        if let Some(device) = format.read_device(bus.memory.read(place)) {
            let entry_bytes = bus.machine.character.itt_entry_bytes.into();
            let purpose = Purpose::Itt {
                device_id: (first + entry) as u32,
            };
            let memory = (device.itt_address, itt_bytes(device.size, entry_bytes));
            found.insert(purpose, memory);
        }
    }
}
