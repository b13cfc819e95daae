//! Devices and events that are mapped twice, unmapped too early or too large. No ITT ever belonged
//! to another device.

use super::commands::{on_event, sync};
use super::steps::{acknowledge_all, any_intid, deliver, mapped, raise, risk, sync_event};
use super::{driver, raw};
use crate::draft::Draft;
use crate::expected::Device;
use crate::legal::{
    command, drain, make_room, map_device, new_device, new_itt, post, some_collection, some_device,
};
use its_machine::Place;
use its_scenario::HostCommand;

/// MAPTI over an event that is mapped, to the same or to something else.
pub(crate) fn event_again(draft: &mut Draft<'_, '_>) {
    let Some((device, event)) = mapped(draft) else {
        return driver::event(draft);
    };
    let (device_id, event_id) = (device.device_id, event.event_id);
    if draft.chance(1, 3) {
        raise(draft, device_id, event_id);
    }
    let (icid, _) = some_collection(draft);
    let (intid, icid) = match draft.below(4) {
        0 => (event.intid, event.icid),
        1 => (event.intid, icid),
        2 => (any_intid(draft), event.icid),
        _ => (draft.belief.next_intid, icid),
    };
    risk(draft, HostCommand::Mapti { device_id, event_id, intid, icid });
    sync_event(draft, device_id, event_id);
    post(draft);
    drain(draft);
    deliver(draft, device_id, event_id);
    acknowledge_all(draft);
}

/// MAPD of a device that is mapped: with the same ITT, no larger than before, or a new one.
pub(crate) fn device_again(draft: &mut Draft<'_, '_>) {
    let Some(device) = some_device(draft) else {
        return map_device(draft);
    };
    let bits = match draft.chance(1, 2) {
        true => device.event_id_bits,
        false => draft.between(1, device.event_id_bits.into()) as u8,
    };
    let fresh = match draft.chance(1, 2) {
        true => new_itt(draft, bits),
        false => None,
    };
    risk(draft, mapd(&device, bits, fresh.unwrap_or(device.itt), true));
    probe_events(draft, &device);
    map_one(draft, &device);
}

/// MAPD V=0 of a device with events; then it may come back, at the same ITT or another.
pub(crate) fn device_with_events(draft: &mut Draft<'_, '_>) {
    let Some((device, event)) = mapped(draft) else {
        return driver::event(draft);
    };
    raise(draft, device.device_id, event.event_id);
    let bits = device.event_id_bits;
    make_room(draft, 8);
    // MAPD V=0: Size means nothing.
    let ignored = draft.between(1, 32) as u8;
    command(draft, mapd(&device, ignored, device.itt, false));
    if draft.chance(1, 2) {
        command(draft, sync(0));
    }
    post(draft);
    drain(draft);
    raise(draft, device.device_id, event.event_id);
    acknowledge_all(draft);
    if draft.chance(1, 2) {
        let refused = on_event(draft, device.device_id, event.event_id);
        risk(draft, refused);
    }
    let fresh = match draft.chance(1, 3) {
        true => new_itt(draft, bits),
        false => None,
    };
    command(draft, mapd(&device, bits, fresh.unwrap_or(device.itt), true));
    post(draft);
    drain(draft);
    probe_events(draft, &device);
    map_one(draft, &device);
}

fn mapd(device: &Device, event_id_bits: u8, itt: Place, valid: bool) -> HostCommand {
    HostCommand::Mapd {
        device_id: device.device_id,
        size: event_id_bits.saturating_sub(1),
        itt_address: itt,
        valid,
    }
}

/// What became of the events that a device had.
fn probe_events(draft: &mut Draft<'_, '_>, device: &Device) {
    let Some(event) = device.events.first() else {
        return;
    };
    raise(draft, device.device_id, event.event_id);
    acknowledge_all(draft);
    if draft.chance(1, 2) {
        let next = on_event(draft, device.device_id, event.event_id);
        risk(draft, next);
    }
}

/// The device has an event again.
fn map_one(draft: &mut Draft<'_, '_>, device: &Device) {
    let (icid, _) = some_collection(draft);
    let event_id = device.free_event().unwrap_or(0);
    let intid = draft.belief.next_intid;
    make_room(draft, 8);
    raw::event(draft, device.device_id, event_id, intid, icid);
}

/// MAPD with more EventID bits than the ITS has.
pub(crate) fn too_large(draft: &mut Draft<'_, '_>) {
    let Some((device_id, _, itt)) = new_device(draft) else {
        return device_again(draft);
    };
    let bits = draft.belief.here().configuration.event_id_bits;
    let size = draft.pick(&[bits, bits.saturating_add(1), 31], bits) & 31;
    let valid = draft.chance(3, 4);
    risk(draft, HostCommand::Mapd { device_id, size, itt_address: itt, valid });
    raise(draft, device_id, 0);
}

/// MAPI: an event that is its own interrupt, which takes a large ITT.
pub(crate) fn own_number(draft: &mut Draft<'_, '_>) {
    let bits = draft.belief.here().configuration.event_id_bits;
    let free = (bits >= 14).then(|| new_device(draft)).flatten();
    let itt = free.and_then(|_| new_itt(draft, 14));
    let (Some((device_id, _, _)), Some(itt)) = (free, itt) else {
        return event_again(draft);
    };
    command(draft, HostCommand::Mapd { device_id, size: 13, itt_address: itt, valid: true });
    for _ in 0..draft.between(1, 2) {
        let (icid, redistributor) = some_collection(draft);
        let event_id = draft.pick(&[8192, 8193, 8191, 0x3fff, 0x4000], 8192);
        risk(draft, HostCommand::Mapi { device_id, event_id, icid });
        command(draft, sync(redistributor));
        raw::configure(draft, device_id, event_id, true);
        deliver(draft, device_id, event_id);
    }
}
