//! EL2 and its locks: what it writes while it holds which, and what happens within one section.

use its_declaration::EnableLpis;
use its_machine::{Action, Event, LockName, PageChange};

use crate::guards::Guards;
use crate::{Finding, Step, rules};

pub(crate) fn judge(step: &Step, guards: &Guards, findings: &mut Vec<Finding>) {
    findings.extend(unheld(step, guards));
    findings.extend(waits(step.events));
    // A set-up borrows many structures, and so may a redistributor that enables LPIs, each in a
    // section of its own.
    let borrows_many = match *step.action {
        _ if step.set_up.is_some() => true,
        Action::Device { address, .. } => {
            let late = guards.declared.traps.enable_lpis == EnableLpis::Borrowed;
            late && guards.redistributor(address).is_some()
        }
        Action::Hypercall { .. } => true,
        _ => false,
    };
    if !borrows_many {
        findings.extend(torn(step.events));
    }
}

/// The first write to an ITS without its lock.
fn unheld(step: &Step, guards: &Guards) -> Option<Finding> {
    let mut held: Vec<LockName> = Vec::new();
    // Locks may be held from an earlier part of the action on.
    for (number, event) in step.before.iter().chain(step.events).enumerate() {
        let (its, class, address) = match *event {
            Event::Acquired(name) => {
                held.push(name);
                continue;
            }
            Event::Released(name) => {
                held.retain(|other| *other != name);
                continue;
            }
            Event::DeviceWrite { address, .. } => {
                (guards.register(address).map(|(its, _)| its), "register", address)
            }
            Event::CommandWritten { address, .. } => {
                (guards.slot(address).map(|guard| guard.its), "slot", address)
            }
            Event::WordWritten { address, value, .. } => {
                (guards.level1(address, value).map(|(guard, _)| guard.its), "level1", address)
            }
            _ => continue,
        };
        // The harness does not know what a lock without a name protects.
        let holds = |its: u8| {
            held.iter()
                .any(|name| matches!(name, LockName::Other(_)) || *name == LockName::Its(its))
        };
        if let Some(its) = its.filter(|its| !holds(*its))
            && let Some(index) = number.checked_sub(step.before.len())
        {
            let path = format!("its{its}: {address:#x}");
            let seen = format!("written while EL2 holds {held:?}");
            return Some(Finding::broken(&rules::EL2_HELD, class, path, seen).by(index));
        }
    }
    None
}

/// The most microseconds in one section.
const LONGEST_WAIT: u64 = 1_000;

/// The first wait that makes a section too long.
fn waits(events: &[Event]) -> Option<Finding> {
    let mut held: Vec<LockName> = Vec::new();
    let (mut waited, mut last_read) = (0_u64, None);
    for (index, event) in events.iter().enumerate() {
        match *event {
            Event::Acquired(name) => held.push(name),
            Event::Released(name) => held.retain(|other| *other != name),
            Event::Waited { microseconds } if !held.is_empty() => {
                waited = waited.saturating_add(microseconds);
            }
            Event::DeviceRead { address, .. } if !held.is_empty() => {
                waited += u64::from(last_read == Some(address));
                last_read = Some(address);
            }
            _ => continue,
        }
        if held.is_empty() {
            (waited, last_read) = (0, None);
        }
        if waited > LONGEST_WAIT {
            let (class, path) = match event {
                Event::Waited { .. } => ("delay", "a delay"),
                _ => ("poll", "a register that is polled"),
            };
            let seen = format!("more than {LONGEST_WAIT} µs while EL2 holds {held:?}");
            return Some(Finding::broken(&rules::EL2_WAIT, class, path, seen).by(index));
        }
    }
    None
}

