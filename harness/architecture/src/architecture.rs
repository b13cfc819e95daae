//! All of the hardware and the memory that it works from, and what is done to them.

use std::collections::BTreeMap;

use its_gic::geometry::{Level1Entry, PAGE_BYTES, Table};
use its_gic::redistributor::{self as gicr};
use its_gic::register::Baser;
use its_gic::{Part, Register, Typer};
use its_machine::freedom::choice::Caches;
use its_machine::{Freedoms, Machine, Translation};

use crate::cells::{Cells, Entry, Slot};
use crate::judgement::Judgement;
use crate::lpi::Redistributor;
use crate::memory::Memory;
use crate::names::overlap;
use crate::path::Undefined;
use crate::possible::{Possible, Truth};
use crate::registers::{Registers, Wake};
use crate::rules;
use crate::tables::{COLLECTIONS, DEVICES};

pub use crate::registers::Partial;

/// An effect that MSIs may not see yet.
#[derive(Clone, Debug)]
pub(crate) struct Late {
    pub(crate) device_id: u32,
    pub(crate) event_id: u32,
    /// What the command found, which MSIs may still see.
    pub(crate) before: Possible<Option<Translation>>,
    /// The command changed that for sure.
    pub(crate) is_sure: bool,
    /// Whose SYNC it waits for.
    pub(crate) redistributor: Option<u8>,
}

impl Late {
    /// Whether both are about one event.
    fn is_of(&self, other: &Self) -> bool {
        (self.device_id, self.event_id) == (other.device_id, other.event_id)
    }
}

/// One ITS.
#[derive(Clone, Debug)]
pub struct Its {
    pub typer: Typer,
    pub freedoms: Freedoms,
    pub registers: Registers,
    /// Tables when it was last enabled.
    pub(crate) used: [Option<Table>; 2],
    /// What caches may hold of entries of earlier tables, by id; ids that are not there: nothing.
    pub(crate) stale: [Option<BTreeMap<u32, Possible<Entry>>>; 2],
    /// Earlier tables whose level-1 entries may be cached.
    pub(crate) former: [Vec<Table>; 2],
    /// Valid level-1 entries that were changed and may be cached, by address.
    pub(crate) level1: BTreeMap<u64, Vec<u64>>,
    pub(crate) late: Vec<Late>,
}

impl Its {
    fn new(typer: Typer, registers: Registers, freedoms: Freedoms) -> Self {
        Self {
            typer,
            freedoms,
            registers,
            used: [None; 2],
            stale: [None, None],
            former: [Vec::new(), Vec::new()],
            level1: BTreeMap::new(),
            late: Vec::new(),
        }
    }

    /// Whether it may go by what it read before.
    fn caches(&self) -> bool {
        self.freedoms.allow(Caches::WriteThrough) || self.freedoms.allow(Caches::WriteBack)
    }

    /// What a read returns and which bits of it are known.
    pub(crate) fn read(&self, register: Register) -> Partial {
        self.registers.read(register, &self.freedoms)
    }

    /// Whether it may fetch the command at CREADR.
    pub(crate) fn can_fetch(&self) -> bool {
        self.registers.can_fetch(&self.freedoms)
    }

    /// Whether it may have read a level-1 entry at an address.
    fn is_level1(&self, address: u64) -> bool {
        let mut level1 = self.used.iter().flatten().filter(|table| table.indirect);
        level1.any(|table| address.wrapping_sub(table.address) < table.bytes)
    }

    /// Address and bytes of flat and level-1 tables.
    pub(crate) fn tables(&self) -> impl Iterator<Item = (u64, u64)> {
        let tables = [DEVICES, COLLECTIONS].into_iter().filter_map(|n| self.registers.table(n));
        tables.map(|table| (table.address, table.bytes))
    }

