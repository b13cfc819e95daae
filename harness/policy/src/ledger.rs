//! Whose each page should be: what host and guest did with it, and what the ITSs need of it (P4,
//! P5).

use std::collections::{BTreeMap, BTreeSet};

use its_gic::geometry::Pages;
use its_machine::{Event, Machine, PageChange, PageState};

use crate::ghost::{Ghost, shared};
use crate::{Rule, rules};
use its_architecture::Judgement;
use its_declaration::{Itts, Memory, Pins, Tables};

/// What a page is but for the ITS emulation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Base {
    Host,
    /// The host shared it with EL2 by hypercall.
    HostShared,
    Guest,
    /// From boot, or because giving it back failed (P13).
    El2,
    /// Likewise, and the host can load from it.
    Shown,
}

/// Whether an ITS needs a page to be EL2's (P4).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Owned {
    No,
    /// For the records, a descriptor, or an ITT.
    Own,
    /// For the queue or a table.
    Table,
}

#[derive(Clone, Copy, Debug)]
struct Entry {
    base: Base,
    owned: Owned,
    /// So many ITTs, shadows and redistributor tables lie on it (P5): its pins.
    borrowed: u32,
    /// Pins that could not be taken back (P13): the emulation still counts them.
    kept: u32,
    /// A give back failed (P13): it may stay shared, and pinned more often.
    stuck: bool,
}

/// What is expected of every page of memory. Pages that nothing happened to are not stored.
#[derive(Clone, Debug)]
pub(crate) struct Ledger {
    machine: Machine,
    declared: Memory,
    pages: BTreeMap<u64, Entry>,
    /// Pages to compare at the end of this action.
    changed: Vec<u64>,
    /// Pages of ITTs that EL2 was to give back so far in this action.
    released: Vec<u64>,
    /// Pages that another agent changed during this action: what was possible then is what was
    /// seen.
    contested: BTreeMap<u64, [Option<bool>; 2]>,
}

/// The page cannot change hands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Refused;

impl Ledger {
    pub(crate) fn new(machine: Machine, declared: Memory) -> Self {
        let (pages, contested) = (BTreeMap::new(), BTreeMap::new());
        let (changed, released) = (Vec::new(), Vec::new());
        Self { machine, declared, pages, changed, released, contested }
    }

    fn entry(&self, page: u64) -> Entry {
        let boot = || {
            let el2 = self.machine.el2.iter().any(|own| own.contains(page));
            Entry {
                base: if el2 { Base::El2 } else { Base::Host },
                owned: Owned::No,
                borrowed: 0,
                kept: 0,
                stuck: false,
            }
        };
        self.pages.get(&page).copied().unwrap_or_else(boot)
    }

    fn update(&mut self, page: u64, change: impl FnOnce(&mut Entry)) {
        let mut entry = self.entry(page);
        change(&mut entry);
        self.pages.insert(page, entry);
        self.changed.push(page);
    }

    /// Other agents changed these pages during the action that is judged next.
    pub(crate) fn contest(&mut self, pages: &BTreeSet<u64>) {
        self.contested = pages.iter().map(|page| (*page, [None; 2])).collect();
    }

    /// What was possible with contested pages is what these events show, from now on.
    pub(crate) fn witness(&mut self, events: &[Event]) {
        for (page, seen) in &mut self.contested {
            *seen = witnessed(*page, events);
        }
    }

    /// Whether a contested page could be borrowed (0) or donated (1); `None`: not contested, or
    /// nobody tried.
    fn seen(&self, page: u64, how: usize) -> Option<bool> {
        self.contested.get(&page).and_then(|seen| seen[how])
    }

    /// A hypercall made it something else.
    pub(crate) fn rebase(&mut self, page: u64, base: Base) {
        self.update(page, |entry| {
            entry.base = base;
            entry.stuck = false;
        });
    }

    /// P4: whether each page is exclusively the host's.
    pub(crate) fn is_free(&self, pages: Pages) -> bool {
        pages.iter().all(|page| {
            let entry = self.entry(page);
            let free = entry.base == Base::Host
                && entry.owned == Owned::No
                && entry.borrowed == 0
                && !entry.stuck;
            self.seen(page, 1).unwrap_or(free)
        })
    }

    /// P4: EL2's from now on; `pages` are memory.
    pub(crate) fn own(&mut self, pages: Pages, how: Owned) -> Result<(), Refused> {
        if !self.is_free(pages) {
            return Err(Refused);
        }
        for page in pages.iter() {
            self.update(page, |entry| entry.owned = how);
        }
        Ok(())
    }

    /// P5: whether each page can be shared and pinned once more.
    pub(crate) fn can_borrow(&self, pages: Pages) -> bool {
        pages.iter().all(|page| {
            let entry = self.entry(page);
            let can = matches!(entry.base, Base::Host | Base::HostShared)
                && entry.owned == Owned::No
                && entry.borrowed < u32::from(u16::MAX);
            self.seen(page, 0).unwrap_or(can)
        })
    }

