//! QEMU, where it is installed: what is known of it, and how scenarios are made for it.

mod profile;
mod subject;

use its_gic::geometry::{PAGE_BYTES, Pages};
use its_machine::Machine;
use its_scenario::{Boot, Scenario};

pub(crate) use profile::{Difference, Done, Profile};
pub(crate) use subject::QemuSubject;

/// The device that changes places with the device of number 0, the only one that can raise an event
/// over qtest: the first that does. None where the boot plan maps devices, which keep their
/// numbers.
pub(crate) fn becomes_zero(scenario: &Scenario) -> Option<u32> {
    let device = scenario.msi_device()?;
    (scenario.boot.live_devices == 0).then_some(device)
}

/// Why a scenario is not for QEMU's machine, which is the usual board.
pub(crate) const OTHER_BOARD: &str =
    "its board is not QEMU's, which has one ITS, and two CPUs with the processor numbers 0 and 1";

/// Returns whether the board of a scenario has the ITSs, CPUs and memory of the usual one.
pub(crate) fn has_usual_board(scenario: &Scenario) -> bool {
    scenario.boot.topology() == Boot::default().topology()
}

/// The machine of a scenario as QEMU has it: of the board's memory what QEMU has too.
pub(crate) fn machine(scenario: &Scenario) -> Machine {
    let board = its_driver::machine(scenario);
    let has =
        |pages: &Pages| its_qemu::is_memory(pages.first * PAGE_BYTES, pages.count * PAGE_BYTES);
    let none = |pages: Pages| Pages { count: 0, ..pages };
    let memory = board.memory.map(|pages| if has(&pages) { pages } else { none(pages) });
    Machine { memory, ..board }
}
