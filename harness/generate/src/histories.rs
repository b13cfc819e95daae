//! Phrases of three steps that depend on each other: off, changed, on again; stalled, repaired,
//! retried; power gone, memory changed, power back; refused, repaired, refused.

use crate::words::*;
use crate::{hostile, legal, limits};

/// All of them.
#[rustfmt::skip]
pub(super) const PHRASES: &[Phrase] = &[
    off_changed_on, stalled_repaired_retried, stalled_repaired_retried, powerless_changed_on,
    refused_repaired_refused, stopped_retried, lpis_off_changed_on, mapped_again,
    itt_with_a_past, itt_with_a_past,
];

/// Off, something about queue or tables changes, on again; and once more.
fn off_changed_on(draft: &mut Draft<'_, '_>) {
    draft.drain();
    for _ in 0..draft.between(1, 2) {
        let cpu = draft.cpu();
        draft.push(Operation::Disable { cpu });
        draft.maybe(3, 4, |draft| draft.push(Operation::Quiesce { cpu }));
        draft.times(1, 3, change_at_rest);
        if draft.chance(3, 4) {
            draft.push(Operation::Enable { cpu });
        } else {
            draft.push(Operation::Resume { cpu });
        }
        draft.maybe(1, 2, legal::map_device);
        draft.poll();
    }
}

/// What a host may write while its ITS is off.
fn change_at_rest(draft: &mut Draft<'_, '_>) {
    let cpu = draft.cpu();
    let word = draft.bit();
    let flip =
        draft.pick(&[0, 0, Baser::VALID, 1 << 62, 0x400, 1 << 59, 1 << 53, 0x1000, 1, word], 0);
    let index = draft.below(3) as u8;
    match draft.below(8) {
        0 => draft.push(Operation::WriteBaser { cpu, index, flip }),
        1 | 2 => draft.push(Operation::WriteCbaser { cpu, flip }),
        3 => {
            let register = draft.pick(&[0, 1, 8, 8], 8);
            let first = draft.chance(1, 2);
            for high in [first, !first] {
                draft.push(Operation::WriteHalf { cpu, register, high, flip });
                draft.maybe(1, 3, |draft| draft.poll());
            }
        }
        4 => {
            let frame = draft.frame();
            let bytes = draft.expected.queue_bytes();
            let offset = draft.below(bytes);
            draft.in_halves(frame, Register::Cwriter.offset() as u32, offset);
        }
        5 => draft.retry(),
        6 => hostile::stored(draft),
        _ => draft.poll(),
    }
}

/// The hardware stalls at a command that EL2 forwarded. The host writes others in its place, of the
/// same kind, another, or one that EL2 refuses, and retries; and once more.
fn stalled_repaired_retried(draft: &mut Draft<'_, '_>) {
    draft.maybe(1, 2, limits::as_many_devices_as_records);
    draft.drain();
    let before = draft.below(3);
    draft.push(Operation::Stall { nth: before.saturating_add(1) as u16 });
    (0..before).for_each(|_| draft.command(sync(0)));
    let device_id = draft.below(16) as u32;
    stallable(draft, device_id);
    let after = draft.below(3);
    (0..after).for_each(|_| stallable(draft, device_id));
    draft.post_and_poll();
    draft.maybe(1, 6, |draft| draft.push(Operation::Stall { nth: 1 }));
    for _ in 0..draft.between(1, 3) {
        draft.maybe(7, 8, |draft| {
            let slots = draft.between(1, after.saturating_add(1)) as u8;
            draft.push(Operation::Rewind { slots });
            (0..slots).for_each(|_| stallable(draft, device_id));
        });
        draft.maybe(1, 8, |draft| draft.fail(&[PageChange::Pin], PageChange::Share, 3));
        draft.retry();
        draft.poll();
    }
    draft.rewrite(after);
    draft.poll();
    // A count that is wrong now shows where the records are nearly full.
    draft.maybe(1, 2, |draft| {
        let new = draft.between(0x400, 0x403) as u32;
        draft.attempt(mapd(new, 0, Place::page(Area::ITT, 200), true));
    });
}

/// A command that holds something, or gives it back; now and then one that is refused.
fn stallable(draft: &mut Draft<'_, '_>, device_id: u32) {
    let other = draft.below(16) as u32;
    let itt = Place::at(Area::ITT, draft.between(300, 303) as u16, 0);
    let size = draft.below(8) as u8;
    let (icid, redistributor) = draft.some_collection();
    match draft.below(9) {
        0..=2 => draft.command(mapd(device_id, size, itt, true)),
        3 => draft.command(mapd(device_id, size, itt, false)),
        4 => draft.command(mapd(other, size, itt, true)),
        5 => draft.command(mapc(icid, redistributor, true)),
        6 => {
            let itt = draft.bad_place().align_down(256);
            draft.command(mapd(device_id, size, itt, true));
        }
        _ => draft.command(sync(0)),
    }
}

/// At rest or not, power goes and comes back, memory is another by then, the driver resumes.
fn powerless_changed_on(draft: &mut Draft<'_, '_>) {
    if draft.expected.boot.its == 1 && !draft.chance(1, 2) {
        return off_changed_on(draft);
    }
    draft.drain();
    let cpu = draft.cpu();
    if draft.chance(3, 4) {
        draft.push(Operation::Suspend { cpu });
    } else {
        draft.push(Operation::Disable { cpu });
    }
    draft.lose_power();
    draft.times(0, 2, hostile::stored);
    draft.maybe(1, 2, change_at_rest);
    draft.maybe(1, 4, |draft| {
        draft.lose_power();
    });
    draft.push(Operation::Resume { cpu });
    legal::map_device(draft);
    legal::interrupt(draft);
}

