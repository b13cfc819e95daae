//! The same case gives the same answers, whatever was played before it.

#[allow(dead_code)]
mod support;

use its_device::{Device, Step};
use its_gic::{Command, Register};
use its_machine::{AccessSize, Action, Direction};
use support::{
    COLLECTIONS, CONFIGURATION, DEVICES, Draft, ITS, ITT, PENDING, QUEUE, REDISTRIBUTORS, mapc,
    mapd, mapti, start,
};

const CASES: u64 = 400;

/// Places for tables: good ones, such that are something else, and such that are nothing.
const PLACES: [u64; 12] = [
    ITT,
    ITT + 0x100,
    ITT + 0x1_0f00,
    DEVICES,
    COLLECTIONS,
    PENDING[0],
    QUEUE,
    0x4000_0000,
    0x0800_0000,
    ITS,
    REDISTRIBUTORS[0],
    0xc000_0000,
];

fn command(random: &mut fastrand::Rng) -> Command {
    let mut words = [
        u64::from(random.choice([1_u8, 3, 4, 5, 8, 9, 10, 11, 12, 13, 14, 15, 77]).unwrap_or(0)),
        random.u64(0..5) | random.u64(8190..8260) << 32,
        random.u64(0..4) | random.u64(0..3) << 16,
        random.u64(0..3) << 16,
    ];
    words[0] |= random.u64(0..4) << 32;
    if words[0] & 0xff == 8 {
        words[1] = random.u64(0..18);
        words[2] = random.choice(PLACES).unwrap_or(0) | 1 << 63;
    }
    if random.u8(0..8) > 0 {
        words[2] |= 1 << 63;
    }
    Command::Raw { words }
}

fn action(random: &mut fastrand::Rng) -> Action {
    let place = random.choice(PLACES).unwrap_or(0) + random.u64(0..64) * 8;
    let registers = [
        ITS,
        ITS + Register::Cbaser.offset(),
        ITS + Register::Cwriter.offset(),
        ITS + Register::Creadr.offset(),
        ITS + Register::Baser(0).offset(),
        ITS + Register::Baser(1).offset(),
        REDISTRIBUTORS[1],
        REDISTRIBUTORS[1] + 0x70,
        REDISTRIBUTORS[1] + 0x78,
    ];
    let (cpu, value) = (0, random.u64(..) & random.u64(..));
    match random.u8(0..4) {
        0 => Action::Load { cpu, address: place },
        1 => Action::Store { cpu, address: place, value },
        _ => Action::Device {
            cpu,
            address: random.choice(registers).unwrap_or(ITS),
            size: random.choice([AccessSize::Word, AccessSize::Double]).unwrap_or(AccessSize::Word),
            direction: match random.u8(0..3) {
                0 => Direction::Write(value),
                1 => Direction::Write(random.choice(PLACES).unwrap_or(0) | 1 << 63 | 1),
                _ => Direction::Read,
            },
        },
    }
}

fn case(seed: u64) -> Vec<Step> {
    let mut random = fastrand::Rng::with_seed(seed);
    let mut draft = Draft::new(random.u64(12..16));
    draft.store(CONFIGURATION, 0xa3a3_a3a3_a3a3_a3a3);
    draft.send(mapc(0, 0));
    draft.send(mapc(1, 1));
    for device in 0..3 {
        draft.send(mapd(device, ITT + u64::from(device) * 0x1000));
        for event in 0..4 {
            draft.send(mapti(device, event, 8192 + device * 4 + event, event as u16 & 1));
        }
    }
    for _ in 0..random.u8(10..50) {
        match random.u8(0..10) {
            0..8 => draft.send(command(&mut random)),
            8 => draft.act(action(&mut random)),
            _ => draft.look(),
        }
    }
    draft.look();
    draft.steps
}

#[test]
fn cases_do_not_depend_on_what_came_before() {
    let (Some(mut one), Some(mut other)) = (start(), start()) else { return };
    let first: Vec<_> = (0..CASES).map(|seed| one.play(&case(seed)).unwrap()).collect();
    // In another order, on another machine.
    for seed in (0..CASES).rev() {
        let again = other.play(&case(seed)).unwrap();
        let before = &first[seed as usize];
        for (number, step) in case(seed).iter().enumerate() {
            assert_eq!(before[number], again[number], "case {seed}, step {number}: {step:?}");
        }
    }
}