    /// Address and bytes of all places where the queue can be.
    fn queues(&self) -> impl Iterator<Item = (u64, u64)> {
        let valid = self.registers.cbaser.value >> 63 == 1;
        let queues = valid.then(|| self.registers.queues(&self.freedoms)).into_iter().flatten();
        queues.map(|queue| (queue.address, queue.bytes))
    }

    /// GITS_TYPER.INV: a table replaces `before`, whose entries were `here`, while caches may still
    /// be filled from that.
    fn keep_stale(&mut self, n: usize, before: Table, here: Vec<(u32, Possible<Entry>)>) {
        let nothing = || Possible::only(Entry::Nothing);
        // What was cached before that still may be, next to what this table held.
        let older = self.stale[n].take();
        let mixed = older.is_some();
        let mut stale = older.unwrap_or_default();
        for entry in stale.values_mut() {
            entry.join(&nothing());
        }
        for (id, entry) in here {
            let older = stale.remove(&id).or_else(|| mixed.then(nothing));
            stale.insert(id, older.map_or(entry.clone(), |older| entry.or(&older)));
        }
        self.stale[n] = Some(stale);
        self.former[n].push(before);
    }

    fn lose_power(&mut self, machine: &Machine, its: u8, restored: bool) {
        self.registers.lose_power(machine, its, restored);
        *self = Self::new(self.typer, self.registers, self.freedoms);
    }

    pub(crate) fn bytes_of(&self, slot: Slot) -> u64 {
        match slot {
            Slot::Held { .. } => 0,
            Slot::Device { .. } => self.registers.baser(DEVICES).entry_bytes(),
            Slot::Collection { .. } => self.registers.baser(COLLECTIONS).entry_bytes(),
            Slot::Interrupt { .. } => self.typer.itt_entry_bytes(),
        }
    }
}

/// All of the hardware, and the memory that it works from.
#[derive(Clone, Debug)]
pub struct Architecture {
    pub machine: Machine,
    pub(crate) memory: Memory,
    pub its: Vec<Its>,
    pub redistributors: Vec<Redistributor>,
    pub(crate) cells: Cells,
    /// Words that the host stored and that no device sees yet, by address.
    pub(crate) uncleaned: BTreeMap<u64, u64>,
    /// Translations that this action may have changed.
    pub(crate) touched: Vec<(u8, u32, u32)>,
}

impl Architecture {
    /// A machine before boot. `freedoms`: what is allowed of each ITS; redistributors go by the
    /// first's.
    pub fn new(machine: Machine, freedoms: impl Fn(u8) -> Freedoms) -> Self {
        let its = |number: u8| {
            let typer = machine.configuration(number).typer();
            Its::new(typer, Registers::new(&machine, number), freedoms(number))
        };
        let redistributor = |number| Redistributor::new(number, &machine);
        Self {
            machine,
            memory: Memory::default(),
            its: (0..machine.its.len() as u8).map(its).collect(),
            redistributors: (0..machine.redistributors.len() as u8).map(redistributor).collect(),
            cells: Cells::default(),
            uncleaned: BTreeMap::new(),
            touched: Vec::new(),
        }
    }

    /// Returns a machine before boot on which each ITS does, where the architecture leaves a
    /// choice, what its configuration says.
    pub fn of(machine: Machine) -> Self {
        Self::new(machine, |its| Freedoms::only(machine.configuration(its).choices))
    }

    pub fn start_action(&mut self) {
        self.touched.clear();
        self.start_step();
    }

    /// The same within a race, in which what was touched before counts on.
    pub fn start_step(&mut self) {
        for its in &mut self.its {
            its.registers.start_action();
        }
    }

    // ---- memory

    /// A CPU stores words; what an ITS wrote there is gone.
    pub fn store(&mut self, address: u64, words: &[u64]) {
        self.write(address, words);
        self.after_store(address, 8 * words.len() as u64);
    }

