//! The rule catalogue.

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
    /// The ITS that a host owns, with no EL2 between, differs from the architecture.
    Arch,
}

/// How bad it is, by who can trigger it and what changes hands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
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

/// An invariant.
#[derive(Debug, PartialEq, Eq)]
pub struct Rule {
    /// Stable for ever: `FAMILY-WORD`.
    pub id: &'static str,
    pub family: Family,
    pub severity: Severity,
    /// What must hold, in one sentence.
    pub holds: &'static str,
    /// Why it matters.
    pub why: &'static str,
    /// Where it comes from: a number of the emulator's POLICY.md, or the Arm specification.
    pub source: &'static str,
}

macro_rules! rules {
    ($($name:ident = $id:literal, $family:ident, $severity:ident, $source:literal, $holds:literal, $why:literal;)*) => {
        $(
            #[doc = $holds]
            pub static $name: Rule = Rule {
                id: $id,
                family: Family::$family,
                severity: Severity::$severity,
                holds: $holds,
                why: $why,
                source: $source,
            };
        )*
        /// Every rule, by family.
        pub static ALL: &[&Rule] = &[$(&$name),*];
    };
}

rules! {
    DIV_REGISTER = "DIV-REGISTER", Div, Conformance, "POLICY: registers when guarded",
        "A register that the host reads has the reference's value.",
        "The host's driver acts on it: a wrong CREADR makes it reuse or wait for slots.";
    DIV_HYPERCALL = "DIV-HYPERCALL", Div, Conformance, "POLICY: S1 to S9",
        "A hypercall returns what the reference returns.",
        "A set-up that succeeds where it must fail guards nothing; a wrong errno misleads the host.";
    DIV_COMMAND = "DIV-COMMAND", Div, Vulnerability, "POLICY: P9, command table",
        "A command reaches the ITS exactly when the reference passes it, with the bytes that were judged.",
        "Nothing else stands between the host and the ITS's DMA.";
    DIV_FORWARD = "DIV-FORWARD", Div, Vulnerability, "POLICY: P2, P9, registers when guarded",
        "The hardware's registers are written when the reference writes them, with its values.",
        "CBASER and BASER decide where the ITS reads and writes; CWRITER decides what it executes.";
    DIV_OWNERSHIP = "DIV-OWNERSHIP", Div, Vulnerability, "POLICY: P4 to P6, P12, P14",
        "After each operation every page is owned, shared and pinned as in the reference.",
        "A missing pin lets the host give an ITT away under the ITS; an extra one never comes back.";
    DIV_GROWTH = "DIV-GROWTH", Div, Vulnerability, "POLICY: P8",
        "A level-1 entry of EL2 appears when the reference grows the table, with the address that was donated.",
        "The ITS follows level-1 entries without asking.";
    DIV_ACCESS = "DIV-ACCESS", Div, Vulnerability, "POLICY: P1 to P5",
        "The host's loads and stores are refused exactly where a page is out of its reach.",
        "What the host can store to, the ITS must not trust.";
    DIV_TRANSLATION = "DIV-TRANSLATION", Div, Conformance, "IHI 0069: command effects",
        "The ITS translates an event as the commands that it consumed say.",
        "Interrupts that go astray, or old translations that outlive their commands.";
    DIV_INTERRUPT = "DIV-INTERRUPT", Div, Conformance, "IHI 0069: LPIs",
        "The LPIs that are pending are the reference's.",
        "Lost and spurious interrupts.";
    DIV_PROGRESS = "DIV-PROGRESS", Div, Hardening, "POLICY: P9, P10",
        "With healthy hardware, enough looks bring the queue to CWRITER or to a stall that the host can see.",
        "A wedged queue takes the machine's interrupts away.";
    LEAK_HOST = "LEAK-HOST", Leak, Vulnerability, "POLICY: P4",
        "The host cannot reach queue, tables or level-2 tables that the ITS trusts.",
        "Whoever writes a device table entry or a level-1 entry aims the ITS's DMA.";
    LEAK_LOOSE = "LEAK-LOOSE", Leak, Vulnerability, "POLICY: P5, P6",
        "An ITT or a redistributor's table is shared and pinned for as long as the ITS can reach it.",
        "Otherwise the host donates the page to a guest and the ITS writes into the guest's memory.";
    LEAK_FOREIGN = "LEAK-FOREIGN", Leak, Vulnerability, "POLICY: P4, P5",
        "The ITS cannot reach memory of a guest or memory that was EL2's from boot.",
        "It would read and write it.";
    LEAK_PRIVATE = "LEAK-PRIVATE", Leak, Vulnerability, "POLICY: P4, P7",
        "The ITS cannot reach EL2's records or the descriptor.",
        "It would overwrite what EL2 believes about devices.";
    PTR_MEMORY = "PTR-MEMORY", Ptr, Vulnerability, "POLICY: P4, MAPD",
        "What the ITS follows lies in memory, all of it.",
        "Beyond it are devices and other hypervisor-owned address space.";
    PTR_ALIGN = "PTR-ALIGN", Ptr, Vulnerability, "POLICY: P8; IHI 0069: level-1 entries",
        "A level-1 entry that EL2 writes is Valid, an address at the ITS's page size, and nothing else.",
        "Hardware drops the low bits, and then reads another page than EL2 protected.";
    PTR_OVERLAP = "PTR-OVERLAP", Ptr, Vulnerability, "POLICY: P4",
        "Structures that the ITS follows share no page, but for those that stay the host's (ITTs, LPI tables).",
        "An ITT over a table lets a MAPTI forge a table entry.";
    PTR_CONTENTS = "PTR-CONTENTS", Ptr, Vulnerability, "POLICY: P4, P8",
        "A level-2 table is all zero when the ITS can first reach it.",
        "Old contents are device table entries that nobody judged.";
    PTR_KEPT = "PTR-KEPT", Ptr, Vulnerability, "POLICY: P4",
        "EL2 stores queue slots and level-1 entries, and nothing else into what the ITS follows.",
        "Table entries and ITT entries are the ITS's own; another's store is an entry that nobody made.";
    EL2_PANIC = "EL2-PANIC", El2, Hardening, "POLICY: P13",
        "EL2 does not panic.",
        "A panic at EL2 takes the machine down.";
    EL2_WARN = "EL2-WARN", El2, Hardening, "POLICY: P13",
        "EL2 does not warn about what a host can do.",
        "A warning at EL2 is fatal.";
    EL2_ACCESS = "EL2-ACCESS", El2, Vulnerability, "POLICY: P4, P5",
        "EL2 touches only memory that it owns or has pinned.",
        "Elsewhere it faults, or reads and writes what others own.";
    EL2_DEVICE = "EL2-DEVICE", El2, Hardening, "POLICY: registers when guarded",
        "EL2 accesses a device register in its own size and alignment only.",
        "Other accesses are UNPREDICTABLE and may fault at EL2.";
    EL2_LOCK = "EL2-LOCK", El2, Hardening, "POLICY: P13",
        "A lock is free when EL2 returns, is not taken twice, and is held around what it protects.",
        "A kept lock hangs the next CPU that wants it.";
    EL2_ORDER = "EL2-ORDER", El2, Hardening, "POLICY: P13",
        "Locks are taken in the order set-up, ITS, memory, and never two ITSs.",
        "Two CPUs in opposite order wait for each other for ever.";
    EL2_WORK = "EL2-WORK", El2, Hardening, "POLICY: P9, P13",
        "A trap judges at most 64 commands and does bounded work.",
        "EL2 is not preempted: unbounded work is a hang.";
    EL2_FETCH = "EL2-FETCH", El2, Vulnerability, "POLICY: P8, P9",
        "EL2 reads a word that the host can write once for each command, and once in a call that judges none.",
        "Between two reads the host changes what was checked.";
    EL2_CLEAN = "EL2-CLEAN", El2, Vulnerability, "POLICY: P4, P9",
        "What EL2 wrote for the ITS is cleaned before the ITS reads it.",
        "A non-coherent ITS would execute what was there before, which nobody judged.";
    EL2_BARRIER = "EL2-BARRIER", El2, Vulnerability, "POLICY: P4, P9",
        "Memory is ordered between what EL2 wrote for the ITS and the store that lets the ITS see it.",
        "Without it the ITS may follow CWRITER or a level-1 entry to what was there before.";
    UNDO_CALL = "UNDO-CALL", Undo, Vulnerability, "POLICY: P12",
        "A set-up that fails leaves the ownership of every page as it was.",
        "Pages that stay away are lost; pages that come back too far are leaked.";
    UNDO_HARDWARE = "UNDO-HARDWARE", Undo, Vulnerability, "POLICY: P12",
        "A set-up that fails leaves the hardware's registers as they were.",
        "The host would run on with an ITS that it did not program.";
    HW_UNPREDICTABLE = "HW-UNPREDICTABLE", Hw, Vulnerability, "IHI 0069: GITS_CBASER, GITS_BASER<n>",
        "EL2 does not write CBASER or BASER while the ITS is enabled.",
        "The architecture says nothing of what the ITS follows then.";
    ARCH_REGISTER = "ARCH-REGISTER", Arch, Conformance, "IHI 0069: GITS and GICR registers",
        "A register of the ITS or of a redistributor reads as what was written to it and done since says.",
        "Drivers size tables, wait and recover by what they read.";
    ARCH_FETCH = "ARCH-FETCH", Arch, Conformance, "IHI 0069: GITS_CBASER, GITS_CWRITER, GITS_CREADR",
        "The ITS takes the command at CREADR from its queue, while it is enabled, not stalled and CWRITER lies ahead.",
        "Commands taken too early, twice or from elsewhere are commands that nobody wrote.";
    ARCH_COMMAND = "ARCH-COMMAND", Arch, Conformance, "IHI 0069: ITS commands and command errors",
        "A command is done or is an error, with its number, by checks in the architecture's order.",
        "A bad command that is carried out maps what must not be mapped; a good one that is refused loses interrupts.";
    ARCH_OFFERED = "ARCH-OFFERED", Arch, Conformance, "IHI 0069: LPI configuration and pending state",
        "A CPU is offered the most urgent LPI that is pending and enabled.",
        "Masked interrupts that arrive, and others that never do.";
}

/// The rule of an id.
pub fn find(id: &str) -> Option<&'static Rule> {
    ALL.iter().copied().find(|rule| rule.id == id)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_unique_and_begin_with_their_family() {
        let ids: std::collections::BTreeSet<_> = ALL.iter().map(|rule| rule.id).collect();
        assert_eq!(ids.len(), ALL.len());
        for rule in ALL {
            let family = format!("{:?}-", rule.family).to_uppercase();
            assert!(rule.id.starts_with(&family), "{}", rule.id);
            assert_eq!(find(rule.id), Some(*rule));
        }
    }
}
