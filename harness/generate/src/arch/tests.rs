//! Tests of what is generated for hosts that own their ITS.

use its_gic::geometry::PAGE_BYTES;
use its_machine::{Area, Frame, Pace, Place};
use its_scenario::numbers::{Kind, Record};
use its_scenario::{FuzzTarget, HostCommand, Operation, Rdbase, Scenario, Stage};

use crate::Temper;
use crate::expected::ExpectedState;
use crate::tests::{counts_of_kinds, generated};

fn legal(seed: u64) -> Scenario {
    generated(seed, FuzzTarget::Arch, Temper::Legal)
}

fn hostile(seed: u64) -> Scenario {
    generated(seed, FuzzTarget::Arch, Temper::Hostile)
}

#[test]
fn every_kind_that_it_plays_is_generated_and_lengths_are_moderate() {
    let counts = counts_of_kinds((0..2000).map(hostile));
    for kind in Kind::ALL {
        let count = counts.get(kind.name()).copied().unwrap_or(0);
        let right = if FuzzTarget::Arch.plays(*kind) { count >= 30 } else { count == 0 };
        assert!(right, "{} {count} times", kind.name());
    }
    for counts in [counts_of_kinds((0..2000).map(legal)), counts] {
        let average = counts.values().sum::<usize>() / 2000;
        assert!((35..=80).contains(&average), "{average} operations on average");
    }
}

#[test]
fn the_same_bytes_give_the_same_scenario() {
    assert!((0..50).all(|seed| hostile(seed) == hostile(seed) && legal(seed) == legal(seed)));
}

#[test]
fn boards_differ() {
    let mut counts = [0; 4];
    for seed in 0..2000 {
        let scenario = hostile(seed);
        let [first, second, ..] = scenario.configurations;
        let two = scenario.boot.its == 2;
        let facts = [
            two,
            two && first != second,
            scenario.boot.stage == Stage::Reset,
            first.pace != Pace::AtOnce,
        ];
        counts.iter_mut().zip(facts).for_each(|(count, fact)| *count += usize::from(fact));
    }
    let least = [400, 300, 400, 400];
    assert!(counts.iter().zip(least).all(|(count, least)| *count > least), "{counts:?}");
}

/// What the host must never do before the architecture falls silent.
struct Law {
    expected: ExpectedState,
    /// Bytes of ITTs: start, end, ITS and device that they belong to for ever.
    itts: Vec<(u64, u64, u8, u32)>,
    enabled: [bool; 2],
}

impl Law {
    fn new(scenario: &Scenario) -> Self {
        let mut law = Self {
            expected: ExpectedState::new(scenario.configurations, scenario.boot),
            itts: Vec::new(),
            enabled: [scenario.boot.stage != Stage::Reset; 2],
        };
        for live in scenario.boot.live(&scenario.configurations[0]) {
            law.keep_itt(live.device_id, live.event_id_bits, live.itt);
        }
        law
    }

    /// Whether the memory is this device's own.
    fn keep_itt(&mut self, device_id: u32, event_id_bits: u8, itt: Place) -> bool {
        let Place::In { area: Area::ITT, page, offset } = itt else { return false };
        let start = u64::from(page) * PAGE_BYTES + u64::from(offset);
        let end = start + self.expected.itt_bytes(event_id_bits);
        let its = self.expected.current;
        let apart = self.itts.iter().all(|(from, to, of, device)| {
            end <= *from || *to <= start || (*of, *device) == (its, device_id)
        });
        self.itts.push((start, end, its, device_id));
        apart && end <= u64::from(Area::ITT.pages()) * PAGE_BYTES
    }

