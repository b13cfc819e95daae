//! The register table of a guarded ITS, and when it is at rest (P11).

use its_el2::El2;
use its_gic::{Baser, Cbaser, Creadr, Ctlr, Cwriter, Part, Register};

use crate::guarded::{Guarded, Run};
use crate::physical::PhysicalIts;

impl Guarded {
    pub(crate) fn read<E: El2>(&mut self, its: &PhysicalIts<E>, register: Register) -> u64 {
        match register {
            Register::Ctlr => u64::from(self.read_ctlr(its).into_bits()),
            Register::Cbaser => self.shown_cbaser().into_bits(),
            Register::Cwriter => self.written,
            Register::Creadr => {
                self.poll(its);
                self.creadr().into_bits()
            }
            Register::Baser(n) => self.shown_baser(n).into_bits(),
            Register::Iidr
            | Register::Typer
            | Register::Mpidr
            | Register::Mpamidr
            | Register::Umsir
            | Register::Identification(_) => its.read(register),
            Register::Statusr | Register::Partidr | Register::Reserved(_) => 0,
        }
    }

    /// Writes `part` of a register with `value`; the other half is kept.
    pub(crate) fn write<E: El2>(
        &mut self,
        its: &PhysicalIts<E>,
        register: Register,
        part: Part,
        value: u64,
    ) {
        match register {
            Register::Ctlr => self.write_ctlr(its, Ctlr::from_bits(value as u32)),
            Register::Cbaser => {
                let whole = part.insert(self.shown_cbaser().into_bits(), value);
                self.write_cbaser(its, Cbaser::from_bits(whole));
            }
            Register::Cwriter => {
                let whole = part.insert(self.written, value);
                self.write_cwriter(its, Cwriter::from_bits(whole));
            }
            Register::Baser(n) => {
                let whole = part.insert(self.shown_baser(n).into_bits(), value);
                self.write_baser(its, n, Baser::from_bits(whole));
            }
            _ => {}
        }
    }

    /// Reads GITS_CTLR and learns from it whether the ITS is at rest, or lost power at work.
    pub(crate) fn read_ctlr<E: El2>(&mut self, its: &PhysicalIts<E>) -> Ctlr {
        let ctlr = its.ctlr();
        match self.run {
            Run::Running if !ctlr.enabled() => self.run = Run::Lost,
            Run::Stopping if ctlr.quiescent() && !ctlr.enabled() => {
                // Quiescent reads 1 after a loss of power too, but CBASER is not then as it was
                // left, or firmware restored it, and CREADR is 0.
                self.run = if self.cbaser_stands(its) && self.creadr_stands(its) {
                    Run::AtRest
                } else {
                    Run::Lost
                };
            }
            _ => {}
        }
        ctlr
    }

    fn is_at_rest<E: El2>(&mut self, its: &PhysicalIts<E>) -> bool {
        if self.run == Run::Stopping {
            self.read_ctlr(its);
        }
        self.run == Run::AtRest
    }

    fn write_ctlr<E: El2>(&mut self, its: &PhysicalIts<E>, wanted: Ctlr) {
        if !wanted.enabled() {
            if self.look(its) {
                its.write(Register::Ctlr, u64::from(self.ctlr.into_bits()));
                self.run = Run::Stopping;
            }
        } else if self.is_at_rest(its) && self.may_start(its) {
            let ctlr = self.ctlr.with_enabled(true);
            its.write(Register::Ctlr, u64::from(ctlr.into_bits()));
            self.run = Run::Running;
            self.poll(its);
        }
    }

    /// Whether nothing is in flight and the hardware has everything that it had at set-up.
    fn may_start<E: El2>(&self, its: &PhysicalIts<E>) -> bool {
        self.judged == self.consumed
            && its.creadr().into_bits() == self.consumed
            && its.cwriter().offset() == self.consumed
            && self.cbaser_stands(its)
            && (0_u8..).zip(&self.facts.tables).all(|(n, table)| {
                !table.recorded.valid()
                    || (its.baser(n).into_bits() ^ table.recorded.into_bits()) & Baser::WRITABLE
                        == 0
            })
    }

    /// Whether GITS_CBASER reads as recorded, Valid.
    fn cbaser_stands<E: El2>(&self, its: &PhysicalIts<E>) -> bool {
        (its.cbaser().into_bits() ^ self.cbaser.into_bits()) & Cbaser::WRITABLE == 0
    }

    /// Whether GITS_CREADR is where the commands in flight can have brought it.
    fn creadr_stands<E: El2>(&self, its: &PhysicalIts<E>) -> bool {
        let offset = its.creadr().offset();
        let queue = self.queue();
        offset < queue.bytes && queue.distance(self.consumed, offset) <= self.in_flight()
    }

    fn shown_cbaser(&self) -> Cbaser {
        self.cbaser.with_valid(self.cbaser_valid)
    }

    /// The ITS may have lost power since it came to rest, so the hardware always gets the write.
    fn write_cbaser<E: El2>(&mut self, its: &PhysicalIts<E>, wanted: Cbaser) {
        let differs = wanted.into_bits() ^ self.cbaser.into_bits();
        if differs & Cbaser::WRITABLE & !Cbaser::VALID != 0 || !self.is_at_rest(its) {
            return;
        }
        self.cbaser_valid = wanted.valid();
        its.write(Register::Cbaser, self.shown_cbaser().into_bits());
        its.write(Register::Cwriter, 0);
        self.restart_queue(its.el2);
    }

    fn shown_baser(&self, n: u8) -> Baser {
        let table = self.facts.tables.get(usize::from(n));
        table.map_or(Baser::new(), |table| table.shown())
    }

    fn write_baser<E: El2>(&mut self, its: &PhysicalIts<E>, n: u8, wanted: Baser) {
        if !self.is_at_rest(its) {
            return;
        }
        let Some(table) = self.facts.tables.get_mut(usize::from(n)) else {
            return;
        };
        let differs = wanted.into_bits() ^ table.recorded.into_bits();
        if differs & Baser::WRITABLE & !Baser::VALID != 0 {
            return;
        }
        if wanted.valid() && !table.recorded.valid() {
            return;
        }
        table.valid = wanted.valid();
        its.write(Register::Baser(n), table.shown().into_bits());
    }

    /// GITS_CREADR as the host reads it (P10).
    fn creadr(&self) -> Creadr {
        Creadr::from_bits(self.consumed).with_stalled(self.is_stalled())
    }
}
