//! What EL2 offers an emulation, on this board: every call is checked, counted and recorded.

use std::cell::{RefCell, RefMut};
use std::ops::{Deref, DerefMut};
use std::panic::resume_unwind;

use its_el2::{El2, LockOf, Locks, Redistributor, WORK_LIMIT};
use its_gic::Register;
use its_gic::command::Words;
use its_gic::geometry::{PAGE_BYTES, Pages};
use its_machine::{AccessSize, Barrier, Direction, Errno, Event, LockName, Misconduct, PageChange};

use crate::board::Board;
use crate::lines::Storer;
use crate::ownership::one;
use crate::redistributor;
use crate::state::State;

/// The payload with which a call that EL2 must not make unwinds out of the subject.
pub(crate) struct Stop;

pub struct BoardLock<T> {
    name: LockName,
    value: RefCell<T>,
}

pub struct BoardLocks;

impl Locks for BoardLocks {
    type Lock<T> = BoardLock<T>;

    fn lock<T>(name: LockName, value: T) -> BoardLock<T> {
        BoardLock { name, value: RefCell::new(value) }
    }

    fn copy<T: Clone>(lock: &BoardLock<T>) -> BoardLock<T> {
        Self::lock(lock.name, lock.value.borrow().clone())
    }
}

/// The state during one call. A panic that passes through here is the board's own, not the
/// subject's.
pub(crate) struct Service<'a>(RefMut<'a, State>);

impl Deref for Service<'_> {
    type Target = State;

    fn deref(&self) -> &State {
        &self.0
    }
}

impl DerefMut for Service<'_> {
    fn deref_mut(&mut self) -> &mut State {
        &mut self.0
    }
}

impl Drop for Service<'_> {
    fn drop(&mut self) {
        self.0.board_panicked |= std::thread::panicking();
    }
}

impl Board {
    /// Counts one call and gives the state for it. Another agent of a race may act before.
    pub(crate) fn call(&self) -> Service<'_> {
        self.step();
        let mut state = Service(self.state.borrow_mut());
        let place = state.place;
        state.mark(place);
        state.work += 1;
        if state.work > WORK_LIMIT {
            self.stop(state, Misconduct::TooMuchWork);
        }
        state
    }

    /// The state for what goes on with the call before.
    pub(crate) fn call_on(&self) -> Service<'_> {
        Service(self.state.borrow_mut())
    }

    /// Records what EL2 must not do and leaves its call.
    pub(crate) fn stop(&self, mut state: Service<'_>, misconduct: Misconduct) -> ! {
        state.misconduct(misconduct);
        drop(state);
        resume_unwind(Box::new(Stop))
    }

    /// A call that touches memory. Returns whether the host could write it at this moment.
    fn memory_call(&self, address: u64, bytes: u64, write: bool) -> (Service<'_>, bool) {
        let state = self.call();
        let page = state.ownership.state(address / PAGE_BYTES);
        match page {
            Some(page) if page.el2_can_access() && address.is_multiple_of(bytes) => {
                (state, page.host_can_store())
            }
            _ => self.stop(state, Misconduct::BadAccess { address, write }),
        }
    }

    fn page_call(&self) -> Service<'_> {
        let state = self.call();
        if !state.held.contains(&LockName::Memory) {
            self.stop(state, Misconduct::Unlocked(LockName::Memory));
        }
        state
    }

    pub(crate) fn change(&self, change: PageChange, pages: Pages) -> Result<(), Errno> {
        let mut state = self.page_call();
        if state.is_due(change) {
            let result = Err(Errno::Enomem);
            state.page_event(change, pages, result);
            state.events.push(Event::Injected);
            return result;
        }
        let result = state.ownership.change(change, pages);
        state.page_event(change, pages, result);
        result
    }

    /// One access of EL2 to a device: aligned to its size, of a size that the register has.
    fn device_call(&self, address: u64, size: AccessSize, direction: Direction) -> u64 {
        let mut state = self.call();
        let Some((frame, offset)) = state.frame(address) else {
            self.stop(state, Misconduct::BadDevice { address, size });
        };
        let exists = match frame {
            its_machine::Frame::ItsControl(_) => Register::select(offset, size.bytes()).is_some(),
            its_machine::Frame::ItsTranslation(_) => false,
            its_machine::Frame::Redistributor(_) => {
                redistributor::Redistributor::has_access(offset, size.bytes())
            }
        };
        if !exists {
            self.stop(state, Misconduct::BadDevice { address, size });
        }
        if direction == Direction::Read {
            state.go_on(0);
        }
        // The hardware's own events follow the access that caused them.
        if let Direction::Write(value) = direction {
            state.events.push(Event::DeviceWrite { address, size, value: size.truncate(value) });
        }
        let value = state.hardware(frame, offset, size.bytes(), direction);
        if direction == Direction::Read {
            state.events.push(Event::DeviceRead { address, size, value });
            state.waited = state.waited.saturating_add(1);
        }
        value
    }
}

