//! The descriptor of the hypercall, as it lies in its page.

use its_el2::El2;
use its_gic::geometry::PAGE_BYTES;

use crate::memory::Span;

/// Bytes in one entry of the list of live devices.
pub(crate) const LIVE_DEVICE_BYTES: u64 = 16;

/// The descriptor, unchecked. Addresses are in the host's linear map.
pub(crate) struct Descriptor {
    pub(crate) queue: u64,
    /// The host's copy of the queue.
    pub(crate) host_queue: u64,
    pub(crate) queue_bytes: u64,
    pub(crate) live_devices: u64,
    pub(crate) list: u64,
    /// By n of `GITS_BASER<n>`.
    pub(crate) tables: [DescribedTable; 8],
}

/// What the descriptor says of one `GITS_BASER<n>`.
pub(crate) struct DescribedTable {
    pub(crate) base: u64,
    /// The host's copy of a level-1 table.
    pub(crate) shadow: u64,
    /// The register.
    pub(crate) value: u64,
    /// The table has 2^order pages of 4 KiB.
    pub(crate) order: u32,
    /// Bytes in an ITS page.
    pub(crate) page_bytes: u32,
}

impl Descriptor {
    /// Copies it out of its page, each word once.
    pub(crate) fn read<E: El2>(el2: &E, address: u64) -> Self {
        let word = |offset: u64| el2.read_word(address.wrapping_add(offset));
        Self {
            queue: word(0x00),
            host_queue: word(0x08),
            queue_bytes: word(0x10),
            live_devices: word(0x18),
            list: word(0x20),
            tables: core::array::from_fn(|n| {
                let table = |offset: u64| {
                    word((n as u64).wrapping_mul(0x20).wrapping_add(0x40).wrapping_add(offset))
                };
                let shape = table(0x18);
                DescribedTable {
                    base: table(0x00),
                    shadow: table(0x08),
                    value: table(0x10),
                    order: shape as u32,
                    page_bytes: (shape >> 32) as u32,
                }
            }),
        }
    }
}

/// `bytes` (at least 1) from an address in the host's linear map on, which is a page boundary: all
/// in the linear map and in one region of memory.
pub(crate) fn linear_span<E: El2>(el2: &E, linear: u64, bytes: u64) -> Option<Span> {
    let address = el2.physical(linear)?;
    let beyond_first = bytes.checked_sub(1)?;
    let last = el2.physical(linear.checked_add(beyond_first)?)?;
    let span = Span { address, bytes };
    let aligned = linear.is_multiple_of(PAGE_BYTES) && address.is_multiple_of(PAGE_BYTES);
    let in_one_piece = last == address.checked_add(beyond_first)?;
    (aligned && in_one_piece && el2.is_memory(address, bytes)).then_some(span)
}
