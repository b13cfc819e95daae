//! The board without a mediator: its physical ITS as a device that its host owns.

use std::convert::Infallible;

use its_device::{Answer, Device, SHOWN, Seen, Step};
use its_machine::View;

use crate::Board;

impl Device for Board {
    type Error = Infallible;

    fn play(&mut self, steps: &[Step]) -> Result<Vec<Answer>, Infallible> {
        self.restart();
        let mut events = Vec::new();
        let mut answer = |step: &Step| match step {
            Step::Look => Answer::Seen(seen(self)),
            Step::Act(action) => {
                let outcome = self.perform(action, &mut events);
                Answer::Acted { outcome, events: events.clone() }
            }
        };
        Ok(steps.iter().map(&mut answer).collect())
    }
}

fn seen(board: &Board) -> Seen {
    let machine = board.state.borrow().machine;
    let translation = |event: (u32, u32)| Some((event, board.translate(0, event.0, event.1)?));
    Seen {
        registers: SHOWN.map(|register| (register, board.register(0, register))).to_vec(),
        translations: board.mapped(0).into_iter().filter_map(translation).collect(),
        pending: machine.cpus().map(|cpu| board.pending(cpu).collect()).collect(),
        offered: machine.cpus().map(|cpu| board.offered(cpu)).collect(),
    }
}
