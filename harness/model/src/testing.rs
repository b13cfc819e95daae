//! Test scaffolding: one small machine, a right EL2's event lists for it, and a [`World`] that
//! plays them.

use its_el2::SubjectPolicy;
use its_gic::command::Words;
use its_gic::geometry::{Level1Entry, PAGE_BYTES, PageSize, Pages};
use its_gic::redistributor as gicr;
use its_gic::register::{Baser, Cbaser};
use its_gic::{Command, Register};
use its_machine::{
    AccessSize, Action, CommandError, Direction, Event, Freedoms, Hypercall, ItsConfiguration,
    Machine, Outcome, Pace, PageChange,
};

use crate::model::Model;
use crate::{Rule, judgement::Judgement};

pub(crate) const ITS: u64 = 0x0800_0000;
pub(crate) const REDISTRIBUTORS: [u64; 2] = [0x1000_0000, 0x1004_0000];
const LINEAR: u64 = 0xffff_0000_0000_0000;

// Page frame numbers.
pub(crate) const QUEUE: u64 = 0x80100;
pub(crate) const SHADOW: u64 = 0x80110;
pub(crate) const LEVEL1: u64 = 0x80120;
pub(crate) const SHADOW_LEVEL1: u64 = 0x80121;
/// Level-2 table of DeviceIDs 0 to 511, there from the start.
pub(crate) const LEVEL2: u64 = 0x80122;
pub(crate) const COLLECTIONS: u64 = 0x80130;
pub(crate) const PRIVATE: u64 = 0x80140;
pub(crate) const DESCRIPTOR: u64 = 0x80141;
pub(crate) const LIST: u64 = 0x80142;
/// ITT of device 1, mapped before set-up: half a page.
pub(crate) const ITT: u64 = 0x80200;
/// Free pages.
pub(crate) const FREE: u64 = 0x80400;
/// LPI configuration of both redistributors, two pages.
pub(crate) const LPI_CONFIGURATION: u64 = 0x80300;
pub(crate) const LPI_PENDING: [u64; 2] = [0x80310, 0x80320];

pub(crate) const fn at(page: u64) -> u64 {
    page * PAGE_BYTES
}

pub(crate) fn machine() -> Machine {
    Machine {
        configurations: [CONFIGURATION; 2],
        intid_bits: 16,
        memory: &[Pages { first: 0x80000, count: 0x1000 }],
        el2: &[Pages { first: 0x80000, count: 0x10 }],
        linear_map: LINEAR,
        its: &[ITS],
        redistributors: &REDISTRIBUTORS,
    }
}

pub(crate) const CONFIGURATION: ItsConfiguration =
    ItsConfiguration { page_size: PageSize::K4, pace: Pace::Never, ..ItsConfiguration::DEFAULT };

pub(crate) fn mapd(device_id: u32, size: u8, page: u64) -> Command {
    Command::Mapd { device_id, size, itt_address: at(page), valid: true }
}

pub(crate) fn unmapd(device_id: u32) -> Command {
    Command::Mapd { device_id, size: 0, itt_address: 0, valid: false }
}

pub(crate) fn mapc(icid: u16, rdbase: u64) -> Command {
    Command::Mapc { icid, rdbase, valid: true }
}

pub(crate) fn mapti(device_id: u32, event_id: u32, intid: u32, icid: u16) -> Command {
    Command::Mapti { device_id, event_id, intid, icid }
}

pub(crate) const SYNC: Command = Command::Sync { rdbase: 0 };

// ---- single events

pub(crate) fn page(change: PageChange, page: u64) -> Event {
    pages(change, page, 1)
}

pub(crate) fn pages(change: PageChange, first: u64, count: u64) -> Event {
    Event::Page { change, pages: Pages { first, count }, result: Ok(()) }
}

fn width(address: u64) -> AccessSize {
    match address - ITS {
        0 => AccessSize::Word,
        _ => AccessSize::Double,
    }
}

pub(crate) fn reads(register: Register, value: u64) -> Event {
    let address = ITS + register.offset();
    let size = width(address);
    Event::DeviceRead { address, size, value }
}

