//! What phrases are about: devices, events, collections and memory, as they are or as they must not
//! be.

use crate::words::*;

/// Bytes in a page of the host, as offsets within places are.
pub(crate) const PAGE: u16 = PAGE_BYTES as u16;

/// How many level-1 entries there may be for this generator to add one, of so many blocks of
/// [`Area::LEVEL2`]. The driver takes those from the front, this generator from the back.
const fn own_blocks(blocks: u16) -> u16 {
    if blocks < 8 { 1 } else { 3 }
}

impl Draft<'_, '_> {
    /// A device that should be mapped.
    pub(crate) fn some_device(&mut self) -> Option<Device> {
        let index = self.below(self.expected.here().devices.len() as u64);
        self.expected.here().devices.get(index as usize).cloned()
    }

    /// A mapped event, if there is one; else one that is not.
    pub(crate) fn some_event(&mut self) -> (u32, u32) {
        let Some(device) = self.some_device() else { return (0, 0) };
        let index = self.below(device.events.len() as u64);
        let event = device.events.get(index as usize);
        (device.device_id, event.map_or(0, |event| event.event_id))
    }

    /// An EventID of a device that is not mapped: the lowest, the highest, or any.
    pub(crate) fn free_event(&mut self, device: &Device) -> Option<u32> {
        let first = match self.below(8) {
            0..=3 => 0,
            4 => device.event_ids().saturating_sub(1),
            _ => self.below(device.event_ids()),
        };
        device.free_event(first)
    }

    /// ICID and redistributor.
    pub(crate) fn some_collection(&mut self) -> (u16, u8) {
        let index = self.below(self.expected.here().collections.len() as u64);
        let collection = self.expected.here().collections.get(index as usize);
        collection.copied().unwrap_or((0, 0))
    }

    /// A DeviceID that is free, and an ITT of its own.
    pub(crate) fn new_device(&mut self) -> Option<(u32, u8, Place)> {
        let ids = self.expected.device_ids();
        let drawn = match self.below(8) {
            0..=4 => self.below(ids.min(64)),
            5 => ids.saturating_sub(1),
            6 => self.one_bit_from_another(ids),
            _ => self.below(ids),
        };
        // Level-2 tables are few.
        let reached = self.expected.is_covered(drawn as u32) || !self.no_more_level2();
        let device_id = if reached { drawn } else { 0 };
        let free = |id: &u64| self.expected.device(*id as u32).is_none();
        let device_id = (device_id..ids.min(device_id.saturating_add(8))).find(free)?;
        let most = self.its().event_id_bits.min(16);
        let event_id_bits = match self.below(16) {
            0..=11 => self.between(1, 6),
            12..=14 => self.between(6, 10),
            _ => u64::from(most),
        };
        let event_id_bits = event_id_bits.min(most.into()) as u8;
        let itt = self.new_itt(event_id_bits)?;
        Some((device_id as u32, event_id_bits, itt))
    }

    /// A DeviceID that differs from a mapped one in one bit; the last of `ids` where that is too
    /// large.
    fn one_bit_from_another(&mut self, ids: u64) -> u64 {
        let device_id = self.some_device().map_or(0, |device| device.device_id);
        let bits = u64::from(ids.checked_ilog2().unwrap_or(0));
        let bit = self.below(bits) as u32;
        (u64::from(device_id) ^ 1_u64.checked_shl(bit).unwrap_or(0)).min(ids.saturating_sub(1))
    }

    /// Memory for an ITT: next to the last one, on a page of its own, or across the end of a page.
    pub(crate) fn new_itt(&mut self, event_id_bits: u8) -> Option<Place> {
        let bytes = self.expected.itt_bytes(event_id_bits);
        let end = self.expected.itt_end;
        let start = match self.below(4) {
            0 | 1 => end.checked_next_multiple_of(256)?,
            2 => end.checked_next_multiple_of(PAGE_BYTES)?,
            _ => end.checked_next_multiple_of(PAGE_BYTES)?.saturating_add(0xf00),
        };
        let limit = u64::from(Area::ITT.pages()).saturating_mul(PAGE_BYTES);
        let page = u16::try_from(start / PAGE_BYTES).ok()?;
        let place = Place::at(Area::ITT, page, (start % PAGE_BYTES) as u16);
        (start.saturating_add(bytes) <= limit).then_some(place)
    }

