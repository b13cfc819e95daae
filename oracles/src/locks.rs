//! EL2 and its locks: what it writes while it holds which, and what happens within one section.

use its_machine::{Action, Event, LockName, PageChange};

use crate::guards::Guards;
use crate::{Finding, Step, rules};

/// Judges one action by its own events.
pub(crate) fn judge(step: &Step, guards: &Guards, findings: &mut Vec<Finding>) {
    unheld(step.events, guards, findings);
    // A set-up borrows many structures, each in a section of its own.
    if !matches!(step.action, Action::Hypercall { .. }) {
        torn(step.events, findings);
    }
}

/// The first write to an ITS without its lock.
fn unheld(events: &[Event], guards: &Guards, findings: &mut Vec<Finding>) {
    let mut held: Vec<LockName> = Vec::new();
    for event in events {
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
                let its = guards.register(address).map(|(its, _)| its);
                (its, "register", address)
            }
            Event::CommandWritten { address, .. } => {
                let its = guards.slot(address).map(|guard| guard.its);
                (its, "slot", address)
            }
            Event::WordWritten { address, value, .. } => {
                let its = guards.level1(address, value).map(|(guard, _)| guard.its);
                (its, "level1", address)
            }
            _ => continue,
        };
        let Some(its) = its.filter(|its| !held.contains(&LockName::Its(*its))) else {
            continue;
        };
        let seen = format!("written while EL2 holds {held:?}");
        let path = format!("its{its}: {address:#x}");
        findings.push(Finding::broken(&rules::EL2_HELD, class, path, seen));
        return;
    }
}

/// Sections under the memory lock in which pages were pinned, and unpinned, for one command.
#[derive(Default)]
struct Sections {
    pinned: Option<u32>,
    unpinned: Option<u32>,
}

/// The first command whose pages change hands in two sections. A command is judged, or taken as
/// consumed, from the copy of it to the copy of another; what a failure takes back again lies in
/// the section of its pins.
fn torn(events: &[Event], findings: &mut Vec<Finding>) {
    let mut section = 0;
    let mut own = Sections::default();
    for event in events {
        let (change, pages) = match *event {
            Event::Acquired(LockName::Memory) => {
                section += 1;
                continue;
            }
            Event::CommandRead { .. } => {
                own = Sections::default();
                continue;
            }
            Event::Page { change, pages, .. } => (change, pages),
            _ => continue,
        };
        let (first, class) = match change {
            PageChange::Pin => (&mut own.pinned, "borrowed"),
            PageChange::Unpin if own.pinned == Some(section) => continue,
            PageChange::Unpin => (&mut own.unpinned, "given back"),
            _ => continue,
        };
        if *first.get_or_insert(section) == section {
            continue;
        }
        let path = format!("page {:#x}", pages.first);
        let seen = "the memory lock was free in between";
        findings.push(Finding::broken(&rules::EL2_SECTION, class, path, seen));
        return;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::guards::tests::{ITS, LEVEL1, QUEUE, guards};
    use its_gic::geometry::Pages;
    use its_machine::{AccessSize, Outcome};

    fn told(events: &[Event]) -> Vec<(&'static str, &'static str)> {
        let mut findings = Vec::new();
        let action = Action::Load { cpu: 0, address: 0 };
        let step = Step { action: &action, outcome: Outcome::Done, events };
        judge(&step, &guards(), &mut findings);
        let ids = findings.iter().map(|breach| (breach.rule.id, breach.class));
        ids.collect()
    }

    #[test]
    fn an_its_is_written_under_its_lock() {
        let lock = LockName::Its(0);
        let slot = Event::CommandWritten { address: QUEUE, words: [0; 4] };
        let entry = Event::WordWritten { address: LEVEL1, value: 1 << 63, shared: false };
        let cwriter =
            Event::DeviceWrite { address: ITS + 0x88, size: AccessSize::Double, value: 0 };
        let held = |event| [Event::Acquired(lock), event, Event::Released(lock)];
        let late = |event| [Event::Acquired(lock), Event::Released(lock), event];
        for (event, class) in [(slot, "slot"), (entry, "level1"), (cwriter, "register")] {
            assert!(told(&held(event)).is_empty());
            assert_eq!(told(&late(event)), [("EL2-HELD", class)]);
            let other = [Event::Acquired(LockName::Its(1)), event];
            assert_eq!(told(&other), [("EL2-HELD", class)]);
        }
        // A redistributor has no lock.
        let elsewhere =
            Event::DeviceWrite { address: 0x080a_0000, size: AccessSize::Word, value: 0 };
        assert!(told(&[elsewhere]).is_empty());
    }

    const TAKE: Event = Event::Acquired(LockName::Memory);
    const GIVE: Event = Event::Released(LockName::Memory);
    const COPY: Event = Event::CommandRead { address: 0, words: [0; 4], shared: true };

    fn page(change: PageChange, first: u64) -> Event {
        Event::Page { change, pages: Pages { first, count: 1 }, result: Ok(()) }
    }

    #[test]
    fn one_itt_changes_hands_in_one_section() {
        use PageChange::{Pin, Unpin};
        let (one, two) = (page(Pin, 1), page(Pin, 2));
        assert!(told(&[COPY, TAKE, one, two, GIVE]).is_empty());
        assert!(told(&[COPY, TAKE, one, GIVE, COPY, TAKE, two, GIVE]).is_empty());
        let torn = [COPY, TAKE, one, GIVE, TAKE, two, GIVE];
        assert_eq!(told(&torn), [("EL2-SECTION", "borrowed")]);
        // A stalled command that is replaced: the new ITT is taken, then the old one is given back.
        let (back, rest) = (page(Unpin, 3), page(Unpin, 4));
        let replaced = [COPY, TAKE, one, two, GIVE, TAKE, back, rest, GIVE];
        assert!(told(&replaced).is_empty());
        let undone = [COPY, TAKE, one, page(Unpin, 1), GIVE];
        assert!(told(&undone).is_empty());
        let torn = [COPY, TAKE, back, GIVE, TAKE, rest, GIVE];
        assert_eq!(told(&torn), [("EL2-SECTION", "given back")]);
    }
}