    /// What is wrong with an operation of a legal scenario.
    fn offence(&mut self, operation: &Operation) -> Option<&'static str> {
        let here = usize::from(self.expected.current);
        let on = self.enabled[here];
        match *operation {
            Operation::Command { command: HostCommand::Raw { .. }, .. }
            | Operation::Rewind { .. }
            | Operation::Grow { .. }
            | Operation::WriteCwriter { retry: true, .. } => Some("hostile"),
            Operation::WriteCbaser { flip, .. } | Operation::WriteBaser { flip, .. } => {
                (on || flip != 0).then_some("register while enabled")
            }
            Operation::Write { target, value, .. } => {
                let own = target.frame == Frame::ItsControl(here as u8);
                (!own || value != 0 || on).then_some("write")
            }
            Operation::Probe { .. } => on.then_some("probed twice"),
            Operation::PowerLoss { .. } => on.then_some("at work"),
            Operation::Load { at, .. } | Operation::Store { at, .. } => {
                let host = matches!(at, Place::In { area: Area::HOST, .. });
                (!host).then_some("memory that is in use")
            }
            Operation::MapDevice { device_id, event_id_bits, itt, .. } => {
                self.mapd(device_id, event_id_bits, itt)
            }
            Operation::MapEvent { device_id, event_id, intid, icid, .. } => {
                self.owned(device_id, true).or(self.mapti(device_id, event_id, intid, icid))
            }
            Operation::MoveEvent { device_id, event_id, to, .. } => {
                self.owned(device_id, true).or(self.movi(device_id, event_id, to.into()))
            }
            Operation::Unmask { device_id, event_id, .. }
            | Operation::Mask { device_id, event_id, .. }
            | Operation::UnmapEvent { device_id, event_id, .. } => {
                self.owned(device_id, true).or(self.on_event(device_id, event_id))
            }
            Operation::UnmapDevice { device_id, .. } => self.owned(device_id, true),
            Operation::Command { command, .. } => self.refused(command),
            _ => None,
        }
    }

    fn refused(&mut self, command: HostCommand) -> Option<&'static str> {
        let collections = 1_u32 << self.expected.here().configuration.collection_id_bits;
        match command {
            HostCommand::Mapd { device_id, size, itt_address: itt, valid: true } => {
                self.mapd(device_id, size + 1, itt)
            }
            HostCommand::Mapd { device_id, .. } => {
                let device = self.expected.device(device_id);
                let empty = device.is_some_and(|device| device.events.is_empty());
                (!empty).then_some("events left")
            }
            HostCommand::Mapc { icid, rdbase: Rdbase::Of(_), valid: true } => {
                (u32::from(icid) >= collections).then_some("no collection")
            }
            HostCommand::Sync { rdbase: Rdbase::Of(_) } => None,
            HostCommand::Mapti { device_id, event_id, intid, icid } => {
                self.owned(device_id, false).or(self.mapti(device_id, event_id, intid, icid))
            }
            HostCommand::Movi { device_id, event_id, icid } => {
                self.owned(device_id, false).or(self.movi(device_id, event_id, icid))
            }
            HostCommand::Discard { device_id, event_id } => {
                self.owned(device_id, false).or(self.on_event(device_id, event_id))
            }
            HostCommand::Int { device_id, event_id }
            | HostCommand::Clear { device_id, event_id }
            | HostCommand::Inv { device_id, event_id } => self.on_event(device_id, event_id),
            HostCommand::Invall { icid } => self.collection(icid),
            _ => Some("no driver's"),
        }
    }

    fn mapd(&mut self, device_id: u32, event_id_bits: u8, itt: Place) -> Option<&'static str> {
        let bits = self.expected.here().configuration.event_id_bits;
        let good = u64::from(device_id) < self.expected.device_ids()
            && event_id_bits <= bits
            && self.expected.device(device_id).is_none()
            && self.keep_itt(device_id, event_id_bits, itt);
        (!good).then_some("bad MAPD")
    }

    fn mapti(&self, device_id: u32, event_id: u32, intid: u32, icid: u16) -> Option<&'static str> {
        let Some(device) = self.expected.device(device_id) else { return Some("no device") };
        let good = !device.has(event_id)
            && event_id < 1 << device.event_id_bits
            && (8192..0x1_0000).contains(&intid);
        if good { self.collection(icid) } else { Some("bad MAPTI") }
    }

    fn movi(&self, device_id: u32, event_id: u32, icid: u16) -> Option<&'static str> {
        self.on_event(device_id, event_id).or_else(|| self.collection(icid))
    }

    fn on_event(&self, device_id: u32, event_id: u32) -> Option<&'static str> {
        match self.expected.event(device_id, event_id) {
            Some(event) => self.collection(event.icid),
            None => Some("no event"),
        }
    }

    fn collection(&self, icid: u16) -> Option<&'static str> {
        let known = self.expected.here().redistributor(icid);
        known.is_none().then_some("no collection")
    }

    /// The driver and the host's own commands do not mix in one device.
    fn owned(&self, device_id: u32, of_driver: bool) -> Option<&'static str> {
        let device = self.expected.device(device_id);
        let own = device.is_some_and(|device| device.of_driver == of_driver);
        (!own).then_some("another's device")
    }

    fn follow(&mut self, operation: &Operation) {
        let here = usize::from(self.expected.current);
        match *operation {
            Operation::Enable { .. } | Operation::Probe { .. } | Operation::Resume { .. } => {
                self.enabled[here] = true;
            }
            Operation::Disable { .. } | Operation::Suspend { .. } | Operation::PowerLoss { .. } => {
                self.enabled[here] = false
            }
            _ => {}
        }
        self.expected.follow(operation);
    }
}

