//! UNDO: what fails, is refused or is ignored leaves everything as it was.

use std::collections::{BTreeMap, BTreeSet};

use its_declaration::NarrowReads;
use its_gic::Register;
use its_gic::geometry::{PAGE_BYTES, Pages};
use its_gic::register::FRAME_BYTES;
use its_machine::{Action, Direction, Event, PageChange, Snooping};

use crate::guards::Guards;
use crate::history::column;
use crate::{Finding, Rule, Step, broken_by, rules};

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
    findings.extend(no_its(step, guards));
    let ending = step.ended_its(&guards.machine).and_then(|its| guards.of(its));
    let records = ending.into_iter().flat_map(|guard| guard.private.iter()).collect();
    given_back(step.events, records, guards.machine.coherence.tables, findings);
    refused_commands(step.events, contested, guards, findings);
    findings.extend(ignored(step, guards));
}

/// A set-up that succeeds is one of an ITS.
fn no_its(step: &Step, guards: &Guards) -> Option<Finding> {
    let device = step.guarded_frame()?;
    if guards.machine.its.contains(&device) {
        return None;
    }
    let seen = format!("success for a device at {device:#x}");
    Some(Finding::broken(&rules::EL2_FRAME, "no ITS", "x1", seen))
}

fn failed_set_up(events: &[Event], contested: &BTreeSet<u64>, findings: &mut Vec<Finding>) {
    if undoing_failed(events) {
        return;
    }
    for (index, event) in events.iter().enumerate() {
        if let Event::DeviceWrite { address, value, .. } = *event {
            let path = format!("device {address:#x}");
            let seen = format!("{value:#x}");
            let finding = Finding::broken(&rules::UNDO_HARDWARE, "write", path, seen);
            findings.push(finding.by(index));
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
    let seen = format!("shares {shares:+}, pins {pins:+}, donations {donations:+}");
    Finding::new(rule, class, format!("page {page:#x}"), "as before", seen)
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
        let (column, by) = column(change);
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
    use PageChange::{Hide, Reclaim, Unpin, Unshare};
    let undoes = |event: &Event| {
        matches!(event, Event::Page { change: Unshare | Unpin | Reclaim | Hide, .. })
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
    Clean,
}

/// A page that EL2 wrote in this action and that goes back to the host: zeroed, then cleaned in one
/// piece, unless ITSs read caches.
/// `records`: the pages that it wrote records to before.
fn given_back(
    events: &[Event],
    records: Vec<u64>,
    snooping: Snooping,
    findings: &mut Vec<Finding>,
) {
    let mut written: BTreeMap<u64, Contents> =
        records.into_iter().map(|page| (page, Contents::Words)).collect();
    for (index, event) in events.iter().enumerate() {
        let known = findings.len();
        match *event {
            Event::WordWritten { address, .. } | Event::CommandWritten { address, .. } => {
                written.insert(address / PAGE_BYTES, Contents::Words);
            }
            Event::PageZeroed { page } => {
                let seen = snooping.sees_stores();
                written.insert(page, if seen { Contents::Clean } else { Contents::Zeroed });
            }
            Event::Cleaned { address, bytes } => clean(&mut written, address, bytes),
            Event::Page { change: PageChange::Reclaim, pages, result: Ok(()) } => {
                reclaimed(pages, &written, findings)
            }
            _ => {}
        }
        broken_by(index, &mut findings[known..]);
    }
}

fn clean(written: &mut BTreeMap<u64, Contents>, address: u64, bytes: u64) {
    let first = address.div_ceil(PAGE_BYTES);
    let end = address.saturating_add(bytes) / PAGE_BYTES;
    for (_, contents) in written.range_mut(first..end.max(first)) {
        if *contents == Contents::Zeroed {
            *contents = Contents::Clean;
        }
    }
}

fn reclaimed(pages: Pages, written: &BTreeMap<u64, Contents>, findings: &mut Vec<Finding>) {
    for (contents, rule, class, seen) in [
        (Contents::Words, &rules::UNDO_CONTENTS, "words", "words that EL2 wrote"),
        (Contents::Zeroed, &rules::UNDO_CLEAN, "stale", "not cleaned after it was zeroed"),
    ] {
        if let Some(page) = pages.iter().find(|page| written.get(page) == Some(&contents)) {
            findings.push(Finding::broken(rule, class, format!("page {page:#x}"), seen));
        }
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
            Event::CommandRead { address, .. } => guards.queue_copies(address).next().is_some(),
            _ => false,
        };
        rest = &rest[start + 1..];
        let window = &rest[..rest.iter().position(copies).unwrap_or(rest.len())];
        let written = |event: &Event| matches!(event, Event::CommandWritten { .. });
        if !is_host_s || window.iter().any(written) || undoing_failed(window) {
            continue;
        }
        let grown: Vec<Pages> = window.iter().filter_map(|event| guards.grown_by(event)).collect();
        let mut left = balances(window, contested);
        for (page, balance) in &mut left {
            if grown.iter().any(|pages| pages.contains(*page)) {
                balance[2] = 0;
            }
        }
        if let Some((page, balance)) = left.into_iter().find(|(_, balance)| *balance != [0; 3]) {
            findings.push(unbalanced(&rules::UNDO_COMMAND, "refused", page, balance));
        }
    }
}

/// An access to an ITS that is ignored, or that only reads a register. A read of CREADR is a look,
/// which is neither.
fn ignored(step: &Step, guards: &Guards) -> Option<Finding> {
    let Action::Device { address, size, direction, .. } = *step.action else {
        return None;
    };
    if step.set_up.is_some() {
        return None;
    }
    let mut offsets = guards.machine.its.iter().map(|base| address.wrapping_sub(*base));
    let offset = offsets.find(|offset| *offset < 2 * FRAME_BYTES)?;
    // By declaration a byte of CREADR is read as its half is.
    let is_narrow = size.bytes() < 4 && guards.declared.traps.narrow_reads == NarrowReads::Bytes;
    let rounded = guards.declared.traps.rounded(offset, size.bytes());
    let (start, bytes) = if is_narrow { (rounded & !3, 4) } else { (offset, size.bytes()) };
    let selected = guards.declared.traps.select(start, bytes).filter(|_| offset < FRAME_BYTES);
    // Whether the register table has a row that does something with the access.
    let has_effect = selected.is_some_and(|(register, _)| match direction {
        Direction::Read => register == Register::Creadr,
        Direction::Write(_) => {
            use Register::{Baser, Cbaser, Ctlr, Cwriter};
            matches!(register, Ctlr | Cbaser | Cwriter | Baser(_))
        }
    });
    if has_effect {
        return None;
    }
    let seen = step.events.iter().find_map(effect)?;
    let path = format!("its+{offset:#x}, {} bytes", size.bytes());
    Some(Finding::broken(&rules::UNDO_IGNORED, "effect", path, seen))
}

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
    use crate::testing::{
        COPY, ITS, LEVEL1, LOAD, QUEUE, copied, guards, page, reported, slot, write,
    };
    use PageChange::{Donate, Pin, Reclaim, Share, Unpin, Unshare};
    use its_machine::{AccessSize, Errno, Hypercall, Outcome};

    fn broken(action: Action, x1: i64, events: &[Event]) -> Vec<(&'static str, &'static str)> {
        let step = Step::new(&action, Outcome::Returned { x0: 0, x1 }, events);
        reported(|findings| judge(&step, &BTreeSet::new(), &guards(), findings))
    }

    const SET_UP: Action = Action::Hypercall {
        cpu: 0,
        x0: Hypercall::InitItsEmulation.function_id(),
        arguments: [ITS, 0, 0, 0],
    };

    /// Changes of pages 7 and 8.
    fn pages(changes: &[PageChange]) -> Vec<Event> {
        changes.iter().map(|change| page(*change, 7, 2)).collect()
    }

    #[test]
    fn a_set_up_is_one_of_an_its() {
        let x0 = Hypercall::InitItsEmulation.function_id();
        let device = |at| Action::Hypercall { cpu: 0, x0, arguments: [at, 0, 0, 0] };
        assert_eq!(broken(device(ITS + 0x1_0000), 0, &[]), [("EL2-FRAME", "no ITS")]);
        assert_eq!(broken(device(ITS + 0x1_0000), -19, &[]), []);
        assert_eq!(broken(device(ITS), 0, &[]), []);
    }

    #[test]
    fn a_failed_set_up_must_balance() {
        for (x1, changes, rule) in [
            (-1, &[Donate, Share, Pin, Unpin, Unshare, Reclaim][..], None),
            (0, &[Donate, Share, Pin], None),
            (-22, &[Donate], Some(("UNDO-CALL", "donated"))),
            (-22, &[Reclaim], Some(("UNDO-CALL", "taken back"))),
            (-22, &[Share, Pin], Some(("UNDO-BORROWED", "pinned"))),
            (-22, &[Share, Pin, Unpin], Some(("UNDO-BORROWED", "shared"))),
            (-22, &[Unshare], Some(("UNDO-BORROWED", "taken back"))),
        ] {
            assert!(broken(SET_UP, x1, &pages(changes)).into_iter().eq(rule), "{changes:?}");
        }
    }

    #[test]
    fn pages_that_go_back_are_zero_for_everybody() {
        let record = Event::WordWritten { address: 0x8008, value: 1, shared: false };
        let zeroed = Event::PageZeroed { page: 8 };
        let cleaned = |address, bytes| Event::Cleaned { address, bytes };
        let whole = cleaned(0x7000, 0x2000);
        for (events, rule) in [
            (&[][..], None),
            (&[record, zeroed, whole], None),
            (&[record, whole], Some(("UNDO-CONTENTS", "words"))),
            (&[record, zeroed], Some(("UNDO-CLEAN", "stale"))),
            (&[record, zeroed, cleaned(0x8000, 0x800)], Some(("UNDO-CLEAN", "stale"))),
        ] {
            let all = [&pages(&[Donate]), events, &pages(&[Reclaim])].concat();
            assert!(broken(SET_UP, -1, &all).into_iter().eq(rule), "{events:?}");
        }
    }

    #[test]
    fn a_refused_command_balances() {
        let copy = copied(COPY);
        let kept = Some(("UNDO-COMMAND", "refused"));
        let failed = |change| Event::Page {
            change,
            pages: Pages { first: 7, count: 1 },
            result: Err(Errno::Enomem),
        };
        let entry = |page: u64| Event::WordWritten {
            address: LEVEL1,
            value: 1 << 63 | page << 12,
            shared: false,
        };
        for (changes, rest, rule) in [
            (&[Share, Pin][..], &[slot(QUEUE)][..], None),
            (&[Donate], &[entry(0)], None),
            (&[Donate], &[entry(0x10)], kept),
            (&[Donate], &[], kept),
            (&[Share, Pin, Unpin, Unshare], &[copy, slot(QUEUE)], None),
            (&[Share, Pin, Unpin], &[], kept),
            (&[Share, Pin], &[copy, slot(QUEUE)], kept),
            (&[Share], &[failed(Unshare), Event::Injected], None),
        ] {
            let events = [&[copy], &pages(changes)[..], rest].concat();
            assert!(broken(LOAD, 0, &events).into_iter().eq(rule), "{changes:?}");
        }
    }

    #[test]
    fn what_is_ignored_has_no_effect() {
        use AccessSize::{Double, Half, Word};
        let (store, load) = (Direction::Write(0), Direction::Read);
        for (offset, size, direction, is_ignored) in [
            (0x88, Double, store, false),
            (0x8c, Word, store, false),
            (0x90, Word, load, false),
            (0x00, Word, store, false),
            (0x04, Word, store, true),
            (0x90, Double, store, true),
            (0x88, Half, store, true),
            (0x88, Double, load, true),
            (0x1_0040, Word, store, true),
            (0x1000, Word, store, true),
        ] {
            let action = Action::Device { cpu: 0, address: ITS + offset, size, direction };
            let found = broken(action, 0, &[write(Register::Cwriter, 0)]);
            let rule = is_ignored.then_some(("UNDO-IGNORED", "effect"));
            assert!(found.into_iter().eq(rule), "{offset:#x}");
            assert!(broken(action, 0, &[]).is_empty());
        }
    }

    #[test]
    fn bytes_of_creadr_are_a_look_where_they_can_be_read() {
        let mut guards = guards();
        for (narrow_reads, offset, is_ignored) in [
            (NarrowReads::Zero, 0x91, true),
            (NarrowReads::Bytes, 0x91, false),
            (NarrowReads::Bytes, 0x97, false),
            (NarrowReads::Bytes, 0x98, true),
        ] {
            guards.declared.traps.narrow_reads = narrow_reads;
            let (size, direction) = (AccessSize::Byte, Direction::Read);
            let action = Action::Device { cpu: 0, address: ITS + offset, size, direction };
            let events = [write(Register::Cwriter, 0)];
            let step = Step::new(&action, Outcome::Value(0), &events);
            assert_eq!(ignored(&step, &guards).is_some(), is_ignored, "{offset:#x}");
        }
    }
}
