// SPDX-License-Identifier: MIT OR Apache-2.0
//! Runs with several versions of Linux. The sources are packages of two files, and a shell script stands in for make.

use std::fs;

use crate::world::{ALL, Guest, Lab, SUITE, assert_code, text};

/// Fake apt-get: a package is a copy of a file that the test has made.
const APT_GET: &str = r#"#!/bin/sh
for package; do :; done
cp "$GUESTS/$package.deb" "${package}_1.0_all.deb"
"#;

/// Fake make: the image contains the version of the source.
const MAKE: &str = r#"#!/bin/sh
set -e
while [ $# -gt 0 ]; do
	case $1 in
	-C) tree=$2; shift ;;
	O=*) obj=${1#O=} ;;
	allnoconfig) cp "$KCONFIG_ALLCONFIG" "$KCONFIG_CONFIG" ;;
	bzImage)
		mkdir -p "$obj/arch/x86/boot" "$obj/include/config"
		cp "$tree/release" "$obj/arch/x86/boot/bzImage"
		cp "$tree/release" "$obj/include/config/kernel.release"
		touch "$obj/vmlinux" "$obj/System.map" ;;
	esac
	shift
done
"#;

/// Returns a lab that can build the default version, 6.12, and 7.3.
fn lab() -> Lab {
    let lab = Lab::new();
    lab.kernel("7.3", "");
    lab.program("apt-get", APT_GET);
    lab.program("make", MAKE);
    lab.program("dpkg-deb", "#!/bin/sh\ncat \"$2\"\n");
    lab.program("xz", "#!/bin/sh\ncat\n");
    // The lab has a fake for each program that the real lab needs, but these must work.
    for program in ["tar", "git"] {
        let real = duct::cmd("sh", ["-c", &format!("command -v {program}")]).read().unwrap();
        lab.program(program, &format!("#!/bin/sh\nexec {real} \"$@\"\n"));
    }
    for compiler in ["gcc", "ld"] {
        lab.program(compiler, "#!/bin/sh\necho fake-tool 1.0\n");
    }
    for (version, release, fixed) in [("6.12", "6.12.117", "no\n"), ("7.3", "7.3.4", "yes\n")] {
        let (major, minor) = version.split_once('.').unwrap();
        let source = lab.path("source");
        fs::create_dir_all(&source).unwrap();
        let makefile = format!("VERSION = {major}\nPATCHLEVEL = {minor}\n");
        fs::write(source.join("Makefile"), makefile).unwrap();
        fs::write(source.join("release"), release).unwrap();
        fs::write(source.join("fixed"), fixed).unwrap();
        let tarball = format!("linux-source-{version}.tar.xz");
        let tar = |words: &[&str]| {
            let tar = duct::cmd("tar", words).dir(lab.path("."));
            tar.run().unwrap();
        };
        tar(&["-cf", &tarball, "source"]);
        let package = format!("guests/linux-source-{version}.deb");
        tar(&["-cf", &package, "--transform", "s,^,./usr/src/,", &tarball]);
    }
    lab
}

