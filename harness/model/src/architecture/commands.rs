//! The twelve commands: their checks in the architecture's order, their errors, and what they do.
//!
//! Each is written as a sequence that asks a [`Path`] where the architecture leaves a choice or contents are not
//! known; [`Architecture::fetched`] holds what the ITS did against all ways.

use std::collections::BTreeMap;

use its_el2::freedom::choice::{
    AbsentLevel2, Effects, ErrorNumbers, Invall, LpisOff, MappedEvent, MovedCollection, OnError,
    RemappedDevice, SyncNowhere, UnknownCommand, UnmappedCollection, UnmappedPending,
    UnmappedRdbase, WideIntid,
};
use its_gic::Command;
use its_gic::command::{Words, opcode};
use its_gic::geometry::itt_bytes;
use its_gic::redistributor::FIRST_LPI;

use super::cells::{Entry, Slot};
use super::path::{Change, Path, Undefined, explore};
use super::possible::{Possible, Truth};
use super::tables::{At, COLLECTIONS, DEVICES};
use super::{Architecture, Late, overlap};
use crate::judgement::{Judgement, Kind};

/// What keeps a command from being carried out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// A command error, with one of these numbers; with any if there are none.
    Error(Vec<u32>),
    Undefined(Undefined),
}

impl From<Undefined> for Fault {
    fn from(why: Undefined) -> Self {
        Self::Undefined(why)
    }
}

const ANY_NUMBER: Fault = Fault::Error(Vec::new());

/// Reason bytes of error numbers (GIC-600 TRM, Linux).
mod reason {
    pub(super) const DEVICE_OOR: u8 = 0x01;
    pub(super) const ITTSIZE_OOR: u8 = 0x02;
    pub(super) const COLLECTION_OOR: u8 = 0x03;
    pub(super) const UNMAPPED_DEVICE: u8 = 0x04;
    pub(super) const ID_OOR: u8 = 0x05;
    pub(super) const PHYSICALID_OOR: u8 = 0x06;
    pub(super) const UNMAPPED_INTERRUPT: u8 = 0x07;
    pub(super) const UNMAPPED_COLLECTION: u8 = 0x09;
}

/// A command error. The command's byte is its opcode, but 0x05 for CLEAR. Numbers that only follow the pattern of
/// others were found nowhere and are not demanded.
fn error(code: u8, reason: u8) -> Fault {
    let found = match code {
        opcode::MAPTI => reason != 0x01 && reason != 0x03,
        opcode::MAPI => reason != 0x06,
        opcode::DISCARD => reason == 0x07,
        _ => true,
    };
    let command = if code == opcode::CLEAR { 0x05 } else { code };
    let number = 0x1_0000 | u32::from(command) << 8 | u32::from(reason);
    Fault::Error(if found { vec![number] } else { Vec::new() })
}

/// A mapped event, and the redistributor of its collection.
struct Event {
    slot: Slot,
    bytes: u64,
    intid: u32,
    icid: u16,
    redistributor: Option<u8>,
}

/// One command of one ITS, on one way.
struct Run<'a> {
    on: &'a Architecture,
    its: usize,
    opcode: u8,
    path: &'a mut Path,
}

