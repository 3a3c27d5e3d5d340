// SPDX-License-Identifier: MIT OR Apache-2.0
//! Whether KVM really runs a guest here: asked by running one, since a /dev/kvm that opens proves nothing.

use std::fmt::Write as _;
use std::fs::{self, OpenOptions};
use std::io::{self, Read};
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::process::Stdio;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, bail};
use clap::ValueEnum;
use serde::{Deserialize, Serialize};

use crate::program::find_program;
use crate::{guard, interrupt, paths};

/// How QEMU runs the guest, as asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Accel {
    /// KVM where it really works, else TCG.
    Auto,
    /// KVM, or nothing.
    Kvm,
    /// QEMU's own translator, which works everywhere.
    Tcg,
}

impl Accel {
    /// What a plan says, for which nothing is started: `auto` may yet turn out to be KVM.
    pub fn planned(self) -> &'static str {
        match self {
            Accel::Kvm => "kvm",
            Accel::Auto | Accel::Tcg => "tcg",
        }
    }
}

/// How QEMU will run the guest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Chosen {
    /// Argument of `-accel`: `kvm` or `tcg`.
    pub accel: &'static str,
    /// Why KVM was not chosen, where nobody asked for TCG.
    pub reason: Option<String>,
}

/// Whether KVM runs a guest; if not, why not.
pub type Verdict = Result<(), String>;

/// The guest's work takes 0.8 s under TCG on two busy cores and less in hardware; see probe.S for hosts where it
/// takes minutes.
const DEADLINE: Duration = Duration::from_secs(3);

const POLL: Duration = Duration::from_millis(5);

/// QEMU's exit code after the guest wrote 0x2a to isa-debug-exit, which makes `value << 1 | 1` of it.
const RAN: i32 = 0x2a << 1 | 1;

/// Goes up with every change of what is run to find the answer.
const PROBE: u32 = 2;

/// The answer last found, in the lab's cache directory.
const REMEMBERED: &str = "kvm.json";

/// Chooses for the QEMU program `qemu`, whose guest is of kernel architecture `arch`.
///
/// The answer for KVM is kept in `cache` until the host boots again, QEMU changes, or /dev/kvm is gone.
///
/// # Errors
/// KVM was asked for by name and does not work; QEMU is not there; the lab was interrupted meanwhile.
pub(crate) fn probe(qemu: &str, arch: &str, wish: Accel, cache: &Path) -> Result<Chosen> {
    if wish == Accel::Tcg {
        return Ok(Chosen {
            accel: "tcg",
            reason: None,
        });
    }
    let verdict = match remembered(qemu, arch, cache) {
        // Somebody who asks by name may have just repaired it.
        Some(Err(_)) if wish == Accel::Kvm => ask(qemu, arch, cache)?,
        Some(verdict) => verdict,
        None => ask(qemu, arch, cache)?,
    };
    match verdict {
        Ok(()) => Ok(Chosen {
            accel: "kvm",
            reason: None,
        }),
        Err(reason) if wish == Accel::Kvm => {
            bail!("--accel kvm: {reason}; `--accel tcg` works without it")
        }
        Err(reason) => Ok(Chosen {
            accel: "tcg",
            reason: Some(reason),
        }),
    }
}

/// Remembers in `cache` that KVM is not to be trusted here, and hands back what to go on with.
pub(crate) fn disable_kvm(qemu: &str, cache: &Path, tcg: Chosen) -> Chosen {
    remember(qemu, cache, &Err(tcg.reason.clone().unwrap_or_default()));
    tcg
}

/// Runs a guest to see, and remembers the answer in `cache`.
///
/// # Errors
/// QEMU cannot be run; the lab was interrupted meanwhile.
pub(crate) fn ask(qemu: &str, arch: &str, cache: &Path) -> Result<Verdict> {
    if let Err(reason) = usable(arch) {
        return Ok(Err(reason));
    }
    let verdict = run_guest(qemu, "kvm", DEADLINE)?;
    remember(qemu, cache, &verdict);
    Ok(verdict)
}

/// What can be known without starting anything.
fn usable(arch: &str) -> Verdict {
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
            "/dev/kvm may not be opened; `sudo usermod -aG kvm $USER` and a new login allow it"
                .into()
        }
        _ => format!("/dev/kvm cannot be opened: {error}"),
    }
}

/// Runs a guest of a few instructions with `-accel accel` and sees whether its last one is reached in time.
///
/// # Errors
/// QEMU cannot be run at all; the lab was interrupted meanwhile.
pub fn run_guest(qemu: &str, accel: &str, deadline: Duration) -> Result<Verdict> {
    let dir = tempfile::tempdir().context("make a directory for the KVM probe")?;
    let image = dir.path().join("probe.rom");
    fs::write(&image, rom()).with_context(|| format!("write {}", image.display()))?;
    let mut child = guard::exec_command(qemu)
        .args(["-accel", accel, "-machine", "pc", "-m", "16"])
        .args(["-nodefaults", "-no-user-config", "-no-reboot"])
        .args(["-display", "none"])
        .args(["-device", "isa-debug-exit,iobase=0xf4,iosize=4", "-bios"])
        .arg(&image)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .with_context(|| format!("start {qemu}"))?;
    let start = Instant::now();
    let status = loop {
        if let Some(status) = child
            .try_wait()
            .with_context(|| format!("wait for {qemu}"))?
        {
            break status;
        }
        let interrupted = interrupt::requested();
        if interrupted || start.elapsed() >= deadline {
            guard::stop(&mut child, Duration::ZERO).with_context(|| format!("stop {qemu}"))?;
            if interrupted {
                bail!("interrupted while looking whether KVM works");
            }
            let seconds = humantime::format_duration(deadline);
            return Ok(Err(format!(
                "a guest under {accel} hangs or crawls: 200 million instructions are not done after {seconds}"
            )));
        }
        std::thread::sleep(POLL);
    };
    if status.code() == Some(RAN) {
        return Ok(Ok(()));
    }
    let mut said = String::new();
    if let Some(mut stderr) = child.stderr.take() {
        // Only to explain: what cannot be read is left out.
        let _ = stderr.read_to_string(&mut said);
    }
    if status.code() == Some(guard::CANNOT_RUN.into()) {
        return Err(anyhow!("{}", said.trim()).context("look whether KVM works"));
    }
    let last = said.lines().rfind(|line| !line.trim().is_empty());
    let mut reason = format!("a guest under {accel} ended with {status}");
    if let Some(line) = last {
        let _ = write!(reason, ": {}", line.trim());
    }
    Ok(Err(reason))
}

