//! What the architecture has no answer for: after it nothing is judged.

use super::driver;
use crate::words::*;

/// One of them.
pub(crate) fn anything(draft: &mut Draft<'_, '_>) {
    let cpu = draft.cpu();
    let index = draft.below(2) as u8;
    match draft.below(7) {
        0 => draft.push(Operation::WriteCbaser { cpu, flip: 0 }),
        1 => draft.push(Operation::WriteBaser { cpu, index, flip: 0 }),
        2 => hasty(draft),
        3 => shared_itt(draft),
        4 => stored(draft),
        5 => {
            let frame = draft.redistributor();
            let value = draft.word();
            draft.access(frame, "PENDBASER", Direction::Write(value));
        }
        _ => without_table(draft),
    }
    driver::interrupt(draft);
}

/// On again before it is at rest.
fn hasty(draft: &mut Draft<'_, '_>) {
    draft.harmless();
    draft.post();
    let cpu = draft.cpu();
    draft.push_all([Operation::Disable { cpu }, Operation::Enable { cpu }]);
}

/// On without a queue or a table.
fn without_table(draft: &mut Draft<'_, '_>) {
    let cpu = draft.cpu();
    let flip = 1 << 63;
    draft.push_all([Operation::Disable { cpu }, Operation::Quiesce { cpu }]);
    let baser = Operation::WriteBaser { cpu, index: 0, flip };
    draft.push_either((1, 2), Operation::WriteCbaser { cpu, flip }, baser);
    draft.push(Operation::Enable { cpu });
}

/// An ITT on another one, on a table, or where no memory is.
fn shared_itt(draft: &mut Draft<'_, '_>) {
    let used = draft.used_itt();
    let areas =
        [Area::QUEUE, Area::DEVICE_TABLE, Area::COLLECTION_TABLE, Area::HOLE, Area::PENDING];
    let itt =
        if draft.chance(1, 2) { used } else { Place::page(draft.pick(&areas, Area::HOLE), 0) };
    let ids = draft.expected.device_ids().min(32);
    let device_id = draft.below(ids) as u32;
    draft.send(mapd(device_id, 3, itt, true));
}

/// The host writes into what the ITS keeps.
fn stored(draft: &mut Draft<'_, '_>) {
    let itt = draft.mapped().map(|(device, _)| device.itt);
    let area = draft.pick(&[Area::DEVICE_TABLE, Area::COLLECTION_TABLE], Area::DEVICE_TABLE);
    let at = match (draft.chance(1, 2), itt) {
        (true, Some(itt)) => itt,
        _ => Place::at(area, 0, draft.word_of(16)),
    };
    let (cpu, value) = (draft.cpu(), draft.word());
    draft.push(Operation::Store { cpu, at, value });
    draft.maybe_clean(at);
}
