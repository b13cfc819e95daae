//! Races: the same turns give the same trace, and short races hold in every interleaving with few
//! switches.

use its_machine::{Turn, Until};
use its_runner::trace::Trace;
use its_runner::{Runner, Verdict};
use its_scenario::{Operation, Scenario};

/// Both CPUs map a device and post; CPU 1 also claims the page of the first ITT.
const POSTS: &str = "\
itsdiff 2
map-device device=0x1 event-id-bits=5 itt=itt[0]
command MAPD device=0x2 size=0x4 itt=itt[3] valid
race 5
write-cwriter
poll 1
share itt[3] cpu=1
command MAPD device=0x3 size=0x4 itt=itt[3]+0x800 valid cpu=1
write-cwriter cpu=1
poll 2
";

/// An ITT comes back while the host claims its page.
const RELEASES: &str = "\
itsdiff 2
its0 pace=never
map-device device=0x1 event-id-bits=5 itt=itt[3]
command MAPD device=0x1 size=0x0 itt=itt[0]
write-cwriter
advance 1
race 3
poll 1
unshare itt[3] cpu=1
share itt[3] cpu=1
poll 2
";

/// CPU 0 suspends and resumes while CPU 1 posts.
const STOPS: &str = "\
itsdiff 2
map-device device=0x1 event-id-bits=5 itt=itt[0]
command MAPD device=0x2 size=0x4 itt=itt[3] valid
race 3
suspend
resume
write-cwriter cpu=1
poll 4
";

/// The scenario with these turns in its race.
fn with_turns(text: &str, turns: &str) -> Scenario {
    let text = text.replacen("race 5", &format!("race 5 turns={turns}"), 1);
    let text = text.replacen("race 3", &format!("race 3 turns={turns}"), 1);
    Scenario::parse(text).expect("the scenario is right")
}

#[test]
fn the_same_turns_give_the_same_trace() {
    let traced = |turns: &str| {
        let mut trace = Trace::default();
        let scenario = with_turns(POSTS, turns);
        Runner::new(its_production::make).play(&scenario, Some(&mut trace));
        trace.text().to_owned()
    };
    assert_eq!(traced("7,u1,3"), traced("7,u1,3"));
    assert_ne!(traced("7,u1,3"), traced("7,u1,4"));
}

/// CPU 0 gives way after each number of steps, and CPU 1 after each.
#[test]
fn every_interleaving_with_two_switches() {
    let mut runner = Runner::new(its_production::make);
    for text in [POSTS, RELEASES, STOPS] {
        for first in 1..=64 {
            for second in (1..=40).step_by(3) {
                let scenario = with_turns(text, &format!("{first},{second}"));
                let case = runner.play(&scenario, None);
                assert_eq!(
                    case.verdict,
                    Verdict::Agree,
                    "{first},{second}: {:?} {:?}",
                    case.findings,
                    case.defects
                );
            }
        }
    }
}

#[test]
fn turns_are_read_as_they_are_written() {
    let scenario = with_turns(POSTS, "12,u2,3+");
    let race =
        scenario.operations.iter().find(|operation| matches!(operation, Operation::Race { .. }));
    let turns: Vec<Turn> = race.into_iter().flat_map(Operation::turns).collect();
    let turn = |until, skip| Turn { until, skip };
    assert_eq!(
        turns,
        [
            turn(Until::Steps(12), false),
            turn(Until::Unlocks(2), false),
            turn(Until::Steps(3), true),
        ]
    );
}
