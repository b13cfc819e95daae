//! The emulation as a whole, on the small EL2.

use its_machine::PageState;

use its_el2::{AccessSize, Direction, El2, Errno, Frame, Subject, Trap};
use its_gic::command::{Command, Words};
use its_gic::geometry::PAGE_BYTES;
use its_gic::{Baser, Cbaser, Register, Typer};
use quickcheck::quickcheck;
use std::collections::BTreeMap;

use crate::test_el2::{Did, END, ITS, LINEAR, REDISTRIBUTORS, TestEl2, TestLocks};
use crate::{Emulator, MAX_ITS};

const QUEUE: u64 = 0x8010_0000;
const QUEUE_BYTES: u64 = 0x1000;
const LEVEL1: u64 = 0x8020_0000;
const LEVEL2: u64 = 0x8021_0000;
const COLLECTIONS: u64 = 0x8022_0000;
const HOST_QUEUE: u64 = 0x8030_0000;
const SHADOW: u64 = 0x8032_0000;
const PRIVATE: u64 = 0x8040_0000;
const DESCRIPTOR: u64 = 0x8042_0000;
const LIST: u64 = 0x8043_0000;
const ITTS: u64 = 0x8050_0000;
const CONFIGURATION: u64 = 0x8060_0000;
const PENDING: u64 = 0x8070_0000;
const GROWTH: u64 = 0x9000_0000;
const RD_CTLR: u64 = 0;
const RD_PROPBASER: u64 = 0x70;
const RD_PENDBASER: u64 = 0x78;

/// A machine with one probed ITS and two live devices, DeviceIDs 3 and 5, and what the hypercall
/// gets.
struct Bench {
    el2: TestEl2,
    emulator: Emulator<TestLocks>,
    arguments: [u64; 4],
}

fn typer() -> Typer {
    Typer::new()
        .with_physical(true)
        .with_itt_entry_size(7)
        .with_id_bits(15)
        .with_devbits(17)
        .with_cil(true)
        .with_cidbits(7)
}

fn baser(table_type: u8, address: u64, indirect: bool) -> Baser {
    Baser::new()
        .with_valid(true)
        .with_type_field(table_type)
        .with_entry_size(7)
        .with_inner_cache(7)
        .with_indirect(indirect)
        .with_address(address)
}

fn cbaser() -> Cbaser {
    let value =
        Cbaser::new().with_page_number(QUEUE >> 12).with_size((QUEUE_BYTES / PAGE_BYTES - 1) as u8);
    value.with_inner_cache(7).with_valid(true)
}

fn itt(n: u64) -> u64 {
    ITTS + 0x100 * n
}

/// Probes an ITS and describes it, all its memory `shift` bytes up but for the ITTs of live
/// devices. Returns what the hypercall gets.
fn probe(el2: &TestEl2, its: u64, shift: u64) -> [u64; 4] {
    let devices = baser(1, LEVEL1 + shift, true).into_bits();
    let collections = baser(4, COLLECTIONS + shift, false).into_bits();
    for (register, value) in [
        (Register::Ctlr, 3),
        (Register::Typer, typer().into_bits()),
        (Register::Cbaser, cbaser().into_bits() + shift),
        (Register::Creadr, 0x40),
        (Register::Cwriter, 0x40),
        (Register::Baser(0), devices),
        (Register::Baser(1), collections),
    ] {
        el2.set_register(its, register, value);
    }
    el2.store(LEVEL1 + shift, 1 << 63 | (LEVEL2 + shift));
    let linear = LINEAR + shift;
    for (offset, value) in [
        (0x00, linear + QUEUE),
        (0x08, linear + HOST_QUEUE),
        (0x10, QUEUE_BYTES),
        (0x18, 2),
        (0x20, linear + LIST),
        (0x40, linear + LEVEL1),
        (0x48, linear + SHADOW),
        (0x50, devices),
        (0x58, 0x1000 << 32),
        (0x60, linear + COLLECTIONS),
        (0x70, collections),
        (0x78, 0x1000 << 32),
    ] {
        el2.store(DESCRIPTOR + shift + offset, value);
    }
    for (n, device_id) in [(0, 3), (1, 5)] {
        el2.store(LIST + shift + 16 * n, 4 << 32 | device_id);
        el2.store(LIST + shift + 16 * n + 8, itt(n));
    }
    [its, linear + PRIVATE, linear + DESCRIPTOR, 2]
}

impl Bench {
    fn new() -> Self {
        let el2 = TestEl2::new();
        el2.set_page(0x8000_0000, PageState::EL2);
        for (rd, pending) in REDISTRIBUTORS.into_iter().zip([PENDING, PENDING + 0x1_0000]) {
            let mut devices = el2.devices.borrow_mut();
            devices.insert(rd + RD_CTLR, 1);
            devices.insert(rd + RD_PROPBASER, CONFIGURATION | 13);
            devices.insert(rd + RD_PENDBASER, pending);
        }
        let arguments = probe(&el2, ITS[0], 0);
        Self { el2, emulator: Emulator::new(&ITS[..1]), arguments }
    }

    fn guarded() -> Self {
        let bench = Self::new();
        assert_eq!(bench.set_up(), 0);
        bench
    }

    fn set_up(&self) -> i64 {
        self.emulator.set_up(&self.el2, self.arguments)
    }

    fn access(&self, frame: Frame, offset: u64, size: AccessSize, direction: Direction) -> u64 {
        let trap = Trap { cpu: 0, frame, offset, size, direction };
        self.emulator.trap(&self.el2, trap)
    }

    /// An access to the control frame of the first ITS.
    fn control(&self, offset: u64, size: AccessSize, direction: Direction) -> u64 {
        self.access(Frame::ItsControl(0), offset, size, direction)
    }

    fn whole(&self, register: Register, direction: Direction) -> u64 {
        let size = if register.width() == 8 { AccessSize::Double } else { AccessSize::Word };
        self.control(register.offset(), size, direction)
    }

