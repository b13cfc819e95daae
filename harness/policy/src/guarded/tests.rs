use its_declaration::{Check, Timeout};
use its_machine::freedom::choice::Effects;

use crate::testing::*;

const CWRITER: u64 = ITS + 0x88;
const CREADR: u64 = ITS + 0x90;

/// A command copied at 0x80 after a look, and what EL2 did then.
fn slot(words: [u64; 4], then: &[Event]) -> Vec<Event> {
    [look(0x80), vec![copied(0x80, words)], then.to_vec()].concat()
}

/// SYNCs accepted from an offset on, around the ring.
fn syncs(from: u64, count: u64) -> Vec<Event> {
    join(ring(from, count).map(|offset| accepts(offset, SYNC, &[])))
}

fn ring(from: u64, count: u64) -> impl Iterator<Item = u64> {
    (0..count).map(move |index| (from + 32 * index) % 0x1000)
}

#[test]
fn one_command_from_post_to_release() {
    let mut world = guarded();
    world.posts(0xa0, &[look(0x80), accepts(0x80, mapd(2, 4, FREE), &[FREE]), moves(0xa0)]);
    assert!(!world.model.is_settled(0));
    assert_eq!(records(&world), (2, 3));
    world.consumes(0x80, &[mapd(2, 4, FREE)]);
    world.shows(CREADR, 0xa0, &look(0xa0));
    assert!(world.model.is_settled(0));
    world.posts(0xc0, &[look(0xa0), accepts(0xa0, unmapd(2), &[]), moves(0xc0)]);
    world.consumes(0xa0, &[unmapd(2)]);
    // P9: released before the access returns.
    world.wrong_read(CREADR, 0xc0, &look(0xc0), &rules::DIV_SHARED, "page 0x80400");
    world.shows(CREADR, 0xc0, &join([look(0xc0), releases(&[FREE])]));
    assert_eq!(records(&world), (1, 3));
}

