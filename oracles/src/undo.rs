//! UNDO: what fails, is refused or is ignored leaves everything as it was.

use std::collections::{BTreeMap, BTreeSet};

use its_gic::geometry::{PAGE_BYTES, Pages};
use its_gic::register::FRAME_BYTES;
use its_gic::{Part, Register};
use its_machine::{Action, Direction, Event, PageChange};

use crate::guards::Guards;
use crate::{Finding, Rule, Step, rules};

/// Net changes of one page: shares, pins, donations.
type Balance = [i32; 3];

/// Judges one action, but for pages that another agent changed meanwhile.
pub(crate) fn judge(
    step: &Step,
    contested: &BTreeSet<u64>,
    guards: &Guards,
    findings: &mut Vec<Finding>,
) {
    if step.set_up_result().is_some_and(|x1| x1 != 0) {
        failed_set_up(step.events, contested, findings);
    }
    given_back(step.events, findings);
    refused_commands(step.events, contested, guards, findings);
    ignored(step, guards, findings);
}

fn failed_set_up(events: &[Event], contested: &BTreeSet<u64>, findings: &mut Vec<Finding>) {
    if undoing_failed(events) {
        return;
    }
    for event in events {
        if let Event::DeviceWrite { address, value, .. } = *event {
            let path = format!("device {address:#x}");
            let seen = format!("{value:#x}");
            findings.push(Finding::broken(&rules::UNDO_HARDWARE, "write", path, seen));
        }
    }
    let mut left = balances(events, contested);
    // What was donated says more than what else is wrong.
    left.sort_by_key(|(_, [_, _, donations])| *donations == 0);
    let Some((page, balance)) = left.first() else {
        return;
    };
    let [shares, pins, donations] = *balance;
    let (rule, class): (&'static Rule, _) = match (shares, pins, donations) {
        (_, _, 1..) => (&rules::UNDO_CALL, "donated"),
        (_, _, ..=-1) => (&rules::UNDO_CALL, "taken back"),
        (_, 1.., _) => (&rules::UNDO_BORROWED, "pinned"),
        (1.., _, _) => (&rules::UNDO_BORROWED, "shared"),
        _ => (&rules::UNDO_BORROWED, "taken back"),
    };
    findings.push(unbalanced(rule, class, *page, *balance));
}

fn unbalanced(rule: &'static Rule, class: &'static str, page: u64, balance: Balance) -> Finding {
    let [shares, pins, donations] = balance;
    Finding::new(
        rule,
        class,
        format!("page {page:#x}"),
        "as before",
        format!("shares {shares:+}, pins {pins:+}, donations {donations:+}"),
    )
}

/// Pages that these events leave otherwise than they were, but for contested ones.
fn balances(events: &[Event], contested: &BTreeSet<u64>) -> Vec<(u64, Balance)> {
    let mut all = page_balances(events);
    all.retain(|(page, _)| !contested.contains(page));
    all
}

/// Pages that these events leave otherwise than they were, ascending, each with the net number of
/// shares, pins and donations.
pub fn page_balances(events: &[Event]) -> Vec<(u64, [i32; 3])> {
    let mut balances: BTreeMap<u64, Balance> = BTreeMap::new();
    for event in events {
        let Event::Page { change, pages, result: Ok(()) } = *event else {
            continue;
        };
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
    let off = |(_, balance): &(u64, Balance)| *balance != [0; 3];
    balances.into_iter().filter(off).collect()
}

/// Whether the scenario made a step of the undoing itself fail, which leaves the page as it is
/// (P13).
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
    events.windows(2).any(|pair| undoes(&pair[0]) && pair[1] == Event::Injected)
}

/// What EL2 last did with the contents of a page.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Contents {
    /// It holds words of EL2's.
    Words,
    /// It is zero, and not cleaned.
    Zeroed,
    /// It is zero for everybody.
    Clean,
}

/// A page that EL2 wrote in this action and that goes back to the host: zeroed, then cleaned in one
/// piece.
fn given_back(events: &[Event], findings: &mut Vec<Finding>) {
    let mut written: BTreeMap<u64, Contents> = BTreeMap::new();
    for event in events {
        match *event {
            Event::WordWritten { address, .. } | Event::CommandWritten { address, .. } => {
                written.insert(address / PAGE_BYTES, Contents::Words);
            }
            Event::PageZeroed { page } => {
                written.insert(page, Contents::Zeroed);
            }
            Event::Cleaned { address, bytes } => clean(&mut written, address, bytes),
            Event::Page { change: PageChange::Reclaim, pages, result: Ok(()) } => {
                reclaimed(pages, &written, findings)
            }
            _ => {}
        }
    }
}

