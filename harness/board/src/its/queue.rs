//! The command queue: whether there is a command to fetch, and how many are worked through when.

use core::num::NonZeroU16;

use its_gic::Command;
use its_gic::geometry::Queue;
use its_machine::freedom::choice::{CwriterBeyond, OnError};
use its_machine::{Event, Pace};

use super::{Bus, PhysicalIts};

impl PhysicalIts {
    /// The offset up to which there are commands; `None` while CWRITER lies beyond the queue and
    /// nothing is taken for it.
    fn end(&self) -> Option<u64> {
        let bytes = Queue::new(self.cbaser).bytes;
        match self.choices().get() {
            _ if self.cwriter < bytes => Some(self.cwriter),
            CwriterBeyond::Stop => None,
            CwriterBeyond::Wrap => Some(self.cwriter % bytes),
        }
    }

    pub(super) fn has_work(&self) -> bool {
        self.enabled
            && self.cbaser.valid()
            && !self.stalled
            && self.creadr < Queue::new(self.cbaser).bytes
            && self.end().is_some_and(|end| end != self.creadr)
    }

    /// Whether it can have work left when an access completes.
    pub(super) fn is_slow(&self) -> bool {
        self.configuration.pace != Pace::AtOnce
    }

    /// Works for as long as its pace allows after a write that may have given it work.
    pub(super) fn settle(&mut self, bus: &mut Bus) {
        if !self.is_slow() {
            self.advance(u16::MAX, bus);
        }
    }

    /// A slow ITS works on after it was talked to.
    pub(super) fn idle(&mut self, bus: &mut Bus) {
        if self.configuration.pace == Pace::Late {
            self.advance(1, bus);
        }
    }

    pub(crate) fn advance(&mut self, commands: u16, bus: &mut Bus) {
        if self.stopping && commands > 0 {
            self.stopped(bus);
        }
        for _ in 0..commands {
            if !self.has_work() {
                return;
            }
            self.step(bus);
        }
    }

    /// Counts a command that was fetched. Whether the scenario wants the ITS to stall at it.
    fn is_to_stall(&mut self) -> bool {
        let left = self.stall_at.take();
        self.stall_at = left.and_then(|left| NonZeroU16::new(left.get() - 1));
        left.is_some() && self.stall_at.is_none()
    }

    /// Fetches the command at CREADR and executes it. The queue is not empty.
    fn step(&mut self, bus: &mut Bus) {
        let queue = Queue::new(self.cbaser);
        let offset = self.creadr;
        let snooping = bus.machine.coherence.queue;
        let words = [0, 8, 16, 24].map(|byte| bus.fetch_by(snooping, queue.slot(offset) + byte));
        let its = self.index;
        if self.is_to_stall() {
            self.stalled = true;
            bus.events.push(Event::Stalled { its, offset, words, error: None });
            return;
        }
        let result = self.execute(Command::decode(words), words[0] as u8, bus);
        match result {
            Err(error) if self.choices().picks(OnError::Stall) => {
                self.stalled = true;
                bus.events.push(Event::Stalled { its, offset, words, error: Some(error) });
            }
            result => {
                self.creadr = queue.after(offset);
                bus.events.push(Event::Consumed { its, offset, words, error: result.err() });
            }
        }
    }
}
