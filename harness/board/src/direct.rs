//! Loads and stores that a subject makes by pointers, reported in the words of [`its_el2::El2`]'s
//! calls.
//!
//! Each is announced before it is made. Loads are gathered until they cover a command or something
//! else is done: 32 aligned bytes of shared memory or of an ITS's queue, each read once, are one
//! copy of a command, whatever loads made it. Stores are gathered the same way and reported once
//! they were made, which is when the next thing is done. What is gathered is one step in a race.
//!
//! A word whose bytes are read one by one is reported once, even if something else happens between
//! them. Half a word that is stored alone is reported alone: another reader may see it.

use its_el2::{Mapped, PageWords};
use its_gic::command::COMMAND_BYTES;
use its_gic::geometry::{PAGE_BYTES, Pages};
use its_machine::{Barrier, Errno, Event, Misconduct, PageChange, PageState};

use crate::board::Board;
use crate::state::State;

const WHOLE: u32 = u32::MAX;

/// Accessed bytes among 32 aligned ones.
#[derive(Clone, Copy, Debug)]
struct Block {
    address: u64,
    bytes: u32,
    /// The host could write there.
    shared: bool,
    /// Nothing may be gathered with it.
    alone: bool,
    /// Where the subject's code makes the first of it.
    place: u64,
}

impl Block {
    /// The part of an access that lies in the block at `address`.
    fn part(address: u64, first: u64, end: u64, shared: bool) -> Self {
        let alone = false;
        let from = first.max(address) - address;
        let to = end.min(address + COMMAND_BYTES) - address;
        let bytes = (u64::from(WHOLE) >> (COMMAND_BYTES - (to - from)) << from) as u32;
        Self { address, bytes, shared, alone, place: 0 }
    }

    /// Takes in another access to the same block, if it touches no byte again.
    fn take(&mut self, other: &Self) -> bool {
        let fits = self.address == other.address
            && self.shared == other.shared
            && !(self.alone || other.alone)
            && self.bytes & other.bytes == 0;
        if fits {
            self.bytes |= other.bytes;
        }
        fits
    }

    /// The words that it touches, each with the bytes accessed of it.
    fn words(self) -> impl Iterator<Item = (u64, u8)> {
        let word = move |n: u64| (self.address + 8 * n, (self.bytes >> (8 * n)) as u8);
        (0..4).map(word).filter(|(_, bytes)| *bytes != 0)
    }
}

fn blocks(address: u64, bytes: u64, shared: bool) -> impl Iterator<Item = Block> {
    let end = address.saturating_add(bytes);
    let first = address & !(COMMAND_BYTES - 1);
    let starts = (first..end).step_by(COMMAND_BYTES as usize);
    starts.map(move |start| Block::part(start, address, end, shared))
}

/// What was announced and is not reported yet.
#[derive(Clone, Debug, Default)]
pub(crate) struct Direct {
    loads: Option<Block>,
    stores: Vec<Block>,
    /// Words of which some bytes were read in this entry, and which.
    partly: Vec<(u64, u8)>,
    /// Shared reads that were reported before they were made.
    due: u32,
}

impl Direct {
    fn is_idle(&self) -> bool {
        self.loads.is_none() && self.stores.is_empty() && self.due == 0
    }

    /// Forgets what the last entry read.
    pub(crate) fn start(&mut self) {
        self.partly.clear();
    }
}

impl State {
    /// Tells what was done by pointers until now.
    pub(crate) fn settle(&mut self) {
        if self.direct.is_idle() {
            return;
        }
        self.settle_stores();
        self.settle_loads();
    }

    fn settle_loads(&mut self) {
        if let Some(block) = self.direct.loads.take() {
            self.report_words(block);
        }
        // What the host does after a read, it does now that it was made.
        for _ in 0..std::mem::take(&mut self.direct.due) {
            self.shared_read(true);
        }
    }

