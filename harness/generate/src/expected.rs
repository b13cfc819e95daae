//! What the operations drawn so far should have led to, as if each had succeeded: enough to draw
//! legal ones after them.

use std::collections::BTreeSet;

use its_gic::command::COMMAND_BYTES;
use its_gic::geometry::{PAGE_BYTES, Table, itt_bytes};
use its_gic::redistributor::FIRST_LPI;
use its_machine::freedom::choice::EnableLpis;
use its_machine::{Area, ItsConfiguration, MAX_ITS, Pace, Place};
use its_scenario::{Boot, HostCommand, Operation, Rdbase, Stage};

/// Records of devices in one of EL2's private pages (P7).
pub(crate) const RECORDS_PER_PAGE: u64 = PAGE_BYTES / 16;

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

    /// How many EventIDs it has.
    pub(crate) fn event_ids(&self) -> u64 {
        1_u64.checked_shl(self.event_id_bits.into()).unwrap_or(0)
    }

    /// The first EventID from `first` on that is not mapped, and after the last one from 0 on.
    pub(crate) fn free_event(&self, first: u64) -> Option<u32> {
        let mut ids = (first..self.event_ids()).chain(0..first).map(|id| id as u32);
        ids.find(|event| !self.has(*event))
    }
}

/// What one ITS should have come to.
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
    /// Slots that the host wrote, and no CWRITER covers yet.
    pub(crate) written: u32,
    /// Slots that a CWRITER covers, and that may not have been consumed.
    pub(crate) in_flight: u32,
}

impl ExpectedIts {
    fn new(configuration: ItsConfiguration, boot: Boot) -> Self {
        let mut its = Self {
            configuration,
            devices: Vec::new(),
            collections: Vec::new(),
            level1: BTreeSet::new(),
            guarded: boot.stage == Stage::Guarded,
            written: 0,
            in_flight: 0,
        };
        if boot.stage != Stage::Reset {
            let icids = configuration.typer().collection_ids();
            let has = |cpu: &u8| u64::from(*cpu) < icids;
            its.collections = (0..boot.cpus).filter(has).map(|cpu| (cpu.into(), cpu)).collect();
            // The driver's own collections need the first level-1 entry, unless the ITS holds them.
            let held = configuration.hardware_collections >= boot.cpus;
            its.level1.extend((its.two_level_collections(boot) && !held).then_some(OF_COLLECTIONS));
        }
        its
    }

    pub(crate) fn two_level_collections(&self, boot: Boot) -> bool {
        boot.two_level_collections && self.configuration.two_level_collections
    }

    pub(crate) fn device(&self, device_id: u32) -> Option<&Device> {
        self.devices.iter().find(|device| device.device_id == device_id)
    }

    fn device_mut(&mut self, device_id: u32) -> Option<&mut Device> {
        self.devices.iter_mut().find(|device| device.device_id == device_id)
    }

    /// The redistributor that a collection should be mapped to.
    pub(crate) fn redistributor(&self, icid: u16) -> Option<u8> {
        let found = self.collections.iter().find(|(known, _)| *known == icid);
        found.map(|(_, redistributor)| *redistributor)
    }

    /// Whether there is a level-1 entry where one is needed.
    pub(crate) fn has_level1(&self, index: Option<u64>) -> bool {
        index.is_none_or(|index| self.level1.contains(&index))
    }
}

/// Level-1 entries of collections are numbered from here on, to count among the blocks in use.
const OF_COLLECTIONS: u64 = 1 << 32;

/// What the whole board should have come to.
#[derive(Clone, Debug)]
pub(crate) struct ExpectedState {
    pub(crate) boot: Boot,
    /// By CPU.
    finalized: Vec<bool>,
    /// Of all ITSs together.
    pub(crate) next_intid: u32,
    /// Bytes from the start of [`Area::ITT`] to where nothing was ever used.
    pub(crate) itt_end: u64,
    /// Which ITS the host works on.
    pub(crate) current: u8,
    first: ExpectedIts,
    others: Vec<ExpectedIts>,
}

