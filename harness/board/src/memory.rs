//! RAM: one flat allocation behind the regions, that knows what was touched and what was not
//! cleaned.

use std::cell::{Cell, RefCell};
use std::ops::RangeInclusive;

use its_gic::geometry::{PAGE_BYTES, Pages};
use its_machine::Snooping;

use crate::flat::{FLAT_PAGES, Flat};
use crate::lines::{DirtyLines, LINE, PAGE, Storer, lines_of};

/// One page. Words are cells, because a subject that follows pointers writes them without asking;
/// and it rounds pointers to pages as it does addresses.
#[derive(Clone)]
#[repr(align(4096))]
pub(crate) struct Page(pub [Cell<u64>; PAGE]);

#[derive(Clone)]
pub(crate) struct Memory {
    pages: Box<[Page]>,
    /// Which of them there are.
    flat: Flat,
    touched: Vec<bool>,
    touched_list: Vec<usize>,
    /// Somebody wrote who does not report it: any page may have changed.
    untold: bool,
    dirty: Vec<Option<DirtyLines>>,
    dirty_pages: usize,
    /// Pages with lines whose clean is under way.
    cleaning: Vec<usize>,
    /// Where devices stored words in this action, memory or not.
    pub device_stores: Vec<u64>,
    /// Words that a device stored and a dirty line overwrote since somebody took note, and whether
    /// the host alone had stored to the line.
    pub overwritten: Vec<(u64, bool)>,
}

/// The contents of the pages that are not zero.
#[derive(Clone, Default)]
pub(crate) struct Contents(Vec<(usize, Box<[u64]>)>);

pub(crate) struct Fetched {
    pub value: u64,
    /// It came from a line that EL2 wrote and did not clean, and is not what EL2 sees there.
    pub stale: bool,
}

thread_local! {
    /// Pages that a memory of this thread left, all zero: allocating 10 MB takes the kernel longer
    /// than a scenario takes to play. The last one is kept.
    static SPARE: RefCell<Option<Box<[Page]>>> = const { RefCell::new(None) };
}

fn zero_pages() -> Box<[Page]> {
    let spare = SPARE.with_borrow_mut(Option::take);
    spare.unwrap_or_else(|| vec![Page([const { Cell::new(0) }; PAGE]); FLAT_PAGES].into())
}

impl Drop for Memory {
    fn drop(&mut self) {
        self.restore(&Contents::default(), Flat::ALL);
        let pages = std::mem::take(&mut self.pages);
        // Where the thread ends, pages end with it.
        let _ = SPARE.try_with(|spare| *spare.borrow_mut() = Some(pages));
    }
}

fn fill(words: &[Cell<u64>], value: u64) {
    words.iter().for_each(|word| word.set(value));
}

fn copy_in(words: &[Cell<u64>], values: &[u64]) {
    for (word, value) in words.iter().zip(values) {
        word.set(*value);
    }
}

fn copy_out(words: &[Cell<u64>]) -> Box<[u64]> {
    words.iter().map(Cell::get).collect()
}

impl Memory {
    pub(crate) fn new(flat: Flat) -> Self {
        Self {
            flat,
            pages: zero_pages(),
            touched: vec![false; FLAT_PAGES],
            touched_list: Vec::new(),
            untold: false,
            dirty: vec![None; FLAT_PAGES],
            dirty_pages: 0,
            cleaning: Vec::new(),
            device_stores: Vec::new(),
            overwritten: Vec::new(),
        }
    }

    /// Where memory is, for those who follow pointers: one piece, with the hole in it.
    pub(crate) fn mapping(&self) -> &[Page] {
        &self.pages
    }

    /// Bytes from the start of the mapping; `None` for what is no memory.
    pub(crate) fn offset(&self, address: u64) -> Option<usize> {
        let page = self.flat.index(address / PAGE_BYTES)?;
        Some(page * PAGE_BYTES as usize + (address % PAGE_BYTES) as usize)
    }

    /// The physical address of what is at so many bytes from the start of the mapping; `None` in
    /// the hole and behind.
    pub(crate) fn address(&self, offset: usize) -> Option<u64> {
        let page = self.flat.page(offset / PAGE_BYTES as usize)?;
        Some(page * PAGE_BYTES + offset as u64 % PAGE_BYTES)
    }

