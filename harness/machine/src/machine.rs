//! A machine as its public facts: what a host or a hypervisor could find out at boot.

use its_gic::geometry::Pages;
use its_gic::register::{BASER_COUNT, Baser, TableType};

use crate::area::{self, Area};
use crate::coherence::Coherence;
use crate::its::ItsConfiguration;

/// ITSs that a board can have.
pub const MAX_ITS: usize = 8;
/// CPUs that a board can have, each with a redistributor.
pub const MAX_CPUS: usize = 8;

/// How many devices a board has, how much memory, and how devices read it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Topology {
    /// ITSs, 1 to [`MAX_ITS`].
    pub its: u8,
    /// CPUs and redistributors, 1 to [`MAX_CPUS`].
    pub cpus: u8,
    /// GICR_TYPER.Processor_Number of each redistributor, all different.
    pub processor_numbers: [u8; MAX_CPUS],
    /// Pages of memory above 2^48: at most those of [`Area::HIGH`].
    pub high_pages: u16,
    /// Whether there is memory for the areas that [`Area::is_extra`] says.
    pub has_extra_memory: bool,
    /// GITS_BASER2.Type of each ITS. No ITS of a board uses that table.
    pub baser2: TableType,
    pub coherence: Coherence,
}

impl Topology {
    /// One ITS and two CPUs.
    pub const DEFAULT: Self = Self {
        its: 1,
        cpus: 2,
        processor_numbers: [0, 1, 2, 3, 4, 5, 6, 7],
        high_pages: Area::HIGH.pages(),
        has_extra_memory: false,
        baser2: TableType::Unimplemented,
        coherence: Coherence::UNSAID,
    };

    /// Returns the default with so many ITSs, 1 or 2.
    pub const fn with_its(its: u8) -> Self {
        Self { its, ..Self::DEFAULT }
    }
}

/// The public facts of a board.
#[derive(Clone, Copy, Debug)]
pub struct Machine {
    /// Of each ITS; of those that the board does not have, anything.
    pub configurations: [ItsConfiguration; MAX_ITS],
    /// INTID bits that the GIC has, 14 to 24 (GICD_TYPER.IDbits + 1).
    pub intid_bits: u8,
    /// Regions of memory, of which some may be empty; adjacent ones are still apart. They may end
    /// anywhere in a block of 64 KiB.
    pub memory: [Pages; 4],
    /// Pages that are EL2's from boot.
    pub el2: &'static [Pages],
    /// Linear-map address = physical address + this, for all memory.
    pub linear_map: u64,
    /// Physical addresses of the ITSs' control frames; the translation frame follows each.
    pub its: &'static [u64],
    /// Physical addresses of RD_base; the n-th belongs to CPU n.
    pub redistributors: &'static [u64],
    /// GICR_TYPER.Processor_Number of each redistributor; of those that are not there, anything.
    pub processor_numbers: [u8; MAX_CPUS],
    /// GITS_BASER2.Type of each ITS.
    pub baser2: TableType,
    pub coherence: Coherence,
}

/// Physical addresses of the control frames of the ITSs that a board can have.
pub static ITS_FRAMES: [u64; MAX_ITS] = [
    0x0808_0000,
    0x0812_0000,
    0x0820_0000,
    0x0822_0000,
    0x0824_0000,
    0x0826_0000,
    0x0828_0000,
    0x082a_0000,
];
/// Physical address of RD_base of each redistributor that a board can have.
pub static REDISTRIBUTOR_FRAMES: [u64; MAX_CPUS] = [
    0x080a_0000,
    0x080e_0000,
    0x0830_0000,
    0x0834_0000,
    0x0838_0000,
    0x083c_0000,
    0x0840_0000,
    0x0844_0000,
];
/// What a board's linear map adds to a physical address. It covers all 52 bits.
pub const LINEAR_MAP: u64 = 0xfff0_0000_0000_0000;
/// INTID bits of the GIC: LPIs 8192 to 65535.
const INTID_BITS: u8 = 16;

