//! Plants mistakes in copies of sources, so that one program holds them all and one is on at a
//! time.
//!
//! A mistake is a patch that changes bodies of functions. In the result such a function has all its
//! bodies: it asks a [`Switch`] and runs the one of the mistake that is on, or its own.
//! So the sources are compiled once, however many mistakes there are.
//!
//! - [`plant`]: patches in, sources with a switch out
//! - [`inline`]: a crate as one file, for a build script that writes a crate
//!
//! The build script of `its-known-bugs` and the command line, for breaks of the harness and for
//! mutants, are its users. It knows neither what the mistakes are nor what they are planted in.

mod functions;
mod inline;
mod patch;

use std::collections::BTreeMap;

pub use inline::inline;
pub use patch::apply;

/// Source files: their text by their path from the root, with `/` between names.
pub type Sources = BTreeMap<String, String>;

/// A patch with a name.
#[derive(Clone, Debug)]
pub struct Mistake {
    pub name: String,
    /// A unified diff whose paths begin with `a/` and `b/`.
    pub patch: String,
}

/// What says which mistake is on.
#[derive(Clone, Copy, Debug)]
pub enum Switch {
    /// [`its_switch::active`].
    Mistake,
    /// [`its_switch::mutant`], while a mistake may be on elsewhere.
    Mutant,
}

/// Why a mistake cannot be planted.
#[derive(Debug, thiserror::Error)]
#[error("{mistake}: {why}")]
pub struct Error {
    pub mistake: String,
    pub why: String,
}

/// Plants all mistakes and returns the paths of the files that changed.
///
/// # Errors
/// A patch does not apply, leaves a file that is no Rust, or changes anything but bodies of
/// functions that are not `const`.
pub fn plant(
    sources: &mut Sources,
    mistakes: &[Mistake],
    switch: Switch,
) -> Result<Vec<String>, Error> {
    let mut bodies: BTreeMap<String, functions::Bodies> = BTreeMap::new();
    for mistake in mistakes {
        let number = its_switch::number(&mistake.name);
        let fail = |why: String| Error { mistake: mistake.name.clone(), why };
        for (path, patched) in patch::patched(sources, &mistake.patch).map_err(fail)? {
            let original = &sources[&path];
            let changed = functions::changed(original, &patched)
                .map_err(|why| fail(format!("{path}: {why}")))?;
            let all = bodies.entry(path).or_default();
            for (function, body) in changed {
                all.entry(function).or_default().push((number, body));
            }
        }
    }
    for (path, bodies) in &bodies {
        let original = sources.get_mut(path).expect("it was patched");
        *original = functions::switched(original, bodies, switch).expect("it was parsed");
    }
    Ok(bodies.into_keys().collect())
}
