// SPDX-License-Identifier: MIT OR Apache-2.0
//! Mappings at chosen addresses, and mappings that are moved.

use super::{Mapping, Prot, backend};
use crate::errno::{Context, Result};
use crate::file::Fd;
use crate::memory::Sharing;

impl Mapping {
    /// Reserves `len` bytes of address space at an address that is `residue` modulo `period`. Both are multiples of the
    /// page size, and `period` is a power of two. The range has no access rights; another mapping can replace it.
    ///
    /// # Errors
    /// Fails as mmap(2).
    pub fn reserve_at(len: usize, residue: u64, period: u64) -> Result<Mapping> {
        let reserved = Mapping::anonymous(len + period as usize, Prot::None)?;
        let skipped = residue.wrapping_sub(reserved.at) % period;
        let (_, rest) = reserved.split(skipped as usize);
        Ok(rest.split(len).0)
    }

    /// Moves the first `len` bytes to the address of `place`, which is at least as long, and unmaps the rest.
    ///
    /// # Errors
    /// Fails as mremap(2). After a failure the mapping is unchanged, but `place` is lost.
    pub fn move_to(&mut self, place: Mapping, len: usize) -> Result<()> {
        assert!(
            len > 0 && len <= self.len && len <= place.len,
            "cannot move {len} of {} bytes to {} bytes",
            self.len,
            place.len
        );
        let (place, _) = place.split(len);
        let to = std::mem::ManuallyDrop::new(place).at;
        // SAFETY: both ranges are mappings of this process that nothing points into, and `place` ends here.
        unsafe { backend::remap_to(self.at, self.len, len, to) }
            .context(|| format!("move {} bytes at {:#x} to {to:#x}", self.len, self.at))?;
        self.at = to;
        self.len = len;
        Ok(())
    }

    /// Moves the pages to a new mapping and keeps this mapping without them (`MREMAP_DONTUNMAP`).
    ///
    /// # Errors
    /// Fails as mremap(2).
    pub fn remap_dontunmap(&self) -> Result<Mapping> {
        // SAFETY: the range is this mapping's own, and the new one uses free address space.
        unsafe { backend::remap_dontunmap(self.at, self.len) }
            .map(|at| Mapping { at, len: self.len })
            .context(|| format!("move {} bytes out of {:#x}", self.len, self.at))
    }

    /// Maps `len` bytes of `fd` from byte `offset`, at an address that is `residue` modulo `period` (see
    /// [`Mapping::reserve_at`]). `residue` need not be a multiple of the page size, but then the kernel should refuse.
    ///
    /// # Errors
    /// Fails as mmap(2).
    pub fn of_at(
        fd: &Fd,
        offset: u64,
        len: usize,
        prot: Prot,
        sharing: Sharing,
        (residue, period): (u64, u64),
    ) -> Result<Mapping> {
        let in_page = residue % crate::page_size() as u64;
        if in_page == 0 {
            return Mapping::reserve_at(len, residue, period)?.replace(fd, offset, prot, sharing);
        }
        let room = Mapping::reserve_at(len + crate::page_size(), residue - in_page, period)?;
        let at = room.at + in_page;
        super::map_at(at, len, fd, offset, prot, sharing)?;
        Ok(Mapping { at, len })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{memfd, page_size};

    #[test]
    fn a_mapping_gets_the_chosen_address() {
        let page = page_size();
        let file = memfd("moves", 4 * page as u64).unwrap();
        let (page64, period) = (page as u64, 64 * page as u64);
        let (prot, sharing) = (Prot::ReadWrite, Sharing::Shared);
        let at = (3 * page64, period);
        let mut map = Mapping::of_at(&file, 0, 3 * page, prot, sharing, at).unwrap();
        assert_eq!(map.address() % period, 3 * page64);
        let unaligned = Mapping::of_at(&file, 0, page, prot, sharing, (1, period));
        assert_eq!(unaligned.err().map(|error| error.errno), Some(crate::Errno::EINVAL));
        map.store::<u64>(page, 7);
        let place = Mapping::reserve_at(4 * page, page64, period).unwrap();
        map.move_to(place, 2 * page).unwrap();
        assert_eq!((map.address() % period, map.len()), (page64, 2 * page));
        assert_eq!(map.load::<u64>(page), 7);
        let moved = map.remap_dontunmap().unwrap();
        assert_eq!(moved.load::<u64>(page), 7);
        assert_eq!(map.load::<u64>(page), 7);
    }
}