pub(crate) fn writes(register: Register, value: u64) -> Event {
    let address = ITS + register.offset();
    let size = width(address);
    Event::DeviceWrite { address, size, value }
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

pub(crate) fn consumed(offset: u64, command: Command) -> Event {
    Event::Consumed { its: 0, offset, words: command.encode(), error: None }
}

pub(crate) fn stalled(offset: u64, command: Command, error: Option<u32>) -> Event {
    Event::Stalled { its: 0, offset, words: command.encode(), error: CommandError(error) }
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

pub(crate) fn join(parts: impl IntoIterator<Item = Vec<Event>>) -> Vec<Event> {
    parts.into_iter().flatten().collect()
}

/// A model and short ways to play actions on it.
#[derive(Clone)]
pub(crate) struct World {
    pub(crate) model: Model,
}

impl World {
    /// Before boot.
    pub(crate) fn new(machine: Machine) -> Self {
        Self::allowing(machine, Freedoms::ALL)
    }

    /// Before boot, with these options of the architecture's freedoms.
    pub(crate) fn allowing(machine: Machine, freedoms: Freedoms) -> Self {
        let policy = SubjectPolicy { records_per_page: 3, commands_in_flight: 64 };
        let model = Model::new(machine, policy, |_| freedoms);
        Self { model }
    }

    pub(crate) fn cbaser() -> u64 {
        Cbaser::new().with_valid(true).with_page_number(QUEUE).into_bits()
    }

    pub(crate) fn baser(n: u8) -> u64 {
        let table = Baser::new().with_valid(true).with_entry_size(7);
        let table = match n {
            0 => table.with_type_field(1).with_indirect(true),
            _ => table.with_type_field(4),
        };
        let page = if n == 0 { LEVEL1 } else { COLLECTIONS };
        table.with_address(at(page)).into_bits()
    }

    /// Registers programmed, LPIs on, ITS enabled, collections 0 and 1 and device 1 (256 events,
    /// one of them) mapped.
    pub(crate) fn booted() -> Self {
        Self::booted_on(machine())
    }

    pub(crate) fn booted_on(machine: Machine) -> Self {
        Self::new(machine).boot()
    }

    pub(crate) fn boot(mut self) -> Self {
        let world = &mut self;
        world.writes(ITS + 0x80, Self::cbaser());
        world.writes(ITS + 0x100, Self::baser(0));
        world.writes(ITS + 0x108, Self::baser(1));
        world.writes(ITS + 0x88, 0);
        for (base, pending) in REDISTRIBUTORS.into_iter().zip(LPI_PENDING) {
            world.writes(base + gicr::PROPBASER, at(LPI_CONFIGURATION) | 13);
            world.writes(base + gicr::PENDBASER, at(pending) | 1 << 62);
            world.agree(write(base, AccessSize::Word, 1), Outcome::Done, &[]);
        }
        world.agree(write(ITS, AccessSize::Word, 1), Outcome::Done, &[]);
        world.stores(at(LEVEL1), Level1Entry::valid(at(LEVEL2)).0);
        let commands = [mapc(0, 0), mapc(1, 1), mapd(1, 7, ITT), mapti(1, 4, 8200, 0)];
        for command in commands {
            world.open_command(command);
        }
        self
    }

    /// Posts a command in the phase Open; the ITS consumes it.
    pub(crate) fn open_command(&mut self, command: Command) {
        let offset = self.model.hardware.its[0].registers.creadr;
        let words = command.encode();
        let store = Action::StoreCommand { cpu: 0, address: at(QUEUE) + offset, words };
        self.agree(store, Outcome::Done, &[]);
        self.writes(ITS + 0x88, offset + 32);
        self.agree(ADVANCE, Outcome::Done, &[consumed(offset, command)]);
    }

    /// Both CPUs finalized.
    pub(crate) fn closing() -> Self {
        Self::booted().finalized()
    }

    pub(crate) fn guarded_on(machine: Machine) -> Self {
        Self::booted_on(machine).guard()
    }

    pub(crate) fn guard(self) -> Self {
        let mut world = self.finalized();
        let done = Outcome::Returned { x0: 0, x1: 0 };
        world.agree(set_up_call(), done, &set_up());
        world
    }

    pub(crate) fn finalized(mut self) -> Self {
        for cpu in 0..2 {
            let finalize = hypercall(cpu, Hypercall::ProtFinalize, [0; 4]);
            self.agree(finalize, Outcome::Returned { x0: 0, x1: 0 }, &[]);
        }
        self
    }

    /// Set up: C = J = W = 0x80.
    pub(crate) fn guarded() -> Self {
        Self::guarded_on(machine())
    }

    pub(crate) fn play(&mut self, action: Action, outcome: Outcome, events: &[Event]) -> Judgement {
        self.model.judge(&action, &outcome, events)
    }

    /// The list is right.
    pub(crate) fn agree(&mut self, action: Action, outcome: Outcome, events: &[Event]) {
        let judgement = self.play(action, outcome, events);
        assert_eq!(judgement.all(), [], "{action:x?}");
        assert_eq!(judgement.poisoned, None, "{action:x?}");
    }

    /// The list is wrong: what about it, on a copy. `path` is a part of the first disagreement's.
    pub(crate) fn differ(
        &self,
        action: Action,
        outcome: Outcome,
        events: &[Event],
        rule: &'static Rule,
        path: &str,
    ) {
        let judgement = self.clone().play(action, outcome, events);
        let all = judgement.all();
        let hit = all.first().is_some_and(|first| first.rule == rule && first.path.contains(path));
        assert!(hit, "{} {path}: {all:#?}", rule.id);
    }

    /// INTID and redistributor that an event is translated to, which must be known.
    pub(crate) fn translation(&self, device_id: u32, event_id: u32) -> Option<(u32, Option<u8>)> {
        let found = self.model.hardware.translate(0, device_id, event_id);
        let found = found.known().expect("the translation is known");
        found.map(|to| (to.intid, to.redistributor))
    }

    pub(crate) fn poisons(&self, action: Action, events: &[Event]) {
        let judgement = self.clone().play(action, Outcome::Done, events);
        assert!(judgement.poisoned.is_some(), "{action:x?}");
    }

    /// A 64-bit write with this list of events.
    pub(crate) fn writes_with(&mut self, address: u64, value: u64, events: &[Event]) {
        let action = write(address, AccessSize::Double, value);
        self.agree(action, Outcome::Done, events);
    }

    /// A direct or ignored 64-bit write, nothing else.
    pub(crate) fn writes(&mut self, address: u64, value: u64) {
        self.agree(write(address, AccessSize::Double, value), Outcome::Done, &[]);
    }

    pub(crate) fn stores(&mut self, address: u64, value: u64) {
        let store = Action::Store { cpu: 0, address, value };
        self.agree(store, Outcome::Done, &[]);
    }

    /// A 64-bit read that is right.
    pub(crate) fn shows(&mut self, address: u64, value: u64, events: &[Event]) {
        let read = read(address, AccessSize::Double);
        self.agree(read, Outcome::Value(value), events);
    }

    /// A CWRITER write with this list of events after the look at C.
    pub(crate) fn posts(&mut self, offset: u64, events: &[Vec<Event>]) {
        let action = write(ITS + 0x88, AccessSize::Double, offset);
        self.agree(action, Outcome::Done, &join(events.iter().cloned()));
    }

    /// The ITS consumes these from `offset` on.
    pub(crate) fn consumes(&mut self, offset: u64, commands: &[Command]) {
        let offsets = (offset..).step_by(32);
        let events: Vec<Event> =
            offsets.zip(commands).map(|(at, command)| consumed(at, *command)).collect();
        self.agree(ADVANCE, Outcome::Done, &events);
    }
}

pub(crate) const ADVANCE: Action = Action::Advance { its: 0, commands: 64 };

pub(crate) fn write(address: u64, size: AccessSize, value: u64) -> Action {
    Action::Device { cpu: 0, address, size, direction: Direction::Write(value) }
}

pub(crate) fn read(address: u64, size: AccessSize) -> Action {
    Action::Device { cpu: 0, address, size, direction: Direction::Read }
}

pub(crate) fn hypercall(cpu: u8, call: Hypercall, arguments: [u64; 4]) -> Action {
    Action::Hypercall { cpu, x0: call.function_id(), arguments }
}

pub(crate) const fn linear(page: u64) -> u64 {
    LINEAR + at(page)
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
            0 => (linear(LEVEL1), linear(SHADOW_LEVEL1), World::baser(0), 0x1000_0000_0000),
            1 => (linear(COLLECTIONS), 0, World::baser(1), 0x1000_0000_0000),
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
    events.push(reads(Register::Cbaser, World::cbaser()));
    for n in 0..8 {
        let value = if n < 2 { World::baser(n) } else { 0 };
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

/// Stands for what pKVM did with a page that it cannot do.
pub(crate) static PKVM: Rule = Rule {
    id: "PKVM",
    family: its_rules::Family::Div,
    severity: its_rules::Severity::Conformance,
    holds: "",
    why: "",
    source: "",
    evidence: its_rules::Evidence::Calls,
    class: "",
    split_from: None,
};
