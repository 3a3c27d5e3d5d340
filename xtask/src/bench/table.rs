// SPDX-License-Identifier: MIT OR Apache-2.0
//! Markdown tables of figures.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

/// Table with a name and a value per row.
#[derive(Debug)]
pub(super) struct Figures {
    rows: Vec<[String; 2]>,
}

impl Figures {
    /// Creates a table without rows, with the headings `name` and `value`.
    pub(super) fn new(name: &str, value: &str) -> Self {
        Self { rows: vec![[name.into(), value.into()]] }
    }

    pub(super) fn add(&mut self, name: &str, value: String) {
        self.rows.push([name.into(), value]);
    }
}

impl fmt::Display for Figures {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, [name, value]) in self.rows.iter().enumerate() {
            writeln!(f, "| {name} | {value} |")?;
            if at == 0 {
                writeln!(f, "|---|--:|")?;
            }
        }
        Ok(())
    }
}

/// Formats a table of throughput by block size, from figures with names such as `dmmap_4k_mib_s`.
pub(super) fn exchange(case: &str, figures: &BTreeMap<String, f64>) -> String {
    let figure = |method: &str, kib: u32| figures.get(&format!("{method}_{kib}k_mib_s")).copied();
    let mut text = format!("| {case}, MiB/s | direct mmap | memfd | ratio | read, write |\n");
    text += "|---|--:|--:|--:|--:|\n";
    for kib in (2..=10).map(|power| 1 << power) {
        let methods = ["dmmap", "memfd", "fuse_dio"].map(|method| figure(method, kib));
        if let [Some(dmmap), Some(memfd), Some(direct_io)] = methods {
            let ratio = dmmap / memfd;
            text +=
                &format!("| {kib} KiB | {dmmap:.0} | {memfd:.0} | {ratio:.2} | {direct_io:.0} |\n");
        }
    }
    text + "\n"
}

/// Formats a table with one figure per row, from figures with names such as `touch_us` and `load_4k_mib_s`. Ignores other
/// figures.
pub(super) fn plain(case: &str, figures: &BTreeMap<String, f64>) -> String {
    let mut table = Figures::new(case, "best");
    for (name, value) in figures {
        if let Some(what) = name.strip_suffix("_us") {
            table.add(&what.replace('_', " "), format!("{value:.2} µs"));
        } else if let Some(what) = name.strip_suffix("_mib_s") {
            table.add(&what.replace('_', " "), format!("{value:.0} MiB/s"));
        }
    }
    format!("{table}\n")
}

/// Returns the median. For an even number of times, returns the longer of the two in the middle.
///
/// # Panics
/// `times` is empty.
pub(super) fn median(mut times: Vec<Duration>) -> Duration {
    times.sort();
    times[times.len() / 2]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_is_markdown() {
        let mut figures = Figures::new("the lab", "median");
        figures.add("raw boot", "1.20 s".into());
        assert_eq!(figures.to_string(), "| the lab | median |\n|---|--:|\n| raw boot | 1.20 s |\n");
    }

    #[test]
    fn a_row_compares_the_methods_for_a_block_size() {
        let names = ["dmmap_4k_mib_s", "memfd_4k_mib_s", "fuse_dio_4k_mib_s", "free_lost_kib"];
        let figures = names.map(str::to_owned).into_iter().zip([90.0, 100.0, 5.0, 1.0]);
        insta::assert_snapshot!(exchange("bench/exchange.cuse", &figures.collect()), @"
        | bench/exchange.cuse, MiB/s | direct mmap | memfd | ratio | read, write |
        |---|--:|--:|--:|--:|
        | 4 KiB | 90 | 100 | 0.90 | 5 |
        ");
    }

    #[test]
    fn other_figures_have_their_unit() {
        let names = ["touch_us", "load_4k_mib_s", "free_lost_kib"];
        let figures = names.map(str::to_owned).into_iter().zip([2.5, 100.4, 1.0]);
        insta::assert_snapshot!(plain("bench/touches.cuse", &figures.collect()), @"
        | bench/touches.cuse | best |
        |---|--:|
        | load 4k | 100 MiB/s |
        | touch | 2.50 µs |
        ");
    }

    #[test]
    fn the_median_is_not_the_mean() {
        let seconds = [9, 1, 2].map(Duration::from_secs).to_vec();
        assert_eq!(median(seconds), Duration::from_secs(2));
    }
}
