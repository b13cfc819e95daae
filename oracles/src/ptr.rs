//! PTR: what the ITS will follow is sound: in memory, aligned, apart from other structures, without
//! old contents.
//!
//! Judged from the moment that a set-up succeeded, like LEAK.

use std::collections::{BTreeMap, BTreeSet};

use its_gic::geometry::{Level1Entry, Pages};
use its_machine::{Event, Exposure, Purpose, Reach};

use crate::guards::Guards;
use crate::leak::{breach, is_borrowed, overlap};
use crate::watch::{Look, is_lpis};
use crate::{Finding, Sight, broken_by, rules};

#[derive(Clone, Default)]
pub(crate) struct Ptr {
    /// What each guarded ITS can reach, by purpose.
    reach: BTreeMap<(u8, Purpose), Reach>,
    /// ITS and addresses of level-2 tables that it could ever reach: their contents are its own.
    level2: BTreeSet<(u8, u64)>,
}

impl Ptr {
    pub(crate) fn judge(&mut self, sight: &Sight, findings: &mut Vec<Finding>) {
        if !matches!(sight.look, Look::SetUp(_)) {
            self.judge_changes(sight, findings);
        }
        if let Look::SetUp(its) | Look::Started(its) = sight.look {
            self.look_at(its, sight, findings);
        }
    }

    /// An ITS follows nothing until it is looked at again.
    pub(crate) fn forget(&mut self, its: u8) {
        self.reach.retain(|(other, purpose), _| *other != its || is_lpis(*purpose));
    }

    fn judge_changes(&mut self, sight: &Sight, findings: &mut Vec<Finding>) {
        let Sight { events, guards, watch, .. } = *sight;
        for (index, event) in events.iter().enumerate() {
            let known = findings.len();
            match *event {
                Event::Reached(reach, exposure) if watch.judges(&reach) => {
                    self.reached(&reach, exposure, findings);
                }
                Event::Unreached(reach) if watch.judges(&reach) => {
                    self.reach.remove(&(reach.its, reach.purpose));
                }
                Event::WordWritten { address, value, .. } => {
                    findings.extend(self.entry_written(address, value, guards));
                    findings.extend(self.stored(address, guards));
                }
                Event::CommandWritten { address, .. } => {
                    findings.extend(self.stored(address, guards));
                }
                Event::PageZeroed { page } => findings.extend(self.stored(page << 12, guards)),
                _ => {}
            }
            broken_by(index, &mut findings[known..]);
        }
    }

    /// All that an ITS reaches, and redistributors, whose pointers come with the first ITS's.
    fn look_at(&mut self, its: u8, sight: &Sight, findings: &mut Vec<Finding>) {
        let reach = sight.reach;
        // What joins later in the action is judged then.
        let joins = |reach: &Reach| {
            let is_it = |event: &Event| matches!(event, Event::Reached(later, _) if later == reach);
            sight.later.iter().any(is_it)
        };
        self.forget(its);
        let mut all = reach(its);
        if its != 0 {
            all.extend(reach(0).into_iter().filter(|(reach, _)| is_lpis(reach.purpose)));
        }
        for (reach, exposure) in all.into_iter().filter(|(reach, _)| !joins(reach)) {
            // What joined before has the contents that the hardware uses.
            self.reached(&reach, Exposure { contents: false, ..exposure }, findings);
        }
    }

    fn reached(&mut self, reach: &Reach, exposure: Exposure, findings: &mut Vec<Finding>) {
        if exposure.outside {
            findings.push(breach(&rules::PTR_MEMORY, reach, "some of it is no memory"));
        }
        let is_level2 = matches!(reach.purpose, Purpose::Level2 { .. });
        let is_new = is_level2 && self.level2.insert((reach.its, reach.address));
        if exposure.contents && is_new {
            findings.push(breach(&rules::PTR_CONTENTS, reach, "not all zero"));
        }
        if let Some(other) = self.overlapped(reach) {
            let seen = format!("shares a page with its{}: {:?}", other.its, other.purpose);
            findings.push(breach(&rules::PTR_OVERLAP, reach, &seen));
        }
        self.reach.insert((reach.its, reach.purpose), *reach);
    }

    fn overlapped(&self, reach: &Reach) -> Option<&Reach> {
        let mine = Pages::under(reach.address, reach.bytes);
        self.reach.values().find(|other| {
            let theirs = Pages::under(other.address, other.bytes);
            // ITTs and tables of redistributors may overlap: the ITS then spoils interrupts that
            // the host routes anyway.
            let may_share = is_borrowed(other.purpose) && is_borrowed(reach.purpose);
            (other.its, other.purpose) != (reach.its, reach.purpose)
                && !may_share
                && overlap(mine, theirs)
        })
    }

