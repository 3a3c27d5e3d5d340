// SPDX-License-Identifier: MIT OR Apache-2.0
//! Fixes that a series lists.

use std::fs;

use insta::assert_snapshot;
use xtask::kernel::{Selection, Source, edit, port};

use crate::editing::{self, export_to_queue, git};
use crate::mailing::{GET_MAINTAINER, mail_stack};
use crate::porting::port;
use crate::world::{Job, Outcome, World};

const FIX: &str = "0003-c.patch";
const SHARED: &str = "checkout/kernel-patches/fixes/0003-c.patch";
const OWN: &str = "checkout/kernel-patches/6.12/fixes/0003-c.patch";
const RANGES: &str = "checkout/kernel-patches/fixes/versions.yaml";
const SERIES: &str = "[fixes]\n../fixes/0003-c.patch\n\n[core] on nothing\n0001-change-a.patch\n";

/// Returns a world whose queue has the stack `fixes`, with a shared fix of `c.c`, and the stack `core`, which changes
/// `a.c`.
fn world() -> World {
    let world = editing::world();
    let patch = "checkout/kernel-patches/6.12/0001-change-a.patch";
    let text = world.read(patch).replace("Why.\n", "Why.\n\nSigned-off-by: A <a@example.org>\n");
    world.write(patch, &text);
    let fix = text.replace("change a", "change c").replace("a.c", "c.c");
    world.write(SHARED, &fix.replace("\n-a\n+a,", "\n-c\n+c,"));
    fs::remove_file(world.path("checkout/kernel-patches/6.12/0002-change-b.patch")).unwrap();
    world.write("checkout/kernel-patches/6.12/series", &format!("# Why.\n\n{SERIES}"));
    for name in ["fixes", "core"] {
        let letter = format!("# Why.\n\n{name}\n\nText.\n");
        world.write(&format!("checkout/kernel-patches/6.12/{name}.cover.txt"), &letter);
    }
    world
}

fn series(world: &World) -> String {
    world.read("checkout/kernel-patches/6.12/series")
}

/// Checks the queue out and returns the steps.
fn checkout(world: &World) -> Vec<String> {
    let (lab, cache) = (world.path("checkout"), world.path("cache"));
    let source = Source::Path(world.path("src"));
    let mut steps = Vec::new();
    let mut progress = |step: xtask::kernel::Progress| steps.push(world.redact(&step.what));
    edit::checkout(&world.path("edit"), &lab, &cache, &source, &Selection::All, &mut progress)
        .unwrap();
    steps
}

#[test]
fn a_fix_is_applied_once_whether_the_target_or_the_queue_names_it() {
    let world = world();
    let image = |stack: Option<&str>, fixes: &[&str], queue: bool| {
        let fixes = fixes.iter().map(|fix| fix.to_string()).collect();
        let job = Job { stack: stack.map(str::to_owned), fixes, queue, ..world.job() };
        world.run(&job).good().image.replace('\n', " ")
    };
    let all = "a, patched b c, patched ";
    assert_eq!(image(None, &[], true), all);
    assert_eq!(image(None, &[FIX], true), all);
    assert_eq!(image(Some("core"), &[FIX], true), all);
    assert_eq!(image(Some("core"), &[], true), "a, patched b c ");
    assert_eq!(image(Some("fixes"), &[FIX], true), "a b c, patched ");
    assert_eq!(image(None, &[FIX], false), "a b c, patched ");
}

