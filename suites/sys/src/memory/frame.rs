// SPDX-License-Identifier: MIT OR Apache-2.0
//! The page frames behind a mapping.

use super::Mapping;
use crate::errno::Result;
use crate::file::{Fd, OpenFlags};
use crate::machine::{big_endian, page_size};

impl Mapping {
    /// Returns the frame number of the page that contains byte `offset`, or `None` if this process has no page there
    /// yet. The number is 0 without CAP_SYS_ADMIN.
    ///
    /// # Errors
    /// Fails as open(2) or pread(2) on `/proc/self/pagemap`.
    pub fn frame(&self, offset: usize) -> Result<Option<u64>> {
        self.check(offset, 1);
        let pagemap = Fd::open("/proc/self/pagemap", OpenFlags::READ)?;
        let mut entry = [0; 8];
        let page = (self.at + offset as u64) / page_size() as u64;
        pagemap.read_at(&mut entry, page * 8)?;
        let entry = match big_endian() {
            true => u64::from_be_bytes(entry),
            false => u64::from_le_bytes(entry),
        };
        Ok(frame_of(entry))
    }
}

/// Decodes an entry of a pagemap: bit 63 is set if a page is present, and bits 0 to 54 are its frame number
/// (Documentation/admin-guide/mm/pagemap.rst).
fn frame_of(entry: u64) -> Option<u64> {
    (entry >> 63 == 1).then_some(entry & ((1 << 55) - 1))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Prot;

    #[test]
    fn an_entry_has_a_number_if_a_page_is_present() {
        // Bit 55 is the soft-dirty bit, and bit 62 is set for a swapped page.
        assert_eq!(frame_of(0x8180_0000_0001_2345), Some(0x1_2345));
        assert_eq!(frame_of(0x4000_0000_0001_2345), None);
        assert_eq!(frame_of(0), None);
    }

    #[test]
    fn a_page_is_present_after_a_touch() {
        let mapping = Mapping::anonymous(2 * page_size(), Prot::ReadWrite).unwrap();
        mapping.store(page_size() + 8, 1u8);
        assert_eq!(mapping.frame(8).unwrap(), None);
        assert!(mapping.frame(page_size()).unwrap().is_some());
    }
}
