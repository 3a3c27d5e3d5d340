// SPDX-License-Identifier: MIT OR Apache-2.0
//! Shortens a script that fails.

/// Removes the items that `fails` does not need: first halves, then smaller and smaller pieces, then single items until
/// none can be removed. Stops early if `fails` returns `None`. Returns the shortest items for which `fails` returned
/// true.
pub(crate) fn shrink<T: Clone>(items: &[T], mut fails: impl FnMut(&[T]) -> Option<bool>) -> Vec<T> {
    let mut left = items.to_vec();
    let mut piece = left.len().div_ceil(2).max(1);
    loop {
        let before = left.len();
        // Starts at the end, because other items rarely need the late ones.
        let mut end = left.len();
        while end > 0 {
            let start = end.saturating_sub(piece);
            let shorter = [&left[..start], &left[end..]].concat();
            match fails(&shorter) {
                None => return left,
                Some(true) => left = shorter,
                Some(false) => {}
            }
            end = start;
        }
        match piece {
            1 if left.len() == before => return left,
            1 => {}
            _ => piece = piece.div_ceil(2),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Fails if 3 comes before 14, and 9 is present.
    fn fails(items: &[u32]) -> bool {
        let place = |item| items.iter().position(|&other| other == item);
        place(9).is_some() && place(3).is_some_and(|three| place(14).is_some_and(|end| three < end))
    }

    #[test]
    fn only_the_needed_items_are_left() {
        let items: Vec<u32> = (0..40).collect();
        let mut runs = 0;
        let short = shrink(&items, |items| {
            runs += 1;
            Some(fails(items))
        });
        assert_eq!(short, [3, 9, 14]);
        assert!(runs < 60, "{runs} runs");
    }

    #[test]
    fn a_failure_that_needs_no_item_shrinks_to_nothing() {
        assert_eq!(shrink(&[1, 2, 3], |_| Some(true)), [0; 0]);
        assert_eq!(shrink(&[1, 2, 3], |_| Some(false)), [1, 2, 3]);
    }

    #[test]
    fn the_shortest_so_far_is_returned_when_time_runs_out() {
        let items: Vec<u32> = (0..40).collect();
        let mut runs = 0;
        let short = shrink(&items, |items| {
            runs += 1;
            (runs < 4).then(|| fails(items))
        });
        assert!(fails(&short) && short.len() < 40, "{short:?}");
    }
}
