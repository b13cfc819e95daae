//! The redistributors' side: configuration, pending state, and MSIs of nobody.

use super::commands::on_event;
use super::driver;
use crate::words::*;

/// GICR_PENDBASER of the first redistributors as the driver writes it: in [`Area::PENDING`].
const PENDING: [u64; 2] = [0x8005_0000, 0x8006_0000];
/// GICR_PROPBASER's address: the place of [`Area::CONFIGURATION`].
const CONFIGURATION: u64 = 0x8004_0000;
const PENDING_TABLE_ZERO: u64 = 1 << 62;

/// A configuration byte changes, and the redistributor is invalidated, or not.
pub(crate) fn configured(draft: &mut Draft<'_, '_>) {
    let Some((device, event)) = draft.mapped() else { return driver::event(draft) };
    let (device_id, event_id) = (device.device_id, event.event_id);
    let redistributor = draft.expected.redistributor_of(device_id, event_id);
    draft.maybe(1, 2, |draft| draft.raise(device_id, event_id));
    let cpu = draft.cpu();
    let bytes = [0xa2, 0xa3, 0x83, 0x82, 0x01, 0x03, 0xff, 0xfe, 0xf9, 0x00];
    let value = draft.pick(&bytes, 0xa3);
    let intid = event.intid;
    draft.push(Operation::Configure { cpu, intid, value });
    draft.acknowledge(redistributor);
    draft.deliver(device_id, event_id);
    forget(draft, device_id, event_id, redistributor);
    draft.acknowledge(redistributor);
    draft.deliver(device_id, event_id);
}

/// Configuration is stored word by word and cleaned in part: bytes of an event's LPI, and others in
/// its page.
pub(crate) fn stored(draft: &mut Draft<'_, '_>) {
    let Some((device, event)) = draft.mapped() else { return driver::event(draft) };
    let (device_id, event_id) = (device.device_id, event.event_id);
    let own = u64::from(event.intid).saturating_sub(8192) & !7;
    for _ in 0..draft.between(2, 5) {
        let other = draft.pick(&[own ^ 8, own ^ 0x40, own ^ 0x80, own ^ 0x800], own);
        let word = if draft.chance(1, 2) { own } else { other };
        let at = Place::of(CONFIGURATION.saturating_add(word));
        let bytes = [0xa1, 0xa0, 0x81, 0x01, 0x00].map(|byte| u64::from_ne_bytes([byte; 8]));
        let value = draft.pick(&bytes, 0);
        draft.on_cpu(|cpu| Operation::Store { cpu, at, value });
        draft.maybe_clean(at);
    }
    draft.maybe(1, 2, |draft| {
        let redistributor = draft.expected.redistributor_of(device_id, event_id);
        forget(draft, device_id, event_id, redistributor);
    });
    draft.deliver(device_id, event_id);
}

/// One of the ways to make a redistributor read the configuration again.
fn forget(draft: &mut Draft<'_, '_>, device_id: u32, event_id: u32, redistributor: u8) {
    let event = draft.expected.event(device_id, event_id);
    let frame = Frame::Redistributor(redistributor);
    let intid = event.map_or(8192, |event| event.intid);
    draft.make_room(8);
    match (draft.below(5), event) {
        (0, _) => draft.access(frame, "INVLPIR", Direction::Write(intid.into())),
        (1, _) => {
            let value = draft.word();
            draft.access(frame, "INVALLR", Direction::Write(value));
            draft.access(frame, "SYNCR", Direction::Read);
        }
        (2, Some(event)) if draft.expected.here().redistributor(event.icid).is_some() => {
            draft.command(HostCommand::Invall { icid: event.icid });
            draft.send(sync(redistributor));
        }
        (3, Some(_)) => {
            draft.synced(HostCommand::Inv { device_id, event_id });
            draft.post();
        }
        _ => {}
    }
    draft.drain();
}

/// GICR_CTLR.EnableLPIs is cleared, if it can be, and set again, the pending table kept or empty.
pub(crate) fn turned_off(draft: &mut Draft<'_, '_>) {
    let redistributor = draft.below(draft.cpus().into()) as u8;
    let frame = Frame::Redistributor(redistributor);
    let ctlr = |draft: &mut Draft<'_, '_>, value| {
        draft.write_and_read(frame, "CTLR", value);
    };
    let event = draft.mapped().map(|(device, event)| (device.device_id, event.event_id));
    let (device_id, event_id) = event.unwrap_or((0, 0));
    draft.raise(device_id, event_id);
    draft.drain();
    ctlr(draft, 0);
    // RWP is 1 for a while.
    let more = draft.pick(&[0, 0, 1, 5], 0);
    draft.times(more, more, |draft| draft.access(frame, "CTLR", Direction::Read));
    draft.raise(device_id, event_id);
    draft.acknowledge(redistributor);
    draft.times(0, 2, |draft| {
        let command = while_off(draft, redistributor, (device_id, event_id));
        draft.risk(command);
    });
    if let Some(event) = draft.expected.event(device_id, event_id)
        && draft.chance(1, 2)
    {
        let value = draft.pick(&[0xa0, 0xa1, 0x81], 0xa0);
        let intid = event.intid;
        draft.on_cpu(|cpu| Operation::Configure { cpu, intid, value });
    }
    // While EnableLPIs stays set the table must not be touched.
    if draft.expected.clears_lpis() && draft.chance(1, 2) {
        draft.maybe(1, 2, |draft| write_pending_table(draft, redistributor));
        let own = PENDING.get(usize::from(redistributor)).copied();
        // Nobody copies a queue here.
        let other = Place::page(Area::QUEUE_COPY, 0).address();
        let moves = redistributor == 0 && draft.chance(1, 4);
        let address = if moves { Some(other) } else { own };
        let zero = if draft.chance(1, 2) { PENDING_TABLE_ZERO } else { 0 };
        let value = address.unwrap_or(0) | zero;
        draft.write_whole_or_in_halves(frame, "PENDBASER", value);
        draft.access(frame, "PENDBASER", Direction::Read);
    }
    if draft.chance(1, 4) {
        draft.push(Operation::InitCpu { cpu: redistributor })
    } else {
        ctlr(draft, 1)
    }
    draft.acknowledge_all();
    draft.deliver(device_id, event_id);
}

