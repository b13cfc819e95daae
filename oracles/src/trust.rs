//! What the host is trusted for: until set-up succeeds, for what it wrote to memory and for a list
//! of live devices that is complete and true. A device that the ITS's table holds and the list does
//! not is the host's lie: nobody judges its ITT. So is a level-2 table that the ITS works with,
//! since it has it in its caches, and the level-1 entry no longer names.

use std::collections::BTreeMap;

use its_machine::{Action, Event, Exposure, Machine, Purpose, Reach, Translation, View};

use its_gic::geometry::{LEVEL1_ENTRY_BYTES, Level1Entry, Table, itt_bytes};
use its_gic::{Baser, Register};

use crate::Step;

/// Bytes of one entry of the list: DeviceID u32, Size u32, ITT address u64.
const ENTRY_BYTES: u64 = 16;
/// Offsets in the descriptor: the number of live devices, and the address of their list.
const NUMBER: u64 = 0x18;
const LIST: u64 = 0x20;

/// What EL2 read first at an address, if it did.
fn word(step: &Step, address: u64) -> Option<u64> {
    step.events.iter().find_map(|event| match *event {
        Event::Scanned { address: at, bytes } => (address.wrapping_sub(at) < bytes).then_some(0),
        _ => event.word_read(address),
    })
}

/// The devices in the list that a set-up read, with Size and ITT address.
fn listed(step: &Step, linear_map: u64) -> BTreeMap<u32, (u8, u64)> {
    let Action::Hypercall { arguments, .. } = step.action else {
        return BTreeMap::new();
    };
    let word = |address| word(step, address);
    let descriptor = arguments[2].wrapping_sub(linear_map);
    let number = word(descriptor.wrapping_add(NUMBER)).unwrap_or(0);
    let list = word(descriptor.wrapping_add(LIST)).unwrap_or(0);
    let entry = |index: u64| {
        let address = list.wrapping_sub(linear_map) + index * ENTRY_BYTES;
        let (first, itt) = (word(address)?, word(address + 8)?);
        Some((first as u32, ((first >> 32) as u8, itt)))
    };
    (0..number).map_while(entry).collect()
}

/// Whether a level-2 table is another than the one in the level-1 entry that a set-up read.
fn is_stale(reach: &Reach, step: &Step, view: &impl View) -> bool {
    let Purpose::Level2 { table, index } = reach.purpose else {
        return false;
    };
    let baser = Baser::from_bits(view.register(reach.its, Register::Baser(table)));
    let table = Table::new(baser);
    let entry = word(step, table.address + u64::from(index) * LEVEL1_ENTRY_BYTES);
    entry.is_some_and(|entry| {
        let entry = Level1Entry(entry);
        !entry.is_valid() || entry.address(table.page_size) != reach.address
    })
}

/// The devices that an ITS knows at its successful set-up, and the host listed otherwise or not at
/// all; and level-2 tables that it has from entries which are no more.
pub(crate) fn lies(step: &Step, view: &impl View, machine: &Machine, its: u8) -> Lies {
    let listed = listed(step, machine.linear_map);
    let entry_bytes = machine.configuration(its).itt_entry_bytes.into();
    let is_true = |reach: &Reach, device_id: u32| {
        listed.get(&device_id).is_some_and(|(size, itt)| {
            *itt == reach.address && reach.bytes <= itt_bytes(*size, entry_bytes)
        })
    };
    view.reach(its)
        .map(|(reach, _)| reach)
        .filter(|reach| match reach.purpose {
            Purpose::Itt { device_id } => !is_true(reach, device_id),
            _ => is_stale(reach, step, view),
        })
        .map(|reach| ((its, reach.purpose), (reach.address, reach.bytes)))
        .collect()
}

/// ITTs of such devices and such tables, of each ITS: address and bytes.
pub(crate) type Lies = BTreeMap<(u8, Purpose), (u64, u64)>;

fn is_lie(reach: &Reach, lies: &Lies) -> bool {
    lies.get(&(reach.its, reach.purpose)) == Some(&(reach.address, reach.bytes))
}

/// The events without those about lies. A lie comes back with the table that holds it (a BASER that
/// is made Valid again); a device that is mapped elsewhere is none any more.
pub(crate) fn without(events: &[Event], lies: &mut Lies) -> Vec<Event> {
    let mut kept = Vec::with_capacity(events.len());
    for event in events {
        match event {
            Event::Reached(reach, _) | Event::ReachedPage { reach, .. } if is_lie(reach, lies) => {
                continue;
            }
            Event::Reached(reach, _) => {
                lies.remove(&(reach.its, reach.purpose));
            }
            _ => {}
        }
        kept.push(*event);
    }
    kept
}

/// A view without lies.
pub(crate) struct Trusted<'a, V> {
    pub view: &'a V,
    pub lies: &'a Lies,
}

impl<V: View> View for Trusted<'_, V> {
    fn reach(&self, its: u8) -> impl Iterator<Item = (Reach, Exposure)> {
        self.view.reach(its).filter(|(reach, _)| !is_lie(reach, self.lies))
    }

    fn translate(&self, its: u8, device_id: u32, event_id: u32) -> Option<Translation> {
        self.view.translate(its, device_id, event_id)
    }

    fn pending(&self, redistributor: u8) -> impl Iterator<Item = u32> {
        self.view.pending(redistributor)
    }

    fn register(&self, its: u8, register: Register) -> u64 {
        self.view.register(its, register)
    }

    fn offered(&self, redistributor: u8) -> Option<u32> {
        self.view.offered(redistributor)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use its_machine::{Outcome, PageState};

    const MAP: u64 = 0xfff0_0000_0000_0000;

    #[test]
    fn the_list_is_what_set_up_read() {
        let read = |address, value| Event::WordRead { address, value, shared: false };
        let events = [
            read(0x1018, 2),
            read(0x1020, MAP + 0x2000),
            read(0x2000, 7 | 4 << 32),
            read(0x2008, 0x9000),
            read(0x2010, 9 | 4 << 32),
            read(0x2018, 0xa000),
            read(0x2020, 11),
        ];
        let action = Action::Hypercall { cpu: 0, x0: 0, arguments: [0, MAP, MAP + 0x1000, 1] };
        let step = Step { action: &action, outcome: Outcome::Done, events: &events };
        let devices = [(7, (4, 0x9000)), (9, (4, 0xa000))];
        assert!(listed(&step, MAP).into_iter().eq(devices));
    }

    #[test]
    fn a_lie_ends_when_the_device_is_mapped_elsewhere() {
        let reach = |address| Reach {
            its: 0,
            purpose: Purpose::Itt { device_id: 5 },
            address,
            bytes: 0x100,
        };
        let page =
            |address| Event::ReachedPage { reach: reach(address), page: 0, state: PageState::HOST };
        let reached = |address| Event::Reached(reach(address), Exposure::default());
        let gone = Event::Unreached(reach(0));
        let mut lies = Lies::from([((0, reach(0).purpose), (0, 0x100))]);
        let kept = without(&[page(0), gone, reached(0), page(0)], &mut lies);
        assert_eq!(kept, [gone]);
        let kept = without(&[reached(0x200), page(0x200)], &mut lies);
        assert_eq!(kept, [reached(0x200), page(0x200)]);
        assert!(lies.is_empty());
    }
}
