//! The vocabulary of the Arm GICv3 Interrupt Translation Service (ITS).
//!
//! Register offsets and fields ([`register`], [`redistributor`]), the twelve physical commands
//! ([`command`]) and the shapes of queue, tables and ITTs ([`geometry`]). Emulator, board, model
//! and scenarios all speak it.
//!
//! This crate encodes and decodes; it decides nothing. Whether a value is in range, allowed or an
//! error is for its users: a decoder accepts every bit pattern, and an unknown command is a value.
//!
//! Sources are named by register, command or section of the Arm GIC architecture specification
//! (IHI 0069). Addresses are physical and in bytes unless a name says otherwise.
#![no_std]
#![deny(
    clippy::indexing_slicing,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::unreachable,
    clippy::arithmetic_side_effects
)]
#![cfg_attr(test, allow(clippy::arithmetic_side_effects))]

pub mod command;
pub mod geometry;
pub mod redistributor;
pub mod register;

pub use command::Command;
pub use register::{Baser, Cbaser, Creadr, Ctlr, Cwriter, Iidr, Part, Pidr2, Register, Typer};
