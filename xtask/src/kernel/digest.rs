// SPDX-License-Identifier: MIT OR Apache-2.0
//! SHA-256 digests in hexadecimal.

use std::collections::BTreeMap;
use std::io::{self, Read};

use sha2::{Digest, Sha256};

/// Maps each file of a tree, by its path relative to the root, to an identifier of its content and executable bit.
pub(crate) type Listing = BTreeMap<String, String>;

/// Returns the digest of `bytes`.
pub(super) fn of(bytes: &[u8]) -> String {
    hex(Sha256::new_with_prefix(bytes))
}

/// Returns the digest of everything that `reader` yields.
pub(super) fn of_reader(mut reader: impl Read) -> io::Result<String> {
    let mut hash = Sha256::new();
    io::copy(&mut reader, &mut hash)?;
    Ok(hex(hash))
}

/// Returns the digest of a list of parts. Each part is preceded by its length, so that two different lists never yield
/// the same bytes.
pub(super) fn of_parts<'a>(parts: impl IntoIterator<Item = &'a [u8]>) -> String {
    let mut hash = Sha256::new();
    for part in parts {
        hash.update((part.len() as u64).to_le_bytes());
        hash.update(part);
    }
    hex(hash)
}

/// Returns the digest of the files of a tree.
pub(super) fn of_listing(listing: &Listing) -> String {
    of_parts(listing.iter().flat_map(|(path, id)| [path.as_bytes(), id.as_bytes()]))
}

fn hex(hash: Sha256) -> String {
    format!("{:x}", hash.finalize())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_digest_is_sha256() {
        // FIPS 180-2, appendix B.1.
        let abc = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        assert_eq!(of(b"abc"), abc);
        assert_eq!(of_reader(&b"abc"[..]).unwrap(), abc);
    }

    #[test]
    fn different_splits_have_different_digests() {
        assert_ne!(of_parts([&b"ab"[..], b"c"]), of_parts([&b"a"[..], b"bc"]));
    }
}