#[test]
fn legal_scenarios_are_legal() {
    for seed in 0..3000 {
        let scenario = legal(seed);
        let mut law = Law::new(&scenario);
        for operation in &scenario.operations {
            let text = || format!("seed {seed}: {operation}\n{scenario}");
            assert_eq!(law.offence(operation), None, "{}", text());
            law.follow(operation);
            let here = law.expected.here();
            let slots = u32::from(scenario.boot.queue_slots());
            assert!(here.written + here.in_flight < slots, "{}", text());
        }
        for its in 0..scenario.boot.its {
            law.follow(&Operation::SelectIts { its });
            let here = law.expected.here();
            assert_eq!((here.written, here.in_flight), (0, 0), "{scenario}");
            assert!(law.enabled[usize::from(its)], "{scenario}");
        }
    }
}

/// Nothing makes the architecture silent but what is meant to, which is rare.
#[test]
fn hostile_scenarios_are_mostly_judged() {
    let mut silent = 0;
    for seed in 0..2000 {
        let scenario = hostile(seed);
        let mut law = Law::new(&scenario);
        let mut bad = None;
        for operation in &scenario.operations {
            let wrong = match *operation {
                // Software's own while LPIs are off.
                Operation::Store { at: Place::In { area: Area::PENDING, .. }, .. } => None,
                // Of an event whose entry software destroyed nothing is said, of all others it is.
                Operation::Store { at: Place::In { area: Area::ITT, .. }, .. } => None,
                Operation::WriteCbaser { .. }
                | Operation::WriteBaser { .. }
                | Operation::Store { .. }
                | Operation::Probe { .. } => law.offence(operation).filter(|wrong| {
                    // A flip alone is no offence here.
                    *wrong != "register while enabled"
                        || law.enabled[usize::from(law.expected.current)]
                }),
                Operation::MapDevice { device_id, event_id_bits, itt, .. } => {
                    (!law.keep_itt(device_id, event_id_bits, itt)).then_some("ITT")
                }
                Operation::Command {
                    command: HostCommand::Mapd { device_id, size, itt_address: itt, valid: true },
                    ..
                } if u64::from(device_id) < law.expected.device_ids()
                    && size < law.expected.here().configuration.event_id_bits =>
                {
                    (!law.keep_itt(device_id, size + 1, itt)).then_some("ITT")
                }
                _ => None,
            };
            bad = bad.or(wrong);
            law.follow(operation);
        }
        silent += usize::from(bad.is_some());
    }
    assert!((10..200).contains(&silent), "{silent} of 2000");
}

/// Most commands and MSIs of a hostile scenario hit what is mapped, so that it gets deep.
#[test]
fn most_of_what_is_hostile_hits_something() {
    let (mut hits, mut all, mut wraps) = (0, 0, 0);
    for seed in 0..2000 {
        let scenario = hostile(seed);
        let mut expected = ExpectedState::new(scenario.configurations, scenario.boot);
        let mut slots = 0;
        for operation in &scenario.operations {
            if let Operation::Msi { device_id, event_id, .. } = *operation {
                all += 1;
                hits += usize::from(expected.event(device_id, event_id).is_some());
            }
            let name = Record::from(operation).kind.name();
            slots += u32::from(name.starts_with("command-"));
            expected.follow(operation);
        }
        wraps += usize::from(slots > u32::from(scenario.boot.queue_slots()));
    }
    assert!(hits * 2 > all, "{hits} of {all} MSIs");
    assert!(wraps > 2, "{wraps} queues wrap");
}
