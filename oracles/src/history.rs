//! What became of each page by the transitions that were made, and how a page came to be loose.

use std::collections::BTreeMap;

use its_gic::geometry::Pages;
use its_machine::{Event, PageChange, Purpose};

/// What transitions made of a page.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Page {
    pub shared: bool,
    pub pins: u32,
    pub owned: bool,
    /// The host can load from it.
    pub shown: bool,
    /// How often it was pinned and unpinned so far.
    pinned: u32,
    unpinned: u32,
    /// Shares, pins and donations that are EL2's own and not taken back.
    own: [i32; 3],
    /// How many ITTs on it the ITS no longer follows, since it first changed hands.
    ended: u32,
}

impl Page {
    fn is_held(self) -> bool {
        self.shared && self.pins > 0
    }
}

/// All pages, from boot on.
#[derive(Clone, Debug, Default)]
pub(crate) struct History {
    pages: BTreeMap<u64, Page>,
}

impl History {
    /// Takes note of an event. `is_own`: a change of a page is EL2's, not the host's.
    pub(crate) fn note(&mut self, event: &Event, is_own: bool) {
        match *event {
            Event::Page { change, pages, result: Ok(()) } => {
                for page in pages.iter() {
                    self.change(page, change);
                    if is_own {
                        let (column, by) = column(change);
                        self.pages.entry(page).or_default().own[column] += by;
                    }
                }
            }
            Event::Unreached(reach) if matches!(reach.purpose, Purpose::Itt { .. }) => {
                let pages = Pages::under(reach.address, reach.bytes);
                self.pages.range_mut(range(pages)).for_each(|(_, page)| page.ended += 1);
            }
            _ => {}
        }
    }

    fn change(&mut self, page: u64, change: PageChange) {
        let entry = self.pages.entry(page).or_default();
        match change {
            PageChange::Share => entry.shared = true,
            PageChange::Unshare => entry.shared = false,
            PageChange::Pin => {
                entry.pins = entry.pins.saturating_add(1);
                entry.pinned = entry.pinned.saturating_add(1);
            }
            PageChange::Unpin => {
                entry.pins = entry.pins.saturating_sub(1);
                entry.unpinned = entry.unpinned.saturating_add(1);
            }
            PageChange::Donate => entry.owned = true,
            PageChange::Reclaim => entry.owned = false,
            PageChange::Show => entry.shown = true,
            PageChange::Hide => entry.shown = false,
        }
    }

    /// The pages that EL2 holds for itself, ascending.
    pub(crate) fn held_by_el2(&self) -> impl Iterator<Item = u64> {
        let held = self.pages.iter().filter(|(_, page)| page.own.iter().any(|own| *own > 0));
        held.map(|(number, _)| *number)
    }

    /// How EL2 holds such a page: a class, and what there is of it.
    pub(crate) fn holding(&self, page: u64) -> (&'static str, String) {
        let [shares, pins, donations] = self.page(page).own;
        let class = match (shares, pins, donations) {
            (_, _, 1..) => "donated",
            (_, 1.., _) => "pinned",
            _ => "shared",
        };
        (class, format!("shares {shares}, pins {pins}, donations {donations}"))
    }

    pub(crate) fn page(&self, page: u64) -> Page {
        self.pages.get(&page).copied().unwrap_or_default()
    }

    /// Why an ITS comes to reach borrowed memory that is not all shared and pinned: a class.
    pub(crate) fn why_not_held(&self, pages: Pages) -> &'static str {
        let all = || self.pages.range(range(pages)).map(|(_, page)| *page);
        if all().any(Page::is_held) {
            "too-few-pages"
        } else if all().any(|page| page.pinned > 0) {
            "released-before"
        } else {
            "never-pinned"
        }
    }

    /// Why a page that an ITS reaches is no longer shared and pinned: a class. `events`: of the
    /// action in which it came to that.
    pub(crate) fn why_released(&self, page: u64, events: &[Event]) -> &'static str {
        let Page { pinned, unpinned, ended, .. } = self.page(page);
        let failed = |event: &Event| matches!(event, Event::Page { result: Err(_), .. });
        if events.iter().any(failed) {
            "rolled-back"
        } else if ended > 0 && (unpinned > ended || unpinned > pinned) {
            "released-twice"
        } else {
            "released-early"
        }
    }

    /// Why the host can access memory that an ITS reaches and EL2 must own: a class.
    pub(crate) fn why_not_owned(&self, pages: Pages) -> &'static str {
        if self.pages.range(range(pages)).any(|(_, page)| page.owned) {
            "too-few-pages"
        } else {
            "never-donated"
        }
    }
}

/// The numbers of these pages. An ITT can be larger than memory: nobody goes through all of them.
fn range(pages: Pages) -> std::ops::Range<u64> {
    pages.first..pages.first.saturating_add(pages.count)
}

/// Which of shares, pins and donations a change is about, and by how much.
pub(crate) const fn column(change: PageChange) -> (usize, i32) {
    match change {
        PageChange::Share => (0, 1),
        PageChange::Unshare => (0, -1),
        PageChange::Pin => (1, 1),
        PageChange::Unpin => (1, -1),
        PageChange::Donate => (2, 1),
        PageChange::Reclaim => (2, -1),
        PageChange::Show | PageChange::Hide => (2, 0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::page;
    use PageChange::{Donate, Pin, Share, Unpin};
    use its_machine::{Errno, Reach};

    const ITT: u64 = 0x500;

    fn after(events: &[Event]) -> History {
        let mut history = History::default();
        events.iter().for_each(|event| history.note(event, true));
        history
    }

    fn ended() -> Event {
        let purpose = Purpose::Itt { device_id: 1 };
        Event::Unreached(Reach { its: 0, purpose, address: ITT << 12, bytes: 0x100 })
    }

    #[test]
    fn an_itt_larger_than_memory_ends_at_once() {
        let purpose = Purpose::Itt { device_id: 1 };
        let reach = Reach { its: 0, purpose, address: 0, bytes: 1 << 50 };
        let mut history = History::default();
        history.note(&page(PageChange::Pin, 7, 1), true);
        history.note(&Event::Unreached(reach), true);
        assert_eq!((history.page(7).ended, history.pages.len()), (1, 1));
        assert_eq!(history.why_not_held(Pages::under(0, 1 << 50)), "released-before");
    }

    #[test]
    fn how_a_page_came_to_be_loose() {
        let two = Pages { first: ITT, count: 2 };
        let (share, pin, unpin) = (page(Share, ITT, 2), page(Pin, ITT, 1), page(Unpin, ITT, 1));
        assert_eq!(after(&[share]).why_not_held(two), "never-pinned");
        assert_eq!(after(&[share, pin]).why_not_held(two), "too-few-pages");
        assert_eq!(after(&[share, pin, unpin]).why_not_held(two), "released-before");
        assert_eq!(after(&[]).why_not_owned(two), "never-donated");
        assert_eq!(after(&[page(Donate, ITT, 1)]).why_not_owned(two), "too-few-pages");
        let why = |events: &[Event], own: &[Event]| after(events).why_released(ITT, own);
        assert_eq!(why(&[share, pin, unpin], &[]), "released-early");
        let pages = Pages { first: 0x600, count: 1 };
        let failed = Event::Page { change: Pin, pages, result: Err(Errno::Eperm) };
        assert_eq!(why(&[share, pin, unpin], &[failed, unpin]), "rolled-back");
        let twice = [share, pin, pin, ended(), unpin, unpin];
        assert_eq!(why(&twice, &[unpin]), "released-twice");
    }
}
