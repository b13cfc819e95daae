//! Symbolic addresses: an area of the board, a page in it, bytes into that page.

use core::fmt;

use its_gic::geometry;

use crate::area::Area;

const PAGE_BYTES: u16 = geometry::PAGE_BYTES as u16;

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

    /// Returns the physical address.
    pub const fn address(self) -> u64 {
        match self {
            Self::In { area, page, offset } => area.page(page as u64).wrapping_add(offset as u64),
            Self::Absolute(address) => address,
        }
    }

    /// Returns the place of a physical address: in the area that has it, or absolute.
    pub fn of(address: u64) -> Self {
        let page = address >> 12;
        let found = Area::all().find(|area| area.run().contains(page));
        found.map_or(Self::Absolute(address), |area| {
            let page = page.wrapping_sub(area.first()) as u16;
            Self::at(area, page, address as u16 & (PAGE_BYTES - 1))
        })
    }
}

impl fmt::Display for Place {
    /// As scenarios write it: `itt[3]+0x200`, or the address.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::Absolute(address) => write!(f, "{address:#x}"),
            Self::In { area, page, offset: 0 } => write!(f, "{area}[{page}]"),
            Self::In { area, page, offset } => write!(f, "{area}[{page}]+{offset:#x}"),
        }
    }
}
