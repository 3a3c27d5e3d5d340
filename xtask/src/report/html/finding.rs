// SPDX-License-Identifier: MIT OR Apache-2.0
//! What the oracle found in a case, page by page: each finding in a sentence, drawn, and as the text of `oracle
//! explain`.

use maud::{Markup, html};

use super::Told;
use super::lane::{Lane, Palette};
use super::{drawing, page_map};
use crate::oracle::files::Story;
use crate::oracle::story::explain;
use crate::report::Origin;
use crate::results::{CaseResult, Found, Watched};
use crate::run_dir::ORACLE_FINDINGS;
use crate::text::words::{lines, one_line, times};

/// What the findings of a case have in common.
struct Scene<'a> {
    case: &'a CaseResult,
    /// The anchor of the case, which no other has.
    anchor: &'a str,
    told: &'a Told<'a>,
    palette: Palette,
}

/// All findings of a case that the result has; nothing where there is none.
pub(super) fn all(watched: &Watched, case: &CaseResult, anchor: &str, told: &Told) -> Markup {
    let stories = watched
        .findings
        .iter()
        .filter_map(|found| told_of(found, told));
    let scene = Scene {
        case,
        anchor,
        told,
        palette: Palette::of(stories),
    };
    let left_out = watched
        .distinct
        .saturating_sub(watched.findings.len() as u64);
    html! {
        @if !watched.findings.is_empty() {
            h4 { "What the oracle found" }
            @if !scene.palette.lanes().is_empty() { (key(&scene.palette)) }
            @for page in pages(&watched.findings) { (one_page(&page, &scene)) }
            @if left_out > 0 {
                p { (left_out) " more are in " code { (ORACLE_FINDINGS) } " of the boot." }
            }
        }
    }
}

impl Scene<'_> {
    /// The identifier of a drawing. The findings of a case are of one window, where each has a number of its own.
    fn id(&self, of: &str, found: &Found) -> String {
        format!("{of}-{}-{}", self.anchor, found.number)
    }
}

/// The findings by page, in the order in which pages were first found.
fn pages(findings: &[Found]) -> Vec<Vec<&Found>> {
    let mut pages: Vec<Vec<&Found>> = Vec::new();
    for found in findings {
        match pages.iter_mut().find(|page| page[0].page == found.page) {
            Some(page) => page.push(found),
            None => pages.push(vec![found]),
        }
    }
    pages
}

fn one_page(page: &[&Found], scene: &Scene) -> Markup {
    let stories = page.iter().filter_map(|found| told_of(found, scene.told));
    let stories: Vec<&Story> = stories.collect();
    let id = scene.id("map", page[0]);
    let address = one_line(&page[0].page);
    html! {
        h5 { "Physical page " (address) }
        @if stories.len() > 1 {
            figure {
                figcaption { "Its lines, and the accesses to them in order. Arcs have the numbers of the findings." }
                (wide(&format!("Map of page {address}"), page_map::draw(&address, &stories, &scene.palette, &id)))
            }
        }
        @for found in page { (one(found, scene)) }
    }
}

fn one(found: &Found, scene: &Scene) -> Markup {
    let Scene {
        case,
        told,
        palette,
        ..
    } = scene;
    let name = one_line(&found.id);
    let id = scene.id("finding", found);
    html! {
        figure {
            figcaption {
                strong { (name) } ", " (times(found.repeats)) ": " (one_line(&found.text))
            }
            @match (told.stories.get(&found.id), told.origin) {
                (Some(Ok(story)), _) => {
                    (wide(&name, drawing::draw(story, palette, &id)))
                    @let (boot, Story { finding, config }) = (case.boot.unwrap_or_default(), story);
                    details {
                        summary { "The story as text" }
                        pre { (lines(&explain(found, &case.id, boot, finding, config)).join("\n")) }
                    }
                }
                (Some(Err(why)), _) => p { "Its story is not there: " (one_line(why)) },
                (None, Origin::Elsewhere) => p {
                    "The story is in the report of the run itself: the accesses are in the files of its boots, which "
                    "merged results do not have."
                },
                (None, Origin::Run { .. }) => p { "Its story was not read." },
            }
        }
    }
}

/// How to read the drawings.
fn key(palette: &Palette) -> Markup {
    let pages = palette
        .lanes()
        .iter()
        .any(|lane| matches!(lane, Lane::Page(_)));
    let lane = match pages {
        true => "A lane is a page of virtual addresses, as the tags of the cache are virtual.",
        false => "A lane is a colour of the cache.",
    };
    html! {
        p class="key" {
            "From left to right: accesses in order, by their number. " (lane) " A circle is an access of a process, "
            "a square one of the kernel. L is a load, S a store, C a clean, I an invalidate, F a flush. The dashed "
            "line joins the two that do not go together."
        }
    }
}

/// A drawing that may be wider than the page, and can then be moved with the keyboard as well.
fn wide(name: &str, drawing: Markup) -> Markup {
    html! { div class="wide" tabindex="0" role="region" aria-label=(name) { (drawing) } }
}

fn told_of<'a>(found: &Found, told: &'a Told) -> Option<&'a Story> {
    told.stories.get(&found.id)?.as_ref().ok()
}
