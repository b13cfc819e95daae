//! Whether anybody can know what the guarded ITSs follow.
//!
//! Power that goes after EL2 cleared Enabled and before it saw the ITS at rest looks like rest
//! (POLICY: P11), if firmware restores the registers and CREADR, which is then 0, could be 0. A
//! right emulation may let such an ITS run on stale tables, so that nothing can be judged any more.

use its_gic::register::OFFSET_MASK;
use its_gic::{Ctlr, Register};
use its_machine::{Action, Event};

use crate::guards::Guards;

/// What EL2 made of an ITS.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Stop {
    #[default]
    Runs,
    /// EL2 cleared Enabled.
    Cleared,
    /// EL2 read Quiescent after that.
    Quiescent,
    /// EL2 read CREADR after that.
    AtRest,
}

#[derive(Clone, Copy, Debug, Default)]
struct Known {
    stop: Stop,
    /// CREADR as EL2 read it last before it cleared Enabled.
    creadr: u64,
}

#[derive(Clone, Debug, Default)]
pub(crate) struct Doubt {
    /// By ITS.
    its: Vec<Known>,
    pub is_there: bool,
}

impl Doubt {
    pub(crate) fn new(its: usize) -> Self {
        Self { its: vec![Known::default(); its], is_there: false }
    }

    /// Follows events, and the action that they end if it is over. `writer`: CWRITER of an ITS.
    pub(crate) fn note(
        &mut self,
        events: &[Event],
        over: Option<&Action>,
        guards: &Guards,
        writer: impl FnOnce(u8) -> u64,
    ) {
        for event in events {
            self.follow(event, guards);
        }
        if let Some(&Action::PowerLoss { its, restored: true }) = over
            && let Some(known) = self.its.get(usize::from(its))
            && matches!(known.stop, Stop::Cleared | Stop::Quiescent)
        {
            let writer = writer(its) & OFFSET_MASK;
            self.is_there |= known.creadr == 0 || writer == 0 || writer < known.creadr;
        }
    }

    fn follow(&mut self, event: &Event, guards: &Guards) {
        let (address, value, is_write) = match *event {
            Event::DeviceRead { address, value, .. } => (address, value, false),
            Event::DeviceWrite { address, value, .. } => (address, value, true),
            _ => return,
        };
        let Some((its, register)) = guards.register(address) else {
            return;
        };
        let Some(known) = self.its.get_mut(usize::from(its)) else {
            return;
        };
        let ctlr = Ctlr::from_bits(value as u32);
        match (register, is_write, known.stop) {
            (Register::Ctlr, true, _) if ctlr.enabled() => known.stop = Stop::Runs,
            (Register::Ctlr, true, Stop::Runs) => known.stop = Stop::Cleared,
            (Register::Ctlr, false, Stop::Cleared) if ctlr.quiescent() && !ctlr.enabled() => {
                known.stop = Stop::Quiescent;
            }
            (Register::Creadr, false, Stop::Runs) => known.creadr = value & OFFSET_MASK,
            (Register::Creadr, false, Stop::Quiescent) => known.stop = Stop::AtRest,
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{guards, read, write};

    const LOSS: Action = Action::PowerLoss { its: 0, restored: true };

    /// Whether there is doubt after these events and a loss of power, with this CWRITER.
    fn doubt(events: &[Event], loss: &Action, writer: u64) -> bool {
        let mut doubt = Doubt::new(1);
        doubt.note(events, Some(loss), &guards(), |_| writer);
        doubt.is_there
    }

    #[test]
    fn a_restored_its_that_nobody_saw_at_rest_is_in_doubt() {
        let looked = |creadr| read(Register::Creadr, creadr);
        let clears = write(Register::Ctlr, 0);
        let rests = read(Register::Ctlr, 1 << 31);
        assert!(doubt(&[looked(0), clears], &LOSS, 0x40));
        assert!(doubt(&[looked(0), clears, rests], &LOSS, 0x40));
        assert!(doubt(&[looked(0x40), clears], &LOSS, 0x20), "around the end of the queue");
        assert!(!doubt(&[looked(0x20), clears], &LOSS, 0x40), "CREADR shows it");
        assert!(!doubt(&[looked(0), clears, rests, looked(0)], &LOSS, 0x40), "at rest");
        assert!(!doubt(&[looked(0)], &LOSS, 0x40), "at work");
        let gone = Action::PowerLoss { its: 0, restored: false };
        assert!(!doubt(&[looked(0), clears], &gone, 0x40), "CBASER shows it");
        let starts = write(Register::Ctlr, 1);
        assert!(!doubt(&[looked(0), clears, rests, looked(0), starts], &LOSS, 0x40));
    }
}
