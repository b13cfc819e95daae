//! What is seen of an ITS, held against the reference: the rule that is broken, if one is.

use its_gic::Register;
use its_machine::Translation;
use its_model::{Disagreement, Kind, Model};
use its_oracles::{Breach, Rule, rules};

/// How an event of (ITS, DeviceID, EventID) is translated.
pub(crate) fn translation(
    model: &Model,
    event: (u8, u32, u32),
    seen: Option<Translation>,
) -> Option<Breach> {
    let expected = model.check_translation(event, seen).err()?;
    let (its, device_id, event_id) = event;
    let (rule, class): (&'static Rule, _) = match seen {
        Some(_) => (&rules::DIV_TRANSLATION, "other"),
        None => (&rules::DIV_LOST, "lost"),
    };
    Some(Breach {
        rule,
        class,
        path: format!("its{its}.device[{device_id:#x}].event[{event_id:#x}]"),
        expected,
        seen: format!("{seen:?}"),
    })
}

/// All pending LPIs of a redistributor, ascending: what `seen` gives each time.
pub(crate) fn pending<I: Iterator<Item = u32>>(
    model: &Model,
    redistributor: u8,
    seen: impl Fn() -> I,
) -> Option<Breach> {
    let expected = model.check_pending(redistributor, seen()).err()?;
    Some(Breach {
        rule: &rules::DIV_INTERRUPT,
        class: "pending",
        path: format!("redistributor{redistributor}.pending"),
        expected,
        seen: format!("{:?}", seen().collect::<Vec<u32>>()),
    })
}

/// The LPI that a CPU is offered.
pub(crate) fn offered(model: &Model, redistributor: u8, seen: Option<u32>) -> Option<Breach> {
    let expected = model.check_offered(redistributor, seen).err()?;
    Some(Breach {
        rule: &rules::ARCH_OFFERED,
        class: "offered",
        path: format!("redistributor{redistributor}.offered"),
        expected,
        seen: format!("{seen:?}"),
    })
}

/// What a register of an ITS holds.
pub(crate) fn register(
    model: &Model,
    (its, register): (u8, Register),
    seen: u64,
) -> Option<Breach> {
    let expected = model.register(its, register);
    if (expected.value ^ seen) & expected.known == 0 {
        return None;
    }
    Some(Breach {
        rule: &rules::ARCH_REGISTER,
        class: "held",
        path: format!("its{its}.{register:?}"),
        expected: format!("{:#x} in bits {:#x}", expected.value, expected.known),
        seen: format!("{seen:#x}"),
    })
}

/// The breach that a disagreement is, or the disagreement where it is the harness's own. `bare`: a
/// host owns its ITSs.
pub(crate) fn breach(disagreement: Disagreement, bare: bool) -> Result<Breach, Disagreement> {
    let Some((rule, class)) = rule(disagreement.kind, bare) else {
        return Err(disagreement);
    };
    Ok(Breach {
        rule,
        class,
        path: disagreement.path,
        expected: format!("{} ({})", disagreement.expected, disagreement.source),
        seen: disagreement.seen,
    })
}

/// The rule that a disagreement breaks; `None` where it is the harness's own. `bare`: a host owns
/// its ITSs, so that the physical ITS is what is judged.
fn rule(kind: Kind, bare: bool) -> Option<(&'static Rule, &'static str)> {
    Some(match kind {
        Kind::Register => (&rules::DIV_REGISTER, "value"),
        Kind::Creadr => (&rules::DIV_CREADR, "value"),
        Kind::Zero => (&rules::DIV_ZERO, "value"),
        Kind::Hypercall => (&rules::DIV_HYPERCALL, "result"),
        Kind::SetUp => (&rules::DIV_SETUP, "result"),
        Kind::Errno => (&rules::DIV_ERRNO, "result"),
        Kind::Command => (&rules::DIV_COMMAND, "judged"),
        Kind::Refused => (&rules::DIV_REFUSED, "judged"),
        Kind::Bytes => (&rules::DIV_BYTES, "bytes"),
        Kind::Look => (&rules::DIV_LOOK, "look"),
        Kind::Unjudged => (&rules::DIV_UNJUDGED, "slot"),
        Kind::Beside => (&rules::DIV_BESIDE, "slots"),
        Kind::Rest => (&rules::DIV_REST, "rest"),
        Kind::Forward => (&rules::DIV_FORWARD, "register"),
        Kind::ForwardCtlr => (&rules::DIV_CTLR, "register"),
        Kind::ForwardBase => (&rules::DIV_BASE, "register"),
        Kind::ForwardRedistributor => (&rules::DIV_REDISTRIBUTOR, "register"),
        Kind::Stray => (&rules::DIV_STRAY, "register"),
        Kind::Ownership => (&rules::DIV_OWNERSHIP, "page"),
        Kind::Pins => (&rules::DIV_PINS, "page"),
        Kind::Sharing => (&rules::DIV_SHARED, "page"),
        Kind::Growth => (&rules::DIV_GROWTH, "level2"),
        Kind::Entry => (&rules::DIV_ENTRY, "entry"),
        Kind::Access => (&rules::DIV_ACCESS, "access"),
        Kind::Value if bare => (&rules::ARCH_REGISTER, "read"),
        Kind::Fetch if bare => (&rules::ARCH_FETCH, "fetch"),
        Kind::Outcome if bare => (&rules::ARCH_COMMAND, "outcome"),
        Kind::Offered if bare => (&rules::ARCH_OFFERED, "taken"),
        Kind::Books | Kind::Value | Kind::Fetch | Kind::Outcome | Kind::Offered => return None,
    })
}
