//! EL2: it panics, hangs, touches what it must not, reads twice what the host can change, tells the
//! ITS too early.

use std::collections::BTreeSet;

use its_gic::Register;
use its_gic::command::COMMAND_BYTES;
use its_gic::geometry::{LEVEL1_ENTRY_BYTES, PAGE_BYTES};
use its_machine::{Action, Event, Misconduct, Outcome, PageChange};

use crate::guards::Guards;
use crate::{Finding, Rule, Step, rules};

/// Commands that one trap may judge, and take as consumed. A stalled one that a Retry replaces is
/// among the 64 in flight.
const COMMANDS_PER_TRAP: usize = 64;

/// Judges what EL2 did in one action. What an ITS reads that is not `guarded` is its host's
/// concern.
pub(crate) fn judge(step: &Step, guarded: bool, guards: &Guards, findings: &mut Vec<Finding>) {
    for event in step.events {
        match event {
            Event::Misconduct(misconduct) => findings.push(misconducted(*misconduct)),
            Event::StaleRead { address } if guarded => findings.push(stale(*address, guards)),
            _ => {}
        }
    }
    fetched_twice(step, guards, findings);
    unordered(step, guards, findings);
    uncleaned(step, guards, findings);
    stored_twice(step, guards, findings);
    too_many(step, guards, findings);
    if step.set_up_result().is_some() {
        not_zeroed(step.events, findings);
    }
}

/// S6: the private pages are the first that a set-up takes; each is zeroed in it.
fn not_zeroed(events: &[Event], findings: &mut Vec<Finding>) {
    let taken = events.iter().find_map(|event| match event {
        Event::Page { change: PageChange::Donate, pages, result: Ok(()) } => Some(*pages),
        _ => None,
    });
    let zeroed = |page: &u64| events.contains(&Event::PageZeroed { page: *page });
    let left = taken.and_then(|pages| pages.iter().find(|page| !zeroed(page)));
    if let Some(page) = left {
        let seen = "as the host left it";
        findings.push(Finding::broken(
            &rules::EL2_ZERO,
            "private",
            format!("page {page:#x}"),
            seen,
        ));
    }
}

/// The ITS read what EL2 had not cleaned.
fn stale(address: u64, guards: &Guards) -> Finding {
    let rule = match guards.is_second_level(address) {
        true => &rules::EL2_LEVEL2,
        false => &rules::EL2_CLEAN,
    };
    Finding::new(
        rule,
        "stale",
        format!("memory {address:#x}"),
        "cleaned to the point of coherency before the ITS reads it",
        "the ITS read what was there before",
    )
}

/// Commands that one trap judges, and such that it takes back: slots of the host's, and of EL2's
/// own queue, that it reads.
fn too_many(step: &Step, guards: &Guards, findings: &mut Vec<Finding>) {
    let mut judged = 0;
    let mut taken = BTreeSet::new();
    for event in step.events {
        match *event {
            Event::CommandRead { shared: true, .. } => judged += 1,
            Event::CommandRead { address, .. } if guards.slot(address).is_some() => {
                taken.insert(address);
            }
            _ => {}
        }
    }
    let mut limit = |rule, count: usize, path: &str| {
        if count > COMMANDS_PER_TRAP {
            findings.push(Finding::broken(rule, "commands", path, count.to_string()));
        }
    };
    limit(&rules::EL2_BATCH, judged, "commands judged in one trap");
    limit(&rules::EL2_RELEASE, taken.len(), "commands taken as consumed in one trap");
}

fn misconducted(misconduct: Misconduct) -> Finding {
    let (rule, class, expected): (&'static Rule, _, _) = match misconduct {
        Misconduct::Panicked => (&rules::EL2_PANIC, "panic", "EL2 returns"),
        Misconduct::Warned => (&rules::EL2_WARN, "warn", "no warning"),
        Misconduct::BadAccess { write: true, .. } => {
            (&rules::EL2_ACCESS, "write", "memory that EL2 owns or pinned")
        }
        Misconduct::BadAccess { .. } => {
            (&rules::EL2_ACCESS, "read", "memory that EL2 owns or pinned")
        }
        Misconduct::Stray { .. } => {
            (&rules::EL2_ACCESS, "stray", "memory of the machine, or EL2's own data")
        }
        Misconduct::BadDevice { .. } => {
            (&rules::EL2_DEVICE, "access", "a register in its own size and alignment")
        }
        Misconduct::Deadlock(_) => (&rules::EL2_DEADLOCK, "deadlock", "a lock that comes free"),
        Misconduct::Kept(_) => (&rules::EL2_LOCK, "kept", "no lock held at return"),
        Misconduct::Unlocked(_) => (&rules::EL2_UNLOCKED, "unlocked", "the lock is held"),
        Misconduct::Disordered { .. } => {
            (&rules::EL2_ORDER, "disordered", "set-up, then ITS, then memory")
        }
        Misconduct::TooMuchWork => (&rules::EL2_WORK, "calls", "bounded work"),
    };
    Finding::new(rule, class, "EL2", expected, describe(misconduct))
}

