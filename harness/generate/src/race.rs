//! Phrases of several agents at once: what comes one after the other elsewhere, on two CPUs, with
//! time passing meanwhile.

use crate::legal::{self, away};
use crate::scenario::Weights;
use crate::words::*;
use crate::{opening, several};

/// The most operations in one race.
const OPERATIONS: usize = 24;

/// What makes a race of its own.
#[rustfmt::skip]
const KINDS: &[Phrase] = &[
    both_post, pages_change_hands, pages_come_back, rewritten, both_stop, any_registers,
    several::power_loss,
];

/// Phrases and races between them; where the ITS is not guarded yet, set-up is one of those.
pub(super) fn write(draft: &mut Draft<'_, '_>, weights: &Weights, hostile: bool) {
    if draft.expected.boot.stage < Stage::Guarded {
        open(draft, weights);
    }
    for _ in 0..draft.between(1, 4) {
        draft.times(0, 2, |draft| weights.legal(draft));
        one(draft, weights, hostile);
        if draft.is_long() {
            break;
        }
    }
    legal::finish(draft);
}

/// One race.
pub(super) fn one(draft: &mut Draft<'_, '_>, weights: &Weights, hostile: bool) {
    if draft.chance(1, 4) {
        return driver_and_others(draft, weights);
    }
    race(draft, |draft, start| {
        for _ in 0..draft.between(1, 3) {
            match draft.below(4) {
                0 => weights.legal(draft),
                1 if hostile => weights.hostile(draft),
                _ => draft.pick(KINDS, both_post)(draft),
            }
        }
        draft.spread(start);
    });
}

/// One CPU drives the ITS; the other shares pages and reads registers, and devices raise events.
fn driver_and_others(draft: &mut Draft<'_, '_>, weights: &Weights) {
    race(draft, |draft, start| {
        draft.times(1, 3, |draft| weights.legal(draft));
        let driver = draft.cpu();
        draft.move_to(start, driver);
        let cpu = draft.other_cpu(driver);
        for _ in 0..draft.between(1, 4) {
            let page = draft.page_of(Area::HOST);
            let (device_id, event_id) = draft.some_event();
            let [share, unshare] = away(cpu, page, true);
            let poll = Operation::Poll { cpu, times: 2 };
            let raise = Operation::Msi { device_id, event_id, half: false };
            push_one(draft, &[share, unshare, poll, raise]);
        }
    });
}

/// Finalizes and sets up, while the rest of the host goes on.
fn open(draft: &mut Draft<'_, '_>, weights: &Weights) {
    if draft.expected.boot.stage == Stage::Reset {
        let spoilt = draft.chance(1, 2);
        opening::power_up(draft, spoilt);
    }
    if draft.expected.boot.stage < Stage::Deprivileged {
        draft.times(0, 2, |draft| weights.legal(draft));
        several::each_its(draft, several::describe);
        draft.push_all((0..draft.cpus()).map(|cpu| Operation::Finalize { cpu }));
    }
    if draft.chance(1, 3) {
        draft.fail(&[PageChange::Pin, PageChange::Donate], PageChange::Share, 40);
    }
    race(draft, |draft, start| {
        legal::set_up(draft);
        draft.maybe(3, 4, several::other_its);
        for _ in 0..draft.between(1, 3) {
            draft.pick(&[any_registers, legal::set_up, pages_change_hands], any_registers)(draft);
        }
        draft.spread(start);
    });
    several::each_its(draft, legal::set_up);
}

/// Makes a race of what `body` says, which gets the index of its first operation.
fn race(draft: &mut Draft<'_, '_>, body: impl FnOnce(&mut Draft<'_, '_>, usize)) {
    // Before it come commands that nobody submitted.
    draft.times(0, 4, pending_command);
    let start = draft.length();
    body(draft, start);
    if draft.chance(1, 2) {
        let commands = draft.between(1, 8) as u16;
        draft.push(Operation::Advance { commands });
    }
    let [turns, turns2, turns3, turns4] = [(); 4].map(|()| draw_turns(draft));
    let operations = draft.length().saturating_sub(start).clamp(1, OPERATIONS) as u8;
    draft.insert(start, Operation::Race { operations, turns, turns2, turns3, turns4 });
}

/// Up to eight turns, short ones mostly.
fn draw_turns(draft: &mut Draft<'_, '_>) -> Turns {
    let count = draft.pick(&[0_u64, 1, 2, 4, 8], 8);
    let word = (0..count).fold(0, |word, _| {
        let code = match draft.below(10) {
            8 => draft.between(1, 3),
            9 => 112,
            0..=2 => draft.between(1, 8),
            3 | 4 => draft.between(1, 40),
            5 | 6 => draft.between(112, 117),
            _ => draft.between(1, 127),
        };
        let skip = u64::from(draft.chance(1, 4)) << 7;
        word << 8 | code | skip
    });
    <Turns as Word>::unpack(word)
}

