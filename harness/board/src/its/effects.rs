//! MSIs that still go the way from before a command: an ITS need not let them see what a command on
//! events changed before a SYNC for the redistributor that the change is about (IHI 0069, SYNC).
//!
//! Commands always see the newest. MAPD of the device and Enabled = 0 settle what is left.

use std::collections::BTreeMap;

use its_machine::Translation;
use its_machine::freedom::choice::Effects;

use super::{Bus, EventKey, PhysicalIts};

/// One change, or several that wait for the same SYNC.
#[derive(Clone, Copy)]
struct Change {
    before: Option<Translation>,
    /// The redistributor whose SYNC settles it.
    waits_for: u8,
}

/// Changes that MSIs do not see yet, in the order of the commands that made them.
#[derive(Clone, Default)]
pub(super) struct Unsettled(BTreeMap<EventKey, Vec<Change>>);

impl Unsettled {
    /// How an MSI is still translated; `None` if it sees the newest.
    pub(super) fn seen(&self, event: EventKey) -> Option<Option<Translation>> {
        let oldest = self.0.get(&event)?.first()?;
        Some(oldest.before)
    }

    /// A SYNC for a redistributor was consumed. What was changed before a change that is settled is
    /// history.
    pub(super) fn synchronise(&mut self, redistributor: u8) {
        self.0.retain(|_, changes| {
            let settled = changes.iter().rposition(|change| change.waits_for == redistributor);
            changes.drain(..settled.map_or(0, |last| last + 1));
            !changes.is_empty()
        });
    }

    /// A MAPD of the device was consumed.
    pub(super) fn settle_device(&mut self, device_id: u32) {
        self.0.retain(|(device, _), _| *device != device_id);
    }
}

impl PhysicalIts {
    /// Whether MSIs may lag behind commands.
    pub(super) fn defers(&self) -> bool {
        self.choices().picks(Effects::AtSync)
    }

    /// The newest translation of an event, if it is wanted for [`PhysicalIts::defer`].
    pub(super) fn before(&mut self, event: EventKey, bus: &mut Bus) -> Option<Translation> {
        if !self.defers() {
            return None;
        }
        self.newest(event, bus)
    }

    /// An event was translated as `before` and no longer is. With no redistributor that a SYNC
    /// could name, the change is seen at once.
    pub(super) fn defer(
        &mut self,
        event: EventKey,
        before: Option<Translation>,
        waits_for: Option<u8>,
    ) {
        if !self.defers() {
            return;
        }
        let Some(waits_for) = waits_for else {
            self.unsettled.0.remove(&event);
            return;
        };
        let changes = self.unsettled.0.entry(event).or_default();
        if changes.last().is_none_or(|last| last.waits_for != waits_for) {
            changes.push(Change { before, waits_for });
        }
    }
}
