//! The table of points: one row is a value of the policy that an emulation may declare.

use its_el2::Errno;
use its_gic::{Part, Register};
use serde::Deserialize;

use crate::commands::{Checks, Commands};

/// A point as documents show it.
pub(crate) struct Point {
    pub section: &'static str,
    pub name: &'static str,
    /// What it is about.
    pub about: &'static [&'static str],
    /// Where `POLICY.md` says it.
    pub policy: &'static str,
    /// Values, the policy's first, and what each means; of a number or a list, its shape.
    pub values: &'static [(&'static str, &'static [&'static str])],
}

macro_rules! points {
    ($(
        $(#[doc = $section_doc:literal])*
        $Section:ident $section:literal {
            $(
                $(#[doc = $about:literal])*
                $field:ident $name:literal ($policy:literal): $kind:ident $Type:ident $values:tt
            )*
        }
    )*) => {
        $(
            $(#[doc = $section_doc])*
            #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
            #[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
            pub struct $Section {
                $($(#[doc = $about])* pub $field: $Type,)*
            }
            $(points!(@type $kind $section $name $policy $(#[doc = $about])* $Type $values);)*

            impl $Section {
                /// Returns the points that were declared otherwise than `POLICY.md`.
                pub(crate) fn declared(&self) -> impl Iterator<Item = String> {
                    let points = [$(points!(@declared $kind $section $name (self.$field))),*];
                    points.into_iter().flatten()
                }
            }
        )*

        /// Every point, in the order of the sections.
        pub(crate) const POINTS: &[Point] = &[$($(Point {
            section: $section,
            name: $name,
            about: &[$($about),*],
            policy: $policy,
            values: points!(@values $kind $values),
        }),*),*];
    };
    (@type choice $section:literal $name:literal $policy:literal
    $(#[doc = $about:literal])* $Type:ident {
        $(#[doc = $first_doc:literal])* $First:ident $first:literal,
        $($(#[doc = $doc:literal])* $Value:ident $value:literal,)*
    }) => {
        $(#[doc = $about])*
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
        pub enum $Type {
            $(#[doc = $first_doc])*
            #[default]
            #[serde(rename = $first)]
            $First,
            $($(#[doc = $doc])* #[serde(rename = $value)] $Value,)*
        }

        impl $Type {
            /// Returns what says so: the place in `POLICY.md`, or the point as it was declared.
            pub const fn source(self) -> &'static str {
                match self {
                    Self::$First => $policy,
                    $(Self::$Value => concat!($section, ".", $name, " = \"", $value, "\""),)*
                }
            }

            /// Returns the point as it was declared; `None` where it is `POLICY.md`'s.
            pub const fn declared(self) -> Option<&'static str> {
                match self {
                    Self::$First => None,
                    _ => Some(self.source()),
                }
            }
        }
    };
    (@declared choice $section:literal $name:literal ($field:expr)) => {
        $field.declared().map(String::from)
    };
    (@declared number $section:literal $name:literal ($field:expr)) => {
        ($field != 0).then(|| format!(concat!($section, ".", $name, " = {}"), $field))
    };
    (@declared bits $section:literal $name:literal ($field:expr)) => {
        ($field != 0).then(|| format!(concat!($section, ".", $name, " = {:#x}"), $field))
    };
    (@declared list $section:literal $name:literal ($field:expr)) => {
        (!$field.is_empty()).then(|| format!(concat!($section, ".", $name, " = {}"), $field))
    };
    (@type number $($rest:tt)*) => {};
    (@type bits $($rest:tt)*) => {};
    (@type list $($rest:tt)*) => {};
    (@values choice { $($(#[doc = $doc:literal])* $Value:ident $value:literal,)* }) => {
        &[$(($value, &[$($doc),*])),*]
    };
    (@values $kind:ident { $($shape:literal $doc:literal)* }) => { &[$(($shape, &[$doc])),*] };
}

points! {
    /// What traps, and what it shows.
    Traps "traps" {
        /// What a read of STATUSR, PARTIDR, or a reserved or IMPLEMENTATION DEFINED register of a
        /// guarded ITS returns.
        unknown_registers "unknown-registers" ("register table"): choice UnknownRegisters {
            /// Zero.
            Zero "zero",
            /// What the hardware has.
            Hardware "hardware",
        }
        /// What an aligned read of one or two bytes of a register returns, in Closing too.
        narrow_reads "narrow-reads" ("registers, sizes"): choice NarrowReads {
            /// Zero.
            Zero "zero",
            /// These bytes of the register, read as its half or as the whole.
            Bytes "bytes",
        }
        /// How EL2 handles an access of another size than the register has, in Closing too. 32-bit
        /// halves are as in POLICY.md.
        sizes "sizes" ("registers, sizes"): choice Sizes {
            /// It reads zero and is ignored.
            Checked "checked",
            /// At the first byte of a register it is one of the whole register. A read returns the
            /// low bytes of that, and zero above. A write writes the value, and zero above.
            /// `narrow-reads` says what reads of other bytes return.
            Any "any",
        }
        /// How EL2 handles a misaligned access to the control frame, in Closing too.
        misaligned "misaligned" ("registers, sizes"): choice Misaligned {
            /// It reads zero and is ignored.
            Refused "refused",
            /// As one at the next lower multiple of its size.
            Rounded "rounded",
        }
        /// How EL2 handles a write to an ITS in Closing.
        closing_writes "closing-writes" ("P2"): choice ClosingWrites {
            /// EL2 ignores it.
            Ignored "ignored",
            /// EL2 forwards the Offset of a 64-bit write of CWRITER, so that the host's queue goes
            /// on until set-up. EL2 ignores any other write.
            Cwriter "cwriter",
        }
        /// Whether the host may donate pages by hypercall before all is guarded: the ITSs, and the
        /// redistributors where they have a set-up of their own.
        closing_donation "closing-donation" ("P2"): choice ClosingDonation {
            /// It may not.
            Refused "refused",
            /// It may, though devices may still reach the page. Verdicts say so.
            Allowed "allowed",
        }
        /// Whether EL2 protects redistributors and their tables.
        redistributors "redistributors" ("redistributors"): choice Redistributors {
            /// It does. It keeps EnableLPIs, PROPBASER and PENDBASER, and borrows the tables.
            Guarded "guarded",
            /// It does. It keeps the registers as above, from the first finalize on.
            /// `__pkvm_init_redistributor_emulation` borrows the tables. Errno: EOPNOTSUPP unless
            /// protected mode is on, EBUSY unless every online CPU is finalized, EOPNOTSUPP after a
            /// success, EPERM if a table cannot be borrowed.
            ByHypercall "by-hypercall",
            /// It does not. It forwards all writes but those of halves of PROPBASER and PENDBASER
            /// and of the VLPI frame, and borrows no table. No rule judges what redistributors can
            /// reach. Verdicts say so.
            Open "open",
        }
        /// What a write of EnableLPIs does on a redistributor whose LPIs are off.
        enable_lpis "enable-lpis" ("redistributors"): choice EnableLpis {
            /// Nothing.
            Kept "kept",
            /// Once the tables of the others are borrowed, EL2 forwards 64-bit writes of PROPBASER
            /// and PENDBASER of such a redistributor. It ignores halves. A write of CTLR with
            /// EnableLPIs makes EL2 read both, borrow both tables and then forward it. If a table
            /// cannot be borrowed EnableLPIs stays 0. LPIs that are on stay on.
            Borrowed "borrowed",
        }
    }
    /// The set-up of an ITS.
    SetUp "set-up" {
        /// How EL2 knows the devices that are mapped when an ITS is set up.
        live_devices "live-devices" ("What EL2 relies on"): choice LiveDevices {
            /// The descriptor lists them.
            Listed "listed",
            /// There are none. EL2 relies on the host for that and does not read the list.
            None "none",
        }
        /// What the descriptor describes.
        described "described" ("S7"): choice Described {
            /// Queue and tables, which must be those of the hardware, and the host's copies.
            All "all",
            /// The host's copies alone. EL2 takes queue and tables from the hardware.
            Copies "copies",
        }
        /// When EL2 sets an ITS up. The checks are the same at any moment.
        moment "moment" ("S1 to S9"): choice Moment {
            /// In the hypercall.
            Hypercall "hypercall",
            /// In the hypercall, or in the finalize of the last CPU if the hypercall came before.
            /// Before, the hypercall keeps its arguments and returns 0, EOPNOTSUPP if the ITS is
            /// described already, or ENODEV if there is no such ITS. The last finalize sets up the
            /// ITSs that are described, in any order, and returns 0 whatever comes of that. Each is
            /// described no more then.
            LastFinalize "last-finalize",
            /// In the first trap to the ITS's frames once every online CPU is finalized. The
            /// hypercall keeps its arguments and returns as above, EOPNOTSUPP also if the ITS is
            /// guarded. EL2 handles the access after the set-up, whatever comes of that. The ITS is
            /// described no more then.
            FirstTrap "first-trap",
        }
        /// What a second set-up of a guarded ITS does.
        again "again" ("S4"): choice Again {
            /// It fails.
            Refused "refused",
            /// It succeeds and changes nothing.
            Accepted "accepted",
        }
        /// Whether the hypercall `__pkvm_fini_its_emulation` ends the emulation of an ITS.
        tear_down "tear-down" ("P3"): choice TearDown {
            /// It does not. It returns EOPNOTSUPP.
            None "none",
            /// It does. x1 is the control frame. Errno: ENODEV unless EL2 knows the ITS, EOPNOTSUPP
            /// unless it is guarded, EBUSY unless it is at rest (P11). EL2 clears Valid of CBASER
            /// and of each BASER that has it, then gives back all that it holds for the ITS, the
            /// private pages zeroed and cleaned. What P5 and P11 keep for good it keeps. The ITS
            /// shows as in Closing, but it reaches nothing, and it is not set up again: S7 fails.
            AtRest "at-rest",
        }
        /// What x1 returns if a check fails.
        errno "errno" ("S1 to S9"): choice ErrnoOf {
            /// The errno of the first check that fails.
            Exact "exact",
            /// Any negative number.
            Any "any",
        }
    }
    /// Pages, tables and ITTs.
    Memory "memory" {
        /// The alignment that EL2 asks of ITTs, in a MAPD V=1 and in the list of live devices.
        itt_alignment "itt-alignment" ("MAPD"): choice IttAlignment {
            /// 256 bytes. The field of the command has no bits below.
            Bytes256 "256",
            /// 4 KiB. EL2 refuses another ITT.
            Page "4K",
            /// 64 KiB. EL2 refuses another ITT.
            Kib64 "64K",
        }
        /// Whether a new ITT may lie on a page that EL2 has borrowed already. EL2 borrows ITTs, the
        /// host's copies and the tables of redistributors, for all ITSs.
        itt_pages "itt-pages" ("P5"): choice IttPages {
            /// It may.
            Shared "shared",
            /// It may not. EL2 refuses the ITT, at set-up too.
            Own "own",
        }
        /// Whether the host can load from the queue and the tables, which are EL2's.
        tables "tables" ("P4"): choice Tables {
            /// It cannot.
            Hidden "hidden",
            /// It can. It cannot store there.
            Shown "shown",
        }
        /// Whose the pages of an ITT are as long as the ITS may use it.
        itts "itts" ("P5, P6"): choice Itts {
            /// The host's, shared with EL2 and pinned.
            Borrowed "borrowed",
            /// EL2's. EL2 donates them when it would pin them, and reclaims them when it would
            /// unpin them. Donation demands that each is exclusively the host's, so EL2 refuses an
            /// ITT that shares a page with anything that EL2 holds, at set-up too. That is also the
            /// ITT of a MAPD V=1 that stalled, so a Retry needs another one in its slot.
            /// `itt-pages` says nothing more then, and `pins` is about other memory.
            Owned "owned",
        }
        /// How often EL2 pins a page that several structures lie on.
        pins "pins" ("P5"): choice Pins {
            /// Once for each.
            ByStructure "by-structure",
            /// Once for all. EL2 counts the structures in a note of its own.
            ByPage "by-page",
        }
        /// What takes a record. Each private page holds `records-per-page` records.
        capacity "capacity" ("P7"): choice Capacity {
            /// An ITT, from its MAPD V=1 until EL2 gives it back.
            Itts "itts",
            /// A DeviceID, from its first MAPD V=1 until its MAPD V=0 is consumed.
            Devices "devices",
            /// An ITT as above, and a page that ITTs lie on, which has a record of another kind.
            /// There are `records-per-page` of both kinds.
            Pages "pages",
        }
        /// Whether EL2 adds level-2 tables after set-up.
        level2 "level2" ("P8"): choice Level2Tables {
            /// A command with V=1 that needs one makes EL2 add what the host offers.
            Grown "grown",
            /// EL2 refuses a command with V=1 whose level-2 table is not there.
            Fixed "fixed",
            /// A MAPD or MAPC with V=0 makes EL2 add a usable table too. Without one it goes on.
            Followed "followed",
        }
        /// How EL2 judges a command with V=1 whose level-2 table is there, and whose entry in the
        /// host's copy of the level-1 table is no longer the one of that table.
        cleared_level1 "cleared-level1" ("P8"): choice ClearedLevel1 {
            /// As any other. EL2 does not need the host's entry again.
            Kept "kept",
            /// EL2 reads the host's entry once and refuses the command.
            Refused "refused",
        }
        /// Who zeroes a level-2 table that joins.
        level2_contents "level2-contents" ("P4"): choice Level2Contents {
            /// EL2 does.
            Zeroed "zeroed",
            /// The host does. EL2 reads all of it once it is its own, and refuses the command if
            /// it is not zero. EL2 cleans it all the same.
            Checked "checked",
        }
        /// How EL2 judges a MAPD V=1 of a device that has a record, or a MAPD V=1 in flight.
        remap "remap" ("command table"): choice Remap {
            /// As any other.
            Accepted "accepted",
            /// EL2 refuses it. To know what is in flight EL2 may read its own slots, which
            /// EL2-RELEASE counts, so that rule is not judged.
            Refused "refused",
        }
    }
    /// The queue and its commands.
    Queue "queue" {
        /// The most reads of CREADR after each write of CWRITER. EL2 reads until the ITS has
        /// consumed all commands or stalls, and releases what it finds consumed. If all are
        /// consumed EL2 judges on, up to `commands-per-trap`. Otherwise the commands stay in
        /// flight, and the trap judges no more.
        polls "polls" ("P9"): number u32 { "0 to 1000" "With 0 EL2 never waits." }
        /// What EL2 does if polls run out.
        timeout "timeout" ("P9"): choice Timeout {
            /// The commands stay in flight.
            Kept "kept",
            /// EL2 clears Enabled, and the ITS stays off until reboot. What is in flight stays
            /// borrowed for good. Service is not judged from then on.
            Off "off",
            /// EL2 clears Enabled and reads CTLR until Quiescent, as many times as `polls` at most.
            /// If the ITS is at rest then (P11), EL2 takes C, gives back what the commands that are
            /// left in flight hold, writes CWRITER := C if there are any, and sets Enabled. The
            /// first of these commands counts as refused. If the ITS has stalled, EL2 sets Enabled
            /// alone. Otherwise the ITS stays off as above. Service is not judged from then on.
            RolledBack "rolled-back",
        }
        /// What a read of CREADR does.
        creadr "creadr" ("P9, P10"): choice CreadrReads {
            /// It is a look, and returns C.
            Look "look",
            /// It returns C and Stalled as of the last look. EL2 does not look.
            Recorded "recorded",
            /// It returns what the hardware has. EL2 does not look, and a refused command does not
            /// show.
            Hardware "hardware",
        }
        /// What a MAPD V=0 gives back.
        unmap "unmap" ("P6"): choice Unmap {
            /// The ITT of the record, whatever the command names.
            ByRecord "by-record",
            /// The ITT that the command names by its own Size and address. EL2 refuses it if it
            /// lies on other pages than the ITT that the device has or is about to have.
            ByCommand "by-command",
        }
        /// How a refused command shows.
        refusal "refusal" ("P10"): choice Refusal {
            /// CREADR reads Stalled once the hardware has consumed what is before it.
            Stall "stall",
            /// CREADR stays before the command and does not read Stalled. Each write of CWRITER
            /// that EL2 accepts makes it judge the command again.
            Silent "silent",
            /// EL2 forwards a SYNC for the first redistributor in its place.
            Skipped "skipped",
        }
        /// What CWRITER.Retry does.
        retry "retry" ("P10"): choice Retry {
            /// EL2 copies the command at which the queue stopped and judges it again.
            Judged "judged",
            /// Nothing.
            Ignored "ignored",
        }
        /// The form in which a command that is accepted is forwarded.
        bytes "bytes" ("command table"): choice Bytes {
            /// Reserved bits are zero, and what means nothing at V=0.
            Canonical "canonical",
            /// As the host wrote it.
            Verbatim "verbatim",
        }
        /// How EL2 judges a MAPC V=1 of a collection that commands mapped since set-up. Commands in
        /// flight count.
        mapped_collection "mapped-collection" ("command table"): choice MappedCollection {
            /// As any other.
            Accepted "accepted",
            /// EL2 refuses it. EL2-RELEASE is not judged, as with `memory.remap`.
            Refused "refused",
        }
        /// How EL2 judges a MAPD V=0 of a device that has no record, and no MAPD V=1 in flight.
        unmapped_device "unmapped-device" ("command table"): choice UnmappedDevice {
            /// As any other.
            Accepted "accepted",
            /// EL2 refuses it. EL2-RELEASE is not judged, as with `memory.remap`.
            Refused "refused",
        }
        /// How many DeviceIDs EL2 takes, from 0 on. It refuses a MAPD of any other, and a live
        /// device (S7).
        device_ids "device-ids" ("command table"): number u32 {
            "0 to 2^32-1" "With 0 as many as the ITS and its table have."
        }
        /// How many ICIDs EL2 takes, from 0 on. It refuses a MAPC of any other.
        collections "collections" ("command table"): number u32 {
            "0 to 2^32-1" "With 0 as many as the ITS and its table have."
        }
        /// Checks of the command table that EL2 leaves to the hardware, which reports a command
        /// error: `device-id` (of MAPD), `event-id-bits` (Size against ID_bits), `icid` (of MAPC),
        /// `rdbase` (of MAPC, MOVALL and SYNC). The first two apply to listed live devices too. A
        /// MAPD whose Size is beyond ID_bits maps nothing: EL2 takes neither ITT nor record for it.
        left_to_hardware "left-to-hardware" ("command table"): list Checks { "[]" "No check." }
        /// Commands that EL2 always refuses, by name.
        refused_commands "refused-commands" ("command table"): list Commands { "[]" "No command." }
    }
    /// Registers of a guarded ITS.
    Registers "registers" {
        /// Bits of TYPER that read 0. EL2 itself goes by the TYPER of the hardware.
        typer_hidden "typer-hidden" ("register table"): bits u64 { "0 to 2^63-1" "0 hides none." }
        /// What IIDR returns.
        iidr "iidr" ("register table"): choice Iidr {
            /// What the hardware has.
            Hardware "hardware",
            /// Zero.
            Zero "zero",
        }
        /// What PIDR0 to PIDR7 and CIDR0 to CIDR3 return.
        identification "identification" ("register table"): choice Identification {
            /// What the hardware has.
            Hardware "hardware",
            /// Zero.
            Zero "zero",
        }
        /// What CTLR.Enabled reads.
        ctlr "ctlr" ("CTLR"): choice CtlrReads {
            /// What the hardware has.
            Hardware "hardware",
            /// 0 from a write of 0 on, and 1 from a write of 1 on that EL2 forwards, whatever the
            /// ITS did since. The other bits are the hardware's.
            Accepted "accepted",
        }
        /// What CBASER and BASER read. A written half is judged with the other half as EL2 recorded
        /// it.
        bases "bases" ("CBASER, BASER"): choice BaseReads {
            /// What EL2 recorded, with Valid as last accepted.
            Recorded "recorded",
            /// What the hardware has.
            Hardware "hardware",
        }
        /// Whether the host may change cacheability and shareability of CBASER and BASER.
        attributes "attributes" ("CBASER, BASER"): choice Attributes {
            /// It may not. EL2 ignores a write with others.
            Fixed "fixed",
            /// It may, at rest. They read as last accepted.
            Host "host",
        }
        /// Whether the host may write CBASER and BASER again, to resume after a loss of power.
        resume "resume" ("CBASER, BASER"): choice Resume {
            /// It may, at rest.
            Host "host",
            /// It may not. EL2 ignores the writes. Service is not judged from such a write on,
            /// because a driver cannot resume.
            None "none",
            /// It may, at rest. EL2 records the value and does not write the hardware. C, J and W
            /// are 0 from a write of CBASER on. The next write of Enabled = 1 then needs CBASER and
            /// all tables of set-up Valid as last accepted, and none of the other checks of CTLR.
            /// EL2 writes each table, CBASER, CWRITER := 0, and CTLR. Without a write of CBASER the
            /// checks of CTLR are as above.
            El2 "el2",
        }
    }
}

impl Traps {
    /// Returns the offset that EL2 takes an access of `bytes` at `offset` for.
    pub fn rounded(&self, offset: u64, bytes: u64) -> u64 {
        match self.misaligned {
            Misaligned::Refused => offset,
            Misaligned::Rounded => offset - offset % bytes,
        }
    }

    /// Returns the register and the bits that an access of `bytes` at `offset` of the control frame
    /// names, or `None` where it names none.
    pub fn select(&self, offset: u64, bytes: u64) -> Option<(Register, Part)> {
        let rounded = self.rounded(offset, bytes);
        let whole = || {
            let register = Register::at(rounded);
            let is_start = self.sizes == Sizes::Any && register.offset() == rounded;
            is_start.then_some((register, Part::Whole))
        };
        Register::select(rounded, bytes).or_else(whole)
    }
}

impl SetUp {
    /// Returns whether x1 is this result, or another negative number where that may be any.
    pub fn allows(&self, x1: i64, result: Result<(), Errno>) -> bool {
        let any = result.is_err() && x1 < 0 && self.errno == ErrnoOf::Any;
        any || Errno::result(result) == x1
    }
}

impl Memory {
    /// Returns whether two ITTs may lie on one page.
    pub fn itts_share_pages(&self) -> bool {
        self.itt_pages == IttPages::Shared && self.itts == Itts::Borrowed
    }
}

impl IttAlignment {
    /// Returns the alignment in bytes.
    pub const fn bytes(self) -> u64 {
        match self {
            Self::Bytes256 => 256,
            Self::Page => 0x1000,
            Self::Kib64 => 0x1_0000,
        }
    }
}

impl Queue {
    /// Returns whether EL2 takes a DeviceID.
    pub const fn takes_device(&self, device_id: u32) -> bool {
        self.device_ids == 0 || device_id < self.device_ids
    }

    /// Returns whether EL2 takes an ICID.
    pub const fn takes_collection(&self, icid: u16) -> bool {
        self.collections == 0 || (icid as u32) < self.collections
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn accesses_name_registers_by_declaration() {
        let checked = Traps::default();
        let any = Traps { sizes: Sizes::Any, ..checked };
        let rounded = Traps { misaligned: Misaligned::Rounded, ..checked };
        let both = Traps { sizes: Sizes::Any, ..rounded };
        let whole = |register| Some((register, Part::Whole));
        let cwriter_high = Some((Register::Cwriter, Part::High));
        for (offset, bytes, expected) in [
            (0x88, 8, [whole(Register::Cwriter); 4]),
            (0x8c, 4, [cwriter_high; 4]),
            (0x88, 2, [None, whole(Register::Cwriter), None, whole(Register::Cwriter)]),
            (0x00, 8, [None, whole(Register::Ctlr), None, whole(Register::Ctlr)]),
            (0x8c, 8, [None, None, whole(Register::Cwriter), whole(Register::Cwriter)]),
            (0x8e, 4, [None, None, cwriter_high, cwriter_high]),
            (0x89, 2, [None, None, None, whole(Register::Cwriter)]),
            (0x8a, 1, [None; 4]),
        ] {
            let seen = [checked, any, rounded, both].map(|traps| traps.select(offset, bytes));
            assert_eq!(seen, expected, "{bytes} bytes at {offset:#x}");
        }
    }
}
