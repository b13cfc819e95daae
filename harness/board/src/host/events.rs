//! Interrupts of devices: mapping, configuring, moving and unmapping events.
//!
//! An operation on an event that the driver does not know does nothing.

use its_gic::Command;
use its_gic::redistributor::{INVLPIR, LpiConfiguration, SYNCR, configuration_address};
use its_machine::{AccessSize, Action, Area, Outcome};

use super::{Host, PATIENCE, Perform};

/// Mapped events that the driver remembers.
const REMEMBERED_EVENTS: usize = 64;
/// An LPI as Linux configures it: priority 0xa0, the old Group-1 bit, disabled.
const CONFIGURATION: u8 = 0xa2;

/// An event that the driver mapped.
#[derive(Clone, Copy, Debug)]
pub(super) struct MappedEvent {
    device_id: u32,
    event_id: u32,
    intid: u32,
    /// The collection that it is in now.
    icid: u16,
}

impl Host {
    fn find(&self, device_id: u32, event_id: u32) -> Option<usize> {
        self.events
            .iter()
            .position(|event| (event.device_id, event.event_id) == (device_id, event_id))
    }

    /// Takes the events of a device out of memory.
    pub(super) fn events_of(&mut self, device_id: u32) -> Vec<MappedEvent> {
        let (gone, kept) = self.events.iter().partition(|event| event.device_id == device_id);
        self.events = kept;
        gone
    }

    /// MAPTI and SYNC.
    pub fn map_event(
        &mut self,
        cpu: u8,
        device_id: u32,
        event_id: u32,
        intid: u32,
        icid: u16,
        on: &mut impl Perform,
    ) {
        let command = Command::Mapti { device_id, event_id, intid, icid };
        self.send(cpu, command, on);
        self.sync(cpu, icid, on);
        let event = MappedEvent { device_id, event_id, intid, icid };
        match self.find(device_id, event_id) {
            Some(index) => self.events[index] = event,
            None if self.events.len() < REMEMBERED_EVENTS => self.events.push(event),
            None => {}
        }
        self.post_and_drain(cpu, on);
    }

    /// Writes the byte of an LPI in the configuration table, by way of the word that holds it;
    /// tells nobody.
    pub fn configure(&mut self, cpu: u8, intid: u32, value: u8, on: &mut impl Perform) {
        let byte = configuration_address(Area::CONFIGURATION.address(), intid);
        let (address, shift) = (byte & !7, (byte & 7) * 8);
        if let Outcome::Value(word) = on.perform(Action::Load { cpu, address }) {
            let value = word & !(0xff << shift) | u64::from(value) << shift;
            self.store(cpu, address, value, on);
        }
    }

    /// Enables an event's LPI. `direct`: by GICR_INVLPIR instead of INV.
    pub fn unmask(
        &mut self,
        cpu: u8,
        device_id: u32,
        event_id: u32,
        direct: bool,
        on: &mut impl Perform,
    ) {
        self.set_enabled(cpu, (device_id, event_id), true, direct, on);
    }

    /// Disables an event's LPI. `direct`: by GICR_INVLPIR instead of INV.
    pub fn mask(
        &mut self,
        cpu: u8,
        device_id: u32,
        event_id: u32,
        direct: bool,
        on: &mut impl Perform,
    ) {
        self.set_enabled(cpu, (device_id, event_id), false, direct, on);
    }

    fn set_enabled(
        &mut self,
        cpu: u8,
        (device_id, event_id): (u32, u32),
        enabled: bool,
        direct: bool,
        on: &mut impl Perform,
    ) {
        let Some(index) = self.find(device_id, event_id) else {
            return;
        };
        let MappedEvent { intid, icid, .. } = self.events[index];
        let byte = LpiConfiguration::from_bits(CONFIGURATION).with_enabled(enabled);
        self.configure(cpu, intid, byte.into_bits(), on);
        if direct {
            self.invalidate_directly(cpu, intid, icid, on);
            return;
        }
        let command = Command::Inv { device_id, event_id };
        self.send(cpu, command, on);
        self.sync(cpu, icid, on);
        self.post_and_drain(cpu, on);
    }

    /// GICR_INVLPIR, and waiting until GICR_SYNCR.Busy is 0.
    fn invalidate_directly(&self, cpu: u8, intid: u32, icid: u16, on: &mut impl Perform) {
        let base = self.machine.redistributors[usize::from(Self::cpu_of(icid))];
        let value = intid.into();
        self.write_at(cpu, base + INVLPIR, AccessSize::Double, value, on);
        for _ in 0..PATIENCE {
            if self.read_at(cpu, base + SYNCR, AccessSize::Word, on) & 1 == 0 {
                return;
            }
        }
    }

    /// MOVI to the collection of a CPU, and SYNC; nothing if the event is there.
    pub fn move_event(
        &mut self,
        cpu: u8,
        device_id: u32,
        event_id: u32,
        to_cpu: u8,
        on: &mut impl Perform,
    ) {
        let icid = u16::from(to_cpu);
        let Some(index) = self.find(device_id, event_id) else {
            return;
        };
        if self.events[index].icid == icid {
            return;
        }
        self.events[index].icid = icid;
        let command = Command::Movi { device_id, event_id, icid };
        self.send(cpu, command, on);
        self.sync(cpu, icid, on);
        self.post_and_drain(cpu, on);
    }

    /// DISCARD and SYNC.
    pub fn unmap_event(&mut self, cpu: u8, device_id: u32, event_id: u32, on: &mut impl Perform) {
        let Some(index) = self.find(device_id, event_id) else {
            return;
        };
        let event = self.events.remove(index);
        self.send_discard(cpu, event, on);
        self.post_and_drain(cpu, on);
    }

    pub(super) fn send_discard(&mut self, cpu: u8, event: MappedEvent, on: &mut impl Perform) {
        let MappedEvent { device_id, event_id, icid, .. } = event;
        let command = Command::Discard { device_id, event_id };
        self.send(cpu, command, on);
        self.sync(cpu, icid, on);
    }
}
