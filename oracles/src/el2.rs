//! EL2: it panics, hangs, touches what it must not, reads twice what the host can change.

use its_el2::{Event, Misconduct};

use crate::rules;
use crate::{Breach, Rule, Step};

/// Commands that one trap may judge. A stalled one that a Retry replaces is among the 64 in flight.
const COMMANDS_PER_TRAP: usize = 64;

/// Judges what EL2 did in one action. What an ITS reads that is not `guarded` is its host's concern.
pub fn judge(step: &Step, guarded: bool, breaches: &mut Vec<Breach>) {
    for event in step.events {
        match event {
            Event::Misconduct(misconduct) => breaches.push(misconducted(*misconduct)),
            Event::StaleRead { address } if guarded => breaches.push(Breach {
                rule: &rules::EL2_CLEAN,
                class: "stale",
                path: format!("memory {address:#x}"),
                expected: "cleaned to the point of coherency before the ITS reads it".into(),
                seen: "the ITS read what was there before".into(),
            }),
            _ => {}
        }
    }
    fetched_twice(step, breaches);
    unordered(step, breaches);
    let copied = step
        .events
        .iter()
        .filter(|event| matches!(event, Event::CommandRead { shared: true, .. }))
        .count();
    if copied > COMMANDS_PER_TRAP {
        breaches.push(Breach {
            rule: &rules::EL2_WORK,
            class: "commands",
            path: "commands judged in one trap".into(),
            expected: format!("at most {COMMANDS_PER_TRAP}"),
            seen: copied.to_string(),
        });
    }
}

fn misconducted(misconduct: Misconduct) -> Breach {
    let (rule, class, expected): (&'static Rule, _, _) = match misconduct {
        Misconduct::Panicked => (&rules::EL2_PANIC, "panic", "EL2 returns"),
        Misconduct::Warned => (&rules::EL2_WARN, "warn", "no warning"),
        Misconduct::BadAccess { write: true, .. } => (
            &rules::EL2_ACCESS,
            "write",
            "memory that EL2 owns or pinned",
        ),
        Misconduct::BadAccess { .. } => {
            (&rules::EL2_ACCESS, "read", "memory that EL2 owns or pinned")
        }
        Misconduct::BadDevice { .. } => (
            &rules::EL2_DEVICE,
            "access",
            "a register in its own size and alignment",
        ),
        Misconduct::Deadlock(_) => (&rules::EL2_LOCK, "deadlock", "a lock that is free"),
        Misconduct::Kept(_) => (&rules::EL2_LOCK, "kept", "no lock held at return"),
        Misconduct::Unlocked(_) => (&rules::EL2_LOCK, "unlocked", "the lock is held"),
        Misconduct::Disordered { .. } => (
            &rules::EL2_ORDER,
            "disordered",
            "set-up, then ITS, then memory",
        ),
        Misconduct::TooMuchWork => (&rules::EL2_WORK, "calls", "bounded work"),
    };
    Breach {
        rule,
        class,
        path: "EL2".into(),
        expected: expected.into(),
        seen: describe(misconduct),
    }
}

fn describe(misconduct: Misconduct) -> String {
    match misconduct {
        Misconduct::Panicked => "a panic".into(),
        Misconduct::Warned => "a warning".into(),
        Misconduct::BadAccess { address, write } => {
            let what = if write { "a write to" } else { "a read of" };
            format!("{what} {address:#x}")
        }
        Misconduct::BadDevice { address, size } => {
            format!("{} bytes at {address:#x}", size.bytes())
        }
        Misconduct::Deadlock(name) => format!("{name:?} taken while it was held"),
        Misconduct::Kept(name) => format!("{name:?} held at return"),
        Misconduct::Unlocked(name) => format!("{name:?} was not held"),
        Misconduct::Disordered { held, taken } => format!("{taken:?} taken after {held:?}"),
        Misconduct::TooMuchWork => format!("more than {} calls", its_el2::WORK_LIMIT),
    }
}

/// One operation is one command, or a call that judges none: a word may be read again for the next command, which trusts
/// nothing that was read before; a slot is copied once in all.
fn fetched_twice(step: &Step, breaches: &mut Vec<Breach>) {
    let mut slots: Vec<u64> = Vec::new();
    let mut words: Vec<u64> = Vec::new();
    for event in step.events {
        let again = match *event {
            Event::CommandRead {
                address,
                shared: true,
                ..
            } => {
                words.clear();
                slots.push(address);
                slots[..slots.len() - 1]
                    .contains(&address)
                    .then_some(address)
            }
            Event::WordRead {
                address,
                shared: true,
                ..
            } => {
                let again = words.contains(&address) || slots.contains(&(address & !31));
                words.push(address);
                again.then_some(address)
            }
            _ => None,
        };
        let Some(address) = again else {
            continue;
        };
        breaches.push(Breach {
            rule: &rules::EL2_FETCH,
            class: "twice",
            path: format!("memory {address:#x}"),
            expected: "one read in one operation".into(),
            seen: "read again while the host could write it".into(),
        });
        return;
    }
}