impl Run<'_> {
    fn execute(&mut self, command: Command) -> Result<(), Fault> {
        match command {
            Command::Mapd {
                device_id,
                size,
                itt_address,
                valid,
            } => self.mapd(device_id, valid.then_some((itt_address, size))),
            Command::Mapc {
                icid,
                rdbase,
                valid,
            } => self.mapc(icid, rdbase, valid),
            Command::Mapti {
                device_id,
                event_id,
                intid,
                icid,
            } => self.map((device_id, event_id), intid, icid),
            Command::Mapi {
                device_id,
                event_id,
                icid,
            } => self.map((device_id, event_id), event_id, icid),
            Command::Movi {
                device_id,
                event_id,
                icid,
            } => self.movi((device_id, event_id), icid),
            Command::Int {
                device_id,
                event_id,
            } => self.int((device_id, event_id)),
            Command::Clear {
                device_id,
                event_id,
            } => self.clear((device_id, event_id)),
            Command::Inv {
                device_id,
                event_id,
            } => self.inv((device_id, event_id)),
            Command::Discard {
                device_id,
                event_id,
            } => self.discard((device_id, event_id)),
            Command::Invall { icid } => self.invall(icid),
            Command::Movall {
                from_rdbase,
                to_rdbase,
            } => self.movall(from_rdbase, to_rdbase),
            Command::Sync { rdbase } => self.sync(rdbase),
            Command::Unknown { .. } => match self.path.choose::<UnknownCommand>() {
                UnknownCommand::Refused => Err(ANY_NUMBER),
                UnknownCommand::Skipped => Ok(()),
            },
        }
    }

    fn error(&self, reason: u8) -> Fault {
        error(self.opcode, reason)
    }

    fn redistributor(&self, rdbase: u64) -> Option<u8> {
        self.on.machine.redistributor(self.its as u8, rdbase)
    }

    fn write(&mut self, slot: Slot, entry: Entry) {
        self.path
            .changes
            .push(Change::Entry(slot, Possible::only(entry)));
    }

    fn pending(&self, redistributor: u8, intid: u32) -> Truth {
        self.on.redistributors[usize::from(redistributor)]
            .pending
            .get(intid)
    }

    fn set_pending(&mut self, redistributor: u8, intid: u32, truth: Truth) {
        self.path
            .changes
            .push(Change::Pending(redistributor, intid, truth));
    }

    // ---- looking up

    /// An id without a level-2 table, of a command that does not write its entry.
    fn absent(&mut self, unmapped: Option<u8>, out_of_range: u8) -> Result<(), Fault> {
        match (self.path.choose::<AbsentLevel2>(), unmapped) {
            (AbsentLevel2::OutOfRange, _) => Err(self.error(out_of_range)),
            (AbsentLevel2::Unmapped, Some(unmapped)) => Err(self.error(unmapped)),
            (AbsentLevel2::Unmapped, None) => Ok(()),
        }
    }

    /// DeviceID in range and its entry backed by memory: where it is, and what it holds.
    fn device(&mut self, device_id: u32) -> Result<(Option<Slot>, Entry), Fault> {
        let beyond = self.error(reason::DEVICE_OOR);
        if u64::from(device_id) >= self.on.its[self.its].typer.device_ids() {
            return Err(beyond);
        }
        let at = self.on.locate(self.its, DEVICES, device_id, self.path)?;
        if self.opcode != opcode::MAPD && !matches!(at, At::Slot(..)) {
            let cached = self.on.unbacked(self.its, DEVICES, device_id, self.path)?;
            if cached != Entry::Nothing {
                return Ok((None, cached));
            }
        }
        match at {
            At::Beyond => Err(beyond),
            At::Absent if self.opcode == opcode::MAPD => Err(beyond),
            At::Absent => {
                self.absent(Some(reason::UNMAPPED_DEVICE), reason::DEVICE_OOR)?;
                Err(beyond)
            }
            At::Slot(slot, bytes) => {
                let entry = self.on.entry(DEVICES, device_id, slot, bytes);
                Ok((Some(slot), self.path.read(slot, &entry)?))
            }
        }
    }

    /// A mapped device, and EventID within its ITT: the entry's place.
    fn event_slot(&mut self, id: (u32, u32)) -> Result<(Slot, u64), Fault> {
        let (_, entry) = self.device(id.0)?;
        let Entry::Device { itt, size } = entry else {
            return Err(self.error(reason::UNMAPPED_DEVICE));
        };
        if u64::from(id.1) >= 2_u64 << size {
            return Err(self.error(reason::ID_OOR));
        }
        Ok(self.on.event_slot(self.its, id, itt))
    }

    /// A mapped event. Its collection may be unmapped.
    fn event(&mut self, id: (u32, u32)) -> Result<Event, Fault> {
        let (slot, bytes) = self.event_slot(id)?;
        let entry = self.path.read(slot, &self.on.seen(slot, bytes))?;
        let Entry::Interrupt { intid, icid } = entry else {
            return Err(self.error(reason::UNMAPPED_INTERRUPT));
        };
        let redistributor = self.collection_of(icid)?;
        Ok(Event {
            slot,
            bytes,
            intid,
            icid,
            redistributor,
        })
    }

    /// The redistributor of a collection, however far out its ICID is.
    fn collection_of(&mut self, icid: u16) -> Result<Option<u8>, Undefined> {
        self.on.collection_of(self.its, icid, self.path)
    }

    /// ICID in range and its entry held or backed by memory; `None`: its level-2 table is absent.
    fn collection(&mut self, icid: u16) -> Result<Option<(Slot, Entry)>, Fault> {
        let beyond = self.error(reason::COLLECTION_OOR);
        if u64::from(icid) >= self.on.its[self.its].typer.collection_ids() {
            return Err(beyond);
        }
        match self
            .on
            .locate(self.its, COLLECTIONS, icid.into(), self.path)?
        {
            At::Beyond => Err(beyond),
            At::Absent => Ok(None),
            At::Slot(slot, bytes) => {
                let entry = self.on.entry(COLLECTIONS, icid.into(), slot, bytes);
                Ok(Some((slot, self.path.read(slot, &entry)?)))
            }
        }
    }

    fn mapped_collection(&mut self, icid: u16) -> Result<u8, Fault> {
        match self.collection(icid)? {
            Some((_, Entry::Collection(redistributor))) => return Ok(redistributor),
            Some(_) => {}
            None => {
                if let Some(redistributor) = self.collection_of(icid)? {
                    return Ok(redistributor);
                }
                self.absent(Some(reason::UNMAPPED_COLLECTION), reason::COLLECTION_OOR)?;
            }
        }
        Err(self.error(reason::UNMAPPED_COLLECTION))
    }

    // ---- mapping devices and collections

    fn mapd(&mut self, device_id: u32, itt: Option<(u64, u8)>) -> Result<(), Fault> {
        let (Some(slot), old) = self.device(device_id)? else {
            return Err(self.error(reason::DEVICE_OOR));
        };
        if let Some((address, size)) = itt {
            if size > self.on.its[self.its].typer.id_bits() {
                return Err(self.error(reason::ITTSIZE_OOR));
            }
            self.check_itt(address, size)?;
        }
        if let Entry::Device { itt, size } = old {
            self.leave_itt(device_id, itt, size);
        }
        if let Some((address, size)) = itt {
            self.share_itts(device_id, address, size);
        }
        self.path
            .changes
            .push(Change::SettleDevice(self.its as u8, device_id));
        self.write(
            slot,
            match itt {
                Some((itt, size)) => Entry::Device { itt, size },
                None => Entry::Nothing,
            },
        );
        Ok(())
    }

    /// MAPD: the ITT is memory, and not that of another structure.
    fn check_itt(&self, address: u64, size: u8) -> Result<(), Undefined> {
        let bytes = itt_bytes(size, self.on.its[self.its].typer.itt_entry_bytes());
        if !self.on.machine.is_memory(address, bytes) {
            return Err("an ITT is no memory");
        }
        let taken = |other| overlap(other, (address, bytes));
        if self.on.structures().into_iter().any(taken) {
            return Err("an ITT lies on the queue or a table");
        }
        let tables = self.on.cells.under(address, bytes);
        let table = |slot| matches!(slot, Slot::Device { .. } | Slot::Collection { .. });
        match tables.map(|cell| cell.slot).any(table) {
            true => Err("an ITT lies on a level-2 table"),
            false => Ok(()),
        }
    }

    /// MAPD: an ITT that another device uses, too, is nothing that anybody knows.
    fn share_itts(&mut self, device_id: u32, address: u64, size: u8) {
        let on = self.on;
        let range = |its: usize, address, size| {
            (
                address,
                itt_bytes(size, on.its[its].typer.itt_entry_bytes()),
            )
        };
        let new = range(self.its, address, size);
        for its in 0..on.its.len() {
            for (other, itt, size) in on.devices(its) {
                let old = range(its, itt, size);
                if (its, other) != (self.its, device_id) && overlap(old, new) {
                    self.path.changes.push(Change::Taint(old.0, old.1));
                    self.path.changes.push(Change::Taint(new.0, new.1));
                }
            }
        }
    }

    /// A mapped device is mapped elsewhere or unmapped: its events are no longer cached, and may be dropped with what
    /// was pending.
    fn leave_itt(&mut self, device_id: u32, itt: u64, size: u8) {
        let on = self.on;
        let cells: Vec<_> = on.itt_cells(self.its, device_id, itt, size).collect();
        let known = cells.iter().all(|cell| cell.seen != Possible::Any);
        let bytes = itt_bytes(size, on.its[self.its].typer.itt_entry_bytes());
        let destroyed = !known
            || on.cells.is_tainted(itt, bytes)
            || !on.memory.is_zero(itt & !7, (itt & 7) + bytes);
        if cells.is_empty() && !destroyed {
            return;
        }
        let dropped = self.path.choose::<RemappedDevice>() == RemappedDevice::Dropped;
        let silent = self.path.choose::<UnmappedPending>() == UnmappedPending::Dropped;
        for cell in cells {
            if silent {
                self.drop_pending(&cell.seen);
            }
            let left = match dropped {
                true => Possible::only(Entry::Nothing),
                false => on.cells.stored(cell.slot),
            };
            self.path.changes.push(Change::Entry(cell.slot, left));
        }
        if silent && destroyed {
            let all = 0..on.redistributors.len() as u8;
            self.path.changes.extend(all.map(Change::PendingUnknown));
        }
    }

    fn drop_pending(&mut self, entry: &Possible<Entry>) {
        let Possible::Of(values) = entry else { return };
        for value in values {
            if let Entry::Interrupt { intid, icid } = value
                && let Ok(Some(redistributor)) = self.collection_of(*icid)
            {
                let sure = match values.len() {
                    1 => Truth::No,
                    _ => self.pending(redistributor, *intid).min(Truth::Maybe),
                };
                self.set_pending(redistributor, *intid, sure);
            }
        }
    }

    fn mapc(&mut self, icid: u16, rdbase: u64, valid: bool) -> Result<(), Fault> {
        let Some((slot, old)) = self.collection(icid)? else {
            return Err(self.error(reason::COLLECTION_OOR));
        };
        let named = self.redistributor(rdbase);
        if named.is_none()
            && (valid || self.path.choose::<UnmappedRdbase>() == UnmappedRdbase::Checked)
        {
            return Err(match self.path.choose::<ErrorNumbers>() {
                ErrorNumbers::Common => Fault::Error(vec![0x01_0902]),
                ErrorNumbers::Gic600 => Fault::Error(vec![0x01_0920]),
            });
        }
        let new = named.filter(|_| valid);
        if let (Entry::Collection(old), Some(new)) = (old, new)
            && old != new
        {
            self.move_collection(icid, old, new);
        }
        self.write(slot, new.map_or(Entry::Nothing, Entry::Collection));
        Ok(())
    }

    /// MAPC: whether pending LPIs follow a collection that changes its redistributor.
    fn move_collection(&mut self, icid: u16, old: u8, new: u8) {
        let events = self.on.events_of(self.its, icid);
        if events.is_empty() || self.path.choose::<MovedCollection>() == MovedCollection::Stays {
            return;
        }
        for (_, _, entry) in events {
            match entry.known() {
                Some(Entry::Interrupt { intid, .. }) => self.move_pending(intid, old, new),
                _ => {
                    let both = [old, new].map(Change::PendingUnknown);
                    self.path.changes.extend(both);
                }
            }
        }
    }

    fn move_pending(&mut self, intid: u32, from: u8, to: u8) {
        let moved = self.pending(from, intid);
        if from == to || moved == Truth::No {
            return;
        }
        let takes = self.on.redistributors[usize::from(to)].takes(intid);
        let there = self.pending(to, intid);
        self.set_pending(from, intid, Truth::No);
        match self.on.redistributors[usize::from(to)].on() {
            Truth::Yes if takes => self.set_pending(to, intid, there.max(moved)),
            Truth::No => {}
            _ if !takes => {}
            _ => self.set_pending(to, intid, there.max(Truth::Maybe)),
        }
    }

    // ---- mapping events

    fn map(&mut self, id: (u32, u32), intid: u32, icid: u16) -> Result<(), Fault> {
        let (slot, bytes) = self.event_slot(id)?;
        self.check_intid(intid)?;
        if self.collection(icid)?.is_none() {
            self.absent(None, reason::COLLECTION_OOR)?;
        }
        let new = Entry::Interrupt { intid, icid };
        let old = self.path.read(slot, &self.on.seen(slot, bytes))?;
        if old == Entry::Nothing || old == new {
            self.write(slot, new);
            return Ok(());
        }
        match self.path.choose::<MappedEvent>() {
            MappedEvent::Overwritten => self.write(slot, new),
            MappedEvent::Kept => {}
            MappedEvent::Refused => return Err(ANY_NUMBER),
        }
        Ok(())
    }

    /// An LPI of the GIC; one beyond what redistributors were given may be refused too.
    fn check_intid(&mut self, intid: u32) -> Result<(), Fault> {
        let beyond = self.error(reason::PHYSICALID_OOR);
        if intid < FIRST_LPI || u64::from(intid) >= 1 << self.on.machine.intid_bits {
            return Err(beyond);
        }
        let first = &self.on.redistributors[0];
        let unknown = !first.propbaser.knows(0x1f);
        let wide = !(first.takes(intid) || unknown && self.path.maybe());
        if wide && self.path.choose::<WideIntid>() == WideIntid::Refused {
            return Err(beyond);
        }
        Ok(())
    }

    fn movi(&mut self, id: (u32, u32), icid: u16) -> Result<(), Fault> {
        let event = self.event(id)?;
        let Some(from) = event.redistributor else {
            return Err(self.error(reason::UNMAPPED_COLLECTION));
        };
        let to = self.mapped_collection(icid)?;
        self.write(
            event.slot,
            Entry::Interrupt {
                intid: event.intid,
                icid,
            },
        );
        self.move_pending(event.intid, from, to);
        Ok(())
    }

    fn discard(&mut self, id: (u32, u32)) -> Result<(), Fault> {
        let event = self.event(id)?;
        let target = self.target(&event)?;
        self.write(event.slot, Entry::Nothing);
        if let Some(redistributor) = target {
            self.set_pending(redistributor, event.intid, Truth::No);
        }
        Ok(())
    }

    // ---- interrupts

    /// The redistributor of an event. Whether an unmapped collection is an error differs between ITSs; an ICID that the
    /// table no longer holds has a number of its own.
    fn target(&mut self, event: &Event) -> Result<Option<u8>, Fault> {
        if event.redistributor.is_some() {
            return Ok(event.redistributor);
        }
        match self.path.choose::<UnmappedCollection>() {
            UnmappedCollection::Done => Ok(None),
            UnmappedCollection::Refused => match self.on.holds(self.its, event.icid) {
                true => Err(match self.opcode {
                    opcode::INV | opcode::DISCARD => ANY_NUMBER,
                    _ => self.error(reason::UNMAPPED_COLLECTION),
                }),
                false => Err(ANY_NUMBER),
            },
        }
    }

    fn int(&mut self, id: (u32, u32)) -> Result<(), Fault> {
        let event = self.event(id)?;
        let Some(redistributor) = self.target(&event)? else {
            return Ok(());
        };
        let to = &self.on.redistributors[usize::from(redistributor)];
        let off = match to.on() {
            Truth::Yes => false,
            Truth::No => true,
            Truth::Maybe => self.path.maybe(),
        };
        if off {
            return match self.path.choose::<LpisOff>() {
                LpisOff::Done => Ok(()),
                LpisOff::Refused => Err(ANY_NUMBER),
            };
        }
        if to.takes(event.intid) {
            self.set_pending(redistributor, event.intid, Truth::Yes);
        }
        Ok(())
    }

    fn clear(&mut self, id: (u32, u32)) -> Result<(), Fault> {
        let event = self.event(id)?;
        if let Some(redistributor) = self.target(&event)? {
            self.set_pending(redistributor, event.intid, Truth::No);
        }
        Ok(())
    }

    fn inv(&mut self, id: (u32, u32)) -> Result<(), Fault> {
        let event = self.event(id)?;
        debug_assert!(event.bytes > 0);
        if let Some(redistributor) = self.target(&event)? {
            let forgotten = Change::Forget(redistributor, Some(vec![event.intid]));
            self.path.changes.push(forgotten);
        }
        Ok(())
    }

    fn invall(&mut self, icid: u16) -> Result<(), Fault> {
        let redistributor = self.mapped_collection(icid)?;
        let forgotten = match self.path.choose::<Invall>() {
            Invall::Everything => None,
            Invall::Collection => {
                let events = self.on.events_of(self.its, icid).into_iter();
                let intid = |entry: Possible<Entry>| match entry.known() {
                    Some(Entry::Interrupt { intid, .. }) => Some(intid),
                    _ => None,
                };
                Some(events.filter_map(|(_, _, entry)| intid(entry)).collect())
            }
        };
        self.path
            .changes
            .push(Change::Forget(redistributor, forgotten));
        Ok(())
    }

    fn movall(&mut self, from_rdbase: u64, to_rdbase: u64) -> Result<(), Fault> {
        let named = |rdbase| self.redistributor(rdbase);
        let (Some(from), Some(to)) = (named(from_rdbase), named(to_rdbase)) else {
            return Err(match self.path.choose::<ErrorNumbers>() {
                ErrorNumbers::Common => self.error(0x01),
                ErrorNumbers::Gic600 => Fault::Error(vec![0x01_0e20, 0x01_0e21]),
            });
        };
        if from == to {
            return Ok(());
        }
        let [source, target] = [from, to].map(|one| &self.on.redistributors[usize::from(one)]);
        let on = [source, target].map(|one| one.on());
        if on != [Truth::Yes; 2] {
            let refused = self.path.choose::<LpisOff>() == LpisOff::Refused;
            if refused && on.contains(&Truth::Maybe) && self.path.maybe() {
                return Ok(());
            }
            return if refused {
                Err(ANY_NUMBER)
            } else {
                self.movall_off(from, to)
            };
        }
        if source.pending.unknown {
            self.path
                .changes
                .extend([from, to].map(Change::PendingUnknown));
        }
        let pending: Vec<u32> = source.pending.iter().map(|(intid, _)| intid).collect();
        for intid in pending {
            self.move_pending(intid, from, to);
        }
        Ok(())
    }

    /// MOVALL with LPIs off at one end: what was pending at the other may be lost.
    fn movall_off(&mut self, from: u8, to: u8) -> Result<(), Fault> {
        self.path
            .changes
            .extend([from, to].map(Change::PendingUnknown));
        Ok(())
    }

    fn sync(&mut self, rdbase: u64) -> Result<(), Fault> {
        if let Some(redistributor) = self.redistributor(rdbase) {
            let its = self.its as u8;
            self.path.changes.push(Change::Settle(its, redistributor));
            return Ok(());
        }
        match self.path.choose::<SyncNowhere>() {
            SyncNowhere::Done => Ok(()),
            SyncNowhere::Refused => Err(ANY_NUMBER),
        }
    }
}

