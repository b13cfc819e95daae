//! An access of a finalized CPU to the control frame of an ITS, by phase, size and half.

use its_el2::{Direction, El2, Trap};
use its_gic::Register;

use crate::guarded::Guarded;
use crate::physical::PhysicalIts;

/// Does the access and returns the value read, 0 for a write. An access that is no register's size
/// and alignment reads zero and is ignored, in both phases.
pub(crate) fn control<E: El2>(
    its: &PhysicalIts<E>,
    state: &mut Option<Guarded>,
    trap: Trap,
) -> u64 {
    let Some((register, part)) = Register::select(trap.offset, trap.size.bytes()) else {
        return 0;
    };
    match (state, trap.direction) {
        // P2
        (None, Direction::Read) => part.extract(its.read(register)),
        (None, Direction::Write(_)) => 0,
        // P3
        (Some(guarded), Direction::Read) => part.extract(guarded.read(its, register)),
        (Some(guarded), Direction::Write(value)) => {
            guarded.write(its, register, part, value);
            0
        }
    }
}
