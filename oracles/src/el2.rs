//! EL2: it panics, hangs, touches what it must not, reads twice what the host can change, or lets
//! the ITS see memory too early.

use std::collections::{BTreeMap, BTreeSet};

use its_declaration::{
    Capacity, Declaration, Level2Contents, MappedCollection, Remap, Unmap, UnmappedDevice,
};
use its_gic::Register;
use its_gic::command::COMMAND_BYTES;
use its_gic::geometry::{LEVEL1_ENTRY_BYTES, PAGE_BYTES};
use its_machine::{Action, Event, Misconduct, Outcome, PageChange};

use crate::guards::Guards;
use crate::{Finding, Rule, Step, barriers, rules};

/// Judges what EL2 did in one action. What an ITS reads that is not `guarded` is its host's
/// concern.
pub(crate) fn judge(step: &Step, guarded: bool, guards: &Guards, findings: &mut Vec<Finding>) {
    for (index, event) in step.events.iter().enumerate() {
        match event {
            Event::Misconduct(misconduct) => {
                let made = maker(*misconduct, &step.events[..index]).unwrap_or(index);
                findings.push(misconducted(*misconduct).by(made));
            }
            Event::StaleRead { address } if guarded => findings.push(stale(*address, guards)),
            Event::Overwritten { address, host: false } if guarded => {
                findings.push(overwritten(*address))
            }
            _ => {}
        }
    }
    findings.extend(fetched_twice(step.events, guards));
    barriers::judge(step.events, guards, findings);
    uncleaned(step, guards, findings);
    findings.extend(stored_twice(step.events, guards));
    too_many(step.events, guards, findings);
    if step.set_up_result().is_some() {
        findings.extend(not_zeroed(step.events));
    }
}

fn memory(address: u64) -> String {
    format!("memory {address:#x}")
}

/// S6: the private pages are the first that a set-up takes; each is zeroed in it.
fn not_zeroed(events: &[Event]) -> Option<Finding> {
    let taken = events.iter().find_map(|event| match event {
        Event::Page { change: PageChange::Donate, pages, result: Ok(()) } => Some(*pages),
        _ => None,
    })?;
    let zeroed = |page: &u64| events.contains(&Event::PageZeroed { page: *page });
    let page = taken.iter().find(|page| !zeroed(page))?;
    let path = format!("page {page:#x}");
    Some(Finding::broken(&rules::EL2_ZERO, "private", path, "as the host left it"))
}

/// The ITS read what EL2 had not cleaned.
fn stale(address: u64, guards: &Guards) -> Finding {
    let is_second_level = guards.is_second_level(address);
    let rule = if is_second_level { &rules::EL2_LEVEL2 } else { &rules::EL2_CLEAN };
    let expected = "cleaned to the point of coherency before the ITS reads it";
    let seen = "the ITS read what was there before";
    Finding::new(rule, "stale", memory(address), expected, seen)
}

fn overwritten(address: u64) -> Finding {
    let expected = "cleaned before a device stores there";
    let seen = "what EL2 had stored came after it";
    Finding::new(&rules::EL2_CLEAN, "overwritten", memory(address), expected, seen)
}

/// Commands that one trap judges, and such that it takes back: slots of the host's, and of EL2's
/// own queue, that it reads. A stalled one that a Retry replaces is among those in flight.
fn too_many(events: &[Event], guards: &Guards, findings: &mut Vec<Finding>) {
    let mut judged = 0;
    let mut taken = BTreeSet::new();
    for event in events {
        match *event {
            Event::CommandRead { shared: true, .. } => judged += 1,
            Event::CommandRead { address, .. } if guards.slot(address).is_some() => {
                taken.insert(address);
            }
            _ => {}
        }
    }
    let mut limit = |rule, count: usize, path: &str| {
        if count > guards.declared.numbers.commands_per_trap as usize {
            findings.push(Finding::broken(rule, "commands", path, count.to_string()));
        }
    };
    limit(&rules::EL2_BATCH, judged, "commands judged in one trap");
    // EL2 must read what is in flight to know what is mapped.
    let Declaration { memory, queue, .. } = guards.declared;
    let reads_flight = memory.remap == Remap::Refused
        || memory.capacity != Capacity::Itts
        || queue.unmap == Unmap::ByCommand
        || queue.mapped_collection == MappedCollection::Refused
        || queue.unmapped_device == UnmappedDevice::Refused;
    if !reads_flight {
        limit(&rules::EL2_RELEASE, taken.len(), "commands taken as consumed in one trap");
    }
}

