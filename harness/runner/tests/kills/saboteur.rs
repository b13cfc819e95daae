//! An EL2 that lies to the emulation: it drops or alters calls of one kind.

use std::cell::{Cell, RefCell};
use std::sync::atomic::{AtomicBool, Ordering};

use its_board::{Board, BoardLocks};
use its_el2::{El2, LockOf, Mapped, Redistributor, Subject, SubjectPolicy, Trap};
use its_emulator::Emulator;
use its_gic::command::Words;
use its_gic::geometry::{PAGE_BYTES, Pages};
use its_gic::redistributor::PENDBASER;
use its_gic::{Command, Register};
use its_machine::{
    AccessSize, Area, Errno, ITS_FRAMES, LockName, Misconduct, REDISTRIBUTOR_FRAMES, View,
};

/// Redistributors of the usual board.
const REDISTRIBUTORS: usize = 2;

/// Calls of one kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Call {
    Pin,
    Unpin,
    Unshare,
    Reclaim,
    Zero,
    Clean,
    Order,
    Acquire,
    Release,
    /// Reads of commands.
    Copy,
    /// Writes of level-1 entries.
    Entry,
}

/// What is done wrong. Offsets are those of registers of the ITS.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Sabotage {
    None,
    /// These calls are reported and not made.
    Skip(Call),
    Twice(Call),

    // ---- pages
    /// Pins of these pages are reported and not made.
    SkipPin(Area),
    /// The pages of ITTs are counted by a division by zero, so that none is pinned.
    Divide,
    RefusePin,
    /// The second page of a structure cannot be pinned, and nothing is unpinned.
    HalfBorrow,
    /// Donations of these pages are reported and not made; they are not written either.
    SkipDonate(Area),
    /// These pages are borrowed where they must be donated.
    Lend(Area),
    /// Level-2 tables are taken one page behind where they may begin.
    ShiftLevel2,
    /// With a level-2 table a page is donated that has nothing to do with it.
    DonateMore,
    /// The descriptor goes back at every look.
    LoseDescriptor,
    AllowDonation,

    // ---- memory
    SkipCleanLevel2,
    /// Records leave the cache as soon as they are written, and private pages are not cleaned.
    EvictRecords,
    /// Private pages are not zeroed, and set-up keeps the words that it finds there.
    KeepWords,
    /// A word is stored at every look.
    StoreAtLook(u64, u64),
    /// Memory is not ordered. Level-1 entries and slots leave the cache at once.
    EvictUnordered,
    /// Level-1 entries are stored in two halves, and the first, the upper one, leaves the cache.
    HalfEntry,
    /// Memory is ordered twice at the first time of all cases.
    OrderAtFirst,
    Misalign,
    /// An entry of an ITT is zeroed after CWRITER was written.
    Scribble,
    /// The same, with another interrupt.
    ScribbleOther,

    // ---- locks
    MemoryFirst,
    /// The memory lock is held around that of an ITS when the host reads CREADR.
    MemoryAround,
    /// The memory lock is free for a moment before each pin.
    OpenSection,
    /// Notes of pages are written once the memory lock is free. The board ends a call in which it
    /// sees that, so they are written under the lock, taken again, and EL2 says that it was not.
    NoteLate,
    /// CWRITER is written once the lock is free.
    LateCwriter,

    // ---- commands
    CopyNext,
    /// Commands are not copied, but made up.
    MakeUp,
    /// So many slots of the host's queue are copied at every look.
    CopyMany(u64),
    /// So many slots of EL2's queue are read at every look.
    TakeMany(u64),
    /// Level-1 entries are read again when they are written.
    RereadEntry,
    /// Commands are copied again when they are passed on.
    Refetch,
    /// Copied commands are passed on with another ITT address.
    Itt(u64),
    /// Commands of this opcode are passed on with other bits in a word.
    Flip {
        opcode: u8,
        word: usize,
        bits: u64,
    },
    /// Each command is written to the slot behind the next as well.
    WriteBeside,
    KnowMore,
    LowBit,
    /// Level-1 entries are aimed elsewhere.
    Level2(u64),

    // ---- registers
    SkipWrite(u64),
    /// Writes of a register are made with other bits.
    WriteBits(u64, u64),
    /// A register is written with what it holds, but for these bits, at every look.
    WriteAtLook(u64, u64),
    /// A register is written with other bits before Enabled is set.
    WriteBeforeStart(u64, u64),
    /// A set-up that fails writes a register with other bits.
    WriteInSetUp(u64, u64),
    /// The pins of pending tables are reported and not made, and the host may switch LPIs off.
    LoosePending,
    /// PENDBASER of the first redistributor is written at every look, and the host may switch LPIs
    /// off.
    MovePending(u64),
    /// A register is known without a read.
    Foresee(u64),
    /// CREADR reads as if the hardware were done.
    RushCreadr,
    ForgetTyper,
    /// An ITS that lost power and was restored is enabled.
    Restart,
    /// A device register is read in a size that it does not have.
    ReadByte,

    // ---- the emulation itself
    /// A warning at every look.
    Warn,
    /// A register is read so often at every look.
    PollOften(u32),
    /// So many microseconds go by at every look.
    Wait(u64),
    /// Set-up takes any device for an ITS, and the host may donate pages when it has succeeded.
    AnyDevice,
    /// A panic at every look.
    Panic,
    Spin,
    /// What the host reads at this offset gets another bit.
    Answer(u64),
    OtherErrno,
    /// An access at this offset writes CWRITER as it is.
    Dabble(u64),
}

