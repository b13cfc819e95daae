//! Legal phrases: what the Linux driver does, with devices and page sharing beside it.

use its_gic::geometry::PAGE_BYTES;
use its_machine::{AccessSize, Area, Direction, Frame, Pace, Place};
use its_scenario::numbers::registers;
use its_scenario::{HostCommand, Operation, Rdbase};

use crate::draft::{Draft, Phrase};
use crate::expected::Device;

/// All of them; the first two are what the others build on.
pub(crate) const PHRASES: &[Phrase] = &[
    map_device,
    map_event,
    interrupt,
    commands,
    unmap,
    collection,
    idle,
    read_registers,
    suspend,
    reset_queue,
    pages,
    long_batch,
    many_devices,
];

/// How many level-1 entries there may be for this generator to add one, of so many blocks of
/// [`Area::LEVEL2`]. The driver takes those from the front, this generator from the back.
const fn own_blocks(blocks: u64) -> u64 {
    if blocks < 8 { 1 } else { 3 }
}

/// Whether there may be no more level-1 entries, so that both never take the same block.
pub(crate) fn no_more_level2(draft: &Draft<'_, '_>) -> bool {
    let (_, blocks) = draft.belief.level2_blocks();
    let used = draft.belief.here().level1.len() as u64;
    used >= blocks.saturating_sub(own_blocks(blocks))
}

/// A device, by the driver or by commands.
pub(crate) fn map_device(draft: &mut Draft<'_, '_>) {
    let Some((device_id, event_id_bits, itt)) = new_device(draft) else {
        return interrupt(draft);
    };
    make_room(draft, 2);
    let cpu = draft.cpu();
    let covered = draft.belief.is_covered(device_id) || grow(draft, device_id);
    if draft.chance(2, 3) || !covered {
        draft.push(Operation::MapDevice { cpu, device_id, event_id_bits, itt });
        return;
    }
    let size = event_id_bits.saturating_sub(1);
    command(draft, HostCommand::Mapd { device_id, size, itt_address: itt, valid: true });
    sometimes_post(draft);
}

/// A DeviceID that is free, and an ITT of its own.
pub(crate) fn new_device(draft: &mut Draft<'_, '_>) -> Option<(u32, u8, Place)> {
    let ids = draft.belief.device_ids();
    let drawn = match draft.below(8) {
        0..=4 => draft.below(ids.min(64)),
        5 => ids.saturating_sub(1),
        _ => draft.below(ids),
    };
    // Level-2 tables are few.
    let known = |index| draft.belief.here().level1.contains(&index);
    let full = no_more_level2(draft);
    let index = draft.belief.level1_index(drawn as u32);
    let device_id = match index {
        Some(index) if full && !known(index) => 0,
        _ => drawn,
    };
    let free = |id: &u64| draft.belief.device(*id as u32).is_none();
    let device_id = (device_id..ids.min(device_id.saturating_add(8))).find(free)?;
    let most = draft.belief.here().configuration.event_id_bits.min(16);
    let event_id_bits = match draft.below(16) {
        0..=11 => draft.between(1, 6),
        12..=14 => draft.between(6, 10),
        _ => u64::from(most),
    };
    let event_id_bits = event_id_bits.min(most.into()) as u8;
    let itt = new_itt(draft, event_id_bits)?;
    Some((device_id as u32, event_id_bits, itt))
}

/// Devices with one bit set in each DeviceID, which is the longest path for whoever looks bit by
/// bit, or any; then some of them go again. Rare, because long.
fn many_devices(draft: &mut Draft<'_, '_>) {
    if !draft.chance(1, 4) {
        return map_device(draft);
    }
    let count = draft.between(4, 20) as u32;
    make_room(draft, count.saturating_mul(2));
    let any = draft.chance(1, 2);
    let mut mapped = Vec::new();
    for bit in 0..count {
        let device_id = match any {
            true => draft.below(64),
            false => 1_u64.checked_shl(bit).unwrap_or(0),
        };
        mapped.extend(map_one_of_many(draft, device_id));
    }
    mapped.extend(map_one_of_many(draft, 0));
    post(draft);
    idle(draft);
    for _ in 0..draft.between(1, 4).min(mapped.len() as u64) {
        let index = match draft.chance(1, 2) {
            true => mapped.len().saturating_sub(1),
            false => draft.below(mapped.len() as u64) as usize,
        };
        let (device_id, itt) = mapped.swap_remove(index);
        let (size, valid) = (0, false);
        command(draft, HostCommand::Mapd { device_id, size, itt_address: itt, valid });
    }
    post(draft);
    idle(draft);
}

