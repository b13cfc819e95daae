//! The qtest line protocol (QEMU, `softmmu/qtest.c`): one command a line, one answer a command, in
//! order.
//!
//! Each line costs QEMU a system call that sends the answer, so whatever can be said in fewer lines
//! is: `read` and `write` of several registers are split by QEMU into accesses of the registers'
//! width.

use std::io::{self, Read, Write};

use its_machine::AccessSize;

use crate::Error;

/// Lines that are sent in one piece.
const CHUNK: usize = 128;
/// Lines that may wait for their answers. These answers fit the buffer of a pipe, so that QEMU
/// never waits until they are received, and sending waits for nothing but QEMU.
const WINDOW: usize = 2 * CHUNK;
/// How QEMU reports an interrupt line, at any time.
const ASYNCHRONOUS: &[u8] = b"IRQ ";

/// Commands to be sent.
#[derive(Debug, Default)]
pub(crate) struct Batch {
    text: Vec<u8>,
    lines: usize,
    /// Where each full chunk ends.
    cuts: Vec<usize>,
    /// The last line, while it is a store that can be made longer.
    growing: Option<Growing>,
}

/// A store that another one may follow in the same line.
#[derive(Clone, Copy, Debug)]
struct Growing {
    address: u64,
    bytes: u64,
    /// Where the digits of its length end.
    length_end: usize,
}

/// Digits of the length of a store.
const LENGTH_DIGITS: usize = 4;
/// The longest store. QEMU takes in a KiB of text at once.
const LONGEST: u64 = 512;

impl Batch {
    pub(crate) fn clear(&mut self) {
        self.text.clear();
        self.cuts.clear();
        self.lines = 0;
        self.growing = None;
    }

    pub(crate) const fn lines(&self) -> usize {
        self.lines
    }

    /// Reads one value: the answer is [`Answers::value`].
    pub(crate) fn read(&mut self, size: AccessSize, address: u64) {
        self.text.extend(b"read");
        self.text.push(letter(size));
        self.number(address);
        self.end();
    }

    /// Writes one value: the answer is [`Answers::done`].
    pub(crate) fn write(&mut self, size: AccessSize, address: u64, value: u64) {
        self.text.extend(b"write");
        self.text.push(letter(size));
        self.number(address);
        self.number(value);
        self.end();
    }

    /// Reads bytes: the answer is [`Answers::bytes`].
    pub(crate) fn read_bytes(&mut self, address: u64, bytes: u64) {
        self.text.extend(b"read");
        self.number(address);
        self.number(bytes);
        self.end();
    }

    /// Writes words to registers one after the other: the answer is [`Answers::done`].
    pub(crate) fn write_words(&mut self, address: u64, words: &[u64]) {
        self.text.extend(b"write");
        self.number(address);
        self.number(8 * words.len() as u64);
        self.text.extend(b" 0x");
        self.bytes(words);
        self.end();
    }

    /// Writes words to memory. Where it follows on the store just before, it becomes part of that;
    /// else the answer is [`Answers::done`], and this returns true.
    pub(crate) fn store(&mut self, address: u64, words: &[u64]) -> bool {
        let bytes = 8 * words.len() as u64;
        let follows = self.growing.filter(|store| {
            store.address + store.bytes == address && store.bytes + bytes <= LONGEST
        });
        let Some(mut store) = follows.filter(|_| self.cuts.last() != Some(&self.text.len())) else {
            self.text.extend(b"write");
            self.number(address);
            self.text.extend(b" 0x");
            self.text.extend([b'0'; LENGTH_DIGITS]);
            let length_end = self.text.len();
            self.text.extend(b" 0x");
            self.bytes(words);
            self.end();
            self.grow(Growing { address, bytes, length_end });
            return true;
        };
        self.text.pop();
        self.bytes(words);
        self.text.push(b'\n');
        store.bytes += bytes;
        self.grow(store);
        false
    }

