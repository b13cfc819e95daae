//! An EL2 that lies to the emulation: it drops or alters calls of one kind.

use std::cell::Cell;

use its_board::{Board, BoardLocks, layout};
use its_el2::{AccessSize, El2, Errno, LockOf, Redistributor, Subject, SubjectPolicy, Trap};
use its_emulator::Emulator;
use its_gic::Command;
use its_gic::command::Words;
use its_gic::geometry::Pages;

/// What is done wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Sabotage {
    /// Nothing.
    None,
    /// Pins of ITTs are reported and not made.
    SkipPin,
    /// Pins are taken back twice.
    UnpinTwice,
    /// The donation of the queue at this page is reported and not made.
    SkipDonate(u64),
    /// What failed is not taken back.
    SkipReclaim,
    /// Written memory is not cleaned.
    SkipClean,
    /// Memory is not ordered.
    SkipOrder,
    /// Set-up writes CTLR as it read it.
    WriteCtlr,
    /// Fresh pages are not zeroed.
    SkipZero,
    /// Locks are kept.
    SkipRelease,
    /// Locks are entered without being taken.
    SkipAcquire,
    /// The memory lock is taken before any other.
    MemoryFirst,
    /// Commands are copied twice.
    CopyTwice,
    /// Copied commands are passed on with another ITT address.
    Itt(u64),
    /// Level-1 entries get a low bit.
    LowBit,
    /// Level-1 entries are aimed elsewhere.
    Level2(u64),
    /// The hardware's CWRITER is not written.
    SkipCwriter,
    /// Every command is passed on as it came.
    PassRaw,
    /// CBASER is written whenever CREADR is read.
    WriteCbaser,
    /// CREADR reads as if the hardware were done.
    RushCreadr,
    /// A device register is read in a size that it does not have.
    ReadByte,
    /// Memory is read off its alignment.
    Misalign,
    /// A warning at every look.
    Warn,
    /// A panic at every look.
    Panic,
    /// No end of calls.
    Spin,
    /// An entry of an ITT is zeroed after the hardware was told of commands.
    Scribble,
    /// GITS_TYPER reads as zero.
    ForgetTyper,
    /// An ITS that lost power and was restored is enabled.
    Restart,
}

struct Saboteur<'a> {
    board: &'a Board,
    sabotage: Sabotage,
}

impl Saboteur<'_> {
    fn is(&self, sabotage: Sabotage) -> bool {
        self.sabotage == sabotage
    }

    /// Zeroes the ITT of the scenario's device once there is something in it.
    fn scribble(&self) {
        let entry = layout::ITT.page(3) + 0x200 + 7 * 8;
        if self.board.read_word(entry) != 0 {
            self.board.write_word(entry, 0);
            self.board.clean(entry, 8);
        }
    }
}

