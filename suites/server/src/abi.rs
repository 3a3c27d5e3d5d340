// SPDX-License-Identifier: MIT OR Apache-2.0
//! The part of the FUSE protocol that the server uses: constants and structs of `include/uapi/linux/fuse.h`, protocol
//! version 7.41, with the additions for direct mmap. Names are those of the header, without its prefixes.

use crate::wire::{Reserved, wire_structs};

/// Major version of the protocol.
pub const MAJOR: u32 = 7;
/// Minor version of the protocol.
pub const MINOR: u32 = 41;
/// Node ID of the root directory.
pub(crate) const ROOT_ID: u64 = 1;

/// Operations: values of `opcode` in a request.
pub mod op {
    #![allow(missing_docs)]
    pub const LOOKUP: u32 = 1;
    pub const FORGET: u32 = 2;
    pub const GETATTR: u32 = 3;
    pub const SETATTR: u32 = 4;
    pub const OPEN: u32 = 14;
    pub const READ: u32 = 15;
    pub const WRITE: u32 = 16;
    pub const RELEASE: u32 = 18;
    pub const FSYNC: u32 = 20;
    pub const FLUSH: u32 = 25;
    pub const INIT: u32 = 26;
    pub const OPENDIR: u32 = 27;
    pub const READDIR: u32 = 28;
    pub const RELEASEDIR: u32 = 29;
    pub const INTERRUPT: u32 = 36;
    pub const DESTROY: u32 = 38;
    pub const NOTIFY_REPLY: u32 = 41;
    pub const BATCH_FORGET: u32 = 42;
    pub const MMAP: u32 = 54;
    pub const MUNMAP: u32 = 55;
    pub const DMMAP_FAULT: u32 = 56;
    pub const DMMAP_RECLAIM: u32 = 57;
    pub const CUSE_INIT: u32 = 4096;
}

/// Notification codes: values of `error` in a message that does not reply to a request.
pub mod notify {
    #![allow(missing_docs)]
    pub const DMMAP_FREE: i32 = 10;
    pub const DMMAP_LOAD: i32 = 11;
    pub const DMMAP_SAVE: i32 = 12;
}

/// `FUSE_MMAP_RDONLY`: the mapping can never be made writable.
pub const MMAP_RDONLY: u32 = 1 << 0;
/// `FUSE_MMAP_LAZY`: the server fills each page when it is first touched.
pub const MMAP_LAZY: u32 = 1 << 1;
/// `FUSE_ASYNC_READ`: reads ahead are sent in the background.
pub(crate) const ASYNC_READ: u64 = 1 << 0;
/// `FUSE_BIG_WRITES`: a write request can be longer than a page.
pub const BIG_WRITES: u64 = 1 << 5;
/// `FUSE_MAX_PAGES`: the reply to FUSE_INIT sets the maximum length of requests.
pub(crate) const MAX_PAGES: u64 = 1 << 22;
/// `FUSE_INIT_EXT`: FUSE_INIT has a second word of flags.
pub const INIT_EXT: u64 = 1 << 30;
/// `FUSE_DMMAP`: the server can open files for direct mmap.
pub const DMMAP: u64 = 1 << 44;
/// `FUSE_DMMAP_LOAD_SAVE`: the server can send FUSE_NOTIFY_DMMAP_LOAD, FUSE_NOTIFY_DMMAP_SAVE and FUSE_NOTIFY_DMMAP_FREE.
pub(crate) const DMMAP_LOAD_SAVE: u64 = 1 << 45;
/// `FUSE_DMMAP_LAZY`: the server can answer with [`MMAP_LAZY`].
pub(crate) const DMMAP_LAZY: u64 = 1 << 46;
/// `CUSE_DMMAP`: mmap of the device is direct mmap.
pub const CUSE_DMMAP: u32 = 1 << 1;
/// `CUSE_DMMAP_LOAD_SAVE`: as [`DMMAP_LOAD_SAVE`].
pub(crate) const CUSE_DMMAP_LOAD_SAVE: u32 = 1 << 2;
/// `CUSE_DMMAP_LAZY`: as [`DMMAP_LAZY`].
pub(crate) const CUSE_DMMAP_LAZY: u32 = 1 << 3;
/// `FOPEN_DIRECT_IO`: read(2) and write(2) bypass the page cache and reach the server.
pub(crate) const FOPEN_DIRECT_IO: u32 = 1 << 0;
/// `FOPEN_DMMAP`: mmap of this file is direct mmap.
pub(crate) const FOPEN_DMMAP: u32 = 1 << 9;

