// SPDX-License-Identifier: MIT OR Apache-2.0
//! Files that the guest sends in parts: told of once they are whole, and never otherwise.

use std::collections::BTreeMap;

/// Files of which parts have come and parts have not.
#[derive(Debug, Default)]
pub(super) struct Files(BTreeMap<String, (usize, Vec<u8>)>);

impl Files {
    /// Takes the next part of the file `name` of `size` bytes; returns the file if this is its last.
    ///
    /// # Errors
    /// What is odd about it, for a person; the part is dropped.
    pub(super) fn part(
        &mut self,
        name: &str,
        size: usize,
        part: &[u8],
    ) -> Result<Option<Vec<u8>>, String> {
        let fit = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
        // It becomes a file's name here.
        if name.starts_with('.') || name.is_empty() || !name.bytes().all(fit) {
            return Err(format!("the guest sent a file with the name {name:?}"));
        }
        let (_, bytes) = self.0.entry(name.to_owned()).or_insert((size, Vec::new()));
        bytes.extend(part);
        match bytes.len() >= size {
            true => Ok(self.0.remove(name).map(|(_, bytes)| bytes)),
            false => Ok(None),
        }
    }

    /// What never became whole, for a person.
    pub(super) fn torn(&self) -> Option<String> {
        let torn = self.0.iter();
        let torn = torn.map(|(name, (size, bytes))| format!("{name} ({} of {size})", bytes.len()));
        let torn: Vec<String> = torn.collect();
        let names = torn.join(", ");
        (!torn.is_empty()).then(|| format!("not all bytes arrived of {names}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_whole_with_its_last_part() {
        let mut files = Files::default();
        assert_eq!(files.part("a.gcda", 5, b"abc"), Ok(None));
        assert_eq!(files.part("b.gcda", 2, b"x"), Ok(None));
        assert_eq!(
            files.torn().unwrap(),
            "not all bytes arrived of a.gcda (3 of 5), b.gcda (1 of 2)"
        );
        assert_eq!(files.part("a.gcda", 5, b"de"), Ok(Some(b"abcde".to_vec())));
        assert_eq!(files.part("b.gcda", 2, b"y"), Ok(Some(b"xy".to_vec())));
        assert_eq!(files.torn(), None);
    }

    #[test]
    fn a_name_stays_in_its_directory() {
        for name in ["", ".", "..", "../up", "a/b", "/etc/x", ".hidden"] {
            Files::default().part(name, 1, b"x").unwrap_err();
        }
    }
}
