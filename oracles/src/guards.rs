//! What set-up found of each guarded ITS: its registers, and what the host's descriptor named. The
//! rules about what EL2 forwards are judged by this, not by the reference.

use its_declaration::Declaration;
use its_gic::geometry::{Level1Entry, Location, Pages, Queue, Table};
use its_gic::redistributor::FRAMES_BYTES;
use its_gic::register::TableType;
use its_gic::{Baser, Cbaser, Register, Typer};
use its_machine::{Event, Machine, View};

use crate::Step;
use crate::leak::overlap;

/// Offsets in the descriptor (POLICY.md, set-up): the host's copy of the queue, and of the n-th
/// level-1 table.
const QUEUE_COPY: u64 = 0x08;
const fn table_copy(n: u64) -> u64 {
    0x48 + 0x20 * n
}

/// More private pages than any board has. An emulation may accept what it did not check.
const MOST_PRIVATE: u64 = 1 << 16;

#[derive(Clone, Debug)]
pub(crate) struct Guard {
    pub its: u8,
    pub typer: Typer,
    pub cbaser: Cbaser,
    pub basers: [Baser; 8],
    /// CTLR, CREADR and CWRITER as set-up read them.
    pub ctlr: u64,
    pub creadr: u64,
    pub cwriter: u64,
    pub private: Pages,
    pub descriptor: Pages,
    /// Physical address of the host's copy of the queue, if EL2 read where it is.
    pub queue_copy: Option<u64>,
    /// The pages of all of the host's copies.
    pub copies: Vec<Pages>,
    /// Level-2 tables that set-up found.
    pub found: Vec<Pages>,
    /// Level-2 tables that EL2 let the ITS use since.
    pub grown: Vec<Pages>,
}

impl Guard {
    fn new(machine: &Machine, its: u8, step: &Step, view: &impl View) -> Option<Self> {
        let [_, private, descriptor, count] = step.arguments()?;
        let base = *machine.its.get(usize::from(its))?;
        let register = |register: Register| {
            let address = base.wrapping_add(register.offset());
            let read = step.events.iter().rev().find_map(|event| match event {
                Event::DeviceRead { address: at, value, .. } if *at == address => Some(*value),
                _ => None,
            });
            read.unwrap_or_else(|| view.register(its, register))
        };
        let physical = |linear: u64| linear.wrapping_sub(machine.linear_map);
        let pages = |linear, count| Pages { first: physical(linear) >> 12, count };
        let word =
            |offset: u64| step.word_read(physical(descriptor).wrapping_add(offset)).map(physical);
        let cbaser = Cbaser::from_bits(register(Register::Cbaser));
        let basers = std::array::from_fn(|n| Baser::from_bits(register(Register::Baser(n as u8))));
        let queue_copy = word(QUEUE_COPY);
        let mut copies: Vec<Pages> =
            queue_copy.map(|copy| Pages::under(copy, cbaser.bytes())).into_iter().collect();
        for (n, baser) in (0..).zip(basers) {
            if is_level1(baser) {
                copies.extend(word(table_copy(n)).map(|copy| Pages::under(copy, baser.bytes())));
            }
        }
        let found = step.events.iter().filter_map(|event| match *event {
            Event::WordRead { address, value, .. } if Level1Entry(value).is_valid() => {
                let inside = |table: &Table| address.wrapping_sub(table.address) < table.bytes;
                let mut level1 = basers.into_iter().filter(|one| is_level1(*one)).map(Table::new);
                level1.find(inside).map(|table| level2(table, value))
            }
            _ => None,
        });
        Some(Self {
            found: found.collect(),
            its,
            typer: Typer::from_bits(register(Register::Typer)),
            cbaser,
            basers,
            ctlr: register(Register::Ctlr),
            creadr: register(Register::Creadr),
            cwriter: register(Register::Cwriter),
            private: pages(private, count.clamp(1, MOST_PRIVATE)),
            descriptor: pages(descriptor, 1),
            queue_copy,
            copies,
            grown: Vec::new(),
        })
    }

    /// The queue that the hardware reads.
    pub(crate) fn queue(&self) -> Queue {
        Queue::new(self.cbaser)
    }

