// SPDX-License-Identifier: MIT OR Apache-2.0
//! Files of the user in the initramfs.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use anyhow::{Context, Result, bail};
use protocol::plan;
use walkdir::WalkDir;

use super::INIT_ON_BASE;
use crate::files;

/// Directories that the guest mounts a filesystem on. Files of the image are not visible there.
const MOUNT_POINTS: [&str; 5] = ["/dev", "/proc", "/run", "/sys", "/tmp"];

/// A file, a directory or a symbolic link in the guest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct GuestFile {
    /// Absolute path in the guest. Its parent directories are created.
    pub path: String,
    pub content: Content,
}

/// Content of a [`GuestFile`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Content {
    /// Regular file with these permission bits.
    File {
        mode: u32,
        bytes: Vec<u8>,
    },
    Dir,
    /// Symbolic link to this path.
    Link(String),
}

impl GuestFile {
    /// Returns an executable file.
    pub(crate) fn program(path: String, bytes: Vec<u8>) -> Self {
        Self { path, content: Content::File { mode: 0o755, bytes } }
    }
}

/// Files to add: the value of `--add FILE|DIR[:DEST]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Addition {
    /// File or directory on the host.
    from: PathBuf,
    /// Path in the guest.
    to: String,
}

impl FromStr for Addition {
    type Err = anyhow::Error;

    /// # Errors
    /// The path in the guest is not one that the guest can see.
    fn from_str(text: &str) -> Result<Self> {
        // A colon that no absolute path follows is part of the name of the file.
        let (from, to) = match text.rsplit_once(':') {
            Some((from, to)) if to.starts_with('/') => (from, to.to_owned()),
            _ => {
                let name = Path::new(text)
                    .file_name()
                    .context("the path has no file name; name the DEST after a colon")?;
                (text, format!("/{}", name.to_string_lossy()))
            }
        };
        check_path(&to)?;
        Ok(Self { from: from.into(), to })
    }
}

impl Addition {
    /// Reads the files.
    ///
    /// # Errors
    /// As [`read`].
    pub(crate) fn read(&self) -> Result<Vec<GuestFile>> {
        read(&self.from, &self.to).with_context(|| format!("--add {}", self.from.display()))
    }
}

/// File to bring back: the value of `--get PATH[:HOSTPATH]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Fetch {
    /// Path in the guest.
    pub from: String,
    /// Path on the host.
    pub to: PathBuf,
}

impl FromStr for Fetch {
    type Err = anyhow::Error;

    /// # Errors
    /// The path in the guest is not absolute, or does not end in a plain file name.
    fn from_str(text: &str) -> Result<Self> {
        let (from, to) = text.split_once(':').unwrap_or((text, ""));
        let name = from.rsplit('/').next().unwrap_or_default();
        if !from.starts_with('/') || !files::is_plain_name(name) {
            bail!(
                "expected an absolute path, whose last part has only letters, digits, `.`, `_` and `-`"
            );
        }
        let to = if to.is_empty() { name } else { to };
        Ok(Self { from: from.to_owned(), to: to.into() })
    }
}

impl Fetch {
    /// Returns the name of the file without its directory.
    pub(crate) fn name(&self) -> &str {
        self.from.rsplit('/').next().unwrap_or(&self.from)
    }
}

