//! Pages that change hands: donated to EL2 and reclaimed (P4), borrowed and given back (P5).

use its_el2::{El2, Errno};
use its_gic::geometry::Pages;

/// Bytes at a physical address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Span {
    pub(crate) address: u64,
    pub(crate) bytes: u64,
}

impl Span {
    /// Nothing at all: every change of it succeeds and does nothing.
    pub(crate) const EMPTY: Self = Self { address: 0, bytes: 0 };

    /// All pages that it touches; not for an empty one.
    pub(crate) fn pages(self) -> Pages {
        Pages::under(self.address, self.bytes)
    }

    pub(crate) fn overlaps(self, other: Self) -> bool {
        self.address < other.address.saturating_add(other.bytes)
            && other.address < self.address.saturating_add(self.bytes)
    }
}

/// Makes the n-th of `count` things for each n in order. At the first failure, unmakes those made,
/// last first, and returns it (P12).
pub(crate) fn all_or_none(
    count: usize,
    mut make: impl FnMut(usize) -> Result<(), Errno>,
    unmake: impl FnMut(usize),
) -> Result<(), Errno> {
    for n in 0..count {
        if let Err(errno) = make(n) {
            (0..n).rev().for_each(unmake);
            return Err(errno);
        }
    }
    Ok(())
}

/// The host's pages become EL2's, all or none.
pub(crate) fn donate<E: El2>(el2: &E, span: Span) -> Result<(), Errno> {
    if span.bytes == 0 {
        return Ok(());
    }
    el2.locked(el2.memory_lock(), |_: &mut ()| el2.donate(span.pages()))
}

/// EL2's pages become the host's again. A failure leaves them as they are (P13).
pub(crate) fn reclaim<E: El2>(el2: &E, span: Span) {
    if span.bytes == 0 {
        return;
    }
    let _left_as_it_is = el2.locked(el2.memory_lock(), |_: &mut ()| el2.reclaim(span.pages()));
}

/// Borrows all pages under `span`, or none, in one step under the memory lock.
///
/// EPERM: not memory, or a page is neither the host's own nor shared with EL2. EBUSY: a pin count
/// is full.
pub(crate) fn borrow<E: El2>(el2: &E, span: Span) -> Result<(), Errno> {
    if span.bytes == 0 {
        return Ok(());
    }
    let pages = span.pages();
    if !el2.is_memory(span.address, span.bytes) {
        return Err(Errno::Eperm);
    }
    let page = |n: usize| pages.first.saturating_add(n as u64);
    el2.locked(el2.memory_lock(), |_: &mut ()| {
        all_or_none(
            usize::try_from(pages.count).unwrap_or(usize::MAX),
            |n| borrow_page(el2, page(n)),
            |n| give_back_page(el2, page(n)),
        )
    })
}

/// Undoes one [`borrow`] of the same span.
pub(crate) fn give_back<E: El2>(el2: &E, span: Span) {
    if span.bytes == 0 {
        return;
    }
    el2.locked(el2.memory_lock(), |_: &mut ()| {
        span.pages().iter().rev().for_each(|page| give_back_page(el2, page));
    });
}

/// What [`El2::note`] says of a page: how many of its pins are the ITS emulation's, for all ITSs,
/// and whether it was the ITS emulation that shared it. The mark never outlives the pins.
#[derive(Clone, Copy)]
struct Note(u32);

impl Note {
    const MARK: u32 = 1 << 31;

    fn pins(self) -> u32 {
        self.0 & !Self::MARK
    }

    fn is_marked(self) -> bool {
        self.0 & Self::MARK != 0
    }

    fn new(pins: u32, marked: bool) -> Self {
        let mark = if marked { Self::MARK } else { 0 };
        Self(pins & !Self::MARK | mark)
    }
}

fn borrow_page<E: El2>(el2: &E, page: u64) -> Result<(), Errno> {
    let note = Note(el2.note(page));
    // What is pinned is shared already.
    let shared_now = note.pins() == 0 && el2.share(page).is_ok();
    if let Err(errno) = el2.pin(page) {
        if shared_now {
            let _left_as_it_is = el2.unshare(page);
        }
        return Err(errno);
    }
    let marked = note.is_marked() || shared_now;
    el2.set_note(page, Note::new(note.pins().saturating_add(1), marked).0);
    Ok(())
}

fn give_back_page<E: El2>(el2: &E, page: u64) {
    let note = Note(el2.note(page));
    let Some(pins) = note.pins().checked_sub(1) else {
        return;
    };
    if el2.unpin(page).is_err() {
        return;
    }
    let last = pins == 0;
    el2.set_note(page, Note::new(pins, note.is_marked() && !last).0);
    // Pinned by another part of EL2 meanwhile: it stays shared, for the host to unshare.
    if last && note.is_marked() && el2.pins(page) == 0 {
        let _left_as_it_is = el2.unshare(page);
    }
}

