//! Phrases about numbers at limits: neighbours of each limit that is in force, and numbers that are
//! right again once a sum, product or shift of theirs wraps.

use its_gic::geometry::itt_bytes;

use crate::legal::reset_queue;
use crate::mutate::tweaked;
use crate::words::*;

/// All of them.
#[rustfmt::skip]
pub(super) const PHRASES: &[Phrase] = &[
    device_at_a_limit, collection_at_a_limit, itt_at_a_limit, rdbase_at_a_limit,
    cwriter_at_a_limit, batch_at_a_limit, level1_entry_at_a_limit, records_at_a_limit,
    event_at_a_limit, again_but_for_one, flight_over_the_end,
];

/// ITTs for these phrases: apart from those of drawn devices.
const ITT_PAGE: u16 = 311;
/// Commands of a batch: EL2 forwards at most 64.
const BATCH: u64 = 64;

/// MAPD V=1 or V=0 with an ITT of its own.
fn attempt_device(draft: &mut Draft<'_, '_>, device_id: u32, size: u8) {
    let valid = draft.chance(3, 4);
    draft.attempt(mapd(device_id, size, Place::page(Area::ITT, ITT_PAGE), valid));
}

/// DeviceIDs: of the ITS, of the table, of a page of it.
pub(crate) fn device_at_a_limit(draft: &mut Draft<'_, '_>) {
    let bits = draft.its().device_id_bits;
    let bytes = u64::from(draft.its().device_entry_bytes);
    let page = draft.its().largest_page_size().bytes();
    let per_page = page.checked_div(bytes).unwrap_or(0);
    let of_its = 1_u64.checked_shl(bits.into()).unwrap_or(0);
    let limits = [draft.expected.device_ids(), of_its, per_page, per_page.saturating_mul(2)];
    let limit = draft.pick(&limits, of_its);
    let device_id = draft.near(limit) as u32;
    attempt_device(draft, device_id, 3);
}

/// ICIDs: of the ITS, held by it, of the table with them or without, of a page of it.
pub(crate) fn collection_at_a_limit(draft: &mut Draft<'_, '_>) {
    let configuration = draft.its();
    let held = u64::from(configuration.hardware_collections);
    let bytes = u64::from(configuration.collection_entry_bytes);
    let page = configuration.largest_page_size().bytes();
    let entries = page.checked_div(bytes).unwrap_or(0);
    let of_its = 1_u64 << configuration.collection_id_bits;
    let limits = [held, held, of_its, entries, entries.saturating_add(held)];
    let limit = draft.pick(&limits, held);
    let icid = draft.near(limit) as u16;
    let redistributor = draft.any_cpu();
    let valid = draft.chance(3, 4);
    draft.attempt(mapc(icid, redistributor, valid));
    draft.attempt(HostCommand::Invall { icid });
}

/// ITTs: of the largest Size or one more, up to the end of a region or a little further, at an
/// address that is right but for its high bits.
fn itt_at_a_limit(draft: &mut Draft<'_, '_>) {
    let id_bits = u64::from(draft.its().event_id_bits).saturating_sub(1);
    let limit = draft.pick(&[id_bits.saturating_add(1), 16], 16);
    let drawn = draft.below(6);
    let size = match draft.below(3) {
        0 => draft.near(limit).min(31),
        1 => drawn,
        // EL2 takes ITTs of 16 EventID bits, whatever the ITS has.
        _ => draft.pick(&[15, 16], 15).min(id_bits),
    } as u8;
    let bytes = itt_bytes(size, draft.its().itt_entry_bytes.into());
    let itt = match draft.below(3) {
        0 => Place::page(Area::ITT, 0),
        1 => {
            let address = draft.wrapped(Area::ITT.page(ITT_PAGE.into()));
            Place::of(address & 0xf_ffff_ffff_ff00)
        }
        _ => {
            let area = draft.pick(&[Area::HIGH, Area::HIGH, Area::EL2, Area::HOST], Area::HIGH);
            let pages = match area {
                Area::HIGH => draft.expected.boot.high_pages.into(),
                area => area.pages().into(),
            };
            let over = draft.pick(&[0, 0x100, 0x1000], 0);
            let end = area.page(pages).wrapping_add(over);
            Place::of(end.wrapping_sub(bytes).min(0xf_ffff_ffff_ffff) & !0xff)
        }
    };
    let device_id = draft.below(16) as u32;
    draft.attempt(mapd(device_id, size, itt, true));
    draft.maybe(1, 2, |draft| draft.attempt(mapd(device_id, 0, itt, false)));
}

