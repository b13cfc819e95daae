//! The mutator: changes a scenario a little and keeps it playable. All its choices come from a
//! seed.

use its_machine::{Area, Place};
use its_scenario::numbers::{Argument, FRAMES, Header, Record, SIZES, Shape, Word, registers};
use its_scenario::{Boot, DRAWN_OPERATIONS, FuzzTarget, Operation, Rdbase, Scenario, Target};
use std::ops::Range;

use arbitrary::Unstructured;
use fastrand::Rng;

use crate::boards::varied_fields;
use crate::ids::PAGE;
use crate::scenario::{another, continuation};

/// Bytes for the generator when it adds a phrase; more than any phrase takes matters little.
const PHRASE_BYTES: usize = 512;

type Mutation = fn(&mut Scenario, FuzzTarget, &mut Rng);

/// Each as often as it stands here.
const MUTATIONS: &[Mutation] = &[
    tweak,
    tweak,
    tweak,
    tweak,
    insert,
    insert,
    insert,
    delete,
    delete,
    duplicate,
    swap,
    relocate,
    repeat,
    change_configuration,
    change_boot,
    truncate,
];

/// Changes a scenario in one to four ways, by `seed` alone; one in eight becomes another
/// altogether. What comes out is fit for the target; [`Scenario::shorten_to`] brings it below a
/// size.
pub fn mutate(scenario: &mut Scenario, target: FuzzTarget, seed: u64) {
    let mut rng = Rng::with_seed(seed);
    if rng.u8(..8) == 0 {
        // Mostly on the same board, since booting another takes longer than many a case.
        let new_board = rng.u8(..8) == 0;
        *scenario = another(scenario, target, &mut rng, new_board);
        return;
    }
    change(scenario, target, &mut rng);
}

/// A scenario made of two, by `seed` alone: the start of one and the end of the other, or one with
/// a piece of the other in it. Configurations and boot plan come from one of them. What comes out
/// is fit for the target.
pub fn crossover(one: &Scenario, other: &Scenario, target: FuzzTarget, seed: u64) -> Scenario {
    let mut rng = Rng::with_seed(seed);
    let at = below(&mut rng, one.operations.len().saturating_add(1));
    let (head, tail) = one.operations.split_at_checked(at).unwrap_or_default();
    let piece = part(&other.operations, &mut rng);
    let mut operations = if rng.bool() {
        [head, piece, tail].concat()
    } else {
        let from = below(&mut rng, other.operations.len().saturating_add(1));
        let (_, end) = other.operations.split_at_checked(from).unwrap_or_default();
        [head, end].concat()
    };
    operations.truncate(DRAWN_OPERATIONS);
    let mut child = Scenario {
        configurations: pick(&mut rng, one.configurations, other.configurations),
        boot: pick(&mut rng, one.boot, other.boot),
        operations,
    };
    child.fit(target);
    child
}

/// A scenario for a target that varies one of these, by `seed` alone: spliced with others, or with
/// drawn ones on its board, and mutated. They may be of any target; operations that this one does
/// not play are left out.
pub fn vary_stored(stored: &[Scenario], target: FuzzTarget, seed: u64) -> Option<Scenario> {
    let mut rng = Rng::with_seed(seed);
    let mut varied = stored.get(below(&mut rng, stored.len()))?.clone();
    varied.fit(target);
    for _ in 0..below(&mut rng, 3) {
        varied = if rng.bool() {
            let other = stored.get(below(&mut rng, stored.len()))?;
            crossover(&varied, other, target, rng.u64(..))
        } else {
            let drawn = another(&varied, target, &mut rng, false);
            crossover(&varied, &drawn, target, rng.u64(..))
        };
    }
    change(&mut varied, target, &mut rng);
    Some(varied)
}

/// Changes a scenario in up to four ways.
fn change(scenario: &mut Scenario, target: FuzzTarget, rng: &mut Rng) {
    for _ in 0..=below(rng, 2).wrapping_add(below(rng, 3)) {
        if let Some(mutation) = choose(rng, MUTATIONS) {
            mutation(scenario, target, rng);
        }
        scenario.operations.truncate(DRAWN_OPERATIONS);
    }
    scenario.fit(target);
}

