//! A scenario: configurations of the board's ITSs, boot plan, operations.

use its_gic::redistributor::FIRST_LPI;
use its_machine::{Area, ItsConfiguration, MAX_ITS, Place};

use crate::header::{Boot, Stage};
use crate::operation::Operation;

/// The most operations that a scenario has.
pub const MAX_OPERATIONS: usize = 10_000;
/// The most operations of a scenario that a generator or an engine makes.
pub const DRAWN_OPERATIONS: usize = 256;

/// Everything that decides what happens. One run of it is a case.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Scenario {
    /// Of each ITS; the board has [`Boot::its`] of them. Those from [`Boot::its_slots`] on are the
    /// default.
    pub configurations: [ItsConfiguration; MAX_ITS],
    pub boot: Boot,
    /// At most [`MAX_OPERATIONS`].
    pub operations: Vec<Operation>,
}

impl Default for Scenario {
    fn default() -> Self {
        Self {
            configurations: [ItsConfiguration::DEFAULT; MAX_ITS],
            boot: Boot::default(),
            operations: Vec::new(),
        }
    }
}

/// A device that the driver has mapped before set-up, with one event mapped too.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LiveDevice {
    pub device_id: u32,
    /// MAPD.Size is this minus 1.
    pub event_id_bits: u8,
    /// Eight ITTs of live devices lie in a page.
    pub itt: Place,
    pub event_id: u32,
    pub intid: u32,
    pub icid: u16,
}

/// The most EventID bits of a device that is mapped when EL2 takes over.
pub const LIVE_EVENT_ID_BITS: u8 = 5;

/// ITTs of live devices in one page: each has at most 32 entries of 16 bytes.
const ITTS_PER_PAGE: u8 = 8;

impl Boot {
    /// Slots in the command queue, of which one less can be in use.
    pub const fn queue_slots(&self) -> u16 {
        (self.queue_pages as u16).wrapping_mul(128)
    }

    /// The devices of the first ITS, whose configuration is given, that are live at set-up, in the
    /// order of their list. At [`Stage::Reset`] nobody has mapped them.
    pub fn live(
        &self,
        configuration: &ItsConfiguration,
    ) -> impl Iterator<Item = LiveDevice> + use<> {
        let event_id_bits = configuration.event_id_bits.min(LIVE_EVENT_ID_BITS);
        let live_devices = match self.stage {
            Stage::Reset => 0,
            _ => u64::from(self.live_devices).min(1 << configuration.device_id_bits),
        };
        (0..live_devices as u8).map(move |index| LiveDevice {
            device_id: u32::from(index),
            event_id_bits,
            itt: Place::at(
                Area::ITT,
                u16::from(index / ITTS_PER_PAGE),
                u16::from(index % ITTS_PER_PAGE).wrapping_mul(0x200),
            ),
            event_id: 0,
            intid: FIRST_LPI.wrapping_add(u32::from(index)),
            icid: 0,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use its_gic::geometry::itt_bytes;

    #[test]
    fn live_devices_fit_their_page_and_their_table() {
        let configuration = ItsConfiguration {
            itt_entry_bytes: 16,
            device_id_bits: 4,
            ..ItsConfiguration::DEFAULT
        };
        let boot = Boot { live_devices: 255, ..Boot::default() };
        let live: Vec<_> = boot.live(&configuration).collect();
        assert_eq!(live.len(), 16);
        for device in live {
            assert!(device.device_id < 16);
            assert!(itt_bytes(device.event_id_bits - 1, 16) <= 0x200);
        }
    }
}
