//! What the driver does with a device, as commands of the host's own: each with the SYNC that it
//! needs.

use crate::legal::idle;
use crate::words::*;

/// A configuration byte: priority, the old Group-1 bit, whether enabled.
fn configuration(draft: &mut Draft<'_, '_>, enabled: bool) -> u8 {
    let priority = draft.pick(&[0xa0, 0xa0, 0x80, 0xc0, 0x08, 0xf8], 0xa0);
    priority | 2 | u8::from(enabled)
}

/// MAPTI; then it is mostly enabled and raised.
pub(crate) fn event(
    draft: &mut Draft<'_, '_>,
    device_id: u32,
    event_id: u32,
    intid: u32,
    icid: u16,
) {
    draft.synced(HostCommand::Mapti { device_id, event_id, intid, icid });
    if draft.chance(5, 6) {
        configure(draft, device_id, event_id, true);
        draft.deliver(device_id, event_id);
    } else {
        draft.sometimes_post();
    }
}

/// The configuration byte of an event's LPI, and INV.
pub(crate) fn configure(draft: &mut Draft<'_, '_>, device_id: u32, event_id: u32, enabled: bool) {
    let Some(event) = draft.expected.event(device_id, event_id) else { return };
    let cpu = draft.cpu();
    let value = configuration(draft, enabled);
    draft.push(Operation::Configure { cpu, intid: event.intid, value });
    draft.synced(HostCommand::Inv { device_id, event_id });
    draft.post();
}

/// MOVI, and SYNC for both redistributors.
pub(crate) fn move_event(draft: &mut Draft<'_, '_>, device_id: u32, event_id: u32, icid: u16) {
    let from = draft.expected.redistributor_of(device_id, event_id);
    draft.command(HostCommand::Movi { device_id, event_id, icid });
    draft.sync_with(from);
    draft.sync_event(device_id, event_id);
    draft.post();
}

pub(crate) fn unmap_event(draft: &mut Draft<'_, '_>, device_id: u32, event_id: u32) {
    discard(draft, device_id, event_id);
    draft.post();
}

fn discard(draft: &mut Draft<'_, '_>, device_id: u32, event_id: u32) {
    let redistributor = draft.expected.redistributor_of(device_id, event_id);
    draft.command(HostCommand::Discard { device_id, event_id });
    draft.sync_with(redistributor);
}

/// DISCARD of each event, then MAPD V=0, which like Linux's names the ITT.
pub(crate) fn unmap_device(draft: &mut Draft<'_, '_>, device: &Device) {
    for event in &device.events {
        discard(draft, device.device_id, event.event_id);
    }
    draft.send(mapd(device.device_id, device.event_id_bits.saturating_sub(1), device.itt, false));
}

/// Commands on what is mapped, now and then so many that the smallest queue wraps.
pub(crate) fn batch(draft: &mut Draft<'_, '_>) {
    draft.drain();
    let most = u64::from(draft.expected.room()).min(124);
    let count = if !draft.is_long() && draft.chance(1, 5) {
        draft.between(90, most)
    } else {
        draft.between(2, 6)
    };
    let full = |draft: &Draft<'_, '_>| u64::from(draft.expected.here().written) >= count;
    while !full(draft) && !draft.is_full() {
        one(draft);
    }
    draft.post();
    draft.maybe(1, 2, idle);
    draft.drain();
    draft.acknowledge_all();
}

/// One command and its SYNC.
fn one(draft: &mut Draft<'_, '_>) {
    let (icid, redistributor) = draft.some_collection();
    let known = draft.expected.here().redistributor(icid).is_some();
    let Some((device, event)) = draft.mapped() else { return draft.sync_with(redistributor) };
    let (device_id, event_id) = (device.device_id, event.event_id);
    let next = match draft.below(5) {
        0 if known => HostCommand::Invall { icid },
        1 if known && !device.of_driver => HostCommand::Movi { device_id, event_id, icid },
        2 => HostCommand::Clear { device_id, event_id },
        3 => HostCommand::Inv { device_id, event_id },
        _ => HostCommand::Int { device_id, event_id },
    };
    draft.command(next);
    draft.sync_event(device_id, event_id);
}
