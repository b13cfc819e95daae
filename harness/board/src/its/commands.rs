//! The twelve physical commands: checks in the architecture's order, errors with its numbers.

use its_el2::{CommandError, Event, OnError, Translation};
use its_gic::Command;
use its_gic::command::opcode;
use its_gic::geometry::{PHYSICAL_ADDRESS_BITS, Queue, itt_bytes};
use its_gic::redistributor::FIRST_LPI;

use super::format::InterruptEntry;
use super::tables::{Itt, Missing};
use super::{Bus, PhysicalIts};

/// Reason bytes of command errors (IHI 0069, command errors; GIC-600 TRM 101206).
mod reason {
    pub(super) const DEVICE_OOR: u8 = 0x01;
    pub(super) const ITTSIZE_OOR: u8 = 0x02;
    pub(super) const PROCNUM_OOR: u8 = 0x02;
    pub(super) const MOVALL_PROCNUM_OOR: u8 = 0x01;
    pub(super) const COLLECTION_OOR: u8 = 0x03;
    pub(super) const UNMAPPED_DEVICE: u8 = 0x04;
    pub(super) const ID_OOR: u8 = 0x05;
    pub(super) const PHYSICALID_OOR: u8 = 0x06;
    pub(super) const UNMAPPED_INTERRUPT: u8 = 0x07;
    pub(super) const UNMAPPED_COLLECTION: u8 = 0x09;
    pub(super) const ITE_INVALID: u8 = 0x10;
}

type Reason = u8;

/// The 24-bit number: 0x01, the opcode (0x05 for CLEAR), the reason.
fn number(opcode: u8, reason: Reason) -> CommandError {
    let command = if opcode == opcode::CLEAR {
        0x05
    } else {
        opcode
    };
    CommandError(Some(
        0x01_0000 | u32::from(command) << 8 | u32::from(reason),
    ))
}

/// A mapped event, found on the way of a command or an MSI.
struct Found {
    itt: Itt,
    entry: InterruptEntry,
    redistributor: Option<u8>,
}

impl PhysicalIts {
    /// Fetches the command at CREADR and executes it. The queue is not empty.
    pub(super) fn step(&mut self, bus: &mut Bus) {
        let queue = Queue::new(self.cbaser);
        let offset = self.creadr;
        let words = [0, 8, 16, 24].map(|byte| bus.fetch(queue.slot(offset) + byte));
        let result = self.execute(Command::decode(words), words[0] as u8, bus);
        let its = self.index;
        match result {
            Err(error) if bus.machine.character.on_error == OnError::Stall => {
                self.stalled = true;
                bus.events.push(Event::Stalled {
                    its,
                    offset,
                    words,
                    error,
                });
            }
            result => {
                self.creadr = queue.after(offset);
                bus.events.push(Event::Consumed {
                    its,
                    offset,
                    words,
                    error: result.err(),
                });
            }
        }
    }

