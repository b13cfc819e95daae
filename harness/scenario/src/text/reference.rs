//! What each line of a scenario looks like and does.

use its_machine::{AreaKind, ItsConfiguration};

use crate::argument::{Argument, Presence, Shape};
use crate::header::{Boot, Header, RESERVED_FIELDS};
use crate::operation::{Kind, RESERVED};
use crate::text::COMMAND;

/// Returns tables in Markdown: all operations, the line and what it does; fields of `boot` and of
/// an ITS; areas; what is reserved.
pub fn reference() -> String {
    let row = |kind: &Kind| {
        let usage = kind.usage().replace('|', "\\|");
        format!("| `{usage}` | {} |\n", kind.doc().trim())
    };
    let rows: String = Kind::ALL.iter().map(row).collect();
    let reserved = RESERVED.iter();
    let reserved: String = reserved
        .map(|(number, name, doc)| format!("| {number:#04x} | `{name}` | {doc} |\n"))
        .collect();
    let fields = RESERVED_FIELDS.join("`, `");
    let (boot, its) = (fields_of::<Boot>(), fields_of::<ItsConfiguration>());
    let area = |kind: &AreaKind| format!("| `{}` | {} |\n", kind.name(), kind.pages());
    let areas: String = AreaKind::ALL.iter().map(area).collect();
    format!(
        "| line | what it does |\n| --- | --- |\n{rows}\n\
         Fields of `boot`:\n\n| field | values | default |\n| --- | --- | --- |\n{boot}\n\
         `intid-bits` is what the driver writes to GICR_PROPBASER.IDbits, plus 1. The GIC has 16 \
         INTID bits.\n\n\
         `coherent-*` says what the device reads. `yes`: what a CPU stored, cleaned or not. \
         `no`: only what was\ncleaned, and Shareability of its register reads 0. `unsaid`: only \
         what was cleaned, but Shareability\nsticks, and firmware alone would say so. ITTs are \
         read like tables.\n\n\
         Fields of `its0` to `its7`:\n\n| field | values | default |\n| --- | --- | --- |\n{its}\n\
         Areas, the first ITS's; those of another end in its number (`queue1`) where each ITS has \
         its own:\n\n| area | pages |\n| --- | --- |\n{areas}\n\
         Reserved for later versions, with the number in the binary form:\n\n\
         | number | line | what it will do |\n| --- | --- | --- |\n{reserved}\n\
         Fields that are reserved: `{fields}`.\n"
    )
}

impl Kind {
    /// Returns what its line looks like.
    pub(crate) fn usage(self) -> String {
        let mut usage = self.name().to_owned();
        if let Some(command) = usage.strip_prefix(COMMAND) {
            usage = format!("command {}", command.to_ascii_uppercase());
        }
        for argument in self.arguments() {
            let value = match argument.shape {
                Shape::Number { .. } | Shape::Count { .. } | Shape::Its => "N".to_owned(),
                Shape::Choice(names) => names.join("|"),
                Shape::Flag => argument.key.to_owned(),
                Shape::Place { .. } => "PLACE".to_owned(),
                Shape::Cpu => "CPU".to_owned(),
                Shape::Rdbase => "REDISTRIBUTOR".to_owned(),
                Shape::Target => "FRAME REGISTER".to_owned(),
                Shape::Turns => "N,N+".to_owned(),
            };
            usage.push_str(&match (argument.presence, argument.shape) {
                (Presence::Bare, _) => format!(" {value}"),
                (Presence::Keyed, _) => format!(" {}={value}", argument.key),
                (Presence::Optional, Shape::Flag) => format!(" [{value}]"),
                (Presence::Optional, _) => format!(" [{}={value}]", argument.key),
            });
        }
        if self.has_cpu() {
            usage.push_str(" [cpu=N]");
        }
        usage
    }
}

/// Returns a row for each field of a header.
fn fields_of<H: Header>() -> String {
    let row = |(field, usual): (&Argument, u64)| {
        let (values, usual) = match field.shape {
            Shape::Count { min, max } => (format!("{min} to {max}"), usual.to_string()),
            Shape::Choice(names) => {
                let usual = names.iter().skip(usual as usize).take(1);
                (names.join(", "), usual.copied().collect())
            }
            Shape::Number { .. }
            | Shape::Flag
            | Shape::Place { .. }
            | Shape::Cpu
            | Shape::Its
            | Shape::Rdbase
            | Shape::Target
            | Shape::Turns => (field.key.to_owned(), usual.to_string()),
        };
        format!("| `{}` | {values} | {usual} |\n", field.key)
    };
    H::FIELDS.iter().zip(H::USUAL.words()).map(row).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_documentation_has_this_table() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/scenarios.md");
        let page = include_str!("../../../../docs/scenarios.md");
        if std::env::var_os("ITSDIFF_WRITE_DOCS").is_some() {
            let (before, _) = page.split_once("| line |").unwrap();
            std::fs::write(path, format!("{before}{}", reference())).unwrap();
            return;
        }
        assert!(page.ends_with(&reference()), "write it with ITSDIFF_WRITE_DOCS=1 cargo test");
    }
}
