//! Tables that move while the ITS is off, and level-2 tables that are not there yet.

use its_machine::freedom::choice::UnreadyEnable;

use super::commands::on_event;
use super::{driver, raw};
use crate::legal::reset_queue;
use crate::words::*;

const VALID: u64 = 1 << 63;
const INDIRECT: u64 = 1 << 62;

/// A table is taken away, or another given, and the first comes back with all that it holds.
pub(crate) fn moved(draft: &mut Draft<'_, '_>) {
    let index = draft.below(2) as u8;
    draft.drain();
    draft.rest();
    match draft.below(4) {
        0 => attributes(draft, index),
        1 => taken(draft, index),
        _ => replaced(draft, index),
    }
    draft.go_on();
    if let Some((device, event)) = draft.mapped() {
        draft.deliver(device.device_id, event.event_id);
    }
    draft.acknowledge_all();
}

/// Enabled with some of queue and tables not valid; then with all of them.
pub(crate) fn not_ready(draft: &mut Draft<'_, '_>) {
    let holds_collections = draft.its().hardware_collections > 0;
    // The reference says nothing of an ITS that takes the enable without a table.
    let takes_it = draft.its().choices.picks(UnreadyEnable::Taken);
    let mut flip = |may: bool| if may && draft.chance(1, 2) { VALID } else { 0 };
    let [devices, queue] = [!takes_it, true].map(&mut flip);
    let collections = flip(!takes_it || holds_collections);
    draft.drain();
    draft.rest();
    let cpu = draft.cpu();
    baser(draft, 0, devices);
    baser(draft, 1, collections);
    draft.push(Operation::WriteCbaser { cpu, flip: queue });
    draft.write_cwriter(cpu, 0);
    draft.go_on();
    draft.read("CTLR");
    draft.maybe(1, 2, |draft| {
        draft.harmless();
        draft.post_and_poll();
    });
    draft.rest();
    baser(draft, 0, 0);
    baser(draft, 1, 0);
    reset_queue(draft);
}

fn baser(draft: &mut Draft<'_, '_>, index: u8, flip: u64) {
    draft.on_cpu(|cpu| Operation::WriteBaser { cpu, index, flip });
    if draft.chance(1, 2) {
        let name = if index == 0 { "BASER0" } else { "BASER1" };
        draft.read(name);
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
    if draft.chance(1, 2) {
        baser(draft, index, VALID);
    } else {
        draft.write(if index == 0 { "BASER0.high" } else { "BASER1.high" }, 0);
    }
    baser(draft, index, 0);
}

/// Another table, empty, for some commands and MSIs.
fn replaced(draft: &mut Draft<'_, '_>, index: u8) {
    let Some(elsewhere) = elsewhere(draft, index) else { return taken(draft, index) };
    let invalidated = draft.chance(2, 3);
    if invalidated {
        baser(draft, index, VALID);
    }
    let indirect = if draft.chance(1, 4) { INDIRECT } else { 0 };
    baser(draft, index, elsewhere ^ indirect);
    draft.go_on();
    for _ in 0..draft.between(1, 2) {
        let Some((device, event)) = draft.mapped() else { break };
        let (device_id, event_id) = (device.device_id, event.event_id);
        draft.raise(device_id, event_id);
        let kept = draft.expected.clone();
        let odd = on_event(draft, device_id, event_id);
        draft.risk(odd);
        // It was another table's.
        draft.expected.devices_of(&kept);
    }
    draft.rest();
    if invalidated {
        baser(draft, index, elsewhere ^ VALID);
    }
    baser(draft, index, 0);
}

/// What to flip in a table's address so that it is in other memory of its own, or above 2^48.
fn elsewhere(draft: &mut Draft<'_, '_>, index: u8) -> Option<u64> {
    if draft.its().largest_page_size() != PageSize::K64 {
        return Some(0x8000);
    }
    if index == 0 && draft.expected.boot.table_pages > 1 {
        return None;
    }
    // The area of a device table starts at an odd multiple of 64 KiB.
    let near = (index == 0).then_some(0x3_0000);
    let above = far_above(draft.expected.current, index);
    if draft.chance(1, 2) { above.or(near) } else { near.or(above) }
}

/// What to flip so that a table of 64 KiB pages lies above 2^48, in a block of the area `high` of
/// its own: address bits 51 to 48 stand in bits 15 to 12.
fn far_above(its: u8, index: u8) -> Option<u64> {
    const ABOVE: u64 = 0x8000_4000;
    let (start, block) = match (its, index) {
        (0, 0) => (0x8001_0000, 0),
        (0, _) => (0x8003_0000, 1),
        (_, 0) => (0x802d_0000, 2),
        (_, _) => return None,
    };
    Some(start ^ (block << 16 | ABOVE))
}

/// Commands on a DeviceID without a level-2 table; then the host adds it and maps the device.
pub(crate) fn absent_level2(draft: &mut Draft<'_, '_>) {
    let Some(device_id) = uncovered(draft) else { return moved(draft) };
    if draft.chance(2, 3) {
        let odd = match (draft.chance(1, 2), draft.new_itt(4)) {
            (true, Some(itt)) => mapd(device_id, 3, itt, draft.chance(3, 4)),
            _ => on_event(draft, device_id, 0),
        };
        draft.risk(odd);
        draft.raise(device_id, 0);
    }
    let (Some(level2), Some(itt)) = (draft.own_level2(), draft.new_itt(4)) else { return };
    draft.on_cpu(|cpu| Operation::Grow { cpu, device_id, level2, flip: 0 });
    draft.make_room(8);
    draft.command(mapd(device_id, 3, itt, true));
    draft.settle();
    let (icid, _) = draft.some_collection();
    let intid = draft.expected.next_intid;
    raw::event(draft, device_id, 1, intid, icid);
    driver::interrupt(draft);
}

/// A DeviceID, in range, that no level-1 entry covers yet.
fn uncovered(draft: &mut Draft<'_, '_>) -> Option<u32> {
    if draft.no_more_level2() {
        return None;
    }
    let ids = draft.expected.device_ids();
    let start = draft.below(ids);
    let candidates = [start, ids.saturating_sub(1), ids / 2, 0x200, 0x2000, 0x100];
    let free = |id: &u64| {
        let index = draft.expected.level1_index(*id as u32);
        *id < ids && index.is_some_and(|index| !draft.expected.here().level1.contains(&index))
    };
    candidates.into_iter().find(free).map(|id| id as u32)
}
