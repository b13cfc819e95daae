//! EL2 and barriers: what it stored for an ITS is ordered before the ITS can see that it changed.

use its_gic::Register;
use its_gic::command::COMMAND_BYTES;
use its_gic::geometry::{LEVEL1_ENTRY_BYTES, PAGE_BYTES, Pages};
use its_machine::{Barrier, Event, Snooping};

use crate::guards::Guards;
use crate::leak::overlap;
use crate::{Finding, Rule, rules};

/// Memory that the ITS is about to see, and what of it EL2 did not order yet.
struct Unordered {
    /// The ITS sees stores, so that these are ordered; else cleans are.
    snooped: bool,
    stored: Vec<Pages>,
    is_due: bool,
}

impl Unordered {
    fn new(snooping: Snooping) -> Self {
        Self { snooped: snooping.sees_stores(), stored: Vec::new(), is_due: false }
    }

    fn store(&mut self, address: u64, bytes: u64) {
        if self.snooped {
            self.is_due = true;
        } else {
            self.stored.push(Pages::under(address, bytes));
        }
    }

    fn clean(&mut self, address: u64, bytes: u64) {
        let cleaned = Pages::under(address, bytes);
        self.is_due |= self.stored.iter().any(|stored| overlap(*stored, cleaned));
    }

    fn order(&mut self, barrier: Barrier) {
        let orders =
            if self.snooped { barrier.orders_stores() } else { barrier.completes_cleans() };
        self.is_due &= !orders;
    }

    /// The ITS can see it from now on.
    fn demand(&mut self, (rule, class): (&'static Rule, &'static str)) -> Option<Finding> {
        self.stored.clear();
        if !std::mem::take(&mut self.is_due) {
            return None;
        }
        let (expected, seen) = if self.snooped {
            ("a DSB, or a DMB of stores in the outer domain, after the store", "no such barrier")
        } else {
            ("a DSB of loads and stores after the clean", "no such barrier")
        };
        Some(Finding::new(rule, class, "EL2", expected, seen))
    }
}

/// What lets the ITS see other memory, CWRITER or a level-1 entry, comes after an ordering of that
/// memory.
pub(crate) fn judge(events: &[Event], guards: &Guards, findings: &mut Vec<Finding>) {
    let coherence = guards.machine.coherence;
    let [mut slots, mut entries, mut zeroes] =
        [coherence.queue, coherence.tables, coherence.tables].map(Unordered::new);
    for (index, event) in events.iter().enumerate() {
        let broken = match *event {
            Event::CommandWritten { address, .. } => {
                slots.store(address, COMMAND_BYTES);
                continue;
            }
            Event::PageZeroed { page } => {
                zeroes.store(page.saturating_mul(PAGE_BYTES), PAGE_BYTES);
                continue;
            }
            Event::Cleaned { address, bytes } => {
                [&mut slots, &mut entries, &mut zeroes]
                    .into_iter()
                    .for_each(|memory| memory.clean(address, bytes));
                continue;
            }
            Event::Ordered(barrier) => {
                [&mut slots, &mut entries, &mut zeroes]
                    .into_iter()
                    .for_each(|memory| memory.order(barrier));
                continue;
            }
            Event::DeviceWrite { address, .. }
                if matches!(guards.register(address), Some((_, Register::Cwriter))) =>
            {
                let late = entries.demand((&rules::EL2_BARRIER, "level1"));
                slots.demand((&rules::EL2_BARRIER, "queue")).or(late)
            }
            Event::WordWritten { address, value, .. }
                if guards.level1(address, value).is_some() =>
            {
                entries.store(address, LEVEL1_ENTRY_BYTES);
                zeroes.demand((&rules::EL2_FENCE, "level2"))
            }
            _ => continue,
        };
        findings.extend(broken.map(|finding| finding.by(index)));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{ENTRY, LEVEL1, LEVEL2, QUEUE, cleaned, guards, reported, slot, write};

    /// Returns the rules that are broken if a barrier comes between what is made visible and what
    /// makes it visible.
    fn broken(snooping: Snooping, barrier: Option<Barrier>) -> Vec<(&'static str, &'static str)> {
        let mut guards = guards();
        (guards.machine.coherence.queue, guards.machine.coherence.tables) = (snooping, snooping);
        let zeroed = Event::PageZeroed { page: LEVEL2 >> 12 };
        let barrier = barrier.map(Event::Ordered);
        let cwriter = write(Register::Cwriter, 0x20);
        let slots = [slot(QUEUE), cleaned(QUEUE, 32)].into_iter().chain(barrier).chain([cwriter]);
        let zeroes = [zeroed, cleaned(LEVEL2, 0x1000)].into_iter().chain(barrier).chain([ENTRY]);
        let events: Vec<Event> = slots.chain(zeroes).collect();
        reported(|findings| judge(&events, &guards, findings))
    }

    #[test]
    fn a_barrier_must_be_of_the_kind_that_the_machine_needs() {
        const MISSING: [(&str, &str); 2] = [("EL2-BARRIER", "queue"), ("EL2-FENCE", "level2")];
        let of = |is_dsb, option| Some(Barrier { is_dsb, option });
        for (barrier, snooped, unsnooped) in [
            (None, false, false),
            (of(true, 15), true, true),
            (of(true, 10), true, false),
            (of(false, 2), true, false),
            (of(false, 10), false, false),
            (of(true, 13), false, false),
        ] {
            for (snooping, enough) in [(Snooping::Yes, snooped), (Snooping::No, unsnooped)] {
                let expected = if enough { &[][..] } else { &MISSING };
                assert_eq!(broken(snooping, barrier), expected, "{snooping:?}, {barrier:?}");
            }
        }
    }

    /// Cleans must be ordered, so a barrier between store and clean is not enough. Another
    /// register than CWRITER shows the ITS nothing.
    #[test]
    fn a_barrier_must_be_where_it_orders_something() {
        let guards = guards();
        let barrier = Event::Ordered(Barrier::DSB_SY);
        let (slot, clean, cwriter) =
            (slot(QUEUE), cleaned(QUEUE, 32), write(Register::Cwriter, 0x20));
        let ctlr = write(Register::Ctlr, 1);
        for (events, missing) in [
            (&[slot, barrier, clean, cwriter][..], 1),
            (&[slot, clean, ctlr, barrier, cwriter], 0),
            (&[slot, clean, barrier, cwriter, cwriter], 0),
            (&[ENTRY, cleaned(LEVEL1, 8), barrier, cwriter], 0),
            (&[ENTRY, cleaned(LEVEL1, 8), cwriter], 1),
            (&[ENTRY, barrier, cleaned(LEVEL1, 8), cwriter], 1),
        ] {
            let found = reported(|findings| judge(events, &guards, findings));
            assert_eq!(found.len(), missing, "{events:x?}");
        }
    }
}
