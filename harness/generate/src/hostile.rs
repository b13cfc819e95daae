//! Phrases of a host that is wrong, or attacks.

use its_machine::{ITS_FRAMES, LINEAR_MAP};

use super::hvc;
use super::legal::set_up;
use crate::words::*;

/// All of them.
#[rustfmt::skip]
pub(crate) const PHRASES: &[Phrase] = &[
    bad_itt, bad_ids, bad_redistributor, no_command, refused_and_repaired, stalled_and_replaced,
    odd_cwriter, full_queue, rewritten, tampered, failing, taken_away, stored, bad_level2,
    other_registers, while_running, hypercalls, hypercalls, odd_access, remapped,
    strange_interrupt, anything, run_of_devices, page_life, one_bit_off, written_back,
];

/// A line that EL2 may have left dirty leaves the cache.
fn written_back(draft: &mut Draft<'_, '_>) {
    let area = draft.pick(&draft.areas(), Area::QUEUE);
    let (page, offset) = (draft.below(area.pages().min(4).into()), draft.word_of(PAGE_BYTES / 8));
    draft.push(Operation::WriteBack { at: Place::at(area, page as u16, offset) });
    draft.poll();
}

/// MAPD with an ITT where none may be, or larger than it may be.
fn bad_itt(draft: &mut Draft<'_, '_>) {
    let device_id = draft.below(16) as u32;
    let itt = draft.bad_place();
    let size = draft.pick(&[0_u8, 4, 11, 15, 16, 31], 4);
    if draft.chance(1, 4) {
        let event_id_bits = size.saturating_add(1);
        draft.on_cpu(|cpu| Operation::MapDevice { cpu, device_id, event_id_bits, itt });
        return draft.poll();
    }
    let valid = !draft.chance(1, 8);
    draft.attempt(mapd(device_id, size, itt, valid));
}

/// A command with an id that is out of range, or that names nothing.
pub(super) fn bad_ids(draft: &mut Draft<'_, '_>) {
    let (mapped_device, mapped_event) = draft.some_event();
    let ids = draft.expected.device_ids();
    let bits = draft.its().device_id_bits;
    let device_id = match draft.below(4) {
        0 => mapped_device,
        1 => ids as u32,
        2 => 1_u32.checked_shl(bits.into()).unwrap_or(u32::MAX),
        _ => draft.word() as u32,
    };
    let event_id = match draft.below(3) {
        0 => mapped_event,
        1 => 1 << 16,
        _ => draft.word() as u32,
    };
    let icid = match draft.below(3) {
        0 => 0,
        1 => u16::MAX,
        _ => draft.word() as u16,
    };
    let intid = draft.pick(&[0, 1023, 8191, 8192, 0xffff, 0x1_0000, u32::MAX], 0);
    let itt = Place::page(Area::ITT, 300);
    let rdbase = Rdbase::Of(0);
    let bad = match draft.below(10) {
        0 | 1 => mapd(device_id, 4, itt, draft.chance(3, 4)),
        2 => HostCommand::Mapti { device_id, event_id, intid, icid },
        3 | 4 => HostCommand::Mapi { device_id, event_id, icid },
        5 => HostCommand::Movi { device_id, event_id, icid },
        6 => HostCommand::Mapc { icid, rdbase, valid: draft.chance(3, 4) },
        7 => HostCommand::Invall { icid },
        8 => HostCommand::Inv { device_id, event_id },
        _ => HostCommand::Discard { device_id, event_id },
    };
    draft.attempt(bad);
}

/// A command that names no redistributor, or moves all from one to another.
fn bad_redistributor(draft: &mut Draft<'_, '_>) {
    let (icid, _) = draft.some_collection();
    let field = draft.word() & Rdbase::MAX;
    let rdbase = draft.pick(
        &[Rdbase::Raw(field), Rdbase::Raw(2), Rdbase::Raw(1 << 35), Rdbase::Of(1)],
        Rdbase::Of(1),
    );
    let bad = match draft.below(5) {
        0 => HostCommand::Sync { rdbase },
        1 => HostCommand::Mapc { icid, rdbase, valid: false },
        2 => HostCommand::Movall { from_rdbase: Rdbase::Of(0), to_rdbase: rdbase },
        _ => HostCommand::Mapc { icid, rdbase, valid: true },
    };
    draft.attempt(bad);
}

