//! What C calls, on the [`El2`] that the call of the subject came from.

use std::cell::RefCell;
use std::ffi::c_void;

use its_el2::{El2, LockOf, Locks, Mapped, PageWords};
use its_gic::geometry::Pages;
use its_machine::{AccessSize, Barrier, Errno, LockName, Misconduct};

use crate::access::judge;
use crate::call::{Current, Left, serve};
use crate::image;
use crate::interface::{
    DSB, LOCK_AT, LOCK_ITS, LOCK_MEMORY, LOCK_REDISTRIBUTORS, LOCK_SET_UP, Redistributor,
};
use crate::place::entry;
use crate::subject::refuse;

pub(crate) const MOST_ITS: usize = its_machine::MAX_ITS;
/// Locks by their address that are known at a time.
const MOST_OTHERS: usize = 64;

/// Locks of one emulation; what they protect is C's business.
pub(crate) struct OwnLocks<L: Locks> {
    set_up: L::Lock<()>,
    redistributors: L::Lock<()>,
    its: [L::Lock<()>; MOST_ITS],
    others: [L::Lock<()>; MOST_OTHERS],
    /// Where these are, as far as they were used: physical addresses, or any other numbers.
    at: RefCell<Vec<u64>>,
}

impl<L: Locks> OwnLocks<L> {
    pub(crate) fn new() -> Self {
        let its = std::array::from_fn(|n| L::lock(LockName::Its(n as u8), ()));
        let others = std::array::from_fn(|n| L::lock(LockName::Other(n as u8), ()));
        let [set_up, redistributors] =
            [LockName::SetUp, LockName::Redistributors].map(|name| L::lock(name, ()));
        Self { set_up, redistributors, its, others, at: RefCell::default() }
    }

    /// The same locks, all free.
    pub(crate) fn copy(&self) -> Self {
        Self { at: self.at.clone(), ..Self::new() }
    }

    /// The number of the lock at an address, which stays the same until too many others came.
    fn number(&self, at: u64) -> u32 {
        let mut known = self.at.borrow_mut();
        let place = known.iter().position(|other| *other == at).unwrap_or_else(|| {
            if known.len() == MOST_OTHERS {
                known.clear();
            }
            known.push(at);
            known.len() - 1
        });
        LOCK_AT + place as u32
    }
}

/// An [`El2`] and the locks of the emulation on it.
pub(crate) struct On<'a, E: El2> {
    pub(crate) el2: &'a E,
    pub(crate) locks: &'a OwnLocks<E::Locks>,
}

impl<E: El2> On<'_, E> {
    fn lock(&self, number: u32) -> Option<&LockOf<E, ()>> {
        match number {
            LOCK_SET_UP => Some(&self.locks.set_up),
            LOCK_MEMORY => Some(self.el2.memory_lock()),
            LOCK_REDISTRIBUTORS => Some(&self.locks.redistributors),
            LOCK_AT.. => self.locks.others.get((number - LOCK_AT) as usize),
            _ => {
                let its = number.checked_sub(LOCK_ITS)?;
                self.locks.its.get(usize::try_from(its).ok()?)
            }
        }
    }
}

/// An [`El2`] as one type, whatever it is: what is forwarded, and its locks by number.
macro_rules! object {
    ($(fn $name:ident($($argument:ident: $of:ty),*) $(-> $result:ty)?;)*) => {
        pub(crate) trait Services {
            $(fn $name(&self $(, $argument: $of)*) $(-> $result)?;)*
            fn lock_at(&self, at: u64) -> u32;
            fn acquire(&self, lock: u32) -> bool;
            fn release(&self, lock: u32) -> bool;
        }

        impl<E: Mapped> Services for On<'_, E> {
            $(fn $name(&self $(, $argument: $of)*) $(-> $result)? {
                self.el2.$name($($argument),*)
            })*
            fn lock_at(&self, at: u64) -> u32 {
                self.locks.number(at)
            }
            fn acquire(&self, lock: u32) -> bool {
                self.lock(lock).map(|lock| self.el2.acquire(lock)).is_some()
            }
            fn release(&self, lock: u32) -> bool {
                self.lock(lock).map(|lock| self.el2.release(lock)).is_some()
            }
        }
    };
}

