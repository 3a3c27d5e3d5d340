// SPDX-License-Identifier: MIT OR Apache-2.0
//! Check that every link in the documents leads to a file or directory of the checkout, or to a heading, that exists.

use std::collections::BTreeMap;
use std::path::{Component, Path, PathBuf};

use pulldown_cmark::{Event, Parser, Tag, TagEnd};

/// Returns the number of links in `documents` (texts by file name) and the problems with them, each with file and line.
/// `exists` returns true if a file or directory exists. Links to other sites are neither counted nor checked.
pub(super) fn dead(
    documents: &BTreeMap<String, String>,
    exists: impl Fn(&Path) -> bool,
) -> (usize, Vec<String>) {
    let mut count = 0;
    let mut dead = Vec::new();
    for (name, text) in documents {
        for (target, line) in links(text) {
            count += 1;
            if let Some(problem) = problem(name, &target, documents, &exists) {
                dead.push(format!("{name}:{line}: link to {target}: {problem}"));
            }
        }
    }
    (count, dead)
}

fn problem(
    name: &str,
    target: &str,
    documents: &BTreeMap<String, String>,
    exists: impl Fn(&Path) -> bool,
) -> Option<String> {
    let (file, heading) = target.split_once('#').unwrap_or((target, ""));
    let path = match file {
        "" => PathBuf::from(name),
        file => beside(name, file),
    };
    if !exists(&path) {
        return Some(format!("{} does not exist", path.display()));
    }
    if heading.is_empty() {
        return None;
    }
    match documents.get(&*path.to_string_lossy()) {
        None => Some(format!("{} is not a document with headings", path.display())),
        Some(text) if headings(text).iter().any(|slug| slug == heading) => None,
        Some(_) => Some(format!("{} has no such heading", path.display())),
    }
}

/// Returns the path in the checkout of `file`, a link target relative to the document `name`.
fn beside(name: &str, file: &str) -> PathBuf {
    let mut path = Path::new(name).parent().unwrap_or(Path::new("")).to_owned();
    for part in Path::new(file).components() {
        match part {
            Component::ParentDir => {
                path.pop();
            }
            part => path.push(part),
        }
    }
    path
}

/// Returns the targets of all links and images in `text` that are not on other sites, with their line numbers.
fn links(text: &str) -> Vec<(String, usize)> {
    let events = Parser::new(text).into_offset_iter();
    let link = events.filter_map(|(event, at)| match event {
        Event::Start(Tag::Link { dest_url, .. } | Tag::Image { dest_url, .. })
            if !dest_url.contains("://") =>
        {
            let line = text[..at.start].matches('\n').count() + 1;
            Some((dest_url.into_string(), line))
        }
        _ => None,
    });
    link.collect()
}

/// Returns the anchors of a document's headings: in lower case, with `-` for spaces and without punctuation.
fn headings(text: &str) -> Vec<String> {
    let mut slugs = Vec::new();
    let mut heading: Option<String> = None;
    for event in Parser::new(text) {
        match (event, &mut heading) {
            (Event::Start(Tag::Heading { .. }), _) => heading = Some(String::new()),
            (Event::End(TagEnd::Heading(_)), _) => slugs.extend(heading.take()),
            (Event::Text(words) | Event::Code(words), Some(slug)) => {
                let kept = words.chars().filter_map(|letter| match letter {
                    ' ' => Some('-'),
                    '-' | '_' => Some(letter),
                    letter => letter.is_alphanumeric().then_some(letter),
                });
                slug.extend(kept.flat_map(char::to_lowercase));
            }
            _ => {}
        }
    }
    slugs
}

#[cfg(test)]
mod tests {
    use super::*;

    fn dead_links(text: &str) -> String {
        let guide = "# The guide\n\n## Which `cargo`?\n";
        let documents = [("docs/a.md", text), ("docs/guide.md", guide)];
        let documents = documents.map(|(name, text)| (name.to_owned(), text.to_owned()));
        let files = ["docs/a.md", "docs/guide.md", "oracle", "oracle/src/lib.rs"];
        let exists = |path: &Path| files.iter().any(|file| Path::new(file) == path);
        dead(&documents.into(), exists).1.join("\n")
    }

    #[test]
    fn links_with_a_target_pass() {
        let good = "# Title\n[a](guide.md) [b](../oracle) [c](guide.md#which-cargo) [d](#title)\n\
            [e](../oracle/src/lib.rs) [f](https://example.org/x) `[g](x)`\n```\n[h](y)\n```\n";
        assert_eq!(dead_links(good), "");
    }

    #[test]
    fn dead_links_are_reported_with_their_line() {
        let bad = "# Title\n[a](guides.md)\n\n[b](guide.md#cargo) [c](oracle) [d](#text)\n[e](../oracle/src/lib.rs#L4)\n";
        insta::assert_snapshot!(dead_links(bad), @"
        docs/a.md:2: link to guides.md: docs/guides.md does not exist
        docs/a.md:4: link to guide.md#cargo: docs/guide.md has no such heading
        docs/a.md:4: link to oracle: docs/oracle does not exist
        docs/a.md:4: link to #text: docs/a.md has no such heading
        docs/a.md:5: link to ../oracle/src/lib.rs#L4: oracle/src/lib.rs is not a document with headings
        ");
    }
}