    /// A CPU stores words where it must not touch what an ITS wrote, and is taken not to.
    pub fn write(&mut self, address: u64, words: &[u64]) {
        let bytes = 8 * words.len() as u64;
        self.before_store(address, bytes);
        self.forget_uncleaned(address, bytes);
        for (index, word) in (0..).zip(words) {
            let at = address + 8 * index;
            self.note_level1(at, *word, false);
            self.memory.write_word(at, *word);
        }
    }

    /// A CPU fills a page with zeroes. Not `cleaned`: an ITS may still read what was there before.
    pub fn zero_page(&mut self, page: u64, cleaned: bool) {
        let address = page.wrapping_mul(PAGE_BYTES);
        self.before_store(address, PAGE_BYTES);
        self.forget_uncleaned(address, PAGE_BYTES);
        let level1: Vec<u64> = self.memory.words(address, PAGE_BYTES).map(|(at, _)| at).collect();
        for at in level1 {
            self.note_level1(at, 0, !cleaned);
        }
        self.memory.zero_page(page);
        if cleaned {
            return self.after_store(address, PAGE_BYTES);
        }
        self.reread(address, PAGE_BYTES);
        self.cells.zero_maybe(address, PAGE_BYTES);
    }

    /// Address and bytes of queues, flat and level-1 tables, redistributors' tables, and pending
    /// tables that they wrote when LPIs were disabled.
    pub(crate) fn structures(&self) -> impl Iterator<Item = (u64, u64)> {
        let own = self.its.iter().flat_map(|its| its.queues().chain(its.tables()));
        let on = self.redistributors.iter().filter(|one| one.on.possible());
        let written = self.redistributors.iter().filter_map(Redistributor::written);
        own.chain(on.flat_map(Redistributor::tables)).chain(written)
    }

    /// Whether the pending table of a redistributor lies on what an ITS or another redistributor
    /// uses. The redistributor may write it at any time.
    fn is_on_another(&self, n: usize) -> bool {
        let [configuration, pending] = self.redistributors[n].tables();
        let its = self.its.iter().flat_map(|its| its.queues().chain(its.tables()));
        let others = self.redistributors.iter().enumerate().filter(|(other, _)| *other != n);
        let others = others.filter(|(_, one)| one.on.possible()).flat_map(|(_, one)| one.tables());
        let registers = its.chain(others).chain([configuration]);
        let mut all = registers.chain(self.level2_tables()).chain(self.itts());
        all.any(|other| overlap(other, pending))
    }

    fn before_store(&mut self, address: u64, bytes: u64) {
        let freedoms = self.its[0].freedoms;
        for redistributor in &mut self.redistributors {
            redistributor.remember(&self.memory, address, bytes, &freedoms);
        }
    }

    fn reread(&mut self, address: u64, bytes: u64) {
        for redistributor in &mut self.redistributors {
            redistributor.reread(&self.memory, address, bytes);
        }
    }

    fn after_store(&mut self, address: u64, bytes: u64) {
        self.reread(address, bytes);
        // An ITS that used a table and whose caches were not invalidated may go by what it knew.
        let cached = |its: u8, n: usize| {
            let its = &self.its[usize::from(its)];
            its.used[n].is_some() && its.caches()
        };
        let zero = self.memory.is_zero(address, bytes);
        self.cells.overwrite(address, bytes, zero, cached);
    }

    /// A valid level-1 entry that changes may stay cached, or in memory while it is `uncleaned`.
    fn note_level1(&mut self, address: u64, value: u64, uncleaned: bool) {
        for its in &mut self.its {
            if !uncleaned && !its.caches() || !its.is_level1(address) {
                continue;
            }
            let before = self.memory.word(address);
            if before & Baser::VALID != 0 && before != value {
                its.level1.entry(address).or_default().push(before);
            }
        }
    }

    // ---- registers of an ITS

