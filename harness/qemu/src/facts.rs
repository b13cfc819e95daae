//! What QEMU's machine is: addresses of `virt` and the configuration of its ITS.

use its_gic::geometry::PageSize;
use its_machine::{Choices, ItsConfiguration, Pace};

/// The ITS's control frame (QEMU, `hw/arm/virt.c`: VIRT_GIC_ITS).
pub(crate) const ITS: u64 = 0x0808_0000;
/// GICD_CTLR.
pub(crate) const DISTRIBUTOR_CTLR: u64 = 0x0800_0000;
/// Affinity routing, one security state, Group 1 enabled.
pub(crate) const DISTRIBUTOR_ON: u64 = 0x52;
/// RD_base of the first redistributor (VIRT_GIC_REDIST).
const REDISTRIBUTOR: u64 = 0x080a_0000;
/// Bytes of one redistributor's frames: without VLPI frames.
pub(crate) const REDISTRIBUTOR_BYTES: u64 = 0x2_0000;
/// How many CPUs, and redistributors, are started.
pub(crate) const CPUS: usize = 2;
/// Where memory starts (VIRT_MEM).
pub(crate) const RAM: u64 = 0x4000_0000;
/// How much memory there is.
pub(crate) const RAM_BYTES: u64 = 0x8000_0000;
/// EventIDs, DeviceIDs and ICIDs have this many bits (`hw/intc/gicv3_internal.h`: ITS_IDBITS,
/// ITS_DEVBITS, ITS_CIDBITS).
pub(crate) const ID_BITS: u8 = 16;
/// INTIDs have this many bits (GICD_TYPER_IDBITS).
pub(crate) const INTID_BITS: u8 = 16;

/// Whether QEMU's memory has all of `bytes` at a physical address.
pub const fn is_memory(address: u64, bytes: u64) -> bool {
    address >= RAM && bytes <= RAM_BYTES && address - RAM <= RAM_BYTES - bytes
}

/// RD_base of the n-th redistributor.
pub(crate) const fn redistributor(number: usize) -> u64 {
    REDISTRIBUTOR + number as u64 * REDISTRIBUTOR_BYTES
}

/// The configuration of QEMU's ITS.
///
/// What is known of the options that it takes is the caller's, and so is the page size: all three
/// stick in a `GITS_BASER<n>`.
pub const fn configuration(page_size: PageSize, choices: Choices) -> ItsConfiguration {
    ItsConfiguration {
        event_id_bits: ID_BITS,
        device_id_bits: ID_BITS,
        collection_id_bits: ID_BITS,
        hardware_collections: 0,
        itt_entry_bytes: 12,
        device_entry_bytes: 8,
        collection_entry_bytes: 8,
        // QEMU's format is its own, none of the six.
        field_order: 0,
        redistributor_addresses: false,
        page_size,
        two_level: true,
        pace: Pace::AtOnce,
        cumulative_collections: false,
        two_level_collections: true,
        invalidates: false,
        choices,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_ends_where_it_ends() {
        let end = RAM + RAM_BYTES;
        assert!(is_memory(RAM, RAM_BYTES) && is_memory(end - 8, 8));
        assert!(!is_memory(RAM - 8, 8) && !is_memory(end - 4, 8));
        assert!(!is_memory(u64::MAX - 7, 8));
    }
}