/// What the physical ITS did about a command that it fetched.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Fetched {
    pub(crate) offset: u64,
    pub(crate) words: Words,
    pub(crate) stalled: bool,
    /// With an error, whose number may not be known.
    pub(crate) error: Option<Option<u32>>,
}

type Way = (Path, Result<(), Fault>);

impl Architecture {
    /// Every way in which a command can go.
    pub(crate) fn ways(&self, its: usize, command: Command) -> Result<Vec<Way>, Undefined> {
        let opcode = command.encode()[0] as u8;
        explore(&self.its[its].freedoms, |path| {
            let mut run = Run {
                on: self,
                its,
                opcode,
                path,
            };
            run.execute(command)
        })
    }

    /// The physical ITS took a command, or stalled on it.
    pub(crate) fn fetched(&mut self, its: usize, fetched: Fetched, judgement: &mut Judgement) {
        judgement.fetched += 1;
        judgement.errors += u32::from(fetched.error.is_some());
        let Fetched {
            offset,
            words,
            stalled,
            ..
        } = fetched;
        let registers = self.its[its].registers;
        let freedoms = self.its[its].freedoms;
        if !registers.can_fetch(&freedoms) || registers.offset() != offset {
            let expected = format!("{:#x}, if at all", registers.creadr);
            let path = format!("its{its}.fetch");
            return judgement.disagree(
                Kind::Fetch,
                "CREADR",
                path,
                expected,
                format!("{offset:#x}"),
            );
        }
        let command = Command::decode(words);
        let queues = registers.queues(&freedoms);
        let written = |queue: &its_gic::geometry::Queue| self.memory.command(queue.slot(offset));
        if !queues.iter().map(written).any(|written| written == words) {
            let expected = format!("{:x?}", queues.first().map(written));
            let path = format!("its{its}.slot {offset:#x}");
            judgement.disagree(
                Kind::Fetch,
                command.name(),
                path,
                expected,
                format!("{words:x?}"),
            );
        }
        let ways = match self.ways(its, command) {
            Ok(ways) => ways,
            Err(why) => return judgement.poison(why),
        };
        self.its[its].registers.advance(stalled);
        if let Some(why) = undefined(&ways) {
            return judgement.poison(why);
        }
        let allowed = describe(&ways);
        let fits = |(_, result): &Way| fits(result, fetched, &freedoms);
        let paths: Vec<Path> = ways
            .into_iter()
            .filter(fits)
            .map(|(path, _)| path)
            .collect();
        if paths.is_empty() {
            let path = format!("its{its}.slot {offset:#x} {}", command.name());
            let seen = format!("error {:x?}, stalled: {stalled}", fetched.error);
            return judgement.disagree(Kind::Outcome, command.name(), path, allowed, seen);
        }
        if let [path] = &paths[..] {
            judgement.choices.extend(path.choices.iter().copied());
        }
        let deltas: Vec<Delta> = paths.into_iter().map(Delta::from).collect();
        if fetched.error.is_none() {
            self.note_late(its, command, &deltas);
        }
        self.touch(its, command);
        self.apply(&deltas);
        self.touch(its, command);
    }

