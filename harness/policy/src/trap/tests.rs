use crate::testing::*;

const QUIET: u64 = 1 << 31;
const WORD: AccessSize = AccessSize::Word;
const CBASER: u64 = ITS + 0x80;
const CREADR: u64 = ITS + 0x90;
const BASER0: u64 = ITS + 0x100;

fn ctlr(value: u64) -> Action {
    write(ITS, WORD, value)
}

/// EL2 looks and clears Enabled.
fn stops() -> Vec<Event> {
    [look(0x80), vec![writes(Register::Ctlr, 0)]].concat()
}

/// EL2 sets Enabled and looks.
fn starts(creadr: u64) -> Vec<Event> {
    [vec![writes(Register::Ctlr, 1)], look(creadr)].concat()
}

/// EL2 finds the ITS at rest.
fn rests(creadr: u64) -> Vec<Event> {
    let cbaser = reads(Register::Cbaser, cbaser());
    vec![reads(Register::Ctlr, QUIET), cbaser, reads(Register::Creadr, creadr)]
}

/// A look at an ITS that is off.
fn off(creadr: u64) -> [Event; 2] {
    [reads(Register::Creadr, creadr), reads(Register::Ctlr, QUIET)]
}

fn reset_queue() -> Vec<Event> {
    vec![writes(Register::Cbaser, cbaser()), writes(Register::Cwriter, 0)]
}

/// The host cleared Enabled.
fn stopping() -> World {
    let mut world = guarded();
    world.agree(ctlr(0), DONE, &stops());
    world
}

/// The host cleared Enabled, then saw Quiescent.
fn at_rest() -> World {
    let mut world = stopping();
    world.agree(read(ITS, WORD), Outcome::Value(QUIET), &rests(0x80));
    world
}

/// A command accepted at 0x80.
fn submitted(world: &mut World, command: Command) {
    world.posts(0xa0, &[look(0x80), accepts(0x80, command, &[]), moves(0xa0)]);
}

#[test]
fn closing_forwards_reads_and_ignores_writes() {
    let mut world = closing();
    let forwarded = [reads(Register::Cbaser, cbaser())];
    world.shows(CBASER, cbaser(), &forwarded);
    world.wrong_read(CBASER, cbaser(), &[], &rules::DIV_REGISTER, "cbaser");
    world.agree(read(ITS + 0x84, WORD), Outcome::Value(QUIET), &forwarded);
    world.agree(read(CBASER, AccessSize::Half), Outcome::Value(0), &[]);
    for (offset, rule) in
        [(0x80, &rules::DIV_BASE), (0x88, &rules::DIV_FORWARD), (0x100, &rules::DIV_BASE)]
    {
        world.writes(ITS + offset, 0);
        world.wrong_write(ITS + offset, 0, &[writes(Register::at(offset), 0)], rule, "its0");
    }
    world.agree(ctlr(0), DONE, &[]);
    world.wrong(ctlr(0), &[writes(Register::Ctlr, 0)], &rules::DIV_CTLR, "its0.ctlr");
}

#[test]
fn guarded_reads() {
    let mut world = guarded();
    let typer = machine().configuration(0).typer().into_bits();
    for (offset, value, rule) in [
        (0x80, cbaser(), &rules::DIV_REGISTER),
        (0x88, 0x80, &rules::DIV_REGISTER),
        (0x100, baser(0), &rules::DIV_REGISTER),
        (0x108, baser(1), &rules::DIV_REGISTER),
        (0x110, 0, &rules::DIV_REGISTER),
        (0x08, typer, &rules::DIV_REGISTER),
        // The wrong size, a hole, the translation frame.
        (0x48 + 0x100, 0, &rules::DIV_ZERO),
        (0x00, 0, &rules::DIV_ZERO),
        (0x10040, 0, &rules::DIV_ZERO),
    ] {
        world.shows(ITS + offset, value, &[]);
        world.wrong_read(ITS + offset, value ^ 1 << 40, &[], rule, "its0");
        if offset >= 8 {
            world.agree(read(ITS + offset, WORD), Outcome::Value(value & 0xffff_ffff), &[]);
            world.agree(read(ITS + offset + 4, WORD), Outcome::Value(value >> 32), &[]);
        }
    }
    for offset in [0x14, 0x40, 0x20, 0xc000] {
        let zero = read(ITS + offset, WORD);
        world.agree(zero, Outcome::Value(0), &[]);
        world.differ(zero, Outcome::Value(1), &[], &rules::DIV_ZERO, "its0");
    }
    let forwarded = Event::DeviceRead { address: ITS + 4, size: WORD, value: 0x43b };
    let iidr = read(ITS + 4, WORD);
    world.agree(iidr, Outcome::Value(0x43b), &[forwarded]);
    world.differ(iidr, Outcome::Value(0), &[forwarded], &rules::DIV_REGISTER, "iidr");
}

