//! The twelve physical commands, as they stand in the queue (IHI 0069, ITS commands).
//!
//! [`Command::decode`] takes any 32 bytes, [`Command::encode`] any command. Decoding forgets
//! reserved bits, so `encode(decode(words))` is the command with those bits cleared.

/// Bytes in one command, which is one slot of the queue.
pub const COMMAND_BYTES: u64 = 32;

/// The four little-endian 64-bit words of a command, DW0 first.
pub type Words = [u64; 4];

/// A command. Fields are as wide as the architecture makes them, and unchecked.
///
/// Hardware and EL2 have numbers for the address of an ITT and for RDbase. A scenario has names for
/// both instead, which [`Command::map`] resolves.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Command<Itt = u64, Rdbase = u64> {
    /// Moves an interrupt to another collection.
    Movi { device_id: u32, event_id: u32, icid: u16 },
    /// Makes an interrupt pending.
    Int { device_id: u32, event_id: u32 },
    /// Clears the pending state of an interrupt.
    Clear { device_id: u32, event_id: u32 },
    /// Waits for the effects of earlier commands on a redistributor.
    Sync { rdbase: Rdbase },
    /// Maps a device to its ITT, or unmaps it.
    Mapd {
        device_id: u32,
        /// EventID bits, minus 1: 0 to 31.
        size: u8,
        /// Physical address of the ITT, bits \[51:8\]; the lower ones are zero.
        itt_address: Itt,
        valid: bool,
    },
    /// Maps a collection to a redistributor, or unmaps it.
    Mapc { icid: u16, rdbase: Rdbase, valid: bool },
    /// Maps an event to an interrupt.
    Mapti { device_id: u32, event_id: u32, intid: u32, icid: u16 },
    /// Maps an event to the interrupt of the same number.
    Mapi { device_id: u32, event_id: u32, icid: u16 },
    /// Forgets the cached configuration of an interrupt.
    Inv { device_id: u32, event_id: u32 },
    /// Forgets the cached configuration of all interrupts of a collection.
    Invall { icid: u16 },
    /// Moves all pending interrupts from one redistributor to another.
    Movall { from_rdbase: Rdbase, to_rdbase: Rdbase },
    /// Unmaps an event and clears its pending state.
    Discard { device_id: u32, event_id: u32 },
    /// Four words as they are: [`Command::decode`] returns those of an unknown opcode.
    Raw { words: Words },
}

/// Opcodes, DW0\[7:0\].
pub mod opcode {
    pub const MOVI: u8 = 0x01;
    pub const INT: u8 = 0x03;
    pub const CLEAR: u8 = 0x04;
    pub const SYNC: u8 = 0x05;
    pub const MAPD: u8 = 0x08;
    pub const MAPC: u8 = 0x09;
    pub const MAPTI: u8 = 0x0a;
    pub const MAPI: u8 = 0x0b;
    pub const INV: u8 = 0x0c;
    pub const INVALL: u8 = 0x0d;
    pub const MOVALL: u8 = 0x0e;
    pub const DISCARD: u8 = 0x0f;
}

const VALID: u64 = 1 << 63;
const ITT_ADDRESS: u64 = 0x000f_ffff_ffff_ff00;
/// RDbase has 36 bits: with PTA = 1 it is bits \[51:16\] of an address.
const RDBASE: u64 = 0xf_ffff_ffff;

const fn rdbase_of(word: u64) -> u64 {
    (word >> 16) & RDBASE
}

const fn rdbase_word(rdbase: u64) -> u64 {
    (rdbase & RDBASE) << 16
}

const fn first_word(opcode: u8, device_id: u32) -> u64 {
    (device_id as u64) << 32 | opcode as u64
}

impl Command {
    /// Returns the command that four words are.
    pub const fn decode(words: Words) -> Self {
        let [dw0, dw1, dw2, dw3] = words;
        let device_id = (dw0 >> 32) as u32;
        let event_id = dw1 as u32;
        let icid = dw2 as u16;
        match dw0 as u8 {
            opcode::MOVI => Self::Movi { device_id, event_id, icid },
            opcode::INT => Self::Int { device_id, event_id },
            opcode::CLEAR => Self::Clear { device_id, event_id },
            opcode::SYNC => Self::Sync { rdbase: rdbase_of(dw2) },
            opcode::MAPD => Self::Mapd {
                device_id,
                size: (dw1 & 0x1f) as u8,
                itt_address: dw2 & ITT_ADDRESS,
                valid: dw2 & VALID != 0,
            },
            opcode::MAPC => Self::Mapc { icid, rdbase: rdbase_of(dw2), valid: dw2 & VALID != 0 },
            opcode::MAPTI => Self::Mapti { device_id, event_id, intid: (dw1 >> 32) as u32, icid },
            opcode::MAPI => Self::Mapi { device_id, event_id, icid },
            opcode::INV => Self::Inv { device_id, event_id },
            opcode::INVALL => Self::Invall { icid },
            opcode::MOVALL => {
                Self::Movall { from_rdbase: rdbase_of(dw2), to_rdbase: rdbase_of(dw3) }
            }
            opcode::DISCARD => Self::Discard { device_id, event_id },
            _ => Self::Raw { words },
        }
    }

