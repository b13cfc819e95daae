//! What is known of an emulation after minutes: the screen of `cargo xtask subject`.

use its_rules::{Finding, Layer, catalogue};

use crate::cause::{Cause, Shown, causes};
use crate::summary::DeclarationSummary;

/// Holds what was learned of an emulation.
#[derive(Default)]
pub struct FirstContact {
    /// As `--subject` takes it.
    pub subject: String,
    /// Loads and stores are seen.
    pub observed: bool,
    /// Its edges guide an engine.
    pub guided: bool,
    /// The most ITSs and redistributors of its boards.
    pub most: (u32, u32),
    /// What it declares of its policy.
    pub declared: DeclarationSummary,
    /// Boots by name, each with what keeps it from its end.
    pub boots: Vec<(&'static str, Option<String>)>,
    /// How many seeds were played.
    pub seeds: usize,
    /// What they broke, each with its file and number of operations.
    pub found: Vec<(Finding, String, usize)>,
    /// A file with points that it may want to declare, and how many these are.
    pub proposed: Option<(String, usize)>,
    /// Why a seed could not be judged.
    pub failed: Vec<String>,
}

impl FirstContact {
    /// Returns whether the usual boot comes to its end.
    pub fn boots(&self) -> bool {
        self.boots.first().is_some_and(|(_, trouble)| trouble.is_none())
    }

    /// Returns whether rules of safety or service are broken.
    pub fn has_mistakes(&self) -> bool {
        self.found.iter().any(|(finding, ..)| finding.rule.layer != Layer::Policy)
    }

    /// Returns it for people.
    pub fn text(&self) -> String {
        let mut text = format!("{}\n  observed    {}", self.subject, self.observed_text());
        text += &format!("\n  boards      up to {} ITSs and {} CPUs", self.most.0, self.most.1);
        for layer in [Layer::Safety, Layer::Service, Layer::Policy] {
            text += &self.judged_text(layer);
        }
        let declared = self.declared.text(None);
        text += &declared.lines().map(|line| format!("\n{line}")).collect::<String>();
        for (name, trouble) in &self.boots {
            let trouble = trouble.as_deref().unwrap_or("succeeds");
            text += &format!("\n  boot        {name}: {trouble}");
        }
        if !self.boots() {
            return text;
        }
        text += &format!("\n  seeds       {} played", self.seeds);
        text.extend(self.failed.iter().map(|why| format!("\n  not judged  {why}")));
        for layer in [Layer::Safety, Layer::Service] {
            let causes = self.causes(layer);
            text += &format!("\n  {:11} {} causes", layer.name(), causes.len());
            text.extend(causes.iter().map(Cause::brief));
        }
        let policy = self.causes(Layer::Policy);
        text += &format!("\n  {:11} {} causes", Layer::Policy.name(), policy.len());
        if !policy.is_empty() {
            text += ": not as harness/emulator/POLICY.md has it, which is no mistake by itself";
        }
        text.extend(policy.iter().map(Cause::line));
        if let Some((file, points)) = &self.proposed {
            text += &format!("\n  proposed    {points} points to declare: {file}");
        }
        text + "\n\nnext:"
    }

    /// Returns whether rules of a layer are broken.
    pub fn breaks(&self, layer: Layer) -> bool {
        self.found.iter().any(|(finding, ..)| finding.rule.layer == layer)
    }

    fn observed_text(&self) -> &'static str {
        match (self.observed, self.guided) {
            (true, true) => "loads, stores and edges",
            (true, false) => "loads and stores; no edges, so engines are not guided",
            (false, true) => "edges; loads and stores are not: see harness/abi/README.md",
            (false, false) => "calls alone: see harness/abi/README.md for the flags",
        }
    }

    fn judged_text(&self, layer: Layer) -> String {
        let all: Vec<_> = catalogue::ALL.iter().filter(|rule| rule.layer == layer).collect();
        let needs = |rule: &&&&its_rules::Rule| rule.evidence == its_rules::Evidence::Accesses;
        let unseen = if self.observed { 0 } else { all.iter().filter(needs).count() };
        let name = format!("{}:", layer.name());
        let judged = all.len() - unseen;
        format!("\n  judges      {name:9} {judged} of {} rules", all.len())
    }

    fn causes(&self, layer: Layer) -> Vec<Cause<'_>> {
        let of = self.found.iter().filter(|(finding, ..)| finding.rule.layer == layer);
        causes(of.map(|(finding, file, operations)| Shown {
            finding,
            file,
            operations: *operations,
        }))
    }
}

#[cfg(test)]
mod tests {
    use its_rules::catalogue::{DIV_PINS, LEAK_LOOSE};

    use super::*;

    fn contact() -> FirstContact {
        FirstContact {
            subject: "mine.o".into(),
            observed: true,
            most: (1, 2),
            boots: vec![("the usual board", None), ("two ITSs", Some("x1 is -19".into()))],
            seeds: 2,
            ..FirstContact::default()
        }
    }

    /// The screen, but for how many rules there are.
    fn without_counts(contact: &FirstContact) -> String {
        let text = contact.text();
        let kept = text.lines().filter(|line| !line.starts_with("  judges"));
        kept.collect::<Vec<_>>().join("\n")
    }

    #[test]
    fn the_layers_say_how_many_rules_are_judged() {
        let text = |observed| FirstContact { observed, ..contact() }.text();
        assert!(text(true).contains("service:  5 of 5 rules"));
        assert_ne!(text(true), text(false));
    }

    #[test]
    fn a_screen() {
        let at = |rule, class| {
            let finding = Finding::broken(rule, class, "a page", "0").at((1, "poll"), "CREADR");
            (finding, String::from("a.its"), 3)
        };
        let found = vec![at(&DIV_PINS, "pins"), at(&LEAK_LOOSE, "released")];
        insta::assert_snapshot!(without_counts(&FirstContact { found, ..contact() }));
    }

    #[test]
    fn a_boot_that_fails() {
        let boots = vec![("the usual board", Some("the set-up returned -22 (-EINVAL)".into()))];
        insta::assert_snapshot!(without_counts(&FirstContact { boots, ..contact() }));
    }
}
