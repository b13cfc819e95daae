//! LEAK over what the ITS does not reach and EL2 relies on: its records, the descriptor, the host's
//! copies. Judged by the transitions of pages alone, from boot on.

use std::collections::BTreeMap;

use its_machine::{Event, PageChange};

use crate::guards::{Guard, Guards};
use crate::{Finding, rules};

/// What transitions made of a page.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Page {
    shared: bool,
    pins: u32,
    /// EL2's.
    owned: bool,
}

/// The oracle over one case.
#[derive(Clone, Debug, Default)]
pub(crate) struct Books {
    pages: BTreeMap<u64, Page>,
    /// Guarded ITSs that were looked at as a whole.
    known: usize,
}

impl Books {
    /// Judges these events, and all that an ITS needs which is guarded since.
    pub(crate) fn judge(&mut self, events: &[Event], guards: &Guards, findings: &mut Vec<Finding>) {
        let mut changed = Vec::new();
        for event in events {
            if let Event::Page { change, pages, result: Ok(()) } = *event {
                for page in pages.iter() {
                    self.change(page, change);
                    changed.push(page);
                }
            }
        }
        let whole = |guard: &Guard| {
            let own = [guard.private, guard.descriptor];
            own.into_iter().chain(guard.copies.clone())
        };
        let fresh = guards.iter().skip(self.known).flat_map(whole);
        changed.extend(fresh.flat_map(|pages| pages.iter()));
        self.known = guards.iter().count();
        changed.sort_unstable();
        changed.dedup();
        for page in changed {
            self.look_at(page, guards, findings);
        }
    }

    fn change(&mut self, page: u64, change: PageChange) {
        let entry = self.pages.entry(page).or_default();
        match change {
            PageChange::Share => entry.shared = true,
            PageChange::Unshare => entry.shared = false,
            PageChange::Pin => entry.pins = entry.pins.saturating_add(1),
            PageChange::Unpin => entry.pins = entry.pins.saturating_sub(1),
            PageChange::Donate => entry.owned = true,
            PageChange::Reclaim => entry.owned = false,
        }
    }

    fn look_at(&self, page: u64, guards: &Guards, findings: &mut Vec<Finding>) {
        let now = self.pages.get(&page).copied().unwrap_or_default();
        for guard in guards.iter() {
            let path = || format!("its{}: page {page:#x}", guard.its);
            let private = guard.private.contains(page) || guard.descriptor.contains(page);
            if private && !now.owned {
                let class = if guard.private.contains(page) { "records" } else { "descriptor" };
                let seen = "the host's";
                findings.push(Finding::broken(&rules::LEAK_RECORDS, class, path(), seen));
            }
            let copy = guard.copies.iter().any(|copy| copy.contains(page));
            if copy && !(now.shared && now.pins > 0) {
                let seen = format!("shared: {}, pins: {}", now.shared, now.pins);
                findings.push(Finding::broken(&rules::LEAK_SHADOW, "copy", path(), seen));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::guards::tests::{COPY, guards};
    use its_gic::geometry::Pages;

    const RECORDS: u64 = 0x8_00a8;

    fn page(change: PageChange, first: u64, count: u64) -> Event {
        Event::Page { change, pages: Pages { first, count }, result: Ok(()) }
    }

    fn set_up() -> Vec<Event> {
        vec![
            page(PageChange::Donate, RECORDS, 2),
            page(PageChange::Donate, RECORDS + 4, 1),
            page(PageChange::Share, COPY >> 12, 1),
            page(PageChange::Pin, COPY >> 12, 1),
        ]
    }

    fn told(events: &[Event], books: &mut Books) -> Vec<(&'static str, &'static str)> {
        let mut findings = Vec::new();
        books.judge(events, &guards(), &mut findings);
        let ids = findings.iter().map(|breach| (breach.rule.id, breach.class));
        ids.collect()
    }

    #[test]
    fn what_el2_relies_on_is_held_when_set_up_is_over() {
        assert!(told(&set_up(), &mut Books::default()).is_empty());
        for (missing, rule) in [
            (0, ("LEAK-RECORDS", "records")),
            (1, ("LEAK-RECORDS", "descriptor")),
            (2, ("LEAK-SHADOW", "copy")),
            (3, ("LEAK-SHADOW", "copy")),
        ] {
            let mut events = set_up();
            events.remove(missing);
            assert!(told(&events, &mut Books::default()).contains(&rule));
        }
    }

    #[test]
    fn and_stays_so() {
        let mut books = Books::default();
        told(&set_up(), &mut books);
        let pins = [PageChange::Pin, PageChange::Unpin].map(|change| page(change, COPY >> 12, 1));
        assert!(told(&pins, &mut books).is_empty());
        assert_eq!(told(&pins[1..], &mut books.clone()), [("LEAK-SHADOW", "copy")]);
        let reclaimed = [page(PageChange::Reclaim, RECORDS + 1, 1)];
        assert_eq!(told(&reclaimed, &mut books), [("LEAK-RECORDS", "records")]);
    }
}