    /// Effects::AtSync: MSIs may go by the translation before a command until a SYNC.
    fn note_late(&mut self, its: usize, command: Command, deltas: &[Delta]) {
        let freedoms = self.its[its].freedoms;
        let changes = |delta: &Delta| {
            let entry = |change: &Change| matches!(change, Change::Entry(..));
            delta.changes.iter().any(entry)
        };
        if !freedoms.allow(Effects::AtSync) || !deltas.iter().any(changes) {
            return;
        }
        let (ids, to) = match command {
            Command::Mapti {
                device_id,
                event_id,
                icid,
                ..
            }
            | Command::Mapi {
                device_id,
                event_id,
                icid,
            }
            | Command::Movi {
                device_id,
                event_id,
                icid,
            } => (
                vec![(device_id, event_id)],
                self.known_redistributor(its, icid),
            ),
            Command::Discard {
                device_id,
                event_id,
            } => {
                let before = self.translate(its, device_id, event_id).known().flatten();
                (
                    vec![(device_id, event_id)],
                    before.and_then(|to| to.redistributor),
                )
            }
            Command::Mapc {
                icid,
                rdbase,
                valid,
            } => {
                let events = self.events_of(its, icid).into_iter();
                let to = match valid {
                    true => self.machine.redistributor(its as u8, rdbase),
                    false => self.known_redistributor(its, icid),
                };
                (events.map(|(_, id, _)| id).collect(), to)
            }
            _ => return,
        };
        for (device_id, event_id) in ids {
            let before = self.translate(its, device_id, event_id);
            let late = Late {
                device_id,
                event_id,
                before,
                redistributor: to,
            };
            self.its[its].late.push(late);
        }
    }

