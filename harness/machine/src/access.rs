//! Accesses to the registers of devices.

/// Size of one access.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum AccessSize {
    /// 8 bits
    Byte,
    /// 16 bits
    Half,
    /// 32 bits
    Word,
    /// 64 bits
    Double,
}

impl AccessSize {
    /// In bytes: 1, 2, 4 or 8.
    pub const fn bytes(self) -> u64 {
        match self {
            Self::Byte => 1,
            Self::Half => 2,
            Self::Word => 4,
            Self::Double => 8,
        }
    }

    /// `value` cut to this size.
    pub const fn truncate(self, value: u64) -> u64 {
        match self {
            Self::Byte => value & 0xff,
            Self::Half => value & 0xffff,
            Self::Word => value & 0xffff_ffff,
            Self::Double => value,
        }
    }
}

/// Which way an access goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Direction {
    Read,
    /// With the value written, cut to the access's size.
    Write(u64),
}

/// A trapped device region.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Frame {
    /// The control frame of the n-th ITS, 64 KiB.
    ItsControl(u8),
    /// The translation frame of the n-th ITS, 64 KiB.
    ItsTranslation(u8),
    /// All frames of the n-th redistributor, [`its_gic::redistributor::FRAMES_BYTES`].
    Redistributor(u8),
}