    fn announce_loads(&mut self, address: u64, bytes: u64, shared: bool) {
        for mut part in blocks(address, bytes, shared) {
            part.place = self.place;
            let taken = self.direct.loads.as_mut();
            if !taken.is_some_and(|block| block.take(&part))
                && let Some(block) = self.direct.loads.replace(part)
            {
                self.report_words(block);
            }
            let gathered = self.direct.loads;
            if let Some(block) = gathered.filter(|block| block.bytes == WHOLE)
                && (shared || self.its.iter().any(|its| its.has_slot(block.address)))
            {
                self.direct.loads = None;
                self.report_command(block);
            }
        }
    }

    fn report_command(&mut self, block: Block) {
        let words = [0, 8, 16, 24].map(|byte| self.memory.read(block.address + byte));
        self.mark(block.place);
        self.events.push(Event::CommandRead {
            address: block.address,
            words,
            shared: block.shared,
        });
        self.direct.due += u32::from(block.shared);
    }

    fn report_words(&mut self, block: Block) {
        self.mark(block.place);
        for (address, bytes) in block.words() {
            if bytes != u8::MAX && self.is_other_part(address, bytes) {
                continue;
            }
            self.events.push(Event::WordRead {
                address,
                value: self.memory.read(address),
                shared: block.shared,
            });
            self.direct.due += u32::from(block.shared);
        }
    }

    /// Whether a word was read before in this entry, but none of these bytes of it.
    fn is_other_part(&mut self, address: u64, bytes: u8) -> bool {
        let mut partly = self.direct.partly.iter_mut();
        match partly.find(|(at, _)| *at == address) {
            Some((_, read)) if *read & bytes == 0 => {
                *read |= bytes;
                true
            }
            Some(_) => false,
            None => {
                self.direct.partly.push((address, bytes));
                false
            }
        }
    }

    fn announce_stores(&mut self, address: u64, bytes: u64, shared: bool) {
        for page in Pages::under(address, bytes).iter() {
            let start = address.max(page * PAGE_BYTES);
            let end = (address + bytes).min((page + 1) * PAGE_BYTES);
            self.memory.expect_uncleaned(start, end - start);
        }
        for mut part in blocks(address, bytes, shared) {
            (part.alone, part.place) = (bytes < 8, self.place);
            let last = self.direct.stores.last_mut();
            if !last.is_some_and(|block| block.take(&part)) {
                self.direct.stores.push(part);
            }
        }
    }

    fn settle_stores(&mut self) {
        let stores = std::mem::take(&mut self.direct.stores);
        let mut rest = &stores[..];
        while let Some(block) = rest.first() {
            self.mark(block.place);
            if let Some((page, after)) = self.zeroed_page(rest) {
                self.events.push(Event::PageZeroed { page });
                self.page_rewritten(page);
                rest = after;
                continue;
            }
            self.report_store(*block);
            rest = &rest[1..];
        }
    }

    /// The page that the first of these stores filled with zeroes, and the other stores.
    fn zeroed_page<'a>(&self, stores: &'a [Block]) -> Option<(u64, &'a [Block])> {
        let start = stores.first()?.address;
        let (page, after) = stores.split_at_checked((PAGE_BYTES / COMMAND_BYTES) as usize)?;
        let in_order = (start..).step_by(COMMAND_BYTES as usize);
        let whole = page.iter().zip(in_order);
        let zero = start.is_multiple_of(PAGE_BYTES)
            && whole.into_iter().all(|(block, at)| block.address == at && block.bytes == WHOLE)
            && !self.memory.has_contents(start, PAGE_BYTES);
        zero.then_some((start / PAGE_BYTES, after))
    }

    fn report_store(&mut self, block: Block) {
        // Records of the emulation may fill 32 bytes too.
        if block.bytes == WHOLE && self.its.iter().any(|its| its.has_slot(block.address)) {
            let words = [0, 8, 16, 24].map(|byte| self.memory.read(block.address + byte));
            let address = block.address;
            self.events.push(Event::CommandWritten { address, words });
        } else {
            for (address, _) in block.words() {
                self.events.push(Event::WordWritten {
                    address,
                    value: self.memory.read(address),
                    shared: block.shared,
                });
            }
        }
        for (address, _) in block.words() {
            self.word_changed(address);
        }
    }

    /// Whether what is at an address goes on with what is being gathered.
    fn goes_on(&self, address: u64, bytes: u64, write: bool) -> bool {
        let block = match write {
            true if bytes < 8 || self.direct.loads.is_some() => None,
            true => self.direct.stores.last(),
            false if !self.direct.stores.is_empty() => None,
            false => self.direct.loads.as_ref(),
        };
        block.is_some_and(|block| {
            let at = address & !(COMMAND_BYTES - 1);
            let part = Block::part(at, address, address.saturating_add(bytes), block.shared);
            let whole = address + bytes <= at + COMMAND_BYTES;
            let within =
                !block.alone && block.address == at && block.bytes & part.bytes == 0 && whole;
            // A page may be filled word by word.
            let next = write && block.bytes == WHOLE && address == block.address + COMMAND_BYTES;
            within || next
        })
    }
}

