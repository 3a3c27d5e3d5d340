// SPDX-License-Identifier: MIT OR Apache-2.0
//! Checks of patches. Each check finds one bad patch of a queue in which every patch breaks something else.

use std::ffi::OsString;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use duct::Handle;
use insta::assert_snapshot;
use serde::{Deserialize, Serialize};
use xtask::kernel::Source;
use xtask::kernel::check::plan::{self, Wanted};
use xtask::kernel::check::{self, Event, Outcome, Request, Verdict};
use xtask::target::Target;
use xtask::variant::BuildVariant;

use crate::editing::git;
use crate::world::{JOB, TARGET, World, until};

/// Complains about the word BADSTYLE in the last line of a patch, in the format of `checkpatch.pl --terse --show-types`.
const CHECKPATCH: &str = "\
    open my $patch, '<', $ARGV[-1] or die;\n\
    while (<$patch>) {\n\
    \tif (/BADSTYLE$/ && eof) { print \"mm/util.c:$.: CHECK:BADSTYLE: Bad style\\n\"; $bad = 1; }\n\
    }\n\
    exit $bad;\n";

/// Prints a warning for each line `undocumented` of the files.
const KERNEL_DOC: &str = "#!/usr/bin/env perl\n\
    for my $file (grep { !/^-/ } @ARGV) {\n\
    \topen my $text, '<', $file or die;\n\
    \twhile (<$text>) { print \"$file:$.: warning: $_\" if /^undocumented/; }\n\
    }\n";

const EACH_PATCH: &str = "
name: allmodconfig
about: every patch
target: toy
start: allmodconfig
each_patch: true
options: |
  # CONFIG_WERROR is not set
";

const NO_B: &str = "
name: no-b
about: without B
target: toy
make: vmlinux
options: |
  CONFIG_B=0
";

const NEEDS_C: &str = "
name: needs-c
about: an option that this source does not have
target: toy
needs: CONFIG_C
make: vmlinux
";

#[derive(Clone, Debug, Serialize, Deserialize)]
struct Job {
    dir: PathBuf,
    stack: Option<String>,
    patch: Option<String>,
    since: Option<String>,
    checks: Vec<String>,
    /// True if the machine has no programs but those of the world.
    bare: bool,
}

/// A world whose queue the tests write patch by patch.
struct CheckWorld {
    world: World,
    /// Lines of the files that the patches change.
    util: Vec<String>,
    patches: usize,
}

impl CheckWorld {
    fn new() -> Self {
        let world = World::new();
        for file in ["a.c", "b.c", "c.c"] {
            fs::remove_file(world.path(&format!("src/{file}"))).unwrap();
        }
        for (file, text) in [
            ("mm/util.c", "util\n"),
            ("mm/nommu.c", "broken\n"),
            ("fs/fuse/dev.c", "dev\ngcc: known\n"),
            ("Documentation/filesystems/index.rst", "index\n"),
            ("tools/testing/selftests/fuse/Makefile", ""),
            ("tools/testing/selftests/fuse/test.c", "test\n"),
            ("Documentation/filesystems/fuse.rst", "fuse\n"),
            ("scripts/checkpatch.pl", CHECKPATCH),
            ("scripts/kernel-doc", KERNEL_DOC),
            ("scripts/coccicheck", "# made up\n"),
            ("scripts/min-tool-version.sh", "echo 13.0.1\n"),
        ] {
            world.write(&format!("src/{file}"), text);
        }
        for name in ["clang", "ld.lld", "llvm-ar", "sparse", "spatch", "ocamlopt", "sphinx-build"] {
            let path = format!("bin/{name}");
            world.write(&path, "#!/bin/sh\necho fake clang version 14.0.6\n");
            let executable = fs::Permissions::from_mode(0o755);
            fs::set_permissions(world.path(&path), executable).unwrap();
        }
        world.write("checkout/kernel-patches/6.12/series", "");
        Self { world, util: vec!["util".into()], patches: 0 }
    }

