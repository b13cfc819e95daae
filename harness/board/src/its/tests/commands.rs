//! Commands: which are refused, with which number, and what the others do.

use its_gic::geometry::{Level1Entry, PageSize};
use its_gic::{Baser, Command, Register};
use its_machine::freedom::choice::{
    AbsentLevel2, Caches, ErrorNumbers, LpisOff, MappedEvent, MovedCollection, OnError,
    RemappedDevice, SyncNowhere, UnknownCommand, UnmappedCollection, UnmappedPending,
    UnmappedRdbase, WideIntid,
};
use its_machine::{
    AccessSize, Area, Choices, CommandError, Event, ItsConfiguration, Purpose, View,
};

use super::*;
use crate::testing::{Bench, choosing};
use its_driver::Perform;

fn ignoring() -> Choices {
    Choices::USUAL.with(OnError::Ignore)
}

const fn error(number: u32) -> Option<CommandError> {
    Some(CommandError(Some(number)))
}

const UNNUMBERED: Option<CommandError> = Some(CommandError(None));

/// The commands that name an event, each with the error of this reason.
fn of_event(
    device_id: u32,
    event_id: u32,
    reason: Option<u32>,
) -> [(Command, Option<CommandError>); 7] {
    [
        (Command::Mapti { device_id, event_id, intid: INTID, icid: 0 }, 0x0a),
        (Command::Movi { device_id, event_id, icid: 1 }, 0x01),
        (Command::Int { device_id, event_id }, 0x03),
        (Command::Clear { device_id, event_id }, 0x05),
        (Command::Inv { device_id, event_id }, 0x0c),
        (Command::Discard { device_id, event_id }, 0x0f),
        (Command::Mapi { device_id, event_id, icid: 0 }, 0x0b),
    ]
    .map(|(command, opcode)| {
        (command, reason.and_then(|reason| error(0x01_0000 | opcode << 8 | reason)))
    })
}

#[test]
fn commands_on_events_are_refused_in_order() {
    // Level-1 entry 0 is valid, entry 1 (from DeviceID 8192 on) is not.
    for (choice, absent) in [(AbsentLevel2::Unmapped, 4), (AbsentLevel2::OutOfRange, 1)] {
        let (mut bench, mut host) = mapped(choosing(ignoring().with(choice)));
        for (device_id, event_id, reason) in
            [(0x1_0000, 0, 1), (8192, 0, absent), (1, 0, 4), (DEVICE, 32, 5)]
        {
            bench.expect(&mut host, of_event(device_id, event_id, Some(reason)));
        }
        let unmapped = of_event(DEVICE, 1, Some(7));
        bench.expect(&mut host, unmapped.into_iter().skip(1).take(5));
    }
}

#[test]
fn other_commands_are_refused_with_their_numbers() {
    for (gic600, choice) in [(false, ErrorNumbers::Common), (true, ErrorNumbers::Gic600)] {
        let (mut bench, mut host) = mapped(choosing(ignoring().with(choice)));
        let pick = |common, own| error(if gic600 { own } else { common });
        let device = |device_id, size, itt_address| Command::Mapd {
            device_id,
            size,
            itt_address,
            valid: true,
        };
        let movall = |from_rdbase, to_rdbase| Command::Movall { from_rdbase, to_rdbase };
        let discard_all = Command::Raw { words: [0x7f, 0, 0, 0] };
        let commands = [
            (device(0x1_0000, 4, ITT), error(0x01_0801)),
            (device(8192, 4, ITT), error(0x01_0801)),
            (device(DEVICE, 16, ITT), error(0x01_0802)),
            (device(DEVICE, 5, 0xf_ffff_ffff_ff00), error(0x01_0802)),
            (mapc(8192, 0, true), error(0x01_0903)),
            (mapc(5, 2, true), pick(0x01_0902, 0x01_0920)),
            (mapc(5, 2, false), None),
            (mapti(1, 8191, 0), error(0x01_0a06)),
            (mapti(1, 0x1_0000, 0), error(0x01_0a06)),
            (mapti(1, INTID, 8192), error(0x01_0a03)),
            (mapti(1, INTID, 5), None),
            (Command::Movi { device_id: DEVICE, event_id: 0, icid: 8192 }, error(0x01_0103)),
            (Command::Movi { device_id: DEVICE, event_id: 0, icid: 5 }, error(0x01_0109)),
            (Command::Invall { icid: 8192 }, error(0x01_0d03)),
            (Command::Invall { icid: 5 }, error(0x01_0d09)),
            (movall(2, 0), pick(0x01_0e01, 0x01_0e20)),
            (movall(0, 2), pick(0x01_0e01, 0x01_0e21)),
            (Command::Sync { rdbase: 2 }, UNNUMBERED),
            (discard_all, UNNUMBERED),
        ];
        bench.expect(&mut host, commands);
    }
}

