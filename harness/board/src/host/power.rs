//! Switching the ITS on and off, suspend and resume, as Linux does it.

use its_gic::register::BASER_COUNT;
use its_gic::{Baser, Ctlr, Register};
use its_machine::CPUS;

use super::{Host, PATIENCE, Perform};

impl Host {
    /// Clears or sets Enabled; the other bits stay as read.
    pub fn enable(&mut self, cpu: u8, enabled: bool, on: &mut impl Perform) {
        let read = self.read(cpu, Register::Ctlr, on) as u32;
        let ctlr = Ctlr::from_bits(read).with_enabled(enabled);
        self.write(cpu, Register::Ctlr, ctlr.into_bits().into(), on);
    }

    /// Clears Enabled and waits for Quiescent.
    pub fn quiesce(&mut self, cpu: u8, on: &mut impl Perform) {
        let ctlr = Ctlr::from_bits(self.read(cpu, Register::Ctlr, on) as u32);
        if ctlr.enabled() || !ctlr.quiescent() {
            self.enable(cpu, false, on);
        }
        for _ in 0..PATIENCE {
            if Ctlr::from_bits(self.read(cpu, Register::Ctlr, on) as u32).quiescent() {
                return;
            }
        }
    }

    /// Suspend: drain, quiesce, remember CBASER.
    pub fn suspend(&mut self, cpu: u8, on: &mut impl Perform) {
        self.drain(cpu, on);
        self.quiesce(cpu, on);
        self.read(cpu, Register::Cbaser, on);
    }

    /// Resume: program everything again and enable; collections without memory are mapped again.
    pub fn resume(&mut self, cpu: u8, on: &mut impl Perform) {
        self.quiesce(cpu, on);
        self.write(cpu, Register::Cbaser, self.cbaser, on);
        self.restart();
        self.write(cpu, Register::Cwriter, 0, on);
        for n in 0..BASER_COUNT {
            if Baser::from_bits(self.baser(n)).valid() {
                self.write(cpu, Register::Baser(n), self.baser(n), on);
            }
        }
        self.enable(cpu, true, on);
        for icid in 0..CPUS.min(self.configuration().hardware_collections) {
            self.map_collection(cpu, icid.into(), on);
        }
    }
}
