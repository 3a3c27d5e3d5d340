// SPDX-License-Identifier: MIT OR Apache-2.0
//! The initramfs of a guest.

pub(crate) mod cpio;
pub(crate) mod guest;
pub(crate) mod wasm;

use std::path::Path;

use anyhow::Result;
use protocol::plan::{self, Plan};
use sha2::{Digest, Sha256};

use crate::files;

/// The initramfs of a target, without the plan of a boot.
#[derive(Clone, Debug)]
pub(crate) struct Image {
    init: Vec<u8>,
    /// SHA-256 of the initramfs without the plan, in hexadecimal.
    pub hash: String,
}

impl Image {
    /// Creates the image from the guest program `init`.
    ///
    /// # Errors
    /// `init` cannot be read.
    pub(crate) fn new(init: &Path) -> Result<Self> {
        let init = files::read_bytes(init)?;
        let bare = archive(&init, None);
        let hash = format!("{:x}", Sha256::digest(&bare));
        Ok(Self { init, hash })
    }

    /// Writes the initramfs for a boot that runs `plan` to the file `to`.
    ///
    /// # Errors
    /// The file cannot be written, for example because the disk is full.
    pub(crate) fn write(&self, plan: &Plan, to: &Path) -> Result<()> {
        let plan = serde_json::to_vec_pretty(plan).expect("a plan can be serialized");
        files::write_atomically(to, archive(&self.init, Some(&plan)))
    }
}

/// Returns the archive: mount points, the console that the kernel opens for `init`, `init` itself, and the plan.
fn archive(init: &[u8], plan: Option<&[u8]>) -> Vec<u8> {
    let mut archive = cpio::Archive::default();
    for dir in ["dev", "proc", "sys", "tmp"] {
        archive.dir(dir);
    }
    // The kernel opens the console before devtmpfs is mounted (console_on_rootfs() in init/main.c).
    archive.char_device("dev/console", 5, 1);
    archive.file("init", 0o755, init);
    if let Some(plan) = plan {
        archive.file(plan::PATH.trim_start_matches('/'), 0o644, plan);
    }
    archive.finish()
}
