//! Collections that move while interrupts are pending, or go while events name them.

use super::commands::on_event;
use super::driver;
use crate::tables;
use crate::words::*;

/// Interrupts are pending at some events, as many as there may be.
fn pend(draft: &mut Draft<'_, '_>) {
    for _ in 0..draft.between(1, 3) {
        if let Some((device, event)) = draft.mapped() {
            draft.raise(device.device_id, event.event_id);
        }
    }
}

/// MAPC to the other redistributor, with or without MOVALL.
pub(crate) fn moved(draft: &mut Draft<'_, '_>) {
    let Some((device, event)) = draft.mapped() else { return driver::event(draft) };
    let from = draft.expected.redistributor_of(device.device_id, event.event_id);
    let to = draft.other_cpu(from);
    draft.raise(device.device_id, event.event_id);
    pend(draft);
    draft.make_room(8);
    draft.command(mapc(event.icid, to, true));
    draft.command(sync(to));
    if draft.chance(1, 2) {
        draft.command(movall(from, to));
        draft.sync_with(from);
        draft.sync_with(to);
    }
    draft.settle();
    draft.acknowledge_all();
    draft.deliver(device.device_id, event.event_id);
}

/// MAPC V=0 of a collection with events; commands on them; mostly it comes back.
pub(crate) fn unmapped(draft: &mut Draft<'_, '_>) {
    let Some((device, event)) = draft.mapped() else { return driver::event(draft) };
    let (device_id, event_id) = (device.device_id, event.event_id);
    let redistributor = draft.expected.redistributor_of(device_id, event_id);
    draft.maybe(1, 2, |draft| draft.raise(device_id, event_id));
    draft.make_room(8);
    draft.command(mapc(event.icid, redistributor, false));
    draft.send(sync(redistributor));
    draft.drain();
    for _ in 0..draft.between(1, 3) {
        let odd = match draft.below(4) {
            0 => {
                let odd = draft.any_collection();
                let icid = draft.pick(&[event.icid ^ 1, odd], odd);
                HostCommand::Movi { device_id, event_id, icid }
            }
            1 => HostCommand::Invall { icid: event.icid },
            _ => on_event(draft, device_id, event_id),
        };
        draft.risk(odd);
        draft.raise(device_id, event_id);
    }
    draft.acknowledge_all();
    if draft.chance(4, 5) {
        draft.command(mapc(event.icid, redistributor, true));
        draft.send(sync(redistributor));
        draft.drain();
    }
    draft.deliver(device_id, event_id);
}

/// MOVALL with interrupts pending, to the other redistributor or to the same.
pub(crate) fn all_moved(draft: &mut Draft<'_, '_>) {
    pend(draft);
    let from = draft.any_cpu();
    let to = if draft.chance(1, 4) { from } else { draft.other_cpu(from) };
    draft.make_room(8);
    draft.command(movall(from, to));
    draft.sync_with(from);
    draft.send(sync(to));
    draft.drain();
    draft.acknowledge_all();
    draft.acknowledge_all();
}

fn movall(from: u8, to: u8) -> HostCommand {
    HostCommand::Movall { from_rdbase: Rdbase::Of(from), to_rdbase: Rdbase::Of(to) }
}

/// A collection behind a level-1 entry that the host makes valid.
pub(crate) fn far(draft: &mut Draft<'_, '_>) {
    tables::map_far_collection(draft, true);
}
