//! A scenario with lines in between that say what must be seen there.
//!
//! The lines of the scenario's text form (without its first, `itsdiff 2`), and these:
//!
//! | line | what must be seen after the operations before it |
//! | --- | --- |
//! | `expect value=N [mask=N]` | the last access returned this, in the bits of the mask |
//! | `expect done` | every command since the last such line, at least one, was carried out, and CREADR is CWRITER |
//! | `expect error=N` · `expect error` | the last command that the ITS came to was a command error of this number, or of any |
//! | `expect translation device=N event=N intid=N icid=N cpu=N` | where an event goes; `cpu=none`: its collection is unmapped |
//! | `expect no-translation device=N event=N` | it goes nowhere |
//! | `expect pending cpu=N intids=N,N` · `expect pending cpu=N none` | all LPIs that are pending at a redistributor |
//! | `expect offered cpu=N intid=N` · `expect offered cpu=N none` | the LPI that a CPU is offered |
//!
//! Values are read where that changes nothing. What a subject cannot show is not asked, and
//! reported: QEMU shows neither whether a command was in error nor what a CPU is offered, and to a
//! deprivileged host an error is a stall without a number.

use its_machine::{MAX_CPUS, Translation};
use its_scenario::{Operation, Scenario};

/// Operations, and what must be seen between them.
#[derive(Clone, Debug)]
pub struct Script {
    pub scenario: Scenario,
    /// In the order of the lines; at least one.
    pub expectations: Vec<Expected>,
    /// Whether the text names the stage at which the operations begin.
    pub names_stage: bool,
}

/// An expectation and where it stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Expected {
    /// How many operations come before it.
    pub after: usize,
    /// In the case's text, from 1.
    pub line: usize,
    /// As it is written.
    pub text: String,
    pub what: Expectation,
}

/// One thing that must be seen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Expectation {
    Value {
        value: u64,
        mask: u64,
    },
    Done,
    Error(Option<u32>),
    Translation {
        device_id: u32,
        event_id: u32,
        to: Option<Translation>,
    },
    /// Ascending.
    Pending {
        cpu: u8,
        intids: Vec<u32>,
    },
    Offered {
        cpu: u8,
        intid: Option<u32>,
    },
}

const EXPECT: &str = "expect";

impl Script {
    /// Reads a case's text.
    ///
    /// # Errors
    /// The first line that is wrong, with its number.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let mut scenario = String::from("itsdiff 2\n");
        let mut expectations = Vec::new();
        let mut lines = Vec::new();
        let mut names_stage = false;
        for (line, content) in (1..).zip(text.lines()) {
            let mut words = content.split('#').next().unwrap_or("").split_whitespace();
            match words.next() {
                Some(EXPECT) => {
                    let words: Vec<&str> = words.collect();
                    let what = parse(&words).map_err(|wrong| format!("line {line}: {wrong}"))?;
                    let after = lines.len();
                    expectations.push(Expected { after, line, text: words.join(" "), what });
                    scenario.push('\n');
                    continue;
                }
                None => {}
                Some(word) if is_configuration(word) => {}
                Some("boot") => names_stage = words.any(|word| word.starts_with("stage=")),
                Some(_) => lines.push(line),
            }
            scenario.push_str(content);
            scenario.push('\n');
        }
        if expectations.is_empty() {
            return Err("it expects nothing; there must be a line that begins with expect".into());
        }
        let scenario = Scenario::parse(&scenario).map_err(|error| {
            let line = error.line.saturating_sub(1);
            format!("line {line}: {:?} {}; expected {}", error.word, error.wrong, error.expected)
        })?;
        for (operation, line) in scenario.operations.iter().zip(lines) {
            if needs_the_runner(operation) {
                let name = operation.name();
                return Err(format!("line {line}: {name:?} has no effect in a requirement"));
            }
        }
        Ok(Self { scenario, expectations, names_stage })
    }

    /// Two devices change their DeviceIDs everywhere.
    pub(crate) fn swap_devices(&mut self, one: u32, other: u32) {
        self.scenario.swap_devices(one, other);
        for expected in &mut self.expectations {
            if let Expectation::Translation { device_id, .. } = &mut expected.what {
                *device_id = match *device_id {
                    id if id == one => other,
                    id if id == other => one,
                    id => id,
                };
            }
        }
    }
}

