// SPDX-License-Identifier: MIT OR Apache-2.0
//! Growth of the cost of operations: samples of their times at growing sizes, and the verdict on them.
//!
//! No time is judged by itself, because a machine may be slow or busy. What counts is the exponent of the growth, and
//! the ratio to the same operation on a memfd at the same moment. Of all samples at one size the shortest counts: other
//! work on the machine makes a sample longer, never shorter.

use std::collections::BTreeMap;
use std::time::Duration;

use protocol::curve::{Curve, Point};
use serde::Deserialize;
use sys::Instant;

use crate::stage::case::Case;
use crate::stage::failure::Failure;

/// Number of sizes that are measured even if they take more time, up to half of the deadline. Fewer sizes have no
/// meaningful exponent.
const SIZES_MIN: usize = 3;

/// Number of times that the sizes are measured as long as the growth looks too fast.
const ATTEMPTS: u32 = 6;

/// Growth beyond that of the memfd that is always tolerated: on a busy machine, a long measurement contains more of the
/// other work than a short one, on both sides.
const BEYOND_MEMFD: f64 = 0.3;

/// Ratio to the memfd at the largest size up to which an operation counts as equally fast, however its time has grown.
/// It is the aim of promise 12.
const AS_FAST: f64 = 3.0;

/// Limits of the growth.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct GrowthLimits {
    /// Highest exponent, unless the memfd grows about as fast, or takes about as long at the largest size.
    pub exponent: f64,
    /// Highest ratio to the memfd, at any size.
    pub ratio: f64,
}

/// Operation that is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Operation {
    /// Name, such as `munmap`.
    pub name: &'static str,
    /// Description of the operation on the memfd.
    pub baseline: &'static str,
}

/// Samples of all operations of a case.
#[derive(Debug)]
pub(crate) struct Growth {
    /// Kind of thing that is counted.
    counted: &'static str,
    samples: BTreeMap<Operation, BTreeMap<u64, Sample>>,
}

/// Shortest times at one size.
#[derive(Clone, Copy, Debug)]
struct Sample {
    direct: Duration,
    memfd: Duration,
}

impl Growth {
    /// Returns the growth of operations, without samples yet. `counted` is plural, such as `mappings`.
    pub(crate) fn of(counted: &'static str) -> Growth {
        Growth { counted, samples: BTreeMap::new() }
    }

    /// Adds the times of `operation` at size `n`, with direct mmap and with the memfd.
    pub(crate) fn add(&mut self, operation: Operation, n: u64, direct: Duration, memfd: Duration) {
        let sizes = self.samples.entry(operation).or_default();
        let best = sizes.entry(n).or_insert(Sample { direct, memfd });
        best.direct = best.direct.min(direct);
        best.memfd = best.memfd.min(memfd);
    }

    /// Returns a curve for each operation.
    pub(crate) fn curves(&self) -> Vec<Curve> {
        // Logarithms and quotients need times above zero.
        let seconds = |time: Duration| time.max(Duration::from_nanos(1)).as_secs_f64();
        let curve = |(operation, sizes): (&Operation, &BTreeMap<u64, Sample>)| {
            let points = sizes.iter().map(|(&n, sample)| Point {
                n,
                seconds: seconds(sample.direct),
                baseline_seconds: seconds(sample.memfd),
            });
            Curve::new(operation.name, self.counted, operation.baseline, points.collect())
        };
        self.samples.iter().map(curve).collect()
    }

    /// Fails if an operation grows too fast, or takes too long compared with the memfd.
    fn judge(&self, limits: &GrowthLimits) -> Result<(), Failure> {
        let reasons: Vec<String> =
            self.curves().iter().filter_map(|curve| excess(curve, limits)).collect();
        if reasons.is_empty() { Ok(()) } else { Err(Failure::new(reasons.join("; "))) }
    }
}

