//! The hypercall `__pkvm_init_its_emulation` from S4 on. Whatever fails undoes what was done, in
//! reverse.

use its_el2::{El2, Errno};
use its_gic::command::Command;
use its_gic::geometry::{LEVEL1_ENTRY_BYTES, Level1Entry, PAGE_BYTES, Queue, Table};
use its_gic::register::TableType;
use its_gic::{Baser, Register, Typer};

use crate::descriptor::{DescribedTable, Descriptor, LIVE_DEVICE_BYTES, linear_span};
use crate::guarded::{Facts, Guarded, GuardedTable, Run};
use crate::judge::judge;
use crate::memory::{self, Span, all_or_none};
use crate::physical::PhysicalIts;
use crate::records::{Itt, Records};
use crate::redistributor;
use crate::tables;

/// The most private pages (S5).
pub(crate) const MAX_PRIVATE_PAGES: u64 = 1024;
/// The queue's alignment: what hardware makes of address bits \[15:12\] is not defined.
const QUEUE_ALIGNMENT: u64 = 0x1_0000;
/// Bits of a described BASER value that must be the hardware's: Valid, Indirect, Type, Entry_Size.
const AGREED: u64 = 0xc71f_0000_0000_0000;

/// What the hypercall brings, checked (S5).
struct Request {
    private: Span,
    descriptor: Span,
}

/// Guards an ITS, which is in Closing. `arguments` are x2 to x4; `redistributors_borrowed` if an
/// earlier set-up did that.
pub(crate) fn set_up<E: El2>(
    its: &PhysicalIts<E>,
    arguments: [u64; 3],
    redistributors_borrowed: bool,
) -> Result<Guarded, Errno> {
    let mut numbers = 0_u8..;
    let basers: [Baser; 8] =
        core::array::from_fn(|_| numbers.next().map_or(Baser::new(), |n| its.baser(n)));
    let is_vpe_table = |baser: &Baser| baser.valid() && baser.table_type() == TableType::Vpes;
    if basers.iter().any(is_vpe_table) {
        return Err(Errno::Eopnotsupp);
    }
    let request = check(its.el2, arguments).ok_or(Errno::Einval)?;
    memory::donate(its.el2, request.private).map_err(not_permitted)?;
    let clear = || request.private.pages().iter().for_each(|page| its.el2.zero_page(page));
    clear();
    let result = with_private(its, &request, &basers, redistributors_borrowed);
    if result.is_err() {
        clear();
        // The host may make an ITT of them, and the ITS see it by another way than the cache.
        let Span { address, bytes } = request.private;
        its.el2.clean(address, bytes);
        memory::reclaim(its.el2, request.private);
    }
    result
}

fn not_permitted(_: Errno) -> Errno {
    Errno::Eperm
}

/// S5
fn check<E: El2>(el2: &E, [private, descriptor, pages]: [u64; 3]) -> Option<Request> {
    let pages = pages.max(1);
    if pages > MAX_PRIVATE_PAGES {
        return None;
    }
    let request = Request {
        private: linear_span(el2, private, pages.saturating_mul(PAGE_BYTES))?,
        descriptor: linear_span(el2, descriptor, PAGE_BYTES)?,
    };
    (!request.private.overlaps(request.descriptor)).then_some(request)
}

/// The rest of S6: the descriptor, and the list of live devices for as long as set-up takes.
fn with_private<E: El2>(
    its: &PhysicalIts<E>,
    request: &Request,
    basers: &[Baser; 8],
    redistributors_borrowed: bool,
) -> Result<Guarded, Errno> {
    let el2 = its.el2;
    memory::donate(el2, request.descriptor).map_err(not_permitted)?;
    let descriptor = Descriptor::read(el2, request.descriptor.address);
    let pages = request.private.bytes / PAGE_BYTES;
    let records = Records::new(request.private.address, u32::try_from(pages).unwrap_or(0));
    let result = live_devices(el2, &descriptor, &records).and_then(|list| {
        memory::borrow(el2, list).map_err(not_permitted)?;
        let result = take_over(its, &descriptor, list, basers, records, redistributors_borrowed);
        memory::give_back(el2, list);
        result
    });
    if result.is_err() {
        memory::reclaim(el2, request.descriptor);
    }
    result
}

