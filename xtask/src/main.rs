//! `cargo xtask`: the command line of itsdiff.
//!
//! One file a command (`abi` is a step of `test`, `beside` a part of `compare`), and what commands share: `exit` (codes), `workspace` (where things are), `subject` (which
//! emulator is built), `foreign` (one that is written elsewhere), `all_bugs` (all known bugs in one program), `program` (what was built, run and asked), `target`
//! (which targets there are), `engine` (builds, processes and folders of the fuzzing engines), `stop` (signals), `bugs` (the banks), `header` (heads of
//! stored findings), `divergences` (those that are intended), `progress`, `summary` and `timeline` (what people see).

/// `println!` that does not panic when nobody reads any more.
macro_rules! say {
    ($($arguments:tt)*) => {
        $crate::output::print(&format!($($arguments)*))
    };
}

mod abi;
mod bench;
mod beside;
mod breaks;
mod bugs;
mod build;
mod catalogue;
mod conformance;
mod corpus;
mod coverage;
mod divergences;
mod engine;
mod exit;
mod foreign;
mod fuzz;
mod header;
mod matrix;
mod minimize;
mod mutants;
mod nightly;
mod no_panic;
mod output;
mod process;
mod program;
mod progress;
mod promote;
mod replay;
mod scale;
mod stop;
mod subject;
mod summary;
mod target;
mod test;
mod timeline;
mod triage;
mod trials;
mod workspace;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

#[derive(Parser)]
#[command(
    name = "cargo xtask",
    bin_name = "cargo xtask",
    version,
    about = "Fuzz and check emulations of the GICv3 ITS"
)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Fuzz a target and sum up what was checked and found
    Fuzz(fuzz::Arguments),
    /// Play scenarios and tell what happened, operation by operation
    Replay(replay::Arguments),
    /// The shortest scenario with the same finding
    Minimize(minimize::Arguments),
    /// Minimize a finding and keep it as a regression test
    Promote(promote::Arguments),
    /// Group the artifacts of all runs by signature
    Triage(triage::Arguments),
    /// Grown corpora: merge, minimize, look at; check the stored ones
    Corpus(corpus::Arguments),
    /// All targets and engines, a budget, a report: what runs unattended
    Nightly(nightly::Arguments),
    /// Which lines of emulator, model and board a corpus reaches, and what it does not
    Coverage(coverage::Arguments),
    /// The conformance matrix: every requirement on model, physical ITS, QEMU and emulator
    Conform(conformance::Conform),
    /// Play the same scenarios on two subjects, or on QEMU's ITS to judge it by the model
    Compare(conformance::Compare),
    /// The targets, and what each asks
    List {
        /// As one JSON object, with the version of the binary form
        #[arg(long)]
        json: bool,
    },
    /// The rule catalogue
    Rules(catalogue::Arguments),
    /// Everything that CI runs
    Test(test::Arguments),
    /// How fast cases are on the committed benchmark scenarios, instrumented
    Bench(bench::Arguments),
    /// How many cases a fuzzer needs until it detects each known bug
    Trials(trials::Arguments),
    /// Which mutants of the emulator no stored scenario notices (needs cargo-mutants)
    Mutants,
    /// What commands cost EL2 beside 4,000 mapped devices, in instructions (needs valgrind)
    Scale,
}

fn main() -> ExitCode {
    let arguments = match Arguments::try_parse() {
        Ok(arguments) => arguments,
        Err(error) => error.exit(),
    };
    let result = stop::listen().and_then(|()| run(arguments.command));
    exit::code(result)
}

fn run(command: Command) -> anyhow::Result<exit::Exit> {
    match command {
        Command::Fuzz(arguments) => fuzz::run(&arguments),
        Command::Replay(arguments) => replay::run(&arguments),
        Command::Minimize(arguments) => minimize::run(&arguments),
        Command::Promote(arguments) => promote::run(&arguments),
        Command::Triage(arguments) => triage::run(&arguments),
        Command::Corpus(arguments) => corpus::run(&arguments),
        Command::Nightly(arguments) => nightly::run(&arguments),
        Command::Coverage(arguments) => coverage::run(&arguments),
        Command::Conform(arguments) => arguments.run(),
        Command::Compare(arguments) => arguments.run(),
        Command::List { json } => catalogue::targets(json),
        Command::Rules(arguments) => catalogue::rules(&arguments),
        Command::Test(arguments) => test::run(&arguments),
        Command::Bench(arguments) => bench::run(&arguments),
        Command::Trials(arguments) => trials::run(&arguments),
        Command::Mutants => mutants::run(),
        Command::Scale => scale::run(),
    }
}
