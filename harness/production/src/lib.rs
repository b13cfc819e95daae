//! Makes the production emulator a subject of the board.
//!
//! Targets and tests are its users. The runner plays on whatever subject it is given and does not
//! know this crate.

use its_board::{BoardLocks, BoardSubject};
use its_emulator::Emulator;
use its_machine::Machine;

/// Makes the production emulator for the ITSs of a machine.
pub fn make(machine: &Machine) -> Box<dyn BoardSubject> {
    Box::new(Emulator::<BoardLocks>::new(machine.its))
}

#[cfg(test)]
mod tests {
    use its_declaration::{Declaration, File, example};
    use its_machine::{ItsConfiguration, MAX_ITS, Topology};

    use super::*;

    /// The file has what the emulator says of itself, and POLICY.md's value of each point.
    #[test]
    fn its_file_is_policy_md() {
        let machine = Machine::new([ItsConfiguration::DEFAULT; MAX_ITS], Topology::DEFAULT);
        let numbers = make(&machine).policy();
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../emulator/subject.toml");
        if std::env::var_os("ITSDIFF_WRITE_DOCS").is_some() {
            std::fs::write(path, example(numbers)).unwrap();
        }
        let text = std::fs::read_to_string(path).unwrap();
        assert_eq!(text, example(numbers), "write it with ITSDIFF_WRITE_DOCS=1 cargo test");
        let file = File::read("subject.toml", &text).unwrap();
        let declared = file.declaration("subject.toml", numbers).unwrap();
        assert_eq!(declared, Declaration::of(numbers));
    }
}
