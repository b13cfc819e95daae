//! What the subject declares of its policy: its own numbers, and a file that the environment names.

use std::sync::LazyLock;

use its_declaration::{Declaration, File, IttAlignment, LiveDevices, Malformed};
use its_el2::SubjectPolicy;
use its_rules::Rule;
use its_scenario::{LIVE_EVENT_ID_BITS, Most};

use crate::replay::USAGE;

/// The variable that names the file with what the subject declares; without it, the policy is
/// POLICY.md.
pub const DECLARATION: &str = "ITSDIFF_DECLARATION";

/// What a subject declares.
#[derive(Clone, Copy)]
pub struct Declared {
    pub policy: Declaration,
    file: Option<&'static File>,
}

impl Declared {
    /// Returns what a subject declares that says these numbers. Ends the process where the file
    /// that [`DECLARATION`] names cannot be used, or disagrees.
    pub(crate) fn of(numbers: SubjectPolicy) -> Self {
        let Some((name, file)) = &*FILE else {
            return Self { policy: Declaration::of(numbers), file: None };
        };
        let policy = file.declaration(name, numbers).unwrap_or_else(|error| refuse(&error));
        Self { policy, file: Some(file) }
    }

    /// Returns the most ITSs and redistributors of a board.
    pub(crate) fn boards(&self) -> (u32, u32) {
        (self.policy.numbers.its, self.policy.numbers.redistributors)
    }

    /// Returns the most of a board that the policy takes. Live devices have the DeviceIDs from 0
    /// on. Their ITTs share pages, and the first lies at the start of one.
    pub(crate) fn most(&self) -> Most {
        let Declaration { numbers, set_up, memory, queue, .. } = self.policy;
        let is_usual = memory.itt_alignment == IttAlignment::Bytes256 && memory.itts_share_pages();
        let live_devices = if is_usual { u32::MAX } else { 1 };
        let takes_none = set_up.live_devices == LiveDevices::None
            || numbers.event_id_bits < LIVE_EVENT_ID_BITS.into();
        let live_devices = if takes_none { 0 } else { live_devices };
        let taken = if queue.device_ids == 0 { u32::MAX } else { queue.device_ids };
        let live_devices = live_devices.min(taken);
        let (its, cpus) = self.boards();
        Most { live_devices, private_pages: numbers.private_pages, ..Most::boards(its, cpus) }
    }

    /// Whether the file gives a rule up.
    pub(crate) fn gives_up(&self, rule: &Rule) -> bool {
        self.file.is_some_and(|file| file.gives_up(rule))
    }
}

/// The file, by its name, once for the process.
static FILE: LazyLock<Option<(String, File)>> = LazyLock::new(|| {
    let name = std::env::var(DECLARATION).ok()?;
    let text = std::fs::read_to_string(&name);
    let text = text.unwrap_or_else(|error| end(&format!("{name}: {error}")));
    let file = File::read(&name, &text).unwrap_or_else(|error| refuse(&error));
    Some((name, file))
});

fn refuse(error: &Malformed) -> ! {
    end(&error.to_string())
}

fn end(why: &str) -> ! {
    eprintln!("error: {why}");
    std::process::exit(USAGE.into())
}