#[test]
fn every_version_is_tested_and_reported() {
    let lab = lab();
    lab.guest("last", Guest::up(3).pass(&ALL).goodbye(), "exit 0");
    let mut command = lab.command(&["test", "--no-setup", "--accel", "tcg", "--kernel", "all"]);
    let output = command.output().unwrap();
    assert_code(&output, 0);
    let results = lab.results();
    let rows = results.targets.iter().map(|target| {
        let release = &target.provenance.kernel_version;
        format!("{} {} {:?} {release}", target.name, target.target, target.kernel)
    });
    insta::assert_snapshot!(rows.collect::<Vec<_>>().join("\n"), @r#"
    x86_64 x86_64 Some("6.12") 6.12.117
    x86_64-7.3 x86_64 Some("7.3") 7.3.4
    "#);
    let printed = text(&output);
    let table = printed.lines().skip_while(|line| !line.starts_with("target ")).take(3);
    insta::assert_snapshot!(table.collect::<Vec<_>>().join("\n"), @"
    target      pass  fail  skip  crash  timeout  boot-fail  infra  kernel    accel
    x86_64         3     -     -      -        -          -      -  6.12.117  tcg
    x86_64-7.3     3     -     -      -        -          -      -  7.3.4     tcg
    ");
    let run = lab.path("checkout/target/lab/latest");
    for name in ["x86_64", "x86_64-7.3"] {
        assert!(run.join(name).join("boot-1/qemu.sh").exists(), "{name}");
        for report in ["ktap.txt", "junit.xml", "report.html"] {
            let text = fs::read_to_string(run.join(report)).unwrap();
            assert!(text.contains(name), "{report}: {name}");
        }
    }
    lab.assert_no_machine_left();
}

#[test]
fn a_fix_that_one_source_contains_is_noted_there() {
    let lab = lab();
    lab.guest("last", Guest::up(3).pass(&ALL).goodbye(), "exit 0");
    // The configuration of the lab is that of the checkout. This test needs a target with a fix of its own.
    let configs = lab.path("checkout/kernel-configs");
    let real = fs::canonicalize(&configs).unwrap();
    fs::remove_file(&configs).unwrap();
    duct::cmd("cp", ["-r".as_ref(), real.as_os_str(), configs.as_os_str()]).run().unwrap();
    let target = fs::read_to_string(configs.join("x86_64.yaml")).unwrap();
    let target = target.replacen("\nkernel:\n", "\nkernel:\n  fixes: [0001-fix.patch]\n", 1);
    fs::write(configs.join("x86_64.yaml"), target).unwrap();
    let fixes = lab.path("checkout/kernel-patches/fixes");
    fs::create_dir(&fixes).unwrap();
    let fix = "Why.\n\n--- a/fixed\n+++ b/fixed\n@@ -1 +1 @@\n-no\n+yes\n";
    fs::write(fixes.join("0001-fix.patch"), fix).unwrap();
    for run in ["built", "from the cache"] {
        let mut command = lab.command(&["test", "--no-setup", "--accel", "tcg", "--kernel", "all"]);
        let output = command.output().unwrap();
        assert_code(&output, 0);
        let printed = text(&output);
        let notes = printed.lines().filter(|line| line.contains("0001-fix.patch"));
        let notes: Vec<&str> = notes.map(|line| line.split_once("] ").unwrap().1).collect();
        let expected = "x86_64-7.3: kernel-patches/fixes/0001-fix.patch was passed over: \
                        the source already contains this fix";
        assert_eq!(notes, [expected], "{run}");
    }
}

/// Gives the default version a queue of two stacks, of which `core` keeps promises 1 and 2, and `lazy` promise 8. The
/// patches change the file `fixed`. The last two cases of the suite need them.
fn with_stacks(lab: &Lab) {
    let queue = |name: &str, text: &str| {
        fs::write(lab.path("checkout/kernel-patches/6.12").join(name), text).unwrap();
    };
    queue("series", "[core]\ncore.patch\n\n[lazy]\nlazy.patch\n");
    for (name, from, to) in [("core", "no", "core"), ("lazy", "core", "lazy")] {
        let patch = format!("Why.\n\n--- a/fixed\n+++ b/fixed\n@@ -1 +1 @@\n-{from}\n+{to}\n");
        queue(&format!("{name}.patch"), &patch);
        queue(&format!("{name}.cover.txt"), "subject\n\ntext\n");
    }
    let stacks = "stacks: { core: { promises: [1, 2] }, lazy: { promises: [8] } }";
    lab.describe("6.12", &format!("default: true\n{stacks}"));
    let suite = SUITE.replace("run: two", "run: two, promises: [1]");
    let suite = suite.replace("run: three", "run: three, promises: [2, 8]");
    fs::write(lab.path("checkout/suites/smoke.yaml"), suite).unwrap();
}

#[test]
fn a_stack_skips_the_cases_that_need_others() {
    let lab = lab();
    with_stacks(&lab);
    lab.guest("last", Guest::up(2).pass(&["one", "two"]).goodbye(), "exit 0");
    let test = ["test", "--no-setup", "--accel", "tcg", "--stack", "core"];
    let output = lab.command(&test).output().unwrap();
    assert_code(&output, 0);
    let results = lab.results();
    assert_eq!(results.targets[0].stacks, ["core"]);
    let verdicts = ["smoke/one pass", "smoke/two pass", "smoke/three skip"];
    assert_eq!(lab.verdicts(), verdicts);
    let printed = text(&output);
    let rows = printed.lines().filter(|line| line.contains("stack"));
    insta::assert_snapshot!(rows.collect::<Vec<_>>().join("\n"), @"
      stacks     core
      skipped    1 case: promise 8 needs the stack lazy
    ");
    for report in ["ktap.txt", "junit.xml", "report.html"] {
        let report = lab.path("checkout/target/lab/latest").join(report);
        let text = fs::read_to_string(report).unwrap();
        assert!(text.contains("stacks") && text.contains("needs the stack lazy"), "{text}");
    }
    lab.guest("last", Guest::up(3).pass(&ALL).goodbye(), "exit 0");
    for stack in [&["--stack", "lazy"][..], &[]] {
        let test = [&["test", "--no-setup", "--accel", "tcg"][..], stack].concat();
        assert_code(&lab.command(&test).output().unwrap(), 0);
    }
    assert!(lab.results().targets[0].stacks.is_empty());
}

#[test]
fn the_plan_and_the_list_show_what_a_stack_skips() {
    let lab = lab();
    with_stacks(&lab);
    let printed = |words: &[&str]| text(&lab.command(words).output().unwrap());
    let plan = printed(&["test", "--dry-run", "--stack", "core"]);
    let plan: Vec<&str> = plan.lines().take(4).collect();
    insta::assert_snapshot!(plan.join("\n"), @"
    x86_64 (default; stacks: core), 3 cases:
      smoke/one
      smoke/two
      smoke/three  skipped: promise 8 needs the stack lazy
    ");
    // The version of a user's source is that in its Makefile.
    let source = lab.path("source");
    fs::write(source.join("Makefile"), "VERSION = 6\nPATCHLEVEL = 12\n").unwrap();
    let source = source.to_str().unwrap();
    let own = printed(&["test", "--dry-run", "--stack", "core", "--kernel-src", source]);
    assert!(own.contains("smoke/three  skipped: promise 8 needs"), "{own}");
    let whole = printed(&["test", "--dry-run"]);
    assert!(whole.starts_with("x86_64 (default), 3 cases:\n") && !whole.contains("skipped"));
    let listed = |words: &[&str]| {
        let words = [&["list", "--json"][..], words].concat();
        let value: serde_json::Value = serde_json::from_str(&printed(&words)).unwrap();
        value["suites"][0]["cases"][2]["skip"]["x86_64"].clone()
    };
    assert_eq!(listed(&["--stack", "core"]), "promise 8 needs the stack lazy");
    assert!(listed(&["--stack", "lazy"]).is_null() && listed(&[]).is_null());
    let error = |words: &[&str]| {
        let output = lab.command(words).output().unwrap();
        assert_code(&output, 2);
        text(&output).lines().next().unwrap_or_default().to_owned()
    };
    insta::assert_snapshot!(error(&["list", "--stack", "none"]), @"error: --stack none: the queue of Linux 6.12 has no such stack; choose one of: core, lazy");
    insta::assert_snapshot!(error(&["list", "--stack", "core", "--kernel", "7.3"]), @"error: --stack core: the queue of Linux 7.3 has no stacks; omit --stack");
}

#[test]
fn the_stacks_of_a_version_are_those_of_its_series() {
    let lab = lab();
    with_stacks(&lab);
    let error = |stacks: &str| {
        lab.describe("6.12", &format!("default: true\n{stacks}"));
        let output = lab.command(&["list"]).output().unwrap();
        assert_code(&output, 2);
        text(&output).lines().next().unwrap_or_default().to_owned()
    };
    insta::assert_snapshot!(error(""), @"error: kernel-patches/6.12/kernel.yaml: the stack core of kernel-patches/6.12/series has no entry: add `core: { promises: [...] }` under `stacks`, with the numbers of the promises that the stack keeps");
    insta::assert_snapshot!(error("stacks: { core: { promises: [1] }, lazy: { promises: [] }, old: { promises: [] } }"), @"error: kernel-patches/6.12/kernel.yaml: the stack old has no heading in kernel-patches/6.12/series: add the heading `[old]`, or remove old from `stacks`");
}

#[test]
fn mails_and_patches_to_send_need_a_name_and_an_address() {
    let lab = lab();
    let out = lab.path("out");
    let out = out.to_str().unwrap();
    let no_identity = |words: &[&str]| {
        let mut command = lab.command(words);
        // Outside of the lab's repository, whose own settings may have a name.
        command.current_dir(lab.path("."));
        for file in ["GIT_CONFIG_GLOBAL", "GIT_CONFIG_SYSTEM"] {
            command.env(file, "/dev/null");
        }
        let output = command.output().unwrap();
        assert_code(&output, 2);
        text(&output).lines().next().unwrap_or_default().to_owned()
    };
    for words in [
        &["queue", "mail", "--output-dir", out][..],
        &["queue", "export", "x", "--output-dir", out],
    ] {
        insta::allow_duplicates! {
            insta::assert_snapshot!(no_identity(words), @r#"error: your name and address are unknown: give them with --signoff "NAME <ADDRESS>", or set user.name and user.email with `git config --global`"#);
        }
    }
    assert!(!fs::exists(out).unwrap());
    let given = ["queue", "export", "x", "--output-dir", out, "--signoff", "A B <a@x.org>"];
    assert!(!no_identity(&given).contains("name and address"));
}

#[test]
fn a_failed_case_of_another_version_names_the_version() {
    let lab = lab();
    let mut guest = Guest::up(3);
    guest.pass(&["one"]).start("two");
    guest.print("[    2.0] Kernel panic - not syncing: sysrq triggered crash");
    lab.guest("1", &guest, "exit 0");
    lab.guest("last", Guest::up(1).pass(&["three"]).goodbye(), "exit 0");
    let mut command = lab.command(&["test", "--no-setup", "--accel", "tcg", "--kernel", "7.3"]);
    let output = command.output().unwrap();
    assert_code(&output, 1);
    let printed = text(&output);
    assert!(printed.contains("CRASH x86_64-7.3 smoke/two"), "{printed}");
    let rerun = "cargo xtask test --accel tcg --arch x86_64 --kernel 7.3 --case smoke/two\n";
    assert!(printed.contains(rerun), "{printed}");
    let report = lab.path("checkout/target/lab/latest/report.html");
    let report = fs::read_to_string(report).unwrap();
    assert!(report.contains(rerun.trim_end()), "{report}");
}

#[test]
fn versions_that_cannot_be_tested_together_are_refused() {
    let lab = lab();
    lab.kernel("8.0", "incomplete: not ported");
    let error = |words: &[&str]| {
        let output = lab.command(words).output().unwrap();
        assert_code(&output, 2);
        text(&output).lines().next().unwrap_or_default().to_owned()
    };
    insta::assert_snapshot!(error(&["test", "--kernel", "6.1", "--dry-run"]), @"error: --kernel 6.1: no such version; choose one of: 6.12, 7.3, 8.0, all");
    insta::assert_snapshot!(error(&["test", "--kernel", "7.3", "--kernel-src", "x", "--dry-run"]), @"error: the argument '--kernel <VERSION>' cannot be used with '--kernel-src <DIR|TARBALL>'");
    insta::assert_snapshot!(error(&["boot", "--kernel", "all", "--dry-run"]), @"error: --kernel selects 2 versions; select only one, because the terminal can show only one machine");
    insta::assert_snapshot!(error(&["queue", "checkout", "--kernel", "all", "x"]), @"error: --kernel selects 2 versions; a tree is for one version");
}

#[test]
fn all_leaves_out_an_incomplete_version_that_can_still_be_selected() {
    let lab = lab();
    lab.kernel("8.0", "incomplete: not ported");
    let names = |kernel: &str| -> Vec<String> {
        let mut command = lab.command(&["test", "--dry-run", "--kernel", kernel]);
        let printed = text(&command.output().unwrap());
        let heads = printed.lines().filter(|line| line.ends_with("3 cases:"));
        heads.map(str::to_owned).collect()
    };
    assert_eq!(names("all"), ["x86_64 (default), 3 cases:", "x86_64-7.3 (default), 3 cases:"]);
    assert_eq!(names("8.0"), ["x86_64-8.0 (default), 3 cases:"]);
    let listed = text(&lab.command(&["list"]).output().unwrap());
    let kernels = listed.lines().skip_while(|line| !line.starts_with("Kernels")).take(4);
    insta::assert_snapshot!(kernels.collect::<Vec<_>>().join("\n"), @"
    Kernels (--kernel):
      6.12         x (default)
      7.3          x
      8.0          x (not in `all`: not ported)
    ");
}
