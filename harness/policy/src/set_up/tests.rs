use its_declaration::Redistributors;
use its_gic::geometry::PageSize;

use crate::testing::*;

const LIVE: (u32, u32, u64) = (1, 7, at(ITT));

/// Set-up may return this.
fn gives(world: &World, result: i64, events: &[Event]) {
    world.clone().agree(set_up_call(), x1(result), events);
}

/// Set-up must not return this.
fn wrong(world: &World, result: i64, events: &[Event], rule: &'static Rule) {
    world.differ(set_up_call(), x1(result), events, rule, "x1");
}

/// Set-up may return this error, and must not return that.
fn fails_with(world: &World, error: i64, events: &[Event], other: i64) {
    gives(world, error, events);
    let rule = if other == 0 { &rules::DIV_SETUP } else { &rules::DIV_ERRNO };
    wrong(world, other, events, rule);
}

/// A right list cut before the first event that donates the queue, and undone but for the zeroed
/// private page.
fn stopped_before_s9(mut events: Vec<Event>) -> Vec<Event> {
    let queue = page(PageChange::Donate, QUEUE);
    let end = events.iter().position(|event| *event == queue).unwrap();
    events.truncate(end);
    let undone = [DESCRIPTOR, PRIVATE].map(|own| page(PageChange::Reclaim, own));
    [events, releases(&[LIST]), undone.to_vec()].concat()
}

/// A descriptor in which these words are others.
fn with_words(others: &[(u64, u64)]) -> Vec<(u64, u64)> {
    let mut words = descriptor();
    for (offset, value) in others {
        words.iter_mut().find(|word| word.0 == *offset).unwrap().1 = *value;
    }
    words
}

fn with_word(offset: u64, value: u64) -> Vec<(u64, u64)> {
    with_words(&[(offset, value)])
}

/// A set-up up to S9 with this descriptor.
fn described(words: &[(u64, u64)]) -> Vec<Event> {
    stopped_before_s9(set_up_with(words, &[LIVE]))
}

/// The same events with another in place of one.
fn replaced(mut events: Vec<Event>, old: Event, new: Event) -> Vec<Event> {
    *events.iter_mut().find(|event| **event == old).unwrap() = new;
    events
}

/// The host moved what one register names, as another value says; the ITS is off.
fn moved(register: Register, value: u64) -> World {
    let mut world = World::booted();
    world.agree(write(ITS, AccessSize::Word, 0), DONE, &[]);
    world.agree(read(ITS, AccessSize::Word), Outcome::Value(1 << 31), &[]);
    world.writes(ITS + register.offset(), value);
    finalized(world)
}

/// A set-up up to S9 in which EL2 reads this of a register, and the descriptor says that.
fn set_up_reading(register: Register, value: u64, words: &[(u64, u64)]) -> Vec<Event> {
    let mut events = described(words);
    let own = ITS + register.offset();
    events.retain(|event| match event {
        Event::DeviceRead { address, .. } => !matches!(address - ITS, 0 | 0x88 | 0x90),
        _ => true,
    });
    for event in &mut events {
        if matches!(event, Event::DeviceRead { address, .. } if *address == own) {
            *event = reads(register, value);
        }
    }
    events
}

#[test]
fn s1_to_s5() {
    let (private, descriptor) = (linear(PRIVATE), linear(DESCRIPTOR));
    let mut world = World::booted();
    let check = |world: &World, arguments, error: i64| {
        let call = hypercall(0, Hypercall::InitItsEmulation, arguments);
        world.clone().agree(call, x1(error), &[]);
        for other in [0, -1, -16, -19, -22, -95].into_iter().filter(|other| *other != error) {
            let rule = if other == 0 { &rules::DIV_SETUP } else { &rules::DIV_ERRNO };
            world.differ(call, x1(other), &[], rule, "x1");
        }
    };
    check(&world, [0; 4], -95);
    calls(&mut world, Hypercall::ProtFinalize, 0, &[]);
    check(&world, [0; 4], -16);
    let mut world = closing();
    check(&world, [ITS + 4096, private, descriptor, 0], -19);
    for (private, descriptor, count) in [
        (private + 8, descriptor, 1),
        (private, descriptor + 8, 1),
        (at(PRIVATE), descriptor, 1),
        (private, private, 1),
        (private, descriptor, 2),
        (private, descriptor, 1025),
        (private, descriptor, u64::MAX),
        (linear(0x80fff), descriptor, 2),
        (private, linear(0x81000), 1),
    ] {
        check(&world, [ITS, private, descriptor, count], -22);
    }
    world.agree(set_up_call(), x1(0), &set_up());
    check(&world, [ITS, private, descriptor, 0], -95);
}

