//! LEAK: who can touch what the ITS relies on, and what the ITS can touch.
//!
//! Judged from the moment that a set-up succeeded: then once over everything that the ITS can
//! reach, and from there on with each pointer that it gains and each reachable page that changes
//! hands, at that very moment.

use its_gic::geometry::Pages;
use its_machine::{El2Side, Event, Exposure, HostSide, PageChange, PageState, Purpose, Reach};

use crate::history::History;
use crate::watch::Look;
use crate::{Finding, Rule, Sight, broken_by, rules};

pub(crate) fn judge(sight: &Sight, findings: &mut Vec<Finding>) {
    let Sight { events, later, look, guards, watch, history, reach } = *sight;
    // Of an ITS whose set-up is not over the pages may still be the host's.
    let is_private = |pages| {
        let mut guarded = guards.all.iter().filter(|guard| watch.is_guarded(guard.its));
        guarded.any(|guard| overlap(pages, guard.private) || overlap(pages, guard.descriptor))
    };
    // EL2 owns it for another purpose, whether an ITS follows it now or not.
    let is_table = |pages| guards.all.iter().any(|guard| guard.owns(pages));
    if look != Look::Changes {
        // With a set-up its private pages must be apart from what others reach too.
        for (reach, exposure) in watch.numbers().flat_map(reach) {
            reached((&reach, exposure), (is_private, is_table), history, findings);
        }
        return;
    }
    let mut last_change = None;
    for (index, event) in events.iter().enumerate() {
        let known = findings.len();
        match event {
            Event::Page { change, result: Ok(()), .. } => last_change = Some(*change),
            Event::Reached(reach, exposure) if watch.judges(reach) => {
                // What EL2 took later, in this action or in the race, was not a table yet.
                let is_now = |page: &Pages| {
                    !is_donated(&events[index..], *page) && !is_donated(later, *page)
                };
                let of = |first| Pages { first, count: 1 };
                let private = |all: Pages| all.iter().map(of).filter(is_now).any(is_private);
                let table = |all: Pages| all.iter().map(of).filter(is_now).any(is_table);
                reached((reach, *exposure), (private, table), history, findings);
            }
            Event::ReachedPage { reach, page, state } if watch.judges(reach) => {
                let why = || history.why_released(*page, events);
                findings.extend(changed(reach, (*page, *state), (last_change, why)));
            }
            _ => {}
        }
        broken_by(index, &mut findings[known..]);
    }
}

fn reached(
    (reach, exposure): (&Reach, Exposure),
    (is_private, is_table): (impl Fn(Pages) -> bool, impl Fn(Pages) -> bool),
    history: &History,
    findings: &mut Vec<Finding>,
) {
    let pages = Pages::under(reach.address, reach.bytes);
    if exposure.foreign {
        findings.push(breach(&rules::LEAK_FOREIGN, reach, "a guest's, or EL2's from boot"));
    }
    if is_private(pages) {
        findings.push(breach(&rules::LEAK_PRIVATE, reach, "EL2's records or descriptor"));
    }
    if exposure.outside || exposure.foreign {
        return;
    }
    if !is_borrowed(reach.purpose) && exposure.host {
        let (rule, seen) = (exposed(reach.purpose), "a page that the host can access");
        findings.push(of_class(rule, history.why_not_owned(pages), reach, seen));
    }
    if is_borrowed(reach.purpose) && (exposure.not_held || is_table(pages)) {
        let seen = "a page that is neither shared and pinned nor EL2's own for that";
        let (rule, why) = loose(reach.purpose, history.why_not_held(pages));
        findings.push(of_class(rule, why, reach, seen));
    }
}

/// Whether EL2 takes some of these pages in these events.
fn is_donated(events: &[Event], pages: Pages) -> bool {
    events.iter().any(|event| {
        matches!(event, Event::Page { change: PageChange::Donate, pages: donated, result: Ok(()) }
            if overlap(*donated, pages))
    })
}

/// Whether two runs of pages, neither empty, have a page in common.
pub(crate) const fn overlap(one: Pages, other: Pages) -> bool {
    one.first < other.first.saturating_add(other.count)
        && other.first < one.first.saturating_add(one.count)
}