/// A refused command is repaired by another that is refused for another reason, and again.
fn refused_repaired_refused(draft: &mut Draft<'_, '_>) {
    draft.drain();
    let rounds = draft.between(2, 4);
    for round in 0..rounds {
        if round > 0 {
            draft.push(Operation::Rewind { slots: 1 });
        }
        refusable(draft);
        let retry = draft.chance(3, 4);
        draft.on_cpu(|cpu| Operation::WriteCwriter { cpu, retry, double: false });
        draft.maybe(3, 4, |draft| draft.poll());
    }
    draft.rewrite(0);
    draft.poll();
}

fn refusable(draft: &mut Draft<'_, '_>) {
    let ids = draft.expected.device_ids() as u32;
    let itt = Place::page(Area::ITT, 304);
    let bad = draft.bad_place().align_down(256);
    let wide = draft.its().event_id_bits;
    let next = match draft.below(6) {
        0 => mapd(ids, 3, itt, true),
        1 => mapd(3, wide, itt, true),
        2 => mapd(3, 3, bad, true),
        3 => HostCommand::Sync { rdbase: Rdbase::Raw(0x77) },
        4 => HostCommand::Mapc { icid: 0, rdbase: Rdbase::Raw(0x77), valid: true },
        _ => HostCommand::Raw { words: [0xff, 0, 0, 0] },
    };
    draft.command(next);
}

/// A command is refused, the host turns the ITS off, retries while it is off, and turns it on.
fn stopped_retried(draft: &mut Draft<'_, '_>) {
    draft.drain();
    refusable(draft);
    draft.post_and_poll();
    let cpu = draft.cpu();
    draft.push(Operation::Disable { cpu });
    draft.maybe(1, 2, |draft| draft.push(Operation::Quiesce { cpu }));
    draft.maybe(1, 2, |draft| {
        draft.push(Operation::Rewind { slots: 1 });
        draft.command(sync(0));
    });
    draft.retry();
    draft.poll();
    draft.maybe(1, 2, |draft| draft.push(Operation::WriteCbaser { cpu, flip: 0 }));
    draft.push(Operation::Enable { cpu });
    draft.poll();
    draft.rewrite(0);
    draft.poll();
}

/// LPIs of a redistributor go off, its tables or their contents change, and LPIs go on again.
fn lpis_off_changed_on(draft: &mut Draft<'_, '_>) {
    let frame = draft.redistributor();
    draft.access(frame, "CTLR", Direction::Write(0));
    draft.access(frame, "CTLR", Direction::Read);
    let name = draft.pick(&["PROPBASER", "PENDBASER"], "PENDBASER");
    let word = draft.word();
    match (draft.below(3), register_named(frame, name)) {
        (0, Some((offset, _))) => draft.in_halves(frame, offset, word),
        (1, Some(at)) => draft.access_at(frame, at, Direction::Write(word)),
        _ => {
            let value = draft.word() as u8;
            let intid = draft.mapped().map_or(8192, |(_, event)| event.intid);
            draft.on_cpu(|cpu| Operation::Configure { cpu, intid, value });
        }
    }
    draft.access(frame, "CTLR", Direction::Write(1));
    legal::interrupt(draft);
}

/// A device is mapped, mapped again elsewhere, and unmapped, with MAPDs of it in flight.
fn mapped_again(draft: &mut Draft<'_, '_>) {
    draft.drain();
    let device_id = draft.below(16) as u32;
    for page in 0..draft.between(1, 4) {
        let size = draft.below(8) as u8;
        let itt = Place::at(Area::ITT, 304_u16.saturating_add(page as u16), 0xf00);
        let valid = draft.chance(3, 4);
        draft.command(mapd(device_id, size, itt, valid));
        draft.maybe(1, 2, |draft| draft.post());
    }
    draft.post_and_poll();
    draft.maybe(1, 2, |draft| draft.attempt(mapd(device_id, 0, BLANK, false)));
}

/// An ITT with an entry goes; its page changes hands or contents; it comes back.
pub(crate) fn itt_with_a_past(draft: &mut Draft<'_, '_>) {
    let cpu = draft.cpu();
    let device_id = draft.below(8) as u32;
    // An ITT for each device, apart from those of other phrases.
    let (event_id_bits, page) =
        (2, Place::page(Area::ITT, 312_u16.saturating_add(device_id as u16)));
    let map = Operation::MapDevice { cpu, device_id, event_id_bits, itt: page };
    let (icid, _) = draft.some_collection();
    let intid = draft.expected.next_intid;
    draft.push_all([map, Operation::MapEvent { cpu, device_id, event_id: 0, intid, icid }]);
    // Lines of its page are dirty, cleaned, and dirty again.
    for _ in 0..draft.below(3) {
        let value = draft.word();
        draft.push(Operation::Store { cpu, at: page, value });
        draft.maybe_clean(page);
    }
    // Without a DISCARD the entry stays in memory.
    draft.command(mapd(device_id, 0, BLANK, false));
    draft.post_and_poll();
    match draft.below(5) {
        0 | 1 => draft.push_all(legal::away(cpu, page, false)),
        2 => draft.push_all(legal::away(cpu, page, true)),
        3 => draft.push(Operation::Store { cpu, at: page, value: 0 }),
        _ => {}
    }
    draft.push(map);
    draft.push(Operation::Msi { device_id, event_id: 0, half: false });
    legal::interrupt(draft);
}

/// MAPD V=0 needs no ITT.
const BLANK: Place = Place::page(Area::ITT, 0);