    /// The table of a type that was Valid at set-up.
    pub(crate) fn table(&self, table_type: TableType) -> Option<Table> {
        let mut found = self.basers.into_iter();
        found.find(|baser| baser.valid() && baser.table_type() == table_type).map(Table::new)
    }

    /// The level-1 table over an address.
    fn level1(&self, address: u64) -> Option<Table> {
        let tables = self.basers.into_iter().filter(|baser| is_level1(*baser));
        tables.map(Table::new).find(|table| address.wrapping_sub(table.address) < table.bytes)
    }

    /// Whether pages are those of the queue or of a table, which EL2 owns.
    pub(crate) fn owns(&self, pages: Pages) -> bool {
        let queue = self.queue();
        let tables = self.basers.into_iter().filter(|baser| baser.valid()).map(Table::new);
        let tables = tables.map(|table| Pages::under(table.address, table.bytes));
        let all = tables.chain([Pages::under(queue.address, queue.bytes)]);
        all.chain(self.found.iter().chain(&self.grown).copied()).any(|own| overlap(own, pages))
    }

    /// Whether `GITS_BASER<n>` held a level-1 table at set-up.
    pub(crate) fn has_level1(&self, n: u8) -> bool {
        self.basers.get(usize::from(n)).copied().is_some_and(is_level1)
    }
}

fn is_level1(baser: Baser) -> bool {
    baser.valid() && baser.indirect()
}

/// Whether an id has an entry in a table, its level-2 table present or not.
pub(crate) fn has_entry(table: Option<Table>, id: u32) -> bool {
    table.is_some_and(|table| {
        let within = match table.locate(id) {
            Location::Flat(entry) => entry.wrapping_sub(table.address) < table.bytes,
            Location::Indirect { level1_entry, .. } => {
                level1_entry.wrapping_sub(table.address) < table.bytes
            }
        };
        within && u64::from(id) < table.capacity()
    })
}

/// All ITSs that are guarded, and what is the same for all of them.
#[derive(Clone)]
pub(crate) struct Guards {
    pub machine: Machine,
    pub declared: Declaration,
    pub all: Vec<Guard>,
    /// Those whose emulation ended, of ITSs that are off since.
    pub ended: Vec<Guard>,
}

impl Guards {
    pub(crate) fn new(machine: &Machine, declared: Declaration) -> Self {
        Self { machine: *machine, declared, all: Vec::new(), ended: Vec::new() }
    }

    /// Takes note of a set-up that succeeded.
    pub(crate) fn adopt(&mut self, step: &Step, view: &impl View) -> Option<&Guard> {
        let its = step.set_up_its(&self.machine)?;
        self.all.push(Guard::new(&self.machine, its, step, view)?);
        self.all.last()
    }

    /// The emulation of an ITS ended.
    pub(crate) fn end(&mut self, its: u8) {
        self.ended.extend(self.all.extract_if(.., |guard| guard.its == its));
    }

    /// An ITS runs again: nothing had ended.
    pub(crate) fn resume(&mut self, its: u8) {
        self.all.extend(self.ended.extract_if(.., |guard| guard.its == its));
    }

    /// Takes note of level-1 entries that EL2 wrote.
    pub(crate) fn note(&mut self, events: &[Event]) {
        for event in events {
            let Event::WordWritten { address, value, .. } = *event else {
                continue;
            };
            for guard in &mut self.all {
                if let Some(pages) = guard.level1(address).map(|table| level2(table, value)) {
                    guard.grown.push(pages);
                }
            }
        }
    }

    /// The register of an ITS at an address, guarded or not.
    pub(crate) fn register(&self, address: u64) -> Option<(u8, Register)> {
        let frame = |base: &u64| address.wrapping_sub(*base) < its_gic::register::FRAME_BYTES;
        let its = self.machine.its.iter().position(frame)?;
        let base = self.machine.its.get(its)?;
        let register = Register::at(address.wrapping_sub(*base));
        Some((u8::try_from(its).ok()?, register))
    }

    /// The redistributor whose frames an address is in.
    pub(crate) fn redistributor(&self, address: u64) -> Option<usize> {
        let frames = |base: &u64| address.wrapping_sub(*base) < FRAMES_BYTES;
        self.machine.redistributors.iter().position(frames)
    }

    pub(crate) fn of(&self, its: u8) -> Option<&Guard> {
        self.all.iter().find(|guard| guard.its == its)
    }

