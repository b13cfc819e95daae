//! The twelve commands as the physical ITS carries them out: which are errors and what the others do.

use std::collections::BTreeMap;

use its_gic::Command;
use its_gic::command::opcode;
use its_gic::geometry::itt_bytes;
use its_gic::redistributor::FIRST_LPI;

use crate::hardware::{Device, EntryAt, Hardware, Redistributor, Undefined, overlap};
use crate::judgement::Expected;

/// What may keep a command from being carried out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// A command error, with its number where that is sure.
    Error(Option<u32>),
    /// The ITS may call it an error or carry it out.
    Optional,
    Undefined(Undefined),
}

/// `Ok`: it must be carried out.
pub(crate) type Check = Result<(), Fault>;

/// A command error by opcode and reason byte; CLEAR has 0x05 where its opcode would stand (GIC-600 and its kin).
fn error(opcode: u8, reason: u8) -> Fault {
    let command = match opcode {
        opcode::CLEAR => 0x05,
        other => other,
    };
    // Numbers that were found nowhere, but follow the pattern of others: not demanded.
    let sure = match opcode {
        opcode::MAPTI => reason != 0x01 && reason != 0x03,
        opcode::MAPI => reason != 0x06,
        opcode::DISCARD => reason == 0x07,
        _ => true,
    };
    Fault::Error(sure.then_some(0x1_0000 | u32::from(command) << 8 | u32::from(reason)))
}

/// Opcode, and DeviceID and EventID where the command has them.
fn fields(command: Command) -> (u8, (u32, u32)) {
    let [dw0, dw1, ..] = command.encode();
    (dw0 as u8, ((dw0 >> 32) as u32, dw1 as u32))
}

impl Hardware {
    /// The checks of a command, in order.
    pub(crate) fn check(&self, its: usize, command: Command) -> Check {
        let (opcode, id) = fields(command);
        match command {
            Command::Mapd { size, valid, .. } => {
                self.check_device(its, opcode, id.0)?;
                if valid && size > self.typer.id_bits() {
                    return Err(error(opcode, 0x02));
                }
                Ok(())
            }
            Command::Mapc {
                icid,
                rdbase,
                valid,
            } => {
                self.check_collection(its, opcode, icid)?;
                if valid && self.machine.redistributor(rdbase).is_none() {
                    return Err(error(opcode, 0x02));
                }
                Ok(())
            }
            Command::Mapti { intid, icid, .. } => self.check_map(its, opcode, id, intid, icid),
            Command::Mapi { icid, .. } => self.check_map(its, opcode, id, id.1, icid),
            Command::Movi { icid, .. } => {
                let old = self.check_event(its, opcode, id)?;
                self.check_collection_mapped(its, opcode, old)?;
                self.check_collection(its, opcode, icid)?;
                self.check_collection_mapped(its, opcode, icid)
            }
            Command::Int { .. }
            | Command::Clear { .. }
            | Command::Inv { .. }
            | Command::Discard { .. } => self.check_signal(its, opcode, id),
            Command::Invall { icid } => {
                self.check_collection(its, opcode, icid)?;
                self.check_collection_mapped(its, opcode, icid)
            }
            Command::Movall {
                from_rdbase,
                to_rdbase,
            } => {
                let (Some(from), Some(to)) = self.ends(from_rdbase, to_rdbase) else {
                    return Err(error(opcode, 0x01));
                };
                // MOVALL: both must have LPIs enabled; what happens else is not said.
                if from != to && !(self.lpis_on(from) && self.lpis_on(to)) {
                    return Err(Fault::Optional);
                }
                Ok(())
            }
            Command::Sync { rdbase } if self.machine.redistributor(rdbase).is_some() => Ok(()),
            // No number was found for these.
            Command::Sync { .. } | Command::Unknown { .. } => Err(Fault::Error(None)),
        }
    }

    fn ends(&self, from_rdbase: u64, to_rdbase: u64) -> (Option<u8>, Option<u8>) {
        let named = |rdbase| self.machine.redistributor(rdbase);
        (named(from_rdbase), named(to_rdbase))
    }

