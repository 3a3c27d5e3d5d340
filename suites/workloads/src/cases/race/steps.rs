// SPDX-License-Identifier: MIT OR Apache-2.0
//! Random steps: tables of weights, and names by which a run can leave steps out.

use fastrand::Rng;

/// One kind of step: its weight, its name, and its function.
pub(super) type Step<F> = (u32, &'static str, F);

/// Steps of a worker.
#[derive(Debug)]
pub(super) struct Steps<F: 'static> {
    steps: Vec<&'static Step<F>>,
    whole: u32,
}

impl<F: Copy> Steps<F> {
    /// Returns the steps of a table, except those whose names are in `without`.
    pub(super) fn of(table: &'static [Step<F>], without: &Without) -> Steps<F> {
        let steps: Vec<_> = table.iter().filter(|(_, name, _)| !without.contains(name)).collect();
        let whole = steps.iter().map(|(weight, ..)| weight).sum();
        Steps { steps, whole }
    }

    /// Draws a step; `None` if all are left out.
    pub(super) fn draw(&self, rng: &mut Rng) -> Option<F> {
        if self.whole == 0 {
            return None;
        }
        let mut at = rng.u32(0..self.whole);
        self.steps.iter().find_map(|(weight, _, step)| match at.checked_sub(*weight) {
            None => Some(*step),
            Some(rest) => {
                at = rest;
                None
            }
        })
    }
}

/// Names of steps that are left out.
#[derive(Clone, Debug, Default)]
pub(super) struct Without(Vec<String>);

impl Without {
    /// Parses names separated by commas.
    ///
    /// # Errors
    /// A name is not in `known`. The text lists those that are.
    pub(super) fn parse(text: &str, known: &[&str]) -> Result<Without, String> {
        let names: Vec<String> =
            text.split(',').filter(|name| !name.is_empty()).map(str::to_owned).collect();
        match names.iter().find(|name| !known.contains(&name.as_str())) {
            Some(name) => {
                Err(format!("without: there is no step {name:?}; steps: {}", known.join(", ")))
            }
            None => Ok(Without(names)),
        }
    }

    fn contains(&self, name: &str) -> bool {
        self.0.iter().any(|left_out| left_out == name)
    }
}

/// Returns the names of the steps of a table.
pub(super) fn names<F>(table: &'static [Step<F>]) -> impl Iterator<Item = &'static str> {
    table.iter().map(|(_, name, _)| *name)
}

#[cfg(test)]
mod tests {
    use super::*;

    const TABLE: &[Step<char>] = &[(1, "a", 'a'), (3, "b", 'b'), (2, "c", 'c')];

    #[test]
    fn steps_are_drawn_by_weight_and_can_be_left_out() {
        let drawn = |without: &str| {
            let without = Without::parse(without, &["a", "b", "c"]).unwrap();
            let steps = Steps::of(TABLE, &without);
            let mut rng = Rng::with_seed(1);
            let drawn: String = (0..600).filter_map(|_| steps.draw(&mut rng)).collect();
            ['a', 'b', 'c'].map(|step| drawn.matches(step).count())
        };
        let [a, b, c] = drawn("");
        assert!(a > 60 && b > 240 && c > 140 && a + b + c == 600, "{a} {b} {c}");
        let [a, b, c] = drawn("b");
        assert!(a > 120 && b == 0 && a + c == 600, "{a} {b} {c}");
        assert_eq!(drawn("a,b,c"), [0, 0, 0]);
    }

    #[test]
    fn an_unknown_step_is_named() {
        let error = Without::parse("a,d", &["a", "b"]).unwrap_err();
        assert_eq!(error, "without: there is no step \"d\"; steps: a, b");
    }
}
