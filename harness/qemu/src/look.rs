//! What can be seen of QEMU's ITS and redistributors at one moment.

use its_device::{SHOWN, Seen};
use its_gic::redistributor::{CTLR, PROPBASER, Pendbaser, Propbaser, RedistributorCtlr};
use its_gic::{Baser, Register};
use its_machine::AccessSize;

use crate::Error;
use crate::actions::pointers;
use crate::facts::{CPUS, ITS, redistributor};
use crate::memory::Memory;
use crate::qtest::{Answers, Batch};
use crate::tables;

/// The commands of a look.
pub(crate) fn send(batch: &mut Batch) {
    batch.read(AccessSize::Word, ITS + Register::Ctlr.offset());
    batch.read_bytes(ITS + Register::Iidr.offset(), 12);
    pointers(batch);
    batch.read_bytes(ITS + Register::Baser(0).offset(), 24);
    for number in 0..CPUS {
        batch.read(AccessSize::Word, redistributor(number) + CTLR);
        batch.read_bytes(redistributor(number) + PROPBASER, 16);
    }
}

/// Takes the answers, and reads tables from memory.
pub(crate) fn receive(answers: &mut Answers, memory: &Memory) -> Result<Seen, Error> {
    let ctlr = answers.value()?;
    let (iidr, typer) = iidr_and_typer(answers.bytes()?);
    let [cbaser, cwriter, creadr] = answers.words()?;
    let basers: [u64; 3] = answers.words()?;
    let [devices, collections, vpes] = basers;
    let values = [ctlr, iidr, typer, cbaser, cwriter, creadr, devices, collections, vpes];
    let registers = SHOWN.into_iter().zip(values).collect();
    let [devices, collections] = [devices, collections].map(Baser::from_bits);
    let translations = tables::translations(memory, devices, collections);
    let mut seen =
        Seen { registers, translations: translations.map_err(Error::Memory)?, ..Seen::default() };
    for _ in 0..CPUS {
        let mut pending = Vec::new();
        let control = RedistributorCtlr::from_bits(answers.value()? as u32);
        let [propbaser, pendbaser] = answers.words()?;
        if control.enable_lpis() {
            let propbaser = Propbaser::from_bits(propbaser);
            let pendbaser = Pendbaser::from_bits(pendbaser);
            pending = tables::pending(memory, propbaser, pendbaser).map_err(Error::Memory)?;
        }
        seen.pending.push(pending);
    }
    Ok(seen)
}

/// Two registers that follow each other, of 32 and of 64 bits.
fn iidr_and_typer(bytes: [u8; 12]) -> (u64, u64) {
    let all = bytes.iter().rev().fold(0_u128, |all, byte| all << 8 | u128::from(*byte));
    ((all & 0xffff_ffff) as u64, (all >> 32) as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn neighbours_differ() {
        let bytes = [0x3b, 4, 0, 0, 0xb1, 0xef, 1, 0, 0x1f, 0, 0, 0];
        assert_eq!(iidr_and_typer(bytes), (0x43b, 0x1f_0001_efb1));
    }
}
