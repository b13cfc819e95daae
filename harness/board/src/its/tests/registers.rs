//! The control frame.

use its_gic::{Baser, Cbaser, Command, Register};
use its_machine::freedom::choice::{
    CwriterBeyond, QueueLowBits, Quiescent, QuiescentEnabled, Statusr, WideEvent,
};
use its_machine::{
    AccessSize, Action, Area, Choices, Coherence, Direction, ItsConfiguration, Machine, Pace,
    Snooping, View,
};

use super::*;
use crate::Board;
use crate::testing::{Bench, Nobody, choosing, driver, machine};
use its_driver::Perform;

const QUIESCENT: u64 = 1 << 31;

fn ctlr(bench: &mut Bench) -> u64 {
    bench.access(0, AccessSize::Word, Direction::Read)
}

#[test]
fn accesses_of_a_wrong_size_read_zero_and_write_nothing() {
    let (mut bench, host) = Bench::booted(ItsConfiguration::DEFAULT);
    let word = AccessSize::Word;
    bench.write(Register::Ctlr, 0);
    for (offset, size) in [
        (0x80, AccessSize::Half),
        (0x84, AccessSize::Double),
        (0x0, AccessSize::Double),
        (0x8, AccessSize::Byte),
        (0x140, word),
        (0x1234, word),
    ] {
        bench.access(offset, size, Direction::Write(0));
        assert_eq!(bench.access(offset, size, Direction::Read), 0, "{offset:#x}");
    }
    assert_eq!(bench.board.register(0, Register::Cbaser), host.cbaser());
    let low = bench.access(0x80, word, Direction::Read);
    let high = bench.access(0x84, word, Direction::Read);
    assert_eq!(high << 32 | low, host.cbaser());
    let cidr = [0xfff0, 0xfff4, 0xfff8, 0xfffc];
    let cidr = cidr.map(|offset| bench.access(offset, word, Direction::Read));
    assert_eq!(cidr, [0x0d, 0xf0, 0x05, 0xb1]);
    assert_eq!(bench.access(0xffe8, word, Direction::Read), 0x30);
}

#[test]
fn quiescent_comes_when_it_may() {
    for (choice, expected) in [
        (QuiescentEnabled::Idle, QUIESCENT),
        (QuiescentEnabled::Zero, 0),
        (QuiescentEnabled::One, QUIESCENT),
    ] {
        let (mut bench, _) = Bench::booted(choosing(Choices::USUAL.with(choice)));
        assert_eq!(ctlr(&mut bench), expected | 1);
    }
    let late = Choices::USUAL.with(Quiescent::Late);
    let (mut bench, host) = Bench::booted(choosing(late));
    bench.write(Register::Ctlr, 0);
    assert_eq!(bench.board.register(0, Register::Ctlr), 0);
    bench.write(Register::Cbaser, host.cbaser());
    assert!(bench.was_unpredictable());
    bench.write(Register::Ctlr, 1);
    assert!(bench.was_unpredictable());
    let reads = [0; 3].map(|_| ctlr(&mut bench));
    assert_eq!(reads, [0, 0, QUIESCENT]);
    bench.write(Register::Ctlr, 1);
    assert_eq!(ctlr(&mut bench), QUIESCENT | 1);
}

#[test]
fn work_in_flight_ends_before_quiescent() {
    let configuration = ItsConfiguration { pace: Pace::Never, ..ItsConfiguration::DEFAULT };
    let (mut bench, mut host) = Bench::booted(configuration);
    let sync = Command::Sync { rdbase: 0 };
    bench.command(&mut host, sync);
    assert_eq!(ctlr(&mut bench), 1);
    bench.write(Register::Ctlr, 0);
    assert_eq!(ctlr(&mut bench), 0);
    let (its, commands) = (0, 1);
    bench.perform(Action::Advance { its, commands });
    assert_eq!(ctlr(&mut bench), QUIESCENT);
}

#[test]
fn it_is_not_enabled_without_what_it_needs() {
    for hardware_collections in [0, 2] {
        let configuration = ItsConfiguration { hardware_collections, ..ItsConfiguration::DEFAULT };
        for (register, needed) in [
            (Register::Cbaser, true),
            (Register::Baser(0), true),
            (Register::Baser(1), hardware_collections == 0),
        ] {
            let (mut bench, _) = Bench::booted(configuration);
            bench.write(Register::Cbaser, 0);
            assert!(bench.was_unpredictable(), "it is enabled");
            bench.write(Register::Ctlr, 0);
            bench.write(register, 0);
            bench.write(Register::Ctlr, 1);
            assert_eq!(bench.was_unpredictable(), needed, "{register:?}");
            assert_eq!(ctlr(&mut bench), QUIESCENT | u64::from(!needed));
        }
    }
}

