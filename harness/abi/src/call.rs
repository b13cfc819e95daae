//! One call of the emulation, on a stack of its own. Whatever goes wrong in it, the call is
//! abandoned where it is: its stack is not unwound, since C has nothing on it that would need that.

use std::any::Any;
use std::cell::{Cell, RefCell};
use std::ops::Range;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::ptr;
use std::sync::{Mutex, MutexGuard, PoisonError};

use corosensei::stack::{DefaultStack, Stack};
use corosensei::trap::CoroutineTrapHandler;
use corosensei::{CoroutineResult, ScopedCoroutine, Yielder};
use its_machine::Misconduct;

use crate::coverage;
use crate::descriptor::Descriptor;
use crate::faults;
use crate::place;
use crate::services::Services;

/// Accesses and microseconds that one call may take: sixteen for each call of `El2` that the board
/// allows.
const WORK_LIMIT: u64 = its_el2::WORK_LIMIT as u64 * 16;

/// Why a call did not come back.
#[derive(Clone, Copy)]
pub(crate) enum Left {
    /// The machine ended it, as [`Current`] keeps it.
    Stopped,
    /// EL2 did what it must not.
    Misconduct(Misconduct),
    /// It panicked, or did what no code of EL2 may do at all.
    Panicked,
    /// It called a service where there is no machine.
    Nowhere,
}

pub(crate) type Ended = Result<u64, Left>;

/// A call that is being made.
pub(crate) struct Current {
    /// Counts the calls of a thread: one call's place in memory is the next one's too.
    pub(crate) number: u64,
    /// Lives as long as the call; `None` where there is no machine.
    services: Option<*const dyn Services>,
    /// The descriptor that a set-up is about; lives as long as the call.
    descriptor: *const Descriptor,
    /// Of the call's own stack, for the time of the call.
    yielder: Cell<*const Yielder<(), Left>>,
    pub(crate) trap: Cell<Option<CoroutineTrapHandler<Ended>>>,
    pub(crate) stack: Range<usize>,
    /// The machine's memory in this process.
    pub(crate) memory: Range<usize>,
    left: Cell<u64>,
    /// Where it first divided by zero.
    pub(crate) divided: Cell<Option<u64>>,
    /// What the machine unwound with.
    stopped: RefCell<Option<Box<dyn Any + Send>>>,
}

thread_local! {
    static CURRENT: Cell<*const Current> = const { Cell::new(ptr::null()) };
    static CALLS: Cell<u64> = const { Cell::new(0) };
    static STACKS: RefCell<Vec<DefaultStack>> = const { RefCell::new(Vec::new()) };
    /// Calls of this thread that have begun and not ended, and what keeps other threads out
    /// meanwhile.
    static INSIDE: RefCell<(u32, Option<MutexGuard<'static, ()>>)> = const { RefCell::new((0, None)) };
}

/// There is one emulation in the process, whose data all threads share.
static ONE_THREAD: Mutex<()> = Mutex::new(());

/// The call that is being made, if one is.
pub(crate) fn current_or_null() -> *const Current {
    CURRENT.get()
}

/// The call that this is part of.
pub(crate) fn current() -> &'static Current {
    let current = CURRENT.get();
    assert!(!current.is_null(), "C code ran outside of a call");
    // SAFETY: it is set to a `Current` for the time in which C code runs on behalf of it, and this
    // is called by such code.
    unsafe { &*current }
}

impl Current {
    /// Abandons the call. Nothing on its stack may be in need of dropping.
    pub(crate) fn leave(&self, left: Left) -> ! {
        // SAFETY: the yielder is that of the stack on which this runs, set before C code was
        // entered.
        let yielder = unsafe { &*self.yielder.get() };
        yielder.suspend(left);
        unreachable!("an abandoned call is not resumed");
    }

    /// The descriptor, if this call is about one.
    pub(crate) fn descriptor(&self) -> Option<&Descriptor> {
        // SAFETY: it is null, or outlives the call, see `enter`.
        unsafe { self.descriptor.as_ref() }
    }

    /// Goes on after something in which another CPU may have been inside.
    pub(crate) fn resume(&self) {
        CURRENT.set(self);
    }

    /// Counts work, and ends a call that does too much.
    pub(crate) fn work(&self, units: u64) {
        match self.left.get().checked_sub(units) {
            Some(left) if !faults::expired() => self.left.set(left),
            _ => self.leave(Left::Misconduct(Misconduct::TooMuchWork)),
        }
    }
}

/// Does what C asked for. A machine that ends the call there unwinds, but never through C.
pub(crate) fn serve<R>(act: impl FnOnce(&dyn Services, &Current) -> R) -> R {
    let current = current();
    let Some(services) = current.services else {
        current.leave(Left::Nowhere);
    };
    // SAFETY: the services outlive the call, see `enter`.
    let services = unsafe { &*services };
    services.set_place(place::now());
    let result = catch_unwind(AssertUnwindSafe(|| act(services, current)));
    current.resume();
    match result {
        Ok(value) => value,
        Err(payload) => {
            current.stopped.replace(Some(payload));
            current.leave(Left::Stopped)
        }
    }
}

