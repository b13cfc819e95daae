//! EL2 and barriers: what it stored for an ITS is ordered before the ITS can see that it changed.

use its_declaration::Level2Contents;
use its_gic::Register;
use its_gic::command::COMMAND_BYTES;
use its_gic::geometry::{LEVEL1_ENTRY_BYTES, PAGE_BYTES};
use its_machine::{Barrier, Event, PageChange, Snooping};

use crate::guards::Guards;
use crate::{Finding, Rule, rules};

/// What EL2 stored for an ITS and no barrier ordered yet.
struct Unordered {
    /// The ITS sees stores, so that these are ordered; else cleans are.
    snooped: bool,
    stores: Vec<Stored>,
}

/// Bytes that EL2 stored, from one address to before another.
struct Stored {
    from: u64,
    to: u64,
    cleaned: bool,
}

impl Unordered {
    fn new(snooping: Snooping) -> Self {
        Self { snooped: snooping.sees_stores(), stores: Vec::new() }
    }

    fn store(&mut self, address: u64, bytes: u64) {
        let to = address.saturating_add(bytes);
        self.stores.push(Stored { from: address, to, cleaned: false });
    }

    fn clean(&mut self, address: u64, bytes: u64) {
        for stored in &mut self.stores {
            stored.cleaned |= stored.from < address.saturating_add(bytes) && address < stored.to;
        }
    }

    fn order(&mut self, barrier: Barrier) {
        if self.snooped {
            self.stores.retain(|_| !barrier.orders_stores());
        } else {
            self.stores.retain(|stored| !(stored.cleaned && barrier.completes_cleans()));
        }
    }

    /// The ITS can see what is there from now on. What was never cleaned breaks another rule.
    fn demand(
        &mut self,
        (rule, class): (&'static Rule, &'static str),
        is_there: impl Fn(u64) -> bool,
    ) -> Option<Finding> {
        let seen = self.stores.extract_if(.., |stored| is_there(stored.from));
        // All of them leave, so not any().
        if !seen.fold(false, |any, stored| any | self.snooped | stored.cleaned) {
            return None;
        }
        let expected = if self.snooped {
            "a DSB, or a DMB of stores in the outer domain, after the store"
        } else {
            "a DSB of loads and stores after the clean"
        };
        Some(Finding::new(rule, class, "EL2", expected, "no such barrier"))
    }
}

/// What lets the ITS see other memory, CWRITER or a level-1 entry, comes after an ordering of that
/// memory.
pub(crate) fn judge(events: &[Event], guards: &Guards, findings: &mut Vec<Finding>) {
    let coherence = guards.machine.coherence;
    let [mut slots, mut entries, mut zeroes] =
        [coherence.queue, coherence.tables, coherence.tables].map(Unordered::new);
    let checked = guards.declared.memory.level2_contents == Level2Contents::Checked;
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
            // The host zeroed it.
            Event::Page { change: PageChange::Donate, pages, result: Ok(()) } if checked => {
                let bytes = pages.count.saturating_mul(PAGE_BYTES);
                zeroes.store(pages.first.saturating_mul(PAGE_BYTES), bytes);
                continue;
            }
            Event::Cleaned { address, bytes } => {
                for memory in [&mut slots, &mut entries, &mut zeroes] {
                    memory.clean(address, bytes);
                }
                continue;
            }
            Event::Ordered(barrier) => {
                for memory in [&mut slots, &mut entries, &mut zeroes] {
                    memory.order(barrier);
                }
                continue;
            }
            Event::DeviceWrite { address, .. }
                if matches!(guards.register(address), Some((_, Register::Cwriter))) =>
            {
                let late = entries.demand((&rules::EL2_BARRIER, "level1"), |_| true);
                slots.demand((&rules::EL2_BARRIER, "queue"), |_| true).or(late)
            }
            Event::WordWritten { address, value, .. } => {
                let Some((_, table)) = guards.level1(address, value) else {
                    continue;
                };
                entries.store(address, LEVEL1_ENTRY_BYTES);
                let joins = |at: u64| table.contains(at / PAGE_BYTES);
                zeroes.demand((&rules::EL2_FENCE, "level2"), joins)
            }
            _ => continue,
        };
        findings.extend(broken.map(|finding| finding.by(index)));
    }
}

#[cfg(test)]
mod tests {
    use its_gic::geometry::Pages;

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
        // A page that nobody names, in the same trap.
        let other = Event::PageZeroed { page: QUEUE >> 12 };
        for (events, missing) in [
            (&[slot, barrier, clean, cwriter][..], 1),
            (&[slot, clean, barrier, cleaned(QUEUE + 32, 32), cwriter], 0),
            (&[other, slot, clean, barrier, cwriter], 0),
            (&[slot, clean, ctlr, barrier, cwriter], 0),
            (&[slot, clean, barrier, cwriter, cwriter], 0),
            (&[ENTRY, cleaned(LEVEL1, 64), barrier, cwriter], 0),
            (&[ENTRY, cleaned(LEVEL1, 64), cwriter], 1),
            (&[ENTRY, barrier, cleaned(LEVEL1, 64), cwriter], 1),
        ] {
            let found = reported(|findings| judge(events, &guards, findings));
            assert_eq!(found.len(), missing, "{events:x?}");
        }
    }
    /// A level-2 table that the host zeroed is ordered as one that EL2 zeroed.
    #[test]
    fn what_the_host_zeroed_is_ordered_too() {
        let pages = Pages::under(LEVEL2, 0x1000);
        let joins = Event::Page { change: PageChange::Donate, pages, result: Ok(()) };
        let (clean, barrier) = (cleaned(LEVEL2, 0x1000), Event::Ordered(Barrier::DSB_SY));
        let mut guards = guards();
        for (contents, events, missing) in [
            (Level2Contents::Checked, &[joins, clean, ENTRY][..], 1),
            (Level2Contents::Checked, &[joins, clean, barrier, ENTRY], 0),
            (Level2Contents::Zeroed, &[joins, clean, ENTRY], 0),
        ] {
            guards.declared.memory.level2_contents = contents;
            let found = reported(|findings| judge(events, &guards, findings));
            assert_eq!(found.len(), missing, "{contents:?}, {events:x?}");
        }
    }
}
