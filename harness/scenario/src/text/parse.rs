//! Parsing. What comes out is fixed up: a value out of range is an error, never another value.

use its_machine::{Frame, MAX_ITS, RACING_CPUS};

use crate::argument::Word as _;
use crate::argument::{Argument, Presence, Shape};
use crate::header::{Boot, Header, RESERVED_FIELDS};
use crate::operation::{ARGUMENTS, Kind, Operation, RESERVED};
use crate::record::Record;
use crate::scenario::{MAX_OPERATIONS, Scenario};
use crate::target::{FRAMES, SIZES, Target, frame_bytes, registers};
use crate::text::value::{number, one_of, value};
use crate::text::version::renamed;
use crate::text::{COMMAND, CONFIGURATION, CPU, MAX_TEXT_BYTES, SIZE, TEXT_VERSION};

/// What is wrong with a text, and where.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("line {line}, column {column}: {word:?} {wrong}; expected {expected}")]
pub struct ParseError {
    /// From 1.
    pub line: usize,
    /// In characters, from 1.
    pub column: usize,
    /// The word, its first 40 characters if it is longer.
    pub word: String,
    /// Said of the word.
    pub wrong: String,
    pub expected: String,
}

type Parsed<T> = Result<T, ParseError>;

impl Scenario {
    /// Reads the text form. Comments are not kept.
    ///
    /// # Errors
    /// The first thing that is wrong. Never panics, whatever the bytes.
    pub fn parse(text: impl AsRef<[u8]>) -> Result<Self, ParseError> {
        let text = text_of(text.as_ref())?;
        let mut scenario = Self::default();
        let mut section = Section::Start;
        let mut version = TEXT_VERSION;
        let mut last_configuration = None;
        for (index, line) in text.lines().enumerate() {
            let words = words(index.saturating_add(1), line);
            let Some((first, rest)) = words.split_first() else { continue };
            if section == Section::Start {
                version = parse_version(*first, rest)?;
                section = Section::Version;
                continue;
            }
            let first = Word { text: renamed(version, first.text), ..*first };
            section = scenario.parse_line(section, first, rest)?;
            if let Section::Configuration(its) = section {
                last_configuration = Some((its, first));
            }
        }
        if let Some((its, word)) = last_configuration
            && its as u64 >= scenario.boot.its_slots()
        {
            return Err(
                word.error("is not on this board", format!("boot its={}", its.saturating_add(1)))
            );
        }
        if section == Section::Start {
            let end = Word { line: text.lines().count().max(1), column: 1, text: "" };
            return Err(end.error("ends the text", VERSION_LINE));
        }
        Ok(scenario)
    }

    /// Reads one line; returns in which section it was.
    fn parse_line(
        &mut self,
        section: Section,
        first: Word<'_>,
        rest: &[Word<'_>],
    ) -> Parsed<Section> {
        let its = first.text.strip_prefix(CONFIGURATION).and_then(number);
        let here = match (first.text, its) {
            ("boot", _) => Section::Boot,
            (_, Some(its)) if its < MAX_ITS as u64 => Section::Configuration(its as usize),
            _ => Section::Operations,
        };
        if here != Section::Operations && here <= section {
            let order = "it once: its0 to its7 in order, then boot, then the operations";
            return Err(first.error("comes twice or too late", order));
        }
        match here {
            Section::Start | Section::Version => {}
            Section::Configuration(its) => {
                if let Some(configuration) = self.configurations.get_mut(its) {
                    *configuration = parse_header(rest)?;
                }
            }
            Section::Boot => self.boot = parse_header(rest)?,
            Section::Operations if self.operations.len() >= MAX_OPERATIONS => {
                let most = format!("at most {MAX_OPERATIONS}");
                return Err(first.error("is one operation too many", most));
            }
            Section::Operations => {
                let operation = parse_operation(first, rest, &self.boot)?;
                let cpu = Record::from(&operation).cpu;
                if cpu >= RACING_CPUS && ends_in_race(&self.operations) {
                    let wrong = format!("is done by CPU {cpu} in a race");
                    return Err(first.error(wrong, "CPU 0 or CPU 1"));
                }
                self.operations.push(operation);
            }
        }
        Ok(here)
    }
}

/// Returns whether the next operation is a member of a race.
fn ends_in_race(operations: &[Operation]) -> bool {
    let race = (0..).zip(operations.iter().rev().take(usize::from(u8::MAX)));
    let members = |(distance, operation): (u8, &Operation)| match operation {
        Operation::Race { operations, .. } => Some(*operations > distance),
        _ => None,
    };
    race.filter_map(members).next().unwrap_or(false)
}

/// Where in the text a line stands, in order.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Section {
    Start,
    Version,
    /// Of this ITS.
    Configuration(usize),
    Boot,
    Operations,
}