fn pending_command(draft: &mut Draft<'_, '_>) {
    let gone = draft.some_device().filter(|_| draft.chance(1, 3));
    if let Some(device) = gone {
        draft.command(mapd(device.device_id, 0, Place::page(Area::ITT, 0), false));
    } else if let Some((device_id, event_id_bits, itt)) = draft.new_device() {
        draft.command(mapd(device_id, event_id_bits.saturating_sub(1), itt, true));
    }
}

/// Both CPUs write CWRITER and read CREADR.
fn both_post(draft: &mut Draft<'_, '_>) {
    for cpu in 0..draft.cpus() {
        draft.maybe(1, 2, pending_command);
        let retry = draft.chance(1, 4);
        draft.push(Operation::WriteCwriter { cpu, retry, double: false });
        let times = draft.between(1, 3) as u8;
        draft.push(Operation::Poll { cpu, times });
    }
}

/// Pages change hands while EL2 borrows them for ITTs and takes them for level-2 tables.
fn pages_change_hands(draft: &mut Draft<'_, '_>) {
    pending_command(draft);
    for _ in 0..draft.between(1, 4) {
        let cpu = draft.cpu();
        let page = page_in_use(draft);
        let ([share, unshare], [donate, reclaim]) = (away(cpu, page, true), away(cpu, page, false));
        push_one(draft, &[share, unshare, donate, reclaim]);
    }
    draft.post();
}

/// The host claims the pages of an ITT while EL2 gives them back.
fn pages_come_back(draft: &mut Draft<'_, '_>) {
    let Some(device) = draft.some_device() else { return pages_change_hands(draft) };
    draft.command(mapd(device.device_id, 0, Place::page(Area::ITT, 0), false));
    let cpu = draft.cpu();
    let other = draft.other_cpu(cpu);
    draft.push(Operation::WriteCwriter { cpu, retry: false, double: false });
    draft.push(Operation::Poll { cpu, times: 2 });
    let page = device.itt.align_down(PAGE);
    for _ in 0..draft.between(1, 3) {
        let ([share, unshare], [donate, _]) = (away(other, page, true), away(other, page, false));
        push_one(draft, &[unshare, share, donate]);
    }
}

fn page_in_use(draft: &mut Draft<'_, '_>) -> Place {
    let itt = draft.used_itt().align_down(PAGE);
    let level2 = Place::page(Area::LEVEL2, draft.below(64) as u16);
    let near = Place::page(Area::ITT, draft.below(32) as u16);
    if draft.no_more_level2() {
        draft.pick(&[itt, near], itt)
    } else {
        draft.pick(&[itt, near, near, level2], itt)
    }
}

/// Slots and level-1 entries change while EL2 judges them.
fn rewritten(draft: &mut Draft<'_, '_>) {
    pending_command(draft);
    draft.post();
    for _ in 0..draft.between(1, 4) {
        let cpu = draft.cpu();
        let area = draft.pick(&[Area::QUEUE_COPY, Area::DEVICE_TABLE_COPY], Area::QUEUE_COPY);
        let page = draft.below(1) as u16;
        let (at, value) = (Place::at(area, page, draft.word_of(64)), draft.word());
        draft.push(Operation::Store { cpu, at, value });
    }
}

/// One CPU disables, resets and enables the ITS while the other posts.
fn both_stop(draft: &mut Draft<'_, '_>) {
    let cpu = draft.cpu();
    let enable = |enabled| Operation::enable(cpu, enabled);
    let stops = [Operation::Suspend { cpu }, enable(false), Operation::Quiesce { cpu }];
    let starts = [Operation::Resume { cpu }, Operation::WriteCbaser { cpu, flip: 0 }, enable(true)];
    push_one(draft, &stops);
    push_one(draft, &starts);
    both_post(draft);
}

fn push_one(draft: &mut Draft<'_, '_>, operations: &[Operation]) {
    let one = draft.pick(operations, Operation::Quiesce { cpu: 0 });
    draft.push(one);
}

fn any_registers(draft: &mut Draft<'_, '_>) {
    use AccessSize::{Double, Word};
    use Register::{Baser, Cbaser, Creadr, Ctlr, Cwriter};
    let registers =
        [(Ctlr, Word), (Cbaser, Double), (Cwriter, Word), (Creadr, Word), (Baser(0), Double)];
    for _ in 0..draft.between(1, 4) {
        let cpu = draft.cpu();
        let (register, size) = draft.pick(&registers, (Ctlr, Word));
        let written = draft.chance(1, 3).then(|| size.truncate(draft.word()));
        let direction = written.map_or(Direction::Read, Direction::Write);
        let at = (register.offset() as u32, size);
        draft.push(Operation::access(cpu, draft.frame(), at, direction));
    }
}
