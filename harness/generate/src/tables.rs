//! Phrases about tables of two levels: level-1 entries of the host, and what the ITS makes of them.

use super::hostile;
use super::{legal, several};
use crate::words::*;

/// Devices and collections come and go, power too.
#[rustfmt::skip]
pub(super) const LEGAL: &[Phrase] = &[
    legal::map_device, legal::map_event, legal::map_device, legal::interrupt, legal::unmap,
    legal::commands, far_collection, legal::collection, several::sleep, several::other_its,
    legal::reset_queue, legal::idle,
];

/// What no driver does.
#[rustfmt::skip]
pub(super) const HOSTILE: &[Phrase] = &[
    grown_badly, grown_badly, aliased, shrunk, swapped_under_a_device, tampered, tampered,
    bad_collection_table, beyond_the_table, refused_for_its_itt, hostile::stored,
    hostile::taken_away, hostile::failing, hostile::remapped, hostile::while_running,
    several::power_loss, several::power_loss, hostile::hypercalls, hostile::hypercalls,
];

/// A DeviceID behind one of the level-1 entries from 1 on.
fn behind_one_of(draft: &mut Draft<'_, '_>, last: u64) -> u32 {
    let entry = draft.between(1, last);
    behind(draft, entry)
}

/// A DeviceID behind the n-th level-1 entry.
fn behind(draft: &mut Draft<'_, '_>, entry: u64) -> u32 {
    let bytes: u64 = draft.its().device_entry_bytes.into();
    let per_page = draft.its().largest_page_size().bytes().checked_div(bytes).unwrap_or(0);
    let within = draft.pick(&[0, 1, per_page.saturating_sub(1)], 0);
    entry.saturating_mul(per_page).saturating_add(within) as u32
}

/// A DeviceID that the ITS has bits for, and its table no entry.
fn beyond_the_table(draft: &mut Draft<'_, '_>) {
    let ids = draft.expected.device_ids();
    let bits = draft.its().device_id_bits;
    let last = (1_u64 << bits.min(32)).saturating_sub(1);
    if ids > last {
        return hostile::bad_ids(draft);
    }
    let device_id = match draft.below(3) {
        0 => ids,
        1 => last,
        _ => draft.between(ids, last),
    } as u32;
    let next = if draft.chance(1, 4) {
        HostCommand::Int { device_id, event_id: 0 }
    } else {
        mapd(device_id, 3, Place::page(Area::ITT, 309), draft.chance(3, 4))
    };
    draft.attempt(next);
}

/// An ICID behind the n-th level-1 entry.
fn collection_behind(draft: &mut Draft<'_, '_>, entry: u64) -> u16 {
    let bytes: u64 = draft.its().collection_entry_bytes.into();
    let per_page = draft.its().page_size.bytes().checked_div(bytes).unwrap_or(0);
    entry.saturating_mul(per_page).saturating_add(1) as u16
}

fn map(draft: &mut Draft<'_, '_>, device_id: u32) {
    let itt = Place::at(Area::ITT, draft.between(280, 319) as u16, 0);
    draft.send(mapd(device_id, 4, itt, true));
}

/// A collection with a level-2 table of its own, where there can be one.
fn far_collection(draft: &mut Draft<'_, '_>) {
    let may_grow = draft.expected.here().guarded;
    map_far_collection(draft, may_grow);
}

/// `may_grow`: level-1 entries can be made valid now.
pub(crate) fn map_far_collection(draft: &mut Draft<'_, '_>, may_grow: bool) {
    let entry = draft.between(1, 3);
    let icid = collection_behind(draft, entry);
    let index = draft.expected.collection_index(icid);
    if index.is_none() || u32::from(icid) >> draft.its().collection_id_bits != 0 {
        return legal::collection(draft);
    }
    if !draft.expected.here().has_level1(index) {
        let Some(level2) = draft.own_level2().filter(|_| may_grow) else {
            return legal::collection(draft);
        };
        draft.on_cpu(|cpu| Operation::GrowCollection { cpu, icid, level2, flip: 0 });
    }
    draft.make_room(3);
    let redistributor = draft.any_cpu();
    draft.command(mapc(icid, redistributor, true));
    draft.send(sync(redistributor));
}

fn flip(draft: &mut Draft<'_, '_>) -> u64 {
    let word = draft.word();
    draft.pick(&[0, 0, 1, 0x1000, 1 << 52, 1 << 62, 1 << 63, word], 0)
}

/// A place for a level-2 table, good or bad: at the end of a region, on something else, anywhere.
fn level2(draft: &mut Draft<'_, '_>) -> Place {
    let area = draft.pick(&draft.areas(), Area::LEVEL2);
    let last = area.pages().saturating_sub(1);
    let block = draft.below(8).saturating_mul(16) as u16;
    let place = match draft.below(8) {
        0 | 1 => Place::page(Area::LEVEL2, block),
        2 => Place::page(Area::LEVEL2, draft.below(128) as u16),
        3 => Place::page(Area::HIGH, draft.pick(&[0, 16, 32, 40, 47], 32)),
        4 => Place::page(area, last),
        5 => Place::page(area, 0),
        6 => draft.used_itt(),
        _ => draft.bad_place(),
    };
    place.align_down(PAGE)
}