    /// What set-up found of an ITS, though its emulation may have ended meanwhile.
    pub(crate) fn found(&self, its: u8) -> Option<&Guard> {
        self.of(its).or_else(|| self.ended.iter().find(|guard| guard.its == its))
    }

    /// The ITS whose queue holds an address.
    pub(crate) fn slot(&self, address: u64) -> Option<&Guard> {
        self.all.iter().find(|guard| {
            let queue = guard.queue();
            address.wrapping_sub(queue.address) < queue.bytes
        })
    }

    /// The ITSs whose copy of the queue, which the host writes, holds an address, and the offset
    /// there. Copies may share pages (P5).
    pub(crate) fn queue_copies(&self, address: u64) -> impl Iterator<Item = (&Guard, u64)> {
        self.all.iter().filter_map(move |guard| {
            let offset = address.wrapping_sub(guard.queue_copy?);
            (offset < guard.queue().bytes).then_some((guard, offset))
        })
    }

    /// Whether an address is in the host's copy of a level-1 table.
    pub(crate) fn is_table_copy(&self, address: u64) -> bool {
        self.all.iter().any(|guard| {
            let tables = guard.copies.iter().skip(usize::from(guard.queue_copy.is_some()));
            tables.into_iter().any(|pages| pages.contains(address >> 12))
        })
    }

    /// The ITS whose level-1 table holds an address, and the pages that an entry there would name.
    pub(crate) fn level1(&self, address: u64, entry: u64) -> Option<(&Guard, Pages)> {
        self.all.iter().find_map(|guard| {
            let table = guard.level1(address)?;
            Some((guard, level2(table, entry)))
        })
    }

    /// The level-2 table that EL2 lets an ITS use by a store.
    pub(crate) fn grown_by(&self, event: &Event) -> Option<Pages> {
        let Event::WordWritten { address, value, .. } = *event else {
            return None;
        };
        self.level1(address, value).map(|(_, pages)| pages)
    }

    /// Whether an address is in a level-1 table, or in a level-2 table that joined later.
    pub(crate) fn is_second_level(&self, address: u64) -> bool {
        self.all.iter().any(|guard| {
            let grown = guard.grown.iter().any(|pages| pages.contains(address >> 12));
            grown || guard.level1(address).is_some()
        })
    }
}

fn level2(table: Table, entry: u64) -> Pages {
    let address = Level1Entry(entry).address(table.page_size);
    Pages::under(address, table.page_size.bytes())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{
        COLLECTIONS, COPY, ENTRY, ITS, LEVEL1, LEVEL2, QUEUE, REDISTRIBUTOR, guards,
    };

    #[test]
    fn addresses_are_classified() {
        let mut guards = guards();
        assert!(guards.slot(QUEUE + 0x1fe0).is_some());
        assert!(guards.slot(QUEUE + 0x2000).is_none());
        let offsets: Vec<u64> = guards.queue_copies(COPY + 0x40).map(|found| found.1).collect();
        assert_eq!(offsets, [0x40]);
        assert_eq!(guards.register(ITS + 0x88), Some((0, Register::Cwriter)));
        assert_eq!(guards.register(REDISTRIBUTOR), None);
        assert!(!guards.is_second_level(LEVEL2));
        guards.note(&[ENTRY]);
        assert!(guards.is_second_level(LEVEL2) && guards.is_second_level(LEVEL1));
        assert!(!guards.is_second_level(COLLECTIONS));
        for (address, is_owned) in
            [(QUEUE, true), (LEVEL1, true), (COLLECTIONS, true), (LEVEL2, true), (COPY, false)]
        {
            assert_eq!(guards.all[0].owns(Pages::under(address, 1)), is_owned, "{address:#x}");
        }
        guards.end(0);
        assert!(guards.of(0).is_none() && guards.found(0).is_some());
        guards.resume(0);
        assert!(guards.of(0).is_some());
    }

    #[test]
    fn ids_have_entries_up_to_the_table_s_end() {
        let guards = guards();
        let has = |kind, id| has_entry(guards.all[0].table(kind), id);
        assert!(has(TableType::Collections, 0x1fff) && !has(TableType::Collections, 0x2000));
        assert!(has(TableType::Devices, 0xffff_ffff >> 6) && !has(TableType::Vpes, 0));
    }
}
