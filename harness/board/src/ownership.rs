//! Who owns which page: pKVM's states, transitions and errno values.

use its_gic::geometry::Pages;
use its_machine::{Area, El2Side, Errno, HostSide, Machine, PageState};

use crate::flat::{FLAT_PAGES, Flat};

/// The state and the note of every page.
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

    /// `__pkvm_host_share_hyp`
    pub(crate) fn share(&mut self, page: u64) -> Result<(), Errno> {
        if self.state(page) != Some(PageState::HOST) {
            return Err(Errno::Eperm);
        }
        self.set(page, PageState { host: HostSide::Shared, el2: El2Side::Borrowed, pins: 0 });
        Ok(())
    }

    /// `__pkvm_host_unshare_hyp`
    pub(crate) fn unshare(&mut self, page: u64) -> Result<(), Errno> {
        if self.shared(page)?.pins > 0 {
            return Err(Errno::Ebusy);
        }
        self.set(page, PageState::HOST);
        Ok(())
    }

    /// `hyp_pin_shared_mem`
    pub(crate) fn pin(&mut self, page: u64) -> Result<(), Errno> {
        let state = self.shared(page)?;
        let pins = state.pins.checked_add(1).ok_or(Errno::Ebusy)?;
        self.set(page, PageState { pins, ..state });
        Ok(())
    }

    /// `hyp_unpin_shared_mem`
    pub(crate) fn unpin(&mut self, page: u64) -> Result<(), Errno> {
        let state = self.shared(page)?;
        let pins = state.pins.checked_sub(1).ok_or(Errno::Eperm)?;
        self.set(page, PageState { pins, ..state });
        Ok(())
    }

    /// `__pkvm_host_donate_hyp`
    pub(crate) fn donate(&mut self, pages: Pages) -> Result<(), Errno> {
        self.give(pages, PageState::HOST, PageState::EL2)
    }

    /// `__pkvm_hyp_donate_host`
    pub(crate) fn reclaim(&mut self, pages: Pages) -> Result<(), Errno> {
        self.give(pages, PageState::EL2, PageState::HOST)
    }

    /// `__pkvm_host_donate_guest`
    pub(crate) fn donate_guest(&mut self, page: u64) -> Result<(), Errno> {
        let pages = Pages { first: page, count: 1 };
        self.give(pages, PageState::HOST, PageState::GUEST)
    }

    /// `__pkvm_reclaim_dying_guest_page`
    pub(crate) fn reclaim_guest(&mut self, page: u64) -> Result<(), Errno> {
        let pages = Pages { first: page, count: 1 };
        self.give(pages, PageState::GUEST, PageState::HOST)
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

    fn shared(&self, page: u64) -> Result<PageState, Errno> {
        let state = self.state(page).ok_or(Errno::Eperm)?;
        match (state.host, state.el2) {
            (HostSide::Shared, El2Side::Borrowed) => Ok(state),
            _ => Err(Errno::Eperm),
        }
    }

    fn set(&mut self, page: u64, state: PageState) {
        let index = self.flat.index(page).expect("a page of memory");
        self.states[index] = state;
    }
}

#[cfg(test)]
mod tests {
    use its_machine::{ItsConfiguration, MAX_ITS, Topology};

    use super::*;

    const PAGE: u64 = Area::HOST.first();

    fn ownership() -> Ownership {
        Ownership::new(&Machine::new([ItsConfiguration::DEFAULT; MAX_ITS], Topology::DEFAULT))
    }

    #[test]
    fn sharing_is_not_counted_and_pins_are() {
        let mut pages = ownership();
        assert_eq!(pages.pin(PAGE), Err(Errno::Eperm));
        assert_eq!(pages.share(PAGE), Ok(()));
        assert_eq!(pages.share(PAGE), Err(Errno::Eperm));
        assert_eq!(pages.pin(PAGE), Ok(()));
        assert_eq!(pages.pin(PAGE), Ok(()));
        assert_eq!(pages.unshare(PAGE), Err(Errno::Ebusy));
        assert_eq!(pages.unpin(PAGE), Ok(()));
        assert_eq!(pages.unpin(PAGE), Ok(()));
        assert_eq!(pages.unpin(PAGE), Err(Errno::Eperm));
        assert_eq!(pages.unshare(PAGE), Ok(()));
        assert_eq!(pages.unshare(PAGE), Err(Errno::Eperm));
        assert_eq!(pages.state(PAGE), Some(PageState::HOST));
    }

    #[test]
    fn a_pin_count_does_not_overflow() {
        let mut pages = ownership();
        pages.share(PAGE).unwrap();
        for _ in 0..u16::MAX {
            pages.pin(PAGE).unwrap();
        }
        assert_eq!(pages.pin(PAGE), Err(Errno::Ebusy));
        assert_eq!(pages.state(PAGE).unwrap().pins, u16::MAX);
    }

    #[test]
    fn donation_is_all_or_nothing() {
        let mut pages = ownership();
        pages.share(PAGE + 2).unwrap();
        let run = Pages { first: PAGE, count: 3 };
        assert_eq!(pages.donate(run), Err(Errno::Eperm));
        assert_eq!(pages.state(PAGE), Some(PageState::HOST));
        pages.unshare(PAGE + 2).unwrap();
        assert_eq!(pages.donate(run), Ok(()));
        assert_eq!(pages.state(PAGE + 2), Some(PageState::EL2));
        assert_eq!(pages.share(PAGE), Err(Errno::Eperm));
        assert_eq!(pages.donate_guest(PAGE), Err(Errno::Eperm));
        assert_eq!(pages.reclaim(run), Ok(()));
        assert_eq!(pages.donate_guest(PAGE), Ok(()));
        assert_eq!(pages.reclaim(run), Err(Errno::Eperm));
        assert_eq!(pages.reclaim_guest(PAGE), Ok(()));
    }

    #[test]
    fn what_is_no_memory_cannot_change_hands() {
        let mut pages = ownership();
        let straddling = Pages { first: Area::HOLE.first() - 1, count: 2 };
        assert_eq!(pages.donate(straddling), Err(Errno::Eperm));
        assert_eq!(pages.share(Area::HOLE.first()), Err(Errno::Eperm));
        let endless = Pages { first: 0, count: u64::MAX };
        assert_eq!(pages.donate(endless), Err(Errno::Eperm));
    }
}
