//! What the twelve physical commands are checked for: in the architecture's order, with its error
//! numbers.

use its_gic::Command;
use its_gic::command::opcode;
use its_gic::redistributor::FIRST_LPI;
use its_machine::CommandError;
use its_machine::freedom::choice::{AbsentLevel2, UnknownCommand, UnmappedCollection};

use super::format::{DeviceEntry, InterruptEntry};
use super::tables::Missing;
use super::{Bus, EventKey, PhysicalIts};
use crate::redistributor::Redistributor;

/// Reason bytes of command errors (IHI 0069, command errors; GIC-600 TRM 101206).
pub(super) mod reason {
    pub(crate) const DEVICE_OOR: u8 = 0x01;
    pub(crate) const ITTSIZE_OOR: u8 = 0x02;
    pub(crate) const PROCNUM_OOR: u8 = 0x02;
    pub(crate) const MOVALL_PROCNUM_OOR: u8 = 0x01;
    pub(crate) const COLLECTION_OOR: u8 = 0x03;
    pub(crate) const UNMAPPED_DEVICE: u8 = 0x04;
    pub(crate) const ID_OOR: u8 = 0x05;
    pub(crate) const PHYSICALID_OOR: u8 = 0x06;
    pub(crate) const UNMAPPED_INTERRUPT: u8 = 0x07;
    pub(crate) const UNMAPPED_COLLECTION: u8 = 0x09;
    pub(crate) const ITE_INVALID: u8 = 0x10;
    /// GIC-600's: RDbase, or MOVALL's first, names no redistributor.
    pub(crate) const TARGET_OOR: u8 = 0x20;
    /// GIC-600's: MOVALL's second RDbase names no redistributor.
    pub(crate) const DESTINATION_OOR: u8 = 0x21;
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fault {
    Reason(u8),
    Unnumbered,
}

impl From<u8> for Fault {
    fn from(reason: u8) -> Self {
        Self::Reason(reason)
    }
}

impl Fault {
    /// The 24-bit number: 0x01, the opcode (0x05 for CLEAR), the reason.
    fn error(self, opcode: u8) -> CommandError {
        let command = match opcode {
            opcode::CLEAR => 0x05,
            opcode => opcode,
        };
        match self {
            Self::Reason(reason) => {
                CommandError(Some(0x01_0000 | u32::from(command) << 8 | u32::from(reason)))
            }
            Self::Unnumbered => CommandError(None),
        }
    }
}

/// A mapped event, found on the way of a command or an MSI.
#[derive(Clone, Copy)]
pub(super) struct Found {
    pub itt: DeviceEntry,
    pub entry: InterruptEntry,
    /// `None` while its collection is unmapped.
    pub redistributor: Option<u8>,
}

impl PhysicalIts {
    pub(super) fn execute(
        &mut self,
        command: Command,
        opcode: u8,
        bus: &mut Bus,
    ) -> Result<(), CommandError> {
        let result = match command {
            Command::Mapd { device_id, size, itt_address, valid } => {
                let entry = DeviceEntry { itt_address, size };
                self.mapd(device_id, valid.then_some(entry), bus)
            }
            Command::Mapc { icid, rdbase, valid } => self.mapc(icid, rdbase, valid, bus),
            Command::Mapti { device_id, event_id, intid, icid } => {
                self.mapti((device_id, event_id), InterruptEntry { intid, icid }, bus)
            }
            Command::Mapi { device_id, event_id, icid } => {
                let intid = event_id;
                self.mapti((device_id, event_id), InterruptEntry { intid, icid }, bus)
            }
            Command::Movi { device_id, event_id, icid } => {
                self.movi((device_id, event_id), icid, bus)
            }
            Command::Discard { device_id, event_id } => self.discard((device_id, event_id), bus),
            Command::Int { device_id, event_id } => self.int((device_id, event_id), bus),
            Command::Clear { device_id, event_id } => {
                self.at_target((device_id, event_id), bus, |target, intid| {
                    target.clear_pending(intid);
                })
            }
            Command::Inv { device_id, event_id } => {
                self.at_target((device_id, event_id), bus, Redistributor::forget)
            }
            Command::Invall { icid } => self.invall(icid, bus),
            Command::Movall { from_rdbase, to_rdbase } => self.movall(from_rdbase, to_rdbase, bus),
            Command::Sync { rdbase } => self.sync(rdbase, bus),
            Command::Raw { .. } => match self.choices().get() {
                UnknownCommand::Refused => Err(Fault::Unnumbered),
                UnknownCommand::Skipped => Ok(()),
            },
        };
        result.map_err(|fault| fault.error(opcode))
    }