    fn known_redistributor(&self, its: usize, icid: u16) -> Option<u8> {
        let found = explore(&self.its[its].freedoms, |path| {
            self.collection_of(its, icid, path)
        });
        match found.as_deref() {
            Ok([(_, Ok(redistributor))]) => *redistributor,
            _ => None,
        }
    }

    /// Translations that a command may change.
    fn touch(&mut self, its: usize, command: Command) {
        let number = its as u8;
        let mut touched = Vec::new();
        match command {
            Command::Mapd { device_id, .. } => {
                touched.push((number, device_id, 0));
                for (id, itt, size) in self.devices(its) {
                    if id != device_id {
                        continue;
                    }
                    for cell in self.itt_cells(its, id, itt, size) {
                        if let Slot::Interrupt { event_id, .. } = cell.slot {
                            touched.push((number, id, event_id));
                        }
                    }
                }
            }
            Command::Mapc { icid, .. } => {
                let events = self.events_of(its, icid).into_iter();
                touched.extend(events.map(|(_, id, _)| (number, id.0, id.1)));
            }
            Command::Mapti {
                device_id,
                event_id,
                ..
            }
            | Command::Mapi {
                device_id,
                event_id,
                ..
            }
            | Command::Movi {
                device_id,
                event_id,
                ..
            }
            | Command::Discard {
                device_id,
                event_id,
            } => {
                touched.push((number, device_id, event_id));
            }
            _ => {}
        }
        self.touched.extend(touched);
    }

