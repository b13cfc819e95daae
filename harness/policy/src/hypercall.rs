//! Host hypercalls: x0, x1 and what they do to pages.

use its_declaration::ClosingDonation;
use its_gic::geometry::Pages;
use its_machine::{Errno, Event, Hypercall, Outcome, PageChange, PageState};

use crate::account::Account;
use crate::ghost::shared;
use crate::ledger::Base;
use crate::{Policy, rules};

/// A hypercall, and what x1 must be by what was so before it.
#[derive(Clone, Copy)]
pub(crate) struct HostCall {
    cpu: u8,
    arguments: [u64; 4],
    /// `None`: the call is not supported.
    call: Option<(Hypercall, Result<(), Errno>)>,
}

impl HostCall {
    pub(crate) fn new(policy: &Policy, cpu: u8, x0: u64, arguments: [u64; 4]) -> Self {
        let expect = |call| expect(policy, cpu, call, arguments[0]);
        let call = Hypercall::from_function_id(x0);
        Self { cpu, arguments, call: call.and_then(|call| Some((call, expect(call)?))) }
    }

    /// Judges x0 and x1 and makes the pages what the call made them.
    pub(crate) fn judge(
        &self,
        policy: &mut Policy,
        outcome: &Outcome,
        events: &[Event],
        account: &mut Account,
    ) {
        let (Outcome::Returned { x0, x1 }, page) = (*outcome, self.arguments[0]) else {
            return;
        };
        let Some((call, expected)) = self.call else {
            // pKVM: not supported, x1 untouched.
            return expect_registers("pKVM", (-1, page as i64), (x0, x1), account);
        };
        if let Hypercall::InitItsEmulation | Hypercall::InitRedistributorEmulation = call {
            expect_registers(call.name(), (0, x1), (x0, x1), account);
            if call == Hypercall::InitItsEmulation && policy.only_describes() {
                return policy.judge_description(self.arguments, x1, events, account);
            }
            if call == Hypercall::InitItsEmulation {
                return policy.judge_set_up(self.arguments, x1, events, account);
            }
            return policy.judge_redistributor_set_up(x1, events, account);
        }
        if call == Hypercall::FiniItsEmulation {
            expect_registers(call.name(), (0, x1), (x0, x1), account);
            return policy.judge_tear_down(page, x1, events, account);
        }
        // What fails in a finalize is the set-up that comes with it.
        let injected = events.contains(&Event::Injected)
            && expected.is_ok()
            && call != Hypercall::ProtFinalize;
        let expected = if injected { Err(Errno::Enomem) } else { expected };
        let declared = match call {
            Hypercall::HostDonateGuest => policy.declared.traps.closing_donation.declared(),
            _ => None,
        };
        let source = declared.unwrap_or(call.name());
        expect_registers(source, (0, Errno::result(expected)), (x0, x1), account);
        if expected.is_err() {
            return;
        }
        let (state, base) = match call {
            Hypercall::ProtFinalize => return policy.finalize(self.cpu),
            Hypercall::InitItsEmulation
            | Hypercall::InitRedistributorEmulation
            | Hypercall::FiniItsEmulation => return,
            Hypercall::HostShareHyp => (shared(0), Base::HostShared),
            Hypercall::HostUnshareHyp => (PageState::HOST, Base::Host),
            Hypercall::HostDonateGuest => (PageState::GUEST, Base::Guest),
            Hypercall::ReclaimGuestPage => {
                policy.hardware.zero_page(page, true);
                (PageState::HOST, Base::Host)
            }
        };
        policy.ghost.set(page, state);
        policy.ledger.rebase(page, base);
    }
}

/// What x1 must be, from what is so before the call; `None`: the call is not supported.
fn expect(policy: &Policy, cpu: u8, call: Hypercall, page: u64) -> Option<Result<(), Errno>> {
    let one = Pages { first: page, count: 1 };
    let state = policy.page(page);
    let allowed = match call {
        // pKVM: some calls are rejected until protected mode is on.
        Hypercall::HostDonateGuest | Hypercall::ReclaimGuestPage if !policy.is_protected() => {
            return None;
        }
        Hypercall::HostShareHyp => return Some(policy.ghost.attempt(PageChange::Share, one)),
        Hypercall::HostUnshareHyp => return Some(policy.ghost.attempt(PageChange::Unshare, one)),
        Hypercall::ProtFinalize => !policy.is_finalized(cpu),
        // P2: nothing leaves the host while an ITS is closing.
        Hypercall::HostDonateGuest => {
            let early = policy.declared.traps.closing_donation == ClosingDonation::Allowed;
            state == Some(PageState::HOST) && (early || !policy.is_closing())
        }
        Hypercall::ReclaimGuestPage => state == Some(PageState::GUEST),
        Hypercall::InitItsEmulation
        | Hypercall::InitRedistributorEmulation
        | Hypercall::FiniItsEmulation => true,
    };
    Some(allowed.then_some(()).ok_or(Errno::Eperm))
}