#[test]
fn ignored_writes() {
    let world = guarded();
    for offset in [0x04, 0x14, 0x18, 0x40, 0x90, 0x94, 0x20, 0xffe8, 0x10040] {
        world.clone().agree(write(ITS + offset, WORD, !0), DONE, &[]);
    }
    for offset in [0x00, 0x80, 0x81, 0x84, 0x90, 0x100, 0x110] {
        world.clone().writes(ITS + offset, !0);
        let address = ITS + (offset & !7);
        let leaked = Event::DeviceWrite { address, size: DOUBLE, value: u64::MAX };
        let rule = match offset {
            0x00 => &rules::DIV_CTLR,
            0x90 => &rules::DIV_STRAY,
            _ => &rules::DIV_BASE,
        };
        world.wrong_write(ITS + offset, !0, &[leaked], rule, "its0");
    }
}

#[test]
fn stopping_takes_c_first() {
    let world = guarded();
    let stop = writes(Register::Ctlr, 0);
    world.wrong(ctlr(0), &[stop], &rules::DIV_LOOK, "look");
    world.wrong(ctlr(0), &[vec![stop], look(0x80)].concat(), &rules::ARCH_REGISTER, "");
    world.wrong(ctlr(0), &look(0x80), &rules::DIV_CTLR, "its0.ctlr");
    let other_bits = [look(0x80), vec![writes(Register::Ctlr, 0x10)]].concat();
    world.wrong(ctlr(0x10), &other_bits, &rules::DIV_CTLR, "its0.ctlr");
    // 1 to 1 does nothing.
    world.clone().agree(ctlr(1), DONE, &[]);
}

#[test]
fn stop_reset_and_start_again() {
    let mut world = at_rest();
    assert!(world.model.is_settled(0));
    // Nothing is judged meanwhile, W is taken.
    world.writes_with(ITS + 0x88, 0xa0, &off(0x80));
    world.shows(ITS + 0x88, 0xa0, &[]);
    world.writes_with(CBASER, cbaser(), &reset_queue());
    world.shows(ITS + 0x88, 0, &[]);
    world.writes_with(ITS + 0x88, 0x20, &off(0));
    world.writes_with(BASER0, baser(0), &[writes(Register::Baser(0), baser(0))]);
    world.wrong(ctlr(1), &starts(0), &rules::DIV_UNJUDGED, "slot 0x0");
    world.wrong(ctlr(1), &[writes(Register::Ctlr, 1)], &rules::DIV_LOOK, "look");
    world.agree(ctlr(1), DONE, &[starts(0), accepts(0, SYNC, &[]), moves(0x20)].concat());
    world.consumes(0, &[SYNC]);
    world.shows(CREADR, 0x20, &look(0x20));
}

#[test]
fn a_late_stop_cannot_start_again() {
    // Consumed after C was taken: C is before J for good, until CBASER is written.
    let mut world = guarded();
    submitted(&mut world, SYNC);
    let stop = [look(0x80), vec![consumed(0x80, SYNC), writes(Register::Ctlr, 0)]].concat();
    world.agree(ctlr(0), DONE, &stop);
    world.agree(ctlr(1), DONE, &rests(0xa0));
}

