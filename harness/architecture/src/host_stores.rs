//! What the host stored and did not clean, on a board that keeps it in caches: no device sees it
//! until its line arrives in memory.

use std::ops::Range;

use its_gic::geometry::CACHE_LINE_BYTES;

use crate::Architecture;

impl Architecture {
    /// Follows a store of words by the host.
    pub fn host_store(&mut self, address: u64, words: &[u64]) {
        if !self.machine.coherence.caches_host() {
            return self.store(address, words);
        }
        let words = words.iter().zip((address..).step_by(8));
        self.uncleaned.extend(words.map(|(word, at)| (at, *word)));
    }

    /// The lines that hold these bytes arrive in memory: somebody cleans them, or they leave the
    /// cache.
    pub fn lines_arrive(&mut self, address: u64, bytes: u64) {
        let end = address.saturating_add(bytes).next_multiple_of(CACHE_LINE_BYTES);
        for (at, word) in self.take_uncleaned(address & !(CACHE_LINE_BYTES - 1)..end) {
            self.store(at, &[word]);
        }
    }

    /// Returns the word at an address that is a multiple of 8, as CPUs see it.
    pub(crate) fn latest(&self, address: u64) -> u64 {
        self.uncleaned.get(&address).copied().unwrap_or_else(|| self.memory.word(address))
    }

    /// Somebody else stores to these bytes.
    pub(crate) fn forget_uncleaned(&mut self, address: u64, bytes: u64) {
        self.take_uncleaned(address..address.saturating_add(bytes));
    }

    /// Returns whether the host stored to some of these bytes and they did not arrive in memory.
    pub fn has_uncleaned(&self, address: u64, bytes: u64) -> bool {
        self.uncleaned.range(address..address.saturating_add(bytes)).next().is_some()
    }

    /// Returns the words of a range and forgets that they are in caches alone.
    fn take_uncleaned(&mut self, range: Range<u64>) -> Vec<(u64, u64)> {
        if self.uncleaned.is_empty() {
            return Vec::new();
        }
        let taken: Vec<_> = self.uncleaned.range(range).map(|(at, word)| (*at, *word)).collect();
        taken.iter().for_each(|(at, _)| {
            self.uncleaned.remove(at);
        });
        taken
    }
}

#[cfg(test)]
mod tests {
    use its_machine::{Action, Event, Machine, Outcome};

    use crate::testing::*;

    type World = crate::testing::World<crate::Architecture>;

    const LINE: u64 = FREE << 12;
    const CLEAN: Action = Action::Clean { cpu: 0, address: LINE + 48, bytes: 8 };

    fn world(cached: bool) -> World {
        let mut machine: Machine = machine();
        machine.coherence.host_stores_cached = cached;
        World::new(machine)
    }

    /// What a CPU sees at two words of a line, and what a device does.
    fn seen(world: &World) -> [(u64, u64); 2] {
        let hardware = &world.model;
        [LINE, LINE + 8].map(|at| (hardware.latest(at), hardware.word(at)))
    }

    #[test]
    fn a_store_of_the_host_arrives_with_its_line() {
        let mut world = world(true);
        world.stores(LINE, 1);
        assert_eq!(seen(&world), [(1, 0), (0, 0)]);
        world.agree(Action::Clean { cpu: 0, address: LINE + 64, bytes: 8 }, DONE, &[]);
        world.agree(CLEAN, Outcome::Refused, &[]);
        assert_eq!(seen(&world), [(1, 0), (0, 0)]);
        world.agree(CLEAN, DONE, &[]);
        assert_eq!(seen(&world), [(1, 1), (0, 0)]);
        world.stores(LINE, 2);
        world.agree(Action::WriteBack { address: LINE + 56 }, DONE, &[]);
        assert_eq!(seen(&world), [(2, 2), (0, 0)]);
    }

    #[test]
    fn what_el2_does_to_the_line_counts() {
        let time = Action::Advance { its: 0, commands: 1 };
        let mut world = world(true);
        // EL2's store takes the place of the host's, and its clean that of the host's.
        world.stores(LINE, 1);
        world.stores(LINE + 8, 1);
        let written = Event::WordWritten { address: LINE, value: 3, shared: true };
        world.agree(time, DONE, &[written, Event::Cleaned { address: LINE, bytes: 8 }]);
        assert_eq!(seen(&world), [(3, 3), (1, 1)]);
        world.stores(LINE, 4);
        world.agree(time, DONE, &[Event::PageZeroed { page: FREE }]);
        assert_eq!(seen(&world), [(0, 0), (0, 0)]);
    }

    #[test]
    fn it_is_seen_at_once_where_nothing_keeps_it() {
        let mut world = world(false);
        world.stores(LINE, 1);
        assert_eq!(seen(&world), [(1, 1), (0, 0)]);
    }
}