wire_structs! {
    /// Header of every request.
    pub(crate) struct InHeader {
        /// Length of the whole request, in bytes.
        pub(crate) len: u32,
        /// Operation, one of [`op`].
        pub(crate) opcode: u32,
        /// Number of the request. The reply repeats it.
        pub(crate) unique: u64,
        /// Node ID of the file.
        pub(crate) nodeid: u64,
        /// User of the calling process.
        pub(crate) uid: u32,
        /// Group of the calling process.
        pub(crate) gid: u32,
        /// Calling process; 0 for a request of the kernel itself.
        pub(crate) pid: u32,
        /// Length of the extensions, in units of 8 bytes.
        pub(crate) total_extlen: u16,
        /// Reserved.
        pub(crate) padding: u16,
    }

    /// Header of every reply and notification.
    pub(crate) struct OutHeader {
        /// Length of the whole message, in bytes.
        pub(crate) len: u32,
        /// 0 or a negative error number in a reply; one of [`notify`] in a notification.
        pub(crate) error: i32,
        /// Number of the request; 0 in a notification.
        pub(crate) unique: u64,
    }

    /// FUSE_INIT, including the fields that protocol version 7.36 added.
    pub(crate) struct InitIn {
        /// Major protocol version of the kernel.
        pub(crate) major: u32,
        /// Minor protocol version of the kernel.
        pub(crate) minor: u32,
        /// Maximum readahead, in bytes.
        pub(crate) max_readahead: u32,
        /// Flags that the kernel offers, lower 32 bits.
        pub(crate) flags: u32,
        /// Flags that the kernel offers, upper 32 bits.
        pub(crate) flags2: u32,
        /// Distance in bytes after which cache colours repeat.
        pub(crate) dmmap_period: u32,
        /// Reserved.
        pub(crate) unused: Reserved<10>,
    }

    /// Reply to FUSE_INIT.
    pub struct InitOut {
        /// Major protocol version of the server.
        pub major: u32,
        /// Minor protocol version of the server.
        pub minor: u32,
        /// Maximum readahead, in bytes.
        pub max_readahead: u32,
        /// Flags that the server accepts, lower 32 bits.
        pub flags: u32,
        /// Maximum number of background requests.
        pub max_background: u16,
        /// Number of background requests at which the connection counts as congested.
        pub congestion_threshold: u16,
        /// Maximum length of a write, in bytes.
        pub max_write: u32,
        /// Granularity of time stamps, in nanoseconds.
        pub time_gran: u32,
        /// Maximum number of pages in a request.
        pub max_pages: u16,
        /// Unused here.
        pub map_alignment: u16,
        /// Flags that the server accepts, upper 32 bits.
        pub flags2: u32,
        /// Unused here.
        pub max_stack_depth: u32,
        /// Reserved.
        pub unused: Reserved<6>,
    }

    /// CUSE_INIT.
    pub(crate) struct CuseInitIn {
        /// Major protocol version of the kernel.
        pub(crate) major: u32,
        /// Minor protocol version of the kernel.
        pub(crate) minor: u32,
        /// Distance in bytes after which cache colours repeat.
        pub(crate) dmmap_period: u32,
        /// Flags that the kernel offers.
        pub(crate) flags: u32,
    }

    /// Reply to CUSE_INIT. The name of the device follows as `DEVNAME=...` and a NUL byte.
    pub struct CuseInitOut {
        /// Major protocol version of the server.
        pub major: u32,
        /// Minor protocol version of the server.
        pub minor: u32,
        /// Reserved.
        pub unused: u32,
        /// Flags that the server accepts.
        pub flags: u32,
        /// Maximum length of a read, in bytes.
        pub max_read: u32,
        /// Maximum length of a write, in bytes.
        pub max_write: u32,
        /// Major device number; 0 lets the kernel choose.
        pub dev_major: u32,
        /// Minor device number; 0 lets the kernel choose.
        pub dev_minor: u32,
        /// Reserved.
        pub spare: Reserved<10>,
    }

    /// Attributes of a file.
    pub(crate) struct Attr {
        /// Inode number.
        pub(crate) ino: u64,
        /// Size in bytes.
        pub(crate) size: u64,
        /// Allocated size, in units of 512 bytes.
        pub(crate) blocks: u64,
        /// Time of the last access, in seconds.
        pub(crate) atime: u64,
        /// Time of the last modification, in seconds.
        pub(crate) mtime: u64,
        /// Time of the last status change, in seconds.
        pub(crate) ctime: u64,
        /// Nanoseconds of `atime`.
        pub(crate) atimensec: u32,
        /// Nanoseconds of `mtime`.
        pub(crate) mtimensec: u32,
        /// Nanoseconds of `ctime`.
        pub(crate) ctimensec: u32,
        /// Type and permissions.
        pub(crate) mode: u32,
        /// Number of hard links.
        pub(crate) nlink: u32,
        /// Owner.
        pub(crate) uid: u32,
        /// Group.
        pub(crate) gid: u32,
        /// Device number.
        pub(crate) rdev: u32,
        /// Preferred length of reads and writes, in bytes.
        pub(crate) blksize: u32,
        /// `FUSE_ATTR_*`.
        pub(crate) flags: u32,
    }

    /// Reply to FUSE_GETATTR and FUSE_SETATTR.
    pub(crate) struct AttrOut {
        /// Time for which the kernel can cache the attributes, in seconds.
        pub(crate) attr_valid: u64,
        /// Nanoseconds of `attr_valid`.
        pub(crate) attr_valid_nsec: u32,
        /// Reserved.
        pub(crate) dummy: u32,
        /// The attributes.
        pub(crate) attr: Attr,
    }

    /// Reply to FUSE_LOOKUP.
    pub(crate) struct EntryOut {
        /// Node ID of the file.
        pub(crate) nodeid: u64,
        /// Distinguishes files that use the same node ID one after the other.
        pub(crate) generation: u64,
        /// Time for which the kernel can cache the name, in seconds.
        pub(crate) entry_valid: u64,
        /// Time for which the kernel can cache the attributes, in seconds.
        pub(crate) attr_valid: u64,
        /// Nanoseconds of `entry_valid`.
        pub(crate) entry_valid_nsec: u32,
        /// Nanoseconds of `attr_valid`.
        pub(crate) attr_valid_nsec: u32,
        /// The attributes.
        pub(crate) attr: Attr,
    }

    /// Reply to FUSE_OPEN and FUSE_OPENDIR.
    pub(crate) struct OpenOut {
        /// File handle: a number of the server's choice.
        pub(crate) fh: u64,
        /// `FOPEN_*`.
        pub(crate) open_flags: u32,
        /// Unused here.
        pub(crate) backing_id: i32,
    }

    /// FUSE_READ, FUSE_READDIR and FUSE_WRITE. The data of a FUSE_WRITE follows.
    pub(crate) struct IoIn {
        /// File handle.
        pub(crate) fh: u64,
        /// Offset in the file, in bytes.
        pub(crate) offset: u64,
        /// Length in bytes.
        pub(crate) size: u32,
        /// `FUSE_READ_*` or `FUSE_WRITE_*`.
        pub(crate) io_flags: u32,
        /// Unused here.
        pub(crate) lock_owner: u64,
        /// Flags of the open file.
        pub(crate) flags: u32,
        /// Reserved.
        pub(crate) padding: u32,
    }

    /// Reply to FUSE_WRITE.
    pub(crate) struct WriteOut {
        /// Number of bytes written.
        pub(crate) size: u32,
        /// Reserved.
        pub(crate) padding: u32,
    }

    /// FUSE_MMAP: a client maps a file.
    pub(crate) struct MmapIn {
        /// File handle.
        pub(crate) fh: u64,
        /// Offset in the file, in bytes, as the client passed it to mmap(2).
        pub(crate) offset: u64,
        /// Length in bytes, a multiple of the page size.
        pub(crate) length: u64,
        /// `PROT_*`.
        pub(crate) prot: u32,
        /// `MAP_SHARED`.
        pub(crate) flags: u32,
        /// Address of the mapping modulo the period.
        pub(crate) colour: u32,
        /// Distance in bytes after which cache colours repeat.
        pub(crate) period: u32,
    }

    /// Reply to FUSE_MMAP.
    pub struct MmapOut {
        /// Page k of the mapping is page `page_id + k` of the connection.
        pub page_id: u64,
        /// [`MMAP_LAZY`] and [`MMAP_RDONLY`].
        pub flags: u32,
        /// Reserved; must be 0.
        pub padding: u32,
    }

    /// Range of pages of FUSE_DMMAP_FAULT, FUSE_DMMAP_RECLAIM and FUSE_NOTIFY_DMMAP_FREE.
    pub struct PageRange {
        /// Page ID of the first page.
        pub page_id: u64,
        /// Number of pages.
        pub count: u64,
    }

    /// FUSE_NOTIFY_DMMAP_LOAD: the server writes to pages. The data follows.
    pub struct LoadOut {
        /// Page ID of the first page.
        pub page_id: u64,
        /// Offset from the start of the first page, in bytes. It can exceed the page size.
        pub offset: u32,
        /// Length of the data, in bytes.
        pub size: u32,
    }

    /// FUSE_NOTIFY_DMMAP_SAVE: the server reads from pages. The kernel sends the data in a FUSE_NOTIFY_REPLY.
    pub struct SaveOut {
        /// `unique` of the FUSE_NOTIFY_REPLY, chosen by the server.
        pub notify_unique: u64,
        /// Page ID of the first page.
        pub page_id: u64,
        /// Offset from the start of the first page, in bytes. It can exceed the page size.
        pub offset: u32,
        /// Length in bytes.
        pub size: u32,
    }

    /// FUSE_NOTIFY_REPLY. The data follows.
    pub(crate) struct NotifyReplyIn {
        /// Unused.
        pub(crate) dummy1: u64,
        /// `offset` of the notification.
        pub(crate) offset: u64,
        /// Length of the data, in bytes.
        pub(crate) size: u32,
        /// Unused.
        pub(crate) dummy2: u32,
        /// Unused.
        pub(crate) dummy3: Reserved<4>,
    }

    /// FUSE_MUNMAP: the last part of the mapping that one FUSE_MMAP created is gone. No client waits for the reply.
    pub(crate) struct MunmapIn {
        /// `fh` of the FUSE_MMAP.
        pub(crate) fh: u64,
        /// `page_id` of the reply to the FUSE_MMAP.
        pub(crate) page_id: u64,
        /// `offset` of the FUSE_MMAP.
        pub(crate) offset: u64,
        /// `length` of the FUSE_MMAP.
        pub(crate) length: u64,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::Field;

    /// The sizes are those of the header's structs, which have no holes.
    #[test]
    fn structs_have_the_sizes_of_the_header() {
        let sizes = [
            ("fuse_in_header", InHeader::SIZE, 40),
            ("fuse_out_header", OutHeader::SIZE, 16),
            ("fuse_init_in", InitIn::SIZE, 64),
            ("fuse_init_out", InitOut::SIZE, 64),
            ("cuse_init_in", CuseInitIn::SIZE, 16),
            ("cuse_init_out", CuseInitOut::SIZE, 72),
            ("fuse_attr", Attr::SIZE, 88),
            ("fuse_attr_out", AttrOut::SIZE, 104),
            ("fuse_entry_out", EntryOut::SIZE, 128),
            ("fuse_open_out", OpenOut::SIZE, 16),
            ("fuse_read_in", IoIn::SIZE, 40),
            ("fuse_write_out", WriteOut::SIZE, 8),
            ("fuse_mmap_in", MmapIn::SIZE, 40),
            ("fuse_mmap_out", MmapOut::SIZE, 16),
            ("fuse_munmap_in", MunmapIn::SIZE, 32),
            ("fuse_dmmap_pages", PageRange::SIZE, 16),
            ("fuse_notify_dmmap_load_out", LoadOut::SIZE, 16),
            ("fuse_notify_dmmap_save_out", SaveOut::SIZE, 24),
            ("fuse_notify_retrieve_in", NotifyReplyIn::SIZE, 40),
        ];
        for (name, here, header) in sizes {
            assert_eq!(here, header, "struct {name}");
        }
    }
}