impl Board {
    fn direct(&self, address: u64, bytes: u64, write: bool) {
        let goes_on = self.state.borrow().goes_on(address, bytes, write);
        let mut state = if goes_on { self.call_on() } else { self.call() };
        let mut shared = false;
        for page in Pages::under(address, bytes).iter() {
            match state.ownership.state(page) {
                Some(page) if page.el2_can_access() => shared |= page.host_can_store(),
                _ => self.stop(state, Misconduct::BadAccess { address, write }),
            }
        }
        if write {
            state.announce_stores(address, bytes, shared)
        } else {
            state.announce_loads(address, bytes, shared)
        }
    }
}

impl Mapped for Board {
    fn mapping(&self) -> (*mut u8, usize) {
        let state = self.state.borrow();
        let pages = state.memory.mapping();
        (pages.as_ptr().cast::<u8>().cast_mut(), size_of_val(pages))
    }

    fn offset(&self, address: u64) -> Option<usize> {
        self.state.borrow().memory.offset(address)
    }

    fn at(&self, offset: usize) -> Option<u64> {
        self.state.borrow().memory.address(offset)
    }

    fn load(&self, address: u64, bytes: u64) {
        self.direct(address, bytes, false);
    }

    fn store(&self, address: u64, bytes: u64) {
        self.direct(address, bytes, true);
    }

    fn expect_unreported_stores(&self) {
        self.state.borrow_mut().memory.expect_anything();
    }

    fn page_words(&self, page: u64) -> PageWords {
        let state = self.state.borrow();
        let word = |index: usize| state.memory.read(page * PAGE_BYTES + 8 * index as u64);
        std::array::from_fn(word)
    }

    fn page_state(&self, page: u64) -> Option<PageState> {
        self.state.borrow().ownership.state(page)
    }

    fn put_page_words(&self, page: u64, words: &PageWords) {
        let mut state = self.state.borrow_mut();
        for (address, word) in (page * PAGE_BYTES..).step_by(8).zip(words) {
            if state.memory.read(address) != *word {
                state.memory.write(address, *word);
            }
        }
    }

    fn report_page_read(&self, page: u64, words: &PageWords) {
        let mut state = self.call_on();
        let mut address = page * PAGE_BYTES;
        for run in words.chunk_by(|one, other| *one == 0 && *other == 0) {
            let bytes = 8 * run.len() as u64;
            state.events.push(match *run {
                [value] => Event::WordRead {
                    address,
                    value,
                    // What matters is that it is read once.
                    shared: false,
                },
                _ => Event::Scanned { address, bytes },
            });
            address += bytes;
        }
    }

    fn is_coherent(&self) -> bool {
        self.call().machine.coherence.is_its_coherent()
    }

    fn barrier(&self, barrier: Barrier) {
        self.call().order(barrier);
    }

