//! The architecture's layer against numbers and outcomes written down by hand.

use its_gic::Command;
use its_gic::geometry::Level1Entry;
use its_gic::register::Baser;
use its_machine::freedom::choice::{
    Caches, Effects, EnableLpis, LpiCache, MappedEvent, MovedCollection, OnError, PendingTable,
    RemappedDevice, UnmappedCollection, UnmappedPending,
};
use its_machine::{AccessSize, Action, Choices, CommandError, Event, Freedoms, Machine, Outcome};

use crate::fault::Fault;
use crate::possible::{Possible, Truth};
use crate::rules;
use crate::testing::*;

type World = crate::testing::World<crate::Architecture>;

const INT: fn(u32, u32) -> Command = |device_id, event_id| Command::Int { device_id, event_id };
const CLEAR: fn(u32, u32) -> Command = |device_id, event_id| Command::Clear { device_id, event_id };
const INV: fn(u32, u32) -> Command = |device_id, event_id| Command::Inv { device_id, event_id };
const DISCARD: fn(u32, u32) -> Command =
    |device_id, event_id| Command::Discard { device_id, event_id };

fn movi(device_id: u32, event_id: u32, icid: u16) -> Command {
    Command::Movi { device_id, event_id, icid }
}

fn movall(from_rdbase: u64, to_rdbase: u64) -> Command {
    Command::Movall { from_rdbase, to_rdbase }
}

fn msi(event_id: u32) -> Action {
    let (its, device_id, size) = (0, 1, AccessSize::Word);
    Action::Msi { its, device_id, event_id, size }
}

/// Every option, but effects that wait for a SYNC.
fn prompt() -> Freedoms {
    Freedoms::ALL.fix(Effects::AtOnce)
}

fn prompt_world() -> World {
    World::allowing(machine(), prompt()).boot()
}

fn only(choices: Choices) -> World {
    World::allowing(machine(), Freedoms::only(choices)).boot()
}

/// INTID and redistributor, if any.
type Target = Option<(u32, Option<u8>)>;

/// INTID and redistributor of each way in which an event may be translated; `None`: nobody knows.
fn translations(world: &World, event: (u32, u32)) -> Option<Vec<Target>> {
    match world.model.tables(0).translate(event.0, event.1) {
        Possible::Any => None,
        Possible::Of(all) => {
            let one = |to: its_machine::Translation| (to.intid, to.redistributor);
            Some(all.into_iter().map(|to| to.map(one)).collect())
        }
    }
}

/// Likewise of event 4 of device 1, which must be known.
fn targets(world: &World) -> Vec<Target> {
    translations(world, (1, 4)).unwrap()
}

fn to(intid: u32, redistributor: u8) -> Target {
    Some((intid, Some(redistributor)))
}

fn pending(world: &World, redistributor: usize) -> Vec<(u32, Truth)> {
    let pending = &world.model.redistributors[redistributor].pending;
    assert!(!pending.unknown);
    pending.iter().collect()
}

/// The outcomes of a command: `None` for done, else the numbers it may have.
fn outcomes(world: &World, command: Command) -> Vec<Option<Vec<u32>>> {
    let ways = world.model.ways(0, command).unwrap();
    let outcome = |(_, result)| match result {
        Ok(()) => None,
        Err(Fault::Error(numbers)) => Some(numbers),
        Err(Fault::Undefined(why)) => panic!("{why}"),
    };
    let mut outcomes: Vec<_> = ways.into_iter().map(outcome).collect();
    outcomes.sort();
    outcomes.dedup();
    outcomes
}

