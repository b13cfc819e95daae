//! The linked emulation as a [`Subject`].

use std::cell::Cell;
use std::sync::{Arc, OnceLock};

use its_el2::{Direction, Frame, Locks, Mapped, Subject, SubjectPolicy, Trap};

use crate::call::{Inside, enter, enter_alone};
use crate::image::Image;
use crate::interface::{
    self, FRAME_CONTROL, FRAME_REDISTRIBUTOR, FRAME_TRANSLATION, Machine, Policy,
};
use crate::services::{MOST_ITS, On, OwnLocks};

/// Whether each load and store of the emulation is seen.
pub const OBSERVED: bool = cfg!(observed);

/// Writable data as the program was loaded.
static PRISTINE: OnceLock<Arc<Image>> = OnceLock::new();

thread_local! {
    /// What was created last, as it was then.
    static CREATED: Cell<Option<Arc<Image>>> = const { Cell::new(None) };
}

/// The emulation that this program was built with.
pub struct Foreign<L: Locks> {
    image: Arc<Image>,
    locks: OwnLocks<L>,
    policy: SubjectPolicy,
}

impl<L: Locks> Foreign<L> {
    /// As it is when a machine starts, with the control frames of its ITSs at these addresses and so many redistributors.
    ///
    /// # Panics
    /// It was compiled with another version of the header, or cannot be created.
    pub fn new(its: &[u64], redistributors: u32) -> Self {
        // SAFETY: a constant of the emulation's.
        let version = unsafe { interface::its_subject_abi };
        let ours = interface::VERSION;
        assert_eq!(
            version, ours,
            "the subject was compiled with itsdiff.h of version {version}; this is {ours}"
        );
        let _inside = Inside::new();
        let pristine = PRISTINE.get_or_init(Image::of_now);
        destroy_last();
        let image = pristine.copy();
        image.put_in_place();
        let mut control = [0; MOST_ITS];
        for (place, address) in control.iter_mut().zip(its) {
            *place = *address;
        }
        let machine = Machine {
            its: its.len() as u32,
            redistributors,
            control,
        };
        let policy = create(machine);
        CREATED.set(Some(image.copy()));
        Self {
            policy,
            image,
            locks: OwnLocks::new(),
        }
    }

    /// Lets the emulation do something on `el2`.
    fn call<E: Mapped<Locks = L>>(&self, el2: &E, function: impl FnOnce() -> u64) -> u64 {
        let _inside = Inside::new();
        if self.image.put_in_place() {
            // Nothing but what is outside of its data can be in its way.
            let reset = enter_alone(|| {
                // SAFETY: the emulation's function, on a stack of its own.
                unsafe { interface::its_subject_reset() };
                0
            });
            reset.unwrap_or_else(|why| panic!("its_subject_reset {why}"));
        }
        let on = On {
            el2,
            locks: &self.locks,
        };
        if !OBSERVED {
            el2.expect_untold_stores();
        }
        enter(&on, function)
    }
}

/// Destroys what was created last.
fn destroy_last() {
    let Some(created) = CREATED.take() else {
        return;
    };
    created.put_in_place();
    let destroyed = enter_alone(|| {
        // SAFETY: the emulation's function, on a stack of its own.
        unsafe { interface::its_subject_destroy() };
        0
    });
    destroyed.unwrap_or_else(|why| panic!("its_subject_destroy {why}"));
}

/// Creates the emulation whose data is in place, and asks what it declares.
fn create(machine: Machine) -> SubjectPolicy {
    let created = enter_alone(|| {
        // What C is given a pointer to lies on its own stack.
        let machine = std::hint::black_box(machine);
        // SAFETY: the emulation's function, on a stack of its own; the pointer is valid meanwhile.
        let result = unsafe { interface::its_subject_create(&machine) };
        result as u32 as u64
    });
    match created {
        Ok(0) => {}
        Ok(result) => panic!("its_subject_create returned {}", result as u32 as i32),
        Err(why) => panic!("its_subject_create {why}"),
    }
    let declared = enter_alone(|| {
        let mut policy = Policy::default();
        // SAFETY: as above.
        unsafe { interface::its_subject_policy(&mut policy) };
        u64::from(policy.records_per_page) << 32 | u64::from(policy.commands_in_flight)
    });
    let declared = declared.unwrap_or_else(|why| panic!("its_subject_policy {why}"));
    SubjectPolicy {
        records_per_page: (declared >> 32) as u32,
        commands_in_flight: declared as u32,
    }
}

impl<L: Locks> Clone for Foreign<L> {
    /// The emulation as it is now, with locks of its own. No call is in progress.
    fn clone(&self) -> Self {
        let _inside = Inside::new();
        Self {
            image: self.image.copy(),
            locks: OwnLocks::new(),
            policy: self.policy,
        }
    }
}

impl<L: Locks, E: Mapped<Locks = L>> Subject<E> for Foreign<L> {
    fn policy(&self) -> SubjectPolicy {
        self.policy
    }

    fn set_up(&self, el2: &E, [x1, x2, x3, x4]: [u64; 4]) -> i64 {
        // SAFETY: the emulation's function, on a stack of its own.
        self.call(
            el2,
            || unsafe { interface::its_subject_set_up(x1, x2, x3, x4) } as u64,
        ) as i64
    }

    fn trap(&self, el2: &E, trap: Trap) -> u64 {
        let (frame, index) = match trap.frame {
            Frame::ItsControl(n) => (FRAME_CONTROL, n),
            Frame::ItsTranslation(n) => (FRAME_TRANSLATION, n),
            Frame::Redistributor(n) => (FRAME_REDISTRIBUTOR, n),
        };
        let (write, value) = match trap.direction {
            Direction::Read => (0, 0),
            Direction::Write(value) => (1, value),
        };
        self.call(el2, || {
            let trap = std::hint::black_box(interface::Trap {
                cpu: trap.cpu.into(),
                frame,
                index: index.into(),
                bytes: trap.size.bytes() as u32,
                offset: trap.offset,
                write,
                zero: 0,
                value,
            });
            // SAFETY: the emulation's function, on a stack of its own; the pointer is valid meanwhile.
            unsafe { interface::its_subject_trap(&trap) }
        })
    }

    fn allows_donation(&self, el2: &E) -> bool {
        self.call(el2, || {
            // SAFETY: the emulation's function, on a stack of its own.
            unsafe { interface::its_subject_allows_donation() }.into()
        }) != 0
    }
}
