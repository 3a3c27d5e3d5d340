// SPDX-License-Identifier: MIT OR Apache-2.0
//! The initramfs of a guest.

pub(crate) mod c;
pub(crate) mod cpio;
pub(crate) mod guest;
pub(crate) mod programs;
pub(crate) mod wasm;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use protocol::plan::{self, Plan};
use protocol::{modules, programs as guest_programs};
use sha2::{Digest, Sha256};

use crate::files;

/// The initramfs of a target, without the plan of a boot.
#[derive(Clone, Debug)]
pub(crate) struct Image {
    init: Vec<u8>,
    /// Name and content of each kernel module, in the order in which they can be loaded.
    modules: Vec<(String, Vec<u8>)>,
    /// Name and content of each program that is a case.
    programs: Vec<(String, Vec<u8>)>,
    /// SHA-256 of the initramfs without the plan, in hexadecimal.
    pub hash: String,
}

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
        let image = Self { init, modules, programs, hash: String::new() };
        let hash = format!("{:x}", Sha256::digest(image.archive(None)));
        Ok(Self { hash, ..image })
    }

    /// Writes the initramfs for a boot that runs `plan` to the file `to`.
    ///
    /// # Errors
    /// The file cannot be written, for example because the disk is full.
    pub(crate) fn write(&self, plan: &Plan, to: &Path) -> Result<()> {
        let plan = serde_json::to_vec_pretty(plan).expect("a plan can be serialized");
        files::write_atomically(to, self.archive(Some(&plan)))
    }

    /// Returns the archive: mount points, the console that the kernel opens for `init`, `init` itself, the modules, the
    /// programs, and the plan.
    fn archive(&self, plan: Option<&[u8]>) -> Vec<u8> {
        let mut archive = cpio::Archive::default();
        for dir in ["dev", "proc", "sys", "tmp"] {
            archive.dir(dir);
        }
        // The kernel opens the console before devtmpfs is mounted (console_on_rootfs() in init/main.c).
        archive.char_device("dev/console", 5, 1);
        archive.file("init", 0o755, &self.init);
        if !self.modules.is_empty() {
            archive.dir(in_archive(modules::DIR));
            let names: String = self.modules.iter().map(|(name, _)| format!("{name}\n")).collect();
            archive.file(in_archive(modules::ORDER), 0o644, names.as_bytes());
        }
        for (name, module) in &self.modules {
            archive.file(in_archive(&modules::path(name)), 0o644, module);
        }
        let mut dirs = BTreeSet::new();
        for (name, program) in &self.programs {
            let path = guest_programs::path(name);
            // Directories come before their content.
            let parents: Vec<&Path> = Path::new(in_archive(&path)).ancestors().skip(1).collect();
            for dir in parents.into_iter().rev().filter(|dir| *dir != Path::new("")) {
                if dirs.insert(dir.to_owned()) {
                    archive.dir(&dir.to_string_lossy());
                }
            }
            archive.file(in_archive(&path), 0o755, program);
        }
        if let Some(plan) = plan {
            archive.file(in_archive(plan::PATH), 0o644, plan);
        }
        archive.finish()
    }
}

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
        assert_ne!(image.hash, plain.hash);
    }
}
