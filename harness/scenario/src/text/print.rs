//! Printing.

use its_machine::Place;
use std::fmt::{self, Display, Formatter};

use crate::argument::Word as _;
use crate::argument::{Argument, Presence, Shape};
use crate::header::Header;
use crate::operation::{Operation, Rdbase};
use crate::record::Record;
use crate::scenario::Scenario;
use crate::target::Target;
use crate::text::{COMMAND, CONFIGURATION, CPU, SIZE, TEXT_VERSION};
use crate::turns::Turns;

impl Display for Scenario {
    /// The text form, ending in a newline.
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        writeln!(f, "itsdiff {TEXT_VERSION}")?;
        for (its, configuration) in self.configurations.iter().enumerate() {
            print_header(f, &format!("{CONFIGURATION}{its}"), configuration)?;
        }
        print_header(f, "boot", &self.boot)?;
        for operation in &self.operations {
            writeln!(f, "{operation}")?;
        }
        Ok(())
    }
}

/// Prints a line of the fields that are not as usual, if there are any.
fn print_header<H: Header>(f: &mut Formatter<'_>, name: &str, header: &H) -> fmt::Result {
    let (words, usual) = (header.words(), H::USUAL.words());
    if words == usual {
        return Ok(());
    }
    write!(f, "{name}")?;
    for ((field, word), usual) in H::FIELDS.iter().zip(words).zip(usual) {
        if word != usual {
            write!(f, " {}={}", field.key, Value(field.shape, word))?;
        }
    }
    writeln!(f)
}

impl Display for Operation {
    /// One line of the text form, without the newline.
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let record = Record::from(self);
        let name = record.kind.name();
        match name.strip_prefix(COMMAND) {
            Some(command) => write!(f, "command {}", command.to_ascii_uppercase())?,
            None => write!(f, "{name}")?,
        }
        for (argument, word) in record.kind.arguments().iter().zip(record.words) {
            print_argument(f, argument, word)?;
        }
        if record.cpu != 0 {
            write!(f, " {CPU}={}", record.cpu)?;
        }
        Ok(())
    }
}

fn print_argument(f: &mut Formatter<'_>, argument: &Argument, word: u64) -> fmt::Result {
    let value = Value(argument.shape, word);
    match (argument.presence, argument.shape) {
        (Presence::Bare, _) => write!(f, " {value}"),
        (Presence::Keyed, _) => write!(f, " {}={value}", argument.key),
        (Presence::Optional, _) if word == 0 => Ok(()),
        (Presence::Optional, Shape::Flag) => write!(f, " {}", argument.key),
        (Presence::Optional, _) => write!(f, " {}={value}", argument.key),
    }
}

/// A word as its shape is written.
struct Value(Shape, u64);

impl Display for Value {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let Self(shape, word) = *self;
        match shape {
            Shape::Number { .. } => write!(f, "{word:#x}"),
            Shape::Count { .. } | Shape::Flag | Shape::Cpu | Shape::Its => {
                write!(f, "{word}")
            }
            Shape::Choice(names) => {
                let name = usize::try_from(word).ok().and_then(|word| names.get(word));
                write!(f, "{}", name.copied().unwrap_or("?"))
            }
            Shape::Place { .. } => write!(f, "{}", Place::unpack(word)),
            Shape::Rdbase => match Rdbase::unpack(word) {
                Rdbase::Of(index) => write!(f, "redistributor{index}"),
                Rdbase::Raw(field) => write!(f, "{field:#x}"),
            },
            Shape::Target => print_target(f, Target::unpack(word)),
            Shape::Turns => write!(f, "{}", Turns(word)),
        }
    }
}

fn print_target(f: &mut Formatter<'_>, target: Target) -> fmt::Result {
    write!(f, "{} ", target.frame_name())?;
    match target.register_name() {
        Some(name) => write!(f, "{name}"),
        None => write!(f, "+{:#x} {SIZE}={}", target.offset, target.size.bytes()),
    }
}
