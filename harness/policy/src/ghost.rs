//! Whose each page is: pKVM's page states and their transitions, as `mem_protect.c` has them.

use std::collections::BTreeMap;

use its_architecture::Judgement;
use its_gic::geometry::{PAGE_BYTES, Pages};
use its_machine::{El2Side, Errno, HostSide, Machine, PageChange, PageState};

/// A page that is shared with EL2 and pinned `pins` times.
pub(crate) const fn shared(pins: u16) -> PageState {
    PageState { host: HostSide::Shared, el2: El2Side::Borrowed, pins }
}

/// The state of every page of memory. Pages that nothing happened to are not stored.
#[derive(Clone, Debug)]
pub(crate) struct Ghost {
    machine: Machine,
    pages: BTreeMap<u64, PageState>,
}

impl Ghost {
    pub(crate) fn new(machine: Machine) -> Self {
        Self { machine, pages: BTreeMap::new() }
    }

    /// `None` for what is no memory.
    pub(crate) fn page(&self, page: u64) -> Option<PageState> {
        if let Some(state) = self.pages.get(&page) {
            return Some(*state);
        }
        if !self.machine.memory.iter().any(|all| all.contains(page)) {
            return None;
        }
        let el2 = self.machine.el2.iter().any(|own| own.contains(page));
        Some(if el2 { PageState::EL2 } else { PageState::HOST })
    }

    pub(crate) fn set(&mut self, page: u64, state: PageState) {
        self.pages.insert(page, state);
    }

    /// Whether all pages are memory of one region (`check_range_allowed_memory`).
    pub(crate) fn is_memory(&self, pages: Pages) -> bool {
        pages.count == 0
            || pages.first < u64::MAX / PAGE_BYTES
                && pages.count < u64::MAX / PAGE_BYTES
                && self.machine.is_memory(pages.first * PAGE_BYTES, pages.count * PAGE_BYTES)
    }

    /// What a transition must return. All or none of the pages change.
    pub(crate) fn attempt(&self, change: PageChange, pages: Pages) -> Result<(), Errno> {
        if !self.is_memory(pages) {
            return Err(Errno::Eperm);
        }
        pages.iter().try_for_each(|page| {
            let state = self.page(page).ok_or(Errno::Eperm)?;
            after(change, state).map(|_| ())
        })
    }

    /// Follows a transition, and judges what pKVM returned. `injected`: it was made to fail.
    /// Whether pages changed.
    pub(crate) fn follow(
        &mut self,
        (change, pages): (PageChange, Pages),
        result: Result<(), Errno>,
        injected: bool,
        judgement: &mut Judgement,
    ) -> bool {
        let expected = if injected { Err(Errno::Enomem) } else { self.attempt(change, pages) };
        // pKVM: a range across two regions or gaps has an errno of its own.
        let outside = result == Err(Errno::Einval) && !self.is_memory(pages);
        if result != expected && !outside {
            let path = format_args!("page {:#x}.{change:?}", pages.first);
            let text = |result| Errno::name(Errno::result(result));
            judgement.contradict(path, text(expected), text(result));
        }
        if result.is_ok() {
            self.apply(change, pages);
        }
        result.is_ok()
    }

    /// Carries out a transition that succeeded; pages that it cannot succeed for stay.
    fn apply(&mut self, change: PageChange, pages: Pages) {
        if !self.is_memory(pages) {
            return;
        }
        for page in pages.iter() {
            if let Some(Ok(state)) = self.page(page).map(|state| after(change, state)) {
                self.pages.insert(page, state);
            }
        }
    }
}

/// One page's state after a transition, or why it is refused.
fn after(change: PageChange, state: PageState) -> Result<PageState, Errno> {
    let is_shared = (state.host, state.el2) == (HostSide::Shared, El2Side::Borrowed);
    match change {
        PageChange::Share if state == PageState::HOST => Ok(shared(0)),
        PageChange::Donate if state == PageState::HOST => Ok(PageState::EL2),
        PageChange::Reclaim if state == PageState::EL2 => Ok(PageState::HOST),
        PageChange::Show if state == PageState::EL2 => Ok(PageState::SHOWN),
        PageChange::Hide if state == PageState::SHOWN => Ok(PageState::EL2),
        PageChange::Unshare if is_shared && state.pins == 0 => Ok(PageState::HOST),
        PageChange::Unshare if is_shared => Err(Errno::Ebusy),
        PageChange::Pin if is_shared => match state.pins.checked_add(1) {
            Some(pins) => Ok(shared(pins)),
            None => Err(Errno::Ebusy),
        },
        PageChange::Unpin if state.pins > 0 => Ok(PageState { pins: state.pins - 1, ..state }),
        _ => Err(Errno::Eperm),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::machine;

    fn one(page: u64) -> Pages {
        Pages { first: page, count: 1 }
    }

    #[test]
    fn every_transition_from_every_state() {
        use PageChange::{Donate, Hide, Pin, Reclaim, Share, Show, Unpin, Unshare};
        let (eperm, ebusy) = (Err(Errno::Eperm), Err(Errno::Ebusy));
        let states = [
            PageState::HOST,
            shared(0),
            shared(1),
            shared(u16::MAX),
            PageState::EL2,
            PageState::SHOWN,
            PageState::GUEST,
        ];
        let table = [
            (Share, [Ok(shared(0)), eperm, eperm, eperm, eperm, eperm, eperm]),
            (Unshare, [eperm, Ok(PageState::HOST), ebusy, ebusy, eperm, eperm, eperm]),
            (Pin, [eperm, Ok(shared(1)), Ok(shared(2)), ebusy, eperm, eperm, eperm]),
            (Unpin, [eperm, eperm, Ok(shared(0)), Ok(shared(u16::MAX - 1)), eperm, eperm, eperm]),
            (Donate, [Ok(PageState::EL2), eperm, eperm, eperm, eperm, eperm, eperm]),
            (Reclaim, [eperm, eperm, eperm, eperm, Ok(PageState::HOST), eperm, eperm]),
            (Show, [eperm, eperm, eperm, eperm, Ok(PageState::SHOWN), eperm, eperm]),
            (Hide, [eperm, eperm, eperm, eperm, eperm, Ok(PageState::EL2), eperm]),
        ];
        for (change, results) in table {
            for (state, result) in states.into_iter().zip(results) {
                let mut ghost = Ghost::new(machine());
                ghost.set(0x80010, state);
                let seen = ghost.attempt(change, one(0x80010));
                assert_eq!(seen, result.map(|_| ()), "{change:?} {state:?}");
                ghost.apply(change, one(0x80010));
                assert_eq!(ghost.page(0x80010), Some(result.unwrap_or(state)));
            }
        }
    }

    #[test]
    fn ranges_are_all_or_none_and_memory_only() {
        let mut ghost = Ghost::new(machine());
        ghost.set(0x80012, PageState::GUEST);
        let three = Pages { first: 0x80010, count: 3 };
        assert_eq!(ghost.attempt(PageChange::Donate, three), Err(Errno::Eperm));
        for page in [0, 0x7ffff, u64::MAX, u64::MAX / PAGE_BYTES] {
            assert_eq!(ghost.page(page), None);
            assert_eq!(ghost.attempt(PageChange::Share, one(page)), Err(Errno::Eperm));
        }
        assert_eq!(ghost.page(0x80000), Some(PageState::EL2));
    }
}
