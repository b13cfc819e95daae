//! PTR: what the ITS will follow is sound: in memory, aligned, apart from other structures, without
//! old contents.
//!
//! Judged from the moment that a set-up succeeded, like LEAK.

use std::collections::{BTreeMap, BTreeSet};

use its_gic::geometry::{Level1Entry, PageSize, Pages};
use its_gic::register::BASER_COUNT;
use its_gic::{Baser, Register};
use its_machine::{Event, Exposure, Purpose, Reach, View};

use crate::leak::{breach, is_borrowed};
use crate::watch::{Look, Watch, is_lpis};
use crate::{Finding, Step, rules};

/// The oracle over one case.
#[derive(Clone, Default)]
pub struct Ptr {
    /// The level-1 tables of guarded ITSs, by ITS and number, with their page size.
    level1: BTreeMap<(u8, u8), PageSize>,
    /// What each guarded ITS can reach, by purpose.
    reach: BTreeMap<(u8, Purpose), Reach>,
    /// ITS and addresses of level-2 tables that it could ever reach: their contents are its own.
    level2: BTreeSet<(u8, u64)>,
}

impl Ptr {
    /// Judges one action.
    pub(crate) fn judge(
        &mut self,
        (step, look): (&Step, Look),
        watch: &Watch,
        view: &impl View,
        findings: &mut Vec<Finding>,
    ) {
        match look {
            Look::SetUp(its) => {
                self.note_tables(its, view);
                self.look_at(its, watch, view, findings);
            }
            Look::Started(its) => {
                self.judge_changes(step, watch, findings);
                self.look_at(its, watch, view, findings);
            }
            Look::Changes => self.judge_changes(step, watch, findings),
        }
    }

    fn judge_changes(&mut self, step: &Step, watch: &Watch, findings: &mut Vec<Finding>) {
        for event in step.events {
            match event {
                Event::Reached(reach, exposure) if watch.judges(reach) => {
                    self.reached(reach, *exposure, findings);
                }
                Event::Unreached(reach) if watch.judges(reach) => {
                    self.reach.remove(&(reach.its, reach.purpose));
                }
                Event::WordWritten { address, value, .. } => {
                    self.entry_written(*address, *value, findings);
                    self.stored(*address, findings);
                }
                Event::CommandWritten { address, .. } => self.stored(*address, findings),
                Event::PageZeroed { page } => self.stored(*page << 12, findings),
                _ => {}
            }
        }
    }

    /// All that an ITS reaches, and redistributors.
    fn look_at(&mut self, its: u8, watch: &Watch, view: &impl View, findings: &mut Vec<Finding>) {
        self.reach.retain(|(other, purpose), _| *other != its || is_lpis(*purpose));
        let lpis = view.reach(0).filter(|(reach, _)| is_lpis(reach.purpose));
        let lpis = lpis.filter(|_| its != 0);
        for (reach, exposure) in view.reach(its).chain(lpis) {
            if !watch.judges(&reach) {
                continue;
            }
            // What joined before has the contents that the hardware uses.
            let exposure = Exposure { contents: false, ..exposure };
            self.reached(&reach, exposure, findings);
        }
    }

    /// The level-1 tables as they were at set-up.
    fn note_tables(&mut self, its: u8, view: &impl View) {
        for n in 0..BASER_COUNT {
            let baser = Baser::from_bits(view.register(its, Register::Baser(n)));
            if baser.valid() && baser.indirect() {
                self.level1.insert((its, n), baser.page_size());
            }
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
            (other.its, other.purpose) != (reach.its, reach.purpose)
                && !may_share(other.purpose, reach.purpose)
                && mine.first < theirs.first.saturating_add(theirs.count)
                && theirs.first < mine.first.saturating_add(mine.count)
        })
    }

    /// EL2 stored at this address: not where only the ITS stores.
    fn stored(&self, address: u64, findings: &mut Vec<Finding>) {
        let others = self.reach.values().find(|reach| {
            let inside = address >= reach.address && address - reach.address < reach.bytes;
            inside && !self.is_written_by_el2(reach)
        });
        if let Some(reach) = others {
            let seen = format!("a store of EL2 at {address:#x}");
            findings.push(breach(&rules::PTR_KEPT, reach, &seen));
        }
    }

    fn is_written_by_el2(&self, reach: &Reach) -> bool {
        match reach.purpose {
            Purpose::Queue => true,
            Purpose::Table(n) => self.level1.contains_key(&(reach.its, n)),
            _ => false,
        }
    }

    /// EL2 stored a word: into a level-1 table it must be a clean level-1 entry, or zero.
    fn entry_written(&self, address: u64, value: u64, findings: &mut Vec<Finding>) {
        let tables = self.level1.iter().filter_map(|((its, n), page_size)| {
            let table = self.reach.get(&(*its, Purpose::Table(*n)))?;
            Some((table, *page_size))
        });
        let inside = |table: &Reach| address.wrapping_sub(table.address) < table.bytes;
        let found = tables.into_iter().find(|(table, _)| inside(table));
        let Some((table, page_size)) = found.filter(|_| value != 0) else {
            return;
        };
        let entry = Level1Entry(value);
        if !entry.is_valid() || entry.other_bits(page_size) != 0 {
            let seen = format!("level-1 entry {value:#x}");
            findings.push(breach(&rules::PTR_ALIGN, table, &seen));
        }
    }
}

