//! Lists of commands and of checks, as values that can be copied.

use std::fmt;

use its_gic::Command;
use serde::{Deserialize, Deserializer};

/// Names that a list may hold, each one bit.
macro_rules! list {
    ($(#[$doc:meta])* $List:ident of $Item:ident {
        $($(#[$item_doc:meta])* $Name:ident $name:literal,)*
    }) => {
        #[doc = concat!("One of [`", stringify!($List), "`].")]
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
        pub enum $Item {
            $($(#[$item_doc])* #[serde(rename = $name)] $Name,)*
        }

        $(#[$doc])*
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
        pub struct $List(u32);

        impl $List {
            /// Returns whether the list has this one.
            pub const fn has(self, item: $Item) -> bool {
                self.0 & 1 << item as u32 != 0
            }

            /// Returns whether the list is empty.
            pub const fn is_empty(self) -> bool {
                self.0 == 0
            }
        }

        impl fmt::Display for $List {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                let all = [$(($Item::$Name, $name)),*];
                let names = all.into_iter().filter(|(item, _)| self.has(*item));
                f.debug_list().entries(names.map(|(_, name)| name)).finish()
            }
        }

        impl FromIterator<$Item> for $List {
            fn from_iter<T: IntoIterator<Item = $Item>>(items: T) -> Self {
                Self(items.into_iter().fold(0, |all, item| all | 1 << item as u32))
            }
        }

        impl<'de> Deserialize<'de> for $List {
            fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
                Ok(Vec::<$Item>::deserialize(from)?.into_iter().collect())
            }
        }
    };
}

list! {
    /// Checks of the command table that are left to the hardware.
    Checks of Check {
        /// DeviceID of MAPD: below 2^(Devbits+1), and within the device table.
        DeviceId "device-id",
        /// Size of MAPD V=1 against TYPER.ID_bits.
        EventIdBits "event-id-bits",
        /// ICID of MAPC: below 2^(CIDbits+1), and within the collection table.
        Icid "icid",
        /// RDbase of MAPC V=1, MOVALL and SYNC.
        Rdbase "rdbase",
    }
}

list! {
    /// Physical commands, by their names.
    Commands of Opcode {
        Mapd "MAPD",
        Mapc "MAPC",
        Mapti "MAPTI",
        Mapi "MAPI",
        Movi "MOVI",
        Discard "DISCARD",
        Int "INT",
        Clear "CLEAR",
        Inv "INV",
        Invall "INVALL",
        Movall "MOVALL",
        Sync "SYNC",
    }
}

impl Commands {
    /// Returns whether the list names this command.
    pub const fn names(self, command: &Command) -> bool {
        self.has(match command {
            Command::Mapd { .. } => Opcode::Mapd,
            Command::Mapc { .. } => Opcode::Mapc,
            Command::Mapti { .. } => Opcode::Mapti,
            Command::Mapi { .. } => Opcode::Mapi,
            Command::Movi { .. } => Opcode::Movi,
            Command::Discard { .. } => Opcode::Discard,
            Command::Int { .. } => Opcode::Int,
            Command::Clear { .. } => Opcode::Clear,
            Command::Inv { .. } => Opcode::Inv,
            Command::Invall { .. } => Opcode::Invall,
            Command::Movall { .. } => Opcode::Movall,
            Command::Sync { .. } => Opcode::Sync,
            Command::Raw { .. } => return false,
        })
    }
}
