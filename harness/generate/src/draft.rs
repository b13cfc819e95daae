//! A scenario under construction: where choices come from and operations go to.

use arbitrary::Unstructured;
use its_machine::{Area, Frame, ItsConfiguration, MAX_ITS, Place};
use its_scenario::{Boot, DRAWN_OPERATIONS, Operation};

use crate::expected::ExpectedState;

/// A few operations that belong together.
pub(crate) type Phrase = fn(&mut Draft<'_, '_>);

/// Returns the value in whose weight a number lies that counts from the first weight on; `None`
/// beyond them all.
pub(crate) fn by_weight<'v, T: Copy + 'v>(
    number: u64,
    weights: impl IntoIterator<Item = &'v (T, u64)>,
) -> Option<T> {
    let mut end = 0_u64;
    let mut weights = weights.into_iter();
    let found = weights.find(|(_, weight)| {
        end = end.saturating_add(*weight);
        number < end
    });
    found.map(|(value, _)| *value)
}

/// Choices and operations. Choices never fail: where the bytes end, they are the first.
pub(crate) struct Draft<'d, 'u> {
    u: &'d mut Unstructured<'u>,
    pub(crate) expected: ExpectedState,
    operations: Vec<Operation>,
}

impl<'d, 'u> Draft<'d, 'u> {
    pub(crate) fn new(
        u: &'d mut Unstructured<'u>,
        configurations: [ItsConfiguration; MAX_ITS],
        boot: Boot,
    ) -> Self {
        Self { u, expected: ExpectedState::new(configurations, boot), operations: Vec::new() }
    }

    /// Follows operations that come before this draft.
    pub(crate) fn follow(&mut self, before: &[Operation]) {
        for operation in before {
            self.expected.follow(operation);
        }
    }

    pub(crate) fn push(&mut self, operation: Operation) {
        if self.operations.len() < DRAWN_OPERATIONS {
            self.expected.follow(&operation);
            self.operations.push(operation);
        }
    }

    pub(crate) fn push_all(&mut self, operations: impl IntoIterator<Item = Operation>) {
        operations.into_iter().for_each(|operation| self.push(operation));
    }

    /// Adds `one` `n` times out of `of`, else the other.
    pub(crate) fn push_either(&mut self, (n, of): (u64, u64), one: Operation, other: Operation) {
        let drawn = if self.chance(n, of) { one } else { other };
        self.push(drawn);
    }

    /// Adds an operation of a CPU, mostly CPU 0.
    pub(crate) fn on_cpu(&mut self, operation: impl FnOnce(u8) -> Operation) {
        let cpu = self.cpu();
        self.push(operation(cpu));
    }

    /// Puts an operation that changes nothing by itself before others.
    pub(crate) fn insert(&mut self, index: usize, operation: Operation) {
        if self.operations.len() < DRAWN_OPERATIONS {
            self.operations.insert(index, operation);
        }
    }

    /// Gives the operations from `start` on to CPUs at random.
    pub(crate) fn spread(&mut self, start: usize) {
        for index in start..self.operations.len() {
            if !self.chance(1, 2) {
                continue;
            }
            let cpu = self.below(self.cpus().into()) as u8;
            if let Some(operation) = self.operations.get_mut(index) {
                operation.set_cpu(cpu);
            }
        }
    }

    /// Gives the operations from `start` on to a CPU.
    pub(crate) fn move_to(&mut self, start: usize, cpu: u8) {
        self.operations.iter_mut().skip(start).for_each(|operation| operation.set_cpu(cpu));
    }

    /// Whether one more of the longest phrases could be too much.
    pub(crate) fn is_long(&self) -> bool {
        self.length() > DRAWN_OPERATIONS / 3
    }

    /// CPUs of the board.
    pub(crate) fn cpus(&self) -> u8 {
        self.expected.boot.cpus
    }

    /// Whether what the host stores stays in caches until it is cleaned.
    pub(crate) fn caches_host(&self) -> bool {
        self.expected.boot.topology().coherence.caches_host()
    }

    /// The host cleans the line of the word that it stored, and maybe what is behind it, where that
    /// matters.
    pub(crate) fn clean(&mut self, at: Place) {
        if self.caches_host() {
            let bytes = self.pick(&[8, 8, 8, 64, 65, 4096, 65535], 8);
            // Any address in a line names all of it.
            let within = self.pick(&[0, 0x20, 0x38], 0);
            let at = if self.chance(1, 2) { at } else { Place::of(at.address() & !0x3f | within) };
            self.on_cpu(|cpu| Operation::Clean { cpu, at, bytes });
        }
    }

    /// The host cleans the word that it stored, or forgets to.
    pub(crate) fn maybe_clean(&mut self, at: Place) {
        if self.caches_host() {
            self.maybe(1, 2, |draft| draft.clean(at));
        }
    }

    pub(crate) fn into_operations(self) -> Vec<Operation> {
        self.operations
    }

