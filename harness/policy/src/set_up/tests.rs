use crate::testing::*;

fn x1(x1: i64) -> Outcome {
    Outcome::Returned { x0: 0, x1 }
}

/// Undone but for the zeroed private page.
fn undo_early() -> Vec<Event> {
    vec![page(PageChange::Reclaim, DESCRIPTOR), page(PageChange::Reclaim, PRIVATE)]
}

/// A right list cut before the first event that donates the queue, and undone.
fn stopped_before_s9(mut events: Vec<Event>) -> Vec<Event> {
    let queue = page(PageChange::Donate, QUEUE);
    let end = events.iter().position(|event| *event == queue).unwrap();
    events.truncate(end);
    [events, releases(&[LIST]), undo_early()].concat()
}

fn with_word(offset: u64, value: u64) -> Vec<(u64, u64)> {
    let mut words = descriptor();
    words.iter_mut().find(|word| word.0 == offset).unwrap().1 = value;
    words
}

#[test]
fn s1_to_s5() {
    let call = |arguments| hypercall(0, Hypercall::InitItsEmulation, arguments);
    let (private, descriptor) = (linear(PRIVATE), linear(DESCRIPTOR));
    let mut world = World::booted();
    let check = |world: &World, arguments, errno: i64| {
        world.clone().agree(call(arguments), x1(errno), &[]);
        for other in [0, -1, -16, -19, -22, -95] {
            if other != errno {
                let rule: &'static Rule = match other {
                    0 => &rules::DIV_SETUP,
                    _ => &rules::DIV_ERRNO,
                };
                world.differ(call(arguments), x1(other), &[], rule, "x1");
            }
        }
    };
    check(&world, [0; 4], -95);
    world.agree(hypercall(0, Hypercall::ProtFinalize, [0; 4]), x1(0), &[]);
    check(&world, [0; 4], -16);
    let mut world = World::closing();
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
    let mut world = World::closing();
    let share = hypercall(0, Hypercall::HostShareHyp, [PRIVATE, 0, 0, 0]);
    world.agree(share, x1(0), &[page(PageChange::Share, PRIVATE)]);
    let refused = Event::Page {
        change: PageChange::Donate,
        pages: Pages { first: PRIVATE, count: 1 },
        result: Err(Errno::Eperm),
    };
    world.clone().agree(set_up_call(), x1(-1), &[refused]);
    world.differ(set_up_call(), x1(-22), &[refused], &rules::DIV_ERRNO, "x1");
    // A list in EL2's memory; one past the end of RAM.
    let world = World::closing();
    for (offset, value) in [(0x20, linear(0x80000)), (0x18, 1 << 60)] {
        let events = set_up_with(&with_word(offset, value), &[]);
        let read = events.iter().filter(|event| !matches!(event, Event::Page { .. }));
        let events: Vec<Event> = read.copied().collect();
        world.clone().agree(set_up_call(), x1(-1), &events);
        world.differ(set_up_call(), x1(0), &events, &rules::DIV_SETUP, "x1");
    }
}

#[test]
fn s7_every_field_that_must_agree() {
    let world = World::closing();
    let wrong = [
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
    ];
    for (offset, value) in wrong {
        let events = stopped_before_s9(set_up_with(&with_word(offset, value), &[(1, 7, at(ITT))]));
        world.clone().agree(set_up_call(), x1(-22), &events);
        world.differ(set_up_call(), x1(-16), &events, &rules::DIV_ERRNO, "x1");
        let judgement = world.clone().play(set_up_call(), x1(0), &events);
        let first = &judgement.findings[0];
        assert_eq!(first.expected, "-EINVAL (S7)", "{offset:#x}");
    }
    let twice = [(1, 7, at(ITT)), (1, 7, at(ITT))];
    let events = stopped_before_s9(set_up_with(&with_word(0x18, 2), &twice));
    world.clone().agree(set_up_call(), x1(-22), &events);
    // Attributes and Page_Size need not agree: the page size is described apart.
    let attributes = with_word(0x50, baser(0) ^ 1 << 9 | 7 << 59);
    world.clone().agree(set_up_call(), x1(0), &set_up_with(&attributes, &[(1, 7, at(ITT))]));
}

/// The host moved what one register names, as another value says; the ITS is off.
fn moved(register: Register, value: u64) -> World {
    let mut world = World::booted();
    world.agree(write(ITS, AccessSize::Word, 0), Outcome::Done, &[]);
    let quiescent = Outcome::Value(1 << 31);
    world.agree(read(ITS, AccessSize::Word), quiescent, &[]);
    world.writes(ITS + register.offset(), value);
    world.finalized()
}

