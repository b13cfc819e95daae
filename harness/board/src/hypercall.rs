//! Dispatch of host hypercalls: function ids, the phase bands, and pKVM's own calls.

use its_machine::{Errno, Event, Hypercall, LockName, Misconduct, Outcome, PageChange};

use crate::board::{Board, BoardSubject};
use crate::ownership::one;

/// x1 comes back as the host gave it.
fn not_supported(arguments: [u64; 4]) -> Outcome {
    Outcome::Returned { x0: -1, x1: arguments[0] as i64 }
}

fn returned(result: Result<(), Errno>) -> Outcome {
    Outcome::Returned { x0: 0, x1: Errno::result(result) }
}

impl Board {
    /// A hypercall on the current CPU.
    pub(crate) fn hypercall(&self, x0: u64, arguments: [u64; 4]) -> Outcome {
        let Some(call) = Hypercall::from_function_id(x0) else {
            return not_supported(arguments);
        };
        let is_protected = self.state.borrow().finalized.contains(&true);
        let page = arguments[0];
        match call {
            Hypercall::ProtFinalize => self.finalize(),
            Hypercall::HostShareHyp => self.transition(PageChange::Share, page),
            Hypercall::HostUnshareHyp => self.transition(PageChange::Unshare, page),
            Hypercall::InitItsEmulation => self.set_up(|subject| subject.set_up(self, arguments)),
            Hypercall::InitRedistributorEmulation => {
                self.set_up(|subject| subject.set_up_redistributors(self, arguments))
            }
            Hypercall::FiniItsEmulation => {
                self.set_up(|subject| subject.tear_down(self, arguments))
            }
            // The band of calls that exist only once protected mode is on.
            Hypercall::HostDonateGuest | Hypercall::ReclaimGuestPage if !is_protected => {
                not_supported(arguments)
            }
            Hypercall::HostDonateGuest => {
                match self.enter(|subject| subject.allows_donation(self)) {
                    Some(true) => self.guest(page, true),
                    Some(false) => returned(Err(Errno::Eperm)),
                    None => Outcome::Stopped,
                }
            }
            Hypercall::ReclaimGuestPage => self.guest(page, false),
        }
    }

    fn set_up(&self, call: impl FnOnce(&dyn BoardSubject) -> i64) -> Outcome {
        match self.enter(call) {
            Some(x1) => Outcome::Returned { x0: 0, x1 },
            None => Outcome::Stopped,
        }
    }

    fn finalize(&self) -> Outcome {
        let mut state = self.state.borrow_mut();
        let cpu = usize::from(state.cpu);
        if state.finalized[cpu] {
            return returned(Err(Errno::Eperm));
        }
        state.finalized[cpu] = true;
        if !self.awaits_finalize() {
            return returned(Ok(()));
        }
        let cpu = state.cpu;
        state.events.push(Event::Finalized { cpu });
        drop(state);
        match self.enter(|subject| subject.finalized(self)) {
            Some(()) => returned(Ok(())),
            None => Outcome::Stopped,
        }
    }

    /// pKVM waits for the memory lock like everybody: for ever, if the emulation kept it.
    fn memory_is_kept(&self) -> bool {
        self.step();
        let comes_free = self.wait_for(LockName::Memory);
        let mut state = self.state.borrow_mut();
        let kept = !comes_free || state.held.contains(&LockName::Memory);
        if kept {
            state.misconduct(Misconduct::Deadlock(LockName::Memory));
        }
        kept
    }

    fn transition(&self, change: PageChange, page: u64) -> Outcome {
        if self.memory_is_kept() {
            return Outcome::Stopped;
        }
        let mut state = self.state.borrow_mut();
        let result = state.ownership.change(change, one(page));
        state.page_event(change, one(page), result);
        returned(result)
    }

    fn guest(&self, page: u64, donate: bool) -> Outcome {
        if self.memory_is_kept() {
            return Outcome::Stopped;
        }
        let mut state = self.state.borrow_mut();
        let result = if donate {
            state.ownership.donate_guest(page)
        } else {
            state.ownership.reclaim_guest(page)
        };
        if result.is_ok() {
            if !donate {
                state.memory.zero(page);
                state.page_rewritten(page);
            }
            state.page_changed(page);
        }
        returned(result)
    }
}
