//! What processes of one run have counted, in files.
//!
//! A folder has a slot for each process that runs. A process takes the first slot that nobody holds
//! and goes on from its counts, so that an engine may end its processes and start others: the sum
//! stays what was done.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;

use its_reports::summary::Counts;

/// Bytes of a slot: a line of JSON, padded so that a later one covers it whole.
const SLOT_BYTES: usize = 256;

/// Slots in a folder; more processes than that do not run at once.
const SLOTS: usize = 4096;

/// A slot, held as long as it lives.
pub(super) struct Slot {
    file: File,
}

impl Slot {
    /// Takes a slot of a folder, which is made if it is not there; with what was counted in it
    /// before.
    pub(super) fn take(folder: &Path) -> io::Result<(Self, Counts)> {
        fs::create_dir_all(folder)?;
        for number in 0..SLOTS {
            let path = folder.join(format!("slot-{number}"));
            let mut options = OpenOptions::new();
            let file =
                { options.read(true).write(true) }.create(true).truncate(false).open(&path)?;
            match file.try_lock() {
                Ok(()) => return Ok((Self { file }, read(&path))),
                Err(TryLockError::WouldBlock) => {}
                Err(TryLockError::Error(error)) => return Err(error),
            }
        }
        Err(io::Error::other("every slot is held"))
    }

    pub(super) fn write(&self, counts: &Counts) {
        let line = serde_json::to_string(counts).expect("counts are JSON");
        let line = format!("{line:<width$}\n", width = SLOT_BYTES - 1);
        // A full disk must not look like a finding.
        let _ = self.file.write_all_at(line.as_bytes(), 0);
    }
}

/// The sum over a folder's slots so far.
pub fn total(folder: &Path) -> Counts {
    let mut total = Counts::default();
    for number in 0..SLOTS {
        let path = folder.join(format!("slot-{number}"));
        if !path.exists() {
            break;
        }
        total.add(&read(&path));
    }
    total
}

/// Nothing was counted where nothing can be read: a slot is empty until its first case.
fn read(path: &Path) -> Counts {
    let text = fs::read_to_string(path).unwrap_or_default();
    serde_json::from_str(&text).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counted(cases: u64) -> Counts {
        Counts { cases, ..Counts::default() }
    }

    #[test]
    fn a_process_goes_on_where_one_ended() {
        let folder = tempfile::tempdir().unwrap();
        let (first, before) = Slot::take(folder.path()).unwrap();
        assert_eq!(before, counted(0));
        let (second, _) = Slot::take(folder.path()).unwrap();
        first.write(&counted(7));
        second.write(&counted(5));
        assert_eq!(total(folder.path()), counted(12));
        drop(first);
        let (again, before) = Slot::take(folder.path()).unwrap();
        assert_eq!(before, counted(7));
        again.write(&counted(1_000_000));
        again.write(&counted(9));
        assert_eq!(total(folder.path()), counted(14));
    }
}
