//! What the ITSs wrote into memory, as values: the format is private to an ITS, the address is not.
//!
//! An entry has two sides: what the ITS goes by, and what memory holds, which differ while a cache
//! may be dirty.

use std::collections::BTreeMap;
use std::ops::Range;

use crate::possible::Possible;
use crate::tables::{COLLECTIONS, DEVICES};

/// The contents of a table entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Entry {
    /// Invalid, as zeroes are.
    Nothing,
    Device {
        itt: u64,
        /// EventID bits, minus 1.
        size: u8,
    },
    /// The redistributor of a collection.
    Collection(u8),
    Interrupt {
        intid: u32,
        icid: u16,
    },
}

/// Where an entry is. Entries of the same kind and ITS at the same address are the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Slot {
    /// A collection that the ITS holds itself.
    Held {
        its: u8,
        icid: u16,
    },
    Device {
        its: u8,
        address: u64,
    },
    Collection {
        its: u8,
        address: u64,
    },
    /// An ITT's entry means something to the device and event only that it was written for.
    Interrupt {
        its: u8,
        address: u64,
        device_id: u32,
        event_id: u32,
    },
}

impl Slot {
    pub(crate) fn its(self) -> u8 {
        match self {
            Self::Held { its, .. }
            | Self::Device { its, .. }
            | Self::Collection { its, .. }
            | Self::Interrupt { its, .. } => its,
        }
    }

    /// The table that it belongs to, as its place among the BASERs; ITTs belong to the device
    /// table.
    fn table(self) -> usize {
        match self {
            Self::Device { .. } | Self::Interrupt { .. } => DEVICES,
            Self::Held { .. } | Self::Collection { .. } => COLLECTIONS,
        }
    }

    fn address(self) -> Option<u64> {
        match self {
            Self::Held { .. } => None,
            Self::Device { address, .. }
            | Self::Collection { address, .. }
            | Self::Interrupt { address, .. } => Some(address),
        }
    }
}

#[derive(Clone, Debug)]
pub(crate) struct Cell {
    pub(crate) slot: Slot,
    pub(crate) bytes: u64,
    /// What the ITS goes by.
    pub(crate) seen: Possible<Entry>,
    /// What memory holds.
    pub(crate) stored: Possible<Entry>,
    /// Somebody else wrote there after the ITS did: its cache need not be dirty.
    overwritten: bool,
}

impl Cell {
    /// Whether it ends after an address.
    fn reaches(&self, address: u64) -> bool {
        self.slot.address().unwrap_or(0) + self.bytes > address
    }

    fn spoil(&mut self) {
        (self.seen, self.stored) = (Possible::Any, Possible::Any);
    }
}

/// All entries that an ITS wrote.
#[derive(Clone, Debug, Default)]
pub(crate) struct Cells {
    held: BTreeMap<Slot, Possible<Entry>>,
    cells: BTreeMap<u64, Cell>,
    /// Addresses and bytes of which nothing is known.
    tainted: Vec<(u64, u64)>,
}

/// The longest entry.
const MOST_BYTES: u64 = 32;

/// Where entries can start that share a byte with `bytes` at `address`.
fn around(address: u64, bytes: u64) -> Range<u64> {
    address.saturating_sub(MOST_BYTES)..address.saturating_add(bytes)
}

impl Cells {
    /// Cells that share a byte with `bytes` at `address`, ascending.
    pub(crate) fn under(&self, address: u64, bytes: u64) -> impl Iterator<Item = &Cell> {
        let cells = self.cells.range(around(address, bytes)).map(|(_, cell)| cell);
        cells.filter(move |cell| cell.reaches(address))
    }

    /// Whether an ITS may have written some of this memory.
    pub(crate) fn are_under(&self, address: u64, bytes: u64) -> bool {
        self.is_tainted(address, bytes) || self.under(address, bytes).next().is_some()
    }

    fn under_mut(&mut self, address: u64, bytes: u64) -> impl Iterator<Item = &mut Cell> {
        let cells = self.cells.range_mut(around(address, bytes)).map(|(_, cell)| cell);
        cells.filter(move |cell| cell.reaches(address))
    }

    /// What the ITS takes an entry for; `None` where nothing was written.
    pub(crate) fn seen(&self, slot: Slot, bytes: u64) -> Option<Possible<Entry>> {
        let Some(address) = slot.address() else {
            return self.held.get(&slot).cloned();
        };
        if self.is_tainted(address, bytes) {
            return Some(Possible::Any);
        }
        let mut under = self.under(address, bytes);
        let first = under.next()?;
        let same = first.slot == slot && first.bytes == bytes && under.next().is_none();
        Some(if same { first.seen.clone() } else { Possible::Any })
    }

    pub(crate) fn is_tainted(&self, address: u64, bytes: u64) -> bool {
        let mut tainted = self.tainted.iter();
        tainted.any(|tainted| crate::names::overlap(*tainted, (address, bytes)))
    }

