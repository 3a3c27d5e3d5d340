// SPDX-License-Identifier: MIT OR Apache-2.0
//! Ways to keep pages of a mapping alive beyond the mapping: in pipes, and as buffers of io_uring.

use super::{Mapping, backend};
use crate::errno::{Context, Errno, Result, require_all};
use crate::file::Fd;

/// io_uring instance with a registered buffer. The pages of the buffer live until this value is dropped.
#[derive(Debug)]
pub struct RegisteredBuffer(#[allow(dead_code)] Fd);

impl Mapping {
    /// Makes a pipe refer to `len` bytes of the mapping, from byte `offset` (vmsplice(2)). The pages live until the pipe
    /// is read or closed.
    ///
    /// # Errors
    /// Fails as vmsplice(2), and with `EIO` if the pipe has too little room.
    pub fn splice_to(&self, offset: usize, len: usize, pipe: &Fd) -> Result<()> {
        self.check(offset, len);
        // SAFETY: bounds are checked. The pipe can show later stores, as any mapping of shared memory does.
        let done = unsafe { backend::splice_to(pipe.number(), self.at + offset as u64, len) };
        require_all(done, len, Errno::EIO)
            .context(|| format!("splice {len} bytes of a mapping to descriptor {}", pipe.number()))
    }

    /// Registers `len` bytes of the mapping, from byte `offset`, as a buffer of a new io_uring instance.
    ///
    /// # Errors
    /// Fails as io_uring_setup(2) or io_uring_register(2): with `ENOSYS` if the kernel has no io_uring, and with
    /// `EFAULT` if the pages cannot be pinned for long.
    pub fn register_buffer(&self, offset: usize, len: usize) -> Result<RegisteredBuffer> {
        self.check(offset, len);
        // SAFETY: bounds are checked. Without requests, the kernel accesses no byte of the buffer.
        unsafe { backend::register_buffer(self.at + offset as u64, len) }
            .map(|fd| RegisteredBuffer(Fd::own(fd)))
            .context(|| format!("register {len} bytes of a mapping with io_uring"))
    }
}

/// Makes the pipe `to` refer to the first `len` bytes of the pipe `from`, which keeps them (tee(2)).
///
/// # Errors
/// Fails as tee(2), and with `EIO` if fewer bytes are available or there is too little room.
pub fn tee(from: &Fd, to: &Fd, len: usize) -> Result<()> {
    require_all(backend::tee(from.number(), to.number(), len), len, Errno::EIO)
        .context(|| format!("tee {len} bytes of a pipe"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::memory::{Prot, Sharing};
    use crate::{memfd, page_size, pipe};

    #[test]
    fn pipes_keep_pages_of_a_mapping() {
        let page = page_size();
        let file = memfd("pins", 2 * page as u64).unwrap();
        let map = Mapping::of(&file, 0, 2 * page, Prot::ReadWrite, Sharing::Shared).unwrap();
        map.copy_in(page, b"bytes");
        let (first, first_in) = pipe().unwrap();
        let (second, second_in) = pipe().unwrap();
        map.splice_to(page, page, &first_in).unwrap();
        tee(&first, &second_in, page).unwrap();
        drop((map, file, first, first_in));
        let mut found = [0; 5];
        second.read(&mut found).unwrap();
        assert_eq!(&found, b"bytes");
    }
}
