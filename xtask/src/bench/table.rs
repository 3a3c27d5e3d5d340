// SPDX-License-Identifier: MIT OR Apache-2.0
//! Figures as a Markdown table.

use std::fmt;
use std::time::Duration;

/// Rows of a name and a value.
#[derive(Debug)]
pub struct Figures {
    rows: Vec<[String; 2]>,
}

impl Figures {
    /// An empty table with these two headings.
    pub fn new(what: &str, value: &str) -> Self {
        Self {
            rows: vec![[what.into(), value.into()]],
        }
    }

    /// Adds a row.
    pub fn add(&mut self, what: &str, value: String) {
        self.rows.push([what.into(), value]);
    }
}

impl fmt::Display for Figures {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, [what, value]) in self.rows.iter().enumerate() {
            writeln!(f, "| {what} | {value} |")?;
            if at == 0 {
                writeln!(f, "|---|--:|")?;
            }
        }
        Ok(())
    }
}

/// The middle one; of an even number, the later of the two in the middle.
///
/// # Panics
/// Without any.
pub fn median(mut times: Vec<Duration>) -> Duration {
    times.sort();
    times[times.len() / 2]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_reads_as_markdown() {
        let mut figures = Figures::new("the lab", "median");
        figures.add("raw boot", "1.20 s".into());
        assert_eq!(
            figures.to_string(),
            "| the lab | median |\n|---|--:|\n| raw boot | 1.20 s |\n"
        );
    }

    #[test]
    fn the_median_is_not_the_mean() {
        let seconds = [9, 1, 2].map(Duration::from_secs).to_vec();
        assert_eq!(median(seconds), Duration::from_secs(2));
    }
}