    /// The page in the flat allocation, and the word in it.
    fn place(&self, address: u64) -> Option<(usize, usize)> {
        let page = self.flat.index(address / PAGE_BYTES)?;
        Some((page, (address % PAGE_BYTES / 8) as usize))
    }

    fn page(&self, page: usize) -> &[Cell<u64>] {
        &self.pages[page].0
    }

    /// The word at an 8-byte aligned address; zero where there is no memory.
    pub(crate) fn read(&self, address: u64) -> u64 {
        self.place(address).map_or(0, |(page, word)| self.pages[page].0[word].get())
    }

    /// The word at an 8-byte aligned address as it was stored last: by a CPU, or by a device
    /// beneath a dirty line.
    pub(crate) fn latest(&self, address: u64) -> u64 {
        let beneath = self.place(address).and_then(|(page, word)| {
            let dirty = self.dirty[page].as_ref().filter(|dirty| dirty.has_beneath(word))?;
            Some(dirty.memory[word])
        });
        beneath.unwrap_or_else(|| self.read(address))
    }

    /// The addresses of words from `start`, 8-byte aligned, up to `end` in the same page, that are
    /// not zero as they were stored last.
    pub(crate) fn latest_nonzero(&self, start: u64, end: u64) -> Vec<u64> {
        let place = self.place(start);
        let dirty = place.and_then(|(page, _)| self.dirty[page].as_ref());
        if dirty.is_none_or(|dirty| !dirty.has_any_beneath()) {
            return self.nonzero_words(start, end).collect();
        }
        let words = (start..end).step_by(8);
        words.filter(|address| self.latest(*address) != 0).collect()
    }

    /// The addresses of words that are not zero from `start`, 8-byte aligned, up to `end` in the
    /// same page; ascending.
    pub(crate) fn nonzero_words(&self, start: u64, end: u64) -> impl Iterator<Item = u64> {
        let place = self.place(start).filter(|(page, _)| self.touched[*page] || self.untold);
        let words = place.map_or(&[][..], |(page, first)| {
            &self.page(page)[first..first + ((end - start) / 8) as usize]
        });
        // Most lines of a table are empty.
        let lines = (0_u64..).zip(words.chunks(LINE));
        let lines =
            lines.filter(|(_, line)| line.iter().fold(0, |all, word| all | word.get()) != 0);
        lines.flat_map(move |(line, words)| {
            let nonzero = (0_u64..).zip(words).filter(|(_, word)| word.get() != 0);
            nonzero.map(move |(word, _)| start + (line * LINE as u64 + word) * 8)
        })
    }

    /// A store that every reader sees at once.
    pub(crate) fn write(&mut self, address: u64, value: u64) {
        let Some((page, word)) = self.place(address) else {
            return;
        };
        self.put(page, word, value);
        if let Some(dirty) = &mut self.dirty[page] {
            dirty.memory[word] = value;
        }
    }

    /// A store by an ITS or a redistributor that snoops like this. Under a dirty line CPUs do not
    /// see it, and lose it when the line is written back.
    pub(crate) fn write_by_device(&mut self, snooping: Snooping, address: u64, value: u64) {
        self.device_stores.push(address);
        let place = self.place(address).filter(|_| !snooping.sees_stores());
        let beneath = place.and_then(|(page, word)| {
            let dirty = self.dirty[page].as_mut().filter(|dirty| dirty.is_dirty(word))?;
            Some((dirty, word))
        });
        match beneath {
            Some((dirty, word)) => dirty.store_beneath(word, value),
            None => self.write(address, value),
        }
    }

    /// A store by a CPU, which a non-coherent reader sees only once it is cleaned.
    pub(crate) fn write_uncleaned(&mut self, by: Storer, address: u64, value: u64) {
        let Some((page, word)) = self.place(address) else {
            return;
        };
        self.keep_before(page, word..=word, by);
        self.put(page, word, value);
    }