    /// What an id whose level-2 table is absent is, for a command that does not write its entry.
    pub(super) fn missing(&self, missing: Missing, out_of_range: u8, unmapped: u8) -> u8 {
        let absent_is_unmapped = self.choices().picks(AbsentLevel2::Unmapped);
        match missing {
            Missing::NoLevel2 if absent_is_unmapped => unmapped,
            _ => out_of_range,
        }
    }

    /// The ITT of a mapped device, with the event in range.
    pub(super) fn itt(&mut self, event: EventKey, bus: &mut Bus) -> Result<DeviceEntry, Fault> {
        let (device_id, event_id) = event;
        let device = self.device(device_id, bus).map_err(|missing| {
            self.missing(missing, reason::DEVICE_OOR, reason::UNMAPPED_DEVICE)
        })?;
        let itt = device.ok_or(reason::UNMAPPED_DEVICE)?;
        if u64::from(event_id) >= 2 << itt.size {
            return Err(reason::ID_OOR.into());
        }
        Ok(itt)
    }

    /// Whether an INTID is an LPI that the GIC has.
    pub(super) fn is_lpi(intid: u32, bus: &Bus) -> bool {
        intid >= FIRST_LPI && u64::from(intid) < 1 << bus.machine.intid_bits
    }

    /// What is read from an ITT is checked: the host may have stored into it.
    pub(super) fn mapped_event(&mut self, event: EventKey, bus: &mut Bus) -> Result<Found, Fault> {
        let itt = self.itt(event, bus)?;
        let entry = self.interrupt(event, itt, bus).ok_or(reason::UNMAPPED_INTERRUPT)?;
        if !Self::is_lpi(entry.intid, bus) {
            return Err(reason::ITE_INVALID.into());
        }
        let redistributor = match self.target(entry.icid, bus) {
            Ok(redistributor) => redistributor,
            Err(Missing::NoLevel2) if self.choices().picks(AbsentLevel2::Unmapped) => None,
            Err(_) => return Err(reason::ITE_INVALID.into()),
        };
        Ok(Found { itt, entry, redistributor })
    }

    /// A mapped event, for a command that an unmapped collection may refuse.
    pub(super) fn routed_event(&mut self, event: EventKey, bus: &mut Bus) -> Result<Found, Fault> {
        let found = self.mapped_event(event, bus)?;
        let refuses = self.choices().picks(UnmappedCollection::Refused);
        if found.redistributor.is_none() && refuses {
            return Err(reason::UNMAPPED_COLLECTION.into());
        }
        Ok(found)
    }

    /// The redistributor of a collection, `None` while it is unmapped.
    pub(super) fn target(&mut self, icid: u16, bus: &mut Bus) -> Result<Option<u8>, Missing> {
        let rdbase = self.collection(icid, bus)?;
        Ok(rdbase.and_then(|rdbase| self.named(rdbase, bus)))
    }

    pub(super) fn mapped_collection(&mut self, icid: u16, bus: &mut Bus) -> Result<u8, Fault> {
        let target = self.target(icid, bus).map_err(|missing| {
            self.missing(missing, reason::COLLECTION_OOR, reason::UNMAPPED_COLLECTION)
        })?;
        Ok(target.ok_or(reason::UNMAPPED_COLLECTION)?)
    }

    pub(super) fn named(&self, rdbase: u64, bus: &Bus) -> Option<u8> {
        bus.machine.redistributor(self.index, rdbase)
    }
}