    fn read(&self, register: Register) -> u64 {
        self.whole(register, Direction::Read)
    }

    fn write(&self, register: Register, value: u64) {
        self.whole(register, Direction::Write(value));
    }

    /// Writes CWRITER with the W that it has and Retry.
    fn retry(&self) {
        self.write(Register::Cwriter, self.read(Register::Cwriter) | 1);
    }

    /// Enables the ITS; whether the hardware is enabled then.
    fn starts(&self) -> bool {
        self.write(Register::Ctlr, 3);
        self.hardware(Register::Ctlr) & 1 != 0
    }

    fn hardware(&self, register: Register) -> u64 {
        self.el2.register(ITS[0], register)
    }

    fn set_hardware(&self, register: Register, value: u64) {
        self.el2.set_register(ITS[0], register, value);
    }

    fn describe(&self, offset: u64, value: u64) {
        self.el2.store(DESCRIPTOR + offset, value);
    }

    fn describe_baser(&self, n: u64, value: Baser) {
        self.describe(0x50 + 0x20 * n, value.into_bits());
    }

    /// Gives the collection table another type, which the descriptor agrees with.
    fn retype_collections(&self, table_type: u8) {
        let value = collections().with_type_field(table_type);
        self.set_hardware(Register::Baser(1), value.into_bits());
        self.describe_baser(1, value);
    }

    fn give_away(&self, address: u64) {
        self.el2.set_page(address, PageState::GUEST);
    }

    fn put(&self, offset: u64, words: Words) {
        for (n, word) in (0..).zip(words) {
            self.el2.store(HOST_QUEUE + offset + 8 * n, word);
        }
    }

    /// Puts a command at W and moves W over it.
    fn submit(&self, command: Command) {
        let offset = self.read(Register::Cwriter);
        self.put(offset, command.encode());
        self.write(Register::Cwriter, (offset + 32) % QUEUE_BYTES);
    }

    /// Submits a command, which the hardware carries out.
    fn carry_out(&self, command: Command) {
        self.submit(command);
        self.advance(1);
    }

    /// Writes CWRITER; what the hardware has of it then, and what CREADR reads.
    fn write_cwriter(&self, value: u64) -> [u64; 2] {
        self.write(Register::Cwriter, value);
        [self.hardware(Register::Cwriter), self.read(Register::Creadr)]
    }

    fn slot(&self, offset: u64) -> Words {
        core::array::from_fn(|n| self.el2.load(QUEUE + offset + 8 * n as u64))
    }

    fn advance(&self, commands: u64) {
        self.el2.advance(ITS[0], commands);
        self.read(Register::Creadr);
    }

    fn pins(&self, address: u64) -> u16 {
        self.el2.page(address).pins
    }

    /// Disables the ITS and lets it come to rest, as the driver does.
    fn rest(&self) {
        self.write(Register::Ctlr, 0);
        self.set_hardware(Register::Ctlr, 1 << 31 | 2);
        assert_eq!(self.read(Register::Ctlr), 1 << 31 | 2);
    }

    fn lose_power(&self) {
        self.set_hardware(Register::Ctlr, 1 << 31);
        for register in [Register::Cbaser, Register::Baser(0), Register::Baser(1)] {
            self.set_hardware(register, 0x1234_5000);
        }
        self.set_hardware(Register::Creadr, 0x20);
        self.set_hardware(Register::Cwriter, 0x60);
    }
}

fn mapd(device_id: u32, itt_address: u64, size: u8) -> Command {
    Command::Mapd { device_id, size, itt_address, valid: true }
}

fn unmap(device_id: u32) -> Command {
    Command::Mapd { device_id, size: 0, itt_address: 0, valid: false }
}

fn devices() -> Baser {
    baser(1, LEVEL1, true)
}

fn collections() -> Baser {
    baser(4, COLLECTIONS, false)
}

const SYNC: Command = Command::Sync { rdbase: 1 };
const NONSENSE: Words = [0xff, 1, 2, 3];
const EINVAL: Errno = Errno::Einval;
const EPERM: Errno = Errno::Eperm;

// ---- phases

#[test]
fn closing_forwards_reads_and_ignores_writes() {
    let bench = Bench::new();
    assert!(!bench.emulator.allows_donation(&bench.el2));
    assert_eq!(bench.read(Register::Cbaser), cbaser().into_bits());
    bench.write(Register::Cwriter, 0x80);
    bench.write(Register::Ctlr, 0);
    assert!(bench.el2.did.take().is_empty());
    let read = |offset, size| bench.control(offset, size, Direction::Read);
    assert_eq!(read(0x84, AccessSize::Word), cbaser().into_bits() >> 32);
    for (offset, size) in [
        (0x80, AccessSize::Byte),
        (0x84, AccessSize::Double),
        (0, AccessSize::Double),
        (0x1_0080, AccessSize::Double),
    ] {
        assert_eq!(read(offset, size), 0);
    }
    assert_eq!(bench.set_up(), 0);
    assert!(bench.emulator.allows_donation(&bench.el2));
}

#[test]
fn itss_beyond_the_most_are_never_guarded() {
    for (count, allowed) in [(MAX_ITS, true), (MAX_ITS + 1, false)] {
        let mut bench = Bench::new();
        bench.emulator = Emulator::new(&ITS[..count]);
        for (n, its) in (0..).zip(ITS) {
            let arguments = probe(&bench.el2, its, 0x80_0000 * n);
            let guards = if n < MAX_ITS as u64 { Ok(()) } else { Err(Errno::Enodev) };
            let result = bench.emulator.set_up(&bench.el2, arguments);
            assert_eq!(result, Errno::result(guards));
        }
        assert_eq!(bench.emulator.allows_donation(&bench.el2), allowed);
    }
}

#[test]
fn a_copy_goes_on_where_the_original_was() {
    let bench = Bench::guarded();
    let copy = bench.emulator.clone();
    assert!(copy.allows_donation(&bench.el2));
    let fresh = Emulator::<TestLocks>::new(&ITS).clone();
    assert!(!fresh.allows_donation(&bench.el2));
}

