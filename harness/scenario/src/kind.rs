//! The kinds of operations: number, name and arguments. One table serves every form.

use its_el2::MAX_ITS;

use crate::argument::{Argument, Shape};
use crate::operation::CPUS;

/// The most arguments that a kind has, `cpu` apart.
pub(crate) const ARGUMENTS: usize = 5;

const fn number(key: &'static str, max: u64) -> Argument {
    Argument::new(key, Shape::Number { max })
}

const fn count(key: &'static str, min: u64, max: u64) -> Argument {
    Argument::new(key, Shape::Count { min, max })
}

const fn place(key: &'static str, align: u16) -> Argument {
    Argument::new(key, Shape::Place { align })
}

const fn turns(key: &'static str) -> Argument {
    Argument::new(key, Shape::Turns).optional()
}

const TARGET: Argument = Argument::new("target", Shape::Target).bare();
const VALUE: Argument = number("value", u64::MAX);
const WORD_AT: Argument = place("at", 8).bare();
const PAGE: Argument = place("page", 4096).bare();
const ITT: Argument = place("itt", 256);
const DEVICE: Argument = number("device", u32::MAX as u64);
const EVENT: Argument = number("event", u32::MAX as u64);
const INTID: Argument = number("intid", u32::MAX as u64);
const ICID: Argument = number("icid", u16::MAX as u64);
const RDBASE: Argument = Argument::new("rdbase", Shape::Rdbase);
const VALID: Argument = Argument::new("valid", Shape::Flag);
const TO_CPU: Argument = count("to", 0, (CPUS as u64).saturating_sub(1));
const ITS: Argument = count("its", 0, (MAX_ITS as u64).saturating_sub(1)).bare();
const DIRECT: Argument = Argument::new("direct", Shape::Flag);
const FLIP: Argument = number("flip", u64::MAX).optional();

/// Names of [`its_el2::PageChange`], by number.
const CHANGES: &[&str] = &["share", "unshare", "pin", "unpin", "donate", "reclaim"];

/// Declares the kinds. A name that starts with `command-` is two words in the text form.
macro_rules! kinds {
    ($($variant:ident = $number:literal $name:literal $cpu:literal [$($argument:expr),*])*) => {
        /// A kind of operation. Numbers stand in the binary form: they never change and are never
        /// reused.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        #[repr(u8)]
        pub(crate) enum Kind {
            $($variant = $number,)*
        }

        impl Kind {
            /// All of them, ascending.
            pub(crate) const ALL: &[Self] = &[$(Self::$variant,)*];

            /// In kebab case.
            pub(crate) const fn name(self) -> &'static str {
                match self {
                    $(Self::$variant => $name,)*
                }
            }

            /// Whether a CPU does it.
            pub(crate) const fn has_cpu(self) -> bool {
                match self {
                    $(Self::$variant => $cpu,)*
                }
            }

            /// In the order of the text form, and of the words of a record.
            pub(crate) const fn arguments(self) -> &'static [Argument] {
                match self {
                    $(Self::$variant => const { &[$($argument,)*] },)*
                }
            }
        }
    };
}

