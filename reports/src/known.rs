//! What is known and does not count as found: a file of entries, each with a reason and a date.

use std::path::{Path, PathBuf};

use its_rules::{Finding, Layer, catalogue};
use serde::Deserialize;
use thiserror::Error;
use wildmatch::WildMatch;

/// Says why a file of known findings cannot be used.
#[derive(Debug, Error)]
pub enum Malformed {
    #[error("{file}: {error}")]
    Syntax { file: String, error: Box<toml::de::Error> },
    #[error("{file}: entry {number}, {what}")]
    Entry { file: String, number: usize, what: String },
}

/// Holds what is known of a subject, from one file or several.
#[derive(Debug, Default)]
pub struct Known {
    entries: Vec<Entry>,
}

#[derive(Debug)]
struct Entry {
    /// The only subject that it is about; then somebody else checks that it is still met.
    only: Option<String>,
    file: String,
    what: What,
    reason: String,
    date: toml::value::Datetime,
    scenario: Option<PathBuf>,
    is_used: bool,
}

/// What an entry is about. `*` in a signature or a requirement stands for any text.
#[derive(Debug)]
enum What {
    Rule(String),
    Signature(WildMatch),
    Requirement(WildMatch),
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    #[serde(default)]
    known: Vec<Written>,
}

/// An entry as a file has it.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    rule: Option<String>,
    signature: Option<String>,
    requirement: Option<String>,
    reason: String,
    date: toml::value::Datetime,
    scenario: Option<PathBuf>,
}

impl Known {
    /// Adds the entries of a file, by its name and text: of any subject, or of one alone.
    ///
    /// # Errors
    /// The text is not such a file, or an entry names nothing that there is or more than it may.
    pub fn add(&mut self, file: &str, text: &str, only: Option<&str>) -> Result<(), Malformed> {
        let read: Result<File, _> = toml::from_str(text);
        let syntax = |error| Malformed::Syntax { file: file.into(), error: Box::new(error) };
        for (number, written) in (1..).zip(read.map_err(syntax)?.known) {
            let wrong = |what| Malformed::Entry { file: file.into(), number, what };
            let what = what(&written).map_err(wrong)?;
            let Written { reason, date, scenario, .. } = written;
            let has_no = match (reason.trim().is_empty(), date.date) {
                (true, _) => Some("it gives no reason"),
                (_, None) => Some("its date is none, such as 2026-11-29"),
                _ => None,
            };
            if let Some(missing) = has_no {
                return Err(wrong(missing.into()));
            }
            let (only, file, is_used) = (only.map(String::from), file.into(), false);
            self.entries.push(Entry { only, file, what, reason, date, scenario, is_used });
        }
        Ok(())
    }

    /// Returns why a finding on a subject is known, if it is.
    pub fn finding(&mut self, subject: &str, finding: &Finding) -> Option<String> {
        let Finding { rule, signature, .. } = finding;
        self.signature(subject, rule.id, signature)
    }

    /// Returns why a signature of a rule is known, if it is.
    pub fn signature(&mut self, subject: &str, rule: &str, signature: &str) -> Option<String> {
        self.reason(subject, |what| match what {
            What::Rule(known) => known == rule,
            What::Signature(pattern) => pattern.matches(signature),
            What::Requirement(_) => false,
        })
    }

    /// Returns why a requirement of the conformance suite is known to fail, if it is.
    pub fn requirement(&mut self, subject: &str, id: &str) -> Option<String> {
        self.reason(subject, |what| match what {
            What::Requirement(pattern) => pattern.matches(id),
            What::Rule(_) | What::Signature(_) => false,
        })
    }

    fn reason(&mut self, subject: &str, is_meant: impl Fn(&What) -> bool) -> Option<String> {
        let mut found = None;
        let is_of = |entry: &Entry| entry.only.as_ref().is_none_or(|only| only == subject);
        let meant = self.entries.iter_mut().filter(|entry| is_of(entry) && is_meant(&entry.what));
        for entry in meant {
            entry.is_used = true;
            found.get_or_insert(format!("{} ({})", entry.reason, entry.date));
        }
        found
    }

    /// Returns the entries that were not met: of requirements, or of rules and signatures.
    pub fn unused(&self, of_requirements: bool) -> Vec<String> {
        let is_kind = |what: &What| matches!(what, What::Requirement(_)) == of_requirements;
        let given = self.entries.iter().filter(|one| one.only.is_none() && is_kind(&one.what));
        let unused = given.filter(|one| !one.is_used);
        unused.map(|one| format!("{} ({})", one.what.text(), one.file)).collect()
    }