    /// Memory for a level-2 table that the driver does not take.
    pub(crate) fn own_level2(&self) -> Option<Place> {
        let (area, first, blocks) = self.expected.boot.level2_share(self.expected.current);
        let used = self.expected.here().level1.len() as u16;
        let last = first.saturating_add(blocks).saturating_sub(1);
        let place = Place::page(area, last.saturating_sub(used).saturating_mul(16));
        (used < own_blocks(blocks)).then_some(place)
    }

    /// Memory for the level-2 table that the driver takes next.
    pub(crate) fn next_level2(&self) -> Place {
        let (area, first, blocks) = self.expected.boot.level2_share(self.expected.current);
        let pages = u64::from(blocks).saturating_mul(16);
        let one = self.its().largest_page_size().bytes() / PAGE_BYTES;
        let next = one.saturating_mul(self.expected.here().level1.len() as u64);
        let next = next.min(pages.saturating_sub(1)) as u16;
        Place::page(area, first.saturating_mul(16).saturating_add(next))
    }

    /// Whether there may be no more level-1 entries, so that both never take the same block.
    pub(crate) fn no_more_level2(&self) -> bool {
        let (.., blocks) = self.expected.boot.level2_share(self.expected.current);
        let used = self.expected.here().level1.len() as u16;
        used >= blocks.saturating_sub(own_blocks(blocks))
    }

    /// A mapped event of a mapped device, if there is one.
    pub(crate) fn mapped(&mut self) -> Option<(Device, Event)> {
        let (device_id, event_id) = self.some_event();
        let event = self.expected.event(device_id, event_id)?;
        Some((self.expected.device(device_id)?.clone(), event))
    }

    /// A DeviceID: mapped, at a limit, or anything.
    pub(crate) fn any_device(&mut self) -> u32 {
        let ids = self.expected.device_ids();
        match self.below(8) {
            0..=2 => self.some_device().map_or(0, |device| device.device_id),
            3 => ids as u32,
            4 => (1_u64 << self.its().device_id_bits) as u32,
            5 => ids.saturating_sub(1) as u32,
            6 => self.below(64) as u32,
            _ => self.word() as u32,
        }
    }

    /// An EventID: of a device, at its limit or that of the ITS, or anything.
    pub(crate) fn any_event(&mut self, device_id: u32) -> u32 {
        let device = self.expected.device(device_id).cloned();
        let bits = device.as_ref().map_or(5, |device| device.event_id_bits);
        let end = 1_u32.checked_shl(bits.into()).unwrap_or(0);
        let limit = 1_u32 << self.its().event_id_bits;
        match self.below(8) {
            0..=2 => {
                let events = device.map_or(Vec::new(), |device| device.events);
                let index = self.below(events.len() as u64) as usize;
                events.get(index).map_or(0, |event| event.event_id)
            }
            3 => end,
            4 => end.saturating_sub(1),
            5 => self.pick(&[limit, limit.saturating_sub(1), 1 << 16], limit),
            6 => self.below(end.into()) as u32,
            _ => self.word() as u32,
        }
    }

