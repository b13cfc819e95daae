//! The emulation's writable data, which is its state: taken and put back as a whole.

use std::ops::Range;
use std::sync::{Arc, Mutex, PoisonError};

// Where the prepared archive has its parts. An emulation without one of them has none of these
// symbols.
std::arch::global_asm!(
    ".weak __start_itsdiff_data",
    ".weak __stop_itsdiff_data",
    ".weak __start_itsdiff_rodata",
    ".weak __stop_itsdiff_rodata",
    ".weak __start_itsdiff_text",
    ".weak __stop_itsdiff_text",
    ".pushsection .data.rel.ro.itsdiff_parts, \"aw\"",
    ".balign 8",
    ".globl itsdiff_parts",
    "itsdiff_parts:",
    ".quad __start_itsdiff_data, __stop_itsdiff_data",
    ".quad __start_itsdiff_rodata, __stop_itsdiff_rodata",
    ".quad __start_itsdiff_text, __stop_itsdiff_text",
    ".popsection",
);

unsafe extern "C" {
    static itsdiff_parts: [usize; 6];
}

/// Addresses of the emulation's parts in this process.
pub(crate) fn data() -> Range<usize> {
    part(0)
}

pub(crate) fn rodata() -> Range<usize> {
    part(1)
}

pub(crate) fn text() -> Range<usize> {
    part(2)
}

fn part(n: usize) -> Range<usize> {
    // SAFETY: constants, which the linker wrote before the program ran.
    unsafe { itsdiff_parts[2 * n]..itsdiff_parts[2 * n + 1] }
}

/// The data as it was at some moment, or as it is now while it is the one in place.
pub(crate) struct Image(Mutex<Arc<[u8]>>);

static LIVE: Mutex<Option<Arc<Image>>> = Mutex::new(None);

impl Image {
    /// What is in place now, which is nobody's yet.
    pub(crate) fn of_now() -> Arc<Self> {
        Arc::new(Self(Mutex::new(read())))
    }

    /// Another that begins as this one is now.
    pub(crate) fn copy(self: &Arc<Self>) -> Arc<Self> {
        let live = lock(&LIVE);
        let bytes = match &*live {
            Some(live) if Arc::ptr_eq(live, self) => read(),
            _ => lock(&self.0).clone(),
        };
        Arc::new(Self(Mutex::new(bytes)))
    }

    /// Puts it in place; whether it was not. The caller keeps other threads out.
    pub(crate) fn put_in_place(self: &Arc<Self>) -> bool {
        let mut live = lock(&LIVE);
        if live.as_ref().is_some_and(|live| Arc::ptr_eq(live, self)) {
            return false;
        }
        // Nobody else can ask for one that only this has.
        if let Some(before) = live.take()
            && Arc::strong_count(&before) > 1
        {
            *lock(&before.0) = read();
        }
        write(&lock(&self.0));
        *live = Some(self.clone());
        true
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn read() -> Arc<[u8]> {
    let data = data();
    if data.is_empty() {
        return Arc::new([]);
    }
    let start = std::ptr::with_exposed_provenance::<u8>(data.start);
    // SAFETY: the linker's symbols bound a section of this program; no code of the emulation runs
    // now, in any thread.
    unsafe { std::slice::from_raw_parts(start, data.len()) }.into()
}

fn write(bytes: &[u8]) {
    let data = data();
    assert_eq!(bytes.len(), data.len());
    if bytes.is_empty() {
        return;
    }
    let start = std::ptr::with_exposed_provenance_mut::<u8>(data.start);
    // SAFETY: as in `read`; the section is writable, and no reference of Rust's is into it.
    unsafe { start.copy_from_nonoverlapping(bytes.as_ptr(), bytes.len()) };
}
