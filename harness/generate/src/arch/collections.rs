//! Collections that move while interrupts are pending, or go while events name them.

use super::commands::{on_event, sync};
use super::driver;
use super::steps::{acknowledge_all, deliver, mapped, raise, risk, sync_with};
use crate::draft::Draft;
use crate::legal::{command, drain, make_room, post};
use its_scenario::{HostCommand, Rdbase};

/// Interrupts are pending at some events, as many as there may be.
fn pend(draft: &mut Draft<'_, '_>) {
    for _ in 0..draft.between(1, 3) {
        if let Some((device, event)) = mapped(draft) {
            raise(draft, device.device_id, event.event_id);
        }
    }
}

fn mapc(icid: u16, redistributor: u8, valid: bool) -> HostCommand {
    HostCommand::Mapc { icid, rdbase: Rdbase::Of(redistributor), valid }
}

/// MAPC to the other redistributor, with or without MOVALL.
pub(crate) fn moved(draft: &mut Draft<'_, '_>) {
    let Some((device, event)) = mapped(draft) else {
        return driver::event(draft);
    };
    let from = draft.belief.redistributor_of(device.device_id, event.event_id);
    let to = 1_u8.saturating_sub(from);
    raise(draft, device.device_id, event.event_id);
    pend(draft);
    make_room(draft, 8);
    command(draft, mapc(event.icid, to, true));
    command(draft, sync(to));
    if draft.chance(1, 2) {
        command(draft, movall(from, to));
        sync_with(draft, from);
        sync_with(draft, to);
    }
    post(draft);
    drain(draft);
    acknowledge_all(draft);
    deliver(draft, device.device_id, event.event_id);
}

/// MAPC V=0 of a collection with events; commands on them; mostly it comes back.
pub(crate) fn unmapped(draft: &mut Draft<'_, '_>) {
    let Some((device, event)) = mapped(draft) else {
        return driver::event(draft);
    };
    let (device_id, event_id) = (device.device_id, event.event_id);
    let redistributor = draft.belief.redistributor_of(device_id, event_id);
    if draft.chance(1, 2) {
        raise(draft, device_id, event_id);
    }
    make_room(draft, 8);
    command(draft, mapc(event.icid, redistributor, false));
    sync_with(draft, redistributor);
    post(draft);
    drain(draft);
    for _ in 0..draft.between(1, 3) {
        let odd = match draft.below(4) {
            0 => HostCommand::Movi { device_id, event_id, icid: event.icid ^ 1 },
            1 => HostCommand::Invall { icid: event.icid },
            _ => on_event(draft, device_id, event_id),
        };
        risk(draft, odd);
        raise(draft, device_id, event_id);
    }
    acknowledge_all(draft);
    if draft.chance(4, 5) {
        command(draft, mapc(event.icid, redistributor, true));
        sync_with(draft, redistributor);
        post(draft);
        drain(draft);
    }
    deliver(draft, device_id, event_id);
}

/// MOVALL with interrupts pending, to the other redistributor or to the same.
pub(crate) fn all_moved(draft: &mut Draft<'_, '_>) {
    pend(draft);
    let from = draft.below(2) as u8;
    let to = match draft.chance(1, 4) {
        true => from,
        false => 1_u8.saturating_sub(from),
    };
    make_room(draft, 8);
    command(draft, movall(from, to));
    sync_with(draft, from);
    sync_with(draft, to);
    post(draft);
    drain(draft);
    acknowledge_all(draft);
    acknowledge_all(draft);
}

fn movall(from: u8, to: u8) -> HostCommand {
    HostCommand::Movall { from_rdbase: Rdbase::Of(from), to_rdbase: Rdbase::Of(to) }
}
