//! Which register an address is, and its name.

use its_gic::redistributor as gicr;
use its_gic::register as gits;
use its_gic::{Part, Register};
use its_machine::Machine;

/// Returns whether two ranges, each an address and bytes, share a byte.
pub fn overlap(a: (u64, u64), b: (u64, u64)) -> bool {
    a.0 < b.0.saturating_add(b.1) && b.0 < a.0.saturating_add(a.1)
}

/// The register that an access of `bytes` at `offset` of a redistributor's frames names, as far as
/// LPIs go.
pub fn redistributor_register(offset: u64, bytes: u64) -> Option<(u64, Part)> {
    const WIDE: [u64; 5] =
        [gicr::TYPER, gicr::PROPBASER, gicr::PENDBASER, gicr::INVLPIR, gicr::INVALLR];
    match (offset, bytes) {
        (gicr::CTLR | gicr::SYNCR, 4) => Some((offset, Part::Whole)),
        (_, 8) if WIDE.contains(&offset) => Some((offset, Part::Whole)),
        (_, 4) if WIDE.contains(&offset) => Some((offset, Part::Low)),
        (_, 4) if offset & 4 != 0 && WIDE.contains(&(offset - 4)) => Some((offset - 4, Part::High)),
        _ => None,
    }
}

/// Which ITS, and the offset in its control and translation frames, an address belongs to.
pub fn its_at(machine: &Machine, address: u64) -> Option<(usize, u64)> {
    at(machine.its, 2 * gits::FRAME_BYTES, address)
}

/// Which redistributor, and the offset in its frames, an address belongs to.
pub fn redistributor_at(machine: &Machine, address: u64) -> Option<(usize, u64)> {
    at(machine.redistributors, gicr::FRAMES_BYTES, address)
}

fn at(bases: &[u64], bytes: u64, address: u64) -> Option<(usize, u64)> {
    let offset = |base: &u64| address.checked_sub(*base).filter(|offset| *offset < bytes);
    bases.iter().enumerate().find_map(|(index, base)| Some((index, offset(base)?)))
}

/// The register at an address: its row in the register table, and a path such as `its0.creadr`.
pub fn name(machine: &Machine, address: u64) -> (&'static str, String) {
    if let Some((its, offset)) = its_at(machine, address) {
        let row = if offset < gits::FRAME_BYTES {
            row(Register::at(offset))
        } else {
            "translation frame"
        };
        return (row, format!("its{its}.{}", row.to_lowercase()));
    }
    match redistributor_at(machine, address) {
        Some((n, offset)) => ("redistributors", format!("redistributor{n}+{offset:#x}")),
        None => ("no register", format!("{address:#x}")),
    }
}

/// The row of the register table.
pub(crate) fn row(register: Register) -> &'static str {
    match register {
        Register::Ctlr => "CTLR",
        Register::Cbaser => "CBASER",
        Register::Cwriter => "CWRITER",
        Register::Creadr => "CREADR",
        Register::Baser(_) => "BASER",
        Register::Typer => "TYPER",
        Register::Iidr => "IIDR",
        Register::Identification(_) => "identification",
        Register::Mpidr | Register::Mpamidr | Register::Umsir => "MPIDR MPAMIDR UMSIR",
        Register::Statusr | Register::Partidr | Register::Reserved(_) => "reserved",
    }
}