    /// Takes what every allowed way did; where they differ, all of it is possible.
    pub(crate) fn apply(&mut self, deltas: &[Delta]) {
        self.narrow(deltas);
        let mut entries: BTreeMap<Slot, Option<Possible<Entry>>> = BTreeMap::new();
        let mut pending: BTreeMap<(u8, u32), Option<Truth>> = BTreeMap::new();
        for delta in deltas {
            entries.extend(delta.entries.keys().map(|slot| (*slot, None)));
            pending.extend(delta.pending.keys().map(|at| (*at, None)));
        }
        for delta in deltas {
            for (slot, joined) in &mut entries {
                let value = delta.entries.get(slot).cloned();
                let value = value.unwrap_or_else(|| self.seen(*slot, self.bytes_of(*slot)));
                *joined = Some(joined.take().map_or(value.clone(), |old| old.or(&value)));
            }
            for ((of, intid), joined) in &mut pending {
                let before = self.redistributors[usize::from(*of)].pending.get(*intid);
                let value = delta.pending.get(&(*of, *intid)).copied().unwrap_or(before);
                *joined = Some(joined.map_or(value, |old| old.or(value)));
            }
        }
        for (slot, value) in entries {
            if let Some(value) = value {
                self.write_entry(slot, value);
            }
        }
        for ((of, intid), truth) in pending {
            let to = &mut self.redistributors[usize::from(of)];
            to.pending.set(intid, truth.unwrap_or(Truth::Maybe));
        }
        self.apply_rest(deltas);
    }

