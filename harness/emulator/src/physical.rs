//! The registers of a physical ITS, each in its own size.

use its_el2::{AccessSize, El2};
use its_gic::{Baser, Cbaser, Creadr, Ctlr, Cwriter, Register};

pub(crate) struct PhysicalIts<'e, E> {
    pub(crate) el2: &'e E,
    /// Physical address of the control frame.
    address: u64,
}

impl<'e, E: El2> PhysicalIts<'e, E> {
    pub(crate) fn new(el2: &'e E, address: u64) -> Self {
        Self { el2, address }
    }

    pub(crate) fn read(&self, register: Register) -> u64 {
        self.el2.read_device(self.place(register), size(register))
    }

    pub(crate) fn write(&self, register: Register, value: u64) {
        self.el2.write_device(self.place(register), size(register), value);
    }

    pub(crate) fn ctlr(&self) -> Ctlr {
        Ctlr::from_bits(self.read(Register::Ctlr) as u32)
    }

    pub(crate) fn cbaser(&self) -> Cbaser {
        Cbaser::from_bits(self.read(Register::Cbaser))
    }

    pub(crate) fn cwriter(&self) -> Cwriter {
        Cwriter::from_bits(self.read(Register::Cwriter))
    }

    pub(crate) fn creadr(&self) -> Creadr {
        Creadr::from_bits(self.read(Register::Creadr))
    }

    pub(crate) fn baser(&self, n: u8) -> Baser {
        Baser::from_bits(self.read(Register::Baser(n)))
    }

    fn place(&self, register: Register) -> u64 {
        self.address.wrapping_add(register.offset())
    }
}

fn size(register: Register) -> AccessSize {
    if register.width() == AccessSize::Double.bytes() {
        AccessSize::Double
    } else {
        AccessSize::Word
    }
}