    /// EL2 stored at this address: not where only the ITS stores.
    fn stored(&self, address: u64, guards: &Guards) -> Option<Finding> {
        let is_el2_s = |reach: &Reach| match reach.purpose {
            Purpose::Queue => true,
            Purpose::Table(n) => guards.found(reach.its).is_some_and(|guard| guard.has_level1(n)),
            _ => false,
        };
        let inside = |reach: &Reach| address.wrapping_sub(reach.address) < reach.bytes;
        let reach = self.reach.values().find(|reach| inside(reach) && !is_el2_s(reach))?;
        Some(breach(&rules::PTR_KEPT, reach, &format!("a store of EL2 at {address:#x}")))
    }

    /// EL2 stored a word: into a level-1 table it must be a clean level-1 entry, or zero.
    fn entry_written(&self, address: u64, value: u64, guards: &Guards) -> Option<Finding> {
        let (reach, baser) = self.reach.values().find_map(|reach| {
            let Purpose::Table(n) = reach.purpose else {
                return None;
            };
            let guard = guards.found(reach.its).filter(|guard| guard.has_level1(n))?;
            let inside = address.wrapping_sub(reach.address) < reach.bytes;
            inside.then_some((reach, guard.basers[usize::from(n)]))
        })?;
        let (entry, page_size) = (Level1Entry(value), baser.page_size());
        let is_clean = entry.is_valid() && entry.other_bits(page_size) == 0;
        (value != 0 && !is_clean)
            .then(|| breach(&rules::PTR_ALIGN, reach, &format!("level-1 entry {value:#x}")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{LEVEL1, guards, reported};

    const TABLE: Reach =
        Reach { its: 0, purpose: Purpose::Table(0), address: LEVEL1, bytes: 0x1_0000 };
    const LEVEL2: Reach =
        Reach { purpose: Purpose::Level2 { table: 0, index: 1 }, address: 0x20_0000, ..TABLE };
    const FINE: Exposure =
        Exposure { outside: false, host: false, not_held: false, foreign: false, contents: false };

    fn ptr() -> Ptr {
        Ptr { reach: BTreeMap::from([((0, TABLE.purpose), TABLE)]), level2: BTreeSet::new() }
    }

    /// What these pointers break, that the ITS gains one after another.
    fn broken(all: &[(Reach, Exposure)]) -> Vec<&'static str> {
        let mut ptr = ptr();
        let found = reported(|findings| {
            for (reach, exposure) in all {
                ptr.reached(reach, *exposure, findings);
            }
        });
        found.into_iter().map(|(rule, _)| rule).collect()
    }

    #[test]
    fn reached_memory_is_memory_empty_and_apart() {
        assert!(broken(&[(LEVEL2, FINE)]).is_empty());
        let outside = Exposure { outside: true, ..FINE };
        assert_eq!(broken(&[(LEVEL2, outside)]), ["PTR-MEMORY"]);
        let contents = Exposure { contents: true, ..FINE };
        assert_eq!(broken(&[(LEVEL2, contents)]), ["PTR-CONTENTS"]);
        // One that comes back has contents of its own.
        assert!(broken(&[(LEVEL2, FINE), (LEVEL2, contents)]).is_empty());
        let overlapping = Reach { address: LEVEL1 + 0xf000, ..LEVEL2 };
        assert_eq!(broken(&[(overlapping, FINE)]), ["PTR-OVERLAP"]);
    }

    #[test]
    fn itts_may_share_pages() {
        let itt = |device_id, address| {
            let purpose = Purpose::Itt { device_id };
            (Reach { its: 0, purpose, address, bytes: 0x100 }, FINE)
        };
        let all = [itt(1, 0x30_0000), itt(2, 0x30_0100), itt(3, LEVEL1 + 0x100)];
        assert_eq!(broken(&all), ["PTR-OVERLAP"]);
    }

    #[test]
    fn el2_stores_only_where_the_its_does_not() {
        let queue = Reach { purpose: Purpose::Queue, address: 0x40_0000, ..TABLE };
        let mut ptr = ptr();
        reported(|findings| {
            ptr.reached(&queue, FINE, findings);
            ptr.reached(&LEVEL2, FINE, findings);
        });
        for (address, rule) in [
            (0x40_0020, None),
            (LEVEL1 + 8, None),
            (0x60_0000, None),
            (0x20_fff8, Some("PTR-KEPT")),
        ] {
            let found = ptr.stored(address, &guards());
            assert_eq!(found.map(|finding| finding.rule.id), rule);
        }
    }

    #[test]
    fn a_level_one_entry_is_valid_and_aligned() {
        for (value, rule) in [
            (0x8000_0000_0020_0000, None),
            (0, None),
            (0x8000_0000_0020_1000, Some("PTR-ALIGN")),
            (0x0000_0000_0020_0000, Some("PTR-ALIGN")),
        ] {
            let found = ptr().entry_written(LEVEL1 + 8, value, &guards());
            assert_eq!(found.map(|finding| finding.rule.id), rule);
        }
    }
}
