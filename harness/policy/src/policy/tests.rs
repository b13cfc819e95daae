use crate::testing::*;

const DONE: Outcome = Outcome::Done;

fn returned(x1: i64) -> Outcome {
    Outcome::Returned { x0: 0, x1 }
}

#[test]
fn boots_and_is_set_up() {
    let world = World::guarded();
    assert_eq!(world.model.phase(0), Phase::Guarded);
    let start = Position { c: 0x80, j: 0x80, w: 0x80 };
    assert_eq!(world.model.position(0), Some(start));
    assert_eq!(world.model.records(0), Some((1, 3)));
    assert!(world.model.is_settled(0));
    assert_eq!(world.model.hardware.mapped(0), [(1, 4)]);
    assert_eq!(world.model.page(QUEUE), Some(PageState::EL2));
    assert!(world.model.page(ITT).unwrap().is_held());
}

#[test]
fn host_accesses_after_finalize() {
    let (mut open, mut closing) = (World::booted(), World::closing());
    let load = |page| Action::Load { cpu: 1, address: at(page) };
    open.agree(load(0x80000), Outcome::Value(0), &[]);
    closing.agree(load(0x80000), Outcome::Refused, &[]);
    closing.differ(load(0x80000), Outcome::Value(0), &[], &rules::DIV_ACCESS, "0x80000");
    closing.differ(load(FREE), Outcome::Refused, &[], &rules::DIV_ACCESS, "0x80400");
    let guarded = World::guarded();
    let store = |page| Action::Store { cpu: 0, address: at(page), value: 1 };
    for refused in [QUEUE, LEVEL1, LEVEL2, COLLECTIONS, PRIVATE, DESCRIPTOR] {
        guarded.differ(store(refused), DONE, &[], &rules::DIV_ACCESS, "page");
    }
    for allowed in [SHADOW, SHADOW_LEVEL1, ITT, LIST] {
        guarded.differ(store(allowed), Outcome::Refused, &[], &rules::DIV_ACCESS, "page");
    }
}

#[test]
fn page_events_must_be_as_the_ghost_says() {
    let world = World::guarded();
    let share = |result| Event::Page {
        change: PageChange::Share,
        pages: Pages { first: QUEUE, count: 1 },
        result,
    };
    let call = hypercall(0, Hypercall::HostShareHyp, [QUEUE, 0, 0, 0]);
    let eperm = Err(Errno::Eperm);
    world.clone().agree(call, returned(-1), &[share(eperm)]);
    world.differ(call, returned(-1), &[share(Ok(()))], &crate::testing::PKVM, "0x80100.Share");
    let wrong = [share(Err(Errno::Enomem)), Event::Injected];
    world.differ(call, returned(-12), &wrong, &rules::DIV_HYPERCALL, "x1");
    let stray = [page(PageChange::Share, FREE)];
    world.differ(ADVANCE, DONE, &stray, &rules::DIV_SHARED, "page 0x80400.host");
}

#[test]
fn poison() {
    let world = World::guarded();
    let judgement = world.clone().play(ADVANCE, Outcome::Stopped, &[]);
    assert_eq!(judgement.poisoned, Some("EL2 did not return"));
    world.poisons(ADVANCE, &[Event::StaleRead { address: 0 }]);
}

#[test]
fn creadr_may_be_read_just_before_a_command_is_consumed() {
    let mut world = World::booted();
    let words = SYNC.encode();
    let (cpu, address) = (0, at(QUEUE) + 0x80);
    world.agree(Action::StoreCommand { cpu, address, words }, DONE, &[]);
    // Consumed before the write that posted it completes.
    let done = [consumed(0x80, SYNC)];
    let post = write(ITS + 0x88, AccessSize::Double, 0xa0);
    world.clone().agree(post, DONE, &done);
    world.agree(post, DONE, &[]);
    let creadr = read(ITS + 0x90, AccessSize::Double);
    for either in [0x80, 0xa0] {
        world.clone().agree(creadr, Outcome::Value(either), &done);
    }
    world.differ(creadr, Outcome::Value(0xc0), &done, &rules::ARCH_REGISTER, "");
}

#[test]
fn a_stall_and_a_retry_in_one_action_leave_either() {
    let mut world = World::booted();
    let bad = mapd(2, 16, FREE);
    let (cpu, address, words) = (0, at(QUEUE) + 0x80, bad.encode());
    world.agree(Action::StoreCommand { cpu, address, words }, DONE, &[]);
    let retry = write(ITS + 0x88, AccessSize::Double, 0xa1);
    let event = stalled(0x80, bad, Some(0x1_0802));
    world.agree(retry, DONE, &[event]);
    world.clone().agree(ADVANCE, DONE, &[event]);
    let creadr = read(ITS + 0x90, AccessSize::Double);
    world.clone().agree(creadr, Outcome::Value(0x80), &[]);
    world.agree(creadr, Outcome::Value(0x81), &[]);
    world.differ(creadr, Outcome::Value(0x80), &[], &rules::ARCH_REGISTER, "its0.creadr");
    world.differ(ADVANCE, DONE, &[event], &rules::ARCH_FETCH, "its0.fetch");
    // In actions of their own there is no doubt.
    world.agree(retry, DONE, &[]);
    world.agree(ADVANCE, DONE, &[event]);
    world.differ(creadr, Outcome::Value(0x80), &[], &rules::ARCH_REGISTER, "its0.creadr");
}

#[test]
fn nothing_is_said_of_hardware_once_it_is_poisoned() {
    let mut world = World::new(machine());
    let on = write(ITS, AccessSize::Word, 1);
    let judgement = world.play(on, DONE, &[consumed(0, SYNC)]);
    assert!(judgement.poisoned.is_some());
    assert_eq!(judgement.findings, []);
}