    fn lpis_on(&self, redistributor: u8) -> bool {
        self.redistributors[usize::from(redistributor)].enabled == Expected::Known(true)
    }

    /// DeviceID in range and its entry backed by memory.
    fn check_device(&self, its: usize, opcode: u8, device_id: u32) -> Check {
        if u64::from(device_id) >= self.typer.device_ids() {
            return Err(error(opcode, 0x01));
        }
        let unmapped = !self.its[its].devices.contains_key(&device_id);
        self.check_entry(its, opcode, (0, device_id), unmapped)
    }

    /// ICID in range and its entry held or backed by memory.
    fn check_collection(&self, its: usize, opcode: u8, icid: u16) -> Check {
        if u64::from(icid) >= self.typer.collection_ids() {
            return Err(error(opcode, 0x03));
        }
        let unmapped = !self.its[its].collections.contains_key(&icid);
        self.check_entry(its, opcode, (1, u32::from(icid)), unmapped)
    }

    fn check_collection_mapped(&self, its: usize, opcode: u8, icid: u16) -> Check {
        let mapped = self.its[its].collections.contains_key(&icid);
        mapped.then_some(()).ok_or(error(opcode, 0x09))
    }

    /// An entry that nothing was mapped in must be zero, as tables are handed over, else nobody knows what it says.
    fn check_entry(&self, its: usize, opcode: u8, (n, id): (usize, u32), unmapped: bool) -> Check {
        let beyond = error(opcode, if n == 0 { 0x01 } else { 0x03 });
        let entry_bytes = self.its[its].registers.baser(n).entry_bytes();
        match self.entry(its, n, id).map_err(Fault::Undefined)? {
            EntryAt::Beyond => Err(beyond),
            // Only of MAPD it is said that its number is that of an id beyond the table.
            EntryAt::Absent if opcode == opcode::MAPD => Err(beyond),
            EntryAt::Absent => Err(Fault::Error(None)),
            EntryAt::Memory(entry) if unmapped && !self.memory.is_zero(entry, entry_bytes) => {
                Err(Fault::Undefined("a table arrived with contents"))
            }
            EntryAt::Memory(_) | EntryAt::Inside => Ok(()),
        }
    }

    /// DeviceID, its mapping, EventID within it.
    fn check_mapped(&self, its: usize, opcode: u8, id: (u32, u32)) -> Result<&Device, Fault> {
        self.check_device(its, opcode, id.0)?;
        let device = self.its[its].devices.get(&id.0);
        let device = device.ok_or(error(opcode, 0x04))?;
        if u64::from(id.1) >= 2_u64 << device.size {
            return Err(error(opcode, 0x05));
        }
        Ok(device)
    }

    fn check_map(&self, its: usize, opcode: u8, id: (u32, u32), intid: u32, icid: u16) -> Check {
        let device = self.check_mapped(its, opcode, id)?;
        if intid < FIRST_LPI {
            return Err(error(opcode, 0x06));
        }
        self.check_collection(its, opcode, icid)?;
        let same = device.events.get(&id.1) == Some(&Expected::Known((intid, icid)));
        let occupied = device.unknown || device.events.contains_key(&id.1);
        // There are at least 14 INTID bits; how many more is not known here. An overwritten event
        // may be kept, overwritten or an error.
        if intid >= 0x4000 || occupied && !same {
            return Err(Fault::Optional);
        }
        Ok(())
    }

    /// DeviceID, its mapping, EventID, its mapping: whose ICID it returns.
    fn check_event(
        &self,
        its: usize,
        opcode: u8,
        (device_id, event_id): (u32, u32),
    ) -> Result<u16, Fault> {
        self.check_mapped(its, opcode, (device_id, event_id))?;
        match self.translate(its, device_id, event_id) {
            Expected::Unknown => Err(Fault::Undefined("the event's mapping is not known")),
            Expected::Known(None) => Err(error(opcode, 0x07)),
            Expected::Known(Some(translation)) => Ok(translation.icid),
        }
    }

