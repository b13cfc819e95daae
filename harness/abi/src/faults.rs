//! What the processor traps in the emulation's code, and a watchdog for loops that call nothing:
//! the call ends there.
//!
//! A signal in any other code goes on to whoever was there before.

use std::cell::Cell;
use std::ffi::{c_int, c_void};
use std::mem::MaybeUninit;
use std::ptr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, OnceLock, PoisonError};

use its_machine::Misconduct;

use crate::access::stray;
use crate::call::{Current, Ended, Left, current_or_null};
use crate::{image, place};

const TRAPS: [c_int; 5] = [libc::SIGSEGV, libc::SIGBUS, libc::SIGFPE, libc::SIGILL, libc::SIGTRAP];

/// Seconds of the process's processor time between two looks of the watchdog; a call that two looks
/// find at work is ended.
const LOOK: i64 = 2;

/// What took these signals before, by their place in [`TRAPS`].
static BEFORE: OnceLock<[libc::sigaction; TRAPS.len()]> = OnceLock::new();
static INSTALLING: Mutex<()> = Mutex::new(());

/// The watchdog wants the call to end.
static EXPIRED: AtomicBool = AtomicBool::new(false);

/// Whether the watchdog wants the call to end; asked once.
pub(crate) fn expired() -> bool {
    EXPIRED.load(Ordering::Relaxed) && EXPIRED.swap(false, Ordering::Relaxed)
}

thread_local! {
    /// The number of the call that the watchdog found at work.
    static SEEN: Cell<u64> = const { Cell::new(0) };
}

/// Before a call: takes the signals, once, and starts anew.
pub(crate) fn prepare() {
    EXPIRED.store(false, Ordering::Relaxed);
    if BEFORE.get().is_some() {
        return;
    }
    let _one = INSTALLING.lock().unwrap_or_else(PoisonError::into_inner);
    BEFORE.get_or_init(|| TRAPS.map(|signal| take(signal, trapped)));
    // SIGVTALRM is honggfuzz's word for a timeout, SIGALRM libFuzzer's.
    take(libc::SIGPROF, looked);
    let every = libc::timeval { tv_sec: LOOK, tv_usec: 0 };
    let timer = libc::itimerval { it_interval: every, it_value: every };
    // SAFETY: the timer is a valid structure; the one before is not wanted.
    unsafe { libc::setitimer(libc::ITIMER_PROF, &timer, ptr::null_mut()) };
}

type Handler = extern "C" fn(c_int, *mut libc::siginfo_t, *mut c_void);

fn take(signal: c_int, handler: Handler) -> libc::sigaction {
    let mut before = MaybeUninit::zeroed();
    // SAFETY: zeroes are a valid sigaction.
    let mut action: libc::sigaction = unsafe { MaybeUninit::zeroed().assume_init() };
    action.sa_sigaction = handler as usize;
    action.sa_flags = libc::SA_SIGINFO | libc::SA_ONSTACK | libc::SA_RESTART;
    // SAFETY: both structures are valid; the handler does only what a handler may.
    unsafe {
        libc::sigaction(signal, &action, before.as_mut_ptr());
        before.assume_init()
    }
}

extern "C" fn trapped(signal: c_int, info: *mut libc::siginfo_t, context: *mut c_void) {
    // SAFETY: the kernel gives both to a handler with SA_SIGINFO.
    let (info, context) = unsafe { (&*info, &mut *context.cast::<libc::ucontext_t>()) };
    // SAFETY: these signals have an address.
    let address = unsafe { info.si_addr() }.addr();
    let jumped_there = signal == libc::SIGSEGV && address == pc(context);
    let current = current_or_null();
    if current.is_null() || !(image::text().contains(&pc(context)) || jumped_there) {
        return pass_on(signal);
    }
    // SAFETY: it is not null, and the call goes on until this returns.
    let on_stack = unsafe { (*current).stack.contains(&sp(context)) };
    place::trapped(if jumped_there && on_stack {
        caller(context).wrapping_sub(1)
    } else {
        pc(context)
    });
    // SAFETY: the call goes on until this returns.
    let divided = unsafe { &(*current).divided };
    if signal == libc::SIGFPE && skip_division(context) {
        return divided.set(divided.get().or(Some(place::now())));
    }
    let memory = signal == libc::SIGSEGV || signal == libc::SIGBUS;
    let write = was_write(context);
    // SAFETY: it is not null, and the call goes on until this returns.
    let current = unsafe { &*current };
    let left =
        move || if memory { Left::Misconduct(stray(address, write)) } else { Left::Panicked };
    if !abandon(current, context, left) {
        pass_on(signal);
    }
}

