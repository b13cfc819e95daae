use crate::testing::*;

const DONE: Outcome = Outcome::Done;
const QUIET: u64 = 1 << 31;
const DOUBLE: AccessSize = AccessSize::Double;

fn ctlr(value: u64) -> Action {
    write(ITS, AccessSize::Word, value)
}

/// The host cleared Enabled, then saw Quiescent.
fn at_rest() -> World {
    let mut world = World::guarded();
    let stop = [look(0x80), vec![writes(Register::Ctlr, 0)]].concat();
    world.agree(ctlr(0), DONE, &stop);
    let seen = [
        reads(Register::Ctlr, QUIET),
        reads(Register::Cbaser, cbaser()),
        reads(Register::Creadr, 0x80),
    ];
    world.agree(read(ITS, AccessSize::Word), Outcome::Value(QUIET), &seen);
    world
}

fn reset_queue() -> Vec<Event> {
    vec![writes(Register::Cbaser, cbaser()), writes(Register::Cwriter, 0)]
}

#[test]
fn closing_forwards_reads_and_ignores_writes() {
    let mut world = World::closing();
    world.shows(ITS + 0x80, cbaser(), &[reads(Register::Cbaser, cbaser())]);
    world.differ(
        read(ITS + 0x80, DOUBLE),
        Outcome::Value(cbaser()),
        &[],
        &rules::DIV_REGISTER,
        "cbaser",
    );
    let half = [reads(Register::Cbaser, cbaser())];
    world.agree(read(ITS + 0x84, AccessSize::Word), Outcome::Value(QUIET), &half);
    world.agree(read(ITS + 0x80, AccessSize::Half), Outcome::Value(0), &[]);
    for offset in [0x80, 0x88, 0x100] {
        world.writes(ITS + offset, 0);
        let register = Register::at(offset);
        world.differ(
            write(ITS + offset, DOUBLE, 0),
            DONE,
            &[writes(register, 0)],
            if offset == 0x88 { &rules::DIV_FORWARD } else { &rules::DIV_BASE },
            "its0",
        );
    }
    world.agree(ctlr(0), DONE, &[]);
    world.differ(ctlr(0), DONE, &[writes(Register::Ctlr, 0)], &rules::DIV_CTLR, "its0.ctlr");
}

#[test]
fn guarded_reads() {
    let mut world = World::guarded();
    let typer = machine().configuration(0).typer().into_bits();
    let values = [
        (0x80, cbaser()),
        (0x88, 0x80),
        (0x100, baser(0)),
        (0x108, baser(1)),
        (0x110, 0),
        (0x08, typer),
        // The wrong size, a hole, the translation frame.
        (0x48 + 0x100, 0),
        (0x00, 0),
        (0x10040, 0),
    ];
    for (offset, value) in values {
        world.shows(ITS + offset, value, &[]);
        let wrong = Outcome::Value(value ^ 1 << 40);
        let there = [0x80, 0x88, 0x100, 0x108, 0x110, 0x08].contains(&offset);
        let kind = if there { &rules::DIV_REGISTER } else { &rules::DIV_ZERO };
        world.differ(read(ITS + offset, DOUBLE), wrong, &[], kind, "its0");
        let (low, high) = (value & 0xffff_ffff, value >> 32);
        if offset >= 8 {
            world.agree(read(ITS + offset, AccessSize::Word), Outcome::Value(low), &[]);
            world.agree(read(ITS + offset + 4, AccessSize::Word), Outcome::Value(high), &[]);
        }
    }
    for offset in [0x14, 0x40, 0x20, 0xc000] {
        world.agree(read(ITS + offset, AccessSize::Word), Outcome::Value(0), &[]);
        let leak = read(ITS + offset, AccessSize::Word);
        world.differ(leak, Outcome::Value(1), &[], &rules::DIV_ZERO, "its0");
    }
    let iidr = Event::DeviceRead { address: ITS + 4, size: AccessSize::Word, value: 0x43b };
    world.agree(read(ITS + 4, AccessSize::Word), Outcome::Value(0x43b), &[iidr]);
    world.differ(
        read(ITS + 4, AccessSize::Word),
        Outcome::Value(0),
        &[iidr],
        &rules::DIV_REGISTER,
        "iidr",
    );
}

