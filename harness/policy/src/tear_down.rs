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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::*;

    const CALL: Action = hypercall(0, Hypercall::FiniItsEmulation, [ITS, 0, 0, 0]);

    fn ending() -> World {
        let mut world = guarded();
        world.model.declared.set_up.tear_down = TearDown::AtRest;
        world
    }

    /// EL2 clears Enabled for the host and finds the ITS at rest.
    fn rests(world: &mut World) {
        let (size, direction) = (AccessSize::Word, its_machine::Direction::Write(0));
        let off = Action::Device { cpu: 0, address: ITS, size, direction };
        let mut events = look(0x80);
        events.extend([writes_ctlr(0), reads(Register::Ctlr, 1 << 31)]);
        events.extend([reads(Register::Cbaser, cbaser()), reads(Register::Creadr, 0x80)]);
        world.agree(off, Outcome::Done, &events);
    }

    fn writes_ctlr(value: u64) -> Event {
        Event::DeviceWrite { address: ITS, size: AccessSize::Word, value }
    }

    fn clears(register: Register) -> Event {
        Event::DeviceWrite { address: ITS + register.offset(), size: AccessSize::Double, value: 0 }
    }

    fn end() -> Vec<Event> {
        let registers = [Register::Baser(0), Register::Baser(1), Register::Cbaser];
        let owned = [QUEUE, LEVEL1, COLLECTIONS, LEVEL2, PRIVATE, DESCRIPTOR];
        let mut events: Vec<Event> = registers.map(clears).to_vec();
        events.extend(releases(&[ITT, SHADOW, SHADOW_LEVEL1]));
        events.extend(owned.map(|own| page(PageChange::Reclaim, own)));
        events
    }

    #[test]
    fn an_emulation_does_not_end_unless_that_is_declared() {
        let mut world = guarded();
        world.differ(CALL, x1(0), &[], &rules::DIV_HYPERCALL, "x1");
        world.agree(CALL, x1(-95), &[]);
    }

    #[test]
    fn an_emulation_ends_at_rest_and_gives_all_back() {
        let nobody = hypercall(0, Hypercall::FiniItsEmulation, [ITS + 0x1000, 0, 0, 0]);
        let mut world = ending();
        world.agree(nobody, x1(-19), &[]);
        world.differ(CALL, x1(0), &end(), &rules::DIV_HYPERCALL, "x1");
        world.agree(CALL, x1(-16), &[]);
        rests(&mut world);
        world.differ(CALL, x1(-16), &[], &rules::DIV_HYPERCALL, "x1");
        for left_out in 0..end().len() {
            let mut events = end();
            events.remove(left_out);
            let played = world.clone().play(CALL, x1(0), &events);
            assert!(!played.findings.is_empty(), "{:?} is left out", end()[left_out]);
        }
        world.agree(CALL, x1(0), &end());
        assert_eq!(world.model.phase(0), Phase::Closing);
        world.agree(CALL, x1(-95), &[]);
        let donate = hypercall(0, Hypercall::HostDonateGuest, [QUEUE, 0, 0, 0]);
        world.agree(donate, x1(0), &[]);
    }
}
