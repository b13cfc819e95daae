//! What is known of QEMU's ITS: the options that it takes, and the differences that were looked
//! into (`qemu.toml`).

use std::collections::BTreeSet;

use its_gic::Command;
use its_gic::command::Words;
use its_gic::geometry::PageSize;
use its_machine::text::subject;
use its_machine::{Action, Choices, Direction, Event, Freedom, ItsConfiguration};
use its_rules::Finding;
use serde::Deserialize;

use crate::requirement::option;

const TEXT: &str = include_str!("qemu.toml");

#[derive(Clone, Debug)]
pub(crate) struct Profile {
    pub(crate) choices: Choices,
    /// The freedoms of which it is known what QEMU takes.
    known: BTreeSet<Freedom>,
    pub(crate) differences: Vec<Difference>,
}

/// A difference between QEMU and the reference that was looked into.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Difference {
    /// `QEMU-CREADR-WRITABLE`
    pub(crate) id: String,
    /// What QEMU does, and what the architecture says.
    pub(crate) what: String,
    /// Which of the two is wrong, or that nobody is.
    pub(crate) verdict: Verdict,
    /// Who says so.
    pub(crate) source: String,
    /// Nothing depends on it, so that a case goes on after it.
    #[serde(default)]
    pub(crate) harmless: bool,
    /// Findings that it explains: each must be so in all that is said.
    #[serde(default)]
    pub(crate) finding: Vec<Pattern>,
}

/// What findings a difference explains.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Pattern {
    /// The rule's id.
    rule: String,
    /// Software wrote this register in the case, as signatures name it.
    written: Option<String>,
    /// The path ends like this.
    path: Option<String>,
    /// A register's value differs in these bits and no others.
    bits: Option<u64>,
    /// The ITS took such a command in the case.
    command: Option<CommandPattern>,
}

/// A command with one of some bits set, and none of others.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct CommandPattern {
    name: String,
    with: Bits,
    without: Option<Bits>,
    /// The finding is about an event of its device.
    #[serde(default)]
    same_device: bool,
}

/// Bits of a command's word, 0 to 3.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Bits {
    word: usize,
    bits: u64,
}

impl Pattern {
    fn explains(&self, finding: &Finding, case: &Done) -> bool {
        let ends = |path: &String| finding.path.ends_with(path.as_str());
        let confined = |bits: &u64| finding.differing_bits().is_some_and(|own| own & !bits == 0);
        let took = |command: &CommandPattern| {
            let mut taken = case.taken.iter();
            taken.any(|words| command.fits(*words, &finding.path))
        };
        let wrote = |register: &String| case.written.contains(register.as_str());
        finding.rule.id == self.rule
            && self.written.as_ref().is_none_or(wrote)
            && self.path.as_ref().is_none_or(ends)
            && self.bits.as_ref().is_none_or(confined)
            && self.command.as_ref().is_none_or(took)
    }
}

impl CommandPattern {
    fn fits(&self, words: Words, path: &str) -> bool {
        let device = format!("device[{:#x}]", words[0] >> 32);
        let has = |of: &Bits| words.get(of.word).copied().unwrap_or(0) & of.bits != 0;
        Command::decode(words).name() == self.name
            && has(&self.with)
            && !self.without.as_ref().is_some_and(has)
            && (!self.same_device || path.contains(&device))
    }
}

/// What was done in a case so far.
#[derive(Clone, Debug, Default)]
pub(crate) struct Done {
    /// Commands that the ITS came to.
    taken: Vec<Words>,
    /// Registers that software wrote, as signatures name them.
    written: BTreeSet<&'static str>,
}

impl Done {
    /// Takes note of an action and of what it led to.
    pub(crate) fn add(&mut self, action: &Action, events: &[Event]) {
        if let Action::Device { direction: Direction::Write(_), .. } = action {
            self.written.insert(subject(action));
        }
        let words = events.iter().filter_map(|event| match *event {
            Event::Taken { words, .. } | Event::Stalled { words, .. } => Some(words),
            _ => None,
        });
        self.taken.extend(words);
    }
}

/// Who is wrong about a difference.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Verdict {
    /// QEMU does what the architecture does not allow.
    Qemu,
    /// The architecture allows both, and the reference knows only one.
    Both,
    /// No source decides it.
    Undecided,
}

impl Verdict {
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Qemu => "QEMU is wrong",
            Self::Both => "both are allowed",
            Self::Undecided => "no source decides it",
        }
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    freedom: Vec<FileFreedom>,
    #[serde(default)]
    difference: Vec<Difference>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct FileFreedom {
    option: String,
    /// For readers of the file; that it is there is checked by reading it.
    #[serde(rename = "reason")]
    _reason: String,
}

