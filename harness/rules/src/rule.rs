//! What is known of a rule.

use serde::Serialize;

use crate::layer::Layer;

/// Which oracle a rule belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Family {
    /// Behaviour differs from the reference.
    Div,
    /// Somebody can touch what they must not.
    Leak,
    /// What the ITS follows is not sound.
    Ptr,
    /// EL2 misbehaves.
    El2,
    /// A failed call left traces.
    Undo,
    /// The hardware is driven in a way that is UNPREDICTABLE.
    Hw,
    /// What the host's driver asked for does not work.
    Svc,
    /// The ITS that a host owns, with no EL2 between, differs from the architecture.
    Arch,
}

/// How bad it is, by who can trigger it and what changes hands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// Behaviour other than the reference's.
    Conformance,
    /// EL2 panics, hangs or works without bound, by the host kernel alone.
    Hardening,
    /// Memory changes hands wrongly, or an ITS can be pointed at it.
    Vulnerability,
}

impl Severity {
    /// In lower case, as reports have it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Conformance => "conformance",
            Self::Hardening => "hardening",
            Self::Vulnerability => "vulnerability",
        }
    }
}

/// What must be seen of EL2 so that a rule can be judged.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Evidence {
    /// Calls, register accesses and what becomes of the machine.
    Calls,
    /// The same, but there are ways of breaking it that only loads and stores show.
    Partly,
    /// Loads and stores of memory.
    Accesses,
}

/// An invariant. It serializes as the facts that a report shows.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub struct Rule {
    /// Stable for ever: `FAMILY-WORD`.
    #[serde(rename = "rule")]
    pub id: &'static str,
    #[serde(skip)]
    pub family: Family,
    pub layer: Layer,
    pub severity: Severity,
    /// What must hold, in one sentence.
    pub holds: &'static str,
    /// Why it matters.
    pub why: &'static str,
    /// Where it comes from: a number of the emulator's POLICY.md, the Arm specification, or what
    /// the harness rests on.
    pub source: &'static str,
    #[serde(skip)]
    pub evidence: Evidence,
    /// The class of its findings; empty where they have several.
    #[serde(skip)]
    pub class: &'static str,
    /// The id under which findings were reported before the rule had one of its own.
    #[serde(skip)]
    pub split_from: Option<&'static str>,
}

impl Rule {
    /// Whether this id names the rule, or the one that it was split from: what was written down
    /// when that rule was wider stays true.
    pub fn is_named_by(&self, id: &str) -> bool {
        self.id == id || self.split_from == Some(id)
    }
}
