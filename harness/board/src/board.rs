//! The board: a subject at EL2 and everything else behind one [`RefCell`], and what can be done to
//! it from outside.

use std::cell::{Cell, RefCell};
use std::num::NonZeroU16;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};

use its_el2::{Locks, Subject, Trap};
use its_gic::Register;
use its_gic::geometry::{PAGE_BYTES, Pages};
use its_machine::{
    AccessSize, Action, Direction, Event, Exposure, LockName, Machine, Misconduct, Outcome,
    PageChange, PageState, Reach, Translation, View,
};

use crate::direct::Direct;
use crate::el2::{BoardLock, BoardLocks, Stop};
use crate::flat::Flat;
use crate::its::{Bus, PhysicalIts, exposure};
use crate::memory::Contents;
use crate::ownership::Ownership;
use crate::race::Stacks;
use crate::redistributor::Redistributor;
use crate::state::State;

thread_local! {
    pub(crate) static IN_SUBJECT: Cell<bool> = const { Cell::new(false) };
}

/// Whether this thread runs the subject's code, so that a panic now is the subject's: it becomes a
/// [`Misconduct::Panicked`], and a panic hook may stay silent.
pub fn subject_is_running() -> bool {
    IN_SUBJECT.get()
}

/// A change that the host makes to a word between two accesses of EL2.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tamper {
    /// After how many reads of shared memory by EL2; 0 is before the first.
    pub after: u32,
    /// Physical address, 8-byte aligned.
    pub address: u64,
    pub value: u64,
}

/// Time that a physical ITS gets while EL2 waits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Progress {
    /// After how many reads of registers by EL2, a microsecond of delay counting as one; 0 is
    /// before the first.
    pub after: u64,
    pub its: u8,
    /// For so many commands.
    pub commands: u16,
}

/// An ownership change that shall fail.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Failure {
    pub change: PageChange,
    /// Which one from now, counted from 1.
    pub nth: u32,
}

/// A subject that the board can keep as it is at a moment.
pub trait BoardSubject: Subject<Board> {
    fn copy(&self) -> Box<dyn BoardSubject>;
}

impl<S: Subject<Board> + Clone + 'static> BoardSubject for S {
    fn copy(&self) -> Box<dyn BoardSubject> {
        Box::new(self.clone())
    }
}

/// A board as it was at one moment, to go back to.
pub struct Snapshot {
    subject: Box<dyn BoardSubject>,
    contents: Contents,
    ownership: Ownership,
    its: Vec<PhysicalIts>,
    redistributors: Vec<Redistributor>,
    finalized: Vec<bool>,
    machine: Machine,
}

/// The simulated machine, with a subject at EL2.
pub struct Board {
    pub(crate) state: RefCell<State>,
    pub(crate) memory_lock: BoardLock<()>,
    pub(crate) stacks: Stacks,
    subject: Box<dyn BoardSubject>,
}

impl Board {
    /// A board before boot, with a subject at EL2.
    pub fn new(machine: Machine, subject: Box<dyn BoardSubject>) -> Self {
        Self {
            state: RefCell::new(State::new(machine)),
            memory_lock: BoardLocks::lock(LockName::Memory, ()),
            stacks: Stacks::default(),
            subject,
        }
    }

    pub fn policy(&self) -> its_el2::SubjectPolicy {
        self.subject.policy()
    }

    /// Whether every load and store of the subject is reported.
    pub fn is_observed(&self) -> bool {
        self.subject.is_observed()
    }

    /// Whether the subject does something when a CPU is finalized.
    pub(crate) fn awaits_finalize(&self) -> bool {
        self.subject.awaits_finalize()
    }

    /// Whether the subject is written elsewhere.
    pub fn is_external(&self) -> bool {
        self.subject.is_external()
    }