    /// An ICID: mapped, unmapped, at a limit, or anything.
    pub(crate) fn any_collection(&mut self) -> u16 {
        let configuration = self.its();
        let limit = 1_u32 << configuration.collection_id_bits;
        let held = u16::from(configuration.hardware_collections);
        match self.below(8) {
            0..=2 => self.some_collection().0,
            3 | 4 => self.below(6) as u16,
            5 => self.pick(&[limit as u16, limit.saturating_sub(1) as u16], u16::MAX),
            6 => {
                // The table's first and last collection, after those that are held or not.
                let bytes = u64::from(configuration.collection_entry_bytes);
                let entries = configuration.largest_page_size().bytes().checked_div(bytes);
                let entries = entries.unwrap_or(0) as u16;
                let beyond = entries.saturating_add(held);
                let edges = [held, entries, beyond].map(|edge| [edge.saturating_sub(1), edge]);
                self.pick(edges.as_flattened(), held)
            }
            _ => self.word() as u16,
        }
    }

    /// An INTID: the next free one mostly, one of a few that come again, or one that is no LPI.
    pub(crate) fn any_intid(&mut self) -> u32 {
        let next = self.expected.next_intid;
        let low = self.between(8192, 8200) as u32;
        match self.below(8) {
            0..=3 => next,
            4 => low,
            5 => self.pick(&[0xffff, 0xfffe, 0x4000, 0x3fff], 0xffff),
            _ => self.pick(&[0, 1023, 8191, 0x1_0000, u32::MAX], 8191),
        }
    }

    /// An RDbase that names a redistributor, or none.
    pub(crate) fn any_rdbase(&mut self) -> Rdbase {
        let field = self.word() & Rdbase::MAX;
        let raw = [2, 1 << 35, field, Rdbase::MAX];
        match self.below(3) {
            0 => Rdbase::Raw(self.pick(&raw, 2)),
            1 => Rdbase::Of(0),
            _ => Rdbase::Of(1),
        }
    }

    /// The areas that a board has.
    pub(crate) fn areas(&self) -> Vec<Area> {
        let two = self.expected.boot.its > 1;
        Area::all().filter(|area| two || area.its == 0).collect()
    }

    /// Where the host should point nothing: not its own, at the end of a region, nowhere.
    pub(crate) fn bad_place(&mut self) -> Place {
        let area = self.pick(&self.areas(), Area::EL2);
        let last = area.pages().saturating_sub(1);
        match self.below(6) {
            0..=2 => Place::page(area, self.below(area.pages().into()) as u16),
            3 | 4 => {
                let area = self.pick(&[Area::ITT, Area::HOST, Area::HIGH, area], area);
                Place::at(area, area.pages().saturating_sub(1), PAGE.saturating_sub(0x100))
            }
            _ if self.chance(1, 2) => Place::at(area, last, 0x800),
            _ => Place::Absolute(self.word() & 0xf_ffff_ffff_f000),
        }
    }

    /// The shadow of the level-1 entry that covers a device.
    pub(crate) fn level1_entry(&self, device_id: u32) -> Place {
        let index = self.expected.level1_index(device_id).unwrap_or(0);
        let bytes = index.saturating_mul(8);
        let page = (bytes / PAGE_BYTES) as u16;
        Place::at(self.area(Area::DEVICE_TABLE_COPY), page, (bytes % PAGE_BYTES) as u16)
    }

    /// Where the driver has the private pages and the descriptor of the ITS that it works on.
    pub(crate) fn own_places(&self) -> [Place; 2] {
        [Area::PRIVATE, Area::DESCRIPTOR].map(|area| Place::page(self.area(area), 0))
    }

    /// Any page of an area.
    pub(crate) fn page_of(&mut self, area: Area) -> Place {
        Place::page(area, self.below(area.pages().into()) as u16)
    }

    /// Any word of an area.
    pub(crate) fn any_word_of(&mut self, area: Area) -> Place {
        let page = self.below(area.pages().into()) as u16;
        Place::at(area, page, self.word_of(512))
    }

    /// The offset of one of so many words.
    pub(crate) fn word_of(&mut self, count: u64) -> u16 {
        self.below(count).saturating_mul(8) as u16
    }

    /// The ITT of a mapped device, or the first place for one.
    pub(crate) fn used_itt(&mut self) -> Place {
        self.some_device().map_or(Place::page(Area::ITT, 0), |device| device.itt)
    }
}