#[test]
fn some_errors_are_none_elsewhere() {
    let lenient = ignoring()
        .with(UnknownCommand::Skipped)
        .with(SyncNowhere::Done)
        .with(UnmappedRdbase::Checked)
        .with(WideIntid::Refused);
    let (mut bench, mut host) = mapped(choosing(lenient));
    let unknown = Command::Raw { words: [0x7f, 0, 0, 0] };
    assert_eq!(bench.command(&mut host, unknown), None);
    assert_eq!(bench.command(&mut host, Command::Sync { rdbase: 2 }), None);
    assert_eq!(bench.command(&mut host, mapc(5, 2, false)), error(0x01_0902));
    assert_eq!(bench.command(&mut host, mapti(1, 0xffff, 0)), None);
}

#[test]
fn a_mapped_event_is_mapped_again() {
    for (choice, result, intid) in [
        (MappedEvent::Overwritten, None, INTID + 1),
        (MappedEvent::Kept, None, INTID),
        (MappedEvent::Refused, UNNUMBERED, INTID),
    ] {
        let (mut bench, mut host) = mapped(choosing(ignoring().with(choice)));
        assert_eq!(bench.command(&mut host, mapti(0, INTID, 0)), None, "the same");
        assert_eq!(bench.command(&mut host, mapti(0, INTID + 1, 0)), result);
        let translation = bench.board.translate(0, DEVICE, 0).unwrap();
        assert_eq!(translation.intid, intid, "{choice:?}");
    }
}

#[test]
fn what_is_left_of_a_device_that_is_unmapped() {
    for caches in [Caches::Absent, Caches::WriteThrough] {
        for (choice, pending, kept) in [
            (ignoring(), true, true),
            (ignoring().with(UnmappedPending::Dropped), false, true),
            (ignoring().with(RemappedDevice::Dropped), true, false),
        ] {
            let (mut bench, mut host) = mapped(choosing(choice.with(caches)));
            bench.msi(DEVICE, 0, AccessSize::Word);
            assert_eq!(bench.command(&mut host, mapd(0, false)), None);
            assert_eq!(bench.board.translate(0, DEVICE, 0), None);
            assert_eq!(bench.board.pending(0).count() == 1, pending);
            assert_eq!(bench.command(&mut host, mapd(ITT, true)), None);
            assert_eq!(bench.board.translate(0, DEVICE, 0).is_some(), kept);
        }
    }
}

#[test]
fn an_event_of_an_unmapped_collection() {
    for (choice, done) in [(UnmappedCollection::Refused, false), (UnmappedCollection::Done, true)] {
        let (mut bench, mut host) = mapped(choosing(ignoring().with(choice)));
        assert_eq!(bench.command(&mut host, mapc(0, 0, false)), None);
        let movi = Command::Movi { device_id: DEVICE, event_id: 0, icid: 1 };
        assert_eq!(bench.command(&mut host, movi), error(0x01_0109));
        let refused = of_event(DEVICE, 0, (!done).then_some(9));
        bench.expect(&mut host, refused.into_iter().skip(2).take(4));
        assert_eq!(bench.board.translate(0, DEVICE, 0).is_none(), done);
    }
}

