//! Registers of the ITS control frame: where they are, how wide, and their fields.

use bitfield_struct::bitfield;

use crate::geometry::PageSize;

/// Bytes in one frame.
pub const FRAME_BYTES: u64 = 0x1_0000;
/// GITS_TRANSLATER, from the start of the translation frame.
pub const TRANSLATER: u64 = 0x40;
/// How many `GITS_BASER<n>` there are.
pub const BASER_COUNT: u8 = 8;

/// A register of the control frame (IHI 0069, ITS register map).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Register {
    /// GITS_CTLR, 32 bits.
    Ctlr,
    /// GITS_IIDR, 32 bits, read-only.
    Iidr,
    /// GITS_TYPER, 64 bits, read-only.
    Typer,
    /// GITS_MPAMIDR, 32 bits, read-only.
    Mpamidr,
    /// GITS_PARTIDR, 32 bits.
    Partidr,
    /// GITS_MPIDR, 32 bits, read-only.
    Mpidr,
    /// GITS_STATUSR, 32 bits.
    Statusr,
    /// GITS_UMSIR, 64 bits, read-only.
    Umsir,
    /// GITS_CBASER, 64 bits.
    Cbaser,
    /// GITS_CWRITER, 64 bits.
    Cwriter,
    /// GITS_CREADR, 64 bits, read-only.
    Creadr,
    /// `GITS_BASER<n>`, 64 bits; n is below [`BASER_COUNT`].
    Baser(u8),
    /// The identification registers (PIDR0 to PIDR7, CIDR0 to CIDR3), 32 bits, read-only; the
    /// offset within the frame.
    Identification(u16),
    /// Reserved or IMPLEMENTATION DEFINED: the offset rounded down to 4 bytes.
    Reserved(u16),
}

/// Which bits of a register an access names.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Part {
    /// All of it.
    Whole,
    /// Bits \[31:0\] of a 64-bit register.
    Low,
    /// Bits \[63:32\] of a 64-bit register.
    High,
}

impl Register {
    /// Returns the architecture's name, without an index.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Ctlr => "CTLR",
            Self::Iidr => "IIDR",
            Self::Typer => "TYPER",
            Self::Mpamidr => "MPAMIDR",
            Self::Partidr => "PARTIDR",
            Self::Mpidr => "MPIDR",
            Self::Statusr => "STATUSR",
            Self::Umsir => "UMSIR",
            Self::Cbaser => "CBASER",
            Self::Cwriter => "CWRITER",
            Self::Creadr => "CREADR",
            Self::Baser(_) => "BASER",
            Self::Identification(_) => "identification",
            Self::Reserved(_) => "reserved",
        }
    }

    /// The register that holds the byte at `offset` of the control frame; offsets wrap at 64 KiB.
    pub const fn at(offset: u64) -> Self {
        let offset = (offset & 0xffff) as u16;
        match offset & !3 {
            0x0000 => Self::Ctlr,
            0x0004 => Self::Iidr,
            0x0008 | 0x000c => Self::Typer,
            0x0010 => Self::Mpamidr,
            0x0014 => Self::Partidr,
            0x0018 => Self::Mpidr,
            0x0040 => Self::Statusr,
            0x0048 | 0x004c => Self::Umsir,
            0x0080 | 0x0084 => Self::Cbaser,
            0x0088 | 0x008c => Self::Cwriter,
            0x0090 | 0x0094 => Self::Creadr,
            word @ 0x0100..=0x013c => Self::Baser(((word >> 3) & 7) as u8),
            word @ 0xffd0..=0xfffc => Self::Identification(word),
            word => Self::Reserved(word),
        }
    }

    /// Bytes from the start of the control frame.
    pub const fn offset(self) -> u64 {
        match self {
            Self::Ctlr => 0x0000,
            Self::Iidr => 0x0004,
            Self::Typer => 0x0008,
            Self::Mpamidr => 0x0010,
            Self::Partidr => 0x0014,
            Self::Mpidr => 0x0018,
            Self::Statusr => 0x0040,
            Self::Umsir => 0x0048,
            Self::Cbaser => 0x0080,
            Self::Cwriter => 0x0088,
            Self::Creadr => 0x0090,
            Self::Baser(n) => 0x0100_u64.wrapping_add((n as u64 & 7) << 3),
            Self::Identification(word) | Self::Reserved(word) => word as u64,
        }
    }

    /// Width in bytes: 4 or 8.
    pub const fn width(self) -> u64 {
        match self {
            Self::Typer
            | Self::Umsir
            | Self::Cbaser
            | Self::Cwriter
            | Self::Creadr
            | Self::Baser(_) => 8,
            _ => 4,
        }
    }

    /// Whether the architecture lets both 32-bit halves be accessed on their own.
    pub const fn has_halves(self) -> bool {
        matches!(self, Self::Typer | Self::Cbaser | Self::Cwriter | Self::Creadr | Self::Baser(_))
    }

    /// The register and the bits that an access of `bytes` at `offset` names, or `None` where no
    /// register has that size and alignment.
    pub const fn select(offset: u64, bytes: u64) -> Option<(Self, Part)> {
        let register = Self::at(offset);
        let start = register.offset();
        match (register.width(), bytes) {
            (width, _) if width == bytes && offset == start => Some((register, Part::Whole)),
            (8, 4) if register.has_halves() && offset == start => Some((register, Part::Low)),
            (8, 4) if register.has_halves() && offset == start.wrapping_add(4) => {
                Some((register, Part::High))
            }
            _ => None,
        }
    }
}