    /// INT, CLEAR, INV and DISCARD. Whether an unmapped collection is an error differs between ITSs.
    fn check_signal(&self, its: usize, opcode: u8, id: (u32, u32)) -> Check {
        let icid = self.check_event(its, opcode, id)?;
        match self.its[its].collections.get(&icid) {
            None => Err(Fault::Optional),
            Some(to) if opcode == opcode::INT && !self.lpis_on(*to) => Err(Fault::Optional),
            Some(_) => Ok(()),
        }
    }

    /// What a command does that is no error.
    pub(crate) fn execute(&mut self, its: usize, command: Command) -> Result<(), Undefined> {
        let (_, id) = fields(command);
        match command {
            Command::Mapd {
                size,
                itt_address,
                valid,
                ..
            } => {
                self.mapd(its, id.0, valid.then_some((itt_address, size)))?;
            }
            Command::Mapc {
                icid,
                rdbase,
                valid,
            } => {
                let to = self.machine.redistributor(rdbase).filter(|_| valid);
                self.mapc(its, icid, to);
            }
            Command::Mapti { intid, icid, .. } => self.map(its, id, intid, icid),
            Command::Mapi { icid, .. } => self.map(its, id, id.1, icid),
            Command::Movi { icid, .. } => self.movi(its, id, icid)?,
            Command::Int { .. } => {
                let target = self.signal(its, id.0, id.1)?;
                self.pend(target);
            }
            Command::Clear { .. } => self.clear(its, id)?,
            Command::Discard { .. } => {
                self.clear(its, id)?;
                if let Some(device) = self.its[its].devices.get_mut(&id.0) {
                    device.events.remove(&id.1);
                }
                self.touched.push((its as u8, id.0, id.1));
            }
            Command::Movall {
                from_rdbase,
                to_rdbase,
            } => {
                if let (Some(from), Some(to)) = self.ends(from_rdbase, to_rdbase) {
                    self.movall(from, to);
                }
            }
            Command::Inv { .. }
            | Command::Invall { .. }
            | Command::Sync { .. }
            | Command::Unknown { .. } => {}
        }
        Ok(())
    }

    fn mapd(
        &mut self,
        its: usize,
        device_id: u32,
        itt: Option<(u64, u8)>,
    ) -> Result<(), Undefined> {
        let entry_bytes = self.typer.itt_entry_bytes();
        let old = self.its[its].devices.remove(&device_id);
        self.touched.push((its as u8, device_id, 0));
        // Its events go. What they left in the ITT stays there.
        let had_events = old
            .as_ref()
            .is_some_and(|old| old.unknown || !old.events.is_empty());
        if let Some(old) = old {
            let events = old.events.keys();
            self.touched
                .extend(events.map(|event| (its as u8, device_id, *event)));
            if had_events {
                self.used_itts
                    .push((old.itt, itt_bytes(old.size, entry_bytes)));
            }
        }
        let Some((address, size)) = itt else {
            return Ok(());
        };
        let range = (address, itt_bytes(size, entry_bytes));
        if !self.machine.is_memory(range.0, range.1) {
            return Err("an ITT is no memory");
        }
        if self
            .structures(its)
            .into_iter()
            .any(|at| overlap(at, range))
        {
            return Err("an ITT lies on the queue or a table");
        }
        // MAPD: the ITT must be zero, and no other's. Remapped with events in it: may be dropped or kept.
        let mut unknown = had_events
            || !self.memory.is_zero(range.0, range.1)
            || self.used_itts.iter().any(|used| overlap(*used, range))
            || self
                .redistributors
                .iter()
                .any(|one| overlaps_tables(one, range));
        for other in self.its.iter_mut().flat_map(|its| its.devices.values_mut()) {
            if overlap((other.itt, itt_bytes(other.size, entry_bytes)), range) {
                other.unknown = true;
                unknown = true;
            }
        }
        let device = Device {
            size,
            itt: address,
            events: BTreeMap::new(),
            unknown,
        };
        self.its[its].devices.insert(device_id, device);
        Ok(())
    }

