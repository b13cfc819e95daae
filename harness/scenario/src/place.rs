//! Symbolic addresses: an area of the board, a page in it, bytes into that page.

use its_gic::geometry;

use crate::argument::Word;

/// Bytes in a page of the host and of EL2.
pub(crate) const PAGE_BYTES: u16 = geometry::PAGE_BYTES as u16;

/// What a run of pages is for. The board decides where it is.
///
/// The numbers stand in the binary form: they never change and are never reused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum Area {
    /// The host's copy of the command queue.
    QueueCopy = 0,
    /// The host's copy of a level-1 device table.
    DeviceTableCopy = 1,
    /// ITTs.
    Itt = 2,
    /// Level-2 tables, in blocks of 16 pages that start at a multiple of 64 KiB.
    Level2 = 3,
    /// Memory of the host without a purpose.
    Host = 4,
    /// Memory of the host above 2^48.
    High = 5,
    /// The descriptor of the set-up hypercall.
    Descriptor = 6,
    /// The list of live devices of the set-up hypercall.
    LiveList = 7,
    /// What the host gives EL2 for its records.
    Private = 8,
    /// The queue that the physical ITS reads.
    Queue = 9,
    /// The device table, flat or level 1, that the physical ITS reads.
    DeviceTable = 10,
    /// The collection table.
    CollectionTable = 11,
    /// LPI configuration table.
    Configuration = 12,
    /// LPI pending tables, 16 pages a redistributor.
    Pending = 13,
    /// EL2's from boot.
    El2 = 14,
    /// No memory.
    Hole = 15,
    // 16 is an absolute place.
    /// The queue of the second ITS.
    Queue1 = 17,
    /// The device table of the second ITS.
    DeviceTable1 = 18,
    /// The collection table of the second ITS.
    CollectionTable1 = 19,
    /// The host's copy of the command queue of the second ITS.
    QueueCopy1 = 20,
    /// The host's copy of a level-1 device table of the second ITS.
    DeviceTableCopy1 = 21,
    /// The host's copy of a level-1 collection table.
    CollectionTableCopy = 22,
    /// The same of the second ITS.
    CollectionTableCopy1 = 23,
    /// The descriptor of the set-up hypercall for the second ITS.
    Descriptor1 = 24,
    /// The list of live devices of the second ITS.
    LiveList1 = 25,
    /// What the host gives EL2 for its records of the second ITS.
    Private1 = 26,
}

impl Area {
    /// All of them, by number.
    pub const ALL: [Self; 26] = [
        Self::QueueCopy,
        Self::DeviceTableCopy,
        Self::Itt,
        Self::Level2,
        Self::Host,
        Self::High,
        Self::Descriptor,
        Self::LiveList,
        Self::Private,
        Self::Queue,
        Self::DeviceTable,
        Self::CollectionTable,
        Self::Configuration,
        Self::Pending,
        Self::El2,
        Self::Hole,
        Self::Queue1,
        Self::DeviceTable1,
        Self::CollectionTable1,
        Self::QueueCopy1,
        Self::DeviceTableCopy1,
        Self::CollectionTableCopy,
        Self::CollectionTableCopy1,
        Self::Descriptor1,
        Self::LiveList1,
        Self::Private1,
    ];

    /// Whether only a board with two ITSs uses it.
    pub(crate) const fn is_second(self) -> bool {
        matches!(
            self,
            Self::Queue1
                | Self::DeviceTable1
                | Self::CollectionTable1
                | Self::QueueCopy1
                | Self::DeviceTableCopy1
                | Self::CollectionTableCopy1
                | Self::Descriptor1
                | Self::LiveList1
                | Self::Private1
        )
    }

    /// What serves the n-th ITS as this area, one of the first's, serves the first.
    #[must_use]
    pub const fn of_its(self, its: u8) -> Self {
        match self {
            _ if its == 0 => self,
            Self::Queue => Self::Queue1,
            Self::DeviceTable => Self::DeviceTable1,
            Self::CollectionTable => Self::CollectionTable1,
            Self::QueueCopy => Self::QueueCopy1,
            Self::DeviceTableCopy => Self::DeviceTableCopy1,
            Self::CollectionTableCopy => Self::CollectionTableCopy1,
            Self::Descriptor => Self::Descriptor1,
            Self::LiveList => Self::LiveList1,
            Self::Private => Self::Private1,
            shared => shared,
        }
    }

    /// Its length in pages.
    pub const fn pages(self) -> u16 {
        match self {
            Self::QueueCopy | Self::QueueCopy1 | Self::Queue | Self::Queue1 => 16,
            Self::DeviceTableCopy
            | Self::DeviceTableCopy1
            | Self::DeviceTable
            | Self::DeviceTable1 => 32,
            Self::Itt => 320,
            Self::Level2 => 128,
            Self::Host => 64,
            Self::High => 48,
            Self::Descriptor | Self::Descriptor1 | Self::LiveList | Self::LiveList1 => 1,
            Self::Private | Self::Private1 => 4,
            Self::CollectionTable
            | Self::CollectionTable1
            | Self::CollectionTableCopy
            | Self::CollectionTableCopy1
            | Self::Configuration => 16,
            Self::Pending => 32,
            Self::El2 => 8,
            Self::Hole => 16,
        }
    }