    /// Nothing is known of this memory any more.
    pub(crate) fn taint(&mut self, address: u64, bytes: u64) {
        if !self.tainted.contains(&(address, bytes)) {
            self.tainted.push((address, bytes));
            self.under_mut(address, bytes).for_each(Cell::spoil);
        }
    }

    /// The ITS writes an entry. `lazily`: memory may keep what it held, too.
    pub(crate) fn write(&mut self, slot: Slot, bytes: u64, value: Possible<Entry>, lazily: bool) {
        let Some(address) = slot.address() else {
            self.held.insert(slot, value);
            return;
        };
        let value = if self.is_tainted(address, bytes) { Possible::Any } else { value };
        let nothing = Possible::only(Entry::Nothing);
        let old = self.cells.get(&address).filter(|cell| cell.slot == slot);
        // What its cache still holds the ITS need not write once more.
        let overwritten = old.is_some_and(|old| old.overwritten);
        let stored = match (old, lazily || overwritten) {
            (_, false) => value.clone(),
            (Some(old), true) => old.stored.clone().or(&value),
            (None, true) => nothing.or(&value),
        };
        // Other entries that it overlaps.
        let others = self.under_mut(address, bytes).filter(|cell| cell.slot != slot);
        others.for_each(Cell::spoil);
        let cell = Cell { slot, bytes, seen: value, stored, overwritten };
        self.cells.insert(address, cell);
    }

    /// Somebody else wrote there; `zero`: nothing but zeroes. `cached`: by ITS and table, whether
    /// it may go by what it knew.
    pub(crate) fn overwrite(
        &mut self,
        address: u64,
        bytes: u64,
        zero: bool,
        cached: impl Fn(u8, usize) -> bool,
    ) {
        let end = address.saturating_add(bytes);
        let mut gone = Vec::new();
        for cell in self.under_mut(address, bytes) {
            cell.overwritten = true;
            let at = cell.slot.address().unwrap_or(0);
            let whole = at >= address && at + cell.bytes <= end;
            cell.stored =
                if whole && zero { Possible::only(Entry::Nothing) } else { Possible::Any };
            if cached(cell.slot.its(), cell.slot.table()) {
                cell.seen.join(&cell.stored)
            } else {
                cell.seen = cell.stored.clone()
            }
            if cell.seen.known() == Some(Entry::Nothing) {
                gone.push(at);
            }
        }
        for at in gone {
            self.cells.remove(&at);
        }
    }

    /// Somebody else filled this memory with zeroes, which ITSs see now or later.
    pub(crate) fn zero_maybe(&mut self, address: u64, bytes: u64) {
        let nothing = Possible::only(Entry::Nothing);
        for cell in self.under_mut(address, bytes) {
            cell.overwritten = true;
            cell.seen.join(&nothing);
            cell.stored.join(&nothing);
        }
    }

    fn of_mut(&mut self, its: u8) -> impl Iterator<Item = &mut Cell> {
        let cells = self.cells.values_mut();
        cells.filter(move |cell| cell.slot.its() == its)
    }

    /// The ITS knows only what memory holds of the entries of a table.
    pub(crate) fn invalidate(&mut self, its: u8, n: usize) {
        for cell in self.of_mut(its).filter(|cell| cell.slot.table() == n) {
            cell.seen = cell.stored.clone();
        }
    }

    /// Memory is what the ITS knows, but for what somebody else wrote over entries that the cache
    /// had stored.
    pub(crate) fn clean(&mut self, its: u8) {
        for cell in self.of_mut(its) {
            if cell.overwritten {
                cell.stored.join(&cell.seen);
            } else {
                cell.stored = cell.seen.clone();
            }
        }
    }

    /// The ITS knows only what memory holds; what it held itself is gone, or kept if `keeps`.
    pub(crate) fn lose(&mut self, its: u8, keeps: bool) {
        for cell in self.of_mut(its) {
            cell.seen = cell.stored.clone();
        }
        for (_, value) in self.held.iter_mut().filter(|(slot, _)| slot.its() == its) {
            let nothing = Possible::only(Entry::Nothing);
            if keeps {
                value.join(&nothing);
            } else {
                *value = nothing;
            }
        }
    }

    /// What memory holds of an entry.
    pub(crate) fn stored(&self, slot: Slot) -> Possible<Entry> {
        let cell = slot.address().and_then(|address| self.cells.get(&address));
        cell.map_or(Possible::Any, |cell| cell.stored.clone())
    }

    /// Learns that an entry holds one of these.
    pub(crate) fn narrow(&mut self, slot: Slot, values: Possible<Entry>) {
        let Some(address) = slot.address() else {
            self.held.insert(slot, values);
            return;
        };
        if let Some(cell) = self.cells.get_mut(&address).filter(|cell| cell.slot == slot) {
            cell.seen = values;
        }
    }
}
