//! The twelve commands: their checks in the architecture's order, their errors, and what they do.
//!
//! Each is a sequence that asks a [`Path`] where the architecture leaves a choice or contents are
//! not known; `outcome` holds what the ITS did against all ways.

use its_gic::Command;
use its_gic::command::opcode;
use its_gic::geometry::itt_bytes;
use its_gic::redistributor::FIRST_LPI;
use its_machine::freedom::choice::{
    AbsentLevel2, ErrorNumbers, Invall, LpisOff, MappedEvent, MovedCollection, RemappedDevice,
    SyncNowhere, UnknownCommand, UnmappedCollection, UnmappedPending, UnmappedRdbase, WideIntid,
    WideRdbase,
};

use crate::architecture::Architecture;
use crate::cells::{Cell, Entry, Slot};
use crate::fault::{ANY_NUMBER, Fault, error, reason};
use crate::names::overlap;
use crate::path::{Change, Path, Undefined, explore};
use crate::possible::{Possible, Truth};
use crate::tables::{At, COLLECTIONS, DEVICES, Tables};

/// A mapped event, and the redistributor of its collection.
struct Event {
    slot: Slot,
    intid: u32,
    redistributor: Option<u8>,
    /// The collection has an entry.
    backed: bool,
}

/// One command of one ITS, on one way.
struct Run<'a> {
    on: &'a Architecture,
    its: usize,
    opcode: u8,
    path: &'a mut Path,
}

impl<'a> Run<'a> {
    fn execute(&mut self, command: Command) -> Result<(), Fault> {
        let id = command.event().unwrap_or_default();
        match command {
            Command::Mapd { device_id, size, itt_address, valid } => {
                self.mapd(device_id, valid.then_some((itt_address, size)))
            }
            Command::Mapc { icid, rdbase, valid } => self.mapc(icid, rdbase, valid),
            Command::Mapti { intid, icid, .. } => self.map(id, intid, icid),
            Command::Mapi { icid, .. } => self.map(id, id.1, icid),
            Command::Movi { icid, .. } => self.movi(id, icid),
            Command::Int { .. } => self.int(id),
            Command::Clear { .. } => self.clear(id),
            Command::Inv { .. } => self.inv(id),
            Command::Discard { .. } => self.discard(id),
            Command::Invall { icid } => self.invall(icid),
            Command::Movall { from_rdbase, to_rdbase } => self.movall(from_rdbase, to_rdbase),
            Command::Sync { rdbase } => self.sync(rdbase),
            Command::Raw { .. } => match self.path.choose::<UnknownCommand>() {
                UnknownCommand::Refused => Err(ANY_NUMBER),
                UnknownCommand::Skipped => Ok(()),
            },
        }
    }