    /// Adds a patch to the queue that replaces the text of `file`.
    fn patch(&mut self, name: &str, file: &str, from: &[String], to: &[String]) {
        self.patches += 1;
        let name = format!("{:04}-{name}.patch", self.patches);
        let lines = |sign: &str, text: &[String]| -> String {
            text.iter().map(|line| format!("{sign}{line}\n")).collect()
        };
        let text = format!(
            "Why.\n\n--- a/{file}\n+++ b/{file}\n@@ -1,{} +1,{} @@\n{}{}",
            from.len(),
            to.len(),
            lines("-", from),
            lines("+", to)
        );
        self.world.write(&format!("checkout/kernel-patches/6.12/{name}"), &text);
        let series = "checkout/kernel-patches/6.12/series";
        self.world.write(series, &format!("{}{name}\n", self.world.read(series)));
    }

    /// Adds a patch that adds a line to mm/util.c.
    fn add(&mut self, name: &str, line: &str) {
        let from = self.util.clone();
        self.util.push(line.into());
        let to = self.util.clone();
        self.patch(name, "mm/util.c", &from, &to);
    }

    /// Adds a patch that removes the last line of mm/util.c.
    fn remove(&mut self, name: &str) {
        let from = self.util.clone();
        self.util.pop();
        let to = self.util.clone();
        self.patch(name, "mm/util.c", &from, &to);
    }

    fn job(&self, checks: &[&str]) -> Job {
        Job {
            dir: self.world.dir.path().to_owned(),
            stack: None,
            patch: None,
            since: None,
            checks: checks.iter().map(|check| check.to_string()).collect(),
            bare: false,
        }
    }

    fn path(&self) -> String {
        let fakes = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/kernel/fake");
        let bin = self.world.path("bin");
        format!("{}:{fakes}:{}", bin.display(), std::env::var("PATH").unwrap())
    }

    fn start(&self, job: &Job) -> Handle {
        self.world.start_test("act_check", job, &self.path())
    }

    /// Runs checks, and returns a line for each outcome.
    fn check(&self, job: &Job) -> String {
        let output = self.start(job).into_output().unwrap();
        let text = String::from_utf8(output.stdout).unwrap();
        let (_, text) = text.split_once("OUTCOMES\n").expect("outcomes");
        let (text, _) = text.split_once("END\n").expect("the end");
        self.world.redact(text.trim_end())
    }
}

/// Runs the job in [`JOB`], if the variable is set, and prints a line for each outcome that is not `ok`, and then the
/// number of those that are.
pub fn act() {
    let Ok(job) = std::env::var(JOB) else {
        return;
    };
    xtask::interrupt::install().unwrap();
    let job: Job = serde_json::from_str(&job).unwrap();
    let target: Target = xtask::yaml::parse(TARGET, Path::new("toy.yaml")).unwrap();
    let variant =
        |text: &str| -> BuildVariant { xtask::yaml::parse(text, Path::new("x")).unwrap() };
    let variants = [EACH_PATCH, NO_B, NEEDS_C].map(variant);
    let checks = plan::select(plan::checks(&variants), &job.checks).unwrap();
    let checkout = job.dir.join("checkout");
    let wanted = Wanted {
        stack: job.stack.as_deref(),
        patch: job.patch.as_deref(),
        since: job.since.as_deref(),
    };
    let series = match plan::series(&checkout, "6.12".parse().unwrap(), &wanted) {
        Ok(series) => series,
        Err(error) => return println!("\nOUTCOMES\n{error:#}\nEND"),
    };
    println!("\nOUTCOMES");
    let path: OsString = match job.bare {
        true => job.dir.join("bin").into(),
        false => std::env::var_os("PATH").unwrap(),
    };
    let request = Request {
        checkout: &checkout,
        cache: &job.dir.join("cache"),
        source: &Source::Path(job.dir.join("src")),
        targets: &[target],
        path: &path,
        jobs: 1,
    };
    let mut good = 0;
    let ended = check::run(&request, &series, &checks, &mut |event| {
        if let Event::Outcome(outcome) = event {
            match line(&outcome) {
                Some(line) => println!("{line}"),
                None => good += 1,
            }
        }
    });
    println!("{good} ok");
    if let Err(error) = ended {
        println!("{error:#}");
    }
    println!("END");
}