    fn wait(&self, microseconds: u64) {
        let mut state = self.call();
        state.events.push(Event::Waited { microseconds });
        state.go_on(microseconds);
    }

    fn show(&self, pages: Pages) -> Result<(), Errno> {
        self.change(PageChange::Show, pages)
    }

    fn hide(&self, pages: Pages) -> Result<(), Errno> {
        self.change(PageChange::Hide, pages)
    }

    fn set_up_is_over(&self, arguments: [u64; 4], x1: i64) {
        let mut state = self.call();
        state.settle();
        state.events.push(Event::SetUp { arguments, x1 });
    }

    fn set_place(&self, place: u64) {
        self.state.borrow_mut().place = place;
    }

    fn report(&self, misconduct: Misconduct) {
        self.call().misconduct(misconduct);
    }

    fn convict(&self, misconduct: Misconduct) -> ! {
        self.stop(self.call(), misconduct)
    }
}

#[cfg(test)]
mod tests {
    use its_el2::El2;
    use its_gic::Register;
    use its_machine::{Area, ItsConfiguration, PageChange};

    use super::*;
    use crate::ownership::one;
    use crate::testing::{Bench, Nobody, machine};

    fn board() -> Board {
        Board::new(machine(ItsConfiguration::DEFAULT), Box::new(Nobody))
    }

    /// A store by pointer, as no board sees it.
    fn poke(board: &Board, address: u64, value: u64) {
        let state = board.state.borrow();
        let offset = state.memory.offset(address).unwrap();
        state.memory.mapping()[offset / 4096].0[offset % 4096 / 8].set(value);
    }

    #[test]
    fn pages_are_pages_for_pointers_too() {
        let (start, bytes) = board().mapping();
        assert!(start.addr().is_multiple_of(4096) && bytes.is_multiple_of(4096));
    }

    /// Bytes of the queue, which starts with EL2's memory.
    const QUEUE_BYTES: u64 = 4096;

    /// Returns the events of accesses to EL2's own memory and to memory that it shares with the
    /// host.
    fn seen(act: impl Fn(&Board)) -> Vec<Event> {
        let (mut bench, _) = Bench::new(ItsConfiguration::DEFAULT);
        let queue = 1 << 63 | Area::EL2.address();
        bench.write(Register::Cbaser, queue);
        let board = bench.board;
        for change in [PageChange::Share, PageChange::Pin] {
            board.state.borrow_mut().ownership.change(change, one(Area::HOST.first())).unwrap();
        }
        act(&board);
        board.order();
        let mut events = std::mem::take(&mut board.state.borrow_mut().events);
        assert_eq!(events.pop(), Some(Event::Ordered(Barrier::DSB_SY)));
        events
    }

    #[test]
    fn four_loads_of_a_slot_are_one_copy() {
        let slot = Area::HOST.address() + 0x20;
        let command = |events: &[Event]| matches!(events, [Event::CommandRead { address, shared: true, .. }] if *address == slot);
        assert!(command(&seen(|board| board.load(slot, 32))));
        assert!(command(&seen(|board| (0..4).rev().for_each(|n| board.load(slot + 8 * n, 8)))));
        assert!(command(&seen(|board| (0..8).for_each(|n| board.load(slot + 4 * n, 4)))));
    }

    #[test]
    fn what_is_read_again_is_reported_again() {
        let slot = Area::HOST.address();
        let words = |act: &dyn Fn(&Board)| {
            let read = |event: &Event| matches!(event, Event::WordRead { .. });
            seen(act).iter().filter(|event| read(event)).count()
        };
        assert_eq!(words(&|board| (0..2).for_each(|_| board.load(slot, 8))), 2);
        assert_eq!(words(&|board| (0..2).for_each(|_| board.load(slot, 4))), 2);
        // The other half, with something else between.
        let halves = |board: &Board| {
            board.load(slot, 4);
            board.order();
            board.load(slot + 4, 4);
        };
        assert_eq!(words(&halves), 1);
        // A word before all of it.
        let events = seen(|board| {
            board.load(slot, 8);
            board.load(slot, 32);
        });
        assert!(matches!(events[..], [Event::WordRead { .. }, Event::CommandRead { .. }]));
    }