/// MAPD of a device with two events, if it is not mapped and its entry is there.
fn map_one_of_many(draft: &mut Draft<'_, '_>, device_id: u64) -> Option<(u32, Place)> {
    if device_id >= draft.belief.device_ids() {
        return None;
    }
    let device_id = device_id as u32;
    if !draft.belief.is_covered(device_id) || draft.belief.device(device_id).is_some() {
        return None;
    }
    let itt = new_itt(draft, 1)?;
    let (size, valid) = (0, true);
    command(draft, HostCommand::Mapd { device_id, size, itt_address: itt, valid });
    Some((device_id, itt))
}

/// Memory for an ITT: next to the last one, on a page of its own, or across the end of a page.
pub(crate) fn new_itt(draft: &mut Draft<'_, '_>, event_id_bits: u8) -> Option<Place> {
    let bytes = draft.belief.itt_bytes(event_id_bits);
    let end = draft.belief.itt_end;
    let start = match draft.below(4) {
        0 | 1 => end.checked_next_multiple_of(256)?,
        2 => end.checked_next_multiple_of(PAGE_BYTES)?,
        _ => end.checked_next_multiple_of(PAGE_BYTES)?.saturating_add(0xf00),
    };
    let limit = u64::from(Area::ITT.pages()).saturating_mul(PAGE_BYTES);
    let place =
        Place::at(Area::ITT, u16::try_from(start / PAGE_BYTES).ok()?, (start % PAGE_BYTES) as u16);
    (start.saturating_add(bytes) <= limit).then_some(place)
}

/// A level-1 shadow entry, if there are shadows and a block is left; whether there is one now.
fn grow(draft: &mut Draft<'_, '_>, device_id: u32) -> bool {
    if !draft.belief.here().guarded {
        return false;
    }
    let Some(level2) = own_level2(draft).filter(|_| !draft.chance(1, 2)) else {
        return false;
    };
    let cpu = draft.cpu();
    draft.push(Operation::Grow { cpu, device_id, level2, flip: 0 });
    true
}

/// Memory for a level-2 table that the driver does not take.
pub(crate) fn own_level2(draft: &Draft<'_, '_>) -> Option<Place> {
    let (first, blocks) = draft.belief.level2_blocks();
    let used = draft.belief.here().level1.len() as u64;
    let last = first.saturating_add(blocks).saturating_sub(1);
    let block = last.saturating_sub(used);
    let place = Place::page(Area::LEVEL2, block.saturating_mul(16) as u16);
    (used < own_blocks(blocks)).then_some(place)
}

pub(crate) fn map_event(draft: &mut Draft<'_, '_>) {
    let Some(device) = some_device(draft) else {
        return map_device(draft);
    };
    let Some(event_id) = device.free_event() else {
        return interrupt(draft);
    };
    make_room(draft, 3);
    let device_id = device.device_id;
    let intid = draft.belief.next_intid;
    let (icid, redistributor) = some_collection(draft);
    let cpu = draft.cpu();
    if draft.chance(1, 2) {
        draft.push(Operation::MapEvent { cpu, device_id, event_id, intid, icid });
        return;
    }
    // MAPI makes the EventID the INTID, which must be an LPI.
    command(draft, HostCommand::Mapti { device_id, event_id, intid, icid });
    sync(draft, redistributor);
    sometimes_post(draft);
}

/// A device raises one of its events.
pub(crate) fn interrupt(draft: &mut Draft<'_, '_>) {
    let (device_id, event_id) = some_event(draft);
    for _ in 0..draft.between(1, 3) {
        draft.push(Operation::Msi { device_id, event_id, half: false });
    }
}

/// A few commands on what is mapped.
pub(crate) fn commands(draft: &mut Draft<'_, '_>) {
    let count = draft.between(1, 6);
    make_room(draft, (count as u32).saturating_mul(2));
    for _ in 0..count {
        let (device_id, event_id) = some_event(draft);
        let (icid, redistributor) = some_collection(draft);
        let next = match draft.below(6) {
            0 => HostCommand::Inv { device_id, event_id },
            1 => HostCommand::Int { device_id, event_id },
            2 => HostCommand::Clear { device_id, event_id },
            3 | 4 => HostCommand::Movi { device_id, event_id, icid },
            _ => HostCommand::Invall { icid },
        };
        let mapped = draft.belief.device(device_id);
        let mapped = mapped.is_some_and(|device| device.has(event_id));
        if mapped || matches!(next, HostCommand::Invall { .. }) {
            command(draft, next);
        }
        sync(draft, redistributor);
    }
    post(draft);
    idle(draft);
}