#[test]
fn s6_pages_that_cannot_be_had() {
    let mut world = closing();
    calls(&mut world, Hypercall::HostShareHyp, PRIVATE, &[page(PageChange::Share, PRIVATE)]);
    fails_with(&world, -1, &[refuses(PageChange::Donate, PRIVATE, Errno::Eperm)], -22);
    // A list in EL2's memory; one past the end of RAM.
    for (offset, value) in [(0x20, linear(0x80000)), (0x18, 1 << 60)] {
        let mut events = set_up_with(&with_word(offset, value), &[]);
        events.retain(|event| !matches!(event, Event::Page { .. }));
        fails_with(&closing(), -1, &events, 0);
    }
}

#[test]
fn s7_every_field_that_must_agree() {
    let world = closing();
    for (offset, value) in [
        (0x00, linear(SHADOW)),
        (0x00, at(QUEUE)),
        (0x10, 0x2000),
        (0x40, linear(SHADOW)),
        (0x50, baser(0) & !Baser::VALID),
        (0x50, baser(0) & !(1 << 62)),
        (0x50, baser(0) ^ 1 << 48),
        (0x58, 0x1000_0000_0001),
        (0x58, 0x4000_0000_0000),
        (0x58, 0x1000_0000_0040),
        (0x60, linear(SHADOW)),
        (0x90, Baser::VALID),
    ] {
        let events = described(&with_word(offset, value));
        fails_with(&world, -22, &events, -16);
        let judgement = world.clone().play(set_up_call(), x1(0), &events);
        assert_eq!(judgement.findings[0].expected, "-EINVAL (S7)", "{offset:#x}");
    }
    let twice = set_up_with(&with_word(0x18, 2), &[LIVE, LIVE]);
    gives(&world, -22, &stopped_before_s9(twice));
    // Attributes and Page_Size need not agree: the page size is described apart.
    let attributes = with_word(0x50, baser(0) ^ 1 << 9 | 7 << 59);
    gives(&world, 0, &set_up_with(&attributes, &[LIVE]));
}

#[test]
fn s7_a_queue_is_aligned_to_64k() {
    for pages in [1, 2, 4, 8, 15] {
        let value = cbaser() ^ (pages * PAGE_BYTES);
        let world = moved(Register::Cbaser, value);
        let words = with_word(0x00, linear(QUEUE + pages));
        fails_with(&world, -22, &set_up_reading(Register::Cbaser, value, &words), -16);
        // Hardware that drops these bits has an aligned queue: then S8 finds it off.
        let dropped = set_up_reading(Register::Cbaser, cbaser(), &descriptor());
        let dropping = set_up_reading(Register::Cbaser, cbaser(), &words);
        let off = [dropped, vec![reads(Register::Ctlr, 1 << 31)]].concat();
        let judged = |events: &[Event], errno| {
            let mut world = world.clone();
            world.model.hardware.its[0].freedoms = Freedoms::ALL;
            world.play(set_up_call(), x1(errno), events).findings.is_empty()
        };
        assert!(judged(&off, -16) && !judged(&off, -22), "{pages}");
        assert!(judged(&dropping, -22), "{pages}");
    }
}

#[test]
fn s7_a_device_that_is_live_has_a_table() {
    let value = baser(0) & !Baser::VALID;
    let events = set_up_reading(Register::Baser(0), value, &with_word(0x50, value));
    fails_with(&moved(Register::Baser(0), value), -22, &events, -16);
}

#[test]
fn s7_a_table_is_aligned_to_its_page() {
    let mut machine = machine();
    machine.configurations[0].page_size = PageSize::K16;
    let value = baser(1) | 1 << 8 | 0x3000;
    let mut world = World::new(machine);
    world.writes(ITS + 0x80, cbaser());
    world.writes(ITS + 0x108, value);
    let words = with_words(&[(0x70, value), (0x78, 0x4000_0000_0002), (0x50, 0), (0x18, 0)]);
    let events = set_up_reading(Register::Baser(1), value, &words);
    let none = reads(Register::Baser(0), 1 << 56 | 7 << 48 | 1 << 8);
    let events = replaced(events, reads(Register::Baser(0), baser(0)), none);
    fails_with(&finalized(world), -22, &events, -16);
}

#[test]
fn s8_a_queue_that_is_not_idle() {
    let mut world = World::booted();
    world.writes(ITS + 0x88, 0xa0);
    let world = finalized(world);
    let (idle, ahead) = (reads(Register::Cwriter, 0x80), reads(Register::Cwriter, 0xa0));
    let right = stopped_before_s9(set_up());
    fails_with(&world, -16, &replaced(right.clone(), idle, ahead), 0);
    // Empty but disabled.
    let mut off = World::booted();
    off.agree(write(ITS, AccessSize::Word, 0), DONE, &[]);
    let [on, cleared] = [1, 0].map(|ctlr| reads(Register::Ctlr, ctlr));
    gives(&finalized(off), -16, &replaced(right, on, cleared));
    // A wrong descriptor comes first.
    let mut events = described(&with_word(0x10, 0));
    events.retain(|event| *event != idle);
    wrong(&world, -16, &events, &rules::DIV_ERRNO);
}

