//! From a board's stage to ITSs that EL2 guards.

use its_scenario::Stage;

use crate::scenario::Weights;
use crate::words::*;
use crate::{hostile, hvc, legal, limits, several};

/// Attributes of GITS_CBASER, one bit each: Shareability, InnerCache, OuterCache.
const CBASER_ATTRIBUTES: [u64; 4] = [1 << 10, 1 << 53, 1 << 59, 1 << 61];
/// The same of `GITS_BASER<n>`.
const BASER_ATTRIBUTES: [u64; 4] = [1 << 10, 1 << 53, 1 << 59, 1 << 60];

/// As the driver does it; `spoilt`: with what is wrong between its steps.
pub(crate) fn orderly(draft: &mut Draft<'_, '_>, weights: &Weights, spoilt: bool) {
    let Some(is_open) = start(draft, weights, spoilt) else { return };
    if is_open {
        if spoilt {
            draft.maybe(1, 3, other_attributes);
            draft.maybe(1, 3, hvc::level1_with_contents);
        }
        several::each_its(draft, several::describe);
        if spoilt {
            draft.maybe(1, 2, |draft| weights.hostile(draft));
            draft.maybe(1, 4, hvc::moved);
            draft.maybe(1, 6, hvc::stalled);
        }
        for (n, cpu) in draft.cpus_in_turn().enumerate() {
            if n > 0 && spoilt && draft.chance(1, 4) {
                weights.hostile(draft);
            }
            draft.push(Operation::Finalize { cpu });
        }
    }
    if spoilt {
        hostile::before_set_up(draft);
    }
    several::each_its(draft, legal::set_up);
}

/// The same with the host's attacks between all steps.
pub(crate) fn contested(draft: &mut Draft<'_, '_>, weights: &Weights) {
    let Some(is_open) = start(draft, weights, true) else { return };
    if is_open {
        draft.maybe(1, 6, other_attributes);
        draft.maybe(1, 2, limits::as_many_devices_as_records);
        several::each_its(draft, several::describe);
        match draft.below(13) {
            0 => hvc::busy(draft),
            1 => hvc::stalled(draft),
            2..=4 => hvc::moved(draft),
            5 => hvc::third_table(draft),
            6 => hvc::bad_level1(draft),
            7 => hvc::level1_with_contents(draft),
            _ => {}
        }
        for cpu in draft.cpus_in_turn() {
            draft.maybe(1, 2, |draft| weights.hostile(draft));
            draft.push(Operation::Finalize { cpu });
            draft.maybe(1, 4, load_of_el2);
        }
    }
    for _ in 0..draft.between(1, 4) {
        weights.hostile(draft);
        draft.maybe(1, 4, |draft| weights.legal(draft));
        draft.maybe(1, 3, several::other_its);
    }
    several::each_its(draft, |draft| {
        if !draft.expected.here().guarded || draft.chance(1, 8) {
            legal::set_up(draft);
        }
    });
}

/// A CPU, finalized or not, looks into EL2's memory.
fn load_of_el2(draft: &mut Draft<'_, '_>) {
    let (cpu, at) = (draft.any_cpu(), draft.page_of(Area::EL2));
    draft.push(Operation::Load { cpu, at });
}

/// What comes before the host describes its ITSs. Returns whether it still can: no CPU is
/// finalized; `None` where EL2 guards the ITSs from the start.
fn start(draft: &mut Draft<'_, '_>, weights: &Weights, spoilt: bool) -> Option<bool> {
    match draft.expected.boot.stage {
        Stage::Guarded => return None,
        Stage::Deprivileged => return Some(false),
        Stage::Reset => power_up(draft, spoilt),
        Stage::Probed => {}
    }
    draft.times(0, 3, |draft| weights.legal(draft));
    Some(true)
}

/// The driver probes its ITSs and starts the CPUs; `spoilt`: not all of them, so that LPIs stay off
/// on some redistributors, and in any order.
pub(crate) fn power_up(draft: &mut Draft<'_, '_>, spoilt: bool) {
    let some = spoilt && draft.chance(1, 2);
    let cpus: Vec<u8> = draft.cpus_in_turn().collect();
    let (on, off): (Vec<u8>, Vec<u8>) = cpus.into_iter().partition(|_| !some || draft.chance(1, 2));
    several::each_its(draft, |draft| {
        draft.push(Operation::Probe { cpu: 0 });
        draft.push_all(on.iter().map(|cpu| Operation::InitCpu { cpu: *cpu }));
    });
    for cpu in off {
        draft.maybe(1, 2, |draft| own_tables(draft, cpu));
    }
}

/// The host gives a redistributor tables of its own, of any number of INTID bits, and turns LPIs on
/// or not.
fn own_tables(draft: &mut Draft<'_, '_>, cpu: u8) {
    let frame = Frame::Redistributor(cpu);
    let id_bits = draft.pick(&[0, 11, 12, 13, 14, 15, 31], 15);
    let configuration = Place::page(Area::CONFIGURATION, 0).address();
    draft.access(frame, "PROPBASER", Direction::Write(configuration | id_bits));
    let own = u16::from(cpu % 2).saturating_mul(16);
    let pending = Place::page(Area::PENDING, own).address();
    draft.access(frame, "PENDBASER", Direction::Write(pending));
    draft.maybe(1, 2, |draft| draft.access(frame, "CTLR", Direction::Write(1)));
}

/// Queue and tables with other attributes than the driver's, before EL2 records them.
fn other_attributes(draft: &mut Draft<'_, '_>) {
    draft.rest();
    let cpu = draft.cpu();
    let flip = draft.pick(&CBASER_ATTRIBUTES, 0);
    draft.push(Operation::WriteCbaser { cpu, flip });
    draft.write_cwriter(cpu, 0);
    for index in 0..draft.below(3) as u8 {
        let flip = draft.pick(&BASER_ATTRIBUTES, 0);
        draft.push(Operation::WriteBaser { cpu, index, flip });
    }
    draft.go_on();
}
