//! Unified diffs of several files.

use diffy::patch_set::{FilePatch, ParseOptions, PatchSet};

use crate::Sources;

/// Applies a patch to sources.
///
/// # Errors
/// A part of it names a file that is not there, or does not fit.
pub fn apply(sources: &mut Sources, patch: &str) -> Result<(), String> {
    for (path, text) in patched(sources, patch)? {
        sources.insert(path, text);
    }
    Ok(())
}

/// Returns each file that a patch touches, as it is with the patch.
pub(crate) fn patched(sources: &Sources, patch: &str) -> Result<Vec<(String, String)>, String> {
    let parts = PatchSet::parse(patch, ParseOptions::unidiff());
    let parts = parts.map(|part| patched_file(sources, &part.map_err(|error| error.to_string())?));
    parts.collect()
}

fn patched_file(sources: &Sources, part: &FilePatch<str>) -> Result<(String, String), String> {
    let patch = part.patch().as_text().ok_or("a part of the patch is no text")?;
    let name = patch.modified().ok_or("a part of the patch names no file")?;
    let name = name.strip_prefix("b/").unwrap_or(name);
    let text = sources.get(name).ok_or_else(|| format!("there is no {name}"))?;
    let text = diffy::apply(text, patch).map_err(|error| format!("{name}: {error}"))?;
    Ok((name.into(), text))
}

#[cfg(test)]
mod tests {
    use super::*;

    const PATCH: &str = "\
diff --git a/src/a.rs b/src/a.rs
--- a/src/a.rs
+++ b/src/a.rs
@@ -1,2 +1,2 @@
 one
-two
+three
";

    #[test]
    fn a_patch_applies_or_is_refused() {
        let mut sources = Sources::from([("src/a.rs".into(), "one\ntwo\n".into())]);
        apply(&mut sources, PATCH).unwrap();
        assert_eq!(sources["src/a.rs"], "one\nthree\n");
        assert!(apply(&mut sources, PATCH).is_err());
        assert!(apply(&mut Sources::new(), PATCH).unwrap_err().contains("no src/a.rs"));
        assert!(apply(&mut sources, "nothing").is_err());
    }
}