/// The list of live devices, as far as there are records for it: what is longer fails at S9, and is
/// not looked at before.
fn live_devices<E: El2>(
    el2: &E,
    descriptor: &Descriptor,
    records: &Records,
) -> Result<Span, Errno> {
    if descriptor.live_devices == 0 {
        return Ok(Span::EMPTY);
    }
    let list = descriptor
        .live_devices
        .checked_mul(LIVE_DEVICE_BYTES)
        .and_then(|bytes| linear_span(el2, descriptor.list, bytes))
        .ok_or(Errno::Eperm)?;
    let most = u64::from(records.capacity()).saturating_mul(LIVE_DEVICE_BYTES);
    Ok(Span { bytes: list.bytes.min(most), ..list })
}

/// S7 to S9, once EL2 has the descriptor and the list.
fn take_over<E: El2>(
    its: &PhysicalIts<E>,
    descriptor: &Descriptor,
    list: Span,
    basers: &[Baser; 8],
    mut records: Records,
    redistributors_borrowed: bool,
) -> Result<Guarded, Errno> {
    let el2 = its.el2;
    // S7
    let cbaser = its.cbaser();
    let host_queue = agreed_queue(el2, descriptor, Queue::new(cbaser)).ok_or(Errno::Einval)?;
    if !cbaser.valid() {
        return Err(Errno::Einval);
    }
    let facts = Facts {
        typer: Typer::from_bits(its.read(Register::Typer)),
        tables: agreed_tables(el2, descriptor, basers).ok_or(Errno::Einval)?,
    };
    record_live_devices(el2, list, &facts, &mut records).ok_or(Errno::Einval)?;
    // S8
    let ctlr = its.ctlr();
    let creadr = its.creadr();
    let cwriter = its.cwriter();
    if !ctlr.enabled() || creadr.stalled() || creadr.offset() != cwriter.offset() {
        return Err(Errno::Ebusy);
    }
    // S9
    if descriptor.live_devices > u64::from(records.capacity()) {
        return Err(Errno::Enospc);
    }
    let holdings = Holdings {
        el2,
        facts: &facts,
        queue: Queue::new(cbaser),
        host_queue,
        records: &records,
        redistributors_borrowed,
    };
    holdings.take().map_err(not_permitted)?;
    Ok(Guarded {
        facts,
        ctlr: ctlr.with_enabled(false).with_quiescent(false),
        cbaser,
        cbaser_valid: true,
        host_queue: host_queue.address,
        records,
        run: Run::Running,
        written: creadr.offset(),
        judged: creadr.offset(),
        consumed: creadr.offset(),
        mapds_in_flight: 0,
        stalled: false,
        refused: false,
    })
}

/// The host's copy of the queue, if the descriptor says of the queue what the hardware says.
fn agreed_queue<E: El2>(el2: &E, descriptor: &Descriptor, queue: Queue) -> Option<Span> {
    let agrees = el2.physical(descriptor.queue) == Some(queue.address)
        && descriptor.queue_bytes == queue.bytes
        && queue.address.is_multiple_of(QUEUE_ALIGNMENT);
    agrees.then(|| linear_span(el2, descriptor.host_queue, queue.bytes))?
}

/// All tables, if the descriptor says of them what the hardware says, and there is at most one of a
/// type.
fn agreed_tables<E: El2>(
    el2: &E,
    descriptor: &Descriptor,
    basers: &[Baser; 8],
) -> Option<[GuardedTable; 8]> {
    for table_type in [TableType::Devices, TableType::Collections] {
        let is_one = |baser: &&Baser| baser.valid() && baser.table_type() == table_type;
        if basers.iter().filter(is_one).count() > 1 {
            return None;
        }
    }
    let mut tables =
        basers.map(|recorded| GuardedTable { recorded, valid: recorded.valid(), shadow: 0 });
    for (table, described) in tables.iter_mut().zip(&descriptor.tables) {
        table.shadow = agreed_shadow(el2, described, table.recorded)?;
    }
    Some(tables)
}

/// Physical address of the host's copy of a level-1 table (0 where there is none), if the
/// descriptor says of the table what the hardware says.
fn agreed_shadow<E: El2>(el2: &E, described: &DescribedTable, baser: Baser) -> Option<u64> {
    let differs = described.value ^ baser.into_bits();
    if !baser.valid() {
        return (differs & Baser::VALID == 0).then_some(0);
    }
    let table = Table::new(baser);
    let is_known = matches!(baser.table_type(), TableType::Devices | TableType::Collections);
    let agrees = is_known
        && differs & AGREED == 0
        // No address bits below the alignment, of which hardware may make one thing or another.
        && baser.with_address(table.address) == baser
        && el2.physical(described.base) == Some(table.address)
        && bytes_of_order(described.order) == Some(table.bytes)
        && u64::from(described.page_bytes) == table.page_size.bytes();
    match (agrees, table.indirect) {
        (false, _) => None,
        (true, false) => Some(0),
        (true, true) => Some(linear_span(el2, described.shadow, table.bytes)?.address),
    }
}

