//! Memory that an ITS reaches when its set-up succeeds and that the host did not declare. It is not
//! judged: until then EL2 relies on the host for a complete and true list of live devices and for
//! its level-1 tables.
//!
//! It is an ITT of a device that the ITS's table holds and the list does not, or a level-2 table
//! that the ITS has in its caches and that the level-1 entry no longer names.

use std::borrow::Cow;
use std::collections::BTreeSet;

use its_declaration::{Declaration, LiveDevices};
use its_gic::geometry::{LEVEL1_ENTRY_BYTES, Level1Entry, Table, itt_bytes};
use its_gic::{Baser, Register};
use its_machine::{Barrier, Event, Machine, Purpose, Reach, View};

use crate::Step;

/// Bytes of one entry of the list: DeviceID u32, Size u32, ITT address u64.
const ENTRY_BYTES: u64 = 16;
/// Offsets in the descriptor: the number of live devices, and the address of their list.
const NUMBER: u64 = 0x18;
const LIST: u64 = 0x20;

/// An entry of the list: DeviceID, Size, ITT address.
type Entry = (u32, u8, u64);

/// The list that a set-up read; none if it read none.
fn listed(step: &Step, linear_map: u64) -> Option<Vec<Entry>> {
    let [_, _, descriptor, _] = step.arguments()?;
    let descriptor = descriptor.wrapping_sub(linear_map);
    let number = step.word_read(descriptor.wrapping_add(NUMBER))?;
    let list = step.word_read(descriptor.wrapping_add(LIST)).unwrap_or(0);
    let entry = |index: u64| {
        let address = list.wrapping_sub(linear_map) + index * ENTRY_BYTES;
        let (first, itt) = (step.word_read(address)?, step.word_read(address + 8)?);
        Some((first as u32, (first >> 32) as u8, itt))
    };
    Some((0..number).map_while(entry).collect())
}

/// Whether a set-up read a list that names devices which the ITS does not have, or has with another
/// ITT.
pub(crate) fn lists_more(its: u8, step: &Step, view: &impl View, machine: &Machine) -> bool {
    let Some(listed) = listed(step, machine.linear_map) else {
        return false;
    };
    let mapped: BTreeSet<(u32, u64)> = { view.reach(its) }
        .filter_map(|(reach, _)| match reach.purpose {
            Purpose::Itt { device_id } => Some((device_id, reach.address)),
            _ => None,
        })
        .collect();
    listed.into_iter().any(|(device_id, _, itt)| !mapped.contains(&(device_id, itt)))
}

/// Whether a level-2 table is another than the one in the level-1 entry that a set-up read.
fn is_stale(reach: &Reach, step: &Step, view: &impl View) -> bool {
    let Purpose::Level2 { table, index } = reach.purpose else {
        return false;
    };
    let table = Table::new(Baser::from_bits(view.register(reach.its, Register::Baser(table))));
    let entry = step.word_read(table.address + u64::from(index) * LEVEL1_ENTRY_BYTES);
    entry
        .map(Level1Entry)
        .is_some_and(|entry| !entry.is_valid() || entry.address(table.page_size) != reach.address)
}

/// What is undeclared, of each ITS.
#[derive(Clone, Debug, Default)]
pub(crate) struct Undeclared(BTreeSet<Reach>);

impl Undeclared {
    /// Takes note of what an ITS reaches at its successful set-up and the host listed otherwise or
    /// not at all.
    pub(crate) fn note_set_up(
        &mut self,
        its: u8,
        step: &Step,
        view: &impl View,
        (machine, declared): (&Machine, &Declaration),
    ) {
        // Whoever reads no list must find live devices by itself, or refuse.
        // Where no device is live by declaration, the host listed none.
        let none = (declared.set_up.live_devices == LiveDevices::None).then(Vec::new);
        let Some(listed) = listed(step, machine.linear_map).or(none) else {
            self.0.retain(|reach| reach.its != its);
            return;
        };
        let entry_bytes = machine.configuration(its).itt_entry_bytes.into();
        let is_listed = |reach: &Reach, device_id: u32| {
            listed.iter().any(|(listed, size, itt)| {
                let is_it = (*listed, *itt) == (device_id, reach.address);
                is_it && reach.bytes <= itt_bytes(*size, entry_bytes)
            })
        };
        self.0.retain(|reach| reach.its != its);
        let all = view.reach(its).map(|(reach, _)| reach);
        self.0.extend(all.filter(|reach| match reach.purpose {
            Purpose::Itt { device_id } => !is_listed(reach, device_id),
            _ => is_stale(reach, step, view),
        }));
    }