    pub fn write_its(
        &mut self,
        its: usize,
        register: Register,
        write: (Part, u64),
        refused: bool,
    ) -> Result<(), Undefined> {
        let Its { registers, freedoms, .. } = &mut self.its[its];
        match registers.write(register, write, refused, freedoms)? {
            Wake::Nothing => {}
            Wake::Disabled => self.touch_all(its),
            Wake::Enabled => {
                self.tables(its).check_disjoint()?;
                self.note_tables(its);
                self.its[its].late.clear();
                self.touch_all(its);
            }
            Wake::TableGone(n) => self.invalidate(its, n),
        }
        Ok(())
    }

    /// Notes which tables an ITS uses that is being enabled.
    fn note_tables(&mut self, its: usize) {
        for n in [DEVICES, COLLECTIONS] {
            let physical = &mut self.its[its];
            let now = physical.registers.table(n);
            let before = std::mem::replace(&mut physical.used[n], now);
            let before = before.filter(|before| Some(*before) != now && physical.caches());
            if let Some(before) = before {
                let here = self.tables(its).entries(n, before);
                self.its[its].keep_stale(n, before, here);
            }
        }
    }

    /// GITS_TYPER.INV: clearing Valid while at rest invalidates caches.
    fn invalidate(&mut self, its: usize, n: usize) {
        let physical = &mut self.its[its];
        let rest = physical.read(Register::Ctlr);
        if !physical.typer.inv() || rest.known & rest.value >> 31 & 1 == 0 {
            return;
        }
        physical.stale[n] = None;
        self.cells.invalidate(its as u8, n);
        let physical = &mut self.its[its];
        physical.former[n].clear();
        if let Some(table) = physical.used[n].take() {
            let level1 = table.address..table.address + table.bytes;
            physical.level1.retain(|address, _| !level1.contains(address));
        }
    }

    /// Software read a register: notes what it says.
    pub fn learn(&mut self, its: usize, register: Register, part: Part, seen: u64) {
        if self.its[its].registers.learn(register, part, seen) {
            // GITS_CTLR.Quiescent: memory is consistent with caches, nothing is in flight.
            self.cells.clean(its as u8);
            self.its[its].late.clear();
        }
    }

    /// Registers and caches are lost; memory is not.
    pub fn lose_power(&mut self, its: usize, restored: bool) {
        let physical = &mut self.its[its];
        // GITS_TYPER.CCT = 0 with a table: where the first HCC collections live is not said.
        let keeps = !physical.typer.cct() && physical.registers.table(COLLECTIONS).is_some();
        physical.lose_power(&self.machine, its as u8, restored);
        self.cells.lose(its as u8, keeps);
    }

    pub(crate) fn write_entry(&mut self, slot: Slot, value: Possible<Entry>) {
        let its = usize::from(slot.its());
        let lazily = self.its[its].freedoms.allow(Caches::WriteBack);
        for n in [DEVICES, COLLECTIONS] {
            if let Some(id) = self.stale_id(its, n, slot)
                && let Some(stale) = &mut self.its[its].stale[n]
            {
                stale.insert(id, value.clone());
            }
        }
        let bytes = self.its[its].bytes_of(slot);
        self.cells.write(slot, bytes, value, lazily);
    }

    /// A command read an entry of an event that somebody else wrote: the event may be mapped to
    /// anything now, and any LPI may be pending.
    pub(crate) fn lose_event(&mut self, its: usize, event: (u32, u32)) {
        let of_device = |(device_id, ..): &(u32, u64, u8)| *device_id == event.0;
        for (_, itt, _) in self.devices(its).into_iter().filter(of_device) {
            let (slot, _) = self.tables(its).event_slot(event, itt);
            self.write_entry(slot, Possible::Any);
        }
        self.lose_pending();
    }

    /// Any LPI may be pending.
    pub(crate) fn lose_pending(&mut self) {
        self.redistributors.iter_mut().for_each(|one| one.pending.unknown = true);
    }

