// SPDX-License-Identifier: MIT OR Apache-2.0
//! Makes a script that fails as short as it gets.

/// Leaves out what `fails` does not need: halves, then ever smaller pieces, then single items until none can go. Stops
/// early where `fails` has no answer any more; what it has failed for last is the result.
pub(crate) fn shrink<T: Clone>(items: &[T], mut fails: impl FnMut(&[T]) -> Option<bool>) -> Vec<T> {
    let mut left = items.to_vec();
    let mut piece = left.len().div_ceil(2).max(1);
    loop {
        let before = left.len();
        // From the end: what comes late is rarely what others need.
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

    /// Fails where 3 comes before 14 and there is a 9.
    fn fails(items: &[u32]) -> bool {
        let place = |item| items.iter().position(|&other| other == item);
        place(9).is_some() && place(3).is_some_and(|three| place(14).is_some_and(|end| three < end))
    }

    #[test]
    fn only_what_is_needed_is_left() {
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
    fn what_always_fails_needs_nothing() {
        assert_eq!(shrink(&[1, 2, 3], |_| Some(true)), [0; 0]);
        assert_eq!(shrink(&[1, 2, 3], |_| Some(false)), [1, 2, 3]);
    }

    #[test]
    fn out_of_time_the_shortest_so_far_is_the_result() {
        let items: Vec<u32> = (0..40).collect();
        let mut runs = 0;
        let short = shrink(&items, |items| {
            runs += 1;
            (runs < 4).then(|| fails(items))
        });
        assert!(fails(&short) && short.len() < 40, "{short:?}");
    }
}
