//! The host's driver against the physical ITS, with nobody in between.

use its_board::Board;
use its_driver::{Driver, Perform};
use its_el2::{Subject, SubjectPolicy, Trap};
use its_gic::geometry::PageSize;
use its_machine::{
    AccessSize, Action, Area, Choices, Event, Freedom, Hypercall, ItsConfiguration, MAX_ITS,
    Machine, Misconduct, Outcome, Pace, Purpose, Topology, Translation, View,
};
use its_scenario::numbers::Header as _;
use its_scenario::{Boot, Stage};

/// EL2 without an emulation: panics when it is entered.
#[derive(Clone)]
struct Nobody;

impl Subject<Board> for Nobody {
    fn policy(&self) -> SubjectPolicy {
        SubjectPolicy::default()
    }
    fn set_up(&self, _: &Board, _: [u64; 4]) -> i64 {
        panic!("nobody is here")
    }
    fn trap(&self, _: &Board, _: Trap) -> u64 {
        panic!("nobody is here")
    }
    fn allows_donation(&self, _: &Board) -> bool {
        true
    }
}

struct Bench {
    board: Board,
    events: Vec<Event>,
    all: Vec<Event>,
}

impl Perform for Bench {
    fn perform(&mut self, action: Action) -> Outcome {
        let outcome = self.board.perform(&action, &mut self.events);
        self.all.extend(&self.events);
        outcome
    }
}

/// Three devices are live.
const BOOT: Boot = Boot { stage: Stage::Probed, live_devices: 3, queue_pages: 1, ..Boot::USUAL };

const PLAIN: ItsConfiguration = ItsConfiguration::DEFAULT;

/// A spread of configurations; of each freedom's options too, each in turn and mixed.
fn configurations() -> impl Iterator<Item = ItsConfiguration> {
    (0..96).map(|n: u8| ItsConfiguration {
        field_order: n % 6,
        itt_entry_bytes: 8 + n % 9,
        device_entry_bytes: if n % 5 < 2 { 8 } else { 16 },
        collection_entry_bytes: if n % 7 < 3 { 8 } else { 16 },
        redistributor_addresses: n % 2 == 1,
        page_size: [PageSize::K4, PageSize::K16, PageSize::K64][usize::from(n / 6 % 3)],
        two_level: n % 4 < 2,
        pace: [Pace::AtOnce, Pace::Late, Pace::Never][usize::from(n / 2 % 3)],
        hardware_collections: n % 3,
        collection_id_bits: if n % 8 == 3 { 4 } else { 16 },
        cumulative_collections: n % 5 < 2,
        two_level_collections: n % 3 == 1,
        invalidates: n.is_multiple_of(2),
        choices: choices(n.into()),
        ..PLAIN
    })
}

/// First each option of each freedom alone, then mixtures, always the same.
fn choices(n: usize) -> Choices {
    let options = |freedom: &Freedom| freedom.facts().options.len() as u64;
    let alone = Freedom::ALL.iter().flat_map(|freedom| {
        (1..options(freedom)).map(|option| Choices::USUAL.with_number(*freedom, option))
    });
    let alone: Vec<Choices> = alone.collect();
    if let Some(choices) = alone.get(n) {
        return *choices;
    }
    let mut bits = n as u64;
    Freedom::ALL.iter().fold(Choices::USUAL, |choices, freedom| {
        bits = bits.wrapping_mul(0x5851_f42d_4c95_7f2d).wrapping_add(n as u64 | 1);
        choices.with_number(*freedom, bits >> 40)
    })
}

fn bench(machine: Machine) -> Bench {
    Bench { board: Board::new(machine, Box::new(Nobody)), events: Vec::new(), all: Vec::new() }
}

fn booted(configuration: ItsConfiguration) -> (Bench, Driver) {
    let machine = Machine::new([configuration; MAX_ITS], Topology::DEFAULT);
    let mut bench = bench(machine);
    let mut host = Driver::new(machine, 0, BOOT);
    host.probe(&mut bench);
    (bench, host)
}

impl Bench {
    fn msi(&mut self, its: u8, device_id: u32, event_id: u32) {
        self.perform(Action::Msi { its, device_id, event_id, size: AccessSize::Word });
    }

    fn acknowledge(&mut self, cpu: u8) -> u64 {
        match self.perform(Action::Acknowledge { cpu }) {
            Outcome::Value(intid) => intid,
            other => panic!("{other:?}"),
        }
    }

