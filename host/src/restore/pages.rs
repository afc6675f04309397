use std::collections::HashMap;

use lockkeeper_ltx::Pgno;

/// Pages per part of a [`PageSet`].
const PART_PAGES: u32 = 4096;

/// Page numbers. Memory grows with the pages in it, not with the largest number, which comes from
/// files that may lie.
#[derive(Default)]
pub(super) struct PageSet(HashMap<u32, Box<[u64; PART_PAGES as usize / 64]>>);

impl PageSet {
    /// Adds a page; false if it was there.
    pub(super) fn insert(&mut self, pgno: Pgno) -> bool {
        let (part, word, bit) = Self::place(pgno.get());
        let words = self
            .0
            .entry(part)
            .or_insert_with(|| Box::new([0; PART_PAGES as usize / 64]));
        let Some(word) = words.get_mut(word) else {
            return false;
        };
        let is_new = *word & bit == 0;
        *word |= bit;
        is_new
    }

    fn contains(&self, pgno: u32) -> bool {
        let (part, word, bit) = Self::place(pgno);
        let word = self.0.get(&part).and_then(|words| words.get(word));
        word.is_some_and(|word| word & bit != 0)
    }

    /// The first page up to `commit` that is not in the set and not the lock page.
    pub(super) fn first_missing(&self, commit: u32, lock_page: Pgno) -> Option<u32> {
        (1..=commit).find(|&pgno| pgno != lock_page.get() && !self.contains(pgno))
    }

    fn place(pgno: u32) -> (u32, usize, u64) {
        let within = pgno % PART_PAGES;
        (
            pgno / PART_PAGES,
            (within / 64) as usize,
            1 << (within % 64),
        )
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use super::*;

    #[test]
    fn a_missing_page_is_found_and_the_lock_page_is_none() {
        let mut set = PageSet::default();
        let lock_page = Pgno::new(16_385).unwrap();
        for n in (1..=40_000).filter(|&n| n != 16_385 && n != 33_000) {
            set.insert(Pgno::new(n).unwrap());
        }
        assert_eq!(set.first_missing(32_999, lock_page), None);
        assert_eq!(set.first_missing(40_000, lock_page), Some(33_000));
        assert_eq!(
            PageSet::default().first_missing(u32::MAX, lock_page),
            Some(1)
        );
        assert_eq!(PageSet::default().first_missing(0, lock_page), None);
    }
}