#[test]
fn s9_records_and_pages() {
    let mut world = closing();
    let four = [1, 2, 3, 4].map(|id| (id, 7, at(ITT) + u64::from(id - 1) * 0x800));
    let events = stopped_before_s9(set_up_with(&with_word(0x18, 4), &four));
    fails_with(&world, -28, &events, -1);
    // The queue is on a shared page.
    calls(&mut world, Hypercall::HostShareHyp, QUEUE, &[page(PageChange::Share, QUEUE)]);
    fails_with(&world, -1, &stopped_before_s9(set_up()), 0);
}

#[test]
fn success_needs_every_reading_and_every_page() {
    let world = closing();
    let right = set_up();
    for (index, event) in right.iter().enumerate() {
        let needed = match event {
            // Level-1 entries 128 and up are of no DeviceID.
            Event::WordRead { address, .. }
                if (at(LEVEL1) + 0x400..at(LEVEL2)).contains(address) =>
            {
                false
            }
            // Tables that are not there: only that they are not Valid matters.
            Event::WordRead { address, .. }
                if (at(DESCRIPTOR)..at(DESCRIPTOR + 1)).contains(address) =>
            {
                let offset = address % 4096;
                offset < 0x80 && offset != 0x68 || offset % 0x20 == 0x10
            }
            Event::DeviceRead { address, .. } => !matches!(address - ITS, 0x80 | 0x88),
            Event::PageZeroed { .. } => false,
            _ => true,
        };
        let mut events = right.clone();
        events.remove(index);
        let judgement = world.clone().play(set_up_call(), x1(0), &events);
        let rule = judgement.findings.first().map(|first| first.rule);
        let wanted = match event {
            Event::Page { .. } => !judgement.all().is_empty(),
            _ => rule == Some(&rules::DIV_SETUP),
        };
        assert_eq!(wanted, needed, "{event:x?} {rule:?}");
    }
}

#[test]
fn zeroes_that_were_scanned_are_read() {
    let world = closing();
    let zeroes = at(LEVEL1) + 8..at(LEVEL2);
    let mut events = set_up();
    events.retain(
        |event| !matches!(event, Event::WordRead { address, .. } if zeroes.contains(address)),
    );
    wrong(&world, 0, &events, &rules::DIV_SETUP);
    let (address, bytes) = (at(LEVEL1) + 8, 0x3f8);
    let scanned = |bytes| [vec![Event::Scanned { address, bytes }], events.clone()].concat();
    gives(&world, 0, &scanned(bytes));
    wrong(&world, 0, &scanned(bytes - 8), &rules::DIV_SETUP);
}

#[test]
fn a_level2_table_of_no_device_id_is_donated_if_it_was_read() {
    let world = closing();
    let address = at(LEVEL1) + 8 * 200;
    let entry = word_read(address, Level1Entry::valid(at(FREE)).0);
    let mut events = replaced(set_up(), word_read(address, 0), entry);
    let path = "page 0x80400.host";
    world.differ(set_up_call(), x1(0), &events, &rules::DIV_OWNERSHIP, path);
    events.push(page(PageChange::Donate, FREE));
    gives(&world, 0, &events);
}

#[test]
fn an_injected_failure_gives_eperm_and_is_undone() {
    let world = closing();
    let failed = [fails(PageChange::Donate, DESCRIPTOR), Event::Injected];
    let first = set_up()[..1].to_vec();
    let mut events = [first.clone(), failed.to_vec()].concat();
    world.differ(set_up_call(), x1(-1), &events, &rules::DIV_OWNERSHIP, "page 0x80140");
    events.push(page(PageChange::Reclaim, PRIVATE));
    fails_with(&world, -1, &events, -12);
    // Trying again is not what EL2 does.
    let again = [first, failed.to_vec(), set_up()[1..].to_vec()].concat();
    wrong(&world, 0, &again, &rules::DIV_SETUP);
}

#[test]
fn a_list_that_is_not_true_poisons() {
    let events = set_up_with(&descriptor(), &[(2, 7, at(ITT))]);
    let judgement = closing().play(set_up_call(), x1(0), &events);
    assert_eq!(judgement.findings, []);
    assert!(judgement.poisoned.is_some());
}

