//! The hypercall `__pkvm_fini_its_emulation` (the point `tear-down`): EL2 gives back what it holds
//! for an ITS.

use its_declaration::{ErrnoOf, TearDown};
use its_gic::Register;
use its_gic::geometry::{Level1Entry, Pages};
use its_gic::register::Baser;
use its_machine::{AccessSize, Errno, Event};

use crate::account::{Account, Write};
use crate::guarded::{GuardedIts, Stop};
use crate::ledger::Ledger;
use crate::mappings::Effect;
use crate::{Policy, rules};

impl Policy {
    /// Judges x1, and what EL2 did with registers and pages.
    pub(crate) fn judge_tear_down(
        &mut self,
        frame: u64,
        x1: i64,
        events: &[Event],
        account: &mut Account,
    ) {
        let result = self.may_tear_down(frame, events);
        let expected = Errno::result(result);
        let any = result.is_err() && x1 < 0 && self.declared.set_up.errno == ErrnoOf::Any;
        if x1 != expected && !any {
            let source = self.declared.set_up.tear_down.source();
            let (rule, seen) = (&rules::DIV_HYPERCALL, Errno::name(x1));
            account.judgement.disagree(rule, source, "x1", Errno::name(expected), seen);
        }
        let Some(its) = self.guardable(frame).filter(|_| result.is_ok() && x1 == 0) else {
            return;
        };
        if let Some(guarded) = self.guarded[its].take() {
            self.ended[its] = true;
            guarded.judge_cleared(events, self.declared.set_up.tear_down.source(), account);
            guarded.release(&mut self.ledger);
        }
    }

    fn may_tear_down(&mut self, frame: u64, events: &[Event]) -> Result<(), Errno> {
        if self.declared.set_up.tear_down == TearDown::None {
            return Err(Errno::Eopnotsupp);
        }
        let its = self.guardable(frame).ok_or(Errno::Enodev)?;
        let guarded = self.guarded[its].as_mut().ok_or(Errno::Eopnotsupp)?;
        guarded.notice_rest(events);
        (guarded.stop == Stop::AtRest).then_some(()).ok_or(Errno::Ebusy)
    }
}

impl GuardedIts {
    /// CBASER and each BASER that was Valid at set-up lose Valid, in any order.
    fn judge_cleared(&self, events: &[Event], source: &'static str, account: &mut Account) {
        let tables =
            (0..8).filter(|n| Baser::from_bits(self.mappings.baser[usize::from(*n)]).valid());
        for register in tables.map(Register::Baser).chain([Register::Cbaser]) {
            let own = self.base + register.offset();
            let written = events.iter().rev().find_map(|event| match *event {
                Event::DeviceWrite { address, value, .. } => (address == own).then_some(value),
                _ => None,
            });
            if written.is_none_or(|value| value & Baser::VALID != 0) {
                let (rule, path) = (&rules::DIV_BASE, format_args!("its{}.{register:?}", self.its));
                let seen = if written.is_some() { "Valid" } else { "not written" };
                account.judgement.disagree(rule, source, path, "Valid cleared", seen);
            }
        }
        for event in events {
            if let Event::DeviceWrite { address, .. } = *event
                && matches!(
                    Register::at(address.wrapping_sub(self.base)),
                    Register::Baser(_) | Register::Cbaser
                )
            {
                let (size, mask) = (AccessSize::Double, Baser::VALID);
                let write = Write { address, size, value: 0, mask, required: false, source };
                account.writes.push(write);
            }
        }
    }

    /// Everything that it needs is the host's again.
    fn release(&self, ledger: &mut Ledger) {
        let mappings = &self.mappings;
        let flying = mappings.in_flight.iter().filter_map(|effect| match effect {
            Effect::Map { itt, .. } => Some(*itt),
            _ => None,
        });
        for itt in mappings.records.values().copied().chain(flying) {
            ledger.release_itt(itt);
        }
        let (queue, shadow) = (self.queues.queue, self.queues.shadow);
        ledger.give_back(Pages::under(shadow, queue.bytes));
        let owned = self.own.into_iter().chain([Pages::under(queue.address, queue.bytes)]);
        owned.for_each(|pages| ledger.disown(pages));
        for (n, table) in (0..8).filter_map(|n| Some((n, mappings.table(n)?))) {
            ledger.disown(Pages::under(table.address, table.bytes));
            if !table.indirect {
                continue;
            }
            ledger.give_back(Pages::under(mappings.shadow_level1[n], table.bytes));
            for entry in mappings.level1.range(table.address..table.address + table.bytes) {
                let level2 = Level1Entry(*entry.1).address(table.page_size);
                ledger.disown(Pages::under(level2, table.page_size.bytes()));
            }
        }
    }
}