// ---- set-up

#[test]
fn set_up_takes_what_it_must() {
    let bench = Bench::guarded();
    for address in [QUEUE, LEVEL1, LEVEL2, COLLECTIONS, PRIVATE, PRIVATE + 0x1000, DESCRIPTOR] {
        assert_eq!(bench.el2.page(address), PageState::EL2, "{address:#x}");
    }
    for address in [HOST_QUEUE, SHADOW, ITTS, CONFIGURATION, CONFIGURATION + 0x1000, PENDING] {
        assert!(bench.el2.page(address).is_held(), "{address:#x}");
    }
    assert!(bench.el2.page(PENDING + 0x1_0000).is_held());
    assert_eq!(bench.el2.page(LIST), PageState::HOST);
    assert_eq!(bench.pins(ITTS), 2);
    assert_eq!(bench.pins(CONFIGURATION), 2);
    // Each entry of the list was read once, and the hardware was left alone.
    let read = bench.el2.words_read.borrow();
    for word in (LIST..LIST + 32).step_by(8) {
        assert_eq!(read.iter().filter(|address| **address == word).count(), 1);
    }
    let is_device = |did: &Did| matches!(did, Did::WroteDevice(..));
    assert!(!bench.el2.did.borrow().iter().any(is_device));
}

/// What makes a set-up fail, with its errno and what it is about.
type Spoil = (Errno, &'static str, fn(&mut Bench));

const EARLY: &[Spoil] = &[
    (Errno::Eopnotsupp, "S1", |b| b.el2.protected.set(false)),
    (Errno::Ebusy, "S2", |b| b.el2.finalized.set(false)),
    (Errno::Enodev, "S3", |b| b.arguments[0] += 0x1000),
    (Errno::Eopnotsupp, "S4 vPE table", |b| {
        b.set_hardware(Register::Baser(2), baser(2, 0x8080_0000, false).into_bits());
    }),
    (EINVAL, "S5 private unaligned", |b| b.arguments[1] += 8),
    (EINVAL, "S5 not linear", |b| b.arguments[1] = PRIVATE),
    (EINVAL, "S5 descriptor no memory", |b| b.arguments[2] = LINEAR + END + 0x1000),
    (EINVAL, "S5 beyond memory", |b| b.arguments[1] = LINEAR + END - 0x1000),
    (EINVAL, "S5 overlap", |b| b.arguments[2] = LINEAR + PRIVATE + 0x1000),
    (EINVAL, "S5 too many", |b| b.arguments[3] = 1025),
    (EINVAL, "S5 far too many", |b| b.arguments[3] = u64::MAX),
    (EPERM, "S6 private", |b| b.give_away(PRIVATE + 0x1000)),
    (EPERM, "S6 descriptor", |b| b.el2.set_page(DESCRIPTOR, PageState::EL2)),
    (EPERM, "S6 list", |b| b.el2.set_page(LIST, PageState::EL2)),
    (EPERM, "S6 list is private", |b| b.describe(0x20, LINEAR + PRIVATE)),
    (EPERM, "S6 list unaligned", |b| b.describe(0x20, LINEAR + LIST + 16)),
    (EPERM, "S6 list overflows", |b| b.describe(0x18, u64::MAX)),
];

const DISAGREEMENTS: &[Spoil] = &[
    (EINVAL, "S7 queue", |b| b.describe(0, LINEAR + QUEUE + 0x1000)),
    (EINVAL, "S7 queue length", |b| b.describe(0x10, 0x2000)),
    (EINVAL, "S7 queue not valid", |b| {
        b.set_hardware(Register::Cbaser, cbaser().with_valid(false).into_bits());
    }),
    (EINVAL, "S7 queue unaligned", |b| {
        b.set_hardware(Register::Cbaser, (cbaser().into_bits() & !0xf000) | 0x1000);
        b.describe(0, LINEAR + QUEUE + 0x1000);
    }),
    (EINVAL, "S7 host queue", |b| b.describe(8, LINEAR + END - 0x800)),
    (EINVAL, "S7 base", |b| b.describe(0x40, LINEAR + LEVEL2)),
    (EINVAL, "S7 shadow", |b| b.describe(0x48, 0)),
    (EINVAL, "S7 order", |b| b.describe(0x58, 0x1000 << 32 | 1)),
    (EINVAL, "S7 order overflows", |b| b.describe(0x58, 0x1000 << 32 | 63)),
    (EINVAL, "S7 page size", |b| b.describe(0x58, 0x4000 << 32)),
    (EINVAL, "S7 entry size", |b| b.describe_baser(0, devices().with_entry_size(15))),
    (EINVAL, "S7 indirect", |b| b.describe_baser(0, devices().with_indirect(false))),
    (EINVAL, "S7 valid", |b| b.describe(0x90, 1 << 63)),
    (EINVAL, "S7 type", |b| b.describe_baser(0, devices().with_type_field(4))),
    (EINVAL, "S7 two device tables", |b| b.retype_collections(1)),
    (EINVAL, "S7 unknown type", |b| b.retype_collections(5)),
    (EINVAL, "S7 DeviceIDs", |b| b.el2.store(LIST + 16, 4 << 32 | 3)),
    (EINVAL, "S7 DeviceID beyond", |b| b.el2.store(LIST, 4 << 32 | 1 << 18)),
    (EINVAL, "S7 Size", |b| b.el2.store(LIST, 16 << 32 | 3)),
    (EINVAL, "S7 Size beyond a byte", |b| b.el2.store(LIST, 256 << 32 | 3)),
    (EINVAL, "S7 ITT unaligned", |b| b.el2.store(LIST + 8, ITTS + 0x80)),
];

const LATE: &[Spoil] = &[
    (Errno::Ebusy, "S8 disabled", |b| b.set_hardware(Register::Ctlr, 1 << 31)),
    (Errno::Ebusy, "S8 not empty", |b| b.set_hardware(Register::Creadr, 0x20)),
    (Errno::Ebusy, "S8 stalled", |b| b.set_hardware(Register::Creadr, 0x41)),
    (Errno::Enospc, "S9 records", |b| {
        b.describe(0x18, 513);
        (0..513).for_each(|n| b.el2.store(LIST + 16 * n, 4 << 32 | n));
    }),
    (EPERM, "S9 queue", |b| b.give_away(QUEUE)),
    (EPERM, "S9 table", |b| b.el2.set_page(COLLECTIONS, PageState::EL2)),
    (EPERM, "S9 level 2", |b| b.el2.set_page(LEVEL2, PageState::EL2)),
    (EPERM, "S9 level 2 twice", |b| b.el2.store(LEVEL1 + 8, 1 << 63 | LEVEL2)),
    (EPERM, "S9 level 2 malformed", |b| b.el2.store(LEVEL1 + 0xff8, 1 << 63 | 1)),
    (EPERM, "S9 level 2 no memory", |b| b.el2.store(LEVEL1 + 8, 1 << 63)),
    (EPERM, "S9 level 2 is the queue", |b| b.el2.store(LEVEL1 + 8, 1 << 63 | QUEUE)),
    (EPERM, "S9 shadow is the table", |b| b.describe(0x48, LINEAR + LEVEL1)),
    (EPERM, "S9 host queue is a guest's", |b| b.give_away(HOST_QUEUE)),
    (EPERM, "S9 ITT no memory", |b| b.el2.store(LIST + 8, END + 0x1000)),
    (EPERM, "S9 ITT is private", |b| b.el2.store(LIST + 8, PRIVATE)),
    (EPERM, "S9 LPI table", |b| b.give_away(PENDING + 0x1_0000)),
];

#[test]
fn each_check_has_its_errno() {
    for (errno, name, spoil) in EARLY.iter().chain(DISAGREEMENTS).chain(LATE) {
        let mut bench = Bench::new();
        spoil(&mut bench);
        let before = bench.el2.ownership();
        assert_eq!(bench.set_up(), Errno::result(Err(*errno)), "{name}");
        assert_eq!(bench.el2.ownership(), before, "{name}");
        assert!(!bench.emulator.allows_donation(&bench.el2), "{name}");
    }
    let bench = Bench::guarded();
    assert_eq!(bench.set_up(), Errno::result(Err(Errno::Eopnotsupp)), "S4");
}

#[test]
fn a_failed_page_call_undoes_set_up() {
    for failing in 1.. {
        let bench = Bench::new();
        let before = bench.el2.ownership();
        bench.el2.failing.set(failing);
        if bench.set_up() == 0 {
            // The list's give back, which comes last and fails without consequence.
            assert_eq!(failing, 26);
            break;
        }
        assert_eq!(bench.el2.ownership(), before, "at call {failing}");
        for word in (PRIVATE..PRIVATE + 0x2000).step_by(8) {
            assert_eq!(bench.el2.load(word), 0);
        }
        bench.el2.failing.set(0);
        assert_eq!(bench.set_up(), 0);
    }
}

#[test]
fn an_empty_list_needs_no_address() {
    let bench = Bench::new();
    bench.describe(0x18, 0);
    bench.describe(0x20, 123);
    assert_eq!(bench.set_up(), 0);
}

#[test]
fn two_itss_share_pages_and_redistributors() {
    let mut bench = Bench::new();
    bench.emulator = Emulator::new(&ITS[..2]);
    let second = probe(&bench.el2, ITS[1], 0x80_0000);
    assert_eq!(bench.set_up(), 0);
    assert!(!bench.emulator.allows_donation(&bench.el2));
    let configuration = bench.pins(CONFIGURATION);
    assert_eq!(bench.emulator.set_up(&bench.el2, second), 0);
    assert!(bench.emulator.allows_donation(&bench.el2));
    assert_eq!(bench.pins(CONFIGURATION), configuration);
    assert_eq!(bench.pins(ITTS), 4);
    bench.submit(unmap(3));
    bench.submit(unmap(5));
    bench.advance(2);
    assert_eq!(bench.pins(ITTS), 2);
    assert!(bench.el2.page(ITTS).is_held());
}

// ---- the queue

#[test]
fn commands_are_copied_cleaned_ordered_and_forwarded_once() {
    let bench = Bench::guarded();
    bench.el2.did.take();
    bench.put(0x40, [5 | 0xffff_ff00, 7, 0x8000_0000_0001_0000, 9]);
    bench.put(0x60, SYNC.encode());
    bench.write(Register::Cwriter, 0x80);
    assert_eq!(bench.slot(0x40), SYNC.encode());
    let did = [
        Did::Wrote(QUEUE + 0x40),
        Did::Cleaned(QUEUE + 0x40, 32),
        Did::Wrote(QUEUE + 0x60),
        Did::Cleaned(QUEUE + 0x60, 32),
        Did::Ordered,
        Did::WroteDevice(ITS[0] + 0x88, 0x80),
    ];
    assert_eq!(bench.el2.did.take(), did);
    assert_eq!(bench.read(Register::Cwriter), 0x80);
    assert_eq!(bench.read(Register::Creadr), 0x40);
    bench.advance(2);
    assert_eq!(bench.read(Register::Creadr), 0x80);
}

#[test]
fn it_wraps_and_holds_at_most_64_in_flight() {
    let bench = Bench::guarded();
    for slot in 0..128 {
        bench.put(32 * slot, SYNC.encode());
    }
    // 127 commands: all but the one before C.
    assert_eq!(bench.write_cwriter(0x20), [0x40 + 64 * 32, 0x40]);
    bench.advance(10);
    assert_eq!(bench.hardware(Register::Cwriter), 0x40 + 74 * 32);
    for _ in 0..20 {
        bench.advance(6);
    }
    assert_eq!(bench.hardware(Register::Cwriter), 0x20);
    assert_eq!(bench.hardware(Register::Creadr), 0x20 + 3 * 32);
}

#[test]
fn a_refused_command_stalls_once_the_hardware_gets_there() {
    let bench = Bench::guarded();
    bench.submit(SYNC);
    bench.put(0x60, NONSENSE);
    bench.put(0x80, SYNC.encode());
    assert_eq!(bench.write_cwriter(0xa0), [0x60, 0x40]);
    // No stall yet: Retry has no effect, even if the command is right by now.
    bench.put(0x60, SYNC.encode());
    assert_eq!(bench.write_cwriter(0xa1), [0x60, 0x40]);
    bench.advance(1);
    assert_eq!(bench.read(Register::Creadr), 0x61);
    assert_eq!(bench.write_cwriter(0xa0), [0x60, 0x61]);
    assert_eq!(bench.write_cwriter(0xa1), [0xa0, 0x60]);
    assert_eq!(bench.read(Register::Cwriter), 0xa0);
}

#[test]
fn retry_takes_the_slot_at_which_the_hardware_stalled_again() {
    let bench = Bench::guarded();
    bench.submit(mapd(9, 0x8051_0000, 4));
    bench.submit(SYNC);
    bench.el2.stall(ITS[0]);
    assert_eq!(bench.read(Register::Creadr), 0x41);
    // One that does not pass changes nothing.
    bench.put(0x40, NONSENSE);
    assert_eq!(bench.write_cwriter(0x81), [0x80, 0x41]);
    assert_eq!(bench.slot(0x40), mapd(9, 0x8051_0000, 4).encode());
    assert_eq!(bench.pins(0x8051_0000), 1);
    // One that passes gets its own ITT, and the old one goes back.
    bench.put(0x40, mapd(9, 0x8052_0000, 4).encode());
    assert_eq!(bench.write_cwriter(0x81), [0x80, 0x40]);
    assert_eq!(bench.el2.page(0x8051_0000), PageState::HOST);
    assert_eq!(bench.pins(0x8052_0000), 1);
    bench.advance(2);
    bench.carry_out(unmap(9));
    assert_eq!(bench.el2.page(0x8052_0000), PageState::HOST);
}

#[test]
fn a_cwriter_out_of_range_is_only_a_look() {
    let bench = Bench::guarded();
    bench.submit(SYNC);
    bench.submit(SYNC);
    bench.el2.stall(ITS[0]);
    for offset in [0x40, 0x60, QUEUE_BYTES, 0xf_ffe0] {
        assert_eq!(bench.write_cwriter(offset | 1), [0x80, 0x41], "{offset:#x}");
        assert_eq!(bench.read(Register::Cwriter), 0x80, "{offset:#x}");
    }
    bench.el2.advance(ITS[0], 1);
    bench.write(Register::Cwriter, QUEUE_BYTES);
    bench.set_hardware(Register::Ctlr, 0);
    assert_eq!(bench.read(Register::Creadr), 0x61);
}

#[test]
fn halves_are_judged_as_the_whole_register() {
    let bench = Bench::guarded();
    let half = |offset, direction| bench.control(offset, AccessSize::Word, direction);
    bench.put(0x40, SYNC.encode());
    half(0x88, Direction::Write(0x60));
    assert_eq!(bench.hardware(Register::Cwriter), 0x60);
    half(0x8c, Direction::Write(u64::from(u32::MAX)));
    assert_eq!(bench.read(Register::Cwriter), 0x60);
    assert_eq!(half(0x90, Direction::Read), 0x40);
    assert_eq!(half(0x94, Direction::Read), 0);
    bench.advance(1);
    bench.rest();
    half(0x80, Direction::Write(cbaser().into_bits() & 0xffff_ffff));
    assert_eq!(bench.read(Register::Cwriter), 0);
    let wrote = bench.el2.did.borrow().clone();
    assert!(wrote.contains(&Did::WroteDevice(ITS[0] + 0x80, cbaser().into_bits())));
    half(0x84, Direction::Write(0));
    let changed = cbaser().into_bits() & 0xffff_ffff;
    assert!(!wrote.contains(&Did::WroteDevice(ITS[0] + 0x80, changed)));
    assert_eq!(half(0x84, Direction::Read), cbaser().into_bits() >> 32);
}

#[test]
fn an_itt_is_held_from_submission_to_consumption_of_what_unmaps_it() {
    let bench = Bench::guarded();
    let (old, new) = (0x8051_0f00, 0x8053_0000);
    bench.submit(mapd(9, old, 8));
    assert!(bench.el2.page(old).is_held() && bench.el2.page(old + 0x1000).is_held());
    bench.carry_out(mapd(9, new, 8));
    assert!(bench.el2.page(old).is_held() && bench.el2.page(new).is_held());
    bench.advance(1);
    assert_eq!(bench.el2.page(old), PageState::HOST);
    let itt_address = 0xf_ffff_ffff_ff00;
    bench.submit(Command::Mapd { device_id: 9, size: 31, itt_address, valid: false });
    assert_eq!(bench.slot(0x80), unmap(9).encode());
    assert!(bench.el2.page(new).is_held());
    bench.advance(1);
    assert_eq!(bench.el2.page(new), PageState::HOST);
    // Live devices of set-up are known too, and share a page.
    bench.carry_out(unmap(3));
    assert_eq!(bench.pins(ITTS), 1);
    bench.carry_out(unmap(5));
    assert_eq!(bench.el2.page(ITTS), PageState::HOST);
}

#[test]
fn a_mapd_holds_its_record_or_is_refused() {
    let bench = Bench::guarded();
    let page = 0x8055_0000;
    for device_id in 0..512 {
        if device_id != 3 && device_id != 5 {
            bench.carry_out(mapd(device_id, page, 1));
        }
    }
    // Full: even a device that has a record is refused, since that could go first.
    let refused = bench.read(Register::Cwriter);
    bench.submit(mapd(7, page, 1));
    assert_eq!(bench.read(Register::Creadr), refused | 1);
    bench.put(refused, unmap(8).encode());
    bench.retry();
    bench.carry_out(mapd(7, page, 1));
    assert_eq!(bench.read(Register::Creadr) & 1, 1);
    bench.retry();
    bench.carry_out(mapd(8, page, 1));
    // The one in flight held the last record until it was seen to need none.
    assert_eq!(bench.read(Register::Creadr) & 1, 1);
    bench.retry();
    bench.advance(1);
    assert_eq!(bench.read(Register::Creadr) & 1, 0);
    assert_eq!(bench.pins(page), 510);
}

#[test]
fn the_command_table() {
    let mapc = |icid, rdbase, valid| Command::Mapc { icid, rdbase, valid };
    let movall = |from_rdbase, to_rdbase| Command::Movall { from_rdbase, to_rdbase };
    let passed = [
        (mapc(255, 1, true), mapc(255, 1, true)),
        (mapc(255, 99, false), mapc(255, 0, false)),
        (SYNC, SYNC),
        (movall(0, 1), movall(0, 1)),
        (Command::Invall { icid: 0xffff }, Command::Invall { icid: 0xffff }),
        (unmap((1 << 18) - 1), unmap((1 << 18) - 1)),
    ];
    for (given, written) in passed {
        let bench = Bench::guarded();
        bench.submit(given);
        assert_eq!(bench.slot(0x40), written.encode(), "{given:?}");
        assert_eq!(bench.hardware(Register::Cwriter), 0x60, "{given:?}");
    }
    let refused = [
        mapc(256, 1, true),
        mapc(256, 1, false),
        mapc(0, 2, true),
        mapc(0, 1 << 32, true),
        movall(0, 2),
        movall(2, 0),
        Command::Sync { rdbase: 2 },
        mapd(1 << 18, 0x8051_0000, 4),
        unmap(1 << 18),
        mapd(9, 0x8051_0000, 16),
        mapd(9, END - 0x100, 8),
        mapd(9, PRIVATE, 4),
        mapd(9, QUEUE, 4),
        mapd(9, 0x8000_0000, 4),
        Command::Raw { words: NONSENSE },
        Command::Raw { words: [0x29, 0, 0, 0] },
    ];
    for given in refused {
        let bench = Bench::guarded();
        let before = bench.el2.ownership();
        bench.submit(given);
        assert_eq!(bench.read(Register::Creadr), 0x41, "{given:?}");
        assert_eq!(bench.hardware(Register::Cwriter), 0x40, "{given:?}");
        assert_eq!(bench.el2.ownership(), before, "{given:?}");
    }
}

#[test]
fn a_failed_page_call_refuses_a_command_and_nothing_else() {
    for failing in 1.. {
        let bench = Bench::guarded();
        let before = bench.el2.ownership();
        bench.el2.failing.set(bench.el2.page_calls.get() + failing);
        bench.submit(mapd(9, 0x8051_0f00, 8));
        if bench.read(Register::Creadr) == 0x40 {
            assert_eq!(failing, 5);
            break;
        }
        assert_eq!(bench.el2.ownership(), before);
        assert_eq!(bench.write_cwriter(0x61), [0x60, 0x40]);
    }
}

// ---- level-2 growth

#[test]
fn level_2_grows_from_the_hosts_entry() {
    let bench = Bench::guarded();
    let device_id = 512;
    bench.submit(unmap(device_id));
    bench.carry_out(mapd(device_id, 0x8051_0000, 4));
    assert_eq!(bench.read(Register::Creadr), 0x61);
    let wrong = [
        GROWTH,
        1 << 63 | GROWTH | 1,
        1 << 63 | 1 << 52 | GROWTH,
        1 << 63 | 0x9010_0000,
        1 << 63 | QUEUE,
        1 << 63 | ITTS,
    ];
    for entry in wrong {
        bench.el2.store(SHADOW + 8, entry);
        assert_eq!(bench.write_cwriter(0x81), [0x60, 0x61], "{entry:#x}");
    }
    bench.el2.store(SHADOW + 8, 1 << 63 | GROWTH);
    bench.el2.store(GROWTH, 1);
    bench.el2.words_read.borrow_mut().clear();
    bench.el2.did.take();
    bench.write(Register::Cwriter, 0x81);
    let read = bench.el2.words_read.borrow().clone();
    assert_eq!(read.iter().filter(|word| **word == SHADOW + 8).count(), 1);
    let did = [
        Did::Zeroed(GROWTH / PAGE_BYTES),
        Did::Cleaned(GROWTH, 0x1000),
        Did::Ordered,
        Did::Wrote(LEVEL1 + 8),
        Did::Cleaned(LEVEL1 + 8, 8),
        Did::Wrote(QUEUE + 0x60),
    ];
    assert_eq!(bench.el2.did.borrow()[..6], did);
    assert_eq!(bench.el2.load(LEVEL1 + 8), 1 << 63 | GROWTH);
    assert_eq!(bench.el2.page(GROWTH), PageState::EL2);
    // It is there now, whatever the host's entry becomes.
    bench.el2.store(SHADOW + 8, 0);
    bench.submit(mapd(device_id + 1, 0x8051_0000, 4));
    assert_eq!(bench.read(Register::Creadr), 0x60);
}

// ---- registers

#[test]
fn read_back_is_what_was_recorded() {
    let bench = Bench::guarded();
    bench.set_hardware(Register::Cbaser, 0);
    bench.set_hardware(Register::Baser(0), 0);
    bench.set_hardware(Register::Statusr, 7);
    bench.set_hardware(Register::Iidr, 0x43b);
    assert_eq!(bench.read(Register::Cbaser), cbaser().into_bits());
    assert_eq!(bench.read(Register::Baser(0)), devices().into_bits());
    assert_eq!(bench.read(Register::Statusr), 0);
    assert_eq!(bench.read(Register::Iidr), 0x43b);
    assert_eq!(bench.read(Register::Typer), typer().into_bits());
}

#[test]
fn running_tables_and_queue_stay() {
    let bench = Bench::guarded();
    bench.el2.did.take();
    bench.write(Register::Cbaser, cbaser().into_bits());
    bench.write(Register::Baser(0), devices().into_bits());
    bench.write(Register::Ctlr, 0x1f3);
    bench.write(Register::Creadr, 0);
    bench.write(Register::Statusr, 0xff);
    bench.write(Register::Iidr, 0xff);
    assert!(bench.el2.did.take().is_empty());
}

#[test]
fn suspend_and_resume_as_the_driver_does_it() {
    let bench = Bench::guarded();
    bench.rest();
    bench.lose_power();
    assert!(!bench.starts(), "nothing is back yet");
    bench.write(Register::Cbaser, cbaser().into_bits());
    bench.write(Register::Cwriter, 0);
    bench.write(Register::Baser(0), devices().into_bits());
    assert!(!bench.starts(), "a table is missing");
    bench.write(Register::Baser(1), collections().into_bits());
    bench.put(0, SYNC.encode());
    assert_eq!(bench.write_cwriter(0x20), [0, 0]);
    bench.write(Register::Ctlr, 0x1f1);
    assert_eq!(bench.hardware(Register::Ctlr), 3);
    assert_eq!(bench.hardware(Register::Cwriter), 0x20, "a look follows");
}

#[test]
fn at_rest_only_what_was_recorded_is_taken() {
    let bench = Bench::guarded();
    bench.rest();
    bench.el2.did.take();
    let value = cbaser().into_bits();
    for changed in [1 << 12, 1, 1 << 10, 1 << 53, 1 << 59] {
        bench.write(Register::Cbaser, value ^ changed);
    }
    let value = devices().into_bits();
    for changed in [1 << 12, 1, 1 << 8, 1 << 10, 1 << 53, 1 << 59, 1 << 62] {
        bench.write(Register::Baser(0), value ^ changed);
    }
    bench.write(Register::Baser(2), 1 << 63);
    assert!(bench.el2.did.take().is_empty());
    // Valid and read-only bits do not count.
    bench.write(Register::Baser(0), value ^ (1 << 63 | 7 << 56));
    assert_eq!(bench.hardware(Register::Baser(0)), value ^ 1 << 63);
    assert_eq!(bench.read(Register::Baser(0)), value ^ 1 << 63);
    assert!(!bench.starts());
}

#[test]
fn power_lost_at_work_keeps_it_off() {
    // While running, or before it was quiescent.
    for stopping in [false, true] {
        let bench = Bench::guarded();
        if stopping {
            bench.write(Register::Ctlr, 0);
            assert_eq!(bench.read(Register::Ctlr), 2);
        }
        bench.lose_power();
        bench.write(Register::Ctlr, 0);
        bench.read(Register::Ctlr);
        bench.el2.did.take();
        bench.write(Register::Cbaser, cbaser().into_bits());
        bench.write(Register::Baser(0), devices().into_bits());
        // Even if something else put the registers back.
        bench.set_hardware(Register::Cbaser, cbaser().into_bits());
        bench.write(Register::Ctlr, 3);
        bench.set_hardware(Register::Ctlr, 3);
        bench.submit(SYNC);
        assert!(bench.el2.did.take().is_empty());
        assert_eq!(bench.read(Register::Creadr), 0x40);
    }
}

#[test]
fn it_starts_only_with_everything_in_place() {
    let spoils: [fn(&Bench); 5] = [
        |bench| bench.set_hardware(Register::Cbaser, cbaser().with_valid(false).into_bits()),
        |bench| bench.set_hardware(Register::Baser(1), 0),
        |bench| bench.set_hardware(Register::Creadr, 0x40),
        |bench| bench.set_hardware(Register::Creadr, 0x61),
        |bench| bench.set_hardware(Register::Cwriter, 0x40),
    ];
    for spoil in spoils {
        let bench = Bench::guarded();
        bench.carry_out(SYNC);
        bench.rest();
        spoil(&bench);
        assert!(!bench.starts());
    }
    // Nor with something in flight, whatever the hardware says after a loss of power.
    let bench = Bench::guarded();
    bench.submit(SYNC);
    bench.rest();
    bench.set_hardware(Register::Cwriter, 0x40);
    assert!(!bench.starts());
}

/// The host cleared Enabled, power went before EL2 saw Quiescent, and firmware wrote CBASER: CREADR
/// is 0.
#[test]
fn an_its_that_lost_power_before_it_rested_stays_off_when_restored() {
    let bench = Bench::guarded();
    bench.carry_out(SYNC);
    bench.write(Register::Ctlr, 0);
    bench.set_hardware(Register::Ctlr, 1 << 31 | 2);
    bench.set_hardware(Register::Creadr, 0);
    bench.read(Register::Ctlr);
    bench.write(Register::Cbaser, cbaser().into_bits());
    assert_eq!(bench.hardware(Register::Cwriter), 0x60, "not a queue reset");
    assert!(!bench.starts());
}

#[test]
fn what_was_in_flight_at_a_cbaser_write_is_taken_as_done() {
    let bench = Bench::guarded();
    let (kept, mapped) = (0x8051_0000, 0x8052_0000);
    bench.carry_out(mapd(9, kept, 4));
    bench.submit(unmap(9));
    bench.submit(mapd(10, mapped, 4));
    bench.rest();
    // C stays while disabled, so it cannot start again without a CBASER write.
    bench.el2.advance(ITS[0], 2);
    assert_eq!(bench.read(Register::Creadr), 0x60);
    assert!(!bench.starts());
    bench.write(Register::Cbaser, cbaser().into_bits());
    assert_eq!(bench.read(Register::Creadr), 0);
    assert!(bench.starts());
    assert!(bench.el2.page(kept).is_held());
    // Unmapped already as far as records go; the other one is mapped.
    bench.submit(unmap(9));
    bench.submit(unmap(10));
    bench.advance(2);
    assert!(bench.el2.page(kept).is_held());
    assert_eq!(bench.el2.page(mapped), PageState::HOST);
}

#[test]
fn other_frames() {
    let bench = Bench::guarded();
    bench.el2.did.take();
    let access = |frame, offset, size, direction| bench.access(frame, offset, size, direction);
    let (frame, word) = (Frame::ItsTranslation(0), AccessSize::Word);
    access(frame, 0x40, word, Direction::Write(1));
    assert_eq!(access(frame, 0x40, word, Direction::Read), 0);
    let write = |offset, size, value| {
        access(Frame::Redistributor(1), offset, size, Direction::Write(value));
    };
    let read = |offset| access(Frame::Redistributor(1), offset, word, Direction::Read);
    for (offset, size) in [
        (0x70, AccessSize::Double),
        (0x74, AccessSize::Word),
        (0x78, AccessSize::Double),
        (0x2_0070, AccessSize::Double),
        (0x2_0080, AccessSize::Word),
        (0, AccessSize::Double),
        (0x14, AccessSize::Byte),
        (0x16, AccessSize::Word),
        (0xa4, AccessSize::Word),
        (0x4_0000, AccessSize::Word),
    ] {
        write(offset, size, 1);
    }
    assert!(bench.el2.did.take().is_empty());
    let rd = REDISTRIBUTORS[1];
    for (offset, value, written) in [(0, 1 << 24, 1 << 24 | 1), (0x14, 2, 2), (0xa0, 8192, 8192)] {
        write(offset, word, value);
        assert_eq!(bench.el2.did.take(), [Did::WroteDevice(rd + offset, written)]);
    }
    assert_eq!((read(0x7c), read(0x70)), (0, CONFIGURATION | 13));
    bench.el2.devices.borrow_mut().insert(rd, 0);
    write(0, word, 1);
    assert_eq!(bench.el2.read_device(rd, word), 0);
}

/// Plays the hardware's part from EL2's slots: which DeviceID has which ITT as far as it knows.
struct Hardware<'b> {
    bench: &'b Bench,
    mapped: BTreeMap<u32, u64>,
}