    pub(crate) fn is_declared(&self, reach: &Reach) -> bool {
        !self.0.contains(reach)
    }

    /// Whether an ITS read, or stored to, memory that nobody cleaned and that is not declared.
    pub(crate) fn is_stale(&self, events: &[Event]) -> bool {
        let holds = |at: u64| self.0.iter().any(|one| at.wrapping_sub(one.address) < one.bytes);
        events.iter().any(|event| match *event {
            Event::StaleRead { address } | Event::Overwritten { address, .. } => holds(address),
            _ => false,
        })
    }

    /// The events about what is declared. What is undeclared comes back with the table that holds
    /// it (a BASER that is made Valid again); a device that is mapped elsewhere is declared. For
    /// others stands one that is nothing to LEAK and PTR, so that the numbers of events stay.
    pub(crate) fn filter<'a>(&mut self, events: &'a [Event]) -> Cow<'a, [Event]> {
        if self.0.is_empty() {
            return Cow::Borrowed(events);
        }
        let mut declared = |event: &&Event| match event {
            Event::Reached(reach, _) | Event::ReachedPage { reach, .. }
                if !self.is_declared(reach) =>
            {
                false
            }
            Event::Reached(reach, _) => {
                let now = (reach.its, reach.purpose);
                self.0.retain(|other| (other.its, other.purpose) != now);
                true
            }
            _ => true,
        };
        let or_nothing =
            |event| if declared(&event) { *event } else { Event::Ordered(Barrier::DSB_SY) };
        events.iter().map(or_nothing).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use its_machine::{Action, Exposure, Outcome, PageState};

    const MAP: u64 = 0xfff0_0000_0000_0000;

    #[test]
    fn the_list_is_what_set_up_read() {
        let events = [
            (0x1018, 2),
            (0x1020, MAP + 0x2000),
            (0x2000, 7 | 4 << 32),
            (0x2008, 0x9000),
            (0x2010, 9 | 4 << 32),
            (0x2018, 0xa000),
            (0x2020, 11),
        ]
        .map(|(address, value)| Event::WordRead { address, value, shared: false });
        const INIT: u64 = its_machine::Hypercall::InitItsEmulation.function_id();
        let action = Action::Hypercall { cpu: 0, x0: INIT, arguments: [0, MAP, MAP + 0x1000, 1] };
        let step = Step::new(&action, Outcome::Returned { x0: 0, x1: 0 }, &events);
        let devices = [(7, 4, 0x9000), (9, 4, 0xa000)];
        assert!(listed(&step, MAP).unwrap() == devices);
        let unread = Step { events: &[], ..step };
        assert_eq!(listed(&unread, MAP), None);
    }

    #[test]
    fn memory_that_is_not_declared_may_be_stale() {
        let purpose = Purpose::Itt { device_id: 5 };
        let reach = Reach { its: 0, purpose, address: 0x1000, bytes: 0x100 };
        let undeclared = Undeclared(BTreeSet::from([reach]));
        for (address, expected) in [(0xff8, false), (0x1000, true), (0x10f8, true), (0x1100, false)]
        {
            assert_eq!(undeclared.is_stale(&[Event::StaleRead { address }]), expected);
            let overwritten = Event::Overwritten { address, host: false };
            assert_eq!(undeclared.is_stale(&[overwritten]), expected);
        }
    }

    #[test]
    fn a_device_is_declared_once_it_is_mapped_elsewhere() {
        let purpose = Purpose::Itt { device_id: 5 };
        let reach = |address| Reach { its: 0, purpose, address, bytes: 0x100 };
        let state = PageState::HOST;
        let page = |address| Event::ReachedPage { reach: reach(address), page: 0, state };
        let reached = |address| Event::Reached(reach(address), Exposure::default());
        let gone = Event::Unreached(reach(0));
        let mut undeclared = Undeclared(BTreeSet::from([reach(0)]));
        let kept = undeclared.filter(&[page(0), gone, reached(0), page(0)]).into_owned();
        assert_eq!(
            kept,
            [
                Event::Ordered(Barrier::DSB_SY),
                gone,
                Event::Ordered(Barrier::DSB_SY),
                Event::Ordered(Barrier::DSB_SY)
            ]
        );
        let elsewhere = [reached(0x200), page(0x200)];
        assert_eq!(*undeclared.filter(&elsewhere), elsewhere);
        assert!(undeclared.0.is_empty());
    }
}