    /// The point `itt-pages`: whether the emulation holds no pin on any of these pages.
    pub(crate) fn is_unborrowed(&self, pages: Pages) -> bool {
        pages.iter().map(|page| self.entry(page)).all(|entry| entry.borrowed + entry.kept == 0)
    }

    /// P5: one pin more on each page; `pages` are memory.
    pub(crate) fn borrow(&mut self, pages: Pages) -> Result<(), Refused> {
        if !self.can_borrow(pages) {
            return Err(Refused);
        }
        for page in pages.iter() {
            self.update(page, |entry| entry.borrowed += 1);
        }
        Ok(())
    }

    /// P14: one pin less on each page.
    pub(crate) fn give_back(&mut self, pages: Pages) {
        for page in pages.iter() {
            self.update(page, |entry| entry.borrowed = entry.borrowed.saturating_sub(1));
        }
    }

    /// Whether EL2 can take each page of an ITT, as declared.
    pub(crate) fn can_take_itt(&self, itt: Pages) -> bool {
        match self.declared.itts {
            Itts::Borrowed => self.can_borrow(itt),
            Itts::Owned => self.is_free(itt),
        }
    }

    /// P6: EL2 takes an ITT; `itt` is memory.
    pub(crate) fn take_itt(&mut self, itt: Pages) -> Result<(), Refused> {
        match self.declared.itts {
            Itts::Borrowed => self.borrow(itt),
            Itts::Owned => self.own(itt, Owned::Own),
        }
    }

    /// P6, P14: EL2 gives an ITT back.
    pub(crate) fn release_itt(&mut self, itt: Pages) {
        self.released.extend(itt.iter());
        match self.declared.itts {
            Itts::Borrowed => self.give_back(itt),
            Itts::Owned => self.disown(itt),
        }
    }

    /// Whether EL2 was to give a page of an ITT back in this action.
    pub(crate) fn has_released(&self, page: u64) -> bool {
        self.released.contains(&page)
    }

    /// EL2's pages are the host's own again.
    pub(crate) fn disown(&mut self, pages: Pages) {
        for page in pages.iter() {
            self.update(page, |entry| entry.owned = Owned::No);
        }
    }

    /// How often it should be pinned.
    pub(crate) fn borrowed(&self, page: u64) -> u32 {
        self.entry(page).borrowed
    }

    /// Compare it at the end of this action.
    pub(crate) fn look_at(&mut self, pages: Pages) {
        self.changed.extend(pages.iter());
    }

    /// P13: a give back that fails leaves the page as it is.
    pub(crate) fn keep_what_was_not_given_back(&mut self, events: &[Event]) {
        for pair in events.windows(2) {
            let [Event::Page { change, pages, .. }, Event::Injected] = pair else {
                continue;
            };
            let (reclaimed, kept) = match change {
                PageChange::Unshare => (None, 0),
                PageChange::Unpin => (None, 1),
                PageChange::Reclaim => (Some(Base::El2), 0),
                PageChange::Hide => (Some(Base::Shown), 0),
                PageChange::Share | PageChange::Pin | PageChange::Donate | PageChange::Show => {
                    continue;
                }
            };
            for page in pages.iter() {
                self.update(page, |entry| {
                    entry.stuck = true;
                    entry.kept += kept;
                    entry.base = reclaimed.unwrap_or(entry.base);
                });
            }
        }
    }

    fn expected(&self, entry: Entry) -> PageState {
        let most = match self.declared.pins {
            Pins::ByStructure => 0xffff,
            Pins::ByPage => 1,
        };
        match entry.base {
            _ if entry.owned == Owned::Table => match self.declared.tables {
                Tables::Hidden => PageState::EL2,
                Tables::Shown => PageState::SHOWN,
            },
            _ if entry.owned == Owned::Own => PageState::EL2,
            _ if entry.borrowed > 0 => shared(entry.borrowed.min(most) as u16),
            Base::Host => PageState::HOST,
            Base::HostShared => shared(0),
            Base::Guest => PageState::GUEST,
            Base::El2 => PageState::EL2,
            Base::Shown => PageState::SHOWN,
        }
    }

    /// Compares the pages of this action with the ghost (P12, P14) and forgets them.
    pub(crate) fn compare(&mut self, ghost: &Ghost, judgement: &mut Judgement) {
        self.released.clear();
        let mut changed = std::mem::take(&mut self.changed);
        changed.sort_unstable();
        changed.dedup();
        for page in changed.drain(..) {
            let (entry, Some(seen)) = (self.entry(page), ghost.page(page)) else {
                continue;
            };
            let expected = self.expected(entry);
            if seen == expected && !entry.stuck {
                continue;
            }
            let host = seen == PageState::HOST || seen == shared(seen.pins);
            let kept = seen == expected || host && seen.pins >= expected.pins;
            if entry.stuck && kept {
                let stuck = seen != PageState::HOST;
                self.pages.insert(page, Entry { stuck, ..entry });
                continue;
            }
            let is_table = entry.owned == Owned::Table;
            let source = match self.declared.itts {
                _ if is_table => self.declared.tables.source(),
                Itts::Owned => self.declared.itts.source(),
                Itts::Borrowed if expected == PageState::EL2 => "P4",
                Itts::Borrowed => self.declared.pins.source(),
            };
            report(page, source, (expected, seen), judgement);
        }
        self.changed = changed;
    }
}