static EL2_PAGES: [Pages; 1] = [Area::EL2.run()];

impl Machine {
    /// Returns the facts of a board. Counts out of range are brought into it.
    pub fn new(configurations: [ItsConfiguration; MAX_ITS], topology: Topology) -> Self {
        Self {
            configurations,
            intid_bits: INTID_BITS,
            memory: area::memory(topology),
            el2: &EL2_PAGES,
            linear_map: LINEAR_MAP,
            its: first(&ITS_FRAMES, topology.its),
            redistributors: first(&REDISTRIBUTOR_FRAMES, topology.cpus),
            processor_numbers: topology.processor_numbers,
            baser2: topology.baser2,
            coherence: topology.coherence,
        }
    }

    /// Returns one region as [`Machine::memory`].
    pub const fn one_region(first: u64, count: u64) -> [Pages; 4] {
        let none = Pages { first: 0, count: 0 };
        [Pages { first, count }, none, none, none]
    }

    /// Returns the CPUs' numbers.
    pub fn cpus(&self) -> core::ops::Range<u8> {
        0..self.redistributors.len() as u8
    }

    /// Returns GICR_TYPER.Processor_Number of the n-th redistributor.
    pub fn processor_number(&self, redistributor: u8) -> u8 {
        self.processor_numbers.get(usize::from(redistributor)).copied().unwrap_or(redistributor)
    }

    /// Returns `GITS_BASER<n>` of the n-th ITS as reset leaves it, but for what is UNKNOWN: Type,
    /// Entry_Size, and Page_Size as [`ItsConfiguration::page_size`] says.
    pub fn reset_basers(&self, its: u8) -> [Baser; BASER_COUNT as usize] {
        let configuration = self.configuration(its);
        let table = |table_type: TableType, entry_bytes: u8| {
            Baser::new()
                .with_type_field(table_type.field())
                .with_entry_size(entry_bytes.wrapping_sub(1) & 0x1f)
                .with_page_size_field(configuration.page_size.field())
        };
        let none = Baser::new();
        let third = match self.baser2 {
            TableType::Unimplemented => none,
            table_type => table(table_type, 8),
        };
        let devices = table(TableType::Devices, configuration.device_entry_bytes);
        let collections = table(TableType::Collections, configuration.collection_entry_bytes);
        [devices, collections, third, none, none, none, none, none]
    }

    /// What kind of ITS the n-th is.
    pub fn configuration(&self, its: u8) -> ItsConfiguration {
        let [first, ..] = self.configurations;
        let found = self.configurations.get(usize::from(its));
        found.copied().unwrap_or(first)
    }

    /// RDbase of the n-th redistributor, as commands of an ITS carry it: see TYPER.PTA.
    pub fn rdbase(&self, its: u8, redistributor: u8) -> u64 {
        let address = self.redistributors.get(usize::from(redistributor));
        if self.configuration(its).redistributor_addresses {
            address.copied().unwrap_or(0) >> 16
        } else {
            self.processor_number(redistributor).into()
        }
    }

    /// The redistributor that an RDbase of an ITS's command names.
    pub fn redistributor(&self, its: u8, rdbase: u64) -> Option<u8> {
        self.cpus().find(|index| self.rdbase(its, *index) == rdbase)
    }

    /// The same for an ITS to which the bits beyond a processor number mean nothing
    /// ([`WideRdbase`](crate::freedom::choice::WideRdbase)).
    pub fn redistributor_of_low_bits(&self, its: u8, rdbase: u64) -> Option<u8> {
        let processor_number = 0xffff;
        if self.configuration(its).redistributor_addresses {
            self.redistributor(its, rdbase)
        } else {
            self.redistributor(its, rdbase & processor_number)
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

/// Returns the first so many, at least one, as far as there are.
fn first(frames: &'static [u64], count: u8) -> &'static [u64] {
    let count = usize::from(count).clamp(1, frames.len().max(1));
    frames.get(..count).unwrap_or(frames)
}
