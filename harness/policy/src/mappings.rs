//! What the host's commands may map with a guarded ITS: tables that grow, and ITTs (P5 to P8).

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::fmt::Display;

use its_declaration::{
    Capacity, Check, ClearedLevel1, Declaration, IttPages, Level2Contents, Level2Tables,
    MappedCollection, Remap, Unmap, UnmappedDevice,
};
use its_gic::geometry::{Level1Entry, Location, PAGE_BYTES, Pages, Table, itt_bytes};
use its_gic::register::{Baser, TableType};
use its_gic::{Command, Typer};
use its_machine::{Errno, Event, Machine, PageChange};

use crate::ledger::{Ledger, Owned};
use crate::trap::ItsTrap;
use crate::{Rule, rules};

/// What an accepted command changes for the records once it is consumed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Effect {
    Map {
        device_id: u32,
        itt: Pages,
    },
    Unmap {
        device_id: u32,
    },
    /// A collection is mapped or unmapped.
    Collection {
        icid: u16,
        mapped: bool,
    },
    /// The hardware stalled at it, and it is judged afresh: it holds nothing meanwhile.
    JudgedAfresh,
    Nothing,
}

/// What EL2 did about a level-2 table that a command needs (P8).
enum Level2 {
    /// The id is beyond the table.
    Beyond,
    Present,
    /// The host offers this.
    Offered {
        entry: u64,
        pages: Pages,
    },
    /// The host offers nothing usable.
    Unusable,
    /// EL2 did not read what the host offers.
    Unread,
}

/// The tables of a guarded ITS, and the ITTs that it uses.
#[derive(Clone, Debug)]
pub(crate) struct Mappings {
    its: u8,
    machine: Machine,
    pub(crate) typer: Typer,
    pub(crate) declared: Declaration,
    /// As at set-up.
    pub(crate) baser: [u64; 8],
    /// Physical addresses of the host's copies of level-1 tables.
    pub(crate) shadow_level1: [u64; 8],
    /// Physical addresses of valid level-1 entries, and what each was when its table joined.
    pub(crate) level1: BTreeMap<u64, u64>,
    /// Effects of the commands from C to J, oldest first.
    pub(crate) in_flight: VecDeque<Effect>,
    /// The ITT of each device, as of what was consumed.
    pub(crate) records: BTreeMap<u32, Pages>,
    /// Collections that are mapped, as of what was consumed since set-up.
    collections: BTreeSet<u16>,
    /// Records that fit in the private pages (P7).
    pub(crate) capacity: u64,
}

impl Mappings {
    pub(crate) fn new(its: u8, machine: Machine, declared: Declaration, capacity: u64) -> Self {
        Self {
            its,
            machine,
            typer: machine.configuration(its).typer(),
            declared,
            baser: [0; 8],
            shadow_level1: [0; 8],
            level1: BTreeMap::new(),
            in_flight: VecDeque::new(),
            records: BTreeMap::new(),
            collections: BTreeSet::new(),
            capacity,
        }
    }

    /// P7: each MAPD V=1 holds a record of its own from submission.
    pub(crate) fn records_used(&self) -> u64 {
        (self.records.len() + self.maps_in_flight().count()) as u64
    }

    /// P7: whether there is room for an ITT of a device, next to those that are held.
    fn has_room(&self, device_id: u32, itt: Pages) -> bool {
        match self.declared.memory.capacity {
            Capacity::Itts => self.records_used() < self.capacity,
            Capacity::Devices => {
                let flying = self.maps_in_flight().map(|(device_id, _)| device_id);
                let new = flying.chain([device_id]).filter(|one| !self.records.contains_key(one));
                let new = new.collect::<BTreeSet<_>>().len();
                (self.records.len() + new) as u64 <= self.capacity
            }
            Capacity::Pages => self.records_used() < self.capacity && self.has_pages(Some(itt)),
        }
    }

