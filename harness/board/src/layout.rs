//! Where everything is on the board: physical addresses, fixed for all scenarios.
//!
//! Low memory, then a hole that is no memory, then more memory; far above, a region beyond 2^48.
//! Areas that may hold ITS tables start at a multiple of 64 KiB.

use its_el2::{Character, MAX_ITS, Machine};
use its_gic::geometry::{PAGE_BYTES, Pages};

/// A named run of pages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Area {
    /// Page frame number of its first page.
    pub first: u64,
    /// Its length in pages.
    pub pages: u64,
}

impl Area {
    /// Physical address of its n-th page.
    pub const fn page(self, index: u64) -> u64 {
        (self.first + index) * PAGE_BYTES
    }

    /// Physical address of its first byte.
    pub const fn address(self) -> u64 {
        self.page(0)
    }

    /// The same as pages.
    pub const fn run(self) -> Pages {
        Pages { first: self.first, count: self.pages }
    }
}

const LOW: u64 = 0x8_0000;
const HIGH_BASE: u64 = 1 << (50 - 12);

const fn low(start: u64, pages: u64) -> Area {
    Area { first: LOW + start, pages }
}

/// The queue that the physical ITS reads.
pub const QUEUE: Area = low(0, 16);
/// Device table: flat, or level 1.
pub const DEVICE_TABLE: Area = low(16, 32);
/// Collection table.
pub const COLLECTION_TABLE: Area = low(48, 16);
/// LPI configuration table.
pub const CONFIGURATION: Area = low(64, 16);
/// LPI pending tables, 16 pages a redistributor.
pub const PENDING: Area = low(80, 32);
/// The host's copy of the queue.
pub const QUEUE_COPY: Area = low(112, 16);
/// The host's copy of a level-1 device table.
pub const DEVICE_TABLE_COPY: Area = low(128, 32);
/// EL2's from boot.
pub const EL2: Area = low(160, 8);
/// Pages that the host gives EL2 for its records.
pub const PRIVATE: Area = low(168, 4);
/// The descriptor of the set-up hypercall.
pub const DESCRIPTOR: Area = low(172, 1);
/// The list of live devices of the set-up hypercall.
pub const LIVE_LIST: Area = low(173, 1);
/// Not memory.
pub const HOLE: Area = low(176, 16);
/// Level-2 tables, in blocks of 16 pages; the upper half is the second ITS's where there are two.
pub const LEVEL2: Area = low(192, 128);
/// ITTs.
pub const ITT: Area = low(320, 320);
/// Memory of the host without a purpose.
pub const HOST: Area = low(640, 64);
/// The queue that the second physical ITS reads.
pub const QUEUE1: Area = low(704, 16);
/// Device table of the second ITS: flat, or level 1.
pub const DEVICE_TABLE1: Area = low(720, 32);
/// Collection table of the second ITS.
pub const COLLECTION_TABLE1: Area = low(752, 16);
/// The host's copy of the second ITS's queue.
pub const QUEUE_COPY1: Area = low(768, 16);
/// The host's copy of the second ITS's level-1 device table.
pub const DEVICE_TABLE_COPY1: Area = low(784, 32);
/// The host's copy of a level-1 collection table.
pub const COLLECTION_TABLE_COPY: Area = low(816, 16);
/// The host's copy of the second ITS's level-1 collection table.
pub const COLLECTION_TABLE_COPY1: Area = low(832, 16);
/// Pages that the host gives EL2 for its records of the second ITS.
pub const PRIVATE1: Area = low(848, 4);
/// The descriptor of the set-up hypercall for the second ITS.
pub const DESCRIPTOR1: Area = low(852, 1);
/// The list of live devices of the second ITS.
pub const LIVE_LIST1: Area = low(853, 1);
/// Memory of the host above 2^48.
pub const HIGH: Area = Area { first: HIGH_BASE, pages: 48 };

/// Pages of the flat allocation behind the regions, the hole included.
pub(crate) const FLAT_PAGES: usize = LOW_PAGES as usize + 48;
/// Pages of low memory, the hole included.
const LOW_PAGES: u64 = 864;