/// Reads the file or the directory `from` of the host, with everything below it, for the path `to` of the guest. Files keep
/// their permissions, and symbolic links below a directory stay links.
///
/// # Errors
/// `from` does not exist or cannot be read, or contains something else than files, directories and links.
fn read(from: &Path, to: &str) -> Result<Vec<GuestFile>> {
    // Follows `from` itself if it is a link.
    let root = std::fs::canonicalize(from).with_context(|| format!("read {}", from.display()))?;
    let mut found = Vec::new();
    for entry in WalkDir::new(&root).sort_by_file_name() {
        let entry = entry.with_context(|| format!("read {}", from.display()))?;
        let below = entry.path().strip_prefix(&root).expect("WalkDir stays below its root");
        let path = match below.as_os_str().is_empty() {
            true => to.to_owned(),
            false => format!("{}/{}", to.trim_end_matches('/'), below.display()),
        };
        // An empty mount point hides nothing.
        if !(entry.file_type().is_dir() && MOUNT_POINTS.contains(&path.as_str())) {
            check_path(&path)?;
        }
        let content = match entry.file_type() {
            kind if kind.is_dir() => Content::Dir,
            kind if kind.is_symlink() => {
                let target = std::fs::read_link(entry.path())?;
                Content::Link(target.display().to_string())
            }
            kind if kind.is_file() => Content::File {
                mode: std::os::unix::fs::PermissionsExt::mode(&entry.metadata()?.permissions())
                    & 0o777,
                bytes: files::read_bytes(entry.path())?,
            },
            _ => bail!("{}: neither a file nor a directory nor a link", entry.path().display()),
        };
        found.push(GuestFile { path, content });
    }
    Ok(found)
}

/// Returns `files` and those of `defaults` that have other paths.
pub(crate) fn with_defaults(mut files: Vec<GuestFile>, defaults: Vec<GuestFile>) -> Vec<GuestFile> {
    let taken: BTreeSet<String> = files.iter().map(|file| file.path.clone()).collect();
    files.extend(defaults.into_iter().filter(|file| !taken.contains(&file.path)));
    files
}

