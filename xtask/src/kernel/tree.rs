// SPDX-License-Identifier: MIT OR Apache-2.0
//! The patched source tree of a slot. An update does not touch files whose content stays the same.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::Path;

use anyhow::{Context, Result, bail};

use super::cache;
use super::digest::Listing;
use super::queue::Overlay;
use super::source::Base;
use super::user_tree;
use crate::files;

/// Recorded in place of a file's identifier while the file is being changed. After a crash it marks the content as
/// unknown.
const UNKNOWN: &str = "?";

/// Updates `tree` to the content of `base` with `overlay` applied, and returns its files. The file `record` stores the
/// content of `tree` between updates.
///
/// A file whose content stays the same keeps its modification time, so that make does not rebuild its objects. A file
/// whose content changes gets the current time, even if the new content is older.
///
/// # Errors
/// A file cannot be read or written, or a user's file changed while it was copied.
pub(super) fn sync(base: &Base, overlay: &Overlay, tree: &Path, record: &Path) -> Result<Listing> {
    let mut wanted = base.listing()?;
    for (path, content) in overlay {
        match content {
            Some((id, _)) => wanted.insert(path.clone(), id.clone()),
            None => wanted.remove(path),
        };
    }
    let mut held = read_record(record);
    let new = held.is_empty();
    if new {
        cache::remove_dir(tree).with_context(|| format!("remove {}", tree.display()))?;
    }
    let stale: Vec<String> = differing(&held, &wanted);
    if !new && !stale.is_empty() {
        // If this process is killed during the update, the next run updates these files again.
        held.extend(stale.iter().map(|path| (path.clone(), UNKNOWN.to_owned())));
        write_record(record, &held)?;
    }
    for path in &stale {
        let file = tree.join(path);
        match (wanted.get(path), overlay.get(path).and_then(Option::as_ref)) {
            (None, _) => remove_with_parents(&file),
            (Some(_), Some((_, from))) => replace(from, &file),
            (Some(_), None) if new && base.is_frozen() => link(&base.root.join(path), &file),
            (Some(id), None) => copy_checked(&base.root.join(path), &file, id, base.is_frozen()),
        }
        .with_context(|| format!("write {}", file.display()))?;
    }
    if !stale.is_empty() {
        write_record(record, &wanted)?;
    }
    Ok(wanted)
}

/// Returns the paths whose content differs, or that exist in only one of the two listings. Paths to remove come first,
/// because a directory may replace a file.
fn differing(held: &Listing, wanted: &Listing) -> Vec<String> {
    let gone = held.iter().filter(|(path, _)| !wanted.contains_key(*path));
    let changed = wanted.iter().filter(|(path, id)| held.get(*path) != Some(id));
    gone.chain(changed).map(|(path, _)| path.clone()).collect()
}

/// Removes `file` and the parent directories that become empty.
fn remove_with_parents(file: &Path) -> Result<()> {
    files::remove(file)?;
    let _ = file.ancestors().skip(1).try_for_each(fs::remove_dir);
    Ok(())
}

fn link(from: &Path, to: &Path) -> Result<()> {
    make_parent(to)?;
    // Not every file system supports hard links.
    if fs::hard_link(from, to).is_err() {
        replace(from, to)?;
    }
    Ok(())
}

fn copy_checked(from: &Path, to: &Path, id: &str, frozen: bool) -> Result<()> {
    replace(from, to)?;
    if !frozen && user_tree::identify(to)? != id {
        bail!("{} changed while it was copied: run the command again", from.display());
    }
    Ok(())
}

/// Replaces `to` with a copy of `from`. Never writes into the old file, which may be a hard link to a shared file.
pub(super) fn replace(from: &Path, to: &Path) -> Result<()> {
    make_parent(to)?;
    let new = cache::with_suffix(to, ".new~");
    files::remove(&new)?;
    if from.is_symlink() {
        std::os::unix::fs::symlink(fs::read_link(from)?, &new)?;
    } else {
        fs::copy(from, &new)?;
    }
    fs::rename(&new, to)?;
    Ok(())
}

fn make_parent(file: &Path) -> io::Result<()> {
    let dir = file.parent().expect("a file in the tree has a parent");
    // The directory nearly always exists, and then one call is enough.
    if dir.is_dir() { Ok(()) } else { fs::create_dir_all(dir) }
}

fn read_record(record: &Path) -> Listing {
    let text = fs::read_to_string(record).unwrap_or_default();
    let entries = text.lines().filter_map(|line| line.split_once('\t'));
    entries.map(|(id, path)| (path.to_owned(), id.to_owned())).collect::<BTreeMap<_, _>>()
}

fn write_record(record: &Path, listing: &Listing) -> Result<()> {
    let mut text = String::new();
    for (path, id) in listing {
        text.push_str(&format!("{id}\t{path}\n"));
    }
    files::write_atomically(record, text)
}
