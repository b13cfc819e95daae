//! The hypercall `__pkvm_init_its_emulation`: S1 to S9 in order, from what EL2 read.

use std::collections::BTreeSet;

use its_architecture::{Partial, STALLED, Truth};
use its_declaration::{Again, Check, Described, LiveDevices, Memory, Redistributors};
use its_gic::geometry::{Level1Entry, PAGE_BYTES, Pages, Queue, Table, itt_bytes};
use its_gic::register::{Baser, Cbaser, OFFSET_MASK, TableType};
use its_gic::{Ctlr, Register};
use its_machine::{Errno, Event};

use crate::account::Account;
use crate::guarded::{GuardedIts, Stop};
use crate::ledger::{Ledger, Owned};
use crate::mappings::{Mappings, refused_by_injection};
use crate::policy::Policy;
use crate::queue::Queues;
use crate::{Rule, rules};

/// MAPD.ITT_addr has no bits above.
const ADDRESSES: u64 = 1 << 52;
/// What hardware makes of a queue's address bits below is not defined.
const QUEUE_ALIGNMENT: u64 = 0x1_0000;

/// A set-up as far as it was checked.
pub(crate) struct SetUp<'a> {
    on: &'a Policy,
    /// Addresses and words that EL2 read, ascending, the first reading of each.
    words: Vec<(u64, u64)>,
    /// Address and bytes of what EL2 found to be zero.
    zero: Vec<(u64, u64)>,
    /// Addresses and values of device registers that EL2 read, the last first.
    registers: Vec<(u64, u64)>,
    /// The first check that fails.
    failed: Option<(&'static str, Errno)>,
    /// A check could not be made, because EL2 did not read this.
    unread: Option<&'static str>,
    /// As it will be.
    ledger: Ledger,
}

/// What set-up makes of the machine.
pub(crate) struct Plan {
    pub(crate) guarded: GuardedIts,
    pub(crate) borrowed: Borrowed,
    /// Addresses and values of the level-1 entries.
    pub(crate) level1: Vec<(u64, u64)>,
    /// Address and bytes of the queue, of flat and of level-1 tables.
    pub(crate) owned: Vec<(u64, u64)>,
}

/// What a set-up makes of pages.
pub(crate) struct Borrowed {
    /// The tables of redistributors among them.
    tables: Vec<Pages>,
    ledger: Ledger,
}

/// A failing check ends the checks.
struct Failed;

/// The descriptor's bytes for `BASER<n>`.
const fn table_fields(n: usize) -> u64 {
    0x40 + 0x20 * n as u64
}

/// What is missing where set-up does not read `BASER<n>`.
const BASER_TO_BE_READ: [&str; 8] = [
    "BASER0 to be read",
    "BASER1 to be read",
    "BASER2 to be read",
    "BASER3 to be read",
    "BASER4 to be read",
    "BASER5 to be read",
    "BASER6 to be read",
    "BASER7 to be read",
];

impl<'a> SetUp<'a> {
    pub(crate) fn new(on: &'a Policy, events: &[Event]) -> Self {
        let (mut words, mut zero, mut registers) = (Vec::new(), Vec::new(), Vec::new());
        for event in events {
            match *event {
                Event::WordRead { address, value, .. } => words.push((address, value)),
                Event::CommandRead { address, words: read, .. } => {
                    words.extend((address..).step_by(8).zip(read));
                }
                Event::Scanned { address, bytes } => zero.push((address, bytes)),
                Event::DeviceRead { address, value, .. } => registers.push((address, value)),
                _ => {}
            }
        }
        words.sort_by_key(|(address, _)| *address);
        words.dedup_by_key(|(address, _)| *address);
        registers.reverse();
        let ledger = on.ledger.clone();
        Self { on, words, zero, registers, failed: None, unread: None, ledger }
    }