#[test]
fn each_half_of_cbaser_puts_creadr_back() {
    for offset in [0x80, 0x84] {
        let (mut bench, mut host) = Bench::booted(ItsConfiguration::DEFAULT);
        let bad = Command::Invall { icid: 9 };
        assert!(bench.command(&mut host, bad).is_some());
        let creadr = bench.board.register(0, Register::Creadr);
        assert!(creadr & 1 == 1 && creadr > 1, "it is stalled");
        bench.write(Register::Ctlr, 0);
        let half = bench.access(offset, AccessSize::Word, Direction::Read);
        bench.access(offset, AccessSize::Word, Direction::Write(half));
        assert_eq!(bench.board.register(0, Register::Creadr), 0);
        assert_eq!(bench.board.register(0, Register::Cbaser), host.cbaser());
        assert_ne!(bench.board.register(0, Register::Cwriter), 0);
    }
}

#[test]
fn retry_fetches_the_command_again() {
    let (mut bench, mut host) = Bench::booted(ItsConfiguration::DEFAULT);
    let bad = Command::Invall { icid: 9 };
    assert!(bench.command(&mut host, bad).is_some());
    host.on(0, &mut bench).post(false, AccessSize::Double);
    assert!(bench.events.is_empty(), "it needs Retry");
    host.rewind(1);
    host.on(0, &mut bench).write_command(Command::Invall { icid: 1 }.encode());
    host.on(0, &mut bench).post(true, AccessSize::Word);
    let creadr = bench.board.register(0, Register::Creadr);
    assert_eq!(creadr, bench.board.register(0, Register::Cwriter));
}

#[test]
fn low_address_bits_of_the_queue() {
    for (choice, low) in [(QueueLowBits::Used, 0x3000), (QueueLowBits::Zero, 0)] {
        let (mut bench, _) = Bench::new(choosing(Choices::USUAL.with(choice)));
        let queue = Cbaser::VALID | Area::QUEUE.address();
        bench.write(Register::Cbaser, queue | 0x3000);
        assert_eq!(bench.board.register(0, Register::Cbaser), queue | low);
    }
}

#[test]
fn an_offset_beyond_the_queue() {
    for (choice, consumed) in [(CwriterBeyond::Stop, 0), (CwriterBeyond::Wrap, 0x20)] {
        let (mut bench, mut host) = Bench::booted(choosing(Choices::USUAL.with(choice)));
        host.on(0, &mut bench).quiesce();
        bench.write(Register::Cbaser, host.cbaser());
        bench.write(Register::Cwriter, 0x1020);
        bench.write(Register::Ctlr, 1);
        assert_eq!(bench.board.register(0, Register::Creadr), consumed);
        assert_eq!(bench.board.register(0, Register::Cwriter), 0x1020);
    }
}

#[test]
fn statusr_reports_bad_accesses_where_it_is() {
    for (choice, expected) in [(Statusr::Absent, 0), (Statusr::Present, 0b1011)] {
        let (mut bench, _) = Bench::booted(choosing(Choices::USUAL.with(choice)));
        bench.access(0x20, AccessSize::Word, Direction::Read);
        bench.write(Register::Reserved(0x20), 1);
        bench.write(Register::Typer, 1);
        assert_eq!(bench.board.register(0, Register::Statusr), expected);
        bench.write(Register::Statusr, 0b0010);
        assert_eq!(bench.board.register(0, Register::Statusr), expected & !0b0010);
    }
}

#[test]
fn msis_of_all_sizes_and_widths() {
    for (choice, wide) in [(WideEvent::Ignored, false), (WideEvent::Cut, true)] {
        let (mut bench, mut host) = mapped(choosing(Choices::USUAL.with(choice)));
        for (event_id, size, taken) in [
            (0, AccessSize::Word, true),
            (0xffff_0000, AccessSize::Half, true),
            (0, AccessSize::Byte, false),
            (0, AccessSize::Double, false),
            (0x1_0000, AccessSize::Word, wide),
            (1, AccessSize::Word, false),
        ] {
            bench.msi(DEVICE, event_id, size);
            let pending = bench.board.pending(0).eq([INTID]);
            assert_eq!(pending, taken, "{event_id:#x} {size:?}");
            let clear = Command::Clear { device_id: DEVICE, event_id: 0 };
            assert_eq!(bench.command(&mut host, clear), None);
        }
    }
}

#[test]
fn shareability_reads_as_the_machine_has_it_and_the_driver_asks_for_no_cache_then() {
    for (snooping, shareability, cache) in
        [(Snooping::Unsaid, 1, 7), (Snooping::No, 0, 1), (Snooping::Yes, 1, 7)]
    {
        let coherence = Coherence { queue: snooping, tables: snooping, ..Coherence::UNSAID };
        let machine = Machine { coherence, ..machine(ItsConfiguration::DEFAULT) };
        let board = Board::new(machine, Box::new(Nobody));
        let mut bench = Bench { board, events: Vec::new() };
        driver(machine, 0).probe(&mut bench);
        let cbaser = Cbaser::from_bits(bench.board.register(0, Register::Cbaser));
        let baser = Baser::from_bits(bench.board.register(0, Register::Baser(0)));
        assert_eq!((cbaser.shareability(), cbaser.inner_cache()), (shareability, cache));
        assert_eq!((baser.shareability(), baser.inner_cache()), (shareability, cache));
    }
}