/// What a page could be, by its transitions among some events: borrowed, and donated.
fn witnessed(page: u64, events: &[Event]) -> [Option<bool>; 2] {
    let (mut borrowed, mut donated) = (None, None);
    for event in events {
        let Event::Page { change, pages, result } = event else {
            continue;
        };
        if !pages.contains(page) {
            continue;
        }
        match change {
            PageChange::Pin => borrowed = Some(result.is_ok()),
            PageChange::Share if result.is_err() => borrowed = borrowed.or(Some(false)),
            PageChange::Donate => donated = Some(result.is_ok()),
            _ => {}
        }
    }
    [borrowed, donated]
}

fn report(
    page: u64,
    source: &'static str,
    (expected, seen): (PageState, PageState),
    judgement: &mut Judgement,
) {
    let is_host_s = |page: PageState| page.host_can_store();
    let rule: &'static Rule = if !(is_host_s(expected) && is_host_s(seen)) {
        &rules::DIV_OWNERSHIP
    } else if expected.host != seen.host {
        &rules::DIV_SHARED
    } else {
        &rules::DIV_PINS
    };
    let (field, wanted, found) = if expected.host != seen.host {
        let names = (format!("{:?}", expected.host), format!("{:?}", seen.host));
        ("host", names.0, names.1)
    } else if expected.el2 != seen.el2 {
        let names = (format!("{:?}", expected.el2), format!("{:?}", seen.el2));
        ("el2", names.0, names.1)
    } else {
        ("pins", expected.pins.to_string(), seen.pins.to_string())
    };
    let path = format_args!("page {page:#x}.{field}");
    judgement.disagree(rule, source, path, wanted, found);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{FREE, machine};
    use its_machine::Errno;

    #[test]
    fn itts_may_be_el2_s_and_tables_shown() {
        let declared = Memory { itts: Itts::Owned, tables: Tables::Shown, ..Memory::default() };
        let mut ledger = Ledger::new(machine(), declared);
        let page = |first| Pages { first, count: 1 };
        let state = |ledger: &Ledger, page| ledger.expected(ledger.entry(page));
        assert_eq!(ledger.take_itt(page(FREE)), Ok(()));
        assert_eq!(state(&ledger, FREE), PageState::EL2);
        assert_eq!(ledger.take_itt(page(FREE)), Err(Refused));
        assert_eq!(ledger.borrow(page(FREE)), Err(Refused));
        ledger.release_itt(page(FREE));
        assert_eq!(state(&ledger, FREE), PageState::HOST);
        assert_eq!(ledger.borrow(page(FREE)), Ok(()));
        assert_eq!(ledger.take_itt(page(FREE)), Err(Refused));
        assert_eq!(ledger.own(page(FREE + 1), Owned::Table), Ok(()));
        assert_eq!(state(&ledger, FREE + 1), PageState::SHOWN);
        assert_eq!(ledger.own(page(FREE + 2), Owned::Own), Ok(()));
        assert_eq!(state(&ledger, FREE + 2), PageState::EL2);
    }

    /// A page that could not be given back is compared strictly again, once it is the host's.
    #[test]
    fn a_page_that_stuck_comes_free() {
        let mut ledger = Ledger::new(machine(), Memory::default());
        let mut ghost = Ghost::new(machine());
        let one = Pages { first: FREE, count: 1 };
        let mut wrong = |ledger: &mut Ledger, state| {
            ghost.set(FREE, state);
            ledger.look_at(one);
            let mut judgement = Judgement::default();
            ledger.compare(&ghost, &mut judgement);
            !judgement.findings.is_empty()
        };
        let unshare = PageChange::Unshare;
        let failed = Event::Page { change: unshare, pages: one, result: Err(Errno::Enomem) };
        ledger.keep_what_was_not_given_back(&[failed, Event::Injected]);
        assert!(!wrong(&mut ledger, shared(0)), "it stuck");
        assert!(!ledger.is_free(one));
        assert!(!wrong(&mut ledger, PageState::HOST), "it came back");
        assert!(ledger.is_free(one));
        assert!(wrong(&mut ledger, shared(0)));
    }

    #[test]
    fn a_pin_count_has_16_bits() {
        let mut ledger = Ledger::new(machine(), Memory::default());
        let one = Pages { first: FREE, count: 1 };
        for _ in 0..0xffff {
            assert_eq!(ledger.borrow(one), Ok(()));
        }
        assert_eq!(ledger.borrow(one), Err(Refused));
        assert_eq!(ledger.own(one, Owned::Own), Err(Refused));
    }
}