/// What lets the ITS see other memory, CWRITER or a level-1 entry, comes after an ordering of that memory.
fn unordered(step: &Step, breaches: &mut Vec<Breach>) {
    let (mut commands, mut zeroes) = (false, false);
    for event in step.events {
        let (pending, class) = match *event {
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
            Event::DeviceWrite { .. } => (commands, "queue"),
            // Records are words too: only a valid level-1 entry has the top bit over a page's address.
            Event::WordWritten { value, .. } if value >> 63 == 1 => (zeroes, "level2"),
            _ => continue,
        };
        if pending {
            breaches.push(Breach {
                rule: &rules::EL2_BARRIER,
                class,
                path: "EL2".into(),
                expected: "memory ordered before the ITS is told of it".into(),
                seen: "no ordering in between".into(),
            });
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use its_el2::{Action, LockName, Outcome};

    fn broken_by(events: &[Event]) -> Vec<(&'static str, &'static str)> {
        let mut breaches = Vec::new();
        let action = Action::Load { cpu: 0, address: 0 };
        let step = Step {
            action: &action,
            outcome: Outcome::Done,
            events,
        };
        judge(&step, true, &mut breaches);
        breaches.iter().map(|b| (b.rule.id, b.class)).collect()
    }

    const fn read(address: u64, shared: bool) -> Event {
        Event::WordRead {
            address,
            value: 0,
            shared,
        }
    }

    #[test]
    fn a_shared_word_may_be_read_once() {
        assert!(
            broken_by(&[
                read(8, true),
                read(16, true),
                read(24, false),
                read(24, false)
            ])
            .is_empty()
        );
        assert_eq!(
            broken_by(&[read(8, true), read(8, true)]),
            [("EL2-FETCH", "twice")]
        );
        let command = Event::CommandRead {
            address: 0x20,
            words: [0; 4],
            shared: true,
        };
        assert_eq!(
            broken_by(&[command, read(0x28, true)]),
            [("EL2-FETCH", "twice")]
        );
    }

    #[test]
    fn the_next_command_may_read_what_the_last_one_read() {
        let command = |address| Event::CommandRead {
            address,
            words: [0; 4],
            shared: true,
        };
        let two = [
            command(0x20),
            read(0x100, true),
            command(0x40),
            read(0x100, true),
        ];
        assert!(broken_by(&two).is_empty());
    }

    #[test]
    fn sixty_four_commands_are_a_trap_s_limit() {
        let commands = |count: u64| -> Vec<Event> {
            let command = |index| Event::CommandRead {
                address: index * 32,
                words: [0; 4],
                shared: true,
            };
            (0..count).map(command).collect()
        };
        assert!(broken_by(&commands(64)).is_empty());
        assert_eq!(broken_by(&commands(65)), [("EL2-WORK", "commands")]);
    }

    #[test]
    fn memory_is_cleaned_before_the_its_reads_it() {
        let stale = Event::StaleRead { address: 0x40 };
        assert_eq!(broken_by(&[stale]), [("EL2-CLEAN", "stale")]);
    }

    #[test]
    fn memory_is_ordered_before_the_its_is_told() {
        let command = Event::CommandWritten {
            address: 0,
            words: [0; 4],
        };
        let told = Event::DeviceWrite {
            address: 0x88,
            size: its_el2::AccessSize::Double,
            value: 0x20,
        };
        let zeroed = Event::PageZeroed { page: 7 };
        let entry = Event::WordWritten {
            address: 8,
            value: 1 << 63 | 0x7000,
            shared: false,
        };
        assert!(broken_by(&[command, Event::Ordered, told]).is_empty());
        assert_eq!(broken_by(&[command, told]), [("EL2-BARRIER", "queue")]);
        assert!(broken_by(&[zeroed, Event::Ordered, entry]).is_empty());
        assert_eq!(broken_by(&[zeroed, entry]), [("EL2-BARRIER", "level2")]);
    }

    #[test]
    fn a_kept_lock_is_told() {
        let kept = Event::Misconduct(Misconduct::Kept(LockName::SetUp));
        assert_eq!(broken_by(&[kept]), [("EL2-LOCK", "kept")]);
    }
}