    /// Judges x1 by the checks. Returns what to make of the machine if it says success.
    pub(crate) fn judge(
        mut self,
        arguments: [u64; 4],
        x1: i64,
        events: &[Event],
        account: &mut Account,
    ) -> Option<Plan> {
        let guarded = self.check(arguments);
        if !self.judge_result(x1, events, account) {
            return None;
        }
        let (guarded, tables) = guarded.ok().filter(|_| x1 == 0 && self.unread.is_none())?;
        let level1 = guarded.mappings.level1.iter().map(|(at, entry)| (*at, *entry)).collect();
        let queue = guarded.queues.queue;
        let found = (0..8).filter_map(|n| guarded.mappings.table(n));
        let owned = found.map(|table| (table.address, table.bytes));
        let owned = owned.chain([(queue.address, queue.bytes)]).collect();
        let borrowed = Borrowed { tables, ledger: self.ledger };
        Some(Plan { guarded, borrowed, level1, owned })
    }

    /// Judges x1 of the hypercall that guards redistributors. Returns what it borrowed.
    pub(crate) fn judge_redistributors(
        mut self,
        x1: i64,
        events: &[Event],
        account: &mut Account,
    ) -> Option<Borrowed> {
        let tables = self.check_redistributors();
        if !self.judge_result(x1, events, account) {
            return None;
        }
        let tables = tables.ok().filter(|_| x1 == 0 && self.unread.is_none())?;
        Some(Borrowed { tables, ledger: self.ledger })
    }

    /// Judges x1 by the checks that were made. Returns whether they allow it.
    fn judge_result(&self, x1: i64, events: &[Event], account: &mut Account) -> bool {
        let injected = refused_by_injection(events);
        if self.allows(x1, injected) {
            return true;
        }
        let (source, expected) = match self.failed {
            _ if injected => ("P12", Errno::name(-1)),
            Some((source, errno)) => (source, Errno::name(Errno::result(Err(errno)))),
            None if x1 == 0 => ("S7", self.unread.unwrap_or("0")),
            None => (self.declared().unwrap_or("S9"), "0"),
        };
        let asks = events.iter().any(|event| matches!(event, Event::Page { .. }));
        let nothing = if x1 == 0 && !asks { ", and no page asked for" } else { "" };
        let seen = format_args!("{x1} ({}){nothing}", Errno::name(x1));
        let must_succeed = self.failed.is_none() && !injected;
        let rule: &'static Rule =
            if must_succeed || x1 == 0 { &rules::DIV_SETUP } else { &rules::DIV_ERRNO };
        account.judgement.disagree(rule, source, "x1", expected, seen);
        false
    }

