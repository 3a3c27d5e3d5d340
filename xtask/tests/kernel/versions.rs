// SPDX-License-Identifier: MIT OR Apache-2.0
//! Fixes and patches that are for some versions of Linux only.

use insta::assert_snapshot;

use crate::world::{Job, World};

/// Name of the fix of the tests, which changes `c.c`.
const FIX: &str = "0001-c.patch";

/// Returns a build whose target needs the fix.
fn job(world: &World) -> Job {
    Job { fixes: vec![FIX.into()], ..world.job() }
}

#[test]
fn a_fix_is_for_all_versions_unless_a_range_says_otherwise() {
    let world = World::new();
    world.patch_in("fixes", FIX, "c.c", "c, fixed");
    let fixed = "a\nb, patched\nc, fixed\nnew\n";
    assert_eq!(world.run(&job(&world)).good().image, fixed);
    let ranges = "checkout/kernel-patches/fixes/versions.yaml";
    world.write(ranges, "0001-c.patch: { before: \"6.12\" }\n");
    let outcome = world.run(&job(&world)).good();
    assert_eq!(outcome.image, "a\nb, patched\nc\nnew\n");
    assert!(outcome.present_fixes.is_empty(), "a fix for other versions is not worth a note");
    world.write(ranges, "0001-c.patch: { from: \"6.12\" }\n");
    assert_eq!(world.run(&job(&world)).good().image, fixed);
}

#[test]
fn a_version_may_have_a_fix_of_its_own() {
    let world = World::new();
    world.patch_in("fixes", FIX, "c.c", "c, fixed");
    world.patch_in("6.12/fixes", FIX, "c.c", "c, fixed for 6.12");
    let image = world.run(&job(&world)).good().image;
    assert_eq!(image, "a\nb, patched\nc, fixed for 6.12\nnew\n");
}

#[test]
fn a_fix_that_the_source_contains_is_passed_over() {
    let world = World::new();
    world.patch_in("fixes", FIX, "c.c", "c, fixed");
    world.write("src/c.c", "c, fixed\n");
    for from_cache in [false, true] {
        let outcome = world.run(&job(&world)).good();
        assert_eq!(outcome.image, "a\nb, patched\nc, fixed\nnew\n");
        assert_eq!(outcome.present_fixes, ["kernel-patches/fixes/0001-c.patch"]);
        assert_eq!(outcome.from_cache, from_cache);
    }
}

#[test]
fn a_fix_that_does_not_exist_is_named() {
    let world = World::new();
    assert_snapshot!(world.redact(&world.run(&job(&world)).error.unwrap()), @"
    0001-c.patch is in `kernel.fixes` of the target, but is not in kernel-patches/fixes

    Caused by:
        0: read [DIR]/checkout/kernel-patches/fixes/0001-c.patch
        1: No such file or directory (os error 2)
    ");
}

#[test]
fn a_patch_of_another_version_is_refused() {
    let world = World::new();
    world.patch_in("../mutants", "bad.patch", "c.c", "c, mutated");
    let patches = vec![world.path("checkout/mutants/bad.patch")];
    let job = Job { patches, ..world.job() };
    world.run(&job).good();
    world.write("checkout/mutants/versions.yaml", "bad.patch: { from: \"7.3\" }\n");
    assert_snapshot!(world.redact(&world.run(&job).error.unwrap()), @"[DIR]/checkout/mutants/bad.patch is for Linux 7.3 and later, and this source is Linux 6.12");
}