impl Saboteur<'_> {
    /// Sets Enabled if CREADR is behind CWRITER, and 0, as after a loss of power.
    fn restart(&self, ctlr: u64) {
        let queue = |offset| {
            let address = layout::ITS[0] + offset;
            self.board.read_device(address, AccessSize::Double)
        };
        if queue(0x90) == 0 && queue(0x88) != 0 {
            let word = AccessSize::Word;
            self.board.write_device(layout::ITS[0], word, ctlr | 1);
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
        self.board.redistributor(index)
    }

    fn read_device(&self, address: u64, size: AccessSize) -> u64 {
        let offset = address.wrapping_sub(layout::ITS[0]);
        let value = self.board.read_device(address, size);
        match (offset, self.sabotage) {
            (0x90, Sabotage::Warn) => self.board.warn(),
            (0x90, Sabotage::Panic) => panic!("sabotage"),
            (0x90, Sabotage::Spin) => loop {
                self.board.order();
            },
            (0x90, Sabotage::ReadByte) => {
                self.board.read_device(address, AccessSize::Byte);
            }
            (0x90, Sabotage::Misalign) => {
                self.board.read_word(layout::QUEUE.address() + 4);
            }
            (0x90, Sabotage::WriteCbaser) => {
                let cbaser = layout::ITS[0] + 0x80;
                let value = self.board.read_device(cbaser, AccessSize::Double);
                self.board.write_device(cbaser, AccessSize::Double, value);
            }
            (0x90, Sabotage::RushCreadr) => {
                let cwriter = layout::ITS[0] + 0x88;
                return self.board.read_device(cwriter, AccessSize::Double);
            }
            (0x100, Sabotage::WriteCtlr) => {
                let ctlr = layout::ITS[0];
                let value = self.board.read_device(ctlr, AccessSize::Word);
                self.board.write_device(ctlr, AccessSize::Word, value);
            }
            (0x00, Sabotage::Restart) if value & 1 == 0 => self.restart(value),
            (0x08, Sabotage::ForgetTyper) => return 0,
            _ => {}
        }
        value
    }

    fn write_device(&self, address: u64, size: AccessSize, value: u64) {
        let is_cwriter = address == layout::ITS[0] + 0x88;
        if is_cwriter && self.is(Sabotage::SkipCwriter) {
            return;
        }
        self.board.write_device(address, size, value);
        if is_cwriter && self.is(Sabotage::Scribble) {
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
        let tables = [
            layout::DEVICE_TABLE,
            layout::DEVICE_TABLE1,
            layout::COLLECTION_TABLE,
        ];
        let level1 = tables
            .iter()
            .any(|table| table.run().contains(address >> 12));
        let value = match self.sabotage {
            Sabotage::LowBit if level1 => value | 1,
            Sabotage::Level2(elsewhere) if level1 => 1 << 63 | elsewhere,
            _ => value,
        };
        self.board.write_word(address, value);
    }

    fn read_command(&self, address: u64) -> Words {
        if self.is(Sabotage::CopyTwice) {
            self.board.read_command(address);
        }
        self.board.read_command(address)
    }

    fn write_command(&self, address: u64, words: Words) {
        let words = match (Command::decode(words), self.sabotage) {
            (Command::Mapd { valid: true, .. }, Sabotage::Itt(elsewhere)) => {
                [words[0], words[1], 1 << 63 | elsewhere, words[3]]
            }
            (_, Sabotage::PassRaw) => [words[0] | 1 << 16, words[1], words[2], words[3]],
            _ => words,
        };
        self.board.write_command(address, words);
    }

    fn zero_page(&self, page: u64) {
        if !self.is(Sabotage::SkipZero) {
            self.board.zero_page(page);
        }
    }
    fn clean(&self, address: u64, bytes: u64) {
        if !self.is(Sabotage::SkipClean) {
            self.board.clean(address, bytes);
        }
    }
    fn order(&self) {
        if !self.is(Sabotage::SkipOrder) {
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
        self.board.unshare(page)
    }
    fn pin(&self, page: u64) -> Result<(), Errno> {
        match self.sabotage {
            Sabotage::SkipPin if layout::ITT.run().contains(page) => Ok(()),
            _ => self.board.pin(page),
        }
    }
    fn unpin(&self, page: u64) -> Result<(), Errno> {
        if self.is(Sabotage::UnpinTwice) {
            let _ = self.board.unpin(page);
        }
        self.board.unpin(page)
    }
    fn pins(&self, page: u64) -> u16 {
        self.board.pins(page)
    }
    fn donate(&self, pages: Pages) -> Result<(), Errno> {
        match self.sabotage {
            Sabotage::SkipDonate(page) if pages.contains(page) => Ok(()),
            _ => self.board.donate(pages),
        }
    }
    fn reclaim(&self, pages: Pages) -> Result<(), Errno> {
        if self.is(Sabotage::SkipReclaim) {
            return Ok(());
        }
        self.board.reclaim(pages)
    }
    fn note(&self, page: u64) -> u32 {
        self.board.note(page)
    }
    fn set_note(&self, page: u64, note: u32) {
        self.board.set_note(page, note);
    }

    fn acquire<T>(&self, lock: &LockOf<Self, T>) {
        match self.sabotage {
            Sabotage::SkipAcquire => return,
            Sabotage::MemoryFirst => self.board.acquire(self.board.memory_lock()),
            _ => {}
        }
        self.board.acquire(lock);
    }
    fn release<T>(&self, lock: &LockOf<Self, T>) {
        if !self.is(Sabotage::SkipRelease) {
            self.board.release(lock);
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
        Self {
            emulator: Emulator::new(its),
            sabotage,
            from_set_up,
            guarded: Cell::new(false),
        }
    }

    fn el2<'a>(&self, board: &'a Board) -> Saboteur<'a> {
        let honest = !self.guarded.get() && !self.from_set_up;
        let sabotage = if honest {
            Sabotage::None
        } else {
            self.sabotage
        };
        Saboteur { board, sabotage }
    }
}

impl Subject<Board> for Sabotaged {
    fn policy(&self) -> SubjectPolicy {
        Subject::<Board>::policy(&self.emulator)
    }
    fn set_up(&self, board: &Board, arguments: [u64; 4]) -> i64 {
        let result = self.emulator.set_up(&self.el2(board), arguments);
        self.guarded.set(self.guarded.get() || result == 0);
        result
    }
    fn trap(&self, board: &Board, trap: Trap) -> u64 {
        self.emulator.trap(&self.el2(board), trap)
    }
    fn allows_donation(&self, board: &Board) -> bool {
        self.emulator.allows_donation(&self.el2(board))
    }
}
