//! What is left of an ITS when its power went away and came back: memory, and what resets in its
//! registers.

use its_gic::register::{BASER_COUNT, OFFSET_MASK};
use its_gic::{Baser, Ctlr, Part, Register};

use super::cache::Cache;
use super::effects::Unsettled;
use super::{Bus, PhysicalIts};

/// A value for an UNKNOWN register: far from what it was, and the same each time.
fn garbage(old: u64, number: u64) -> u64 {
    let mixed = old ^ (number + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    mixed.rotate_left(29).wrapping_mul(0xbf58_476d_1ce4_e5b9)
}

impl PhysicalIts {
    /// Power is lost and comes back. Caches, collections held inside and unsettled effects are
    /// gone; registers are UNKNOWN but for Enabled, Valid and Quiescent. `restored`: firmware then
    /// writes CBASER, CWRITER and the BASERs as they were.
    pub(crate) fn lose_power(&mut self, restored: bool, bus: &mut Bus) {
        let (cbaser, cwriter, basers) = (self.cbaser, self.cwriter, self.basers);
        self.lost_at_work = self.enabled;
        self.enabled = false;
        self.stopping = false;
        self.late_reads = 0;
        self.stalled = false;
        self.cache = Cache::default();
        self.unsettled = Unsettled::default();
        self.collections.fill(None);
        self.statusr = 0;
        self.scramble();
        self.account_queue(bus);
        for n in 0..basers.len() {
            self.account_table(n, bus);
        }
        if restored {
            let whole = Part::Whole;
            self.write_register(Register::Cbaser, whole, cbaser.into_bits(), bus);
            self.write_register(Register::Cwriter, whole, cwriter, bus);
            for (n, baser) in (0..BASER_COUNT).zip(basers) {
                self.write_register(Register::Baser(n), whole, baser.into_bits(), bus);
            }
        }
    }

    /// Firmware sets Enabled where power was lost at work, the ITS is ready and no command is left.
    pub(crate) fn be_enabled_by_other(&mut self, bus: &mut Bus) {
        if self.lost_at_work && self.can_start() && self.creadr == self.cwriter {
            self.write_ctlr(Ctlr::new().with_enabled(true), bus);
        }
    }

    fn scramble(&mut self) {
        self.creadr = garbage(self.creadr, 0) & OFFSET_MASK;
        self.cwriter = garbage(self.cwriter, 1) & OFFSET_MASK;
        let cbaser = garbage(self.cbaser.into_bits(), 2);
        self.cbaser = self.sticking_cbaser(cbaser).with_valid(false);
        for n in 0..self.basers.len() {
            let old = self.basers[n].into_bits();
            if old & !Baser::WRITABLE == 0 {
                continue;
            }
            let fields = garbage(old, 3 + n as u64) & Baser::WRITABLE;
            let baser = Baser::from_bits(fields | old & !Baser::WRITABLE).with_valid(false);
            self.basers[n] = self.sticking(n, baser);
        }
    }
}