/// Whether an operation means something only where a runner plays it on a board.
const fn needs_the_runner(operation: &Operation) -> bool {
    matches!(
        operation,
        Operation::Fail { .. }
            | Operation::Tamper { .. }
            | Operation::Progress { .. }
            | Operation::Stall { .. }
            | Operation::Race { .. }
    )
}

/// The words after `expect`.
fn parse(words: &[&str]) -> Result<Expectation, String> {
    let Some((first, rest)) = words.split_first() else {
        return Err(format!("expects nothing; {KNOWN}"));
    };
    let (name, own) = first.split_once('=').unwrap_or((first, ""));
    let mut fields = Fields(rest.to_vec());
    let what = match name {
        "value" => Expectation::Value {
            value: number(own)?,
            mask: fields.find("mask")?.unwrap_or(u64::MAX),
        },
        "done" => Expectation::Done,
        "error" if own.is_empty() => Expectation::Error(None),
        "error" => Expectation::Error(Some(narrow(number(own)?)?)),
        "translation" => Expectation::Translation {
            device_id: narrow(fields.take("device")?)?,
            event_id: narrow(fields.take("event")?)?,
            to: Some(Translation {
                intid: narrow(fields.take("intid")?)?,
                icid: narrow(fields.take("icid")?)?,
                redistributor: if fields.flag("cpu=none") { None } else { Some(fields.cpu()?) },
            }),
        },
        "no-translation" => Expectation::Translation {
            device_id: narrow(fields.take("device")?)?,
            event_id: narrow(fields.take("event")?)?,
            to: None,
        },
        "pending" => Expectation::Pending {
            cpu: fields.cpu()?,
            intids: if fields.flag("none") { Vec::new() } else { fields.list("intids")? },
        },
        "offered" => Expectation::Offered {
            cpu: fields.cpu()?,
            intid: if fields.flag("none") { None } else { Some(narrow(fields.take("intid")?)?) },
        },
        _ => return Err(format!("{name:?} is nothing that can be expected; {KNOWN}")),
    };
    match fields.0.first() {
        Some(left) => Err(format!("{left:?} says nothing here")),
        None => Ok(what),
    }
}

const KNOWN: &str =
    "expected one of value, done, error, translation, no-translation, pending, offered";

/// The words of a line that are not used yet.
struct Fields<'a>(Vec<&'a str>);

impl<'a> Fields<'a> {
    fn text(&mut self, key: &str) -> Option<&'a str> {
        let matches = |word: &&str| word.split_once('=').is_some_and(|(name, _)| name == key);
        let place = self.0.iter().position(matches)?;
        self.0.remove(place).split_once('=').map(|(_, text)| text)
    }

    fn find(&mut self, key: &str) -> Result<Option<u64>, String> {
        self.text(key).map(number).transpose()
    }

    fn take(&mut self, key: &str) -> Result<u64, String> {
        self.find(key)?.ok_or_else(|| format!("{key}= is missing"))
    }

    fn list(&mut self, key: &str) -> Result<Vec<u32>, String> {
        let text = self.text(key);
        let text = text.ok_or_else(|| format!("{key}= is missing, or none"))?;
        let mut all: Vec<u32> =
            text.split(',').map(|one| narrow(number(one)?)).collect::<Result<_, _>>()?;
        all.sort_unstable();
        Ok(all)
    }

    fn cpu(&mut self) -> Result<u8, String> {
        match self.take("cpu")? {
            cpu if cpu < MAX_CPUS as u64 => Ok(cpu as u8),
            cpu => Err(format!("cpu={cpu} is none of the {MAX_CPUS} that a board can have")),
        }
    }

    fn flag(&mut self, name: &str) -> bool {
        let place = self.0.iter().position(|word| *word == name);
        place.map(|place| self.0.remove(place)).is_some()
    }
}

