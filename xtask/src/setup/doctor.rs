// SPDX-License-Identifier: MIT OR Apache-2.0
//! `cargo xtask doctor`: reports what this machine has and what it lacks. Installs nothing.

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

use super::others::{self, OtherTarget};
use super::packages::{Distribution, needed};
use super::{Host, os_release};
use crate::files;
use crate::machine::accel;
use crate::output::{out, outln};
use crate::program::{Program, find_program};
use crate::shell;
use crate::target::Target;
use crate::text::columns::columns;
use crate::version::{self, number_in};

/// Target that decides the exit code: the default of `--arch`.
const TARGET: &str = "x86_64";

/// Free space below which the report has a warning. Sources, one build directory and one kernel take about as much.
const BUILD_SPACE: u64 = 4 * GIB;

const GIB: u64 = 1 << 30;

/// Properties of this machine, in the layout of `cargo xtask doctor --json`.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct HostReport {
    /// Name and version of the operating system, from /etc/os-release.
    pub system: String,
    /// Architecture of the host.
    pub arch: String,
    /// Number of CPUs that this process may use.
    pub cores: usize,
    /// Total and available memory in bytes.
    pub memory: (u64, u64),
    /// First line of `rustc --version`; empty if rustc is missing.
    pub rustc: String,
    /// Oldest version of Rust that can build the lab.
    pub rust_needed: String,
    /// Programs that x86_64 needs.
    pub programs: Vec<Found>,
    /// Other targets, and what this machine lacks for them.
    pub others: Vec<OtherTarget>,
    /// True if Debian's kernel source is available here. If false, the user must pass `--kernel-src`.
    pub debian_source: bool,
    /// True if KVM works.
    pub kvm: bool,
    /// Reason why KVM does not work.
    pub kvm_reason: Option<String>,
    /// The lab's cache directory.
    pub cache: PathBuf,
    /// Names of the directories in the cache, with their sizes in bytes. Each file is counted once.
    pub cached: Vec<(String, u64)>,
    /// Free space for the cache in bytes.
    pub free: u64,
}

/// A program that the lab needs.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Found {
    #[serde(flatten)]
    pub program: Program,
    /// Path of the program; `None` if it is missing.
    pub path: Option<PathBuf>,
    /// Version of the program; `None` if it is unknown.
    pub version: Option<String>,
}

