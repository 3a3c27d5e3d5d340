// SPDX-License-Identifier: MIT OR Apache-2.0
//! Files that the guest sends in parts. Only complete files are passed on.

use std::collections::BTreeMap;

use crate::files::is_plain_name;

/// Incomplete files by name, each with its full size and the bytes that have arrived.
#[derive(Debug, Default)]
pub(super) struct PartialFiles(BTreeMap<String, (usize, Vec<u8>)>);

impl PartialFiles {
    /// Adds the next part of the file `name`, which has `size` bytes. Returns the file if this part completes it.
    ///
    /// # Errors
    /// The name is not a plain file name. The part is dropped; the error is a text for the user.
    pub(super) fn add_part(
        &mut self,
        name: &str,
        size: usize,
        part: &[u8],
    ) -> Result<Option<Vec<u8>>, String> {
        // The host creates a file with this name: it must not lead out of the boot directory.
        if !is_plain_name(name) {
            return Err(format!(
                "rejected a file from the guest: {name:?} is not a plain file name"
            ));
        }
        let (_, bytes) = self.0.entry(name.to_owned()).or_insert((size, Vec::new()));
        bytes.extend(part);
        if bytes.len() >= size { Ok(self.0.remove(name).map(|(_, bytes)| bytes)) } else { Ok(None) }
    }

    /// Returns a text for the user that lists the incomplete files, or `None` if there are none.
    pub(super) fn incomplete(&self) -> Option<String> {
        let files = self.0.iter().map(|(name, (size, bytes))| {
            let arrived = bytes.len();
            format!("{name} ({arrived} of {size} bytes)")
        });
        let files: Vec<String> = files.collect();
        (!files.is_empty())
            .then(|| format!("incomplete files from the guest: {}", files.join(", ")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_complete_with_its_last_part() {
        let mut files = PartialFiles::default();
        assert_eq!(files.add_part("a.gcda", 5, b"abc"), Ok(None));
        assert_eq!(files.add_part("b.gcda", 2, b"x"), Ok(None));
        assert_eq!(
            files.incomplete().unwrap(),
            "incomplete files from the guest: a.gcda (3 of 5 bytes), b.gcda (1 of 2 bytes)"
        );
        assert_eq!(files.add_part("a.gcda", 5, b"de"), Ok(Some(b"abcde".to_vec())));
        assert_eq!(files.add_part("b.gcda", 2, b"y"), Ok(Some(b"xy".to_vec())));
        assert_eq!(files.incomplete(), None);
    }

    #[test]
    fn names_that_lead_out_of_the_directory_are_rejected() {
        for name in ["", ".", "..", "../up", "a/b", "/etc/x", ".hidden"] {
            PartialFiles::default().add_part(name, 1, b"x").unwrap_err();
        }
    }
}