impl Part {
    /// The accessed bits of `whole`, shifted down.
    pub const fn extract(self, whole: u64) -> u64 {
        match self {
            Self::Whole => whole,
            Self::Low => whole & 0xffff_ffff,
            Self::High => whole >> 32,
        }
    }

    /// `whole` with the accessed bits replaced by `value`.
    pub const fn insert(self, whole: u64, value: u64) -> u64 {
        match self {
            Self::Whole => value,
            Self::Low => (whole & !0xffff_ffff) | (value & 0xffff_ffff),
            Self::High => (whole & 0xffff_ffff) | (value << 32),
        }
    }
}

/// GITS_CTLR.
#[bitfield(u32)]
#[derive(PartialEq, Eq)]
pub struct Ctlr {
    /// The ITS translates and works through its queue.
    pub enabled: bool,
    /// IMPLEMENTATION DEFINED control; RES0 in GICv3.
    pub implementation_defined: bool,
    #[bits(2)]
    __: u8,
    /// GICv4 ITS number.
    #[bits(4)]
    pub its_number: u8,
    /// Interrupt on an unmapped MSI.
    pub umsi_irq: bool,
    #[bits(22)]
    __: u32,
    /// Read-only: nothing in flight, caches consistent with memory.
    pub quiescent: bool,
}

/// GITS_IIDR.
#[bitfield(u32)]
#[derive(PartialEq, Eq)]
pub struct Iidr {
    /// JEP106 code of the implementer.
    #[bits(12)]
    pub implementer: u16,
    #[bits(4)]
    pub revision: u8,
    #[bits(4)]
    pub variant: u8,
    #[bits(4)]
    __: u8,
    pub product_id: u8,
}

/// GITS_TYPER.
#[bitfield(u64)]
#[derive(PartialEq, Eq)]
pub struct Typer {
    /// Physical LPIs are supported.
    pub physical: bool,
    /// Virtual LPIs are supported (GICv4).
    pub virtual_lpis: bool,
    /// Collections: 0, memory alone decides how many; 1, HCC and memory add up.
    pub cct: bool,
    __: bool,
    /// Bytes in an ITT entry, minus 1.
    #[bits(4)]
    pub itt_entry_size: u8,
    /// EventID bits, minus 1.
    #[bits(5)]
    pub id_bits: u8,
    /// DeviceID bits, minus 1.
    #[bits(5)]
    pub devbits: u8,
    /// The ITS can raise system errors.
    pub seis: bool,
    /// RDbase is 0: a processor number; 1: bits \[51:16\] of the redistributor's address.
    pub pta: bool,
    #[bits(4)]
    __: u8,
    /// Collections that the ITS holds without memory.
    pub hcc: u8,
    /// ICID bits, minus 1; meaningful when `cil` is set.
    #[bits(4)]
    pub cidbits: u8,
    /// ICIDs have `cidbits` + 1 bits instead of 16.
    pub cil: bool,
    pub vmovp: bool,
    pub mpam: bool,
    pub vsgi: bool,
    pub vmapp: bool,
    #[bits(2)]
    pub svpet: u8,
    pub nid: bool,
    pub umsi: bool,
    pub umsi_irq: bool,
    /// Caches are invalidated by clearing Enabled and then BASER.Valid.
    pub inv: bool,
    #[bits(17)]
    __: u32,
}

impl Typer {
    /// How many DeviceIDs there are: 2^(Devbits+1), 1 to 2^32.
    pub const fn device_ids(self) -> u64 {
        1_u64 << (self.devbits() as u32).wrapping_add(1)
    }

    /// How many EventIDs a device can have: 2^(ID_bits+1).
    pub const fn event_ids(self) -> u64 {
        1_u64 << (self.id_bits() as u32).wrapping_add(1)
    }

    /// How many ICIDs can be named: CIL ? 2^(CIDbits+1) : 65536.
    pub const fn collection_ids(self) -> u64 {
        if self.cil() { 1_u64 << (self.cidbits() as u32).wrapping_add(1) } else { 0x1_0000 }
    }