    /// No command error, nothing that the architecture does not define.
    #[track_caller]
    fn assert_legal(&self, configuration: ItsConfiguration) {
        for event in &self.all {
            let fine = match event {
                Event::Consumed { error, .. } => error.is_none(),
                Event::Stalled { .. } | Event::Unpredictable { .. } | Event::StaleRead { .. } => {
                    false
                }
                _ => true,
            };
            assert!(fine, "{configuration:?}: {event:x?}");
        }
    }

    /// The account of each ITS is what is found from nothing.
    #[track_caller]
    fn assert_accounted(&self, its: u8, configuration: ItsConfiguration) {
        let kept: Vec<_> = self.board.reach(its).map(|(reach, _)| reach).collect();
        assert_eq!(kept, self.board.walk(its), "{configuration:?}");
    }
}

#[test]
fn legal_traffic_has_no_error_on_any_configuration() {
    for configuration in configurations() {
        let (mut bench, mut host) = booted(configuration);
        host.on(1, &mut bench).map_device(9, 6, Area::ITT.page(7) + 0x700);
        host.on(1, &mut bench).map_event(9, 63, 9000, 1);
        bench.msi(0, 9, 63);
        bench.assert_legal(configuration);
        let expected = Translation { intid: 9000, icid: 1, redistributor: Some(1) };
        assert_eq!(bench.board.translate(0, 9, 63), Some(expected), "{configuration:?}");
        assert!(bench.board.pending(1).eq([9000]));
        assert_eq!(bench.board.translate(0, 2, 0).unwrap().intid, 8194);
        assert_eq!(bench.board.translate(0, 2, 1), None);
    }
}

/// One device with one event, from its mapping on, as a driver uses it.
struct Life {
    bench: Bench,
    configuration: ItsConfiguration,
    its: u8,
}

impl Life {
    const DEVICE: u32 = 9;
    const EVENT: u32 = 63;
    const INTID: u32 = 9001;

    #[track_caller]
    fn check(&self) {
        self.bench.assert_legal(self.configuration);
        for its in [0, 1] {
            self.bench.assert_accounted(its, self.configuration);
        }
    }

    /// The device signals; `taken`: the CPU that takes the interrupt.
    #[track_caller]
    fn signal(&mut self, taken: Option<u8>) {
        self.bench.msi(self.its, Self::DEVICE, Self::EVENT);
        self.take(taken);
    }

    #[track_caller]
    fn take(&mut self, taken: Option<u8>) {
        for cpu in 0..2 {
            let expected = if taken == Some(cpu) { Self::INTID.into() } else { 1023 };
            let offered = self.bench.board.offered(cpu).map_or(1023, u64::from);
            assert_eq!(offered, expected, "{:?}", self.configuration);
            assert_eq!(self.bench.acknowledge(cpu), expected, "{:?}", self.configuration);
        }
        self.check();
    }

    fn map(&mut self, host: &mut Driver) {
        let itt = Area::ITT.page(7 + 16 * u64::from(self.its)) + 0x700;
        host.on(1, &mut self.bench).map_device(Self::DEVICE, 6, itt);
        self.check();
        host.on(1, &mut self.bench).map_event(Self::DEVICE, Self::EVENT, Self::INTID, 0);
        self.check();
    }

    fn live(&mut self, host: &mut Driver, direct: bool) {
        self.map(host);
        self.signal(None);
        host.on(0, &mut self.bench).unmask(Self::DEVICE, Self::EVENT, direct);
        self.take(Some(0));
        host.on(0, &mut self.bench).move_event(Self::DEVICE, Self::EVENT, 1);
        self.signal(Some(1));
        host.on(1, &mut self.bench).mask(Self::DEVICE, Self::EVENT, direct);
        self.signal(None);
        host.on(0, &mut self.bench).move_event(Self::DEVICE, Self::EVENT, 0);
        host.on(0, &mut self.bench).unmask(Self::DEVICE, Self::EVENT, !direct);
        self.take(Some(0));
    }

    /// Suspend, lose power, resume; everything is as it was.
    fn sleep(&mut self, host: &mut Driver, power_loss: Option<bool>) {
        host.on(0, &mut self.bench).suspend();
        self.check();
        self.signal(None);
        if let Some(restored) = power_loss {
            let its = self.its;
            self.bench.perform(Action::PowerLoss { its, restored });
            self.check();
        }
        host.on(0, &mut self.bench).resume();
        self.check();
        self.signal(Some(0));
    }

