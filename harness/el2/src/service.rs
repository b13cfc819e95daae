//! What EL2 offers an emulation.

use its_gic::command::Words;
use its_gic::geometry::Pages;

use its_machine::{AccessSize, Errno};

use crate::lock::Locks;

/// Calls of [`El2`] that one entry may make before a board stops it. Generous for a trap: the
/// largest legal one releases 64 ITTs and borrows 64, each of 257 pages. A set-up is bounded by its
/// descriptor instead, and one of the largest that the contract allows would exceed this; those of
/// small boards stay far below.
pub const WORK_LIMIT: u32 = 400_000;

/// The lock type of an [`El2`].
pub type LockOf<E, T> = <<E as El2>::Locks as Locks>::Lock<T>;

/// A redistributor that EL2 knows from boot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Redistributor {
    /// Physical address of RD_base, 64 KiB aligned.
    pub address: u64,
    /// GICR_TYPER.Processor_Number.
    pub processor_number: u16,
}

/// The services of EL2, for the CPU that the call runs on. All addresses are physical unless a name
/// says otherwise; pages are named by page frame number (physical address / 4096).
///
/// No call waits. A call that breaks its own conditions (memory that EL2 has not mapped, a device
/// that is not there, a misaligned access) is a mistake of the emulation and may not return.
pub trait El2 {
    /// What the emulation's locks are made of.
    type Locks: Locks;

    // ---- the machine

    /// Whether protected mode is on (`is_protected_kvm_enabled`).
    fn is_protected(&self) -> bool;
    /// Whether every online CPU was finalized (`__pkvm_prot_finalize`).
    fn all_cpus_finalized(&self) -> bool;
    /// The n-th redistributor, `None` past the last.
    fn redistributor(&self, index: usize) -> Option<Redistributor>;
    /// One access to a device's registers, aligned to its size.
    fn read_device(&self, address: u64, size: AccessSize) -> u64;
    /// One access to a device's registers, aligned to its size.
    fn write_device(&self, address: u64, size: AccessSize, value: u64);
    /// Report something that should not be (`WARN_ON`; at EL2 it panics the machine).
    fn warn(&self);

    // ---- memory that EL2 owns or has pinned

    /// The physical address of an address in the host's linear map; `None` outside it.
    fn physical(&self, linear: u64) -> Option<u64>;
    /// Whether all of `bytes` at `address` is memory, in one region (`check_range_allowed_memory`).
    fn is_memory(&self, address: u64, bytes: u64) -> bool;
    /// Reads one little-endian word; `address` is 8-byte aligned.
    fn read_word(&self, address: u64) -> u64;
    /// The address of the first word that is not zero among the whole words of `bytes` at
    /// `address`, which is 8-byte aligned (`memchr_inv`). One unit of work for each page.
    fn first_word(&self, address: u64, bytes: u64) -> Option<u64>;
    /// Writes one little-endian word in one store; `address` is 8-byte aligned.
    fn write_word(&self, address: u64, value: u64);
    /// Copies 32 bytes out; `address` is 32-byte aligned.
    fn read_command(&self, address: u64) -> Words;
    /// Copies 32 bytes in; `address` is 32-byte aligned.
    fn write_command(&self, address: u64, words: Words);
    /// Fills a page with zeroes.
    fn zero_page(&self, page: u64);
    /// Cleans `bytes` at `address` to the point of coherency, so that a device sees what was
    /// written.
    fn clean(&self, address: u64, bytes: u64);
    /// Orders everything before against everything after, as devices see it (`dsb sy`).
    fn order(&self);

    // ---- page ownership; the caller holds `memory_lock`

    /// The lock around page ownership, which share, unshare and donation by hypercall take too.
    fn memory_lock(&self) -> &LockOf<Self, ()>;
    /// The host's own page becomes shared with EL2 (`__pkvm_host_share_hyp`).
    /// EPERM: the page is not exclusively the host's.
    fn share(&self, page: u64) -> Result<(), Errno>;
    /// A shared page becomes the host's own again (`__pkvm_host_unshare_hyp`).
    /// EPERM: not shared. EBUSY: pinned.
    fn unshare(&self, page: u64) -> Result<(), Errno>;
    /// Pins a shared page, so that it stays shared, and maps it (`hyp_pin_shared_mem`).
    /// EPERM: not shared. EBUSY: the count (16 bits) is full.
    fn pin(&self, page: u64) -> Result<(), Errno>;
    /// Takes back one pin (`hyp_unpin_shared_mem`). EPERM: there is none.
    fn unpin(&self, page: u64) -> Result<(), Errno>;
    /// How often the page is pinned, by any part of EL2.
    fn pins(&self, page: u64) -> u16;
    /// The host's own pages become EL2's, all or none (`__pkvm_host_donate_hyp`).
    /// EPERM: a page is not exclusively the host's or no memory, or the pages are of two regions.
    fn donate(&self, pages: Pages) -> Result<(), Errno>;
    /// EL2's pages become the host's own, all or none (`__pkvm_hyp_donate_host`).
    /// EPERM: a page is not exclusively EL2's.
    fn reclaim(&self, pages: Pages) -> Result<(), Errno>;
    /// A word that EL2 keeps for each page of memory on behalf of the ITS emulation, 0 from boot (a
    /// field of `struct hyp_page`). 0 for what is no memory.
    fn note(&self, page: u64) -> u32;
    /// Sets [`El2::note`]. No effect for what is no memory.
    fn set_note(&self, page: u64, note: u32);

    // ---- locks

    /// Takes a lock. Prefer [`El2::locked`].
    fn acquire<T>(&self, lock: &LockOf<Self, T>);
    /// Gives a lock back. Prefer [`El2::locked`].
    fn release<T>(&self, lock: &LockOf<Self, T>);
    /// Runs `body` on what a lock protects; this CPU holds the lock.
    fn held<T, R>(&self, lock: &LockOf<Self, T>, body: impl FnOnce(&mut T) -> R) -> R;

    /// Runs `body` on what a lock protects, holding the lock meanwhile.
    fn locked<T, R>(&self, lock: &LockOf<Self, T>, body: impl FnOnce(&mut T) -> R) -> R {
        self.acquire(lock);
        let result = self.held(lock, body);
        self.release(lock);
        result
    }
}