/// The answer found last, and what it holds for.
#[derive(Serialize, Deserialize)]
struct Remembered {
    key: String,
    /// `None`: KVM works.
    reason: Option<String>,
}

fn remembered(qemu: &str, arch: &str, cache: &Path) -> Option<Verdict> {
    // Permissions may change at any time and cost nothing to look at.
    if let Err(reason) = usable(arch) {
        return Some(Err(reason));
    }
    let text = fs::read(cache.join(REMEMBERED)).ok()?;
    let found: Remembered = serde_json::from_slice(&text).ok()?;
    let holds = found.key == key(qemu)?;
    holds.then(|| found.reason.map_or(Ok(()), Err))
}

/// Best effort: an answer that is not kept is asked for again.
fn remember(qemu: &str, cache: &Path, verdict: &Verdict) {
    let Some(key) = key(qemu) else { return };
    let reason = verdict.clone().err();
    if let Ok(text) = serde_json::to_vec(&Remembered { key, reason }) {
        let _ = fs::create_dir_all(cache);
        let _ = paths::write_whole(&cache.join(REMEMBERED), &text);
    }
}

/// Tells this probe, this boot of the host and this build of QEMU from others.
fn key(qemu: &str) -> Option<String> {
    let boot = fs::read_to_string("/proc/sys/kernel/random/boot_id").ok()?;
    let program = find_program(qemu, &std::env::var_os("PATH")?)?;
    let meta = program.metadata().ok()?;
    let (boot, path) = (boot.trim(), program.display());
    let (size, time) = (meta.size(), meta.mtime());
    Some(format!("{PROBE} {boot} {path} {size} {time}"))
}

/// The assembled probe.S, up to its reset vector.
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

/// `jmp` from the reset vector, sixteen bytes below the ROM's end, to its start.
const RESET: [u8; 3] = [0xe9, 0x0d, 0x00];

/// The ROM: 64 KiB, the least that QEMU's PC takes.
fn rom() -> Vec<u8> {
    let mut rom = vec![0; 0x10000];
    rom[..CODE.len()].copy_from_slice(&CODE);
    rom[0xfff0..][..RESET.len()].copy_from_slice(&RESET);
    rom
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::Command;

    /// Needs what cargo needs anyway: a C compiler with its assembler and linker, for this architecture.
    #[test]
    #[cfg(target_arch = "x86_64")]
    fn the_bytes_are_those_of_the_source() {
        let dir = tempfile::tempdir().unwrap();
        let run = |program: &str, args: &[&str]| {
            let mut command = Command::new(program);
            let status = command.args(args).current_dir(dir.path()).status().unwrap();
            assert!(status.success(), "{program} {args:?}");
        };
        let source = concat!(env!("CARGO_MANIFEST_DIR"), "/src/machine/probe.S");
        run("cc", &["-c", "-o", "probe.o", source]);
        let flat = ["-Ttext=0", "--oformat=binary"];
        run("ld", &[&["-e0", "-oprobe", "probe.o"], &flat[..]].concat());
        assert!(fs::read(dir.path().join("probe")).unwrap() == rom());
    }

    #[test]
    fn an_answer_is_remembered_for_one_qemu() {
        let cache = tempfile::tempdir().unwrap();
        let stored = || -> Option<(String, Option<String>)> {
            let text = fs::read(cache.path().join(REMEMBERED)).ok()?;
            let found: Remembered = serde_json::from_slice(&text).ok()?;
            Some((found.key, found.reason))
        };
        // Any program will do in place of QEMU.
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
    fn other_machines_are_not_even_tried() {
        let cache = tempfile::tempdir().unwrap();
        let chosen = probe("no-such-qemu", "parisc", Accel::Auto, cache.path()).unwrap();
        assert_eq!(chosen.accel, "tcg");
        assert!(
            chosen
                .reason
                .unwrap()
                .starts_with("no KVM for parisc guests on ")
        );
        let error = probe("no-such-qemu", "parisc", Accel::Kvm, cache.path()).unwrap_err();
        assert!(
            error
                .to_string()
                .starts_with("--accel kvm: no KVM for parisc")
        );
        let chosen = probe("no-such-qemu", "parisc", Accel::Tcg, cache.path()).unwrap();
        assert_eq!(chosen.reason, None);
    }

    #[test]
    fn a_device_that_does_not_open_is_explained() {
        let text = |kind: io::ErrorKind| explain_open(&kind.into());
        insta::assert_snapshot!(text(io::ErrorKind::NotFound), @"there is no /dev/kvm");
        insta::assert_snapshot!(
            text(io::ErrorKind::PermissionDenied),
            @"/dev/kvm may not be opened; `sudo usermod -aG kvm $USER` and a new login allow it"
        );
        insta::assert_snapshot!(
            text(io::ErrorKind::ResourceBusy),
            @"/dev/kvm cannot be opened: resource busy"
        );
    }
}
