//! What keeps a command from being carried out: errors and their numbers.

use its_gic::command::opcode;

use crate::path::Undefined;

/// What keeps a command from being carried out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// A command error, with one of these numbers; with any if there are none.
    Error(Vec<u32>),
    Undefined(Undefined),
}

impl From<Undefined> for Fault {
    fn from(why: Undefined) -> Self {
        Self::Undefined(why)
    }
}

/// A command error whose number was found nowhere.
pub(crate) const ANY_NUMBER: Fault = Fault::Error(Vec::new());

/// Reason bytes of error numbers (GIC-600 TRM, Linux).
pub(crate) mod reason {
    pub(crate) const DEVICE_OOR: u8 = 0x01;
    pub(crate) const ITTSIZE_OOR: u8 = 0x02;
    pub(crate) const COLLECTION_OOR: u8 = 0x03;
    pub(crate) const UNMAPPED_DEVICE: u8 = 0x04;
    pub(crate) const ID_OOR: u8 = 0x05;
    pub(crate) const PHYSICALID_OOR: u8 = 0x06;
    pub(crate) const UNMAPPED_INTERRUPT: u8 = 0x07;
    pub(crate) const UNMAPPED_COLLECTION: u8 = 0x09;
}

/// A command error. The command's byte is its opcode, but 0x05 for CLEAR. Numbers that only follow
/// the pattern of others were found nowhere and are not demanded.
pub(crate) fn error(code: u8, reason: u8) -> Fault {
    let found = match code {
        opcode::MAPTI => reason != 0x01 && reason != 0x03,
        opcode::MAPI => reason != 0x06,
        opcode::DISCARD => reason == 0x07,
        _ => true,
    };
    let command = if code == opcode::CLEAR { 0x05 } else { code };
    let number = 0x1_0000 | u32::from(command) << 8 | u32::from(reason);
    Fault::Error(if found { vec![number] } else { Vec::new() })
}
