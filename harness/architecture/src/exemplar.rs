//! The reference as an ITS of its own: carries out actions instead of judging what another did.
//!
//! Commands are taken at once, so that nothing is ever in flight. Where several things are allowed
//! the first is done, and the result says that there were others.

use its_gic::{Command, Part, Register};
use its_machine::freedom::choice::OnError;
use its_machine::{Action, CommandError, Direction, Event, Outcome};

use crate::architecture::{Architecture, Partial};
use crate::fault::Fault;
use crate::judge::{NO_INTERRUPT, Named};
use crate::judgement::Judgement;
use crate::path::Undefined;

/// Slots of the largest queue: no ITS takes more commands in one go.
const MOST_COMMANDS: usize = 32768;

/// GITS_CTLR.Quiescent.
const QUIESCENT: u64 = 1 << 31;

/// What came of an action.
#[derive(Clone, Debug)]
pub struct CarriedOut {
    pub outcome: Outcome,
    /// Bits of a value that is returned which could be no other.
    pub known: u64,
    /// The commands that were taken, in order.
    pub events: Vec<Event>,
    /// The architecture no longer says what must happen.
    pub poisoned: Option<&'static str>,
    /// Whether a command or an acknowledged interrupt could have gone another way.
    pub open: bool,
}

impl Architecture {
    /// Does one action as an ITS would that does what the reference says. Bits of a register that
    /// are not known read as they were written, or 0.
    pub fn carry_out(&mut self, action: &Action) -> CarriedOut {
        let (outcome, known, mut open) = self.outcome_of(action);
        let mut judgement = self.judge(action, &outcome, &[]);
        let mut events = Vec::new();
        for its in 0..self.machine.its.len() {
            for _ in 0..MOST_COMMANDS {
                if judgement.poisoned.is_some() || !self.its[its].can_fetch() {
                    break;
                }
                match self.next(its) {
                    Ok((event, others)) => {
                        open |= others;
                        events.push(event);
                        judgement = self.take_alone(event);
                    }
                    Err(why) => judgement.poison(why),
                }
            }
        }
        CarriedOut { outcome, known, events, poisoned: judgement.poisoned, open }
    }

    fn take_alone(&mut self, event: Event) -> Judgement {
        let its = 0;
        let time = Action::Advance { its, commands: 1 };
        self.judge(&time, &Outcome::Done, &[event])
    }

    /// What comes back to whoever does this, before any command is taken; which bits of it are
    /// known; and whether it could be something else altogether.
    fn outcome_of(&self, action: &Action) -> (Outcome, u64, bool) {
        let certain = |outcome| (outcome, u64::MAX, false);
        match *action {
            Action::Device { address, size, direction: Direction::Read, .. } => {
                let (part, held) = self.held(address, size.bytes());
                let value = Outcome::Value(part.extract(held.value));
                (value, part.extract(held.known), false)
            }
            Action::Load { address, .. } if self.is_word(address) => {
                certain(Outcome::Value(self.latest(address)))
            }
            Action::Store { address, .. } if self.is_word(address) => certain(Outcome::Done),
            Action::StoreCommand { address, .. }
                if self.is_word(address) && address.is_multiple_of(32) =>
            {
                certain(Outcome::Done)
            }
            Action::Load { .. } | Action::Store { .. } | Action::StoreCommand { .. } => {
                certain(Outcome::Refused)
            }
            Action::Acknowledge { cpu } => {
                let offers = self.offers(cpu.into()).unwrap_or_default();
                let first = offers.first().copied().flatten();
                let value = first.map_or(NO_INTERRUPT, u64::from);
                (Outcome::Value(value), u64::MAX, offers.len() != 1)
            }
            Action::Device { direction: Direction::Write(_), .. }
            | Action::Hypercall { .. }
            | Action::Msi { .. }
            | Action::PowerLoss { .. }
            | Action::EnabledByOther { .. }
            | Action::Clean { .. }
            | Action::WriteBack { .. }
            | Action::Advance { .. } => certain(Outcome::Done),
        }
    }

    fn is_word(&self, address: u64) -> bool {
        address.is_multiple_of(8) && self.machine.is_memory(address, 8)
    }

    /// The register that an access names, or nothing, of which nothing is known.
    fn held(&self, address: u64, bytes: u64) -> (Part, Partial) {
        match self.named(address, bytes) {
            Some(Named::Its(its, register, part)) => {
                let mut held = self.its[its].read(register);
                // Nothing is ever in flight here.
                if register == Register::Ctlr {
                    held.value |= QUIESCENT & !held.known;
                }
                (part, held)
            }
            Some(Named::Redistributor(n, register, part)) => {
                let mut redistributor = self.redistributors[n].clone();
                (part, redistributor.read(register, 0, &self.its[0].freedoms))
            }
            None => (Part::Whole, Partial::default()),
        }
    }

    /// What an ITS does about the command at CREADR, and whether it could do something else.
    fn next(&self, its: usize) -> Result<(Event, bool), Undefined> {
        let registers = &self.its[its].registers;
        let freedoms = self.its[its].freedoms;
        let offset = registers.offset();
        let queue = registers.queues(&freedoms).next();
        let words = queue.map(|queue| self.memory.command(queue.slot(offset))).unwrap_or_default();
        let results = self.ways(its, Command::decode(words))?;
        let results: Vec<_> = results.into_iter().map(|(_, result)| result).collect();
        let (its, stalls) = (its as u8, freedoms.allow(OnError::Stall));
        let both = stalls && freedoms.allow(OnError::Ignore);
        let mut error = None;
        let mut several = false;
        match results.first() {
            Some(Err(Fault::Undefined(why))) => return Err(why),
            Some(Err(Fault::Error(numbers))) => {
                error = Some(CommandError(numbers.first().copied()));
                several = numbers.len() > 1;
            }
            Some(Ok(())) | None => {}
        }
        let differ = results.iter().any(|result| *result != results[0]);
        let open = differ || several || error.is_some() && both;
        let event = match error {
            error @ Some(_) if stalls => Event::Stalled { its, offset, words, error },
            error => Event::Consumed { its, offset, words, error },
        };
        Ok((event, open))
    }
}