impl ExpectedState {
    /// At the start of a scenario.
    pub(crate) fn new(configurations: [ItsConfiguration; MAX_ITS], boot: Boot) -> Self {
        let [first, ..] = configurations;
        let is_finalized = matches!(boot.stage, Stage::Deprivileged | Stage::Guarded);
        let others = configurations.iter().take(boot.its_slots() as usize).skip(1);
        let mut state = Self {
            boot,
            finalized: vec![is_finalized; boot.cpus.into()],
            next_intid: FIRST_LPI.wrapping_add(boot.live_devices.into()),
            itt_end: PAGE_BYTES,
            current: 0,
            first: ExpectedIts::new(first, boot),
            others: others.map(|other| ExpectedIts::new(*other, boot)).collect(),
        };
        for live in boot.live(&first) {
            state.map(live.device_id, live.event_id_bits, live.itt, true);
            state.map_event(live.device_id, live.event_id, live.intid, live.icid);
        }
        state
    }

    /// The ITS that the host works on.
    pub(crate) fn here(&self) -> &ExpectedIts {
        let other =
            self.current.checked_sub(1).and_then(|other| self.others.get(usize::from(other)));
        other.unwrap_or(&self.first)
    }

    fn here_mut(&mut self) -> &mut ExpectedIts {
        let (first, others) = (&mut self.first, &mut self.others);
        let other =
            self.current.checked_sub(1).and_then(|other| others.get_mut(usize::from(other)));
        other.unwrap_or(first)
    }

    /// Whether a CPU is deprivileged.
    pub(crate) fn is_finalized(&self, cpu: u8) -> bool {
        self.finalized.get(usize::from(cpu)).is_some_and(|done| *done)
    }

    /// The level-1 entry of a collection, from [`OF_COLLECTIONS`] on; `None` where none is needed.
    pub(crate) fn collection_index(&self, icid: u16) -> Option<u64> {
        let configuration = &self.here().configuration;
        let bytes: u64 = configuration.collection_entry_bytes.into();
        let per_page = configuration.page_size.bytes().checked_div(bytes)?;
        let index = u64::from(icid).checked_div(per_page)?;
        let held = icid < configuration.hardware_collections.into();
        (self.here().two_level_collections(self.boot) && !held)
            .then(|| OF_COLLECTIONS.saturating_add(index))
    }

    fn device_table(&self) -> Table {
        let configuration = &self.here().configuration;
        let page_size = configuration.largest_page_size();
        Table {
            address: 0,
            bytes: page_size.bytes().saturating_mul(self.boot.table_pages.into()),
            page_size,
            entry_bytes: configuration.device_entry_bytes.into(),
            indirect: configuration.two_level,
        }
    }

    /// Records of EL2 for devices that are not taken (P7).
    pub(crate) fn free_records(&self) -> u64 {
        let records = u64::from(self.boot.private_pages).saturating_mul(RECORDS_PER_PAGE);
        records.saturating_sub(self.here().devices.len() as u64)
    }

    /// Bytes of the command queue.
    pub(crate) fn queue_bytes(&self) -> u64 {
        u64::from(self.boot.queue_slots()).saturating_mul(COMMAND_BYTES)
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
        self.here().has_level1(self.level1_index(device_id))
    }

    /// Bytes of an ITT for so many EventID bits.
    pub(crate) fn itt_bytes(&self, event_id_bits: u8) -> u64 {
        let size = event_id_bits.saturating_sub(1);
        itt_bytes(size, self.here().configuration.itt_entry_bytes.into())
    }

    /// Slots that can be written before the queue is full.
    pub(crate) fn room(&self) -> u32 {
        let used = self.here().written.saturating_add(self.here().in_flight);
        u32::from(self.boot.queue_slots()).saturating_sub(used).saturating_sub(1)
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
        self.first.configuration.choices.picks(EnableLpis::Clearable)
    }

    /// A mapped event of a mapped device.
    pub(crate) fn event(&self, device_id: u32, event_id: u32) -> Option<Event> {
        let mut events = self.device(device_id)?.events.iter();
        events.find(|event| event.event_id == event_id).copied()
    }

    /// The redistributor of an event's collection; 0 where there is none.
    pub(crate) fn redistributor_of(&self, device_id: u32, event_id: u32) -> u8 {
        let event = self.event(device_id, event_id);
        event.and_then(|event| self.here().redistributor(event.icid)).unwrap_or(0)
    }

    /// The last set-up should have failed; `before`: whether the ITS was guarded.
    pub(crate) fn set_up_failed(&mut self, before: bool) {
        self.here_mut().guarded = before;
    }