    /// Writes the length of the store that is the last line.
    fn grow(&mut self, store: Growing) {
        let digits = store.length_end - LENGTH_DIGITS..store.length_end;
        // Writing into memory that is there cannot fail.
        let _ = write!(&mut self.text[digits], "{:0LENGTH_DIGITS$x}", store.bytes);
        self.growing = Some(store);
    }

    /// Writes words in the order of their bytes in memory.
    fn bytes(&mut self, words: &[u64]) {
        for word in words {
            let _ = write!(self.text, "{:016x}", word.swap_bytes());
        }
    }

    fn number(&mut self, value: u64) {
        let _ = write!(self.text, " {value:#x}");
    }

    fn end(&mut self) {
        self.text.push(b'\n');
        self.growing = None;
        self.lines += 1;
        if self.lines.is_multiple_of(CHUNK) {
            self.cuts.push(self.text.len());
        }
    }

    /// The text in pieces, with how many lines have been sent after each.
    fn chunks(&self) -> impl Iterator<Item = (&[u8], usize)> {
        let starts = std::iter::once(0).chain(self.cuts.iter().copied());
        let ends = self.cuts.iter().copied().chain([self.text.len()]);
        let pieces = starts.zip(ends).filter(|(start, end)| start < end);
        pieces.enumerate().map(|(index, (start, end))| {
            let sent = ((index + 1) * CHUNK).min(self.lines);
            (self.text.get(start..end).unwrap_or_default(), sent)
        })
    }
}

const fn letter(size: AccessSize) -> u8 {
    match size {
        AccessSize::Byte => b'b',
        AccessSize::Half => b'w',
        AccessSize::Word => b'l',
        AccessSize::Double => b'q',
    }
}

/// What came back, to be taken line by line.
#[derive(Debug, Default)]
pub(crate) struct Answers {
    text: Vec<u8>,
    /// Where the next line to be taken starts.
    next: usize,
    /// Where the first line starts that is not counted yet.
    uncounted: usize,
    lines: usize,
}

impl Answers {
    pub(crate) fn clear(&mut self) {
        self.text.clear();
        (self.next, self.uncounted, self.lines) = (0, 0, 0);
    }

    fn add(&mut self, received: &[u8]) {
        self.text.extend(received);
        while let Some((line, after)) = line_at(&self.text, self.uncounted) {
            self.lines += usize::from(!line.starts_with(ASYNCHRONOUS));
            self.uncounted = after;
        }
    }

    fn line(&mut self) -> Result<&[u8], Error> {
        while let Some((line, after)) = line_at(&self.text, self.next) {
            self.next = after;
            if !line.starts_with(ASYNCHRONOUS) {
                return Ok(line);
            }
        }
        Err(malformed(b""))
    }

    /// Takes the answer to a write.
    pub(crate) fn done(&mut self) -> Result<(), Error> {
        match self.line()? {
            b"OK" => Ok(()),
            line => Err(malformed(line)),
        }
    }

    /// Takes the answer to a read of one value.
    pub(crate) fn value(&mut self) -> Result<u64, Error> {
        let line = self.line()?;
        let digits = line.strip_prefix(b"OK 0x");
        let digits = digits.filter(|digits| (1..=16).contains(&digits.len()));
        let value = digits.and_then(hexadecimal);
        value.ok_or_else(|| malformed(line))
    }

    /// Takes the answer to a read of this many bytes.
    pub(crate) fn bytes<const BYTES: usize>(&mut self) -> Result<[u8; BYTES], Error> {
        self.numbers::<2, BYTES>().map(|all| all.map(|byte| byte as u8))
    }

    /// Takes the answer to a read of this many words.
    pub(crate) fn words<const WORDS: usize>(&mut self) -> Result<[u64; WORDS], Error> {
        // In the order of bytes in memory.
        self.numbers::<16, WORDS>().map(|all| all.map(u64::swap_bytes))
    }

