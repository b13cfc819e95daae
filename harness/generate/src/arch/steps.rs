//! Single steps that phrases are made of: draws of ids around what is mapped, waiting, recovering.

use its_machine::{AccessSize, Direction, Frame};
use its_scenario::numbers::registers;
use its_scenario::{CPUS, HostCommand, Operation, Rdbase};

use crate::draft::Draft;
use crate::expected::{Device, Event};
use crate::legal::{command, drain, post, reset_queue, some_collection, some_device, some_event};

/// A mapped event of a mapped device, if there is one.
pub(crate) fn mapped(draft: &mut Draft<'_, '_>) -> Option<(Device, Event)> {
    let (device_id, event_id) = some_event(draft);
    let event = draft.belief.event(device_id, event_id)?;
    Some((draft.belief.device(device_id)?.clone(), event))
}

/// A DeviceID: mapped, at a limit, or anything.
pub(crate) fn any_device(draft: &mut Draft<'_, '_>) -> u32 {
    let named = 1_u64 << draft.belief.here().configuration.device_id_bits;
    let ids = draft.belief.device_ids();
    match draft.below(8) {
        0..=2 => some_device(draft).map_or(0, |device| device.device_id),
        3 => ids as u32,
        4 => named as u32,
        5 => ids.saturating_sub(1) as u32,
        6 => draft.below(64) as u32,
        _ => draft.word() as u32,
    }
}

/// An EventID: of a device, at its limit or that of the ITS, or anything.
pub(crate) fn any_event(draft: &mut Draft<'_, '_>, device_id: u32) -> u32 {
    let device = draft.belief.device(device_id).cloned();
    let bits = device.as_ref().map_or(5, |device| device.event_id_bits);
    let end = 1_u32.checked_shl(bits.into()).unwrap_or(0);
    let limit = 1_u32 << draft.belief.here().configuration.event_id_bits;
    match draft.below(8) {
        0..=2 => {
            let events = device.map_or(Vec::new(), |device| device.events);
            let index = draft.below(events.len() as u64) as usize;
            events.get(index).map_or(0, |event| event.event_id)
        }
        3 => end,
        4 => end.saturating_sub(1),
        5 => draft.pick(&[limit, limit.saturating_sub(1), 1 << 16], limit),
        6 => draft.below(end.into()) as u32,
        _ => draft.word() as u32,
    }
}

/// An ICID: mapped, unmapped, at a limit, or anything.
pub(crate) fn any_collection(draft: &mut Draft<'_, '_>) -> u16 {
    let configuration = draft.belief.here().configuration;
    let limit = 1_u32 << configuration.collection_id_bits;
    let held = u16::from(configuration.hardware_collections);
    match draft.below(8) {
        0..=2 => some_collection(draft).0,
        3 | 4 => draft.below(6) as u16,
        5 => draft.pick(&[limit as u16, limit.saturating_sub(1) as u16], u16::MAX),
        6 => {
            // The table's first and last collection, whether those that are held come before or
            // not.
            let bytes = u64::from(configuration.collection_entry_bytes);
            let entries =
                configuration.largest_page_size().bytes().checked_div(bytes).unwrap_or(0) as u16;
            let beyond = entries.saturating_add(held);
            let edges = [held, entries, beyond].map(|edge| [edge.saturating_sub(1), edge]);
            draft.pick(edges.as_flattened(), held)
        }
        _ => draft.word() as u16,
    }
}

/// An INTID: the next free one mostly, one of a few that are used again and again, or one that is
/// no LPI.
pub(crate) fn any_intid(draft: &mut Draft<'_, '_>) -> u32 {
    let next = draft.belief.next_intid;
    let low = draft.between(8192, 8200) as u32;
    match draft.below(8) {
        0..=3 => next,
        4 => low,
        5 => draft.pick(&[0xffff, 0xfffe, 0x4000, 0x3fff], 0xffff),
        _ => draft.pick(&[0, 1023, 8191, 0x1_0000, u32::MAX], 8191),
    }
}

/// An RDbase that names a redistributor, or none.
pub(crate) fn any_rdbase(draft: &mut Draft<'_, '_>) -> Rdbase {
    let field = draft.word() & Rdbase::MAX;
    let raw = [2, 1 << 35, field, Rdbase::MAX];
    match draft.below(3) {
        0 => Rdbase::Raw(draft.pick(&raw, 2)),
        1 => Rdbase::Of(0),
        _ => Rdbase::Of(1),
    }
}

/// A SYNC for the redistributor of an event's collection.
pub(crate) fn sync_event(draft: &mut Draft<'_, '_>, device_id: u32, event_id: u32) {
    let redistributor = draft.belief.redistributor_of(device_id, event_id);
    sync_with(draft, redistributor);
}

