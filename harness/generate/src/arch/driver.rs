//! Legal phrases of the driver, and of devices and CPUs next to it.
//!
//! A device that the driver mapped is changed by the driver alone, since it keeps a list of the
//! events; any other by commands of the host's own ([`super::raw`]).

use super::raw;
use crate::legal::{idle, map_device, read_registers};
use crate::words::*;

/// The most events of a device that is unmapped at once, so that they fit the smallest queue.
const MANY_EVENTS: usize = 24;

/// An event is mapped, and mostly enabled and raised.
pub(crate) fn event(draft: &mut Draft<'_, '_>) {
    let Some(device) = draft.some_device() else { return map_device(draft) };
    let collection = if device.of_driver { cpu_collection(draft) } else { known_collection(draft) };
    let (Some(event_id), Some(icid)) = (draft.free_event(&device), collection) else {
        return interrupt(draft);
    };
    let device_id = device.device_id;
    let intid = draft.expected.next_intid;
    draft.make_room(8);
    let cpu = draft.cpu();
    if !device.of_driver {
        return raw::event(draft, device_id, event_id, intid, icid);
    }
    draft.push(Operation::MapEvent { cpu, device_id, event_id, intid, icid });
    if draft.chance(5, 6) {
        let direct = draft.chance(1, 4);
        draft.push(Operation::Unmask { cpu, device_id, event_id, direct });
    }
    draft.maybe(1, 2, |draft| draft.deliver(device_id, event_id));
}

/// A collection that should be mapped.
fn known_collection(draft: &mut Draft<'_, '_>) -> Option<u16> {
    let (icid, _) = draft.some_collection();
    draft.expected.here().redistributor(icid).map(|_| icid)
}

/// The driver's collection of a CPU, if it should be mapped: it uses no others.
fn cpu_collection(draft: &mut Draft<'_, '_>) -> Option<u16> {
    let icid = draft.below(draft.cpus().into()) as u16;
    draft.expected.here().redistributor(icid).map(|_| icid)
}

/// Events are raised, and taken or not.
pub(crate) fn interrupt(draft: &mut Draft<'_, '_>) {
    let count = draft.between(1, 3);
    for _ in 0..count {
        match draft.mapped() {
            Some((device, event)) => draft.raise(device.device_id, event.event_id),
            None => idle(draft),
        }
    }
    match draft.below(4) {
        0 => draft.acknowledge_all(),
        1 => {}
        _ => {
            let cpu = draft.below(draft.cpus().into()) as u8;
            (0..count).for_each(|_| draft.acknowledge(cpu));
        }
    }
}

/// An event goes to another CPU, with an interrupt pending or not.
pub(crate) fn affinity(draft: &mut Draft<'_, '_>) {
    let Some((device, to_move)) = draft.mapped() else { return event(draft) };
    let (device_id, event_id) = (device.device_id, to_move.event_id);
    draft.maybe(1, 2, |draft| draft.raise(device_id, event_id));
    draft.make_room(4);
    let cpu = draft.cpu();
    if device.of_driver {
        let Some(to) = cpu_collection(draft) else { return idle(draft) };
        let to = to as u8;
        draft.push(Operation::MoveEvent { cpu, device_id, event_id, to });
    } else if let Some(icid) = known_collection(draft) {
        raw::move_event(draft, device_id, event_id, icid);
    }
    draft.acknowledge_all();
    draft.deliver(device_id, event_id);
}

/// An LPI is disabled, raised, enabled and taken.
pub(crate) fn mask(draft: &mut Draft<'_, '_>) {
    let Some((device, event)) = draft.mapped() else { return self::event(draft) };
    let (device_id, event_id) = (device.device_id, event.event_id);
    draft.make_room(8);
    let cpu = draft.cpu();
    let direct = draft.chance(1, 4);
    let masked = Operation::Mask { cpu, device_id, event_id, direct };
    let unmasked = Operation::Unmask { cpu, device_id, event_id, direct };
    for (enabled, step) in [(false, masked), (true, unmasked)] {
        if device.of_driver {
            draft.push(step)
        } else {
            raw::configure(draft, device_id, event_id, enabled)
        }
        if enabled || draft.chance(2, 3) {
            draft.deliver(device_id, event_id);
        }
    }
}

/// The pending state of an interrupt is set or cleared by command.
pub(crate) fn retrigger(draft: &mut Draft<'_, '_>) {
    let count = draft.between(1, 4);
    draft.make_room(8);
    for _ in 0..count {
        let Some((device, event)) = draft.mapped() else { return self::event(draft) };
        let (device_id, event_id) = (device.device_id, event.event_id);
        let next = match draft.below(4) {
            0 => HostCommand::Clear { device_id, event_id },
            1 => HostCommand::Inv { device_id, event_id },
            _ => HostCommand::Int { device_id, event_id },
        };
        draft.synced(next);
    }
    draft.post();
    idle(draft);
    draft.acknowledge_all();
}

/// The driver frees one event, or a device, which may come back.
pub(crate) fn unmap(draft: &mut Draft<'_, '_>) {
    let Some(device) = draft.some_device() else { return map_device(draft) };
    let device_id = device.device_id;
    let cpu = draft.cpu();
    draft.make_room(52);
    let one = device.events.first().copied();
    match one {
        Some(event) if draft.chance(1, 2) || device.events.len() > MANY_EVENTS => {
            let event_id = event.event_id;
            if device.of_driver {
                draft.push(Operation::UnmapEvent { cpu, device_id, event_id })
            } else {
                raw::unmap_event(draft, device_id, event_id)
            }
            draft.raise(device_id, event_id);
        }
        _ if device.of_driver => draft.push(Operation::UnmapDevice { cpu, device_id }),
        _ => raw::unmap_device(draft, &device),
    }
    idle(draft);
    let gone = draft.expected.device(device_id).is_none();
    if gone && draft.chance(1, 2) {
        come_back(draft, &device);
    }
    draft.maybe(1, 4, |draft| draft.acknowledge_all());
}

/// A device that was unmapped is mapped again, with an ITT that nobody had.
fn come_back(draft: &mut Draft<'_, '_>, device: &Device) {
    let event_id_bits = device.event_id_bits;
    let Some(itt) = draft.new_itt(event_id_bits) else { return };
    draft.make_room(12);
    let cpu = draft.cpu();
    let device_id = device.device_id;
    draft.push(Operation::MapDevice { cpu, device_id, event_id_bits, itt });
    let old = device.events.first().map_or(0, |event| event.event_id);
    draft.raise(device_id, old);
    event(draft);
}

/// The host turns to the other ITS, if there is one.
pub(crate) fn other_its(draft: &mut Draft<'_, '_>) {
    if draft.expected.boot.its == 1 {
        return draft.acknowledge_all();
    }
    let its = draft.other_its();
    draft.push(Operation::SelectIts { its });
}

/// The host reads registers, halves too, and memory that is only its own.
pub(crate) fn look(draft: &mut Draft<'_, '_>) {
    read_registers(draft);
    let at = draft.any_word_of(Area::HOST);
    let cpu = draft.cpu();
    match draft.below(4) {
        0 => {
            let value = draft.word();
            draft.push_all([Operation::Store { cpu, at, value }, Operation::Load { cpu, at }]);
            draft.clean(at);
        }
        1 => {
            let frame = draft.redistributor();
            for name in ["CTLR", "TYPER", "WAKER", "SYNCR"] {
                draft.access(frame, name, Direction::Read);
            }
        }
        _ => {}
    }
}
