//! What tests of the references share: one small machine, single events, and a [`World`] that plays
//! actions on a reference.

use its_gic::geometry::{Level1Entry, PAGE_BYTES, PageSize, Pages};
use its_gic::redistributor as gicr;
use its_gic::register::{Baser, Cbaser};
use its_gic::{Command, Register};
use its_machine::{
    AccessSize, Action, Coherence, CommandError, Direction, Event, Freedoms, ItsConfiguration,
    MAX_ITS, Machine, Outcome, Pace, Topology,
};
use its_rules::Rule;

use crate::{Architecture, Judgement};

pub const ITS: u64 = 0x0800_0000;
pub const REDISTRIBUTORS: [u64; 2] = [0x1000_0000, 0x1004_0000];
const LINEAR: u64 = 0xffff_0000_0000_0000;

// Page frame numbers.
pub const QUEUE: u64 = 0x80100;
pub const SHADOW: u64 = 0x80110;
pub const LEVEL1: u64 = 0x80120;
pub const SHADOW_LEVEL1: u64 = 0x80121;
/// Level-2 table of DeviceIDs 0 to 511, there from the start.
pub const LEVEL2: u64 = 0x80122;
pub const COLLECTIONS: u64 = 0x80130;
pub const PRIVATE: u64 = 0x80140;
pub const DESCRIPTOR: u64 = 0x80141;
pub const LIST: u64 = 0x80142;
/// ITT of device 1, mapped before set-up: half a page.
pub const ITT: u64 = 0x80200;
/// Free pages.
pub const FREE: u64 = 0x80400;
/// LPI configuration of both redistributors, two pages.
pub const LPI_CONFIGURATION: u64 = 0x80300;
pub const LPI_PENDING: [u64; 2] = [0x80310, 0x80320];

pub const fn at(page: u64) -> u64 {
    page * PAGE_BYTES
}

pub fn machine() -> Machine {
    Machine {
        configurations: [CONFIGURATION; MAX_ITS],
        intid_bits: 16,
        memory: Machine::one_region(0x80000, 0x1000),
        el2: &[Pages { first: 0x80000, count: 0x10 }],
        linear_map: LINEAR,
        its: &[ITS],
        redistributors: &REDISTRIBUTORS,
        processor_numbers: Topology::DEFAULT.processor_numbers,
        baser2: Topology::DEFAULT.baser2,
        coherence: Coherence::UNSAID,
    }
}

pub const CONFIGURATION: ItsConfiguration =
    ItsConfiguration { page_size: PageSize::K4, pace: Pace::Never, ..ItsConfiguration::DEFAULT };

pub fn mapd(device_id: u32, size: u8, page: u64) -> Command {
    Command::Mapd { device_id, size, itt_address: at(page), valid: true }
}

pub fn unmapd(device_id: u32) -> Command {
    Command::Mapd { device_id, size: 0, itt_address: 0, valid: false }
}

pub fn mapc(icid: u16, rdbase: u64) -> Command {
    Command::Mapc { icid, rdbase, valid: true }
}

pub fn mapti(device_id: u32, event_id: u32, intid: u32, icid: u16) -> Command {
    Command::Mapti { device_id, event_id, intid, icid }
}

pub const SYNC: Command = Command::Sync { rdbase: 0 };

// ---- single events

fn width(register: Register) -> AccessSize {
    if register == Register::Ctlr { AccessSize::Word } else { DOUBLE }
}

pub fn reads(register: Register, value: u64) -> Event {
    Event::DeviceRead { address: ITS + register.offset(), size: width(register), value }
}

pub fn writes(register: Register, value: u64) -> Event {
    Event::DeviceWrite { address: ITS + register.offset(), size: width(register), value }
}

/// EL2 writes the hardware's CWRITER.
pub fn moves(offset: u64) -> Vec<Event> {
    vec![writes(Register::Cwriter, offset)]
}

pub fn consumed(offset: u64, command: Command) -> Event {
    Event::Consumed { its: 0, offset, words: command.encode(), error: None }
}

pub fn stalled(offset: u64, command: Command, error: Option<u32>) -> Event {
    Event::Stalled { its: 0, offset, words: command.encode(), error: Some(CommandError(error)) }
}