kinds! {
    Read = 0x01 "read" true [TARGET]
    Write = 0x02 "write" true [TARGET, VALUE.bare()]
    Load = 0x03 "load" true [WORD_AT]
    Store = 0x04 "store" true [WORD_AT, VALUE]
    Configure = 0x05 "configure" true [INTID, number("value", u8::MAX as u64)]
    StoreAddress = 0x06 "store-address" true
        [WORD_AT, place("of", 1), Argument::new("physical", Shape::Flag)]

    RawCommand = 0x10 "raw-command" true
        [VALUE.bare(), VALUE.bare(), VALUE.bare(), VALUE.bare()]
    Rewind = 0x11 "rewind" false [count("slots", 1, 255).bare()]
    Post = 0x12 "post" true
        [Argument::new("retry", Shape::Flag), Argument::new("double", Shape::Flag)]
    Poll = 0x13 "poll" true [count("times", 1, 255).bare()]
    FlipSlot = 0x14 "flip-slot" true [count("word", 0, 3), number("flip", u64::MAX)]

    // 0x20 + opcode.
    Movi = 0x21 "command-movi" true [DEVICE, EVENT, ICID]
    Int = 0x23 "command-int" true [DEVICE, EVENT]
    Clear = 0x24 "command-clear" true [DEVICE, EVENT]
    Sync = 0x25 "command-sync" true [RDBASE]
    Mapd = 0x28 "command-mapd" true [DEVICE, number("size", 31), ITT, VALID]
    Mapc = 0x29 "command-mapc" true [ICID, RDBASE, VALID]
    Mapti = 0x2a "command-mapti" true [DEVICE, EVENT, INTID, ICID]
    Mapi = 0x2b "command-mapi" true [DEVICE, EVENT, ICID]
    Inv = 0x2c "command-inv" true [DEVICE, EVENT]
    Invall = 0x2d "command-invall" true [ICID]
    Movall = 0x2e "command-movall" true
        [Argument::new("from", Shape::Rdbase), Argument::new("to", Shape::Rdbase)]
    Discard = 0x2f "command-discard" true [DEVICE, EVENT]

    WriteCbaser = 0x30 "write-cbaser" true [FLIP]
    WriteBaser = 0x31 "write-baser" true [count("index", 0, 7).bare(), FLIP]
    Enable = 0x32 "enable" true []
    Disable = 0x33 "disable" true []
    Quiesce = 0x34 "quiesce" true []
    WriteHalf = 0x35 "write-half" true
        [count("register", 0, 8).bare(), Argument::new("high", Shape::Flag), FLIP]

    Share = 0x40 "share" true [PAGE]
    Unshare = 0x41 "unshare" true [PAGE]
    DonateGuest = 0x42 "donate-guest" true [PAGE]
    ReclaimGuest = 0x43 "reclaim-guest" true [PAGE]
    Finalize = 0x44 "finalize" true []
    SetUp = 0x45 "set-up" true [
        place("private", 1),
        place("descriptor", 1),
        count("private-pages", 0, 65535),
        number("device-flip", u64::MAX).optional()
    ]
    RawHypercall = 0x46 "raw-hypercall" true [
        number("x0", u64::MAX),
        number("x1", u64::MAX).optional(),
        number("x2", u64::MAX).optional(),
        number("x3", u64::MAX).optional(),
        number("x4", u64::MAX).optional()
    ]

    MapDevice = 0x50 "map-device" true [DEVICE, count("event-id-bits", 1, 32), ITT]
    MapEvent = 0x51 "map-event" true [DEVICE, EVENT, INTID, ICID]
    UnmapDevice = 0x52 "unmap-device" true [DEVICE]
    Grow = 0x53 "grow" true [DEVICE, place("level2", 4096), FLIP]
    Suspend = 0x54 "suspend" true []
    Resume = 0x55 "resume" true []
    Probe = 0x56 "probe" true []
    InitCpu = 0x57 "init-cpu" true []
    Unmask = 0x58 "unmask" true [DEVICE, EVENT, DIRECT]
    Mask = 0x59 "mask" true [DEVICE, EVENT, DIRECT]
    MoveEvent = 0x5a "move-event" true [DEVICE, EVENT, TO_CPU]
    UnmapEvent = 0x5b "unmap-event" true [DEVICE, EVENT]
    GrowCollection = 0x5c "grow-collection" true [ICID, place("level2", 4096), FLIP]
    Describe = 0x5d "describe" true []
    MapDevices = 0x5e "map-devices" true [
        DEVICE,
        count("count", 1, 1024),
        number("stride", u32::MAX as u64),
        count("event-id-bits", 1, 32),
        ITT
    ]

    Msi = 0x60 "msi" false [DEVICE, EVENT, Argument::new("half", Shape::Flag)]
    Advance = 0x61 "advance" false [count("commands", 1, 65535).bare()]
    Fail = 0x62 "fail" false
        [Argument::new("change", Shape::Choice(CHANGES)).bare(), count("nth", 1, 255)]
    Tamper = 0x63 "tamper" false [WORD_AT, count("after", 0, 255), VALUE]
    Acknowledge = 0x64 "acknowledge" true []
    PowerLoss = 0x65 "power-loss" false [Argument::new("restored", Shape::Flag)]
    Its = 0x66 "its" false [ITS]
    Race = 0x70 "race" false [
        count("operations", 1, 64).bare(),
        turns("turns"),
        turns("turns2"),
        turns("turns3"),
        turns("turns4")
    ]
}

impl Kind {
    /// The kind of a number; a number without one gets one of them too.
    pub(crate) fn wrapping(number: u8) -> Self {
        if let Some(kind) = Self::ALL.iter().find(|kind| **kind as u8 == number) {
            return *kind;
        }
        let index = usize::from(number).checked_rem(Self::ALL.len());
        let kind = index.and_then(|index| Self::ALL.get(index));
        kind.copied().unwrap_or(Self::Read)
    }

    /// The kind of a name.
    pub(crate) fn named(name: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|kind| kind.name() == name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::argument::Presence;

    #[test]
    fn numbers_ascend_and_names_differ() {
        assert!(Kind::ALL.is_sorted_by(|a, b| (*a as u8) < *b as u8));
        for kind in Kind::ALL {
            assert_eq!(Kind::named(kind.name()), Some(*kind));
            assert_eq!(Kind::wrapping(*kind as u8), *kind);
        }
    }

    #[test]
    fn the_first_page_lists_every_kind() {
        let page = include_str!("lib.rs");
        for kind in Kind::ALL {
            let listed = page.contains(&format!("`{} ", kind.name()))
                || page.contains(&format!("`{}`", kind.name()));
            assert!(listed || kind.name().starts_with("command-"), "{kind:?}");
        }
    }

    /// These numbers are in binary inputs out there.
    #[test]
    fn numbers_are_frozen() {
        let numbers: Vec<_> = Kind::ALL.iter().map(|kind| *kind as u8).collect();
        assert_eq!(
            numbers,
            [
                0x01, 0x02, 0x03, 0x04, 0x05, 0x06, 0x10, 0x11, 0x12, 0x13, 0x14, 0x21, 0x23, 0x24,
                0x25, 0x28, 0x29, 0x2a, 0x2b, 0x2c, 0x2d, 0x2e, 0x2f, 0x30, 0x31, 0x32, 0x33, 0x34,
                0x35, 0x40, 0x41, 0x42, 0x43, 0x44, 0x45, 0x46, 0x50, 0x51, 0x52, 0x53, 0x54, 0x55,
                0x56, 0x57, 0x58, 0x59, 0x5a, 0x5b, 0x5c, 0x5d, 0x5e, 0x60, 0x61, 0x62, 0x63, 0x64,
                0x65, 0x66, 0x70
            ]
        );
    }

    #[test]
    fn arguments_fit_a_record_and_can_be_told_apart() {
        for kind in Kind::ALL {
            let arguments = kind.arguments();
            assert!(arguments.len() <= ARGUMENTS, "{kind:?}");
            for (index, argument) in arguments.iter().enumerate() {
                let twin = arguments.iter().skip(index + 1);
                let keyed = argument.presence != Presence::Bare;
                assert!(!keyed || twin.into_iter().all(|other| other.key != argument.key));
                assert!(argument.key != "cpu" && !argument.key.contains('='));
            }
        }
    }
}
