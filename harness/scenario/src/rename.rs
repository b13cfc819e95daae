//! The same scenario with other DeviceIDs.

use its_gic::Command;

use crate::operation::Kind;
use crate::operation::Operation;
use crate::record::Record;
use crate::scenario::Scenario;

/// The key of a DeviceID among an operation's arguments.
const DEVICE: &str = "device";

impl Scenario {
    /// The first device that raises an event by an MSI.
    pub fn msi_device(&self) -> Option<u32> {
        let mut operations = self.operations.iter();
        operations.find_map(|operation| match operation {
            Operation::Msi { device_id, .. } => Some(*device_id),
            _ => None,
        })
    }

    /// Two devices change their DeviceIDs, wherever operations name them. What a boot plan maps
    /// keeps its own.
    pub fn swap_devices(&mut self, one: u32, other: u32) {
        let swap = |device: u64| match device {
            _ if device == u64::from(one) => other.into(),
            _ if device == u64::from(other) => one.into(),
            _ => device,
        };
        for operation in &mut self.operations {
            let mut record = Record::from(&*operation);
            let arguments = record.kind.arguments().iter();
            for (argument, word) in arguments.zip(&mut record.words) {
                if argument.key == DEVICE {
                    *word = swap(*word);
                }
            }
            if record.kind == Kind::RawCommand {
                let [dw0, dw1, dw2, dw3, ..] = &mut record.words;
                let command = Command::decode([*dw0, *dw1, *dw2, *dw3]);
                if command.event().is_some() || matches!(command, Command::Mapd { .. }) {
                    *dw0 = swap(*dw0 >> 32) << 32 | *dw0 & 0xffff_ffff;
                }
            }
            *operation = record.operation();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn devices_change_places_everywhere() {
        let text = "\
itsdiff 2
map-device device=0x2a event-id-bits=3 itt=itt[3]
command MAPD device=0x0 size=0x2 itt=itt[4] valid
raw-command 0x2a00000003 0x1 0x0 0x0
raw-command 0x2a00000005 0x0 0x0 0x0
msi device=0x2a event=0x1
msi device=0x7 event=0x1
";
        let mut scenario = Scenario::parse(text).unwrap();
        assert_eq!(scenario.msi_device(), Some(0x2a));
        scenario.swap_devices(0x2a, 0);
        let expected = "\
itsdiff 2
map-device device=0x0 event-id-bits=3 itt=itt[3]
command MAPD device=0x2a size=0x2 itt=itt[4] valid
raw-command 0x3 0x1 0x0 0x0
raw-command 0x2a00000005 0x0 0x0 0x0
msi device=0x0 event=0x1
msi device=0x7 event=0x1
";
        let wanted = Scenario::parse(expected).unwrap();
        assert_eq!(scenario, wanted, "{scenario}");
        scenario.swap_devices(0x2a, 0);
        assert_eq!(scenario, Scenario::parse(text).unwrap());
    }
}
