// SPDX-License-Identifier: MIT OR Apache-2.0
//! Section of the curves: the times of operations at growing sizes, drawn with logarithmic axes. A straight line is a
//! power law, and its slope is the exponent.

use maud::{Markup, html};
use protocol::curve::{Curve, Point};

use super::anchor;
use crate::results::RunResult;
use crate::text::words::one_line;

/// Sizes in units of the drawing: pixels, unless the browser scales the drawing down.
const LEFT: f64 = 64.0;
const RIGHT: f64 = 16.0;
const TOP: f64 = 10.0;
const BOTTOM: f64 = 40.0;
const WIDTH: f64 = 420.0;
const HEIGHT: f64 = 260.0;
/// Radius of a circle, or half the side of a square.
const RADIUS: f64 = 4.0;

/// Renders the curves of all cases, or nothing if there are none.
pub(super) fn section(run: &RunResult) -> Markup {
    html! {
        @if has_curves(run) {
            section id="growth" {
                h2 { "Growth" }
                p {
                    "Time of an operation at growing sizes. Both axes are logarithmic, so the slope is the exponent: 1 if the "
                    "time is proportional to the size. Circles are direct mmap, squares the memfd."
                }
                @for (at, target) in run.targets.iter().enumerate() {
                    @for case in target.cases.iter().filter(|case| !case.curves.is_empty()) {
                        h3 { (one_line(&target.name)) " " (one_line(&case.id)) }
                        div class="curves" {
                            @for (number, curve) in case.curves.iter().enumerate() {
                                figure {
                                    figcaption { (caption(curve)) }
                                    (draw(curve, &format!("curve-{}-{number}", anchor(at, target, case))))
                                }
                            }
                        }
                    }
                }
            }
        }
    }
}

/// Returns true if a case of the run has curves.
pub(super) fn has_curves(run: &RunResult) -> bool {
    run.targets.iter().flat_map(|target| &target.cases).any(|case| !case.curves.is_empty())
}

fn caption(curve: &Curve) -> Markup {
    html! {
        strong { (one_line(&curve.operation)) }
        ": n" sup { (format!("{:.2}", curve.exponent)) }
        ", at most " (format!("{:.1}", curve.ratio)) " times the memfd ("
        (one_line(&curve.baseline)) ", n" sup { (format!("{:.2}", curve.baseline_exponent)) } ")"
    }
}

/// Axis: maps values to positions in the drawing.
struct Axis {
    /// Decimal logarithms of the values at both ends.
    ends: [f64; 2],
    /// Positions of both ends.
    places: [f64; 2],
}

impl Axis {
    /// Returns the axis for `values`, which are positive.
    fn of(values: impl Iterator<Item = f64>, places: [f64; 2]) -> Axis {
        let logs: Vec<f64> = values.map(f64::log10).filter(|log| log.is_finite()).collect();
        let low = logs.iter().copied().fold(f64::INFINITY, f64::min);
        let high = logs.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        // Less than a decade would have no line of the grid.
        let ends =
            if low > high { [0.0, 1.0] } else { [low.min(high.floor()), high.max(low.ceil())] };
        Axis { ends, places }
    }

    fn place(&self, value: f64) -> f64 {
        let [low, high] = self.ends;
        let share = if high > low { (value.log10() - low) / (high - low) } else { 0.5 };
        let place = self.places[0] + share * (self.places[1] - self.places[0]);
        if place.is_finite() { (place * 10.0).round() / 10.0 } else { self.places[0] }
    }

    /// Returns the powers of ten on the axis.
    fn decades(&self) -> impl Iterator<Item = f64> + use<> {
        let [low, high] = self.ends.map(|end| end.clamp(-12.0, 12.0));
        (low.ceil() as i32..=high.floor() as i32).map(|power| 10f64.powi(power))
    }
}

/// Draws a curve. `id` becomes the HTML id of the drawing's title.
fn draw(curve: &Curve, id: &str) -> Markup {
    let points = &curve.points;
    let times = points.iter().flat_map(|point| [point.seconds, point.baseline_seconds]);
    let x = Axis::of(points.iter().map(|point| point.n as f64), [LEFT, WIDTH - RIGHT]);
    let y = Axis::of(times, [HEIGHT - BOTTOM, TOP]);
    let at = |point: &Point, time: f64| (x.place(point.n as f64), y.place(time));
    let line = |time: fn(&Point) -> f64| {
        let places = points.iter().map(|point| at(point, time(point)));
        places.map(|(x, y)| format!("{x},{y}")).collect::<Vec<_>>().join(" ")
    };
    html! {
        svg xmlns="http://www.w3.org/2000/svg" role="img" aria-labelledby=(id)
            viewBox={ "0 0 " (WIDTH) " " (HEIGHT) } width=(WIDTH) height=(HEIGHT) {
            title id=(id) { (one_line(&curve.line())) }
            g class="axis" {
                @for time in y.decades() {
                    line class="track" x1=(LEFT) x2=(WIDTH - RIGHT) y1=(y.place(time)) y2=(y.place(time)) {}
                    text text-anchor="end" x=(LEFT - 8.0) y=(y.place(time) + 4.0) { (time_label(time)) }
                }
                @for n in x.decades() {
                    line class="track" x1=(x.place(n)) x2=(x.place(n)) y1=(TOP) y2=(HEIGHT - BOTTOM) {}
                    text text-anchor="middle" x=(x.place(n)) y=(HEIGHT - BOTTOM + 16.0) { (n) }
                }
                text text-anchor="end" x=(WIDTH - RIGHT) y=(HEIGHT - 6.0) { (one_line(&curve.counted)) }
            }
            g class="hue1" {
                polyline class="curve" points=(line(|point| point.baseline_seconds)) {}
                @for point in points {
                    @let (x, y) = at(point, point.baseline_seconds);
                    rect class="point" x=(x - RADIUS) y=(y - RADIUS) width=(2.0 * RADIUS) height=(2.0 * RADIUS) {
                        title { (tooltip(point.n, point.baseline_seconds)) }
                    }
                }
            }
            g class="hue0" {
                polyline class="curve" points=(line(|point| point.seconds)) {}
                @for point in points {
                    @let (x, y) = at(point, point.seconds);
                    circle class="point" cx=(x) cy=(y) r=(RADIUS) { title { (tooltip(point.n, point.seconds)) } }
                }
            }
        }
    }
}

/// Returns the label of a power of ten in seconds: `10 ms`.
fn time_label(seconds: f64) -> String {
    let (value, unit) = match seconds {
        long if long > 0.9 => (long, "s"),
        short if short > 0.9e-3 => (1e3 * short, "ms"),
        shorter if shorter > 0.9e-6 => (1e6 * shorter, "us"),
        shortest => (1e9 * shortest, "ns"),
    };
    format!("{value:.0} {unit}")
}

fn tooltip(n: u64, seconds: f64) -> String {
    format!("{n}: {:.3} ms", 1e3 * seconds)
}
