//! LEAK over pages that EL2 uses and the ITS does not reach: the private pages with its records,
//! the descriptor, the host's copies. Judged by the transitions of pages alone, from boot on.

use std::collections::BTreeSet;

use its_machine::Event;

use crate::guards::Guards;
use crate::history::History;
use crate::{Finding, rules};

#[derive(Clone, Debug, Default)]
pub(crate) struct EmulationPages {
    /// Guarded ITSs that were looked at as a whole.
    known: BTreeSet<u8>,
}

impl EmulationPages {
    /// An ITS is guarded no more.
    pub(crate) fn forget(&mut self, its: u8) {
        self.known.remove(&its);
    }

    /// Judges these events, and all pages of an ITS that is guarded since.
    pub(crate) fn judge(
        &mut self,
        events: &[Event],
        (guards, history): (&Guards, &History),
        findings: &mut Vec<Finding>,
    ) {
        let mut changed = Vec::new();
        for event in events {
            if let Event::Page { pages, result: Ok(()), .. } = *event {
                changed.extend(pages.iter());
            }
        }
        for guard in guards.all.iter().filter(|guard| !self.known.contains(&guard.its)) {
            let own = guard.copies.iter().chain([&guard.private, &guard.descriptor]);
            changed.extend(own.flat_map(|pages| pages.iter()));
        }
        self.known.extend(guards.all.iter().map(|guard| guard.its));
        changed.sort_unstable();
        changed.dedup();
        for page in changed {
            look_at(page, guards, history, findings);
        }
    }
}

fn look_at(page: u64, guards: &Guards, history: &History, findings: &mut Vec<Finding>) {
    let now = history.page(page);
    for guard in &guards.all {
        let path = || format!("its{}: page {page:#x}", guard.its);
        for (pages, class) in [(guard.private, "records"), (guard.descriptor, "descriptor")] {
            if pages.contains(page) && (!now.owned || now.shown) {
                let seen = if now.owned { "the host can load from it" } else { "the host's" };
                findings.push(Finding::broken(&rules::LEAK_RECORDS, class, path(), seen));
            }
        }
        let copy = guard.copies.iter().any(|copy| copy.contains(page));
        if copy && !(now.shared && now.pins > 0) {
            let seen = format!("shared: {}, pins: {}", now.shared, now.pins);
            findings.push(Finding::broken(&rules::LEAK_SHADOW, "copy", path(), seen));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{COPY, DESCRIPTOR, PRIVATE, guards, page, reported};
    use its_machine::PageChange::{Donate, Pin, Reclaim, Share, Show, Unpin};

    fn set_up() -> Vec<Event> {
        vec![
            page(Donate, PRIVATE, 2),
            page(Donate, DESCRIPTOR, 1),
            page(Share, COPY >> 12, 2),
            page(Pin, COPY >> 12, 2),
        ]
    }

    /// The oracle, and what became of pages so far.
    type Judging = (EmulationPages, History);

    fn judge(
        (oracle, history): &mut Judging,
        events: &[Event],
    ) -> Vec<(&'static str, &'static str)> {
        events.iter().for_each(|event| history.note(event, true));
        reported(|findings| oracle.judge(events, (&guards(), history), findings))
    }

    #[test]
    fn pages_are_held_when_set_up_is_over() {
        assert!(judge(&mut Judging::default(), &set_up()).is_empty());
        for (missing, rule) in [
            (0, ("LEAK-RECORDS", "records")),
            (1, ("LEAK-RECORDS", "descriptor")),
            (2, ("LEAK-SHADOW", "copy")),
            (3, ("LEAK-SHADOW", "copy")),
        ] {
            let mut events = set_up();
            events.remove(missing);
            assert!(judge(&mut Judging::default(), &events).contains(&rule));
        }
    }

    #[test]
    fn pages_stay_held() {
        let mut oracle = Judging::default();
        judge(&mut oracle, &set_up());
        let pins = [page(Pin, COPY >> 12, 1), page(Unpin, COPY >> 12, 1)];
        assert!(judge(&mut oracle, &pins).is_empty());
        assert_eq!(judge(&mut oracle.clone(), &pins[1..]), [("LEAK-SHADOW", "copy")]);
        let shown = [page(Show, PRIVATE, 1)];
        assert_eq!(judge(&mut oracle.clone(), &shown), [("LEAK-RECORDS", "records")]);
        let reclaimed = [page(Reclaim, PRIVATE + 1, 1)];
        assert_eq!(judge(&mut oracle, &reclaimed), [("LEAK-RECORDS", "records")]);
    }
}