fn line(outcome: &Outcome) -> Option<String> {
    let stack = outcome.stack.as_deref().unwrap_or("-");
    let patch = outcome.patch.as_deref().unwrap_or("-").trim_end_matches(".patch");
    let verdict = match &outcome.verdict {
        Verdict::Ok => return None,
        Verdict::Failed(lines) => format!("FAILED: {}", lines.join(" | ")),
        Verdict::Skipped(reason) => format!("skipped: {reason}"),
    };
    Some(format!("{stack} {patch} {}: {verdict}", outcome.check))
}

/// Returns a world in whose queue each patch breaks one check.
fn broken_queue() -> CheckWorld {
    let mut world = CheckWorld::new();
    world.add("good", "good");
    world.add("style", "BADSTYLE");
    world.add("comment", "undocumented f");
    world.add("warning", "gcc: unused variable");
    world.add("broken", "broken");
    world.remove("repaired");
    world.add("clang", "clang: misleading indentation");
    world.add("sparse", "sparse: wrong address space");
    world.add("coccicheck", "coccicheck: lock on line 12");
    let lines = |text: &[&str]| -> Vec<String> { text.iter().map(|l| l.to_string()).collect() };
    let (fuse, long) = (lines(&["fuse"]), lines(&["fuse", "sphinx: title too short"]));
    world.patch("document", "Documentation/filesystems/fuse.rst", &fuse, &long);
    let (test, unused) = (lines(&["test"]), lines(&["test", "gcc: unused function"]));
    world.patch("selftest", "tools/testing/selftests/fuse/test.c", &test, &unused);
    world.add("variant", "broken if CONFIG_B=0");
    world
}

