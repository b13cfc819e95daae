//! The hypercall `__pkvm_init_its_emulation`: S1 to S9 in order, from what EL2 read.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use its_gic::geometry::{Level1Entry, PAGE_BYTES, Pages, Queue, Table, itt_bytes};
use its_gic::register::{Baser, Cbaser, OFFSET_MASK, TableType};
use its_gic::{Ctlr, Register};
use its_machine::{Errno, Event};

use crate::account::Account;
use crate::ledger::Ledger;
use crate::policy::Policy;
use crate::queue::{Guard, Stop, refused_by_injection};
use crate::{Rule, rules};
use its_architecture::Expected;
use its_architecture::{Partial, STALLED};

/// MAPD.ITT_addr leaves out the bits below, and has none above.
const ITT_ALIGNMENT: u64 = 256;
const ADDRESSES: u64 = 1 << 52;
/// What hardware makes of a queue's address bits below is not defined.
const QUEUE_ALIGNMENT: u64 = 0x1_0000;

/// What the checks came to.
struct Checks<'a> {
    events: &'a [Event],
    /// Words that EL2 read, the first reading of each.
    words: BTreeMap<u64, u64>,
    /// Address and bytes of what EL2 found to be zero.
    zero: Vec<(u64, u64)>,
    /// The first check that fails.
    failed: Option<(&'static str, Errno)>,
    /// A check could not be made, because EL2 did not read this.
    unread: Option<&'static str>,
}

/// What set-up makes of the machine.
struct Plan {
    its: usize,
    guard: Guard,
    ledger: Ledger,
    /// The tables of redistributors, to be borrowed by this set-up.
    lpi_tables: Vec<Pages>,
}

/// A failing check ends the checks.
struct Failed;

impl Checks<'_> {
    fn require(&mut self, source: &'static str, errno: Errno, holds: bool) -> Result<(), Failed> {
        if holds {
            return Ok(());
        }
        self.failed = Some((source, errno));
        Err(Failed)
    }

    fn word(&mut self, address: u64, what: &'static str) -> Option<u64> {
        let word = self.seen(address);
        if word.is_none() {
            self.unread.get_or_insert(what);
        }
        word
    }

    /// A word that EL2 read, or found to be zero.
    fn seen(&self, address: u64) -> Option<u64> {
        let word = self.words.get(&address).copied();
        let zero = |(start, bytes): &(u64, u64)| address.wrapping_sub(*start) < *bytes;
        word.or_else(|| self.zero.iter().any(zero).then_some(0))
    }

    /// Where the next word is that EL2 may not have found to be zero, if the one here is.
    fn zero_until(&self, address: u64) -> Option<u64> {
        if self.words.contains_key(&address) {
            return None;
        }
        let around = |(start, bytes): &&(u64, u64)| address.wrapping_sub(*start) < *bytes;
        let (start, bytes) = self.zero.iter().find(around)?;
        let end = (start + bytes).next_multiple_of(8);
        let read = self.words.range(address..end).next();
        Some(read.map_or(end, |(read, _)| *read))
    }

    /// The last value that EL2 read from a device register.
    fn device(&mut self, address: u64, what: &'static str) -> Option<u64> {
        let read = self.events.iter().rev().find_map(|event| match event {
            Event::DeviceRead { address: at, value, .. } if *at == address => Some(*value),
            _ => None,
        });
        if read.is_none() {
            self.unread.get_or_insert(what);
        }
        read
    }

    /// A register of the reference; bits that reset to UNKNOWN are as EL2 read them.
    fn register(&mut self, recorded: Partial, address: u64, what: &'static str) -> u64 {
        let read = match recorded.known == u64::MAX {
            true => None,
            false => self.device(address, what),
        };
        recorded.value & recorded.known | read.unwrap_or(0) & !recorded.known
    }

    /// Whether x1 is a result that the checks allow. An injected failure is S6's or S9's.
    fn allow(&self, x1: i64, injected: bool) -> bool {
        let is = |errno: &Errno| Errno::result(Err(*errno)) == x1;
        if x1 == 0 {
            return self.failed.is_none() && self.unread.is_none() && !injected;
        }
        injected && is(&Errno::Eperm) || self.failed.is_some_and(|(_, errno)| is(&errno))
    }
}

/// The descriptor's bytes for `BASER<n>`.
const fn table_fields(n: u64) -> u64 {
    0x40 + 0x20 * n
}