impl Profile {
    /// The profile that is part of this program.
    ///
    /// # Panics
    /// If it is no profile: a test reads it.
    pub(crate) fn new() -> Self {
        let file: File = toml::from_str(TEXT).expect("qemu.toml is a profile");
        let options = file.freedom.iter().map(|one| option(&one.option));
        let options: Vec<(Freedom, u64)> =
            options.collect::<Result<_, _>>().expect("qemu.toml names options");
        Self {
            choices: options.iter().fold(Choices::USUAL, |choices, (freedom, number)| {
                choices.with_number(*freedom, *number)
            }),
            known: options.iter().map(|(freedom, _)| *freedom).collect(),
            differences: file.difference,
        }
    }

    /// QEMU's ITS as a board's.
    pub(crate) fn configuration(&self) -> ItsConfiguration {
        its_qemu::configuration(PageSize::K64, self.choices)
    }

    /// The option of a freedom that QEMU takes, where that is known.
    pub(crate) fn known(&self, freedom: Freedom) -> Option<u64> {
        let known = self.known.contains(&freedom);
        known.then(|| self.choices.number(freedom).into())
    }

    pub(crate) fn knows(&self, id: &str) -> bool {
        self.differences.iter().any(|difference| difference.id == id)
    }

    /// The difference that explains a finding in a case in which this was done.
    pub(crate) fn settles(&self, finding: &Finding, case: &Done) -> Option<&Difference> {
        let explains = |pattern: &Pattern| pattern.explains(finding, case);
        let mut all = self.differences.iter();
        all.find(|difference| difference.finding.iter().any(explains))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_file_is_a_profile() {
        let profile = Profile::new();
        assert_eq!(profile.known(Freedom::OnError), Some(1));
        assert_eq!(profile.known(Freedom::EqualPriority), None);
        assert_eq!(profile.configuration().typer().into_bits(), 0x1f_0001_efb1);
        for (index, one) in profile.differences.iter().enumerate() {
            let same = |other: &Difference| other.id == one.id;
            assert_eq!(profile.differences.iter().position(same), Some(index));
        }
    }

    #[test]
    fn the_documentation_lists_the_differences() {
        let page = include_str!("../../../../docs/qemu.md");
        for one in Profile::new().differences {
            let Difference { id, what, verdict, source, .. } = &one;
            let row = format!("| {id} | {what} | {} | {source} |", verdict.name());
            assert!(page.contains(&row), "docs/qemu.md does not have: {row}");
        }
    }

    fn finding(rule: &'static its_rules::Rule, path: &str, bits: [&str; 2]) -> Finding {
        Finding::new(rule, "", path, bits[0], bits[1])
    }

    /// What a difference explains, and its neighbours, which it does not.
    #[test]
    fn patterns_are_as_narrow_as_they_say() {
        let profile = Profile::new();
        let id = |finding: &Finding, done: &Done| {
            let found = profile.settles(finding, done);
            found.map(|difference| difference.id.as_str())
        };
        let register = &its_rules::catalogue::ARCH_REGISTER;
        let none = Done::default();
        let ptz = |seen| finding(register, "redistributor1+0x78", ["0x80060000 (x)", seen]);
        assert_eq!(id(&ptz("0x4000000080060000"), &none), Some("QEMU-PTZ-READS"));
        assert_eq!(id(&ptz("0x4000000080070000"), &none), None);
        let creadr = finding(register, "its0.Creadr", ["0x0 in bits 0x1", "0x20"]);
        assert_eq!(id(&creadr, &none), None);
        let wrote = Done { written: BTreeSet::from(["CREADR"]), ..Done::default() };
        assert_eq!(id(&creadr, &wrote), Some("QEMU-CREADR-WRITABLE"));
        let lost = finding(
            &its_rules::catalogue::DIV_TRANSLATION,
            "its0.device[0x1].event[0x0]",
            ["", ""],
        );
        let mapd = |size, valid| Done {
            taken: vec![Command::Mapd { device_id: 1, size, itt_address: 0, valid }.encode()],
            ..Done::default()
        };
        assert_eq!(id(&lost, &mapd(16, false)), Some("QEMU-MAPD-UNMAP-SIZE"));
        assert_eq!(id(&lost, &mapd(16, true)), None);
        assert_eq!(id(&lost, &mapd(15, false)), None);
    }
}