/// `change`: what was done to the page; `why`: a borrowed page is no longer held.
fn changed(
    reach: &Reach,
    (page, state): (u64, PageState),
    (change, why): (Option<PageChange>, impl FnOnce() -> &'static str),
) -> Option<Finding> {
    // What is being shared was not held before, which was reported when the ITS reached it.
    let is_shared = change == Some(PageChange::Share);
    let (rule, class): (&'static Rule, _) =
        if (state.host, state.el2) == (HostSide::Nothing, El2Side::Nothing) {
            (&rules::LEAK_FOREIGN, class(reach.purpose))
        } else if is_borrowed(reach.purpose) && !state.stays() && !is_shared {
            loose(reach.purpose, why())
        } else if !is_borrowed(reach.purpose) && state.host_can_store() {
            (exposed(reach.purpose), "given-back")
        } else {
            return None;
        };
    Some(of_class(rule, class, reach, &format!("page {page:#x} is now {state:?}")))
}

/// Whether memory of this purpose may stay the host's, shared and pinned.
pub(crate) fn is_borrowed(purpose: Purpose) -> bool {
    matches!(purpose, Purpose::Itt { .. } | Purpose::LpiConfiguration(_) | Purpose::LpiPending(_))
}

/// The rule of memory that is borrowed and not held, and the class of it. Tables of redistributors
/// are borrowed once, by set-up.
fn loose(purpose: Purpose, why: &'static str) -> (&'static Rule, &'static str) {
    match purpose {
        Purpose::LpiConfiguration(_) | Purpose::LpiPending(_) => (&rules::LEAK_LPI, class(purpose)),
        Purpose::Queue | Purpose::Table(_) | Purpose::Level2 { .. } | Purpose::Itt { .. } => {
            (&rules::LEAK_LOOSE, why)
        }
    }
}

/// The rule of memory that must be EL2's and the host can reach.
fn exposed(purpose: Purpose) -> &'static Rule {
    match purpose {
        Purpose::Table(_) => &rules::LEAK_TABLE,
        Purpose::Level2 { .. } => &rules::LEAK_LEVEL2,
        _ => &rules::LEAK_HOST,
    }
}

/// A purpose without its numbers.
pub(crate) fn class(purpose: Purpose) -> &'static str {
    match purpose {
        Purpose::Queue => "queue",
        Purpose::Table(_) => "table",
        Purpose::Level2 { .. } => "level2",
        Purpose::Itt { .. } => "itt",
        Purpose::LpiConfiguration(_) => "lpi-configuration",
        Purpose::LpiPending(_) => "lpi-pending",
    }
}

/// A finding about what is reached, by what it is for.
pub(crate) fn breach(rule: &'static Rule, reach: &Reach, seen: &str) -> Finding {
    of_class(rule, class(reach.purpose), reach, seen)
}

fn of_class(rule: &'static Rule, class: &'static str, reach: &Reach, seen: &str) -> Finding {
    let Reach { its, purpose, address, bytes } = reach;
    let path = format!("its{its}: {purpose:?}, {bytes:#x} bytes at {address:#x}");
    Finding::broken(rule, class, path, seen)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::reported;

    const ITT: Purpose = Purpose::Itt { device_id: 3 };

    const fn reach(purpose: Purpose, address: u64) -> Reach {
        Reach { its: 0, purpose, address, bytes: 0x1000 }
    }

    #[test]
    fn tables_are_el2_s_and_borrowed_memory_is_held() {
        let owned = Exposure { not_held: true, ..Exposure::default() };
        let held = Exposure { host: true, not_held: false, ..owned };
        let is_private = |pages| overlap(pages, Pages { first: 8, count: 2 });
        for (reach, exposure, rule) in [
            (reach(Purpose::Queue, 0), owned, None),
            (reach(ITT, 0), held, None),
            (reach(Purpose::Queue, 0), held, Some("LEAK-HOST")),
            (reach(ITT, 0), Exposure { host: true, ..owned }, Some("LEAK-LOOSE")),
            (reach(ITT, 0), Exposure { foreign: true, ..owned }, Some("LEAK-FOREIGN")),
            (reach(Purpose::Table(0), 0x9000), owned, Some("LEAK-PRIVATE")),
            (reach(ITT, 0x5000), held, Some("LEAK-LOOSE")),
            (reach(Purpose::Queue, 0x5000), owned, None),
        ] {
            let broken = reported(|findings| {
                let is_table = |pages: Pages| pages.contains(5);
                let both = (is_private, is_table);
                reached((&reach, exposure), both, &History::default(), findings);
            });
            assert!(broken.iter().map(|(rule, _)| *rule).eq(rule), "{reach:?}");
        }
    }

    #[test]
    fn a_reachable_page_that_changes_hands_is_judged() {
        let held = PageState { host: HostSide::Shared, el2: El2Side::Borrowed, pins: 1 };
        for (purpose, state, rule) in [
            (ITT, held, None),
            (ITT, PageState { pins: 0, ..held }, Some("LEAK-LOOSE")),
            (ITT, PageState::GUEST, Some("LEAK-FOREIGN")),
            (ITT, PageState::EL2, None),
            (ITT, PageState::SHOWN, None),
            (ITT, PageState::HOST, Some("LEAK-LOOSE")),
            (Purpose::Queue, PageState::EL2, None),
            (Purpose::Queue, PageState::SHOWN, None),
            (Purpose::Queue, PageState::HOST, Some("LEAK-HOST")),
            (Purpose::Table(0), PageState::HOST, Some("LEAK-TABLE")),
            (Purpose::Level2 { table: 0, index: 1 }, PageState::HOST, Some("LEAK-LEVEL2")),
            (Purpose::LpiPending(0), PageState::HOST, Some("LEAK-LPI")),
        ] {
            let unpinned = (Some(PageChange::Unpin), || "released-early");
            let broken = changed(&reach(purpose, 0), (0, state), unpinned);
            assert_eq!(broken.map(|finding| finding.rule.id), rule);
        }
        let loose = PageState { pins: 0, ..held };
        let shared = (Some(PageChange::Share), || "released-early");
        assert_eq!(changed(&reach(ITT, 0), (0, loose), shared), None);
    }
}
