//! Who owns which page: pKVM's states, transitions and errno values.

use its_gic::geometry::Pages;
use its_machine::{Area, El2Side, Errno, HostSide, Machine, PageChange, PageState};

use crate::flat::{FLAT_PAGES, Flat};

/// A page that the host shares with EL2, not pinned.
const SHARED: PageState = PageState { host: HostSide::Shared, el2: El2Side::Borrowed, pins: 0 };

pub(crate) const fn one(page: u64) -> Pages {
    Pages { first: page, count: 1 }
}

#[derive(Clone)]
pub(crate) struct Ownership {
    flat: Flat,
    states: Vec<PageState>,
    notes: Vec<u32>,
}

impl Ownership {
    /// After boot: EL2's own pages, and everything else the host's.
    pub(crate) fn new(machine: &Machine) -> Self {
        let flat = Flat::of(machine);
        let pages = flat.pages();
        let mut ownership =
            Self { flat, states: vec![PageState::HOST; pages], notes: vec![0; pages] };
        for page in Area::EL2.run().iter() {
            ownership.set(page, PageState::EL2);
        }
        ownership
    }

    /// The state of a page; `None` for what is no memory.
    pub(crate) fn state(&self, page: u64) -> Option<PageState> {
        self.flat.index(page).map(|index| self.states[index])
    }

    pub(crate) fn note(&self, page: u64) -> u32 {
        self.flat.index(page).map_or(0, |index| self.notes[index])
    }

    pub(crate) fn set_note(&mut self, page: u64, note: u32) {
        if let Some(index) = self.flat.index(page) {
            self.notes[index] = note;
        }
    }

    /// Makes a transition between host and EL2, of all pages or of none. Only donations are of more
    /// than one page.
    pub(crate) fn change(&mut self, change: PageChange, pages: Pages) -> Result<(), Errno> {
        match change {
            // __pkvm_host_share_hyp
            PageChange::Share => self.give(pages, PageState::HOST, SHARED),
            // __pkvm_host_unshare_hyp
            PageChange::Unshare => self.change_shared(pages.first, |state| match state.pins {
                0 => Ok(PageState::HOST),
                _ => Err(Errno::Ebusy),
            }),
            // hyp_pin_shared_mem
            PageChange::Pin => self.change_shared(pages.first, |state| {
                let pins = state.pins.checked_add(1).ok_or(Errno::Ebusy)?;
                Ok(PageState { pins, ..state })
            }),
            // hyp_unpin_shared_mem
            PageChange::Unpin => self.change_shared(pages.first, |state| {
                let pins = state.pins.checked_sub(1).ok_or(Errno::Eperm)?;
                Ok(PageState { pins, ..state })
            }),
            // __pkvm_host_donate_hyp
            PageChange::Donate => self.give(pages, PageState::HOST, PageState::EL2),
            // __pkvm_hyp_donate_host
            PageChange::Reclaim => self.give(pages, PageState::EL2, PageState::HOST),
            // The host's stage-2 maps it without write permission.
            PageChange::Show => self.give(pages, PageState::EL2, PageState::SHOWN),
            PageChange::Hide => self.give(pages, PageState::SHOWN, PageState::EL2),
        }
    }

    /// `__pkvm_host_donate_guest`
    pub(crate) fn donate_guest(&mut self, page: u64) -> Result<(), Errno> {
        self.give(one(page), PageState::HOST, PageState::GUEST)
    }

    /// `__pkvm_reclaim_dying_guest_page`
    pub(crate) fn reclaim_guest(&mut self, page: u64) -> Result<(), Errno> {
        self.give(one(page), PageState::GUEST, PageState::HOST)
    }

    fn give(&mut self, pages: Pages, from: PageState, to: PageState) -> Result<(), Errno> {
        if pages.count > FLAT_PAGES as u64 {
            return Err(Errno::Eperm);
        }
        if pages.iter().any(|page| self.state(page) != Some(from)) {
            return Err(Errno::Eperm);
        }
        for page in pages.iter() {
            self.set(page, to);
        }
        Ok(())
    }

    fn change_shared(
        &mut self,
        page: u64,
        to: impl FnOnce(PageState) -> Result<PageState, Errno>,
    ) -> Result<(), Errno> {
        let state = self.state(page).filter(|state| PageState { pins: 0, ..*state } == SHARED);
        self.set(page, to(state.ok_or(Errno::Eperm)?)?);
        Ok(())
    }