/// One word of a line and where it is.
#[derive(Clone, Copy, Debug)]
struct Word<'a> {
    line: usize,
    column: usize,
    text: &'a str,
}

impl<'a> Word<'a> {
    fn error(self, wrong: impl Into<String>, expected: impl Into<String>) -> ParseError {
        ParseError {
            line: self.line,
            column: self.column,
            word: self.text.chars().take(40).collect(),
            wrong: wrong.into(),
            expected: expected.into(),
        }
    }

    /// The word after its first `bytes`.
    fn after(self, bytes: usize) -> Self {
        let (before, text) = self.text.split_at_checked(bytes).unwrap_or(("", self.text));
        Self { column: self.column.saturating_add(before.chars().count()), text, ..self }
    }

    fn number(self) -> Option<u64> {
        number(self.text)
    }

    /// `key=value` as both.
    fn pair(self) -> Option<(&'a str, Self)> {
        let (key, _) = self.text.split_once('=')?;
        Some((key, self.after(key.len().saturating_add(1))))
    }
}

const VERSION_LINE: &str = "a first line \"itsdiff 2\"";

fn text_of(bytes: &[u8]) -> Result<&str, ParseError> {
    let start = Word { line: 1, column: 1, text: "" };
    // Some editors begin a text with a byte order mark.
    let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
    if bytes.len() > MAX_TEXT_BYTES {
        let wrong = format!("starts a text of {} bytes", bytes.len());
        return Err(start.error(wrong, format!("at most {MAX_TEXT_BYTES}")));
    }
    str::from_utf8(bytes).map_err(|error| {
        let (good, _) = bytes.split_at_checked(error.valid_up_to()).unwrap_or_default();
        let lines = good.iter().filter(|byte| **byte == b'\n').count();
        let last = good.iter().rev().take_while(|byte| **byte != b'\n').count();
        let bad = Word { line: lines.saturating_add(1), column: last.saturating_add(1), text: "" };
        bad.error("is followed by bytes that are no text", "UTF-8")
    })
}

/// The words of a line, comment apart.
fn words(line: usize, text: &str) -> Vec<Word<'_>> {
    let text = text.split('#').next().unwrap_or("");
    let mut column: usize = 1;
    let mut words = Vec::new();
    for word in text.split(|character: char| character.is_ascii_whitespace()) {
        if !word.is_empty() {
            words.push(Word { line, column, text: word });
        }
        column = column.saturating_add(word.chars().count()).saturating_add(1);
    }
    words
}

fn parse_version(first: Word<'_>, rest: &[Word<'_>]) -> Parsed<u64> {
    if first.text != "itsdiff" {
        return Err(first.error("is no header", VERSION_LINE));
    }
    match rest {
        [version] => match version.number() {
            Some(known @ 1..=TEXT_VERSION) => Ok(known),
            _ => Err(version.error("is no version that is known", VERSION_LINE)),
        },
        [_, more, ..] => Err(more.error("is too much here", VERSION_LINE)),
        [] => Err(first.error("lacks a version", VERSION_LINE)),
    }
}

fn parse_header<H: Header>(words: &[Word<'_>]) -> Parsed<H> {
    let mut values = H::USUAL.words();
    let mut given = vec![None; values.len()];
    for word in words {
        let Some((key, text)) = word.pair() else {
            return Err(word.error("has no value", format!("{}=value", word.text)));
        };
        let slots = H::FIELDS.iter().zip(&mut values).zip(&mut given);
        let Some(((field, value), given)) = { slots }.find(|((field, _), _)| field.key == key)
        else {
            if RESERVED_FIELDS.contains(&key) {
                return Err(word.error("is reserved for later versions", "a field of this one"));
            }
            let known: Vec<_> = H::FIELDS.iter().map(|field| field.key).collect();
            return Err(word.error("is no field", one_of(&known)));
        };
        once(*word, given.replace(*word).is_some())?;
        *value = read(field.shape, text)?;
    }
    let header = H::from_words(values.clone());
    let kept = header.words().into_iter().zip(values).zip(given);
    match { kept }.find_map(|((kept, value), given)| given.filter(|_| kept != value)) {
        Some(word) => Err(word.error("does not fit the other fields", "another value")),
        None => Ok(header),
    }
}

fn parse_operation(first: Word<'_>, rest: &[Word<'_>], boot: &Boot) -> Parsed<Operation> {
    let (kind, rest) = parse_kind(first, rest)?;
    let mut line = Line::new(kind, first);
    let mut words = rest.iter().copied();
    while let Some(word) = words.next() {
        match word.pair() {
            Some((key, value)) => line.keyed(word, key, value)?,
            None => line.bare(word, &mut words)?,
        }
    }
    line.finish(boot)
}

