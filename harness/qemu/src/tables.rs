//! What tables in QEMU's memory say (formats: QEMU, `hw/intc/gicv3_internal.h`).
//!
//! | entry | bytes | bits |
//! | --- | --- | --- |
//! | device | 8 | valid \[0\], Size \[5:1\], bits \[51:8\] of the ITT's address \[49:6\] |
//! | collection | 8 | valid \[0\], processor number \[16:1\] |
//! | interrupt | 12 | valid \[0\], physical \[1\], INTID \[25:2\], ICID \[47:32\], vPEID \[63:48\]; doorbell \[95:64\] |

use std::collections::BTreeMap;
use std::io;

use its_gic::Baser;
use its_gic::geometry::{LEVEL1_ENTRY_BYTES, Level1Entry, Table};
use its_gic::redistributor::{FIRST_LPI, Pendbaser, Propbaser, intids};
use its_machine::Translation;

use crate::facts::{CPUS, ID_BITS, INTID_BITS};
use crate::memory::Memory;

/// Ids of devices, events and collections that there are.
const IDS: u64 = 1 << ID_BITS;
/// Bits of a level-1 entry that QEMU takes for the address: not bit 51, but all below the page
/// size.
const LEVEL1_ADDRESS: u64 = (1 << 51) - 1;

/// A valid device table entry.
struct Device {
    /// EventID bits, minus 1.
    size: u8,
    itt_address: u64,
}

impl Device {
    const fn decode(entry: u64) -> Option<Self> {
        if entry & 1 == 0 {
            return None;
        }
        Some(Self {
            size: (entry >> 1 & 0x1f) as u8,
            itt_address: (entry >> 6 & 0xfff_ffff_ffff) << 8,
        })
    }

    const fn events(&self) -> u64 {
        let events = 2_u64 << self.size;
        if events < IDS { events } else { IDS }
    }
}

/// The redistributor of a valid collection table entry; `None` also where there is no such one.
fn collection(entry: u64) -> Option<u8> {
    let number = entry >> 1 & 0xffff;
    (entry & 1 == 1 && number < CPUS as u64).then_some(number as u8)
}

/// INTID and ICID of a valid entry for a physical interrupt.
fn interrupt(entry: &[u8; 12]) -> Option<(u32, u16)> {
    let (low, _) = entry.split_first_chunk::<8>()?;
    let entry = u64::from_le_bytes(*low);
    let found = ((entry >> 2 & 0xff_ffff) as u32, (entry >> 32) as u16);
    (entry & 3 == 3).then_some(found)
}

/// Every mapping that the device table, the ITTs and the collection table hold.
pub(crate) fn translations(
    memory: &Memory,
    devices: Baser,
    collections: Baser,
) -> io::Result<BTreeMap<(u32, u32), Translation>> {
    let redistributors: BTreeMap<u64, u8> = entries(memory, collections)?
        .into_iter()
        .filter_map(|(icid, entry)| Some((icid, collection(entry)?)))
        .collect();
    let mut found = BTreeMap::new();
    for (device_id, entry) in entries(memory, devices)? {
        let Some(device) = Device::decode(entry) else {
            continue;
        };
        memory.entries(device.itt_address, device.events(), |event_id, entry| {
            if let Some((intid, icid)) = interrupt(entry) {
                let translation = Translation {
                    intid,
                    icid,
                    redistributor: redistributors.get(&icid.into()).copied(),
                };
                found.insert((device_id as u32, event_id as u32), translation);
            }
        })?;
    }
    Ok(found)
}

/// The entries of a table that are not zero, by id.
fn entries(memory: &Memory, baser: Baser) -> io::Result<Vec<(u64, u64)>> {
    let table = Table::new(baser);
    if !baser.valid() || table.entry_bytes != 8 {
        return Ok(Vec::new());
    }
    if !table.indirect {
        return flat(memory, table.address, table.capacity().min(IDS), 0);
    }
    let mut found = Vec::new();
    for (index, entry) in flat(memory, table.address, table.bytes / LEVEL1_ENTRY_BYTES, 0)? {
        let first = index * table.entries_per_page();
        let count = table.entries_per_page().min(IDS.saturating_sub(first));
        if Level1Entry(entry).is_valid() {
            found.extend(flat(memory, entry & LEVEL1_ADDRESS, count, first)?);
        }
    }
    Ok(found)
}

/// The words of an array that are not zero, numbered from `first`.
fn flat(memory: &Memory, address: u64, count: u64, first: u64) -> io::Result<Vec<(u64, u64)>> {
    let mut found = Vec::new();
    memory.entries(address, count, |index, word| {
        found.push((first + index, u64::from_le_bytes(*word)));
    })?;
    Ok(found)
}

