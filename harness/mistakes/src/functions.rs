//! Functions of a source file, and their bodies.

use std::collections::BTreeMap;

use quote::{ToTokens, quote};
use syn::{Block, File, ImplItem, Item, Signature, TraitItem};

use crate::Switch;

/// Other bodies of functions: by the place of the function in its file, the number of the mistake
/// and its body.
pub(crate) type Bodies = BTreeMap<usize, Vec<(u64, Block)>>;

/// Calls `take` with each function that has a body, in the order of the file.
fn each(items: &mut [Item], take: &mut dyn FnMut(&Signature, &mut Block)) {
    for item in items {
        match item {
            Item::Fn(item) => take(&item.sig, &mut item.block),
            Item::Mod(item) => {
                if let Some((_, items)) = &mut item.content {
                    each(items, take);
                }
            }
            Item::Impl(item) => {
                for item in &mut item.items {
                    if let ImplItem::Fn(item) = item {
                        take(&item.sig, &mut item.block);
                    }
                }
            }
            Item::Trait(item) => {
                for item in &mut item.items {
                    if let TraitItem::Fn(item) = item
                        && let Some(body) = &mut item.default
                    {
                        take(&item.sig, body);
                    }
                }
            }
            // No function stands in it that its frame would identify.
            _ => {}
        }
    }
}

/// A file taken apart.
struct Apart {
    /// All that is no body, as tokens.
    frame: String,
    functions: Vec<(Signature, Block)>,
}

fn apart(text: &str) -> Result<Apart, String> {
    let mut file = parse(text)?;
    let mut functions = Vec::new();
    each(&mut file.items, &mut |signature, body| {
        let body = std::mem::replace(body, syn::parse_quote!({}));
        functions.push((signature.clone(), body));
    });
    Ok(Apart { frame: file.into_token_stream().to_string(), functions })
}

/// Reads a source file.
pub(crate) fn parse(text: &str) -> Result<File, String> {
    syn::parse_file(text).map_err(|error| error.to_string())
}

/// Returns the functions whose bodies differ, by their place, with those of the patched text.
pub(crate) fn changed(original: &str, patched: &str) -> Result<Vec<(usize, Block)>, String> {
    let (before, after) = (apart(original)?, apart(patched)?);
    if before.frame != after.frame {
        return Err("it changes more than bodies of functions; say it within a body, \
                    with a full path in place of `use`"
            .into());
    }
    let mut changed = Vec::new();
    for (place, (before, after)) in before.functions.iter().zip(after.functions).enumerate() {
        let tokens = |body: &Block| body.to_token_stream().to_string();
        if tokens(&before.1) == tokens(&after.1) {
            continue;
        }
        if before.0.constness.is_some() {
            return Err(format!("{} is const: no switch can stand in it", before.0.ident));
        }
        changed.push((place, after.1));
    }
    if changed.is_empty() {
        return Err("it changes nothing".into());
    }
    Ok(changed)
}

/// Returns the text in which functions choose among their bodies.
pub(crate) fn switched(original: &str, bodies: &Bodies, by: Switch) -> Result<String, String> {
    let active = match by {
        Switch::Mistake => quote!(::its_switch::active()),
        Switch::Mutant => quote!(::its_switch::mutant()),
    };
    let mut file = parse(original)?;
    let mut place = 0;
    each(&mut file.items, &mut |_, body| {
        if let Some(others) = bodies.get(&place) {
            let arms = others.iter().map(|(number, body)| quote!(#number => #body));
            let own = &*body;
            *body = syn::parse_quote!({
                match #active {
                    #(#arms)*
                    _ => #own
                }
            });
        }
        place += 1;
    });
    Ok(file.into_token_stream().to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    const ORIGINAL: &str = "\
const MOST: u32 = 4;
// A comment.
impl Queue { fn full(&self) -> bool { self.count == MOST } fn empty(&self) -> bool { false } }
fn free() {}
";

    #[test]
    fn a_function_chooses_among_its_bodies() {
        let one = ORIGINAL.replace("self.count == MOST", "self.count > MOST");
        let other = ORIGINAL.replace("self.count == MOST", "true");
        let mut bodies = Bodies::new();
        for (number, patched) in [(7, one), (8, other)] {
            for (function, body) in changed(ORIGINAL, &patched).unwrap() {
                bodies.entry(function).or_default().push((number, body));
            }
        }
        let text = switched(ORIGINAL, &bodies, Switch::Mistake).unwrap();
        let wanted = "fn full (& self) -> bool { match :: its_switch :: active () { \
                      7u64 => { self . count > MOST } 8u64 => { true } \
                      _ => { self . count == MOST } } } fn empty (& self) -> bool { false }";
        assert!(text.contains(wanted), "{text}");
        assert!(parse(&text).is_ok());
    }

    #[test]
    fn what_is_no_body_is_refused() {
        for (from, to) in [
            ("= 4", "= 5"),
            ("(&self)", "(&mut self)"),
            ("fn free() {}", "fn free() {} fn more() {}"),
            ("// A comment.", "// Another comment."),
        ] {
            assert!(changed(ORIGINAL, &ORIGINAL.replacen(from, to, 1)).is_err(), "{to}");
        }
        let text = "const fn one() -> u32 { 1 }";
        let error = changed(text, &text.replace("{ 1 }", "{ 2 }")).err().unwrap();
        assert!(error.contains("const"), "{error}");
    }
}