/// An entry for any page, then a device behind it.
fn grown_badly(draft: &mut Draft<'_, '_>) {
    let device_id = behind_one_of(draft, 8);
    let (level2, flip, cpu) = (level2(draft), flip(draft), draft.cpu());
    draft.push(Operation::Grow { cpu, device_id, level2, flip });
    map(draft, device_id);
    draft.poll();
    if draft.chance(1, 2) {
        offer(draft, device_id, Place::page(Area::LEVEL2, 112));
        draft.push(Operation::WriteCwriter { cpu, retry: true, double: false });
        draft.poll();
    }
}

/// Two entries for the same page, of devices, or of a device and a collection, or of two ITSs.
fn aliased(draft: &mut Draft<'_, '_>) {
    let cpu = draft.cpu();
    let level2 = Place::page(Area::LEVEL2, draft.pick(&[0, 64, 96, 112], 96));
    let first = draft.between(1, 4);
    let device_id = behind(draft, first);
    draft.push(Operation::Grow { cpu, device_id, level2, flip: 0 });
    map(draft, device_id);
    match draft.below(3) {
        0 => several::other_its(draft),
        1 => return collection_on(draft, level2, 0),
        _ => {}
    }
    let device_id = behind(draft, first.saturating_add(1));
    draft.push(Operation::Grow { cpu, device_id, level2, flip: 0 });
    map(draft, device_id);
    draft.poll();
}

fn collection_on(draft: &mut Draft<'_, '_>, level2: Place, flip: u64) {
    let cpu = draft.cpu();
    let entry = draft.between(0, 4);
    let icid = collection_behind(draft, entry);
    draft.push(Operation::GrowCollection { cpu, icid, level2, flip });
    let redistributor = draft.any_cpu();
    draft.attempt(mapc(icid, redistributor, true));
}

/// A level-1 entry of collections for any page.
fn bad_collection_table(draft: &mut Draft<'_, '_>) {
    let (level2, flip) = (level2(draft), flip(draft));
    collection_on(draft, level2, flip);
}

/// An entry that EL2 took is taken back or changed; its devices live on.
fn shrunk(draft: &mut Draft<'_, '_>) {
    let Some(device) = draft.some_device() else { return grown_badly(draft) };
    let device_id = device.device_id;
    let cpu = draft.cpu();
    let at = draft.level1_entry(device_id);
    let word = draft.word();
    let value = draft.pick(&[0, word], 0);
    let level2 = level2(draft);
    let grow = Operation::Grow { cpu, device_id, level2, flip: 1 << 63 };
    draft.push_either((1, 2), Operation::Store { cpu, at, value }, grow);
    legal::interrupt(draft);
    map(draft, device_id);
    draft.push(Operation::UnmapDevice { cpu, device_id });
    draft.poll();
}

/// The host's level-1 entry of a device names this level-2 table.
fn offer(draft: &mut Draft<'_, '_>, device_id: u32, level2: Place) {
    draft.maybe(1, 4, |draft| legal::not_zero(draft, level2));
    draft.on_cpu(|cpu| Operation::Grow { cpu, device_id, level2, flip: 0 });
}

/// Between posting and consuming: the entry changes while commands are in flight.
fn swapped_under_a_device(draft: &mut Draft<'_, '_>) {
    let device_id = behind_one_of(draft, 6);
    let (one, other) = (level2(draft), level2(draft));
    for (level2, size) in [(one, 4), (other, 5)] {
        offer(draft, device_id, level2);
        draft.send(mapd(device_id, size, Place::page(Area::ITT, 300), true));
    }
    draft.poll();
    let (device_id, event_id) = draft.some_event();
    draft.push(Operation::Msi { device_id, event_id, half: false });
}

/// A level-1 entry or the command that needs it changes between two reads of EL2.
fn tampered(draft: &mut Draft<'_, '_>) {
    let device_id = behind_one_of(draft, 8);
    let level2 = level2(draft);
    offer(draft, device_id, level2);
    let mapd = mapd(device_id, 4, Place::page(Area::ITT, 290), true);
    draft.times(1, 3, |draft| draft.command(mapd));
    let at = if draft.chance(3, 4) {
        draft.level1_entry(device_id)
    } else {
        Place::at(draft.area(Area::QUEUE_COPY), 0, draft.word_of(PAGE_BYTES / 8))
    };
    let value = draft.word();
    let value = draft.pick(&[0, value, value | 1 << 63], 0);
    let after = draft.below(5) as u8;
    draft.push(Operation::Tamper { after, at, value });
    draft.post_and_poll();
}

/// The growth is good, the command is not: its ITT is the new level-2 table, or no memory.
fn refused_for_its_itt(draft: &mut Draft<'_, '_>) {
    let device_id = behind_one_of(draft, 6);
    let level2 = Place::page(Area::LEVEL2, draft.below(8).saturating_mul(16) as u16);
    offer(draft, device_id, level2);
    let itt = if draft.chance(1, 2) { level2 } else { draft.bad_place() };
    draft.command(mapd(device_id, 6, itt.align_down(256), true));
    let (icid, _) = draft.some_collection();
    draft.attempt(HostCommand::Invall { icid });
}