/// Bytes in 2^order pages.
fn bytes_of_order(order: u32) -> Option<u64> {
    1_u64.checked_shl(order)?.checked_mul(PAGE_BYTES)
}

/// Records each device of the list, reading its entry once. `None`: two have the same DeviceID, or
/// one is not what a MAPD could have made.
fn record_live_devices<E: El2>(
    el2: &E,
    list: Span,
    facts: &Facts,
    records: &mut Records,
) -> Option<()> {
    for n in 0..list.bytes / LIVE_DEVICE_BYTES {
        let entry = list.address.wrapping_add(n.wrapping_mul(LIVE_DEVICE_BYTES));
        let first = el2.read_word(entry);
        let address = el2.read_word(entry.wrapping_add(8));
        let device_id = first as u32;
        let size = u8::try_from(first >> 32).ok()?;
        let mapd = Command::Mapd { device_id, size, itt_address: address, valid: true };
        if Command::decode(mapd.encode()) != mapd {
            return None;
        }
        judge(facts, mapd, |_| false)?;
        let Ok(None) = records.insert(el2, device_id, Itt { address, size }) else {
            return None;
        };
    }
    Some(())
}

/// All that changes hands at S9.
struct Holdings<'a, E> {
    el2: &'a E,
    facts: &'a Facts,
    queue: Queue,
    host_queue: Span,
    records: &'a Records,
    redistributors_borrowed: bool,
}

#[derive(Clone, Copy)]
enum Holding {
    Queue,
    /// Flat and level-1 tables.
    Tables,
    /// Level-2 tables, read from level-1 tables that are EL2's by then.
    Level2Tables,
    HostQueue,
    /// The host's copies of level-1 tables.
    Shadows,
    /// ITTs of live devices.
    Itts,
    /// Tables of redistributors with LPIs enabled.
    Redistributors,
}

const HOLDINGS: [Holding; 7] = {
    use Holding::{HostQueue, Itts, Level2Tables, Queue, Redistributors, Shadows, Tables};
    [Queue, Tables, Level2Tables, HostQueue, Shadows, Itts, Redistributors]
};