/// The event before it that a call which came back must answer for: it took the lock that it kept.
fn maker(misconduct: Misconduct, before: &[Event]) -> Option<usize> {
    let Misconduct::Kept(name) = misconduct else {
        return None;
    };
    before.iter().rposition(|event| *event == Event::Acquired(name))
}

/// A call that ended, or went on, in a way that no call may.
fn misconducted(misconduct: Misconduct) -> Finding {
    let (rule, class, expected, seen): (&'static Rule, _, _, String) = match misconduct {
        Misconduct::Panicked => (&rules::EL2_PANIC, "panic", "EL2 returns", "a panic".into()),
        Misconduct::DividedByZero => {
            let expected = "a divisor that is not zero";
            (&rules::EL2_UNDEFINED, "division", expected, "a division by zero".into())
        }
        Misconduct::Warned => (&rules::EL2_WARN, "warn", "no warning", "a warning".into()),
        Misconduct::BadAccess { address, write } => {
            let (class, what) = if write { ("write", "a write to") } else { ("read", "a read of") };
            let expected = "memory that EL2 owns or pinned";
            (&rules::EL2_ACCESS, class, expected, format!("{what} {address:#x}"))
        }
        Misconduct::Stray { null, write } => {
            let what = if write { "a write" } else { "a read" };
            let seen = match null {
                Some(offset) => format!("{what} at {offset:#x}: a null pointer was followed"),
                None => format!("{what} of what is neither"),
            };
            (&rules::EL2_ACCESS, "stray", "memory of the machine, or EL2's own data", seen)
        }
        Misconduct::BadDevice { address, size } => {
            let seen = format!("{} bytes at {address:#x}", size.bytes());
            (&rules::EL2_DEVICE, "access", "a register in its own size and alignment", seen)
        }
        Misconduct::Deadlock(name) => {
            let seen = format!("{name:?} taken while it was held");
            (&rules::EL2_DEADLOCK, "deadlock", "a lock that comes free", seen)
        }
        Misconduct::Kept(name) => {
            let seen = format!("{name:?} held at return");
            (&rules::EL2_LOCK, "kept", "no lock held at return", seen)
        }
        Misconduct::Unlocked(name) => {
            let seen = format!("{name:?} was not held");
            (&rules::EL2_UNLOCKED, "unlocked", "the lock is held", seen)
        }
        Misconduct::Disordered { held, taken } => {
            let seen = format!("{taken:?} taken after {held:?}");
            (&rules::EL2_ORDER, "disordered", "set-up, then ITS, then memory", seen)
        }
        Misconduct::TooMuchWork => {
            let seen = format!("more than {} calls, or no end", its_el2::WORK_LIMIT);
            (&rules::EL2_WORK, "calls", "bounded work", seen)
        }
    };
    Finding::new(rule, class, "EL2", expected, seen)
}

/// One operation is one command, or a call that judges none: a word may be read again for the next
/// command, which relies on nothing that was read before; a slot is copied once in all, and none of
/// its words is read again or was before.
fn fetched_twice(events: &[Event], guards: &Guards) -> Option<Finding> {
    let (mut slots, mut words) = (BTreeSet::new(), BTreeSet::new());
    let slot_of = |address: u64| address & !(COMMAND_BYTES - 1);
    for (index, event) in events.iter().enumerate() {
        let (rule, address, again): (&'static Rule, _, _) = match *event {
            Event::CommandRead { address, shared: true, .. } => {
                // Where a level-1 entry lies in a slot, it was read for the command before.
                let words = std::mem::take(&mut words);
                let read = words.into_iter().any(|word| slot_of(word) == address)
                    && !guards.is_table_copy(address);
                (&rules::EL2_FETCH, address, !slots.insert(address) || read)
            }
            // Where the host's copies share a page, a level-1 entry may lie in a slot.
            Event::WordRead { address, shared: true, .. }
                if slots.contains(&slot_of(address)) && !guards.is_table_copy(address) =>
            {
                (&rules::EL2_FETCH, address, true)
            }
            Event::WordRead { address, shared: true, .. } => {
                (&rules::EL2_REREAD, address, !words.insert(address))
            }
            _ => continue,
        };
        if again {
            let expected = "one read in one operation";
            let seen = "read again while the host could write it";
            return Some(Finding::new(rule, "twice", memory(address), expected, seen).by(index));
        }
    }
    None
}