fn pick<T>(rng: &mut Rng, one: T, other: T) -> T {
    if rng.u8(..4) == 0 { other } else { one }
}

/// 0 to `count` - 1; 0 if there is none.
fn below(rng: &mut Rng, count: usize) -> usize {
    rng.usize(0..count.max(1))
}

fn choose<T: Copy>(rng: &mut Rng, list: &[T]) -> Option<T> {
    list.get(below(rng, list.len())).copied()
}

/// A range of a list of so many, mostly short.
fn range(rng: &mut Rng, count: usize) -> Range<usize> {
    let start = below(rng, count);
    let most = if rng.u8(..4) == 0 { 32 } else { 4 };
    let length = below(rng, most).saturating_add(1);
    start..start.saturating_add(length).min(count)
}

fn part<'a>(operations: &'a [Operation], rng: &mut Rng) -> &'a [Operation] {
    operations.get(range(rng, operations.len())).unwrap_or(&[])
}

fn splice(scenario: &mut Scenario, at: usize, new: &[Operation]) {
    let at = at.min(scenario.operations.len());
    scenario.operations.splice(at..at, new.iter().copied());
}

/// A generated phrase that knows what comes before it.
fn insert(scenario: &mut Scenario, target: FuzzTarget, rng: &mut Rng) {
    let mut bytes = [0; PHRASE_BYTES];
    rng.fill(&mut bytes);
    let at = below(rng, scenario.operations.len().saturating_add(1));
    let before = scenario.operations.get(..at).unwrap_or(&[]);
    let phrase = continuation(&mut Unstructured::new(&bytes), scenario, target, before);
    splice(scenario, at, &phrase);
}

fn delete(scenario: &mut Scenario, _: FuzzTarget, rng: &mut Rng) {
    let range = range(rng, scenario.operations.len());
    scenario.operations.drain(range);
}

fn duplicate(scenario: &mut Scenario, _: FuzzTarget, rng: &mut Rng) {
    let copy = part(&scenario.operations, rng).to_vec();
    let at = below(rng, scenario.operations.len().saturating_add(1));
    splice(scenario, at, &copy);
}

fn swap(scenario: &mut Scenario, _: FuzzTarget, rng: &mut Rng) {
    let count = scenario.operations.len();
    let (one, other) = (below(rng, count), below(rng, count));
    if count > 0 {
        scenario.operations.swap(one, other);
    }
}

/// A range goes elsewhere.
fn relocate(scenario: &mut Scenario, _: FuzzTarget, rng: &mut Rng) {
    let range = range(rng, scenario.operations.len());
    let moved: Vec<_> = scenario.operations.drain(range).collect();
    let at = below(rng, scenario.operations.len().saturating_add(1));
    splice(scenario, at, &moved);
}

/// A batch again and again, until a small queue wraps or is full.
fn repeat(scenario: &mut Scenario, _: FuzzTarget, rng: &mut Rng) {
    let range = range(rng, scenario.operations.len());
    let batch = scenario.operations.get(range.clone()).unwrap_or(&[]);
    let room = DRAWN_OPERATIONS.saturating_sub(scenario.operations.len());
    let most = room.checked_div(batch.len()).unwrap_or(0);
    let times = if rng.bool() { most } else { below(rng, most.min(8).saturating_add(1)) };
    let copies = batch.repeat(times);
    splice(scenario, range.end, &copies);
}

fn truncate(scenario: &mut Scenario, _: FuzzTarget, rng: &mut Rng) {
    let count = below(rng, scenario.operations.len().saturating_add(1));
    scenario.operations.truncate(count);
}

/// A field that scenarios for the target vary, the older ones more often.
fn change_configuration(scenario: &mut Scenario, target: FuzzTarget, rng: &mut Rng) {
    let its = below(rng, scenario.boot.its.into());
    let Some(changed) = scenario.configurations.get_mut(its) else { return };
    let (older, later) = varied_fields(target);
    let fields = if rng.bool() { older } else { later };
    let index = choose(rng, &fields).unwrap_or(0);
    *changed = with_field_changed(changed, index, rng);
}