    /// Returns the scenarios that entries name.
    pub fn scenarios(&self) -> impl Iterator<Item = &Path> {
        self.entries.iter().filter_map(|one| one.scenario.as_deref())
    }
}

impl What {
    fn text(&self) -> String {
        match self {
            Self::Rule(rule) => rule.clone(),
            Self::Signature(pattern) | Self::Requirement(pattern) => pattern.pattern(),
        }
    }
}

/// What an entry is about, or what is wrong with it.
fn what(written: &Written) -> Result<What, String> {
    let Written { rule, signature, requirement, .. } = written;
    let (id, is_pattern) = match (rule, signature, requirement) {
        (Some(rule), None, None) => (rule.as_str(), true),
        (None, Some(signature), None) => {
            let rule = signature.split_once('.').map_or(&**signature, |(rule, _)| rule);
            (rule, signature.contains(['*', '?']))
        }
        (None, None, Some(id)) if id.chars().any(char::is_alphanumeric) => {
            return Ok(What::Requirement(WildMatch::new(id)));
        }
        (None, None, Some(_)) => return Err("its requirement names none".into()),
        _ => return Err("it must name one of rule, signature and requirement".into()),
    };
    let Some(known) = catalogue::find(id) else {
        return Err(format!("there is no rule {id:?}; `cargo xtask rules` lists them"));
    };
    let parts = signature.as_ref().map_or(4, |signature| signature.split('.').count());
    if !is_pattern && parts < 4 {
        return Err("a signature is rule.operation.subject.class".into());
    }
    if known.layer == Layer::Safety && is_pattern {
        return Err(format!(
            "{id} is a rule of safety: such a finding is known by its whole signature only"
        ));
    }
    Ok(match signature {
        Some(signature) => What::Signature(WildMatch::new(signature)),
        None => What::Rule(id.into()),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Known, String> {
        let mut known = Known::default();
        known.add("my.toml", text, None).map_err(|error| error.to_string())?;
        Ok(known)
    }

    fn entry(what: &str) -> String {
        format!("[[known]]\n{what}\nreason = \"ours\"\ndate = 2026-11-29\n")
    }

    #[test]
    fn by_rule_signature_and_requirement() {
        let text = entry("rule = \"EL2-BATCH\"")
            + &entry("signature = \"PTR-RESERVED.*.CWRITER.*\"")
            + &entry("signature = \"LEAK-LOOSE.poll.CREADR.released\"")
            + &entry("requirement = \"ITS-CMD-*\"");
        let mut known = read(&text).unwrap();
        let ours = Some("ours (2026-11-29)".into());
        assert_eq!(known.signature("mine", "EL2-BATCH", "EL2-BATCH.a.b.c"), ours);
        assert_eq!(known.signature("mine", "PTR-RESERVED", "PTR-RESERVED.boot.CWRITER.bits"), ours);
        assert_eq!(known.signature("mine", "PTR-RESERVED", "PTR-RESERVED.boot.CTLR.bits"), None);
        assert_eq!(known.requirement("mine", "ITS-CMD-MAPD-1"), ours);
        assert_eq!(known.requirement("mine", "ITS-REG-1"), None);
        assert_eq!(known.unused(false), ["LEAK-LOOSE.poll.CREADR.released (my.toml)"]);
        assert_eq!(known.unused(true), Vec::<String>::new());
    }

    #[test]
    fn what_is_wrong_is_said() {
        for text in [
            "known = 3",
            "[[known]]\nrule = \"EL2-BATCH\"\ndate = 2026-11-29\n",
            &entry(""),
            &entry("rule = \"EL2-BATCH\"\nrequirement = \"X\""),
            &entry("rule = \"EL2-NOTHING\""),
            &entry("signature = \"*\""),
            &entry("signature = \"SVC-QUEUE.poll\""),
            &entry("requirement = \"*\""),
            &entry("rule = \"LEAK-LOOSE\""),
            &entry("signature = \"LEAK-LOOSE.*\""),
            "[[known]]\nrule = \"EL2-BATCH\"\nreason = \" \"\ndate = 2026-11-29\n",
            "[[known]]\nrule = \"EL2-BATCH\"\nreason = \"a\"\ndate = 10:00:00\n",
        ] {
            insta::assert_snapshot!(read(text).unwrap_err());
        }
    }
}
