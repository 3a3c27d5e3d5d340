// SPDX-License-Identifier: MIT OR Apache-2.0
//! The initramfs of a guest.

pub(crate) mod busybox;
pub(crate) mod c;
pub(crate) mod cpio;
mod debian_program;
pub(crate) mod elf;
pub(crate) mod guest;
pub(crate) mod guest_files;
pub(crate) mod kselftest;
mod libfuse;
pub(crate) mod programs;
pub(crate) mod rust;
mod upstream;
pub(crate) mod wasm;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use protocol::plan::{self, Plan};
use protocol::{modules, programs as guest_programs};
use sha2::{Digest, Sha256};

use crate::files;
use guest_files::{Content, GuestFile};

/// The initramfs of a target, without the plan of a boot.
#[derive(Clone, Debug)]
pub(crate) struct Image {
    init: Vec<u8>,
    /// Name and content of each kernel module, in the order in which they can be loaded.
    modules: Vec<(String, Vec<u8>)>,
    /// Programs that are cases, and files of the user.
    files: Vec<GuestFile>,
    /// Archive of the user, which the kernel unpacks first.
    base: Vec<u8>,
}

/// Path of init in the guest on top of an archive of the user, which may have an `/init` of its own.
pub(crate) const INIT_ON_BASE: &str = "/lab-init";

impl Image {
    /// Creates the image from the guest program `init`, the kernel modules `modules`, in the order in which they can be
    /// loaded, and the name and content of each program that is a case.
    ///
    /// # Errors
    /// A file cannot be read.
    pub(crate) fn new(
        init: &Path,
        modules: &[PathBuf],
        programs: Vec<(String, Vec<u8>)>,
    ) -> Result<Self> {
        let module = |path: &PathBuf| {
            let name = path.file_stem().context("a module has a name")?;
            Ok((name.to_string_lossy().into_owned(), files::read_bytes(path)?))
        };
        let modules = modules.iter().map(module).collect::<Result<_>>()?;
        let init = files::read_bytes(init)?;
        let program =
            |(name, bytes): (String, _)| GuestFile::program(guest_programs::path(&name), bytes);
        Ok(Self {
            init,
            modules,
            files: programs.into_iter().map(program).collect(),
            base: Vec::new(),
        })
    }

    /// Returns the image with these files of the user in addition.
    pub(crate) fn with_files(mut self, files: &[GuestFile]) -> Self {
        self.files.extend_from_slice(files);
        self
    }

    /// Returns the image on top of the archive `base` of the user. The kernel must start [`INIT_ON_BASE`].
    pub(crate) fn on_base(mut self, base: Vec<u8>) -> Self {
        self.base = base;
        self
    }

    /// Returns the SHA-256 of the initramfs without the plan, in hexadecimal.
    pub(crate) fn hash(&self) -> String {
        format!("{:x}", Sha256::digest(self.archive(None)))
    }

    /// Writes the initramfs for a boot that runs `plan` to the file `to`.
    ///
    /// # Errors
    /// The file cannot be written, for example because the disk is full.
    pub(crate) fn write(&self, plan: &Plan, to: &Path) -> Result<()> {
        let plan = serde_json::to_vec_pretty(plan).expect("a plan can be serialized");
        files::write_atomically(to, self.archive(Some(&plan)))
    }

    /// Returns the archive of the user, if any, followed by that of the lab. The kernel unpacks one after the other
    /// (Documentation/driver-api/early-userspace/buffer-format.rst).
    fn archive(&self, plan: Option<&[u8]>) -> Vec<u8> {
        let mut all = self.base.clone();
        all.resize(all.len().next_multiple_of(ALIGNMENT), 0);
        all.extend(self.own_archive(plan));
        all
    }

    /// Returns the archive of the lab: mount points, the console that the kernel opens for `init`, `init` itself, the modules, the
    /// programs that are cases, the files of the user, and the plan.
    fn own_archive(&self, plan: Option<&[u8]>) -> Vec<u8> {
        let mut archive = cpio::Archive::default();
        for dir in MOUNT_POINTS {
            archive.dir(dir);
        }
        // The kernel opens the console before devtmpfs is mounted (console_on_rootfs() in init/main.c).
        archive.char_device("dev/console", 5, 1);
        let init = if self.base.is_empty() { "init" } else { in_archive(INIT_ON_BASE) };
        archive.file(init, 0o755, &self.init);
        if !self.modules.is_empty() {
            archive.dir(in_archive(modules::DIR));
            let names: String = self.modules.iter().map(|(name, _)| format!("{name}\n")).collect();
            archive.file(in_archive(modules::ORDER), 0o644, names.as_bytes());
        }
        for (name, module) in &self.modules {
            archive.file(in_archive(&modules::path(name)), 0o644, module);
        }
        self.add_files(&mut archive);
        if let Some(plan) = plan {
            archive.file(in_archive(plan::PATH), 0o644, plan);
        }
        archive.finish()
    }