/// An opcode that is none, one of GICv4, or one with reserved bits set.
fn no_command(draft: &mut Draft<'_, '_>) {
    let opcode = draft.pick(&[0x00, 0x02, 0x07, 0x10, 0x21, 0x2a, 0x2d, 0x05, 0x08, 0x09, 0xff], 0);
    let high = draft.word() & !0xff;
    let words = [high | opcode, draft.word(), draft.word(), draft.word()];
    draft.attempt(HostCommand::Raw { words });
}

/// A refused command in the middle of a batch, written anew, with or without Retry.
pub(super) fn refused_and_repaired(draft: &mut Draft<'_, '_>) {
    let bad = mapd(u32::MAX, 31, Place::page(Area::EL2, 0), true);
    let good = sync(0);
    let after = draft.between(0, 4);
    draft.command(good);
    draft.command(bad);
    (0..after).for_each(|_| draft.command(good));
    draft.post_and_poll();
    if draft.chance(2, 3) {
        draft.push(Operation::Rewind { slots: after.saturating_add(1) as u8 });
        (0..=after).for_each(|_| draft.command(good));
    }
    draft.on_cpu(|cpu| Operation::WriteCwriter { cpu, retry: true, double: false });
    draft.poll();
}

/// The hardware stalls at a command of an event that is not mapped. In its slot comes a MAPD that
/// nobody may pass on, with Retry.
fn stalled_and_replaced(draft: &mut Draft<'_, '_>) {
    let device_id = draft.below(64) as u32;
    let event_id = draft.word() as u32;
    draft.command(HostCommand::Int { device_id, event_id });
    draft.settle();
    draft.push(Operation::Rewind { slots: 1 });
    let itt = draft.bad_place();
    draft.command(mapd(device_id, 4, itt, true));
    draft.on_cpu(|cpu| Operation::WriteCwriter { cpu, retry: true, double: false });
    draft.poll();
}

/// GITS_CWRITER where the host's pointer is not.
pub(super) fn odd_cwriter(draft: &mut Draft<'_, '_>) {
    let bytes = draft.expected.queue_bytes();
    let value = match draft.below(6) {
        0 => bytes,
        1 => bytes.saturating_sub(COMMAND_BYTES),
        2 => bytes.saturating_add(COMMAND_BYTES),
        3 => draft.below(bytes) | 1,
        4 => 0xf_ffe0,
        _ => draft.word(),
    };
    use AccessSize::{Byte, Double, Half, Word};
    let parts = [(0, Double), (0, Word), (4, Word), (0, Half), (1, Byte)];
    let (offset, size) = draft.pick(&parts, (0, Double));
    let offset = (Register::Cwriter.offset() as u32).saturating_add(offset);
    let frame = draft.frame();
    draft.access_at(frame, (offset, size), Direction::Write(value));
    draft.poll();
}

/// Fills the queue up to the last slot, or one further.
fn full_queue(draft: &mut Draft<'_, '_>) {
    let room = draft.expected.room();
    if room > 160 || !draft.chance(1, 3) {
        return odd_cwriter(draft);
    }
    let over = draft.below(2) as u32;
    (0..room.saturating_add(over)).for_each(|_| draft.command(sync(0)));
    draft.post_and_poll();
}

/// More devices, up to about as many as EL2 has records; then some go and others come.
fn run_of_devices(draft: &mut Draft<'_, '_>) {
    let mut room = draft.expected.free_records();
    draft.drain();
    let stride = draft.pick(&[1, 2], 1);
    let mut first = draft.between(64, 256) as u32;
    let most = u64::from(MOST_IN_A_RUN);
    // Where few devices are there yet, whole runs come before.
    if room <= 256 && draft.chance(1, 24) {
        while room >= most {
            draft.push(run(first, MOST_IN_A_RUN, stride));
            first = first.wrapping_add(stride.wrapping_mul(MOST_IN_A_RUN.into()));
            room = room.saturating_sub(most);
        }
    }
    let count = if room < most {
        room.saturating_add(draft.below(3)).saturating_sub(1)
    } else {
        draft.between(1, most)
    } as u16;
    draft.push(run(first, count.max(1), stride));
    let id_of = |n: u64| first.wrapping_add(stride.wrapping_mul(n as u32));
    for n in 0..draft.between(1, 4) {
        let (cpu, gone) = (draft.cpu(), id_of(draft.below(count.into())));
        draft.push(Operation::UnmapDevice { cpu, device_id: gone });
        let (device_id, itt) =
            (id_of(u64::from(count).saturating_add(n)), Place::page(Area::ITT, 300));
        draft.push(Operation::MapDevice { cpu, device_id, event_id_bits: 1, itt });
    }
    draft.poll();
}

