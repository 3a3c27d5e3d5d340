// SPDX-License-Identifier: MIT OR Apache-2.0
//! A user's source tree: lists its source files and identifies their content.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;
use std::time::{Duration, SystemTime};

use anyhow::{Context, Result, bail};
use walkdir::WalkDir;
use xshell::cmd;

use super::digest::{self, Listing};
use crate::{files, shell};

/// Coarsest resolution of modification times: 2 seconds on FAT. A file that was modified less than this time before it
/// was read may change again and keep its modification time.
const TICK: Duration = Duration::from_secs(2);

/// Returns the source files in `root` with identifiers of their content.
///
/// `index` is a file in the cache that stores the digests, so that only changed files are read again.
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
            // The file is in git's index, but was deleted.
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            Err(error) => return Err(error).with_context(|| format!("read {}", file.display())),
        };
        // Submodules and sockets are not source files.
        if !meta.is_file() && !meta.is_symlink() {
            continue;
        }
        let stamp = format!(
            "{} {} {}.{:09} {}",
            meta.ino(),
            meta.size(),
            meta.mtime(),
            meta.mtime_nsec(),
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
    files::write_atomically(index, lines)?;
    Ok(listing)
}

/// Returns an identifier of a file's content: the digest, with the prefix `x` if the file is executable, or the target
/// of a symbolic link.
pub(super) fn identify(file: &Path) -> io::Result<String> {
    let meta = fs::symlink_metadata(file)?;
    if meta.is_symlink() {
        return Ok(format!("> {}", fs::read_link(file)?.display()));
    }
    let executable = meta.permissions().mode() & 0o100 != 0;
    let digest = digest::of_reader(fs::File::open(file)?)?;
    Ok(if executable { format!("x{digest}") } else { digest })
}

/// Returns the stamp and the identifier of each path in the index. If the index is missing or damaged, files are read
/// again, which only costs time.
fn read_index(index: &Path) -> BTreeMap<String, (String, String)> {
    let text = fs::read_to_string(index).unwrap_or_default();
    let entry = |line: &str| {
        let mut fields = line.splitn(3, '\t').map(str::to_owned);
        let (stamp, id, path) = (fields.next()?, fields.next()?, fields.next()?);
        Some((path, (stamp, id)))
    };
    text.lines().filter_map(entry).collect()
}

/// Returns the paths of the source files in `root`.
fn files(root: &Path) -> Result<Vec<String>> {
    let mut files = match git_files(root) {
        // Debian's .gitignore ignores the whole source.
        Some(files) if files.iter().any(|path| path == "Kbuild") => files,
        _ => walk(root)?,
    };
    files.retain(|path| !is_product(path));
    Ok(files)
}

/// Returns the files that git tracks, and the untracked files that it does not ignore. Returns `None` if `root` is not
/// in a git tree, git is not installed, or a name is not UTF-8.
fn git_files(root: &Path) -> Option<Vec<String>> {
    let sh = shell::in_dir(root).ok()?;
    // The tree may belong to another user. Listing its files is safe.
    let list = cmd!(sh, "git -c safe.directory=* ls-files -z --cached --others --exclude-standard");
    let list = list.env_remove("GIT_DIR").env_remove("GIT_WORK_TREE").env_remove("GIT_INDEX_FILE");
    let text = shell::read(list).ok()?;
    Some(text.split_terminator('\0').map(str::to_owned).collect())
}

/// Returns the paths of all files in `root`, except those in `.git`.
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
        let below = entry.path().strip_prefix(root).expect("the walk stays in the root");
        match below.to_str() {
            Some(path) if !path.contains('\n') => files.push(path.to_owned()),
            _ => bail!(
                "cannot use the file {:?}: file names in a kernel source must be UTF-8 without newlines",
                entry.path()
            ),
        }
    }
    Ok(files)
}

/// Returns true if a build inside the tree creates a file of this name. If the source contained such files, kbuild
/// would refuse to build in a separate directory or, worse, use them. The lists follow `clean` and `mrproper` in the
/// kernel's Makefile.
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
    fn build_products_are_not_source_files() {
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