    /// EL2 is about to store to these bytes, all in one page.
    pub(crate) fn expect_uncleaned(&mut self, address: u64, bytes: u64) {
        let last = self.place(address + bytes.saturating_sub(1));
        if let (Some((page, first)), Some((_, last))) = (self.place(address), last) {
            self.keep_before(page, first..=last, Storer::El2);
        }
    }

    /// EL2 stores, and does not report where: until the next restore.
    pub(crate) fn expect_anything(&mut self) {
        self.untold = true;
    }

    /// Zeroes of EL2 over a whole page, not cleaned.
    pub(crate) fn zero_uncleaned(&mut self, page: u64) {
        let Some(page) = self.flat.index(page) else {
            return;
        };
        self.keep_before(page, 0..=PAGE - 1, Storer::El2);
        self.touch(page);
        fill(self.page(page), 0);
    }

    /// Zeroes over a whole page that every reader sees.
    pub(crate) fn zero(&mut self, page: u64) {
        let Some(page) = self.flat.index(page) else {
            return;
        };
        if self.dirty[page].take().is_some() {
            self.dirty_pages -= 1;
        }
        self.touch(page);
        fill(self.page(page), 0);
    }

    /// A CPU cleans these bytes. Non-coherent readers see what EL2 cleans once the clean is
    /// complete, and what the host cleans at once.
    pub(crate) fn clean(&mut self, by: Storer, address: u64, bytes: u64) {
        if self.dirty_pages == 0 || bytes == 0 {
            return;
        }
        let last = address.saturating_add(bytes - 1);
        for number in address / PAGE_BYTES..=last / PAGE_BYTES {
            let Some(page) = self.flat.index(number) else {
                continue;
            };
            let Some(dirty) = &mut self.dirty[page] else {
                continue;
            };
            let start = address.max(number * PAGE_BYTES) - number * PAGE_BYTES;
            let end = last.min(number * PAGE_BYTES + PAGE_BYTES - 1) - number * PAGE_BYTES;
            let lines = lines_of(start as usize / 8, end as usize / 8);
            let at_once = match by {
                // A clean by the host includes its DSB.
                Storer::Host => lines,
                Storer::El2 => {
                    self.cleaning.push(page);
                    dirty.clean(lines)
                }
            };
            self.arrive(page, |_| at_once);
        }
    }

    /// A barrier waits for all cleans before it.
    pub(crate) fn complete_cleans(&mut self) {
        for page in std::mem::take(&mut self.cleaning) {
            self.arrive(page, DirtyLines::cleaned);
        }
    }

    /// The line at an address leaves the cache: what is dirty of it arrives in memory.
    pub(crate) fn write_back(&mut self, address: u64) {
        if let Some((page, word)) = self.place(address) {
            self.arrive(page, |_| lines_of(word, word));
        }
    }

    /// Lines of a page arrive in memory as CPUs see them, those that are dirty.
    fn arrive(&mut self, page: usize, lines: impl FnOnce(&DirtyLines) -> u64) {
        let Some(dirty) = &mut self.dirty[page] else {
            return;
        };
        let lines = lines(dirty);
        let overwritten = dirty.arrive(lines, &self.pages[page].0);
        if let Some(number) = self.flat.page(page) {
            let at = |(word, host)| (number * PAGE_BYTES + 8 * word as u64, host);
            self.overwritten.extend(overwritten.into_iter().map(at));
        }
        if dirty.is_empty() {
            self.dirty[page] = None;
            self.dirty_pages -= 1;
        }
    }

    /// The word at an 8-byte aligned address as a device sees it that snoops like this.
    pub(crate) fn fetch_by(&self, snooping: Snooping, address: u64) -> Fetched {
        if snooping.sees_stores() {
            return Fetched { value: self.read(address), stale: false };
        }
        self.fetch(address)
    }

    /// The word at an 8-byte aligned address as a non-coherent device sees it.
    pub(crate) fn fetch(&self, address: u64) -> Fetched {
        if self.dirty_pages == 0 {
            return Fetched { value: self.read(address), stale: false };
        }
        let in_memory = self.place(address).and_then(|(page, word)| {
            let dirty = self.dirty[page].as_ref().filter(|dirty| dirty.is_dirty(word))?;
            Some((dirty.memory[word], dirty.is_by_el2(word)))
        });
        let now = self.read(address);
        let (value, by_el2) = in_memory.unwrap_or((now, false));
        Fetched { value, stale: by_el2 && value != now }
    }

