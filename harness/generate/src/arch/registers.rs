//! Accesses of every offset and size that change nothing.

use crate::words::*;

/// Reads of registers, of parts of them, and of what is none.
pub(crate) fn any_read(draft: &mut Draft<'_, '_>) {
    for _ in 0..draft.between(2, 6) {
        let frame = any_frame(draft);
        let at = any_offset(draft, frame);
        let size = draft.pick(&SIZES, AccessSize::Word);
        draft.access_at(frame, (at, size), Direction::Read);
    }
}

fn any_frame(draft: &mut Draft<'_, '_>) -> Frame {
    match draft.below(8) {
        0 => Frame::ItsTranslation(draft.expected.current),
        1 | 2 => draft.redistributor(),
        _ => draft.frame(),
    }
}

/// In a register, mostly at its start, or anywhere.
fn any_offset(draft: &mut Draft<'_, '_>, frame: Frame) -> u32 {
    let known: Vec<_> = registers(frame).map(|(_, offset, _)| offset).collect();
    let register = draft.pick(&known, 0);
    match draft.below(6) {
        0..=2 => register,
        3 => register.wrapping_add(draft.below(8) as u32),
        4 => draft.below(0x1000) as u32 & !3,
        _ => draft.below(0x1_0000) as u32 & !7,
    }
}

/// Writes to what is read-only or reserved, in its own size or another, and what became of it.
pub(crate) fn read_only(draft: &mut Draft<'_, '_>) {
    for _ in 0..draft.between(1, 4) {
        let value = draft.word();
        match draft.below(3) {
            0 => reserved(draft, value),
            1 => redistributor(draft, value),
            _ => identification(draft, value),
        }
    }
    draft.maybe(1, 2, |draft| draft.read("STATUSR"));
    if draft.chance(1, 4) {
        let frame = draft.frame();
        let bits = draft.below(64);
        draft.access(frame, "STATUSR", Direction::Write(bits));
        draft.read("STATUSR");
    }
}

fn identification(draft: &mut Draft<'_, '_>, value: u64) {
    #[rustfmt::skip]
    let names = [
        "TYPER", "TYPER.low", "TYPER.high", "CREADR", "CREADR.low", "IIDR", "PIDR2", "CIDR1",
        "MPIDR", "MPAMIDR", "UMSIR",
    ];
    let name = draft.pick(&names, "TYPER");
    let frame = draft.frame();
    let Some((offset, own)) = register_named(frame, name) else { return };
    let size = if draft.chance(1, 3) { draft.pick(&SIZES, own) } else { own };
    draft.access_at(frame, (offset, size), Direction::Write(value));
    draft.access_at(frame, (offset, own), Direction::Read);
}

/// Reserved, and not IMPLEMENTATION DEFINED either.
fn reserved(draft: &mut Draft<'_, '_>, value: u64) {
    let offsets = [0x60, 0x98, 0xa0, 0x140, 0x1000, 0x5000, 0xbffc];
    let at = (draft.pick(&offsets, 0x98), AccessSize::Word);
    let frame = draft.frame();
    draft.access_at(frame, at, Direction::Write(value));
    draft.access_at(frame, at, Direction::Read);
}

fn redistributor(draft: &mut Draft<'_, '_>, value: u64) {
    let frame = draft.redistributor();
    let name = draft.pick(&["TYPER", "TYPER.low", "SYNCR"], "TYPER");
    draft.write_and_read(frame, name, value);
}