    #[test]
    fn stores_are_reported_with_what_was_stored() {
        let at = Area::EL2.address();
        let put = |board: &Board, address: u64, value: u64| {
            board.store(address, 8);
            poke(board, address, value);
        };
        let events = seen(|board| (0..4).for_each(|n| put(board, at + 8 * n, n)));
        let words = [0, 1, 2, 3];
        assert_eq!(events, [Event::CommandWritten { address: at, words }]);
        let beyond = |board: &Board| (0..4).for_each(|n| put(board, at + QUEUE_BYTES + 8 * n, n));
        let events = seen(beyond);
        assert!(events.iter().all(|event| matches!(event, Event::WordWritten { .. })));
        assert_eq!(events.len(), 4);
        let events = seen(|board| put(board, at + 8, 7));
        assert!(matches!(events[..], [Event::WordWritten { value: 7, .. }]));
        let events = seen(|board| (0..512).for_each(|n| put(board, at + 8 * n, 0)));
        assert_eq!(events, [Event::PageZeroed { page: Area::EL2.first() }]);
        let events = seen(|board| board.store(at, 4096));
        assert_eq!(events, [Event::PageZeroed { page: Area::EL2.first() }]);
        // Halves of a word are stored one after the other.
        let halves = |board: &Board| (0..2).for_each(|n| board.store(at + 4 * n, 4));
        assert_eq!(seen(halves).len(), 2);
    }

    #[test]
    fn what_is_reported_late_keeps_its_place() {
        let board = board();
        board.set_place(5);
        board.load(Area::EL2.address(), 8);
        board.set_place(7);
        board.order();
        let state = board.state.borrow();
        assert!(matches!(state.events[..], [Event::WordRead { .. }, Event::Ordered(_)]));
        assert_eq!(state.places, [(0, 5), (1, 7)]);
    }

    #[test]
    fn a_device_does_not_see_a_store_that_is_not_cleaned() {
        let board = board();
        let at = Area::EL2.address();
        board.store(at, 8);
        poke(&board, at, 5);
        let fetched = |board: &Board| board.state.borrow().memory.fetch(at).value;
        assert_eq!(fetched(&board), 0);
        board.clean(at, 8);
        assert_eq!(fetched(&board), 0);
        board.order();
        assert_eq!(fetched(&board), 5);
    }

    #[test]
    fn a_page_can_be_reported_as_read_and_hold_something_else() {
        let page = Area::HOST.first();
        let mut ours = [0; 512];
        (ours[0], ours[510]) = (1, 5);
        let board = board();
        board.put_page_words(page, &ours);
        assert_eq!(board.page_words(page), ours);
        assert_eq!(board.page_state(page), Some(PageState::HOST));
        assert_eq!(board.page_state(0), None);
        let events = seen(|board| board.report_page_read(page, &ours));
        let word = |at: u64| events.iter().find_map(|event| event.word_read(at));
        assert_eq!(word(Area::HOST.address()), Some(1));
        assert_eq!(word(Area::HOST.address() + 8 * 510), Some(5));
        let zeroes = Event::Scanned { address: Area::HOST.address() + 8, bytes: 8 * 509 };
        assert!(events.contains(&zeroes) && events.len() == 4);
    }

    #[test]
    fn what_el2_has_not_mapped_ends_its_call() {
        let stops = |act: fn(&Board)| {
            let board = board();
            let stopped = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| act(&board)));
            assert!(stopped.is_err());
            let events = std::mem::take(&mut board.state.borrow_mut().events);
            assert!(matches!(events[..], [Event::Misconduct(Misconduct::BadAccess { .. })]));
        };
        stops(|board| board.load(Area::QUEUE_COPY.address(), 8));
        stops(|board| board.store(Area::EL2.page(7) + 4092, 8));
    }
}
