//! A file `subject.toml`.

use std::ops::RangeInclusive;

use its_el2::SubjectPolicy;
use its_rules::{Layer, Rule, catalogue};
use serde::Deserialize;
use thiserror::Error;

use crate::Declaration;
use crate::points::{Memory, Queue, Registers, SetUp, Traps};

/// The version of the file that this code reads.
const VERSION: u32 = 1;
/// The most polls that a file may declare: what EL2-WAIT allows with a lock held.
const POLLS: RangeInclusive<u32> = 0..=1000;

/// Says why a file cannot be used.
#[derive(Debug, Error)]
pub enum Malformed {
    #[error("{file}: {error}")]
    Syntax { file: String, error: Box<toml::de::Error> },
    #[error("{file}: {what}")]
    Value { file: String, what: String },
}

/// What a file says.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct File {
    version: u32,
    #[serde(default)]
    numbers: Numbers,
    #[serde(default)]
    traps: Traps,
    #[serde(default)]
    set_up: SetUp,
    #[serde(default)]
    memory: Memory,
    #[serde(default)]
    queue: Queue,
    #[serde(default)]
    registers: Registers,
    /// What is given up.
    #[serde(default)]
    pub not_judged: Vec<NotJudged>,
}

/// A rule of the policy that is given up.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NotJudged {
    /// Its id.
    pub rule: String,
    pub reason: String,
}

/// Numbers, where the file says them. The first four the emulation says itself.
#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
struct Numbers {
    records_per_page: Option<u32>,
    commands_in_flight: Option<u32>,
    its: Option<u32>,
    redistributors: Option<u32>,
    commands_per_trap: Option<u32>,
    event_id_bits: Option<u32>,
    private_pages: Option<u32>,
}

impl File {
    /// Reads a file, by its name and text.
    ///
    /// # Errors
    /// The text is no TOML, has another version, names a point, value or rule that there is not,
    /// or gives up a rule that is not the policy's, or without a reason.
    pub fn read(file: &str, text: &str) -> Result<Self, Malformed> {
        let syntax = |error| Malformed::Syntax { file: file.into(), error: Box::new(error) };
        let read: Self = toml::from_str(text).map_err(syntax)?;
        let wrong = |what| Malformed::Value { file: file.into(), what };
        match read.fault() {
            Some(what) => Err(wrong(what)),
            None => Ok(read),
        }
    }

    fn fault(&self) -> Option<String> {
        if self.version != VERSION {
            let version = self.version;
            return Some(format!("version {version} is not known; this is version {VERSION}"));
        }
        if !POLLS.contains(&self.queue.polls) {
            let (polls, most) = (self.queue.polls, POLLS.end());
            return Some(format!("queue.polls is {polls}; at most {most}"));
        }
        if self.registers.typer_hidden > i64::MAX as u64 {
            return Some("registers.typer-hidden is beyond 2^63-1".into());
        }
        let twice = |(n, one): (usize, &NotJudged)| {
            let before = self.not_judged[..n].iter().any(|other| other.rule == one.rule);
            before.then(|| format!("not-judged: {} is there twice", one.rule))
        };
        self.numbers
            .fault()
            .or_else(|| self.not_judged.iter().find_map(NotJudged::fault))
            .or_else(|| self.not_judged.iter().enumerate().find_map(twice))
    }

    /// Returns the policy of an emulation that says these numbers of itself.
    ///
    /// # Errors
    /// The file and the emulation disagree over a number.
    pub fn declaration(&self, file: &str, of: SubjectPolicy) -> Result<Declaration, Malformed> {
        let numbers = self.numbers.over(of);
        let numbers = numbers.map_err(|what| Malformed::Value { file: file.into(), what })?;
        Ok(self.with(numbers))
    }

    fn with(&self, numbers: SubjectPolicy) -> Declaration {
        let Self { traps, set_up, memory, queue, registers, .. } = *self;
        Declaration { numbers, traps, set_up, memory, queue, registers }
    }

    /// Returns the points that are otherwise than in `POLICY.md`, as the file has them.
    pub fn declared(&self) -> Vec<String> {
        let points = self.with(SubjectPolicy::default()).declared();
        self.numbers.declared().into_iter().chain(points).collect()
    }

    /// Returns what it leaves unprotected, which safety would demand otherwise.
    pub fn unprotected(&self) -> Vec<&'static str> {
        self.with(SubjectPolicy::default()).unprotected()
    }

    /// Returns whether a rule is given up.
    pub fn gives_up(&self, rule: &Rule) -> bool {
        self.not_judged.iter().any(|one| one.rule == rule.id)
    }
}

impl NotJudged {
    fn fault(&self) -> Option<String> {
        let Self { rule: id, reason } = self;
        // An id that a rule had before it was split off names the rule that kept it, alone.
        let Some(rule) = catalogue::find(id) else {
            return Some(format!("not-judged: no rule {id}; `cargo xtask rules` lists them"));
        };
        if rule.layer != Layer::Policy {
            let layer = rule.layer.name();
            return Some(format!("not-judged: {id} is a rule of {layer}, which holds always"));
        }
        reason.trim().is_empty().then(|| format!("not-judged: {id} gives no reason"))
    }
}

impl Numbers {
    /// What only a file can say.
    fn declared(&self) -> Vec<String> {
        let all = [
            ("commands-per-trap", self.commands_per_trap),
            ("event-id-bits", self.event_id_bits),
            ("private-pages", self.private_pages),
        ];
        let said =
            |(name, value): (&str, Option<u32>)| Some(format!("numbers.{name} = {}", value?));
        all.into_iter().filter_map(said).collect()
    }

    fn fault(&self) -> Option<String> {
        let ranges = [
            ("commands-in-flight", self.commands_in_flight, 1..=u32::MAX),
            ("commands-per-trap", self.commands_per_trap, 1..=u32::MAX),
            ("event-id-bits", self.event_id_bits, 1..=32),
            ("private-pages", self.private_pages, 1..=u32::MAX),
            ("its", self.its, 1..=8),
            ("redistributors", self.redistributors, 1..=8),
        ];
        ranges.into_iter().find_map(|(name, value, range)| {
            let value = value.filter(|value| !range.contains(value))?;
            let (least, most) = range.into_inner();
            Some(format!("numbers.{name} is {value}; expected {least} to {most}"))
        })
    }

    /// What the emulation says and this file adds.
    fn over(&self, of: SubjectPolicy) -> Result<SubjectPolicy, String> {
        let same = [
            ("records-per-page", self.records_per_page, of.records_per_page),
            ("commands-in-flight", self.commands_in_flight, of.commands_in_flight),
            ("its", self.its, of.its),
            ("redistributors", self.redistributors, of.redistributors),
        ];
        for (name, declared, says) in same {
            if declared.is_some_and(|declared| declared != says) {
                let declared = declared.unwrap_or_default();
                return Err(format!("numbers.{name} is {declared}; the emulation says {says}"));
            }
        }
        let (per_trap, in_flight) = (self.commands_per_trap, of.commands_in_flight);
        if let Some(per_trap) = per_trap.filter(|per_trap| *per_trap < in_flight) {
            return Err(format!(
                "numbers.commands-per-trap is {per_trap}; at least commands-in-flight, \
                 {in_flight}, since a trap may find all of them consumed"
            ));
        }
        Ok(SubjectPolicy {
            commands_per_trap: per_trap.unwrap_or(of.commands_per_trap),
            event_id_bits: self.event_id_bits.unwrap_or(of.event_id_bits),
            private_pages: self.private_pages.unwrap_or(of.private_pages),
            ..of
        })
    }
}

#[cfg(test)]
mod tests;
