//! The fix-up: makes any scenario playable, and leaves a playable one as it is.

use crate::header::Header as _;
use crate::operation::Operation;
use crate::record::Record;
use crate::scenario::{MAX_OPERATIONS, Scenario};

impl Scenario {
    /// Brings every field into its range and drops operations beyond [`MAX_OPERATIONS`]. What is
    /// out of range goes around rather than to the limit, so that mutation spreads. Twice is the
    /// same as once.
    pub fn fix_up(&mut self) {
        self.configurations = self.configurations.map(|given| given.fixed());
        self.boot = self.boot.fixed();
        self.operations.truncate(MAX_OPERATIONS);
        for operation in &mut self.operations {
            operation.fix_up();
        }
    }
}

impl Operation {
    /// Brings every argument into its range.
    pub fn fix_up(&mut self) {
        *self = Record::from(&*self).operation();
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
        assert!(scenario.boot.private_pages <= 4);
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
    fn a_long_list_is_cut() {
        let mut scenario = Scenario {
            operations: vec![Operation::Quiesce { cpu: 0 }; MAX_OPERATIONS + 1],
            ..Scenario::default()
        };
        scenario.fix_up();
        assert_eq!(scenario.operations.len(), MAX_OPERATIONS);
    }
}
