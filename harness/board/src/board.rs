//! The board: everything behind one [`RefCell`], and what can be done to it from outside.

use std::cell::{Cell, RefCell};
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};

use its_el2::{
    Action, Direction, Event, Exposure, Frame, LockName, Locks, Machine, Misconduct, Outcome,
    PageChange, Purpose, Reach, Subject, Translation, Trap, View,
};
use its_gic::geometry::{PAGE_BYTES, Pages};
use its_gic::redistributor::FRAMES_BYTES;
use its_gic::register::FRAME_BYTES;

use crate::el2::{BoardLock, BoardLocks, Stop};
use crate::its::{Bus, PhysicalIts};
use crate::layout::CPUS;
use crate::memory::{Contents, Memory};
use crate::ownership::Ownership;
use crate::redistributor::Redistributor;

thread_local! {
    static IN_SUBJECT: Cell<bool> = const { Cell::new(false) };
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

/// An ownership change that shall fail.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Failure {
    pub change: PageChange,
    /// Which one from now, counted from 1.
    pub nth: u32,
}

/// Everything on the board but the subject.
#[derive(Clone)]
pub(crate) struct State {
    pub machine: Machine,
    pub memory: Memory,
    pub ownership: Ownership,
    pub its: PhysicalIts,
    pub redistributors: Vec<Redistributor>,
    pub finalized: [bool; CPUS as usize],
    pub cpu: u8,
    /// A call of EL2 panicked on the board's side.
    pub board_panicked: bool,
    pub held: Vec<LockName>,
    pub events: Vec<Event>,
    pub work: u32,
    pub shared_reads: u32,
    pub tampers: Vec<Tamper>,
    pub failures: Vec<Failure>,
}

/// A subject that the board can keep as it is at a moment.
pub trait BoardSubject: Subject<Board> {
    /// The subject with all its state.
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
    its: PhysicalIts,
    redistributors: Vec<Redistributor>,
    finalized: [bool; CPUS as usize],
    machine: Machine,
}

/// The simulated machine, with a subject at EL2.
pub struct Board {
    pub(crate) state: RefCell<State>,
    pub(crate) memory_lock: BoardLock<()>,
    subject: Box<dyn BoardSubject>,
    /// The subject as it was before boot.
    fresh: Box<dyn BoardSubject>,
}

impl State {
    /// The ITS and what it is connected to.
    pub(crate) fn its_and_bus(&mut self) -> (&mut PhysicalIts, Bus<'_>) {
        let bus = Bus {
            machine: &self.machine,
            memory: &mut self.memory,
            ownership: &self.ownership,
            redistributors: &mut self.redistributors,
            events: &mut self.events,
        };
        (&mut self.its, bus)
    }

    /// A store by the host, which the ITS sees at once.
    pub(crate) fn host_store(&mut self, address: u64, value: u64) {
        self.memory.write(address, value);
        let (its, mut bus) = self.its_and_bus();
        its.word_changed(address, &mut bus);
    }

    /// What redistributors can reach.
    fn lpi_tables(&self) -> impl Iterator<Item = Reach> {
        let tables = |redistributor: &Redistributor| {
            if redistributor.lpis() {
                redistributor.tables().to_vec()
            } else {
                Vec::new()
            }
        };
        let purposes = |number: u8| {
            [
                Purpose::LpiConfiguration(number),
                Purpose::LpiPending(number),
            ]
        };
        (0..CPUS).flat_map(move |number| {
            purposes(number)
                .into_iter()
                .zip(tables(&self.redistributors[usize::from(number)]))
                .map(|(purpose, (address, bytes))| Reach {
                    its: 0,
                    purpose,
                    address,
                    bytes,
                })
        })
    }

    /// Records a change of ownership and tells of reachable pages that it touched.
    pub(crate) fn page_event(
        &mut self,
        change: PageChange,
        pages: Pages,
        result: Result<(), its_el2::Errno>,
    ) {
        self.events.push(Event::Page {
            change,
            pages,
            result,
        });
        if result.is_err() {
            return;
        }
        for page in pages.iter() {
            self.page_changed(page);
        }
    }

    pub(crate) fn page_changed(&mut self, page: u64) {
        let Some(state) = self.ownership.state(page) else {
            return;
        };
        self.its.page_changed(page, state, &mut self.events);
        let reached: Vec<Reach> = self
            .lpi_tables()
            .filter(|reach| Pages::under(reach.address, reach.bytes).contains(page))
            .collect();
        let told = |reach| Event::ReachedPage { reach, page, state };
        self.events.extend(reached.into_iter().map(told));
    }

    /// A hardware access to a redistributor.
    pub(crate) fn redistributor_write(&mut self, n: u8, offset: u64, bytes: u64, value: u64) {
        if !self.redistributors[usize::from(n)].write(offset, bytes, value) {
            return;
        }
        let reached: Vec<Reach> = self.lpi_tables().collect();
        for reach in reached {
            if matches!(reach.purpose, Purpose::LpiConfiguration(of) | Purpose::LpiPending(of) if of == n)
            {
                let exposure = crate::its::exposure(&reach, &self.memory, &self.ownership);
                self.events.push(Event::Reached(reach, exposure));
            }
        }
    }

