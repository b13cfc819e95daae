//! What the generator believes about the machine at some point of a scenario: enough to stay legal.

use its_scenario::{Boot, CPUS, HostCommand, Operation, Rdbase, Stage};
use std::collections::BTreeSet;

use its_gic::geometry::{PAGE_BYTES, Table, itt_bytes};
use its_gic::redistributor::FIRST_LPI;
use its_machine::freedom::choice::EnableLpis;
use its_machine::{Area, ItsConfiguration, MAX_ITS, Pace, Place};

/// An event that should be mapped.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Event {
    pub(crate) event_id: u32,
    pub(crate) intid: u32,
    pub(crate) icid: u16,
}

/// A device that should be mapped.
#[derive(Clone, Debug)]
pub(crate) struct Device {
    pub(crate) device_id: u32,
    pub(crate) event_id_bits: u8,
    pub(crate) itt: Place,
    pub(crate) events: Vec<Event>,
    /// The driver mapped it and keeps a list of its events, else the host by commands of its own.
    pub(crate) of_driver: bool,
}

impl Device {
    /// Whether an EventID should be mapped.
    pub(crate) fn has(&self, event_id: u32) -> bool {
        self.events.iter().any(|event| event.event_id == event_id)
    }

    /// An EventID that is not mapped, the lowest.
    pub(crate) fn free_event(&self) -> Option<u32> {
        let count = 1_u64.checked_shl(self.event_id_bits.into()).unwrap_or(0);
        let mut ids = 0..u32::try_from(count).unwrap_or(u32::MAX);
        ids.find(|event| !self.has(*event))
    }
}

/// What it believes about one ITS.
#[derive(Clone, Debug)]
pub(crate) struct ExpectedIts {
    pub(crate) configuration: ItsConfiguration,
    pub(crate) devices: Vec<Device>,
    /// Collections that should be mapped, each to a redistributor.
    pub(crate) collections: Vec<(u16, u8)>,
    /// Level-1 entries that should be valid.
    pub(crate) level1: BTreeSet<u64>,
    /// It is set up.
    pub(crate) guarded: bool,
    /// Slots that the host wrote and did not post.
    pub(crate) written: u32,
    /// Slots that were posted and may not have been consumed.
    pub(crate) in_flight: u32,
}

impl ExpectedIts {
    fn new(configuration: ItsConfiguration, boot: Boot) -> Self {
        let probed = boot.stage != Stage::Reset;
        Self {
            configuration,
            guarded: boot.stage == Stage::Guarded,
            devices: Vec::new(),
            collections: if probed { vec![(0, 0), (1, 1)] } else { Vec::new() },
            level1: if probed {
                level1_of_collections(&configuration, &boot).collect()
            } else {
                BTreeSet::new()
            },
            written: 0,
            in_flight: 0,
        }
    }

    pub(crate) fn device(&self, device_id: u32) -> Option<&Device> {
        let mut devices = self.devices.iter();
        devices.find(|device| device.device_id == device_id)
    }

    fn device_mut(&mut self, device_id: u32) -> Option<&mut Device> {
        let mut devices = self.devices.iter_mut();
        devices.find(|device| device.device_id == device_id)
    }

    /// The redistributor that a collection should be mapped to.
    pub(crate) fn redistributor(&self, icid: u16) -> Option<u8> {
        let mut collections = self.collections.iter();
        let found = collections.find(|(known, _)| *known == icid);
        found.map(|(_, redistributor)| *redistributor)
    }
}

/// Level-1 entries of a collection table are numbered from here on, so that they count among the
/// blocks in use.
const OF_COLLECTIONS: u64 = 1 << 32;

/// The level-1 entry that the driver's own collections need, if any.
fn level1_of_collections(
    configuration: &ItsConfiguration,
    boot: &Boot,
) -> impl Iterator<Item = u64> {
    let two_levels = boot.two_level_collections && configuration.two_level_collections;
    let held = configuration.hardware_collections >= CPUS;
    (two_levels && !held).then_some(OF_COLLECTIONS).into_iter()
}

/// See the module.
#[derive(Clone, Debug)]
pub(crate) struct ExpectedState {
    pub(crate) boot: Boot,
    /// By CPU.
    finalized: [bool; CPUS as usize],
    /// Of both ITSs together.
    pub(crate) next_intid: u32,
    /// Bytes from the start of [`Area::ITT`] to where nothing was ever used.
    pub(crate) itt_end: u64,
    /// Which ITS the host works on.
    pub(crate) current: u8,
    its: [ExpectedIts; MAX_ITS],
}

