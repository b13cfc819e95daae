//! The text form: what engineers read, write and compare, and what is stored.
//!
//! One operation a line, `name value ... key=value ...`, after the line `itsdiff 2` and, where they
//! differ from the defaults, lines `its0` to `its7` (configurations) and `boot`. `#` starts a
//! comment. Version 1 is read too.
//!
//! - Numbers are hexadecimal with `0x`, counts decimal; both are read in either.
//! - Addresses are symbolic, `itt[3]+0x200` (the page in decimal), or absolute, `0x880000000`.
//! - Registers and commands have the architecture's names: `write its0 CWRITER.low 0x40`, `command
//!   MAPD device=0x2a size=0x4 itt=itt[3]+0x200 valid`. What is no register has an offset and a
//!   size: `read its0 +0x1234 size=2`.
//! - A word without value is set by being there (`valid`, `retry`). `cpu=0`, `flip=0x0` and the
//!   like go without saying.

mod parse;
mod print;
mod reference;
mod value;
mod version;

pub use parse::ParseError;
pub use reference::reference;
pub(crate) use version::upgrade_text;

/// The version that the first line says.
pub const TEXT_VERSION: u64 = 2;
/// The longest text that is read, in bytes; a printed scenario has less than a quarter of this.
pub const MAX_TEXT_BYTES: usize = 0x80_0000;

/// What the lines of the ITSs' configurations start with, before the number of the ITS.
const CONFIGURATION: &str = "its";
/// What the name of a command's kind starts with.
const COMMAND: &str = "command-";
/// The key that gives the size of an access to what is no register, in bytes.
const SIZE: &str = "size";
const CPU: &str = "cpu";

#[cfg(test)]
mod tests;