fn parse_kind<'w, 'a>(first: Word<'a>, rest: &'w [Word<'a>]) -> Parsed<(Kind, &'w [Word<'a>])> {
    if first.text != "command" {
        let known = Kind::named(first.text).filter(|kind| !kind.name().starts_with(COMMAND));
        let known = known.map(|kind| (kind, rest));
        return known.ok_or_else(|| {
            let names = Kind::ALL.iter().map(|kind| kind.name());
            let mut names: Vec<_> = names.filter(|name| !name.starts_with(COMMAND)).collect();
            names.push("command");
            if RESERVED.iter().any(|(_, name, _)| *name == first.text) {
                return first.error("is reserved for later versions", one_of(&names));
            }
            first.error("is no operation", one_of(&names))
        });
    }
    let names = || {
        let names = Kind::ALL.iter().filter_map(|kind| kind.name().strip_prefix(COMMAND));
        one_of(&names.map(str::to_ascii_uppercase).collect::<Vec<_>>())
    };
    let Some((command, rest)) = rest.split_first() else {
        return Err(first.error("lacks a name", names()));
    };
    let name = format!("{COMMAND}{}", command.text.to_ascii_lowercase());
    let known = Kind::named(&name).map(|kind| (kind, rest));
    known.ok_or_else(|| command.error("is no command", names()))
}

/// A line of which the arguments come in.
struct Line<'a> {
    kind: Kind,
    name: Word<'a>,
    cpu: Option<(u8, Word<'a>)>,
    /// The access size of a target that is no register: its number, and where it stands.
    size: Option<(u64, Word<'a>)>,
    /// The target waits for that size.
    wants_size: bool,
    values: [Option<(u64, Word<'a>)>; ARGUMENTS],
}

impl<'a> Line<'a> {
    fn new(kind: Kind, name: Word<'a>) -> Self {
        Self { kind, name, cpu: None, size: None, wants_size: false, values: [None; ARGUMENTS] }
    }

    fn has_target(&self) -> bool {
        matches!(self.kind, Kind::Read | Kind::Write)
    }

    /// `key=value`.
    fn keyed(&mut self, word: Word<'a>, key: &str, value: Word<'a>) -> Parsed<()> {
        if key == CPU && self.kind.has_cpu() {
            let cpu = read(Shape::Cpu, value)? as u8;
            return once(word, self.cpu.replace((cpu, value)).is_some());
        }
        if key == SIZE && self.has_target() {
            let size = SIZES.iter().position(|size| value.number() == Some(size.bytes()));
            let size = size.ok_or_else(|| value.error("is no size", "1, 2, 4 or 8"))?;
            return once(word, self.size.replace((size as u64, word)).is_some());
        }
        let slots = self.kind.arguments().iter().zip(&mut self.values);
        let keyed = |argument: &Argument| {
            argument.presence != Presence::Bare && !matches!(argument.shape, Shape::Flag)
        };
        match { slots }.find(|(argument, _)| argument.key == key && keyed(argument)) {
            Some((argument, slot)) => {
                let value = read(argument.shape, value)?;
                once(word, slot.replace((value, word)).is_some())
            }
            None => Err(word.error("is no argument here", self.kind.usage())),
        }
    }

    /// A word that is no `key=value`: a flag, or the next value that goes without its key.
    fn bare(&mut self, word: Word<'a>, rest: &mut impl Iterator<Item = Word<'a>>) -> Parsed<()> {
        let usage = self.kind.usage();
        let slots = self.kind.arguments().iter().zip(&mut self.values);
        let mut free = { slots }.filter(|(argument, slot)| match argument.shape {
            Shape::Flag => argument.key == word.text,
            _ => argument.presence == Presence::Bare && slot.is_none(),
        });
        let Some((argument, slot)) = free.next() else {
            return Err(word.error("is too much here", usage));
        };
        match argument.shape {
            Shape::Flag => once(word, slot.replace((1, word)).is_some()),
            Shape::Target => {
                let (target, complete) = read_target(word, rest.next())?;
                *slot = Some((target, word));
                self.wants_size = !complete;
                Ok(())
            }
            shape => {
                *slot = Some((read(shape, word)?, word));
                Ok(())
            }
        }
    }

    fn finish(mut self, boot: &Boot) -> Parsed<Operation> {
        self.join_size()?;
        let mut words = [0; ARGUMENTS];
        let slots = self.kind.arguments().iter().zip(self.values).zip(&mut words);
        for ((argument, value), word) in slots {
            match value {
                Some((value, _)) => *word = value,
                None if argument.presence == Presence::Optional => {}
                None => {
                    let wrong = format!("lacks its {}", argument.key);
                    return Err(self.name.error(wrong, self.kind.usage()));
                }
            }
        }
        let cpu = self.cpu.map_or(0, |(cpu, _)| cpu);
        let record = Record { kind: self.kind, cpu, words };
        if let Some(word) = self.changed(words, record.fix().words) {
            return Err(word.error("does not fit the size of the access", "fewer bits"));
        }
        let fit = record.fit(boot);
        let cpu = self.cpu.filter(|(cpu, _)| *cpu != fit.cpu).map(|(_, word)| word);
        match self.changed(words, fit.words).or(cpu) {
            Some(word) => {
                let Boot { its, cpus, .. } = boot;
                let has = format!("a part of the board: it has {its} ITSs and {cpus} CPUs");
                Err(word.error("is not on this board", has))
            }
            None => Ok(record.operation()),
        }
    }

    /// The first argument that differs.
    fn changed(&self, given: [u64; ARGUMENTS], now: [u64; ARGUMENTS]) -> Option<Word<'a>> {
        let index = given.iter().zip(now).position(|(given, now)| *given != now)?;
        let word = self.values.get(index).copied().flatten();
        Some(word.map_or(self.name, |(_, word)| word))
    }

    /// Puts `size=` into the target.
    fn join_size(&mut self) -> Parsed<()> {
        match (self.wants_size, self.size, self.values.first_mut()) {
            (true, Some((size, _)), Some(Some((target, _)))) => *target |= size << 32,
            (true, _, _) => return Err(self.name.error("lacks its size", "size=1, 2, 4 or 8")),
            (false, Some((_, word)), _) => {
                return Err(word.error("is no argument here", "the register's own size"));
            }
            (false, None, _) => {}
        }
        Ok(())
    }
}

fn once(word: Word<'_>, again: bool) -> Parsed<()> {
    if again { Err(word.error("comes twice", "it once")) } else { Ok(()) }
}

/// A frame and a register. The second result says whether the size is known.
fn read_target(frame: Word<'_>, register: Option<Word<'_>>) -> Parsed<(u64, bool)> {
    let Some((known, _)) = FRAMES.iter().find(|(_, name)| *name == frame.text) else {
        let names = FRAMES.map(|(_, name)| name);
        return Err(frame.error("is no frame", one_of(&names)));
    };
    let Some(word) = register else {
        return Err(frame.error("lacks a register", "a register or +offset"));
    };
    let complete = !word.text.starts_with('+');
    let target = if complete { named_register(*known, word)? } else { raw_offset(*known, word)? };
    Ok((target.pack(), complete))
}

fn named_register(frame: Frame, word: Word<'_>) -> Parsed<Target> {
    if let Some((_, offset, size)) = registers(frame).find(|(name, ..)| name == word.text) {
        return Ok(Target { frame, offset, size });
    }
    let names: Vec<_> = registers(frame).map(|(name, ..)| name).collect();
    let expected = format!("+offset within the frame or {}", one_of(&names));
    Err(word.error("is no register of the frame", expected))
}

/// With the size whose number is 0, for the size to be added.
fn raw_offset(frame: Frame, word: Word<'_>) -> Parsed<Target> {
    let [size, ..] = SIZES;
    let max = u64::from(frame_bytes(frame).saturating_sub(1));
    let offset = read(Shape::Number { max }, word.after(1))?;
    Ok(Target { frame, offset: offset as u32, size })
}

/// A value of a shape.
fn read(shape: Shape, word: Word<'_>) -> Parsed<u64> {
    value(shape, word.text).map_err(|wrong| word.error(wrong.is, wrong.expected))
}
