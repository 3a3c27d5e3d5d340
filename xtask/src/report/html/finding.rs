// SPDX-License-Identifier: MIT OR Apache-2.0
//! Oracle findings of a case, grouped by page: each with a sentence, a drawing and the output of `oracle explain`.

use maud::{Markup, html};

use super::PageContext;
use super::lane::{Lane, Palette};
use super::{drawing, page_map};
use crate::oracle::files::Story;
use crate::oracle::story::explain;
use crate::report::Origin;
use crate::results::{CaseResult, FindingSummary, OracleSummary};
use crate::run_dir::ORACLE_FINDINGS;
use crate::text::words::{lines, one_line, times};

/// Data that all findings of a case share.
struct CaseContext<'a> {
    case: &'a CaseResult,
    /// Anchor of the case, unique in the page.
    anchor: &'a str,
    context: &'a PageContext<'a>,
    palette: Palette,
}

/// Renders the findings that the result holds for a case, or nothing if there are none.
pub(super) fn all(
    watched: &OracleSummary,
    case: &CaseResult,
    anchor: &str,
    context: &PageContext,
) -> Markup {
    let stories = watched.findings.iter().filter_map(|found| story(found, context));
    let case_context = CaseContext { case, anchor, context, palette: Palette::of(stories) };
    let left_out = watched.distinct.saturating_sub(watched.findings.len() as u64);
    html! {
        @if !watched.findings.is_empty() {
            h4 { "Oracle findings" }
            @if !case_context.palette.lanes().is_empty() { (legend(&case_context.palette)) }
            @for page in pages(&watched.findings) { (one_page(&page, &case_context)) }
            @if left_out > 0 {
                p { "Not shown: " (left_out) " more, in " code { (ORACLE_FINDINGS) } " of the boot." }
            }
        }
    }
}

impl CaseContext<'_> {
    /// Returns the HTML id of a drawing. It is unique because all findings of a case come from one window, which numbers
    /// them.
    fn id(&self, prefix: &str, found: &FindingSummary) -> String {
        format!("{prefix}-{}-{}", self.anchor, found.number)
    }
}

/// Groups the findings by page, in the order in which the pages appear first.
fn pages(findings: &[FindingSummary]) -> Vec<Vec<&FindingSummary>> {
    let mut pages: Vec<Vec<&FindingSummary>> = Vec::new();
    for found in findings {
        match pages.iter_mut().find(|page| page[0].page == found.page) {
            Some(page) => page.push(found),
            None => pages.push(vec![found]),
        }
    }
    pages
}

fn one_page(page: &[&FindingSummary], case_context: &CaseContext) -> Markup {
    let stories = page.iter().filter_map(|found| story(found, case_context.context));
    let stories: Vec<&Story> = stories.collect();
    let id = case_context.id("map", page[0]);
    let address = one_line(&page[0].page);
    html! {
        h5 { "Physical page " (address) }
        @if stories.len() > 1 {
            figure {
                figcaption {
                    "The cache lines of this page, with the accesses to each line in order. Each arc is a finding, "
                    "labelled with its number."
                }
                (wide(&format!("Map of page {address}"), page_map::draw(&address, &stories, &case_context.palette, &id)))
            }
        }
        @for found in page { (one(found, case_context)) }
    }
}

fn one(found: &FindingSummary, case_context: &CaseContext) -> Markup {
    let CaseContext { case, context, palette, .. } = case_context;
    let name = one_line(&found.id);
    let id = case_context.id("finding", found);
    html! {
        figure {
            figcaption {
                strong { (name) } ", " (times(found.repeats)) ": " (one_line(&found.text))
            }
            @match (context.stories.get(&found.id), context.origin) {
                (Some(Ok(story)), _) => {
                    (wide(&name, drawing::draw(story, palette, &id)))
                    @let (boot, Story { finding, config }) = (case.boot.unwrap_or_default(), story);
                    details {
                        summary { "Output of " code { "cargo xtask oracle explain" } }
                        pre { (lines(&explain(found, &case.id, boot, finding, config)).join("\n")) }
                    }
                }
                (Some(Err(why)), _) => p { "The accesses could not be read: " (one_line(why)) },
                (None, Origin::Elsewhere) => p {
                    "The accesses are in the report of the original run. They come from the files of its boots, which "
                    "merged results do not include."
                },
                (None, Origin::Run { .. }) => p { "The accesses were not read." },
            }
        }
    }
}

/// Explains how to read the drawings.
fn legend(palette: &Palette) -> Markup {
    let pages = palette.lanes().iter().any(|lane| matches!(lane, Lane::Page(_)));
    let lane = match pages {
        true => "Each lane is a virtual page, because the tags of the cache are virtual.",
        false => "Each lane is a colour of the cache.",
    };
    html! {
        p class="key" {
            "Accesses run from left to right, each with its number. " (lane) " Circles are accesses by a process, "
            "squares are accesses by the kernel. L is a load, S a store, C a clean, I an invalidate, F a flush. The "
            "dashed line joins the two conflicting accesses."
        }
    }
}

/// Wraps a drawing that may be wider than the page, so that it can be scrolled by mouse and keyboard.
fn wide(name: &str, drawing: Markup) -> Markup {
    html! { div class="wide" tabindex="0" role="region" aria-label=(name) { (drawing) } }
}

/// Returns the story of a finding if it was read.
fn story<'a>(found: &FindingSummary, context: &'a PageContext) -> Option<&'a Story> {
    context.stories.get(&found.id)?.as_ref().ok()
}
