//! Layers of rules: what can be judged of an emulation, whatever its policy, and what cannot.

use std::error::Error;
use std::fmt::{self, Display, Formatter};
use std::str::FromStr;

use serde::Serialize;

/// What a rule says of an emulation when it is broken. An emulation that follows another policy
/// than the emulator's POLICY.md is judged by some layers and not by others.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Layer {
    /// An ITS, a guest or EL2 can read, write or lose memory, or EL2 stops. Holds of any emulation.
    Safety,
    /// What the host's driver asks for legally does not work. Holds of any emulation.
    Service,
    /// The emulation does something else than POLICY.md says.
    Policy,
    /// An ITS does something else than the architecture says, with no emulation between.
    Architecture,
}

impl Layer {
    /// Every layer.
    pub const ALL: [Self; 4] = [Self::Safety, Self::Service, Self::Policy, Self::Architecture];

    /// Returns the name, in lower case.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Safety => "safety",
            Self::Service => "service",
            Self::Policy => "policy",
            Self::Architecture => "architecture",
        }
    }
}

impl FromStr for Layer {
    type Err = UnknownLayer;

    fn from_str(text: &str) -> Result<Self, UnknownLayer> {
        let named = Self::ALL.into_iter().find(|layer| layer.name() == text);
        named.ok_or_else(|| UnknownLayer(text.into()))
    }
}

/// A word that names no layer.
#[derive(Debug, PartialEq, Eq)]
pub struct UnknownLayer(String);

impl Display for UnknownLayer {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let names = Layer::ALL.map(Layer::name).join(", ");
        write!(f, "{:?} is no layer of rules; expected one of {names}", self.0)
    }
}

impl Error for UnknownLayer {}

/// Which layers are judged, at least one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Layers([bool; Layer::ALL.len()]);

impl Layers {
    /// Every layer.
    pub const ALL: Self = Self([true; Layer::ALL.len()]);

    /// Returns whether a layer is judged.
    pub const fn has(self, layer: Layer) -> bool {
        self.0[layer as usize]
    }
}

/// The names with commas between, as [`Layers::from_str`] reads them.
impl Display for Layers {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let judged = Layer::ALL.into_iter().filter(|layer| self.has(*layer));
        f.write_str(&judged.map(Layer::name).collect::<Vec<_>>().join(","))
    }
}

impl FromStr for Layers {
    type Err = UnknownLayer;

    fn from_str(text: &str) -> Result<Self, UnknownLayer> {
        let mut layers = Self([false; Layer::ALL.len()]);
        for word in text.split(',') {
            layers.0[word.trim().parse::<Layer>()? as usize] = true;
        }
        Ok(layers)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn layers_are_read_as_they_are_written() {
        assert_eq!(Layers::ALL.to_string().parse(), Ok(Layers::ALL));
        let two: Layers = "policy, safety".parse().unwrap();
        assert_eq!(two.to_string(), "safety,policy");
        assert!(two.has(Layer::Safety) && !two.has(Layer::Architecture));
        let error = "safety,".parse::<Layers>().unwrap_err().to_string();
        assert_eq!(
            error,
            "\"\" is no layer of rules; expected one of safety, service, policy, architecture"
        );
    }
}