#[test]
fn error_numbers() {
    let world = World::booted();
    let done = || vec![None];
    let error = |number: u32| vec![Some(vec![number])];
    let any = || vec![Some(vec![])];
    let maybe = || vec![None, Some(vec![])];
    let mapi = |event_id| Command::Mapi { device_id: 1, event_id, icid: 0 };
    let cases = [
        (mapd(1, 15, ITT), done()),
        (mapd(0x1_0000, 1, FREE), error(0x1_0801)),
        (mapd(0x200, 1, FREE), error(0x1_0801)),
        (mapd(2, 16, FREE), error(0x1_0802)),
        (unmapd(2), done()),
        (INT(0x1_0000, 0), error(0x1_0301)),
        (INT(0x200, 0), vec![Some(vec![0x1_0301]), Some(vec![0x1_0304])]),
        (mapc(512, 0), error(0x1_0903)),
        (mapc(3, 2), vec![Some(vec![0x1_0902]), Some(vec![0x1_0920])]),
        (mapti(0x1_0000, 0, 8192, 0), any()),
        (mapti(2, 0, 8192, 0), error(0x1_0a04)),
        (mapti(1, 256, 8192, 0), error(0x1_0a05)),
        (mapti(1, 0, 8191, 0), error(0x1_0a06)),
        (mapti(1, 0, 0x1_0000, 0), error(0x1_0a06)),
        (mapti(1, 0, 8192, 512), any()),
        (mapti(1, 0, 16383, 511), done()),
        (mapti(1, 0, 16384, 0), vec![None, Some(vec![0x1_0a06])]),
        (mapti(1, 4, 8200, 0), maybe()),
        (mapti(1, 4, 8201, 0), maybe()),
        (mapi(3), any()),
        (movi(1, 5, 1), error(0x1_0107)),
        (movi(1, 4, 7), error(0x1_0109)),
        (movi(1, 4, 512), error(0x1_0103)),
        (movi(1, 4, 1), done()),
        (INT(2, 0), error(0x1_0304)),
        (CLEAR(1, 5), error(0x1_0507)),
        (INV(1, 256), error(0x1_0c05)),
        (DISCARD(2, 0), any()),
        (DISCARD(1, 5), error(0x1_0f07)),
        (Command::Invall { icid: 512 }, error(0x1_0d03)),
        (Command::Invall { icid: 7 }, error(0x1_0d09)),
        (movall(5, 0), vec![Some(vec![0x1_0e01]), Some(vec![0x1_0e20])]),
        (movall(0, 5), vec![Some(vec![0x1_0e01]), Some(vec![0x1_0e21])]),
        (movall(5, 5), vec![Some(vec![0x1_0e01]), Some(vec![0x1_0e20, 0x1_0e21])]),
        (Command::Sync { rdbase: 5 }, maybe()),
        (Command::Raw { words: [0; 4] }, maybe()),
    ];
    for (command, expected) in cases {
        assert_eq!(outcomes(&world, command), expected, "{command:x?}");
    }
}

#[test]
fn registers_and_halves() {
    let mut world = prompt_world();
    let (cbaser, basers) = ((0x80, cbaser()), [(0x100, baser(0)), (0x108, baser(1)), (0x110, 0)]);
    for (offset, value) in [cbaser, (0x88, 0x80), (0x90, 0x80)].into_iter().chain(basers) {
        world.shows(ITS + offset, value, &[]);
        world.wrong_read(ITS + offset, value ^ 0x20, &[], &rules::ARCH_REGISTER, "");
    }
    let half = read(ITS + 0x84, AccessSize::Word);
    world.agree(half, Outcome::Value(1 << 31), &[]);
    let ctlr = read(ITS, AccessSize::Word);
    world.agree(ctlr, Outcome::Value(1 << 31 | 1), &[]);
    world.differ(ctlr, Outcome::Value(0), &[], &rules::ARCH_REGISTER, "");
    world.differ(ctlr, Outcome::Value(3), &[], &rules::ARCH_REGISTER, "");
    world.poisons(write(ITS + 0x80, AccessSize::Word, 0), &[]);
    world.poisons(write(ITS + 0x100, AccessSize::Word, 0), &[]);
    // Disabled, a half of CBASER resets CREADR and leaves CWRITER.
    world.agree(write(ITS, AccessSize::Word, 0), DONE, &[]);
    world.agree(write(ITS + 0x84, AccessSize::Word, 1 << 31), DONE, &[]);
    world.shows(ITS + 0x90, 0, &[]);
    world.shows(ITS + 0x88, 0x80, &[]);
    // Once Quiescent it stays so; not Quiescent, nothing may be programmed.
    let mut busy = world.clone();
    busy.agree(ctlr, Outcome::Value(0), &[]);
    let refused = |offset| [Event::Unpredictable { address: offset }];
    busy.poisons(write(ITS + 0x80, DOUBLE, 0), &refused(0x80));
    busy.poisons(write(ITS, AccessSize::Word, 1), &refused(0));
    world.agree(ctlr, Outcome::Value(1 << 31), &[]);
    world.differ(ctlr, Outcome::Value(0), &[], &rules::ARCH_REGISTER, "");
}