/// Runs `function`, which calls the emulation, on a stack of its own; a set-up with the descriptor
/// that it is about.
///
/// Unwinds as the machine does where it ends a call, and if the emulation panicked.
pub(crate) fn enter(
    services: &dyn Services,
    descriptor: Option<&Descriptor>,
    function: impl FnOnce() -> u64,
) -> u64 {
    coverage::start();
    let done = run(Some(services), services.mapping(), descriptor, function);
    let here = place::now();
    if let Some(place) = done.divided {
        services.set_place(place);
        services.report(Misconduct::DividedByZero);
    }
    if let Some(payload) = done.stopped {
        resume_unwind(payload);
    }
    services.set_place(here);
    match done.ended {
        Ok(value) => value,
        Err(Left::Misconduct(misconduct)) => services.convict(misconduct),
        Err(Left::Panicked) => resume_unwind(Box::new("the emulation panicked")),
        Err(Left::Stopped | Left::Nowhere) => {
            unreachable!("there is a machine, and it did not end the call")
        }
    }
}

/// The same where there is no machine.
///
/// # Errors
/// What it must not do.
pub(crate) fn enter_alone(function: impl FnOnce() -> u64) -> Result<u64, &'static str> {
    let done = run(None, (ptr::null_mut(), 0), None, function);
    if done.divided.is_some() {
        return Err("divided by zero");
    }
    done.ended.map_err(|left| match left {
        Left::Nowhere => "called a service where there is no machine",
        _ => "did not return",
    })
}

/// How a call ended.
struct Done {
    ended: Ended,
    /// What the machine unwound with.
    stopped: Option<Box<dyn Any + Send>>,
    /// Where it first divided by zero.
    divided: Option<u64>,
}

fn run(
    services: Option<&dyn Services>,
    (memory, bytes): (*mut u8, usize),
    descriptor: Option<&Descriptor>,
    function: impl FnOnce() -> u64,
) -> Done {
    faults::prepare();
    CALLS.set(CALLS.get() + 1);
    let kept = STACKS.with_borrow_mut(Vec::pop);
    let stack = kept.unwrap_or_default();
    let current = Current {
        number: CALLS.get(),
        // SAFETY: only the lifetime changes; the pointer is used by C code that runs before this
        // returns.
        services: services.map(|services| unsafe {
            std::mem::transmute::<*const (dyn Services + '_), *const dyn Services>(services)
        }),
        descriptor: descriptor.map_or(ptr::null(), ptr::from_ref),
        yielder: Cell::new(ptr::null()),
        trap: Cell::new(None),
        stack: stack.limit().get()..stack.base().get(),
        memory: memory.addr()..memory.addr() + bytes,
        left: Cell::new(WORK_LIMIT),
        divided: Cell::new(None),
        stopped: RefCell::new(None),
    };
    let (ended, stack) = on_stack(stack, &current, function);
    // Where there is a call around this one, it resumes.
    CURRENT.set(ptr::null());
    STACKS.with_borrow_mut(|stacks| stacks.push(stack));
    Done { ended, stopped: current.stopped.take(), divided: current.divided.get() }
}

fn on_stack(
    mut stack: DefaultStack,
    current: &Current,
    function: impl FnOnce() -> u64,
) -> (Ended, DefaultStack) {
    let coroutine = ScopedCoroutine::with_stack(&mut stack, |yielder: &Yielder<(), Left>, ()| {
        current.yielder.set(yielder);
        CURRENT.set(current);
        Ok(function())
    });
    let ended = coroutine.scope(|mut coroutine| {
        current.trap.set(Some(coroutine.trap_handler()));
        match coroutine.as_mut().resume(()) {
            CoroutineResult::Return(ended) => ended,
            CoroutineResult::Yield(left) => {
                // SAFETY: the stack holds frames of C and of this crate, which keep nothing that
                // needs dropping while C code runs or when they leave.
                unsafe { coroutine.force_reset() };
                Err(left)
            }
        }
    });
    (ended, stack)
}

/// Keeps other threads out of the emulation until it is dropped; a thread may be inside several
/// times.
pub(crate) struct Inside(());

impl Inside {
    pub(crate) fn new() -> Self {
        INSIDE.with_borrow_mut(|(depth, guard)| {
            if *depth == 0 {
                *guard = Some(ONE_THREAD.lock().unwrap_or_else(PoisonError::into_inner));
            }
            *depth += 1;
        });
        Self(())
    }
}

impl Drop for Inside {
    fn drop(&mut self) {
        INSIDE.with_borrow_mut(|(depth, guard)| {
            *depth -= 1;
            if *depth == 0 {
                *guard = None;
            }
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The place of a call, and its number.
    fn one_call() -> (usize, u64) {
        let mut place = 0;
        let number = enter_alone(|| {
            place = current_or_null().addr();
            current().number
        });
        (place, number.unwrap())
    }

    /// A watchdog that goes by the place takes many short calls for one that never ends.
    #[test]
    fn calls_differ_by_their_numbers() {
        let [first, second] = [one_call(), one_call()];
        assert_eq!(first.0, second.0);
        assert_ne!(first.1, second.1);
    }
}