#[test]
fn each_check_finds_the_patch_that_breaks_it() {
    let world = broken_queue();
    assert_snapshot!(world.check(&world.job(&[])), @r"
    - 0002-style checkpatch: FAILED: mm/util.c:10: CHECK:BADSTYLE: Bad style
    - 0003-comment kernel-doc: FAILED: mm/util.c:4: warning: undocumented f
    - 0004-warning build: FAILED: mm/util.c:5:1: warning: unused variable
    - 0005-broken build: FAILED: mm/util.c:3:9: error: expected ';' before 'return'
    - 0005-broken clang: FAILED: mm/util.c:3:9: error: expected ';' before 'return'
    - 0005-broken sparse: FAILED: mm/util.c:3:9: error: expected ';' before 'return'
    - 0005-broken coccicheck: FAILED: mm/util.c:3:9: error: expected ';' before 'return'
    - 0006-repaired sparse: skipped: the files of the patch do not compile in this configuration before it
    - 0006-repaired coccicheck: skipped: the files of the patch do not compile in this configuration before it
    - 0007-clang clang: FAILED: mm/util.c:6:1: warning: misleading indentation
    - 0008-sparse sparse: FAILED: mm/util.c:7:1: warning: wrong address space
    - 0009-coccicheck coccicheck: FAILED: mm/util.c:8:1: lock on line 12
    - 0010-document kernel-doc: skipped: the patch changes no C file
    - 0010-document build: skipped: the patch changes no file that this configuration compiles
    - 0010-document clang: skipped: the patch changes no file that this configuration compiles
    - 0010-document sparse: skipped: the patch changes no file that this configuration compiles
    - 0010-document coccicheck: skipped: the patch changes no file that this configuration compiles
    - 0011-selftest build: skipped: the patch changes no file that this configuration compiles
    - 0011-selftest clang: skipped: the patch changes no file that this configuration compiles
    - 0011-selftest sparse: skipped: the patch changes no file that this configuration compiles
    - 0011-selftest coccicheck: skipped: the patch changes no file that this configuration compiles
    - - htmldocs: FAILED: Documentation/filesystems/fuse.rst:2:1: WARNING: title too short
    - - kselftest: FAILED: test.c:2:1: warning: unused function
    - - no-b: FAILED: mm/util.c:1:1: error: broken if CONFIG_B=0
    - - needs-c: skipped: Linux 6.12 has no option CONFIG_C
    51 ok
    ");
}

#[test]
fn a_second_run_finds_the_same_and_compiles_only_what_it_must() {
    let world = broken_queue();
    let checks = ["build", "sparse", "no-b"];
    let first = world.check(&world.job(&checks));
    assert_eq!(world.check(&world.job(&checks)), first);
    let one = Job { patch: Some("4".into()), ..world.job(&["build"]) };
    assert_snapshot!(world.check(&one), @r"
    - 0004-warning build: FAILED: mm/util.c:5:1: warning: unused variable
    0 ok
    ");
}

#[test]
fn warnings_that_the_source_already_has_are_no_fault_of_a_patch() {
    let mut world = CheckWorld::new();
    let old = ["dev", "gcc: known"].map(str::to_owned);
    let new = ["dev", "one more line", "gcc: known"].map(str::to_owned);
    world.patch("moves", "fs/fuse/dev.c", &old, &new);
    // The configuration leaves out this file.
    let old = ["broken"].map(str::to_owned);
    let new = ["broken", "changed"].map(str::to_owned);
    world.patch("nommu", "mm/nommu.c", &old, &new);
    assert_snapshot!(world.check(&world.job(&["build", "sparse"])), @r"
    - 0002-nommu build: skipped: the files of the patch do not compile in this configuration before it
    - 0002-nommu sparse: skipped: the files of the patch do not compile in this configuration before it
    2 ok
    ");
}

#[test]
fn a_missing_program_is_named_with_its_package() {
    let mut world = CheckWorld::new();
    world.add("good", "good");
    for name in ["sparse", "ocamlopt", "sphinx-build", "ld.lld"] {
        fs::remove_file(world.world.path(&format!("bin/{name}"))).unwrap();
    }
    let checks = ["sparse", "coccicheck", "clang", "htmldocs"];
    let bare = Job { bare: true, ..world.job(&checks) };
    assert_snapshot!(world.check(&bare), @r"
    - 0001-good clang: skipped: ld.lld is not installed; install Debian's package lld
    - 0001-good sparse: skipped: sparse is not installed; install Debian's package sparse
    - 0001-good coccicheck: skipped: ocamlopt is not installed; install Debian's package ocaml
    - - htmldocs: skipped: sphinx-build is not installed; install Debian's package python3-sphinx
    0 ok
    ");
    world.world.write("src/scripts/min-tool-version.sh", "echo 15.0.1\n");
    world.world.write("bin/ld.lld", "#!/bin/sh\necho LLD 14\n");
    let executable = fs::Permissions::from_mode(0o755);
    fs::set_permissions(world.world.path("bin/ld.lld"), executable).unwrap();
    assert_snapshot!(world.check(&world.job(&["clang"])), @r"
    - 0001-good clang: skipped: fake clang version 14.0.6 is too old: this kernel needs clang 15.0.1 or newer
    0 ok
    ");
}

#[test]
fn a_stack_is_checked_on_the_stacks_that_it_needs() {
    let mut world = CheckWorld::new();
    world.add("one", "broken");
    world.remove("two");
    let old = ["dev", "gcc: known"].map(str::to_owned);
    let new = ["dev", "gcc: known", "gcc: new"].map(str::to_owned);
    world.patch("three", "fs/fuse/dev.c", &old, &new);
    let series = "[fixes]\n0001-one.patch\n0002-two.patch\n[core] on nothing\n0003-three.patch\n";
    world.world.write("checkout/kernel-patches/6.12/series", series);
    for name in ["fixes", "core"] {
        let letter = format!("checkout/kernel-patches/6.12/{name}.cover.txt");
        world.world.write(&letter, "subject\n\ntext\n");
    }
    let core = Job { stack: Some("core".into()), ..world.job(&["build", "no-b"]) };
    assert_snapshot!(world.check(&core), @r"
    core 0003-three build: FAILED: fs/fuse/dev.c:3:1: warning: new
    core - no-b: FAILED: fs/fuse/dev.c:3:1: warning: new
    0 ok
    ");
    let unknown = Job { stack: Some("lazy".into()), ..core };
    assert_snapshot!(world.check(&unknown), @"--stack lazy: the queue of Linux 6.12 has no such stack; choose one of: fixes, core");
}

#[test]
fn only_patches_that_changed_since_a_revision_are_checked() {
    let mut world = CheckWorld::new();
    world.add("one", "BADSTYLE");
    world.add("two", "BADSTYLE");
    world.add("three", "BADSTYLE");
    let checkout = world.world.path("checkout");
    git(&checkout, &["init", "-q"]);
    git(&checkout, &["add", "-A"]);
    git(&checkout, &["commit", "-q", "-m", "base"]);
    let since = |rev: &str| Job { since: Some(rev.into()), ..world.job(&["checkpatch", "no-b"]) };
    assert_snapshot!(world.check(&since("HEAD")), @"0 ok");
    // A new number does not change a patch.
    let dir = checkout.join("kernel-patches/6.12");
    let text = fs::read_to_string(dir.join("0002-two.patch")).unwrap();
    fs::write(dir.join("0002-two.patch"), format!("{text}-- \nchanged BADSTYLE\n")).unwrap();
    fs::rename(dir.join("0003-three.patch"), dir.join("0004-three.patch")).unwrap();
    fs::write(dir.join("series"), "0001-one.patch\n0002-two.patch\n0004-three.patch\n").unwrap();
    git(&checkout, &["add", "-A"]);
    let lines = world.check(&since("HEAD"));
    assert_eq!(lines.matches("0002-two").count(), 1, "{lines}");
    assert!(!lines.contains("0001") && !lines.contains("three"), "{lines}");
    assert!(world.check(&since("nonsense")).starts_with("--since nonsense: "));
}

#[test]
fn a_fix_that_the_source_already_contains_is_not_checked() {
    let mut world = CheckWorld::new();
    world.add("old", "BADSTYLE");
    world.world.write("src/mm/util.c", "util\nBADSTYLE\n");
    world.add("new", "BADSTYLE");
    let from = world.world.path("checkout/kernel-patches/6.12/0001-old.patch");
    fs::create_dir_all(world.world.path("checkout/kernel-patches/fixes")).unwrap();
    fs::rename(from, world.world.path("checkout/kernel-patches/fixes/0001-old.patch")).unwrap();
    let series = "../fixes/0001-old.patch\n0002-new.patch\n";
    world.world.write("checkout/kernel-patches/6.12/series", series);
    assert_snapshot!(world.check(&world.job(&["checkpatch", "build"])), @r"
    - 0001-old checkpatch: skipped: the source already contains this fix
    - 0001-old build: skipped: the source already contains this fix
    - 0002-new checkpatch: FAILED: mm/util.c:10: CHECK:BADSTYLE: Bad style
    1 ok
    ");
}

#[test]
fn a_patch_that_does_not_apply_fails() {
    let mut world = CheckWorld::new();
    let wrong = ["not there".to_owned()];
    world.patch("wrong", "mm/util.c", &wrong, &["x".to_owned()]);
    let lines = world.check(&world.job(&["build", "kernel-doc"]));
    assert_eq!(lines.matches("FAILED").count(), 2, "{lines}");
    assert!(
        lines.contains(
            "0001-wrong build: FAILED: kernel-patches/6.12/0001-wrong.patch does not apply"
        ),
        "{lines}"
    );
}

#[test]
fn an_interrupted_check_leaves_a_directory_that_the_next_one_can_use() {
    let mut world = CheckWorld::new();
    world.add("slow", "slow");
    world.world.write("made", "");
    let lab = world.start(&world.job(&["build"]));
    until("make compiles", || world.world.path("started").exists());
    let pid = nix::unistd::Pid::from_raw(lab.pids()[0] as i32);
    nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGINT).unwrap();
    let output = lab.into_output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(text.contains("\n0 ok\ninterrupted\n"), "{text}");
    world.world.write("gate", "");
    assert_snapshot!(world.check(&world.job(&["build"])), @"1 ok");
}