    /// The id that an entry is of, if earlier tables may be cached.
    fn stale_id(&self, its: usize, n: usize, slot: Slot) -> Option<u32> {
        let address = match (n, slot) {
            (DEVICES, Slot::Device { address, .. }) => address,
            (COLLECTIONS, Slot::Collection { address, .. }) => address,
            _ => return None,
        };
        self.its[its].stale[n].as_ref()?;
        let table = self.its[its].registers.table(n)?;
        let (mut before, mut start) = (0, table.address);
        if table.indirect {
            let address_of = |entry| Level1Entry(entry).address(table.page_size);
            let here = |entry| address.wrapping_sub(address_of(entry)) < table.page_size.bytes();
            let mut level1 = self.memory.words(table.address, table.bytes);
            let (at, entry) = level1.find(|(_, entry)| here(*entry))?;
            before = (at - table.address) / 8 * table.entries_per_page();
            start = address_of(entry);
        }
        let index = before + (address - start) / table.entry_bytes;
        Some(self.tables(its).first_id(n) + index as u32)
    }

    fn touch_all(&mut self, its: usize) {
        let mapped = self.tables(its).mapped().into_iter();
        self.touched.extend(mapped.map(|(device, event)| (its as u8, device, event)));
    }

    /// SYNC: effects of an ITS that wait for this redistributor are there. What an event was before
    /// the last of them is history.
    pub(crate) fn settle(&mut self, its: usize, redistributor: u8) {
        let all = &self.its[its].late;
        let is_settled = |late: &Late| late.redistributor == Some(redistributor);
        let is_history = |(index, late): (usize, &Late)| {
            let mut later = all[index..].iter().filter(|later| later.is_of(late));
            is_settled(late) || later.any(|later| later.is_sure && is_settled(later))
        };
        let mut history = all.iter().enumerate().map(is_history).collect::<Vec<_>>().into_iter();
        let settled = self.its[its].late.extract_if(.., |_| history.next() == Some(true));
        self.touched.extend(settled.map(|late| (its as u8, late.device_id, late.event_id)));
    }

    /// Returns devices that may be mapped, by tables or as caches have them, each with each ITT and
    /// Size that it may have.
    pub fn devices(&self, its: usize) -> Vec<(u32, u64, u8)> {
        self.tables(its).devices()
    }

    // ---- redistributors

    pub fn write_redistributor(
        &mut self,
        n: usize,
        register: u64,
        write: (Part, u64),
        refused: bool,
    ) -> Result<(), Undefined> {
        let freedoms = self.its[0].freedoms;
        let redistributor = &mut self.redistributors[n];
        redistributor.write(register, write, refused, &self.memory, &freedoms)?;
        if register != gicr::CTLR || !redistributor.on.possible() {
            return Ok(());
        }
        if !redistributor.is_programmed() {
            return Err("EnableLPIs was set with PROPBASER or PENDBASER never written");
        }
        let mut tables = redistributor.tables().into_iter().filter(|(_, bytes)| *bytes > 0);
        if !tables.all(|(address, bytes)| self.machine.is_memory(address, bytes)) {
            return Err("a redistributor's table is no memory");
        }
        if self.is_on_another(n) {
            return Err("a pending table lies on another structure");
        }
        Ok(())
    }

    /// What the CPU of a redistributor may be offered; `None`: nobody knows.
    pub fn offers(&self, n: usize) -> Option<Vec<Option<u32>>> {
        self.redistributors[n].offers(&self.memory, &self.its[0].freedoms)
    }

    /// A CPU took this interrupt, or none.
    pub fn acknowledge(&mut self, n: usize, taken: Option<u32>, judgement: &mut Judgement) {
        if let Some(offers) = self.offers(n)
            && !offers.contains(&taken)
        {
            let (rule, path) = (&rules::ARCH_OFFERED, format_args!("redistributor{n}.offered"));
            let (offers, seen) = (format_args!("{offers:?}"), format_args!("{taken:?}"));
            judgement.hardware(rule, "taken", "ICC_IAR1", path, offers, seen);
        }
        if let Some(intid) = taken {
            self.redistributors[n].pending.set(intid, Truth::No);
        }
    }
}
