//! What the tests of all oracles share: a guarded ITS, actions, events, and what a judge reports.

use its_declaration::Declaration;
use its_el2::SubjectPolicy;
use its_gic::geometry::Pages;
use its_gic::{Baser, Cbaser, Register};
use its_machine::{
    AccessSize, Action, Coherence, Event, ItsConfiguration, MAX_ITS, Machine, Outcome, Pace,
    PageChange, Topology,
};

use crate::guards::{Guard, Guards};
use crate::{Finding, Step};

pub(crate) const ITS: u64 = 0x0808_0000;
pub(crate) const REDISTRIBUTOR: u64 = 0x080a_0000;
pub(crate) const QUEUE: u64 = 0x8000_0000;
pub(crate) const COPY: u64 = 0x8007_0000;
pub(crate) const LEVEL1: u64 = 0x8001_0000;
pub(crate) const COLLECTIONS: u64 = 0x8003_0000;
pub(crate) const LEVEL2: u64 = 0x8010_0000;
/// The page frame number of the private pages, two of them.
pub(crate) const PRIVATE: u64 = 0x8_00a8;
pub(crate) const DESCRIPTOR: u64 = 0x8_00ac;

const CONFIGURATION: ItsConfiguration = ItsConfiguration {
    event_id_bits: 10,
    hardware_collections: 2,
    pace: Pace::Never,
    ..ItsConfiguration::DEFAULT
};

pub(crate) const MACHINE: Machine = Machine {
    configurations: [CONFIGURATION; MAX_ITS],
    intid_bits: 16,
    memory: Machine::one_region(0x8_0000, 0x200),
    el2: &[],
    linear_map: 0,
    its: &[ITS],
    redistributors: &[REDISTRIBUTOR],
    processor_numbers: Topology::DEFAULT.processor_numbers,
    baser2: Topology::DEFAULT.baser2,
    coherence: Coherence::UNSAID,
};

pub(crate) const POLICY: SubjectPolicy = SubjectPolicy {
    records_per_page: 256,
    commands_in_flight: 64,
    commands_per_trap: 64,
    event_id_bits: 16,
    private_pages: 1024,
    guarded_its: 4,
    its: u32::MAX,
    redistributors: u32::MAX,
};

/// One guarded ITS: 256 slots, a level-1 device table, a flat collection table.
pub(crate) fn guards() -> Guards {
    let table = |table_type, address| {
        let baser = Baser::new().with_valid(true).with_entry_size(7).with_page_size_field(2);
        baser.with_type_field(table_type).with_address(address)
    };
    let mut basers = [Baser::new(); 8];
    basers[0] = table(1, LEVEL1).with_indirect(true);
    basers[1] = table(4, COLLECTIONS);
    let guard = Guard {
        its: 0,
        typer: CONFIGURATION.typer(),
        cbaser: Cbaser::new().with_valid(true).with_page_number(QUEUE >> 12).with_size(1),
        basers,
        ctlr: 1,
        creadr: 0,
        cwriter: 0,
        found: Vec::new(),
        private: Pages { first: PRIVATE, count: 2 },
        descriptor: Pages { first: DESCRIPTOR, count: 1 },
        queue_copy: Some(COPY),
        copies: vec![Pages::under(COPY, 0x2000)],
        grown: Vec::new(),
    };
    Guards { all: vec![guard], ..Guards::new(&MACHINE, Declaration::of(POLICY)) }
}

/// Rule and class of what a judge reports.
pub(crate) fn reported(judge: impl FnOnce(&mut Vec<Finding>)) -> Vec<(&'static str, &'static str)> {
    let mut findings = Vec::new();
    judge(&mut findings);
    findings.iter().map(|finding| (finding.rule.id, finding.class)).collect()
}

pub(crate) const LOAD: Action = Action::Load { cpu: 0, address: 0 };

/// An action that matters to nobody, with these events.
pub(crate) fn step(events: &[Event]) -> Step<'_> {
    Step::new(&LOAD, Outcome::Done, events)
}

/// EL2 reads a register of the ITS.
pub(crate) fn read(register: Register, value: u64) -> Event {
    Event::DeviceRead { address: ITS + register.offset(), size: AccessSize::Double, value }
}

/// EL2 writes a register of the ITS.
pub(crate) fn write(register: Register, value: u64) -> Event {
    Event::DeviceWrite { address: ITS + register.offset(), size: AccessSize::Double, value }
}

/// EL2 copies a slot that the host can write.
pub(crate) const fn copied(address: u64) -> Event {
    Event::CommandRead { address, words: [0; 4], shared: true }
}

/// EL2 writes a slot.
pub(crate) const fn slot(address: u64) -> Event {
    Event::CommandWritten { address, words: [0; 4] }
}

/// EL2 writes the level-1 entry of [`LEVEL2`].
pub(crate) const ENTRY: Event =
    Event::WordWritten { address: LEVEL1 + 8, value: 1 << 63 | LEVEL2, shared: false };

/// A page transition that succeeds.
pub(crate) const fn page(change: PageChange, first: u64, count: u64) -> Event {
    Event::Page { change, pages: Pages { first, count }, result: Ok(()) }
}

pub(crate) const fn cleaned(address: u64, bytes: u64) -> Event {
    Event::Cleaned { address, bytes }
}
