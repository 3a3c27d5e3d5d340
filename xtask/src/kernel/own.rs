// SPDX-License-Identifier: MIT OR Apache-2.0
//! A user's own tree: which of its files are source, and what is in them.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result, bail};
use walkdir::WalkDir;
use xshell::cmd;

use super::digest;
use super::source::Listing;
use crate::shell;

/// A file changed this shortly before it was read may be changed again within the same tick of its file system's
/// clock, and then looks the same. Two seconds is FAT, the coarsest there is.
const TICK: Duration = Duration::from_secs(2);

/// The source files below `root`, with what identifies their content.
///
/// `index` is a file of the cache that remembers the digests, so that only what changed is read again.
///
/// # Errors
/// A file cannot be read.
pub(super) fn listing(root: &Path, index: &Path) -> Result<Listing> {
    let known = read_index(index);
    let settled = SystemTime::now() - TICK;
    let mut listing = Listing::new();
    let mut lines = String::new();
    for path in files(root)? {
        let file = root.join(&path);
        let meta = match fs::symlink_metadata(&file) {
            Ok(meta) => meta,
            // In git's index, but deleted.
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            Err(error) => return Err(error).with_context(|| format!("read {}", file.display())),
        };
        // A submodule, or a socket: no source.
        if !meta.is_file() && !meta.is_symlink() {
            continue;
        }
        let stamp = format!(
            "{} {} {} {}",
            meta.ino(),
            meta.size(),
            nanoseconds(&meta),
            meta.mode()
        );
        let id = match known.get(&path) {
            Some((known, id)) if *known == stamp => id.clone(),
            _ => identify(&file).with_context(|| format!("read {}", file.display()))?,
        };
        if meta.modified().is_ok_and(|time| time < settled) {
            lines.push_str(&format!("{stamp}\t{id}\t{path}\n"));
        }
        listing.insert(path, id);
    }
    crate::paths::write_whole(index, lines.as_bytes())?;
    Ok(listing)
}

/// What identifies the content of a file: a digest, with `x` before it if it is executable; of a symbolic link,
/// where it points.
pub(super) fn identify(file: &Path) -> io::Result<String> {
    let meta = fs::symlink_metadata(file)?;
    if meta.is_symlink() {
        return Ok(format!("> {}", fs::read_link(file)?.display()));
    }
    let executable = meta.permissions().mode() & 0o100 != 0;
    let digest = digest::of_reader(fs::File::open(file)?)?;
    Ok(if executable {
        format!("x{digest}")
    } else {
        digest
    })
}

fn nanoseconds(meta: &fs::Metadata) -> u128 {
    let since = meta
        .modified()
        .ok()
        .and_then(|time| time.duration_since(UNIX_EPOCH).ok());
    since.unwrap_or_default().as_nanos()
}

/// Stamp and identity by path. An index that is not there or not whole only costs time.
fn read_index(index: &Path) -> BTreeMap<String, (String, String)> {
    let text = fs::read_to_string(index).unwrap_or_default();
    let entry = |line: &str| {
        let mut fields = line.splitn(3, '\t').map(str::to_owned);
        let (stamp, id, path) = (fields.next()?, fields.next()?, fields.next()?);
        Some((path, (stamp, id)))
    };
    text.lines().filter_map(entry).collect()
}

/// Paths of the source files below `root`.
fn files(root: &Path) -> Result<Vec<String>> {
    let mut files = match git_files(root) {
        // Debian's own .gitignore leaves the whole source out.
        Some(files) if files.iter().any(|path| path == "Kbuild") => files,
        _ => walk(root)?,
    };
    files.retain(|path| !is_product(path));
    Ok(files)
}

/// What git tracks, and what it neither tracks nor ignores. `None`: not a git tree, or no git here.
fn git_files(root: &Path) -> Option<Vec<String>> {
    let sh = shell::in_dir(root).ok()?;
    // The tree may belong to somebody else; it is only listed.
    let list = cmd!(
        sh,
        "git -c safe.directory=* ls-files -z --cached --others --exclude-standard"
    );
    let list = list
        .env_remove("GIT_DIR")
        .env_remove("GIT_WORK_TREE")
        .env_remove("GIT_INDEX_FILE");
    let text = shell::read(list).ok()?;
    Some(text.split_terminator('\0').map(str::to_owned).collect())
}

/// Paths of all files below `root` but git's own.
///
/// # Errors
/// A directory cannot be read.
pub(super) fn walk(root: &Path) -> Result<Vec<String>> {
    let mut files = Vec::new();
    let entries = WalkDir::new(root).into_iter();
    for entry in entries.filter_entry(|entry| entry.file_name() != ".git") {
        let entry = entry.with_context(|| format!("read {}", root.display()))?;
        if entry.file_type().is_dir() {
            continue;
        }
        let below = entry
            .path()
            .strip_prefix(root)
            .expect("found below the root");
        match below.to_str() {
            Some(path) if !path.contains('\n') => files.push(path.to_owned()),
            _ => bail!(
                "{}: not a file name of a kernel source",
                entry.path().display()
            ),
        }
    }
    Ok(files)
}

/// Whether a build inside the tree leaves a file of this name. With one of them in the source, kbuild refuses to
/// build elsewhere or, worse, uses it. After `clean` and `mrproper` in the kernel's Makefile.
fn is_product(path: &str) -> bool {
    const AT_TOP: [&str; 8] = [
        ".config",
        ".config.old",
        ".version",
        "System.map",
        "Module.symvers",
        "modules.builtin",
        "modules.builtin.modinfo",
        ".vmlinux.objs",
    ];
    const ENDINGS: [&str; 14] = [
        ".a", ".cmd", ".dtb", ".ko", ".lex.c", ".mod", ".mod.c", ".o", ".o.d", ".order", ".so",
        ".so.dbg", ".tab.c", ".tab.h",
    ];
    let (dir, name) = path.rsplit_once('/').unwrap_or(("", path));
    let below = |top: &str| dir == top || dir.strip_prefix(top).is_some_and(|d| d.starts_with('/'));
    let arch_headers =
        dir.starts_with("arch/") && format!("{dir}/").contains("/include/generated/");
    below("include/config")
        || below("include/generated")
        || arch_headers
        || (dir.is_empty() && (AT_TOP.contains(&name) || name.starts_with("vmlinux")))
        || name.starts_with(".tmp_")
        || ENDINGS.iter().any(|ending| name.ends_with(ending))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn products_of_a_build_are_no_source() {
        for product in [
            ".config",
            "vmlinux",
            "vmlinux.o",
            "vmlinux.a",
            "include/config/auto.conf",
            "include/generated/autoconf.h",
            "arch/x86/include/generated/asm/rwonce.h",
            "fs/fuse/dev.o",
            "fs/fuse/.dev.o.cmd",
            "scripts/kconfig/lexer.lex.c",
            ".tmp_vmlinux1",
        ] {
            assert!(is_product(product), "{product}");
        }
        for source in [
            "Makefile",
            "Kbuild",
            "fs/fuse/dev.c",
            "arch/x86/configs/x86_64_defconfig",
            "arch/x86/include/asm/page.h",
            "kernel/configs/debug.config",
            "fs/Kconfig",
            "arch/x86/kernel/vmlinux.lds.S",
            "tools/include/generated.h",
        ] {
            assert!(!is_product(source), "{source}");
        }
    }
}
