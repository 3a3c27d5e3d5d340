// SPDX-License-Identifier: MIT OR Apache-2.0
//! `cargo xtask run`: the streams, the exit codes and the errors that a user sees.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::Output;

use protocol::record::{EXIT_CODE, Outcome, Record, Stream};

use super::world::{Guest, Lab, assert_code, text};

const CASE: &str = "run/prog";

/// Creates a lab with a gcc whose programs are those of this machine, and a file `prog` that is such a program.
fn lab() -> Lab {
    let lab = Lab::new();
    let this = fs::read("/proc/self/exe").unwrap();
    fs::write(lab.path("crt1.o"), &this[..64]).unwrap();
    let gcc = "#!/bin/sh\n\
               case $* in -print-file-name=*) echo \"$CRT1\"; exit;; *broken.c*) echo 'broken.c:1: error' >&2; exit 1;; esac\n\
               while [ \"$1\" != -o ]; do shift; done\n\
               cp \"$CRT1\" \"$2\"\n";
    lab.program("gcc", &gcc.replace("$CRT1", lab.path("crt1.o").to_str().unwrap()));
    let mut program = this[..64].to_vec();
    // No program headers, and therefore no dynamic linker.
    program[56..58].fill(0);
    fs::write(lab.path("prog"), program).unwrap();
    lab
}

fn run(lab: &Lab, options: &[&str], program: &[&str]) -> Output {
    let image = lab.path("bzImage");
    let mut args = vec!["run", "--no-setup", "--accel", "tcg", "--kernel-image"];
    args.push(image.to_str().unwrap());
    args.extend(options);
    if !program.is_empty() {
        args.push("--");
        args.extend(program);
    }
    lab.command(&args).current_dir(lab.path("")).output().unwrap()
}

/// Returns a guest whose program has printed something.
fn guest() -> Guest {
    let mut guest = Guest::up(1);
    guest.print(&format!("[    1.0] init: case 1/1 {CASE}"));
    guest.record(&Record::CaseStart { case: CASE.into() });
    for (stream, text) in [(Stream::Stdout, "to stdout\n"), (Stream::Stderr, "to stderr\n")] {
        guest.record(&Record::Output { case: CASE.into(), stream, bytes: text.into() });
    }
    guest
}

/// Adds a busybox for this machine to the lab's cache.
fn with_busybox(lab: &Lab) {
    let dir = lab.path("cache/dmmap-lab/busybox/host");
    fs::create_dir_all(&dir).unwrap();
    fs::write(dir.join("busybox"), "a shell").unwrap();
    fs::write(dir.join("busybox.links"), "/bin/busybox\n/bin/sh\n").unwrap();
}

/// Ends the program of `guest` with an exit code.
fn end(guest: &mut Guest, code: u8) -> &mut Guest {
    let outcome = match code {
        0 => Outcome::Pass,
        code => Outcome::Fail { reason: format!("the program exited with status {code}") },
    };
    let figures = BTreeMap::from([(EXIT_CODE.to_owned(), code.into())]);
    guest.record(&Record::CaseEnd { case: CASE.into(), outcome, millis: 5, taint: 0, figures });
    guest.goodbye()
}

#[test]
fn the_output_and_the_exit_code_are_those_of_the_program() {
    let lab = lab();
    for code in [0, 3] {
        lab.guest("1", end(&mut guest(), code), "exit 0");
        let output = run(&lab, &[], &["./prog", "an argument"]);
        assert_code(&output, code.into());
        assert_eq!(String::from_utf8_lossy(&output.stdout), "to stdout\n");
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(errors.contains("to stderr\n"), "{errors}");
        assert!(errors.contains("off: data caches do not alias"), "{errors}");
        assert!(!errors.contains("init: case"), "the console is not shown: {errors}");
    }
    let case = &lab.results().targets[0].cases[0];
    assert_eq!(case.log, ["to stdout", "to stderr"]);
    assert_eq!(case.about, "Runs /usr/local/bin/prog 'an argument'");
    let quiet = run(&lab, &["--quiet"], &["./prog"]);
    let errors = String::from_utf8_lossy(&quiet.stderr);
    assert!(errors.starts_with("to stderr\nx86_64: fail"), "{errors}");
}

