// SPDX-License-Identifier: MIT OR Apache-2.0
//! Test data. Each word depends on a seed and on its index, so that a stale, shifted or foreign word is never mistaken
//! for the right one.

/// Returns word `index` of the pattern of `seed`. Uses the finalizer of SplitMix64, which maps different inputs to
/// different outputs.
pub(crate) fn word(seed: u64, index: u64) -> u64 {
    let mut z = seed
        .wrapping_mul(0x9e37_79b9_7f4a_7c15)
        .wrapping_add(index)
        .wrapping_add(0x5851_f42d_4c95_7f2d);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// Returns `len` bytes of the pattern, starting at byte `from`.
pub(crate) fn bytes(seed: u64, from: usize, len: usize) -> Vec<u8> {
    (from..from + len).map(|at| word(seed, at as u64 / 8).to_le_bytes()[at % 8]).collect()
}

/// Describes the first difference of `found` from `expected`. `from` is the offset of both in the data that they are a
/// part of.
pub(crate) fn difference(from: usize, found: &[u8], expected: &[u8]) -> Option<String> {
    let at = found.iter().zip(expected).position(|(f, e)| f != e)?;
    let show = |bytes: &[u8]| -> String {
        let end = bytes.len().min(at + 8);
        bytes[at..end].iter().map(|b| format!("{b:02x}")).collect()
    };
    let wrong = found.iter().zip(expected).filter(|(f, e)| f != e).count();
    Some(format!(
        "byte {:#x}: expected {}, found {} ({wrong} of {} bytes are wrong)",
        from + at,
        show(expected),
        show(found),
        found.len(),
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slice_equals_the_same_bytes_of_the_whole() {
        let whole = bytes(3, 0, 64);
        assert_eq!(bytes(3, 13, 20), &whole[13..33]);
        assert_ne!(bytes(4, 0, 64), whole);
    }

    #[test]
    fn near_seeds_and_indices_make_different_words() {
        let mut words: Vec<u64> =
            (0..64).flat_map(|seed| (0..64).map(move |index| word(seed, index))).collect();
        words.sort_unstable();
        words.dedup();
        assert_eq!(words.len(), 64 * 64);
    }

    #[test]
    fn the_first_difference_is_named() {
        let expected = [1, 2, 3, 4];
        assert_eq!(difference(0x10, &expected, &expected), None);
        assert_eq!(
            difference(0x10, &[1, 2, 9, 4], &expected).unwrap(),
            "byte 0x12: expected 0304, found 0904 (1 of 4 bytes are wrong)"
        );
    }
}
