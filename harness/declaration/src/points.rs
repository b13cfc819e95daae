//! The table of points: one row is a value of the policy that an emulation may declare.

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
    (@type choice $section:literal $name:literal $policy:literal $(#[doc = $about:literal])* $Type:ident {
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
        ($field != 0).then(|| format!(concat!($section, ".", $name, " = {:#x}"), $field))
    };
    (@declared list $section:literal $name:literal ($field:expr)) => {
        (!$field.is_empty()).then(|| format!(concat!($section, ".", $name, " = {}"), $field))
    };
    (@type number $($rest:tt)*) => {};
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
        /// What becomes of a write to an ITS in Closing.
        closing_writes "closing-writes" ("P2"): choice ClosingWrites {
            /// It is ignored.
            Ignored "ignored",
            /// A write of all of CWRITER is forwarded, its Offset alone, so that the host's queue
            /// goes on until set-up. Any other is ignored.
            Cwriter "cwriter",
        }
        /// Who answers for redistributors: for what is written to them, and for their tables.
        redistributors "redistributors" ("redistributors"): choice Redistributors {
            /// EL2: it keeps LPIs and their tables as they are, and borrows these.
            Guarded "guarded",
            /// Nobody. All is forwarded but halves of PROPBASER and PENDBASER and the VLPI frame,
            /// and nothing is borrowed. What redistributors can reach is not judged, and each
            /// verdict says so.
            Open "open",
        }
    }
    /// The set-up of an ITS.
    SetUp "set-up" {
        /// How EL2 knows the devices that are mapped when an ITS is set up.
        live_devices "live-devices" ("What EL2 relies on"): choice LiveDevices {
            /// The descriptor lists them.
            Listed "listed",
            /// There are none: EL2 relies on the host for that, and does not look at the list.
            None "none",
        }
        /// What the descriptor describes.
        described "described" ("S7"): choice Described {
            /// Queue and tables, which must be as the hardware has them, and the host's copies.
            All "all",
            /// The host's copies alone. Queue and tables are as the hardware has them.
            Copies "copies",
        }
        /// What x1 is where a check fails.
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
            /// 256 bytes, which the command's field has anyway.
            Bytes256 "256",
            /// 4 KiB: others are refused.
            Page "4K",
            /// 64 KiB: others are refused.
            Kib64 "64K",
        }
        /// Whether a page that EL2 has borrowed may be part of one more ITT. Borrowed are ITTs,
        /// the host's copies and the tables of redistributors, of all ITSs.
        itt_pages "itt-pages" ("P5"): choice IttPages {
            /// It may.
            Shared "shared",
            /// The ITT is refused, at set-up too.
            Own "own",
        }
        /// Whether level-2 tables are added after set-up.
        level2 "level2" ("P8"): choice Level2Tables {
            /// A command with V=1 that needs one adds what the host offers.
            Grown "grown",
            /// A command with V=1 that needs one which is not there is refused.
            Fixed "fixed",
        }
        /// What becomes of a MAPD V=1 of a device that has a record, or such a MAPD in flight. Who
        /// refuses it reads its own slots to know, so EL2-RELEASE is not judged.
        remap "remap" ("command table"): choice Remap {
            /// It is judged as any other.
            Accepted "accepted",
            /// It is refused.
            Refused "refused",
        }
    }
    /// The queue, and what becomes of commands.
    Queue "queue" {
        /// How often EL2 reads CREADR at most, after each write of CWRITER, until all is consumed
        /// or the ITS stalls. What it finds is consumed and released; then EL2 judges on, as far
        /// as `commands-in-flight` and `commands-per-trap` allow. What is not consumed by then
        /// stays in flight, and the trap judges no more.
        polls "polls" ("P9"): number u32 { "0 to 1000" "0 is never to wait." }
        /// How a refused command shows.
        refusal "refusal" ("P10"): choice Refusal {
            /// CREADR reads Stalled once the hardware is there. Retry judges the command again.
            Stall "stall",
            /// CREADR stays before the command and never reads Stalled for it. Each write of
            /// CWRITER that is not ignored judges it again.
            Silent "silent",
            /// A SYNC for the first redistributor takes its place, and the queue goes on.
            Skipped "skipped",
        }
        /// What CWRITER.Retry does.
        retry "retry" ("P10"): choice Retry {
            /// The command at which the queue stopped is copied and judged afresh.
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
        /// What becomes of a MAPC V=1 of a collection that is mapped, by the commands that were
        /// forwarded since set-up, those in flight included. Who refuses it reads its own slots to
        /// know, so EL2-RELEASE is not judged.
        mapped_collection "mapped-collection" ("command table"): choice MappedCollection {
            /// It is judged as any other.
            Accepted "accepted",
            /// It is refused.
            Refused "refused",
        }
        /// Checks of the command table that EL2 leaves to the hardware, which reports a command
        /// error: `device-id` (of MAPD), `event-id-bits` (Size against ID_bits), `icid` (of MAPC),
        /// `rdbase` (of MAPC, MOVALL and SYNC). The first two hold for listed live devices too.
        left_to_hardware "left-to-hardware" ("command table"): list Checks { "[]" "No check." }
        /// Commands that are refused always, by their names.
        refused_commands "refused-commands" ("command table"): list Commands { "[]" "No command." }
    }
    /// Registers of a guarded ITS.
    Registers "registers" {
        /// Bits of TYPER that read 0, whatever the hardware has. What EL2 checks goes by the
        /// hardware.
        typer_hidden "typer-hidden" ("register table"): number u64 { "0 to 2^63-1" "0 hides none." }
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
        /// Who chooses cacheability and shareability of CBASER and BASER after set-up.
        attributes "attributes" ("CBASER, BASER"): choice Attributes {
            /// Nobody: a write with others is ignored.
            Fixed "fixed",
            /// The host: a write at rest may change them, and they read as last accepted.
            Host "host",
        }
        /// Whether the host may write CBASER and BASER again, to resume after a loss of power.
        resume "resume" ("CBASER, BASER"): choice Resume {
            /// At rest it may.
            Host "host",
            /// Its writes are ignored. A driver cannot resume then, so service is judged no
            /// further once it tries.
            None "none",
        }
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