#[test]
fn page_size_and_indirect_stick_by_configuration() {
    let mut world = World::new(machine());
    let asked = Baser::WRITABLE;
    world.writes(ITS + 0x108, asked);
    let kept = asked & !(1 << 62) & !0x300 | 4 << 56 | 7 << 48;
    world.shows(ITS + 0x108, kept, &[]);
    world.writes(ITS + 0x100, asked);
    world.shows(ITS + 0x100, asked & !0x300 | 1 << 56 | 7 << 48, &[]);
    world.poisons(write(ITS, AccessSize::Word, 1), &[]);
}

/// A command at 0x80, submitted and not taken.
fn submitted(world: &World, command: Command) -> World {
    let mut world = world.clone();
    world.submits(0x80, command);
    world
}

#[test]
fn fetching_needs_an_enabled_queue_and_the_written_words() {
    let world = prompt_world();
    let one = [consumed(0x80, SYNC)];
    world.wrong(ADVANCE, &one, &rules::ARCH_FETCH, "fetch");
    let world = submitted(&world, SYNC);
    assert!(!world.model.is_settled(0));
    world.clone().agree(ADVANCE, DONE, &one);
    world.wrong(ADVANCE, &[consumed(0xa0, SYNC)], &rules::ARCH_FETCH, "fetch");
    world.wrong(ADVANCE, &[consumed(0x80, mapc(0, 0))], &rules::ARCH_FETCH, "slot");
    world.wrong(ADVANCE, &[stalled(0x80, SYNC, None)], &rules::ARCH_COMMAND, "SYNC");
    // Beyond the queue: the ITS stops or takes any value. Disabled: it stops.
    let mut beyond = world.clone();
    beyond.agree(post(0x1000), DONE, &[]);
    beyond.agree(ADVANCE, DONE, &one);
    let off = write(ITS, AccessSize::Word, 0);
    let mut stopped = world.clone();
    stopped.agree(off, DONE, &one);
    stopped.wrong(off, &[consumed(0xa0, SYNC)], &rules::ARCH_FETCH, "fetch");
}

#[test]
fn an_its_that_a_scenario_stalls_did_nothing() {
    let halted =
        Event::Stalled { its: 0, offset: 0x80, words: mapd(2, 3, FREE).encode(), error: None };
    let mut world = submitted(&prompt_world(), mapd(2, 3, FREE));
    world.agree(ADVANCE, DONE, &[halted]);
    assert!(world.model.is_settled(0));
    world.agree(read(ITS + 0x90, DOUBLE), Outcome::Value(0x81), &[]);
    let retried = post(0xa0 | 1);
    world.clone().agree(retried, DONE, &[consumed(0x80, mapd(2, 3, FREE))]);
    world.wrong(retried, &[consumed(0xa0, SYNC)], &rules::ARCH_FETCH, "fetch");
}

#[test]
fn errors_stall_or_are_ignored_by_the_option_that_is_allowed() {
    let bad = mapd(2, 16, FREE);
    let number = Some(0x1_0802);
    let (words, error) = (bad.encode(), Some(CommandError(number)));
    let ignored = Event::Consumed { its: 0, offset: 0x80, words, error };
    let stalls = stalled(0x80, bad, number);
    for (option, right, wrong) in
        [(OnError::Stall, stalls, ignored), (OnError::Ignore, ignored, stalls)]
    {
        let world = submitted(&only(Choices::USUAL.with(option)), bad);
        world.clone().agree(ADVANCE, DONE, &[right]);
        for wrong in [wrong, consumed(0x80, bad), stalled(0x80, bad, Some(0x1_0801))] {
            world.wrong(ADVANCE, &[wrong], &rules::ARCH_COMMAND, "MAPD");
        }
    }
}

