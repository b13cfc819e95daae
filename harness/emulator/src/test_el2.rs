//! A small EL2 for the tests: pages with owners, words of memory, toy registers, locks that are
//! watched, and page calls that fail on request.

use core::cell::{Cell, RefCell};
use its_machine::{HostSide, PageState};
use std::collections::BTreeMap;
use std::vec::Vec;

use its_el2::{AccessSize, El2, Errno, LockName, LockOf, Locks, Redistributor};
use its_gic::command::Words;
use its_gic::geometry::{PAGE_BYTES, Pages};
use its_gic::{Creadr, Ctlr, Cwriter, Register};

/// Linear-map address = physical address + this.
pub(crate) const LINEAR: u64 = 0xffff_0000_0000_0000;
/// The end of the first region of memory.
pub(crate) const END: u64 = 0x8300_0000;
/// Regions of memory: two that touch, and one behind a hole.
const MEMORY: [(u64, u64); 3] =
    [(0x8000_0000, 0x300_0000), (END, 0x1000), (0x9000_0000, 0x10_0000)];
pub(crate) const ITS: [u64; 5] = [0x800_0000, 0x804_0000, 0x808_0000, 0x80c_0000, 0x810_0000];
pub(crate) const REDISTRIBUTORS: [u64; 2] = [0x820_0000, 0x824_0000];

pub(crate) struct TestLock<T> {
    name: LockName,
    value: RefCell<T>,
}

pub(crate) struct TestLocks;

impl Locks for TestLocks {
    type Lock<T> = TestLock<T>;

    fn lock<T>(name: LockName, value: T) -> TestLock<T> {
        let value = RefCell::new(value);
        TestLock { name, value }
    }

    fn copy<T: Clone>(lock: &TestLock<T>) -> TestLock<T> {
        Self::lock(lock.name, lock.value.borrow().clone())
    }
}

/// What EL2 did, where the order matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Did {
    Wrote(u64),
    Zeroed(u64),
    Cleaned(u64, u64),
    Ordered,
    WroteDevice(u64, u64),
}

pub(crate) struct TestEl2 {
    pub(crate) protected: Cell<bool>,
    pub(crate) finalized: Cell<bool>,
    /// The page call of this number (from 1) fails, and no other.
    pub(crate) failing: Cell<u32>,
    pub(crate) page_calls: Cell<u32>,
    pub(crate) words_read: RefCell<Vec<u64>>,
    pub(crate) did: RefCell<Vec<Did>>,
    words: RefCell<BTreeMap<u64, u64>>,
    pages: RefCell<BTreeMap<u64, (PageState, u32)>>,
    pub(crate) devices: RefCell<BTreeMap<u64, u64>>,
    held: RefCell<Vec<LockName>>,
    memory_lock: TestLock<()>,
}

impl TestEl2 {
    pub(crate) fn new() -> Self {
        Self {
            protected: Cell::new(true),
            finalized: Cell::new(true),
            failing: Cell::new(0),
            page_calls: Cell::new(0),
            words_read: RefCell::default(),
            did: RefCell::default(),
            words: RefCell::default(),
            pages: RefCell::default(),
            devices: RefCell::default(),
            held: RefCell::default(),
            memory_lock: TestLocks::lock(LockName::Memory, ()),
        }
    }

    /// Ownership and notes of all pages that are not as after boot.
    pub(crate) fn ownership(&self) -> BTreeMap<u64, (PageState, u32)> {
        let mut pages = self.pages.borrow().clone();
        pages.retain(|_, state| *state != (PageState::HOST, 0));
        pages
    }

    pub(crate) fn page(&self, address: u64) -> PageState {
        self.get(address / PAGE_BYTES).0
    }

    pub(crate) fn set_page(&self, address: u64, state: PageState) {
        self.set(address / PAGE_BYTES, (state, 0));
    }

    /// A load of the host, wherever it is.
    pub(crate) fn load(&self, address: u64) -> u64 {
        *self.words.borrow().get(&address).unwrap_or(&0)
    }

    /// A store of the host, wherever it is.
    pub(crate) fn store(&self, address: u64, value: u64) {
        assert_eq!(address % 8, 0);
        self.words.borrow_mut().insert(address, value);
    }

    pub(crate) fn register(&self, its: u64, register: Register) -> u64 {
        let key = its + register.offset();
        *self.devices.borrow().get(&key).unwrap_or(&0)
    }