    /// Which device region holds an address, and the offset in it.
    pub(crate) fn frame(&self, address: u64) -> Option<(Frame, u64)> {
        let within = |start: u64, bytes: u64| address >= start && address - start < bytes;
        for (number, start) in (0..).zip(self.machine.its) {
            if within(*start, FRAME_BYTES) {
                return Some((Frame::ItsControl(number), address - start));
            }
            if within(*start + FRAME_BYTES, FRAME_BYTES) {
                return Some((Frame::ItsTranslation(number), address - start - FRAME_BYTES));
            }
        }
        for (number, start) in (0..).zip(self.machine.redistributors) {
            if within(*start, FRAMES_BYTES) {
                return Some((Frame::Redistributor(number), address - start));
            }
        }
        None
    }

    /// An access that hardware sees. A CPU has no DeviceID, so the translation frame ignores it.
    pub(crate) fn hardware(
        &mut self,
        frame: Frame,
        offset: u64,
        bytes: u64,
        direction: Direction,
    ) -> u64 {
        match (frame, direction) {
            (Frame::ItsControl(_), Direction::Read) => {
                let (its, mut bus) = self.its_and_bus();
                its.read(offset, bytes, &mut bus)
            }
            (Frame::ItsControl(_), Direction::Write(value)) => {
                let (its, mut bus) = self.its_and_bus();
                its.write(offset, bytes, value, &mut bus);
                0
            }
            (Frame::ItsTranslation(_), _) => 0,
            (Frame::Redistributor(_), _) if !Redistributor::has_access(offset, bytes) => 0,
            (Frame::Redistributor(n), Direction::Read) => {
                self.redistributors[usize::from(n)].read(offset, bytes)
            }
            (Frame::Redistributor(n), Direction::Write(value)) => {
                self.redistributor_write(n, offset, bytes, value);
                0
            }
        }
    }

    fn host_reaches(&self, cpu: u8, address: u64) -> bool {
        let Some(state) = self.ownership.state(address / PAGE_BYTES) else {
            return false;
        };
        !self.finalized[usize::from(cpu)] || state.host_can_access()
    }

    /// Makes the host's change that is due after this many shared reads.
    pub(crate) fn tamper(&mut self) {
        if self.tampers.is_empty() {
            return;
        }
        let now = self.shared_reads;
        for tamper in self.tampers.clone() {
            if tamper.after != now || !self.host_reaches(self.cpu, tamper.address) {
                continue;
            }
            self.host_store(tamper.address, tamper.value);
            self.events.push(Event::Tampered {
                address: tamper.address,
                value: tamper.value,
            });
        }
    }

    pub(crate) fn misconduct(&mut self, misconduct: Misconduct) {
        self.events.push(Event::Misconduct(misconduct));
    }
}

impl Board {
    /// A board before boot, with a subject at EL2.
    pub fn new(machine: Machine, subject: Box<dyn BoardSubject>) -> Self {
        Self {
            fresh: subject.copy(),
            state: RefCell::new(State {
                machine,
                memory: Memory::new(),
                ownership: Ownership::new(),
                its: PhysicalIts::new(0, &machine),
                redistributors: (0..CPUS).map(Redistributor::new).collect(),
                finalized: [false; CPUS as usize],
                cpu: 0,
                board_panicked: false,
                held: Vec::new(),
                events: Vec::new(),
                work: 0,
                shared_reads: 0,
                tampers: Vec::new(),
                failures: Vec::new(),
            }),
            memory_lock: BoardLocks::lock(LockName::Memory, ()),
            subject,
        }
    }

