// SPDX-License-Identifier: MIT OR Apache-2.0
//! Tables of text.

/// Formats `rows` as a table. Each row is indented by two spaces, and every column but the last is padded to the width
/// of its widest cell.
pub(crate) fn columns<S: AsRef<str>>(rows: &[impl AsRef<[S]>]) -> String {
    let width = |column: usize| {
        let cells = rows.iter().filter_map(|row| row.as_ref().get(column));
        cells.map(|cell| cell.as_ref().chars().count()).max().unwrap_or(0)
    };
    let count = rows.iter().map(|row| row.as_ref().len()).max().unwrap_or(0);
    let widths: Vec<usize> = (0..count).map(width).collect();
    let mut text = String::new();
    for row in rows {
        let cells = row.as_ref().iter().zip(&widths);
        let line: String =
            cells.map(|(cell, &width)| format!("  {:width$}", cell.as_ref())).collect();
        text.push_str(line.trim_end());
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_aligned_by_characters() {
        insta::assert_snapshot!(columns(&[["a", "bé", ""], ["long", "x", "y"], ["", "", "z"]]), @"
          a     bé
          long  x   y
                    z
        ");
    }
}