#[test]
fn redistributors_that_share_a_table_pin_it_once_or_each() {
    let world = closing();
    let pin = page(PageChange::Pin, LPI_CONFIGURATION);
    for (more, right) in [(0, true), (1, true), (2, false)] {
        let events = [set_up(), vec![pin; more]].concat();
        let judgement = world.clone().play(set_up_call(), x1(0), &events);
        assert_eq!(judgement.findings.is_empty(), right);
    }
    world.wrong(write(ITS, AccessSize::Word, 0), &[pin], &PKVM, "Pin");
}

#[test]
fn more_its_than_el2_guards_are_out_of_reach() {
    const FRAMES: [u64; 5] = [ITS, 0x10_0000, 0x20_0000, 0x30_0000, 0x40_0000];
    let machine = Machine { its: &FRAMES, ..machine() };
    let world = finalized(World::booted_on(machine));
    let register = |its: usize| FRAMES[its] + Register::Cbaser.offset();
    world.clone().shows(register(4), 0, &[]);
    world.clone().wrong_read(register(4), cbaser(), &[], &rules::DIV_ZERO, "cbaser");
    for (its, errno, other) in
        [(3, Errno::Einval, Errno::Enodev), (4, Errno::Enodev, Errno::Einval)]
    {
        // Private pages and descriptor are no memory.
        let call = hypercall(0, Hypercall::InitItsEmulation, [FRAMES[its], 0, 0, 1]);
        let x1 = |errno| x1(Errno::result(Err(errno)));
        world.clone().agree(call, x1(errno), &[]);
        world.differ(call, x1(other), &[], &rules::DIV_ERRNO, "x1");
    }
}

/// A world whose emulation guards redistributors by a hypercall of their own, before boot.
fn apart() -> World {
    let mut world = World::booted();
    world.model.declared.traps.redistributors = Redistributors::ByHypercall;
    world
}

/// The borrowing of all tables of redistributors.
fn lpi_tables() -> Vec<Event> {
    let [first, second] = LPI_PENDING;
    borrows(&[LPI_CONFIGURATION, LPI_CONFIGURATION + 1, first, second])
}

const SET_UP_REDISTRIBUTORS: Hypercall = Hypercall::InitRedistributorEmulation;

#[test]
fn redistributors_are_set_up_by_set_up_of_an_its() {
    let call = hypercall(0, SET_UP_REDISTRIBUTORS, [0; 4]);
    for mut world in [World::booted(), closing(), guarded()] {
        world.differ(call, x1(0), &[], &rules::DIV_SETUP, "x1");
        world.agree(call, x1(Errno::result(Err(Errno::Eopnotsupp))), &[]);
    }
}

#[test]
fn redistributors_may_have_a_set_up_of_their_own() {
    let call = hypercall(0, SET_UP_REDISTRIBUTORS, [0; 4]);
    let x1_of = |errno| x1(Errno::result(Err(errno)));
    apart().agree(call, x1_of(Errno::Eopnotsupp), &[]);
    apart().differ(call, x1_of(Errno::Ebusy), &[], &rules::DIV_ERRNO, "x1");
    let mut world = apart();
    world.agree(hypercall(0, Hypercall::ProtFinalize, [0; 4]), x1(0), &[]);
    world.agree(call, x1_of(Errno::Ebusy), &[]);
    // Once, and by nothing else.
    let mut world = finalized(apart());
    assert!(!world.clone().play(call, x1(0), &[]).findings.is_empty());
    world.agree(call, x1(0), &lpi_tables());
    world.agree(call, x1_of(Errno::Eopnotsupp), &[]);
    assert!(!world.play(set_up_call(), x1(0), &set_up()).findings.is_empty());
    // A page cannot be borrowed.
    let events = [fails(PageChange::Share, LPI_CONFIGURATION), Event::Injected];
    finalized(apart()).agree(call, x1_of(Errno::Eperm), &events);
    finalized(apart()).differ(call, x1(0), &events, &rules::DIV_SETUP, "x1");
}

/// P2: nothing leaves the host before both are set up, in either order.
#[test]
fn donation_waits_for_redistributors_too() {
    let donate = hypercall(0, Hypercall::HostDonateGuest, [FREE, 0, 0, 0]);
    let refused = x1(Errno::result(Err(Errno::Eperm)));
    let call = hypercall(0, SET_UP_REDISTRIBUTORS, [0; 4]);
    let its = set_up().into_iter().filter(|event| !lpi_tables().contains(event));
    let steps = [(set_up_call(), its.collect::<Vec<_>>()), (call, lpi_tables())];
    for order in [[0, 1], [1, 0]] {
        let mut world = finalized(apart());
        for step in order {
            world.agree(donate, refused, &[]);
            world.differ(donate, x1(0), &[], &rules::DIV_HYPERCALL, "x1");
            let (call, events) = &steps[step];
            world.agree(*call, x1(0), events);
        }
        world.agree(donate, x1(0), &[]);
    }
}