    fn end(&mut self, host: &mut Driver) {
        host.on(0, &mut self.bench).unmap_event(Self::DEVICE, Self::EVENT);
        self.signal(None);
        host.on(0, &mut self.bench).map_event(Self::DEVICE, Self::EVENT, Self::INTID, 1);
        self.signal(Some(1));
        host.on(0, &mut self.bench).unmap_device(Self::DEVICE);
        self.signal(None);
        self.map(host);
        self.signal(Some(0));
    }
}

#[test]
fn a_drivers_whole_life_has_no_error_on_any_configuration() {
    let configurations: Vec<ItsConfiguration> = configurations().collect();
    for n in 0..8 * configurations.len() {
        // The other ITS is of another kind, and lives next to it.
        let [configuration, other] = [n, n + 41].map(|n| ItsConfiguration {
            choices: choices(n),
            ..configurations[n % configurations.len()]
        });
        let machine = Machine::new(
            std::array::from_fn(|its| [configuration, other][its % 2]),
            Topology::with_its(2),
        );
        let its = (n % 2) as u8;
        let mut life = Life {
            bench: bench(machine),
            configuration: [configuration, other][usize::from(its)],
            its,
        };
        let mut hosts =
            [0, 1].map(|its| Driver::new(machine, its, Boot { live_devices: 0, ..BOOT }));
        for host in &mut hosts {
            host.probe(&mut life.bench);
            life.check();
        }
        let host = &mut hosts[usize::from(its)];
        life.live(host, n % 4 < 2);
        for power_loss in [None, Some(true), Some(false)] {
            life.sleep(host, power_loss);
        }
        life.end(host);
    }
}

#[test]
fn the_driver_does_nothing_about_events_that_it_does_not_know() {
    let (mut bench, mut host) = booted(PLAIN);
    bench.all.clear();
    host.on(0, &mut bench).unmask(1, 5, false);
    host.on(0, &mut bench).mask(7, 0, true);
    host.on(0, &mut bench).move_event(1, 5, 1);
    host.on(0, &mut bench).move_event(1, 0, 0);
    host.on(0, &mut bench).unmap_event(1, 5);
    assert_eq!(bench.all, []);
}

#[test]
fn the_account_of_pointers_is_what_a_full_walk_finds() {
    for configuration in configurations() {
        let (mut bench, mut host) = booted(configuration);
        host.on(0, &mut bench).map_device(40, 5, Area::ITT.page(7));
        host.on(0, &mut bench).unmap_device(2);
        if configuration.two_level {
            let block = Area::LEVEL2.page(u64::from(Area::LEVEL2.pages()) - 16);
            host.on(0, &mut bench).grow(0x2000, block, 0);
            host.on(0, &mut bench).map_device(0x2001, 5, Area::ITT.page(9));
        }
        // A store of the host into a device table makes and breaks pointers too.
        for value in [u64::MAX, 0] {
            bench.perform(Action::Store {
                cpu: 0,
                address: Area::DEVICE_TABLE.address() + 0x18,
                value,
            });
            bench.assert_accounted(0, configuration);
        }
        let kept: Vec<_> = bench.board.reach(0).map(|(reach, _)| reach.purpose).collect();
        assert!(kept.contains(&Purpose::Itt { device_id: 40 }));
        assert!(!kept.contains(&Purpose::Itt { device_id: 2 }));
    }
}

#[test]
fn a_snapshot_brings_everything_back() {
    let configuration = configurations().next().unwrap();
    let (mut bench, host) = booted(configuration);
    let snapshot = bench.board.snapshot();
    let before = bench.board.walk(0);
    let mut trace = Vec::new();
    for _ in 0..2 {
        bench.all.clear();
        let mut host = host.clone();
        host.on(0, &mut bench).map_device(40, 5, Area::ITT.page(7));
        host.on(0, &mut bench).hypercall(Hypercall::HostShareHyp, [Area::HOST.first(), 0, 0, 0]);
        host.on(0, &mut bench).finalize();
        trace.push(bench.all.clone());
        bench.board.restore(&snapshot);
        assert_eq!(bench.board.walk(0), before);
    }
    assert_eq!(trace[0], trace[1]);
}

#[test]
fn a_deprivileged_cpu_is_trapped_and_a_panic_of_the_subject_is_reported() {
    let (mut bench, mut host) = booted(configurations().next().unwrap());
    host.on(1, &mut bench).finalize();
    let hook = std::panic::take_hook();
    std::panic::set_hook(Box::new(|_| {}));
    host.on(0, &mut bench).poll();
    assert!(bench.events.is_empty(), "CPU 0 is not finalized");
    host.on(1, &mut bench).poll();
    std::panic::set_hook(hook);
    assert_eq!(bench.events, [Event::Misconduct(Misconduct::Panicked)]);
}