impl Policy {
    pub(crate) fn judge_set_up(
        &mut self,
        arguments: [u64; 4],
        x1: i64,
        events: &[Event],
        account: &mut Account,
    ) {
        let mut checks = Checks {
            events,
            words: words_read(events),
            zero: zero_found(events),
            failed: None,
            unread: None,
        };
        self.ledger.witness(events);
        let plan = self.plan(arguments, &mut checks);
        let injected = refused_by_injection(events);
        if !checks.allow(x1, injected) {
            let (source, expected) = match checks.failed {
                _ if injected => ("P12", Errno::name(-1)),
                Some((source, errno)) => (source, Errno::name(Errno::result(Err(errno)))),
                None if x1 == 0 => ("S7", checks.unread.unwrap_or("0")),
                None => ("S9", "0"),
            };
            let seen = format_args!("{x1} ({})", Errno::name(x1));
            let must_succeed = checks.failed.is_none() && !injected && x1 != 0;
            let rule: &'static Rule = match must_succeed || x1 == 0 {
                true => &rules::DIV_SETUP,
                false => &rules::DIV_ERRNO,
            };
            return account.judgement.disagree(rule, source, "x1", expected, seen);
        }
        if let (Ok(Some(plan)), 0) = (plan, x1) {
            self.adopt(plan, &checks.words, account);
        }
    }

    /// The checks in order. `None`: too little was read to know what a success would do.
    fn plan(
        &self,
        [device, private, descriptor, count]: [u64; 4],
        checks: &mut Checks,
    ) -> Result<Option<Plan>, Failed> {
        checks.require("S1", Errno::Eopnotsupp, self.is_protected())?;
        checks.require("S2", Errno::Ebusy, self.finalized.iter().all(|done| *done))?;
        let its = self.machine.its.iter().position(|base| *base == device);
        checks.require("S3", Errno::Enodev, its.is_some())?;
        let its = its.unwrap_or_default();
        // No ITS of the machine has a vPE table.
        checks.require("S4", Errno::Eopnotsupp, self.guards[its].is_none())?;

        let count = count.max(1);
        let most = u64::from(self.policy.private_pages);
        let few = count <= most;
        let pages = |linear, count| self.linear_pages(linear, count);
        let own = [pages(private, count.min(most)), pages(descriptor, 1)];
        let disjoint = |a: Pages, b: Pages| !a.iter().any(|page| b.contains(page));
        let [Some(private), Some(descriptor)] = own else {
            return checks.require("S5", Errno::Einval, false).map(|()| None);
        };
        checks.require("S5", Errno::Einval, few && disjoint(private, descriptor))?;

        let mut ledger = self.ledger.clone();
        let owned = ledger.own(private).is_ok() && ledger.own(descriptor).is_ok();
        checks.require("S6", Errno::Eperm, owned)?;
        let descriptor = descriptor.first * PAGE_BYTES;
        let capacity = u64::from(self.policy.records_per_page) * private.count;
        let list = self.borrow_list(descriptor, capacity, &mut ledger, checks)?;

        let mut guard = self.check_descriptor(its, descriptor, capacity, list, checks)?;
        self.check_idle(its, &mut guard, checks)?;
        let devices = list.map_or(0, |(_, devices)| devices);
        checks.require("S9", Errno::Enospc, devices <= capacity)?;
        let lpi_tables = self.lpi_tables(checks);
        self.change_hands(its, &mut guard, &lpi_tables, &mut ledger, checks)?;
        if let Some((pages, _)) = list {
            ledger.give_back(pages);
        }
        let plan = Plan { its, guard, ledger, lpi_tables };
        Ok(checks.unread.is_none().then_some(plan))
    }

    /// The physical address of one in the linear map.
    fn physical(&self, linear: u64) -> u64 {
        linear.wrapping_sub(self.machine.linear_map)
    }

    /// Whole pages by linear-map address, if aligned and RAM.
    fn linear_pages(&self, linear: u64, count: u64) -> Option<Pages> {
        let address = self.physical(linear);
        let pages = Pages { first: address / PAGE_BYTES, count };
        (address.is_multiple_of(PAGE_BYTES) && self.ghost.is_memory(pages)).then_some(pages)
    }

    /// S6: borrows the list of live devices. Its pages and length.
    fn borrow_list(
        &self,
        descriptor: u64,
        capacity: u64,
        ledger: &mut Ledger,
        checks: &mut Checks,
    ) -> Result<Option<(Pages, u64)>, Failed> {
        let count = checks.word(descriptor + 0x18, "the number of live devices to be read");
        let Some(devices) = count.filter(|devices| *devices > 0) else {
            let none = Pages { first: 0, count: 0 };
            return Ok(count.map(|_| (none, 0)));
        };
        let Some(address) = checks.word(descriptor + 0x20, "the list's address to be read") else {
            return Ok(None);
        };
        let pages = devices.saturating_mul(16).div_ceil(PAGE_BYTES);
        // All of it must be memory; what is longer than the records is not borrowed.
        let list = self.linear_pages(address, pages);
        let most = capacity.saturating_mul(16).div_ceil(PAGE_BYTES);
        let list = list.map(|list| Pages { count: list.count.min(most), ..list });
        let borrowed = list.is_some_and(|list| ledger.borrow(list).is_ok());
        checks.require("S6", Errno::Eperm, borrowed)?;
        Ok(list.map(|list| (list, devices)))
    }

    /// S7: the descriptor against the hardware, and the list of live devices.
    fn check_descriptor(
        &self,
        its: usize,
        descriptor: u64,
        capacity: u64,
        list: Option<(Pages, u64)>,
        checks: &mut Checks,
    ) -> Result<Guard, Failed> {
        let (base, hardware) = (self.machine.its[its], &self.hardware.its[its].registers);
        let at = base + Register::Cbaser.offset();
        let cbaser = checks.register(hardware.cbaser, at, "CBASER to be read");
        let cbaser = Cbaser::from_bits(cbaser);
        let queue = Queue::new(cbaser);
        let mut guard = Guard {
            cbaser: cbaser.into_bits(),
            baser: [0; 8],
            ctlr: 0,
            cbaser_valid: cbaser.valid(),
            baser_valid: [false; 8],
            queue,
            shadow_queue: 0,
            shadow_level1: [0; 8],
            level1: BTreeSet::new(),
            c: 0,
            j: 0,
            w: 0,
            stalled: false,
            refused: false,
            stop: Stop::Running,
            in_flight: VecDeque::new(),
            records: BTreeMap::new(),
            capacity,
        };
        let mut agrees = cbaser.valid() && queue.address.is_multiple_of(QUEUE_ALIGNMENT);
        if let Some(queue) = checks.word(descriptor, "the queue's address to be read") {
            agrees &= self.physical(queue) == cbaser.address();
        }
        if let Some(bytes) = checks.word(descriptor + 0x10, "the queue's length to be read") {
            agrees &= bytes == cbaser.bytes();
        }
        if let Some(shadow) = checks.word(descriptor + 0x08, "the queue's copy to be read") {
            guard.shadow_queue = self.physical(shadow);
            agrees &= self.is_copy(guard.shadow_queue, cbaser.bytes());
        }
        for n in 0..8 {
            let at = base + Register::Baser(n as u8).offset();
            let what = "every BASER to be read";
            checks.device(at, what);
            guard.baser[n] = checks.register(hardware.baser[n], at, what);
            let baser = Baser::from_bits(guard.baser[n]);
            guard.baser_valid[n] = baser.valid();
            agrees &= self.check_table(descriptor + table_fields(n as u64), baser, checks);
            if baser.valid() && baser.indirect() {
                let shadow = checks
                    .word(descriptor + table_fields(n as u64) + 8, "a table's copy to be read");
                guard.shadow_level1[n] = shadow.map_or(0, |shadow| self.physical(shadow));
                agrees &= shadow.is_none() || self.is_copy(guard.shadow_level1[n], baser.bytes());
            }
        }
        agrees &= [TableType::Devices, TableType::Collections]
            .into_iter()
            .all(|kind| guard.tables(kind).count() <= 1);
        if let Some((pages, devices)) = list {
            agrees &= self.check_list(its, pages.first * PAGE_BYTES, devices, &mut guard, checks);
        }
        checks.require("S7", Errno::Einval, agrees)?;
        Ok(guard)
    }

    /// S7: whether the host can have a copy there: page-aligned, the whole of it in one region of
    /// memory.
    fn is_copy(&self, address: u64, bytes: u64) -> bool {
        address.is_multiple_of(PAGE_BYTES) && self.machine.is_memory(address, bytes)
    }

    /// S7, one `BASER<n>`. Of its value Valid, Type, Indirect and Entry_Size must agree.
    fn check_table(&self, fields: u64, baser: Baser, checks: &mut Checks) -> bool {
        let Some(value) = checks.word(fields + 0x10, "each BASER's value to be read") else {
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
            && matches!(baser.table_type(), TableType::Devices | TableType::Collections)
            // No address bits below the ITS page.
            && baser.with_address(baser.address()) == baser;
        if let Some(base) = checks.word(fields, "each table's address to be read") {
            agrees &= self.physical(base) == baser.address();
        }
        if let Some(shape) = checks.word(fields + 0x18, "each table's order to be read") {
            let pages = 1_u64.checked_shl(shape as u32);
            agrees &= pages.and_then(|pages| pages.checked_mul(PAGE_BYTES)) == Some(baser.bytes());
            agrees &= shape >> 32 == baser.page_size().bytes();
        }
        agrees
    }

    /// S7: every live device is what a MAPD V=1 could have made, and no two have the same DeviceID.
    fn check_list(
        &self,
        its: usize,
        list: u64,
        devices: u64,
        guard: &mut Guard,
        checks: &mut Checks,
    ) -> bool {
        let typer = self.hardware.its[its].typer;
        let Some(table) = guard.tables(TableType::Devices).next() else {
            return devices == 0;
        };
        let mut distinct = true;
        for index in 0..devices {
            let what = "every live device to be read";
            let at = list + 16 * index;
            let (Some(first), Some(itt)) = (checks.word(at, what), checks.word(at + 8, what))
            else {
                continue;
            };
            let (device_id, size) = (first as u32, (first >> 32) as u32);
            let bytes = itt_bytes(size.min(31) as u8, typer.itt_entry_bytes());
            let possible = size <= u32::from(typer.id_bits())
                && size < self.policy.event_id_bits
                && u64::from(device_id) < typer.device_ids()
                && u64::from(device_id) < table.capacity()
                && itt.is_multiple_of(ITT_ALIGNMENT)
                && itt < ADDRESSES;
            if !possible {
                return false;
            }
            // An ITT that is no memory is S9's to find.
            distinct &= guard.records.insert(device_id, Pages::under(itt, bytes)).is_none();
        }
        distinct
    }

    /// S8: enabled, empty, not stalled.
    fn check_idle(&self, its: usize, guard: &mut Guard, checks: &mut Checks) -> Result<(), Failed> {
        let (base, hardware) = (self.machine.its[its], &self.hardware.its[its].registers);
        let creadr = checks.device(base + Register::Creadr.offset(), "CREADR to be read");
        let creadr = creadr.unwrap_or(hardware.creadr);
        let ctlr = checks.device(base, "CTLR to be read").unwrap_or(0);
        guard.ctlr =
            ctlr & !u64::from(Ctlr::new().with_enabled(true).with_quiescent(true).into_bits());
        let empty = Some(creadr & OFFSET_MASK) == hardware.writer() && creadr & STALLED == 0;
        (guard.c, guard.j, guard.w) = (creadr, creadr, creadr);
        checks.require("S8", Errno::Ebusy, hardware.enabled && empty)
    }

    /// The tables of redistributors with LPIs enabled; none if an earlier set-up borrowed them.
    fn lpi_tables(&self, checks: &mut Checks) -> Vec<Pages> {
        let mut tables = Vec::new();
        if self.lpi_tables_borrowed {
            return tables;
        }
        for redistributor in &self.hardware.redistributors {
            match redistributor.enabled {
                Expected::Known(false) => {}
                Expected::Known(true) => {
                    tables.extend(
                        redistributor.tables().map(|(address, bytes)| Pages::under(address, bytes)),
                    );
                }
                Expected::Unknown => {
                    checks.unread.get_or_insert("each EnableLPIs to be read");
                }
            }
        }
        tables
    }

    /// S9: every page can change hands.
    fn change_hands(
        &self,
        its: usize,
        guard: &mut Guard,
        lpi_tables: &[Pages],
        ledger: &mut Ledger,
        checks: &mut Checks,
    ) -> Result<(), Failed> {
        let under = |address, bytes| Pages::under(address, bytes);
        let queue = guard.queue;
        let mut owned = vec![under(queue.address, queue.bytes)];
        let mut borrowed = vec![under(guard.shadow_queue, queue.bytes)];
        let mut well_formed = true;
        for n in 0..8 {
            let baser = Baser::from_bits(guard.baser[n]);
            if !baser.valid() {
                continue;
            }
            let table = Table::new(baser);
            owned.push(under(table.address, table.bytes));
            if !table.indirect {
                continue;
            }
            borrowed.push(under(guard.shadow_level1[n], table.bytes));
            // Level-1 entries of DeviceIDs that there are must be read, others may.
            let most = self.hardware.its[its].typer.device_ids();
            let needed = most.div_ceil(table.entries_per_page().max(1)) * 8;
            let end = table.address + table.bytes;
            let mut next = table.address;
            while next < end {
                let address = next;
                if let Some(used) = checks.zero_until(address) {
                    next = used;
                    continue;
                }
                next += 8;
                let offset = address - table.address;
                let entry = match offset < needed {
                    true => checks.word(address, "every level-1 entry to be read"),
                    false => checks.seen(address),
                };
                let entry = Level1Entry(entry.unwrap_or(0));
                if !entry.is_valid() {
                    continue;
                }
                // One that is malformed names nothing that could change hands.
                well_formed &= entry.other_bits(table.page_size) == 0;
                let level2 = entry.address(table.page_size);
                owned.push(under(level2, table.page_size.bytes()));
                guard.level1.insert(address);
            }
        }
        borrowed.extend(guard.records.values());
        borrowed.extend(distinct(lpi_tables));
        let own = |pages: Pages, ledger: &mut Ledger| {
            self.ghost.is_memory(pages) && ledger.own(pages).is_ok()
        };
        let borrow = |pages: Pages, ledger: &mut Ledger| {
            self.ghost.is_memory(pages) && ledger.borrow(pages).is_ok()
        };
        let all = well_formed
            && owned.into_iter().all(|pages| own(pages, ledger))
            && borrowed.into_iter().all(|pages| borrow(pages, ledger));
        checks.require("S9", Errno::Eperm, all)
    }

    /// P3: from here on the ITS is guarded.
    fn adopt(&mut self, plan: Plan, words: &BTreeMap<u64, u64>, account: &mut Account) {
        let Plan { its, guard, ledger, lpi_tables } = plan;
        self.ledger = ledger;
        // Several redistributors may name the same table. "Once" is a pin for each of them or one
        // for all.
        for page in distinct(&lpi_tables).flat_map(Pages::iter) {
            let most = lpi_tables.iter().filter(|table| table.contains(page)).count() as u32;
            let pins = self.ghost.page(page).map_or(0, |state| u32::from(state.pins));
            let more = pins.saturating_sub(self.ledger.borrowed(page));
            for _ in 0..more.min(most.saturating_sub(1)) {
                let one = Pages { first: page, count: 1 };
                let _ = self.ledger.borrow(one);
            }
        }
        self.lpi_tables_borrowed = true;
        for address in &guard.level1 {
            let value = words.get(address).copied().unwrap_or(0);
            self.hardware.store(*address, &[value]);
        }
        let entry_bytes = self.hardware.its[its].typer.itt_entry_bytes();
        let mut mapped = self.hardware.devices(its).into_iter();
        let listed = |(device_id, itt, size): (u32, u64, u8)| {
            let itt = Pages::under(itt, itt_bytes(size, entry_bytes));
            guard.records.get(&device_id) == Some(&itt)
        };
        if !mapped.all(listed) {
            account.judgement.poison("the host's list of live devices is not complete and true");
        }
        self.guards[its] = Some(guard);
    }
}

