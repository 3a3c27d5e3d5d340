// SPDX-License-Identifier: MIT OR Apache-2.0
//! Titles of the promises that direct mmap makes. The promises themselves are in `docs/interface.md`.

/// Titles in the order of the promises' numbers, starting with promise 1.
pub(crate) const TITLES: [&str; 13] = [
    "Redirect",
    "Server side",
    "IDs",
    "First fault",
    "Coherency is the kernel's work",
    "The period",
    "Shared memory that works",
    "Fault and reclaim",
    "Load and save",
    "Bounded",
    "Hostile or dead server",
    "It scales",
    "Accounted",
];

/// Returns the title of promise `number`, or `None` if there is no such promise.
pub(crate) fn title(number: u8) -> Option<&'static str> {
    TITLES.get(usize::from(number).checked_sub(1)?).copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn titles_match_the_document() {
        let document = include_str!("../../docs/interface.md");
        let rows = document.lines().filter_map(|line| {
            let (number, rest) = line.strip_prefix("| ")?.split_once(" | **")?;
            let (title, _) = rest.split_once("**")?;
            Some((number.parse::<u8>().ok()?, title.trim_end_matches('.')))
        });
        let ours = (1..).zip(TITLES);
        assert!(rows.clone().eq(ours), "{:#?} in docs/interface.md", rows.collect::<Vec<_>>());
    }

    #[test]
    fn numbers_without_a_promise_have_no_title() {
        assert_eq!(title(0), None);
        assert_eq!(title(13), Some("Accounted"));
        assert_eq!(title(14), None);
    }
}