impl State {
    /// Whether the scenario wants this ownership change to fail.
    fn is_due(&mut self, change: PageChange) -> bool {
        let mut due = false;
        for failure in &mut self.failures {
            if failure.change == change && failure.nth > 0 {
                failure.nth -= 1;
                due |= failure.nth == 0;
            }
        }
        due
    }

    pub(crate) fn shared_read(&mut self, shared: bool) {
        if shared {
            self.shared_reads += 1;
            self.tamper();
        }
    }
}

impl El2 for Board {
    type Locks = BoardLocks;

    fn is_protected(&self) -> bool {
        self.call().finalized.contains(&true)
    }

    fn all_cpus_finalized(&self) -> bool {
        !self.call().finalized.contains(&false)
    }

    fn redistributor(&self, index: usize) -> Option<Redistributor> {
        let state = self.call();
        Some(Redistributor {
            address: *state.machine.redistributors.get(index)?,
            processor_number: state.machine.processor_number(index as u8).into(),
        })
    }

    fn read_device(&self, address: u64, size: AccessSize) -> u64 {
        self.device_call(address, size, Direction::Read)
    }

    fn write_device(&self, address: u64, size: AccessSize, value: u64) {
        self.device_call(address, size, Direction::Write(size.truncate(value)));
    }

    fn warn(&self) {
        self.call().misconduct(Misconduct::Warned);
    }

    fn physical(&self, linear: u64) -> Option<u64> {
        let state = self.call();
        let address = linear.checked_sub(state.machine.linear_map)?;
        state.ownership.state(address / PAGE_BYTES).map(|_| address)
    }

    fn is_memory(&self, address: u64, bytes: u64) -> bool {
        self.call().machine.is_memory(address, bytes)
    }

    fn read_word(&self, address: u64) -> u64 {
        let (mut state, shared) = self.memory_call(address, 8, false);
        let value = state.memory.read(address);
        state.events.push(Event::WordRead { address, value, shared });
        state.shared_read(shared);
        value
    }

    fn first_word(&self, address: u64, bytes: u64) -> Option<u64> {
        let end = address.saturating_add(bytes & !7);
        let mut found = None;
        for page in Pages::under(address, end.saturating_sub(address)).iter() {
            let start = address.max(page * PAGE_BYTES);
            let (state, _) = self.memory_call(start, 8, false);
            found = state.memory.nonzero_words(start, end.min((page + 1) * PAGE_BYTES)).next();
            if found.is_some() {
                break;
            }
        }
        let bytes = found.unwrap_or(end) - address;
        self.call().events.push(Event::Scanned { address, bytes });
        found
    }

    fn write_word(&self, address: u64, value: u64) {
        let (mut state, shared) = self.memory_call(address, 8, true);
        state.events.push(Event::WordWritten { address, value, shared });
        state.memory.write_uncleaned(Storer::El2, address, value);
        state.word_changed(address);
    }

    fn read_command(&self, address: u64) -> Words {
        let (mut state, shared) = self.memory_call(address, 32, false);
        let words = [0, 8, 16, 24].map(|byte| state.memory.read(address + byte));
        state.events.push(Event::CommandRead { address, words, shared });
        state.shared_read(shared);
        words
    }

    fn write_command(&self, address: u64, words: Words) {
        let (mut state, _) = self.memory_call(address, 32, true);
        state.events.push(Event::CommandWritten { address, words });
        for (index, word) in (0..).zip(words) {
            state.memory.write_uncleaned(Storer::El2, address + index * 8, word);
        }
        for byte in [0, 8, 16, 24] {
            state.word_changed(address + byte);
        }
    }

    fn zero_page(&self, page: u64) {
        let (mut state, _) = self.memory_call(page.saturating_mul(PAGE_BYTES), PAGE_BYTES, true);
        state.events.push(Event::PageZeroed { page });
        state.memory.zero_uncleaned(page);
        state.page_rewritten(page);
    }

