// SPDX-License-Identifier: MIT OR Apache-2.0
//! Promises: what direct mmap promises, by number. `docs/interface.md` says them in full.

/// A title for each, from promise 1 on.
pub(crate) const TITLES: [&str; 11] = [
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
];

/// The title of promise `number`, if there is such a promise.
pub(crate) fn title(number: u8) -> Option<&'static str> {
    let place = usize::from(number).checked_sub(1)?;
    TITLES.get(place).copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_document_has_the_same_promises() {
        let document = include_str!("../../docs/interface.md");
        let rows = document.lines().filter_map(|line| {
            let (number, rest) = line.strip_prefix("| ")?.split_once(" | **")?;
            let (title, _) = rest.split_once("**")?;
            Some((number.parse::<u8>().ok()?, title.trim_end_matches('.')))
        });
        let ours = (1..).zip(TITLES);
        assert!(
            rows.clone().eq(ours),
            "{:#?} in docs/interface.md",
            rows.collect::<Vec<_>>()
        );
    }

    #[test]
    fn there_is_no_promise_beyond_the_last() {
        assert_eq!(title(0), None);
        assert_eq!(title(11), Some("Hostile or dead server"));
        assert_eq!(title(12), None);
    }
}