    /// Bytes in an ITT entry, 1 to 16.
    pub const fn itt_entry_bytes(self) -> u64 {
        (self.itt_entry_size() as u64).wrapping_add(1)
    }
}

/// GITS_CBASER.
#[bitfield(u64)]
#[derive(PartialEq, Eq)]
pub struct Cbaser {
    /// 4 KiB pages in the queue, minus 1.
    pub size: u8,
    #[bits(2)]
    __: u8,
    #[bits(2)]
    pub shareability: u8,
    /// Bits \[51:12\] of the queue's address.
    #[bits(40)]
    pub page_number: u64,
    __: bool,
    #[bits(3)]
    pub outer_cache: u8,
    #[bits(3)]
    __: u8,
    #[bits(3)]
    pub inner_cache: u8,
    __: bool,
    pub valid: bool,
}

impl Cbaser {
    /// The Valid bit.
    pub const VALID: u64 = 1 << 63;
    /// Every bit that software can write.
    pub const WRITABLE: u64 = 0xb8ef_ffff_ffff_fcff;

    /// Physical address of the queue.
    pub const fn address(self) -> u64 {
        self.page_number() << 12
    }

    /// Bytes in the queue: 4 KiB to 1 MiB.
    pub const fn bytes(self) -> u64 {
        (self.size() as u64).wrapping_add(1) << 12
    }
}

/// GITS_CWRITER.
#[bitfield(u64)]
#[derive(PartialEq, Eq)]
pub struct Cwriter {
    /// Write-only: restart a stalled queue.
    pub retry: bool,
    #[bits(4)]
    __: u8,
    /// The offset in the queue, in slots of 32 bytes.
    #[bits(15)]
    pub slot: u16,
    #[bits(44)]
    __: u64,
}

/// GITS_CREADR.
#[bitfield(u64)]
#[derive(PartialEq, Eq)]
pub struct Creadr {
    /// Stopped on a command error.
    pub stalled: bool,
    #[bits(4)]
    __: u8,
    /// The offset in the queue, in slots of 32 bytes.
    #[bits(15)]
    pub slot: u16,
    #[bits(44)]
    __: u64,
}

/// Bits \[19:5\] of GITS_CWRITER and GITS_CREADR: the offset in bytes.
pub const OFFSET_MASK: u64 = 0xf_ffe0;

impl Cwriter {
    /// The offset in the queue, in bytes.
    pub const fn offset(self) -> u64 {
        self.into_bits() & OFFSET_MASK
    }
}

impl Creadr {
    /// The offset in the queue, in bytes.
    pub const fn offset(self) -> u64 {
        self.into_bits() & OFFSET_MASK
    }
}

/// What a table holds: `GITS_BASER<n>`.Type.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum TableType {
    /// No table.
    Unimplemented,
    /// Device table.
    Devices,
    /// vPE table (GICv4).
    Vpes,
    /// Collection table.
    Collections,
    /// A reserved value.
    Reserved,
}

impl TableType {
    /// Returns the field's value; a reserved one has the highest.
    pub const fn field(self) -> u8 {
        match self {
            Self::Unimplemented => 0,
            Self::Devices => 1,
            Self::Vpes => 2,
            Self::Collections => 4,
            Self::Reserved => 7,
        }
    }
}

/// `GITS_BASER<n>`.
#[bitfield(u64)]
#[derive(PartialEq, Eq)]
pub struct Baser {
    /// ITS pages in the table (flat) or the level-1 table, minus 1.
    pub size: u8,
    /// 0: 4 KiB, 1: 16 KiB, 2 and 3: 64 KiB.
    #[bits(2)]
    pub page_size_field: u8,
    #[bits(2)]
    pub shareability: u8,
    /// Bits \[47:12\] of the register: the address, folded for 64 KiB pages.
    #[bits(36)]
    pub address_field: u64,
    /// Read-only: bytes in an entry, minus 1.
    #[bits(5)]
    pub entry_size: u8,
    #[bits(3)]
    pub outer_cache: u8,
    /// Read-only: see [`TableType`].
    #[bits(3)]
    pub type_field: u8,
    #[bits(3)]
    pub inner_cache: u8,
    /// Two levels.
    pub indirect: bool,
    pub valid: bool,
}

impl Baser {
    /// The Valid bit.
    pub const VALID: u64 = 1 << 63;
    /// Every bit that software can write: all but Type and Entry_Size.
    pub const WRITABLE: u64 = 0xf8e0_ffff_ffff_ffff;

    /// `GITS_BASER<n>`.Type.
    pub const fn table_type(self) -> TableType {
        match self.type_field() {
            0 => TableType::Unimplemented,
            1 => TableType::Devices,
            2 => TableType::Vpes,
            4 => TableType::Collections,
            _ => TableType::Reserved,
        }
    }