    fn tables(&self) -> Tables<'a> {
        self.on.tables(self.its)
    }

    fn error(&self, reason: u8) -> Fault {
        error(self.opcode, reason)
    }

    fn redistributor(&self, rdbase: u64) -> Option<u8> {
        self.on.machine.redistributor(self.its as u8, rdbase)
    }

    /// The redistributor that MAPC's RDbase names.
    fn target_of_mapc(&mut self, rdbase: u64) -> Option<u8> {
        let (machine, its) = (&self.on.machine, self.its as u8);
        let named = machine.redistributor(its, rdbase);
        let low = machine.redistributor_of_low_bits(its, rdbase);
        if named == low {
            return named;
        }
        match self.path.choose::<WideRdbase>() {
            WideRdbase::Counted => named,
            WideRdbase::Ignored => low,
        }
    }

    fn write(&mut self, slot: Slot, entry: Entry) {
        self.path.changes.push(Change::Entry(slot, Possible::only(entry)));
    }

    fn pending(&self, redistributor: u8, intid: u32) -> Truth {
        self.on.redistributors[usize::from(redistributor)].pending.get(intid)
    }

    fn set_pending(&mut self, redistributor: u8, intid: u32, truth: Truth) {
        self.path.changes.push(Change::Pending(redistributor, intid, truth));
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
        let at = self.tables().locate(DEVICES, device_id, self.path)?;
        if self.opcode != opcode::MAPD && !matches!(at, At::Slot(..)) {
            let cached = self.tables().unbacked(DEVICES, device_id, self.path)?;
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
                let entry = self.tables().entry(DEVICES, device_id, slot, bytes);
                let entry = self.path.read(slot, &entry);
                Ok((Some(slot), entry.map_err(|_| "somebody else wrote a device's entry")?))
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
        Ok(self.tables().event_slot(id, itt))
    }

    /// A mapped event. Its collection may be unmapped.
    fn event(&mut self, id: (u32, u32)) -> Result<Event, Fault> {
        let (slot, bytes) = self.event_slot(id)?;
        let entry = self.path.read(slot, &self.tables().seen(slot, bytes))?;
        let Entry::Interrupt { intid, icid } = entry else {
            return Err(self.error(reason::UNMAPPED_INTERRUPT));
        };
        let redistributor = self.collection_of(icid)?;
        let backed = redistributor.is_some() || self.tables().is_backed(icid, self.path)?;
        Ok(Event { slot, intid, redistributor, backed })
    }

    /// The redistributor of a collection, however far out its ICID is.
    fn collection_of(&mut self, icid: u16) -> Result<Option<u8>, Undefined> {
        self.tables().collection_of(icid, self.path)
    }

    /// ICID in range and its entry held or backed by memory; `None`: its level-2 table is absent.
    fn collection(&mut self, icid: u16) -> Result<Option<(Slot, Entry)>, Fault> {
        let beyond = self.error(reason::COLLECTION_OOR);
        if u64::from(icid) >= self.on.its[self.its].typer.collection_ids() {
            return Err(beyond);
        }
        match self.tables().locate(COLLECTIONS, icid.into(), self.path)? {
            At::Beyond => Err(beyond),
            At::Absent => Ok(None),
            At::Slot(slot, bytes) => {
                let entry = self.tables().entry(COLLECTIONS, icid.into(), slot, bytes);
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
        self.path.changes.push(Change::SettleDevice(self.its as u8, device_id));
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
        if self.on.structures().any(taken) {
            return Err("an ITT lies on the queue or a table");
        }
        let tables = self.on.cells.under(address, bytes);
        let table = |slot| matches!(slot, Slot::Device { .. } | Slot::Collection { .. });
        if tables.map(|cell| cell.slot).any(table) {
            Err("an ITT lies on a level-2 table")
        } else {
            Ok(())
        }
    }

    /// MAPD: an ITT that another device uses, too, is nothing that anybody knows.
    fn share_itts(&mut self, device_id: u32, address: u64, size: u8) {
        let on = self.on;
        let range = |its: usize, address, size| {
            (address, itt_bytes(size, on.its[its].typer.itt_entry_bytes()))
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

    /// A mapped device is mapped elsewhere or unmapped: its events are no longer cached, and may be
    /// dropped with what was pending.
    fn leave_itt(&mut self, device_id: u32, itt: u64, size: u8) {
        let on = self.on;
        let cells = self.tables().itt_cells(device_id, itt, size);
        let cells: Vec<_> = cells.map(|(_, cell)| cell).collect();
        let known = cells.iter().all(|cell| cell.seen != Possible::Any);
        let bytes = itt_bytes(size, on.its[self.its].typer.itt_entry_bytes());
        // What other devices have there, sharing the ITT, is taken for this one's.
        let own = |cell: &&Cell| cells.iter().any(|own| own.slot == cell.slot);
        let others: Vec<Slot> = { on.cells.under(itt, bytes) }
            .filter(|cell| !own(cell))
            .map(|cell| cell.slot)
            .collect();
        let destroyed = !known
            || !others.is_empty()
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
            // An event that was discarded does not come back, whatever memory held of it.
            let nothing = Possible::only(Entry::Nothing);
            let is_gone = dropped || cell.seen == nothing;
            let left = if is_gone { nothing } else { on.cells.stored(cell.slot) };
            self.path.changes.push(Change::Entry(cell.slot, left));
        }
        if dropped {
            let any = others.into_iter().map(|slot| Change::Entry(slot, Possible::Any));
            self.path.changes.extend(any);
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
        let named = self.target_of_mapc(rdbase);
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
        let events = self.tables().events_of(icid);
        if events.is_empty() || self.path.choose::<MovedCollection>() == MovedCollection::Stays {
            return;
        }
        for (_, entry) in events {
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
        // GICR_PROPBASER: redistributors that share LPIs have the same IDbits. Else it may stay.
        let left = if takes { Truth::No } else { Truth::Maybe };
        self.set_pending(from, intid, left);
        match self.on.redistributors[usize::from(to)].on {
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
        if self.collection(icid)?.is_none() && self.collection_of(icid)?.is_none() {
            self.absent(None, reason::COLLECTION_OOR)?;
        }
        let new = Entry::Interrupt { intid, icid };
        let old = self.path.read(slot, &self.tables().seen(slot, bytes))?;
        if old == Entry::Nothing {
            self.write(slot, new);
            return Ok(());
        }
        match self.path.choose::<MappedEvent>() {
            // Whether the same mapping again counts as one over another is not said.
            _ if old == new && self.path.maybe() => {}
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
            return Err(if event.backed {
                self.error(reason::UNMAPPED_COLLECTION)
            } else {
                ANY_NUMBER
            });
        };
        let to = self.mapped_collection(icid)?;
        self.write(event.slot, Entry::Interrupt { intid: event.intid, icid });
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

    /// The redistributor of an event. Whether an unmapped collection is an error differs between
    /// ITSs; an entry whose ICID no longer has a place in the table may always be one.
    fn target(&mut self, event: &Event) -> Result<Option<u8>, Fault> {
        if event.redistributor.is_some() {
            return Ok(event.redistributor);
        }
        if !event.backed {
            return if self.path.maybe() { Ok(None) } else { Err(ANY_NUMBER) };
        }
        match self.path.choose::<UnmappedCollection>() {
            UnmappedCollection::Done => Ok(None),
            // A number for this was found nowhere.
            UnmappedCollection::Refused => Err(ANY_NUMBER),
        }
    }

    fn int(&mut self, id: (u32, u32)) -> Result<(), Fault> {
        let event = self.event(id)?;
        let Some(redistributor) = self.target(&event)? else {
            return Ok(());
        };
        let to = &self.on.redistributors[usize::from(redistributor)];
        let off = match to.on {
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
                let events = self.tables().events_of(icid).into_iter();
                let intid = |entry: Possible<Entry>| match entry.known() {
                    Some(Entry::Interrupt { intid, .. }) => Some(intid),
                    _ => None,
                };
                Some(events.filter_map(|(_, entry)| intid(entry)).collect())
            }
        };
        self.path.changes.push(Change::Forget(redistributor, forgotten));
        Ok(())
    }

    fn movall(&mut self, from_rdbase: u64, to_rdbase: u64) -> Result<(), Fault> {
        let (from, to) = (self.redistributor(from_rdbase), self.redistributor(to_rdbase));
        let (Some(from), Some(to)) = (from, to) else {
            return Err(match (self.path.choose::<ErrorNumbers>(), from, to) {
                (ErrorNumbers::Common, ..) => self.error(0x01),
                (ErrorNumbers::Gic600, None, None) => Fault::Error(vec![0x01_0e20, 0x01_0e21]),
                (ErrorNumbers::Gic600, None, _) => Fault::Error(vec![0x01_0e20]),
                (ErrorNumbers::Gic600, ..) => Fault::Error(vec![0x01_0e21]),
            });
        };
        if from == to {
            return Ok(());
        }
        let [source, target] = [from, to].map(|one| &self.on.redistributors[usize::from(one)]);
        let on = [source, target].map(|one| one.on);
        if on != [Truth::Yes; 2] {
            let maybe = on.contains(&Truth::Maybe);
            if self.path.choose::<LpisOff>() == LpisOff::Refused && !(maybe && self.path.maybe()) {
                return Err(ANY_NUMBER);
            }
            self.movall_off(from, to);
            return Ok(());
        }
        if source.pending.unknown {
            self.path.changes.extend([from, to].map(Change::PendingUnknown));
        }
        let pending: Vec<u32> = source.pending.iter().map(|(intid, _)| intid).collect();
        for intid in pending {
            self.move_pending(intid, from, to);
        }
        Ok(())
    }

    /// MOVALL with LPIs off at one end: nothing arrives there, what was pending may be lost.
    fn movall_off(&mut self, from: u8, to: u8) {
        let on = self.on;
        let [source, target] = [from, to].map(|one| &on.redistributors[usize::from(one)]);
        if [source, target].iter().any(|one| one.on == Truth::Maybe) {
            let both = [from, to].map(Change::PendingUnknown);
            return self.path.changes.extend(both);
        }
        if source.on == Truth::Yes {
            for (intid, _) in source.pending.iter() {
                self.set_pending(from, intid, Truth::Maybe);
            }
        }
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

/// One way in which a command can go, with its outcome.
pub(crate) type Way = (Path, Result<(), Fault>);

impl Architecture {
    /// Every way in which a command can go.
    pub(crate) fn ways(&self, its: usize, command: Command) -> Result<Vec<Way>, Undefined> {
        let opcode = command.encode()[0] as u8;
        explore(&self.its[its].freedoms, |path| {
            let mut run = Run { on: self, its, opcode, path };
            run.execute(command)
        })
    }
}
