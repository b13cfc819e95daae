//! PTR-COMMAND: an ITS consumes no command that EL2 did not write to its slot since the slot was
//! last consumed.

use std::collections::{BTreeMap, BTreeSet};

use its_gic::command::COMMAND_BYTES;
use its_gic::register::OFFSET_MASK;
use its_gic::{Cbaser, Register};
use its_machine::{Event, View};

use crate::guards::{Guard, Guards};
use crate::{Finding, rules};

/// The slots of each guarded ITS whose command was not consumed since it was written, as offsets.
/// An ITS whose queue is not where set-up found it is not in it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Slots(BTreeMap<u8, Written>);

#[derive(Clone, Debug)]
struct Written {
    slots: BTreeSet<u64>,
    /// The slot that the ITS takes next.
    next: u64,
}

impl Slots {
    /// An ITS is guarded: what its host submitted until then is not consumed yet.
    pub(crate) fn guard(&mut self, guard: &Guard, view: &impl View) {
        let register = |of| view.register(guard.its, of);
        let queue = guard.queue();
        if Cbaser::from_bits(register(Register::Cbaser)).page_number() != guard.cbaser.page_number()
        {
            return;
        }
        let [creadr, cwriter] = [guard.creadr, guard.cwriter].map(|read| read & OFFSET_MASK);
        let submitted = queue.distance(creadr, cwriter);
        let ahead = |slot: &u64| queue.distance(creadr, *slot) < submitted;
        let slots = (0..queue.bytes).step_by(COMMAND_BYTES as usize);
        let slots = slots.filter(ahead).collect();
        self.0.insert(guard.its, Written { slots, next: creadr });
    }

    /// An ITS was set up in a race. What EL2 wrote for it before is not known.
    pub(crate) fn forget(&mut self, its: u8) {
        self.0.remove(&its);
    }

    /// Judges what ITSs consumed, in the order of happening.
    pub(crate) fn judge(&mut self, events: &[Event], guards: &Guards, findings: &mut Vec<Finding>) {
        for (index, event) in events.iter().enumerate() {
            match *event {
                Event::CommandWritten { address, .. } | Event::WordWritten { address, .. } => {
                    self.write(address, guards);
                }
                Event::Consumed { its, offset, .. } => {
                    findings.extend(self.take((its, offset), index));
                    if let (Some(written), Some(guard)) = (self.0.get_mut(&its), guards.of(its)) {
                        written.slots.remove(&offset);
                        written.next = guard.queue().after(offset);
                    }
                }
                Event::DeviceWrite { address, value, .. } => {
                    self.submit(address, value & OFFSET_MASK, guards);
                }
                // It will be taken again.
                Event::Stalled { its, offset, .. } => {
                    findings.extend(self.take((its, offset), index));
                }
                _ => {}
            }
        }
    }

    /// EL2 writes CWRITER: what it wrote beyond counts no more. CBASER starts the queue again.
    fn submit(&mut self, address: u64, offset: u64, guards: &Guards) {
        let Some((its, register)) = guards.register(address) else {
            return;
        };
        let (Some(written), Some(guard)) = (self.0.get_mut(&its), guards.of(its)) else {
            return;
        };
        match register {
            Register::Cbaser => written.next = 0,
            Register::Cwriter => {
                let ahead = |to| guard.queue().distance(written.next, to);
                written.slots.retain(|slot| ahead(*slot) < ahead(offset));
            }
            _ => {}
        }
    }

    /// An ITS takes a command from a slot.
    fn take(&self, (its, offset): (u8, u64), event: usize) -> Option<Finding> {
        if self.0.get(&its)?.slots.contains(&offset) {
            return None;
        }
        let path = format!("its{its}.slot {offset:#x}");
        let seen = "nothing was written there since";
        Some(Finding::broken(&rules::PTR_COMMAND, "old", path, seen).by(event))
    }

    fn write(&mut self, address: u64, guards: &Guards) {
        let Some(guard) = guards.slot(address) else {
            return;
        };
        if let Some(written) = self.0.get_mut(&guard.its) {
            written.slots.insert((address - guard.queue().address) & !(COMMAND_BYTES - 1));
        }
    }
}

#[cfg(test)]
mod tests {
    use its_machine::CommandError;

    use super::*;
    use crate::testing::{QUEUE, guards, reported, slot, write};

    const TAKEN: Event = Event::Consumed { its: 0, offset: 0x20, words: [0; 4], error: None };

    fn is_broken(events: &[Event]) -> bool {
        let written = Written { slots: BTreeSet::new(), next: 0x20 };
        let mut slots = Slots(BTreeMap::from([(0, written)]));
        !reported(|findings| slots.judge(events, &guards(), findings)).is_empty()
    }

    #[test]
    fn a_command_is_taken_once_for_each_time_that_it_was_written() {
        let written = slot(QUEUE + 0x20);
        let stalled =
            Event::Stalled { its: 0, offset: 0x20, words: [0; 4], error: Some(CommandError(None)) };
        let word = Event::WordWritten { address: QUEUE + 0x38, value: 0, shared: false };
        for (events, broken) in [
            (&[written, TAKEN][..], false),
            (&[written, TAKEN, TAKEN], true),
            (&[written, stalled, stalled, TAKEN], false),
            (&[stalled], true),
            (&[word, TAKEN], false),
            (&[slot(QUEUE + 0x40), TAKEN], true),
            // CWRITER moves on, and back.
            (&[written, write(Register::Cwriter, 0x40), TAKEN], false),
            (&[written, write(Register::Cwriter, 0x20), TAKEN], true),
        ] {
            assert_eq!(is_broken(events), broken, "{events:?}");
        }
    }

    #[test]
    fn nothing_is_known_of_an_its_that_is_not_guarded() {
        let mut slots = Slots::default();
        let found = reported(|findings| slots.judge(&[TAKEN], &guards(), findings));
        assert!(found.is_empty(), "{found:?}");
    }
}
