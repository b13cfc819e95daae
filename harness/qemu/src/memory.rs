//! QEMU's memory, which is a file that it shares with us: read and cleared behind its back, between
//! its commands.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

use rustix::fs::{FallocateFlags, SeekFrom, fallocate, seek};
use rustix::io::Errno;

use crate::facts::{RAM, RAM_BYTES};

/// The most that is read at once.
const PIECE: u64 = 0x1_0000;

/// All of QEMU's memory. Pages that nobody touched are holes of the file.
#[derive(Debug)]
pub(crate) struct Memory {
    file: File,
}

impl Memory {
    /// Memory in this file, which becomes as long as it must.
    pub(crate) fn new(file: File) -> io::Result<Self> {
        file.set_len(RAM_BYTES)?;
        Ok(Self { file })
    }

    /// Fills everything with zeroes, by making it a hole, which QEMU sees too: the file is mapped
    /// and shared. What its loader put there is gone as well, which only a running CPU would miss.
    /// (Measured: 18 us after a case that touched a few dozen pages; writing zeroes over the pages
    /// that are no holes: 110 us.)
    pub(crate) fn clear(&self) -> io::Result<()> {
        let flags = FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE;
        match fallocate(&self.file, flags, 0, RAM_BYTES) {
            Err(Errno::OPNOTSUPP) => self.clear_without_holes(),
            done => Ok(done?),
        }
    }

    /// To the same effect, where holes cannot be punched. QEMU must not touch its memory meanwhile,
    /// and does not: it waits for commands.
    fn clear_without_holes(&self) -> io::Result<()> {
        self.file.set_len(0)?;
        self.file.set_len(RAM_BYTES)
    }

    /// Calls `each` with index and bytes of the entries of an array that are not all zero, in
    /// order. What lies outside of memory is as if it were zero.
    pub(crate) fn entries<const BYTES: usize>(
        &self,
        address: u64,
        count: u64,
        mut each: impl FnMut(u64, &[u8; BYTES]),
    ) -> io::Result<()> {
        let width = BYTES as u64;
        let Some(start) = address.checked_sub(RAM) else {
            return Ok(());
        };
        let count = count.min(RAM_BYTES.saturating_sub(start) / width);
        let mut buffer = Vec::new();
        let mut index = 0;
        while index < count {
            let Some((data, end)) = self.extent(start + index * width)? else {
                break;
            };
            index = index.max(data.saturating_sub(start) / width);
            let last = end.saturating_sub(start).div_ceil(width).min(count);
            let last = last.min(index + PIECE / width);
            if index >= last {
                break;
            }
            buffer.resize(((last - index) * width) as usize, 0);
            self.file.read_exact_at(&mut buffer, start + index * width)?;
            let (entries, _) = buffer.as_chunks::<BYTES>();
            for (number, entry) in (index..).zip(entries) {
                if *entry != [0; BYTES] {
                    each(number, entry);
                }
            }
            index = last;
        }
        Ok(())
    }

    /// The first run of bytes from an offset on that is no hole; `None` where only holes follow.
    fn extent(&self, offset: u64) -> io::Result<Option<(u64, u64)>> {
        match seek(&self.file, SeekFrom::Data(offset)) {
            Ok(data) => Ok(Some((data, seek(&self.file, SeekFrom::Hole(data))?))),
            Err(Errno::NXIO) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }
}

#[cfg(test)]
impl Memory {
    /// Memory without a QEMU.
    pub(crate) fn alone() -> Self {
        Self::new(tempfile::tempfile().unwrap()).unwrap()
    }

    pub(crate) fn put(&self, address: u64, bytes: &[u8]) {
        self.file.write_all_at(bytes, address - RAM).unwrap();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(memory: &Memory, address: u64, count: u64) -> Vec<(u64, [u8; 12])> {
        let mut found = Vec::new();
        memory.entries(address, count, |index, entry| found.push((index, *entry))).unwrap();
        found
    }

    #[test]
    fn entries_are_found_across_holes_and_pages() {
        let memory = Memory::alone();
        let table = RAM + 0x1_0000;
        // Of 12 bytes: entry 341 lies across the end of the first page, of which the second is a
        // hole.
        memory.put(table + 341 * 12, &[1, 2, 3, 4]);
        memory.put(table + 60_000 * 12, &[5; 12]);
        memory.put(table + 65_536 * 12, &[6; 12]);
        let mut split = [0; 12];
        split[..4].copy_from_slice(&[1, 2, 3, 4]);
        let expected = [(341, split), (60_000, [5; 12])];
        assert_eq!(found(&memory, table, 65_536), expected);
        assert_eq!(found(&memory, table, 341), []);
        memory.clear().unwrap();
        assert_eq!(found(&memory, table, 65_537), []);
        memory.put(table, &[1]);
        memory.clear_without_holes().unwrap();
        assert_eq!(found(&memory, table, 65_537), []);
    }

    #[test]
    fn outside_is_nothing() {
        let memory = Memory::alone();
        let end = RAM + RAM_BYTES;
        memory.put(end - 12, &[7; 12]);
        assert_eq!(found(&memory, end - 12, u64::MAX / 12), [(0, [7; 12])]);
        for address in [0, RAM - 8, end, 1 << 50, u64::MAX] {
            assert_eq!(found(&memory, address, 1 << 32), []);
        }
    }
}
