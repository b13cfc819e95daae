//! The descriptor of a set-up: reported as read, with what it names, where loads are not seen; and
//! put into the emulation's own layout where that is not POLICY.md's, so that whatever the host
//! wrote reaches it.
//!
//! The layout changes when the emulation first reads the descriptor: until then the page is the
//! host's, who may still write there. Where loads are not seen it changes before the call, if the
//! page is the host's alone, and again when the emulation has taken the page. The host gets back
//! what it wrote as soon as the page is its own again. Several calls may be about one page:
//! [`Layouts`] keeps what the host wrote there, so that nothing is put into the layout twice.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::rc::Rc;

use its_el2::{Mapped, PageWords};
use its_gic::Baser;
use its_gic::geometry::{PAGE_BYTES, Pages};
use its_machine::{El2Side, PageState};

use crate::OBSERVED;
use crate::interface::{SetUp, Table};
use crate::services::Services;

/// Where the emulation says how it wants its set-ups.
const DESCRIBED: bool = cfg!(described);

/// The descriptor's word at which the tables begin.
const TABLES: usize = 8;
/// Bytes of a live device in the list.
const LIVE_BYTES: u64 = 16;
/// The most pages of the list, and of a level-1 table, that are reported as read.
const MOST_PAGES: usize = 1 << MOST_ORDER;
const MOST_ORDER: u32 = 4;

/// A page in the emulation's layout.
struct LaidOut {
    /// What the host wrote.
    ours: PageWords,
    theirs: PageWords,
}

/// The pages that calls of one emulation put into its layout, and did not give back yet.
#[derive(Clone, Default)]
pub(crate) struct Layouts(Rc<RefCell<BTreeMap<u64, LaidOut>>>);

impl Layouts {
    /// What the host wrote into a page that holds these words: a word that is not as it was laid
    /// out was written since.
    fn host_words(&self, page: u64, held: &PageWords) -> PageWords {
        let pages = self.0.borrow();
        let Some(laid_out) = pages.get(&page) else {
            return *held;
        };
        let words = held.iter().zip(&laid_out.theirs).zip(&laid_out.ours);
        let mut written = *held;
        for (word, ((held, theirs), ours)) in written.iter_mut().zip(words) {
            if held == theirs {
                *word = *ours;
            }
        }
        written
    }

    /// A page gets the emulation's layout of what the host wrote; returns that.
    fn lay_out(
        &self,
        page: u64,
        held: &PageWords,
        describe: impl FnOnce(&PageWords) -> PageWords,
    ) -> PageWords {
        let ours = self.host_words(page, held);
        let theirs = describe(&ours);
        self.0.borrow_mut().insert(page, LaidOut { ours, theirs });
        theirs
    }

    /// A page that holds these words is the host's again; returns what it must hold then.
    fn give_back(&self, page: u64, held: &PageWords) -> PageWords {
        let written = self.host_words(page, held);
        self.0.borrow_mut().remove(&page);
        written
    }

    /// Whether a page is as it was laid out.
    fn is_untouched(&self, page: u64, held: &PageWords) -> bool {
        self.0.borrow().get(&page).is_some_and(|laid_out| laid_out.theirs == *held)
    }
}

/// A descriptor, by the arguments of the hypercall.
pub(crate) struct Descriptor {
    arguments: [u64; 4],
    page: u64,
    layouts: Layouts,
    /// This call put the page into the emulation's layout.
    laid_out: Cell<bool>,
}

impl Descriptor {
    /// The one that a set-up is about, if something is to be done about it and it lies in memory.
    pub(crate) fn new(el2: &impl Mapped, arguments: [u64; 4], layouts: &Layouts) -> Option<Self> {
        if OBSERVED && !DESCRIBED {
            return None;
        }
        let page = el2.physical(arguments[2])? / PAGE_BYTES;
        Some(Self { arguments, page, layouts: layouts.clone(), laid_out: Cell::new(false) })
    }

    fn lay_out(&self, el2: &dyn Services) {
        self.laid_out.set(true);
        let describe = |ours: &PageWords| describe(self.arguments, ours).1;
        let theirs = self.layouts.lay_out(self.page, &el2.page_words(self.page), describe);
        el2.put_page_words(self.page, &theirs);
    }

    /// The emulation was seen to load from these pages. Its first load from the descriptor is
    /// reported as one of what the host wrote, and finds the emulation's layout.
    pub(crate) fn loaded(&self, pages: Pages, el2: &dyn Services) {
        if !OBSERVED || self.laid_out.get() || !pages.contains(self.page) {
            return;
        }
        let ours = self.layouts.host_words(self.page, &el2.page_words(self.page));
        el2.report_page_read(self.page, &ours);
        self.lay_out(el2);
    }