fn change_boot(scenario: &mut Scenario, _: FuzzTarget, rng: &mut Rng) {
    // The oldest fields say more than the numbers of CPUs.
    let fields = if rng.u8(..4) == 0 { Boot::FIELDS.len() } else { 8 };
    let index = below(rng, fields);
    let before = scenario.boot.live_devices;
    scenario.boot = with_field_changed(&scenario.boot, index, rng);
    // Many take time, and are seldom better than few.
    if scenario.boot.live_devices > before.max(4) && rng.u8(..8) > 0 {
        scenario.boot.live_devices %= 5;
    }
    scenario.boot.its = scenario.boot.its.min(3);
    scenario.boot.cpus = scenario.boot.cpus.min(4);
}

fn with_field_changed<H: Header>(header: &H, index: usize, rng: &mut Rng) -> H {
    let mut words = header.words();
    if let (Some(field), Some(word)) = (H::FIELDS.get(index), words.get_mut(index)) {
        *word = changed(field.shape, *word, rng);
    }
    H::from_words(words)
}

/// One argument of one operation becomes what it is elsewhere, or a word close or far.
fn tweak(scenario: &mut Scenario, _: FuzzTarget, rng: &mut Rng) {
    let index = below(rng, scenario.operations.len());
    let Some(operation) = scenario.operations.get(index) else { return };
    let mut record = Record::from(operation);
    let arguments = record.kind.arguments();
    // The CPU is one more argument, where there is one.
    let which = below(rng, arguments.len().saturating_add(record.kind.has_cpu().into()));
    match (arguments.get(which), record.words.get_mut(which)) {
        (Some(argument), Some(word)) => {
            let copied = rng.u8(..3) == 0;
            let elsewhere = copied.then(|| same_argument(scenario, argument, rng)).flatten();
            *word = elsewhere.unwrap_or_else(|| changed(argument.shape, *word, rng));
        }
        _ => record.cpu = record.cpu.wrapping_add(1),
    }
    if let Some(operation) = scenario.operations.get_mut(index) {
        *operation = record.operation();
    }
}

/// An operation with one argument changed, by `seed` alone.
pub(crate) fn tweaked(operation: Operation, seed: u64) -> Operation {
    let mut alone = Scenario { operations: vec![operation], ..Scenario::default() };
    tweak(&mut alone, FuzzTarget::Race, &mut Rng::with_seed(seed));
    alone.operations.first().copied().unwrap_or(operation)
}

/// What an argument of this name and shape is in some operation.
fn same_argument(scenario: &Scenario, argument: &Argument, rng: &mut Rng) -> Option<u64> {
    let same = |other: &Argument| {
        let shapes = (other.shape, argument.shape);
        let places = matches!(shapes, (Shape::Place { .. }, Shape::Place { .. }));
        other.key == argument.key || places
    };
    let records = scenario.operations.iter().map(Record::from);
    let words = records.flat_map(|record| record.kind.arguments().iter().zip(record.words));
    let words: Vec<_> = words.filter(|(other, _)| same(other)).collect();
    choose(rng, &words).map(|(_, word)| word)
}

/// Another word for a shape; the fix-up puts it in range.
fn changed(shape: Shape, word: u64, rng: &mut Rng) -> u64 {
    match shape {
        Shape::Number { max } => changed_number(word, 0, max, rng),
        Shape::Count { min, max } => changed_number(word, min, max, rng),
        Shape::Choice(_) | Shape::Cpu | Shape::Its => rng.u64(..256),
        Shape::Flag => word ^ 1,
        Shape::Place { align } => changed_place(word, align, rng).pack(),
        Shape::Rdbase => match rng.u8(..4) {
            0 => Rdbase::Raw(1_u64 << rng.u32(..36)).pack(),
            1 => Rdbase::Raw(rng.u64(..8)).pack(),
            _ => rng.u64(..256),
        },
        Shape::Target => changed_target(word, rng).pack(),
        Shape::Turns => changed_turns(word, rng),
    }
}

/// One turn of eight becomes another, or moves by a step or two, or ends the race's turns.
fn changed_turns(word: u64, rng: &mut Rng) -> u64 {
    let mut bytes = word.to_le_bytes();
    let slot = rng.usize(..bytes.len());
    if let Some(byte) = bytes.get_mut(slot) {
        *byte = match rng.u8(..4) {
            0 => rng.u8(..),
            1 => rng.u8(1..32),
            2 => byte.wrapping_add(rng.u8(..3)),
            _ => byte.wrapping_sub(rng.u8(..3)),
        };
    }
    u64::from_le_bytes(bytes)
}