    /// Follows an operation, as if it succeeded.
    pub(crate) fn follow(&mut self, operation: &Operation) {
        match *operation {
            Operation::SelectIts { its } => self.current = its,
            Operation::Command { command, .. } => self.follow_command(command),
            Operation::Rewind { slots } => self.rewind(slots.into()),
            Operation::WriteCwriter { .. } => self.post(0),
            Operation::Poll { times, .. } => self.progress(times.into()),
            Operation::Advance { commands } => self.consume(commands.into()),
            Operation::WriteCbaser { .. } | Operation::WriteHalf { register: 8, .. } => {
                self.empty()
            }
            Operation::Resume { .. } | Operation::Probe { .. } => self.empty(),
            Operation::SetUp { private, descriptor, private_pages, device_flip, .. } => {
                self.set_up((private, descriptor), private_pages, device_flip);
            }
            Operation::Finalize { cpu } => self.finalize(cpu),
            Operation::Describe { .. } => self.here_mut().in_flight = 0,
            Operation::PowerLoss { .. } => self.lose_power(),
            Operation::Grow { device_id, .. } => self.cover(self.level1_index(device_id)),
            Operation::GrowCollection { icid, .. } => self.cover(self.collection_index(icid)),
            Operation::InitCpu { cpu } => self.init_cpu(cpu),
            Operation::MapDevice { device_id, event_id_bits, itt, .. } => {
                self.map_run(device_id, (1, 0), event_id_bits, itt);
            }
            Operation::MapDevices { device_id, count, stride, event_id_bits, itt, .. } => {
                self.map_run(device_id, (count, stride), event_id_bits, itt);
            }
            Operation::MapEvent { device_id, event_id, intid, icid, .. } => {
                self.map_event(device_id, event_id, intid, icid);
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
            Operation::UnmapDevice { device_id, .. } => self.unmap_with_events(device_id),
            Operation::Unmask { direct, .. } | Operation::Mask { direct, .. } if direct => {}
            Operation::Unmask { .. } | Operation::Mask { .. } => self.post(2),
            // What changes nothing of this.
            Operation::Read { .. } | Operation::Write { .. } | Operation::WriteHalf { .. } => {}
            Operation::Load { .. } | Operation::Store { .. } | Operation::Tamper { .. } => {}
            Operation::StoreAddress { .. } | Operation::Configure { .. } => {}
            Operation::FlipSlot { .. } | Operation::WriteBaser { .. } | Operation::Race { .. } => {}
            Operation::Enable { .. } | Operation::Disable { .. } | Operation::Quiesce { .. } => {}
            Operation::Suspend { .. } | Operation::Msi { .. } | Operation::Acknowledge { .. } => {}
            Operation::Share { .. } | Operation::Unshare { .. } | Operation::Fail { .. } => {}
            Operation::DonateGuest { .. } | Operation::ReclaimGuest { .. } => {}
            Operation::RawHypercall { .. } | Operation::SetUpRedistributors { .. } => {}
            Operation::TearDown { .. } | Operation::Stall { .. } => {}
            Operation::EnableByOther {} => {}
            Operation::Progress { .. } | Operation::Clean { .. } | Operation::WriteBack { .. } => {}
        }
    }

    fn follow_command(&mut self, command: HostCommand) {
        match command {
            HostCommand::Mapd { device_id, size, itt_address: itt, valid: true } => {
                if self.is_covered(device_id) {
                    self.map(device_id, size.saturating_add(1), itt, false);
                }
            }
            HostCommand::Mapd { device_id, valid: false, .. } => self.unmap(device_id),
            HostCommand::Mapti { device_id, event_id, intid, icid } => {
                self.map_event(device_id, event_id, intid, icid);
            }
            HostCommand::Mapi { device_id, event_id, icid } => {
                self.map_event(device_id, event_id, event_id, icid);
            }
            HostCommand::Movi { device_id, event_id, icid } => {
                self.move_event(device_id, event_id, icid);
            }
            HostCommand::Discard { device_id, event_id } => self.unmap_event(device_id, event_id),
            HostCommand::Mapc { icid, rdbase: Rdbase::Of(redistributor), valid: true } => {
                self.map_collection(icid, redistributor);
            }
            HostCommand::Mapc { icid, valid: false, .. } if !self.here().guarded => {
                self.here_mut().collections.retain(|(known, _)| *known != icid);
            }
            HostCommand::Mapc { .. } | HostCommand::Movall { .. } | HostCommand::Invall { .. } => {}
            HostCommand::Int { .. } | HostCommand::Clear { .. } | HostCommand::Inv { .. } => {}
            HostCommand::Sync { .. } | HostCommand::Raw { .. } => {}
        }
        let here = self.here_mut();
        here.written = here.written.saturating_add(1);
    }

    /// Guarded, if the set-up is the driver's.
    fn set_up(&mut self, places: (Place, Place), private_pages: u16, device_flip: u64) {
        let private = self.boot.private_place(self.current);
        let descriptor = Place::page(Area::DESCRIPTOR.of_its(self.current), 0);
        let right = places == (private, descriptor)
            && private_pages <= 4.max(self.boot.private_pages.into())
            && device_flip == 0;
        if right && self.finalized.iter().all(|done| *done) {
            self.here_mut().guarded = true;
        }
    }

    fn finalize(&mut self, cpu: u8) {
        if let Some(done) = self.finalized.get_mut(usize::from(cpu)) {
            *done = true;
        }
    }

    /// What the ITS held without memory is gone.
    fn lose_power(&mut self) {
        let here = self.here_mut();
        let held = u16::from(here.configuration.hardware_collections);
        here.collections.retain(|(icid, _)| *icid >= held);
        here.in_flight = 0;
    }

    fn cover(&mut self, index: Option<u64>) {
        self.here_mut().level1.extend(index);
    }

    fn init_cpu(&mut self, cpu: u8) {
        self.map_collection(cpu.into(), cpu);
        self.post(3);
    }

    /// So many devices of the driver, from one DeviceID to the next so far apart.
    fn map_run(&mut self, first: u32, (count, stride): (u16, u32), event_id_bits: u8, itt: Place) {
        for n in 0..u32::from(count) {
            self.map(first.wrapping_add(stride.wrapping_mul(n)), event_id_bits, itt, true);
        }
        // One ITT behind the other, each at the next possible address.
        let apart = self.itt_bytes(event_id_bits).next_multiple_of(256);
        let others = u64::from(count).saturating_sub(1);
        self.itt_end = self.itt_end.saturating_add(apart.saturating_mul(others));
        self.post(1);
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
            self.itt_end = self.itt_end.max(start.saturating_add(self.itt_bytes(event_id_bits)));
        }
        self.unmap(device_id);
        self.cover(self.level1_index(device_id));
        let device = Device { device_id, event_id_bits, itt, events: Vec::new(), of_driver };
        self.here_mut().devices.push(device);
    }

