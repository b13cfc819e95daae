//! What happened to the command queue in a write, found from its registers before and after.
//!
//! QEMU works through the queue inside of the writes to GITS_CTLR and GITS_CWRITER
//! (`hw/intc/arm_gicv3_its.c`: process_cmdq). Whether a command that went past was in error cannot
//! be seen.

use std::collections::HashMap;

use its_gic::command::{COMMAND_BYTES, Words};
use its_gic::geometry::Queue;
use its_gic::{Cbaser, Creadr, Cwriter};
use its_machine::{CommandError, Event};

/// What a write may do to the queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Effect {
    Nothing,
    /// Its registers may change; no command is taken.
    Moved,
    /// GITS_CTLR.Enabled is written.
    Switched {
        on: bool,
    },
    /// GITS_CWRITER's low half is written.
    Submitted {
        cwriter: u64,
    },
}

/// The words that the host stored; all others are zero.
#[derive(Debug, Default)]
pub(crate) struct Stored(HashMap<u64, u64>);

impl Stored {
    pub(crate) fn clear(&mut self) {
        self.0.clear();
    }

    pub(crate) fn store(&mut self, address: u64, words: &[u64]) {
        let addresses = (0..).map(|index| address + index * 8);
        self.0.extend(addresses.zip(words.iter().copied()));
    }

    fn command(&self, address: u64) -> Words {
        let word = |index: u64| address.wrapping_add(index * 8);
        [0, 1, 2, 3].map(|index| self.0.get(&word(index)).copied().unwrap_or(0))
    }
}

/// What is known of the queue between two writes.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct QueueState {
    enabled: bool,
    cbaser: Cbaser,
    cwriter: Cwriter,
    creadr: Creadr,
}

impl QueueState {
    /// Takes GITS_CBASER, GITS_CWRITER and GITS_CREADR as they are after a write in which no
    /// command was taken.
    pub(crate) fn moved(&mut self, [cbaser, cwriter, creadr]: [u64; 3]) {
        self.cbaser = Cbaser::from_bits(cbaser);
        self.cwriter = Cwriter::from_bits(cwriter);
        self.creadr = Creadr::from_bits(creadr);
    }

    /// Takes GITS_CREADR as it is after GITS_CTLR.Enabled was written, and returns what happened in
    /// that write.
    pub(crate) fn switched(&mut self, on: bool, creadr: u64, stored: &Stored) -> Vec<Event> {
        self.enabled = on;
        self.ran(Creadr::from_bits(creadr), stored)
    }

    /// Takes GITS_CREADR as it is after the low half of GITS_CWRITER was written, and returns what
    /// happened in that write.
    pub(crate) fn submitted(&mut self, cwriter: u64, creadr: u64, stored: &Stored) -> Vec<Event> {
        self.cwriter = Cwriter::from_bits(cwriter);
        self.ran(Creadr::from_bits(creadr), stored)
    }

    /// QEMU's Stalled stays 1 while any write of GITS_CWRITER makes it go on, so a stall after a
    /// stall is one that left CREADR short of CWRITER.
    fn ran(&mut self, now: Creadr, stored: &Stored) -> Vec<Event> {
        let mut events = Vec::new();
        if self.enabled {
            self.taken(now, stored, &mut events);
            self.stalled(now, stored, &mut events);
        }
        self.creadr = now;
        events
    }

    fn taken(&self, now: Creadr, stored: &Stored, events: &mut Vec<Event>) {
        let queue = Queue::new(self.cbaser);
        let mut offset = self.creadr.offset();
        for _ in 0..queue.bytes / COMMAND_BYTES {
            if offset == now.offset() {
                return;
            }
            let words = stored.command(queue.slot(offset));
            events.push(Event::Taken { its: 0, offset, words });
            offset = queue.after(offset);
        }
    }

    fn stalled(&self, now: Creadr, stored: &Stored, events: &mut Vec<Event>) {
        let queue = Queue::new(self.cbaser);
        let offset = now.offset();
        let wanted = self.cwriter.offset();
        let again = offset != wanted && wanted < queue.bytes;
        if now.stalled() && (again || !self.creadr.stalled()) {
            events.push(Event::Stalled {
                its: 0,
                offset,
                words: stored.command(queue.slot(offset)),
                error: Some(CommandError(None)),
            });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const QUEUE: u64 = 0x8000_0000;
    const CBASER: u64 = Cbaser::VALID | QUEUE;

    fn taken(offset: u64, words: Words) -> Event {
        Event::Taken { its: 0, offset, words }
    }

    fn stalled(offset: u64) -> Event {
        Event::Stalled { its: 0, offset, words: [0; 4], error: Some(CommandError(None)) }
    }

    #[test]
    fn commands_are_taken_when_it_runs() {
        let mut stored = Stored::default();
        stored.store(QUEUE + 0xfe0, &[1, 2, 3, 4]);
        let mut queue = QueueState::default();
        // Software wrote CREADR, which QEMU lets it.
        queue.moved([CBASER, 0, 0xfe0]);
        assert_eq!(queue.submitted(0x20, 0xfe0, &stored), []);
        let both = [taken(0xfe0, [1, 2, 3, 4]), taken(0, [0; 4])];
        assert_eq!(queue.switched(true, 0x20, &stored), both);
        assert_eq!(queue.submitted(0x20, 0x20, &stored), []);
        // No offset of the queue.
        assert_eq!(queue.submitted(0x20, 0x1000, &stored).len(), 128);
    }

    #[test]
    fn stalls_are_reported_once_each() {
        let stored = Stored::default();
        let mut queue = QueueState::default();
        queue.moved([CBASER, 0, 0]);
        assert_eq!(queue.switched(true, 0, &stored), []);
        let first = [taken(0, [0; 4]), stalled(0x20)];
        assert_eq!(queue.submitted(0x60, 0x21, &stored), first);
        assert_eq!(queue.submitted(0x60, 0x21, &stored), [stalled(0x20)]);
        assert_eq!(queue.switched(true, 0x21, &stored), [stalled(0x20)]);
        assert_eq!(queue.submitted(0x2000, 0x21, &stored), []);
        let rest = [taken(0x20, [0; 4]), taken(0x40, [0; 4])];
        assert_eq!(queue.submitted(0x60, 0x61, &stored), rest);
        assert_eq!(queue.switched(false, 0x61, &stored), []);
    }
}