/// A limit, a neighbour, a bit flipped, a power of two and its neighbours, what wraps to the same,
/// or anything.
fn changed_number(word: u64, min: u64, max: u64, rng: &mut Rng) -> u64 {
    let power = 1_u64 << rng.u32(..64);
    match rng.u8(..12) {
        0 => min,
        1 => max,
        2 | 3 => word.wrapping_add(1),
        4 => word.wrapping_sub(1),
        5 | 6 => word ^ (1 << rng.u32(..16)),
        7 => word ^ power,
        8 => power.wrapping_sub(rng.u64(..3)).wrapping_add(1),
        9 => word.wrapping_add(power),
        10 => word.wrapping_mul(power).wrapping_add(word),
        _ => rng.u64(..),
    }
}

/// A page on, a little further in the page, the end of an area, another area.
fn changed_place(word: u64, align: u16, rng: &mut Rng) -> Place {
    let place = Place::unpack(word);
    let Place::In { area, page, offset } = place else {
        return Place::Absolute(changed_number(word, 0, u64::MAX, rng));
    };
    let last = area.pages().saturating_sub(1);
    match rng.u8(..8) {
        0 => Place::at(area, page.wrapping_add(1), offset),
        1 => Place::at(area, page.wrapping_sub(1), offset),
        2 => Place::at(area, page, offset.wrapping_add(align)),
        3 => Place::at(area, page, PAGE.saturating_sub(align)),
        4 => Place::at(area, last, offset),
        5 => Place::at(area, rng.u16(..), rng.u16(..)),
        6 => Place::Absolute(rng.u64(..)),
        _ => {
            let all: Vec<Area> = Area::all().collect();
            Place::at(choose(rng, &all).unwrap_or(area), page, offset)
        }
    }
}