#[test]
fn ignored_writes() {
    let world = World::guarded();
    for offset in [0x04, 0x14, 0x18, 0x40, 0x90, 0x94, 0x20, 0xffe8, 0x10040] {
        world.clone().agree(write(ITS + offset, AccessSize::Word, !0), DONE, &[]);
    }
    for offset in [0x00, 0x80, 0x81, 0x84, 0x90, 0x100, 0x110] {
        world.clone().writes(ITS + offset, !0);
        let leaked =
            Event::DeviceWrite { address: ITS + (offset & !7), size: DOUBLE, value: u64::MAX };
        let action = write(ITS + offset, DOUBLE, !0);
        let rule: &'static Rule = match offset {
            0x00 => &rules::DIV_CTLR,
            0x90 => &rules::DIV_STRAY,
            _ => &rules::DIV_BASE,
        };
        world.differ(action, DONE, &[leaked], rule, "its0");
    }
}

#[test]
fn stopping_takes_c_first() {
    let world = World::guarded();
    let stop = writes(Register::Ctlr, 0);
    world.differ(ctlr(0), DONE, &[stop], &rules::DIV_LOOK, "look");
    world.differ(ctlr(0), DONE, &[vec![stop], look(0x80)].concat(), &rules::ARCH_REGISTER, "");
    world.differ(ctlr(0), DONE, &look(0x80), &rules::DIV_CTLR, "its0.ctlr");
    let other_bits = [look(0x80), vec![writes(Register::Ctlr, 0x10)]].concat();
    world.differ(ctlr(0x10), DONE, &other_bits, &rules::DIV_CTLR, "its0.ctlr");
    // 1 to 1 does nothing.
    world.clone().agree(ctlr(1), DONE, &[]);
}

#[test]
fn stop_reset_and_start_again() {
    let mut world = at_rest();
    assert!(world.model.is_settled(0));
    // Nothing is judged meanwhile, W is taken.
    let off = vec![reads(Register::Creadr, 0x80), reads(Register::Ctlr, QUIET)];
    world.writes_with(ITS + 0x88, 0xa0, &off);
    world.shows(ITS + 0x88, 0xa0, &[]);
    world.writes_with(ITS + 0x80, cbaser(), &reset_queue());
    world.shows(ITS + 0x88, 0, &[]);
    let off = vec![reads(Register::Creadr, 0), reads(Register::Ctlr, QUIET)];
    world.writes_with(ITS + 0x88, 0x20, &off);
    world.writes_with(ITS + 0x100, baser(0), &[writes(Register::Baser(0), baser(0))]);
    let start = [vec![writes(Register::Ctlr, 1)], look(0)].concat();
    let judged = [accepts(0, SYNC, &[]), vec![writes(Register::Cwriter, 0x20)]].concat();
    world.differ(ctlr(1), DONE, &start, &rules::DIV_UNJUDGED, "slot 0x0");
    world.differ(ctlr(1), DONE, &[writes(Register::Ctlr, 1)], &rules::DIV_LOOK, "look");
    world.agree(ctlr(1), DONE, &[start, judged].concat());
    world.consumes(0, &[SYNC]);
    world.shows(ITS + 0x90, 0x20, &look(0x20));
}

#[test]
fn a_late_stop_cannot_start_again() {
    // Consumed after C was taken: C is before J for good, until CBASER is written.
    let mut world = World::guarded();
    let post = [look(0x80), accepts(0x80, SYNC, &[]), vec![writes(Register::Cwriter, 0xa0)]];
    world.posts(0xa0, &post);
    let stop = [look(0x80), vec![consumed(0x80, SYNC), writes(Register::Ctlr, 0)]].concat();
    world.agree(ctlr(0), DONE, &stop);
    let quiet = [
        reads(Register::Ctlr, QUIET),
        reads(Register::Cbaser, cbaser()),
        reads(Register::Creadr, 0xa0),
    ];
    world.agree(ctlr(1), DONE, &quiet);
}

#[test]
fn an_its_that_lost_power_at_work_stays_off() {
    // Enabled reads 0 and nobody cleared it.
    let mut off = World::guarded();
    let lost = Action::PowerLoss { its: 0, restored: true };
    off.agree(lost, DONE, &[]);
    off.agree(read(ITS, AccessSize::Word), Outcome::Value(QUIET), &[reads(Register::Ctlr, QUIET)]);
    off.writes(ITS + 0x80, cbaser());
    off.differ(
        write(ITS + 0x80, DOUBLE, cbaser()),
        DONE,
        &reset_queue(),
        &rules::DIV_BASE,
        "cbaser",
    );
    off.differ(ctlr(1), DONE, &[writes(Register::Ctlr, 1)], &rules::DIV_CTLR, "its0.ctlr");
}