/// Place of a page in the flat allocation; `None` for what is no memory.
pub(crate) const fn flat_index(page: u64) -> Option<usize> {
    let low = page.wrapping_sub(LOW);
    if low < LOW_PAGES {
        if low >= 176 && low < 192 {
            return None;
        }
        return Some(low as usize);
    }
    let high = page.wrapping_sub(HIGH_BASE);
    if high < 48 {
        return Some(LOW_PAGES as usize + high as usize);
    }
    None
}

/// The page at a place in the flat allocation; `None` in the hole and behind the end.
pub(crate) const fn flat_page(index: usize) -> Option<u64> {
    let index = index as u64;
    match index {
        176..192 => None,
        0..LOW_PAGES => Some(LOW + index),
        _ if index < FLAT_PAGES as u64 => Some(HIGH_BASE + index - LOW_PAGES),
        _ => None,
    }
}

/// How many CPUs, and redistributors, there are.
pub const CPUS: u8 = 2;
/// Control frames of the ITSs that a board can have.
pub const ITS: [u64; MAX_ITS] = [0x0808_0000, 0x0812_0000];
/// RD_base of each redistributor.
pub const REDISTRIBUTORS: [u64; CPUS as usize] = [0x080a_0000, 0x080e_0000];

static MEMORY: [Pages; 3] = [
    Pages { first: LOW, count: 176 },
    Pages { first: LOW + 192, count: LOW_PAGES - 192 },
    HIGH.run(),
];
static EL2_PAGES: [Pages; 1] = [EL2.run()];
static ITS_FRAMES: [u64; MAX_ITS] = ITS;
/// The linear map covers all 52 bits.
const LINEAR_MAP: u64 = 0xfff0_0000_0000_0000;
/// INTID bits of the GIC: LPIs 8192 to 65535.
const INTID_BITS: u8 = 16;

/// The board's public facts, with `its` ITSs, one or two, of these characters.
pub const fn machine(characters: [Character; MAX_ITS], its: u8) -> Machine {
    let count = if its < 2 { 1 } else { MAX_ITS };
    Machine {
        characters,
        intid_bits: INTID_BITS,
        memory: &MEMORY,
        el2: &EL2_PAGES,
        linear_map: LINEAR_MAP,
        its: ITS_FRAMES.split_at(count).0,
        redistributors: &REDISTRIBUTORS,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_is_what_the_machine_says_it_is() {
        let pages = LOW - 2..LOW + LOW_PAGES + 6;
        let high = HIGH_BASE - 2..HIGH_BASE + 50;
        for page in pages.chain(high) {
            let listed = MEMORY.iter().any(|region| region.contains(page));
            let index = flat_index(page);
            assert_eq!(index.is_some(), listed, "page {page:#x}");
            assert!(index.is_none_or(|index| flat_page(index) == Some(page)));
        }
    }

    #[test]
    fn areas_are_memory_and_do_not_overlap() {
        let areas = [
            QUEUE,
            DEVICE_TABLE,
            COLLECTION_TABLE,
            CONFIGURATION,
            PENDING,
            QUEUE_COPY,
            DEVICE_TABLE_COPY,
            EL2,
            PRIVATE,
            DESCRIPTOR,
            LIVE_LIST,
            LEVEL2,
            ITT,
            HOST,
            QUEUE1,
            DEVICE_TABLE1,
            COLLECTION_TABLE1,
            QUEUE_COPY1,
            DEVICE_TABLE_COPY1,
            COLLECTION_TABLE_COPY,
            COLLECTION_TABLE_COPY1,
            PRIVATE1,
            DESCRIPTOR1,
            LIVE_LIST1,
            HIGH,
        ];
        let mut seen = std::collections::BTreeSet::new();
        for area in areas {
            for page in area.run().iter() {
                assert!(flat_index(page).is_some() && seen.insert(page), "{area:?}");
            }
        }
        assert!(HOLE.run().iter().all(|page| flat_index(page).is_none()));
    }
}
