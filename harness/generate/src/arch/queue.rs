//! The queue where no driver has it: stalled, beyond its end, without a base, switched off.

use super::commands::on_event;
use super::driver;
use crate::legal::{idle, reset_queue};
use crate::words::*;

/// Several commands that may be refused in one batch; Retry, maybe with others in their slots.
pub(crate) fn stalled(draft: &mut Draft<'_, '_>) {
    draft.make_way();
    let count = draft.between(2, 4);
    for _ in 0..count {
        let device_id = draft.any_device();
        let event_id = draft.any_event(device_id);
        let odd = on_event(draft, device_id, event_id);
        draft.command(odd);
    }
    draft.settle();
    draft.read("CREADR");
    if draft.chance(1, 2) {
        draft.retry();
        draft.read("CREADR.low");
    }
    if draft.chance(1, 4) {
        // Submitted behind a stall.
        draft.harmless();
        draft.post();
        return reset_queue(draft);
    }
    draft.rewrite(count.saturating_sub(1));
    draft.drain();
}

/// GITS_CWRITER beyond the queue, in one write or by halves, and back.
pub(crate) fn odd_cwriter(draft: &mut Draft<'_, '_>) {
    draft.make_way();
    let bytes = draft.expected.queue_bytes();
    let beyond = [bytes, bytes.saturating_add(COMMAND_BYTES), 0xf_ffe0];
    let value = draft.pick(&beyond, bytes);
    let high = draft.word();
    match draft.below(8) {
        0 | 1 => draft.write("CWRITER", value),
        2 | 3 => draft.write("CWRITER.low", value),
        4 => draft.write("CWRITER", value | high << 32 | 0x1e),
        5 | 6 => draft.write("CWRITER.high", high),
        _ => {
            // What was in the queue before is in it again.
            let within = draft.below(bytes) & !31;
            draft.write("CWRITER", within);
            draft.drain();
            return reset_queue(draft);
        }
    }
    for name in ["CWRITER", "CREADR"] {
        draft.read(name);
    }
    draft.maybe(1, 2, |draft| draft.harmless());
    draft.post();
    idle(draft);
    draft.maybe(1, 3, reset_queue);
}

/// GITS_CBASER with other bits while the ITS is off, halves too; then as before.
pub(crate) fn other_base(draft: &mut Draft<'_, '_>) {
    draft.drain();
    draft.rest();
    let cpu = draft.cpu();
    for _ in 0..draft.between(1, 2) {
        let attributes = [1 << 59, 7 << 59, 1 << 53, 0x400, 0xc00, 1 << 62, 0x100];
        let others = [0x1000, 0x8000, 1 << 63, 0x1, 0xff];
        let flip =
            if draft.chance(1, 2) { draft.pick(&attributes, 0) } else { draft.pick(&others, 0) };
        match draft.below(3) {
            0 => draft.write("CBASER.high", 0),
            _ => draft.push(Operation::WriteCbaser { cpu, flip }),
        }
        for name in ["CBASER", "CBASER.high", "CREADR", "CWRITER.low"] {
            draft.maybe(1, 2, |draft| draft.read(name));
        }
    }
    draft.push(Operation::WriteCbaser { cpu, flip: 0 });
    draft.write("CWRITER", 0);
    draft.go_on();
    draft.harmless();
    draft.settle();
}

/// Switched off with work to do, and on again.
pub(crate) fn stopped(draft: &mut Draft<'_, '_>) {
    let Some((device, event)) = draft.mapped() else { return driver::event(draft) };
    let (device_id, event_id) = (device.device_id, event.event_id);
    draft.make_way();
    for _ in 0..draft.between(1, 4) {
        let command = if draft.chance(1, 2) {
            HostCommand::Int { device_id, event_id }
        } else {
            on_event(draft, device_id, event_id)
        };
        draft.command(command);
        draft.maybe(1, 2, |draft| draft.sync_event(device_id, event_id));
    }
    // The ITS may leave the last commands in the queue when it stops.
    draft.times(0, 4, |draft| draft.harmless());
    draft.post();
    draft.rest();
    draft.raise(device_id, event_id);
    if draft.chance(1, 2) {
        draft.harmless();
        draft.post();
        idle(draft);
    }
    for name in ["CTLR", "CREADR"] {
        draft.read(name);
    }
    draft.go_on();
    draft.drain();
    draft.deliver(device_id, event_id);
}

/// Halves of registers while commands are on their way.
pub(crate) fn halves(draft: &mut Draft<'_, '_>) {
    draft.make_way();
    draft.times(1, 4, |draft| draft.harmless());
    draft.post();
    #[rustfmt::skip]
    let names = [
        "CREADR.low", "CREADR.high", "CWRITER.low", "CWRITER.high", "CBASER.low", "CBASER.high",
        "BASER0.low", "BASER1.high", "TYPER.low", "TYPER.high", "CTLR", "STATUSR",
    ];
    let frame = draft.frame();
    for _ in 0..draft.between(2, 5) {
        let name = draft.pick(&names, "CREADR.low");
        draft.access(frame, name, Direction::Read);
    }
    if draft.chance(1, 3) {
        let (device_id, event_id) = (draft.any_device(), 0);
        let odd = on_event(draft, device_id, event_id);
        draft.command(odd);
        return draft.outlive();
    }
    draft.drain();
}