fn clean(written: &mut BTreeMap<u64, Contents>, address: u64, bytes: u64) {
    let end = address.saturating_add(bytes);
    let pages = address.div_ceil(PAGE_BYTES)..end / PAGE_BYTES;
    if pages.is_empty() {
        return;
    }
    for (_, contents) in written.range_mut(pages) {
        if *contents == Contents::Zeroed {
            *contents = Contents::Clean;
        }
    }
}

fn reclaimed(pages: Pages, written: &BTreeMap<u64, Contents>, findings: &mut Vec<Finding>) {
    let of = |contents: Contents| {
        let is = move |page: &u64| written.get(page) == Some(&contents);
        pages.iter().find(is).map(|page| format!("page {page:#x}"))
    };
    if let Some(path) = of(Contents::Words) {
        let seen = "words that EL2 wrote";
        findings.push(Finding::broken(&rules::UNDO_CONTENTS, "words", path, seen));
    }
    if let Some(path) = of(Contents::Zeroed) {
        let seen = "not cleaned after it was zeroed";
        findings.push(Finding::broken(&rules::UNDO_CLEAN, "stale", path, seen));
    }
}

/// A command that was copied and for which no slot was written before the next copy was refused.
/// What it grew may stay.
fn refused_commands(
    events: &[Event],
    contested: &BTreeSet<u64>,
    guards: &Guards,
    findings: &mut Vec<Finding>,
) {
    let copies = |event: &Event| matches!(event, Event::CommandRead { .. });
    let mut rest = events;
    while let Some(start) = rest.iter().position(copies) {
        let is_host_s = match rest[start] {
            Event::CommandRead { address, .. } => guards.posted(address).next().is_some(),
            _ => false,
        };
        rest = &rest[start + 1..];
        let window = &rest[..rest.iter().position(copies).unwrap_or(rest.len())];
        let passed = |event: &Event| matches!(event, Event::CommandWritten { .. });
        if !is_host_s || window.iter().any(passed) || undoing_failed(window) {
            continue;
        }
        let left = balances(window, contested).into_iter();
        let left = left.map(|(page, [shares, pins, _])| (page, [shares, pins, 0]));
        if let Some((page, balance)) = left.into_iter().find(|(_, balance)| *balance != [0; 3]) {
            findings.push(unbalanced(&rules::UNDO_COMMAND, "refused", page, balance));
        }
    }
}

/// An access to an ITS that is ignored, or that only reads a register. A read of CREADR is a look,
/// which is neither.
fn ignored(step: &Step, guards: &Guards, findings: &mut Vec<Finding>) {
    let Action::Device { address, size, direction, .. } = *step.action else {
        return;
    };
    let bases = guards.machine.its.iter();
    let mut offsets = bases.map(|base| address.wrapping_sub(*base));
    let Some(offset) = offsets.find(|offset| *offset < 2 * FRAME_BYTES) else {
        return;
    };
    let selected = Register::select(offset, size.bytes()).filter(|_| offset < FRAME_BYTES);
    if selected.is_some_and(|selected| has_effect(selected, direction)) {
        return;
    }
    if let Some(seen) = step.events.iter().find_map(effect) {
        let path = format!("its+{offset:#x}, {} bytes", size.bytes());
        findings.push(Finding::broken(&rules::UNDO_IGNORED, "effect", path, seen));
    }
}

/// Whether the register table has a row that does something with the access.
fn has_effect((register, _): (Register, Part), direction: Direction) -> bool {
    match direction {
        Direction::Read => register == Register::Creadr,
        Direction::Write(_) => matches!(
            register,
            Register::Ctlr | Register::Cbaser | Register::Cwriter | Register::Baser(_)
        ),
    }
}

