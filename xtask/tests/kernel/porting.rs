// SPDX-License-Identifier: MIT OR Apache-2.0
//! Carrying a queue to another version of Linux, and comparing the queues of two versions.

use std::fs;

use insta::assert_snapshot;
use xtask::kernel::edit::Destination;
use xtask::kernel::port::{self, PortedPatch};
use xtask::kernel::{Source, edit};

use crate::editing::{self, export_to_queue, git};
use crate::world::World;

/// Content of `b.c`. The queue changes the fourth line.
const LINES: &str = "one\ntwo\nthree\nfour\nfive\nsix\nseven\n";

/// Returns a world with a queue for 6.12 that changes `a.c` and `b.c`, and the source of 7.3 with these files.
fn world(files: &[(&str, &str)]) -> World {
    let world = editing::world();
    world.write("src/b.c", LINES);
    let patch = "checkout/kernel-patches/6.12/0002-change-b.patch";
    let text = world.read(patch);
    let (header, _) = text.split_once("@@").unwrap();
    let hunk = "@@ -1,7 +1,7 @@\n one\n two\n three\n-four\n+four, patched\n five\n six\n seven\n";
    world.write(patch, &format!("{header}{hunk}"));
    world.write("new/Makefile", "VERSION = 7\nPATCHLEVEL = 3\n");
    world.write("new/Kbuild", "");
    world.write("new/only-here.c", "new\n");
    for (file, text) in files {
        world.write(&format!("new/{file}"), text);
    }
    world
}

/// Returns the content of `b.c` with changed lines.
fn lines(changes: &[(&str, &str)]) -> String {
    changes.iter().fold(LINES.to_owned(), |text, (from, to)| text.replace(from, to))
}

/// Replaces the hashes of commits.
fn redact(text: &str) -> String {
    let hash = regex::Regex::new(r"\b[0-9a-f]{7,40}\b").unwrap();
    hash.replace_all(text, "[HASH]").into_owned()
}

pub fn port(world: &World) -> anyhow::Result<Vec<PortedPatch>> {
    let (lab, cache) = (world.path("checkout"), world.path("cache"));
    let source = |dir: &str| Source::Path(world.path(dir));
    port::port(&world.path("edit"), &lab, &cache, &source("src"), &source("new"), &mut |_| {})
}

fn described(world: &World) -> String {
    port::describe(&port(world).unwrap(), "7.3")
}

#[test]
fn a_queue_that_merges_becomes_the_queue_of_the_other_version() {
    let world = world(&[("a.c", "a\n"), ("b.c", &lines(&[("one", "ONE")]))]);
    assert_snapshot!(described(&world), @"
    kernel-patches/6.12/0001-change-a.patch: merged
    kernel-patches/6.12/0002-change-b.patch: merged
    ");
    let merged = lines(&[("one", "ONE"), ("four", "four, patched")]);
    assert_eq!(world.read("edit/b.c"), merged);
    assert_eq!(world.read("edit/only-here.c"), "new\n");
    let log =
        git(&world.path("edit"), &["log", "--format=%s %an %ad", "--date=short", "queue-base.."]);
    assert_eq!(log, "change b A Developer 2026-01-01\nchange a A Developer 2026-01-01\n");
    export_to_queue(&world).unwrap();
    let series = world.read("checkout/kernel-patches/7.3/series");
    assert_eq!(series, "0001-change-a.patch\n0002-change-b.patch\n");
    assert!(world.read("checkout/kernel-patches/6.12/series").starts_with("# Why."));
}

#[test]
fn conflicts_are_committed_with_markers_and_listed() {
    let world = world(&[("a.c", "A\n"), ("b.c", &lines(&[("four", "four, patched")]))]);
    assert_snapshot!(described(&world), @"
    kernel-patches/6.12/0001-change-a.patch: conflicts in a.c
    kernel-patches/6.12/0002-change-b.patch: Linux 7.3 already contains this patch
    ");
    assert_snapshot!(redact(&world.read("edit/a.c")), @"
    <<<<<<< HEAD
    A
    ||||||| parent of [HASH] (change a)
    a
    =======
    a, patched
    >>>>>>> [HASH] (change a)
    ");
    let tree = world.path("edit");
    assert_eq!(git(&tree, &["status", "--porcelain"]), "");
    assert_eq!(git(&tree, &["log", "--format=%s %an", "queue-base.."]), "change a A Developer\n");
    let error =
        edit::export(&tree, Destination::Queue { lab: &world.path("checkout"), user: None })
            .unwrap_err()
            .to_string();
    assert_snapshot!(error, @"
    these commits have conflict markers; resolve the conflicts in each of them:
      0001-change-a.patch
    ");
    assert!(!world.path("checkout/kernel-patches/7.3").exists());
    // Resolved in the commit, the queue can be exported.
    world.write("edit/a.c", "A, patched\n");
    git(&tree, &["commit", "--quiet", "--all", "--amend", "--no-edit"]);
    let exported =
        edit::export(&tree, Destination::Queue { lab: &world.path("checkout"), user: None })
            .unwrap();
    assert_eq!(exported.patches, ["0001-change-a.patch"]);
}

#[test]
fn a_file_that_the_other_version_lacks_is_a_conflict() {
    let world = world(&[("b.c", LINES)]);
    assert_snapshot!(described(&world), @"
    kernel-patches/6.12/0001-change-a.patch: not in the new source: a.c
    kernel-patches/6.12/0002-change-b.patch: merged
    ");
    assert_eq!(world.read("edit/a.c"), "a, patched\n");
    assert_eq!(world.read("edit/b.c"), lines(&[("four", "four, patched")]));
}

#[test]
fn a_queue_is_not_ported_to_its_own_version() {
    let world = world(&[]);
    world.write("new/Makefile", "VERSION = 6\nPATCHLEVEL = 12\n");
    assert_snapshot!(port(&world).unwrap_err(), @"both sources are Linux 6.12: choose two versions");
    fs::create_dir(world.path("edit")).unwrap();
    let error = world.redact(&port(&world).unwrap_err().to_string());
    assert_snapshot!(error, @"[DIR]/edit already exists: give the path of a new directory");
}

#[test]
fn the_queues_of_two_versions_are_compared_patch_by_patch() {
    let world = world(&[("a.c", "a\n"), ("b.c", &lines(&[("three", "THREE")]))]);
    let (lab, cache) = (world.path("checkout"), world.path("cache"));
    let sources = ["src", "new"].map(|dir| Source::Path(world.path(dir)));
    let diff = || port::diff(&lab, &cache, sources.each_ref(), &mut |_| {});
    world.write("checkout/kernel-patches/7.3/series", "# Nothing yet.\n");
    assert_snapshot!(diff().unwrap_err(), @"the queue for Linux 7.3 has no patches to compare");
    port(&world).unwrap();
    let tree = world.path("edit");
    world.write("edit/b.c", &lines(&[("three", "THREE"), ("four", "four, patched")]));
    git(&tree, &["commit", "--quiet", "--all", "--amend", "--no-edit"]);
    edit::export(&tree, Destination::Queue { lab: &lab, user: None }).unwrap();
    assert_snapshot!(redact(&diff().unwrap()), @"
    1:  [HASH] = 1:  [HASH] change a
    2:  [HASH] ! 2:  [HASH] change b
        @@ b.c
         @@
          one
          two
        - three
        + THREE
         -four
         +four, patched
          five
    ");
}
