//! Where entries are and what they hold; where events go.

use its_gic::geometry::{LEVEL1_ENTRY_BYTES, Level1Entry, Location, Table, itt_bytes};
use its_machine::Translation;
use its_machine::freedom::choice::WideEvent;

use crate::architecture::{Architecture, Its};
use crate::cells::{Cell, Entry, Slot};
use crate::names::overlap;
use crate::path::{Path, Undefined, explore};
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

/// The tables of one ITS, as it and memory have them.
#[derive(Clone, Copy)]
pub(crate) struct Tables<'a> {
    on: &'a Architecture,
    number: u8,
    its: &'a Its,
}

impl Architecture {
    /// Returns the tables of an ITS.
    pub(crate) fn tables(&self, its: usize) -> Tables<'_> {
        Tables { on: self, number: its as u8, its: &self.its[its] }
    }
}

impl<'a> Tables<'a> {
    /// Where the entry of an id in the table of `GITS_BASER<n>` is.
    pub(crate) fn locate(self, n: usize, id: u32, path: &mut Path) -> Result<At, Undefined> {
        let typer = self.its.typer;
        let is_held = n == COLLECTIONS && id < typer.hcc().into();
        // GITS_TYPER.CCT = 0: the table's length alone says how many there are.
        let table = self.its.registers.table(n);
        let counted = table.filter(|_| !typer.cct());
        if is_held && counted.is_none_or(|table| u64::from(id) < table.capacity()) {
            let (its, icid) = (self.number, id as u16);
            return Ok(At::Slot(Slot::Held { its, icid }, 0));
        }
        let Some(table) = table else {
            return Ok(At::Beyond);
        };
        let index = id - self.first_id(n);
        if u64::from(index) >= table.capacity() {
            return Ok(At::Beyond);
        }
        let address = match table.locate(index) {
            Location::Flat(address) => address,
            Location::Indirect { level1_entry, offset } => {
                let entry = path.any(&self.level1(n, table.level1_index(index), level1_entry));
                if !Level1Entry(entry).is_valid() {
                    return Ok(At::Absent);
                }
                let level2 = Level1Entry(entry).address(table.page_size);
                self.check_level2(level2, table)?;
                level2 + offset
            }
        };
        let bytes = table.entry_bytes;
        if !self.on.machine.is_memory(address, bytes) {
            return Err("a table is no memory");
        }
        let its = self.number;
        let slot = match n {
            DEVICES => Slot::Device { its, address },
            _ => Slot::Collection { its, address },
        };
        Ok(At::Slot(slot, bytes))
    }

    /// The id of a table's first entry. GITS_TYPER.CCT: the ITS's own collections and the table's
    /// add up, or the table alone counts.
    pub(crate) fn first_id(self, n: usize) -> u32 {
        let typer = self.its.typer;
        if n == COLLECTIONS && typer.cct() { typer.hcc().into() } else { 0 }
    }

    /// What a level-1 entry can be taken for. GITS_TYPER.INV: valid ones may be cached, those of
    /// earlier tables too.
    fn level1(self, n: usize, index: u64, address: u64) -> Vec<u64> {
        let now = self.on.memory.word(address);
        let mut values = vec![now];
        let mut note = |entry: u64| {
            if Level1Entry(entry).is_valid() && entry != now && values.last() != Some(&entry) {
                values.push(entry);
            }
        };
        let cached = |address| self.its.level1.get(&address).into_iter().flatten().copied();
        cached(address).for_each(&mut note);
        for table in self.its.former[n].iter().filter(|table| table.indirect) {
            let address = table.address + LEVEL1_ENTRY_BYTES * index;
            if index < table.bytes / LEVEL1_ENTRY_BYTES {
                cached(address).chain([self.on.memory.word(address)]).for_each(&mut note);
            }
        }
        values
    }

    /// A level-2 table has memory to itself.
    fn check_level2(self, level2: u64, table: Table) -> Result<(), Undefined> {
        let range = (level2, table.page_size.bytes());
        if self.on.structures().any(|other| overlap(other, range)) {
            return Err("a level-2 table lies on another structure");
        }
        let same = |(_, entry): &(u64, u64)| {
            Level1Entry(*entry).is_valid() && Level1Entry(*entry).address(table.page_size) == level2
        };
        match self.on.memory.words(table.address, table.bytes).filter(same).count() {
            0 | 1 => Ok(()),
            _ => Err("two level-1 entries name one level-2 table"),
        }
    }

    /// Queue and tables of an ITS that is being enabled have memory to themselves.
    pub(crate) fn check_disjoint(self) -> Result<(), Undefined> {
        let queue = self.its.registers.queue();
        let own = || [(queue.address, queue.bytes)].into_iter().chain(self.its.tables());
        let twice = |one| self.on.structures().filter(|other| overlap(one, *other)).count() > 1;
        if own().any(twice) {
            return Err("a queue or table lies on another structure");
        }
        if own().all(|(address, bytes)| self.on.machine.is_memory(address, bytes)) {
            Ok(())
        } else {
            Err("a queue or table is no memory")
        }
    }