pub fn join(parts: impl IntoIterator<Item = Vec<Event>>) -> Vec<Event> {
    parts.into_iter().flatten().collect()
}

/// A reference that tests play actions on.
pub trait Reference: Clone {
    /// Returns one for a machine before boot, with these options of the architecture's freedoms.
    fn on(machine: Machine, freedoms: Freedoms) -> Self;
    /// Judges one action.
    fn judge(&mut self, action: &Action, outcome: &Outcome, events: &[Event]) -> Judgement;
    /// Returns what it says of the hardware.
    fn hardware(&self) -> &Architecture;
}

impl Reference for Architecture {
    fn on(machine: Machine, freedoms: Freedoms) -> Self {
        Self::new(machine, |_| freedoms)
    }

    fn judge(&mut self, action: &Action, outcome: &Outcome, events: &[Event]) -> Judgement {
        Self::judge(self, action, outcome, events)
    }

    fn hardware(&self) -> &Architecture {
        self
    }
}

/// A reference and short ways to play actions on it.
#[derive(Clone)]
pub struct World<M> {
    pub model: M,
}

pub fn cbaser() -> u64 {
    Cbaser::new().with_valid(true).with_page_number(QUEUE).into_bits()
}

pub fn baser(n: u8) -> u64 {
    let table = Baser::new().with_valid(true).with_entry_size(7);
    let table = match n {
        0 => table.with_type_field(1).with_indirect(true).with_address(at(LEVEL1)),
        _ => table.with_type_field(4).with_address(at(COLLECTIONS)),
    };
    table.into_bits()
}

impl<M: Reference> World<M> {
    /// Before boot.
    pub fn new(machine: Machine) -> Self {
        Self::allowing(machine, Freedoms::ALL)
    }

    /// Before boot, with these options of the architecture's freedoms.
    pub fn allowing(machine: Machine, freedoms: Freedoms) -> Self {
        Self { model: M::on(machine, freedoms) }
    }

    /// Registers programmed, LPIs on, ITS enabled, collections 0 and 1 and device 1 (256 events,
    /// one of them) mapped.
    pub fn booted() -> Self {
        Self::booted_on(machine())
    }

    pub fn booted_on(machine: Machine) -> Self {
        Self::new(machine).boot()
    }

    pub fn boot(mut self) -> Self {
        let world = &mut self;
        world.writes(ITS + 0x80, cbaser());
        world.writes(ITS + 0x100, baser(0));
        world.writes(ITS + 0x108, baser(1));
        world.writes(ITS + 0x88, 0);
        for (base, pending) in REDISTRIBUTORS.into_iter().zip(LPI_PENDING) {
            world.writes(base + gicr::PROPBASER, at(LPI_CONFIGURATION) | 13);
            world.writes(base + gicr::PENDBASER, at(pending) | 1 << 62);
            world.agree(write(base, AccessSize::Word, 1), DONE, &[]);
        }
        world.agree(write(ITS, AccessSize::Word, 1), DONE, &[]);
        world.stores(at(LEVEL1), Level1Entry::valid(at(LEVEL2)).0);
        for command in [mapc(0, 0), mapc(1, 1), mapd(1, 7, ITT), mapti(1, 4, 8200, 0)] {
            world.open_command(command);
        }
        self
    }

    /// Posts a command in the phase Open; the ITS consumes it.
    pub fn open_command(&mut self, command: Command) {
        let offset = self.model.hardware().its[0].registers.creadr;
        self.submits(offset, command);
        self.consumes(offset, &[command]);
    }

    /// Stores a command into the queue.
    pub fn stores_command(&mut self, offset: u64, command: Command) {
        let (cpu, address, words) = (0, at(QUEUE) + offset, command.encode());
        self.agree(Action::StoreCommand { cpu, address, words }, DONE, &[]);
    }

    /// Stores a command and posts it.
    pub fn submits(&mut self, offset: u64, command: Command) {
        self.stores_command(offset, command);
        self.agree(post(offset + 32), DONE, &[]);
    }

    pub fn play(&mut self, action: Action, outcome: Outcome, events: &[Event]) -> Judgement {
        self.model.judge(&action, &outcome, events)
    }

