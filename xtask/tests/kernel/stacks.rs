// SPDX-License-Identifier: MIT OR Apache-2.0
//! Stacks: parts of a queue with a cover letter each.

use insta::assert_snapshot;
use xtask::kernel::{Selection, edit};

use crate::editing::{self, checkout_selected, export_to_queue, git};
use crate::world::{Job, World};

const SERIES: &str =
    "# Why.\n\n[fixes]\n0001-change-a.patch\n\n[core] on nothing\n0002-change-b.patch\n";

/// Returns a world with a queue of two stacks.
pub fn world() -> World {
    let world = editing::world();
    world.write("checkout/kernel-patches/6.12/series", SERIES);
    let letters =
        [("fixes", "# Why.\nfixes\n"), ("core", "# SPDX\n\nshare pages\n\nA long\ntext.\n")];
    for (name, letter) in letters {
        world.write(&format!("checkout/kernel-patches/6.12/{name}.cover.txt"), letter);
    }
    world
}

fn queue(world: &World) -> Vec<(String, String)> {
    let names = [
        "series",
        "fixes.cover.txt",
        "core.cover.txt",
        "0001-change-a.patch",
        "0002-change-b.patch",
    ];
    names
        .map(|name| (name.into(), world.read(&format!("checkout/kernel-patches/6.12/{name}"))))
        .into()
}

pub fn checkout(world: &World) {
    checkout_selected(world, &Selection::All).unwrap();
}

fn export(world: &World) -> anyhow::Result<edit::Exported> {
    export_to_queue(world)
}

#[test]
fn a_selected_stack_is_built_with_those_that_it_needs() {
    let world = world();
    let build = |stack: &str| {
        let built = world.run(&Job { stack: Some(stack.into()), ..world.job() }).good();
        (built.image, built.stacks.join(" "))
    };
    assert_eq!(build("fixes"), ("a, patched\nb\nc\n".to_owned(), "fixes".to_owned()));
    assert_eq!(build("core"), ("a\nb, patched\nc\n".to_owned(), "core".to_owned()));
    let whole = world.build().good();
    assert_eq!(whole.image, "a, patched\nb, patched\nc\n");
    assert!(whole.stacks.is_empty(), "{:?}", whole.stacks);
}

#[test]
fn a_kernel_with_all_stacks_is_the_same_for_every_selection() {
    let world = world();
    let series = SERIES.replace(" on nothing", "");
    world.write("checkout/kernel-patches/6.12/series", &series);
    world.build().good();
    let built = world.run(&Job { stack: Some("core".into()), ..world.job() }).good();
    assert!(built.from_cache);
    assert_eq!(built.stacks, ["fixes", "core"]);
}

#[test]
fn mistakes_are_explained() {
    let world = world();
    let error = |stack: &str| {
        let outcome = world.run(&Job { stack: Some(stack.into()), ..world.job() });
        world.redact(&outcome.error.expect("an error"))
    };
    assert_snapshot!(error("lazy"), @"--stack lazy: the queue of Linux 6.12 has no such stack; choose one of: fixes, core");
    world.write("checkout/kernel-patches/6.12/core.cover.txt", "# SPDX\n");
    assert_snapshot!(error("core"), @"the stack core has no cover letter: write a subject, an empty line and the text to kernel-patches/6.12/core.cover.txt");
    world.write("checkout/kernel-patches/6.12/series", "0001-change-a.patch\n");
    assert_snapshot!(error("core"), @"--stack core: the queue of Linux 6.12 has no stacks; omit --stack");
    world
        .write("checkout/kernel-patches/6.12/series", "0001-change-a.patch\n0001-change-a.patch\n");
    assert_snapshot!(error("core"), @"kernel-patches/6.12/series:2: 0001-change-a.patch is already in line 1: remove one of the two lines");
}

