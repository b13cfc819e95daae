//! What the driver does with a device, as commands of the host's own: each with the SYNC that it
//! needs.

use super::steps::{acknowledge_all, deliver, mapped, sync_event, sync_with};
use crate::draft::Draft;
use crate::expected::Device;
use crate::legal::{command, drain, idle, post, some_collection, sometimes_post};
use its_scenario::{HostCommand, Operation};

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
    command(draft, HostCommand::Mapti { device_id, event_id, intid, icid });
    sync_event(draft, device_id, event_id);
    if draft.chance(5, 6) {
        configure(draft, device_id, event_id, true);
        deliver(draft, device_id, event_id);
    } else {
        sometimes_post(draft);
    }
}

/// The configuration byte of an event's LPI, and INV.
pub(crate) fn configure(draft: &mut Draft<'_, '_>, device_id: u32, event_id: u32, enabled: bool) {
    let Some(event) = draft.belief.event(device_id, event_id) else {
        return;
    };
    let cpu = draft.cpu();
    let value = configuration(draft, enabled);
    draft.push(Operation::Configure { cpu, intid: event.intid, value });
    command(draft, HostCommand::Inv { device_id, event_id });
    sync_event(draft, device_id, event_id);
    post(draft);
}

/// MOVI, and SYNC for both redistributors.
pub(crate) fn move_event(draft: &mut Draft<'_, '_>, device_id: u32, event_id: u32, icid: u16) {
    let from = draft.belief.redistributor_of(device_id, event_id);
    command(draft, HostCommand::Movi { device_id, event_id, icid });
    sync_with(draft, from);
    sync_event(draft, device_id, event_id);
    post(draft);
}

pub(crate) fn unmap_event(draft: &mut Draft<'_, '_>, device_id: u32, event_id: u32) {
    discard(draft, device_id, event_id);
    post(draft);
}

fn discard(draft: &mut Draft<'_, '_>, device_id: u32, event_id: u32) {
    let redistributor = draft.belief.redistributor_of(device_id, event_id);
    command(draft, HostCommand::Discard { device_id, event_id });
    sync_with(draft, redistributor);
}

/// DISCARD of each event, then MAPD V=0, which like Linux's names the ITT.
pub(crate) fn unmap_device(draft: &mut Draft<'_, '_>, device: &Device) {
    for event in &device.events {
        discard(draft, device.device_id, event.event_id);
    }
    command(
        draft,
        HostCommand::Mapd {
            device_id: device.device_id,
            size: device.event_id_bits.saturating_sub(1),
            itt_address: device.itt,
            valid: false,
        },
    );
    post(draft);
}

/// Commands on what is mapped, now and then so many that the smallest queue wraps.
pub(crate) fn batch(draft: &mut Draft<'_, '_>) {
    drain(draft);
    let most = u64::from(draft.belief.room()).min(124);
    let count = match !draft.is_long() && draft.chance(1, 5) {
        true => draft.between(90, most),
        false => draft.between(2, 6),
    };
    let full = |draft: &Draft<'_, '_>| u64::from(draft.belief.here().written) >= count;
    while !full(draft) && !draft.is_full() {
        one(draft);
    }
    post(draft);
    if draft.chance(1, 2) {
        idle(draft);
    }
    drain(draft);
    acknowledge_all(draft);
}

/// One command and its SYNC.
fn one(draft: &mut Draft<'_, '_>) {
    let (icid, redistributor) = some_collection(draft);
    let known = draft.belief.here().redistributor(icid).is_some();
    let Some((device, event)) = mapped(draft) else {
        return sync_with(draft, redistributor);
    };
    let (device_id, event_id) = (device.device_id, event.event_id);
    let next = match draft.below(5) {
        0 if known => HostCommand::Invall { icid },
        1 if known && !device.of_driver => HostCommand::Movi { device_id, event_id, icid },
        2 => HostCommand::Clear { device_id, event_id },
        3 => HostCommand::Inv { device_id, event_id },
        _ => HostCommand::Int { device_id, event_id },
    };
    command(draft, next);
    sync_event(draft, device_id, event_id);
}