    /// The list is right.
    pub fn agree(&mut self, action: Action, outcome: Outcome, events: &[Event]) {
        let judgement = self.play(action, outcome, events);
        assert_eq!(judgement.all(), [], "{action:x?}");
        assert_eq!(judgement.poisoned, None, "{action:x?}");
    }

    /// The list is wrong: what about it, on a copy. `path` is a part of the first disagreement's.
    pub fn differ(
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
    pub fn translation(&self, device_id: u32, event_id: u32) -> Option<(u32, Option<u8>)> {
        let found = self.model.hardware().tables(0).translate(device_id, event_id);
        let found = found.known().expect("the translation is known");
        found.map(|to| (to.intid, to.redistributor))
    }

    pub fn poisons(&self, action: Action, events: &[Event]) {
        let judgement = self.clone().play(action, DONE, events);
        assert!(judgement.poisoned.is_some(), "{action:x?}");
    }

    /// A direct or ignored 64-bit write, nothing else.
    pub fn writes(&mut self, address: u64, value: u64) {
        self.agree(write(address, DOUBLE, value), DONE, &[]);
    }

    pub fn stores(&mut self, address: u64, value: u64) {
        self.agree(Action::Store { cpu: 0, address, value }, DONE, &[]);
    }

    /// A 64-bit read that is right.
    pub fn shows(&mut self, address: u64, value: u64, events: &[Event]) {
        self.agree(read(address, DOUBLE), Outcome::Value(value), events);
    }

    /// A 64-bit write with these events.
    pub fn writes_with(&mut self, address: u64, value: u64, events: &[Event]) {
        self.agree(write(address, DOUBLE, value), DONE, events);
    }

    /// A CWRITER write with these events.
    pub fn posts(&mut self, offset: u64, events: &[Vec<Event>]) {
        self.agree(post(offset), DONE, &events.concat());
    }

    /// The ITS consumes these from `offset` on.
    pub fn consumes(&mut self, offset: u64, commands: &[Command]) {
        let offsets = (offset..).step_by(32);
        let events = offsets.zip(commands).map(|(at, command)| consumed(at, *command));
        self.agree(ADVANCE, DONE, &events.collect::<Vec<_>>());
    }

    // ---- what differs if an action is done with these events

    pub fn wrong(&self, action: Action, events: &[Event], rule: &'static Rule, path: &str) {
        self.differ(action, DONE, events, rule, path);
    }

    pub fn wrong_post(&self, at: u64, events: &[Vec<Event>], rule: &'static Rule, path: &str) {
        self.wrong(post(at), &events.concat(), rule, path);
    }

    pub fn wrong_read(
        &self,
        address: u64,
        value: u64,
        events: &[Event],
        rule: &'static Rule,
        path: &str,
    ) {
        self.differ(read(address, DOUBLE), Outcome::Value(value), events, rule, path);
    }

    pub fn wrong_write(
        &self,
        address: u64,
        value: u64,
        events: &[Event],
        rule: &'static Rule,
        path: &str,
    ) {
        self.wrong(write(address, DOUBLE, value), events, rule, path);
    }
}

pub const DONE: Outcome = Outcome::Done;
pub const DOUBLE: AccessSize = AccessSize::Double;
pub const ADVANCE: Action = Action::Advance { its: 0, commands: 64 };

/// A write of CWRITER.
pub fn post(offset: u64) -> Action {
    write(ITS + 0x88, DOUBLE, offset)
}

pub fn write(address: u64, size: AccessSize, value: u64) -> Action {
    Action::Device { cpu: 0, address, size, direction: Direction::Write(value) }
}

pub fn read(address: u64, size: AccessSize) -> Action {
    Action::Device { cpu: 0, address, size, direction: Direction::Read }
}

pub const fn linear(page: u64) -> u64 {
    LINEAR + at(page)
}

/// Stands for what pKVM did with a page that it cannot do.
pub static PKVM: Rule = Rule {
    id: "PKVM",
    family: its_rules::Family::Div,
    layer: its_rules::Layer::Policy,
    severity: its_rules::Severity::Conformance,
    holds: "",
    why: "",
    source: "",
    evidence: its_rules::Evidence::Calls,
    class: "",
    split_from: None,
};