/// What EL2 wrote for the ITS and did not clean yet.
#[derive(Default)]
struct Uncleaned {
    /// With the number of the event that wrote them.
    slots: BTreeMap<u64, usize>,
    pages: BTreeSet<u64>,
    level1: BTreeMap<u64, usize>,
}

impl Uncleaned {
    fn clean(&mut self, address: u64, bytes: u64) {
        let covered = |start: u64, length: u64| {
            start >= address && start.saturating_add(length) <= address.saturating_add(bytes)
        };
        self.slots.retain(|slot, _| !covered(*slot, COMMAND_BYTES));
        self.level1.retain(|entry, _| !covered(*entry, LEVEL1_ENTRY_BYTES));
        let at = |page: u64| page.saturating_mul(PAGE_BYTES);
        self.pages.retain(|page| !covered(at(*page), PAGE_BYTES));
    }

    /// CWRITER is written, or the call is over: nothing may be left.
    fn demand_none(&mut self, findings: &mut Vec<Finding>) {
        let lefts: [(&mut BTreeMap<u64, usize>, &'static Rule, _); 2] = [
            (&mut self.slots, &rules::EL2_CLEAN, "slot"),
            (&mut self.level1, &rules::EL2_LEVEL2, "entry"),
        ];
        for (left, rule, class) in lefts {
            if let Some((address, index)) = std::mem::take(left).pop_first() {
                let finding = Finding::broken(rule, class, memory(address), "not cleaned");
                findings.push(finding.by(index));
            }
        }
    }
}

/// What EL2 wrote for the ITS is cleaned before it can see it, unless the ITS reads caches.
fn uncleaned(step: &Step, guards: &Guards, findings: &mut Vec<Finding>) {
    let mut left = Uncleaned::default();
    let coherence = guards.machine.coherence;
    let (slots, tables) = (coherence.queue.sees_stores(), coherence.tables.sees_stores());
    let checked = guards.declared.memory.level2_contents == Level2Contents::Checked;
    for (index, event) in step.events.iter().enumerate() {
        match *event {
            Event::CommandWritten { address, .. } if !slots && guards.slot(address).is_some() => {
                left.slots.insert(address, index);
            }
            Event::PageZeroed { page } if !tables => {
                left.pages.insert(page);
            }
            // The host zeroed it.
            Event::Page { change: PageChange::Donate, pages, result: Ok(()) }
                if !tables && checked =>
            {
                left.pages.extend(pages.iter());
            }
            Event::WordWritten { address, value, .. } if !tables => {
                let Some((_, pages)) = guards.level1(address, value) else {
                    continue;
                };
                left.level1.insert(address, index);
                if let Some(page) = pages.iter().find(|page| left.pages.contains(page)) {
                    let path = format!("page {page:#x}");
                    let seen = "not cleaned before its entry was written";
                    let finding = Finding::broken(&rules::EL2_LEVEL2, "contents", path, seen);
                    findings.push(finding.by(index));
                }
            }
            Event::Cleaned { address, bytes } => left.clean(address, bytes),
            Event::DeviceWrite { address, .. }
                if matches!(guards.register(address), Some((_, Register::Cwriter))) =>
            {
                left.demand_none(findings);
            }
            _ => {}
        }
    }
    let stopped = step.outcome == Outcome::Stopped;
    // What a set-up writes is judged by UNDO.
    let is_set_up = step.set_up.is_some() || matches!(step.action, Action::Hypercall { .. });
    if !stopped && !is_set_up {
        left.demand_none(findings);
    }
}

/// The first level-1 entry that is stored to twice: it never changes once the ITS may follow it.
fn stored_twice(events: &[Event], guards: &Guards) -> Option<Finding> {
    let mut entries = BTreeSet::new();
    let mut numbered = events.iter().enumerate();
    let (index, address, value) = numbered.find_map(|(index, event)| match *event {
        Event::WordWritten { address, value, .. } => {
            let again = guards.level1(address, value).is_some() && !entries.insert(address);
            again.then_some((index, address, value))
        }
        _ => None,
    })?;
    let path = format!("level-1 entry {address:#x}");
    let seen = format!("stored to again: {value:#x}");
    Some(Finding::broken(&rules::EL2_STORE, "twice", path, seen).by(index))
}

#[cfg(test)]
mod tests {
    use its_gic::geometry::Pages;

