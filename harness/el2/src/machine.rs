//! A machine as its public facts: what a host or a hypervisor could find out at boot.

use its_gic::Typer;
use its_gic::geometry::{PageSize, Pages};

use crate::freedom::Choices;
use crate::freedom::choice::{IcidWidth, PageSizeField};

/// When the physical ITS works through its queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Pace {
    /// All of it, before the access that posted it completes.
    AtOnce,
    /// One command for each register access that it sees.
    Late,
    /// Only when the scenario says so ([`Action::Advance`](crate::Action::Advance)).
    Never,
}

/// What kind of ITS the board has. Every value is legal hardware.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Character {
    /// EventID bits, 1 to 32 (TYPER.ID_bits + 1).
    pub event_id_bits: u8,
    /// DeviceID bits, 1 to 32 (TYPER.Devbits + 1).
    pub device_id_bits: u8,
    /// ICID bits, 1 to 16; 16 is told by TYPER.CIL = 0 unless [`IcidWidth`] says otherwise.
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

impl Character {
    /// The page size of its tables once a driver has asked for the largest that
    /// `GITS_BASER<n>`.Page_Size takes.
    pub fn largest_page_size(self) -> PageSize {
        match self.choices.picks(PageSizeField::Writable) {
            true => PageSize::K64,
            false => self.page_size,
        }
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

/// ITSs that a board can have.
pub const MAX_ITS: usize = 2;

/// The public facts of a board.
#[derive(Clone, Copy, Debug)]
pub struct Machine {
    /// Of each ITS; of those that the board does not have, anything.
    pub characters: [Character; MAX_ITS],
    /// INTID bits that the GIC has, 14 to 24 (GICD_TYPER.IDbits + 1).
    pub intid_bits: u8,
    /// Regions of memory; adjacent ones are still apart.
    pub memory: &'static [Pages],
    /// Pages that are EL2's from boot.
    pub el2: &'static [Pages],
    /// Linear-map address = physical address + this, for all memory.
    pub linear_map: u64,
    /// Physical addresses of the ITSs' control frames; the translation frame follows each.
    pub its: &'static [u64],
    /// Physical addresses of RD_base; the n-th has processor number n and belongs to CPU n.
    pub redistributors: &'static [u64],
}

impl Machine {
    /// What kind of ITS the n-th is.
    pub fn character(&self, its: u8) -> Character {
        let [first, ..] = self.characters;
        let found = self.characters.get(usize::from(its));
        found.copied().unwrap_or(first)
    }

    /// RDbase of the n-th redistributor, as commands of an ITS carry it: see TYPER.PTA.
    pub fn rdbase(&self, its: u8, redistributor: u8) -> u64 {
        let address = self.redistributors.get(usize::from(redistributor));
        if self.character(its).redistributor_addresses {
            address.copied().unwrap_or(0) >> 16
        } else {
            u64::from(redistributor)
        }
    }

    /// The redistributor that an RDbase of an ITS's command names.
    pub fn redistributor(&self, its: u8, rdbase: u64) -> Option<u8> {
        (0..=u8::MAX)
            .take(self.redistributors.len())
            .find(|index| self.rdbase(its, *index) == rdbase)
    }

    /// The same for an ITS to which the bits beyond a processor number mean nothing
    /// ([`WideRdbase`](crate::freedom::choice::WideRdbase)).
    pub fn redistributor_of_low_bits(&self, its: u8, rdbase: u64) -> Option<u8> {
        let processor_number = 0xffff;
        match self.character(its).redistributor_addresses {
            true => self.redistributor(its, rdbase),
            false => self.redistributor(its, rdbase & processor_number),
        }
    }

    /// Whether all of `bytes` at `address` is memory, in one region.
    pub fn is_memory(&self, address: u64, bytes: u64) -> bool {
        let pages = Pages::under(address, bytes.max(1));
        let end = pages.first.saturating_add(pages.count);
        self.memory.iter().any(|region| {
            region.contains(pages.first) && end <= region.first.wrapping_add(region.count)
        })
    }
}