impl ExpectedState {
    /// At the start of a scenario.
    pub(crate) fn new(configurations: [ItsConfiguration; MAX_ITS], boot: Boot) -> Self {
        let [first, _] = configurations;
        let mut expected = Self {
            boot,
            finalized: [matches!(boot.stage, Stage::Deprivileged | Stage::Guarded); CPUS as usize],
            next_intid: FIRST_LPI.wrapping_add(boot.live_devices.into()),
            itt_end: PAGE_BYTES,
            current: 0,
            its: configurations.map(|configuration| ExpectedIts::new(configuration, boot)),
        };
        for live in boot.live(&first) {
            expected.map(live.device_id, live.event_id_bits, live.itt, true);
            expected.map_event(
                live.device_id,
                Event { event_id: live.event_id, intid: live.intid, icid: live.icid },
            );
        }
        expected
    }

    /// The ITS that the host works on.
    pub(crate) fn here(&self) -> &ExpectedIts {
        let [first, second] = &self.its;
        if self.current == 0 { first } else { second }
    }

    fn here_mut(&mut self) -> &mut ExpectedIts {
        let [first, second] = &mut self.its;
        if self.current == 0 { first } else { second }
    }

    /// Whether a CPU is deprivileged.
    pub(crate) fn is_finalized(&self, cpu: u8) -> bool {
        self.finalized.get(usize::from(cpu)).is_some_and(|done| *done)
    }

    /// The blocks of [`Area::LEVEL2`] for the ITS that the host works on: the first and how many.
    pub(crate) fn level2_blocks(&self) -> (u64, u64) {
        match (self.boot.its, self.current) {
            (1, _) => (0, 8),
            (_, its) => (u64::from(its).saturating_mul(4), 4),
        }
    }

    /// The level-1 entry of a collection, numbered apart from those of devices; `None` where none
    /// is needed.
    pub(crate) fn collection_index(&self, icid: u16) -> Option<u64> {
        let configuration = &self.here().configuration;
        let two_levels = self.boot.two_level_collections && configuration.two_level_collections;
        let bytes: u64 = configuration.collection_entry_bytes.into();
        let per_page = configuration.page_size.bytes().checked_div(bytes)?;
        let index = u64::from(icid).checked_div(per_page)?;
        (two_levels && icid >= configuration.hardware_collections.into())
            .then(|| OF_COLLECTIONS.saturating_add(index))
    }

    fn device_table(&self) -> Table {
        let page_size = self.here().configuration.largest_page_size();
        Table {
            address: 0,
            bytes: page_size.bytes().saturating_mul(self.boot.table_pages.into()),
            page_size,
            entry_bytes: self.here().configuration.device_entry_bytes.into(),
            indirect: self.here().configuration.two_level,
        }
    }

    /// How many DeviceIDs can be mapped.
    pub(crate) fn device_ids(&self) -> u64 {
        let named = 1_u64.checked_shl(self.here().configuration.device_id_bits.into());
        named.unwrap_or(0).min(self.device_table().capacity())
    }

    /// The level-1 entry of a DeviceID; `None` when the table is flat.
    pub(crate) fn level1_index(&self, device_id: u32) -> Option<u64> {
        let table = self.device_table();
        let index = u64::from(device_id).checked_div(table.entries_per_page());
        index.filter(|_| table.indirect)
    }

    /// Whether there should be an entry for a DeviceID.
    pub(crate) fn is_covered(&self, device_id: u32) -> bool {
        let index = self.level1_index(device_id);
        index.is_none_or(|index| self.here().level1.contains(&index))
    }

    /// Bytes of an ITT for so many EventID bits.
    pub(crate) fn itt_bytes(&self, event_id_bits: u8) -> u64 {
        let size = event_id_bits.saturating_sub(1);
        itt_bytes(size, self.here().configuration.itt_entry_bytes.into())
    }

    /// Slots that can be written before the queue is full.
    pub(crate) fn room(&self) -> u32 {
        let slots = u32::from(self.boot.queue_slots());
        let here = self.here();
        let used = here.written.saturating_add(here.in_flight);
        slots.saturating_sub(used).saturating_sub(1)
    }

    pub(crate) fn device(&self, device_id: u32) -> Option<&Device> {
        self.here().device(device_id)
    }

    /// The devices of the ITS that the host works on are what they were.
    pub(crate) fn devices_of(&mut self, before: &Self) {
        self.here_mut().devices.clone_from(&before.here().devices);
    }

    /// Whether redistributors can clear EnableLPIs.
    pub(crate) fn clears_lpis(&self) -> bool {
        let [first, _] = &self.its;
        first.configuration.choices.picks(EnableLpis::Clearable)
    }

