//! The minimizer keeps the signature, says when it stopped early, and never comes to nothing.

use its_board::BoardSubject;
use its_machine::{Area, Machine};
use its_runner::minimize::{Refused, findings, minimize, shortest};
use its_scenario::{Operation, Scenario};

use crate::saboteur::{Sabotage, Sabotaged};

fn unpinned(machine: &Machine) -> Box<dyn BoardSubject> {
    Box::new(Sabotaged::new(machine.its, Sabotage::SkipPin(Area::ITT), false))
}

fn scenario(text: &str) -> Scenario {
    Scenario::parse(text).expect("the scenario is right")
}

/// Two devices, the second on an odd board, with much around it.
const LONG: &str = "\
itsdiff 2
its0 itt-entry-bytes=16 pace=late
boot live-devices=2 queue-pages=1
poll 3
read its0 TYPER
share host[3]
store host[4]+0x8 value=0x123
map-device device=0x2a event-id-bits=9 itt=itt[77]+0x300 cpu=1
poll 2
unshare host[3]
msi device=0x2a event=0x1
";

#[test]
fn the_shortest_shows_the_same() {
    let long = scenario(LONG);
    let signature = findings(&long, unpinned)[0].signature.clone();
    let (finding, done) = minimize(&long, Some(&signature), unpinned, 100_000, |_| {}).unwrap();
    assert!(done.minimal);
    assert_eq!(finding.signature, signature);
    let expected = "itsdiff 2\nmap-device device=0x0 event-id-bits=5 itt=itt[0]\n";
    assert_eq!(done.scenario.to_string(), expected);
    let (_, again) = minimize(&done.scenario, None, unpinned, 100_000, |_| {}).unwrap();
    assert_eq!(again.scenario, done.scenario);
}

#[test]
fn a_used_up_budget_is_reported() {
    let (_, done) = minimize(&scenario(LONG), None, unpinned, 3, |_| {}).unwrap();
    assert!(!done.minimal);
    assert!(done.cases >= 3);
}

#[test]
fn what_does_not_show_it_is_refused() {
    let clean = scenario("itsdiff 2\npoll 1\n");
    let refused = minimize(&clean, None, unpinned, 100, |_| {});
    assert_eq!(refused, Err(Refused::Clean));
    let other = minimize(&scenario(LONG), Some("LEAK-HOST.a.b.c"), unpinned, 100, |_| {});
    assert!(matches!(other, Err(Refused::Others(others)) if !others.is_empty()));
}

/// A race in which the mapping is one of three operations loses the others, its turns, and itself.
#[test]
fn races_shrink_to_what_counts() {
    let race = scenario(
        "itsdiff 2\nrace 3 turns=3,2,u1\npoll 2\nmap-device device=0x1 event-id-bits=5 itt=itt[3] cpu=1\nadvance 3\npoll 1\n",
    );
    let (_, done) = minimize(&race, None, unpinned, 100_000, |_| {}).unwrap();
    assert!(done.minimal);
    let text = done.scenario.to_string();
    // The signature is one of a race.
    let expected = "itsdiff 2\nrace 1\nmap-device device=0x0 event-id-bits=5 itt=itt[0]\n";
    assert_eq!(text, expected);
}

/// Commands that a scenario puts into the queue.
fn commands(scenario: &Scenario) -> usize {
    let of = |operation: &Operation| match operation {
        Operation::Command { .. } => 1,
        Operation::MapDevices { count, .. } => usize::from(*count),
        _ => 0,
    };
    scenario.operations.iter().map(of).sum()
}

#[test]
fn what_takes_many_commands_takes_few_operations() {
    let sync = "command SYNC rdbase=redistributor0\n";
    let long = scenario(&format!(
        "itsdiff 2\npoll 1\n{}write-cwriter\n{}",
        sync.repeat(90),
        sync.repeat(31)
    ));
    let shows = |candidate: &Scenario| commands(candidate) >= 117;
    let done = shortest(long, 100_000, &shows, |_| {});
    assert!(done.minimal);
    assert_eq!((done.scenario.operations.len(), commands(&done.scenario)), (1, 117));
}

#[test]
fn what_means_something_only_together_goes_together() {
    let long = scenario("itsdiff 2\nsuspend\npoll 1\nresume\nwrite-cwriter\n");
    let shows = |candidate: &Scenario| {
        let has = |wanted: &str| candidate.to_string().lines().any(|line| line.starts_with(wanted));
        has("write-cwriter") && has("suspend") == has("resume")
    };
    let done = shortest(long, 1_000, &shows, |_| {});
    assert_eq!(done.scenario.to_string(), "itsdiff 2\nwrite-cwriter\n");
}
