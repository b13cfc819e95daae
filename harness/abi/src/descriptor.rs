//! The descriptor of a set-up: told as read, with what it names, where loads are not seen; and put into the emulation's own layout where that is
//! not POLICY.md's, so that whatever the host wrote reaches it.
//!
//! The layout changes when the emulation first reads the descriptor: until then the page is the host's, who may still write
//! there. Where the set-up fails the host gets back what it wrote.

use std::cell::Cell;

use its_el2::{Mapped, PageWords};
use its_gic::Baser;
use its_gic::geometry::{PAGE_BYTES, Pages};

use crate::OBSERVED;
use crate::interface::{SetUp, Table};
use crate::services::Services;

/// Where the emulation says how it wants its set-ups.
const DESCRIBED: bool = cfg!(described);

/// The descriptor's word at which the tables begin.
const TABLES: usize = 8;
/// Bytes of a live device in the list.
const LIVE_BYTES: u64 = 16;
/// The most pages of the list, and of a level-1 table, that are told as read.
const MOST_PAGES: usize = 1 << MOST_ORDER;
const MOST_ORDER: u32 = 4;

/// A descriptor, by the arguments of the hypercall.
pub(crate) struct Descriptor {
    arguments: [u64; 4],
    page: u64,
    /// What the host wrote, once the page has the emulation's layout.
    ours: Cell<Option<PageWords>>,
}

impl Descriptor {
    /// The one that a set-up is about, if something is to be done about it and it lies in memory.
    pub(crate) fn new(el2: &impl Mapped, arguments: [u64; 4]) -> Option<Self> {
        if OBSERVED && !DESCRIBED {
            return None;
        }
        let address = el2.physical(arguments[2])?;
        Some(Self { arguments, page: address / PAGE_BYTES, ours: Cell::new(None) })
    }

    pub(crate) const fn page(&self) -> u64 {
        self.page
    }

    /// Whether it is still as the host wrote it.
    pub(crate) fn is_ours(&self) -> bool {
        self.ours.get().is_none()
    }

    /// Tells it as read, and puts it into the emulation's layout.
    pub(crate) fn put_in_its_layout(&self, el2: &dyn Services) {
        let ours = el2.page_words(self.page);
        self.ours.set(Some(ours));
        el2.tell_page_read(self.page, &ours);
        let (_, theirs) = describe(self.arguments, &ours);
        el2.put_page_words(self.page, &theirs);
    }

    /// Before the call: where loads are not seen, what the emulation needs is told as read.
    pub(crate) fn tell(&self, el2: &impl Mapped, services: &dyn Services) {
        if OBSERVED {
            return;
        }
        let ours = set_up(self.arguments, &el2.page_words(self.page));
        self.put_in_its_layout(services);
        let list = (ours.live_list, ours.live_devices.saturating_mul(LIVE_BYTES));
        let level1 = ours.tables.iter().filter_map(|table| {
            let is_level1 = Baser::from_bits(table.baser).indirect();
            is_level1.then_some((table.base, PAGE_BYTES << table.order.min(MOST_ORDER)))
        });
        for (start, bytes) in level1.chain([list]) {
            let Some(start) = el2.physical(start) else {
                continue;
            };
            for page in Pages::under(start, bytes).iter().take(MOST_PAGES) {
                el2.tell_page_read(page, &el2.page_words(page));
            }
        }
    }

    /// After a set-up that failed: the page as the host wrote it, unless EL2 left something there.
    pub(crate) fn give_back(&self, el2: &impl Mapped) {
        let Some(ours) = self.ours.get() else {
            return;
        };
        let (_, theirs) = describe(self.arguments, &ours);
        if el2.page_words(self.page) == theirs {
            el2.put_page_words(self.page, &ours);
        }
    }
}

/// The arguments as the emulation wants them.
pub(crate) fn arguments(el2: &impl Mapped, ours: [u64; 4]) -> [u64; 4] {
    if !DESCRIBED {
        return ours;
    }
    let page = el2.physical(ours[2]).map(|address| address / PAGE_BYTES);
    let words = page.map_or([0; _], |page| el2.page_words(page));
    describe(ours, &words).0
}

/// Arguments and descriptor page as the emulation wants them.
#[cfg(described)]
fn describe(arguments: [u64; 4], words: &PageWords) -> ([u64; 4], PageWords) {
    let mut described = ([0; 4], [0; _]);
    crate::subject::alone("its_subject_describe", || {
        // What C is given pointers to lies on its own stack.
        let ours = std::hint::black_box(set_up(arguments, words));
        let (mut theirs, mut page): ([u64; 4], PageWords) = described;
        // SAFETY: the emulation's function, on a stack of its own; the pointers are valid meanwhile, and to so many words.
        unsafe {
            crate::interface::its_subject_describe(&ours, page.as_mut_ptr(), theirs.as_mut_ptr());
        }
        described = (theirs, page);
        0
    });
    described
}

/// They are ours.
#[cfg(not(described))]
fn describe(arguments: [u64; 4], words: &PageWords) -> ([u64; 4], PageWords) {
    (arguments, *words)
}

/// What the host wants to be set up, in C's words.
fn set_up([control, private_pages, descriptor, pages]: [u64; 4], words: &PageWords) -> SetUp {
    let table = |n: usize| {
        let at = TABLES + 4 * n;
        Table {
            base: words[at],
            host_level1: words[at + 1],
            baser: words[at + 2],
            order: words[at + 3] as u32,
            page_bytes: (words[at + 3] >> 32) as u32,
        }
    };
    SetUp {
        control,
        private_pages,
        descriptor,
        pages,
        queue: words[0],
        host_queue: words[1],
        queue_bytes: words[2],
        live_devices: words[3],
        live_list: words[4],
        tables: std::array::from_fn(table),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_set_up_is_told_by_the_words_of_the_descriptor() {
        let words: PageWords = std::array::from_fn(|index| index as u64 | (index as u64) << 32);
        let told = set_up([1, 2, 3, 4], &words);
        let number = |index: u64| index | index << 32;
        assert_eq!((told.control, told.pages), (1, 4));
        assert_eq!((told.queue, told.live_list), (number(0), number(4)));
        let last = told.tables[7];
        assert_eq!((last.base, last.baser), (number(36), number(38)));
        assert_eq!((last.order, last.page_bytes), (39, 39));
    }
}
