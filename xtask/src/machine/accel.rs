// SPDX-License-Identifier: MIT OR Apache-2.0
//! QEMU's accelerator. Runs a probe guest to find out whether KVM works, because a /dev/kvm that can be opened proves
//! nothing.

use std::ffi::OsStr;
use std::fmt::Write as _;
use std::fs::{self, OpenOptions};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, anyhow, bail};
use clap::ValueEnum;
use serde::{Deserialize, Serialize};

use crate::program::find_program;
use crate::results::Accelerator;
use crate::wait::{self, Waited};
use crate::{files, guard};

/// Accelerator that the user requested.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Accel {
    /// KVM if a probe guest finishes under KVM, otherwise TCG.
    Auto,
    /// KVM. It is an error if KVM does not work.
    Kvm,
    /// QEMU's binary translator, which works on every host.
    Tcg,
}

impl Accel {
    /// Returns the accelerator to show for `--dry-run`. A dry run does not test KVM, so it shows TCG for `auto`,
    /// although the real run may use KVM.
    pub fn planned(self) -> Accelerator {
        match self {
            Accel::Kvm => Accelerator::Kvm,
            Accel::Auto | Accel::Tcg => Accelerator::Tcg,
        }
    }
}

/// Accelerator that QEMU will use.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Chosen {
    pub accel: Accelerator,
    /// Reason why KVM is not used; `None` if it is, or if the user requested TCG.
    pub reason: Option<String>,
}

/// Result of a test of KVM. The error is the reason why KVM cannot be used.
pub type KvmResult = Result<(), String>;

/// Time limit for the probe guest. Its 200 million instructions take 0.8 s under TCG on two busy cores and less in
/// hardware; probe.S describes hosts on which they take minutes.
const DEADLINE: Duration = Duration::from_secs(3);

/// QEMU's exit code after the guest wrote 0x2a to isa-debug-exit, which exits with `value << 1 | 1`.
const FINISHED: i32 = 0x2a << 1 | 1;

/// Version of the probe. Increase it with every change to the probe, so that remembered results expire.
const PROBE: u32 = 2;

/// File in the lab's cache directory that holds the last result.
const REMEMBERED: &str = "kvm.json";

/// Chooses the accelerator for the QEMU program `qemu`, which emulates kernel architecture `arch`.
///
/// The result for KVM is kept in `cache` until the host reboots, QEMU changes, or /dev/kvm cannot be opened.
///
/// # Errors
/// The user requested KVM and it does not work, QEMU cannot be run, or the lab was interrupted.
pub(crate) fn probe(qemu: &str, arch: &str, requested: Accel, cache: &Path) -> Result<Chosen> {
    let chosen = |accel, reason| Ok(Chosen { accel, reason });
    if requested == Accel::Tcg {
        return chosen(Accelerator::Tcg, None);
    }
    let result = match remembered(qemu, arch, cache) {
        // A user who requests KVM may have just repaired it.
        Some(Err(_)) if requested == Accel::Kvm => test_kvm(qemu, arch, cache)?,
        Some(result) => result,
        None => test_kvm(qemu, arch, cache)?,
    };
    match result {
        Ok(()) => chosen(Accelerator::Kvm, None),
        Err(reason) if requested == Accel::Kvm => {
            bail!("--accel kvm: {reason}; use `--accel tcg` to run without KVM")
        }
        Err(reason) => chosen(Accelerator::Tcg, Some(reason)),
    }
}

/// Remembers in `cache` that KVM does not work, for the reason in `tcg`, and returns `tcg`.
pub(crate) fn disable_kvm(qemu: &str, cache: &Path, tcg: Chosen) -> Chosen {
    remember(qemu, cache, &Err(tcg.reason.clone().unwrap_or_default()));
    tcg
}

/// Runs the probe guest under KVM, and remembers the result in `cache`.
///
/// # Errors
/// QEMU cannot be run, or the lab was interrupted.
pub(crate) fn test_kvm(qemu: &str, arch: &str, cache: &Path) -> Result<KvmResult> {
    if let Err(reason) = check_host(arch) {
        return Ok(Err(reason));
    }
    let result = run_guest(qemu, "kvm", DEADLINE)?;
    remember(qemu, cache, &result);
    Ok(result)
}

/// Checks all that can be checked without starting QEMU.
fn check_host(arch: &str) -> KvmResult {
    let host = std::env::consts::ARCH;
    if (arch, host) != ("x86_64", "x86_64") {
        return Err(format!("no KVM for {arch} guests on {host}"));
    }
    let opened = OpenOptions::new().read(true).write(true).open("/dev/kvm");
    opened.map(drop).map_err(|error| explain_open(&error))
}

fn explain_open(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::NotFound => "there is no /dev/kvm".into(),
        io::ErrorKind::PermissionDenied => {
            "no permission to open /dev/kvm; run `sudo usermod -aG kvm $USER` and log in again"
                .into()
        }
        _ => format!("cannot open /dev/kvm: {error}"),
    }
}