    /// The name in the text form.
    pub const fn name(self) -> &'static str {
        match self {
            Self::QueueCopy => "queue-copy",
            Self::DeviceTableCopy => "device-table-copy",
            Self::Itt => "itt",
            Self::Level2 => "level2",
            Self::Host => "host",
            Self::High => "high",
            Self::Descriptor => "descriptor",
            Self::LiveList => "live-list",
            Self::Private => "private",
            Self::Queue => "queue",
            Self::DeviceTable => "device-table",
            Self::CollectionTable => "collection-table",
            Self::Configuration => "configuration",
            Self::Pending => "pending",
            Self::El2 => "el2",
            Self::Hole => "hole",
            Self::Queue1 => "queue1",
            Self::DeviceTable1 => "device-table1",
            Self::CollectionTable1 => "collection-table1",
            Self::QueueCopy1 => "queue-copy1",
            Self::DeviceTableCopy1 => "device-table-copy1",
            Self::CollectionTableCopy => "collection-table-copy",
            Self::CollectionTableCopy1 => "collection-table-copy1",
            Self::Descriptor1 => "descriptor1",
            Self::LiveList1 => "live-list1",
            Self::Private1 => "private1",
        }
    }

    /// The area of a number.
    fn numbered(number: u64) -> Option<Self> {
        let mut areas = Self::ALL.into_iter();
        areas.find(|area| *area as u64 == number)
    }
}

/// An address as scenarios write it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Place {
    /// The start of `area` + `page` * 4096 + `offset`.
    In {
        area: Area,
        /// Below [`Area::pages`].
        page: u16,
        /// Bytes, below 4096.
        offset: u16,
    },
    /// A physical address, 52 bits.
    Absolute(u64),
}

/// The top byte of a packed [`Place::Absolute`].
const ABSOLUTE: u64 = 16;
/// Numbers of areas and of absolute places; larger ones go around.
const NUMBERS: u64 = 27;
const ADDRESS: u64 = (1 << 52) - 1;

impl Place {
    /// The first byte of a page.
    pub const fn page(area: Area, page: u16) -> Self {
        Self::at(area, page, 0)
    }

    /// A byte of a page.
    pub const fn at(area: Area, page: u16, offset: u16) -> Self {
        Self::In { area, page, offset }
    }

    /// Rounded down to a multiple of `bytes`, a power of two up to 4096.
    #[must_use]
    pub const fn align_down(self, bytes: u16) -> Self {
        let mask = !(bytes.wrapping_sub(1) as u64);
        match self {
            Self::In { area, page, offset } => {
                Self::In { area, page, offset: offset & mask as u16 }
            }
            Self::Absolute(address) => Self::Absolute(address & mask),
        }
    }
}

impl Word for Place {
    /// As one word: the area's number (16: absolute) in bits \[63:56\], then the address, or the
    /// page in bits \[27:12\] and the offset in bits \[11:0\].
    fn pack(self) -> u64 {
        match self {
            Self::In { area, page, offset } => {
                (area as u64) << 56 | (page as u64) << 12 | (offset & (PAGE_BYTES - 1)) as u64
            }
            Self::Absolute(address) => ABSOLUTE << 56 | (address & ADDRESS),
        }
    }

    /// From a word, whatever it holds: a number out of range goes around.
    fn unpack(word: u64) -> Self {
        // The one number that is no area's is that of an absolute place.
        let Some(area) = Area::numbered((word >> 56) % NUMBERS) else {
            return Self::Absolute(word & ADDRESS);
        };
        let page = (word >> 12) as u16;
        Self::In {
            area,
            page: page.checked_rem(area.pages()).unwrap_or(0),
            offset: word as u16 & (PAGE_BYTES - 1),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use quickcheck::quickcheck;

    #[test]
    fn areas_keep_their_numbers_and_have_names_of_their_own() {
        let numbers = (0..NUMBERS).filter(|number| *number != ABSOLUTE);
        assert_eq!(numbers.clone().count(), Area::ALL.len());
        for (number, area) in numbers.zip(Area::ALL) {
            assert_eq!(area as u64, number);
            assert_eq!(Area::numbered(number), Some(area));
            let same = Area::ALL.iter().filter(|other| other.name() == area.name());
            assert_eq!(same.count(), 1, "{area:?}");
        }
    }

    #[test]
    fn packing_is_what_it_says() {
        let place = Place::at(Area::Itt, 3, 0x200);
        assert_eq!(place.pack(), 0x0200_0000_0000_3200);
        assert_eq!(Place::unpack(0x0200_0000_0000_3200), place);
        let absolute = Place::Absolute(0xf_ffff_ffff_ffff);
        assert_eq!(absolute.pack(), 0x100f_ffff_ffff_ffff);
        assert_eq!(Place::unpack(absolute.pack()), absolute);
        let second = Place::page(Area::Queue1, 15);
        assert_eq!(second.pack(), 0x1100_0000_0000_f000);
        assert_eq!(Area::numbered(ABSOLUTE), None);
    }

    quickcheck! {
        fn any_word_is_a_place_in_range(word: u64) -> bool {
            let place = Place::unpack(word);
            let fits = match place {
                Place::In { area, page, offset } => page < area.pages() && offset < PAGE_BYTES,
                Place::Absolute(address) => address < 1 << 52,
            };
            fits && Place::unpack(place.pack()) == place
        }
    }
}