/// Returns the limit that a curve exceeds, in words, or `None` if it exceeds no limit.
fn excess(curve: &Curve, limits: &GrowthLimits) -> Option<String> {
    let Curve { operation, counted, baseline, .. } = curve;
    let (first, last) = (curve.points.first()?, curve.points.last()?);
    let ratio = |point: &Point| point.seconds / point.baseline_seconds;
    let highest = limits.exponent.max(curve.baseline_exponent + BEYOND_MEMFD);
    if curve.exponent > highest && ratio(last) > AS_FAST {
        return Some(format!(
            "{operation}: expected a time that grows at most as n^{}, found n^{:.2} from {} to {} {counted} ({} to {}; \
             memfd: n^{:.2})",
            limits.exponent,
            curve.exponent,
            first.n,
            last.n,
            time(first.seconds),
            time(last.seconds),
            curve.baseline_exponent
        ));
    }
    let worst = curve.points.iter().max_by(|a, b| ratio(a).total_cmp(&ratio(b)))?;
    (ratio(worst) > limits.ratio).then(|| {
        format!(
            "{operation}: expected at most {} times the time of a memfd ({baseline}), found {:.1} times at {} {counted} \
             ({} and {})",
            limits.ratio,
            ratio(worst),
            worst.n,
            time(worst.seconds),
            time(worst.baseline_seconds)
        )
    })
}

/// Returns a time in a unit that suits it.
fn time(seconds: f64) -> String {
    match seconds {
        long if long >= 1.0 => format!("{long:.2} s"),
        short if short >= 1e-3 => format!("{:.2} ms", 1e3 * short),
        shorter => format!("{:.1} us", 1e6 * shorter),
    }
}

/// Measures a case at each of its `sizes`, reports the curves, and judges them by the `limits` of the case. `at`
/// measures one size.
///
/// A failure counts only if it is still one after the sizes have been measured again, so that other work on the machine
/// causes none. Sizes that would take too much of the deadline are left out: with them, quadratic growth would end in a
/// timeout instead of a failure with the figure.
pub(crate) fn measure(
    case: &mut Case,
    counted: &'static str,
    mut at: impl FnMut(&mut Case, &mut Growth, u64) -> Result<(), Failure>,
) -> Result<(), Failure> {
    // Two processes that wake each other take turns on one processor. On two, each wake-up would wait until a busy host
    // runs the other one.
    sys::run_on_processor(0)?;
    let sizes: Vec<u64> = case.param("sizes")?;
    let limits: GrowthLimits = case.param("limits")?;
    let start = Instant::now();
    let mut growth = Growth::of(counted);
    let mut costs = Costs::default();
    let mut verdict = Ok(());
    for attempt in 0..ATTEMPTS {
        for (index, &n) in sizes.iter().enumerate() {
            let needed = attempt > 0 || index < SIZES_MIN;
            let limit = if needed { last_start(case) } else { budget(case) };
            if costs.of(n) > limit.saturating_sub(start.elapsed()) {
                case.log(&format!("stopped before {n} {counted}: too little time is left"));
                break;
            }
            let start = Instant::now();
            at(case, &mut growth, n)?;
            costs.add(n, start.elapsed());
        }
        verdict = growth.judge(&limits);
        if verdict.is_ok() || start.elapsed() > last_start(case) {
            break;
        }
    }
    case.curves = growth.curves();
    verdict?;
    let measured = costs.0.len();
    if measured < SIZES_MIN.min(sizes.len()) {
        return Err(Failure::Skip(format!(
            "{measured} of {} sizes could be measured in time, which is too few: the machine is too slow or too busy",
            sizes.len()
        )));
    }
    Ok(())
}

/// Returns the time in which a case measures all sizes, if the machine is fast enough.
fn budget(case: &Case) -> Duration {
    case.deadline() / 6
}

/// Returns the time after which a case measures nothing any more.
pub(crate) fn last_start(case: &Case) -> Duration {
    case.deadline() / 2
}