#[test]
fn firmware_cannot_make_a_loss_of_power_look_like_rest() {
    let mut world = World::guarded();
    let stop = [look(0x80), vec![writes(Register::Ctlr, 0)]].concat();
    world.agree(ctlr(0), DONE, &stop);
    let lost = Action::PowerLoss { its: 0, restored: true };
    world.agree(lost, DONE, &[]);
    let seen = [
        reads(Register::Ctlr, QUIET),
        reads(Register::Cbaser, cbaser()),
        reads(Register::Creadr, 0),
    ];
    world.agree(read(ITS, AccessSize::Word), Outcome::Value(QUIET), &seen);
    world.writes(ITS + 0x80, cbaser());
    let again = write(ITS + 0x80, DOUBLE, cbaser());
    world.differ(again, DONE, &reset_queue(), &rules::DIV_BASE, "cbaser");
}

#[test]
fn a_command_in_flight_may_complete_as_the_its_stops() {
    let mut world = World::guarded();
    let int = its_gic::Command::Int { device_id: 1, event_id: 4 };
    let post = [look(0x80), accepts(0x80, int, &[]), vec![writes(Register::Cwriter, 0xa0)]];
    world.posts(0xa0, &post);
    let stop = [look(0x80), vec![writes(Register::Ctlr, 0), consumed(0x80, int)]].concat();
    world.clone().agree(ctlr(0), DONE, &stop);
    world.agree(ctlr(0), DONE, &stop[..3]);
    let later = [consumed(0x80, int)];
    world.differ(ADVANCE, DONE, &later, &rules::ARCH_FETCH, "fetch");
}

#[test]
fn hardware_registers_are_written_in_their_own_size() {
    let world = World::guarded();
    let wide = Event::DeviceWrite { address: ITS, size: DOUBLE, value: 0 };
    let events = [look(0x80), vec![wide]].concat();
    world.differ(ctlr(0), DONE, &events, &rules::DIV_CTLR, "its0.ctlr");
}

#[test]
fn nothing_is_retried_while_disabled() {
    let mut world = World::guarded();
    let refused = vec![copied(0x80, mapd(2, 16, FREE).encode())];
    world.posts(0xa0, &[look(0x80), refused]);
    let stop = [look(0x80), vec![writes(Register::Ctlr, 0)]].concat();
    world.agree(ctlr(0), DONE, &stop);
    let off = [reads(Register::Creadr, 0x80), reads(Register::Ctlr, QUIET)];
    world.writes_with(ITS + 0x88, 0xa1, &off);
    world.shows(ITS + 0x90, 0x81, &off);
}

#[test]
fn running_again_is_not_at_rest() {
    let mut world = at_rest();
    let start = [vec![writes(Register::Ctlr, 1)], look(0x80)].concat();
    world.agree(ctlr(1), DONE, &start);
    world.writes(ITS + 0x100, baser(0));
}

#[test]
fn rest_is_demanded() {
    let mut running = World::guarded();
    running.writes(ITS + 0x80, cbaser());
    running.differ(
        write(ITS + 0x80, DOUBLE, cbaser()),
        DONE,
        &reset_queue(),
        &rules::DIV_BASE,
        "cbaser",
    );
    let mut stopping = World::guarded();
    stopping.agree(ctlr(0), DONE, &[look(0x80), vec![writes(Register::Ctlr, 0)]].concat());
    let again = write(ITS + 0x80, DOUBLE, cbaser());
    stopping.clone().agree(again, DONE, &[reads(Register::Ctlr, 0)]);
    stopping.differ(again, DONE, &[], &rules::DIV_REST, "rest");
    let not_yet = [reads(Register::Ctlr, 0), reads(Register::Cbaser, cbaser())];
    stopping.clone().agree(again, DONE, &not_yet);
    let busy = [vec![reads(Register::Ctlr, 0)], reset_queue()].concat();
    stopping.differ(again, DONE, &busy, &rules::DIV_BASE, "cbaser");
    let quiet = vec![
        reads(Register::Ctlr, QUIET),
        reads(Register::Cbaser, cbaser()),
        reads(Register::Creadr, 0x80),
    ];
    stopping.clone().agree(again, DONE, &[quiet, reset_queue()].concat());
}

