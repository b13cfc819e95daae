//! Test scaffolding: a right EL2's event lists, and a [`World`] that plays them on the reference.

use its_architecture::Architecture;
pub(crate) use its_architecture::Judgement;
pub(crate) use its_architecture::testing::*;
use its_declaration::Declaration;
use its_el2::SubjectPolicy;
use its_gic::command::Words;
pub(crate) use its_gic::geometry::{Level1Entry, PAGE_BYTES, Pages};
pub(crate) use its_gic::register::Baser;
pub(crate) use its_gic::{Command, Register};
pub(crate) use its_machine::{
    AccessSize, Action, Errno, Event, Freedoms, Hypercall, Machine, Outcome, PageChange, PageState,
};

use crate::queue::Queues;
pub(crate) use crate::{Phase, Policy, Rule, rules};

/// The reference in a world.
pub(crate) type World = its_architecture::testing::World<Policy>;

impl Reference for Policy {
    fn on(machine: Machine, freedoms: Freedoms) -> Self {
        let policy = SubjectPolicy {
            records_per_page: 3,
            commands_in_flight: 64,
            commands_per_trap: 64,
            event_id_bits: 16,
            private_pages: 1024,
            guarded_its: 4,
            its: u32::MAX,
            redistributors: u32::MAX,
        };
        Self::new(machine, Declaration::of(policy), |_| freedoms)
    }

    fn judge(&mut self, action: &Action, outcome: &Outcome, events: &[Event]) -> Judgement {
        Self::judge(self, action, outcome, events)
    }

    fn hardware(&self) -> &Architecture {
        &self.hardware
    }
}

/// A hypercall that is supported returned this.
pub(crate) const fn x1(x1: i64) -> Outcome {
    Outcome::Returned { x0: 0, x1 }
}

// ---- worlds

/// Both CPUs finalized.
pub(crate) fn finalized(mut world: World) -> World {
    for cpu in 0..2 {
        world.agree(hypercall(cpu, Hypercall::ProtFinalize, [0; 4]), x1(0), &[]);
    }
    world
}

/// Then set up: C = J = W = 0x80.
pub(crate) fn guard(world: World) -> World {
    let mut world = finalized(world);
    world.agree(set_up_call(), x1(0), &set_up());
    world
}

pub(crate) fn closing() -> World {
    finalized(World::booted())
}

pub(crate) fn guarded() -> World {
    guard(World::booted())
}

/// A hypercall for a page that succeeds.
pub(crate) fn calls(world: &mut World, call: Hypercall, page: u64, events: &[Event]) {
    world.agree(hypercall(0, call, [page, 0, 0, 0]), x1(0), events);
}

pub(crate) fn queues(world: &World) -> Queues {
    world.model.guarded[0].as_ref().unwrap().queues
}

/// Records that the ITS uses, of those that its private pages carry.
pub(crate) fn records(world: &World) -> (u64, u64) {
    let mappings = &world.model.guarded[0].as_ref().unwrap().mappings;
    (mappings.records_used(), mappings.capacity)
}

// ---- single events

pub(crate) fn page(change: PageChange, page: u64) -> Event {
    Event::Page { change, pages: Pages { first: page, count: 1 }, result: Ok(()) }
}

/// A change of a page that the scenario makes fail.
pub(crate) fn fails(change: PageChange, page: u64) -> Event {
    refuses(change, page, Errno::Enomem)
}

pub(crate) fn refuses(change: PageChange, page: u64, errno: Errno) -> Event {
    Event::Page { change, pages: Pages { first: page, count: 1 }, result: Err(errno) }
}

pub(crate) fn word_read(address: u64, value: u64) -> Event {
    Event::WordRead { address, value, shared: true }
}

pub(crate) fn copied(offset: u64, words: Words) -> Event {
    Event::CommandRead { address: at(SHADOW) + offset, words, shared: true }
}

pub(crate) fn passed_on(offset: u64, words: Words) -> Event {
    Event::CommandWritten { address: at(QUEUE) + offset, words }
}

// ---- lists

/// P9: CREADR, then CTLR, of an enabled ITS.
pub(crate) fn look(creadr: u64) -> Vec<Event> {
    vec![reads(Register::Creadr, creadr), reads(Register::Ctlr, 1)]
}

