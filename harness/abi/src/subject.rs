//! The linked emulation as a [`Subject`].

use std::cell::Cell;
use std::sync::{Arc, OnceLock};

use its_el2::{Locks, Mapped, Subject, SubjectPolicy, Trap};
use its_machine::{Direction, Frame};

use crate::call::{Inside, enter, enter_alone};
use crate::coverage;
use crate::descriptor::{self, Descriptor, Layouts};
use crate::image::Image;
use crate::interface::{
    self, FRAME_CONTROL, FRAME_REDISTRIBUTOR, FRAME_TRANSLATION, Machine, Policy,
};
use crate::place;
use crate::services::{MOST_ITS, On, OwnLocks};

/// Whether each load and store of the emulation is seen.
pub const OBSERVED: bool = cfg!(observed);

/// ITSs and redistributors of a board for an emulation that says nothing of them.
const UNSAID: u32 = 2;
/// What POLICY.md says (P6); `struct its_policy` has no field for it.
const EVENT_ID_BITS: u32 = 16;
/// What POLICY.md says (S5), likewise.
const PRIVATE_PAGES: u32 = 1024;

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
    layouts: Layouts,
}

impl<L: Locks> Foreign<L> {
    /// As it is when a machine starts.
    ///
    /// Where it was compiled with another version of the header, or cannot be created, the program
    /// says so and ends.
    pub fn new(machine: &its_machine::Machine) -> Self {
        // SAFETY: a constant of the emulation's.
        let version = unsafe { interface::its_subject_abi };
        let ours = interface::VERSION;
        if !(interface::OLDEST..=ours).contains(&version) {
            refuse(&format!(
                "it was compiled with itsdiff.h of version {version}; this is version {ours}"
            ));
        }
        let _inside = Inside::new();
        let pristine = PRISTINE.get_or_init(Image::of_now);
        destroy_last();
        let image = pristine.copy();
        image.put_in_place();
        let mut control = [0; MOST_ITS];
        for (place, address) in control.iter_mut().zip(machine.its) {
            *place = *address;
        }
        let redistributors = machine.redistributors.len() as u32;
        let machine = Machine { its: machine.its.len() as u32, redistributors, control };
        let policy = create(machine);
        CREATED.set(Some(image.copy()));
        Self { policy, image, locks: OwnLocks::new(), layouts: Layouts::default() }
    }

    /// Puts its data in place.
    fn ready<E: Mapped<Locks = L>>(&self, el2: &E) -> Inside {
        let inside = Inside::new();
        if self.image.put_in_place() {
            alone("its_subject_reset", || {
                // SAFETY: the emulation's function, on a stack of its own.
                unsafe { interface::its_subject_reset() };
                0
            });
        }
        if !OBSERVED {
            el2.expect_unreported_stores();
        }
        inside
    }

    /// Lets the emulation do something on `el2`.
    fn call<E: Mapped<Locks = L>>(&self, el2: &E, function: impl FnOnce() -> u64) -> u64 {
        let _inside = self.ready(el2);
        enter(&self.on(el2), None, function)
    }

    fn on<'a, E: Mapped<Locks = L>>(&'a self, el2: &'a E) -> On<'a, E> {
        On { el2, locks: &self.locks }
    }
}

/// Runs a function of the emulation where there is no machine.
pub(crate) fn alone(name: &str, function: impl FnOnce() -> u64) -> u64 {
    enter_alone(function).unwrap_or_else(|why| refuse(&format!("{name} {why}")))
}

/// Nothing can be played on this emulation. Callers may be called by C, which nothing can unwind
/// through.
pub(crate) fn refuse(why: &str) -> ! {
    eprintln!("error: the subject cannot be played on: {why}");
    // As the tools end where what they were given is not as it must be.
    std::process::exit(2)
}

fn destroy_last() {
    let Some(created) = CREATED.take() else {
        return;
    };
    created.put_in_place();
    alone("its_subject_destroy", || {
        // SAFETY: the emulation's function, on a stack of its own.
        unsafe { interface::its_subject_destroy() };
        0
    });
}