#[test]
fn the_image_contains_the_program_and_added_files() {
    let lab = lab();
    lab.guest("1", end(&mut guest(), 0), "exit 0");
    fs::create_dir(lab.path("data")).unwrap();
    fs::write(lab.path("data/numbers"), "1 2 3").unwrap();
    assert_code(&run(&lab, &["--keep", "--add", "data:/opt/data"], &["./prog"]), 0);
    let image = lab.path("checkout/target/lab/latest-run/x86_64/boot-1/initramfs.cpio");
    let image = String::from_utf8_lossy(&fs::read(image).unwrap()).into_owned();
    for part in ["usr/local/bin/prog\0", "opt/data/numbers\0", "1 2 3", "\"stream\": true"] {
        assert!(image.contains(part), "{part:?} is missing");
    }
}

#[test]
fn a_warning_or_a_crash_of_the_kernel_is_shown() {
    let lab = lab();
    let mut warned = guest();
    warned.print("[    2.0] WARNING: CPU: 0 PID: 60 at fs/fuse/dmmap.c:7 f+0x1/0x2");
    lab.guest("1", end(&mut warned, 0), "exit 0");
    let output = run(&lab, &[], &["./prog"]);
    assert_code(&output, 1);
    assert!(
        text(&output).contains("reason   the kernel printed: [    2.0] WARNING"),
        "{}",
        text(&output)
    );

    let mut crashed = guest();
    crashed.print("[    2.0] Kernel panic - not syncing: sysrq triggered crash");
    lab.guest("1", &crashed, "exec sleep 600");
    let output = run(&lab, &[], &["./prog"]);
    assert_code(&output, 1);
    let shown = text(&output);
    assert!(shown.contains("x86_64: crash"), "{shown}");
    assert!(shown.contains("console  [    1.0] init: case 1/1 run/prog"), "{shown}");
    lab.assert_no_machine_left();
}

#[test]
fn a_c_file_is_compiled_and_run() {
    let lab = lab();
    fs::write(lab.path("prog.c"), "int main(void) { return 0; }\n").unwrap();
    lab.guest("1", end(&mut guest(), 0), "exit 0");
    assert_code(&run(&lab, &["--c", "prog.c", "--cflag=-DX"], &["an argument"]), 0);
    assert_eq!(lab.results().targets[0].cases[0].about, "Runs /usr/local/bin/prog 'an argument'");
    assert!(lab.path("checkout/target/lab/latest-run/programs/prog").exists());
    fs::write(lab.path("broken.c"), "").unwrap();
    let output = run(&lab, &["--c", "broken.c"], &[]);
    assert_code(&output, 125);
    assert!(text(&output).contains("broken.c:1: error"), "{}", text(&output));
}

/// Runs a command that must fail before anything is built or booted, and returns the error.
#[track_caller]
fn error(lab: &Lab, options: &[&str], program: &[&str]) -> String {
    let output = run(lab, options, program);
    assert_code(&output, 125);
    assert!(!lab.path("guests/pids").exists(), "a machine was started");
    text(&output).replace(&*lab.path("").to_string_lossy(), "LAB/")
}