/// The first command whose pages change hands in two sections. A command is judged, or taken as
/// consumed, from the copy of it to the copy of another; what a failure takes back again lies in
/// the section of its pins.
fn torn(events: &[Event]) -> Option<Finding> {
    let mut section = 0;
    // Those in which pages were pinned, and unpinned, for this command.
    let (mut pinned, mut unpinned) = (None, None);
    for (index, event) in events.iter().enumerate() {
        let (change, pages) = match *event {
            Event::Acquired(LockName::Memory) => {
                section += 1;
                continue;
            }
            Event::CommandRead { .. } => {
                (pinned, unpinned) = (None, None);
                continue;
            }
            Event::Page { change, pages, .. } => (change, pages),
            _ => continue,
        };
        let (first, class) = match change {
            PageChange::Pin => (&mut pinned, "borrowed"),
            PageChange::Unpin if pinned == Some(section) => continue,
            PageChange::Unpin => (&mut unpinned, "given back"),
            _ => continue,
        };
        if *first.get_or_insert(section) != section {
            let path = format!("page {:#x}", pages.first);
            let seen = "the memory lock was free in between";
            return Some(Finding::broken(&rules::EL2_SECTION, class, path, seen).by(index));
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{
        ENTRY, QUEUE, REDISTRIBUTOR, copied, guards, page, reported, slot, step, write,
    };
    use its_gic::Register;
    use its_machine::AccessSize;

    fn broken(events: &[Event]) -> Vec<(&'static str, &'static str)> {
        reported(|findings| judge(&step(events), &guards(), findings))
    }

    #[test]
    fn a_section_does_not_wait_long() {
        let [take, give] = [Event::Acquired, Event::Released].map(|of| of(LockName::Its(0)));
        let wait = Event::Waited { microseconds: 600 };
        assert!(broken(&[wait, wait, take, wait, give, take, wait, give]).is_empty());
        assert_eq!(broken(&[take, wait, wait, give]), [("EL2-WAIT", "delay")]);
        let read = |offset| Event::DeviceRead {
            address: REDISTRIBUTOR + offset,
            size: AccessSize::Word,
            value: 0,
        };
        let polls = |count, each: fn(u64) -> u64| {
            let reads = (0..count).map(|index| read(each(index)));
            [take].into_iter().chain(reads).collect::<Vec<_>>()
        };
        assert!(broken(&polls(1_001, |_| 0)).is_empty());
        assert_eq!(broken(&polls(1_002, |_| 0)), [("EL2-WAIT", "poll")]);
        assert!(broken(&polls(3_000, |index| index % 2 * 4)).is_empty());
    }

    #[test]
    fn an_its_is_written_under_its_lock() {
        let [take, give] = [Event::Acquired, Event::Released].map(|of| of(LockName::Its(0)));
        let other = Event::Acquired(LockName::Its(1));
        let unnamed = Event::Acquired(LockName::Other(0));
        for (event, class) in
            [(slot(QUEUE), "slot"), (ENTRY, "level1"), (write(Register::Cwriter, 0), "register")]
        {
            assert!(broken(&[take, event, give]).is_empty());
            assert_eq!(broken(&[take, give, event]), [("EL2-HELD", class)]);
            assert_eq!(broken(&[other, event]), [("EL2-HELD", class)]);
            assert!(broken(&[unnamed, event]).is_empty());
            // The lock was taken in an earlier part of the action, where nothing is reported again.
            let part = |before: &[Event]| {
                let part = Step { before, ..step(std::slice::from_ref(&event)) };
                reported(|findings| judge(&part, &guards(), findings))
            };
            assert!(part(&[take, event]).is_empty());
            assert_eq!(part(&[event]), [("EL2-HELD", class)]);
        }
        // A redistributor has no lock.
        let (address, size) = (REDISTRIBUTOR, AccessSize::Word);
        assert!(broken(&[Event::DeviceWrite { address, size, value: 0 }]).is_empty());
    }

    #[test]
    fn one_itt_changes_hands_in_one_section() {
        let [take, give] = [Event::Acquired, Event::Released].map(|of| of(LockName::Memory));
        let (copy, pin, unpin) = (
            copied(0),
            |first| page(PageChange::Pin, first, 1),
            |first| page(PageChange::Unpin, first, 1),
        );
        for (events, class) in [
            (&[copy, take, pin(1), pin(2), give][..], None),
            (&[copy, take, pin(1), give, copy, take, pin(2), give], None),
            (&[copy, take, pin(1), give, take, pin(2), give], Some("borrowed")),
            // A stalled command that is replaced: the new ITT is taken, then the old one goes back.
            (&[copy, take, pin(1), pin(2), give, take, unpin(3), unpin(4), give], None),
            (&[copy, take, pin(1), unpin(1), give], None),
            (&[copy, take, unpin(3), give, take, unpin(4), give], Some("given back")),
        ] {
            assert!(broken(events).into_iter().eq(class.map(|class| ("EL2-SECTION", class))));
        }
    }
}