#[test]
fn a_fix_for_other_versions_or_in_the_source_is_passed_over() {
    let world = world();
    world.write(RANGES, "0003-c.patch: { before: \"6.12\" }\n");
    let build = |stack: Option<&str>| {
        let outcome = world.run(&Job { stack: stack.map(str::to_owned), ..world.job() }).good();
        let Outcome { image, left_out, present_fixes, .. } = outcome;
        format!("{}{left_out:?} {present_fixes:?}", image.replace('\n', " "))
    };
    let left_out = r#"a, patched b c ["kernel-patches/fixes/0003-c.patch was passed over: it is for Linux before 6.12"] []"#;
    assert_eq!(build(None), left_out);
    assert_eq!(build(None), left_out, "from the cache");
    assert_eq!(build(Some("core")), "a, patched b c [] []");
    fs::remove_file(world.path(RANGES)).unwrap();
    world.write("src/c.c", "c, patched\n");
    assert_snapshot!(build(None), @r#"a, patched b c, patched [] ["kernel-patches/fixes/0003-c.patch"]"#);
}

#[test]
fn a_missing_fix_is_named_with_its_line() {
    let world = world();
    fs::remove_file(world.path(SHARED)).unwrap();
    assert_snapshot!(world.redact(&world.build().error.unwrap()), @"
    kernel-patches/6.12/series:4

    Caused by:
        0: read [DIR]/checkout/kernel-patches/fixes/0003-c.patch
        1: No such file or directory (os error 2)
    ");
}

#[test]
fn export_keeps_a_fix_and_writes_its_changes_back() {
    let world = world();
    checkout(&world);
    let edit = world.path("edit");
    let log = git(&edit, &["log", "--format=%s %D", "queue-base.."]);
    assert_eq!(log, "change a HEAD -> queue, stack/core\nchange c stack/fixes\n");
    let before = world.read(SHARED);
    let exported = export_to_queue(&world).unwrap();
    assert_eq!(exported.patches, ["../fixes/0003-c.patch", "0001-change-a.patch"]);
    assert_eq!(series(&world), format!("# Why.\n\n{SERIES}"));
    assert!(world.read(SHARED) == before && !world.path(OWN).exists());

    let change = |text: &str| {
        git(&edit, &["checkout", "-q", "stack/fixes"]);
        world.write("edit/c.c", text);
        git(&edit, &["commit", "-q", "-a", "--amend", "--no-edit"]);
        git(&edit, &["rebase", "-q", "--onto", "stack/fixes", "queue~", "queue"]);
        git(&edit, &["branch", "-q", "--force", "stack/core"]);
        export_to_queue(&world).unwrap();
    };
    change("c, patched twice\n");
    assert!(world.read(SHARED).contains("+c, patched twice\n"));
    assert_eq!(world.build().good().image, "a, patched\nb\nc, patched twice\n");
    // The version's own fix takes precedence.
    world.write(OWN, &world.read(SHARED));
    change("c, patched for 6.12\n");
    assert!(world.read(OWN).contains("+c, patched for 6.12\n"));
    assert!(world.read(SHARED).contains("+c, patched twice\n"));
    assert_eq!(series(&world), format!("# Why.\n\n{SERIES}"));
}

#[test]
fn a_fix_without_a_commit_leaves_the_series_but_not_its_directory() {
    let world = world();
    world.write("src/c.c", "c, patched\n");
    let steps = checkout(&world);
    let passed_over: Vec<&String> = steps.iter().filter(|step| step.contains("passed")).collect();
    assert_eq!(
        passed_over,
        ["kernel-patches/fixes/0003-c.patch was passed over: the source already contains this fix"]
    );
    let branches = git(&world.path("edit"), &["branch", "--format=%(refname:short)"]);
    assert_eq!(branches, "queue\nstack/core\n");
    export_to_queue(&world).unwrap();
    assert_eq!(series(&world), "# Why.\n\n[core] on nothing\n0001-change-a.patch\n");
    assert!(world.path(SHARED).exists());
}

#[test]
fn a_stack_on_fixes_is_mailed_also_if_the_source_contains_them() {
    let world = world();
    world.write("src/scripts/get_maintainer.pl", GET_MAINTAINER);
    let on_fixes = series(&world).replace(" on nothing", "");
    world.write("checkout/kernel-patches/6.12/series", &on_fixes);
    let mailed = |stack: &str| {
        let mailed = mail_stack(&world, stack);
        let _ = fs::remove_dir_all(world.path("mails"));
        mailed.map(|mailed| mailed.patches).map_err(|error| world.redact(&error.to_string()))
    };
    assert_eq!(mailed("fixes").unwrap(), [("change c".to_owned(), 1)]);
    assert_eq!(mailed("core").unwrap(), [("change a".to_owned(), 1)]);
    world.write("src/c.c", "c, patched\n");
    assert_eq!(mailed("core").unwrap(), [("change a".to_owned(), 1)]);
    assert_snapshot!(mailed("fixes").unwrap_err(), @"the stack has no patches for [DIR]/src: the source already contains its fixes");
}

/// Adds the source of 7.3 with this `c.c`.
fn add_new_source(world: &World, c: &str) {
    let files = [
        ("Makefile", "VERSION = 7\nPATCHLEVEL = 3\n"),
        ("Kbuild", ""),
        ("Kconfig", "config A\n\tbool\nconfig B\n\tint\n"),
        ("a.c", "a\n"),
        ("c.c", c),
    ];
    files.iter().for_each(|(name, text)| world.write(&format!("new/{name}"), text));
}

#[test]
fn fixes_are_ported_as_fixes() {
    let world = world();
    add_new_source(&world, "c\n");
    let ported = port(&world).unwrap();
    assert_snapshot!(port::describe(&ported, "7.3"), @"
    kernel-patches/fixes/0003-c.patch: merged
    kernel-patches/6.12/0001-change-a.patch: merged
    ");
    export_to_queue(&world).unwrap();
    assert_eq!(world.read("checkout/kernel-patches/7.3/series"), format!("\n{SERIES}"));
    let diff = || {
        let sources = ["src", "new"].map(|dir| Source::Path(world.path(dir)));
        let (lab, cache) = (world.path("checkout"), world.path("cache"));
        port::diff(&lab, &cache, sources.each_ref(), &mut |_| {}).unwrap()
    };
    assert!(diff().lines().all(|line| line.contains(" = ")), "{}", diff());
}

#[test]
fn a_fix_that_differs_after_a_port_is_that_of_the_version() {
    let world = world();
    add_new_source(&world, "C\n");
    let shared = world.read(SHARED);
    let ported = port(&world).unwrap();
    assert_snapshot!(port::describe(&ported, "7.3"), @"
    kernel-patches/fixes/0003-c.patch: conflicts in c.c
    kernel-patches/6.12/0001-change-a.patch: merged
    ");
    let edit = world.path("edit");
    git(&edit, &["checkout", "-q", "stack/fixes"]);
    world.write("edit/c.c", "C, patched\n");
    git(&edit, &["commit", "-q", "-a", "--amend", "--no-edit"]);
    git(&edit, &["rebase", "-q", "--onto", "stack/fixes", "queue~", "queue"]);
    git(&edit, &["branch", "-q", "--force", "stack/core"]);
    export_to_queue(&world).unwrap();
    let own = world.read("checkout/kernel-patches/7.3/fixes/0003-c.patch");
    assert!(own.contains("\n-C\n+C, patched\n"), "{own}");
    assert_eq!(world.read(SHARED), shared);
    let new = Job { source: Some(world.path("new")), ..world.job() };
    assert_eq!(world.run(&new).good().image, "a, patched\nC, patched\n");
}

#[test]
fn a_fix_that_the_other_version_does_not_need_is_not_ported() {
    let world = world();
    add_new_source(&world, "c\n");
    world.write(RANGES, "0003-c.patch: { before: \"7.3\" }\n");
    assert_snapshot!(port::describe(&port(&world).unwrap(), "7.3"), @"
    kernel-patches/fixes/0003-c.patch: this fix is for Linux before 7.3
    kernel-patches/6.12/0001-change-a.patch: merged
    ");
    fs::remove_dir_all(world.path("edit")).unwrap();
    fs::remove_file(world.path(RANGES)).unwrap();
    world.write("src/c.c", "c, patched\n");
    assert_snapshot!(port::describe(&port(&world).unwrap(), "7.3"), @"
    kernel-patches/fixes/0003-c.patch: the old source already contains this fix
    kernel-patches/6.12/0001-change-a.patch: merged
    ");
    export_to_queue(&world).unwrap();
    let series = world.read("checkout/kernel-patches/7.3/series");
    assert_eq!(series, "\n[core] on nothing\n0001-change-a.patch\n");
}