#[test]
fn msis_need_mapping_enable_and_lpis() {
    let mut world = prompt_world();
    for dropped in [0, 5, 256, 1 << 16] {
        world.agree(msi(dropped), DONE, &[]);
        assert_eq!(pending(&world, 0), []);
    }
    let mut wide = world.clone();
    wide.agree(msi(1 << 16 | 4), DONE, &[]);
    assert_eq!(pending(&wide, 0), [(8200, Truth::Maybe)]);
    // 16 bits leave the upper half zero.
    let half = |event_id| Action::Msi { its: 0, device_id: 1, event_id, size: AccessSize::Half };
    wide.agree(half(0xabcd_0004), DONE, &[]);
    assert_eq!(pending(&wide, 0), [(8200, Truth::Yes)]);
    let mut off = world.clone();
    off.agree(write(ITS, AccessSize::Word, 0), DONE, &[]);
    off.agree(msi(4), DONE, &[]);
    assert_eq!(pending(&off, 0), []);
    world.agree(msi(4), DONE, &[]);
    assert_eq!(pending(&world, 0), [(8200, Truth::Yes)]);
    let mut small = prompt_world();
    small.model.redistributors[0].propbaser.value -= 1;
    small.agree(msi(4), DONE, &[]);
    assert_eq!(pending(&small, 0), []);
}

#[test]
fn an_msi_next_to_a_discard_may_come_before_or_after() {
    let discard = DISCARD(1, 4);
    let mut world = submitted(&prompt_world(), discard);
    world.agree(msi(4), DONE, &[consumed(0x80, discard)]);
    assert_eq!(pending(&world, 0), [(8200, Truth::Maybe)]);
}

#[test]
fn pending_follows_int_movi_movall_clear_discard() {
    let yes = [(8200, Truth::Yes)];
    let mut world = prompt_world();
    world.open_command(INT(1, 4));
    assert_eq!(pending(&world, 0), yes);
    world.open_command(movi(1, 4, 1));
    assert_eq!((pending(&world, 0), pending(&world, 1)), (vec![], yes.to_vec()));
    assert!(world.model.touched().contains(&(0, 1, 4)));
    for command in [CLEAR(1, 4), DISCARD(1, 4)] {
        let mut cleared = world.clone();
        cleared.open_command(command);
        assert_eq!(pending(&cleared, 1), []);
    }
    world.open_command(movall(1, 0));
    assert_eq!((pending(&world, 0), pending(&world, 1)), (yes.to_vec(), vec![]));
}

#[test]
fn a_collection_that_moves_takes_pending_lpis_along_or_not() {
    let moved = |freedoms| {
        let mut world = World::allowing(machine(), freedoms).boot();
        world.open_command(INT(1, 4));
        world.open_command(mapc(0, 1));
        (pending(&world, 0), pending(&world, 1))
    };
    let (yes, maybe) = (vec![(8200, Truth::Yes)], vec![(8200, Truth::Maybe)]);
    assert_eq!(moved(prompt()), (maybe.clone(), maybe));
    let stays = Choices::USUAL.with(MovedCollection::Stays);
    assert_eq!(moved(Freedoms::only(stays)), (yes.clone(), vec![]));
    let follows = Choices::USUAL.with(MovedCollection::Follows);
    assert_eq!(moved(Freedoms::only(follows)), (vec![], yes));
}