    fn set(&mut self, page: u64, state: PageState) {
        let index = self.flat.index(page).expect("a page of memory");
        self.states[index] = state;
    }
}

#[cfg(test)]
mod tests {
    use its_machine::ItsConfiguration;

    use super::*;
    use crate::testing::machine;
    use PageChange::{Donate, Pin, Reclaim, Share, Unpin, Unshare};

    const PAGE: u64 = Area::HOST.first();

    fn ownership() -> Ownership {
        Ownership::new(&machine(ItsConfiguration::DEFAULT))
    }

    #[test]
    fn sharing_is_not_counted_and_pins_are() {
        let mut pages = ownership();
        for (change, result) in [
            (Pin, Err(Errno::Eperm)),
            (Share, Ok(())),
            (Share, Err(Errno::Eperm)),
            (Pin, Ok(())),
            (Pin, Ok(())),
            (Unshare, Err(Errno::Ebusy)),
            (Unpin, Ok(())),
            (Unpin, Ok(())),
            (Unpin, Err(Errno::Eperm)),
            (Unshare, Ok(())),
            (Unshare, Err(Errno::Eperm)),
        ] {
            assert_eq!(pages.change(change, one(PAGE)), result, "{change:?}");
        }
        assert_eq!(pages.state(PAGE), Some(PageState::HOST));
    }

    #[test]
    fn a_pin_count_does_not_overflow() {
        let mut pages = ownership();
        pages.change(Share, one(PAGE)).unwrap();
        for _ in 0..u16::MAX {
            pages.change(Pin, one(PAGE)).unwrap();
        }
        assert_eq!(pages.change(Pin, one(PAGE)), Err(Errno::Ebusy));
        assert_eq!(pages.state(PAGE).unwrap().pins, u16::MAX);
    }

    #[test]
    fn donation_is_all_or_nothing() {
        let mut pages = ownership();
        pages.change(Share, one(PAGE + 2)).unwrap();
        let run = Pages { first: PAGE, count: 3 };
        assert_eq!(pages.change(Donate, run), Err(Errno::Eperm));
        assert_eq!(pages.state(PAGE), Some(PageState::HOST));
        pages.change(Unshare, one(PAGE + 2)).unwrap();
        assert_eq!(pages.change(Donate, run), Ok(()));
        assert_eq!(pages.state(PAGE + 2), Some(PageState::EL2));
        assert_eq!(pages.change(Share, one(PAGE)), Err(Errno::Eperm));
        assert_eq!(pages.donate_guest(PAGE), Err(Errno::Eperm));
        assert_eq!(pages.change(Reclaim, run), Ok(()));
        assert_eq!(pages.donate_guest(PAGE), Ok(()));
        assert_eq!(pages.change(Reclaim, run), Err(Errno::Eperm));
        assert_eq!(pages.reclaim_guest(PAGE), Ok(()));
    }

    #[test]
    fn the_host_may_load_from_what_is_shown() {
        use PageChange::{Hide, Show};
        let mut pages = ownership();
        assert_eq!(pages.change(Show, one(PAGE)), Err(Errno::Eperm));
        pages.change(Donate, one(PAGE)).unwrap();
        assert_eq!(pages.change(Hide, one(PAGE)), Err(Errno::Eperm));
        assert_eq!(pages.change(Show, one(PAGE)), Ok(()));
        let shown = pages.state(PAGE).unwrap();
        assert!(shown.host_can_load() && !shown.host_can_store() && shown.el2_can_access());
        for change in [Share, Donate, Reclaim, Show] {
            assert_eq!(pages.change(change, one(PAGE)), Err(Errno::Eperm), "{change:?}");
        }
        assert_eq!(pages.change(Hide, one(PAGE)), Ok(()));
        assert_eq!(pages.state(PAGE), Some(PageState::EL2));
    }

    #[test]
    fn what_is_no_memory_cannot_change_hands() {
        let mut pages = ownership();
        let straddling = Pages { first: Area::HOLE.first() - 1, count: 2 };
        assert_eq!(pages.change(Donate, straddling), Err(Errno::Eperm));
        assert_eq!(pages.change(Share, one(Area::HOLE.first())), Err(Errno::Eperm));
        let endless = Pages { first: 0, count: u64::MAX };
        assert_eq!(pages.change(Donate, endless), Err(Errno::Eperm));
    }
}