    /// Takes so many numbers of so many digits each.
    fn numbers<const DIGITS: usize, const COUNT: usize>(&mut self) -> Result<[u64; COUNT], Error> {
        let line = self.line()?;
        let digits = line.strip_prefix(b"OK 0x").map(<[u8]>::as_chunks::<DIGITS>);
        let Some((found, [])) = digits.filter(|(found, _)| found.len() == COUNT) else {
            return Err(malformed(line));
        };
        let mut numbers = [0; COUNT];
        for (number, digits) in numbers.iter_mut().zip(found) {
            *number = hexadecimal(digits).ok_or_else(|| malformed(line))?;
        }
        Ok(numbers)
    }
}

/// The line that starts here, without its end, and where the next one starts; `None` while it is
/// not complete.
fn line_at(text: &[u8], start: usize) -> Option<(&[u8], usize)> {
    let rest = text.get(start..)?;
    let length = rest.iter().position(|byte| *byte == b'\n')?;
    Some((rest.get(..length)?, start + length + 1))
}

/// The value of at most 16 digits.
fn hexadecimal(digits: &[u8]) -> Option<u64> {
    let digit = |digit: u8| char::from(digit).to_digit(16).map(u64::from);
    digits.iter().try_fold(0, |value, one| Some(value << 4 | digit(*one)?))
}

fn malformed(line: &[u8]) -> Error {
    Error::Malformed { line: String::from_utf8_lossy(line).into_owned() }
}

/// Sends all commands and waits for all answers.
pub(crate) fn exchange(
    mut stream: impl Read + Write,
    batch: &Batch,
    answers: &mut Answers,
) -> io::Result<()> {
    answers.clear();
    for (text, sent) in batch.chunks() {
        receive(&mut stream, answers, sent.saturating_sub(WINDOW))?;
        stream.write_all(text)?;
    }
    receive(&mut stream, answers, batch.lines)
}

