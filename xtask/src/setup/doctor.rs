// SPDX-License-Identifier: MIT OR Apache-2.0
//! `cargo xtask doctor`: what this machine has and what it lacks. Installs nothing.

use std::collections::HashSet;
use std::fmt::Write as _;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use nix::sys::statvfs::statvfs;
use serde::Serialize;
use walkdir::WalkDir;
use xshell::cmd;

use super::others::{self, Other};
use super::packages::{Distribution, needed};
use super::{Host, os_release};
use crate::machine::accel;
use crate::program::Program;
use crate::program::find_program;
use crate::shell;
use crate::target::Target;
use crate::text::columns::columns;
use crate::version::{self, number_in};

/// The target that decides the exit code, since it is the one that runs when none is named.
const TARGET: &str = "x86_64";

/// Free space below this is worth a word: sources, one build directory and one kernel take about as much.
const ROOM: u64 = 4 * GIB;

const GIB: u64 = 1 << 30;

/// What was found. The layout of `cargo xtask doctor --json`.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Findings {
    /// Name of the operating system, as it calls itself.
    pub system: String,
    /// The host's architecture.
    pub arch: String,
    /// Processors this process may use.
    pub cores: usize,
    /// Memory in all and available, bytes.
    pub memory: (u64, u64),
    /// First line of `rustc --version`; empty where there is none.
    pub rustc: String,
    /// The oldest Rust that builds the lab.
    pub rust_needed: String,
    /// What x86_64 needs, in the order of the lists.
    pub programs: Vec<Found>,
    /// What the other targets lack.
    pub others: Vec<Other>,
    /// Whether Debian's kernel source can be had here; if not, `--kernel-src` is needed.
    pub debian_source: bool,
    /// Whether KVM runs a guest.
    pub kvm: bool,
    /// Why it does not.
    pub kvm_reason: Option<String>,
    /// The lab's cache directory.
    pub cache: PathBuf,
    /// What is in it: name and bytes, without counting anything twice.
    pub cached: Vec<(String, u64)>,
    /// Bytes free where it lies.
    pub free: u64,
}

/// A program the lab needs.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Found {
    /// The program and its packages.
    #[serde(flatten)]
    pub program: Program,
    /// Where it is; `None`: missing.
    pub path: Option<PathBuf>,
    /// Its version; `None` where it does not say.
    pub version: Option<String>,
}

impl Findings {
    /// Whether the lab can test x86_64 here as things are.
    pub(crate) fn ready(&self) -> bool {
        self.rust_is_new_enough() && self.programs.iter().all(|found| found.path.is_some())
    }

    fn rust_is_new_enough(&self) -> bool {
        let numbers = |text: &str| -> Vec<u32> {
            let version = number_in(text).unwrap_or_default();
            version.split('.').flat_map(str::parse).collect()
        };
        numbers(&self.rustc) >= numbers(&self.rust_needed)
    }
}

/// Looks at this machine and prints what it found. Exit code 0: the lab can test x86_64; 2: it cannot.
///
/// # Errors
/// There is no cache directory, or no target x86_64.
pub(crate) fn run(targets: &[Target], json: bool) -> Result<u8> {
    let Some(target) = targets.iter().find(|target| target.name == TARGET) else {
        bail!("kernel-configs has no {TARGET}.yaml");
    };
    let others: Vec<&Target> = targets.iter().filter(|other| *other != target).collect();
    let findings = look(&Host::here()?, target, &others)?;
    match json {
        true => println!("{}", serde_json::to_string_pretty(&findings)?),
        false => print!("{}", text(&findings)),
    }
    Ok(if findings.ready() { 0 } else { 2 })
}

