//! Memory that an emulation reaches by pointers rather than by calls, as C code at EL2 does.

use its_gic::geometry::{PAGE_BYTES, Pages};

use its_machine::{Barrier, Errno, Misconduct, PageState};

use crate::service::El2;

/// The 64-bit words of a page.
pub type PageWords = [u64; PAGE_BYTES as usize / 8];

/// An [`El2`] whose memory is one mapping of this process. A caller that follows pointers into it
/// reports each access before it makes it.
pub trait Mapped: El2 {
    /// Address of the mapping's first byte in this process, and its length in bytes.
    fn mapping(&self) -> (*mut u8, usize);

    /// Bytes from the start of the mapping to a physical address; `None` for what is no memory.
    fn offset(&self, address: u64) -> Option<usize>;

    /// The physical address at so many bytes from the start of the mapping; `None` where there is
    /// no memory.
    fn at(&self, offset: usize) -> Option<u64>;

    /// A load of `bytes`, at least 1, at a physical address follows. Does not return if EL2 may not
    /// read there.
    fn load(&self, address: u64, bytes: u64);

    /// A store of `bytes`, at least 1, at a physical address follows. Does not return if EL2 may
    /// not write there.
    fn store(&self, address: u64, bytes: u64);

    /// Stores follow that are not reported, until the machine is reset.
    fn expect_unreported_stores(&self);

    /// What a page of memory holds. It is no event.
    fn page_words(&self, page: u64) -> PageWords;

    /// To whom a page belongs, `None` for what is no memory. It is no event.
    fn page_state(&self, page: u64) -> Option<PageState>;

    /// The host stores all of a page. It is no event.
    fn put_page_words(&self, page: u64, words: &PageWords);

    /// EL2 reads a page that holds these words for those who judge, whatever it holds for EL2: the
    /// host wrote it in a form that they do not know, or what EL2 reads is not seen.
    fn report_page_read(&self, page: u64, words: &PageWords);

    /// What follows is done at this place of the emulation's code, for [`Subject::source`].
    ///
    /// [`Subject::source`]: crate::Subject::source
    fn set_place(&self, place: u64);

    /// Whether firmware says that ITSs see what CPUs stored (no `dma-noncoherent`). Registers may
    /// say otherwise.
    fn is_coherent(&self) -> bool;

    /// Orders memory, by the kind of the barrier; [`El2::order`] is a `dsb sy`.
    fn barrier(&self, barrier: Barrier);

    /// EL2 waits; hardware goes on where the scenario says so.
    fn wait(&self, microseconds: u64);

    /// The host may load from pages that are EL2's, all or none. The caller holds the memory lock.
    /// EPERM: a page is not exclusively EL2's.
    fn show(&self, pages: Pages) -> Result<(), Errno>;

    /// Takes that back. EPERM: the host may not load from a page.
    fn hide(&self, pages: Pages) -> Result<(), Errno>;

    /// A set-up of an ITS is over that EL2 made at a moment of its own: the arguments of the
    /// hypercall that described it, and what x1 would have been. It is no service of EL2: those who
    /// judge learn of it.
    fn set_up_is_over(&self, arguments: [u64; 4], x1: i64);

    /// Records what EL2 must not do and goes on after.
    fn report(&self, misconduct: Misconduct);

    /// Records what EL2 must not do, and does not return.
    fn convict(&self, misconduct: Misconduct) -> !;
}
