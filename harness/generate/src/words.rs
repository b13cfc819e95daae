//! The words that phrases are written in: one import for every file of phrases.

pub(crate) use its_gic::command::COMMAND_BYTES;
pub(crate) use its_gic::geometry::{PAGE_BYTES, PageSize};
pub(crate) use its_gic::{Baser, Register};
pub(crate) use its_machine::{
    AccessSize, Area, Direction, Frame, Hypercall, Pace, PageChange, Place,
};
pub(crate) use its_scenario::numbers::{ARGUMENTS, FRAMES, Kind, Record, SIZES, Word, registers};
pub(crate) use its_scenario::{
    DRAWN_OPERATIONS, HostCommand, MOST_IN_A_RUN, Operation, Rdbase, Stage, Turns,
};

pub(crate) use crate::draft::{Draft, Phrase};
pub(crate) use crate::expected::{Device, Event};
pub(crate) use crate::ids::PAGE;
pub(crate) use crate::steps::{mapc, mapd, register_named, sync};
