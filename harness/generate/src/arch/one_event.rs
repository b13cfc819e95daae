//! The life of one event: many steps in a row that are about one event, its device, its LPI, its
//! collection and the redistributor of that, and no step about others. What takes two or three
//! unusual steps on one structure is met here.

use super::driver;
use crate::words::*;

/// What all steps are about.
struct Focus {
    device: Device,
    event: Event,
    redistributor: u8,
}

/// Steps on one mapped event.
pub(crate) fn one_event(draft: &mut Draft<'_, '_>) {
    let Some((device, event)) = draft.mapped() else { return driver::event(draft) };
    let redistributor = draft.expected.redistributor_of(device.device_id, event.event_id);
    let focus = Focus { device, event, redistributor };
    draft.drain();
    for _ in 0..draft.between(6, 14) {
        match draft.below(9) {
            0 | 1 => draft.deliver(focus.device.device_id, focus.event.event_id),
            2 => draft.raise(focus.device.device_id, focus.event.event_id),
            3 => of_lpi(draft, &focus),
            4 | 5 => {
                let command = on_it(draft, &focus);
                draft.risk(command);
            }
            6 => of_memory(draft, &focus),
            7 => changes_at_once(draft, &focus),
            _ => {
                let (command, redistributor) = synced_by(draft, &focus);
                draft.command(command);
                draft.maybe(2, 3, |draft| draft.command(sync(redistributor)));
                draft.settle();
            }
        }
    }
    draft.settle();
    draft.deliver(focus.device.device_id, focus.event.event_id);
    draft.acknowledge_all();
}

/// Several changes that one SYNC settles, or some of them.
fn changes_at_once(draft: &mut Draft<'_, '_>, focus: &Focus) {
    let (device_id, event_id) = (focus.device.device_id, focus.event.event_id);
    draft.make_room(8);
    for _ in 0..draft.between(2, 5) {
        let (icid, _) = draft.some_collection();
        let command = match draft.below(6) {
            0 => HostCommand::Discard { device_id, event_id },
            1 => {
                let intid = draft.expected.next_intid;
                HostCommand::Mapti { device_id, event_id, intid, icid }
            }
            2 => mapc(focus.event.icid, draft.any_cpu(), true),
            _ => HostCommand::Movi { device_id, event_id, icid },
        };
        draft.command(command);
    }
    let redistributor = draft.any_cpu();
    draft.command(sync(redistributor));
    draft.settle();
    draft.raise(device_id, event_id);
}

/// Its configuration byte changes, its redistributor reads it again, or its LPIs go off and on.
fn of_lpi(draft: &mut Draft<'_, '_>, focus: &Focus) {
    let frame = Frame::Redistributor(focus.redistributor);
    let intid = focus.event.intid;
    match draft.below(5) {
        0 | 1 => {
            let value = draft.pick(&[0x01, 0xa1, 0xa3, 0x41, 0x00, 0xa0], 0x01);
            draft.on_cpu(|cpu| Operation::Configure { cpu, intid, value });
        }
        2 => {
            draft.access(frame, "INVLPIR", Direction::Write(intid.into()));
            draft.access(frame, "SYNCR", Direction::Read);
        }
        3 => draft.acknowledge(focus.redistributor),
        _ if draft.expected.clears_lpis() => {
            draft.write_and_read(frame, "CTLR", 0);
            draft.maybe(1, 3, |draft| {
                draft.raise(focus.device.device_id, focus.event.event_id);
            });
            draft.write_and_read(frame, "CTLR", 1);
        }
        _ => {}
    }
}

/// A command that changes what the event is or where it goes.
fn on_it(draft: &mut Draft<'_, '_>, focus: &Focus) -> HostCommand {
    let Focus { device, event, .. } = focus;
    let (device_id, event_id) = (device.device_id, event.event_id);
    let (other, _) = draft.some_collection();
    let icid = draft.pick(&[event.icid, other], other);
    let to = draft.any_cpu();
    match draft.below(9) {
        0 => HostCommand::Discard { device_id, event_id },
        1 | 2 => HostCommand::Mapti { device_id, event_id, intid: event.intid, icid },
        3 => HostCommand::Movi { device_id, event_id, icid: other },
        4 => mapc(event.icid, to, true),
        5 => HostCommand::Movall {
            from_rdbase: Rdbase::Of(focus.redistributor),
            to_rdbase: Rdbase::Of(to),
        },
        6 => HostCommand::Int { device_id, event_id },
        7 => HostCommand::Clear { device_id, event_id },
        _ => {
            let valid = draft.chance(1, 2);
            mapd(device_id, device.event_id_bits.saturating_sub(1), device.itt, valid)
        }
    }
}

/// A command that has its effect on the redistributor, and the redistributor of a SYNC after it:
/// mostly the right one.
fn synced_by(draft: &mut Draft<'_, '_>, focus: &Focus) -> (HostCommand, u8) {
    let Focus { device, event, redistributor } = focus;
    let command = if draft.chance(1, 2) {
        HostCommand::Inv { device_id: device.device_id, event_id: event.event_id }
    } else {
        HostCommand::Invall { icid: event.icid }
    };
    let other = draft.any_cpu();
    (command, draft.pick(&[*redistributor, *redistributor, other], *redistributor))
}

/// While the ITS is off, the entry is overwritten, a table goes and comes back, or power is lost.
fn of_memory(draft: &mut Draft<'_, '_>, focus: &Focus) {
    let entry_bytes = u64::from(draft.its().itt_entry_bytes);
    let entry = u64::from(focus.event.event_id).saturating_mul(entry_bytes);
    let at = Place::of(focus.device.itt.address().saturating_add(entry) & !7);
    draft.rest();
    for _ in 0..draft.between(0, 2) {
        match draft.below(4) {
            0 => {
                draft.on_cpu(|cpu| Operation::Store { cpu, at, value: 0 });
                draft.clean(at);
            }
            1 | 2 => {
                let index = draft.below(2) as u8;
                for flip in [Baser::VALID, 0] {
                    draft.on_cpu(|cpu| Operation::WriteBaser { cpu, index, flip });
                }
            }
            _ => {
                let cpu = draft.cpu();
                draft.lose_power();
                return draft.push(Operation::Resume { cpu });
            }
        }
    }
    draft.go_on();
}
