//! The memory map: what each run of pages is for, and where it is.
//!
//! Low memory with a hole that is no memory; extra memory, which only large boards have; a region
//! beyond 2^48, which may be cut short. Areas that may hold ITS tables start at a multiple of 64
//! KiB.

use core::fmt;

use its_gic::geometry::{PAGE_BYTES, Pages};

use crate::machine::{MAX_ITS, Topology};

/// Declares the areas: number, name, pages, and where they start. Starts are pages from [`LOW`].
macro_rules! areas {
    ($($(#[$doc:meta])* $kind:ident $constant:ident = $number:literal $name:literal
        $pages:literal $start:expr;)*) => {
        /// What a run of pages is for. Numbers stand in the binary form of scenarios: they never
        /// change and are never reused. (16 is no area; 17 to 21 and 23 to 26 are retired; 30 and
        /// 31 are reserved.)
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[repr(u8)]
        pub enum AreaKind {
            $($(#[$doc])* $kind = $number,)*
        }

        impl AreaKind {
            /// All of them, by number.
            pub const ALL: &[Self] = &[$(Self::$kind,)*];

            /// Returns the name.
            pub const fn name(self) -> &'static str {
                match self {
                    $(Self::$kind => $name,)*
                }
            }

            /// Returns the length in pages.
            pub const fn pages(self) -> u16 {
                match self {
                    $(Self::$kind => $pages,)*
                }
            }

            const fn start(self) -> Start {
                match self {
                    $(Self::$kind => $start,)*
                }
            }
        }

        impl Area {
            $($(#[$doc])* pub const $constant: Self = Self { kind: AreaKind::$kind, its: 0 };)*
        }
    };
}

areas! {
    /// The host's copy of a command queue.
    QueueCopy QUEUE_COPY = 0 "queue-copy" 16 Start::Each { first: 112, others: 64 };
    /// The host's copy of a level-1 device table.
    DeviceTableCopy DEVICE_TABLE_COPY = 1 "device-table-copy" 32
        Start::Each { first: 128, others: 80 };
    /// ITTs.
    Itt ITT = 2 "itt" 320 Start::Low(320);
    /// Level-2 tables, in blocks of 16 pages that start at a multiple of 64 KiB.
    Level2 LEVEL2 = 3 "level2" 128 Start::Low(192);
    /// Memory of the host without a purpose.
    Host HOST = 4 "host" 64 Start::Low(640);
    /// Memory of the host above 2^48.
    High HIGH = 5 "high" 48 Start::High;
    /// The descriptor of the set-up hypercall.
    Descriptor DESCRIPTOR = 6 "descriptor" 1 Start::Each { first: 172, others: 148 };
    /// The list of live devices of the set-up hypercall.
    LiveList LIVE_LIST = 7 "live-list" 1 Start::Each { first: 173, others: 149 };
    /// What the host gives EL2 for its records.
    Private PRIVATE = 8 "private" 4 Start::Each { first: 168, others: 144 };
    /// The queue that a physical ITS reads.
    Queue QUEUE = 9 "queue" 16 Start::Each { first: 0, others: 0 };
    /// The device table, flat or level 1, that a physical ITS reads.
    DeviceTable DEVICE_TABLE = 10 "device-table" 32 Start::Each { first: 16, others: 16 };
    /// The collection table that a physical ITS reads.
    CollectionTable COLLECTION_TABLE = 11 "collection-table" 16
        Start::Each { first: 48, others: 48 };
    /// LPI configuration table.
    Configuration CONFIGURATION = 12 "configuration" 16 Start::Low(64);
    /// LPI pending tables, 16 pages a redistributor.
    Pending PENDING = 13 "pending" 32 Start::Low(80);
    /// EL2's from boot.
    El2 EL2 = 14 "el2" 8 Start::Low(160);
    /// No memory.
    Hole HOLE = 15 "hole" 16 Start::Low(176);
    /// The host's copy of a level-1 collection table.
    CollectionTableCopy COLLECTION_TABLE_COPY = 22 "collection-table-copy" 16
        Start::Each { first: 816, others: 128 };
    /// LPI pending tables of redistributors from the third on, 16 pages each.
    MorePending MORE_PENDING = 27 "more-pending" 96 Start::Extra(0);
    /// What the host gives EL2 for its records where [`Area::PRIVATE`] is too small: 64 pages for
    /// each ITS.
    Records RECORDS = 28 "records" 512 Start::Extra(96);
    /// Level-2 tables of ITSs from the fifth on, in blocks of 16 pages.
    MoreLevel2 MORE_LEVEL2 = 29 "more-level2" 128 Start::Extra(608);
}

/// Where an area starts.
#[derive(Clone, Copy)]
enum Start {
    /// There is one, in low memory.
    Low(u64),
    /// There is one, in extra memory.
    Extra(u64),
    /// There is one, above 2^48.
    High,
    /// Each ITS has one: that of the first ITS in low memory, those of others in [`block`].
    Each { first: u64, others: u64 },
}

/// Low memory, the hole included.
pub const LOW_MEMORY: Pages = Pages { first: LOW, count: 864 };
/// Extra memory: areas of its own, then those of ITSs from the third on.
pub const EXTRA_MEMORY: Pages = Pages { first: 0x20_0000, count: EXTRA_BLOCKS + 6 * BLOCK };

/// Page frame number of the first page of memory.
const LOW: u64 = 0x8_0000;
/// The same modulo 2^48 as low memory: address bits above 47 alone tell them apart.
const HIGH: u64 = (1 << (50 - 12)) + LOW;
/// Pages for the areas of an ITS that is not the first.
const BLOCK: u64 = 160;
/// Where extra memory has the blocks of ITSs.
const EXTRA_BLOCKS: u64 = 736;

/// Page frame number of where the areas of an ITS that is not the first start.
const fn block(its: u8) -> u64 {
    match (its as u64).checked_sub(2) {
        None => LOW.wrapping_add(704),
        Some(n) => {
            EXTRA_MEMORY.first.wrapping_add(EXTRA_BLOCKS).wrapping_add(n.wrapping_mul(BLOCK))
        }
    }
}

/// Returns the regions of memory of a board.
pub(crate) const fn memory(topology: Topology) -> [Pages; 4] {
    let hole = Area::HOLE.run();
    let above = hole.first.wrapping_add(hole.count);
    let end = LOW.wrapping_add(LOW_MEMORY.count);
    let mut high = Area::HIGH.run();
    if (topology.high_pages as u64) < high.count {
        high.count = topology.high_pages as u64;
    }
    let mut extra = EXTRA_MEMORY;
    if !topology.has_extra_memory {
        extra.count = 0;
    }
    [
        Pages { first: LOW, count: hole.first.wrapping_sub(LOW) },
        Pages { first: above, count: end.wrapping_sub(above) },
        extra,
        high,
    ]
}

/// A run of pages with one purpose.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Area {
    pub kind: AreaKind,
    /// The ITS that it is for; 0 where all ITSs share it.
    pub its: u8,
}

impl Area {
    /// Returns all areas of a board with [`MAX_ITS`] ITSs.
    pub fn all() -> impl Iterator<Item = Self> {
        let each = |kind: &AreaKind| {
            let count = if (Self { kind: *kind, its: 0 }).is_shared() { 1 } else { MAX_ITS as u8 };
            let kind = *kind;
            (0..count).map(move |its| Self { kind, its })
        };
        AreaKind::ALL.iter().flat_map(each)
    }

    /// Returns whether all ITSs share it.
    pub const fn is_shared(self) -> bool {
        !matches!(self.kind.start(), Start::Each { .. })
    }

    /// Returns whether it lies in extra memory, which only large boards have.
    pub const fn is_extra(self) -> bool {
        self.first() >= EXTRA_MEMORY.first && self.first() < HIGH
    }

    /// Returns what serves the n-th ITS as this area serves its own.
    #[must_use]
    pub const fn of_its(self, its: u8) -> Self {
        let its = if self.is_shared() { 0 } else { its };
        Self { kind: self.kind, its }
    }

    /// Returns the length in pages.
    pub const fn pages(self) -> u16 {
        self.kind.pages()
    }

    /// Returns the page frame number of the first page.
    pub const fn first(self) -> u64 {
        match self.kind.start() {
            Start::Low(page) => LOW.wrapping_add(page),
            Start::Extra(page) => EXTRA_MEMORY.first.wrapping_add(page),
            Start::High => HIGH,
            Start::Each { first, .. } if self.its == 0 => LOW.wrapping_add(first),
            Start::Each { others, .. } => block(self.its).wrapping_add(others),
        }
    }

    /// Returns the physical address of the n-th page.
    pub const fn page(self, index: u64) -> u64 {
        self.first().wrapping_add(index).wrapping_mul(PAGE_BYTES)
    }

    /// Returns the physical address of the first byte.
    pub const fn address(self) -> u64 {
        self.page(0)
    }

    /// Returns its pages.
    pub const fn run(self) -> Pages {
        Pages { first: self.first(), count: self.pages() as u64 }
    }

    /// Reads a name, as it is displayed.
    pub fn named(name: &str) -> Option<Self> {
        Self::all().find(|area| {
            let rest = name.strip_prefix(area.kind.name());
            match area.its {
                0 => rest == Some(""),
                its => rest.and_then(|rest| rest.parse().ok()) == Some(its),
            }
        })
    }
}

impl fmt::Display for Area {
    /// The name, with the number of the ITS where that is not the first: `queue`, `queue1`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.its {
            0 => f.write_str(self.kind.name()),
            its => write!(f, "{}{its}", self.kind.name()),
        }
    }
}

#[cfg(test)]
mod tests {
    extern crate std;
    use std::collections::BTreeSet;
    use std::string::ToString;

    use super::*;

    #[test]
    fn areas_are_memory_and_do_not_overlap() {
        let large = Topology { has_extra_memory: true, ..Topology::DEFAULT };
        let has = |topology, page| memory(topology).iter().any(|region| region.contains(page));
        let is_memory = |page| has(large, page);
        let mut seen = BTreeSet::new();
        for area in Area::all().filter(|area| *area != Area::HOLE) {
            assert!(area.run().iter().all(|page| is_memory(page) && seen.insert(page)), "{area}");
            assert_ne!(has(Topology::DEFAULT, area.first()), area.is_extra(), "{area}");
        }
        assert!(!Area::HOLE.run().iter().any(is_memory));
    }

    #[test]
    fn areas_keep_their_numbers_and_have_names_of_their_own() {
        let numbers: std::vec::Vec<u8> = AreaKind::ALL.iter().map(|kind| *kind as u8).collect();
        assert_eq!(numbers, [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 22, 27, 28, 29]);
        for area in Area::all() {
            assert_eq!(Area::named(&area.to_string()), Some(area));
        }
        assert_eq!(Area::QUEUE.of_its(1).to_string(), "queue1");
        assert_eq!(Area::named("itt1"), None);
        assert_eq!(Area::named("queue0"), None);
    }
}
