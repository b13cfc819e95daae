//! What the generator believes about the machine at some point of a scenario: enough to stay legal.

use std::collections::BTreeSet;

use its_el2::{Character, Pace};
use its_gic::geometry::{PAGE_BYTES, Table, itt_bytes};
use its_gic::redistributor::FIRST_LPI;

use crate::operation::{HostCommand, Operation, Rdbase};
use crate::place::{Area, Place};
use crate::scenario::{Boot, Stage};

/// The first INTID that no live device has.
const FIRST_FREE_INTID: u32 = FIRST_LPI + 4;

/// A device that should be mapped.
#[derive(Clone, Debug)]
pub(crate) struct Device {
    pub(crate) device_id: u32,
    pub(crate) event_id_bits: u8,
    pub(crate) itt: Place,
    /// EventIDs that should be mapped.
    pub(crate) events: Vec<u32>,
}

impl Device {
    /// An EventID that is not mapped, the lowest.
    pub(crate) fn free_event(&self) -> Option<u32> {
        let count = 1_u32.checked_shl(self.event_id_bits.into()).unwrap_or(0);
        (0..count).find(|event| !self.events.contains(event))
    }
}

/// See the module.
#[derive(Clone, Debug)]
pub(crate) struct Belief {
    pub(crate) character: Character,
    pub(crate) boot: Boot,
    /// The ITS is set up.
    pub(crate) guarded: bool,
    pub(crate) devices: Vec<Device>,
    /// Collections that should be mapped, each to a redistributor.
    pub(crate) collections: Vec<(u16, u8)>,
    pub(crate) next_intid: u32,
    /// Level-1 entries that should be valid.
    pub(crate) level1: BTreeSet<u64>,
    /// Bytes from the start of [`Area::Itt`] to where nothing is used yet.
    pub(crate) itt_end: u64,
    /// Slots that the host wrote and did not post.
    pub(crate) written: u32,
    /// Slots that were posted and may not have been consumed.
    pub(crate) posted: u32,
}

impl Belief {
    /// At the start of a scenario.
    pub(crate) fn new(character: Character, boot: Boot) -> Self {
        let mut belief = Self {
            character,
            boot,
            guarded: boot.stage == Stage::Guarded,
            devices: Vec::new(),
            collections: vec![(0, 0), (1, 1)],
            next_intid: FIRST_FREE_INTID,
            level1: BTreeSet::new(),
            itt_end: PAGE_BYTES,
            written: 0,
            posted: 0,
        };
        for live in boot.live(&character) {
            belief.map(live.device_id, live.event_id_bits, live.itt);
            belief.map_event(live.device_id, live.event_id);
        }
        belief
    }

    fn device_table(&self) -> Table {
        let page_size = self.character.page_size;
        Table {
            address: 0,
            bytes: page_size
                .bytes()
                .saturating_mul(self.boot.table_pages.into()),
            page_size,
            entry_bytes: self.character.device_entry_bytes.into(),
            indirect: self.character.two_level,
        }
    }

    /// How many DeviceIDs can be mapped.
    pub(crate) fn device_ids(&self) -> u64 {
        let named = 1_u64.checked_shl(self.character.device_id_bits.into());
        named.unwrap_or(0).min(self.device_table().capacity())
    }

    /// The level-1 entry of a DeviceID; `None` when the table is flat.
    pub(crate) fn level1_index(&self, device_id: u32) -> Option<u64> {
        let table = self.device_table();
        let index = u64::from(device_id).checked_div(table.entries_per_page());
        index.filter(|_| table.indirect)
    }

    /// Bytes of an ITT for so many EventID bits.
    pub(crate) fn itt_bytes(&self, event_id_bits: u8) -> u64 {
        let size = event_id_bits.saturating_sub(1);
        itt_bytes(size, self.character.itt_entry_bytes.into())
    }

    /// Slots that can be written before the queue is full.
    pub(crate) fn room(&self) -> u32 {
        let slots = u32::from(self.boot.queue_slots());
        let used = self.written.saturating_add(self.posted);
        slots.saturating_sub(used).saturating_sub(1)
    }

    pub(crate) fn device(&self, device_id: u32) -> Option<&Device> {
        let mut devices = self.devices.iter();
        devices.find(|device| device.device_id == device_id)
    }