/// The pending LPIs of a redistributor whose EnableLPIs is 1, ascending.
pub(crate) fn pending(
    memory: &Memory,
    propbaser: Propbaser,
    pendbaser: Pendbaser,
) -> io::Result<Vec<u32>> {
    let id_bits = propbaser.id_bits().min(INTID_BITS - 1);
    let words = intids(id_bits) / 64;
    let first = u64::from(FIRST_LPI) / 64;
    let mut found = Vec::new();
    let address = pendbaser.address() + first * 8;
    memory.entries(address, words.saturating_sub(first), |index, word| {
        let word = u64::from_le_bytes(*word);
        let base = FIRST_LPI + index as u32 * 64;
        let bits = (0..64).filter(|bit| word >> bit & 1 == 1);
        found.extend(bits.map(|bit| base + bit));
    })?;
    Ok(found)
}

#[cfg(test)]
mod tests {
    use its_gic::geometry::PageSize;

    use super::*;

    const DEVICES: u64 = 0x8001_0000;
    const COLLECTIONS: u64 = 0x8003_0000;
    const ITT: u64 = 0x8014_0100;

    fn baser(address: u64, page_size: PageSize, indirect: bool) -> Baser {
        Baser::new()
            .with_entry_size(7)
            .with_page_size_field(page_size.field())
            .with_address(address)
            .with_indirect(indirect)
            .with_valid(true)
    }

    fn put(memory: &Memory, address: u64, word: u64) {
        memory.put(address, &word.to_le_bytes());
    }

    /// Device `id` has an ITT of 32 entries at [`ITT`].
    fn device(memory: &Memory, address: u64) {
        put(memory, address, (ITT >> 8) << 6 | 4 << 1 | 1);
    }

    fn ite(memory: &Memory, event: u64, low: u64) {
        put(memory, ITT + event * 12, low);
    }

    #[test]
    fn flat_tables_are_decoded() {
        let memory = Memory::alone();
        device(&memory, DEVICES + 3 * 8);
        put(&memory, COLLECTIONS, 1);
        put(&memory, COLLECTIONS + 8, 1 << 1 | 1);
        put(&memory, COLLECTIONS + 16, 2 << 1 | 1);
        ite(&memory, 0, 1 << 32 | 8192 << 2 | 3);
        ite(&memory, 31, 8200 << 2 | 3);
        // To no redistributor, to no collection, virtual, invalid, beyond the ITT.
        ite(&memory, 5, 2 << 32 | 8193 << 2 | 3);
        ite(&memory, 6, 9 << 32 | 8194 << 2 | 3);
        ite(&memory, 7, 8195 << 2 | 1);
        ite(&memory, 8, 8196 << 2 | 2);
        ite(&memory, 32, 8197 << 2 | 3);
        let found = translations(
            &memory,
            baser(DEVICES, PageSize::K64, false),
            baser(COLLECTIONS, PageSize::K4, false),
        );
        let is = |event, intid, icid, redistributor| {
            let translation = Translation { intid, icid, redistributor };
            ((3, event), translation)
        };
        let expected = [
            is(0, 8192, 1, Some(1)),
            is(5, 8193, 2, None),
            is(6, 8194, 9, None),
            is(31, 8200, 0, Some(0)),
        ];
        assert!(found.unwrap().into_iter().eq(expected));
    }

    #[test]
    fn two_levels_are_decoded() {
        let memory = Memory::alone();
        let level2 = 0x8030_0000;
        put(&memory, DEVICES + 8, 1 << 63 | level2);
        // Not valid; outside of memory.
        put(&memory, DEVICES + 16, level2);
        put(&memory, DEVICES + 24, 1 << 63 | 1 << 50);
        device(&memory, level2 + 5 * 8);
        ite(&memory, 1, 8192 << 2 | 3);
        let table = baser(DEVICES, PageSize::K4, true);
        let found = translations(&memory, table, Baser::new()).unwrap();
        assert!(found.keys().eq([&(512 + 5, 1)]));
        let invalid = table.with_valid(false);
        assert_eq!(translations(&memory, invalid, table).unwrap(), BTreeMap::new());
    }

    #[test]
    fn pending_bits_are_numbered() {
        let memory = Memory::alone();
        let table = 0x8005_0000;
        memory.put(table + 1023, &[0xff, 0x81]);
        memory.put(table + 2047, &[0x80, 1]);
        let propbaser = |id_bits| Propbaser::new().with_id_bits(id_bits);
        let pendbaser = Pendbaser::from_bits(table);
        let at = |id_bits| pending(&memory, propbaser(id_bits), pendbaser).unwrap();
        assert_eq!(at(13), [8192, 8199, 16383]);
        assert_eq!(at(31), [8192, 8199, 16383, 16384]);
        assert_eq!(at(12), []);
    }
}
