//! The production emulator as a static library for a machine of which the compiler knows nothing.
//!
//! `cargo xtask test --only no-panic` links it into a program from [`entry`] and demands that the
//! panic handler is not in there: then no path of the emulator leads to a panic. With the feature
//! `planted` one does, and the check must fail. The crate stands apart from the workspace because
//! it brings a panic handler of its own.
#![no_std]

use core::cell::Cell;
use core::hint::{black_box, spin_loop};

use its_el2::{
    AccessSize, Direction, El2, Errno, Frame, LockName, LockOf, Locks, Redistributor, Subject, Trap,
};
use its_emulator::Emulator;
use its_gic::command::Words;
use its_gic::geometry::Pages;

#[panic_handler]
fn panic(_: &core::panic::PanicInfo) -> ! {
    loop {
        spin_loop();
    }
}

/// Every answer comes from where the optimizer cannot look.
fn any() -> u64 {
    black_box(0)
}

fn any_result() -> Result<(), Errno> {
    if any() == 0 { Ok(()) } else { Err(Errno::Eperm) }
}

pub struct Anything {
    memory: Lock<()>,
}

/// A lock that waits for ever when it is taken twice.
pub struct Lock<T>(Cell<Option<T>>);

pub struct AnyLocks;

impl Locks for AnyLocks {
    type Lock<T> = Lock<T>;

    fn lock<T>(_: LockName, value: T) -> Lock<T> {
        Lock(Cell::new(Some(value)))
    }

    fn copy<T: Clone>(lock: &Lock<T>) -> Lock<T> {
        let value = lock.0.take();
        lock.0.set(value.clone());
        Lock(Cell::new(value))
    }
}

impl El2 for Anything {
    type Locks = AnyLocks;

    fn is_protected(&self) -> bool {
        any() == 0
    }
    fn all_cpus_finalized(&self) -> bool {
        any() == 0
    }
    fn redistributor(&self, _: usize) -> Option<Redistributor> {
        (any() == 0).then(|| Redistributor { address: any(), processor_number: any() as u16 })
    }
    fn read_device(&self, _: u64, _: AccessSize) -> u64 {
        any()
    }
    fn write_device(&self, address: u64, _: AccessSize, value: u64) {
        black_box((address, value));
    }
    fn warn(&self) {}
    fn physical(&self, _: u64) -> Option<u64> {
        (any() == 0).then(any)
    }
    fn is_memory(&self, _: u64, _: u64) -> bool {
        any() == 0
    }
    fn read_word(&self, _: u64) -> u64 {
        any()
    }
    fn first_word(&self, _: u64, _: u64) -> Option<u64> {
        (any() == 0).then(any)
    }
    fn write_word(&self, address: u64, value: u64) {
        black_box((address, value));
    }
    fn read_command(&self, _: u64) -> Words {
        [any(), any(), any(), any()]
    }
    fn write_command(&self, address: u64, words: Words) {
        black_box((address, words));
    }
    fn zero_page(&self, page: u64) {
        black_box(page);
    }
    fn clean(&self, address: u64, bytes: u64) {
        black_box((address, bytes));
    }
    fn order(&self) {}
    fn memory_lock(&self) -> &Lock<()> {
        &self.memory
    }
    fn share(&self, _: u64) -> Result<(), Errno> {
        any_result()
    }
    fn unshare(&self, _: u64) -> Result<(), Errno> {
        any_result()
    }
    fn pin(&self, _: u64) -> Result<(), Errno> {
        any_result()
    }
    fn unpin(&self, _: u64) -> Result<(), Errno> {
        any_result()
    }
    fn pins(&self, _: u64) -> u16 {
        any() as u16
    }
    fn donate(&self, _: Pages) -> Result<(), Errno> {
        any_result()
    }
    fn reclaim(&self, _: Pages) -> Result<(), Errno> {
        any_result()
    }
    fn note(&self, _: u64) -> u32 {
        any() as u32
    }
    fn set_note(&self, page: u64, note: u32) {
        black_box((page, note));
    }
    fn acquire<T>(&self, _: &LockOf<Self, T>) {}
    fn release<T>(&self, _: &LockOf<Self, T>) {}
    fn held<T, R>(&self, lock: &LockOf<Self, T>, body: impl FnOnce(&mut T) -> R) -> R {
        let Some(mut value) = lock.0.take() else {
            loop {
                spin_loop();
            }
        };
        let result = body(&mut value);
        lock.0.set(Some(value));
        result
    }
}

/// Keeps [`entry`] in the library, which exports no Rust name.
#[used]
static ENTRY: fn() -> u64 = entry;

/// Everything that the host can make the emulator do.
#[inline(never)]
pub fn entry() -> u64 {
    let el2 = Anything { memory: AnyLocks::lock(LockName::Memory, ()) };
    let emulator = Emulator::<AnyLocks>::new(&[any(), any()]);
    let set_up = emulator.set_up(&el2, [any(), any(), any(), any()]);
    let sizes = [AccessSize::Byte, AccessSize::Half, AccessSize::Word, AccessSize::Double];
    let frames = [
        Frame::ItsControl(any() as u8),
        Frame::ItsTranslation(any() as u8),
        Frame::Redistributor(any() as u8),
    ];
    let mut sum = set_up as u64;
    for frame in frames {
        for size in sizes {
            for direction in [Direction::Read, Direction::Write(any())] {
                let trap = Trap { cpu: any() as u8, frame, offset: any(), size, direction };
                sum ^= emulator.trap(&el2, trap);
            }
        }
    }
    sum ^= u64::from(emulator.allows_donation(&el2));
    #[cfg(feature = "planted")]
    {
        let table = [1, 2, 3];
        sum ^= table[any() as usize];
    }
    black_box(sum)
}
