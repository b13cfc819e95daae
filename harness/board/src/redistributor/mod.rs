//! A redistributor as far as LPIs go: its registers here; `lpis` keeps what is pending and how it
//! is configured.
//!
//! What it is free to do follows the choices of the first ITS of the machine.

mod lpis;

use its_gic::Part;
use its_gic::redistributor::{
    CTLR, INVALLR, INVLPIR, PENDBASER, PROPBASER, Pendbaser, Propbaser, RedistributorCtlr, TYPER,
};
use its_machine::freedom::choice::{BusyLpiWrite, EnableLpis, PendingTableZero, Quiescent};
use its_machine::{Choices, Coherence, Machine};

use crate::memory::Memory;
use lpis::Lpis;

#[derive(Clone)]
pub(crate) struct Redistributor {
    /// Of the CPU, which is its affinity.
    number: u8,
    processor_number: u8,
    /// GICR_TYPER.Last
    last: bool,
    choices: Choices,
    coherence: Coherence,
    enabled: bool,
    /// Reads of GICR_CTLR for which RWP is still 1.
    in_progress: u8,
    propbaser: u64,
    /// Without PTZ, which reads zero.
    pendbaser: u64,
    ptz: bool,
    lpis: Lpis,
}

/// What a register write led to beyond the register.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Written {
    Nothing,
    /// LPIs were switched on: the tables are in use from now on.
    Started,
    /// LPIs were switched off: the tables are no longer in use, and the pending table may have new
    /// contents.
    Stopped,
    /// The architecture calls the write to this offset UNPREDICTABLE.
    Unpredictable(u64),
}

impl Redistributor {
    pub(crate) fn new(number: u8, machine: &Machine) -> Self {
        let choices = machine.configuration(0).choices;
        Self {
            number,
            processor_number: machine.processor_number(number),
            last: usize::from(number) + 1 == machine.redistributors.len(),
            choices,
            enabled: false,
            in_progress: 0,
            propbaser: 0,
            pendbaser: 0,
            ptz: false,
            coherence: machine.coherence,
            lpis: Lpis::new(machine),
        }
    }

    /// All redistributors of a machine, as they are after reset.
    pub(crate) fn all(machine: &Machine) -> Vec<Self> {
        machine.cpus().map(|number| Self::new(number, machine)).collect()
    }

    pub(crate) fn lpis_are_on(&self) -> bool {
        self.enabled
    }

    fn propbaser(&self) -> Propbaser {
        Propbaser::from_bits(self.propbaser)
    }

    /// Bits of an INTID, minus 1, as PROPBASER has them.
    pub(crate) fn id_bits(&self) -> u8 {
        self.propbaser().id_bits()
    }

    /// Configuration and pending table as (address, bytes).
    pub(crate) fn tables(&self) -> [(u64, u64); 2] {
        let propbaser = self.propbaser();
        let pending = Pendbaser::from_bits(self.pendbaser).address();
        [(propbaser.address(), propbaser.bytes()), (pending, Pendbaser::bytes(propbaser.id_bits()))]
    }

    /// Whether the register file has an access of `bytes` at `offset`: 32 bits everywhere, 64 bits
    /// at an 8-byte boundary that is not GICR_CTLR's.
    pub(crate) fn has_access(offset: u64, bytes: u64) -> bool {
        match bytes {
            4 => offset.is_multiple_of(4),
            8 => offset.is_multiple_of(8) && offset != CTLR,
            _ => false,
        }
    }

    fn part(offset: u64, bytes: u64) -> Part {
        match (bytes, offset & 4) {
            (8, _) => Part::Whole,
            (_, 0) => Part::Low,
            _ => Part::High,
        }
    }

    /// A read of one of its frames. What is not here reads zero: WAKER (awake), SYNCR (never busy),
    /// and all that has nothing to do with LPIs.
    pub(crate) fn read(&mut self, offset: u64, bytes: u64) -> u64 {
        let whole = match offset & !7 {
            CTLR => u64::from(self.control().into_bits()),
            TYPER => {
                let (processor, affinity) =
                    (u64::from(self.processor_number), u64::from(self.number));
                1 | u64::from(self.last) << 4 | processor << 8 | affinity << 32
            }
            PROPBASER => self.propbaser,
            PENDBASER => self.pendbaser,
            _ => 0,
        };
        if offset == CTLR {
            self.in_progress = self.in_progress.saturating_sub(1);
        }
        Self::part(offset, bytes).extract(whole)
    }

    fn control(&self) -> RedistributorCtlr {
        RedistributorCtlr::new()
            .with_enable_lpis(self.enabled)
            .with_ces(self.choices.picks(EnableLpis::Clearable))
            .with_ir(true)
            .with_rwp(self.in_progress > 0)
    }

    pub(crate) fn write(
        &mut self,
        offset: u64,
        bytes: u64,
        value: u64,
        memory: &mut Memory,
    ) -> Written {
        let part = Self::part(offset, bytes);
        let register = offset & !7;
        match register {
            CTLR if offset == CTLR => {
                let wanted = RedistributorCtlr::from_bits(value as u32).enable_lpis();
                return self.enable(wanted, memory);
            }
            PROPBASER | PENDBASER if self.enabled || self.in_progress > 0 => {
                if self.choices.picks(BusyLpiWrite::Taken) {
                    self.write_pointer(register, part, value);
                }
                return Written::Unpredictable(register);
            }
            PROPBASER | PENDBASER => self.write_pointer(register, part, value),
            INVLPIR if part != Part::High => self.forget(value as u32),
            INVALLR if part != Part::High => self.forget_all(),
            _ => {}
        }
        Written::Nothing
    }

    fn write_pointer(&mut self, register: u64, part: Part, value: u64) {
        match register {
            PROPBASER => self.write_propbaser(part, value),
            _ => self.write_pendbaser(part, value),
        }
    }

    fn write_propbaser(&mut self, part: Part, value: u64) {
        let written = Propbaser::from_bits(part.insert(self.propbaser, value));
        let shareable = self.coherence.propbaser.is_shareable();
        self.propbaser = if shareable { written } else { written.with_shareability(0) }.into_bits();
    }

    /// PTZ keeps what was last written to the half that holds it, though it reads zero.
    fn write_pendbaser(&mut self, part: Part, value: u64) {
        let shown = part.insert(self.pendbaser, value);
        let written = Pendbaser::from_bits(shown);
        if part != Part::Low {
            self.ptz = written.ptz();
        }
        let shareable = self.coherence.pendbaser.is_shareable();
        let written = if shareable { written } else { written.with_shareability(0) };
        self.pendbaser = written.with_ptz(false).into_bits();
    }

    /// EnableLPIs := `wanted`. Whether it can be cleared is a choice.
    fn enable(&mut self, wanted: bool, memory: &mut Memory) -> Written {
        match (self.enabled, wanted) {
            (false, true) => {
                let [(configuration, _), (pending, _)] = self.tables();
                self.enabled = true;
                self.lpis.start(configuration, self.id_bits());
                if !self.ptz || self.choices.picks(PendingTableZero::Ignored) {
                    self.lpis.load(pending, memory);
                }
                Written::Started
            }
            (true, false) if self.choices.picks(EnableLpis::Clearable) => {
                let [_, (pending, _)] = self.tables();
                self.enabled = false;
                self.in_progress = u8::from(self.choices.picks(Quiescent::Late));
                self.lpis.stop(pending, memory);
                Written::Stopped
            }
            _ => Written::Nothing,
        }
    }
}

#[cfg(test)]
mod tests;