    /// Follows an operation, as if it succeeded.
    pub(crate) fn note(&mut self, operation: &Operation) {
        match *operation {
            Operation::Command { command, .. } => {
                self.note_command(command);
                self.written = self.written.saturating_add(1);
            }
            Operation::RawCommand { .. } => self.written = self.written.saturating_add(1),
            Operation::Rewind { slots } => self.written = self.written.saturating_sub(slots.into()),
            Operation::Post { .. } => self.post(0),
            Operation::Poll { times, .. } => self.progress(times.into()),
            Operation::Advance { commands } => {
                self.posted = self.posted.saturating_sub(commands.into())
            }
            Operation::WriteCbaser { .. } | Operation::Resume { .. } => {
                (self.written, self.posted) = (0, 0);
            }
            Operation::MapDevice {
                device_id,
                event_id_bits,
                itt,
                ..
            } => {
                self.map(device_id, event_id_bits, itt);
                self.post(1);
            }
            Operation::MapEvent {
                device_id,
                event_id,
                ..
            } => {
                self.map_event(device_id, event_id);
                self.post(2);
            }
            Operation::UnmapDevice { device_id, .. } => {
                let events = self
                    .device(device_id)
                    .map_or(0, |device| device.events.len());
                self.unmap(device_id);
                self.post((events as u32).saturating_mul(2).saturating_add(1));
            }
            Operation::SetUp { .. } => self.guarded = true,
            Operation::Grow { device_id, .. } => self.level1.extend(self.level1_index(device_id)),
            _ => {}
        }
    }

    fn note_command(&mut self, command: HostCommand) {
        match command {
            HostCommand::Mapd {
                device_id,
                size,
                itt,
                valid: true,
            } => self.map(device_id, size.saturating_add(1), itt),
            HostCommand::Mapd {
                device_id,
                valid: false,
                ..
            } => self.unmap(device_id),
            HostCommand::Mapti {
                device_id,
                event_id,
                ..
            }
            | HostCommand::Mapi {
                device_id,
                event_id,
                ..
            } => self.map_event(device_id, event_id),
            HostCommand::Discard {
                device_id,
                event_id,
            } => {
                let mut devices = self.devices.iter_mut();
                if let Some(device) = devices.find(|device| device.device_id == device_id) {
                    device.events.retain(|event| *event != event_id);
                }
            }
            HostCommand::Mapc {
                icid,
                rdbase: Rdbase::Of(redistributor),
                valid: true,
            } => {
                self.collections.retain(|(known, _)| *known != icid);
                self.collections.push((icid, redistributor));
            }
            _ => {}
        }
    }

    fn map(&mut self, device_id: u32, event_id_bits: u8, itt: Place) {
        self.unmap(device_id);
        self.level1.extend(self.level1_index(device_id));
        if let Place::In {
            area: Area::Itt,
            page,
            offset,
        } = itt
        {
            let start = u64::from(page).saturating_mul(PAGE_BYTES);
            let start = start.saturating_add(offset.into());
            let end = start.saturating_add(self.itt_bytes(event_id_bits));
            self.itt_end = self.itt_end.max(end);
        }
        self.devices.push(Device {
            device_id,
            event_id_bits,
            itt,
            events: Vec::new(),
        });
    }

    fn unmap(&mut self, device_id: u32) {
        self.devices.retain(|device| device.device_id != device_id);
    }

    fn map_event(&mut self, device_id: u32, event_id: u32) {
        self.next_intid = self.next_intid.saturating_add(1);
        let mut devices = self.devices.iter_mut();
        if let Some(device) = devices.find(|device| device.device_id == device_id)
            && !device.events.contains(&event_id)
        {
            device.events.push(event_id);
        }
    }

    /// What was written, and so many slots more, is posted.
    fn post(&mut self, more: u32) {
        let posted = self.posted.saturating_add(self.written);
        self.posted = posted.saturating_add(more);
        self.written = 0;
        self.progress(1);
    }

    /// The host looked at the ITS so many times.
    fn progress(&mut self, looks: u32) {
        let commands = match self.character.pace {
            Pace::AtOnce => 64,
            Pace::Late => 1,
            Pace::Never => 0,
        };
        self.posted = self.posted.saturating_sub(looks.saturating_mul(commands));
    }
}