impl HostReport {
    /// Returns true if this machine has everything to test x86_64.
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

/// Examines this machine and prints the report. Returns the exit code: 0 if the lab can test x86_64 here, 2 if not.
///
/// # Errors
/// The location of the cache directory is unknown, or there is no target x86_64.
pub(crate) fn run(targets: &[Target], json: bool) -> Result<u8> {
    let Some(target) = targets.iter().find(|target| target.name == TARGET) else {
        bail!("kernel-configs has no {TARGET}.yaml");
    };
    let others: Vec<&Target> = targets.iter().filter(|other| *other != target).collect();
    let report = examine(&Host::here()?, target, &others)?;
    match json {
        true => outln!("{}", serde_json::to_string_pretty(&report)?),
        false => out!("{}", text(&report)),
    }
    Ok(if report.ready() { 0 } else { 2 })
}

fn examine(host: &Host, target: &Target, others: &[&Target]) -> Result<HostReport> {
    let programs: Vec<Found> =
        needed(&[target], true)?.into_iter().map(|program| found(host, program)).collect();
    let qemu = &target.qemu.binary;
    let kvm = match find_program(qemu, &host.path) {
        Some(_) => accel::test_kvm(qemu, &target.kernel.arch, &host.cache)?,
        None => Err(format!("not tested because {qemu} is missing")),
    };
    let family = os_release::family(&host.os_release);
    let apt = find_program("apt-get", &host.path);
    Ok(HostReport {
        system: os_release::pretty_name(&host.os_release).to_owned(),
        arch: std::env::consts::ARCH.into(),
        cores: std::thread::available_parallelism().map_or(1, |cores| cores.get()),
        memory: memory(&fs::read_to_string("/proc/meminfo").unwrap_or_default()),
        rustc: version::rustc(),
        rust_needed: env!("CARGO_PKG_RUST_VERSION").into(),
        programs,
        others: others::examine(host, others)?,
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
    // Libraries and headers do not report a version.
    let runs = path.as_ref().filter(|_| program.files.is_empty());
    Found { version: runs.and_then(|path| version_of(path)), path, program }
}

fn version_of(program: &Path) -> Option<String> {
    let sh = shell::here().ok()?;
    let output = shell::output(cmd!(sh, "{program} --version")).ok()?;
    number_in(&String::from_utf8_lossy(&output.stdout))
}

/// Returns total and available memory in bytes, from the content of /proc/meminfo, which counts in KiB. An absent value
/// is 0.
fn memory(meminfo: &str) -> (u64, u64) {
    let value = |key| files::kib_in(meminfo, key).unwrap_or(0) * 1024;
    (value("MemTotal"), value("MemAvailable"))
}

/// Returns name and size of each directory in the cache.
///
/// Build directories share files with their source by hard links. A file counts for the first directory that contains it.
/// The directories are visited in reverse order of their names, so that `sources` comes before `slots`.
fn cached(cache: &Path) -> Vec<(String, u64)> {
    let mut seen = HashSet::new();
    let entries = WalkDir::new(cache)
        .min_depth(1)
        .max_depth(1)
        .sort_by(|a, b| b.file_name().cmp(a.file_name()));
    let directories = entries.into_iter().flatten().filter(|entry| entry.file_type().is_dir());
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

/// Returns the free space, in bytes, of the file system that contains or would contain `cache`.
fn free(cache: &Path) -> Result<u64> {
    let existing = cache.ancestors().find(|dir| dir.exists());
    let existing = existing.unwrap_or(Path::new("/"));
    let stat = statvfs(existing)
        .with_context(|| format!("read the free space of {}", existing.display()))?;
    // The types differ between architectures. On some, the conversion changes nothing.
    #[allow(clippy::useless_conversion)]
    let bytes = u64::from(stat.blocks_available()) * u64::from(stat.fragment_size());
    Ok(bytes)
}

fn gib(bytes: u64) -> String {
    format!("{:.1} GiB", bytes as f64 / GIB as f64)
}

/// Formats the human-readable report.
pub(crate) fn text(found: &HostReport) -> String {
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

fn program_table(found: &HostReport) -> String {
    let rust_note = match found.rust_is_new_enough() {
        true => String::new(),
        false => format!("{} or newer is needed: rustup update", found.rust_needed),
    };
    let rustc = number_in(&found.rustc).unwrap_or("missing".into());
    let mut rows = vec![["rustc".to_owned(), rustc, rust_note]];
    for Found { program, path, version } in &found.programs {
        let (state, note) = match (path, version) {
            (None, _) => ("missing".into(), packages(program)),
            (Some(_), Some(version)) => (version.clone(), String::new()),
            (Some(path), None) => ("found".into(), path.display().to_string()),
        };
        rows.push([program.program.clone(), state, note]);
    }
    columns(&rows)
}

fn packages(program: &Program) -> String {
    let Program { debian, fedora, arch, .. } = program;
    format!("Debian: {debian}, Fedora: {fedora}, Arch: {arch}")
}

fn other_facts(found: &HostReport) -> String {
    let mut text = String::new();
    let _ = match &found.kvm_reason {
        None => writeln!(text, "KVM     works"),
        Some(reason) => writeln!(text, "KVM     off: {reason}; using TCG"),
    };
    let _ = match found.debian_source {
        true => writeln!(text, "kernel  Debian's source, through apt-get"),
        false => writeln!(text, "kernel  Debian's source is not available here; use --kernel-src"),
    };
    let total: u64 = found.cached.iter().map(|(_, bytes)| bytes).sum();
    let parts: Vec<String> =
        found.cached.iter().map(|(name, bytes)| format!("{name} {}", gib(*bytes))).collect();
    let _ = write!(text, "cache   {}: {}", found.cache.display(), gib(total));
    if !parts.is_empty() {
        let _ = write!(text, " ({})", parts.join(", "));
    }
    let _ = writeln!(text, ", {} free", gib(found.free));
    if found.free < BUILD_SPACE {
        let _ = writeln!(
            text,
            "        too little free space: a kernel build takes about {}; `cargo xtask clean` frees some",
            gib(BUILD_SPACE)
        );
    }
    text
}

fn conclusion(found: &HostReport) -> String {
    let missing = found.programs.iter().filter(|f| f.path.is_none()).count();
    match (missing, found.debian_source) {
        _ if !found.rust_is_new_enough() => "Rust is missing or too old to build the lab.\n".into(),
        (0, _) => "Ready. Run: cargo xtask test\n".into(),
        (_, true) => {
            "`cargo xtask test` installs what is missing, unless --no-setup is given.\n".into()
        }
        (_, false) => {
            "Install what is missing, then run: cargo xtask test --kernel-src DIR\n".into()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::program::tests::program;

    fn report() -> HostReport {
        let with = |name: &str, path: Option<&str>, version: Option<&str>| Found {
            program: program(name),
            path: path.map(PathBuf::from),
            version: version.map(str::to_owned),
        };
        HostReport {
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
            others: vec![OtherTarget {
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
    fn a_complete_machine() {
        let found = report();
        assert!(found.ready());
        insta::assert_snapshot!(text(&found), @"
        Debian GNU/Linux 12 (bookworm) on x86_64, 2 cores, 20.0 GiB of 24.0 GiB memory available

          rustc   1.95.0
          gcc     12.2.0
          libc.a  found   /usr/lib64/libc.a

        KVM     works
        kernel  Debian's source, through apt-get
        cache   /home/me/.cache/dmmap-lab: 3.5 GiB (kernels 0.5 GiB, slots 3.0 GiB), 50.0 GiB free

        Other targets:

          arm64  missing: qemu-system-aarch64

        Ready. Run: cargo xtask test
        ");
    }

    #[test]
    fn a_machine_with_a_missing_program_no_kvm_and_a_full_disk() {
        let mut found = report();
        found.programs[0].path = None;
        found.kvm_reason = Some("there is no /dev/kvm".into());
        found.cached.clear();
        found.free = GIB;
        assert!(!found.ready());
        insta::assert_snapshot!(text(&found), @"
        Debian GNU/Linux 12 (bookworm) on x86_64, 2 cores, 20.0 GiB of 24.0 GiB memory available

          rustc   1.95.0
          gcc     missing  Debian: gcc-deb, Fedora: gcc-fed, Arch: one-for-all
          libc.a  found    /usr/lib64/libc.a

        KVM     off: there is no /dev/kvm; using TCG
        kernel  Debian's source, through apt-get
        cache   /home/me/.cache/dmmap-lab: 0.0 GiB, 1.0 GiB free
                too little free space: a kernel build takes about 4.0 GiB; `cargo xtask clean` frees some

        Other targets:

          arm64  missing: qemu-system-aarch64

        `cargo xtask test` installs what is missing, unless --no-setup is given.
        ");
    }

    #[test]
    fn a_machine_without_debians_source() {
        let mut found = report();
        found.debian_source = false;
        found.programs[0].path = None;
        let text = text(&found);
        let end: Vec<_> = text.lines().rev().take(4).collect();
        insta::assert_snapshot!(end.join("\n"), @"
        Install what is missing, then run: cargo xtask test --kernel-src DIR

          arm64  missing: qemu-system-aarch64
        ");
    }

    #[test]
    fn an_old_rust_is_reported() {
        let mut found = report();
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
    fn a_hard_linked_file_is_counted_once() {
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
