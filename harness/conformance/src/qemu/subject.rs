//! QEMU as a subject of the conformance matrix.

use anyhow::Result;
use its_machine::{Freedom, MAX_ITS};
use its_qemu::{Installed, Qemu};
use its_scenario::Scenario;

use super::{OTHER_BOARD, Profile, becomes_zero, has_usual_board, machine};
use crate::device::play_on;
use crate::matrix::{Cell, cell, claimed, option_text, summed};
use crate::play::Played;
use crate::requirement::{Case, Claim, Requirement};
use crate::script::Script;

/// A QEMU that plays requirements.
pub struct QemuSubject {
    installed: Installed,
    profile: Profile,
    qemu: Option<Qemu>,
}

impl QemuSubject {
    /// One that is not started yet.
    pub fn new(installed: Installed) -> Self {
        Self { installed, profile: Profile::new(), qemu: None }
    }

    /// What a requirement comes to on QEMU. Cases that ask for options that it does not take are
    /// not for it.
    pub(crate) fn cell(&mut self, requirement: &Requirement) -> Cell {
        if let Claim::NotApplicable { reason } = &requirement.qemu {
            return Cell::NotApplicable(reason.clone());
        }
        if let Claim::Settled { difference } = &requirement.qemu
            && !self.profile.knows(difference)
        {
            return Cell::Broken(format!("qemu.toml has no difference {difference}"));
        }
        let cases: Vec<Cell> = (1..)
            .zip(&requirement.cases)
            .map(|(number, case)| match self.misfit(case) {
                Some(misfit) => misfit,
                None => cell(number, self.run(&case.script)),
            })
            .collect();
        claimed(&requirement.qemu, summed(cases.into_iter()))
    }

    /// Why a case is not for QEMU: it takes another option, or is another ITS.
    fn misfit(&self, case: &Case) -> Option<Cell> {
        let mut options = case.options.iter();
        let other = options.find_map(|(freedom, own)| self.other_option(*freedom, Some(*own)));
        if other.is_some() {
            return other;
        }
        if !has_usual_board(&case.script.scenario) {
            return Some(Cell::NotApplicable(OTHER_BOARD.into()));
        }
        let own = configuration_words(&self.usual());
        for word in configuration_words(&case.script.scenario) {
            if own.contains(&word) {
                continue;
            }
            let key = word.split('=').next().unwrap_or("");
            let named = |freedom: &&Freedom| freedom.facts().name == key;
            return Some(match Freedom::ALL.iter().find(named) {
                Some(freedom) => self.other_option(*freedom, None)?,
                None => Cell::NotApplicable(format!("QEMU's ITS has not {word}")),
            });
        }
        None
    }

    /// That QEMU does not take an option, or is not known to.
    fn other_option(&self, freedom: Freedom, wanted: Option<u64>) -> Option<Cell> {
        let name = freedom.facts().name;
        match self.profile.known(freedom) {
            None => {
                Some(Cell::NotApplicable(format!("which option of {name} QEMU takes is not known")))
            }
            Some(own) if Some(own) == wanted => None,
            Some(own) => Some(Cell::Freedom(option_text(freedom, own))),
        }
    }

    /// Plays a case; a QEMU that dies is started once more.
    fn run(&mut self, script: &Script) -> Played {
        match self.try_to_run(script) {
            Played::Broken(_) => self.try_to_run(script),
            played => played,
        }
    }

    fn try_to_run(&mut self, script: &Script) -> Played {
        let script = self.fit(script);
        let machine = machine(&script.scenario);
        let played = match self.started() {
            Ok(qemu) => play_on(&script, machine, qemu),
            Err(error) => Played::Broken(format!("{error:#}")),
        };
        if matches!(played, Played::Broken(_)) {
            self.qemu = None;
        }
        played
    }

    /// The usual scenario of a host of QEMU's ITS.
    fn usual(&self) -> Scenario {
        let configurations = [self.profile.configuration(); MAX_ITS];
        Scenario { configurations, ..Scenario::default() }
    }

    /// A script for QEMU's ITS.
    fn fit(&self, script: &Script) -> Script {
        let mut script = script.clone();
        script.scenario.configurations = [self.profile.configuration(); MAX_ITS];
        if let Some(device) = becomes_zero(&script.scenario) {
            script.swap_devices(device, 0);
        }
        script
    }

    fn started(&mut self) -> Result<&mut Qemu> {
        let qemu = match self.qemu.take() {
            Some(qemu) => qemu,
            None => Qemu::start(&self.installed, machine(&self.usual()))?,
        };
        Ok(self.qemu.insert(qemu))
    }
}

/// What differs from the usual in the first ITS's configuration, as the text form has it.
fn configuration_words(scenario: &Scenario) -> Vec<String> {
    let text = scenario.to_string();
    let mut lines = text.lines();
    let line = lines.find_map(|line| line.strip_prefix("its0 "));
    let words = line.unwrap_or("").split_whitespace();
    words.map(str::to_owned).collect()
}