#[test]
fn each_option_of_an_overwritten_event() {
    let overwritten = |freedoms| {
        let mut world = World::allowing(machine(), freedoms).boot();
        world.open_command(mapti(1, 4, 8201, 0));
        targets(&world)
    };
    // Done: the new or the old mapping.
    assert_eq!(overwritten(prompt()), [to(8200, 0), to(8201, 0)]);
    let option = |option: MappedEvent| Freedoms::only(Choices::USUAL.with(option));
    assert_eq!(overwritten(option(MappedEvent::Kept)), [to(8200, 0)]);
    assert_eq!(overwritten(option(MappedEvent::Overwritten)), [to(8201, 0)]);
    // An error says that nothing changed.
    let mut refused = submitted(&prompt_world(), mapti(1, 4, 8201, 0));
    refused.agree(ADVANCE, DONE, &[stalled(0x80, mapti(1, 4, 8201, 0), None)]);
    assert_eq!(targets(&refused), [to(8200, 0)]);
}

#[test]
fn what_an_outcome_says_is_learned() {
    let mut world = prompt_world();
    world.open_command(mapti(1, 5, 8205, 7));
    world.open_command(DISCARD(1, 5));
    // Of an unmapped collection it may be carried out; that it was is now known.
    assert_eq!(translations(&world, (1, 5)).unwrap(), [None]);
    let mut refusing = only(Choices::USUAL.with(UnmappedCollection::Refused));
    refusing.open_command(mapti(1, 5, 8205, 7));
    refusing.submits(0xa0, DISCARD(1, 5));
    refusing.wrong(ADVANCE, &[consumed(0xa0, DISCARD(1, 5))], &rules::ARCH_COMMAND, "DISCARD");
}

#[test]
fn itts_keep_or_lose_what_is_in_them() {
    let remapped = |freedoms| {
        let mut world = World::allowing(machine(), freedoms).boot();
        world.open_command(INT(1, 4));
        world.open_command(unmapd(1));
        assert_eq!(targets(&world), [None]);
        let left = pending(&world, 0);
        world.open_command(mapd(1, 7, ITT));
        (targets(&world), left)
    };
    let kept = Choices::USUAL.with(RemappedDevice::Kept).with(UnmappedPending::Stays);
    let yes = vec![(8200, Truth::Yes)];
    assert_eq!(remapped(Freedoms::only(kept)), (vec![to(8200, 0)], yes));
    let dropped = Choices::USUAL.with(RemappedDevice::Dropped).with(UnmappedPending::Dropped);
    assert_eq!(remapped(Freedoms::only(dropped)), (vec![None], vec![]));
    let both = vec![(8200, Truth::Maybe)];
    assert_eq!(remapped(prompt()), (vec![None, to(8200, 0)], both));
    // Another device's entries, or what software left, are nothing that anybody knows.
    let mut other = prompt_world();
    other.open_command(unmapd(1));
    other.open_command(mapd(2, 7, ITT));
    assert_eq!(translations(&other, (2, 4)), None);
    let mut filled = prompt_world();
    filled.stores(at(FREE) + 0x10, 1);
    filled.open_command(mapd(2, 7, FREE));
    assert_eq!(translations(&filled, (2, 2)), None);
    assert_eq!(translations(&filled, (2, 4)).unwrap(), [None]);
}

#[test]
fn stores_into_itts_and_tables_make_them_unknown() {
    let mut world = prompt_world();
    world.stores(at(ITT) + 0x28, 0);
    assert_eq!(targets(&world), [to(8200, 0)]);
    world.stores(at(ITT) + 0x20, 1);
    assert_eq!(translations(&world, (1, 4)), None);
    // An MSI may raise any LPI then, and a command may do anything to the event, but to no other.
    let raises = |world: &World| world.model.check_pending(1, [8300].into_iter()).is_ok();
    assert!(!raises(&world));
    let mut raised = world.clone();
    raised.agree(msi(4), DONE, &[]);
    assert!(raises(&raised));
    let discard = Command::Discard { device_id: 1, event_id: 4 };
    let mut world = submitted(&world, discard);
    world.clone().agree(ADVANCE, DONE, &[stalled(0x80, discard, Some(0x1_0f07))]);
    world.agree(ADVANCE, DONE, &[consumed(0x80, discard)]);
    assert_eq!(translations(&world, (1, 4)), None);
    assert_eq!(translations(&world, (1, 5)), Some(vec![None]));
    assert!(raises(&world) && world.model.is_settled(0));
    // A device's entry may name any memory as its ITT: a command of it poisons.
    let mut table = prompt_world();
    table.stores(at(LEVEL2) + 8, 1);
    assert_eq!(translations(&table, (1, 4)), None);
    let table = submitted(&table, mapti(1, 5, 8201, 0));
    table.poisons(ADVANCE, &[consumed(0x80, mapti(1, 5, 8201, 0))]);
    // Zeroes are an invalid entry; a cache may still know better.
    let mut zeroed = prompt_world();
    zeroed.stores(at(ITT) + 0x20, 0);
    assert_eq!(targets(&zeroed), [None, to(8200, 0)]);
    let mut uncached = only(Choices::USUAL);
    uncached.stores(at(ITT) + 0x20, 0);
    assert_eq!(targets(&uncached), [None]);
}