    fn execute(&mut self, command: Command, opcode: u8, bus: &mut Bus) -> Result<(), CommandError> {
        let result = match command {
            Command::Mapd {
                device_id,
                size,
                itt_address,
                valid,
            } => self.mapd(device_id, size, itt_address, valid, bus),
            Command::Mapc {
                icid,
                rdbase,
                valid,
            } => self.mapc(icid, rdbase, valid, bus),
            Command::Mapti {
                device_id,
                event_id,
                intid,
                icid,
            } => self.mapti(device_id, event_id, InterruptEntry { intid, icid }, bus),
            Command::Mapi {
                device_id,
                event_id,
                icid,
            } => {
                let entry = InterruptEntry {
                    intid: event_id,
                    icid,
                };
                self.mapti(device_id, event_id, entry, bus)
            }
            Command::Movi {
                device_id,
                event_id,
                icid,
            } => self.movi(device_id, event_id, icid, bus),
            Command::Int {
                device_id,
                event_id,
            } => self.with_target(device_id, event_id, bus, |intid, target| {
                target.set_pending(intid);
            }),
            Command::Clear {
                device_id,
                event_id,
            } => self.with_target(device_id, event_id, bus, |intid, target| {
                target.clear_pending(intid);
            }),
            // Configuration is not cached here, so there is nothing to forget.
            Command::Inv {
                device_id,
                event_id,
            } => self.mapped_event(device_id, event_id, bus).map(|_| ()),
            Command::Discard {
                device_id,
                event_id,
            } => self.discard(device_id, event_id, bus),
            Command::Invall { icid } => self.mapped_collection(icid, bus).map(|_| ()),
            Command::Movall {
                from_rdbase,
                to_rdbase,
            } => Self::movall(from_rdbase, to_rdbase, bus),
            Command::Sync { rdbase } => {
                return match bus.machine.redistributor(rdbase) {
                    Some(_) => Ok(()),
                    None => Err(CommandError(None)),
                };
            }
            Command::Unknown { .. } => return Err(CommandError(None)),
        };
        result.map_err(|reason| number(opcode, reason))
    }

    fn mapd(
        &mut self,
        device_id: u32,
        size: u8,
        itt_address: u64,
        valid: bool,
        bus: &mut Bus,
    ) -> Result<(), Reason> {
        self.device(device_id, bus)
            .map_err(|_| reason::DEVICE_OOR)?;
        if !valid {
            self.set_device(device_id, None, bus);
            return Ok(());
        }
        let typer = bus.machine.character.typer();
        let end = itt_address + itt_bytes(size, typer.itt_entry_bytes());
        if size > typer.id_bits() || end > 1 << PHYSICAL_ADDRESS_BITS {
            return Err(reason::ITTSIZE_OOR);
        }
        let itt = Itt {
            address: itt_address,
            size,
        };
        self.set_device(device_id, Some(itt), bus);
        Ok(())
    }

    fn mapc(&mut self, icid: u16, rdbase: u64, valid: bool, bus: &mut Bus) -> Result<(), Reason> {
        if !self.has_collection(icid, bus) {
            return Err(reason::COLLECTION_OOR);
        }
        if valid && bus.machine.redistributor(rdbase).is_none() {
            return Err(reason::PROCNUM_OOR);
        }
        self.set_collection(icid, valid.then_some(rdbase), bus);
        Ok(())
    }

    fn mapti(
        &mut self,
        device_id: u32,
        event_id: u32,
        entry: InterruptEntry,
        bus: &mut Bus,
    ) -> Result<(), Reason> {
        let itt = self.itt(device_id, event_id, bus)?;
        // No redistributor of this board takes more than 24 INTID bits.
        if !(FIRST_LPI..1 << 24).contains(&entry.intid) {
            return Err(reason::PHYSICALID_OOR);
        }
        if !self.has_collection(entry.icid, bus) {
            return Err(reason::COLLECTION_OOR);
        }
        Self::set_interrupt(itt, event_id, Some(entry), bus);
        Ok(())
    }

    fn movi(
        &mut self,
        device_id: u32,
        event_id: u32,
        icid: u16,
        bus: &mut Bus,
    ) -> Result<(), Reason> {
        let found = self.mapped_event(device_id, event_id, bus)?;
        let from = found.redistributor.ok_or(reason::UNMAPPED_COLLECTION)?;
        let to = self.mapped_collection(icid, bus)?;
        let intid = found.entry.intid;
        let entry = InterruptEntry { intid, icid };
        Self::set_interrupt(found.itt, event_id, Some(entry), bus);
        if bus.redistributors[usize::from(from)].clear_pending(intid) {
            bus.redistributors[usize::from(to)].set_pending(intid);
        }
        Ok(())
    }

