//! What was written to memory by host and EL2, in granules of 32 bytes: the size of a command.

use std::collections::BTreeMap;

use its_gic::command::Words;
use its_gic::geometry::PAGE_BYTES;

const GRANULE: u64 = 32;

/// Memory as written; everything else is zero. What devices write is not here.
#[derive(Clone, Debug, Default)]
pub(crate) struct Memory {
    granules: BTreeMap<u64, Words>,
}

impl Memory {
    /// The command at a 32-byte aligned address.
    pub(crate) fn command(&self, address: u64) -> Words {
        let granule = self.granules.get(&(address / GRANULE));
        granule.copied().unwrap_or_default()
    }

    /// The word at an 8-byte aligned address.
    pub(crate) fn word(&self, address: u64) -> u64 {
        self.command(address)[place(address)]
    }

    /// The byte at any address.
    pub(crate) fn byte(&self, address: u64) -> u8 {
        (self.word(address & !7) >> (8 * (address & 7))) as u8
    }

    pub(crate) fn write_word(&mut self, address: u64, value: u64) {
        self.granules.entry(address / GRANULE).or_default()[place(address)] = value;
    }

    pub(crate) fn zero_page(&mut self, page: u64) {
        let first = page.wrapping_mul(PAGE_BYTES) / GRANULE;
        let end = first + PAGE_BYTES / GRANULE;
        while let Some((granule, _)) = self.granules.range(first..end).next() {
            let granule = *granule;
            self.granules.remove(&granule);
        }
    }

    /// Address and value of the words that are not zero among `bytes` at `address` (both multiples
    /// of 8).
    pub(crate) fn words(&self, address: u64, bytes: u64) -> impl Iterator<Item = (u64, u64)> {
        let end = address.saturating_add(bytes);
        let granules = address / GRANULE..end.div_ceil(GRANULE);
        let all = self.granules.range(granules).flat_map(|(granule, words)| {
            let start = granule * GRANULE;
            (0..4).zip(words).map(move |(index, word)| (start + 8 * index, *word))
        });
        all.filter(move |(at, word)| *word != 0 && *at >= address && *at < end)
    }

    /// Whether all of those are zero.
    pub(crate) fn is_zero(&self, address: u64, bytes: u64) -> bool {
        self.words(address, bytes).next().is_none()
    }
}

fn place(address: u64) -> usize {
    (address % GRANULE / 8) as usize
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_commands_and_pages() {
        let mut memory = Memory::default();
        for (address, word) in [(0x1020, 1), (0x1028, 2), (0x1030, 3), (0x1038, 4)] {
            memory.write_word(address, word);
        }
        memory.write_word(0x1030, 7);
        assert_eq!(memory.command(0x1020), [1, 2, 7, 4]);
        assert_eq!((memory.word(0x1038), memory.word(0x1040)), (4, 0));
        assert!(memory.is_zero(0x1000, 0x20) && memory.is_zero(0x1040, 0x1000));
        assert!(!memory.is_zero(0x1000, 0x28) && !memory.is_zero(0x1038, 8));
        memory.write_word(0x2000, 9);
        memory.zero_page(1);
        assert!(memory.is_zero(0, 0x2000) && memory.word(0x2000) == 9);
    }
}
