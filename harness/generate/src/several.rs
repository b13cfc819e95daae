//! What is done to each of several ITSs.

use crate::legal;
use crate::words::*;

/// Does it to each ITS of the board, the current one last or first, and stays at the last.
pub(super) fn each_its(draft: &mut Draft<'_, '_>, what: impl Fn(&mut Draft<'_, '_>)) {
    let its = draft.expected.boot.its;
    if its < 2 {
        return what(draft);
    }
    draft.maybe(1, 2, other_its);
    what(draft);
    for _ in 1..its {
        turn_to(draft, draft.expected.current.saturating_add(1).checked_rem(its).unwrap_or(0));
        what(draft);
    }
}

/// The host turns to another ITS, if there is one.
pub(super) fn other_its(draft: &mut Draft<'_, '_>) {
    if draft.expected.boot.its >= 2 {
        let its = draft.other_its();
        turn_to(draft, its);
    }
}

/// The host turns to this ITS. What it wrote is submitted before.
fn turn_to(draft: &mut Draft<'_, '_>, its: u8) {
    if draft.expected.here().written > 0 {
        draft.post();
    }
    draft.push(Operation::SelectIts { its });
}

/// The driver makes ready for EL2.
pub(super) fn describe(draft: &mut Draft<'_, '_>) {
    draft.drain();
    draft.on_cpu(|cpu| Operation::Describe { cpu });
}

/// The driver suspends, power goes and comes back, the driver resumes.
pub(super) fn sleep(draft: &mut Draft<'_, '_>) {
    draft.suspended(|draft| {
        if draft.chance(2, 3) {
            draft.lose_power();
        }
    });
}

/// Power is lost at work, EL2 sees it or not, and firmware enables the ITS. It does so only with an
/// empty queue, whose CWRITER is 0.
fn enabled_by_other(draft: &mut Draft<'_, '_>) {
    let cpu = draft.cpu();
    draft.maybe(3, 4, |draft| {
        draft.push_all([Operation::Suspend { cpu }, Operation::Resume { cpu }]);
    });
    draft.maybe(1, 4, |draft| {
        draft.send(sync(0));
        draft.push(Operation::Disable { cpu });
    });
    draft.push(Operation::PowerLoss { restored: true });
    draft.maybe(1, 4, |draft| draft.write_cwriter(cpu, 0));
    draft.maybe(3, 4, |draft| draft.poll());
    draft.maybe(1, 4, |draft| draft.push(Operation::Disable { cpu }));
    draft.push(Operation::EnableByOther {});
    for _ in 0..draft.between(1, 3) {
        match draft.below(7) {
            0 => draft.push(Operation::Disable { cpu }),
            1 => draft.push(Operation::Enable { cpu }),
            2 => draft.push(Operation::Suspend { cpu }),
            3 => draft.push(Operation::Resume { cpu }),
            4 | 5 => draft.send(sync(0)),
            _ => legal::map_device(draft),
        }
    }
    draft.poll();
}

/// Power is lost in the middle of something; maybe the driver tries to go on.
pub(super) fn power_loss(draft: &mut Draft<'_, '_>) {
    if draft.chance(1, 4) {
        return enabled_by_other(draft);
    }
    let cpu = draft.cpu();
    match draft.below(4) {
        0 => draft.push(Operation::Disable { cpu }),
        1 => draft.push(Operation::Suspend { cpu }),
        2 => draft.post(),
        _ => {}
    }
    draft.lose_power();
    draft.maybe(1, 3, |draft| draft.read("CTLR"));
    match draft.below(5) {
        0 | 1 => draft.push(Operation::Resume { cpu }),
        2 => {
            draft.push_all([Operation::Quiesce { cpu }, Operation::WriteCbaser { cpu, flip: 0 }]);
            draft.push(Operation::Enable { cpu });
        }
        3 => draft.push(Operation::Enable { cpu }),
        _ => draft.post(),
    }
}
