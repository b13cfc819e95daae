//! Commands that are refused, or that no driver gives: by their ids, their opcode, their reserved
//! bits.

use its_gic::Command;

use crate::words::*;

/// A command with ids in range or not, mapped or not.
pub(crate) fn odd_ids(draft: &mut Draft<'_, '_>) {
    let device_id = draft.any_device();
    let event_id = draft.any_event(device_id);
    let odd = match draft.below(4) {
        0 => mapping(draft, device_id, event_id),
        1 => HostCommand::Movi { device_id, event_id, icid: draft.any_collection() },
        2 => match draft.any_collection() {
            icid if draft.chance(1, 2) => HostCommand::Invall { icid },
            icid => {
                HostCommand::Mapc { icid, rdbase: draft.any_rdbase(), valid: draft.chance(2, 3) }
            }
        },
        _ => on_event(draft, device_id, event_id),
    };
    draft.risk(odd);
}

/// A command whose arguments are right or odd, each on its own: which fault comes first shows.
pub(crate) fn some_odd(draft: &mut Draft<'_, '_>) {
    let Some((device, event)) = draft.mapped() else { return odd_ids(draft) };
    let is_odd = |draft: &mut Draft<'_, '_>| draft.chance(1, 2);
    let device_id = if draft.chance(1, 4) { draft.any_device() } else { device.device_id };
    let event_id = if is_odd(draft) { draft.any_event(device_id) } else { event.event_id };
    let icid = if is_odd(draft) { draft.any_collection() } else { draft.some_collection().0 };
    let intid = if is_odd(draft) { draft.any_intid() } else { draft.expected.next_intid };
    let mut rdbase =
        || if is_odd(draft) { draft.any_rdbase() } else { Rdbase::Of(draft.any_cpu()) };
    let (from_rdbase, to_rdbase) = (rdbase(), rdbase());
    let odd = match draft.below(6) {
        0 => HostCommand::Mapti { device_id, event_id, intid, icid },
        1 => HostCommand::Mapi { device_id, event_id, icid },
        2 | 3 => HostCommand::Movi { device_id, event_id, icid },
        4 => HostCommand::Mapc { icid, rdbase: to_rdbase, valid: draft.chance(3, 4) },
        _ => HostCommand::Movall { from_rdbase, to_rdbase },
    };
    draft.risk(odd);
}

/// INT, CLEAR, INV or DISCARD.
pub(crate) fn on_event(draft: &mut Draft<'_, '_>, device_id: u32, event_id: u32) -> HostCommand {
    match draft.below(4) {
        0 => HostCommand::Int { device_id, event_id },
        1 => HostCommand::Clear { device_id, event_id },
        2 => HostCommand::Inv { device_id, event_id },
        _ => HostCommand::Discard { device_id, event_id },
    }
}

/// MAPTI or MAPI, or MAPD of a device with an ITT of its own.
fn mapping(draft: &mut Draft<'_, '_>, device_id: u32, event_id: u32) -> HostCommand {
    let icid = draft.any_collection();
    let intid = draft.any_intid();
    match draft.below(6) {
        0 => HostCommand::Mapi { device_id, event_id, icid },
        1 => match draft.new_itt(3) {
            Some(itt) => mapd(device_id, 2, itt, draft.chance(3, 4)),
            None => HostCommand::Invall { icid },
        },
        _ => HostCommand::Mapti { device_id, event_id, intid, icid },
    }
}

/// A redistributor that may not be there.
pub(crate) fn nowhere(draft: &mut Draft<'_, '_>) {
    let (icid, _) = draft.some_collection();
    let rdbase = draft.any_rdbase();
    let odd = match draft.below(4) {
        0 => HostCommand::Sync { rdbase },
        1 => HostCommand::Movall { from_rdbase: draft.any_rdbase(), to_rdbase: rdbase },
        2 => HostCommand::Mapc { icid: draft.any_collection(), rdbase, valid: true },
        _ => HostCommand::Mapc { icid: icid.wrapping_add(4), rdbase, valid: false },
    };
    draft.risk(odd);
}

/// An opcode that is none, or one of GICv4.
pub(crate) fn no_command(draft: &mut Draft<'_, '_>) {
    let opcodes = [0x00, 0x02, 0x06, 0x10, 0x21, 0x2a, 0x2d, 0x2e, 0x7f, 0xff];
    let opcode = draft.pick(&opcodes, 0);
    let high = draft.word() & !0xff;
    let words = [high | opcode, draft.word(), draft.word(), draft.word()];
    raw(draft, words);
}

/// A good command with bits set that are reserved in all commands.
pub(crate) fn reserved_bits(draft: &mut Draft<'_, '_>) {
    let (icid, _) = draft.some_collection();
    let event = draft.mapped().map(|(device, event)| (device.device_id, event.event_id));
    let (opcode_words, reserved) = match event {
        Some((device_id, event_id)) => (
            match draft.below(3) {
                0 => Command::Int { device_id, event_id },
                1 => Command::Clear { device_id, event_id },
                _ => Command::Inv { device_id, event_id },
            },
            [0xffff_ff00, !0xffff_ffff, u64::MAX, u64::MAX],
        ),
        None => (Command::Invall { icid }, [0xffff_ff00, u64::MAX, !0xffff, u64::MAX]),
    };
    let mut words = opcode_words.encode();
    for (word, reserved) in words.iter_mut().zip(reserved) {
        let bits = draft.word();
        *word |= bits & reserved;
    }
    raw(draft, words);
}

fn raw(draft: &mut Draft<'_, '_>, words: its_gic::command::Words) {
    draft.make_way();
    draft.command(HostCommand::Raw { words });
    draft.outlive();
}
