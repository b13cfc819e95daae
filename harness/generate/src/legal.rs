//! Legal phrases: what the Linux driver does, with devices and page sharing next to it.

use crate::words::*;

/// All of them; the first two are what the others build on.
#[rustfmt::skip]
pub(crate) const PHRASES: &[Phrase] = &[
    map_device, map_event, interrupt, commands, unmap, collection, idle, read_registers, suspend,
    reset_queue, pages, long_batch, many_devices, meanwhile,
];

/// The most devices that are unmapped at the end.
const LAST_DEVICES: u64 = 32;

/// A device, by the driver or by commands.
pub(crate) fn map_device(draft: &mut Draft<'_, '_>) {
    let Some((device_id, event_id_bits, itt)) = draft.new_device() else { return interrupt(draft) };
    draft.make_room(2);
    let cpu = draft.cpu();
    let covered = draft.expected.is_covered(device_id) || grow(draft, device_id);
    if draft.chance(2, 3) || !covered {
        // EL2 must not rely on zeroes; an ITS that its host owns may.
        if draft.expected.here().guarded && !covered && draft.chance(1, 4) {
            let level2 = draft.next_level2();
            not_zero(draft, level2);
        }
        draft.push(Operation::MapDevice { cpu, device_id, event_id_bits, itt });
        return;
    }
    draft.command(mapd(device_id, event_id_bits.saturating_sub(1), itt, true));
    draft.sometimes_post();
}

/// Devices with one bit set in each DeviceID, which is the longest path for whoever looks bit by
/// bit, or any; then some of them go again. Rare, because long.
fn many_devices(draft: &mut Draft<'_, '_>) {
    if !draft.chance(1, 4) {
        return map_device(draft);
    }
    let count = draft.between(4, 20) as u32;
    draft.make_room(count.saturating_mul(2));
    let any = draft.chance(1, 2);
    let mut mapped = Vec::new();
    for bit in 0..count {
        let device_id = if any { draft.below(64) } else { 1_u64.checked_shl(bit).unwrap_or(0) };
        mapped.extend(map_one_of_many(draft, device_id));
    }
    mapped.extend(map_one_of_many(draft, 0));
    draft.post();
    idle(draft);
    for _ in 0..draft.between(1, 4).min(mapped.len() as u64) {
        let last = mapped.len().saturating_sub(1) as u64;
        let index = if draft.chance(1, 2) { last } else { draft.between(0, last) };
        let (device_id, itt) = mapped.swap_remove(index as usize);
        draft.command(mapd(device_id, 0, itt, false));
    }
    draft.post();
    idle(draft);
}

/// MAPD of a device with two events, if it is not mapped and its entry is there.
fn map_one_of_many(draft: &mut Draft<'_, '_>, device_id: u64) -> Option<(u32, Place)> {
    let device_id = u32::try_from(device_id).ok()?;
    let state = &draft.expected;
    let free = u64::from(device_id) < state.device_ids() && state.device(device_id).is_none();
    let itt = (free && state.is_covered(device_id)).then(|| draft.new_itt(1))??;
    draft.command(mapd(device_id, 0, itt, true));
    Some((device_id, itt))
}

/// A level-1 shadow entry, if there are shadows and a block is left; whether there is one now.
fn grow(draft: &mut Draft<'_, '_>, device_id: u32) -> bool {
    if !draft.expected.here().guarded {
        return false;
    }
    let Some(level2) = draft.own_level2().filter(|_| !draft.chance(1, 2)) else { return false };
    draft.maybe(1, 4, |draft| not_zero(draft, level2));
    draft.on_cpu(|cpu| Operation::Grow { cpu, device_id, level2, flip: 0 });
    true
}

/// Memory that the host gives away holds what looks like a valid entry of a table.
pub(crate) fn not_zero(draft: &mut Draft<'_, '_>, page: Place) {
    let at = Place::of(page.address().saturating_add(draft.word_of(PAGE_BYTES / 8).into()));
    let value = draft.word() | 1 << 63;
    draft.on_cpu(|cpu| Operation::Store { cpu, at, value });
    draft.clean(at);
}

pub(crate) fn map_event(draft: &mut Draft<'_, '_>) {
    let Some(device) = draft.some_device() else { return map_device(draft) };
    let Some(event_id) = draft.free_event(&device) else { return interrupt(draft) };
    draft.make_room(3);
    let device_id = device.device_id;
    let intid = draft.expected.next_intid;
    let (icid, redistributor) = draft.some_collection();
    let cpu = draft.cpu();
    if draft.chance(1, 2) {
        draft.push(Operation::MapEvent { cpu, device_id, event_id, intid, icid });
        return;
    }
    // MAPI makes the EventID the INTID, which must be an LPI.
    draft.command(HostCommand::Mapti { device_id, event_id, intid, icid });
    draft.sync_with(redistributor);
    draft.sometimes_post();
}

