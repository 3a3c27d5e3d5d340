// SPDX-License-Identifier: MIT OR Apache-2.0
//! Mappings as buffers of read(2) and write(2).

use super::{Mapping, backend};
use crate::errno::{Context, Errno, Result, require_all};
use crate::file::Fd;

impl Mapping {
    /// Writes `len` bytes of the mapping, from byte `offset`, to `fd`: at byte `to`, or at the file position.
    ///
    /// # Errors
    /// Fails as write(2) or pwrite(2), and with `EIO` if only a part is written.
    pub fn write_to(&self, offset: usize, len: usize, fd: &Fd, to: Option<u64>) -> Result<()> {
        self.check(offset, len);
        let at = self.at + offset as u64;
        // SAFETY: bounds are checked, and the kernel only reads the bytes.
        let done = unsafe {
            match to {
                None => backend::write_from(fd.number(), at, len),
                Some(to) => backend::pwrite_from(fd.number(), at, len, to),
            }
        };
        require_all(done, len, Errno::EIO)
            .context(|| format!("write {len} bytes of a mapping to {}", place(fd, to)))
    }

    /// Reads `len` bytes of `fd`, from byte `from` or from the file position, to byte `offset` of the mapping.
    ///
    /// # Errors
    /// Fails as read(2) or pread(2), and with `EIO` if fewer bytes are read.
    pub fn read_from(&self, offset: usize, len: usize, fd: &Fd, from: Option<u64>) -> Result<()> {
        self.check(offset, len);
        let at = self.at + offset as u64;
        // SAFETY: bounds are checked; nothing in this program holds a reference into a mapping.
        let done = unsafe {
            match from {
                None => backend::read_into(fd.number(), at, len),
                Some(from) => backend::pread_into(fd.number(), at, len, from),
            }
        };
        require_all(done, len, Errno::EIO)
            .context(|| format!("read {len} bytes of {} to a mapping", place(fd, from)))
    }
}

fn place(fd: &Fd, offset: Option<u64>) -> String {
    match offset {
        None => format!("descriptor {}", fd.number()),
        Some(offset) => format!("descriptor {} at {offset:#x}", fd.number()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::memory::{Prot, Sharing};
    use crate::{memfd, page_size, pipe};

    #[test]
    fn the_kernel_reads_and_writes_a_mapping() {
        let page = page_size();
        let file = memfd("transfer", page as u64).unwrap();
        let map = Mapping::of(&file, 0, page, Prot::ReadWrite, Sharing::Shared).unwrap();
        map.copy_in(3, b"bytes");
        let (reads, writes) = pipe().unwrap();
        map.write_to(3, 5, &writes, None).unwrap();
        map.read_from(100, 5, &reads, None).unwrap();
        let other = memfd("other", 0).unwrap();
        map.write_to(100, 5, &other, Some(7)).unwrap();
        map.read_from(200, 4, &other, Some(8)).unwrap();
        let mut found = [0; 4];
        map.copy_out(200, &mut found);
        assert_eq!(&found, b"ytes");
        let error = map.read_from(0, 9, &other, Some(8)).unwrap_err();
        assert_eq!(error.errno, Errno::EIO);
    }
}
