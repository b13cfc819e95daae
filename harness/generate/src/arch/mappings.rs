//! Devices and events that are mapped twice, unmapped too early or too large. No ITT ever belonged
//! to another device.

use super::commands::on_event;
use super::{driver, raw};
use crate::legal::map_device;
use crate::words::*;

/// MAPTI over an event that is mapped, to the same or to something else.
pub(crate) fn event_again(draft: &mut Draft<'_, '_>) {
    let Some((device, event)) = draft.mapped() else { return driver::event(draft) };
    let (device_id, event_id) = (device.device_id, event.event_id);
    draft.maybe(1, 3, |draft| draft.raise(device_id, event_id));
    let (icid, _) = draft.some_collection();
    let (intid, icid) = match draft.below(4) {
        0 => (event.intid, event.icid),
        1 => (event.intid, icid),
        2 => (draft.any_intid(), event.icid),
        _ => (draft.expected.next_intid, icid),
    };
    draft.risk(HostCommand::Mapti { device_id, event_id, intid, icid });
    draft.sync_event(device_id, event_id);
    draft.settle();
    draft.deliver(device_id, event_id);
    draft.acknowledge_all();
}

/// MAPD of a device that is mapped: with the same ITT, no larger than before, or a new one.
pub(crate) fn device_again(draft: &mut Draft<'_, '_>) {
    let Some(device) = draft.some_device() else { return map_device(draft) };
    let most = u64::from(device.event_id_bits);
    let bits = if draft.chance(1, 2) { most } else { draft.between(1, most) } as u8;
    let fresh = if draft.chance(1, 2) { draft.new_itt(bits) } else { None };
    draft.risk(again(&device, bits, fresh.unwrap_or(device.itt), true));
    probe_events(draft, &device);
    map_one(draft, &device);
}

/// MAPD V=0 of a device with events; then it may come back, at the same ITT or another.
pub(crate) fn device_with_events(draft: &mut Draft<'_, '_>) {
    let Some((device, event)) = draft.mapped() else { return driver::event(draft) };
    draft.raise(device.device_id, event.event_id);
    let bits = device.event_id_bits;
    draft.make_room(8);
    // MAPD V=0: Size means nothing.
    let ignored = draft.between(1, 32) as u8;
    draft.command(again(&device, ignored, device.itt, false));
    draft.maybe(1, 2, |draft| draft.command(sync(0)));
    draft.settle();
    draft.raise(device.device_id, event.event_id);
    draft.acknowledge_all();
    if draft.chance(1, 2) {
        let refused = on_event(draft, device.device_id, event.event_id);
        draft.risk(refused);
    }
    let fresh = if draft.chance(1, 3) { draft.new_itt(bits) } else { None };
    draft.command(again(&device, bits, fresh.unwrap_or(device.itt), true));
    draft.settle();
    probe_events(draft, &device);
    map_one(draft, &device);
}

/// MAPD of a device that is known.
fn again(device: &Device, event_id_bits: u8, itt: Place, valid: bool) -> HostCommand {
    mapd(device.device_id, event_id_bits.saturating_sub(1), itt, valid)
}

/// What became of the events that a device had.
fn probe_events(draft: &mut Draft<'_, '_>, device: &Device) {
    let Some(event) = device.events.first() else { return };
    draft.raise(device.device_id, event.event_id);
    draft.acknowledge_all();
    if draft.chance(1, 2) {
        let next = on_event(draft, device.device_id, event.event_id);
        draft.risk(next);
    }
}

/// The device has an event again.
fn map_one(draft: &mut Draft<'_, '_>, device: &Device) {
    let (icid, _) = draft.some_collection();
    let event_id = draft.free_event(device).unwrap_or(0);
    let intid = draft.expected.next_intid;
    draft.make_room(8);
    raw::event(draft, device.device_id, event_id, intid, icid);
}

/// MAPD with more EventID bits than the ITS has.
pub(crate) fn too_large(draft: &mut Draft<'_, '_>) {
    let Some((device_id, _, itt)) = draft.new_device() else { return device_again(draft) };
    let bits = draft.its().event_id_bits;
    let size = draft.pick(&[bits, bits.saturating_add(1), 31], bits) & 31;
    let valid = draft.chance(3, 4);
    draft.risk(mapd(device_id, size, itt, valid));
    draft.raise(device_id, 0);
}

/// EventIDs as large as INTIDs, which take a large ITT; of more than 16 bits, where the ITS has
/// them. MAPI: an event that is its own interrupt.
pub(crate) fn wide_events(draft: &mut Draft<'_, '_>) {
    let most = draft.its().event_id_bits;
    let bits = draft.pick(&[14, 16, 17, 17], 14).min(most);
    let free = (bits >= 14).then(|| draft.new_device()).flatten();
    let itt = free.and_then(|_| draft.new_itt(bits));
    let (Some((device_id, ..)), Some(itt)) = (free, itt) else { return event_again(draft) };
    draft.command(mapd(device_id, bits.saturating_sub(1), itt, true));
    let last = (1_u32 << bits).saturating_sub(1);
    for _ in 0..draft.between(1, 3) {
        let (icid, redistributor) = draft.some_collection();
        let low = draft.pick(&[8192, 8193, 8191, 0x3fff, 0x4000, 0x1_0000, 1, last], 8192);
        // The same INTID or EventID again, where 16 bits hold it.
        let event_id = if bits > 16 && draft.chance(1, 2) { low | 1 << 16 } else { low };
        if draft.chance(1, 2) {
            draft.risk(HostCommand::Mapi { device_id, event_id, icid });
        } else {
            let intid = draft.expected.next_intid;
            draft.risk(HostCommand::Mapti { device_id, event_id, intid, icid });
        }
        draft.command(sync(redistributor));
        raw::configure(draft, device_id, event_id, true);
        draft.deliver(device_id, event_id);
    }
}