/// A device raises one of its events.
pub(crate) fn interrupt(draft: &mut Draft<'_, '_>) {
    let (device_id, event_id) = draft.some_event();
    draft.times(1, 3, |draft| draft.push(Operation::Msi { device_id, event_id, half: false }));
}

/// A few commands on what is mapped.
pub(crate) fn commands(draft: &mut Draft<'_, '_>) {
    let count = draft.between(1, 6);
    draft.make_room((count as u32).saturating_mul(2));
    for _ in 0..count {
        let (device_id, event_id) = draft.some_event();
        let (icid, redistributor) = draft.some_collection();
        let next = match draft.below(6) {
            0 => HostCommand::Inv { device_id, event_id },
            1 => HostCommand::Int { device_id, event_id },
            2 => HostCommand::Clear { device_id, event_id },
            3 | 4 => HostCommand::Movi { device_id, event_id, icid },
            _ => HostCommand::Invall { icid },
        };
        let mapped = draft.expected.event(device_id, event_id).is_some();
        if mapped || matches!(next, HostCommand::Invall { .. }) {
            draft.command(next);
        }
        draft.sync_with(redistributor);
    }
    draft.post();
    idle(draft);
}

/// The driver frees a device, or one event of it.
pub(crate) fn unmap(draft: &mut Draft<'_, '_>) {
    let Some(device) = draft.some_device() else { return map_device(draft) };
    let device_id = device.device_id;
    draft.make_room((device.events.len() as u32).saturating_mul(2).saturating_add(4));
    if draft.chance(1, 2) {
        draft.on_cpu(|cpu| Operation::UnmapDevice { cpu, device_id });
        return idle(draft);
    }
    for event_id in device.events.iter().map(|event| event.event_id).take(16) {
        draft.command(HostCommand::Discard { device_id, event_id });
        draft.sync_with(0);
    }
    if device.events.len() <= 16 && draft.chance(2, 3) {
        draft.command(mapd(device_id, device.event_id_bits.saturating_sub(1), device.itt, false));
    }
    draft.post();
    idle(draft);
}

/// A collection once more, or a new one.
pub(crate) fn collection(draft: &mut Draft<'_, '_>) {
    let (mut icid, mut redistributor) = draft.some_collection();
    let bits = draft.its().collection_id_bits;
    if bits >= 2 && draft.chance(1, 2) {
        let fresh = if draft.chance(1, 2) { 2 } else { 3 };
        let (here, index) = (draft.expected.here(), draft.expected.collection_index(fresh));
        if here.redistributor(fresh).is_none() && here.has_level1(index) {
            (icid, redistributor) = (fresh, draft.any_cpu());
        }
    }
    draft.make_room(4);
    draft.command(mapc(icid, redistributor, true));
    draft.sync_with(redistributor);
    draft.send(HostCommand::Invall { icid });
}

/// The host waits a little.
pub(crate) fn idle(draft: &mut Draft<'_, '_>) {
    if draft.its().pace == Pace::Never || draft.chance(1, 8) {
        let commands = draft.pick(&[1, 2, 7, 64, 200], 64);
        draft.push(Operation::Advance { commands });
    }
    let cpu = draft.cpu();
    let times = draft.pick(&[1, 2, 4, 16], 1);
    draft.push(Operation::Poll { cpu, times });
}

/// The hardware goes on while EL2 looks at it, soon or late.
fn meanwhile(draft: &mut Draft<'_, '_>) {
    let (device_id, event_id) = draft.some_event();
    draft.make_room(4);
    if draft.expected.event(device_id, event_id).is_some() {
        draft.command(HostCommand::Inv { device_id, event_id });
    }
    let (_, redistributor) = draft.some_collection();
    draft.sync_with(redistributor);
    let after = draft.pick(&[0, 1, 2, 3, 8, 100, 1000], 0);
    let commands = draft.between(1, 8) as u16;
    draft.push(Operation::Progress { after, commands });
    draft.post();
    draft.push(Operation::Progress { after, commands });
    let cpu = draft.cpu();
    draft.push(Operation::Poll { cpu, times: 2 });
}