#[test]
fn what_cannot_be_done_is_an_error_of_its_own() {
    let lab = lab();
    let mut foreign = fs::read(lab.path("prog")).unwrap();
    foreign[18..20].copy_from_slice(&[40, 0]);
    foreign[4] = 1;
    fs::write(lab.path("foreign"), foreign).unwrap();
    insta::assert_snapshot!(error(&lab, &[], &["./none"]), @"error: ./none: there is no such file");
    insta::assert_snapshot!(error(&lab, &["--c", "none.c"], &[]), @"error: none.c: there is no such file");
    insta::assert_snapshot!(error(&lab, &["--arch", "vax"], &["./prog"]), @"error: --arch vax: no such target or group; choose one of: arm64, armv5, armv6, armv7, mips, parisc, riscv64, sparc64, x86_64, aliasing, arm, all");
    insta::assert_snapshot!(error(&lab, &["--add", "none"], &["./prog"]), @"error: --add none: read none: No such file or directory (os error 2)");
    let foreign = error(&lab, &[], &["./foreign"]);
    assert!(
        foreign.starts_with(
            "error: ./foreign: the program is for ARM (32 bit, little-endian), but x86_64 needs"
        ),
        "{foreign}"
    );
    let usage = error(&lab, &["--no-such-option"], &["./prog"]);
    assert!(usage.contains("unexpected argument '--no-such-option'"), "{usage}");
    let none = error(&lab, &[], &[]);
    assert!(none.contains("PROGRAM"), "{none}");
}

#[test]
fn a_program_that_takes_too_long_has_the_exit_code_of_timeout() {
    let lab = lab();
    let mut late = guest();
    let case = CASE.into();
    late.record(&Record::CaseEnd {
        case,
        outcome: Outcome::Timeout,
        millis: 5,
        taint: 0,
        figures: BTreeMap::new(),
    });
    lab.guest("1", late.goodbye(), "exit 0");
    assert_code(&run(&lab, &["--timeout", "1s"], &["./prog"]), 124);
    assert!(Path::new(&lab.path("checkout/target/lab/latest-run/junit.xml")).exists());
}

#[test]
fn a_script_and_a_command_have_busybox() {
    let lab = lab();
    with_busybox(&lab);
    fs::write(lab.path("prog"), "echo hello\n").unwrap();
    for (options, program, about) in [
        (vec!["--script", "prog"], vec!["x"], "Runs /bin/sh /usr/local/bin/prog x"),
        (vec![], vec!["uname", "-a"], "Runs uname -a"),
    ] {
        lab.guest("1", end(&mut guest(), 0), "exit 0");
        let options = [&["--keep"], options.as_slice()].concat();
        run(&lab, &options, &program);
        assert_eq!(lab.results().targets[0].cases[0].about, about);
        let image = lab.path("checkout/target/lab/latest-run/x86_64/boot-1/initramfs.cpio");
        let image = String::from_utf8_lossy(&fs::read(image).unwrap()).into_owned();
        assert!(image.contains("bin/busybox\0") && image.contains("bin/sh\0"), "{about}");
    }
}

#[test]
fn each_command_of_a_file_is_a_case() {
    let lab = lab();
    with_busybox(&lab);
    fs::write(lab.path("tests.txt"), "# three\ntrue\n\n./skipped -v\nfalse | true\n").unwrap();
    let mut guest = Guest::up(3);
    let fail = || Outcome::Fail { reason: "the program exited with status 1".into() };
    let skip = || Outcome::Skip { reason: "the program exited with status 4".into() };
    let cases = [("2-true", Outcome::Pass), ("4-skipped", skip()), ("5-false", fail())];
    for (name, outcome) in cases {
        let case = format!("run/{name}");
        guest.print(&format!("[    1.0] init: case 1/3 {case}"));
        guest.record(&Record::CaseStart { case: case.clone() });
        let figures = BTreeMap::new();
        guest.record(&Record::CaseEnd { case, outcome, millis: 5, taint: 0, figures });
    }
    lab.guest("1", guest.goodbye(), "exit 0");
    let output = run(&lab, &["--commands", "tests.txt"], &[]);
    assert_code(&output, 1);
    assert_eq!(lab.verdicts(), ["run/2-true pass", "run/4-skipped skip", "run/5-false fail"]);
    let shown = text(&output);
    assert!(shown.contains("checks   false | true"), "{shown}");
    let rerun = "rerun    cargo xtask run --no-setup";
    assert!(shown.contains(rerun), "{shown}");
    fs::write(lab.path("tests.txt"), "# nothing\n").unwrap();
    let none = text(&run(&lab, &["--commands", "tests.txt"], &[]));
    insta::assert_snapshot!(none, @"error: --commands tests.txt: the file has no commands");
}

