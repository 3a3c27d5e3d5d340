// SPDX-License-Identifier: MIT OR Apache-2.0
//! Markup of the page: it is well-formed and accessible, loads nothing, and escapes all untrusted text.

use std::collections::BTreeSet;

use roxmltree::{Document, ParsingOptions};
use serde::{Serialize, de::DeserializeOwned};
use serde_json::Value;

use super::*;

/// Parses the page as XML and passes the tree to `look`. Before that, closes the `meta` elements, which HTML leaves
/// open.
fn with_tree(page: &str, look: impl Fn(&Document)) {
    let meta = regex::Regex::new("<meta ([^>]*)>").unwrap();
    let page = meta.replace_all(page, "<meta $1/>");
    let options = ParsingOptions { allow_dtd: true, ..ParsingOptions::default() };
    look(&Document::parse_with_options(&page, options).unwrap());
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
                assert!(!["script", "link", "img", "iframe", "object"].contains(&name));
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
