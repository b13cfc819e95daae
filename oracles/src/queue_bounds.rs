//! EL2-POSTED: what EL2 copies of the host's queue lies from CREADR to what the host wrote to
//! CWRITER.
//!
//! C is what the last look of EL2 took, J what EL2 wrote to the hardware's CWRITER. Which of
//! several writes of CPUs that race is the last is not known here: then each counts.

use std::collections::BTreeMap;

use its_declaration::Resume;
use its_gic::register::OFFSET_MASK;
use its_gic::{Part, Register};
use its_machine::{Action, Direction, Event};

use crate::guards::{Guard, Guards};
use crate::{Finding, rules};

/// One queue: what EL2 knows of it, as offsets.
#[derive(Clone, Debug, Default)]
struct Queue {
    /// CREADR as read, until CTLR shows that it counts.
    seen: u64,
    c: u64,
    j: u64,
    /// What the host's CWRITER can be.
    writers: Vec<u64>,
    /// What the actions that are judged now write to it, before or after one of them resets the
    /// queue.
    offered: Vec<u64>,
}

#[derive(Clone, Debug, Default)]
pub(crate) struct QueueBounds {
    queues: BTreeMap<u8, Queue>,
}

impl QueueBounds {
    /// An ITS is guarded: its queue is empty (S8), at this offset.
    pub(crate) fn guard(&mut self, its: u8, creadr: u64) {
        let at = creadr & OFFSET_MASK;
        let queue = Queue { seen: at, c: at, j: at, writers: vec![at], offered: Vec::new() };
        self.queues.insert(its, queue);
    }

    /// Judges what these actions did, which came one after another or at once.
    pub(crate) fn judge(
        &mut self,
        actions: &[Action],
        events: &[Event],
        guards: &Guards,
        findings: &mut Vec<Finding>,
    ) {
        for queue in self.queues.values_mut() {
            queue.offered.clear();
        }
        let alone = match actions {
            [only] => cwriter_write(only, guards),
            _ => None,
        };
        let before = alone.and_then(|(its, ..)| self.queues.get(&its).cloned());
        for action in actions {
            self.offer(action, guards);
        }
        for (index, event) in events.iter().enumerate() {
            if let Some(finding) = self.follow(event, guards) {
                findings.push(finding.by(index));
            }
        }
        if let (Some(write), Some(before)) = (alone, before) {
            self.settle(write, &before, guards);
        }
    }

    /// The host writes CWRITER: it may be that from now on.
    fn offer(&mut self, action: &Action, guards: &Guards) {
        let Some((its, part, value)) = cwriter_write(action, guards) else {
            return;
        };
        let bytes = guards.of(its).map_or(0, |guard| guard.queue().bytes);
        let Some(queue) = self.queues.get_mut(&its) else {
            return;
        };
        for old in queue.writers.clone() {
            let offset = part.insert(old, value) & OFFSET_MASK;
            if offset >= bytes {
                continue;
            }
            for known in [&mut queue.offered, &mut queue.writers] {
                if !known.contains(&offset) {
                    known.push(offset);
                }
            }
        }
    }

    fn follow(&mut self, event: &Event, guards: &Guards) -> Option<Finding> {
        let (address, value, written) = match *event {
            Event::DeviceRead { address, value, .. } => (address, value, false),
            Event::DeviceWrite { address, value, .. } => (address, value, true),
            Event::CommandRead { address, shared: true, .. } => {
                return self.copied(address, guards);
            }
            _ => return None,
        };
        let (its, register) = guards.register(address)?;
        let queue = self.queues.get_mut(&its)?;
        match (register, written) {
            (Register::Creadr, false) => queue.seen = value & OFFSET_MASK,
            (Register::Ctlr, false) if value & 1 != 0 => queue.c = queue.seen,
            (Register::Cwriter, true) => queue.j = value & OFFSET_MASK,
            (Register::Cbaser, true) => {
                (queue.seen, queue.c, queue.j) = (0, 0, 0);
                if !writes_cbaser_late(guards) {
                    queue.writers.clone_from(&queue.offered);
                }
                if !queue.writers.contains(&0) {
                    queue.writers.push(0);
                }
            }
            _ => {}
        }
        None
    }

    fn copied(&self, address: u64, guards: &Guards) -> Option<Finding> {
        let mut copies = guards.queue_copies(address).peekable();
        let &(guard, offset) = copies.peek()?;
        if copies.any(|(guard, offset)| self.is_between(guard, offset)) {
            return None;
        }
        let path = format!("its{}.slot {offset:#x}", guard.its);
        let seen = self.queues.get(&guard.its).map_or(String::new(), |queue| {
            format!("CREADR {:#x}, CWRITER one of {:x?}", queue.c, queue.writers)
        });
        Some(Finding::broken(&rules::EL2_POSTED, "not-submitted", path, seen))
    }

