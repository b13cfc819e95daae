//! Edges of code that was compiled with gcc's `-fsanitize-coverage=trace-pc`, as counters that libFuzzer reads. Clang's own
//! counters need nothing of this.

use std::sync::atomic::{AtomicU8, Ordering};

use its_el2::Misconduct;

use crate::call::{Left, current};
use crate::{faults, image};

const COUNTERS: usize = 1 << 14;

// SAFETY: the section's name is libFuzzer's for counters of others; nothing but bytes stands in it.
#[unsafe(link_section = "__libfuzzer_extra_counters")]
static EDGES: [AtomicU8; COUNTERS] = [const { AtomicU8::new(0) }; COUNTERS];

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
        current().leave(Left::Misconduct(Misconduct::TooMuchWork));
    }
    let place = returns_to.wrapping_sub(image::text().start);
    // Neighbours are a few bytes apart.
    let counter = &EDGES[(place ^ (place >> 14)) % COUNTERS];
    counter.store(
        counter.load(Ordering::Relaxed).wrapping_add(1),
        Ordering::Relaxed,
    );
}
