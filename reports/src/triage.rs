//! The artifacts of all runs, replayed and grouped by signature. Nothing is dropped: what shows
//! nothing, decodes to nothing or cannot be read is listed apart.

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::path::PathBuf;

use its_rules::{Finding, catalogue};
use serde::{Deserialize, Serialize};

use crate::cause::class;
use crate::known_text;

/// Says what became of a file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Judged {
    pub file: PathBuf,
    pub outcome: Outcome,
}

/// Says how it ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Outcome {
    /// It is no scenario.
    Unreadable(String),
    /// It holds nothing.
    Empty(String),
    /// The program ended on it, or did not end.
    Failed(String),
    /// It is one, and this came of it.
    Played {
        operations: usize,
        findings: Vec<Finding>,
        /// Where board and reference contradict each other.
        defects: Vec<String>,
    },
}

impl Judged {
    /// Returns what was found in it; nothing where it could not be played.
    pub fn findings(&self) -> &[Finding] {
        match &self.outcome {
            Outcome::Played { findings, .. } => findings,
            Outcome::Unreadable(_) | Outcome::Empty(_) | Outcome::Failed(_) => &[],
        }
    }
}

/// Describes a file that a run left.
pub struct Artifact<'a> {
    pub subject: &'a str,
    /// Its path, for people.
    pub file: String,
    /// The signature that its head names, if it names one.
    pub claimed: Option<String>,
    /// When it was written, in seconds since 1970.
    pub written: u64,
}

/// Holds all artifacts of a target, by what they show now.
#[derive(Default, Serialize)]
pub struct Triage {
    pub target: String,
    pub groups: Vec<Group>,
    /// They were findings, and break no rule now.
    pub clean: Vec<String>,
    /// They hold no operation.
    pub empty: Vec<String>,
    /// Files that are no scenarios, and why.
    pub unreadable: Vec<String>,
    /// What they were kept for they do not show now, but something else.
    pub drifted: Vec<String>,
    /// On these board and reference contradict each other, or the program ends.
    pub defects: Vec<String>,
    /// Entries of what is known that no group met.
    pub known_not_met: Vec<String>,
}

/// Holds artifacts with one signature.
#[derive(Serialize)]
pub struct Group {
    pub subject: String,
    pub signature: String,
    pub rule: String,
    pub severity: String,
    /// Why it is known, if it is.
    pub known: Option<String>,
    pub count: usize,
    /// When the oldest of them was written, in seconds since 1970.
    pub first_seen: u64,
    /// The shortest of them, and its operations.
    pub file: String,
    pub operations: usize,
    /// The shortest file for each way through the subject's code that was seen, shortest first.
    pub ways: Vec<Way>,
}

/// Holds a file in which a subject took other edges of its code to the same finding.
#[derive(Serialize)]
pub struct Way {
    #[serde(skip)]
    pub edges: u64,
    pub file: String,
    pub operations: usize,
}

impl Triage {
    /// Takes what became of an artifact.
    pub fn take(&mut self, artifact: Artifact, outcome: Outcome) {
        let file = artifact.file.clone();
        let (list, entry) = match outcome {
            Outcome::Unreadable(why) => (&mut self.unreadable, why),
            Outcome::Empty(why) => (&mut self.empty, why),
            Outcome::Failed(why) => (&mut self.defects, why),
            Outcome::Played { defects, .. } if !defects.is_empty() => {
                (&mut self.defects, format!("{file}: {}", defects.join("; ")))
            }
            Outcome::Played { findings, .. } if findings.is_empty() => (&mut self.clean, file),
            Outcome::Played { operations, mut findings, .. } => {
                if let Some(claimed) = &artifact.claimed {
                    match findings.iter().position(|finding| finding.signature == *claimed) {
                        Some(same) => findings = vec![findings.swap_remove(same)],
                        None => self.drifted.push(format!("{file}: no {claimed}")),
                    }
                }
                for finding in &findings {
                    self.add(&artifact, operations, finding);
                }
                return;
            }
        };
        list.push(entry);
    }