/// Another register of the frame, the next offset, another size or frame.
fn changed_target(word: u64, rng: &mut Rng) -> Target {
    let mut target = Target::unpack(word);
    match rng.u8(..6) {
        0 => target.offset = target.offset.wrapping_add(1 << rng.u32(..4)),
        1 => target.offset ^= 4,
        2 => target.size = choose(rng, &SIZES).unwrap_or(target.size),
        3 => target.frame = choose(rng, &FRAMES).map_or(target.frame, |(frame, _)| frame),
        _ => {
            let known = registers(target.frame).map(|(_, offset, size)| (offset, size));
            if let Some(known) = choose(rng, &known.collect::<Vec<_>>()) {
                (target.offset, target.size) = known;
            }
        }
    }
    target
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Temper;
    use its_scenario::MAX_BYTES;
    use its_scenario::numbers::{ARGUMENTS, Kind};
    use quickcheck::quickcheck;
    use std::collections::BTreeSet;

    fn generated(seed: u64, target: FuzzTarget) -> Scenario {
        crate::tests::generated(seed, target, Temper::Hostile)
    }

    fn target(arch: bool) -> FuzzTarget {
        if arch { FuzzTarget::Arch } else { FuzzTarget::Cmdq }
    }

    fn is_playable(scenario: &Scenario, target: FuzzTarget) -> bool {
        crate::tests::is_fit(scenario, target) && scenario.encode().len() <= MAX_BYTES
    }

    quickcheck! {
        fn mutants_are_playable(start: u64, arch: bool, seeds: Vec<u64>) -> bool {
            let target = target(arch);
            let mut scenario = generated(start, target);
            seeds.iter().all(|seed| {
                mutate(&mut scenario, target, *seed);
                is_playable(&scenario, target)
            })
        }

        fn children_are_playable(one: u64, other: u64, arch: bool, seed: u64) -> bool {
            let target = target(arch);
            let (one, other) = (generated(one, target), generated(other, target));
            let child = crossover(&one, &other, target, seed);
            is_playable(&child, target) && child == crossover(&one, &other, target, seed)
        }

        fn the_seed_decides(start: u64, arch: bool, seed: u64) -> bool {
            let target = target(arch);
            let mut mutants = [generated(start, target), generated(start, target)];
            mutants.iter_mut().for_each(|mutant| mutate(mutant, target, seed));
            let [one, other] = mutants;
            one == other
        }
    }

    #[test]
    fn stored_scenarios_of_any_target_are_varied() {
        let targets = FuzzTarget::ALL.into_iter().cycle();
        let stored: Vec<_> = (0..30).zip(targets).map(|(n, of)| generated(n, of)).collect();
        for target in FuzzTarget::ALL {
            let all: Vec<_> =
                (0..200).filter_map(|seed| vary_stored(&stored, target, seed)).collect();
            assert_eq!(all.len(), 200);
            assert!(all.iter().all(|varied| is_playable(varied, target)), "{target:?}");
            let are_new = all.iter().filter(|varied| !stored.contains(varied)).count();
            assert!(are_new > 150, "{target:?}: {are_new}");
        }
        assert_eq!(vary_stored(&[], FuzzTarget::Cmdq, 1), None);
    }

    #[test]
    fn nothing_can_be_mutated_too() {
        for seed in 0..500 {
            let mut scenario = Scenario::default();
            for target in FuzzTarget::ALL {
                mutate(&mut scenario, target, seed);
                assert!(is_playable(&scenario, target));
                let child = crossover(&Scenario::default(), &scenario, target, seed);
                assert!(is_playable(&child, target));
            }
        }
    }

    #[test]
    fn every_mutation_changes_something() {
        for (index, mutation) in MUTATIONS.iter().enumerate() {
            let changes = (0..200).filter(|seed| {
                let target = target(seed % 2 == 1);
                let scenario = generated(*seed, target);
                let mut mutant = scenario.clone();
                mutation(&mut mutant, target, &mut Rng::with_seed(*seed));
                mutant.fit(target);
                mutant != scenario
            });
            assert!(changes.count() > 50, "mutation {index}");
        }
    }

    #[test]
    fn mutants_of_one_scenario_differ() {
        let scenario = generated(7, FuzzTarget::Arch);
        let mutant = |seed| {
            let mut mutant = scenario.clone();
            mutate(&mut mutant, FuzzTarget::Arch, seed);
            mutant.encode()
        };
        let mutants: Vec<_> = (0..1000).map(mutant).collect();
        let same = mutants.iter().filter(|mutant| **mutant == scenario.encode()).count();
        assert!(same < 50, "{same}");
        let different = BTreeSet::from_iter(mutants).len();
        assert!(different > 850, "{different}");
    }

    #[test]
    fn children_of_long_parents_are_not_longer() {
        let operations = vec![Operation::Quiesce { cpu: 0 }; DRAWN_OPERATIONS];
        let long = Scenario { operations, ..Scenario::default() };
        assert!((0..100).all(|seed| {
            let child = crossover(&long, &long, FuzzTarget::Cmdq, seed);
            is_playable(&child, FuzzTarget::Cmdq)
        }));
    }

    #[test]
    fn every_argument_of_every_kind_is_changed() {
        for kind in Kind::ALL {
            let record = Record { kind: *kind, cpu: 0, words: [1; ARGUMENTS] };
            let before = Scenario { operations: vec![record.operation()], ..Scenario::default() };
            let mut changed = [false; ARGUMENTS];
            for seed in 0..300 {
                let mut mutant = before.clone();
                tweak(&mut mutant, FuzzTarget::Cmdq, &mut Rng::with_seed(seed));
                let (old, new) = (record.fix(), Record::from(&mutant.operations[0]));
                for (index, changed) in changed.iter_mut().enumerate() {
                    *changed |= old.words[index] != new.words[index];
                }
            }
            let arguments = kind.arguments().len();
            assert_eq!(changed.map(usize::from).iter().sum::<usize>(), arguments, "{kind:?}");
        }
    }

    /// Reaching what is rare: a batch that fills a queue of one page.
    #[test]
    fn a_batch_grows_until_a_small_queue_is_full() {
        let text = "itsdiff 2\ncommand INVALL icid=0\n";
        let longest = (0..200).map(|seed| {
            let mut scenario = Scenario::parse(text).unwrap_or_default();
            repeat(&mut scenario, FuzzTarget::Cmdq, &mut Rng::with_seed(seed));
            scenario.operations.len()
        });
        assert_eq!(longest.max(), Some(DRAWN_OPERATIONS));
    }
}