/// A command while the LPIs of a redistributor are off, mostly one that names it.
fn while_off(
    draft: &mut Draft<'_, '_>,
    redistributor: u8,
    (device_id, event_id): (u32, u32),
) -> HostCommand {
    let [off, any] = [redistributor, draft.any_cpu()].map(Rdbase::Of);
    let (icid, _) = draft.some_collection();
    match draft.below(8) {
        0 => HostCommand::Movall { from_rdbase: off, to_rdbase: any },
        1 => HostCommand::Movall { from_rdbase: any, to_rdbase: off },
        2 => HostCommand::Mapc { icid, rdbase: off, valid: true },
        3 => HostCommand::Movi { device_id, event_id, icid },
        4 => HostCommand::Invall { icid },
        5 => HostCommand::Sync { rdbase: off },
        _ => on_event(draft, device_id, event_id),
    }
}

/// LPIs are pending in the table before they are first enabled, as after a migration.
pub(crate) fn pending_from_the_start(draft: &mut Draft<'_, '_>, redistributor: u8) {
    let frame = Frame::Redistributor(redistributor);
    write_pending_table(draft, redistributor);
    let bits = draft.pick(&[15, 14, 13], 15);
    draft.access(frame, "PROPBASER", Direction::Write(CONFIGURATION | bits));
    let address = PENDING.get(usize::from(redistributor)).copied();
    let address = address.unwrap_or(0);
    let zero = draft.pick(&[0, 0, PENDING_TABLE_ZERO], 0);
    draft.write_whole_or_in_halves(frame, "PENDBASER", address | zero);
    draft.access(frame, "CTLR", Direction::Write(1));
}

/// Software sets a few bits in a pending table.
fn write_pending_table(draft: &mut Draft<'_, '_>, redistributor: u8) {
    let cpu = draft.cpu();
    let page = u16::from(redistributor).saturating_mul(16);
    // LPIs begin behind the first KiB; those of 16 bits end with the second page.
    let word = draft.pick(&[0x400, 0x408, 0x800, 0x3f8], 0x400);
    let page = draft.pick(&[page, page, page.saturating_add(1), page.saturating_add(2)], page);
    let bits = [0x80, 0x1, 0x8000_0000_0000_0001, 0x1040, 0];
    let value = draft.pick(&bits, 0x80);
    let at = Place::at(Area::PENDING, page, word);
    draft.push(Operation::Store { cpu, at, value });
    draft.clean(at);
}

/// Several interrupts of different priorities are pending, and the CPUs take one after the other.
pub(crate) fn several(draft: &mut Draft<'_, '_>) {
    let cpu = draft.cpu();
    let count = draft.between(2, 5);
    for _ in 0..count {
        let Some((device, event)) = draft.mapped() else { return driver::event(draft) };
        if draft.chance(1, 3) {
            let value = draft.pick(&[0xa3, 0x83, 0x03, 0xfb], 0xa3);
            let intid = event.intid;
            draft.push(Operation::Configure { cpu, intid, value });
            let redistributor = draft.expected.redistributor_of(device.device_id, event.event_id);
            let frame = Frame::Redistributor(redistributor);
            draft.access(frame, "INVLPIR", Direction::Write(intid.into()));
        }
        draft.raise(device.device_id, event.event_id);
    }
    // A redistributor may keep what it read.
    if let Some((_, event)) = draft.mapped()
        && draft.chance(1, 2)
    {
        let value = draft.pick(&[0x11, 0x10, 0xf9, 0x80], 0x11);
        let intid = event.intid;
        draft.push(Operation::Configure { cpu, intid, value });
    }
    for _ in 0..count {
        draft.acknowledge_all();
    }
}

/// MSIs of devices and events that are not mapped, or cannot be.
pub(crate) fn strange_msi(draft: &mut Draft<'_, '_>) {
    for _ in 0..draft.between(1, 3) {
        let device_id = draft.any_device();
        let limit = 1_u32 << draft.its().event_id_bits;
        // Beyond the bits that the ITS has, above an event that it may know.
        let beyond = if draft.chance(1, 3) { limit } else { 0 };
        let event_id = draft.any_event(device_id) | beyond;
        draft.raise(device_id, event_id);
    }
    draft.acknowledge_all();
}
