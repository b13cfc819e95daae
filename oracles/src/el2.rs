//! EL2: it panics, hangs, touches what it must not, reads twice what the host can change.

use its_el2::{Event, Misconduct};

use crate::rules;
use crate::{Breach, Rule, Step};

/// Commands that one trap may judge: 64, and the stalled one that a Retry replaces.
const COMMANDS_PER_TRAP: usize = 65;

/// Judges what EL2 did in one action.
pub fn judge(step: &Step, breaches: &mut Vec<Breach>) {
    for event in step.events {
        match event {
            Event::Misconduct(misconduct) => breaches.push(misconducted(*misconduct)),
            Event::StaleRead { address } => breaches.push(Breach {
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

fn fetched_twice(step: &Step, breaches: &mut Vec<Breach>) {
    let mut words: Vec<u64> = Vec::new();
    for event in step.events {
        match *event {
            Event::WordRead {
                address,
                shared: true,
                ..
            } => words.push(address),
            Event::CommandRead {
                address,
                shared: true,
                ..
            } => words.extend([0, 8, 16, 24].map(|byte| address + byte)),
            _ => {}
        }
    }
    words.sort_unstable();
    let twice = words.windows(2).find(|pair| pair[0] == pair[1]);
    if let Some(pair) = twice {
        breaches.push(Breach {
            rule: &rules::EL2_FETCH,
            class: "twice",
            path: format!("memory {:#x}", pair[0]),
            expected: "one read in one operation".into(),
            seen: "read again while the host could write it".into(),
        });
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
        judge(&step, &mut breaches);
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
    fn sixty_five_commands_are_a_trap_s_limit() {
        let commands = |count: u64| -> Vec<Event> {
            let command = |index| Event::CommandRead {
                address: index * 32,
                words: [0; 4],
                shared: true,
            };
            (0..count).map(command).collect()
        };
        assert!(broken_by(&commands(65)).is_empty());
        assert_eq!(broken_by(&commands(66)), [("EL2-WORK", "commands")]);
    }

    #[test]
    fn a_kept_lock_is_told() {
        let kept = Event::Misconduct(Misconduct::Kept(LockName::SetUp));
        assert_eq!(broken_by(&[kept]), [("EL2-LOCK", "kept")]);
    }
}
