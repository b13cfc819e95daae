use its_declaration::Redistributors;
use its_machine::{LockName, Part};

use crate::testing::*;

/// A CPU posts commands.
fn posts(cpu: u8, offset: u64) -> Part {
    let direction = its_machine::Direction::Write(offset);
    let action = Action::Device { cpu, address: ITS + 0x88, size: DOUBLE, direction };
    Part { agent: cpu, action, outcome: DONE }
}

const LOCK: Event = Event::Acquired(LockName::Its(0));
const UNLOCK: Event = Event::Released(LockName::Its(0));
const TURNS: [Event; 2] = [Event::Turn { agent: 0 }, Event::Turn { agent: 1 }];

/// CPU 0 posts one command, and CPU 1 the next in its turn.
fn two_posts(before: &[Event], after: &[Event]) -> Judgement {
    let first = [look(0x80), accepts(0x80, mapd(2, 4, FREE), &[FREE])].concat();
    let second = [look(0x80), accepts(0xa0, SYNC, &[]), moves(0xc0)].concat();
    let (begin, end) = ([TURNS[0], LOCK], [UNLOCK, Event::Over, TURNS[0]]);
    let turn = [UNLOCK, TURNS[1], LOCK];
    let events = [&begin, &first[..], before, &turn, &second, &end, after, &[Event::Over]];
    // CPU 1's ends first.
    guarded().model.judge_race(&[posts(1, 0xc0), posts(0, 0xa0)], &events.concat())
}

#[test]
fn two_posts_one_after_the_other() {
    let judgement = two_posts(&moves(0xa0), &[]);
    assert_eq!(judgement.findings, []);
    assert_eq!(judgement.judged, 2);
}

/// The second CPU's CWRITER is overwritten by the first's.
#[test]
fn cwriter_must_not_go_back() {
    let judgement = two_posts(&[], &moves(0xa0));
    let [only] = &judgement.findings[..] else {
        panic!("{:#?}", judgement.findings);
    };
    assert_eq!((only.rule, &*only.seen), (&rules::DIV_FORWARD, "0xa0"));
}

/// A page that CPU 1 shares or not while EL2 judges MAPD.
fn shared_meanwhile(before: bool, accepted: bool) -> Judgement {
    let action = hypercall(1, Hypercall::HostShareHyp, [FREE, 0, 0, 0]);
    let share = Part { agent: 1, action, outcome: x1(if before { 0 } else { -1 }) };
    let shared = page(PageChange::Share, FREE);
    let refused = refuses(PageChange::Share, FREE, Errno::Eperm);
    let meanwhile = |by_host| vec![TURNS[1], by_host, Event::Over, TURNS[0]];
    let words = mapd(2, 4, FREE).encode();
    let middle = if before {
        [meanwhile(shared), vec![refused, page(PageChange::Pin, FREE)]]
    } else {
        [borrows(&[FREE]), meanwhile(refused)]
    };
    let passed =
        if accepted { [vec![passed_on(0x80, words)], moves(0xa0)].concat() } else { Vec::new() };
    let begin = [vec![TURNS[0], LOCK], look(0x80), vec![copied(0x80, words)]].concat();
    let events = [begin, middle.concat(), passed, vec![UNLOCK, Event::Over]].concat();
    guarded().model.judge_race(&[share, posts(0, 0xa0)], &events)
}

#[test]
fn a_page_may_be_shared_before_or_after_it_is_borrowed() {
    for before in [true, false] {
        assert_eq!(shared_meanwhile(before, true).findings, [], "{before}");
        assert!(!shared_meanwhile(before, false).findings.is_empty(), "{before}");
    }
}

/// CPU 1's set-up of redistributors finds CPU 0's done, though it comes back first.
#[test]
fn redistributors_are_set_up_once_in_a_race() {
    let call = |agent, result| {
        let action = hypercall(agent, Hypercall::InitRedistributorEmulation, [0; 4]);
        Part { agent, action, outcome: x1(result) }
    };
    let lock = [LockName::Redistributors, LockName::SetUp];
    for name in lock {
        let [take, give] = [Event::Acquired(name), Event::Released(name)];
        let [first, second] = LPI_PENDING;
        let tables = borrows(&[LPI_CONFIGURATION, LPI_CONFIGURATION + 1, first, second]);
        let events = [
            &[TURNS[0], take][..],
            &tables,
            &[give, TURNS[1], take, give, Event::Over, TURNS[0], Event::Over],
        ];
        let mut world = World::booted();
        world.model.declared.traps.redistributors = Redistributors::ByHypercall;
        let eopnotsupp = Errno::result(Err(Errno::Eopnotsupp));
        let parts = [call(1, eopnotsupp), call(0, 0)];
        let judgement = finalized(world).model.judge_race(&parts, &events.concat());
        assert_eq!(judgement.findings, [], "{name:?}");
    }
}

/// EL2 takes the lock of the ITS twice in a trap, and another CPU's trap comes in between.
fn two_sections(first: &[Event], second: &[Event]) -> Judgement {
    let (size, direction) = (AccessSize::Word, its_machine::Direction::Read);
    let action = Action::Device { cpu: 1, address: ITS, size, direction };
    let reads = Part { agent: 1, action, outcome: Outcome::Value(1) };
    let (begin, between) = ([TURNS[0], LOCK], [UNLOCK, TURNS[1], LOCK]);
    let trap = [reads_ctlr(), UNLOCK, Event::Over, TURNS[0], LOCK];
    let end = [UNLOCK, Event::Over];
    let events = [&begin, first, &between, &trap, second, &end].concat();
    guarded().model.judge_race(&[reads, posts(0, 0xa0)], &events)
}

fn reads_ctlr() -> Event {
    reads(Register::Ctlr, 1)
}

#[test]
fn a_trap_takes_effect_in_its_last_section() {
    let work = [accepts(0x80, mapd(2, 4, FREE), &[FREE]), moves(0xa0)].concat();
    let whole = [look(0x80), work.clone()].concat();
    for (first, second) in [(&[][..], &whole[..]), (&look(0x80), &work), (&whole, &[])] {
        let judgement = two_sections(first, second);
        assert_eq!(judgement.findings, [], "{} events first", first.len());
        assert_eq!(judgement.judged, 1);
    }
    assert!(!two_sections(&look(0x80), &moves(0xa0)).findings.is_empty());
}
