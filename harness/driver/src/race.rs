//! A race of a scenario: its operations as lists of actions, one for each agent.

use its_machine::{AGENTS, Action, Outcome, RACING_CPUS};
use its_scenario::Operation;

use crate::{Armed, Drivers, Left, Perform};

/// Actions of one agent in a race, at most: what a race does is bounded.
const ACTIONS: usize = 128;

/// What each agent is going to do. It is settled before the race begins: the drivers see nothing of
/// what comes back, and go on as if each register read said that all is done.
#[derive(Default)]
struct Lists([Vec<Action>; AGENTS]);

/// Returns what these operations are, for each agent, and what the board does later.
///
/// # Panics
/// If another CPU than the first two does one: the fix-up leaves none.
pub fn lists(
    operations: &[Operation],
    drivers: &mut Drivers,
) -> ([Vec<Action>; AGENTS], Vec<Armed>) {
    let mut lists = Lists::default();
    let armed =
        operations.iter().filter_map(|operation| match drivers.operate(operation, &mut lists) {
            Left::Arm(armed) => Some(armed),
            Left::Nothing | Left::Its(_) | Left::Race { .. } => None,
        });
    let armed = armed.collect();
    (lists.0, armed)
}

impl Perform for Lists {
    fn perform(&mut self, action: Action) -> Outcome {
        assert!(action.cpu().is_none_or(|cpu| cpu < RACING_CPUS), "{action:?} in a race");
        let list = &mut self.0[usize::from(action.agent())];
        if list.len() < ACTIONS {
            list.push(action);
        }
        match action {
            Action::Hypercall { .. } => Outcome::Returned { x0: 0, x1: 0 },
            // Enabled, Quiescent and Stalled: nobody waits.
            _ => Outcome::Value(0x8000_0001),
        }
    }
}

#[cfg(test)]
mod tests {
    use its_scenario::numbers::{Kind, Record};
    use its_scenario::{Boot, Scenario};

    use super::*;

    #[test]
    fn two_cpus_and_the_world_race_whatever_they_do() {
        let boot = Boot { cpus: 8, its: 8, ..Boot::default() };
        for kind in Kind::ALL {
            let record = Record { kind: *kind, cpu: 7, words: [3; 5] };
            let member = record.fix().fit(&boot).operation();
            let race = Scenario::parse("itsdiff 2\nrace 1\n").unwrap().operations[0];
            let mut scenario = Scenario { boot, ..Scenario::default() };
            scenario.operations = vec![race, member];
            scenario.fix_up();
            let mut drivers = Drivers::new(&scenario);
            lists(&scenario.operations[1..], &mut drivers);
        }
    }
}