    /// `min` to `max`; `min` if that is more.
    pub(crate) fn between(&mut self, min: u64, max: u64) -> u64 {
        self.u.int_in_range(min..=max.max(min)).unwrap_or(min)
    }

    /// 0 to `count` - 1; 0 if there is none.
    pub(crate) fn below(&mut self, count: u64) -> u64 {
        self.between(0, count.saturating_sub(1))
    }

    /// True `n` times out of `of`; false where the bytes end.
    pub(crate) fn chance(&mut self, n: u64, of: u64) -> bool {
        self.below(of) >= of.saturating_sub(n)
    }

    /// Does it `n` times out of `of`.
    pub(crate) fn maybe(&mut self, n: u64, of: u64, what: impl FnOnce(&mut Self)) {
        if self.chance(n, of) {
            what(self);
        }
    }

    /// Does it `min` to `max` times.
    pub(crate) fn times(&mut self, min: u64, max: u64, mut what: impl FnMut(&mut Self)) {
        for _ in 0..self.between(min, max) {
            what(self);
        }
    }

    /// One of a list.
    pub(crate) fn pick<T: Copy>(&mut self, list: &[T], otherwise: T) -> T {
        self.u.choose(list).copied().unwrap_or(otherwise)
    }

    /// A number next to a limit; or one that is below it once so many bits are cut.
    pub(crate) fn near(&mut self, limit: u64) -> u64 {
        let wrapped = self.wrapped(limit.saturating_sub(1));
        let near = [limit.saturating_sub(1), limit, limit.saturating_add(1), wrapped];
        self.pick(&near, limit)
    }

    /// A number plus a power of two: the same where a narrower type holds it, or where it is
    /// multiplied by the size of a page, slot or entry, or shifted.
    pub(crate) fn wrapped(&mut self, right: u64) -> u64 {
        let bit = self.pick(&[8, 16, 20, 32, 36, 44, 48, 52, 56, 58, 59, 60, 61, 63], 32);
        right.wrapping_add(1_u64.checked_shl(bit).unwrap_or(0))
    }

    /// Any word, often small or a single bit.
    pub(crate) fn word(&mut self) -> u64 {
        match self.below(4) {
            0 => self.below(256),
            1 => self.bit(),
            _ => self.between(0, u64::MAX),
        }
    }

    /// A single bit.
    pub(crate) fn bit(&mut self) -> u64 {
        1_u64.checked_shl(self.below(64) as u32).unwrap_or(0)
    }

    /// The ITS that the host works on.
    pub(crate) fn its(&self) -> ItsConfiguration {
        self.expected.here().configuration
    }

    /// The control frame of the ITS that the host works on.
    pub(crate) fn frame(&self) -> Frame {
        Frame::ItsControl(self.expected.current)
    }

    /// What serves the ITS that the host works on as this area serves the first.
    pub(crate) fn area(&self, of_first: Area) -> Area {
        of_first.of_its(self.expected.current)
    }

    /// The frames of one of the redistributors.
    pub(crate) fn redistributor(&mut self) -> Frame {
        Frame::Redistributor(self.any_cpu())
    }

    /// One of the operations so far.
    pub(crate) fn some_operation(&mut self) -> Option<Operation> {
        let index = self.below(self.operations.len() as u64) as usize;
        self.operations.get(index).copied()
    }

    /// How many operations there are.
    pub(crate) fn length(&self) -> usize {
        self.operations.len()
    }

    /// Whether nothing more fits.
    pub(crate) fn is_full(&self) -> bool {
        self.length() >= DRAWN_OPERATIONS
    }

    /// Mostly CPU 0.
    pub(crate) fn cpu(&mut self) -> u8 {
        if self.chance(1, 4) { self.other_cpu(0) } else { 0 }
    }

    /// Another CPU or redistributor than this; this, where it is the only one.
    pub(crate) fn other_cpu(&mut self, cpu: u8) -> u8 {
        self.other(cpu, self.cpus())
    }

    /// Another ITS than the current; the current, where it is the only one.
    pub(crate) fn other_its(&mut self) -> u8 {
        self.other(self.expected.current, self.expected.boot.its)
    }

    fn other(&mut self, one: u8, count: u8) -> u8 {
        let step = self.below(u64::from(count).saturating_sub(1)).saturating_add(1);
        let other = u64::from(one).saturating_add(step);
        other.checked_rem(count.into()).unwrap_or(0) as u8
    }

    /// All CPUs in order, from any of them on.
    pub(crate) fn cpus_in_turn(&mut self) -> impl Iterator<Item = u8> + use<> {
        let (cpus, first) = (self.cpus(), self.any_cpu());
        (first..cpus).chain(0..first)
    }

    /// The number of any CPU or redistributor.
    pub(crate) fn any_cpu(&mut self) -> u8 {
        let redistributors = self.cpus().into();
        self.below(redistributors) as u8
    }
}
