// SPDX-License-Identifier: MIT OR Apache-2.0
//! Converting the queue to a git tree and back.

use std::fs;
use std::path::Path;

use xtask::kernel::edit::{Destination, Exported};
use xtask::kernel::{Selection, Source, edit};

use crate::world::World;

/// Returns a world with a queue of two patches in git's format.
pub fn world() -> World {
    let world = World::new();
    for (at, file) in [(1, "a"), (2, "b")] {
        let patch = format!(
            "From 0000000000000000000000000000000000000000 Mon Sep 17 00:00:00 2001\n\
             From: A Developer <a@example.org>\nDate: Thu, 1 Jan 2026 00:00:0{at} +0000\n\
             Subject: [PATCH] change {file}\n\nWhy.\n---\n {file}.c | 2 +-\n 1 file changed, 1 insertion(+), 1 deletion(-)\n\n\
             diff --git a/{file}.c b/{file}.c\n--- a/{file}.c\n+++ b/{file}.c\n@@ -1 +1 @@\n-{file}\n+{file}, patched\n"
        );
        world.write(&format!("checkout/kernel-patches/6.12/000{at}-change-{file}.patch"), &patch);
    }
    let series = "# Why.\n0001-change-a.patch\n0002-change-b.patch\n";
    world.write("checkout/kernel-patches/6.12/series", series);
    // Like Debian's .gitignore: git ignores the whole source.
    world.write("src/.gitignore", "*.o\n/*\n");
    world
}

fn checkout(world: &World) -> anyhow::Result<()> {
    checkout_selected(world, &Selection::All)
}

pub fn checkout_selected(world: &World, selection: &Selection) -> anyhow::Result<()> {
    let (lab, cache) = (world.path("checkout"), world.path("cache"));
    let source = Source::Path(world.path("src"));
    edit::checkout(&world.path("edit"), &lab, &cache, &source, selection, &mut |_| {})
}

pub fn export_to_queue(world: &World) -> anyhow::Result<Exported> {
    let lab = &world.path("checkout");
    edit::export(&world.path("edit"), Destination::Queue { lab, user: None })
}

pub fn git(dir: &Path, words: &[&str]) -> String {
    let user = ["-c", "user.name=x", "-c", "user.email=x@example.org"];
    let git = duct::cmd("git", user.iter().chain(words)).dir(dir);
    let output = git.stdout_capture().run().unwrap();
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn checkout_and_export_keep_the_queue() {
    let world = world();
    checkout(&world).unwrap();
    assert_eq!(world.read("edit/a.c"), "a, patched\n");
    let log = git(&world.path("edit"), &["log", "--format=%s %an", "queue-base.."]);
    assert_eq!(log, "change b A Developer\nchange a A Developer\n");
    let first = export_to_queue(&world).unwrap();
    assert_eq!(first.patches, ["0001-change-a.patch", "0002-change-b.patch"]);
    let text = world.read("checkout/kernel-patches/6.12/0001-change-a.patch");
    export_to_queue(&world).unwrap();
    assert_eq!(world.read("checkout/kernel-patches/6.12/0001-change-a.patch"), text);
}

#[test]
fn removed_and_added_commits_change_the_queue() {
    let world = world();
    checkout(&world).unwrap();
    let edit = world.path("edit");
    git(&edit, &["reset", "-q", "--hard", "HEAD~"]);
    world.write("edit/new.c", "new\n");
    world.write("edit/new.o", "an object\n");
    git(&edit, &["add", "."]);
    git(&edit, &["commit", "-q", "-m", "add new"]);
    export_to_queue(&world).unwrap();
    let series = world.read("checkout/kernel-patches/6.12/series");
    assert_eq!(series, "# Why.\n0001-change-a.patch\n0002-add-new.patch\n");
    assert!(!world.path("checkout/kernel-patches/6.12/0002-change-b.patch").exists());
    assert_eq!(world.build().good().image, "a, patched\nb\nc\nnew\n");
}

#[test]
fn export_refuses_uncommitted_changes() {
    let world = world();
    checkout(&world).unwrap();
    world.write("edit/c.c", "c, edited\n");
    let error = export_to_queue(&world).unwrap_err();
    assert!(
        error.to_string().contains("has uncommitted changes; commit or discard them:\n M c.c"),
        "{error}"
    );
}

#[test]
fn after_a_conflict_the_checkout_can_be_continued_by_hand() {
    let world = world();
    world.write("src/a.c", "something else\n");
    let error = checkout(&world).unwrap_err().to_string();
    assert!(error.starts_with("kernel-patches/6.12/0001-change-a.patch does not apply"), "{error}");
    assert!(error.ends_with("0002-change-b.patch"), "{error}");
    world.write("edit/a.c", "something else, patched\n");
    git(&world.path("edit"), &["add", "a.c"]);
    git(&world.path("edit"), &["am", "-q", "--continue"]);
    let error = checkout(&world).unwrap_err().to_string();
    assert!(error.ends_with("already exists: give the path of a new directory"), "{error}");
    assert!(fs::exists(world.path("edit/.git")).unwrap());
}
