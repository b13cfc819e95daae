//! The emulation as a whole, on the small EL2: phases, errnos, failures of page calls, and what a
//! stored scenario cannot show. All else about queue, tables and registers is played by stored
//! scenarios in lockstep with the reference, each known bug of `corpus/bugs` among them.

use its_machine::PageState;

use its_el2::{AccessSize, Direction, Errno, Frame, Subject, Trap};
use its_gic::command::{Command, Words};
use its_gic::geometry::PAGE_BYTES;
use its_gic::redistributor::{CTLR, PENDBASER, PROPBASER};
use its_gic::{Baser, Cbaser, Register, Typer};

use crate::test_el2::{END, ITS, LINEAR, REDISTRIBUTORS, TestEl2, TestLocks};
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
        el2.store(LIST + shift + 16 * n + 8, ITTS + 0x100 * n);
    }
    [its, linear + PRIVATE, linear + DESCRIPTOR, 2]
}

impl Bench {
    fn new() -> Self {
        let el2 = TestEl2::new();
        el2.set_page(0x8000_0000, PageState::EL2);
        for (rd, pending) in REDISTRIBUTORS.into_iter().zip([PENDING, PENDING + 0x1_0000]) {
            let mut devices = el2.devices.borrow_mut();
            devices.insert(rd + CTLR, 1);
            devices.insert(rd + PROPBASER, CONFIGURATION | 13);
            devices.insert(rd + PENDBASER, pending);
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

    /// An access to the control frame of the first ITS.
    fn control(&self, offset: u64, size: AccessSize, direction: Direction) -> u64 {
        let trap = Trap { cpu: 0, frame: Frame::ItsControl(0), offset, size, direction };
        self.emulator.trap(&self.el2, trap)
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

    /// Writes a word of the descriptor, as the host.
    fn describe(&self, offset: u64, value: u64) {
        self.el2.store(DESCRIPTOR + offset, value);
    }

    /// Describes `GITS_BASER<n>` with this value.
    fn describe_baser(&self, n: u64, value: Baser) {
        self.describe(0x50 + 0x20 * n, value.into_bits());
    }

    /// Gives the collection table another type, which the descriptor agrees with.
    fn retype_collections(&self, table_type: u8) {
        let value = baser(table_type, COLLECTIONS, false);
        self.set_hardware(Register::Baser(1), value.into_bits());
        self.describe_baser(1, value);
    }

    /// Makes a page a guest's.
    fn give_away(&self, address: u64) {
        self.el2.set_page(address, PageState::GUEST);
    }

    /// Puts words into the host's queue.
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

    fn advance(&self, commands: u64) {
        self.el2.advance(ITS[0], commands);
        self.read(Register::Creadr);
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

fn devices() -> Baser {
    baser(1, LEVEL1, true)
}

const SYNC: Command = Command::Sync { rdbase: 1 };
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
    assert!(bench.el2.written.take().is_empty());
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
    assert_eq!(bench.el2.page(ITTS).pins, 2);
    assert_eq!(bench.el2.page(CONFIGURATION).pins, 2);
    // Each entry of the list was read once, and the hardware was left alone.
    let read = bench.el2.words_read.borrow();
    for word in (LIST..LIST + 32).step_by(8) {
        assert_eq!(read.iter().filter(|address| **address == word).count(), 1);
    }
    assert!(bench.el2.written.borrow().iter().all(|address| *address >= QUEUE));
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

// ---- the queue

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
        bench.write(Register::Cwriter, 0x61);
        assert_eq!(bench.hardware(Register::Cwriter), 0x60);
    }
}

// ---- registers

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
        bench.el2.written.take();
        bench.write(Register::Cbaser, cbaser().into_bits());
        bench.write(Register::Baser(0), devices().into_bits());
        // Even if something else put the registers back.
        bench.set_hardware(Register::Cbaser, cbaser().into_bits());
        bench.write(Register::Ctlr, 3);
        bench.set_hardware(Register::Ctlr, 3);
        bench.submit(SYNC);
        assert!(bench.el2.written.take().is_empty());
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
        bench.submit(SYNC);
        bench.advance(1);
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
    bench.submit(SYNC);
    bench.advance(1);
    bench.write(Register::Ctlr, 0);
    bench.set_hardware(Register::Ctlr, 1 << 31 | 2);
    bench.set_hardware(Register::Creadr, 0);
    bench.read(Register::Ctlr);
    bench.write(Register::Cbaser, cbaser().into_bits());
    assert_eq!(bench.hardware(Register::Cwriter), 0x60, "not a queue reset");
    assert!(!bench.starts());
}
