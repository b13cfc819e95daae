//! Commands that change mappings: MAPD, MAPC, MAPTI, MAPI, MOVI, DISCARD.

use its_gic::geometry::{PHYSICAL_ADDRESS_BITS, itt_bytes};
use its_gic::redistributor::intids;
use its_machine::freedom::choice::{
    ErrorNumbers, MappedEvent, MovedCollection, RemappedDevice, UnmappedPending, UnmappedRdbase,
    WideIntid, WideRdbase,
};

use super::commands::{Fault, reason};
use super::format::{DeviceEntry, InterruptEntry};
use super::{Bus, EventKey, PhysicalIts};

impl PhysicalIts {
    pub(super) fn mapd(
        &mut self,
        device_id: u32,
        entry: Option<DeviceEntry>,
        bus: &mut Bus,
    ) -> Result<(), Fault> {
        let place = self.device_place(device_id, bus);
        let place = place.map_err(|_| reason::DEVICE_OOR)?;
        if let Some(entry) = entry {
            let typer = self.configuration.typer();
            let end = entry.itt_address + itt_bytes(entry.size, typer.itt_entry_bytes());
            if entry.size > typer.id_bits() || end > 1 << PHYSICAL_ADDRESS_BITS {
                return Err(reason::ITTSIZE_OOR.into());
            }
        }
        if let Ok(Some(old)) = self.device(device_id, bus) {
            self.leave(device_id, old, bus);
        }
        self.set_device(device_id, place, entry, bus);
        self.unsettled.settle_device(device_id);
        Ok(())
    }

    /// A mapped device gives up its ITT.
    fn leave(&mut self, device_id: u32, old: DeviceEntry, bus: &mut Bus) {
        if self.choices().picks(UnmappedPending::Dropped) {
            for event in self.events(device_id, old, bus) {
                if let Ok(Some(target)) = self.target(event.entry.icid, bus) {
                    bus.redistributors[usize::from(target)].clear_pending(event.entry.intid);
                }
            }
        }
        self.invalidate_events(device_id, bus);
        if self.choices().picks(RemappedDevice::Dropped) {
            let unmapped = self.format().interrupt(None);
            for event in self.events(device_id, old, bus) {
                let address = self.interrupt_place(old, event.key.1);
                bus.store_unaligned(address, unmapped, false);
            }
        }
    }

    pub(super) fn mapc(
        &mut self,
        icid: u16,
        rdbase: u64,
        valid: bool,
        bus: &mut Bus,
    ) -> Result<(), Fault> {
        let place = self.collection_place(icid, bus);
        let place = place.map_err(|_| reason::COLLECTION_OOR)?;
        let named = if self.choices().picks(WideRdbase::Ignored) {
            bus.machine.redistributor_of_low_bits(self.index, rdbase)
        } else {
            self.named(rdbase, bus)
        };
        let checked = valid || self.choices().picks(UnmappedRdbase::Checked);
        if checked && named.is_none() {
            return Err(self.no_redistributor(reason::PROCNUM_OOR, reason::TARGET_OOR));
        }
        let from = self.target(icid, bus).unwrap_or(None);
        let to = named.filter(|_| valid);
        if from != to {
            self.redirect(icid, from, to, bus);
        }
        let rdbase = to.map(|to| bus.machine.rdbase(self.index, to));
        self.set_collection(icid, place, rdbase, bus);
        Ok(())
    }

    pub(super) fn no_redistributor(&self, common: u8, gic600: u8) -> Fault {
        match self.choices().get() {
            ErrorNumbers::Common => common.into(),
            ErrorNumbers::Gic600 => gic600.into(),
        }
    }

    /// A collection is about to go from one redistributor to another, with all events that are
    /// mapped to it.
    fn redirect(&mut self, icid: u16, from: Option<u8>, to: Option<u8>, bus: &mut Bus) {
        let follow = self.choices().picks(MovedCollection::Follows);
        if !follow && !self.defers() {
            return;
        }
        for event in self.events_of_collection(icid, bus) {
            let before = self.before(event.key, bus);
            self.defer(event.key, before, to.or(from));
            if let (true, Some(from), Some(to)) = (follow, from, to) {
                Self::move_pending(event.entry.intid, from, to, bus);
            }
        }
    }

    /// What is pending of an LPI goes to another redistributor, which knows nothing of it yet.
    fn move_pending(intid: u32, from: u8, to: u8, bus: &mut Bus) {
        let old = &mut bus.redistributors[usize::from(from)];
        let pending = old.clear_pending(intid);
        if from != to {
            old.forget(intid);
        }
        if pending {
            bus.redistributors[usize::from(to)].set_pending(intid, bus.memory);
        }
    }

    pub(super) fn mapti(
        &mut self,
        event: EventKey,
        entry: InterruptEntry,
        bus: &mut Bus,
    ) -> Result<(), Fault> {
        let itt = self.itt(event, bus)?;
        if !Self::is_lpi(entry.intid, bus) || self.is_too_wide(entry.intid, bus) {
            return Err(reason::PHYSICALID_OOR.into());
        }
        let target = match self.target(entry.icid, bus) {
            Ok(target) => target,
            // It need not be mapped.
            Err(missing) => match self.missing(missing, reason::COLLECTION_OOR, 0) {
                0 => None,
                reason => return Err(reason.into()),
            },
        };
        let old = self.interrupt(event, itt, bus);
        match (old, self.choices().get()) {
            (None, _) | (Some(_), MappedEvent::Overwritten) if old != Some(entry) => {}
            (Some(old), MappedEvent::Refused) if old != entry => return Err(Fault::Unnumbered),
            _ => return Ok(()),
        }
        let before = self.before(event, bus);
        self.set_interrupt(event, itt, Some(entry), bus);
        let old_target = before.and_then(|before| before.redistributor);
        self.defer(event, before, target.or(old_target));
        Ok(())
    }

    /// Whether the first redistributor's PROPBASER leaves no room for an INTID, and this ITS minds.
    fn is_too_wide(&self, intid: u32, bus: &Bus) -> bool {
        let limit = bus.redistributors.first().map_or(0, |first| intids(first.id_bits()));
        self.choices().picks(WideIntid::Refused) && u64::from(intid) >= limit
    }

    pub(super) fn movi(&mut self, event: EventKey, icid: u16, bus: &mut Bus) -> Result<(), Fault> {
        let found = self.mapped_event(event, bus)?;
        let from = found.redistributor.ok_or(reason::UNMAPPED_COLLECTION)?;
        let to = self.mapped_collection(icid, bus)?;
        let before = self.before(event, bus);
        let intid = found.entry.intid;
        let entry = InterruptEntry { intid, icid };
        if entry == found.entry {
            return Ok(());
        }
        self.set_interrupt(event, found.itt, Some(entry), bus);
        self.defer(event, before, Some(to));
        Self::move_pending(intid, from, to, bus);
        Ok(())
    }

    pub(super) fn discard(&mut self, event: EventKey, bus: &mut Bus) -> Result<(), Fault> {
        let found = self.routed_event(event, bus)?;
        let before = self.before(event, bus);
        self.set_interrupt(event, found.itt, None, bus);
        self.defer(event, before, found.redistributor);
        if let Some(target) = found.redistributor {
            let target = &mut bus.redistributors[usize::from(target)];
            target.clear_pending(found.entry.intid);
            target.forget(found.entry.intid);
        }
        Ok(())
    }
}