/// A set-up up to S9 in which EL2 reads this of a register, and the descriptor says that.
fn set_up_reading(register: Register, value: u64, words: &[(u64, u64)]) -> Vec<Event> {
    let mut events = stopped_before_s9(set_up_with(words, &[(1, 7, at(ITT))]));
    let of = ITS + register.offset();
    for event in &mut events {
        if let Event::DeviceRead { address, value: read, .. } = event
            && *address == of
        {
            *read = value;
        }
    }
    events.retain(|event| !matches!(event, Event::DeviceRead { address, .. } if matches!(address - ITS, 0 | 0x88 | 0x90)));
    events
}

#[test]
fn s7_a_queue_is_aligned_to_64k() {
    for pages in [1, 2, 4, 8, 15] {
        let value = cbaser() ^ (pages * PAGE_BYTES);
        let world = moved(Register::Cbaser, value);
        let words = with_word(0x00, linear(QUEUE + pages));
        let events = set_up_reading(Register::Cbaser, value, &words);
        world.clone().agree(set_up_call(), x1(-22), &events);
        world.differ(set_up_call(), x1(-16), &events, &rules::DIV_ERRNO, "x1");
        // Hardware that drops these bits has an aligned queue: then S8 finds it off.
        let dropped = set_up_reading(Register::Cbaser, cbaser(), &descriptor());
        let dropping = set_up_reading(Register::Cbaser, cbaser(), &words);
        let off = [dropped, vec![reads(Register::Ctlr, 1 << 31)]].concat();
        let judged = |events: &[Event], errno| {
            let mut world = world.clone();
            world.model.hardware.its[0].freedoms = its_machine::Freedoms::ALL;
            world.play(set_up_call(), x1(errno), events).findings.is_empty()
        };
        assert!(judged(&off, -16) && !judged(&off, -22), "{pages}");
        assert!(judged(&dropping, -22), "{pages}");
    }
}

#[test]
fn s7_a_device_that_is_live_has_a_table() {
    let value = baser(0) & !Baser::VALID;
    let world = moved(Register::Baser(0), value);
    let words = with_word(0x50, value);
    let events = set_up_reading(Register::Baser(0), value, &words);
    world.clone().agree(set_up_call(), x1(-22), &events);
    world.differ(set_up_call(), x1(-16), &events, &rules::DIV_ERRNO, "x1");
}

#[test]
fn s7_a_table_is_aligned_to_its_page() {
    let page_size = its_gic::geometry::PageSize::K16;
    let mut machine = machine();
    machine.configurations[0].page_size = page_size;
    let value = baser(1) | 1 << 8 | 0x3000;
    let mut world = World::new(machine);
    world.writes(ITS + 0x80, cbaser());
    world.writes(ITS + 0x108, value);
    let world = world.finalized();
    let mut words = with_word(0x70, value);
    words.iter_mut().find(|word| word.0 == 0x78).unwrap().1 = 0x4000_0000_0002;
    words.iter_mut().find(|word| word.0 == 0x50).unwrap().1 = 0;
    words.iter_mut().find(|word| word.0 == 0x18).unwrap().1 = 0;
    let mut events = set_up_reading(Register::Baser(1), value, &words);
    let none = |event: &Event| matches!(event, Event::DeviceRead { address, .. } if *address == ITS + 0x100);
    events.retain(|event| !none(event));
    events.push(reads(Register::Baser(0), 1 << 56 | 7 << 48 | 1 << 8));
    world.clone().agree(set_up_call(), x1(-22), &events);
    world.differ(set_up_call(), x1(-16), &events, &rules::DIV_ERRNO, "x1");
}

#[test]
fn s8_a_queue_that_is_not_idle() {
    let mut world = World::booted();
    world.writes(ITS + 0x88, 0xa0);
    let mut world = world.finalized();
    let mut events = stopped_before_s9(set_up());
    let writer = events.iter_mut().find(|event| **event == reads(Register::Cwriter, 0x80));
    *writer.unwrap() = reads(Register::Cwriter, 0xa0);
    world.differ(set_up_call(), x1(0), &events, &rules::DIV_SETUP, "x1");
    world.agree(set_up_call(), x1(-16), &events);
    // Empty but disabled.
    let mut off = World::booted();
    off.agree(write(ITS, AccessSize::Word, 0), Outcome::Done, &[]);
    let mut events = stopped_before_s9(set_up());
    *events.iter_mut().find(|event| **event == reads(Register::Ctlr, 1)).unwrap() =
        reads(Register::Ctlr, 0);
    off.finalized().agree(set_up_call(), x1(-16), &events);
    // A wrong descriptor comes first.
    let wrong = set_up_with(&with_word(0x10, 0), &[(1, 7, at(ITT))]);
    let mut wrong = stopped_before_s9(wrong);
    wrong.retain(|event| *event != reads(Register::Cwriter, 0x80));
    world.differ(set_up_call(), x1(-16), &wrong, &rules::DIV_ERRNO, "x1");
}