    fn apply_rest(&mut self, deltas: &[Delta]) {
        let Some(first) = deltas.first() else { return };
        for change in deltas.iter().flat_map(|delta| &delta.changes) {
            match change {
                Change::PendingUnknown(of) => {
                    self.redistributors[usize::from(*of)].pending.unknown = true;
                }
                Change::Taint(address, bytes) => self.cells.taint(*address, *bytes),
                _ => {}
            }
        }
        for change in &first.changes {
            let everywhere = deltas.iter().all(|delta| delta.changes.contains(change));
            match change {
                Change::Forget(of, intids) => {
                    if let Some(intids) = forgotten(deltas, *of, intids.as_deref()) {
                        self.redistributors[usize::from(*of)].forget(intids.as_deref());
                    }
                }
                Change::Settle(its, of) if everywhere => self.settle((*its).into(), *of),
                Change::SettleDevice(its, device_id) if everywhere => {
                    let its = &mut self.its[usize::from(*its)];
                    its.late.retain(|late| late.device_id != *device_id);
                }
                _ => {}
            }
        }
    }

    /// Entries that every way took for one of these are one of these.
    fn narrow(&mut self, deltas: &[Delta]) {
        let Some((first, others)) = deltas.split_first() else {
            return;
        };
        for (slot, entry) in &first.assumed {
            if self.its[usize::from(slot.its())]
                .stale
                .iter()
                .any(Option::is_some)
            {
                continue;
            }
            let mut values = Possible::only(*entry);
            let taken = |delta: &Delta| delta.assumed.get(slot).copied();
            let Some(rest) = others.iter().map(taken).collect::<Option<Vec<Entry>>>() else {
                continue;
            };
            for other in rest {
                values.join(&Possible::only(other));
            }
            self.cells.narrow(*slot, values);
        }
    }
}

