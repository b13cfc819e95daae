//! A pair of scenarios for each check of `harness/emulator/POLICY.md`: one in which exactly that
//! check fails, and the nearest one in which it holds.
//!
//! What must be seen of each is written by hand from POLICY.md. The test `policy` of the runner
//! plays them all on the production emulator and its reference. Fuzzing starts from them and
//! mutates them. This crate must not know what plays a scenario or judges it.

mod commands;
mod memory;
mod registers;
mod set_up;

const BOOT: &str = "boot queue-pages=1";
/// The ITS is probed; no CPU is finalized.
const OPEN: &str = "boot stage=probed queue-pages=1";
/// The ITS is probed and described, and its CPUs are finalized.
const CLOSING: &str = "boot stage=deprivileged queue-pages=1";
/// An ITS that takes commands when the scenario says so.
const SLOW: &str = "its0 pace=never; boot queue-pages=1";
/// Tables of one level: no command needs a level-2 table.
const FLAT: &str = "its0 two-level=no; boot queue-pages=1";
const POST: &str = "write-cwriter";
const SYNC: &str = "command SYNC rdbase=redistributor0";

/// What must be seen of a scenario. The last operation is meant, but for the last two.
#[derive(Clone, Copy, Debug)]
pub enum Seen {
    /// The hypercall returns this in x1.
    Returned(&'static str),
    /// The host reads this from a register or from memory.
    Read(u64),
    /// The host's load is refused: the page is not the host's.
    Abort,
    /// EL2 writes this to devices, and nothing else.
    Writes(&'static [&'static str]),
    /// This happens, in this order, with anything in between.
    Does(&'static [&'static str]),
    /// EL2 touches no device, and the host reads zero if it reads.
    Untouched,
    /// The command at this offset is refused: CREADR stops there, and the hardware's CWRITER does
    /// not pass it.
    Refused(u64),
    /// The hardware's CWRITER passes the command at this offset.
    Forwarded(u64),
}

/// A scenario without its first line, `; ` between its lines, and what must be seen.
pub type Case = (String, Seen);

/// A check and its two scenarios.
#[derive(Debug)]
pub struct Row {
    /// Says what is checked, unlike any other row.
    pub check: &'static str,
    pub fails: Case,
    pub holds: Case,
}

/// Returns the rows of all sections of POLICY.md.
pub fn rows() -> Vec<Row> {
    let sections = [set_up::rows(), commands::rows(), registers::rows(), memory::rows()];
    sections.into_iter().flatten().collect()
}

/// Returns a scenario of [`Row`] as the text of a file.
pub fn scenario_text(case: &Case) -> String {
    format!("itsdiff 2\n{}\n", case.0.replace("; ", "\n"))
}

fn row(check: &'static str, fails: Case, holds: Case) -> Row {
    Row { check, fails, holds }
}

/// A scenario of some parts.
fn lines(parts: &[&str]) -> String {
    let parts: Vec<&str> = parts.iter().copied().filter(|part| !part.is_empty()).collect();
    parts.join("; ")
}
