//! One allocation for all memory that a board can have: low memory with the hole in it, the memory
//! above 2^48, extra memory.

use its_machine::{Area, EXTRA_MEMORY, LOW_MEMORY, Machine};

const HIGH: (u64, u64) = (Area::HIGH.first(), Area::HIGH.pages() as u64);
/// Where extra memory starts in the allocation.
const EXTRA: u64 = LOW_MEMORY.count + HIGH.1;
/// Pages of the allocation.
pub(crate) const FLAT_PAGES: usize = (EXTRA + EXTRA_MEMORY.count) as usize;
/// The hole in the allocation.
const HOLE: (u64, u64) = {
    let start = Area::HOLE.first() - LOW_MEMORY.first;
    (start, start + Area::HOLE.pages() as u64)
};

/// Which of these pages a board has.
#[derive(Clone, Copy)]
pub(crate) struct Flat {
    /// Pages above 2^48.
    high: u64,
    extra: u64,
}

impl Flat {
    pub(crate) const ALL: Self = Self { high: HIGH.1, extra: EXTRA_MEMORY.count };

    pub(crate) fn of(machine: &Machine) -> Self {
        let [.., extra, high] = machine.memory;
        Self { high: high.count, extra: extra.count }
    }

    /// How many pages of the allocation it needs.
    pub(crate) fn pages(self) -> usize {
        (EXTRA + self.extra) as usize
    }

    /// Returns the place of a page in the allocation; `None` for what is no memory.
    pub(crate) const fn index(self, page: u64) -> Option<usize> {
        let low = page.wrapping_sub(LOW_MEMORY.first);
        if low < LOW_MEMORY.count {
            let is_hole = low >= HOLE.0 && low < HOLE.1;
            return if is_hole { None } else { Some(low as usize) };
        }
        let high = page.wrapping_sub(HIGH.0);
        if high < self.high {
            return Some((LOW_MEMORY.count + high) as usize);
        }
        let extra = page.wrapping_sub(EXTRA_MEMORY.first);
        if extra < self.extra { Some((EXTRA + extra) as usize) } else { None }
    }

    /// Returns the page at a place in the allocation; `None` for what is no memory.
    pub(crate) const fn page(self, index: usize) -> Option<u64> {
        let index = index as u64;
        if index >= HOLE.0 && index < HOLE.1 {
            return None;
        }
        if index < LOW_MEMORY.count {
            return Some(LOW_MEMORY.first + index);
        }
        let high = index - LOW_MEMORY.count;
        if index < EXTRA {
            return if high < self.high { Some(HIGH.0 + high) } else { None };
        }
        let extra = index - EXTRA;
        if extra < self.extra { Some(EXTRA_MEMORY.first + extra) } else { None }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use its_machine::{ItsConfiguration, MAX_ITS, Topology};

    #[test]
    fn memory_is_what_the_machine_says_it_is() {
        for (has_extra_memory, high_pages) in [(false, 48), (true, 48), (true, 41), (false, 33)] {
            let topology = Topology { has_extra_memory, high_pages, ..Topology::DEFAULT };
            let machine = Machine::new([ItsConfiguration::DEFAULT; MAX_ITS], topology);
            let flat = Flat::of(&machine);
            for (first, count) in [
                (LOW_MEMORY.first, LOW_MEMORY.count),
                HIGH,
                (EXTRA_MEMORY.first, EXTRA_MEMORY.count),
            ] {
                for page in first - 2..first + count + 6 {
                    let index = flat.index(page);
                    assert_eq!(index.is_some(), machine.is_memory(page << 12, 1), "page {page:#x}");
                    assert!(index.is_none_or(|index| flat.page(index) == Some(page)));
                    assert!(index.is_none_or(|index| index < flat.pages()));
                }
            }
            let pages = (0..FLAT_PAGES + 1).filter_map(|index| flat.page(index));
            assert!(pages.into_iter().all(|page| flat.index(page).is_some()));
        }
    }
}
