//! Where the architecture leaves an ITS a choice: the list of all such choices, by name and source.
//!
//! A physical ITS picks one option of each by its [`Choices`]; a reference allows any of them, or
//! those that a machine is known to pick ([`Freedoms`]). `docs/freedoms.md` is this list for
//! readers, and is checked against it.

use core::fmt;

/// One option of one freedom.
pub trait Choice: Copy + Eq + fmt::Debug + 'static {
    /// Which freedom it is an option of.
    const FREEDOM: Freedom;
    /// All options, in the order of their numbers.
    const ALL: &'static [Self];
    /// The first of them.
    const USUAL: Self;
}

/// What is known of a freedom.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FreedomFacts {
    /// The key in a scenario's line of an ITS.
    pub name: &'static str,
    /// The options' names, by number; the first is the usual one.
    pub options: &'static [&'static str],
    /// What is free, in one sentence.
    pub what: &'static str,
    /// Who says so.
    pub source: &'static str,
}

macro_rules! freedoms {
    ($($freedom:ident $name:literal { $first:ident $first_text:literal $(, $option:ident $text:literal)* }
        $what:literal $source:literal)*) => {
        /// A choice that the architecture leaves. Numbers, and those of the options, stand in
        /// stored forms: new ones are only appended.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[repr(u8)]
        pub enum Freedom {
            $($freedom,)*
        }

        impl Freedom {
            /// All of them, by number.
            pub const ALL: &[Self] = &[$(Self::$freedom,)*];
            /// How many there are.
            pub const COUNT: usize = Self::ALL.len();

            /// What is known of it.
            pub const fn facts(self) -> FreedomFacts {
                match self {
                    $(Self::$freedom => FreedomFacts {
                        name: $name,
                        options: &[$first_text, $($text,)*],
                        what: $what,
                        source: $source,
                    },)*
                }
            }
        }

        /// The options of each freedom, as types.
        pub mod choice {
            use super::{Choice, Freedom};
            $(
                #[doc = $what]
                #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
                #[repr(u8)]
                pub enum $freedom {
                    #[doc = $first_text]
                    $first,
                    $(#[doc = $text] $option,)*
                }

                impl Choice for $freedom {
                    const FREEDOM: Freedom = Freedom::$freedom;
                    const ALL: &'static [Self] = &[Self::$first, $(Self::$option,)*];
                    const USUAL: Self = Self::$first;
                }
            )*
        }
    };
}

freedoms! {
    OnError "on-error" { Stall "stall", Ignore "ignore" }
        "On a command error the ITS stops at the command (CREADR.Stalled), or goes on as if it were not there."
        "GIC-600 TRM (stalls); QEMU, Linux KVM (go on)"
    CwriterBeyond "cwriter-beyond" { Stop "stop", Wrap "wrap" }
        "While CWRITER.Offset lies beyond the queue no command is processed, or some valid offset is taken for it."
        "GITS_CWRITER"
    QueueLowBits "queue-low-bits" { Used "used", Zero "zero" }
        "CBASER address bits 15 to 12 are used as they are, or treated as zero; they read back as used."
        "QEMU, Xen (used); Linux KVM (zero)"
    MappedEvent "mapped-event" { Overwritten "overwritten", Kept "kept", Refused "refused" }
        "MAPTI or MAPI over an event that is mapped to something else: the new mapping, the old one, or a command error."
        "UNPREDICTABLE; QEMU (new), Linux KVM (old), Xen (error)"
    RemappedDevice "remapped-device" { Kept "kept", Dropped "dropped" }
        "What a device's ITT holds of its earlier mappings is in force again when it is mapped there again, or is dropped when it is mapped or unmapped."
        "MAPD; Linux KVM (dropped)"
    UnmappedCollection "unmapped-collection" { Refused "refused", Done "done" }
        "INT, CLEAR, INV and DISCARD of an event whose collection is unmapped: a command error, or carried out."
        "GIC-600 TRM, Linux KVM and QEMU differ by command"
    AbsentLevel2 "absent-level2" { Unmapped "unmapped", OutOfRange "out-of-range" }
        "An id whose level-2 table is absent counts as unmapped, or as out of range, for commands that need its entry but do not write it."
        "GIC-600 TRM (says it of MAPD and MAPC alone)"
    MovedCollection "moved-collection" { Stays "stays", Follows "follows" }
        "Pending LPIs of a collection that MAPC maps to another redistributor stay at the old one, or follow."
        "MAPC (asks software to use MOVALL); Linux KVM (follow)"
    WideEvent "wide-event" { Ignored "ignored", Cut "cut" }
        "An MSI with EventID bits beyond TYPER.ID_bits is ignored, or the excess bits are."
        "GITS_TRANSLATER"
    ErrorNumbers "error-numbers" { Common "common", Gic600 "gic-600" }
        "The error numbers of a bad RDbase: 010902 and 010E01, or 010920 and 010E20 or 010E21."
        "Linux KVM (common); GIC-600 TRM"
    LpisOff "lpis-off" { Done "done", Refused "refused" }
        "INT or MOVALL to a redistributor whose LPIs are off: carried out without effect there, or a command error."
        "GIC-600 TRM, QEMU (dropped); Linux KVM (error)"
    WideIntid "wide-intid" { Accepted "accepted", Refused "refused" }
        "MAPTI or MAPI with an INTID beyond PROPBASER.IDbits but within what the GIC has: accepted, or a command error."
        "GIC-600 TRM; Linux KVM (error)"
    Effects "effects" { AtOnce "at-once", AtSync "at-sync" }
        "An MSI sees what a command on events changed when the command was consumed, or after a SYNC for its redistributor."
        "SYNC, as Linux uses it"
    Caches "caches" { Absent "absent", WriteThrough "write-through", WriteBack "write-back" }
        "Table entries are not cached, cached and written to memory at once, or cached and written at the latest when Quiescent reads 1 after Enabled was cleared."
        "GITS_CTLR.Quiescent, GITS_TYPER.INV"
    Fill "fill" { Late "late", Early "early" }
        "Caches hold what was used, or also what could be: they read ahead when the ITS is enabled."
        "GITS_TYPER.INV"
    QuiescentEnabled "quiescent-enabled" { Idle "idle", Zero "zero", One "one" }
        "CTLR.Quiescent while Enabled: whether there is work, always 0, always 1."
        "GITS_CTLR (UNKNOWN in GICv3)"
    Quiescent "quiescent" { Prompt "prompt", Late "late" }
        "After Enabled was cleared Quiescent is 1 once nothing is in flight, or some reads of CTLR later."
        "GITS_CTLR"
    LpiCache "lpi-cache" { Absent "absent", Kept "kept" }
        "A redistributor reads an LPI's configuration when it needs it, or keeps it until it must forget it."
        "GICR_INVLPIR, INV, INVALL"
    EnableLpis "enable-lpis" { Fixed "fixed", Clearable "clearable" }
        "GICR_CTLR.EnableLPIs stays 1 once set, or can be cleared (then CES reads 1)."
        "GICR_CTLR.CES"
    PendingTable "pending-table" { Written "written", Lost "lost" }
        "When EnableLPIs is cleared pending LPIs are written to the pending table, or forgotten."
        "GICR_PENDBASER; not confirmed"
    Invall "invall" { Collection "collection", Everything "everything" }
        "INVALL forgets the configuration of the collection's LPIs, or of all LPIs of its redistributor."
        "INVALL; QEMU (everything)"
    EqualPriority "equal-priority" { Lowest "lowest", Highest "highest" }
        "Of pending LPIs of the same priority a CPU takes the one with the lowest or the highest INTID, or any other."
        "GIC prioritization (IMPLEMENTATION DEFINED)"
    UnmappedPending "unmapped-pending" { Stays "stays", Dropped "dropped" }
        "An LPI that is pending when MAPD unmaps its device stays pending, or is dropped."
        "MAPD; Linux KVM (dropped)"
    SyncNowhere "sync-nowhere" { Refused "refused", Done "done" }
        "SYNC for an RDbase that names no redistributor: a command error, or done."
        "Linux KVM, Xen (done)"
    UnknownCommand "unknown-command" { Refused "refused", Skipped "skipped" }
        "An unknown opcode is a command error, or is skipped without one."
        "Linux KVM, QEMU (skipped)"
    UnmappedRdbase "unmapped-rdbase" { Ignored "ignored", Checked "checked" }
        "MAPC V=0 ignores RDbase, or it is a command error if it names no redistributor."
        "MAPC (ignored); Linux KVM, Xen (checked)"
    Statusr "statusr" { Absent "absent", Present "present" }
        "GITS_STATUSR reads zero, or reports accesses to reserved, read-only and write-only registers."
        "GITS_STATUSR (optional; its offset not confirmed)"
    BusyWrite "busy-write" { Ignored "ignored", Taken "taken" }
        "A write that must not be made now (CBASER or BASER while Enabled or not Quiescent, Enabled before Quiescent) is ignored, or anything follows."
        "UNPREDICTABLE; Linux KVM, QEMU, Xen (ignored)"
    PageSizeField "page-size-field" { Fixed "fixed", Writable "writable" }
        "`GITS_BASER<n>`.Page_Size is fixed, or takes each size."
        "`GITS_BASER<n>`; Linux KVM (fixed), QEMU (writable)"
    IcidWidth "icid-width" { Implied "implied", Stated "stated" }
        "ICIDs of 16 bits are shown by TYPER.CIL = 0, or by CIL = 1 and CIDbits = 15."
        "GITS_TYPER; Linux KVM (CIL = 0), QEMU (CIL = 1)"
    UnreadyEnable "unready-enable" { Ignored "ignored", Taken "taken" }
        "Enabled set without a valid queue or a table that is needed: ignored; or taken, and without a table anything follows."
        "UNPREDICTABLE; Linux KVM, Xen (ignored), QEMU (taken)"
    BusyLpiWrite "busy-lpi-write" { Ignored "ignored", Taken "taken" }
        "A write of PROPBASER or PENDBASER while EnableLPIs or RWP is 1 is ignored, or anything follows."
        "UNPREDICTABLE; Linux KVM (ignored), QEMU (taken)"
    ReservedBits "reserved-bits" { Zero "zero", Kept "kept" }
        "Reserved bits of CBASER and CWRITER read zero, or as they were written."
        "RES0, as Arm's architecture defines it; QEMU (kept)"
    PendingTableZero "pending-table-zero" { Trusted "trusted", Ignored "ignored" }
        "After PTZ was written as 1 the pending table counts as zero when LPIs are enabled, or is read all the same."
        "GICR_PENDBASER; QEMU (read)"
    WideRdbase "wide-rdbase" { Counted "counted", Ignored "ignored" }
        "With TYPER.PTA = 0 the bits of MAPC's RDbase beyond the 16 of a processor number count, so that none has them set, or mean nothing."
        "not confirmed; QEMU (ignored)"
}

/// One option of each freedom.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Choices([u8; Freedom::COUNT]);

impl Choices {
    /// The first option of each.
    pub const USUAL: Self = Self([0; Freedom::COUNT]);

    /// By number: of a freedom, the number of an option. A number that is no option's goes around.
    #[must_use]
    pub fn with_number(mut self, freedom: Freedom, option: u64) -> Self {
        let options = freedom.facts().options.len() as u64;
        if let Some(slot) = self.0.get_mut(freedom as usize) {
            *slot = option.checked_rem(options).unwrap_or(0) as u8;
        }
        self
    }

    /// The number of the option that is picked.
    pub fn number(self, freedom: Freedom) -> u8 {
        self.0.get(freedom as usize).copied().unwrap_or(0)
    }

    /// With this option.
    #[must_use]
    pub fn with<C: Choice>(self, choice: C) -> Self {
        let number = C::ALL.iter().position(|option| *option == choice);
        self.with_number(C::FREEDOM, number.unwrap_or(0) as u64)
    }

    /// The option that is picked.
    pub fn get<C: Choice>(self) -> C {
        let number = usize::from(self.number(C::FREEDOM));
        C::ALL.get(number).copied().unwrap_or(C::USUAL)
    }

    /// Whether this option is picked.
    pub fn picks<C: Choice>(self, choice: C) -> bool {
        self.get::<C>() == choice
    }
}

impl fmt::Debug for Choices {
    /// Those that are not the usual ones.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let unusual = Freedom::ALL.iter().filter(|freedom| self.number(**freedom) != 0);
        let named = unusual.map(|freedom| {
            let facts = freedom.facts();
            let option = facts.options.get(usize::from(self.number(*freedom)));
            (facts.name, option.copied().unwrap_or("?"))
        });
        f.debug_map().entries(named).finish()
    }
}

