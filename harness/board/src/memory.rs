//! RAM: one flat allocation behind the regions, that knows what was touched and what was not cleaned.

use its_gic::geometry::{PAGE_BYTES, Pages};

use crate::layout::{FLAT_PAGES, flat_index};

const PAGE: usize = PAGE_BYTES as usize;
const LINE: usize = 64;
const ZEROES: [u8; LINE] = [0; LINE];

/// What a non-coherent reader still sees of a page that EL2 wrote.
#[derive(Clone)]
struct Stale {
    /// One bit for each line of 64 bytes that was written and not cleaned.
    lines: u64,
    before: Box<[u8; PAGE]>,
}

/// All memory of the board.
#[derive(Clone)]
pub(crate) struct Memory {
    bytes: Vec<u8>,
    touched: Vec<bool>,
    touched_list: Vec<usize>,
    stale: Vec<Option<Stale>>,
    stale_pages: usize,
}

/// The contents of the pages that are not zero.
#[derive(Clone, Default)]
pub(crate) struct Contents(Vec<(usize, Box<[u8]>)>);

/// What the ITS got from a read.
pub(crate) struct Fetched {
    pub value: u64,
    /// It came from a line that EL2 wrote and did not clean, and is not what EL2 sees there.
    pub stale: bool,
}

fn place(address: u64) -> Option<(usize, usize)> {
    let page = flat_index(address / PAGE_BYTES)?;
    Some((page, (address % PAGE_BYTES) as usize))
}

impl Memory {
    pub(crate) fn new() -> Self {
        Self {
            bytes: vec![0; FLAT_PAGES * PAGE],
            touched: vec![false; FLAT_PAGES],
            touched_list: Vec::new(),
            stale: vec![None; FLAT_PAGES],
            stale_pages: 0,
        }
    }

    /// The word at an 8-byte aligned address; zero where there is no memory.
    pub(crate) fn read(&self, address: u64) -> u64 {
        let Some((page, offset)) = place(address) else {
            return 0;
        };
        let start = page * PAGE + offset;
        let word = self.bytes[start..start + 8].try_into();
        u64::from_le_bytes(word.expect("eight bytes"))
    }

    /// The addresses of words that are not zero from `start`, 8-byte aligned, up to `end` in the same page; ascending.
    pub(crate) fn nonzero_words(&self, start: u64, end: u64) -> impl Iterator<Item = u64> {
        let place = place(start).filter(|(page, _)| self.touched[*page]);
        let bytes = place.map_or(&[][..], |(page, offset)| {
            let first = page * PAGE + offset;
            &self.bytes[first..first + (end - start) as usize]
        });
        // Most lines of a table are empty.
        let lines = (0_u64..).zip(bytes.chunks(LINE));
        let lines = lines.filter(|(_, line)| **line != ZEROES[..line.len()]);
        lines.flat_map(move |(line, bytes)| {
            let words = (0_u64..).zip(bytes.chunks_exact(8));
            let nonzero = words.filter(|(_, word)| *word != [0; 8]);
            nonzero.map(move |(word, _)| start + line * LINE as u64 + word * 8)
        })
    }

    /// A store by the host or a device, which every reader sees at once.
    pub(crate) fn write(&mut self, address: u64, value: u64) {
        let Some((page, offset)) = place(address) else {
            return;
        };
        self.put(page, offset, value);
        if let Some(stale) = &mut self.stale[page] {
            stale.before[offset..offset + 8].copy_from_slice(&value.to_le_bytes());
        }
    }

    /// A store by EL2, which a non-coherent reader sees only once it is cleaned.
    pub(crate) fn write_uncleaned(&mut self, address: u64, value: u64) {
        let Some((page, offset)) = place(address) else {
            return;
        };
        self.keep_before(page, 1 << (offset / LINE));
        self.put(page, offset, value);
    }

    /// Zeroes of EL2 over a whole page, not cleaned.
    pub(crate) fn zero_uncleaned(&mut self, page: u64) {
        let Some(page) = flat_index(page) else {
            return;
        };
        self.keep_before(page, u64::MAX);
        self.touch(page);
        self.bytes[page * PAGE..(page + 1) * PAGE].fill(0);
    }

    /// Zeroes over a whole page that every reader sees.
    pub(crate) fn zero(&mut self, page: u64) {
        self.zero_uncleaned(page);
        self.clean(page * PAGE_BYTES, PAGE_BYTES);
    }

    /// Cleans the lines under `bytes` at `address`.
    pub(crate) fn clean(&mut self, address: u64, bytes: u64) {
        if self.stale_pages == 0 || bytes == 0 {
            return;
        }
        let last = address.saturating_add(bytes - 1);
        for number in address / PAGE_BYTES..=last / PAGE_BYTES {
            let Some(page) = flat_index(number) else {
                continue;
            };
            let Some(stale) = &mut self.stale[page] else {
                continue;
            };
            let start = address.max(number * PAGE_BYTES) - number * PAGE_BYTES;
            let end = last.min(number * PAGE_BYTES + PAGE_BYTES - 1) - number * PAGE_BYTES;
            for line in start as usize / LINE..=end as usize / LINE {
                stale.lines &= !(1 << line);
            }
            if stale.lines == 0 {
                self.stale[page] = None;
                self.stale_pages -= 1;
            }
        }
    }

