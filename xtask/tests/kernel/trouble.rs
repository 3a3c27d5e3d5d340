// SPDX-License-Identifier: MIT OR Apache-2.0
//! Killed, interrupted and concurrent builds; cleaning the cache.

use std::fs;
use std::time::Duration;

use insta::assert_snapshot;
use nix::fcntl::{Flock, FlockArg};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use xtask::kernel::clean;

use crate::world::{World, finish, only_entry, until};

#[test]
fn objects_of_a_killed_build_are_not_reused() {
    let world = World::new();
    world.build().good();
    world.write("src/b.c", "b\n// slow\n");
    world.write("checkout/kernel-patches/6.12/series", "0002-new.patch\n");
    let child = world.start(&world.job());
    until("the build is under way", || world.path("started").exists());
    child.kill().unwrap();
    child.wait().unwrap();
    // The half-written object is newer than its source, so make would take it for finished.
    let object = world.slot().join("obj/b.o");
    assert_eq!(fs::read_to_string(&object).unwrap(), "half\n");
    world.write("gate", "");
    assert_eq!(world.build().good().image, "a\nb\n// slow\nc\nnew\n");
    assert_eq!(world.compiled(), "a b c new");
}

#[test]
fn objects_of_an_interrupted_build_are_reused() {
    let world = World::new();
    world.write("src/c.c", "c\n// slow\n");
    let child = world.start(&world.job());
    until("the build is under way", || world.path("started").exists());
    kill(Pid::from_raw(child.pids()[0] as i32), Signal::SIGINT).unwrap();
    assert_eq!(finish(child).error.as_deref(), Some("interrupted"));
    world.write("gate", "");
    assert_eq!(world.build().good().image, "a\nb, patched\nc\n// slow\nnew\n");
    assert_eq!(world.compiled(), "c new", "the objects of a and b were complete");
}

#[test]
fn concurrent_runs_build_a_kernel_once() {
    let world = World::new();
    world.write("src/a.c", "a\n// slow\n");
    let first = world.start(&world.job());
    until("the first is under way", || world.path("started").exists());
    let second = world.start(&world.job());
    until("the second waits", || world.steps(&second).contains("waiting"));
    world.write("gate", "");
    let (first, second) = (finish(first).good(), finish(second).good());
    assert_eq!(first.image, second.image);
    assert!(!first.from_cache && second.from_cache);
    assert_eq!(world.builds(), 1);
    assert_snapshot!(second.steps.last().unwrap(), @"another run is building in the same directory; waiting for it");
}

#[test]
fn the_second_build_from_scratch_shows_the_number_of_steps() {
    let world = World::new();
    world.build().good();
    clean(&world.path("cache"), Duration::ZERO).unwrap();
    let steps = world.build().good().steps;
    assert!(steps.contains(&"4/4 CC new.o".to_owned()), "{steps:?}");
}

#[test]
fn clean_removes_old_unused_directories() {
    let world = World::new();
    world.build().good();
    let cache = world.path("cache");
    let others =
        ["busybox/lock", "busybox/host/busybox", "symbols/1f", "selftests/toy-arm/made-of"];
    for file in others {
        std::fs::create_dir_all(cache.join(file).parent().unwrap()).unwrap();
        std::fs::write(cache.join(file), "").unwrap();
    }
    std::fs::write(cache.join("selftests/toy-arm.lock"), "").unwrap();
    assert_eq!(clean(&cache, Duration::from_secs(3600)).unwrap(), []);
    let kernel = only_entry(&cache.join("kernels"));
    let user = fs::File::open(kernel.join("lease")).unwrap();
    let user = Flock::lock(user, FlockArg::LockShared).unwrap();
    let removed = clean(&cache, Duration::ZERO).unwrap();
    let places: Vec<_> =
        removed.iter().map(|r| world.redact(&r.path.display().to_string())).collect();
    let expected = [
        "slots/own-[ID]/toy-default",
        "sources/own-[ID]",
        "selftests/toy-arm",
        "busybox",
        "symbols/1f",
    ];
    assert_eq!(places, expected.map(|place| format!("[DIR]/cache/{place}")));
    assert!(removed[0].bytes > 0);
    assert!(world.build().good().from_cache, "clean must keep the kernel in use");
    drop(user);
    clean(&cache, Duration::ZERO).unwrap();
    assert!(!kernel.exists());
    assert!(!world.build().good().from_cache);
}
