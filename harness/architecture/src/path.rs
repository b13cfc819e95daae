//! All ways in which something can go, by running its description once for each.
//!
//! A description is plain sequential code that asks a [`Path`] at each choice. [`explore`] runs it
//! until every combination of answers was given, so that the set of allowed outcomes is never
//! written down by hand.

use its_machine::freedom::Choice;
use its_machine::{Freedom, Freedoms};

use crate::cells::{Entry, Slot};
use crate::possible::{Possible, Truth};

/// Why the architecture no longer says what happens.
pub type Undefined = &'static str;

/// Why nothing is said of a command that reads an entry which somebody else wrote.
pub(crate) const UNKNOWN_MEMORY: Undefined =
    "a command depends on memory that the reference does not know";

/// Ways that are kept apart; beyond these nothing is known.
const MOST_WAYS: usize = 256;

/// One thing that a way changes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Change {
    /// The ITS writes an entry, or takes another for it.
    Entry(Slot, Possible<Entry>),
    /// An LPI of a redistributor is pending, or not.
    Pending(u8, u32, Truth),
    /// Nothing is known of what is pending at a redistributor.
    PendingUnknown(u8),
    /// A redistributor forgets the cached configuration of these LPIs, or of all.
    Forget(u8, Option<Vec<u32>>),
    /// Nothing is known of what these bytes at an address hold, ever.
    Taint(u64, u64),
    /// Effects of an ITS that wait for a SYNC of a redistributor are there.
    Settle(u8, u8),
    /// Effects on this device's events no longer wait.
    SettleDevice(u8, u32),
}

/// One way, as far as it was gone.
pub(crate) struct Path {
    freedoms: Freedoms,
    /// Which of how many, at each choice.
    trail: Vec<(usize, usize)>,
    next: usize,
    /// Options taken where there were several.
    pub(crate) choices: Vec<(Freedom, &'static str)>,
    /// What entries were taken to hold.
    pub(crate) assumed: Vec<(Slot, Entry)>,
    pub(crate) changes: Vec<Change>,
}

impl Path {
    fn one_of(&mut self, count: usize) -> usize {
        if count < 2 {
            return 0;
        }
        if self.next == self.trail.len() {
            self.trail.push((0, count));
        }
        self.next += 1;
        self.trail[self.next - 1].0
    }

    /// An option of a freedom.
    pub(crate) fn choose<C: Choice>(&mut self) -> C {
        let freedoms = self.freedoms;
        let allowed: Vec<usize> =
            (0..C::ALL.len()).filter(|option| freedoms.allow(C::ALL[*option])).collect();
        let option = allowed[self.one_of(allowed.len())];
        let facts = C::FREEDOM.facts();
        self.choices.push((C::FREEDOM, facts.options[option]));
        C::ALL[option]
    }

    /// What an entry holds.
    pub(crate) fn read(
        &mut self,
        slot: Slot,
        possible: &Possible<Entry>,
    ) -> Result<Entry, Undefined> {
        let before = self.assumed.iter().find(|(of, _)| *of == slot);
        if let Some((_, entry)) = before {
            return Ok(*entry);
        }
        let Possible::Of(values) = possible else {
            return Err(UNKNOWN_MEMORY);
        };
        let entry = values[self.one_of(values.len())];
        self.assumed.push((slot, entry));
        Ok(entry)
    }

    /// One of several values.
    pub(crate) fn any<T: Copy>(&mut self, values: &[T]) -> T {
        values[self.one_of(values.len())]
    }

    pub(crate) fn maybe(&mut self) -> bool {
        self.one_of(2) == 1
    }
}

/// Every way, with what it led to; an error when there are too many.
pub(crate) fn explore<R>(
    freedoms: &Freedoms,
    mut run: impl FnMut(&mut Path) -> R,
) -> Result<Vec<(Path, R)>, Undefined> {
    let mut ways = Vec::new();
    let mut trail = Vec::new();
    loop {
        let mut path = Path {
            freedoms: *freedoms,
            trail,
            next: 0,
            choices: Vec::new(),
            assumed: Vec::new(),
            changes: Vec::new(),
        };
        let result = run(&mut path);
        trail = path.trail.clone();
        ways.push((path, result));
        if ways.len() > MOST_WAYS {
            return Err("too much is open at once");
        }
        while let Some((option, count)) = trail.pop() {
            if option + 1 < count {
                trail.push((option + 1, count));
                break;
            }
        }
        if trail.is_empty() {
            return Ok(ways);
        }
    }
}
