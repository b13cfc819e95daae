//! What the host stored and did not clean, on a board that keeps it in caches: no device sees it
//! until its line arrives in memory.

use std::ops::Range;

use its_gic::geometry::PAGE_BYTES;

use crate::Architecture;

/// Bytes of a cache line.
const LINE: u64 = 64;

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
        let end = address.saturating_add(bytes).next_multiple_of(LINE);
        for (at, word) in self.take_uncleaned(address & !(LINE - 1)..end) {
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

    pub(crate) fn forget_uncleaned_page(&mut self, page: u64) {
        self.forget_uncleaned(page.wrapping_mul(PAGE_BYTES), PAGE_BYTES);
    }

    /// The words of a range, which are no longer in caches alone.
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
