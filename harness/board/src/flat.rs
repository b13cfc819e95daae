//! One allocation for all memory: low memory with the hole in it, then the memory above 2^48.

use its_machine::{Area, LOW_MEMORY};

const HIGH: (u64, u64) = (Area::HIGH.first(), Area::HIGH.pages() as u64);
/// Pages of the allocation.
pub(crate) const FLAT_PAGES: usize = (LOW_MEMORY.count + HIGH.1) as usize;
/// The hole in the allocation.
const HOLE: (u64, u64) = {
    let start = Area::HOLE.first() - LOW_MEMORY.first;
    (start, start + Area::HOLE.pages() as u64)
};

/// Returns the place of a page in the allocation; `None` for what is no memory.
pub(crate) const fn flat_index(page: u64) -> Option<usize> {
    let low = page.wrapping_sub(LOW_MEMORY.first);
    if low < LOW_MEMORY.count {
        let is_hole = low >= HOLE.0 && low < HOLE.1;
        return if is_hole { None } else { Some(low as usize) };
    }
    let high = page.wrapping_sub(HIGH.0);
    if high < HIGH.1 { Some((LOW_MEMORY.count + high) as usize) } else { None }
}

/// Returns the page at a place in the allocation; `None` in the hole and behind the end.
pub(crate) const fn flat_page(index: usize) -> Option<u64> {
    let index = index as u64;
    if index >= HOLE.0 && index < HOLE.1 || index >= FLAT_PAGES as u64 {
        return None;
    }
    if index < LOW_MEMORY.count {
        return Some(LOW_MEMORY.first + index);
    }
    Some(HIGH.0 + index - LOW_MEMORY.count)
}

#[cfg(test)]
mod tests {
    use super::*;
    use its_machine::{ItsConfiguration, MAX_ITS, Machine};

    #[test]
    fn memory_is_what_the_machine_says_it_is() {
        let machine = Machine::new([ItsConfiguration::DEFAULT; MAX_ITS], 1);
        let pages = LOW_MEMORY.first - 2..LOW_MEMORY.first + LOW_MEMORY.count + 6;
        for page in pages.chain(HIGH.0 - 2..HIGH.0 + HIGH.1 + 2) {
            let index = flat_index(page);
            assert_eq!(index.is_some(), machine.is_memory(page << 12, 1), "page {page:#x}");
            assert!(index.is_none_or(|index| flat_page(index) == Some(page)));
        }
    }
}
