// SPDX-License-Identifier: MIT OR Apache-2.0
//! Markup of the page: it is well-formed and accessible, loads nothing, and escapes all untrusted text.

use std::collections::BTreeSet;

use roxmltree::{Document, ParsingOptions};
use serde::{Serialize, de::DeserializeOwned};
use serde_json::Value;

use super::*;

/// Parses the page as XML and passes the tree to `look`. Before that, closes the elements that HTML leaves open, and gives
/// `checked` a value.
fn with_tree(page: &str, look: impl Fn(&Document)) {
    let open = regex::Regex::new("<(meta|input) ([^>]*)>").unwrap();
    let page = open.replace_all(page, "<$1 $2/>").replace(" checked/>", " checked=\"\"/>");
    let page = page.as_str();
    let options = ParsingOptions { allow_dtd: true, ..ParsingOptions::default() };
    look(&Document::parse_with_options(page, options).unwrap());
}

#[test]
fn the_page_is_well_formed_and_accessible() {
    for run in all_samples() {
        with_tree(&render(&run, &context(stories())), |tree| {
            let mut ids = BTreeSet::new();
            for node in tree.descendants().filter(|node| node.is_element()) {
                if let Some(id) = node.attribute("id") {
                    assert!(ids.insert(id), "the id {id} is used twice");
                }
            }
            for node in tree.descendants() {
                let name = node.tag_name().name();
                let link = node.attribute("href").and_then(|link| link.strip_prefix('#'));
                for wanted in link.into_iter().chain(node.attribute("aria-labelledby")) {
                    assert!(ids.contains(wanted), "no element has the id {wanted}");
                }
                if name == "th" {
                    assert!(node.has_attribute("scope"), "{node:?}");
                }
                if name == "svg" {
                    assert!(node.has_attribute("aria-labelledby"), "{node:?}");
                }
                if name == "details" {
                    assert!(node.first_element_child().unwrap().has_tag_name("summary"));
                }
            }
        });
    }
}

#[test]
fn the_page_loads_nothing() {
    for run in all_samples() {
        with_tree(&render(&run, &context(stories())), |tree| {
            for node in tree.descendants().filter(|node| node.is_element()) {
                let name = node.tag_name().name();
                assert!(!["link", "img", "iframe", "object"].contains(&name));
                if name == "script" {
                    assert_eq!((node.text(), node.attributes().count()), (Some(SCRIPT), 0));
                }
                for attribute in node.attributes() {
                    let name = attribute.name();
                    assert!(!name.starts_with("on") && name != "src", "{attribute:?}");
                    assert!(!attribute.value().contains(':') || name != "href", "{attribute:?}");
                }
            }
        });
        assert!(!STYLE.contains("url(") && !STYLE.contains("@import"));
    }
}

#[test]
fn the_policy_allows_the_script_of_the_page_only() {
    let page = render(&samples::mixed(), &context(Stories::new()));
    let (_, rest) = page
        .split_once("script-src &#39;sha256-")
        .or(page.split_once("script-src 'sha256-"))
        .unwrap();
    let hash = Sha256::digest(SCRIPT);
    assert!(rest.starts_with(&BASE64_STANDARD.encode(hash)), "{}", &rest[..80]);
    for event in ["onclick=", "onload=", "oninput=", "javascript:"] {
        assert!(!page.contains(event), "{event}");
    }
}

#[test]
fn the_style_sheet_has_a_rule_for_each_button_of_the_filter() {
    let runs = [samples::mixed(), samples::retried(), samples::interrupted()];
    let pages = runs.map(|run| page(&run, &context(Stories::new()))).concat();
    let button = regex::Regex::new("id=\"(show-[a-z-]+)\"").unwrap();
    let buttons: BTreeSet<&str> =
        button.captures_iter(&pages).map(|found| found.extract::<1>().1[0]).collect();
    assert_eq!(buttons.len(), 6, "{buttons:?}");
    for id in buttons {
        let word = id.trim_start_matches("show-");
        let rule = format!("#cases:has(#{id}:checked) tbody tr:not([data-is=\"{word}\"])");
        assert!(id == "show-all" || STYLE.contains(&rule), "{id}");
        assert!(id == "show-all" || pages.contains(&format!("data-is=\"{word}\"")), "{id}");
    }
}

/// Text with which a guest could try to inject an element, an attribute or a control sequence.
const EVIL: &str = "<script>alert(1)</script>&\"'--><b onclick=\"x\">\u{1b}[31m\u{0}\u{ffff}]]>";

/// Appends [`EVIL`] to every text in a value and to the name of every figure.
fn spoil(value: &mut Value, key: &str) {
    // The texts of these keys are fixed words. A changed word would not parse.
    const WORDS: [&str; 9] =
        ["is", "phase", "op", "by", "kind", "started", "arch", "accel", "oracle"];
    match value {
        Value::String(text) if !WORDS.contains(&key) && !text.starts_with("0x") => *text += EVIL,
        Value::String(text) if key == "page" => *text += EVIL,
        Value::Array(list) => list.iter_mut().for_each(|value| spoil(value, key)),
        Value::Object(map) => {
            map.iter_mut().for_each(|(key, value)| spoil(value, key));
            if key == "figures" {
                let figures = std::mem::take(map).into_iter();
                *map = figures.map(|(name, value)| (name + EVIL, value)).collect();
            }
        }
        _ => {}
    }
}

fn spoilt<T: Serialize + DeserializeOwned>(value: &T) -> T {
    let mut value = serde_json::to_value(value).unwrap();
    spoil(&mut value, "");
    serde_json::from_value(value).unwrap()
}

#[test]
fn all_untrusted_text_is_escaped() {
    let command = format!("cargo xtask test {EVIL}");
    let elsewhere = Origin::Elsewhere;
    let here = Origin::Run { dir: Path::new(EVIL), rerun: &command };
    for run in all_samples() {
        let plain = page(&run, &context(stories()));
        let run = spoilt(&run);
        let stories = stories().into_iter().map(|(name, story)| {
            let mut story = story.unwrap();
            story.finding = spoilt(&story.finding);
            story.finding.story[0].symbol = Some(EVIL.into());
            (name + EVIL, Ok(story))
        });
        let stories: Stories = stories.collect();
        let why = stories.keys().map(|name| (name.clone(), Err(EVIL.to_owned())));
        for (origin, stories) in
            [(here, stories.clone()), (here, why.collect()), (elsewhere, Stories::new())]
        {
            let context = PageContext { origin, stories, in_run_dir: true };
            let page = page(&run, &context);
            assert!(page.len() > plain.len() / 2, "the page is too short");
            assert!(page.contains("&lt;script&gt;"));
            for bad in ["<script", "<b", "\"x\"", "\u{1b}", "\u{0}", "\u{ffff}"] {
                // `<body>` is the page's own element; it would match `<b`.
                let page = page.replace("<body>", "");
                assert!(!page.contains(bad), "{bad:?} is in {page}");
            }
            with_tree(&page, |tree| {
                let nodes = tree.root_element().descendants();
                assert!(nodes.clone().all(|node| !node.has_attribute("onclick")));
                assert!(
                    nodes.clone().any(|node| node.text().is_some_and(|text| text.contains("&\"'")))
                );
            });
        }
    }
}