    pub(crate) fn set_register(&self, its: u64, register: Register, value: u64) {
        let key = its + register.offset();
        self.devices.borrow_mut().insert(key, value);
    }

    /// The hardware works through `commands` of its queue.
    pub(crate) fn advance(&self, its: u64, commands: u64) {
        let pages = (self.register(its, Register::Cbaser) & 0xff) + 1;
        let next = (self.register(its, Register::Creadr) + commands * 32) % (pages * PAGE_BYTES);
        self.set_register(its, Register::Creadr, next);
    }

    pub(crate) fn stall(&self, its: u64) {
        let creadr = self.register(its, Register::Creadr);
        self.set_register(its, Register::Creadr, creadr | 1);
    }

    fn get(&self, page: u64) -> (PageState, u32) {
        let pages = self.pages.borrow();
        pages.get(&page).copied().unwrap_or((PageState::HOST, 0))
    }

    fn set(&self, page: u64, state: (PageState, u32)) {
        self.pages.borrow_mut().insert(page, state);
    }

    fn change(
        &self,
        pages: Pages,
        from: impl Fn(PageState) -> Result<PageState, Errno>,
    ) -> Result<(), Errno> {
        assert_eq!(self.held.borrow().last(), Some(&LockName::Memory));
        assert!(pages.count > 0, "a change of no pages");
        self.page_calls.set(self.page_calls.get() + 1);
        if self.page_calls.get() == self.failing.get() {
            return Err(Errno::Ebusy);
        }
        if !self.is_memory(pages.first * PAGE_BYTES, pages.count * PAGE_BYTES) {
            return Err(Errno::Eperm);
        }
        let after: Result<Vec<_>, _> = pages.iter().map(|page| from(self.get(page).0)).collect();
        for (page, state) in pages.iter().zip(after?) {
            self.set(page, (state, self.get(page).1));
        }
        Ok(())
    }

    fn one(page: u64) -> Pages {
        Pages { first: page, count: 1 }
    }

    fn assert_mapped(&self, address: u64) {
        assert!(self.is_memory(address, 8), "{address:#x} is no memory");
        let mapped = self.page(address).el2_can_access();
        assert!(mapped, "{address:#x} is not mapped");
    }
}

const SHARED: PageState =
    PageState { host: HostSide::Shared, el2: its_machine::El2Side::Borrowed, pins: 0 };

fn expect(state: PageState, wanted: PageState, then: PageState) -> Result<PageState, Errno> {
    if state == wanted { Ok(then) } else { Err(Errno::Eperm) }
}

impl El2 for TestEl2 {
    type Locks = TestLocks;

    fn is_protected(&self) -> bool {
        self.protected.get()
    }

    fn all_cpus_finalized(&self) -> bool {
        self.finalized.get()
    }

    fn redistributor(&self, index: usize) -> Option<Redistributor> {
        let address = *REDISTRIBUTORS.get(index)?;
        Some(Redistributor { address, processor_number: index as u16 })
    }

    fn read_device(&self, address: u64, size: AccessSize) -> u64 {
        assert_eq!(address % size.bytes(), 0);
        *self.devices.borrow().get(&address).unwrap_or(&0)
    }

    fn write_device(&self, address: u64, size: AccessSize, value: u64) {
        assert_eq!(address % size.bytes(), 0);
        self.did.borrow_mut().push(Did::WroteDevice(address, value));
        let Some(its) = ITS.into_iter().find(|its| (*its..its + 0x1_0000).contains(&address))
        else {
            self.devices.borrow_mut().insert(address, value);
            return;
        };
        let (register, _) = Register::select(address - its, size.bytes()).unwrap();
        let idle = Ctlr::from_bits(self.register(its, Register::Ctlr) as u32);
        match register {
            Register::Cbaser | Register::Baser(_) => {
                assert!(!idle.enabled() && idle.quiescent(), "UNPREDICTABLE");
                self.set_register(its, register, value);
                if register == Register::Cbaser {
                    self.set_register(its, Register::Creadr, 0);
                }
            }
            Register::Cwriter => {
                let cwriter = Cwriter::from_bits(value);
                self.set_register(its, register, cwriter.offset());
                if cwriter.retry() {
                    let creadr = Creadr::from_bits(self.register(its, Register::Creadr));
                    self.set_register(its, Register::Creadr, creadr.offset());
                }
            }
            _ => self.set_register(its, register, value),
        }
    }

    fn warn(&self) {
        panic!("warned");
    }