#[test]
fn files_of_the_guest_are_brought_back() {
    let lab = lab();
    let mut sends = guest();
    sends.record(&Record::File { name: "log".into(), size: 3, part: b"abc".to_vec() });
    lab.guest("1", end(&mut sends, 0), "exit 0");
    assert_code(&run(&lab, &["--get", "/tmp/log:copy"], &["./prog"]), 0);
    assert_eq!(fs::read_to_string(lab.path("copy")).unwrap(), "abc");
    let output = run(&lab, &["--get", "/tmp/other"], &["./prog"]);
    assert_code(&output, 125);
    let expected = "error: --get /tmp/other: the guest did not send this file to other";
    assert!(text(&output).contains(expected), "{}", text(&output));
    let twice = run(&lab, &["--get", "/tmp/log", "--get", "/run/log"], &["./prog"]);
    insta::assert_snapshot!(text(&twice), @"error: --get: two files have the name log, but the guest sends files without their directories");
}

#[test]
fn a_kernel_image_can_run_on_another_machine_of_qemu() {
    let lab = lab();
    fs::write(lab.path("board.dtb"), "").unwrap();
    let options = ["--dry-run", "--arch", "armv6", "--dtb", "board.dtb", "--machine", "raspi1ap"];
    let output = run(&lab, &options, &["./prog"]);
    assert_code(&output, 0);
    let command = String::from_utf8_lossy(&output.stdout).into_owned();
    for part in [
        "-machine raspi1ap",
        "board.dtb \\",
        "bzImage \\",
        "console=ttyAMA0 oops=panic panic=-1 dmmap.records=/dev/ttyAMA0'",
    ] {
        assert!(command.contains(part), "{part:?}: {command}");
    }
    assert!(!command.contains("-cpu") && !command.contains("chardev:records"), "{command}");
    let none = error(&lab, &["--dtb", "none.dtb"], &["./prog"]);
    insta::assert_snapshot!(none, @"error: --dtb none.dtb: No such file or directory (os error 2)");
}

#[test]
fn an_archive_of_the_user_is_the_root_filesystem() {
    let lab = lab();
    fs::write(lab.path("root.cpio"), "070701 of the user").unwrap();
    let mut init = Guest::up(1);
    init.record(&Record::CaseStart { case: "run/init".into() });
    let figures = BTreeMap::from([(EXIT_CODE.to_owned(), 3.0)]);
    let outcome = Outcome::Fail { reason: "the program exited with status 3".into() };
    let case = "run/init".into();
    init.record(&Record::CaseEnd { case, outcome, millis: 5, taint: 0, figures });
    lab.guest("1", init.goodbye(), "exit 0");
    assert_code(&run(&lab, &["--keep", "--initramfs", "root.cpio"], &[]), 3);
    let boot = lab.path("checkout/target/lab/latest-run/x86_64/boot-1");
    let image = fs::read(boot.join("initramfs.cpio")).unwrap();
    assert!(image.starts_with(b"070701 of the user\0"));
    assert!(String::from_utf8_lossy(&image).contains("lab-init\0"));
    assert!(fs::read_to_string(boot.join("qemu.sh")).unwrap().contains(" rdinit=/lab-init"));
}

#[test]
fn the_machine_has_the_memory_and_the_arguments_that_were_asked_for() {
    let lab = lab();
    let options =
        ["--dry-run", "--memory", "2G", "--append", "quiet nosmp", "--qemu-arg=-s", "--cpus", "1"];
    let output = run(&lab, &options, &["./prog"]);
    assert_code(&output, 0);
    let command = String::from_utf8_lossy(&output.stdout).into_owned();
    for part in ["-m 2048M", " \\\n  -s ", "quiet nosmp'", "-smp 1"] {
        assert!(command.contains(part), "{part:?}: {command}");
    }
}