#[test]
fn pending_lpis_of_a_moved_collection() {
    for (choice, at) in [(MovedCollection::Stays, 0), (MovedCollection::Follows, 1)] {
        let (mut bench, mut host) = mapped(choosing(ignoring().with(choice)));
        bench.msi(DEVICE, 0, AccessSize::Word);
        assert_eq!(bench.command(&mut host, mapc(0, 1, true)), None);
        assert!(bench.board.pending(at).eq([INTID]), "{choice:?}");
        assert_eq!(bench.board.pending(1 - at).count(), 0);
    }
}

#[test]
fn a_redistributor_whose_lpis_are_off() {
    for (choice, result) in [(LpisOff::Done, None), (LpisOff::Refused, UNNUMBERED)] {
        let (mut bench, mut host) = Bench::new(choosing(ignoring().with(choice)));
        host.on(0, &mut bench).probe_its();
        host.on(0, &mut bench).init_cpu();
        assert_eq!(bench.command(&mut host, mapc(1, 1, true)), None);
        host.on(0, &mut bench).map_device(DEVICE, 5, ITT);
        host.on(0, &mut bench).map_event(DEVICE, 0, INTID, 1);
        let int = Command::Int { device_id: DEVICE, event_id: 0 };
        let movall = |to_rdbase| Command::Movall { from_rdbase: 1, to_rdbase };
        assert_eq!(bench.command(&mut host, int), result);
        assert_eq!(bench.command(&mut host, movall(0)), result);
        assert_eq!(bench.command(&mut host, movall(1)), None);
        assert_eq!(bench.board.pending(1).count(), 0);
    }
}

/// The highest ICID that MAPC accepts, by bisection.
fn last_collection(bench: &mut Bench, host: &mut Driver) -> u64 {
    let (mut accepted, mut refused) = (0, 0x1_0000);
    while refused - accepted > 1 {
        let icid = u64::midpoint(accepted, refused);
        match bench.command(host, mapc(icid as u16, 0, true)) {
            None => accepted = icid,
            found => {
                assert_eq!(found, error(0x01_0903));
                refused = icid;
            }
        }
    }
    accepted
}

#[test]
fn collections_are_counted_as_typer_says() {
    for (cumulative_collections, memory, count) in
        [(false, false, 3), (false, true, 512), (true, false, 3), (true, true, 515)]
    {
        let configuration = ItsConfiguration {
            hardware_collections: 3,
            cumulative_collections,
            page_size: PageSize::K4,
            ..choosing(ignoring())
        };
        let (mut bench, mut host) = Bench::booted(configuration);
        if !memory {
            host.on(0, &mut bench).quiesce();
            bench.write(Register::Baser(1), 0);
            host.on(0, &mut bench).enable(true);
        }
        assert_eq!(last_collection(&mut bench, &mut host), count - 1);
        // Entries of those inside come first in memory, unused, or have none there.
        let inside = if cumulative_collections { 3 } else { 0 };
        let table = Area::COLLECTION_TABLE.address();
        let used = (0..512).filter(|entry| load(&mut bench, table + entry * 8) != 0);
        let last = used.max().map(|entry| entry + inside);
        assert_eq!(last, memory.then_some(count - 1));
    }
}

fn load(bench: &mut Bench, address: u64) -> u64 {
    match bench.perform(its_machine::Action::Load { cpu: 0, address }) {
        its_machine::Outcome::Value(value) => value,
        other => panic!("{other:?}"),
    }
}