const CTLR: u64 = 0x00;
const TYPER: u64 = 0x08;
const CWRITER: u64 = 0x88;
const CREADR: u64 = 0x90;

struct Saboteur<'a> {
    board: &'a Board,
    sabotage: Sabotage,
    /// A write that waits for the lock to be free.
    late: Cell<Option<(u64, AccessSize, u64)>>,
    pins: Cell<u32>,
    /// Notes that are not written yet.
    notes: RefCell<Vec<(u64, u32)>>,
    /// The memory lock is held around another.
    around: Cell<bool>,
}

impl Saboteur<'_> {
    fn is(&self, sabotage: Sabotage) -> bool {
        self.sabotage == sabotage
    }

    /// How often such a call is made.
    fn times(&self, call: Call) -> usize {
        match self.sabotage {
            Sabotage::Skip(skipped) if skipped == call => 0,
            Sabotage::Twice(doubled) if doubled == call => 2,
            _ => 1,
        }
    }

    fn change(&self, call: Call, make: impl Fn() -> Result<(), Errno>) -> Result<(), Errno> {
        (0..self.times(call)).try_for_each(|_| make())
    }

    fn register(&self, offset: u64) -> u64 {
        self.board.register(0, Register::at(offset))
    }

    fn read(&self, offset: u64) -> u64 {
        self.board.read_device(ITS_FRAMES[0] + offset, AccessSize::Double)
    }

    fn write(&self, offset: u64, value: u64) {
        let size = match Register::at(offset).width() {
            8 => AccessSize::Double,
            _ => AccessSize::Word,
        };
        self.board.write_device(ITS_FRAMES[0] + offset, size, value);
    }

    /// A word that is no level-1 entry.
    fn write_other(&self, address: u64, value: u64) {
        let is_record = Area::PRIVATE.run().contains(address >> 12);
        if is_record && self.is(Sabotage::KeepWords) && self.board.read_word(address) != 0 {
            return;
        }
        self.board.write_word(address, value);
        if is_record && self.is(Sabotage::EvictRecords) {
            self.board.write_back(address);
        }
    }

    /// Spoils the entry of the scenario's device and event once there is something in it.
    fn scribble(&self) {
        let entry = Area::ITT.page(3) + 0x200 + 7 * 8;
        let right = self.board.read_word(entry);
        if right == 0 {
            return;
        }
        let goes = || self.board.translate(0, 0x2a, 7).map(|to| to.intid);
        let before = goes();
        for bit in 0..64 {
            let value = match self.sabotage {
                Sabotage::Scribble => 0,
                _ => right ^ 1 << bit,
            };
            self.board.write_word(entry, value);
            self.board.write_back(entry);
            if value == 0 || goes().is_some() && goes() != before {
                return;
            }
        }
    }

    /// Sets Enabled if CREADR is behind CWRITER, and 0, as after a loss of power.
    fn restart(&self, ctlr: u64) {
        if self.read(CREADR) == 0 && self.read(CWRITER) != 0 {
            self.write(CTLR, ctlr | 1);
        }
    }

    /// What is done next to the read of CREADR at a look.
    fn at_look(&self) {
        let slots = |area: Area, count: u64| {
            for slot in 0..count {
                self.board.read_command(area.address() + 32 * slot);
            }
        };
        match self.sabotage {
            Sabotage::Warn => self.board.warn(),
            Sabotage::PollOften(times) => (0..times).for_each(|_| {
                self.read(CREADR);
            }),
            Sabotage::Wait(microseconds) => self.board.wait(microseconds),
            Sabotage::Panic => panic!("sabotage"),
            Sabotage::Spin => loop {
                self.board.order();
            },
            Sabotage::ReadByte => {
                self.board.read_device(ITS_FRAMES[0] + CREADR, AccessSize::Byte);
            }
            Sabotage::Misalign => {
                self.board.read_word(Area::QUEUE.address() + 4);
            }
            Sabotage::WriteAtLook(offset, bits) if offset < 0x1_0000 => {
                self.write(offset, self.register(offset) ^ bits);
            }
            Sabotage::WriteAtLook(address, value) => {
                self.board.write_device(address, AccessSize::Double, value);
            }
            Sabotage::MovePending(value) => {
                let address = REDISTRIBUTOR_FRAMES[0] + PENDBASER;
                self.board.write_device(address, AccessSize::Double, value);
            }
            Sabotage::StoreAtLook(address, value) => {
                self.board.write_word(address, value);
                self.board.write_back(address);
            }
            Sabotage::CopyMany(count) => slots(Area::QUEUE_COPY, count),
            Sabotage::TakeMany(count) => slots(Area::QUEUE, count),
            Sabotage::LoseDescriptor => {
                self.board.locked(self.board.memory_lock(), |_: &mut ()| {
                    let _ = self.board.reclaim(Area::DESCRIPTOR.run());
                });
            }
            _ => {}
        }
    }
}