fn look(host: &Host, target: &Target, others: &[&Target]) -> Result<Findings> {
    let programs: Vec<Found> = needed(&[target], true)?
        .into_iter()
        .map(|program| found(host, program))
        .collect();
    let qemu = &target.qemu.binary;
    let kvm = match find_program(qemu, &host.path) {
        Some(_) => accel::test_kvm(qemu, &target.kernel.arch, &host.cache)?,
        None => Err(format!("not tried without {qemu}")),
    };
    let family = os_release::family(&host.os_release);
    let apt = find_program("apt-get", &host.path);
    Ok(Findings {
        system: os_release::pretty_name(&host.os_release).to_owned(),
        arch: std::env::consts::ARCH.into(),
        cores: std::thread::available_parallelism().map_or(1, |cores| cores.get()),
        memory: memory(&fs::read_to_string("/proc/meminfo").unwrap_or_default()),
        rustc: version::rustc(),
        rust_needed: env!("CARGO_PKG_RUST_VERSION").into(),
        programs,
        others: others::look(host, others)?,
        debian_source: family == Some(Distribution::Debian) && apt.is_some(),
        kvm: kvm.is_ok(),
        kvm_reason: kvm.err(),
        cached: cached(&host.cache),
        free: free(&host.cache)?,
        cache: host.cache.clone(),
    })
}

fn found(host: &Host, program: Program) -> Found {
    let path = program.find(&host.path);
    // A library or a header has no version to ask for.
    let runs = path.as_ref().filter(|_| program.files.is_empty());
    Found {
        version: runs.and_then(|path| version_of(path)),
        path,
        program,
    }
}

fn version_of(program: &Path) -> Option<String> {
    let sh = shell::here().ok()?;
    let output = shell::output(cmd!(sh, "{program} --version")).ok()?;
    number_in(&String::from_utf8_lossy(&output.stdout))
}

/// Total and available bytes in a /proc/meminfo, whose unit is KiB; 0 where it does not say.
fn memory(meminfo: &str) -> (u64, u64) {
    let value = |key: &str| -> u64 {
        let mut lines = meminfo.lines();
        let rest = lines.find_map(|line| line.strip_prefix(key)).unwrap_or("");
        let kib = rest.split_whitespace().nth(1).unwrap_or("0");
        kib.parse::<u64>().unwrap_or(0) * 1024
    };
    (value("MemTotal"), value("MemAvailable"))
}

/// Name and size of each directory in the cache. Build trees share files with their source by hard links: a file
/// counts where it is met first, and names are taken backwards so that `sources` comes before `slots`.
fn cached(cache: &Path) -> Vec<(String, u64)> {
    let mut seen = HashSet::new();
    let entries = WalkDir::new(cache)
        .min_depth(1)
        .max_depth(1)
        .sort_by(|a, b| b.file_name().cmp(a.file_name()));
    let directories = entries
        .into_iter()
        .flatten()
        .filter(|entry| entry.file_type().is_dir());
    directories
        .map(|dir| {
            let files = WalkDir::new(dir.path()).into_iter().flatten();
            let bytes: u64 = files
                .filter_map(|file| file.metadata().ok())
                .filter(|meta| seen.insert((meta.dev(), meta.ino())))
                .map(|meta| meta.blocks() * 512)
                .sum();
            (dir.file_name().to_string_lossy().into_owned(), bytes)
        })
        .collect()
}

/// Free bytes where `cache` is or would be made.
fn free(cache: &Path) -> Result<u64> {
    let existing = cache.ancestors().find(|dir| dir.exists());
    let existing = existing.unwrap_or(Path::new("/"));
    let stat = statvfs(existing).with_context(|| format!("look at {}", existing.display()))?;
    // The types differ between architectures; where they do not, the conversion is one to the same type.
    #[allow(clippy::useless_conversion)]
    let bytes = u64::from(stat.blocks_available()) * u64::from(stat.fragment_size());
    Ok(bytes)
}

fn gib(bytes: u64) -> String {
    format!("{:.1} GiB", bytes as f64 / GIB as f64)
}

/// The findings for a person.
pub(crate) fn text(found: &Findings) -> String {
    let mut text = format!(
        "{} on {}, {} cores, {} of {} memory available\n\n",
        found.system,
        found.arch,
        found.cores,
        gib(found.memory.1),
        gib(found.memory.0)
    );
    text.push_str(&program_table(found));
    text.push('\n');
    text.push_str(&other_facts(found));
    text.push('\n');
    if !found.others.is_empty() {
        text.push_str("Other targets:\n\n");
        text.push_str(&others::text(&found.others));
        text.push('\n');
    }
    text.push_str(&conclusion(found));
    text
}

