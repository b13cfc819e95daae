//! The command queue (P9 to P11): W, J and C around the ring, C <= J <= W.

use its_el2::El2;
use its_gic::command::COMMAND_BYTES;
use its_gic::{Command, Creadr, Cwriter, Register};

use crate::guarded::{Guarded, Run};
use crate::judge::judge;
use crate::memory;
use crate::physical::PhysicalIts;
use crate::records::Itt;
use crate::redistributor;
use crate::tables;

/// The most commands from C to J, and so the most that a trap judges or takes as consumed (P13).
pub(crate) const COMMANDS_IN_FLIGHT: u32 = 64;

/// What becomes of an ITT that a command unmaps.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Old {
    GivenBack,
    /// Nobody knows whether the command was carried out.
    KeptForGood,
}

impl Guarded {
    /// A look at the hardware: takes C and releases what was consumed. False if the ITS does not
    /// run: then nothing changed. CTLR is read second, so that CREADR is known to have been read in
    /// time.
    pub(crate) fn look<E: El2>(&mut self, its: &PhysicalIts<E>) -> bool {
        let creadr = its.creadr();
        let ctlr = self.read_ctlr(its);
        if !ctlr.enabled() || self.run != Run::Running {
            return false;
        }
        self.consume(its.el2, creadr);
        true
    }

    /// A look, and then judging.
    pub(crate) fn poll<E: El2>(&mut self, its: &PhysicalIts<E>) {
        if self.look(its) {
            self.submit(its);
        }
    }

    /// Stalled, as the host sees it.
    pub(crate) fn is_stalled(&self) -> bool {
        self.stalled || (self.refused && self.consumed == self.judged)
    }

    pub(crate) fn write_cwriter<E: El2>(&mut self, its: &PhysicalIts<E>, wanted: Cwriter) {
        let runs = self.look(its);
        let offset = wanted.offset();
        let queue = self.queue();
        let accepted =
            offset < queue.bytes && queue.distance(self.consumed, offset) >= self.in_flight();
        if accepted {
            self.written = offset;
        }
        if !runs {
            return;
        }
        if accepted && wanted.retry() {
            self.retry(its);
        }
        self.submit(its);
    }

    /// The host wrote CBASER at rest. What was in flight is taken as done.
    pub(crate) fn restart_queue<E: El2>(&mut self, el2: &E) {
        self.settle_until(el2, self.judged, Old::KeptForGood);
        self.consumed = 0;
        self.judged = 0;
        self.written = 0;
        self.stalled = false;
        self.refused = false;
    }

    fn consume<E: El2>(&mut self, el2: &E, creadr: Creadr) {
        let queue = self.queue();
        let end = creadr.offset();
        // The hardware cannot be beyond what it was given. Were it so, nothing would be released.
        if end >= queue.bytes || queue.distance(self.consumed, end) > self.in_flight() {
            return;
        }
        self.settle_until(el2, end, Old::GivenBack);
        self.stalled = creadr.stalled();
    }

    /// Moves C to `end`, which is not beyond J, command by command.
    fn settle_until<E: El2>(&mut self, el2: &E, end: u64, old: Old) {
        for _ in 0..COMMANDS_IN_FLIGHT {
            if self.consumed == end {
                break;
            }
            let slot = self.queue().slot(self.consumed);
            self.settle(el2, Command::decode(el2.read_command(slot)), old);
            self.consumed = self.queue().after(self.consumed);
        }
    }

    /// Records what a command that was carried out did.
    fn settle<E: El2>(&mut self, el2: &E, command: Command, old: Old) {
        let Command::Mapd { device_id, size, itt_address, valid } = command else {
            return;
        };
        let unmapped = if valid {
            self.mapds_in_flight = self.mapds_in_flight.saturating_sub(1);
            let itt = Itt { address: itt_address, size };
            // There is room: the command held a record from submission.
            self.records.insert(el2, device_id, itt).ok().flatten()
        } else {
            self.records.remove(el2, device_id)
        };
        if let (Some(itt), Old::GivenBack) = (unmapped, old) {
            self.give_back(el2, itt);
        }
    }

    /// Judges from J towards W, and writes the hardware's CWRITER once. Only while the ITS runs.
    fn submit<E: El2>(&mut self, its: &PhysicalIts<E>) {
        let before = self.judged;
        for _ in 0..COMMANDS_IN_FLIGHT {
            let full = self.in_flight() >= u64::from(COMMANDS_IN_FLIGHT);
            if self.refused || self.judged == self.written || full {
                break;
            }
            if self.take(its.el2, self.judged) {
                self.judged = self.queue().after(self.judged);
            } else {
                self.refused = true;
            }
        }
        if self.judged != before {
            its.el2.order();
            its.write(Register::Cwriter, self.judged);
        }
    }

    /// CWRITER.Retry, for a stall of the hardware and a refusal at once. Only while the ITS runs.
    fn retry<E: El2>(&mut self, its: &PhysicalIts<E>) {
        if !self.is_stalled() {
            return;
        }
        if self.stalled {
            if self.consumed == self.judged || !self.retake_stalled(its.el2) {
                return;
            }
            self.stalled = false;
            its.el2.order();
            let again = Cwriter::from_bits(self.judged).with_retry(true);
            its.write(Register::Cwriter, again.into_bits());
        }
        self.refused = false;
    }

    /// Takes slot C again, at which the hardware stalled: the old command had no effect.
    fn retake_stalled<E: El2>(&mut self, el2: &E) -> bool {
        let slot = self.queue().slot(self.consumed);
        let old = Command::decode(el2.read_command(slot));
        let mapds_in_flight = self.mapds_in_flight;
        if matches!(old, Command::Mapd { valid: true, .. }) {
            self.mapds_in_flight = mapds_in_flight.saturating_sub(1);
        }
        if !self.take(el2, self.consumed) {
            self.mapds_in_flight = mapds_in_flight;
            return false;
        }
        if let Command::Mapd { size, itt_address: address, valid: true, .. } = old {
            self.give_back(el2, Itt { address, size });
        }
        true
    }

    /// Copies the host's command at `offset`, judges the copy, borrows for it and writes it to
    /// EL2's slot. False, and nothing borrowed, if it is refused.
    fn take<E: El2>(&mut self, el2: &E, offset: u64) -> bool {
        let words = el2.read_command(self.host_queue.wrapping_add(offset));
        let known = |rdbase| redistributor::is_known(el2, self.facts.typer, rdbase);
        let Some(accepted) = judge(&self.facts, Command::decode(words), known) else {
            return false;
        };
        // P7: it needs a record even if the device has one now, since that may go before its turn.
        if accepted.itt.is_some() && self.records.free() <= self.mapds_in_flight {
            return false;
        }
        if accepted.level2.is_some_and(|needed| !tables::grow(el2, needed)) {
            return false;
        }
        if let Some(itt) = accepted.itt {
            if memory::borrow(el2, itt.span(self.facts.typer.itt_entry_bytes())).is_err() {
                return false;
            }
            self.mapds_in_flight = self.mapds_in_flight.saturating_add(1);
        }
        let slot = self.queue().slot(offset);
        el2.write_command(slot, accepted.command.encode());
        el2.clean(slot, COMMAND_BYTES);
        true
    }

    fn give_back<E: El2>(&self, el2: &E, itt: Itt) {
        memory::give_back(el2, itt.span(self.facts.typer.itt_entry_bytes()));
    }
}
