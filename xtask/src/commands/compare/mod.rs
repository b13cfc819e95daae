//! `compare`: the same scenarios on two subjects.

pub(crate) mod subjects;
