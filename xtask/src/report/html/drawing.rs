// SPDX-License-Identifier: MIT OR Apache-2.0
//! Drawing of a finding: its accesses from left to right, each in the lane of its colour.

use maud::{Markup, html};

use super::lane::{Lane, Palette, class_of_op, is_round, letter, tooltip};
use crate::oracle::files::Story;
use crate::oracle::line::Access;
use crate::oracle::story::sentence;
use crate::text::words::one_line;

/// Sizes in units of the drawing: pixels, unless the browser scales the drawing down.
const LEFT: usize = 120;
const COLUMN: usize = 80;
const TOP: usize = 30;
const LANE: usize = 56;
const BOTTOM: usize = 44;
/// Radius of a circle, or half the side of a square.
const RADIUS: usize = 11;

/// Draws `story` in the colours of `palette`. `id` becomes the HTML id of the drawing's title.
pub(super) fn draw(story: &Story, palette: &Palette, id: &str) -> Markup {
    let own = Palette::of([story]);
    let lanes = own.lanes();
    let finding = &story.finding;
    let accesses = finding.accesses();
    let width = LEFT + COLUMN * accesses.len();
    let height = TOP + LANE * lanes.len() + BOTTOM;
    let lane_of = |access: &Access| Lane::of(access, &story.config);
    let y = |lane: Lane| TOP + LANE / 2 + LANE * lanes.partition_point(|known| *known < lane);
    let x = |at: usize| LEFT + COLUMN / 2 + COLUMN * at;
    let place = |wanted: &Access| {
        let at = accesses.iter().position(|access| access.at == wanted.at);
        at.map(|at| (x(at), y(lane_of(wanted))))
    };
    let pair = [("earlier", &finding.earlier), ("later", &finding.later)];
    html! {
        svg xmlns="http://www.w3.org/2000/svg" role="img" aria-labelledby=(id)
            viewBox={ "0 0 " (width) " " (height) } width=(width) height=(height) {
            title id=(id) { (one_line(&sentence(finding, story.config.page))) }
            @for lane in lanes {
                g class=(palette.class(*lane)) {
                    line class="track" x1=(LEFT) y1=(y(*lane)) x2=(width) y2=(y(*lane)) {}
                    text x="4" y=(y(*lane) + 4) { (lane) }
                }
            }
            @if let [Some((x1, y1)), Some((x2, y2))] = pair.map(|(_, access)| place(access)) {
                line class="pair" x1=(x1) y1=(y1) x2=(x2) y2=(y2) {}
            }
            @for (at, access) in accesses.iter().enumerate() {
                (mark(access, lane_of(access), palette, (x(at), y(lane_of(access))), RADIUS))
                g class="axis" text-anchor="middle" {
                    text x=(x(at)) y="16" { (access.at) }
                    text x=(x(at)) y=(height - 24) { (access.by.word()) }
                    text x=(x(at)) y=(height - 8) { (access.op.word()) }
                }
            }
            @for (name, access) in pair {
                @if let Some((x, y)) = place(access) {
                    text class="name" text-anchor="middle" x=(x) y=(y - RADIUS - 5) { (name) }
                }
            }
        }
    }
}

/// Draws an access: a circle for a process, a square for the kernel, with the letter of the operation.
pub(super) fn mark(
    access: &Access,
    lane: Lane,
    palette: &Palette,
    (x, y): (usize, usize),
    radius: usize,
) -> Markup {
    let class = class_of_op(access.op);
    html! {
        g class=(palette.class(lane)) {
            title { (one_line(&tooltip(access, lane))) }
            @if is_round(access.by) {
                circle class=(class) cx=(x) cy=(y) r=(radius) {}
            } @else {
                rect class=(class) x=(x - radius) y=(y - radius) width=(2 * radius) height=(2 * radius) {}
            }
            text class="letter" text-anchor="middle" x=(x) y=(y + 4) { (letter(access.op)) }
        }
    }
}
