//! The host's driver against the physical ITS, with nobody in between.

use its_board::host::{Host, LiveDevice, Perform, Plan};
use its_board::{Board, layout};
use its_el2::{
    Action, Character, Event, Hypercall, Misconduct, OnError, Outcome, Pace, Purpose, Subject,
    SubjectPolicy, Translation, Trap, View,
};
use its_gic::geometry::PageSize;

/// EL2 without an emulation: panics when it is entered.
#[derive(Clone)]
struct Nobody;

impl Subject<Board> for Nobody {
    fn policy(&self) -> SubjectPolicy {
        SubjectPolicy {
            records_per_page: 0,
            commands_in_flight: 0,
        }
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

fn plan() -> Plan {
    let live = (1..4).map(|device_id| LiveDevice {
        device_id,
        event_id_bits: 5,
        itt_address: layout::ITT.page(0) + 0x200 * u64::from(device_id),
        event_id: 0,
        intid: 8191 + device_id,
        icid: 0,
    });
    Plan {
        live: live.collect(),
        queue_pages: 1,
        private_pages: 1,
        table_pages: 1,
    }
}

fn characters() -> impl Iterator<Item = Character> {
    let base = Character {
        event_id_bits: 16,
        device_id_bits: 16,
        collection_id_bits: 16,
        hardware_collections: 0,
        itt_entry_bytes: 8,
        device_entry_bytes: 8,
        collection_entry_bytes: 8,
        field_order: 0,
        redistributor_addresses: false,
        page_size: PageSize::K64,
        two_level: true,
        on_error: OnError::Stall,
        pace: Pace::AtOnce,
    };
    (0..96).map(move |n: u8| Character {
        field_order: n % 6,
        itt_entry_bytes: 8 + n % 9,
        device_entry_bytes: if n % 5 < 2 { 8 } else { 16 },
        collection_entry_bytes: if n % 7 < 3 { 8 } else { 16 },
        redistributor_addresses: n % 2 == 1,
        page_size: [PageSize::K4, PageSize::K16, PageSize::K64][usize::from(n / 6 % 3)],
        two_level: n % 4 < 2,
        on_error: if n.is_multiple_of(3) {
            OnError::Ignore
        } else {
            OnError::Stall
        },
        pace: [Pace::AtOnce, Pace::Late, Pace::Never][usize::from(n / 2 % 3)],
        hardware_collections: n % 3,
        collection_id_bits: if n % 8 == 3 { 4 } else { 16 },
        ..base
    })
}

fn booted(character: Character) -> (Bench, Host) {
    let machine = layout::machine(character);
    let mut bench = Bench {
        board: Board::new(machine, Box::new(Nobody)),
        events: Vec::new(),
        all: Vec::new(),
    };
    let mut host = Host::new(machine, plan());
    host.probe(&mut bench);
    (bench, host)
}

#[test]
fn legal_traffic_has_no_error_on_any_character() {
    for character in characters() {
        let (mut bench, mut host) = booted(character);
        host.map_device(1, 9, 6, layout::ITT.page(7) + 0x700, &mut bench);
        host.map_event(1, 9, 63, 9000, 1, &mut bench);
        bench.perform(Action::Msi {
            its: 0,
            device_id: 9,
            event_id: 63,
        });
        for event in &bench.all {
            let fine = match event {
                Event::Consumed { error, .. } => error.is_none(),
                Event::Stalled { .. } | Event::Unpredictable { .. } | Event::StaleRead { .. } => {
                    false
                }
                _ => true,
            };
            assert!(fine, "{character:?}: {event:x?}");
        }
        let expected = Translation {
            intid: 9000,
            icid: 1,
            redistributor: Some(1),
        };
        assert_eq!(
            bench.board.translate(0, 9, 63),
            Some(expected),
            "{character:?}"
        );
        assert!(bench.board.pending(1).eq([9000]));
        assert_eq!(bench.board.translate(0, 3, 0).unwrap().intid, 8194);
        assert_eq!(bench.board.translate(0, 3, 1), None);
    }
}

#[test]
fn the_account_of_pointers_is_what_a_full_walk_finds() {
    for character in characters() {
        let (mut bench, mut host) = booted(character);
        host.map_device(0, 40, 5, layout::ITT.page(7), &mut bench);
        host.unmap_device(0, 2, &mut bench);
        if character.two_level {
            let block = layout::LEVEL2.page(layout::LEVEL2.pages - 16);
            host.grow(0, 0x2000, block, 0, &mut bench);
            host.map_device(0, 0x2001, 5, layout::ITT.page(9), &mut bench);
        }
        // A store of the host into a device table makes and breaks pointers too.
        for value in [u64::MAX, 0] {
            bench.perform(Action::Store {
                cpu: 0,
                address: layout::DEVICE_TABLE.address() + 0x18,
                value,
            });
            let kept: Vec<_> = bench.board.reach(0).map(|(reach, _)| reach).collect();
            assert_eq!(kept, bench.board.walk(), "{character:?}");
        }
        let kept: Vec<_> = bench
            .board
            .reach(0)
            .map(|(reach, _)| reach.purpose)
            .collect();
        assert!(kept.contains(&Purpose::Itt { device_id: 40 }));
        assert!(!kept.contains(&Purpose::Itt { device_id: 2 }));
    }
}

#[test]
fn a_snapshot_brings_everything_back() {
    let character = characters().next().unwrap();
    let (mut bench, host) = booted(character);
    let snapshot = bench.board.snapshot();
    let before = bench.board.walk();
    let mut trace = Vec::new();
    for _ in 0..2 {
        bench.all.clear();
        let mut host = host.clone();
        host.map_device(0, 40, 5, layout::ITT.page(7), &mut bench);
        host.hypercall(
            0,
            Hypercall::HostShareHyp,
            [layout::HOST.first, 0, 0, 0],
            &mut bench,
        );
        host.finalize(0, &mut bench);
        trace.push(bench.all.clone());
        bench.board.restore(&snapshot);
        assert_eq!(bench.board.walk(), before);
    }
    assert_eq!(trace[0], trace[1]);
}

#[test]
fn a_deprivileged_cpu_is_trapped_and_a_panic_of_the_subject_is_told() {
    let (mut bench, mut host) = booted(characters().next().unwrap());
    host.finalize(1, &mut bench);
    let hook = std::panic::take_hook();
    std::panic::set_hook(Box::new(|_| {}));
    host.poll(0, &mut bench);
    assert!(bench.events.is_empty(), "CPU 0 is not finalized");
    host.poll(1, &mut bench);
    std::panic::set_hook(hook);
    assert_eq!(bench.events, [Event::Misconduct(Misconduct::Panicked)]);
}
