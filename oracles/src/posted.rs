//! EL2-POSTED: what EL2 reads of the host's queue lies from CREADR to what the host wrote to
//! CWRITER.
//!
//! C is what the last look of EL2 took, J what EL2 wrote to the hardware's CWRITER. Which of
//! several writes of CPUs that race is the last is not known here: then each counts.

use std::collections::BTreeMap;

use its_gic::register::OFFSET_MASK;
use its_gic::{Part, Register};
use its_machine::{Action, Direction, Event};

use crate::guards::{Guard, Guards};
use crate::{Finding, rules};

/// One queue.
#[derive(Clone, Debug, Default)]
struct Place {
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

/// The oracle over one case.
#[derive(Clone, Debug, Default)]
pub(crate) struct Posted {
    places: BTreeMap<u8, Place>,
}

impl Posted {
    /// An ITS is guarded: its queue is empty (S8), at this offset.
    pub(crate) fn guard(&mut self, its: u8, creadr: u64) {
        let at = creadr & OFFSET_MASK;
        let place = Place { seen: at, c: at, j: at, writers: vec![at], offered: Vec::new() };
        self.places.insert(its, place);
    }

    /// Judges what these actions did, which came one after another or at once.
    pub(crate) fn judge(
        &mut self,
        actions: &[Action],
        events: &[Event],
        guards: &Guards,
        findings: &mut Vec<Finding>,
    ) {
        for place in self.places.values_mut() {
            place.offered.clear();
        }
        let alone = match actions {
            [only] => cwriter_write(only, guards),
            _ => None,
        };
        let before = alone.and_then(|(its, ..)| self.places.get(&its).cloned());
        for action in actions {
            self.offer(action, guards);
        }
        for event in events {
            self.follow(event, guards, findings);
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
        let Some(place) = self.places.get_mut(&its) else {
            return;
        };
        for old in place.writers.clone() {
            let offset = part.insert(old, value) & OFFSET_MASK;
            if offset >= bytes {
                continue;
            }
            for known in [&mut place.offered, &mut place.writers] {
                if !known.contains(&offset) {
                    known.push(offset);
                }
            }
        }
    }

    fn follow(&mut self, event: &Event, guards: &Guards, findings: &mut Vec<Finding>) {
        let (address, value, written) = match *event {
            Event::DeviceRead { address, value, .. } => (address, value, false),
            Event::DeviceWrite { address, value, .. } => (address, value, true),
            Event::CommandRead { address, shared: true, .. } => {
                return self.copied(address, guards, findings);
            }
            _ => return,
        };
        let Some((its, register)) = guards.register(address) else {
            return;
        };
        let Some(place) = self.places.get_mut(&its) else {
            return;
        };
        match (register, written) {
            (Register::Creadr, false) => place.seen = value & OFFSET_MASK,
            (Register::Ctlr, false) if value & 1 != 0 => place.c = place.seen,
            (Register::Cwriter, true) => place.j = value & OFFSET_MASK,
            (Register::Cbaser, true) => {
                (place.seen, place.c, place.j) = (0, 0, 0);
                place.writers.clone_from(&place.offered);
                if !place.writers.contains(&0) {
                    place.writers.push(0);
                }
            }
            _ => {}
        }
    }

    fn copied(&self, address: u64, guards: &Guards, findings: &mut Vec<Finding>) {
        let mut copies = guards.posted(address).peekable();
        let Some(&(guard, offset)) = copies.peek() else {
            return;
        };
        if copies.any(|(guard, offset)| self.is_posted(guard, offset)) {
            return;
        }
        let path = format!("its{}.slot {offset:#x}", guard.its);
        let seen = format!("{:x?}", self.places.get(&guard.its));
        findings.push(Finding::broken(&rules::EL2_POSTED, "not-posted", path, seen));
    }

    fn is_posted(&self, guard: &Guard, offset: u64) -> bool {
        let queue = guard.queue();
        self.places.get(&guard.its).is_none_or(|place| {
            let ahead = |to| queue.distance(place.c, to);
            let mut writers = place.writers.iter();
            writers.any(|writer| ahead(offset) < ahead(*writer))
        })
    }

    /// P11: a write from C to before J is ignored; any other is what CWRITER is now.
    fn settle(&mut self, (its, part, value): (u8, Part, u64), old: &Place, guards: &Guards) {
        let (Some(place), Some(guard)) = (self.places.get_mut(&its), guards.of(its)) else {
            return;
        };
        let ([writer], queue) = (&old.writers[..], guard.queue()) else {
            return;
        };
        let offset = part.insert(*writer, value) & OFFSET_MASK;
        let judged = queue.distance(place.c, offset) < queue.distance(place.c, old.j);
        let accepted = offset < queue.bytes && !judged;
        place.writers = vec![if accepted { offset } else { *writer }];
    }
}

/// A write of the host to a guarded ITS's CWRITER: which bits, and what.
fn cwriter_write(action: &Action, guards: &Guards) -> Option<(u8, Part, u64)> {
    let Action::Device { address, size, direction: Direction::Write(value), .. } = *action else {
        return None;
    };
    let (its, register) = guards.register(address)?;
    let base = guards.machine.its.get(usize::from(its))?;
    let (_, part) = Register::select(address.wrapping_sub(*base), size.bytes())?;
    (register == Register::Cwriter).then_some((its, part, value))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::guards::tests::{COPY, ITS, guards};
    use its_machine::AccessSize;

    fn post(value: u64) -> Action {
        Action::Device {
            cpu: 0,
            address: ITS + 0x88,
            size: AccessSize::Double,
            direction: Direction::Write(value),
        }
    }

    const LOAD: Action = Action::Load { cpu: 0, address: 0 };

    fn copied(offset: u64) -> Event {
        Event::CommandRead { address: COPY + offset, words: [0; 4], shared: true }
    }

    fn look(creadr: u64, enabled: u64) -> [Event; 2] {
        [(0x90, creadr), (0, enabled)].map(|(offset, value)| Event::DeviceRead {
            address: ITS + offset,
            size: AccessSize::Double,
            value,
        })
    }

    fn told(posted: &mut Posted, actions: &[Action], events: &[Event]) -> usize {
        let mut findings = Vec::new();
        posted.judge(actions, events, &guards(), &mut findings);
        findings.len()
    }

    fn guarded() -> Posted {
        let mut posted = Posted::default();
        posted.guard(0, 0x80);
        posted
    }

    #[test]
    fn slots_are_copied_once_they_are_posted() {
        let mut posted = guarded();
        assert_eq!(told(&mut posted, &[post(0xc0)], &[copied(0x80), copied(0xa0)]), 0);
        assert_eq!(told(&mut posted, &[post(0xe0)], &[copied(0xc0), copied(0xe0)]), 1);
        // Behind CREADR, which a look took; one of an ITS that is off counts for nothing.
        let [creadr, off] = look(0xc0, 0);
        assert_eq!(told(&mut posted, &[post(0xe0)], &[creadr, off, copied(0xa0)]), 0);
        let [creadr, on] = look(0xc0, 1);
        assert_eq!(told(&mut posted, &[post(0xe0)], &[creadr, on, copied(0xa0)]), 1);
    }

    #[test]
    fn an_ignored_writer_posts_nothing() {
        let mut posted = guarded();
        let forwarded =
            Event::DeviceWrite { address: ITS + 0x88, size: AccessSize::Double, value: 0xe0 };
        told(&mut posted, &[post(0xe0)], &[forwarded]);
        told(&mut posted, &[post(0xa0)], &[]);
        told(&mut posted, &[post(0xf_0000)], &[]);
        assert_eq!(posted.places[&0].writers, [0xe0]);
    }

    #[test]
    fn of_writers_that_race_each_counts() {
        let mut posted = guarded();
        let reset = Event::DeviceWrite { address: ITS + 0x80, size: AccessSize::Double, value: 0 };
        let first = copied(0);
        assert_eq!(told(&mut guarded(), &[post(0x40), LOAD], &[reset, first]), 0);
        assert_eq!(told(&mut guarded(), &[LOAD], &[reset, first]), 1);
        let both = [post(0xa0), post(0xc0)];
        assert_eq!(told(&mut posted, &both, &[copied(0x80), copied(0xa0)]), 0);
        assert_eq!(told(&mut posted, &both, &[copied(0xc0)]), 1);
    }
}
