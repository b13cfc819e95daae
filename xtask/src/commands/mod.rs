//! The commands: one file or folder each, and the list that the command line is made of.

mod bench;
pub(crate) mod compare;
pub(crate) mod conform;
pub(crate) mod corpus;
mod coverage;
pub(crate) mod fuzz;
mod list;
pub(crate) mod minimize;
mod mutants;
pub(crate) mod nightly;
mod promote;
pub(crate) mod replay;
mod rules;
pub(crate) mod scale;
pub(crate) mod subject;
pub(crate) mod test;
pub(crate) mod triage;
pub(crate) mod trials;
mod upgrade;

use clap::{CommandFactory, Parser, Subcommand};
use clap_complete::Shell;

use crate::exit::Exit;

#[derive(Parser)]
#[command(
    name = "cargo xtask",
    bin_name = "cargo xtask",
    version,
    about = "Fuzz and check emulations of the GICv3 ITS"
)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    pub command: Command,
}

#[derive(Subcommand)]
pub(crate) enum Command {
    /// Fuzzes a target and sums up what was checked and found
    #[command(after_help = "Example:\n  cargo xtask fuzz its_cmdq --time 2m")]
    Fuzz(fuzz::Arguments),
    /// Plays scenarios and reports what happened, operation by operation
    #[command(
        after_help = "Example:\n  cargo xtask replay --bug slot-not-cleaned corpus/bugs/slot-not-cleaned/witness.its"
    )]
    Replay(replay::Arguments),
    /// Prints the shortest scenario with the same finding
    #[command(
        after_help = "Example:\n  cargo xtask minimize its_cmdq --bug slot-not-cleaned corpus/bugs/slot-not-cleaned/witness.its"
    )]
    Minimize(minimize::Arguments),
    /// Minimizes a finding and keeps it as a regression test
    #[command(
        after_help = "Example:\n  cargo xtask promote its_cmdq artifacts/its_cmdq/production/run-1/findings/SIGNATURE.its"
    )]
    Promote(promote::Arguments),
    /// Groups the artifacts of all runs by signature
    #[command(after_help = "Example:\n  cargo xtask triage its_cmdq")]
    Triage(triage::Arguments),
    /// Merges, minimizes and measures grown corpora; checks the stored ones
    #[command(after_help = "Example:\n  cargo xtask corpus its_cmdq stats")]
    Corpus(corpus::Arguments),
    /// Rewrites stored scenarios that an earlier version wrote, with their comments
    #[command(after_help = "Example:\n  cargo xtask upgrade my-findings/")]
    Upgrade(upgrade::Arguments),
    /// Fuzzes all targets with all engines within a budget and writes a report
    #[command(after_help = "Example:\n  cargo xtask nightly --budget 20m --engine libfuzzer")]
    Nightly(nightly::Arguments),
    /// Reports which lines of emulator, model and board a corpus reaches
    #[command(after_help = "Example:\n  cargo xtask coverage its_cmdq")]
    Coverage(coverage::Arguments),
    /// Plays the requirements of the architecture on model, physical ITS, QEMU and emulator
    #[command(after_help = "Example:\n  cargo xtask conform ITS-CMD-MAPD")]
    Conform(conform::Conform),
    /// Plays the same scenarios on two subjects, or on QEMU's ITS to judge it by the model
    #[command(after_help = "Example:\n  cargo xtask compare model qemu --fuzz --time 2m")]
    Compare(compare::Compare),
    /// Links an emulation of your own, boots it, plays the seeds, and sums up what they show
    #[command(
        after_help = "Examples:\n  cargo xtask subject example:naive\n  cargo xtask subject --sources its_emulate.c glue.c --include include/"
    )]
    Subject(subject::Arguments),
    /// Lists targets, engines, subjects, known bugs and breaks
    List(list::Arguments),
    /// Prints the catalogue of rules
    #[command(after_help = "Example:\n  cargo xtask rules --json")]
    Rules(rules::Arguments),
    /// Runs everything that CI runs
    #[command(after_help = "Example:\n  cargo xtask test --only corpus")]
    Test(test::Arguments),
    /// Measures cases per second on the committed benchmark scenarios, instrumented
    #[command(after_help = "Example:\n  cargo xtask bench its_cmdq")]
    Bench(bench::Arguments),
    /// Counts the cases that a fuzzer needs until it detects each known bug
    #[command(after_help = "Example:\n  cargo xtask trials --bug slot-not-cleaned --trials 3")]
    Trials(trials::Arguments),
    /// Lists the mutants of emulator, board, reference or oracles that nothing notices; needs
    /// cargo-mutants
    #[command(after_help = "Example:\n  cargo xtask mutants --of board --sample 20")]
    Mutants(mutants::Arguments),
    /// Counts the instructions that commands cost EL2 with 4,000 mapped devices; needs valgrind
    #[command(after_help = "Example:\n  cargo xtask scale")]
    Scale,
    /// Prints a script that completes `xtask` in a shell, for people with that alias
    #[command(
        after_help = "Example:\n  alias xtask='cargo xtask'; source <(cargo xtask completions bash)"
    )]
    Completions { shell: Shell },
}

pub(crate) fn run(command: Command) -> anyhow::Result<Exit> {
    match command {
        Command::Fuzz(arguments) => fuzz::run(&arguments),
        Command::Replay(arguments) => replay::run(&arguments),
        Command::Minimize(arguments) => minimize::run(&arguments),
        Command::Promote(arguments) => promote::run(&arguments),
        Command::Triage(arguments) => triage::run(&arguments),
        Command::Upgrade(arguments) => upgrade::run(&arguments),
        Command::Corpus(arguments) => corpus::run(&arguments),
        Command::Nightly(arguments) => nightly::run(&arguments),
        Command::Coverage(arguments) => coverage::run(&arguments),
        Command::Conform(arguments) => conform::run(&arguments),
        Command::Compare(arguments) => compare::run(&arguments),
        Command::List(arguments) => list::run(&arguments),
        Command::Rules(arguments) => rules::run(&arguments),
        Command::Subject(arguments) => subject::run(&arguments),
        Command::Test(arguments) => test::run(&arguments),
        Command::Bench(arguments) => bench::run(&arguments),
        Command::Trials(arguments) => trials::run(&arguments),
        Command::Mutants(arguments) => mutants::run(&arguments),
        Command::Scale => scale::run(),
        Command::Completions { shell } => completions(shell),
    }
}

fn completions(shell: Shell) -> anyhow::Result<Exit> {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Arguments::command(), "xtask", &mut script);
    say!("{}", String::from_utf8(script)?);
    Ok(Exit::Clean)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Arguments::command().debug_assert();
    }
}
