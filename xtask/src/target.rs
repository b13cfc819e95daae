//! Which fuzz targets there are, and where their scenarios lie.

use std::path::PathBuf;

use anyhow::{Context, Result, ensure};
use clap::builder::{MapValueParser, PossibleValuesParser, TypedValueParser, ValueParserFactory};
use its_rules::{Layer, Layers};
use its_scenario::FuzzTarget;

use crate::workspace;

/// Describes a fuzz target, a folder of `targets/`.
#[derive(serde::Serialize)]
pub(crate) struct Target {
    pub name: &'static str,
    /// What it gives an emulation.
    pub feeds: &'static str,
    /// What must hold then.
    pub asks: &'static str,
}

/// Lists all fuzz targets.
pub(crate) static ALL: [Target; 6] = [
    Target {
        name: "its_arch",
        feeds: "a host that owns its ITSs: the driver's life, legal and illegal registers, \
                commands, tables, LPIs, power",
        asks: "translations, LPIs, registers and command errors are the architecture's after \
               every operation",
    },
    Target {
        name: "its_cmdq",
        feeds: "batches of commands, CWRITER, CBASER, slow and stalling hardware, tampering",
        asks: "nothing unjudged reaches the ITS; the queue never wedges",
    },
    Target {
        name: "its_hvc",
        feeds: "hypercalls in any order over CPUs, phases and one to three ITSs, good, bad and \
                overlapping arguments",
        asks: "set-up is all or nothing; errno and ownership are exact",
    },
    Target {
        name: "its_mmio",
        feeds: "accesses of any size and offset to ITSs and redistributors, in every phase, after \
                a loss of power too",
        asks: "no access that hardware calls UNPREDICTABLE; halves and reserved offsets are right",
    },
    Target {
        name: "its_tables",
        feeds: "tables of two levels that grow, change, alias and straddle, with suspend, resume \
                and loss of power",
        asks: "every pointer that an ITS follows is sound at every moment",
    },
    Target {
        name: "its_race",
        feeds: "two CPUs at once in the emulator, time passing, and a host that writes shared \
                memory between any two accesses of EL2",
        asks: "the same as the others, in every interleaving; no deadlock, no half-published state",
    },
];

/// Lets the command line take the name of a target.
impl ValueParserFactory for &'static Target {
    type Parser = MapValueParser<PossibleValuesParser, fn(String) -> &'static Target>;

    fn value_parser() -> Self::Parser {
        let names = PossibleValuesParser::new(ALL.iter().map(|target| target.name));
        names.map(|name| Target::find(&name).expect("it is possible"))
    }
}

/// Returns the targets whose cases EL2 has a part in: all but `its_arch`.
pub(crate) fn under_el2() -> &'static [Target] {
    let [_arch, others @ ..] = &ALL;
    others
}

impl Target {
    pub(crate) fn find(name: &str) -> Result<&'static Self> {
        workspace::demand_known("target", name, ALL.iter().map(|target| target.name))?;
        ALL.iter().find(|target| target.name == name).context("it is known")
    }

    /// Checks that some rule of these layers is judged in its cases.
    pub(crate) fn demand_judged(&self, layers: Layers) -> Result<()> {
        let is_of_host = self.name == "its_arch";
        let judged = |layer: &Layer| (*layer == Layer::Architecture) == is_of_host;
        ensure!(
            Layer::ALL.into_iter().filter(judged).any(|layer| layers.has(layer)),
            "--judge {layers} judges nothing in {}: its_arch plays hosts that own their ITSs and is \
             judged by architecture alone, the other targets by safety, service and policy",
            self.name
        );
        Ok(())
    }

    /// Returns a folder of its committed corpus: `seeds`, `regressions` or `bench`.
    pub(crate) fn corpus(&self, folder: &str) -> PathBuf {
        workspace::root().join("corpus").join(self.name).join(folder)
    }

    pub(crate) fn scenarios(&self, folder: &str) -> Result<Vec<PathBuf>> {
        workspace::scenarios(&self.corpus(folder))
    }

    /// Returns the folder of what fuzzing leaves: a folder for each subject, with its runs.
    pub(crate) fn artifacts(&self) -> PathBuf {
        workspace::root().join("artifacts").join(self.name)
    }

    /// Returns the folder of the grown corpus, which runs on the production emulator are merged
    /// into.
    pub(crate) fn grown(&self) -> PathBuf {
        self.artifacts().join("corpus")
    }

    /// Returns what draws its scenarios.
    pub(crate) fn generator(&self) -> Result<FuzzTarget> {
        FuzzTarget::named(self.name).context("a target without a generator")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_folder_of_targets_is_listed() {
        let entries = workspace::root().join("targets").read_dir().unwrap();
        for entry in entries {
            let name = entry.unwrap().file_name().into_string().unwrap();
            // The others are programs for all targets, by subject.
            if !name.starts_with("its_") {
                continue;
            }
            assert!(Target::find(&name).is_ok(), "{name}");
        }
    }

    #[test]
    fn a_target_is_judged_by_its_layers_alone() {
        let fits = |name, layers: &str| {
            Target::find(name).unwrap().demand_judged(layers.parse().unwrap()).is_ok()
        };
        assert!(under_el2().iter().all(|target| target.name != "its_arch"));
        assert!(fits("its_arch", "safety,architecture") && !fits("its_arch", "safety,policy"));
        assert!(fits("its_cmdq", "service,architecture") && !fits("its_cmdq", "architecture"));
    }
}
