//! The part of a redistributor that concerns LPIs (GICR_*), offsets from RD_base.

use bitfield_struct::bitfield;

/// Bytes of one redistributor's frames: RD_base, SGI_base, VLPI_base and a reserved one.
pub const FRAMES_BYTES: u64 = 0x4_0000;
/// Bytes from RD_base to the VLPI frame.
pub const VLPI_FRAME: u64 = 0x2_0000;
/// GICR_CTLR, 32 bits.
pub const CTLR: u64 = 0x0000;
/// GICR_TYPER, 64 bits, read-only.
pub const TYPER: u64 = 0x0008;
/// GICR_WAKER, 32 bits.
pub const WAKER: u64 = 0x0014;
/// GICR_PROPBASER, 64 bits.
pub const PROPBASER: u64 = 0x0070;
/// GICR_PENDBASER, 64 bits.
pub const PENDBASER: u64 = 0x0078;
/// GICR_INVLPIR, 64 bits, write-only: forgets the cached configuration of the LPI in bits \[31:0\].
pub const INVLPIR: u64 = 0x00a0;
/// GICR_INVALLR, 64 bits, write-only: forgets all cached configuration.
pub const INVALLR: u64 = 0x00b0;
/// GICR_SYNCR, 32 bits, read-only: bit 0 is 1 while one of those two is at work.
pub const SYNCR: u64 = 0x00c0;

/// The first INTID that is an LPI.
pub const FIRST_LPI: u32 = 8192;

/// GICR_CTLR.
#[bitfield(u32)]
#[derive(PartialEq, Eq)]
pub struct RedistributorCtlr {
    pub enable_lpis: bool,
    /// Read-only: EnableLPIs can be cleared.
    pub ces: bool,
    /// Read-only: GICR_INVLPIR, GICR_INVALLR and GICR_SYNCR are present.
    pub ir: bool,
    /// Read-only: a write is still in progress.
    pub rwp: bool,
    #[bits(20)]
    __: u32,
    pub dpg0: bool,
    pub dpg1ns: bool,
    pub dpg1s: bool,
    #[bits(4)]
    __: u8,
    pub uwp: bool,
}

/// GICR_PROPBASER: the LPI configuration table.
#[bitfield(u64)]
#[derive(PartialEq, Eq)]
pub struct Propbaser {
    /// INTID bits, minus 1.
    #[bits(5)]
    pub id_bits: u8,
    #[bits(2)]
    __: u8,
    #[bits(3)]
    pub inner_cache: u8,
    #[bits(2)]
    pub shareability: u8,
    /// Bits \[51:12\] of the table's address.
    #[bits(40)]
    pub page_number: u64,
    #[bits(4)]
    __: u8,
    #[bits(3)]
    pub outer_cache: u8,
    #[bits(5)]
    __: u8,
}

impl Propbaser {
    /// Physical address of the table.
    pub const fn address(self) -> u64 {
        self.page_number() << 12
    }

    /// Bytes in the table, one for each LPI: 2^(IDbits+1) - 8192, or 0 where that is negative.
    pub const fn bytes(self) -> u64 {
        intids(self.id_bits()).saturating_sub(FIRST_LPI as u64)
    }
}

/// GICR_PENDBASER: the LPI pending table.
#[bitfield(u64)]
#[derive(PartialEq, Eq)]
pub struct Pendbaser {
    #[bits(7)]
    __: u8,
    #[bits(3)]
    pub inner_cache: u8,
    #[bits(2)]
    pub shareability: u8,
    #[bits(4)]
    __: u8,
    /// Bits \[51:16\] of the table's address.
    #[bits(36)]
    pub block_number: u64,
    #[bits(4)]
    __: u8,
    #[bits(3)]
    pub outer_cache: u8,
    #[bits(3)]
    __: u8,
    /// Write-only: the table is all zero.
    pub ptz: bool,
    __: bool,
}

impl Pendbaser {
    /// Physical address of the table.
    pub const fn address(self) -> u64 {
        self.block_number() << 16
    }

    /// Bytes in a pending table for PROPBASER.IDbits = `id_bits`: one bit for each INTID, and at
    /// least the first KiB, which is IMPLEMENTATION DEFINED whatever IDbits says.
    pub const fn bytes(id_bits: u8) -> u64 {
        let bytes = intids(id_bits) >> 3;
        if bytes < 1024 { 1024 } else { bytes }
    }
}

/// The byte of an LPI in the configuration table, at the table's address + INTID - 8192.
#[bitfield(u8)]
#[derive(PartialEq, Eq)]
pub struct LpiConfiguration {
    pub enabled: bool,
    __: bool,
    /// Bits \[7:2\] of the priority; less is more urgent.
    #[bits(6)]
    pub priority: u8,
}

/// Address of the byte that configures an LPI, in a configuration table at `table`.
pub const fn configuration_address(table: u64, intid: u32) -> u64 {
    table.wrapping_add(intid as u64).wrapping_sub(FIRST_LPI as u64)
}

/// Address of the byte, and the bit in it, that say whether an LPI is pending, in a pending table
/// at `table`.
pub const fn pending_address(table: u64, intid: u32) -> (u64, u32) {
    (table.wrapping_add((intid >> 3) as u64), intid & 7)
}

/// How many INTIDs `id_bits` + 1 bits name.
pub const fn intids(id_bits: u8) -> u64 {
    2_u64 << (id_bits & 0x1f)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tables_of_a_16_bit_redistributor() {
        let propbaser = Propbaser::new().with_id_bits(15).with_page_number(0x8_0030_0000 >> 12);
        assert_eq!(propbaser.address(), 0x8_0030_0000);
        assert_eq!(propbaser.bytes(), 65536 - 8192);
        assert_eq!(Pendbaser::bytes(15), 8192);
        assert_eq!(Pendbaser::bytes(3), 1024);
        let pendbaser = Pendbaser::from_bits(0x4000_0008_0031_0000);
        assert_eq!(pendbaser.address(), 0x8_0031_0000);
        assert!(pendbaser.ptz());
        assert_eq!(configuration_address(0x8_0030_0000, 8199), 0x8_0030_0007);
        assert_eq!(pending_address(0x8_0031_0000, 8199), (0x8_0031_0400, 7));
        // As Linux writes it: priority 0xa0, the old Group-1 bit, disabled; then enabled.
        let byte = LpiConfiguration::from_bits(0xa2);
        assert!(!byte.enabled() && byte.priority() << 2 == 0xa0);
        assert!(LpiConfiguration::from_bits(0xa3).enabled());
    }
}