    /// Adds the programs that are cases and the files of the user, with their parent directories.
    fn add_files(&self, archive: &mut cpio::Archive) {
        let mut dirs = BTreeSet::from(MOUNT_POINTS.map(str::to_owned));
        for GuestFile { path, content } in &self.files {
            let name = in_archive(path).trim_end_matches('/');
            let parents = name.match_indices('/').map(|(end, _)| &name[..end]);
            let itself = (*content == Content::Dir && !name.is_empty()).then_some(name);
            for dir in parents.chain(itself) {
                if dirs.insert(dir.to_owned()) {
                    archive.dir(dir);
                }
            }
            match content {
                Content::Dir => {}
                Content::File { mode, bytes } => archive.file(name, *mode, bytes),
                Content::Link(target) => archive.link(name, target),
            }
        }
    }
}

/// Alignment in bytes of an archive after another one.
const ALIGNMENT: usize = 512;

/// Directories on which the guest mounts filesystems.
const MOUNT_POINTS: [&str; 4] = ["dev", "proc", "sys", "tmp"];

/// Returns the name in the archive of the file at `path` in the guest.
fn in_archive(path: &str) -> &str {
    path.trim_start_matches('/')
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::image::cpio::tests::listing;

    #[test]
    fn the_image_has_the_modules_and_their_order() {
        let dir = tempfile::tempdir().unwrap();
        let file = |name: &str, text: &str| {
            let path = dir.path().join(name);
            std::fs::write(&path, text).unwrap();
            path
        };
        let (init, fuse, cuse) = (file("guest", "i"), file("fuse.ko", "f"), file("cuse.ko", "cu"));
        let plain = Image::new(&init, &[], Vec::new()).unwrap();
        let without = ["dev", "proc", "sys", "tmp", "dev/console", "init"].map(str::to_owned);
        let names = |image: &Image| -> Vec<String> {
            let entries = listing(&image.archive(None)).into_iter();
            entries.map(|entry| entry.split(' ').next().unwrap().to_owned()).collect()
        };
        assert_eq!(names(&plain), without);
        let image = Image::new(&init, &[fuse.clone(), cuse.clone()], Vec::new()).unwrap();
        let with = ["modules", "modules/order", "modules/fuse.ko", "modules/cuse.ko"];
        assert_eq!(names(&image), [&without[..], &with.map(str::to_owned)].concat());
        let programs = ["demo/a", "demo/b"].map(|name| (name.to_owned(), b"p".to_vec()));
        let with_programs = Image::new(&init, &[], programs.into()).unwrap();
        let with = ["programs", "programs/demo", "programs/demo/a", "programs/demo/b"];
        assert_eq!(names(&with_programs), [&without[..], &with.map(str::to_owned)].concat());
        let archive = image.archive(None);
        assert!(archive.windows(10).any(|bytes| bytes == b"fuse\ncuse\n"));
        assert_ne!(image.hash(), plain.hash());
    }

    #[test]
    fn an_archive_of_the_user_comes_first() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("guest"), "i").unwrap();
        let plain = Image::new(&dir.path().join("guest"), &[], Vec::new()).unwrap();
        let image = plain.on_base(b"my archive".to_vec());
        let archive = image.archive(None);
        assert!(archive.starts_with(b"my archive\0"));
        let names = listing(&archive[ALIGNMENT..]);
        assert_eq!(names.last().unwrap(), "lab-init 100755 1 0:0");
    }

    #[test]
    fn files_of_the_user_have_their_parent_directories() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("guest"), "i").unwrap();
        let plain = Image::new(&dir.path().join("guest"), &[], Vec::new()).unwrap();
        let file = |path: &str, content| GuestFile { path: path.into(), content };
        let image = plain.clone().with_files(&[
            GuestFile::program("/usr/local/bin/prog".into(), b"elf".to_vec()),
            file("/usr/share", Content::Dir),
            file("/usr/share/data", Content::File { mode: 0o640, bytes: Vec::new() }),
            file("/usr/bin/data", Content::Link("../share/data".into())),
            file("/", Content::Dir),
        ]);
        let listing = listing(&image.archive(None));
        let added = [
            "usr 40755 0 0:0",
            "usr/local 40755 0 0:0",
            "usr/local/bin 40755 0 0:0",
            "usr/local/bin/prog 100755 3 0:0",
            "usr/share 40755 0 0:0",
            "usr/share/data 100640 0 0:0",
            "usr/bin 40755 0 0:0",
            "usr/bin/data 120777 13 0:0",
        ];
        assert_eq!(listing[6..], added);
        assert_ne!(image.hash(), plain.hash());
    }
}