    fn add(&mut self, artifact: &Artifact, operations: usize, finding: &Finding) {
        let Artifact { subject, file, written, .. } = artifact;
        let signature = &finding.signature;
        let order = |group: &Group| (&*group.subject, &group.signature).cmp(&(*subject, signature));
        let index = self.groups.binary_search_by(order).unwrap_or_else(|index| {
            let group = Group {
                subject: (*subject).into(),
                signature: signature.clone(),
                rule: finding.rule.id.into(),
                severity: finding.rule.severity.name().into(),
                known: None,
                count: 0,
                first_seen: *written,
                file: String::new(),
                operations: usize::MAX,
                ways: Vec::new(),
            };
            self.groups.insert(index, group);
            index
        });
        let group = &mut self.groups[index];
        group.count += 1;
        group.first_seen = group.first_seen.min(*written);
        if operations < group.operations {
            (group.file, group.operations) = (file.clone(), operations);
        }
        let way = Way { edges: finding.edges, file: file.clone(), operations };
        match group.ways.iter_mut().find(|other| other.edges == way.edges) {
            Some(known) if known.operations <= operations => {}
            Some(known) => *known = way,
            None => group.ways.push(way),
        }
        group.ways.sort_by_key(|way| way.operations);
    }

    /// Sorts groups by cause, which is rule and class: what is known comes last, the severest
    /// first, of those the shortest, and so within a cause.
    pub fn sort_by_cause(&mut self) {
        let mut shortest: BTreeMap<(String, String), usize> = BTreeMap::new();
        for group in &self.groups {
            let least = shortest.entry(group.cause()).or_insert(usize::MAX);
            *least = group.operations.min(*least);
        }
        self.groups.sort_by_cached_key(|group| {
            let severity = catalogue::find(&group.rule).map(|rule| rule.severity);
            let cause = group.cause();
            (group.known.is_some(), Reverse(severity), shortest[&cause], cause, group.operations)
        });
    }

    /// Returns it for people.
    pub fn text(&self) -> String {
        let (mut text, mut last) = (String::new(), None);
        for group in &self.groups {
            let Group { signature, subject, severity, count, operations, file, .. } = group;
            let (cause, known) = (group.cause(), known_text(group.known.as_ref()));
            if last.replace(cause.clone()) != Some(cause.clone()) {
                text += &format!(
                    "{} {} on {subject} ({severity})\n",
                    group.rule,
                    class(&group.signature)
                );
            }
            text += &format!(
                "  {signature}{known}: {count} files, the shortest of {operations} operations\n    \
                 {file}\n"
            );
        }
        for (what, files) in [
            ("breaks nothing now", &self.clean),
            ("holds no operation", &self.empty),
            ("cannot be read", &self.unreadable),
            ("shows something else now", &self.drifted),
            ("a defect of the harness", &self.defects),
            ("known, not met", &self.known_not_met),
        ] {
            text.extend(files.iter().map(|file| format!("{what}: {file}\n")));
        }
        text + &format!(
            "{}: {} signatures, {} files show nothing, {} something else, {} are empty, \
             {} unreadable, {} defects",
            self.target,
            self.groups.len(),
            self.clean.len(),
            self.drifted.len(),
            self.empty.len(),
            self.unreadable.len(),
            self.defects.len()
        )
    }
}

impl Group {
    fn cause(&self) -> (String, String) {
        (self.subject.clone(), format!("{} {}", self.rule, class(&self.signature)))
    }
}

#[cfg(test)]
mod tests {
    use its_rules::catalogue::{DIV_PINS, DIV_REGISTER};

    use super::*;

    #[test]
    fn nothing_is_dropped() {
        let at = |rule| {
            Finding::broken(rule, "value", "a page", "0").at((0, "write-cwriter"), "CWRITER")
        };
        let played = |operations, findings: &[Finding]| {
            let (findings, defects) = (findings.to_vec(), Vec::new());
            Outcome::Played { operations, findings, defects }
        };
        let both = [at(&DIV_REGISTER), at(&DIV_PINS)];
        let claimed = Some(both[1].signature.clone());
        let mut triage = Triage { target: "its_cmdq".into(), ..Triage::default() };
        for (file, claimed, outcome) in [
            ("a.its", None, played(3, &both)),
            ("b.its", claimed.clone(), played(2, &both)),
            ("c.its", claimed, played(1, &both[..1])),
            ("d.its", None, played(1, &[])),
            ("e.its", None, Outcome::Empty("e.its: empty".into())),
            ("f.its", None, Outcome::Unreadable("f.its: no scenario".into())),
            ("g.its", None, Outcome::Failed("g.its: the program ended on it".into())),
        ] {
            let subject = "production";
            triage.take(Artifact { subject, file: file.into(), claimed, written: 1 }, outcome);
        }
        triage.groups[0].known = Some("it may be so".into());
        triage.sort_by_cause();
        insta::assert_snapshot!(triage.text());
    }
}