    /// The file and line of the subject that made an event of the last action, by its number.
    pub fn source(&self, event: usize) -> Option<&'static str> {
        let state = self.state.borrow();
        let after = state.places.partition_point(|(from, _)| *from <= event);
        let (_, place) = *state.places.get(after.checked_sub(1)?)?;
        self.subject.source(place)
    }

    /// Returns which edges of its code the subject took when it was entered last, as a number.
    pub fn edges(&self) -> u64 {
        self.subject.edges()
    }

    /// The board as it is, between two actions.
    pub fn snapshot(&self) -> Snapshot {
        let state = self.state.borrow();
        Snapshot {
            subject: self.subject.copy(),
            contents: state.memory.contents(),
            ownership: state.ownership.clone(),
            its: state.its.clone(),
            redistributors: state.redistributors.clone(),
            finalized: state.finalized.clone(),
            machine: state.machine,
        }
    }

    pub fn restore(&mut self, snapshot: &Snapshot) {
        let state = self.state.get_mut();
        state.memory.restore(&snapshot.contents, Flat::of(&snapshot.machine));
        state.ownership.clone_from(&snapshot.ownership);
        state.its.clone_from(&snapshot.its);
        state.redistributors.clone_from(&snapshot.redistributors);
        state.finalized.clone_from(&snapshot.finalized);
        state.machine = snapshot.machine;
        state.board_panicked = false;
        state.held.clear();
        state.events.clear();
        state.forget_places();
        state.direct = Direct::default();
        self.disarm();
        self.subject = snapshot.subject.copy();
    }

    /// Back to before boot, as a machine with maybe other ITSs.
    pub fn reset(&mut self, machine: Machine, subject: Box<dyn BoardSubject>) {
        let fresh = Snapshot {
            subject,
            contents: Contents::default(),
            ownership: Ownership::new(&machine),
            its: PhysicalIts::all(&machine),
            redistributors: Redistributor::all(&machine),
            finalized: vec![false; machine.redistributors.len()],
            machine,
        };
        self.restore(&fresh);
    }

    /// Back to before boot, on the same machine with the same subject.
    pub(crate) fn restart(&mut self) {
        let machine = self.state.borrow().machine;
        self.reset(machine, self.subject.copy());
    }

    /// The host will change a word in the middle of one of the next actions.
    pub fn arm_tamper(&mut self, tamper: Tamper) {
        self.state.get_mut().tampers.push(tamper);
    }

    /// An ownership change that EL2's emulation asks for will fail.
    pub fn arm_failure(&mut self, failure: Failure) {
        self.state.get_mut().failures.push(failure);
    }

    /// An ITS will stall at the n-th command that it fetches from now on, counted from 1, whatever
    /// the command is. 0 takes that back.
    ///
    /// # Panics
    ///
    /// Panics if the machine has no such ITS.
    pub fn arm_stall(&mut self, its: u8, nth: u16) {
        self.state.get_mut().its[usize::from(its)].stall_at = NonZeroU16::new(nth);
    }

    /// An ITS will get time while EL2 waits in one of the next actions.
    pub fn arm_progress(&mut self, progress: Progress) {
        self.state.get_mut().progress.push(progress);
    }

    /// Forgets what was armed for one operation: all but failures and stalls.
    pub fn end_operation(&mut self) {
        let state = self.state.get_mut();
        state.tampers.clear();
        state.progress.clear();
    }

    pub fn disarm(&mut self) {
        self.end_operation();
        let state = self.state.get_mut();
        state.failures.clear();
        state.its.iter_mut().for_each(|its| its.stall_at = None);
    }

    /// Starts counting EL2's shared reads and how long it waits anew, for [`Tamper::after`] and
    /// [`Progress::after`].
    pub fn start_operation(&mut self) {
        let state = self.state.get_mut();
        state.shared_reads = 0;
        state.waited = 0;
    }

    /// The line at an address leaves the cache: what EL2 stored there arrives in memory.
    pub fn write_back(&self, address: u64) {
        self.state.borrow_mut().write_back(address);
    }

    /// Does one thing. What happened meanwhile is put into `events`, in order.
    pub fn perform(&self, action: &Action, events: &mut Vec<Event>) -> Outcome {
        self.state.borrow_mut().forget_places();
        let outcome = self.dispatch(action);
        let mut state = self.state.borrow_mut();
        events.clear();
        events.append(&mut state.events);
        outcome
    }

    pub(crate) fn dispatch(&self, action: &Action) -> Outcome {
        match *action {
            Action::Device { cpu, address, size, direction } => {
                self.device(cpu, address, size, direction)
            }
            Action::Load { cpu, address } => {
                let state = self.state.borrow();
                let reaches = state.host_reaches(cpu, address, PageState::host_can_load);
                if !address.is_multiple_of(8) || !reaches {
                    return Outcome::Refused;
                }
                Outcome::Value(state.memory.read(address))
            }
            Action::Store { cpu, address, value } => self.store(cpu, address, &[value]),
            Action::StoreCommand { cpu, address, words } => self.store(cpu, address, &words),
            Action::Hypercall { cpu, x0, arguments } => {
                self.state.borrow_mut().cpu = cpu;
                self.hypercall(x0, arguments)
            }
            Action::Msi { its, device_id, event_id, size } => {
                let event_id = match size {
                    AccessSize::Half => event_id & 0xffff,
                    AccessSize::Word => event_id,
                    AccessSize::Byte | AccessSize::Double => return Outcome::Done,
                };
                self.at_its(its, |its, bus| its.msi((device_id, event_id), bus))
            }
            Action::Clean { cpu, address, bytes } => {
                let mut state = self.state.borrow_mut();
                let mut pages = Pages::under(address, bytes).iter();
                if !pages.all(|page| {
                    state.host_reaches(cpu, page * PAGE_BYTES, PageState::host_can_load)
                }) {
                    return Outcome::Refused;
                }
                state.host_clean(address, bytes);
                Outcome::Done
            }
            Action::WriteBack { address } => {
                self.write_back(address);
                Outcome::Done
            }
            Action::Acknowledge { cpu } => Outcome::Value(self.state.borrow_mut().acknowledge(cpu)),
            Action::PowerLoss { its, restored } => {
                self.at_its(its, |its, bus| its.lose_power(restored, bus))
            }
            Action::EnabledByOther { its } => {
                self.at_its(its, |its, bus| its.be_enabled_by_other(bus))
            }
            Action::Advance { its, commands } => {
                self.at_its(its, |its, bus| its.advance(commands, bus))
            }
        }
    }

    fn at_its(&self, its: u8, act: impl FnOnce(&mut PhysicalIts, &mut Bus<'_>)) -> Outcome {
        self.state.borrow_mut().with_its(its, act);
        Outcome::Done
    }

    fn store(&self, cpu: u8, address: u64, words: &[u64]) -> Outcome {
        let mut state = self.state.borrow_mut();
        let aligned = address.is_multiple_of(8 * words.len() as u64);
        if !aligned || !state.host_reaches(cpu, address, PageState::host_can_store) {
            return Outcome::Refused;
        }
        for (index, word) in (0..).zip(words) {
            state.host_store(address + index * 8, *word);
        }
        Outcome::Done
    }

    fn device(&self, cpu: u8, address: u64, size: AccessSize, direction: Direction) -> Outcome {
        let mut state = self.state.borrow_mut();
        state.cpu = cpu;
        let direction = match direction {
            Direction::Write(value) => Direction::Write(size.truncate(value)),
            read => read,
        };
        let Some((frame, offset)) = state.frame(address) else {
            return Outcome::Refused;
        };
        let done = |value| match direction {
            Direction::Read => Outcome::Value(size.truncate(value)),
            Direction::Write(_) => Outcome::Done,
        };
        if !state.finalized[usize::from(cpu)] {
            return done(state.hardware(frame, offset, size.bytes(), direction));
        }
        drop(state);
        let trap = Trap { cpu, frame, offset, size, direction };
        match self.enter(|subject| subject.trap(self, trap)) {
            Some(value) => done(value),
            None => Outcome::Stopped,
        }
    }

    /// Runs one entry of the subject; `None` when it did not come back.
    pub(crate) fn enter<R>(&self, call: impl FnOnce(&dyn BoardSubject) -> R) -> Option<R> {
        {
            let mut state = self.state.borrow_mut();
            state.work = 0;
            state.direct.start();
            if state.shared_reads == 0 {
                state.tamper();
            }
        }
        IN_SUBJECT.set(true);
        let result = catch_unwind(AssertUnwindSafe(|| call(&*self.subject)));
        IN_SUBJECT.set(false);
        let mut state = self.state.borrow_mut();
        state.settle();
        // No clean takes longer. Those of other CPUs may be complete by then too.
        state.complete_cleans();
        match result {
            Ok(value) => {
                for name in state.held.clone() {
                    state.misconduct(Misconduct::Kept(name));
                }
                Some(value)
            }
            Err(payload) => {
                if state.board_panicked {
                    eprintln!("the board panicked in a call of EL2");
                    resume_unwind(payload);
                }
                if !payload.is::<Stop>() {
                    let place = state.place;
                    state.mark(place);
                    state.misconduct(Misconduct::Panicked);
                }
                None
            }
        }
    }

    /// The pointers that the n-th ITS can follow (with the first, those of redistributors too),
    /// found from registers, caches and memory alone. Slow.
    pub fn walk(&self, its: u8) -> Vec<Reach> {
        let mut state = self.state.borrow_mut();
        let found = state.look(its, |its, bus| its.walk(bus));
        let reach = |(purpose, (address, bytes))| Reach { its, purpose, address, bytes };
        let mut all: Vec<Reach> = found.into_iter().flatten().map(reach).collect();
        if its == 0 {
            all.extend(state.lpi_tables());
        }
        all
    }

    /// Returns where ITSs and redistributors stored words in the last action or race, whether there
    /// is memory or not.
    pub fn device_stores(&self) -> Vec<u64> {
        self.state.borrow().memory.device_stores.clone()
    }

    /// Returns every event that the n-th ITS has mapped, by DeviceID and EventID. Slow.
    pub fn mapped(&self, its: u8) -> Vec<(u32, u32)> {
        let mut state = self.state.borrow_mut();
        state.look(its, |its, bus| its.mapped(bus)).unwrap_or_default()
    }
}

