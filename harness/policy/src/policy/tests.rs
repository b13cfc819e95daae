use crate::testing::*;

/// Booted, and a command stored at 0x80.
fn stored(command: Command) -> World {
    let mut world = World::booted();
    world.stores_command(0x80, command);
    world
}

#[test]
fn boots_and_is_set_up() {
    let world = guarded();
    assert_eq!(world.model.phase(0), Phase::Guarded);
    let start = queues(&world);
    assert_eq!((start.c, start.j, start.w), (0x80, 0x80, 0x80));
    assert_eq!(records(&world), (1, 3));
    assert!(world.model.is_settled(0));
    assert_eq!(world.model.hardware.mapped(0), [(1, 4)]);
    assert_eq!(world.model.page(QUEUE), Some(PageState::EL2));
    assert!(world.model.page(ITT).unwrap().is_held());
}

#[test]
fn host_accesses_after_finalize() {
    let (mut open, mut closing) = (World::booted(), closing());
    let load = |page| Action::Load { cpu: 1, address: at(page) };
    open.agree(load(0x80000), Outcome::Value(0), &[]);
    closing.agree(load(0x80000), Outcome::Refused, &[]);
    closing.differ(load(0x80000), Outcome::Value(0), &[], &rules::DIV_ACCESS, "0x80000");
    closing.differ(load(FREE), Outcome::Refused, &[], &rules::DIV_ACCESS, "0x80400");
    let guarded = guarded();
    let store = |page| Action::Store { cpu: 0, address: at(page), value: 1 };
    for refused in [QUEUE, LEVEL1, LEVEL2, COLLECTIONS, PRIVATE, DESCRIPTOR] {
        guarded.wrong(store(refused), &[], &rules::DIV_ACCESS, "page");
    }
    for allowed in [SHADOW, SHADOW_LEVEL1, ITT, LIST] {
        guarded.differ(store(allowed), Outcome::Refused, &[], &rules::DIV_ACCESS, "page");
    }
}

#[test]
fn page_events_must_be_as_the_ghost_says() {
    let world = guarded();
    let call = hypercall(0, Hypercall::HostShareHyp, [QUEUE, 0, 0, 0]);
    let shared = page(PageChange::Share, QUEUE);
    world.clone().agree(call, x1(-1), &[refuses(PageChange::Share, QUEUE, Errno::Eperm)]);
    world.differ(call, x1(-1), &[shared], &PKVM, "0x80100.Share");
    let wrong = [fails(PageChange::Share, QUEUE), Event::Injected];
    world.differ(call, x1(-12), &wrong, &rules::DIV_HYPERCALL, "x1");
    let stray = [page(PageChange::Share, FREE)];
    world.wrong(ADVANCE, &stray, &rules::DIV_SHARED, "page 0x80400.host");
}

#[test]
fn poison() {
    let world = guarded();
    let judgement = world.clone().play(ADVANCE, Outcome::Stopped, &[]);
    assert_eq!(judgement.poisoned, Some("EL2 did not return"));
    world.poisons(ADVANCE, &[Event::StaleRead { address: 0 }]);
}

#[test]
fn creadr_may_be_read_just_before_a_command_is_consumed() {
    let mut world = stored(SYNC);
    // Consumed before the write that submitted it completes.
    let done = [consumed(0x80, SYNC)];
    world.clone().agree(post(0xa0), DONE, &done);
    world.agree(post(0xa0), DONE, &[]);
    for either in [0x80, 0xa0] {
        world.clone().shows(ITS + 0x90, either, &done);
    }
    world.wrong_read(ITS + 0x90, 0xc0, &done, &rules::ARCH_REGISTER, "");
}

#[test]
fn a_stall_and_a_retry_in_one_action_leave_either() {
    let bad = mapd(2, 16, FREE);
    let mut world = stored(bad);
    let event = [stalled(0x80, bad, Some(0x1_0802))];
    world.agree(post(0xa1), DONE, &event);
    world.clone().agree(ADVANCE, DONE, &event);
    world.clone().shows(ITS + 0x90, 0x80, &[]);
    world.shows(ITS + 0x90, 0x81, &[]);
    world.wrong_read(ITS + 0x90, 0x80, &[], &rules::ARCH_REGISTER, "its0.creadr");
    world.wrong(ADVANCE, &event, &rules::ARCH_FETCH, "its0.fetch");
    // In actions of their own there is no doubt.
    world.agree(post(0xa1), DONE, &[]);
    world.agree(ADVANCE, DONE, &event);
    world.wrong_read(ITS + 0x90, 0x80, &[], &rules::ARCH_REGISTER, "its0.creadr");
}

#[test]
fn nothing_is_said_of_hardware_once_it_is_poisoned() {
    let mut world = World::new(machine());
    let on = write(ITS, AccessSize::Word, 1);
    let judgement = world.play(on, DONE, &[consumed(0, SYNC)]);
    assert!(judgement.poisoned.is_some());
    assert_eq!(judgement.findings, []);
}