    /// Returns the four words of a command, reserved bits zero. Bits of a field that the encoding
    /// has no room for are lost.
    pub const fn encode(self) -> Words {
        match self {
            Self::Movi { device_id, event_id, icid } => {
                [first_word(opcode::MOVI, device_id), event_id as u64, icid as u64, 0]
            }
            Self::Int { device_id, event_id } => {
                [first_word(opcode::INT, device_id), event_id as u64, 0, 0]
            }
            Self::Clear { device_id, event_id } => {
                [first_word(opcode::CLEAR, device_id), event_id as u64, 0, 0]
            }
            Self::Sync { rdbase } => [opcode::SYNC as u64, 0, rdbase_word(rdbase), 0],
            Self::Mapd { device_id, size, itt_address, valid } => [
                first_word(opcode::MAPD, device_id),
                size as u64 & 0x1f,
                itt_address & ITT_ADDRESS | if valid { VALID } else { 0 },
                0,
            ],
            Self::Mapc { icid, rdbase, valid } => [
                opcode::MAPC as u64,
                0,
                rdbase_word(rdbase) | icid as u64 | if valid { VALID } else { 0 },
                0,
            ],
            Self::Mapti { device_id, event_id, intid, icid } => [
                first_word(opcode::MAPTI, device_id),
                (intid as u64) << 32 | event_id as u64,
                icid as u64,
                0,
            ],
            Self::Mapi { device_id, event_id, icid } => {
                [first_word(opcode::MAPI, device_id), event_id as u64, icid as u64, 0]
            }
            Self::Inv { device_id, event_id } => {
                [first_word(opcode::INV, device_id), event_id as u64, 0, 0]
            }
            Self::Invall { icid } => [opcode::INVALL as u64, 0, icid as u64, 0],
            Self::Movall { from_rdbase, to_rdbase } => {
                [opcode::MOVALL as u64, 0, rdbase_word(from_rdbase), rdbase_word(to_rdbase)]
            }
            Self::Discard { device_id, event_id } => {
                [first_word(opcode::DISCARD, device_id), event_id as u64, 0, 0]
            }
            Self::Raw { words } => words,
        }
    }

    /// Returns one of each command that is known, with operands 0, by opcode.
    pub fn known() -> impl Iterator<Item = Self> {
        let all = (0..=u8::MAX).map(|opcode| Self::decode([opcode as u64, 0, 0, 0]));
        all.filter(|command| !matches!(command, Self::Raw { .. }))
    }
}

impl<Itt: Copy, Rdbase: Copy> Command<Itt, Rdbase> {
    /// Returns DeviceID and EventID of a command about one event.
    pub const fn event(self) -> Option<(u32, u32)> {
        match self {
            Self::Movi { device_id, event_id, .. }
            | Self::Int { device_id, event_id }
            | Self::Clear { device_id, event_id }
            | Self::Mapti { device_id, event_id, .. }
            | Self::Mapi { device_id, event_id, .. }
            | Self::Inv { device_id, event_id }
            | Self::Discard { device_id, event_id } => Some((device_id, event_id)),
            Self::Sync { .. }
            | Self::Mapd { .. }
            | Self::Mapc { .. }
            | Self::Invall { .. }
            | Self::Movall { .. }
            | Self::Raw { .. } => None,
        }
    }