impl El2 for Saboteur<'_> {
    type Locks = BoardLocks;

    fn is_protected(&self) -> bool {
        self.board.is_protected()
    }
    fn all_cpus_finalized(&self) -> bool {
        self.board.all_cpus_finalized()
    }

    fn redistributor(&self, index: usize) -> Option<Redistributor> {
        let known = self.board.redistributor(index);
        let more = || Redistributor { address: 0x0810_0000, processor_number: 9 };
        let knows_more = self.is(Sabotage::KnowMore) && index == REDISTRIBUTORS;
        known.or_else(|| knows_more.then(more))
    }

    fn read_device(&self, address: u64, size: AccessSize) -> u64 {
        let offset = address.wrapping_sub(ITS_FRAMES[0]);
        if self.is(Sabotage::Foresee(offset)) {
            return self.register(offset);
        }
        let value = self.board.read_device(address, size);
        match (offset, self.sabotage) {
            (CREADR, Sabotage::RushCreadr) => {
                return self.read(CWRITER);
            }
            (CREADR, _) => self.at_look(),
            (CTLR, Sabotage::Restart) if value & 1 == 0 => self.restart(value),
            (TYPER, Sabotage::ForgetTyper) => return 0,
            _ => {}
        }
        value
    }

    fn write_device(&self, address: u64, size: AccessSize, value: u64) {
        let offset = address.wrapping_sub(ITS_FRAMES[0]);
        let value = match self.sabotage {
            Sabotage::SkipWrite(skipped) if skipped == offset => return,
            Sabotage::LateCwriter if offset == CWRITER => {
                return self.late.set(Some((address, size, value)));
            }
            Sabotage::WriteBeforeStart(other, bits) if offset == CTLR && value & 1 != 0 => {
                self.write(other, self.register(other) ^ bits);
                value
            }
            Sabotage::WriteBits(other, bits) if other == offset => value ^ bits,
            Sabotage::LoosePending | Sabotage::MovePending(_)
                if address == REDISTRIBUTOR_FRAMES[0] =>
            {
                0
            }
            _ => value,
        };
        self.board.write_device(address, size, value);
        let scribbles = [Sabotage::Scribble, Sabotage::ScribbleOther];
        if offset == CWRITER && scribbles.contains(&self.sabotage) {
            self.scribble();
        }
    }

    fn warn(&self) {
        self.board.warn();
    }
    fn physical(&self, linear: u64) -> Option<u64> {
        self.board.physical(linear)
    }
    fn is_memory(&self, address: u64, bytes: u64) -> bool {
        self.board.is_memory(address, bytes)
    }

    fn read_word(&self, address: u64) -> u64 {
        self.board.read_word(address)
    }

    fn first_word(&self, address: u64, bytes: u64) -> Option<u64> {
        self.board.first_word(address, bytes)
    }

    fn write_word(&self, address: u64, value: u64) {
        let tables = [Area::DEVICE_TABLE, Area::DEVICE_TABLE.of_its(1), Area::COLLECTION_TABLE];
        let level1 = tables.iter().any(|table| table.run().contains(address >> 12));
        let value = match self.sabotage {
            _ if !level1 => return self.write_other(address, value),
            Sabotage::LowBit => value | 1,
            Sabotage::ShiftLevel2 => value + PAGE_BYTES,
            Sabotage::HalfEntry => {
                self.board.write_word(address, value >> 32 << 32);
                self.board.write_back(address);
                value
            }
            Sabotage::RereadEntry => {
                let offset = address - Area::DEVICE_TABLE.address();
                self.board.read_word(Area::DEVICE_TABLE_COPY.address() + offset)
            }
            Sabotage::Level2(elsewhere) => 1 << 63 | elsewhere,
            _ => value,
        };
        (0..self.times(Call::Entry)).for_each(|_| self.board.write_word(address, value));
        if self.is(Sabotage::EvictUnordered) {
            self.board.write_back(address);
        }
    }

    fn read_command(&self, address: u64) -> Words {
        let copied = Area::QUEUE_COPY.run().contains(address >> 12);
        for _ in 1..self.times(Call::Copy) {
            self.board.read_command(address);
        }
        match self.sabotage {
            Sabotage::CopyNext if copied => {
                let words = self.board.read_command(address);
                self.board.read_command(address + 32);
                return words;
            }
            Sabotage::MakeUp if copied => return Command::Sync { rdbase: 0 }.encode(),
            _ => {}
        }
        self.board.read_command(address)
    }

    fn write_command(&self, address: u64, words: Words) {
        let mut passed = words;
        match (Command::decode(words), self.sabotage) {
            (Command::Mapd { valid: true, .. }, Sabotage::Itt(elsewhere)) => {
                passed[2] = 1 << 63 | elsewhere;
            }
            (_, Sabotage::Flip { opcode, word, bits }) if words[0] as u8 == opcode => {
                passed[word] ^= bits;
            }
            (_, Sabotage::Refetch) => {
                let offset = address - Area::QUEUE.address();
                passed = self.board.read_command(Area::QUEUE_COPY.address() + offset);
            }
            (_, Sabotage::WriteBeside) => {
                self.board.write_command(address + 64, words);
                self.board.write_back(address + 64);
            }
            _ => {}
        }
        self.board.write_command(address, passed);
        if self.is(Sabotage::EvictUnordered) {
            self.board.write_back(address);
        }
    }

    fn zero_page(&self, page: u64) {
        match self.sabotage {
            Sabotage::SkipDonate(area) if area.run().contains(page) => {}
            Sabotage::ShiftLevel2 if Area::LEVEL2.run().contains(page) => {
                self.board.zero_page(page + 1);
            }
            Sabotage::KeepWords if Area::PRIVATE.run().contains(page) => {}
            _ => (0..self.times(Call::Zero)).for_each(|_| self.board.zero_page(page)),
        }
    }

    fn clean(&self, address: u64, bytes: u64) {
        match self.sabotage {
            Sabotage::SkipCleanLevel2 if Area::LEVEL2.run().contains(address >> 12) => {}
            Sabotage::SkipDonate(area) if area.run().contains(address >> 12) => {}
            Sabotage::EvictRecords if Area::PRIVATE.run().contains(address >> 12) => {}
            Sabotage::ShiftLevel2 if Area::LEVEL2.run().contains(address >> 12) => {
                self.board.clean(address + PAGE_BYTES, bytes);
            }
            _ => (0..self.times(Call::Clean)).for_each(|_| self.board.clean(address, bytes)),
        }
    }

    fn order(&self) {
        static DONE: AtomicBool = AtomicBool::new(false);
        let times = if self.is(Sabotage::EvictUnordered) { 0 } else { self.times(Call::Order) };
        (0..times).for_each(|_| self.board.order());
        if self.is(Sabotage::OrderAtFirst) && !DONE.swap(true, Ordering::Relaxed) {
            self.board.order();
        }
    }
    fn memory_lock(&self) -> &LockOf<Self, ()> {
        self.board.memory_lock()
    }
    fn share(&self, page: u64) -> Result<(), Errno> {
        self.board.share(page)
    }
    fn unshare(&self, page: u64) -> Result<(), Errno> {
        self.change(Call::Unshare, || self.board.unshare(page))
    }

    fn pin(&self, page: u64) -> Result<(), Errno> {
        self.pins.set(self.pins.get() + 1);
        match self.sabotage {
            Sabotage::SkipPin(area) if area.run().contains(page) => return Ok(()),
            Sabotage::LoosePending if Area::PENDING.run().contains(page) => return Ok(()),
            Sabotage::Divide => {
                self.board.report(Misconduct::DividedByZero);
                return Ok(());
            }
            Sabotage::RefusePin => return Err(Errno::Ebusy),
            Sabotage::HalfBorrow if self.pins.get() == 2 => return Err(Errno::Ebusy),
            Sabotage::OpenSection => {
                self.board.release(self.board.memory_lock());
                self.board.acquire(self.board.memory_lock());
            }
            _ => {}
        }
        self.change(Call::Pin, || self.board.pin(page))
    }

    fn unpin(&self, page: u64) -> Result<(), Errno> {
        if self.is(Sabotage::HalfBorrow) {
            return Ok(());
        }
        self.change(Call::Unpin, || self.board.unpin(page))
    }

    fn pins(&self, page: u64) -> u16 {
        self.board.pins(page)
    }
    fn donate(&self, pages: Pages) -> Result<(), Errno> {
        match self.sabotage {
            Sabotage::SkipDonate(area) if area.run().contains(pages.first) => return Ok(()),
            Sabotage::Lend(area) if area.run().contains(pages.first) => {
                return pages.iter().try_for_each(|page| {
                    self.board.share(page)?;
                    self.board.pin(page)
                });
            }
            Sabotage::ShiftLevel2 if Area::LEVEL2.run().contains(pages.first) => {
                let behind = Pages { first: pages.first + 1, ..pages };
                return self.board.donate(behind);
            }
            Sabotage::DonateMore => self.board.donate(Pages { count: 16, ..Area::HOST.run() })?,
            _ => {}
        }
        self.board.donate(pages)
    }

    fn reclaim(&self, pages: Pages) -> Result<(), Errno> {
        self.change(Call::Reclaim, || self.board.reclaim(pages))
    }
    fn note(&self, page: u64) -> u32 {
        self.board.note(page)
    }
    fn set_note(&self, page: u64, note: u32) {
        if self.is(Sabotage::NoteLate) {
            return self.notes.borrow_mut().push((page, note));
        }
        self.board.set_note(page, note);
    }

    fn acquire<T>(&self, lock: &LockOf<Self, T>) {
        if self.is(Sabotage::MemoryFirst) {
            self.board.acquire(self.board.memory_lock());
        }
        if self.is(Sabotage::MemoryAround) && !self.around.replace(true) {
            self.board.acquire(self.board.memory_lock());
        }
        (0..self.times(Call::Acquire)).for_each(|_| self.board.acquire(lock));
    }

    fn release<T>(&self, lock: &LockOf<Self, T>) {
        (0..self.times(Call::Release)).for_each(|_| self.board.release(lock));
        if let Some((address, size, value)) = self.late.take() {
            self.board.write_device(address, size, value);
        }
        for (page, note) in self.notes.take() {
            self.board.report(Misconduct::Unlocked(LockName::Memory));
            let memory = self.board.memory_lock();
            self.board.locked(memory, |_: &mut ()| self.board.set_note(page, note));
        }
        if self.around.replace(false) {
            self.board.release(self.board.memory_lock());
        }
    }

    fn held<T, R>(&self, lock: &LockOf<Self, T>, body: impl FnOnce(&mut T) -> R) -> R {
        self.board.held(lock, body)
    }
}