/// Which options of each freedom are allowed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Freedoms([u8; Freedom::COUNT]);

impl Freedoms {
    /// All that the architecture allows.
    pub const ALL: Self = Self([u8::MAX; Freedom::COUNT]);

    /// Only these.
    pub fn only(choices: Choices) -> Self {
        Self(choices.0.map(|option| 1_u8.checked_shl(option.into()).unwrap_or(0)))
    }

    /// With only this option of its freedom.
    #[must_use]
    pub fn fix<C: Choice>(mut self, choice: C) -> Self {
        let Self(only) = Self::only(Choices::USUAL.with(choice));
        let place = C::FREEDOM as usize;
        if let (Some(mask), Some(only)) = (self.0.get_mut(place), only.get(place)) {
            *mask = *only;
        }
        self
    }

    /// With this option of its freedom as well.
    #[must_use]
    pub fn and<C: Choice>(mut self, choice: C) -> Self {
        let Self(only) = Self::only(Choices::USUAL.with(choice));
        let place = C::FREEDOM as usize;
        if let (Some(mask), Some(only)) = (self.0.get_mut(place), only.get(place)) {
            *mask |= *only;
        }
        self
    }

    /// Whether an option is allowed.
    pub fn allow<C: Choice>(&self, choice: C) -> bool {
        let number = C::ALL.iter().position(|option| *option == choice);
        let mask = self.0.get(C::FREEDOM as usize).copied().unwrap_or(0);
        let bit = number.and_then(|number| mask.checked_shr(number as u32));
        bit.is_some_and(|bit| bit & 1 == 1)
    }
}

