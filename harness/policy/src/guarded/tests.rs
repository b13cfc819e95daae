use its_machine::freedom::choice::Effects;

use crate::testing::*;

const DONE: Outcome = Outcome::Done;
const CWRITER: u64 = ITS + 0x88;
const CREADR: u64 = ITS + 0x90;

fn post(offset: u64) -> its_machine::Action {
    write(CWRITER, AccessSize::Double, offset)
}

fn moves(offset: u64) -> Vec<Event> {
    vec![writes(Register::Cwriter, offset)]
}

/// Posts one command at 0x80, with these events in place of right ones.
fn posts_one(events: &[Vec<Event>]) -> (its_machine::Action, Vec<Event>) {
    (post(0xa0), join(events.iter().cloned()))
}

#[test]
fn one_command_from_post_to_release() {
    let mut world = World::guarded();
    world.posts(0xa0, &[look(0x80), accepts(0x80, mapd(2, 4, FREE), &[FREE]), moves(0xa0)]);
    assert!(!world.model.is_settled(0));
    assert_eq!(world.model.records(0), Some((2, 3)));
    world.consumes(0x80, &[mapd(2, 4, FREE)]);
    world.shows(CREADR, 0xa0, &look(0xa0));
    assert!(world.model.is_settled(0));
    world.posts(0xc0, &[look(0xa0), accepts(0xa0, unmapd(2), &[]), moves(0xc0)]);
    world.consumes(0xa0, &[unmapd(2)]);
    let kept = read(CREADR, AccessSize::Double);
    // P9: released before the access returns.
    world.differ(kept, Outcome::Value(0xc0), &look(0xc0), &rules::DIV_SHARED, "page 0x80400");
    let all = join([look(0xc0), releases(&[FREE])]);
    world.shows(CREADR, 0xc0, &all);
    assert_eq!(world.model.records(0), Some((1, 3)));
}

