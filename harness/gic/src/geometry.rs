//! Shapes: ITS page sizes, tables, ITTs and the queue. Numbers in, numbers out.

use crate::command::COMMAND_BYTES;
use crate::register::{Baser, Cbaser};

/// Bytes in a page of the host and of EL2.
pub const PAGE_BYTES: u64 = 4096;
/// Bytes of a cache line, the unit of a clean to the point of coherency.
pub const CACHE_LINE_BYTES: u64 = 64;
/// Bits in a physical address.
pub const PHYSICAL_ADDRESS_BITS: u32 = 52;
/// Bytes in a level-1 entry.
pub const LEVEL1_ENTRY_BYTES: u64 = 8;

/// `GITS_BASER<n>`.Page_Size.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum PageSize {
    /// 4 KiB
    K4,
    /// 16 KiB
    K16,
    /// 64 KiB
    K64,
}

impl PageSize {
    /// From the field; the reserved value 3 is treated as 64 KiB.
    pub const fn from_field(field: u8) -> Self {
        match field & 3 {
            0 => Self::K4,
            1 => Self::K16,
            _ => Self::K64,
        }
    }

    /// As the field: 0, 1 or 2.
    pub const fn field(self) -> u8 {
        match self {
            Self::K4 => 0,
            Self::K16 => 1,
            Self::K64 => 2,
        }
    }

    /// Bytes in one page.
    pub const fn bytes(self) -> u64 {
        match self {
            Self::K4 => 0x1000,
            Self::K16 => 0x4000,
            Self::K64 => 0x1_0000,
        }
    }

    /// The address in a `GITS_BASER<n>` address field (bits \[47:12\] in place). With 64 KiB pages
    /// PA\[51:48\] stands in bits \[15:12\].
    pub const fn unfold(self, field: u64) -> u64 {
        match self {
            Self::K4 | Self::K16 => field & 0xffff_ffff_f000 & !self.offset_mask(),
            Self::K64 => (field & 0xffff_ffff_0000) | ((field >> 12 & 0xf) << 48),
        }
    }

    /// The `GITS_BASER<n>` address field (bits \[47:12\] in place) for an address.
    pub const fn fold(self, address: u64) -> u64 {
        match self {
            Self::K4 | Self::K16 => address & 0xffff_ffff_f000 & !self.offset_mask(),
            Self::K64 => (address & 0xffff_ffff_0000) | ((address >> 48 & 0xf) << 12),
        }
    }

    /// Bits of an address within a page.
    pub const fn offset_mask(self) -> u64 {
        self.bytes().wrapping_sub(1)
    }
}

/// Where a table is and what shape it has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Table {
    /// Physical address of the table (flat) or the level-1 table.
    pub address: u64,
    /// Its bytes.
    pub bytes: u64,
    /// Size of a level-2 table, and alignment.
    pub page_size: PageSize,
    /// Bytes in one entry of a flat or level-2 table.
    pub entry_bytes: u64,
    /// Two levels.
    pub indirect: bool,
}

/// Where the entry of an id is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Location {
    /// In a flat table, at this physical address.
    Flat(u64),
    /// In a level-2 table, which a level-1 entry names.
    Indirect {
        /// Physical address of the level-1 entry.
        level1_entry: u64,
        /// Bytes from the start of the level-2 table.
        offset: u64,
    },
}

impl Table {
    /// The table that `GITS_BASER<n>` describes, whether Valid or not.
    pub const fn new(baser: Baser) -> Self {
        Self {
            address: baser.address(),
            bytes: baser.bytes(),
            page_size: baser.page_size(),
            entry_bytes: baser.entry_bytes(),
            indirect: baser.indirect(),
        }
    }

    /// Entries in one ITS page, rounded down.
    pub const fn entries_per_page(self) -> u64 {
        match self.page_size.bytes().checked_div(self.entry_bytes) {
            Some(entries) => entries,
            None => 0,
        }
    }

    /// How many ids have an entry, were all level-2 tables present.
    pub const fn capacity(self) -> u64 {
        if self.indirect {
            (self.bytes / LEVEL1_ENTRY_BYTES).saturating_mul(self.entries_per_page())
        } else {
            match self.bytes.checked_div(self.entry_bytes) {
                Some(entries) => entries,
                None => 0,
            }
        }
    }

