//! What a register access names: frame, offset and size, and the names of known registers.

use its_gic::redistributor::{self, FRAMES_BYTES};
use its_gic::register::{FRAME_BYTES, Register, TRANSLATER};
use its_machine::{AccessSize, Frame};

use crate::argument::Word;

/// The board's frames with their names, by their number in the binary form: only appended to.
pub const FRAMES: [(Frame, &str); 24] = [
    (Frame::ItsControl(0), "its0"),
    (Frame::ItsTranslation(0), "translation0"),
    (Frame::Redistributor(0), "redistributor0"),
    (Frame::Redistributor(1), "redistributor1"),
    (Frame::ItsControl(1), "its1"),
    (Frame::ItsTranslation(1), "translation1"),
    (Frame::ItsControl(2), "its2"),
    (Frame::ItsTranslation(2), "translation2"),
    (Frame::ItsControl(3), "its3"),
    (Frame::ItsTranslation(3), "translation3"),
    (Frame::ItsControl(4), "its4"),
    (Frame::ItsTranslation(4), "translation4"),
    (Frame::ItsControl(5), "its5"),
    (Frame::ItsTranslation(5), "translation5"),
    (Frame::ItsControl(6), "its6"),
    (Frame::ItsTranslation(6), "translation6"),
    (Frame::ItsControl(7), "its7"),
    (Frame::ItsTranslation(7), "translation7"),
    (Frame::Redistributor(2), "redistributor2"),
    (Frame::Redistributor(3), "redistributor3"),
    (Frame::Redistributor(4), "redistributor4"),
    (Frame::Redistributor(5), "redistributor5"),
    (Frame::Redistributor(6), "redistributor6"),
    (Frame::Redistributor(7), "redistributor7"),
];

/// Access sizes by number.
pub const SIZES: [AccessSize; 4] =
    [AccessSize::Byte, AccessSize::Half, AccessSize::Word, AccessSize::Double];

/// Where an access goes and how wide it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Target {
    pub frame: Frame,
    /// Bytes from the start of the frame, anything within it.
    pub offset: u32,
    pub size: AccessSize,
}

pub(crate) fn frame_bytes(frame: Frame) -> u32 {
    match frame {
        Frame::ItsControl(_) | Frame::ItsTranslation(_) => FRAME_BYTES as u32,
        Frame::Redistributor(_) => FRAMES_BYTES as u32,
    }
}

fn wrapping<T: Copy>(list: &[T], index: u64) -> Option<T> {
    let index = index.checked_rem(list.len() as u64)?;
    list.get(index as usize).copied()
}

impl Target {
    /// The frame's name in the text form.
    pub(crate) fn frame_name(self) -> &'static str {
        let known = FRAMES.iter().find(|(frame, _)| *frame == self.frame);
        known.map_or("its0", |(_, name)| name)
    }

    /// The name of the register, or of the half of one, that this is exactly.
    pub(crate) fn register_name(self) -> Option<String> {
        registers(self.frame).find_map(|(name, offset, size)| {
            (offset == self.offset && size == self.size).then_some(name)
        })
    }
}

impl Word for Target {
    /// Frame number in bits \[47:40\], size number in bits \[39:32\], offset in bits \[31:0\].
    fn pack(self) -> u64 {
        let frame = FRAMES.iter().position(|(frame, _)| *frame == self.frame);
        let size = SIZES.iter().position(|size| *size == self.size);
        (frame.unwrap_or(0) as u64) << 40
            | (size.unwrap_or(0) as u64) << 32
            | u64::from(self.offset)
    }

    /// From any word: what is out of range goes around.
    fn unpack(word: u64) -> Self {
        let frame = wrapping(&FRAMES, word >> 40 & 0xff);
        let frame = frame.map_or(Frame::ItsControl(0), |(frame, _)| frame);
        let offset = (word as u32).checked_rem(frame_bytes(frame));
        Self {
            frame,
            offset: offset.unwrap_or(0),
            size: wrapping(&SIZES, word >> 32 & 0xff).unwrap_or(AccessSize::Byte),
        }
    }
}

/// Returns the names of all registers and halves of one in a frame, with offset and size.
pub fn registers(frame: Frame) -> impl Iterator<Item = (String, u32, AccessSize)> {
    let known = match frame {
        Frame::ItsControl(_) => ITS_CONTROL,
        Frame::ItsTranslation(_) => ITS_TRANSLATION,
        Frame::Redistributor(_) => REDISTRIBUTOR,
    };
    known.iter().flat_map(|(name, offset, width)| {
        let offset = *offset as u32;
        let parts = match width {
            Width::Word => [Some(("", offset, AccessSize::Word)), None, None],
            Width::Double => [Some(("", offset, AccessSize::Double)), None, None],
            Width::Halves => [
                Some(("", offset, AccessSize::Double)),
                Some((".low", offset, AccessSize::Word)),
                Some((".high", offset.wrapping_add(4), AccessSize::Word)),
            ],
        };
        let named = move |(part, offset, size)| (format!("{name}{part}"), offset, size);
        parts.into_iter().flatten().map(named)
    })
}

