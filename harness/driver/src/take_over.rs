//! What the driver does when EL2 takes the ITS over.

use its_gic::Baser;
use its_gic::geometry::LEVEL1_ENTRY_BYTES;
use its_gic::register::BASER_COUNT;
use its_machine::{Area, Hypercall, Outcome};

use crate::Perform;
use crate::driver::{Acting, Driver};

/// Devices that the list of one page has room for.
const LISTED_DEVICES: usize = 256;

impl Driver {
    /// Returns the copies of level-1 tables, of devices and of collections.
    fn level1_copies(&self) -> [Area; 2] {
        [Area::DEVICE_TABLE_COPY, Area::COLLECTION_TABLE_COPY].map(|area| self.area(area))
    }
}

impl<P: Perform> Acting<'_, P> {
    /// Drains the queue, writes the descriptor, copies what it will keep a copy of, and goes on in
    /// the copies.
    pub fn describe(&mut self) {
        self.drain();
        self.write_descriptor();
        self.level1 = self.level1_copies().map(Area::address);
        for (table, index, entry) in self.level1_entries.clone() {
            let address = self.level1[table] + index * LEVEL1_ENTRY_BYTES;
            self.store(address, entry);
        }
        self.queue.address = self.area(Area::QUEUE_COPY).address();
    }

    /// `__pkvm_prot_finalize` on one CPU.
    pub fn finalize(&mut self) -> Outcome {
        self.hypercall(Hypercall::ProtFinalize, [0; 4])
    }

    /// `__pkvm_init_its_emulation` with the descriptor that was written.
    pub fn set_up(&mut self) -> Outcome {
        let arguments = [
            self.control_frame(),
            self.linear(self.boot.private_place(self.its).address()),
            self.linear(self.area(Area::DESCRIPTOR).address()),
            self.boot.private_pages.into(),
        ];
        self.hypercall(Hypercall::InitItsEmulation, arguments)
    }

    /// `__pkvm_init_redistributor_emulation`.
    pub fn set_up_redistributors(&mut self) -> Outcome {
        self.hypercall(Hypercall::InitRedistributorEmulation, [0; 4])
    }

    /// `__pkvm_fini_its_emulation`.
    pub fn tear_down(&mut self) -> Outcome {
        self.hypercall(Hypercall::FiniItsEmulation, [self.control_frame(), 0, 0, 0])
    }

    fn write_descriptor(&mut self) {
        let live = self.devices.len().min(LISTED_DEVICES);
        let mut words = vec![
            (0x00, self.linear(self.area(Area::QUEUE).address())),
            (0x08, self.linear(self.area(Area::QUEUE_COPY).address())),
            (0x10, self.queue.bytes),
            (0x18, live as u64),
            (0x20, self.linear(self.area(Area::LIVE_LIST).address())),
        ];
        for n in 0..u64::from(BASER_COUNT) {
            let baser = Baser::from_bits(self.basers[n as usize]);
            if !baser.valid() {
                words.push((0x50 + 0x20 * n, baser.into_bits()));
                continue;
            }
            let shadow = match self.level1_copies().get(n as usize) {
                Some(copy) if baser.indirect() => self.linear(copy.address()),
                _ => 0,
            };
            let order = (baser.bytes() >> 12).ilog2();
            let sizes = u64::from(order) | baser.page_size().bytes() << 32;
            words.push((0x40 + 0x20 * n, self.linear(baser.address())));
            words.push((0x48 + 0x20 * n, shadow));
            words.push((0x50 + 0x20 * n, baser.into_bits()));
            words.push((0x58 + 0x20 * n, sizes));
        }
        for (offset, value) in words {
            self.store(self.area(Area::DESCRIPTOR).address() + offset, value);
        }
        let listed = self.devices[..live].to_vec();
        for (index, (device_id, size, itt_address)) in (0..).zip(listed) {
            let entry = self.area(Area::LIVE_LIST).address() + index * 16;
            let word = u64::from(device_id) | u64::from(size) << 32;
            self.store(entry, word);
            self.store(entry + 8, itt_address);
        }
    }
}
