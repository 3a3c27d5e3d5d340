// SPDX-License-Identifier: MIT OR Apache-2.0
//! Writes cpio archives in the newc format, which the kernel unpacks
//! (Documentation/driver-api/early-userspace/buffer-format.rst).
//!
//! The output is deterministic: entries keep the order in which they were added, the owner is root and the time is 0.

const TYPE_MASK: u32 = 0o170_000;
const TYPE_DIR: u32 = 0o040_000;
const TYPE_CHAR: u32 = 0o020_000;
const TYPE_FILE: u32 = 0o100_000;
const TYPE_LINK: u32 = 0o120_000;

/// An archive under construction.
#[derive(Debug, Default)]
pub(crate) struct Archive {
    bytes: Vec<u8>,
    inodes: u32,
}

impl Archive {
    /// Adds a directory with mode 755. Its parent must have been added before.
    pub(crate) fn dir(&mut self, name: &str) {
        self.entry(name, TYPE_DIR | 0o755, (0, 0), &[]);
    }

    /// Adds a character device with mode 600.
    pub(crate) fn char_device(&mut self, name: &str, major: u32, minor: u32) {
        self.entry(name, TYPE_CHAR | 0o600, (major, minor), &[]);
    }

    /// Adds a regular file with the given permission bits.
    pub(crate) fn file(&mut self, name: &str, mode: u32, content: &[u8]) {
        self.entry(name, TYPE_FILE | mode, (0, 0), content);
    }

    /// Adds a symbolic link to `target`.
    pub(crate) fn link(&mut self, name: &str, target: &str) {
        self.entry(name, TYPE_LINK | 0o777, (0, 0), target.as_bytes());
    }

    /// Adds the trailer and returns the archive.
    pub(crate) fn finish(mut self) -> Vec<u8> {
        self.inodes = 0;
        self.entry("TRAILER!!!", 0, (0, 0), &[]);
        self.bytes
    }

    fn entry(&mut self, name: &str, mode: u32, device: (u32, u32), content: &[u8]) {
        let links = if mode & TYPE_MASK == TYPE_DIR { 2 } else { 1 };
        let size = u32::try_from(content.len()).expect("files in newc are smaller than 4 GiB");
        let fields = [
            self.inodes,
            mode,
            0, // uid
            0, // gid
            links,
            0, // mtime
            size,
            0, // major and minor number of the file system's device
            0,
            device.0,
            device.1,
            name.len() as u32 + 1,
            0, // checksum, unused in this variant
        ];
        self.inodes += 1;
        self.bytes.extend_from_slice(b"070701");
        for field in fields {
            self.bytes.extend_from_slice(format!("{field:08x}").as_bytes());
        }
        self.bytes.extend_from_slice(name.as_bytes());
        self.bytes.push(0);
        self.pad();
        self.bytes.extend_from_slice(content);
        self.pad();
    }

    /// Pads to a multiple of four bytes. Needed after the header with the name, and after the content.
    fn pad(&mut self) {
        self.bytes.resize(self.bytes.len().next_multiple_of(4), 0);
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// Parses an archive and returns each entry as `name mode size device`. Shares no code with the writer.
    pub(crate) fn listing(bytes: &[u8]) -> Vec<String> {
        let mut at = 0;
        let mut found = Vec::new();
        loop {
            assert_eq!(&bytes[at..at + 6], b"070701", "magic at {at}");
            let field = |n: usize| {
                let start = at + 6 + 8 * n;
                let hex = std::str::from_utf8(&bytes[start..start + 8]).unwrap();
                usize::from_str_radix(hex, 16).unwrap()
            };
            let (mode, size, name_size) = (field(1), field(6), field(11));
            let name = &bytes[at + 110..at + 110 + name_size - 1];
            let name = std::str::from_utf8(name).unwrap();
            if name == "TRAILER!!!" {
                return found;
            }
            found.push(format!("{name} {mode:o} {size} {}:{}", field(9), field(10)));
            let content = (at + 110 + name_size).next_multiple_of(4);
            at = (content + size).next_multiple_of(4);
        }
    }

    #[test]
    fn entries_can_be_read_back() {
        let mut archive = Archive::default();
        archive.dir("dev");
        archive.char_device("dev/console", 5, 1);
        archive.file("init", 0o755, b"hello");
        archive.file("plan.json", 0o644, b"");
        archive.link("sh", "busybox");
        assert_eq!(
            listing(&archive.finish()),
            [
                "dev 40755 0 0:0",
                "dev/console 20600 0 5:1",
                "init 100755 5 0:0",
                "plan.json 100644 0 0:0",
                "sh 120777 7 0:0"
            ]
        );
    }
}