    fn unmap(&mut self, device_id: u32) {
        self.here_mut().devices.retain(|device| device.device_id != device_id);
    }

    /// A device of the driver, which discards its events first.
    fn unmap_with_events(&mut self, device_id: u32) {
        let events = self.device(device_id).map_or(0, |device| device.events.len());
        self.unmap(device_id);
        self.post((events as u32).saturating_mul(2).saturating_add(1));
    }

    fn map_event(&mut self, device_id: u32, event_id: u32, intid: u32, icid: u16) {
        self.next_intid = self.next_intid.saturating_add(1);
        if let Some(device) = self.here_mut().device_mut(device_id)
            && !device.has(event_id)
            && u64::from(event_id) >> device.event_id_bits == 0
        {
            device.events.push(Event { event_id, intid, icid });
        }
    }

    fn move_event(&mut self, device_id: u32, event_id: u32, icid: u16) {
        let device = self.here_mut().device_mut(device_id);
        let mut events = device.into_iter().flat_map(|device| &mut device.events);
        if let Some(event) = events.find(|event| event.event_id == event_id) {
            event.icid = icid;
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

    /// The queue starts again.
    fn empty(&mut self) {
        let here = self.here_mut();
        (here.written, here.in_flight) = (0, 0);
    }

    fn rewind(&mut self, slots: u32) {
        let here = self.here_mut();
        here.written = here.written.saturating_sub(slots);
    }

    /// CWRITER covers what was written, and so many slots more.
    fn post(&mut self, more: u32) {
        let here = self.here_mut();
        here.in_flight = here.in_flight.saturating_add(here.written).saturating_add(more);
        here.written = 0;
        self.progress(1);
    }

    /// The host looked at the ITS so many times.
    fn progress(&mut self, looks: u32) {
        self.consume(looks.saturating_mul(match self.here().configuration.pace {
            Pace::AtOnce => 64,
            Pace::Late => 1,
            Pace::Never => 0,
        }));
    }

    fn consume(&mut self, commands: u32) {
        let here = self.here_mut();
        here.in_flight = here.in_flight.saturating_sub(commands);
    }
}
