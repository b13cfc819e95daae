//! Functions of a source file, and their bodies.

use std::collections::BTreeMap;
use std::ops::Range;

use proc_macro2::{TokenStream, TokenTree};
use syn::visit::{self, Visit};
use syn::{Block, Signature};

/// Other bodies of functions: by function, the number of the mistake and its body.
pub(crate) type Bodies = BTreeMap<String, Vec<(u64, String)>>;

/// A function with a body.
struct Function {
    /// Where it stands: modules, type and trait, name.
    path: String,
    is_const: bool,
    body: Range<usize>,
}

/// Collects functions in the order of the file.
#[derive(Default)]
struct Functions {
    within: Vec<String>,
    all: Vec<Function>,
}

impl Functions {
    fn of(text: &str) -> Result<Vec<Function>, String> {
        let file = syn::parse_file(text).map_err(|error| error.to_string())?;
        let mut functions = Self::default();
        functions.visit_file(&file);
        Ok(functions.all)
    }

    fn add(&mut self, signature: &Signature, body: &Block) {
        let path = format!("{}::{}", self.within.join("::"), signature.ident);
        // Of implementations for several types behind `cfg` there may be two of one path.
        let same = self.all.iter().filter(|one| one.path.starts_with(&path)).count();
        self.all.push(Function {
            path: format!("{path}#{same}"),
            is_const: signature.constness.is_some(),
            body: body.brace_token.span.join().byte_range(),
        });
    }

    fn within(&mut self, name: String, visit: impl FnOnce(&mut Self)) {
        self.within.push(name);
        visit(self);
        self.within.pop();
    }
}

impl Visit<'_> for Functions {
    fn visit_item_mod(&mut self, item: &syn::ItemMod) {
        self.within(item.ident.to_string(), |all| visit::visit_item_mod(all, item));
    }

    fn visit_item_impl(&mut self, item: &syn::ItemImpl) {
        let name = |tokens: &dyn quote::ToTokens| tokens.to_token_stream().to_string();
        let of = item.trait_.as_ref().map(|(_, path, _)| name(path)).unwrap_or_default();
        let name = format!("{of} for {}", name(&item.self_ty));
        self.within(name, |all| visit::visit_item_impl(all, item));
    }

    fn visit_item_trait(&mut self, item: &syn::ItemTrait) {
        self.within(item.ident.to_string(), |all| visit::visit_item_trait(all, item));
    }

    // What stands within a body belongs to it.
    fn visit_item_fn(&mut self, item: &syn::ItemFn) {
        self.add(&item.sig, &item.block);
    }

    fn visit_impl_item_fn(&mut self, item: &syn::ImplItemFn) {
        self.add(&item.sig, &item.block);
    }

    fn visit_trait_item_fn(&mut self, item: &syn::TraitItemFn) {
        if let Some(body) = &item.default {
            self.add(&item.sig, body);
        }
    }
}

/// Returns the functions whose bodies differ, with those of the patched text.
pub(crate) fn changed(original: &str, patched: &str) -> Result<Vec<(String, String)>, String> {
    let (before, after) = (Functions::of(original)?, Functions::of(patched)?);
    if frame(original, &before)? != frame(patched, &after)? {
        return Err("it changes more than bodies of functions (say it within a body, \
                    with full paths in place of `use`)"
            .into());
    }
    let mut changed = Vec::new();
    for (before, after) in before.iter().zip(&after) {
        let (old, new) = (&original[before.body.clone()], &patched[after.body.clone()]);
        if tokens(old)? == tokens(new)? {
            continue;
        }
        if before.is_const {
            return Err(format!("{} is const: no switch can stand in it", before.path));
        }
        changed.push((before.path.clone(), new.into()));
    }
    if changed.is_empty() {
        return Err("it changes nothing".into());
    }
    Ok(changed)
}

/// Returns the text in which functions choose among their bodies.
pub(crate) fn switched(original: &str, bodies: &Bodies) -> String {
    let functions = Functions::of(original).expect("it was parsed before");
    let mut text = original.to_owned();
    for function in functions.iter().rev() {
        let Some(others) = bodies.get(&function.path) else {
            continue;
        };
        let own = &original[function.body.clone()];
        let arms: String =
            others.iter().map(|(number, body)| format!("{number} => {body}\n")).collect();
        let body = format!("{{ match ::its_switch::active() {{ {arms} _ => {own} }} }}");
        text.replace_range(function.body.clone(), &body);
    }
    text
}

/// Returns the tokens of all that is no body.
fn frame(text: &str, functions: &[Function]) -> Result<String, String> {
    let mut frame = text.to_owned();
    for function in functions.iter().rev() {
        frame.replace_range(function.body.clone(), "{}");
    }
    tokens(&frame)
}

/// Returns the tokens of a text. Without their places and comments: as the compiler sees them.
fn tokens(text: &str) -> Result<String, String> {
    let tokens: TokenStream = text.parse().map_err(|error| format!("{error}"))?;
    Ok(tokens.into_iter().map(|token: TokenTree| token.to_string() + " ").collect())
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
        let text = switched(ORIGINAL, &bodies);
        let wanted = "{ match ::its_switch::active() { 7 => { self.count > MOST }\n\
                      8 => { true }\n _ => { self.count == MOST } } }";
        assert!(text.contains(wanted), "{text}");
        assert!(text.contains("fn empty(&self) -> bool { false }"), "{text}");
        assert!(syn::parse_file(&text).is_ok());
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
        let error = changed(text, &text.replace("{ 1 }", "{ 2 }")).unwrap_err();
        assert!(error.contains("const"), "{error}");
    }
}
