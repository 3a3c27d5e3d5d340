// SPDX-License-Identifier: MIT OR Apache-2.0
//! Curves in the page: their captions and their drawings.

use super::*;

#[test]
fn a_curve_has_a_caption_and_a_drawing() {
    let page = page(&samples::scaled(), &context(Stories::new()));
    let growth = section(&page, "growth");
    insta::assert_snapshot!(words(&growth), @"
    Growth
    Time of an operation at growing sizes. Both axes are logarithmic, so the slope is the exponent: 1 if the time is proportional to the size. Circles are direct mmap, squares the memfd.
    x86_64 scale/mappings.fuse
    touch: n1.00, at most 1.5 times the memfd (touch, n1.00)
    [drawing]
    FREE: n2.00, at most 50.0 times the memfd (punching a hole, n1.00)
    [drawing]
    ");
    let (_, rest) = growth.split_once("</figcaption>").unwrap();
    let (drawing, _) = rest.split_once("</figure>").unwrap();
    insta::assert_snapshot!(drawing.replace("><", ">\n<"), @r#"
    <svg xmlns="http://www.w3.org/2000/svg" role="img" aria-labelledby="curve-case-0-1-0" viewBox="0 0 420 260" width="420" height="260">
    <title id="curve-case-0-1-0">touch at 100 to 10000 mappings: n^1.00, at most 1.5 times a memfd</title>
    <g class="axis">
    <line class="track" x1="64" x2="404" y1="152.5" y2="152.5">
    </line>
    <text text-anchor="end" x="56" y="156.5">1 ms</text>
    <line class="track" x1="64" x2="404" y1="56" y2="56">
    </line>
    <text text-anchor="end" x="56" y="60">10 ms</text>
    <line class="track" x1="64" x2="64" y1="10" y2="220">
    </line>
    <text text-anchor="middle" x="64" y="236">100</text>
    <line class="track" x1="234" x2="234" y1="10" y2="220">
    </line>
    <text text-anchor="middle" x="234" y="236">1000</text>
    <line class="track" x1="404" x2="404" y1="10" y2="220">
    </line>
    <text text-anchor="middle" x="404" y="236">10000</text>
    <text text-anchor="end" x="404" y="254">mappings</text>
    </g>
    <g class="hue1">
    <polyline class="curve" points="64,220 234,123.5 404,27">
    </polyline>
    <rect class="point" x="60" y="216" width="8" height="8">
    <title>100: 0.200 ms</title>
    </rect>
    <rect class="point" x="230" y="119.5" width="8" height="8">
    <title>1000: 2.000 ms</title>
    </rect>
    <rect class="point" x="400" y="23" width="8" height="8">
    <title>10000: 20.000 ms</title>
    </rect>
    </g>
    <g class="hue0">
    <polyline class="curve" points="64,203 234,106.5 404,10">
    </polyline>
    <circle class="point" cx="64" cy="203" r="4">
    <title>100: 0.300 ms</title>
    </circle>
    <circle class="point" cx="234" cy="106.5" r="4">
    <title>1000: 3.000 ms</title>
    </circle>
    <circle class="point" cx="404" cy="10" r="4">
    <title>10000: 30.000 ms</title>
    </circle>
    </g>
    </svg>
    "#);
}

#[test]
fn a_page_without_curves_has_no_section_for_them() {
    let page = page(&samples::mixed(), &context(Stories::new()));
    assert!(!page.contains("growth"));
}

#[test]
fn a_curve_of_a_broken_guest_is_drawn() {
    let mut run = samples::scaled();
    let curves = &mut run.targets[0].cases[1].curves;
    curves[0].points.clear();
    for (point, time) in curves[1].points.iter_mut().zip([0.0, -1.0, f64::INFINITY]) {
        point.n = 0;
        point.seconds = time;
    }
    let page = page(&run, &context(Stories::new()));
    assert!(!page.contains("NaN") && !page.contains("inf\""), "{page}");
}
