//! Which DeviceID has which ITT (P7): records of 16 bytes in the private pages.
//!
//! A digital search tree: a node at depth d agrees with everything below it in bits \[d-1:0\] of
//! the DeviceID, and bit d decides between its children. So no path is longer than 33 nodes,
//! whatever DeviceIDs the host picks; and since low bits differ most, the paths of usual DeviceIDs
//! are short. Links are record numbers, not pointers. Zeroed pages are an empty store.

use its_el2::El2;
use its_gic::geometry::{PAGE_BYTES, itt_bytes};

use crate::memory::Span;

/// Devices that one private page carries.
pub(crate) const RECORDS_PER_PAGE: u32 = 256;
const RECORD_BYTES: u64 = PAGE_BYTES / RECORDS_PER_PAGE as u64;
/// Bits in a DeviceID, and so the depth of the deepest node; the root has depth 0.
const DEEPEST: u32 = u32::BITS;

/// Where a device's ITT is, as MAPD says it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Itt {
    /// Physical address: bits \[51:8\], the rest zero.
    pub(crate) address: u64,
    /// EventID bits, minus 1: 0 to 15.
    pub(crate) size: u8,
}

impl Itt {
    /// The memory that it takes, with ITT entries of `entry_bytes`.
    pub(crate) fn span(self, entry_bytes: u64) -> Span {
        Span { address: self.address, bytes: itt_bytes(self.size, entry_bytes) }
    }
}

/// The number of a record, if any: 24 bits in memory, 0 for none.
type Link = Option<u32>;

/// One record, 128 bits: word 0 holds the ITT's address \[43:0\] (its bits \[51:8\]), Size
/// \[47:44\] and the upper 16 bits of the right link; word 1 the DeviceID \[31:0\], the left link
/// \[55:32\] and the lower 8 bits of the right link.
#[derive(Clone, Copy)]
struct Record {
    device_id: u32,
    itt: Itt,
    left: Link,
    right: Link,
}

impl Record {
    fn unpack([first, second]: [u64; 2]) -> Self {
        Self {
            device_id: second as u32,
            itt: Itt { address: (first & 0xfff_ffff_ffff) << 8, size: (first >> 44 & 0xf) as u8 },
            left: unpack_link(second >> 32 & 0xff_ffff),
            right: unpack_link(first >> 48 << 8 | second >> 56),
        }
    }

    fn pack(self) -> [u64; 2] {
        let (left, right) = (pack_link(self.left), pack_link(self.right));
        [
            self.itt.address >> 8 & 0xfff_ffff_ffff
                | u64::from(self.itt.size & 0xf) << 44
                | right >> 8 << 48,
            u64::from(self.device_id) | left << 32 | right << 56,
        ]
    }

    fn child(self, right: bool) -> Link {
        if right { self.right } else { self.left }
    }
}

fn unpack_link(bits: u64) -> Link {
    (bits as u32).checked_sub(1)
}

fn pack_link(link: Link) -> u64 {
    link.map_or(0, |index| u64::from(index).saturating_add(1)) & 0xff_ffff
}

/// Whether DeviceID `device_id` is to the right of a node at `depth`.
fn is_right(device_id: u32, depth: u32) -> bool {
    device_id.checked_shr(depth).unwrap_or(0) & 1 != 0
}

/// Where a link is: the root, or one side of a record.
#[derive(Clone, Copy)]
enum Place {
    Root,
    Child { of: u32, right: bool },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Full;

#[derive(Clone)]
pub(crate) struct Records {
    /// Physical address of the private pages.
    address: u64,
    /// How many records they have room for: at most 2^18, a link has 24 bits.
    capacity: u32,
    root: Link,
    /// The first of those that were taken and freed; each one's left link names the next.
    freed: Link,
    /// How many were ever taken: the rest is still zero.
    touched: u32,
    used: u32,
}

impl Records {
    /// An empty store in `pages` zeroed private pages at `address`.
    pub(crate) fn new(address: u64, pages: u32) -> Self {
        Self {
            address,
            capacity: pages.saturating_mul(RECORDS_PER_PAGE),
            root: None,
            freed: None,
            touched: 0,
            used: 0,
        }
    }

    pub(crate) fn capacity(&self) -> u32 {
        self.capacity
    }

    pub(crate) fn used(&self) -> u32 {
        self.used
    }

    pub(crate) fn free(&self) -> u32 {
        self.capacity.saturating_sub(self.used)
    }

    /// The ITT that was recorded n-th. Only for a store from which nothing was removed.
    pub(crate) fn nth<E: El2>(&self, el2: &E, n: u32) -> Itt {
        self.read(el2, n).itt
    }

