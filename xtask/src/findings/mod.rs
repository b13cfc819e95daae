//! Stored findings: what their heads say, and which of them are intended.

pub(crate) mod divergences;
pub(crate) mod header;