/// MAPD of so many devices, all with the same ITT.
fn run(device_id: u32, count: u16, stride: u32) -> Operation {
    let itt = Place::page(Area::ITT, 200);
    Operation::MapDevices { cpu: 0, device_id, count, stride, event_id_bits: 1, itt }
}

/// Slots that were submitted are written again.
fn rewritten(draft: &mut Draft<'_, '_>) {
    let (device_id, event_id) = draft.some_event();
    draft.post();
    let slots = draft.between(1, 4) as u8;
    draft.push(Operation::Rewind { slots });
    draft.attempt(HostCommand::Discard { device_id, event_id });
}

/// A word that EL2 reads changes meanwhile.
pub(super) fn tampered(draft: &mut Draft<'_, '_>) {
    let device_id = draft.below(64) as u32;
    let itt = Place::page(Area::ITT, 310);
    let mapd = mapd(device_id, 4, itt, true);
    let at = match draft.below(4) {
        0 => draft.level1_entry(device_id),
        1 => draft.some_device().map_or(itt, |device| device.itt),
        _ => {
            let slot = draft.below(128).saturating_mul(COMMAND_BYTES);
            let word = draft.below(4).saturating_mul(8);
            let copy = draft.area(Area::QUEUE_COPY);
            Place::at(copy, 0, slot.saturating_add(word) as u16)
        }
    };
    let value = draft.word();
    let after = draft.below(4) as u8;
    let cpu = draft.cpu();
    if draft.chance(1, 2) {
        draft.command(mapd);
        draft.push(Operation::Tamper { after, at, value });
        draft.post();
    } else {
        draft.push(Operation::Tamper { after, at, value });
        draft.push(Operation::MapDevice { cpu, device_id, event_id_bits: 5, itt });
    }
    draft.poll();
}

/// A change of ownership that EL2 asks for fails.
pub(super) fn failing(draft: &mut Draft<'_, '_>) {
    use PageChange::{Donate, Pin, Reclaim, Share, Unpin, Unshare};
    draft.fail(&[Share, Pin, Donate, Unshare, Unpin, Reclaim], Pin, 4);
    let cpu = draft.cpu();
    let device_id = draft.below(draft.expected.device_ids()) as u32;
    let itt = Place::at(Area::ITT, 305, 0xf00);
    draft.push(Operation::MapDevice { cpu, device_id, event_id_bits: 10, itt });
    draft.poll();
    if draft.chance(1, 2) {
        draft.push(Operation::UnmapDevice { cpu, device_id });
        draft.poll();
    }
}

/// A page that the ITS uses is shared, unshared or given to a guest.
pub(super) fn taken_away(draft: &mut Draft<'_, '_>) {
    let used = draft.used_itt();
    let areas =
        [Area::DEVICE_TABLE_COPY, Area::QUEUE_COPY, Area::LEVEL2, Area::QUEUE, Area::PENDING];
    let area = draft.pick(&areas, Area::QUEUE_COPY);
    let page = if draft.chance(1, 2) {
        used.align_down(PAGE)
    } else {
        Place::page(draft.area(area), draft.below(area.pages().min(2).into()) as u16)
    };
    let cpu = draft.cpu();
    let first = draft.below(3);
    for step in 0..draft.between(1, 2) {
        draft.push(match first.saturating_add(step) % 3 {
            0 => Operation::Unshare { cpu, page },
            1 => Operation::DonateGuest { cpu, page },
            _ => Operation::Share { cpu, page },
        });
    }
    if draft.chance(1, 2) {
        let itt = match page {
            Place::In { area: Area::ITT, .. } => page,
            _ => used,
        };
        let device_id = draft.below(64) as u32;
        draft.push(Operation::MapDevice { cpu, device_id, event_id_bits: 4, itt });
        draft.poll();
        let reclaim = Operation::ReclaimGuest { cpu, page };
        draft.push_either((1, 2), reclaim, Operation::Unshare { cpu, page });
    }
}

