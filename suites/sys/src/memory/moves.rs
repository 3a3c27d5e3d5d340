// SPDX-License-Identifier: MIT OR Apache-2.0
//! Mappings at addresses of one's choice.

use super::{Mapping, Prot, backend};
use crate::errno::{During, Result};
use crate::file::Fd;
use crate::memory::Sharing;

impl Mapping {
    /// Memory of this process that may not be touched, to put something in its place. Its address is `residue` modulo
    /// `period`, both whole pages and `period` a power of two.
    ///
    /// # Errors
    /// What mmap(2) says.
    pub fn room_at(len: usize, residue: u64, period: u64) -> Result<Mapping> {
        let room = Mapping::anonymous(len + period as usize, Prot::None)?;
        let behind = residue.wrapping_sub(room.at) % period;
        let (_, rest) = room.split(behind as usize);
        Ok(rest.split(len).0)
    }

    /// Moves its first `len` bytes to where `place` is, which is at least as long; what was behind them is unmapped.
    ///
    /// # Errors
    /// What mremap(2) says. It is then where it was, but nothing is in `place` any more.
    pub fn move_to(&mut self, place: Mapping, len: usize) -> Result<()> {
        assert!(
            len > 0 && len <= self.len && len <= place.len,
            "move {len} bytes"
        );
        let (place, _) = place.split(len);
        let to = std::mem::ManuallyDrop::new(place).at;
        // SAFETY: both ranges are mappings of this process that nothing points into, and `place` ends here.
        unsafe { backend::remap_to(self.at, self.len, len, to) }
            .during(|| format!("move {} bytes at {:#x} to {to:#x}", self.len, self.at))?;
        self.at = to;
        self.len = len;
        Ok(())
    }

    /// Moves what is in it elsewhere and keeps the mapping itself, with nothing in it (MREMAP_DONTUNMAP).
    ///
    /// # Errors
    /// What mremap(2) says.
    pub fn leave(&self) -> Result<Mapping> {
        // SAFETY: the range is this mapping's own, and the new one is where nothing was.
        unsafe { backend::remap_leaving(self.at, self.len) }
            .map(|at| Mapping { at, len: self.len })
            .during(|| format!("move {} bytes out of {:#x}", self.len, self.at))
    }

    /// Maps `len` bytes of `fd` at an address that is `residue` modulo `period`.
    ///
    /// # Errors
    /// What mmap(2) says.
    pub fn of_at(
        fd: &Fd,
        offset: u64,
        len: usize,
        prot: Prot,
        sharing: Sharing,
        (residue, period): (u64, u64),
    ) -> Result<Mapping> {
        Mapping::room_at(len, residue, period)?.replace(fd, offset, prot, sharing)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{memfd, page_size};

    #[test]
    fn a_mapping_goes_where_it_is_told() {
        let page = page_size();
        let file = memfd("moves", 4 * page as u64).unwrap();
        let (page64, period) = (page as u64, 64 * page as u64);
        let (prot, sharing) = (Prot::ReadWrite, Sharing::Shared);
        let at = (3 * page64, period);
        let mut map = Mapping::of_at(&file, 0, 3 * page, prot, sharing, at).unwrap();
        assert_eq!(map.address() % period, 3 * page64);
        map.store::<u64>(page, 7);
        let place = Mapping::room_at(4 * page, page64, period).unwrap();
        map.move_to(place, 2 * page).unwrap();
        assert_eq!((map.address() % period, map.len()), (page64, 2 * page));
        assert_eq!(map.load::<u64>(page), 7);
        let moved = map.leave().unwrap();
        assert_eq!(moved.load::<u64>(page), 7);
        assert_eq!(map.load::<u64>(page), 7);
    }
}
