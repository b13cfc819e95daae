//! Scenarios of a host that owns its ITS, or two: nothing but the architecture stands behind it.
//!
//! The legal ones are the Linux driver at work from power-up on. The hostile ones do, about every
//! other time, what no driver does and what the architecture still has an answer for; what it has
//! none for comes rarely and late, since nothing after it is judged.

mod collections;
mod commands;
mod driver;
mod lpis;
mod mappings;
mod one_event;
mod power;
mod queue;
mod raw;
mod registers;
mod silence;
mod tables;
#[cfg(test)]
mod tests;

use crate::scenario::Weights;
use crate::words::*;
use crate::{Temper, histories, hostile, legal, limits};

/// What the driver does; the first two are what the others build on.
#[rustfmt::skip]
pub(crate) const LEGAL: &[Phrase] = &[
    legal::map_device, driver::event, driver::interrupt, driver::interrupt, driver::affinity,
    driver::mask, driver::retrigger, driver::unmap, driver::other_its, legal::collection, poll,
    driver::look, power::suspend, legal::reset_queue, raw::batch,
];

/// What no driver does.
#[rustfmt::skip]
pub(crate) const HOSTILE: &[Phrase] = &[
    commands::odd_ids, commands::some_odd, commands::nowhere, commands::no_command,
    commands::reserved_bits, hostile::one_bit_off, mappings::event_again, mappings::device_again,
    mappings::device_with_events, mappings::too_large, mappings::wide_events, collections::moved,
    collections::unmapped, collections::all_moved, queue::stalled, queue::odd_cwriter,
    queue::other_base, queue::stopped, queue::halves, registers::any_read, registers::read_only,
    tables::moved, tables::not_ready, tables::absent_level2, power::lost, lpis::configured,
    lpis::stored, lpis::turned_off, lpis::several, lpis::strange_msi, one_event::one_event,
    one_event::one_event, one_event::one_event, limits::device_at_a_limit,
    limits::collection_at_a_limit, limits::rdbase_at_a_limit, limits::event_at_a_limit,
    histories::itt_with_a_past,
    collections::far, collections::far,
];

/// When no phrase follows any more: a batch around the queue still leaves room for some.
const LONG: usize = DRAWN_OPERATIONS * 2 / 3;

/// Writes a scenario from its first operation to its last.
pub(crate) fn write(draft: &mut Draft<'_, '_>, weights: &Weights, temper: Temper) {
    let hostile = temper == Temper::Hostile;
    open(draft, hostile);
    let silent = hostile && draft.chance(1, 25);
    if hostile {
        draft.times(1, 4, |draft| {
            unless_long(draft, |draft| weights.legal(draft));
            draft.times(1, 3, |draft| unless_long(draft, |draft| weights.hostile(draft)));
            // Where the expected state was wrong the queue may stall; it does not stay so.
            draft.maybe(1, 5, |draft| unless_long(draft, legal::reset_queue));
        });
    } else {
        draft.times(6, 13, |draft| unless_long(draft, |draft| weights.legal(draft)));
    }
    if silent {
        silence::anything(draft);
        weights.legal(draft);
    }
    finish(draft);
}

/// The host looks how far the ITS is.
fn poll(draft: &mut Draft<'_, '_>) {
    legal::idle(draft);
    let cpu = draft.cpu();
    draft.acknowledge(cpu);
}

fn unless_long(draft: &mut Draft<'_, '_>, phrase: impl Fn(&mut Draft<'_, '_>)) {
    if draft.length() < LONG {
        phrase(draft);
    }
}

/// From power-up to ITSs that work, if the board is not there yet.
fn open(draft: &mut Draft<'_, '_>, hostile: bool) {
    if draft.expected.boot.stage != Stage::Reset {
        return;
    }
    if hostile {
        draft.maybe(1, 4, registers::any_read);
        for cpu in 0..draft.cpus() {
            draft.maybe(1, 4, |draft| lpis::pending_from_the_start(draft, cpu));
        }
    }
    for its in 0..draft.expected.boot.its {
        if its > 0 {
            draft.push(Operation::SelectIts { its });
        }
        draft.push(Operation::Probe { cpu: 0 });
        draft.push_all((0..draft.cpus()).map(|cpu| Operation::InitCpu { cpu }));
    }
    if draft.expected.current != 0 && draft.chance(1, 2) {
        driver::other_its(draft);
    }
}

/// All that was written is submitted and consumed, and what is pending is taken.
fn finish(draft: &mut Draft<'_, '_>) {
    for _ in 0..draft.expected.boot.its {
        draft.drain();
        if draft.expected.boot.its > 1 {
            driver::other_its(draft);
        }
    }
    driver::interrupt(draft);
}