    use super::*;
    use crate::testing::{
        ENTRY, LEVEL1, LEVEL2, QUEUE, cleaned, copied, guards, page, reported, slot, step, write,
    };
    use its_machine::{Barrier, LockName};

    fn broken(events: &[Event]) -> Vec<(&'static str, &'static str)> {
        reported(|findings| judge(&step(events), true, &guards(), findings))
    }

    const fn word(address: u64, shared: bool) -> Event {
        Event::WordRead { address, value: 0, shared }
    }

    #[test]
    fn what_set_up_takes_for_records_is_zeroed() {
        let taken = |first| page(PageChange::Donate, first, 2);
        let zeroed = |page| Event::PageZeroed { page };
        for (events, rule) in [
            (&[][..], None),
            (&[taken(4), zeroed(4), zeroed(5), taken(9)], None),
            (&[taken(4), zeroed(4)], Some("EL2-ZERO")),
        ] {
            assert_eq!(not_zeroed(events).map(|finding| finding.rule.id), rule);
        }
    }

    #[test]
    fn what_the_host_can_write_is_read_once() {
        for (events, rule) in [
            (&[word(8, true), word(16, true), word(24, false), word(24, false)][..], None),
            (&[word(8, true), word(8, true)], Some("EL2-REREAD")),
            (&[copied(0x20), word(0x28, true)], Some("EL2-FETCH")),
            (&[word(0x28, true), copied(0x20)], Some("EL2-FETCH")),
            (&[copied(0x20), word(0x100, true), copied(0x40), word(0x100, true)], None),
        ] {
            assert!(broken(events).into_iter().eq(rule.map(|rule| (rule, "twice"))));
        }
    }

    #[test]
    fn a_finding_names_the_event_that_broke_it() {
        let by = |events: &[Event]| {
            let mut findings = Vec::new();
            judge(&step(events), true, &guards(), &mut findings);
            findings.first().and_then(|finding| finding.event)
        };
        assert_eq!(
            by(&[word(16, true), word(8, true), Event::Ordered(Barrier::DSB_SY), word(8, true)]),
            Some(3)
        );
        assert_eq!(
            by(&[Event::Ordered(Barrier::DSB_SY), Event::Misconduct(Misconduct::DividedByZero)]),
            Some(1)
        );
        // The lock that was kept is what was taken and not given back.
        let name = LockName::SetUp;
        let kept = Event::Misconduct(Misconduct::Kept(name));
        assert_eq!(
            by(&[
                Event::Ordered(Barrier::DSB_SY),
                Event::Acquired(name),
                Event::Ordered(Barrier::DSB_SY),
                kept
            ]),
            Some(1)
        );
    }

    /// Copies of the host's may lie in each other: what is read of a slot as a level-1 entry is no
    /// look at the slot.
    #[test]
    fn a_level_1_entry_may_lie_in_the_next_slot() {
        let address = 0x8_1000_0020;
        let events = [word(address + 8, true), copied(address)];
        let mut guards = guards();
        assert!(fetched_twice(&events, &guards).is_some());
        let [entry, slot] = events;
        let slot_first = [slot, entry];
        assert!(fetched_twice(&slot_first, &guards).is_some());
        guards.all[0].copies.push(Pages::under(address, 0x1000));
        assert!(fetched_twice(&events, &guards).is_none());
        assert!(fetched_twice(&slot_first, &guards).is_none());
        assert!(fetched_twice(&[slot, entry, slot], &guards).is_some());
    }