    /// A mapped event of a mapped device.
    pub(crate) fn event(&self, device_id: u32, event_id: u32) -> Option<Event> {
        let mut events = self.device(device_id)?.events.iter();
        events.find(|event| event.event_id == event_id).copied()
    }

    /// The redistributor of an event's collection; 0 where there is none.
    pub(crate) fn redistributor_of(&self, device_id: u32, event_id: u32) -> u8 {
        let event = self.event(device_id, event_id);
        let found = event.and_then(|event| self.here().redistributor(event.icid));
        found.unwrap_or(0)
    }

    /// Follows an operation, as if it succeeded.
    pub(crate) fn follow(&mut self, operation: &Operation) {
        match *operation {
            Operation::Race { .. } => {}
            Operation::Its { its } => self.current = its,
            Operation::Command { command, .. } => {
                self.follow_command(command);
                self.write(1);
            }
            Operation::Rewind { slots } => {
                let here = self.here_mut();
                here.written = here.written.saturating_sub(slots.into());
            }
            Operation::Post { .. } => self.post(0),
            Operation::Poll { times, .. } => self.progress(times.into()),
            Operation::Advance { commands } => self.consume(commands.into()),
            Operation::WriteCbaser { .. }
            | Operation::WriteHalf { register: 8, .. }
            | Operation::Resume { .. }
            | Operation::Probe { .. } => {
                let here = self.here_mut();
                (here.written, here.in_flight) = (0, 0);
            }
            Operation::SetUp { private, descriptor, private_pages, device_flip: 0, .. } => {
                self.set_up(private, descriptor, private_pages)
            }
            Operation::Finalize { cpu } => {
                if let Some(done) = self.finalized.get_mut(usize::from(cpu)) {
                    *done = true;
                }
            }
            Operation::Describe { .. } => self.here_mut().in_flight = 0,
            Operation::PowerLoss { .. } => self.lose_power(),
            Operation::Grow { device_id, .. } => {
                let index = self.level1_index(device_id);
                self.here_mut().level1.extend(index);
            }
            Operation::GrowCollection { icid, .. } => {
                let index = self.collection_index(icid);
                self.here_mut().level1.extend(index);
            }
            _ => self.follow_driver(operation),
        }
    }

    /// What the driver does by commands of its own.
    fn follow_driver(&mut self, operation: &Operation) {
        match *operation {
            Operation::InitCpu { cpu } => {
                self.map_collection(cpu.into(), cpu);
                self.post(3);
            }
            Operation::MapDevice { device_id, event_id_bits, itt, .. } => {
                self.map(device_id, event_id_bits, itt, true);
                self.post(1);
            }
            Operation::MapDevices { device_id, count, stride, event_id_bits, itt, .. } => {
                for n in 0..u32::from(count) {
                    let device_id = device_id.wrapping_add(stride.wrapping_mul(n));
                    self.map(device_id, event_id_bits, itt, true);
                }
                // One ITT behind the other, each at the next possible address.
                let apart = self.itt_bytes(event_id_bits).next_multiple_of(256);
                let others = u64::from(count).saturating_sub(1);
                self.itt_end = self.itt_end.saturating_add(apart.saturating_mul(others));
                self.post(1);
            }
            Operation::MapEvent { device_id, event_id, intid, icid, .. } => {
                let event = Event { event_id, intid, icid };
                self.map_event(device_id, event);
                self.post(2);
            }
            Operation::MoveEvent { device_id, event_id, to, .. } => {
                self.move_event(device_id, event_id, to.into());
                self.post(2);
            }
            Operation::UnmapEvent { device_id, event_id, .. } => {
                self.unmap_event(device_id, event_id);
                self.post(2);
            }
            Operation::Unmask { direct: false, .. } | Operation::Mask { direct: false, .. } => {
                self.post(2);
            }
            Operation::UnmapDevice { device_id, .. } => {
                let device = self.device(device_id);
                let events = device.map_or(0, |device| device.events.len());
                self.unmap(device_id);
                self.post((events as u32).saturating_mul(2).saturating_add(1));
            }
            _ => {}
        }
    }

