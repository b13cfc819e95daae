//! What is seen of an ITS, held against the reference: the rule that is broken, if one is.

use its_architecture::Architecture;
use its_gic::Register;
use its_machine::Translation;
use its_rules::{Finding, Rule, catalogue as rules};

/// How an event of (ITS, DeviceID, EventID) is translated.
pub(crate) fn translation(
    model: &Architecture,
    event: (u8, u32, u32),
    seen: Option<Translation>,
) -> Option<Finding> {
    let expected = model.check_translation(event, seen).err()?;
    let (its, device_id, event_id) = event;
    let (rule, class): (&'static Rule, _) = match seen {
        Some(_) => (&rules::DIV_TRANSLATION, "other"),
        None => (&rules::DIV_LOST, "lost"),
    };
    let path = format!("its{its}.device[{device_id:#x}].event[{event_id:#x}]");
    Some(Finding::new(rule, class, path, expected, format!("{seen:?}")))
}

/// All pending LPIs of a redistributor, ascending: what `seen` gives each time.
pub(crate) fn pending<I: Iterator<Item = u32>>(
    model: &Architecture,
    redistributor: u8,
    seen: impl Fn() -> I,
) -> Option<Finding> {
    let expected = model.check_pending(redistributor, seen()).err()?;
    let path = format!("redistributor{redistributor}.pending");
    let seen = format!("{:?}", seen().collect::<Vec<u32>>());
    Some(Finding::new(&rules::DIV_INTERRUPT, "pending", path, expected, seen))
}

/// The LPI that a CPU is offered.
pub(crate) fn offered(
    model: &Architecture,
    redistributor: u8,
    seen: Option<u32>,
) -> Option<Finding> {
    let expected = model.check_offered(redistributor, seen).err()?;
    let path = format!("redistributor{redistributor}.offered");
    Some(Finding::new(&rules::ARCH_OFFERED, "offered", path, expected, format!("{seen:?}")))
}

/// What a register of an ITS holds.
pub(crate) fn register(
    model: &Architecture,
    (its, register): (u8, Register),
    seen: u64,
) -> Option<Finding> {
    let expected = model.register(its, register);
    if (expected.value ^ seen) & expected.known == 0 {
        return None;
    }
    let path = format!("its{its}.{register:?}");
    let expected = format!("{:#x} in bits {:#x}", expected.value, expected.known);
    Some(Finding::new(&rules::ARCH_REGISTER, "held", path, expected, format!("{seen:#x}")))
}
