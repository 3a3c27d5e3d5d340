// SPDX-License-Identifier: MIT OR Apache-2.0
//! Errors of builds that cannot succeed.

use insta::assert_snapshot;

use crate::world::{Job, Outcome, World, finish};

fn error(outcome: Outcome, world: &World) -> String {
    world.redact(&outcome.error.expect("an error"))
}

#[test]
fn without_a_network_debians_source_is_not_available() {
    let world = World::new();
    let job = Job { source: None, ..world.job() };
    assert_snapshot!(error(world.run(&job), &world), @"
    cannot download Debian's linux-source-6.12. Check the network, or use another source with --kernel-src DIR|TARBALL

    Caused by:
        apt-get cannot download linux-source-6.12:
        E: Failed to fetch http://mirror.example/  Temporary failure resolving 'mirror.example'
    ");
}

#[test]
fn a_patch_that_does_not_apply_is_named() {
    let world = World::new();
    world.write("src/b.c", "something else\n");
    assert_snapshot!(error(world.build(), &world), @r"
    kernel-patches/6.12/0001-b.patch does not apply at b.c, line 1
      in the source [DIR]/src:
        error: patch failed: b.c:1
        error: b.c: patch does not apply
    Adapt the queue to this source (docs/kernel-queue.md), or build without it (--no-queue)
    ");
}

#[test]
fn a_source_that_contains_the_queue_is_recognised() {
    let world = World::new();
    world.write("src/b.c", "b, patched\n");
    world.write("src/new.c", "new\n");
    assert_snapshot!(error(world.build(), &world), @"[DIR]/src already contains the patches of the queue: build it with --no-queue");
    let job = Job { queue: false, ..world.job() };
    assert_eq!(world.run(&job).good().image, "a\nb, patched\nc\nnew\n");
}

#[test]
fn a_version_without_a_queue_is_named() {
    let world = World::new();
    world.write("src/Makefile", "VERSION = 7\nPATCHLEVEL = 3\n");
    assert_snapshot!(error(world.build(), &world), @"there is no patch queue for Linux 7.3 (kernel-patches/7.3/series): use a source of a version that has a queue, or build the unpatched source with --no-queue");
}

#[test]
fn a_directory_without_a_kernel_source_is_refused() {
    let world = World::new();
    world.write("src/Makefile", "all:\n\tcc\n");
    assert_snapshot!(error(world.build(), &world), @"[DIR]/src/Makefile does not define VERSION and PATCHLEVEL: expected the root of a kernel source");
}

#[test]
fn dropped_options_are_all_named() {
    let world = World::new();
    world.write("checkout/kernel-configs/toy.config", "CONFIG_B=16\nCONFIG_UNHEARD_OF=y\n");
    world.write("src/Kconfig", "config A\n\tbool\ndropped CONFIG_A\ndropped CONFIG_UNHEARD_OF\n");
    assert_snapshot!(error(world.build(), &world), @r"
    the kernel's .config did not keep these options of the config fragments:
      kernel-configs/common.config:2: CONFIG_A: expected y, found n; for its dependencies see Kconfig:1
      kernel-configs/toy.config:2: CONFIG_UNHEARD_OF: expected y, found n; this kernel has no such option
    Change these lines, or add the options that they depend on.
    ");
    // The bad configuration is not reused.
    world.write("checkout/kernel-configs/toy.config", "CONFIG_B=16\n");
    world.write("src/Kconfig", "config A\n\tbool\n");
    world.build().good();
}

#[test]
fn a_compiler_error_is_shown() {
    let world = World::new();
    world.write("src/c.c", "broken\n");
    assert_snapshot!(error(world.build(), &world), @"
    make image failed (exit status: 2):
        c.c: In function 'main':
        c.c:3:9: error: expected ';' before 'return'
      full log: [DIR]/cache/slots/own-[ID]/toy-default/build.log
    ");
    // Objects that were compiled before the error are kept.
    world.write("src/c.c", "c\n");
    world.build().good();
    assert_eq!(world.compiled(), "c new");
}

#[test]
fn a_full_disk_is_reported() {
    let world = World::new();
    world.write("src/c.c", "huge\n");
    assert_snapshot!(error(world.build(), &world).lines().next().unwrap(), @"the disk that holds [DIR]/cache is full; `cargo xtask clean --older-than 0s` empties the lab's cache there");
}

#[test]
fn a_missing_compiler_is_named() {
    let world = World::new();
    let outcome = finish(world.start_with_path(&world.job(), "/usr/bin:/bin"));
    assert_snapshot!(error(outcome, &world), @"
    get the version of fake-gcc, which builds the kernel

    Caused by:
        command not found: `fake-gcc`; `cargo xtask doctor` shows missing programs and their packages
    ");
}

#[test]
fn options_of_the_queue_may_be_missing_without_the_queue() {
    let world = World::new();
    world.write("checkout/kernel-configs/queue.config", "CONFIG_NEW=y\n");
    world.write("src/Kconfig", "config A\nconfig B\ndropped CONFIG_NEW\n");
    assert!(error(world.build(), &world).contains("CONFIG_NEW: expected y, found n"));
    let plain = Job { queue: false, ..world.job() };
    world.run(&plain).good();
    // If the kernel defines the option, the .config must keep it.
    world.write("src/Kconfig", "config A\nconfig B\nconfig NEW\ndropped CONFIG_NEW\n");
    assert!(error(world.run(&plain), &world).contains("CONFIG_NEW: expected y, found n"));
}
