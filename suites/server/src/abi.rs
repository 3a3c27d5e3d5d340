// SPDX-License-Identifier: MIT OR Apache-2.0
//! The part of the FUSE protocol that is spoken here: numbers and structs of `include/uapi/linux/fuse.h`, protocol
//! version 7.41, with the direct mmap additions. Names are the header's, without its prefixes.

use crate::wire::{Reserved, wire_structs};

/// Major version of the protocol.
pub const MAJOR: u32 = 7;
/// Minor version of the protocol.
pub const MINOR: u32 = 41;
/// Node ID of the root directory.
pub const ROOT_ID: u64 = 1;

/// Operations, the `opcode` of a request.
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
    pub const MMAP: u32 = 4064;
    pub const MUNMAP: u32 = 4065;
    pub const DMMAP_FAULT: u32 = 4066;
    pub const DMMAP_RECLAIM: u32 = 4067;
    pub const CUSE_INIT: u32 = 4096;
}

/// Notifications, the `error` of a message without a request.
pub mod notify {
    #![allow(missing_docs)]
    pub const DMMAP_LOAD: i32 = 64;
    pub const DMMAP_SAVE: i32 = 65;
    pub const DMMAP_FREE: i32 = 66;
}

/// `FUSE_MMAP_LAZY`: the server fills the pages when a client touches them.
pub const MMAP_LAZY: u32 = 1 << 0;
/// `FUSE_BIG_WRITES`: writes may be longer than a page.
pub const BIG_WRITES: u64 = 1 << 5;
/// `FUSE_MAX_PAGES`: the reply to INIT says how long requests may be.
pub const MAX_PAGES: u64 = 1 << 22;
/// `FUSE_INIT_EXT`: there is a second word of flags.
pub const INIT_EXT: u64 = 1 << 30;
/// `FUSE_DMMAP`: files may be opened for direct mmap.
pub const DMMAP: u64 = 1 << 56;
/// `CUSE_DMMAP`: mmap of the device is direct mmap.
pub const CUSE_DMMAP: u32 = 1 << 1;
/// `FOPEN_DIRECT_IO`: read(2) and write(2) come here, past the page cache.
pub const FOPEN_DIRECT_IO: u32 = 1 << 0;
/// `FOPEN_DMMAP`: mmap of this file is direct mmap.
pub const FOPEN_DMMAP: u32 = 1 << 8;

