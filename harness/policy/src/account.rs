//! What EL2 was to write in one action, held against what it wrote.

use std::collections::VecDeque;

use its_architecture::{Judgement, its_at, name};
use its_gic::Register;
use its_gic::register::FRAME_BYTES;
use its_machine::{AccessSize, Event, Machine};

use crate::guarded::GuardedIts;
use crate::{Rule, rules};

/// A hardware register that EL2 must write, or may.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Write {
    pub(crate) address: u64,
    pub(crate) size: AccessSize,
    pub(crate) value: u64,
    /// Bits that matter.
    pub(crate) mask: u64,
    pub(crate) required: bool,
    pub(crate) source: &'static str,
}

/// What the policy accounts for among the events of one action.
#[derive(Debug, Default)]
pub(crate) struct Account {
    pub(crate) judgement: Judgement,
    pub(crate) writes: Vec<Write>,
    /// The point that was declared because of which a write is not expected.
    pub(crate) declared: Option<&'static str>,
    /// Slots and level-1 entries of guarded ITSs that EL2 was to write, or that were reported.
    pub(crate) slots: u32,
    pub(crate) growths: u32,
    /// How many of the action's events are settled as to what EL2 could not give back.
    pub(crate) kept: usize,
}

impl Account {
    /// Whether EL2 wrote the hardware's registers, queues and level-1 tables as expected, and
    /// nothing else.
    pub(crate) fn settle(
        &mut self,
        machine: &Machine,
        guarded: &[Option<GuardedIts>],
        events: &[Event],
    ) {
        let on_queue = |address| guarded.iter().flatten().any(|its| its.has_queue(address));
        let on_level1 = |address| guarded.iter().flatten().any(|its| its.has_level1(address));
        let mut expected = VecDeque::from(std::mem::take(&mut self.writes));
        let (mut slots, mut growths) = (0, 0);
        for event in events {
            match *event {
                Event::DeviceWrite { address, size, value } => {
                    self.settle_write(machine, &mut expected, (address, size, value));
                }
                Event::CommandWritten { address, .. } => slots += u32::from(on_queue(address)),
                Event::WordWritten { address, .. } => {
                    slots += u32::from(on_queue(address));
                    growths += u32::from(on_level1(address));
                }
                _ => {}
            }
        }
        if let Some(left) = expected.into_iter().find(|write| write.required) {
            self.report(machine, Some(left), None);
        }
        let counts = [
            (&rules::DIV_BESIDE, "P9", "queue", self.slots, slots),
            (&rules::DIV_GROWTH, "P8", "level-1 tables", self.growths, growths),
        ];
        for (rule, source, path, expected, seen) in counts {
            if seen > expected {
                self.judgement.disagree(rule, source, path, expected, seen);
            }
        }
    }

    /// One write, against those that are expected in this order.
    fn settle_write(
        &mut self,
        machine: &Machine,
        expected: &mut VecDeque<Write>,
        (address, size, value): (u64, AccessSize, u64),
    ) {
        let fits = |write: &Write| {
            write.address == address
                && write.size == size
                && (write.value ^ value) & write.mask == 0
        };
        if let Some(place) = expected.iter().position(fits) {
            let skipped = expected.drain(..=place).take(place);
            for left_out in skipped.filter(|write| write.required) {
                self.report(machine, Some(left_out), None);
            }
            return;
        }
        // Another value than that of the next one, or nobody asked for it.
        let next = expected.iter().position(|write| write.required);
        let next = next.filter(|next| expected[*next].address == address);
        let wanted = next.and_then(|next| expected.remove(next));
        self.report(machine, wanted, Some((address, value)));
    }

    fn report(&mut self, machine: &Machine, expected: Option<Write>, seen: Option<(u64, u64)>) {
        let text = |write: Option<(u64, u64)>| match write {
            Some((address, value)) => format!("{} = {value:#x}", name(machine, address).1),
            None => "no write".into(),
        };
        let wanted = expected.map(|write| (write.address, write.value));
        let address = seen.or(wanted).map_or(0, |(address, _)| address);
        let (row, path) = name(machine, address);
        let source = expected.map(|write| write.source).or(self.declared).unwrap_or(row);
        let rule = write_rule(machine, address);
        self.judgement.disagree(rule, source, path, text(wanted), text(seen));
    }
}

/// What a write is that was made or left out wrongly.
fn write_rule(machine: &Machine, address: u64) -> &'static Rule {
    let Some((_, offset)) = its_at(machine, address) else {
        return &rules::DIV_REDISTRIBUTOR;
    };
    match Register::at(offset) {
        _ if offset >= FRAME_BYTES => &rules::DIV_STRAY,
        Register::Cwriter => &rules::DIV_FORWARD,
        Register::Ctlr => &rules::DIV_CTLR,
        Register::Cbaser | Register::Baser(_) => &rules::DIV_BASE,
        _ => &rules::DIV_STRAY,
    }
}
