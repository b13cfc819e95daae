//! One redistributor with its tables in memory.

use its_gic::redistributor::{
    CTLR, INVALLR, INVLPIR, PENDBASER, PROPBASER, SYNCR, TYPER, configuration_address,
    pending_address,
};
use its_machine::freedom::choice::{EnableLpis, EqualPriority, LpiCache, PendingTable, Quiescent};
use its_machine::{Area, Choices, Coherence, ItsConfiguration, Machine, Snooping};

use super::*;
use crate::flat::Flat;
use crate::lines::Storer;
use crate::testing::{choosing, machine};

const TABLE: u64 = Area::CONFIGURATION.address();
const PENDING: u64 = Area::PENDING.address();
const PTZ: u64 = 1 << 62;

fn redistributor(choices: Choices) -> (Redistributor, Memory) {
    (Redistributor::new(1, &machine(choosing(choices))), Memory::new(Flat::ALL))
}

fn start(redistributor: &mut Redistributor, memory: &mut Memory, pendbaser: u64) {
    redistributor.write(PROPBASER, 8, TABLE | 15, memory);
    redistributor.write(PENDBASER, 8, pendbaser, memory);
    assert_eq!(redistributor.write(CTLR, 4, 1, memory), Written::Started);
}

fn configure(memory: &mut Memory, intid: u32, byte: u8) {
    let address = configuration_address(TABLE, intid);
    let shift = (address & 7) * 8;
    let word = memory.read(address & !7) & !(0xff << shift);
    memory.write(address & !7, word | u64::from(byte) << shift);
}

#[test]
fn lpis_are_taken_once_enabled_and_in_range() {
    let (mut redistributor, mut memory) = redistributor(Choices::USUAL);
    redistributor.set_pending(8192, &memory);
    assert!(redistributor.pending().is_empty());
    start(&mut redistributor, &mut memory, PENDING | PTZ);
    for intid in [8191, 8192, 65535, 65536] {
        redistributor.set_pending(intid, &memory);
    }
    assert!(redistributor.pending().iter().eq(&[8192, 65535]));
    let fixed = redistributor.write(PROPBASER, 8, 0, &mut memory);
    assert_eq!(fixed, Written::Unpredictable(PROPBASER));
    assert_eq!(redistributor.read(PROPBASER, 4), TABLE | 15);
    assert_eq!(redistributor.write(CTLR, 4, 0, &mut memory), Written::Nothing);
    assert!(redistributor.lpis_are_on(), "EnableLPIs is fixed");
}

#[test]
fn registers_say_what_it_is() {
    let (mut redistributor, mut memory) = redistributor(Choices::USUAL.with(EnableLpis::Clearable));
    assert_eq!(redistributor.read(TYPER, 8), 1 | 1 << 4 | 1 << 8 | 1 << 32);
    assert_eq!(redistributor.read(CTLR, 4), 0b110, "CES and IR");
    redistributor.write(PENDBASER, 8, PENDING | PTZ, &mut memory);
    assert_eq!(redistributor.read(PENDBASER, 8), PENDING, "PTZ reads zero");
    redistributor.write(PENDBASER + 4, 4, 0x1234, &mut memory);
    assert_eq!(redistributor.read(PENDBASER, 4), PENDING & 0xffff_ffff);
    assert_eq!(redistributor.read(SYNCR, 4), 0);
    assert!(!Redistributor::has_access(CTLR, 8) && !Redistributor::has_access(PROPBASER, 2));
}

#[test]
fn fewer_than_fourteen_intid_bits_are_no_lpis() {
    let (mut redistributor, mut memory) = redistributor(Choices::USUAL);
    redistributor.write(PROPBASER, 8, TABLE | 12, &mut memory);
    redistributor.write(CTLR, 4, 1, &mut memory);
    redistributor.set_pending(8192, &memory);
    assert!(redistributor.pending().is_empty());
}

#[test]
fn the_pending_table_goes_around() {
    let usual = Choices::USUAL.with(EnableLpis::Clearable);
    for (choices, written) in [(usual, true), (usual.with(PendingTable::Lost), false)] {
        let (mut redistributor, mut memory) = redistributor(choices);
        let (byte, bit) = pending_address(PENDING, 8199);
        memory.write(byte & !7, 1 << ((byte & 7) * 8 + u64::from(bit)));
        memory.write(PENDING, u64::MAX);
        start(&mut redistributor, &mut memory, PENDING);
        assert!(redistributor.pending().iter().eq(&[8199]));
        redistributor.clear_pending(8199);
        redistributor.set_pending(65535, &memory);
        assert_eq!(redistributor.write(CTLR, 4, 0, &mut memory), Written::Stopped);
        assert!(redistributor.pending().is_empty());
        start(&mut redistributor, &mut memory, PENDING);
        let expected = if written { 65535 } else { 8199 };
        assert!(redistributor.pending().iter().eq(&[expected]), "{choices:?}");
        assert_eq!(memory.read(PENDING), u64::MAX, "nobody's but the implementation's");
    }
}

