//! What an emulation declares of its policy: the values of a file `subject.toml`.
//!
//! [`Declaration`] is the policy as values. The reference of the policy and the oracles judge by
//! it. [`File`] is what a file says: points that it leaves out have `POLICY.md`'s value, and
//! `not-judged` gives up rules, each with a reason. `docs/declaration.md` is generated from the
//! table in `points`.
//!
//! It knows rules by their ids and nothing of the machine. It must not know who judges by it.

mod commands;
mod document;
mod fault;
mod file;
mod points;

pub use commands::{Check, Checks, Commands, Opcode};
pub use document::example;
pub use fault::Malformed;
pub use file::{File, NotJudged};
pub use points::*;

use its_el2::SubjectPolicy;

/// The policy of an emulation, as values.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Declaration {
    /// What the emulation says of itself when it runs, and what its file adds.
    pub numbers: SubjectPolicy,
    pub traps: Traps,
    pub set_up: SetUp,
    pub memory: Memory,
    pub queue: Queue,
    pub registers: Registers,
}

impl Declaration {
    /// Returns `POLICY.md` with these numbers.
    pub fn of(numbers: SubjectPolicy) -> Self {
        Self {
            numbers,
            traps: Traps::default(),
            set_up: SetUp::default(),
            memory: Memory::default(),
            queue: Queue::default(),
            registers: Registers::default(),
        }
    }

    /// Returns the points that are otherwise than in `POLICY.md`, as a file has them.
    pub fn declared(&self) -> Vec<String> {
        let Self { numbers: _, traps, set_up, memory, queue, registers } = self;
        let first = traps.declared().chain(set_up.declared()).chain(memory.declared());
        first.chain(queue.declared()).chain(registers.declared()).collect()
    }

    /// Returns what it leaves unprotected, which safety would demand otherwise.
    pub fn unprotected(&self) -> Vec<&'static str> {
        let open = self.traps.redistributors == Redistributors::Open;
        let early = self.traps.closing_donation == ClosingDonation::Allowed;
        let all = [
            open.then_some("the tables of redistributors (LEAK-LPI, HW-LPI)"),
            early.then_some("pages donated before all is guarded (P2)"),
        ];
        all.into_iter().flatten().collect()
    }
}