    /// The value `pages` of the point `capacity`: whether the pages that ITTs lie on have records,
    /// with one ITT more. All have where only ITTs count.
    pub(crate) fn has_pages(&self, more: Option<Pages>) -> bool {
        if self.declared.memory.capacity != Capacity::Pages {
            return true;
        }
        let flying = self.maps_in_flight().map(|(_, itt)| itt);
        let itts = self.records.values().copied().chain(flying).chain(more);
        itts.flat_map(Pages::iter).collect::<BTreeSet<_>>().len() as u64 <= self.capacity
    }

    fn maps_in_flight(&self) -> impl Iterator<Item = (u32, Pages)> {
        self.in_flight.iter().filter_map(|effect| match *effect {
            Effect::Map { device_id, itt } => Some((device_id, itt)),
            Effect::Unmap { .. }
            | Effect::Collection { .. }
            | Effect::JudgedAfresh
            | Effect::Nothing => None,
        })
    }

    /// The ITT that a device has once all that is in flight before the command is consumed.
    fn itt_of(&self, of: u32) -> Option<Pages> {
        let before = self.in_flight.iter().take_while(|effect| **effect != Effect::JudgedAfresh);
        let last = before.filter_map(|effect| match *effect {
            Effect::Map { device_id, itt } if device_id == of => Some(Some(itt)),
            Effect::Unmap { device_id } if device_id == of => Some(None),
            _ => None,
        });
        last.last().unwrap_or_else(|| self.records.get(&of).copied())
    }

    /// The point `unmap`: whether a MAPD V=0 may name an ITT on these pages.
    fn may_unmap(&self, device_id: u32, named: Pages) -> bool {
        let by_command = self.declared.queue.unmap == Unmap::ByCommand;
        !by_command || self.itt_of(device_id).is_none_or(|itt| itt == named)
    }

    /// Whether as many commands are in flight as EL2 may have.
    pub(crate) fn is_full(&self) -> bool {
        self.in_flight.len() >= self.declared.numbers.commands_in_flight as usize
    }

