//! What each line of a scenario looks like and does.

use crate::argument::{Presence, Shape};
use crate::header::RESERVED_FIELDS;
use crate::operation::{Kind, RESERVED};
use crate::text::COMMAND;

/// Returns a table of all operations in Markdown, the line and what it does; then what is reserved.
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
    format!(
        "| line | what it does |\n| --- | --- |\n{rows}\n\
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
                Shape::Number { .. } | Shape::Count { .. } => "N".to_owned(),
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
