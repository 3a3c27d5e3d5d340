// SPDX-License-Identifier: MIT OR Apache-2.0
//! Kernel sources of every kind, and builds after a source has changed.

use std::fs;
use std::path::Path;
use std::time::{Duration, SystemTime};

use crate::world::{Job, World, only_entry};

#[test]
fn changes_of_a_users_tree_are_built() {
    let world = World::new();
    world.build().good();
    world.write("src/a.c", "a, edited\n");
    world.write("src/c.c", "c\n");
    assert_eq!(world.build().good().image, "a, edited\nb, patched\nc\nnew\n");
    assert_eq!(world.compiled(), "a", "only the time of c.c is new");
    world.write("src/a.c", "a, EDITED\n");
    let image = world.build().good().image;
    assert_eq!(image, "a, EDITED\nb, patched\nc\nnew\n", "the size of a.c has not changed");
    fs::remove_file(world.path("src/c.c")).unwrap();
    assert_eq!(world.build().good().image, "a, EDITED\nb, patched\nnew\n");
    world.write("src/d.c", "d\n");
    assert_eq!(world.build().good().image, "a, EDITED\nb, patched\nd\nnew\n");
    assert_eq!(world.compiled(), "d");
}

#[test]
fn an_older_version_of_a_file_is_built() {
    let world = World::new();
    world.write("src/a.c", "a, edited\n");
    world.build().good();
    world.write("src/a.c", "a\n");
    set_age(&world.path("src/a.c"), 1_000_000);
    assert_eq!(world.build().good().image, "a\nb, patched\nc\nnew\n");
}

#[test]
fn files_with_the_same_size_and_time_are_not_read_again() {
    let world = World::new();
    let file = world.path("src/a.c");
    set_age(&file, 1000);
    world.build().good();
    // The size is the same, the time is different.
    world.write("src/a.c", "A\n");
    set_age(&file, 500);
    assert_eq!(world.build().good().image, "A\nb, patched\nc\nnew\n");
    // With the same size and time, a file counts as unchanged, as for make. This makes scanning a large tree fast.
    world.write("src/a.c", "B\n");
    set_age(&file, 500);
    let time = |path: &Path| fs::metadata(path).unwrap().modified().unwrap();
    let before = time(&file);
    world.build().good();
    world.write("src/a.c", "C\n");
    let handle = fs::File::options().write(true).open(&file).unwrap();
    handle.set_modified(before).unwrap();
    assert_eq!(world.build().good().image, "B\nb, patched\nc\nnew\n");
}

fn set_age(path: &Path, seconds: u64) {
    let time = SystemTime::now() - Duration::from_secs(seconds);
    let file = fs::File::options().write(true).open(path).unwrap();
    file.set_modified(time).unwrap();
}

#[test]
fn a_git_tree_is_built_with_changes_and_without_ignored_files() {
    let world = World::new();
    let git = |words: &[&str]| {
        let user = ["-c", "user.name=x", "-c", "user.email=x"];
        let git = duct::cmd("git", user.iter().chain(words));
        git.dir(world.path("src")).run().unwrap();
    };
    git(&["init", "-q"]);
    world.write("src/.gitignore", "ignored.c\n");
    git(&["add", "."]);
    git(&["commit", "-q", "-m", "x"]);
    world.write("src/ignored.c", "ignored\n");
    world.write("src/untracked.c", "untracked\n");
    world.write("src/a.c", "a, not committed\n");
    let image = world.build().good().image;
    assert_eq!(image, "a, not committed\nb, patched\nc\nnew\nuntracked\n");
    // Debian's .gitignore ignores the whole source.
    world.write("src/.gitignore", "/*\n");
    git(&["rm", "-q", "-r", "--cached", "."]);
    let image = world.build().good().image;
    assert_eq!(image, "a, not committed\nb, patched\nc\nignored\nnew\nuntracked\n");
}

#[test]
fn a_tarball_is_a_valid_source() {
    let world = World::new();
    world.write("src/.config", "CONFIG_LEFT_BEHIND=y\n");
    let tarball = world.path("linux.tar");
    let tar = duct::cmd!("tar", "-cf", &tarball, "src");
    tar.dir(world.dir.path()).run().unwrap();
    let job = Job { source: Some(tarball), ..world.job() };
    assert_eq!(world.run(&job).good().image, "a\nb, patched\nc\nnew\n");
    world.patch("0001-b.patch", "b.c", "b, patched better");
    assert_eq!(world.run(&job).good().image, "a\nb, patched better\nc\nnew\n");
    assert_eq!(world.compiled(), "b");
    // The tree consists of hard links to the source in the cache. A patch that touches another file must not change
    // that source.
    world.patch("0002-new.patch", "c.c", "c, patched");
    assert_eq!(world.run(&job).good().image, "a\nb, patched better\nc, patched\n");
    let source = only_entry(&world.path("cache/sources")).join("tree/c.c");
    assert_eq!(fs::read_to_string(source).unwrap(), "c\n");
}