#[cfg(test)]
mod tests {
    use its_gic::geometry::PAGE_BYTES;
    use its_machine::PageState;

    use super::*;
    use crate::test_el2::{END, TestEl2};

    const AT: u64 = 0x8050_0f00;
    const SPAN: Span = Span { address: AT, bytes: 0x2000 };

    fn on_memory(el2: &TestEl2, body: impl FnOnce() -> Result<(), Errno>) {
        el2.locked(el2.memory_lock(), |_: &mut ()| body()).unwrap();
    }

    #[test]
    fn all_pages_under_it_are_held_and_given_back() {
        let el2 = TestEl2::new();
        borrow(&el2, SPAN).unwrap();
        assert_eq!(el2.ownership().len(), 3);
        assert!(el2.ownership().values().all(|(state, _)| state.is_held()));
        give_back(&el2, SPAN);
        assert!(el2.ownership().is_empty());
    }

    #[test]
    fn the_last_one_unshares_what_the_emulation_shared() {
        let el2 = TestEl2::new();
        borrow(&el2, SPAN).unwrap();
        borrow(&el2, Span { bytes: 8, ..SPAN }).unwrap();
        give_back(&el2, SPAN);
        assert_eq!(el2.ownership().len(), 1);
        assert!(el2.page(AT).is_held());
        give_back(&el2, Span { bytes: 8, ..SPAN });
        assert!(el2.ownership().is_empty());
    }

    #[test]
    fn what_the_host_shared_stays_shared() {
        let el2 = TestEl2::new();
        let page = AT / PAGE_BYTES;
        on_memory(&el2, || el2.share(page));
        let before = el2.ownership();
        borrow(&el2, SPAN).unwrap();
        give_back(&el2, SPAN);
        assert_eq!(el2.ownership(), before);
    }

    #[test]
    fn what_another_part_of_el2_pinned_stays_shared() {
        let el2 = TestEl2::new();
        let page = AT / PAGE_BYTES;
        borrow(&el2, SPAN).unwrap();
        on_memory(&el2, || el2.pin(page));
        give_back(&el2, SPAN);
        assert!(el2.page(AT).is_held());
        assert_eq!(el2.note(page), 0);
        // The host's to unshare from now on, also if an ITS used it in between.
        borrow(&el2, SPAN).unwrap();
        on_memory(&el2, || el2.unpin(page));
        give_back(&el2, SPAN);
        on_memory(&el2, || el2.unshare(page));
        assert!(el2.ownership().is_empty());
    }

    #[test]
    fn a_full_count_of_pins_refuses() {
        let el2 = TestEl2::new();
        borrow(&el2, SPAN).unwrap();
        let full = PageState { pins: u16::MAX, ..el2.page(AT + 0x1000) };
        el2.set_page(AT + 0x1000, full);
        let before = el2.ownership();
        assert_eq!(borrow(&el2, SPAN), Err(Errno::Ebusy));
        assert_eq!(el2.ownership(), before);
    }

    #[test]
    fn a_failure_anywhere_undoes_everything() {
        for shared_before in [false, true] {
            for failing in 1.. {
                let el2 = TestEl2::new();
                if shared_before {
                    on_memory(&el2, || el2.share(AT / PAGE_BYTES + 1));
                }
                let before = el2.ownership();
                el2.failing.set(el2.page_calls.get() + failing);
                // A failing share is no failure where the page is shared already.
                if borrow(&el2, SPAN).is_ok() {
                    if el2.page_calls.get() < el2.failing.get() {
                        break;
                    }
                    give_back(&el2, SPAN);
                }
                assert_eq!(el2.ownership(), before, "at call {failing}");
            }
        }
    }

    #[test]
    fn what_is_no_memory_or_not_the_hosts_is_refused() {
        let el2 = TestEl2::new();
        // Over the border of two regions that touch, and into the hole.
        for (address, bytes) in [(END - 0x100, 0x200), (END, 0x1001)] {
            assert_eq!(borrow(&el2, Span { address, bytes }), Err(Errno::Eperm));
        }
        assert!(el2.ownership().is_empty());
        el2.set_page(AT + 0x1000, PageState::EL2);
        let before = el2.ownership();
        assert_eq!(borrow(&el2, SPAN), Err(Errno::Eperm));
        assert_eq!(el2.ownership(), before);
    }
}