#[test]
fn s9_records_and_pages() {
    let world = World::closing();
    let four =
        [1, 2, 3, 4].map(|device_id| (device_id, 7, at(ITT) + u64::from(device_id - 1) * 0x800));
    let events = stopped_before_s9(set_up_with(&with_word(0x18, 4), &four));
    world.clone().agree(set_up_call(), x1(-28), &events);
    world.differ(set_up_call(), x1(-1), &events, &rules::DIV_ERRNO, "x1");
    // The queue is on a shared page.
    let mut world = world;
    let share = hypercall(0, Hypercall::HostShareHyp, [QUEUE, 0, 0, 0]);
    world.agree(share, x1(0), &[page(PageChange::Share, QUEUE)]);
    let events = stopped_before_s9(set_up());
    world.clone().agree(set_up_call(), x1(-1), &events);
    world.differ(set_up_call(), x1(0), &events, &rules::DIV_SETUP, "x1");
}

#[test]
fn success_needs_every_reading_and_every_page() {
    let world = World::closing();
    let right = set_up();
    for (index, event) in right.iter().enumerate() {
        let needed = match event {
            // Tables that are not there: only that they are not Valid matters.
            // Level-1 entries 128 and up are of no DeviceID.
            Event::WordRead { address, .. }
                if (at(LEVEL1) + 0x400..at(LEVEL2)).contains(address) =>
            {
                false
            }
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
    let world = World::closing();
    let zero = |event: &Event| matches!(event, Event::WordRead { address, .. } if (at(LEVEL1) + 8..at(LEVEL2)).contains(address));
    let mut events = set_up();
    events.retain(|event| !zero(event));
    world.differ(set_up_call(), x1(0), &events, &rules::DIV_SETUP, "x1");
    let (address, bytes) = (at(LEVEL1) + 8, 0x3f8);
    let scanned = |bytes| [vec![Event::Scanned { address, bytes }], events.clone()].concat();
    world.clone().agree(set_up_call(), x1(0), &scanned(bytes));
    world.differ(set_up_call(), x1(0), &scanned(bytes - 8), &rules::DIV_SETUP, "x1");
}

#[test]
fn a_level2_table_of_no_device_id_is_donated_if_it_was_read() {
    let world = World::closing();
    let mut events = set_up();
    let (address, entry) = (at(LEVEL1) + 8 * 200, Level1Entry::valid(at(FREE)).0);
    let read = events.iter_mut().find(|event| **event == word_read(address, 0));
    *read.unwrap() = word_read(address, entry);
    let path = "page 0x80400.host";
    world.differ(set_up_call(), x1(0), &events, &rules::DIV_OWNERSHIP, path);
    events.push(page(PageChange::Donate, FREE));
    world.clone().agree(set_up_call(), x1(0), &events);
}

#[test]
fn an_injected_failure_gives_eperm_and_is_undone() {
    let world = World::closing();
    let mut events = set_up();
    events.truncate(1);
    events.push(Event::Page {
        change: PageChange::Donate,
        pages: Pages { first: DESCRIPTOR, count: 1 },
        result: Err(Errno::Enomem),
    });
    events.push(Event::Injected);
    world.differ(set_up_call(), x1(-1), &events, &rules::DIV_OWNERSHIP, "page 0x80140");
    events.push(page(PageChange::Reclaim, PRIVATE));
    world.clone().agree(set_up_call(), x1(-1), &events);
    world.differ(set_up_call(), x1(-12), &events, &rules::DIV_ERRNO, "x1");
    // Trying again is not what EL2 does.
    let again = [events[1..3].to_vec(), set_up()[1..].to_vec()].concat();
    let again = [set_up()[..1].to_vec(), again].concat();
    world.differ(set_up_call(), x1(0), &again, &rules::DIV_SETUP, "x1");
}

#[test]
fn a_list_that_is_not_true_poisons() {
    let mut world = World::closing();
    let judgement =
        world.play(set_up_call(), x1(0), &set_up_with(&descriptor(), &[(2, 7, at(ITT))]));
    assert_eq!(judgement.findings, []);
    assert!(judgement.poisoned.is_some());
}

#[test]
fn redistributors_that_share_a_table_pin_it_once_or_each() {
    let world = World::closing();
    let pin = page(PageChange::Pin, LPI_CONFIGURATION);
    for (more, right) in [(0, true), (1, true), (2, false)] {
        let events = [set_up(), vec![pin; more]].concat();
        let judgement = world.clone().play(set_up_call(), x1(0), &events);
        assert_eq!(judgement.findings.is_empty(), right);
    }
    let stop = write(ITS, AccessSize::Word, 0);
    world.differ(stop, Outcome::Done, &[pin], &crate::testing::PKVM, "Pin");
}
