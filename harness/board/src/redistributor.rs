//! A redistributor as far as a pending LPI: where its tables are, whether LPIs are on, what is pending.

use std::collections::BTreeSet;

use its_gic::redistributor::{
    CTLR, FIRST_LPI, PENDBASER, PROPBASER, Pendbaser, Propbaser, RedistributorCtlr, TYPER, intids,
};

/// The state of one redistributor.
#[derive(Clone)]
pub(crate) struct Redistributor {
    number: u8,
    lpis: bool,
    propbaser: u64,
    pendbaser: u64,
    pending: BTreeSet<u32>,
}

impl Redistributor {
    pub(crate) fn new(number: u8) -> Self {
        Self {
            number,
            lpis: false,
            propbaser: 0,
            pendbaser: 0,
            pending: BTreeSet::new(),
        }
    }

    /// Whether LPIs are enabled.
    pub(crate) fn lpis(&self) -> bool {
        self.lpis
    }

    /// Configuration and pending table as (address, bytes).
    pub(crate) fn tables(&self) -> [(u64, u64); 2] {
        let propbaser = Propbaser::from_bits(self.propbaser);
        let pending = Pendbaser::from_bits(self.pendbaser).address();
        [
            (propbaser.address(), propbaser.bytes()),
            (pending, Pendbaser::bytes(propbaser.id_bits())),
        ]
    }

    /// Whether an LPI of this number can be pending here.
    pub(crate) fn takes(&self, intid: u32) -> bool {
        let limit = intids(Propbaser::from_bits(self.propbaser).id_bits());
        self.lpis && intid >= FIRST_LPI && u64::from(intid) < limit
    }

    pub(crate) fn set_pending(&mut self, intid: u32) {
        if self.takes(intid) {
            self.pending.insert(intid);
        }
    }

    /// Clears the pending state; returns whether it was pending.
    pub(crate) fn clear_pending(&mut self, intid: u32) -> bool {
        self.pending.remove(&intid)
    }

    /// Takes all pending LPIs away.
    pub(crate) fn take_pending(&mut self) -> BTreeSet<u32> {
        std::mem::take(&mut self.pending)
    }

    pub(crate) fn pending(&self) -> &BTreeSet<u32> {
        &self.pending
    }

    /// Whether the register file has an access of `bytes` at `offset`: 32 bits everywhere, 64 bits at an
    /// 8-byte boundary that is not GICR_CTLR's.
    pub(crate) fn has_access(offset: u64, bytes: u64) -> bool {
        match bytes {
            4 => offset.is_multiple_of(4),
            8 => offset.is_multiple_of(8) && offset != CTLR,
            _ => false,
        }
    }

    pub(crate) fn read(&self, offset: u64, bytes: u64) -> u64 {
        let register = offset & !7;
        let whole = match register {
            CTLR => u64::from(
                RedistributorCtlr::new()
                    .with_enable_lpis(self.lpis)
                    .into_bits(),
            ),
            TYPER => 1 | u64::from(self.number) << 8 | u64::from(self.number) << 32,
            PROPBASER => self.propbaser,
            PENDBASER => self.pendbaser,
            _ => 0,
        };
        match (bytes, offset & 4) {
            (8, _) => whole,
            (_, 0) => whole & 0xffff_ffff,
            _ => whole >> 32,
        }
    }

    /// Returns whether the tables or LPIs changed. EnableLPIs cannot be cleared (RES1 once set), and the
    /// tables are fixed meanwhile.
    pub(crate) fn write(&mut self, offset: u64, bytes: u64, value: u64) -> bool {
        let merge = |whole: u64| match (bytes, offset & 4) {
            (8, _) => value,
            (_, 0) => whole & !0xffff_ffff | value,
            _ => whole & 0xffff_ffff | value << 32,
        };
        match offset & !7 {
            CTLR if offset == CTLR && !self.lpis => {
                self.lpis = RedistributorCtlr::from_bits(value as u32).enable_lpis();
                self.lpis
            }
            PROPBASER if !self.lpis => {
                self.propbaser = merge(self.propbaser);
                false
            }
            PENDBASER if !self.lpis => {
                self.pendbaser = merge(self.pendbaser) & !(1 << 62);
                false
            }
            _ => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lpis_are_taken_once_enabled_and_in_range() {
        let mut redistributor = Redistributor::new(1);
        redistributor.write(PROPBASER, 8, 0x8004_0000 | 15);
        redistributor.set_pending(8192);
        assert!(redistributor.pending().is_empty());
        redistributor.write(CTLR, 4, 1);
        for intid in [8191, 8192, 65535, 65536] {
            redistributor.set_pending(intid);
        }
        assert!(redistributor.pending().iter().eq(&[8192, 65535]));
        assert!(!redistributor.write(PROPBASER, 8, 0), "fixed while enabled");
        assert_eq!(redistributor.read(PROPBASER, 4), 0x8004_0000 | 15);
        assert_eq!(redistributor.read(TYPER, 8) >> 8 & 0xffff, 1);
    }
}