    /// What the subject declares about itself.
    pub fn policy(&self) -> its_el2::SubjectPolicy {
        self.subject.policy()
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
            finalized: state.finalized,
            machine: state.machine,
        }
    }

    /// Back to a snapshot, the subject included.
    pub fn restore(&mut self, snapshot: &Snapshot) {
        let state = self.state.get_mut();
        state.memory.restore(&snapshot.contents);
        state.ownership.clone_from(&snapshot.ownership);
        state.its.clone_from(&snapshot.its);
        state.redistributors.clone_from(&snapshot.redistributors);
        state.finalized = snapshot.finalized;
        state.machine = snapshot.machine;
        state.board_panicked = false;
        state.held.clear();
        state.events.clear();
        self.disarm();
        self.subject = snapshot.subject.copy();
    }

    /// Back to before boot, as a machine with maybe another ITS.
    pub fn reset(&mut self, machine: Machine) {
        let fresh = Snapshot {
            subject: self.fresh.copy(),
            contents: Contents::default(),
            ownership: Ownership::new(),
            its: PhysicalIts::new(0, &machine),
            redistributors: (0..CPUS).map(Redistributor::new).collect(),
            finalized: [false; CPUS as usize],
            machine,
        };
        self.restore(&fresh);
    }

    /// The host will change a word in the middle of one of the next actions.
    pub fn arm_tamper(&mut self, tamper: Tamper) {
        self.state.get_mut().tampers.push(tamper);
    }

    /// An ownership change that EL2's emulation asks for will fail.
    pub fn arm_failure(&mut self, failure: Failure) {
        self.state.get_mut().failures.push(failure);
    }

    /// Takes back armed tampers.
    pub fn disarm_tampers(&mut self) {
        self.state.get_mut().tampers.clear();
    }

    /// Takes back everything that was armed.
    pub fn disarm(&mut self) {
        self.disarm_tampers();
        self.state.get_mut().failures.clear();
    }

    /// Starts counting EL2's shared reads anew, for [`Tamper::after`].
    pub fn start_operation(&mut self) {
        self.state.get_mut().shared_reads = 0;
    }

    /// Does one thing. What happened meanwhile is put into `events`, in order.
    pub fn perform(&self, action: &Action, events: &mut Vec<Event>) -> Outcome {
        let outcome = self.dispatch(action);
        let mut state = self.state.borrow_mut();
        events.clear();
        events.append(&mut state.events);
        outcome
    }

    fn dispatch(&self, action: &Action) -> Outcome {
        match *action {
            Action::Device {
                cpu,
                address,
                size,
                direction,
            } => self.device(cpu, address, size, direction),
            Action::Load { cpu, address } => {
                let state = self.state.borrow();
                if !address.is_multiple_of(8) || !state.host_reaches(cpu, address) {
                    return Outcome::Refused;
                }
                Outcome::Value(state.memory.read(address))
            }
            Action::Store {
                cpu,
                address,
                value,
            } => self.store(cpu, address, &[value]),
            Action::StoreCommand {
                cpu,
                address,
                words,
            } => self.store(cpu, address, &words),
            Action::Hypercall { cpu, x0, arguments } => {
                self.state.borrow_mut().cpu = cpu;
                self.hypercall(x0, arguments)
            }
            Action::Msi {
                device_id,
                event_id,
                ..
            } => {
                let mut state = self.state.borrow_mut();
                let (its, mut bus) = state.its_and_bus();
                its.msi(device_id, event_id, &mut bus);
                Outcome::Done
            }
            Action::Advance { commands, .. } => {
                let mut state = self.state.borrow_mut();
                let (its, mut bus) = state.its_and_bus();
                its.advance(commands, &mut bus);
                Outcome::Done
            }
        }
    }

    fn store(&self, cpu: u8, address: u64, words: &[u64]) -> Outcome {
        let mut state = self.state.borrow_mut();
        let aligned = address.is_multiple_of(8 * words.len() as u64);
        if !aligned || !state.host_reaches(cpu, address) {
            return Outcome::Refused;
        }
        for (index, word) in (0..).zip(words) {
            state.host_store(address + index * 8, *word);
        }
        Outcome::Done
    }

    fn device(
        &self,
        cpu: u8,
        address: u64,
        size: its_el2::AccessSize,
        direction: Direction,
    ) -> Outcome {
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
        let trap = Trap {
            cpu,
            frame,
            offset,
            size,
            direction,
        };
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
            if state.shared_reads == 0 {
                state.tamper();
            }
        }
        IN_SUBJECT.set(true);
        let result = catch_unwind(AssertUnwindSafe(|| call(&*self.subject)));
        IN_SUBJECT.set(false);
        let mut state = self.state.borrow_mut();
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
                    state.misconduct(Misconduct::Panicked);
                }
                None
            }
        }
    }

    /// The pointers that the ITS can follow, found from registers and memory alone. Slow.
    pub fn walk(&self) -> Vec<Reach> {
        let mut state = self.state.borrow_mut();
        let (its, bus) = state.its_and_bus();
        let found = its.walk(&bus);
        let reach = |(purpose, (address, bytes))| Reach {
            its: 0,
            purpose,
            address,
            bytes,
        };
        let mut all: Vec<Reach> = found.into_iter().map(reach).collect();
        all.extend(state.lpi_tables());
        all
    }
}

impl View for Board {
    fn reach(&self, _its: u8) -> impl Iterator<Item = (Reach, Exposure)> {
        let state = self.state.borrow();
        let all: Vec<_> = state
            .its
            .reach()
            .chain(state.lpi_tables())
            .map(|reach| {
                let exposure = crate::its::exposure(&reach, &state.memory, &state.ownership);
                (reach, exposure)
            })
            .collect();
        all.into_iter()
    }

    fn translate(&self, _its: u8, device_id: u32, event_id: u32) -> Option<Translation> {
        let mut state = self.state.borrow_mut();
        let (its, mut bus) = state.its_and_bus();
        // A look at the machine is no event on it.
        let mut ignored = Vec::new();
        bus.events = &mut ignored;
        its.translate(device_id, event_id, &mut bus)
    }

    fn pending(&self, redistributor: u8) -> impl Iterator<Item = u32> {
        let state = self.state.borrow();
        let pending = state.redistributors[usize::from(redistributor)].pending();
        pending.clone().into_iter()
    }
}
