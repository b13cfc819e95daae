//! The hypercall `__pkvm_fini_its_emulation` (the point `tear-down`): EL2 gives back what it holds
//! for an ITS.

use its_architecture::Registers;
use its_declaration::TearDown;
use its_gic::Register;
use its_gic::geometry::{Level1Entry, Pages};
use its_gic::register::{Baser, FRAME_BYTES};
use its_machine::{AccessSize, Errno, Event, PageChange};

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
        if !self.declared.set_up.allows(x1, result) {
            let source = self.declared.set_up.tear_down.source();
            let (rule, seen) = (&rules::DIV_HYPERCALL, Errno::name(x1));
            let expected = Errno::name(Errno::result(result));
            account.judgement.disagree(rule, source, "x1", expected, seen);
        }
        let Some(its) = self.guardable(frame).filter(|_| result.is_ok() && x1 == 0) else {
            return;
        };
        if let Some(guarded) = self.guarded[its].take() {
            self.ended[its] = true;
            let source = self.declared.set_up.tear_down.source();
            guarded.judge_cleared(&self.hardware.its[its].registers, (events, source), account);
            guarded.judge_order(events, source, account);
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
    /// Valid is 0 in CBASER and in each BASER. The host may have cleared it before.
    fn judge_cleared(
        &self,
        now: &Registers,
        (events, source): (&[Event], &'static str),
        account: &mut Account,
    ) {
        let tables = (0..8).map(|n| (Register::Baser(n), now.baser[usize::from(n)]));
        for (register, now) in tables.chain([(Register::Cbaser, now.cbaser)]) {
            if now.value & now.known & Baser::VALID != 0 {
                let (rule, path) = (&rules::DIV_BASE, format_args!("its{}.{register:?}", self.its));
                account.judgement.disagree(rule, source, path, "Valid cleared", "Valid");
            }
        }
        for address in events.iter().filter_map(|event| self.base_written(event)) {
            let (size, mask) = (AccessSize::Double, Baser::VALID);
            let write = Write { address, size, value: 0, mask, required: false, source };
            account.writes.push(write);
        }
    }

    /// The address of CBASER or a BASER, if EL2 wrote that.
    fn base_written(&self, event: &Event) -> Option<u64> {
        let Event::DeviceWrite { address, .. } = *event else {
            return None;
        };
        let register = Register::at(address.wrapping_sub(self.base));
        let is_own = address.wrapping_sub(self.base) < FRAME_BYTES;
        (is_own && matches!(register, Register::Baser(_) | Register::Cbaser)).then_some(address)
    }

    /// Nothing goes back before the last of these writes, and private pages are zero by then.
    fn judge_order(&self, events: &[Event], source: &'static str, account: &mut Account) {
        let back = |event: &Event| {
            matches!(event, Event::Page { change: PageChange::Unpin | PageChange::Reclaim, .. })
        };
        let last = events.iter().rposition(|event| self.base_written(event).is_some());
        let first = events.iter().position(back);
        if first < last && first.is_some() {
            let (rule, path) = (&rules::DIV_BASE, format_args!("its{}.registers", self.its));
            account.judgement.disagree(rule, source, path, "written first", "after a page");
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
