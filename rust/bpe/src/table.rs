//! The memory of a hash table of some megabytes: zero at first, on huge pages where the system has them.
//!
//! A table that is filled in no order touches every page of it at once; with pages of 4 KB that is a thousand faults for 4 MB,
//! which cost as much as encoding a megabyte.

use memmap2::MmapMut;

/// A set of a table: two slots of four words, all zero where nothing is.
pub type Set = [[u64; 4]; 2];

/// See the file's head. Empty until [`Table::make`], and where there is no memory.
#[derive(Default)]
pub struct Table {
    memory: Option<MmapMut>,
}

impl Table {
    /// Makes room for `sets` if there is none; where the system has no memory left the table stays empty.
    pub fn make(&mut self, sets: usize) {
        if self.memory.is_some() {
            return;
        }
        let memory = MmapMut::map_anon(sets * size_of::<Set>()).ok();
        #[cfg(target_os = "linux")]
        if let Some(memory) = &memory {
            // A hint: a kernel that does not know it goes on with small pages.
            let _ = memory.advise(memmap2::Advice::HugePage);
        }
        self.memory = memory;
    }

    /// Every set.
    #[inline(always)]
    pub fn get(&self) -> &[Set] {
        match &self.memory {
            // SAFETY: a mapping begins at a page, so it is aligned for words, and any bytes are valid words; the length counts whole sets.
            Some(memory) => unsafe {
                std::slice::from_raw_parts(memory.as_ptr().cast(), memory.len() / size_of::<Set>())
            },
            None => &[],
        }
    }

    /// The same, to change.
    #[inline]
    pub fn get_mut(&mut self) -> &mut [Set] {
        match &mut self.memory {
            // SAFETY: as above, and the mapping is borrowed mutably for as long.
            Some(memory) => unsafe {
                std::slice::from_raw_parts_mut(memory.as_mut_ptr().cast(), memory.len() / size_of::<Set>())
            },
            None => &mut [],
        }
    }

    /// Forgets everything.
    pub fn clear(&mut self) {
        self.get_mut().fill([[0; 4]; 2]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_is_zero_keeps_what_is_put_and_forgets_it() {
        let mut table = Table::default();
        assert!(table.get().is_empty());
        table.make(1 << 12);
        assert_eq!(table.get().len(), 1 << 12);
        assert!(table.get().iter().all(|set| *set == [[0; 4]; 2]));
        table.get_mut()[4095] = [[7; 4]; 2];
        table.make(1 << 12);
        assert_eq!(table.get()[4095], [[7; 4]; 2]);
        table.clear();
        assert_eq!(table.get()[4095], [[0; 4]; 2]);
    }
}
