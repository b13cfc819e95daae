use its_machine::{LockName, Part};

use crate::testing::*;

const CWRITER: u64 = ITS + 0x88;

fn post(cpu: u8, offset: u64) -> Part {
    Part {
        agent: cpu,
        action: Action::Device {
            cpu,
            address: CWRITER,
            size: AccessSize::Double,
            direction: its_machine::Direction::Write(offset),
        },
        outcome: Outcome::Done,
    }
}

fn turn(agent: u8) -> Vec<Event> {
    vec![Event::Turn { agent }]
}

fn lock() -> Vec<Event> {
    vec![Event::Acquired(LockName::Its(0))]
}

fn unlock() -> Vec<Event> {
    vec![Event::Released(LockName::Its(0))]
}

fn moves(offset: u64) -> Vec<Event> {
    vec![writes(Register::Cwriter, offset)]
}

fn over() -> Vec<Event> {
    vec![Event::Over]
}

/// CPU 0 posts one command, CPU 1 the next, and `end` is how they end.
fn two_posts(end: impl IntoIterator<Item = Vec<Event>>) -> Judgement {
    let mut world = World::guarded();
    let first = [turn(0), lock(), look(0x80), accepts(0x80, mapd(2, 4, FREE), &[FREE])];
    let events = join(first.into_iter().chain(end));
    // CPU 1's ends first.
    let ended = [post(1, 0xc0), post(0, 0xa0)];
    world.model.judge_race(&ended, &events)
}

fn second() -> [Vec<Event>; 3] {
    [lock(), look(0x80), accepts(0xa0, SYNC, &[])]
}

#[test]
fn two_posts_one_after_the_other() {
    let [locked, looks, accepted] = second();
    let judgement = two_posts([
        moves(0xa0),
        unlock(),
        turn(1),
        locked,
        looks,
        accepted,
        moves(0xc0),
        unlock(),
        over(),
        turn(0),
        over(),
    ]);
    assert_eq!(judgement.findings, []);
    assert_eq!(judgement.judged, 2);
}

/// The second CPU's CWRITER is overwritten by the first's.
#[test]
fn cwriter_must_not_go_back() {
    let [locked, looks, accepted] = second();
    let judgement = two_posts([
        unlock(),
        turn(1),
        locked,
        looks,
        accepted,
        moves(0xc0),
        unlock(),
        over(),
        turn(0),
        moves(0xa0),
        over(),
    ]);
    let [only] = &judgement.findings[..] else {
        panic!("{:#?}", judgement.findings);
    };
    assert_eq!((only.rule, &*only.seen), (&rules::DIV_FORWARD, "0xa0"));
}

/// A page that CPU 1 shares or not while EL2 judges MAPD.
fn shared_meanwhile(before: bool, accepted: bool) -> Judgement {
    let mut world = World::guarded();
    let share = Part {
        agent: 1,
        action: hypercall(1, Hypercall::HostShareHyp, [FREE, 0, 0, 0]),
        outcome: Outcome::Returned { x0: 0, x1: if before { 0 } else { -1 } },
    };
    let shares = |result| Event::Page {
        change: PageChange::Share,
        pages: its_gic::geometry::Pages { first: FREE, count: 1 },
        result,
    };
    let by_host = match before {
        true => shares(Ok(())),
        false => shares(Err(Errno::Eperm)),
    };
    let meanwhile = [turn(1), vec![by_host], over(), turn(0)];
    let command = mapd(2, 4, FREE);
    let copy = vec![copied(0x80, command.encode())];
    let own = match before {
        true => vec![shares(Err(Errno::Eperm)), page(PageChange::Pin, FREE)],
        false => borrows(&[FREE]),
    };
    let passed = match accepted {
        true => join([vec![passed_on(0x80, command.encode())], moves(0xa0)]),
        false => Vec::new(),
    };
    let begin = [turn(0), lock(), look(0x80), copy];
    let middle = match before {
        true => join([join(meanwhile), own]),
        false => join([own, join(meanwhile)]),
    };
    let events = join([join(begin), middle, passed, unlock(), over()]);
    world.model.judge_race(&[share, post(0, 0xa0)], &events)
}

#[test]
fn a_page_may_be_shared_before_or_after_it_is_borrowed() {
    for before in [true, false] {
        let right = shared_meanwhile(before, true);
        assert_eq!(right.findings, [], "{before}");
        let wrong = shared_meanwhile(before, false);
        assert!(!wrong.findings.is_empty(), "{before}");
    }
}