#[test]
fn a_level1_entry_that_is_cleared_may_be_cached() {
    let cleared = |mut world: World| {
        world.stores(at(LEVEL1), 0);
        targets(&world)
    };
    assert_eq!(cleared(prompt_world()), [None, to(8200, 0)]);
    assert_eq!(cleared(only(Choices::USUAL)), [None]);
    // Two level-1 entries for one table, or one on the queue: nothing is said.
    for page in [LEVEL2, QUEUE] {
        let mut aliased = prompt_world();
        aliased.stores(at(LEVEL1) + 16, Level1Entry::valid(at(page)).0);
        let ways = aliased.model.ways(0, mapd(2 * 512, 1, FREE)).unwrap();
        assert!(ways.iter().any(|(_, result)| matches!(result, Err(Fault::Undefined(_)))));
    }
}

#[test]
fn power_loss_keeps_memory_and_loses_dirty_caches() {
    let resumed = |freedoms, rest: bool| {
        let mut world = World::allowing(machine(), freedoms).boot();
        world.agree(write(ITS, AccessSize::Word, 0), DONE, &[]);
        if rest {
            world.agree(read(ITS, AccessSize::Word), Outcome::Value(1 << 31), &[]);
        }
        let (its, restored) = (0, true);
        world.agree(Action::PowerLoss { its, restored }, DONE, &[]);
        world.agree(write(ITS, AccessSize::Word, 1), DONE, &[]);
        targets(&world)
    };
    let only = |caches: Caches| Freedoms::only(Choices::USUAL.with(caches));
    assert_eq!(resumed(Freedoms::ALL, true), [to(8200, 0)]);
    let lost = resumed(only(Caches::WriteBack), false);
    assert!(lost.contains(&None) && lost.contains(&to(8200, 0)), "{lost:?}");
    assert_eq!(resumed(only(Caches::WriteThrough), false), [to(8200, 0)]);
}

#[test]
fn a_table_that_is_moved_may_be_cached_until_it_is_invalidated() {
    let moved = |machine: Machine, freedoms| {
        let mut world = World::allowing(machine, freedoms).boot();
        world.agree(write(ITS, AccessSize::Word, 0), DONE, &[]);
        world.agree(read(ITS, AccessSize::Word), Outcome::Value(1 << 31), &[]);
        world.writes(ITS + 0x100, baser(0) & !Baser::VALID);
        let elsewhere = Baser::from_bits(baser(0)).with_address(at(FREE));
        world.writes(ITS + 0x100, elsewhere.into_bits());
        world.writes(ITS + 0x80, cbaser());
        world.writes(ITS + 0x88, 0);
        world.agree(write(ITS, AccessSize::Word, 1), DONE, &[]);
        world
    };
    let mut inv = machine();
    inv.configurations[0].invalidates = true;
    assert_eq!(targets(&moved(inv, prompt())), [None]);
    assert_eq!(targets(&moved(machine(), Freedoms::only(Choices::USUAL))), [None]);
    assert_eq!(targets(&moved(machine(), prompt())), [None, to(8200, 0)]);
}