    /// Whether any word of the run, 8-byte aligned, is not zero as it was stored last. What is no
    /// memory counts as zero.
    pub(crate) fn has_contents(&self, address: u64, bytes: u64) -> bool {
        Pages::under(address, bytes).iter().take(FLAT_PAGES).any(|page| {
            let start = address.max(page * PAGE_BYTES);
            let end = (address + bytes).min((page + 1) * PAGE_BYTES);
            !self.latest_nonzero(start, end).is_empty()
        })
    }

    pub(crate) fn contents(&self) -> Contents {
        let mut pages =
            if self.untold { (0..FLAT_PAGES).collect() } else { self.touched_list.clone() };
        pages.sort_unstable();
        let page = |page: usize| (page, copy_out(self.page(page)));
        let mut all: Vec<_> = pages.into_iter().map(page).collect();
        if self.untold {
            all.retain(|(_, words)| words.iter().any(|word| *word != 0));
        }
        Contents(all)
    }

    /// Back to what was in memory then, of a machine with these pages; everything else is zero.
    pub(crate) fn restore(&mut self, contents: &Contents, flat: Flat) {
        self.flat = flat;
        if std::mem::take(&mut self.untold) {
            self.pages.iter().for_each(|page| fill(&page.0, 0));
        }
        for page in std::mem::take(&mut self.touched_list) {
            self.touched[page] = false;
            fill(self.page(page), 0);
            self.dirty[page] = None;
        }
        self.dirty_pages = 0;
        self.cleaning.clear();
        self.overwritten.clear();
        for (page, words) in &contents.0 {
            self.touch(*page);
            copy_in(self.page(*page), words);
        }
    }

    fn put(&mut self, page: usize, word: usize, value: u64) {
        self.touch(page);
        self.pages[page].0[word].set(value);
    }

    fn touch(&mut self, page: usize) {
        if !self.touched[page] {
            self.touched[page] = true;
            self.touched_list.push(page);
        }
    }

