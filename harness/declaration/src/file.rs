//! A file `subject.toml`.

use std::ops::RangeInclusive;

use its_el2::SubjectPolicy;
use its_rules::{Layer, Rule, catalogue};
use serde::Deserialize;

use crate::Declaration;
use crate::fault::{Fault, Malformed};
use crate::points::{
    EnableLpis, Level2Contents, Level2Tables, Memory, Queue, Redistributors, Refusal, Registers,
    SetUp, Timeout, Traps,
};

/// The version of the file that this code reads.
const VERSION: u32 = 1;
/// The most polls that a file may declare: what EL2-WAIT allows with a lock held.
const POLLS: RangeInclusive<u32> = 0..=1000;

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
    /// The file itself, to name places in it.
    #[serde(skip)]
    text: String,
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
        match read.fault() {
            Some(fault) => Err(fault.in_file(file, text)),
            None => Ok(Self { text: text.into(), ..read }),
        }
    }

    fn fault(&self) -> Option<Fault> {
        if self.version != VERSION {
            let version = self.version;
            let what = format!("version {version} is not known; this is version {VERSION}");
            return Some(Fault::new("version", what));
        }
        if !POLLS.contains(&self.queue.polls) {
            let (polls, most) = (self.queue.polls, POLLS.end());
            let what = format!("queue.polls is {polls}; at most {most}");
            return Some(Fault::new("queue.polls", what));
        }
        if self.queue.polls == 0 && self.queue.timeout != Timeout::Kept {
            let what = "queue.timeout: without queue.polls nothing runs out".into();
            return Some(Fault::new("queue.timeout", what));
        }
        let Queue { timeout, refusal, .. } = self.queue;
        if timeout == Timeout::RolledBack && refusal == Refusal::Skipped {
            let what = "queue.timeout: with queue.refusal = \"skipped\" no command stays refused";
            return Some(Fault::new("queue.timeout", what.into()));
        }
        let Traps { redistributors, enable_lpis, .. } = self.traps;
        if redistributors == Redistributors::Open && enable_lpis == EnableLpis::Borrowed {
            let what =
                "traps.enable-lpis: with traps.redistributors = \"open\" nothing is borrowed";
            return Some(Fault::new("traps.enable-lpis", what.into()));
        }
        let Memory { level2, level2_contents, .. } = self.memory;
        if level2 == Level2Tables::Fixed && level2_contents == Level2Contents::Checked {
            let what = "memory.level2-contents: with memory.level2 = \"fixed\" no table joins";
            return Some(Fault::new("memory.level2-contents", what.into()));
        }
        if self.registers.typer_hidden > i64::MAX as u64 {
            let what = "registers.typer-hidden is beyond 2^63-1".into();
            return Some(Fault::new("registers.typer-hidden", what));
        }
        let given_up = |(n, one): (usize, &NotJudged)| {
            let is_twice = self.not_judged[..n].iter().any(|other| other.rule == one.rule);
            let twice = || is_twice.then(|| ("rule", format!("{} is there twice", one.rule)));
            let (key, what) = one.fault().or_else(twice)?;
            Some(Fault::new(format!("not-judged.{n}.{key}"), format!("not-judged: {what}")))
        };
        let numbers = self.numbers.fault();
        numbers.or_else(|| self.not_judged.iter().enumerate().find_map(given_up))
    }

    /// Returns the policy of an emulation that says these numbers of itself.
    ///
    /// # Errors
    /// The file and the emulation disagree over a number.
    pub fn declaration(&self, file: &str, of: SubjectPolicy) -> Result<Declaration, Malformed> {
        let numbers = self.numbers.over(of);
        let numbers = numbers.map_err(|fault| fault.in_file(file, &self.text))?;
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
    /// The key whose value is wrong, and what is wrong with it.
    fn fault(&self) -> Option<(&'static str, String)> {
        let Self { rule: id, reason } = self;
        // An id that a rule had before it was split off names the rule that kept it, alone.
        let Some(rule) = catalogue::find(id) else {
            return Some(("rule", format!("no rule {id}; `cargo xtask rules` lists them")));
        };
        if rule.layer != Layer::Policy {
            let layer = rule.layer.name();
            return Some(("rule", format!("{id} is a rule of {layer}, which holds always")));
        }
        reason.trim().is_empty().then(|| ("reason", format!("{id} gives no reason")))
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

    fn fault(&self) -> Option<Fault> {
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
            let at = format!("numbers.{name}");
            let what = format!("{at} is {value}; expected {least} to {most}");
            Some(Fault::new(at, what))
        })
    }

    /// What the emulation says and this file adds.
    fn over(&self, of: SubjectPolicy) -> Result<SubjectPolicy, Fault> {
        let same = [
            ("records-per-page", self.records_per_page, of.records_per_page),
            ("commands-in-flight", self.commands_in_flight, of.commands_in_flight),
            ("its", self.its, of.its),
            ("redistributors", self.redistributors, of.redistributors),
        ];
        for (name, declared, says) in same {
            if declared.is_some_and(|declared| declared != says) {
                let declared = declared.unwrap_or_default();
                let at = format!("numbers.{name}");
                let what = format!("{at} is {declared}; the emulation says {says}");
                return Err(Fault::new(at, what));
            }
        }
        let (per_trap, in_flight) = (self.commands_per_trap, of.commands_in_flight);
        if let Some(per_trap) = per_trap.filter(|per_trap| *per_trap < in_flight) {
            let what = format!(
                "numbers.commands-per-trap is {per_trap}; at least commands-in-flight, \
                 {in_flight}, since a trap may find all of them consumed"
            );
            return Err(Fault::new("numbers.commands-per-trap", what));
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