extern "C" fn looked(_: c_int, _: *mut libc::siginfo_t, context: *mut c_void) {
    let current = current_or_null();
    // The signal comes to the thread whose time it counts.
    if current.is_null() {
        return;
    }
    // SAFETY: the kernel gives the one to a handler with SA_SIGINFO; the other is not null, and the
    // call goes on until this returns.
    let (context, current) = unsafe { (&mut *context.cast::<libc::ucontext_t>(), &*current) };
    if SEEN.replace(current.number) != current.number {
        return;
    }
    if !image::text().contains(&pc(context)) {
        // It is in a callback or service, and leaves at the next.
        return EXPIRED.store(true, Ordering::Relaxed);
    }
    place::trapped(pc(context));
    abandon(current, context, || Left::Misconduct(Misconduct::TooMuchWork));
}

/// Lets the call end when the handler returns; whether it can.
fn abandon(
    current: &Current,
    context: &mut libc::ucontext_t,
    left: impl FnOnce() -> Left + 'static,
) -> bool {
    let Some(trap) = current.trap.get() else {
        return false;
    };
    if !trap.stack_ptr_in_bounds(sp(context)) {
        return false;
    }
    let end = move || -> Ended { Err(left()) };
    // SAFETY: the stack pointer is within the call's stack; code of the emulation was interrupted,
    // which holds nothing of Rust's; the registers are set as wanted.
    unsafe { set(context, &trap.setup_trap_handler(end)) };
    true
}

/// Leaves a signal to whoever had it before: it comes again when the handler returns.
fn pass_on(signal: c_int) {
    let place = TRAPS.iter().position(|trap| *trap == signal);
    let before = BEFORE.get().zip(place).map(|(before, place)| before[place]);
    if let Some(before) = before {
        // SAFETY: it is what the kernel gave.
        unsafe { libc::sigaction(signal, &before, ptr::null_mut()) };
    }
}

#[cfg(target_arch = "x86_64")]
mod machine {
    use corosensei::trap::TrapHandlerRegs;

    const WRITE: i64 = 2;

    pub(super) fn pc(context: &libc::ucontext_t) -> usize {
        context.uc_mcontext.gregs[libc::REG_RIP as usize] as usize
    }

    pub(super) fn sp(context: &libc::ucontext_t) -> usize {
        context.uc_mcontext.gregs[libc::REG_RSP as usize] as usize
    }

    /// Where what was just called returns to; the stack pointer is valid.
    pub(super) fn caller(context: &libc::ucontext_t) -> usize {
        // SAFETY: as the caller says.
        unsafe { *std::ptr::with_exposed_provenance::<usize>(sp(context)) }
    }

    pub(super) fn was_write(context: &libc::ucontext_t) -> bool {
        context.uc_mcontext.gregs[libc::REG_ERR as usize] & WRITE != 0
    }

    pub(super) fn set(context: &mut libc::ucontext_t, to: &TrapHandlerRegs) {
        let registers = &mut context.uc_mcontext.gregs;
        registers[libc::REG_RIP as usize] = to.rip as i64;
        registers[libc::REG_RSP as usize] = to.rsp as i64;
        registers[libc::REG_RBP as usize] = to.rbp as i64;
        registers[libc::REG_RDI as usize] = to.rdi as i64;
        registers[libc::REG_RSI as usize] = to.rsi as i64;
    }

    /// The longest instruction.
    const LONGEST: usize = 15;

    /// Goes on after a division that has no result with what arm64 has: 0, and the dividend as
    /// remainder. Returns whether the processor stands at one.
    pub(super) fn skip_division(context: &mut libc::ucontext_t) -> bool {
        // SAFETY: it executes there, and what is behind the emulation's code is code of Rust's.
        let code = unsafe { *std::ptr::with_exposed_provenance::<[u8; LONGEST]>(pc(context)) };
        let Some((length, bytes)) = division(&code) else {
            return false;
        };
        let registers = &mut context.uc_mcontext.gregs;
        registers[libc::REG_RIP as usize] += length as i64;
        let [rax, rdx] = [libc::REG_RAX, libc::REG_RDX].map(|register| register as usize);
        let (low, high) = (registers[rax], registers[rdx]);
        (registers[rax], registers[rdx]) = match bytes {
            1 => (low & !0xffff | (low & 0xff) << 8, high),
            2 => (low & !0xffff, high & !0xffff | low & 0xffff),
            4 => (0, low & 0xffff_ffff),
            _ => (0, low),
        };
        true
    }

