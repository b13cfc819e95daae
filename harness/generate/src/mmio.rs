//! Phrases about accesses to registers: any size and offset in every frame, in every phase.

use crate::words::*;
use crate::{hostile, legal, several};

/// Traffic, and the phases that accesses meet.
#[rustfmt::skip]
pub(super) const LEGAL: &[Phrase] = &[
    legal::map_device, legal::map_event, legal::interrupt, legal::unmap, legal::read_registers,
    legal::read_registers, legal::reset_queue, several::sleep, several::other_its, legal::idle,
];

/// Accesses that no driver makes, and phases that it does not come to.
#[rustfmt::skip]
pub(super) const HOSTILE: &[Phrase] = &[
    near_a_register, near_a_register, near_a_register, written_in_halves, recorded_halves,
    hostile::odd_access, hostile::odd_cwriter, hostile::other_registers, at_rest, stopped, lost,
    hostile::refused_and_repaired, hostile::hypercalls, hostile::tampered, hostile::failing,
];

/// A frame of the board, the current ITS's more often.
fn frame(draft: &mut Draft<'_, '_>) -> Frame {
    let own = draft.frame();
    let last = match draft.expected.boot.its {
        1 => 4,
        _ => FRAMES.len(),
    };
    let any = draft.below(last as u64) as usize;
    let any = FRAMES.get(any).map_or(own, |(frame, _)| *frame);
    if draft.chance(1, 2) { own } else { any }
}

/// A CPU that reaches the hardware itself only reads: its writes are another target's.
fn access(
    draft: &mut Draft<'_, '_>,
    frame: Frame,
    (offset, size): (u32, AccessSize),
    value: Option<u64>,
) {
    let cpu = draft.cpu();
    let direction = match value {
        Some(value) if draft.expected.is_finalized(cpu) => Direction::Write(value),
        _ => Direction::Read,
    };
    draft.push(Operation::access(cpu, frame, (offset, size), direction));
}

fn value(draft: &mut Draft<'_, '_>) -> u64 {
    let word = draft.word();
    draft.pick(&[0, 1, u64::MAX, 1 << 63, word & 0xf_ffe0, word], 0)
}

/// On a register or a few bytes next to it, in any size.
fn near_a_register(draft: &mut Draft<'_, '_>) {
    for _ in 0..draft.between(1, 6) {
        let frame = frame(draft);
        let known: Vec<_> = registers(frame).map(|(_, offset, size)| (offset, size)).collect();
        let (offset, own) = draft.pick(&known, (0, AccessSize::Word));
        let away = draft.pick(&[0, 0, 0, 1, 2, 3, 4, 7, 8], 0);
        let size = if draft.chance(1, 2) { own } else { draft.pick(&SIZES, own) };
        let value = value(draft);
        let value = draft.chance(1, 2).then_some(value);
        access(draft, frame, (offset.saturating_add(away), size), value);
    }
}

/// Both halves of a register of 64 bits, in either order, then the whole.
fn written_in_halves(draft: &mut Draft<'_, '_>) {
    let frame = frame(draft);
    let known = registers(frame).filter(|(_, _, size)| *size == AccessSize::Double);
    let known: Vec<_> = known.map(|(_, offset, _)| offset).collect();
    let offset = draft.pick(&known, 0);
    let first = draft.below(2);
    for half in [first, 1_u64.saturating_sub(first)] {
        let value = value(draft);
        let at = offset.saturating_add((half as u32).saturating_mul(4));
        access(draft, frame, (at, AccessSize::Word), Some(value));
    }
    access(draft, frame, (offset, AccessSize::Double), None);
}

/// CBASER or a BASER in halves that hold what they should, or one bit else, mostly at rest.
fn recorded_halves(draft: &mut Draft<'_, '_>) {
    let cpu = draft.cpu();
    if !draft.expected.is_finalized(cpu) {
        return near_a_register(draft);
    }
    let rest = draft.chance(3, 4);
    if rest {
        draft.drain();
        draft.push(Operation::Suspend { cpu });
    }
    let mut register = draft.pick(&[0, 1, 2, 3, 7, 8, 8, 8], 8);
    for _ in 0..draft.between(1, 3) {
        if draft.chance(1, 4) {
            register = draft.pick(&[0, 1, 2, 3, 7, 8, 8, 8], 8);
        }
        let high = draft.chance(1, 2);
        let word = draft.word() & 0xffff_ffff;
        let flip = draft.pick(&[0, 0, 0, 1 << 31, 1 << 31, 1, word], 0);
        draft.push(Operation::WriteHalf { cpu, register, high, flip });
        draft.maybe(1, 2, |draft| draft.poll());
        draft.maybe(1, 3, legal::read_registers);
    }
    if rest {
        let (resume, enable) = (Operation::Resume { cpu }, Operation::Enable { cpu });
        draft.push_either((2, 3), resume, enable);
    }
}

/// Accesses while the ITS is at rest; the driver resumes.
fn at_rest(draft: &mut Draft<'_, '_>) {
    draft.suspended(|draft| {
        near_a_register(draft);
        if draft.chance(1, 2) {
            draft.lose_power();
            written_in_halves(draft);
        }
    });
}

/// Accesses while Enabled is 0 and nobody knows whether the ITS is quiescent.
fn stopped(draft: &mut Draft<'_, '_>) {
    let cpu = draft.cpu();
    draft.push(Operation::Disable { cpu });
    near_a_register(draft);
    draft.poll();
    draft.push(Operation::Resume { cpu });
}

/// Accesses after power was lost at work.
fn lost(draft: &mut Draft<'_, '_>) {
    several::power_loss(draft);
    near_a_register(draft);
    written_in_halves(draft);
}