    /// The points because of which a check is not made.
    fn declared(&self) -> Option<&'static str> {
        let set_up = self.on.declared.set_up;
        let again = set_up.again.declared();
        again.or(set_up.live_devices.declared()).or(set_up.described.declared())
    }

    /// Whether x1 is a result that the checks allow. An injected failure is S6's or S9's.
    fn allows(&self, x1: i64, injected: bool) -> bool {
        if x1 == 0 {
            return self.failed.is_none() && self.unread.is_none() && !injected;
        }
        let is = |errno| self.on.declared.set_up.allows(x1, Err(errno));
        injected && is(Errno::Eperm) || self.failed.is_some_and(|(_, errno)| is(errno))
    }

    // ---- what EL2 read

    fn require(&mut self, source: &'static str, errno: Errno, holds: bool) -> Result<(), Failed> {
        if holds {
            return Ok(());
        }
        self.failed = Some((source, errno));
        Err(Failed)
    }

    /// Takes note of a check that cannot be made.
    fn need<T>(&mut self, value: Option<T>, what: &'static str) -> Option<T> {
        if value.is_none() {
            self.unread.get_or_insert(what);
        }
        value
    }

    fn word(&mut self, address: u64, what: &'static str) -> Option<u64> {
        self.need(self.seen(address), what)
    }

    /// A word that EL2 read, or found to be zero.
    fn seen(&self, address: u64) -> Option<u64> {
        match self.words.binary_search_by_key(&address, |(at, _)| *at) {
            Ok(place) => Some(self.words[place].1),
            Err(_) => self.is_zero(address, address + 1).then_some(0),
        }
    }

    /// Whether EL2 found all words from one address to another to be zero.
    fn is_zero(&self, mut from: u64, to: u64) -> bool {
        while from < to {
            let around = |(start, bytes): &&(u64, u64)| from.wrapping_sub(*start) < *bytes;
            let Some((start, bytes)) = self.zero.iter().find(around) else {
                return false;
            };
            from = (start + bytes).next_multiple_of(8);
        }
        true
    }

    /// The last value that EL2 read from a device register.
    fn last_read(&self, address: u64) -> Option<u64> {
        let read = self.registers.iter().find(|(at, _)| *at == address);
        read.map(|(_, value)| *value)
    }

    /// The same, which EL2 must have read.
    fn device(&mut self, address: u64, what: &'static str) -> Option<u64> {
        self.need(self.last_read(address), what)
    }

    /// A register of the reference; bits that reset to UNKNOWN are as EL2 read them.
    fn register(&mut self, recorded: Partial, address: u64, what: &'static str) -> u64 {
        let read = if recorded.known == u64::MAX { None } else { self.device(address, what) };
        recorded.value & recorded.known | read.unwrap_or(0) & !recorded.known
    }

    /// The physical address of one in the linear map.
    fn physical(&self, linear: u64) -> u64 {
        linear.wrapping_sub(self.on.machine.linear_map)
    }

    /// Whether a field of the descriptor names an address. One outside of the linear map names none:
    /// the map covers only memory.
    fn names(&self, field: u64, address: u64) -> bool {
        self.physical(field) == address && self.on.page(address / PAGE_BYTES).is_some()
    }

    /// Whole pages by linear-map address, if aligned and RAM.
    fn linear_pages(&self, linear: u64, count: u64) -> Option<Pages> {
        let address = self.physical(linear);
        let pages = Pages { first: address / PAGE_BYTES, count };
        (address.is_multiple_of(PAGE_BYTES) && self.on.ghost.is_memory(pages)).then_some(pages)
    }

    /// Whether the ITS was given a vPE table.
    fn has_vpes(&self, its: usize) -> bool {
        let registers = &self.on.hardware.its[its].registers;
        let mut basers = (0..registers.baser.len()).map(|n| registers.baser(n));
        basers.any(|baser| baser.valid() && baser.table_type() == TableType::Vpes)
    }

    // ---- checks

    /// The checks in order. The ITS and tables of redistributors, if they hold as far as could be
    /// seen.
    fn check(
        &mut self,
        [device, private, descriptor, count]: [u64; 4],
    ) -> Result<(GuardedIts, Vec<Pages>), Failed> {
        let on = self.on;
        self.require("S1", Errno::Eopnotsupp, on.is_protected())?;
        self.require("S2", Errno::Ebusy, on.are_all_finalized())?;
        let its = on.guardable(device);
        self.require("S3", Errno::Enodev, its.is_some())?;
        let its = its.unwrap_or_default();
        if on.guarded[its].is_some() && on.declared.set_up.again == Again::Accepted {
            return Err(Failed);
        }
        self.require("S4", Errno::Eopnotsupp, on.guarded[its].is_none() && !self.has_vpes(its))?;

        let count = count.max(1);
        let most = u64::from(on.declared.numbers.private_pages);
        self.require("S5, numbers.private-pages", Errno::Einval, count <= most)?;
        let own = self.linear_pages(private, count).zip(self.linear_pages(descriptor, 1));
        let apart = |own: &(Pages, Pages)| !own.0.contains(own.1.first);
        let own = own.filter(apart);
        self.require("S5", Errno::Einval, own.is_some())?;
        let (private, descriptor) = own.ok_or(Failed)?;

        let mut own = |pages| self.ledger.own(pages, Owned::Own).is_ok();
        let owned = own(private) && own(descriptor);
        self.require("S6", Errno::Eperm, owned)?;
        let own = [private, descriptor];
        let descriptor = descriptor.first * PAGE_BYTES;
        let capacity = u64::from(on.declared.numbers.records_per_page) * private.count;
        let list = self.borrow_list(descriptor, capacity)?;

        let mut guarded = self.check_descriptor(its, descriptor, capacity, list)?;
        guarded.own = own;
        self.check_idle(&mut guarded)?;
        let devices = list.map_or(0, |(_, devices)| devices);
        let fits = devices <= capacity && guarded.mappings.has_pages(None);
        self.require("S9", Errno::Enospc, fits)?;
        let by_set_up = self.on.declared.traps.redistributors == Redistributors::Guarded;
        let is_due = by_set_up && !self.on.lpi_tables_borrowed;
        let lpi_tables = if is_due { self.lpi_tables() } else { Vec::new() };
        self.change_hands(&mut guarded, &lpi_tables)?;
        if let Some((pages, _)) = list {
            self.ledger.give_back(pages);
        }
        Ok((guarded, lpi_tables))
    }

    /// The checks of the hypercall that guards redistributors, in order. The tables it borrows.
    fn check_redistributors(&mut self) -> Result<Vec<Pages>, Failed> {
        let on = self.on;
        let redistributors = on.declared.traps.redistributors;
        let source = redistributors.source();
        let by_hypercall = redistributors == Redistributors::ByHypercall;
        self.require(source, Errno::Eopnotsupp, by_hypercall && on.is_protected())?;
        self.require(source, Errno::Ebusy, on.are_all_finalized())?;
        self.require(source, Errno::Eopnotsupp, !on.lpi_tables_borrowed)?;
        let tables = self.lpi_tables();
        let borrowed = self.borrow_lpi_tables(&tables);
        self.require(source, Errno::Eperm, borrowed)?;
        Ok(tables)
    }

    /// S6: borrows the list of live devices. Its pages and length.
    fn borrow_list(
        &mut self,
        descriptor: u64,
        capacity: u64,
    ) -> Result<Option<(Pages, u64)>, Failed> {
        if self.on.declared.set_up.live_devices == LiveDevices::None {
            return Ok(None);
        }
        let count = self.word(descriptor + 0x18, "the number of live devices to be read");
        let Some(devices) = count.filter(|devices| *devices > 0) else {
            return Ok(count.map(|_| (Pages { first: 0, count: 0 }, 0)));
        };
        let Some(address) = self.word(descriptor + 0x20, "the list's address to be read") else {
            return Ok(None);
        };
        let pages = devices.saturating_mul(16).div_ceil(PAGE_BYTES);
        // All of it must be memory; what is longer than the records is not borrowed.
        let list = self.linear_pages(address, pages);
        let most = capacity.saturating_mul(16).div_ceil(PAGE_BYTES);
        let list = list.map(|list| Pages { count: list.count.min(most), ..list });
        let borrowed = list.is_some_and(|list| self.ledger.borrow(list).is_ok());
        self.require("S6", Errno::Eperm, borrowed)?;
        Ok(list.map(|list| (list, devices)))
    }

    /// S7: the descriptor against the hardware, and the list of live devices.
    fn check_descriptor(
        &mut self,
        its: usize,
        descriptor: u64,
        capacity: u64,
        list: Option<(Pages, u64)>,
    ) -> Result<GuardedIts, Failed> {
        let (base, hardware) = (self.on.machine.its[its], &self.on.hardware.its[its].registers);
        let at = base + Register::Cbaser.offset();
        // Reserved bits may read as software wrote them.
        let reserved = self.last_read(at).unwrap_or(0) & !Cbaser::WRITABLE;
        let cbaser = self.register(hardware.cbaser, at, "CBASER to be read") | reserved;
        let cbaser = Cbaser::from_bits(cbaser);
        let (shadow, mut agrees) = self.check_queue(descriptor, cbaser);
        let mut guarded = GuardedIts {
            its,
            base,
            own: [Pages { first: 0, count: 0 }; 2],
            ctlr: 0,
            is_enabled: true,
            awaits_program: false,
            cbaser: cbaser.into_bits(),
            shown_cbaser: cbaser.into_bits(),
            shown_baser: [0; 8],
            queues: Queues::new(Queue::new(cbaser), shadow),
            mappings: Mappings::new(its as u8, self.on.machine, self.on.declared, capacity),
            stop: Stop::Running,
        };
        let mappings = &mut guarded.mappings;
        for (n, what) in BASER_TO_BE_READ.into_iter().enumerate() {
            let at = base + Register::Baser(n as u8).offset();
            self.device(at, what);
            mappings.baser[n] = self.register(hardware.baser[n], at, what);
            let baser = Baser::from_bits(mappings.baser[n]);
            let fields = descriptor + table_fields(n);
            agrees &= self.check_table(fields, baser);
            if baser.valid() && baser.indirect() {
                let (shadow, is_copy) =
                    self.copy(fields + 8, baser.bytes(), "a table's copy to be read");
                mappings.shadow_level1[n] = shadow;
                agrees &= is_copy;
            }
        }
        let kinds = [TableType::Devices, TableType::Collections];
        agrees &= kinds.into_iter().all(|kind| mappings.tables(kind).count() <= 1);
        if let Some((pages, devices)) = list {
            agrees &= self.check_list(pages.first * PAGE_BYTES, devices, mappings);
        }
        guarded.shown_baser = mappings.baser;
        self.require("S7", Errno::Einval, agrees)?;
        Ok(guarded)
    }

    /// S7: the queue. The physical address of its copy, and whether all agrees.
    fn check_queue(&mut self, descriptor: u64, cbaser: Cbaser) -> (u64, bool) {
        let mut agrees = cbaser.valid() && cbaser.address().is_multiple_of(QUEUE_ALIGNMENT);
        if self.on.declared.set_up.described == Described::Copies {
            let (shadow, is_copy) =
                self.copy(descriptor + 8, cbaser.bytes(), "the queue's copy to be read");
            return (shadow, agrees && is_copy);
        }
        if let Some(queue) = self.word(descriptor, "the queue's address to be read") {
            agrees &= self.names(queue, cbaser.address());
        }
        if let Some(bytes) = self.word(descriptor + 0x10, "the queue's length to be read") {
            agrees &= bytes == cbaser.bytes();
        }
        let (shadow, is_copy) =
            self.copy(descriptor + 8, cbaser.bytes(), "the queue's copy to be read");
        (shadow, agrees && is_copy)
    }

    /// S7: the physical address of a copy that a field names, and whether the host can have one
    /// there: page-aligned, the whole of it in one region of memory.
    fn copy(&mut self, field: u64, bytes: u64, what: &'static str) -> (u64, bool) {
        let Some(linear) = self.word(field, what) else {
            return (0, true);
        };
        let address = self.physical(linear);
        let is_memory = self.on.machine.is_memory(address, bytes);
        (address, is_memory && address.is_multiple_of(PAGE_BYTES))
    }

    /// S7, one `BASER<n>`. Of its value Valid, Type, Indirect and Entry_Size must agree.
    fn check_table(&mut self, fields: u64, baser: Baser) -> bool {
        if self.on.declared.set_up.described == Described::Copies {
            return !baser.valid() || is_guardable(baser);
        }
        let Some(value) = self.word(fields + 0x10, "each BASER's value to be read") else {
            return true;
        };
        let named = Baser::from_bits(value);
        if !baser.valid() {
            return !named.valid();
        }
        let mut agrees = named.valid()
            && named.indirect() == baser.indirect()
            && named.table_type() == baser.table_type()
            && named.entry_size() == baser.entry_size()
            && is_guardable(baser);
        if let Some(base) = self.word(fields, "each table's address to be read") {
            agrees &= self.names(base, baser.address());
        }
        if let Some(shape) = self.word(fields + 0x18, "each table's order to be read") {
            let pages = 1_u64.checked_shl(shape as u32);
            agrees &= pages.and_then(|pages| pages.checked_mul(PAGE_BYTES)) == Some(baser.bytes());
            agrees &= shape >> 32 == baser.page_size().bytes();
        }
        agrees
    }

    /// S7: every live device is what a MAPD V=1 could have made, and no two have the same DeviceID.
    fn check_list(&mut self, list: u64, devices: u64, mappings: &mut Mappings) -> bool {
        let typer = mappings.typer;
        let capacity = mappings.tables(TableType::Devices).next().map_or(0, |one| one.capacity());
        let mut distinct = true;
        for index in 0..devices {
            let what = "every live device to be read";
            let at = list + 16 * index;
            let Some((first, itt)) = self.word(at, what).zip(self.word(at + 8, what)) else {
                continue;
            };
            let (device_id, size) = (first as u32, (first >> 32) as u32);
            let bytes = itt_bytes(size.min(31) as u8, typer.itt_entry_bytes());
            let is_left = |check| mappings.declared.queue.left_to_hardware.has(check);
            let possible = (size <= u32::from(typer.id_bits()) || is_left(Check::EventIdBits))
                && size < self.on.declared.numbers.event_id_bits
                && (u64::from(device_id) < typer.device_ids().min(capacity)
                    || is_left(Check::DeviceId))
                && mappings.declared.queue.takes_device(device_id)
                && itt.is_multiple_of(mappings.declared.memory.itt_alignment.bytes())
                && itt < ADDRESSES;
            if !possible {
                return false;
            }
            // An ITT that is no memory is S9's to find.
            distinct &= mappings.records.insert(device_id, Pages::under(itt, bytes)).is_none();
        }
        distinct
    }

    /// S8: enabled, empty, not stalled.
    fn check_idle(&mut self, guarded: &mut GuardedIts) -> Result<(), Failed> {
        let (base, hardware) = (guarded.base, &self.on.hardware.its[guarded.its].registers);
        let creadr = self.device(base + Register::Creadr.offset(), "CREADR to be read");
        let creadr = creadr.unwrap_or(hardware.creadr);
        let ctlr = self.device(base, "CTLR to be read").unwrap_or(0);
        guarded.ctlr =
            ctlr & !u64::from(Ctlr::new().with_enabled(true).with_quiescent(true).into_bits());
        let empty = Some(creadr & OFFSET_MASK) == hardware.writer() && creadr & STALLED == 0;
        (guarded.queues.c, guarded.queues.j, guarded.queues.w) = (creadr, creadr, creadr);
        self.require("S8", Errno::Ebusy, hardware.enabled && empty)
    }

    /// The tables of redistributors with LPIs enabled.
    fn lpi_tables(&mut self) -> Vec<Pages> {
        let mut tables = Vec::new();
        for redistributor in &self.on.hardware.redistributors {
            match redistributor.on {
                Truth::No => {}
                Truth::Yes => {
                    let own = redistributor.tables();
                    tables.extend(own.map(|(address, bytes)| Pages::under(address, bytes)));
                }
                Truth::Maybe => {
                    self.unread.get_or_insert("each EnableLPIs to be read");
                }
            }
        }
        tables
    }

    /// S9: every page can change hands.
    fn change_hands(
        &mut self,
        guarded: &mut GuardedIts,
        lpi_tables: &[Pages],
    ) -> Result<(), Failed> {
        let Queues { queue, shadow, .. } = guarded.queues;
        let mappings = &mut guarded.mappings;
        let mut owned = vec![Pages::under(queue.address, queue.bytes)];
        let mut borrowed = vec![Pages::under(shadow, queue.bytes)];
        let mut well_formed = true;
        for n in 0..8 {
            let Some(table) = mappings.table(n) else {
                continue;
            };
            owned.push(Pages::under(table.address, table.bytes));
            if table.indirect {
                borrowed.push(Pages::under(mappings.shadow_level1[n], table.bytes));
                well_formed &= self.level2_tables(table, mappings, &mut owned);
            }
        }
        let (ghost, ledger) = (&self.on.ghost, &mut self.ledger);
        let borrow =
            |ledger: &mut Ledger, pages| ghost.is_memory(pages) && ledger.borrow(pages).is_ok();
        let mut itts = mappings.records.values().copied();
        let Memory { itt_pages, itts: whose, .. } = mappings.declared.memory;
        let all = well_formed
            && owned
                .into_iter()
                .all(|pages| ghost.is_memory(pages) && ledger.own(pages, Owned::Table).is_ok())
            && borrowed.into_iter().all(|pages| borrow(ledger, pages))
            && itts.all(|itt| {
                let is_there = ghost.is_memory(itt) && mappings.allows_pages(itt, ledger);
                is_there && ledger.take_itt(itt).is_ok()
            });
        let all = all && self.borrow_lpi_tables(lpi_tables);
        self.require(itt_pages.declared().or(whose.declared()).unwrap_or("S9"), Errno::Eperm, all)
    }

    /// S9: borrows every page of these tables once. Returns whether that was possible.
    fn borrow_lpi_tables(&mut self, tables: &[Pages]) -> bool {
        let (ghost, ledger) = (&self.on.ghost, &mut self.ledger);
        distinct(tables).all(|pages| ghost.is_memory(pages) && ledger.borrow(pages).is_ok())
    }

    /// S9: adds the level-2 tables that a level-1 table names. Whether its entries are well-formed.
    fn level2_tables(
        &mut self,
        table: Table,
        mappings: &mut Mappings,
        owned: &mut Vec<Pages>,
    ) -> bool {
        // Level-1 entries of ids that there are must be read, others may.
        let most = if mappings.tables(TableType::Devices).any(|devices| devices == table) {
            mappings.typer.device_ids()
        } else {
            mappings.typer.collection_ids()
        };
        let end = table.address + table.bytes;
        let needed = end.min(table.address + most.div_ceil(table.entries_per_page().max(1)) * 8);
        let from = self.words.partition_point(|(at, _)| *at < table.address);
        let (mut next, mut read, mut well_formed) = (table.address, true, true);
        for (address, value) in self.words[from..].iter().take_while(|(at, _)| *at < end) {
            read &= self.is_zero(next, needed.min(*address));
            next = address + 8;
            let entry = Level1Entry(*value);
            if !entry.is_valid() {
                continue;
            }
            // One that is malformed names nothing that could change hands.
            well_formed &= entry.other_bits(table.page_size) == 0;
            let level2 = entry.address(table.page_size);
            owned.push(Pages::under(level2, table.page_size.bytes()));
            mappings.level1.insert(*address, *value);
        }
        read &= self.is_zero(next, needed);
        self.need(read.then_some(()), "every level-1 entry to be read");
        well_formed
    }
}

impl Borrowed {
    /// Returns what is borrowed by then. Several redistributors may name the same table. "Once" is
    /// a pin for each of them or one for all: takes as many as there are.
    pub(crate) fn ledger(mut self, pins: impl Fn(u64) -> u32) -> Ledger {
        for one in distinct(&self.tables) {
            let named = self.tables.iter().filter(|table| table.contains(one.first)).count();
            let more = pins(one.first).saturating_sub(self.ledger.borrowed(one.first));
            for _ in 0..more.min((named as u32).saturating_sub(1)) {
                let _ = self.ledger.borrow(one);
            }
        }
        self.ledger
    }
}

/// S7: of a type that EL2 guards, without address bits below the ITS page.
fn is_guardable(baser: Baser) -> bool {
    matches!(baser.table_type(), TableType::Devices | TableType::Collections)
        && baser.with_address(baser.address()) == baser
}

/// Each page of these tables once.
fn distinct(tables: &[Pages]) -> impl Iterator<Item = Pages> + use<> {
    let pages: BTreeSet<u64> = tables.iter().flat_map(|table| table.iter()).collect();
    pages.into_iter().map(|first| Pages { first, count: 1 })
}

#[cfg(test)]
mod tests;
