// SPDX-License-Identifier: GPL-2.0-or-later
//! Remembers the physical pages of the kernel's mappings, such as those of vmalloc(), for machines on which the plugin
//! does not walk page tables.

/// The physical page at which each virtual page was last used. A page that was never used needs no cache maintenance.
pub struct MappedPages {
    /// First address that is not remembered.
    end: u64,
    /// Position of the lowest bit of a page number.
    shift: u32,
    /// Physical page number by virtual page number. `u32::MAX` if the page was never used.
    pages: Box<[u32]>,
}

impl MappedPages {
    /// Returns an empty record of the addresses below `end`, for pages of `page` bytes.
    pub fn new(end: u64, page: u64) -> MappedPages {
        let shift = page.trailing_zeros();
        MappedPages { end, shift, pages: vec![u32::MAX; (end >> shift) as usize].into() }
    }

    /// Records an access. Code that runs with address translation off uses physical addresses, which are not recorded.
    pub fn record(&mut self, address: u64, physical: u64) {
        if address < self.end && address != physical {
            self.pages[(address >> self.shift) as usize] = (physical >> self.shift) as u32;
        }
    }

    /// Returns the physical address at which an address was last used.
    pub fn physical(&self, address: u64) -> Option<u64> {
        let page = *self.pages.get((address >> self.shift) as usize)?;
        let offset = address & ((1 << self.shift) - 1);
        (page != u32::MAX).then(|| u64::from(page) << self.shift | offset)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_use_of_a_page_counts() {
        let mut mapped = MappedPages::new(0x1000_0000, 4096);
        assert_eq!(mapped.physical(0x8010), None);
        mapped.record(0x8010, 0x12_3010);
        mapped.record(0x9000, 0x12_4000);
        assert_eq!(mapped.physical(0x8ffc), Some(0x12_3ffc));
        // The page was unmapped, and another one was mapped there.
        mapped.record(0x8000, 0x45_6000);
        assert_eq!(mapped.physical(0x8010), Some(0x45_6010));
    }

    #[test]
    fn physical_addresses_are_not_remembered() {
        let mut mapped = MappedPages::new(0x1000_0000, 4096);
        mapped.record(0x8010, 0x12_3010);
        mapped.record(0x8010, 0x8010);
        assert_eq!(mapped.physical(0x8010), Some(0x12_3010));
    }

    #[test]
    fn addresses_in_other_mappings_are_not_remembered() {
        let mut mapped = MappedPages::new(0x1000_0000, 4096);
        // The linear mapping, and the address of a process.
        for address in [0x1000_3000, 0x4a00_0000_8000] {
            mapped.record(address, 0x12_3000);
            assert_eq!(mapped.physical(address), None);
        }
        assert_eq!(MappedPages::new(0, 4096).physical(0), None);
    }
}