#[test]
fn switching_off_takes_as_long_as_it_may() {
    let choices = Choices::USUAL.with(EnableLpis::Clearable).with(Quiescent::Late);
    let (mut redistributor, mut memory) = redistributor(choices);
    start(&mut redistributor, &mut memory, PENDING | PTZ);
    redistributor.write(CTLR, 4, 0, &mut memory);
    let fixed = redistributor.write(PENDBASER, 4, 0, &mut memory);
    assert_eq!(fixed, Written::Unpredictable(PENDBASER));
    assert_eq!(redistributor.read(CTLR, 4), 0b1110, "RWP");
    assert_eq!(redistributor.read(CTLR, 4), 0b0110);
    assert_eq!(redistributor.write(PENDBASER, 4, 0, &mut memory), Written::Nothing);
}

#[test]
fn the_most_urgent_is_offered() {
    for (choice, tie) in [(EqualPriority::Lowest, 8193), (EqualPriority::Highest, 8194)] {
        let (mut redistributor, mut memory) = redistributor(Choices::USUAL.with(choice));
        start(&mut redistributor, &mut memory, PENDING | PTZ);
        for (intid, byte) in [(8192, 0xa3), (8193, 0x83), (8194, 0x83), (8195, 0x02)] {
            configure(&mut memory, intid, byte);
            redistributor.set_pending(intid, &memory);
        }
        assert_eq!(redistributor.offered(&memory), Some(tie));
        for _ in 0..2 {
            redistributor.acknowledge(&memory);
        }
        assert_eq!(redistributor.acknowledge(&memory), Some(8192));
        assert_eq!(redistributor.acknowledge(&memory), None, "8195 is disabled");
        assert!(redistributor.pending().iter().eq(&[8195]));
    }
}

#[test]
fn configuration_is_kept_until_it_must_be_forgotten() {
    let (mut redistributor, mut memory) = redistributor(Choices::USUAL.with(LpiCache::Kept));
    start(&mut redistributor, &mut memory, PENDING | PTZ);
    for intid in [8192, 8193] {
        redistributor.set_pending(intid, &memory);
        configure(&mut memory, intid, 0xa3);
    }
    assert_eq!(redistributor.offered(&memory), None, "both bytes are old");
    redistributor.write(INVLPIR, 8, 8193, &mut memory);
    assert_eq!(redistributor.offered(&memory), Some(8193));
    redistributor.write(INVALLR + 4, 4, 0, &mut memory);
    assert_eq!(redistributor.offered(&memory), Some(8193), "no register of its own");
    redistributor.write(INVALLR, 4, 0, &mut memory);
    assert_eq!(redistributor.acknowledge(&memory), Some(8192));
    configure(&mut memory, 8193, 0xa2);
    assert_eq!(redistributor.acknowledge(&memory), Some(8193), "it was weighed before");
}

#[test]
fn shareability_reads_as_the_machine_has_it() {
    let share = Propbaser::new().with_shareability(1).into_bits();
    for (snooping, expected) in
        [(Snooping::Unsaid, share), (Snooping::No, 0), (Snooping::Yes, share)]
    {
        let coherence = Coherence { propbaser: snooping, pendbaser: snooping, ..Coherence::UNSAID };
        let machine = Machine { coherence, ..machine(ItsConfiguration::DEFAULT) };
        let mut redistributor = Redistributor::new(1, &machine);
        let mut memory = Memory::new(Flat::ALL);
        redistributor.write(PROPBASER, 8, TABLE | share, &mut memory);
        redistributor.write(PENDBASER, 8, PENDING | share, &mut memory);
        assert_eq!(redistributor.read(PROPBASER, 8), TABLE | expected, "{snooping:?}");
        assert_eq!(redistributor.read(PENDBASER, 8), PENDING | expected, "{snooping:?}");
    }
}

#[test]
fn configuration_that_was_not_cleaned_is_seen_where_caches_are_snooped() {
    for (propbaser, offered) in [(Snooping::Unsaid, false), (Snooping::Yes, true)] {
        let coherence = Coherence { propbaser, ..Coherence::UNSAID };
        let machine = Machine { coherence, ..machine(ItsConfiguration::DEFAULT) };
        let mut redistributor = Redistributor::new(1, &machine);
        let mut memory = Memory::new(Flat::ALL);
        start(&mut redistributor, &mut memory, PENDING | PTZ);
        redistributor.set_pending(8192, &memory);
        memory.write_uncleaned(Storer::Host, TABLE, 1);
        assert_eq!(redistributor.acknowledge(&memory).is_some(), offered, "{propbaser:?}");
    }
}
