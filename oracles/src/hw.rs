//! HW: EL2 drives the hardware in a way that the architecture calls UNPREDICTABLE, or writes what
//! it must never write.

use its_gic::Register;
use its_gic::redistributor::{FRAMES_BYTES, PENDBASER, PROPBASER};
use its_gic::register::OFFSET_MASK;
use its_machine::{Event, Machine};

use crate::guards::Guards;
use crate::{Finding, Rule, Step, rules};

/// CWRITER.Retry and CREADR.Stalled, each bit 0.
const RETRY: u64 = 1;
/// CTLR.Enabled, which EL2 may change, and Quiescent, which is read-only.
const NOT_COMPARED: u64 = 1 | 1 << 31;

/// Judges EL2's register writes in one action; a host that owns its ITS may do what it likes.
pub(crate) fn judge(step: &Step, guards: &Guards, findings: &mut Vec<Finding>) {
    let mut last = None;
    // Stalled, as CREADR of an ITS showed it in this action.
    let mut stalled = None;
    for event in step.events {
        match *event {
            Event::DeviceRead { address, value, .. } => {
                if let Some((its, Register::Creadr)) = guards.register(address) {
                    stalled = (value & 1 != 0).then_some(its);
                }
            }
            Event::DeviceWrite { address, value, .. } => {
                last = Some(address);
                written(address, value, stalled, guards, findings);
            }
            // Of the write before it.
            Event::Unpredictable { .. } => {
                findings.extend(last.map(|at| unpredictable(at, guards)))
            }
            _ => {}
        }
    }
}

fn written(
    address: u64,
    value: u64,
    stalled: Option<u8>,
    guards: &Guards,
    findings: &mut Vec<Finding>,
) {
    if is_lpi_table(&guards.machine, address) {
        let path = format!("device {address:#x}");
        findings.push(Finding::broken(&rules::HW_LPI, "written", path, format!("{value:#x}")));
    }
    let Some((its, register)) = guards.register(address) else {
        return;
    };
    let mut tell = |rule, class, seen: String| {
        let path = format!("its{its}.{register:?}");
        findings.push(Finding::broken(rule, class, path, seen));
    };
    match register {
        Register::Ctlr => {
            let found = guards.of(its).map_or(value, |guard| guard.ctlr);
            if (value ^ found) & !NOT_COMPARED != 0 {
                let seen = format!("{value:#x}, and {found:#x} at set-up");
                tell(&rules::HW_CTLR, "bits", seen);
            }
        }
        Register::Cwriter => {
            if value & !(OFFSET_MASK | RETRY) != 0 {
                tell(&rules::HW_CWRITER, "bits", format!("{value:#x}"));
            }
            if value & RETRY != 0 && stalled != Some(its) {
                tell(&rules::HW_RETRY, "retry", format!("{value:#x}"));
            }
        }
        _ => {}
    }
}

/// GICR_PROPBASER or GICR_PENDBASER of a redistributor, or half of it.
fn is_lpi_table(machine: &Machine, address: u64) -> bool {
    machine.redistributors.iter().any(|base| {
        let offset = address.wrapping_sub(*base);
        offset < FRAMES_BYTES && matches!(offset & !7, PROPBASER | PENDBASER)
    })
}

fn unpredictable(address: u64, guards: &Guards) -> Finding {
    let register = guards.register(address).map(|(_, register)| register);
    let (rule, class): (&'static Rule, _) = match register {
        Some(Register::Baser(_)) => (&rules::HW_BASER, "enabled"),
        Some(Register::Ctlr) => (&rules::HW_START, "unready"),
        Some(_) => (&rules::HW_UNPREDICTABLE, "enabled"),
        None => (&rules::HW_LPI, "enabled"),
    };
    let path = format!("device {address:#x}");
    Finding::broken(rule, class, path, "written by EL2")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::guards::tests::{ITS, REDISTRIBUTOR, guards};
    use its_machine::{AccessSize, Action, Outcome};

    const UNPREDICTABLE: Event = Event::Unpredictable { address: 0x80 };

    fn told(events: &[Event]) -> Vec<&'static str> {
        let mut findings = Vec::new();
        let action = Action::Load { cpu: 0, address: 0 };
        let step = Step { action: &action, outcome: Outcome::Done, events };
        judge(&step, &guards(), &mut findings);
        findings.iter().map(|breach| breach.rule.id).collect()
    }

    const fn write(address: u64, value: u64) -> Event {
        Event::DeviceWrite { address, size: AccessSize::Double, value }
    }

    #[test]
    fn only_el2_is_judged() {
        assert!(told(&[UNPREDICTABLE]).is_empty());
        for (offset, rule) in [(0x80, "HW-UNPREDICTABLE"), (0x108, "HW-BASER"), (0x00, "HW-START")]
        {
            assert_eq!(told(&[write(ITS + offset, 1), UNPREDICTABLE]), [rule]);
        }
    }

    #[test]
    fn ctlr_keeps_its_other_bits() {
        for value in [0, 1, 1 << 31] {
            assert!(told(&[write(ITS, value)]).is_empty());
        }
        assert_eq!(told(&[write(ITS, 3)]), ["HW-CTLR"]);
    }

    #[test]
    fn cwriter_has_two_fields() {
        let creadr =
            |value| Event::DeviceRead { address: ITS + 0x90, size: AccessSize::Double, value };
        let cwriter = |value| write(ITS + 0x88, value);
        assert!(told(&[cwriter(0xf_ffe0)]).is_empty());
        assert_eq!(told(&[cwriter(0x10_0000)]), ["HW-CWRITER"]);
        assert!(told(&[creadr(0x41), cwriter(0x41)]).is_empty());
        assert_eq!(told(&[creadr(0x40), cwriter(0x41)]), ["HW-RETRY"]);
        assert_eq!(told(&[cwriter(0x41)]), ["HW-RETRY"]);
    }

    #[test]
    fn the_tables_of_redistributors_stay_where_they_are() {
        assert!(told(&[write(REDISTRIBUTOR, 1)]).is_empty());
        assert_eq!(told(&[write(REDISTRIBUTOR + 0x70, 0)]), ["HW-LPI"]);
        assert_eq!(told(&[write(REDISTRIBUTOR + 0x7c, 0)]), ["HW-LPI"]);
    }
}