#[test]
fn effects_wait_for_a_sync_where_that_is_allowed() {
    let mut world = only(Choices::USUAL.with(Effects::AtSync));
    world.open_command(SYNC);
    world.open_command(movi(1, 4, 1));
    assert_eq!(targets(&world), [to(8200, 0), to(8200, 1)]);
    world.open_command(SYNC);
    assert_eq!(targets(&world).len(), 2, "SYNC was for the other");
    let mut again = world.clone();
    world.open_command(Command::Sync { rdbase: 1 });
    assert_eq!(targets(&world), [to(8200, 1)]);
    // What was before a change that is settled is history.
    again.open_command(movi(1, 4, 0));
    again.open_command(Command::Discard { device_id: 1, event_id: 4 });
    assert_eq!(targets(&again), [None, to(8200, 0), to(8200, 1)]);
    again.open_command(SYNC);
    assert_eq!(targets(&again), [None]);
}

#[test]
fn configuration_may_be_cached_until_it_is_invalidated() {
    let byte = at(LPI_CONFIGURATION) + 8;
    let offers = |world: &World| world.model.offers(0).unwrap();
    let mut world = only(Choices::USUAL.with(LpiCache::Kept));
    world.open_command(INT(1, 4));
    assert_eq!(offers(&world), [None]);
    world.stores(byte, 0xa1);
    assert_eq!(offers(&world), [None, Some(8200)]);
    let mut all = world.clone();
    all.open_command(Command::Invall { icid: 0 });
    assert_eq!(offers(&all), [Some(8200)]);
    world.agree(write(REDISTRIBUTORS[0] + 0xa0, DOUBLE, 8200), DONE, &[]);
    assert_eq!(offers(&world), [Some(8200)]);
    let take = Action::Acknowledge { cpu: 0 };
    for wrong in [1023, 8201] {
        world.differ(take, Outcome::Value(wrong), &[], &rules::ARCH_OFFERED, "");
    }
    world.agree(take, Outcome::Value(8200), &[]);
    assert_eq!(offers(&world), [None]);
}

#[test]
fn the_most_urgent_lpi_is_offered() {
    let mut world = only(Choices::USUAL);
    world.open_command(mapti(1, 5, 8201, 0));
    world.open_command(mapti(1, 6, 8202, 0));
    // 8200: 0xa0, 8201: 0x80, 8202: 0x40 but disabled.
    world.stores(at(LPI_CONFIGURATION) + 8, 0x40_81_a1);
    for event in [4, 5, 6] {
        world.agree(msi(event), DONE, &[]);
    }
    assert_eq!(world.model.offers(0).unwrap(), [Some(8201)]);
}

#[test]
fn pending_tables_are_read_and_may_be_written() {
    let mut world = World::new(machine());
    let base = REDISTRIBUTORS[0];
    world.writes(base + 0x70, at(LPI_CONFIGURATION) | 13);
    world.writes(base + 0x78, at(LPI_PENDING[0]));
    let on = write(base, AccessSize::Word, 1);
    // INTID 8199: byte 0x400, bit 7.
    world.stores(at(LPI_PENDING[0]) + 0x400, 0x80);
    world.agree(on, DONE, &[]);
    assert_eq!(pending(&world, 0), [(8199, Truth::Yes)]);
    world.poisons(write(base + 0x78, DOUBLE, 0), &[]);

    let round = |choices: Choices| {
        let mut world = only(choices.with(EnableLpis::Clearable));
        world.agree(msi(4), DONE, &[]);
        world.agree(write(base, AccessSize::Word, 0), DONE, &[]);
        world.agree(read(base, AccessSize::Word), Outcome::Value(0x6), &[]);
        world.writes(base + 0x78, at(LPI_PENDING[0]));
        world.agree(on, DONE, &[]);
        pending(&world, 0)
    };
    assert_eq!(round(Choices::USUAL.with(PendingTable::Written)), [(8200, Truth::Yes)]);
    assert_eq!(round(Choices::USUAL.with(PendingTable::Lost)), []);
}