/// RDbase: a redistributor's with one bit more, or the next number.
pub(crate) fn rdbase_at_a_limit(draft: &mut Draft<'_, '_>) {
    let number = u64::from(draft.any_cpu());
    let bit = draft.below(36) as u32;
    let numbers = draft.expected.boot.processor_numbers();
    let own = numbers.get(number as usize).copied().unwrap_or(0).into();
    let flipped = 1_u64.checked_shl(bit).unwrap_or(0);
    let field = [own ^ flipped, own, number, number.saturating_add(1), own.saturating_add(1)];
    let rdbase = Rdbase::Raw(draft.pick(&field, own) & Rdbase::MAX);
    let (icid, redistributor) = draft.some_collection();
    let right = Rdbase::Of(redistributor);
    let next = match draft.below(5) {
        0 => HostCommand::Sync { rdbase },
        1 => HostCommand::Mapc { icid, rdbase, valid: true },
        2 => HostCommand::Mapc { icid, rdbase, valid: false },
        3 => HostCommand::Movall { from_rdbase: rdbase, to_rdbase: right },
        _ => HostCommand::Movall { from_rdbase: right, to_rdbase: rdbase },
    };
    draft.attempt(next);
}

/// CWRITER: the ends of the queue, its halves in either order, reserved bits.
fn cwriter_at_a_limit(draft: &mut Draft<'_, '_>) {
    let bytes = draft.expected.queue_bytes();
    let limit = draft.pick(&[bytes, 0, COMMAND_BYTES], 0);
    let value = draft.near(limit);
    let offset = Register::Cwriter.offset() as u32;
    let frame = draft.frame();
    if draft.chance(1, 2) {
        draft.access_at(frame, (offset, AccessSize::Double), Direction::Write(value));
    } else {
        draft.in_halves(frame, offset, value);
    }
    draft.poll();
}

/// A batch of as many commands as EL2 forwards at once, one less or more, the last refused or not.
fn batch_at_a_limit(draft: &mut Draft<'_, '_>) {
    if !draft.chance(1, 6) {
        return cwriter_at_a_limit(draft);
    }
    draft.drain();
    let count = draft.pick(&[BATCH - 1, BATCH, BATCH + 1, 2 * BATCH - 1], BATCH);
    let count = count.min(draft.expected.room().into());
    (1..count).for_each(|_| draft.command(sync(0)));
    let last = if draft.chance(1, 2) { sync(0) } else { mapd(u32::MAX, 31, BAD_ITT, true) };
    draft.command(last);
    draft.post_and_poll();
    draft.times(1, 4, with_more_to_judge);
    draft.poll();
}

/// Commands in flight over the end of a queue of one page, and CWRITER next to where they begin or
/// end.
fn flight_over_the_end(draft: &mut Draft<'_, '_>) {
    const SLOTS: u64 = 128;
    const RUNS: u64 = 7;
    if !draft.chance(1, 4) || u64::from(draft.expected.boot.queue_slots()) != SLOTS {
        return batch_at_a_limit(draft);
    }
    reset_queue(draft);
    let cpu = draft.cpu();
    let (device_id, itt) = (draft.below(16) as u32, Place::page(Area::ITT, ITT_PAGE));
    let (count, stride, event_id_bits) = (16, 0, 1);
    for _ in 0..RUNS {
        draft.push(Operation::MapDevices { cpu, device_id, count, stride, event_id_bits, itt });
    }
    let left = SLOTS.saturating_sub(RUNS.saturating_mul(count.into()));
    let before = draft.between(1, 15);
    (before..left).for_each(|_| draft.command(sync(0)));
    draft.post_and_poll();
    let behind = draft.between(1, 8);
    (0..before.saturating_add(behind)).for_each(|_| draft.command(sync(0)));
    draft.post();
    for _ in 0..draft.between(1, 3) {
        let slot = draft.pick(&[SLOTS.saturating_sub(before), behind, SLOTS - 1, 0], 0);
        let next = draft.pick(&[slot, slot.wrapping_sub(1), slot.saturating_add(1)], slot);
        draft.write_cwriter(cpu, next.wrapping_mul(COMMAND_BYTES) & 0xf_ffe0);
    }
    draft.poll();
}

/// What a host may do while EL2 has judged only some of what was submitted.
fn with_more_to_judge(draft: &mut Draft<'_, '_>) {
    let cpu = draft.cpu();
    let some = draft.between(1, BATCH) as u16;
    let commands = draft.pick(&[BATCH as u16, some], some);
    match draft.below(8) {
        0..=2 => draft.push(Operation::Advance { commands }),
        3 => draft.retry(),
        4 | 5 => cwriter_at_a_limit(draft),
        6 => draft.push_all([Operation::Disable { cpu }, Operation::Enable { cpu }]),
        _ => draft.poll(),
    }
}