    fn clean(&self, address: u64, bytes: u64) {
        let mut state = self.call();
        let mapped = |page| state.ownership.state(page).is_some_and(|page| page.el2_can_access());
        if !Pages::under(address, bytes).iter().all(mapped) {
            let write = false;
            self.stop(state, Misconduct::BadAccess { address, write });
        }
        state.memory.clean(Storer::El2, address, bytes);
        state.events.push(Event::Cleaned { address, bytes });
    }

    fn order(&self) {
        self.call().order(Barrier::DSB_SY);
    }

    fn memory_lock(&self) -> &BoardLock<()> {
        &self.memory_lock
    }

    fn share(&self, page: u64) -> Result<(), Errno> {
        self.change(PageChange::Share, one(page))
    }

    fn unshare(&self, page: u64) -> Result<(), Errno> {
        self.change(PageChange::Unshare, one(page))
    }

    fn pin(&self, page: u64) -> Result<(), Errno> {
        self.change(PageChange::Pin, one(page))
    }

    fn unpin(&self, page: u64) -> Result<(), Errno> {
        self.change(PageChange::Unpin, one(page))
    }

    fn pins(&self, page: u64) -> u16 {
        let state = self.page_call();
        state.ownership.state(page).map_or(0, |state| state.pins)
    }

    fn donate(&self, pages: Pages) -> Result<(), Errno> {
        self.change(PageChange::Donate, pages)
    }

    fn reclaim(&self, pages: Pages) -> Result<(), Errno> {
        self.change(PageChange::Reclaim, pages)
    }

    fn note(&self, page: u64) -> u32 {
        self.page_call().ownership.note(page)
    }

    fn set_note(&self, page: u64, note: u32) {
        self.page_call().ownership.set_note(page, note);
    }

    fn acquire<T>(&self, lock: &LockOf<Self, T>) {
        let state = self.call();
        if state.held.contains(&lock.name) {
            self.stop(state, Misconduct::Deadlock(lock.name));
        }
        drop(state);
        let comes_free = self.wait_for(lock.name);
        let mut state = Service(self.state.borrow_mut());
        if !comes_free {
            self.stop(state, Misconduct::Deadlock(lock.name));
        }
        let latest = state.held.iter().copied().max();
        if let Some(held) = latest.filter(|held| out_of_order(*held, lock.name)) {
            state.misconduct(Misconduct::Disordered { held, taken: lock.name });
        }
        state.held.push(lock.name);
        state.events.push(Event::Acquired(lock.name));
    }

    fn release<T>(&self, lock: &LockOf<Self, T>) {
        let mut state = self.call();
        let Some(index) = state.held.iter().position(|held| *held == lock.name) else {
            self.stop(state, Misconduct::Unlocked(lock.name));
        };
        state.held.remove(index);
        state.events.push(Event::Released(lock.name));
        state.note_unlock();
    }

    fn held<T, R>(&self, lock: &LockOf<Self, T>, body: impl FnOnce(&mut T) -> R) -> R {
        let state = Service(self.state.borrow_mut());
        if !state.held.contains(&lock.name) {
            self.stop(state, Misconduct::Unlocked(lock.name));
        }
        drop(state);
        body(&mut lock.value.borrow_mut())
    }
}

/// Whether taking a lock while holding another breaks the order; two ITSs at once always do. What
/// has no name but its address may come in any order before the lock of page ownership.
fn out_of_order(held: LockName, taken: LockName) -> bool {
    match (held, taken) {
        (LockName::Its(_), LockName::Its(_)) => true,
        (LockName::Other(_), _) => false,
        (LockName::SetUp | LockName::Redistributors | LockName::Its(_) | LockName::Memory, _) => {
            held >= taken
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lock_without_a_name_comes_before_memory() {
        use LockName::{Its, Memory, Other, Redistributors, SetUp};
        for (held, taken, disordered) in [
            (SetUp, Its(0), false),
            (SetUp, Redistributors, false),
            (Redistributors, Its(0), false),
            (Its(0), Redistributors, true),
            (Its(0), SetUp, true),
            (Its(0), Its(1), true),
            (Other(1), Other(0), false),
            (Other(0), Its(0), false),
            (Other(0), Memory, false),
            (Memory, Other(0), true),
        ] {
            assert_eq!(out_of_order(held, taken), disordered, "{held:?}, {taken:?}");
        }
    }
}
