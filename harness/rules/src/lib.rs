//! Rules, and what is said when one is broken.
//!
//! A [`Rule`] is an invariant with an id; [`catalogue::ALL`] lists them. It stands in a [`Layer`],
//! by which it is judged or not. Judges (references and oracles) make a [`Finding`] when a rule is
//! broken. The session that plays a scenario adds the operation, which makes the signature.
//! Programs, reports and the command line pass findings on as they are.
//!
//! This crate must not know who judges or what is judged.

pub mod catalogue;
mod finding;
mod layer;
mod rule;

pub use catalogue::judged_by;
pub use finding::{Finding, StoredFinding};
pub use layer::{Layer, Layers, UnknownLayer};
pub use rule::{Evidence, Family, Rule, Severity};
