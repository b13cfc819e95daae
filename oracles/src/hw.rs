//! HW: EL2 drives the physical ITS in a way that the architecture calls UNPREDICTABLE.

use its_el2::Event;

use crate::{Breach, Step, rules};

/// Judges EL2's register writes in one action; a host that owns its ITS may do what it likes.
pub fn judge(step: &Step, breaches: &mut Vec<Breach>) {
    let mut by_el2 = None;
    for event in step.events {
        match event {
            Event::DeviceWrite { address, .. } => by_el2 = Some(*address),
            Event::Unpredictable { .. } if by_el2.is_some() => breaches.push(Breach {
                rule: &rules::HW_UNPREDICTABLE,
                class: "enabled",
                path: format!("device {:#x}", by_el2.unwrap_or_default()),
                expected: "not written while the ITS is enabled".into(),
                seen: "written by EL2".into(),
            }),
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use its_el2::{AccessSize, Action, Outcome};

    #[test]
    fn only_el2_is_judged() {
        let action = Action::Load { cpu: 0, address: 0 };
        let unpredictable = Event::Unpredictable { address: 0x80 };
        let written = Event::DeviceWrite {
            address: 0x80,
            size: AccessSize::Double,
            value: 0,
        };
        for (events, broken) in [(vec![unpredictable], 0), (vec![written, unpredictable], 1)] {
            let mut breaches = Vec::new();
            let step = Step {
                action: &action,
                outcome: Outcome::Done,
                events: &events,
            };
            judge(&step, &mut breaches);
            assert_eq!(breaches.len(), broken);
        }
    }
}
