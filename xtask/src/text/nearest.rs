// SPDX-License-Identifier: MIT OR Apache-2.0
//! Names that the user may have meant.

/// Similarity of two names from 0 to 1, from which one may be a slip for the other. clap suggests options from 0.7 on;
/// the names of cases share their suites, so they are more alike.
const ALIKE: f64 = 0.8;

/// Largest number of suggestions.
const MOST: usize = 3;

/// Returns the names that are most similar to `wanted`, the best first.
pub(crate) fn nearest(wanted: &str, names: impl IntoIterator<Item = String>) -> Vec<String> {
    let rate = |name: String| (strsim::jaro(wanted, &name), name);
    let mut rated: Vec<(f64, String)> = names.into_iter().map(rate).collect();
    rated.retain(|(score, _)| *score >= ALIKE);
    rated.sort_by(|a, b| b.0.total_cmp(&a.0).then_with(|| a.1.cmp(&b.1)));
    rated.dedup();
    rated.into_iter().take(MOST).map(|(_, name)| name).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_best_names_come_first() {
        let names =
            ["smoke/boot", "smoke/redirect", "smoke/both-sides", "lazy/filled", "drain/exit"];
        let nearest = |wanted| nearest(wanted, names.map(str::to_owned)).join(", ");
        insta::assert_snapshot!(nearest("smoke/bot"), @"smoke/boot, smoke/both-sides");
        insta::assert_snapshot!(nearest("lazy/filed"), @"lazy/filled");
        assert_eq!(nearest("unknown"), "");
    }
}