/// A command as it should be, but for one bit.
pub(super) fn one_bit_off(draft: &mut Draft<'_, '_>) {
    let (device_id, event_id) = draft.some_event();
    let (icid, redistributor) = draft.some_collection();
    let rdbase = Rdbase::Of(redistributor);
    let size = 3;
    let next = match draft.below(8) {
        0..=2 => mapd(device_id, size, Place::page(Area::ITT, 308), draft.chance(3, 4)),
        3 => HostCommand::Mapc { icid, rdbase, valid: true },
        4 => HostCommand::Mapti { device_id, event_id, intid: draft.expected.next_intid, icid },
        5 => HostCommand::Sync { rdbase },
        6 => HostCommand::Movall { from_rdbase: rdbase, to_rdbase: Rdbase::Of(0) },
        _ => HostCommand::Movi { device_id, event_id, icid },
    };
    draft.command(next);
    let (cpu, word, flip) = (draft.cpu(), draft.below(4) as u8, draft.bit());
    draft.push(Operation::FlipSlot { cpu, word, flip });
    draft.post_and_poll();
}

/// A page is an ITT again and again; between them it is shared or not, and a change may fail.
pub(super) fn page_life(draft: &mut Draft<'_, '_>) {
    let page = Place::page(Area::ITT, 306);
    let rounds = draft.between(2, 3);
    let failing = draft.below(rounds.saturating_add(1));
    let changes = [PageChange::Unshare, PageChange::Unpin, PageChange::Share, PageChange::Pin];
    for round in 0..rounds {
        let cpu = draft.cpu();
        let device_id = draft.below(8) as u32;
        let event_id_bits = 4;
        draft.push(Operation::MapDevice { cpu, device_id, event_id_bits, itt: page });
        if round == failing {
            let change = draft.pick(&changes, PageChange::Unshare);
            draft.push(Operation::Fail { change, nth: 1 });
        }
        draft.push(Operation::UnmapDevice { cpu, device_id });
        let host = [Operation::Unshare { cpu, page }, Operation::Share { cpu, page }];
        let steps = 3_u64.saturating_sub(draft.below(4)).min(2);
        draft.push_all(host.into_iter().take(steps as usize));
    }
    draft.poll();
}

/// The host loads from, or stores to, what EL2 or the ITS reads.
pub(super) fn stored(draft: &mut Draft<'_, '_>) {
    let device_id = draft.below(16) as u32;
    let area = draft.pick(&draft.areas(), Area::QUEUE);
    let at = match draft.below(4) {
        0 => draft.level1_entry(device_id),
        1 => draft.used_itt(),
        _ => draft.any_word_of(area),
    };
    let cpu = draft.cpu();
    let value = draft.word();
    draft.push_either((2, 3), Operation::Store { cpu, at, value }, Operation::Load { cpu, at });
    draft.maybe_clean(at);
    draft.post();
}

/// A level-1 entry for what can be no level-2 table.
pub(super) fn bad_level2(draft: &mut Draft<'_, '_>) {
    let per_entry = draft.its().largest_page_size().bytes() / 8;
    let device_id = draft.between(1, 7).saturating_mul(per_entry) as u32;
    let cpu = draft.cpu();
    let level2 = match draft.below(4) {
        0 => Place::page(Area::LEVEL2, draft.below(128) as u16),
        1 => draft.used_itt(),
        _ => draft.bad_place(),
    };
    let flip = match draft.below(3) {
        0 => draft.word(),
        1 => 0x1000,
        _ => 0,
    };
    draft.push(Operation::Grow { cpu, device_id, level2: level2.align_down(PAGE), flip });
    draft.attempt(mapd(device_id, 4, Place::page(Area::ITT, 315), true));
}