#[test]
fn checkout_and_export_keep_the_stacks() {
    let world = world();
    checkout(&world);
    let edit = world.path("edit");
    let branches = git(&edit, &["log", "--format=%s %D", "queue-base.."]);
    assert_eq!(branches, "change b HEAD -> queue, stack/core\nchange a stack/fixes\n");
    let description = git(&edit, &["config", "branch.stack/core.description"]);
    assert_eq!(description, "share pages\n\nA long\ntext.\n");
    // The patches of the test are not exactly in the form that git writes.
    export(&world).unwrap();
    let first = queue(&world);
    assert_eq!(first[0].1, SERIES);
    assert_eq!(first[2].1, "# SPDX\n\nshare pages\n\nA long\ntext.\n");
    std::fs::remove_dir_all(&edit).unwrap();
    checkout(&world);
    export(&world).unwrap();
    assert_eq!(queue(&world), first);
}

#[test]
fn a_rebase_moves_the_branches_and_new_stacks_are_exported() {
    let world = world();
    checkout(&world);
    let edit = world.path("edit");
    world.write("edit/a.c", "a, patched twice\n");
    git(&edit, &["commit", "-q", "-a", "--fixup=HEAD~"]);
    let rebase = ["-c", "sequence.editor=true", "rebase", "-q", "-i", "--autosquash", "queue-base"];
    git(&edit, &rebase);
    world.write("edit/c.c", "c, patched\n");
    git(&edit, &["commit", "-q", "-a", "-m", "change c"]);
    assert_snapshot!(export(&world).unwrap_err(), @"the commits after stack/core are in no stack: move the branch (`git branch --force stack/core HEAD`), or create a branch for another stack");
    git(&edit, &["branch", "stack/lazy"]);
    assert_snapshot!(export(&world).unwrap_err(), @"the branch stack/lazy has no description, which is the cover letter: write it with `git branch --edit-description stack/lazy`");
    git(&edit, &["config", "branch.stack/lazy.description", "fill later"]);
    git(&edit, &["branch", "-q", "-D", "stack/fixes"]);
    export(&world).unwrap();
    let series = world.read("checkout/kernel-patches/6.12/series");
    assert_snapshot!(series, @r"
    # Why.

    [core] on nothing
    0001-change-a.patch
    0002-change-b.patch

    [lazy]
    0003-change-c.patch
    ");
    assert_eq!(world.read("checkout/kernel-patches/6.12/lazy.cover.txt"), "# Why.\n\nfill later\n");
    assert!(!world.path("checkout/kernel-patches/6.12/fixes.cover.txt").exists());
    assert_eq!(world.build().good().image, "a, patched twice\nb, patched\nc, patched\n");
}

#[test]
fn branches_at_wrong_commits_are_refused() {
    let world = world();
    checkout(&world);
    let edit = world.path("edit");
    git(&edit, &["branch", "-q", "--force", "stack/fixes", "queue"]);
    assert_snapshot!(export(&world).unwrap_err(), @"the branches stack/core and stack/fixes are at the same commit: move one of them to the last commit of its stack (`git branch --force BRANCH COMMIT`), or delete it");
    git(&edit, &["branch", "-q", "--force", "stack/fixes", "queue-base"]);
    assert_snapshot!(export(&world).unwrap_err(), @"the branch stack/fixes is not at a commit between queue-base and HEAD: check out the branch queue, and move stack/fixes to the last commit of its stack (`git branch --force stack/fixes COMMIT`)");
}

#[test]
fn a_tree_of_one_stack_cannot_replace_the_queue() {
    let world = world();
    checkout_selected(&world, &Selection::Stack("core".into())).unwrap();
    let log = git(&world.path("edit"), &["log", "--format=%s", "queue-base.."]);
    assert_eq!(log, "change b\n");
    let error = world.redact(&export(&world).unwrap_err().to_string());
    assert_snapshot!(error, @"[DIR]/edit was created with --stack core, so it lacks the other stacks of the queue: export a tree that `queue checkout` created without --stack");
}
