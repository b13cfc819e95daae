//! What happened inside one action, as data.

use its_gic::command::Words;
use its_gic::geometry::Pages;

use crate::Barrier;
use crate::access::AccessSize;
use crate::errno::Errno;
use crate::lock::LockName;
use crate::page::PageState;
use crate::view::{Exposure, Reach};

/// A transition of page ownership.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum PageChange {
    Share,
    Unshare,
    Pin,
    Unpin,
    Donate,
    Reclaim,
    /// The host may load from a page of EL2's.
    Show,
    /// It may no longer.
    Hide,
}

impl PageChange {
    /// All of them, by number.
    pub const ALL: [Self; 8] = [
        Self::Share,
        Self::Unshare,
        Self::Pin,
        Self::Unpin,
        Self::Donate,
        Self::Reclaim,
        Self::Show,
        Self::Hide,
    ];
    /// Their names, by number.
    pub const NAMES: &[&str] =
        &["share", "unshare", "pin", "unpin", "donate", "reclaim", "show", "hide"];

    /// Returns the name.
    pub fn name(self) -> &'static str {
        Self::NAMES.get(self as usize).copied().unwrap_or_default()
    }
}

/// A command error: the architecture's 24-bit number, or `None` where none is known (an unknown
/// opcode, a SYNC to no redistributor).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CommandError(pub Option<u32>);

/// What EL2 must never do. All but `Warned`, `Kept` and `Disordered` stop EL2's call.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Misconduct {
    /// Panicked.
    Panicked,
    /// Divided by zero, which C leaves undefined, and went on.
    DividedByZero,
    /// Reported something that should not be (`WARN_ON`).
    Warned,
    /// Touched memory that it had not mapped, or misaligned.
    BadAccess { address: u64, write: bool },
    /// Followed a pointer to what is neither memory of the machine nor its own; the address where
    /// it is near null.
    Stray { null: Option<u16>, write: bool },
    /// A device access of a wrong size or alignment, or where no device is.
    BadDevice { address: u64, size: AccessSize },
    /// Took a lock that this CPU holds already: it would wait for ever.
    Deadlock(LockName),
    /// Took a lock after one that comes later in the order.
    Disordered { held: LockName, taken: LockName },
    /// Released a lock, used what it protects or changed page ownership without holding the lock.
    Unlocked(LockName),
    /// Came back with a lock held.
    Kept(LockName),
    /// Made more calls than the limit, or did not come back.
    TooMuchWork,
}

/// One thing that happened, in the order of happening.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    // ---- EL2 did
    /// EL2 read a device register.
    DeviceRead { address: u64, size: AccessSize, value: u64 },
    /// EL2 wrote a device register.
    DeviceWrite { address: u64, size: AccessSize, value: u64 },
    /// EL2 read a word; `shared`: the host could write it at that moment.
    WordRead { address: u64, value: u64, shared: bool },
    /// EL2 looked for words that are not zero; there was none in these bytes.
    Scanned { address: u64, bytes: u64 },
    /// EL2 wrote a word; `shared`: the host could write it at that moment.
    WordWritten { address: u64, value: u64, shared: bool },
    /// EL2 read 32 bytes; `shared`: the host could write them at that moment.
    CommandRead { address: u64, words: Words, shared: bool },
    /// EL2 wrote 32 bytes.
    CommandWritten { address: u64, words: Words },
    /// EL2 filled a page with zeroes.
    PageZeroed { page: u64 },
    /// EL2 cleaned memory to the point of coherency.
    Cleaned { address: u64, bytes: u64 },
    /// EL2 ordered memory.
    Ordered(Barrier),
    /// Page ownership changed, or was asked to: by EL2 or by pKVM on behalf of a hypercall. One
    /// page but for `Donate`, `Reclaim`, `Show` and `Hide`.
    Page { change: PageChange, pages: Pages, result: Result<(), Errno> },
    /// EL2 waited.
    Waited { microseconds: u64 },
    /// A set-up of an ITS that EL2 makes at a moment of its own is over: the arguments of the
    /// hypercall that described it, and what x1 would have been.
    SetUp { arguments: [u64; 4], x1: i64 },
    /// EL2 took a lock.
    Acquired(LockName),
    /// EL2 gave a lock back.
    Released(LockName),
    /// EL2 did what it must not.
    Misconduct(Misconduct),

    // ---- the physical ITS did
    /// It fetched the command at `offset` of its queue and was done with it: executed, or ignored
    /// over an error.
    Consumed { its: u8, offset: u64, words: Words, error: Option<CommandError> },
    /// It fetched the command at `offset` of its queue and went on to the next; whether it executed
    /// it or ignored it over an error cannot be seen from where this was observed.
    Taken { its: u8, offset: u64, words: Words },
    /// It fetched the command at `offset` of its queue and stalled on it: over an error, or because
    /// the scenario said so (`None`).
    Stalled { its: u8, offset: u64, words: Words, error: Option<CommandError> },
    /// It got time for so many commands while EL2 waited. The events of these come before this.
    Advanced { its: u8, commands: u16 },
    /// It can from now on follow a pointer to this memory, which is exposed like this.
    Reached(Reach, Exposure),
    /// It can no longer follow a pointer to this memory.
    Unreached(Reach),
    /// A page that it can reach changed hands and is now like this.
    ReachedPage { reach: Reach, page: u64, state: PageState },
    /// It read memory that EL2 had written and not cleaned, and got what was there before.
    StaleRead { address: u64 },
    /// A dirty line arrived in memory after a device stored there: the device's store is lost.
    /// `host`: EL2 had not stored to the line by then.
    Overwritten { address: u64, host: bool },
    /// The architecture calls this access to its registers UNPREDICTABLE.
    Unpredictable { address: u64 },

    // ---- the world did
    /// A CPU was finalized, and EL2's emulation does something about it next.
    Finalized { cpu: u8 },
    /// The host changed a word between two EL2 accesses, as the scenario said.
    Tampered { address: u64, value: u64 },
    /// The last ownership change failed because the scenario said so.
    Injected,

    // ---- several agents at once
    /// What follows is this agent's doing, and what hardware does about it.
    Turn { agent: u8 },
    /// The action of the agent whose turn it is has come to its end.
    Over,
}

impl Event {
    /// The word at an 8-byte aligned address, if EL2 read it here, alone or with others.
    pub fn word_read(&self, at: u64) -> Option<u64> {
        match *self {
            Self::WordRead { address, value, .. } => (address == at).then_some(value),
            Self::CommandRead { address, words, .. } => {
                let index = usize::try_from(at.checked_sub(address)? / 8).ok()?;
                words.get(index).copied()
            }
            _ => None,
        }
    }
}