#[test]
fn each_step_of_a_post_is_demanded() {
    let world = World::guarded();
    let map = mapd(2, 4, FREE);
    let cases: &[(&[Vec<Event>], &'static Rule, &str)] = &[
        (&[accepts(0x80, map, &[FREE]), moves(0xa0)], &rules::DIV_LOOK, "look"),
        (&[look(0x80)], &rules::DIV_UNJUDGED, "slot 0x80"),
        (&[look(0x80), vec![copied(0x80, map.encode())]], &rules::DIV_REFUSED, "MAPD"),
        (&[look(0x80), accepts(0x80, map, &[FREE])], &rules::DIV_FORWARD, "cwriter"),
        (&[look(0x80), accepts(0x80, map, &[FREE]), moves(0xc0)], &rules::DIV_FORWARD, "cwriter"),
        (
            &[look(0x80), accepts(0x80, map, &[FREE]), moves(0xa0), moves(0xa0)],
            &rules::DIV_FORWARD,
            "cwriter",
        ),
        (
            &[look(0x80), accepts(0x80, map, &[]), moves(0xa0)],
            &rules::DIV_SHARED,
            "page 0x80400.host",
        ),
        (
            &[
                look(0x80),
                accepts(0x80, map, &[FREE]),
                borrows(&[])[..].to_vec(),
                vec![page(PageChange::Pin, FREE)],
                moves(0xa0),
            ],
            &rules::DIV_PINS,
            "page 0x80400.pins",
        ),
        (
            &[
                look(0x80),
                vec![copied(0x80, map.encode())],
                borrows(&[FREE]),
                vec![passed_on(0x80, mapd(2, 5, FREE).encode())],
                moves(0xa0),
            ],
            &rules::DIV_BYTES,
            "MAPD",
        ),
        (
            &[
                look(0x80),
                accepts(0x80, map, &[FREE]),
                vec![passed_on(0xa0, map.encode())],
                moves(0xa0),
            ],
            &rules::DIV_BESIDE,
            "queue",
        ),
    ];
    for (events, rule, path) in cases {
        let (action, events) = posts_one(events);
        world.differ(action, DONE, &events, rule, path);
    }
    // CTLR read first is no look: CREADR may be a reset value by then.
    let backwards = vec![reads(Register::Ctlr, 1), reads(Register::Creadr, 0x80)];
    let (action, events) = posts_one(&[backwards, accepts(0x80, SYNC, &[]), moves(0xa0)]);
    world.differ(action, DONE, &events, &rules::DIV_LOOK, "look");
    let (action, events) = posts_one(&[look(0xa0)]);
    world.differ(action, DONE, &events, &rules::ARCH_REGISTER, "");
}

#[test]
fn the_first_copy_counts() {
    let world = World::guarded();
    let (first, second) = (mapti(1, 9, 8201, 1).encode(), SYNC.encode());
    let both = vec![copied(0x80, first), copied(0x80, second)];
    let right = join([look(0x80), both.clone(), vec![passed_on(0x80, first)], moves(0xa0)]);
    world.clone().agree(post(0xa0), DONE, &right);
    let wrong = join([look(0x80), both, vec![passed_on(0x80, second)], moves(0xa0)]);
    world.differ(post(0xa0), DONE, &wrong, &rules::DIV_BYTES, "MAPTI");
}

#[test]
fn out_of_range_and_backwards_writers_are_ignored_whole() {
    let mut world = World::guarded();
    // 0x1000 is the queue's size.
    for beyond in [0x1000, 0xf_ffe0, 0x1001] {
        world.clone().posts(beyond, &[look(0x80)]);
        let accepted = join([look(0x80), accepts(0x80, SYNC, &[]), moves(0xa0)]);
        world.differ(post(beyond), DONE, &accepted, &rules::DIV_FORWARD, "cwriter");
    }
    let both = join([look(0x80), accepts(0x80, SYNC, &[]), accepts(0xa0, SYNC, &[]), moves(0xc0)]);
    world.agree(post(0xc0), DONE, &both);
    for passed in [0x80, 0xa0] {
        world.clone().posts(passed, &[look(0x80)]);
        assert_eq!(world.model.position(0).unwrap().w, 0xc0);
    }
    world.shows(CWRITER, 0xc0, &[]);
    world.differ(
        read(CWRITER, AccessSize::Double),
        Outcome::Value(0x80),
        &[],
        &rules::DIV_REGISTER,
        "its0.",
    );
}

#[test]
fn sixty_four_in_flight_and_once_around_the_ring() {
    let mut world = World::guarded();
    let ring = |from: u64, count: u64| (0..count).map(move |index| (from + 32 * index) % 0x1000);
    let accept = |from, count| join(ring(from, count).map(|offset| accepts(offset, SYNC, &[])));
    // 100 commands, of which 64 fit.
    let w = 0x80 + 100 * 32;
    let (first, second) = (0x80 + 64 * 32, w);
    let too_many = join([look(0x80), accept(0x80, 65), moves(first + 32)]);
    world.differ(post(w), DONE, &too_many, &rules::DIV_FORWARD, "cwriter");
    world.posts(w, &[look(0x80), accept(0x80, 64), moves(first)]);
    world.shows(CREADR, 0x80, &look(0x80));
    world.consumes(0x80, &[SYNC; 64]);
    let again = join([look(first), accept(0x80, 1), moves(first + 32)]);
    world.differ(
        read(CREADR, AccessSize::Double),
        Outcome::Value(first),
        &again,
        &rules::DIV_UNJUDGED,
        "slot",
    );
    world.shows(CREADR, first, &join([look(first), accept(first, 36), moves(second)]));
    assert_eq!(world.model.position(0), Some(Position { c: first, j: w, w }));
    // Over the end of the ring.
    world.consumes(first, &[SYNC; 36]);
    world.posts(0x40, &[look(w), accept(w, 26), moves(0x40)]);
    let last: Vec<Event> = ring(w, 26).map(|offset| consumed(offset, SYNC)).collect();
    world.agree(ADVANCE, DONE, &last);
    world.shows(CREADR, 0x40, &look(0x40));
}

#[test]
fn the_command_table() {
    let rows: &[(Command, bool, &[u64])] = &[
        (mapd(2, 15, FREE), true, &[]),
        (mapd(2, 16, FREE), false, &[]),
        (mapd(0x1_0000, 4, FREE), false, &[]),
        (mapd(2, 4, 0x7ffff), false, &[]),
        (mapd(2, 15, 0x80fff), false, &[]),
        (mapd(2, 4, QUEUE), false, &[]),
        (mapd(2, 4, 0x80000), false, &[]),
        (unmapd(77), true, &[]),
        (unmapd(0x1000), true, &[]),
        (unmapd(0x1_0000), false, &[]),
        (mapc(511, 1), true, &[]),
        (mapc(512, 1), false, &[]),
        (mapc(0, 2), false, &[]),
        (mapc(0, 0xf_0000_0000), false, &[]),
        (mapti(9, 9, 1, 9), true, &[]),
        (Command::Invall { icid: 0xffff }, true, &[]),
        (Command::Int { device_id: !0, event_id: !0 }, true, &[]),
        (Command::Sync { rdbase: 1 }, true, &[]),
        (Command::Sync { rdbase: 2 }, false, &[]),
        (Command::Movall { from_rdbase: 0, to_rdbase: 1 }, true, &[]),
        (Command::Movall { from_rdbase: 0, to_rdbase: 2 }, false, &[]),
        (Command::Movall { from_rdbase: 2, to_rdbase: 0 }, false, &[]),
        (Command::Raw { words: [0x29, 0, 0, 0] }, false, &[]),
    ];
    let world = World::guarded();
    for (command, accepted, _) in rows {
        let pages: Vec<u64> = match command {
            Command::Mapd { size: 15, .. } if *accepted => (FREE..FREE + 128).collect(),
            _ => Vec::new(),
        };
        let pass = join([look(0x80), accepts(0x80, *command, &pages), moves(0xa0)]);
        let refuse = join([look(0x80), vec![copied(0x80, command.encode())]]);
        let (right, wrong) = if *accepted { (pass, refuse) } else { (refuse, pass) };
        let mut right_world = world.clone();
        let judgement = right_world.play(post(0xa0), DONE, &right);
        assert_eq!(judgement.findings, [], "{command:x?}");
        assert_eq!((judgement.judged, judgement.refused), (1, u32::from(!accepted)));
        let judgement = world.clone().play(post(0xa0), DONE, &wrong);
        assert_ne!(judgement.findings, [], "{command:x?}");
        if !accepted {
            assert!(right_world.model.is_settled(0));
            right_world.shows(CREADR, 0x81, &look(0x80));
        }
    }
}

#[test]
fn reserved_bits_and_meaningless_fields_are_cleared() {
    let world = World::guarded();
    let raw = [
        ([0x2_0000_ff08, !0, 0x7fff_ffff_ffff_ffff, !0], unmapd(2).encode()),
        ([0xff_ffff_ff09, !0, 0x7fff_ffff_ffff_0001, !0], [9, 0, 1, 0]),
        ([0x2_ffff_ff0a, 3 << 32 | 5, !0, !0], [0x2_0000_000a, 3 << 32 | 5, 0xffff, 0]),
    ];
    for (given, passed) in raw {
        let events = |passed| {
            join([look(0x80), vec![copied(0x80, given), passed_on(0x80, passed)], moves(0xa0)])
        };
        world.clone().agree(post(0xa0), DONE, &events(passed));
        world.differ(post(0xa0), DONE, &events(given), &rules::DIV_BYTES, "slot");
    }
}

#[test]
fn a_refused_slot_waits_for_retry() {
    let mut world = World::guarded();
    let bad = mapd(2, 16, FREE).encode();
    let tried = vec![copied(0x80, bad)];
    world.posts(0xc0, &[look(0x80), tried.clone()]);
    // Not judged again without Retry, and Stalled shows.
    world.shows(CREADR, 0x81, &look(0x80));
    world.differ(
        read(CREADR, AccessSize::Double),
        Outcome::Value(0x80),
        &look(0x80),
        &rules::DIV_CREADR,
        "its0.",
    );
    world.posts(0xc0, &[look(0x80)]);
    let unasked = join([look(0x80), accepts(0x80, SYNC, &[]), moves(0xa0)]);
    world.differ(post(0xc0), DONE, &unasked, &rules::DIV_FORWARD, "cwriter");
    world.clone().posts(0xc1, &[look(0x80), tried]);
    // No Retry goes to hardware that is not stalled.
    let retried = [look(0x80), accepts(0x80, SYNC, &[]), accepts(0xa0, SYNC, &[])];
    let told = join([retried.concat(), moves(0x81), moves(0xc0)]);
    world.differ(post(0xc1), DONE, &told, &rules::DIV_FORWARD, "cwriter");
    world.posts(0xc1, &[retried.concat(), moves(0xc0)]);
    world.shows(CREADR, 0x80, &look(0x80));
}

#[test]
fn retry_of_a_hardware_stall_judges_slot_c_afresh() {
    let mut world = World::guarded();
    let wrong = mapti(9, 0, 8193, 0);
    world.posts(
        0xc0,
        &[look(0x80), accepts(0x80, wrong, &[]), accepts(0xa0, SYNC, &[]), moves(0xc0)],
    );
    let error = stalled(0x80, wrong, Some(0x1_0a04));
    assert_eq!(world.clone().play(ADVANCE, DONE, std::slice::from_ref(&error)).stalled, 1);
    world.agree(ADVANCE, DONE, &[error]);
    assert!(world.model.is_settled(0));
    world.shows(CREADR, 0x81, &look(0x81));
    let map = mapd(2, 4, FREE);
    let retry = |value| vec![writes(Register::Cwriter, value)];
    // Not without a fresh judgement, and not if it fails.
    let blind = join([look(0x81), retry(0xc1)]);
    world.differ(post(0xc1), DONE, &blind, &rules::DIV_UNJUDGED, "slot 0x80");
    let bad = join([look(0x81), vec![copied(0x80, mapd(2, 16, FREE).encode())], retry(0xc1)]);
    world.differ(post(0xc1), DONE, &bad, &rules::DIV_FORWARD, "cwriter");
    world.clone().agree(post(0xc1), DONE, &bad[..3]);
    // Both stalls at once: a new command after J, in one write or in two.
    let fixed = [look(0x81), accepts(0x80, map, &[FREE])].concat();
    let more = accepts(0xc0, SYNC, &[]);
    let two = join([fixed.clone(), retry(0xc1), more.clone(), retry(0xe0)]);
    world.clone().agree(post(0xe1), DONE, &two);
    world.clone().agree(post(0xe1), DONE, &join([fixed.clone(), more, retry(0xe1)]));
    world.posts(0xc1, &[fixed, retry(0xc1)]);
    world.consumes(0x80, &[map, SYNC]);
    world.shows(CREADR, 0xc0, &look(0xc0));
    assert_eq!(world.model.records(0), Some((2, 3)));
}

#[test]
fn itts_share_pages_and_a_remap_holds_both() {
    let mut world = World::guarded();
    let (old, new) = (mapd(2, 4, FREE), mapd(2, 4, FREE + 1));
    // Device 3's ITT is on the same page, which the host shared itself.
    let share = hypercall(0, its_machine::Hypercall::HostShareHyp, [FREE, 0, 0, 0]);
    world.agree(share, Outcome::Returned { x0: 0, x1: 0 }, &[page(PageChange::Share, FREE)]);
    let Command::Mapd { itt_address, .. } = old else { unreachable!() };
    let other =
        Command::Mapd { device_id: 3, size: 0, itt_address: itt_address + 0xf00, valid: true };
    let pin = |of| vec![page(PageChange::Pin, of)];
    let slot = |offset, command: Command, pages: Vec<Event>| {
        join([
            vec![copied(offset, command.encode())],
            pages,
            vec![passed_on(offset, command.encode())],
        ])
    };
    let first = [look(0x80), slot(0x80, old, pin(FREE)), slot(0xa0, other, pin(FREE))].concat();
    world.posts(0xc0, &[first, moves(0xc0)]);
    assert_eq!(world.model.page(FREE).unwrap().pins, 2);
    world.consumes(0x80, &[old, other]);
    // No record is left: capacity 3.
    let full = join([look(0xc0), vec![copied(0xc0, new.encode())]]);
    world.clone().agree(post(0xe0), DONE, &full);
    let extra = join([look(0xc0), accepts(0xc0, new, &[FREE + 1]), moves(0xe0)]);
    world.differ(post(0xe0), DONE, &extra, &rules::DIV_COMMAND, "MAPD");
    world.posts(0xe0, &[look(0xc0), accepts(0xc0, unmapd(3), &[]), moves(0xe0)]);
    world.consumes(0xc0, &[unmapd(3)]);
    let unpin = vec![page(PageChange::Unpin, FREE)];
    let remap = [look(0xe0), unpin.clone(), accepts(0xe0, new, &[FREE + 1]), moves(0x100)];
    world.posts(0x100, &remap);
    assert_eq!(world.model.page(FREE).unwrap().pins, 1);
    world.consumes(0xe0, &[new]);
    // The host's own share stays.
    let unshared = [look(0x100), releases(&[FREE])].concat();
    world.differ(
        read(CREADR, AccessSize::Double),
        Outcome::Value(0x100),
        &unshared,
        &rules::DIV_SHARED,
        "0x80400",
    );
    world.shows(CREADR, 0x100, &[look(0x100), unpin].concat());
}

#[test]
fn level2_growth() {
    let world = World::guarded();
    let map = mapd(0x200, 4, FREE);
    let (entry_at, shadow) = (at(LEVEL1) + 8, at(SHADOW_LEVEL1) + 8);
    let entry = Level1Entry::valid(at(FREE + 1)).0;
    let grown = |value| Event::WordWritten { address: entry_at, value, shared: false };
    let donate = page(PageChange::Donate, FREE + 1);
    let zero = Event::PageZeroed { page: FREE + 1 };
    let tail =
        [borrows(&[FREE]), vec![passed_on(0x80, map.encode()), writes(Register::Cwriter, 0xa0)]]
            .concat();
    let with = |middle: &[Event], tail: &[Event]| {
        join([look(0x80), vec![copied(0x80, map.encode())], middle.to_vec(), tail.to_vec()])
    };
    let right = [word_read(shadow, entry), donate, zero, grown(entry)];
    let mut grown_world = world.clone();
    grown_world.agree(post(0xa0), DONE, &with(&right, &tail));
    // There now, for the next one and for the hardware.
    grown_world.posts(
        0xc0,
        &[look(0x80), accepts(0xa0, mapd(0x201, 4, FREE + 2), &[FREE + 2]), moves(0xc0)],
    );
    grown_world.consumes(0x80, &[map]);
    let wrong: &[(&[Event], &[Event])] = &[
        (&[], &tail),
        (&right[..1], &tail),
        (&[word_read(shadow, entry), donate, grown(entry)], &tail),
        (&[word_read(shadow, entry), donate, zero, grown(entry | 1 << 55)], &tail),
        (&[word_read(shadow, entry | 2), donate, zero, grown(entry)], &tail),
        (&[word_read(shadow, entry & !Baser::VALID), donate, zero, grown(entry)], &tail),
    ];
    for (index, (middle, tail)) in wrong.iter().enumerate() {
        let kind = if index == 3 { &rules::DIV_ENTRY } else { &rules::DIV_GROWTH };
        world.differ(post(0xa0), DONE, &with(middle, tail), kind, "level1 entry");
    }
    for unusable in [
        0,
        entry & !Baser::VALID,
        Level1Entry::valid(at(ITT)).0,
        entry | 2,
        Level1Entry::valid(at(QUEUE)).0,
        Level1Entry::valid(at(0x7ffff)).0,
    ] {
        world.clone().agree(post(0xa0), DONE, &with(&[word_read(shadow, unusable)], &[]));
    }
    // A command that is refused anyway needs no growth.
    let Command::Mapd { device_id, .. } = map else { unreachable!() };
    let foreign = mapd(device_id, 4, QUEUE).encode();
    let events = [look(0x80), vec![copied(0x80, foreign), word_read(shadow, entry)]].concat();
    world.clone().agree(post(0xa0), DONE, &events);
    // P12: growth may stay if the command is refused after it.
    let huge = [word_read(shadow, Level1Entry::valid(at(FREE)).0)];
    world.clone().agree(post(0xa0), DONE, &with(&huge, &[]));
    let stray = [look(0x80), vec![grown(entry)]].concat();
    world.differ(
        read(CREADR, AccessSize::Double),
        Outcome::Value(0x80),
        &stray,
        &rules::DIV_GROWTH,
        "level-1",
    );
}

#[test]
fn an_injected_failure_refuses_the_command_and_is_undone() {
    let world = World::guarded();
    let map = mapd(2, 4, FREE);
    let failed = |change| Event::Page {
        change,
        pages: Pages { first: FREE, count: 1 },
        result: Err(Errno::Enomem),
    };
    let start =
        [look(0x80), vec![copied(0x80, map.encode()), page(PageChange::Share, FREE)]].concat();
    let pin_fails = [start, vec![failed(PageChange::Pin), Event::Injected]].concat();
    let undone = [pin_fails.clone(), vec![page(PageChange::Unshare, FREE)]].concat();
    world.clone().agree(post(0xa0), DONE, &undone);
    world.differ(post(0xa0), DONE, &pin_fails, &rules::DIV_SHARED, "page 0x80400");
    // P13: a give back that fails leaves the page as it is, for good or until the host unshares
    // it.
    let stuck = [pin_fails, vec![failed(PageChange::Unshare), Event::Injected]].concat();
    let mut world = world;
    world.agree(post(0xa0), DONE, &stuck);
    let unshare = hypercall(0, its_machine::Hypercall::HostUnshareHyp, [FREE, 0, 0, 0]);
    world.agree(unshare, Outcome::Returned { x0: 0, x1: 0 }, &[page(PageChange::Unshare, FREE)]);
}

#[test]
fn a_failing_share_of_a_shared_page_changes_nothing() {
    let mut world = World::guarded();
    let share = hypercall(0, its_machine::Hypercall::HostShareHyp, [FREE, 0, 0, 0]);
    let done = Outcome::Returned { x0: 0, x1: 0 };
    world.agree(share, done, &[page(PageChange::Share, FREE)]);
    let map = mapd(2, 4, FREE);
    let fails = Event::Page {
        change: PageChange::Share,
        pages: Pages { first: FREE, count: 1 },
        result: Err(Errno::Enomem),
    };
    let copy = vec![copied(0x80, map.encode()), fails, Event::Injected];
    let pin = vec![page(PageChange::Pin, FREE), passed_on(0x80, map.encode())];
    world.posts(0xa0, &[look(0x80), copy, pin, moves(0xa0)]);
}

#[test]
fn at_most_16_event_id_bits() {
    let mut machine = machine();
    machine.configurations[0].event_id_bits = 20;
    let mut world = World::guarded_on(machine);
    let wide = vec![copied(0x80, mapd(2, 16, FREE).encode())];
    world.posts(0xa0, &[look(0x80), wide]);
}

#[test]
fn retry_before_the_refused_slot_is_reached_has_no_effect() {
    let mut world = World::guarded();
    let bad = vec![copied(0xa0, mapd(2, 16, FREE).encode())];
    world.posts(0xc0, &[look(0x80), accepts(0x80, SYNC, &[]), bad.clone(), moves(0xa0)]);
    world.posts(0xc1, &[look(0x80)]);
    let again = join([look(0x80), accepts(0xa0, SYNC, &[]), moves(0xc0)]);
    world.differ(post(0xc1), DONE, &again, &rules::DIV_FORWARD, "cwriter");
    world.consumes(0x80, &[SYNC]);
    world.posts(0xc1, &[look(0xa0), bad]);
}

#[test]
fn stalled_shows_only_at_the_refused_slot() {
    let mut world = World::guarded();
    let bad = vec![copied(0xa0, mapd(2, 16, FREE).encode())];
    world.posts(0xc0, &[look(0x80), accepts(0x80, SYNC, &[]), bad, moves(0xa0)]);
    world.shows(CREADR, 0x80, &look(0x80));
    world.consumes(0x80, &[SYNC]);
    world.shows(CREADR, 0xa1, &look(0xa0));
}

#[test]
fn commands_run_when_they_are_consumed() {
    let prompt = Freedoms::ALL.fix(Effects::AtOnce);
    let mut world = World::allowing(machine(), prompt).boot().guard();
    let map = mapti(1, 9, 8201, 1);
    world.posts(0xa0, &[look(0x80), accepts(0x80, map, &[]), moves(0xa0)]);
    assert_eq!(world.translation(1, 9), None);
    world.consumes(0x80, &[map]);
    assert!(world.model.hardware.touched().contains(&(0, 1, 9)));
    assert_eq!(world.translation(1, 9), Some((8201, Some(1))));
}