/// How a register can be accessed.
#[derive(Clone, Copy)]
enum Width {
    Word,
    Double,
    /// 64 bits, also as two halves.
    Halves,
}

type Known = &'static [(&'static str, u64, Width)];

const ITS_CONTROL: Known = &[
    ("CTLR", Register::Ctlr.offset(), Width::Word),
    ("IIDR", Register::Iidr.offset(), Width::Word),
    ("TYPER", Register::Typer.offset(), Width::Halves),
    ("MPAMIDR", Register::Mpamidr.offset(), Width::Word),
    ("PARTIDR", Register::Partidr.offset(), Width::Word),
    ("MPIDR", Register::Mpidr.offset(), Width::Word),
    ("STATUSR", Register::Statusr.offset(), Width::Word),
    ("UMSIR", Register::Umsir.offset(), Width::Double),
    ("CBASER", Register::Cbaser.offset(), Width::Halves),
    ("CWRITER", Register::Cwriter.offset(), Width::Halves),
    ("CREADR", Register::Creadr.offset(), Width::Halves),
    ("BASER0", Register::Baser(0).offset(), Width::Halves),
    ("BASER1", Register::Baser(1).offset(), Width::Halves),
    ("BASER2", Register::Baser(2).offset(), Width::Halves),
    ("BASER3", Register::Baser(3).offset(), Width::Halves),
    ("BASER4", Register::Baser(4).offset(), Width::Halves),
    ("BASER5", Register::Baser(5).offset(), Width::Halves),
    ("BASER6", Register::Baser(6).offset(), Width::Halves),
    ("BASER7", Register::Baser(7).offset(), Width::Halves),
    ("PIDR4", 0xffd0, Width::Word),
    ("PIDR5", 0xffd4, Width::Word),
    ("PIDR6", 0xffd8, Width::Word),
    ("PIDR7", 0xffdc, Width::Word),
    ("PIDR0", 0xffe0, Width::Word),
    ("PIDR1", 0xffe4, Width::Word),
    ("PIDR2", 0xffe8, Width::Word),
    ("PIDR3", 0xffec, Width::Word),
    ("CIDR0", 0xfff0, Width::Word),
    ("CIDR1", 0xfff4, Width::Word),
    ("CIDR2", 0xfff8, Width::Word),
    ("CIDR3", 0xfffc, Width::Word),
];

const ITS_TRANSLATION: Known = &[("TRANSLATER", TRANSLATER, Width::Word)];

const REDISTRIBUTOR: Known = &[
    ("CTLR", redistributor::CTLR, Width::Word),
    ("TYPER", redistributor::TYPER, Width::Halves),
    ("WAKER", redistributor::WAKER, Width::Word),
    ("PROPBASER", redistributor::PROPBASER, Width::Halves),
    ("PENDBASER", redistributor::PENDBASER, Width::Halves),
    ("INVLPIR", redistributor::INVLPIR, Width::Double),
    ("INVALLR", redistributor::INVALLR, Width::Double),
    ("SYNCR", redistributor::SYNCR, Width::Word),
];

#[cfg(test)]
mod tests {
    use super::*;
    use quickcheck::quickcheck;

    #[test]
    fn names_agree_with_the_architecture() {
        for (name, offset, size) in registers(Frame::ItsControl(0)) {
            let selected = Register::select(u64::from(offset), size.bytes());
            assert!(selected.is_some(), "{name} is no register");
            assert!(!matches!(selected, Some((Register::Reserved(_), _))), "{name}");
        }
    }

    /// The place in the list stands in the binary form.
    #[test]
    fn frames_keep_their_numbers() {
        let names = FRAMES.map(|(_, name)| name);
        let expected =
            ["its0", "translation0", "redistributor0", "redistributor1", "its1", "translation1"];
        assert_eq!(names[..6], expected);
    }

    #[test]
    fn names_lead_back() {
        for (frame, _) in FRAMES {
            for (name, offset, size) in registers(frame) {
                let target = Target { frame, offset, size };
                assert_eq!(target.register_name().as_deref(), Some(&*name));
                assert_eq!(Target::unpack(target.pack()), target);
            }
        }
        let creadr_high =
            Target { frame: Frame::ItsControl(0), offset: 0x94, size: AccessSize::Word };
        assert_eq!(creadr_high.register_name().unwrap(), "CREADR.high");
        let bytes = Target { size: AccessSize::Byte, ..creadr_high };
        assert_eq!(bytes.register_name(), None);
    }

    quickcheck! {
        fn any_word_is_within_a_frame(word: u64) -> bool {
            let target = Target::unpack(word);
            target.offset < frame_bytes(target.frame) && Target::unpack(target.pack()) == target
        }
    }
}