impl Hardware<'_> {
    /// Works through at most `commands`, unless it is stalled.
    fn work(&mut self, commands: u64) {
        for _ in 0..commands {
            let creadr = self.bench.hardware(Register::Creadr);
            if creadr & 1 != 0 || creadr == self.bench.hardware(Register::Cwriter) {
                return;
            }
            match Command::decode(self.bench.slot(creadr)) {
                Command::Mapd { device_id, itt_address, valid: true, .. } => {
                    self.mapped.insert(device_id, itt_address);
                }
                Command::Mapd { device_id, .. } => {
                    self.mapped.remove(&device_id);
                }
                _ => {}
            }
            self.bench.el2.advance(ITS[0], 1);
        }
    }

    /// Every ITT that it may use is held, and no more is in flight than may be.
    fn check(&self) {
        for itt in self.mapped.values() {
            assert!(self.bench.el2.page(*itt).is_held(), "{itt:#x}");
        }
        let from = self.bench.hardware(Register::Creadr) & !1;
        let to = self.bench.hardware(Register::Cwriter);
        assert!((to + QUEUE_BYTES - from) % QUEUE_BYTES <= 64 * 32);
    }
}

fn traffic(kind: u8, device: u8, place: u8) -> Words {
    let device_id = u32::from(device % 8);
    match kind % 8 {
        0..=3 => mapd(device_id, ITTS + 0xf00 * u64::from(place % 16), place % 9).encode(),
        4 | 5 => unmap(device_id).encode(),
        6 => SYNC.encode(),
        _ => NONSENSE,
    }
}

