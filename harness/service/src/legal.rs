//! Which traffic of a host has a promise: what a driver like Linux's does.

use std::collections::BTreeSet;

use its_architecture::{Architecture, overlap};
use its_declaration::{Capacity, Declaration, MappedCollection, Remap, Unmap};
use its_gic::Command;
use its_gic::command::Words;
use its_gic::geometry::{Pages, itt_bytes};

use crate::service::Entrusted;

/// Why nothing more is promised.
pub type Unpromised = &'static str;

/// What decides whether a command is legal, next to the state of the ITS.
#[derive(Clone, Debug)]
pub(crate) struct Legal {
    /// What the emulation is declared to refuse.
    pub(crate) declared: Declaration,
    /// Pages that the host gave away, or tried to.
    pub(crate) given: BTreeSet<u64>,
    /// INTIDs of mapped events, of all ITSs, each with ITS, DeviceID and EventID.
    pub(crate) intids: Vec<(u32, (usize, u32, u32))>,
}

impl Legal {
    /// Returns what decides while nothing was sent.
    pub(crate) fn new(declared: Declaration) -> Self {
        Self { declared, given: BTreeSet::new(), intids: Vec::new() }
    }

    /// Follows a command that a driver sends in this state. `seen`: the state once the commands are
    /// completed that the driver knows to be.
    pub(crate) fn command(
        &mut self,
        (hardware, its): (&Architecture, usize),
        seen: &Architecture,
        words: Words,
        entrusted: &Entrusted,
    ) -> Result<(), Unpromised> {
        let command = Command::decode(words);
        if command.encode() != words {
            return Err("a command has reserved bits");
        }
        if !hardware.must_execute(its, command) {
            return Err("a command is wrong, or may be");
        }
        if self.is_declined((hardware, its), seen, &command) {
            return Err("the emulation is declared to refuse a command");
        }
        match command {
            Command::Mapd { device_id, size, itt_address, valid: true } => {
                let devices = hardware.devices(its);
                if devices.iter().any(|(known, ..)| *known == device_id) {
                    return Err("a device is mapped again");
                }
                if self.are_records_full((hardware, its), seen, (itt_address, size), entrusted) {
                    return Err("the records of the emulation are full");
                }
                self.itt((hardware, its), (itt_address, size), entrusted.itts)?;
            }
            Command::Mapd { device_id, size, itt_address, valid: false } => {
                let devices = hardware.devices(its);
                let Some(device) = devices.into_iter().find(|(known, ..)| *known == device_id)
                else {
                    return Err("a device is unmapped that is not mapped");
                };
                let by_command = self.declared.queue.unmap == Unmap::ByCommand;
                if by_command && device != (device_id, itt_address, size) {
                    return Err(
                        "the emulation is declared to refuse another ITT than the device's",
                    );
                }
            }
            Command::Mapti { device_id, event_id, intid, icid } => {
                self.event((its, device_id, event_id), intid)?;
                is_mapped(hardware, its, icid)?;
            }
            Command::Mapc { icid, valid: false, .. } => is_mapped(hardware, its, icid)?,
            Command::Mapi { .. } | Command::Movall { .. } | Command::Raw { .. } => {
                return Err("a command is sent that Linux's driver does not send");
            }
            Command::Mapc { icid, valid: true, .. } => {
                if usize::from(icid) >= hardware.machine.redistributors.len() {
                    return Err("more collections are mapped than there are CPUs");
                }
            }
            Command::Movi { .. }
            | Command::Int { .. }
            | Command::Clear { .. }
            | Command::Inv { .. }
            | Command::Discard { .. }
            | Command::Invall { .. }
            | Command::Sync { .. } => {}
        }
        self.note(its, command);
        Ok(())
    }

    /// Whether the emulation may have no record for one device more.
    fn are_records_full(
        &self,
        (hardware, its): (&Architecture, usize),
        seen: &Architecture,
        (itt_address, size): (u64, u8),
        entrusted: &Entrusted,
    ) -> bool {
        // P7: a device that is unmapped keeps its record until the driver sees the MAPD completed.
        let held = held((hardware, its), seen);
        let is_full = held.len() >= entrusted.records;
        if is_full || self.declared.memory.capacity != Capacity::Pages {
            return is_full;
        }
        let entry_bytes = hardware.its[its].typer.itt_entry_bytes();
        let new = Pages::under(itt_address, itt_bytes(size, entry_bytes));
        let held = held.into_iter().map(|(_, itt)| itt).chain([new]);
        held.flat_map(Pages::iter).collect::<BTreeSet<_>>().len() > entrusted.records
    }

