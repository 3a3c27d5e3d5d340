// SPDX-License-Identifier: MIT OR Apache-2.0
//! Map of a page with more than one finding. Each cache line is a row with its accesses from left to right, painted by
//! colour. An arc joins the earlier and the later access of each finding.

use std::collections::BTreeMap;

use maud::{Markup, html};

use super::drawing::mark;
use super::lane::{Lane, Palette};
use crate::oracle::files::Story;
use crate::oracle::line::{Access, Hex};
use crate::text::words::one_line;

/// Sizes in units of the drawing: pixels, unless the browser scales the drawing down.
const LEFT: usize = 80;
const COLUMN: usize = 24;
const TOP: usize = 24;
const ROW: usize = 52;
/// Radius of a circle, or half the side of a square.
const RADIUS: usize = 9;

/// Draws the map of the page with `stories`, in the colours of `palette`. `id` becomes the HTML id of the map's title.
pub(super) fn draw(page: &str, stories: &[&Story], palette: &Palette, id: &str) -> Markup {
    let accesses = accesses(stories);
    let mut lines: Vec<Hex> = accesses.keys().map(|(_, line)| *line).collect();
    lines.sort();
    lines.dedup();
    let mut times: Vec<u64> = accesses.keys().map(|(at, _)| *at).collect();
    times.dedup();
    let width = LEFT + COLUMN * times.len();
    let height = TOP + ROW * lines.len();
    let x = |at: u64| LEFT + COLUMN / 2 + COLUMN * times.partition_point(|known| *known < at);
    let y = |line: Hex| TOP + ROW * 2 / 3 + ROW * lines.partition_point(|known| *known < line);
    html! {
        svg xmlns="http://www.w3.org/2000/svg" role="img" aria-labelledby=(id)
            viewBox={ "0 0 " (width) " " (height) } width=(width) height=(height) {
            title id=(id) {
                "Cache lines of page " (one_line(page)) ": accesses in order, an arc for each finding"
            }
            @for line in &lines {
                line class="track" x1=(LEFT) y1=(y(*line)) x2=(width) y2=(y(*line)) {}
                text class="axis" x="4" y=(y(*line) + 4) { (line) }
            }
            @for story in stories {
                @let (earlier, later) = (x(story.finding.earlier.at), x(story.finding.later.at));
                @let y = y(story.finding.line);
                @let top = y - ROW / 2;
                @let middle = (earlier + later) / 2;
                path class="pair" d={ "M" (earlier) " " (y) " Q" (middle) " " (top) " " (later) " " (y) } {}
            }
            @for ((at, line), (access, lane)) in &accesses {
                (mark(access, *lane, palette, (x(*at), y(*line)), RADIUS))
            }
            @for story in stories {
                @let (x, y) = (x(story.finding.later.at), y(story.finding.line));
                text class="name" text-anchor="middle" x=(x) y=(y - RADIUS - 5) { (story.finding.number) }
            }
        }
    }
}

/// Returns the accesses of all stories, by time and line. An access that several stories share is listed once.
fn accesses<'a>(stories: &[&'a Story]) -> BTreeMap<(u64, Hex), (&'a Access, Lane)> {
    let accesses = stories.iter().flat_map(|story| {
        story.finding.accesses().into_iter().map(|access| {
            let lane = Lane::of(access, &story.config);
            ((access.at, story.finding.line), (access, lane))
        })
    });
    accesses.collect()
}