/// Runs the probe guest with `-accel accel`. Succeeds if the guest finishes within `deadline`.
///
/// # Errors
/// QEMU cannot be run at all, or the lab was interrupted.
pub fn run_guest(qemu: &str, accel: &str, deadline: Duration) -> Result<KvmResult> {
    let dir = tempfile::tempdir().context("create a directory for the KVM probe")?;
    let image = dir.path().join("probe.rom");
    files::write(&image, rom())?;
    let device = "isa-debug-exit,iobase=0xf4,iosize=4";
    let mut words = ["-accel", accel, "-machine", "pc", "-m", "16", "-nodefaults"].to_vec();
    words.extend(["-no-user-config", "-no-reboot", "-display", "none"]);
    words.extend(["-device", device, "-bios"]);
    let words = words.into_iter().map(OsStr::new).chain([image.as_os_str()]);
    let qemu = guard::exec_command(qemu, words).stdin_null();
    let child = qemu.stdout_null().stderr_capture().start().context("start QEMU")?;
    let output = match wait::until(deadline, || child.try_wait())? {
        Waited::Done(output) => output,
        cut => {
            guard::stop(&child, Duration::ZERO).context("stop QEMU")?;
            if matches!(cut, Waited::Interrupted) {
                bail!("interrupted while testing KVM");
            }
            let seconds = deadline.as_secs_f64();
            return Ok(Err(format!("a probe guest did not finish within {seconds} s")));
        }
    };
    let status = output.status;
    if status.code() == Some(FINISHED) {
        return Ok(Ok(()));
    }
    let messages = String::from_utf8_lossy(&output.stderr);
    if status.code() == Some(guard::CANNOT_RUN) {
        return Err(anyhow!("{}", messages.trim()).context("test KVM"));
    }
    let last = messages.lines().rfind(|line| !line.trim().is_empty());
    let mut reason = format!("QEMU ended before the probe guest finished ({status})");
    if let Some(line) = last {
        let _ = write!(reason, ": {}", line.trim());
    }
    Ok(Err(reason))
}

/// Result of the last test of KVM.
#[derive(Serialize, Deserialize)]
struct Remembered {
    /// Value of [`key`] at the time of the test. The result is valid while [`key`] returns the same value.
    key: String,
    /// Reason why KVM does not work; `None` if it does.
    reason: Option<String>,
}

fn remembered(qemu: &str, arch: &str, cache: &Path) -> Option<KvmResult> {
    // Permissions may change at any time, and a check costs nothing.
    if let Err(reason) = check_host(arch) {
        return Some(Err(reason));
    }
    let text = fs::read(cache.join(REMEMBERED)).ok()?;
    let found: Remembered = serde_json::from_slice(&text).ok()?;
    let holds = found.key == key(qemu)?;
    holds.then(|| found.reason.map_or(Ok(()), Err))
}

/// Stores `result` in `cache`. Ignores errors: a result that is not stored only costs another probe.
fn remember(qemu: &str, cache: &Path, result: &KvmResult) {
    let Some(key) = key(qemu) else { return };
    let reason = result.clone().err();
    if let Ok(text) = serde_json::to_vec(&Remembered { key, reason }) {
        let _ = fs::create_dir_all(cache);
        let _ = files::write_atomically(&cache.join(REMEMBERED), &text);
    }
}

/// Returns a text that identifies this version of the probe, this boot of the host and this build of QEMU.
fn key(qemu: &str) -> Option<String> {
    let boot = fs::read_to_string("/proc/sys/kernel/random/boot_id").ok()?;
    let program = find_program(qemu, &std::env::var_os("PATH")?)?;
    let meta = program.metadata().ok()?;
    let (boot, path) = (boot.trim(), program.display());
    let (size, time) = (meta.size(), meta.mtime());
    Some(format!("{PROBE} {boot} {path} {size} {time}"))
}