fn program_table(found: &Findings) -> String {
    let rust_note = match found.rust_is_new_enough() {
        true => String::new(),
        false => format!("{} or newer is needed: rustup update", found.rust_needed),
    };
    let rustc = number_in(&found.rustc).unwrap_or("missing".into());
    let mut rows = vec![["rustc".to_owned(), rustc, rust_note]];
    for Found {
        program,
        path,
        version,
    } in &found.programs
    {
        let (state, note) = match (path, version) {
            (None, _) => ("missing".into(), packages(program)),
            (Some(_), Some(version)) => (version.clone(), String::new()),
            (Some(path), None) => ("there".into(), path.display().to_string()),
        };
        rows.push([program.program.clone(), state, note]);
    }
    let rows: Vec<[&str; 3]> = rows
        .iter()
        .map(|row| row.each_ref().map(String::as_str))
        .collect();
    columns(&rows)
}

fn packages(program: &Program) -> String {
    let Program {
        debian,
        fedora,
        arch,
        ..
    } = program;
    format!("Debian: {debian}, Fedora: {fedora}, Arch: {arch}")
}

fn other_facts(found: &Findings) -> String {
    let mut text = String::new();
    let _ = match &found.kvm_reason {
        None => writeln!(text, "KVM     runs a guest"),
        Some(reason) => writeln!(text, "KVM     not used: {reason}; guests run under TCG"),
    };
    let _ = match found.debian_source {
        true => writeln!(text, "kernel  Debian's source, through apt-get"),
        false => writeln!(
            text,
            "kernel  Debian's source cannot be had here: use --kernel-src"
        ),
    };
    let total: u64 = found.cached.iter().map(|(_, bytes)| bytes).sum();
    let parts: Vec<String> = found
        .cached
        .iter()
        .map(|(name, bytes)| format!("{name} {}", gib(*bytes)))
        .collect();
    let _ = write!(text, "cache   {}: {}", found.cache.display(), gib(total));
    if !parts.is_empty() {
        let _ = write!(text, " ({})", parts.join(", "));
    }
    let _ = writeln!(text, ", {} free", gib(found.free));
    if found.free < ROOM {
        let _ = writeln!(
            text,
            "        little room: a kernel build takes about {}; `cargo xtask clean` makes some",
            gib(ROOM)
        );
    }
    text
}

