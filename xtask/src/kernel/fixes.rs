// SPDX-License-Identifier: MIT OR Apache-2.0
//! Fixes: patches that are not part of direct mmap. They are in `kernel-patches/fixes`, or in
//! `kernel-patches/VERSION/fixes` if a fix has to look different on one version. A target names the fixes that it needs,
//! and a `series` may list fixes too.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Context, Result};

use super::queue::{DIR, Patch, Queue};
use crate::files;
use crate::kernel_version::{PatchRanges, Version, VersionRange};

/// Name of the directories of fixes.
const FIXES: &str = "fixes";

/// Start of an entry of `series` that names a fix. The file name of the fix follows.
pub(super) const PREFIX: &str = "../fixes/";

/// Returns the name of the shared fix `file` for messages.
pub(super) fn shared_name(file: &str) -> String {
    format!("{DIR}/{FIXES}/{file}")
}

/// Fixes for one version: those in the directory of the version, and those that all versions share.
pub(super) struct Fixes<'a> {
    checkout: &'a Path,
    version: Version,
    /// Ranges of the shared fixes.
    ranges: PatchRanges,
}

impl<'a> Fixes<'a> {
    pub(super) fn load(checkout: &'a Path, version: Version) -> Result<Self> {
        let ranges = PatchRanges::load(&checkout.join(DIR).join(FIXES))?;
        Ok(Self { checkout, version, ranges })
    }

    /// Reads the fix with the file name `file`. The version's own fix takes precedence. The inner error is the range of
    /// a shared fix that is for other versions.
    ///
    /// # Errors
    /// There is no such fix.
    pub(super) fn read(&self, file: &str) -> Result<std::result::Result<Patch, VersionRange>> {
        let own = Path::new(DIR).join(self.version.to_string()).join(FIXES).join(file);
        let is_own = self.checkout.join(&own).is_file();
        let range = self.ranges.of(file);
        if !is_own && !range.contains(self.version) {
            return Ok(Err(range));
        }
        let name = if is_own { own } else { Path::new(DIR).join(FIXES).join(file) };
        let patch = Patch::read(&name, self.checkout.join(&name))?;
        Ok(Ok(Patch { fix: Some(file.to_owned()), ..patch }))
    }
}

/// Reads the machine-specific fixes `names` for kernels of `version`: from the directory of that version, or else from
/// the directory that all versions share. Leaves out shared fixes that are for other versions.
///
/// # Errors
/// A patch is missing.
pub(crate) fn of_target(checkout: &Path, version: Version, names: &[String]) -> Result<Queue> {
    let fixes = Fixes::load(checkout, version)?;
    let mut queue = Queue::default();
    for file in names {
        let fix = fixes.read(file).with_context(|| {
            format!("{file} is in `kernel.fixes` of the target, but is not in {DIR}/{FIXES}")
        })?;
        queue.patches.extend(fix);
    }
    Ok(queue)
}

/// Returns the file names of all fixes by their subjects. `dir` is the directory of a queue.
pub(super) fn by_subject(dir: &Path) -> Result<BTreeMap<String, String>> {
    let mut fixes = BTreeMap::new();
    for dir in [dir.with_file_name(FIXES), dir.join(FIXES)].iter().filter(|dir| dir.is_dir()) {
        for path in files::with_extension(dir, "patch")? {
            let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            if let Some(subject) = subject(&files::read_bytes(&path)?) {
                fixes.insert(subject, name);
            }
        }
    }
    Ok(fixes)
}

/// Returns the subject of a patch in the format of mails, in one line and without `[PATCH]`.
pub(super) fn subject(patch: &[u8]) -> Option<String> {
    let text = String::from_utf8_lossy(patch);
    let mut header = text.lines().take_while(|line| !line.is_empty());
    let first = header.find_map(|line| line.strip_prefix("Subject: "))?;
    let more = header.take_while(|line| line.starts_with(' '));
    let subject = more.fold(first.to_owned(), |subject, line| subject + line);
    Some(subject.strip_prefix("[PATCH] ").unwrap_or(&subject).to_owned())
}

/// Writes the text of a fix that has changed. The fix in the directory of the version takes precedence over the one
/// that all versions share. If the series has not listed the fix before, the change is for this version only.
pub(super) fn write(dir: &Path, fix: &str, text: &[u8], is_listed: bool) -> Result<()> {
    let own = dir.join(FIXES).join(fix);
    let shared = dir.with_file_name(FIXES).join(fix);
    let has_own = own.is_file();
    let current = files::read_bytes(if has_own { &own } else { &shared })?;
    if same_change(&current, text) {
        return Ok(());
    }
    let file = if is_listed && !has_own { shared } else { own };
    files::create_dir(file.parent().expect("a fix is in a directory"))?;
    files::write_atomically(&file, text)
}

/// Returns true if two patches differ only in what depends on the source or on git: line numbers, hashes, and the
/// version of git at the end.
fn same_change(one: &[u8], two: &[u8]) -> bool {
    let parts = |patch: &[u8]| -> Vec<String> {
        let text = String::from_utf8_lossy(patch);
        let text = text.trim_end_matches('\n');
        let signature = text.rsplit_once("\n-- \n").filter(|(_, end)| !end.contains('\n'));
        let text = signature.map_or(text, |(before, _)| before);
        let lines = text.lines().filter(|line| !line.starts_with("index "));
        lines.map(|line| if line.starts_with("@@ ") { "@@" } else { line }.to_owned()).collect()
    };
    parts(one) == parts(two)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_subject_may_have_two_lines() {
        let patch =
            b"From 0\nSubject: [PATCH] parisc: do not\n take strides\nX: y\n\nSubject: no\n";
        assert_eq!(subject(patch).as_deref(), Some("parisc: do not take strides"));
        assert_eq!(subject(b"Why.\n\nSubject: no\n"), None);
    }

    #[test]
    fn line_numbers_hashes_and_signatures_are_no_change() {
        let patch = "Subject: a\n\nindex 1234..5678 100644\n--- a/x\n+++ b/x\n@@ -1,2 +1,3 @@ f()\n x\n+y\n";
        let moved = patch.replace("-1,2 +1", "-11,2 +12").replace("1234", "abcd");
        assert!(same_change(patch.as_bytes(), moved.as_bytes()));
        let signed = format!("{patch}-- \n2.47.3\n\n");
        assert!(same_change(patch.as_bytes(), signed.as_bytes()));
        assert!(!same_change(patch.as_bytes(), patch.replace("+y", "+z").as_bytes()));
        assert!(!same_change(patch.as_bytes(), patch.replace(": a", ": b").as_bytes()));
    }
}