impl View for Board {
    fn reach(&self, its: u8) -> impl Iterator<Item = (Reach, Exposure)> {
        let state = self.state.borrow();
        let own = state.its.get(usize::from(its)).map(PhysicalIts::reach);
        let lpis = (its == 0).then(|| state.lpi_tables());
        let all = own.into_iter().flatten().chain(lpis.into_iter().flatten());
        let exposed = |reach| (reach, exposure(&reach, &state.memory, &state.ownership));
        all.map(exposed).collect::<Vec<_>>().into_iter()
    }

    fn translate(&self, its: u8, device_id: u32, event_id: u32) -> Option<Translation> {
        let mut state = self.state.borrow_mut();
        state.look(its, |its, bus| its.translate((device_id, event_id), bus))?
    }

    fn pending(&self, redistributor: u8) -> impl Iterator<Item = u32> {
        let state = self.state.borrow();
        let found = state.redistributors.get(usize::from(redistributor));
        let pending = found.map(|found| found.pending().clone());
        pending.into_iter().flatten()
    }

    fn register(&self, its: u8, register: Register) -> u64 {
        let state = self.state.borrow();
        let its = state.its.get(usize::from(its));
        its.map_or(0, |its| its.register(register))
    }

    fn offered(&self, redistributor: u8) -> Option<u32> {
        let state = self.state.borrow();
        let found = state.redistributors.get(usize::from(redistributor))?;
        found.offered(&state.memory)
    }
}