/// Of those that can be read.
pub(crate) fn read_registers(draft: &mut Draft<'_, '_>) {
    let its = draft.frame();
    let frame = draft.pick(&[its, its, Frame::Redistributor(0)], its);
    let readable = registers(frame).filter(|(name, _, _)| !name.starts_with("INV"));
    let known: Vec<_> = readable.map(|(_, offset, size)| (offset, size)).collect();
    for _ in 0..draft.between(1, 4) {
        let (offset, size) = draft.pick(&known, (0, AccessSize::Word));
        draft.on_cpu(|cpu| Operation::access(cpu, frame, (offset, size), Direction::Read));
    }
}

/// Down and up again, by the driver.
pub(crate) fn suspend(draft: &mut Draft<'_, '_>) {
    draft.suspended(|draft| draft.maybe(1, 4, read_registers));
}

/// Down and up again, register by register.
pub(crate) fn reset_queue(draft: &mut Draft<'_, '_>) {
    draft.drain();
    let cpu = draft.cpu();
    draft.push_all([Operation::Disable { cpu }, Operation::Quiesce { cpu }]);
    draft.push(Operation::WriteCbaser { cpu, flip: 0 });
    draft.write_cwriter(cpu, 0);
    for index in 0..draft.below(3) as u8 {
        draft.push(Operation::WriteBaser { cpu, index, flip: 0 });
    }
    draft.push(Operation::Enable { cpu });
}

/// Shares a page or gives it to a guest, and the way back.
pub(crate) const fn away(cpu: u8, page: Place, shared: bool) -> [Operation; 2] {
    if shared {
        [Operation::Share { cpu, page }, Operation::Unshare { cpu, page }]
    } else {
        [Operation::DonateGuest { cpu, page }, Operation::ReclaimGuest { cpu, page }]
    }
}

/// A page of the host goes somewhere and comes back.
pub(crate) fn pages(draft: &mut Draft<'_, '_>) {
    let area = draft.pick(&[Area::HOST, Area::HIGH], Area::HOST);
    let page = draft.page_of(area);
    let cpu = draft.cpu();
    let [gone, back] = away(cpu, page, draft.chance(1, 2));
    let value = draft.word();
    draft.push_all([Operation::Store { cpu, at: page, value }, gone]);
    draft.maybe(1, 2, interrupt);
    draft.push_all([back, Operation::Load { cpu, at: page }]);
}

/// More commands at once than EL2 keeps in flight; rare, because long.
fn long_batch(draft: &mut Draft<'_, '_>) {
    if !draft.chance(1, 8) {
        return commands(draft);
    }
    draft.drain();
    let most = u64::from(draft.expected.room()).min(126);
    for _ in 0..draft.between(60, most) {
        let (device_id, event_id) = draft.some_event();
        let mapped = draft.expected.event(device_id, event_id).is_some();
        let (icid, redistributor) = draft.some_collection();
        match draft.below(3) {
            0 if mapped => draft.command(HostCommand::Movi { device_id, event_id, icid }),
            1 if mapped => draft.command(HostCommand::Int { device_id, event_id }),
            _ => draft.sync_with(redistributor),
        }
    }
    draft.settle();
}

/// The set-up of redistributors.
fn redistributors(draft: &mut Draft<'_, '_>) {
    draft.on_cpu(|cpu| Operation::SetUpRedistributors { cpu });
}

/// The set-up hypercall as the driver makes it.
pub(crate) fn set_up(draft: &mut Draft<'_, '_>) {
    let cpu = draft.cpu();
    let [private, descriptor] = draft.own_places();
    let private_pages = draft.expected.boot.private_pages.into();
    draft.maybe(1, 8, redistributors);
    draft.push(Operation::SetUp { cpu, private, descriptor, private_pages, device_flip: 0 });
    draft.maybe(1, 4, redistributors);
}

/// What was written is submitted and looked at. Now and then the driver unmaps every device first,
/// so that EL2 holds nothing for them at the end.
pub(crate) fn finish(draft: &mut Draft<'_, '_>) {
    draft.maybe(1, 4, unmap_all);
    draft.drain();
    idle(draft);
    interrupt(draft);
}

/// The driver unmaps devices in any order, 32 at most.
fn unmap_all(draft: &mut Draft<'_, '_>) {
    for _ in 0..LAST_DEVICES {
        let Some(device) = draft.some_device() else { return };
        draft.make_room((device.events.len() as u32).saturating_mul(2).saturating_add(4));
        draft.on_cpu(|cpu| Operation::UnmapDevice { cpu, device_id: device.device_id });
    }
}
