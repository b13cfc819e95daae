//! What the ITS holds itself, and what becomes of it.

use its_gic::geometry::Level1Entry;
use its_gic::{Baser, Register};
use its_machine::freedom::choice::{Caches, Fill};
use its_machine::{AccessSize, Action, Area, Choices, ItsConfiguration, Purpose, View};

use super::*;
use crate::testing::{Bench, choosing};
use its_driver::Perform;

const LEVEL1: u64 = Area::DEVICE_TABLE.address();

fn caching(caches: Caches, fill: Fill) -> ItsConfiguration {
    choosing(Choices::USUAL.with(caches).with(fill))
}

fn is_mapped(bench: &Bench) -> bool {
    let reach: Vec<_> = bench.board.reach(0).map(|(reach, _)| reach).collect();
    assert_eq!(reach, bench.board.walk(0));
    let reached = reach.iter().any(|reach| reach.purpose == Purpose::Itt { device_id: DEVICE });
    assert_eq!(reached, bench.board.translate(0, DEVICE, 0).is_some());
    reached
}

fn lose_power(bench: &mut Bench, restored: bool) {
    bench.perform(Action::PowerLoss { its: 0, restored });
}

#[test]
fn what_was_not_written_back_is_lost_with_power() {
    for (caches, quiesced, kept) in [
        (Caches::Absent, false, true),
        (Caches::WriteThrough, false, true),
        (Caches::WriteBack, false, false),
        (Caches::WriteBack, true, true),
    ] {
        let (mut bench, mut host) = mapped(caching(caches, Fill::Late));
        assert!(is_mapped(&bench));
        if quiesced {
            host.on(0, &mut bench).suspend();
        }
        lose_power(&mut bench, false);
        assert!(!is_mapped(&bench), "there is no table");
        host.on(0, &mut bench).resume();
        assert_eq!(is_mapped(&bench), kept, "{caches:?} {quiesced}");
    }
}

#[test]
fn firmware_brings_registers_back_and_not_what_was_held_inside() {
    let configuration = ItsConfiguration { hardware_collections: 1, ..choosing(Choices::USUAL) };
    let (mut bench, _) = mapped(configuration);
    let registers = [Register::Cbaser, Register::Cwriter, Register::Baser(0), Register::Baser(1)];
    let read = |bench: &Bench| registers.map(|register| bench.board.register(0, register));
    let before = read(&bench);
    lose_power(&mut bench, true);
    assert_eq!(read(&bench), before);
    assert_eq!(bench.board.register(0, Register::Creadr), 0);
    assert_eq!(bench.board.register(0, Register::Ctlr), 1 << 31);
    let translation = bench.board.translate(0, DEVICE, 0).unwrap();
    assert_eq!(translation.redistributor, None, "collection 0 was inside");
    lose_power(&mut bench, false);
    for (now, before) in read(&bench).into_iter().zip(before) {
        assert_ne!(now, before);
        assert_eq!(now >> 63, 0);
    }
    let (first, type_and_size) = (bench.board.register(0, Register::Baser(0)), !Baser::WRITABLE);
    assert_eq!(first & type_and_size, before[2] & type_and_size);
}

#[test]
fn a_valid_level_one_entry_is_held_and_an_invalid_one_is_not() {
    for caches in [Caches::Absent, Caches::WriteThrough] {
        let (mut bench, mut host) = Bench::booted(caching(caches, Fill::Late));
        let error = bench.command(&mut host, mapd(ITT, true));
        assert!(error.is_some(), "there is no level 2 yet");
        let block = Level1Entry::valid(Area::LEVEL2.address()).0;
        bench.store(LEVEL1, block);
        host.on(0, &mut bench).post(true, AccessSize::Word);
        host.on(0, &mut bench).map_event(DEVICE, 0, INTID, 0);
        assert!(is_mapped(&bench));
        bench.store(LEVEL1, 0);
        assert_eq!(is_mapped(&bench), caches != Caches::Absent);
        bench.store(LEVEL1, block);
        assert!(is_mapped(&bench));
    }
}

#[test]
fn an_eager_its_reads_ahead_when_it_is_enabled() {
    for (fill, kept) in [(Fill::Late, false), (Fill::Early, true)] {
        let (mut bench, mut host) = mapped(caching(Caches::WriteThrough, fill));
        host.on(0, &mut bench).suspend();
        lose_power(&mut bench, false);
        host.on(0, &mut bench).resume();
        bench.store(LEVEL1, 0);
        assert_eq!(is_mapped(&bench), kept, "{fill:?}");
    }
}

#[test]
fn giving_up_a_table_empties_the_cache_where_that_is_promised() {
    for (invalidates, kept) in [(true, false), (false, true)] {
        let configuration =
            ItsConfiguration { invalidates, ..caching(Caches::WriteBack, Fill::Late) };
        let (mut bench, mut host) = mapped(configuration);
        host.on(0, &mut bench).quiesce();
        bench.store(LEVEL1, 0);
        assert!(is_mapped(&bench));
        let baser = host.baser(0);
        bench.write(Register::Baser(0), baser & !Baser::VALID);
        assert!(!is_mapped(&bench));
        bench.write(Register::Baser(0), baser);
        assert_eq!(is_mapped(&bench), kept, "INV = {invalidates}");
    }
}

#[test]
fn mapd_forgets_the_devices_events() {
    let (mut bench, mut host) = mapped(caching(Caches::WriteBack, Fill::Late));
    // Not yet in memory: gone.
    bench.command(&mut host, mapd(ITT, true));
    assert_eq!(bench.board.translate(0, DEVICE, 0), None);
    // In memory: in force again, unless it was discarded.
    for discarded in [false, true] {
        host.on(0, &mut bench).map_event(DEVICE, 0, INTID, 0);
        host.on(0, &mut bench).quiesce();
        host.on(0, &mut bench).enable(true);
        if discarded {
            host.on(0, &mut bench).unmap_event(DEVICE, 0);
        }
        bench.command(&mut host, mapd(ITT, false));
        bench.command(&mut host, mapd(ITT, true));
        let mapped = bench.board.translate(0, DEVICE, 0).is_some();
        assert_eq!(mapped, !discarded);
    }
}