    /// Whether an offset lies from CREADR to the host's CWRITER.
    fn is_between(&self, guard: &Guard, offset: u64) -> bool {
        self.queues.get(&guard.its).is_none_or(|queue| {
            let ahead = |to| guard.queue().distance(queue.c, to);
            queue.writers.iter().any(|writer| ahead(offset) < ahead(*writer))
        })
    }

    /// P11: a write from C to before J is ignored; any other is what CWRITER is now.
    fn settle(&mut self, (its, part, value): (u8, Part, u64), old: &Queue, guards: &Guards) {
        let (Some(queue), Some(guard)) = (self.queues.get_mut(&its), guards.of(its)) else {
            return;
        };
        let [writer] = &old.writers[..] else {
            return;
        };
        let offset = part.insert(*writer, value) & OFFSET_MASK;
        let ahead = |to| guard.queue().distance(queue.c, to);
        let accepted = offset < guard.queue().bytes && ahead(offset) >= ahead(old.j);
        // The host may have reset the queue before.
        if accepted || !writes_cbaser_late(guards) {
            queue.writers = vec![if accepted { offset } else { *writer }];
        }
    }
}

/// The point `resume`: whether EL2 writes CBASER to the hardware later than the host does to EL2.
fn writes_cbaser_late(guards: &Guards) -> bool {
    guards.declared.registers.resume == Resume::El2
}

/// A write of the host to a guarded ITS's CWRITER: which bits, and what.
fn cwriter_write(action: &Action, guards: &Guards) -> Option<(u8, Part, u64)> {
    let Action::Device { address, size, direction: Direction::Write(value), .. } = *action else {
        return None;
    };
    let (its, register) = guards.register(address)?;
    let base = guards.machine.its.get(usize::from(its))?;
    let offset = address.wrapping_sub(*base);
    let (_, part) = guards.declared.traps.select(offset, size.bytes())?;
    (register == Register::Cwriter).then_some((its, part, value))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{COPY, ITS, LOAD, copied, guards, read, reported, write};
    use its_machine::AccessSize;

    fn host_writes(value: u64) -> Action {
        let (size, direction) = (AccessSize::Double, Direction::Write(value));
        Action::Device { cpu: 0, address: ITS + 0x88, size, direction }
    }

    fn slot(offset: u64) -> Event {
        copied(COPY + offset)
    }

    fn is_broken(oracle: &mut QueueBounds, actions: &[Action], events: &[Event]) -> bool {
        !reported(|findings| oracle.judge(actions, events, &guards(), findings)).is_empty()
    }

    fn guarded() -> QueueBounds {
        let mut oracle = QueueBounds::default();
        oracle.guard(0, 0x80);
        oracle
    }

    #[test]
    fn slots_are_copied_up_to_cwriter() {
        let mut oracle = guarded();
        let (enabled, creadr) = (|on| read(Register::Ctlr, on), read(Register::Creadr, 0xc0));
        for (writer, events, broken) in [
            (0xc0, &[slot(0x80), slot(0xa0)][..], false),
            (0xe0, &[slot(0xc0), slot(0xe0)], true),
            // Behind CREADR, which a look took; one of an ITS that is off counts for nothing.
            (0xe0, &[creadr, enabled(0), slot(0xa0)], false),
            (0xe0, &[creadr, enabled(1), slot(0xa0)], true),
        ] {
            assert_eq!(is_broken(&mut oracle, &[host_writes(writer)], events), broken);
        }
    }

    #[test]
    fn an_ignored_write_leaves_cwriter() {
        let mut oracle = guarded();
        is_broken(&mut oracle, &[host_writes(0xe0)], &[write(Register::Cwriter, 0xe0)]);
        is_broken(&mut oracle, &[host_writes(0xa0)], &[]);
        is_broken(&mut oracle, &[host_writes(0xf_0000)], &[]);
        assert_eq!(oracle.queues[&0].writers, [0xe0]);
    }

    #[test]
    fn of_writers_that_race_each_counts() {
        let reset = [write(Register::Cbaser, 0), slot(0)];
        assert!(!is_broken(&mut guarded(), &[host_writes(0x40), LOAD], &reset));
        assert!(is_broken(&mut guarded(), &[LOAD], &reset));
        let mut oracle = guarded();
        let both = [host_writes(0xa0), host_writes(0xc0)];
        assert!(!is_broken(&mut oracle, &both, &[slot(0x80), slot(0xa0)]));
        assert!(is_broken(&mut oracle, &both, &[slot(0xc0)]));
    }
}