    fn follow_command(&mut self, command: HostCommand) {
        match command {
            HostCommand::Mapd { device_id, size, itt_address: itt, valid: true }
                if self.is_covered(device_id) =>
            {
                self.map(device_id, size.saturating_add(1), itt, false);
            }
            HostCommand::Mapd { device_id, valid: false, .. } => self.unmap(device_id),
            HostCommand::Mapti { device_id, event_id, intid, icid } => {
                let event = Event { event_id, intid, icid };
                self.map_event(device_id, event);
            }
            HostCommand::Mapi { device_id, event_id, icid } => {
                let event = Event { event_id, intid: event_id, icid };
                self.map_event(device_id, event);
            }
            HostCommand::Movi { device_id, event_id, icid } => {
                self.move_event(device_id, event_id, icid)
            }
            HostCommand::Discard { device_id, event_id } => self.unmap_event(device_id, event_id),
            HostCommand::Mapc { icid, rdbase: Rdbase::Of(redistributor), valid: true } => {
                self.map_collection(icid, redistributor)
            }
            HostCommand::Mapc { icid, valid: false, .. } if !self.here().guarded => {
                self.here_mut().collections.retain(|(known, _)| *known != icid)
            }
            _ => {}
        }
    }

    /// Guarded, if the set-up is the driver's.
    fn set_up(&mut self, private: Place, descriptor: Place, private_pages: u16) {
        let own = |area: Area| Place::page(area.of_its(self.current), 0);
        let right = private == own(Area::PRIVATE)
            && descriptor == own(Area::DESCRIPTOR)
            && private_pages <= Area::PRIVATE.pages();
        if right && self.finalized.iter().all(|done| *done) {
            self.here_mut().guarded = true;
        }
    }

    /// The last set-up should have failed, if it was one that could succeed; `before`: whether the
    /// ITS was guarded.
    pub(crate) fn set_up_failed(&mut self, before: bool) {
        self.here_mut().guarded = before;
    }

    /// What the ITS held without memory is gone.
    fn lose_power(&mut self) {
        let here = self.here_mut();
        let held = u16::from(here.configuration.hardware_collections);
        here.collections.retain(|(icid, _)| *icid >= held);
        here.in_flight = 0;
    }

    fn map(&mut self, device_id: u32, event_id_bits: u8, itt: Place, of_driver: bool) {
        if u64::from(device_id) >= self.device_ids()
            || event_id_bits > self.here().configuration.event_id_bits
        {
            return;
        }
        if let Place::In { area: Area::ITT, page, offset } = itt {
            let start = u64::from(page).saturating_mul(PAGE_BYTES);
            let start = start.saturating_add(offset.into());
            let end = start.saturating_add(self.itt_bytes(event_id_bits));
            self.itt_end = self.itt_end.max(end);
        }
        self.unmap(device_id);
        let index = self.level1_index(device_id);
        self.here_mut().level1.extend(index);
        self.here_mut().devices.push(Device {
            device_id,
            event_id_bits,
            itt,
            events: Vec::new(),
            of_driver,
        });
    }

    fn unmap(&mut self, device_id: u32) {
        let devices = &mut self.here_mut().devices;
        devices.retain(|device| device.device_id != device_id);
    }

    fn map_event(&mut self, device_id: u32, event: Event) {
        self.next_intid = self.next_intid.saturating_add(1);
        if let Some(device) = self.here_mut().device_mut(device_id)
            && !device.has(event.event_id)
            && u64::from(event.event_id) >> device.event_id_bits == 0
        {
            device.events.push(event);
        }
    }

    fn move_event(&mut self, device_id: u32, event_id: u32, icid: u16) {
        if let Some(device) = self.here_mut().device_mut(device_id) {
            let mut events = device.events.iter_mut();
            if let Some(event) = events.find(|event| event.event_id == event_id) {
                event.icid = icid;
            }
        }
    }

    fn unmap_event(&mut self, device_id: u32, event_id: u32) {
        if let Some(device) = self.here_mut().device_mut(device_id) {
            device.events.retain(|event| event.event_id != event_id);
        }
    }

    fn map_collection(&mut self, icid: u16, redistributor: u8) {
        let here = self.here_mut();
        if u32::from(icid) >> here.configuration.collection_id_bits == 0 {
            here.collections.retain(|(known, _)| *known != icid);
            here.collections.push((icid, redistributor));
        }
    }

    fn write(&mut self, slots: u32) {
        let here = self.here_mut();
        here.written = here.written.saturating_add(slots);
    }

    /// What was written, and so many slots more, is posted.
    fn post(&mut self, more: u32) {
        let here = self.here_mut();
        here.in_flight = here.in_flight.saturating_add(here.written).saturating_add(more);
        here.written = 0;
        self.progress(1);
    }

    /// The host looked at the ITS so many times.
    fn progress(&mut self, looks: u32) {
        let commands = match self.here().configuration.pace {
            Pace::AtOnce => 64,
            Pace::Late => 1,
            Pace::Never => 0,
        };
        self.consume(looks.saturating_mul(commands));
    }

    fn consume(&mut self, commands: u32) {
        let here = self.here_mut();
        here.in_flight = here.in_flight.saturating_sub(commands);
    }
}
