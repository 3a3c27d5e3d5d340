// SPDX-License-Identifier: MIT OR Apache-2.0
//! Numbers of the kernel's interface for the types of this crate. They differ between architectures; the backend
//! provides them.

use crate::backend::number;
use crate::file::OpenFlags;
use crate::fs::MountFlags;
use crate::memory::{Prot, Sharing};

impl OpenFlags {
    /// Returns the flags for open(2).
    pub(crate) fn number(self) -> i32 {
        let access = match (self.contains(OpenFlags::READ), self.contains(OpenFlags::WRITE)) {
            (true, true) => number!(O_RDWR),
            (false, true) => number!(O_WRONLY),
            _ => number!(O_RDONLY),
        };
        let others = [
            (OpenFlags::CREATE, number!(O_CREAT)),
            (OpenFlags::TRUNCATE, number!(O_TRUNC)),
            (OpenFlags::APPEND, number!(O_APPEND)),
            (OpenFlags::NONBLOCK, number!(O_NONBLOCK)),
            (OpenFlags::NO_TERMINAL, number!(O_NOCTTY)),
        ];
        others
            .iter()
            .filter(|(flag, _)| self.contains(*flag))
            .fold(access | number!(O_CLOEXEC), |bits, (_, bit)| bits | bit)
    }
}

impl MountFlags {
    /// Returns the flags for mount(2).
    pub(crate) fn number(self) -> u32 {
        let bits = [
            (MountFlags::NO_SUID, number!(MS_NOSUID) as u32),
            (MountFlags::NO_DEV, number!(MS_NODEV) as u32),
        ];
        bits.iter().filter(|(flag, _)| self.contains(*flag)).fold(0, |bits, (_, bit)| bits | bit)
    }
}

impl Prot {
    /// Returns the protection for mmap(2) and mprotect(2).
    pub(crate) fn number(self) -> i32 {
        match self {
            Prot::None => number!(PROT_NONE),
            Prot::Read => number!(PROT_READ),
            Prot::ReadWrite => number!(PROT_READ) | number!(PROT_WRITE),
        }
    }
}

impl Sharing {
    /// Returns the flag for mmap(2).
    pub(crate) fn number(self) -> i32 {
        match self {
            Sharing::Shared => number!(MAP_SHARED),
            Sharing::Private => number!(MAP_PRIVATE),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::process::Signal;

    #[test]
    fn numbers_and_signals_agree() {
        assert_eq!(Signal::of_number(libc::SIGBUS), Signal::Bus);
        assert_eq!(Signal::of_number(Signal::Kill.number()), Signal::Kill);
        assert_eq!(Signal::of_number(63), Signal::Other(63));
    }

    #[test]
    fn flags_become_bits() {
        let flags = OpenFlags::WRITE | OpenFlags::CREATE;
        assert_eq!(flags.number(), libc::O_WRONLY | libc::O_CREAT | libc::O_CLOEXEC);
        let bits = MountFlags::NO_DEV.number();
        assert_eq!(libc::c_ulong::from(bits), libc::MS_NODEV);
    }
}