/// Machine code of probe.S, up to the reset vector.
const CODE: [u8; 0xa6] = [
    0xfa, 0x2e, 0x66, 0x0f, 0x01, 0x16, 0xa0, 0x00, 0x0f, 0x20, 0xc0, 0x0c, 0x01, 0x0f, 0x22, 0xc0,
    0x66, 0xea, 0x18, 0x00, 0xff, 0xff, 0x08, 0x00, 0xb8, 0x10, 0x00, 0x00, 0x00, 0x8e, 0xd8, 0xc7,
    0x05, 0x00, 0x10, 0x00, 0x00, 0x03, 0x20, 0x00, 0x00, 0xc7, 0x05, 0x18, 0x20, 0x00, 0x00, 0x03,
    0x30, 0x00, 0x00, 0xc7, 0x05, 0xf8, 0x3f, 0x00, 0x00, 0x83, 0x00, 0xe0, 0xff, 0xb8, 0x00, 0x10,
    0x00, 0x00, 0x0f, 0x22, 0xd8, 0xb8, 0x20, 0x00, 0x00, 0x00, 0x0f, 0x22, 0xe0, 0xb9, 0x80, 0x00,
    0x00, 0xc0, 0x0f, 0x32, 0x80, 0xcc, 0x01, 0x0f, 0x30, 0x0f, 0x20, 0xc0, 0x0f, 0xba, 0xe8, 0x1f,
    0x0f, 0x22, 0xc0, 0xea, 0x6a, 0x00, 0xff, 0xff, 0x18, 0x00, 0xb9, 0x00, 0xe1, 0xf5, 0x05, 0xff,
    0xc9, 0x75, 0xfc, 0xb0, 0x2a, 0xe6, 0xf4, 0xf4, 0xeb, 0xfd, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00,
    0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0xff, 0xff, 0x00, 0x00, 0x00, 0x9b, 0xcf, 0x00,
    0xff, 0xff, 0x00, 0x00, 0x00, 0x93, 0xcf, 0x00, 0xff, 0xff, 0x00, 0x00, 0x00, 0x9b, 0xaf, 0x00,
    0x1f, 0x00, 0x80, 0x00, 0xff, 0xff,
];

/// `jmp` to the start of the ROM, at the reset vector, sixteen bytes below the ROM's end.
const RESET: [u8; 3] = [0xe9, 0x0d, 0x00];

/// Returns the ROM of the probe guest. 64 KiB is the smallest size that QEMU's PC accepts.
fn rom() -> Vec<u8> {
    let mut rom = vec![0; 0x10000];
    rom[..CODE.len()].copy_from_slice(&CODE);
    rom[0xfff0..][..RESET.len()].copy_from_slice(&RESET);
    rom
}

#[cfg(test)]
mod tests {
    use super::*;
    use xshell::cmd;

    /// Needs a C compiler with assembler and linker for this architecture, which cargo needs anyway.
    #[test]
    #[cfg(target_arch = "x86_64")]
    fn the_code_bytes_match_the_source() {
        let dir = tempfile::tempdir().unwrap();
        let source = concat!(env!("CARGO_MANIFEST_DIR"), "/src/machine/probe.S");
        let sh = crate::shell::in_dir(dir.path()).unwrap();
        cmd!(sh, "cc -c -o probe.o {source}").run().unwrap();
        let link = cmd!(sh, "ld -Ttext=0 --oformat=binary -e0 -oprobe probe.o");
        link.run().unwrap();
        assert!(fs::read(dir.path().join("probe")).unwrap() == rom());
    }

    #[test]
    fn a_result_is_remembered_for_one_qemu() {
        let cache = tempfile::tempdir().unwrap();
        let stored = || -> Option<(String, Option<String>)> {
            let text = fs::read(cache.path().join(REMEMBERED)).ok()?;
            let found: Remembered = serde_json::from_slice(&text).ok()?;
            Some((found.key, found.reason))
        };
        // Any program can stand in for QEMU here.
        remember("sh", cache.path(), &Err("hangs".into()));
        let (key_of_sh, reason) = stored().unwrap();
        assert_eq!(reason.as_deref(), Some("hangs"));
        assert_eq!(Some(key_of_sh), key("sh"));
        assert_ne!(key("sh"), key("cp"));
        remember("no-such-program", cache.path(), &Ok(()));
        assert_eq!(stored().unwrap().1.as_deref(), Some("hangs"));
        remember("sh", cache.path(), &Ok(()));
        assert_eq!(stored().unwrap().1, None);
    }

    #[test]
    fn kvm_is_not_tried_for_other_architectures() {
        let cache = tempfile::tempdir().unwrap();
        let chosen = probe("no-such-qemu", "parisc", Accel::Auto, cache.path()).unwrap();
        assert_eq!(chosen.accel, Accelerator::Tcg);
        assert!(chosen.reason.unwrap().starts_with("no KVM for parisc guests on "));
        let error = probe("no-such-qemu", "parisc", Accel::Kvm, cache.path()).unwrap_err();
        assert!(error.to_string().starts_with("--accel kvm: no KVM for parisc"));
        let chosen = probe("no-such-qemu", "parisc", Accel::Tcg, cache.path()).unwrap();
        assert_eq!(chosen.reason, None);
    }

    #[test]
    fn a_device_that_does_not_open_is_explained() {
        let text = |kind: io::ErrorKind| explain_open(&kind.into());
        insta::assert_snapshot!(text(io::ErrorKind::NotFound), @"there is no /dev/kvm");
        insta::assert_snapshot!(
            text(io::ErrorKind::PermissionDenied),
            @"no permission to open /dev/kvm; run `sudo usermod -aG kvm $USER` and log in again"
        );
        insta::assert_snapshot!(
            text(io::ErrorKind::ResourceBusy),
            @"cannot open /dev/kvm: resource busy"
        );
    }
}
