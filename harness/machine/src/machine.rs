//! A machine as its public facts: what a host or a hypervisor could find out at boot.

use its_gic::geometry::Pages;

use crate::area::{self, Area};
use crate::its::ItsConfiguration;

/// ITSs that a board can have.
pub const MAX_ITS: usize = 2;

/// The public facts of a board.
#[derive(Clone, Copy, Debug)]
pub struct Machine {
    /// Of each ITS; of those that the board does not have, anything.
    pub configurations: [ItsConfiguration; MAX_ITS],
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

/// CPUs of the board, each with a redistributor.
pub const CPUS: u8 = 2;
/// Physical addresses of the control frames of the ITSs that a board can have.
pub const ITS_FRAMES: [u64; MAX_ITS] = [0x0808_0000, 0x0812_0000];
/// Physical address of RD_base of each redistributor.
pub const REDISTRIBUTOR_FRAMES: [u64; CPUS as usize] = [0x080a_0000, 0x080e_0000];
/// The linear map covers all 52 bits.
const LINEAR_MAP: u64 = 0xfff0_0000_0000_0000;
/// INTID bits of the GIC: LPIs 8192 to 65535.
const INTID_BITS: u8 = 16;

static FRAMES: [u64; MAX_ITS] = ITS_FRAMES;
static EL2_PAGES: [Pages; 1] = [Area::EL2.run()];

impl Machine {
    /// Returns the facts of a board with `its` ITSs, 1 to [`MAX_ITS`], of these configurations.
    pub fn new(configurations: [ItsConfiguration; MAX_ITS], its: u8) -> Self {
        let count = usize::from(its).clamp(1, MAX_ITS);
        Self {
            configurations,
            intid_bits: INTID_BITS,
            memory: &area::MEMORY,
            el2: &EL2_PAGES,
            linear_map: LINEAR_MAP,
            its: FRAMES.get(..count).unwrap_or(&FRAMES),
            redistributors: &REDISTRIBUTOR_FRAMES,
        }
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
        match self.configuration(its).redistributor_addresses {
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
