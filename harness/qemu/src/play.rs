//! Cases on a QEMU.

use its_device::{Answer, Device, Step};
use its_gic::Register;
use its_gic::redistributor::{CTLR, PROPBASER};
use its_machine::{AccessSize, Action, Event, Machine, Outcome};

use crate::actions::Deed;
use crate::facts::{CPUS, DISTRIBUTOR_CTLR, DISTRIBUTOR_ON, ITS, redistributor};
use crate::look;
use crate::process::Process;
use crate::qtest::{Answers, Batch};
use crate::queue::{Effect, QueueState, Stored};
use crate::{Error, Installed};

/// One QEMU process with a machine like the board's. It ends when this is dropped.
#[derive(Debug)]
pub struct Qemu {
    process: Process,
    machine: Machine,
    /// A case failed half-way.
    spent: bool,
    batch: Batch,
    answers: Answers,
    stored: Stored,
    queue: QueueState,
}

impl Qemu {
    /// Starts a QEMU, to be given actions that use this machine's addresses.
    pub fn start(installed: &Installed, machine: Machine) -> Result<Self, Error> {
        Ok(Self {
            process: Process::start(installed)?,
            machine,
            spent: false,
            batch: Batch::default(),
            answers: Answers::default(),
            stored: Stored::default(),
            queue: QueueState::default(),
        })
    }

    /// The process id of the QEMU.
    pub const fn process_id(&self) -> u32 {
        self.process.id()
    }

    /// Plays steps of which only the last may be a look. `first`: on a machine that is reset
    /// before.
    fn play_part(
        &mut self,
        first: bool,
        steps: &[Step],
        answers: &mut Vec<Answer>,
    ) -> Result<(), Error> {
        // With whether each has answers of its own.
        let mut deeds = Vec::with_capacity(steps.len());
        self.batch.clear();
        if first {
            send_reset(&mut self.batch);
        }
        let resets = self.batch.lines();
        for step in steps {
            match step {
                Step::Act(action) => {
                    let deed = Deed::of(action, &self.machine);
                    let answered = deed.send(&mut self.batch);
                    deeds.push((deed, answered));
                }
                Step::Look => look::send(&mut self.batch),
            }
        }
        self.process.exchange(&self.batch, &mut self.answers)?;
        for _ in 0..resets {
            self.answers.done()?;
        }
        for (deed, answered) in deeds {
            answers.push(self.receive(deed, answered)?);
        }
        if steps.last() == Some(&Step::Look) {
            let seen = look::receive(&mut self.answers, &self.process.memory)?;
            answers.push(Answer::Seen(seen));
        }
        Ok(())
    }

    /// Takes the answers to what was done about an action.
    fn receive(&mut self, deed: Deed, answered: bool) -> Result<Answer, Error> {
        let mut events = Vec::new();
        let outcome = match deed {
            Deed::Not(why) => return Ok(Answer::NotActed(why)),
            Deed::Known(outcome) => outcome,
            Deed::Read { .. } => Outcome::Value(self.answers.value()?),
            Deed::Write { effect, .. } => {
                self.answers.done()?;
                events = self.receive_effect(effect)?;
                Outcome::Done
            }
            Deed::Store { address, value } => self.receive_store(answered, address, &[value])?,
            Deed::StoreCommand { address, words } => {
                self.receive_store(answered, address, &words)?
            }
        };
        Ok(Answer::Acted { outcome, events })
    }

    /// Takes what shows what a write did to the queue.
    fn receive_effect(&mut self, effect: Effect) -> Result<Vec<Event>, Error> {
        let Self { answers, queue, stored, .. } = self;
        Ok(match effect {
            Effect::Nothing => Vec::new(),
            Effect::Moved => {
                queue.moved(answers.words()?);
                Vec::new()
            }
            Effect::Switched { on } => queue.switched(on, answers.value()?, stored),
            Effect::Submitted { cwriter } => queue.submitted(cwriter, answers.value()?, stored),
        })
    }

    /// Takes the answer to a store, where it has one of its own.
    fn receive_store(
        &mut self,
        answered: bool,
        address: u64,
        words: &[u64],
    ) -> Result<Outcome, Error> {
        if answered {
            self.answers.done()?;
        }
        self.stored.store(address, words);
        Ok(Outcome::Done)
    }
}

impl Device for Qemu {
    type Error = Error;

    fn cannot(action: &Action, machine: &Machine) -> Option<&'static str> {
        match Deed::of(action, machine) {
            Deed::Not(why) => Some(why),
            _ => None,
        }
    }

    fn play(&mut self, steps: &[Step]) -> Result<Vec<Answer>, Error> {
        if std::mem::replace(&mut self.spent, true) {
            return Err(Error::Spent);
        }
        self.process.memory.clear().map_err(Error::Memory)?;
        self.stored.clear();
        self.queue = QueueState::default();
        let mut answers = Vec::with_capacity(steps.len());
        let mut parts = steps.split_inclusive(|step| *step == Step::Look);
        self.play_part(true, parts.next().unwrap_or_default(), &mut answers)?;
        for part in parts {
            self.play_part(false, part, &mut answers)?;
        }
        self.spent = false;
        Ok(answers)
    }
}

/// Everything that a case can have changed but memory goes back to reset; all of the answers are
/// [`Answers::done`]. Registers that can only be written while something is off come after what
/// turns it off, and GITS_CBASER, which clears GITS_CREADR, is one of them.
fn send_reset(batch: &mut Batch) {
    batch.write(AccessSize::Word, ITS + Register::Ctlr.offset(), 0);
    // No action writes the distributor, but a table of the case may have been laid over it.
    batch.write(AccessSize::Word, DISTRIBUTOR_CTLR, DISTRIBUTOR_ON);
    batch.write_words(ITS + Register::Cbaser.offset(), &[0; 2]);
    batch.write_words(ITS + Register::Baser(0).offset(), &[0; 3]);
    for number in 0..CPUS {
        batch.write(AccessSize::Word, redistributor(number) + CTLR, 0);
        batch.write_words(redistributor(number) + PROPBASER, &[0; 2]);
    }
}