/// Memory that can be no ITT.
const BAD_ITT: Place = Place::page(Area::EL2, 0);
/// What is no memory.
const NO_MEMORY: Place = Place::page(Area::HOLE, 0);

/// A level-1 entry with one bit too many, then a device behind it.
fn level1_entry_at_a_limit(draft: &mut Draft<'_, '_>) {
    let per_entry = draft.its().largest_page_size().bytes() / 8;
    let entry = draft.between(1, 8);
    let device_id = entry.saturating_mul(per_entry) as u32;
    let Some(level2) = draft.own_level2() else { return device_at_a_limit(draft) };
    let bit = draft.pick(&[0, 8, 11, 12, 13, 14, 15, 47, 48, 50, 51, 52, 61, 62], 52);
    let flip = 1_u64.checked_shl(bit).unwrap_or(0);
    draft.on_cpu(|cpu| Operation::Grow { cpu, device_id, level2, flip });
    attempt_device(draft, device_id, 3);
    draft.maybe(1, 2, |draft| {
        draft.on_cpu(|cpu| Operation::Grow { cpu, device_id, level2, flip: 0 });
        draft.retry();
        draft.poll();
    });
}

/// As many devices as there are records, or one more, where few are missing.
pub(super) fn as_many_devices_as_records(draft: &mut Draft<'_, '_>) {
    let count = draft.expected.free_records().saturating_add(draft.below(2)) as u16;
    if !(1..=MOST_IN_A_RUN).contains(&count) {
        return;
    }
    draft.drain();
    let device_id = draft.between(64, 256) as u32;
    let (stride, event_id_bits, itt) = (1, 1, Place::page(Area::ITT, 200));
    draft.on_cpu(|cpu| Operation::MapDevices { cpu, device_id, count, stride, event_id_bits, itt });
}

/// As many devices as there are records; then one more, with another fault or not; then one goes
/// and another comes.
fn records_at_a_limit(draft: &mut Draft<'_, '_>) {
    if draft.expected.free_records() > MOST_IN_A_RUN.into() {
        return device_at_a_limit(draft);
    }
    as_many_devices_as_records(draft);
    let (first, itt) = (0x400_u32, Place::page(Area::ITT, 200));
    draft.drain();
    for n in 0..draft.between(1, 3) {
        let device_id = first.saturating_add(n as u32);
        let gone = draft.some_device().map_or(first, |device| device.device_id);
        // Refused, for want of a record or for another fault too; repaired by one that goes.
        let bad = draft.pick(&[itt, NO_MEMORY, BAD_ITT], itt);
        let id = if draft.chance(1, 4) { gone } else { device_id };
        draft.attempt(mapd(id, 0, bad, true));
        draft.push(Operation::Rewind { slots: 1 });
        let repair = if draft.chance(3, 4) { mapd(gone, 0, itt, false) } else { sync(0) };
        draft.command(repair);
        draft.retry();
        draft.drain();
        draft.poll();
        draft.maybe(1, 4, reset_queue);
        draft.attempt(mapd(device_id, 0, itt, true));
    }
    draft.rewrite(0);
    draft.poll();
}

/// EventIDs and INTIDs: of the ITT, of the ITS, of 16 bits, of the LPIs.
pub(crate) fn event_at_a_limit(draft: &mut Draft<'_, '_>) {
    let Some(device) = draft.some_device() else { return device_at_a_limit(draft) };
    let device_id = device.device_id;
    let limits = [device.event_ids(), 1 << draft.its().event_id_bits, 1 << 16];
    let limit = draft.pick(&limits, 1 << 16);
    let event_id = draft.near(limit) as u32;
    let of_lpis = draft.pick(&[8192, 1 << 14, 1 << 16], 8192);
    let intid =
        if draft.chance(1, 2) { draft.expected.next_intid } else { draft.near(of_lpis) as u32 };
    let (icid, _) = draft.some_collection();
    let of_its_own = draft.chance(1, 4);
    draft.attempt(if of_its_own {
        HostCommand::Mapi { device_id, event_id, icid }
    } else {
        HostCommand::Mapti { device_id, event_id, intid, icid }
    });
    let half = draft.chance(1, 4);
    draft.push(Operation::Msi { device_id, event_id, half });
}

/// One of the operations before comes again, but for one argument.
fn again_but_for_one(draft: &mut Draft<'_, '_>) {
    let Some(operation) = draft.some_operation() else { return device_at_a_limit(draft) };
    let seed = draft.word();
    draft.push(tweaked(operation, seed));
    draft.post_and_poll();
}
