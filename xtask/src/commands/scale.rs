//! `scale`: what a device's life costs EL2 with thousands of other devices, in instructions,
//! against an empty board.
//!
//! Callgrind counts what is executed in the functions of the emulator, and their calls of `El2`.
//! What the simulated machine does inside such a call is left out: on a real one it is a load, a
//! store, or pKVM's work on a page.

use std::collections::HashMap;

use anyhow::{Context, Result, ensure};
use fs_err as fs;

use crate::exit::Exit;
use crate::process::{self, Tool};
use crate::workspace;

pub(crate) const VALGRIND: Tool =
    Tool { program: "valgrind", install: "Debian: apt-get install valgrind" };

/// Devices besides the one that comes and goes.
const DEVICES: u32 = 4000;
/// How often it comes and goes.
const ROUNDS: u32 = 96;
/// MAPD, MAPTI, INT, DISCARD, MAPD with V=0.
const COMMANDS: u32 = 5;
/// The most times as many instructions as on an empty board.
const MOST: f64 = 2.0;

/// What EL2 did.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
struct Cost {
    instructions: u64,
    /// Calls of `El2`.
    calls: u64,
}

/// Measures and prints; more than [`MOST`] is broken.
pub(crate) fn run() -> Result<Exit> {
    eprintln!("building many_devices, and running it under callgrind four times: about 60 s");
    let [empty, full] = [lives(0)?, lives(DEVICES)?];
    let of = |count: u64| count as f64 / f64::from(ROUNDS * COMMANDS);
    let line = |what: &str, empty: u64, full: u64| {
        let times = full as f64 / empty as f64;
        say!(
            "{what} a command: {:.0} on an empty board, {:.0} with {DEVICES} other devices, \
             {times:.2} times",
            of(empty),
            of(full)
        );
        times
    };
    let times = line("EL2's instructions", empty.instructions, full.instructions);
    line("calls of El2", empty.calls, full.calls);
    ensure!(times <= MOST, broken!("more than {MOST} times as many instructions"));
    Ok(Exit::Clean)
}

/// Returns what all lives of a device cost with so many others.
fn lives(devices: u32) -> Result<Cost> {
    let [with, without] = [measured(devices, ROUNDS)?, measured(devices, 0)?];
    let more = |with: u64, without: u64| {
        let rest = with.checked_sub(without).filter(|rest| *rest > 0);
        rest.context("callgrind saw nothing of the emulator")
    };
    Ok(Cost {
        instructions: more(with.instructions, without.instructions)?,
        calls: more(with.calls, without.calls)?,
    })
}

fn measured(devices: u32, rounds: u32) -> Result<Cost> {
    let folder = workspace::root().join("target").join("scale");
    fs::create_dir_all(&folder)?;
    let example = "build --quiet --locked --release --package its-runner --example many_devices";
    let ended =
        process::cargo(example.split(' '), |command| command.env("CARGO_TARGET_DIR", &folder))?;
    ensure!(ended.status.success(), "cargo could not build the example many_devices");
    let program = folder.join("release/examples/many_devices");
    let profile = folder.join("callgrind.out");
    let out = format!("--callgrind-out-file={}", profile.display());
    let [devices, rounds] = [devices, rounds].map(|number| number.to_string());
    let callgrind = ["--quiet", "--tool=callgrind", &out];
    let program = program.to_str().context("a path that is no text")?;
    VALGRIND.run(callgrind.into_iter().chain([program, &devices, &rounds]))?;
    let text = fs::read_to_string(&profile).context("callgrind left no profile")?;
    Ok(cost(&text))
}

/// Returns the emulator's part of a callgrind profile: lines `fn=` and `cfn=` name functions, by
/// number after the first time; `calls=` comes before the cost of what is called, which the
/// caller's own lines do not hold.
fn cost(profile: &str) -> Cost {
    let mut names = HashMap::new();
    let mut cost = Cost::default();
    let (mut is_emulator, mut is_service) = (false, false);
    let mut of_callee = false;
    for line in profile.lines() {
        if let Some(function) = line.strip_prefix("fn=") {
            is_emulator = name(function, &mut names).contains("its_emulator::");
        } else if let Some(function) = line.strip_prefix("cfn=") {
            is_service = name(function, &mut names).contains("its_el2::service::El2 for");
        } else if let Some(count) = line.strip_prefix("calls=") {
            of_callee = true;
            if is_emulator && is_service {
                cost.calls += number(count.split(' ').next());
            }
        } else if line.starts_with(|first: char| first.is_ascii_digit() || "+-*".contains(first)) {
            if is_emulator && !of_callee {
                cost.instructions += number(line.split(' ').nth(1));
            }
            of_callee = false;
        }
    }
    cost
}

/// Returns the name of `(7)` or `(7) name`.
fn name<'a>(function: &'a str, names: &mut HashMap<&'a str, &'a str>) -> &'a str {
    if let Some((number, name)) = function.split_once(' ') {
        names.insert(number, name);
        return name;
    }
    names.get(function).copied().unwrap_or_default()
}

fn number(text: Option<&str>) -> u64 {
    text.and_then(|text| text.parse().ok()).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_called_does_not_count_but_that_it_is_called() {
        let profile = "\
fn=(1) its_emulator::queue::take
10 100
cfn=(2) <its_board::Board as its_el2::service::El2 for Board>::read_word
calls=3 20
+1 5000
* 7
fn=(2)
20 5000
fn=(3) its_runner::play
cfn=(2)
calls=9 20
30 900
cfn=(1)
calls=1 10
30 5107
fn=(1)
11 1
";
        let expected = Cost { instructions: 108, calls: 3 };
        assert_eq!(cost(profile), expected);
    }
}