/// Creates the emulation whose data is in place, and asks what it declares.
fn create(machine: Machine) -> SubjectPolicy {
    let created = alone("its_subject_create", || {
        // What C is given a pointer to lies on its own stack.
        let machine = std::hint::black_box(machine);
        // SAFETY: the emulation's function, on a stack of its own; the pointer is valid meanwhile.
        let result = unsafe { interface::its_subject_create(&machine) };
        result as u32 as u64
    });
    if created != 0 {
        let result = created as u32 as i32;
        refuse(&format!("its_subject_create returned {result}"));
    }
    let declared = Cell::new(Policy::default());
    alone("its_subject_policy", || {
        let mut policy = Policy::default();
        // SAFETY: as above.
        unsafe { interface::its_subject_policy(&mut policy) };
        declared.set(policy);
        0
    });
    let Policy { records_per_page, commands_in_flight, its, redistributors } = declared.get();
    let its = if its == 0 { UNSAID } else { its };
    SubjectPolicy {
        records_per_page,
        commands_in_flight,
        // A look takes back all that is in flight, and may fill all of it again (P9).
        commands_per_trap: commands_in_flight,
        guarded_its: its,
        its,
        redistributors: if redistributors == 0 { UNSAID } else { redistributors },
        event_id_bits: EVENT_ID_BITS,
        private_pages: PRIVATE_PAGES,
    }
}

impl<L: Locks> Clone for Foreign<L> {
    /// The emulation as it is now, with locks of its own. No call is in progress.
    fn clone(&self) -> Self {
        let _inside = Inside::new();
        Self {
            image: self.image.copy(),
            locks: self.locks.copy(),
            policy: self.policy,
            layouts: Layouts::default(),
        }
    }
}

impl<L: Locks, E: Mapped<Locks = L>> Subject<E> for Foreign<L> {
    fn policy(&self) -> SubjectPolicy {
        self.policy
    }

    fn is_observed(&self) -> bool {
        OBSERVED
    }

    fn is_external(&self) -> bool {
        true
    }

    fn source(&self, place: u64) -> Option<&'static str> {
        place::source(place)
    }

    fn edges(&self) -> u64 {
        coverage::taken()
    }

    fn set_up(&self, el2: &E, arguments: [u64; 4]) -> i64 {
        let _inside = self.ready(el2);
        let on = self.on(el2);
        let descriptor = Descriptor::new(el2, arguments, &self.layouts);
        let [x1, x2, x3, x4] = descriptor::arguments(el2, arguments, &self.layouts);
        if let Some(descriptor) = &descriptor {
            descriptor.report(el2, &on);
        }
        let result = enter(&on, descriptor.as_ref(), || {
            // SAFETY: the emulation's function, on a stack of its own.
            unsafe { interface::its_subject_set_up(x1, x2, x3, x4) as u64 }
        });
        if let Some(descriptor) = descriptor {
            descriptor.end(el2);
        }
        result as i64
    }

    #[cfg(redistributors)]
    fn set_up_redistributors(&self, el2: &E, [x1, x2, x3, x4]: [u64; 4]) -> i64 {
        self.call(el2, || {
            // SAFETY: the emulation's function, on a stack of its own.
            unsafe { interface::its_subject_set_up_redistributors(x1, x2, x3, x4) as u64 }
        }) as i64
    }

    #[cfg(tear_down)]
    fn tear_down(&self, el2: &E, [x1, x2, x3, x4]: [u64; 4]) -> i64 {
        self.call(el2, || {
            // SAFETY: the emulation's function, on a stack of its own.
            unsafe { interface::its_subject_tear_down(x1, x2, x3, x4) as u64 }
        }) as i64
    }

    fn awaits_finalize(&self) -> bool {
        cfg!(finalized)
    }

    #[cfg(finalized)]
    fn finalized(&self, el2: &E) {
        self.call(el2, || {
            // SAFETY: the emulation's function, on a stack of its own.
            unsafe { interface::its_subject_finalized() };
            0
        });
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
            // SAFETY: the emulation's function, on a stack of its own; the pointer is valid
            // meanwhile.
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
