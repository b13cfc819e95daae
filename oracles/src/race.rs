//! The events of a race, sorted by the action that they belong to.

use std::collections::BTreeSet;

use its_machine::{AGENTS, Event, Part};

/// What one action did, and what others did meanwhile.
#[derive(Clone, Debug, Default)]
pub(crate) struct Own {
    pub events: Vec<Event>,
    /// The number of each among all events of the race.
    pub numbers: Vec<usize>,
    /// Pages that other agents changed.
    pub contested: BTreeSet<u64>,
}

impl Own {
    fn push(&mut self, number: usize, event: Event) {
        self.events.push(event);
        self.numbers.push(number);
    }
}

/// For each of the parts, in the same order.
pub(crate) fn by_part(parts: &[Part], events: &[Event]) -> Vec<Own> {
    let mut underway: [Own; AGENTS] = Default::default();
    let mut done = Vec::with_capacity(parts.len());
    let mut agent = 0;
    for (number, event) in events.iter().enumerate() {
        match *event {
            Event::Turn { agent: next } => agent = usize::from(next),
            Event::Over => done.push(std::mem::take(&mut underway[agent])),
            Event::Page { pages, result: Ok(()), .. } => {
                for (other, own) in underway.iter_mut().enumerate() {
                    // What has not begun relies on nothing.
                    if other != agent && !own.events.is_empty() {
                        own.contested.extend(pages.iter());
                    }
                }
                underway[agent].push(number, *event);
            }
            // Between a store and its cleaning the ITS sees what was there before, as it may:
            // whether EL2 cleans in time is judged by its own action.
            Event::StaleRead { .. } if others_are_at_work(&underway, agent) => {}
            event => underway[agent].push(number, event),
        }
    }
    done
}

/// The events in the order of happening, cut where an agent gives way or ends an action, each with
/// that action.
pub(crate) fn slices<'a>(
    parts: &'a [Part],
    events: &'a [Event],
) -> impl Iterator<Item = (&'a Part, &'a [Event])> {
    let (mut agent, mut ended) = (0, [0; AGENTS]);
    let is_end = |event: &Event| matches!(event, Event::Turn { .. } | Event::Over);
    events.split_inclusive(is_end).filter_map(move |slice| {
        let mut own = parts.iter().filter(|part| usize::from(part.agent) == agent);
        // What belongs to no action is judged all the same.
        let part = own.nth(ended[agent]).or(parts.first())?;
        match slice.last() {
            Some(Event::Turn { agent: next }) => agent = usize::from(*next),
            Some(Event::Over) => ended[agent] += 1,
            _ => {}
        }
        Some((part, slice))
    })
}

fn others_are_at_work(underway: &[Own], agent: usize) -> bool {
    let mut others = (0..).zip(underway).filter(|(other, _)| *other != agent);
    others.any(|(_, own)| !own.events.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;
    use its_machine::{Action, Barrier, Outcome};

    const fn turn(agent: u8) -> Event {
        Event::Turn { agent }
    }

    fn part(agent: u8) -> Part {
        let action = match agent {
            2 => Action::PowerLoss { its: 0, restored: true },
            cpu => Action::Load { cpu, address: 0 },
        };
        Part { agent, action, outcome: Outcome::Done }
    }

    #[test]
    fn slices_keep_the_order_and_name_the_action() {
        let parts = [2, 1, 0, 1].map(part);
        let events = [
            [
                turn(1),
                Event::Ordered(Barrier::DSB_SY),
                turn(2),
                Event::Ordered(Barrier::DSB_SY),
                Event::Over,
            ]
            .as_slice(),
            &[turn(0), Event::Ordered(Barrier::DSB_SY), turn(1), Event::Over, turn(0), Event::Over],
            &[turn(1), Event::Ordered(Barrier::DSB_SY), Event::Over],
        ]
        .concat();
        let ordered = slices(&parts, &events)
            .filter(|(_, slice)| slice[0] == Event::Ordered(Barrier::DSB_SY));
        assert!(ordered.map(|(part, _)| part.agent).eq([1, 2, 0, 1]));
        let whole: Vec<&[Event]> = slices(&parts, &events).map(|(_, slice)| slice).collect();
        assert_eq!(whole.concat(), events);
    }

    #[test]
    fn events_keep_their_numbers() {
        let events = [
            Event::Ordered(Barrier::DSB_SY),
            turn(1),
            Event::Ordered(Barrier::DSB_SY),
            Event::Over,
            turn(0),
            Event::Over,
        ];
        let numbers = by_part(&[part(1), part(0)], &events).into_iter().map(|own| own.numbers);
        assert!(numbers.eq([vec![2], vec![0]]));
    }

    /// While CPU 0 is in an action, the ITS may read what is not cleaned yet.
    #[test]
    fn what_el2_is_about_to_clean_may_be_stale() {
        let stale =
            [turn(2), Event::StaleRead { address: 0x1000 }, Event::Over, turn(0), Event::Over];
        for (begun, kept) in [(&[][..], 1), (&[Event::Ordered(Barrier::DSB_SY)], 0)] {
            let events = [begun, &stale].concat();
            assert_eq!(by_part(&[2, 0].map(part), &events)[0].events.len(), kept);
        }
    }
}