    /// What an id without an entry is taken for: earlier tables may be cached.
    pub(crate) fn unbacked(self, n: usize, id: u32, path: &mut Path) -> Result<Entry, Undefined> {
        let stale = self.its.stale[n].as_ref();
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

    /// What an id is mapped to.
    fn look_up(self, n: usize, id: u32, path: &mut Path) -> Result<Entry, Undefined> {
        match self.locate(n, id, path)? {
            At::Slot(slot, bytes) => path.read(slot, &self.entry(n, id, slot, bytes)),
            At::Absent | At::Beyond => self.unbacked(n, id, path),
        }
    }

    /// What an entry of an id is taken for.
    pub(crate) fn entry(self, n: usize, id: u32, slot: Slot, bytes: u64) -> Possible<Entry> {
        let seen = self.seen(slot, bytes);
        match &self.its.stale[n] {
            Some(stale) => seen.or(stale.get(&id).unwrap_or(&Possible::only(Entry::Nothing))),
            None => seen,
        }
    }

    /// Where nothing was mapped memory must be zero, as it is handed over.
    pub(crate) fn seen(self, slot: Slot, bytes: u64) -> Possible<Entry> {
        if let Some(seen) = self.on.cells.seen(slot, bytes) {
            return seen;
        }
        match slot {
            Slot::Held { .. } => Possible::only(Entry::Nothing),
            Slot::Device { address, .. }
            | Slot::Collection { address, .. }
            | Slot::Interrupt { address, .. } => {
                let start = address & !7;
                if self.on.memory.is_zero(start, address + bytes - start) {
                    Possible::only(Entry::Nothing)
                } else {
                    Possible::Any
                }
            }
        }
    }

    /// Where the entry of an event in an ITT is.
    pub(crate) fn event_slot(self, (device_id, event_id): (u32, u32), itt: u64) -> (Slot, u64) {
        let bytes = self.its.typer.itt_entry_bytes();
        let slot = Slot::Interrupt {
            its: self.number,
            address: itt + u64::from(event_id) * bytes,
            device_id,
            event_id,
        };
        (slot, bytes)
    }

    /// The entries that an ITS wrote into a table, by id.
    pub(crate) fn entries(self, n: usize, table: Table) -> Vec<(u32, Possible<Entry>)> {
        let mut found = Vec::new();
        let mut collect = |first: u64, address: u64, bytes: u64| {
            for cell in self.on.cells.under(address, bytes) {
                let (of, at) = match (n, cell.slot) {
                    (DEVICES, Slot::Device { its, address }) => (its, address),
                    (COLLECTIONS, Slot::Collection { its, address }) => (its, address),
                    _ => continue,
                };
                if of == self.number {
                    let index = first + (at - address) / table.entry_bytes;
                    let id = self.first_id(n) + index as u32;
                    found.push((id, cell.seen.clone()));
                }
            }
        };
        if !table.indirect {
            collect(0, table.address, table.bytes);
            return found;
        }
        for (at, entry) in self.on.memory.words(table.address, table.bytes) {
            if Level1Entry(entry).is_valid() {
                let first = (at - table.address) / 8 * table.entries_per_page();
                let level2 = Level1Entry(entry).address(table.page_size);
                collect(first, level2, table.page_size.bytes());
            }
        }
        found
    }

    /// Devices that may be mapped, by tables or as caches have them, each with each ITT and Size
    /// that it may have.
    pub(crate) fn devices(self) -> Vec<(u32, u64, u8)> {
        let former = self.its.former[DEVICES].iter().copied();
        let tables = self.its.registers.table(DEVICES).into_iter().chain(former);
        let here = tables.flat_map(|table| self.entries(DEVICES, table));
        let stale = self.its.stale[DEVICES].iter().flatten();
        let stale = stale.map(|(id, entry)| (*id, entry.clone()));
        let mut devices = Vec::new();
        for (id, entry) in here.chain(stale) {
            devices.extend(entry.values().iter().filter_map(|value| match *value {
                Entry::Device { itt, size } => Some((id, itt, size)),
                _ => None,
            }));
        }
        devices.sort_unstable();
        devices.dedup();
        devices
    }

    /// What was written into a device's ITT for it, each with its EventID.
    pub(crate) fn itt_cells(
        self,
        id: u32,
        itt: u64,
        size: u8,
    ) -> impl Iterator<Item = (u32, &'a Cell)> {
        let (bytes, own) = (itt_bytes(size, self.its.typer.itt_entry_bytes()), self.number);
        self.on.cells.under(itt, bytes).filter_map(move |cell| match cell.slot {
            Slot::Interrupt { its, device_id, event_id, .. } if its == own && device_id == id => {
                Some((event_id, cell))
            }
            _ => None,
        })
    }

    /// Events that may be mapped to a collection: DeviceID and EventID, and what its entry holds;
    /// anything where the device is not sure.
    pub(crate) fn events_of(self, icid: u16) -> Vec<((u32, u32), Possible<Entry>)> {
        let mut events = Vec::new();
        let sure = self.its.stale[DEVICES].is_none();
        for (id, itt, size) in self.devices() {
            for (event_id, cell) in self.itt_cells(id, itt, size) {
                let of = |entry: &Entry| match entry {
                    Entry::Interrupt { icid: of, .. } => *of == icid,
                    _ => false,
                };
                if cell.seen == Possible::Any || cell.seen.values().iter().any(of) {
                    let seen = if sure { cell.seen.clone() } else { Possible::Any };
                    events.push(((id, event_id), seen));
                }
            }
        }
        events
    }

    /// How an MSI that arrives now is translated (GITS_TRANSLATER). Nothing is known of an ITS that
    /// is not enabled.
    pub(crate) fn translate(self, device_id: u32, event_id: u32) -> Possible<Option<Translation>> {
        if !self.its.registers.enabled {
            return Possible::Any;
        }
        let cut = (u64::from(event_id) % self.its.typer.event_ids()) as u32;
        if cut == event_id {
            return self.translate_event(device_id, cut);
        }
        let freedoms = &self.its.freedoms;
        let ignored = freedoms.allow(WideEvent::Ignored).then(|| Possible::only(None));
        let cut = freedoms.allow(WideEvent::Cut).then(|| self.translate_event(device_id, cut));
        let all = ignored.into_iter().chain(cut);
        all.reduce(|one, other| one.or(&other)).unwrap_or(Possible::Any)
    }

    fn translate_event(self, device_id: u32, event_id: u32) -> Possible<Option<Translation>> {
        let late = self.its.late.iter();
        let late = late.filter(|late| (late.device_id, late.event_id) == (device_id, event_id));
        late.fold(self.newest(device_id, event_id), |all, late| all.or(&late.before))
    }

    /// The newest translation of an event, which MSIs may not see yet.
    pub(crate) fn newest(self, device_id: u32, event_id: u32) -> Possible<Option<Translation>> {
        let freedoms = &self.its.freedoms;
        let Ok(ways) = explore(freedoms, |path| self.walk((device_id, event_id), path)) else {
            return Possible::Any;
        };
        let ways = ways.into_iter().map(|(_, found)| found.map_or(Possible::Any, Possible::only));
        ways.reduce(|all, one| all.or(&one)).unwrap_or(Possible::Any)
    }

    fn walk(self, id: (u32, u32), path: &mut Path) -> Result<Option<Translation>, Undefined> {
        if u64::from(id.0) >= self.its.typer.device_ids() {
            return Ok(None);
        }
        let Entry::Device { itt, size } = self.look_up(DEVICES, id.0, path)? else {
            return Ok(None);
        };
        if u64::from(id.1) >= 2_u64 << size {
            return Ok(None);
        }
        let (slot, bytes) = self.event_slot(id, itt);
        let Entry::Interrupt { intid, icid } = path.read(slot, &self.seen(slot, bytes))? else {
            return Ok(None);
        };
        let redistributor = self.collection_of(icid, path)?;
        // An ICID that has no place in the table: an invalid entry, or an unmapped collection.
        let backed = redistributor.is_some() || self.is_backed(icid, path)?;
        if !backed && path.maybe() {
            return Ok(None);
        }
        Ok(Some(Translation { intid, icid, redistributor }))
    }

    /// Whether a collection has an entry, in memory or held.
    pub(crate) fn is_backed(self, icid: u16, path: &mut Path) -> Result<bool, Undefined> {
        let at = self.locate(COLLECTIONS, icid.into(), path)?;
        Ok(matches!(at, At::Slot(..)))
    }

    /// The redistributor of a collection, however far out its ICID is.
    pub(crate) fn collection_of(self, icid: u16, path: &mut Path) -> Result<Option<u8>, Undefined> {
        Ok(match self.look_up(COLLECTIONS, icid.into(), path)? {
            Entry::Collection(redistributor) => Some(redistributor),
            _ => None,
        })
    }

    /// Every (DeviceID, EventID) that is mapped for sure, ascending.
    pub(crate) fn mapped(self) -> Vec<(u32, u32)> {
        let mut mapped = Vec::new();
        for (id, itt, size) in self.devices() {
            let cells = self.itt_cells(id, itt, size);
            let sure = |cell: &Cell| matches!(cell.seen.known(), Some(Entry::Interrupt { .. }));
            let cells = cells.filter(|(_, cell)| sure(cell));
            mapped.extend(cells.map(|(event_id, _)| (id, event_id)));
        }
        mapped.sort_unstable();
        mapped
    }
}