impl<E: El2> Holdings<'_, E> {
    /// Takes everything or nothing.
    fn take(&self) -> Result<(), Errno> {
        each(&HOLDINGS, |holding| self.take_all(*holding), |holding| self.leave_all(*holding))
    }

    /// Takes all of one kind or nothing.
    fn take_all(&self, holding: Holding) -> Result<(), Errno> {
        all_or_none(
            self.count(holding),
            |n| self.take_one(holding, n),
            |n| self.leave_one(holding, n),
        )
    }

    fn leave_all(&self, holding: Holding) {
        (0..self.count(holding)).rev().for_each(|n| self.leave_one(holding, n));
    }

    fn count(&self, holding: Holding) -> usize {
        match holding {
            Holding::Queue | Holding::HostQueue => 1,
            Holding::Tables | Holding::Level2Tables | Holding::Shadows => self.facts.tables.len(),
            Holding::Itts => self.records.used() as usize,
            Holding::Redistributors if self.redistributors_borrowed => 0,
            Holding::Redistributors => redistributor::count(self.el2),
        }
    }

    fn take_one(&self, holding: Holding, n: usize) -> Result<(), Errno> {
        let el2 = self.el2;
        let table = self.facts.tables.get(n);
        match holding {
            Holding::Queue => memory::donate(el2, self.queue_span()),
            Holding::Tables => memory::donate(el2, table.map_or(Span::EMPTY, table_span)),
            Holding::Level2Tables => table.map_or(Ok(()), |table| self.take_level2(table)),
            Holding::HostQueue => memory::borrow(el2, self.host_queue),
            Holding::Shadows => memory::borrow(el2, table.map_or(Span::EMPTY, shadow_span)),
            Holding::Itts => memory::borrow(el2, self.itt(n)),
            Holding::Redistributors => each(
                &redistributor::tables(el2, n),
                |span| memory::borrow(el2, *span),
                |span| memory::give_back(el2, *span),
            ),
        }
    }

    fn leave_one(&self, holding: Holding, n: usize) {
        let el2 = self.el2;
        let table = self.facts.tables.get(n);
        match holding {
            Holding::Queue => memory::reclaim(el2, self.queue_span()),
            Holding::Tables => memory::reclaim(el2, table.map_or(Span::EMPTY, table_span)),
            Holding::Level2Tables => {
                table.into_iter().for_each(|table| self.leave_level2(table, level1_entries(table)));
            }
            Holding::HostQueue => memory::give_back(el2, self.host_queue),
            Holding::Shadows => memory::give_back(el2, table.map_or(Span::EMPTY, shadow_span)),
            Holding::Itts => memory::give_back(el2, self.itt(n)),
            Holding::Redistributors => {
                let tables = redistributor::tables(el2, n).into_iter().rev();
                tables.for_each(|span| memory::give_back(el2, span));
            }
        }
    }

    fn queue_span(&self) -> Span {
        Span { address: self.queue.address, bytes: self.queue.bytes }
    }

    fn take_level2(&self, table: &GuardedTable) -> Result<(), Errno> {
        let entries = level1_entries(table);
        let mut done = 0;
        while let Some(n) = self.used_entry(table, done, entries) {
            let taken = match tables::level2_of(self.level1_entry(table, n), table.table()) {
                None => Ok(()),
                Some(Ok(level2)) => memory::donate(self.el2, level2),
                Some(Err(tables::Malformed)) => Err(Errno::Eperm),
            };
            if taken.is_err() {
                self.leave_level2(table, n);
                return taken;
            }
            done = n.saturating_add(1);
        }
        Ok(())
    }

    /// The first level-1 entry from `from` up to `to` that is not zero.
    fn used_entry(&self, table: &GuardedTable, from: usize, to: usize) -> Option<usize> {
        let start = table.table().address;
        let at = |n: usize| (n as u64).wrapping_mul(LEVEL1_ENTRY_BYTES);
        let bytes = at(to).checked_sub(at(from))?;
        let found = self.el2.first_word(start.wrapping_add(at(from)), bytes)?;
        usize::try_from(found.wrapping_sub(start) / LEVEL1_ENTRY_BYTES).ok()
    }

    fn leave_level2(&self, table: &GuardedTable, entries: usize) {
        (0..entries).rev().for_each(|n| self.leave_level2_of(table, n));
    }

    fn leave_level2_of(&self, table: &GuardedTable, n: usize) {
        let entry = self.level1_entry(table, n);
        if let Some(Ok(level2)) = tables::level2_of(entry, table.table()) {
            memory::reclaim(self.el2, level2);
        }
    }

    /// The n-th level-1 entry, of a table that is EL2's.
    fn level1_entry(&self, table: &GuardedTable, n: usize) -> Level1Entry {
        let offset = (n as u64).wrapping_mul(LEVEL1_ENTRY_BYTES);
        let address = table.table().address.wrapping_add(offset);
        Level1Entry(self.el2.read_word(address))
    }

    fn itt(&self, n: usize) -> Span {
        let itt = self.records.nth(self.el2, n as u32);
        itt.span(self.facts.typer.itt_entry_bytes())
    }
}

/// [`all_or_none`] for the items of a slice.
fn each<T>(
    items: &[T],
    mut make: impl FnMut(&T) -> Result<(), Errno>,
    mut unmake: impl FnMut(&T),
) -> Result<(), Errno> {
    all_or_none(
        items.len(),
        |n| items.get(n).map_or(Ok(()), &mut make),
        |n| items.get(n).into_iter().for_each(&mut unmake),
    )
}

/// The flat or level-1 table; empty where there is none.
fn table_span(table: &GuardedTable) -> Span {
    if !table.recorded.valid() {
        return Span::EMPTY;
    }
    let Table { address, bytes, .. } = table.table();
    Span { address, bytes }
}

/// The host's copy of a level-1 table; empty where there is none.
fn shadow_span(table: &GuardedTable) -> Span {
    if !table.recorded.indirect() {
        return Span::EMPTY;
    }
    Span { address: table.shadow, ..table_span(table) }
}

/// How many level-1 entries there are; none in a flat table.
fn level1_entries(table: &GuardedTable) -> usize {
    usize::try_from(shadow_span(table).bytes / LEVEL1_ENTRY_BYTES).unwrap_or(0)
}