fn conclusion(found: &Findings) -> String {
    let missing = found.programs.iter().filter(|f| f.path.is_none()).count();
    match (missing, found.debian_source) {
        _ if !found.rust_is_new_enough() => "This Rust is too old to build the lab.\n".into(),
        (0, _) => "Ready: cargo xtask test\n".into(),
        (_, true) => "`cargo xtask test` installs what is missing; --no-setup forbids it.\n".into(),
        (_, false) => "Install what is missing, then: cargo xtask test --kernel-src DIR\n".into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::program::tests::program;

    fn findings() -> Findings {
        let with = |name: &str, path: Option<&str>, version: Option<&str>| Found {
            program: program(name),
            path: path.map(PathBuf::from),
            version: version.map(str::to_owned),
        };
        Findings {
            system: "Debian GNU/Linux 12 (bookworm)".into(),
            arch: "x86_64".into(),
            cores: 2,
            memory: (24 * GIB, 20 * GIB),
            rustc: "rustc 1.95.0 (f2d3ce0bd 2026-03-21)".into(),
            rust_needed: "1.85".into(),
            programs: vec![
                with("gcc", Some("/usr/bin/gcc"), Some("12.2.0")),
                with("libc.a", Some("/usr/lib64/libc.a"), None),
            ],
            others: vec![Other {
                name: "arm64".into(),
                missing: vec!["qemu-system-aarch64".into()],
                unwatched: None,
            }],
            debian_source: true,
            kvm: true,
            kvm_reason: None,
            cache: "/home/me/.cache/dmmap-lab".into(),
            cached: vec![("kernels".into(), GIB / 2), ("slots".into(), 3 * GIB)],
            free: 50 * GIB,
        }
    }

    #[test]
    fn a_machine_that_has_everything() {
        let found = findings();
        assert!(found.ready());
        insta::assert_snapshot!(text(&found), @"
        Debian GNU/Linux 12 (bookworm) on x86_64, 2 cores, 20.0 GiB of 24.0 GiB memory available

          rustc   1.95.0
          gcc     12.2.0
          libc.a  there   /usr/lib64/libc.a

        KVM     runs a guest
        kernel  Debian's source, through apt-get
        cache   /home/me/.cache/dmmap-lab: 3.5 GiB (kernels 0.5 GiB, slots 3.0 GiB), 50.0 GiB free

        Other targets:

          arm64  lacks qemu-system-aarch64

        Ready: cargo xtask test
        ");
    }

    #[test]
    fn a_machine_that_lacks_things() {
        let mut found = findings();
        found.programs[0].path = None;
        found.kvm_reason = Some("there is no /dev/kvm".into());
        found.cached.clear();
        found.free = GIB;
        assert!(!found.ready());
        insta::assert_snapshot!(text(&found), @"
        Debian GNU/Linux 12 (bookworm) on x86_64, 2 cores, 20.0 GiB of 24.0 GiB memory available

          rustc   1.95.0
          gcc     missing  Debian: gcc-deb, Fedora: gcc-fed, Arch: one-for-all
          libc.a  there    /usr/lib64/libc.a

        KVM     not used: there is no /dev/kvm; guests run under TCG
        kernel  Debian's source, through apt-get
        cache   /home/me/.cache/dmmap-lab: 0.0 GiB, 1.0 GiB free
                little room: a kernel build takes about 4.0 GiB; `cargo xtask clean` makes some

        Other targets:

          arm64  lacks qemu-system-aarch64

        `cargo xtask test` installs what is missing; --no-setup forbids it.
        ");
    }

    #[test]
    fn a_machine_that_is_not_debian() {
        let mut found = findings();
        found.debian_source = false;
        found.programs[0].path = None;
        let text = text(&found);
        let end: Vec<_> = text.lines().rev().take(4).collect();
        insta::assert_snapshot!(end.join("\n"), @"
        Install what is missing, then: cargo xtask test --kernel-src DIR

          arm64  lacks qemu-system-aarch64
        ");
    }

    #[test]
    fn an_old_rust_is_not_enough() {
        let mut found = findings();
        found.rustc = "rustc 1.84.1 (e71f9a9a9 2025-01-27)".into();
        assert!(!found.ready());
        let text = text(&found);
        insta::assert_snapshot!(text.lines().nth(2).unwrap(), @"  rustc   1.84.1  1.85 or newer is needed: rustup update");
        found.rustc = "rustc 1.85.0 (4d91de4e4 2025-02-17)".into();
        assert!(found.ready());
        found.rustc = String::new();
        assert!(!found.ready());
    }

    #[test]
    fn memory_is_read_from_meminfo() {
        let meminfo = "MemTotal:       2048 kB\nMemFree: 5 kB\nMemAvailable:   1024 kB\n";
        assert_eq!(memory(meminfo), (2 << 20, 1 << 20));
    }

    #[test]
    fn a_hard_link_takes_no_space() {
        let dir = tempfile::tempdir().unwrap();
        for name in ["slots", "sources"] {
            fs::create_dir(dir.path().join(name)).unwrap();
        }
        let original = dir.path().join("slots/a");
        fs::write(&original, vec![1; 1 << 20]).unwrap();
        fs::hard_link(&original, dir.path().join("sources/a")).unwrap();
        fs::write(dir.path().join("kvm.json"), "{}").unwrap();
        let cached = cached(dir.path());
        let names: Vec<_> = cached.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(names, ["sources", "slots"]);
        assert!(cached[0].1 >= 1 << 20);
        assert!(cached[1].1 < 1 << 19);
    }
}