/// Shortest time that the measurement of each size has taken.
#[derive(Debug, Default)]
struct Costs(BTreeMap<u64, Duration>);

impl Costs {
    fn add(&mut self, n: u64, time: Duration) {
        let best = self.0.entry(n).or_insert(time);
        *best = time.min(*best);
    }

    /// Returns the time for size `n`. For a size that was not measured yet, estimates that the time grows as between the
    /// last two sizes, and at least linearly.
    fn of(&self, n: u64) -> Duration {
        if let Some(time) = self.0.get(&n) {
            return *time;
        }
        let mut smaller = self.0.range(..n).rev();
        let Some((&last, &time)) = smaller.next() else {
            return Duration::ZERO;
        };
        let grown = |(&from, before): (&u64, &Duration)| {
            (time.as_secs_f64() / before.as_secs_f64()).ln() / (last as f64 / from as f64).ln()
        };
        let exponent = smaller.next().map_or(1.0, grown).clamp(1.0, 3.0);
        time.mul_f64((n as f64 / last as f64).powf(exponent))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: GrowthLimits = GrowthLimits { exponent: 1.3, ratio: 10.0 };
    const MUNMAP: Operation = Operation { name: "munmap", baseline: "munmap" };

    /// Returns the growth for times in nanoseconds.
    fn growth(direct: fn(u64) -> u64, memfd: fn(u64) -> u64) -> Growth {
        let mut growth = Growth::of("mappings");
        for n in [100, 1000, 10_000] {
            let times = [direct(n), memfd(n)].map(Duration::from_nanos);
            growth.add(MUNMAP, n, times[0], times[1]);
        }
        growth
    }

    fn reason(growth: &Growth) -> String {
        match growth.judge(&LIMITS) {
            Err(Failure::Fail(reason)) => reason,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn linear_growth_passes() {
        assert_eq!(growth(|n| 3000 * n, |n| 1000 * n).judge(&LIMITS), Ok(()));
        assert_eq!(growth(|_| 3000, |_| 1000).judge(&LIMITS), Ok(()));
        assert_eq!(Growth::of("mappings").judge(&LIMITS), Ok(()));
    }

    #[test]
    fn quadratic_growth_and_a_high_ratio_fail() {
        insta::assert_snapshot!(reason(&growth(|n| 10 * n * n, |n| 1000 * n)), @"munmap: expected a time that grows at most as n^1.3, found n^2.00 from 100 to 10000 mappings (100.0 us to 1.00 s; memfd: n^1.00)");
        insta::assert_snapshot!(reason(&growth(|n| 11_000 * n, |n| 1000 * n)), @"munmap: expected at most 10 times the time of a memfd (munmap), found 11.0 times at 10000 mappings (110.00 ms and 10.00 ms)");
    }

    #[test]
    fn the_shortest_sample_counts() {
        let mut growth = growth(|n| 1000 * n * n, |n| 1000 * n);
        for n in [100, 1000, 10_000] {
            growth.add(MUNMAP, n, Duration::from_nanos(2000 * n), Duration::from_secs(1));
        }
        assert_eq!(growth.judge(&LIMITS), Ok(()));
        let curves = growth.curves();
        assert!((curves[0].ratio - 2.0).abs() < 1e-9, "{curves:?}");
    }

    #[test]
    fn the_cost_of_a_new_size_is_estimated() {
        let mut costs = Costs::default();
        assert_eq!(costs.of(100), Duration::ZERO);
        costs.add(100, Duration::from_secs(1));
        assert_eq!(costs.of(400), Duration::from_secs(4));
        costs.add(200, Duration::from_secs(5));
        costs.add(200, Duration::from_secs(4));
        assert_eq!(costs.of(200), Duration::from_secs(4));
        assert_eq!(costs.of(400).as_secs_f64().round(), 16.0);
        costs.add(400, Duration::from_secs(4));
        assert_eq!(costs.of(800), Duration::from_secs(8));
    }
}