    /// Returns the command's name as the architecture writes it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Movi { .. } => "MOVI",
            Self::Int { .. } => "INT",
            Self::Clear { .. } => "CLEAR",
            Self::Sync { .. } => "SYNC",
            Self::Mapd { .. } => "MAPD",
            Self::Mapc { .. } => "MAPC",
            Self::Mapti { .. } => "MAPTI",
            Self::Mapi { .. } => "MAPI",
            Self::Inv { .. } => "INV",
            Self::Invall { .. } => "INVALL",
            Self::Movall { .. } => "MOVALL",
            Self::Discard { .. } => "DISCARD",
            Self::Raw { .. } => "UNKNOWN",
        }
    }
    /// Returns the same command with another form of the addresses of ITTs and of RDbases.
    pub fn map<I, R>(
        self,
        itt: impl FnOnce(Itt) -> I,
        of_rdbase: impl Fn(Rdbase) -> R,
    ) -> Command<I, R> {
        match self {
            Self::Movi { device_id, event_id, icid } => Command::Movi { device_id, event_id, icid },
            Self::Int { device_id, event_id } => Command::Int { device_id, event_id },
            Self::Clear { device_id, event_id } => Command::Clear { device_id, event_id },
            Self::Sync { rdbase } => Command::Sync { rdbase: of_rdbase(rdbase) },
            Self::Mapd { device_id, size, itt_address, valid } => {
                Command::Mapd { device_id, size, itt_address: itt(itt_address), valid }
            }
            Self::Mapc { icid, rdbase, valid } => {
                Command::Mapc { icid, rdbase: of_rdbase(rdbase), valid }
            }
            Self::Mapti { device_id, event_id, intid, icid } => {
                Command::Mapti { device_id, event_id, intid, icid }
            }
            Self::Mapi { device_id, event_id, icid } => Command::Mapi { device_id, event_id, icid },
            Self::Inv { device_id, event_id } => Command::Inv { device_id, event_id },
            Self::Invall { icid } => Command::Invall { icid },
            Self::Movall { from_rdbase, to_rdbase } => Command::Movall {
                from_rdbase: of_rdbase(from_rdbase),
                to_rdbase: of_rdbase(to_rdbase),
            },
            Self::Discard { device_id, event_id } => Command::Discard { device_id, event_id },
            Self::Raw { words } => Command::Raw { words },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use quickcheck::quickcheck;

    /// Words computed by hand from the field positions of the specification.
    #[test]
    fn worked_values() {
        let worked = [
            (
                Command::Mapd { device_id: 0x2a, size: 4, itt_address: 0x8_4001_0200, valid: true },
                [0x2a_0000_0008, 4, 0x8000_0008_4001_0200, 0],
            ),
            (Command::Mapc { icid: 5, rdbase: 3, valid: true }, [9, 0, 0x8000_0000_0003_0005, 0]),
            (
                Command::Mapti { device_id: 0x2a, event_id: 7, intid: 8199, icid: 5 },
                [0x2a_0000_000a, 0x2007_0000_0007, 5, 0],
            ),
            (Command::Movi { device_id: 0x2a, event_id: 7, icid: 6 }, [0x2a_0000_0001, 7, 6, 0]),
            (Command::Inv { device_id: 0x2a, event_id: 7 }, [0x2a_0000_000c, 7, 0, 0]),
            (Command::Sync { rdbase: 3 }, [5, 0, 0x3_0000, 0]),
            (Command::Movall { from_rdbase: 1, to_rdbase: 2 }, [0xe, 0, 0x1_0000, 0x2_0000]),
        ];
        for (command, words) in worked {
            assert_eq!(command.encode(), words, "{command:?}");
            assert_eq!(Command::decode(words), command, "{words:x?}");
            let about = |name| ["MAPTI", "MOVI", "INV"].contains(&name);
            let event = about(command.name()).then_some((0x2a, 7));
            assert_eq!(command.event(), event, "{command:?}");
        }
    }

    #[test]
    fn every_opcode_has_its_number_and_name() {
        let names = (0..=255_u8)
            .map(|opcode| (opcode, Command::decode([opcode as u64, 0, 0, 0]).name()))
            .filter(|(_, name)| *name != "UNKNOWN");
        assert!(names.eq([
            (0x01, "MOVI"),
            (0x03, "INT"),
            (0x04, "CLEAR"),
            (0x05, "SYNC"),
            (0x08, "MAPD"),
            (0x09, "MAPC"),
            (0x0a, "MAPTI"),
            (0x0b, "MAPI"),
            (0x0c, "INV"),
            (0x0d, "INVALL"),
            (0x0e, "MOVALL"),
            (0x0f, "DISCARD"),
        ]));
    }

    #[test]
    fn rdbase_reaches_bits_48_to_51_of_an_address() {
        let words = [9, 0, 0x800f_ffff_ffff_0000, 0];
        let Command::Mapc { rdbase, .. } = Command::decode(words) else {
            panic!("not a MAPC");
        };
        assert_eq!(rdbase << 16, 0x000f_ffff_ffff_0000);
        assert_eq!(Command::decode(words).encode(), words);
    }

    quickcheck! {
        fn decoding_is_total_and_settles(words: (u64, u64, u64, u64), opcode: u8) -> bool {
            let words = [words.0 & !0xff | (opcode & 0x1f) as u64, words.1, words.2, words.3];
            let command = Command::decode(words);
            let canonical = command.encode();
            Command::decode(canonical) == command
                && canonical.iter().zip(words).all(|(kept, given)| kept & !given == 0)
        }
    }
}
