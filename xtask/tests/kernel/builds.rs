// SPDX-License-Identifier: MIT OR Apache-2.0
//! Builds that reuse earlier results.

use std::fs;

use insta::assert_snapshot;

use crate::world::{Job, World, only_entry};

#[test]
fn a_kernel_is_built_once() {
    let world = World::new();
    let first = world.build().good();
    assert_eq!(first.image, "a\nb, patched\nc\nnew\n");
    assert!(!first.from_cache);
    let second = world.build().good();
    assert!(second.from_cache);
    assert_eq!(second.image, first.image);
    assert_eq!(world.builds(), 1);
    let steps = world.redact(&first.steps.join("\n"));
    assert_snapshot!(steps, @r"
    scan [DIR]/src
    patch the source
    configure
    1 CC a.o
    2 CC b.o
    3 CC c.o
    4 CC new.o
    store the kernel in the cache
    ");
}

#[test]
fn editing_a_patch_rebuilds_only_the_files_it_touches() {
    let world = World::new();
    world.build().good();
    assert_eq!(world.compiled(), "a b c new");
    world.patch("0001-b.patch", "b.c", "b, patched better");
    assert_eq!(world.build().good().image, "a\nb, patched better\nc\nnew\n");
    assert_eq!(world.compiled(), "b");
}

#[test]
fn a_patch_removed_from_the_series_is_reverted() {
    let world = World::new();
    world.build().good();
    world.write("checkout/kernel-patches/6.12/series", "0001-b.patch\n");
    assert_eq!(world.build().good().image, "a\nb, patched\nc\n");
    assert_eq!(world.compiled(), "");
    let plain = Job { queue: false, ..world.job() };
    assert_eq!(world.run(&plain).good().image, "a\nb\nc\n");
    assert_eq!(world.compiled(), "b");
}

#[test]
fn a_flavour_overrides_the_target() {
    let world = World::new();
    let job = Job { flavour: "debug".to_owned(), ..world.job() };
    world.run(&job).good();
    let config = only_entry(&world.path("cache/kernels")).join("config");
    assert_eq!(fs::read_to_string(config).unwrap(), "CONFIG_A=y\nCONFIG_B=18\n");
}

#[test]
fn modules_are_built_if_the_kernel_can_load_them() {
    let world = World::new();
    world.write("src/Kbuild", "module cuse fuse\nmodule fuse\nmodule virtio-fs fuse,cuse\n");
    assert_eq!(world.build().good().modules, []);
    world.write("checkout/kernel-configs/flavours/debug.config", "CONFIG_MODULES=y\n");
    let job = Job { flavour: "debug".to_owned(), ..world.job() };
    for from_cache in [false, true] {
        let built = world.run(&job).good();
        assert_eq!(built.from_cache, from_cache);
        let expected = ["fuse", "cuse", "virtio-fs"];
        let expected = expected.map(|name| (format!("{name}.ko"), format!("module {name}\n")));
        assert_eq!(built.modules, expected);
    }
}

#[test]
fn modules_that_need_a_missing_one_are_an_error() {
    let world = World::new();
    world.write("src/Kbuild", "module cuse fuse\n");
    world.write("checkout/kernel-configs/flavours/debug.config", "CONFIG_MODULES=y\n");
    let outcome = world.run(&Job { flavour: "debug".to_owned(), ..world.job() });
    assert_snapshot!(outcome.error.unwrap(), @"modules need each other, or a module that was not built: mods/cuse");
}

#[test]
fn a_version_overrides_common_options_and_the_target_overrides_both() {
    let world = World::new();
    world.write("checkout/kernel-patches/6.12/kernel.config", "CONFIG_A=m\nCONFIG_B=17\n");
    world.write("checkout/kernel-patches/7.3/kernel.config", "CONFIG_A=n\n");
    world.build().good();
    let config = only_entry(&world.path("cache/kernels")).join("config");
    assert_eq!(fs::read_to_string(config).unwrap(), "CONFIG_A=m\nCONFIG_B=16\n");
}

#[test]
fn an_option_changes_the_hash_and_a_comment_does_not() {
    let world = World::new();
    world.build().good();
    world.write("checkout/kernel-configs/toy.config", "# Because.\nCONFIG_B=16\n");
    assert!(world.build().good().from_cache);
    world.write("checkout/kernel-configs/toy.config", "CONFIG_B=17\n");
    assert!(!world.build().good().from_cache);
}