    /// The emulation took these pages. Until then the host could write there, and another call be
    /// about the page.
    pub(crate) fn taken(&self, pages: Pages, el2: &dyn Services) {
        if !OBSERVED && pages.contains(self.page) {
            self.lay_out(el2);
        }
    }

    /// The emulation gave these pages back, before anybody else can look: as the host wrote it,
    /// unless EL2 left something there.
    pub(crate) fn reclaimed(&self, pages: Pages, el2: &dyn Services) {
        let held = el2.page_words(self.page);
        let is_ours = self.laid_out.get() && pages.contains(self.page);
        if is_ours && self.layouts.is_untouched(self.page, &held) {
            self.laid_out.set(false);
            el2.put_page_words(self.page, &self.layouts.give_back(self.page, &held));
        }
    }

    /// Before the call: where loads are not seen, what the emulation needs is reported as read.
    pub(crate) fn report(&self, el2: &impl Mapped, services: &dyn Services) {
        if OBSERVED {
            return;
        }
        let words = self.layouts.host_words(self.page, &el2.page_words(self.page));
        let ours = set_up(self.arguments, &words);
        el2.report_page_read(self.page, &words);
        // What is not the host's alone cannot be taken, and may be in use.
        if el2.page_state(self.page) == Some(PageState::HOST) {
            self.lay_out(services);
        }
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
                el2.report_page_read(page, &el2.page_words(page));
            }
        }
    }

    /// After the call: where the page is the host's, it holds what that wrote.
    pub(crate) fn end(&self, el2: &impl Mapped) {
        let state = el2.page_state(self.page);
        let is_in_use = state.is_some_and(|state| state.el2 == El2Side::Owned);
        if !self.laid_out.get() || is_in_use {
            return;
        }
        let ours = self.layouts.give_back(self.page, &el2.page_words(self.page));
        if state.is_some_and(PageState::host_can_store) {
            el2.put_page_words(self.page, &ours);
        }
    }
}

/// The arguments as the emulation wants them.
pub(crate) fn arguments(el2: &impl Mapped, ours: [u64; 4], layouts: &Layouts) -> [u64; 4] {
    if !DESCRIBED {
        return ours;
    }
    let page = el2.physical(ours[2]).map(|address| address / PAGE_BYTES);
    let words = page.map_or([0; _], |page| layouts.host_words(page, &el2.page_words(page)));
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
        // SAFETY: the emulation's function, on a stack of its own; the pointers are valid
        // meanwhile, and to so many words.
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

    const PAGE: u64 = 5;

    /// A layout in which every word is one more.
    fn one_more(ours: &PageWords) -> PageWords {
        ours.map(|word| word.wrapping_add(1))
    }

    fn host_wrote() -> PageWords {
        std::array::from_fn(|index| 10 * index as u64)
    }

    #[test]
    fn two_calls_about_one_page_lay_it_out_once() {
        let (layouts, ours) = (Layouts::default(), host_wrote());
        let first = layouts.lay_out(PAGE, &ours, one_more);
        let second = layouts.lay_out(PAGE, &first, one_more);
        assert_eq!(second, one_more(&ours));
        assert_eq!(layouts.host_words(PAGE, &second), ours);
        assert_eq!(layouts.give_back(PAGE, &second), ours);
        // Nothing is left of it: the host writes what looks like the emulation's layout.
        assert_eq!(layouts.lay_out(PAGE, &second, one_more), one_more(&second));
    }

    #[test]
    fn what_the_host_writes_meanwhile_is_its_own() {
        let (layouts, mut ours) = (Layouts::default(), host_wrote());
        let mut held = layouts.lay_out(PAGE, &ours, one_more);
        (held[3], ours[3]) = (77, 77);
        assert!(!layouts.is_untouched(PAGE, &held));
        assert_eq!(layouts.lay_out(PAGE, &held, one_more), one_more(&ours));
        assert_eq!(layouts.give_back(PAGE, &one_more(&ours)), ours);
    }

    #[test]
    fn pages_and_emulations_are_independent() {
        let (layouts, ours) = (Layouts::default(), host_wrote());
        let theirs = layouts.lay_out(PAGE, &ours, one_more);
        assert_eq!(layouts.host_words(PAGE + 1, &theirs), theirs);
        assert_eq!(Layouts::default().host_words(PAGE, &theirs), theirs);
    }

    #[test]
    fn a_set_up_is_made_of_the_words_of_the_descriptor() {
        let words: PageWords = std::array::from_fn(|index| index as u64 | (index as u64) << 32);
        let made = set_up([1, 2, 3, 4], &words);
        let number = |index: u64| index | index << 32;
        assert_eq!((made.control, made.pages), (1, 4));
        assert_eq!((made.queue, made.live_list), (number(0), number(4)));
        let last = made.tables[7];
        assert_eq!((last.base, last.baser), (number(36), number(38)));
        assert_eq!((last.order, last.page_bytes), (39, 39));
    }
}
