//! What a fuzz target feeds, and the fitting of scenarios to it.

use std::collections::BTreeMap;

use its_machine::{Area, Frame, Place};

use crate::fixup::keep_races_to_two_cpus;
use crate::header::Stage;
use crate::operation::Kind;
use crate::operation::{HostCommand, Operation};
use crate::record::Record;
use crate::scenario::Scenario;

/// Who is behind the ITS that a scenario works on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum FuzzTarget {
    /// An emulation at EL2, which takes the one ITS away from its host: its command queue.
    Cmdq,
    /// The ITS itself, one or two of them, each owned by the host: nothing but the architecture.
    Arch,
    /// An emulation at EL2 of one or two ITSs: accesses to registers.
    Mmio,
    /// The same: hypercalls, how ITSs come to be guarded.
    Hvc,
    /// The same: tables of two levels, suspend and loss of power.
    Tables,
    /// An emulation at EL2, entered by several CPUs at once.
    Race,
}

impl FuzzTarget {
    /// All of them.
    pub const ALL: [Self; 6] =
        [Self::Cmdq, Self::Arch, Self::Mmio, Self::Hvc, Self::Tables, Self::Race];

    /// The name on the command line and in the corpus.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Cmdq => "its_cmdq",
            Self::Arch => "its_arch",
            Self::Mmio => "its_mmio",
            Self::Hvc => "its_hvc",
            Self::Tables => "its_tables",
            Self::Race => "its_race",
        }
    }

    /// The target of a name.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|target| target.name() == name)
    }

    /// Returns whether operations of a kind mean something to it.
    pub const fn plays(self, kind: Kind) -> bool {
        use Kind::*;
        #[rustfmt::skip]
        let played = match self {
            Self::Cmdq => !matches!(
                kind,
                PowerLoss | EnableByOther | SelectIts | GrowCollection | StoreAddress | Race
                    | WriteHalf
            ),
            Self::Mmio | Self::Hvc | Self::Tables => !matches!(kind, Race),
            Self::Race => true,
            // There is no EL2 that could be asked, watched, made to fail, or be short of records.
            Self::Arch => !matches!(
                kind,
                Share | Unshare | DonateGuest | ReclaimGuest | Finalize | SetUp
                    | SetUpRedistributors | TearDown | RawHypercall | WriteBack | Fail | Tamper
                    | Race | Describe | MapDevices | StoreAddress | WriteHalf | Progress | Stall
                    | EnableByOther
            ),
        };
        played
    }

    /// The stage that comes closest to one.
    const fn stage(self, stage: Stage) -> Stage {
        match (self, stage) {
            (Self::Arch, Stage::Deprivileged | Stage::Guarded) => Stage::Probed,
            (_, stage) => stage,
        }
    }
}

impl Scenario {
    /// Leaves only what means something to a target, and fixes up: the stage becomes one that it
    /// has, the ITSs as many as it can have, other operations are dropped, runs of devices are
    /// short. Where the board has one ITS, `select-its` is dropped too, and accesses to the frames
    /// of a second go to those of the first. Where the host owns its ITS most ITTs and stores that
    /// aim at memory with another purpose are moved: nothing is said of what follows. Twice is the
    /// same as once.
    pub fn fit(&mut self, target: FuzzTarget) {
        self.boot.stage = target.stage(self.boot.stage);
        if target == FuzzTarget::Cmdq {
            self.boot.its = 1;
        }
        if target == FuzzTarget::Cmdq {
            self.boot.two_level_collections = false;
        }
        self.fix_up();
        let single = self.boot.its == 1;
        self.operations.retain(|operation| {
            let kind = Record::from(operation).kind;
            target.plays(kind) && !(single && kind == Kind::SelectIts)
        });
        // A member less, and another operation is one.
        keep_races_to_two_cpus(&mut self.operations);
        self.operations.iter_mut().for_each(Operation::shorten);
        if single {
            self.operations.iter_mut().for_each(Operation::name_first);
        }
        if target == FuzzTarget::Arch {
            self.operations.iter_mut().for_each(Operation::spare_tables);
            part_itts(&mut self.operations);
        }
    }
}

/// The most devices of a `map-devices` that a fuzzer plays: more would take most of the time.
pub const MOST_IN_A_RUN: u16 = 16;

impl Operation {
    fn shorten(&mut self) {
        if let Self::MapDevices { count, .. } = self {
            *count = (*count).min(MOST_IN_A_RUN);
        }
    }

