//! Tables that move while the ITS is off, and level-2 tables that are not there yet.

use its_gic::geometry::PageSize;
use its_scenario::{HostCommand, Operation};

use super::commands::on_event;
use super::steps::{acknowledge_all, deliver, go_on, mapped, raise, read, rest, risk, write};
use super::{driver, raw};
use crate::draft::Draft;
use crate::legal::{
    command, drain, make_room, new_itt, no_more_level2, own_level2, post, some_collection,
};

const VALID: u64 = 1 << 63;
const INDIRECT: u64 = 1 << 62;

/// A table is taken away, or another given, and the first comes back with all that it holds.
pub(crate) fn moved(draft: &mut Draft<'_, '_>) {
    let index = draft.below(2) as u8;
    drain(draft);
    rest(draft);
    match draft.below(4) {
        0 => attributes(draft, index),
        1 => taken(draft, index),
        _ => replaced(draft, index),
    }
    go_on(draft);
    if let Some((device, event)) = mapped(draft) {
        deliver(draft, device.device_id, event.event_id);
    }
    acknowledge_all(draft);
}

fn baser(draft: &mut Draft<'_, '_>, index: u8, flip: u64) {
    let cpu = draft.cpu();
    draft.push(Operation::WriteBaser { cpu, index, flip });
    if draft.chance(1, 2) {
        let name = if index == 0 { "BASER0" } else { "BASER1" };
        read(draft, name);
    }
}

/// Bits that move nothing: cacheability, shareability, and what cannot be written.
fn attributes(draft: &mut Draft<'_, '_>, index: u8) {
    let bits = [1 << 59, 1 << 53, 0x400, 1 << 56, 1 << 48];
    let flip = draft.pick(&bits, 0);
    baser(draft, index, flip);
}

/// Not valid for a while, by a write of all bits or of the upper half.
fn taken(draft: &mut Draft<'_, '_>, index: u8) {
    match draft.chance(1, 2) {
        true => baser(draft, index, VALID),
        false if index == 0 => write(draft, "BASER0.high", 0),
        false => write(draft, "BASER1.high", 0),
    }
    baser(draft, index, 0);
}

/// Another table, empty, for some commands and MSIs.
fn replaced(draft: &mut Draft<'_, '_>, index: u8) {
    let Some(elsewhere) = elsewhere(draft, index) else {
        return taken(draft, index);
    };
    let invalidated = draft.chance(2, 3);
    if invalidated {
        baser(draft, index, VALID);
    }
    let indirect = match draft.chance(1, 4) {
        true => INDIRECT,
        false => 0,
    };
    baser(draft, index, elsewhere ^ indirect);
    go_on(draft);
    for _ in 0..draft.between(1, 2) {
        let Some((device, event)) = mapped(draft) else {
            break;
        };
        let (device_id, event_id) = (device.device_id, event.event_id);
        raise(draft, device_id, event_id);
        let kept = draft.belief.clone();
        let odd = on_event(draft, device_id, event_id);
        risk(draft, odd);
        // It was another table's.
        draft.belief.devices_of(&kept);
    }
    rest(draft);
    if invalidated {
        baser(draft, index, elsewhere ^ VALID);
    }
    baser(draft, index, 0);
}

/// What to flip in a table's address so that it is elsewhere, in the memory that is there for it or
/// above 2^48.
fn elsewhere(draft: &mut Draft<'_, '_>, index: u8) -> Option<u64> {
    if draft.belief.here().configuration.largest_page_size() != PageSize::K64 {
        return Some(0x8000);
    }
    if index == 0 && draft.belief.boot.table_pages > 1 {
        return None;
    }
    // The area of a device table starts at an odd multiple of 64 KiB.
    let near = (index == 0).then_some(0x3_0000);
    let above = far_above(draft.belief.current, index);
    match draft.chance(1, 2) {
        true => above.or(near),
        false => near.or(above),
    }
}

/// What to flip so that a table of 64 KiB pages lies above 2^48, in a block of the area `high` of
/// its own: address bits 51 to 48 stand in bits 15 to 12.
fn far_above(its: u8, index: u8) -> Option<u64> {
    const BIT_50: u64 = 0x4000;
    let (start, block) = match (its, index) {
        (0, 0) => (0x8001_0000, 0),
        (0, _) => (0x8003_0000, 1),
        (_, 0) => (0x802d_0000, 2),
        (_, _) => return None,
    };
    Some(start ^ (block << 16 | BIT_50))
}

/// Commands on a DeviceID whose level-2 table is absent; then the host adds it, and maps the
/// device.
pub(crate) fn absent_level2(draft: &mut Draft<'_, '_>) {
    let Some(device_id) = uncovered(draft) else {
        return moved(draft);
    };
    if draft.chance(2, 3) {
        let odd = match (draft.chance(1, 2), new_itt(draft, 4)) {
            (true, Some(itt)) => HostCommand::Mapd {
                device_id,
                size: 3,
                itt_address: itt,
                valid: draft.chance(3, 4),
            },
            _ => on_event(draft, device_id, 0),
        };
        risk(draft, odd);
        raise(draft, device_id, 0);
    }
    let (Some(level2), Some(itt)) = (own_level2(draft), new_itt(draft, 4)) else {
        return;
    };
    let cpu = draft.cpu();
    draft.push(Operation::Grow { cpu, device_id, level2, flip: 0 });
    make_room(draft, 8);
    command(draft, HostCommand::Mapd { device_id, size: 3, itt_address: itt, valid: true });
    post(draft);
    drain(draft);
    let (icid, _) = some_collection(draft);
    let intid = draft.belief.next_intid;
    raw::event(draft, device_id, 1, intid, icid);
    driver::interrupt(draft);
}

/// A DeviceID, in range, that no level-1 entry covers yet.
fn uncovered(draft: &mut Draft<'_, '_>) -> Option<u32> {
    if no_more_level2(draft) {
        return None;
    }
    let ids = draft.belief.device_ids();
    let start = draft.below(ids);
    let candidates = [start, ids.saturating_sub(1), ids / 2, 0x200, 0x2000, 0x100];
    let free = |id: &u64| {
        let index = draft.belief.level1_index(*id as u32);
        *id < ids && index.is_some_and(|index| !draft.belief.here().level1.contains(&index))
    };
    candidates.into_iter().find(free).map(|id| id as u32)
}