    fn mapc(&mut self, its: usize, icid: u16, to: Option<u8>) {
        let physical = &mut self.its[its];
        let old = match to {
            Some(to) => physical.collections.insert(icid, to),
            None => physical.collections.remove(&icid),
        };
        if old == to {
            return;
        }
        let mut moved_pending = false;
        for (device_id, device) in &physical.devices {
            for (event_id, event) in &device.events {
                if let Expected::Known((intid, at)) = event
                    && *at == icid
                {
                    self.touched.push((its as u8, *device_id, *event_id));
                    let pends = |old: u8| {
                        let from = &self.redistributors[usize::from(old)];
                        from.unknown || from.pending.contains(intid)
                    };
                    moved_pending |= old.is_some_and(pends);
                }
            }
        }
        // MAPC: whether pending LPIs follow a collection that changes its redistributor is not said.
        if let (true, Some(old), Some(new)) = (moved_pending, old, to) {
            self.forget_pending(old);
            self.forget_pending(new);
        }
    }

    fn forget_pending(&mut self, redistributor: u8) {
        self.redistributors[usize::from(redistributor)].unknown = true;
    }

    fn map(&mut self, its: usize, (device_id, event_id): (u32, u32), intid: u32, icid: u16) {
        self.touched.push((its as u8, device_id, event_id));
        if let Some(device) = self.its[its].devices.get_mut(&device_id) {
            let new = Expected::Known((intid, icid));
            let event = device.events.entry(event_id).or_insert(new);
            // MAPTI: overwriting a mapped event is UNPREDICTABLE.
            if *event != new {
                *event = Expected::Unknown;
            }
        }
    }

    /// Retargets, and takes the pending state along.
    fn movi(
        &mut self,
        its: usize,
        (device_id, event_id): (u32, u32),
        icid: u16,
    ) -> Result<(), Undefined> {
        let old = self.target(its, device_id, event_id)?;
        if let Some(device) = self.its[its].devices.get_mut(&device_id)
            && let Some(Expected::Known((_, at))) = device.events.get_mut(&event_id)
        {
            *at = icid;
        }
        self.touched.push((its as u8, device_id, event_id));
        let (Some((from, intid)), Some((to, _))) = (old, self.target(its, device_id, event_id)?)
        else {
            return Ok(());
        };
        if from == to {
            return Ok(());
        }
        let source = &mut self.redistributors[usize::from(from)];
        if source.unknown {
            self.forget_pending(to);
        } else if source.pending.remove(&intid) {
            self.hand_over(to, [intid]);
        }
        Ok(())
    }

    fn movall(&mut self, from: u8, to: u8) {
        if from == to {
            return;
        }
        let source = &mut self.redistributors[usize::from(from)];
        if source.unknown {
            return self.forget_pending(to);
        }
        let all = std::mem::take(&mut source.pending);
        if !all.is_empty() && !self.lpis_on(from) {
            self.forget_pending(from);
        }
        self.hand_over(to, all);
    }

    /// Pending LPIs move to a redistributor; one that cannot take them may do anything with them.
    fn hand_over(&mut self, to: u8, intids: impl IntoIterator<Item = u32>) {
        let on = self.lpis_on(to);
        let target = &mut self.redistributors[usize::from(to)];
        for intid in intids {
            target.unknown |= !on || !target.takes(intid);
            target.pending.insert(intid);
        }
    }

    /// Makes an LPI pending.
    pub(crate) fn pend(&mut self, target: Option<(u8, u32)>) {
        if let Some((redistributor, intid)) = target {
            let to = &mut self.redistributors[usize::from(redistributor)];
            to.pending.insert(intid);
        }
    }