quickcheck! {
    /// Whatever is submitted, rewritten, stalled and retried: no ITT is given back while it is
    /// used, and every one is when all devices are unmapped.
    fn hostile_traffic_keeps_and_returns_every_page(steps: std::vec::Vec<(u8, u8, u8, u8)>) -> bool {
        let bench = Bench::guarded();
        let mut hardware = Hardware {
            bench: &bench,
            mapped: BTreeMap::from([(3, itt(0)), (5, itt(1))]),
        };
        for (step, kind, device, place) in steps {
            let written = bench.read(Register::Cwriter);
            match step % 8 {
                0..=2 => {
                    bench.put(written, traffic(kind, device, place));
                    bench.write(Register::Cwriter, (written + 32) % QUEUE_BYTES);
                }
                3 => hardware.work(u64::from(place % 70)),
                4 if bench.hardware(Register::Creadr) != bench.hardware(Register::Cwriter) => {
                    bench.el2.stall(ITS[0]);
                }
                5 => bench.put(u64::from(place % 128) * 32, traffic(kind, device, place)),
                6 => {
                    bench.read(Register::Creadr);
                }
                _ => bench.write(Register::Cwriter, u64::from(place) << 5 | u64::from(kind & 1)),
            }
            hardware.check();
        }
        // Everything that is left becomes a SYNC, and then all devices go.
        for slot in 0..128 {
            bench.put(slot * 32, SYNC.encode());
        }
        let drain = |hardware: &mut Hardware| {
            for _ in 0..8 {
                let written = bench.read(Register::Cwriter);
                bench.write(Register::Cwriter, written | 1);
                hardware.work(128);
                bench.read(Register::Creadr);
                hardware.check();
            }
            assert_eq!(bench.read(Register::Creadr), bench.read(Register::Cwriter));
        };
        drain(&mut hardware);
        for device_id in 0..8 {
            bench.submit(unmap(device_id));
        }
        drain(&mut hardware);
        (ITTS..ITTS + 0x2_0000)
            .step_by(PAGE_BYTES as usize)
            .all(|page| bench.el2.page(page) == PageState::HOST)
    }
}
