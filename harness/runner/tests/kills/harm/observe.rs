//! The kinds of harm, each with what shows it: the board's memory, page ownership, outcomes and
//! events of hardware. No rule is asked.

use std::collections::{BTreeMap, BTreeSet};

use its_gic::Command;
use its_gic::command::{COMMAND_BYTES, Words};
use its_gic::geometry::Pages;
use its_machine::{
    Action, Area, El2Side, Event, Hypercall, ITS_FRAMES, MAX_ITS, Misconduct, Outcome, PageState,
};

use super::play::Moment;

/// What a breach of a safety rule leads to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Harm {
    /// A call of EL2 does not come back, warns, which is fatal, or takes so long that the host is
    /// taken for dead.
    Stops,
    /// The ITS carries out a command whose bytes EL2 did not write into that slot, or an LPI that
    /// no command named becomes pending.
    Obeys,
    /// An ITS or a redistributor stores into memory of a guest, into memory of EL2 that holds none
    /// of its structures, or where there is no memory.
    Writes,
    /// The host asks in the last operation for a page that no ITS can reach, and does not get it.
    Loses,
    /// The host loads a word that EL2 wrote for itself.
    Shows,
}

impl Harm {
    pub(super) const ALL: [Self; 5] =
        [Self::Stops, Self::Obeys, Self::Writes, Self::Loses, Self::Shows];

    /// Returns whether this harm was done in a case.
    pub(super) fn is_done(self, moments: &[Moment]) -> bool {
        match self {
            Self::Stops => moments.iter().any(stops),
            Self::Obeys => obeys_bytes(moments) || obeys_entry(moments),
            Self::Writes => moments.iter().any(writes),
            Self::Loses => loses(moments),
            Self::Shows => shows(moments),
        }
    }
}

/// So many microseconds in EL2 with interrupts masked, and watchdogs of a host take the CPU for
/// dead.
const LOCKUP: u64 = 10_000_000;

fn stops(moment: &Moment) -> bool {
    let waited = |event: &Event| match event {
        Event::Waited { microseconds } => *microseconds,
        _ => 0,
    };
    let is_fatal = |event: &Event| *event == Event::Misconduct(Misconduct::Warned);
    moment.actions.iter().any(|(_, outcome)| *outcome == Outcome::Stopped)
        || moment.events.iter().any(is_fatal)
        || moment.events.iter().map(waited).sum::<u64>() >= LOCKUP
}

/// Whether this action set an ITS up.
fn guards(moment: &Moment) -> bool {
    let set_up = Hypercall::InitItsEmulation.function_id();
    moment.actions.iter().any(|(action, outcome)| match action {
        Action::Hypercall { x0, arguments: [device, ..], .. } => {
            let is_set_up = *x0 == set_up && ITS_FRAMES.contains(device);
            is_set_up && *outcome == Outcome::Returned { x0: 0, x1: 0 }
        }
        _ => false,
    })
}

/// Before a set-up the host's own bytes are what its ITS shall obey.
fn obeys_bytes(moments: &[Moment]) -> bool {
    let mut is_guarded = false;
    let mut written: BTreeMap<u64, Words> = BTreeMap::new();
    for moment in moments {
        is_guarded |= guards(moment);
        for event in &moment.events {
            match *event {
                Event::CommandWritten { address, words } => {
                    written.insert(address, words);
                }
                Event::Consumed { its, offset, words, error: None } if is_guarded => {
                    let slot = moment.queues[usize::from(its)].slot(offset);
                    if written.get(&slot) != Some(&words) {
                        return true;
                    }
                }
                _ => {}
            }
        }
    }
    false
}

fn obeys_entry(moments: &[Moment]) -> bool {
    let mut named = BTreeSet::new();
    for moment in moments {
        for event in &moment.events {
            if let Event::Consumed { words, error: None, .. } = event {
                match Command::decode(*words) {
                    Command::Mapti { intid, .. } => named.insert(intid),
                    Command::Mapi { event_id, .. } => named.insert(event_id),
                    _ => false,
                };
            }
        }
        if moment.pending.iter().any(|intid| !named.contains(intid)) {
            return true;
        }
    }
    false
}

fn writes(moment: &Moment) -> bool {
    moment.stores.iter().any(|(address, state)| match state {
        None | Some(PageState::GUEST) => true,
        Some(state) => state.el2 == El2Side::Owned && !may_hold_structures(*address),
    })
}

/// Whether an ITS stores into this page once EL2 owns it: what EL2 had from boot, its records and
/// its descriptors are its own.
fn may_hold_structures(address: u64) -> bool {
    let own = [Area::EL2, Area::PRIVATE, Area::DESCRIPTOR];
    let all = own.iter().flat_map(|area| (0..MAX_ITS as u8).map(|its| area.of_its(its)));
    !all.into_iter().any(|area| area.run().contains(address >> 12))
}

/// What the host asks of a page that is its own again.
const GIVE_UP: [u64; 2] =
    [Hypercall::HostUnshareHyp.function_id(), Hypercall::HostDonateGuest.function_id()];

fn loses(moments: &[Moment]) -> bool {
    let last = moments.last().expect("a scenario has operations");
    let refused = last.actions.iter().filter_map(|asked| match asked {
        (Action::Load { address, .. }, Outcome::Refused) => Some(address >> 12),
        (Action::Hypercall { x0, arguments: [page, ..], .. }, Outcome::Returned { x1, .. })
            if GIVE_UP.contains(x0) && *x1 != 0 =>
        {
            Some(*page)
        }
        _ => None,
    });
    let is_reached = |page| {
        let mut reach = last.reach.iter();
        reach.any(|reach| Pages::under(reach.address, reach.bytes).contains(page))
    };
    last.operation.is_some() && refused.into_iter().any(|page| !is_reached(page))
}

fn shows(moments: &[Moment]) -> bool {
    let mut own: BTreeMap<u64, u64> = BTreeMap::new();
    for moment in moments {
        for event in &moment.events {
            match *event {
                Event::WordWritten { address, value, shared: false } => {
                    own.insert(address, value);
                }
                Event::CommandWritten { address, words } => {
                    let slot = (address..address + COMMAND_BYTES).step_by(8);
                    own.extend(slot.zip(words));
                }
                _ => {}
            }
        }
        for (action, outcome) in &moment.actions {
            match (*action, *outcome) {
                (Action::Store { address, .. }, _) => {
                    own.remove(&address);
                }
                (Action::Load { address, .. }, Outcome::Value(value))
                    if value != 0 && own.get(&address) == Some(&value) =>
                {
                    return true;
                }
                _ => {}
            }
        }
    }
    false
}