    fn clear(&mut self, its: usize, (device_id, event_id): (u32, u32)) -> Result<(), Undefined> {
        if let Some((redistributor, intid)) = self.target(its, device_id, event_id)? {
            let at = &mut self.redistributors[usize::from(redistributor)];
            at.pending.remove(&intid);
        }
        Ok(())
    }
}

fn overlaps_tables(redistributor: &Redistributor, range: (u64, u64)) -> bool {
    let on = redistributor.enabled != Expected::Known(false);
    let tables = redistributor.tables();
    on && tables.into_iter().any(|table| overlap(table, range))
}

/// The command as EL2 must pass it on: reserved bits, and what means nothing at V=0, cleared.
pub(crate) fn canonical(command: Command) -> Command {
    match command {
        Command::Mapd {
            device_id,
            valid: false,
            ..
        } => Command::Mapd {
            device_id,
            size: 0,
            itt_address: 0,
            valid: false,
        },
        Command::Mapc {
            icid, valid: false, ..
        } => Command::Mapc {
            icid,
            rdbase: 0,
            valid: false,
        },
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use its_el2::{Action, Event, Machine, OnError, Outcome};

    use super::*;
    use crate::judgement::Kind;
    use crate::testing::*;

    fn sure(command: u32, reason: u32) -> Fault {
        Fault::Error(Some(0x1_0000 | command << 8 | reason))
    }

    fn event(command: fn(u32, u32) -> Command, device_id: u32, event_id: u32) -> Command {
        command(device_id, event_id)
    }

    const INT: fn(u32, u32) -> Command = |device_id, event_id| Command::Int {
        device_id,
        event_id,
    };
    const CLEAR: fn(u32, u32) -> Command = |device_id, event_id| Command::Clear {
        device_id,
        event_id,
    };
    const INV: fn(u32, u32) -> Command = |device_id, event_id| Command::Inv {
        device_id,
        event_id,
    };
    const DISCARD: fn(u32, u32) -> Command = |device_id, event_id| Command::Discard {
        device_id,
        event_id,
    };

    fn movi(device_id: u32, event_id: u32, icid: u16) -> Command {
        Command::Movi {
            device_id,
            event_id,
            icid,
        }
    }

    #[test]
    fn error_numbers() {
        let world = World::booted();
        let cases = [
            (mapd(1, 15, ITT), Ok(())),
            (mapd(0x1_0000, 1, FREE), Err(sure(0x08, 0x01))),
            (mapd(0x200, 1, FREE), Err(sure(0x08, 0x01))),
            (mapd(2, 16, FREE), Err(sure(0x08, 0x02))),
            (unmapd(2), Ok(())),
            (event(INT, 0x200, 0), Err(Fault::Error(None))),
            (event(INT, 0x1_0000, 0), Err(sure(0x03, 0x01))),
            (mapc(512, 0), Err(sure(0x09, 0x03))),
            (mapc(3, 2), Err(sure(0x09, 0x02))),
            (mapti(0x1_0000, 0, 8192, 0), Err(Fault::Error(None))),
            (mapti(2, 0, 8192, 0), Err(sure(0x0a, 0x04))),
            (mapti(1, 256, 8192, 0), Err(sure(0x0a, 0x05))),
            (mapti(1, 0, 8191, 0), Err(sure(0x0a, 0x06))),
            (mapti(1, 0, 8192, 512), Err(Fault::Error(None))),
            (mapti(1, 0, 16383, 511), Ok(())),
            (mapti(1, 0, 16384, 0), Err(Fault::Optional)),
            (mapti(1, 4, 8200, 0), Ok(())),
            (mapti(1, 4, 8201, 0), Err(Fault::Optional)),
            (
                Command::Mapi {
                    device_id: 1,
                    event_id: 3,
                    icid: 0,
                },
                Err(Fault::Error(None)),
            ),
            (movi(1, 5, 1), Err(sure(0x01, 0x07))),
            (movi(1, 4, 7), Err(sure(0x01, 0x09))),
            (movi(1, 4, 512), Err(sure(0x01, 0x03))),
            (movi(1, 4, 1), Ok(())),
            (event(INT, 2, 0), Err(sure(0x03, 0x04))),
            (event(CLEAR, 1, 5), Err(sure(0x05, 0x07))),
            (event(INV, 1, 256), Err(sure(0x0c, 0x05))),
            (event(DISCARD, 2, 0), Err(Fault::Error(None))),
            (event(DISCARD, 1, 5), Err(sure(0x0f, 0x07))),
            (Command::Invall { icid: 512 }, Err(sure(0x0d, 0x03))),
            (Command::Invall { icid: 7 }, Err(sure(0x0d, 0x09))),
            (
                Command::Movall {
                    from_rdbase: 0,
                    to_rdbase: 5,
                },
                Err(sure(0x0e, 0x01)),
            ),
            (Command::Sync { rdbase: 5 }, Err(Fault::Error(None))),
            (Command::Unknown { words: [0; 4] }, Err(Fault::Error(None))),
        ];
        for (command, result) in cases {
            assert_eq!(
                world.model.hardware.check(0, command),
                result,
                "{command:x?}"
            );
        }
    }

    /// Posts a command in the phase Open, with this as what the ITS does about it.
    fn fetch(
        world: &World,
        command: Command,
        event: impl Fn(u64) -> Event,
    ) -> (World, Action, Event) {
        let mut world = world.clone();
        let address = at(QUEUE) + 0x80;
        let store = Action::StoreCommand {
            cpu: 0,
            address,
            words: command.encode(),
        };
        world.agree(store, Outcome::Done, &[]);
        world.writes(ITS + 0x88, 0xa0);
        (world, ADVANCE, event(0x80))
    }

    #[test]
    fn errors_stall_or_are_ignored_by_character() {
        let ignoring = |machine: Machine| {
            let character = its_el2::Character {
                on_error: OnError::Ignore,
                ..machine.character
            };
            Machine {
                character,
                ..machine
            }
        };
        let bad = mapd(2, 16, FREE);
        let number = Some(0x1_0802);
        let ignored = |offset| Event::Consumed {
            its: 0,
            offset,
            words: bad.encode(),
            error: Some(its_el2::CommandError(number)),
        };
        let stalls = |number| move |offset| stalled(offset, bad, number);
        let worlds = [World::booted(), World::booted_on(ignoring(machine()))];
        for (world, stalling) in worlds.iter().zip([true, false]) {
            let (mut right, action, event) = match stalling {
                true => fetch(world, bad, stalls(number)),
                false => fetch(world, bad, ignored),
            };
            right.agree(action, Outcome::Done, &[event]);
            let (wrong, action, event) = match stalling {
                true => fetch(world, bad, ignored),
                false => fetch(world, bad, stalls(number)),
            };
            wrong.differ(action, Outcome::Done, &[event], Kind::Hardware, "MAPD");
            let (wrong, action, event) = fetch(world, bad, |offset| consumed(offset, bad));
            wrong.differ(action, Outcome::Done, &[event], Kind::Hardware, "MAPD");
            let (wrong, action, event) = fetch(world, bad, stalls(Some(0x1_0801)));
            wrong.differ(action, Outcome::Done, &[event], Kind::Hardware, "MAPD");
        }
    }

    fn pending(world: &World, redistributor: u8) -> Expected<BTreeSet<u32>> {
        match world.model.pending(redistributor) {
            Expected::Known(set) => Expected::Known(set.clone()),
            Expected::Unknown => Expected::Unknown,
        }
    }

    #[test]
    fn pending_follows_int_movi_movall_clear_discard() {
        let known = |intids: &[u32]| Expected::Known(intids.iter().copied().collect());
        let mut world = World::booted();
        world.open_command(event(INT, 1, 4));
        assert_eq!(pending(&world, 0), known(&[8200]));
        world.open_command(movi(1, 4, 1));
        assert_eq!(
            (pending(&world, 0), pending(&world, 1)),
            (known(&[]), known(&[8200]))
        );
        assert_eq!(world.model.touched(), [(0, 1, 4)]);
        let mut cleared = world.clone();
        cleared.open_command(event(CLEAR, 1, 4));
        assert_eq!(pending(&cleared, 1), known(&[]));
        let mut discarded = world.clone();
        discarded.open_command(event(DISCARD, 1, 4));
        assert_eq!(pending(&discarded, 1), known(&[]));
        assert_eq!(discarded.model.translate(0, 1, 4), Expected::Known(None));
        world.open_command(Command::Movall {
            from_rdbase: 1,
            to_rdbase: 0,
        });
        assert_eq!(
            (pending(&world, 0), pending(&world, 1)),
            (known(&[8200]), known(&[]))
        );
        // Pending LPIs of a collection that changes its redistributor may follow or stay.
        world.open_command(mapc(1, 0));
        world.model.hardware.redistributors[0].pending.insert(8200);
        world.open_command(mapc(1, 1));
        assert_eq!(pending(&world, 1), Expected::Unknown);
        assert_eq!(world.model.touched(), [(0, 1, 4)]);
    }

    #[test]
    fn what_the_architecture_leaves_open_is_unknown() {
        let world = World::booted();
        let mut overwritten = world.clone();
        overwritten.open_command(mapti(1, 4, 8201, 0));
        assert_eq!(overwritten.model.translate(0, 1, 4), Expected::Unknown);
        let mut remapped = world.clone();
        remapped.open_command(mapd(1, 7, FREE));
        assert_eq!(remapped.model.translate(0, 1, 9), Expected::Unknown);
        // The ITT of an unmapped device still holds its event.
        let mut reused = world.clone();
        reused.open_command(unmapd(1));
        assert_eq!(reused.model.translate(0, 1, 4), Expected::Known(None));
        reused.open_command(mapd(2, 7, ITT));
        assert_eq!(reused.model.translate(0, 2, 4), Expected::Unknown);
        let mut discarded = world.clone();
        discarded.open_command(event(DISCARD, 1, 4));
        discarded.open_command(unmapd(1));
        discarded.open_command(mapd(2, 7, ITT));
        assert_eq!(discarded.model.translate(0, 2, 4), Expected::Known(None));
        let mut filled = world.clone();
        filled.stores(at(FREE) + 0x10, 1);
        filled.open_command(mapd(2, 7, FREE));
        assert_eq!(filled.model.translate(0, 2, 4), Expected::Unknown);
        let mut shared = world.clone();
        shared.open_command(mapd(2, 7, ITT));
        assert_eq!(shared.model.translate(0, 1, 4), Expected::Unknown);
        let (mut poisoned, action, event) =
            fetch(&overwritten, movi(1, 4, 1), |offset| consumed(offset, SYNC));
        assert!(
            poisoned
                .play(action, Outcome::Done, &[event])
                .poisoned
                .is_none()
        );
        let store = |page| Action::Store {
            cpu: 0,
            address: at(page) + 8,
            value: 1,
        };
        world.poisons(store(LEVEL2), &[]);
        world.poisons(store(COLLECTIONS), &[]);
        world.poisons(
            Action::Store {
                cpu: 0,
                address: at(LEVEL1),
                value: 0,
            },
            &[],
        );
        let mut level1 = world.clone();
        level1.agree(store(LEVEL1), Outcome::Done, &[]);
        // Level-2 tables on top of each other, of the queue, of an ITT.
        for page in [LEVEL2, QUEUE, ITT] {
            let entry = its_gic::geometry::Level1Entry::valid(at(page)).0;
            let aliased = Action::Store {
                cpu: 0,
                address: at(LEVEL1) + 16,
                value: entry,
            };
            world.poisons(aliased, &[]);
        }
        let mut pending_table = world.clone();
        pending_table.open_command(mapd(2, 7, LPI_PENDING[0]));
        assert_eq!(pending_table.model.translate(0, 2, 0), Expected::Unknown);
    }
}
