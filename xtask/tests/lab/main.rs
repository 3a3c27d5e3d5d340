// SPDX-License-Identifier: MIT OR Apache-2.0
//! The tool as a person runs it, on guests that only write what a guest would: QEMU is a shell script.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use protocol::frame::Encoder;
use protocol::record::{Outcome, Record};
use tempfile::TempDir;
use xtask::verdict::RunResult;

const SUITE: &str = "\
suite: smoke
about: Three cases.
deadline: 10s
cases:
  - { name: one, about: The first holds., run: one }
  - { name: two, about: The second holds., run: two }
  - { name: three, about: The third holds., run: three }
";

/// Plays the guest of boot N from `guests/N`, or from `guests/last` where there is no such.
const QEMU: &str = r#"#!/bin/sh
if [ "$1" = --version ]; then echo "QEMU emulator version 7.2.0 (fake)"; exit; fi
boot=${PWD##*/boot-}
guest=$GUESTS/$boot
[ -d "$guest" ] || guest=$GUESTS/last
echo $$ >> "$GUESTS/pids"
cat "$guest/console" >> console.log
cat "$guest/records" >> records.log
. "$guest/end"
"#;

/// What a boot of the fake machine writes, and how it ends.
#[derive(Default)]
struct Guest {
    encoder: Encoder,
    console: String,
    records: Vec<u8>,
}

impl Guest {
    /// A guest that came up with `cases` to run.
    fn up(cases: usize) -> Self {
        let mut guest = Self::default();
        guest.say("[    0.000000] Linux version 6.12.117");
        guest.record(&Record::Hello {
            release: "6.12.117".into(),
            machine: "x86_64".into(),
            page_size: 4096,
            memory: 1 << 30,
            taint: 0,
            cases,
            caches: Vec::new(),
        });
        guest
    }

    fn say(&mut self, line: &str) -> &mut Self {
        self.console += &format!("{line}\r\n");
        self
    }

    fn record(&mut self, record: &Record) -> &mut Self {
        self.records
            .extend(self.encoder.encode(record).into_bytes());
        self
    }

    fn start(&mut self, case: &str) -> &mut Self {
        self.say(&format!("[    1.0] init: case 1/3 smoke/{case}"));
        self.record(&Record::CaseStart {
            case: format!("smoke/{case}"),
        })
    }

    fn end(&mut self, case: &str, outcome: Outcome) -> &mut Self {
        self.record(&Record::CaseEnd {
            case: format!("smoke/{case}"),
            outcome,
            millis: 5,
            taint: 0,
            figures: Default::default(),
        })
    }

    fn pass(&mut self, cases: &[&str]) -> &mut Self {
        for case in cases {
            self.start(case).end(case, Outcome::Pass);
        }
        self
    }

    fn goodbye(&mut self) -> &mut Self {
        self.record(&Record::Goodbye)
    }
}

/// A checkout with three cases, and a PATH with a QEMU that is none.
struct Lab {
    dir: TempDir,
}

impl Lab {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let lab = Self { dir };
        for name in [
            "checkout/xtask",
            "checkout/suites",
            "bin",
            "guests",
            "cache",
        ] {
            fs::create_dir_all(lab.path(name)).unwrap();
        }
        let configs = Path::new(env!("CARGO_MANIFEST_DIR")).join("../kernel-configs");
        symlink(
            configs.canonicalize().unwrap(),
            lab.path("checkout/kernel-configs"),
        )
        .unwrap();
        fs::write(lab.path("checkout/suites/smoke.yaml"), SUITE).unwrap();
        fs::write(lab.path("bzImage"), "a kernel").unwrap();
        fs::write(lab.path("init"), "a program").unwrap();
        for program in xtask::setup::packages::common().unwrap() {
            lab.program(&program.program, "#!/bin/sh\n");
        }
        lab.program("qemu-system-x86_64", QEMU);
        let init = lab.path("init");
        let message = format!(
            r#"{{"reason":"compiler-artifact","executable":"{}"}}"#,
            init.display()
        );
        lab.program("cargo", &format!("#!/bin/sh\necho '{message}'\n"));
        lab
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn program(&self, name: &str, text: &str) {
        let path = self.path("bin").join(name);
        fs::write(&path, text).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    }

    /// What the machine does at boot `number` (`"1"`, `"2"`, or `"last"` for all others); `end` is shell.
    fn guest(&self, number: &str, guest: &Guest, end: &str) {
        let dir = self.path("guests").join(number);
        fs::create_dir_all(&dir).unwrap();
        fs::write(dir.join("console"), &guest.console).unwrap();
        fs::write(dir.join("records"), &guest.records).unwrap();
        fs::write(dir.join("end"), end).unwrap();
    }

    fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_xtask"));
        let path = std::env::var("PATH").unwrap();
        command
            .args(args)
            .env("CARGO_MANIFEST_DIR", self.path("checkout/xtask"))
            .env("CARGO", self.path("bin/cargo"))
            .env("XDG_CACHE_HOME", self.path("cache"))
            .env("GUESTS", self.path("guests"))
            .env("PATH", format!("{}:{path}", self.path("bin").display()))
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        command
    }

    fn test_command(&self, more: &[&str]) -> Command {
        let image = self.path("bzImage");
        let mut args = vec!["test", "--no-setup", "--accel", "tcg", "--kernel-image"];
        args.push(image.to_str().unwrap());
        args.extend(more);
        self.command(&args)
    }

    fn test(&self, more: &[&str]) -> Output {
        self.test_command(more).output().unwrap()
    }

    fn results(&self) -> RunResult {
        let path = self.path("checkout/target/lab/latest/results.json");
        serde_json::from_str(&fs::read_to_string(path).unwrap()).unwrap()
    }

    /// `case verdict` of each case of the newest run.
    fn verdicts(&self) -> Vec<String> {
        let results = self.results();
        let cases = results.targets.iter().flat_map(|target| &target.cases);
        cases
            .map(|case| format!("{} {}", case.id, case.verdict.word()))
            .collect()
    }

    /// Processes of the fake machine that are still there.
    fn machines_left(&self) -> Vec<i32> {
        let pids = fs::read_to_string(self.path("guests/pids")).unwrap_or_default();
        let pids = pids.lines().map(|pid| pid.parse().unwrap());
        pids.filter(|pid| alive(*pid)).collect()
    }

    fn assert_no_machine_left(&self) {
        let gone = wait_until(|| self.machines_left().is_empty());
        assert!(gone, "still there: {:?}", self.machines_left());
    }
}

