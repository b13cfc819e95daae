//! Interrupts on their way: MSIs, and the commands that act on pending state and configuration.

use its_machine::Translation;
use its_machine::freedom::choice::{Invall, LpiCache, LpisOff, SyncNowhere, WideEvent};

use super::commands::{Fault, reason};
use super::{Bus, EventKey, PhysicalIts};
use crate::redistributor::Redistributor;

impl PhysicalIts {
    /// Does something about a mapped event's LPI at its redistributor, if its collection has one.
    pub(super) fn at_target(
        &mut self,
        event: EventKey,
        bus: &mut Bus,
        act: impl FnOnce(&mut Redistributor, u32),
    ) -> Result<(), Fault> {
        let found = self.routed_event(event, bus)?;
        if let Some(target) = found.redistributor {
            act(&mut bus.redistributors[usize::from(target)], found.entry.intid);
        }
        Ok(())
    }

    pub(super) fn int(&mut self, event: EventKey, bus: &mut Bus) -> Result<(), Fault> {
        let found = self.routed_event(event, bus)?;
        let Some(target) = found.redistributor else {
            return Ok(());
        };
        let target = &mut bus.redistributors[usize::from(target)];
        if !target.lpis_are_on() && self.choices().picks(LpisOff::Refused) {
            return Err(Fault::Unnumbered);
        }
        target.set_pending(found.entry.intid, bus.memory);
        Ok(())
    }

    /// Only the ITTs say which LPIs are a collection's.
    pub(super) fn invall(&mut self, icid: u16, bus: &mut Bus) -> Result<(), Fault> {
        let target = usize::from(self.mapped_collection(icid, bus)?);
        let keeps = bus.machine.configuration(0).choices.picks(LpiCache::Kept);
        match self.choices().get() {
            _ if !keeps => {}
            Invall::Everything => bus.redistributors[target].forget_all(),
            Invall::Collection => {
                for event in self.events_of_collection(icid, bus) {
                    bus.redistributors[target].forget(event.entry.intid);
                }
            }
        }
        Ok(())
    }

    pub(super) fn movall(
        &mut self,
        from_rdbase: u64,
        to_rdbase: u64,
        bus: &mut Bus,
    ) -> Result<(), Fault> {
        let common = reason::MOVALL_PROCNUM_OOR;
        let from = self.named(from_rdbase, bus);
        let from = from.ok_or_else(|| self.no_redistributor(common, reason::TARGET_OOR))?;
        let to = self.named(to_rdbase, bus);
        let to = to.ok_or_else(|| self.no_redistributor(common, reason::DESTINATION_OOR))?;
        if from == to {
            return Ok(());
        }
        let on = |redistributor: u8| bus.redistributors[usize::from(redistributor)].lpis_are_on();
        if !(on(from) && on(to)) && self.choices().picks(LpisOff::Refused) {
            return Err(Fault::Unnumbered);
        }
        for intid in bus.redistributors[usize::from(from)].take_pending() {
            bus.redistributors[usize::from(to)].set_pending(intid, bus.memory);
        }
        Ok(())
    }

    pub(super) fn sync(&mut self, rdbase: u64, bus: &Bus) -> Result<(), Fault> {
        match self.named(rdbase, bus) {
            Some(redistributor) => self.unsettled.synchronise(redistributor),
            None if self.choices().picks(SyncNowhere::Refused) => return Err(Fault::Unnumbered),
            None => {}
        }
        Ok(())
    }

    /// A device's write to GITS_TRANSLATER. Whatever cannot be translated is dropped.
    pub(crate) fn msi(&mut self, event: EventKey, bus: &mut Bus) {
        if !self.enabled {
            return;
        }
        let Some(translation) = self.translate(event, bus) else {
            return;
        };
        if let Some(target) = translation.redistributor {
            bus.redistributors[usize::from(target)].set_pending(translation.intid, bus.memory);
        }
    }

    /// How an MSI would be translated now, were the ITS enabled.
    pub(crate) fn translate(&mut self, event: EventKey, bus: &mut Bus) -> Option<Translation> {
        let (device_id, event_id) = event;
        let event_ids = self.configuration.typer().event_ids();
        let event_id = match self.choices().get() {
            _ if u64::from(event_id) < event_ids => event_id,
            WideEvent::Ignored => return None,
            WideEvent::Cut => (u64::from(event_id) % event_ids) as u32,
        };
        let event = (device_id, event_id);
        self.unsettled.seen(event).unwrap_or_else(|| self.newest(event, bus))
    }

    /// How an event is translated by all commands that were consumed.
    pub(super) fn newest(&mut self, event: EventKey, bus: &mut Bus) -> Option<Translation> {
        let found = self.mapped_event(event, bus).ok()?;
        Some(Translation {
            intid: found.entry.intid,
            icid: found.entry.icid,
            redistributor: found.redistributor,
        })
    }
}