/// Each page of these tables once.
fn distinct(tables: &[Pages]) -> impl Iterator<Item = Pages> + use<> {
    let pages: BTreeSet<u64> = tables.iter().flat_map(|table| table.iter()).collect();
    pages.into_iter().map(|first| Pages { first, count: 1 })
}

fn zero_found(events: &[Event]) -> Vec<(u64, u64)> {
    let zero = |event: &Event| match event {
        Event::Scanned { address, bytes } => Some((*address, *bytes)),
        _ => None,
    };
    events.iter().filter_map(zero).collect()
}

fn words_read(events: &[Event]) -> BTreeMap<u64, u64> {
    let mut read = BTreeMap::new();
    for event in events {
        match event {
            Event::WordRead { address, value, .. } => {
                read.entry(*address).or_insert(*value);
            }
            Event::CommandRead { address, words, .. } => {
                for (index, word) in (0..).zip(words) {
                    read.entry(address + 8 * index).or_insert(*word);
                }
            }
            _ => {}
        }
    }
    read
}

#[cfg(test)]
mod tests {
    use its_machine::{AccessSize, Hypercall, Outcome, PageChange};

    use super::*;
    use crate::testing::*;

    fn x1(x1: i64) -> Outcome {
        Outcome::Returned { x0: 0, x1 }
    }

