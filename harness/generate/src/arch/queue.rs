//! The queue where no driver has it: stalled, beyond its end, without a base, switched off.

use its_gic::command::COMMAND_BYTES;
use its_machine::Direction;
use its_scenario::{HostCommand, Operation};

use super::commands::on_event;
use super::driver;
use super::steps::{
    access, any_device, any_event, deliver, go_on, harmless, make_way, mapped, outlive, raise,
    read, rest, retry, rewrite, sync_event, write,
};
use crate::draft::Draft;
use crate::legal::{command, drain, idle, post, reset_queue};

/// Several commands that may be refused in one batch; Retry with and without other commands in
/// their slots.
pub(crate) fn stalled(draft: &mut Draft<'_, '_>) {
    make_way(draft);
    let count = draft.between(2, 4);
    for _ in 0..count {
        let device_id = any_device(draft);
        let event_id = any_event(draft, device_id);
        let odd = on_event(draft, device_id, event_id);
        command(draft, odd);
    }
    post(draft);
    drain(draft);
    read(draft, "CREADR");
    if draft.chance(1, 2) {
        retry(draft);
        read(draft, "CREADR.low");
    }
    if draft.chance(1, 4) {
        // Posted behind a stall.
        harmless(draft);
        post(draft);
        return reset_queue(draft);
    }
    rewrite(draft, count.saturating_sub(1));
    drain(draft);
}

/// GITS_CWRITER beyond the queue, in one write or by halves, and back.
pub(crate) fn odd_cwriter(draft: &mut Draft<'_, '_>) {
    make_way(draft);
    let bytes = u64::from(draft.belief.boot.queue_slots()).saturating_mul(COMMAND_BYTES);
    let beyond = [bytes, bytes.saturating_add(COMMAND_BYTES), 0xf_ffe0];
    let value = draft.pick(&beyond, bytes);
    let high = draft.word();
    match draft.below(8) {
        0 | 1 => write(draft, "CWRITER", value),
        2 | 3 => write(draft, "CWRITER.low", value),
        4 => write(draft, "CWRITER", value | high << 32 | 0x1e),
        5 | 6 => write(draft, "CWRITER.high", high),
        _ => {
            // What was in the queue before is in it again.
            let within = draft.below(bytes) & !31;
            write(draft, "CWRITER", within);
            drain(draft);
            return reset_queue(draft);
        }
    }
    for name in ["CWRITER", "CREADR"] {
        read(draft, name);
    }
    if draft.chance(1, 2) {
        harmless(draft);
    }
    post(draft);
    idle(draft);
    if draft.chance(1, 3) {
        reset_queue(draft);
    }
}

/// GITS_CBASER with other bits while the ITS is off, halves too; then as before.
pub(crate) fn other_base(draft: &mut Draft<'_, '_>) {
    drain(draft);
    rest(draft);
    let cpu = draft.cpu();
    for _ in 0..draft.between(1, 2) {
        let attributes = [1 << 59, 7 << 59, 1 << 53, 0x400, 0xc00, 1 << 62, 0x100];
        let others = [0x1000, 0x8000, 1 << 63, 0x1, 0xff];
        let flip = match draft.chance(1, 2) {
            true => draft.pick(&attributes, 0),
            false => draft.pick(&others, 0),
        };
        match draft.below(3) {
            0 => write(draft, "CBASER.high", 0),
            _ => draft.push(Operation::WriteCbaser { cpu, flip }),
        }
        for name in ["CBASER", "CBASER.high", "CREADR", "CWRITER.low"] {
            if draft.chance(1, 2) {
                read(draft, name);
            }
        }
    }
    draft.push(Operation::WriteCbaser { cpu, flip: 0 });
    write(draft, "CWRITER", 0);
    go_on(draft);
    harmless(draft);
    post(draft);
    drain(draft);
}

/// Switched off with work to do, and on again.
pub(crate) fn stopped(draft: &mut Draft<'_, '_>) {
    let Some((device, event)) = mapped(draft) else {
        return driver::event(draft);
    };
    let (device_id, event_id) = (device.device_id, event.event_id);
    make_way(draft);
    for _ in 0..draft.between(1, 4) {
        command(draft, HostCommand::Int { device_id, event_id });
        sync_event(draft, device_id, event_id);
    }
    post(draft);
    rest(draft);
    raise(draft, device_id, event_id);
    if draft.chance(1, 2) {
        harmless(draft);
        post(draft);
        idle(draft);
    }
    for name in ["CTLR", "CREADR"] {
        read(draft, name);
    }
    go_on(draft);
    drain(draft);
    deliver(draft, device_id, event_id);
}

/// Halves of registers while commands are on their way.
pub(crate) fn halves(draft: &mut Draft<'_, '_>) {
    make_way(draft);
    for _ in 0..draft.between(1, 4) {
        harmless(draft);
    }
    post(draft);
    let names = [
        "CREADR.low",
        "CREADR.high",
        "CWRITER.low",
        "CWRITER.high",
        "CBASER.low",
        "CBASER.high",
        "BASER0.low",
        "BASER1.high",
        "TYPER.low",
        "TYPER.high",
        "CTLR",
        "STATUSR",
    ];
    let frame = draft.frame();
    for _ in 0..draft.between(2, 5) {
        let name = draft.pick(&names, "CREADR.low");
        access(draft, frame, name, Direction::Read);
    }
    if draft.chance(1, 3) {
        let (device_id, event_id) = (any_device(draft), 0);
        let odd = on_event(draft, device_id, event_id);
        command(draft, odd);
        return outlive(draft);
    }
    drain(draft);
}