#[test]
fn each_step_of_a_post_is_demanded() {
    let world = guarded();
    let map = mapd(2, 4, FREE);
    let accepted = || accepts(0x80, map, &[FREE]);
    let other = [borrows(&[FREE]), vec![passed_on(0x80, mapd(2, 5, FREE).encode())]].concat();
    let stray = vec![passed_on(0xa0, map.encode())];
    let pin = vec![page(PageChange::Pin, FREE)];
    // CTLR read first is no look: CREADR may be a reset value by then.
    let backwards = vec![reads(Register::Ctlr, 1), reads(Register::Creadr, 0x80)];
    let cases: [(&[Vec<Event>], &'static Rule, &str); 12] = [
        (&[accepted(), moves(0xa0)], &rules::DIV_LOOK, "look"),
        (&[look(0x80)], &rules::DIV_UNJUDGED, "slot 0x80"),
        (&[slot(map.encode(), &[])], &rules::DIV_REFUSED, "MAPD"),
        (&[look(0x80), accepted()], &rules::DIV_FORWARD, "cwriter"),
        (&[look(0x80), accepted(), moves(0xc0)], &rules::DIV_FORWARD, "cwriter"),
        (&[look(0x80), accepted(), moves(0xa0), moves(0xa0)], &rules::DIV_FORWARD, "cwriter"),
        (&[look(0x80), accepts(0x80, map, &[]), moves(0xa0)], &rules::DIV_SHARED, "0x80400.host"),
        (&[look(0x80), accepted(), pin, moves(0xa0)], &rules::DIV_PINS, "page 0x80400.pins"),
        (&[slot(map.encode(), &other), moves(0xa0)], &rules::DIV_BYTES, "MAPD"),
        (&[look(0x80), accepted(), stray, moves(0xa0)], &rules::DIV_BESIDE, "queue"),
        (&[backwards, accepts(0x80, SYNC, &[]), moves(0xa0)], &rules::DIV_LOOK, "look"),
        (&[look(0xa0)], &rules::ARCH_REGISTER, ""),
    ];
    for (events, rule, path) in cases {
        world.wrong_post(0xa0, events, rule, path);
    }
}

#[test]
fn the_first_copy_counts() {
    let world = guarded();
    let (first, second) = (mapti(1, 9, 8201, 1).encode(), SYNC.encode());
    let events =
        |passed| [slot(first, &[copied(0x80, second), passed_on(0x80, passed)]), moves(0xa0)];
    world.clone().posts(0xa0, &events(first));
    world.wrong_post(0xa0, &events(second), &rules::DIV_BYTES, "MAPTI");
}

#[test]
fn out_of_range_and_backwards_writers_are_ignored_whole() {
    let mut world = guarded();
    // 0x1000 is the queue's size.
    for beyond in [0x1000, 0xf_ffe0, 0x1001] {
        world.clone().posts(beyond, &[look(0x80)]);
        let accepted = [look(0x80), syncs(0x80, 1), moves(0xa0)];
        world.wrong_post(beyond, &accepted, &rules::DIV_FORWARD, "cwriter");
    }
    world.posts(0xc0, &[look(0x80), syncs(0x80, 2), moves(0xc0)]);
    for passed in [0x80, 0xa0] {
        world.clone().posts(passed, &[look(0x80)]);
        assert_eq!(queues(&world).w, 0xc0);
    }
    world.shows(CWRITER, 0xc0, &[]);
    world.wrong_read(CWRITER, 0x80, &[], &rules::DIV_REGISTER, "its0.");
}

#[test]
fn sixty_four_in_flight_and_once_around_the_ring() {
    let mut world = guarded();
    // 100 commands, of which 64 fit.
    let w = 0x80 + 100 * 32;
    let first = 0x80 + 64 * 32;
    let too_many = [look(0x80), syncs(0x80, 65), moves(first + 32)];
    world.wrong_post(w, &too_many, &rules::DIV_FORWARD, "cwriter");
    world.posts(w, &[look(0x80), syncs(0x80, 64), moves(first)]);
    world.shows(CREADR, 0x80, &look(0x80));
    world.consumes(0x80, &[SYNC; 64]);
    let again = join([look(first), syncs(0x80, 1), moves(first + 32)]);
    world.wrong_read(CREADR, first, &again, &rules::DIV_UNJUDGED, "slot");
    world.shows(CREADR, first, &join([look(first), syncs(first, 36), moves(w)]));
    let at = queues(&world);
    assert_eq!((at.c, at.j, at.w), (first, w, w));
    // Over the end of the ring.
    world.consumes(first, &[SYNC; 36]);
    world.posts(0x40, &[look(w), syncs(w, 26), moves(0x40)]);
    let last: Vec<Event> = ring(w, 26).map(|offset| consumed(offset, SYNC)).collect();
    world.agree(ADVANCE, DONE, &last);
    world.shows(CREADR, 0x40, &look(0x40));
}

#[test]
fn the_command_table() {
    let accepted = [
        mapd(2, 15, FREE),
        unmapd(77),
        unmapd(0x1000),
        mapc(511, 1),
        mapti(9, 9, 1, 9),
        Command::Invall { icid: 0xffff },
        Command::Int { device_id: !0, event_id: !0 },
        Command::Sync { rdbase: 1 },
        Command::Movall { from_rdbase: 0, to_rdbase: 1 },
    ];
    let refused = [
        mapd(2, 16, FREE),
        mapd(0x1_0000, 4, FREE),
        mapd(2, 4, 0x7ffff),
        mapd(2, 15, 0x80fff),
        mapd(2, 4, QUEUE),
        mapd(2, 4, 0x80000),
        unmapd(0x1_0000),
        mapc(512, 1),
        mapc(0, 2),
        mapc(0, 0xf_0000_0000),
        Command::Sync { rdbase: 2 },
        Command::Movall { from_rdbase: 0, to_rdbase: 2 },
        Command::Movall { from_rdbase: 2, to_rdbase: 0 },
        Command::Raw { words: [0x29, 0, 0, 0] },
    ];
    let world = guarded();
    let passes = accepted.map(|command| (command, true)).into_iter();
    for (command, passes) in passes.chain(refused.map(|command| (command, false))) {
        let pages: Vec<u64> = match command {
            Command::Mapd { size: 15, .. } if passes => (FREE..FREE + 128).collect(),
            _ => Vec::new(),
        };
        let pass = join([look(0x80), accepts(0x80, command, &pages), moves(0xa0)]);
        let refuse = slot(command.encode(), &[]);
        let (right, wrong) = if passes { (pass, refuse) } else { (refuse, pass) };
        let mut played = world.clone();
        let judgement = played.play(post(0xa0), DONE, &right);
        assert_eq!(judgement.findings, [], "{command:x?}");
        assert_eq!((judgement.judged, judgement.refused), (1, u32::from(!passes)));
        let judgement = world.clone().play(post(0xa0), DONE, &wrong);
        assert_ne!(judgement.findings, [], "{command:x?}");
        if !passes {
            assert!(played.model.is_settled(0));
            played.shows(CREADR, 0x81, &look(0x80));
        }
    }
}

#[test]
fn reserved_bits_and_meaningless_fields_are_cleared() {
    let world = guarded();
    for (given, passed) in [
        ([0x2_0000_ff08, !0, 0x7fff_ffff_ffff_ffff, !0], unmapd(2).encode()),
        ([0xff_ffff_ff09, !0, 0x7fff_ffff_ffff_0001, !0], [9, 0, 1, 0]),
        ([0x2_ffff_ff0a, 3 << 32 | 5, !0, !0], [0x2_0000_000a, 3 << 32 | 5, 0xffff, 0]),
    ] {
        let events = |passed| [slot(given, &[passed_on(0x80, passed)]), moves(0xa0)];
        world.clone().posts(0xa0, &events(passed));
        world.wrong_post(0xa0, &events(given), &rules::DIV_BYTES, "slot");
    }
}

#[test]
fn a_refused_slot_waits_for_retry() {
    let mut world = guarded();
    let tried = slot(mapd(2, 16, FREE).encode(), &[]);
    world.posts(0xc0, std::slice::from_ref(&tried));
    // Not judged again without Retry, and Stalled shows.
    world.shows(CREADR, 0x81, &look(0x80));
    world.wrong_read(CREADR, 0x80, &look(0x80), &rules::DIV_CREADR, "its0.");
    world.posts(0xc0, &[look(0x80)]);
    let unasked = [look(0x80), syncs(0x80, 1), moves(0xa0)];
    world.wrong_post(0xc0, &unasked, &rules::DIV_FORWARD, "cwriter");
    world.clone().posts(0xc1, &[tried]);
    // No Retry goes to hardware that is not stalled.
    let retried = [look(0x80), syncs(0x80, 2)].concat();
    let reported = [retried.clone(), moves(0x81), moves(0xc0)];
    world.wrong_post(0xc1, &reported, &rules::DIV_FORWARD, "cwriter");
    world.posts(0xc1, &[retried, moves(0xc0)]);
    world.shows(CREADR, 0x80, &look(0x80));
}

#[test]
fn retry_of_a_hardware_stall_judges_slot_c_afresh() {
    let mut world = guarded();
    let wrong = mapti(9, 0, 8193, 0);
    let submitted = [look(0x80), accepts(0x80, wrong, &[]), syncs(0xa0, 1), moves(0xc0)];
    world.posts(0xc0, &submitted);
    let error = stalled(0x80, wrong, Some(0x1_0a04));
    assert_eq!(world.clone().play(ADVANCE, DONE, &[error]).stalled, 1);
    world.agree(ADVANCE, DONE, &[error]);
    assert!(world.model.is_settled(0));
    world.shows(CREADR, 0x81, &look(0x81));
    let map = mapd(2, 4, FREE);
    // Not without a fresh judgement, and not if it fails.
    world.wrong_post(0xc1, &[look(0x81), moves(0xc1)], &rules::DIV_UNJUDGED, "slot 0x80");
    let failed = [look(0x81), vec![copied(0x80, mapd(2, 16, FREE).encode())]];
    let bad = [failed.concat(), moves(0xc1)];
    world.wrong_post(0xc1, &bad, &rules::DIV_FORWARD, "cwriter");
    world.clone().posts(0xc1, &failed);
    // Both stalls at once: a new command after J, in one write or in two.
    let fixed = [look(0x81), accepts(0x80, map, &[FREE])].concat();
    let more = syncs(0xc0, 1);
    world.clone().posts(0xe1, &[fixed.clone(), moves(0xc1), more.clone(), moves(0xe0)]);
    world.clone().posts(0xe1, &[fixed.clone(), more, moves(0xe1)]);
    world.posts(0xc1, &[fixed, moves(0xc1)]);
    world.consumes(0x80, &[map, SYNC]);
    world.shows(CREADR, 0xc0, &look(0xc0));
    assert_eq!(records(&world), (2, 3));
}

#[test]
fn el2_polls_as_often_as_it_declares() {
    let mut world = guarded();
    world.model.guarded[0].as_mut().unwrap().mappings.declared.queue.polls = 2;
    let submitted = [look(0x80), accepts(0x80, SYNC, &[]), moves(0xa0)].concat();
    let polls = |creadr: &[u64]| {
        let reads = creadr.iter().map(|creadr| reads(Register::Creadr, *creadr));
        [submitted.clone(), reads.collect()]
    };
    let consumed = |mut events: Vec<Event>| {
        events.push(Event::Consumed { its: 0, offset: 0x80, words: SYNC.encode(), error: None });
        events.push(reads(Register::Creadr, 0xa0));
        events
    };
    world.clone().posts(0xa0, &polls(&[0x80, 0x80]));
    world.clone().posts(0xa0, &[consumed(submitted.clone())]);
    world.clone().posts(0xa0, &[consumed(polls(&[0x80]).concat())]);
    // CREADR as it was between two commands of which both are consumed by now.
    let two = [look(0x80), syncs(0x80, 2), moves(0xc0)].concat();
    let done = |offset| Event::Consumed { its: 0, offset, words: SYNC.encode(), error: None };
    let late = vec![done(0x80), done(0xa0), reads(Register::Creadr, 0xa0)];
    world.clone().posts(0xc0, &[two, late, vec![reads(Register::Creadr, 0xc0)]]);
    for wrong in [&[][..], &[0x80], &[0x80; 3]] {
        world.wrong_post(0xa0, &polls(wrong), &rules::DIV_LOOK, "its0.polls");
    }
}

#[test]
fn what_is_in_flight_is_rolled_back_at_rest() {
    let mut world = guarded();
    let queue = &mut world.model.guarded[0].as_mut().unwrap().mappings.declared.queue;
    (queue.polls, queue.timeout) = (2, Timeout::RolledBack);
    let ctlr = |value| Event::DeviceWrite { address: ITS, size: AccessSize::Word, value };
    let mut polled = [look(0x80), accepts(0x80, mapd(2, 4, FREE), &[FREE]), moves(0xa0)].concat();
    polled.extend([reads(Register::Creadr, 0x80); 2]);
    polled.push(ctlr(0));
    let busy = [reads(Register::Ctlr, 0); 2].to_vec();
    let rests = vec![
        reads(Register::Ctlr, 0),
        reads(Register::Ctlr, 1 << 31),
        reads(Register::Cbaser, cbaser()),
        reads(Register::Creadr, 0x80),
    ];
    let back = [releases(&[FREE]), moves(0x80), vec![ctlr(1)]].concat();
    // The ITS never stops, and stays off.
    world.clone().posts(0xa0, &[polled.clone(), busy.clone()]);
    let kept = [polled.clone(), busy, back.clone()];
    world.wrong_post(0xa0, &kept, &rules::DIV_FORWARD, "its0.cwriter");
    let early = [polled.clone(), vec![reads(Register::Ctlr, 0)]];
    world.wrong_post(0xa0, &early, &rules::DIV_LOOK, "its0.polls");
    // EL2 did not see whether power was lost.
    let unseen = [polled.clone(), rests[..2].to_vec(), back.clone()];
    world.wrong_post(0xa0, &unseen, &rules::DIV_FORWARD, "its0.cwriter");
    for left_out in 0..back.len() {
        let mut events = back.clone();
        events.remove(left_out);
        let all = [polled.clone(), rests.clone(), events].concat();
        let played = world.clone().play(post(0xa0), DONE, &all);
        assert!(!played.findings.is_empty(), "{:?} is left out", back[left_out]);
    }
    world.posts(0xa0, &[polled, rests, back]);
    assert_eq!(records(&world), (1, 3));
    world.shows(CREADR, 0x81, &look(0x80));
}

/// P7, P10: a MAPD that stalled had no effect, so its record is free for what takes its place. It
/// can stall where its checks are left to the hardware.
#[test]
fn retry_of_a_mapd_reuses_the_record_that_it_held() {
    let mut world = guarded();
    let guarded = world.model.guarded[0].as_mut().unwrap();
    guarded.mappings.declared.queue.left_to_hardware = [Check::DeviceId].into_iter().collect();
    let wrong = mapd(u32::MAX, 4, FREE + 1);
    let both = [accepts(0x80, mapd(2, 4, FREE), &[FREE]), accepts(0xa0, wrong, &[FREE + 1])];
    world.posts(0xc0, &[look(0x80), both.concat(), moves(0xc0)]);
    world.consumes(0x80, &[mapd(2, 4, FREE)]);
    world.agree(ADVANCE, DONE, &[stalled(0xa0, wrong, Some(0x1_0801))]);
    assert_eq!(records(&world), (3, 3));
    let again = accepts(0xa0, mapd(3, 4, FREE + 2), &[FREE + 2]);
    let retried = [look(0xa1), again, releases(&[FREE + 1]), moves(0xc1)];
    world.posts(0xc1, &retried);
    assert_eq!(records(&world), (3, 3));
}

#[test]
fn itts_share_pages_and_a_remap_holds_both() {
    let mut world = guarded();
    let (old, new) = (mapd(2, 4, FREE), mapd(2, 4, FREE + 1));
    // Device 3's ITT is on the same page, which the host shared itself.
    calls(&mut world, Hypercall::HostShareHyp, FREE, &[page(PageChange::Share, FREE)]);
    let other = Command::Mapd { device_id: 3, size: 0, itt_address: at(FREE) + 0xf00, valid: true };
    let pinned = |offset, command: Command| {
        let words = command.encode();
        vec![copied(offset, words), page(PageChange::Pin, FREE), passed_on(offset, words)]
    };
    world.posts(0xc0, &[look(0x80), pinned(0x80, old), pinned(0xa0, other), moves(0xc0)]);
    assert_eq!(world.model.page(FREE).unwrap().pins, 2);
    world.consumes(0x80, &[old, other]);
    // No record is left: capacity 3.
    world.clone().posts(0xe0, &[look(0xc0), vec![copied(0xc0, new.encode())]]);
    let extra = [look(0xc0), accepts(0xc0, new, &[FREE + 1]), moves(0xe0)];
    world.wrong_post(0xe0, &extra, &rules::DIV_COMMAND, "MAPD");
    world.posts(0xe0, &[look(0xc0), accepts(0xc0, unmapd(3), &[]), moves(0xe0)]);
    world.consumes(0xc0, &[unmapd(3)]);
    let unpin = vec![page(PageChange::Unpin, FREE)];
    let remap = [look(0xe0), unpin.clone(), accepts(0xe0, new, &[FREE + 1]), moves(0x100)];
    world.posts(0x100, &remap);
    assert_eq!(world.model.page(FREE).unwrap().pins, 1);
    world.consumes(0xe0, &[new]);
    // The host's own share stays.
    let unshared = [look(0x100), releases(&[FREE])].concat();
    world.wrong_read(CREADR, 0x100, &unshared, &rules::DIV_SHARED, "0x80400");
    world.shows(CREADR, 0x100, &[look(0x100), unpin].concat());
}

#[test]
fn level2_growth() {
    let world = guarded();
    let map = mapd(0x200, 4, FREE);
    let offered = |value| word_read(at(SHADOW_LEVEL1) + 8, value);
    let entry = Level1Entry::valid(at(FREE + 1)).0;
    let grown = |value| Event::WordWritten { address: at(LEVEL1) + 8, value, shared: false };
    let donate = page(PageChange::Donate, FREE + 1);
    let zero = Event::PageZeroed { page: FREE + 1 };
    let pass = [borrows(&[FREE]), vec![passed_on(0x80, map.encode())], moves(0xa0)].concat();
    let passing = |middle: &[Event]| [slot(map.encode(), middle), pass.clone()];
    let refused = |middle: &[Event]| [slot(map.encode(), middle)];
    let mut grown_world = world.clone();
    grown_world.posts(0xa0, &passing(&[offered(entry), donate, zero, grown(entry)]));
    // There now, for the next one and for the hardware.
    let next = accepts(0xa0, mapd(0x201, 4, FREE + 2), &[FREE + 2]);
    grown_world.posts(0xc0, &[look(0x80), next, moves(0xc0)]);
    grown_world.consumes(0x80, &[map]);
    let wrong: [(&[Event], &'static Rule); 6] = [
        (&[], &rules::DIV_GROWTH),
        (&[offered(entry)], &rules::DIV_GROWTH),
        (&[offered(entry), donate, grown(entry)], &rules::DIV_GROWTH),
        (&[offered(entry), donate, zero, grown(entry | 1 << 55)], &rules::DIV_ENTRY),
        (&[offered(entry | 2), donate, zero, grown(entry)], &rules::DIV_GROWTH),
        (&[offered(entry & !Baser::VALID), donate, zero, grown(entry)], &rules::DIV_GROWTH),
    ];
    for (middle, rule) in wrong {
        world.wrong_post(0xa0, &passing(middle), rule, "level1 entry");
    }
    let valid = |page| Level1Entry::valid(at(page)).0;
    let malformed = [0, entry & !Baser::VALID, entry | 2];
    // P12: growth may stay if the command is refused after it.
    let pages = [ITT, QUEUE, 0x7ffff, FREE].map(valid);
    for unusable in malformed.into_iter().chain(pages) {
        world.clone().posts(0xa0, &refused(&[offered(unusable)]));
    }
    // A command that is refused anyway needs no growth.
    world.clone().posts(0xa0, &[slot(mapd(0x200, 4, QUEUE).encode(), &[offered(entry)])]);
    let stray = [look(0x80), vec![grown(entry)]].concat();
    world.wrong_read(CREADR, 0x80, &stray, &rules::DIV_GROWTH, "level-1");
}

#[test]
fn an_injected_failure_refuses_the_command_and_is_undone() {
    let mut world = guarded();
    let shared = [page(PageChange::Share, FREE), fails(PageChange::Pin, FREE), Event::Injected];
    let pin_fails = slot(mapd(2, 4, FREE).encode(), &shared);
    world.clone().posts(0xa0, &[pin_fails.clone(), vec![page(PageChange::Unshare, FREE)]]);
    let left = std::slice::from_ref(&pin_fails);
    world.wrong_post(0xa0, left, &rules::DIV_SHARED, "page 0x80400");
    // P13: a give back that fails leaves the page as it is, for good or until the host unshares it.
    world.posts(0xa0, &[pin_fails, vec![fails(PageChange::Unshare, FREE), Event::Injected]]);
    calls(&mut world, Hypercall::HostUnshareHyp, FREE, &[page(PageChange::Unshare, FREE)]);
}

#[test]
fn a_failing_share_of_a_shared_page_changes_nothing() {
    let mut world = guarded();
    calls(&mut world, Hypercall::HostShareHyp, FREE, &[page(PageChange::Share, FREE)]);
    let map = mapd(2, 4, FREE).encode();
    let pin = [page(PageChange::Pin, FREE), passed_on(0x80, map)];
    let fails = [fails(PageChange::Share, FREE), Event::Injected];
    world.posts(0xa0, &[slot(map, &[fails, pin].concat()), moves(0xa0)]);
}

#[test]
fn at_most_16_event_id_bits() {
    let mut machine = machine();
    machine.configurations[0].event_id_bits = 20;
    guard(World::booted_on(machine)).posts(0xa0, &[slot(mapd(2, 16, FREE).encode(), &[])]);
}

#[test]
fn retry_before_the_refused_slot_is_reached_has_no_effect() {
    let mut world = guarded();
    let bad = vec![copied(0xa0, mapd(2, 16, FREE).encode())];
    world.posts(0xc0, &[look(0x80), syncs(0x80, 1), bad.clone(), moves(0xa0)]);
    world.posts(0xc1, &[look(0x80)]);
    let again = [look(0x80), syncs(0xa0, 1), moves(0xc0)];
    world.wrong_post(0xc1, &again, &rules::DIV_FORWARD, "cwriter");
    world.consumes(0x80, &[SYNC]);
    world.posts(0xc1, &[look(0xa0), bad]);
}

#[test]
fn stalled_shows_only_at_the_refused_slot() {
    let mut world = guarded();
    let bad = vec![copied(0xa0, mapd(2, 16, FREE).encode())];
    world.posts(0xc0, &[look(0x80), syncs(0x80, 1), bad, moves(0xa0)]);
    world.shows(CREADR, 0x80, &look(0x80));
    world.consumes(0x80, &[SYNC]);
    world.shows(CREADR, 0xa1, &look(0xa0));
}

#[test]
fn commands_run_when_they_are_consumed() {
    let prompt = Freedoms::ALL.fix(Effects::AtOnce);
    let mut world = guard(World::allowing(machine(), prompt).boot());
    let map = mapti(1, 9, 8201, 1);
    world.posts(0xa0, &[look(0x80), accepts(0x80, map, &[]), moves(0xa0)]);
    assert_eq!(world.translation(1, 9), None);
    world.consumes(0x80, &[map]);
    assert!(world.model.hardware.touched().contains(&(0, 1, 9)));
    assert_eq!(world.translation(1, 9), Some((8201, Some(1))));
}
