//! Edges of code that was compiled with `-fsanitize-coverage=trace-pc`, counted for the engine that
//! this program is built for. Clang's own counters lie among those of the rest of the program,
//! which registers them with libFuzzer.

use std::hash::{DefaultHasher, Hash, Hasher};
#[cfg(not(any(engine = "afl", engine = "honggfuzz")))]
use std::sync::atomic::AtomicU8;
use std::sync::atomic::{AtomicU64, Ordering};

use its_machine::Misconduct;

use crate::call::{Left, current};
use crate::{faults, image, place};

const COUNTERS: usize = 1 << 14;

#[cfg(not(any(engine = "afl", engine = "honggfuzz")))]
// SAFETY: the section's name is libFuzzer's for counters of others; nothing but bytes stands in it.
#[unsafe(link_section = "__libfuzzer_extra_counters")]
static EDGES: [AtomicU8; COUNTERS] = [const { AtomicU8::new(0) }; COUNTERS];

/// Counts an edge, by a number below [`COUNTERS`].
#[cfg(not(any(engine = "afl", engine = "honggfuzz")))]
fn count(edge: usize) {
    let counter = &EDGES[edge];
    counter.store(counter.load(Ordering::Relaxed).wrapping_add(1), Ordering::Relaxed);
}

#[cfg(engine = "afl")]
unsafe extern "C" {
    /// AFL's map of edges and its length, once it runs.
    static mut __afl_area_ptr: *mut u8;
    static mut __afl_map_size: u32;
}

#[cfg(engine = "afl")]
fn count(edge: usize) {
    // SAFETY: AFL's runtime sets both before anything of the target runs; no other thread is at
    // work meanwhile.
    unsafe {
        let counter = __afl_area_ptr.add(edge % __afl_map_size as usize);
        counter.write(counter.read().wrapping_add(1));
    }
}

#[cfg(engine = "honggfuzz")]
unsafe extern "C" {
    safe fn hfuzz_trace_pc(pc: usize);
}

#[cfg(engine = "honggfuzz")]
fn count(edge: usize) {
    hfuzz_trace_pc(edge);
}

/// The edges that the current entry took, or the last one, a bit each. One thread is inside the
/// emulation at a time.
static TAKEN: [AtomicU64; COUNTERS / 64] = [const { AtomicU64::new(0) }; COUNTERS / 64];

/// An entry begins.
pub(crate) fn start() {
    TAKEN.iter().for_each(|word| word.store(0, Ordering::Relaxed));
}

/// Returns a number for the edges that were taken since; 0 if none were announced.
pub(crate) fn taken() -> u64 {
    let words = TAKEN.each_ref().map(|word| word.load(Ordering::Relaxed));
    if words.iter().all(|word| *word == 0) {
        return 0;
    }
    // Its keys are fixed: the same edges give the same number in every process.
    let mut hasher = DefaultHasher::new();
    words.hash(&mut hasher);
    hasher.finish()
}

fn note(edge: usize) {
    let word = &TAKEN[edge / 64];
    word.store(word.load(Ordering::Relaxed) | 1 << (edge % 64), Ordering::Relaxed);
}

// The callback is given nothing: where it returns to is the edge.
#[cfg(target_arch = "x86_64")]
std::arch::global_asm!(
    ".globl itsdiff_trace_pc",
    "itsdiff_trace_pc:",
    "mov rdi, [rsp]",
    "jmp {}",
    sym edge
);
#[cfg(target_arch = "aarch64")]
std::arch::global_asm!(
    ".globl itsdiff_trace_pc",
    "itsdiff_trace_pc:",
    "mov x0, x30",
    "b {}",
    sym edge
);

extern "C" fn edge(returns_to: usize) {
    if faults::expired() {
        place::trapped(returns_to - 1);
        current().leave(Left::Misconduct(Misconduct::TooMuchWork));
    }
    let place = returns_to.wrapping_sub(image::text().start);
    // Neighbours are a few bytes apart.
    let edge = (place ^ (place >> 14)) % COUNTERS;
    note(edge);
    count(edge);
}

// Clang's constructors register counters; those of the program's own code register the same ones.
// SAFETY: no other crate defines a symbol of this name.
#[unsafe(no_mangle)]
extern "C" fn itsdiff_counters(_start: *const u8, _end: *const u8) {}

// SAFETY: no other crate defines a symbol of this name.
#[unsafe(no_mangle)]
extern "C" fn itsdiff_edges(_start: *const u8, _end: *const u8) {}