    /// Where the entry of `id` would be, whether the table reaches that far or not: ids from
    /// [`Table::capacity`] on are beyond it, which is for the caller to judge.
    pub const fn locate(self, id: u32) -> Location {
        let id = id as u64;
        if !self.indirect {
            let offset = id.wrapping_mul(self.entry_bytes);
            return Location::Flat(self.address.wrapping_add(offset));
        }
        let index = self.level1_index(id as u32);
        let first = index.wrapping_mul(self.entries_per_page());
        Location::Indirect {
            level1_entry: self.address.wrapping_add(index.wrapping_mul(LEVEL1_ENTRY_BYTES)),
            offset: id.wrapping_sub(first).wrapping_mul(self.entry_bytes),
        }
    }

    /// Index of the level-1 entry that covers `id`: id / entries in one ITS page.
    pub const fn level1_index(self, id: u32) -> u64 {
        match (id as u64).checked_div(self.entries_per_page()) {
            Some(index) => index,
            None => 0,
        }
    }
}

/// A level-1 entry: Valid in bit 63, the level-2 table's address in bits \[51:N\], N = 12, 14 or
/// 16.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Level1Entry(pub u64);

impl Level1Entry {
    const VALID: u64 = 1 << 63;
    const ADDRESS: u64 = 0x000f_ffff_ffff_f000;

    /// A valid entry for a level-2 table at `address`, which must be aligned and below 2^52.
    pub const fn valid(address: u64) -> Self {
        Self(Self::VALID | (address & Self::ADDRESS))
    }

    /// Whether the entry names a level-2 table.
    pub const fn is_valid(self) -> bool {
        self.0 & Self::VALID != 0
    }

    /// Physical address of the level-2 table.
    pub const fn address(self, page_size: PageSize) -> u64 {
        self.0 & Self::ADDRESS & !page_size.offset_mask()
    }

    /// Bits that are neither Valid nor the address.
    pub const fn other_bits(self, page_size: PageSize) -> u64 {
        self.0 & !Self::VALID & !(Self::ADDRESS & !page_size.offset_mask())
    }
}

/// The command queue: a ring of 32-byte slots.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Queue {
    /// Physical address of slot 0.
    pub address: u64,
    /// Bytes, a multiple of 4 KiB.
    pub bytes: u64,
}

impl Queue {
    /// The queue that GITS_CBASER describes, whether Valid or not.
    pub const fn new(cbaser: Cbaser) -> Self {
        Self { address: cbaser.address(), bytes: cbaser.bytes() }
    }

    /// The offset of the slot after the one at `offset`; the last is followed by the first.
    pub const fn after(self, offset: u64) -> u64 {
        let next = offset.wrapping_add(COMMAND_BYTES);
        if next >= self.bytes { 0 } else { next }
    }

    /// Slots from `from` forward to `to`, around the ring.
    pub const fn distance(self, from: u64, to: u64) -> u64 {
        let bytes = if to >= from {
            to.wrapping_sub(from)
        } else {
            self.bytes.wrapping_sub(from).wrapping_add(to)
        };
        bytes / COMMAND_BYTES
    }

    /// Physical address of the slot at `offset`.
    pub const fn slot(self, offset: u64) -> u64 {
        self.address.wrapping_add(offset)
    }
}

/// Bytes in an ITT: 2^(Size+1) entries. `size` is MAPD's Size field, 0 to 31.
pub const fn itt_bytes(size: u8, entry_bytes: u64) -> u64 {
    (2_u64 << (size & 0x1f)).saturating_mul(entry_bytes)
}

/// A run of whole 4 KiB pages.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Pages {
    /// Page frame number of the first: its physical address / 4096.
    pub first: u64,
    /// How many.
    pub count: u64,
}

impl Pages {
    /// The pages under `bytes` at `address`: ceil((address mod 4096 + bytes) / 4096) of them.
    pub const fn under(address: u64, bytes: u64) -> Self {
        let first = address / PAGE_BYTES;
        let within = address % PAGE_BYTES;
        Self { first, count: within.saturating_add(bytes).div_ceil(PAGE_BYTES) }
    }

    /// The page frame numbers in order.
    pub fn iter(self) -> impl DoubleEndedIterator<Item = u64> + ExactSizeIterator + use<> {
        let count = usize::try_from(self.count).unwrap_or(usize::MAX);
        (0..count).map(move |index| self.first.wrapping_add(index as u64))
    }

