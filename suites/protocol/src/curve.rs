// SPDX-License-Identifier: MIT OR Apache-2.0
//! Curves: the time of an operation at growing sizes.

use serde::{Deserialize, Serialize};

/// Time of an operation on direct-mapped pages at growing sizes, beside the time of the same operation on a memfd.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Curve {
    /// Name of the operation, such as `munmap`.
    pub operation: String,
    /// Kind of thing that is counted, such as `mappings`.
    pub counted: String,
    /// Description of the operation on the memfd.
    pub baseline: String,
    /// The times, in the order of the sizes.
    pub points: Vec<Point>,
    /// Exponent `e` of the power law `time = c * n^e` that fits the times of direct mmap best: 1 if the time is
    /// proportional to the size, 2 if it grows with its square.
    pub exponent: f64,
    /// The same exponent for the memfd.
    pub baseline_exponent: f64,
    /// Largest quotient of the time with direct mmap and the time with the memfd, over all sizes.
    pub ratio: f64,
}

/// Times at one size.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Point {
    /// Size: the number of things counted.
    pub n: u64,
    /// Time with direct mmap, in seconds.
    pub seconds: f64,
    /// Time with the memfd, in seconds.
    pub baseline_seconds: f64,
}

impl Curve {
    /// Returns the curve through `points`, whose sizes and times are positive.
    pub fn new(operation: &str, counted: &str, baseline: &str, points: Vec<Point>) -> Curve {
        let fit =
            |time: fn(&Point) -> f64| exponent(points.iter().map(|at| (at.n as f64, time(at))));
        let ratios = points.iter().map(|at| at.seconds / at.baseline_seconds);
        Curve {
            operation: operation.into(),
            counted: counted.into(),
            baseline: baseline.into(),
            exponent: fit(|at| at.seconds),
            baseline_exponent: fit(|at| at.baseline_seconds),
            ratio: ratios.fold(0.0, f64::max),
            points,
        }
    }

    /// Returns the curve in one line: `munmap at 100 to 16000 mappings: n^1.02, at most 1.4 times a memfd`.
    pub fn line(&self) -> String {
        let Curve { operation, counted, exponent, ratio, .. } = self;
        let n = |point: Option<&Point>| point.map_or(0, |point| point.n);
        let (from, to) = (n(self.points.first()), n(self.points.last()));
        format!(
            "{operation} at {from} to {to} {counted}: n^{exponent:.2}, at most {ratio:.1} times a memfd"
        )
    }
}

/// Returns the slope of the straight line that fits the logarithms of the points best (least squares). Returns 0 if
/// there are fewer than two sizes.
fn exponent(points: impl Iterator<Item = (f64, f64)>) -> f64 {
    let logs: Vec<(f64, f64)> = points.map(|(n, time)| (n.ln(), time.ln())).collect();
    let count = logs.len() as f64;
    let mean = |value: fn(&(f64, f64)) -> f64| logs.iter().map(value).sum::<f64>() / count;
    let (mean_x, mean_y) = (mean(|log| log.0), mean(|log| log.1));
    let spread: f64 = logs.iter().map(|(x, _)| (x - mean_x).powi(2)).sum();
    let slope: f64 = logs.iter().map(|(x, y)| (x - mean_x) * (y - mean_y)).sum();
    if spread > 0.0 { slope / spread } else { 0.0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn curve(time: fn(f64) -> f64) -> Curve {
        let points = [100, 400, 1600, 6400].map(|n| {
            let baseline_seconds = 1e-6 * n as f64;
            Point { n, seconds: time(n as f64), baseline_seconds }
        });
        Curve::new("munmap", "mappings", "munmap", points.into())
    }

    #[test]
    fn the_exponent_is_that_of_the_power_law() {
        let linear = curve(|n| 2e-6 * n);
        assert!((linear.exponent - 1.0).abs() < 1e-9, "{linear:?}");
        assert!((linear.ratio - 2.0).abs() < 1e-9, "{linear:?}");
        assert!((curve(|n| 1e-9 * n * n).exponent - 2.0).abs() < 1e-9);
        assert!((curve(|_| 3e-6).exponent).abs() < 1e-9);
        // A constant part hides some of the growth.
        let mixed = curve(|n| 1e-3 + 1e-6 * n).exponent;
        assert!((0.1..0.9).contains(&mixed), "{mixed}");
    }

    #[test]
    fn too_few_points_have_no_exponent() {
        assert_eq!(exponent([].into_iter()), 0.0);
        assert_eq!(exponent([(100.0, 1.0)].into_iter()), 0.0);
        assert_eq!(exponent([(100.0, 1.0), (100.0, 2.0)].into_iter()), 0.0);
    }

    #[test]
    fn a_curve_is_described_in_a_line() {
        let line = "munmap at 100 to 6400 mappings: n^2.00, at most 6.4 times a memfd";
        assert_eq!(curve(|n| 1e-9 * n * n).line(), line);
    }
}