/// What stays the host's may overlap: the ITS then spoils nothing but what the host can store to
/// anyway.
fn may_share(one: Purpose, other: Purpose) -> bool {
    is_borrowed(one) && is_borrowed(other)
}

#[cfg(test)]
mod tests {
    use super::*;

    const TABLE: Reach =
        Reach { its: 0, purpose: Purpose::Table(0), address: 0x10_0000, bytes: 0x1_0000 };

    fn ptr() -> Ptr {
        Ptr {
            level1: BTreeMap::from([((0, 0), PageSize::K64)]),
            reach: BTreeMap::from([((0, TABLE.purpose), TABLE)]),
            level2: BTreeSet::new(),
        }
    }

    fn broken(act: impl FnOnce(&mut Ptr, &mut Vec<Finding>)) -> Vec<&'static str> {
        let mut findings = Vec::new();
        act(&mut ptr(), &mut findings);
        findings.iter().map(|breach| breach.rule.id).collect()
    }

    #[test]
    fn reached_memory_is_memory_empty_and_apart() {
        let level2 =
            Reach { purpose: Purpose::Level2 { table: 0, index: 1 }, address: 0x20_0000, ..TABLE };
        let with = |reach: Reach, exposure| {
            broken(move |ptr, findings| ptr.reached(&reach, exposure, findings))
        };
        let fine = Exposure::default();
        assert!(with(level2, fine).is_empty());
        let outside = Exposure { outside: true, ..fine };
        assert_eq!(with(level2, outside), ["PTR-MEMORY"]);
        let contents = Exposure { contents: true, ..fine };
        assert_eq!(with(level2, contents), ["PTR-CONTENTS"]);
        let overlapping = Reach { address: 0x10_f000, ..level2 };
        assert_eq!(with(overlapping, fine), ["PTR-OVERLAP"]);
    }

    #[test]
    fn a_level_two_table_that_comes_back_has_its_own_contents() {
        let level2 =
            Reach { purpose: Purpose::Level2 { table: 0, index: 1 }, address: 0x20_0000, ..TABLE };
        let used = Exposure { contents: true, ..Exposure::default() };
        let found = broken(|ptr, findings| {
            ptr.reached(&level2, Exposure::default(), findings);
            ptr.reach.remove(&(0, level2.purpose));
            ptr.reached(&level2, used, findings);
        });
        assert!(found.is_empty());
    }

    #[test]
    fn itts_may_share_pages() {
        let itt = |device_id, address| Reach {
            purpose: Purpose::Itt { device_id },
            address,
            bytes: 0x100,
            ..TABLE
        };
        let found = broken(|ptr, findings| {
            ptr.reached(&itt(1, 0x30_0000), Exposure::default(), findings);
            ptr.reached(&itt(2, 0x30_0100), Exposure::default(), findings);
            ptr.reached(&itt(3, 0x10_0100), Exposure::default(), findings);
        });
        assert_eq!(found, ["PTR-OVERLAP"]);
    }

    #[test]
    fn el2_stores_only_where_the_its_does_not() {
        let queue = Reach { purpose: Purpose::Queue, address: 0x40_0000, ..TABLE };
        let level2 =
            Reach { purpose: Purpose::Level2 { table: 0, index: 1 }, address: 0x50_0000, ..TABLE };
        let stored = |address| {
            broken(|ptr, findings| {
                for reach in [queue, level2] {
                    ptr.reached(&reach, Exposure::default(), findings);
                }
                ptr.stored(address, findings);
            })
        };
        assert!(stored(0x40_0020).is_empty());
        assert!(stored(0x10_0008).is_empty());
        assert!(stored(0x60_0000).is_empty());
        assert_eq!(stored(0x50_fff8), ["PTR-KEPT"]);
    }

    #[test]
    fn a_level_one_entry_is_valid_and_aligned() {
        let entry = |value| broken(|ptr, findings| ptr.entry_written(0x10_0008, value, findings));
        assert!(entry(0x8000_0000_0020_0000).is_empty());
        assert!(entry(0).is_empty());
        assert_eq!(entry(0x8000_0000_0020_1000), ["PTR-ALIGN"]);
        assert_eq!(entry(0x0000_0000_0020_0000), ["PTR-ALIGN"]);
    }
}
