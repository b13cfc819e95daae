//! Switching the ITS on and off, suspend and resume, as Linux does it.

use its_gic::register::BASER_COUNT;
use its_gic::{Baser, Ctlr, Register};

use crate::Perform;
use crate::driver::{Acting, PATIENCE};

impl<P: Perform> Acting<'_, P> {
    /// Clears or sets Enabled; the other bits stay as read.
    pub fn enable(&mut self, enabled: bool) {
        let read = self.read(Register::Ctlr) as u32;
        let ctlr = Ctlr::from_bits(read).with_enabled(enabled);
        self.write(Register::Ctlr, ctlr.into_bits().into());
    }

    /// Clears Enabled and waits for Quiescent.
    pub fn quiesce(&mut self) {
        let ctlr = Ctlr::from_bits(self.read(Register::Ctlr) as u32);
        if ctlr.enabled() || !ctlr.quiescent() {
            self.enable(false);
        }
        for _ in 0..PATIENCE {
            if Ctlr::from_bits(self.read(Register::Ctlr) as u32).quiescent() {
                return;
            }
        }
    }

    /// Suspend: drain, quiesce, remember CBASER.
    pub fn suspend(&mut self) {
        self.drain();
        self.quiesce();
        self.read(Register::Cbaser);
    }

    /// Resume: program everything again and enable; collections without memory are mapped again.
    pub fn resume(&mut self) {
        self.quiesce();
        self.write(Register::Cbaser, self.cbaser);
        self.restart();
        self.write(Register::Cwriter, 0);
        for n in 0..BASER_COUNT {
            if Baser::from_bits(self.baser(n)).valid() {
                self.write(Register::Baser(n), self.baser(n));
            }
        }
        self.enable(true);
        let cpus = self.machine.cpus().end;
        for icid in 0..cpus.min(self.configuration().hardware_collections) {
            self.map_collection(icid.into());
        }
    }
}
