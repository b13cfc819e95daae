//! What drawn scenarios meet. It draws 25,000 of each target, so it is optimized.

use its_generate::circumstances::{Meetings, text};
use its_scenario::FuzzTarget;

#[test]
fn every_possible_pair_of_circumstances_meets_set_ups_traps_and_races() {
    for target in FuzzTarget::ALL {
        let meetings = Meetings::drawn(target);
        let unmet = meetings.possible().filter(|(_, count)| *count == 0);
        let unmet: Vec<_> = unmet.map(|(pair, _)| text(pair)).collect();
        assert_eq!(unmet, Vec::<String>::new(), "{target:?}");
    }
}