/// Waits until there are at least this many answers.
fn receive(stream: &mut impl Read, answers: &mut Answers, lines: usize) -> io::Result<()> {
    let mut buffer = [0; 0x4000];
    while answers.lines < lines {
        match stream.read(&mut buffer) {
            Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(read) => answers.add(buffer.get(..read).unwrap_or_default()),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn received(text: &str) -> Answers {
        let mut answers = Answers::default();
        answers.add(text.as_bytes());
        answers
    }

    #[test]
    fn lines_are_short_and_numbers_hexadecimal() {
        let mut batch = Batch::default();
        batch.read(AccessSize::Word, 0x0808_0000);
        batch.write(AccessSize::Double, 0x8000_0000, 0);
        batch.read_bytes(0x0808_0080, 24);
        batch.write_words(0x8000_0020, &[0x1122_3344_5566_7788, u64::MAX >> 4]);
        let text = "readl 0x8080000\nwriteq 0x80000000 0x0\nread 0x8080080 0x18\n\
                    write 0x80000020 0x10 0x8877665544332211ffffffffffffff0f\n";
        assert_eq!(String::from_utf8_lossy(&batch.text), text);
        assert_eq!(batch.lines(), 4);
    }

    #[test]
    fn stores_grow_together() {
        let mut batch = Batch::default();
        assert!(batch.store(0x8000_0000, &[1]));
        assert!(!batch.store(0x8000_0008, &[2; 4]));
        assert!(batch.store(0x8000_0008, &[3]));
        batch.read(AccessSize::Byte, 0);
        assert!(batch.store(0x8000_0010, &[4]));
        let text = "write 0x80000000 0x0028 0x01000000000000000200000000000000020000000000000002\
                    000000000000000200000000000000\n\
                    write 0x80000008 0x0008 0x0300000000000000\nreadb 0x0\n\
                    write 0x80000010 0x0008 0x0400000000000000\n";
        assert_eq!(String::from_utf8_lossy(&batch.text), text);
        assert_eq!(batch.lines(), 4);
        // Not beyond the longest, nor over the end of a chunk.
        batch.clear();
        let own = (0..1000).filter(|index| batch.store(index * 8, &[0])).count();
        assert_eq!(own, 1000_usize.div_ceil(64));
        batch.clear();
        (0..CHUNK - 1).for_each(|_| batch.read(AccessSize::Byte, 0));
        assert!(batch.store(0, &[0]) && batch.store(8, &[0]) && !batch.store(16, &[0]));
    }

    #[test]
    fn chunks_are_all_of_the_text() {
        for lines in [0, 1, CHUNK, CHUNK + 1, 3 * CHUNK] {
            let mut batch = Batch::default();
            (0..lines).for_each(|line| batch.read(AccessSize::Byte, line as u64));
            let chunks: Vec<_> = batch.chunks().collect();
            let joined: Vec<u8> = chunks.iter().flat_map(|(text, _)| *text).copied().collect();
            assert_eq!(joined, batch.text);
            assert_eq!(chunks.len(), lines.div_ceil(CHUNK));
            assert_eq!(chunks.last().map_or(0, |(_, sent)| *sent), lines);
        }
    }

    #[test]
    fn answers_are_taken_in_order_and_interrupts_skipped() {
        let text = "OK\nIRQ raise 3\nOK 0x0000000080000000\nOK 0x3b040000\nOK";
        let mut answers = received(text);
        assert_eq!(answers.lines, 3);
        answers.add(b"\n");
        assert_eq!(answers.lines, 4);
        answers.done().unwrap();
        assert_eq!(answers.value().unwrap(), 0x8000_0000);
        assert_eq!(answers.bytes::<4>().unwrap(), [0x3b, 4, 0, 0]);
        answers.done().unwrap();
        assert!(answers.done().is_err());
    }

    #[test]
    fn what_is_no_answer_is_an_error_with_the_line() {
        for text in
            ["FAIL Unknown command 'x'\n", "\n", "OK 0x\n", "OK 0xg\n", "OK 0x00000000000000000\n"]
        {
            let error = received(text).value().unwrap_err();
            assert!(matches!(error, Error::Malformed { line } if line == text.trim_end()));
            assert!(received(text).done().is_err());
            assert!(received(text).bytes::<2>().is_err());
        }
        let zeroes = format!("OK 0x{}{}\n", "0123456789abcdef", "0".repeat(16));
        let words = received(&zeroes).words::<2>().unwrap();
        assert_eq!(words, [0xefcd_ab89_6745_2301, 0]);
        assert!(received(&zeroes).words::<1>().is_err());
        assert!(received("OK 0x0123456789abcdeg\n").words::<1>().is_err());
        assert!(received("OK 0x123\n").bytes::<2>().is_err());
        assert!(received("OK 0x123456\n").bytes::<2>().is_err());
        assert!(received("OK 0x12zz\n").bytes::<2>().is_err());
    }

    /// Answers when asked, a piece at a time.
    struct Echo {
        due: usize,
        most: usize,
    }

    impl Write for Echo {
        fn write(&mut self, text: &[u8]) -> io::Result<usize> {
            self.due += text.iter().filter(|byte| **byte == b'\n').count();
            self.most = self.most.max(self.due);
            Ok(text.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    impl Read for Echo {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            if self.due == 0 {
                return Ok(0);
            }
            self.due -= 1;
            buffer[..3].copy_from_slice(b"OK\n");
            Ok(3)
        }
    }

    #[test]
    fn no_more_than_a_window_waits() {
        let mut batch = Batch::default();
        (0..2000).for_each(|line| batch.read(AccessSize::Byte, line));
        let mut echo = Echo { due: 0, most: 0 };
        let mut answers = Answers::default();
        exchange(&mut echo, &batch, &mut answers).unwrap();
        assert_eq!((answers.lines, echo.due), (2000, 0));
        assert!(echo.most <= WINDOW + CHUNK, "{}", echo.most);
        let more = receive(&mut echo, &mut answers, 2001);
        assert_eq!(more.unwrap_err().kind(), io::ErrorKind::UnexpectedEof);
    }
}