fn describe(misconduct: Misconduct) -> String {
    match misconduct {
        Misconduct::Panicked => "a panic".into(),
        Misconduct::Warned => "a warning".into(),
        Misconduct::BadAccess { address, write } => {
            let what = if write { "a write to" } else { "a read of" };
            format!("{what} {address:#x}")
        }
        Misconduct::Stray { null, write } => {
            let what = if write { "a write" } else { "a read" };
            match null {
                Some(offset) => format!("{what} at {offset:#x}: a null pointer was followed"),
                None => format!("{what} of what is neither"),
            }
        }
        Misconduct::BadDevice { address, size } => {
            format!("{} bytes at {address:#x}", size.bytes())
        }
        Misconduct::Deadlock(name) => format!("{name:?} taken while it was held"),
        Misconduct::Kept(name) => format!("{name:?} held at return"),
        Misconduct::Unlocked(name) => format!("{name:?} was not held"),
        Misconduct::Disordered { held, taken } => format!("{taken:?} taken after {held:?}"),
        Misconduct::TooMuchWork => {
            format!("more than {} calls, or no end", its_el2::WORK_LIMIT)
        }
    }
}

/// One operation is one command, or a call that judges none: a word may be read again for the next
/// command, which trusts nothing that was read before; a slot is copied once in all, and none of
/// its words is read again or was before.
fn fetched_twice(step: &Step, guards: &Guards, findings: &mut Vec<Finding>) {
    let mut slots: Vec<u64> = Vec::new();
    let mut words: Vec<u64> = Vec::new();
    for event in step.events {
        let (rule, address): (&'static Rule, _) = match *event {
            Event::CommandRead { address, shared: true, .. } => {
                let peeked = |word: &u64| word & !(COMMAND_BYTES - 1) == address;
                // Where a level-1 entry lies in a slot, it was read for the command before.
                let seen = words.iter().any(peeked) && !guards.is_table_copy(address);
                words.clear();
                if !seen && !slots.contains(&address) {
                    slots.push(address);
                    continue;
                }
                (&rules::EL2_FETCH, address)
            }
            Event::WordRead { address, shared: true, .. } => {
                let slot = slots.contains(&(address & !(COMMAND_BYTES - 1)));
                if !slot && !words.contains(&address) {
                    words.push(address);
                    continue;
                }
                let rule = if slot { &rules::EL2_FETCH } else { &rules::EL2_REREAD };
                (rule, address)
            }
            _ => continue,
        };
        findings.push(Finding::new(
            rule,
            "twice",
            format!("memory {address:#x}"),
            "one read in one operation",
            "read again while the host could write it",
        ));
        return;
    }
}

/// What lets the ITS see other memory, CWRITER or a level-1 entry, comes after an ordering of that
/// memory.
fn unordered(step: &Step, guards: &Guards, findings: &mut Vec<Finding>) {
    let (mut commands, mut zeroes) = (false, false);
    for event in step.events {
        let (rule, class): (&'static Rule, _) = match *event {
            Event::CommandWritten { .. } => {
                commands = true;
                continue;
            }
            Event::PageZeroed { .. } => {
                zeroes = true;
                continue;
            }
            Event::Ordered => {
                (commands, zeroes) = (false, false);
                continue;
            }
            Event::DeviceWrite { .. } if std::mem::take(&mut commands) => {
                (&rules::EL2_BARRIER, "queue")
            }
            Event::WordWritten { address, value, .. }
                if guards.level1(address, value).is_some() && std::mem::take(&mut zeroes) =>
            {
                (&rules::EL2_FENCE, "level2")
            }
            _ => continue,
        };
        findings.push(Finding::new(
            rule,
            class,
            "EL2",
            "memory ordered before the ITS is told of it",
            "no ordering in between",
        ));
    }
}

/// What EL2 wrote for the ITS and did not clean yet.
#[derive(Default)]
struct Uncleaned {
    slots: BTreeSet<u64>,
    /// Pages that were zeroed.
    pages: BTreeSet<u64>,
    level1: BTreeSet<u64>,
}

impl Uncleaned {
    fn clean(&mut self, address: u64, bytes: u64) {
        let covered = |start: u64, length: u64| {
            start >= address && start.saturating_add(length) <= address.saturating_add(bytes)
        };
        self.slots.retain(|slot| !covered(*slot, COMMAND_BYTES));
        self.level1.retain(|entry| !covered(*entry, LEVEL1_ENTRY_BYTES));
        let at = |page: u64| page.saturating_mul(PAGE_BYTES);
        self.pages.retain(|page| !covered(at(*page), PAGE_BYTES));
    }

