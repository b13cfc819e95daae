//! Loads and stores of code that was compiled with outline KASAN callbacks, and block copies of any
//! code: each is judged before it is made.

use std::ffi::c_void;
use std::ops::Range;

use its_gic::geometry::Pages;
use its_machine::Misconduct;

use crate::call::{Left, current, serve};
use crate::image;
use crate::place::entry;

/// Addresses from here on are nobody's null pointer.
const NULL_END: usize = 0x1_0000;

/// Bytes of stack that a judge of an access needs at most, whatever the compiler makes of it.
const LEAST_STACK: usize = 0x1_0000;

/// Returns if the emulation may touch these bytes now; abandons its call otherwise.
pub(crate) fn judge(address: usize, bytes: usize, write: bool) {
    let current = current();
    // What follows needs room on the stack of the call. C code that overflows it in between traps.
    let here = (&raw const current).addr();
    if current.stack.contains(&here) && here - current.stack.start < LEAST_STACK {
        current.leave(Left::Misconduct(stray(usize::MAX, true)));
    }
    current.work(1);
    if within(&current.stack, address, bytes)
        || within(&image::data(), address, bytes)
        || !write && within(&image::rodata(), address, bytes)
    {
        return;
    }
    if !within(&current.memory, address, bytes) {
        current.leave(Left::Misconduct(stray(address, write)));
    }
    if bytes == 0 {
        return;
    }
    let offset = address - current.memory.start;
    serve(|el2, _| {
        let Some(physical) = el2.at(offset) else {
            el2.convict(stray(usize::MAX, write));
        };
        if write {
            return el2.store(physical, bytes as u64);
        } else {
            el2.load(physical, bytes as u64)
        }
        if let Some(descriptor) = current.descriptor() {
            descriptor.loaded(Pages::under(physical, bytes as u64), el2);
        }
    });
}

/// An access to what is neither memory of the machine nor the emulation's own. Other addresses than
/// those near null are not the same in every process.
pub(crate) fn stray(address: usize, write: bool) -> Misconduct {
    let null = (address < NULL_END).then_some(address as u16);
    Misconduct::Stray { null, write }
}

fn within(range: &Range<usize>, address: usize, bytes: usize) -> bool {
    address >= range.start && address < range.end && bytes <= range.end - address
}

macro_rules! callbacks {
    ($($name:ident $bytes:literal $write:literal),*) => {
        $(mod $name {
            use super::*;

            extern "C" fn access(address: usize) {
                judge(address, $bytes, $write);
            }

            entry!($name, access);
        })*
    };
}

callbacks!(
    itsdiff_load1 1 false, itsdiff_store1 1 true,
    itsdiff_load2 2 false, itsdiff_store2 2 true,
    itsdiff_load4 4 false, itsdiff_store4 4 true,
    itsdiff_load8 8 false, itsdiff_store8 8 true,
    itsdiff_load16 16 false, itsdiff_store16 16 true
);

extern "C" fn load_n(address: usize, bytes: usize) {
    judge(address, bytes, false);
}

extern "C" fn store_n(address: usize, bytes: usize) {
    judge(address, bytes, true);
}

entry!(itsdiff_load_n, load_n);
entry!(itsdiff_store_n, store_n);

/// Called before functions that do not return.
// SAFETY: no other crate defines a symbol of this name.
#[unsafe(no_mangle)]
extern "C" fn itsdiff_no_return() {}

// Compilers ask for them by these names, and instrumented code by others: a symbol is renamed to
// one that no other is.
entry!(itsdiff_memcpy, copy);
entry!(itsdiff_memmove, copy);
entry!(itsdiff_asan_memcpy, copy);
entry!(itsdiff_asan_memmove, copy);
entry!(itsdiff_memset, fill);
entry!(itsdiff_asan_memset, fill);

extern "C" fn copy(to: *mut c_void, from: *const c_void, bytes: usize) -> *mut c_void {
    if bytes > 0 {
        judge(from.addr(), bytes, false);
        judge(to.addr(), bytes, true);
        // SAFETY: both were judged: memory of the machine or of the emulation, which no reference
        // of Rust's is into.
        unsafe { to.cast::<u8>().copy_from(from.cast(), bytes) };
    }
    to
}

extern "C" fn fill(to: *mut c_void, value: i32, bytes: usize) -> *mut c_void {
    if bytes > 0 {
        judge(to.addr(), bytes, true);
        // SAFETY: as above.
        unsafe { to.cast::<u8>().write_bytes(value as u8, bytes) };
    }
    to
}
