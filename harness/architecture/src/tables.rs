//! Where entries are, and what they hold.

use its_gic::geometry::{LEVEL1_ENTRY_BYTES, Level1Entry, Location, Table, itt_bytes};
use its_machine::freedom::choice::Caches;

use crate::architecture::Architecture;
use crate::cells::{Cell, Entry, Slot};
use crate::names::overlap;
use crate::path::{Path, Undefined};
use crate::possible::Possible;

/// The place of the device table among the BASERs, and of the collection table.
pub(crate) const DEVICES: usize = 0;
pub(crate) const COLLECTIONS: usize = 1;

/// Where the entry of an id is.
pub(crate) enum At {
    /// The id is beyond what table and ITS hold.
    Beyond,
    /// Its level-2 table is absent.
    Absent,
    /// There, so many bytes long.
    Slot(Slot, u64),
}

fn nothing() -> Possible<Entry> {
    Possible::only(Entry::Nothing)
}

impl Architecture {
    /// Whether an ITS may go by what it read before.
    pub(crate) fn caches(&self, its: usize) -> bool {
        let freedoms = &self.its[its].freedoms;
        freedoms.allow(Caches::WriteThrough) || freedoms.allow(Caches::WriteBack)
    }

    /// Where the entry of an id in the table of `GITS_BASER<n>` is.
    pub(crate) fn locate(
        &self,
        its: usize,
        n: usize,
        id: u32,
        path: &mut Path,
    ) -> Result<At, Undefined> {
        let typer = self.its[its].typer;
        let held = if n == COLLECTIONS { u32::from(typer.hcc()) } else { 0 };
        // GITS_TYPER.CCT = 0: the table's length alone says how many there are.
        let table = self.its[its].registers.table(n);
        let counted = table.filter(|_| !typer.cct());
        if id < held && counted.is_none_or(|table| u64::from(id) < table.capacity()) {
            let (its, icid) = (its as u8, id as u16);
            return Ok(At::Slot(Slot::Held { its, icid }, 0));
        }
        let Some(table) = table else {
            return Ok(At::Beyond);
        };
        let index = id - self.first_id(its, n);
        if u64::from(index) >= table.capacity() {
            return Ok(At::Beyond);
        }
        let address = match table.locate(index) {
            Location::Flat(address) => address,
            Location::Indirect { level1_entry, offset } => {
                let entry = path.any(&self.level1(its, n, table.level1_index(index), level1_entry));
                if !Level1Entry(entry).is_valid() {
                    return Ok(At::Absent);
                }
                let level2 = Level1Entry(entry).address(table.page_size);
                self.check_level2(level2, table)?;
                level2 + offset
            }
        };
        let bytes = table.entry_bytes;
        if !self.machine.is_memory(address, bytes) {
            return Err("a table is no memory");
        }
        let its = its as u8;
        Ok(At::Slot(
            match n {
                DEVICES => Slot::Device { its, address },
                _ => Slot::Collection { its, address },
            },
            bytes,
        ))
    }

    /// The id of a table's first entry. GITS_TYPER.CCT: the ITS's own collections and the table's add up, or the table
    /// alone counts.
    pub(crate) fn first_id(&self, its: usize, n: usize) -> u32 {
        let typer = self.its[its].typer;
        match n == COLLECTIONS && typer.cct() {
            true => typer.hcc().into(),
            false => 0,
        }
    }

    /// What a level-1 entry can be taken for: GITS_TYPER.INV, valid ones may be cached, those of earlier tables too.
    fn level1(&self, its: usize, n: usize, index: u64, address: u64) -> Vec<u64> {
        let mut values = vec![self.memory.word(address)];
        let cached = |address: u64, values: &mut Vec<u64>| {
            let before = self.its[its].level1.get(&address);
            values.extend(before.into_iter().flatten());
        };
        cached(address, &mut values);
        for table in self.its[its].former[n].iter().filter(|table| table.indirect) {
            let address = table.address + LEVEL1_ENTRY_BYTES * index;
            if index < table.bytes / LEVEL1_ENTRY_BYTES {
                cached(address, &mut values);
                values.push(self.memory.word(address));
            }
        }
        let mut rest = values.split_off(1);
        rest.retain(|entry| Level1Entry(*entry).is_valid() && *entry != values[0]);
        rest.dedup();
        values.extend(rest);
        values
    }