    /// `GITS_BASER<n>`.Page_Size.
    pub const fn page_size(self) -> PageSize {
        PageSize::from_field(self.page_size_field())
    }

    /// Bytes in one entry, 1 to 32.
    pub const fn entry_bytes(self) -> u64 {
        (self.entry_size() as u64).wrapping_add(1)
    }

    /// Bytes in the table (flat) or the level-1 table.
    pub const fn bytes(self) -> u64 {
        (self.size() as u64).wrapping_add(1).wrapping_mul(self.page_size().bytes())
    }

    /// Physical address of the table, unfolded (52 bits with 64 KiB pages, 48 otherwise).
    pub const fn address(self) -> u64 {
        self.page_size().unfold(self.into_bits() & 0xffff_ffff_f000)
    }

    /// This value with its address field set to `address`, folded for its page size. Bits that the
    /// page size cannot express are lost.
    #[must_use]
    pub const fn with_address(self, address: u64) -> Self {
        let field = self.page_size().fold(address);
        Self::from_bits((self.into_bits() & !0xffff_ffff_f000) | field)
    }
}

/// GITS_PIDR2.
#[bitfield(u32)]
#[derive(PartialEq, Eq)]
pub struct Pidr2 {
    #[bits(4)]
    pub implementation_defined: u8,
    /// 3: GICv3, 4: GICv4.
    #[bits(4)]
    pub architecture_revision: u8,
    #[bits(24)]
    __: u32,
}

impl Pidr2 {
    /// Bytes from the start of the control frame.
    pub const OFFSET: u64 = 0xffe8;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn worked_cbaser() {
        let cbaser = Cbaser::new()
            .with_page_number(0x8_0010_0000 >> 12)
            .with_size(15)
            .with_inner_cache(7)
            .with_shareability(1)
            .with_valid(true);
        assert_eq!(cbaser.into_bits(), 0xb800_0008_0010_040f);
        assert_eq!(cbaser.address(), 0x8_0010_0000);
        assert_eq!(cbaser.bytes(), 0x1_0000);
    }

    #[test]
    fn worked_baser() {
        let baser = Baser::new()
            .with_valid(true)
            .with_indirect(true)
            .with_inner_cache(7)
            .with_type_field(1)
            .with_entry_size(7)
            .with_shareability(1)
            .with_page_size_field(2)
            .with_address(0x8_0020_0000);
        assert_eq!(baser.into_bits(), 0xf907_0008_0020_0600);
        assert_eq!(baser.table_type(), TableType::Devices);
        assert_eq!(baser.address(), 0x8_0020_0000);
        assert_eq!(baser.bytes(), 0x1_0000);
    }

    #[test]
    fn writable_masks_leave_reserved_and_read_only_bits() {
        // CBASER: RES0 are [62], [58:56], [52], [9:8].
        assert_eq!(!Cbaser::WRITABLE, 1 << 62 | 7 << 56 | 1 << 52 | 3 << 8);
        // BASER: read-only are Type [58:56] and Entry_Size [52:48].
        assert_eq!(!Baser::WRITABLE, 7 << 56 | 0x1f << 48);
    }

    #[test]
    fn every_register_is_found_at_its_offset() {
        for offset in (0..FRAME_BYTES).step_by(4) {
            let register = Register::at(offset);
            let within = offset - register.offset();
            assert!(within < register.width(), "{offset:#x} is {register:?}");
        }
        assert_eq!(Register::at(0x138), Register::Baser(7));
        assert_eq!(Register::at(0x140), Register::Reserved(0x140));
        assert_eq!(Register::at(Pidr2::OFFSET), Register::Identification(0xffe8));
    }

    #[test]
    fn accesses_select_whole_registers_and_halves_only() {
        assert_eq!(Register::select(0x88, 8), Some((Register::Cwriter, Part::Whole)));
        assert_eq!(Register::select(0x88, 4), Some((Register::Cwriter, Part::Low)));
        assert_eq!(Register::select(0x8c, 4), Some((Register::Cwriter, Part::High)));
        assert_eq!(Register::select(0x8c, 8), None);
        assert_eq!(Register::select(0x00, 8), None);
        assert_eq!(Register::select(0x02, 2), None);
        assert_eq!(Register::select(0x4c, 4), None);
    }

    #[test]
    fn parts_put_back_what_they_take_out() {
        let whole = 0x0123_4567_89ab_cdef;
        for part in [Part::Whole, Part::Low, Part::High] {
            assert_eq!(part.insert(whole, part.extract(whole)), whole);
        }
        assert_eq!(Part::High.insert(whole, 0xffff_ffff), 0xffff_ffff_89ab_cdef);
    }
}