    /// Whether the emulation is declared to refuse a command that is right.
    fn is_declined(
        &self,
        (hardware, its): (&Architecture, usize),
        seen: &Architecture,
        command: &Command,
    ) -> bool {
        let Declaration { numbers, memory, queue, .. } = self.declared;
        if queue.refused_commands.names(command) {
            return true;
        }
        match *command {
            Command::Mapd { device_id, .. } if !queue.takes_device(device_id) => true,
            Command::Mapc { icid, .. } if !queue.takes_collection(icid) => true,
            Command::Mapd { device_id, size, itt_address, valid: true } => {
                let held = held((hardware, its), seen);
                let is_mapped = held.iter().any(|(known, _)| *known == device_id);
                let pages = Pages::under(
                    itt_address,
                    itt_bytes(size, hardware.its[its].typer.itt_entry_bytes()),
                );
                let shares = |other: Pages| other.iter().any(|page| pages.contains(page));
                // Pages are borrowed for all ITSs.
                let itts =
                    (0..hardware.its.len()).flat_map(|its| self::held((hardware, its), seen));
                let mut itts = itts.map(|(_, itt)| itt);
                u32::from(size) >= numbers.event_id_bits
                    || !itt_address.is_multiple_of(memory.itt_alignment.bytes())
                    || memory.remap == Remap::Refused && is_mapped
                    || !memory.itts_share_pages() && itts.any(shares)
            }
            Command::Mapc { icid, valid: true, .. } => {
                queue.mapped_collection == MappedCollection::Refused
                    && is_mapped(hardware, its, icid).is_ok()
            }
            _ => false,
        }
    }

    /// An ITT is the driver's memory, and nobody else's.
    fn itt(
        &self,
        (hardware, its): (&Architecture, usize),
        (address, size): (u64, u8),
        own: Pages,
    ) -> Result<(), Unpromised> {
        let bytes = itt_bytes(size, hardware.its[its].typer.itt_entry_bytes());
        let pages = Pages::under(address, bytes);
        if pages.iter().any(|page| !own.contains(page) || self.given.contains(&page)) {
            return Err("an ITT is not in the driver's memory for ITTs");
        }
        if hardware.itts().any(|other| overlap(other, (address, bytes))) {
            return Err("two devices have the same ITT");
        }
        Ok(())
    }

    /// An event and an INTID are mapped once.
    fn event(&self, event: (usize, u32, u32), intid: u32) -> Result<(), Unpromised> {
        if self.intids.iter().any(|(known, of)| *known == intid || *of == event) {
            return Err("an event or an INTID is mapped twice");
        }
        Ok(())
    }

    fn note(&mut self, its: usize, command: Command) {
        match command {
            Command::Mapti { device_id, event_id, intid, .. } => {
                self.intids.push((intid, (its, device_id, event_id)));
            }
            Command::Discard { device_id, event_id } => {
                self.intids.retain(|(_, of)| *of != (its, device_id, event_id));
            }
            Command::Mapd { device_id, .. } => {
                self.intids.retain(|(_, (of, device, _))| (*of, *device) != (its, device_id));
            }
            Command::Mapi { .. }
            | Command::Mapc { .. }
            | Command::Movi { .. }
            | Command::Int { .. }
            | Command::Clear { .. }
            | Command::Inv { .. }
            | Command::Invall { .. }
            | Command::Movall { .. }
            | Command::Sync { .. }
            | Command::Raw { .. } => {}
        }
    }
}

/// The devices of an ITS for which the emulation may hold ITTs: those that are mapped as far as the
/// driver knows, and those of each MAPD V=1 after that.
fn held((hardware, its): (&Architecture, usize), seen: &Architecture) -> Vec<(u32, Pages)> {
    let entry_bytes = hardware.its[its].typer.itt_entry_bytes();
    let mapped = seen.devices(its).into_iter();
    let mapped =
        mapped.map(|(id, itt, size)| (id, Pages::under(itt, itt_bytes(size, entry_bytes))));
    mapped.chain(posted((hardware, its), seen)).collect()
}

/// The devices of each MAPD V=1 that was posted to an ITS and that the driver does not know to be
/// completed, with the pages of their ITTs.
pub(crate) fn posted(
    (hardware, its): (&Architecture, usize),
    seen: &Architecture,
) -> impl Iterator<Item = (u32, Pages)> {
    let entry_bytes = hardware.its[its].typer.itt_entry_bytes();
    let end = hardware.its[its].registers.offset();
    seen.commands_until(its, end).filter_map(move |command| match command {
        Command::Mapd { device_id, size, itt_address, valid: true } => {
            Some((device_id, Pages::under(itt_address, itt_bytes(size, entry_bytes))))
        }
        _ => None,
    })
}

fn is_mapped(hardware: &Architecture, its: usize, icid: u16) -> Result<(), Unpromised> {
    hardware.collection(its, icid).map(|_| ()).ok_or("a collection is named that is not mapped")
}