/// The driver frees a device, or one event of it.
pub(crate) fn unmap(draft: &mut Draft<'_, '_>) {
    let Some(device) = some_device(draft) else {
        return map_device(draft);
    };
    let device_id = device.device_id;
    make_room(draft, (device.events.len() as u32).saturating_mul(2).saturating_add(4));
    if draft.chance(1, 2) {
        let cpu = draft.cpu();
        draft.push(Operation::UnmapDevice { cpu, device_id });
        return idle(draft);
    }
    for event_id in device.events.iter().map(|event| event.event_id).take(16) {
        command(draft, HostCommand::Discard { device_id, event_id });
        sync(draft, 0);
    }
    if device.events.len() <= 16 && draft.chance(2, 3) {
        command(
            draft,
            HostCommand::Mapd {
                device_id,
                size: device.event_id_bits.saturating_sub(1),
                itt_address: device.itt,
                valid: false,
            },
        );
    }
    post(draft);
    idle(draft);
}

/// A collection once more, or a new one.
pub(crate) fn collection(draft: &mut Draft<'_, '_>) {
    let (mut icid, mut redistributor) = some_collection(draft);
    let bits = draft.belief.here().configuration.collection_id_bits;
    if bits >= 2 && draft.chance(1, 2) {
        let fresh = match draft.chance(1, 2) {
            true => 2,
            false => 3,
        };
        let known = draft.belief.here().collections.iter().any(|(known, _)| *known == fresh);
        let index = draft.belief.collection_index(fresh);
        let covered = index.is_none_or(|index| draft.belief.here().level1.contains(&index));
        if !known && covered {
            (icid, redistributor) = (fresh, draft.below(2) as u8);
        }
    }
    make_room(draft, 4);
    command(draft, HostCommand::Mapc { icid, rdbase: Rdbase::Of(redistributor), valid: true });
    sync(draft, redistributor);
    command(draft, HostCommand::Invall { icid });
    post(draft);
}

/// The host waits a little.
pub(crate) fn idle(draft: &mut Draft<'_, '_>) {
    if draft.belief.here().configuration.pace == Pace::Never || draft.chance(1, 8) {
        let commands = draft.pick(&[1, 2, 7, 64, 200], 64);
        draft.push(Operation::Advance { commands });
    }
    let cpu = draft.cpu();
    let times = draft.pick(&[1, 2, 4, 16], 1);
    draft.push(Operation::Poll { cpu, times });
}

/// Of those that can be read.
pub(crate) fn read_registers(draft: &mut Draft<'_, '_>) {
    let its = draft.frame();
    let frame = draft.pick(&[its, its, Frame::Redistributor(0)], its);
    let readable = registers(frame).filter(|(name, _, _)| !name.starts_with("INV"));
    let known: Vec<_> = readable.map(|(_, offset, size)| (offset, size)).collect();
    for _ in 0..draft.between(1, 4) {
        let (offset, size) = draft.pick(&known, (0, AccessSize::Word));
        let cpu = draft.cpu();
        draft.push(Operation::access(cpu, frame, (offset, size), Direction::Read));
    }
}

/// Down and up again, by the driver.
pub(crate) fn suspend(draft: &mut Draft<'_, '_>) {
    drain(draft);
    let cpu = draft.cpu();
    draft.push(Operation::Suspend { cpu });
    if draft.chance(1, 4) {
        read_registers(draft);
    }
    draft.push(Operation::Resume { cpu });
}

/// Down and up again, register by register.
pub(crate) fn reset_queue(draft: &mut Draft<'_, '_>) {
    drain(draft);
    let cpu = draft.cpu();
    draft.push(Operation::Disable { cpu });
    draft.push(Operation::Quiesce { cpu });
    draft.push(Operation::WriteCbaser { cpu, flip: 0 });
    let offset = its_gic::Register::Cwriter.offset() as u32;
    draft.push(Operation::access(
        cpu,
        draft.frame(),
        (offset, AccessSize::Double),
        Direction::Write(0),
    ));
    for index in 0..draft.below(3) {
        let index = index as u8;
        draft.push(Operation::WriteBaser { cpu, index, flip: 0 });
    }
    draft.push(Operation::Enable { cpu });
}