object! {
    fn is_protected() -> bool;
    fn all_cpus_finalized() -> bool;
    fn redistributor(n: usize) -> Option<its_el2::Redistributor>;
    fn read_device(address: u64, size: AccessSize) -> u64;
    fn write_device(address: u64, size: AccessSize, value: u64);
    fn warn();
    fn is_coherent() -> bool;
    fn wait(microseconds: u64);
    fn physical(linear: u64) -> Option<u64>;
    fn is_memory(address: u64, bytes: u64) -> bool;
    fn first_word(address: u64, bytes: u64) -> Option<u64>;
    fn clean(address: u64, bytes: u64);
    fn barrier(barrier: Barrier);
    fn share(page: u64) -> Result<(), Errno>;
    fn unshare(page: u64) -> Result<(), Errno>;
    fn pin(page: u64) -> Result<(), Errno>;
    fn unpin(page: u64) -> Result<(), Errno>;
    fn donate(pages: Pages) -> Result<(), Errno>;
    fn reclaim(pages: Pages) -> Result<(), Errno>;
    fn show(pages: Pages) -> Result<(), Errno>;
    fn hide(pages: Pages) -> Result<(), Errno>;
    fn pins(page: u64) -> u16;
    fn note(page: u64) -> u32;
    fn set_note(page: u64, note: u32);
    fn mapping() -> (*mut u8, usize);
    fn offset(address: u64) -> Option<usize>;
    fn at(offset: usize) -> Option<u64>;
    fn load(address: u64, bytes: u64);
    fn store(address: u64, bytes: u64);
    fn page_words(page: u64) -> PageWords;
    fn put_page_words(page: u64, words: &PageWords);
    fn report_page_read(page: u64, words: &PageWords);
    fn set_up_is_over(arguments: [u64; 4], x1: i64);
    fn set_place(place: u64);
    fn report(misconduct: Misconduct);
    fn convict(misconduct: Misconduct) -> !;
}

macro_rules! services {
    ($(fn $name:ident($($argument:ident: $of:ty),*) -> $result:ty { |$services:ident, $current:ident| $body:expr })*) => {
        $(
            mod $name {
                use super::*;

                extern "C" fn service($($argument: $of),*) -> $result {
                    serve(|$services: &dyn Services, $current: &Current| $body)
                }
                entry!($name, service);
            }
        )*

        /// What is offered to C.
        #[cfg(test)]
        pub(crate) fn prototypes() -> Vec<String> {
            use crate::interface::{InC, prototype};
            vec![$(prototype(
                <$result as InC>::TYPE,
                stringify!($name),
                &[$((<$of as InC>::TYPE, stringify!($argument))),*],
            )),*]
        }
    };
}

services! {
    fn its_is_protected() -> bool { |el2, _current| el2.is_protected() }
    fn its_all_cpus_finalized() -> bool { |el2, _current| el2.all_cpus_finalized() }
    fn its_is_coherent() -> bool { |el2, _current| el2.is_coherent() }
    fn its_redistributor(n: u32, redistributor: *mut Redistributor) -> i32 { |el2, current| {
        let Some(found) = el2.redistributor(n as usize) else {
            return number(Err(Errno::Enodev));
        };
        put(current, redistributor, Redistributor {
            address: found.address,
            processor_number: found.processor_number.into(),
        });
        0
    } }
    fn its_read_device(address: u64, bytes: u32) -> u64 { |el2, _current| {
        el2.read_device(address, size(el2, bytes))
    } }
    fn its_write_device(address: u64, bytes: u32, value: u64) -> () { |el2, _current| {
        el2.write_device(address, size(el2, bytes), value)
    } }
    fn its_warn() -> () { |el2, _current| el2.warn() }
    fn its_panic() -> () { |_el2, current| current.leave(Left::Panicked) }
    fn its_delay(microseconds: u64) -> () { |el2, current| {
        current.work(microseconds);
        el2.wait(microseconds);
    } }
    fn its_from_host(linear: u64, address: *mut u64) -> i32 { |el2, current| {
        let Some(found) = el2.physical(linear) else {
            return number(Err(Errno::Einval));
        };
        put(current, address, found);
        0
    } }
    fn its_to_pointer(address: u64) -> *mut c_void { |el2, _current| {
        let offset = el2.offset(address);
        offset.map_or(std::ptr::null_mut(), |offset| {
            el2.mapping().0.wrapping_add(offset).cast()
        })
    } }
    fn its_from_pointer(pointer: *const c_void) -> u64 { |el2, _current| physical(el2, pointer).unwrap_or(u64::MAX) }
    fn its_is_memory(address: u64, bytes: u64) -> bool { |el2, _current| el2.is_memory(address, bytes) }
    fn its_first_word(pointer: *const c_void, bytes: u64) -> *const c_void { |el2, current| {
        let Some(address) = physical(el2, pointer) else {
            el2.convict(crate::access::stray(pointer.addr(), false));
        };
        // Where it is a set-up's descriptor it is read here for the first time.
        if let Some(descriptor) = current.descriptor() {
            descriptor.loaded(Pages::under(address, bytes), el2);
        }
        let found = el2.first_word(address, bytes).and_then(|found| el2.offset(found));
        found.map_or(std::ptr::null(), |offset| el2.mapping().0.wrapping_add(offset).cast_const().cast())
    } }
    fn its_clean(pointer: *const c_void, bytes: u64) -> () { |el2, _current| {
        // Own data is no device's business.
        if let Some(address) = physical(el2, pointer) {
            if !crate::OBSERVED {
                el2.store(address, bytes);
            }
            el2.clean(address, bytes);
        }
    } }
    fn its_order() -> () { |el2, _current| el2.barrier(Barrier::DSB_SY) }
    fn its_barrier(kind: u32) -> () { |el2, current| {
        let Some(barrier) = barrier(kind) else {
            current.leave(Left::Panicked);
        };
        el2.barrier(barrier);
    } }
    fn its_set_up_is_over(x1: u64, x2: u64, x3: u64, x4: u64, result: i64) -> () { |el2, _current| {
        if cfg!(described) {
            refuse("its_set_up_is_over: with its_subject_describe the hypercall sets up");
        }
        el2.set_up_is_over([x1, x2, x3, x4], result);
    } }
    fn its_share(page: u64) -> i32 { |el2, _current| number(el2.share(page)) }
    fn its_unshare(page: u64) -> i32 { |el2, _current| number(el2.unshare(page)) }
    fn its_pin(page: u64) -> i32 { |el2, _current| number(el2.pin(page)) }
    fn its_unpin(page: u64) -> i32 { |el2, _current| number(el2.unpin(page)) }
    fn its_pins(page: u64) -> u32 { |el2, _current| el2.pins(page).into() }
    fn its_donate(page: u64, pages: u64) -> i32 { |el2, current| {
        let pages = Pages { first: page, count: pages };
        let result = el2.donate(pages);
        if let Some(descriptor) = current.descriptor().filter(|_| result.is_ok()) {
            descriptor.taken(pages, el2);
        }
        number(result)
    } }
    fn its_reclaim(page: u64, pages: u64) -> i32 { |el2, current| {
        let pages = Pages { first: page, count: pages };
        let result = el2.reclaim(pages);
        if let Some(descriptor) = current.descriptor().filter(|_| result.is_ok()) {
            descriptor.reclaimed(pages, el2);
        }
        number(result)
    } }
    fn its_show(page: u64, pages: u64) -> i32 { |el2, _current| {
        number(el2.show(Pages { first: page, count: pages }))
    } }
    fn its_hide(page: u64, pages: u64) -> i32 { |el2, _current| {
        number(el2.hide(Pages { first: page, count: pages }))
    } }
    fn its_note(page: u64) -> u32 { |el2, _current| el2.note(page) }
    fn its_set_note(page: u64, note: u32) -> () { |el2, _current| el2.set_note(page, note) }
    fn its_lock(lock: u32) -> () { |el2, current| {
        if lock >= LOCK_AT || !el2.acquire(lock) {
            current.leave(Left::Panicked);
        }
    } }
    fn its_unlock(lock: u32) -> () { |el2, current| {
        if lock >= LOCK_AT || !el2.release(lock) {
            current.leave(Left::Panicked);
        }
    } }
    fn its_lock_at(lock: *const c_void) -> () { |el2, current| {
        el2.acquire(lock_at(el2, current, lock));
    } }
    fn its_unlock_at(lock: *const c_void) -> () { |el2, current| {
        el2.release(lock_at(el2, current, lock));
    } }
}

