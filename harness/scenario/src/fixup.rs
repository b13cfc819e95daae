//! The fix-up: makes any scenario playable, and leaves a playable one as it is.

use std::borrow::Cow;

use crate::header::Header as _;
use crate::operation::Operation;
use crate::record::Record;
use crate::scenario::{MAX_OPERATIONS, Scenario};
use its_machine::{ItsConfiguration, RACING_CPUS};

impl Scenario {
    /// Brings every field into its range and drops operations beyond [`MAX_OPERATIONS`]. What is
    /// out of range goes around rather than to the limit, so that mutation spreads. Twice is the
    /// same as once.
    pub fn fix_up(&mut self) {
        self.boot = self.boot.fixed();
        let slots = self.boot.its_slots() as usize;
        for (its, configuration) in self.configurations.iter_mut().enumerate() {
            let is_there = its < slots;
            *configuration =
                if is_there { configuration.fixed() } else { ItsConfiguration::DEFAULT };
        }
        self.operations.truncate(MAX_OPERATIONS);
        for operation in &mut self.operations {
            *operation = Record::from(&*operation).fix().fit(&self.boot).operation();
        }
        keep_races_to_two_cpus(&mut self.operations);
    }

    /// Returns the same on a board with at most so much.
    pub fn within(&self, most: Most) -> Cow<'_, Self> {
        let cut_to = |value: u8, most: u32| value.min(most.min(255) as u8);
        let mut boot = self.boot;
        boot.its = cut_to(boot.its, most.its);
        boot.cpus = cut_to(boot.cpus, most.cpus);
        boot.live_devices = cut_to(boot.live_devices, most.live_devices);
        boot.private_pages = cut_to(boot.private_pages, most.private_pages);
        if boot == self.boot {
            return Cow::Borrowed(self);
        }
        let mut cut = Self { boot, ..self.clone() };
        cut.fix_up();
        Cow::Owned(cut)
    }
}

/// The most of a board that a subject takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Most {
    pub its: u32,
    pub cpus: u32,
    /// Devices that are mapped when EL2 takes over.
    pub live_devices: u32,
    pub private_pages: u32,
}

impl Most {
    /// Returns so many ITSs and CPUs, and of all else as much as there may be.
    pub const fn boards(its: u32, cpus: u32) -> Self {
        Self { its, cpus, live_devices: u32::MAX, private_pages: u32::MAX }
    }
}

/// Gives operations of a race that another CPU does to one that can be in a race.
pub(crate) fn keep_races_to_two_cpus(operations: &mut [Operation]) {
    let mut members = 0;
    for operation in operations {
        if let Operation::Race { operations, .. } = operation {
            members = *operations;
            continue;
        }
        let record = Record::from(&*operation);
        if members > 0 && record.cpu >= RACING_CPUS {
            let cpu = record.cpu.checked_rem(RACING_CPUS).unwrap_or(0);
            *operation = Record { cpu, ..record }.operation();
        }
        members = members.saturating_sub(1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use its_machine::{AccessSize, Direction, Frame};
    use its_machine::{Area, Place};

    #[test]
    fn each_field_comes_into_its_range() {
        let mut scenario = Scenario::default();
        scenario.configurations[1].itt_entry_bytes = 200;
        scenario.configurations[0].device_entry_bytes = 11;
        scenario.boot.queue_pages = 0;
        scenario.boot.private_pages = 99;
        scenario.boot.cpus = 2;
        scenario.operations = vec![
            Operation::access(
                7,
                Frame::Redistributor(9),
                (u32::MAX, AccessSize::Half),
                Direction::Write(0x12_3456),
            ),
            Operation::Load { cpu: 2, at: Place::at(Area::ITT, 999, 0x8007) },
            Operation::Poll { cpu: 0, times: 0 },
        ];
        scenario.fix_up();
        assert!((8..=16).contains(&scenario.configurations[1].itt_entry_bytes));
        assert_eq!(scenario.configurations[0].device_entry_bytes, 16);
        assert!((1..=16).contains(&scenario.boot.queue_pages));
        assert!(scenario.boot.private_pages <= 64);
        assert_eq!(
            scenario.operations,
            [
                Operation::access(
                    1,
                    Frame::ItsControl(0),
                    (0xffff, AccessSize::Half),
                    Direction::Write(0x3456),
                ),
                Operation::Load { cpu: 0, at: Place::page(Area::ITT, 999 % 320) },
                Operation::Poll { cpu: 0, times: 1 },
            ]
        );
        let once = scenario.clone();
        scenario.fix_up();
        assert_eq!(scenario, once);
    }

    #[test]
    fn a_board_is_cut_to_what_the_subject_can_have() {
        let mut scenario = Scenario::default();
        (scenario.boot.its, scenario.boot.cpus) = (3, 5);
        let at = Place::page(Area::QUEUE.of_its(2), 0);
        scenario.operations = vec![Operation::Load { cpu: 4, at }];
        assert_eq!(*scenario.within(Most::boards(3, 8)), scenario);
        let cut = scenario.within(Most::boards(2, 2));
        assert_eq!((cut.boot.its, cut.boot.cpus), (2, 2));
        let at = Place::page(Area::QUEUE, 0);
        assert_eq!(cut.operations, [Operation::Load { cpu: 0, at }]);
    }

    #[test]
    fn a_long_list_is_cut() {
        let mut scenario = Scenario {
            operations: vec![Operation::Quiesce { cpu: 0 }; MAX_OPERATIONS + 1],
            ..Scenario::default()
        };
        scenario.fix_up();
        assert_eq!(scenario.operations.len(), MAX_OPERATIONS);
    }
}
