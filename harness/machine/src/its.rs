//! What kind of ITS there is.

use its_gic::Typer;
use its_gic::geometry::PageSize;

use crate::freedom::Choices;
use crate::freedom::choice::{IcidWidth, PageSizeField};

/// When the physical ITS works through its queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Pace {
    /// All of it, before the access that submitted it completes.
    AtOnce,
    /// One command for each register access that it sees.
    Late,
    /// Only when the scenario says so ([`Action::Advance`](crate::Action::Advance)).
    Never,
}

/// What kind of ITS the board has. Every value is legal hardware.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ItsConfiguration {
    /// EventID bits, 1 to 32 (TYPER.ID_bits + 1).
    pub event_id_bits: u8,
    /// DeviceID bits, 1 to 32 (TYPER.Devbits + 1).
    pub device_id_bits: u8,
    /// ICID bits, 1 to 16; 16 is TYPER.CIL = 0 unless [`IcidWidth`] says otherwise.
    pub collection_id_bits: u8,
    /// Collections held without memory (TYPER.HCC).
    pub hardware_collections: u8,
    /// Bytes in an ITT entry, 8 to 16.
    pub itt_entry_bytes: u8,
    /// Bytes in a device table entry, 8 or 16.
    pub device_entry_bytes: u8,
    /// Bytes in a collection table entry, 8 or 16.
    pub collection_entry_bytes: u8,
    /// Which of the six orders the fields of entries have, 0 to 5.
    pub field_order: u8,
    /// RDbase is an address (TYPER.PTA = 1), not a processor number.
    pub redistributor_addresses: bool,
    /// What `GITS_BASER<n>`.Page_Size is, or after a reset is: see [`PageSizeField`].
    pub page_size: PageSize,
    /// `GITS_BASER<n>`.Indirect sticks for the device table.
    pub two_level: bool,
    pub pace: Pace,
    /// HCC and the collection table add up (TYPER.CCT = 1), else the table alone counts where there
    /// is one.
    pub cumulative_collections: bool,
    /// `GITS_BASER<n>`.Indirect sticks for the collection table.
    pub two_level_collections: bool,
    /// Caches are invalidated by clearing Enabled and then BASER.Valid (TYPER.INV = 1).
    pub invalidates: bool,
    /// Which way it goes where the architecture leaves it a choice. Those of redistributors are the
    /// first ITS's.
    pub choices: Choices,
}

impl ItsConfiguration {
    /// An ITS like many: 16 bits everywhere, prompt and strict. The text form of scenarios leaves
    /// out what equals this, so it never changes.
    pub const DEFAULT: Self = Self {
        event_id_bits: 16,
        device_id_bits: 16,
        collection_id_bits: 16,
        hardware_collections: 0,
        itt_entry_bytes: 8,
        device_entry_bytes: 8,
        collection_entry_bytes: 8,
        field_order: 0,
        redistributor_addresses: false,
        page_size: PageSize::K64,
        two_level: true,
        pace: Pace::AtOnce,
        cumulative_collections: false,
        two_level_collections: false,
        invalidates: false,
        choices: Choices::USUAL,
    };

    /// The page size of its tables once a driver has asked for the largest that
    /// `GITS_BASER<n>`.Page_Size takes.
    pub fn largest_page_size(self) -> PageSize {
        if self.choices.picks(PageSizeField::Writable) { PageSize::K64 } else { self.page_size }
    }

    /// GITS_TYPER of this ITS.
    pub fn typer(self) -> Typer {
        let narrow = self.collection_id_bits < 16 || self.choices.picks(IcidWidth::Stated);
        Typer::new()
            .with_physical(true)
            .with_itt_entry_size(self.itt_entry_bytes.wrapping_sub(1) & 0xf)
            .with_id_bits(self.event_id_bits.wrapping_sub(1) & 0x1f)
            .with_devbits(self.device_id_bits.wrapping_sub(1) & 0x1f)
            .with_pta(self.redistributor_addresses)
            .with_hcc(self.hardware_collections)
            .with_cct(self.cumulative_collections)
            .with_inv(self.invalidates)
            .with_cil(narrow)
            .with_cidbits(if narrow { self.collection_id_bits.wrapping_sub(1) & 0xf } else { 0 })
    }
}