wire_structs! {
    /// Before every request.
    pub struct InHeader {
        /// Bytes of the whole request.
        pub len: u32,
        /// One of [`op`].
        pub opcode: u32,
        /// To be repeated in the reply.
        pub unique: u64,
        /// The file it is about.
        pub nodeid: u64,
        /// Who asks.
        pub uid: u32,
        /// Group of who asks.
        pub gid: u32,
        /// Process that asks; 0 where it is the kernel itself.
        pub pid: u32,
        /// Length of extensions, in units of 8 bytes.
        pub total_extlen: u16,
        /// Reserved.
        pub padding: u16,
    }

    /// Before every reply.
    pub struct OutHeader {
        /// Bytes of the whole reply.
        pub len: u32,
        /// 0, or an error number, negative.
        pub error: i32,
        /// Of the request.
        pub unique: u64,
    }

    /// The start of FUSE_INIT; what an older kernel leaves out at its end is not read here.
    pub struct InitIn {
        /// Protocol version of the kernel.
        pub major: u32,
        /// Protocol version of the kernel.
        pub minor: u32,
        /// Bytes.
        pub max_readahead: u32,
        /// What the kernel offers, lower 32 flags.
        pub flags: u32,
        /// What the kernel offers, upper 32 flags.
        pub flags2: u32,
        /// Distance in bytes after which cache colours repeat.
        pub dmmap_period: u32,
        /// Reserved.
        pub unused: Reserved<10>,
    }

    /// Reply to FUSE_INIT.
    pub struct InitOut {
        /// Protocol version of the server.
        pub major: u32,
        /// Protocol version of the server.
        pub minor: u32,
        /// Bytes.
        pub max_readahead: u32,
        /// What the server takes of the offer, lower 32 flags.
        pub flags: u32,
        /// Requests in the background.
        pub max_background: u16,
        /// Requests in the background that count as congestion.
        pub congestion_threshold: u16,
        /// Bytes in a write.
        pub max_write: u32,
        /// Granularity of time stamps, nanoseconds.
        pub time_gran: u32,
        /// Pages in a request.
        pub max_pages: u16,
        /// Not used.
        pub map_alignment: u16,
        /// What the server takes of the offer, upper 32 flags.
        pub flags2: u32,
        /// Not used.
        pub max_stack_depth: u32,
        /// Reserved.
        pub unused: Reserved<6>,
    }

    /// CUSE_INIT.
    pub struct CuseInitIn {
        /// Protocol version of the kernel.
        pub major: u32,
        /// Protocol version of the kernel.
        pub minor: u32,
        /// Distance in bytes after which cache colours repeat.
        pub dmmap_period: u32,
        /// What the kernel offers.
        pub flags: u32,
    }

    /// Reply to CUSE_INIT; the device's name follows as `DEVNAME=...` and a NUL.
    pub struct CuseInitOut {
        /// Protocol version of the server.
        pub major: u32,
        /// Protocol version of the server.
        pub minor: u32,
        /// Reserved.
        pub unused: u32,
        /// What the server takes of the offer.
        pub flags: u32,
        /// Bytes in a read.
        pub max_read: u32,
        /// Bytes in a write.
        pub max_write: u32,
        /// Device number wanted; 0: any.
        pub dev_major: u32,
        /// Device number wanted; 0: any.
        pub dev_minor: u32,
        /// Reserved.
        pub spare: Reserved<10>,
    }

    /// Attributes of a file.
    pub struct Attr {
        /// Inode number.
        pub ino: u64,
        /// Bytes.
        pub size: u64,
        /// Units of 512 bytes.
        pub blocks: u64,
        /// Seconds.
        pub atime: u64,
        /// Seconds.
        pub mtime: u64,
        /// Seconds.
        pub ctime: u64,
        /// Nanoseconds.
        pub atimensec: u32,
        /// Nanoseconds.
        pub mtimensec: u32,
        /// Nanoseconds.
        pub ctimensec: u32,
        /// Type and permissions.
        pub mode: u32,
        /// Links.
        pub nlink: u32,
        /// Owner.
        pub uid: u32,
        /// Group.
        pub gid: u32,
        /// Device number.
        pub rdev: u32,
        /// Bytes.
        pub blksize: u32,
        /// `FUSE_ATTR_*`.
        pub flags: u32,
    }

    /// Reply to FUSE_GETATTR and FUSE_SETATTR.
    pub struct AttrOut {
        /// Seconds the kernel may keep it.
        pub attr_valid: u64,
        /// And nanoseconds.
        pub attr_valid_nsec: u32,
        /// Reserved.
        pub dummy: u32,
        /// The attributes.
        pub attr: Attr,
    }

    /// Reply to FUSE_LOOKUP.
    pub struct EntryOut {
        /// The file's node ID.
        pub nodeid: u64,
        /// Tells apart files that had the same node ID one after the other.
        pub generation: u64,
        /// Seconds the kernel may keep the name.
        pub entry_valid: u64,
        /// Seconds the kernel may keep the attributes.
        pub attr_valid: u64,
        /// And nanoseconds.
        pub entry_valid_nsec: u32,
        /// And nanoseconds.
        pub attr_valid_nsec: u32,
        /// The attributes.
        pub attr: Attr,
    }

    /// Reply to FUSE_OPEN and FUSE_OPENDIR.
    pub struct OpenOut {
        /// The server's number for the open file.
        pub fh: u64,
        /// `FOPEN_*`.
        pub open_flags: u32,
        /// Not used.
        pub backing_id: i32,
    }

    /// FUSE_READ and FUSE_WRITE (the data follows) and FUSE_READDIR.
    pub struct IoIn {
        /// The open file.
        pub fh: u64,
        /// Byte in the file.
        pub offset: u64,
        /// Bytes.
        pub size: u32,
        /// `FUSE_READ_*` or `FUSE_WRITE_*`.
        pub io_flags: u32,
        /// Not used.
        pub lock_owner: u64,
        /// Of the open file.
        pub flags: u32,
        /// Reserved.
        pub padding: u32,
    }

    /// Reply to FUSE_WRITE.
    pub struct WriteOut {
        /// Bytes taken.
        pub size: u32,
        /// Reserved.
        pub padding: u32,
    }

    /// FUSE_MMAP: a client maps a file.
    pub struct MmapIn {
        /// The open file.
        pub fh: u64,
        /// Byte in the file, as the client asked.
        pub offset: u64,
        /// Bytes, whole pages.
        pub length: u64,
        /// `PROT_*`.
        pub prot: u32,
        /// `MAP_SHARED`.
        pub flags: u32,
        /// The client's address modulo the period.
        pub colour: u32,
        /// Bytes.
        pub period: u32,
    }

    /// Reply to FUSE_MMAP.
    pub struct MmapOut {
        /// Page k of the mapping is page `page_id + k` of the connection.
        pub page_id: u64,
        /// [`MMAP_LAZY`].
        pub flags: u32,
        /// Reserved.
        pub padding: u32,
    }

    /// FUSE_DMMAP_FAULT, FUSE_DMMAP_RECLAIM and FUSE_NOTIFY_DMMAP_FREE: pages it is about.
    pub struct Pages {
        /// The first.
        pub page_id: u64,
        /// How many.
        pub count: u64,
    }

    /// FUSE_NOTIFY_DMMAP_LOAD: the server writes into pages; the bytes follow.
    pub struct LoadOut {
        /// The first page.
        pub page_id: u64,
        /// Byte in it, or behind it.
        pub offset: u32,
        /// Bytes.
        pub size: u32,
    }

    /// FUSE_NOTIFY_DMMAP_SAVE: the server reads from pages; they come with a FUSE_NOTIFY_REPLY.
    pub struct SaveOut {
        /// `unique` of that FUSE_NOTIFY_REPLY.
        pub notify_unique: u64,
        /// The first page.
        pub page_id: u64,
        /// Byte in it, or behind it.
        pub offset: u32,
        /// Bytes.
        pub size: u32,
    }

    /// FUSE_NOTIFY_REPLY; the bytes follow.
    pub struct NotifyReplyIn {
        /// Not used.
        pub dummy1: u64,
        /// As in the notification.
        pub offset: u64,
        /// Bytes that there are.
        pub size: u32,
        /// Not used.
        pub dummy2: u32,
        /// Not used.
        pub dummy3: Reserved<4>,
    }

    /// FUSE_MUNMAP: the last part of what one FUSE_MMAP mapped is gone. There is no reply that anybody waits for.
    pub struct MunmapIn {
        /// As in the FUSE_MMAP.
        pub fh: u64,
        /// As in its reply.
        pub page_id: u64,
        /// As in the FUSE_MMAP.
        pub offset: u64,
        /// As in the FUSE_MMAP.
        pub length: u64,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::Field;

    /// Sizes by the header: each is the sum of its fields there, which leave no holes.
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
            ("fuse_dmmap_pages", Pages::SIZE, 16),
            ("fuse_notify_dmmap_load_out", LoadOut::SIZE, 16),
            ("fuse_notify_dmmap_save_out", SaveOut::SIZE, 24),
            ("fuse_notify_retrieve_in", NotifyReplyIn::SIZE, 40),
        ];
        for (name, here, header) in sizes {
            assert_eq!(here, header, "struct {name}");
        }
    }
}
