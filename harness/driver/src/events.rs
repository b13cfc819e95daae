//! Interrupts of devices: mapping, configuring, moving and unmapping events.
//!
//! An operation on an event that the driver does not know does nothing.

use its_gic::Command;
use its_gic::redistributor::{INVLPIR, LpiConfiguration, SYNCR, configuration_address};
use its_machine::{AccessSize, Area};

use crate::Perform;
use crate::driver::{Acting, Driver, PATIENCE};

/// Mapped events that the driver remembers.
const REMEMBERED_EVENTS: usize = 64;
/// An LPI as Linux configures it: priority 0xa0, the old Group-1 bit, disabled.
const CONFIGURATION: u8 = 0xa2;

/// An event that the driver mapped.
#[derive(Clone, Copy, Debug)]
pub(crate) struct MappedEvent {
    device_id: u32,
    event_id: u32,
    intid: u32,
    /// The collection that it is in now.
    icid: u16,
}

impl Driver {
    fn find(&self, device_id: u32, event_id: u32) -> Option<usize> {
        self.events
            .iter()
            .position(|event| (event.device_id, event.event_id) == (device_id, event_id))
    }

    /// Takes the events of a device out of memory.
    pub(crate) fn events_of(&mut self, device_id: u32) -> Vec<MappedEvent> {
        let (gone, kept) = self.events.iter().partition(|event| event.device_id == device_id);
        self.events = kept;
        gone
    }
}

impl<P: Perform> Acting<'_, P> {
    /// MAPTI and SYNC.
    pub fn map_event(&mut self, device_id: u32, event_id: u32, intid: u32, icid: u16) {
        let command = Command::Mapti { device_id, event_id, intid, icid };
        self.send(command);
        self.sync(icid);
        let event = MappedEvent { device_id, event_id, intid, icid };
        match self.find(device_id, event_id) {
            Some(index) => self.events[index] = event,
            None if self.events.len() < REMEMBERED_EVENTS => self.events.push(event),
            None => {}
        }
        self.post_and_drain();
    }

    /// Writes the byte of an LPI in the configuration table, by way of the word that holds it;
    /// is not reported.
    pub fn configure(&mut self, intid: u32, value: u8) {
        let byte = configuration_address(Area::CONFIGURATION.address(), intid);
        let (address, shift) = (byte & !7, (byte & 7) * 8);
        if let Some(word) = self.load(address) {
            let value = word & !(0xff << shift) | u64::from(value) << shift;
            self.store(address, value);
        }
    }

    /// Enables an event's LPI. `direct`: by GICR_INVLPIR instead of INV.
    pub fn unmask(&mut self, device_id: u32, event_id: u32, direct: bool) {
        self.set_enabled((device_id, event_id), true, direct);
    }

    /// Disables an event's LPI. `direct`: by GICR_INVLPIR instead of INV.
    pub fn mask(&mut self, device_id: u32, event_id: u32, direct: bool) {
        self.set_enabled((device_id, event_id), false, direct);
    }

    fn set_enabled(&mut self, (device_id, event_id): (u32, u32), enabled: bool, direct: bool) {
        let Some(index) = self.find(device_id, event_id) else {
            return;
        };
        let MappedEvent { intid, icid, .. } = self.events[index];
        let byte = LpiConfiguration::from_bits(CONFIGURATION).with_enabled(enabled);
        self.configure(intid, byte.into_bits());
        if direct {
            self.invalidate_directly(intid, icid);
            return;
        }
        let command = Command::Inv { device_id, event_id };
        self.send(command);
        self.sync(icid);
        self.post_and_drain();
    }

    /// GICR_INVLPIR, and waiting until GICR_SYNCR.Busy is 0.
    fn invalidate_directly(&mut self, intid: u32, icid: u16) {
        let base = self.machine.redistributors[usize::from(self.cpu_of(icid))];
        let value = intid.into();
        self.write_at(base + INVLPIR, AccessSize::Double, value);
        for _ in 0..PATIENCE {
            if self.read_at(base + SYNCR, AccessSize::Word) & 1 == 0 {
                return;
            }
        }
    }

    /// MOVI to the collection of a CPU, and SYNC; nothing if the event is there.
    pub fn move_event(&mut self, device_id: u32, event_id: u32, to_cpu: u8) {
        let icid = u16::from(to_cpu);
        let Some(index) = self.find(device_id, event_id) else {
            return;
        };
        if self.events[index].icid == icid {
            return;
        }
        self.events[index].icid = icid;
        let command = Command::Movi { device_id, event_id, icid };
        self.send(command);
        self.sync(icid);
        self.post_and_drain();
    }

    /// DISCARD and SYNC.
    pub fn unmap_event(&mut self, device_id: u32, event_id: u32) {
        let Some(index) = self.find(device_id, event_id) else {
            return;
        };
        let event = self.events.remove(index);
        self.send_discard(event);
        self.post_and_drain();
    }

    pub(crate) fn send_discard(&mut self, event: MappedEvent) {
        let MappedEvent { device_id, event_id, icid, .. } = event;
        let command = Command::Discard { device_id, event_id };
        self.send(command);
        self.sync(icid);
    }
}