    /// The tables of one type that were Valid at set-up.
    pub(crate) fn tables(&self, kind: TableType) -> impl Iterator<Item = Table> + use<'_> {
        let basers = self.baser.iter().map(|value| Baser::from_bits(*value));
        let of_type = move |baser: &Baser| baser.valid() && baser.table_type() == kind;
        basers.filter(of_type).map(Table::new)
    }

    /// The table of `BASER<n>` as at set-up, if that was Valid.
    pub(crate) fn table(&self, n: usize) -> Option<Table> {
        let recorded = Baser::from_bits(self.baser[n]);
        recorded.valid().then(|| Table::new(recorded))
    }

    /// Whether each of these devices, with its ITT and Size, has a record.
    pub(crate) fn hold_all(&self, devices: &[(u32, u64, u8)]) -> bool {
        devices.iter().all(|(device_id, itt, size)| {
            let bytes = itt_bytes(*size, self.typer.itt_entry_bytes());
            self.records.get(device_id) == Some(&Pages::under(*itt, bytes))
        })
    }

    /// Takes the oldest command in flight as consumed. Returns the pages that it releases.
    pub(crate) fn complete(&mut self) -> Option<Pages> {
        match self.in_flight.pop_front()? {
            Effect::Map { device_id, itt } => self.records.insert(device_id, itt),
            Effect::Unmap { device_id } => self.records.remove(&device_id),
            Effect::Collection { icid, mapped: true } => {
                self.collections.insert(icid);
                None
            }
            Effect::Collection { icid, mapped: false } => {
                self.collections.remove(&icid);
                None
            }
            Effect::JudgedAfresh | Effect::Nothing => None,
        }
    }

    /// What a SYNC names that takes the place of a refused command.
    pub(crate) fn first_rdbase(&self) -> u64 {
        self.machine.rdbase(self.its, 0)
    }

    /// Whether a device has a record, or a MAPD V=1 in flight.
    fn is_device_mapped(&self, of: u32) -> bool {
        let maps =
            |effect: &Effect| matches!(effect, Effect::Map { device_id, .. } if *device_id == of);
        self.records.contains_key(&of) || self.in_flight.iter().any(maps)
    }

    /// Whether a collection is mapped once all that is in flight is consumed.
    fn is_collection_mapped(&self, of: u16) -> bool {
        let last = self.in_flight.iter().rev().find_map(|effect| match effect {
            Effect::Collection { icid, mapped } if *icid == of => Some(*mapped),
            _ => None,
        });
        last.unwrap_or_else(|| self.collections.contains(&of))
    }

    fn leaves(&self, check: Check) -> bool {
        self.declared.queue.left_to_hardware.has(check)
    }

    /// Whether the policy allows an ITT on these pages, whatever memory they are.
    pub(crate) fn allows_pages(&self, itt: Pages, ledger: &Ledger) -> bool {
        self.declared.memory.itt_pages == IttPages::Shared || ledger.is_unborrowed(itt)
    }

    /// Whether a page of an ITT stays EL2's or pinned because EL2 could not give it back in this
    /// action, and that matters.
    fn is_kept(&self, itt: Pages, trap: &ItsTrap) -> bool {
        use PageChange::{Reclaim, Unpin};
        let failed = |pair: &[Event]| {
            let [Event::Page { change: Unpin | Reclaim, pages, .. }, Event::Injected] = pair else {
                return false;
            };
            itt.iter().any(|page| pages.contains(page) && trap.ledger.has_released(page))
        };
        !self.declared.memory.itts_share_pages() && trap.events.windows(2).any(failed)
    }

    /// The command table of the policy, row by row: what the command does once consumed, `None` if
    /// it is refused.
    pub(crate) fn judge(
        &mut self,
        command: Command,
        window: &[Event],
        trap: &mut ItsTrap,
    ) -> Option<Effect> {
        let declared = self.declared.queue;
        if declared.refused_commands.names(&command) {
            return None;
        }
        let known = |rdbase| {
            self.leaves(Check::Rdbase) || self.machine.redistributor(self.its, rdbase).is_some()
        };
        let passes = match command {
            Command::Mapd { device_id, size, itt_address, valid: true } => {
                return self.judge_map(device_id, (itt_address, size), window, trap);
            }
            Command::Mapd { device_id, size, itt_address, valid: false } => {
                return self.judge_unmap(device_id, (itt_address, size), window, trap);
            }
            Command::Mapc { icid, valid: false, .. } => {
                let passes = self.has_collection(icid) && self.has_entry(1, icid.into());
                self.follow_level2((1, icid.into()), passes, window, trap);
                return passes.then_some(Effect::Collection { icid, mapped: false });
            }
            Command::Mapc { icid, rdbase, .. } => {
                let is_new = declared.mapped_collection == MappedCollection::Accepted
                    || !self.is_collection_mapped(icid);
                let passes = !refused_by_injection(window)
                    && self.has_collection(icid)
                    && is_new
                    && known(rdbase);
                let level2 = (1, icid.into());
                let passes = self.judge_level2(level2, None, passes, window, trap);
                return passes.then_some(Effect::Collection { icid, mapped: true });
            }
            Command::Mapti { .. }
            | Command::Mapi { .. }
            | Command::Movi { .. }
            | Command::Discard { .. }
            | Command::Int { .. }
            | Command::Clear { .. }
            | Command::Inv { .. }
            | Command::Invall { .. } => true,
            Command::Movall { from_rdbase, to_rdbase } => known(from_rdbase) && known(to_rdbase),
            Command::Sync { rdbase } => known(rdbase),
            Command::Raw { .. } => false,
        };
        passes.then_some(Effect::Nothing)
    }

    /// MAPD V=1.
    fn judge_map(
        &mut self,
        device_id: u32,
        (itt_address, size): (u64, u8),
        window: &[Event],
        trap: &mut ItsTrap,
    ) -> Option<Effect> {
        let Declaration { numbers, memory, .. } = self.declared;
        let bytes = itt_bytes(size, self.typer.itt_entry_bytes());
        let itt = Pages::under(itt_address, bytes);
        // P6, P7: as many EventID bits as the subject takes; a record of its own.
        let is_new = memory.remap == Remap::Accepted || !self.is_device_mapped(device_id);
        // The ITS reports an error, and uses no ITT.
        let is_left = size > self.typer.id_bits() && self.leaves(Check::EventIdBits);
        let can_take = |ledger: &Ledger| {
            self.has_room(device_id, itt)
                && self.allows_pages(itt, ledger)
                && ledger.can_take_itt(itt)
        };
        let passes = !refused_by_injection(window)
            && self.has_device(device_id)
            && is_new
            && (size <= self.typer.id_bits() || is_left)
            && u32::from(size) < numbers.event_id_bits
            && self.machine.is_memory(itt_address, bytes)
            && itt_address.is_multiple_of(memory.itt_alignment.bytes())
            && (is_left || can_take(trap.ledger) && !self.is_kept(itt, trap));
        let taken = (!is_left).then_some(itt);
        let passes = self.judge_level2((0, device_id), taken, passes, window, trap);
        if is_left {
            return passes.then_some(Effect::Nothing);
        }
        (passes && trap.ledger.take_itt(itt).is_ok()).then_some(Effect::Map { device_id, itt })
    }

    /// MAPD V=0.
    fn judge_unmap(
        &mut self,
        device_id: u32,
        (itt_address, size): (u64, u8),
        window: &[Event],
        trap: &mut ItsTrap,
    ) -> Option<Effect> {
        let named = Pages::under(itt_address, itt_bytes(size, self.typer.itt_entry_bytes()));
        let is_known = self.declared.queue.unmapped_device == UnmappedDevice::Accepted
            || self.is_device_mapped(device_id);
        let passes = self.has_device(device_id)
            && is_known
            && self.has_entry(0, device_id)
            && self.may_unmap(device_id, named);
        self.follow_level2((0, device_id), passes, window, trap);
        passes.then_some(Effect::Unmap { device_id })
    }

    /// What says that a command is accepted or refused: the point that was declared, or its row of
    /// the command table.
    pub(crate) fn source(&self, command: Command, accepted: bool, ledger: &Ledger) -> &'static str {
        let declared = if accepted {
            let checked = matches!(
                command,
                Command::Mapd { .. }
                    | Command::Mapc { .. }
                    | Command::Movall { .. }
                    | Command::Sync { .. }
            );
            let leaves = !self.declared.queue.left_to_hardware.is_empty();
            let maps = matches!(command, Command::Mapd { valid: true, .. });
            let is_more = maps && self.records_used() >= self.capacity;
            let capacity = self.declared.memory.capacity.declared().filter(|_| is_more);
            (checked && leaves).then_some("queue.left-to-hardware").or(capacity)
        } else {
            self.refused_by(command, ledger)
        };
        declared.unwrap_or(command.name())
    }

    /// The point that refuses a command.
    pub(crate) fn refused_by(&self, command: Command, ledger: &Ledger) -> Option<&'static str> {
        let Declaration { numbers, memory, queue, .. } = self.declared;
        if queue.refused_commands.names(&command) {
            return Some("queue.refused-commands");
        }
        match command {
            Command::Mapd { device_id, .. } if !queue.takes_device(device_id) => {
                Some("queue.device-ids")
            }
            Command::Mapc { icid, .. } if !queue.takes_collection(icid) => {
                Some("queue.collections")
            }
            Command::Mapd { device_id, valid: false, .. } if !self.is_device_mapped(device_id) => {
                queue.unmapped_device.declared()
            }
            Command::Mapd { valid: false, .. } => queue.unmap.declared(),
            Command::Mapd { device_id, size, itt_address, valid: true } => {
                let itt = Pages::under(itt_address, itt_bytes(size, self.typer.itt_entry_bytes()));
                if u32::from(size) >= numbers.event_id_bits {
                    return Some("P6, numbers.event-id-bits");
                }
                if !itt_address.is_multiple_of(memory.itt_alignment.bytes()) {
                    return memory.itt_alignment.declared();
                }
                if !self.allows_pages(itt, ledger) {
                    return memory.itt_pages.declared();
                }
                if !ledger.can_take_itt(itt) {
                    return memory.itts.declared();
                }
                if self.is_device_mapped(device_id) {
                    return memory.remap.declared();
                }
                self.refused_by_memory()
            }
            Command::Mapc { icid, valid: true, .. } if self.is_collection_mapped(icid) => {
                queue.mapped_collection.declared().or(self.refused_by_memory())
            }
            Command::Mapc { valid: true, .. } => self.refused_by_memory(),
            _ => None,
        }
    }

    /// The first point of tables and records that was declared.
    fn refused_by_memory(&self) -> Option<&'static str> {
        let memory = self.declared.memory;
        let tables = memory.level2.declared().or(memory.level2_contents.declared());
        tables.or(memory.cleared_level1.declared()).or(memory.capacity.declared())
    }

    /// Whether EL2 takes a DeviceID, which is one of the ITS's or the hardware is to say so.
    fn has_device(&self, device_id: u32) -> bool {
        let is_there = u64::from(device_id) < self.typer.device_ids();
        (is_there || self.leaves(Check::DeviceId)) && self.declared.queue.takes_device(device_id)
    }

    /// Whether EL2 takes an ICID, which is one of the ITS's or the hardware is to say so.
    fn has_collection(&self, icid: u16) -> bool {
        let is_there = u64::from(icid) < self.typer.collection_ids();
        (is_there || self.leaves(Check::Icid)) && self.declared.queue.takes_collection(icid)
    }

    /// Whether the n-th table's checks of an id are left to the hardware.
    fn leaves_id(&self, n: usize) -> bool {
        self.leaves(if n == 0 { Check::DeviceId } else { Check::Icid })
    }

    /// Whether the ITS holds the entry of an id of the n-th table itself.
    fn is_held(&self, n: usize, id: u32) -> bool {
        n == 1 && id < u32::from(self.typer.hcc())
    }

    /// Whether an id is within its table (or held by the ITS), level-2 present or not; or the
    /// hardware is to say so.
    fn has_entry(&self, n: usize, id: u32) -> bool {
        let within = |table: Table| u64::from(id) < table.capacity();
        self.is_held(n, id) || self.table(n).is_some_and(within) || self.leaves_id(n)
    }

    /// P8: the level-2 table of a V=1 command, whose other checks pass or not. Whether the command
    /// passes.
    fn judge_level2(
        &mut self,
        (n, id): (usize, u32),
        itt: Option<Pages>,
        others_pass: bool,
        window: &[Event],
        trap: &mut ItsTrap,
    ) -> bool {
        let own = |table: &Table| !self.is_held(n, id) && u64::from(id) < table.capacity();
        let table = self.table(n).filter(own);
        let located = table.map(|table| (table, table.locate(id)));
        let Some((table, Location::Indirect { level1_entry, .. })) = located else {
            return others_pass && self.has_entry(n, id);
        };
        let written = |event: &Event| match event {
            Event::WordWritten { address, .. } => *address == level1_entry,
            _ => false,
        };
        let write = window.iter().position(written);
        // Where EL2 refuses the command without a look at the host's level-1 table, that is nearer
        // to the mistake than the growth that it left out.
        let looks = |event: &Event| match event {
            Event::CommandWritten { .. } => true,
            Event::WordRead { address, .. } => {
                address.wrapping_sub(self.shadow_level1[n]) < table.bytes
            }
            _ => false,
        };
        let is_refused = !window.iter().any(looks);
        trap.account.growths += u32::from(write.is_some());
        let (entry, pages) = match self.level2(table, (n, id), level1_entry, window, trap) {
            Level2::Offered { entry, pages } => (entry, pages),
            Level2::Present => {
                if write.is_some() {
                    self.disagree(level1_entry, "kept", "written", trap);
                }
                return others_pass
                    && self.is_offered_still((n, table), level1_entry, window, trap);
            }
            Level2::Unread if others_pass && !self.is_no_id(n, id) => {
                if is_refused {
                    return true;
                }
                self.disagree(level1_entry, "the host's entry read", "not read", trap);
                return false;
            }
            Level2::Unread | Level2::Unusable | Level2::Beyond => {
                if write.is_some() {
                    self.disagree(level1_entry, "left invalid", "written", trap);
                }
                return others_pass && self.leaves_id(n) && self.is_no_id(n, id);
            }
        };
        let overlap = |itt: Pages| pages.iter().any(|page| itt.contains(page));
        let passes = others_pass && !itt.is_some_and(overlap);
        if let Some(write) = write {
            self.judge_growth(level1_entry, (entry, pages), &window[..=write], trap);
            // P12: the growth of a refused command may stay.
            let owned = trap.ledger.own(pages, Owned::Table);
            debug_assert_eq!(owned, Ok(()), "level2() found them free");
            self.level1.insert(level1_entry, entry);
        } else if passes {
            self.disagree(level1_entry, format_args!("{entry:#x}"), "not written", trap);
        }
        passes
    }

    /// The point `level2`: judges the level-2 table that a command with V=0 may make EL2 add.
    fn follow_level2(
        &mut self,
        level2: (usize, u32),
        passes: bool,
        window: &[Event],
        trap: &mut ItsTrap,
    ) {
        let (n, id) = level2;
        let within = self.table(n).filter(|table| u64::from(id) < table.capacity());
        let is_absent = within.is_some_and(|table| match table.locate(id) {
            Location::Flat(_) => false,
            Location::Indirect { level1_entry, .. } => !self.level1.contains_key(&level1_entry),
        });
        if is_absent && self.declared.memory.level2 == Level2Tables::Followed {
            let passes = passes && !refused_by_injection(window);
            self.judge_level2(level2, None, passes, window, trap);
        }
    }

    /// The point `cleared-level1`: whether the host's entry is as it was when the table joined, if
    /// that matters.
    fn is_offered_still(
        &self,
        (n, table): (usize, Table),
        level1_entry: u64,
        window: &[Event],
        trap: &mut ItsTrap,
    ) -> bool {
        if self.declared.memory.cleared_level1 == ClearedLevel1::Kept {
            return true;
        }
        let offered = self.shadow_level1[n] + (level1_entry - table.address);
        let Some(entry) = window.iter().find_map(|event| event.word_read(offered)) else {
            let by = (&rules::DIV_GROWTH, ClearedLevel1::Refused.source());
            self.report(by, level1_entry, "the host's entry read", "not read", trap);
            return true;
        };
        self.level1.get(&level1_entry) == Some(&entry)
    }

    /// Whether the ITS has no such DeviceID or ICID, whatever its table holds.
    fn is_no_id(&self, n: usize, id: u32) -> bool {
        let ids = if n == 0 { self.typer.device_ids() } else { self.typer.collection_ids() };
        u64::from(id) >= ids
    }

    /// What is so of the level-2 table of an id, by its level-1 entry and what the host offers.
    fn level2(
        &self,
        table: Table,
        (n, id): (usize, u32),
        level1_entry: u64,
        window: &[Event],
        trap: &ItsTrap,
    ) -> Level2 {
        if self.is_no_id(n, id) && (n == 0 || self.leaves_id(n)) {
            return Level2::Beyond;
        }
        if self.level1.contains_key(&level1_entry) {
            return Level2::Present;
        }
        if self.declared.memory.level2 == Level2Tables::Fixed {
            return Level2::Unusable;
        }
        let shadow = self.shadow_level1[n] + (level1_entry - table.address);
        let Some(entry) = window.iter().find_map(|event| event.word_read(shadow)) else {
            return Level2::Unread;
        };
        let bytes = table.page_size.bytes();
        let address = Level1Entry(entry).address(table.page_size);
        let pages = Pages { first: address / PAGE_BYTES, count: bytes / PAGE_BYTES };
        let usable = Level1Entry(entry).is_valid()
            && Level1Entry(entry).other_bits(table.page_size) == 0
            && self.machine.is_memory(address, bytes)
            && trap.ledger.is_free(pages);
        let checked = self.declared.memory.level2_contents == Level2Contents::Checked;
        if !usable || checked && found_zero(pages, window) == Some(false) {
            return Level2::Unusable;
        }
        Level2::Offered { entry, pages }
    }

    /// P4: a level-2 table is zeroed before its entry is written, which is the last of `events`.
    fn judge_growth(
        &self,
        level1_entry: u64,
        (entry, pages): (u64, Pages),
        events: &[Event],
        trap: &mut ItsTrap,
    ) {
        let zeroed = |page: &u64| events.contains(&Event::PageZeroed { page: *page });
        let contents = self.declared.memory.level2_contents;
        let by: (&'static Rule, _) = (&rules::DIV_GROWTH, contents.source());
        match contents {
            Level2Contents::Zeroed => {
                if let Some(page) = pages.iter().find(|page| !zeroed(page)) {
                    let zeroed = format_args!("page {page:#x} zeroed before");
                    self.report(by, level1_entry, zeroed, "not zeroed", trap);
                }
            }
            Level2Contents::Checked if found_zero(pages, events).is_none() => {
                self.report(by, level1_entry, "all of the table read before", "not read", trap);
            }
            Level2Contents::Checked => {}
        }
        if let Some(Event::WordWritten { value, .. }) = events.last()
            && *value != entry
        {
            let (entry, value) = (format_args!("{entry:#x}"), format_args!("{value:#x}"));
            let source = self.declared.memory.level2.source();
            self.report((&rules::DIV_ENTRY, source), level1_entry, entry, value, trap);
        }
    }

    fn disagree(&self, level1_entry: u64, expected: impl Display, seen: &str, trap: &mut ItsTrap) {
        let source = self.declared.memory.level2.source();
        self.report((&rules::DIV_GROWTH, source), level1_entry, expected, seen, trap);
    }

    fn report(
        &self,
        (rule, source): (&'static Rule, &'static str),
        level1_entry: u64,
        expected: impl Display,
        seen: impl Display,
        trap: &mut ItsTrap,
    ) {
        let path = format_args!("its{}.level1 entry {level1_entry:#x}", self.its);
        trap.account.judgement.disagree(rule, source, path, expected, seen);
    }
}