/// Checks that `path` is an absolute path at which the guest can see a file of the image.
///
/// # Errors
/// Describes what is wrong with the path.
fn check_path(path: &str) -> Result<()> {
    if !path.starts_with('/') || path.split('/').any(|part| part == "..") {
        bail!("{path}: the path in the guest must be absolute, without `..`");
    }
    let below = |dir: &&&str| path == **dir || path.starts_with(&format!("{dir}/"));
    if let Some(dir) = MOUNT_POINTS.iter().find(below) {
        bail!(
            "{path}: the guest mounts a filesystem on {dir}, which would hide the file; choose another directory"
        );
    }
    if path == "/init" || path == INIT_ON_BASE || path == plan::PATH {
        bail!("{path}: the lab has a file of this name in the guest; choose another one");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::{PermissionsExt, symlink};

    use super::*;

    #[test]
    fn a_directory_is_read_with_everything_below_it() {
        let dir = tempfile::tempdir().unwrap();
        let tools = dir.path().join("tools");
        fs::create_dir_all(tools.join("lib")).unwrap();
        fs::write(tools.join("lib/data"), "x").unwrap();
        fs::write(tools.join("run.sh"), "#!/bin/sh\n").unwrap();
        fs::set_permissions(tools.join("run.sh"), fs::Permissions::from_mode(0o750)).unwrap();
        fs::set_permissions(tools.join("lib/data"), fs::Permissions::from_mode(0o644)).unwrap();
        symlink("lib/data", tools.join("link")).unwrap();
        let file = |path: &str, content| GuestFile { path: path.into(), content };
        let expected = [
            file("/opt/tools", Content::Dir),
            file("/opt/tools/lib", Content::Dir),
            file("/opt/tools/lib/data", Content::File { mode: 0o644, bytes: b"x".to_vec() }),
            file("/opt/tools/link", Content::Link("lib/data".into())),
            file(
                "/opt/tools/run.sh",
                Content::File { mode: 0o750, bytes: b"#!/bin/sh\n".to_vec() },
            ),
        ];
        assert_eq!(read(&tools, "/opt/tools").unwrap(), expected);
        let one = read(&tools.join("link"), "/data").unwrap();
        assert_eq!(one, [file("/data", Content::File { mode: 0o644, bytes: b"x".to_vec() })]);
        let error = format!("{:#}", read(&dir.path().join("none"), "/none").unwrap_err());
        assert!(error.ends_with("none: No such file or directory (os error 2)"), "{error}");
    }

    #[test]
    fn an_addition_has_a_default_destination() {
        let parse = |text: &str| text.parse::<Addition>().map(|Addition { from, to }| (from, to));
        let pair = |from: &str, to: &str| (PathBuf::from(from), to.to_owned());
        assert_eq!(parse("tools/").unwrap(), pair("tools/", "/tools"));
        assert_eq!(parse("../a:b").unwrap(), pair("../a:b", "/a:b"));
        assert_eq!(parse("data:/opt/x").unwrap(), pair("data", "/opt/x"));
        insta::assert_snapshot!(parse("..").unwrap_err(), @"the path has no file name; name the DEST after a colon");
        insta::assert_snapshot!(parse("data:/proc/x").unwrap_err(), @"/proc/x: the guest mounts a filesystem on /proc, which would hide the file; choose another directory");
        let missing = format!(
            "{:#}",
            parse("/no/such/file")
                .map(|(from, to)| Addition { from, to }.read())
                .unwrap()
                .unwrap_err()
        );
        insta::assert_snapshot!(missing, @"--add /no/such/file: read /no/such/file: No such file or directory (os error 2)");
    }

    #[test]
    fn a_file_to_bring_back_has_a_plain_name() {
        let parse = |text: &str| text.parse::<Fetch>().map(|Fetch { from, to }| (from, to));
        let pair = |from: &str, to: &str| (from.to_owned(), PathBuf::from(to));
        assert_eq!(parse("/tmp/log.txt").unwrap(), pair("/tmp/log.txt", "log.txt"));
        assert_eq!(parse("/tmp/log:out/x").unwrap(), pair("/tmp/log", "out/x"));
        for wrong in ["log", "/tmp/", "/tmp/.hidden", "/tmp/a b", ""] {
            insta::allow_duplicates! {
                insta::assert_snapshot!(parse(wrong).unwrap_err(), @"expected an absolute path, whose last part has only letters, digits, `.`, `_` and `-`");
            }
        }
    }

    #[test]
    fn a_path_that_the_guest_cannot_see_is_an_error() {
        let error = |path: &str| check_path(path).unwrap_err().to_string();
        insta::assert_snapshot!(error("data"), @"data: the path in the guest must be absolute, without `..`");
        insta::assert_snapshot!(error("/a/../init"), @"/a/../init: the path in the guest must be absolute, without `..`");
        insta::assert_snapshot!(error("/tmp/data"), @"/tmp/data: the guest mounts a filesystem on /tmp, which would hide the file; choose another directory");
        insta::assert_snapshot!(error("/init"), @"/init: the lab has a file of this name in the guest; choose another one");
        assert!(check_path("/tmpfiles").is_ok());
    }

    #[test]
    fn every_file_of_an_added_directory_must_be_visible() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().join("rootfs");
        fs::create_dir_all(root.join("proc")).unwrap();
        fs::create_dir(root.join("etc")).unwrap();
        let paths: Vec<String> =
            read(&root, "/").unwrap().into_iter().map(|file| file.path).collect();
        assert_eq!(paths, ["/", "/etc", "/proc"]);
        fs::write(root.join("proc/version"), "").unwrap();
        insta::assert_snapshot!(read(&root, "/").unwrap_err(), @"/proc/version: the guest mounts a filesystem on /proc, which would hide the file; choose another directory");
        fs::remove_file(root.join("proc/version")).unwrap();
        fs::write(root.join("init"), "").unwrap();
        insta::assert_snapshot!(read(&root, "/").unwrap_err(), @"/init: the lab has a file of this name in the guest; choose another one");
    }

    #[test]
    fn a_file_of_the_user_replaces_that_of_the_lab() {
        let link = |path: &str| GuestFile { path: path.into(), content: Content::Link("x".into()) };
        let mine = GuestFile::program("/bin/ls".into(), Vec::new());
        let all = with_defaults(vec![mine.clone()], vec![link("/bin/ls"), link("/bin/cat")]);
        assert_eq!(all, [mine, link("/bin/cat")]);
    }
}