#[cfg(test)]
mod tests {
    use super::choice::{MappedEvent, OnError};
    use super::*;

    #[test]
    fn choices_are_by_name_and_by_number() {
        let choices = Choices::USUAL.with(MappedEvent::Refused).with(OnError::Ignore);
        assert_eq!(choices.number(Freedom::MappedEvent), 2);
        assert_eq!(choices.get::<MappedEvent>(), MappedEvent::Refused);
        assert_eq!(
            Choices::USUAL.with_number(Freedom::MappedEvent, 4),
            Choices::USUAL.with(MappedEvent::Kept)
        );
        let only = Freedoms::only(choices);
        assert!(only.allow(OnError::Ignore) && !only.allow(OnError::Stall));
        assert!(Freedoms::ALL.allow(OnError::Ignore) && Freedoms::ALL.allow(OnError::Stall));
    }

    /// Numbers stand in stored forms.
    #[test]
    fn numbers_are_frozen() {
        for (number, freedom) in Freedom::ALL.iter().enumerate() {
            assert_eq!(*freedom as usize, number);
            assert!((2..=8).contains(&freedom.facts().options.len()));
        }
        assert_eq!(Freedom::OnError as u8, 0);
        assert_eq!(Freedom::MappedEvent as u8, 3);
        assert_eq!(Freedom::BusyWrite as u8, 27);
        assert_eq!(Freedom::IcidWidth as u8, 29);
        assert_eq!(Freedom::PendingTableZero as u8, 33);
        assert_eq!(Freedom::WideRdbase as u8, 34);
    }

    #[test]
    fn the_documentation_lists_them_all() {
        let page = include_str!("../../../docs/freedoms.md");
        for freedom in Freedom::ALL {
            let facts = freedom.facts();
            for text in [facts.name, facts.what, facts.source].iter().chain(facts.options) {
                assert!(page.contains(text), "docs/freedoms.md does not have: {text}");
            }
        }
    }
}