/// CBASER and BASER with other bits, the ITS at rest or not.
pub(super) fn other_registers(draft: &mut Draft<'_, '_>) {
    let cpu = draft.cpu();
    let rest = draft.chance(2, 3);
    if rest {
        draft.drain();
        draft.push(Operation::Disable { cpu });
        draft.maybe(2, 3, |draft| draft.push(Operation::Quiesce { cpu }));
    }
    for _ in 0..draft.between(1, 3) {
        let bit = draft.bit();
        let flip = draft.pick(&[1 << 63, 1 << 62, 1, 0x1000, 0x400, 1 << 59, bit], 1 << 63);
        let index = draft.below(3) as u8;
        let cbaser = Operation::WriteCbaser { cpu, flip };
        draft.push_either((1, 2), cbaser, Operation::WriteBaser { cpu, index, flip });
    }
    if rest {
        draft.push(Operation::Enable { cpu });
    }
}

/// Disable or reset the queue with commands in it.
pub(super) fn while_running(draft: &mut Draft<'_, '_>) {
    let (device_id, event_id) = draft.some_event();
    let cpu = draft.cpu();
    draft.send(HostCommand::Int { device_id, event_id });
    draft.push(Operation::Disable { cpu });
    match draft.below(3) {
        0 => draft.push(Operation::WriteCbaser { cpu, flip: 0 }),
        1 => draft.push(Operation::Suspend { cpu }),
        _ => draft.post(),
    }
    draft.push_either((1, 2), Operation::Enable { cpu }, Operation::Resume { cpu });
    draft.poll();
}

/// Hypercalls at the wrong time or with wrong arguments.
pub(super) fn hypercalls(draft: &mut Draft<'_, '_>) {
    let cpu = draft.cpu();
    match draft.below(9) {
        0 => draft.push(Operation::Finalize { cpu }),
        1 | 2 => set_up(draft),
        3 => bad_set_up(draft),
        4 | 5 => hvc::torn_down(draft),
        _ => {
            let call = draft.pick(&Hypercall::ALL, Hypercall::HostShareHyp);
            let flip = if draft.chance(1, 3) { draft.word() } else { 0 };
            let x0 = call.function_id() ^ flip;
            let [x1, x2, x3, x4] = if draft.chance(1, 2) {
                almost_right_arguments(draft, call)
            } else {
                [(); 4].map(|()| draft.word())
            };
            draft.push(Operation::RawHypercall { cpu, x0, x1, x2, x3, x4 });
        }
    }
}

/// The arguments that the driver would give, one of them with a higher bit set or the next number.
fn almost_right_arguments(draft: &mut Draft<'_, '_>, call: Hypercall) -> [u64; 4] {
    let its = usize::from(draft.expected.current);
    let frame = ITS_FRAMES.get(its).copied().unwrap_or(0);
    let mut arguments = match call {
        Hypercall::HostShareHyp
        | Hypercall::HostUnshareHyp
        | Hypercall::HostDonateGuest
        | Hypercall::ReclaimGuestPage => {
            let page = draft.page_of(Area::HOST);
            [page.address() / PAGE_BYTES, 0, 0, 0]
        }
        Hypercall::InitItsEmulation => {
            let linear = |place: Place| place.address().wrapping_add(LINEAR_MAP);
            let [private, descriptor] = draft.own_places().map(linear);
            [frame, private, descriptor, draft.expected.boot.private_pages.into()]
        }
        Hypercall::FiniItsEmulation => [frame, 0, 0, 0],
        Hypercall::ProtFinalize | Hypercall::InitRedistributorEmulation => [0; 4],
    };
    let number = draft.below(4) as usize;
    let right = arguments.get(number).copied().unwrap_or(0);
    let wrong = if draft.chance(3, 4) { draft.wrapped(right) } else { draft.near(right) };
    if let Some(argument) = arguments.get_mut(number) {
        *argument = wrong;
    }
    arguments
}

/// Set-up with one argument wrong.
pub(super) fn bad_set_up(draft: &mut Draft<'_, '_>) {
    let cpu = draft.cpu();
    let [mut private, mut descriptor] = draft.own_places();
    let mut private_pages = u16::from(draft.expected.boot.private_pages);
    let mut device_flip = 0;
    match draft.below(4) {
        0 => private = draft.bad_place(),
        1 => descriptor = draft.bad_place(),
        2 => private_pages = draft.pick(&[0, 5, 1024, 1025, u16::MAX], 0),
        _ => device_flip = draft.word(),
    }
    draft.push(Operation::SetUp { cpu, private, descriptor, private_pages, device_flip });
}

