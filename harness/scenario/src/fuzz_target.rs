//! What a fuzz target feeds, and the fitting of scenarios to it.

use its_el2::Frame;

use crate::kind::Kind;
use crate::operation::Operation;
use crate::record::Record;
use crate::scenario::{Scenario, Stage};

/// Who is behind the ITS that a scenario works on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum FuzzTarget {
    /// An emulation at EL2, which takes the one ITS of the board away from its host.
    Cmdq,
    /// The ITS itself, one or two of them, each owned by the host: nothing but the architecture.
    Arch,
}

impl FuzzTarget {
    /// All of them.
    pub const ALL: [Self; 2] = [Self::Cmdq, Self::Arch];

    /// The name on the command line and in the corpus.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Cmdq => "its_cmdq",
            Self::Arch => "its_arch",
        }
    }

    /// The target of a name.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|target| target.name() == name)
    }

    /// Whether operations of a kind mean something to it.
    pub(crate) const fn plays(self, kind: Kind) -> bool {
        match self {
            Self::Cmdq => !matches!(kind, Kind::PowerLoss | Kind::Its),
            // There is no EL2 that could be asked, watched or made to fail.
            Self::Arch => !matches!(
                kind,
                Kind::Share
                    | Kind::Unshare
                    | Kind::DonateGuest
                    | Kind::ReclaimGuest
                    | Kind::Finalize
                    | Kind::SetUp
                    | Kind::RawHypercall
                    | Kind::Fail
                    | Kind::Tamper
            ),
        }
    }

    /// The stage that comes closest to one.
    const fn stage(self, stage: Stage) -> Stage {
        match (self, stage) {
            (Self::Cmdq, Stage::Reset) | (Self::Arch, Stage::Deprivileged | Stage::Guarded) => {
                Stage::Probed
            }
            (_, stage) => stage,
        }
    }
}

impl Scenario {
    /// Fixes up, then leaves only what means something to a target: the stage becomes one that it has, the ITSs as many
    /// as it can have, other operations are dropped. Where the board has one ITS, `its` is dropped too, and accesses to
    /// the frames of a second go to those of the first. Twice is the same as once.
    pub fn fit(&mut self, target: FuzzTarget) {
        self.fix_up();
        self.boot.stage = target.stage(self.boot.stage);
        if target == FuzzTarget::Cmdq {
            self.boot.its = 1;
        }
        let single = self.boot.its == 1;
        self.operations.retain(|operation| {
            let kind = Record::from(operation).kind;
            target.plays(kind) && !(single && kind == Kind::Its)
        });
        if single {
            self.operations.iter_mut().for_each(Operation::name_first);
        }
    }
}

impl Operation {
    /// An access to a second ITS becomes one to the first.
    fn name_first(&mut self) {
        if let Self::Access { frame, .. } = self {
            *frame = match *frame {
                Frame::ItsControl(_) => Frame::ItsControl(0),
                Frame::ItsTranslation(_) => Frame::ItsTranslation(0),
                Frame::Redistributor(n) => Frame::Redistributor(n),
            };
        }
    }
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
itsdiff 1
boot its=2
its 1
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
            "itsdiff 1\nwrite its0 CWRITER 0x20\nshare host[0]\nunmask device=0x0 event=0x0\n"
        );
        assert_eq!(
            fitted(FuzzTarget::Arch),
            "itsdiff 1\nboot stage=probed its=2\nits 1\nwrite its1 CWRITER 0x20\npower-loss\nunmask device=0x0 event=0x0\n"
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