    /// A level-2 table has memory to itself.
    fn check_level2(&self, level2: u64, table: Table) -> Result<(), Undefined> {
        let range = (level2, table.page_size.bytes());
        if self.structures().into_iter().any(|other| overlap(other, range)) {
            return Err("a level-2 table lies on another structure");
        }
        let same = |(_, entry): &(u64, u64)| {
            Level1Entry(*entry).is_valid() && Level1Entry(*entry).address(table.page_size) == level2
        };
        match self.memory.words(table.address, table.bytes).filter(same).count() {
            0 | 1 => Ok(()),
            _ => Err("two level-1 entries name one level-2 table"),
        }
    }

    /// Address and bytes of queues, flat and level-1 tables, and redistributors' tables.
    pub(crate) fn structures(&self) -> Vec<(u64, u64)> {
        let mut all = Vec::new();
        for its in &self.its {
            if its.registers.cbaser.value >> 63 == 1 {
                let queues = its.registers.queues(&its.freedoms).into_iter();
                all.extend(queues.map(|queue| (queue.address, queue.bytes)));
            }
            let tables = [DEVICES, COLLECTIONS].into_iter();
            let tables = tables.filter_map(|n| its.registers.table(n));
            all.extend(tables.map(|table| (table.address, table.bytes)));
        }
        let on = |one: &&super::lpi::Redistributor| one.on().possible();
        let tables = self.redistributors.iter().filter(on);
        all.extend(tables.flat_map(super::lpi::Redistributor::tables));
        all
    }

    /// Queue and tables of an ITS that is being enabled have memory to themselves.
    pub(crate) fn check_disjoint(&self, its: usize) -> Result<(), Undefined> {
        let registers = &self.its[its].registers;
        let queue = registers.queue();
        let mut own = vec![(queue.address, queue.bytes)];
        let tables = [DEVICES, COLLECTIONS].into_iter();
        own.extend(
            tables.filter_map(|n| registers.table(n)).map(|table| (table.address, table.bytes)),
        );
        let all = self.structures();
        let twice =
            |one: &(u64, u64)| all.iter().filter(|other| overlap(*one, **other)).count() > 1;
        if own.iter().any(twice) {
            return Err("a queue or table lies on another structure");
        }
        if own.iter().any(|(address, bytes)| !self.machine.is_memory(*address, *bytes)) {
            return Err("a queue or table is no memory");
        }
        Ok(())
    }

    /// What an id without an entry is taken for: earlier tables may be cached.
    pub(crate) fn unbacked(
        &self,
        its: usize,
        n: usize,
        id: u32,
        path: &mut Path,
    ) -> Result<Entry, Undefined> {
        let stale = self.its[its].stale[n].as_ref();
        match stale.and_then(|stale| stale.get(&id)) {
            None => Ok(Entry::Nothing),
            Some(Possible::Any) => Err("a cached entry that nobody knows"),
            Some(Possible::Of(values)) => {
                let mut values = values.clone();
                values.push(Entry::Nothing);
                Ok(path.any(&values))
            }
        }
    }

    /// What an entry of an id is taken for.
    pub(crate) fn entry(&self, n: usize, id: u32, slot: Slot, bytes: u64) -> Possible<Entry> {
        let seen = self.seen(slot, bytes);
        match &self.its[usize::from(slot.its())].stale[n] {
            Some(stale) => seen.or(stale.get(&id).unwrap_or(&nothing())),
            None => seen,
        }
    }

    /// Where nothing was mapped memory must be zero, as it is handed over.
    pub(crate) fn seen(&self, slot: Slot, bytes: u64) -> Possible<Entry> {
        if let Some(seen) = self.cells.seen(slot, bytes) {
            return seen;
        }
        match slot {
            Slot::Held { .. } => nothing(),
            Slot::Device { address, .. }
            | Slot::Collection { address, .. }
            | Slot::Interrupt { address, .. } => {
                let start = address & !7;
                match self.memory.is_zero(start, address + bytes - start) {
                    true => nothing(),
                    false => Possible::Any,
                }
            }
        }
    }

    /// Where the entry of an event in an ITT is.
    pub(crate) fn event_slot(
        &self,
        its: usize,
        (device_id, event_id): (u32, u32),
        itt: u64,
    ) -> (Slot, u64) {
        let bytes = self.its[its].typer.itt_entry_bytes();
        let slot = Slot::Interrupt {
            its: its as u8,
            address: itt + u64::from(event_id) * bytes,
            device_id,
            event_id,
        };
        (slot, bytes)
    }