/// A zombie is not alive: it only waits for somebody to take note.
fn alive(pid: i32) -> bool {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    let state = stat.rsplit(')').next().unwrap_or("").trim().chars().next();
    state.is_some_and(|state| state != 'Z' && state != 'X')
}

fn wait_until(mut holds: impl FnMut() -> bool) -> bool {
    let start = Instant::now();
    while start.elapsed() < Duration::from_secs(20) {
        if holds() {
            return true;
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    false
}

fn text(output: &Output) -> String {
    let (out, err) = (&output.stdout, &output.stderr);
    format!(
        "{}{}",
        String::from_utf8_lossy(out),
        String::from_utf8_lossy(err)
    )
}

#[track_caller]
fn assert_code(output: &Output, code: i32) {
    assert_eq!(output.status.code(), Some(code), "{}", text(output));
}

const ALL: [&str; 3] = ["one", "two", "three"];
const QUICK: [&str; 2] = ["--timeout-scale", "0.05"];

#[test]
fn all_is_well() {
    let lab = Lab::new();
    lab.guest("1", Guest::up(3).pass(&ALL).goodbye(), "exit 0");
    let reports = lab.path("reports");
    let output = lab.test(&["--report-dir", reports.to_str().unwrap()]);
    assert_code(&output, 0);
    assert_eq!(
        lab.verdicts(),
        ["smoke/one pass", "smoke/two pass", "smoke/three pass"]
    );
    for report in ["results.json", "junit.xml", "ktap.txt"] {
        let text = fs::read_to_string(reports.join(report)).unwrap();
        assert!(text.contains("smoke"), "{report}: {text}");
    }
    let run = lab.path("checkout/target/lab/latest/x86_64/boot-1");
    assert!(run.join("qemu.sh").exists());
    assert!(
        !run.join("initramfs.cpio").exists(),
        "only disk space after a pass"
    );
    lab.assert_no_machine_left();
}

#[test]
fn a_panic_fails_its_case_and_the_next_boot_goes_on() {
    let lab = Lab::new();
    let mut first = Guest::up(3);
    first.pass(&["one"]).start("two");
    first.say("[    2.0] Kernel panic - not syncing: sysrq triggered crash");
    lab.guest("1", &first, "exec sleep 600");
    lab.guest("2", Guest::up(1).pass(&["three"]).goodbye(), "exit 0");
    assert_code(&lab.test(&[]), 1);
    assert_eq!(
        lab.verdicts(),
        ["smoke/one pass", "smoke/two crash", "smoke/three pass"]
    );
    assert_eq!(lab.results().targets[0].boots, 2);
    lab.assert_no_machine_left();
}

#[test]
fn a_guest_that_hangs_is_stopped_and_the_next_boot_goes_on() {
    let lab = Lab::new();
    lab.guest(
        "1",
        Guest::up(3).pass(&["one"]).start("two"),
        "exec sleep 600",
    );
    lab.guest("2", Guest::up(1).pass(&["three"]).goodbye(), "exit 0");
    assert_code(&lab.test(&QUICK), 1);
    assert_eq!(
        lab.verdicts(),
        ["smoke/one pass", "smoke/two timeout", "smoke/three pass"]
    );
    lab.assert_no_machine_left();
}

#[test]
fn a_machine_that_resets_without_a_word_is_a_crash() {
    let lab = Lab::new();
    lab.guest("1", Guest::up(3).pass(&["one"]).start("two"), "exit 0");
    lab.guest("2", Guest::up(1).pass(&["three"]).goodbye(), "exit 0");
    assert_code(&lab.test(&[]), 1);
    assert_eq!(lab.verdicts()[1], "smoke/two crash");
}

#[test]
fn memory_that_runs_out_in_the_guest_fails_the_case() {
    let lab = Lab::new();
    let mut guest = Guest::up(3);
    guest.pass(&["one"]).start("two");
    guest.say("[    2.0] Out of memory: Killed process 71 (init) total-vm:1kB, anon-rss:1kB");
    guest.end("two", Outcome::Pass).pass(&["three"]).goodbye();
    lab.guest("1", &guest, "exit 0");
    assert_code(&lab.test(&[]), 1);
    assert_eq!(
        lab.verdicts(),
        ["smoke/one pass", "smoke/two fail", "smoke/three pass"]
    );
}

#[test]
fn a_kernel_without_init_is_a_boot_failure() {
    let lab = Lab::new();
    let mut guest = Guest::default();
    guest.say("[    1.0] Kernel panic - not syncing: No working init found.");
    lab.guest("last", &guest, "exit 0");
    assert_code(&lab.test(&[]), 2);
    assert_eq!(
        lab.verdicts(),
        [
            "smoke/one boot-fail",
            "smoke/two boot-fail",
            "smoke/three boot-fail"
        ]
    );
    assert_eq!(
        lab.results().targets[0].boots,
        1,
        "it would not do better next time"
    );
}

#[test]
fn a_record_that_did_not_arrive_whole_is_not_believed() {
    let damage: [fn(&mut Vec<u8>); 2] = [
        // Truncated: the machine stopped inside it.
        |frame| frame.truncate(frame.len() / 2),
        // Corrupted: a verdict that somebody else wrote.
        |frame| {
            let text = String::from_utf8(frame.clone()).unwrap();
            *frame = text.replace(r#""millis":5"#, r#""millis":6"#).into_bytes();
        },
    ];
    for damage in damage {
        let lab = Lab::new();
        let mut guest = Guest::up(3);
        guest.pass(&["one"]).start("two");
        let before = guest.records.len();
        guest.end("two", Outcome::Pass);
        let mut frame = guest.records.split_off(before);
        damage(&mut frame);
        guest.records.extend(frame);
        lab.guest("1", &guest, "exec sleep 600");
        lab.guest("2", Guest::up(1).pass(&["three"]).goodbye(), "exit 0");
        let code = lab.test(&QUICK).status.code();
        assert!(code == Some(1) || code == Some(2), "{code:?}");
        assert_ne!(lab.verdicts()[1], "smoke/two pass");
        assert_eq!(lab.verdicts()[2], "smoke/three pass");
        lab.assert_no_machine_left();
    }
}

#[test]
fn a_qemu_that_is_killed_is_the_labs_trouble_and_not_the_kernels() {
    let lab = Lab::new();
    lab.guest("1", Guest::up(3).pass(&["one"]).start("two"), "kill -9 $$");
    lab.guest("2", Guest::up(1).pass(&["three"]).goodbye(), "exit 0");
    assert_code(&lab.test(&[]), 2);
    assert_eq!(
        lab.verdicts(),
        ["smoke/one pass", "smoke/two infra", "smoke/three pass"]
    );
}

#[test]
fn a_qemu_that_complains_is_quoted() {
    let lab = Lab::new();
    lab.guest(
        "last",
        &Guest::default(),
        "echo 'unsupported machine type' >&2; exit 1",
    );
    let output = lab.test(&[]);
    assert_code(&output, 2);
    assert!(
        text(&output).contains("unsupported machine type"),
        "{}",
        text(&output)
    );
}

#[test]
fn a_qemu_that_is_missing_is_named_with_its_package() {
    let lab = Lab::new();
    fs::remove_file(lab.path("bin/qemu-system-x86_64")).unwrap();
    let mut command = lab.test_command(&[]);
    // Nothing but the lab's own directory: this machine may well have QEMU.
    let output = command.env("PATH", lab.path("bin")).output().unwrap();
    assert_code(&output, 2);
    let text = text(&output);
    for word in [
        "qemu-system-x86_64",
        "qemu-system-x86",
        "Debian",
        "Fedora",
        "Arch",
    ] {
        assert!(text.contains(word), "{word} in {text}");
    }
}

#[test]
fn a_typo_in_a_suite_is_found_before_anything_starts() {
    let lab = Lab::new();
    let typo = SUITE.replace("about: The second", "abuot: The second");
    fs::write(lab.path("checkout/suites/smoke.yaml"), typo).unwrap();
    let output = lab.test(&[]);
    assert_code(&output, 2);
    let text = text(&output);
    assert!(
        text.contains("smoke.yaml:6:") && text.contains("expected one of `name`, `about`"),
        "{text}"
    );
    assert!(!lab.path("checkout/target").exists());
}

#[test]
fn a_case_nobody_reported_is_not_a_pass() {
    let lab = Lab::new();
    lab.guest("1", Guest::up(3).pass(&["one"]).goodbye(), "exit 0");
    assert_code(&lab.test(&[]), 2);
    assert_eq!(
        lab.verdicts(),
        ["smoke/one pass", "smoke/two infra", "smoke/three infra"]
    );
}

#[test]
fn a_case_whose_end_nobody_reported_is_not_a_pass() {
    let lab = Lab::new();
    let mut guest = Guest::up(3);
    guest.pass(&["one"]).start("two").pass(&["three"]).goodbye();
    lab.guest("1", &guest, "exit 0");
    assert_code(&lab.test(&[]), 2);
    assert_eq!(
        lab.verdicts(),
        ["smoke/one pass", "smoke/two infra", "smoke/three pass"]
    );
}

/// Starts the tool on a guest that never ends, and waits until its second case runs.
fn start_and_wait(lab: &Lab) -> Child {
    lab.guest(
        "last",
        Guest::up(3).pass(&["one"]).start("two"),
        "exec sleep 600",
    );
    let child = lab.test_command(&[]).process_group(0).spawn().unwrap();
    let running = wait_until(|| {
        let records = lab.path("checkout/target/lab/latest/x86_64/boot-1/records.log");
        fs::read_to_string(records).is_ok_and(|text| text.contains("smoke/two"))
    });
    assert!(running);
    child
}

#[test]
fn ctrl_c_leaves_reports_and_no_process() {
    let lab = Lab::new();
    let child = start_and_wait(&lab);
    // As a terminal does it: the whole foreground group.
    kill(Pid::from_raw(-(child.id() as i32)), Signal::SIGINT).unwrap();
    let output = child.wait_with_output().unwrap();
    assert_code(&output, 2);
    assert!(lab.results().interrupted);
    assert_eq!(
        lab.verdicts(),
        ["smoke/one pass", "smoke/two infra", "smoke/three infra"]
    );
    lab.assert_no_machine_left();
}

#[test]
fn sigkill_of_the_tool_takes_the_machine_with_it() {
    let lab = Lab::new();
    let mut child = start_and_wait(&lab);
    assert!(!lab.machines_left().is_empty());
    child.kill().unwrap();
    child.wait().unwrap();
    lab.assert_no_machine_left();
    // And the next run is none the worse for it.
    lab.guest("1", Guest::up(3).pass(&ALL).goodbye(), "exit 0");
    assert_code(&lab.test(&[]), 0);
}

#[test]
fn two_runs_at_once_do_not_meet() {
    let lab = Lab::new();
    lab.guest("1", Guest::up(3).pass(&ALL).goodbye(), "exit 0");
    let runs = [(), ()].map(|()| lab.test_command(&[]).spawn().unwrap());
    for run in runs {
        assert_code(&run.wait_with_output().unwrap(), 0);
    }
    let runs = fs::read_dir(lab.path("checkout/target/lab"))
        .unwrap()
        .flatten();
    assert_eq!(
        runs.filter(|run| run.file_type().unwrap().is_dir()).count(),
        2
    );
}

#[test]
fn a_dry_run_starts_nothing() {
    let lab = Lab::new();
    let output = lab.test(&["--dry-run", "--case", "smoke/two"]);
    assert_code(&output, 0);
    let text = text(&output);
    assert!(
        text.contains("smoke/two") && !text.contains("smoke/one"),
        "{text}"
    );
    assert!(text.contains("-serial chardev:records"), "{text}");
    assert!(!lab.path("checkout/target").exists() && !lab.path("guests/pids").exists());
}

#[test]
fn a_parameter_is_set_and_is_part_of_what_runs_it_again() {
    let lab = Lab::new();
    let suite = SUITE.replace("run: two", "run: two, with: { seed: 1 }");
    fs::write(lab.path("checkout/suites/smoke.yaml"), suite).unwrap();
    let why = Outcome::Fail {
        reason: "it did not hold".into(),
    };
    let mut guest = Guest::up(1);
    guest.start("two").end("two", why).goodbye();
    lab.guest("1", &guest, "exit 0");
    let output = lab.test(&["--case", "smoke/two", "--with", "seed=7"]);
    assert_code(&output, 1);
    let text = text(&output);
    assert!(
        text.contains("--with seed=7 --arch x86_64 --case smoke/two"),
        "{text}"
    );
}

#[test]
fn a_parameter_that_no_chosen_case_has_is_found_before_anything_starts() {
    let lab = Lab::new();
    let output = lab.test(&["--with", "seed=7"]);
    assert_code(&output, 2);
    let text = text(&output);
    assert!(
        text.contains("the chosen cases have no parameter \"seed\"; they have none"),
        "{text}"
    );
    assert!(!lab.path("checkout/target").exists());
}