/// What ITS_DMB or ITS_DSB and an option stand for.
fn barrier(kind: u32) -> Option<Barrier> {
    let is_dsb = kind >= DSB;
    let option = if is_dsb { kind - DSB } else { kind };
    Barrier::new(is_dsb, option.try_into().ok()?)
}

/// As C returns it.
fn number(result: Result<(), Errno>) -> i32 {
    result.map_or_else(|errno| -(errno as i32), |()| 0)
}

/// The size of a device access. One of no such size is as misplaced as one of no register's.
fn size(el2: &dyn Services, bytes: u32) -> AccessSize {
    match bytes {
        1 => AccessSize::Byte,
        2 => AccessSize::Half,
        4 => AccessSize::Word,
        8 => AccessSize::Double,
        _ => el2.convict(Misconduct::BadDevice { address: 0, size: AccessSize::Byte }),
    }
}

/// The number of the lock at a pointer, into memory or the emulation's own data.
fn lock_at(el2: &dyn Services, current: &Current, pointer: *const c_void) -> u32 {
    let own = image::data().contains(&pointer.addr());
    match physical(el2, pointer) {
        Some(address) => el2.lock_at(address),
        // No physical address.
        None if own => el2.lock_at(!((pointer.addr() - image::data().start) as u64)),
        None => current.leave(Left::Misconduct(crate::access::stray(pointer.addr(), true))),
    }
}

/// The physical address that a pointer is for.
fn physical(el2: &dyn Services, pointer: *const c_void) -> Option<u64> {
    let (start, bytes) = el2.mapping();
    let offset = pointer.addr().checked_sub(start.addr())?;
    (offset < bytes).then(|| el2.at(offset))?
}

/// Stores a result where C wants it, judged as C's own stores are.
fn put<T>(current: &Current, place: *mut T, value: T) {
    // Another CPU may have been inside meanwhile.
    current.resume();
    judge(place.addr(), size_of::<T>(), true);
    // SAFETY: `judge` returns only if all of it is memory that the subject may write: its data, its
    // stack, or the mapping.
    unsafe { place.write_unaligned(value) };
}
