//! The LPI side of redistributors: what the host may do to them, and the memory that they use.

use its_el2::{AccessSize, Direction, El2, Redistributor, Trap};
use its_gic::redistributor::{
    CTLR, FRAMES_BYTES, PENDBASER, PROPBASER, Pendbaser, Propbaser, RedistributorCtlr, TYPER,
    VLPI_FRAME,
};
use its_gic::register::FRAME_BYTES;
use its_gic::{Part, Typer};

use crate::memory::Span;

/// Registers of 64 bits: in RD_base TYPER, SETLPIR, CLRLPIR, PROPBASER, PENDBASER, INVLPIR and
/// INVALLR, in the VLPI frame VPROPBASER and VPENDBASER. All others have 32.
const DOUBLES: [u64; 9] = [
    TYPER,
    0x0040,
    0x0048,
    PROPBASER,
    PENDBASER,
    0x00a0,
    0x00b0,
    VLPI_FRAME | 0x0070,
    VLPI_FRAME | 0x0078,
];

/// Whether an RDbase, as commands carry it (DW2\[51:16\]), names a redistributor.
pub(crate) fn is_known<E: El2>(el2: &E, typer: Typer, rdbase: u64) -> bool {
    all(el2).any(|redistributor| {
        rdbase
            == if typer.pta() {
                redistributor.address >> 16
            } else {
                u64::from(redistributor.processor_number)
            }
    })
}

fn all<E: El2>(el2: &E) -> impl Iterator<Item = Redistributor> {
    (0..).map_while(|index| el2.redistributor(index))
}

pub(crate) fn count<E: El2>(el2: &E) -> usize {
    all(el2).count()
}

/// Configuration and pending table of the n-th redistributor, empty if its LPIs are off. Its
/// registers do not change once all CPUs are finalized, so that two calls agree.
pub(crate) fn tables<E: El2>(el2: &E, n: usize) -> [Span; 2] {
    let Some(Redistributor { address, .. }) = el2.redistributor(n) else {
        return [Span::EMPTY; 2];
    };
    let ctlr = el2.read_device(address.wrapping_add(CTLR), AccessSize::Word);
    if !RedistributorCtlr::from_bits(ctlr as u32).enable_lpis() {
        return [Span::EMPTY; 2];
    }
    let double = |offset| el2.read_device(address.wrapping_add(offset), AccessSize::Double);
    let configuration = Propbaser::from_bits(double(PROPBASER));
    let pending = Pendbaser::from_bits(double(PENDBASER));
    [
        Span { address: configuration.address(), bytes: configuration.bytes() },
        Span { address: pending.address(), bytes: Pendbaser::bytes(configuration.id_bits()) },
    ]
}

/// An access of a finalized CPU to the frames of the n-th redistributor. Returns the value read.
pub(crate) fn trap<E: El2>(el2: &E, n: u8, trap: Trap) -> u64 {
    let Some(redistributor) = el2.redistributor(usize::from(n)) else {
        return 0;
    };
    let Some((offset, size, part)) = select(trap.offset, trap.size) else {
        return 0;
    };
    let address = redistributor.address.wrapping_add(offset);
    match trap.direction {
        Direction::Read => part.extract(el2.read_device(address, size)),
        Direction::Write(value) => {
            write(el2, address, offset, size, part, value);
            0
        }
    }
}

fn write<E: El2>(el2: &E, address: u64, offset: u64, size: AccessSize, part: Part, value: u64) {
    let vlpi_frame = VLPI_FRAME..VLPI_FRAME.saturating_add(FRAME_BYTES);
    if vlpi_frame.contains(&offset) || offset == PROPBASER || offset == PENDBASER {
        return;
    }
    let value = match (offset, part) {
        (CTLR, _) => {
            let now = RedistributorCtlr::from_bits(el2.read_device(address, size) as u32);
            let wanted = RedistributorCtlr::from_bits(value as u32);
            u64::from(wanted.with_enable_lpis(now.enable_lpis()).into_bits())
        }
        // The registers of 64 bits that are left can only be written, with an INTID in their low
        // half.
        (_, Part::High) => return,
        _ => value,
    };
    el2.write_device(address, size, value);
}

/// The register that an access names: its offset, its size and which part of it. `None` for an
/// access of no register's size and alignment.
fn select(offset: u64, size: AccessSize) -> Option<(u64, AccessSize, Part)> {
    if offset >= FRAMES_BYTES || offset & size.bytes().wrapping_sub(1) != 0 {
        return None;
    }
    let start = offset & !7;
    match (DOUBLES.contains(&start), size) {
        (true, AccessSize::Double) => Some((start, size, Part::Whole)),
        (true, AccessSize::Word) => {
            let part = if offset == start { Part::Low } else { Part::High };
            Some((start, AccessSize::Double, part))
        }
        (false, AccessSize::Word) => Some((offset, size, Part::Whole)),
        _ => None,
    }
}
