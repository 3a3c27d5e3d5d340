// SPDX-License-Identifier: MIT OR Apache-2.0
//! The symbols of a kernel image without a `System.map`, from the guest's `/proc/kallsyms`. The machine boots once to
//! read them. They stay in the cache, under the hash of the image.

use std::fmt::Write;
use std::fs::File;
use std::path::PathBuf;
use std::time::SystemTime;

use anyhow::{Context, Result, bail};

use super::{Job, Unit};
use crate::boot::{self, Parameters};
use crate::files;
use crate::gate::Gate;
use crate::image::Image;
use crate::kernel::Built;
use crate::kernel::cache::Cache;
use crate::ledger::Ledger;
use crate::results::Accelerator;
use crate::run_dir::SYMBOLS_BOOT;
use crate::target::QemuSpec;
use crate::watch::clock::Limits;

/// Number of bytes after the start of the last function that belong to the kernel.
const LAST: u64 = 0x1000;

/// A kernel without a `System.map`, and the machine that runs it.
pub(super) struct Request<'r> {
    pub job: &'r Job,
    pub unit: &'r Unit,
    pub qemu: &'r QemuSpec,
    pub built: &'r Built,
    pub image: &'r Image,
}

/// Returns the path of the symbols, in the format of a `System.map`.
///
/// # Errors
/// The kernel does not boot or does not list its functions, or the cache cannot be written to.
pub(super) fn of_image(request: &Request, gate: &Gate, ledger: &mut Ledger) -> Result<PathBuf> {
    let Request { job, unit, qemu, built, image } = request;
    let dir = Cache(&job.cache).symbols();
    let path = dir.join(&built.hash);
    if let Ok(file) = File::options().write(true).open(&path) {
        // `cargo xtask clean` sees when the symbols were last used.
        let _ = file.set_modified(SystemTime::now());
        return Ok(path);
    }
    let _pass = gate.enter(qemu.memory_mib, || ledger.waiting("for another guest to end"))?;
    ledger.progress(0, None, "boot the kernel once to read its symbols".into());
    let parameters = Parameters {
        qemu,
        proof: None,
        accel: Accelerator::Tcg,
        kernel: &built.image,
        dtb: built.dtb.as_deref(),
        image,
        oracle: None,
        limits: Limits::scaled(job.scale),
    };
    let boot_dir = job.run_dir.join(unit.name()).join(SYMBOLS_BOOT);
    let symbols = boot::symbols(&parameters, &boot_dir);
    let symbols = symbols.context("read the symbols of the kernel image")?;
    if addresses(&symbols).next().is_none() {
        bail!(
            "the kernel image lists no functions (CONFIG_KALLSYMS): put its System.map beside it, or run without the \
             kernel's accesses (--oracle-depth user) or without the oracle (--oracle off)"
        );
    }
    files::create_dir(&dir)?;
    files::write_atomically(&path, with_bounds(&symbols))?;
    Ok(path)
}

/// Returns the addresses of the symbols. A kernel that hides them shows zeros.
fn addresses(symbols: &str) -> impl Iterator<Item = u64> {
    let address = |line: &str| u64::from_str_radix(line.split(' ').next()?, 16).ok();
    symbols.lines().filter_map(address).filter(|address| *address != 0)
}

/// Adds the symbols `_text` and `_end`, which mark the bounds of the kernel, if they are missing. A kernel without
/// `CONFIG_KALLSYMS_ALL` lists only functions.
fn with_bounds(symbols: &str) -> String {
    let has = |name: &str| symbols.lines().any(|line| line.split(' ').nth(2) == Some(name));
    let mut text = symbols.to_owned();
    if let Some(first) = addresses(symbols).min().filter(|_| !has("_text") && !has("_start")) {
        let _ = writeln!(text, "{first:08x} T _text");
    }
    if let Some(last) = addresses(symbols).max().filter(|_| !has("_end")) {
        let _ = writeln!(text, "{:08x} B _end", last + LAST);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn functions_are_between_the_bounds_of_the_kernel() {
        let functions = "c0100000 T _stext\nc0100040 t memcpy\n00000000 t hidden\n";
        insta::assert_snapshot!(with_bounds(functions), @r"
        c0100000 T _stext
        c0100040 t memcpy
        00000000 t hidden
        c0100000 T _text
        c0101040 B _end
        ");
        let all = "c0008000 T _text\nc0100040 t memcpy\nc0900000 B _end\n";
        assert_eq!(with_bounds(all), all);
        assert_eq!(with_bounds(""), "");
        assert_eq!(addresses("00000000 t hidden\n").next(), None);
    }
}