/// The configuration that is forgotten on every way: `Some(None)` is all.
fn forgotten(deltas: &[Delta], of: u8, intids: Option<&[u32]>) -> Option<Option<Vec<u32>>> {
    let mut least = intids.map(<[u32]>::to_vec);
    for delta in deltas {
        let find = |change: &Change| match change {
            Change::Forget(at, intids) if *at == of => Some(intids.clone()),
            _ => None,
        };
        match (delta.changes.iter().find_map(find)?, &mut least) {
            (None, _) => {}
            (Some(other), None) => least = Some(other),
            (Some(other), Some(least)) => least.retain(|intid| other.contains(intid)),
        }
    }
    Some(least)
}

/// What one way assumed and changes.
pub(crate) struct Delta {
    assumed: BTreeMap<Slot, Entry>,
    entries: BTreeMap<Slot, Possible<Entry>>,
    pending: BTreeMap<(u8, u32), Truth>,
    changes: Vec<Change>,
}

impl From<Path> for Delta {
    fn from(path: Path) -> Self {
        let mut delta = Self {
            assumed: path.assumed.into_iter().collect(),
            entries: BTreeMap::new(),
            pending: BTreeMap::new(),
            changes: path.changes,
        };
        for change in &delta.changes {
            match change {
                Change::Entry(slot, value) => {
                    delta.entries.insert(*slot, value.clone());
                }
                Change::Pending(of, intid, truth) => {
                    delta.pending.insert((*of, *intid), *truth);
                }
                _ => {}
            }
        }
        delta
    }
}

fn undefined(ways: &[Way]) -> Option<Undefined> {
    ways.iter().find_map(|(_, result)| match result {
        Err(Fault::Undefined(why)) => Some(*why),
        _ => None,
    })
}

fn fits(result: &Result<(), Fault>, fetched: Fetched, freedoms: &its_el2::Freedoms) -> bool {
    match (result, fetched.error) {
        (Ok(()), None) => !fetched.stalled,
        (Err(Fault::Error(numbers)), Some(number)) => {
            let right = number.map_or(numbers.is_empty(), |number| {
                numbers.is_empty() || numbers.contains(&number)
            });
            let choice = match fetched.stalled {
                true => OnError::Stall,
                false => OnError::Ignore,
            };
            right && freedoms.allow(choice)
        }
        _ => false,
    }
}

/// The allowed outcomes, each with the options that lead to it.
fn describe(ways: &[Way]) -> String {
    let mut all: Vec<String> = ways
        .iter()
        .map(|(path, result)| {
            let what = match result {
                Ok(()) => "done".into(),
                Err(Fault::Error(numbers)) if numbers.is_empty() => "any error".into(),
                Err(Fault::Error(numbers)) => format!("error {numbers:x?}"),
                Err(Fault::Undefined(why)) => format!("anything: {why}"),
            };
            let options = path.choices.iter();
            let options =
                options.map(|(freedom, option)| format!(" {}={option}", freedom.facts().name));
            format!("{what}{}", options.collect::<String>())
        })
        .collect();
    all.dedup();
    all.join(", or ")
}