    /// Records the ITT of a device and returns the one that it had.
    pub(crate) fn insert<E: El2>(
        &mut self,
        el2: &E,
        device_id: u32,
        itt: Itt,
    ) -> Result<Option<Itt>, Full> {
        match self.find(el2, device_id) {
            Ok((index, _, record)) => {
                self.write(el2, index, Record { itt, ..record });
                Ok(Some(record.itt))
            }
            Err(place) => {
                let index = self.take(el2).ok_or(Full)?;
                let record = Record { device_id, itt, left: None, right: None };
                self.write(el2, index, record);
                self.link(el2, place, Some(index));
                Ok(None)
            }
        }
    }

    /// Forgets a device and returns the ITT that it had.
    pub(crate) fn remove<E: El2>(&mut self, el2: &E, device_id: u32) -> Option<Itt> {
        let (index, place, record) = self.find(el2, device_id).ok()?;
        let (leaf_index, leaf_place, leaf) = self.leaf_below(el2, index, place, record);
        self.link(el2, leaf_place, None);
        if leaf_index != index {
            // Any leaf below may stand here: it agrees in as many bits as this place asks for. Read
            // again, since the link to the leaf may have been this record's.
            let Record { left, right, .. } = self.read(el2, index);
            let moved = Record { left, right, ..leaf };
            self.write(el2, index, moved);
        }
        self.put_back(el2, leaf_index);
        Some(record.itt)
    }

    /// The record of a device, and the link that names it; or the empty link where it would be.
    fn find<E: El2>(&self, el2: &E, device_id: u32) -> Result<(u32, Place, Record), Place> {
        let mut place = Place::Root;
        let mut link = self.root;
        for depth in 0..=DEEPEST {
            let Some(index) = link else { break };
            let record = self.read(el2, index);
            if record.device_id == device_id {
                return Ok((index, place, record));
            }
            let right = is_right(device_id, depth);
            place = Place::Child { of: index, right };
            link = record.child(right);
        }
        Err(place)
    }

    /// Some record without children at or below this one.
    fn leaf_below<E: El2>(
        &self,
        el2: &E,
        index: u32,
        place: Place,
        record: Record,
    ) -> (u32, Place, Record) {
        let mut found = (index, place, record);
        for _ in 0..DEEPEST {
            let (of, _, record) = found;
            let right = record.left.is_none();
            let Some(below) = record.child(right) else {
                break;
            };
            found = (below, Place::Child { of, right }, self.read(el2, below));
        }
        found
    }

    fn link<E: El2>(&mut self, el2: &E, place: Place, link: Link) {
        match place {
            Place::Root => self.root = link,
            Place::Child { of, right } => {
                let mut record = self.read(el2, of);
                if right {
                    record.right = link;
                } else {
                    record.left = link;
                }
                self.write(el2, of, record);
            }
        }
    }

    fn take<E: El2>(&mut self, el2: &E) -> Option<u32> {
        let index = match self.freed {
            Some(index) => {
                self.freed = self.read(el2, index).left;
                index
            }
            None if self.touched < self.capacity => {
                let index = self.touched;
                self.touched = index.saturating_add(1);
                index
            }
            None => return None,
        };
        self.used = self.used.saturating_add(1);
        Some(index)
    }

    fn put_back<E: El2>(&mut self, el2: &E, index: u32) {
        let free = Record { left: self.freed, ..Record::unpack([0, 0]) };
        self.write(el2, index, free);
        self.freed = Some(index);
        self.used = self.used.saturating_sub(1);
    }

    fn read<E: El2>(&self, el2: &E, index: u32) -> Record {
        let [first, second] = self.words(index);
        Record::unpack([el2.read_word(first), el2.read_word(second)])
    }

    fn write<E: El2>(&self, el2: &E, index: u32, record: Record) {
        let words = self.words(index);
        for (address, value) in words.into_iter().zip(record.pack()) {
            el2.write_word(address, value);
        }
    }

    /// Physical addresses of the two words of a record.
    fn words(&self, index: u32) -> [u64; 2] {
        let offset = u64::from(index).wrapping_mul(RECORD_BYTES);
        let first = self.address.wrapping_add(offset);
        [first, first.wrapping_add(8)]
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::vec::Vec;

    use its_machine::PageState;
    use quickcheck::{TestResult, quickcheck};

    use super::*;
    use crate::test_el2::TestEl2;

    const STORE: u64 = 0x8040_0000;

    fn store(pages: u32) -> (TestEl2, Records) {
        let el2 = TestEl2::new();
        for page in 0..u64::from(pages) {
            el2.set_page(STORE + page * PAGE_BYTES, PageState::EL2);
        }
        (el2, Records::new(STORE, pages))
    }

    fn itt(seed: u64) -> Itt {
        Itt {
            address: seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) & 0xf_ffff_ffff_ff00,
            size: (seed % 16) as u8,
        }
    }