fn expect_registers(
    source: &'static str,
    expected: (i64, i64),
    seen: (i64, i64),
    account: &mut Account,
) {
    let rule = &rules::DIV_HYPERCALL;
    if expected.0 != seen.0 {
        account.judgement.disagree(rule, source, "x0", expected.0, seen.0);
    }
    if expected.1 != seen.1 {
        let name = |x1: i64| format!("{x1} ({})", Errno::name(x1));
        account.judgement.disagree(rule, source, "x1", name(expected.1), name(seen.1));
    }
}

#[cfg(test)]
mod tests {
    use crate::testing::*;

    fn call(world: &mut World, call: Hypercall, of: u64, result: i64, events: &[Event]) {
        let action = hypercall(0, call, [of, 0, 0, 0]);
        let wrong = if result == 0 { -1 } else { 0 };
        world.differ(action, x1(wrong), events, &rules::DIV_HYPERCALL, "x1");
        world.agree(action, x1(result), events);
    }

    #[test]
    fn finalize_once_a_cpu() {
        let mut world = World::booted();
        call(&mut world, Hypercall::ProtFinalize, 0, 0, &[]);
        call(&mut world, Hypercall::ProtFinalize, 0, -1, &[]);
        assert_eq!(world.model.phase(0), Phase::Closing);
    }

    #[test]
    fn share_and_unshare() {
        let mut world = guarded();
        call(&mut world, Hypercall::HostUnshareHyp, FREE, -1, &[]);
        call(&mut world, Hypercall::HostShareHyp, FREE, 0, &[page(PageChange::Share, FREE)]);
        call(&mut world, Hypercall::HostShareHyp, FREE, -1, &[]);
        call(&mut world, Hypercall::HostUnshareHyp, FREE, 0, &[page(PageChange::Unshare, FREE)]);
        for held in [ITT, SHADOW, SHADOW_LEVEL1] {
            call(&mut world, Hypercall::HostShareHyp, held, -1, &[]);
            call(&mut world, Hypercall::HostUnshareHyp, held, -16, &[]);
        }
        for gone in [QUEUE, 0x80000, 0x7ffff, u64::MAX] {
            call(&mut world, Hypercall::HostShareHyp, gone, -1, &[]);
        }
    }

    #[test]
    fn donate_to_the_guest_and_reclaim() {
        let mut closing = closing();
        // P2
        call(&mut closing, Hypercall::HostDonateGuest, FREE, -1, &[]);
        let mut world = guarded();
        call(&mut world, Hypercall::ReclaimGuestPage, FREE, -1, &[]);
        call(&mut world, Hypercall::HostDonateGuest, ITT, -1, &[]);
        call(&mut world, Hypercall::HostDonateGuest, FREE, 0, &[]);
        assert_eq!(world.model.page(FREE), Some(PageState::GUEST));
        call(&mut world, Hypercall::HostDonateGuest, FREE, -1, &[]);
        call(&mut world, Hypercall::ReclaimGuestPage, FREE, 0, &[]);
        assert_eq!(world.model.page(FREE), Some(PageState::HOST));
    }

    #[test]
    fn calls_that_are_not_supported_leave_x1() {
        let mut world = World::booted();
        let returned = |x0, x1| Outcome::Returned { x0, x1 };
        let x0 = |call: Hypercall| call.function_id();
        for (x0, wrong, register) in [
            (x0(Hypercall::HostDonateGuest), returned(0, -1), "x0"),
            (x0(Hypercall::ReclaimGuestPage), returned(0, -1), "x0"),
            (0xc600_0fff, returned(-1, 0), "x1"),
        ] {
            let action = Action::Hypercall { cpu: 0, x0, arguments: [5, 0, 0, 0] };
            world.agree(action, returned(-1, 5), &[]);
            world.differ(action, wrong, &[], &rules::DIV_HYPERCALL, register);
        }
    }
}