    /// The entries that an ITS wrote into a table, by id.
    pub(crate) fn entries(
        &self,
        its: usize,
        n: usize,
        table: Table,
    ) -> Vec<(u32, Possible<Entry>)> {
        let mut found = Vec::new();
        let mut collect = |first: u64, address: u64, bytes: u64| {
            for cell in self.cells.under(address, bytes) {
                let (of, at) = match (n, cell.slot) {
                    (DEVICES, Slot::Device { its, address }) => (its, address),
                    (COLLECTIONS, Slot::Collection { its, address }) => (its, address),
                    _ => continue,
                };
                if usize::from(of) == its {
                    let index = first + (at - address) / table.entry_bytes;
                    let id = self.first_id(its, n) + index as u32;
                    found.push((id, cell.seen.clone()));
                }
            }
        };
        if !table.indirect {
            collect(0, table.address, table.bytes);
            return found;
        }
        for (at, entry) in self.memory.words(table.address, table.bytes) {
            if Level1Entry(entry).is_valid() {
                let first = (at - table.address) / 8 * table.entries_per_page();
                let level2 = Level1Entry(entry).address(table.page_size);
                collect(first, level2, table.page_size.bytes());
            }
        }
        found
    }

    /// Devices that may be mapped, by this table or as caches have it, each with each way in which it may be.
    pub fn devices(&self, its: usize) -> Vec<(u32, u64, u8)> {
        let now = self.its[its].registers.table(DEVICES).into_iter();
        let former = self.its[its].former[DEVICES].iter().copied();
        let tables = now.chain(former);
        let here = tables.flat_map(|table| self.entries(its, DEVICES, table));
        let stale = self.its[its].stale[DEVICES].iter().flatten();
        let stale = stale.map(|(id, entry)| (*id, entry.clone()));
        let mut devices = Vec::new();
        for (id, entry) in here.chain(stale) {
            let Possible::Of(values) = entry else {
                continue;
            };
            devices.extend(values.into_iter().filter_map(|value| match value {
                Entry::Device { itt, size } => Some((id, itt, size)),
                _ => None,
            }));
        }
        devices.sort_unstable();
        devices.dedup();
        devices
    }

    /// What was written into a device's ITT for it.
    pub(crate) fn itt_cells(
        &self,
        its: usize,
        id: u32,
        itt: u64,
        size: u8,
    ) -> impl Iterator<Item = &Cell> {
        let bytes = itt_bytes(size, self.its[its].typer.itt_entry_bytes());
        self.cells.under(itt, bytes).filter(move |cell| {
            matches!(cell.slot, Slot::Interrupt { its: of, device_id, .. }
                if usize::from(of) == its && device_id == id)
        })
    }

    /// Events that may be mapped to a collection: DeviceID and EventID, and what its entry holds; anything where
    /// the device is not sure.
    pub(crate) fn events_of(&self, its: usize, icid: u16) -> Vec<((u32, u32), Possible<Entry>)> {
        let mut events = Vec::new();
        let sure = self.its[its].stale[DEVICES].is_none();
        for (id, itt, size) in self.devices(its) {
            for cell in self.itt_cells(its, id, itt, size) {
                let Slot::Interrupt { event_id, .. } = cell.slot else {
                    continue;
                };
                let of = |entry: &Entry| matches!(entry, Entry::Interrupt { icid: of, .. } if *of == icid);
                let hit = match &cell.seen {
                    Possible::Any => true,
                    Possible::Of(values) => values.iter().any(of),
                };
                if hit {
                    let seen = if sure { cell.seen.clone() } else { Possible::Any };
                    events.push(((id, event_id), seen));
                }
            }
        }
        events
    }

    /// GITS_TYPER.INV: a table that replaces another while caches may still be filled from that.
    pub(crate) fn note_tables(&mut self, its: usize) {
        for n in [DEVICES, COLLECTIONS] {
            let now = self.its[its].registers.table(n);
            let before = std::mem::replace(&mut self.its[its].used[n], now);
            let Some(before) = before.filter(|before| Some(*before) != now && self.caches(its))
            else {
                continue;
            };
            let here = self.entries(its, n, before);
            // What was cached before that still may be, beside what this table held.
            let older = self.its[its].stale[n].take();
            let mixed = older.is_some();
            let mut stale = older.unwrap_or_default();
            for entry in stale.values_mut() {
                entry.join(&nothing());
            }
            for (id, entry) in here {
                let older = stale.remove(&id);
                let older = older.or_else(|| mixed.then(nothing));
                stale.insert(id, older.map_or(entry.clone(), |older| entry.or(&older)));
            }
            self.its[its].stale[n] = Some(stale);
            self.its[its].former[n].push(before);
        }
    }

    /// Whether the ITS may have read a level-1 entry at an address.
    pub(crate) fn is_level1(&self, its: usize, address: u64) -> bool {
        let tables = self.its[its].used.iter().flatten();
        let mut level1 = tables.filter(|table| table.indirect);
        level1.any(|table| address.wrapping_sub(table.address) < table.bytes)
    }
}