    /// The length of a `div` or `idiv`, and the bytes of its quotient.
    pub(super) fn division(code: &[u8; LONGEST]) -> Option<(usize, usize)> {
        let mut at = 0;
        let mut bytes = 4;
        if code[at] == 0x66 {
            (at, bytes) = (at + 1, 2);
        }
        if code[at] & 0xf0 == 0x40 {
            bytes = if code[at] & 8 != 0 { 8 } else { bytes };
            at += 1;
        }
        match code[at] {
            0xf6 => bytes = 1,
            0xf7 => {}
            _ => return None,
        }
        let operand = code[at + 1];
        if !matches!(operand >> 3 & 7, 6 | 7) {
            return None;
        }
        let (mode, base) = (operand >> 6, operand & 7);
        let has_index = mode != 3 && base == 4;
        let base = if has_index { code[at + 2] & 7 } else { base };
        let displacement = match mode {
            0 if base == 5 => 4,
            1 => 1,
            2 => 4,
            _ => 0,
        };
        Some((at + 2 + usize::from(has_index) + displacement, bytes))
    }
}

#[cfg(target_arch = "aarch64")]
mod machine {
    use corosensei::trap::TrapHandlerRegs;

    pub(super) fn pc(context: &libc::ucontext_t) -> usize {
        context.uc_mcontext.pc as usize
    }

    pub(super) fn sp(context: &libc::ucontext_t) -> usize {
        context.uc_mcontext.sp as usize
    }

    /// Where what was just called returns to.
    pub(super) fn caller(context: &libc::ucontext_t) -> usize {
        context.uc_mcontext.regs[30] as usize
    }

    /// The kernel says it only in a record that libc does not describe.
    pub(super) fn was_write(_: &libc::ucontext_t) -> bool {
        false
    }

    pub(super) fn set(context: &mut libc::ucontext_t, to: &TrapHandlerRegs) {
        let machine = &mut context.uc_mcontext;
        (machine.pc, machine.sp) = (to.pc, to.sp);
        (machine.regs[0], machine.regs[1]) = (to.x0, to.x1);
        (machine.regs[29], machine.regs[30]) = (to.x29, to.lr);
    }

    /// Nothing traps: the result is 0.
    pub(super) fn skip_division(_: &mut libc::ucontext_t) -> bool {
        false
    }
}

use machine::{caller, pc, set, skip_division, sp, was_write};

#[cfg(all(test, target_arch = "x86_64"))]
mod tests {
    use super::machine::division;

    #[test]
    fn divisions_are_as_long_as_they_are() {
        for (code, length, bytes) in [
            (&[0xf7, 0xf1][..], 2, 4),                     // div ecx
            (&[0x48, 0xf7, 0xf9], 3, 8),                   // idiv rcx
            (&[0x66, 0xf7, 0xf1], 3, 2),                   // div cx
            (&[0xf6, 0xf1], 2, 1),                         // div cl
            (&[0x41, 0xf7, 0x37], 3, 4),                   // div dword [r15]
            (&[0xf7, 0x74, 0x24, 0x08], 4, 4),             // div dword [rsp+8]
            (&[0xf7, 0x35, 0, 0, 0, 0], 6, 4),             // div dword [rip]
            (&[0xf7, 0xb6, 0, 1, 0, 0], 6, 4),             // div dword [rsi+256]
            (&[0x48, 0xf7, 0x34, 0xc5, 0, 0, 0, 0], 8, 8), // div qword [rax*8]
        ] {
            let mut all = [0; 15];
            all[..code.len()].copy_from_slice(code);
            assert_eq!(division(&all), Some((length, bytes)), "{code:x?}");
        }
        // neg ecx; add
        assert_eq!(division(&[0xf7, 0xd9, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]), None);
        assert_eq!(division(&[1; 15]), None);
    }
}