#[test]
fn debians_source_is_downloaded_once() {
    let world = World::new();
    package(&world);
    // The machine has never run apt-get update.
    world.write("package.needs-lists", "");
    let job = Job { source: None, ..world.job() };
    assert_eq!(world.run(&job).good().image, "a\nb, patched\nc\nnew\n");
    // From here on, there is no network.
    fs::remove_file(world.path("package")).unwrap();
    world.patch("0001-b.patch", "b.c", "b, patched better");
    assert_eq!(world.run(&job).good().image, "a\nb, patched better\nc\nnew\n");
}

#[test]
fn a_kernel_in_the_cache_needs_no_source() {
    let world = World::new();
    package(&world);
    let job = Job { source: None, ..world.job() };
    let key = || world.run(&Job { key: true, ..job.clone() }).key;
    let key_before = key();
    assert_eq!(world.run(&job).good().image, "a\nb, patched\nc\nnew\n");
    assert_eq!(key(), key_before, "the source is in the cache now");
    assert!(world.path("cache/kernels").join(&key_before).is_dir());
    // A CI job keeps only the kernels.
    fs::remove_dir_all(world.path("cache/sources")).unwrap();
    fs::remove_dir_all(world.path("cache/slots")).unwrap();
    world.write("made", "");
    let outcome = world.run(&job).good();
    assert!(outcome.from_cache);
    assert_eq!(outcome.image, "a\nb, patched\nc\nnew\n");
    let calls = world.read("made");
    assert!(calls.lines().all(|call| call.contains("--print-uris")), "{calls}");
    world.patch("0001-b.patch", "b.c", "b, patched better");
    assert_ne!(key(), key_before);
    assert_eq!(world.run(&job).good().image, "a\nb, patched better\nc\nnew\n");
}

#[test]
fn a_source_that_only_another_suite_has_is_downloaded_from_there() {
    let world = World::new();
    package(&world);
    world.write("package.suite", " http://mirror.example/debian trixie-backports main");
    let none = Job { source: None, ..world.job() };
    let error = world.run(&none).error.unwrap();
    assert!(error.contains("Unable to locate package linux-source-6.12"), "{error}");
    let suites = ["trixie", "trixie-backports"].map(String::from).into();
    let job = Job { suites, ..none };
    assert_eq!(world.run(&job).good().image, "a\nb, patched\nc\nnew\n");
    // apt-get update reads the list of the lab and no other.
    let calls = world.read("made");
    let update = calls.lines().rfind(|line| line.ends_with(" update")).unwrap();
    assert!(
        update.contains("/trixie-backports/sources.list -oDir::Etc::SourceParts=- "),
        "{update}"
    );
}

#[test]
fn the_suites_that_lack_a_source_are_named() {
    let world = World::new();
    let job = Job { source: None, suites: vec!["trixie-backports".into()], ..world.job() };
    insta::assert_snapshot!(world.redact(&world.run(&job).error.unwrap()), @"
    cannot download Debian's linux-source-6.12. Check the network, or use another source with --kernel-src DIR|TARBALL

    Caused by:
        this machine's package sources: apt-get cannot download linux-source-6.12:
        E: Failed to fetch http://mirror.example/  Temporary failure resolving 'mirror.example'
        trixie-backports: apt-get cannot download linux-source-6.12:
        E: Failed to fetch http://mirror.example/  Temporary failure resolving 'mirror.example'
    ");
}

#[test]
fn the_source_is_not_touched() {
    let world = World::new();
    let before = listing(&world.path("src"));
    world.build().good();
    assert_eq!(listing(&world.path("src")), before);
}

fn listing(dir: &Path) -> Vec<(std::ffi::OsString, SystemTime)> {
    let entries = fs::read_dir(dir).unwrap().map(|entry| entry.unwrap());
    let mut entries: Vec<_> = entries
        .map(|entry| (entry.file_name(), entry.metadata().unwrap().modified().unwrap()))
        .collect();
    entries.sort();
    entries
}

/// Packs `src` into a package that the fake apt-get downloads.
fn package(world: &World) {
    let tar = |words: &[&str]| {
        let tar = duct::cmd("tar", words).dir(world.dir.path());
        tar.run().unwrap();
    };
    tar(&["-cf", "linux-source-6.12.tar.xz", "src"]);
    let below = "s,^,./usr/src/,";
    tar(&["-cf", "package", "--transform", below, "linux-source-6.12.tar.xz"]);
}

#[test]
fn a_disk_that_fills_up_during_unpacking_is_reported() {
    let world = World::new();
    package(&world);
    world.write("package.flood", "");
    let job = Job { source: None, ..world.job() };
    let error = world.run(&job).error.unwrap();
    assert!(error.contains("is full; `cargo xtask clean"), "{error}");
    assert!(error.len() < 5000, "{}", error.len());
    // An incomplete source is not used.
    fs::remove_file(world.path("package.flood")).unwrap();
    world.run(&job).good();
}