    /// Whether a page frame number is among them.
    pub const fn contains(self, page: u64) -> bool {
        page >= self.first && page.wrapping_sub(self.first) < self.count
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn two_level(page_size: PageSize, entry_bytes: u64) -> Table {
        Table {
            address: 0x8_0020_0000,
            bytes: page_size.bytes(),
            page_size,
            entry_bytes,
            indirect: true,
        }
    }

    #[test]
    fn fold_keeps_52_bits_with_64k_pages() {
        assert_eq!(PageSize::K64.fold(0xa_1234_5678_0000), 0x1234_5678_a000);
        assert_eq!(PageSize::K64.unfold(0x1234_5678_a000), 0xa_1234_5678_0000);
        assert_eq!(PageSize::K16.unfold(0x1234_5678_f000), 0x1234_5678_c000);
        assert_eq!(PageSize::K4.fold(0xa_1234_5678_9abc), 0x1234_5678_9000);
    }

    #[test]
    fn worked_level_one_reach() {
        let worked = [
            (PageSize::K64, 8, 8192, 67_108_864),
            (PageSize::K4, 8, 512, 262_144),
            (PageSize::K64, 16, 4096, 33_554_432),
            (PageSize::K4, 16, 256, 131_072),
        ];
        for (page_size, entry_bytes, per_page, reach) in worked {
            let table = two_level(page_size, entry_bytes);
            assert_eq!(table.entries_per_page(), per_page);
            assert_eq!(table.capacity(), reach);
        }
    }

    #[test]
    fn entries_are_found_in_both_shapes() {
        let table = two_level(PageSize::K4, 16);
        let found = table.locate(0x1_0203);
        // 256 entries to a page: index 0x102, entry 3.
        assert_eq!(
            found,
            Location::Indirect { level1_entry: 0x8_0020_0000 + 0x102 * 8, offset: 3 * 16 }
        );
        assert_eq!(table.level1_index(0x1_0203), 0x102);
        let flat = Table { indirect: false, ..table };
        assert_eq!(flat.locate(255), Location::Flat(0x8_0020_0ff0));
        // 12-byte entries: 341 of them in 4 KiB, and none across the end of a page of two levels.
        let odd = Table { entry_bytes: 12, ..table };
        assert_eq!(odd.entries_per_page(), 341);
        assert_eq!(odd.locate(342), Location::Indirect { level1_entry: 0x8_0020_0008, offset: 12 });
    }

    #[test]
    fn level_one_entries_at_each_page_size() {
        let entry = Level1Entry(0x800a_1234_5678_f001);
        assert!(entry.is_valid());
        assert_eq!(entry.address(PageSize::K4), 0xa_1234_5678_f000);
        assert_eq!(entry.address(PageSize::K16), 0xa_1234_5678_c000);
        assert_eq!(entry.address(PageSize::K64), 0xa_1234_5678_0000);
        assert_eq!(entry.other_bits(PageSize::K4), 1);
        assert_eq!(entry.other_bits(PageSize::K64), 0xf001);
        assert_eq!(Level1Entry::valid(0xa_1234_5678_0000).other_bits(PageSize::K64), 0);
    }

    #[test]
    fn worked_itt_sizes_and_pages() {
        assert_eq!(itt_bytes(4, 8), 256);
        assert_eq!(itt_bytes(4, 12), 384);
        assert_eq!(itt_bytes(15, 8), 524_288);
        let pages =
            |offset: u64, size: u8| Pages::under(0x8_4001_0000 + offset, itt_bytes(size, 8)).count;
        assert_eq!(pages(0xf00, 5), 2);
        assert_eq!(pages(0x900, 7), 2);
        assert_eq!(pages(0, 8), 1);
        assert_eq!(pages(0, 15), 128);
        // The largest ITT that policy allows, at the worst offset.
        assert_eq!(Pages::under(0x8_4001_0f00, itt_bytes(15, 16)).count, 257);
    }

    #[test]
    fn the_queue_is_a_ring() {
        let queue = Queue { address: 0x8_0010_0000, bytes: 0x1_0000 };
        assert_eq!(queue.after(0xffe0), 0);
        assert_eq!(queue.distance(0xffe0, 0x20), 2);
        assert_eq!(queue.distance(0x40, 0x40), 0);
        assert_eq!(queue.slot(0x40), 0x8_0010_0040);
    }
}