/// Something in the way of a set-up that follows.
pub(crate) fn before_set_up(draft: &mut Draft<'_, '_>) {
    let cpu = draft.cpu();
    match draft.below(7) {
        0 => bad_set_up(draft),
        1 => {
            let areas =
                [Area::QUEUE, Area::DEVICE_TABLE, Area::PRIVATE, Area::QUEUE_COPY, Area::ITT];
            let area = draft.pick(&areas, Area::QUEUE);
            let page = Place::page(draft.area(area), 0);
            let share = Operation::Share { cpu, page };
            draft.push_either((1, 2), share, Operation::DonateGuest { cpu, page });
        }
        2 => {
            let after = draft.below(70) as u8;
            let area = draft.pick(&[Area::DESCRIPTOR, Area::LIVE_LIST], Area::LIVE_LIST);
            let offset = draft.word_of(16);
            let at = Place::at(draft.area(area), 0, offset);
            let value = draft.word();
            draft.push(Operation::Tamper { after, at, value });
        }
        3 => odd_access(draft),
        _ => {
            let changes = [PageChange::Donate, PageChange::Share, PageChange::Pin];
            draft.fail(&changes, PageChange::Donate, 24);
            // It fails; what follows finds everything as it was.
            set_up(draft);
        }
    }
}

/// Any access to any frame: no register, or one in a way that it cannot be.
pub(super) fn odd_access(draft: &mut Draft<'_, '_>) {
    for _ in 0..draft.between(1, 4) {
        let target = draft.between(0, u64::MAX);
        let value = draft.word();
        // Half of them close to the registers.
        let target = if draft.chance(1, 2) { target & !0xff00 } else { target };
        let kind = if draft.chance(1, 2) { Kind::Write } else { Kind::Read };
        let cpu = draft.cpu();
        let words = [target, value, 0, 0, 0];
        draft.push(Record { kind, cpu, words }.operation());
    }
}

/// A device or an event that is mapped is mapped again, or memory is used twice.
pub(super) fn remapped(draft: &mut Draft<'_, '_>) {
    let Some(device) = draft.some_device() else { return bad_ids(draft) };
    let device_id = if draft.chance(1, 2) { device.device_id } else { draft.below(32) as u32 };
    let itt = if draft.chance(1, 2) { None } else { Some(draft.below(64) as u16) };
    let itt = itt.map_or(device.itt, |page| Place::at(Area::ITT, page, 0x100));
    let size = draft.between(0, 8) as u8;
    draft.attempt(mapd(device_id, size, itt, true));
}

/// An MSI of nobody.
fn strange_interrupt(draft: &mut Draft<'_, '_>) {
    let device_id =
        if draft.chance(1, 2) { draft.expected.device_ids() as u32 } else { draft.word() as u32 };
    let event_id = draft.word() as u32;
    draft.push(Operation::Msi { device_id, event_id, half: false });
}

/// Kinds that are there for hosts that own their ITS.
#[rustfmt::skip]
pub(super) const OF_OWNERS: [Kind; 14] = [
    Kind::Configure, Kind::Probe, Kind::InitCpu, Kind::Unmask, Kind::Mask, Kind::MoveEvent,
    Kind::UnmapEvent, Kind::Acknowledge, Kind::PowerLoss, Kind::SelectIts, Kind::GrowCollection,
    Kind::StoreAddress, Kind::WriteHalf, Kind::EnableByOther,
];

/// Any operation at all.
fn anything(draft: &mut Draft<'_, '_>) {
    let kinds = Kind::ALL.iter().copied();
    let kinds: Vec<_> = kinds.filter(|kind| !OF_OWNERS.contains(kind)).collect();
    let kind = draft.pick(&kinds, Kind::Poll);
    let mut words = [0; ARGUMENTS];
    for word in &mut words {
        *word = if draft.chance(1, 2) { draft.word() } else { draft.bad_place().pack() };
    }
    let cpu = draft.cpu();
    draft.push(Record { kind, cpu, words }.operation());
}