fn number(text: &str) -> Result<u64, String> {
    let parsed = match text.strip_prefix("0x") {
        Some(digits) => u64::from_str_radix(digits, 16),
        None => text.parse(),
    };
    parsed.map_err(|_| format!("{text:?} is no number"))
}

fn narrow<T: TryFrom<u64>>(value: u64) -> Result<T, String> {
    T::try_from(value).map_err(|_| format!("{value:#x} is too large"))
}

/// Whether a line that starts like this is the configuration of an ITS.
fn is_configuration(word: &str) -> bool {
    word.strip_prefix("its").is_some_and(|its| its.parse::<u8>().is_ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn what(line: &str) -> Result<Expectation, String> {
        let words: Vec<&str> = line.split_whitespace().collect();
        parse(&words)
    }

    #[test]
    fn every_expectation_can_be_written() {
        let to = Translation { intid: 0x2007, icid: 1, redistributor: Some(1) };
        let translation = |to| Expectation::Translation { device_id: 0x2a, event_id: 7, to };
        let line = "translation device=0x2a event=7 intid=0x2007 icid=1 cpu=1";
        assert_eq!(what(line), Ok(translation(Some(to))));
        let nowhere = Translation { redistributor: None, ..to };
        let line = "translation device=0x2a event=7 intid=0x2007 icid=1 cpu=none";
        assert_eq!(what(line), Ok(translation(Some(nowhere))));
        assert_eq!(what("no-translation device=42 event=7"), Ok(translation(None)));
        let value = Expectation::Value { value: 3, mask: 0xff };
        assert_eq!(what("value=0x3 mask=0xff"), Ok(value));
        assert_eq!(what("done"), Ok(Expectation::Done));
        assert_eq!(what("error"), Ok(Expectation::Error(None)));
        assert_eq!(what("error=0x10801"), Ok(Expectation::Error(Some(0x10801))));
        let pending = |cpu, intids| Expectation::Pending { cpu, intids };
        assert_eq!(what("pending cpu=1 intids=8195,0x2000"), Ok(pending(1, vec![8192, 8195])));
        assert_eq!(what("pending cpu=0 none"), Ok(pending(0, Vec::new())));
        let offered = Expectation::Offered { cpu: 0, intid: None };
        assert_eq!(what("offered cpu=0 none"), Ok(offered));
    }

    #[test]
    fn what_cannot_be_expected_is_said() {
        for (line, wrong) in [
            ("", "expects nothing"),
            ("joy", "is nothing that can be expected"),
            ("value=x", "\"x\" is no number"),
            ("pending cpu=8 none", "none of the 8"),
            ("pending cpu=0", "intids= is missing"),
            ("done soon", "\"soon\" says nothing here"),
            ("error=0x100000000", "too large"),
            ("translation device=1 event=1 icid=1 cpu=0", "intid= is missing"),
        ] {
            let error = what(line).unwrap_err();
            assert!(error.contains(wrong), "{line}: {error}");
        }
    }

    #[test]
    fn what_has_no_effect_is_refused() {
        for operation in ["stall 1", "race 1", "fail share nth=1"] {
            let text = format!("boot queue-pages=1\nread its0 CTLR\n{operation}\nexpect done\n");
            let error = Script::parse(&text).unwrap_err();
            let name = operation.split_once(' ').unwrap().0;
            assert_eq!(error, format!("line 3: {name:?} has no effect in a requirement"));
        }
    }

    #[test]
    fn expectations_know_where_they_stand() {
        let text = "# first\nboot queue-pages=1\nread its0 CTLR # second\n\nexpect value=0x1\n";
        let script = Script::parse(text).unwrap();
        assert_eq!(script.scenario.operations.len(), 1);
        let [expected] = &script.expectations[..] else {
            panic!("one line expects");
        };
        assert_eq!((expected.after, expected.line), (1, 5));
        assert!(!script.names_stage);
    }
}