/// What EL2 read of some pages once they were its own: whether all of it is zero, `None` if it did
/// not read them.
fn found_zero(pages: Pages, events: &[Event]) -> Option<bool> {
    let is_donation = |event: &Event| {
        matches!(event, Event::Page { change: PageChange::Donate, pages: donated, result: Ok(()) }
            if donated.contains(pages.first))
    };
    let events = &events[events.iter().position(is_donation)?..];
    let (start, bytes) = (pages.first * PAGE_BYTES, pages.count * PAGE_BYTES);
    let mut runs: Vec<(u64, u64)> = events
        .iter()
        .filter_map(|event| match *event {
            Event::Scanned { address, bytes } => Some((address, bytes)),
            Event::WordRead { address, value, .. } => {
                Some((address, if value == 0 { 8 } else { 0 }))
            }
            _ => None,
        })
        .filter(|(address, _)| address.wrapping_sub(start) < bytes)
        .collect();
    runs.sort_unstable();
    let mut end = start;
    for (address, bytes) in &runs {
        if *address > end {
            break;
        }
        end = end.max(address.saturating_add(*bytes));
    }
    (!runs.is_empty()).then_some(end >= start + bytes)
}

/// Whether the scenario made a share, pin or donation fail here: the command is refused then. A
/// share that was not needed, because the page was shared, is followed by its pin.
pub(crate) fn refused_by_injection(events: &[Event]) -> bool {
    let pinned = |pages: Pages, after: &[Event]| {
        after.contains(&Event::Page { change: PageChange::Pin, pages, result: Ok(()) })
    };
    events.windows(2).enumerate().any(|(index, pair)| match pair {
        [Event::Page { change, pages, result: Err(Errno::Enomem) }, Event::Injected] => {
            match change {
                PageChange::Share => !pinned(*pages, &events[index..]),
                PageChange::Pin | PageChange::Donate | PageChange::Show => true,
                PageChange::Unshare
                | PageChange::Unpin
                | PageChange::Reclaim
                | PageChange::Hide => false,
            }
        }
        _ => false,
    })
}