pub(crate) fn sync_with(draft: &mut Draft<'_, '_>, redistributor: u8) {
    let rdbase = Rdbase::Of(redistributor);
    command(draft, HostCommand::Sync { rdbase });
}

/// A device raises an event.
pub(crate) fn raise(draft: &mut Draft<'_, '_>, device_id: u32, event_id: u32) {
    let half = event_id <= u16::MAX.into() && draft.chance(1, 6);
    draft.push(Operation::Msi { device_id, event_id, half });
}

pub(crate) fn acknowledge(draft: &mut Draft<'_, '_>, cpu: u8) {
    draft.push(Operation::Acknowledge { cpu });
}

/// Both CPUs take what they are offered.
pub(crate) fn acknowledge_all(draft: &mut Draft<'_, '_>) {
    for cpu in 0..CPUS {
        acknowledge(draft, cpu);
    }
}

/// An event is raised and taken where it should be.
pub(crate) fn deliver(draft: &mut Draft<'_, '_>, device_id: u32, event_id: u32) {
    raise(draft, device_id, event_id);
    let cpu = draft.belief.redistributor_of(device_id, event_id);
    acknowledge(draft, cpu);
}

/// A command that could be refused, in a batch or not, and the way out if it was.
pub(crate) fn risk(draft: &mut Draft<'_, '_>, odd: HostCommand) {
    make_way(draft);
    command(draft, odd);
    outlive(draft);
}

/// Nothing is in the queue, so that what is refused is what comes now.
pub(crate) fn make_way(draft: &mut Draft<'_, '_>) {
    if draft.belief.here().written > 0 || draft.belief.room() < 16 {
        drain(draft);
    }
}

/// After the last command of the queue could be refused: it is posted, and if the ITS stalls it
/// gets on again.
pub(crate) fn outlive(draft: &mut Draft<'_, '_>) {
    let after = match draft.chance(1, 3) {
        true => draft.between(1, 3),
        false => 0,
    };
    for _ in 0..after {
        harmless(draft);
    }
    post(draft);
    drain(draft);
    if draft.chance(1, 2) {
        let cpu = draft.cpu();
        draft.push(Operation::Poll { cpu, times: 1 });
    }
    match draft.below(10) {
        0 => reset_queue(draft),
        1 => {
            retry(draft);
            rewrite(draft, after);
        }
        _ => rewrite(draft, after),
    }
    drain(draft);
}

/// The refused command and those after it become others. Where none was refused they are not read
/// again.
pub(crate) fn rewrite(draft: &mut Draft<'_, '_>, after: u64) {
    let slots = after.saturating_add(1) as u8;
    draft.push(Operation::Rewind { slots });
    for _ in 0..slots {
        harmless(draft);
    }
    retry(draft);
}

/// A command that no ITS refuses.
pub(crate) fn harmless(draft: &mut Draft<'_, '_>) {
    let (icid, redistributor) = some_collection(draft);
    let mapped = draft.belief.here().redistributor(icid).is_some();
    match mapped && draft.chance(1, 4) {
        true => command(draft, HostCommand::Invall { icid }),
        false => sync_with(draft, redistributor),
    }
}

pub(crate) fn retry(draft: &mut Draft<'_, '_>) {
    let cpu = draft.cpu();
    draft.push(Operation::Post { cpu, retry: true, double: false });
}

/// The ITS comes to rest.
pub(crate) fn rest(draft: &mut Draft<'_, '_>) {
    let cpu = draft.cpu();
    draft.push(Operation::Disable { cpu });
    draft.push(Operation::Quiesce { cpu });
}

/// The ITS goes on.
pub(crate) fn go_on(draft: &mut Draft<'_, '_>) {
    let cpu = draft.cpu();
    draft.push(Operation::Enable { cpu });
}

/// Reads or writes a register by name; what is no register is left out.
pub(crate) fn access(draft: &mut Draft<'_, '_>, frame: Frame, name: &str, direction: Direction) {
    let known = registers(frame).find(|(known, _, _)| known == name);
    if let Some((_, offset, size)) = known {
        access_at(draft, frame, (offset, size), direction);
    }
}

pub(crate) fn access_at(
    draft: &mut Draft<'_, '_>,
    frame: Frame,
    (offset, size): (u32, AccessSize),
    direction: Direction,
) {
    let cpu = draft.cpu();
    draft.push(Operation::access(cpu, frame, (offset, size), direction));
}

pub(crate) fn read(draft: &mut Draft<'_, '_>, name: &str) {
    let frame = draft.frame();
    access(draft, frame, name, Direction::Read);
}

pub(crate) fn write(draft: &mut Draft<'_, '_>, name: &str, value: u64) {
    let frame = draft.frame();
    access(draft, frame, name, Direction::Write(value));
}