#[test]
fn only_recorded_values_are_accepted_at_rest() {
    let world = at_rest();
    for (offset, recorded, register) in
        [(0x80, cbaser(), Register::Cbaser), (0x100, baser(0), Register::Baser(0))]
    {
        for bit in [0, 10, 12, 40] {
            let other = recorded ^ 1 << bit;
            world.clone().writes(ITS + offset, other);
            let forwarded = [writes(register, other)];
            world.differ(
                write(ITS + offset, DOUBLE, other),
                DONE,
                &forwarded,
                &rules::DIV_BASE,
                "its0",
            );
        }
    }
    // Without Valid: shown, and the ITS cannot be enabled.
    let mut invalid = world.clone();
    let value = baser(0) & !Baser::VALID;
    invalid.writes_with(ITS + 0x100, value, &[writes(Register::Baser(0), value)]);
    invalid.shows(ITS + 0x100, value, &[]);
    invalid.agree(ctlr(1), DONE, &[]);
    // A half, the other kept.
    let mut half = world.clone();
    half.agree(write(ITS + 0x84, AccessSize::Word, cbaser() >> 32), DONE, &reset_queue());
    // A table that was not valid stays so.
    world.clone().writes(ITS + 0x110, Baser::VALID);
    let valid = [writes(Register::Baser(2), Baser::VALID)];
    world.differ(write(ITS + 0x110, DOUBLE, Baser::VALID), DONE, &valid, &rules::DIV_BASE, "its0");
    // C = J = CREADR = CWRITER holds, so it may start again.
    let start = [vec![writes(Register::Ctlr, 1)], look(0x80)].concat();
    world.clone().agree(ctlr(1), DONE, &start);
    world.differ(ctlr(1), DONE, &[], &rules::DIV_CTLR, "its0.ctlr");
}

#[test]
fn what_a_queue_reset_overtakes_stays_borrowed() {
    let mut world = World::guarded();
    let post = |command, pages: &[u64]| {
        [look(0x80), accepts(0x80, command, pages), vec![writes(Register::Cwriter, 0xa0)]]
    };
    world.posts(0xa0, &post(unmapd(1), &[]));
    world.agree(ctlr(0), DONE, &[look(0x80), vec![writes(Register::Ctlr, 0)]].concat());
    // Not emptied: it may not start again.
    let quiet = vec![
        reads(Register::Ctlr, QUIET),
        reads(Register::Cbaser, cbaser()),
        reads(Register::Creadr, 0x80),
    ];
    world.clone().agree(ctlr(1), DONE, &quiet);
    let reset = [quiet, reset_queue()].concat();
    let released = [reset.clone(), releases(&[ITT])].concat();
    let action = write(ITS + 0x80, DOUBLE, cbaser());
    world.differ(action, DONE, &released, &rules::DIV_SHARED, "page 0x80200");
    world.agree(action, DONE, &reset);
    assert_eq!(world.model.records(0), Some((0, 3)));
    assert!(world.model.page(ITT).unwrap().is_held());
}

#[test]
fn redistributors() {
    let world = World::closing();
    let base = REDISTRIBUTORS[1];
    let passed = |offset, size, value| Event::DeviceWrite { address: base + offset, size, value };
    for ignored in [0x70, 0x78, 0x2_0070] {
        world.clone().writes(base + ignored, 0);
        let leak = [passed(ignored, DOUBLE, 0)];
        world.differ(
            write(base + ignored, DOUBLE, 0),
            DONE,
            &leak,
            &rules::DIV_REDISTRIBUTOR,
            "redistributor1",
        );
    }
    world.clone().agree(write(base + 0x74, AccessSize::Word, 0), DONE, &[]);
    // EnableLPIs stays 1, the rest is passed on.
    let off = write(base, AccessSize::Word, 1 << 24);
    world.clone().agree(off, DONE, &[passed(0, AccessSize::Word, 1 << 24 | 1)]);
    world.differ(
        off,
        DONE,
        &[passed(0, AccessSize::Word, 1 << 24)],
        &rules::DIV_REDISTRIBUTOR,
        "redistributor1",
    );
    for size in [AccessSize::Word, DOUBLE] {
        let typer = write(base + 8, AccessSize::Word, 7);
        world.clone().agree(typer, DONE, &[passed(8, size, 7)]);
        world.clone().agree(typer, DONE, &[]);
    }
    let half = write(base + 0xa4, AccessSize::Word, 7);
    world.clone().agree(half, DONE, &[]);
    let whole = [passed(0xa0, DOUBLE, 7 << 32)];
    world.clone().agree(half, DONE, &whole);
    let wake = write(base + 0x14, AccessSize::Word, 2);
    world.clone().agree(wake, DONE, &[passed(0x14, AccessSize::Word, 2)]);
    world.differ(wake, DONE, &[], &rules::DIV_REDISTRIBUTOR, "redistributor1");
    let seen = Event::DeviceRead { address: base + 0x14, size: AccessSize::Word, value: 6 };
    let read = read(base + 0x14, AccessSize::Word);
    world.clone().agree(read, Outcome::Value(6), &[seen]);
    world.differ(read, Outcome::Value(2), &[seen], &rules::DIV_REGISTER, "redistributor1");
}