    /// A CPU is about to store to these words: what their lines hold stays in memory.
    fn keep_before(&mut self, page: usize, stored: RangeInclusive<usize>, by: Storer) {
        self.touch(page);
        let lines = lines_of(*stored.start(), *stored.end());
        // A clean and a later store by one CPU are in order.
        self.arrive(page, |dirty| dirty.cleaned() & lines);
        let words = &self.pages[page].0;
        let dirty = self.dirty[page].get_or_insert_with(|| {
            self.dirty_pages += 1;
            DirtyLines::none(words)
        });
        dirty.store(stored, by, words);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use its_machine::Area;

    #[test]
    fn a_device_sees_what_el2_wrote_once_it_is_cleaned() {
        let mut memory = Memory::new(Flat::ALL);
        let address = Area::QUEUE.address() + 0x40;
        memory.write(address, 1);
        memory.write_uncleaned(Storer::El2, address, 2);
        assert_eq!(memory.read(address), 2);
        assert_eq!((memory.fetch(address).value, memory.fetch(address).stale), (1, true));
        memory.clean(Storer::El2, address, 32);
        assert_eq!((memory.fetch(address).value, memory.fetch(address).stale), (1, true));
        memory.complete_cleans();
        assert_eq!((memory.fetch(address).value, memory.fetch(address).stale), (2, false));
        // A second store to the line becomes stale with the first one's value.
        memory.write_uncleaned(Storer::El2, address, 3);
        assert_eq!(memory.fetch(address).value, 2);
        // Its clean is under way when the line is stored to again.
        memory.clean(Storer::El2, address, 32);
        memory.write_uncleaned(Storer::El2, address, 4);
        memory.complete_cleans();
        assert_eq!((memory.fetch(address).value, memory.fetch(address).stale), (3, true));
    }

    #[test]
    fn pages_that_a_memory_left_are_zero() {
        for told in [true, false] {
            let mut memory = Memory::new(Flat::ALL);
            if told {
                memory.write(Area::QUEUE.address(), 1);
            } else {
                memory.expect_anything();
                memory.mapping()[7].0[0].set(1);
            }
            let left = memory.mapping().as_ptr();
            drop(memory);
            let memory = Memory::new(Flat::ALL);
            assert_eq!(memory.mapping().as_ptr(), left);
            assert!(memory.mapping().iter().all(|page| page.0.iter().all(|word| word.get() == 0)));
        }
    }

    #[test]
    fn a_line_that_is_written_back_overwrites_what_a_device_stored() {
        let mut memory = Memory::new(Flat::ALL);
        let address = Area::ITT.address() + 0x40;
        for (snooping, arrives) in
            [(Snooping::No, true), (Snooping::No, false), (Snooping::Yes, true)]
        {
            memory.restore(&Contents::default(), Flat::ALL);
            memory.write_uncleaned(Storer::El2, address, 2);
            memory.write_by_device(snooping, address, 3);
            memory.write_by_device(snooping, address + 64, 4);
            let snooped = snooping.sees_stores();
            let (cpu, device) = (if snooped { 3 } else { 2 }, 3);
            assert_eq!((memory.read(address), memory.fetch(address).value), (cpu, device));
            if arrives {
                memory.write_back(address);
            }
            let lost = arrives && !snooped;
            assert_eq!(memory.fetch(address).value, if lost { 2 } else { 3 });
            assert_eq!(memory.overwritten, if lost { vec![(address, false)] } else { Vec::new() });
            assert_eq!((memory.read(address + 64), memory.fetch(address + 64).value), (4, 4));
        }
    }

    #[test]
    fn a_device_sees_what_the_host_wrote_once_it_is_cleaned() {
        let mut memory = Memory::new(Flat::ALL);
        let address = Area::ITT.address() + 0x40;
        let seen = |memory: &Memory| (memory.fetch(address).value, memory.fetch(address).stale);
        // A clean is complete at once. A read before it does not count as stale, because EL2 did
        // not store.
        for by in [Storer::Host, Storer::El2] {
            memory.restore(&Contents::default(), Flat::ALL);
            memory.write_uncleaned(Storer::Host, address, 2);
            assert_eq!((memory.read(address), seen(&memory)), (2, (0, false)));
            memory.clean(by, address + 8, 8);
            assert_eq!(seen(&memory), (2, false));
        }
        // EL2 answers for a line that it stored to as well. The host may clean it.
        memory.write_uncleaned(Storer::Host, address, 3);
        memory.write_uncleaned(Storer::El2, address + 8, 3);
        assert_eq!(seen(&memory), (2, true));
        memory.clean(Storer::Host, address, 8);
        assert_eq!(seen(&memory), (3, false));
        // The host's line overwrites one word that a device stored. The other word was stored later
        // by EL2.
        memory.write_uncleaned(Storer::Host, address, 4);
        memory.write_by_device(Snooping::No, address + 16, 5);
        memory.write_by_device(Snooping::No, address + 24, 5);
        assert_eq!(memory.latest(address + 24), 5);
        memory.write_uncleaned(Storer::El2, address + 24, 6);
        assert_eq!(memory.latest(address + 24), 6);
        memory.clean(Storer::Host, address, 8);
        assert_eq!(memory.overwritten, [(address + 16, true)]);
    }

    #[test]
    fn restoring_undoes_every_store() {
        let mut memory = Memory::new(Flat::ALL);
        memory.write(Area::HIGH.page(3), 7);
        let contents = memory.contents();
        memory.write(Area::HIGH.page(3), 8);
        memory.write_uncleaned(Storer::El2, Area::ITT.address(), 9);
        memory.restore(&contents, Flat::ALL);
        assert_eq!(memory.read(Area::HIGH.page(3)), 7);
        assert_eq!(memory.read(Area::ITT.address()), 0);
        assert!(!memory.fetch(Area::ITT.address()).stale);
    }

    #[test]
    fn the_hole_and_the_gap_hold_nothing() {
        let mut memory = Memory::new(Flat::ALL);
        for address in [Area::HOLE.address(), 0, Area::HIGH.page(48), u64::MAX - 7] {
            memory.write(address, 5);
            assert_eq!(memory.read(address), 0);
        }
    }
}
