//! UNDO: a call that fails must leave everything as it was.

use std::collections::{BTreeMap, BTreeSet};

use its_el2::{Event, PageChange};

use crate::{Breach, Step, rules};

/// Net changes of one page: shares, pins, donations.
type Balance = [i32; 3];

/// Judges a failed set-up, but for pages that another agent changed meanwhile.
pub fn judge(step: &Step, contested: &BTreeSet<u64>, breaches: &mut Vec<Breach>) {
    if step.set_up_result().is_none_or(|x1| x1 == 0) {
        return;
    }
    if undoing_failed(step.events) {
        return;
    }
    let mut balances: BTreeMap<u64, Balance> = BTreeMap::new();
    for event in step.events {
        match *event {
            Event::Page {
                change,
                pages,
                result: Ok(()),
            } => {
                let (column, by) = match change {
                    PageChange::Share => (0, 1),
                    PageChange::Unshare => (0, -1),
                    PageChange::Pin => (1, 1),
                    PageChange::Unpin => (1, -1),
                    PageChange::Donate => (2, 1),
                    PageChange::Reclaim => (2, -1),
                };
                for page in pages.iter() {
                    balances.entry(page).or_default()[column] += by;
                }
            }
            Event::DeviceWrite { address, value, .. } => breaches.push(Breach {
                rule: &rules::UNDO_HARDWARE,
                class: "write",
                path: format!("device {address:#x}"),
                expected: "not written by a set-up that fails".into(),
                seen: format!("{value:#x}"),
            }),
            _ => {}
        }
    }
    let off = |(page, balance): &(u64, Balance)| *balance != [0; 3] && !contested.contains(page);
    let left = balances.into_iter().find(off);
    if let Some((page, [shares, pins, donations])) = left {
        let class = match (shares, pins, donations) {
            (_, _, 1..) => "donated",
            (_, 1.., _) => "pinned",
            (1.., _, _) => "shared",
            _ => "taken back",
        };
        breaches.push(Breach {
            rule: &rules::UNDO_CALL,
            class,
            path: format!("page {page:#x}"),
            expected: "as before the call".into(),
            seen: format!("shares {shares:+}, pins {pins:+}, donations {donations:+}"),
        });
    }
}

/// Whether the scenario made a step of the undoing itself fail, which leaves the page as it is (P13).
fn undoing_failed(events: &[Event]) -> bool {
    let undoes = |event: &Event| {
        matches!(
            event,
            Event::Page {
                change: PageChange::Unshare | PageChange::Unpin | PageChange::Reclaim,
                ..
            }
        )
    };
    events
        .windows(2)
        .any(|pair| undoes(&pair[0]) && pair[1] == Event::Injected)
}

#[cfg(test)]
mod tests {
    use super::*;
    use its_el2::{Action, Hypercall, Outcome};
    use its_gic::geometry::Pages;

    fn classes(x1: i64, changes: &[PageChange]) -> Vec<&'static str> {
        let event = |change: &PageChange| Event::Page {
            change: *change,
            pages: Pages { first: 7, count: 2 },
            result: Ok(()),
        };
        let events: Vec<Event> = changes.iter().map(event).collect();
        let action = Action::Hypercall {
            cpu: 0,
            x0: Hypercall::InitItsEmulation.function_id(),
            arguments: [0; 4],
        };
        let step = Step {
            action: &action,
            outcome: Outcome::Returned { x0: 0, x1 },
            events: &events,
        };
        let mut breaches = Vec::new();
        judge(&step, &BTreeSet::new(), &mut breaches);
        breaches.iter().map(|breach| breach.class).collect()
    }

    #[test]
    fn a_failed_set_up_must_balance() {
        use PageChange::{Donate, Pin, Reclaim, Share, Unpin, Unshare};
        assert!(classes(-1, &[Donate, Share, Pin, Unpin, Unshare, Reclaim]).is_empty());
        assert!(classes(0, &[Donate, Share, Pin]).is_empty());
        assert_eq!(classes(-22, &[Donate]), ["donated"]);
        assert_eq!(classes(-1, &[Share, Pin]), ["pinned"]);
        assert_eq!(classes(-1, &[Share, Pin, Unpin]), ["shared"]);
        assert_eq!(classes(-1, &[Unshare]), ["taken back"]);
    }
}