/// The production emulator on an EL2 that lies, from when set-up has succeeded.
#[derive(Clone)]
pub(crate) struct Sabotaged {
    emulator: Emulator<BoardLocks>,
    sabotage: Sabotage,
    from_set_up: bool,
    guarded: Cell<bool>,
}

impl Sabotaged {
    pub(crate) fn new(its: &'static [u64], sabotage: Sabotage, from_set_up: bool) -> Self {
        Self { emulator: Emulator::new(its), sabotage, from_set_up, guarded: Cell::new(false) }
    }

    fn el2<'a>(&self, board: &'a Board) -> Saboteur<'a> {
        let honest = !self.guarded.get() && !self.from_set_up;
        let sabotage = if honest { Sabotage::None } else { self.sabotage };
        Saboteur {
            board,
            sabotage,
            late: Cell::new(None),
            pins: Cell::new(0),
            notes: RefCell::default(),
            around: Cell::new(false),
        }
    }
}

impl Subject<Board> for Sabotaged {
    fn policy(&self) -> SubjectPolicy {
        Subject::<Board>::policy(&self.emulator)
    }
    fn set_up(&self, board: &Board, arguments: [u64; 4]) -> i64 {
        if self.sabotage == Sabotage::AnyDevice && !ITS_FRAMES.contains(&arguments[0]) {
            board.locked(board.memory_lock(), |_: &mut ()| self.guarded.set(true));
            return 0;
        }
        let el2 = self.el2(board);
        let result = self.emulator.set_up(&el2, arguments);
        match el2.sabotage {
            Sabotage::WriteInSetUp(offset, bits) if result != 0 => {
                el2.write(offset, el2.register(offset) ^ bits);
            }
            _ => {}
        }
        self.guarded.set(self.guarded.get() || result == 0);
        if result != 0 && self.sabotage == Sabotage::OtherErrno {
            return Errno::result(Err(Errno::Enomem));
        }
        result
    }

    fn trap(&self, board: &Board, trap: Trap) -> u64 {
        let mut el2 = self.el2(board);
        let is_honest = match self.sabotage {
            Sabotage::MemoryAround => trap.offset != CREADR,
            Sabotage::KeepWords => true,
            _ => false,
        };
        if is_honest {
            el2.sabotage = Sabotage::None;
        }
        let value = self.emulator.trap(&el2, trap);
        match el2.sabotage {
            Sabotage::Answer(offset) if offset == trap.offset => value ^ 0x40,
            Sabotage::Dabble(offset) if offset == trap.offset => {
                el2.write(CWRITER, el2.register(CWRITER));
                value
            }
            _ => value,
        }
    }

    fn allows_donation(&self, board: &Board) -> bool {
        let allows = self.emulator.allows_donation(&self.el2(board));
        match self.sabotage {
            Sabotage::AllowDonation => true,
            Sabotage::AnyDevice => self.guarded.get(),
            _ => allows,
        }
    }
}