/// A command judged and passed on, borrowing these of the host's own pages.
pub(crate) fn accepts(offset: u64, command: Command, borrowed: &[u64]) -> Vec<Event> {
    let mut events = vec![copied(offset, command.encode())];
    events.extend(borrows(borrowed));
    events.push(passed_on(offset, command.encode()));
    events
}

pub(crate) fn borrows(borrowed: &[u64]) -> Vec<Event> {
    let take = |of: &u64| [page(PageChange::Share, *of), page(PageChange::Pin, *of)];
    borrowed.iter().flat_map(take).collect()
}

pub(crate) fn releases(borrowed: &[u64]) -> Vec<Event> {
    let give = |of: &u64| [page(PageChange::Unpin, *of), page(PageChange::Unshare, *of)];
    borrowed.iter().flat_map(give).collect()
}

pub(crate) const fn hypercall(cpu: u8, call: Hypercall, arguments: [u64; 4]) -> Action {
    Action::Hypercall { cpu, x0: call.function_id(), arguments }
}

pub(crate) fn set_up_call() -> Action {
    let arguments = [ITS, linear(PRIVATE), linear(DESCRIPTOR), 0];
    hypercall(0, Hypercall::InitItsEmulation, arguments)
}

/// The words of the descriptor, by offset.
pub(crate) fn descriptor() -> Vec<(u64, u64)> {
    let mut words = vec![
        (0x00, linear(QUEUE)),
        (0x08, linear(SHADOW)),
        (0x10, 0x1000),
        (0x18, 1),
        (0x20, linear(LIST)),
    ];
    for n in 0..8 {
        let at = 0x40 + 0x20 * n;
        let (base, shadow, value, shape) = match n {
            0 => (linear(LEVEL1), linear(SHADOW_LEVEL1), baser(0), 0x1000_0000_0000),
            1 => (linear(COLLECTIONS), 0, baser(1), 0x1000_0000_0000),
            _ => (0, 0, 0, 0),
        };
        words.extend([(at, base), (at + 8, shadow), (at + 0x10, value), (at + 0x18, shape)]);
    }
    words
}

/// A right EL2's set-up.
pub(crate) fn set_up() -> Vec<Event> {
    set_up_with(&descriptor(), &[(1, 7, at(ITT))])
}

/// Likewise, with this descriptor and these live devices.
pub(crate) fn set_up_with(descriptor: &[(u64, u64)], devices: &[(u32, u32, u64)]) -> Vec<Event> {
    let mut events = vec![
        page(PageChange::Donate, PRIVATE),
        Event::PageZeroed { page: PRIVATE },
        page(PageChange::Donate, DESCRIPTOR),
    ];
    let word = |(offset, value): &(u64, u64)| word_read(at(DESCRIPTOR) + offset, *value);
    events.extend(descriptor.iter().map(word));
    events.extend(borrows(&[LIST]));
    for (index, (device_id, size, itt)) in (0..).zip(devices) {
        let entry = at(LIST) + 16 * index;
        let first = u64::from(*size) << 32 | u64::from(*device_id);
        events.extend([word_read(entry, first), word_read(entry + 8, *itt)]);
    }
    events.push(reads(Register::Cbaser, cbaser()));
    for n in 0..8 {
        let value = if n < 2 { baser(n) } else { 0 };
        events.push(reads(Register::Baser(n), value));
    }
    events.extend([
        reads(Register::Ctlr, 1),
        reads(Register::Creadr, 0x80),
        reads(Register::Cwriter, 0x80),
    ]);
    let tables = [QUEUE, LEVEL1, COLLECTIONS, LEVEL2];
    events.extend(tables.map(|table| page(PageChange::Donate, table)));
    events.push(word_read(at(LEVEL1), Level1Entry::valid(at(LEVEL2)).0));
    events.extend((1..512).map(|index| word_read(at(LEVEL1) + 8 * index, 0)));
    events.extend(borrows(&[SHADOW, SHADOW_LEVEL1]));
    let itts: Vec<u64> = devices.iter().map(|(_, _, itt)| itt / PAGE_BYTES).collect();
    events.extend(borrows(&itts));
    let [first, second] = LPI_PENDING;
    events.extend(borrows(&[LPI_CONFIGURATION, LPI_CONFIGURATION + 1, first, second]));
    events.extend(releases(&[LIST]));
    events
}
