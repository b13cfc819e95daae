//! The production emulation of the Arm GICv3 ITS at EL2, for a protected hypervisor.
//!
//! The ITS reads its command queue and keeps its tables at addresses that software chooses. This
//! crate stands between an untrusted host and the physical ITS: it owns the queue and the tables,
//! gives the host copies to write into, judges every command before the hardware sees it, and holds
//! on to every page that the ITS may touch for as long as it may touch it. `POLICY.md` in this
//! crate is the contract, and what P1 to P14 and S1 to S9 in the comments refer to.
//!
//! Whoever runs EL2 makes an [`Emulator`] and calls it through [`its_el2::Subject`]. It reaches the
//! world through [`its_el2::El2`] alone. It does not know what machine it is on, nor whether it is
//! tested.
//!
//! - `trap`: an access of a finalized CPU, by phase and size
//! - `guarded`, `registers`: the state of a guarded ITS, and its register table
//! - `queue`, `judge`: the command queue (P9 to P11), and the command table as a pure decision
//! - `tables`: level-2 growth (P8)
//! - `records`: which DeviceID has which ITT (P7)
//! - `memory`: pages borrowed and given back, donated and reclaimed (P4, P5)
//! - `set_up`, `descriptor`: the hypercall (S1 to S9)
//! - `redistributor`: the LPI side of redistributors
//! - `physical`: registers of the hardware in their own size
//!
//! No allocator, no unsafe code, and no way to panic whatever the host does.
#![no_std]
#![forbid(unsafe_code)]
#![deny(
    clippy::indexing_slicing,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::unreachable,
    clippy::arithmetic_side_effects
)]
#![cfg_attr(test, allow(clippy::arithmetic_side_effects))]

#[cfg(test)]
extern crate std;

mod descriptor;
mod guarded;
mod judge;
mod memory;
mod physical;
mod queue;
mod records;
mod redistributor;
mod registers;
mod set_up;
mod tables;
#[cfg(test)]
mod test_el2;
#[cfg(test)]
mod tests;
mod trap;

use its_el2::{El2, Errno, Frame, LockName, Locks, Subject, SubjectPolicy, Trap};

use guarded::Guarded;
use physical::PhysicalIts;

/// The most ITSs that one [`Emulator`] guards.
pub const MAX_ITS: usize = 4;

/// The emulation of all ITSs of a machine.
pub struct Emulator<L: Locks> {
    units: [Option<Unit<L>>; MAX_ITS],
    /// There are ITSs beyond [`MAX_ITS`], which nobody guards.
    surplus: bool,
    set_up: L::Lock<SetUp>,
}

struct Unit<L: Locks> {
    /// Physical address of its control frame.
    address: u64,
    /// `None`: Closing (P2). `Some`: Guarded (P3).
    state: L::Lock<Option<Guarded>>,
}

impl<L: Locks> Clone for Emulator<L> {
    /// The emulation as it is now, with locks of its own. No call is in progress.
    fn clone(&self) -> Self {
        Self {
            units: core::array::from_fn(|n| {
                let unit = self.units.get(n)?.as_ref()?;
                Some(Unit { address: unit.address, state: L::copy(&unit.state) })
            }),
            surplus: self.surplus,
            set_up: L::copy(&self.set_up),
        }
    }
}

#[derive(Clone)]
struct SetUp {
    /// The tables of redistributors are borrowed (S9: once, for all ITSs).
    redistributors_borrowed: bool,
}

impl<L: Locks> Emulator<L> {
    /// An emulation of the ITSs whose control frames are at these physical addresses, n-th address
    /// for n-th ITS. Of more than [`MAX_ITS`], the rest stays in Closing for ever (P2): its set-up
    /// returns ENODEV, its registers read zero, writes are ignored, and no page can ever be
    /// donated.
    pub fn new(its: &[u64]) -> Self {
        let mut addresses = its.iter().copied();
        let mut names = 0_u8..;
        let units = core::array::from_fn(|_| {
            addresses
                .next()
                .zip(names.next())
                .map(|(address, n)| Unit { address, state: L::lock(LockName::Its(n), None) })
        });
        Self {
            units,
            surplus: addresses.next().is_some(),
            set_up: L::lock(LockName::SetUp, SetUp { redistributors_borrowed: false }),
        }
    }

    /// S1 to S9.
    fn guard<E: El2<Locks = L>>(&self, el2: &E, arguments: [u64; 4]) -> Result<(), Errno> {
        if !el2.is_protected() {
            return Err(Errno::Eopnotsupp);
        }
        if !el2.all_cpus_finalized() {
            return Err(Errno::Ebusy);
        }
        let [device, rest @ ..] = arguments;
        let unit = self.units.iter().flatten();
        let unit = unit.into_iter().find(|unit| unit.address == device);
        let unit = unit.ok_or(Errno::Enodev)?;
        el2.locked(&self.set_up, |shared: &mut SetUp| {
            el2.locked(&unit.state, |state: &mut Option<Guarded>| {
                if state.is_some() {
                    return Err(Errno::Eopnotsupp);
                }
                let its = PhysicalIts::new(el2, unit.address);
                let borrowed = shared.redistributors_borrowed;
                *state = Some(set_up::set_up(&its, rest, borrowed)?);
                shared.redistributors_borrowed = true;
                Ok(())
            })
        })
    }
}

impl<L: Locks, E: El2<Locks = L>> Subject<E> for Emulator<L> {
    fn policy(&self) -> SubjectPolicy {
        SubjectPolicy {
            records_per_page: records::RECORDS_PER_PAGE,
            commands_in_flight: queue::COMMANDS_IN_FLIGHT,
            commands_per_trap: queue::COMMANDS_IN_FLIGHT,
            event_id_bits: u32::from(judge::LARGEST_SIZE).saturating_add(1),
            private_pages: set_up::MAX_PRIVATE_PAGES as u32,
            guarded_its: MAX_ITS as u32,
            its: u32::MAX,
            redistributors: u32::MAX,
        }
    }

    fn set_up(&self, el2: &E, arguments: [u64; 4]) -> i64 {
        Errno::result(self.guard(el2, arguments))
    }

    fn trap(&self, el2: &E, trap: Trap) -> u64 {
        match trap.frame {
            Frame::ItsControl(n) => {
                let Some(unit) = self.units.get(usize::from(n)).and_then(Option::as_ref) else {
                    return 0;
                };
                el2.locked(&unit.state, |state: &mut Option<Guarded>| {
                    trap::control(&PhysicalIts::new(el2, unit.address), state, trap)
                })
            }
            // Nothing in this frame can be read, and a CPU has no DeviceID to write it with.
            Frame::ItsTranslation(_) => 0,
            Frame::Redistributor(n) => redistributor::trap(el2, n, trap),
        }
    }

    fn allows_donation(&self, el2: &E) -> bool {
        let mut units = self.units.iter().flatten();
        !self.surplus
            && units
                .all(|unit| el2.locked(&unit.state, |state: &mut Option<Guarded>| state.is_some()))
    }
}