    fn physical(&self, linear: u64) -> Option<u64> {
        let address = linear.checked_sub(LINEAR)?;
        let (first, last) = (MEMORY[0].0, MEMORY[2].0 + MEMORY[2].1);
        (first..last).contains(&address).then_some(address)
    }

    fn is_memory(&self, address: u64, bytes: u64) -> bool {
        MEMORY.into_iter().any(|(start, length)| {
            address >= start && address.checked_add(bytes).is_some_and(|end| end <= start + length)
        })
    }

    fn read_word(&self, address: u64) -> u64 {
        self.assert_mapped(address);
        self.words_read.borrow_mut().push(address);
        self.load(address)
    }

    fn first_word(&self, address: u64, bytes: u64) -> Option<u64> {
        (address..address + bytes).step_by(8).find(|word| {
            self.assert_mapped(*word);
            self.load(*word) != 0
        })
    }

    fn write_word(&self, address: u64, value: u64) {
        self.assert_mapped(address);
        self.did.borrow_mut().push(Did::Wrote(address));
        self.store(address, value);
    }

    fn read_command(&self, address: u64) -> Words {
        assert_eq!(address % 32, 0);
        self.assert_mapped(address);
        core::array::from_fn(|n| self.load(address + n as u64 * 8))
    }

    fn write_command(&self, address: u64, words: Words) {
        assert_eq!(address % 32, 0);
        self.assert_mapped(address);
        self.did.borrow_mut().push(Did::Wrote(address));
        for (n, word) in (0..).zip(words) {
            self.store(address + n * 8, word);
        }
    }

    fn zero_page(&self, page: u64) {
        self.assert_mapped(page * PAGE_BYTES);
        self.did.borrow_mut().push(Did::Zeroed(page));
        let mut words = self.words.borrow_mut();
        words.retain(|address, _| address / PAGE_BYTES != page);
    }

    fn clean(&self, address: u64, bytes: u64) {
        self.did.borrow_mut().push(Did::Cleaned(address, bytes));
    }

    fn order(&self) {
        self.did.borrow_mut().push(Did::Ordered);
    }

    fn memory_lock(&self) -> &LockOf<Self, ()> {
        &self.memory_lock
    }

    fn share(&self, page: u64) -> Result<(), Errno> {
        self.change(Self::one(page), |state| expect(state, PageState::HOST, SHARED))
    }

    fn unshare(&self, page: u64) -> Result<(), Errno> {
        self.change(Self::one(page), |state| expect(state, SHARED, PageState::HOST))
    }

    fn pin(&self, page: u64) -> Result<(), Errno> {
        self.change(Self::one(page), |state| {
            let pins = state.pins.checked_add(1).ok_or(Errno::Ebusy)?;
            expect(PageState { pins: 0, ..state }, SHARED, PageState { pins, ..SHARED })
        })
    }

    fn unpin(&self, page: u64) -> Result<(), Errno> {
        self.change(Self::one(page), |state| {
            let pins = state.pins.checked_sub(1).ok_or(Errno::Eperm)?;
            Ok(PageState { pins, ..state })
        })
    }

    fn pins(&self, page: u64) -> u16 {
        self.get(page).0.pins
    }

    fn donate(&self, pages: Pages) -> Result<(), Errno> {
        self.change(pages, |state| expect(state, PageState::HOST, PageState::EL2))
    }

    fn reclaim(&self, pages: Pages) -> Result<(), Errno> {
        self.change(pages, |state| expect(state, PageState::EL2, PageState::HOST))
    }

    fn note(&self, page: u64) -> u32 {
        self.get(page).1
    }

    fn set_note(&self, page: u64, note: u32) {
        assert_eq!(self.held.borrow().last(), Some(&LockName::Memory));
        self.set(page, (self.get(page).0, note));
    }

    fn acquire<T>(&self, lock: &LockOf<Self, T>) {
        let mut held = self.held.borrow_mut();
        assert!(held.iter().all(|name| *name < lock.name), "order of locks");
        let is_its = |name: &LockName| matches!(name, LockName::Its(_));
        assert!(!is_its(&lock.name) || !held.iter().any(is_its), "two ITSs");
        held.push(lock.name);
    }

    fn release<T>(&self, lock: &LockOf<Self, T>) {
        assert_eq!(self.held.borrow_mut().pop(), Some(lock.name));
    }

    fn held<T, R>(&self, lock: &LockOf<Self, T>, body: impl FnOnce(&mut T) -> R) -> R {
        body(&mut lock.value.borrow_mut())
    }
}
