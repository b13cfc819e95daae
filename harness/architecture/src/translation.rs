//! Where events go: what tables and caches say of them, and which LPIs an MSI makes pending.

use its_machine::Translation;
use its_machine::freedom::choice::WideEvent;

use crate::architecture::{Architecture, Late};
use crate::cells::{Entry, Slot};
use crate::path::{Path, Undefined, explore};
use crate::possible::{Possible, Truth};
use crate::tables::{At, COLLECTIONS, DEVICES};

impl Architecture {
    /// How an MSI that arrives now is translated (GITS_TRANSLATER). Nothing is known of an ITS that
    /// is not enabled.
    pub fn translate(
        &self,
        its: usize,
        device_id: u32,
        event_id: u32,
    ) -> Possible<Option<Translation>> {
        if !self.its[its].registers.enabled {
            return Possible::Any;
        }
        let cut = (u64::from(event_id) % self.its[its].typer.event_ids()) as u32;
        if cut == event_id {
            return self.translate_event(its, device_id, cut);
        }
        let freedoms = &self.its[its].freedoms;
        let ignored = freedoms.allow(WideEvent::Ignored).then(|| Possible::only(None));
        let cut = freedoms.allow(WideEvent::Cut).then(|| self.translate_event(its, device_id, cut));
        let all = ignored.into_iter().chain(cut);
        all.reduce(|one, other| one.or(&other)).unwrap_or(Possible::Any)
    }

    fn translate_event(
        &self,
        its: usize,
        device_id: u32,
        event_id: u32,
    ) -> Possible<Option<Translation>> {
        let freedoms = &self.its[its].freedoms;
        let Ok(ways) = explore(freedoms, |path| self.walk(its, (device_id, event_id), path)) else {
            return Possible::Any;
        };
        let mut ways = ways.into_iter().map(|(_, found)| match found {
            Ok(found) => Possible::only(found),
            Err(_) => Possible::Any,
        });
        let first = ways.next().unwrap_or(Possible::Any);
        let joined = ways.fold(first, |all, one| all.or(&one));
        let late = self.its[its].late.iter();
        let late = late.filter(|late| (late.device_id, late.event_id) == (device_id, event_id));
        late.fold(joined, |all, late| all.or(&late.before))
    }

    fn walk(
        &self,
        its: usize,
        id: (u32, u32),
        path: &mut Path,
    ) -> Result<Option<Translation>, Undefined> {
        if u64::from(id.0) >= self.its[its].typer.device_ids() {
            return Ok(None);
        }
        let device = match self.locate(its, DEVICES, id.0, path)? {
            At::Slot(slot, bytes) => path.read(slot, &self.entry(DEVICES, id.0, slot, bytes))?,
            At::Absent | At::Beyond => self.unbacked(its, DEVICES, id.0, path)?,
        };
        let Entry::Device { itt, size } = device else {
            return Ok(None);
        };
        if u64::from(id.1) >= 2_u64 << size {
            return Ok(None);
        }
        let (slot, bytes) = self.event_slot(its, id, itt);
        let Entry::Interrupt { intid, icid } = path.read(slot, &self.seen(slot, bytes))? else {
            return Ok(None);
        };
        let redistributor = self.collection_of(its, icid, path)?;
        // An ICID that has no place in the table: an invalid entry, or an unmapped collection.
        let backed = redistributor.is_some() || self.is_backed(its, icid, path)?;
        if !backed && path.maybe() {
            return Ok(None);
        }
        Ok(Some(Translation { intid, icid, redistributor }))
    }

    /// Whether a collection has an entry, in memory or held.
    pub(crate) fn is_backed(
        &self,
        its: usize,
        icid: u16,
        path: &mut Path,
    ) -> Result<bool, Undefined> {
        let at = self.locate(its, COLLECTIONS, icid.into(), path)?;
        Ok(matches!(at, At::Slot(..)))
    }

    /// The redistributor of a collection, however far out its ICID is.
    pub(crate) fn collection_of(
        &self,
        its: usize,
        icid: u16,
        path: &mut Path,
    ) -> Result<Option<u8>, Undefined> {
        let id = icid.into();
        let entry = match self.locate(its, COLLECTIONS, id, path)? {
            At::Slot(slot, bytes) => path.read(slot, &self.entry(COLLECTIONS, id, slot, bytes))?,
            At::Absent | At::Beyond => self.unbacked(its, COLLECTIONS, id, path)?,
        };
        Ok(match entry {
            Entry::Collection(redistributor) => Some(redistributor),
            _ => None,
        })
    }

    /// Every (DeviceID, EventID) that is mapped for sure, ascending.
    pub fn mapped_of(&self, its: usize) -> Vec<(u32, u32)> {
        let mut mapped = Vec::new();
        for (id, itt, size) in self.devices(its) {
            for cell in self.itt_cells(its, id, itt, size) {
                let sure = matches!(cell.seen.known(), Some(Entry::Interrupt { .. }));
                if let (Slot::Interrupt { event_id, .. }, true) = (cell.slot, sure) {
                    mapped.push((id, event_id));
                }
            }
        }
        mapped.sort_unstable();
        mapped
    }

    pub(crate) fn touch_all(&mut self, its: usize) {
        let mapped = self.mapped_of(its).into_iter();
        let mapped: Vec<_> = mapped.map(|(device, event)| (its as u8, device, event)).collect();
        self.touched.extend(mapped);
    }

    /// SYNC: effects of an ITS that wait for this redistributor are there.
    pub(crate) fn settle(&mut self, its: usize, redistributor: u8) {
        let late = std::mem::take(&mut self.its[its].late);
        let waits = |late: &Late| late.redistributor != Some(redistributor);
        let (waiting, settled): (Vec<Late>, Vec<Late>) = late.into_iter().partition(waits);
        self.its[its].late = waiting;
        let events = settled.into_iter();
        let touched = events.map(|late| (its as u8, late.device_id, late.event_id));
        self.touched.extend(touched);
    }

    /// Where an MSI goes, if anywhere: GITS_TRANSLATER.
    pub fn msi(
        &self,
        (its, device_id, event_id): (usize, u32, u32),
    ) -> Result<Vec<Option<(u8, u32)>>, Undefined> {
        if !self.its[its].registers.enabled {
            return Ok(vec![None]);
        }
        let Possible::Of(found) = self.translate(its, device_id, event_id) else {
            return Err("an MSI depends on contents that nobody knows");
        };
        let target = |to: Translation| to.redistributor.map(|of| (of, to.intid));
        let mut targets: Vec<_> = found.into_iter().map(|found| found.and_then(target)).collect();
        targets.sort_unstable();
        targets.dedup();
        Ok(targets)
    }

    /// One of these LPIs, or none, becomes pending.
    pub fn pend(&mut self, targets: &[Option<(u8, u32)>]) {
        let truth = if targets.len() == 1 { Truth::Yes } else { Truth::Maybe };
        for (redistributor, intid) in targets.iter().flatten() {
            self.redistributors[usize::from(*redistributor)].pend(*intid, truth);
        }
    }
}
