// SPDX-License-Identifier: MIT OR Apache-2.0
//! Layout of a run directory: every file name in it.
//!
//! `target/lab/RUN` holds the reports; `target/lab/RUN/TARGET/boot-N` holds the files of one boot. With a kernel that is
//! not the default version, `TARGET-VERSION` takes the place of `TARGET`. QEMU runs in the directory of its boot, so its
//! command line has these names without a path.

use std::path::{Path, PathBuf};

/// Results for programs, in the directory of a run and in that of `--report-dir`.
pub(crate) const RESULTS: &str = "results.json";

/// Initramfs of a boot.
pub(crate) const INITRAMFS: &str = "initramfs.cpio";

/// QEMU command of a boot, to paste into a shell.
pub(crate) const QEMU_COMMAND: &str = "qemu.sh";

/// Messages of QEMU itself.
pub(crate) const QEMU_LOG: &str = "qemu.log";

/// Kernel console.
pub(crate) const CONSOLE: &str = "console.log";

/// Records that the guest sends to the lab.
pub(crate) const RECORDS: &str = "records.log";

/// Directory of the files that the guest sends to the lab.
pub(crate) const GUEST_FILES: &str = "files";

/// Unix socket of the gdb stub.
pub(crate) const GDB_SOCKET: &str = "gdb.sock";

/// Directory of the boot that reads the symbols of a kernel, in the directory of its target.
pub(crate) const SYMBOLS_BOOT: &str = "boot-symbols";

/// Configuration that the oracle reads.
pub(crate) const ORACLE_CONFIG: &str = "oracle.json";

/// Findings and window reports that the oracle writes.
pub(crate) const ORACLE_FINDINGS: &str = "oracle.jsonl";

/// Directory of boot number `boot` (from 1) of the target `name`, which includes the version of the kernel.
pub(crate) fn boot_dir(run_dir: &Path, name: &str, boot: usize) -> PathBuf {
    run_dir.join(name).join(format!("boot-{boot}"))
}
