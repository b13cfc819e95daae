//! The events of a race, sorted by the action that they belong to.

use std::collections::BTreeSet;

use its_el2::{AGENTS, Event, Part};

/// What one action did, and what others did meanwhile.
#[derive(Clone, Debug, Default)]
pub(crate) struct Own {
    pub events: Vec<Event>,
    /// Pages that other agents changed.
    pub contested: BTreeSet<u64>,
}

/// For each of the parts, in the same order.
pub(crate) fn by_part(parts: &[Part], events: &[Event]) -> Vec<Own> {
    let mut underway: [Own; AGENTS] = Default::default();
    let mut done = Vec::with_capacity(parts.len());
    let mut agent = 0;
    for event in events {
        match *event {
            Event::Turn { agent: next } => agent = usize::from(next),
            Event::Over => done.push(std::mem::take(&mut underway[agent])),
            Event::Page {
                pages,
                result: Ok(()),
                ..
            } => {
                for (other, own) in underway.iter_mut().enumerate() {
                    // What has not begun relies on nothing.
                    if other != agent && !own.events.is_empty() {
                        own.contested.extend(pages.iter());
                    }
                }
                underway[agent].events.push(*event);
            }
            event => underway[agent].events.push(event),
        }
    }
    done
}