    /// Checks the tree's own rule at each node and returns how many there are.
    fn check(el2: &TestEl2, records: &Records, link: Link, depth: u32, prefix: u32) -> u32 {
        let Some(index) = link else { return 0 };
        assert!(depth <= DEEPEST);
        let record = records.read(el2, index);
        let agreed = u32::MAX.checked_shl(depth).map_or(u32::MAX, |rest| !rest);
        assert_eq!(record.device_id & agreed, prefix & agreed);
        let bit = 1_u32.checked_shl(depth).unwrap_or(0);
        let left = check(el2, records, record.left, depth + 1, prefix & !bit);
        let right = check(el2, records, record.right, depth + 1, prefix | bit);
        1 + left + right
    }

    quickcheck! {
        fn is_a_map(steps: Vec<(u8, bool, u16)>, shift: u8, spread: u32) -> bool {
            let (el2, mut records) = store(1);
            let mut map = BTreeMap::new();
            for (n, (key, add, seed)) in steps.into_iter().enumerate() {
                // Few enough keys to meet again, close together, far apart or one bit each.
                let device_id = match n % 3 {
                    0 => u32::from(key).rotate_left(u32::from(shift)),
                    1 => u32::from(key % 32).wrapping_mul(spread),
                    _ => 1_u32.rotate_left(u32::from(key)),
                };
                if add {
                    let given = itt(u64::from(seed));
                    let had = map.insert(device_id, given);
                    match records.insert(&el2, device_id, given) {
                        Ok(old) => assert_eq!(old, had),
                        Err(Full) => {
                            map.remove(&device_id);
                            assert_eq!(map.len(), 256);
                        }
                    }
                } else {
                    assert_eq!(records.remove(&el2, device_id), map.remove(&device_id));
                }
                assert_eq!(records.used() as usize, map.len());
                assert_eq!(check(&el2, &records, records.root, 0, 0) as usize, map.len());
            }
            map.into_iter().all(|(device_id, itt)| {
                records.find(&el2, device_id).is_ok_and(|(_, _, found)| found.itt == itt)
            })
        }

        fn packs_and_unpacks(device_id: u32, seed: u64, left: u32, right: u32) -> TestResult {
            let link = |number: u32| (number > 99).then_some(number % (1 << 18));
            let record = Record { device_id, itt: itt(seed), left: link(left), right: link(right) };
            let same = Record::unpack(record.pack());
            TestResult::from_bool(
                (same.device_id, same.itt, same.left, same.right)
                    == (device_id, record.itt, record.left, record.right),
            )
        }
    }

    /// The longest path that there can be: each DeviceID agrees with the last in one bit more.
    #[test]
    fn no_path_is_longer_than_33_nodes() {
        let (el2, mut records) = store(1);
        // The DeviceID of only the lowest bit goes to the root; 0 comes last.
        for device_id in (0..32).map(|n| 1 << n).chain([0]) {
            records.insert(&el2, device_id, itt(1)).unwrap();
        }
        el2.words_read.borrow_mut().clear();
        assert!(records.remove(&el2, 12345).is_none());
        assert!(records.find(&el2, 0).is_ok());
        assert!(el2.words_read.borrow().len() <= 4 * 33);
        assert_eq!(check(&el2, &records, records.root, 0, 0), 33);
        // The deepest takes the root's place.
        assert!(records.remove(&el2, 1).is_some());
        assert_eq!(check(&el2, &records, records.root, 0, 0), 32);
    }

    #[test]
    fn a_page_carries_256_devices() {
        let (el2, mut records) = store(2);
        assert_eq!(records.capacity(), 512);
        for device_id in 0..512 {
            assert_eq!(records.insert(&el2, device_id, itt(1)), Ok(None));
        }
        assert_eq!(records.insert(&el2, 512, itt(1)), Err(Full));
        assert_eq!(records.insert(&el2, 511, itt(2)), Ok(Some(itt(1))));
        assert_eq!(records.remove(&el2, 0), Some(itt(1)));
        assert_eq!(records.insert(&el2, 512, itt(1)), Ok(None));
        assert_eq!(records.free(), 0);
    }
}