    /// CWRITER is written, or the call is over: nothing may be left.
    fn demand_none(&mut self, findings: &mut Vec<Finding>) {
        let lefts: [(&mut BTreeSet<u64>, &'static Rule, _); 2] = [
            (&mut self.slots, &rules::EL2_CLEAN, "slot"),
            (&mut self.level1, &rules::EL2_LEVEL2, "entry"),
        ];
        for (left, rule, class) in lefts {
            if let Some(address) = std::mem::take(left).first() {
                let path = format!("memory {address:#x}");
                findings.push(Finding::broken(rule, class, path, "not cleaned"));
            }
        }
    }
}

/// What EL2 wrote for the ITS is cleaned before it can see it, whether this ITS reads caches or
/// not.
fn uncleaned(step: &Step, guards: &Guards, findings: &mut Vec<Finding>) {
    let mut left = Uncleaned::default();
    for event in step.events {
        match *event {
            Event::CommandWritten { address, .. } if guards.slot(address).is_some() => {
                left.slots.insert(address);
            }
            Event::PageZeroed { page } => {
                left.pages.insert(page);
            }
            Event::WordWritten { address, value, .. } => {
                let Some((_, pages)) = guards.level1(address, value) else {
                    continue;
                };
                left.level1.insert(address);
                if let Some(page) = pages.iter().find(|page| left.pages.contains(page)) {
                    let path = format!("page {page:#x}");
                    let seen = "not cleaned before its entry was written";
                    findings.push(Finding::broken(&rules::EL2_LEVEL2, "contents", path, seen));
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
    if !stopped && !matches!(step.action, Action::Hypercall { .. }) {
        left.demand_none(findings);
    }
}

/// The first level-1 entry that is stored to twice: it never changes once the ITS may follow it.
fn stored_twice(step: &Step, guards: &Guards, findings: &mut Vec<Finding>) {
    let mut entries = BTreeSet::new();
    for event in step.events {
        let Event::WordWritten { address, value, .. } = *event else {
            continue;
        };
        if guards.level1(address, value).is_some() && !entries.insert(address) {
            let path = format!("level-1 entry {address:#x}");
            let seen = format!("stored to again: {value:#x}");
            findings.push(Finding::broken(&rules::EL2_STORE, "twice", path, seen));
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use its_gic::geometry::Pages;

    use super::*;
    use crate::guards::tests::{ITS, LEVEL1, LEVEL2, QUEUE, guards};
    use its_machine::LockName;

    fn broken_by(events: &[Event]) -> Vec<(&'static str, &'static str)> {
        let mut findings = Vec::new();
        let action = Action::Load { cpu: 0, address: 0 };
        let step = Step { action: &action, outcome: Outcome::Done, events };
        judge(&step, true, &guards(), &mut findings);
        findings.iter().map(|b| (b.rule.id, b.class)).collect()
    }

    const fn read(address: u64, shared: bool) -> Event {
        Event::WordRead { address, value: 0, shared }
    }

    #[test]
    fn what_set_up_takes_for_records_is_zeroed() {
        let taken = |first| Event::Page {
            change: PageChange::Donate,
            pages: Pages { first, count: 2 },
            result: Ok(()),
        };
        let zeroed = |page| Event::PageZeroed { page };
        let told = |events: &[Event]| {
            let mut findings = Vec::new();
            not_zeroed(events, &mut findings);
            findings.iter().map(|breach| breach.rule.id).collect::<Vec<_>>()
        };
        assert!(told(&[]).is_empty());
        assert!(told(&[taken(4), zeroed(4), zeroed(5), taken(9)]).is_empty());
        assert_eq!(told(&[taken(4), zeroed(4)]), ["EL2-ZERO"]);
    }

    #[test]
    fn a_shared_word_may_be_read_once() {
        assert!(
            broken_by(&[read(8, true), read(16, true), read(24, false), read(24, false)])
                .is_empty()
        );
        assert_eq!(broken_by(&[read(8, true), read(8, true)]), [("EL2-REREAD", "twice")]);
        let command = Event::CommandRead { address: 0x20, words: [0; 4], shared: true };
        for twice in [[command, read(0x28, true)], [read(0x28, true), command]] {
            assert_eq!(broken_by(&twice), [("EL2-FETCH", "twice")]);
        }
    }

    /// Copies of the host's may lie in each other: what is read of a slot as a level-1 entry is no
    /// look at the slot.
    #[test]
    fn a_level_1_entry_may_lie_in_the_next_slot() {
        let slot = 0x8_1000_0020;
        let events = [
            read(slot + 8, true),
            Event::CommandRead { address: slot, words: [0; 4], shared: true },
        ];
        assert_eq!(broken_by(&events), [("EL2-FETCH", "twice")]);
        let mut findings = Vec::new();
        let guards = guards().with_table_copy(Pages::under(slot, 0x1000));
        let action = Action::Load { cpu: 0, address: 0 };
        let outcome = Outcome::Done;
        let step = Step { action: &action, outcome, events: &events };
        fetched_twice(&step, &guards, &mut findings);
        assert!(findings.is_empty());
    }

    #[test]
    fn the_next_command_may_read_what_the_last_one_read() {
        let command = |address| Event::CommandRead { address, words: [0; 4], shared: true };
        let two = [command(0x20), read(0x100, true), command(0x40), read(0x100, true)];
        assert!(broken_by(&two).is_empty());
    }

    #[test]
    fn sixty_four_commands_are_a_trap_s_limit() {
        let commands = |count: u64| -> Vec<Event> {
            let command =
                |index| Event::CommandRead { address: index * 32, words: [0; 4], shared: true };
            (0..count).map(command).collect()
        };
        assert!(broken_by(&commands(64)).is_empty());
        assert_eq!(broken_by(&commands(65)), [("EL2-BATCH", "commands")]);
        let own = |count: u64| -> Vec<Event> {
            let command = |index| Event::CommandRead {
                address: QUEUE + index * 32,
                words: [0; 4],
                shared: false,
            };
            (0..count).map(command).collect()
        };
        assert!(broken_by(&own(64)).is_empty());
        assert_eq!(broken_by(&own(65)), [("EL2-RELEASE", "commands")]);
    }

    #[test]
    fn memory_is_cleaned_before_the_its_reads_it() {
        let stale = |address| broken_by(&[Event::StaleRead { address }]);
        assert_eq!(stale(QUEUE), [("EL2-CLEAN", "stale")]);
        assert_eq!(stale(LEVEL1), [("EL2-LEVEL2", "stale")]);
    }

    const COMMAND: Event = Event::CommandWritten { address: QUEUE, words: [0; 4] };
    const TOLD: Event = Event::DeviceWrite {
        address: ITS + 0x88,
        size: its_machine::AccessSize::Double,
        value: 0x20,
    };
    const ZEROED: Event = Event::PageZeroed { page: LEVEL2 >> 12 };
    const ENTRY: Event =
        Event::WordWritten { address: LEVEL1 + 8, value: 1 << 63 | LEVEL2, shared: false };

    const fn cleaned(address: u64, bytes: u64) -> Event {
        Event::Cleaned { address, bytes }
    }

    #[test]
    fn memory_is_ordered_before_the_its_is_told() {
        let slot = cleaned(QUEUE, 32);
        let (page, entry) = (cleaned(LEVEL2, 0x1_0000), cleaned(LEVEL1, 64));
        assert!(broken_by(&[COMMAND, slot, Event::Ordered, TOLD]).is_empty());
        assert_eq!(broken_by(&[COMMAND, slot, TOLD]), [("EL2-BARRIER", "queue")]);
        assert!(broken_by(&[ZEROED, page, Event::Ordered, ENTRY, entry]).is_empty());
        assert_eq!(broken_by(&[ZEROED, page, ENTRY, entry]), [("EL2-FENCE", "level2")]);
    }

    #[test]
    fn memory_is_cleaned_before_the_its_is_told() {
        let half = [COMMAND, cleaned(QUEUE, 16), Event::Ordered, TOLD];
        assert_eq!(broken_by(&half), [("EL2-CLEAN", "slot")]);
        let late = [COMMAND, Event::Ordered, TOLD, cleaned(QUEUE, 32)];
        assert_eq!(broken_by(&late), [("EL2-CLEAN", "slot")]);
        assert_eq!(broken_by(&[ENTRY]), [("EL2-LEVEL2", "entry")]);
        let early = [ZEROED, Event::Ordered, ENTRY, cleaned(LEVEL1, 64)];
        assert_eq!(broken_by(&early), [("EL2-LEVEL2", "contents")]);
    }

    #[test]
    fn a_level_one_entry_is_stored_once() {
        let entry = cleaned(LEVEL1, 64);
        assert_eq!(broken_by(&[ENTRY, ENTRY, entry]), [("EL2-STORE", "twice")]);
    }

    #[test]
    fn a_kept_lock_is_told() {
        let kept = Event::Misconduct(Misconduct::Kept(LockName::SetUp));
        assert_eq!(broken_by(&[kept]), [("EL2-LOCK", "kept")]);
        let taken = Event::Misconduct(Misconduct::Deadlock(LockName::SetUp));
        assert_eq!(broken_by(&[taken]), [("EL2-DEADLOCK", "deadlock")]);
        let free = Event::Misconduct(Misconduct::Unlocked(LockName::SetUp));
        assert_eq!(broken_by(&[free]), [("EL2-UNLOCKED", "unlocked")]);
    }
}