#[test]
fn an_its_that_lost_power_at_work_stays_off() {
    // Enabled reads 0 and nobody cleared it.
    let mut off = guarded();
    off.agree(Action::PowerLoss { its: 0, restored: true }, DONE, &[]);
    off.agree(read(ITS, WORD), Outcome::Value(QUIET), &[reads(Register::Ctlr, QUIET)]);
    off.writes(CBASER, cbaser());
    off.wrong_write(CBASER, cbaser(), &reset_queue(), &rules::DIV_BASE, "cbaser");
    off.wrong(ctlr(1), &[writes(Register::Ctlr, 1)], &rules::DIV_CTLR, "its0.ctlr");
}

#[test]
fn firmware_cannot_make_a_loss_of_power_look_like_rest() {
    let mut world = stopping();
    world.agree(Action::PowerLoss { its: 0, restored: true }, DONE, &[]);
    world.agree(read(ITS, WORD), Outcome::Value(QUIET), &rests(0));
    world.writes(CBASER, cbaser());
    world.wrong_write(CBASER, cbaser(), &reset_queue(), &rules::DIV_BASE, "cbaser");
}

#[test]
fn a_command_in_flight_may_complete_as_the_its_stops() {
    let mut world = guarded();
    let int = Command::Int { device_id: 1, event_id: 4 };
    submitted(&mut world, int);
    let later = [consumed(0x80, int)];
    world.clone().agree(ctlr(0), DONE, &[stops(), later.to_vec()].concat());
    world.agree(ctlr(0), DONE, &stops());
    world.wrong(ADVANCE, &later, &rules::ARCH_FETCH, "fetch");
}

#[test]
fn hardware_registers_are_written_in_their_own_size() {
    let wide = Event::DeviceWrite { address: ITS, size: DOUBLE, value: 0 };
    let events = [look(0x80), vec![wide]].concat();
    guarded().wrong(ctlr(0), &events, &rules::DIV_CTLR, "its0.ctlr");
}

#[test]
fn nothing_is_retried_while_disabled() {
    let mut world = guarded();
    let refused = vec![copied(0x80, mapd(2, 16, FREE).encode())];
    world.posts(0xa0, &[look(0x80), refused]);
    world.agree(ctlr(0), DONE, &stops());
    world.writes_with(ITS + 0x88, 0xa1, &off(0x80));
    world.shows(CREADR, 0x81, &off(0x80));
}

#[test]
fn running_again_is_not_at_rest() {
    let mut world = at_rest();
    world.agree(ctlr(1), DONE, &starts(0x80));
    world.writes(BASER0, baser(0));
}

#[test]
fn rest_is_demanded() {
    let mut running = guarded();
    running.writes(CBASER, cbaser());
    running.wrong_write(CBASER, cbaser(), &reset_queue(), &rules::DIV_BASE, "cbaser");
    let stopping = stopping();
    let busy = reads(Register::Ctlr, 0);
    stopping.clone().writes_with(CBASER, cbaser(), &[busy]);
    stopping.wrong_write(CBASER, cbaser(), &[], &rules::DIV_REST, "rest");
    stopping.clone().writes_with(CBASER, cbaser(), &[busy, reads(Register::Cbaser, cbaser())]);
    let early = [vec![busy], reset_queue()].concat();
    stopping.wrong_write(CBASER, cbaser(), &early, &rules::DIV_BASE, "cbaser");
    stopping.clone().writes_with(CBASER, cbaser(), &[rests(0x80), reset_queue()].concat());
}

