//! The physical ITS's own format of table entries. Nobody outside `its` may know it.
//!
//! Every entry is three fields and a valid bit, packed in one of six orders into one word, at the
//! start or at the end of the entry. An entry of zeroes is invalid in each of them.

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct DeviceEntry {
    pub itt_address: u64,
    /// EventID bits, minus 1.
    pub size: u8,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct CollectionEntry {
    pub rdbase: u64,
}

/// An entry of an ITT.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct InterruptEntry {
    pub intid: u32,
    pub icid: u16,
}

/// How an ITS of one configuration writes its entries.
#[derive(Clone, Copy, Debug)]
pub(super) struct Format {
    /// Which order the fields have, 0 to 5; from 3 on, wide entries use their last word.
    pub field_order: u8,
}

type Field = (u64, u32);

const ORDERS: [[usize; 3]; 6] = [[0, 1, 2], [0, 2, 1], [1, 0, 2], [1, 2, 0], [2, 0, 1], [2, 1, 0]];

impl Format {
    /// Bytes from the start of an entry to its word. The word is 8-byte aligned where entries are.
    pub(super) fn word_offset(self, entry_bytes: u64) -> u64 {
        if self.field_order < 3 { 0 } else { entry_bytes - 8 }
    }

    fn pack(self, fields: [Field; 3]) -> u64 {
        let mut shift = 0;
        let mut word = 0;
        for index in self.order() {
            let (value, width) = fields[index];
            word |= (value & ((1 << width) - 1)) << shift;
            shift += width;
        }
        word
    }

    fn unpack(self, word: u64, widths: [u32; 3]) -> [u64; 3] {
        let mut shift = 0;
        let mut fields = [0; 3];
        for index in self.order() {
            fields[index] = word >> shift & ((1 << widths[index]) - 1);
            shift += widths[index];
        }
        fields
    }

    fn order(self) -> [usize; 3] {
        ORDERS[usize::from(self.field_order) % ORDERS.len()]
    }

    pub(super) fn device(self, entry: Option<DeviceEntry>) -> u64 {
        let Some(entry) = entry else { return 0 };
        self.pack([(1, 1), (entry.itt_address >> 8, 44), (entry.size.into(), 5)])
    }

    pub(super) fn read_device(self, word: u64) -> Option<DeviceEntry> {
        let [valid, address, size] = self.unpack(word, [1, 44, 5]);
        (valid == 1).then_some(DeviceEntry { itt_address: address << 8, size: size as u8 })
    }

    pub(super) fn collection(self, entry: Option<CollectionEntry>) -> u64 {
        let Some(entry) = entry else { return 0 };
        self.pack([(1, 1), (entry.rdbase, 36), (0, 3)])
    }

    pub(super) fn read_collection(self, word: u64) -> Option<CollectionEntry> {
        let [valid, rdbase, _] = self.unpack(word, [1, 36, 3]);
        (valid == 1).then_some(CollectionEntry { rdbase })
    }

    pub(super) fn interrupt(self, entry: Option<InterruptEntry>) -> u64 {
        let Some(entry) = entry else { return 0 };
        self.pack([(1, 1), (entry.intid.into(), 32), (entry.icid.into(), 16)])
    }

    pub(super) fn read_interrupt(self, word: u64) -> Option<InterruptEntry> {
        let [valid, intid, icid] = self.unpack(word, [1, 32, 16]);
        (valid == 1).then_some(InterruptEntry { intid: intid as u32, icid: icid as u16 })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_order_keeps_every_field() {
        let device = DeviceEntry { itt_address: 0xf_ffff_ffff_ff00, size: 31 };
        let collection = CollectionEntry { rdbase: 0xf_ffff_ffff };
        let interrupt = InterruptEntry { intid: 0xf234_5678, icid: 0x9abc };
        let mut words = std::collections::BTreeSet::new();
        for field_order in 0..6 {
            let format = Format { field_order };
            assert_eq!(format.read_device(format.device(Some(device))), Some(device));
            let word = format.collection(Some(collection));
            assert_eq!(format.read_collection(word), Some(collection));
            let word = format.interrupt(Some(interrupt));
            assert_eq!(format.read_interrupt(word), Some(interrupt));
            assert_eq!(format.read_device(0), None);
            assert_eq!(format.device(None), 0);
            words.insert(word);
        }
        assert_eq!(words.len(), 6, "the orders differ");
    }
}