    /// Undone but for the zeroed private page.
    fn undo_early() -> Vec<Event> {
        vec![page(PageChange::Reclaim, DESCRIPTOR), page(PageChange::Reclaim, PRIVATE)]
    }

    /// A right list cut before the first event that donates the queue, and undone.
    fn stopped_before_s9(mut events: Vec<Event>) -> Vec<Event> {
        let queue = page(PageChange::Donate, QUEUE);
        let end = events.iter().position(|event| *event == queue).unwrap();
        events.truncate(end);
        [events, releases(&[LIST]), undo_early()].concat()
    }

    fn with_word(offset: u64, value: u64) -> Vec<(u64, u64)> {
        let mut words = descriptor();
        words.iter_mut().find(|word| word.0 == offset).unwrap().1 = value;
        words
    }

    #[test]
    fn s1_to_s5() {
        let call = |arguments| hypercall(0, Hypercall::InitItsEmulation, arguments);
        let (private, descriptor) = (linear(PRIVATE), linear(DESCRIPTOR));
        let mut world = World::booted();
        let check = |world: &World, arguments, errno: i64| {
            world.clone().agree(call(arguments), x1(errno), &[]);
            for other in [0, -1, -16, -19, -22, -95] {
                if other != errno {
                    let rule: &'static Rule = match other {
                        0 => &rules::DIV_SETUP,
                        _ => &rules::DIV_ERRNO,
                    };
                    world.differ(call(arguments), x1(other), &[], rule, "x1");
                }
            }
        };
        check(&world, [0; 4], -95);
        world.agree(hypercall(0, Hypercall::ProtFinalize, [0; 4]), x1(0), &[]);
        check(&world, [0; 4], -16);
        let mut world = World::closing();
        check(&world, [ITS + 4096, private, descriptor, 0], -19);
        for (private, descriptor, count) in [
            (private + 8, descriptor, 1),
            (private, descriptor + 8, 1),
            (at(PRIVATE), descriptor, 1),
            (private, private, 1),
            (private, descriptor, 2),
            (private, descriptor, 1025),
            (private, descriptor, u64::MAX),
            (linear(0x80fff), descriptor, 2),
            (private, linear(0x81000), 1),
        ] {
            check(&world, [ITS, private, descriptor, count], -22);
        }
        world.agree(set_up_call(), x1(0), &set_up());
        check(&world, [ITS, private, descriptor, 0], -95);
    }

    #[test]
    fn s6_pages_that_cannot_be_had() {
        let mut world = World::closing();
        let share = hypercall(0, Hypercall::HostShareHyp, [PRIVATE, 0, 0, 0]);
        world.agree(share, x1(0), &[page(PageChange::Share, PRIVATE)]);
        let refused = Event::Page {
            change: PageChange::Donate,
            pages: Pages { first: PRIVATE, count: 1 },
            result: Err(Errno::Eperm),
        };
        world.clone().agree(set_up_call(), x1(-1), &[refused]);
        world.differ(set_up_call(), x1(-22), &[refused], &rules::DIV_ERRNO, "x1");
        // A list in EL2's memory; one past the end of RAM.
        let world = World::closing();
        for (offset, value) in [(0x20, linear(0x80000)), (0x18, 1 << 60)] {
            let events = set_up_with(&with_word(offset, value), &[]);
            let read = events.iter().filter(|event| !matches!(event, Event::Page { .. }));
            let events: Vec<Event> = read.copied().collect();
            world.clone().agree(set_up_call(), x1(-1), &events);
            world.differ(set_up_call(), x1(0), &events, &rules::DIV_SETUP, "x1");
        }
    }

    #[test]
    fn s7_every_field_that_must_agree() {
        let world = World::closing();
        let wrong = [
            (0x00, linear(SHADOW)),
            (0x00, at(QUEUE)),
            (0x10, 0x2000),
            (0x40, linear(SHADOW)),
            (0x50, baser(0) & !Baser::VALID),
            (0x50, baser(0) & !(1 << 62)),
            (0x50, baser(0) ^ 1 << 48),
            (0x58, 0x1000_0000_0001),
            (0x58, 0x4000_0000_0000),
            (0x58, 0x1000_0000_0040),
            (0x60, linear(SHADOW)),
            (0x90, Baser::VALID),
        ];
        for (offset, value) in wrong {
            let events =
                stopped_before_s9(set_up_with(&with_word(offset, value), &[(1, 7, at(ITT))]));
            world.clone().agree(set_up_call(), x1(-22), &events);
            world.differ(set_up_call(), x1(-16), &events, &rules::DIV_ERRNO, "x1");
            let judgement = world.clone().play(set_up_call(), x1(0), &events);
            let first = &judgement.findings[0];
            assert_eq!(first.expected, "-EINVAL (S7)", "{offset:#x}");
        }
        let twice = [(1, 7, at(ITT)), (1, 7, at(ITT))];
        let events = stopped_before_s9(set_up_with(&with_word(0x18, 2), &twice));
        world.clone().agree(set_up_call(), x1(-22), &events);
        // Attributes and Page_Size need not agree: the page size is described apart.
        let attributes = with_word(0x50, baser(0) ^ 1 << 9 | 7 << 59);
        world.clone().agree(set_up_call(), x1(0), &set_up_with(&attributes, &[(1, 7, at(ITT))]));
    }

    /// The host moved what one register names, as another value says; the ITS is off.
    fn moved(register: Register, value: u64) -> World {
        let mut world = World::booted();
        world.agree(write(ITS, AccessSize::Word, 0), Outcome::Done, &[]);
        let quiescent = Outcome::Value(1 << 31);
        world.agree(read(ITS, AccessSize::Word), quiescent, &[]);
        world.writes(ITS + register.offset(), value);
        world.finalized()
    }

    /// A set-up up to S9 in which EL2 reads this of a register, and the descriptor says that.
    fn set_up_reading(register: Register, value: u64, words: &[(u64, u64)]) -> Vec<Event> {
        let mut events = stopped_before_s9(set_up_with(words, &[(1, 7, at(ITT))]));
        let of = ITS + register.offset();
        for event in &mut events {
            if let Event::DeviceRead { address, value: read, .. } = event
                && *address == of
            {
                *read = value;
            }
        }
        events.retain(|event| !matches!(event, Event::DeviceRead { address, .. } if matches!(address - ITS, 0 | 0x88 | 0x90)));
        events
    }

    #[test]
    fn s7_a_queue_is_aligned_to_64k() {
        for pages in [1, 2, 4, 8, 15] {
            let value = cbaser() ^ (pages * PAGE_BYTES);
            let world = moved(Register::Cbaser, value);
            let words = with_word(0x00, linear(QUEUE + pages));
            let events = set_up_reading(Register::Cbaser, value, &words);
            world.clone().agree(set_up_call(), x1(-22), &events);
            world.differ(set_up_call(), x1(-16), &events, &rules::DIV_ERRNO, "x1");
            // Hardware that drops these bits has an aligned queue: then S8 finds it off.
            let dropped = set_up_reading(Register::Cbaser, cbaser(), &descriptor());
            let dropping = set_up_reading(Register::Cbaser, cbaser(), &words);
            let off = [dropped, vec![reads(Register::Ctlr, 1 << 31)]].concat();
            let judged = |events: &[Event], errno| {
                let mut world = world.clone();
                world.model.hardware.its[0].freedoms = its_machine::Freedoms::ALL;
                world.play(set_up_call(), x1(errno), events).findings.is_empty()
            };
            assert!(judged(&off, -16) && !judged(&off, -22), "{pages}");
            assert!(judged(&dropping, -22), "{pages}");
        }
    }

    #[test]
    fn s7_a_device_that_is_live_has_a_table() {
        let value = baser(0) & !Baser::VALID;
        let world = moved(Register::Baser(0), value);
        let words = with_word(0x50, value);
        let events = set_up_reading(Register::Baser(0), value, &words);
        world.clone().agree(set_up_call(), x1(-22), &events);
        world.differ(set_up_call(), x1(-16), &events, &rules::DIV_ERRNO, "x1");
    }

    #[test]
    fn s7_a_table_is_aligned_to_its_page() {
        let page_size = its_gic::geometry::PageSize::K16;
        let mut machine = machine();
        machine.configurations[0].page_size = page_size;
        let value = baser(1) | 1 << 8 | 0x3000;
        let mut world = World::new(machine);
        world.writes(ITS + 0x80, cbaser());
        world.writes(ITS + 0x108, value);
        let world = world.finalized();
        let mut words = with_word(0x70, value);
        words.iter_mut().find(|word| word.0 == 0x78).unwrap().1 = 0x4000_0000_0002;
        words.iter_mut().find(|word| word.0 == 0x50).unwrap().1 = 0;
        words.iter_mut().find(|word| word.0 == 0x18).unwrap().1 = 0;
        let mut events = set_up_reading(Register::Baser(1), value, &words);
        let none = |event: &Event| matches!(event, Event::DeviceRead { address, .. } if *address == ITS + 0x100);
        events.retain(|event| !none(event));
        events.push(reads(Register::Baser(0), 1 << 56 | 7 << 48 | 1 << 8));
        world.clone().agree(set_up_call(), x1(-22), &events);
        world.differ(set_up_call(), x1(-16), &events, &rules::DIV_ERRNO, "x1");
    }

    #[test]
    fn s8_a_queue_that_is_not_idle() {
        let mut world = World::booted();
        world.writes(ITS + 0x88, 0xa0);
        let mut world = world.finalized();
        let mut events = stopped_before_s9(set_up());
        let writer = events.iter_mut().find(|event| **event == reads(Register::Cwriter, 0x80));
        *writer.unwrap() = reads(Register::Cwriter, 0xa0);
        world.differ(set_up_call(), x1(0), &events, &rules::DIV_SETUP, "x1");
        world.agree(set_up_call(), x1(-16), &events);
        // Empty but disabled.
        let mut off = World::booted();
        off.agree(write(ITS, AccessSize::Word, 0), Outcome::Done, &[]);
        let mut events = stopped_before_s9(set_up());
        *events.iter_mut().find(|event| **event == reads(Register::Ctlr, 1)).unwrap() =
            reads(Register::Ctlr, 0);
        off.finalized().agree(set_up_call(), x1(-16), &events);
        // A wrong descriptor comes first.
        let wrong = set_up_with(&with_word(0x10, 0), &[(1, 7, at(ITT))]);
        let mut wrong = stopped_before_s9(wrong);
        wrong.retain(|event| *event != reads(Register::Cwriter, 0x80));
        world.differ(set_up_call(), x1(-16), &wrong, &rules::DIV_ERRNO, "x1");
    }

    #[test]
    fn s9_records_and_pages() {
        let world = World::closing();
        let four = [1, 2, 3, 4]
            .map(|device_id| (device_id, 7, at(ITT) + u64::from(device_id - 1) * 0x800));
        let events = stopped_before_s9(set_up_with(&with_word(0x18, 4), &four));
        world.clone().agree(set_up_call(), x1(-28), &events);
        world.differ(set_up_call(), x1(-1), &events, &rules::DIV_ERRNO, "x1");
        // The queue is on a shared page.
        let mut world = world;
        let share = hypercall(0, Hypercall::HostShareHyp, [QUEUE, 0, 0, 0]);
        world.agree(share, x1(0), &[page(PageChange::Share, QUEUE)]);
        let events = stopped_before_s9(set_up());
        world.clone().agree(set_up_call(), x1(-1), &events);
        world.differ(set_up_call(), x1(0), &events, &rules::DIV_SETUP, "x1");
    }

    #[test]
    fn success_needs_every_reading_and_every_page() {
        let world = World::closing();
        let right = set_up();
        for (index, event) in right.iter().enumerate() {
            let needed = match event {
                // Tables that are not there: only that they are not Valid matters.
                // Level-1 entries 128 and up are of no DeviceID.
                Event::WordRead { address, .. }
                    if (at(LEVEL1) + 0x400..at(LEVEL2)).contains(address) =>
                {
                    false
                }
                Event::WordRead { address, .. }
                    if (at(DESCRIPTOR)..at(DESCRIPTOR + 1)).contains(address) =>
                {
                    let offset = address % 4096;
                    offset < 0x80 && offset != 0x68 || offset % 0x20 == 0x10
                }
                Event::DeviceRead { address, .. } => !matches!(address - ITS, 0x80 | 0x88),
                Event::PageZeroed { .. } => false,
                _ => true,
            };
            let mut events = right.clone();
            events.remove(index);
            let judgement = world.clone().play(set_up_call(), x1(0), &events);
            let rule = judgement.findings.first().map(|first| first.rule);
            let wanted = match event {
                Event::Page { .. } => !judgement.all().is_empty(),
                _ => rule == Some(&rules::DIV_SETUP),
            };
            assert_eq!(wanted, needed, "{event:x?} {rule:?}");
        }
    }

    #[test]
    fn zeroes_that_were_scanned_are_read() {
        let world = World::closing();
        let zero = |event: &Event| matches!(event, Event::WordRead { address, .. } if (at(LEVEL1) + 8..at(LEVEL2)).contains(address));
        let mut events = set_up();
        events.retain(|event| !zero(event));
        world.differ(set_up_call(), x1(0), &events, &rules::DIV_SETUP, "x1");
        let (address, bytes) = (at(LEVEL1) + 8, 0x3f8);
        let scanned = |bytes| [vec![Event::Scanned { address, bytes }], events.clone()].concat();
        world.clone().agree(set_up_call(), x1(0), &scanned(bytes));
        world.differ(set_up_call(), x1(0), &scanned(bytes - 8), &rules::DIV_SETUP, "x1");
    }

    #[test]
    fn a_level2_table_of_no_device_id_is_donated_if_it_was_read() {
        let world = World::closing();
        let mut events = set_up();
        let (address, entry) = (at(LEVEL1) + 8 * 200, Level1Entry::valid(at(FREE)).0);
        let read = events.iter_mut().find(|event| **event == word_read(address, 0));
        *read.unwrap() = word_read(address, entry);
        let path = "page 0x80400.host";
        world.differ(set_up_call(), x1(0), &events, &rules::DIV_OWNERSHIP, path);
        events.push(page(PageChange::Donate, FREE));
        world.clone().agree(set_up_call(), x1(0), &events);
    }

    #[test]
    fn an_injected_failure_gives_eperm_and_is_undone() {
        let world = World::closing();
        let mut events = set_up();
        events.truncate(1);
        events.push(Event::Page {
            change: PageChange::Donate,
            pages: Pages { first: DESCRIPTOR, count: 1 },
            result: Err(Errno::Enomem),
        });
        events.push(Event::Injected);
        world.differ(set_up_call(), x1(-1), &events, &rules::DIV_OWNERSHIP, "page 0x80140");
        events.push(page(PageChange::Reclaim, PRIVATE));
        world.clone().agree(set_up_call(), x1(-1), &events);
        world.differ(set_up_call(), x1(-12), &events, &rules::DIV_ERRNO, "x1");
        // Trying again is not what EL2 does.
        let again = [events[1..3].to_vec(), set_up()[1..].to_vec()].concat();
        let again = [set_up()[..1].to_vec(), again].concat();
        world.differ(set_up_call(), x1(0), &again, &rules::DIV_SETUP, "x1");
    }

    #[test]
    fn a_list_that_is_not_true_poisons() {
        let mut world = World::closing();
        let judgement =
            world.play(set_up_call(), x1(0), &set_up_with(&descriptor(), &[(2, 7, at(ITT))]));
        assert_eq!(judgement.findings, []);
        assert!(judgement.poisoned.is_some());
    }

    #[test]
    fn redistributors_that_share_a_table_pin_it_once_or_each() {
        let world = World::closing();
        let pin = page(PageChange::Pin, LPI_CONFIGURATION);
        for (more, right) in [(0, true), (1, true), (2, false)] {
            let events = [set_up(), vec![pin; more]].concat();
            let judgement = world.clone().play(set_up_call(), x1(0), &events);
            assert_eq!(judgement.findings.is_empty(), right);
        }
        let stop = write(ITS, AccessSize::Word, 0);
        world.differ(stop, Outcome::Done, &[pin], &crate::testing::PKVM, "Pin");
    }
}
