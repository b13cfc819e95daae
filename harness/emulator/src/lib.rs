//! The production emulator of the ITS at EL2