    fn discard(&mut self, device_id: u32, event_id: u32, bus: &mut Bus) -> Result<(), Reason> {
        let found = self.mapped_event(device_id, event_id, bus)?;
        let target = found.redistributor.ok_or(reason::UNMAPPED_COLLECTION)?;
        Self::set_interrupt(found.itt, event_id, None, bus);
        bus.redistributors[usize::from(target)].clear_pending(found.entry.intid);
        Ok(())
    }

    fn movall(from_rdbase: u64, to_rdbase: u64, bus: &mut Bus) -> Result<(), Reason> {
        let named = |rdbase| bus.machine.redistributor(rdbase);
        let (Some(from), Some(to)) = (named(from_rdbase), named(to_rdbase)) else {
            return Err(reason::MOVALL_PROCNUM_OOR);
        };
        for intid in bus.redistributors[usize::from(from)].take_pending() {
            bus.redistributors[usize::from(to)].set_pending(intid);
        }
        Ok(())
    }

    fn with_target(
        &self,
        device_id: u32,
        event_id: u32,
        bus: &mut Bus,
        act: impl FnOnce(u32, &mut crate::redistributor::Redistributor),
    ) -> Result<(), Reason> {
        let found = self.mapped_event(device_id, event_id, bus)?;
        let target = found.redistributor.ok_or(reason::UNMAPPED_COLLECTION)?;
        act(
            found.entry.intid,
            &mut bus.redistributors[usize::from(target)],
        );
        Ok(())
    }

    /// The ITT of a mapped device, with the event in range.
    fn itt(&self, device_id: u32, event_id: u32, bus: &mut Bus) -> Result<Itt, Reason> {
        let device = self
            .device(device_id, bus)
            .map_err(|missing| match missing {
                Missing::OutOfRange => reason::DEVICE_OOR,
                Missing::NoLevel2 => reason::UNMAPPED_DEVICE,
            })?;
        let itt = device.ok_or(reason::UNMAPPED_DEVICE)?;
        if u64::from(event_id) >= 2 << itt.size {
            return Err(reason::ID_OOR);
        }
        Ok(itt)
    }

    /// What is read from an ITT is checked: the host may have stored into it.
    fn mapped_event(&self, device_id: u32, event_id: u32, bus: &mut Bus) -> Result<Found, Reason> {
        let itt = self.itt(device_id, event_id, bus)?;
        let entry = Self::interrupt(itt, event_id, bus).ok_or(reason::UNMAPPED_INTERRUPT)?;
        if !(FIRST_LPI..1 << 24).contains(&entry.intid) || !self.has_collection(entry.icid, bus) {
            return Err(reason::ITE_INVALID);
        }
        let rdbase = self.collection(entry.icid, bus);
        let redistributor = rdbase.and_then(|rdbase| bus.machine.redistributor(rdbase));
        Ok(Found {
            itt,
            entry,
            redistributor,
        })
    }

    fn mapped_collection(&self, icid: u16, bus: &mut Bus) -> Result<u8, Reason> {
        if !self.has_collection(icid, bus) {
            return Err(reason::COLLECTION_OOR);
        }
        let rdbase = self.collection(icid, bus);
        rdbase
            .and_then(|rdbase| bus.machine.redistributor(rdbase))
            .ok_or(reason::UNMAPPED_COLLECTION)
    }

    /// A device's write to GITS_TRANSLATER. Whatever cannot be translated is dropped.
    pub(crate) fn msi(&mut self, device_id: u32, event_id: u32, bus: &mut Bus) {
        if !self.enabled {
            return;
        }
        let _ = self.with_target(device_id, event_id, bus, |intid, target| {
            target.set_pending(intid);
        });
    }

    /// How an event would be translated now.
    pub(crate) fn translate(
        &self,
        device_id: u32,
        event_id: u32,
        bus: &mut Bus,
    ) -> Option<Translation> {
        let found = self.mapped_event(device_id, event_id, bus).ok()?;
        Some(Translation {
            intid: found.entry.intid,
            icid: found.entry.icid,
            redistributor: found.redistributor,
        })
    }
}