#[test]
fn collections_in_two_levels() {
    let configuration = ItsConfiguration {
        two_level_collections: true,
        page_size: PageSize::K4,
        ..choosing(ignoring())
    };
    for (choice, mapti_result, invall_reason) in
        [(AbsentLevel2::Unmapped, None, 9), (AbsentLevel2::OutOfRange, error(0x01_0a03), 3)]
    {
        let choices = configuration.choices.with(choice);
        let (mut bench, mut host) = Bench::booted(ItsConfiguration { choices, ..configuration });
        host.on(0, &mut bench).quiesce();
        let table = Area::HOST.address();
        let baser = Baser::from_bits(host.baser(1)).with_indirect(true).with_address(table);
        bench.write(Register::Baser(1), baser.into_bits());
        assert_eq!(bench.board.register(0, Register::Baser(1)), baser.into_bits());
        host.on(0, &mut bench).enable(true);
        host.on(0, &mut bench).map_device(DEVICE, 5, ITT);
        assert_eq!(bench.command(&mut host, mapc(600, 1, true)), error(0x01_0903));
        assert_eq!(bench.command(&mut host, mapti(1, INTID, 600)), mapti_result);
        let invall = Command::Invall { icid: 600 };
        assert_eq!(bench.command(&mut host, invall), error(0x01_0d00 | invall_reason));
        bench.store(table + 8, Level1Entry::valid(Area::HOST.page(1)).0);
        let level2 = Purpose::Level2 { table: 1, index: 1 };
        assert!(bench.board.reach(0).any(|(reach, _)| reach.purpose == level2));
        assert_eq!(
            bench.board.walk(0),
            bench.board.reach(0).map(|(reach, _)| reach).collect::<Vec<_>>()
        );
        assert_eq!(bench.command(&mut host, mapc(600, 1, true)), None);
        assert_ne!(load(&mut bench, Area::HOST.page(1) + (600 - 512) * 8), 0);
        bench.command(&mut host, mapti(1, INTID, 600));
        let translation = bench.board.translate(0, DEVICE, 1).unwrap();
        assert_eq!((translation.icid, translation.redistributor), (600, Some(1)));
    }
}

#[test]
fn a_scenario_stalls_the_its_at_any_command() {
    let (mut bench, mut host) = mapped(ItsConfiguration::DEFAULT);
    bench.board.arm_stall(0, 2);
    assert_eq!(bench.command(&mut host, mapc(0, 0, true)), None);
    assert_eq!(bench.command(&mut host, mapti(1, INTID, 0)), None);
    assert!(matches!(bench.events[..], [.., Event::Stalled { error: None, .. }]));
    assert_eq!(bench.board.translate(0, DEVICE, 1), None);
    host.on(0, &mut bench).post(true, AccessSize::Double);
    assert!(bench.board.translate(0, DEVICE, 1).is_some());
}

#[test]
fn tables_and_itts_above_48_bits() {
    let (mut bench, mut host) = Bench::booted(ItsConfiguration::DEFAULT);
    host.on(0, &mut bench).quiesce();
    let high = Area::HIGH;
    let baser = Baser::from_bits(host.baser(0)).with_address(high.address());
    assert_eq!(baser.into_bits() & 0xffff_ffff_f000, 0x8000_4000, "PA[50] folded");
    bench.write(Register::Baser(0), baser.into_bits());
    host.on(0, &mut bench).enable(true);
    bench.store(high.address(), Level1Entry::valid(high.page(16)).0);
    assert_eq!(bench.command(&mut host, mapd(high.page(40), true)), None);
    assert_eq!(bench.command(&mut host, mapti(3, INTID, 1)), None);
    assert_eq!(bench.board.translate(0, DEVICE, 3).unwrap().redistributor, Some(1));
    assert_ne!(load(&mut bench, high.page(16) + u64::from(DEVICE) * 8), 0);
    assert_ne!(load(&mut bench, high.page(40) + 3 * 8), 0);
    let addresses: Vec<u64> = bench.board.walk(0).iter().map(|reach| reach.address).collect();
    for page in [0, 16, 40] {
        assert!(addresses.contains(&high.page(page)));
    }
}

#[test]
fn where_an_its_stored_is_known_until_the_next_action() {
    let (mut bench, mut host) = mapped(ItsConfiguration::DEFAULT);
    bench.command(&mut host, mapti(3, INTID + 1, 0));
    assert_eq!(bench.board.device_stores(), [ITT + 3 * 8]);
    // There is no memory.
    bench.command(&mut host, mapd(Area::HOLE.address(), true));
    bench.command(&mut host, mapti(3, INTID + 1, 0));
    assert_eq!(bench.board.device_stores(), [Area::HOLE.address() + 3 * 8]);
    bench.store(Area::HOST.address(), 1);
    assert_eq!(bench.board.device_stores(), []);
}
