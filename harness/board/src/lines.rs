//! The cache lines of a page that a CPU stored to and did not clean, as devices see them that do
//! not snoop.

use std::cell::Cell;
use std::ops::RangeInclusive;

use its_gic::geometry::{CACHE_LINE_BYTES, PAGE_BYTES};

/// Words in a page.
pub(crate) const PAGE: usize = PAGE_BYTES as usize / 8;
/// Words in a cache line.
pub(crate) const LINE: usize = CACHE_LINE_BYTES as usize / 8;

/// The lines of a page from one word to another, one bit each.
pub(crate) fn lines_of(first: usize, last: usize) -> u64 {
    (first / LINE..=last / LINE).fold(0, |lines, line| lines | 1 << line)
}

/// The numbers of lines, of one bit each, and the words of each.
fn words_of(mut lines: u64) -> impl Iterator<Item = usize> {
    std::iter::from_fn(move || {
        let line = (lines != 0).then_some(lines.trailing_zeros() as usize)?;
        lines &= lines - 1;
        Some(line * LINE..(line + 1) * LINE)
    })
    .flatten()
}

/// Who stored to a line.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Storer {
    El2,
    Host,
}

/// The words that a device stored and that are lost, and whether the host alone had stored to their
/// lines by then.
pub(crate) type Lost = Vec<(usize, bool)>;

/// What devices see of a page that a CPU wrote, where that is not what CPUs see.
#[derive(Clone)]
pub(crate) struct DirtyLines {
    /// Those that are dirty, one bit each.
    lines: u64,
    /// Those of them that EL2 stored to.
    by_el2: u64,
    /// Those of these whose clean is under way: no barrier waited for it yet.
    cleaning: u64,
    /// What is in memory; means nothing in a line that is not dirty.
    pub memory: Box<[u64; PAGE]>,
    /// Words of dirty lines that a device stored in memory, one bit each.
    beneath: [u64; PAGE / 64],
    /// Those of them in whose lines EL2 had stored before.
    beneath_el2: [u64; PAGE / 64],
}

impl DirtyLines {
    /// No line is dirty of a page that holds these words.
    pub(crate) fn none(words: &[Cell<u64>; PAGE]) -> Self {
        let memory = Box::new(words.each_ref().map(Cell::get));
        let (beneath, beneath_el2) = ([0; _], [0; _]);
        Self { lines: 0, by_el2: 0, cleaning: 0, memory, beneath, beneath_el2 }
    }

    /// These words are stored to from now on; the page holds `words` before. What a device stored
    /// to them in memory is not lost: the CPU stores later.
    pub(crate) fn store(
        &mut self,
        stored: RangeInclusive<usize>,
        by: Storer,
        words: &[Cell<u64>; PAGE],
    ) {
        let lines = lines_of(*stored.start(), *stored.end());
        if self.has_any_beneath() {
            stored.for_each(|word| self.beneath[word / 64] &= !(1 << (word % 64)));
        }
        for word in words_of(lines & !self.lines) {
            self.memory[word] = words[word].get();
        }
        self.lines |= lines;
        self.cleaning &= !lines;
        if by == Storer::El2 {
            self.by_el2 |= lines;
        }
    }

    /// A device stores to a word of a dirty line.
    pub(crate) fn store_beneath(&mut self, word: usize, value: u64) {
        self.memory[word] = value;
        let bit = 1 << (word % 64);
        self.beneath[word / 64] |= bit;
        self.beneath_el2[word / 64] &= !bit;
        self.beneath_el2[word / 64] |= if self.is_by_el2(word) { bit } else { 0 };
    }

    /// EL2 cleans these lines from now on, those that are dirty. Returns those that arrive in
    /// memory at once: nobody has to wait for a line that only the host stored to.
    pub(crate) fn clean(&mut self, lines: u64) -> u64 {
        self.cleaning |= self.by_el2 & lines;
        lines & !self.by_el2
    }

    /// Returns the lines whose clean is under way.
    pub(crate) fn cleaned(&self) -> u64 {
        self.cleaning
    }

    /// These lines arrive in memory, those that are dirty; the page holds these words. Returns the
    /// words that a device had stored there and that are lost.
    pub(crate) fn arrive(&mut self, lines: u64, words: &[Cell<u64>; PAGE]) -> Lost {
        let arriving = self.lines & lines;
        let mut lost = Vec::new();
        for word in words_of(arriving) {
            if self.has_beneath(word) && self.memory[word] != words[word].get() {
                lost.push((word, self.beneath_el2[word / 64] & 1 << (word % 64) == 0));
            }
            self.beneath[word / 64] &= !(1 << (word % 64));
        }
        self.lines &= !arriving;
        self.by_el2 &= !arriving;
        self.cleaning &= !arriving;
        lost
    }

    pub(crate) fn is_dirty(&self, word: usize) -> bool {
        self.lines & lines_of(word, word) != 0
    }

    /// Whether EL2 stored to the line of a word, and it is dirty.
    pub(crate) fn is_by_el2(&self, word: usize) -> bool {
        self.by_el2 & lines_of(word, word) != 0
    }

    /// Whether no line is dirty.
    pub(crate) fn is_empty(&self) -> bool {
        self.lines == 0
    }

    pub(crate) fn has_beneath(&self, word: usize) -> bool {
        self.beneath[word / 64] & 1 << (word % 64) != 0
    }

    pub(crate) fn has_any_beneath(&self) -> bool {
        self.beneath != [0; _]
    }
}