    /// An access to a second ITS becomes one to the first.
    fn name_first(&mut self) {
        if let Self::Read { target, .. } | Self::Write { target, .. } = self {
            target.frame = match target.frame {
                Frame::ItsControl(_) => Frame::ItsControl(0),
                Frame::ItsTranslation(_) => Frame::ItsTranslation(0),
                Frame::Redistributor(n) => Frame::Redistributor(n),
            };
        }
    }

    /// Leaves one in four ITTs and stores where they would destroy what an ITS works from.
    fn spare_tables(&mut self) {
        match self {
            Self::MapDevice { itt, .. }
            | Self::MapDevices { itt, .. }
            | Self::Command {
                command: HostCommand::Mapd { itt_address: itt, valid: true, .. },
                ..
            } => *itt = spare(*itt, Area::ITT),
            Self::Store { at, .. } => *at = spare(*at, Area::HOST),
            _ => {}
        }
    }
}

/// Gives most devices that are mapped to an ITT of another's a page that no ITT starts in; one in
/// four stays.
fn part_itts(operations: &mut [Operation]) {
    let mut owners: BTreeMap<Place, (u8, u32)> = BTreeMap::new();
    let mut its = 0;
    for operation in operations {
        let (device_id, itt) = match operation {
            Operation::SelectIts { its: turned } => {
                its = *turned;
                continue;
            }
            Operation::MapDevice { device_id, itt, .. }
            | Operation::Command {
                command: HostCommand::Mapd { device_id, itt_address: itt, valid: true, .. },
                ..
            } => (*device_id, itt),
            _ => continue,
        };
        let owner = (its, device_id);
        let taken = owners.get(itt).is_some_and(|other| *other != owner);
        if taken && !device_id.is_multiple_of(4) {
            let mut pages = (0..Area::ITT.pages()).rev();
            let free = pages.find(|page| !owners.contains_key(&Place::page(Area::ITT, *page)));
            *itt = Place::page(Area::ITT, free.unwrap_or(0));
        }
        owners.entry(*itt).or_insert(owner);
    }
}

/// A place in memory of the host's own, or in the area `instead`; one in four pages of other areas
/// stays.
fn spare(place: Place, instead: Area) -> Place {
    let (page, offset) = match place {
        Place::In {
            area: Area::ITT | Area::HOST | Area::HIGH | Area::CONFIGURATION | Area::PENDING,
            ..
        } => return place,
        Place::In { page, offset, .. } => (page, offset),
        Place::Absolute(address) => ((address >> 12) as u16, (address & 0xfff) as u16),
    };
    if page.is_multiple_of(4) {
        return place;
    }
    let page = page.checked_rem(instead.pages()).unwrap_or(0);
    Place::at(instead, page, offset)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::binary::tests::bytes_of;
    use quickcheck::quickcheck;

    #[test]
    fn names_lead_back() {
        for target in FuzzTarget::ALL {
            assert_eq!(FuzzTarget::named(target.name()), Some(target));
        }
        assert_eq!(FuzzTarget::named("its"), None);
    }

    const BOTH: &str = "\
itsdiff 2
boot its=2
select-its 1
write its1 CWRITER 0x20
power-loss
share host[0]
unmask device=0x0 event=0x0
";

    #[test]
    fn each_target_keeps_what_it_knows() {
        let fitted = |target| {
            let mut scenario = Scenario::parse(BOTH).unwrap();
            scenario.fit(target);
            scenario.to_string()
        };
        assert_eq!(
            fitted(FuzzTarget::Cmdq),
            "itsdiff 2\nwrite its0 CWRITER 0x20\nshare host[0]\nunmask device=0x0 event=0x0\n"
        );
        assert_eq!(
            fitted(FuzzTarget::Arch),
            "itsdiff 2\nboot stage=probed its=2\nselect-its 1\nwrite its1 CWRITER 0x20\npower-loss\nunmask device=0x0 event=0x0\n"
        );
    }

    quickcheck! {
        fn fitting_twice_is_fitting_once(header: Vec<u8>, records: Vec<Record>) -> bool {
            let given = Scenario::decode(&bytes_of(header, records));
            FuzzTarget::ALL.into_iter().all(|target| {
                let mut once = given.clone();
                once.fit(target);
                let mut twice = once.clone();
                twice.fit(target);
                twice == once && Scenario::decode(&once.encode()) == once
            })
        }
    }
}