#[test]
fn only_recorded_values_are_accepted_at_rest() {
    let world = at_rest();
    for (address, recorded, register) in
        [(CBASER, cbaser(), Register::Cbaser), (BASER0, baser(0), Register::Baser(0))]
    {
        for bit in [0, 10, 12, 40] {
            let other = recorded ^ 1 << bit;
            world.clone().writes(address, other);
            world.wrong_write(address, other, &[writes(register, other)], &rules::DIV_BASE, "its0");
        }
    }
    // Without Valid: shown, and the ITS cannot be enabled.
    let mut invalid = world.clone();
    let value = baser(0) & !Baser::VALID;
    invalid.writes_with(BASER0, value, &[writes(Register::Baser(0), value)]);
    invalid.shows(BASER0, value, &[]);
    invalid.agree(ctlr(1), DONE, &[]);
    // A half, the other kept.
    world.clone().agree(write(ITS + 0x84, WORD, cbaser() >> 32), DONE, &reset_queue());
    // A table that was not valid stays so.
    world.clone().writes(ITS + 0x110, Baser::VALID);
    let valid = [writes(Register::Baser(2), Baser::VALID)];
    world.wrong_write(ITS + 0x110, Baser::VALID, &valid, &rules::DIV_BASE, "its0");
    // C = J = CREADR = CWRITER holds, so it may start again.
    world.clone().agree(ctlr(1), DONE, &starts(0x80));
    world.wrong(ctlr(1), &[], &rules::DIV_CTLR, "its0.ctlr");
}

#[test]
fn what_a_queue_reset_overtakes_stays_borrowed() {
    let mut world = guarded();
    submitted(&mut world, unmapd(1));
    world.agree(ctlr(0), DONE, &stops());
    // Not emptied: it may not start again.
    world.clone().agree(ctlr(1), DONE, &rests(0x80));
    let reset = [rests(0x80), reset_queue()].concat();
    let released = [reset.clone(), releases(&[ITT])].concat();
    world.wrong_write(CBASER, cbaser(), &released, &rules::DIV_SHARED, "page 0x80200");
    world.writes_with(CBASER, cbaser(), &reset);
    assert_eq!(records(&world), (0, 3));
    assert!(world.model.page(ITT).unwrap().is_held());
}

#[test]
fn redistributors() {
    let world = closing();
    let base = REDISTRIBUTORS[1];
    let passed = |offset, size, value| [Event::DeviceWrite { address: base + offset, size, value }];
    let agree = |action, events: &[Event]| world.clone().agree(action, DONE, events);
    let wrong = |action, events: &[Event]| {
        world.wrong(action, events, &rules::DIV_REDISTRIBUTOR, "redistributor1");
    };
    for ignored in [0x70, 0x78, 0x2_0070] {
        agree(write(base + ignored, DOUBLE, 0), &[]);
        wrong(write(base + ignored, DOUBLE, 0), &passed(ignored, DOUBLE, 0));
    }
    agree(write(base + 0x74, WORD, 0), &[]);
    // EnableLPIs stays 1, the rest is passed on.
    let off = write(base, WORD, 1 << 24);
    agree(off, &passed(0, WORD, 1 << 24 | 1));
    wrong(off, &passed(0, WORD, 1 << 24));
    for size in [WORD, DOUBLE] {
        agree(write(base + 8, WORD, 7), &passed(8, size, 7));
        agree(write(base + 8, WORD, 7), &[]);
    }
    // Decision 14.
    let high = write(base + 0xa4, WORD, 7);
    agree(high, &[]);
    wrong(high, &passed(0xa0, DOUBLE, 7 << 32));
    wrong(high, &passed(0xa4, WORD, 7));
    let low = write(base + 0xa0, WORD, 7);
    agree(low, &passed(0xa0, DOUBLE, 7));
    wrong(low, &passed(0xa0, WORD, 7));
    wrong(low, &[]);
    agree(write(base + 0x14, AccessSize::Byte, 7), &[]);
    wrong(write(base + 0x14, AccessSize::Byte, 7), &passed(0x14, WORD, 7));
    let wake = write(base + 0x14, WORD, 2);
    agree(wake, &passed(0x14, WORD, 2));
    wrong(wake, &[]);
    let seen = [Event::DeviceRead { address: base + 0x14, size: WORD, value: 6 }];
    let read = read(base + 0x14, WORD);
    world.clone().agree(read, Outcome::Value(6), &seen);
    world.differ(read, Outcome::Value(2), &seen, &rules::DIV_REGISTER, "redistributor1");
}