/// A page of the host goes somewhere and comes back.
pub(crate) fn pages(draft: &mut Draft<'_, '_>) {
    let area = draft.pick(&[Area::HOST, Area::HIGH], Area::HOST);
    let page = Place::page(area, draft.below(area.pages().into()) as u16);
    let cpu = draft.cpu();
    let shared = draft.chance(1, 2);
    let value = draft.word();
    draft.push(Operation::Store { cpu, at: page, value });
    draft.push(match shared {
        true => Operation::Share { cpu, page },
        false => Operation::DonateGuest { cpu, page },
    });
    if draft.chance(1, 2) {
        interrupt(draft);
    }
    draft.push(match shared {
        true => Operation::Unshare { cpu, page },
        false => Operation::ReclaimGuest { cpu, page },
    });
    draft.push(Operation::Load { cpu, at: page });
}

/// More commands at once than EL2 keeps in flight; rare, because long.
fn long_batch(draft: &mut Draft<'_, '_>) {
    if !draft.chance(1, 8) {
        return commands(draft);
    }
    drain(draft);
    let most = u64::from(draft.belief.room()).min(126);
    for _ in 0..draft.between(60, most) {
        let (device_id, event_id) = some_event(draft);
        let mapped = draft.belief.device(device_id);
        let mapped = mapped.is_some_and(|device| device.has(event_id));
        let (icid, redistributor) = some_collection(draft);
        match draft.below(3) {
            0 if mapped => command(draft, HostCommand::Movi { device_id, event_id, icid }),
            1 if mapped => command(draft, HostCommand::Int { device_id, event_id }),
            _ => sync(draft, redistributor),
        }
    }
    post(draft);
    drain(draft);
}

/// The set-up hypercall as the driver makes it.
pub(crate) fn set_up(draft: &mut Draft<'_, '_>) {
    let cpu = draft.cpu();
    draft.push(Operation::SetUp {
        cpu,
        private: Place::page(draft.area(Area::PRIVATE), 0),
        descriptor: Place::page(draft.area(Area::DESCRIPTOR), 0),
        private_pages: draft.belief.boot.private_pages.into(),
        device_flip: 0,
    });
}

/// Nothing is left in the queue.
pub(crate) fn drain(draft: &mut Draft<'_, '_>) {
    if draft.belief.here().written > 0 {
        post(draft);
    }
    for _ in 0..40 {
        let posted = draft.belief.here().posted;
        let (commands, times) = match draft.belief.here().configuration.pace {
            _ if posted == 0 => return,
            Pace::AtOnce => (0, 2),
            Pace::Late => (0, posted.min(255) as u8),
            Pace::Never => (64, 1),
        };
        let cpu = draft.cpu();
        if commands > 0 {
            draft.push(Operation::Advance { commands });
        }
        draft.push(Operation::Poll { cpu, times });
    }
}

/// What was written is posted and looked at.
pub(crate) fn finish(draft: &mut Draft<'_, '_>) {
    drain(draft);
    idle(draft);
    interrupt(draft);
}

/// Waits until so many slots are free.
pub(crate) fn make_room(draft: &mut Draft<'_, '_>, slots: u32) {
    if draft.belief.room() <= slots {
        drain(draft);
    }
}

pub(crate) fn command(draft: &mut Draft<'_, '_>, command: HostCommand) {
    let cpu = draft.cpu();
    draft.push(Operation::Command { cpu, command });
}

pub(crate) fn sync(draft: &mut Draft<'_, '_>, redistributor: u8) {
    let rdbase = Rdbase::Of(redistributor);
    command(draft, HostCommand::Sync { rdbase });
}

/// As Linux does it, mostly.
pub(crate) fn post(draft: &mut Draft<'_, '_>) {
    let cpu = draft.cpu();
    let double = draft.chance(1, 4);
    draft.push(Operation::Post { cpu, retry: false, double });
}

/// Often a batch grows.
pub(crate) fn sometimes_post(draft: &mut Draft<'_, '_>) {
    if draft.chance(2, 3) {
        post(draft);
    }
}

pub(crate) fn some_device(draft: &mut Draft<'_, '_>) -> Option<Device> {
    let index = draft.below(draft.belief.here().devices.len() as u64);
    draft.belief.here().devices.get(index as usize).cloned()
}

/// A mapped event, if there is one; else one that is not.
pub(crate) fn some_event(draft: &mut Draft<'_, '_>) -> (u32, u32) {
    let Some(device) = some_device(draft) else {
        return (0, 0);
    };
    let index = draft.below(device.events.len() as u64);
    let event = device.events.get(index as usize);
    (device.device_id, event.map_or(0, |event| event.event_id))
}

/// ICID and redistributor.
pub(crate) fn some_collection(draft: &mut Draft<'_, '_>) -> (u16, u8) {
    let index = draft.below(draft.belief.here().collections.len() as u64);
    let collection = draft.belief.here().collections.get(index as usize);
    collection.copied().unwrap_or((0, 0))
}