    #[test]
    fn a_trap_s_commands_are_as_many_as_the_subject_declares() {
        let mut guards = guards();
        for declared in [64, 100] {
            guards.declared.numbers.commands_per_trap = declared;
            let judge = |count: u32, command: fn(u64) -> Event| {
                let events: Vec<Event> = (0..count).map(|n| command(u64::from(n) * 32)).collect();
                reported(|findings| too_many(&events, &guards, findings))
            };
            let own = |offset| Event::CommandRead {
                address: QUEUE + offset,
                words: [0; 4],
                shared: false,
            };
            assert!(judge(declared, copied).is_empty() && judge(declared, own).is_empty());
            assert_eq!(judge(declared + 1, copied), [("EL2-BATCH", "commands")]);
            assert_eq!(judge(declared + 1, own), [("EL2-RELEASE", "commands")]);
        }
        // Own slots are read to know what is in flight, too.
        guards.declared.memory.remap = Remap::Refused;
        let own =
            |n: u64| Event::CommandRead { address: QUEUE + n * 32, words: [0; 4], shared: false };
        let events: Vec<Event> = (0..200).map(own).collect();
        assert!(reported(|findings| too_many(&events, &guards, findings)).is_empty());
    }

    #[test]
    fn memory_is_cleaned_and_ordered_before_the_its_reads_it() {
        let (command, cwriter) = (slot(QUEUE), write(Register::Cwriter, 0x20));
        let zeroed = Event::PageZeroed { page: LEVEL2 >> 12 };
        let (whole, level2, entry) =
            (cleaned(QUEUE, 32), cleaned(LEVEL2, 0x1_0000), cleaned(LEVEL1, 64));
        let ordered = Event::Ordered(Barrier::DSB_SY);
        for (events, rule) in [
            (&[command, whole, ordered, cwriter][..], None),
            (&[command, whole, cwriter], Some(("EL2-BARRIER", "queue"))),
            (&[command, cleaned(QUEUE, 16), ordered, cwriter], Some(("EL2-CLEAN", "slot"))),
            (&[command, ordered, cwriter, whole], Some(("EL2-CLEAN", "slot"))),
            (&[zeroed, level2, ordered, ENTRY, entry], None),
            (&[zeroed, level2, ENTRY, entry], Some(("EL2-FENCE", "level2"))),
            (&[zeroed, ordered, ENTRY, entry], Some(("EL2-LEVEL2", "contents"))),
            (&[ENTRY], Some(("EL2-LEVEL2", "entry"))),
            (&[ENTRY, ENTRY, entry], Some(("EL2-STORE", "twice"))),
            (&[Event::StaleRead { address: QUEUE }], Some(("EL2-CLEAN", "stale"))),
            (&[Event::StaleRead { address: LEVEL1 }], Some(("EL2-LEVEL2", "stale"))),
            (
                &[Event::Overwritten { address: QUEUE, host: false }],
                Some(("EL2-CLEAN", "overwritten")),
            ),
        ] {
            assert!(broken(events).into_iter().eq(rule), "{events:x?}");
        }
    }

    /// What the host zeroed is cleaned before its entry is written, as what EL2 zeroed.
    #[test]
    fn a_level2_table_that_the_host_zeroed_is_cleaned_too() {
        let mut guards = guards();
        let pages = Pages::under(LEVEL2, 0x1_0000);
        let joins = Event::Page { change: PageChange::Donate, pages, result: Ok(()) };
        let (clean, entry) = (cleaned(LEVEL2, 0x1_0000), cleaned(LEVEL1, 64));
        for (contents, events, rule) in [
            (Level2Contents::Checked, &[joins, clean, ENTRY, entry][..], None),
            (Level2Contents::Checked, &[joins, ENTRY, entry], Some(("EL2-LEVEL2", "contents"))),
            (Level2Contents::Zeroed, &[joins, ENTRY, entry], None),
        ] {
            guards.declared.memory.level2_contents = contents;
            let found = reported(|findings| uncleaned(&step(events), &guards, findings));
            assert!(found.into_iter().eq(rule), "{contents:?}, {events:x?}");
        }
    }

    #[test]
    fn misuse_of_locks_is_reported() {
        let name = LockName::SetUp;
        for (misconduct, rule) in [
            (Misconduct::Kept(name), ("EL2-LOCK", "kept")),
            (Misconduct::Deadlock(name), ("EL2-DEADLOCK", "deadlock")),
            (Misconduct::Unlocked(name), ("EL2-UNLOCKED", "unlocked")),
        ] {
            assert_eq!(broken(&[Event::Misconduct(misconduct)]), [rule]);
        }
    }
}