    /// The word at an 8-byte aligned address as a non-coherent device sees it.
    pub(crate) fn fetch(&self, address: u64) -> Fetched {
        if self.stale_pages == 0 {
            return Fetched {
                value: self.read(address),
                stale: false,
            };
        }
        let before = place(address).and_then(|(page, offset)| {
            let stale = self.stale[page].as_ref()?;
            if stale.lines & (1 << (offset / LINE)) == 0 {
                return None;
            }
            let word = stale.before[offset..offset + 8].try_into();
            Some(u64::from_le_bytes(word.expect("eight bytes")))
        });
        let now = self.read(address);
        Fetched {
            value: before.unwrap_or(now),
            stale: before.is_some_and(|before| before != now),
        }
    }

    /// Whether any word of the run, 8-byte aligned, is not zero. What is no memory counts as zero.
    pub(crate) fn has_contents(&self, address: u64, bytes: u64) -> bool {
        Pages::under(address, bytes)
            .iter()
            .take(FLAT_PAGES)
            .any(|page| {
                let start = address.max(page * PAGE_BYTES);
                let end = (address + bytes).min((page + 1) * PAGE_BYTES);
                self.nonzero_words(start, end).next().is_some()
            })
    }

    /// What is in memory now.
    pub(crate) fn contents(&self) -> Contents {
        let mut pages = self.touched_list.clone();
        pages.sort_unstable();
        let page = |page: usize| (page, self.bytes[page * PAGE..(page + 1) * PAGE].into());
        Contents(pages.into_iter().map(page).collect())
    }

    /// Back to what was in memory then; everything else is zero.
    pub(crate) fn restore(&mut self, contents: &Contents) {
        for page in std::mem::take(&mut self.touched_list) {
            self.touched[page] = false;
            self.bytes[page * PAGE..(page + 1) * PAGE].fill(0);
            self.stale[page] = None;
        }
        self.stale_pages = 0;
        for (page, bytes) in &contents.0 {
            self.touch(*page);
            self.bytes[page * PAGE..(page + 1) * PAGE].copy_from_slice(bytes);
        }
    }

    fn put(&mut self, page: usize, offset: usize, value: u64) {
        self.touch(page);
        let start = page * PAGE + offset;
        self.bytes[start..start + 8].copy_from_slice(&value.to_le_bytes());
    }

    fn touch(&mut self, page: usize) {
        if !self.touched[page] {
            self.touched[page] = true;
            self.touched_list.push(page);
        }
    }

    fn keep_before(&mut self, page: usize, lines: u64) {
        self.touch(page);
        let bytes = &self.bytes[page * PAGE..(page + 1) * PAGE];
        match &mut self.stale[page] {
            Some(stale) => {
                let mut fresh = lines & !stale.lines;
                while fresh != 0 {
                    let start = fresh.trailing_zeros() as usize * LINE;
                    let range = start..start + LINE;
                    stale.before[range.clone()].copy_from_slice(&bytes[range]);
                    fresh &= fresh - 1;
                }
                stale.lines |= lines;
            }
            none => {
                let before = Box::new(bytes.try_into().expect("one page"));
                *none = Some(Stale { lines, before });
                self.stale_pages += 1;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::layout;

    #[test]
    fn a_device_sees_what_el2_wrote_once_it_is_cleaned() {
        let mut memory = Memory::new();
        let address = layout::QUEUE.address() + 0x40;
        memory.write(address, 1);
        memory.write_uncleaned(address, 2);
        assert_eq!(memory.read(address), 2);
        assert_eq!(
            (memory.fetch(address).value, memory.fetch(address).stale),
            (1, true)
        );
        memory.clean(address, 32);
        assert_eq!(
            (memory.fetch(address).value, memory.fetch(address).stale),
            (2, false)
        );
        // A second store to the line becomes stale with the first one's value.
        memory.write_uncleaned(address, 3);
        assert_eq!(memory.fetch(address).value, 2);
    }

    #[test]
    fn restoring_undoes_every_store() {
        let mut memory = Memory::new();
        memory.write(layout::HIGH.page(3), 7);
        let contents = memory.contents();
        memory.write(layout::HIGH.page(3), 8);
        memory.write_uncleaned(layout::ITT.address(), 9);
        memory.restore(&contents);
        assert_eq!(memory.read(layout::HIGH.page(3)), 7);
        assert_eq!(memory.read(layout::ITT.address()), 0);
        assert!(!memory.fetch(layout::ITT.address()).stale);
    }

    #[test]
    fn the_hole_and_the_gap_hold_nothing() {
        let mut memory = Memory::new();
        for address in [
            layout::HOLE.address(),
            0,
            layout::HIGH.page(48),
            u64::MAX - 7,
        ] {
            memory.write(address, 5);
            assert_eq!(memory.read(address), 0);
        }
    }
}
