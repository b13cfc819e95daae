//! HW: EL2 drives the hardware in a way that the architecture calls UNPREDICTABLE, or writes what
//! it must never write.

use its_declaration::{EnableLpis, Redistributors};
use its_gic::Register;
use its_gic::redistributor::{PENDBASER, PROPBASER};
use its_gic::register::OFFSET_MASK;
use its_machine::{AccessSize, Action, Event};

use crate::guards::Guards;
use crate::{Finding, Rule, Step, broken_by, rules};

/// CWRITER.Retry and CREADR.Stalled, each bit 0.
const RETRY: u64 = 1;
/// CTLR.Enabled, which EL2 may change, and Quiescent, which is read-only.
const NOT_COMPARED: u64 = 1 | 1 << 31;

/// Judges EL2's register writes in one action; a host that owns its ITS may do what it likes.
pub(crate) fn judge(step: &Step, guards: &Guards, findings: &mut Vec<Finding>) {
    let mut last = None;
    // Stalled, as CREADR of an ITS showed it in this action.
    let mut stalled = None;
    for (index, event) in step.events.iter().enumerate() {
        let known = findings.len();
        match *event {
            Event::DeviceRead { address, value, .. } => {
                if let Some((its, Register::Creadr)) = guards.register(address) {
                    stalled = (value & 1 != 0).then_some(its);
                }
            }
            Event::DeviceWrite { address, value, .. } => {
                last = Some(address);
                let for_host = is_forwarded(step.action, address, guards);
                written((address, value), (stalled, for_host), guards, findings);
            }
            // Of the write before it.
            Event::Unpredictable { .. } => {
                findings.extend(last.and_then(|at| unpredictable(at, guards)))
            }
            _ => {}
        }
        broken_by(index, &mut findings[known..]);
    }
}

/// The point `enable-lpis`: whether EL2 writes what the host wrote to a redistributor's register.
/// If LPIs are on that is UNPREDICTABLE, and hardware says so.
fn is_forwarded(action: &Action, address: u64, guards: &Guards) -> bool {
    let Action::Device { address: of, size: AccessSize::Double, .. } = *action else {
        return false;
    };
    guards.declared.traps.enable_lpis == EnableLpis::Borrowed && of == address
}

/// `for_host`: the host wrote that.
fn written(
    (address, value): (u64, u64),
    (stalled, for_host): (Option<u8>, bool),
    guards: &Guards,
    findings: &mut Vec<Finding>,
) {
    let mut broken = |rule, class, path: String, seen| {
        findings.push(Finding::broken(rule, class, path, seen));
    };
    let shown = || format!("{value:#x}");
    let may_write = guards.declared.traps.redistributors == Redistributors::Open || for_host;
    if !may_write && is_lpi_table(address, guards) {
        broken(&rules::HW_LPI, "written", format!("device {address:#x}"), shown());
    }
    let Some((its, register)) = guards.register(address) else {
        return;
    };
    let path = || format!("its{its}.{register:?}");
    if register == Register::Ctlr {
        let found = guards.of(its).map_or(value, |guard| guard.ctlr);
        if (value ^ found) & !NOT_COMPARED != 0 {
            let seen = format!("{value:#x}, and {found:#x} at set-up");
            broken(&rules::HW_CTLR, "bits", path(), seen);
        }
    }
    if register == Register::Cwriter {
        if value & !(OFFSET_MASK | RETRY) != 0 {
            broken(&rules::HW_CWRITER, "bits", path(), shown());
        }
        if value & RETRY != 0 && stalled != Some(its) {
            broken(&rules::HW_RETRY, "retry", path(), shown());
        }
    }
}

/// GICR_PROPBASER or GICR_PENDBASER of a redistributor, or half of it.
fn is_lpi_table(address: u64, guards: &Guards) -> bool {
    guards.redistributor(address).is_some_and(|n| {
        let offset = address.wrapping_sub(guards.machine.redistributors[n]);
        matches!(offset & !7, PROPBASER | PENDBASER)
    })
}

fn unpredictable(address: u64, guards: &Guards) -> Option<Finding> {
    let register = guards.register(address).map(|(_, register)| register);
    let (rule, class): (&'static Rule, _) = match register {
        Some(Register::Baser(_)) => (&rules::HW_BASER, "enabled"),
        Some(Register::Ctlr) => (&rules::HW_START, "unready"),
        Some(_) => (&rules::HW_UNPREDICTABLE, "enabled"),
        None if guards.declared.traps.redistributors == Redistributors::Open => return None,
        None => (&rules::HW_LPI, "enabled"),
    };
    let path = format!("device {address:#x}");
    Some(Finding::broken(rule, class, path, "written by EL2"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{REDISTRIBUTOR, guards, read, reported, step, write};
    use its_machine::AccessSize;

    #[test]
    fn registers_are_written_as_the_architecture_allows() {
        use Register::{Baser, Cbaser, Creadr, Ctlr, Cwriter};
        let unpredictable = Event::Unpredictable { address: 0x80 };
        let redistributor = |offset| {
            let (address, size) = (REDISTRIBUTOR + offset, AccessSize::Double);
            Event::DeviceWrite { address, size, value: 1 }
        };
        for (events, rule) in [
            // Only what EL2 does is judged.
            (&[unpredictable][..], None),
            (&[write(Cbaser, 1), unpredictable], Some("HW-UNPREDICTABLE")),
            (&[write(Baser(1), 1), unpredictable], Some("HW-BASER")),
            (&[write(Ctlr, 1), unpredictable], Some("HW-START")),
            // All bits but Enabled and Quiescent are as at set-up.
            (&[write(Ctlr, 0), write(Ctlr, 1), write(Ctlr, 1 << 31)], None),
            (&[write(Ctlr, 3)], Some("HW-CTLR")),
            // CWRITER has two fields.
            (&[write(Cwriter, 0xf_ffe0)], None),
            (&[write(Cwriter, 0x10_0000)], Some("HW-CWRITER")),
            (&[read(Creadr, 0x41), write(Cwriter, 0x41)], None),
            (&[read(Creadr, 0x40), write(Cwriter, 0x41)], Some("HW-RETRY")),
            (&[write(Cwriter, 0x41)], Some("HW-RETRY")),
            // The tables of redistributors stay where they are.
            (&[redistributor(0)], None),
            (&[redistributor(0x70)], Some("HW-LPI")),
            (&[redistributor(0x7c)], Some("HW-LPI")),
        ] {
            let found = reported(|findings| judge(&step(events), &guards(), findings));
            assert!(found.iter().map(|(rule, _)| *rule).eq(rule), "{events:x?}");
        }
    }
}