/// What of EL2's doing is an effect.
fn effect(event: &Event) -> Option<String> {
    match *event {
        Event::DeviceWrite { address, value, .. } => {
            Some(format!("device {address:#x} := {value:#x}"))
        }
        Event::WordWritten { address, .. } | Event::CommandWritten { address, .. } => {
            Some(format!("a store at {address:#x}"))
        }
        Event::PageZeroed { page } => Some(format!("page {page:#x} zeroed")),
        Event::Page { change, pages, .. } => Some(format!("{change:?} of page {:#x}", pages.first)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::guards::tests::{COPY, ITS, QUEUE, guards};
    use its_machine::{AccessSize, Errno, Hypercall, Outcome};

    fn told(action: Action, x1: i64, events: &[Event]) -> Vec<(&'static str, &'static str)> {
        let step = Step { action: &action, outcome: Outcome::Returned { x0: 0, x1 }, events };
        let mut findings = Vec::new();
        judge(&step, &BTreeSet::new(), &guards(), &mut findings);
        let ids = findings.iter().map(|breach| (breach.rule.id, breach.class));
        ids.collect()
    }

    const SET_UP: Action = Action::Hypercall {
        cpu: 0,
        x0: Hypercall::InitItsEmulation.function_id(),
        arguments: [0; 4],
    };

    fn page(change: PageChange) -> Event {
        Event::Page { change, pages: Pages { first: 7, count: 2 }, result: Ok(()) }
    }

    fn set_up(x1: i64, changes: &[PageChange]) -> Vec<(&'static str, &'static str)> {
        let events: Vec<Event> = changes.iter().copied().map(page).collect();
        told(SET_UP, x1, &events)
    }

    #[test]
    fn a_failed_set_up_must_balance() {
        use PageChange::{Donate, Pin, Reclaim, Share, Unpin, Unshare};
        assert!(set_up(-1, &[Donate, Share, Pin, Unpin, Unshare, Reclaim]).is_empty());
        assert!(set_up(0, &[Donate, Share, Pin]).is_empty());
        for (changes, rule) in [
            (&[Donate][..], ("UNDO-CALL", "donated")),
            (&[Reclaim], ("UNDO-CALL", "taken back")),
            (&[Share, Pin], ("UNDO-BORROWED", "pinned")),
            (&[Share, Pin, Unpin], ("UNDO-BORROWED", "shared")),
            (&[Unshare], ("UNDO-BORROWED", "taken back")),
        ] {
            assert_eq!(set_up(-22, changes), [rule]);
        }
    }

    #[test]
    fn pages_that_go_back_are_zero_for_everybody() {
        let (record, zeroed) = (
            Event::WordWritten { address: 0x8008, value: 1, shared: false },
            Event::PageZeroed { page: 8 },
        );
        let cleaned = Event::Cleaned { address: 0x7000, bytes: 0x2000 };
        let events = |middle: &[Event]| {
            let ends = [page(PageChange::Donate), page(PageChange::Reclaim)];
            let all = [&ends[..1], middle, &ends[1..]].concat();
            told(SET_UP, -1, &all)
        };
        assert!(events(&[]).is_empty());
        assert!(events(&[record, zeroed, cleaned]).is_empty());
        assert_eq!(events(&[record, cleaned]), [("UNDO-CONTENTS", "words")]);
        assert_eq!(events(&[record, zeroed]), [("UNDO-CLEAN", "stale")]);
        let half = Event::Cleaned { address: 0x8000, bytes: 0x800 };
        assert_eq!(events(&[record, zeroed, half]), [("UNDO-CLEAN", "stale")]);
    }

    const LOAD: Action = Action::Load { cpu: 0, address: 0 };

    #[test]
    fn a_refused_command_balances() {
        use PageChange::{Donate, Pin, Share, Unpin, Unshare};
        let copy = Event::CommandRead { address: COPY, words: [0; 4], shared: true };
        let passed = Event::CommandWritten { address: QUEUE, words: [0; 4] };
        let events = |changes: &[PageChange], last: &[Event]| {
            let changes: Vec<Event> = changes.iter().copied().map(page).collect();
            told(LOAD, 0, &[&[copy], &changes[..], last].concat())
        };
        assert!(events(&[Share, Pin], &[passed]).is_empty());
        assert!(events(&[Donate], &[]).is_empty());
        assert!(events(&[Share, Pin, Unpin, Unshare], &[copy, passed]).is_empty());
        let kept = [("UNDO-COMMAND", "refused")];
        assert_eq!(events(&[Share, Pin, Unpin], &[]), kept);
        assert_eq!(events(&[Share, Pin], &[copy, passed]), kept);
        let failed = Event::Page {
            change: Unshare,
            pages: Pages { first: 7, count: 1 },
            result: Err(Errno::Enomem),
        };
        assert!(events(&[Share], &[failed, Event::Injected]).is_empty());
    }

    #[test]
    fn what_is_ignored_has_no_effect() {
        let access = |offset, size, direction| Action::Device {
            cpu: 0,
            address: ITS + offset,
            size,
            direction,
        };
        let (word, double) = (AccessSize::Word, AccessSize::Double);
        let cwriter = [Event::DeviceWrite { address: ITS + 0x88, size: double, value: 0 }];
        let write = Direction::Write(0);
        for (offset, size, direction) in [
            (0x88, double, write),
            (0x8c, word, write),
            (0x90, word, Direction::Read),
            (0x00, word, write),
        ] {
            assert!(told(access(offset, size, direction), 0, &cwriter).is_empty());
        }
        for (offset, size, direction) in [
            (0x04, word, write),
            (0x90, double, write),
            (0x88, AccessSize::Half, write),
            (0x88, double, Direction::Read),
            (0x1_0040, word, write),
            (0x1000, word, write),
        ] {
            let broken = told(access(offset, size, direction), 0, &cwriter);
            assert_eq!(broken, [("UNDO-IGNORED", "effect")]);
            assert!(told(access(offset, size, direction), 0, &[]).is_empty());
        }
    }
}
